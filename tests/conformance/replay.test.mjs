// SPDX-License-Identifier: Apache-2.0
// Goal: a join of a private channel gets the broadcasts that are stored of it, to whom the policies allow it, in the
// forms of both protocol versions, and is refused with Supabase's words.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect, kind4 } from '../harness/phx.mjs'
import { preparePolicies, allow, notToRead } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database })
const sql = await database.connect()
await until('the migrations', async () => (await sql.query("select to_regprocedure('realtime.datafuse_replay(text, bigint, integer, bigint, bigint)') is not null as ok")).rows[0].ok)
await until('the slot to be read', async () =>
  (await sql.query("select count(*)::int as n from pg_replication_slots where slot_name like 'datafuse_realtime_%' and active")).rows[0].n === 1, 30000)
await preparePolicies(sql)

/** A stored row; `more` sets columns. Returns its id. */
async function row(topic, payload, more = {}) {
  const all = { topic, extension: 'broadcast', event: 'e', private: true, payload, ...more }
  const names = Object.keys(all)
  const { rows } = await sql.query(`insert into realtime.messages (${names}) values (${names.map((_, i) => `$${i + 1}`)}) returning id`, Object.values(all))
  return rows[0].id
}
async function join(t, sub, topic, replay, { vsn = '2.0.0', refused = false, isPrivate = true, config = {} } = {}) {
  const s = await connect(t, node, { vsn })
  s.joined = await s.join(`realtime:${topic}`, {}, { ref: '1', refused, payload: { config: { private: isPrivate, broadcast: { replay }, ...config }, access_token: node.token({ sub }) } })
  return s
}
const reason = async (...args) => (await join(...args)).joined.payload.response.reason
const message = (id, payload, event = 'e') => ({ type: 'broadcast', event, payload, meta: { id, replayed: true } })
/** Runs `body`, and then waits until what it inserted has gone by, so that none of it comes live to those who join. */
async function stored(t, topic, body) {
  await allow(sql, 'w', topic, 'read:broadcast')
  const s = await connect(t, node, { vsn: '1.0.0' })
  await s.join(`realtime:${topic}`, {}, { ref: '1', payload: { config: { private: true }, access_token: node.token({ sub: 'w' }) } })
  const result = await body()
  const mark = await row(topic, '{}', { event: 'mark' })
  await s.take('the mark', (f) => f.payload.event === 'mark', 30000)
  await sql.query('delete from realtime.messages where id = $1', [mark])
  s.ws.terminate()
  return result
}
/** Nothing comes behind what was looked at; messages that follow in the stream are there when `end` is. */
async function theEnd(s, topic) {
  const id = await row(topic, '{}', { event: 'end' })
  const last = await s.take('the end', (f) => f.event === 'broadcast' ? f.payload.event === 'end' : f.binary && kind4(f.binary).event === 'end')
  assert.ok(id && last)
  assert.deepEqual(s.frames.map((f) => f.raw ?? kind4(f.binary)), [])
}

for (const vsn of ['1.0.0', '2.0.0']) {
  const v = vsn[0]

  test(`${vsn} case 70: three rows, limit 2: the two newest, oldest first, behind the reply`, async (t) => {
    const T = `r70-${v}`
    await allow(sql, 'u', T, 'read:broadcast')
    const ids = await stored(t, T, async () => [await row(T, '{"n": 1}'), await row(T, '{"n": 2}'), await row(T, '{"n": 3}')])
    const s = await join(t, 'u', T, { since: 0, limit: 2 }, { vsn })
    for (const n of [2, 3]) {
      const f = await s.take('a stored row')
      assert.deepEqual([f.topic, f.event, f.payload], [`realtime:${T}`, 'broadcast', message(ids[n - 1], { n })])
      if (vsn === '2.0.0') assert.deepEqual([f.joinRef, f.ref], ['1', null])
    }
    await theEnd(s, T)
  })

  test(`${vsn} case 70: bytes are kind 4 for V2 and nothing for V1`, async (t) => {
    const T = `r70b-${v}`
    await allow(sql, 'u', T, 'read:broadcast')
    const ids = [await row(T, null, { binary_payload: Buffer.from([0, 255, 16]), event: 'b' }), await row(T, '"text"')]
    const s = await join(t, 'u', T, { since: 0 }, { vsn })
    if (vsn === '2.0.0') {
      const f = kind4((await s.take('bytes')).binary)
      assert.deepEqual([f.topic, f.event, f.encoding, [...f.bytes], JSON.parse(f.metadata)], [`realtime:${T}`, 'b', 0, [0, 255, 16], { id: ids[0], replayed: true }])
    }
    assert.deepEqual((await s.take('text')).payload, message(ids[1], 'text'))
    await theEnd(s, T)
  })
}

