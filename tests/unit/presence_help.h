/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_help.h - what the tests of the presence set share: an allocator that counts and can
 * refuse, deltas from a written history of one actor, and a member that checks what it is shown.
 */
#ifndef TESTS_PRESENCE_HELP_H
#define TESTS_PRESENCE_HELP_H

#include "cluster/hash.h"
#include "cluster/presence.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* Counts what is out; the refuse_at-th get from now on answers NULL (0: never). */
struct heap {
    size_t bytes, gets, refuse_at;
    struct cl_alloc alloc;
};

static inline void *heap_get(void *ctx, size_t n)
{
    struct heap *h = ctx;

    h->gets++;
    if (h->refuse_at != 0 && --h->refuse_at == 0) {
        return NULL;
    }
    h->bytes += n;
    return malloc(n == 0 ? 1 : n);
}

static inline void heap_put(void *ctx, void *p, size_t n)
{
    struct heap *h = ctx;

    h->bytes -= n;
    free(p);
}

static inline struct heap *heap_init(struct heap *h)
{
    *h = (struct heap){.alloc = {heap_get, heap_put, h}};
    return h;
}

static inline struct cl_pres *pres_new(struct heap *h)
{
    struct cl_pres_config cfg = {1u << 20, 1u << 20, 1u << 30, 7, &h->alloc};
    struct cl_pres *p = cl_pres_new(&cfg);

    assert_non_null(p);
    return p;
}

static inline void pres_ok(const struct cl_pres *p)
{
    const char *what = NULL;

    if (!cl_pres_check(p, &what)) {
        fail_msg("%s", what);
    }
}

/* One operation of an actor in a topic: put or del of a slot. Its n is its index + 1. */
struct op {
    bool put;
    uint32_t slot;
};

/* Which op of the first `n` put what slot `slot` holds; 0: nothing. */
static inline uint64_t slot_at(const struct op *ops, uint64_t n, uint32_t slot)
{
    uint64_t dot = 0;

    for (uint64_t i = 1; i <= n; i++) {
        if (ops[i - 1].slot == slot) {
            dot = ops[i - 1].put ? i : 0;
        }
    }
    return dot;
}

/* Is dot `n` alive after the first `at` operations? */
static inline bool alive_at(const struct op *ops, uint64_t at, uint64_t n)
{
    return n <= at && ops[n - 1].put && slot_at(ops, at, ops[n - 1].slot) == n;
}

/* A delta with the memory of its lists. */
struct delta {
    struct pr_p_delta d;
    uint8_t adds[2048], dels[512];
};

static inline void delta_start(struct delta *out, const char *topic, uint64_t actor, uint64_t a,
                               uint64_t b)
{
    out->d = (struct pr_p_delta){.topic = pr_str(topic), .actor = actor, .a = a, .b = b};
    out->d.adds.p = out->adds;
    out->d.dels.p = out->dels;
}

static inline void delta_add(struct delta *out, uint64_t n, uint32_t slot, const char *key,
                             const char *meta)
{
    struct pr_outbuf o = {out->adds, sizeof out->adds, out->d.adds.n};
    struct pr_pent e = {n, slot, pr_str(key), pr_str(meta)};

    pr_padd_put(&o, &e);
    assert_true(pr_out_ok(&o));
    out->d.adds.n = o.len;
    out->d.nadds++;
}

static inline void delta_del(struct delta *out, uint64_t n)
{
    struct pr_outbuf o = {out->dels, sizeof out->dels, out->d.dels.n};

    pr_pdel_put(&o, n);
    assert_true(pr_out_ok(&o));
    out->d.dels.n = o.len;
    out->d.ndels++;
}

/* The delta interval (a, b] of a history. */
static inline void delta_of(struct delta *out, const struct op *ops, uint64_t actor, uint64_t a,
                            uint64_t b)
{
    delta_start(out, "t", actor, a, b);
    for (uint64_t n = 1; n <= b; n++) {
        if (n > a && alive_at(ops, b, n)) {
            delta_add(out, n, ops[n - 1].slot, "key", "{\"some\":1}");
        }
        if (n <= a && alive_at(ops, a, n) && !alive_at(ops, b, n)) {
            delta_del(out, n);
        }
    }
}

