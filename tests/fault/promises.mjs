// SPDX-License-Identifier: Apache-2.0
// What holds in every case, and figures for people.
import assert from 'node:assert/strict'
import { quantile } from './fleet.mjs'

/** What holds whatever happened; says the figures. */
export function always(t, f) {
  const where = (list) => {
    const by = {}
    for (const { m, life } of list) by[`${m.life.node.name} -> ${life.node.name}`] = (by[`${m.life.node.name} -> ${life.node.name}`] ?? 0) + 1
    return JSON.stringify(by)
  }
  const stayed = f.unheard.filter((m) => m.life.closedAt === Infinity)
  t.diagnostic(`${f.name}: ${f.sent} broadcasts (${f.acked} acknowledged), ${f.deliveries} deliveries, ${f.rows} rows, ${f.closes} closes, ${f.refusedJoins} refused joins`)
  t.diagnostic(`${f.name}: missed ${f.missed.length} ${where(f.missed)}, acknowledged of them ${f.missed.filter(({ m }) => m.answer === 'ok').length}; never ordered ${f.unheard.length}, by publishers that stayed ${stayed.length}`)
  t.diagnostic(`${f.name}: order crossed ${f.crossed.length} (by an owner's end ${f.turned}), row repeats ${f.rowRepeats.length} ${f.rowRepeats.slice(0, 8)}, row holes ${f.rowHoles.length} ${f.rowHoles.slice(0, 8)}`)
  assert.equal(f.repeated, 0, 'I1: broadcasts came twice')
  assert.equal(f.unordered, 0, 'I3: a publisher was heard out of its order')
  assert.equal(f.crossed.length, 0, `I2: two orders of one topic: ${f.crossed.slice(0, 20)}`)
  assert.deepEqual(f.rowRepeats, [], 'rows came twice')
  assert.deepEqual(f.oddities, [], 'presence or channels')
  return { stayed }
}

/** p50, p99 and the worst of times in ms. */
export function report(t, what, ms) {
  t.diagnostic(`${what}: p50 ${quantile(ms, 0.5)} ms, p99 ${quantile(ms, 0.99)} ms, worst ${quantile(ms, 1)} ms of ${ms.length}`)
}
