// SPDX-License-Identifier: Apache-2.0
// Goal: presence_state first, exact diffs after, the same state at everybody.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { transportOf } from '../harness/clients.mjs'
import { startNode, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const node = await startNode({ after }, { edges: 2 })
const ok = { status: 'ok', response: {} }
const on = (key) => ({ presence: { key, enabled: true } })

for (const vsn of ['1.0.0', '2.0.0']) {
  const open = (t) => connect(t, node, { vsn })
  const topic = (n) => `realtime:p${n}-${vsn}`

  test(`${vsn} cases 52 to 55: state, track, repeat, update, untrack`, async (t) => {
    const T = topic(52)
    const [a, late] = [await open(t), await open(t)]
    a.send('1', '1', T, 'phx_join', { config: on('u1') })
    await a.reply('1')
    const state = await a.event(T, 'presence_state')
    if (a.v1) assert.deepEqual(state.raw, { topic: T, event: 'presence_state', payload: {}, ref: null })
    else assert.deepEqual(state.raw, ['1', null, T, 'presence_state', {}])

    assert.deepEqual((await a.track('1', T, { a: 1 })).payload, ok)
    const first = await a.event(T, 'presence_diff')
    const X = first.payload.joins.u1.metas[0].phx_ref
    assert.deepEqual(first.payload, { joins: { u1: { metas: [{ a: 1, phx_ref: X }] } }, leaves: {} })
    if (!a.v1) assert.deepEqual(first.raw.slice(0, 2), [null, null])

    assert.deepEqual((await a.track('1', T, { a: 1 })).payload, ok)
    await a.nothing(300)
    assert.deepEqual((await a.track('1', T, { a: 2 })).payload, ok)
    const update = await a.event(T, 'presence_diff')
    const Y = update.payload.joins.u1.metas[0].phx_ref
    assert.notEqual(X, Y)
    assert.deepEqual(update.payload, {
      joins: { u1: { metas: [{ a: 2, phx_ref: Y, phx_ref_prev: X }] } },
      leaves: { u1: { metas: [{ a: 1, phx_ref: X }] } } })

    await late.join(T, on('u2'))
    const shown = await late.take('presence', (f) => f.event.startsWith('presence_'))
    assert.equal(shown.event, 'presence_state')
    const meta = shown.payload.u1.metas[0]
    assert.equal(meta.a, 2)
    assert.equal(meta.phx_ref, Y)

    assert.deepEqual((await a.untrack('1', T)).payload, ok)
    for (const s of [a, late]) {
      const gone = await s.event(T, 'presence_diff')
      assert.deepEqual(gone.payload.joins, {})
      assert.equal(gone.payload.leaves.u1.metas[0].phx_ref, Y)
    }
  })

  test(`${vsn} case 55: a socket that is cut leaves`, async (t) => {
    const T = topic(55)
    const [a, b] = [await open(t), await open(t)]
    await a.join(T, on('a'), { ref: '1' })
    await b.join(T, on('b'))
    await b.event(T, 'presence_state') // what is tracked before it is in it, and in no diff
    await a.track('1', T, { x: 1 })
    await b.event(T, 'presence_diff')
    a.ws._socket.resetAndDestroy()
    // Long before the time of a client that stands still is over.
    assert.deepEqual(Object.keys((await b.event(T, 'presence_diff')).payload.leaves), ['a'])
  })

  test(`${vsn} case 56: upper case, unknown event, payload that is no map`, async (t) => {
    const T = topic(56)
    const a = await open(t)
    await a.join(T, on('u'), { ref: '1' })
    await a.event(T, 'presence_state')
    assert.deepEqual((await a.call('1', T, 'presence', { type: 'presence', event: 'TRACK', payload: { n: 1 } })).payload, ok)
    await a.event(T, 'presence_diff')
    assert.deepEqual((await a.call('1', T, 'presence', { type: 'presence', event: 'foo' })).payload, { status: 'error', response: {} })
    assert.deepEqual((await a.track('1', T, 5)).payload, { status: 'error', response: { reason: 'Presence track payload must be a map' } })
    assert.deepEqual((await a.call('1', T, 'presence', { type: 'presence' })).payload, ok)
  })

  test(`${vsn} case 57: key by the server; two sockets with one key`, async (t) => {
    const T = topic(57)
    const [a, b, c] = [await open(t), await open(t), await open(t)]
    await a.join(T, on(''), { ref: '1' })
    await a.event(T, 'presence_state')
    await a.track('1', T, {})
    assert.match(Object.keys((await a.event(T, 'presence_diff')).payload.joins)[0], /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/)
    await a.untrack('1', T)
    for (const [i, s] of [b, c].entries()) {
      await s.join(T, on('same'), { ref: '1' })
      await s.track('1', T, { i })
    }
    // On one node: its state is what it has shown last, and each node shows by itself.
    const at = Object.create(node, { ws: { value: node.ws } })
    const there = () => connect(t, at, { vsn })
    const watcher = await there()
    await until('both metas', async () => {
      const w = await there()
      await w.join(T, on('w'))
      return (await w.event(T, 'presence_state')).payload.same?.metas.length === 2
    })
    await watcher.join(T, on('w'))
    await watcher.event(T, 'presence_state')
    b.ws.terminate()
    const gone = await watcher.event(T, 'presence_diff')
    assert.equal(gone.payload.leaves.same.metas.length, 1)
    assert.equal(gone.payload.leaves.same.metas[0].i, 0)
    const last = await there()
    await last.join(T, on('l'))
    assert.deepEqual((await last.event(T, 'presence_state')).payload.same.metas.map((m) => m.i), [1])
  })

  test(`${vsn} case 58: presence off is silent; a track turns it on`, async (t) => {
    const T = topic(58)
    const [off, a, tracker] = [await open(t), await open(t), await open(t)]
    await off.join(T, { presence: { enabled: false, key: 'off' } })
    await a.join(T, on('a'), { ref: '1' })
    await a.event(T, 'presence_state')
    await tracker.join(T, { presence: { enabled: false, key: 'late' } }, { ref: '1' })
    assert.deepEqual((await tracker.track('1', T, { n: 1 })).payload, ok)
    assert.deepEqual(Object.keys((await a.event(T, 'presence_diff')).payload.joins), ['late'])
    await tracker.event(T, 'presence_state')
    await off.nothing(300)
  })

  test(`${vsn} case 59: the old join form has presence on`, async (t) => {
    const a = await open(t)
    await a.join(topic(59), { presence: { key: '' } })
    assert.deepEqual((await a.event(topic(59), 'presence_state')).payload, {})
  })

  test(`${vsn} leave and a replaced join leave the presence`, async (t) => {
    const T = topic('leave')
    const [a, b] = [await open(t), await open(t)]
    await b.join(T, on('b'))
    await b.event(T, 'presence_state')
    await a.join(T, on('a'), { ref: '1' })
    await a.track('1', T, { n: 1 })
    assert.deepEqual(Object.keys((await b.event(T, 'presence_diff')).payload.joins), ['a'])
    await a.join(T, on('a'), { ref: '2' })
    assert.deepEqual(Object.keys((await b.event(T, 'presence_diff')).payload.leaves), ['a'])
    await a.track('2', T, { n: 2 })
    assert.deepEqual(Object.keys((await b.event(T, 'presence_diff')).payload.joins), ['a'])
    a.send('2', 'l', T, 'phx_leave', {})
    assert.deepEqual(Object.keys((await b.event(T, 'presence_diff')).payload.leaves), ['a'])
  })
}

test('case 55: a client that stands still leaves when its time is over', async (t) => {
  const IDLE_MS = 6000 // twelve times as long as one that lives is silent
  const strict = await startNode(t, { env: { REALTIME_IDLE_TIMEOUT_MS: String(IDLE_MS) } })
  const b = await connect(t, strict)
  await b.join('realtime:still', on('b'))
  await b.event('realtime:still', 'presence_state')
  const alive = setInterval(() => b.send(null, 'alive', 'phoenix', 'heartbeat', {}), IDLE_MS / 12)
  t.after(() => clearInterval(alive))
  // It says something all the time, until it is stopped; its kernel goes on acknowledging.
  const child = spawn(process.execPath, ['--input-type=module', '-e', `
    const s = new (await import('ws')).default('${strict.ws}/socket/websocket?apikey=${strict.anonKey}&vsn=2.0.0')
    const say = (...m) => s.send(JSON.stringify(m))
    s.on('open', () => {
      say('1', '1', 'realtime:still', 'phx_join', { config: { presence: { key: 'a', enabled: true } } })
      say('1', '2', 'realtime:still', 'presence', { type: 'presence', event: 'track', payload: {} })
      setInterval(() => say(null, 'alive', 'phoenix', 'heartbeat', {}), ${IDLE_MS / 12})
    })`], { cwd: fileURLToPath(new URL('.', import.meta.url)), stdio: 'inherit' })
  t.after(() => child.kill('SIGKILL'))
  assert.deepEqual(Object.keys((await b.event('realtime:still', 'presence_diff')).payload.joins), ['a'])
  await delay(IDLE_MS + 1000)
  assert.deepEqual(b.frames.filter((f) => f.event === 'presence_diff'), [], 'who says something stays')
  child.kill('SIGSTOP')
  assert.deepEqual(Object.keys((await b.event('realtime:still', 'presence_diff', 30000)).payload.leaves), ['a'])
})

test("a client's own phx_ref is overwritten", async (t) => {
  const T = 'realtime:own-ref'
  const a = await connect(t, node)
  await a.join(T, on('u'), { ref: '1' })
  await a.event(T, 'presence_state')
  await a.track('1', T, { phx_ref: 'mine', phx_ref_prev: 'old', a: 1 })
  const meta = (await a.event(T, 'presence_diff')).payload.joins.u.metas[0]
  assert.notEqual(meta.phx_ref, 'mine')
  assert.deepEqual(Object.keys(meta).sort(), ['a', 'phx_ref'])
})

test('case 60: clients of four versions see one state', async (t) => {
  const versions = ['2.11.2', '2.15.5', '2.95.0', '2.119.1']
  const members = []
  for (const [i, v] of [...versions, ...versions].entries()) {
    const { RealtimeClient } = await import(`realtime-js-${v}`)
    const client = new RealtimeClient(`${node.ws}/realtime/v1`, { params: { apikey: node.anonKey }, ...transportOf(v) })
    t.after(() => client.disconnect())
    members.push({ i, client, key: `k${i % 6}` })
  }
  const subscribe = (m) => {
    m.channel = m.client.channel('mixed', { config: { presence: { key: m.key } } })
    m.channel.on('presence', { event: 'sync' }, () => {})
    return new Promise((resolve, reject) => m.channel.subscribe((status, err) =>
      status === 'SUBSCRIBED' ? resolve() : status !== 'CLOSED' && reject(err ?? new Error(status))))
  }
  // As a network does it; the client comes back by itself, and shows nothing then.
  const cut = async (m) => {
    const { conn } = m.client
    conn._socket.resetAndDestroy()
    await until('it to be back', () => m.client.conn !== conn && m.client.isConnected() && m.channel.state === 'joined')
  }
  for (const m of members) await subscribe(m)
  let seed = 12345
  const draw = (n) => (seed = (seed * 1103515245 + 12345) % 2147483648) % n
  for (let step = 0; step < 100; step++) {
    const m = members[draw(members.length)]
    const what = draw(10)
    m.shows = step % 30 !== 29 && what < 7 ? step : undefined
    if (step % 30 === 29) await cut(m)
    else if (what < 7) await m.channel.track({ step })
    else if (what < 9) await m.channel.untrack()
    else { await m.client.removeChannel(m.channel); await subscribe(m) }
  }
  const flat = (m) => JSON.stringify(Object.entries(m.channel.presenceState()).map(([k, metas]) =>
    [k, metas.map((p) => p.step).sort((x, y) => x - y)]).sort())
  const showing = (key) => members.filter((m) => m.key === key && m.shows !== undefined).map((m) => m.shows).sort((x, y) => x - y)
  const expected = JSON.stringify([...new Set(members.map((m) => m.key))].map((key) => [key, showing(key)]).filter(([, steps]) => steps.length).sort())
  await until('what was done last to be what all members see', () => members.every((m) => flat(m) === expected))
  const watcher = await connect(t, node)
  await watcher.join('realtime:mixed', on('w'))
  const truth = (await watcher.event('realtime:mixed', 'presence_state')).payload
  assert.equal(expected, JSON.stringify(Object.entries(truth).map(([k, v]) => [k, v.metas.map((p) => p.step).sort((x, y) => x - y)]).sort()))
})
