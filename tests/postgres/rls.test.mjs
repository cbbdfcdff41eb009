// SPDX-License-Identifier: Apache-2.0
// Goal: nobody sees a row or column that a SELECT as the same role and claims would not show.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { prepare, tableMaker, all, subscriber, after, readerOf, U1, U2 } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)
const POLICY_A = ['alter table % enable row level security', 'create policy own on % for select using (user_id = (select auth.uid()))']
const owned = () => table('id int primary key, user_id uuid, v text', ...POLICY_A)
const user = (sub, more) => ({ role: 'authenticated', sub, ...more })

test('case 35: RLS without a policy', async (t) => {
  const T = await table('id int primary key, v text', 'alter table % enable row level security')
  const [s, a] = [await subscriber(t, node, all(T)), await subscriber(t, node, all(T), { role: 'anon' })]
  const lists = await after(sql, [`insert into ${T} values (1,'a')`, `update ${T} set v='b'`, `delete from ${T}`], s, a)
  for (const got of lists) assert.deepEqual(got.map((d) => [d.type, d.old_record]), [['DELETE', { id: 1 }]])
})

test('case 36: each sees its own', async (t) => {
  const T = await owned()
  const subs = [await subscriber(t, node, all(T), user(U1)), await subscriber(t, node, all(T), user(U2)), await subscriber(t, node, all(T), { role: 'anon' })]
  const lists = await after(sql, [`insert into ${T} values (1,'${U1}','one')`, `insert into ${T} values (2,'${U2}','two')`], ...subs)
  assert.deepEqual(lists.map((l) => l.map((d) => d.record.id)), [[1], [2], []])
})

test('case 37: 1 000 rows of two owners, many clients', async (t) => {
  const T = await owned()
  const subs = []
  for (let i = 0; i < 100; i++) subs.push(await subscriber(t, node, all(T), user(i % 2 ? U1 : U2, { n: i % 10 })))
  const lists = await after(sql, [`insert into ${T} select i, case when i % 2 = 1 then '${U1}' else '${U2}' end::uuid, 'x' from generate_series(1, 1000) i`], ...subs)
  const expected = (odd) => [...Array(1000).keys()].map((i) => i + 1).filter((i) => i % 2 === odd)
  lists.forEach((l, i) => assert.deepEqual(l.map((d) => d.record.id), expected(i % 2)))
})

test('case 38: a policy with a membership follows the membership', async (t) => {
  await sql.query('create table members (org int, user_id uuid, primary key (org, user_id)); grant select on members to authenticated')
  const T = await table('id int primary key, org int', 'alter table % enable row level security',
    'create policy m on % for select using (exists (select 1 from members m where m.org = %.org and m.user_id = (select auth.uid())))')
  await sql.query(`insert into members values (1, '${U1}')`)
  const s = await subscriber(t, node, all(T))
  assert.equal((await after(sql, [`insert into ${T} values (1, 1)`], s))[0].length, 1)
  assert.equal((await after(sql, ['delete from members', `insert into ${T} values (2, 1)`], s))[0].length, 0)
})

test('case 39: a row is judged by its own image', async (t) => {
  const T = await table('id int primary key, v text', 'alter table % enable row level security', "create policy p on % for select using (v = 'p')")
  const s = await subscriber(t, node, all(T))
  const db = readerOf(node).pid('db')
  process.kill(db, 'SIGSTOP')
  await sql.query(`insert into ${T} values (1,'n')`)
  await sql.query(`update ${T} set v='p'`)
  await sql.query(`insert into ${T} values (2,'p')`)
  await sql.query(`update ${T} set v='n' where id = 2`)
  process.kill(db, 'SIGCONT')
  const [got] = await after(sql, [], s)
  assert.deepEqual(got.map((d) => [d.type, d.record.id, d.record.v]), [['UPDATE', 1, 'p'], ['INSERT', 2, 'p']])
})

