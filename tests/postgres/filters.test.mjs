// SPDX-License-Identifier: Apache-2.0
// Goal: a filter lets through exactly the rows for which Postgres says that its condition is true, whoever
// evaluates it; one that cannot be evaluated is refused, or its own subscribers are told.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres } from '../harness/process.mjs'
import { prepare, tableMaker, all, subscriber, after } from './subscribers.mjs'
import { columns, random, condition, filterText, sqlText } from './random_filters.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
await sql.query(`
  create type mood as enum ('sad', 'ok', 'happy');
  create domain small as int check (value < 1000);
  create domain short as varchar(4);
  create type pair as (a int, b text);
  create collation nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
  create schema extensions; grant usage on schema extensions to anon, authenticated;
  create extension citext schema extensions;
  set search_path = public, extensions`)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)

const refused = async (t, T, filter, text) => {
  const s = await subscriber(t, node, all(T, { filter }), undefined, { status: 'error' })
  assert.ok(s.system.message.endsWith(text), `${filter}: ${s.system.message}`)
}

test('case 14 and protocol case 77: the filters of the table in the documentation', async (t) => {
  const T = await table('id int primary key, t text, nul text, n numeric, m mood, b bool, ch char(3), v varchar(9), j json, ar int[], ip inet')
  const rows = {
    'nul=not.eq.x': 0, 'nul=isdistinct.x': 1, 'nul=not.isdistinct.x': 0, 'nul=is.null': 1, 'nul=not.is.null': 0, 't=is.null': 0, 't=not.is.null': 1,
    'id=not.in.(5,6)': 1, 't=not.in.(abc,NULL)': 0, 't=not.in.(x,NULL)': 0, 'id=in.()': 0, 'id=not.in.()': 1, 't=not.in.("abc","a,b")': 0,
    'b=is.unknown': 0, 'b=not.is.unknown': 1, 'b=is.true': 1, 'b=is.false': 0, 'b=not.is.false': 1, 't=not.eq.abc': 0, 't=not.neq.abc': 1,
    't=like.a%': 1, 't=like.A%': 0, 't=like.a_c': 1, 't=not.like.a%': 0, 't=ilike.AB%': 1, 't=not.ilike.AB%': 0, 'nul=like.%': 0, 'nul=not.like.%': 0,
    'v=like.abc': 1, 'ch=like.ab': 1, 'ch=ilike.AB': 1, 'm=not.gt.sad': 0, 'n=not.gt.1.4': 0, 'n=isdistinct.1.50': 0,
    't=match.^a.c$': 1, 't=match.^A': 0, 't=imatch.^A': 1, 't=not.imatch.^A': 0, 't=match."^(a|b),?"': 1, 'v=match.b': 1,
    't=lt.abd': 1, 't=gte.abd': 0, 'j=is.null': 0, 'j=not.is.null': 1, 'ar=eq."{1,2}"': 1, 'ar=gt.{1}': 1, 'ar=isdistinct."{1,2}"': 0,
    'ip=eq.10.0.0.1/32': 1, 'ip=in.(10.0.0.1,10.0.0.2)': 1, 'ip=not.in.(10.0.0.1,NULL)': 0,
    't=like.a%,n=gt.1,m=not.eq.sad': 1, 't=ilike.A%,n=gt.2': 0, 't=ilike.A%,t=match.b,id=eq.1': 1, 't=ilike.A%,t=match.z': 0, ' t=eq.abc , id=not.eq.2 ': 1,
  }
  const subs = []
  for (const filter of Object.keys(rows)) subs.push(await subscriber(t, node, all(T, { filter })))
  const lists = await after(sql, [`insert into ${T} values (1,'abc',null,1.5,'ok',true,'ab','abc','{}','{1,2}','10.0.0.1')`], ...subs)
  assert.deepEqual(Object.fromEntries(Object.keys(rows).map((f, i) => [f, lists[i].length])), rows)
})

