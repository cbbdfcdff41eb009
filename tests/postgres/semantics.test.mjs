// SPDX-License-Identifier: Apache-2.0
// Goal: what a subscriber receives for each statement, exactly and in order. No RLS here.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { prepare, tableMaker, all, subscriber, after, brief, U2 } from './subscribers.mjs'
import { types, golden } from './types.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
// Bytes do not bound the queue here, so that the number of frames would.
const node = await startNode({ after: atEnd }, { database, env: { REALTIME_MAX_QUEUE_BYTES: String(16 << 20) } })
const table = tableMaker(sql)
const plain = (...more) => table('id int primary key, v text, n int', ...more)

test('cases 1 to 5: insert, update, key change, empty update, delete', async (t) => {
  const T = await plain()
  const subs = [await subscriber(t, node, all(T)), await subscriber(t, node, all(T), { role: 'authenticated', sub: U2 }), await subscriber(t, node, all(T), { role: 'anon' })]
  const start = Date.now()
  const lists = await after(sql, [`insert into ${T} values (1,'a',5)`, `update ${T} set v='b'`, `update ${T} set id=2`, `update ${T} set v=v`, `delete from ${T}`], ...subs)
  for (const got of lists) {
    assert.deepEqual(got.map(brief), [
      ['INSERT', { id: 1, v: 'a', n: 5 }, undefined],
      ['UPDATE', { id: 1, v: 'b', n: 5 }, { id: 1 }],
      ['UPDATE', { id: 2, v: 'b', n: 5 }, { id: 1 }],
      ['UPDATE', { id: 2, v: 'b', n: 5 }, { id: 2 }],
      ['DELETE', undefined, { id: 2 }]])
    assert.equal(got[0].errors, null)
    assert.deepEqual(got[0].columns, [{ name: 'id', type: 'int4' }, { name: 'v', type: 'text' }, { name: 'n', type: 'int4' }])
    assert.match(got[0].commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.ok(Math.abs(new Date(got[0].commit_timestamp) - start) < 10000)
    assert.equal('record' in got[4], false)
    assert.equal('old_record' in got[0], false)
  }
})

test('case 6: identity full', async (t) => {
  const T = await plain('alter table % replica identity full')
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} values (1,'a',5)`, `update ${T} set v='b'`, `delete from ${T}`], s)
  assert.deepEqual(got.slice(1).map(brief), [['UPDATE', { id: 1, v: 'b', n: 5 }, { id: 1, v: 'a', n: 5 }], ['DELETE', undefined, { id: 1, v: 'b', n: 5 }]])
})

test('case 7: identity using index', async (t) => {
  const T = await table('id int primary key, k text not null, v text', 'create unique index %_k on % (k)', 'alter table % replica identity using index %_k')
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} values (1,'k1','a')`, `update ${T} set v='b'`, `update ${T} set k='k2'`, `delete from ${T}`], s)
  assert.deepEqual(got.slice(1).map((d) => d.old_record), [{ k: 'k1' }, { k: 'k1' }, { k: 'k2' }])
})

test('cases 8 and 9: rollback, savepoint', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [
    `begin; insert into ${T} values (9,'x',1); rollback`,
    `begin; savepoint s; insert into ${T} values (1,'a',1); rollback to s; insert into ${T} values (2,'b',2); commit`], s)
  assert.deepEqual(got.map((d) => d.record.id), [2])
})

test('case 10: one transaction, order and one timestamp', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [[`insert into ${T} values (1,'a',1)`, `insert into ${T} values (2,'b',1)`, `insert into ${T} values (3,'c',1)`, `update ${T} set v='z' where id=2`, `delete from ${T} where id=1`]], s)
  assert.deepEqual(got.map((d) => [d.type, (d.record ?? d.old_record).id]), [['INSERT', 1], ['INSERT', 2], ['INSERT', 3], ['UPDATE', 2], ['DELETE', 1]])
  assert.equal(new Set(got.map((d) => d.commit_timestamp)).size, 1)
})

test('case 11: order of commit, not of begin', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T))
  const other = await database.connect()
  await other.query(`begin; insert into ${T} values (1,'first begun',1)`)
  await sql.query(`insert into ${T} values (2,'first committed',1)`)
  await other.query('commit')
  const [got] = await after(sql, [], s)
  assert.deepEqual(got.map((d) => d.record.id), [2, 1])
})