test('case 40: a row that is gone when it is judged was still inserted', async (t) => {
  const T = await table('id int primary key, v text', 'alter table % enable row level security', "create policy p on % for select using (v = 'p')")
  const s = await subscriber(t, node, all(T))
  const db = readerOf(node).pid('db')
  process.kill(db, 'SIGSTOP')
  await sql.query(`insert into ${T} values (1,'p'), (2,'n')`)
  await sql.query(`delete from ${T}`)
  process.kill(db, 'SIGCONT')
  const [got] = await after(sql, [], s)
  assert.deepEqual(got.map((d) => [d.type, d.record, d.old_record]), [['INSERT', { id: 1, v: 'p' }, undefined], ['DELETE', undefined, { id: 1 }], ['DELETE', undefined, { id: 2 }]])
})

test('case 41: 5 000 single inserts, none judged too early', async (t) => {
  const T = await owned()
  const s = await subscriber(t, node, all(T), user(U1))
  const others = await Promise.all([1, 2, 3].map(() => database.connect()))
  await Promise.all([sql, ...others].map(async (c, k) => {
    for (let i = 0; i < 1250; i++) await c.query(`insert into ${T} values ($1, $2, 'x')`, [k * 1250 + i, U1])
  }))
  const [got] = await after(sql, [], s)
  assert.equal(got.length, 5000)
  assert.equal(new Set(got.map((d) => d.record.id)).size, 5000)
})

test('case 42: a policy that raises denies that row only', async (t) => {
  const T = await table('id int primary key, v text', 'alter table % enable row level security', 'create policy c on % for select using (v::int > 0)')
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [[`insert into ${T} values (1,'5')`, `insert into ${T} values (2,'abc')`, `insert into ${T} values (3,'7')`]], s)
  assert.deepEqual(got.map((d) => d.record.id), [1, 3])
})

test('case 43: a policy that leaves its role or takes the claims of another gains nothing', async (t) => {
  await sql.query(`create function leave(into_role text) returns boolean language plpgsql as $$
    begin perform set_config('role', into_role, false), set_config('request.jwt.claims', '{"sub":"${U2}"}', false); return true; end $$`)
  const closed = await table('id int primary key, user_id uuid, v text', 'alter table % enable row level security')
  const own = await owned()
  const leaving = []
  for (const role of ['none', 'service_role', 'realtime_check']) {
    leaving.push(await table('id int primary key', 'alter table % enable row level security', `create policy l on % for select using (leave('${role}'))`))
  }
  const one = await subscriber(t, node, [closed, own, ...leaving].map((T) => all(T)[0]), user(U1))
  const rows = (id) => [...leaving.map((T) => `insert into ${T} values (${id})`), ...[closed, own].map((T) => `insert into ${T} values (${id}, '${U2}', 'not his')`),
    ...leaving.map((T) => `insert into ${T} values (${id + 1})`), `insert into ${closed} values (${id + 1}, '${U1}', 'his, but closed')`, `insert into ${own} values (${id + 1}, '${U1}', 'his')`]
  const db = readerOf(node).pid('db')
  for (const stale of [false, true]) {
    if (stale) process.kill(db, 'SIGSTOP')
    await sql.query(['begin', ...rows(stale ? 11 : 1), 'commit'].join(';'))
    if (stale) { // each is judged on its own image, then
      for (const T of [closed, own]) await sql.query(`update ${T} set v = 'later' where id > 10`)
      process.kill(db, 'SIGCONT')
    }
    const [got] = await after(sql, [], one)
    const seen = (T) => got.filter((d) => d.table === T).map((d) => [d.record.id, d.record.v])
    assert.deepEqual(seen(closed), [])
    assert.deepEqual(seen(own), stale ? [[12, 'his'], [12, 'later']] : [[2, 'his']])
  }
})

