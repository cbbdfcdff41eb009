// SPDX-License-Identifier: Apache-2.0
// Goal: patterns that are slow, each within its limit, cost others a bounded time, however many one client brings.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { connect } from '../harness/phx.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { prepare, tableMaker, all, subscriber, after } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)

/**
 * A pattern whose reading takes Postgres 20 ms and more on this machine, by the quickest of ten, and so much less
 * than the 500 ms of a trial; each `i` is another one. Past 150 it may be too complex for Postgres.
 */
const pattern = await (async () => {
  for (let n = 10; ; n += 10) {
    const make = (i) => `(\\w{1,255}){1,${n}}x${i}`
    let least = Infinity
    for (let i = 0; i < 10 && least >= 20; i++) {
      const begin = performance.now()
      await sql.query("select '' ~ $1", [make(`n${i}`)])
      least = Math.min(least, performance.now() - begin)
    }
    if (least >= 20 || n === 150) return make
  }
})()

/** Joins a channel with so many different slow patterns; gives the socket. */
async function joinSlow(t, T, topic, count) {
  const s = await connect(t, node)
  const postgres_changes = Array.from({ length: count }, (_, i) => all(T, { filter: `t=match."${pattern(`${topic.length}y${i}`).replaceAll('\\', '\\\\')}"` })[0])
  s.send('1', '1', topic, 'phx_join', { config: { postgres_changes }, access_token: node.token({ role: 'authenticated', sub: 'slow' }) })
  return s
}
const messages = (s) => s.frames.filter((f) => f.event === 'system').map((f) => f.payload.message)

test('a join with a hundred slow patterns: the changes of others come before they are all tried', async (t) => {
  const [T, V] = [await table('id int primary key, t text'), await table('id int primary key', 'alter table % enable row level security', 'create policy p on % for select to authenticated using (true)')]
  const other = await subscriber(t, node, all(V))
  const s = await joinSlow(t, T, 'realtime:trials', 100)
  await until('a trial', async () => (await sql.query("select from pg_stat_activity where usename = 'realtime_check' and state = 'active' and query ~ 'from .values'")).rowCount > 0)
  assert.deepEqual((await after(sql, [`insert into ${V} values (1), (2)`], other))[0].map((m) => m.record.id), [1, 2])
  assert.deepEqual(messages(s).filter((m) => m === 'Subscribed to PostgreSQL'), [])
})

test('sixty slow patterns over rows: those beyond the time of a batch are told, and cancelled in the end; others get everything', async (t) => {
  const T = await table('id int primary key, t text')
  const s = await joinSlow(t, T, 'realtime:rows', 60)
  const other = await subscriber(t, node, all(T))
  assert.equal((await s.event('realtime:rows', 'system', 60000)).payload.message, 'Subscribed to PostgreSQL')
  let rows = 0
  for (const [most, text] of [[1, 'Changes may be missing: the filter'], [30, 'Changes are missing: the filter']]) {
    const told = () => messages(s).some((m) => m.startsWith(text))
    while (!told() && rows < most) {
      const id = ++rows
      assert.deepEqual((await after(sql, [`insert into ${T} values (${id}, 'a word')`], other))[0].map((m) => m.record.id), [id])
      await s.heartbeat()
    }
    await until(`the word, after ${rows} rows: ${text}`, told) // from another node it may come behind the row
  }
})

test('long patterns of like, of which Postgres does not look at the clock, hold nobody up for long', async (t) => {
  const T = await table('id int primary key, t text')
  const other = await subscriber(t, node, all(T))
  const part = 'a'.repeat(255)
  const known = [`%${part.slice(1)}b`, `${part}${part}%`, `%${part.slice(1)}b%${part.slice(1)}b`, `%${part}%`]
  const s = await subscriber(t, node, known.flatMap((p) => all(T, { filter: `t=like.${p}` })))
  await subscriber(t, node, all(T, { filter: `t=like.%${'a'.repeat(60000)}b` }), undefined, { status: 'error' })
  const got = await after(sql, [`insert into ${T} values (1, repeat('a', 500000)), (2, 'b')`], other, s)
  assert.deepEqual(got[0].map((m) => m.record.id), [1, 2])
})

test('ninety patterns of like that nearly match everywhere in a large row: db goes on', async (t) => {
  const T = await table('id int primary key, t text')
  const other = await subscriber(t, node, all(T))
  const filters = Array.from({ length: 90 }, (_, i) => `t=like.%${'a'.repeat(60)}${i + 10}`)
  const s = await subscriber(t, node, filters.flatMap((filter) => all(T, { filter })))
  const got = await after(sql, [`insert into ${T} values (1, repeat('a', 500000)), (2, repeat('a', 500000) || '42')`], other, s)
  assert.deepEqual(got.map((l) => l.map((m) => m.record.id)), [[1, 2], [2]])
  assert.doesNotMatch(node.logText(), /ev=process_hangs/)
})
