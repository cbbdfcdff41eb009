// SPDX-License-Identifier: Apache-2.0
// Goal: supabase-js from its bundle in a real browser: it joins, hears and sends, also in a tab that is hidden and
// shown again, and comes back by itself when the network was cut.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { cable, startBrowser } from '../harness/browser.mjs'
import { connect, kind4 } from '../harness/phx.mjs'
import { root, startNode, startPostgres, until } from '../harness/process.mjs'

const BEAT_MS = 5000 // also the time in which the client wants the answer to one: wide, for a slow machine
const BEATS = 2 // answered heartbeats of the hidden page
const bundle = readFileSync(join(root, 'tests/node_modules/@supabase/supabase-js/dist/umd/supabase.js'))
const database = await startPostgres({ after })
database.psql('-c', 'create table seen (id int primary key); alter publication supabase_realtime add table seen')
const node = await startNode({ after }, { database })
const sql = await database.connect()
const line = await cable({ after }, node.port)

const page = (worker) => `<!doctype html><script src="/supabase.js"></script><script>
const log = { said: [], rows: [], states: [], beats: 0 }
const client = supabase.createClient('${line.url}', '${node.anonKey}', { realtime: { worker: ${worker}, heartbeatIntervalMs: ${BEAT_MS},
  heartbeatCallback: (status) => { log.beats += status === 'ok' } } })
const room = client.channel('page', { config: { broadcast: { self: false, ack: true }, presence: { key: 'page' } } })
room.on('broadcast', { event: 'hi' }, (m) => log.said.push(m.payload.n))
room.on('presence', { event: 'sync' }, () => { log.present = Object.keys(room.presenceState()).sort() })
room.on('postgres_changes', { event: 'INSERT', schema: 'public', table: 'seen' }, (c) => log.rows.push(c.new.id))
room.on('system', {}, (m) => { if (m.message === 'Subscribed to PostgreSQL') log.live = (log.live ?? 0) + 1 })
room.subscribe(async (status) => { log.states.push(status); if (status === 'SUBSCRIBED') await room.track({ at: 1 }) })
const say = (n) => room.send({ type: 'broadcast', event: 'hi', payload: { n } })
</script>`
const site = createServer((req, res) => {
  if (req.url === '/supabase.js') return res.writeHead(200, { 'content-type': 'text/javascript' }).end(bundle)
  res.writeHead(200, { 'content-type': 'text/html' }).end(page(req.url === '/worker'))
})
site.listen(0, '127.0.0.1')
await once(site, 'listening')
after(() => site.close())
const home = `http://127.0.0.1:${site.address().port}`
const browser = await startBrowser({ after })
const T = 'realtime:page'

/** A member beside the page, which keeps what it hears of presence. */
async function member(t) {
  const s = await connect(t, node)
  await s.join(T, { broadcast: { ack: true }, presence: { enabled: true, key: 'member' } }, { ref: '1' })
  await s.track('1', T, {})
  const diffs = () => s.frames.filter((f) => f.event === 'presence_diff').map((f) => f.payload)
  let n = 0
  return {
    s,
    left: () => diffs().filter((d) => d.leaves.page && !d.joins.page).length,
    came: () => diffs().filter((d) => d.joins.page).length,
    say: (value) => s.call('1', T, 'broadcast', { type: 'broadcast', event: 'hi', payload: { n: value } }, `b${++n}`),
    hears: async (value) => assert.equal(kind4((await s.take('a broadcast of the page', (f) => f.binary)).binary).payload.n, value),
  }
}

let row = 0
/** The page hears a broadcast, a row, and is heard. */
async function alive(tab, other, n) {
  await other.say(n)
  await sql.query('insert into seen values ($1)', [++row])
  await until(`the page to hear ${n}`, async () => (await tab.run('log')).said.includes(n) && (await tab.run('log')).rows.includes(row))
  assert.equal(await tab.run(`say(${-n})`), 'ok')
  await other.hears(-n)
}

for (const worker of [false, true]) {
  const path = worker ? '/worker' : '/'
  test(`case 95: a page ${worker ? 'whose heartbeat is in a worker' : 'as it is'}: shown, hidden, shown again, cut off and back`, async (t) => {
    const other = await member(t)
    const tab = await browser.open(home + path)
    await until('the page to be there', async () => {
      const log = await tab.run('log')
      return log.live && log.present?.length === 2
    })
    assert.deepEqual((await tab.run('log')).present, ['member', 'page'])
    await alive(tab, other, 1)

    const front = await browser.open('about:blank')
    await front.show()
    await until('the page to be hidden', async () => await tab.run('document.visibilityState') === 'hidden')
    const beats = (await tab.run('log')).beats
    await until('heartbeats of the hidden page', async () => (await tab.run('log')).beats >= beats + BEATS, 30000)
    await alive(tab, other, 2)
    await tab.show()
    await until('the page to be shown', async () => await tab.run('document.visibilityState') === 'visible')
    await alive(tab, other, 3)
    assert.deepEqual([other.came(), other.left()], [1, 0], 'presence flapped')

    line.cut()
    await until('the page to be gone for the others', () => other.left() === 1)
    await other.say(100) // into the void
    line.mend()
    await until('the page to be back', () => other.came() === 2)
    await until('its changes to be live', async () => (await tab.run('log')).live === 2)
    await alive(tab, other, 4)
    const log = await tab.run('log')
    assert.deepEqual(log.said, [1, 2, 3, 4])
    assert.deepEqual(log.present, ['member', 'page'])
    await tab.run('client.removeAllChannels()')
    await until('the page to have left', () => other.left() === 2)
  })
}
