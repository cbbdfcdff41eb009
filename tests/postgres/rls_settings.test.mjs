// SPDX-License-Identifier: Apache-2.0
// Goal: the settings about changes and row-level security do what they say.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { prepare, tableMaker, all, subscriber, after, U1, U2 } from './subscribers.mjs'

const database = await startPostgres({ after: atEnd })
const sql = await database.connect()
await prepare(sql)
const table = tableMaker(sql)
const COLUMNS = 'id int primary key, owner uuid, team text, v text'
const OWN = 'owner = auth.uid()'
const ASKED = `${OWN} and lower(v) is not null` // not one that is evaluated without Postgres
const guarded = (policy, ...more) => table(COLUMNS, 'alter table % enable row level security', `create policy p on % for select using (${policy})`, ...more)
const user = (sub, more) => ({ role: 'authenticated', sub, ...more })

/** Queries for row-level security so far, of all nodes. */
async function checks(node) {
  let sum = 0
  for (const n of node.nodes ?? [node]) {
    const text = await (await fetch(`${n.adminUrl}/metrics`)).text()
    sum += text.split('\n').filter((l) => l.startsWith('realtime_rls_checks_total')).reduce((a, l) => a + Number(l.split(' ').at(-1)), 0)
  }
  return sum
}

test('REALTIME_RLS_CLAIMS: only these claims reach the policies of tables', async (t) => {
  const node = await startNode(t, { database, env: { REALTIME_RLS_CLAIMS: 'sub, role,nested' } })
  const claims = user(U1, { team: 'a', nested: { team: 'a' }, more: '"sub":1', 'r\u00f4le': 1 })
  for (const [policy, seen] of [
    [OWN, true], [ASKED, true], ["team = auth.jwt() ->> 'team'", false], ["lower(team) = auth.jwt() ->> 'team'", false],
    ["team = auth.jwt() -> 'nested' ->> 'team'", true], ["lower(team) = auth.jwt() -> 'nested' ->> 'team'", true],
    ["auth.role() = 'authenticated'", true],
    ["current_setting('request.jwt.claims')::jsonb - 'nested' = jsonb_build_object('sub', owner, 'role', 'authenticated')", true],
  ]) {
    const T = await guarded(policy)
    const s = await subscriber(t, node, all(T), claims)
    // The second row is not as it was when it is judged: its own image is.
    const [got] = await after(sql, [`insert into ${T} values (1, '${U1}', 'a', 'x')`, [`insert into ${T} values (2, '${U1}', 'a', 'x')`, `update ${T} set v = 'y' where id = 2`]], s)
    assert.deepEqual(got.map((d) => d.record.id), seen ? [1, 2, 2] : [], policy)
  }
})

test('REALTIME_RLS_CLAIMS: the role needs not be among them', async (t) => {
  const node = await startNode(t, { database, env: { REALTIME_RLS_CLAIMS: 'sub' } })
  const T = await table(COLUMNS, 'alter table % enable row level security', `create policy p on % for select to authenticated using (${OWN} and auth.role() is null)`)
  const subscribers = [await subscriber(t, node, all(T), user(U1)), await subscriber(t, node, all(T), user(U1, { role: 'anon' })),
    await subscriber(t, node, all(T), user(U1, { role: 'service_role' }))]
  const got = await after(sql, [`insert into ${T} values (1, '${U1}', 'a', 'x')`, `insert into ${T} values (2, '${U2}', 'a', 'x')`], ...subscribers)
  assert.deepEqual(got.map((list) => list.map((d) => d.record.id)), [[1], [], [1, 2]])
})

test('REALTIME_RLS_CLAIMS: who differs in other claims shares a check', async (t) => {
  const T = await guarded(ASKED)
  let id = 0
  for (const env of [{ REALTIME_RLS_CLAIMS: 'role,sub' }, {}]) {
    const node = await startNode(t, { database, env })
    const subscribers = [await subscriber(t, node, all(T), user(U1, { n: 0 }))]
    // The least of several: preparing statements, and waiting for a commit to be visible, cost queries too.
    const cost = async () => {
      let least = Infinity
      for (let i = 0; i < 4; i++) {
        const before = await checks(node)
        const got = await after(sql, [`insert into ${T} values (${++id}, '${U1}', 'a', 'x')`], ...subscribers)
        for (const list of got) assert.deepEqual(list.map((d) => d.record.id), [id])
        least = Math.min(least, await checks(node) - before)
      }
      return least
    }
    const alone = await cost()
    for (let n = 1; n < 6; n++) subscribers.push(await subscriber(t, node, all(T), user(U1, { n })))
    const many = await cost()
    if (env.REALTIME_RLS_CLAIMS) assert.equal(many, alone)
    else assert.ok(many >= alone + 5, `${alone} ${many}`)
    await node.stop()
  }
})

test('REALTIME_RLS_CLAIMS: private channels are judged by all claims', async (t) => {
  const node = await startNode(t, { database, env: { REALTIME_RLS_CLAIMS: 'sub' } })
  await until('realtime.messages', async () => (await sql.query("select to_regclass('realtime.messages') as r")).rows[0].r)
  await sql.query("create policy team on realtime.messages for select to authenticated using (auth.jwt() ->> 'team' = 'a')")
  t.after(() => sql.query('drop policy team on realtime.messages'))
  const s = await connect(t, node)
  const join = (topic, team, refused) => s.join(topic, {}, { refused, payload: { access_token: node.token(user(U1, { team })), config: { private: true } } })
  assert.equal((await join('realtime:mine', 'a', false)).payload.status, 'ok')
  assert.equal((await join('realtime:other', 'b', true)).payload.status, 'error')
})
