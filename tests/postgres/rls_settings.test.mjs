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

/** A role's view of the changes of a row that goes from one owner to another, and is deleted. */
const moved = (T) => [`insert into ${T} values (1, '${U1}', 'a', 'x')`, `update ${T} set v = 'y'`, `update ${T} set owner = '${U2}', v = 'z'`, `delete from ${T}`]
const olds = (lists) => lists.map((list) => list.map((d) => [d.type, d.record?.v, d.old_record]))
const everybody = async (t, node, bindings) => Promise.all([user(U1), user(U2), user(U1, { role: 'anon' }), user(U1, { role: 'service_role' })].map((u) => subscriber(t, node, bindings, u)))
const row = (owner, v) => ({ id: 1, owner, team: 'a', v })
const FULL = 'alter table % replica identity full'
const KEY = { id: 1 }

test('REALTIME_DELETE_RLS off: old rows are shown as Supabase shows them', async (t) => {
  const node = await startNode(t, { database })
  for (const policy of [OWN, ASKED]) {
    const T = await table(COLUMNS, 'alter table % enable row level security', `create policy p on % for select to authenticated using (${policy})`, FULL)
    const [one, two, anon, service] = olds(await after(sql, moved(T), ...await everybody(t, node, all(T))))
    assert.deepEqual(one, [['INSERT', 'x', undefined], ['UPDATE', 'y', row(U1, 'x')], ['DELETE', undefined, KEY]], policy)
    assert.deepEqual(two, [['UPDATE', 'z', row(U1, 'y')], ['DELETE', undefined, KEY]], policy)
    assert.deepEqual(anon, [['DELETE', undefined, KEY]], policy)
    assert.deepEqual(service, [['INSERT', 'x', undefined], ['UPDATE', 'y', row(U1, 'x')], ['UPDATE', 'z', row(U1, 'y')], ['DELETE', undefined, KEY]], policy)
  }
})

for (const compile of ['on', 'off', 'shadow']) {
  test(`REALTIME_DELETE_RLS on, identity full: old rows are judged by policies, REALTIME_RLS_COMPILE=${compile}`, async (t) => {
    const node = await startNode(t, { database, env: { REALTIME_DELETE_RLS: 'on', REALTIME_RLS_COMPILE: compile } })
    for (const policy of [OWN, ASKED]) {
      for (const together of [false, true]) {
        const T = await table(COLUMNS, 'alter table % enable row level security', `create policy p on % for select to authenticated using (${policy})`, FULL)
        const statements = together ? [moved(T)] : moved(T)
        const [one, two, anon, service] = olds(await after(sql, statements, ...await everybody(t, node, all(T))))
        assert.deepEqual(one, [['INSERT', 'x', undefined], ['UPDATE', 'y', row(U1, 'x')]], policy)
        assert.deepEqual(two, [['UPDATE', 'z', KEY], ['DELETE', undefined, row(U2, 'z')]], policy)
        assert.deepEqual(anon, [], policy)
        assert.deepEqual(service, [['INSERT', 'x', undefined], ['UPDATE', 'y', row(U1, 'x')], ['UPDATE', 'z', row(U1, 'y')], ['DELETE', undefined, row(U2, 'z')]], policy)
      }
    }
  })
}

