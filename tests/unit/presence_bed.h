/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_bed.h - a presence set with an own actor and two of other nodes, and a member of topic
 * "t", for test_presence_nodes.c and test_presence_replace.c.
 */
#ifndef TESTS_PRESENCE_BED_H
#define TESTS_PRESENCE_BED_H

#include "presence_help.h"

enum { OWN = 1, FAR = 2, FAR2 = 3 }; /* actors */

struct bed {
    struct heap h;
    struct cl_pres *p;
    struct member m;
};

/* An own actor and two of other nodes, all attached; each has one entry in "t" and in "u". */
static inline struct bed *bed_new(void)
{
    static struct bed b;

    memset(&b, 0, sizeof b);
    b.p = pres_new(heap_init(&b.h));
    assert_int_equal(cl_pres_actor_own(b.p, 0, OWN), 0);
    for (uint64_t actor = OWN; actor <= FAR2; actor++) {
        assert_int_equal(cl_pres_actor_up(b.p, 0, actor), 0);
        assert_int_equal(change(b.p, 0, "t", actor, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
        assert_int_equal(change(b.p, 0, "u", actor, 0, 2, 2, "{}", 0), CL_PRES_APPLIED);
    }
    cl_pres_settle(b.p, 0);
    assert_int_equal(cl_pres_view(b.p, pr_str("t"), member_begin, &b.m), 0);
    return &b;
}

static inline int only_t(void *ctx, const struct pr_p_diff *diff)
{
    return pr_slice_is(diff->topic, "t") ? member_diff(ctx, diff) : 0;
}

static inline void flush(struct bed *b, cl_ms now)
{
    assert_int_equal(cl_pres_flush(b->p, now, only_t, &b->m), 0);
    pres_ok(b->p);
}

static inline void bed_free(struct bed *b)
{
    member_equals_view(&b->m, b->p, "t");
    cl_pres_free(b->p);
    assert_int_equal(b->h.bytes, 0);
}

static inline uint64_t ctx_of(const struct bed *b, const char *topic, uint64_t actor)
{
    return cl_pres_ctx(b->p, pr_str(topic), actor);
}

/* Applies what another set tells, and remembers it. */
struct told {
    struct cl_pres *to;
    uint32_t frames, adds;
    uint64_t actors, ctx; /* sums */
    int answer;
};

static inline int take_state(void *ctx, const struct pr_p_delta *d)
{
    struct told *t = ctx;
    uint64_t known = 0;

    t->frames++;
    t->adds += d->nadds;
    t->actors += d->actor;
    t->ctx += d->b;
    assert_true(d->a == 0 && d->ndels == 0 && d->dels.n == 0);
    if (t->to != NULL) {
        assert_int_equal(cl_pres_apply(t->to, 0, d, &known), CL_PRES_APPLIED);
        assert_int_equal(known, d->b);
    }
    return t->answer;
}

/* cl_pres_each_topic_fn: counts, and forgets if it is told to. */
struct topics {
    struct cl_pres *p;
    uint32_t count, actors;
    bool forget;
};

static inline void one_topic(void *ctx, struct pr_slice topic, uint32_t actors)
{
    struct topics *t = ctx;

    t->count++;
    t->actors += actors;
    if (t->forget) {
        cl_pres_forget_topic(t->p, 0, topic);
    }
}

#endif
