// SPDX-License-Identifier: Apache-2.0
// Goal: who may be in the cluster, and how a node comes and goes: names used twice, containers that return, keys that
// change, readiness, leaving. Real processes on loopback; the numbers are those of the cluster's properties.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { freePort, startCluster, startNode, until } from '../harness/process.mjs'

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

test('3: a container that returns with another address is accepted within 1.5 s', async (t) => {
  const cluster = await three(t)
  const old = cluster.nodes[2]
  await old.signalAll('SIGKILL')
  const again = await beside(t, cluster, { REALTIME_NODE: old.name })
  const others = cluster.nodes.slice(0, 2)
  await again.ready()
  await see([again, ...others], NAMES)
  const up = events(again, 'link_up')
  const took = up[0].ms - events(again, 'owner_up')[0].ms
  t.diagnostic(`accepted after ${took} ms`)
  assert.ok(took <= 1500, `${took} ms`)
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
