// SPDX-License-Identifier: Apache-2.0
// Goal: a broadcast that its sender wants stored is stored if the policies allow it, sent in any case, and replayed
// once; the ack says which of these happened.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect, kind3, kind4 } from '../harness/phx.mjs'
import { preparePolicies, allow } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database })
const nodes = node.nodes ?? [node]
const sql = await database.connect()
await preparePolicies(sql)

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/
const ALL = 'read:broadcast write:broadcast write:persistence'
const config = (more = {}, sub = 'u') => ({ config: { private: true, broadcast: { ack: true, ...more } }, access_token: node.token({ sub }) })
/** A member of a private channel, on the node of this number. */
async function member(t, sub, more, at = 0) {
  const s = await connect(t, nodes[at % nodes.length])
  await s.join(`realtime:${sub}`, {}, { ref: '1', payload: config(more) })
  return s
}
const push = (s, sub, ref, payload, persist = true, encoding = 1) =>
  s.raw(kind3({ topic: `realtime:${sub}`, ref, event: 'e', payload, encoding, metadata: JSON.stringify({ persist }) }))
/** The next broadcast: live ones come as kind 4, replayed JSON as text. */
async function next(s) {
  const f = await s.take('a broadcast', (m) => m.binary || m.event === 'broadcast')
  if (!f.binary) return { payload: f.payload.payload, meta: f.payload.meta }
  const { metadata, payload, bytes } = kind4(f.binary)
  return { payload, bytes, meta: metadata && JSON.parse(metadata) }
}
const stored = async (sub) => (await sql.query('select * from realtime.messages where topic = $1 order by inserted_at', [sub])).rows
const refusal = (error) => ({ status: 'error', response: { error } })

test('stored, live once with its id, replayed with the same', async (t) => {
  await allow(sql, 'u', 'p1', ALL)
  const [a, b] = [await member(t, 'p1'), await member(t, 'p1', {}, 1)]
  push(a, 'p1', '2', { n: 1 })
  const { payload } = await a.reply('2')
  assert.equal(payload.status, 'ok')
  assert.match(payload.response.id, UUID)
  const live = await next(b)
  assert.deepEqual([live.payload, live.meta], [{ n: 1 }, { id: payload.response.id }])
  const [row, ...more] = await stored('p1')
  assert.deepEqual([row.id, row.extension, row.private, row.event, row.payload, more.length], [payload.response.id, 'persistence', true, 'e', { n: 1 }, 0])
  const again = await next(await member(t, 'p1', { replay: { since: 0 } }, 2))
  assert.deepEqual([again.payload, again.meta], [{ n: 1 }, { id: payload.response.id, replayed: true }])
  await b.nothing(300) // the stream of the database does not send it again
})

test('bytes are stored as bytes', async (t) => {
  await allow(sql, 'u', 'p2', ALL)
  const a = await member(t, 'p2')
  push(a, 'p2', '2', Buffer.from([0, 1, 0xff]), true, 0)
  assert.equal((await a.reply('2')).payload.status, 'ok')
  assert.deepEqual((await next(await member(t, 'p2', { replay: { since: 0 } }))).bytes, Buffer.from([0, 1, 0xff]))
  push(a, 'p2', '3', Buffer.alloc(0), true, 0)
  assert.equal((await a.reply('3')).payload.status, 'ok')
})

test('a time to live: not replayed once it is over; one that cannot be is named', async (t) => {
  await allow(sql, 'u', 'p3', ALL)
  const [a, b] = [await member(t, 'p3'), await member(t, 'p3')]
  push(a, 'p3', '2', 60, { ttl: 60 })
  push(a, 'p3', '3', 100, { ttl: 3155760000 })
  const { id } = (await a.reply('2')).payload.response
  await a.reply('3')
  const { rows: [expiry] } = await sql.query("select extract(epoch from expires_at - (now() at time zone 'UTC'))::int as s from realtime.datafuse_expiry where message = $1", [id])
  assert.ok(expiry.s > 30 && expiry.s <= 60, `${expiry.s} s are left`)
  await sql.query("update realtime.datafuse_expiry set expires_at = (now() at time zone 'UTC') where message = $1", [id])
  const c = await member(t, 'p3', { replay: { since: 0 } })
  assert.equal((await next(c)).payload, 100)
  await c.nothing(200)
  for (const _ of [1, 2]) await next(b)
  for (const [i, ttl] of [0, -1, 1.5, '60', null, 3155760001, 1e300, {}].entries()) {
    push(a, 'p3', `b${i}`, i, { ttl })
    assert.deepEqual((await a.reply(`b${i}`)).payload, refusal('persist.ttl must be a whole number of seconds, at least 1'))
    assert.equal((await next(b)).payload, i)
  }
  assert.equal((await stored('p3')).length, 2)
})

