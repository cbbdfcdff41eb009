// SPDX-License-Identifier: Apache-2.0
// Goal: one authorization for every path. Two users x two topics x all 16 sets of rights (read and write of broadcast
// and presence) x public and private x WebSocket, HTTP and SQL: who may do what, and who hears of it, is computed
// from the rights and compared with what happened, to the frame.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { preparePolicies, allow, notToRead, notToWrite } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database })
const nodes = node.nodes ?? [node]
const sql = await database.connect()
await until('the migrations', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await until('the slot to be read', async () => (await sql.query("select from pg_replication_slots where slot_name like 'datafuse_realtime_%' and active")).rowCount === 1, 30000)
await preparePolicies(sql)

const RIGHTS = ['read:broadcast', 'read:presence', 'write:broadcast', 'write:presence']
const ALL = RIGHTS.join(' ')
const rightsOf = (bits) => RIGHTS.filter((_, i) => bits >> i & 1)

async function observer(t, at, topic, isPrivate) {
  const s = await connect(t, at, { vsn: '1.0.0' }) // text only, so that one form is compared
  await s.join(`realtime:${topic}`, {}, { ref: '1', payload: {
    config: { private: isPrivate, broadcast: { ack: true }, presence: { enabled: true, key: 'observer' } }, access_token: node.token({ sub: 'observer' }) } })
  await s.event(`realtime:${topic}`, 'presence_state')
  return s
}

const post = (at, path, body, sub) => fetch(at.url + path, { method: 'POST', body: JSON.stringify(body),
  headers: { 'content-type': 'application/json', authorization: `Bearer ${node.token({ sub })}` } })

/** realtime.send() as PostgREST calls it for this user; the table's policies hold for public messages too. Whether it was written. */
async function sends(sub, topic, isPrivate) {
  await sql.query(`begin; set local role authenticated; select set_config('request.jwt.claims', '${JSON.stringify({ role: 'authenticated', sub })}', true),
    realtime.send('{"by":"${sub}"}', 'sql', '${topic}', ${isPrivate}); commit`)
  return (await sql.query("select from realtime.messages where topic = $1 and event = 'sql' and private = $2 and payload ->> 'by' = $3", [topic, isPrivate, sub])).rowCount > 0
}

let cells = 0
/** What one user with these rights can do on one topic, and what the two observers hear of it. */
async function cell(t, sub, topic, rights, isPrivate) {
  const T = `realtime:${topic}`
  const has = (right) => !isPrivate || rights.includes(right)
  // Who is where goes by the cell: each on a node of its own, the next time on others, however many requests a cell has.
  const [a, b, c] = [0, 1, 2].map((i) => nodes[(2 * cells + i) % nodes.length])
  cells++
  const [near, far] = [await observer(t, a, topic, isPrivate), await observer(t, b, topic, !isPrivate)]
  const heard = async (event) => assert.equal((await near.event(T, 'broadcast')).payload.event, event)
  const s = await connect(t, c, { vsn: '1.0.0' })
  s.send('1', '1', T, 'phx_join', { config: { private: isPrivate, broadcast: { ack: true }, presence: { enabled: true, key: 'member' } }, access_token: node.token({ sub }) })
  const joined = has('read:broadcast') || has('read:presence')
  const reply = (await s.reply('1')).payload
  assert.equal(reply.status, joined ? 'ok' : 'error', 'join')
  if (!joined) assert.deepEqual(reply.response, { reason: `Unauthorized: ${notToRead(topic)}` })
  if (joined && has('read:presence')) assert.deepEqual((await s.event(T, 'presence_state')).payload, {})
  const denied = { status: 'error', response: { reason: notToWrite(topic) } }
  let checks = 1

  const say = async (event) => assert.equal((await near.call('1', T, 'broadcast', { type: 'broadcast', event, payload: {} })).payload.status, 'ok')
  await say('spoken')
  if (joined && has('read:broadcast')) assert.equal((await s.event(T, 'broadcast')).payload.event, 'spoken')
  assert.equal((await near.track('1', T, { n: 1 })).payload.status, 'ok')
  assert.deepEqual(Object.keys((await near.event(T, 'presence_diff')).payload.joins), ['observer'])
  if (joined && has('read:presence')) assert.deepEqual(Object.keys((await s.event(T, 'presence_diff')).payload.joins), ['observer'])
  checks += 2

  if (joined) {
    const sent = (await s.call('1', T, 'broadcast', { type: 'broadcast', event: 'socket', payload: {} })).payload
    assert.deepEqual(sent, has('write:broadcast') ? { status: 'ok', response: {} } : denied, 'broadcast')
    if (has('write:broadcast')) await heard('socket')
    const tracked = (await s.track('1', T, { n: 2 })).payload
    assert.deepEqual(tracked, has('write:presence') ? { status: 'ok', response: {} } : denied, 'track')
    if (has('write:presence')) {
      assert.deepEqual(Object.keys((await near.event(T, 'presence_diff')).payload.joins), ['member'])
      if (has('read:presence')) assert.deepEqual(Object.keys((await s.event(T, 'presence_diff')).payload.joins), ['member'])
    }
    checks += 2
  }

  const single = await post(a, `/api/broadcast/${topic}/events/single?private=${isPrivate}`, {}, sub)
  assert.deepEqual([single.status, await single.text()], has('write:broadcast') ? [202, ''] : [403, '{"message":"Unauthorized"}'], 'single')
  if (has('write:broadcast')) await heard('single')
  const batch = await post(b, '/api/broadcast', { messages: [{ topic, event: 'batch', payload: {}, private: isPrivate }] }, sub)
  assert.deepEqual([batch.status, batch.headers.get('x-realtime-dropped')], [202, has('write:broadcast') ? null : '1'], 'batch')
  if (has('write:broadcast')) await heard('batch')
  const written = rights.includes('write:broadcast')
  assert.equal(await sends(sub, topic, isPrivate), written, 'SQL')
  if (written) await heard('sql')
  if (joined && has('read:broadcast')) {
    const events = [...has('write:broadcast') ? ['single', 'batch'] : [], ...written ? ['sql'] : []]
    for (const event of events) assert.equal((await s.event(T, 'broadcast')).payload.event, event)
  }
  checks += 3

  await delay(150)
  for (const [who, socket] of Object.entries({ near, far, s })) assert.deepEqual(socket.frames.map((f) => f.raw), [], `${who} hears nothing more`)
  // The next one on this topic shall not hear of what ends here.
  if (joined) {
    s.send('1', 'bye', T, 'phx_leave', {})
    await s.reply('bye')
    if (has('write:presence')) assert.deepEqual(Object.keys((await near.event(T, 'presence_diff')).payload.leaves), ['member'])
  }
  await near.untrack('1', T)
  assert.deepEqual(Object.keys((await near.event(T, 'presence_diff')).payload.leaves), ['observer'])
  for (const socket of [near, far, s]) socket.ws.terminate()
  return checks + 3
}

let checks = 0
for (let bits = 0; bits < 16; bits++) {
  // The other cells get other sets, so that rights of one user or topic taken for those of another are seen.
  const sets = { u1: { a: bits, b: 15 - bits }, u2: { a: 15 - bits, b: bits ^ 5 } }
  test(`postgres case 61, rights ${bits}: ${rightsOf(bits).join(' ') || 'none'}`, async (t) => {
    for (const [sub, topics] of Object.entries(sets)) {
      for (const [letter, own] of Object.entries(topics)) {
        const topic = `m${bits}${letter}`
        await allow(sql, sub, topic, rightsOf(own).join(' '))
        await allow(sql, 'observer', topic, ALL)
      }
    }
    for (const [sub, topics] of Object.entries(sets)) {
      for (const [letter, own] of Object.entries(topics)) {
        for (const isPrivate of [true, false]) {
          await t.test(`${sub} on ${letter}, ${isPrivate ? 'private' : 'public'}`, async (t) => {
            checks += await cell(t, sub, `m${bits}${letter}`, rightsOf(own), isPrivate)
          })
        }
      }
    }
  })
}
test('how much was compared', (t) => { t.diagnostic(`${checks} checks`); assert.ok(checks > 1000) })
