// SPDX-License-Identifier: Apache-2.0
// Row changes from COMMIT to the sockets, for so many claims sets under row level security (0: a table without), beside
// pg_recvlogical draining the same rows from its own slot. Each row is for one of the claims sets; all are asked.
// Usage: node changes.mjs ROWS ROUNDS [CLAIMS,...]; 100q: 100 claims sets, and a policy that only Postgres can judge.
import { execFileSync, spawn } from 'node:child_process'
import { sign } from '../harness/jwt.mjs'
import { SECRET, startNode, startPostgres, until } from '../harness/process.mjs'
import WebSocket from 'ws'

const ROWS = Number(process.argv[2] ?? 20000)
const ROUNDS = Number(process.argv[3] ?? 5)
const CLAIMS = (process.argv[4] ?? '0,1,100,1000').split(',')
// Questions (claims sets × rows) of one round at most: 1 000 sets would take minutes with all rows.
const ASKED_MAX = 2_000_000
const PACED_PER_S = 1000

const cleanup = []
const t = { after: (fn) => cleanup.unshift(fn) }
const now = () => Number(process.hrtime.bigint())
const at = (sorted, share) => sorted[Math.floor((sorted.length - 1) * share)]
const median = (list) => at([...list].sort((a, b) => a - b), 0.5)
const user = (i) => `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`

/** Counts frames without parsing them: the client must not be what is measured. `ids` notes when the row of that id came. */
function subscribe(node, table, sub, state) {
  return new Promise((resolve, reject) => {
    const key = sign({ role: 'authenticated', sub }, SECRET)
    const ws = new WebSocket(`${node.ws}/socket/websocket?apikey=${key}&vsn=2.0.0`)
    const marker = Buffer.from('"postgres_changes",{"ids"')
    const id = Buffer.from('"id":')
    ws.on('open', () => ws.send(JSON.stringify(['1', '1', `realtime:${table}`, 'phx_join',
      { config: { postgres_changes: [{ event: 'INSERT', schema: 'public', table }] } }])))
    ws.on('message', (data) => {
      if (data.includes(marker)) {
        state.count++
        if (state.ids) state.ids.set(parseInt(data.toString('latin1', data.lastIndexOf(id) + id.length), 10), now())
      } else if (data.includes('Subscribed to PostgreSQL')) resolve(ws)
    })
    ws.on('error', reject)
    ws.on('close', (code, reason) => { if (!state.over) throw new Error(`a client was closed: ${code} ${reason}`) })
  })
}

/** Rows per second of pg_recvlogical from the slot `bench` up to now. */
async function drain(db, sql, rows) {
  const bin = execFileSync('pg_config', ['--bindir'], { encoding: 'utf8' }).trim()
  const { rows: [{ lsn }] } = await sql.query('select pg_current_wal_lsn() as lsn')
  const start = now()
  await new Promise((resolve, reject) => {
    const child = spawn(`${bin}/pg_recvlogical`, ['-d', db.url, '-S', 'bench', '--start', '-f', '/dev/null', '--endpos', lsn,
      '-o', 'proto_version=1', '-o', 'publication_names=supabase_realtime'], { stdio: 'inherit' })
    child.on('exit', (code) => code === 0 ? resolve() : reject(new Error(`pg_recvlogical: exit ${code}`)))
  })
  return rows / (now() - start) * 1e9
}

/** One round: the rows wait in the slot while db stands still, so that reading is measured and not writing. */
async function round({ db, sql, node, table, sets, state }, rows, from) {
  const target = state.count + rows
  const reader = node.pid('db')
  process.kill(reader, 'SIGSTOP')
  await sql.query("select pg_create_logical_replication_slot('bench', 'pgoutput')")
  await sql.query(`insert into ${table} select i, 'value of row ' || i, ('00000000-0000-4000-8000-' || lpad((i % ${sets})::text, 12, '0'))::uuid
    from generate_series(${from}, ${from + rows - 1}) i`)
  const start = now()
  process.kill(reader, 'SIGCONT')
  await until('all rows', () => state.count >= target, 120000)
  const ours = rows / (now() - start) * 1e9
  const baseline = await drain(db, sql, rows)
  await sql.query("select pg_drop_replication_slot('bench')")
  return { ours, baseline }
}

/** Microseconds from the return of COMMIT to the client, sorted, of single rows at an even pace; 0: it came before. */
async function paced({ sql, table, sets, state }, rows) {
  const committed = new Map()
  const begin = now()
  const all = []
  state.ids = new Map()
  for (let i = 1; i <= rows; i++) {
    while (now() < begin + i * 1e9 / PACED_PER_S) await new Promise(setImmediate)
    all.push(sql.query(`insert into ${table} values (${-i}, 'x', '${user(i % sets)}')`).then(() => committed.set(-i, now())))
  }
  await Promise.all(all)
  await until('all rows', () => state.ids.size >= rows, 60000)
  return [...committed].map(([i, ns]) => Math.max(0, state.ids.get(i) - ns) / 1000).sort((a, b) => a - b)
}

async function measure(db, sql, node, what) {
  const claims = parseInt(what, 10)
  const asked = what.endsWith('q') ? ' and length(v) > 0' : ''
  const table = `b${what}`
  const sets = Math.max(1, claims)
  const state = { count: 0 }
  const world = { db, sql, node, table, sets, state }
  const rows = Math.min(ROWS, Math.floor(ASKED_MAX / sets))
  await sql.query(`create table ${table} (id int primary key, v text, owner uuid); grant select on ${table} to authenticated;
    alter publication supabase_realtime add table ${table}`)
  if (claims > 0) {
    await sql.query(`alter table ${table} enable row level security;
      create policy own on ${table} for select to authenticated using (owner = (select auth.uid())${asked})`)
  }
  const sockets = []
  for (let i = 0; i < sets; i += 50) {
    sockets.push(...await Promise.all(Array.from({ length: Math.min(50, sets - i) }, (_, k) => subscribe(node, table, user(i + k), state))))
  }
  const ours = [], baseline = []
  for (let r = 0; r < ROUNDS; r++) {
    const of = await round(world, rows, r * rows)
    ours.push(of.ours)
    baseline.push(of.baseline)
  }
  const x = median(ours), y = median(baseline)
  console.log(`changes/claims=${what} rows_per_s ${x.toFixed(0)} ${y.toFixed(0)} ${(x / y).toFixed(2)}`)
  const us = await paced(world, Math.min(rows, 2 * PACED_PER_S))
  console.log(`changes/claims=${what} commit_to_socket_us p50 ${at(us, 0.5).toFixed(0)} p99 ${at(us, 0.99).toFixed(0)}`)
  state.over = true
  for (const ws of sockets) ws.terminate()
}

async function main() {
  const db = await startPostgres(t)
  const sql = await db.connect()
  const node = await startNode(t, { database: db, edges: 1, env: { REALTIME_MAX_QUEUE_BYTES: String(512 * 1024 * 1024) } })
  for (const claims of CLAIMS) await measure(db, sql, node, claims)
}

try { await main() } finally { for (const fn of cleanup) await fn() }
process.exit(0)
