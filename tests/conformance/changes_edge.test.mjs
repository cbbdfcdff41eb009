// SPDX-License-Identifier: Apache-2.0
// Goal: Postgres Changes of old clients, joins that wait for them, and rows of which a reader gets less or nothing.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { RealtimeClient } from 'realtime-js-2.119.1'
import WebSocket from 'ws'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const U1 = '11111111-1111-1111-1111-111111111111'
const U2 = '22222222-2222-2222-2222-222222222222'
const database = await startPostgres({ after })
database.psql('-c', `create table test (id int primary key, details text);
  create table own (id int primary key, user_id uuid, v text, secret text);
  alter table own replica identity full;
  alter table own enable row level security;
  revoke all on own from anon, authenticated;
  grant select (id, user_id, v) on own to authenticated;
  create table blind (id int primary key, v text);
  revoke all on blind from anon, authenticated; grant select (v) on blind to authenticated;
  create table keyless (v text);
  create table big (id int primary key, v text, n int);
  create table unpublished (id int primary key);
  alter publication supabase_realtime add table test, own, blind, keyless, big`)
const node = await startNode({ after }, { database })
const sql = await database.connect()
await sql.query('create policy own on own for select using (user_id = auth.uid())')
const wait = { wait: true, timeout: 15000 }
let serial = 0

/** Joins as a user, with every change of a table live. */
async function subscribe(t, vsn, table, sub = U1) {
  const s = await connect(t, node, { vsn })
  const topic = `realtime:e${++serial}`
  const config = { postgres_changes: [{ event: '*', schema: 'public', table }], postgres_changes_options: wait }
  await s.join(topic, {}, { ref: '1', payload: { config, access_token: node.token({ role: 'authenticated', sub }) } })
  return { s, change: async () => (await s.event(topic, 'postgres_changes')).payload.data }
}

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`${vsn} case 83: a join of realtime-js 1.x`, async (t) => {
    await sql.query('truncate test')
    const s = await connect(t, node, { vsn })
    const topic = 'realtime:public:test:id=eq.1'
    const reply = await s.join(topic, {}, { ref: '1', payload: {} })
    assert.deepEqual(reply.payload, { status: 'ok', response: { postgres_changes: [] } })
    assert.deepEqual((await s.event(topic, 'system')).payload.status, 'ok')
    await sql.query("insert into test values (2, 'other'), (1, 'a')")
    const { commit_timestamp, ...insert } = (await s.event(topic, 'INSERT')).payload
    assert.match(commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual(insert, { type: 'INSERT', schema: 'public', table: 'test', errors: null, record: { id: 1, details: 'a' },
      columns: [{ name: 'id', type: 'int4' }, { name: 'details', type: 'text' }] })
    await sql.query("update test set details = 'b'")
    const update = (await s.event(topic, 'UPDATE')).payload
    assert.deepEqual([update.type, update.record, update.old_record], ['UPDATE', { id: 1, details: 'b' }, { id: 1 }])
    await sql.query('delete from test')
    const gone = (await s.event(topic, 'DELETE')).payload
    assert.deepEqual([gone.type, gone.old_record, 'ids' in gone], ['DELETE', { id: 1 }, false])
    // whole schemas and tables are named the same way
    await s.join('realtime:public', {}, { ref: '2', payload: {} })
    await s.event('realtime:public', 'system')
    await sql.query("insert into test values (3, 'c')")
    assert.deepEqual((await s.event('realtime:public', 'INSERT')).payload.record, { id: 3, details: 'c' })
    assert.deepEqual(s.frames.filter((f) => f.event === 'postgres_changes'), [])
  })

  test(`${vsn} case 84: a join that waits for a table that is not published`, async (t) => {
    const s = await connect(t, node, { vsn })
    const config = (table, options) => ({ postgres_changes: [{ event: 'INSERT', schema: 'public', table }], postgres_changes_options: options })
    const refused = await s.join('realtime:w84', config('unpublished', { wait: true }), { refused: true })
    assert.deepEqual(refused.payload.response, { reason: 'RealtimeDisabledForConfiguration: Unable to subscribe to changes with given parameters. ' +
      'Please check Realtime is enabled for the given connect parameters: [event: INSERT, schema: public, table: unpublished, filters: [], select: nil]' })
    await s.join('realtime:w84', config('test', wait))
    await s.join('realtime:w84b', config('unpublished', { wait: false }))
  })

  test(`${vsn} case 85: rows by policy, columns by grants, and what is left without a key`, async (t) => {
    await sql.query('truncate own, blind, keyless')
    const [one, two] = [await subscribe(t, vsn, 'own', U1), await subscribe(t, vsn, 'own', U2)]
    const [blind, keyless] = [await subscribe(t, vsn, 'blind'), await subscribe(t, vsn, 'keyless')]
    await sql.query(`insert into own values (1, '${U1}', 'a', 's')`)
    await sql.query(`insert into own values (2, '${U2}', 'b', 's')`)
    await sql.query('delete from own where id = 1')
    for (const [sub, user, id, v] of [[one, U1, 1, 'a'], [two, U2, 2, 'b']]) {
      const insert = await sub.change()
      assert.deepEqual(insert.record, { id, user_id: user, v })
      assert.deepEqual(insert.columns.map((c) => c.name), ['id', 'user_id', 'v'])
      const gone = await sub.change()
      assert.deepEqual([gone.type, gone.old_record], ['DELETE', { id: 1 }])
    }
    await sql.query("insert into blind values (1, 'x')")
    const unseen = await blind.change()
    assert.deepEqual([unseen.errors, unseen.record, unseen.columns], [['Error 401: Unauthorized'], {}, []])
    await sql.query("insert into keyless values ('x')")
    assert.deepEqual((await keyless.change()).errors, ['Error 400: Bad Request, no primary key'])
    for (const sub of [one, two, blind, keyless]) assert.deepEqual(sub.s.frames.filter((f) => f.event === 'postgres_changes'), [])
  })

  test(`${vsn} case 86: a row of 2 MiB`, async (t) => {
    await sql.query('truncate big')
    const sub = await subscribe(t, vsn, 'big')
    await sql.query("insert into big values (1, repeat('x', 2 * 1024 * 1024), 7)")
    const change = await sub.change()
    assert.deepEqual([change.errors, change.record], [['Error 413: Payload Too Large'], { id: 1, n: 7 }])
    assert.deepEqual(change.columns.map((c) => c.name), ['id', 'v', 'n'])
  })
}

