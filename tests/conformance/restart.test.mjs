// SPDX-License-Identifier: Apache-2.0
// Goal: clients get over a restart of everything by themselves, and over the end of one channel without the others
// noticing.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { startCluster, startNode, startPostgres, until } from '../harness/process.mjs'
import { transportOf } from '../harness/clients.mjs'

const { RealtimeClient } = await import('realtime-js-2.119.1')
const CLIENTS = 200
const ROOMS = 10
const rooms = (i) => [i % ROOMS, (i + 1 + Math.floor(i / ROOMS) % (ROOMS - 1)) % ROOMS]

/** One user as an app has it: two rooms with presence, and the rows of a table in the first. */
class User {
  constructor(node, index) {
    this.index = index
    this.client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, ...transportOf('2.119.1') })
    this.rows = []
    this.channels = rooms(index).map((room, k) => {
      const it = { room, statuses: [], heard: [] }
      it.channel = this.client.channel(`room:${room}`, { config: { broadcast: { ack: true }, presence: { key: `u${index}` } } })
        .on('broadcast', { event: 'n' }, ({ payload }) => it.heard.push(`${payload.from}/${payload.n}`))
        .on('presence', { event: 'sync' }, () => {})
      if (k === 0) it.channel.on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'f' }, (c) => this.rows.push(c.new.id))
      it.channel.subscribe((status) => {
        it.statuses.push(status)
        if (status === 'SUBSCRIBED') void it.channel.track({ index })
      })
      return it
    })
  }

  joined(times) { return this.channels.every((c) => c.statuses.at(-1) === 'SUBSCRIBED' && c.statuses.filter((s) => s === 'SUBSCRIBED').length >= times) }
  say(n) { return Promise.all(this.channels.map(({ channel }) => channel.send({ type: 'broadcast', event: 'n', payload: { from: this.index, n } }))) }
}

const members = (room) => [...Array(CLIENTS).keys()].filter((i) => rooms(i).includes(room))
const shown = (channel) => Object.entries(channel.presenceState()).map(([key, metas]) => `${key} ${metas.map((m) => m.index)}`).sort()
const expected = (room) => members(room).map((i) => `u${i} ${i}`).sort()

test('case 96: all three nodes are restarted under 200 clients', async (t) => {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await sql.query('create table f (id int primary key); grant select on f to anon; alter publication supabase_realtime add table f')
  const cluster = await startCluster(t, { database })
  const users = [...Array(CLIENTS).keys()].map((i) => new User(cluster.nodes[i % cluster.nodes.length], i))
  t.after(() => { for (const u of users) void u.client.disconnect() })

  const well = async (times, n) => {
    await until('all channels to be joined', () => users.every((u) => u.joined(times)), 90000)
    await until('presence to be equal on all', () => users.every((u) => u.channels.every(({ channel, room }) =>
      JSON.stringify(shown(channel)) === JSON.stringify(expected(room)))), 60000)
    for (const said of await Promise.all(users.map((u) => u.say(n)))) assert.deepEqual(said, ['ok', 'ok'])
    await sql.query('insert into f values ($1)', [n])
    await until('the row', () => users.every((u) => u.rows.includes(n)), 60000)
    await until('all that was said', () => users.every((u) => u.channels.every((c) => c.heard.filter((h) => h.endsWith(`/${n}`)).length >= members(c.room).length - 1)), 60000)
  }
  await well(1, 1)
  await well(1, 2)
  await Promise.all(cluster.nodes.map((node) => node.stop()))
  for (const node of cluster.nodes) node.start()
  await well(2, 3)
  await well(2, 4) // what came twice of the round before is here now
  for (const u of users) {
    assert.deepEqual(u.rows, [1, 2, 3, 4], `rows of ${u.index}`)
    for (const { room, heard, statuses } of u.channels) {
      const all = members(room).filter((i) => i !== u.index).flatMap((i) => [1, 2, 3, 4].map((n) => `${i}/${n}`))
      assert.deepEqual([...heard].sort(), all.sort(), `what ${u.index} heard in ${room}`)
      assert.deepEqual(statuses.filter((s) => s === 'SUBSCRIBED').length, 2, statuses.join())
    }
  }
})

for (const version of ['2.11.2', '2.95.0', '2.119.1']) {
  test(`case 97: realtime-js ${version}: one channel gets phx_error, and rejoins; the others do not notice`, async (t) => {
    const { RealtimeClient } = await import(`realtime-js-${version}`)
    const node = await startNode(t, { env: { REALTIME_TOKEN_GRACE_MS: '0', REALTIME_EXPIRED_EVENT: 'error' } })
    const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, ...transportOf(version) })
    try {
      const channels = ['ended', 'other', 'third'].map((name) => {
        const it = { name, statuses: [], at: [], heard: [] }
        it.channel = client.channel(name, { config: { broadcast: { self: true, ack: true }, presence: { key: name } } })
          .on('broadcast', { event: 'e' }, ({ payload }) => it.heard.push(payload.n)).on('presence', { event: 'sync' }, () => {})
          .subscribe((status) => { it.statuses.push(status); it.at.push(Date.now()) })
        return it
      })
      const [ended, ...others] = channels
      await until('all to be joined', () => channels.every((c) => c.statuses.at(-1) === 'SUBSCRIBED'))
      await others[0].channel.track({ here: true })
      // A token for this channel alone; with its end the server ends the channel in the way of a crash.
      client.push({ topic: ended.channel.topic, event: 'access_token', ref: '900', join_ref: null,
        payload: { access_token: node.token({ exp: Math.floor(Date.now() / 1000) + 2 }) } })
      let n = 0
      await until('the rejoin', async () => {
        assert.deepEqual(await Promise.all(others.map((c) => c.channel.send({ type: 'broadcast', event: 'e', payload: { n } }))), ['ok', 'ok'])
        n++
        return ended.statuses.length === 3
      })
      assert.deepEqual(ended.statuses, ['SUBSCRIBED', 'CHANNEL_ERROR', 'SUBSCRIBED'])
      t.diagnostic(`joined again after ${ended.at[2] - ended.at[1]} ms`)
      assert.equal(await ended.channel.send({ type: 'broadcast', event: 'e', payload: { n: 'again' } }), 'ok')
      await until('its broadcast', () => ended.heard.length === 1)
      for (const c of others) {
        assert.deepEqual(c.statuses, ['SUBSCRIBED'], c.name)
        await until('all of them', () => c.heard.length === n)
        assert.deepEqual(c.heard, [...Array(n).keys()], c.name)
      }
      await until('the presence', () => others[0].channel.presenceState().other?.length === 1)
      assert.equal((node.nodes ?? [node]).flatMap((one) => one.rows('connections', '--local')).length, 1)
    } finally { // else the timers of old clients never end
      await client.removeAllChannels()
      client.disconnect()
    }
  })
}
