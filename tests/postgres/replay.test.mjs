// SPDX-License-Identifier: Apache-2.0
// Goal: stored broadcasts and live ones follow each other without a gap and without a double, whichever of the two
// ways is faster, for realtime-js too.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { preparePolicies, allow } from '../conformance/private_help.mjs'

const database = await startPostgres({ after: atEnd })
const node = await startNode({ after: atEnd }, { database })
const sql = await database.connect()
await preparePolicies(sql)
await until('the slot to be read', async () =>
  (await sql.query("select count(*)::int as n from pg_replication_slots where slot_name like 'datafuse_realtime_%' and active")).rows[0].n === 1, 30000)

const REPLAY = 'realtime.datafuse_replay(topic text, since_ms bigint, most integer, bytes bigint, largest bigint)'
const ROWS = 'table (event text, payload text, binary_payload text, id text, inserted_at text)'
const send = (topic, n, event = 'e') => sql.query('select realtime.send($1, $2, $3, true)', [JSON.stringify({ n }), event, topic])
/** Sends these numbers and waits until they have gone by: what is not replayed of them would come live else. */
async function stored(t, topic, numbers) {
  const s = await connect(t, nodes.at(-1), { vsn: '1.0.0' })
  await s.join(`realtime:${topic}`, {}, { ref: '1', payload: payload(undefined) })
  for (const n of numbers) await send(topic, n)
  for (const _ of numbers) await s.event(`realtime:${topic}`, 'broadcast', 30000)
  s.ws.terminate()
}
const can = (topic) => allow(sql, 'u', topic, 'read:broadcast write:broadcast')
const nodes = node.nodes ?? [node]
const payload = (replay) => ({ config: { private: true, broadcast: { replay } }, access_token: node.token({ sub: 'u' }) })
/** All numbers that came up to the message `end`, with a star at those that were replayed. */
async function heard(s, topic) {
  await send(topic, 0, 'end')
  const got = []
  for (;;) {
    const { payload } = await s.event(`realtime:${topic}`, 'broadcast', 30000)
    if (payload.event === 'end') return got
    got.push(`${payload.payload.n}${payload.meta?.replayed ? '*' : ''}`)
  }
}

/** While `body` runs, a replay waits in the database, and `volatility` says whether it then sees what was committed. */
async function slowly(volatility, body) {
  const gate = await database.connect()
  await gate.query('select pg_advisory_lock(64)')
  await sql.query(`create schema if not exists gate; alter function realtime.datafuse_replay set schema gate;
    create function ${REPLAY} returns ${ROWS} language plpgsql ${volatility} security definer as $$
    begin
      perform pg_advisory_lock_shared(64);
      perform pg_advisory_unlock_shared(64);
      return query select * from gate.datafuse_replay(topic, since_ms, most, bytes, largest);
    end $$`)
  const open = () => gate.query('select pg_advisory_unlock(64)')
  const asked = () => until('the question to wait', async () => (await sql.query("select count(*)::int as n from pg_locks where locktype = 'advisory' and objid = 64 and not granted")).rows[0].n === 1)
  try {
    await body({ open, asked })
  } finally {
    await open()
    await sql.query(`drop function realtime.datafuse_replay; alter function gate.datafuse_replay set schema realtime`)
    await gate.end()
  }
}

test('case 64: 30 rows, limit 10, on every node', async (t) => {
  await can('r64')
  await stored(t, 'r64', Array.from({ length: 30 }, (_, i) => i + 1))
  for (const at of nodes) {
    const s = await connect(t, at, { vsn: '1.0.0' })
    await s.join('realtime:r64', {}, { ref: '1', payload: payload({ since: Date.now() - 3600000, limit: 10 }) })
    assert.deepEqual(await heard(s, 'r64'), [21, 22, 23, 24, 25, 26, 27, 28, 29, 30].map((n) => `${n}*`))
    await sql.query("delete from realtime.messages where topic = 'r64' and event = 'end'")
  }
})

for (const [volatility, want] of [['stable', ['1*', '2', '3', '4']], ['volatile', ['1*', '2*', '3*', '4']]]) {
  test(`case 64: live rows during the join, none twice, none lost (${volatility})`, async (t) => {
    const T = `r64live-${volatility}`
    await can(T)
    await send(T, 1)
    const live = await connect(t, nodes.at(-1), { vsn: '1.0.0' })
    const s = await connect(t, nodes[0], { vsn: '1.0.0' })
    await live.join(`realtime:${T}`, {}, { ref: '1', payload: payload({ since: 0, limit: 1 }) })
    assert.deepEqual((await live.event(`realtime:${T}`, 'broadcast')).payload.payload.n, 1)
    await slowly(volatility, async ({ open, asked }) => {
      s.send('1', '1', `realtime:${T}`, 'phx_join', payload({ since: 0, limit: 25 }))
      await asked()
      for (const n of [2, 3]) await send(T, n)
      // A member of the same topic has them: they have gone by the channel that waits.
      for (const n of [2, 3]) assert.equal((await live.event(`realtime:${T}`, 'broadcast')).payload.payload.n, n)
      assert.deepEqual(s.frames, [])
      await open()
      assert.deepEqual((await s.reply('1')).payload.response, { postgres_changes: [] })
      await send(T, 4)
      assert.deepEqual(await heard(s, T), want)
    })
  })
}

