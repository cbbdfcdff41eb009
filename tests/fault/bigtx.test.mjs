// SPDX-License-Identifier: Apache-2.0
// Goal: a transaction of any size costs the server no memory that grows with it, and its clients nothing but the time
// that it takes to send them what is theirs.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { connect } from '../harness/phx.mjs'

const ROWS = 1_000_000
const WANTED = 777_777
const MANY = 200_000
const SOME = 60_000
const GROWTH_MAX_KIB = 32 * 1024
const GAP_MAX_MS = 3000 // one second of it is promised

/** One line of /proc/PID/status, in KiB. */
const memory = (pid, name) => Number(readFileSync(`/proc/${pid}/status`, 'utf8').match(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm'))[1])
/** From now on VmHWM is the highest of now and later. */
const forgetPeak = (pid) => writeFileSync(`/proc/${pid}/clear_refs`, '5')

/** A counter of the edges, all together. */
async function counted(node, name) {
  const text = await (await fetch(`${node.adminUrl}/metrics`)).text()
  return [...text.matchAll(new RegExp(`^realtime_${name}\\{.*\\} (\\d+)$`, 'gm'))].reduce((sum, m) => sum + Number(m[1]), 0)
}
/** Where ids are not 1, 2, 3 ... */
const outOfOrder = (ids) => ids.flatMap((id, i) => id !== i + 1 ? [`${id} at ${i}`] : []).slice(0, 5)

async function world(t, opts) {
  const database = await startPostgres(t)
  const sql = await database.connect()
  await sql.query('create table big (id int primary key, v text); grant all on big to anon; alter publication supabase_realtime add table big')
  return { sql, node: await startNode(t, { database, nodes: 1, ...opts }) }
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

test('200 000 rows in one transaction, all for one client of supabase-js', async (t) => {
  const { sql, node } = await world(t)
  const client = createClient(node.url, node.anonKey, { auth: { persistSession: false, autoRefreshToken: false }, realtime: { transport: WebSocket } })
  t.after(() => client.realtime.disconnect())
  const ids = [], states = []
  let told
  client.channel('big').on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'big' }, (change) => ids.push(change.new.id))
    .on('system', {}, (m) => { told = m }).subscribe((state) => states.push(state))
  await until('the subscription', () => told?.status === 'ok')
  const edges = node.pids().filter((p) => p.role === 'edge').map((p) => p.pid)
  edges.forEach(forgetPeak)
  const before = edges.map((pid) => memory(pid, 'VmRSS'))
  const start = Date.now()
  await insert(sql, MANY)
  const committed = Date.now()
  await until('all rows', () => ids.length >= MANY || states.length > 1, 60000)
  const grown = Math.max(...edges.map((pid, i) => memory(pid, 'VmHWM') - before[i]))
  t.diagnostic(`inserted in ${committed - start} ms, all came ${Date.now() - committed} ms later; waited for the client ` +
    `${await counted(node, 'changes_paced_ms_total')} ms; memory of its edge grew by ${grown} KiB`)
  assert.deepEqual(states, ['SUBSCRIBED'])
  assert.deepEqual(outOfOrder(ids), [])
  assert.ok(grown < GROWTH_MAX_KIB, `an edge has grown by ${grown} KiB`)
})

test('one client reads nothing: it is closed, and another one waits for it no longer than promised', async (t) => {
  const { sql, node } = await world(t, { edges: 1 })
  const stuck = await subscriber(t, node)
  const healthy = await subscriber(t, node)
  let last = 0, gap = 0
  const { sink } = healthy.s
  healthy.s.sink = (f) => { gap = Math.max(gap, last && Date.now() - last); last = Date.now(); return sink(f) }
  stuck.s.ws.pause()
  await insert(sql, SOME)
  const beat = healthy.s.heartbeat() // it does not stand behind the rows that wait
  await until('all rows at the other one', () => healthy.ids.length >= SOME || healthy.s.closed)
  await beat
  assert.equal(healthy.s.closed, null)
  assert.deepEqual(outOfOrder(healthy.ids), [])
  assert.equal(await counted(node, 'slow_consumer_closed_total'), 1)
  stuck.s.ws.resume()
  assert.deepEqual(await stuck.s.closing(), { code: 1013, reason: 'slow consumer' })
  assert.deepEqual(outOfOrder(stuck.ids), [])
  const waited = await counted(node, 'changes_paced_ms_total')
  t.diagnostic(`waited for clients ${waited} ms in all; longest time without a row ${gap} ms; the one that read nothing got ${stuck.ids.length} rows`)
  assert.ok(waited > 0)
  assert.ok(gap < GAP_MAX_MS, `no row for ${gap} ms`)
})
