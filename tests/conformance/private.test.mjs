// SPDX-License-Identifier: Apache-2.0
// Goal: a private channel does what the policies on realtime.messages allow, and nothing else.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'
import { now } from '../harness/jwt.mjs'
import { preparePolicies, allow, notToRead, noLonger, notToWrite } from './private_help.mjs'

const database = await startPostgres({ after })
const node = await startNode({ after }, { database })
const sql = await database.connect()
await until('realtime.messages', async () => (await sql.query("select to_regprocedure('realtime.datafuse_allow(text)') is not null as ok")).rows[0].ok)
await until('partitions', async () => (await sql.query("select count(*)::int as n from pg_inherits where inhparent = to_regclass('realtime.messages')")).rows[0].n >= 5)
await preparePolicies(sql)

const may = (sub, topic, rights) => allow(sql, sub, topic, rights)
const all = 'read:broadcast read:presence write:broadcast write:presence'
const with_ = (config, more) => ({ ...config, private: true, ...more })
/** Joins as a user; the join's ref is '1'. */
async function member(t, sub, topic, config = {}, opts = {}) {
  const s = await connect(t, node, opts)
  await s.join(`realtime:${topic}`, {}, { ref: '1', payload: { config: with_(config), access_token: node.token({ sub, ...opts.claims }) }, refused: opts.refused })
  s.send_ = (event, payload, ref = null) => s.send('1', ref, `realtime:${topic}`, 'broadcast', { type: 'broadcast', event, payload })
  s.token = (token) => s.send('1', null, `realtime:${topic}`, 'access_token', { access_token: token })
  return s
}
const refusal = async (t, sub, topic, config) => {
  const s = await connect(t, node)
  const reply = await s.join(`realtime:${topic}`, {}, { ref: '1', payload: { config: with_(config), access_token: node.token({ sub }) }, refused: true })
  return reply.payload.response
}

