/* SPDX-License-Identifier: Apache-2.0 */
/* swim_table.c - the members: by id, by chance, and in the order in which they are probed. */
#include "cluster/swim_in.h"

#include <assert.h>
#include <string.h>

struct member *cl_sw_self(const struct cl_swim *s)
{
    return &s->members[0];
}

/* Place of the first id that is not smaller. */
static uint32_t place(const struct cl_swim *s, uint64_t id)
{
    uint32_t lo = 0;
    uint32_t hi = s->n;

    while (lo < hi) {
        uint32_t mid = (lo + hi) / 2;

        if (s->ids[mid] < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

struct member *cl_sw_find(const struct cl_swim *s, uint64_t id)
{
    uint32_t i = place(s, id);

    return i < s->n && s->ids[i] == id ? &s->members[s->sorted[i]] : NULL;
}

struct member *cl_sw_at(const struct cl_swim *s, uint32_t i)
{
    assert(i < s->n);
    return &s->members[s->sorted[i]];
}

bool cl_sw_live(const struct member *m)
{
    return m->pub.state == CL_SWIM_ALIVE || m->pub.state == CL_SWIM_SUSPECT;
}

/* Makes room early, so that the owner can be told of who is forgotten before the slot is needed. */
static void forget_oldest(struct cl_swim *s)
{
    struct member *oldest = NULL;

    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);
        bool over = m->pub.state == CL_SWIM_DEAD || m->pub.state == CL_SWIM_LEFT;

        if (over && !m->pub.linked && !m->dirty &&
            (oldest == NULL || m->pub.since < oldest->pub.since)) {
            oldest = m;
        }
    }
    if (oldest != NULL) {
        oldest->pub.state = CL_SWIM_NONE;
        cl_sw_mark(s, oldest, "forgotten, too many members", 0);
    }
}

/* A new one is probed at a random place of the round, so that nobody waits longer than two. */
static void enter_order(struct cl_swim *s, uint16_t slot)
{
    uint32_t at = (uint32_t)cl_rand_below(&s->rand, s->norder + 1);

    memmove(&s->order[at + 1], &s->order[at], (s->norder - at) * sizeof s->order[0]);
    s->order[at] = slot;
    s->norder++;
    if (at < s->cursor) {
        s->cursor++;
    }
}

static void leave_order(struct cl_swim *s, uint16_t slot)
{
    for (uint32_t i = 0; i < s->norder; i++) {
        if (s->order[i] == slot) {
            s->norder--;
            memmove(&s->order[i], &s->order[i + 1], (s->norder - i) * sizeof s->order[0]);
            if (i < s->cursor) {
                s->cursor--;
            }
            return;
        }
    }
}

struct member *cl_sw_add(struct cl_swim *s, uint64_t id)
{
    uint32_t at = place(s, id);
    struct member *m = NULL;
    uint16_t slot = 0;

    assert(id != 0 && (at == s->n || s->ids[at] != id));
    if (s->nfree == 0) {
        return NULL;
    }
    slot = s->free_slots[--s->nfree];
    m = &s->members[slot];
    *m = (struct member){.dial_at = NEVER};
    m->pub.id = id;
    m->pub.self = slot == 0;
    m->pub.rtt_ms = UINT32_MAX;
    m->pub.dead_at = NEVER;
    memmove(&s->ids[at + 1], &s->ids[at], (s->n - at) * sizeof s->ids[0]);
    memmove(&s->sorted[at + 1], &s->sorted[at], (s->n - at) * sizeof s->sorted[0]);
    s->ids[at] = id;
    s->sorted[at] = slot;
    s->n++;
    if (slot != 0) {
        enter_order(s, slot);
    }
    if (s->nfree <= s->cfg.nodes / 8) {
        forget_oldest(s);
    }
    return m;
}

void cl_sw_remove(struct cl_swim *s, struct member *m)
{
    uint32_t at = place(s, m->pub.id);
    uint16_t slot = (uint16_t)(m - s->members);

    assert(slot != 0 && at < s->n && s->sorted[at] == slot && !cl_sw_live(m));
    for (uint32_t i = 0; i < m->nrumours; i++) {
        s->active -= m->rumour[i].active ? 1 : 0;
    }
    s->n--;
    memmove(&s->ids[at], &s->ids[at + 1], (s->n - at) * sizeof s->ids[0]);
    memmove(&s->sorted[at], &s->sorted[at + 1], (s->n - at) * sizeof s->sorted[0]);
    leave_order(s, slot);
    s->free_slots[s->nfree++] = slot;
}

/* Moves k random ones of n slots to the front. */
static uint32_t shuffle(struct cl_swim *s, uint16_t *slots, uint32_t n, uint32_t k)
{
    k = k < n ? k : n;
    for (uint32_t i = 0; i < k; i++) {
        uint32_t j = i + (uint32_t)cl_rand_below(&s->rand, n - i);
        uint16_t t = slots[i];

        slots[i] = slots[j];
        slots[j] = t;
    }
    return k;
}

uint32_t cl_sw_pick(struct cl_swim *s, const struct member *except, struct member **out, uint32_t k)
{
    uint16_t slots[CL_NODES_MAX];
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        if (cl_sw_live(m) && !m->pub.self && m != except && m->has_meta) {
            slots[n++] = s->sorted[i];
        }
    }
    n = shuffle(s, slots, n, k);
    for (uint32_t i = 0; i < n; i++) {
        out[i] = &s->members[slots[i]];
    }
    return n;
}

struct member *cl_sw_pick_state(struct cl_swim *s, enum cl_swim_state state, bool linked)
{
    uint16_t slots[CL_NODES_MAX];
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        if (m->pub.state == state && !m->pub.self && (m->pub.linked || !linked)) {
            slots[n++] = s->sorted[i];
        }
    }
    return n == 0 ? NULL : &s->members[slots[cl_rand_below(&s->rand, n)]];
}

struct member *cl_sw_next_target(struct cl_swim *s)
{
    /* the rest of this round, and all of the next one, whose order is another */
    for (uint32_t tried = 0; tried < 2 * s->norder; tried++) {
        struct member *m = NULL;

        if (s->cursor >= s->norder) {
            s->cursor = 0;
            (void)shuffle(s, s->order, s->norder, s->norder);
        }
        m = &s->members[s->order[s->cursor++]];
        if (cl_sw_live(m) && m->has_meta) {
            return m;
        }
    }
    return NULL;
}

uint64_t cl_sw_hash(const struct cl_swim *s)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);
        uint64_t h = 0;

        if (!cl_sw_live(m)) {
            continue;
        }
        h = cl_mix64(m->pub.id ^ cl_mix64(m->pub.epoch + 1));
        h = cl_mix64(h ^ ((uint64_t)m->pub.inc << 8 | m->pub.state));
        h = cl_mix64(h ^ cl_mix64(m->meta_epoch + 1));
        sum += cl_mix64(h ^ m->meta_inc);
    }
    return sum;
}
