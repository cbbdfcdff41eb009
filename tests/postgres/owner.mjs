// SPDX-License-Identifier: Apache-2.0
// A db process without its node: the test is its owner, and through it all the edges of a cluster.
import { spawn } from 'node:child_process'
import { createServer } from 'node:net'
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { join } from 'node:path'
import { root, startNode, until } from '../harness/process.mjs'

const build = process.env.BUILD_DIR ?? join(root, 'build')

export const T = {
  HELLO: 0x01, HELLO_OK: 0x02, REG: 0x60, CHG: 0x61, OK: 0x62, READER: 0x63, REG_OK: 0x65, SYNC: 0x66, SYNCED: 0x67,
  SYS: 0x68, GONE: 0x69,
}
export const READER = { STOP: 0, START: 1, HELD: 2, KNOWN: 3 }
export const STATUS = { LIVE: 0, REFUSED: 1, WAIT: 2 }
const CHANGES = 2, CONTROL = 1

/** msgpack as the frames have it: numbers, booleans, texts as bin, lists. */
function pack(value) {
  if (value === true || value === false) return Buffer.from([value ? 0xc3 : 0xc2])
  if (typeof value === 'number' || typeof value === 'bigint') {
    const n = BigInt(value)
    if (n < 128n) return Buffer.from([Number(n)])
    const b = Buffer.alloc(9)
    b[0] = 0xcf
    b.writeBigUInt64BE(n, 1)
    return b
  }
  if (Array.isArray(value)) return Buffer.concat([Buffer.from([0xdd, 0, 0, value.length >> 8, value.length & 255]), ...value.map(pack)])
  const bytes = Buffer.from(value)
  return Buffer.concat([Buffer.from([0xc5, bytes.length >> 8, bytes.length & 255]), bytes])
}

/** The value at `at.i`; numbers over 32 bits as bigint, bin as text. */
function unpack(b, at) {
  const t = b[at.i++]
  const cut = (n) => { const s = b.subarray(at.i, at.i + n); at.i += n; return s }
  const list = (n) => Array.from({ length: n }, () => unpack(b, at))
  if (t < 0x80) return t
  if (t >= 0x90 && t < 0xa0) return list(t & 15)
  switch (t) {
    case 0xc2: return false
    case 0xc3: return true
    case 0xc4: return cut(cut(1)[0]).toString()
    case 0xc5: return cut(cut(2).readUInt16BE()).toString()
    case 0xc6: return cut(cut(4).readUInt32BE()).toString()
    case 0xcc: return cut(1)[0]
    case 0xcd: return cut(2).readUInt16BE()
    case 0xce: return cut(4).readUInt32BE()
    case 0xcf: return cut(8).readBigUInt64BE()
    case 0xdc: return list(cut(2).readUInt16BE())
    case 0xdd: return list(cut(4).readUInt32BE())
    default: throw new Error(`msgpack type ${t.toString(16)}`)
  }
}

function frame(type, fields, cls = CHANGES) {
  const body = pack(fields)
  const head = Buffer.alloc(8)
  head.writeUInt32BE(4 + body.length)
  head[4] = type
  head[5] = cls
  return Buffer.concat([head, body])
}

let metrics

/** The file that a supervisor makes for its processes. */
async function metricsFile(t) {
  if (!metrics) {
    const node = await startNode(t, {})
    metrics = readFileSync(join(node.runtimeDir, 'metrics'))
    await node.stop()
  }
  return metrics
}

/** Starts a db process and is its owner. Edges are named by the test; each acknowledges what it gets unless `deaf`. */
export async function startDb(t, database, name, env = {}) {
  const dir = mkdtempSync('/tmp/realtime-db-')
  const run = join(dir, 'run')
  mkdirSync(run)
  writeFileSync(join(run, 'metrics'), await metricsFile(t))
  const owner = new Owner(name)
  const server = createServer((socket) => owner.accept(socket))
  await new Promise((resolve) => server.listen(join(run, 'owner.sock'), resolve))
  const log = join(dir, 'log')
  const out = openSync(log, 'a')
  const child = spawn(join(build, 'realtimed'), ['--role', 'db', '--project', 'default'], {
    env: {
      PATH: process.env.PATH, REALTIME_JWT_SECRET: 'x'.repeat(32), REALTIME_NODE: name, REALTIME_RUNTIME_DIR: run,
      REALTIME_DATABASE_URL: database.realtimeUrl, REALTIME_DATABASE_CHECK_URL: database.checkUrl, ...env,
    },
    stdio: ['ignore', out, out],
  })
  closeSync(out)
  const ended = once(child, 'exit')
  owner.child = child
  owner.logText = () => readFileSync(log, 'utf8')
  t.after(async () => {
    try { child.kill('SIGCONT'); child.kill('SIGTERM') } catch { /* it is gone */ }
    if (child.exitCode === null && child.signalCode === null) await ended
    server.close()
    const text = owner.logText()
    if (t.passed === false || process.env.KEEP) process.stderr.write(`--- ${name}\n${text.split('\n').slice(-60).join('\n')}\n`)
    rmSync(dir, { recursive: true, force: true })
    if (/ERROR: (Address|Leak|Undefined\w*)Sanitizer|runtime error:/.test(text)) throw new Error('sanitizer report, see the log')
  })
  await until('the db to attach', () => owner.socket)
  return owner
}