test('case 64: broadcasts of clients during the join come behind the stored ones, in their order', async (t) => {
  await can('r64c')
  await send('r64c', 1)
  const [a, s] = [await connect(t, nodes.at(-1), { vsn: '1.0.0' }), await connect(t, nodes[0], { vsn: '1.0.0' })]
  await a.join('realtime:r64c', {}, { ref: '1', payload: { config: { private: true, broadcast: { ack: true } }, access_token: node.token({ sub: 'u' }) } })
  await slowly('stable', async ({ open, asked }) => {
    s.send('1', '1', 'realtime:r64c', 'phx_join', payload({ since: 0 }))
    await asked()
    for (const n of [2, 3]) assert.equal((await a.call('1', 'realtime:r64c', 'broadcast', { type: 'broadcast', event: 'e', payload: { n } })).payload.status, 'ok')
    await open()
    assert.deepEqual((await s.reply('1')).payload.response, { postgres_changes: [] })
    assert.deepEqual(await heard(s, 'r64c'), ['1*', '2', '3'])
  })
})

test('case 64: more live messages than are held for a join: it is refused, nothing is lost in silence', async (t) => {
  await can('r64o')
  const [a, s] = [await connect(t, node, { vsn: '1.0.0' }), await connect(t, node, { vsn: '1.0.0' })]
  await a.join('realtime:r64o', {}, { ref: '1', payload: { config: { private: true, broadcast: { ack: true } }, access_token: node.token({ sub: 'u' }) } })
  await slowly('stable', async ({ open, asked }) => {
    s.send('1', '1', 'realtime:r64o', 'phx_join', payload({ since: 0 }))
    await asked()
    await sql.query("select realtime.send('{}', 'e', 'r64o', true) from generate_series(1, 300)")
    for (let n = 0; n < 300; n++) await a.event('realtime:r64o', 'broadcast')
    await open()
    assert.equal((await s.reply('1')).payload.response.reason, 'UnableToReplayMessages: Realtime was unable to replay messages')
  })
})

test('case 64: a channel that ends while its question is out', async (t) => {
  await can('r64e')
  await send('r64e', 1)
  const s = await connect(t, node, { vsn: '1.0.0' })
  await slowly('stable', async ({ open, asked }) => {
    s.send('1', '1', 'realtime:r64e', 'phx_join', payload({ since: 0 }))
    await asked()
    s.ws.terminate()
    await s.closing()
    await open()
  })
  const again = await connect(t, node, { vsn: '1.0.0' })
  await again.join('realtime:r64e', {}, { ref: '1', payload: payload({ since: 0 }) })
  assert.deepEqual(await heard(again, 'r64e'), ['1*'])
})

test('case 64: a query over its time limit: the join is refused, other channels go on', async (t) => {
  await can('r64t')
  const s = await connect(t, node)
  await slowly('stable', async ({ asked }) => {
    s.send('1', '1', 'realtime:r64t', 'phx_join', payload({ since: 0 }))
    await asked()
    await s.join('realtime:public64')
    assert.equal((await s.reply('1')).payload.response.reason, 'UnableToReplayMessages: Realtime was unable to replay messages')
  })
})

for (const role of ['db', 'owner']) {
  test(`case 64: the ${role} process is killed while a question is out: it is asked again`, async (t) => {
    const T = `r64k-${role}`
    await can(T)
    await send(T, 1)
    const s = await connect(t, node, { vsn: '1.0.0' })
    await slowly('stable', async ({ open, asked }) => {
      s.send('1', '1', `realtime:${T}`, 'phx_join', payload({ since: 0 }))
      await asked()
      await Promise.all(nodes.map((n) => n.kill(role)))
      await open()
      const first = await s.take('an answer', (f) => f.event === 'phx_reply', 30000)
      assert.deepEqual(first.payload.response, { postgres_changes: [] })
      assert.equal((await s.event(`realtime:${T}`, 'broadcast')).payload.payload.n, 1)
    })
  })
}

test('case 64, protocol case 70: realtime-js', async (t) => {
  await can('r64js')
  await stored(t, 'r64js', [1, 2, 3])
  const client = createClient(node.url, node.anonKey, { realtime: { transport: WebSocket } })
  t.after(() => client.removeAllChannels())
  await client.realtime.setAuth(node.token({ sub: 'u' }))
  const got = []
  const channel = client.channel('r64js', { config: { private: true, broadcast: { replay: { since: Date.now() - 60000, limit: 2 } } } })
  channel.on('broadcast', { event: 'e' }, (m) => got.push([m.payload.n, m.meta.replayed === true]))
  await new Promise((resolve, reject) => channel.subscribe((status, err) => status === 'SUBSCRIBED' ? resolve() : reject(err ?? new Error(status))))
  await send('r64js', 4)
  await until('all messages', () => got.length >= 3)
  assert.deepEqual(got, [[2, true], [3, true], [4, false]])
})
