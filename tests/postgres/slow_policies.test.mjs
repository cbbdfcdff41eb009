// SPDX-License-Identifier: Apache-2.0
// Goal: policies that are slow, or fail whatever the row is, cost others a bounded time and no row, and those whom they
// concern are told.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { prepare, tableMaker, all, subscriber, after } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
// What recurses in a function comes to its end soon.
await sql.query(`do $$ begin execute format('alter database %I set max_stack_depth = ''200kB''', current_database()); end $$`)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)

const RLS = 'alter table % enable row level security'
const TEXT = 'Query was cancelled, please try again'
const user = (sub, role = 'authenticated') => ({ role, sub })
const ids = (list) => list.map((m) => m.record.id)
const messages = (s) => s.s.frames.filter((f) => f.event === 'system').map((f) => f.payload.message)
const told = (s, text) => until(`the word: ${text}`, () => messages(s).includes(text)) // from another node it may come behind a row
const rows = (from, count) => Array.from({ length: count }, (_, i) => `(${from + i})`).join()
const range = (from, count) => Array.from({ length: count }, (_, i) => from + i)

/** A function that does this for the user `slow`, and a table whose policy asks it. */
async function slowTable(name, body) {
  const define = (does) => sql.query(`create or replace function ${name}() returns boolean language plpgsql as $$
    begin if current_setting('request.jwt.claims')::json ->> 'sub' = 'slow' then ${does}; end if; return true; end $$`)
  await define(body)
  const T = await table('id int primary key', RLS, `create policy p on % for select using (${name}())`)
  return { T, mend: () => define('null') }
}

/** A table whose policy is not compiled, and is quick. */
const quickTable = () => table('id int primary key', RLS, "create policy p on % for select using (current_setting('role') = 'authenticated')")

for (const [what, body, batch] of [['sleeps', 'perform pg_sleep(30)', 200], ['loops', 'loop perform 1; end loop', 1]]) {
  test(`a policy that ${what} for one, ${batch} rows at a time: cancelled and told; others get every row`, async (t) => {
    const { T, mend } = await slowTable(what, body)
    const V = await quickTable()
    const slow = await subscriber(t, node, all(T), user('slow'))
    const others = [await subscriber(t, node, all(T), user('quick')), await subscriber(t, node, all(V), user('other'))]
    let next = 0
    while (next === 0 || (next < 3 && messages(slow).length === 0)) {
      const got = await after(sql, [[`insert into ${T} values ${rows(next, batch)}`, `insert into ${V} values ${rows(next, batch)}`]], ...others)
      for (const list of got) assert.deepEqual(ids(list), range(next, batch))
      next += batch
      await slow.s.heartbeat()
    }
    const { payload } = await slow.s.event(slow.topic, 'system')
    assert.deepEqual(payload, { ...slow.system, status: 'error', message: TEXT })
    assert.ok((node.nodes ?? [node]).some((n) => /ev=changes_cancelled code=QueryCanceled/.test(n.logText())))
    const { rows: steps } = node.ask('explain', slow.topic.slice('realtime:'.length), T)
    assert.deepEqual(steps.filter((r) => r.result === 'drops').map((r) => [r.step, r.detail]).slice(0, 2),
      [['registration', TEXT], ['policies', 'they ran out of time too often for the role and claims of the token']])
    await mend()
    const again = await subscriber(t, node, all(T), undefined, { token: slow.token })
    const got = await after(sql, [`insert into ${T} values (1000)`, `insert into ${V} values (1000)`], slow, again, ...others)
    assert.deepEqual(got.map(ids), [[], [1000], [1000], [1000]])
    assert.deepEqual(messages(slow), [])
  })
}

test('a policy that is in time with each row, and not with all: cancelled and told; others get every row', async (t) => {
  const { T } = await slowTable('slow_each', 'perform pg_sleep(0.15)')
  await sql.query(`alter policy p on ${T} using (slow_each() and 1 / (id - 7) is not null)`) // others are judged row by row, too
  const slow = await subscriber(t, node, all(T), user('slow'))
  const quick = await subscriber(t, node, all(T), user('quick'))
  for (const from of [0, 200]) {
    const [got] = await after(sql, [`insert into ${T} values ${rows(from, 200)}`], quick)
    assert.deepEqual(ids(got), range(from, 200).filter((id) => id !== 7))
  }
  await told(slow, TEXT)
})