test('case 70: replay of a public channel, and wrong words', async (t) => {
  await allow(sql, 'u', 'r70w', 'read:broadcast')
  assert.equal(await reason(t, 'u', 'r70w', { since: 1 }, { isPrivate: false, refused: true }), 'UnableToReplayMessages: Replay is not allowed for public channels')
  for (const replay of [{ since: 'x' }, { since: 1.5 }, { since: -1 }, { since: 253402300800000 }, { since: 1, limit: '2' }, true]) {
    assert.equal(await reason(t, 'u', 'r70w', replay, { refused: true }), 'UnableToReplayMessages: Replay params are not valid', JSON.stringify(replay))
  }
})

test('case 70: who may not read broadcasts is refused, also with the right to presence and wrong words', async (t) => {
  await allow(sql, 'p', 'r70n', 'read:presence')
  await row('r70n', '{}')
  const refused = { refused: true, config: { presence: { enabled: true } } }
  for (const sub of ['p', 'nobody']) {
    assert.equal(await reason(t, sub, 'r70n', { since: 0 }, refused), `Unauthorized: ${notToRead('r70n')}`)
    assert.equal(await reason(t, sub, 'r70n', { since: 'x' }, refused), `Unauthorized: ${notToRead('r70n')}`)
  }
})

test('case 70: only rows of this topic, private, of broadcasts, since then and not of the future', async (t) => {
  await allow(sql, 'u', 'r70o', 'read:broadcast')
  const now = Date.now()
  const at = (ms) => new Date(now + ms).toISOString().replace('Z', '')
  const ids = await stored(t, 'r70o', async () => {
    for (const [topic, more] of [['r70o2', {}], ['R70O', {}], ['r70%', {}], ['', {}], ['r70o', { private: false }], ['r70o', { extension: 'presence' }],
      ['r70o', { inserted_at: at(-5001) }], ['r70o', { inserted_at: at(3600000) }], ['r70o', { event: null }]]) await row(topic, '{"wrong": true}', more)
    return [await row('r70o', '1', { inserted_at: at(-5000) }), await row('r70o', '2', { inserted_at: at(20000) })]
  })
  const s = await join(t, 'u', 'r70o', { since: now - 5000, limit: 25 })
  assert.deepEqual([(await s.take('1')).payload, (await s.take('2')).payload], [message(ids[0], 1), message(ids[1], 2)])
  await theEnd(s, 'r70o')
})

test('case 70: the limit is 1 to 25, 10 if none is named', async (t) => {
  await allow(sql, 'u', 'r70l', 'read:broadcast')
  await stored(t, 'r70l', async () => { for (let n = 1; n <= 30; n++) await row('r70l', String(n)) })
  for (const [replay, count] of [[{ since: 0, limit: 100 }, 25], [{ since: 0, limit: 0 }, 1], [{ since: 0, limit: -1 }, 1], [{ limit: 3 }, 3], [{ since: 0 }, 10], [{}, 10], [{ since: Date.now() + 30000 }, 0]]) {
    const s = await join(t, 'u', 'r70l', replay)
    await s.heartbeat()
    assert.deepEqual(s.frames.map((f) => f.payload.payload), Array.from({ length: count }, (_, i) => 31 - count + i), JSON.stringify(replay))
  }
})

test('case 70: rows that are large together: the newest that fit, at least one', async (t) => {
  await allow(sql, 'u', 'r70big', 'read:broadcast')
  const text = (n, size) => JSON.stringify(String(n) + 'x'.repeat(size))
  await stored(t, 'r70big', async () => { for (let n = 1; n <= 6; n++) await row('r70big', text(n, 600000)) })
  const s = await join(t, 'u', 'r70big', { since: 0 })
  for (const n of [4, 5, 6]) assert.equal((await s.take('a large row')).payload.payload[0], String(n))
  await theEnd(s, 'r70big')
  await sql.query("delete from realtime.messages where topic = 'r70big'")
  await stored(t, 'r70big', async () => { for (const [n, size] of [[1, 10], [2, 2500000], [3, 3100000]]) await row('r70big', text(n, size)) })
  const large = await join(t, 'u', 'r70big', { since: 0 })
  assert.equal((await large.take('a row larger than all together may be')).payload.payload[0], '2')
  await theEnd(large, 'r70big')
})

test('case 70: the query fails', async (t) => {
  await allow(sql, 'u', 'r70f', 'read:broadcast')
  await sql.query('alter function realtime.datafuse_replay rename to gone')
  try {
    assert.equal(await reason(t, 'u', 'r70f', { since: 0 }, { refused: true }), 'UnableToReplayMessages: Realtime was unable to replay messages')
  } finally {
    await sql.query('alter function realtime.gone rename to datafuse_replay')
  }
  await join(t, 'u', 'r70f', { since: 0 })
})
