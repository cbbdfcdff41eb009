// SPDX-License-Identifier: Apache-2.0
// Goal: several projects in one cluster share nothing: topics, presence, keys, limits, databases; SIGHUP adds,
// changes and removes one while the clients of the others notice nothing.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { request } from 'node:http'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { sign } from '../harness/jwt.mjs'
import { connect, handshake, kind4 } from '../harness/phx.mjs'
import { startNode, startPostgres, until } from '../harness/process.mjs'

const secret = (name) => `the-secret-of-project-${name}-with-32-characters`
const server = await startPostgres({ after })
const databases = { red: server, blue: server.another('blue') }
for (const db of Object.values(databases)) {
  db.psql('-c', 'create table t (id int primary key, v text); alter publication supabase_realtime add table t')
}

const dir = mkdtempSync('/tmp/realtime-projects-')
after(() => rmSync(dir, { recursive: true }))
const file = join(dir, 'realtime.ini')
const settings = (name) => ({
  jwt_secret: secret(name),
  ...(databases[name] && { database_url: databases[name].realtimeUrl, database_check_url: databases[name].checkUrl, auth_helpers: 'on' }),
})
/** Writes the file of all nodes. */
function configure(projects) {
  writeFileSync(file, Object.entries(projects).map(([name, values]) =>
    [`[project ${name}]`, ...Object.entries(values).map(([k, v]) => `${k} = ${v}`), ''].join('\n')).join('\n'))
}
const base = () => ({ red: settings('red'), blue: { ...settings('blue'), aliases: 'navy, cyan', max_channels_per_client: 2 } })
configure(base())
const node = await startNode({ after }, { args: ['--config', file], env: { REALTIME_JWT_SECRET: undefined } })
const nodes = node.nodes ?? [node]
const reload = () => { for (const n of nodes) process.kill(n.child.pid, 'SIGHUP') }

const key = (project, claims = { role: 'anon' }) => sign(claims, secret(project))
const host = (name) => ({ host: `${name}.example.com` })
/** A socket of a project. */
const client = (t, project, opts = {}) => connect(t, node, { key: key(project), headers: host(opts.host ?? project), ...opts })
const broadcast = (s, topic, payload) => s.call('1', topic, 'broadcast', { type: 'broadcast', event: 'e', payload })
/** POST with a Host header of the project. */
const post = (project, body) => new Promise((resolve, reject) => {
  const req = request({ host: '127.0.0.1', port: node.port, method: 'POST', path: '/api/broadcast',
    headers: { ...host(project), apikey: key(project), 'content-type': 'application/json' } }, (res) => { res.resume(); resolve(res.statusCode) })
  req.on('error', reject)
  req.end(JSON.stringify(body))
})
/** Joins a channel with changes of table t that are live. */
async function subscribe(s, topic, ref = '1') {
  await s.join(topic, changes, { ref })
  assert.equal((await s.event(topic, 'system')).payload.message, 'Subscribed to PostgreSQL')
}
/** Until the slot of a project is made, which takes a while during which it is active: rows written before are nobody's. */
async function read(p) {
  const sql = await databases[p].connect()
  await until(`the changes of ${p} to be read`, async () => (await sql.query(`select from pg_replication_slots
    where slot_name like 'datafuse_realtime_%' and database = current_database() and active and confirmed_flush_lsn is not null`)).rowCount === 1, 30000)
}
/** Until each edge has answered so but for one chance in 32768: they read the settings one after another. */
const everywhere = (what, status, project) => until(what, async () =>
  (await Promise.all(Array.from({ length: 16 * nodes.length }, () => handshake(node, path(project), host(project))))).every((r) => r.status === status))
const path = (project) => `/socket/websocket?apikey=${key(project)}&vsn=2.0.0`
const changes = { postgres_changes: [{ event: '*', schema: 'public', table: 't' }], postgres_changes_options: { wait: true, timeout: 15000 } }
async function rows(s, topic, count) {
  const seen = []
  while (seen.length < count) seen.push((await s.event(topic, 'postgres_changes')).payload.data.record.v)
  return seen
}