let boots = 1000

class Owner {
  constructor(name) {
    this.name = name
    this.node = BigInt(name.charCodeAt(0))
    this.heard = [] // { at, type, fields }
    this.edges = new Map()
  }

  accept(socket) {
    let rest = Buffer.alloc(0)
    this.socket = socket
    socket.on('data', (data) => {
      rest = Buffer.concat([rest, data])
      while (rest.length >= 4 && rest.length >= 4 + rest.readUInt32BE()) {
        const n = 4 + rest.readUInt32BE()
        this.#take(rest[4], unpack(rest.subarray(8, n), { i: 0 }))
        rest = rest.subarray(n)
      }
    })
    socket.on('error', () => {})
  }

  #take(type, fields) {
    this.heard.push({ at: Date.now(), type, fields })
    if (type === T.HELLO) this.send(T.HELLO_OK, [1, this.node, 1, this.name], CONTROL)
    if (type === T.SYNC) for (const e of this.edges.values()) e.answer(fields[1])
    if (type === T.CHG) this.#changes(fields)
  }

  /** [project, stream, first lsn, first seq, last lsn, last seq, [[lsn, seq, kind, data, [[boot, handle]]]]] */
  #changes(fields) {
    const [, stream, , , lsn, seq, bodies] = fields
    for (const [blsn, bseq, , data, targets] of bodies) {
      for (const [boot] of targets) {
        const e = this.edges.get(Number(boot))
        if (e && !e.rows.some((r) => r.lsn === blsn && r.seq === bseq)) e.rows.push({ at: Date.now(), lsn: blsn, seq: bseq, data: JSON.parse(data) })
        else if (e) e.repeats++
      }
    }
    for (const e of this.edges.values()) {
      if (!e.deaf) this.send(T.OK, ['default', e.boot, stream, lsn, seq])
      e.last = [stream, lsn, seq]
    }
  }

  send(type, fields, cls) { this.socket.write(frame(type, fields, cls)) }

  /** An edge of some node that lives: { boot, rows }. It answers questions unless `mute`. */
  edge(table, { mute = false, boot = ++boots } = {}) {
    const e = {
      boot, rows: [], repeats: 0, deaf: false, mute,
      register: () => this.send(T.REG, ['default', boot, 1, '*', 'public', table, false, '', false, [], 'service_role', '{}', 1]),
      answer: (round) => { if (!e.mute) { e.register(); this.send(T.SYNCED, ['default', boot, round]) } },
      acknowledge: () => this.send(T.OK, ['default', boot, ...e.last]),
    }
    this.edges.set(boot, e)
    return e
  }

  reader(state) { this.send(T.READER, ['default', 0, 0, this.node, state, 0]) }

  /** Elected; every edge is named, and all are known. */
  elect({ known = true } = {}) {
    this.reader(READER.START)
    for (const e of this.edges.values()) this.send(T.SYNCED, ['default', e.boot, 0])
    if (known) this.reader(READER.KNOWN)
  }

  stop() { this.reader(READER.STOP) }
  gone(e) { this.edges.delete(e.boot); this.send(T.GONE, [e.boot]) }

  /** The next frame of that type from `from` on, by index; { at, fields }. */
  hear(what, type, fits = () => true, { from = 0, ms = 20000 } = {}) {
    return until(`${this.name}: ${what}`, () => this.heard.find((h, i) => i >= from && h.type === type && fits(h.fields)), ms)
  }

  held(from = 0, ms) { return this.hear('HELD', T.READER, (f) => f[4] === READER.HELD, { from, ms }) }
}
