// SPDX-License-Identifier: Apache-2.0
// Clients of supabase-js that talk to each other at a fixed rate, and the count of what got lost or came twice.
import { createClient } from '@supabase/supabase-js'
import WebSocket from 'ws'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from './process.mjs'

export const TOPICS = ['compose:a', 'compose:b', 'compose:c', 'compose:d']
// A socket that ends takes with it what was written into it shortly before.
const CUT_MS = 1000

/** One user: a socket, all topics, presence and database changes on the first one. */
export class Guest {
  constructor(stack, name, { again = true } = {}) {
    this.name = name
    this.closes = 0
    this.heard = new Map(TOPICS.map((topic) => [topic, []])) // topic -> [from/n]
    this.away = new Map(TOPICS.map((topic) => [topic, [{ from: 0, to: Infinity }]]))
    this.rows = []
    this.system = [] // of database changes: { status, message, at }
    this.client = createClient(stack.url, stack.secrets.ANON_KEY, {
      auth: { persistSession: false, autoRefreshToken: false },
      realtime: { transport: WebSocket, ...(!again && { reconnectAfterMs: () => 1e8 }) },
    })
    this.channels = TOPICS.map((topic, i) => this.#channel(topic, i === 0))
  }

  #channel(topic, first) {
    const channel = this.client.channel(topic, { config: { broadcast: { self: true, ack: true }, presence: { key: this.name, enabled: first } } })
    channel.on('broadcast', { event: 'n' }, ({ payload }) => this.heard.get(topic).push(`${payload.from}/${payload.n}`))
    if (first) {
      channel.on('presence', { event: 'sync' }, () => {})
      channel.on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'todos' }, (change) => this.rows.push(change.new.task))
      channel.on('system', {}, (m) => this.system.push({ status: m.status, message: m.message, at: Date.now() }))
    }
    channel.subscribe((status) => {
      const away = this.away.get(topic)
      const last = away.at(-1)
      if (status === 'SUBSCRIBED') {
        if (last.to === Infinity) last.to = Date.now()
        if (first) void channel.track({ name: this.name })
      } else if (last.to !== Infinity) {
        away.push({ from: Date.now(), to: Infinity })
        if (first) this.closes++
      }
    })
    return channel
  }

  joined() { return [...this.away.values()].every((a) => a.at(-1).to !== Infinity) }
  ready() { return this.joined() && this.system.at(-1)?.status === 'ok' }
  present() { return Object.keys(this.channels[0].presenceState()).sort() }
  /** When it joined for the first time. */
  since(topic) { return this.away.get(topic)[0].to }
  /** Whether it was not listening at some time of [from, to]. */
  wasAway(topic, from, to) { return this.away.get(topic).some((a) => a.from - CUT_MS <= to && from <= a.to) }
  leave() { return this.client.realtime.disconnect() }
}

/** Guests that publish together `rate` broadcasts a second, by turns. */
export class Crowd {
  constructor(stack) { Object.assign(this, { stack, guests: [], sent: [], turn: 0 }) }

  async add(name, opts) {
    const guest = new Guest(this.stack, name, opts)
    this.guests.push(guest)
    await until(`${name} to be subscribed`, () => guest.ready(), 30000)
    return guest
  }

  /** Publishes until the returned function is called, which gives the figures of that time. */
  talk(rate) {
    const start = Date.now()
    const first = this.sent.length
    let going = true
    const loop = (async () => {
      while (going) {
        const due = Math.floor((Date.now() - start) * rate / 1000) - (this.sent.length - first)
        for (let i = 0; i < due; i++) this.#publish()
        await delay(10)
      }
    })()
    return async () => {
      going = false
      await loop
      return this.#count(this.sent.slice(first), Date.now() - start)
    }
  }

  #publish() {
    const turn = this.turn++
    const at = turn % TOPICS.length
    const guest = this.guests[Math.floor(turn / TOPICS.length) % this.guests.length]
    const message = { topic: TOPICS[at], from: guest.name, n: turn, at: Date.now(), acked: 0 }
    this.sent.push(message)
    // A guest between two sockets says nothing; supabase-js would turn to HTTP.
    if (!guest.joined() || !guest.client.realtime.isConnected()) { message.skipped = true; return }
    message.done = guest.channels[at].send({ type: 'broadcast', event: 'n', payload: { from: guest.name, n: turn } })
      .then((answer) => { if (answer === 'ok') message.acked = Date.now() }, () => {})
  }

  async #count(sent, ms) {
    await Promise.all(sent.map((m) => m.done))
    await this.#fence()
    const acked = sent.filter((m) => m.acked)
    const figures = { seconds: ms / 1000, sent: sent.filter((m) => !m.skipped).length, acked: acked.length, deliveries: 0, lost: 0, missedAway: 0, repeated: 0, disorder: 0 }
    const wanted = new Map(sent.map((m) => [`${m.from}/${m.n}`, m]))
    for (const topic of TOPICS) {
      const lists = []
      for (const guest of this.guests) {
        const list = guest.heard.get(topic).filter((key) => wanted.has(key))
        const have = new Set(list)
        figures.deliveries += list.length
        figures.repeated += list.length - have.size
        for (const m of acked) {
          if (m.topic !== topic || have.has(`${m.from}/${m.n}`) || m.at <= guest.since(topic)) continue
          if (guest.wasAway(topic, m.at, m.acked)) figures.missedAway++
          else figures.lost++
        }
        lists.push([...have])
      }
      figures.disorder += disorder(lists)
    }
    return figures
  }

  /** Until everybody has heard a last word of everybody on each topic: what was ordered before has come, or never will. */
  async #fence() {
    const n = this.turn++
    for (const guest of this.guests) for (const channel of guest.channels) void channel.send({ type: 'broadcast', event: 'n', payload: { from: guest.name, n } })
    const lacks = () => this.guests.flatMap((g) => TOPICS.flatMap((topic) =>
      this.guests.filter((from) => !g.heard.get(topic).includes(`${from.name}/${n}`)).map((from) => `${g.name} did not hear ${from.name} on ${topic}`)))
    await until('the last words', () => lacks().length === 0).catch((err) => { throw new Error(`${err.message}: ${lacks().join('; ')}`) })
  }

  async leave() { for (const guest of this.guests) await guest.leave() }
}

/** Pairs of neighbours that another list has the other way round. */
function disorder(lists) {
  const places = lists.map((list) => new Map(list.map((key, i) => [key, i])))
  let bad = 0
  for (const list of lists) {
    for (const place of places) {
      let last = -1
      for (const key of list) {
        const at = place.get(key)
        if (at === undefined) continue
        if (at < last) bad++
        last = at
      }
    }
  }
  return bad
}
