// SPDX-License-Identifier: Apache-2.0
// A network of this test's own: this process, its clients and its Postgres at a hub, and nodes each in a namespace with
// one line to it. Nothing of it has a name outside: it is gone when the processes in it are, however they ended.
import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { root, until } from '../harness/process.mjs'

const exec = promisify(execFile)
const INSIDE = 'REALTIME_TEST_NETWORK'
const HUB = '10.99.0.1'
const DEVICE = 'line0'
const SLOW_DEVICE = 'far0'
const build = process.env.BUILD_DIR ?? join(root, 'build')

/** Whether this process runs in a network of its own; if not, starts the file again in one, and ends as that does. */
export function inOwnNetwork(url) {
  if (process.env[INSIDE]) return true
  if (process.getuid() !== 0) throw new Error('tests of a broken network make namespaces and packet filters: run them as root')
  const child = spawn('unshare', ['--net', process.execPath, ...process.execArgv, fileURLToPath(url)],
    { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } })
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => child.kill(signal))
  child.on('error', (err) => { throw new Error(`unshare(1) is needed: ${err.message}`) })
  child.on('exit', (code) => { process.exitCode = code ?? 1 })
  return false
}

/** One node's side. */
class Place {
  constructor(index) { this.index = index; this.host = `10.99.0.${10 + index}` }

  async start() {
    // Holds the namespace until this process ends, or closes its standard input.
    this.holder = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'inherit'] })
    const { pid } = this.holder
    const of = (p) => { try { return readlinkSync(`/proc/${p}/ns/net`) } catch { return '' } }
    await until('a network namespace', () => of(pid) && of(pid) !== of('self'))
    this.within = ['nsenter', `--net=/proc/${pid}/ns/net`]
    await exec('ip', ['link', 'add', `node${this.index}`, 'type', 'veth', 'peer', 'name', DEVICE, 'netns', String(pid)])
    await exec('ip', ['link', 'set', `node${this.index}`, 'master', 'hub', 'up'])
    await this.run('ip', 'address', 'add', `${this.host}/24`, 'dev', DEVICE)
    await this.run('ip', 'link', 'set', DEVICE, 'up')
    await this.run('ip', 'link', 'set', 'lo', 'up')
    await this.run('iptables', '-w', '-S')
  }

  async run(...argv) { return (await exec(this.within[0], [...this.within.slice(1), ...argv])).stdout }

  /** Which process has accepted the connection from that port of the hub; undefined: none. */
  async acceptedBy(port) {
    const text = await this.run('ss', '-Htnp', 'state', 'established', 'dst', `${HUB}:${port}`)
    return Number(/pid=(\d+)/.exec(text)?.[1]) || undefined
  }
}

export class Network {
  /** `count` places for nodes; { hub, places: [{ host, within }] } */
  static async start(t, count) {
    const net = new Network()
    net.hub = HUB
    net.places = Array.from({ length: count }, (_, i) => new Place(i))
    t.after(() => { for (const p of net.places) p.holder?.stdin.end() })
    await exec('ip', ['link', 'set', 'lo', 'up'])
    await exec('ip', ['link', 'add', 'hub', 'type', 'bridge'])
    await exec('ip', ['address', 'add', `${HUB}/24`, 'dev', 'hub'])
    await exec('ip', ['link', 'set', 'hub', 'up'])
    for (const place of net.places) await place.start()
    return net
  }

  #pairs(a = this.places, b = this.places) { return a.flatMap((from) => b.filter((to) => to !== from).map((to) => [from, to])) }
  #place(i) { return Array.isArray(i) ? i.map((k) => this.places[k]) : [this.places[i]] }
  #drop(from, to, ...which) { return to.run('iptables', '-w', '-A', 'INPUT', '-s', from.host, ...which, '-j', 'DROP') }

  /** Nothing that a sends reaches b; indices, or lists of them. */
  async cutOneWay(a, b) { await Promise.all(this.#pairs(this.#place(a), this.#place(b)).map(([from, to]) => this.#drop(from, to))) }
  async cut(a, b) { await Promise.all([this.cutOneWay(a, b), this.cutOneWay(b, a)]) }

  /** This share of all packets between nodes is lost, of every kind. */
  async lose(share) {
    await Promise.all(this.#pairs().map(([from, to]) => this.#drop(from, to, '-m', 'statistic', '--mode', 'random', '--probability', String(share))))
  }

  async heal() { await Promise.all(this.places.map((p) => p.run('iptables', '-w', '-F'))) }

  /** What nodes send each other takes so long, and overtakes; until the function it gives is called, which tells how many packets. */
  async slow({ minMs, maxMs, seed }) {
    const sides = this.places.map((p) => `${p.holder.pid}:${p.host}`)
    const relay = spawn(join(build, 'tests/fault/delay'), [minMs, maxMs, seed, ...sides].map(String), { stdio: ['pipe', 'pipe', 'inherit'] })
    let said = ''
    relay.stdout.on('data', (bytes) => { said += bytes })
    const ended = once(relay, 'exit')
    await Promise.race([until('the slow line', () => said.startsWith('ready')), ended.then(() => { if (!said) throw new Error('the slow line ended') })])
    const routes = (verb) => Promise.all(this.#pairs().map(([from, to]) => from.run('ip', 'route', verb, `${to.host}/32`, 'dev', SLOW_DEVICE, 'src', from.host)))
    await routes('add')
    return async () => {
      await routes('delete')
      relay.stdin.end()
      await ended
      return said.split('\n')[1]
    }
  }
}
