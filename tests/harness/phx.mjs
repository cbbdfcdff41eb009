// SPDX-License-Identifier: Apache-2.0
// A bare client: sends exactly the frames a test names and sees exactly what comes back.
import { once } from 'node:events'
import { request } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import WebSocket from 'ws'

/** Connects; node: of startNode. opts: { vsn = '2.0.0', key, path, headers, query }. */
export async function connect(t, node, opts = {}) {
  const vsn = opts.vsn ?? '2.0.0'
  const query = new URLSearchParams({ apikey: opts.key ?? node.anonKey, vsn, ...opts.query })
  const ws = new WebSocket(`${node.ws}${opts.path ?? '/socket/websocket'}?${query}`, { headers: opts.headers, ...opts.ws })
  const socket = new Phx(ws, vsn)
  t.after(() => ws.terminate())
  await new Promise((resolve, reject) => { ws.once('open', resolve); ws.once('error', reject) })
  return socket
}

/** A GET with upgrade headers that is expected to be refused: { status, headers, body }. */
export function handshake(node, path, headers = {}) {
  return new Promise((resolve, reject) => {
    const req = request({ host: '127.0.0.1', port: node.port, path,
      headers: { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', ...headers } })
    req.on('upgrade', (res, sock) => { sock.destroy(); resolve({ status: 101, headers: res.headers, body: '' }) })
    req.on('response', async (res) => {
      let body = ''
      for await (const part of res) body += part
      resolve({ status: res.statusCode, headers: res.headers, body })
    })
    req.on('error', reject)
    req.end()
  })
}

export class Phx {
  constructor(ws, vsn) {
    this.ws = ws
    this.v1 = vsn.startsWith('1')
    this.frames = []   // not yet taken
    this.waiting = []
    this.closed = null // { code, reason }
    this.sink = null   // takes a frame as it comes, or says false and leaves it to take()
    this.ref = 0
    ws.on('message', (data, binary) => this.#push(binary ? { binary: data } : this.#decode(data.toString())))
    ws.on('close', (code, reason) => { this.closed = { code, reason: reason.toString() }; this.#wake() })
    ws.on('error', () => {})
  }

  #decode(text) {
    const raw = JSON.parse(text)
    if (this.v1) return { raw, topic: raw.topic, event: raw.event, payload: raw.payload, ref: raw.ref, joinRef: undefined }
    const [joinRef, ref, topic, event, payload] = raw
    return { raw, joinRef, ref, topic, event, payload }
  }

  #push(frame) {
    if (this.sink?.(frame)) return
    this.frames.push(frame)
    this.#wake()
  }
  #wake() { for (const w of this.waiting.splice(0)) w() }

  raw(data) { this.ws.send(data) }

  /** Sends one message; the join ref is a string or null. */
  send(joinRef, ref, topic, event, payload) {
    this.raw(JSON.stringify(this.v1
      ? { topic, event, payload, ref, ...(joinRef != null && { join_ref: joinRef }) }
      : [joinRef, ref, topic, event, payload]))
  }

  /** The next frame that fits; others stay for later takes. */
  async take(what, fits = () => true, ms = 15000) {
    const end = Date.now() + ms
    for (;;) {
      const i = this.frames.findIndex(fits)
      if (i >= 0) return this.frames.splice(i, 1)[0]
      if (this.closed) throw new Error(`socket closed (${JSON.stringify(this.closed)}) while waiting for ${what}`)
      const left = end - Date.now()
      if (left <= 0) throw new Error(`no ${what}; waiting frames: ${JSON.stringify(this.frames.map((f) => f.raw ?? f)).slice(0, 2000)}`)
      await Promise.race([new Promise((resolve) => this.waiting.push(resolve)), delay(left, undefined, { ref: false })])
    }
  }

  reply(ref, ms) { return this.take(`reply to ref ${ref}`, (f) => f.event === 'phx_reply' && f.ref === ref, ms) }
  event(topic, event, ms) { return this.take(`${event} on ${topic}`, (f) => f.topic === topic && f.event === event, ms) }

  async closing(ms = 15000) {
    if (!this.closed) await Promise.race([once(this.ws, 'close'), delay(ms, undefined, { ref: false })])
    if (!this.closed) throw new Error(`socket still open after ${ms} ms`)
    return this.closed
  }

  /**
   * Nothing more arrives: a heartbeat is answered after all that came before it on this socket, and a fence
   * broadcast by another socket after all that was ordered before it; 500 ms as the protocol's cases say.
   */
  async nothing(ms = 500) {
    await delay(ms)
    if (this.frames.length) throw new Error(`expected nothing, got ${JSON.stringify(this.frames.map((f) => f.raw ?? f)).slice(0, 2000)}`)
  }

  async heartbeat() {
    const ref = `hb${++this.ref}`
    this.send(null, ref, 'phoenix', 'heartbeat', {})
    return this.reply(ref)
  }

  /** Joins and returns the reply frame; fails if it is refused unless opts.refused. */
  async join(topic, config = {}, { ref = String(++this.ref), payload, refused = false } = {}) {
    this.send(ref, ref, topic, 'phx_join', payload ?? { config })
    const reply = await this.reply(ref)
    const status = reply.payload.status
    if (status !== (refused ? 'error' : 'ok')) throw new Error(`join of ${topic}: ${JSON.stringify(reply.raw)}`)
    return reply
  }

  /** Any push on a joined topic that is answered by a phx_reply. */
  async call(joinRef, topic, event, payload, ref = String(++this.ref + 1000)) {
    this.send(joinRef, ref, topic, event, payload)
    return this.reply(ref)
  }

  track(joinRef, topic, payload) { return this.call(joinRef, topic, 'presence', { type: 'presence', event: 'track', payload }) }
  untrack(joinRef, topic) { return this.call(joinRef, topic, 'presence', { type: 'presence', event: 'untrack' }) }
}

/** Kind 3 frame: what realtime-js sends for a broadcast on vsn 2.0.0. */
export function kind3({ joinRef = '1', ref = '2', topic, event, payload, encoding = 1, metadata = '' }) {
  const parts = [joinRef, ref, topic, event, metadata].map((p) => Buffer.isBuffer(p) ? p : Buffer.from(p))
  const body = Buffer.isBuffer(payload) ? payload : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload))
  return Buffer.concat([Buffer.from([3, ...parts.map((p) => p.length), encoding]), ...parts, body])
}

/** Splits a kind 4 frame. */
export function kind4(data) {
  if (data[0] !== 4) throw new Error(`kind ${data[0]}, expected 4`)
  const [topicLen, eventLen, metaLen, encoding] = data.subarray(1, 5)
  let at = 5
  const cut = (n) => { const s = data.subarray(at, at + n); at += n; return s }
  const topic = cut(topicLen).toString()
  const event = cut(eventLen).toString()
  const metadata = cut(metaLen).toString()
  const bytes = data.subarray(at)
  return { topic, event, metadata, encoding, bytes, payload: encoding === 1 ? JSON.parse(bytes.toString()) : undefined }
}
