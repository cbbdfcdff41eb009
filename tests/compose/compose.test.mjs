// SPDX-License-Identifier: Apache-2.0
// Goal: the README's section "Run it with docker compose", done on a real engine: up, scale, look, kill one, upgrade,
// restart the database; everything a client sees goes through the one published port.
import { after, before, describe, test } from 'node:test'
import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort, root, until } from '../harness/process.mjs'
import { behindTheGateway, supabaseDatabase, supabaseEnv } from '../harness/supabase.mjs'
import { Stack } from '../harness/compose.mjs'
import { Crowd } from '../harness/crowd.mjs'

const RATE = 200 // broadcasts a second
const GUESTS = 6
const SETTLE_MS = 10_000 // from the end of a command until all nodes see each other
const PRESENCE_MS = 5000 // until clients of a killed node have left

const say = (text) => console.log(`  ${text}`)
const figures = (what, f) => say(`${what}: ${f.seconds.toFixed(1)} s, ${f.sent} sent, ${f.acked} acknowledged, ${f.deliveries} deliveries, ` +
  `${f.lost} lost while connected, ${f.missedAway} missed while reconnecting, ${f.repeated} repeated, ${f.disorder} out of order`)
async function timed(what, fn) {
  const start = Date.now()
  const value = await fn()
  say(`${what}: ${((Date.now() - start) / 1000).toFixed(1)} s`)
  return value
}

