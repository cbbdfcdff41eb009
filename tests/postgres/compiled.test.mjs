// SPDX-License-Identifier: Apache-2.0
// Goal: a policy that is evaluated without Postgres says exactly what Postgres would.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres } from '../harness/process.mjs'
import { random } from './random_filters.mjs'
import { after, all, prepare, subscriber, tableMaker, U1, U2 } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const table = tableMaker(sql)
const columns = 'id int primary key, owner uuid, team text, vc varchar(40), n int, big bigint, open bool, ch char(4)'

async function metric(node, name) {
  const text = await (await fetch(`${node.adminUrl}/metrics`)).text()
  return text.split('\n').filter((l) => l.startsWith(`realtime_${name}`)).reduce((sum, l) => sum + Number(l.split(' ').at(-1)), 0)
}
/** What is shown of a row: its key, or why it is not. */
const shown = (d) => d.record?.id ?? d.errors
const UNAUTHORIZED = ['Error 401: Unauthorized'] // the policy itself fails, whatever the row is
const guarded = (policy) => table(columns, 'grant select on % to authenticated, anon', 'alter table % enable row level security',
  `create policy p on % for select using (${policy})`)

test('which policies need no query, and which do', async (t) => {
  const node = await startNode(t, { database, nodes: 1 })
  const compiled = [
    'true', 'owner = auth.uid()', 'auth.uid() = owner', '(select auth.uid()) = owner', 'owner::text = auth.uid()::text', 'open', 'not open',
    "team = auth.jwt() ->> 'team'", "team = (auth.jwt() -> 'app_metadata' ->> 'team')", "owner = (auth.jwt() ->> 'sub')::uuid",
    "auth.role() = 'authenticated'", "vc = 'a' or (n > 3 and open is not null)", "team in ('a', 'b')", 'n = any (array[1, 2])', 'n < big',
    "auth.email() is null and open = true and team <> 'it''s'", "(select auth.jwt()) ->> 'team' = team"]
  const asked = ["team like 'a%'", 'n + 1 = 2', "ch = 'a'", "exists (select from marker where name = team)", 'id in (select id from marker)',
    "team < 'b'", "(auth.jwt() ->> 'n')::int = n", "lower(team) = 'a'", 'n is distinct from 3', "coalesce(open, true)", 'now() > now()']
  for (const [policies, queries] of [[compiled, false], [asked, true]]) {
    for (const policy of policies) {
      const T = await guarded(policy)
      const s = await subscriber(t, node, all(T))
      const before = await metric(node, 'rls_checks_total')
      await after(sql, [`insert into ${T} values (1, '${U1}', 'a', 'a', 5, 6, true, 'a')`], s)
      assert.equal(await metric(node, 'rls_checks_total') > before, queries, policy)
    }
  }
})

test('what Postgres may read otherwise, or raise for, is asked', async (t) => {
  const node = await startNode(t, { database, nodes: 1 })
  const T = async (policy) => table(`${columns}, "CURRENT_USER" text default 'a', de text collate "POSIX" default 'a', fr text collate "C" default 'a', kept text default 'a'`,
    'grant select on % to authenticated', 'alter table % enable row level security', `create policy p on % for select using (${policy})`)
  const insert = (name, s, n) => after(sql, [`insert into ${name} (id, owner, team, n, big) values (${n}, '${U1}', 'a', 70000, 5000000000)`], s)
  // The policy, the claims beside role and sub, whether the row is seen, or what comes instead.
  for (const [policy, claims, seen] of [
    ['n::smallint <> 3', {}, false], ['big::int <> 3', {}, false], ['big::int::bigint is not null', {}, false],
    ['n::bigint = 70000', {}, true],
    ['team = current_user', {}, false], ['"CURRENT_USER" = team', {}, true],
    ['de = fr', {}, UNAUTHORIZED], ['de = team', {}, true],
    ['owner = auth.uid()', { more: { x: '\0' } }, false], ['owner = auth.uid()', { more: '\ud800' }, false],
    ['owner = auth.uid()', { more: '\u00e9' }, true],
  ]) {
    const name = await T(policy)
    const s = await subscriber(t, node, all(name), { role: 'authenticated', sub: U1, ...claims })
    const [got] = await insert(name, s, 1)
    assert.deepEqual(got.map(shown), seen ? [seen === true ? 1 : seen] : [], `${policy} ${JSON.stringify(claims)}`)
  }
})

