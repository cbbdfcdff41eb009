// SPDX-License-Identifier: Apache-2.0
// Goal: explain names the step that keeps a change from a subscriber, and what it prints as repair does repair it.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { startCluster, startNode, startPostgres, until } from '../harness/process.mjs'
import { after, all, prepare, subscriber, tableMaker, U1, U2 } from './subscribers.mjs'

const stops = (rows) => rows.filter((r) => r.result === 'drops' || r.result === 'error')
const name = (s) => s.topic.slice('realtime:'.length)

async function world(t, env) {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await prepare(sql)
  const node = await startNode(t, { database, nodes: 1, env })
  /** Rows about bindings of this table. */
  const explain = (s, table, ...more) => {
    const { status, rows } = node.ask('explain', name(s), table, ...more)
    const of = rows.filter((r) => r.binding.includes(`.${table.split('.').at(-1)}`))
    assert.equal(status === 0, stops(rows).length === 0)
    return of
  }
  return { database, sql, node, make: tableMaker(sql), explain }
}

test('explain: each step that drops is named, and its repair works', async (t) => {
  const { sql, node, make, explain } = await world(t)
  const table = await make('id int primary key, n int, owner uuid',
    'grant select on % to authenticated', 'alter table % enable row level security',
    'create policy own on % for select to authenticated using (owner = auth.uid())',
    `insert into % values (1, 7, '${U1}'), (2, 3, '${U1}'), (3, 7, '${U2}')`)
  const s = await subscriber(t, node, [{ event: 'INSERT', schema: 'public', table, filter: 'n=gt.5' }])

  assert.deepEqual(stops(explain(s, table, 'id=1')), [])
  const good = explain(s, table, 'id=1').map((r) => r.step)
  for (const step of ['registration', 'stream', 'publication', 'key', 'grant', 'policies', 'row', 'filter']) assert.ok(good.includes(step), step)
  assert.deepEqual(stops(explain(s, table, 'id=2')).map((r) => [r.step, r.detail]), [['filter', 'n=gt.5 does not hold: n is 3']])
  assert.deepEqual(stops(explain(s, table, 'id=3')).map((r) => r.step), ['row'])
  assert.deepEqual(stops(explain(s, table, 'id=99')).map((r) => r.step), ['row'])
  assert.match(stops(explain(s, table, 'id=x'))[0].detail, /invalid input syntax for type integer: "x"/)
  assert.match(stops(explain(s, table, 'nope=1'))[0].detail, /no published column nope/)

  const repairs = [
    [`alter publication supabase_realtime drop table ${table}`, 'publication', /is not part of/],
    [`alter publication supabase_realtime set (publish = 'update')`, 'publication', /does not publish INSERT/],
    [`revoke select on ${table} from authenticated`, 'grant', /may not read key column id/],
  ]
  for (const [harm, step, detail] of repairs) {
    await sql.query(harm)
    const found = await until(`${step} to drop`, () => stops(explain(s, table)).find((r) => r.step === step))
    assert.match(found.detail, detail)
    await sql.query(found.fix)
    await until(`${step} to pass`, () => stops(explain(s, table)).length === 0)
  }
  await sql.query(`drop policy own on ${table}`)
  const none = stops(explain(s, table)).find((r) => r.step === 'policies')
  assert.match(none.detail, /no policy lets role authenticated select/)
  await sql.query(none.fix.replace('...', 'own').replace('(...)', '(true)'))
  const got = await after(sql, [`insert into ${table} values (4, 9, '${U2}')`], s)
  assert.deepEqual(got[0].map((d) => d.record.id), [4])
})

test('explain: tables, topics and bindings that cannot work', async (t) => {
  const { sql, node, make, explain } = await world(t)
  const bare = await make('id int', 'grant select on % to authenticated')
  const s = await subscriber(t, node, all(bare))
  assert.deepEqual(stops(explain(s, bare)).map((r) => [r.step, r.result]), [['key', 'error']])

  const missing = await subscriber(t, node, all('missing'), undefined, { status: 'error' })
  const rows = explain(missing, 'missing')
  assert.deepEqual(stops(rows).map((r) => r.step), ['registration', 'table'])
  assert.match(rows.find((r) => r.step === 'table').detail, /public\.missing does not exist/)

  assert.match(node.ask('explain', 'nobody-is-here', 't').stderr, /nobody has joined nobody-is-here/)
  assert.equal(node.ask('explain', 'nobody-is-here', 't').status, 1)
  const other = node.ask('explain', name(s), 'another').rows
  assert.ok(other.every((r) => r.step === 'binding' && r.result === 'drops'))
  assert.equal(node.ask('explain', name(s)).status, 2)
  assert.equal(node.ask('explain', name(s), bare, 'id').status, 2)
  assert.equal(node.ask('explain', name(s), bare, '--conn', 'nobody').status, 1)
  await sql.query(`create schema "odd ""one"; create table "odd ""one"."t ""2" ("k ""1" int primary key);
    grant usage on schema "odd ""one" to authenticated; grant select on "odd ""one"."t ""2" to authenticated;
    alter publication supabase_realtime add table "odd ""one"."t ""2"; insert into "odd ""one"."t ""2" values (1)`)
  const odd = await subscriber(t, node, [{ event: '*', schema: 'odd "one', table: 't "2', filter: 'k "1=eq.1' }])
  assert.deepEqual(stops(explain(odd, 'odd "one.t "2', 'k "1=1')), [])
})

