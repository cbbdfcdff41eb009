// SPDX-License-Identifier: Apache-2.0
// Goal: every way in which a private channel cannot be decided has its own text, so that clients know whether to
// try again, and people what to do.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { preparePolicies, allow, notToRead } from './private_help.mjs'

const database = await startPostgres({ after })
const sql = await database.connect()
const nodeWith = (t, env) => startNode(t, { database, env })
const node = await nodeWith({ after }, { REALTIME_DB_POOL: '1', REALTIME_PRIVATE_ONLY: 'on' })
await until('the migrations', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)
await allow(sql, 'u', 'room', 'read:broadcast')

async function reason(t, n, topic = 'room', sub = 'u') {
  const s = await connect(t, n)
  return (await s.join(`realtime:${topic}`, {}, { ref: '1', payload: { config: { private: true }, access_token: n.token({ sub }) }, refused: true })).payload.response.reason
}

test('case 37: only private channels', async (t) => {
  const s = await connect(t, node)
  assert.equal((await s.join('realtime:room', {}, { refused: true })).payload.response.reason, 'PrivateOnly: This project only allows private channels')
  await s.join('realtime:room', {}, { payload: { config: { private: true }, access_token: node.token({ sub: 'u' }) } })
})

test('the pool is taken by a policy that sleeps', async (t) => {
  await sql.query('create function public.slow() returns boolean language plpgsql as $$ begin if realtime.topic() = \'slow\' then perform pg_sleep(20); end if; return false; end $$')
  await sql.query('create policy slow on realtime.messages for select to authenticated using (public.slow())')
  t.after(() => sql.query('drop policy slow on realtime.messages'))
  const s = await connect(t, node)
  const payload = { config: { private: true }, access_token: node.token({ sub: 'u' }) }
  s.send('1', '1', 'realtime:slow', 'phx_join', payload)
  s.send('2', '2', 'realtime:other', 'phx_join', payload)
  assert.equal((await s.reply('2')).payload.response.reason, 'IncreaseConnectionPool: Please increase your connection pool size')
  assert.equal((await s.reply('1')).payload.response.reason, 'QueryCanceled: Query was cancelled, please try again')
  s.send('3', '3', 'realtime:room', 'phx_join', payload)
  assert.equal((await s.reply('3')).payload.status, 'ok')
})

test('a database that may not be written', async (t) => {
  await sql.query('alter role realtime_check set default_transaction_read_only = on')
  t.after(() => sql.query('alter role realtime_check reset default_transaction_read_only'))
  const n = await nodeWith(t, {})
  assert.equal(await reason(t, n), 'UnableToSetPolicies: cannot execute INSERT in a read-only transaction')
})

test('a database that takes no more connections', async (t) => {
  await sql.query('alter role realtime_check connection limit 0')
  t.after(() => sql.query('alter role realtime_check connection limit -1'))
  await sql.query("select pg_terminate_backend(pid) from pg_stat_activity where application_name like '%:authorize'")
  assert.equal(await reason(t, node, 'room', 'x'), "DatabaseLackOfConnections: Database can't accept more connections, Realtime won't connect")
})

test('a role that was not granted to the check login, and one that is', async (t) => {
  await sql.query('create role teacher nologin; grant usage on schema realtime to teacher; grant select, insert on realtime.messages to teacher; create policy t on realtime.messages for select to teacher using (true)')
  const s = await connect(t, node)
  const join = (ref) => s.join('realtime:class', {}, { ref, payload: { config: { private: true }, access_token: node.token({ role: 'teacher', n: ref }) }, refused: ref === '1' })
  assert.equal((await join('1')).payload.response.reason, `Unauthorized: ${notToRead('class')}`)
  await sql.query('grant teacher to realtime_check')
  await join('2')
})

test('no right to ask: the functions were taken away', async (t) => {
  await sql.query('revoke execute on function realtime.datafuse_probe(uuid[], text, text[]) from realtime_check')
  assert.equal(await reason(t, node, 'room', 'v'), 'UnableToConnectToProject: Realtime was unable to connect to the project database')
  await nodeWith(t, {}) // a start gives it back
  await until('the right is given back', async () => (await sql.query("select has_function_privilege('realtime_check', 'realtime.datafuse_probe(uuid[], text, text[])', 'execute') as ok")).rows[0].ok)
  assert.equal(await reason(t, node, 'room', 'w'), `Unauthorized: ${notToRead('room')}`)
})