test('a row from before its columns changed their names is asked', async (t) => {
  const node = await startNode(t, { database, nodes: 1 })
  const T = await table('id int primary key, owner uuid, reader uuid', 'grant select on % to authenticated',
    'alter table % enable row level security', 'create policy p on % for select using (owner = auth.uid())')
  const subscribers = await Promise.all([U1, U2].map((sub) => subscriber(t, node, all(T), { role: 'authenticated', sub })))
  // The policy goes with its column, which is called reader at the end.
  const got = await after(sql, ['begin', `insert into ${T} values (1, '${U1}', '${U2}')`, `alter table ${T} rename owner to x`,
    `alter table ${T} rename reader to owner`, `alter table ${T} rename x to reader`, 'commit'], ...subscribers)
  assert.deepEqual(got[1], [])
})

test('many users at once: each sees its own row', async (t) => {
  const node = await startNode(t, { database, nodes: 1 })
  const T = await guarded('owner = auth.uid()')
  const users = Array.from({ length: 60 }, (_, i) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`)
  const subscribers = await Promise.all(users.map((sub) => subscriber(t, node, all(T), { role: 'authenticated', sub })))
  const got = await after(sql, [`insert into ${T} (id, owner) values ${users.map((u, i) => `(${i}, '${u}')`).join()}`], ...subscribers)
  assert.deepEqual(got.map((list) => list.map((d) => d.record.id)), users.map((_, i) => [i]))
  assert.equal(await metric(node, 'rls_checks_total'), 0)
})

test('helpers that mean something else, or may not be called, are asked', async (t) => {
  const node = await startNode(t, { database, nodes: 1 })
  const T = await guarded('owner = auth.uid()')
  const s = await subscriber(t, node, all(T))
  const insert = async (id) => (await after(sql, [`insert into ${T} (id, owner) values (${id}, '${U1}')`], s))[0].map(shown)
  assert.deepEqual(await insert(1), [1])
  const { rows: [{ def }] } = await sql.query("select pg_get_functiondef('auth.uid()'::regprocedure) as def")
  await sql.query(`create or replace function auth.uid() returns uuid language sql stable as $$ select '${U2}'::uuid $$`)
  // Functions are looked at every few seconds; a change of the table brings it at once.
  await sql.query(`alter table ${T} add column later int`)
  assert.deepEqual(await insert(2), [])
  await sql.query(def)
  await sql.query('revoke execute on function auth.uid() from public, authenticated')
  await sql.query(`alter table ${T} drop column later`)
  assert.deepEqual(await insert(3), [UNAUTHORIZED])
  await sql.query('grant execute on function auth.uid() to public, authenticated')
  await sql.query(`alter table ${T} add column again int`)
  assert.deepEqual(await insert(4), [4])
})

test('a claim that a setting of the database overrides is asked', async (t) => {
  const { rows: [{ name }] } = await sql.query('select quote_ident(current_database()) as name')
  await sql.query(`alter database ${name} set "request.jwt.claim.sub" = '${U2}'`)
  t.after(() => sql.query(`alter database ${name} reset "request.jwt.claim.sub"`))
  const node = await startNode(t, { database, nodes: 1 })
  const T = await guarded('owner = auth.uid()')
  const s = await subscriber(t, node, all(T))
  const [got] = await after(sql, [`insert into ${T} (id, owner) values (1, '${U1}'), (2, '${U2}')`], s)
  assert.deepEqual(got.map((d) => d.record.id), [2])
})

test('random policies, claims and rows: compiled policies say what Postgres says', async (t) => {
  const seed = Number(process.env.POLICY_SEED ?? Date.now() % 1e9)
  const rng = random(seed)
  const node = await startNode(t, { database, nodes: 1, env: { REALTIME_RLS_COMPILE: 'shadow' } })
  const users = [U1, U2, 'aaaaaaaa-0000-4000-8000-00000000000a']
  const value = {
    owner: () => rng.pick(['auth.uid()', '(select auth.uid())', `'${rng.pick(users)}'::uuid`, "(auth.jwt() ->> 'sub')::uuid", 'null::uuid',
      `('${rng.pick(users).toUpperCase()}'::text)::uuid`, `(('${rng.pick(users)}'::text)::uuid)::text::uuid`]),
    team: () => rng.pick(["'a'", "'b'", "''", "auth.jwt() ->> 'team'", "auth.jwt() -> 'app_metadata' ->> 'team'", 'auth.role()', 'auth.email()', 'vc', 'owner::text', 'team::name::text', 'vc::varchar(1)', "(auth.jwt() -> 'app_metadata')::text", 'current_user', 'auth.uid()::text', "'it''s'"]),
    n: () => rng.pick(['1', '-1', '0', 'big', 'id', '2147483647', 'n::smallint', 'big::int', 'n::bigint', "'7'::smallint", '70000::int']),
    open: () => rng.pick(['true', 'false', 'n > 0']),
  }
  const atom = () => rng.pick([
    () => `owner ${rng.pick(['=', '<>'])} ${value.owner()}`,
    () => `${rng.pick(['team', 'vc'])} ${rng.pick(['=', '<>'])} ${value.team()}`,
    () => `${rng.pick(['n', 'big'])} ${rng.pick(['=', '<>', '<', '<=', '>', '>='])} ${value.n()}`,
    () => `open ${rng.pick(['=', '<>'])} (${value.open()})`,
    () => `${rng.pick(['owner', 'team', 'n', 'open', 'auth.email()', "auth.jwt() ->> 'team'"])} is ${rng.pick(['', 'not '])}null`,
    () => `team in ('a', '', ${rng.pick(["'b'", 'null'])})`,
    () => 'open',
    () => `auth.role() = '${rng.pick(['authenticated', 'anon'])}'`,
  ])()
  const policy = (depth) => depth === 0 || rng.below(3) === 0 ? atom()
    : rng.below(5) === 0 ? `not (${policy(depth - 1)})` : `(${policy(depth - 1)}) ${rng.pick(['and', 'or'])} (${policy(depth - 1)})`
  const literal = (list) => rng.below(5) === 0 ? 'null' : `'${rng.pick(list)}'`
  const claims = [
    { role: 'authenticated', sub: U1, team: 'a', app_metadata: { team: 'b' }, email: 'a' },
    { role: 'authenticated', sub: U2.toUpperCase(), team: null, email: '' },
    { role: 'authenticated', sub: 'AAAAAAAA-0000-4000-8000-00000000000A', team: 7, app_metadata: 'b' },
    { role: 'authenticated', sub: 'not a uuid', team: 'ä"b', 'app_metadata': { team: null } },
    { role: 'anon', team: '' },
    { role: 'authenticated', sub: `{${U1}}`, app_metadata: { team: 'a', x: '\0' } },
    { role: 'authenticated', sub: '', app_metadata: [{ team: 'a' }], email: 'b', 't\u00e9am\n': 'a', team: 'a\n' },
  ]
  const tables = []
  for (let i = 0; i < 60; i++) tables.push({ name: await guarded(policy(3)) })
  for (const c of claims) {
    for (let i = 0; i < tables.length; i += 20) {
      await subscriber(t, node, tables.slice(i, i + 20).flatMap(({ name }) => all(name)), c)
    }
  }
  const end = await subscriber(t, node, all(tables[0].name))
  for (const { name } of tables) {
    const rows = Array.from({ length: 12 }, (_, id) => `(${id}, ${literal(users)}, ${literal(['a', 'b', '', 'ä', "it''s", 'authenticated'])},
      ${literal(['a', 'b', '', U1])}, ${literal(['-1', '0', '1', '2147483647'])}, ${literal(['-1', '1', '9223372036854775807'])}, ${literal(['t', 'f'])}, ${literal(['a', ''])})`)
    await after(sql, [`insert into ${name} values ${rows.join()}`], end)
  }
  const compiled = await metric(node, 'rls_compiled_total')
  t.diagnostic(`POLICY_SEED=${seed}: ${tables.length} policies, ${compiled} verdicts`)
  assert.equal(await metric(node, 'rls_differ_total'), 0, `POLICY_SEED=${seed}`)
  assert.ok(compiled > 1000, `${compiled} verdicts`)
})
