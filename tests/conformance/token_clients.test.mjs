// SPDX-License-Identifier: Apache-2.0
// Goal: the tokens of unmodified clients arrive, whatever their callback does, and no channel is lost by it.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import WebSocket from 'ws'
import { createClient } from '@supabase/supabase-js'
import { transportOf } from '../harness/clients.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { preparePolicies, allow } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database })
const sql = await database.connect()
await until('realtime.messages', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)

const all = 'read:broadcast read:presence write:broadcast write:presence'
const roleOf = (topic) => node.rows('channels').filter((c) => c.topic === `realtime:${topic}`).map((c) => c.role)[0]
const role = (topic, want) => until(`${topic} as ${want}`, () => roleOf(topic) === want)

for (const version of ['2.11.2', '2.15.5', '2.95.0', '2.119.1']) {
  const open = async (t, accessToken) => {
    const { RealtimeClient } = await import(`realtime-js-${version}`)
    const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, accessToken, ...transportOf(version) })
    t.after(() => client.disconnect())
    client.member = (topic, config = {}) => {
      const seen = []
      const channel = client.channel(topic, { config: { broadcast: { ack: true }, ...config } })
      channel.subscribe((status, error) => seen.push(error ? `${status} ${error.message}` : status))
      const joined = until(`SUBSCRIBED to ${topic}`, () => seen.includes('SUBSCRIBED'))
      return { channel, seen, joined, send: () => channel.send({ type: 'broadcast', event: 'e', payload: {} }) }
    }
    return client
  }

  test(`realtime-js ${version} case 64: setAuth(token) before the join, during it, behind it, and for several channels`, async (t) => {
    const T = (n) => `ca-${n}-${version}`
    const client = await open(t)
    await client.setAuth(node.token({ role: 'service_role' }))
    const before = client.member(T(1))
    await before.joined
    await role(T(1), 'service_role')
    const during = client.member(T(2))
    await client.setAuth(node.token({ sub: 'u' }))
    await during.joined
    await role(T(1), 'authenticated')
    await client.setAuth(node.token({ role: 'anon' }))
    await Promise.all([role(T(1), 'anon'), role(T(2), 'anon')])
    await client.setAuth() // nothing new: the one that is set
    for (const m of [before, during]) {
      assert.equal(await m.send(), 'ok')
      assert.deepEqual(m.seen, ['SUBSCRIBED'])
    }
  })

  test(`realtime-js ${version} case 64: a callback that gives another token each time`, async (t) => {
    const T = `cb-${version}`
    let given = 0
    const roles = ['service_role', 'authenticated', 'anon']
    const client = await open(t, async () => node.token({ role: roles[given++ % 3], jti: given }))
    const m = client.member(T)
    await m.joined
    const first = given
    for (let i = 0; i < 4; i++) {
      await client.setAuth()
      const want = roles[(given - 1) % 3]
      await role(T, want)
    }
    assert.ok(given >= first + 4)
    assert.equal(await m.send(), 'ok')
    assert.deepEqual(m.seen, ['SUBSCRIBED'])
  })

  test(`realtime-js ${version} case 61: a callback that gives nothing, or throws later`, async (t) => {
    const T = `cn-${version}`
    let answer = async () => null
    const client = await open(t, () => answer())
    const m = client.member(T)
    await m.joined
    await role(T, 'anon') // the connection's
    answer = async () => node.token({ sub: 'u' })
    await client.setAuth()
    await role(T, 'authenticated')
    answer = async () => { throw new Error('no session') }
    await client.setAuth().catch(() => {})
    assert.equal(await m.send(), 'ok')
    assert.equal(roleOf(T), 'authenticated')
    answer = async () => node.token({ role: 'service_role' })
    await client.setAuth()
    await role(T, 'service_role')
    assert.deepEqual(m.seen, ['SUBSCRIBED'])
  })

  test(`realtime-js ${version} case 100: a slow callback and a private channel`, async (t) => {
    const T = `cp-${version}`
    await allow(sql, 'slow', T, all)
    const client = await open(t, async () => { await delay(300); return node.token({ sub: 'slow' }) })
    if (version === '2.11.2') await client.setAuth() // it asks its callback with the heartbeat only
    const m = client.member(T, { private: true })
    await m.joined // refused once if the callback came too late for the first join, and no more often
    assert.ok(m.seen.length <= 2, m.seen.join())
    assert.equal(await m.send(), 'ok')
  })

  test(`realtime-js ${version} case 69: another user's token by the callback ends what he may not read`, async (t) => {
    const T = `cx-${version}`
    await allow(sql, 'owner', T, all)
    let sub = 'owner'
    const client = await open(t, async () => node.token({ sub }))
    await client.setAuth()
    const m = client.member(T, { private: true })
    await m.joined
    assert.equal(await m.send(), 'ok')
    sub = 'stranger'
    await client.setAuth()
    await until('the end', () => m.seen.at(-1) === 'CLOSED')
    assert.deepEqual(m.seen, ['SUBSCRIBED', 'CLOSED'])
  })
}

test('case 25: supabase-js whose callback gave an old token is in as soon as it gives a good one', async (t) => {
  let life = -3600
  const client = createClient(node.url, node.anonKey, { accessToken: async () => node.token({ sub: 'u', exp: Math.floor(Date.now() / 1000) + life }), realtime: { transport: WebSocket } })
  t.after(() => client.realtime.disconnect())
  await client.realtime.setAuth()
  const seen = []
  client.channel('c25').subscribe((status, error) => {
    seen.push(status === 'SUBSCRIBED' ? status : error.message)
    life = 3600
    void client.realtime.setAuth()
  })
  await until('SUBSCRIBED', () => seen.includes('SUBSCRIBED'))
  assert.match(seen[0], /InvalidJWTToken: Token has expired \d+ seconds ago/)
  await role('c25', 'authenticated')
})