for (const vsn of ['1.0.0', '2.0.0']) {
  const v = vsn[0]

  test(`${vsn} case 66: no policy lets read: the join is refused`, async (t) => {
    const T = `p66-${v}`
    const s = await member(t, 'u', T, {}, { vsn, refused: true })
    s.send('1', 'x', `realtime:${T}`, 'broadcast', { event: 'e' })
    assert.deepEqual((await s.reply('x')).payload.response, { reason: 'unmatched topic' })
    assert.deepEqual(await refusal(t, 'u', T), { reason: `Unauthorized: ${notToRead(T)}` })
  })

  test(`${vsn} case 47: public and private channels of one name are two topics`, async (t) => {
    const T = `p47-${v}`
    await may('u', T, all)
    const hidden = await member(t, 'u', T, { broadcast: { ack: true } }, { vsn })
    const open = await connect(t, node, { vsn })
    await open.join(`realtime:${T}`, { broadcast: { ack: true } }, { ref: '1' })
    hidden.send_('secret', {}, 'a')
    assert.equal((await hidden.reply('a')).payload.status, 'ok')
    assert.equal((await open.call('1', `realtime:${T}`, 'broadcast', { type: 'broadcast', event: 'loud', payload: {} })).payload.status, 'ok')
    await Promise.all([hidden.nothing(), open.nothing()])
  })

  test(`${vsn} case 67: read of broadcast only`, async (t) => {
    const T = `p67-${v}`
    await may('r', T, 'read:broadcast')
    await may('w', T, 'read:broadcast write:broadcast')
    const r = await member(t, 'r', T, { broadcast: { ack: true }, presence: { enabled: true, key: 'k' } }, { vsn })
    const w = await member(t, 'w', T, { broadcast: { ack: true } }, { vsn })
    w.send_('e', { n: 1 }, 'a')
    assert.equal((await w.reply('a')).payload.status, 'ok')
    assert.deepEqual((await r.event(`realtime:${T}`, 'broadcast')).payload, { type: 'broadcast', event: 'e', payload: { n: 1 } })
    r.send_('e', { n: 2 }, 'b')
    assert.deepEqual((await r.reply('b')).payload, { status: 'error', response: { reason: notToWrite(T) } })
    assert.deepEqual((await r.track('1', `realtime:${T}`, { a: 1 })).payload, { status: 'error', response: { reason: notToWrite(T) } })
    assert.equal((await r.untrack('1', `realtime:${T}`)).payload.status, 'ok')
    await Promise.all([r.nothing(), w.nothing()]) // no presence_state either
  })

  test(`${vsn} case 67: without ack a send that is not allowed is dropped in silence`, async (t) => {
    const T = `p67s-${v}`
    await may('r', T, 'read:broadcast')
    const [r, other] = [await member(t, 'r', T, {}, { vsn }), await member(t, 'r', T, {}, { vsn })]
    r.send_('e', {}, 'x')
    await Promise.all([r.nothing(), other.nothing()])
  })

  test(`${vsn} case 68: presence only`, async (t) => {
    const T = `p68-${v}`
    await may('p', T, 'read:presence write:presence')
    await may('b', T, all)
    const p = await member(t, 'p', T, { broadcast: { ack: true }, presence: { enabled: true, key: 'p' } }, { vsn })
    const b = await member(t, 'b', T, { broadcast: { ack: true } }, { vsn })
    assert.deepEqual((await p.event(`realtime:${T}`, 'presence_state')).payload, {})
    assert.equal((await p.track('1', `realtime:${T}`, { a: 1 })).payload.status, 'ok')
    assert.deepEqual(Object.keys((await p.event(`realtime:${T}`, 'presence_diff')).payload.joins), ['p'])
    p.send_('e', {}, 'x')
    assert.deepEqual((await p.reply('x')).payload.response, { reason: notToWrite(T) })
    b.send_('e', {}, 'y')
    assert.equal((await b.reply('y')).payload.status, 'ok')
    await Promise.all([p.nothing(), b.nothing()])
  })

  test(`${vsn} case 69: a new token that may not read`, async (t) => {
    const T = `p69-${v}`
    await may('u', T, all)
    await may('v', T, 'read:broadcast')
    const system = (message) => ({ extension: 'system', status: 'error', message, channel: T })
    const [one, two] = [await member(t, 'u', T, {}, { vsn }), await member(t, 'u', T, { presence: { enabled: true } }, { vsn })]
    await two.event(`realtime:${T}`, 'presence_state')
    one.token(node.token({ sub: 'nobody' }))
    assert.deepEqual((await one.event(`realtime:${T}`, 'system')).payload, system(notToRead(T)))
    assert.equal((await one.event(`realtime:${T}`, 'phx_close')).ref, '1')
    two.token(node.token({ sub: 'v' }))
    assert.deepEqual((await two.event(`realtime:${T}`, 'system')).payload, system(noLonger(T)))
    assert.equal((await two.event(`realtime:${T}`, 'phx_close')).ref, '1')
    await one.heartbeat()
  })

  test(`${vsn} case 69: a new token that may read more`, async (t) => {
    const T = `p69m-${v}`
    await may('p', T, 'read:presence')
    await may('u', T, all)
    const s = await member(t, 'p', T, { presence: { enabled: true } }, { vsn })
    await s.event(`realtime:${T}`, 'presence_state')
    const sender = await member(t, 'u', T, { broadcast: { ack: true } }, { vsn })
    sender.send_('e', { n: 1 }, 'a')
    assert.equal((await sender.reply('a')).payload.status, 'ok')
    s.token(node.token({ sub: 'u' }))
    let n = 1
    const heard = await until('one to be heard', async () => { // the database says when
      sender.send_('e', { n: ++n }, `b${n}`)
      assert.equal((await sender.reply(`b${n}`)).payload.status, 'ok')
      return s.frames.find((f) => f.event === 'broadcast')
    })
    assert.ok(heard.payload.payload.n > 1)
    await s.heartbeat()
    assert.ok(!s.frames.some((f) => f.event === 'presence_state'))
  })
}

test('a new token ends the right to write at once, and gives it', async (t) => {
  const T = 'pw'
  await may('u', T, all)
  await may('r', T, 'read:broadcast read:presence')
  const [s, other] = [await member(t, 'u', T, { broadcast: { ack: true } }), await member(t, 'u', T)]
  s.send_('e', { n: 1 }, 'a')
  assert.equal((await s.reply('a')).payload.status, 'ok')
  s.token(node.token({ sub: 'r' }))
  s.send_('e', { n: 2 }, 'b') // in the same moment: it waits for what the token may
  assert.deepEqual((await s.reply('b')).payload.response, { reason: notToWrite(T) })
  await delay(1100) // one refresh per second
  s.token(node.token({ sub: 'u' }))
  s.send_('e', { n: 3 }, 'c')
  assert.equal((await s.reply('c')).payload.status, 'ok')
  assert.deepEqual([1, 3], [(await other.event(`realtime:${T}`, 'broadcast')).payload.payload.n, (await other.event(`realtime:${T}`, 'broadcast')).payload.payload.n])
})