test('without the right to persist it goes out, and is not stored', async (t) => {
  await allow(sql, 'u', 'p4', 'read:broadcast write:broadcast')
  const [a, b] = [await member(t, 'p4'), await member(t, 'p4', {}, 1)]
  push(a, 'p4', '2', 1)
  assert.deepEqual((await a.reply('2')).payload, refusal('Unauthorized: You do not have permissions to persist messages of this Channel topic: p4'))
  assert.equal((await next(b)).payload, 1)
  assert.deepEqual(await stored('p4'), [])
  for (const [i, persist] of [false, null].entries()) { // not asked for
    push(a, 'p4', `n${i}`, i, persist)
    assert.deepEqual((await a.reply(`n${i}`)).payload, { status: 'ok', response: {} })
  }
})

test('without the right to write nothing goes out, whatever may be stored', async (t) => {
  await allow(sql, 'u', 'p5', 'read:broadcast write:persistence')
  const [a, b] = [await member(t, 'p5'), await member(t, 'p5')]
  push(a, 'p5', '2', 1)
  assert.match((await a.reply('2')).payload.response.reason, /permissions to write/)
  await b.nothing(200)
  assert.deepEqual(await stored('p5'), [])
})

test('what Postgres does not take is sent, and the ack says why it was not stored', async (t) => {
  await allow(sql, 'u', 'p6', ALL)
  const [a, b] = [await member(t, 'p6'), await member(t, 'p6')]
  push(a, 'p6', '2', { text: '\u0000' })
  const { payload } = await a.reply('2')
  assert.equal(payload.status, 'error')
  assert.match(payload.response.error, /^it was sent and not stored: .*(Unicode|u0000)/)
  assert.deepEqual((await next(b)).payload, { text: '\u0000' })
})

test('a constraint that somebody has put on the table is told as what it is', async (t) => {
  await allow(sql, 'u', 'p12', ALL)
  await sql.query("alter table realtime.messages add constraint small check (topic <> 'p12' or payload is null or length(payload::text) < 20)")
  const [a, b] = [await member(t, 'p12'), await member(t, 'p12')]
  push(a, 'p12', '2', { text: 'x'.repeat(30) })
  assert.match((await a.reply('2')).payload.response.error, /^it was sent and not stored: .*violates check constraint "small"/)
  assert.deepEqual((await next(b)).payload, { text: 'x'.repeat(30) })
  await sql.query('alter table realtime.messages drop constraint small')
})

test('replay goes by an index for both kinds of stored messages', async () => {
  const { rows: [{ src }] } = await sql.query("select prosrc as src from pg_proc where oid = 'realtime.datafuse_replay(text, bigint, integer, bigint, bigint)'::regprocedure")
  const values = { topic: "'t7'", since_ms: '0', most: '25', bytes: '1000000', largest: '100000' }
  const query = src.replace(/datafuse_replay\.(\w+)/g, (_, name) => values[name])
  await sql.query('begin; set local enable_seqscan = off')
  const plan = (await sql.query(`explain ${query}`)).rows.map((r) => r['QUERY PLAN']).join('\n')
  await sql.query('rollback')
  assert.doesNotMatch(plan, /Seq Scan on messages/)
})

test('what a channel sends behind it waits: the order of a sender stays', async (t) => {
  await allow(sql, 'u', 'p7', ALL)
  const [a, b] = [await member(t, 'p7'), await member(t, 'p7', {}, 1)]
  const count = 60
  for (let n = 0; n < count; n++) push(a, 'p7', `o${n}`, n, n % 3 === 0)
  for (let n = 0; n < count; n++) assert.equal((await next(b)).payload, n)
  for (let n = 0; n < count; n++) assert.equal((await a.reply(`o${n}`)).payload.status, 'ok')
  assert.deepEqual((await stored('p7')).map((r) => r.payload), Array.from({ length: count / 3 }, (_, i) => i * 3))
})