test('case 12: truncate is silent', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} values (1,'a',1)`, `truncate ${T}`, `insert into ${T} values (2,'b',1)`], s)
  assert.deepEqual(got.map((d) => [d.type, d.record.id]), [['INSERT', 1], ['INSERT', 2]])
})

test('case 13: events', async (t) => {
  const T = await plain()
  const subs = []
  for (const event of ['INSERT', 'UPDATE', 'DELETE']) subs.push(await subscriber(t, node, [{ event, schema: 'public', table: T }]))
  const lists = await after(sql, [`insert into ${T} values (1,'a',1)`, `update ${T} set n=2`, `delete from ${T}`], ...subs)
  assert.deepEqual(lists.map((l) => l.map((d) => d.type)), [['INSERT'], ['UPDATE'], ['DELETE']])
})

test('case 14: filters, one subscription each', async (t) => {
  await sql.query("create type mood as enum ('sad','ok','happy')")
  const T = await table('id int primary key, t text, nul text, n numeric, m mood, u uuid, ch char(3), b bool, ts timestamptz, d date, f float8, i8 int8, by bytea')
  const rows = {
    't=eq.abc': 1, 't=neq.abc': 0, 't=neq.ABC': 1, 'n=eq.1.50': 1, 'n=gt.1.4': 1, 'n=lt.1.4': 0, 'n=gte.1.5': 1, 'n=lte.1.5': 1,
    'nul=eq.x': 0, 'nul=neq.x': 0, 'id=in.(5,6)': 0, 'id=in.(1,2)': 1, 't=in.("abc","a,b")': 1, 't=in.(x,y)': 0,
    'm=eq.ok': 1, 'm=gt.sad': 1, 'm=lt.sad': 0, 'm=gt.happy': 0, 'u=eq.A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11': 1,
    'ch=eq.ab': 1, 'b=eq.true': 1, 'b=eq.f': 0, 'ts=gt.2024-01-01': 1, 'ts=lt.2024-01-01': 0, 'd=eq.2024-02-29': 1, 'd=gt.-infinity': 1,
    'f=gt.0.05': 1, 'f=eq.0.1': 1, 'i8=eq.9223372036854775807': 1, 'i8=lt.9223372036854775807': 0, 'by=eq.\\xdead': 1,
  }
  const subs = []
  for (const filter of Object.keys(rows)) subs.push(await subscriber(t, node, all(T, { filter })))
  const lists = await after(sql, [`insert into ${T} values (1,'abc',null,1.5,'ok','a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11','ab',true,'2024-06-01 00:00+00','2024-02-29',0.1,9223372036854775807,'\\xdead')`], ...subs)
  assert.deepEqual(Object.fromEntries(Object.keys(rows).map((f, i) => [f, lists[i].length])), rows)
})

test('case 15: two filters', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T, { filter: 'n=gt.3,n=lt.10' }))
  const [got] = await after(sql, [`insert into ${T} values (1,'a',3),(2,'b',5),(3,'c',10)`], s)
  assert.deepEqual(got.map((d) => d.record.n), [5])
})

test('cases 16 and 17: filters on update and delete', async (t) => {
  const [T, F] = [await plain(), await plain('alter table % replica identity full')]
  const s = await subscriber(t, node, all(T, { filter: 'v=eq.a' }))
  const f = await subscriber(t, node, all(F, { filter: 'v=eq.a' }))
  const [got, full] = await after(sql, [
    `insert into ${T} values (1,'a',1)`, `update ${T} set v='b'`, `update ${T} set v='a'`, `delete from ${T}`,
    `insert into ${F} values (1,'a',1)`, `delete from ${F}`], s, f)
  assert.deepEqual(got.map((d) => [d.type, d.record.v]), [['INSERT', 'a'], ['UPDATE', 'a']])
  assert.deepEqual(full.map((d) => d.type), ['INSERT', 'DELETE'])
})

test('cases 18 to 20: refused filters name what is wrong, the channel lives', async (t) => {
  const T = await plain()
  const refused = async (filter, text) => {
    const s = await subscriber(t, node, all(T, { filter }), undefined, { status: 'error' })
    assert.ok(s.system.message.includes(text), s.system.message)
    await s.s.call('1', s.topic, 'presence', { type: 'presence', event: 'track', payload: {} })
  }
  await refused('id=eq.abc', '22P02 (invalid_text_representation) invalid input syntax for type integer: "abc"')
  await refused('nope=eq.1', 'invalid column for filter nope')
  await refused(`id=in.(${[...Array(101).keys()]})`, 'too many values for `in` filter. Maximum 100')
})

test('case 22: select', async (t) => {
  const T = await plain()
  const [some, every] = [await subscriber(t, node, all(T, { select: ['v'] })), await subscriber(t, node, all(T))]
  const [a, b] = await after(sql, [`insert into ${T} values (1,'a',5)`], some, every)
  assert.deepEqual([a[0].record, a[0].columns.map((c) => c.name)], [{ id: 1, v: 'a' }, ['id', 'v']])
  assert.deepEqual(b[0].record, { id: 1, v: 'a', n: 5 })
})

test('case 24: every type', async (t) => {
  await sql.query("create type feeling as enum ('sad','ok'); create domain positive as int check (value > 0); create type pair as (a int, b text)")
  await sql.query('create extension hstore; create extension citext; create domain words as hstore; create type labelled as (n int, l hstore)')
  const T = await table(`id int primary key, ${types.map(([name, type]) => `${name} ${type}`).join(', ')}`)
  const s = await subscriber(t, node, all(T))
  const values = types.map(([, , literal]) => literal).join(', ')
  const [got] = await after(sql, [`insert into ${T} values (1, ${values})`, `insert into ${T} (id) values (2)`,
    `insert into ${T} (id, numeric_, float8_, ts_, date_, anum) values (3, 'NaN', 'Infinity', 'infinity', '-infinity', '{1,NaN}')`], s)
  const { id, ...record } = got[0].record
  assert.deepEqual(record, golden)
  assert.ok(Object.entries(got[1].record).every(([k, v]) => k === 'id' ? v === 2 : v === null))
  const special = got[2].record
  assert.deepEqual([special.numeric_, special.float8_, special.ts_, special.date_, special.anum], [null, null, 'infinity', '-infinity', [1, 'NaN']])
  assert.deepEqual(got[0].columns.map((c) => c.type).slice(1, 4), ['int2', 'int4', 'int8'])
})

test('case 25: unchanged large value', async (t) => {
  const big = "(select string_agg(md5(i::text), '') from generate_series(1, 100) i)"
  const prep = ['alter table % alter column v set storage external']
  const [D, F] = [await plain(...prep), await plain(...prep, 'alter table % replica identity full')]
  const [d, f] = [await subscriber(t, node, all(D)), await subscriber(t, node, all(F))]
  const [a, b] = await after(sql, [D, F].flatMap((T) => [`insert into ${T} values (1, ${big}, 1)`, `update ${T} set n = 2`]), d, f)
  assert.equal(a[0].record.v.length, 3200)
  assert.deepEqual(a[1].record, { id: 1, n: 2 })
  assert.equal(b[1].record.v.length, 3200)
})

test('case 26: generated column', async (t) => {
  const T = await table('id int primary key, n int, twice int generated always as (n * 2) stored')
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} (id, n) values (1, 4)`], s)
  assert.deepEqual(got[0].record, { id: 1, n: 4, twice: 8 })
  const [more] = await after(sql, [`update ${T} set n = 5`], s)
  assert.deepEqual(more[0].record, { id: 1, n: 5, twice: 10 })
})

