// SPDX-License-Identifier: Apache-2.0
// Goal: a node stands in for the realtime container of a self-hosted Supabase: its environment as it is there, its
// database login, its health check, and the paths by which the gateway reaches it.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { sign } from '../harness/jwt.mjs'
import { freePort, startNode, startPostgres, until } from '../harness/process.mjs'
import { behindTheGateway, supabaseDatabase, supabaseEnv } from '../harness/supabase.mjs'

const secret = 'your-super-secret-jwt-token-with-at-least-32-characters-long'
const password = 'your-super-secret-and-long-postgres-password'
const database = await startPostgres({ after })
database.psql('-c', supabaseDatabase(password),
  '-c', 'create table items (id serial primary key, name text)',
  '-c', 'alter publication supabase_realtime add table items', '-c', 'grant all on items to anon, authenticated')
const port = await freePort()
const ours = ['JWT_SECRET', 'LISTEN', 'DATABASE_URL', 'DATABASE_CHECK_URL', 'AUTH_HELPERS']
const node = await startNode({ after }, {
  nodes: 1, database, ready: false,
  env: {
    ...Object.fromEntries(ours.map((name) => [`REALTIME_${name}`, undefined])),
    ...supabaseEnv({ host: '127.0.0.1', port: database.port, password, secret }), PORT: String(port),
  },
})
const url = `http://127.0.0.1:${port}`
const anon = sign({ role: 'anon' }, secret)
const health = (token) => fetch(`${url}/api/tenants/realtime-dev/health`, { method: 'HEAD', headers: { authorization: `Bearer ${token}` } })
await until('the health check of its container', async () => { try { return (await health(anon)).status === 200 } catch { return false } })

test('the health check refuses a token of somebody else', async () => {
  assert.equal((await health(sign({ role: 'anon' }, 'some-other-secret-of-at-least-32-characters'))).status, 403)
})

test('clients behind the gateway: broadcast, presence, a row', async () => {
  await behindTheGateway(`ws://127.0.0.1:${port}/socket`, anon, 'items', () => database.psql('-c', "insert into items (name) values ('swapped')"))
})

test('the gateway passes the broadcast API on without its prefix', async () => {
  const res = await fetch(`${url}/api/broadcast`, {
    method: 'POST', headers: { apikey: anon, 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [{ topic: 'room', event: 'hi', payload: {} }] }),
  })
  assert.equal(res.status, 202)
})

test('its start says which names have no effect, and how many connections the database gets', async () => {
  const warnings = node.logText().split('\n').filter((l) => l.startsWith('realtimed: warning: in the environment'))
  const said = (name) => warnings.filter((l) => l.includes(name))
  assert.match(said('METRICS_JWT_SECRET')[0], /without effect here: METRICS_JWT_SECRET; .*REALTIME_ADMIN_TOKEN/)
  for (const name of ['DB_ENC_KEY', 'SECRET_KEY_BASE', 'ERL_AFLAGS', 'SEED_SELF_HOST', 'RUN_JANITOR']) assert.equal(said(name).length, 1, name)
  for (const name of ['DB_HOST', 'API_JWT_SECRET', 'PORT,', 'DNS_NODES', 'APP_NAME']) assert.deepEqual(said(name), [], name)
  const most = Number(/ev=database_connections at_most=(\d+)/.exec(node.logText())[1])
  const open = Number(database.psql('-Atc', "select count(*) from pg_stat_activity where application_name like 'datafuse:%'"))
  assert.ok(open >= 3 && open <= most, `${open} of ${most}`)
})
