// SPDX-License-Identifier: Apache-2.0
// Random policies as applications write them, random rows for them, and random histories of a table. `%` in a
// policy is the table's name. Values come from small pools, so that each condition is true often enough.

export const users = [1, 2, 3, 4, 5].map((n) => `${String(n).repeat(8)}-0000-0000-0000-000000000000`)
export const roles = ['anon', 'authenticated', 'editor']
const orgs = ['1', '2', '3']
const states = ['draft', 'open', 'shared']
const texts = ['', '0', '1', '7', '9', 'abc', 'a b', "o'b", 'a,b', 'a"b', 'a\\b', '(a)', '{a}', 'ä€', 'null']
const tags = ['{}', '{red}', '{red,blue}', '{"a b",NULL}', '{"q\\"x","c,d"}']
const metas = ['{}', '{"public": true}', '{"org": 2}', '{"owner": "1"}', '[1, "two"]']

/** What policies read beside the row: who is in which organisation, and which roles may what. */
export const setup = `
  create type state as enum ('draft', 'open', 'shared');
  create domain level as int check (value between 0 and 9);
  create table members (org int, user_id uuid, rank int not null, primary key (org, user_id));
  alter table members enable row level security;
  create policy own on members for select using (user_id = (select auth.uid()));
  create table open_orgs (org int primary key);
  create function is_member(o int) returns boolean language sql stable security definer set search_path = '' as
    $$ select exists (select from public.members where org = o and user_id = (select auth.uid())) $$;
  create function my_rank(o int) returns int language plpgsql stable as
    $$ begin return (select rank from members m where m.org = o and m.user_id = auth.uid()); end $$;
  create role editor nologin; grant authenticated to editor; grant editor to realtime_check;
  grant usage on schema public, auth to editor;
  grant select on members, open_orgs, marker to anon, authenticated, editor`

export const columns = 'id int primary key, owner uuid, org int, lvl level, v text, st state, tags text[], meta jsonb'

const list = (rng, values) => values.filter(() => rng.below(2) === 0).concat(rng.pick(values)).map((v) => `'${v}'`).join(', ')

/** Conditions that the server decides by itself where a policy has no others. */
const simple = [
  () => 'owner = (select auth.uid())',
  () => 'auth.uid() = owner',
  () => 'owner is null',
  () => 'true',
  (rng) => `auth.role() = '${rng.pick(roles)}'`,
  (rng) => `org in (${rng.pick(orgs)}, 3)`,
  (rng) => `v in (${list(rng, ['', 'abc', 'null', '9'])})`,
  () => "v = auth.jwt() ->> 'level'",
  () => "v = (auth.jwt() -> 'app_metadata' ->> 'org')",
  (rng) => `id > ${rng.below(1000)}`,
]

/** Conditions of one kind each. */
const kinds = [
  ...simple,
  // own rows
  () => "owner::text = current_setting('request.jwt.claims', true)::json ->> 'sub'",
  () => 'owner is distinct from auth.uid()',
  // membership tables, with and without row level security of their own
  () => 'exists (select 1 from members m where m.org = %.org and m.user_id = (select auth.uid()))',
  () => 'org in (select m.org from members m where m.user_id = auth.uid())',
  (rng) => `org = any (array(select m.org from members m where m.rank > ${rng.below(3)}))`,
  () => 'exists (select from open_orgs where open_orgs.org = %.org)',
  () => 'not exists (select from open_orgs o where o.org = %.org and %.st <> \'shared\')',
  () => 'is_member(org)',
  (rng) => `my_rank(org) >= ${rng.below(3)}`,
  // roles
  (rng) => `(select auth.jwt() ->> 'role') in (${list(rng, roles)})`,
  (rng) => `current_user = '${rng.pick(roles)}'`,
  (rng) => `pg_has_role('${rng.pick(['authenticated', 'editor'])}', 'usage')`,
  // claims
  () => "lvl <= (auth.jwt() ->> 'level')::int",
  () => "org::text = auth.jwt() -> 'app_metadata' ->> 'org'",
  () => "(auth.jwt() -> 'app_metadata' -> 'orgs') @> to_jsonb(org)",
  () => "auth.jwt() -> 'app_metadata' -> 'tags' ?| tags",
  () => "coalesce((auth.jwt() ->> 'verified')::boolean, false)",
  // the row alone
  (rng) => `st in (${list(rng, states)})`,
  (rng) => `st > '${rng.pick(states)}'`,
  (rng) => `lvl > ${rng.below(9)}`,
  (rng) => `v like '${rng.pick(['a%', '%b', '_', '%"%', '%\\\\%'])}'`,
  (rng) => `'${rng.pick(['red', 'blue', 'a b'])}' = any (tags)`,
  () => "meta @> '{\"public\": true}'",
  () => "meta ->> 'owner' = left(auth.jwt() ->> 'sub', 1)",
  // raises for many rows
  (rng) => `v::int > ${rng.below(9)}`,
  () => "(meta ->> 'org')::int = org",
]