test('REALTIME_DELETE_RLS on: what more there is to an old row', async (t) => {
  const node = await startNode(t, { database, env: { REALTIME_DELETE_RLS: 'on' } })
  // No policy for select: nobody sees anything.
  const none = await table(COLUMNS, 'alter table % enable row level security', FULL)
  // A policy that raises for one row hides that one.
  const raises = await guarded('v::int > 0', FULL)
  // No row-level security: as ever.
  const open = await table(COLUMNS, FULL)
  // Filters are asked first; columns are those of the role and of `select`.
  const filtered = await guarded(OWN, FULL, 'revoke all on % from authenticated', 'grant select (id, owner, v) on % to authenticated')
  const bindings = [...[none, raises, open].flatMap((T) => all(T)), ...all(filtered, { filter: 'v=eq.keep', select: ['v', 'owner'] })]
  const s = await subscriber(t, node, bindings)
  const [got] = await after(sql, [
    ...[none, open].flatMap((T) => [`insert into ${T} values (1, '${U1}', 'a', 'x')`, `delete from ${T}`]),
    `insert into ${raises} values (1, null, null, '1'), (2, null, null, 'bad'), (3, null, null, '3')`, `delete from ${raises}`,
    `insert into ${filtered} values (1, '${U1}', 'a', 'keep'), (2, '${U1}', 'a', 'drop'), (3, '${U2}', 'a', 'keep')`, `delete from ${filtered}`,
  ], s)
  const of = (T) => got.filter((d) => d.table === T && d.type === 'DELETE').map((d) => d.old_record)
  assert.deepEqual(of(none), [])
  assert.deepEqual(of(open), [row(U1, 'x')])
  assert.deepEqual(of(raises).map((r) => r.id), [1, 3])
  assert.deepEqual(of(filtered), [{ id: 1, owner: U1, v: 'keep' }])
})

test('REALTIME_DELETE_RLS on: a long value that did not change is part of the old row', async (t) => {
  const node = await startNode(t, { database, env: { REALTIME_DELETE_RLS: 'on' } })
  const long = "(select string_agg(md5(i::text), '') from generate_series(1, 400) i)"
  const T = await guarded('length(v) > 10000 and owner = auth.uid()', FULL, 'alter table % alter v set storage external')
  const [one, two] = [await subscriber(t, node, all(T), user(U1)), await subscriber(t, node, all(T), user(U2))]
  const lists = await after(sql, [`insert into ${T} select 1, '${U1}', 'a', ${long}`, `update ${T} set team = 'b'`, `update ${T} set owner = '${U2}'`, `delete from ${T}`], one, two)
  const brief = lists.map((list) => list.map((d) => [d.type, d.record?.v?.length, d.old_record && Object.keys(d.old_record).length, d.old_record?.v?.length]))
  assert.deepEqual(brief, [[['INSERT', 12800, undefined, undefined], ['UPDATE', 12800, 4, 12800]], [['UPDATE', 12800, 1, undefined], ['DELETE', undefined, 4, 12800]]])
})

test('REALTIME_DELETE_RLS on, without identity full: what policies cannot judge is not sent', async (t) => {
  const node = await startNode(t, { database, env: { REALTIME_DELETE_RLS: 'on' } })
  await sql.query('create function whole(r record) returns boolean language plpgsql as $$ begin return to_jsonb(r) ->> \'v\' is distinct from \'hidden\'; end $$')
  const INDEX = ['alter table % alter owner set not null', 'create unique index on % (owner)', 'alter table % replica identity using index %_owner_idx']
  for (const [policy, seen, more] of [
    ['true', KEY, []], ['id < 5', KEY, []], ['abs(id) < 5', KEY, []], ['id > 5', undefined, []], ['abs(id) > 5', undefined, []],
    [OWN, undefined, []], [ASKED, undefined, []], ['v is null', undefined, []], ['coalesce(v, owner::text) is null', undefined, []],
    ['whole(%.*)', undefined, [FULL]], ["not whole(%.*) and v = 'hidden'", row(U1, 'hidden'), [FULL]], ['exists (select from marker)', KEY, []], ['exists (select where %.v is null)', undefined, []], ['whole(%.*)', undefined, []], ['whole(%)', undefined, []],
    [OWN, { owner: U1 }, INDEX], [ASKED, undefined, INDEX], ["owner <> auth.uid()", undefined, INDEX], ["id = 1", undefined, INDEX],
  ]) {
    const T = await table(COLUMNS, 'alter table % enable row level security', `create policy p on % for select using (${policy})`, ...more)
    const s = await subscriber(t, node, all(T))
    const [got] = await after(sql, [`insert into ${T} values (1, '${U1}', 'a', 'hidden')`, `delete from ${T}`], s)
    assert.deepEqual(got.filter((d) => d.type === 'DELETE').map((d) => d.old_record), seen ? [seen] : [], `${policy} ${more.length}`)
  }
  // The key that an UPDATE changed is shown; columns of an identity index are no key.
  const changed = await guarded('id < 5', ...INDEX)
  const plain = await guarded("lower(v) = 'x'")
  const s = await subscriber(t, node, [changed, plain].flatMap((T) => all(T)))
  const [got] = await after(sql, [`insert into ${changed} values (1, '${U1}', 'a', 'x')`, `update ${changed} set owner = '${U2}'`,
    `insert into ${plain} values (1, '${U1}', 'a', 'x')`, `update ${plain} set id = 2`], s)
  assert.deepEqual(got.filter((d) => d.type === 'UPDATE').map((d) => d.old_record), [{}, { id: 1 }])
})

