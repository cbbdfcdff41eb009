// SPDX-License-Identifier: Apache-2.0
// Goal: keys change while clients are there: one that is added cuts nobody, one that goes ends what it signed.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { build, startNode, until } from '../harness/process.mjs'
import { connect, handshake } from '../harness/phx.mjs'
import { sign } from '../harness/jwt.mjs'

const requested = { extension: 'system', status: 'ok', message: 'Server requested disconnect' }
const pair = (kid, type = 'ec') => {
  const { publicKey, privateKey } = generateKeyPairSync(type, { namedCurve: 'P-256' })
  return { jwk: { ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' }, token: (claims) => sign({ role: 'anon', ...claims }, privateKey, { alg: type === 'ec' ? 'ES256' : 'EdDSA', kid }) }
}
/** Written as a whole, as whoever rotates keys should. */
const put = (file, text) => { writeFileSync(`${file}.new`, text); renameSync(`${file}.new`, file) }
/** SIGHUP, until every edge has read its keys; `times`: how often by now. */
async function reload(node, times) {
  const nodes = node.nodes ?? [node]
  for (const n of nodes) n.child.kill('SIGHUP')
  await until('all edges to reload', () => nodes.every((n) => (n.logText().match(/edge\.\d ev=reloaded/g) ?? []).length === 2 * times))
}
const member = async (t, node, topic, key, access_token) => {
  const s = await connect(t, node, { key })
  await s.join(`realtime:${topic}`, { broadcast: { ack: true } }, { ref: '1', ...(access_token && { payload: { config: { broadcast: { ack: true } }, access_token } }) })
  return s
}
const lives = async (s, topic) => assert.equal((await s.call('1', `realtime:${topic}`, 'broadcast', { event: 'e' })).payload.status, 'ok')
const cut = async (s, topic) => {
  assert.deepEqual((await s.event(`realtime:${topic}`, 'system')).payload, requested)
  assert.equal((await s.closing()).code, 1012)
}

test('case 65: keys of a JWKS are rotated without cutting who uses the new one', async (t) => {
  const file = join(mkdtempSync('/tmp/realtime-test-jwks-'), 'jwks.json')
  const [a, b] = [pair('a'), pair('b', 'ed25519')]
  const write = (...pairs) => put(file, JSON.stringify({ keys: pairs.map((p) => p.jwk) }))
  write(a)
  const node = await startNode(t, { env: { REALTIME_JWT_JWKS: file, REALTIME_KEYS_RECHECK: '0' } })
  const old = await member(t, node, 'old', a.token())
  const mixed = await member(t, node, 'mixed', node.anonKey, a.token({ sub: 'u' }))
  const secret = await member(t, node, 'secret', node.anonKey)
  write(a, b)
  await reload(node, 1)
  const fresh = await member(t, node, 'fresh', b.token())
  for (const [s, topic] of [[old, 'old'], [mixed, 'mixed'], [secret, 'secret']]) await lives(s, topic)
  write(b)
  await reload(node, 2)
  await Promise.all([cut(old, 'old'), cut(mixed, 'mixed')]) // the connection's key, a channel's key
  await lives(fresh, 'fresh')
  await lives(secret, 'secret')
  const again = await handshake(node, '/socket/websocket?vsn=2.0.0', { 'x-api-key': a.token() })
  assert.deepEqual([again.status, JSON.parse(again.body).error], [401, 'Failed to generate JWT signer for key ID (kid) "a", check your JWT secret or JWKS configuration'])
  const rejoin = await connect(t, node)
  const reply = await rejoin.join('realtime:mixed', {}, { payload: { config: {}, access_token: a.token() }, refused: true })
  assert.match(reply.payload.response.reason, /^JwtSignerError: Failed to generate JWT signer for key ID \(kid\) "a"/)
})

test('a secret is followed by one of a JWKS: both hold until the first is taken out', async (t) => {
  const dir = mkdtempSync('/tmp/realtime-test-secret-')
  const [jwks, ini] = [join(dir, 'jwks.json'), join(dir, 'realtime.ini')]
  const [first, second] = ['1'.repeat(40), '2'.repeat(40)]
  const minted = (secret, ...args) => execFileSync(join(build, 'realtimectl'), ['token', '--role', 'anon', ...args],
    { encoding: 'utf8', env: { REALTIME_JWT_SECRET: secret } }).trim()
  put(ini, `realtime_jwt_secret = ${first}\n`)
  const node = await startNode(t, { args: ['--config', ini], env: { REALTIME_JWT_SECRET: undefined } })
  const old = await member(t, node, 'old', minted(first))
  put(jwks, JSON.stringify({ keys: [{ kty: 'oct', kid: '2026-12', k: Buffer.from(second).toString('base64url') }] }))
  put(ini, `realtime_jwt_secret = ${first}\nrealtime_jwt_jwks = ${jwks}\n`)
  await reload(node, 1)
  const fresh = await member(t, node, 'fresh', minted(second, '--kid', '2026-12'))
  await lives(old, 'old')
  put(ini, `realtime_jwt_jwks = ${jwks}\n`)
  await reload(node, 2)
  await cut(old, 'old')
  await lives(fresh, 'fresh')
})

test('a channel that took a token of the new key outlives the old one', async (t) => {
  const file = join(mkdtempSync('/tmp/realtime-test-jwks-'), 'jwks.json')
  const [a, b] = [pair('a'), pair('b')]
  const write = (...pairs) => put(file, JSON.stringify({ keys: pairs.map((p) => p.jwk) }))
  write(a, b)
  const node = await startNode(t, { env: { REALTIME_JWT_JWKS: file } })
  const s = await member(t, node, 'x', node.anonKey, a.token({ sub: 'u' }))
  const behind = await member(t, node, 'x', node.anonKey, a.token({ sub: 'u' }))
  s.send('1', null, 'realtime:x', 'access_token', { access_token: b.token({ sub: 'u' }) })
  await s.heartbeat()
  write(b)
  await reload(node, 1)
  await cut(behind, 'x')
  await lives(s, 'x')
})

test('a reload does not end an edge that is just starting, and reaches it', async (t) => {
  const node = await startNode(t, { nodes: 1 })
  const first = node.pid('edge', 1)
  await node.kill('edge', 1)
  const again = await until('its successor', () => node.pid('edge', 1) !== first && node.pid('edge', 1))
  node.child.kill('SIGHUP')
  await until('the reload', () => /edge\.1 ev=reloaded/.test(node.logText()))
  assert.equal(node.pid('edge', 1), again)
})

test('§8: a key that goes is noticed without a signal, in a JWKS and in the INI file', async (t) => {
  const dir = mkdtempSync('/tmp/realtime-test-recheck-')
  const [jwks, ini] = [join(dir, 'jwks.json'), join(dir, 'realtime.ini')]
  const [a, b] = [pair('a'), pair('b')]
  const [first, second] = ['1'.repeat(40), '2'.repeat(40)]
  put(jwks, JSON.stringify({ keys: [a.jwk, b.jwk] }))
  put(ini, `realtime_jwt_secret = ${first}\nrealtime_jwt_jwks = ${jwks}\nrealtime_keys_recheck = 1\n`)
  const node = await startNode(t, { nodes: 1, args: ['--config', ini], env: { REALTIME_JWT_SECRET: undefined } })
  const anon = (secret) => sign({ role: 'anon' }, secret)
  const [byA, byB, bySecret] = [await member(t, node, 'a', a.token()), await member(t, node, 'b', b.token()), await member(t, node, 's', anon(first))]
  put(jwks, JSON.stringify({ keys: [b.jwk] }))
  await cut(byA, 'a')
  put(ini, 'realtime_jwt_secret\n') // no setting: what was before stays
  await until('the refusal', () => node.logText().includes('reload_refused'))
  await lives(bySecret, 's')
  put(ini, `realtime_jwt_secret = ${second}\nrealtime_jwt_jwks = ${jwks}\n`)
  await cut(bySecret, 's')
  await lives(byB, 'b')
  await until('a handshake by the new secret', async () => (await handshake(node, '/socket/websocket?vsn=2.0.0', { 'x-api-key': anon(second) })).status === 101)
})