test('many messages behind the first question keep their order', async (t) => {
  const T = 'porder'
  await may('u', T, all)
  const [s, other] = [await member(t, 'u', T), await member(t, 'u', T)]
  for (let n = 0; n < 500; n++) s.send_('e', { n })
  for (let n = 0; n < 500; n++) assert.equal((await other.event(`realtime:${T}`, 'broadcast')).payload.payload.n, n)
})

test('the first message of a channel may be large', async (t) => {
  const T = 'plarge'
  await may('u', T, all)
  const [s, other] = [await member(t, 'u', T, { broadcast: { ack: true } }), await member(t, 'u', T)]
  s.send_('e', { text: 'x'.repeat(2_000_000) }, 'a')
  s.send_('e', { text: 'small' }, 'b')
  assert.equal((await s.reply('a')).payload.status, 'ok')
  assert.equal((await s.reply('b')).payload.status, 'ok')
  assert.equal((await other.event(`realtime:${T}`, 'broadcast')).payload.payload.text.length, 2_000_000)
})

test('track on a channel that joined without presence asks for both rights', async (t) => {
  const T = 'ptrack'
  await may('u', T, all)
  await may('w', T, 'read:broadcast write:presence')
  const u = await member(t, 'u', T)
  assert.equal((await u.track('1', `realtime:${T}`, { a: 1 })).payload.status, 'ok')
  assert.ok((await u.event(`realtime:${T}`, 'presence_state')).payload)
  await u.event(`realtime:${T}`, 'presence_diff')
  const w = await member(t, 'w', T)
  assert.equal((await w.track('1', `realtime:${T}`, { a: 2 })).payload.status, 'ok')
  await w.nothing() // writes, and hears nothing of it
  await u.event(`realtime:${T}`, 'presence_diff')
})

test('postgres case 61: the probes leave nothing behind', async () => {
  assert.equal((await sql.query('select count(*)::int as n from realtime.messages')).rows[0].n, 0)
})

test('postgres case 62: policies see the topic, the headers, the extension and a probe that is not private', async (t) => {
  await sql.query(`create policy p62 on realtime.messages for select to authenticated using (
    realtime.topic() = 'p62' and topic = 'p62' and private is false and payload is null and event is null and extension = 'broadcast'
    and current_setting('request.headers')::json ->> 'x-room' = 'blue' and current_setting('request.jwt.claim.sub') = 'h'
    and current_setting('request.jwt.claim.role') = 'authenticated' and auth.role() = 'authenticated')`)
  await member(t, 'h', 'p62', {}, { headers: { 'X-Room': 'blue' } })
  await member(t, 'h', 'p62', {}, { headers: { 'X-Room': 'red' }, refused: true })
  await member(t, 'i', 'p62', {}, { headers: { 'X-Room': 'blue' }, refused: true })
})

test('postgres case 63: a right that was taken away ends with the next token', async (t) => {
  await may('u63', 'p63', all)
  const s = await member(t, 'u63', 'p63')
  await may('u63', 'p63', '')
  s.token(node.token({ sub: 'u63', n: 2 }))
  assert.equal((await s.event('realtime:p63', 'system')).payload.message, noLonger('p63'))
  await s.event('realtime:p63', 'phx_close')
})

test('postgres case 63: a policy that was dropped ends with the next token', async (t) => {
  await sql.query("create policy p63 on realtime.messages for select to authenticated using (realtime.topic() = 'p63d')")
  const s = await member(t, 'u63', 'p63d')
  await sql.query('drop policy p63 on realtime.messages')
  s.token(node.token({ sub: 'u63', n: 2 }))
  assert.equal((await s.event('realtime:p63d', 'system')).payload.message, noLonger('p63d'))
  await s.event('realtime:p63d', 'phx_close')
})

test('a role that nobody may take is refused, and so is "none"', async (t) => {
  for (const role of ['no_such_role', 'none', 'postgres', '', 'a"; drop table x; --']) {
    const s = await connect(t, node)
    const reply = await s.join('realtime:prole', {}, { ref: '1', payload: { config: { private: true }, access_token: node.token({ role: role || ' ' }) }, refused: true })
    assert.equal(reply.payload.response.reason, `Unauthorized: ${notToRead('prole')}`)
  }
})

