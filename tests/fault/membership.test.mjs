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
