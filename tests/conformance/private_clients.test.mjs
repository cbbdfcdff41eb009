// SPDX-License-Identifier: Apache-2.0
// Goal: private channels for unmodified clients of each version that knows them: who may write, who may only read and
// who may do neither, over the socket, by its fallback to REST and by httpSend.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import WebSocket from 'ws'
import { createClient } from '@supabase/supabase-js'
import * as phoenix18 from 'phoenix'
import * as phoenix17 from 'phoenix-1.7'
import { transportOf } from '../harness/clients.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { preparePolicies, allow, notToRead, notToWrite } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database })
const sql = await database.connect()
await until('the migrations', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)
async function may(topic) {
  await allow(sql, 'writer', topic, 'read:broadcast read:presence write:broadcast write:presence')
  await allow(sql, 'reader', topic, 'read:broadcast read:presence')
}

const VERSIONS = ['2.11.2', '2.15.5', '2.90.1', '2.95.0', '2.105.0', '2.109.0', '2.119.1']
/** A client of this version with the token of this user. */
async function open(t, version, sub) {
  let client
  if (version === 'supabase-js') {
    client = createClient(node.url, node.anonKey, { realtime: { transport: WebSocket } }).realtime
  } else {
    const { RealtimeClient } = await import(`realtime-js-${version}`)
    client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, ...transportOf(version) })
  }
  t.after(() => client.disconnect())
  await client.setAuth(node.token({ sub }))
  return client
}
const config = (key) => ({ config: { private: true, broadcast: { ack: true }, presence: { key } } })

for (const version of [...VERSIONS, 'supabase-js']) {
  test(`case 95: a private channel with ${version === 'supabase-js' ? version : `realtime-js ${version}`}`, async (t) => {
    const topic = `private-${version}`
    await may(topic)
    const heard = [], errors = []
    const member = async (sub) => {
      const channel = (await open(t, version, sub)).channel(topic, config(sub))
      channel.on('broadcast', { event: '*' }, (m) => { if (sub === 'reader') heard.push(m.payload.by) }).on('presence', { event: 'sync' }, () => {})
      const status = await new Promise((resolve) => channel.subscribe((s, error) => { if (error) errors.push(error.message); resolve(s) }))
      return { channel, status, say: (by) => channel.send({ type: 'broadcast', event: 'e', payload: { by } }) }
    }
    const [writer, reader, stranger] = [await member('writer'), await member('reader'), await member('stranger')]
    assert.deepEqual([writer.status, reader.status, stranger.status], ['SUBSCRIBED', 'SUBSCRIBED', 'CHANNEL_ERROR'])
    assert.ok(errors.every((e) => e.includes(notToRead(topic))), errors.join())
    await stranger.channel.unsubscribe()

    assert.equal(await writer.say('socket'), 'ok')
    assert.equal(await reader.say('nobody'), 'error')
    assert.equal(await writer.channel.track({ at: 1 }), 'ok')
    assert.equal(await reader.channel.track({ at: 1 }), 'error')
    await until('the presence', () => 'writer' in reader.channel.presenceState())
    assert.deepEqual(Object.keys(reader.channel.presenceState()), ['writer'])

    const apart = (await open(t, version, 'writer')).channel(topic, config('apart'))
    assert.equal(await apart.send({ type: 'broadcast', event: 'e', payload: { by: 'REST' } }), 'ok')
    const all = ['socket', 'REST']
    if (apart.httpSend) {
      assert.deepEqual(await apart.httpSend('e', { by: 'httpSend' }), { success: true })
      all.push('httpSend')
      const foreign = (await open(t, version, 'reader')).channel(topic, config('foreign'))
      // Before 2.109 it goes by the batch, whose answer is the same for all.
      const answer = await foreign.httpSend('e', { by: 'nobody' }).catch(() => 'refused')
      if (answer !== 'refused') assert.ok(VERSIONS.indexOf(version) <= VERSIONS.indexOf('2.105.0') && version !== 'supabase-js')
    }
    await until('all of it', () => all.every((by) => heard.includes(by))) // by several connections: in no order
    await writer.say('last')
    await until('the last', () => heard.includes('last'))
    assert.deepEqual([...heard].sort(), [...all, 'last'].sort())
  })
}

for (const [name, { Socket }] of Object.entries({ 1.7: phoenix17, 1.8: phoenix18 })) {
  test(`case 95: a private channel with phoenix.js ${name}, its join written by hand`, async (t) => {
    const topic = `private-phoenix-${name}`
    await may(topic)
    const answer = (push) => new Promise((resolve) => push.receive('ok', () => resolve('ok')).receive('error', (e) => resolve(e.reason)).receive('timeout', () => resolve('timeout')))
    const member = async (sub) => {
      const socket = new Socket(`${node.ws}/socket`, { params: { apikey: node.anonKey }, transport: WebSocket })
      t.after(() => socket.disconnect())
      socket.connect()
      const channel = socket.channel(`realtime:${topic}`, { ...config(sub), access_token: node.token({ sub }) })
      const status = await answer(channel.join())
      if (status !== 'ok') channel.leave() // or it would try again
      return { status, say: () => answer(channel.push('broadcast', { type: 'broadcast', event: 'e', payload: {} })) }
    }
    const [writer, reader, stranger] = [await member('writer'), await member('reader'), await member('stranger')]
    assert.deepEqual([writer.status, reader.status, stranger.status], ['ok', 'ok', `Unauthorized: ${notToRead(topic)}`])
    assert.deepEqual([await writer.say(), await reader.say()], ['ok', notToWrite(topic)])
  })
}
