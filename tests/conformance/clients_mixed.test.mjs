// SPDX-License-Identifier: Apache-2.0
// Goal: clients of all these years on one topic understand each other.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import WebSocket from 'ws'
import { createClient } from '@supabase/supabase-js'
import * as phoenix18 from 'phoenix'
import * as phoenix17 from 'phoenix-1.7'
import { transportOf } from '../harness/clients.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'

const database = await startPostgres({ after })
database.psql('-c', 'create table notes (id serial primary key, body text); alter publication supabase_realtime add table notes')
const node = await startNode({ after }, { database })
const sql = await database.connect()

const VERSIONS = ['2.11.2', '2.15.5', '2.90.1', '2.95.0', '2.105.0', '2.109.0', '2.119.1']
const ok = (push) => new Promise((resolve, reject) => push
  .receive('ok', resolve).receive('error', reject).receive('timeout', () => reject(new Error('timeout'))))
const subscribed = (channel) => new Promise((resolve, reject) => channel.subscribe((status, err) => {
  if (status === 'SUBSCRIBED') resolve()
  else if (status !== 'CLOSED') reject(err ?? new Error(status))
}))

/** A member: what it heard, who it sees, how it says something and shows itself. */
async function supabase(t, client, name) {
  const heard = [], changes = []
  t.after(() => client.removeAllChannels())
  const channel = client.channel('mixed', { config: { presence: { key: name }, broadcast: { self: true } } })
    .on('broadcast', { event: 'hi' }, (m) => heard.push(m.payload.from))
    .on('presence', { event: 'sync' }, () => {})
    .on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'notes' }, (c) => changes.push(c.new.body))
  await subscribed(channel)
  return {
    name, heard, changes,
    seen: () => Object.keys(channel.presenceState()),
    say: () => channel.send({ type: 'broadcast', event: 'hi', payload: { from: name } }),
    show: async () => assert.equal(await channel.track({ name }), 'ok'),
    leave: () => channel.unsubscribe(),
  }
}

/**
 * phoenix.js knows nothing of Supabase: payloads are written by hand, and the serializer is that of vsn 1.0.0, since its
 * own of 2.0.0 does not know the binary frames in which other clients' broadcasts come.
 */
async function phoenix(t, { Socket, Presence }, name) {
  const socket = new Socket(`${node.ws}/socket`, {
    params: { apikey: node.anonKey }, transport: WebSocket, vsn: '1.0.0',
    encode: (message, done) => done(JSON.stringify(message)), decode: (text, done) => done(JSON.parse(text)),
  })
  t.after(() => socket.disconnect())
  socket.connect()
  const heard = [], changes = []
  const channel = socket.channel('realtime:mixed', { config: {
    presence: { key: name, enabled: true }, broadcast: { self: true },
    postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'notes' }] } })
  const presence = new Presence(channel)
  channel.on('broadcast', (m) => heard.push(m.payload.from))
  channel.on('postgres_changes', (m) => changes.push(m.data.record.body))
  await ok(channel.join())
  return {
    name, heard, changes,
    seen: () => presence.list((key) => key),
    say: () => channel.push('broadcast', { type: 'broadcast', event: 'hi', payload: { from: name } }),
    show: () => ok(channel.push('presence', { type: 'presence', event: 'track', payload: { name } })),
    leave: () => ok(channel.leave()),
  }
}

/** realtime-js before channels had a meaning: topics are tables, everything else goes through as it is. */
async function first(t) {
  const { RealtimeClient } = await import('realtime-js-1.7.5')
  const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, transport: WebSocket })
  t.after(() => client.disconnect())
  client.connect()
  const name = 'realtime-js 1.7.5'
  const heard = [], changes = [], keys = new Set()
  const channel = client.channel('realtime:mixed', { config: { presence: { key: name, enabled: true }, broadcast: { self: true } } })
  channel.on('broadcast', (m) => heard.push(m.payload.from))
  channel.on('presence_state', (state) => Object.keys(state).forEach((k) => keys.add(k)))
  channel.on('presence_diff', ({ joins, leaves }) => {
    Object.keys(leaves).forEach((k) => keys.delete(k))
    Object.keys(joins).forEach((k) => keys.add(k))
  })
  const table = client.channel('realtime:public:notes')
  table.on('INSERT', (m) => changes.push(m.record.body))
  await Promise.all([ok(channel.subscribe()), ok(table.subscribe())])
  return {
    name, heard, changes,
    seen: () => [...keys],
    say: () => channel.push('broadcast', { type: 'broadcast', event: 'hi', payload: { from: name } }),
    show: () => ok(channel.push('presence', { type: 'presence', event: 'track', payload: { name } })),
    leave: () => ok(channel.unsubscribe()),
  }
}

test('case 95: clients of all versions, mixed on one topic', async (t) => {
  const members = []
  for (const version of VERSIONS) {
    const { RealtimeClient } = await import(`realtime-js-${version}`)
    const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, ...transportOf(version) })
    t.after(() => client.disconnect())
    members.push(await supabase(t, client, `realtime-js ${version}`))
  }
  const whole = createClient(node.url, node.anonKey, { realtime: { transport: WebSocket } })
  t.after(() => whole.realtime.disconnect())
  members.push(await supabase(t, whole, 'supabase-js'))
  members.push(await phoenix(t, phoenix17, 'phoenix 1.7'), await phoenix(t, phoenix18, 'phoenix 1.8'), await first(t))
  const names = members.map((m) => m.name).sort()

  for (const m of members) await m.show()
  for (const m of members) await until(`${m.name} to see all`, () => m.seen().length === members.length)
  for (const m of members) assert.deepEqual(m.seen().sort(), names, m.name)

  for (const m of members) await m.say()
  for (const m of members) await until(`${m.name} to hear all`, () => m.heard.length >= members.length)
  assert.deepEqual([...members[0].heard].sort(), names) // each once
  for (const m of members) assert.deepEqual(m.heard, members[0].heard, `${m.name}: one order for all`)

  let row = 0
  for (const m of members) {
    await until(`${m.name} to get changes`, async () => {
      await sql.query('insert into notes (body) values ($1)', [`${++row}`])
      return m.changes.length > 0
    })
  }
  await sql.query("insert into notes (body) values ('last')")
  for (const m of members) {
    await until(`${m.name} to get the last change`, () => m.changes.includes('last'))
    assert.equal(new Set(m.changes).size, m.changes.length, `${m.name}: each once`)
  }

  const [gone, ...left] = members
  await gone.leave()
  for (const m of left) await until(`${m.name} to see that one left`, () => m.seen().length === left.length)

  for (const { role, pid } of node.pids()) if (role === 'edge') process.kill(pid, 'SIGKILL')
  for (const m of left) {
    const before = m.heard.length
    await until(`${m.name} to come back by itself`, async () => {
      try { await m.say() } catch { /* it has not joined again */ }
      return m.heard.length > before
    })
  }
})
