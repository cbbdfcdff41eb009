// SPDX-License-Identifier: Apache-2.0
// Goal: a transaction of any size costs the server no memory that grows with it, and its clients nothing but the time
// that it takes to send them what is theirs.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const ROWS = 1_000_000
const WANTED = 777_777
const GROWTH_MAX_KIB = 32 * 1024

/** One line of /proc/PID/status, in KiB. */
const memory = (pid, name) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1])
/** From now on VmHWM is the highest of now and later. */
const forgetPeak = (pid) => writeFileSync(`/proc/${pid}/clear_refs`, '5')

async function world(t) {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await sql.query('create table big (id int primary key, v text); grant all on big to anon; alter publication supabase_realtime add table big')
  return { sql, node: await startNode(t, { database, nodes: 1 }) }
}

/** A socket that takes changes of the table; `ids` are those of the rows that have come. */
async function subscriber(t, node, filter) {
  const s = await connect(t, node)
  await s.join('realtime:big', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'big', ...(filter && { filter }) }] }, { ref: '1' })
  const { payload } = await s.event('realtime:big', 'system')
  assert.equal(payload.status, 'ok', payload.message)
  const ids = []
  s.sink = (f) => f.event === 'postgres_changes' && ids.push(f.payload.data.record.id) > 0
  return { s, ids }
}

const insert = (sql, rows, from = 1) => sql.query(`insert into big select g, 'row ' || g from generate_series(${from}, ${from + rows - 1}) g`)

test('postgres case 57: 1 000 000 rows in one transaction, of which one is for somebody', async (t) => {
  const { sql, node } = await world(t)
  const { s, ids } = await subscriber(t, node, `id=in.(${WANTED},${ROWS + 1})`)
  const db = node.pid('db')
  await sql.query('insert into big values (0)') // no row of it is the first that it ever saw
  forgetPeak(db)
  const before = memory(db, 'VmRSS')
  const start = Date.now()

  await insert(sql, ROWS)
  const committed = Date.now()
  let beats = 0, slowest = 0
  while (!ids.length) {
    const asked = Date.now()
    await s.heartbeat()
    slowest = Math.max(slowest, Date.now() - asked)
    beats++
    await delay(10)
  }
  const came = Date.now()
  await sql.query('insert into big values ($1)', [ROWS + 1])
  await until('a later row', () => ids.length === 2)
  assert.deepEqual(ids, [WANTED, ROWS + 1])
  assert.equal(s.closed, null)
  assert.equal(node.pid('db'), db)

  const grown = memory(db, 'VmHWM') - before
  t.diagnostic(`inserted in ${committed - start} ms, the row came ${came - committed} ms later, the next after ${Date.now() - came} ms; ` +
    `${beats} heartbeats, slowest ${slowest} ms; memory of db ${before} KiB, at most ${grown} KiB more`)
  assert.ok(beats > 0)
  assert.ok(grown < GROWTH_MAX_KIB, `db has grown by ${grown} KiB`)
})