test('what a policy sets for the session holds for nobody else', async (t) => {
  await sql.query(`create function setting() returns boolean language plpgsql as $$ begin
    perform set_config('request.jwt.claim.sub', '${U2}', false), set_config('search_path', 'nowhere', false), set_config('statement_timeout', '0', false);
    return true; end $$`)
  const setting = await table('id int primary key', 'alter table % enable row level security', 'create policy s on % for select using (setting())')
  const own = await table('id int primary key, user_id uuid, v text', 'alter table % enable row level security', 'create policy o on % for select using (user_id = auth.uid() and length(v) > 0)')
  const one = await subscriber(t, node, all(own), user(U1))
  const two = await subscriber(t, node, all(setting), user(U2))
  for (const id of [1, 11]) {
    const got = await after(sql, [`insert into ${setting} values (${id})`, `insert into ${own} values (${id}, '${U2}', 'not his'), (${id + 1}, '${U1}', 'his')`], one, two)
    assert.deepEqual(got.map((list) => list.map((d) => d.record.id)), [[id + 1], [id]])
  }
})

test('a large value travels to the policies only if they ask for it', async (t) => {
  await sql.query("create table own_team (u uuid, team int, primary key (u, team)); grant select on own_team to authenticated; create domain filled as text not null")
  const MB = 1024 * 1024
  const guarded = (policy) => table('id int primary key, team int, n filled, v text', 'alter table % enable row level security', `create policy p on % for select using (exists (select from own_team o where o.team = %.team and o.u = auth.uid()) ${policy})`)
  const [spared, asked] = [await guarded(''), await guarded('and v is not null')]
  await sql.query(`insert into own_team values ('${U1}', 1)`)
  const mine = await subscriber(t, node, [all(spared)[0], all(asked)[0]], user(U1))
  const others = []
  for (let n = 0; n < 40; n++) others.push(await subscriber(t, node, [all(spared)[0], all(asked)[0]], { ...user(U2), n }))
  const peak = (pid) => Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) * 1024
  const db = readerOf(node).pid('db')
  const before = peak(db)
  const insert = (T, id, bytes) => `insert into ${T} values (${id}, 1, 'n', repeat('x', ${bytes}))`
  const steps = [insert(spared, 1, 12 * MB), insert(asked, 1, MB / 2), insert(asked, 2, 2 * MB), insert(asked, 4, 5 * MB),
    [insert(spared, 2, 10), `update ${spared} set v = 'later' where id = 2`], [insert(asked, 3, 10), `update ${asked} set v = 'later' where id = 3`]]
  const [got, ...theirs] = await after(sql, steps, mine, ...others)
  assert.deepEqual(got.map((d) => [d.table, d.record.id]), [[spared, 1], [asked, 1], [asked, 2], [asked, undefined], [spared, 2], [spared, 2], [asked, 3], [asked, 3]])
  // What is too large to be judged is nobody's, and they are told that there was something.
  for (const list of [got.filter((d) => d.record.id === undefined), ...theirs]) assert.deepEqual(list.map((d) => [d.table, d.errors]), [[asked, ['Error 401: Unauthorized']]])
  assert.equal(readerOf(node).pid('db'), db)
  assert.ok(peak(db) - before < 400 * MB, `${(peak(db) - before) / MB} MiB more`)
})

test('case 44: a policy that writes is denied, and has written nothing', async (t) => {
  await sql.query(`create table audit (n int); grant all on audit to authenticated;
    create function audited() returns boolean language plpgsql as $$ begin insert into audit values (1); return true; end $$`)
  const T = await table('id int primary key', 'alter table % enable row level security', 'create policy w on % for select using (audited())')
  const other = await owned()
  const s = await subscriber(t, node, [all(T)[0], all(other)[0]])
  const [got] = await after(sql, [[`insert into ${T} values (1)`, `insert into ${other} values (1, '${U1}', 'x')`], `update ${T} set id = 2`], s)
  assert.deepEqual(got.map((d) => [d.table, d.record.id]), [[other, 1]])
  assert.equal((await sql.query('select count(*)::int as n from audit')).rows[0].n, 0)
  assert.match(readerOf(node).logText(), /RlsPolicyError/)
})

