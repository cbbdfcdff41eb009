// SPDX-License-Identifier: Apache-2.0
// A real browser, headless Chromium, driven over its DevTools protocol; and a cable that can be cut.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import WebSocket from 'ws'
import { until } from './process.mjs'

const PROGRAM = ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'].find((p) => existsSync(p))
// No sandbox: the tests run as root. Nothing that would phone home, and no window that nobody asked for.
const FLAGS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--no-first-run', '--no-startup-window',
  '--disable-background-networking', '--disable-component-update', '--disable-sync', '--remote-debugging-port=0']

/** Starts the browser; ended by t.after. `open(url)` gives a tab in front of those before. */
export async function startBrowser(t) {
  if (!PROGRAM) throw new Error('no browser for the tests; apt-get install chromium')
  const profile = mkdtempSync('/tmp/realtime-browser-')
  const child = spawn(PROGRAM, [...FLAGS, `--user-data-dir=${profile}`], { stdio: ['ignore', 'ignore', 'pipe'], detached: true })
  const closed = once(child, 'close') // of its errors, which all processes of it have: none writes to the profile any more
  t.after(async () => {
    process.kill(-child.pid, 'SIGKILL')
    await closed
    rmSync(profile, { recursive: true, force: true })
  })
  const ws = new WebSocket(await address(child), { perMessageDeflate: false })
  await once(ws, 'open')
  const waiting = new Map()
  let serial = 0
  ws.on('message', (data) => {
    const m = JSON.parse(data)
    if (m.id) waiting.get(m.id)(m)
  })
  const call = (method, params = {}, sessionId) => new Promise((resolve, reject) => {
    waiting.set(++serial, (m) => m.error ? reject(new Error(`${method}: ${m.error.message}`)) : resolve(m.result))
    ws.send(JSON.stringify({ id: serial, method, params, sessionId }))
  })
  return {
    async open(url) {
      const { targetId } = await call('Target.createTarget', { url })
      const { sessionId } = await call('Target.attachToTarget', { targetId, flatten: true })
      const tab = {
        show: () => call('Target.activateTarget', { targetId }),
        /** Value of an expression in the page; promises are waited for. */
        async run(expression) {
          const { result, exceptionDetails } = await call('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true }, sessionId)
          if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text)
          return result.value
        },
      }
      await until(`${url} to be loaded`, () => tab.run(`location.href.startsWith('${url}') && document.readyState === 'complete'`))
      return tab
    },
  }
}

function address(child) {
  let said = ''
  return new Promise((resolve, reject) => {
    child.stderr.on('data', (chunk) => {
      said += chunk
      const found = /^DevTools listening on (ws:\S+)/m.exec(said)
      if (found) resolve(found[1])
    })
    child.once('close', () => reject(new Error(`the browser does not start: ${said}`)))
  })
}

/** A way to 127.0.0.1:port that can be cut, for all connections at once, and mended. */
export async function cable(t, port) {
  const sockets = new Set()
  let cut = false
  const server = createServer((near) => {
    if (cut) return near.destroy()
    const far = connect(port, '127.0.0.1')
    for (const [one, other] of [[near, far], [far, near]]) {
      sockets.add(one)
      one.on('error', () => {})
      one.on('close', () => { sockets.delete(one); other.destroy() })
      one.pipe(other)
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => { server.close(); for (const s of sockets) s.destroy() })
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() { cut = true; for (const s of sockets) s.destroy() },
    mend() { cut = false },
  }
}