test('a slow policy of one table of a schema: the subscription goes on with the others', async (t) => {
  const { T, mend } = await slowTable('slow_one', 'perform pg_sleep(30)')
  const V = await quickTable()
  await sql.query(`create schema wide; grant usage on schema wide to authenticated; alter table ${T} set schema wide; alter table ${V} set schema wide`)
  const wide = [{ event: '*', schema: 'wide', table: '*' }]
  const slow = await subscriber(t, node, wide, user('slow'))
  const quick = await subscriber(t, node, wide, user('quick'))
  const insert = (from) => [`insert into wide.${T} values ${rows(from, 100)}`, `insert into wide.${V} values ${rows(from, 100)}`]
  let got = await after(sql, insert(0), slow, quick)
  assert.deepEqual(got.map(ids), [range(0, 100), [...range(0, 100), ...range(0, 100)]])
  await told(slow, TEXT)
  await told(slow, 'Subscribed to PostgreSQL')
  assert.deepEqual(messages(slow), [TEXT, 'Subscribed to PostgreSQL'])
  got = await after(sql, insert(100), slow, quick)
  assert.deepEqual(got.map(ids), [range(100, 100), [...range(100, 100), ...range(100, 100)]])
  await mend()
  slow.s.send('1', '9', slow.topic, 'phx_leave', {})
  await slow.s.reply('9')
  const again = await subscriber(t, node, wide, undefined, { token: slow.token })
  got = await after(sql, insert(200), again)
  assert.deepEqual(got.map(ids), [[...range(200, 100), ...range(200, 100)]])
  await sql.query('drop schema wide cascade')
})

const FAILING = {
  'that asks its own table': async () => table('id int primary key', RLS, 'create policy p on % for select to authenticated using (exists (select from % o where o.id = 0))'),
  'that asks its own table in a function': async () => {
    await sql.query('create function around(t text) returns boolean language plpgsql as $$ declare b boolean; begin execute format(\'select exists (select from %I)\', t) into b; return b; end $$')
    return table('id int primary key', RLS, "create policy p on % for select to authenticated using (around('%'))")
  },
  'whose function is missing': async () => {
    await sql.query('create function lost() returns boolean return true')
    await sql.query('create function loses() returns boolean language plpgsql as $$ begin return lost(); end $$')
    const T = await table('id int primary key', RLS, 'create policy p on % for select to authenticated using (loses())')
    await sql.query('drop function lost()')
    return T
  },
  'whose function may not be called': async () => {
    await sql.query('create function closed() returns boolean return true; revoke all on function closed() from public, authenticated')
    return table('id int primary key', RLS, 'create policy p on % for select to authenticated using (closed())')
  },
  'that looks into a schema of others': async () => {
    await sql.query('create schema closed; create table closed.members (id int)')
    return table('id int primary key', RLS, 'create policy p on % for select to authenticated using (exists (select from closed.members))')
  },
}

for (const [what, make] of Object.entries(FAILING)) {
  test(`a policy ${what}: its subscribers get 401, one in a minute; others get every row`, async (t) => {
    const T = await make()
    await sql.query(`create policy anon on ${T} for select to anon using (current_setting('role') = 'anon')`)
    const V = await quickTable()
    const failing = await subscriber(t, node, all(T))
    const others = [await subscriber(t, node, all(T), user('quick', 'anon')), await subscriber(t, node, all(V), user('other'))]
    const got = await after(sql, [[`insert into ${T} values ${rows(0, 20)}`, `insert into ${V} values ${rows(0, 20)}`],
      `insert into ${T} values ${rows(20, 20)}`, `insert into ${V} values ${rows(20, 20)}`], failing, ...others)
    assert.deepEqual(got[0], [{ schema: 'public', table: T, type: 'INSERT', commit_timestamp: null, columns: [], record: {}, errors: ['Error 401: Unauthorized'], ids: [failing.ids[0]] }])
    assert.deepEqual(got.slice(1).map(ids), [range(0, 40), range(0, 40)])
    assert.deepEqual(messages(failing), [])
    await sql.query(`drop policy p on ${T}; create policy p on ${T} for select to authenticated using (id > 0)`)
    const again = await subscriber(t, node, all(T), undefined, { token: failing.token })
    const mended = await after(sql, [`insert into ${T} values (100)`], failing, again, others[0])
    assert.deepEqual(mended.map(ids), [[100], [100], [100]])
  })
}

test('a policy that raises for every row denies it without a word', async (t) => {
  const T = await table('id int primary key', RLS, "create policy p on % for select to authenticated using ((id || 'x')::int > 0)")
  const s = await subscriber(t, node, all(T))
  assert.deepEqual(await after(sql, [`insert into ${T} values (1), (2)`], s), [[]])
  assert.deepEqual(messages(s), [])
})
