// SPDX-License-Identifier: Apache-2.0
// Goal: broadcasts over HTTP, with the errors and headers that clients read.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { startNode, supabase } from '../harness/process.mjs'
import { connect, kind4 } from '../harness/phx.mjs'
import { sign } from '../harness/jwt.mjs'

const node = await startNode({ after })
const auth = { authorization: `Bearer ${node.anonKey}` }
const binary = (f) => f.binary !== undefined

async function post(path, body, headers = auth) {
  const res = await fetch(node.url + path, { method: 'POST', body, headers: { 'content-type': 'application/json', ...headers } })
  return { status: res.status, headers: res.headers, body: await res.text() }
}
const batch = (messages, headers) => post('/api/broadcast', JSON.stringify(messages === undefined ? {} : { messages }), headers)
async function member(t, topic, vsn = '2.0.0') {
  const s = await connect(t, node, { vsn })
  await s.join(topic)
  return s
}

test('case 87: a batch over two topics', async (t) => {
  const [one, two] = [await member(t, 'realtime:r87a'), await member(t, 'realtime:r87b')]
  const messages = [
    { topic: 'r87a', event: 'e', payload: { n: 1 } }, { topic: 'r87b', event: 'e', payload: { n: 2 } }, { topic: 'r87a', event: 'f', payload: { n: 3 } }]
  const res = await batch(messages)
  assert.deepEqual([res.status, res.body], [202, ''])
  for (const name of ['x-rate-rolling', 'x-rate-limit', 'x-rate-limit-remaining']) assert.match(res.headers.get(name), /^\d+$/)
  assert.ok(res.headers.get('x-request-id'))
  assert.deepEqual((await one.event('realtime:r87a', 'broadcast')).payload, { event: 'e', payload: { n: 1 }, type: 'broadcast' })
  assert.deepEqual((await one.event('realtime:r87a', 'broadcast')).payload, { event: 'f', payload: { n: 3 }, type: 'broadcast' })
  assert.deepEqual((await two.event('realtime:r87b', 'broadcast')).payload, { event: 'e', payload: { n: 2 }, type: 'broadcast' })
  assert.equal((await batch(messages, { apikey: node.anonKey })).status, 202)
  assert.equal((await post('/realtime/v1/api/broadcast/', JSON.stringify({ messages }))).status, 202)
})

test('case 88: elements that lack keys', async (t) => {
  const m = await member(t, 'realtime:r88')
  const blank = ["can't be blank"]
  const res = await batch([{ topic: 't' }, { payload: {} }, { topic: 'r88', event: 'e', payload: {} }])
  assert.equal(res.status, 422)
  assert.deepEqual(JSON.parse(res.body), { errors: { messages: [{ event: blank, payload: blank }, { event: blank, topic: blank }, {}] } })
  await m.nothing()
})

test('case 89: no messages, bad token, not JSON', async () => {
  const blank = { errors: { messages: ["can't be blank"] } }
  for (const messages of [undefined, []]) {
    const res = await batch(messages)
    assert.deepEqual([res.status, JSON.parse(res.body)], [422, blank])
  }
  for (const headers of [{ authorization: 'Bearer nope' }, {}, { authorization: 'nonsense' }]) {
    const res = await batch([{ topic: 't', event: 'e', payload: {} }], headers)
    assert.deepEqual([res.status, JSON.parse(res.body)], [401, { message: 'Unauthorized' }])
  }
  assert.equal((await post('/api/broadcast', '{')).status, 400)
})

test('wrong types are named at their field', async () => {
  const res = await batch([{ topic: 5, event: 'e', payload: {} }, { topic: 't', event: [], payload: 'x' }])
  assert.equal(res.status, 422)
  assert.deepEqual(JSON.parse(res.body), { errors: { messages: [{ topic: ['is invalid'] }, { event: ['is invalid'], payload: ['is invalid'] }] } })
})

test('case 90: single, path percent-encoded', async (t) => {
  const [v2, v1] = [await member(t, 'realtime:room:1'), await member(t, 'realtime:room:1', '1.0.0')]
  const res = await post('/realtime/v1/api/broadcast/room%3A1/events/ev%20t%2F1?apikey=k&vsn=2.0.0', '{"a":1}')
  assert.deepEqual([res.status, res.body], [202, ''])
  const got = kind4((await v2.take('kind 4', binary)).binary)
  assert.deepEqual([got.event, got.payload], ['ev t/1', { a: 1 }])
  assert.deepEqual((await v1.event('realtime:room:1', 'broadcast')).payload, { event: 'ev t/1', payload: { a: 1 }, type: 'broadcast' })
})