test('case 21 and protocol case 78: what cannot be evaluated is refused, with the text that clients know', async (t) => {
  const T = await table('id int primary key, t text, b bool, j json, ar int[], p point, nc text collate nocase, g int generated always as (id * 2) stored')
  const inner = (text) => `Exception: ERROR P0001 (raise_exception) ${text}`
  const rows = {
    'id=foo.1': 'Error parsing `filter` params: ["foo", "1"]',
    'id=not.foo.1': 'Error parsing `filter` params: ["foo", "1"]',
    'id=eq.1,': 'Error parsing `filter` params: filter must not contain empty segments (check for extra commas)',
    'id=not.in.1': 'Error parsing `filter` params: `in` filter value must be wrapped by parentheses',
    't=is.nothing': inner('invalid value for is filter: must be null, true, false, or unknown'),
    't=is.NULL': inner('invalid value for is filter: must be null, true, false, or unknown'),
    't=is.true': inner('is true filter requires a boolean column, got text'),
    't=not.is.unknown': inner('is unknown filter requires a boolean column, got text'),
    'id=like.1%': inner('operator like requires a text-compatible column type, got integer'),
    'id=not.ilike.1%': inner('operator ilike requires a text-compatible column type, got integer'),
    'id=match.1': inner('operator match requires a text-compatible column type, got integer'),
    'p=imatch.1': inner('operator imatch requires a text-compatible column type, got point'),
    't=match.(': inner('invalid regular expression for match filter: invalid regular expression: parentheses () not balanced'),
    't=imatch.(': inner('invalid regular expression for imatch filter: invalid regular expression: parentheses () not balanced'),
    [`t=like.%${'a'.repeat(256)}`]: inner('too long a pattern for like filter: at most 255 bytes may stand between a % and the next'),
    [`t=not.ilike.a%${'a'.repeat(256)}%b`]: inner('too long a pattern for ilike filter: at most 255 bytes may stand between a % and the next'),
    't=like.a\\': 'Exception: ERROR 22025 (invalid_escape_sequence) LIKE pattern must not end with escape character',
    'j=eq.{}': inner('operator eq is not supported for column type json'),
    'j=isdistinct.{}': inner('operator isdistinct is not supported for column type json'),
    'ar=in.(1,2)': inner('operator in is not supported for column type _int4'),
    'ar=eq.1': 'Exception: ERROR 22P02 (invalid_text_representation) malformed array literal: "1"',
    'id=isdistinct.x': 'Exception: ERROR 22P02 (invalid_text_representation) invalid input syntax for type integer: "x"',
    'nc=like.a%': 'Exception: ERROR 0A000 (feature_not_supported) nondeterministic collations are not supported for LIKE',
    'g=eq.2': inner('filter on generated column g: its values are not in the stream of changes'),
    'nope=like.x': inner('invalid column for filter nope'),
  }
  for (const [filter, text] of Object.entries(rows)) await refused(t, T, filter, text)
  const s = await subscriber(t, node, all(T, { filter: 'id=not.eq.x' }), undefined, { status: 'error' })
  assert.ok(s.system.message.includes('filters: [{"id", "eq", "x", true}], select: nil]'), s.system.message)
})

test('case 21: a refusal of a long filter is cut to 4096 bytes, in whole characters, and says nothing else', async (t) => {
  const T = await table('id int primary key')
  const told = async (filter) => (await subscriber(t, node, all(T, { filter }), undefined, { status: 'error' })).system.message
  const cut = (text) => new TextDecoder().decode(Buffer.from(text).subarray(0, 4096), { stream: true })
  for (const n of [1900, 1970, 2500, 3000, 3900, 4001]) {
    for (const column of ['c'.repeat(n), `${'c'.repeat(n % 2)}${'é'.repeat(n / 2)}`]) {
      assert.equal(await told(`${column}=eq.1`), cut('Unable to subscribe to changes with given parameters. An exception happened so please check your ' +
        `connect parameters: [event: *, schema: public, table: ${T}, filters: [{"${column}", "eq", "1", false}], select: nil]. ` +
        `Exception: ERROR P0001 (raise_exception) invalid column for filter ${column}`))
    }
  }
  const longest = 'é'.repeat(30000)
  assert.equal(await told(longest), cut(`Error parsing \`filter\` params: ["${longest}`))
  assert.equal(await told(`id=${longest}.1`), cut(`Error parsing \`filter\` params: ["${longest}`))
})

test('filters on update and delete that Postgres evaluates', async (t) => {
  const T = await table('id int primary key, v text', 'alter table % replica identity full')
  const D = await table('id int primary key, v text')
  const [a, b, d] = [await subscriber(t, node, all(T, { filter: 'v=ilike.A' })), await subscriber(t, node, all(T, { filter: 'v=not.ilike.A' })), await subscriber(t, node, all(D, { filter: 'v=ilike.A' }))]
  const steps = (X) => [`insert into ${X} values (1,'a')`, `update ${X} set v='b'`, `update ${X} set v='A'`, `delete from ${X}`]
  const [got, not, keys] = await after(sql, [...steps(T), ...steps(D)], a, b, d)
  assert.deepEqual(got.map((m) => m.type), ['INSERT', 'UPDATE', 'DELETE'])
  assert.deepEqual(not.map((m) => [m.type, m.record.v]), [['UPDATE', 'b']])
  assert.deepEqual(keys.map((m) => m.type), ['INSERT', 'UPDATE']) // a deleted row is its key here
})

