// SPDX-License-Identifier: Apache-2.0
// Goal: three nodes, each in a network namespace of its own, whose network breaks or whose processes stand still. What
// clients notice is what is promised: nothing twice, one order, no row lost, presence right on every side, and all
// settled within ten seconds after the end of it.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startCluster, startPostgres, until } from '../harness/process.mjs'
import { Fleet, quantile, readerOf, rows } from './fleet.mjs'
import { delays, losses, rowGap } from './check.mjs'
import { inOwnNetwork, Network } from './namespaces.mjs'
import { always, report } from './promises.mjs'

const NODES = 3
const SETTLE_MS = 10000
const VIEW_MS = 6000
const ROW_GAP_SILENT_MS = 7500
// Its supervisor takes it for dead after 5.8 s, lets it write a core for 2 s and starts another one within 1 s.
const ROW_GAP_HUNG_MS = 10000
const SIDE_WHOLE_MS = 5000 // after that a side loses nothing of its own
const LEAVES_MS = 5000
// A node that hears nobody asks the others one after the other, and more slowly, since it may be the one that is ill.
const LEAVES_ALONE_MS = 6500
const HANG_MS = 3000
const UNHURT_MS = 500 // p99 of broadcasts while somebody else hangs for HANG_MS
const CUT_OFF_MS = 200 // what an owner has ordered last, and not sent to all, when it is stopped

/** The view of a node, if it holds as many for alive. */
async function viewOf(node, count) {
  const list = await rows(node, 'members', '--local')
  return list.filter((m) => m.state === 'alive').length === count ? list.find((m) => m.self)?.view : undefined
}

async function oneView(nodes) {
  const seen = await Promise.all(nodes.map((n) => viewOf(n, nodes.length)))
  return seen[0] !== undefined && seen.every((v) => v === seen[0])
}

/** { view, presence, broadcasts }: ms from `since` until all have one view, all clients show who is there, and all hear all. */
async function settle(fleet, nodes, since) {
  const took = {}
  const note = async (what, wait) => { await wait; took[what] = Date.now() - since }
  await Promise.all([
    note('view', until('one view of all nodes', () => oneView(nodes)).then(() => fleet.ended(since))),
    note('presence', fleet.whole('after the end of the fault')),
    note('broadcasts', until('broadcasts to reach everybody within 300 ms', () => fleet.flows())),
  ])
  return took
}

/** What was lost, by time: before `from`, until `to`, and after it up to when. */
function tell(t, f, what, list, from, to) {
  const parts = [list.filter((l) => l.at < from), list.filter((l) => l.at >= from && l.at < to), list.filter((l) => l.at >= to)]
  const last = Math.max(0, ...list.map((l) => l.at - to))
  t.diagnostic(`${f.name}: lost ${what}: ${list.length}; ${parts[0].length} before, ${parts[1].length} during, ${parts[2].length} after, last of them ${last} ms after`)
  return last
}

/** Members of the clients of some nodes as clients of others were shown them: at most one leave and one join each. */
function flaps(t, fleet, name, of, by) {
  const seen = [...fleet.shown.values()].filter((s) => of.includes(s.of.home) && by.includes(s.client.home))
  const most = (what) => Math.max(0, ...seen.map((s) => s[what]))
  t.diagnostic(`${name}: most leaves of one client shown to one of another node ${most('leaves')}, joins ${most('joins')}`)
  return { leaves: most('leaves'), joins: most('joins') }
}

function settled(t, f, took, heard) {
  const all = Math.max(took.presence, took.broadcasts, heard)
  t.diagnostic(`${f.name}: one view after ${took.view} ms, presence right after ${took.presence} ms, all broadcasts heard within 300 ms after ${took.broadcasts} ms, last lost broadcast ${heard} ms after`)
  assert.ok(took.view <= VIEW_MS, `one view only after ${took.view} ms`)
  assert.ok(all <= SETTLE_MS, `settled only after ${all} ms`)
}

/** Which node orders a topic, by name, in the view of one. */
async function ownersOf(topics, node) {
  const list = await Promise.all(topics.map((topic) => rows(node, 'ring', topic.replace('realtime:', ''))))
  return new Map(topics.map((topic, i) => [topic, list[i][0].owner]))
}

/** Events of other nodes that stayed missing at any, as the servers counted. */
async function countedLost(node) {
  return (await rows(node, 'topics')).reduce((sum, topic) => sum + topic.lost, 0)
}