test('case 91: single with bytes; other content types; private and persist', async (t) => {
  const [v2, v1] = [await member(t, 'realtime:r91'), await member(t, 'realtime:r91', '1.0.0')]
  const res = await post('/api/broadcast/r91/events/b', Buffer.from([1, 2]), { ...auth, 'content-type': 'application/octet-stream' })
  assert.equal(res.status, 202)
  const got = kind4((await v2.take('kind 4', binary)).binary)
  assert.deepEqual([got.encoding, [...got.bytes]], [0, [1, 2]])
  await v1.nothing(300)
  const empty = await post('/api/broadcast/r91/events/b', Buffer.alloc(0), { ...auth, 'content-type': 'application/octet-stream' })
  assert.equal(empty.status, 202)
  const nothing = kind4((await v2.take('kind 4', binary)).binary)
  assert.deepEqual([nothing.encoding, nothing.bytes.length], [0, 0])
  for (const value of ['1', 'TRUE', 'false', '']) { // only "true" is private
    assert.equal((await post(`/api/broadcast/r91/events/b?private=${value}`, '{}')).status, 202, value)
    assert.deepEqual(kind4((await v2.take('kind 4', binary)).binary).payload, {})
    await v1.event('realtime:r91', 'broadcast')
  }
  const text = await post('/api/broadcast/r91/events/b', 'x', { ...auth, 'content-type': 'text/plain' })
  assert.deepEqual([text.status, JSON.parse(text.body)], [415, { error: 'Unsupported Media Type. Use application/json or application/octet-stream' }])
  const denied = supabase ? [403, { message: 'Unauthorized' }] : [422, { message: 'Tenant database unavailable' }] // none is configured
  const closed = await post('/api/broadcast/r91/events/b?private=true', '{}')
  assert.deepEqual([closed.status, JSON.parse(closed.body)], denied)
  const persist = await post('/api/broadcast/r91/events/b?persist=true', '{}')
  assert.deepEqual([persist.status, JSON.parse(persist.body)], [422, { errors: { persist: ['can only be used on private channels'] } }])
  const stored = await post('/api/broadcast/r91/events/b?private=true&persist%5Bttl%5D=60', '{}')
  assert.deepEqual([stored.status, JSON.parse(stored.body)], denied)
  for (const ttl of ['0', '-1', '1.5', 'x', '', '3155760001']) {
    const bad = await post(`/api/broadcast/r91/events/b?private=true&persist%5Bttl%5D=${ttl}`, '{}')
    assert.deepEqual([bad.status, JSON.parse(bad.body)], [422, { errors: { persist: ['ttl must be a whole number of seconds, at least 1'] } }], ttl)
  }
  assert.equal((await post('/api/broadcast/r91/events/b', '{', auth)).status, 400)
  await v2.nothing(100)
})

test('case 92: CORS', async () => {
  const res = await fetch(`${node.url}/realtime/v1/api/broadcast`, { method: 'OPTIONS', headers: {
    Origin: 'https://app.example', 'Access-Control-Request-Method': 'POST', 'Access-Control-Request-Headers': 'authorization,apikey,content-type,x-own' } })
  assert.equal(res.status, 204)
  assert.equal(res.headers.get('access-control-allow-origin'), '*')
  assert.match(res.headers.get('access-control-allow-methods'), /POST/)
  for (const name of ['authorization', 'apikey', 'content-type', 'x-own']) assert.ok(res.headers.get('access-control-allow-headers').toLowerCase().includes(name))
  assert.equal(res.headers.get('access-control-max-age'), '86400')
  const bad = await batch([], { authorization: 'Bearer nope', origin: 'https://app.example' })
  assert.equal(bad.status, 401)
  assert.equal(bad.headers.get('access-control-allow-origin'), '*')
  assert.equal(bad.headers.get('access-control-expose-headers'), 'x-rate-rolling, x-rate-limit, x-rate-limit-remaining, x-request-id')
})

test('case 93: health routes', async () => {
  const get = (path, init) => fetch(node.url + path, init)
  assert.equal(await (await get('/healthcheck')).text(), 'ok')
  assert.equal((await get('/healthz')).status, 200)
  assert.equal((await get('/readyz')).status, 200)
  assert.deepEqual(await (await get('/api/ping')).json(), { message: 'Success' })
  const head = (headers) => get('/api/tenants/realtime-dev/health', { method: 'HEAD', headers })
  assert.equal((await head(auth)).status, 200)
  assert.equal((await head({})).status, 403)
  assert.equal((await head({ authorization: `Bearer ${sign({ role: 'anon' }, 'z'.repeat(40))}` })).status, 403)
  const body = await (await get('/api/tenants/realtime-dev/health', { headers: auth })).json()
  assert.equal(body.data.healthy, true)
  assert.equal((await get('/nothing/here')).status, 404)
  assert.deepEqual(await (await get('/nothing/here')).json(), { message: 'not found' })
  assert.equal((await get('/socket/longpoll')).status, 404)
  assert.equal((await get('/api/broadcast')).status, 405)
})

test('metrics are on the admin listener only', async () => {
  const text = await (await fetch(`${node.adminUrl}/metrics`)).text()
  assert.match(text, /^# HELP /m)
  assert.match(text, /^# TYPE \w+ (counter|gauge)/m)
  assert.equal((await fetch(`${node.url}/metrics`)).status, 404)
})

test('a body over 8 000 000 bytes: a page of any origin may read why', async () => {
  const res = await new Promise((resolve, reject) => {
    const req = request(`${node.url}/api/broadcast`, { method: 'POST', headers: { ...auth, 'content-length': 8000001 } }, (r) => { resolve(r); req.destroy() })
    req.on('error', (e) => e.code === 'ECONNRESET' || reject(e))
    req.write('x')
  })
  assert.deepEqual([res.statusCode, res.headers['access-control-allow-origin']], [413, '*'])
})
