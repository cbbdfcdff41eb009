// SPDX-License-Identifier: Apache-2.0
// Goal: what SQL sends arrives at the channel's members as realtime-js expects it: once, in the order of commit,
// at those only who may read, and also when a process on the way dies.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect, kind4 } from '../harness/phx.mjs'
import { preparePolicies, allow, notToRead } from '../conformance/private_help.mjs'
import { U1, U2 } from './subscribers.mjs'

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The stream is read: a message of before would be nobody's. */
const reading = (sql) => until('the slot to be read', async () =>
  (await sql.query("select count(*)::int as n from pg_replication_slots where slot_name like 'datafuse_realtime_%' and active")).rows[0].n === 1, 30000)

async function world(t, opts = {}) {
  const database = await startPostgres(t)
  const node = await startNode(t, { database, ...opts })
  const sql = await database.connect()
  await preparePolicies(sql)
  await reading(sql)
  return { database, node, sql, nodes: node.nodes ?? [node] }
}

const shared = await world({ after: atEnd })
const { node, sql } = shared
const everything = (sub, topic) => allow(sql, sub, topic, 'read:broadcast write:broadcast')

/** A joined channel of supabase-js with all its broadcasts; `first(n)` waits for n of them. */
async function listener(t, topic, { sub = U1, isPrivate = false, at = node, config = {} } = {}) {
  const client = createClient(at.url, at.anonKey, { realtime: { transport: WebSocket } })
  t.after(() => client.removeAllChannels())
  await client.realtime.setAuth(at.token({ role: 'authenticated', sub }))
  const got = []
  const channel = client.channel(topic, { config: { private: isPrivate, broadcast: config } })
  channel.on('broadcast', { event: '*' }, (m) => got.push(m))
  await new Promise((resolve, reject) => channel.subscribe((status, err) => {
    if (status === 'SUBSCRIBED') resolve()
    else if (status !== 'CLOSED') reject(err ?? new Error(status))
  }, 15000))
  return {
    got, channel,
    async first(n) {
      await until(`${n} broadcasts on ${topic}, there are ${got.length}`, () => got.length >= n, 30000)
      return got.slice(0, n)
    },
    /** All that came up to the message `end`, which is sent by this. */
    async all() {
      await sql.query("select realtime.send('{}', 'end', $1, $2)", [topic, isPrivate])
      await until(`the end on ${topic}`, () => got.some((m) => m.event === 'end'), 30000)
      return got.filter((m) => m.event !== 'end')
    },
  }
}

test('case 58, protocol case 71: send in a transaction, rolled back and committed', async (t) => {
  await everything(U1, 'room58')
  const [secret, open] = [await listener(t, 'room58', { isPrivate: true }), await listener(t, 'room58')]
  await sql.query(`begin; select realtime.send('{"a":0}', 'e', 'room58', true); rollback`)
  await sql.query(`begin; select realtime.send('{"a":1}', 'e', 'room58', true); commit`)
  const [message] = await secret.all()
  assert.match(message.payload.id, UUID)
  assert.deepEqual(message, { type: 'broadcast', event: 'e', payload: { a: 1, id: message.payload.id }, meta: { id: message.payload.id } })
  assert.equal(secret.got.length, 2)
  assert.deepEqual(await open.all(), [])
  const { rows: [row] } = await sql.query("select id, extension, private, payload from realtime.messages where topic = 'room58' and event = 'e'")
  assert.deepEqual(row, { id: message.meta.id, extension: 'broadcast', private: true, payload: message.payload })
})

test('case 58: the default is private', async (t) => {
  await everything(U1, 'room58d')
  const [secret, open] = [await listener(t, 'room58d', { isPrivate: true }), await listener(t, 'room58d')]
  await sql.query(`select realtime.send('{"a":1}', 'e', 'room58d')`)
  assert.equal((await secret.all()).length, 1)
  assert.deepEqual(await open.all(), [])
})

