// SPDX-License-Identifier: Apache-2.0
// Goal: under random policies, each subscriber gets exactly the rows that a SELECT as his role and with his claims
// would have shown at the moment of each change, in their order, with the values that they had then.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres } from '../harness/process.mjs'
import { prepare, tableMaker, subscriber, after, readerOf } from './subscribers.mjs'
import { random } from './random_filters.mjs'
import { setup, columns, users, roles, policies, claims, memberships, statement } from './random_policies.mjs'

const TABLES = 5
const ROUNDS = 6
const CHANGES = 80 // of each table and round
const STALE = 200 // changes that wait for a reader that sleeps: far less than the 5 s for which one may be silent

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const node = await startNode({ after: atEnd }, { database, nodes: 3 })
const table = tableMaker(sql)

/** The other side of the comparison: what a SELECT shows of one row, or null; one that raises shows nothing. */
const oracle = `
  create function shown(t text, key int, who text, claims text) returns jsonb language plpgsql
  set enable_seqscan = off set row_security = on set timezone = 'UTC' as $$
  declare
    names text;
    found jsonb;
  begin
    select string_agg(quote_ident(attname), ', ' order by attnum) into names from pg_attribute
      where attrelid = t::regclass and attnum > 0 and has_column_privilege(who, attrelid, attnum, 'select');
    perform set_config('request.jwt.claims', claims, true), set_config('role', who, true);
    begin
      execute format('select to_jsonb(r) from (select %s from %I where id = $1) r', names, t) into found using key;
    exception when others then
      found := null;
    end;
    perform set_config('role', 'none', true);
    return found;
  end $$`

const claimsOf = (token) => Buffer.from(token.split('.')[1], 'base64url').toString()

test('random policies, rows and claims: what arrives is what SELECT would have shown', async (t) => {
  const seed = Number(process.env.RLS_SEED ?? Date.now() % 2 ** 31)
  const rng = random(seed)
  t.diagnostic(`RLS_SEED=${seed}`)
  await sql.query(setup)
  await sql.query(oracle)
  const tables = []
  for (let i = 0; i < TABLES; i++) {
    const name = await table(columns, 'alter table % enable row level security', ...i === 1 ? ['alter table % replica identity full'] : [], 'grant select on % to editor')
    if (i === 2) await sql.query(`revoke all on ${name} from authenticated, editor; grant select (id, org, v) on ${name} to authenticated`)
    tables.push({ name, ids: new Set(), policies: [] })
  }
  const subs = []
  for (const role of roles) {
    for (const sub of users) {
      const s = await subscriber(t, node, tables.map(({ name }) => ({ event: '*', schema: 'public', table: name })), claims(rng, role, sub))
      subs.push(Object.assign(s, { role, claims: claimsOf(s.token) }))
    }
  }
  const people = JSON.stringify(subs.map(({ role, claims }) => ({ role, claims })))
  let last = 0
  const count = { changes: 0, shown: 0, hidden: 0 }

  /** Runs one statement; what each subscriber would see of the rows that it leaves. */
  async function change(T) {
    const s = statement(rng, T.name, T.ids, () => ++last)
    await sql.query(s.sql)
    if (s.type === 'DELETE') return [{ table: T.name, type: s.type, id: s.left[0], rows: subs.map(() => ({ id: s.left[0] })), sql: s.sql }]
    const { rows } = await sql.query(`select k, array_agg(shown($1, k, p ->> 'role', p ->> 'claims') order by n) as seen
      from unnest($2::int[]) with ordinality keys(k, nk), jsonb_array_elements($3) with ordinality people(p, n) group by nk, k order by nk`, [T.name, s.left, people])
    return rows.map(({ k, seen }) => ({ table: T.name, type: s.type, id: k, rows: seen, sql: s.sql }))
  }

  /** A transaction of a few statements, some of them in a savepoint, which may be taken back. */
  async function transaction() {
    const done = []
    await sql.query('begin')
    for (let n = 1 + rng.below(5); n > 0; n--) {
      const T = rng.pick(tables)
      const mode = rng.below(6)
      const before = new Set(T.ids)
      if (mode < 2) await sql.query('savepoint s')
      const made = await change(T)
      if (mode === 0) {
        await sql.query('rollback to s')
        T.ids = before
      } else {
        done.push(...made)
      }
      if (mode < 2) await sql.query('release s')
    }
    await sql.query('commit')
    return done
  }

  for (let round = 0; round < ROUNDS; round++) {
    for (const [i, T] of tables.entries()) {
      for (const p of T.policies) await sql.query(`drop policy ${p.split(' ')[2]} on ${T.name}`)
      T.policies = policies(rng, i > 2).map((p) => p.replaceAll('%', T.name))
      for (const p of T.policies) await sql.query(p)
    }
    for (const statement of memberships(rng)) await sql.query(statement)
    // Every second time the reader sleeps meanwhile: then most rows are no longer in the table what they were.
    const reader = round % 2 === 1 ? readerOf(node).pid('db') : 0
    const expected = []
    if (reader) process.kill(reader, 'SIGSTOP')
    try {
      while (expected.length < STALE) expected.push(...await transaction())
    } finally {
      try { if (reader) process.kill(reader, 'SIGCONT') } catch { /* ended by its supervisor: another one reads */ }
    }
    while (expected.length < TABLES * CHANGES) expected.push(...await transaction())
    const lists = await after(sql, [], ...subs)
    lists.forEach((list, i) => {
      const want = expected.filter((e) => e.rows[i]).map((e) => ({ table: e.table, type: e.type, row: e.rows[i] }))
      const got = list.map((d) => ({ table: d.table, type: d.type, row: d.record ?? d.old_record }))
      const at = want.findIndex((w, n) => { try { assert.deepEqual(got[n], w); return false } catch { return true } })
      const n = at < 0 && got.length > want.length ? want.length : at
      if (n >= 0) {
        const about = [got[n], want[n]].filter(Boolean).map((d) => d.table)
        assert.deepEqual(got[n], want[n], `RLS_SEED=${seed}, round ${round}, ${subs[i].role} ${subs[i].claims}: change ${n}\n${
          tables.filter((T) => about.includes(T.name)).flatMap((T) => T.policies).join('\n')}\n${
          expected.filter((e) => [got[n]?.row.id, want[n]?.row.id].includes(e.id)).map((e) => `${e.sql} -> ${JSON.stringify(e.rows[i])}`).join('\n')}`)
      }
      count.shown += want.length
      count.hidden += expected.length - want.length
      assert.ok(list.every((d) => d.errors === null))
    })
    count.changes += expected.length
  }
  t.diagnostic(`${count.changes} changes, ${subs.length} subscribers: ${count.shown} shown, ${count.hidden} hidden, no difference`)
  assert.ok(count.changes >= 2000)
  assert.ok(count.shown > 1000 && count.hidden > 1000)
})
