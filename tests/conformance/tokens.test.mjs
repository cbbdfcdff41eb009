// SPDX-License-Identifier: Apache-2.0
// Goal: token refresh and expiry on a joined channel.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNode } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { now, sign } from '../harness/jwt.mjs'

const node = await startNode({ after }, { env: { REALTIME_TOKEN_GRACE_MS: '0' } })
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
    await s.join('realtime:t63', {}, { ref: '1', payload: { config: {}, access_token: node.token({ exp: now() + 2 }) } })
    const system = await s.event('realtime:t63', 'system')
    assert.match(system.payload.message, /^Token has expired \d+ seconds ago$/)
    await s.event('realtime:t63', 'phx_close')
    await s.heartbeat()
  })

  test(`${vsn} case 64: a fresh token moves the expiry`, async (t) => {
    const s = await open(t)
    const exp = now() + 3
    await s.join('realtime:t64', {}, { ref: '1', payload: { config: {}, access_token: node.token({ exp }) } })
    push(s, 'realtime:t64', node.token({ sub: 'fresh' }))
    await s.nothing((exp - now() + 2) * 1000)
    s.send('1', 'l', 'realtime:t64', 'phx_leave', {})
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
