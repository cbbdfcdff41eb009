// SPDX-License-Identifier: Apache-2.0
// Goal: before its token ends a channel is told, behind it what was granted flows on for a while, and nothing new.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { transportOf } from '../harness/clients.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { now } from '../harness/jwt.mjs'
import { preparePolicies, allow, notToWrite } from './private_help.mjs'

const GRACE_S = 6
const WARN_S = 4
const JOIN_S = 10 // the life of a token with which a channel is joined long before it is told of
const database = await startPostgres({ after })
const node = await startNode({ after }, { database, env: { REALTIME_TOKEN_GRACE_MS: String(GRACE_S * 1000), REALTIME_TOKEN_WARN_MS: String(WARN_S * 1000) } })
const sql = await database.connect()
await until('realtime.messages', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)

const past = (exp) => until('the end of the token', () => Date.now() >= exp * 1000)
const member = async (t, topic, token, config = {}, opts = {}) => {
  const s = await connect(t, node, opts)
  await s.join(`realtime:${topic}`, {}, { ref: '1', payload: { config: { broadcast: { ack: true, self: true }, ...config }, access_token: token } })
  s.say = (n) => s.call('1', `realtime:${topic}`, 'broadcast', { type: 'broadcast', event: 'e', payload: { n } })
  return s
}
const told = async (s, topic) => {
  const { message, ...rest } = (await s.event(`realtime:${topic}`, 'system')).payload
  assert.deepEqual(rest, { extension: 'system', status: 'ok', channel: topic })
  assert.match(message, /^Token expires in [1-4] seconds$/)
}

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`${vsn} §8: told, grace, end; a fresh token in the grace saves the channel`, async (t) => {
    const T = `grace-${vsn}`
    const exp = now() + JOIN_S
    const token = node.token({ exp })
    const [ends, saved] = [await member(t, T, token, {}, { vsn }), await member(t, T, token, {}, { vsn })]
    await Promise.all([told(ends, T), told(saved, T)])
    await past(exp)
    assert.equal((await ends.say(1)).payload.status, 'ok')
    assert.equal((await saved.event(`realtime:${T}`, 'broadcast')).payload.payload.n, 1)
    const late = await ends.join(`realtime:${T}-late`, {}, { ref: '9', payload: { config: {}, access_token: token }, refused: true })
    assert.match(late.payload.response.reason, /^InvalidJWTToken: Token has expired \d+ seconds ago$/)
    saved.send('1', null, `realtime:${T}`, 'access_token', { access_token: node.token({ sub: 'fresh' }) })
    const message = (await ends.event(`realtime:${T}`, 'system')).payload.message
    const [, seconds] = /^Token has expired (\d+) seconds ago$/.exec(message)
    assert.ok(Number(seconds) >= GRACE_S, message)
    await ends.event(`realtime:${T}`, 'phx_close')
    await ends.heartbeat() // the socket stays
    assert.equal((await saved.say(2)).payload.status, 'ok')
  })
}

test('§8: a token of less than the warning, and one that lives on, are not told of', async (t) => {
  const short = await member(t, 'short', node.token({ exp: now() + WARN_S }))
  const long = await member(t, 'long', node.token({ sub: 'u' }))
  const system = await short.event('realtime:short', 'system', 30000)
  assert.equal(system.payload.status, 'error')
  await long.nothing()
})

test('P §8: in the grace what was authorized flows on, and nothing is authorized anew', async (t) => {
  const T = 'gp'
  await allow(sql, 'u', T, 'read:broadcast read:presence write:broadcast write:presence')
  const exp = now() + JOIN_S
  const config = { private: true, presence: { enabled: true, key: 'k' } }
  const [used, unused] = [await member(t, T, node.token({ sub: 'u', exp }), config), await member(t, T, node.token({ sub: 'u', exp }), config)]
  assert.equal((await used.say(1)).payload.status, 'ok')
  assert.equal((await used.track('1', `realtime:${T}`, { a: 1 })).payload.status, 'ok')
  await past(exp)
  assert.equal((await used.say(2)).payload.status, 'ok')
  assert.equal((await used.track('1', `realtime:${T}`, { a: 2 })).payload.status, 'ok')
  assert.deepEqual((await unused.say(3)).payload, { status: 'error', response: { reason: notToWrite(T) } })
  assert.deepEqual((await unused.track('1', `realtime:${T}`, {})).payload, { status: 'error', response: { reason: notToWrite(T) } })
  for (const n of [1, 2]) assert.equal((await unused.event(`realtime:${T}`, 'broadcast')).payload.payload.n, n)
})

test('§8: REALTIME_EXPIRED_EVENT=error: realtime-js rejoins with what its callback gives', async (t) => {
  const { RealtimeClient } = await import('realtime-js-2.119.1')
  const node = await startNode(t, { env: { REALTIME_TOKEN_GRACE_MS: '0', REALTIME_EXPIRED_EVENT: 'error' } })
  let token = node.token({ exp: now() + 8 })
  const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, accessToken: async () => token, ...transportOf('2.119.1') })
  t.after(() => client.disconnect())
  await client.setAuth()
  const seen = []
  const channel = client.channel('xe', { config: { broadcast: { ack: true } } }).subscribe((status) => {
    seen.push(status)
    if (status === 'CHANNEL_ERROR') { token = node.token({ sub: 'again' }); void client.setAuth() }
  })
  await until('the rejoin', () => seen.length === 3)
  assert.deepEqual(seen, ['SUBSCRIBED', 'CHANNEL_ERROR', 'SUBSCRIBED'])
  assert.equal(await channel.send({ type: 'broadcast', event: 'e', payload: {} }), 'ok')
})
