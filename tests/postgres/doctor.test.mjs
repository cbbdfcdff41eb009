// SPDX-License-Identifier: Apache-2.0
// Goal: doctor finds what is wrong with the database, and what it prints as repair does repair it.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import { startCluster, startNode, startPostgres, until } from '../harness/process.mjs'
import { prepare } from './subscribers.mjs'

async function world(t, opts = {}) {
  const database = await startPostgres(t, opts)
  const sql = await database.connect()
  await prepare(sql)
  const node = await startNode(t, { database, ...opts.node })
  return { database, sql, node }
}

/** Findings of one check; those that are not good alone. */
const found = (node, check) => node.ask('doctor').rows.filter((r) => r.check === check && r.level !== 'ok')

test('a database as the README makes it has no problem', async (t) => {
  const { sql, node } = await world(t)
  await sql.query('create table t (id int primary key); alter publication supabase_realtime add table t')
  const { status, rows } = node.ask('doctor')
  assert.deepEqual(rows.filter((r) => !r.ok), [])
  assert.equal(status, 0)
  for (const check of ['server', 'wal_level', 'login', 'publication', 'identity', 'schema', 'db_clock', 'pooler', 'partitions']) {
    assert.ok(rows.some((r) => r.check === check), `${check} is missing`)
  }
  for (const r of rows) {
    assert.deepEqual(Object.keys(r), ['check', 'ok', 'level', 'node', 'detail', 'fix'])
    assert.equal(r.level === 'ok', r.fix === null, `${r.check}: what is wrong has a repair, what is good has none`)
  }
})

test('each finding about tables has a repair that works as printed', async (t) => {
  const { sql, node } = await world(t)
  await sql.query(`
    create table bare (id int);
    create table closed (id int primary key);
    alter table closed enable row level security;
    create table slow (id int primary key, owner_id text);
    alter table slow enable row level security;
    create policy own on slow for all to authenticated using (owner_id = current_setting('request.jwt.claims', true)) with check (owner_id <> '');
    create policy theirs on slow for select to authenticated using (owner_id = 'all');
    alter publication supabase_realtime add table bare, closed, slow`)

  const [identity] = found(node, 'identity')
  assert.match(identity.detail, /public\.bare has no replica identity/)
  assert.equal(identity.ok, false)
  assert.equal(node.ask('doctor').status, 1)
  await sql.query(identity.fix.split('-- or: ')[1])
  assert.deepEqual(found(node, 'identity'), [])

  const [policy] = found(node, 'policies')
  assert.match(policy.detail, /public\.closed has row level security and no policy/)
  assert.equal(policy.ok, true) // advice: it may be meant so
  await sql.query(policy.fix.replace('(...)', '(true)'))
  assert.deepEqual(found(node, 'policies'), [])

  const [index, ...more] = found(node, 'policy_index')
  assert.deepEqual(more, []) // one index, however many policies ask for it
  assert.match(index.detail, /policy own of public\.slow reads column owner_id/)
  await sql.query(index.fix)
  assert.deepEqual(found(node, 'policy_index'), [])

  await sql.query("create function whose(text) returns boolean language sql immutable as $$ select $1 = current_setting('request.jwt.claims') $$")
  const [mistaken] = found(node, 'functions')
  assert.match(mistaken.detail, /function whose\(text\) is declared IMMUTABLE and may read more than its arguments/)
  await sql.query(mistaken.fix)
  assert.deepEqual(found(node, 'functions'), [])
  await sql.query(`create function half(int) returns int language sql immutable as 'select $1 / 2'; create index on bare (half(id));
    create function either(text, text) returns text language sql stable as 'select $1'; create operator %%% (leftarg = text, rightarg = text, function = either)`)
  const [wordless] = found(node, 'functions')
  assert.match(wordless.detail, /function half\(integer\) is declared IMMUTABLE/)
  assert.equal(wordless.fix, 'write half(integer) so that it reads its arguments alone') // the index needs it IMMUTABLE
  await sql.query('drop operator %%% (text, text)')
  assert.deepEqual(found(node, 'functions'), [])

  await sql.query('alter table slow replica identity full')
  assert.match(found(node, 'old_rows')[0].detail, /public\.slow has identity full/)
})

