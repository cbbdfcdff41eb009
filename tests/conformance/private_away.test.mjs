// SPDX-License-Identifier: Apache-2.0
// Goal: private channels while the database, or the process that asks it, is away: nothing else waits, nothing is
// allowed that was not, and what was allowed goes on.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { preparePolicies, allow, noLonger } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database, env: { REALTIME_AUTH_CACHE_MS: '0' } })
let sql = await database.connect()
await until('the migrations', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)
const ALL = 'read:broadcast read:presence write:broadcast write:presence'
const payload = (sub, config) => ({ config: { private: true, broadcast: { ack: true }, ...config }, access_token: node.token({ sub }) })
const say = { type: 'broadcast', event: 'e', payload: {} }

/** Every process of the server stands still. */
function freeze(signal) {
  const postmaster = readFileSync(join(database.dir, 'data/postmaster.pid'), 'utf8').split('\n')[0]
  const children = execFileSync('ps', ['-o', 'pid=', '--ppid', postmaster], { encoding: 'utf8' }).trim().split(/\s+/)
  for (const pid of [postmaster, ...children]) { try { process.kill(Number(pid), signal) } catch { /* ended */ } }
}

test('case 99: a slow join, a leave and a new join sent meanwhile', async (t) => {
  await allow(sql, 'u', 'p99', ALL)
  const T = 'realtime:p99'
  const s = await connect(t, node)
  freeze('SIGSTOP')
  t.after(() => freeze('SIGCONT'))
  s.send('1', '1', T, 'phx_join', payload('u'))
  s.send('1', '2', T, 'phx_leave', {})
  s.send('3', '3', T, 'phx_join', payload('u'))
  assert.equal((await s.reply('1')).payload.status, 'error')
  freeze('SIGCONT')
  assert.equal((await s.reply('2')).payload.status, 'ok')
  assert.equal((await s.reply('3')).payload.status, 'ok')
  assert.equal((await s.call('3', T, 'broadcast', say)).payload.status, 'ok')
})

test('the process that asks is killed: joins wait for the next one', async (t) => {
  await allow(sql, 'u', 'pk', ALL)
  const s = await connect(t, node)
  for (const n of node.nodes ?? [node]) await n.kill('db')
  const reply = await s.join('realtime:pk', {}, { ref: '1', payload: payload('u') })
  assert.equal(reply.payload.status, 'ok')
  assert.equal((await s.call('1', 'realtime:pk', 'broadcast', say)).payload.status, 'ok')
})

test('the owner is killed: joins wait for the next one', async (t) => {
  await allow(sql, 'u', 'po', ALL)
  const s = await connect(t, node)
  for (const n of node.nodes ?? [node]) await n.kill('owner')
  assert.equal((await s.join('realtime:po', {}, { ref: '1', payload: payload('u') })).payload.status, 'ok')
  assert.equal((await s.call('1', 'realtime:po', 'broadcast', say)).payload.status, 'ok')
})

test('partitions that are missing are made, and the join goes on', async (t) => {
  await allow(sql, 'u', 'pp', ALL)
  for (const { part } of (await sql.query("select inhrelid::regclass::text as part from pg_inherits where inhparent = 'realtime.messages'::regclass")).rows) await sql.query(`drop table ${part}`)
  const s = await connect(t, node)
  assert.equal((await s.join('realtime:pp', {}, { ref: '1', payload: payload('u') })).payload.status, 'ok')
})