test('case 11: a host that is no project is refused, name and alias in any case are not', async () => {
  const refused = await handshake(node, path('red'), host('nope'))
  assert.deepEqual([refused.status, JSON.parse(refused.body)], [404, { error: 'Tenant not found' }])
  for (const label of ['red', 'RED', 'realtime-dev']) {
    assert.equal((await handshake(node, path('red'), host(label))).status, 101, label)
  }
  for (const label of ['blue', 'navy', 'Cyan']) {
    assert.equal((await handshake(node, path('blue'), host(label))).status, 101, label)
  }
  const rest = await fetch(`${node.url}/api/broadcast`, { method: 'POST', headers: { apikey: key('red'), 'content-type': 'application/json' },
    body: JSON.stringify({ messages: [] }) })
  assert.deepEqual([rest.status, await rest.json()], [401, { message: 'Tenant not found in database' }])
  assert.match(rest.headers.get('x-request-id'), /^[0-9a-f]{32}$/)
})

test('case 48: what a project broadcasts stays in it, also by REST and by SQL', async (t) => {
  const pairs = {}
  for (const p of ['red', 'blue']) {
    pairs[p] = [await client(t, p), await client(t, p)]
    for (const s of pairs[p]) await s.join('realtime:room', { broadcast: { ack: true } }, { ref: '1' })
  }
  for (const p of ['red', 'blue']) {
    await broadcast(pairs[p][0], 'realtime:room', { from: p })
    assert.deepEqual((await pairs[p][1].event('realtime:room', 'broadcast')).payload.payload, { from: p })
    assert.equal(await post(p, { messages: [{ topic: 'room', event: 'e', payload: { rest: p } }] }), 202)
    for (const s of pairs[p]) assert.equal((await s.event('realtime:room', 'broadcast')).payload.payload.rest, p)
    const sql = await databases[p].connect()
    await read(p)
    await sql.query(`select realtime.send(jsonb_build_object('sql', '${p}'), 'e', 'room', false)`)
    for (const s of pairs[p]) assert.equal(kind4((await s.take('the row', (f) => f.binary)).binary).payload.sql, p)
  }
  for (const s of [...pairs.red, ...pairs.blue]) await s.nothing()
})

test('presence, keys and limits are those of the project', async (t) => {
  const red = await client(t, 'red')
  const blue = await client(t, 'blue')
  for (const s of [red, blue]) {
    await s.join('realtime:lobby', { presence: { enabled: true, key: 'me' } }, { ref: '1' })
    assert.deepEqual((await s.event('realtime:lobby', 'presence_state')).payload, {})
  }
  await red.track('1', 'realtime:lobby', { color: 'red' })
  assert.deepEqual(Object.keys((await red.event('realtime:lobby', 'presence_diff')).payload.joins), ['me'])
  await blue.nothing()
  const stranger = await handshake(node, path('red'), host('blue'))
  assert.deepEqual([stranger.status, JSON.parse(stranger.body)], [401, { error: 'Failed to validate JWT signature' }])
  await blue.join('realtime:b', {}, { ref: '2' })
  assert.match(JSON.stringify((await blue.join('realtime:c', {}, { ref: '3', refused: true })).payload), /ChannelRateLimitReached/)
  for (const ref of ['2', '3', '4']) await red.join(`realtime:r${ref}`, {}, { ref })
})

test('a socket that comes back to another project with the refs and topic it had: nothing of before is there', async (t) => {
  const red = await client(t, 'red')
  await red.join('realtime:same', { presence: { enabled: true, key: 'me' }, broadcast: { ack: true } }, { ref: '1' })
  await red.track('1', 'realtime:same', { color: 'red' })
  red.ws.terminate()
  const blue = await client(t, 'blue')
  assert.deepEqual((await broadcast(blue, 'realtime:same', {})).payload, { status: 'error', response: { reason: 'unmatched topic' } })
  await blue.join('realtime:same', { presence: { enabled: true, key: 'me' }, broadcast: { ack: true } }, { ref: '1' })
  assert.deepEqual((await blue.event('realtime:same', 'presence_state')).payload, {})
  const other = await client(t, 'red')
  await other.join('realtime:same', { broadcast: { ack: true } }, { ref: '1' })
  assert.equal((await broadcast(other, 'realtime:same', {})).payload.status, 'ok')
  await blue.nothing()
})

