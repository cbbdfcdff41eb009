// SPDX-License-Identifier: Apache-2.0
// Goal: each limit is met with the texts that clients act on, hurts who caused it, and can be seen.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, until } from '../harness/process.mjs'
import { connect, handshake } from '../harness/phx.mjs'

const start = (t, env, opts) => startNode(t, { env, edges: 1, ...opts })
// Rates are those of one node.
const one = (node) => node.nodes?.[0] ?? node
const all = (node) => node.nodes ?? [node]
const reason = (frame) => frame.payload.response.reason
const upgrade = (node) => handshake(node, `/socket/websocket?apikey=${node.anonKey}&vsn=2.0.0`)

async function metric(node, name) {
  const text = await (await fetch(`${node.adminUrl}/metrics`)).text()
  return [...text.matchAll(new RegExp(`^realtime_${name}\\{.*\\} (\\d+)$`, 'gm'))].reduce((sum, m) => sum + Number(m[1]), 0)
}
const batch = async (node, messages) => {
  const res = await fetch(`${node.url}/api/broadcast`, { method: 'POST', body: JSON.stringify({ messages }),
    headers: { 'content-type': 'application/json', authorization: `Bearer ${node.anonKey}` } })
  return { status: res.status, headers: res.headers, body: await res.text() }
}
const broadcast = (s, joinRef, topic, n) =>
  s.call(joinRef, topic, 'broadcast', { type: 'broadcast', event: 'e', payload: { n } })

test('case 35: more clients than allowed, wherever in the cluster they are', async (t) => {
  const node = await start(t, { REALTIME_MAX_CLIENTS: '1' }, { edges: 2 })
  const nodes = all(node)
  const [first, second] = [await connect(t, nodes[0]), await connect(t, nodes.at(-1))]
  await first.join('realtime:one')
  for (const n of nodes) { // each of its edges hears of the client by itself
    await until('the client to be known', async () => (await Promise.all(Array.from({ length: 8 }, () => upgrade(n)))).every((r) => r.status === 429))
  }
  const refused = await second.join('realtime:two', {}, { refused: true })
  assert.equal(reason(refused), 'ConnectionRateLimitReached: Too many connected users')
  for (const n of nodes) {
    const third = await upgrade(n)
    assert.deepEqual([third.status, third.body], [429, '{"error":"Too many connected users"}'])
  }
  await first.join('realtime:another') // a client that is counted already
  assert.ok(await metric(nodes.at(-1), 'limited_clients_total') >= 2)
  first.ws.close()
  await until('the place to be free', async () => {
    second.send('3', '3', 'realtime:two', 'phx_join', { config: {} })
    return (await second.reply('3')).payload.status === 'ok'
  })
})

/** So many are answered, and many more are sent at once: one of those is refused, if the limit is that low. */
async function joinMany(s, count) {
  for (let n = 0; n < count; n++) await s.join(`realtime:t${n}`)
  for (let n = 0; n < 20; n++) s.send(`x${n}`, `x${n}`, `realtime:x${n}`, 'phx_join', { config: {} })
}

test('case 36: more joins per second than allowed', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_JOINS_PER_SECOND: '2' }))
  const s = await connect(t, node)
  await joinMany(s, 2)
  const refused = await s.take('a refusal', (f) => f.event === 'phx_reply' && f.payload.status === 'error')
  assert.equal(reason(refused), 'ClientJoinRateLimitReached: Too many joins per second')
  assert.equal((await s.closing()).code, 1001)
  assert.equal(s.frames.filter((f) => f.payload.status === 'error').length, 0)
  await until('a connect to be refused', async () => {
    const answer = await upgrade(node)
    if (answer.status === 429) assert.equal(answer.body, '{"error":"Too many joins per second"}')
    else if (answer.status === 101) {
      const other = await connect(t, node).catch(() => null)
      for (const n of [1, 2]) other?.send(`${n}`, `${n}`, `realtime:t${n}`, 'phx_join', { config: {} })
    }
    return answer.status === 429
  })
  assert.ok(await metric(node, 'limited_joins_total') >= 2)
})