test('logins, roles and settings', async (t) => {
  const { sql, node } = await world(t)
  const steps = [
    ['timeouts', "alter role anon set statement_timeout = '500ms'", /role anon has statement_timeout 500ms/],
    ['login', 'revoke authenticated from realtime', /login realtime may not become authenticated/],
    ['login', 'alter role realtime noreplication', /login realtime may not replicate/],
    ['check_login', 'revoke anon from realtime_check', /login realtime_check may not become anon/],
    ['check_login', 'revoke usage on schema realtime from realtime_check', /login realtime_check may not use schema realtime/],
    ['publication', 'alter publication supabase_realtime owner to realtime', /belongs to realtime/],
    ['publication', 'drop publication supabase_realtime', /publication supabase_realtime is missing/],
  ]
  await sql.query('create table t (id int primary key); alter publication supabase_realtime add table t')
  for (const [check, harm, detail] of steps) {
    assert.deepEqual(found(node, check), [], check)
    await sql.query(harm)
    const [finding] = found(node, check)
    assert.match(finding.detail, detail)
    await sql.query(finding.fix)
    if (check === 'publication') await sql.query('drop publication supabase_realtime; create publication supabase_realtime for table t')
  }
  await sql.query("alter system set max_slot_wal_keep_size = '-1'")
  await sql.query('select pg_reload_conf()')
  const [kept] = await until('the setting to be read', () => found(node, 'wal_kept').length > 0 && found(node, 'wal_kept'))
  for (const statement of kept.fix.split(';').filter((s) => s.trim())) await sql.query(statement)
  await until('the repair to be read', () => found(node, 'wal_kept').length === 0)
  await sql.query('alter role realtime_check superuser')
  await sql.query('alter table t owner to realtime_check')
  assert.deepEqual(found(node, 'check_login').map((r) => r.detail), ['CheckLoginTooPowerful: login realtime_check is a superuser, owns tables'])
})

test('wal_level, a schema that is missing, and no writes', async (t) => {
  const { database, sql, node } = await world(t, {
    settings: ['wal_level = replica', 'max_wal_senders = 5'],
    node: { env: { REALTIME_MIGRATE: 'off' } },
  })
  const wal = found(node, 'wal_level')[0]
  assert.deepEqual([wal.ok, wal.detail], [false, 'wal_level is replica'])
  assert.match(wal.fix, /alter system set wal_level = logical/)
  assert.equal(found(node, 'schema')[0].ok, false)
  await sql.query(`alter role ${'realtime'} set default_transaction_read_only = on`)
  await database.stop()
  await until('the node to notice', () => node.ask('doctor').rows.some((r) => r.check === 'database' && !r.ok))
  const gone = found(node, 'database')[0]
  assert.ok(gone.detail.length > 0 && gone.fix.length > 0)
  await database.start()
  await until('the database to be asked again', () => found(node, 'writable').length > 0)
  assert.match(found(node, 'writable')[0].detail, /read-only/)
})

test('without a database, and with one that refuses', async (t) => {
  const none = await startNode(t)
  const { status, rows } = none.ask('doctor')
  assert.equal(status, 0)
  assert.equal(rows.find((r) => r.check === 'database').detail, 'no database is configured')
  await none.kill('db') // the next one is not there at once, and that is no finding
  assert.equal(none.ask('doctor').status, 0)
  const database = await startPostgres(t)
  const wrong = await startNode(t, {
    database: { ...database, realtimeUrl: database.realtimeUrl.replace('/postgres', '/nowhere'), checkUrl: database.checkUrl },
    databaseReady: false,
  })
  await until('the refusal', () => /nowhere/.test(found(wrong, 'database')[0]?.detail ?? ''))
  const [refused] = found(wrong, 'database')
  assert.match(refused.fix, /name of the database/)
  assert.doesNotMatch(JSON.stringify(wrong.ask('doctor').rows), /:x@/) // no password
})

test('three nodes: slots and doctor tell of all of them', async (t) => {
  const database = await startPostgres(t)
  await prepare(await database.connect())
  const { nodes } = await startCluster(t, { nodes: 3, database })
  const names = nodes.map((n) => n.name)
  const rows = await until('the slot to be held', () => {
    const { rows } = nodes[1].ask('slots')
    return rows[0]?.state === 'held' && rows.length === 3 && rows
  })
  const reader = rows[0].node
  assert.deepEqual(rows.map((r) => r.reader), [reader, reader, reader])
  assert.deepEqual(rows.map((r) => r.state), ['held', 'standby', 'standby'])
  assert.deepEqual(rows.map((r) => r.node).sort(), names)
  assert.equal(rows[0].edges, 6)
  for (const key of ['confirmed_lsn', 'term']) assert.match(rows[0][key], /^[0-9A-F]+\/[0-9A-F]+$/)
  for (const node of nodes) {
    const { status, rows } = node.ask('doctor')
    assert.deepEqual(rows.filter((r) => !r.ok), [])
    assert.equal(status, 0)
    assert.equal(rows.find((r) => r.check === 'server').node, node.name)
    assert.equal(rows.find((r) => r.check === 'reach').detail, 'all nodes reach the database')
  }
  assert.equal(nodes[0].ask('doctor', '--at', names[2]).rows.find((r) => r.check === 'server').node, names[2])

  await nodes.find((n) => n.name === reader).signalAll('SIGKILL')
  const left = nodes.filter((n) => n.name !== reader)
  const next = await until('another reader', () => {
    const { rows } = left[0].ask('slots')
    return rows[0]?.state === 'held' && rows[0].node !== reader && rows[0]
  }, 30000)
  assert.ok(left.some((n) => n.name === next.reader))
  await until('events to tell', () => left[0].ask('events', '-n', '200').rows.some((r) => r.kind === 'reader' && r.peer === next.reader))
})