test('a sender that is gone at once: its message arrives', async (t) => {
  await allow(sql, 'u', 'p8', ALL)
  const [a, b] = [await member(t, 'p8'), await member(t, 'p8')]
  push(a, 'p8', '2', 0)
  await a.reply('2') // its right to write is known
  push(a, 'p8', '3', 1)
  a.ws.close()
  assert.deepEqual([(await next(b)).payload, (await next(b)).payload], [0, 1])
})

test('joins with replay amid stored messages: no gap, none twice', async (t) => {
  await allow(sql, 'u', 'p9', ALL)
  const a = await member(t, 'p9')
  const joins = []
  const count = 120
  for (let n = 0; n < count; n++) {
    push(a, 'p9', `s${n}`, n)
    if (n % 10 === 5) joins.push(member(t, 'p9', { replay: { since: 0, limit: 25 } }, n / 10 | 0))
    await a.reply(`s${n}`)
  }
  for (const s of await Promise.all(joins)) {
    const got = []
    while (got.at(-1) !== count - 1) got.push((await next(s)).payload)
    assert.deepEqual(got, Array.from({ length: got.length }, (_, i) => got[0] + i))
    await s.nothing(0)
  }
})

test('a public channel has no policies that could allow it', async (t) => {
  const [a, b] = [await connect(t, node), await connect(t, node)]
  for (const s of [a, b]) await s.join('realtime:p10', { broadcast: { ack: true } }, { ref: '1' })
  push(a, 'p10', '2', 1)
  assert.deepEqual((await a.reply('2')).payload, refusal('persist can only be used on private channels'))
  assert.equal((await next(b)).payload, 1)
})

test('a policy that sleeps: the message goes out behind it, and the next ones of the channel', async (t) => {
  await allow(sql, 'u', 'p11', ALL)
  await sql.query(`create policy slow on realtime.messages as restrictive for insert to authenticated
    with check (case when realtime.topic() = 'p11' and extension = 'persistence' then (select true from pg_sleep(30)) else true end)`)
  const [a, b] = [await member(t, 'p11'), await member(t, 'p11')]
  push(a, 'p11', '2', 1)
  push(a, 'p11', '3', 2, false)
  assert.deepEqual((await a.reply('2', 10000)).payload, refusal('QueryCanceled: Query was cancelled, please try again'))
  assert.deepEqual([(await next(b)).payload, (await next(b)).payload], [1, 2])
  await sql.query('drop policy slow on realtime.messages')
})

/** While `body` runs, a message with a time to live waits in the database. */
async function slowly(body) {
  const gate = await database.connect()
  await gate.query('begin; lock table realtime.datafuse_expiry in access exclusive mode')
  try {
    await body({
      open: () => gate.query('rollback'),
      /** Who waits in the database, as soon as there is one beside those of before. */
      asked: (before = []) => until('the question to wait', async () => {
        const pids = (await sql.query('select pid from pg_locks where not granted')).rows.map((r) => r.pid)
        return pids.some((pid) => !before.includes(pid)) && pids
      }),
    })
  } finally {
    await gate.query('rollback')
    await gate.end()
  }
}

/** POST of a single private broadcast. */
const post = (sub, query, body = '{"n":1}', type = 'application/json') =>
  fetch(`${nodes.at(-1).url}/api/broadcast/${sub}/events/e?private=true${query}`,
    { method: 'POST', body, headers: { authorization: `Bearer ${node.token({ sub: 'u' })}`, 'content-type': type } })

test('over HTTP: stored, sent, replayed; not stored for want of a right', async (t) => {
  await allow(sql, 'u', 'h1', ALL)
  const b = await member(t, 'h1')
  const live = []
  for (const [query, body, type] of [['&persist=true', '{"n":1}'], ['&persist%5Bttl%5D=60', '{"n":2}'], ['&persist=true', Buffer.from([7]), 'application/octet-stream'], ['&persist=false', '{"n":3}']]) {
    const res = await post('h1', query, body, type)
    assert.deepEqual([res.status, await res.text()], [202, ''])
    live.push(await next(b)) // requests come to edges of their own: no order among them
  }
  assert.deepEqual(live.map((m) => m.payload ?? [...m.bytes]), [{ n: 1 }, { n: 2 }, [7], { n: 3 }])
  const rows = await stored('h1')
  assert.deepEqual(rows.map((r) => r.id), live.slice(0, 3).map((m) => m.meta.id))
  assert.equal((await sql.query('select from realtime.datafuse_expiry where message = $1', [rows[1].id])).rowCount, 1)

  await allow(sql, 'u', 'h2', 'read:broadcast write:broadcast')
  const c = await member(t, 'h2')
  const res = await post('h2', '&persist=true')
  assert.deepEqual([res.status, await res.json()], [403, { error: 'Unauthorized: You do not have permissions to persist messages of this Channel topic: h2' }])
  assert.deepEqual((await next(c)).payload, { n: 1 })
  const bad = await post('h1', '&persist=true', '"\\u0000"')
  assert.equal(bad.status, 422)
  assert.match((await bad.json()).error, /^it was sent and not stored: /)
})

