/* SPDX-License-Identifier: Apache-2.0 */
/* swim_facts.c - what is believed of a member: the two maxima, suspicion, what is spread. */
#include "cluster/swim_in.h"

#include <assert.h>
#include <string.h>

/* Before a suspicion ends, its subject is asked once more: the time of one whole probe. */
#define LAST_CALL_MS CL_SWIM_PROBE_MS
/* For the simulation, which must notice that a rule is missing. */
#ifdef CL_SABOTAGE_REFUTE
#define SABOTAGE_REFUTE true
#else
#define SABOTAGE_REFUTE false
#endif
#ifdef CL_SABOTAGE_LIST
#define SABOTAGE_LIST true
#else
#define SABOTAGE_LIST false
#endif

uint32_t cl_sw_log10_milli(uint32_t n)
{
    uint32_t e = 0;
    uint32_t frac = 0;
    uint64_t x = 0;

    assert(n >= 1);
    while (n >> e > 1) {
        e++;
    }
    /* x in 1 .. 2, with 31 bits behind the point: each square gives one bit of log2 */
    x = ((uint64_t)n << 31) >> e;
    for (uint32_t i = 0; i < 16; i++) {
        x = x * x >> 31;
        frac <<= 1;
        if (x >= UINT64_C(1) << 32) {
            x >>= 1;
            frac |= 1;
        }
    }
    /* log10(2) = 0.30103; rounded */
    return (uint32_t)(((((uint64_t)e << 16) + frac) * 30103 + (UINT64_C(50) << 16)) /
                      (UINT64_C(100) << 16));
}

uint32_t cl_sw_sends(uint32_t n)
{
    uint32_t digits = 0;

    for (uint64_t p = 1; p < (uint64_t)n + 1; p *= 10) {
        digits++;
    }
    return 4 * digits;
}

void cl_sw_set_texts(struct member *m, struct pr_slice name, const struct pr_meta *meta)
{
    struct pr_slice from[4] = {name, meta->build, meta->url, meta->zone};
    struct pr_slice *to[4] = {&m->pub.name, &m->pub.meta.build, &m->pub.meta.url,
                              &m->pub.meta.zone};
    uint8_t text[TEXTS_MAX]; /* the texts may be this member's own */
    size_t len = 0;

    m->pub.meta = *meta;
    for (unsigned i = 0; i < 4; i++) {
        assert(from[i].n <= sizeof text - len);
        if (from[i].n > 0) {
            memcpy(text + len, from[i].p, from[i].n);
        }
        *to[i] = pr_bytes(m->text + len, from[i].n);
        len += from[i].n;
    }
    memcpy(m->text, text, len);
}

static void spread(struct cl_swim *s, cl_ms now, struct member *m, uint64_t from)
{
    struct rumour *r = &m->rumour[m->nrumours];
    cl_ms at = s->gossiped + CL_SWIM_GOSSIP_MS;

    assert(m->nrumours < ACCUSERS_MAX);
    m->nrumours++;
    /* without an address there is nothing to tell of us */
    *r = (struct rumour){.from = from, .news = ++s->news, .active = m->has_meta};
    s->active += r->active ? 1 : 0;
    at = at > now ? at : now;
    if (at < s->gossip_at) {
        s->gossip_at = at;
        cl_sw_arm(s, at);
    }
}

static void silence(struct cl_swim *s, struct member *m)
{
    for (uint32_t i = 0; i < m->nrumours; i++) {
        s->active -= m->rumour[i].active ? 1 : 0;
    }
    m->nrumours = 0;
}

/* Lifeguard: max - log(c + 1) / log(k + 1) * (max - min) after c of k confirmations. */
static uint32_t suspicion_ms(const struct member *m)
{
    uint32_t span = m->suspect_max_ms - m->suspect_min_ms;

    if (m->pub.confirms >= m->pub.confirms_of) {
        return m->suspect_min_ms;
    }
    /* k = 2: log 2 / log 3 = 0.6309 */
    return m->suspect_max_ms - (m->pub.confirms == 0 ? 0 : span * 631 / 1000);
}

static void suspicion_due(struct cl_swim *s, struct member *m)
{
    m->pub.dead_at = m->suspected_at + suspicion_ms(m);
    cl_sw_arm(s, m->pub.dead_at - LAST_CALL_MS);
}