/** What clients were told of changes, by node and second. */
function warnings(fleet, since) {
  const said = fleet.clients.flatMap((c) => c.life.rows.warned.map((w) => `${c.home.name} after ${Math.round((w.at - since) / 1000)} s: ${w.message}`))
  return [...new Set(said)].sort().join('; ') || 'nothing'
}

const on = (...nodes) => (life) => nodes.includes(life.node)
/** Of holes in the rows, those of clients that were told of none. */
const untold = (f) => f.rowHoles.filter((h) => !/, told/.test(h))

async function cases(t) {
  const net = await Network.start(t, NODES)
  const database = await startPostgres(t, { settings: ['max_connections = 100'], host: net.hub })
  const { nodes } = await startCluster(t, { places: net.places, nodes: NODES, edges: 2, database })
  const fleet = await Fleet.start(t, nodes, database)
  const others = (node) => nodes.filter((n) => n !== node)
  const reading = () => until('a node to read', () => readerOf(nodes))

  /** Load while the network is broken by `damage` for so long, healed, and settled. */
  const broken = (name, ms, damage, during = () => {}) => fleet.phase(name, async () => {
    const since = Date.now()
    try {
      await damage()
      fleet.ended()
      await Promise.all([delay(ms), during(since)])
    } finally { await net.heal() }
    const healed = Date.now()
    const took = await settle(fleet, nodes, healed)
    await delay(1000) // of load in a whole cluster
    return { since, healed, took }
  })

  /** A whole node stands still for 10 s. */
  async function still(t, name, node) {
    const f = await fleet.phase(name, async () => {
      const since = Date.now()
      await node.signalAll('SIGSTOP')
      fleet.ended()
      await delay(10000)
      await node.signalAll('SIGCONT')
      const healed = Date.now()
      const took = await settle(fleet, nodes, healed)
      await delay(1000)
      return { since, healed, took, gap: rowGap(fleet, since, (life) => life.node !== node) }
    })
    const lost = losses(f)
    const inner = lost.filter((l) => l.from.node !== node && l.to.node !== node)
    const heard = tell(t, f, 'at clients of the node or by them', lost.filter((l) => !inner.includes(l)), f.since, f.healed)
    const heardInner = tell(t, f, 'between clients of other nodes', inner, f.since, f.healed)
    const shown = flaps(t, fleet, name, [node], others(node))
    t.diagnostic(`${name}: longest time without a change at clients of other nodes ${f.gap} ms`)
    always(t, f)
    settled(t, f, f.took, Math.max(heard, heardInner))
    assert.ok(shown.leaves <= 1 && shown.joins <= 1, 'clients of the node flapped')
    assert.equal(f.closes, 0, 'sockets closed')
    assert.deepEqual(untold(f), [], 'rows were lost')
    assert.ok(f.rowHoles.every((h) => h.includes(`on ${node.name}:`)), 'rows were lost at clients of other nodes')
    assert.ok(f.gap <= ROW_GAP_SILENT_MS, `no change for ${f.gap} ms`)
    assert.deepEqual(inner.filter((l) => Math.abs(l.at - f.since) > CUT_OFF_MS), [], 'broadcasts between clients of other nodes were lost')
  }

  await t.test('a node that does not read the WAL stands still for 10 s', async (t) => {
    const reader = await reading()
    await still(t, 'node still', others(reader)[0])
  })

  await t.test('the node that reads the WAL stands still for 10 s', async (t) => {
    await still(t, 'reader still', await reading())
  })

  for (const role of ['db', 'owner']) {
    await t.test(`the ${role} of the node that reads the WAL stands still until changes flow again`, async (t) => {
      const node = await reading()
      const f = await fleet.phase(`reader's ${role} still`, async () => {
        const since = Date.now()
        const pid = await node.kill(role, 0, 'SIGSTOP')
        if (role === 'owner') fleet.ended()
        const at = fleet.inserted + 100 // 2 s of rows
        const has = () => fleet.clients.filter((c) => c.home !== node).every((c) => c.life.rows.ids.at(-1) >= at)
        try { await until('changes to flow again', has, 30000) } finally { try { process.kill(pid, 'SIGCONT') } catch { /* ended by its supervisor */ } }
        const healed = Date.now()
        const took = await settle(fleet, nodes, healed)
        await delay(1000)
        return { since, healed, took, gap: rowGap(fleet, since, (life) => life.node !== node) }
      })
      t.diagnostic(`${f.name}: longest time without a change at clients of other nodes ${f.gap} ms`)
      const heard = tell(t, f, 'in all', losses(f), f.since, f.healed)
      always(t, f)
      settled(t, f, f.took, heard)
      assert.equal(f.closes, 0, 'sockets closed')
      assert.deepEqual(untold(f), [], 'rows were lost')
      assert.ok(f.gap <= ROW_GAP_HUNG_MS, `no change for ${f.gap} ms`)
    })
  }

  for (const [name, damage] of [['both ways', () => net.cut(0, 1)], ['one way', () => net.cutOneWay(0, 1)]]) {
    await t.test(`two nodes do not reach each other for 15 s, ${name}, the third reaches both`, async (t) => {
      const [a, b] = nodes
      const owner = await ownersOf(fleet.topics, nodes[2])
      t.diagnostic(`topics ordered by the three: ${nodes.map((n) => fleet.topics.filter((topic) => owner.get(topic) === n.name).length)}`)
      const before = await countedLost(a)
      const f = await broken(`cut ${name}`, 15000, damage)
      const counted = await countedLost(a) - before
      const missed = nodes.reduce((sum, node) => sum + new Set(f.missed.filter(({ life }) => life.node === node).map(({ m }) => m)).size, 0)
      t.diagnostic(`${f.name}: broadcasts that did not reach a node ${missed}, as the servers counted ${counted}`)
      const lost = losses(f)
      // Nobody relays: what one of the two orders does not reach clients of the other one, nor does what they say.
      const cut = lost.filter((l) => [[a, b], [b, a]].some(([by, far]) => owner.get(l.topic) === by.name && (on(far)(l.from) || on(far)(l.to))))
      const heard = tell(t, f, 'of topics that one of the two orders, at or by clients of the other', cut, f.since, f.healed)
      const rest = lost.filter((l) => !cut.includes(l))
      tell(t, f, 'in all other ways', rest, f.since, f.healed)
      always(t, f)
      settled(t, f, f.took, heard)
      assert.equal(counted, missed, 'the servers counted other losses than clients had')
      assert.equal(rest.length, 0, 'broadcasts were lost that had a way')
      assert.equal(fleet.shown.size, 0, 'presence changed')
      assert.equal(f.closes, 0, 'sockets closed')
      assert.deepEqual(untold(f), [], 'rows were lost')
    })
  }

  await t.test('of all packets between nodes 5 % are lost and the others take 20 to 60 ms, for 20 s: nobody dies', async (t) => {
    const dead = () => nodes.flatMap((n) => n.logText().split('\n').filter((l) => / ev=member .*state=dead/.test(l)))
    const suspects = () => nodes.flatMap((n) => n.logText().split('\n').filter((l) => / ev=member .*state=suspect/.test(l))).length
    const [before, suspected] = [dead(), suspects()]
    let fast
    const f = await broken('loss and delay', 20000, async () => {
      const slow = { minMs: 20, maxMs: 60, seed: 1 + Math.floor(Math.random() * 1e6) }
      t.diagnostic(`seed of the delay ${slow.seed}`)
      fast = await net.slow(slow)
      await net.lose(0.05)
    })
    t.diagnostic(`${f.name}: ${await fast()}`)
    await fleet.whole('without the slow line')
    const far = delays(fleet, f.since, () => true)
    report(t, `${f.name}: broadcasts took`, far.length ? far : [0])
    t.diagnostic(`${f.name}: suspected ${suspects() - suspected} times, dead ${dead().length - before.length}`)
    const heard = tell(t, f, 'in all', losses(f), f.since, f.healed)
    always(t, f)
    settled(t, f, f.took, heard)
    assert.deepEqual(dead().slice(before.length), [], 'somebody was declared dead')
    assert.equal(f.closes, 0, 'sockets closed')
    assert.equal(losses(f).length, 0, 'broadcasts were lost')
    assert.equal(fleet.shown.size, 0, 'presence changed')
    assert.deepEqual(f.rowHoles, [], 'rows were lost')
  })

  await t.test('P14: two nodes and one do not reach each other for 20 s: each side is right by itself, then all', async (t) => {
    const [a, ...rest] = nodes
    const side = {}
    const f = await broken('split', 20000, () => net.cut(0, [1, 2]), async (since) => {
      const shows = (c) => [...c.life.topics].every(([topic, { presence }]) => fleet.clients.every((other) =>
        !other.topics.includes(topic) || (presence?.[other.key] !== undefined) === ((other.home === a) === (c.home === a))))
      const own = (nodes) => until(`clients of ${nodes.map((n) => n.name)} to show each other alone`,
        () => fleet.clients.every((c) => !nodes.includes(c.home) || shows(c))).then(() => Date.now() - since)
      ;[side.one, side.two] = await Promise.all([own([a]), own(rest)])
      await until('a view on each side', async () => await viewOf(a, 1) && await viewOf(rest[0], 2) && await viewOf(rest[0], 2) === await viewOf(rest[1], 2))
      side.view = Date.now() - since
    })
    t.diagnostic(`${f.name}: presence right with the two after ${side.two} ms, with the one after ${side.one} ms, views after ${side.view} ms`)
    const lost = losses(f)
    const across = lost.filter((l) => (l.from.node === a) !== (l.to.node === a))
    const inner = lost.filter((l) => !across.includes(l))
    const heard = tell(t, f, 'between the sides', across, f.since, f.healed)
    const heardInner = tell(t, f, 'inside a side', inner, f.since, f.healed)
    const late = inner.filter((l) => l.at > f.since + SIDE_WHOLE_MS && l.at < f.healed)
    const shown = [flaps(t, fleet, f.name, [a], rest), flaps(t, fleet, f.name, rest, [a])]
    t.diagnostic(`${f.name}: what clients were told of changes: ${warnings(fleet, f.since)}`)
    always(t, f)
    settled(t, f, f.took, Math.max(heard, heardInner))
    assert.ok(side.two <= LEAVES_MS, `presence of the one stayed for ${side.two} ms`)
    assert.ok(side.one <= LEAVES_ALONE_MS, `presence of the two stayed for ${side.one} ms`)
    assert.equal(late.length, 0, 'broadcasts inside a side were lost')
    for (const s of shown) assert.ok(s.leaves <= 1 && s.joins <= 1, 'clients flapped')
    assert.equal(f.closes, 0, 'sockets closed')
    assert.deepEqual(untold(f), [], 'rows were lost')
  })

  for (const role of ['edge', 'owner', 'db']) {
    await t.test(`${role === 'edge' ? 'an' : 'the'} ${role} of a node stands still for 3 s: nobody else suffers`, async (t) => {
      const node = role === 'db' ? await reading() : nodes[1]
      const pid = node.pid(role)
      const hung = new Set()
      if (role === 'edge') {
        for (const c of fleet.clients.filter((x) => x.home === node)) {
          if (await net.places[nodes.indexOf(node)].acceptedBy(c.life.socket.ws._socket.localPort) === pid) hung.add(c.life)
        }
      } else if (role === 'owner') {
        for (const c of fleet.clients.filter((x) => x.home === node)) hung.add(c.life)
      }
      const f = await fleet.phase(`${role} still`, async () => {
        const since = Date.now()
        process.kill(pid, 'SIGSTOP')
        if (role === 'owner') fleet.ended()
        await delay(HANG_MS)
        process.kill(pid, 'SIGCONT')
        const healed = Date.now()
        const took = await settle(fleet, nodes, healed)
        return { since, healed, took }
      })
      t.diagnostic(`${f.name}: ${hung.size} clients stood still with it`)
      const free = delays(fleet, f.since, (life) => !hung.has(life))
      report(t, `${f.name}: broadcasts between the other clients took`, free)
      report(t, `${f.name}: all broadcasts took`, delays(fleet, f.since, () => true))
      t.diagnostic(`${f.name}: longest time without a change ${rowGap(fleet, f.since, (life) => !hung.has(life))} ms`)
      const lost = losses(f)
      const heard = tell(t, f, 'in all', lost, f.since, f.healed)
      const shown = flaps(t, fleet, f.name, [node], others(node))
      always(t, f)
      settled(t, f, f.took, heard)
      assert.equal(f.closes, 0, 'sockets closed')
      assert.deepEqual(f.rowHoles, [], 'rows were lost')
      if (role === 'owner') {
        assert.ok(shown.leaves <= 1 && shown.joins <= 1, 'clients of the node flapped')
      } else {
        assert.equal(lost.length, 0, 'broadcasts were lost')
        assert.equal(fleet.shown.size, 0, 'presence changed')
        assert.ok(quantile(free, 0.99) < UNHURT_MS, `broadcasts between other clients took ${quantile(free, 0.99)} ms`)
      }
    })
  }
}

if (inOwnNetwork(import.meta.url)) test('a broken network, three nodes', cases)
