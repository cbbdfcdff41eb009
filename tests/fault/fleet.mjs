// SPDX-License-Identifier: Apache-2.0
// Clients spread over the nodes of a cluster that publish, track themselves and take database changes while things
// break; what they heard is checked afterwards (check.mjs). All run in this process, so there is one clock.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { setTimeout as delay } from 'node:timers/promises'
import { connect } from '../harness/phx.mjs'
import { until } from '../harness/process.mjs'
import { checkBroadcasts, checkRows } from './check.mjs'

const exec = promisify(execFile)
const TABLE = 'f'
const RETRY_MS = 100
const HANDSHAKE_MS = 2000 // a stopped node accepts and says nothing

/** What one socket of a client saw, from its connect to its close. */
class Life {
  constructor(client, number, node) {
    Object.assign(this, { client, number, node, name: `${client.index}/${number}`, closedAt: Infinity, ready: false })
    this.topics = new Map(client.topics.map((topic) => [topic, { from: Infinity, heard: [], at: [], presence: null }]))
    this.rows = { from: Infinity, ids: [], at: [], warned: [] } // warned: how many were there at each error message
  }
}

class Client {
  constructor(fleet, index) {
    Object.assign(this, { fleet, index, number: 0, lives: [], closes: 0, refused: 0, turn: 0 })
    const n = fleet.topics.length
    this.home = fleet.nodes[index % fleet.nodes.length]
    // Neighbours share no topic by accident only: each topic has members on every node.
    this.topics = [fleet.topics[index % n], fleet.topics[(index + 1 + Math.floor(index / n) % (n - 1)) % n]]
    this.key = `m${index}`
    this.roams = index % 2 === 1 // connects to another node while its own is down
  }

  get life() { return this.lives.at(-1) }
  get up() { return this.life?.ready && this.life.closedAt === Infinity }

  /** Until it is joined, wherever that is possible. */
  async start() {
    const { nodes } = this.fleet
    let at = nodes.indexOf(this.home)
    for (;;) {
      if (this.stopped) return
      try { await this.#live(nodes[at]); return } catch (err) {
        this.life?.socket?.ws.terminate()
        this.why = err.message
        if (/^join of/.test(err.message)) this.refused++
      }
      if (this.roams) at = (at + 1) % nodes.length
      await delay(RETRY_MS)
    }
  }

  async #live(node) {
    const number = ++this.number
    const vsn = this.index % 3 === 0 ? '1.0.0' : '2.0.0'
    const socket = await connect(this.fleet.t, node, { vsn, ws: { handshakeTimeout: HANDSHAKE_MS } })
    const life = new Life(this, number, node)
    life.socket = socket
    this.lives.push(life)
    socket.sink = (f) => this.#take(life, f)
    socket.ws.on('close', () => this.#closed(life))
    for (const [i, topic] of this.topics.entries()) await this.#join(life, topic, String(i + 1), i === 0)
    if (socket.ws.readyState !== 1) throw new Error('closed while joining')
    life.ready = true
  }