static void start_suspicion(struct cl_swim *s, cl_ms now, struct member *m)
{
    uint32_t log = cl_sw_log10_milli(s->live);

    log = log > 1000 ? log : 1000;
    m->suspect_min_ms = 4 * log * CL_SWIM_PROBE_MS / 1000;
    m->suspect_max_ms = CL_SWIM_SUSPECT_X * m->suspect_min_ms;
    m->suspected_at = now;
    m->last_called = false;
    m->pub.confirms_of = s->live > 3 ? CL_SWIM_CONFIRMS : 0;
    suspicion_due(s, m);
}

static void confirm(struct cl_swim *s, cl_ms now, struct member *m, uint64_t from)
{
    for (uint32_t i = 0; i < m->nrumours; i++) {
        if (m->rumour[i].from == from) {
            return;
        }
    }
    if (m->pub.confirms >= m->pub.confirms_of) {
        return;
    }
    spread(s, now, m, from);
    m->pub.confirms++;
    suspicion_due(s, m);
}

static const char *alive_reason(const struct member *m, bool new_life)
{
    if (m->pub.state == CL_SWIM_NONE) {
        return "joined";
    }
    if (new_life) {
        return "restarted";
    }
    if (m->pub.state == CL_SWIM_ALIVE) {
        return "said something new of itself";
    }
    return m->pub.state == CL_SWIM_SUSPECT ? "refuted" : "came back";
}

static void new_life(struct cl_swim *s, struct member *m, uint64_t epoch)
{
    m->probe.stage = PROBE_NONE;
    m->vetoes = 0;
    m->pub.rtt_ms = UINT32_MAX;
    m->pub.udp_missed = 0;
    if (m->claim.epoch == epoch) {
        m->claim.state = CLAIM_NONE;
    }
    if (m->pub.linked && m->link_epoch < epoch) {
        m->close_reason = "a newer life of this node is known";
        s->pending = true;
    }
}

static void became_live(struct cl_swim *s, cl_ms now, struct member *m)
{
    s->live++;
    m->dial_at = now;
    cl_sw_arm(s, now);
    if (s->probe_at == NEVER && !m->pub.self) {
        s->probe_at = now + cl_rand_below(&s->rand, CL_SWIM_PROBE_MS);
        cl_sw_arm(s, s->probe_at);
    }
}

static void became_dead(struct cl_swim *s, cl_ms now, struct member *m)
{
    const struct packet p = {.kind = PACKET_GOSSIP, .to = m->pub.addr, .id = m->pub.id};

    s->live--;
    s->st.deaths += m->pub.state == CL_SWIM_DEAD ? 1 : 0;
    m->probe.stage = PROBE_NONE;
    m->dial_at = NEVER;
    m->dial_due = false;
    cl_sw_arm(s, now);
    if (m->pub.state == CL_SWIM_DEAD) {
        /* if it lives, it hears of it soonest from us */
        cl_sw_send(s, &p);
        cl_sw_owe(s, m, OWE_HASH);
    }
}

static void adopt(struct cl_swim *s, cl_ms now, struct member *m, const struct news *news)
{
    bool was_live = cl_sw_live(m);
    bool other_life = m->pub.epoch != news->epoch;
    const char *reason = news->reason;
    bool other_state = m->pub.state != news->state || other_life;

    if (news->state == CL_SWIM_ALIVE) {
        reason = alive_reason(m, other_life);
        m->vetoes = 0;
    }
    if (other_life) {
        new_life(s, m, news->epoch);
    }
    silence(s, m);
    m->pub.epoch = news->epoch;
    m->pub.inc = news->inc;
    m->pub.state = news->state;
    m->pub.since = other_state ? now : m->pub.since;
    m->pub.confirms = 0;
    m->pub.confirms_of = 0;
    m->pub.dead_at = NEVER;
    spread(s, now, m, news->from);
    if (news->state == CL_SWIM_SUSPECT) {
        start_suspicion(s, now, m);
    }
    if (cl_sw_live(m) && !was_live) {
        became_live(s, now, m);
    } else if (was_live && !cl_sw_live(m)) {
        became_dead(s, now, m);
    }
    cl_sw_mark(s, m, reason, news->from);
}

