// SPDX-License-Identifier: Apache-2.0
// Goal: of several db processes one reads, and whoever it is, no change is lost: not when reading moves from one to
// another, not when the holder of the slot dies or hangs, not when a link between nodes loses frames.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startPostgres, until } from '../harness/process.mjs'
import { READER, STATUS, T, startDb } from './owner.mjs'

async function world(t, names = ['a', 'b']) {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await sql.query('create table t (id int primary key); alter publication supabase_realtime add table t')
  const dbs = []
  for (const name of names) dbs.push(await startDb(t, database, name))
  return { database, sql, dbs }
}

const slot = async (sql) => (await sql.query(
  "select active, active_pid, confirmed_flush_lsn - '0/0' as lsn from pg_replication_slots where slot_name like 'datafuse_realtime_%'")).rows[0]

async function insert(sql, from, to) {
  for (let i = from; i < to; i++) await sql.query('insert into t values ($1)', [i])
}

const ids = (e) => e.rows.map((r) => r.data.record.id)
const range = (from, to) => Array.from({ length: to - from }, (_, i) => from + i)
const got = (e, n) => until(`${n} rows`, () => ids(e).length >= n)
const term = (h) => [h.fields[1], BigInt(h.fields[2])]

test('a db that is not elected has neither slot nor registrations', async (t) => {
  const { sql, dbs: [a] } = await world(t, ['a'])
  a.edge('t')
  a.stop()
  await until('migrations', async () => (await sql.query("select to_regclass('realtime.messages') as r")).rows[0].r)
  await delay(500)
  assert.equal(await slot(sql), undefined)
  assert.equal((await sql.query("select count(*)::int as n from pg_stat_activity where backend_type = 'walsender'")).rows[0].n, 0)
  assert.ok(!a.heard.some((h) => h.type === T.SYNC))
  a.elect()
  await a.held()
})

test('nothing is read before every living edge has told its registrations', async (t) => {
  const { sql, dbs: [a] } = await world(t, ['a'])
  const e = a.edge('t')
  const mute = a.edge('t', { mute: true })
  a.elect()
  await a.hear('the question', T.SYNC)
  await delay(1000)
  assert.equal(await slot(sql), undefined)
  a.gone(mute)
  await a.held()
  await a.hear('live', T.REG_OK, (f) => Number(f[1]) === e.boot && f[3] === STATUS.LIVE)
  await insert(sql, 0, 10)
  await got(e, 10)
})

test('an edge that never answers is not waited for, and told', async (t) => {
  const { dbs: [a] } = await world(t, ['a'])
  a.edge('t')
  const mute = a.edge('t', { mute: true })
  await until('a to be up', () => a.logText().includes('database_up'))
  a.elect()
  await a.held()
  const told = await a.hear('the message', T.SYS)
  assert.deepEqual([Number(told.fields[1]), told.fields[3]], [mute.boot, false])
})

test('reading moves from one node to another without loss', async (t) => {
  const { sql, dbs: [a, b] } = await world(t)
  const ea = a.edge('t')
  const eb = b.edge('t', { boot: ea.boot })
  let readers = [a, b]
  let next = 0
  let last
  const gaps = []
  b.stop()
  a.elect()
  await a.held()
  for (let move = 0; move < 4; move++) {
    await insert(sql, next, next + 20)
    next += 20
    const [from, to] = readers
    const seen = to.heard.length
    const moved = Date.now()
    from.stop()
    to.elect()
    await insert(sql, next, next + 20)
    next += 20
    const held = await to.held(seen)
    gaps.push(held.at - moved)
    assert.deepEqual(term(held)[0], 1)
    if (last !== undefined) assert.ok(term(held)[1] > last, 'a later holder has a higher term')
    last = term(held)[1]
    readers = [to, from]
  }
  const all = () => [...new Set([...ids(ea), ...ids(eb)])].sort((x, y) => x - y)
  await until('all rows', () => all().length === next)
  assert.deepEqual(all(), range(0, next))
  t.diagnostic(`gaps of planned moves: ${gaps.join(', ')} ms`)
  assert.ok(Math.max(...gaps) < 3000)
})

for (const signal of ['SIGKILL', 'SIGSTOP']) {
  test(`${signal} of the holder`, async (t) => {
    const { sql, dbs: [a, b] } = await world(t)
    const ea = a.edge('t')
    const eb = b.edge('t', { boot: ea.boot })
    b.stop()
    a.elect()
    await a.held()
    await insert(sql, 0, 50)
    a.child.kill(signal)
    const at = Date.now()
    b.elect()
    await insert(sql, 50, 100)
    const held = await b.held(0, 15000)
    const ms = held.at - at
    await until('all rows', () => new Set([...ids(ea), ...ids(eb)]).size === 100)
    t.diagnostic(`gap: ${ms} ms`)
    assert.ok(ms < (signal === 'SIGKILL' ? 3000 : 8000))
    if (signal === 'SIGSTOP') { // it wakes, and has nothing to say that is not in a lower term
      const seen = a.heard.length
      a.child.kill('SIGCONT')
      await insert(sql, 100, 120)
      await until('the new rows', () => ids(eb).includes(119))
      await delay(500)
      assert.ok(!a.heard.slice(seen).some((h) => h.type === T.READER))
      assert.ok(!ids(ea).includes(119))
    }
  })
}