test('case 58: savepoints: what was rolled back is not sent', async (t) => {
  const l = await listener(t, 'savepoints')
  await sql.query(`begin; savepoint a; select realtime.send('{"n":1}', 'e', 'savepoints', false); rollback to a;
    select realtime.send('{"n":2}', 'e', 'savepoints', false); commit`)
  assert.deepEqual((await l.all()).map((m) => m.payload.n), [2])
})

test('case 59: public, own id, payloads that are no object', async (t) => {
  const l = await listener(t, 'room59')
  for (const p of ['{"id":"mine"}', '[1]', '"text"', 'null', '{"deep":{"ü":[true,null,1.50]}}']) {
    await sql.query("select realtime.send($1, 'e\"1', 'room59', false)", [p])
  }
  const got = await l.all()
  assert.deepEqual(got.map((m) => m.event), Array(5).fill('e"1'))
  const last = got[4].payload
  assert.match(last.id, UUID)
  assert.deepEqual(got.map((m) => m.payload), [{ id: 'mine' }, [1], 'text', null, { deep: { ü: [true, null, 1.5] }, id: last.id }])
  for (const m of got) assert.match(m.meta.id, UUID)
})

test('case 59, protocol case 72: send_binary: bytes to V2, nothing to V1', async (t) => {
  const l = await listener(t, 'bytes59')
  const [v2, v1] = [await connect(t, node), await connect(t, node, { vsn: '1.0.0' })]
  await v2.join('realtime:bytes59')
  await v1.join('realtime:bytes59')
  await sql.query(`select realtime.send_binary('\\x00ff10'::bytea, 'b', 'bytes59', false)`)
  await sql.query(`select realtime.send_binary(''::bytea, 'empty', 'bytes59', false)`)
  const frame = kind4((await v2.take('a binary frame', (f) => f.binary)).binary)
  assert.deepEqual([frame.topic, frame.event, frame.encoding, [...frame.bytes]], ['realtime:bytes59', 'b', 0, [0, 255, 16]])
  assert.match(JSON.parse(frame.metadata).id, UUID)
  const got = await l.all()
  assert.deepEqual(got.map((m) => [m.event, [...new Uint8Array(m.payload)]]), [['b', [0, 255, 16]], ['empty', []]])
  assert.equal((await v1.event('realtime:bytes59', 'broadcast')).payload.event, 'end')
})

test('case 59: broadcast_changes by a trigger, with the row change itself', async (t) => {
  await everything(U1, 'table59')
  await sql.query(`
    create table watched (id int primary key, v text);
    alter publication supabase_realtime add table watched; grant select on watched to authenticated;
    create function tell() returns trigger language plpgsql as $$
    begin
      perform realtime.broadcast_changes('table59', tg_op, tg_op, tg_table_name, tg_table_schema, new, old);
      return null;
    end $$;
    create trigger tell after insert or update or delete on watched for each row execute function tell()`)
  const l = await listener(t, 'table59', { isPrivate: true })
  const rows = await connect(t, node)
  const changes = [{ event: '*', schema: 'public', table: 'watched' }]
  await rows.join('realtime:rows59', {}, { ref: '1', payload: { config: { postgres_changes: changes }, access_token: node.token({ role: 'authenticated', sub: U1 }) } })
  assert.equal((await rows.event('realtime:rows59', 'system', 30000)).payload.status, 'ok')
  await sql.query("begin; insert into watched values (1, 'a'); update watched set v = 'b'; delete from watched; commit")
  const got = await l.all()
  const common = { table: 'watched', schema: 'public' }
  assert.deepEqual(got.map(({ event, payload: { id, ...rest } }) => [event, UUID.test(id), rest]), [
    ['INSERT', true, { ...common, operation: 'INSERT', record: { id: 1, v: 'a' }, old_record: null }],
    ['UPDATE', true, { ...common, operation: 'UPDATE', record: { id: 1, v: 'b' }, old_record: { id: 1, v: 'a' } }],
    ['DELETE', true, { ...common, operation: 'DELETE', record: null, old_record: { id: 1, v: 'b' } }]])
  for (const type of ['INSERT', 'UPDATE', 'DELETE']) {
    assert.equal((await rows.event('realtime:rows59', 'postgres_changes')).payload.data.type, type)
  }
})