  async #join(life, topic, ref, changes) {
    await life.socket.join(topic, {
      broadcast: { self: true, ack: this.index % 2 === 0 },
      presence: { enabled: true, key: this.key },
      ...(changes && { postgres_changes: [{ event: 'INSERT', schema: 'public', table: TABLE }] }),
    }, { ref })
    life.topics.get(topic).from = this.fleet.sent.length
    const { payload } = await life.socket.track(ref, topic, { life: life.number })
    if (payload.status !== 'ok') throw new Error(`track: ${JSON.stringify(payload)}`)
  }

  #closed(life) {
    life.closedAt = Date.now()
    if (this.stopped || life !== this.life || !life.ready) return
    if (!this.moving) this.closes++
    this.restart = this.start()
  }

  #take(life, f) {
    if (f.event === 'phx_reply') return this.#reply(f)
    const mine = life.topics.get(f.topic)
    if (f.event === 'broadcast') { mine.heard.push(f.payload.payload.id); mine.at.push(Date.now()) }
    else if (f.event === 'presence_state') mine.presence = f.payload
    else if (f.event === 'presence_diff') this.#diff(life, mine, f)
    else if (f.event === 'postgres_changes') { life.rows.ids.push(f.payload.data.record.id); life.rows.at.push(Date.now()) }
    else if (f.event === 'system') this.#system(life, f.payload)
    else if (f.event === 'phx_error' || f.event === 'phx_close') this.fleet.oddities.push(`${life.name}: ${f.event} on ${f.topic}`)
    return true
  }

  /** True if it answers a broadcast; others are waited for. */
  #reply(f) {
    if (!f.ref?.startsWith('b')) return false
    const m = this.fleet.sent[Number(f.ref.slice(1))]
    if (m) m.answer = f.payload.status
    return true
  }

  #system(life, { status, message }) {
    if (status !== 'ok') life.rows.warned.push({ after: life.rows.ids.length, message, at: Date.now() })
    else if (life.rows.from === Infinity) life.rows.from = this.fleet.inserted + 1
  }

  #diff(life, mine, { topic, payload: { joins, leaves } }) {
    if (!mine.presence) { this.fleet.oddities.push(`${life.name}: presence_diff before presence_state`); return }
    for (const [key, { metas }] of Object.entries(leaves)) {
      for (const m of metas) {
        const have = mine.presence[key]?.metas
        const at = have?.findIndex((h) => h.phx_ref === m.phx_ref) ?? -1
        if (at < 0) this.fleet.oddities.push(`${life.name}: leave of ${key}/${m.life} that was never shown`)
        else have.splice(at, 1)
        if (have?.length === 0) delete mine.presence[key]
        this.fleet.left(life, topic, key, m.life)
        this.fleet.show(this, topic, key, 'leaves')
      }
    }
    for (const [key, { metas }] of Object.entries(joins)) {
      const have = (mine.presence[key] ??= { metas: [] }).metas
      for (const m of metas) {
        this.fleet.show(this, topic, key, 'joins')
        if (have.some((h) => h.phx_ref === m.phx_ref)) this.fleet.oddities.push(`${life.name}: join of ${key}/${m.life} twice`)
        else have.push(m)
      }
    }
  }

  publish() {
    if (!this.up) return
    const { life, fleet } = this
    const which = this.turn++ % 2
    const topic = this.topics[which]
    const id = fleet.sent.length
    fleet.sent.push({ id, topic, life, at: Date.now(), answer: null })
    life.socket.send(String(which + 1), `b${id}`, topic, 'broadcast', { type: 'broadcast', event: 'e', payload: { id } })
  }

  /** Leaves the node it roamed to. */
  async goHome() {
    if (this.life.node === this.home) return
    this.moving = true
    const closed = new Promise((resolve) => this.life.socket.ws.once('close', resolve))
    this.life.socket.ws.close()
    await closed
    await this.restart
    this.moving = false
  }

  stop() { this.stopped = true; this.life?.socket.ws.terminate() }
}

export class Fleet {
  static async start(t, nodes, database, { clients = 60, topics = 6 } = {}) {
    const fleet = new Fleet()
    Object.assign(fleet, { t, nodes, sent: [], inserted: 0, oddities: [], leaves: [], ends: [], watching: null, shown: new Map() })
    database.psql('-c', `create table ${TABLE} (id int primary key); alter publication supabase_realtime add table ${TABLE}`)
    fleet.sql = await database.connect()
    fleet.topics = Array.from({ length: topics }, (_, i) => `realtime:fault-${i}`)
    fleet.clients = Array.from({ length: clients }, (_, i) => new Client(fleet, i))
    for (let i = 0; i < clients; i += 10) await Promise.all(fleet.clients.slice(i, i + 10).map((c) => c.start()))
    t.after(() => fleet.clients.forEach((c) => c.stop()))
    await fleet.whole('after the start')
    return fleet
  }

  /** Loads the cluster until `stop` of what it gives: { broadcasts, commits } a second. */
  load({ broadcasts = 200, commits = 50 } = {}) {
    const start = Date.now()
    let said = 0, done = 0, turn = 0, running = true
    const paced = (rate) => Math.floor((Date.now() - start) * rate / 1000)
    const talk = (async () => {
      for (; running; await delay(5)) while (said < paced(broadcasts)) { said++; this.clients[turn++ % this.clients.length].publish() }
    })()
    const commit = (async () => {
      for (; running; await delay(5)) {
        while (running && done < paced(commits)) { done++; await this.sql.query(`insert into ${TABLE} values ($1)`, [++this.inserted]) }
      }
    })()
    return async () => { running = false; await Promise.all([talk, commit]) }
  }