/* <0, 0, >0: what is known against the news. */
static int order(const struct member *m, const struct news *news)
{
    if (m->pub.epoch != news->epoch) {
        return m->pub.epoch < news->epoch ? -1 : 1;
    }
    if (m->pub.inc != news->inc) {
        return m->pub.inc < news->inc ? -1 : 1;
    }
    return (int)m->pub.state - (int)news->state;
}

void cl_sw_apply(struct cl_swim *s, cl_ms now, struct member *m, const struct news *news)
{
    int cmp = m->pub.state == CL_SWIM_NONE ? -1 : order(m, news);

    if (cmp < 0) {
        adopt(s, now, m, news);
    } else if (cmp == 0 && news->state == CL_SWIM_SUSPECT) {
        confirm(s, now, m, news->from);
    }
}

void cl_sw_accuse(struct cl_swim *s, cl_ms now, struct member *m, const char *reason)
{
    const struct news news = {.epoch = m->pub.epoch,
                              .inc = m->pub.inc,
                              .state = CL_SWIM_SUSPECT,
                              .from = s->cfg.id,
                              .reason = reason};

    if (!cl_sw_live(m)) {
        return;
    }
    s->st.suspected += m->pub.state == CL_SWIM_ALIVE ? 1 : 0;
    cl_sw_apply(s, now, m, &news);
    cl_sw_owe(s, m, OWE_ACCUSATION);
}

static void apply_meta(struct cl_swim *s, cl_ms now, struct member *m, const struct pr_fact *f)
{
    bool older = m->meta_epoch > f->epoch || (m->meta_epoch == f->epoch && m->meta_inc >= f->inc);

    if (m->has_meta && older) {
        return;
    }
    if (m->has_meta && !pr_addr_eq(&m->pub.addr, &f->addr) && cl_sw_live(m)) {
        m->dial_at = now;
        cl_sw_arm(s, now);
    }
    m->pub.addr = f->addr;
    cl_sw_set_texts(m, f->name, &f->meta);
    m->meta_epoch = f->epoch;
    m->meta_inc = f->inc;
    m->has_meta = true;
    if (m->pub.state != CL_SWIM_NONE) {
        cl_sw_mark(s, m, "said something new of itself", f->id);
    }
}

int cl_sw_merge(struct cl_swim *s, cl_ms now, const struct pr_fact *f, bool from_sync, uint64_t who)
{
    struct news news = {.epoch = f->epoch,
                        .inc = f->inc,
                        .state = (enum cl_swim_state)f->state,
                        .from = who,
                        .reason = "list of a peer"};
    struct member *m = cl_sw_find(s, f->id);

    if (m != NULL && m->has_meta && !pr_slice_eq(m->pub.name, f->name)) {
        s->st.clashes++;
        return CL_EEXIST;
    }
    if (m == cl_sw_self(s)) {
        cl_sw_about_self(s, now, &news, &f->addr);
        return CL_OK;
    }
    if ((m == NULL || m->pub.state == CL_SWIM_NONE) && (f->state >= PR_F_DEAD || s->leaving)) {
        return CL_OK; /* who was never here need not be forgotten */
    }
    if (m == NULL) {
        m = cl_sw_add(s, f->id);
    }
    if (m == NULL) {
        s->st.no_room++;
        return CL_ENOMEM;
    }
    apply_meta(s, now, m, f);
    if (from_sync && f->state == PR_F_DEAD && cl_sw_live(m) && !SABOTAGE_LIST) {
        news.state = CL_SWIM_SUSPECT;
    }
    if (from_sync && news.state == CL_SWIM_SUSPECT) {
        /* nobody else is known to accuse it, so we do, and look ourselves */
        news.from = s->cfg.id;
    } else if (news.state == CL_SWIM_LEFT) {
        news.from = f->id;
        news.reason = "left";
    }
    cl_sw_apply(s, now, m, &news);
    if (from_sync && m->pub.state == CL_SWIM_SUSPECT) {
        cl_sw_probe(s, now, m);
    }
    return CL_OK;
}

static void raise_epoch(struct cl_swim *s, cl_ms now, uint64_t over, const struct pr_addr *addr)
{
    struct member *me = cl_sw_self(s);

    s->pending = true;
    if (over == UINT64_MAX) {
        s->fatal = true;
        s->fatal_addr = addr != NULL ? *addr : me->pub.addr;
        return;
    }
    me->pub.epoch = over + 1;
    me->pub.inc = 0;
    s->raised = me->pub.epoch;
    cl_sw_changed(s, now, "a former life was ahead of our clock");
}

