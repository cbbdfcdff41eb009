// SPDX-License-Identifier: Apache-2.0
// Goal: what is wrong with the database is told to subscribers in the documented words, and is over without a restart
// of the server when it is repaired.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { appendFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const DOWN = 'Realtime was unable to connect to the project database'
const system = (s, status) => s.take(`system ${status}`, (f) => f.event === 'system' && f.payload.status === status, 60000)
/** Settings that need a restart of Postgres. */
const restarted = async (pg, ...settings) => {
  await pg.stop()
  appendFileSync(join(pg.dir, 'data', 'postgresql.conf'), settings.map((s) => `${s}\n`).join(''))
  await pg.start()
}
/** The password of one login is asked for; all else is trusted. */
const askPassword = async (pg, role) => {
  const sql = await pg.connect()
  const { rows: [{ hba_file }] } = await sql.query('show hba_file')
  await sql.query(`copy (values ('host all ${role} 127.0.0.1/32 scram-sha-256'), ('host replication ${role} 127.0.0.1/32 scram-sha-256'),
    ('host all all 127.0.0.1/32 trust'), ('host replication all 127.0.0.1/32 trust')) to '${hba_file}'`)
  await sql.query('select pg_reload_conf()')
}
/** With another database of the server: this one is renamed. */
const beside = (pg, sql) => pg.psql('-d', pg.url.replace(/postgres$/, 'template1'), '-c', sql)
/** A certificate, which Postgres takes without a restart. */
const offerTls = (pg) => {
  const at = (name) => join(pg.dir, 'data', name)
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', '-subj', '/CN=localhost',
    '-keyout', at('server.key'), '-out', at('server.crt')], { stdio: 'ignore' })
  execFileSync('chown', ['--reference', at('postgresql.conf'), at('server.key'), at('server.crt')])
  pg.psql('-c', 'alter system set ssl = on', '-c', 'select pg_reload_conf()')
}

const rows = [
  { name: 'wrong password', text: DOWN, log: /28P01|password authentication failed/,
    breaks: async (pg) => { pg.psql('-c', "alter role realtime password 'right'"); await askPassword(pg, 'realtime') },
    mends: (pg) => pg.psql('-c', "alter role realtime password 'x'") },
  { name: 'a login that may not log in', text: DOWN, log: /not permitted to log in/,
    breaks: (pg) => pg.psql('-c', 'alter role realtime nologin'),
    mends: (pg) => pg.psql('-c', 'alter role realtime login') },
  { name: 'too many connections', text: DOWN, log: /53300|too many connections/,
    breaks: (pg) => pg.psql('-c', 'alter role realtime connection limit 0'),
    mends: (pg) => pg.psql('-c', 'alter role realtime connection limit -1') },
  { name: 'the database is down', text: DOWN, log: /ev=database_unreachable/,
    breaks: (pg) => pg.stop(),
    mends: (pg) => pg.start() },
  { name: 'wal_level is replica', text: 'Postgres Changes need wal_level = logical on the database (it is replica)',
    settings: ['wal_level = replica'], log: /wal_level/,
    mends: (pg) => restarted(pg, 'wal_level = logical') },
  { name: 'no replication right', text: 'The database role may not replicate', log: /replication role|start WAL sender/i,
    breaks: (pg) => pg.psql('-c', 'alter role realtime noreplication'),
    mends: (pg) => pg.psql('-c', 'alter role realtime replication') },
  { name: 'all slots are in use', text: /^all replication slots are in use/, settings: ['max_replication_slots = 1'], log: /53400/,
    breaks: (pg) => pg.psql('-c', "select pg_create_physical_replication_slot('other')"),
    mends: (pg) => pg.psql('-c', "select pg_drop_replication_slot('other')") },
  { name: 'no WAL senders', text: /number of requested standby connections exceeds max_wal_senders/, settings: ['max_wal_senders = 0'], log: /53300/,
    mends: (pg) => restarted(pg, 'max_wal_senders = 10') },
  { name: 'a standby', text: 'Postgres Changes need a writable primary', log: /recovery/,
    breaks: async (pg) => { await pg.stop(); pg.psqlOff(); await pg.start() },
    mends: (pg) => pg.psql('-c', 'select pg_promote()') },
  { name: 'no such database', text: DOWN, log: /3D000|database "postgres" does not exist/,
    breaks: (pg) => beside(pg, 'alter database postgres rename to away'),
    mends: (pg) => beside(pg, 'alter database away rename to postgres') },
  { name: 'TLS is required and not offered', text: DOWN, log: /server does not support SSL/, query: '?sslmode=require', mends: offerTls },
  { name: 'a server that takes no connections yet', text: DOWN, log: /57P03|not accepting connections/, settings: ['hot_standby = off'],
    breaks: async (pg) => { await pg.stop(); pg.psqlOff(); await pg.start() },
    mends: async (pg) => { await pg.stop(); rmSync(join(pg.dir, 'data', 'standby.signal')); await pg.start() } },
]