  /**
   * One action under load: act() does it; then everything must come to rest, and the figures of what was heard
   * meanwhile come back. opts: { allow: (miss) => whether the promise allows it }
   */
  async phase(name, act, opts = {}) {
    this.begin()
    const stop = this.load()
    await delay(500)
    let told
    try { told = await act() } finally { await stop() }
    await this.whole(name)
    await this.fence(name)
    return this.end(name, told, opts)
  }

  /** What was before is not looked at again. */
  begin() {
    this.oddities.length = this.ends.length = 0
    this.shown.clear()
    this.first = this.sent.length
    this.firstRow = this.inserted + 1
    for (const c of this.clients) {
      c.lives = c.lives.slice(-1)
      c.closes = c.refused = 0
      for (const topic of c.life.topics.values()) topic.heard.length = topic.at.length = 0
      c.life.rows.ids.length = c.life.rows.at.length = c.life.rows.warned.length = 0
    }
  }

  end(name, told) {
    const figures = { name, ...told, ...checkBroadcasts(this), ...checkRows(this) }
    figures.closes = this.clients.reduce((n, c) => n + c.closes, 0)
    figures.refusedJoins = this.clients.reduce((n, c) => n + c.refused, 0)
    figures.oddities = [...this.oddities]
    return figures
  }

  /** Each topic's members as they should be shown, by topic. */
  expected() {
    const by = new Map(this.topics.map((topic) => [topic, {}]))
    for (const c of this.clients) for (const topic of c.topics) by.get(topic)[c.key] = c.life.number
    return by
  }

  /** The first client that shows something else than it should; undefined: none. */
  presenceWrong() {
    const want = this.expected()
    for (const c of this.clients) {
      if (!c.up) return `client ${c.index} is not joined`
      for (const [topic, { presence }] of c.life.topics) {
        const should = want.get(topic)
        const keys = Object.keys(presence ?? {})
        const wrong = keys.find((k) => presence[k].metas.length !== 1 || presence[k].metas[0].life !== should[k])
        if (wrong !== undefined) return `client ${c.index} on ${topic}: ${wrong} is ${JSON.stringify(presence[wrong].metas.map((m) => m.life))}, not ${should[wrong]}`
        const lacks = Object.keys(should).find((k) => !presence?.[k])
        if (lacks !== undefined) return `client ${c.index} (${c.life.node.name}) on ${topic}: lacks ${lacks}/${should[lacks]}, home ${this.clients[Number(lacks.slice(1))].life.node.name}`
      }
    }
    return undefined
  }

  /** Until all are joined and every client shows exactly the members that are there. */
  async whole(when, ms = 20000) {
    const out = () => this.clients.filter((c) => !c.up || c.life.rows.from === Infinity)
    await until(`all clients to be joined ${when}`, () => out().length === 0, ms).catch((err) => {
      throw new Error(`${err.message}: ${out().map((c) => `${c.index}/${c.number} at ${c.life.node.name} ${c.up ? 'no changes' : c.why ?? 'closed'} ${c.life.rows.warned.map((w) => w.message)}`).join('; ')}`)
    })
    await until(`presence to be right everywhere ${when}`, () => !this.presenceWrong(), ms)
      .catch((err) => { throw new Error(`${err.message}: ${this.presenceWrong()}`) })
  }

  /** Whether all that was said from 700 to 300 ms ago has been heard by everybody. */
  flows() {
    const now = Date.now()
    let i = this.sent.length - 1
    while (i >= 0 && this.sent[i].at > now - 300) i--
    if (i < 0 || this.sent[i].at < now - 700) return false
    for (; i >= 0 && this.sent[i].at >= now - 700; i--) {
      const { id, topic } = this.sent[i]
      if (this.clients.some((c) => c.topics.includes(topic) && c.life.topics.get(topic).heard.lastIndexOf(id) < 0)) return false
    }
    return true
  }

