// SPDX-License-Identifier: Apache-2.0
// Real processes for the tests: one node of the server or several that form a cluster, one Postgres.
import { spawn, spawnSync, execFileSync } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { createServer } from 'node:net'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, openSync, closeSync, existsSync, writeFileSync, appendFileSync, chmodSync, readdirSync, mkdirSync, chownSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { sign } from './jwt.mjs'
import { supabaseDatabase, supabaseEnv } from './supabase.mjs'

export const root = fileURLToPath(new URL('../..', import.meta.url))
export const SECRET = 'a-secret-for-tests-of-at-least-32-characters'
export const build = process.env.BUILD_DIR ?? join(root, 'build')
// TEST_ENV=supabase: nodes get the environment of Supabase's compose file, databases what its image has in them.
export const supabase = process.env.TEST_ENV === 'supabase'
// TEST_IMAGE=NAME: nodes run in containers of it.
const image = process.env.TEST_IMAGE

// Ports from 21000 up, below the range of outgoing connections. Each process of the test runner has a block of its
// own, so that a server that a test has stopped finds its port free again though other files run beside: the
// first port of the block is held for as long as the process lives.
const FIRST_PORT = 21000
const BLOCK = 220
const BLOCKS = 50
const tcpFree = (port) => new Promise((resolve) => {
  const server = createServer()
  server.once('error', () => resolve(false))
  server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)))
})
const udpFree = (port) => new Promise((resolve) => {
  const socket = createSocket('udp4')
  socket.once('error', () => socket.close(() => resolve(false)))
  socket.bind(port, '127.0.0.1', () => socket.close(() => resolve(true)))
})
const hold = (port) => new Promise((resolve) => {
  const server = createServer()
  server.once('error', () => resolve(false))
  server.listen(port, '127.0.0.1', () => { server.unref(); resolve(true) })
})
async function takeBlock() {
  for (let i = 0; i < BLOCKS; i++) {
    const first = FIRST_PORT + (process.pid + i) % BLOCKS * BLOCK
    if (await hold(first)) return first
  }
  throw new Error(`no block of ports is free from ${FIRST_PORT} on: ${BLOCKS} test processes run already`)
}
let block
let given = 0
/** Free for TCP and UDP. */
export async function freePort() {
  block ??= takeBlock()
  for (;;) {
    const port = await block + 1 + given++ % (BLOCK - 1)
    if (await tcpFree(port) && await udpFree(port)) return port
  }
}

// Waits until fn() gives something truthy; the deadline is only there to end a broken test.
export async function until(what, fn, ms = 20000) {
  const end = Date.now() + ms
  for (;;) {
    const value = await fn()
    if (value) return value
    if (Date.now() > end) throw new Error(`gave up after ${ms} ms waiting for: ${what}`)
    await delay(20)
  }
}

const tail = (file) => existsSync(file) ? readFileSync(file, 'utf8').split('\n').slice(-50).join('\n') : '(no log)'

/** By our names: who may come in, where, and the database. */
const ourEnv = (opts, host, port, secret) => ({
  REALTIME_JWT_SECRET: secret,
  REALTIME_LISTEN: `${host}:${port}`,
  REALTIME_EDGES: '2',
  REALTIME_NODE: 'test',
  ...(opts.database && {
    REALTIME_DATABASE_URL: opts.database.realtimeUrl,
    REALTIME_DATABASE_CHECK_URL: opts.database.checkUrl,
    REALTIME_AUTH_HELPERS: 'on',
  }),
})

/** The environment of one node, complete: what is not here is not set. */
function nodeEnv(opts, dir, port, admin) {
  const host = opts.place?.host ?? '127.0.0.1'
  const secret = opts.secret ?? SECRET
  const env = {
    PATH: process.env.PATH,
    ...(supabase
      ? { ...supabaseEnv({ host: '127.0.0.1', port: opts.database.port, password: 'x', secret }), PORT: String(port) }
      : ourEnv(opts, host, port, secret)),
    // What would be in the way of the nodes beside it.
    REALTIME_ADMIN_LISTEN: `127.0.0.1:${admin}`,
    REALTIME_RUNTIME_DIR: join(dir, 'run'),
    ...(opts.edges && { REALTIME_EDGES: String(opts.edges) }),
    ...opts.env,
  }
  for (const name of Object.keys(env)) if (env[name] === undefined) delete env[name]
  return env
}

