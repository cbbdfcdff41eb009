// SPDX-License-Identifier: Apache-2.0
// Goal: token refresh and expiry on a joined channel.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNode, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { now, sign } from '../harness/jwt.mjs'

const node = await startNode({ after }, { env: { REALTIME_TOKEN_GRACE_MS: '0' } })
const roleOf = (topic) => node.rows('channels').filter((c) => c.topic === topic).map((c) => c.role)
const systemError = (message, channel) => ({ extension: 'system', status: 'error', message, channel })

for (const vsn of ['1.0.0', '2.0.0']) {
  const open = (t) => connect(t, node, { vsn })
  const push = (s, topic, token, joinRef = '1') => s.send(joinRef, null, topic, 'access_token', { access_token: token })

  test(`${vsn} case 61: the same token, null, a publishable key: nothing happens`, async (t) => {
    const s = await open(t)
    const token = node.token({ sub: 'u' })
    await s.join('realtime:t61', {}, { ref: '1', payload: { config: {}, access_token: token } })
    for (const value of [token, null, 'sb_x']) push(s, 'realtime:t61', value)
    await s.nothing()
    await s.heartbeat()
    s.send('1', 'l', 'realtime:t61', 'phx_leave', {})
    assert.equal((await s.reply('l')).payload.status, 'ok')
  })

  test(`${vsn} case 62: an empty token closes that channel only`, async (t) => {
    const s = await open(t)
    await s.join('realtime:t62', {}, { ref: '1' })
    await s.join('realtime:other', {}, { ref: '2' })
    push(s, 'realtime:t62', '')
    const system = await s.event('realtime:t62', 'system')
    assert.deepEqual(system.payload, systemError('The token provided is not a valid JWT', 't62'))
    if (!s.v1) assert.deepEqual(system.raw.slice(0, 2), ['1', null])
    assert.equal((await s.event('realtime:t62', 'phx_close')).ref, '1')
    await s.heartbeat()
    s.send('2', 'l', 'realtime:other', 'phx_leave', {})
    assert.equal((await s.reply('l')).payload.status, 'ok')
  })

  test(`${vsn} case 63: expiry closes the channel`, async (t) => {
    const s = await open(t)
    await s.join('realtime:t63', {}, { ref: '1' })
    push(s, 'realtime:t63', node.token({ exp: now() + 2 }))
    const system = await s.event('realtime:t63', 'system')
    assert.match(system.payload.message, /^Token has expired \d+ seconds ago$/)
    await s.event('realtime:t63', 'phx_close')
    await s.heartbeat()
  })

  test(`${vsn} case 64: a fresh token moves the expiry`, async (t) => {
    const s = await open(t)
    const exp = now() + 8 // time enough to join
    await s.join('realtime:t64', {}, { ref: '1', payload: { config: {}, access_token: node.token({ exp }) } })
    push(s, 'realtime:t64', node.token({ sub: 'fresh' }))
    await s.nothing((exp - now() + 2) * 1000)
    s.send('1', 'l', 'realtime:t64', 'phx_leave', {})
    assert.equal((await s.reply('l')).payload.status, 'ok')
  })

  test(`${vsn} case 64: a fresh token between the join and its reply, and right behind it`, async (t) => {
    const s = await open(t)
    const T = `realtime:t64b-${vsn}`
    s.send('1', '1', T, 'phx_join', { config: {}, access_token: node.token({ role: 'anon' }) })
    push(s, T, node.token({ sub: 'first' })) // waits behind the join
    assert.equal((await s.reply('1')).payload.status, 'ok')
    await s.heartbeat()
    assert.deepEqual(roleOf(T), ['authenticated'])
    for (const role of ['service_role', 'authenticated', 'anon']) push(s, T, node.token({ role })) // one a second, the last one wins
    await until('the last one', () => roleOf(T)[0] === 'anon')
    await s.nothing()
  })

  test(`${vsn} case 64: a token is the business of the channel that it is pushed on`, async (t) => {
    const s = await open(t)
    const topics = ['a', 'b', 'c'].map((name) => `realtime:t64${name}-${vsn}`)
    for (const [i, T] of topics.entries()) await s.join(T, {}, { ref: String(i) })
    push(s, topics[0], node.token({ sub: 'u' }), '0')
    push(s, topics[2], node.token({ role: 'service_role' }), '2')
    await s.heartbeat()
    assert.deepEqual(topics.flatMap(roleOf), ['authenticated', 'anon', 'service_role'])
    push(s, topics[2], 'potato', '2')
    push(s, topics[1], node.token({ sub: 'u' }), '1')
    assert.equal((await s.event(topics[2], 'phx_close')).topic, topics[2])
    await s.heartbeat()
    assert.deepEqual(topics.flatMap(roleOf), ['authenticated', 'authenticated'])
  })

  test(`${vsn} case 19: a token before any join, or for a channel that was refused, is no token`, async (t) => {
    const s = await open(t)
    const T = `realtime:t19-${vsn}`
    const unmatched = async (ref) => {
      s.send('1', ref, T, 'access_token', { access_token: node.token({ sub: 'u' }) })
      assert.deepEqual((await s.reply(ref)).payload, { status: 'error', response: { reason: 'unmatched topic' } })
    }
    await unmatched('a')
    await s.join(T, {}, { ref: '1', payload: { config: {}, access_token: 'potato' }, refused: true })
    await unmatched('b')
    await s.join(T, {}, { ref: '2' })
    assert.deepEqual(roleOf(T), ['anon']) // the connection's, as if nothing had been pushed
  })

  test(`${vsn} case 62: what cannot verify closes with the text of a join's refusal`, async (t) => {
    const bad = [
      ['potato', 'The token provided is not a valid JWT'],
      [5, 'The token provided is not a valid JWT'],
      [node.token({ role: undefined }), 'Fields `role` and `exp` are required in JWT'],
      [sign({ role: 'anon' }, 'x'.repeat(40)), 'Failed to validate JWT signature'],
      [sign({ role: 'anon' }, '', { alg: 'none' }), 'Failed to generate JWT signer, check your JWT secret or JWKS configuration'],
      [() => node.token({ exp: now() - 10 }), /^Token has expired 1\d seconds ago$/],
    ]
    const s = await open(t)
    for (const [i, [token, text]] of bad.entries()) {
      const T = `realtime:t62-${i}-${vsn}`
      await s.join(T, {}, { ref: `j${i}` })
      push(s, T, token instanceof Function ? token() : token, `j${i}`)
      const { message, ...rest } = (await s.event(T, 'system')).payload
      assert.deepEqual(rest, { extension: 'system', status: 'error', channel: T.slice('realtime:'.length) })
      if (text instanceof RegExp) assert.match(message, text)
      else assert.equal(message, text)
      assert.equal((await s.event(T, 'phx_close')).ref, `j${i}`)
    }
    await s.heartbeat()
  })

  test(`${vsn} case 63: the connection's token ends the channels that have no other`, async (t) => {
    const s = await connect(t, node, { vsn, key: node.token({ exp: now() + 8 }) }) // time enough for both joins
    await s.join('realtime:t63own', {}, { ref: '1', payload: { config: {}, access_token: node.token({ sub: 'u' }) } })
    await s.join('realtime:t63conn', {}, { ref: '2' })
    assert.match((await s.event('realtime:t63conn', 'system')).payload.message, /^Token has expired \d+ seconds ago$/)
    await s.event('realtime:t63conn', 'phx_close')
    const again = await s.join('realtime:t63conn', {}, { ref: '3', refused: true })
    assert.match(again.payload.response.reason, /^InvalidJWTToken: Token has expired \d+ seconds ago$/)
    await s.nothing()
    s.send('1', 'l', 'realtime:t63own', 'phx_leave', {})
    assert.equal((await s.reply('l')).payload.status, 'ok')
  })
}

test('case 65: a changed secret disconnects after a reload', async (t) => {
  const [first, second] = ['1'.repeat(40), '2'.repeat(40)]
  const file = join(mkdtempSync('/tmp/realtime-test-ini-'), 'realtime.ini')
  const write = (secret) => writeFileSync(file, `realtime_jwt_secret = ${secret}\n`)
  write(first)
  const reloaded = await startNode(t, { nodes: 1, args: ['--config', file], env: { REALTIME_JWT_SECRET: undefined } })
  const s = await connect(t, reloaded, { key: sign({ role: 'anon' }, first) })
  await s.join('realtime:t65', {}, { ref: '1' })
  write(second)
  reloaded.child.kill('SIGHUP')
  const system = await s.event('realtime:t65', 'system')
  assert.deepEqual(system.payload, { extension: 'system', status: 'ok', message: 'Server requested disconnect' })
  assert.equal((await s.closing()).code, 1012)
  const again = await connect(t, reloaded, { key: sign({ role: 'anon' }, second) })
  await again.join('realtime:t65')
})
