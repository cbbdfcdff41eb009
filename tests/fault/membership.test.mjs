// SPDX-License-Identifier: Apache-2.0
// Goal: who may be in the cluster, and how a node comes and goes: names used twice, containers that return, keys that
// change, readiness, leaving. Real processes on loopback; the numbers are those of the cluster's properties.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort, root, SECRET, startCluster, startNode, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const EXIT_FATAL = 78

/** A node beside those of a cluster; settings of it in `env`. */
const beside = async (t, cluster, env, opts = {}) => startNode(t, {
  nodes: 1, edges: 1, ready: false, ...opts,
  env: {
    REALTIME_CLUSTER_LISTEN: `127.0.0.1:${await freePort()}`,
    REALTIME_CLUSTER_SEEDS: cluster.seeds,
    REALTIME_CLUSTER_KEY: cluster.key,
    ...env,
  },
})

/** Log lines of one event, as objects with the time in ms. */
function events(node, name) {
  return node.logText().split('\n').filter((line) => line.includes(` ev=${name} `) || line.endsWith(` ev=${name}`))
    .map((line) => ({
      line, ms: Date.parse(/ts=(\S+)/.exec(line)[1]),
      ...Object.fromEntries([...line.matchAll(/ (\w+)=("(?:[^"\\]|\\.)*"|\S+)/g)].map(([, k, v]) => [k, v.replace(/^"|"$/g, '')])),
    }))
}

/** Its exit code, once it has ended by itself. */
const exited = async (node) => {
  await until(`${node.name} to end`, () => node.child.exitCode !== null)
  return node.child.exitCode
}

/** Names of those whom a node holds for alive by what it logged of them, itself too; in order. */
function living(node) {
  const state = {}
  for (const e of events(node, 'member')) state[e.peer] = e.state
  return Object.keys(state).filter((name) => state[name] === 'alive').sort()
}

const see = (nodes, names) => Promise.all(nodes.map((node) =>
  until(`${node.name} to hold ${names} for alive, and nobody else`, () => living(node).join() === [...names].sort().join())))
const NAMES = ['test-1', 'test-2', 'test-3']

/** A cluster of three whose members know each other. */
async function three(t, opts = {}) {
  const cluster = await startCluster(t, { nodes: 3, edges: 1, ...opts })
  await see(cluster.nodes, NAMES)
  return cluster
}

for (const whom of ['another member', 'the holder itself']) {
  test(`3: of two nodes with one name the newcomer exits, having asked ${whom}`, async (t) => {
    const cluster = await three(t)
    const holder = cluster.nodes[0]
    const before = cluster.nodes.map((n) => n.pid('owner'))
    const newcomer = await beside(t, cluster, {
      REALTIME_NODE: holder.name,
      REALTIME_CLUSTER_SEEDS: whom === 'another member' ? cluster.nodes[1].mesh : holder.mesh,
    })
    assert.equal(await exited(newcomer), EXIT_FATAL)
    const text = `node name ${holder.name} is used by ${holder.mesh}; set REALTIME_NODE`
    const said = events(newcomer, 'node_refused')
    assert.ok(said.some((e) => e.proc.endsWith('owner') && e.err === text), newcomer.logText())
    assert.ok(said.some((e) => e.proc.endsWith('supervisor') && /REALTIME_NODE/.test(e.hint)), newcomer.logText())
    assert.equal(events(newcomer, 'owner_up').length, 1, 'its owner was not started again')
    await see(cluster.nodes, NAMES)
    assert.deepEqual(cluster.nodes.map((n) => n.pid('owner')), before)
  })
}

test('3: a container that returns with another address is accepted before it would be dead', async (t) => {
  const cluster = await three(t)
  const old = cluster.nodes[2]
  await old.signalAll('SIGKILL')
  const again = await beside(t, cluster, { REALTIME_NODE: old.name })
  const others = cluster.nodes.slice(0, 2)
  await again.ready()
  await see([again, ...others], NAMES)
  const up = events(again, 'link_up')[0].ms
  const asked = events(again, 'owner_up')[0].ms
  const dead = Math.min(...others.flatMap((n) => events(n, 'member')).filter((e) => e.peer === old.name && e.state === 'dead').map((e) => e.ms))
  t.diagnostic(`accepted after ${up - asked} ms`)
  // One that was slow to start may find its old life dead before it could be accepted.
  assert.ok(up < dead || dead < asked + 1500, `accepted after ${up - asked} ms, dead after ${dead - asked} ms`)
})

test('3: one that stood still while its name was taken exits when it goes on', async (t) => {
  const cluster = await three(t)
  const old = cluster.nodes[2]
  await old.signalAll('SIGSTOP')
  const heir = await beside(t, cluster, { REALTIME_NODE: old.name })
  await see([heir, ...cluster.nodes.slice(0, 2)], NAMES)
  await old.signalAll('SIGCONT')
  assert.equal(await exited(old), EXIT_FATAL)
  await see([heir, ...cluster.nodes.slice(0, 2)], NAMES)
})

/** A library that sets the wall clock of a process back by an hour. */
function slowClock(t) {
  const dir = mkdtempSync('/tmp/realtime-test-')
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  writeFileSync(join(dir, 'clock.c'), `
    #define _GNU_SOURCE
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    int clock_gettime(clockid_t clock, struct timespec *t)
    {
        int rv = (int)syscall(SYS_clock_gettime, clock, t);
        t->tv_sec -= clock == CLOCK_REALTIME ? 3600 : 0;
        return rv;
    }`)
  execFileSync('cc', ['-shared', '-fPIC', '-o', join(dir, 'clock.so'), join(dir, 'clock.c')])
  return join(dir, 'clock.so')
}

for (const where of ['in place', 'at another address']) {
  test(`2: a node that starts again ${where} with its clock an hour behind takes a higher epoch`, async (t) => {
    const cluster = await three(t)
    const [first, second, old] = cluster.nodes
    await old.signalAll('SIGKILL')
    const again = await beside(t, cluster, {
      REALTIME_NODE: old.name, LD_PRELOAD: slowClock(t),
      ...(where === 'in place' && { REALTIME_CLUSTER_LISTEN: old.mesh }),
    })
    await until('its epoch to be raised', () => events(again, 'epoch_raised').length > 0)
    await see([again, first, second], NAMES)
    await says(again, 200, '3 members')
    // They are linked under the new epoch, and stay so.
    const number = (hex) => BigInt(`0x${hex}`)
    const epoch = number(events(again, 'epoch_raised').at(-1).epoch)
    for (const node of [first, second]) assert.equal(number(node.rows('members').find((m) => m.name === old.name).epoch), epoch)
    const links = events(again, 'link_up').length
    await delay(1500)
    assert.equal(events(again, 'link_up').length, links)
    assert.equal(events(again, 'epoch_raised').length, 1)
  })
}

const readyz = async (node) => {
  const res = await fetch(`${node.url}/readyz`)
  return { status: res.status, cluster: (await res.json()).cluster }
}
const says = (node, status, cluster) => until(`${node.name} to say ${status} ${cluster}`, async () => {
  try {
    const r = await readyz(node)
    return r.status === status && r.cluster === cluster
  } catch { return false }
})

test('/readyz says no until a node has joined, and until as many are alive as expected', async (t) => {
  const alone = await startNode(t, { nodes: 1, edges: 1 })
  assert.deepEqual(await readyz(alone), { status: 200, cluster: 'alone' })

  // Two that know each other, of three that are expected; each edge of a node says so.
  const two = await startCluster(t, { nodes: 2, edges: 2, name: 'many', ready: false, env: { REALTIME_CLUSTER_EXPECT: '3' } })
  const [first, second] = two.nodes
  await says(first, 503, '2 members')
  await says(second, 503, '2 members')

  const third = await beside(t, two, { REALTIME_NODE: 'many-3', REALTIME_CLUSTER_EXPECT: '3' })
  for (const node of [first, second, third]) await says(node, 200, '3 members')

  // A new edge process and a new owner process are told as well.
  for (const role of ['edge', 'owner']) {
    const old = await first.kill(role)
    await until(`${role} to be back`, () => { const pid = first.pid(role); return pid && pid !== old })
    for (let i = 0; i < 8; i++) await says(first, 200, '3 members')
  }

  // One that is found dead counts no more.
  await third.signalAll('SIGKILL')
  await says(first, 503, '2 members')
  await says(second, 503, '2 members')
})

test('/readyz of a node whose seeds are silent: joining for three seconds, then alone', async (t) => {
  const node = await beside(t, { seeds: `127.0.0.1:${await freePort()}`, key: 'q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k=' }, {})
  await says(node, 503, 'joining')
  await says(node, 200, 'alone')
  const took = Date.now() - events(node, 'owner_up')[0].ms
  assert.ok(took > 2500 && took < 6000, `${took} ms`)
})

test('37: the key is changed in three steps; no link goes down, and afterwards the old one is refused', async (t) => {
  const dir = mkdtempSync('/tmp/realtime-test-ini-')
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const ini = join(dir, 'realtime.ini')
  const [older, newer] = [1, 2].map(() => randomBytes(32).toString('base64'))
  const write = (...keys) => writeFileSync(ini, `realtime_cluster_key = ${keys.join(',')}\n`)
  write(older)
  const fromFile = { REALTIME_CLUSTER_KEY: undefined }
  const cluster = await three(t, { args: ['--config', ini], env: fromFile })
  const [first, , third] = cluster.nodes
  const up = cluster.nodes.map((n) => events(n, 'link_up').length)

  const heard = await connect(t, third)
  const spoken = await connect(t, first)
  for (const s of [heard, spoken]) await s.join('realtime:keys', {}, { ref: '1' })
  let n = 0
  /** All nodes still reach each other, by links and by datagrams. */
  const works = async (names = NAMES) => {
    spoken.send('1', null, 'realtime:keys', 'broadcast', { type: 'broadcast', event: 'e', payload: { n: ++n } })
    assert.equal((await heard.event('realtime:keys', 'broadcast')).payload.payload.n, n)
    await delay(600) // a round of probes, so that each node has sealed something with what it holds now
    for (const node of cluster.nodes) {
      assert.ok(!events(node, 'member').some((e) => e.state === 'dead'), `${node.name} held somebody for dead`)
    }
    await see(cluster.nodes, names) // who was slow is suspected, and answers
  }

  let ids = []
  for (const keys of [[older, newer], [newer, older], [newer]]) {
    write(...keys)
    for (const node of cluster.nodes) {
      const before = events(node, 'cluster_keys_reloaded').length
      node.child.kill('SIGHUP')
      await until(`${node.name} to take the keys`, () => events(node, 'cluster_keys_reloaded').length > before)
      const said = events(node, 'cluster_keys_reloaded').at(-1)
      assert.equal(said.changed, '1')
      ids.push(said.keys)
      await works()
    }
  }
  // The same names on all nodes after each step; the first is the key that seals.
  const [a, b] = ids[0].split(',')
  assert.deepEqual(ids, [`${a},${b}`, `${b},${a}`, b].flatMap((x) => [x, x, x]))
  for (const [i, node] of cluster.nodes.entries()) {
    assert.equal(events(node, 'link_down').length, 0, `${node.name} lost a link`)
    assert.equal(events(node, 'link_up').length, up[i])
  }

  // Keys that cannot be read change nothing.
  write('nonsense')
  first.child.kill('SIGHUP')
  await until('the bad key to be refused', () => events(first, 'cluster_keys_refused').length === 1)
  assert.equal(events(first, 'cluster_keys_refused')[0].keys, b)
  assert.ok(!first.logText().includes('nonsense'), 'a mistyped key is nearly one, and is in the log')
  write(newer)

  const late = await beside(t, { seeds: cluster.seeds, key: older }, { REALTIME_NODE: 'late' })
  await until('the old key to be refused', () => events(first, 'mesh_refused').length > 0)
  await says(late, 200, 'alone')
  assert.deepEqual(living(late), ['late'])
  const good = await beside(t, { seeds: cluster.seeds, key: newer }, { REALTIME_NODE: 'good' })
  await see([good, ...cluster.nodes], ['good', ...NAMES])
  // A link that is made anew is made with the new key alone.
  await first.kill('owner')
  await until('the links of the new owner', () => events(first, 'link_up').length >= up[0] + 3 + 1)
  await see(cluster.nodes, ['good', ...NAMES])
  await works(['good', ...NAMES])
})

test('a node that is told to end is seen as left, never suspected, and its clients hear of it first', async (t) => {
  const cluster = await three(t)
  const [first, leaver, third] = cluster.nodes
  const s = await connect(t, leaver)
  await s.join('realtime:leave', {}, { ref: '1' })
  const closed = new Promise((resolve) => s.ws.on('close', (code) => resolve({ code, ms: Date.now() })))
  const start = Date.now()
  leaver.child.kill('SIGTERM')
  const { code, ms } = await closed
  assert.equal(code, 1012)
  const left = await Promise.all([first, third].map((node) => until(`${node.name} to see it leave`, () =>
    events(node, 'member').find((e) => e.peer === leaver.name && e.state === 'left'))))
  assert.equal(await exited(leaver), 0)
  t.diagnostic(`clients closed after ${ms - start} ms, left after ${left.map((e) => e.ms - start)} ms, ended after ${Date.now() - start} ms`)
  for (const e of left) {
    assert.ok(e.ms >= ms - 1, 'it left before its clients were told')
    assert.ok(e.ms - start <= 4000, `${e.ms - start} ms`)
  }
  await see([first, third], [first.name, third.name])
  for (const node of [first, third]) {
    const of = events(node, 'member').filter((e) => e.peer === leaver.name).map((e) => e.state)
    assert.deepEqual(of.filter((state) => /suspect|dead/.test(state)), [], `${node.name}: ${of}`)
  }
  // Nothing of an ordinary end asks for attention.
  for (const node of cluster.nodes) assert.ok(!/ lvl=(warn|error) /.test(node.logText()), node.logText())
  // It comes back under its name.
  leaver.start()
  await see(cluster.nodes, NAMES)
})

test('a name server that says nothing does not hold the end of a node', async (t) => {
  const dir = mkdtempSync('/tmp/realtime-test-')
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const silent = createSocket('udp4')
  t.after(() => silent.close())
  let asked = 0
  silent.on('message', () => { asked++ })
  await new Promise((resolve) => silent.bind(53, '127.53.0.53', resolve))
  writeFileSync(join(dir, 'resolv.conf'), 'nameserver 127.53.0.53\n')
  mkdirSync(join(dir, 'run'))
  const [port, admin, mesh] = [await freePort(), await freePort(), await freePort()]
  const log = openSync(join(dir, 'log'), 'a')
  // A mount namespace of its own, in which that is the name server.
  const node = spawn('unshare', ['--mount', 'sh', '-c', `mount --bind ${dir}/resolv.conf /etc/resolv.conf && exec "$0"`,
    join(process.env.BUILD_DIR ?? join(root, 'build'), 'realtimed')], {
    stdio: ['ignore', log, log],
    env: {
      PATH: process.env.PATH, REALTIME_JWT_SECRET: SECRET, REALTIME_NODE: 'patient', REALTIME_EDGES: '1',
      REALTIME_LISTEN: `127.0.0.1:${port}`, REALTIME_ADMIN_LISTEN: `127.0.0.1:${admin}`, REALTIME_RUNTIME_DIR: join(dir, 'run'),
      REALTIME_CLUSTER_LISTEN: `127.0.0.1:${mesh}`, REALTIME_CLUSTER_SEEDS: 'realtime.invalid:7946',
      REALTIME_CLUSTER_KEY: randomBytes(32).toString('base64'),
    },
  })
  closeSync(log)
  t.after(() => node.kill('SIGKILL'))
  const text = () => readFileSync(join(dir, 'log'), 'utf8')
  await until('the name server to be asked', () => {
    if (node.exitCode !== null) throw new Error(`needs root and unshare(1): ${text()}`)
    return asked > 0
  })
  const start = Date.now()
  node.kill('SIGTERM')
  await until('the node to end', () => node.exitCode !== null)
  t.diagnostic(`ended after ${Date.now() - start} ms`)
  assert.equal(node.exitCode, 0)
  assert.ok(!text().includes('stop_took_too_long'), text())
})