function expression(rng, depth, of = kinds) {
  const sub = (d = depth - 1) => expression(rng, d, of)
  switch (depth > 0 ? rng.below(6) : 9) {
    case 0: return `(${sub()}) and (${sub()})`
    case 1: case 2: return `(${sub()}) or (${sub()})`
    case 3: return `not (${sub()})`
    case 4: return of === simple ? sub() : `case when ${sub(0)} then ${sub()} else ${sub(0)} end`
    default: return rng.pick(of)(rng)
  }
}

/** The statements that make a table's policies, for its name; with simple conditions only, or all. */
export function policies(rng, simply = false) {
  const of = simply ? simple : kinds
  const made = [...Array(1 + rng.below(4)).keys()].map((i) => {
    const to = rng.below(3) === 0 ? 'public' : [...new Set([rng.pick(roles), rng.pick(roles)])].join(', ')
    const kind = i > 0 && rng.below(3) === 0 ? 'restrictive' : 'permissive'
    // A restrictive one of a few rows only would leave nothing to compare.
    const using = kind === 'restrictive' ? `${simply ? 'org' : 'lvl'} > 1 or ${expression(rng, 1, of)}` : expression(rng, 2, of)
    return `create policy p${rng.below(100)}_${i} on % as ${kind} for ${rng.below(4) === 0 ? 'all' : 'select'} to ${to} using (${using})`
  })
  return made
}

const maybe = (rng, pool) => rng.below(6) === 0 ? 'null' : `'${rng.pick(pool).replaceAll("'", "''")}'`
const values = (rng) => [maybe(rng, users), maybe(rng, orgs), maybe(rng, [...'0123456789']), maybe(rng, texts), maybe(rng, states), maybe(rng, tags), maybe(rng, metas)]
const names = ['owner', 'org', 'lvl', 'v', 'st', 'tags', 'meta']

/** Claims of a user in a role: the same for all the time of his token. */
export function claims(rng, role, sub) {
  const org = Number(rng.pick(orgs))
  return { role, sub, level: rng.below(10), ...rng.below(2) === 0 && { verified: rng.below(2) === 0 },
    app_metadata: { org, orgs: [org, 3], tags: [rng.pick(['red', 'blue']), 'a b'] } }
}

/** Who is a member of what, all new. */
export function memberships(rng) {
  const rows = orgs.flatMap((org) => users.filter(() => rng.below(2) === 0).map((u) => `(${org}, '${u}', ${rng.below(4)})`))
  const open = orgs.filter(() => rng.below(2) === 0).map((org) => `(${org})`)
  return ['delete from members', 'delete from open_orgs', ...rows.length ? [`insert into members values ${rows}`] : [], ...open.length ? [`insert into open_orgs values ${open}`] : []]
}

/**
 * One random statement on a table whose rows are `ids` (a set, which follows it): { sql, ids of the rows it leaves,
 * deleted }.
 */
export function statement(rng, table, ids, next) {
  const some = [...ids]
  const what = some.length < 3 ? 0 : rng.below(10)
  if (what < 3) {
    const fresh = [...Array(1 + rng.below(3))].map(() => next())
    fresh.forEach((id) => ids.add(id))
    return { sql: `insert into ${table} values ${fresh.map((id) => `(${[id, ...values(rng)]})`)}`, left: fresh, type: 'INSERT' }
  }
  const id = rng.pick(some)
  if (what === 3) {
    ids.delete(id)
    return { sql: `delete from ${table} where id = ${id}`, left: [id], type: 'DELETE' }
  }
  if (what === 4) { // another key
    const to = next()
    ids.delete(id)
    ids.add(to)
    return { sql: `update ${table} set id = ${to} where id = ${id}`, left: [to], type: 'UPDATE' }
  }
  const all = values(rng)
  const set = names.map((name, i) => `${name} = ${all[i]}`).filter(() => rng.below(3) === 0)
  return { sql: `update ${table} set ${set.length ? set : 'v = v'} where id = ${id}`, left: [id], type: 'UPDATE' }
}
