// SPDX-License-Identifier: Apache-2.0
// Goal: no committed change is lost or repeated for a client that stays connected; trouble is told in the documented words.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { prepare, subscriber, after } from './subscribers.mjs'

const all = (name) => [{ event: '*', schema: 'public', table: name }]

async function world(t, opts = {}) {
  const database = await startPostgres(t, opts)
  const sql = await database.connect()
  await prepare(sql)
  await sql.query('create table t (id int primary key, v text); alter publication supabase_realtime add table t')
  const node = await startNode(t, { database, ...opts.node })
  return { database, sql, node }
}

test('case 49: a table published later becomes live by itself', async (t) => {
  const { sql, node } = await world(t)
  await sql.query('create table late (id int primary key)')
  const s = await connect(t, node)
  await s.join('realtime:late', { postgres_changes: all('late') }, { ref: '1' })
  const refusal = (await s.event('realtime:late', 'system')).payload
  assert.match(refusal.message, /Please check Realtime is enabled/)
  await sql.query('alter publication supabase_realtime add table late')
  const live = (await s.event('realtime:late', 'system', 15000)).payload
  assert.deepEqual([live.status, live.message], ['ok', 'Subscribed to PostgreSQL'])
  await sql.query('insert into late values (1)')
  assert.deepEqual((await s.event('realtime:late', 'postgres_changes')).payload.data.record, { id: 1 })
})

for (const between of ['a change', 'nothing']) {
  test(`case 50: the publication is dropped and made again, ${between} between`, async (t) => {
    const { sql, node } = await world(t)
    const s = await subscriber(t, node, all('t'))
    assert.deepEqual((await after(sql, ["insert into t values (1, 'before')"], s))[0].map((d) => d.record.id), [1])
    const { term, confirmed_lsn: before } = node.rows('slots')[0]
    await sql.query('drop publication supabase_realtime')
    if (between === 'a change') await sql.query("insert into t values (2, 'lost')")
    const refusal = await s.s.take('the error', (f) => f.event === 'system' && f.payload.status === 'error', 30000)
    assert.match(refusal.payload.message, /Please check Realtime is enabled/)
    await sql.query('create publication supabase_realtime for table t, marker')
    const told = []
    while (told.at(-1) !== 'Subscribed to PostgreSQL') told.push((await s.s.event(s.topic, 'system', 30000)).payload.message)
    const missing = told.filter((m) => m === 'Changes may be missing: the publication was dropped')
    assert.equal(missing.length, between === 'a change' ? 1 : 0)
    assert.deepEqual((await after(sql, ["insert into t values (3, 'after')"], s))[0].map((d) => d.record.id), [3])
    await until('the slot to be confirmed', () => node.rows('slots')[0].unconfirmed === 0)
    const { rows: [{ on }] } = await sql.query('select $1::pg_lsn > $2 as on', [node.rows('slots')[0].confirmed_lsn, before])
    assert.ok(on, 'the slot moves on')
    assert.equal(node.rows('slots')[0].term !== term, between === 'a change')
    assert.equal(s.s.closed, null)
  })
}

test('case 51: SIGKILL of db during 10 000 inserts', async (t) => {
  const { sql, node } = await world(t)
  const s = await subscriber(t, node, all('t'))
  let killed = 0
  for (let i = 0; i < 100; i++) {
    for (let k = 0; k < 100; k++) await sql.query('insert into t values ($1, $2)', [i * 100 + k, 'x'])
    if (i % 30 === 10) { await node.kill('db'); killed++ }
  }
  assert.ok(killed >= 3)
  const [got] = await after(sql, [], s)
  assert.deepEqual(got.map((d) => d.record.id), [...Array(10000).keys()])
  assert.equal(s.s.closed, null)
})