test('a filter that Postgres evaluates comes before row level security, and does not replace it', async (t) => {
  const T = await table('id int primary key, v text, owner text', 'alter table % enable row level security',
    "create policy p on % for select to authenticated using (owner = current_setting('request.jwt.claims')::json ->> 'sub')")
  const [a, b] = [await subscriber(t, node, all(T, { filter: 'v=ilike.A%' }), { role: 'authenticated', sub: 'a' }), await subscriber(t, node, all(T, { filter: 'v=ilike.A%' }), { role: 'authenticated', sub: 'b' })]
  const [got, other] = await after(sql, [`insert into ${T} values (1,'A1','a'),(2,'b2','a'),(3,'a3','b'),(4,'a4','a')`], a, b)
  assert.deepEqual(got.map((m) => m.record.id), [1, 4])
  assert.deepEqual(other.map((m) => m.record.id), [3])
})

// An odd number of x is no twice anything, which takes a cube of steps to find out.
const slow = 't=match.^(x+)(x+)\\1\\2(x+)\\3y$'
const heavy = "repeat('x', 3001) || 'y'"

test('a filter over its time is told to its own subscribers, who see the row; others get everything', async (t) => {
  const T = await table('id int primary key, t text', 'alter table % enable row level security',
    "create policy p on % for select to authenticated using (current_setting('request.jwt.claims')::json ->> 'sub' = 'seer')")
  const claims = (sub) => ({ role: 'authenticated', sub })
  const [s, blind, other] = [await subscriber(t, node, all(T, { filter: slow }), claims('seer')), await subscriber(t, node, all(T, { filter: slow }), claims('blind')), await subscriber(t, node, all(T, { filter: 't=imatch.^X' }), claims('seer'))]
  const rows = ['xxxxxxy', 'no', null, 'xxxxxxy'].map((v, i) => v === null ? `(${i}, ${heavy})` : `(${i}, '${v}')`)
  await sql.query(`insert into ${T} values ${rows}`)
  const told = (await s.s.event(s.topic, 'system', 30000)).payload
  assert.equal(told.status, 'error')
  assert.equal(told.message, `Changes may be missing: the filter ${slow} could not be evaluated for a row, because of an error or its time limit`)
  assert.equal((await s.s.event(s.topic, 'system', 30000)).payload.message, 'Subscribed to PostgreSQL')
  const lists = await after(sql, [], s, blind, other)
  assert.deepEqual(lists.map((l) => l.map((m) => m.record.id)), [[0, 3], [], [0, 2, 3]])
  assert.ok(!blind.s.frames?.some((f) => f.event === 'system' && f.payload.status === 'error'))
  // Three within a minute are too many: the subscription ends, the rest of its channel goes on.
  await sql.query(`insert into ${T} values (10, ${heavy}), (11, ${heavy}), (12, ${heavy})`)
  const texts = []
  while (!texts.at(-1)?.startsWith('Changes are missing')) texts.push((await s.s.event(s.topic, 'system', 30000)).payload.message)
  assert.equal(texts.at(-1), `Changes are missing: the filter ${slow} is cancelled, because it failed for three rows within a minute. The last failure: 57014 (query_canceled)`)
  const rest = await after(sql, [`insert into ${T} values (20, 'xxxxxxy')`], s, other)
  assert.deepEqual(rest.map((l) => l.map((m) => m.record.id)), [[], [10, 11, 12, 20]])
  assert.ok((node.nodes ?? [node]).some((n) => /ev=filter_cancelled/.test(n.logText())))
})

test('a filter that fails for several rows of a transaction is told once', async (t) => {
  const T = await table('id int primary key, t text')
  const s = await subscriber(t, node, all(T, { filter: slow }))
  const list = await after(sql, [`insert into ${T} values (1, ${heavy}), (2, ${heavy}), (3, 'xxxxxxy')`], s)
  assert.deepEqual(list[0].map((m) => m.record.id), [3])
  await s.s.heartbeat()
  const told = s.s.frames.filter((f) => f.event === 'system').map((f) => f.payload.message)
  assert.equal(told.filter((m) => m.startsWith('Changes may be missing')).length, 1, told.join('; '))
})

test('the connection ends while a filter is asked: the rows come again, each once', async (t) => {
  const T = await table('id int primary key, t text')
  const [s, other] = [await subscriber(t, node, all(T, { filter: slow })), await subscriber(t, node, all(T, { filter: 't=ilike.X%' }))]
  const killer = await database.connect()
  const killed = killer.query(`do $$ begin loop
    perform pg_stat_clear_snapshot();
    perform pg_terminate_backend(pid) from pg_stat_activity
      where application_name like '%:check' and state = 'active' and query like 'select v.i from%';
    exit when found;
  end loop; end $$`)
  await sql.query(`insert into ${T} values (1, ${heavy}), (2, 'xxxxxxy'), (3, ${heavy})`)
  await killed
  const lists = await after(sql, [`insert into ${T} values (4, 'xxxxxxy')`], s, other)
  assert.deepEqual(lists.map((l) => l.map((m) => m.record.id)), [[2, 4], [1, 2, 3, 4]])
})

