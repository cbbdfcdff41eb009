// SPDX-License-Identifier: Apache-2.0
// Subscribers whose messages are counted exactly: a row in table `marker` ends each collection, so that
// "nothing arrives" needs no waiting.
import assert from 'node:assert/strict'
import { connect } from '../harness/phx.mjs'

export const U1 = '11111111-1111-1111-1111-111111111111'
export const U2 = '22222222-2222-2222-2222-222222222222'

let serial = 0

/** Creates the marker table; call once per database. */
export async function prepare(sql) {
  await sql.query('create table marker (id serial primary key, name text)')
  await sql.query('grant all on marker to anon, authenticated, service_role')
  await sql.query('alter publication supabase_realtime add table marker')
}

/** Gives a function that creates a published table; `%` in its further statements is the table's name. */
export function tableMaker(sql) {
  let tables = 0
  return async (columns, ...more) => {
    const name = `t${++tables}`
    await sql.query(`create table ${name} (${columns})`)
    for (const m of more) await sql.query(m.replaceAll('%', name))
    await sql.query(`alter publication supabase_realtime add table ${name}`)
    return name
  }
}

/** Bindings for every change of a table. */
export const all = (table, more) => [{ event: '*', schema: 'public', table, ...more }]

/** Joins a channel with `bindings` as `claims`, or with that token, and waits for the system message (status: ok unless told). */
export async function subscriber(t, node, bindings, claims = { role: 'authenticated', sub: U1 }, { status = 'ok', token = node.token(claims) } = {}) {
  const s = await connect(t, node)
  const topic = `realtime:pg${++serial}`
  const all = [...bindings, { event: 'INSERT', schema: 'public', table: 'marker' }]
  const reply = await s.join(topic, { postgres_changes: all }, { ref: '1', payload: { config: { postgres_changes: all }, access_token: token } })
  const system = (await s.event(topic, 'system', 30000)).payload
  assert.equal(system.status, status, system.message)
  return {
    s, topic, token, system, ids: reply.payload.response.postgres_changes.map((b) => b.id),
    /** All `data` up to the marker of that name. */
    async until(name, ms = 30000) {
      const list = []
      for (;;) {
        const { data, ids } = (await s.event(topic, 'postgres_changes', ms)).payload
        if (data.table === 'marker' && data.record?.name === name) return list
        if (data.table !== 'marker') list.push({ ...data, ids })
      }
    },
  }
}

/** Runs SQL (a list, each its own transaction; nested lists are one), then a marker; gives what each subscriber got. */
export async function after(sql, statements, ...subscribers) {
  const name = `m${++serial}`
  for (const s of statements) {
    if (Array.isArray(s)) await sql.query(['begin', ...s, 'commit'].join(';'))
    else await sql.query(s)
  }
  await sql.query('insert into marker (name) values ($1)', [name])
  const got = []
  for (const s of subscribers) got.push(await s.until(name))
  return got
}

/** Of one node or of several: the one that reads the changes. */
export function readerOf(node) {
  const { reader } = node.rows('slots')[0]
  return (node.nodes ?? [node]).find((n) => n.name === reader) ?? node
}

/** Short form of a change for comparison. */
export const brief = (d) => [d.type, d.record, d.old_record]