test('REALTIME_DELETE_RLS: doctor and explain say what it does', async (t) => {
  const database = await startPostgres(t) // doctor names so many tables only
  const sql = await database.connect()
  await prepare(sql)
  const make = tableMaker(sql)
  const secured = (...more) => make(COLUMNS, 'alter table % enable row level security', "create policy p on % for select using (v = 'x')", ...more)
  const [half, full] = [await secured(), await secured(FULL)]
  for (const on of [true, false]) {
    const node = await startNode(t, { database, env: { REALTIME_DELETE_RLS: on ? 'on' : 'off' } })
    const s = await subscriber(t, node, [{ event: 'DELETE', schema: 'public', table: full }])
    const of = (T) => node.ask('doctor').rows.filter((r) => r.check === 'old_rows' && r.detail.startsWith(`public.${T} `)).map((r) => [r.level, r.fix])
    assert.deepEqual(of(half), on ? [['advice', `alter table public.${half} replica identity full;`]] : [])
    assert.deepEqual(of(full), on ? [] : [['advice', 'REALTIME_DELETE_RLS=on judges old rows too']])
    const told = node.ask('explain', s.topic.replace('realtime:', ''), full, 'id=1').rows.find((r) => r.step === 'row')
    assert.match(told.detail, on ? /filter and policies judge/ : /policies are not asked/)
    await node.stop()
  }
})

test('REALTIME_CHANGES_LSN puts lsn and seq into every change', async (t) => {
  const T = await table(COLUMNS)
  for (const on of [true, false]) {
    const node = await startNode(t, { database, env: { REALTIME_CHANGES_LSN: on ? 'on' : 'off' } })
    const s = await subscriber(t, node, all(T))
    const [got] = await after(sql, [`insert into ${T} select i from generate_series(1, 3) i`, `update ${T} set v = 'x' where id = 1`, `delete from ${T}`], s)
    assert.equal(got.length, 7)
    assert.deepEqual(got.map((d) => 'lsn' in d || 'seq' in d), got.map(() => on))
    if (on) {
      const lsn = got.map((d) => { assert.match(d.lsn, /^[0-9A-F]{1,8}\/[0-9A-F]{1,8}$/); const [a, b] = d.lsn.split('/'); return (BigInt(`0x${a}`) << 32n) + BigInt(`0x${b}`) })
      // One for all rows of a transaction, which `seq` tells apart.
      assert.deepEqual(lsn.map((x, i) => i === 0 ? 0 : Number(x > lsn[i - 1])), [0, 0, 0, 1, 1, 0, 0])
      assert.ok(got.every((d, i) => i === 0 || lsn[i] > lsn[i - 1] || d.seq > got[i - 1].seq), JSON.stringify(got.map((d) => d.seq)))
      const { rows: [{ now }] } = await sql.query("select (pg_current_wal_lsn() - '0/0')::text as now")
      assert.ok(lsn.at(-1) <= BigInt(now))
    }
    await node.stop()
  }
})
