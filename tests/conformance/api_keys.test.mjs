// SPDX-License-Identifier: Apache-2.0
// Goal: API keys of the new form are taken as they are, wherever clients put them, and nowhere shown.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import WebSocket from 'ws'
import { createClient } from '@supabase/supabase-js'
import { transportOf } from '../harness/clients.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect, handshake } from '../harness/phx.mjs'

const PUBLIC = 'sb_publishable_5Qw8Jx-2hTn0LrVbKc_9dYfGz'
const SECOND = 'sb_publishable_second'
const SECRET = 'sb_secret_Zk3uP0vRt6xN1mQy8sWb4cHd_Lf2gJa7'
const unknown = ['sb_publishable_', 'sb_publishable_secon', 'sb_publishable_seconD', 'sb_publishable_second2', 'sb_publishable_second,', 'sb_secret_x', 'second']

const database = await startPostgres({ after })
database.psql('-c', 'create table notes (id serial primary key, body text); alter table notes enable row level security; alter publication supabase_realtime add table notes')
const node = await startNode({ after }, { database, env: { REALTIME_PUBLISHABLE_KEYS: `${PUBLIC}, ${SECOND}`, REALTIME_SECRET_KEYS: SECRET, REALTIME_LOG_LEVEL: 'debug' } })
const sql = await database.connect()
const all = node.nodes ?? [node]
const roleOf = (topic) => node.rows('channels').filter((c) => c.topic === `realtime:${topic}`).map((c) => c.role)

for (const vsn of ['1.0.0', '2.0.0']) {
  test(`${vsn} case 13: a publishable key connects, and joins as anon; a secret one as service_role`, async (t) => {
    const T = `k13-${vsn}`
    for (const [key, role] of [[PUBLIC, 'anon'], [SECOND, 'anon'], [SECRET, 'service_role']]) {
      for (const opts of [{ key }, { key: 'garbage', headers: { 'x-api-key': key } }]) {
        const s = await connect(t, node, { vsn, ...opts })
        await s.join(`realtime:${T}`, {}, { ref: '1' })
        assert.deepEqual(roleOf(T), [role])
        s.send('1', 'l', `realtime:${T}`, 'phx_leave', {})
        await s.reply('l')
      }
    }
  })

  test(`${vsn} case 27: such a key as access_token means the connection's`, async (t) => {
    const T = `k27-${vsn}`
    const join = async (key, access_token) => {
      const s = await connect(t, node, { vsn, key })
      await s.join(`realtime:${T}`, {}, { ref: '1', payload: { config: {}, access_token } })
      const [role] = roleOf(T)
      s.send('1', null, `realtime:${T}`, 'access_token', { access_token: SECRET }) // case 61
      await s.heartbeat()
      assert.deepEqual(roleOf(T), [role])
      s.send('1', 'l', `realtime:${T}`, 'phx_leave', {})
      await s.reply('l')
      return role
    }
    assert.equal(await join(PUBLIC, PUBLIC), 'anon')
    assert.equal(await join(PUBLIC, SECRET), 'anon') // no way up
    assert.equal(await join(node.token({ sub: 'u' }), PUBLIC), 'authenticated')
    assert.equal(await join(SECRET, 'sb_publishable_zzz'), 'service_role')
    assert.equal(await join(PUBLIC, node.token({ sub: 'u' })), 'authenticated')
  })
}

test('case 4: a key that is not in the list is no key', async () => {
  await Promise.all(unknown.map(async (key) => {
    const res = await handshake(node, `/socket/websocket?apikey=${encodeURIComponent(key)}&vsn=2.0.0`)
    assert.deepEqual([res.status, res.body], [401, '{"error":"The token provided is not a valid JWT"}'], key)
  }))
})

test('case 87: REST takes the keys where it takes tokens', async (t) => {
  const s = await connect(t, node, { key: PUBLIC })
  await s.join('realtime:k87', {}, { ref: '1' })
  const post = async (headers, query = '') => (await fetch(`${node.url}/realtime/v1/api/broadcast${query}`, {
    method: 'POST', headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ messages: [{ topic: 'k87', event: 'e', payload: { headers: Object.keys(headers).join() } }] }) })).status
  const good = [{ apikey: PUBLIC }, { authorization: `Bearer ${PUBLIC}` }, { apikey: PUBLIC, authorization: `Bearer ${PUBLIC}` },
    { apikey: SECRET, authorization: `bearer ${SECRET}` }, { apikey: PUBLIC, authorization: `Bearer ${node.token({ sub: 'u' })}` }]
  for (const headers of good) {
    assert.equal(await post(headers), 202)
    assert.equal((await s.event('realtime:k87', 'broadcast')).payload.payload.headers, Object.keys(headers).join())
  }
  const bad = [{}, { 'x-api-key': PUBLIC }, { apikey: PUBLIC, authorization: 'Bearer sb_publishable_x' }, ...unknown.map((k) => ({ apikey: k }))]
  for (const headers of bad) assert.equal(await post(headers, `?apikey=${PUBLIC}`), 401, JSON.stringify(headers))
  await s.nothing()
})

