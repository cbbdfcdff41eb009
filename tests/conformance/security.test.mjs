// SPDX-License-Identifier: Apache-2.0
// Goal: what attackers of such servers are known to send: tokens that confuse a verifier, claims and names meant for
// SQL, JSON made to cost much. Each is refused or harmless, and no other client notices.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync, sign as asymmetric } from 'node:crypto'
import { now, sign } from '../harness/jwt.mjs'
import { connect } from '../harness/phx.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'

const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const other = generateKeyPairSync('ec', { namedCurve: 'P-384' })
const keys = { keys: [{ ...ec.publicKey.export({ format: 'jwk' }), kid: 'e', alg: 'ES256', use: 'sig' }] }
const database = await startPostgres({ after })
const node = await startNode({ after }, { database, env: { REALTIME_JWT_JWKS: JSON.stringify(keys) } })
const sql = await database.connect()
await sql.query(`create table victim (id int); create table t (id int primary key, v text);
  alter table t enable row level security; alter publication supabase_realtime add table t;
  create policy own on t for select to authenticated using (v = auth.jwt() ->> 'x')`)
const count = (role) => node.pids().filter((p) => p.role === role).length
await until('each db process to be there', () => count('db') === count('supervisor'))
const before = JSON.stringify(node.pids())

const b64 = (v) => Buffer.from(typeof v === 'string' ? v : JSON.stringify(v)).toString('base64url')
const token = (head, body, sig) => { const input = `${b64(head)}.${b64(body)}`; return `${input}.${sig(input)}` }
const hs256 = (input) => createHmac('sha256', node.secret).update(input).digest('base64url')
const es = (key, hash, encoding) => (input) => asymmetric(hash, Buffer.from(input), { key: key.privateKey, dsaEncoding: encoding }).toString('base64url')
const good = { role: 'anon', exp: now() + 3600 }
const claims = (text) => token({ alg: 'HS256' }, text, hs256)
const exp = now() + 3600

const TOKENS = {
  'a good one of HS256': [token({ alg: 'HS256' }, good, hs256), 'ok'],
  'a good one of ES256': [token({ alg: 'ES256', kid: 'e' }, good, es(ec, 'sha256', 'ieee-p1363')), 'ok'],
  'alg none': [token({ alg: 'none' }, good, () => ''), 'JwtSignerError'],
  'alg NoNe, signed': [token({ alg: 'NoNe' }, good, hs256), 'JwtSignerError'],
  'two algs': [token('{"alg":"HS256","alg":"none"}', good, hs256), 'JwtSignerError'],
  'a critical header that nobody knows': [token({ alg: 'HS256', crit: ['x'], x: 1 }, good, hs256), 'JwtSignerError'],
  'ES256 with a DER signature': [token({ alg: 'ES256', kid: 'e' }, good, es(ec, 'sha256', 'der')), 'JwtSignatureError'],
  'ES256 by a key of another curve': [token({ alg: 'ES256', kid: 'e' }, good, es(other, 'sha256', 'ieee-p1363')), 'JwtSignatureError'],
  'ES384 under the kid of an ES256 key': [token({ alg: 'ES384', kid: 'e' }, good, es(other, 'sha384', 'ieee-p1363')), 'JwtSignerError'],
  'a key in its own header': [token({ alg: 'ES384', jwk: other.publicKey.export({ format: 'jwk' }) }, good, es(other, 'sha384', 'ieee-p1363')), 'JwtSignerError'],
  'an address of keys in its header': [token({ alg: 'ES256', kid: 'x', jku: 'http://127.0.0.1:1/', x5u: 'http://127.0.0.1:1/' }, good, hs256), 'JwtSignerError'],
  'a kid that is SQL': [token({ alg: 'ES256', kid: "' or 1=1 --" }, good, hs256), 'JwtSignerError'],
  'a kid that is a path, of a secret that has none': [token({ alg: 'HS256', kid: '../../../dev/null' }, good, hs256), 'ok'],
  'a kid that is a number': [token({ alg: 'HS256', kid: 5 }, good, hs256), 'JwtSignerError'],
  'exp beyond every clock': [claims('{"role":"anon","exp":1e308}'), 'MalformedJWT'],
  'exp over 64 bits': [claims('{"role":"anon","exp":99999999999999999999}'), 'MalformedJWT'],
  'exp at the end of 64 bits': [claims('{"role":"anon","exp":9223372036854775807}'), 'MalformedJWT'],
  'exp before 1970': [claims('{"role":"anon","exp":-1}'), 'InvalidJWTToken'],
  'exp as text': [claims(`{"role":"anon","exp":"${exp}"}`), 'MalformedJWT'],
  'a role that is a number': [claims(`{"role":5,"exp":${exp}}`), 'MalformedJWT'],
  'a role with a NUL': [claims(`{"role":"anon\\u0000x","exp":${exp}}`), 'MalformedJWT'],
  'no role': [claims(`{"exp":${exp}}`), 'InvalidJWTToken'],
  'claims that are a list': [claims('[1]'), 'MalformedJWT'],
  'a changed body': [sign(good, node.secret).replace(/\.(.)/, (_, c) => `.${c === 'e' ? 'f' : 'e'}`), 'MalformedJWT'],
  'a cut signature': [sign(good, node.secret).slice(0, -2), 'JwtSignatureError'],
  'four parts': [`${sign(good, node.secret)}.x`, 'MalformedJWT'],
  'a megabyte of claims': [sign({ ...good, x: 'y'.repeat(1 << 20) }, node.secret), 'MalformedJWT'],
}
test('tokens that confuse a verifier', async (t) => {
  for (const [name, [access_token, expected]] of Object.entries(TOKENS)) {
    const s = await connect(t, node) // one each: later refusals of one socket are held back
    s.send('1', '1', 'realtime:token', 'phx_join', { config: {}, access_token })
    const { status, response } = (await s.reply('1')).payload
    assert.equal(status === 'ok' ? 'ok' : response.reason.split(':')[0], expected, `${name}: ${JSON.stringify(response)}`)
  }
})

