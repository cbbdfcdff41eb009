/* SPDX-License-Identifier: Apache-2.0 */
/* swim.c - one object: its birth, its clock, what its owner says of itself and asks. */
#include "cluster/swim_in.h"

#include <assert.h>
#include <string.h>

/* Frames beside the facts of a SYNC: its head, and a PING. */
#define FRAMES_MORE 256u
/* Links that are asked after a stall. */
#define UNSURE_ASKED 3u
/* A tick this late is not the timer's grain any more: we are slow, or stood still. */
#define LATE_MS 50u

static bool config_valid(const struct cl_swim_config *cfg)
{
    struct pr_fact f = {.id = cfg->id, .state = PR_F_ALIVE, .name = cfg->name, .meta = cfg->meta};

    f.addr.family = PR_ADDR_V4; /* may be missing for now */
    return cfg->nodes >= 1 && cfg->nodes <= CL_NODES_MAX && pr_fact_valid(&f);
}

static void *take(const struct cl_alloc *mem, size_t n)
{
    void *p = mem->get(mem->ctx, n);

    if (p != NULL) {
        memset(p, 0, n);
    }
    return p;
}

static void start_self(struct cl_swim *s, cl_ms now)
{
    struct member *me = cl_sw_add(s, s->cfg.id);
    struct pr_meta meta = s->cfg.meta;

    assert(me == cl_sw_self(s));
    meta.ready = false;
    meta.draining = false;
    cl_sw_set_texts(me, s->cfg.name, &meta);
    s->cfg.name = me->pub.name;
    s->cfg.meta = me->pub.meta;
    me->pub.epoch = s->cfg.epoch;
    me->pub.state = CL_SWIM_ALIVE;
    me->pub.addr = s->cfg.addr;
    me->pub.since = now;
    me->meta_epoch = s->cfg.epoch;
    me->has_meta = s->cfg.addr.family != PR_ADDR_NONE;
    s->live = 1;
    cl_sw_mark(s, me, "started", s->cfg.id);
}

struct cl_swim *cl_swim_new(const struct cl_swim_config *cfg, struct cl_rand rand, cl_ms now)
{
    const struct cl_alloc *mem = cfg->mem;
    struct cl_swim *s = NULL;

    if (!config_valid(cfg)) {
        return NULL;
    }
    s = take(mem, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->cfg = *cfg;
    s->rand = rand;
    s->facts_cap = (size_t)cfg->nodes * PR_FACT_MAX;
    s->bytes_cap = s->facts_cap + PR_GOSSIP_MAX + FRAMES_MORE;
    s->members = take(mem, cfg->nodes * sizeof *s->members);
    s->packets = take(mem, CL_SWIM_QUEUE * sizeof *s->packets);
    s->facts = take(mem, s->facts_cap);
    s->bytes = take(mem, s->bytes_cap);
    if (s->members == NULL || s->packets == NULL || s->facts == NULL || s->bytes == NULL) {
        cl_swim_free(s);
        return NULL;
    }
    for (uint32_t slot = cfg->nodes; slot > 0; slot--) {
        s->free_slots[s->nfree++] = (uint16_t)(slot - 1);
    }
    s->due = now;
    s->ticked = now;
    s->probe_at = NEVER;
    s->gossip_at = NEVER;
    s->sync_at = now + cl_rand_below(&s->rand, CL_SWIM_SYNC_MS);
    s->redial_at = now + CL_SWIM_REDIAL_MS;
    start_self(s, now);
    return s;
}

void cl_swim_free(struct cl_swim *s)
{
    const struct cl_alloc *mem = s != NULL ? s->cfg.mem : NULL;

    if (s == NULL) {
        return;
    }
    if (s->members != NULL) {
        mem->put(mem->ctx, s->members, s->cfg.nodes * sizeof *s->members);
    }
    if (s->packets != NULL) {
        mem->put(mem->ctx, s->packets, CL_SWIM_QUEUE * sizeof *s->packets);
    }
    if (s->facts != NULL) {
        mem->put(mem->ctx, s->facts, s->facts_cap);
    }
    if (s->bytes != NULL) {
        mem->put(mem->ctx, s->bytes, s->bytes_cap);
    }
    mem->put(mem->ctx, s, sizeof *s);
}

/* ---- small things that all parts use ---- */

void cl_sw_arm(struct cl_swim *s, cl_ms at)
{
    s->due = at < s->due ? at : s->due;
}

void cl_sw_mark(struct cl_swim *s, struct member *m, const char *reason, uint64_t who)
{
    m->dirty = true;
    m->reason = reason;
    m->who = who;
    s->pending = true;
}

void cl_sw_owe(struct cl_swim *s, struct member *m, uint32_t what)
{
    if (m->pub.linked) {
        m->owe |= what;
        s->pending = true;
    }
}

uint32_t cl_sw_seq(struct cl_swim *s)
{
    s->seq++;
    s->seq += s->seq == 0 ? 1 : 0;
    return s->seq;
}

/* ---- the clock ---- */

static void ask_links(struct cl_swim *s)
{
    uint32_t asked = 0;

    for (uint32_t tried = 0; tried < 2 * UNSURE_ASKED && asked < UNSURE_ASKED; tried++) {
        struct member *m = cl_sw_pick_state(s, CL_SWIM_ALIVE, true);

        if (m != NULL && m->unsure_token == 0) {
            m->unsure_token = cl_sw_seq(s);
            m->ping_token = m->unsure_token;
            cl_sw_owe(s, m, OWE_HASH | OWE_PING);
            asked++;
        }
    }
}

/* The clock of all that waits for others' answers stands still while ours were not read: neither
 * probes that run nor suspicions that end in that time say anything about others. */
static void late(struct cl_swim *s, cl_ms lost)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);

        m->probe.end += lost;
        m->probe.start += m->probe.stage == PROBE_DIRECT ? lost : 0;
        if (m->pub.state == CL_SWIM_SUSPECT) {
            m->suspected_at += lost;
            m->pub.dead_at += lost;
        }
        m->claim.start += m->claim.state == CLAIM_ASKING ? lost : 0;
    }
}