test('case 59: broadcast_changes used wrongly fails the statement, with its reason', async () => {
  const call = (operation, level) => sql.query("select realtime.broadcast_changes('t', 'e', $1, 't', 'public', null::record, null::record, $2)", [operation, level])
  await assert.rejects(call('INSERT', 'STATEMENT'), /Failed to process the row: function can only be triggered for each row, not for each statement/)
  await assert.rejects(call('TRUNCATE', 'ROW'), /Failed to process the row: Unexpected operation type: TRUNCATE/)
})

test('case 60: send as a role without policy: a warning, the transaction commits, nothing is sent', async (t) => {
  const l = await listener(t, 'room60')
  const user = await shared.database.connect()
  const notices = []
  user.on('notice', (n) => notices.push(n.message))
  await user.query('create table written60 (n int); grant all on written60 to authenticated')
  await user.query(`begin; set local role authenticated; insert into written60 values (1);
    select realtime.send('{}', 'e', 'room60', false); insert into written60 values (2); commit`)
  assert.equal(notices.length, 1)
  assert.match(notices[0], /^WarnSendingBroadcastMessage: new row violates row-level security policy/)
  assert.equal((await sql.query('select count(*)::int as n from written60')).rows[0].n, 2)
  assert.deepEqual(await l.all(), [])
})

test('case 60: send as a role with a policy', async (t) => {
  await allow(sql, U2, 'room60p', 'write:broadcast')
  const l = await listener(t, 'room60p')
  await sql.query(`begin; set local role authenticated; select set_config('request.jwt.claims', '{"sub":"${U2}"}', true);
    select realtime.send('{"n":1}', 'e', 'room60p', false); commit`)
  assert.deepEqual((await l.all()).map((m) => m.payload.n), [1])
})

test('case 61: who may not read a private topic does not hear it', async (t) => {
  await allow(sql, U1, 'room61', 'read:broadcast')
  await allow(sql, U2, 'room61', '')
  const may = await listener(t, 'room61', { isPrivate: true })
  await assert.rejects(listener(t, 'room61', { isPrivate: true, sub: U2 }), new RegExp(notToRead('room61')))
  await sql.query(`select realtime.send('{"n":1}', 'e', 'room61', true)`)
  assert.deepEqual((await may.all()).map((m) => m.payload.n), [1])
})

test('rows that are no broadcast are dropped alone', async (t) => {
  const l = await listener(t, 'odd')
  await sql.query(`begin;
    insert into realtime.messages (topic, extension, event, private, payload) values ('odd', 'broadcast', 'e', null, '{"n":1}');
    insert into realtime.messages (topic, extension, event, private, payload) values ('odd', 'broadcast', null, false, '{"n":2}');
    insert into realtime.messages (topic, extension, event, private) values ('odd', 'broadcast', 'e', false);
    insert into realtime.messages (topic, extension, event, private, payload) values ('odd', 'anything', 'e', false, '{"n":3}');
    update realtime.messages set event = 'changed' where topic = 'odd'; delete from realtime.messages where topic = 'odd'; commit`)
  await sql.query("select realtime.send(jsonb_build_object('big', repeat('x', 3000000)), 'e', 'odd', false)")
  await sql.query("select realtime.send(jsonb_build_object('big', repeat('x', 2900000)), 'big', 'odd', false)")
  const got = await l.all()
  assert.deepEqual(got.map((m) => [m.event, m.payload.n ?? m.payload.big.length]), [['e', 3], ['big', 2900000]])
  const log = shared.nodes.map((n) => n.logText()).join('')
  for (const why of ['private_missing', 'event_missing', 'payload_missing', 'payload_too_large']) assert.match(log, new RegExp(`UnableToBroadcastChanges.*${why}`))
})