test('case 36: joins of one socket', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_CLIENT_JOINS_PER_SECOND: '1' }))
  const [s, other] = [await connect(t, node), await connect(t, node)]
  await joinMany(s, 4)
  const refused = await s.take('a refusal', (f) => f.event === 'phx_reply' && f.payload.status === 'error')
  assert.equal(reason(refused), 'ClientJoinRateLimitReached: Too many joins per second')
  assert.equal((await s.closing()).code, 1001)
  await other.join('realtime:t1')
})

/** Joins that are refused, all in one write. */
const refuseMany = (s, count) => {
  s.ws._socket.cork()
  for (let n = 1; n <= count; n++) s.send(`${n}`, `${n}`, 'realtime:', 'phx_join', {})
  s.ws._socket.uncork()
}
const tooMany = async (s) => {
  await s.take('a last refusal', (f) => f.event === 'phx_reply' && reason(f) === 'ClientJoinRateLimitReached: Too many joins per second')
  assert.deepEqual(await s.closing(), { code: 1001, reason: 'too many joins' })
}

test('joins that are refused count for their socket, and not for the project', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_JOINS_PER_SECOND: '1', REALTIME_MAX_CLIENT_JOINS_PER_SECOND: '5' }))
  const [s, other] = [await connect(t, node), await connect(t, node)]
  refuseMany(s, 1000)
  await tooMany(s)
  await other.join('realtime:t1')
})

test('REALTIME_LIMITS=supabase: no more refusals than that wait for their time', async (t) => {
  const node = one(await start(t, { REALTIME_LIMITS: 'supabase' }))
  const before = JSON.stringify(node.pids())
  const [s, other] = [await connect(t, node), await connect(t, node)]
  await other.join('realtime:t1')
  refuseMany(s, 100000)
  await tooMany(s)
  await other.heartbeat()
  assert.equal(JSON.stringify(node.pids()), before, 'a process was restarted')
})

test('case 94: a batch larger than the rest of the rate', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_EVENTS_PER_SECOND: '10' }))
  const messages = (count) => Array.from({ length: count }, (_, n) => ({ topic: 'r94', event: 'e', payload: { n } }))
  const large = await batch(node, messages(11))
  assert.deepEqual([large.status, large.body], [429, '{"message":"Too many messages to broadcast, please reduce the batch size"}'])
  const rates = ({ headers }) => ['x-rate-rolling', 'x-rate-limit', 'x-rate-limit-remaining'].map((name) => Number(headers.get(name)))
  assert.deepEqual(rates(large), [0, 10, 10])
  const fits = await batch(node, messages(10))
  assert.deepEqual([fits.status, fits.body], [202, ''])
  const [used, limit, left] = rates(fits)
  assert.ok(used > 0 && used + left === limit, `${used} used, ${left} left`)
  await until('nothing to be left of the rate', async () => {
    const more = await batch(node, messages(1))
    if (more.status === 429) assert.equal(more.body, '{"message":"You have exceeded your rate limit"}')
    return more.status === 429
  })
  const single = async () => {
    const res = await fetch(`${node.url}/api/broadcast/r94/events/e`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json', apikey: node.anonKey } })
    return { status: res.status, body: await res.text() }
  }
  // More at once than the rate allows: alone, each may find that some of it has come back.
  const refused = await until('a single one to be refused', async () => (await Promise.all(Array.from({ length: 30 }, single))).find((r) => r.status === 429))
  assert.equal(refused.body, '{"message":"You have exceeded your rate limit"}')
  await until('the rate to be there again', async () => (await batch(node, messages(1))).status === 202)
})