const INJECTION = "'); drop table victim; --"
test('claims, roles, topics, events and filters that are SQL stay texts', async (t) => {
  const s = await connect(t, node)
  const refused = async (topic, access_token) => (await (await connect(t, node)).join(topic, {}, { payload: { config: { private: true }, access_token }, refused: true })).payload.response.reason
  for (const role of ['postgres', 'realtime', 'none', `authenticated${INJECTION}`, '"authenticated"']) {
    assert.equal(await refused(`realtime:role ${role}`, node.token({ role })), `Unauthorized: You do not have permissions to read from this Channel topic: role ${role}`)
  }
  assert.match(await refused(`realtime:${INJECTION}`, node.token({ sub: INJECTION, x: INJECTION })), /^Unauthorized/)
  assert.match(await refused('realtime:nul', token({ alg: 'HS256' }, `{"role":"authenticated","sub":"a\\u0000b","exp":${exp}}`, hs256)), /^Unauthorized/)
  const postgres_changes = [{ event: '*', schema: 'public', table: 't', filter: `v=eq.${INJECTION}` }, { event: '*', schema: 'public', table: 't' }]
  await s.join('realtime:rows', {}, { ref: 'r', payload: { access_token: node.token({ x: INJECTION }),
    config: { postgres_changes, postgres_changes_options: { wait: true, timeout: 15000 } } } })
  await s.event('realtime:rows', 'system')
  await sql.query('insert into t values (1, $1), (2, $2)', [INJECTION, 'another'])
  const { payload } = await s.event('realtime:rows', 'postgres_changes')
  assert.deepEqual([payload.ids.length, payload.data.record.v], [2, INJECTION])
  for (const [table, filter] of [[`t${INJECTION}`, undefined], ['t', `v${INJECTION}=eq.1`], ['t', `v=match.${INJECTION}(`]]) {
    const topic = `realtime:bad ${table}${filter}`
    s.send('b', topic, topic, 'phx_join', { config: { postgres_changes: [{ event: '*', schema: 'public', table, filter }] }, access_token: node.token({}) })
    await s.reply(topic)
    assert.equal((await s.event(topic, 'system')).payload.status, 'error')
  }
  assert.equal((await sql.query("select to_regclass('victim') is not null as there")).rows[0].there, true)
})

test('JSON that is deep, doubled, huge or broken', async (t) => {
  const [s, hears] = [await connect(t, node), await connect(t, node)]
  const T = 'realtime:json'
  for (const c of [s, hears]) await c.join(T, { broadcast: { ack: true } }, { ref: '1' })
  const push = async (payload, ref) => {
    s.raw(`["1","${ref}","${T}","broadcast",{"type":"broadcast","event":"e","payload":${payload}}]`)
    return (await s.reply(ref)).payload.status
  }
  const many = `{${Array.from({ length: 150000 }, (_, i) => `"k${i.toString(36)}":0`).join(',')}}`
  for (const [i, payload] of ['{"a":1,"a":2}', '[1e999,-1e999,1e-999,123456789012345678901234567890]', '"\\ud800 \\udfff\\ud800"', '"\\u0000"', '['.repeat(50) + ']'.repeat(50), many].entries()) {
    assert.equal(await push(payload, `g${i}`), 'ok')
    const got = await hears.event(T, 'broadcast')
    assert.deepEqual(got.payload.payload, JSON.parse(payload))
  }
  const sends = (text) => s.raw(text)
  sends(`["1","d1","${T}","broadcast",${'['.repeat(5000)}${']'.repeat(5000)}]`)
  sends(`["1","d2","${T}","broadcast",{"a":01}]`)
  sends(`["1","d3","${T}","broadcast",{"a":"\\x"}]`)
  sends(`["1","d4","${T}","broadcast",{"a":1}`)
  sends('[]')
  sends('[null,null,null,null,null]')
  sends(`["1","d5","${T}\\u0000x","phx_join",{}]`)
  await s.heartbeat()
  await hears.nothing(300)
})

test('nobody noticed, and no key stands in a log', async (t) => {
  assert.equal(JSON.stringify(node.pids()), before, 'a process was restarted')
  for (const n of node.nodes ?? [node]) {
    assert.ok(!n.logText().includes(node.secret))
    for (const [name, [text]] of Object.entries(TOKENS)) assert.ok(!n.logText().includes(text), `${name} is in the log`)
  }
})