test('case 53: Postgres restarted under load', async (t) => {
  const { database, sql, node } = await world(t)
  const s = await subscriber(t, node, all('t'))
  for (let i = 0; i < 500; i++) await sql.query('insert into t values ($1, $2)', [i, 'before'])
  await database.stop('immediate')
  const told = await s.s.take('a system error', (f) => f.event === 'system' && f.payload.status === 'error')
  assert.equal(told.payload.message, 'Realtime was unable to connect to the project database')
  await database.start()
  const again = await database.connect()
  for (let i = 500; i < 1000; i++) await again.query('insert into t values ($1, $2)', [i, 'after'])
  await s.s.take('the ok', (f) => f.event === 'system' && f.payload.message === 'Subscribed to PostgreSQL', 30000)
  const [got] = await after(again, [], s)
  assert.deepEqual(got.map((d) => d.record.id), [...Array(1000).keys()])
})

test('the database comes back after it was down at the start', async (t) => {
  const { database, node: first } = await world(t)
  await first.stop()
  await database.stop()
  const node = await startNode(t, { database, databaseReady: false })
  const s = await connect(t, node)
  await s.join('realtime:down', { postgres_changes: all('t') }, { ref: '1' })
  const told = (await s.event('realtime:down', 'system')).payload
  assert.deepEqual([told.status, told.message], ['error', 'Realtime was unable to connect to the project database'])
  await s.join('realtime:plain', { broadcast: { self: true } }, { ref: '2' })
  s.send('2', null, 'realtime:plain', 'broadcast', { type: 'broadcast', event: 'e', payload: 1 })
  await s.event('realtime:plain', 'broadcast')
  await database.start()
  await s.take('the ok', (f) => f.event === 'system' && f.payload.status === 'ok', 30000)
  const sql = await database.connect()
  await sql.query("insert into t values (77, 'x')")
  assert.equal((await s.event('realtime:down', 'postgres_changes')).payload.data.record.id, 77)
})

test('wrong password', async (t) => {
  const database = await startPostgres(t)
  database.psql('-c', "alter role realtime with password 'right'")
  // trust on loopback would accept anything: ask for the password of this one role
  const sql = await database.connect()
  const { rows: [{ hba_file }] } = await sql.query('show hba_file')
  await sql.query(`copy (select 'host all realtime 127.0.0.1/32 scram-sha-256' union all select 'host all all 127.0.0.1/32 trust' union all select 'host replication realtime 127.0.0.1/32 scram-sha-256') to '${hba_file}'`)
  await sql.query('select pg_reload_conf()')
  const node = await startNode(t, { database, databaseReady: false })
  const s = await connect(t, node)
  await s.join('realtime:pw', { postgres_changes: all('t') })
  assert.equal((await s.event('realtime:pw', 'system')).payload.message, 'Realtime was unable to connect to the project database')
  await until('the log line', () => /28P01|password authentication failed/.test(node.logText()))
  assert.ok(!node.logText().includes(':x@'), 'the password is in the log')
})

test('wal_level = replica', async (t) => {
  const database = await startPostgres(t, { settings: ['wal_level = replica'] })
  database.psql('-c', 'create table t (id int primary key); alter publication supabase_realtime add table t')
  const node = await startNode(t, { database, databaseReady: false })
  const s = await connect(t, node)
  await s.join('realtime:wal', { postgres_changes: all('t') })
  const told = (await s.event('realtime:wal', 'system', 20000)).payload
  assert.deepEqual([told.status, told.message], ['error', 'Postgres Changes need wal_level = logical on the database (it is replica)'])
})

test('migrations run twice and leave nothing half', async (t) => {
  const { database, sql, node } = await world(t)
  await node.stop()
  const again = await startNode(t, { database })
  const { rows } = await sql.query('select version from realtime.datafuse_migrations order by 1')
  assert.ok(rows.length > 0)
  const { rows: partitions } = await sql.query("select count(*)::int as n from pg_inherits where inhparent = 'realtime.messages'::regclass")
  assert.ok(partitions[0].n >= 5)
  const slots = again.rows('slots')
  assert.equal(slots.length, (again.nodes ?? [again]).length)
  assert.match(slots.find((row) => row.node === row.reader).confirmed_lsn, /^[0-9A-F]+\/[0-9A-F]+$/)
})