test('order of commit, over many topics, at members on every node', async (t) => {
  const topics = [0, 1, 2, 3, 4, 5].map((i) => `order${i}`)
  const members = []
  for (const topic of topics) for (let i = 0; i < 3; i++) members.push(await listener(t, topic))
  await sql.query(`do $$ begin
    for n in 0 .. 2999 loop
      perform realtime.send(jsonb_build_object('n', n), 'e', 'order' || (n % 6), false);
    end loop; end $$`)
  for (const [i, m] of members.entries()) {
    const topic = Math.floor(i / 3)
    assert.deepEqual((await m.all()).map((x) => x.payload.n), Array.from({ length: 500 }, (_, k) => k * 6 + topic))
  }
})

/** Numbers 0, 1, 2, ... are sent, one transaction each, while `disturb` is called now and then. */
async function underFire(t, w, count, disturb) {
  const members = []
  let trouble
  for (let i = 0; i < 2 * w.nodes.length; i++) members.push(await listener(t, `fire${i % 3}`, { at: w.nodes[i % w.nodes.length] }))
  for (let n = 0; n < count; n++) {
    for (let k = 0; k < 3; k++) await w.sql.query("select realtime.send(jsonb_build_object('n', $1::int), 'e', $2, false)", [n, `fire${k}`])
    if (n % 100 === 50) { // while others are under way
      await trouble
      trouble = disturb(n)
    }
  }
  await trouble
  for (const m of members) {
    await m.first(count)
    assert.deepEqual(m.got.map((x) => x.payload.n), [...Array(count).keys()])
  }
  await until('everything to be confirmed', async () => (await w.sql.query(
    "select count(*)::int as n from pg_replication_slots where slot_name like 'datafuse_realtime_%' and active and confirmed_flush_lsn >= $1::pg_lsn",
    [(await w.sql.query('select pg_current_wal_lsn()::text as l')).rows[0].l])).rows[0].n === 1, 30000)
  for (const m of members) assert.equal(m.got.length, count)
}

/** Kills a process and waits for the one in its place. */
async function killed(n, role, index = 0) {
  const pid = await n.kill(role, index)
  await until(`another ${role} on ${n.name}`, () => n.pid(role, index) !== undefined && n.pid(role, index) !== pid, 30000)
}

test('SIGKILL of every db while broadcasts are sent: none lost, none twice, in order', async (t) => {
  const w = await world(t)
  await underFire(t, w, 400, () => Promise.all(w.nodes.map((n) => killed(n, 'db'))))
})

test('SIGKILL of one owner after the other: none lost, none twice, in order', async (t) => {
  const w = await world(t)
  let turn = 0
  await underFire(t, w, 400, () => killed(w.nodes[turn++ % w.nodes.length], 'owner'))
})

test('SIGKILL of the edges that publish: none lost, none twice, in order at members of others', async (t) => {
  const w = await world(t)
  const members = []
  let trouble
  for (const n of w.nodes) {
    // The kernel spreads sockets over the edges as it likes: until two are on one that stays.
    while (n.rows('connections').filter((c) => c.edge !== 0).length < 2) {
      const s = await connect(t, n, { vsn: '1.0.0' })
      await s.join('realtime:survivors')
      members.push(s)
    }
  }
  for (let n = 0; n < 300; n++) {
    await w.sql.query("select realtime.send(jsonb_build_object('n', $1::int), 'e', 'survivors', false)", [n])
    if (n % 100 === 50) {
      await trouble
      trouble = Promise.all(w.nodes.map((x) => killed(x, 'edge', 0)))
    }
  }
  await trouble
  await w.sql.query("select realtime.send('{}', 'end', 'survivors', false)")
  for (const m of members.filter((m) => !m.closed)) {
    await m.take('the end', (f) => f.payload?.event === 'end', 30000)
    assert.deepEqual(m.frames.filter((f) => f.event === 'broadcast').map((f) => f.payload.payload.n), [...Array(300).keys()])
  }
})

const readiness = (t, n, topic) => connect(t, n, { vsn: '1.0.0' }).then(async (s) => {
  await s.join(`realtime:${topic}`, { broadcast: { replication_ready: true } }, { ref: '1' })
  return s
})
const established = (topic) => ({ extension: 'system', status: 'ok', message: 'Replication connection established', channel: topic })

