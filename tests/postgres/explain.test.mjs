// SPDX-License-Identifier: Apache-2.0
// Goal: explain names the step that keeps a change from a subscriber, and what it prints as repair does repair it.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { startCluster, startNode, startPostgres, until } from '../harness/process.mjs'
import { after, all, prepare, subscriber, tableMaker, U1, U2 } from './subscribers.mjs'

const stops = (rows) => rows.filter((r) => r.result === 'drops' || r.result === 'error')
const name = (s) => s.topic.slice('realtime:'.length)

async function world(t) {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await prepare(sql)
  const node = await startNode(t, { database, nodes: 1 })
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
