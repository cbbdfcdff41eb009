// SPDX-License-Identifier: Apache-2.0
// The stack of deploy/docker-compose.yml on a real engine, under a project name of its own.
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, root, until } from './process.mjs'

const exec = promisify(execFile)
const MAX = 64 * 1024 * 1024

/** ['docker', 'compose'] or ['docker-compose']: both are supported. */
export function composeCommand() {
  try { execFileSync('docker', ['compose', 'version'], { stdio: 'ignore' }); return ['docker', 'compose'] } catch {}
  try { execFileSync('docker-compose', ['version'], { stdio: 'ignore' }); return ['docker-compose'] } catch {}
  throw new Error('neither `docker compose` nor docker-compose works here')
}

export class Stack {
  constructor(port) {
    this.port = port
    this.url = `http://127.0.0.1:${port}`
    this.dir = mkdtempSync('/tmp/realtime-compose-')
    this.envFile = join(this.dir, 'env')
    writeFileSync(this.envFile, '')
    this.project = `realtime-test-${process.pid}`
    this.command = composeCommand()
    this.file = join(root, 'deploy/docker-compose.yml')
    // A tag of its own: the images of somebody who runs the stack here stay as they are.
    this.env = { ...process.env, REALTIME_PORT: String(port), REALTIME_VERSION: 'test' }
  }

  static async make() { return new Stack(await freePort()) }

  /** Secrets of this stack, by name. */
  get secrets() {
    const pairs = readFileSync(this.envFile, 'utf8').trim().split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
    return Object.fromEntries(pairs)
  }

  async keys() { return (await exec(join(root, 'deploy/keys'), [this.envFile])).stderr }

  async run(program, ...args) {
    try {
      return (await exec(program, args, { env: this.env, maxBuffer: MAX })).stdout
    } catch (err) {
      throw new Error(`${[program, ...args].join(' ')}:\n${(err.stdout + err.stderr).trim().split('\n').slice(-40).join('\n')}`)
    }
  }

  get options() { return ['--env-file', this.envFile, '-p', this.project] }

  compose(...args) { return this.run(this.command[0], ...this.command.slice(1), '-f', this.file, ...this.options, ...args) }

  upgrade() { return this.run(join(root, 'deploy/upgrade'), ...this.options) }

  docker(...args) { return this.run('docker', ...args) }

  /** Ids of the running containers of a service. */
  async ids(service) {
    const out = await this.docker('ps', '-q', '--no-trunc', '-f', `label=com.docker.compose.project=${this.project}`, '-f', `label=com.docker.compose.service=${service}`)
    return out.split('\n').filter(Boolean).sort()
  }

  async id(service) { return (await this.ids(service))[0] }

  /** Rows of realtimectl in one container; [] while it cannot answer. */
  async rows(id, ...args) {
    try {
      return (await this.docker('exec', id, 'realtimectl', '--json', ...args)).split('\n').filter(Boolean).map((line) => JSON.parse(line))
    } catch { return [] }
  }

  /** Whether each running node sees exactly the running ones alive. */
  async agree(count) {
    const ids = await this.ids('realtime')
    if (ids.length !== count) return false
    for (const id of ids) {
      const alive = (await this.rows(id, 'members')).filter((m) => m.state === 'alive').map((m) => m.name).sort()
      if (alive.join() !== ids.map((i) => i.slice(0, 12)).sort().join()) return false
    }
    return true
  }

  /** Milliseconds until all `count` nodes see each other alive. */
  async settled(count, ms) {
    const start = Date.now()
    await until(`${count} nodes that see each other alive`, () => this.agree(count), ms)
    return Date.now() - start
  }

  /** Client sockets of each node, in the order of ids('realtime'). */
  async connections() {
    const counts = []
    for (const id of await this.ids('realtime')) {
      const [status] = await this.rows(id, '--local', 'status')
      counts.push((status?.processes ?? []).reduce((sum, p) => sum + (p.connections ?? 0), 0))
    }
    return counts
  }

  async sql(text) {
    return (await this.docker('exec', await this.id('postgres'), 'psql', '-XtAq', '-v', 'ON_ERROR_STOP=1', '-U', 'postgres', '-c', text)).trim()
  }

  /** What the containers wrote, for a failed test. */
  logs() { return this.compose('logs', '--no-color', '--tail', '40', 'realtime', 'haproxy') }

  async down() {
    await this.keys() // compose reads the file even to end things
    await this.compose('down', '-v', '-t', '5')
    rmSync(this.dir, { recursive: true, force: true })
  }
}
