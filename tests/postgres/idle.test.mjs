// SPDX-License-Identifier: Apache-2.0
// Goal: a node that nobody uses asks the database nothing, and is there at once when somebody does.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const LOOK_MS = 5000 // what is published, roles and policies are looked at so often while somebody needs it

test('no statement while nobody subscribes; what changed meanwhile is known when somebody does', async (t) => {
  const database = await startPostgres({ after })
  const node = await startNode({ after }, { database, env: { REALTIME_AUTH_RECHECK: '1' } })
  const sql = await database.connect()
  const last = async () => (await sql.query(`select max(query_start)::text as at, now() - max(query_start) > interval '${2 * LOOK_MS + 1000} ms' as quiet
    from pg_stat_activity where application_name like 'datafuse:%' and backend_type = 'client backend'`)).rows[0]
  const s = await connect(t, node)
  const payload = { config: { private: true }, access_token: node.token({ sub: 'u' }) }
  await s.join('realtime:p', {}, { ref: '1', payload, refused: true })
  await until('two looks to be left out', async () => (await last()).quiet, 60000)

  await sql.query('create table meanwhile (id int primary key); grant select on meanwhile to anon; alter publication supabase_realtime add table meanwhile')
  await s.join('realtime:c', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'meanwhile' }] }, { ref: '2' })
  assert.equal((await s.event('realtime:c', 'system')).payload.message, 'Subscribed to PostgreSQL')
  await sql.query('insert into meanwhile values (1)')
  assert.equal((await s.event('realtime:c', 'postgres_changes')).payload.data.record.id, 1)
  const { at } = await last()
  await until('another look, as long as somebody is there', async () => (await last()).at !== at)
})

test('after a quiet time an edge has its whole time to acknowledge', async (t) => {
  const database = await startPostgres({ after })
  const node = await startNode({ after }, { database, edges: 1 })
  const nodes = node.nodes ?? [node]
  const sql = await database.connect()
  await sql.query('create table loud (id int); create table quiet (id int primary key); grant select on quiet to anon; alter publication supabase_realtime add table loud, quiet')
  const s = await connect(t, node)
  await s.join('realtime:q', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'quiet' }] }, { ref: '1' })
  assert.equal((await s.event('realtime:q', 'system')).payload.message, 'Subscribed to PostgreSQL')
  for (let i = 0; i < 11; i++) { // positions move on, and nothing of it is for an edge; 10 s are what one has to acknowledge
    await sql.query('insert into loud values ($1)', [i])
    await delay(1000)
  }
  const edges = nodes.map((n) => n.pid('edge', 0))
  for (const pid of edges) process.kill(pid, 'SIGSTOP')
  await sql.query('insert into quiet values (1)')
  await delay(3000)
  for (const pid of edges) process.kill(pid, 'SIGCONT')
  assert.equal((await s.event('realtime:q', 'postgres_changes')).payload.data.record.id, 1)
  await s.nothing()
  for (const n of nodes) assert.doesNotMatch(n.logText(), /changes_not_acknowledged/)
})