test('case 27: columns change under a subscription', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T))
  // A column that is gone by the time its row is decoded is not shown: each step is awaited.
  const step = async (...statements) => (await after(sql, statements, s))[0]
  const got = [
    ...await step(`insert into ${T} values (1,'a',1)`),
    ...await step(`alter table ${T} add column extra text default 'e'`, `insert into ${T} values (2,'b',2,'x')`),
    ...await step(`alter table ${T} rename column v to w`, `alter table ${T} drop column n`, `insert into ${T} values (3,'c','y')`)]
  assert.deepEqual(got.map((d) => d.record), [{ id: 1, v: 'a', n: 1 }, { id: 2, v: 'b', n: 2, extra: 'x' }, { id: 3, w: 'c', extra: 'y' }])
  assert.deepEqual(got[2].columns.map((c) => c.name), ['id', 'w', 'extra'])
})

test('case 28: names that need quotes, composite key', async (t) => {
  await sql.query('create schema "Odd Sch.ema"; grant usage on schema "Odd Sch.ema" to anon, authenticated')
  await sql.query('create table "Odd Sch.ema"."Odd Na.me" ("k,1" int, "k\\2" text, "V""x" text, primary key ("k,1", "k\\2"))')
  await sql.query('grant all on "Odd Sch.ema"."Odd Na.me" to anon, authenticated; alter publication supabase_realtime add table "Odd Sch.ema"."Odd Na.me"')
  const s = await subscriber(t, node, [{ event: '*', schema: 'Odd Sch.ema', table: 'Odd Na.me', filter: 'k,1=eq.1' }].map(({ filter, ...b }) => b))
  const [got] = await after(sql, ['insert into "Odd Sch.ema"."Odd Na.me" values (1, \'b\', \'"q"\')', 'update "Odd Sch.ema"."Odd Na.me" set "V""x" = \'z\'', 'delete from "Odd Sch.ema"."Odd Na.me"'], s)
  assert.deepEqual([got[0].schema, got[0].table, got[0].record], ['Odd Sch.ema', 'Odd Na.me', { 'k,1': 1, 'k\\2': 'b', 'V"x': '"q"' }])
  assert.deepEqual(got[2].old_record, { 'k,1': 1, 'k\\2': 'b' })
})