/* So much time was lost that others may have given us up. */
static void stalled(struct cl_swim *s, cl_ms now)
{
    s->st.stalls++;
    s->unsure = true;
    s->unsure_since = now;
    s->unsure_seq = s->seq + 1;
    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);

        m->probe.stage = PROBE_NONE;
        m->unsure_token = 0;
    }
    memset(s->relays, 0, sizeof s->relays);
    s->probe_at = now;
    ask_links(s);
}

void cl_sw_stir(struct cl_swim *s, cl_ms now)
{
    if (s->live <= 1) {
        s->ticked = now;
        s->unsure = false;
        return;
    }
    if (now > s->due && now - s->due >= LATE_MS) {
        late(s, now - s->due);
        s->due = now;
    }
    if (now - s->ticked > CL_SWIM_STALL_MS) {
        s->ticked = now;
        stalled(s, now);
    }
}

void cl_swim_clock(struct cl_swim *s, cl_ms now)
{
    cl_sw_stir(s, now);
}

void cl_swim_tick(struct cl_swim *s, cl_ms now)
{
    cl_sw_stir(s, now);
    s->ticked = now;
    s->due = NEVER;
    for (uint32_t i = 0; i < s->n; i++) {
        struct member *m = cl_sw_at(s, i);

        cl_sw_probe_tick(s, now, m);
        cl_sw_facts_tick(s, now, m);
        cl_sw_claim_tick(s, now, m);
        cl_sw_dial_tick(s, now, m);
    }
    cl_sw_relay_tick(s, now);
    cl_sw_probe_next(s, now);
    cl_sw_link_tick(s, now);
    cl_sw_gossip_tick(s, now);
    cl_sw_self(s)->pub.health = (uint8_t)s->health;
    if (s->live > 1) {
        /* a tick that is late is how a stall is noticed */
        cl_sw_arm(s, now + CL_SWIM_PROBE_MS);
    }
}

cl_ms cl_swim_deadline(const struct cl_swim *s)
{
    return s->due;
}

/* ---- what the owner says ---- */

static bool same_meta(const struct pr_meta *a, const struct pr_meta *b)
{
    return a->roles == b->roles && a->weight == b->weight && a->edges == b->edges &&
           a->sockets100 == b->sockets100 && a->proto_min == b->proto_min &&
           a->proto_max == b->proto_max && pr_slice_eq(a->build, b->build) &&
           pr_slice_eq(a->url, b->url) && pr_slice_eq(a->zone, b->zone);
}

int cl_swim_set_meta(struct cl_swim *s, cl_ms now, const struct pr_meta *meta)
{
    struct member *me = cl_sw_self(s);
    struct pr_meta new_meta = *meta;

    if (!pr_meta_valid(meta)) {
        return CL_ERANGE;
    }
    if (same_meta(meta, &me->pub.meta)) {
        return CL_OK;
    }
    new_meta.ready = me->pub.meta.ready;
    new_meta.draining = me->pub.meta.draining;
    cl_sw_set_texts(me, me->pub.name, &new_meta);
    cl_sw_changed(s, now, "own change");
    return CL_OK;
}

void cl_swim_set_addr(struct cl_swim *s, cl_ms now, const struct pr_addr *addr)
{
    struct member *me = cl_sw_self(s);

    if (addr->family != PR_ADDR_NONE && !pr_addr_eq(addr, &me->pub.addr)) {
        me->pub.addr = *addr;
        me->has_meta = true;
        cl_sw_changed(s, now, "own change");
    }
}

void cl_swim_ready(struct cl_swim *s, cl_ms now)
{
    struct member *me = cl_sw_self(s);

    if (!me->pub.meta.ready) {
        me->pub.meta.ready = true;
        cl_sw_changed(s, now, "ready");
    }
}

void cl_swim_drain(struct cl_swim *s, cl_ms now, bool draining)
{
    struct member *me = cl_sw_self(s);

    if (me->pub.meta.draining != draining) {
        me->pub.meta.draining = draining;
        cl_sw_changed(s, now, draining ? "draining" : "no longer draining");
    }
}

void cl_swim_leave(struct cl_swim *s, cl_ms now)
{
    struct member *me = cl_sw_self(s);

    if (s->leaving) {
        return;
    }
    s->leaving = true;
    me->pub.state = CL_SWIM_LEFT;
    me->pub.since = now;
    s->leave_at = now;
    cl_sw_arm(s, now);
    cl_sw_changed(s, now, "left");
}

void cl_swim_set_view(struct cl_swim *s, uint64_t view)
{
    s->view = view;
}

int cl_swim_merge(struct cl_swim *s, cl_ms now, const struct pr_fact *f, bool from_sync)
{
    cl_sw_stir(s, now);
    if (!pr_fact_valid(f)) {
        return CL_ERANGE;
    }
    return cl_sw_merge(s, now, f, from_sync, f->state == PR_F_ALIVE ? f->id : s->cfg.id);
}