test('explain: the event that a binding hears, and the one asked about', async (t) => {
  const { sql, node, make, explain } = await world(t)
  const table = await make('id int primary key', 'grant select on % to authenticated', 'insert into % values (1)')
  const s = await subscriber(t, node, [{ event: 'UPDATE', schema: 'public', table }])
  const event = (...more) => explain(s, table, ...more).filter((r) => r.step === 'event').map((r) => [r.result, r.detail])
  assert.deepEqual(event('id=1'), [['note', 'it hears UPDATE only']])
  assert.deepEqual(event('id=1', '--event', 'UPDATE'), [['passes', 'it hears UPDATE only']])
  const [dropped] = stops(explain(s, table, 'id=1', '--event', 'INSERT'))
  assert.deepEqual([dropped.step, dropped.detail, dropped.fix], ['event', 'it hears UPDATE only', ".on('postgres_changes', { event: 'INSERT', ... })"])
  assert.equal(node.ask('explain', name(s), table, '--event', 'insert').status, 2)
  assert.equal(node.ask('explain', name(s), table, '--event').status, 2)

  const any = await subscriber(t, node, all(table))
  await sql.query(`alter publication supabase_realtime set (publish = 'update')`)
  await until('the publication to drop', () => stops(explain(any, table, '--event', 'DELETE')).some((r) => r.detail === 'publication supabase_realtime does not publish DELETE'))
  assert.deepEqual(stops(explain(any, table, '--event', 'UPDATE')), [])
})

test('explain: limits of a row, of a filter, of a socket', async (t) => {
  const { sql, node, make, explain } = await world(t, { REALTIME_MAX_RECORD_BYTES: '65536', REALTIME_MAX_QUEUE_BYTES: '1073741824' })
  const table = await make('id int primary key, t text, hidden text', 'alter table % replica identity full',
    'revoke all on % from authenticated', 'grant select (id, t) on % to authenticated',
    `insert into % values (1, repeat('x', 40000), repeat('x', 99999)), (2, repeat('x', 70000), null)`)
  const s = await subscriber(t, node, all(table))
  const limit = (...more) => explain(s, table, ...more).find((r) => r.step === 'limit')
  const small = limit('id=1')
  assert.equal(small.result, 'passes')
  assert.match(small.detail, /^about 40\d\d\d bytes of 65536$/)
  assert.equal(limit('id=1', '--event', 'UPDATE').result, 'error') // the old row comes too
  const large = limit('id=2')
  assert.match(large.detail, /^about 70\d\d\d bytes of 65536: Error 413 comes/)
  assert.match(large.fix, /REALTIME_MAX_RECORD_BYTES/)
  const [got] = await after(sql, [`update ${table} set t = t || 'y' where id = 1`, `insert into ${table} values (3, repeat('x', 70000)), (4, repeat('x', 40000))`], s)
  assert.deepEqual(got.map((d) => d.errors), [['Error 413: Payload Too Large'], ['Error 413: Payload Too Large'], null])

  s.s.ws.pause()
  await sql.query(`insert into ${table} select i, repeat('x', 40000) from generate_series(100, 400) i`)
  const socket = await until('bytes to wait for the client', () => explain(s, table).find((r) => r.step === 'socket'))
  assert.match(socket.detail, /wait: the client reads slowly/)
  assert.match(socket.fix, /REALTIME_MAX_QUEUE_BYTES/)
  s.s.ws.resume()

  const slow = await subscriber(t, node, all(table, { filter: 't=match.^(x+)(x+)\\1\\2(x+)\\3y$' })) // takes a cube of steps
  await sql.query(`insert into ${table} select i, repeat('x', 3001) || 'y' from generate_series(10, 12) i`)
  const cancelled = await until('the filter to be cancelled', () => stops(explain(slow, table)).find((r) => r.step === 'limit'))
  assert.match(cancelled.detail, /is cancelled, because it failed for three rows within a minute/)
  assert.match(cancelled.fix, /join again/)
})

test('explain: a binding that is silenced by others of its channel', async (t) => {
  const { node, make, explain } = await world(t)
  const table = await make('id int primary key', 'grant select on % to authenticated', 'insert into % values (1)')
  const s = await subscriber(t, node, [...all(table), ...all('missing'), ...all(table, { filter: 'nope=eq.1' })], undefined, { status: 'error' })
  const rows = explain(s, table, 'id=1')
  const good = rows.filter((r) => r.binding === `* public.${table}`)
  assert.deepEqual(stops(good).map((r) => [r.step, r.result, r.detail]), [['channel', 'drops', `another binding of the channel is refused: ${s.system.message}`]])
  assert.ok(good.some((r) => r.step === 'row' && r.result === 'passes'))
  const bad = stops(rows.filter((r) => r.binding.endsWith('nope=eq.1')))
  assert.deepEqual(bad.map((r) => r.step), ['registration', 'row'])
  const alone = await subscriber(t, node, all(table))
  assert.deepEqual(stops(explain(alone, table, 'id=1')), [])
})

test('explain: three nodes, whoever is asked', async (t) => {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await prepare(sql)
  const { nodes } = await startCluster(t, { nodes: 3, database })
  const table = await tableMaker(sql)('id int primary key', 'grant select on % to authenticated', 'insert into % values (1)')
  const s = await subscriber(t, nodes[0], all(table))
  for (const node of nodes) {
    const { rows } = node.ask('explain', name(s), table, 'id=1')
    const of = rows.filter((r) => r.binding.includes(table))
    assert.deepEqual(stops(of), [], node.name)
    assert.deepEqual([...new Set(of.map((r) => r.node))], [nodes[0].name])
    assert.ok(of.some((r) => r.step === 'row' && r.result === 'passes'))
  }
})