test('random filters and rows: what arrives is what SELECT says', async (t) => {
  const seed = Number(process.env.FILTER_SEED ?? Date.now() % 2 ** 31)
  const rng = random(seed)
  t.diagnostic(`FILTER_SEED=${seed}`)
  const T = await table(`id int primary key, ${columns.map((c) => `${c.name} ${c.sql}`).join(', ')}`, 'alter table % replica identity full')
  const row = (id) => `(${[id, ...columns.map((c) => c.literal(rng))].join(', ')})`
  const names = columns.map((c) => c.name).join(', ')
  const ids = [...Array(60).keys()]
  await sql.query(`insert into ${T} values ${ids.map(row).join(',')}`)

  // Those that Postgres refuses are refused; one of each kind is tried.
  const [good, bad] = [new Map(), new Map()]
  while (good.size < 3 * 98) {
    const conds = [condition(rng), ...rng.below(3) === 0 ? [condition(rng)] : []]
    const text = conds.map(filterText(rng)).join(',')
    const where = conds.map(sqlText).join(' and ')
    try {
      for (const c of conds) await sql.query(`select from ${T} where ${sqlText(c)}`)
      good.set(text, where)
    } catch (err) {
      if (conds.length === 1) bad.set(`${conds[0].column.name} ${conds[0].op}`, [text, err])
    }
  }
  for (const [text, err] of bad.values()) {
    const s = await subscriber(t, node, all(T, { filter: text }), undefined, { status: 'error' })
    assert.match(s.system.message, /An exception happened/, `${text}: ${err.message}`)
  }

  const texts = [...good.keys()]
  const subs = []
  await sql.query(`truncate ${T}`)
  for (let i = 0; i < texts.length; i += 98) {
    subs.push(await subscriber(t, node, [...all(T), ...texts.slice(i, i + 98).map((filter) => all(T, { filter })[0])]))
  }
  const expected = async () => {
    const map = new Map(ids.map((id) => [id, []]))
    for (const text of texts) {
      for (const { id } of (await sql.query(`select id from ${T} where ${good.get(text)} order by id`)).rows) map.get(id).push(text)
    }
    return map
  }
  let pairs = 0
  const check = (type, lists, want) => {
    const got = new Map(ids.map((id) => [id, []]))
    lists.forEach((list, i) => {
      assert.deepEqual(list.map((m) => m.type), ids.map(() => type))
      for (const m of list) {
        const { id } = m.record ?? m.old_record
        m.ids.forEach((n) => { const at = subs[i].ids.indexOf(n); if (at > 0) got.get(id).push(texts[i * 98 + at - 1]) })
      }
    })
    for (const id of ids) {
      const [a, b] = [new Set(got.get(id)), new Set(want.get(id))]
      assert.deepEqual({ id, more: [...a].filter((x) => !b.has(x)), less: [...b].filter((x) => !a.has(x)) }, { id, more: [], less: [] }, `${type}, FILTER_SEED=${seed}`)
      pairs += texts.length
    }
  }
  const inserted = await after(sql, [`insert into ${T} values ${ids.map(row).join(',')}`], ...subs)
  check('INSERT', inserted, await expected())
  const change = (id) => `update ${T} set (id, ${names}) = ${row(id)} where id = ${id}`
  const updated = await after(sql, [ids.map(change)], ...subs)
  const want = await expected()
  check('UPDATE', updated, want)
  check('DELETE', await after(sql, [`delete from ${T}`], ...subs), want)
  t.diagnostic(`${texts.length} filters, ${pairs} pairs, ${bad.size} kinds refused`)
  assert.ok(pairs >= 10000)
})

test('a value that is too large for a filter is not asked about, and its subscriber is told', async (t) => {
  const T = await table('id int primary key, v text')
  const s = await subscriber(t, node, all(T, { filter: 'v=ilike.%X' }))
  const other = await subscriber(t, node, all(T))
  const sizes = [1, 2, 5, 6, 7, 0] // megabytes; it is not the filter's fault, so that is not cancelled
  const got = await after(sql, sizes.map((mb) => `insert into ${T} values (${mb}, 'x' || repeat('x', ${mb} * 1024 * 1024))`), s, other)
  assert.deepEqual(got.map((list) => list.map((d) => d.record.id)), [[1, 2, 0], sizes])
  assert.match((await s.s.event(s.topic, 'system')).payload.message, /^Changes may be missing: the filter .* could not be evaluated for a row/)
})