test('deliveries count as events: a large room is served, then publishers wait', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_EVENTS_PER_SECOND: '10' }))
  const members = await Promise.all(Array.from({ length: 60 }, () => connect(t, node)))
  for (const m of members) await m.join('realtime:room', { broadcast: { ack: true } }, { ref: '1' })
  const [sender, ...others] = members
  assert.equal((await broadcast(sender, '1', 'realtime:room', 1)).payload.status, 'ok')
  for (const m of others) assert.equal((await m.event('realtime:room', 'broadcast')).payload.payload.n, 1)
  const refused = await broadcast(sender, '1', 'realtime:room', 2)
  assert.deepEqual(refused.payload, { status: 'error', response: { reason: 'Too many messages per second' } })
  const system = await sender.event('realtime:room', 'system')
  assert.deepEqual(system.payload, { extension: 'system', status: 'error', message: 'Too many messages per second', channel: 'room' })
  await until('the debt to be paid', async () => (await broadcast(sender, '1', 'realtime:room', 3)).payload.status === 'ok')
  for (const m of others) assert.equal((await m.event('realtime:room', 'broadcast')).payload.payload.n, 3)
})

test('presence events per second: refused, and the channel lives', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_PRESENCE_EVENTS_PER_SECOND: '1', REALTIME_MAX_CLIENT_PRESENCE_EVENTS: '0' }))
  const s = await connect(t, node)
  await s.join('realtime:p', { presence: { enabled: true, key: 'k' } }, { ref: '1' })
  await s.event('realtime:p', 'presence_state')
  await until('a call to be taken', async () => (await s.track('1', 'realtime:p', { n: 1 })).payload.status === 'ok')
  await s.event('realtime:p', 'presence_diff')
  const refused = await s.track('1', 'realtime:p', { n: 2 })
  assert.deepEqual(refused.payload, { status: 'error', response: { reason: 'Too many presence messages per second' } })
  await until('a call to be taken again', async () => (await s.track('1', 'realtime:p', { n: 3 })).payload.status === 'ok')
  const diff = await s.event('realtime:p', 'presence_diff')
  assert.deepEqual(diff.payload.joins.k.metas.map((m) => m.n), [3])
  assert.ok(await metric(node, 'limited_presence_total') >= 1)
})

const shut = async (s, topic, message) => {
  const system = await s.event(topic, 'system')
  assert.deepEqual(system.payload, { extension: 'system', status: 'error', message, channel: topic.slice(9) })
  assert.equal((await s.event(topic, 'phx_close')).joinRef, '1')
}

test('REALTIME_LIMITS=supabase: who is sent too much is shut, not who sends', async (t) => {
  const node = one(await start(t, { REALTIME_LIMITS: 'supabase', REALTIME_MAX_EVENTS_PER_SECOND: '1' }))
  const [sender, member, elsewhere] = await Promise.all([1, 2, 3].map(() => connect(t, node)))
  await sender.join('realtime:room', { broadcast: { ack: true } }, { ref: '1' })
  await member.join('realtime:room', {}, { ref: '1' })
  await elsewhere.join('realtime:quiet', {}, { ref: '1' })
  for (let n = 0; n < 70; n++) assert.equal((await broadcast(sender, '1', 'realtime:room', n)).payload.status, 'ok')
  await shut(member, 'realtime:room', 'Too many messages per second')
  const got = member.frames.filter((f) => f.event === 'broadcast').map((f) => f.payload.payload.n)
  assert.deepEqual(got, [...got.keys()])
  assert.ok(got.length >= 25, `${got.length} arrived; a minute's worth is 60, and each costs two`)
  await elsewhere.nothing()
})

test('REALTIME_LIMITS=supabase: presence calls and diffs over the limit shut the channel', async (t) => {
  const node = one(await start(t, { REALTIME_LIMITS: 'supabase', REALTIME_MAX_PRESENCE_EVENTS_PER_SECOND: '1' }))
  const s = await connect(t, node)
  await s.join('realtime:calls', { presence: { enabled: true } }, { ref: '1' })
  for (let n = 0; n < 5; n++) assert.equal((await s.track('1', 'realtime:calls', { n })).payload.status, 'ok')
  s.send('1', '99', 'realtime:calls', 'presence', { type: 'presence', event: 'track', payload: { n: 6 } })
  await shut(s, 'realtime:calls', 'Client presence rate limit exceeded')
  assert.equal(s.frames.filter((f) => f.ref === '99').length, 0)

  const members = await Promise.all(Array.from({ length: 20 }, () => connect(t, node)))
  for (const m of members) await m.join('realtime:diffs', { presence: { enabled: true } }, { ref: '1' })
  for (const m of members) m.send('1', '2', 'realtime:diffs', 'presence', { type: 'presence', event: 'track', payload: {} })
  for (const m of members) await shut(m, 'realtime:diffs', 'Too many presence messages per second')
})