  /** Until all that was ordered and committed so far has come, or never will. */
  async fence(when, ms = 20000) {
    await this.sql.query(`insert into ${TABLE} values ($1)`, [++this.inserted])
    const fences = []
    for (const topic of this.topics) {
      for (const node of this.nodes) {
        const c = this.clients.find((x) => x.life.node === node && x.topics.includes(topic))
        if (!c) continue
        while (c.topics[c.turn % 2] !== topic) c.turn++
        c.publish()
        fences.push({ topic, id: this.sent.length - 1 })
      }
    }
    const lacks = () => {
      for (const { topic, id } of fences) {
        for (const c of this.clients) if (c.topics.includes(topic) && !c.life.topics.get(topic).heard.includes(id)) return `client ${c.index} on ${c.life.node.name} did not hear ${id} on ${topic} by ${this.sent[id].life.node.name}`
      }
      for (const c of this.clients) if (c.life.rows.ids.at(-1) !== this.inserted) return `client ${c.index} on ${c.life.node.name} has row ${c.life.rows.ids.at(-1)}, not ${this.inserted}`
      return undefined
    }
    await until(`the last broadcasts and rows ${when}`, () => !lacks(), ms).catch((err) => { throw new Error(`${err.message}: ${lacks()}`) })
  }

  /** An owner has ended, just now or some time since `from`: its topics get another one, which makes an order of its own. */
  ended(from = Date.now()) { this.ends.push({ from, to: Date.now() }) }

  /** From now on the leaves of the clients of `node` (or of all that close) are timed. */
  watch(since = Date.now()) { this.watching = { since, ms: [] }; return this.watching }

  /** Counts what one client is shown of another in a topic. */
  show(client, topic, key, what) {
    const name = `${client.index} ${topic} ${key}`
    if (!this.shown.has(name)) this.shown.set(name, { client, of: this.clients[Number(key.slice(1))], topic, joins: 0, leaves: 0 })
    this.shown.get(name)[what]++
  }

  left(life, topic, key, number) {
    if (!this.watching) return
    const client = this.clients[Number(key.slice(1))]
    const gone = client.lives.find((l) => l.number === number)
    if (gone && gone.closedAt >= this.watching.since) this.watching.ms.push(Date.now() - this.watching.since)
  }

  /** A client that stayed and still shows a life that closed since `since`; undefined: none. */
  showsDead(since) {
    const dead = this.clients.flatMap((c) => c.lives.filter((l) => l.closedAt !== Infinity && l.closedAt >= since).map((l) => ({ c, number: l.number })))
    for (const c of this.clients) {
      if (!c.up) continue
      for (const { c: gone, number } of dead) {
        for (const topic of gone.topics) {
          if (c.life.topics.get(topic)?.presence?.[gone.key]?.metas.some((m) => m.life === number)) return `client ${c.index} on ${c.life.node.name} shows ${gone.key}/${number} on ${topic}`
        }
      }
    }
    return undefined
  }

  async goHome() { await Promise.all(this.clients.map((c) => c.goHome())) }
}

/** Rows of realtimectl without holding up the clients of this process; [] while it cannot answer. */
export async function rows(node, ...args) {
  try {
    const { stdout } = await exec(node.realtimectl, ['--socket', `${node.runtimeDir}/control.sock`, '--json', ...args], { timeout: 3000 })
    return stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line))
  } catch { return [] }
}

/** The node that reads the WAL; undefined: none. */
export async function readerOf(nodes) {
  for (const node of nodes) {
    const [status] = await rows(node, 'status')
    if (status?.processes?.some((p) => p.streaming === 1)) return node
  }
  return undefined
}

/** Whether all these nodes have one view of as many members. */
export async function agree(nodes) {
  const seen = await Promise.all(nodes.map((n) => rows(n, 'members')))
  const view = (list) => list.find((m) => m.self)?.view
  return seen.every((list) => list.filter((m) => m.state === 'alive').length === nodes.length && view(list) === view(seen[0]))
}

export const quantile = (list, q) => list.length ? [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * q))] : NaN
