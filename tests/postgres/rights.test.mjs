// SPDX-License-Identifier: Apache-2.0
// Goal: a right that is taken away is noticed also where the stream of changes does not tell of it, and one that is
// there is not missed.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { prepare, tableMaker, all, subscriber, after, readerOf, U1 } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)
const ids = (list) => list.map((d) => d.record.id)

/** Inserts row after row until a subscriber gets that of one, its column v or an error; what has no message is looked
 * at every 5 s. */
async function shown(s, insert, want) {
  for (let n = 1; ; n++) {
    const [got] = await after(sql, [insert(n)], s)
    if (JSON.stringify(got.map((d) => d.errors?.[0] ?? d.record.v)) === JSON.stringify(want(n))) return
    assert.ok(n < 300, `never noticed; the last row gave ${JSON.stringify(got)}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

test('a schema that a role may use no more', async (t) => {
  await sql.query(`create schema s; create table s.x (id serial primary key); grant usage on schema s to anon, authenticated;
    grant select on s.x to authenticated; alter publication supabase_realtime add table s.x`)
  const s = await subscriber(t, node, [{ event: '*', schema: 's', table: 'x' }])
  assert.equal((await after(sql, ['insert into s.x default values'], s))[0].length, 1)
  await sql.query('revoke usage on schema s from authenticated')
  await shown(s, () => 'insert into s.x default values', () => ['Error 401: Unauthorized'])
})

test('grants and policies of a partitioned table whose changes carry its name', async (t) => {
  await sql.query(`alter publication supabase_realtime set (publish_via_partition_root = true);
    create table root (id serial primary key, v text) partition by range (id);
    create table leaf partition of root for values from (0) to (100000);
    alter publication supabase_realtime add table root`)
  const s = await subscriber(t, node, all('root'))
  const insert = (n) => `insert into root (v) values ('${n}')`
  await shown(s, insert, (n) => [String(n)])
  for (const [change, want] of [
    ['alter table root enable row level security', () => []],
    ['create policy p on root for select using (true)', (n) => [String(n)]],
    ["alter policy p on root using (v = 'no')", () => []],
    ["alter policy p on root using (length(v) > 0 and 'a' <> lower(v))", (n) => [String(n)]],
    ['revoke select on root from authenticated', () => ['Error 401: Unauthorized']],
  ]) {
    await sql.query(change)
    await shown(s, insert, want)
  }
  await sql.query('alter publication supabase_realtime set (publish_via_partition_root = false)')
})

test('a column that was to be read by a membership: no filter tells what is in it', async (t) => {
  await sql.query('create role hr; create role clerk inherit in role hr; grant clerk to realtime_check; grant usage on schema public to clerk; grant select on marker to clerk')
  const T = await table('id int primary key, ssn int', 'grant select (id) on % to clerk', 'grant select (ssn) on % to hr')
  const s = await subscriber(t, node, all(T, { filter: 'ssn=eq.5' }), { role: 'clerk' })
  const more = await subscriber(t, node, all(T, { filter: 'ssn=gt.4' }), { role: 'clerk' })
  assert.deepEqual((await after(sql, [`insert into ${T} values (-1, 5), (0, 4)`], s, more)).map(ids), [[-1], [-1]])
  await sql.query('revoke hr from clerk')
  await shown(s, (n) => `insert into ${T} values (${n}, 5)`, () => [])
  await shown(more, (n) => `insert into ${T} values (${1000 + n}, 5)`, () => [])
})

test('who subscribes while the table is read for others gets its rows', async (t) => {
  const T = await table('id int primary key, v text')
  const a = await subscriber(t, node, all(T))
  const reader = readerOf(node).name
  const backend = async (purpose) => (await sql.query('select pid, query_start, state, query from pg_stat_activity where application_name = $1',
    [`datafuse:${reader}:${purpose}`])).rows[0]
  const { rows: [{ began }] } = await sql.query('select clock_timestamp() as began')
  const idle = (purpose, query) => until(`${purpose} to be idle behind its question`, async () => {
    const b = await backend(purpose)
    return b.query_start > began && b.state === 'idle' && b.query.includes(query)
  })
  const [control, check] = [(await backend('control')).pid, (await backend('check')).pid]
  t.after(() => { for (const pid of [control, check]) process.kill(pid, 'SIGCONT') })
  process.kill(control, 'SIGSTOP')
  const joining = subscriber(t, node, all(T, { filter: 'v=eq.x' }), { role: 'anon' })
  await idle('check', 'pg_has_role')
  process.kill(check, 'SIGSTOP')
  process.kill(control, 'SIGCONT')
  await idle('control', 'relrowsecurity')
  // The first row since the stream began: the table is read again, for those who are there by now.
  assert.deepEqual(ids((await after(sql, [`insert into ${T} values (1, 'x')`], a))[0]), [1])
  process.kill(check, 'SIGCONT')
  const b = await joining
  assert.deepEqual((await after(sql, [`insert into ${T} values (2, 'x')`], a, b)).map(ids), [[2], [2]])
})