test('changes and private channels come from the database of the project', async (t) => {
  const sockets = { red: await client(t, 'red'), blue: await client(t, 'blue') }
  await (await databases.red.connect()).query(`create policy p on realtime.messages for all to anon using (true) with check (true)`)
  for (const [p, s] of Object.entries(sockets)) {
    await subscribe(s, 'realtime:c')
    await s.join('realtime:secret', { private: true }, { ref: '2', refused: p === 'blue' })
  }
  for (const p of ['red', 'blue']) await (await databases[p].connect()).query(`insert into t values (1, '${p}')`)
  for (const [p, s] of Object.entries(sockets)) assert.deepEqual(await rows(s, 'realtime:c', 1), [p])
  for (const s of Object.values(sockets)) await s.nothing()
})

test('realtimectl tells the projects apart, and asks which one is meant', async (t) => {
  for (const p of ['red', 'blue']) await (await client(t, p)).join('realtime:ctl', {}, { ref: '1' })
  const projects = (...args) => [...new Set(node.rows(...args).map((r) => r.project).filter(Boolean))].sort()
  for (const args of [['topics'], ['topics', '--top', '9'], ['channels'], ['connections'], ['slots']]) {
    assert.deepEqual(projects(...args), ['blue', 'red'], args[0])
    for (const p of ['red', 'blue']) assert.deepEqual(projects('--project', p, ...args), [p], args[0])
  }
  for (const args of [['presence', 'ctl'], ['ring', 'ctl'], ['explain', 'ctl', 't'], ['pub', 'ctl', 'e', '{}']]) {
    const { status, stderr } = node.ask(...args)
    assert.notEqual(status, 0, args[0])
    assert.match(stderr, /name a project by --project: .*(red.*blue|blue.*red)/, args[0])
    assert.doesNotMatch(node.ask('--project', 'red', ...args).stderr, /name a project/, args[0])
    assert.match(node.ask('--project', 'pink', ...args).stderr, /name a project by --project/, args[0])
  }
})

test('a db process that dies is that of its project alone', async (t) => {
  const sockets = { red: await client(t, 'red'), blue: await client(t, 'blue') }
  for (const s of Object.values(sockets)) await subscribe(s, 'realtime:c')
  const slots = node.rows('slots')
  assert.deepEqual([...new Set(slots.map((r) => r.project))].sort(), ['blue', 'red'])
  for (const n of nodes) await n.kill('db', 0) // red's, which stands first in the file
  await (await databases.blue.connect()).query("insert into t values (10, 'still')")
  assert.deepEqual(await rows(sockets.blue, 'realtime:c', 1), ['still'])
  await (await databases.red.connect()).query("insert into t values (10, 'again')")
  assert.deepEqual(await rows(sockets.red, 'realtime:c', 1), ['again'])
  assert.ok(nodes.every((n) => n.pids().filter((p) => p.role === 'db').length <= 2))
})

test('what a project does and is refused is counted for it', async (t) => {
  const text = async (n) => (await fetch(`${n.adminUrl}/metrics`)).text()
  const figure = async (name, project) => (await Promise.all(nodes.map(text))).join('\n').split('\n')
    .filter((l) => l.startsWith(`realtime_project_${name}{`) && l.includes(`project="${project}"`))
    .reduce((sum, l) => sum + Number(l.split(' ')[1]), 0)
  const figures = (project) => Promise.all(['joins_total', 'limited_channels_total', 'clients'].map((name) => figure(name, project)))
  const clients = () => Promise.all(['red', 'blue'].map((p) => figure('clients', p)))
  await until('the sockets of before to be gone', async () => (await clients()).every((n) => n === 0))
  const before = { red: await figures('red'), blue: await figures('blue') }
  const blue = await client(t, 'blue')
  for (const ref of ['1', '2']) await blue.join(`realtime:${ref}`, {}, { ref })
  await blue.join('realtime:3', {}, { ref: '3', refused: true })
  assert.deepEqual(await figures('blue'), [before.blue[0] + 2, before.blue[1] + 1, 1])
  assert.deepEqual(await figures('red'), before.red)
  const limit = async (n, project) => (await text(n)).match(new RegExp(`^realtime_limit\\{node="${n.name}",setting="REALTIME_MAX_CHANNELS_PER_CLIENT",project="${project}"\\} (\\d+)$`, 'm'))?.[1]
  for (const n of nodes) assert.deepEqual([await limit(n, 'blue'), await limit(n, 'red')], ['2', '100'])
})

