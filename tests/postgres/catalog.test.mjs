// SPDX-License-Identifier: Apache-2.0
// Goal: what the publication and the types of a table are decides what a subscriber sees, also when they change.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { prepare, tableMaker, all, subscriber, after, brief, U1 } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)

test('case 23: select of what is not there, and of columns of every table', async (t) => {
  const T = await table('id int primary key, v text, secret text', 'revoke all on % from authenticated', 'grant select (id, v) on % to authenticated')
  for (const column of ['nope', 'secret']) { // a column that may not be read is as one that is not there
    const s = await subscriber(t, node, all(T, { select: [column] }), undefined, { status: 'error' })
    assert.ok(s.system.message.startsWith('Unable to subscribe to changes with given parameters. An exception happened so please check your connect parameters'), s.system.message)
    assert.ok(s.system.message.includes(`select: ["${column}"]]`), s.system.message)
    assert.ok(s.system.message.endsWith(`Exception: ERROR P0001 (raise_exception) invalid column for select ${column}`), s.system.message)
  }
  for (const binding of [{ schema: 'public', table: '*' }, { schema: 'public' }, { schema: '*' }]) {
    const s = await connect(t, node)
    const changes = [{ event: '*', ...binding, select: ['v'] }]
    await s.join('realtime:select', {}, { ref: '1', payload: { config: { postgres_changes: changes }, access_token: node.token({ role: 'authenticated', sub: U1 }) } })
    const { status, message } = (await s.event('realtime:select', 'system')).payload
    assert.deepEqual([status, message], ['error', 'Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name.'])
  }
})

test('case 29: changes of a partition carry its name, or that of the root', async (t) => {
  await sql.query(`create table parted (id int primary key, v text) partition by range (id);
    create table parted_low partition of parted for values from (0) to (100);
    create table parted_high partition of parted for values from (100) to (200);
    alter publication supabase_realtime add table parted`)
  const steps = (id) => [`insert into parted values (${id}, 'a')`, `update parted set v = 'b' where id = ${id}`, `insert into parted values (${id + 100}, 'far')`, `delete from parted where id = ${id}`]
  const leaf = await subscriber(t, node, all('parted_low'))
  const wild = await subscriber(t, node, all('*'))
  const [low, every] = await after(sql, steps(1), leaf, wild)
  assert.deepEqual(low.map((d) => [d.table, ...brief(d)]), [
    ['parted_low', 'INSERT', { id: 1, v: 'a' }, undefined], ['parted_low', 'UPDATE', { id: 1, v: 'b' }, { id: 1 }], ['parted_low', 'DELETE', undefined, { id: 1 }]])
  assert.deepEqual(every.map((d) => d.table), ['parted_low', 'parted_low', 'parted_high', 'parted_low'])

  t.after(() => sql.query('alter publication supabase_realtime set (publish_via_partition_root = false)'))
  await sql.query('alter publication supabase_realtime set (publish_via_partition_root = true)')
  const root = await subscriber(t, node, all('parted'))
  const [got] = await after(sql, steps(2), root)
  assert.deepEqual(got.map((d) => [d.table, ...brief(d)]), [
    ['parted', 'INSERT', { id: 2, v: 'a' }, undefined], ['parted', 'UPDATE', { id: 2, v: 'b' }, { id: 2 }],
    ['parted', 'INSERT', { id: 102, v: 'far' }, undefined], ['parted', 'DELETE', undefined, { id: 2 }]])
})

test('case 30: a column list and a row filter of the publication', async (t) => {
  await sql.query(`create table listed (id int primary key, v text, secret text); create table filtered (id int primary key, n int);
    alter table filtered replica identity full;
    alter publication supabase_realtime add table listed (id, v), table filtered where (n > 5)`)
  const [l, f] = [await subscriber(t, node, all('listed')), await subscriber(t, node, all('filtered'))]
  const [columns, rows] = await after(sql, [
    "insert into listed values (1, 'a', 'not published')", "update listed set secret = 'x'", 'delete from listed',
    'insert into filtered values (1, 3), (2, 7)', 'update filtered set n = 4 where id = 1', 'update filtered set n = 8 where id = 1', // comes in
    'update filtered set n = 9 where id = 1', 'update filtered set n = 2 where id = 2', // goes out
    'delete from filtered'], l, f)
  assert.deepEqual(columns.map(brief), [['INSERT', { id: 1, v: 'a' }, undefined], ['UPDATE', { id: 1, v: 'a' }, { id: 1 }], ['DELETE', undefined, { id: 1 }]])
  assert.deepEqual(columns.slice(0, 2).map((d) => d.columns.map((c) => c.name)), [['id', 'v'], ['id', 'v']])
  assert.deepEqual(rows.map(brief), [
    ['INSERT', { id: 2, n: 7 }, undefined], ['INSERT', { id: 1, n: 8 }, undefined], ['UPDATE', { id: 1, n: 9 }, { id: 1, n: 8 }],
    ['DELETE', undefined, { id: 2, n: 7 }], ['DELETE', undefined, { id: 1, n: 9 }]])
})

