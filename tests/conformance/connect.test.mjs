// SPDX-License-Identifier: Apache-2.0
// Goal: who may connect, and what everybody else is told.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { startNode } from '../harness/process.mjs'
import { connect, handshake } from '../harness/phx.mjs'
import { sign, now } from '../harness/jwt.mjs'

const keys = {
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }),
  ec: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  ed: generateKeyPairSync('ed25519'),
}
const oct = 'another-secret-of-at-least-32-characters!'
const jwks = {
  keys: [
    { ...keys.rsa.publicKey.export({ format: 'jwk' }), kid: 'r' },
    { ...keys.ec.publicKey.export({ format: 'jwk' }), kid: 'e' },
    { ...keys.ed.publicKey.export({ format: 'jwk' }), kid: 'd' },
    { kty: 'oct', k: Buffer.from(oct).toString('base64url'), kid: 'o' },
  ],
}
const node = await startNode({ after }, { env: { REALTIME_JWT_JWKS: JSON.stringify(jwks) } })
const anon = { role: 'anon' }
const socket = (key, rest = '&vsn=2.0.0') => `/socket/websocket?${key === undefined ? '' : `apikey=${encodeURIComponent(key)}`}${rest}`
const error = (text) => JSON.stringify({ error: text })

async function refused(path, status, body, headers) {
  const res = await handshake(node, path, headers)
  assert.deepEqual({ status: res.status, body: res.body }, { status, body })
  return res
}
const accepted = async (path, headers) => assert.equal((await handshake(node, path, headers)).status, 101)

test('case 1: both WebSocket paths upgrade', async () => {
  await accepted(socket(node.anonKey))
  await accepted(`/realtime/v1/websocket?apikey=${node.anonKey}&vsn=2.0.0&eventsPerSecond=10`)
})

test('case 2: header x-api-key, and it wins over the query', async () => {
  await accepted('/socket/websocket?vsn=2.0.0', { 'x-api-key': node.anonKey })
  await accepted(socket('garbage'), { 'x-api-key': node.anonKey })
  await refused(socket(node.anonKey), 401, error('The token provided is not a valid JWT'), { 'x-api-key': 'garbage' })
})

test('case 3: no key', async () => {
  const res = await refused('/socket/websocket?vsn=2.0.0', 401, error('API key is missing'))
  assert.match(res.headers['content-type'], /^application\/json/)
})

test('case 4: not a JWT', () => refused(socket('not-a-jwt'), 401, error('The token provided is not a valid JWT')))

test('case 5: expired', () => refused(socket(sign({ ...anon, exp: now() - 1000 }, node.secret)), 401, error('Token has expired')))

test('case 6: role and exp are required', async () => {
  await refused(socket(sign({}, node.secret)), 401, error('Fields `role` and `exp` are required in JWT'))
  await refused(socket(sign({ ...anon, exp: undefined }, node.secret)), 401, error('Fields `role` and `exp` are required in JWT'))
})

test('a token that is not valid yet; times at the ends of what a number can be', async () => {
  const with_ = (claims) => socket(sign({ ...anon, ...claims }, node.secret))
  for (const claims of [{ nbf: now() + 1000 }, { nbf: 1e300 }, { nbf: -1e300 }, { iat: 1e300 }]) {
    await refused(with_(claims), 500, error('Error connecting to Realtime')) // the clock's fault: trying again may heal it
  }
  for (const claims of [{ nbf: 0 }, { iat: -1 }, { exp: 4102444800 }]) await accepted(with_(claims))
  for (const exp of [2 ** 53, 1e300, -1e300]) await refused(with_({ exp }), 401, error('The token provided is not a valid JWT'))
  await refused(with_({ exp: 0 }), 401, error('Token has expired'))
})

test('case 7: signed with another secret', () => refused(socket(sign(anon, 'x'.repeat(40))), 401, error('Failed to validate JWT signature')))

test('case 8: kid not in the JWKS', () => refused(socket(sign(anon, keys.rsa.privateKey, { alg: 'RS256', kid: 'zz' })), 401,
  error('Failed to generate JWT signer for key ID (kid) "zz", check your JWT secret or JWKS configuration')))

test('case 8: kid not in the JWKS, at a join', async (t) => {
  const access_token = sign(anon, keys.rsa.privateKey, { alg: 'RS256', kid: 'zz' })
  const { payload } = await (await connect(t, node)).join('realtime:a', {}, { payload: { config: {}, access_token }, refused: true })
  assert.equal(payload.response.reason, 'JwtSignerError: Failed to generate JWT signer for key ID (kid) "zz", check your JWT secret or JWKS configuration')
})

test('case 9: every algorithm with its key, and no other', async () => {
  await accepted(socket(sign(anon, keys.rsa.privateKey, { alg: 'RS256', kid: 'r' })))
  await accepted(socket(sign(anon, keys.ec.privateKey, { alg: 'ES256', kid: 'e' })))
  await accepted(socket(sign(anon, keys.ed.privateKey, { alg: 'EdDSA', kid: 'd' })))
  await accepted(socket(sign(anon, keys.ed.privateKey, { alg: 'Ed25519', kid: 'd' })))
  await accepted(socket(sign(anon, oct, { alg: 'HS256', kid: 'o' })))
  await accepted(socket(sign(anon, node.secret, { alg: 'HS256', kid: 'unknown' })))
  await accepted(socket(sign(anon, node.secret, { alg: 'HS384' })))
  await accepted(socket(sign(anon, node.secret, { alg: 'HS512' })))
  assert.equal((await handshake(node, socket(sign(anon, '', { alg: 'none' })))).status, 401)
})

test('an RSA public key never verifies an HMAC', async () => {
  const pem = keys.rsa.publicKey.export({ type: 'spki', format: 'pem' })
  assert.equal((await handshake(node, socket(sign(anon, pem, { alg: 'HS256', kid: 'r' })))).status, 401)
  assert.equal((await handshake(node, socket(sign(anon, '', { alg: 'HS256', kid: 'r' })))).status, 401)
})

test('case 10: vsn', async (t) => {
  await refused(socket(node.anonKey, '&vsn=3.0.0'), 403, '')
  await refused(socket(node.anonKey, '&vsn=x'), 403, '')
  await accepted(socket(node.anonKey, ''))
  const v1 = await connect(t, node, { vsn: '1.0.0', query: {} })
  const reply = await v1.heartbeat()
  assert.deepEqual(Object.keys(reply.raw).sort(), ['event', 'payload', 'ref', 'topic'])
})

test('one project: any host name', () => accepted(socket(node.anonKey), { Host: 'nope.example' }))

test('case 12: no upgrade headers', async () => {
  const res = await fetch(`${node.url}/socket/websocket?apikey=${node.anonKey}`)
  assert.equal(res.status, 400)
  assert.equal((await fetch(`${node.url}/socket/websocket`, { method: 'POST' })).status, 400)
})

test('case 14: fraction in exp; spaces and percent codes in the token', async () => {
  const key = sign({ ...anon, exp: 9999999999.5 }, node.secret)
  await accepted(socket(key))
  await accepted(`/socket/websocket?vsn=2.0.0&apikey=%20${key.slice(0, 10)}%0A${key.slice(10).replace('.', '%2E')}%20`)
})

test('extensions are never negotiated, the first subprotocol is echoed', async () => {
  const res = await handshake(node, socket(node.anonKey), {
    'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits', 'Sec-WebSocket-Protocol': 'phoenix, other' })
  assert.equal(res.status, 101)
  assert.equal(res.headers['sec-websocket-extensions'], undefined)
  assert.equal(res.headers['sec-websocket-protocol'], 'phoenix')
})