test('SIGHUP adds a project, changes one and removes one; the others notice nothing', async (t) => {
  const red = await client(t, 'red')
  const blue = await client(t, 'blue')
  for (const s of [red, blue]) await subscribe(s, 'realtime:room')
  const before = nodes.map((n) => n.pid('db', 0))

  configure({ ...base(), green: settings('green') })
  reload()
  await everywhere('green to be known', 101, 'green')
  const green = await client(t, 'green')
  await green.join('realtime:room', {}, { ref: '1' })

  configure({ ...base(), blue: { ...base().blue, max_channels_per_client: 1 }, green: settings('green') })
  reload()
  await until('the limit to be taken', async () => {
    const s = await client(t, 'blue')
    await s.join('realtime:a', {}, { ref: '1' })
    s.send('2', '2', 'realtime:b', 'phx_join', { config: {} })
    return (await s.reply('2')).payload.status === 'error'
  })

  configure({ red: base().red, blue: base().blue })
  reload()
  assert.equal((await green.event('realtime:room', 'system')).payload.message, 'Server requested disconnect')
  assert.equal((await green.closing()).code, 1012)
  await everywhere('green to be gone', 404, 'green')
  await until('its db process to be gone', () => nodes.every((n) => n.pids().filter((p) => p.role === 'db').length === 2))

  assert.deepEqual(nodes.map((n) => n.pid('db', 0)), before)
  await red.heartbeat()
  await (await databases.red.connect()).query("insert into t values (20, 'on')")
  await (await databases.blue.connect()).query("insert into t values (20, 'on')")
  for (const s of [red, blue]) {
    assert.deepEqual(await rows(s, 'realtime:room', 1), ['on'])
    await s.nothing()
  }
})

test('a project that is suspended or becomes private', async (t) => {
  const red = await client(t, 'red')
  const blue = await client(t, 'blue')
  for (const s of [red, blue]) await s.join('realtime:room', {}, { ref: '1' })
  configure({ ...base(), blue: { ...base().blue, suspend: 'on' } })
  reload()
  assert.equal((await blue.closing()).code, 1012)
  await everywhere('blue to be refused', 403, 'blue')
  const refused = await handshake(node, path('blue'), host('blue'))
  assert.deepEqual([refused.status, JSON.parse(refused.body)], [403, { error: 'Realtime was disabled for this tenant' }])
  assert.equal(await post('blue', { messages: [{ topic: 'room', event: 'e', payload: {} }] }), 403)
  configure({ ...base(), red: { ...base().red, private_only: 'on' } })
  reload()
  assert.equal((await red.closing()).code, 1012)
  await everywhere('blue to be served again', 101, 'blue') // by then red is private too
  const again = await client(t, 'red')
  assert.match(JSON.stringify((await again.join('realtime:room', {}, { ref: '1', refused: true })).payload), /PrivateOnly/)
  configure({ ...base(), green: settings('green') }) // a handshake tells whether an edge knows it
  reload()
  await everywhere('red to be public again', 101, 'green')
  await again.join('realtime:room', {}, { ref: '2' })
})

test('settings that are wrong change nothing and are named in the log', async (t) => {
  const red = await client(t, 'red')
  await red.join('realtime:room', {}, { ref: '1' })
  configure({ red: { ...base().red, jwt_secret: '' }, blue: { ...base().blue, database_url: databases.red.realtimeUrl } })
  reload()
  for (const n of nodes) {
    await until('the log to name them', () => /project red.*neither REALTIME_JWT_SECRET/.test(n.logText()) &&
      /project blue.*REALTIME_DATABASE_URL is that of project red too/.test(n.logText()))
  }
  assert.equal((await handshake(node, path('red'), host('red'))).status, 101)
  await red.heartbeat()
  configure(base())
})
