// SPDX-License-Identifier: Apache-2.0
// Goal: rights that are taken away without a new token end: at a channel when it is looked at again, at the next join
// when what was answered is old, and at once when the policies are others.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { preparePolicies, allow, noLonger, notToRead } from './private_help.mjs'

const database = await startPostgres({ after })
const sql = await database.connect()
// One edge: what was answered is known to each by itself.
const nodeWith = (t, env) => startNode(t, { database, env, edges: 1, nodes: 1 })
const often = await nodeWith({ after }, { REALTIME_AUTH_RECHECK: '1' })
await until('the migrations', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)

const payload = (node) => ({ config: { private: true, broadcast: { ack: true } }, access_token: node.token({ sub: 'u' }) })
/** A join with one token, again and again: what is said to it. */
async function asks(t, node, topic) {
  const s = await connect(t, node)
  const join = payload(node)
  let ref = 0
  return async () => {
    s.send(`${++ref}`, `${ref}`, `realtime:${topic}`, 'phx_join', join)
    const { status, response } = (await s.reply(`${ref}`)).payload
    await delay(100) // joins have a rate
    if (status === 'ok') return 'ok'
    assert.equal(response.reason, `Unauthorized: ${notToRead(topic)}`)
    return 'refused'
  }
}

test('REALTIME_AUTH_RECHECK: a right that was taken away ends without a new token; who has it stays', async (t) => {
  const s = await connect(t, often)
  for (const topic of ['taken', 'kept']) {
    await allow(sql, 'u', topic, 'read:broadcast write:broadcast')
    await s.join(`realtime:${topic}`, {}, { ref: topic, payload: payload(often) })
  }
  await allow(sql, 'u', 'taken', '')
  assert.deepEqual((await s.event('realtime:taken', 'system')).payload, { extension: 'system', status: 'error', message: noLonger('taken'), channel: 'taken' })
  assert.equal((await s.event('realtime:taken', 'phx_close')).ref, 'taken')
  await allow(sql, 'u', 'kept', 'read:broadcast')
  await until('the right to write to be gone', async () => (await s.call('kept', 'realtime:kept', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })).payload.status === 'error')
  await s.nothing()
})

test('REALTIME_AUTH_CACHE_MS: an answer is good for so long, and no longer than the policies that gave it', async (t) => {
  const keeps = await nodeWith(t, { REALTIME_AUTH_CACHE_MS: '60000', REALTIME_NODE: 'keeps' })
  // The first look at the policies makes it forget what was answered, whatever they are; its last question is that
  // for functions, which has no other place. What changes later is seen by the second look, and then no more changes.
  await until('a first look', async () => (await sql.query(`select from pg_stat_activity
    where application_name = 'datafuse:keeps:control' and query like '%pg_proc%'`)).rowCount === 1)
  await sql.query('create policy look on realtime.messages for select to anon using (false)')
  await until('a second look', () => /ev=policies_changed/.test(keeps.logText()))
  await allow(sql, 'u', 'cached', 'read:broadcast')
  const [short, long] = [await asks(t, often, 'cached'), await asks(t, keeps, 'cached')]
  for (const ask of [short, long]) assert.equal(await ask(), 'ok')
  await allow(sql, 'u', 'cached', '')
  await until('the answer of a second ago to be old', async () => await short() === 'refused')
  assert.equal(await long(), 'ok')
  await sql.query('create policy more on realtime.messages for select to anon using (false)')
  await until('the answer by other policies to be forgotten', async () => await long() === 'refused', 40000)
})
