// SPDX-License-Identifier: Apache-2.0
// Goal: on three nodes, SIGKILL of any process or of a whole node costs clients no more than is promised: nothing
// twice, one order, each publisher in its order, no row lost, presence right again in bounded time.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startCluster, startPostgres, until } from '../harness/process.mjs'
import { Fleet, quantile, readerOf } from './fleet.mjs'
import { delays, rowGap } from './check.mjs'
import { always, report } from './promises.mjs'

const NODES = 3
const KILLS = 10
const EDGE_LEAVES_P99_MS = 300
const NODE_LEAVES_P99_MS = 5000
const READER_GAP_MS = 2000 // no silence is waited for, which takes longer before anybody is dead; 120 ms on an idle machine

const gone = (what, fleet, since) => until(what, () => !fleet.showsDead(since))
  .catch((err) => { throw new Error(`${err.message}: ${fleet.showsDead(since)}`) })

/** Kills one process of each node in turn, so that none comes into the back-off of its supervisor. */
async function killRole(nodes, role, each = () => {}) {
  for (let k = 0; k < KILLS; k++) {
    const node = nodes[k % NODES]
    const index = role === 'edge' ? Math.floor(k / NODES) % 2 : 0
    const since = Date.now()
    const old = await node.kill(role, index)
    await each(since)
    await until(`${role} of ${node.name} to be back`, () => { const pid = node.pid(role, index); return pid && pid !== old })
    await delay(500)
  }
}

test('SIGKILL under load, three nodes', async (t) => {
  const database = await startPostgres(t, { settings: ['max_connections = 100'] })
  const { nodes } = await startCluster(t, { nodes: NODES, edges: 2, database })
  const fleet = await Fleet.start(t, nodes, database)

  await t.test(`of an edge, ${KILLS} times`, async (t) => {
    const ms = []
    const f = await fleet.phase('edge', () => killRole(nodes, 'edge', async (since) => {
      const watch = fleet.watch(since)
      await delay(100)
      await gone('leaves of the edge', fleet, since)
      ms.push(...watch.ms)
    }))
    report(t, 'leaves after the death of an edge', ms)
    const { stayed } = always(t, f)
    const machine = quantile(delays(fleet, 0, (life) => life.closedAt === Infinity), 1)
    t.diagnostic(`slowest broadcast meanwhile ${machine} ms`)
    assert.equal(f.missed.length, 0, 'I4: broadcasts were missed')
    assert.equal(stayed.length, 0, 'broadcasts of clients that stayed were lost')
    assert.deepEqual(f.rowHoles, [], 'rows were lost')
    // What stood still meanwhile, the machine or this process, is no matter of the edge.
    assert.ok(quantile(ms, 0.99) <= EDGE_LEAVES_P99_MS + machine, `presence leaves after the death of an edge: p99 is over ${EDGE_LEAVES_P99_MS} + ${machine} ms`)
  })

  await t.test(`of an owner, ${KILLS} times`, async (t) => {
    const f = await fleet.phase('owner', () => killRole(nodes, 'owner', () => fleet.ended()))
    const { stayed } = always(t, f)
    assert.equal(f.closes, 0, 'sockets closed')
    assert.equal(stayed.length, 0, 'broadcasts that edges held were lost')
    assert.deepEqual(f.rowHoles, [], 'rows were lost')
  })

  await t.test(`of a db, ${KILLS} times`, async (t) => {
    const f = await fleet.phase('db', () => killRole(nodes, 'db'))
    always(t, f)
    assert.equal(f.closes, 0, 'sockets closed')
    assert.equal(f.missed.length + f.unheard.length, 0, 'broadcasts were lost')
    assert.deepEqual(f.rowHoles, [], 'rows were lost')
  })

  await t.test(`of a node, ${KILLS} times`, async (t) => {
    const dead = [], back = [], gaps = []
    const f = await fleet.phase('node', async () => {
      for (let k = 0; k < KILLS; k++) {
        const node = nodes[k % NODES]
        const reader = await readerOf(nodes)
        const since = Date.now()
        const watch = fleet.watch(since)
        await node.signalAll('SIGKILL')
        fleet.ended()
        const stays = k % 2 === 0 // until it is dead for all; else it returns before anybody noticed
        if (stays) {
          await delay(100)
          await gone(`leaves of ${node.name}`, fleet, since)
        }
        node.start()
        await until(`${node.name} to be ready`, async () => { try { return (await fetch(`${node.url}/readyz`)).status === 200 } catch { return false } })
        await fleet.whole(`after the return of ${node.name}`)
        ;(stays ? dead : back).push(...watch.ms) // those who go home leave as well
        await fleet.goHome()
        if (reader === node) gaps.push(rowGap(fleet, since, (life) => life.node !== node))
        await fleet.whole(`at home`)
      }
    })
    report(t, 'leaves after the death of a node', dead)
    report(t, 'leaves of a node that returned at once', back)
    if (gaps.length) report(t, 'gap of changes when the reading node is killed', gaps)
    always(t, f)
    assert.ok(quantile([...dead, ...back], 0.99) <= NODE_LEAVES_P99_MS, `presence leaves after the death of a node: p99 is over ${NODE_LEAVES_P99_MS} ms`)
    assert.ok(Math.max(0, ...gaps) <= Math.max(...dead) + READER_GAP_MS, `gap of changes, killed: over ${Math.max(...dead)} ms, until it was seen dead, + ${READER_GAP_MS} ms`)
    assert.deepEqual(f.rowHoles, [], 'rows were lost')
  })

  await t.test('SIGTERM of the node that reads the WAL', async (t) => {
    const gaps = []
    const f = await fleet.phase('planned', async () => {
      for (let k = 0; k < 3; k++) {
        const node = await until('a node to read', () => readerOf(nodes))
        const since = Date.now()
        await node.stop()
        gaps.push(rowGap(fleet, since, (life) => life.node !== node))
        node.start()
        await node.ready()
        await fleet.whole(`after the return of ${node.name}`)
        await fleet.goHome()
        await fleet.whole('at home')
      }
    })
    report(t, 'gap of changes when the reading node leaves', gaps)
    always(t, f)
    assert.ok(Math.max(...gaps) <= READER_GAP_MS, `gap of changes, planned: over ${READER_GAP_MS} ms`)
    assert.deepEqual(f.rowHoles, [], 'rows were lost')
  })
})