test('a policy that drops what was prepared hides no row', async (t) => {
  await sql.query("create function forgetful() returns boolean language plpgsql as $$ begin execute 'deallocate all'; return true; end $$")
  const T = await table('id int primary key', 'alter table % enable row level security', 'create policy f on % for select using (forgetful())')
  const other = await table('id int primary key, user_id uuid, v text', 'alter table % enable row level security', 'create policy o on % for select using (user_id = auth.uid() and length(v) > 0)')
  const s = await subscriber(t, node, [all(T)[0], all(other)[0]])
  const [got] = await after(sql, Array.from({ length: 20 }, (_, i) => [`insert into ${T} values (${i})`, `insert into ${other} values (${i}, '${U1}', 'x'), (${100 + i}, '${U2}', 'x')`]).flat(), s)
  for (const name of [T, other]) assert.deepEqual(got.filter((d) => d.table === name).map((d) => d.record.id), Array.from({ length: 20 }, (_, i) => i), name)
})

test('a role that leaves a group is shown no more of what the group sees', async (t) => {
  await sql.query('create role staff nologin; create role clerk nologin inherit; grant staff to clerk; grant clerk to realtime_check; grant usage on schema public to clerk')
  const T = await table('id int primary key, v text', 'alter table % enable row level security', 'create policy g on % for select to staff using (length(v) > 0)')
  await sql.query(`grant select on ${T}, marker to clerk`)
  const s = await subscriber(t, node, all(T), { role: 'clerk' })
  let id = 0
  const shown = async (rows) => { // memberships are looked at every 5 s
    while ((await after(sql, [`insert into ${T} values (${++id}, 'x')`], s))[0].length !== rows) {
      assert.ok(id < 300, `the membership was never noticed: ${rows}`)
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
  }
  await shown(1)
  await sql.query('revoke staff from clerk')
  await shown(0)
})

test('a policy that raises for other rows of the table does not hide this one', async (t) => {
  // By a numeric key Postgres finds no row before the policies: its equality is not leakproof.
  for (const type of ['int', 'numeric', 'uuid', 'text']) {
    const T = await table(`id ${type} primary key, v text`, 'alter table % enable row level security')
    const key = (n) => type === 'uuid' ? U1.slice(0, -2) + n : String(n)
    await sql.query(`insert into ${T} values ${[...Array(30).keys()].map((i) => `('${key(i + 10)}', 'abc')`)}; analyze ${T}`)
    await sql.query(`create policy c on ${T} for select using (v::int > 0)`)
    const s = await subscriber(t, node, all(T))
    const [got] = await after(sql, [`update ${T} set v = '7' where id = '${key(12)}'`, `update ${T} set v = '-1' where id = '${key(13)}'`], s)
    assert.deepEqual(got.map((d) => String(d.record.id)), [key(12)], type)
  }
})

test('case 45: a role that bypasses RLS', async (t) => {
  const T = await owned()
  const s = await subscriber(t, node, all(T), { role: 'service_role' })
  const [got] = await after(sql, [`insert into ${T} values (1,'${U1}','a')`, `insert into ${T} values (2,'${U2}','b')`, `delete from ${T} where id = 1`], s)
  assert.deepEqual(got.map((d) => [d.type, (d.record ?? d.old_record).id]), [['INSERT', 1], ['INSERT', 2], ['DELETE', 1]])
  assert.deepEqual(got[2].old_record, { id: 1 })
})

test('case 46: a refreshed token changes what is seen', async (t) => {
  const T = await owned()
  const s = await subscriber(t, node, all(T), user(U1))
  s.s.send('1', null, s.topic, 'access_token', { access_token: node.token(user(U2)) })
  await s.s.event(s.topic, 'system')
  const [got] = await after(sql, [`insert into ${T} values (1,'${U1}','a')`, `insert into ${T} values (2,'${U2}','b')`], s)
  assert.deepEqual(got.map((d) => d.record.id), [2])
})

test('case 47: RLS switched on between two inserts', async (t) => {
  const T = await table('id int primary key, v text')
  const s = await subscriber(t, node, all(T))
  const [first] = await after(sql, [`insert into ${T} values (1,'a')`], s)
  const [second] = await after(sql, [`alter table ${T} enable row level security`, `insert into ${T} values (2,'b')`], s)
  assert.deepEqual([first.map((d) => d.record.id), second], [[1], []])
})

test('case 48: grants between inserts', async (t) => {
  const T = await table('id int primary key, v text')
  const s = await subscriber(t, node, all(T))
  // Rights are those of the moment a row is decoded, so each row is awaited before the next grant.
  const step = async (grant, id) => (await after(sql, [grant, `insert into ${T} values (${id},'v')`], s))[0].map((d) => [d.record, d.errors])
  assert.deepEqual(await step('select 1', 1), [[{ id: 1, v: 'v' }, null]])
  assert.deepEqual(await step(`revoke all on ${T} from authenticated`, 2), [[{}, ['Error 401: Unauthorized']]])
  assert.deepEqual(await step(`grant select (id) on ${T} to authenticated`, 3), [[{ id: 3 }, null]])
  assert.deepEqual(await step(`grant select on ${T} to authenticated`, 4), [[{ id: 4, v: 'v' }, null]])
})

test('a role that loses BYPASSRLS sees no more rows than its policies show', async (t) => {
  const T = await owned()
  await sql.query("create role auditor nologin bypassrls; grant auditor to realtime_check; grant usage on schema public to auditor")
  await sql.query(`grant select on ${T}, marker to auditor`)
  const s = await subscriber(t, node, all(T), { role: 'auditor' })
  assert.equal((await after(sql, [`insert into ${T} values (1,'${U1}','a')`], s))[0].length, 1)
  await sql.query('alter role auditor nobypassrls')
  let id = 2
  // Roles are looked at every 5 s: until then rows may still come.
  for (;;) {
    const [got] = await after(sql, [`insert into ${T} values (${id++},'${U1}','a')`], s)
    if (got.length === 0) break
    assert.ok(id < 200, 'the lost right was never noticed')
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
})

test('roles that may not be taken', async (t) => {
  const T = await owned()
  for (const [role, text] of [['postgres', 'role "postgres" is not allowed'], ['nobody_here', 'role "nobody_here" does not exist']]) {
    const s = await subscriber(t, node, all(T), { role }, { status: 'error' })
    assert.ok(s.system.message.includes(text), s.system.message)
  }
})

test('a token that is refreshed under load costs no row, and none comes twice', async (t) => {
  const T = await table('id int primary key, owner uuid', 'alter table % enable row level security',
    'create policy p on % for select to authenticated using (owner = auth.uid())')
  const s = await connect(t, node)
  const token = (n) => node.token({ role: 'authenticated', sub: U1, iat: Math.floor(Date.now() / 1000), jti: `copy ${n}` })
  await s.join('realtime:refreshed', {}, { ref: '1', payload: { access_token: token(0),
    config: { postgres_changes: all(T), postgres_changes_options: { wait: true, timeout: 15000 } } } })
  const ids = []
  s.sink = (f) => { if (f.event !== 'postgres_changes') return false; ids.push(f.payload.data.record.id); return true }
  let id = 0, n = 0
  for (const end = Date.now() + 6000; Date.now() < end;) {
    for (let k = 0; k < 40; k++) await sql.query(`insert into ${T} select g, '${U1}' from generate_series($1::int, $2::int) g`, [id + 1, id += 5])
    s.send('1', `t${++n}`, 'realtime:refreshed', 'access_token', { access_token: token(n) }) // one a second counts
  }
  await until('the last row', () => ids.at(-1) === id)
  assert.equal(ids.length, id)
  assert.deepEqual(ids, [...ids].sort((a, b) => a - b))
  assert.equal(new Set(ids).size, id)
  t.diagnostic(`${id} rows, ${n} tokens`)
})
