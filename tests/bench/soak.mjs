// SPDX-License-Identifier: Apache-2.0
// Three nodes under load for half an hour while something is killed every 20 s and clients come and go: nothing may
// come twice, presence must be right every minute, and memory, descriptors and queues must stay flat.
// Usage: node soak.mjs [MINUTES]
import { readdirSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { startCluster, startPostgres, until } from '../harness/process.mjs'
import { Fleet } from '../fault/fleet.mjs'

const minutes = Number(process.argv[2] ?? 30)
const KILL_EVERY_MS = 20000
const GROWTH = 1.1 // of the last third over the second one
const ROLES = ['supervisor', 'owner', 'db', 'edge']
const cleanup = []
const t = { after: (fn) => cleanup.unshift(fn) }

const any = (list) => list[Math.floor(Math.random() * list.length)]
const rss = (pid) => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0)

/** Largest process of each role: { role: { rss (KiB), fds } }, and what waits in the owners. */
async function sample(nodes) {
  const worst = Object.fromEntries(ROLES.map((role) => [role, { rss: 0, fds: 0 }]))
  for (const { role, pid } of nodes.flatMap((n) => n.pids())) {
    try {
      worst[role].rss = Math.max(worst[role].rss, rss(pid))
      worst[role].fds = Math.max(worst[role].fds, readdirSync(`/proc/${pid}/fd`).length)
    } catch { /* it has just ended */ }
  }
  let held = 0
  for (const node of nodes) {
    try {
      const text = await (await fetch(`${node.adminUrl}/metrics`)).text()
      for (const m of text.matchAll(/^realtime_publish_unconfirmed\{[^}]*\} (\d+)/gm)) held += Number(m[1])
    } catch { /* its edge has just ended */ }
  }
  return { worst, held }
}

async function killOne(fleet, nodes) {
  const node = any(nodes)
  const what = any(['edge', 'owner', 'db', 'node'])
  if (what !== 'node') {
    await node.kill(what, 0)
    if (what === 'owner') fleet.ended()
    return `${what} of ${node.name}`
  }
  await node.signalAll('SIGKILL')
  fleet.ended()
  await delay(5000)
  node.start()
  return node.name
}

async function minute(fleet, nodes, killed) {
  for (let k = 0; k < 60000 / KILL_EVERY_MS; k++) {
    killed.push(await killOne(fleet, nodes))
    const end = Date.now() + KILL_EVERY_MS
    while (Date.now() < end) {
      const client = any(fleet.clients)
      if (client.up) client.life.socket.ws.terminate()
      await delay(500)
    }
  }
  for (const node of nodes) {
    await until(`${node.name} to be ready`, async () => { try { return (await fetch(`${node.url}/readyz`)).ok } catch { return false } }, 30000)
  }
}

/** What grew: the worst sample of the last third against that of the second. */
function growth(samples) {
  const third = Math.floor(samples.length / 3)
  const grown = []
  for (const role of ROLES) {
    for (const what of ['rss', 'fds']) {
      const top = (list) => Math.max(...list.map((s) => s.worst[role][what]))
      const [before, after] = [top(samples.slice(third, 2 * third)), top(samples.slice(2 * third))]
      console.log(`soak ${role} ${what} ${before} ${after} ${(after / before).toFixed(3)}`)
      if (third > 1 && after > before * GROWTH) grown.push(`${what} of ${role}: ${before} to ${after}`)
    }
  }
  return grown
}

async function main() {
  const database = await startPostgres(t, { settings: ['max_connections = 100'] })
  const { nodes } = await startCluster(t, { nodes: 3, edges: 2, database })
  const fleet = await Fleet.start(t, nodes, database)
  const samples = []
  const sums = { broadcasts: 0, deliveries: 0, repeated: 0, unordered: 0, crossed: 0, missed: 0, rows: 0, rowRepeats: 0, rowHoles: 0 }
  for (let k = 0; k < minutes; k++) {
    const killed = []
    const f = await fleet.phase(`minute ${k + 1}`, () => minute(fleet, nodes, killed))
    const s = await sample(nodes)
    samples.push(s)
    for (const name of ['deliveries', 'repeated', 'unordered', 'rows']) sums[name] += f[name]
    for (const name of ['crossed', 'missed', 'rowRepeats', 'rowHoles']) sums[name] += f[name].length
    sums.broadcasts += f.sent
    console.log(`minute ${k + 1}: killed ${killed.join(', ')}; ${f.deliveries} deliveries, ${f.missed.length} missed, ${f.repeated} repeated, ` +
      `${f.rows} rows, ${f.rowHoles.length} holes; unconfirmed ${s.held}; ` +
      ROLES.map((r) => `${r} ${s.worst[r].rss} KiB ${s.worst[r].fds} fds`).join(', ') + [...f.oddities, ...f.rowHoles].slice(0, 5).map((what) => `; ${what}`).join(''))
  }
  console.log(`soak ${Object.entries(sums).map(([k, v]) => `${k} ${v}`).join(', ')}`)
  const wrong = growth(samples)
  for (const name of ['repeated', 'unordered', 'crossed', 'rowRepeats']) if (sums[name] > 0) wrong.push(`${name}: ${sums[name]}`)
  if (samples.at(-1).held > 0) wrong.push(`publishes unconfirmed at rest: ${samples.at(-1).held}`)
  if (wrong.length) throw new Error(`not flat, or not right: ${wrong.join('; ')}`)
}

let status = 0
try { await main() } catch (err) { console.error(err); status = 1 }
for (const fn of cleanup) { try { await fn() } catch (err) { console.error(err); status = 1 } }
process.exit(status)