static inline int apply(struct cl_pres *p, cl_ms now, const struct delta *d)
{
    uint64_t ctx = 0;

    return cl_pres_apply(p, now, &d->d, &ctx);
}

/* One put or del as its own delta (n-1 .. n], with `old` the dot that goes, 0 if none. */
static inline int change(struct cl_pres *p, cl_ms now, const char *topic, uint64_t actor,
                         uint64_t a, uint64_t n, uint32_t slot, const char *meta, uint64_t old)
{
    struct delta d;

    delta_start(&d, topic, actor, a, n);
    if (meta != NULL) {
        delta_add(&d, n, slot, "key", meta);
    }
    if (old != 0) {
        delta_del(&d, old);
    }
    return apply(p, now, &d);
}

/* A member: what it was shown. */
#define MEMBER_MAX 4096u
struct member {
    struct pr_pshown has[MEMBER_MAX]; /* key and meta not kept */
    uint32_t count;
    uint32_t diffs, joins, leaves, updates; /* seen */
    int answer;                             /* what emit returns; if not 0 nothing is taken */
};

static inline struct pr_pshown *member_find(struct member *m, uint64_t actor, uint64_t n)
{
    for (uint32_t i = 0; i < m->count; i++) {
        if (m->has[i].actor == actor && m->has[i].n == n) {
            return &m->has[i];
        }
    }
    return NULL;
}

static inline bool list_has(struct pr_slice list, uint64_t actor, uint64_t n)
{
    struct pr_pshown s;

    while (pr_pshown_next(&list, &s) > 0) {
        if (s.actor == actor && s.n == n) {
            return true;
        }
    }
    return false;
}

/* cl_pres_diff_fn: each leave names a shown reference, no join is shown already, and what an update
 * replaces leaves in the same diff. */
static inline int member_diff(void *ctx, const struct pr_p_diff *diff)
{
    struct member *m = ctx;
    struct pr_slice list = diff->leaves;
    struct pr_pshown s;

    if (m->answer != 0) {
        return m->answer;
    }
    m->diffs++;
    while (pr_pshown_next(&list, &s) > 0) {
        struct pr_pshown *has = member_find(m, s.actor, s.n);

        assert_non_null(has);
        if (has == NULL) {
            return -1;
        }
        *has = m->has[--m->count];
        m->leaves++;
    }
    list = diff->joins;
    while (pr_pshown_next(&list, &s) > 0) {
        assert_null(member_find(m, s.actor, s.n));
        assert_true(m->count < MEMBER_MAX);
        m->has[m->count++] = s;
        m->joins++;
        if (s.prev_n != 0) {
            assert_true(list_has(diff->leaves, s.actor, s.prev_n));
            m->updates++;
        }
    }
    assert_true(diff->njoins + diff->nleaves > 0);
    return 0;
}

/* cl_pres_view_fn: what a view holds is what the member has. */
struct view_check {
    struct member *m;
    uint32_t count, parts;
    bool ended;
};

static inline int view_part(void *ctx, const struct pr_p_view *v)
{
    struct view_check *c = ctx;
    struct pr_slice list = v->list;
    struct pr_pshown s;
    uint32_t n = 0;

    assert_true(v->first == (c->parts == 0) && !c->ended);
    while (pr_pshown_next(&list, &s) > 0) {
        assert_non_null(member_find(c->m, s.actor, s.n));
        n++;
    }
    assert_int_equal(n, v->count);
    c->count += n;
    c->parts++;
    c->ended = v->last;
    return 0;
}

/* cl_pres_view_fn: a member begins with what the view holds. */
static inline int member_begin(void *ctx, const struct pr_p_view *v)
{
    struct member *m = ctx;
    struct pr_slice list = v->list;
    struct pr_pshown s;

    if (v->first) {
        m->count = 0;
    }
    while (pr_pshown_next(&list, &s) > 0) {
        assert_null(member_find(m, s.actor, s.n));
        assert_true(m->count < MEMBER_MAX);
        m->has[m->count++] = s;
    }
    return 0;
}

static inline void member_equals_view(struct member *m, const struct cl_pres *p, const char *topic)
{
    struct view_check c = {.m = m};

    assert_int_equal(cl_pres_view(p, pr_str(topic), view_part, &c), 0);
    assert_true(c.ended);
    assert_int_equal(c.count, m->count);
}

#endif