test('REALTIME_LIMITS=supabase: each refusal waits for its time, and nothing else with it', async (t) => {
  const node = one(await start(t, { REALTIME_LIMITS: 'supabase' }))
  const order = []
  const connection = handshake(node, '/socket/websocket?vsn=2.0.0').then(({ status }) => order.push(`connection ${status}`))
  const s = await connect(t, node)
  s.send('1', '1', 'realtime:', 'phx_join', { config: {} })
  const join = s.reply('1').then(({ payload }) => order.push(`join ${payload.status}`))
  await s.join('realtime:room', {}, { ref: '2' })
  await s.heartbeat()
  order.push('the rest')
  await Promise.all([connection, join])
  assert.deepEqual(order, ['the rest', 'connection 401', 'join error'])
})

test('payload: of a broadcast and of a track', async (t) => {
  const node = one(await start(t, { REALTIME_MAX_PAYLOAD_KB: '1' }))
  const s = await connect(t, node)
  await s.join('realtime:room', { broadcast: { ack: true }, presence: { enabled: true } }, { ref: '1' })
  const large = 'x'.repeat(1100)
  assert.deepEqual((await broadcast(s, '1', 'realtime:room', large)).payload, { status: 'error', response: 'payload_size_exceeded' })
  s.send('1', '7', 'realtime:room', 'presence', { type: 'presence', event: 'track', payload: { large } })
  await shut(s, 'realtime:room', 'Track message size exceeded')
  assert.equal(await metric(node, 'limited_payload_total'), 2)
})

test('limits are shown by /metrics and realtimectl status', async (t) => {
  const node = one(await start(t, { REALTIME_LIMITS: 'supabase', REALTIME_MAX_CLIENTS: '7',
    REALTIME_MAX_TOPICS: '1000000', REALTIME_MAX_PRESENCES: '500000' }))
  const wanted = {
    REALTIME_MAX_CLIENTS: 7, REALTIME_MAX_CHANNELS_PER_CLIENT: 100, REALTIME_MAX_JOINS_PER_SECOND: 100,
    REALTIME_MAX_CLIENT_JOINS_PER_SECOND: 0, REALTIME_MAX_EVENTS_PER_SECOND: 100, REALTIME_MAX_CLIENT_EVENTS_PER_SECOND: 0,
    REALTIME_MAX_PRESENCE_EVENTS_PER_SECOND: 1000, REALTIME_MAX_CLIENT_PRESENCE_EVENTS: 5, REALTIME_CLIENT_PRESENCE_WINDOW_MS: 30000,
    REALTIME_FREE_REFUSALS: 0, REALTIME_MAX_PAYLOAD_KB: 3000, REALTIME_MAX_FRAME_BYTES: 5000000, REALTIME_MAX_RECORD_BYTES: 1048576,
    REALTIME_MAX_QUEUE_BYTES: 4194304, REALTIME_IDLE_TIMEOUT_MS: 60000, REALTIME_NO_CHANNEL_TIMEOUT_MS: 600000,
    REALTIME_MAX_TOPICS: 1000000, REALTIME_MAX_PRESENCES: 500000, REALTIME_MAX_PRESENCES_PER_TOPIC: 100000 }
  assert.deepEqual(node.rows('status')[0].limits, wanted)
  const text = await (await fetch(`${node.adminUrl}/metrics`)).text()
  for (const [name, value] of Object.entries(wanted)) {
    assert.ok(text.includes(`realtime_limit{node="${node.name}",setting="${name}"} ${value}\n`), name)
  }
  assert.match(node.ctl('status'), /^REALTIME_MAX_CLIENTS +7$/m)
})
