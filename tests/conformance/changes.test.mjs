// SPDX-License-Identifier: Apache-2.0
// Goal: the wire of Postgres Changes; what is sent when is the postgres group's matter.
import { test, after } from 'node:test'
import assert from 'node:assert/strict'
import { startNode, startPostgres } from '../harness/process.mjs'
import { connect } from '../harness/phx.mjs'

const database = await startPostgres({ after })
database.psql('-c', `create table test (id serial primary key, details text, binary_data bytea);
  create table unpublished (id int primary key);
  alter publication supabase_realtime add table test`)
const node = await startNode({ after }, { database })
const sql = await database.connect()
const columns = [{ name: 'id', type: 'int4' }, { name: 'details', type: 'text' }, { name: 'binary_data', type: 'bytea' }]
let serial = 0

for (const vsn of ['1.0.0', '2.0.0']) {
  /** Joins with bindings and waits for the first system message. */
  async function subscribe(t, postgres_changes, more = {}) {
    const s = await connect(t, node, { vsn })
    const topic = `realtime:c${++serial}`
    const reply = await s.join(topic, { postgres_changes, ...more }, { ref: '1' })
    const system = (await s.event(topic, 'system')).payload
    return { s, topic, system, bindings: reply.payload.response.postgres_changes }
  }
  const live = (sub) => assert.deepEqual(sub.system, { extension: 'postgres_changes', status: 'ok', message: 'Subscribed to PostgreSQL', channel: sub.topic.slice(9) })
  const change = async (sub) => (await sub.s.event(sub.topic, 'postgres_changes')).payload

  test(`${vsn} case 73: insert`, async (t) => {
    const sub = await subscribe(t, [{ event: 'INSERT', schema: 'public' }])
    live(sub)
    const [{ id, ...echo }] = sub.bindings
    assert.deepEqual(echo, { event: 'INSERT', schema: 'public' })
    assert.ok(Number.isInteger(id) && id >= 0 && id < 2 ** 27)
    const { rows: [row] } = await sql.query("insert into test (details) values ('test') returning id")
    const { ids, data } = await change(sub)
    assert.deepEqual(ids, [id])
    const { commit_timestamp, ...rest } = data
    assert.match(commit_timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    assert.deepEqual(rest, { type: 'INSERT', schema: 'public', table: 'test', errors: null, columns,
      record: { id: row.id, details: 'test', binary_data: null } })
  })

  test(`${vsn} case 74: event in lower case is echoed and works`, async (t) => {
    const sub = await subscribe(t, [{ event: 'insert', schema: 'public', table: 'test' }])
    assert.equal(sub.bindings[0].event, 'insert')
    await sql.query("insert into test (details) values ('lower')")
    assert.equal((await change(sub)).data.record.details, 'lower')
  })

  test(`${vsn} cases 75 and 76: update, delete, bytea`, async (t) => {
    const sub = await subscribe(t, [{ event: '*', schema: 'public', table: 'test' }])
    const { rows: [{ id }] } = await sql.query("insert into test (binary_data) values ('\\x0102030405') returning id")
    assert.equal((await change(sub)).data.record.binary_data, '0102030405')
    await sql.query("update test set details = 'u' where id = $1", [id])
    const update = (await change(sub)).data
    assert.deepEqual([update.type, update.record.details, update.old_record], ['UPDATE', 'u', { id }])
    await sql.query('delete from test where id = $1', [id])
    const gone = (await change(sub)).data
    assert.deepEqual([gone.type, gone.old_record, 'record' in gone], ['DELETE', { id }, false])
  })

  test(`${vsn} case 78: unknown operator`, async (t) => {
    const sub = await subscribe(t, [{ event: '*', schema: 'public', table: 'test', filter: 'id=foo.1' }])
    assert.deepEqual([sub.system.status, sub.system.message], ['error', 'Error parsing `filter` params: ["foo", "1"]'])
    await sub.s.nothing()
  })

  test(`${vsn} case 79: table that is not published`, async (t) => {
    const sub = await subscribe(t, [{ event: 'INSERT', schema: 'public', table: 'unpublished' }])
    assert.deepEqual([sub.system.status, sub.system.message], ['error',
      'Unable to subscribe to changes with given parameters. Please check Realtime is enabled for the given connect parameters: [event: INSERT, schema: public, table: unpublished, filters: [], select: nil]'])
  })

  test(`${vsn} case 80: select`, async (t) => {
    const sub = await subscribe(t, [{ event: 'INSERT', schema: 'public', table: 'test', select: ['details'] }])
    live(sub)
    const { rows: [{ id }] } = await sql.query("insert into test (details) values ('chosen') returning id")
    const { data } = await change(sub)
    assert.deepEqual(data.columns, columns.slice(0, 2))
    assert.deepEqual(data.record, { id, details: 'chosen' })
  })

  test(`${vsn} case 81: two equal entries`, async (t) => {
    const entry = { event: 'INSERT', schema: 'public', table: 'test' }
    const sub = await subscribe(t, [entry, entry])
    assert.equal(sub.bindings.length, 2)
    assert.equal(sub.bindings[0].id, sub.bindings[1].id)
    await sql.query("insert into test (details) values ('once')")
    await change(sub)
    await sub.s.nothing(300)
  })

  test(`${vsn} each entry that is refused is told once, in their order`, async (t) => {
    const of = (table, more) => ({ event: '*', schema: 'public', table, ...more })
    const bindings = [of('test'), of('unpublished'), of('nowhere'), of('test', { filter: 'zz=eq.1' })]
    for (const known of [false, true, true]) { // the second time others have asked before
      const { s, topic, system } = await subscribe(t, bindings)
      const told = [system.message]
      while (told.length < 3) told.push((await s.event(topic, 'system')).payload.message)
      const text = (params, more) => `Unable to subscribe to changes with given parameters. ${more} [event: *, schema: public, ${params}]`
      const missing = 'Please check Realtime is enabled for the given connect parameters:'
      assert.deepEqual(told, [text('table: unpublished, filters: [], select: nil', missing), text('table: nowhere, filters: [], select: nil', missing),
        `${text('table: test, filters: [{"zz", "eq", "1", false}], select: nil', 'An exception happened so please check your connect parameters:')}. Exception: ERROR P0001 (raise_exception) invalid column for filter zz`], `known: ${known}`)
      const { rows: [row] } = await sql.query("insert into test (details) values ('for nobody') returning id")
      assert.ok(row.id > 0)
      const sub = await subscribe(t, [of('test')])
      await sql.query("insert into test (details) values ('seen')")
      await change(sub)
      assert.deepEqual(s.frames.filter((f) => f.event !== 'phx_reply'), [])
    }
  })

  test(`${vsn} case 82: three entries, two match`, async (t) => {
    const entries = [
      { event: '*', schema: 'public', table: 'test' },
      { event: 'DELETE', schema: 'public', table: 'test' },
      { event: 'INSERT', schema: 'public', table: 'test', filter: 'details=eq.both' }]
    const sub = await subscribe(t, entries)
    assert.deepEqual(sub.bindings.map(({ id, ...e }) => e), entries)
    await sql.query("insert into test (details) values ('both')")
    const { ids } = await change(sub)
    assert.deepEqual(ids.toSorted?.() ?? [...ids].sort(), [sub.bindings[0].id, sub.bindings[2].id].sort())
    await sub.s.nothing(300)
  })

  test(`${vsn} a change right after the reply is not missed`, async (t) => {
    const s = await connect(t, node, { vsn })
    for (let round = 0; round < 10; round++) {
      const topic = `realtime:at-once${round}`
      await s.join(topic, { postgres_changes: [{ event: 'INSERT', schema: 'public', table: 'test', filter: `details=eq.at-once-${vsn}-${round}` }] })
      await sql.query('insert into test (details) values ($1)', [`at-once-${vsn}-${round}`])
      await s.event(topic, 'postgres_changes')
    }
  })
}
