// SPDX-License-Identifier: Apache-2.0
// Goal: a slot that is lost is told of, and made anew; traffic of other databases does not hold it back.
import { test } from 'node:test'
import assert from 'node:assert/strict'
import pg from 'pg'
import { startNode, startPostgres, until } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const LOST = 'Changes may be missing: the replication slot was lost'
const OF_OURS = "from pg_replication_slots where slot_name like 'datafuse%'"

const TABLE = 'create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t'

async function world(t, settings) {
  const database = await startPostgres(t, { settings })
  const sql = await database.connect()
  await sql.query(TABLE)
  const node = await startNode(t, { database })
  const s = await connect(t, node)
  await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
  assert.equal((await s.event('realtime:t', 'system')).payload.message, 'Subscribed to PostgreSQL')
  const row = async (id) => {
    await sql.query('insert into t values ($1)', [id])
    assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, id)
  }
  return { database, sql, node, s, row }
}

/** What is said until changes flow again. */
async function told(s) {
  const texts = []
  while (texts.at(-1) !== 'Subscribed to PostgreSQL') texts.push((await s.event('realtime:t', 'system', 60000)).payload.message)
  return texts
}

/** The login of the stream is shut out while `what` is done. */
async function shutOut(sql, what) {
  await sql.query('alter role realtime nologin')
  await until('the stream to end', async () => (await sql.query("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'realtime'")).rowCount === 0)
  await what()
  await sql.query('alter role realtime login')
}

test('case 54: the slot is dropped', async (t) => {
  const { sql, s, row } = await world(t)
  await row(1)
  await shutOut(sql, async () => {
    await sql.query(`select pg_drop_replication_slot(slot_name) ${OF_OURS}`)
    await sql.query('insert into t values (2)') // nobody will ever read it
  })
  const texts = await told(s)
  assert.equal(texts.filter((m) => m === LOST).length, 1, texts.join('; '))
  await row(3)
})

test('case 54: more WAL than max_slot_wal_keep_size while the slot is not read', async (t) => {
  const { sql, s, row } = await world(t, ['max_slot_wal_keep_size = 16MB', 'min_wal_size = 32MB', 'max_wal_size = 32MB'])
  await row(1)
  await shutOut(sql, () => until('the slot to be lost', async () => {
    await sql.query('create table if not exists filler (v text)')
    await sql.query("insert into filler select repeat('x', 1000) from generate_series(1, 16000)")
    await sql.query('checkpoint')
    return (await sql.query(`select wal_status ${OF_OURS}`)).rows[0].wal_status === 'lost'
  }))
  const texts = await told(s)
  assert.equal(texts.filter((m) => m === LOST).length, 1, texts.join('; '))
  await row(2)
})

test('the database is dropped and created again', async (t) => {
  const server = await startPostgres(t)
  const sql = await server.connect()
  const app = server.another('app')
  app.psql('-c', TABLE)
  const node = await startNode(t, { database: app })
  const s = await connect(t, node)
  await s.join('realtime:t', { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 't' }] }, { ref: '1' })
  assert.equal((await s.event('realtime:t', 'system')).payload.message, 'Subscribed to PostgreSQL')
  let made
  await shutOut(sql, async () => {
    await sql.query(`select pg_drop_replication_slot(slot_name) ${OF_OURS}`)
    await sql.query('drop database app with (force)')
    made = server.another('app')
    made.psql('-c', TABLE)
  })
  const texts = await told(s)
  assert.equal(texts.filter((m) => m === LOST).length, 1, texts.join('; '))
  for (let id = 1; id < 9; id++) { // also after what is published was looked at again, every 5 s
    made.psql('-c', `insert into t values (${id})`)
    assert.equal((await s.event('realtime:t', 'postgres_changes')).payload.data.record.id, id)
    await new Promise((resolve) => setTimeout(resolve, 800))
  }
})

test('case 68: load in another database moves the slot of an idle one', async (t) => {
  const { database, sql, row } = await world(t)
  await row(1)
  await sql.query('create database other')
  const other = new pg.Client({ connectionString: database.url.replace(/postgres$/, 'other') })
  await other.connect()
  try {
    await other.query("create table load as select repeat('x', 1000) as v from generate_series(1, 10000)")
  } finally { await other.end() }
  const { rows: [{ now }] } = await sql.query('select pg_current_wal_lsn()::text as now')
  await until('the slot to move', async () => (await sql.query(`select confirmed_flush_lsn >= $1::pg_lsn as past ${OF_OURS}`, [now])).rows[0].past, 60000)
})
