// SPDX-License-Identifier: Apache-2.0
// Goal: any node answers realtimectl for the whole cluster; who does not answer is named, and nothing else is missing.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as dial, createServer } from 'node:net'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { isDeepStrictEqual } from 'node:util'
import { SECRET, freePort, root, startCluster, startNode, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const realtimectl = join(process.env.BUILD_DIR ?? join(root, 'build'), 'realtimectl')
const { nodes } = await startCluster({ after }, { nodes: 3 })
const [n1, n2, n3] = nodes
const names = nodes.map((n) => n.name)
const byName = (rows) => Object.fromEntries(rows.map((r) => [r.name, r]))
const sum = (list) => list.reduce((a, b) => a + b, 0)

test('members: the same from every node, with what each says of itself', async (t) => {
  await Promise.all([connect(t, n1), connect(t, n1), connect(t, n3)])
  for (const node of nodes) {
    const rows = await until('sockets to be counted', () => {
      const got = node.rows('members')
      return sum(got.map((r) => r.sockets)) === 3 && got
    })
    assert.deepEqual(rows.map((r) => r.name), names)
    for (const r of rows) {
      for (const key of ['name', 'state', 'incarnation', 'partitions', 'addr', 'epoch', 'weight', 'edges', 'sockets', 'rtt_ms', 'health', 'build', 'view', 'linked']) {
        assert.ok(key in r, `${key} is missing`)
      }
      assert.equal(r.state, 'alive')
      assert.equal(r.linked, r.name !== node.name)
      assert.equal(r.addr, nodes.find((n) => n.name === r.name).mesh)
      assert.equal(r.edges, 2)
    }
    assert.equal(sum(rows.map((r) => r.partitions)), 4096)
    assert.equal(new Set(rows.map((r) => r.view)).size, 1)
    assert.deepEqual(rows.map((r) => [r.name, r.sockets]), [[n1.name, 2], [n2.name, 0], [n3.name, 1]])
    assert.match(node.ctl('members'), /\(3 of 3 agree\).*key ids [0-9a-f]{4}\*/)
  }
  const epochs = nodes.map((n) => n.rows('members').map((r) => r.epoch).join())
  assert.equal(new Set(epochs).size, 1)
})

test('members --links and --why', () => {
  const links = n2.rows('members', '--links')
  assert.deepEqual(links.map((l) => `${l.node} ${l.peer}`).sort(),
    nodes.flatMap((a) => nodes.filter((b) => b !== a).map((b) => `${a.name} ${b.name}`)).sort())
  for (const l of links) {
    assert.equal(l.tls, 'psk')
    assert.deepEqual(Object.keys(l.queue), ['control', 'changes', 'presence', 'broadcast'])
  }
  assert.deepEqual(n2.rows('members', '--links', '--local').map((l) => l.node), [n2.name, n2.name])
  const why = n1.rows('members', '--why', n3.name)
  assert.deepEqual(why.map((r) => `${r.node} ${r.name}`).sort(),
    [`${n1.name} ${n3.name}`, `${n2.name} ${n3.name}`, `${n3.name} ${n1.name}`, `${n3.name} ${n2.name}`].sort())
  for (const r of why) assert.deepEqual([r.state, r.linked], ['alive', true])
  assert.equal(n1.ask('members', '--why', 'nobody').status, 1)
})

test('connections and channels: those of all nodes, or of one', async (t) => {
  const [a, b] = [await connect(t, n1), await connect(t, n3)]
  await a.join('realtime:seen')
  await b.join('realtime:seen')
  const counted = (...args) => n2.rows('connections', ...args).map((c) => c.node)
  await until('the sockets of before to be gone', () => isDeepStrictEqual(counted().sort(), [n1.name, n3.name]))
  const channels = n2.rows('channels').filter((c) => c.topic === 'realtime:seen')
  assert.deepEqual(channels.map((c) => c.node), [n1.name, n3.name])
  assert.deepEqual(n2.rows('channels', '--local').filter((c) => c.topic === 'realtime:seen'), [])
  assert.deepEqual(n2.rows('--at', n3.name, 'channels').map((c) => c.node), [n3.name])
  assert.deepEqual(counted('--at', n1.name), [n1.name])
  const nobody = n2.ask('connections', '--at', 'nobody')
  assert.equal(nobody.status, 1)
  assert.match(nobody.stderr, /no node of that name/)
})

test('topics: owners, holders and members; the largest', async (t) => {
  const join = async (node, topic) => { const s = await connect(t, node); await s.join(topic) }
  for (let i = 0; i < 4; i++) await join(nodes[i % 3], 'realtime:big')
  await join(n2, 'realtime:small')
  const rows = n3.rows('topics').filter((r) => r.topic === 'big')
  const owner = n1.rows('ring', 'big')[0].owner
  assert.deepEqual(rows.map((r) => [r.node, r.members]), [[n1.name, 2], [n2.name, 1], [n3.name, 1]])
  for (const r of rows) {
    assert.equal(r.owner, owner)
    assert.deepEqual(Object.keys(r).slice(0, 10), ['topic', 'node', 'private', 'owner', 'nodes', 'edges', 'members', 'presences', 'seq', 'lost'])
    assert.equal(r.nodes, r.node === owner ? 2 : 0)
  }
  const top = n3.rows('topics', '--top', '1')
  assert.deepEqual([...new Set(top.map((r) => r.topic))], ['big'])
  assert.equal(sum(top.map((r) => r.members)), 4)
  assert.match(n3.ctl('topics', '--top', '1'), new RegExp(`big +${owner} +3 +4 `))
})

test('presence: all holders have the same, whichever node is asked', async (t) => {
  const sockets = [await connect(t, n1), await connect(t, n3)]
  for (const [i, s] of sockets.entries()) {
    await s.join('realtime:there', { presence: { key: `k${i}`, enabled: true } }, { ref: '1' })
    await s.track('1', 'realtime:there', { i, text: 'a\nb "c"' })
  }
  for (const node of nodes) {
    const rows = await until('both to be held', () => { const got = node.rows('presence', 'there'); return got.length === 2 && got })
    assert.deepEqual(rows.map((r) => [r.key, r.home, r.visible, r.meta]),
      [['k0', n1.name, true, { i: 0, text: 'a\nb "c"' }], ['k1', n3.name, true, { i: 1, text: 'a\nb "c"' }]])
  }
  const digests = await until('equal digests', () => {
    const got = n2.rows('presence', 'there', '--digests').filter((d) => d.shown > 0)
    return got.length >= 2 && new Set(got.map((d) => d.digest)).size === 1 && got
  })
  for (const d of digests) assert.deepEqual([d.shown, d.hidden], [2, 0])
  assert.match(n2.ctl('presence', 'realtime:there'), /2 shown, 0 hidden, digest [0-9a-f]{8}.* same/)
  assert.deepEqual(n2.rows('presence', 'nobody-there'), [])
})

test('ring: every partition has one owner, and all nodes agree', () => {
  const rings = nodes.map((n) => n.rows('ring'))
  for (const rows of rings) {
    assert.deepEqual(rows.map((r) => r.owner), names)
    assert.equal(sum(rows.map((r) => r.partitions)), 4096)
    assert.ok(Math.abs(sum(rows.map((r) => r.share)) - 100) < 0.5)
    assert.deepEqual(rows.map((r) => r.partitions), rings[0].map((r) => r.partitions))
  }
  for (const topic of ['a', 'b', 'c', 'realtime:a']) {
    const rows = n1.rows('ring', topic)
    assert.deepEqual(rows.map((r) => r.node), names)
    assert.equal(new Set(rows.map((r) => `${r.partition} ${r.owner} ${r.next} ${r.view}`)).size, 1)
    assert.deepEqual([rows[0].owner, ...rows[0].next].sort(), names)
  }
  assert.equal(n1.rows('ring', 'a')[0].partition, n1.rows('ring', 'realtime:a')[0].partition)
  assert.match(n1.ctl('ring', 'a'), /\(3 of 3 agree\)/)
})

test('events: of all nodes in the order of their time', () => {
  const rows = n2.rows('events', '-n', '1000')
  assert.deepEqual(rows.map((r) => r.ts), rows.map((r) => r.ts).sort())
  for (const node of names) {
    const own = rows.filter((r) => r.node === node)
    for (const other of names.filter((n) => n !== node)) {
      assert.ok(own.some((r) => r.kind === 'link' && r.peer === other && r.state === 'up'), `${node} linked ${other}`)
      assert.ok(own.some((r) => r.kind === 'member' && r.peer === other && r.state === 'alive'), `${node} saw ${other}`)
    }
    assert.ok(own.some((r) => r.kind === 'view' && r.nodes === 3))
    assert.ok(own.some((r) => r.kind === 'node' && /started/.test(r.text)))
    assert.ok(own.some((r) => r.kind === 'reader'))
  }
  assert.equal(n2.rows('events', '-n', '3').length, 3)
})

/** Lines of a command that streams, as JSON; ended with the test. */
function stream(t, node, ...args) {
  const child = spawn(realtimectl, ['--socket', join(node.runtimeDir, 'control.sock'), '--json', ...args])
  const rows = []
  createInterface({ input: child.stdout }).on('line', (line) => rows.push(JSON.parse(line)))
  t.after(async () => { if (child.exitCode === null) { child.kill(); await once(child, 'exit') } })
  return rows
}

test('tail: every node delivers each message once; sub: one of them', async (t) => {
  const tail = stream(t, n2, 'tail', 'live')
  const sub = stream(t, n2, 'sub', 'live')
  let sent = 0
  // The stream says nothing before the first message: what comes before it listens is not for it.
  await until('all nodes to listen', () => {
    n1.ctl('pub', 'live', 'warm', '{}')
    return new Set(tail.map((r) => r.node)).size === 3 && sub.length > 0
  })
  for (; sent < 5; sent++) n1.ctl('pub', 'live', 'e', `{"n":${sent}}`)
  n1.ctl('pub', 'live', 'end', '{}')
  const ends = (rows) => rows.filter((r) => r.event === 'end').length
  await until('the end', () => ends(tail) === 3 && ends(sub) === 1)
  for (const name of names) {
    assert.deepEqual(tail.filter((r) => r.node === name && r.event === 'e').map((r) => r.payload.n), [0, 1, 2, 3, 4])
  }
  assert.deepEqual(sub.filter((r) => r.event === 'e').map((r) => [r.node, r.payload.n]), [0, 1, 2, 3, 4].map((n) => [n2.name, n]))
})

test('status: the own node first, then all others', () => {
  const { status, rows } = n3.ask('status')
  assert.equal(status, 0)
  assert.deepEqual(rows.map((r) => r.node), [n3.name, n1.name, n2.name])
  for (const r of rows) {
    assert.deepEqual(r.processes.map((p) => `${p.role} ${p.index}`).sort(), ['db 0', 'edge 0', 'edge 1', 'owner 0', 'supervisor 0'])
    const node = nodes.find((n) => n.name === r.node)
    for (const p of r.processes) assert.equal(p.pid, node.pid(p.role, p.index))
  }
  assert.deepEqual(n3.rows('status', '--local').map((r) => r.node), [n3.name])
})

test('doctor: a healthy cluster has no problem', () => {
  const { status, rows } = n1.ask('doctor')
  assert.deepEqual(rows.filter((r) => !r.ok), [])
  assert.equal(status, 0)
  for (const check of ['members', 'view', 'links', 'udp', 'loss', 'clock', 'keys', 'zone', 'weight']) {
    assert.ok(rows.some((r) => r.check === check), `${check} is missing`)
  }
  assert.match(n1.ctl('doctor'), /0 problems found/)
})

test('usage: what cannot be right says what would be, with exit code 2', () => {
  for (const args of [['members', 'x'], ['members', '--why'], ['ring', 'a', 'b'], ['topics', '--top', '0'], ['topics', '--top', 'x'], ['topics', '--top', '1001'],
    ['events', '-n'], ['events', '-n', '-1'], ['presence'], ['tail'], ['tail', 'a', 'b'], ['doctor', 'x'], ['slots', 'x'], ['connections', 'x'],
    ['status', '--local', '--at', 'n'], ['--at'], ['nonsense'], ['--nonsense'], ['pub', 'a', 'b'], ['pub', 'a', 'b', '{'], []]) {
    const { status, stderr } = n1.ask(...args)
    assert.deepEqual([args, status], [args, 2])
    assert.match(stderr, /Exit code: 0 ok, 1 a problem was found, 2 usage/)
  }
})

test('a node that hangs is named in time, and the others are told of as ever', async (t) => {
  const s = await connect(t, n2)
  await s.join('realtime:meanwhile')
  const owner = await n3.kill('owner', 0, 'SIGSTOP')
  t.after(() => process.kill(owner, 'SIGCONT'))
  const { status, rows, stderr } = n1.ask('channels')
  assert.equal(status, 1)
  assert.match(stderr, new RegExp(`${n3.name}: (it did not answer in time|its link ended while it was asked)`))
  assert.deepEqual(rows.filter((c) => c.topic === 'realtime:meanwhile').map((c) => c.node), [n2.name])
  const members = n1.ask('members')
  assert.equal(members.status, 0) // this node answers, and that is what was asked
  assert.deepEqual(members.rows.map((r) => r.name), names)
  const why = await until('both others to hold it for dead', () => {
    const got = n1.rows('members', '--why', n3.name)
    return isDeepStrictEqual(got.map((r) => [r.node, r.state, r.linked]), [[n1.name, 'dead', false], [n2.name, 'dead', false]]) && got
  })
  for (const r of why) assert.match(r.why, new RegExp(`${n3.name} is dead: `))
  // The dead are not asked: a full answer again.
  assert.equal(n1.ask('channels').status, 0)
  assert.ok(n1.ask('doctor').rows.some((r) => r.check === 'members' && r.level === 'advice' && r.node === n3.name))
  process.kill(owner, 'SIGCONT')
  const whole = (n) => n.rows('members').filter((m) => m.state === 'alive' && (m.self || m.linked)).length === 3
  await until('it to be back', () => nodes.every(whole))
  assert.ok(n1.rows('events', '-n', '1000').some((r) => r.kind === 'member' && r.peer === n3.name && r.state === 'dead'))
})

/** Two nodes of their own settings, each sees the other alive. */
async function pair(t, first, second, args = () => []) {
  const key = randomBytes(32).toString('base64')
  const mesh = [`127.0.0.1:${await freePort()}`, `127.0.0.1:${await freePort()}`]
  const start = (i, env) => startNode(t, { nodes: 1, edges: 1, ready: false, args: args(i), env: {
    ...(args(i).length > 0 && { REALTIME_JWT_SECRET: undefined }), REALTIME_NODE: `p${i + 1}`, REALTIME_CLUSTER_LISTEN: mesh[i], REALTIME_CLUSTER_SEEDS: mesh.join(), REALTIME_CLUSTER_KEY: key, ...env(key, mesh[i]) } })
  const both = [await start(0, first), await start(1, second)]
  for (const node of both) {
    await until(`${node.name} to see two`, () => node.ask('members').rows.filter((m) => m.state === 'alive').length === 2)
  }
  return both
}
const plain = () => ({})

test('doctor: keys that are not the same', async (t) => {
  const [a] = await pair(t, plain, (key) => ({ REALTIME_CLUSTER_KEY: `${key},${randomBytes(32).toString('base64')}`, REALTIME_ZONE: 'z' }))
  const { status, rows } = a.ask('doctor')
  assert.equal(status, 1)
  const wrong = rows.filter((r) => !r.ok)
  assert.deepEqual(wrong.map((r) => [r.check, r.node]), [['keys', 'p2']])
  assert.match(wrong[0].fix, /REALTIME_CLUSTER_KEY/)
})

test('doctor: projects that are not the same', async (t) => {
  const dir = mkdtempSync('/tmp/realtime-doctor-')
  t.after(() => rmSync(dir, { recursive: true }))
  const file = (name, projects) => {
    writeFileSync(join(dir, name), projects.map((p) => `[project ${p}]\njwt_secret = ${SECRET}-${p}\n`).join(''))
    return ['--config', join(dir, name)]
  }
  const both = await pair(t, plain, plain, (i) => file(`p${i + 1}.ini`, i === 0 ? ['shop', 'blog'] : ['shop']))
  const found = () => both[0].ask('doctor').rows.filter((r) => r.check === 'projects').map((r) => [r.level, r.node ?? null, r.detail])
  assert.deepEqual(found(), [['problem', 'p2', 'does not have project blog, which p1 has']])
  file('p2.ini', ['shop', 'blog'])
  process.kill(both[1].child.pid, 'SIGHUP')
  await until('both to have the same', () => found()[0][0] === 'ok')
  assert.deepEqual(found(), [['ok', null, '2 on every node']])
})

test('doctor: datagrams that do not pass, while links do', async (t) => {
  // p2 is told to others by an address where TCP is passed on to it, and UDP is not.
  const port = await freePort()
  const [a] = await pair(t, plain, (key, mesh) => {
    const proxy = createServer((from) => {
      const to = dial({ host: '127.0.0.1', port: Number(mesh.split(':')[1]) })
      from.pipe(to).pipe(from)
      for (const s of [from, to]) s.on('error', () => { from.destroy(); to.destroy() })
    }).listen(port, '127.0.0.1')
    t.after(() => proxy.close())
    return { REALTIME_CLUSTER_ADVERTISE: `127.0.0.1:${port}` }
  })
  const blocked = await until('some probes', () => a.ask('doctor').rows.find((r) => r.check === 'udp' && !r.ok && r.node === 'p1'))
  assert.match(blocked.detail, /no datagram of p2 answered the last \d+ probes/)
  assert.match(blocked.fix, new RegExp(`let UDP between p1 and 127.0.0.1:${port} pass`))
  assert.equal(byName(a.rows('members')).p2.udp, 'blocked')
  assert.equal(byName(a.rows('members')).p2.state, 'alive')
})

test('a node without others is a cluster of one', async (t) => {
  const node = await startNode(t, { nodes: 1, edges: 1, env: { REALTIME_NODE: 'solo' } })
  const [row, ...more] = node.rows('members')
  assert.deepEqual([row.name, row.state, row.partitions, more.length], ['solo', 'alive', 4096, 0])
  assert.deepEqual(node.rows('ring').map((r) => [r.owner, r.partitions, r.share]), [['solo', 4096, 100]])
  assert.equal(node.rows('ring', 'x')[0].owner, 'solo')
  assert.equal(node.rows('status').length, 1)
  assert.ok(node.rows('events').length > 0)
  assert.equal(node.ask('doctor').status, 0)
  assert.deepEqual(node.rows('members', '--links'), [])
})