test('over HTTP: who does not wait for the answer', async (t) => {
  await allow(sql, 'u', 'h3', ALL)
  const b = await member(t, 'h3')
  const gone = new AbortController()
  await slowly(async ({ asked }) => {
    const answer = fetch(`${nodes.at(-1).url}/api/broadcast/h3/events/e?private=true&persist%5Bttl%5D=60`,
    { method: 'POST', body: '{"n":1}', signal: gone.signal, headers: { authorization: `Bearer ${node.token({ sub: 'u' })}`, 'content-type': 'application/json' } })
    await asked()
    gone.abort()
    await assert.rejects(answer)
    assert.deepEqual((await next(b)).payload, { n: 1 })
  })
})

for (const role of ['db', 'owner']) {
  test(`the ${role} process dies while it stores: stored once, sent once`, async (t) => {
    const T = `kill-${role}`
    await allow(sql, 'u', T, ALL)
    const [a, b] = [await member(t, T), await member(t, T)]
    await slowly(async ({ open, asked }) => {
      push(a, T, '2', 1, { ttl: 60 })
      const first = await asked()
      const before = nodes[0].pid(role)
      process.kill(before, 'SIGKILL')
      await until('it to be there again', () => nodes[0].pid(role) !== before)
      await asked(first) // which may not have noticed that nobody waits for it
      await open()
      const { payload } = await a.reply('2')
      assert.equal(payload.status, 'ok')
      assert.deepEqual((await stored(T)).map((r) => r.id), [payload.response.id])
      assert.deepEqual((await next(b)).meta, { id: payload.response.id })
      await b.nothing(300)
    })
  })
}

test('supabase-js: send and httpSend with persist, and replay', async (t) => {
  await allow(sql, 'u', 'js', ALL)
  await allow(sql, 'u', 'js-not', 'read:broadcast write:broadcast')
  const client = createClient(node.url, node.anonKey, { accessToken: async () => node.token({ sub: 'u' }), realtime: { transport: WebSocket } })
  t.after(() => client.realtime.disconnect())
  await client.realtime.setAuth()
  const join = (topic, broadcast) => new Promise((resolve, reject) => {
    const heard = []
    const channel = client.channel(topic, { config: { private: true, broadcast: { ack: true, self: true, ...broadcast } } })
    channel.on('broadcast', { event: 'e' }, (m) => heard.push(m)).subscribe((status, err) => {
      if (status === 'SUBSCRIBED') resolve({ channel, heard })
      else if (status !== 'CLOSED') reject(err ?? new Error(status))
    })
  })
  const first = await join('js', {})
  assert.equal(await first.channel.send({ type: 'broadcast', event: 'e', payload: { n: 1 }, persist: true }), 'ok')
  assert.equal(await first.channel.send({ type: 'broadcast', event: 'e', payload: { n: 2 }, persist: { ttl: 60 } }), 'ok')
  assert.deepEqual(await first.channel.httpSend('e', { n: 3 }, { persist: true }), { success: true })
  await until('all to be heard', () => first.heard.length === 3)
  await client.removeChannel(first.channel)
  const second = await join('js', { replay: { since: Date.now() - 60000, limit: 25 } })
  await until('all to be replayed', () => second.heard.length === 3)
  assert.deepEqual(second.heard.map((m) => [m.payload.n, m.meta.id, m.meta.replayed]), first.heard.map((m) => [m.payload.n, m.meta.id, true]))
  const not = await join('js-not', {})
  assert.match(await not.channel.send({ type: 'broadcast', event: 'e', payload: {}, persist: true }), /permissions to persist/)
  await assert.rejects(not.channel.httpSend('e', {}, { persist: true }), /permissions to persist/)
})