const insert = (T, id) => `insert into ${T} (id, v) values (${id}, 'v')`
const publish = (T) => `alter publication supabase_realtime add table ${T}`
const transaction = (...statements) => sql.query(['begin', ...statements, 'commit'].join(';'))
let looks = 0
/** A look at what is published, begun after this was called: only then is the join for a new name refused. */
const look = (t) => subscriber(t, node, all(`nowhere${++looks}`), undefined, { status: 'error' })
/** Ids that each gets of rows written before, between and after two such looks. */
async function flow(t, T, ids, ...subscribers) {
  const got = subscribers.map(() => [])
  for (const id of ids) {
    const lists = await after(sql, [insert(T, id)], ...subscribers)
    lists.forEach((list, i) => got[i].push(...list.map((d) => d.record.id)))
    if (id !== ids.at(-1)) await look(t)
  }
  return got
}
const untaken = (s) => s.s.frames.filter((f) => f.event === 'system').map((f) => f.payload.message)

test('updates that are not published: a row that was never to be seen is not shown', async (t) => {
  await sql.query(`alter publication supabase_realtime set (publish = 'insert, delete')`)
  const T = await table('id int primary key, v text', 'alter table % enable row level security', "create policy p on % for select using (v = 'open' and length(v) > 0)")
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [[`insert into ${T} values (1, 'shut')`, `update ${T} set v = 'open'`], `insert into ${T} values (2, 'open')`], s)
  assert.deepEqual(got.map((d) => d.record), [{ id: 2, v: 'open' }])
  await sql.query(`alter publication supabase_realtime set (publish = 'insert, update, delete, truncate')`)
})

test('a table that is made again in one transaction is heard under its name', async (t) => {
  const T = await table('id int primary key, v text')
  const subs = [await subscriber(t, node, all(T)), await subscriber(t, node, all(T, { filter: 'v=eq.v' })), await subscriber(t, node, all('*'))]
  const again = [`drop table ${T}`, `create table ${T} (v text, more int, id int primary key)`, publish(T)]
  const each = (ids) => subs.map(() => ids)
  await transaction(...again)
  assert.deepEqual(await flow(t, T, [1, 2, 3], ...subs), each([1, 2, 3]))
  await transaction(...again)
  await look(t) // the look comes before the first row
  assert.deepEqual(await flow(t, T, [8, 9], ...subs), each([8, 9]))
  assert.deepEqual(subs.flatMap(untaken), [])

  await transaction(`drop table ${T}`, `create table ${T} (id int primary key, v text)`)
  const told = async (s) => (await s.s.event(s.topic, 'system', 30000)).payload.message
  for (const s of subs.slice(0, 2)) assert.match(await told(s), /^Unable to subscribe to changes with given parameters\. Please check Realtime is enabled/)
  await sql.query(publish(T))
  for (const s of subs.slice(0, 2)) assert.equal(await told(s), 'Subscribed to PostgreSQL')
  assert.deepEqual(await flow(t, T, [10, 11], ...subs), each([10, 11]))
})

test('rows in the transaction that makes their table, or a column of it', async (t) => {
  const T = await table('id int primary key')
  const s = await subscriber(t, node, all(T))
  const next = async () => (await s.s.event(s.topic, 'postgres_changes')).payload.data.record
  for (let i = 0; i < 10; i++) {
    await transaction(`drop table ${T}`, `create table ${T} (id int primary key, v text)`, publish(T), `insert into ${T} values (1, 'made')`)
    assert.deepEqual(await next(), { id: 1, v: 'made' }, `table ${i}`)
    await transaction(`alter table ${T} add column w text`, `insert into ${T} values (2, 'more', 'w')`)
    assert.deepEqual(await next(), { id: 2, v: 'more', w: 'w' }, `column ${i}`)
    await sql.query(`insert into ${T} values (3, 'then', 'w')`)
    assert.deepEqual(await next(), { id: 3, v: 'then', w: 'w' }, `behind it ${i}`)
  }
})