test('policies that raise, write, leave their role, loop or sleep hurt nobody else', async (t) => {
  await sql.query(`create function public.odd() returns boolean language plpgsql as $$ begin
      case realtime.topic()
      when 'raise' then raise 'bang';
      when 'private-state' then raise sqlstate 'DF001';
      when 'write' then insert into realtime.messages (topic, extension, event, payload, private) values ('leak', 'broadcast', 'e', '{}', true); return true;
      when 'leave' then perform set_config('role', 'none', false); perform set_config('request.jwt.claims', '{"sub":"fine"}', false); return false;
      when 'sleep' then perform pg_sleep(20); return true;
      when 'loop' then loop end loop;
      else return false; end case; end $$`)
  await sql.query('create policy odd on realtime.messages for select to authenticated using (public.odd())')
  t.after(() => sql.query('drop policy odd on realtime.messages'))
  await may('fine', 'fine', all)
  for (const T of ['raise', 'private-state', 'write', 'leave']) {
    assert.deepEqual(await refusal(t, 'x', T), { reason: `Unauthorized: ${notToRead(T)}` }, T)
  }
  let ended = 0
  const slow = ['sleep', 'loop'].map((T) => refusal(t, 'x', T).finally(() => ended++))
  const s = await member(t, 'fine', 'fine', { broadcast: { ack: true } })
  s.send_('e', {}, 'a')
  assert.equal((await s.reply('a')).payload.status, 'ok')
  assert.equal(ended, 0, 'others do not wait for a slow policy')
  for (const answer of slow) assert.deepEqual(await answer, { reason: 'QueryCanceled: Query was cancelled, please try again' })
  assert.equal((await sql.query('select count(*)::int as n from realtime.messages')).rows[0].n, 0)
})

test('an expired token may not start to write', async (t) => {
  await may('old', 'pold', all)
  const exp = now() + 8 // time enough to join
  const s = await member(t, 'old', 'pold', { broadcast: { ack: true } }, { claims: { exp } })
  await until('the end of the token', () => Date.now() >= exp * 1000) // and the grace of 10 s begins
  s.send_('e', {}, 'a')
  assert.deepEqual((await s.reply('a')).payload.response, { reason: notToWrite('pold') })
})

test('a wrong replay is refused on private channels too', async (t) => {
  await may('u', 'prep', all)
  assert.equal((await refusal(t, 'u', 'prep', { broadcast: { replay: { since: 'x' } } })).reason, 'UnableToReplayMessages: Replay params are not valid')
})

test('case 39: three refusals, none of them held back', async (t) => {
  const s = await connect(t, node)
  const took = []
  for (const ref of ['1', '2', '3']) {
    const start = Date.now()
    await s.join('realtime:p39', {}, { ref, payload: { config: { private: true }, access_token: node.token({ sub: 'x' }) }, refused: true })
    took.push(Date.now() - start)
  }
  assert.ok(Math.min(...took) < 200 && Math.max(...took) < 2000, `${took} ms`) // one may meet a busy machine
})

test('case 91: broadcasts over HTTP to a private topic', async (t) => {
  await may('r91', 'p91', 'read:broadcast')
  await may('w91', 'p91', 'write:broadcast')
  await may('w91', 'q91', 'write:broadcast')
  const s = await member(t, 'r91', 'p91', {}, { vsn: '1.0.0' })
  const post = async (path, body, sub, more) => {
    const res = await fetch(node.url + path, { method: 'POST', body, headers: { 'content-type': 'application/json', authorization: `Bearer ${node.token({ sub })}`, ...more } })
    return [res.status, await res.text(), res.headers.get('x-realtime-dropped')]
  }
  const single = (sub, more) => post('/api/broadcast/p91/events/e?private=true', '{"n":1}', sub, more)
  assert.deepEqual(await single('r91'), [403, '{"message":"Unauthorized"}', null])
  assert.deepEqual(await single('w91'), [202, '', null])
  assert.deepEqual((await s.event('realtime:p91', 'broadcast')).payload, { event: 'e', payload: { n: 1 }, type: 'broadcast' })
  const origin = await fetch(`${node.url}/api/broadcast/p91/events/e?private=true`, { method: 'POST', body: '{}', headers: { origin: 'http://app', 'content-type': 'application/json', authorization: `Bearer ${node.token({ sub: 'r91' })}` } })
  assert.deepEqual([origin.status, origin.headers.get('access-control-allow-origin')], [403, '*'])
  const messages = [['p91', true], ['x91', true], ['p91', false], ['q91', true], ['p91', true]].map(([topic, p], n) => ({ topic, event: 'b', payload: { n }, private: p }))
  assert.deepEqual(await post('/api/broadcast', JSON.stringify({ messages }), 'w91'), [202, '', '1'])
  assert.deepEqual([0, 4], [(await s.event('realtime:p91', 'broadcast')).payload.payload.n, (await s.event('realtime:p91', 'broadcast')).payload.payload.n])
  const twice = '{"messages":[{"topic":"p91","topic":"x91","event":"b","payload":{},"private":false,"private":true}]}' // the last of each counts, for asking and for sending
  assert.deepEqual(await post('/api/broadcast', twice, 'w91'), [202, '', '1'])
  const many = Array.from({ length: 150 }, (_, n) => ({ topic: `many${n}`, event: 'b', payload: {}, private: true }))
  assert.deepEqual(await post('/api/broadcast', JSON.stringify({ messages: many }), 'w91'), [202, '', '150'])
  await s.nothing()
})