test('case 84: the stream is down', async (t) => {
  const other = await startPostgres(t)
  other.psql('-c', 'create table test (id int primary key); alter publication supabase_realtime add table test')
  const node = await startNode(t, { database: other })
  await other.stop('immediate')
  const s = await connect(t, node)
  const postgres_changes = [{ event: '*', schema: 'public', table: 'test' }]
  const refused = await s.join('realtime:w', { postgres_changes, postgres_changes_options: { wait: true, timeout: 100 } }, { refused: true })
  assert.equal(refused.payload.response.reason, 'PostgresChangesSubscribeTimeout: Timed out after 100ms waiting for the postgres_changes subscription')
  // the client of today says why, tries again by itself, and is in when the database is back
  const client = new RealtimeClient(`${node.ws}/socket`, { params: { apikey: node.anonKey }, transport: WebSocket, reconnectAfterMs: () => 100 })
  t.after(() => client.disconnect())
  const seen = []
  client.channel('w', { config: { postgres_changes_options: { wait: true, timeout: 100 } } })
    .on('postgres_changes', { event: '*', schema: 'public', table: 'test' }, () => {})
    .subscribe((status, error) => seen.push({ status, message: error?.message }))
  await until('the refusal', () => seen.some((m) => /^PostgresChangesSubscribeTimeout: /.test(m.message)))
  assert.deepEqual(seen.filter((m) => m.status !== 'CHANNEL_ERROR'), [])
  await other.start()
  await until('the channel', () => seen.at(-1).status === 'SUBSCRIBED', 60000)
})

test('REALTIME_MAX_RECORD_BYTES: smaller and larger ones', async (t) => {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await sql.query('create table big (id int primary key, v text, n int); alter publication supabase_realtime add table big')
  for (const [max, sizes] of [[2048, [1500, 2500]], [4194304, [3000000, 4300000]]]) {
    const node = await startNode(t, { database, env: { REALTIME_MAX_RECORD_BYTES: String(max), REALTIME_MAX_QUEUE_BYTES: '33554432' } })
    const s = await connect(t, node)
    await sql.query('truncate big')
    await s.join('realtime:b', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'big' }], postgres_changes_options: wait })
    for (const size of sizes) await sql.query("insert into big values ($1, repeat('x', $1), null)", [size])
    const got = []
    for (let i = 0; i < 2; i++) got.push((await s.event('realtime:b', 'postgres_changes')).payload.data)
    assert.deepEqual(got.map((d) => d.record.v?.length), [sizes[0], undefined])
    assert.deepEqual(got.map((d) => d.errors), [null, ['Error 413: Payload Too Large']])
    await node.stop()
  }
})