test('tables that are renamed are heard under the names that they have', async (t) => {
  const T = await table('id int primary key, v text')
  const subs = [await subscriber(t, node, all(T)), await subscriber(t, node, all('*'))]
  const swap = [`alter table ${T} rename to ${T}_old`, `alter table ${T}_new rename to ${T}`]
  await transaction(`create table ${T}_new (v text, id int primary key)`, ...swap, publish(T))
  assert.deepEqual(await flow(t, T, [1, 2, 3], ...subs), [[1, 2, 3], [1, 2, 3]])
  assert.deepEqual(await flow(t, `${T}_old`, [4, 5], ...subs), [[], [4, 5]])

  // Both are published all the time.
  await transaction(`alter table ${T} rename to ${T}_new`, `alter table ${T}_old rename to ${T}`, `alter table ${T}_new rename to ${T}_old`)
  await look(t)
  assert.deepEqual(await flow(t, T, [11, 12, 13], ...subs), [[11, 12, 13], [11, 12, 13]])
  assert.deepEqual(await flow(t, `${T}_old`, [14, 15], ...subs), [[], [14, 15]])
  assert.deepEqual(subs.flatMap(untaken), [])

  await sql.query(`alter table ${T} rename to ${T}_gone`)
  const { message } = (await subs[0].s.event(subs[0].topic, 'system', 30000)).payload
  assert.match(message, /^Unable to subscribe to changes with given parameters\. Please check Realtime is enabled/)
  await sql.query(`alter table ${T}_gone rename to ${T}`)
  assert.equal((await subs[0].s.event(subs[0].topic, 'system', 30000)).payload.message, 'Subscribed to PostgreSQL')
  assert.deepEqual(await flow(t, T, [21, 22], ...subs), [[21, 22], [21, 22]])
})

test('case 67: types that are altered under a subscription', async (t) => {
  await sql.query(`create type feeling as enum ('sad', 'ok'); create type pair as (a int, b text); create domain small as int check (value < 10);
    create type deep as (p pair, ps pair[])`)
  const T = await table('id int primary key, f feeling, p pair, d small, ds small[], deep deep', 'alter table % replica identity full')
  const s = await subscriber(t, node, all(T))
  const better = await subscriber(t, node, all(T, { filter: 'f=gt.ok' }))
  const one = async (values, ...ddl) => (await after(sql, [...ddl, `insert into ${T} values (${values})`], s, better)).map((l) => l.map(({ record: { id, ...rest } }) => [id, rest]))
  assert.deepEqual(await one("1, 'ok', '(1,x)', 1, '{1}', '(\"(1,x)\",\"{\"\"(2,y)\"\"}\")'"), [
    [[1, { f: 'ok', p: { a: 1, b: 'x' }, d: 1, ds: [1], deep: { p: { a: 1, b: 'x' }, ps: [{ a: 2, b: 'y' }] } }]], []])
  const glad = { f: 'glad', p: null, d: null, ds: null, deep: null }
  assert.deepEqual(await one("2, 'glad'", "alter type feeling add value 'glad'"), [[[2, glad]], [[2, glad]]])
  const wide = { f: null, p: { a: 1, b: 'x', c: [1, 2] }, d: null, ds: null, deep: { p: { a: 1, b: 'x', c: [3] }, ps: [{ a: 2, b: 'y', c: null }] } }
  assert.deepEqual(await one("3, null, row(1, 'x', '{1,2}'), null, null, row(row(1, 'x', '{3}')::pair, array[row(2, 'y', null)::pair])", 'alter type pair add attribute c int[]'), [[[3, wide]], []])
  const narrow = { f: null, p: { a: 1, c: [2] }, d: null, ds: null, deep: null }
  assert.deepEqual(await one("4, null, row(1, '{2}')", 'alter type pair drop attribute b'), [[[4, narrow]], []])
  const large = { f: null, p: null, d: 70000, ds: [11, 12], deep: null }
  assert.deepEqual(await one("5, null, null, 70000, '{11,12}'", 'alter domain small drop constraint small_check'), [[[5, large]], []])
  assert.deepEqual((await one("6, 'fine'", "alter type feeling rename value 'ok' to 'fine'"))[0], [[6, { f: 'fine', p: null, d: null, ds: null, deep: null }]])
  // Nothing in a row shows an attribute's new name: types are looked at every 5 s.
  let name = 'a'
  await sql.query('alter type pair rename attribute a to renamed')
  for (let id = 7; name === 'a'; id++) {
    assert.ok(id < 200, 'the new name was never noticed')
    name = Object.keys((await one(`${id}, null, row(1, null)`))[0][0][1].p)[0]
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  assert.equal(name, 'renamed')
})