/** What runs a container with this environment, on the network of the machine, as the owner of `dir`. */
const container = (env, dir) => ['docker', 'run', '--rm', '--network', 'host', '-v', `${dir}:${dir}`, '-u', `${process.getuid()}:${process.getgid()}`,
  ...Object.entries(env).flatMap(([name, value]) => name === 'PATH' ? [] : ['-e', `${name}=${value}`]), image]

/** Starts a node and does not wait for it. */
async function spawnNode(t, opts) {
  const dir = mkdtempSync('/tmp/realtime-test-')
  const log = join(dir, 'log')
  const port = await freePort()
  const admin = await freePort()
  const { host, within } = opts.place ?? { host: '127.0.0.1', within: [] }
  const env = nodeEnv(opts, dir, port, admin)
  const secret = env.REALTIME_JWT_SECRET ?? env.API_JWT_SECRET
  const [command, ...args] = [...image ? container(env, dir) : [...within, join(build, 'realtimed')], ...opts.args ?? []]
  const kill = (pid, signal) => { try { process.kill(pid, signal) } catch { /* gone */ } }
  let child, exit, ended
  mkdirSync(join(dir, 'run'))
  const node = {
    name: env.REALTIME_NODE,
    dir, host, port, admin, log,
    realtimectl: join(build, 'realtimectl'),
    mesh: env.REALTIME_CLUSTER_LISTEN,
    runtimeDir: env.REALTIME_RUNTIME_DIR,
    secret,
    url: `http://${host}:${port}`,
    adminUrl: `http://127.0.0.1:${admin}`,
    ws: `ws://${host}:${port}`,
    anonKey: secret && sign({ role: 'anon' }, secret),
    get child() { return child },
    token: (claims) => sign({ role: 'authenticated', ...claims }, secret),
    pids() {
      return readFileSync(join(env.REALTIME_RUNTIME_DIR, 'pids'), 'utf8').trim().split('\n')
        .map((line) => line.split(' ')).map(([role, index, pid]) => ({ role, index: Number(index), pid: Number(pid) }))
    },
    pid: (role, index = 0) => node.pids().find((p) => p.role === role && p.index === index)?.pid,
    async kill(role, index = 0, signal = 'SIGKILL') {
      const pid = node.pid(role, index)
      process.kill(pid, signal)
      return pid
    },
    ctl: (...args) => execFileSync(join(build, 'realtimectl'), ['--socket', join(env.REALTIME_RUNTIME_DIR, 'control.sock'), ...args], { encoding: 'utf8', stdio: 'pipe' }),
    rows: (...args) => node.ctl('--json', ...args).trim().split('\n').filter(Boolean).map((l) => JSON.parse(l)),
    /** realtimectl whatever its exit code: { status, rows, stderr }; rows are those of --json. */
    ask(...args) {
      const argv = ['--socket', join(env.REALTIME_RUNTIME_DIR, 'control.sock'), '--json', ...args]
      const { status, stdout, stderr } = spawnSync(join(build, 'realtimectl'), argv, { encoding: 'utf8' })
      return { status, rows: stdout.trim().split('\n').filter(Boolean).map((l) => JSON.parse(l)), stderr }
    },
    logText: () => readFileSync(log, 'utf8'),
    /** As after a power cut or its end: a new life of the same node. */
    start() {
      const fd = openSync(log, 'a')
      child = spawn(command, args, { env: image ? process.env : env, stdio: ['ignore', fd, fd] })
      closeSync(fd)
      exit = null
      ended = once(child, 'exit').then(([code, signal]) => { exit = { code, signal } })
    },
    /** All processes at once, the supervisor first, so that it starts none again; or SIGSTOP and SIGCONT. */
    async signalAll(signal) {
      const all = node.pids().map((p) => p.pid)
      for (const pid of new Set([child.pid, ...all])) kill(pid, signal)
      if (signal === 'SIGKILL') await ended
    },
    async stop() {
      if (exit) return exit
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 15000)
      await ended
      clearTimeout(timer)
      return exit
    },
    /** Until /readyz is good, and the database is reached if there is one. */
    async ready() {
      const want = opts.database && opts.databaseReady !== false ? /"database": ?"up"/ : /./
      await until(`node ${node.name} to be ready`, async () => {
        if (exit) throw new Error(`realtimed ended with ${JSON.stringify(exit)}:\n${tail(log)}`)
        try {
          const res = await fetch(`${node.url}/readyz`)
          return res.status === 200 && want.test(await res.text())
        } catch { return false }
      }, 30000)
    },
  }
  node.start()
  t.after(async () => {
    const killed = exit?.signal === 'SIGKILL' // by the test itself
    const result = await node.stop()
    if (t.passed === false || process.env.KEEP) process.stderr.write(`--- ${log}\n${tail(log)}\n`)
    else rmSync(dir, { recursive: true, force: true })
    const sanitizer = /ERROR: (Address|Leak|Undefined\w*)Sanitizer|runtime error:/
    if (existsSync(log) && sanitizer.test(readFileSync(log, 'utf8'))) throw new Error(`sanitizer report in ${log}`)
    if (result.signal === 'SIGKILL' && !killed) throw new Error(`realtimed did not stop within 15 s of SIGTERM; log: ${log}`)
  })
  return node
}