test('a slot that stays with another session: clients are told after 10 s, and it is not taken away', async (t) => {
  const { sql, dbs: [a, b] } = await world(t)
  a.edge('t')
  const eb = b.edge('t')
  a.elect()
  await a.held()
  const { active_pid: pid } = await slot(sql)
  const at = Date.now()
  b.elect()
  const told = await b.hear('the message', T.REG_OK, (f) => f[3] === STATUS.WAIT)
  assert.equal(told.fields[4], 'changes paused: another part of the cluster holds the slot')
  assert.ok(told.at - at > 9000)
  assert.equal((await slot(sql)).active_pid, pid)
  const seen = b.heard.length
  a.stop()
  await b.held()
  await b.hear('live', T.REG_OK, (f) => f[3] === STATUS.LIVE, { from: seen })
  await insert(sql, 0, 5)
  await got(eb, 5)
})

test('frames were lost: from the confirmed position again, with the same positions', async (t) => {
  const { sql, dbs: [a] } = await world(t, ['a'])
  const e = a.edge('t')
  const deaf = a.edge('t')
  a.elect()
  await a.held()
  await insert(sql, 0, 10)
  await until('acknowledged', async () => { await got(deaf, 10); return true })
  deaf.deaf = true
  await insert(sql, 10, 30)
  await got(e, 30)
  const before = deaf.rows.splice(10)
  const seen = a.heard.length
  a.reader(READER.START)
  await a.held(seen)
  await got(deaf, 30)
  assert.deepEqual(deaf.rows.slice(10).map((r) => [r.lsn, r.seq]), before.map((r) => [r.lsn, r.seq]))
  assert.deepEqual(ids(e), range(0, 30))
  assert.equal(a.heard.filter((h) => h.type === T.SYNC).length, 1)
})

test('an edge that does not acknowledge holds the slot back for 10 s, and is told', async (t) => {
  const { sql, dbs: [a] } = await world(t, ['a'])
  const e = a.edge('t')
  const deaf = a.edge('t')
  deaf.deaf = true
  a.elect()
  await a.held()
  await insert(sql, 0, 10)
  await got(e, 10)
  const { rows: [{ now }] } = await sql.query("select pg_current_wal_lsn() - '0/0' as now")
  await delay(2000)
  assert.ok(BigInt((await slot(sql)).lsn) < BigInt(now))
  await a.hear('the message', T.SYS, (f) => Number(f[1]) === deaf.boot)
  await until('confirmation without it', async () => BigInt((await slot(sql)).lsn) >= BigInt(now))
  // it answers, and is waited for again
  deaf.acknowledge()
  await insert(sql, 10, 20)
  await got(e, 20)
  const { rows: [{ later }] } = await sql.query("select pg_current_wal_lsn() - '0/0' as later")
  await delay(2000)
  assert.ok(BigInt((await slot(sql)).lsn) < BigInt(later))
})

test('a burst waits in the database for edges to acknowledge, but not for one that says nothing', async (t) => {
  const { sql, dbs: [a] } = await world(t, ['a'])
  await sql.query('alter table t add column v text')
  const e = a.edge('t')
  a.elect()
  await a.held()
  await a.hear('live', T.REG_OK, (f) => f[3] === STATUS.LIVE)
  const ROW = 8000, ROWS = 2000
  const burst = (from) => sql.query(`insert into t select g, repeat('x', ${ROW}) from generate_series(${from}, ${from + ROWS - 1}) g`)
  e.deaf = true
  await burst(0)
  let seen = 0, said = 0, ahead = 0
  await until('all rows', async () => {
    const n = e.rows.length
    ahead = Math.max(ahead, n - said)
    if (n === seen && n > said) { // it waits: it has sent all that it may
      e.acknowledge()
      said = n
    }
    seen = n
    await delay(50)
    return n === ROWS
  })
  t.diagnostic(`at most ${ahead * ROW} bytes of ${ROWS * ROW} without an acknowledgement`)
  assert.ok(ahead * ROW < 6 * 1024 * 1024)
  e.acknowledge()
  await burst(ROWS)
  await got(e, 2 * ROWS)
  assert.deepEqual(ids(e), range(0, 2 * ROWS))
})

test('several nodes that start at once migrate an empty database', async (t) => {
  const database = await startPostgres(t)
  const dbs = await Promise.all(['a', 'b', 'c', 'd'].map((name) => startDb(t, database, name)))
  dbs[0].edge('t')
  dbs[0].elect()
  await dbs[0].held()
  await until('all of them to be up', () => dbs.every((d) => d.logText().includes('database_up')))
  for (const d of dbs) assert.ok(!/migrations_failed|partitions_failed/.test(d.logText()), d.logText())
  assert.equal(dbs.map((d) => d.logText().split('migration_applied').length - 1).filter((n) => n > 0).length, 1)
})

test('a node that starts while another one migrates waits for it', async (t) => {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await sql.query('select pg_advisory_lock(1684435572)')
  const a = await startDb(t, database, 'a')
  await until('a to wait', async () => (await sql.query("select count(*)::int as n from pg_locks where locktype = 'advisory' and not granted")).rows[0].n)
  await delay(11000) // longer than any table of a user is waited for
  await sql.query('select pg_advisory_unlock(1684435572)')
  await until('a to be up', () => a.logText().includes('database_up'))
  assert.ok(!a.logText().includes('migrations_failed'))
})
