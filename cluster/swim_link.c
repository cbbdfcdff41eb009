/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim_link.c - what links tell, and push/pull over them.
 *
 * Push/pull starts with a hash. Equal: the same hash comes back, and that was all. Unequal: SYNC
 * with everything and the wish for the same, and SYNC with everything back.
 */
#include "cluster/swim_in.h"

#include <assert.h>

/* Links that look at once at somebody whose link has closed: all of a small cluster, and about this
 * many of a large one, whose suspicions suffice to confirm each other. */
#define PROBERS 10u

int cl_swim_link_up(struct cl_swim *s, cl_ms now, uint64_t id, uint64_t epoch)
{
    struct member *m = NULL;

    cl_sw_stir(s, now);
    if (id == 0 || id == s->cfg.id) {
        return CL_ERANGE;
    }
    m = cl_sw_find(s, id);
    if (m == NULL) {
        m = cl_sw_add(s, id);
    }
    if (m == NULL) {
        s->st.no_room++;
        return CL_ENOMEM;
    }
    m->pub.linked = true;
    m->link_epoch = epoch;
    m->heard = now;
    m->owe = 0;
    m->unsure_token = 0;
    m->left_asked = false;
    m->close_reason = NULL;
    m->dial_due = false;
    if (s->cfg.id < id) {
        cl_sw_owe(s, m, OWE_HASH);
    }
    if (epoch < m->pub.epoch && !cl_sw_live(m)) {
        /* Its clock went back: a former life is ahead of it. It raises its epoch and closes its
         * links, so it must have been told of the others by then, or nobody would dial. */
        cl_sw_owe(s, m, OWE_SYNC_BACK);
    }
    return CL_OK;
}

static void probe_by_chance(struct cl_swim *s, cl_ms now, struct member *m)
{
    if (s->live <= PROBERS || cl_rand_below(&s->rand, s->live) < PROBERS) {
        cl_sw_probe(s, now, m);
    }
}

void cl_swim_link_down(struct cl_swim *s, cl_ms now, uint64_t id, enum cl_swim_down how)
{
    struct member *m = NULL;

    cl_sw_stir(s, now);
    m = cl_sw_find(s, id);
    if (m == NULL || m->pub.self || (how == CL_SWIM_REFUSED && m->pub.linked)) {
        return;
    }
    m->pub.linked = false;
    m->owe = 0;
    m->close_reason = NULL;
    if (m->pub.state == CL_SWIM_NONE && m->told == CL_SWIM_NONE && !m->dirty) {
        cl_sw_remove(s, m);
        return;
    }
    if (!cl_sw_live(m)) {
        return;
    }
    /* a refused dial: the one that refused is dialled again by the clock */
    m->dial_at = how == CL_SWIM_REFUSED ? now + CL_SWIM_REDIAL_MS : now;
    cl_sw_arm(s, m->dial_at);
    if (how == CL_SWIM_EOF || how == CL_SWIM_REFUSED || how == CL_SWIM_TIMEOUT) {
        probe_by_chance(s, now, m);
    }
}

void cl_swim_link_heard(struct cl_swim *s, cl_ms now, uint64_t id)
{
    struct member *m = cl_sw_find(s, id);

    if (m != NULL) {
        m->heard = now;
    }
}

static void take_hash(struct cl_swim *s, struct member *m, const struct pr_sync_hash *h)
{
    if (h->want_reply) {
        cl_sw_owe(s, m, h->hash == cl_sw_hash(s) ? OWE_HASH_BACK : OWE_SYNC);
    }
}

/* 0 or the error of a damaged list. */
static int check_facts(const struct pr_sync *sync)
{
    struct pr_slice list = sync->facts;
    struct pr_fact f;

    for (uint32_t i = 0; i < sync->nfacts; i++) {
        if (pr_fact_next(&list, &f) != 1) {
            return CL_EPROTO;
        }
    }
    return list.n == 0 ? CL_OK : CL_EPROTO;
}

static int take_sync(struct cl_swim *s, cl_ms now, struct member *m, const struct pr_sync *sync)
{
    struct pr_slice list = sync->facts;
    bool accused = false;
    struct pr_fact f;

    if (check_facts(sync) != CL_OK) {
        return CL_EPROTO;
    }
    s->st.syncs_in++;
    for (uint32_t i = 0; i < sync->nfacts; i++) {
        if (pr_fact_next(&list, &f) == 1) {
            /* what does not fit, or clashes, is counted; the others count too */
            (void)cl_sw_merge(s, now, &f, true, m->pub.id);
            accused = accused || (f.id == s->cfg.id && f.state != PR_F_ALIVE);
        }
    }
    if (sync->want_reply) {
        cl_sw_owe(s, m, OWE_SYNC_BACK);
    } else if (accused) {
        cl_sw_owe(s, m, OWE_SELF);
    }
    return CL_OK;
}

