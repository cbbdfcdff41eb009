// SPDX-License-Identifier: Apache-2.0
// Goal: joining, leaving, replacing, and every refusal that needs no database.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, supabase } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { sign, now } from '../harness/jwt.mjs'

const node = await startNode({ after }, { env: { REALTIME_PUBLISHABLE_KEYS: 'sb_publishable_x' } })
const ok = { status: 'ok', response: {} }
const joined = { status: 'ok', response: { postgres_changes: [] } }

for (const vsn of ['1.0.0', '2.0.0']) {
  const open = (t, opts) => connect(t, node, { vsn, ...opts })
  const refusal = async (s, payload, topic = 'realtime:r') => {
    const reply = await s.join(topic, {}, { payload, refused: true })
    assert.deepEqual(Object.keys(reply.payload.response), ['reason'])
    return reply.payload.response.reason
  }

  test(`${vsn} case 22: plain join`, async (t) => {
    const s = await open(t)
    s.send('1', '1', 'realtime:a', 'phx_join', { config: {} })
    const { raw } = await s.reply('1')
    if (s.v1) assert.deepEqual(raw, { topic: 'realtime:a', event: 'phx_reply', payload: joined, ref: '1' })
    else assert.deepEqual(raw, ['1', '1', 'realtime:a', 'phx_reply', joined])
    await s.nothing()
  })

  test(`${vsn} case 23: empty topic name`, async (t) =>
    assert.equal(await refusal(await open(t), { config: {} }, 'realtime:'), 'TopicNameRequired: You must provide a topic name'))

  test(`${vsn} case 24: token that is no JWT`, async (t) =>
    assert.equal(await refusal(await open(t), { config: {}, access_token: 'potato' }), 'MalformedJWT: The token provided is not a valid JWT'))

  test(`${vsn} case 25: expired token`, async (t) => {
    const reason = await refusal(await open(t), { config: {}, access_token: sign({ role: 'anon', exp: now() - 10 }, node.secret) })
    assert.match(reason, /^InvalidJWTToken: Token has expired 1\d seconds ago$/)
  })

  test(`${vsn} case 26: token without role`, async (t) =>
    assert.equal(await refusal(await open(t), { config: {}, access_token: sign({}, node.secret) }),
      'InvalidJWTToken: Fields `role` and `exp` are required in JWT'))

  test(`${vsn} bad signature and no signature`, async (t) => {
    const s = await open(t)
    assert.equal(await refusal(s, { config: {}, access_token: sign({ role: 'anon' }, 'y'.repeat(40)) }), 'JwtSignatureError: Failed to validate JWT signature')
    assert.equal(await refusal(s, { config: {}, access_token: sign({ role: 'anon' }, '', { alg: 'none' }) }),
      'JwtSignerError: Failed to generate JWT signer, check your JWT secret or JWKS configuration')
  })

  test(`${vsn} case 27: publishable key in the join falls back to the connection token`, async (t) =>
    void await (await open(t)).join('realtime:a', {}, { payload: { config: {}, access_token: 'sb_publishable_zzz' } }))

  test(`${vsn} case 28: user_token`, async (t) =>
    void await (await open(t)).join('realtime:a', {}, { payload: { config: {}, user_token: node.token({ sub: 'u' }) } }))

  test(`${vsn} case 28: user_token counts before access_token, whether it is good or not`, async (t) => {
    const s = await open(t)
    await s.join('realtime:a', {}, { payload: { config: {}, user_token: node.token({ sub: 'u' }), access_token: 'potato' } })
    assert.equal(await refusal(s, { config: {}, user_token: 'potato', access_token: node.token({ sub: 'u' }) }), 'MalformedJWT: The token provided is not a valid JWT')
  })

  test(`${vsn} a join that is wrong in several ways is told the first of them`, async (t) => {
    const s = await open(t)
    const all = { config: { private: 'maybe', broadcast: { replay: { since: 1 } } }, access_token: 'potato' }
    const one = { ...all, config: { broadcast: { replay: { since: 1 } } } }
    assert.match(await refusal(s, all, 'realtime:'), /^TopicNameRequired: /)
    assert.match(await refusal(s, all), /^InvalidJoinPayload: /)
    assert.match(await refusal(s, one), /^MalformedJWT: /)
    assert.match(await refusal(s, { config: one.config }), /^UnableToReplayMessages: Replay is not allowed for public channels/)
  })

  test(`${vsn} case 29: booleans as text`, async (t) => {
    const s = await open(t)
    const { joinRef } = await s.join('realtime:b', { broadcast: { self: 'TRUE', ack: 'false' }, presence: { enabled: 'false' } }, { ref: '1' })
    s.send(joinRef ?? '1', null, 'realtime:b', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
    await s.event('realtime:b', 'broadcast')
    await s.nothing(200)
  })

  test(`${vsn} case 30: null instead of changes`, async (t) => {
    const s = await open(t)
    for (const postgres_changes of [null, [null]]) {
      const reply = await s.join(`realtime:n${JSON.stringify(postgres_changes)}`, { postgres_changes })
      assert.deepEqual(reply.payload, joined)
    }
    await s.nothing(300)
  })

  test(`${vsn} case 31: the same topic twice`, async (t) => {
    const s = await open(t)
    await s.join('realtime:twice', { broadcast: { ack: true } }, { ref: '1' })
    await s.join('realtime:twice', { broadcast: { ack: true } }, { ref: '4' })
    const close = await s.event('realtime:twice', 'phx_close')
    if (s.v1) assert.equal(close.ref, '1')
    else assert.deepEqual(close.raw, ['1', '1', 'realtime:twice', 'phx_close', {}])
    assert.deepEqual((await s.call('4', 'realtime:twice', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })).payload, ok)
    if (s.v1) return // without the old join_ref in a close, V1 cannot be told apart here
    s.send('1', '9', 'realtime:twice', 'phx_leave', {})
    assert.deepEqual((await s.call('4', 'realtime:twice', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })).payload, ok)
    await s.nothing(100)
  })

  test(`${vsn} case 32: a refused second join ends the first`, async (t) => {
    const s = await open(t)
    await s.join('realtime:twice2', {}, { ref: '1' })
    await s.join('realtime:twice2', {}, { ref: '2', payload: { config: {}, access_token: 'bad' }, refused: true })
    assert.equal((await s.event('realtime:twice2', 'phx_close')).ref, '1')
    assert.equal((await s.call('1', 'realtime:twice2', 'broadcast', {})).payload.response.reason, 'unmatched topic')
  })

  test(`${vsn} case 33: leave`, async (t) => {
    const s = await open(t)
    await s.join('realtime:l', {}, { ref: '1' })
    s.send('1', '7', 'realtime:l', 'phx_leave', {})
    const reply = await s.reply('7')
    const close = await s.event('realtime:l', 'phx_close')
    if (s.v1) {
      assert.deepEqual(reply.payload, ok)
      assert.deepEqual(close.raw, { topic: 'realtime:l', event: 'phx_close', payload: {}, ref: '1' })
    } else {
      assert.deepEqual(reply.raw, ['1', '7', 'realtime:l', 'phx_reply', ok])
      assert.deepEqual(close.raw, ['1', '1', 'realtime:l', 'phx_close', {}])
    }
  })

  test(`${vsn} case 39: three refusals come at once`, async (t) => {
    const s = await open(t)
    for (let i = 0; i < 3; i++) {
      const start = Date.now()
      await refusal(s, { config: {}, access_token: 'potato' })
      assert.ok(Date.now() - start < 4000, 'a refusal was held back')
    }
  })
}

