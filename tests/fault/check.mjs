// SPDX-License-Identifier: Apache-2.0
// What clients heard while things broke, held against what was promised. The names I1-I4 are those of the rules:
// I1 nothing twice, I2 one order per topic, I3 each publisher in its order, I4 nothing missed after the join.

/** Groups of vertices that lie on a common cycle (Tarjan, without recursion). */
function cycles(edges) {
  const index = new Map(), low = new Map(), stack = [], on = new Set(), found = []
  let next = 0
  for (const root of edges.keys()) {
    if (index.has(root)) continue
    const work = [{ v: root, i: 0 }]
    while (work.length) {
      const frame = work.at(-1)
      const { v } = frame
      if (frame.i === 0) { index.set(v, next); low.set(v, next++); stack.push(v); on.add(v) }
      const out = edges.get(v) ?? []
      if (frame.i < out.length) {
        const w = out[frame.i++]
        if (!index.has(w)) { work.push({ v: w, i: 0 }); frame.waits = w } else if (on.has(w)) low.set(v, Math.min(low.get(v), index.get(w)))
        continue
      }
      work.pop()
      const parent = work.at(-1)
      if (parent) low.set(parent.v, Math.min(low.get(parent.v), low.get(v)))
      if (low.get(v) !== index.get(v)) continue
      const group = []
      let w
      do { w = stack.pop(); on.delete(w); group.push(w) } while (w !== v)
      if (group.length > 1) found.push(group)
    }
  }
  return found
}

/** Groups of ids that clients of one topic heard in different orders. */
function disorder(lists) {
  const edges = new Map()
  for (const list of lists) {
    for (let i = 1; i < list.length; i++) {
      const out = edges.get(list[i - 1])
      if (!out) edges.set(list[i - 1], [list[i]])
      else if (!out.includes(list[i])) out.push(list[i])
    }
  }
  return cycles(edges)
}

const ON_ITS_WAY_MS = 20 // between the end of an owner and the last of what it sent

/**
 * Whether one of the group was heard by some before an owner ended and by others after it: it had put it in its
 * order, and the next one, which did not hear of that, in another. There is one order per owner. While views differ,
 * as after a split, there are two.
 */
function reordered(group, lists, ends) {
  return group.some((id) => {
    const at = lists.flatMap((l) => { const i = l.heard.indexOf(id); return i < 0 ? [] : [l.at[i]] })
    const first = Math.min(...at), last = Math.max(...at)
    return ends.some(({ from, to }) => first <= to + ON_ITS_WAY_MS && last > from + ON_ITS_WAY_MS)
  })
}

const lives = (fleet) => fleet.clients.flatMap((c) => c.lives)

/**
 * Of the phase: { sent, acked, deliveries, repeated, unordered, crossed: [ids], turned, missed: [{ m, life }],
 * unheard: [m] }; turned: how many came in two orders because their owner ended. A message that nobody heard is lost before it was ordered; one that a client did not hear though
 * others did, and though it was joined before it was sent, is missed. Of a socket that closed only holes are
 * counted: what its publisher sent before something that it still heard.
 */