/**
 * Starts one node. opts: { env, edges = 2, database: handle of startPostgres, secret, args, ready = true }.
 * Stopped by t.after; on a failed test the end of its log is printed.
 *
 * With TEST_NODES=N it starts N nodes instead, unless opts.nodes says how many. What comes back is the first one,
 * but `url`, `ws` and `port` go round all of them, so that clients are spread; `pids` tells all processes.
 */
export async function startNode(t, opts = {}) {
  const count = opts.nodes ?? Number(process.env.TEST_NODES ?? 1)
  if (!Number.isInteger(count) || count < 1) throw new Error(`TEST_NODES is '${process.env.TEST_NODES}', it must be a number from 1`)
  if (supabase && !opts.database) opts = { ...opts, database: await startPostgres(t) }
  if (count > 1) return spread(await startCluster(t, { ...opts, nodes: count }))
  const node = await spawnNode(t, opts)
  if (opts.ready !== false) await node.ready()
  return node
}

function spread({ nodes }) {
  let turn = 0
  const next = () => nodes[turn++ % nodes.length]
  return Object.create(nodes[0], {
    nodes: { value: nodes },
    url: { get: () => next().url },
    ws: { get: () => next().ws },
    port: { get: () => next().port },
    pids: { value: () => nodes.flatMap((n) => n.pids()) },
    stop: { value: () => Promise.all(nodes.map((n) => n.stop())) },
  })
}

/**
 * Starts nodes that know each other, on loopback; opts as for startNode, and { nodes = 3, name = 'test' }.
 * All get the same database, key and seeds; each its own name (test-1 ...), ports and runtime directory.
 * `places` says where they run, one each: { host: address, within: argv that runs a command there }.
 * Comes back when every node is ready and sees all others alive: { nodes, key, seeds, members }.
 */
export async function startCluster(t, opts = {}) {
  const key = randomBytes(32).toString('base64')
  const addresses = []
  while (addresses.length < (opts.nodes ?? 3)) addresses.push(`${opts.places?.[addresses.length].host ?? '127.0.0.1'}:${await freePort()}`)
  const seeds = addresses.join(',')
  const nodes = []
  for (const [i, address] of addresses.entries()) {
    const env = {
      REALTIME_NODE: `${opts.name ?? 'test'}-${i + 1}`,
      REALTIME_CLUSTER_LISTEN: address,
      REALTIME_CLUSTER_SEEDS: seeds,
      REALTIME_CLUSTER_KEY: key,
      ...opts.env,
    }
    nodes.push(await spawnNode(t, { ...opts, env, place: opts.places?.[i] }))
  }
  const cluster = {
    nodes, key, seeds,
    /** Until each of `among` shows exactly `count` members alive. */
    async members(count = nodes.length, among = nodes, ms = 30000) {
      for (const node of among) await until(`${node.name} to see ${count} alive`, () => alive(node) === count, ms)
    },
  }
  if (opts.ready === false) return cluster
  for (const node of nodes) await node.ready()
  if (knowsMembers(nodes[0])) await cluster.members()
  return cluster
}

