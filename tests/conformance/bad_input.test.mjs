// SPDX-License-Identifier: Apache-2.0
// Goal: hostile bytes get an answer or a close, no process restarts, other clients do not notice.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { connect as tcp } from 'node:net'
import { spawnSync } from 'node:child_process'
import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { startNode, until, root, SECRET } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const node = await startNode({ after })
const count = (role) => node.pids().filter((p) => p.role === role).length
await until('each db process to be there', () => count('db') === count('supervisor'))
const before = JSON.stringify(node.pids())
const witness = await connect({ after }, node)
await witness.join('realtime:witness', { broadcast: { self: true } }, { ref: 'w' })
after(() => {}) // keeps the hooks of this file in order

/** Sends bytes, returns all that comes until the server closes (or `ms` pass). */
function talk(bytes, { ms = 15000, every = 0 } = {}) {
  return new Promise((resolve) => {
    const s = tcp(node.port, '127.0.0.1')
    let got = ''
    const end = () => { clearTimeout(timer); s.destroy(); resolve(got) }
    const timer = setTimeout(end, ms)
    s.on('data', (d) => { got += d.toString('latin1') })
    s.on('error', end)
    s.on('close', end)
    s.on('connect', async () => {
      if (!every) return s.write(bytes)
      for (const b of Buffer.from(bytes)) {
        if (s.destroyed) return
        s.write(Buffer.from([b]))
        await new Promise((r) => setTimeout(r, every))
      }
    })
  })
}

async function unharmed() {
  assert.equal(JSON.stringify(node.pids()), before, 'a process was restarted')
  witness.send('w', null, 'realtime:witness', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })
  await witness.event('realtime:witness', 'broadcast')
}

