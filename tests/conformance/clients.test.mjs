// SPDX-License-Identifier: Apache-2.0
// Goal: unmodified clients of several years do everything they document.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { connect as tcp } from 'node:net'
import WebSocket from 'ws'
import { transportOf } from '../harness/clients.mjs'
import { createClient } from '@supabase/supabase-js'
import { Socket } from 'phoenix'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const database = await startPostgres({ after })
database.psql('-c', 'create table notes (id serial primary key, body text); alter publication supabase_realtime add table notes')
const node = await startNode({ after }, { database })
const sql = await database.connect()

const subscribed = (channel) => new Promise((resolve, reject) => channel.subscribe((status, err) => {
  if (status === 'SUBSCRIBED') resolve()
  else if (status !== 'CLOSED') reject(err ?? new Error(status))
}))

for (const version of ['2.11.2', '2.15.5', '2.90.1', '2.95.0', '2.105.0', '2.109.0', '2.119.1']) {
  test(`case 95: realtime-js ${version}`, async (t) => {
    const { RealtimeClient } = await import(`realtime-js-${version}`)
    const open = () => {
      const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, ...transportOf(version) })
      t.after(() => client.disconnect())
      return client
    }
    const [alice, bob] = [open(), open()]
    const name = `all-${version}`
    const got = [], inserts = [], syncs = []
    const a = alice.channel(name, { config: { broadcast: { ack: true }, presence: { key: 'alice' } } })
    a.on('presence', { event: 'sync' }, () => syncs.push(a.presenceState()))
    const b = bob.channel(name, { config: { presence: { key: 'bob' } } })
    b.on('broadcast', { event: 'hi' }, (m) => got.push(m.payload))
    b.on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'notes' }, (c) => inserts.push(c.new))
    await Promise.all([subscribed(a), subscribed(b)])
    assert.equal(await a.send({ type: 'broadcast', event: 'hi', payload: { n: 1 } }), 'ok')
    await until('the broadcast', () => got.length === 1)
    assert.deepEqual(got[0], { n: 1 })
    assert.equal(await a.track({ mood: 'good' }), 'ok')
    await until('the presence', () => a.presenceState().alice?.[0].mood === 'good')
    assert.equal(await a.untrack(), 'ok')
    await until('the leave', () => a.presenceState().alice === undefined)
    await sql.query('insert into notes (body) values ($1)', [version])
    await until('the insert', () => inserts.some((r) => r.body === version))
    assert.equal(await alice.removeChannel(a), 'ok')
    assert.equal(await bob.removeChannel(b), 'ok')
  })
}

test('case 95: supabase-js, also over HTTP', async (t) => {
  const client = createClient(node.url, node.anonKey, { realtime: { transport: WebSocket } })
  t.after(() => client.realtime.disconnect())
  const got = []
  const listener = client.channel('http').on('broadcast', { event: 'e' }, (m) => got.push(m.payload))
  await subscribed(listener)
  const sender = client.channel('http-sender-not-joined')
  const other = createClient(node.url, node.anonKey, { realtime: { transport: WebSocket } }).channel('http')
  assert.equal(await other.send({ type: 'broadcast', event: 'e', payload: { rest: true } }), 'ok')
  await until('the REST broadcast', () => got.length === 1)
  const single = await other.httpSend('e', { single: true })
  assert.equal(single.success, true)
  await until('the single broadcast', () => got.length === 2)
  assert.deepEqual(got, [{ rest: true }, { single: true }])
  await client.removeChannel(sender)
  assert.equal(await client.removeChannel(listener), 'ok')
})

test('case 95: phoenix.js', async (t) => {
  const socket = new Socket(`${node.ws}/socket`, { params: { apikey: node.anonKey }, transport: WebSocket })
  t.after(() => socket.disconnect())
  socket.connect()
  const channel = socket.channel('realtime:phx', { config: { broadcast: { self: true, ack: true } } })
  const got = []
  channel.on('broadcast', (m) => got.push(m))
  const call = (push) => new Promise((resolve, reject) => push.receive('ok', resolve).receive('error', reject).receive('timeout', () => reject(new Error('timeout'))))
  await call(channel.join())
  await call(channel.push('broadcast', { type: 'broadcast', event: 'x', payload: { a: 1 } }))
  await until('own broadcast', () => got.length === 1)
  await call(channel.leave())
})

test('case 98: 100 joins in one segment behind the handshake', async () => {
  const s = tcp(node.port, '127.0.0.1')
  after(() => s.destroy())
  const mask = Buffer.from([1, 2, 3, 4])
  const frame = (text) => {
    const body = Buffer.from(text)
    const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255]
    return Buffer.concat([Buffer.from(head), mask, Buffer.from(body.map((c, i) => c ^ mask[i % 4]))])
  }
  const joins = [...Array(100).keys()].map((i) => frame(JSON.stringify([`${i}`, `${i}`, `realtime:seg${i}`, 'phx_join', { config: {} }])))
  s.write(Buffer.concat([Buffer.from(`GET /socket/websocket?apikey=${node.anonKey}&vsn=2.0.0 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`), ...joins]))
  let text = ''
  s.on('data', (d) => { text += d.toString('latin1') })
  await until('100 ok replies', () => (text.match(/"status":"ok"/g) ?? []).length === 100)
})

test('a client that vanished leaves room for a fresh one', async (t) => {
  const s = await connect(t, node)
  await s.join('realtime:gone')
  s.ws.terminate()
  const again = await connect(t, node)
  await again.join('realtime:gone')
})