test('case 31: table without a primary key', async (t) => {
  const T = await table('v text')
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} values ('a')`], s)
  const { ids, ...data } = got[0]
  assert.deepEqual(data, { schema: 'public', table: T, type: 'INSERT', commit_timestamp: null, errors: ['Error 400: Bad Request, no primary key'], record: {}, columns: [] })
})

test('cases 32 and 33: column grants', async (t) => {
  const T = await plain('alter table % replica identity full', 'revoke all on % from anon, authenticated', 'grant select (v) on % to anon', 'grant select (id, v) on % to authenticated')
  const a = await subscriber(t, node, all(T), { role: 'anon' })
  const s = await subscriber(t, node, all(T))
  const [anon, user] = await after(sql, [`insert into ${T} values (1,'a',5)`, `delete from ${T}`], a, s)
  assert.deepEqual([anon[0].errors, anon[0].record, anon[0].columns, anon[0].commit_timestamp], [['Error 401: Unauthorized'], {}, [], null])
  assert.deepEqual(anon[1].old_record, { v: 'a' })
  assert.deepEqual([user[0].record, user[0].columns.map((c) => c.name), user[0].errors], [{ id: 1, v: 'a' }, ['id', 'v'], null])
  assert.deepEqual(user[1].old_record, { id: 1, v: 'a' })
})

test('case 34: a row over the record limit', async (t) => {
  const T = await plain()
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} values (1, repeat('x', 2 * 1024 * 1024), null)`, `insert into ${T} values (2, repeat('x', 512 * 1024), 7)`], s)
  assert.deepEqual([got[0].errors, got[0].record, got[0].columns.length], [['Error 413: Payload Too Large'], { id: 1 }, 3])
  assert.deepEqual([got[1].errors, got[1].record.v.length], [null, 512 * 1024])
})

test('15 000 rows at once reach a client that reads late: all of them, in order', async (t) => {
  const T = await plain()
  const { s } = await subscriber(t, node, all(T))
  const ids = []
  let closed
  s.ws.removeAllListeners('message') // what the harness makes of each frame costs more than the server
  s.ws.on('close', (code) => { closed = code })
  s.ws.on('message', (data) => ids.push(parseInt(data.toString('latin1', data.lastIndexOf('"id":') + 5), 10)))
  s.ws.pause()
  await sql.query(`insert into ${T} select i, 'x', i from generate_series(1, 15000) i`)
  await until('all rows to be read', () => node.rows('slots')[0].unconfirmed === 0)
  s.ws.resume()
  await until('all rows', () => ids.length >= 15000 || closed)
  assert.equal(closed, undefined)
  assert.ok(ids.every((id, i) => id === i + 1))
})
