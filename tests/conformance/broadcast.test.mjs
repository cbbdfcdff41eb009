// SPDX-License-Identifier: Apache-2.0
// Goal: a broadcast reaches every member once, in one order, in the form of each receiver.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { startNode } from '../harness/process.mjs'
import { connect, kind3, kind4 } from '../harness/phx.mjs'

const node = await startNode({ after }, { edges: 2 })
const ok = { status: 'ok', response: {} }
const binary = (f) => f.binary !== undefined

for (const vsn of ['1.0.0', '2.0.0']) {
  const open = (t) => connect(t, node, { vsn })

  test(`${vsn} case 40: text push reaches the other, not the sender`, async (t) => {
    const [a, b] = [await open(t), await open(t)]
    const T = `realtime:t40-${vsn}`
    await a.join(T, { broadcast: { self: false } }, { ref: '1' })
    await b.join(T)
    a.send('1', '2', T, 'broadcast', { type: 'broadcast', event: 'e', payload: { n: 1 } })
    const { raw } = await b.event(T, 'broadcast')
    const payload = { type: 'broadcast', event: 'e', payload: { n: 1 } }
    assert.deepEqual(raw, b.v1 ? { topic: T, event: 'broadcast', payload, ref: null } : [null, null, T, 'broadcast', payload])
    await a.nothing(300)
  })

  test(`${vsn} case 41: self and ack`, async (t) => {
    const a = await open(t)
    const T = `realtime:t41-${vsn}`
    await a.join(T, { broadcast: { self: true, ack: true } }, { ref: '1' })
    a.send('1', '2', T, 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    const reply = await a.reply('2')
    if (a.v1) assert.deepEqual(reply.payload, ok)
    else assert.deepEqual(reply.raw, ['1', '2', T, 'phx_reply', ok])
    await a.event(T, 'broadcast')
  })

  test(`${vsn} case 44: extra keys pass unchanged`, async (t) => {
    const [a, b] = [await open(t), await open(t)]
    const T = `realtime:t44-${vsn}`
    await a.join(T, {}, { ref: '1' })
    await b.join(T)
    a.send('1', '2', T, 'broadcast', { foo: 1, event: 'e' })
    assert.deepEqual((await b.event(T, 'broadcast')).payload, { foo: 1, event: 'e' })
  })

  test(`${vsn} case 45: stale and null join_ref are accepted`, async (t) => {
    const a = await open(t)
    const T = `realtime:t45-${vsn}`
    await a.join(T, { broadcast: { ack: true } }, { ref: '1' })
    for (const ref of ['999', null]) assert.deepEqual((await a.call(ref, T, 'broadcast', { type: 'broadcast', event: 'e' })).payload, ok)
  })

  test(`${vsn} case 46: payload over the limit`, async (t) => {
    const [a, quiet, b] = [await open(t), await open(t), await open(t)]
    const T = `realtime:t46-${vsn}`
    await a.join(T, { broadcast: { ack: true } }, { ref: '1' })
    await quiet.join(T, {}, { ref: '1' })
    await b.join(T)
    const big = { type: 'broadcast', event: 'e', payload: { x: 'y'.repeat(3100 * 1024) } }
    assert.deepEqual((await a.call('1', T, 'broadcast', big)).payload, { status: 'error', response: 'payload_size_exceeded' })
    quiet.send('1', '3', T, 'broadcast', big)
    await quiet.heartbeat()
    await b.nothing()
    await quiet.nothing(0)
  })
}

test('case 42: kind 3 JSON in both forms', async (t) => {
  const [a, v2, v1] = [await connect(t, node), await connect(t, node), await connect(t, node, { vsn: '1.0.0' })]
  const T = 'realtime:room:1'
  await a.join(T, {}, { ref: '6' })
  await v2.join(T)
  await v1.join(T)
  a.raw(Buffer.concat([Buffer.from('0301010f010001', 'hex'), Buffer.from('67realtime:room:1x{"a":1}')]))
  const got = (await v2.take('kind 4', binary)).binary
  assert.deepEqual(got, Buffer.concat([Buffer.from('040f010001', 'hex'), Buffer.from('realtime:room:1x{"a":1}')]))
  assert.deepEqual((await v1.event(T, 'broadcast')).raw,
    { topic: T, event: 'broadcast', payload: { event: 'x', payload: { a: 1 }, type: 'broadcast' }, ref: null })
})

test('case 43: kind 3 bytes reach V2 only', async (t) => {
  const [a, v2, v1] = [await connect(t, node), await connect(t, node), await connect(t, node, { vsn: '1.0.0' })]
  const T = 'realtime:t43'
  for (const s of [a, v2, v1]) await s.join(T, {}, { ref: '1' })
  a.raw(kind3({ topic: T, event: 'b', payload: Buffer.from([1, 2, 3]), encoding: 0 }))
  const got = kind4((await v2.take('kind 4', binary)).binary)
  assert.deepEqual([got.topic, got.event, got.encoding, [...got.bytes]], [T, 'b', 0, [1, 2, 3]])
  await v1.nothing(300)
})

test('case 49: two senders, 1000 messages, one order on both edges', async (t) => {
  const sockets = []
  // The kernel spreads sockets over the edges as it likes.
  const edges = () => new Set(node.rows('connections').map((c) => c.edge)).size
  while (sockets.length < 8 || edges() < 2) sockets.push(await connect(t, node))
  const T = 'realtime:t49'
  for (const s of sockets) await s.join(T, { broadcast: { self: true } }, { ref: '1' })
  const senders = sockets.slice(0, 2)
  for (let n = 0; n < 500; n++) {
    for (const [i, s] of senders.entries()) s.raw(kind3({ topic: T, event: 'm', payload: { i, n } }))
    if (n % 50 === 0) await new Promise(setImmediate)
  }
  const seen = []
  for (const s of sockets) {
    const list = []
    while (list.length < 1000) list.push(kind4((await s.take('kind 4', binary)).binary).bytes.toString())
    await s.nothing(0)
    seen.push(list)
  }
  for (const list of seen) assert.deepEqual(list, seen[0])
  for (const i of [0, 1]) {
    assert.deepEqual(seen[0].map((m) => JSON.parse(m)).filter((m) => m.i === i).map((m) => m.n), [...Array(500).keys()])
  }
})

test('a message that is to be stored of a public channel is sent, and its ack says that it was not stored', async (t) => {
  const [a, b] = [await connect(t, node), await connect(t, node)]
  const T = 'realtime:stored'
  for (const s of [a, b]) await s.join(T, { broadcast: { ack: true } }, { ref: '1' })
  for (const [i, metadata] of ['{"persist":true}', '{"persist":{"ttl":60}}', '{"persist":false}', '{"other":1}', '[1]', 'x'].entries()) {
    a.raw(kind3({ topic: T, ref: `r${i}`, event: 'e', payload: { i }, metadata }))
    const { payload } = await a.reply(`r${i}`)
    assert.deepEqual(payload, i < 2
      ? { status: 'error', response: { error: 'persist can only be used on private channels' } }
      : { status: 'ok', response: {} })
    assert.deepEqual(kind4((await b.take('kind 4', binary)).binary).payload, { i })
  }
})

test('case 50: topics and events beyond ASCII, also as old clients send them', async (t) => {
  const [a, b] = [await connect(t, node), await connect(t, node)]
  const T = 'realtime:é日'
  await a.join(T, { broadcast: { ack: true } }, { ref: '1' })
  await b.join(T)
  a.raw(kind3({ topic: T, ref: '2', event: 'é', payload: { n: 1 } }))
  assert.deepEqual((await a.reply('2')).payload, ok)
  assert.equal(kind4((await b.take('kind 4', binary)).binary).topic, T)
  const latin = Buffer.from([...T].map((c) => c.charCodeAt(0) & 0xff))
  a.raw(kind3({ topic: latin, ref: '3', event: Buffer.from([0xe9]), payload: { n: 2 } }))
  assert.deepEqual((await a.reply('3')).payload, ok)
  const got = kind4((await b.take('kind 4', binary)).binary)
  assert.deepEqual([got.topic, got.event, got.payload], [T, 'é', { n: 2 }])
})

test('case 51: kind 3 that claims JSON and is not', async (t) => {
  const [a, b] = [await connect(t, node), await connect(t, node)]
  const T = 'realtime:t51'
  await a.join(T, { broadcast: { ack: true } }, { ref: '1' })
  await b.join(T)
  a.raw(kind3({ topic: T, ref: '2', event: 'e', payload: '{bad' }))
  assert.deepEqual((await a.reply('2')).payload, { status: 'error', response: { reason: 'payload is not valid JSON' } })
  await b.nothing()
})

test('a JSON payload 10 000 levels deep is refused, nobody notices', async (t) => {
  const [a, b] = [await connect(t, node), await connect(t, node)]
  const T = 'realtime:deep'
  await a.join(T, { broadcast: { ack: true } }, { ref: '1' })
  await b.join(T)
  a.raw(kind3({ topic: T, ref: '2', event: 'e', payload: '['.repeat(10000) + ']'.repeat(10000) }))
  assert.equal((await a.reply('2')).payload.status, 'error')
  assert.deepEqual((await a.call('1', T, 'broadcast', { type: 'broadcast', event: 'e', payload: 1 })).payload, ok)
  assert.equal((await b.event(T, 'broadcast')).payload.payload, 1)
})

test('topic over 255 bytes: V2 members get text', async (t) => {
  const [a, b] = [await connect(t, node), await connect(t, node)]
  const T = `realtime:${'x'.repeat(300)}`
  await a.join(T, {}, { ref: '1' })
  await b.join(T)
  const event = 'y'.repeat(250)
  a.send('1', null, T, 'broadcast', { type: 'broadcast', event, payload: { a: 1 } })
  assert.deepEqual((await b.event(T, 'broadcast')).payload, { type: 'broadcast', event, payload: { a: 1 } })
})

test('join is a fence: what is ordered after the reply is never missed', async (t) => {
  const a = await connect(t, node)
  for (let round = 0; round < 50; round++) {
    const T = `realtime:fence${round}`
    const b = await connect(t, node)
    await a.join(T, { broadcast: { ack: true } }, { ref: `j${round}` })
    await b.join(T)
    a.send(`j${round}`, null, T, 'broadcast', { type: 'broadcast', event: 'e', payload: round })
    assert.equal((await b.event(T, 'broadcast')).payload.payload, round)
    b.ws.terminate()
  }
})

test('over the rate of a socket: error to the sender, channel stays', async (t) => {
  const small = await startNode(t, { env: { REALTIME_MAX_CLIENT_EVENTS_PER_SECOND: '10' } })
  const a = await connect(t, small)
  const T = 'realtime:rate'
  await a.join(T, { broadcast: { ack: true } }, { ref: '1' })
  for (let i = 0; i < 60; i++) a.send('1', `r${i}`, T, 'broadcast', { type: 'broadcast', event: 'e', payload: i })
  const replies = []
  for (let i = 0; i < 60; i++) replies.push((await a.reply(`r${i}`)).payload)
  assert.ok(replies.some((r) => r.status === 'error' && r.response.reason === 'Too many messages per second'))
  assert.equal((await a.event(T, 'system')).payload.message, 'Too many messages per second')
  await a.heartbeat()
})