export function checkBroadcasts(fleet) {
  const { sent, first } = fleet
  const figures = { sent: sent.length - first, acked: 0, deliveries: 0, repeated: 0, unordered: 0, crossed: [], turned: 0, missed: [], unheard: [] }
  const heardBy = new Set()
  for (const topic of fleet.topics) {
    const lists = []
    for (const life of lives(fleet)) {
      const mine = life.topics.get(topic)
      if (!mine) continue
      const list = mine.heard.filter((id) => id >= first)
      const unique = [...new Set(list)]
      figures.deliveries += list.length
      figures.repeated += list.length - unique.length
      const last = new Map()
      for (const id of unique) {
        heardBy.add(id)
        const { name } = sent[id].life
        if (id < (last.get(name) ?? -1)) figures.unordered++
        last.set(name, Math.max(id, last.get(name) ?? -1))
      }
      lists.push({ life, ...mine, set: new Set(unique), unique, last })
    }
    for (const group of disorder(lists.map((l) => l.unique))) {
      if (reordered(group, lists, fleet.ends)) figures.turned += group.length
      else figures.crossed.push(...group)
    }
    for (let id = first; id < sent.length; id++) {
      const m = sent[id]
      if (m.topic !== topic || !heardBy.has(id)) continue
      for (const l of lists) {
        if (id < l.from || l.set.has(id)) continue
        if (l.life.closedAt === Infinity ? l.life.ready : id < (l.last.get(m.life.name) ?? -1)) figures.missed.push({ m, life: l.life })
      }
    }
  }
  for (let id = first; id < sent.length; id++) {
    if (sent[id].answer === 'ok') figures.acked++
    if (!heardBy.has(id)) figures.unheard.push(sent[id])
  }
  return figures
}

/**
 * { rows, rowHoles, rowRepeats } (texts for people): every row that was committed after a client heard
 * that its subscription stands reaches it once, in order. 'told' stands where it had an error message before, 'told later' where it came only after the next row: those of two
 * readers have no common order.
 */
export function checkRows(fleet) {
  const { firstRow, inserted } = fleet
  const figures = { rows: inserted - firstRow + 1, rowHoles: [], rowRepeats: [] }
  const at = (life) => `${life.name} on ${life.node.name}`
  const missing = (life) => life.rows.warned.some((w) => /^Changes may be missing/.test(w.message))
  const told = (life, i) => life.rows.warned.some((w) => w.after <= i) ? ', told' : missing(life) ? ', told later' : ''
  const hole = (life, from, to, i) => figures.rowHoles.push(`${at(life)}: ${from} to ${to}${told(life, i)}`)
  const repeat = (life, id, last) => figures.rowRepeats.push(`${at(life)}: ${id} after ${last}`)
  for (const life of lives(fleet)) {
    let last = Math.max(firstRow, life.rows.from) - 1
    if (last === Infinity) continue
    for (const [i, id] of life.rows.ids.entries()) {
      // The first may be of before: what is read again, after its subscription stood.
      if (i === 0 && id <= last) last = id - 1
      if (id <= last) repeat(life, id, last)
      else if (id > last + 1) hole(life, last + 1, id - 1, i)
      last = Math.max(id, last)
    }
    if (life.closedAt === Infinity && last < inserted) hole(life, last + 1, inserted, Infinity)
  }
  return figures
}

/** The longest time without a change at any client that stayed, in ms, of changes that came after `since`. */
export function rowGap(fleet, since, stayed) {
  let gap = 0
  for (const life of lives(fleet)) {
    if (life.closedAt !== Infinity || !stayed(life)) continue
    let last = since
    for (const at of life.rows.at) {
      if (at < since) continue
      gap = Math.max(gap, at - last)
      last = at
    }
  }
  return gap
}

/** How long broadcasts took, in ms, from lives to lives that fit, of those sent from `since` on. */
export function delays(fleet, since, fits) {
  const list = []
  for (const life of lives(fleet).filter(fits)) {
    for (const { heard, at } of life.topics.values()) {
      for (const [i, id] of heard.entries()) {
        const m = fleet.sent[id]
        if (m.at >= since && fits(m.life)) list.push(at[i] - m.at)
      }
    }
  }
  return list
}

/**
 * Broadcasts that did not reach somebody they should have: [{ topic, at, from, to }], lives; `to` is the publisher
 * itself where nobody heard it. What was sent into a socket that closed is not counted.
 */
export function losses({ missed, unheard }) {
  return [
    ...missed.map(({ m, life }) => ({ topic: m.topic, at: m.at, from: m.life, to: life })),
    ...unheard.filter((m) => m.life.closedAt === Infinity).map((m) => ({ topic: m.topic, at: m.at, from: m.life, to: m.life })),
  ]
}