test('partitions that are missing and cannot be made', async (t) => {
  await sql.query(`create function public.no_tables() returns event_trigger language plpgsql as $$ begin raise 'no more tables'; end $$`)
  await sql.query("create event trigger no_tables on ddl_command_start when tag in ('CREATE TABLE') execute function public.no_tables()")
  t.after(() => sql.query('drop event trigger no_tables'))
  for (const { part } of (await sql.query("select inhrelid::regclass::text as part from pg_inherits where inhparent = 'realtime.messages'::regclass")).rows) await sql.query(`drop table ${part}`)
  const s = await connect(t, node)
  assert.equal((await s.join('realtime:pp', {}, { ref: '1', payload: payload('w'), refused: true })).payload.response.reason,
    'MissingPartition: Realtime was unable to find the expected messages partition')
  const single = await fetch(`${node.url}/api/broadcast/pp/events/e?private=true`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json', authorization: `Bearer ${node.token({ sub: 'w' })}` } })
  assert.deepEqual([single.status, await single.json()], [422, { message: 'Missing messages partition' }])
})

let turns = 0
/** Until the test is over nobody reads. Never by the same text: of what is as before, it is not seen that it changed. */
async function closeToReaders(t) {
  await sql.query(`alter policy may_read on realtime.messages using (${++turns} < 0)`)
  t.after(() => sql.query(`alter policy may_read on realtime.messages using (exists (
      select from public.allowed a where a.sub = coalesce(auth.jwt() ->> 'sub', 'nobody') and a.topic = realtime.topic()
         and a.act = 'read' and a.extension = messages.extension))`))
}

test('policies that change while the owner is away reach channels that are joined', async (t) => {
  const nodes = node.nodes ?? [node]
  const looks = () => nodes.map((n) => n.logText().split('ev=policies_changed').length)
  const looked = (before) => looks().every((n, i) => n > before[i])
  let before = looks()
  await until('the policies to be known to each node', async () => { // the first look finds nothing changed
    await sql.query(`drop policy if exists look on realtime.messages; create policy look on realtime.messages for select to anon using (${++turns} < 0)`)
    return looked(before)
  }, 40000)
  await allow(sql, 'u', 'pw', ALL)
  const s = await connect(t, node)
  await s.join('realtime:pw', {}, { ref: '1', payload: payload('u') })
  before = looks()
  const supervisors = nodes.map((n) => n.pid('supervisor'))
  const go = () => { for (const pid of supervisors) process.kill(pid, 'SIGCONT') }
  t.after(go)
  for (const pid of supervisors) process.kill(pid, 'SIGSTOP')
  for (const n of nodes) await n.kill('owner')
  await closeToReaders(t)
  await until('each node to look at the policies', () => looked(before), 40000)
  go()
  assert.equal((await s.event('realtime:pw', 'system', 45000)).payload.message, noLonger('pw'))
  await s.event('realtime:pw', 'phx_close')
})

test('changed policies reach channels that are joined, by themselves', async (t) => {
  await allow(sql, 'u', 'pc', ALL)
  const s = await connect(t, node)
  await s.join('realtime:pc', {}, { ref: '1', payload: payload('u') })
  assert.equal((await s.call('1', 'realtime:pc', 'broadcast', say)).payload.status, 'ok')
  await closeToReaders(t)
  assert.equal((await s.event('realtime:pc', 'system', 45000)).payload.message, noLonger('pc'))
  await s.event('realtime:pc', 'phx_close')
})

test('case 38: the database is stopped: a private join waits, all else goes on', async (t) => {
  await allow(sql, 'u', 'p38', ALL)
  await allow(sql, 'u', 'p38b', ALL)
  const s = await connect(t, node)
  await s.join('realtime:p38b', {}, { ref: '5', payload: payload('u') })
  assert.equal((await s.call('5', 'realtime:p38b', 'broadcast', say)).payload.status, 'ok')
  await database.stop('immediate')
  s.send('1', '1', 'realtime:p38', 'phx_join', payload('u'))
  await s.heartbeat()
  await s.join('realtime:open', { broadcast: { ack: true } }, { ref: '2' })
  assert.equal((await s.call('2', 'realtime:open', 'broadcast', say)).payload.status, 'ok')
  assert.equal((await s.call('5', 'realtime:p38b', 'broadcast', say)).payload.status, 'ok', 'what was allowed goes on')
  assert.ok(!s.frames.some((f) => f.ref === '1'), 'all of it while the private join waits')
  const refused = (await s.reply('1')).payload
  assert.deepEqual(refused, { status: 'error', response: { reason: 'UnableToConnectToProject: Realtime was unable to connect to the project database' } })
  assert.equal((await s.track('5', 'realtime:p38b', {})).payload.status, 'error', 'what was never asked is denied')
  const single = await fetch(`${node.url}/api/broadcast/p38/events/e?private=true`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json', authorization: `Bearer ${node.token({ sub: 'u' })}` } })
  assert.deepEqual([single.status, await single.json()], [422, { message: 'Tenant database unavailable' }])
  s.send('5', null, 'realtime:p38b', 'access_token', { access_token: node.token({ sub: 'u', n: 2 }) })
  assert.equal((await s.event('realtime:p38b', 'system')).payload.message, 'Realtime was unable to connect to the project database')
  await s.event('realtime:p38b', 'phx_error') // so that the client joins again
  s.send('7', '7', 'realtime:p38', 'phx_join', payload('u'))
  await s.heartbeat() // by then the join is there, and waits
  await database.start()
  assert.equal((await s.reply('7')).payload.status, 'ok')
  sql = await database.connect()
})