test('case 91: a policy that raises, and one that sleeps, over HTTP', async (t) => {
  await sql.query(`create function public.odd_write() returns boolean language plpgsql as $$ begin
      case realtime.topic() when 'hraise' then raise 'bang'; when 'hsleep' then perform pg_sleep(20); return true; else return false; end case; end $$`)
  await sql.query('create policy odd_write on realtime.messages for insert to authenticated with check (public.odd_write())')
  t.after(() => sql.query('drop policy odd_write on realtime.messages'))
  const post = async (topic) => {
    const res = await fetch(`${node.url}/api/broadcast/${topic}/events/e?private=true`, { method: 'POST', body: '{}', headers: { 'content-type': 'application/json', authorization: `Bearer ${node.token({ sub: 'u' })}` } })
    return [res.status, await res.json()]
  }
  assert.deepEqual(await post('hraise'), [422, { message: 'RLS policy error' }])
  assert.deepEqual(await post('hsleep'), [422, { message: 'Query canceled' }])
})

test('case 100: supabase-js with an accessToken callback joins a private channel', async (t) => {
  await may('js', 'p100', all)
  const client = createClient(node.url, node.anonKey, { accessToken: async () => { await delay(300); return node.token({ sub: 'js' }) }, realtime: { transport: WebSocket } })
  t.after(() => client.realtime.disconnect())
  const seen = []
  await new Promise((resolve) => client.channel('p100', { config: { private: true } }).subscribe((status) => { seen.push(status); if (status === 'SUBSCRIBED') resolve() }))
  // The client may join before it has the token; it is refused then, and in when it joins again.
  assert.ok(['SUBSCRIBED', 'CHANNEL_ERROR,SUBSCRIBED'].includes(seen.join()), seen.join())
})

test('supabase-js: a private channel as the README shows it', async (t) => {
  await may('a', 'pjs', all)
  await may('b', 'pjs', 'read:broadcast read:presence')
  const open = async (sub, config = {}) => {
    const client = createClient(node.url, node.anonKey, { accessToken: async () => node.token({ sub }), realtime: { transport: WebSocket } })
    t.after(() => client.realtime.disconnect())
    await client.realtime.setAuth()
    const channel = client.channel('pjs', { config: { private: true, broadcast: { ack: true }, presence: { key: sub }, ...config } })
    const got = []
    channel.on('broadcast', { event: '*' }, (m) => got.push(m.payload)).on('presence', { event: 'sync' }, () => {})
    const [status, error] = await new Promise((resolve) => channel.subscribe((...args) => resolve(args)))
    return { channel, got, status, error }
  }
  const [a, b, c] = [await open('a'), await open('b'), await open('c')]
  assert.deepEqual([a.status, b.status, c.status], ['SUBSCRIBED', 'SUBSCRIBED', 'CHANNEL_ERROR'])
  assert.match(c.error.message, /^"?Unauthorized: You do not have permissions to read from this Channel topic: pjs/)
  assert.equal(await a.channel.send({ type: 'broadcast', event: 'e', payload: { n: 1 } }), 'ok')
  await until('the broadcast', () => b.got.length === 1)
  assert.equal(await b.channel.send({ type: 'broadcast', event: 'e', payload: { n: 2 } }), 'error')
  assert.equal(await a.channel.track({ at: 1 }), 'ok')
  await until('presence', () => 'a' in b.channel.presenceState())
  assert.equal(await b.channel.track({ at: 1 }), 'error')
  assert.deepEqual(await a.channel.httpSend('h', { n: 3 }), { success: true })
  await until('the one over HTTP', () => b.got.length === 2)
  assert.deepEqual(b.got, [{ n: 1 }, { n: 3 }])
})