test('P: what a key may do is what its role may do', async (t) => {
  const join = async (key, T, config, refused) => {
    const s = await connect(t, node, { key })
    return { s, reply: await s.join(`realtime:${T}`, {}, { ref: '1', payload: { config }, refused }) }
  }
  assert.match((await join(PUBLIC, 'kp', { private: true }, true)).reply.payload.response.reason, /^Unauthorized: /)
  await join(SECRET, 'kp', { private: true })
  const changes = { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'notes' }] }
  const [anon, service] = [await join(PUBLIC, 'kc', changes), await join(SECRET, 'kc', changes)]
  for (const { s } of [anon, service]) assert.equal((await s.event('realtime:kc', 'system')).payload.message, 'Subscribed to PostgreSQL')
  await sql.query("insert into notes (body) values ('hidden from anon')")
  assert.equal((await service.s.event('realtime:kc', 'postgres_changes')).payload.data.record.body, 'hidden from anon')
  await anon.s.nothing()
})

for (const version of ['2.11.2', '2.15.5', '2.95.0', '2.119.1']) {
  test(`case 13: realtime-js ${version} with a publishable key`, async (t) => {
    const { RealtimeClient } = await import(`realtime-js-${version}`)
    const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: PUBLIC }, ...transportOf(version) })
    t.after(() => client.disconnect())
    const statuses = [], got = []
    const channel = client.channel(`kjs-${version}`, { config: { broadcast: { self: true, ack: true } } })
    channel.on('broadcast', { event: 'e' }, (m) => got.push(m.payload.n)).subscribe((status) => statuses.push(status))
    await until('SUBSCRIBED', () => statuses.includes('SUBSCRIBED'))
    await client.setAuth()
    await client.setAuth(PUBLIC)
    assert.equal(await channel.send({ type: 'broadcast', event: 'e', payload: { n: 1 } }), 'ok')
    assert.deepEqual(roleOf(`kjs-${version}`), ['anon'])
    await client.setAuth(node.token({ sub: 'u' })) // somebody signs in
    await until('the role', () => roleOf(`kjs-${version}`)[0] === 'authenticated')
    assert.equal(await channel.send({ type: 'broadcast', event: 'e', payload: { n: 2 } }), 'ok')
    await until('both', () => got.length === 2)
    assert.deepEqual(statuses, ['SUBSCRIBED'])
  })
}

test('case 95: supabase-js with a publishable key, over the socket and over HTTP', async (t) => {
  const client = createClient(node.url, PUBLIC, { realtime: { transport: WebSocket } })
  t.after(() => client.realtime.disconnect())
  const got = []
  const channel = client.channel('ksb', { config: { broadcast: { self: true, ack: true }, presence: { key: 'me' } } })
  channel.on('broadcast', { event: '*' }, (m) => got.push(m.event)).on('presence', { event: 'sync' }, () => {})
  await new Promise((resolve, reject) => channel.subscribe((status, error) => status === 'SUBSCRIBED' ? resolve() : reject(error ?? new Error(status))))
  assert.equal(await channel.send({ type: 'broadcast', event: 'socket', payload: {} }), 'ok')
  assert.equal(await channel.track({ at: 1 }), 'ok')
  assert.equal(await client.channel('ksb').httpSend('http', {}).then((r) => r.success), true)
  await until('both', () => got.length === 2)
  assert.deepEqual(got, ['socket', 'http'])
})

test('no key and no token of all these tests stands in a log', () => {
  const texts = all.map((n) => n.logText())
  assert.ok(texts.some((text) => text.includes('connect_refused')))
  for (const text of texts) {
    for (const key of [PUBLIC, SECRET, SECOND, node.anonKey.split('.')[2]]) assert.ok(!text.includes(key))
  }
})