describe('docker compose', () => {
  let stack, crowd, image, failed = false

  before(async () => { stack = await Stack.make() })
  after(async () => {
    await crowd?.leave()
    if (failed) process.stderr.write(await stack.logs().catch(String))
    await stack.down()
    const left = (await Promise.all([['ps', '-aq'], ['volume', 'ls', '-q'], ['network', 'ls', '-q']]
      .map((args) => stack.docker(...args, '-f', `label=com.docker.compose.project=${stack.project}`)))).join('')
    assert.equal(left, '', 'down -v leaves nothing behind')
  })

  // Each step stands on the one before it.
  const step = (name, fn) => test(name, async (t) => {
    if (failed) { t.skip('an earlier step failed'); return }
    failed = true
    await fn(t)
    failed = false
  })

  async function settled(count) {
    const ms = await stack.settled(count, 60_000)
    say(`${count} nodes see each other alive ${(ms / 1000).toFixed(1)} s later`)
    assert.ok(ms <= SETTLE_MS, `${ms} ms until ${count} nodes saw each other, at most ${SETTLE_MS}`)
  }

  /** Presence: everybody sees everybody. */
  async function allPresent() {
    const names = crowd.guests.map((g) => g.name).sort().join()
    const start = Date.now()
    await until('everybody to see everybody', () => crowd.guests.every((g) => g.present().join() === names), 30_000)
    return Date.now() - start
  }

  /** A row inserted now is told to everybody, once. */
  async function allTold(task) {
    const start = Date.now()
    await stack.sql(`insert into public.todos (task) values ('${task}')`)
    await until(`everybody to hear of ${task}`, () => crowd.guests.every((g) => g.rows.includes(task)), 30_000)
    const ms = Date.now() - start
    await delay(200)
    for (const g of crowd.guests) assert.equal(g.rows.filter((r) => r === task).length, 1, `${g.name} hears of ${task} once`)
    return ms
  }

  /** Talks while fn runs and a little longer. */
  async function under(what, fn, staying = crowd.guests) {
    const closes = staying.map((g) => g.closes)
    const stop = crowd.talk(RATE)
    await delay(1000)
    await fn()
    await until('everybody to be back', () => crowd.guests.every((g) => g.ready()), 30_000)
    await delay(2000)
    const f = await stop()
    figures(what, f)
    say(`${what}: ${staying.filter((g, i) => g.closes > closes[i]).length} of ${staying.length} clients connected again`)
    assert.equal(f.repeated, 0, 'no broadcast comes twice')
    assert.equal(f.disorder, 0, 'all see one order')
    return f
  }

  step('without deploy/keys it says what to do', async () => {
    await assert.rejects(stack.compose('config'), /run deploy\/keys first/)
  })

  step('deploy/keys makes secrets once, for its owner only', async () => {
    assert.match(await stack.keys(), /^deploy\/keys: \d+ added/)
    assert.equal(statSync(stack.envFile).mode & 0o777, 0o600)
    const before = readFileSync(stack.envFile, 'utf8')
    assert.match(await stack.keys(), /^deploy\/keys: 0 added/)
    assert.equal(readFileSync(stack.envFile, 'utf8'), before)
    const s = stack.secrets
    assert.equal(Buffer.from(s.REALTIME_CLUSTER_KEY, 'base64').length, 32)
    for (const [name, role] of [['ANON_KEY', 'anon'], ['SERVICE_ROLE_KEY', 'service_role']]) {
      const [head, body, signature] = s[name].split('.')
      assert.equal(signature, createHmac('sha256', s.JWT_SECRET).update(`${head}.${body}`).digest('base64url'))
      assert.equal(JSON.parse(Buffer.from(body, 'base64url')).role, role)
    }
  })

  step('up: three nodes see each other', async () => {
    await timed('build', () => stack.compose('build'))
    await timed('up -d', () => stack.compose('up', '-d'))
    await settled(3)
    const ids = await stack.ids('realtime')
    let said = ''
    await until('realtimectl doctor to find no problem', () => stack.docker('exec', ids[0], 'realtimectl', 'doctor').catch((err) => { said = err; return false }), 20_000)
      .catch((err) => { throw new Error(`${err.message}\n${said}`) })
    await until('the published port', async () => (await fetch(`${stack.url}/readyz`).catch(() => null))?.ok, 10_000)
  })

  step('runs without rights, reaps what it inherits, is healthy', async () => {
    const id = await stack.id('realtime')
    assert.match(await stack.docker('exec', id, 'id'), /^uid=10001\(realtime\)/)
    const caps = await stack.docker('exec', id, 'grep', '-E', 'CapEff|NoNewPrivs', '/proc/1/status')
    assert.match(caps, /CapEff:\s0{16}\n/)
    assert.match(caps, /NoNewPrivs:\s1/)
    await assert.rejects(stack.docker('exec', id, 'touch', '/etc/x'), /Read-only file system/)
    await stack.docker('exec', id, 'sh', '-c', 'for i in 1 2 3 4 5; do (sleep 0.1 &); done')
    await until('no zombie', async () => !/^State:\sZ/m.test(await stack.docker('exec', id, 'sh', '-c', 'cat /proc/[0-9]*/status 2>/dev/null')), 5000)
    for (const service of ['postgres', 'realtime', 'haproxy']) {
      for (const one of await stack.ids(service)) {
        await until(`${service} to be healthy`, async () => (await stack.docker('inspect', '-f', '{{.State.Health.Status}}', one)).trim() === 'healthy', 30_000)
      }
    }
  })

  /** What a service inside the network tells at /metrics. */
  async function metrics(address, token = '-') {
    return stack.docker('exec', await stack.id('haproxy'), 'bash', '-c',
      `exec 3<>/dev/tcp/${address}; printf 'GET /metrics HTTP/1.0\\r\\nAuthorization: Bearer ${token}\\r\\n\\r\\n' >&3; cat <&3`)
  }

  /** The load balancer, which asks the DNS and then the node, sends clients to so many. */
  async function balanced(count) {
    const start = Date.now()
    await until(`the load balancer to know ${count} nodes`, async () =>
      [...(await metrics('127.0.0.1/8405')).matchAll(/^haproxy_server_status\{proxy="realtime",.*state="UP"\} 1$/gm)].length === count, 20_000)
    say(`the load balancer knows ${count} nodes ${((Date.now() - start) / 1000).toFixed(1)} s later`)
  }

  step('what the dashboard and the alerts ask for exists', async () => {
    const asked = readFileSync(join(root, 'deploy/compose/grafana/realtime.json'), 'utf8') + readFileSync(join(root, 'deploy/compose/alerts.yml'), 'utf8')
    const names = new Set(asked.match(/\b(realtime|haproxy)_\w+/g))
    const have = await metrics('realtime/4001', stack.secrets.REALTIME_ADMIN_TOKEN) + await metrics('127.0.0.1/8405')
    assert.ok(names.size > 20)
    for (const name of names) assert.match(have, new RegExp(`^${name}[{ ]`, 'm'))
    assert.match(await metrics('realtime/4001', 'wrong'), /^HTTP\/1\.[01] 40[13] /)
  })

  step('clients of all nodes share topics, presence and changes', async () => {
    crowd = new Crowd(stack)
    await balanced(3)
    for (let i = 0; i < GUESTS; i++) await crowd.add(`guest${i}`)
    const spread = await stack.connections()
    say(`sockets on the nodes: ${spread.join(' ')}`)
    assert.ok(spread.length === 3 && Math.min(...spread) > 0, 'every node has clients')
    say(`presence complete ${await allPresent()} ms after the last join; insert told to all in ${await allTold('three')} ms`)
    const f = await under('steady', () => delay(5000))
    assert.equal(f.lost + f.missedAway, 0)
    assert.ok(f.acked > RATE * 6, `${f.acked} acknowledged`)
  })

  step('3 -> 5: nobody notices; new clients go to the new nodes', async () => {
    const old = await stack.ids('realtime')
    const f = await under('3 -> 5', async () => {
      await timed('up -d --scale realtime=5', () => stack.compose('up', '-d', '--scale', 'realtime=5'))
      await settled(5)
      await balanced(5)
      for (const name of ['late0', 'late1', 'late2', 'late3']) await crowd.add(name)
    })
    assert.equal(f.lost + f.missedAway, 0, 'a node more loses nothing')
    const ids = await stack.ids('realtime')
    const spread = await stack.connections()
    say(`sockets on the nodes: ${spread.join(' ')}`)
    assert.ok(ids.every((id, i) => old.includes(id) || spread[i] > 0), 'the new nodes have clients')
    await allPresent()
    say(`insert told to all in ${await allTold('five')} ms`)
  })

  step('5 -> 3: clients of the two go elsewhere', async () => {
    const f = await under('5 -> 3', async () => {
      await timed('up -d --scale realtime=3', () => stack.compose('up', '-d', '--scale', 'realtime=3'))
      await settled(3)
    })
    assert.equal(f.lost, 0, 'who stays connected misses nothing')
    await allPresent()
    say(`insert told to all in ${await allTold('three again')} ms`)
  })

  step('docker kill of one: its clients go elsewhere, the others see them leave', async () => {
    const victim = await stack.id('realtime')
    // Three that do not come back, one on each node: whose node dies has left.
    const spread = await stack.connections()
    const ghosts = [new Crowd(stack)]
    for (let i = 0; i < 3; i++) await ghosts[0].add(`ghost${i}`, { again: false })
    const after = await stack.connections()
    say(`sockets on the nodes: ${spread.join(' ')}, with those that stay away: ${after.join(' ')}`)
    const f = await under('docker kill', async () => {
      const start = Date.now()
      await stack.docker('kill', victim)
      const gone = () => ghosts[0].guests.filter((g) => !g.joined()).map((g) => g.name)
      const here = () => ghosts[0].guests.filter((g) => g.joined()).map((g) => g.name)
      await until('the sockets of the killed node to close', () => gone().length === after[0] - spread[0], PRESENCE_MS)
      await until('its clients to have left', () => crowd.guests.every((g) => {
        const seen = g.present()
        return !g.joined() || (gone().every((name) => !seen.includes(name)) && here().every((name) => seen.includes(name)))
      }), PRESENCE_MS)
      say(`presence leaves of ${gone().join(' ') || 'nobody'} seen ${Date.now() - start} ms after the kill`)
      await until('the two others to know', () => stack.agree(2), SETTLE_MS)
      say(`two nodes left, known ${Date.now() - start} ms after the kill`)
      await until('everybody to be back', () => crowd.guests.every((g) => g.ready()), 30_000)
      say(`all clients subscribed again ${Date.now() - start} ms after the kill`)
    })
    say(`lost while connected: ${f.lost} of ${f.acked * crowd.guests.length}`)
    await ghosts[0].leave()
    await allPresent()
    say(`insert told to all in ${await allTold('two')} ms`)
    await timed('up -d', () => stack.compose('up', '-d'))
    await settled(3)
  })

  step('the owner process of one node killed: no socket closes at the load balancer', async () => {
    const f = await under('owner killed', async () => {
      await stack.docker('exec', await stack.id('realtime'), 'bash', '-c', "kill -KILL $(awk '$1 == \"owner\" {print $3}' /run/realtime/pids)")
    })
    assert.equal(f.missedAway, 0, 'nobody was cut off')
  })

  step('a restart of Postgres: broadcasts go on, changes go on', async () => {
    const f = await under('Postgres restart', async () => {
      const start = Date.now()
      await stack.docker('restart', await stack.id('postgres'))
      await until('Postgres to answer', () => stack.sql('select 1').catch(() => ''), 30_000)
      await allTold('after the restart')
      say(`a row told to all ${Date.now() - start} ms after the restart was asked for`)
    })
    assert.equal(f.lost + f.missedAway, 0)
  })

  step('deploy/upgrade replaces all nodes, one at a time', async () => {
    const old = await stack.ids('realtime')
    const f = await under('upgrade', async () => {
      await timed('deploy/upgrade', () => stack.upgrade())
      await settled(3)
    })
    const now = await stack.ids('realtime')
    assert.equal(now.length, 3)
    assert.ok(now.every((id) => !old.includes(id)), 'all are new')
    assert.equal(f.lost, 0, 'who stays connected misses nothing')
    await allPresent()
    say(`insert told to all in ${await allTold('upgraded')} ms`)
  })
  step('the image stands in for that of a self-hosted Supabase, with its environment and its health check', async () => {
    image = (await stack.docker('inspect', '-f', '{{.Config.Image}}', await stack.id('realtime'))).trim()
    const network = (await stack.docker('inspect', '-f', '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}', await stack.id('postgres'))).trim()
    const { JWT_SECRET, ANON_KEY } = stack.secrets
    const env = supabaseEnv({ host: 'postgres', port: 5432, password: 'swap', secret: JWT_SECRET })
    const port = await freePort()
    await crowd.leave()
    await stack.compose('stop', 'realtime')
    await stack.sql(supabaseDatabase('swap'))
    const id = (await stack.docker('run', '-d', '--network', network, '-p', `127.0.0.1:${port}:4000`,
      '--health-interval', '1s', '--health-cmd', `curl -sSfL --head -o /dev/null -H "Authorization: Bearer ${ANON_KEY}" http://localhost:4000/api/tenants/realtime-dev/health`,
      ...Object.entries({ ...env, PORT: '4000' }).flatMap(([name, value]) => ['-e', `${name}=${value}`]), image)).trim()
    try {
      await until('it to be healthy', async () => (await stack.docker('inspect', '-f', '{{.State.Health.Status}}', id)).trim() === 'healthy', 30_000)
      await behindTheGateway(`ws://127.0.0.1:${port}/socket`, ANON_KEY, 'todos', () => stack.sql("insert into public.todos (task) values ('swapped')"))
    } finally {
      await stack.docker('rm', '-f', id)
    }
  })

  step('the image, with the environment of a self-hosted Supabase, does what clients are promised', async () => {
    const files = ['frames', 'join', 'broadcast', 'presence', 'rest', 'changes']
    const out = await stack.run('env', '-u', 'NODE_TEST_CONTEXT', 'TEST_ENV=supabase', `TEST_IMAGE=${image}`, process.execPath, '--test', '--test-concurrency=2',
      ...files.map((f) => join(root, `tests/conformance/${f}.test.mjs`)))
    say(out.match(/tests \d+/)[0])
  })
})