static int take_ping(struct cl_swim *s, cl_ms now, struct member *m, const struct pr_frame *f)
{
    struct pr_ping ping;
    bool pong = f->type == PR_T_PONG;

    if ((pong ? pr_pong_decode(f, &ping) : pr_ping_decode(f, &ping)) != PR_OK) {
        return CL_EPROTO;
    }
    if (pong) {
        cl_sw_pong(s, now, m, ping.token);
    } else {
        m->pong_token = ping.token;
        cl_sw_owe(s, m, OWE_PONG);
    }
    return CL_OK;
}

int cl_swim_link_in(struct cl_swim *s, cl_ms now, uint64_t id, const struct pr_frame *f)
{
    struct member *m = NULL;
    struct pr_sync_hash hash;
    struct pr_sync sync;

    cl_sw_stir(s, now);
    m = cl_sw_find(s, id);
    if (m == NULL || !m->pub.linked) {
        return CL_ENOENT;
    }
    m->heard = now;
    if (f->type == PR_T_PING || f->type == PR_T_PONG) {
        return take_ping(s, now, m, f);
    }
    if (f->type == PR_T_SYNC_HASH && pr_sync_hash_decode(f, &hash) == PR_OK) {
        take_hash(s, m, &hash);
        return CL_OK;
    }
    if (f->type == PR_T_SYNC && pr_sync_decode(f, &sync) == PR_OK) {
        return take_sync(s, now, m, &sync);
    }
    return CL_EPROTO;
}

/* Every 30 s, and slower in large clusters: x (1 + ceil(log2(n / 32))) above 32 members. */
static cl_ms sync_interval_ms(const struct cl_swim *s)
{
    uint32_t times = 1;

    for (uint32_t n = 32; n < s->live; n *= 2) {
        times++;
    }
    return (cl_ms)CL_SWIM_SYNC_MS * times;
}

static void sync_tick(struct cl_swim *s, cl_ms now)
{
    struct member *m = NULL;

    if (s->sync_at <= now) {
        m = cl_sw_pick_state(s, CL_SWIM_ALIVE, true);
        s->sync_at = now + sync_interval_ms(s);
        if (m != NULL) {
            cl_sw_owe(s, m, OWE_HASH);
        }
    }
    cl_sw_arm(s, s->sync_at);
}

/* Tells enough links in turn that we have left; PONG says that it was read. */
static void leave_tick(struct cl_swim *s, cl_ms now)
{
    uint32_t acked = 0;
    uint32_t asked = 0;

    if (s->leave_at > now) {
        cl_sw_arm(s, s->leave_at);
        return;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        acked += cl_sw_at(s, i)->left_acked ? 1 : 0;
    }
    for (uint32_t i = 0; i < s->n && acked + asked < LEAVE_ACKS; i++) {
        struct member *m = cl_sw_at(s, i);

        if (m->pub.linked && cl_sw_live(m) && !m->left_asked) {
            m->left_asked = true;
            m->left_token = cl_sw_seq(s);
            m->ping_token = m->left_token;
            cl_sw_owe(s, m, OWE_SELF | OWE_PING);
            asked++;
        }
    }
    s->leave_at = now + CL_SWIM_PROBE_MS;
    cl_sw_arm(s, s->leave_at);
}

bool cl_swim_gone(const struct cl_swim *s)
{
    uint32_t linked = 0;
    uint32_t acked = 0;

    if (!s->leaving) {
        return false;
    }
    for (uint32_t i = 0; i < s->n; i++) {
        const struct member *m = cl_sw_at(s, i);

        linked += m->pub.linked && cl_sw_live(m) ? 1 : 0;
        acked += m->left_acked ? 1 : 0;
    }
    return acked >= (linked < LEAVE_ACKS ? linked : LEAVE_ACKS);
}

static void redial_tick(struct cl_swim *s, cl_ms now)
{
    struct member *m = NULL;

    if (s->redial_at <= now) {
        m = cl_sw_pick_state(s, CL_SWIM_DEAD, false);
        s->redial_at = now + CL_SWIM_REDIAL_MS;
        if (m != NULL && !m->pub.linked) {
            m->dial_due = true;
            s->pending = true;
        }
    }
    cl_sw_arm(s, s->redial_at);
}

void cl_sw_dial_tick(struct cl_swim *s, cl_ms now, struct member *m)
{
    if (m->pub.self || m->pub.linked || !cl_sw_live(m) || s->leaving) {
        return; /* a link to who leaves would bring its clients back for a moment */
    }
    if (m->dial_at <= now) {
        m->dial_due = true;
        s->pending = true;
        m->dial_at = now + CL_SWIM_REDIAL_MS;
    }
    cl_sw_arm(s, m->dial_at);
}

void cl_sw_link_tick(struct cl_swim *s, cl_ms now)
{
    if (s->leaving) {
        leave_tick(s, now);
        return;
    }
    sync_tick(s, now);
    redial_tick(s, now);
}