for (const row of rows) {
  test(`case 55: ${row.name}`, async (t) => {
    const pg = await startPostgres(t, { settings: row.settings })
    pg.psqlOff = () => appendFileSync(join(pg.dir, 'data', 'standby.signal'), '')
    pg.psql('-c', 'create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t')
    await row.breaks?.(pg)
    const [realtimeUrl, checkUrl] = [pg.realtimeUrl, pg.checkUrl].map((url) => url + (row.query ?? ''))
    const node = await startNode(t, { database: { ...pg, realtimeUrl, checkUrl }, databaseReady: false })
    const before = node.pids()
    const s = await connect(t, node)
    await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
    const { message } = (await system(s, 'error')).payload
    if (row.text instanceof RegExp) assert.match(message, row.text)
    else assert.equal(message, row.text)
    await until('the log line', () => (node.nodes ?? [node]).some((n) => row.log.test(n.logText())))
    await s.heartbeat()
    await row.mends(pg)
    assert.equal((await system(s, 'ok')).payload.message, 'Subscribed to PostgreSQL')
    await until('it to be writable', () => pg.psql('-Atc', 'select not pg_is_in_recovery()').trim() === 't')
    pg.psql('-c', 'insert into t values (1)')
    assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, 1)
    const now = node.pids().map((p) => p.pid)
    assert.ok(before.every((p) => now.includes(p.pid)), 'no process was started again')
    assert.ok(!node.logText().includes(':x@'), 'the password is in the log')
    const missing = s.frames.filter((f) => /missing/.test(f.payload?.message))
    assert.deepEqual(missing, [], 'nothing was live, so nothing is missing')
  })
}

test('case 55: a database that may only be read: changes go on', async (t) => {
  const pg = await startPostgres(t)
  pg.psql('-c', 'create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t')
  pg.psql('-c', 'alter system set default_transaction_read_only = on', '-c', 'select pg_reload_conf()')
  const node = await startNode(t, { database: pg })
  const s = await connect(t, node)
  await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
  await system(s, 'ok')
  pg.psql('-c', 'set default_transaction_read_only = off', '-c', 'insert into t values (1)')
  assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, 1)
})

test('a janitor that gets no connection ends none of those that work', async (t) => {
  const pg = await startPostgres(t)
  pg.psql('-c', 'create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t')
  const node = await startNode(t, { database: pg })
  const s = await connect(t, node)
  await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
  await system(s, 'ok')
  pg.psql('-c', 'create policy p on realtime.messages for select using (true)')
  await s.join('realtime:p', { private: true }, { ref: '2' }) // the connection that asks for rights is there
  pg.psql('-c', `do $$ declare p regclass; begin for p in select inhrelid from pg_inherits where inhparent = 'realtime.messages'::regclass
    loop execute 'drop table ' || p; end loop; end $$`, '-c', 'alter role realtime connection limit 0')
  assert.match((await s.join('realtime:q', { private: true }, { ref: '3', refused: true })).payload.response.reason, /MissingPartition|partition/)
  const logs = () => (node.nodes ?? [node]).map((n) => n.logText()).join('')
  await until('the janitor to fail', () => /migrations_failed.*53300/.test(logs()))
  pg.psql('-c', 'insert into t values (1)')
  assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, 1)
  assert.doesNotMatch(logs(), /database_lost/)
  pg.psql('-c', 'alter role realtime connection limit -1')
  await until('the partitions to be there again', async () => {
    s.send('4', '4', 'realtime:q', 'phx_join', { config: { private: true } })
    return (await s.reply('4')).payload.status === 'ok'
  })
})

test('case 55: a role that the login may not take, and may when a client joins again', async (t) => {
  const pg = await startPostgres(t)
  pg.psql('-c', 'create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t')
  pg.psql('-c', 'revoke anon from realtime, realtime_check')
  const node = await startNode(t, { database: pg })
  const s = await connect(t, node)
  const join = (ref) => s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref })
  await join('1')
  assert.match((await system(s, 'error')).payload.message, /Exception: ERROR 42501 \(insufficient_privilege\) permission denied to set role "anon"$/)
  pg.psql('-c', 'grant anon to realtime, realtime_check')
  await join('2')
  await system(s, 'ok')
  pg.psql('-c', 'insert into t values (1)')
  assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, 1)
})

test('case 55: no right to create: changes go on, private channels cannot be had', async (t) => {
  const pg = await startPostgres(t)
  pg.psql('-c', 'create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t')
  pg.psql('-c', 'revoke create on database postgres from realtime')
  const node = await startNode(t, { database: pg, databaseReady: false })
  const s = await connect(t, node)
  await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
  await system(s, 'ok')
  const refused = await s.join('realtime:p', { private: true }, { ref: '2', refused: true })
  assert.equal(refused.payload.response.reason, `UnableToConnectToProject: ${DOWN}`)
  await until('the log line', () => (node.nodes ?? [node]).some((n) => /code=MigrationsFailedToRun.*permission denied for database postgres/.test(n.logText())))
  pg.psql('-c', 'insert into t values (1)')
  assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, 1)
})

test('case 55: no database is configured', async (t) => {
  const node = await startNode(t)
  const s = await connect(t, node)
  await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
  assert.equal((await system(s, 'error')).payload.message, 'Postgres Changes are not available: no database is configured')
})