/** How many members a node holds for alive; 0 while it does not answer. */
function alive(node) {
  try { return node.rows('members', '--local').filter((m) => m.state === 'alive').length } catch { return 0 }
}

/** A build before the mesh has no such command (exit code 2: usage); its nodes run each alone. */
function knowsMembers(node) {
  try { node.ctl('members') } catch (e) { return e.status !== 2 }
  return true
}

const pgbin = () => {
  const versions = existsSync('/usr/lib/postgresql') ? readdirSync('/usr/lib/postgresql') : []
  const best = versions.map(Number).filter((v) => v >= 14).sort((a, b) => b - a)[0]
  if (!best) throw new Error('no PostgreSQL server 14 or later under /usr/lib/postgresql; apt-get install postgresql')
  return `/usr/lib/postgresql/${best}/bin`
}

const asPostgres = (argv) => process.getuid() === 0
  ? ['setpriv', ['--reuid=postgres', '--regid=postgres', '--init-groups', ...argv]]
  : [argv[0], argv.slice(1)]

/** Starts an own Postgres with logical replication. opts: { settings: ['wal_level = replica', …], host = '127.0.0.1' } */
export async function startPostgres(t, opts = {}) {
  const bin = pgbin()
  const dir = mkdtempSync('/tmp/realtime-pg-')
  const data = join(dir, 'data')
  const host = opts.host ?? '127.0.0.1'
  const port = await freePort()
  chmodSync(dir, 0o755)
  mkdirSync(data)
  if (process.getuid() === 0) {
    const uid = Number(execFileSync('id', ['-u', 'postgres'], { encoding: 'utf8' }))
    chownSync(data, uid, uid)
  }
  const sh = (...argv) => { const [cmd, args] = asPostgres(argv); return execFileSync(cmd, args, { cwd: '/', stdio: 'pipe', encoding: 'utf8' }) }
  sh(`${bin}/initdb`, '-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--locale=C.UTF-8', '--no-sync')
  appendFileSync(join(data, 'postgresql.conf'), [
    `port = ${port}`, `listen_addresses = '${host}'`, "unix_socket_directories = ''", 'wal_level = logical',
    "timezone = 'UTC'", 'fsync = off', 'max_connections = 60', ...(opts.settings ?? []), ''].join('\n'))
  if (opts.host) appendFileSync(join(data, 'pg_hba.conf'), 'host all all samenet trust\nhost replication all samenet trust\n')
  const log = join(data, 'server.log')
  const start = () => sh(`${bin}/pg_ctl`, '-D', data, '-w', '-t', '60', '-l', log, 'start')
  start()
  const clients = []
  /** One database of the server, as an application has it. */
  const database = (name) => {
    const url = (user) => `postgresql://${user}:x@${host}:${port}/${name}`
    const psql = (...args) => execFileSync(`${bin}/psql`, ['-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', url('postgres'), ...args], { encoding: 'utf8', stdio: 'pipe' })
    psql('-v', 'realtime_password=x', '-v', 'check_password=x', '-f', join(root, 'deploy/sql/dev.sql'))
    if (supabase) psql('-c', supabaseDatabase('x'), '-f', join(root, 'deploy/sql/0003_auth_helpers.sql'))
    return {
      port, psql,
      url: url('postgres'),
      realtimeUrl: url('realtime'),
      checkUrl: url('realtime_check'),
      /** A connected client of the pg package, ended with the test. */
      async connect(user = 'postgres') {
        const client = new pg.Client({ connectionString: url(user) })
        client.on('error', () => {}) // the server may be stopped under it on purpose
        await client.connect()
        clients.push(client)
        return client
      },
    }
  }
  const first = database('postgres')
  const db = {
    ...first,
    dir, log,
    /** Another database of the same server. */
    another(name) {
      first.psql('-c', `create database ${name}`)
      return database(name)
    },
    async stop(mode = 'fast') { sh(`${bin}/pg_ctl`, '-D', data, '-m', mode, '-w', 'stop') },
    async start() { start() },
  }
  t.after(async () => {
    for (const c of clients) await c.end().catch(() => {})
    try { sh(`${bin}/pg_ctl`, '-D', data, '-m', 'immediate', '-w', 'stop') } catch { /* a test stopped it */ }
    rmSync(dir, { recursive: true, force: true })
  })
  return db
}