const head = (extra = '', path = `/socket/websocket?apikey=${node.anonKey}&vsn=2.0.0`) =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${extra}\r\n`

test('HTTP/2 preface and Upgrade: h2c', async () => {
  assert.doesNotMatch(await talk('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), /^HTTP\/1\.1 (1|2)/)
  assert.doesNotMatch(await talk('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n', { ms: 3000 }), /101/)
  await unharmed()
})

test('heads that are damaged, too long, or endless', async () => {
  assert.match(await talk('nonsense\r\n\r\n'), /^HTTP\/1\.1 400/)
  assert.match(await talk(head(`X-Big: ${'x'.repeat(20000)}\r\n`)), /^HTTP\/1\.1 431/)
  assert.match(await talk(head([...Array(100).keys()].map((i) => `X-${i}: 1\r\n`).join(''))), /^HTTP\/1\.1 431/)
  assert.match(await talk(`GET /${'x'.repeat(20000)} HTTP/1.1\r\n`), /^HTTP\/1\.1 (414|431)/)
  assert.match(await talk(head().replace('Version: 13', 'Version: 12')), /^HTTP\/1\.1 (400|426)/)
  assert.match(await talk('POST /api/broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx'), /^HTTP\/1\.1 400/)
  await unharmed()
})

test('a head that comes byte by byte is cut after 10 s', async () => {
  const start = Date.now()
  await talk(head(`X-Slow: ${'y'.repeat(400)}\r\n`), { ms: 25000, every: 60 })
  assert.ok(Date.now() - start < 20000, 'the slow head was not cut')
  await unharmed()
})

test('WebSocket frames that break the rules', async () => {
  const close = /\x88[\x02-\x7d]\x03[\xea-\xf1]/s // a close frame with 1002 … 1009
  const cases = {
    unmasked: [0x81, 0x02, 0x7b, 0x7d],
    'reserved bit': [0xc1, 0x80, 0, 0, 0, 0],
    'reserved opcode': [0x83, 0x80, 0, 0, 0, 0],
    'fragmented ping': [0x09, 0x80, 0, 0, 0, 0],
    'length 2^63': [0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    'continuation of nothing': [0x80, 0x80, 0, 0, 0, 0],
  }
  for (const [name, bytes] of Object.entries(cases)) {
    const got = await talk(Buffer.concat([Buffer.from(head()), Buffer.from(bytes)]), { ms: 12000 })
    assert.match(got, /^HTTP\/1\.1 101/, name)
    assert.ok(!got.includes('HTTP/1.1 500'), name)
    if (!close.test(got)) assert.equal(got.split('\r\n\r\n')[1], '', `${name}: ${JSON.stringify(got)}`)
  }
  await unharmed()
})

test('bodies of who may not send one are not waited for', async () => {
  const announced = ['Content-Length: 7900000', 'Transfer-Encoding: chunked', 'Content-Length: 7900000\r\nExpect: 100-continue']
  const refused = { 'POST /nope': 404, 'GET /api/broadcast': 405, 'POST /api/broadcast': 401, 'POST /api/broadcast/a/events/e': 401 }
  for (const [line, status] of Object.entries(refused)) {
    for (const how of announced) {
      const got = await talk(`${line} HTTP/1.1\r\nHost: x\r\n${how}\r\n\r\n`)
      assert.match(got, new RegExp(`^HTTP/1\\.1 ${status} [^]*connection: close\r`), `${line} ${how}`)
    }
  }
  const inner = 'GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n'
  const got = await talk(`POST /nope HTTP/1.1\r\nHost: x\r\nContent-Length: ${inner.length}\r\n\r\n${inner}`)
  assert.equal(got.match(/HTTP\/1\.1/g).length, 1, got)
  await unharmed()
})

test('a body of a good key, after 100 Continue and with a request behind it', async () => {
  const body = '{"messages":[{"topic":"t","event":"e","payload":{}}]}'
  const s = tcp(node.port, '127.0.0.1')
  let got = ''
  s.on('data', (d) => { got += d })
  s.write(`POST /api/broadcast HTTP/1.1\r\nHost: x\r\napikey: ${node.anonKey}\r\nContent-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`)
  await until('100 Continue', () => got === 'HTTP/1.1 100 Continue\r\n\r\n')
  s.write(`${body}GET /api/ping HTTP/1.1\r\nHost: x\r\n\r\n`)
  await until('the second answer', () => got.endsWith('{"message":"Success"}'))
  assert.match(got, /HTTP\/1\.1 202 [^]*HTTP\/1\.1 200 /)
  s.destroy()
})

test('a batch of as many private topics as fit', async () => {
  const each = []
  for (let bytes = 0; bytes < 7_900_000; bytes += each.at(-1).length + 1) {
    each.push(`{"topic":"${each.length.toString(36)}","event":"e","payload":{},"private":true}`)
  }
  const res = await fetch(`${node.url}/api/broadcast`, { method: 'POST', headers: { apikey: node.anonKey }, body: `{"messages":[${each.join()}]}` })
  assert.deepEqual([res.status, res.headers.get('x-realtime-dropped')], [202, String(each.length)])
  await unharmed()
})

test('6 MB in one frame', async (t) => {
  const s = await connect(t, node)
  s.raw('x'.repeat(6 * 1024 * 1024))
  assert.equal((await s.closing()).code, 1009)
  await unharmed()
})

test('malformed frames on the owner socket from a local process', async () => {
  const { connect: unix } = await import('node:net')
  for (const bytes of [[0xff, 0xff, 0xff, 0xff, 1, 1, 0, 0], [0, 0, 0, 2, 1, 1], [0, 0, 0, 5, 1, 1, 0, 0, 0xc1], [0, 0, 0, 5, 0x30, 4, 0, 0, 0x90]]) {
    const s = unix(join(node.runtimeDir, 'owner.sock'))
    s.on('error', () => {})
    s.write(Buffer.from(bytes))
    await until('the owner to cut it', () => s.destroyed || s.readableEnded || s.closed || (s.resume(), false))
  }
  await unharmed()
})

test('settings that are missing, empty or contradictory are named', () => {
  const check = (env, ...args) => {
    const r = spawnSync(join(process.env.BUILD_DIR ?? join(root, 'build'), 'realtimed'), ['--check', ...args], { env: { PATH: process.env.PATH, ...env }, encoding: 'utf8' })
    return { status: r.status, text: r.stdout + r.stderr }
  }
  const base = { REALTIME_JWT_SECRET: SECRET, REALTIME_RUNTIME_DIR: mkdtempSync('/tmp/realtime-check-') }
  assert.equal(check(base).status, 0)
  const bad = (env, ...names) => {
    const r = check({ ...base, ...env })
    assert.notEqual(r.status, 0, JSON.stringify(env))
    for (const name of names) assert.ok(r.text.includes(name), `${name} not named in: ${r.text}`)
  }
  bad({ REALTIME_JWT_SECRET: '' }, 'REALTIME_JWT_SECRET', 'REALTIME_JWT_JWKS')
  bad({ REALTIME_LISTEN: 'nowhere' }, 'REALTIME_LISTEN')
  bad({ REALTIME_LISTEN: '0.0.0.0:99999' }, 'REALTIME_LISTEN')
  bad({ REALTIME_EDGES: 'many' }, 'REALTIME_EDGES')
  bad({ REALTIME_EDGES: '0' }, 'REALTIME_EDGES')
  bad({ REALTIME_TLS_CERT: '/tmp/x.pem' }, 'REALTIME_TLS_KEY')
  bad({ REALTIME_JWT_JWKS: '{not json' }, 'REALTIME_JWT_JWKS')
  bad({ REALTIME_IDLE_TIMEOUT_MS: '-5' }, 'REALTIME_IDLE_TIMEOUT_MS')
})
