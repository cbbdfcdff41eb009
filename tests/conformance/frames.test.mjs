// SPDX-License-Identifier: Apache-2.0
// Goal: framing of both versions; bad frames hurt nobody.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { startNode } from '../harness/process.mjs'
import { connect, kind3 } from '../harness/phx.mjs'

const node = await startNode({ after })
const ok = { status: 'ok', response: {} }
const unmatched = { status: 'error', response: { reason: 'unmatched topic' } }

for (const vsn of ['1.0.0', '2.0.0']) {
  const open = (t) => connect(t, node, { vsn })

  test(`${vsn} case 15: heartbeat`, async (t) => {
    const s = await open(t)
    s.send(null, '5', 'phoenix', 'heartbeat', {})
    const { raw } = await s.reply('5')
    if (s.v1) assert.deepEqual(raw, { topic: 'phoenix', event: 'phx_reply', payload: ok, ref: '5' })
    else assert.deepEqual(raw, [null, '5', 'phoenix', 'phx_reply', ok])
  })

  test(`${vsn} case 16: damaged text is dropped, the socket lives`, async (t) => {
    const s = await open(t)
    for (const text of ['', '{', '[1,2]', '"x"', '{"event":"a"}', '[]', 'null', '[null,null,null,null,null]', `${'['.repeat(10000)}`]) s.raw(text)
    await s.heartbeat()
    await s.nothing(100)
  })

  test(`${vsn} case 18: message over 5 000 000 bytes`, async (t) => {
    const s = await open(t)
    s.raw('x'.repeat(5000001))
    assert.equal((await s.closing()).code, 1009)
  })

  test(`${vsn} case 19: a topic that was never joined`, async (t) => {
    const s = await open(t)
    s.send('1', '9', 'realtime:x', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    const reply = await s.reply('9')
    assert.deepEqual(reply.payload, unmatched)
    if (!s.v1) assert.deepEqual(reply.raw, [null, '9', 'realtime:x', 'phx_reply', unmatched])
  })

  test(`${vsn} case 20: join of a foreign topic`, async (t) => {
    const s = await open(t)
    s.send('1', '1', 'room:1', 'phx_join', { config: {} })
    assert.deepEqual((await s.reply('1')).payload, unmatched)
  })

  test(`${vsn} case 21: leave of a topic that is not joined`, async (t) => {
    const s = await open(t)
    s.send('7', '3', 'realtime:x', 'phx_leave', {})
    const reply = await s.reply('3')
    assert.deepEqual(reply.payload, ok)
    if (!s.v1) assert.equal(reply.joinRef, '7')
  })
}

test('case 17: damaged binary frames are dropped', async (t) => {
  const s = await connect(t, node)
  s.raw(Buffer.from([9, 0]))
  s.raw(Buffer.from([]))
  s.raw(Buffer.from([3, 1, 1, 200, 1, 0, 1, 0x31, 0x32]))
  s.raw(Buffer.from([3]))
  await s.heartbeat()
  await s.nothing(100)
})

test('kind 0 with event broadcast is answered by an error', async (t) => {
  const s = await connect(t, node)
  const { joinRef } = await s.join('realtime:k0', {}, { ref: '1' })
  const parts = [joinRef, '8', 'realtime:k0', 'broadcast'].map((p) => Buffer.from(p))
  s.raw(Buffer.concat([Buffer.from([0, ...parts.map((p) => p.length)]), ...parts, Buffer.from([1, 2])]))
  assert.deepEqual((await s.reply('8')).payload, { status: 'error', response: { reason: 'binary push of kind 0 is not supported, send kind 3' } })
})

test('100 damaged messages in a minute end the socket with 1008, and only it', async (t) => {
  const [bad, good] = [await connect(t, node), await connect(t, node)]
  for (let i = 0; i < 100; i++) bad.raw('{')
  assert.equal((await bad.closing()).code, 1008)
  await good.heartbeat()
})

test('invalid UTF-8 in text ends the socket with 1007', async (t) => {
  const s = await connect(t, node)
  s.ws._sender.sendFrame([Buffer.from([0x81, 0x82, 0, 0, 0, 0, 0xc3, 0x28])])
  assert.equal((await s.closing()).code, 1007)
})

test('a message in 1-byte fragments is taken up to 1 024 fragments', async (t) => {
  const s = await connect(t, node)
  const text = JSON.stringify([null, 'f1', 'phoenix', 'heartbeat', {}])
  for (let i = 0; i < text.length; i++) s.ws.send(text[i], { fin: i === text.length - 1 })
  await s.reply('f1')
  for (let i = 0; i < 3000; i++) s.ws.send('x', { fin: false })
  assert.ok([1008, 1009].includes((await s.closing()).code))
})

test('an unknown event on a joined topic is ignored', async (t) => {
  const s = await connect(t, node)
  const { joinRef } = await s.join('realtime:u')
  s.send(joinRef, '50', 'realtime:u', 'whatever', {})
  await s.heartbeat()
  await s.nothing(100)
})

test('a kind 3 frame for a topic never joined is answered like any other', async (t) => {
  const s = await connect(t, node)
  s.raw(kind3({ joinRef: '1', ref: '2', topic: 'realtime:none', event: 'e', payload: {} }))
  assert.deepEqual((await s.reply('2')).payload, unmatched)
})