void cl_sw_changed(struct cl_swim *s, cl_ms now, const char *reason)
{
    struct member *me = cl_sw_self(s);

    if (me->pub.inc == UINT32_MAX) {
        raise_epoch(s, now, me->pub.epoch, NULL);
        return;
    }
    me->pub.inc++;
    me->meta_epoch = me->pub.epoch;
    me->meta_inc = me->pub.inc;
    silence(s, me);
    spread(s, now, me, me->pub.id);
    cl_sw_mark(s, me, reason, me->pub.id);
}

/* Somebody says that we are not well: a higher inc says that we are. */
static void refute(struct cl_swim *s, cl_ms now, uint32_t inc)
{
    struct member *me = cl_sw_self(s);

    if (inc < me->pub.inc) {
        /* refuted before, but not heard by all */
        silence(s, me);
        spread(s, now, me, me->pub.id);
        return;
    }
    me->pub.inc = inc;
    s->st.refuted++;
    s->health += s->health < CL_SWIM_HEALTH_MAX ? 1 : 0;
    cl_sw_changed(s, now, "refuted");
}

void cl_sw_about_self(struct cl_swim *s, cl_ms now, const struct news *news,
                      const struct pr_addr *addr)
{
    struct member *me = cl_sw_self(s);
    bool over = news->state == CL_SWIM_DEAD || news->state == CL_SWIM_LEFT;

    if (s->leaving || s->fatal || news->epoch < me->pub.epoch) {
        return;
    }
    if (news->epoch == me->pub.epoch) {
        if (news->state != CL_SWIM_ALIVE && !SABOTAGE_REFUTE) {
            refute(s, now, news->inc);
        }
        return;
    }
    if (over || !me->pub.meta.ready || (addr != NULL && pr_addr_eq(addr, &me->pub.addr))) {
        raise_epoch(s, now, news->epoch, addr);
    } else if (addr != NULL) {
        s->fatal = true;
        s->fatal_addr = *addr;
        s->pending = true;
    }
}

/* The time to refute is over. */
static void verdict(struct cl_swim *s, cl_ms now, struct member *m)
{
    const struct news news = {.epoch = m->pub.epoch,
                              .inc = m->pub.inc,
                              .state = CL_SWIM_DEAD,
                              .from = s->cfg.id,
                              .reason = "suspected and not refuted in time"};
    bool heard = m->pub.linked && m->link_epoch == m->pub.epoch && now - m->heard < CL_SWIM_VETO_MS;

    if (heard && m->vetoes < CL_SWIM_VETO_MAX) {
        m->vetoes++;
        s->st.vetoed++;
        m->pub.dead_at = now + CL_SWIM_VETO_ADD;
        cl_sw_arm(s, m->pub.dead_at);
        cl_sw_owe(s, m, OWE_ACCUSATION);
        return;
    }
    if (heard) {
        m->close_reason = "its link speaks, but its datagrams do not arrive";
        s->pending = true;
    }
    adopt(s, now, m, &news);
}

static void suspicion_tick(struct cl_swim *s, cl_ms now, struct member *m)
{
    if (!m->last_called && m->pub.dead_at <= now + LAST_CALL_MS) {
        cl_sw_last_call(s, now, m);
    }
    if (m->pub.dead_at <= now) {
        verdict(s, now, m);
    }
    cl_sw_arm(s, m->last_called ? m->pub.dead_at : m->pub.dead_at - LAST_CALL_MS);
}

void cl_sw_facts_tick(struct cl_swim *s, cl_ms now, struct member *m)
{
    bool over = m->pub.state == CL_SWIM_DEAD || m->pub.state == CL_SWIM_LEFT;

    if (m->pub.state == CL_SWIM_SUSPECT) {
        suspicion_tick(s, now, m);
    }
    if (!over || m->pub.self) {
        return;
    }
    if (now - m->pub.since < CL_SWIM_FORGET_MS) {
        cl_sw_arm(s, m->pub.since + CL_SWIM_FORGET_MS);
    } else if (!m->pub.linked && !m->dirty) {
        silence(s, m);
        m->pub.state = CL_SWIM_NONE;
        cl_sw_mark(s, m, "forgotten", 0);
    } else {
        cl_sw_arm(s, now + CL_SWIM_REDIAL_MS);
    }
}
