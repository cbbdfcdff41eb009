// SPDX-License-Identifier: Apache-2.0
// Goal: SIGKILL of any process under load costs the least: only an edge's own sockets close, nothing is repeated or
// reordered, no change is lost to a client that stays connected, presence is right afterwards.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const KILLS = 10
const MEMBERS = 12
const TOPIC = 'realtime:fault'
const BROADCAST_MS = 5 // 200 a second
const COMMIT_MS = 20 // 50 a second

/** A member: publishes, tracks itself, takes changes; reconnects when its edge dies. */
class Member {
  constructor(t, node, i) { Object.assign(this, { t, node, i, lives: 0, sent: 0, closes: 0, heard: [], rows: [], acks: 0 }) }

  async start() {
    const s = await connect(this.t, this.node, { vsn: this.i % 3 ? '2.0.0' : '1.0.0' })
    const life = ++this.lives
    this.s = s
    this.heard.push([])
    this.rows.push([])
    const frames = s.frames
    await s.join(TOPIC, { broadcast: { self: true }, presence: { enabled: true, key: `m${this.i}` },
      postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'f' }] }, { ref: '1' })
    assert.equal((await s.track('1', TOPIC, { life })).payload.status, 'ok')
    this.state = (await s.event(TOPIC, 'presence_state')).payload
    this.pump = setInterval(() => {
      for (const f of frames.splice(0)) this.#take(f, life)
    }, 5)
    s.ws.on('close', () => {
      clearInterval(this.pump)
      for (const f of frames.splice(0)) this.#take(f, life)
      if (this.stopping) return
      this.closes++
      void this.#again()
    })
  }

  async #again() {
    for (;;) {
      try { await this.start(); return } catch { await delay(50) }
      if (this.stopping) return
    }
  }

  #take(f, life) {
    if (f.event === 'broadcast') this.heard[life - 1].push(f.payload.payload)
    else if (f.event === 'postgres_changes') this.rows[life - 1].push(f.payload.data.record.id)
    else if (f.event === 'presence_diff') this.#diff(f.payload)
    else if (f.event === 'presence_state') this.state = f.payload
  }

  #diff({ joins, leaves }) {
    for (const [key, { metas }] of Object.entries(leaves)) {
      for (const m of metas) {
        const at = this.state[key]?.metas.findIndex((have) => have.phx_ref === m.phx_ref) ?? -1
        if (at < 0) this.badLeave = { key, m }
        else this.state[key].metas.splice(at, 1)
      }
      if (this.state[key]?.metas.length === 0) delete this.state[key]
    }
    for (const [key, { metas }] of Object.entries(joins)) {
      const entry = (this.state[key] ??= { metas: [] })
      entry.metas.push(...metas)
    }
  }

  publish() {
    if (this.s.ws.readyState !== 1 || !this.pump) return
    this.s.send('1', null, TOPIC, 'broadcast', { type: 'broadcast', event: 'e', payload: { p: `${this.i}/${this.lives}`, n: ++this.sent } })
  }

  stop() { this.stopping = true; clearInterval(this.pump); this.s.ws.terminate() }
}

const shape = (state) => JSON.stringify(Object.entries(state).map(([k, v]) => [k, v.metas.map((m) => m.life)]).sort())

/** Per life of each receiver: no repeat, each publisher in its order, one order for all. */
function checkBroadcasts(members) {
  let holes = 0
  for (const m of members) {
    for (const heard of m.heard) {
      const last = new Map()
      for (const { p, n } of heard) {
        if (last.has(p)) {
          assert.ok(n > last.get(p), `${p}: ${n} after ${last.get(p)}: repeated or out of order`)
          holes += n - last.get(p) - 1
        }
        last.set(p, n)
      }
    }
  }
  return holes
}

function checkRows(members, committed) {
  for (const m of members) {
    for (const [life, rows] of m.rows.entries()) {
      for (let i = 1; i < rows.length; i++) assert.equal(rows[i], rows[i - 1] + 1, `member ${m.i}: ${rows[i]} after ${rows[i - 1]}`)
      if (life === m.rows.length - 1) assert.equal(rows.at(-1), committed, `member ${m.i} lacks the last rows`)
      if (life === 0 && m.rows.length === 1) assert.equal(rows[0], 1)
    }
  }
}

for (const role of ['edge', 'owner', 'db']) {
  test(`SIGKILL of ${role}, ${KILLS} times under load`, async (t) => {
    const database = await startPostgres(t)
    database.psql('-c', 'create table f (id int primary key); alter publication supabase_realtime add table f')
    const node = await startNode(t, { database, edges: 3 })
    const sql = await database.connect()
    const members = []
    for (let i = 0; i < MEMBERS; i++) {
      members.push(new Member(t, node, i))
      await members[i].start()
    }
    let committed = 0, running = true
    const commits = (async () => {
      while (running) { await sql.query('insert into f values ($1)', [++committed]); await delay(COMMIT_MS) }
    })()
    let turn = 0
    const broadcasts = setInterval(() => members[turn++ % MEMBERS].publish(), BROADCAST_MS)

    for (let k = 0; k < KILLS; k++) {
      await delay(500)
      const index = role === 'edge' ? k % 3 : 0
      const old = await node.kill(role, index)
      await until(`${role} to be back`, () => { const pid = node.pid(role, index); return pid && pid !== old })
    }
    // What comes from here on comes after all that the last kill did, and to members that are back.
    const row = committed
    const said = members.map((m) => m.sent)
    const heard = (m) => new Set(m.heard.at(-1).filter(({ p, n }) => n > said[parseInt(p)]).map(({ p }) => parseInt(p)))
    await until('rows and broadcasts after the last kill, from all to all', () =>
      members.every((m) => m.rows.at(-1).at(-1) > row && heard(m).size === MEMBERS))
    clearInterval(broadcasts)
    running = false
    await commits
    await until('all rows at all members', () => members.every((m) => m.rows.at(-1).at(-1) === committed))
    const expected = JSON.stringify(members.map((m) => [`m${m.i}`, [m.lives]]).sort((a, b) => a[0] < b[0] ? -1 : 1))
    await until('the same presence at all members', () => members.every((m) => shape(m.state) === expected)).catch((e) => {
      throw new Error(`${e.message}: expected ${expected}, have ${members.map((m) => shape(m.state)).join('\n')}`)
    })

    const holes = checkBroadcasts(members)
    checkRows(members, committed)
    for (const m of members) assert.equal(m.badLeave, undefined, `member ${m.i} was told a leave of something never shown`)
    const closes = members.reduce((sum, m) => sum + m.closes, 0)
    if (role !== 'edge') assert.equal(closes, 0, `${closes} sockets closed`)
    if (role === 'db') assert.equal(holes, 0, 'broadcasts were lost')
    t.diagnostic(`${role}: ${members.reduce((sum, m) => sum + m.sent, 0)} broadcasts, ${committed} commits, ${closes} closes, ${holes} broadcasts missed`)
    for (const m of members) m.stop()
  })
}
