// SPDX-License-Identifier: Apache-2.0
// Goal: claims sets share the plans of what their policies ask, and never a result that is one's own.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { prepare, tableMaker, all, subscriber, after, readerOf } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const node = await startNode({ after: atEnd }, { database })
const table = tableMaker(sql)

const RLS = 'alter table % enable row level security'
const SUB = "current_setting('request.jwt.claims')::json ->> 'sub'"
const NAMES = ['ann', 'bob', 'cat']

/** Until the node that reads shares plans, or does not. */
const sharing = (on) => until(`plans to be ${on ? '' : 'not '}shared`, async () => {
  const text = await (await fetch(`${readerOf(node).adminUrl}/metrics`)).text()
  return new RegExp(`^realtime_rls_plans_shared\\{[^}]*\\} ${Number(on)}$`, 'm').test(text)
})

/** Three rows for each of them: each gets its own. */
async function eachItsOwn(T, users, from) {
  for (let round = 0; round < 3; round++) {
    const values = NAMES.map((name, i) => `(${from + round * 3 + i}, '${name}')`).join()
    const got = await after(sql, [`insert into ${T} values ${values}`], ...users)
    assert.deepEqual(got.map((list) => list.map((m) => m.record.owner)), NAMES.map((name) => [name]), `round ${round}`)
  }
}

// Declared IMMUTABLE, each reads more than its arguments.
const MISTAKEN = {
  'reads_setting()': `language sql immutable as $$ select ${SUB} $$`,
  'in_standard_form()': `language sql immutable return (${SUB})`,
  'calls_another()': 'language plpgsql immutable as $$ begin return Whose/**/(); end $$',
  'calls_quoted()': 'language sql immutable as $$ select "Odd name"() $$',
  'calls_accented()': 'language sql immutable as $$ select größe() $$',
  'joins()': `language sql immutable as $$ select p.name from unnest(array[1]) i, own p $$`,
  'by_aggregate()': "language sql immutable as $$ select last_of('x'::text) $$",
  'reads_table()': 'language sql immutable as $$ select name from people $$',
  'reads_role()': 'language sql immutable as $$ select current_user::text $$',
}
const MORE = `
  create function whose() returns text language sql stable as $$ select ${SUB} $$;
  create function "Odd name"() returns text language sql stable as $$ select ${SUB} $$;
  create function größe() returns text language sql stable as $$ select ${SUB} $$;
  create function either(text, text) returns text language sql stable as $$ select ${SUB} $$;
  create view own with (security_invoker = true) as select name from people where name = ${SUB}; grant select on own to authenticated;
  create aggregate last_of(text) (sfunc = either, stype = text);`
const RIGHT = {
  'half(int)': 'returns int language sql immutable as $$ select $1 / 2 $$',
  'slug(text)': "returns text language sql immutable as $$ select regexp_replace(lower(trim(both ' ' from $1)), '\\W+', '-', 'g') $$",
  'named(text)': "returns text language plpgsql immutable as $$ declare s text; begin select upper($1) into s; return concat(s, '!', format('%s', $1)); end $$",
  'year_of(date)': 'returns int language sql immutable as $$ select extract(year from $1)::int $$',
  'folders(text)': "returns text[] language plpgsql immutable as $$ begin -- Split on \"/\" to get path segments\nreturn string_to_array($1, '/'); end $$",
  'total(int[])': 'returns bigint language sql immutable as $$ select sum(n) from unnest($1) n where n is distinct from 0 $$',
}
/** Joins private channels named as users: each may join its own. */
async function eachItsChannel(t) {
  for (const [i, sub] of [...NAMES, ...NAMES].entries()) {
    const s = await connect(t, readerOf(node))
    for (const topic of [NAMES[i % 2], sub, NAMES[2]]) {
      await s.join(`realtime:${topic}`, {}, { payload: { config: { private: true }, access_token: node.token({ sub }) }, refused: topic !== sub })
    }
  }
}
const subscribers = (t, T) => Promise.all(NAMES.map((name) => subscriber(t, node, all(T), { role: 'authenticated', sub: name })))
/** A condition that Postgres alone can judge. */
const people = (condition) => `exists (select from people where name = owner and ${condition})`

await sql.query(`create table people (id int primary key, name text); grant select on people to authenticated;
  insert into people values ${NAMES.map((name, i) => `(${i}, '${name}')`)}`)
for (const [name, as] of Object.entries(RIGHT)) await sql.query(`create function ${name} ${as}`)

test('a policy with a subquery: plans are shared, and each sees its own', async (t) => {
  const T = await table('id int primary key, owner text', RLS, `create policy p on % for select using (${people(`slug(name) = slug(${SUB})`)})`)
  const users = await subscribers(t, T)
  await sharing(true)
  await eachItsOwn(T, users, 0)
})

test('a function declared IMMUTABLE that reads the claims: found, and each sees its own', async (t) => {
  const T = await table('id int primary key, owner text', RLS, `create policy p on % for select using (${people(`name = ${SUB}`)})`)
  const users = await subscribers(t, T)
  await sharing(true)
  await eachItsOwn(T, users, 0)
  const created = Object.entries(MISTAKEN).map(([name, as]) => `create function ${name} returns text ${as};`)
  // What PL/pgSQL keeps is its own, for as long as the session.
  await sql.query([MORE, ...created, 'create function helps(o text) returns boolean language plpgsql stable as $$ begin return o = reads_setting(); end $$'].join('\n'))
  await sharing(false)
  await until('the word', () => (node.nodes ?? [node]).some((n) => n.logText().includes(`ev=plans_not_shared functions="${Object.keys(MISTAKEN).join(', ')}"`)))
  let from = 100
  for (const name of ['reads_setting()', 'in_standard_form()', 'calls_another()', 'calls_quoted()', 'calls_accented()', 'joins()', 'by_aggregate()']) {
    await sql.query(`alter policy p on ${T} using (${people(`name = ${name}`)})`)
    await eachItsOwn(T, users, from += 10)
  }
  await sql.query(`alter policy p on ${T} using (${people('helps(name)')})`)
  await eachItsOwn(T, users, from += 10)
  await sql.query(`create function own_channel() returns boolean language plpgsql stable as $$ begin return realtime.topic() = reads_setting(); end $$;
    create policy p on realtime.messages for select to authenticated using (own_channel())`)
  await eachItsChannel(t)
  await sql.query(Object.keys(MISTAKEN).map((name) => `alter function ${name} stable;`).join(''))
  await sharing(true)
  await eachItsOwn(T, users, from += 10)
  await eachItsChannel(t)
})