test('replication_ready: said at once when the database is read, and before the first broadcast', async (t) => {
  for (const n of shared.nodes) {
    const s = await readiness(t, n, 'ready1')
    assert.deepEqual((await s.event('realtime:ready1', 'system')).payload, established('ready1'))
    await sql.query("select realtime.send('{}', 'e', 'ready1', false)")
    assert.equal((await s.event('realtime:ready1', 'broadcast')).payload.event, 'e')
  }
})

test('replication_ready: said when the database is reached, and not where broadcasts are off', async (t) => {
  const database = await startPostgres(t)
  await database.stop()
  const late = await startNode(t, { database, databaseReady: false })
  const s = await readiness(t, late, 'ready2')
  await s.heartbeat()
  assert.deepEqual(s.frames, [])
  await database.start()
  assert.deepEqual((await s.event('realtime:ready2', 'system', 30000)).payload, established('ready2'))
  await late.stop()

  const off = await startNode(t, { database, env: { REALTIME_BROADCAST_FROM_DATABASE: 'off' } })
  const [deaf, client] = [await readiness(t, off, 'ready3'), await database.connect()]
  await reading(client)
  await client.query("select realtime.send('{}', 'e', 'ready3', false)")
  await deaf.heartbeat()
  await deaf.nothing()
})

test('SIGKILL of the node that reads: members of the others lose nothing and get nothing twice', async (t) => {
  const w = await world(t, { nodes: 3 })
  const reader = w.nodes[0].rows('slots')[0].reader
  const dying = w.nodes.find((n) => n.name === reader)
  const alive = w.nodes.filter((n) => n !== dying)
  const members = []
  for (const n of alive) for (let k = 0; k < 3; k++) members.push([k, await listener(t, `moved${k}`, { at: n })])
  const send = async (from, to) => {
    for (let n = from; n < to; n++) {
      for (let k = 0; k < 3; k++) await w.sql.query("select realtime.send(jsonb_build_object('n', $1::int), 'e', $2, false)", [n, `moved${k}`])
    }
  }
  await send(0, 100)
  await Promise.all([send(100, 300), dying.signalAll('SIGKILL')])
  await send(300, 400)
  for (const [, m] of members) {
    await m.first(400)
    assert.deepEqual(m.got.map((x) => x.payload.n), [...Array(400).keys()])
  }
})

test('case 59: what the wire carries: kind 4 to V2, text to V1', async (t) => {
  const [v2, v1] = [await connect(t, node), await connect(t, node, { vsn: '1.0.0' })]
  await v2.join('realtime:wire59')
  await v1.join('realtime:wire59')
  await sql.query("select realtime.send('{\"a\":1,\"id\":\"x\"}', 'e\"1', 'wire59', false)")
  const { rows: [{ id }] } = await sql.query("select id from realtime.messages where topic = 'wire59'")
  const frame = kind4((await v2.take('a binary frame', (f) => f.binary)).binary)
  assert.deepEqual([frame.topic, frame.event, frame.encoding, JSON.parse(frame.metadata), frame.payload],
    ['realtime:wire59', 'e"1', 1, { id }, { a: 1, id: 'x' }])
  const text = await v1.event('realtime:wire59', 'broadcast')
  assert.deepEqual(text.payload, { type: 'broadcast', event: 'e"1', payload: { a: 1, id: 'x' }, meta: { id } })
})

// More than db lets be under way, less than what waits for one client before it counts as slow.
test('SIGKILL of db inside a transaction of 3 500 messages: all of them, once, in order', async (t) => {
  const w = await world(t)
  const members = []
  for (const n of w.nodes) members.push(await listener(t, 'bulk', { at: n }))
  await w.sql.query(`select count(realtime.send(jsonb_build_object('id', n), 'e', 'bulk', false)) from generate_series(0, 3499) n`)
  await members[0].first(1)
  await Promise.all(w.nodes.map((n) => killed(n, 'db')))
  for (const m of members) {
    await m.first(3500)
    assert.deepEqual(m.got.map((x) => x.payload.id), [...Array(3500).keys()])
  }
})