test('case 34: the 101st channel of a socket', async (t) => {
  const s = await connect(t, node)
  for (let i = 0; i < 100; i++) await s.join(`realtime:c${i}`)
  const reply = await s.join('realtime:c100', {}, { refused: true })
  assert.equal(reply.payload.response.reason, 'ChannelRateLimitReached: Too many channels')
  s.send(null, 'leave', 'realtime:c0', 'phx_leave', {})
  await s.reply('leave')
  await s.join('realtime:c100')
})

test('refs are echoed byte for byte', async (t) => {
  const s = await connect(t, node)
  s.raw('["\\u0031x","1\\u00e9","realtime:e","phx_join",{"config":{}}]')
  const frame = await s.take('reply', (f) => f.event === 'phx_reply')
  assert.deepEqual(frame.raw.slice(0, 3), ['1x', '1é', 'realtime:e'])
})

test('case 13: a publishable key connects and joins', async (t) => {
  const s = await connect(t, node, { key: 'sb_publishable_x' })
  await s.join('realtime:p')
})

test('a wrong type in private refuses the join instead of making it public', async (t) => {
  const s = await connect(t, node)
  const reply = await s.join('realtime:p', { private: 'yes' }, { refused: true })
  assert.equal(reply.payload.response.reason, 'InvalidJoinPayload: private must be a boolean')
})

test('replay on a public channel is refused', async (t) => {
  const s = await connect(t, node)
  const reply = await s.join('realtime:p', { broadcast: { replay: { since: 1, limit: 2 } } }, { refused: true })
  assert.equal(reply.payload.response.reason, 'UnableToReplayMessages: Replay is not allowed for public channels')
})

// A node of Supabase's environment always has one.
if (!supabase) {
  test('changes without a database: join ok, then the reason', async (t) => {
    const s = await connect(t, node)
    const reply = await s.join('realtime:nodb', { postgres_changes: [{ event: '*', schema: 'public' }] })
    assert.equal(reply.payload.response.postgres_changes.length, 1)
    const system = await s.event('realtime:nodb', 'system')
    assert.deepEqual(system.payload, { extension: 'postgres_changes', status: 'error', channel: 'nodb',
      message: 'Postgres Changes are not available: no database is configured' })
  })
}
