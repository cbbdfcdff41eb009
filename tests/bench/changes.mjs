// SPDX-License-Identifier: Apache-2.0
// Rows per second from COMMIT to a subscriber, beside pg_recvlogical draining the same rows from its own slot.
// Usage: node changes.mjs ROWS ROUNDS
import { execFileSync, spawn } from 'node:child_process'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import WebSocket from 'ws'

const rows = Number(process.argv[2] ?? 20000)
const rounds = Number(process.argv[3] ?? 5)
const cleanup = []
const t = { after: (fn) => cleanup.unshift(fn) }

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]

/** Counts postgres_changes frames without parsing them: the client must not be what is measured. */
function subscribe(node) {
  return new Promise((resolve, reject) => {
    const ws = new WebSocket(`${node.ws}/socket/websocket?apikey=${node.anonKey}&vsn=2.0.0`)
    const state = { count: 0, ws }
    const marker = Buffer.from('"postgres_changes",{"ids"')
    ws.on('open', () => ws.send(JSON.stringify(['1', '1', 'realtime:b', 'phx_join', { config: { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'b' }] } }])))
    ws.on('message', (data) => {
      if (data.includes(marker)) state.count++
      else if (data.includes('Subscribed to PostgreSQL')) resolve(state)
    })
    ws.on('error', reject)
  })
}

async function main() {
  const db = await startPostgres(t)
  const sql = await db.connect()
  await sql.query('create table b (id int primary key, v text, n int); alter publication supabase_realtime add table b')
  const node = await startNode(t, { database: db, edges: 1, env: { REALTIME_MAX_QUEUE_BYTES: String(512 * 1024 * 1024) } })
  const sub = await subscribe(node)
  const ours = [], baseline = [], latency = []
  const bin = execFileSync('pg_config', ['--bindir'], { encoding: 'utf8' }).trim()
  for (let r = 0; r < rounds; r++) {
    const from = r * rows
    const target = sub.count + rows
    const db_ = node.pid('db')
    process.kill(db_, 'SIGSTOP') // the rows wait in the slot, so that reading is measured and not writing
    await sql.query("select pg_create_logical_replication_slot('bench', 'pgoutput')")
    await sql.query(`insert into b select i, 'value of row ' || i, i from generate_series(${from}, ${from + rows - 1}) i`)
    let start = process.hrtime.bigint()
    process.kill(db_, 'SIGCONT')
    await until('all rows', () => sub.count >= target, 120000)
    ours.push(rows / Number(process.hrtime.bigint() - start) * 1e9)
    const { rows: [{ lsn }] } = await sql.query('select pg_current_wal_lsn() as lsn')
    start = process.hrtime.bigint()
    await new Promise((resolve, reject) => {
      const child = spawn(`${bin}/pg_recvlogical`, ['-d', db.url, '-S', 'bench', '--start', '-f', '/dev/null', '--endpos', lsn,
        '-o', 'proto_version=1', '-o', 'publication_names=supabase_realtime'], { stdio: 'inherit' })
      child.on('exit', (code) => code === 0 ? resolve() : reject(new Error(`pg_recvlogical: exit ${code}`)))
    })
    baseline.push(rows / Number(process.hrtime.bigint() - start) * 1e9)
    await sql.query("select pg_drop_replication_slot('bench')")
  }
  for (let i = 0; i < 200; i++) {
    const target = sub.count + 1
    const arrived = new Promise((resolve) => sub.ws.once('message', resolve))
    await sql.query(`insert into b values (${-1 - i}, 'x', 1)`)
    const start = process.hrtime.bigint() // COMMIT has returned
    if (sub.count < target) await arrived
    latency.push(Number(process.hrtime.bigint() - start) / 1000)
  }
  const x = median(ours), y = median(baseline)
  console.log(`changes rows_per_s ${x.toFixed(0)} ${y.toFixed(0)} ${(x / y).toFixed(2)}`)
  latency.sort((a, b) => a - b)
  console.log(`changes commit_to_socket_us p50 ${latency[100].toFixed(0)} p99 ${latency[198].toFixed(0)}`)
  sub.ws.terminate()
}

try { await main() } finally { for (const fn of cleanup) await fn() }
process.exit(0)
