// SPDX-License-Identifier: Apache-2.0
// A self-hosted Supabase, as far as its realtime container sees it: the environment, and clients behind the gateway.
import assert from 'node:assert/strict'
import { RealtimeClient } from 'realtime-js-2.119.1'
import WebSocket from 'ws'
import { until } from './process.mjs'

/** What its compose file sets, by the names and with the values that stand there, but for those of this test. */
export const supabaseEnv = ({ host, port, password, secret }) => ({
  DB_HOST: host, DB_PORT: String(port), DB_USER: 'supabase_admin', DB_PASSWORD: password, DB_NAME: 'postgres',
  DB_AFTER_CONNECT_QUERY: 'SET search_path TO _realtime', DB_ENC_KEY: 'supabaserealtime',
  API_JWT_SECRET: secret, METRICS_JWT_SECRET: secret,
  SECRET_KEY_BASE: 'UpNVntn3cDxHJpq99YMc1T1AQgQpc8kfYTuRgBiYa15BLrx8etQoXz3gZv1/u2oq',
  ERL_AFLAGS: '-proto_dist inet_tcp', DNS_NODES: "''", RLIMIT_NOFILE: '10000', APP_NAME: 'realtime',
  SEED_SELF_HOST: 'true', RUN_JANITOR: 'true', DISABLE_HEALTHCHECK_LOGGING: 'true',
})

/** What its database image has: a superuser of its own, and the schema that is on the search path. */
export const supabaseDatabase = (password) => `create role supabase_admin superuser login replication password '${password}';
  create schema _realtime authorization supabase_admin`

/** Two clients at the address that the gateway passes on to: broadcast, presence, and the row that `insert` makes. */
export async function behindTheGateway(url, key, table, insert) {
  const clients = [0, 1].map(() => new RealtimeClient(url, { params: { apikey: key }, transport: WebSocket }))
  try {
    const alice = clients[0].channel('room', { config: { broadcast: { ack: true }, presence: { key: 'alice' } } })
    const bob = clients[1].channel('room')
    const said = [], rows = []
    bob.on('broadcast', { event: 'hi' }, (m) => said.push(m.payload.n)).on('presence', { event: 'sync' }, () => {})
      .on('postgres_changes', { event: 'INSERT', schema: 'public', table }, (c) => rows.push(c.new.id))
    await Promise.all([alice, bob].map((c) => new Promise((resolve, reject) => c.subscribe((status, error) => {
      if (status === 'SUBSCRIBED') resolve()
      else if (status !== 'CLOSED') reject(error ?? new Error(status))
    }))))
    await alice.track({ mood: 'good' })
    assert.equal(await alice.send({ type: 'broadcast', event: 'hi', payload: { n: 1 } }), 'ok')
    await insert()
    await until('all of it', () => said.length && rows.length && bob.presenceState().alice)
    assert.deepEqual(said, [1])
    assert.equal(rows.length, 1)
  } finally {
    for (const c of clients) c.disconnect()
  }
}
