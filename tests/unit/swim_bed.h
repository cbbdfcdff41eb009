/* SPDX-License-Identifier: Apache-2.0 */
/*
 * swim_bed.h - one struct cl_swim ("me", id 100) whose other members are played by the test: what
 * it says is kept until the test has looked at it, and the clock moves from deadline to deadline.
 */
#ifndef TESTS_SWIM_BED_H
#define TESTS_SWIM_BED_H

#include "cluster/hash.h"
#include "cluster/swim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#define ME        UINT64_C(100)
#define MY_EPOCH  UINT64_C(5000)
#define EPOCH     UINT64_C(4000) /* of the others */
#define CLUSTER   UINT64_C(0x77)
#define SEEN_MAX  8192u
#define BYTES_MAX 1200u

struct seen {
    enum cl_swim_action_type type;
    cl_ms at;
    uint64_t id, who, old_epoch, epoch;
    enum cl_swim_state old, now;
    struct pr_addr addr;
    const char *reason;
    uint8_t bytes[BYTES_MAX];
    size_t n; /* a longer frame is cut here */
};

struct bed {
    struct cl_alloc mem;
    size_t out, gets, refuse_at;
    struct cl_swim *s;
    cl_ms now;
    struct seen *seen;
    uint32_t nseen;
    bool answers; /* every PING is answered at once */
};

static inline void *bed_get(void *ctx, size_t n)
{
    struct bed *b = ctx;

    b->gets++;
    if (b->gets == b->refuse_at) {
        return NULL;
    }
    b->out += n;
    return malloc(n);
}

static inline void bed_put(void *ctx, void *p, size_t n)
{
    struct bed *b = ctx;

    b->out -= n;
    free(p);
}

static inline struct pr_addr addr(uint64_t id)
{
    struct pr_addr a = {.family = PR_ADDR_V4, .port = 7946};

    a.ip[0] = 10;
    a.ip[2] = (uint8_t)(id >> 8);
    a.ip[3] = (uint8_t)id;
    return a;
}

/* Borrows a buffer of its own per call, 512 of them in turn. */
static inline struct pr_slice name(uint64_t id)
{
    static char text[512][24];
    static unsigned next;
    char *t = text[next++ % 512];

    (void)snprintf(t, 24, "node-%u", (unsigned)id);
    return pr_str(t);
}

static inline struct pr_fact fact(uint64_t id, uint64_t epoch, uint32_t inc, uint8_t state)
{
    struct pr_fact f = {.id = id, .epoch = epoch, .inc = inc, .state = state};

    f.name = name(id);
    f.addr = addr(id);
    f.meta = (struct pr_meta){
        .roles = PR_NODE_OWNER, .ready = true, .weight = 100, .proto_min = 1, .proto_max = 1};
    return f;
}

static inline struct cl_swim_config bed_config(struct bed *b, uint32_t nodes)
{
    struct cl_swim_config cfg = {.id = ME, .epoch = MY_EPOCH, .cluster = CLUSTER, .nodes = nodes};

    cfg.name = name(ME);
    cfg.addr = addr(ME);
    cfg.meta =
        (struct pr_meta){.roles = PR_NODE_OWNER, .weight = 100, .proto_min = 1, .proto_max = 1};
    cfg.mem = &b->mem;
    return cfg;
}

static inline void bed_answer(struct bed *b, const struct seen *e);

static inline void bed_take(struct bed *b)
{
    struct cl_swim_action a;
    const char *what = NULL;

    while (cl_swim_next(b->s, &a)) {
        struct seen *e = &b->seen[b->nseen++];

        assert_true(b->nseen < SEEN_MAX);
        *e = (struct seen){.type = a.type, .at = b->now, .id = a.id, .who = a.who};
        e->old = a.old;
        e->now = a.now;
        e->old_epoch = a.old_epoch;
        e->epoch = a.epoch;
        e->addr = a.addr;
        e->reason = a.reason;
        e->n = a.bytes.n < BYTES_MAX ? a.bytes.n : BYTES_MAX;
        memcpy(e->bytes, a.bytes.p != NULL ? a.bytes.p : (const uint8_t *)"", e->n);
        assert_true(a.type != CL_SWIM_A_UDP || (a.bytes.n > 0 && a.bytes.n <= PR_GOSSIP_MAX));
        assert_true(a.type != CL_SWIM_A_MEMBER || (a.member != NULL && a.member->id == a.id));
        if (b->answers && a.type == CL_SWIM_A_UDP) {
            bed_answer(b, e);
        }
    }
    if (!cl_swim_check(b->s, &what)) {
        fail_msg("%s", what);
    }
}

static inline void bed_packet(struct bed *b, uint64_t from, const struct pr_gossip_msg *m)
{
    uint8_t bytes[PR_GOSSIP_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_gossip_out w = pr_gossip_begin(&o, 1, CLUSTER);
    struct pr_addr a = addr(from);

    pr_gossip_put(&w, m);
    pr_gossip_end(&w);
    assert_int_equal(cl_swim_packet(b->s, b->now, &a, pr_bytes(bytes, o.len)), CL_OK);
}

static inline struct pr_gossip_msg ack(uint32_t seq, uint64_t view)
{
    struct pr_gossip_msg m = {.type = PR_G_ACK, .seq = seq, .view = view};

    return m;
}

static inline struct pr_gossip_msg ping(uint32_t seq, uint64_t id, uint64_t epoch)
{
    struct pr_gossip_msg m = {.type = PR_G_PING, .seq = seq};

    m.fact.id = id;
    m.fact.epoch = epoch;
    return m;
}

/* SUSPECT or DEAD; from = id: LEFT. */
static inline struct pr_gossip_msg accuse(enum pr_gossip_type type, uint64_t id, uint64_t epoch,
                                          uint32_t inc, uint64_t from)
{
    struct pr_gossip_msg m = {.type = type, .from = from};

    m.fact.id = id;
    m.fact.epoch = epoch;
    m.fact.inc = inc;
    return m;
}

/* The first message of this type in a packet; false if there is none. */
static inline bool message_in(const struct seen *e, enum pr_gossip_type type,
                              struct pr_gossip_msg *m)
{
    struct pr_gossip g;

    if (e->type != CL_SWIM_A_UDP) {
        return false;
    }
    assert_int_equal(pr_gossip_open(pr_bytes(e->bytes, e->n), &g), PR_OK);
    while (pr_gossip_next(&g.msgs, m) == 1) {
        if (m->type == type) {
            return true;
        }
    }
    return false;
}

static inline void bed_answer(struct bed *b, const struct seen *e)
{
    struct pr_gossip_msg m;

    if (message_in(e, PR_G_PING, &m)) {
        m = ack(m.seq, 0);
        bed_packet(b, (uint64_t)e->addr.ip[2] << 8 | e->addr.ip[3], &m);
    }
}

static inline void bed_start(struct bed *b, uint32_t nodes)
{
    struct cl_swim_config cfg;

    *b = (struct bed){.now = 1000};
    b->mem = (struct cl_alloc){bed_get, bed_put, b};
    b->seen = calloc(SEEN_MAX, sizeof *b->seen);
    assert_non_null(b->seen);
    cfg = bed_config(b, nodes);
    b->s = cl_swim_new(&cfg, cl_rand_seed(42), b->now);
    assert_non_null(b->s);
    bed_take(b);
    b->nseen = 0;
}

static inline void bed_end(struct bed *b)
{
    cl_swim_free(b->s);
    assert_int_equal(b->out, 0);
    free(b->seen);
}

static inline void bed_merge(struct bed *b, struct pr_fact f, bool from_sync)
{
    assert_int_equal(cl_swim_merge(b->s, b->now, &f, from_sync), CL_OK);
    bed_take(b);
}

/* Members 1 .. n, alive; what was said on that occasion is forgotten. */
static inline void bed_members(struct bed *b, uint32_t n)
{
    for (uint32_t id = 1; id <= n; id++) {
        bed_merge(b, fact(id, EPOCH, 0, PR_F_ALIVE), false);
    }
    b->nseen = 0;
}

/* Moves the clock by `ms`, with a tick whenever one is due. */
static inline void bed_run(struct bed *b, cl_ms ms)
{
    cl_ms end = b->now + ms;

    bed_take(b);
    while (cl_swim_deadline(b->s) <= end) {
        cl_ms due = cl_swim_deadline(b->s);

        b->now = due > b->now ? due : b->now;
        cl_swim_tick(b->s, b->now);
        bed_take(b);
    }
    b->now = end;
}

static inline void bed_link(struct bed *b, uint64_t id, uint64_t epoch)
{
    assert_int_equal(cl_swim_link_up(b->s, b->now, id, epoch), CL_OK);
    bed_take(b);
}

/* A frame of `id`, made by one of the encoders of mesh_node.h. */
static inline int bed_frame(struct bed *b, uint64_t id, const struct pr_outbuf *o)
{
    struct pr_frame f;
    int rv = 0;

    assert_true(pr_frame_next(pr_bytes(o->p, o->len), &f) == (long)o->len);
    rv = cl_swim_link_in(b->s, b->now, id, &f);
    bed_take(b);
    return rv;
}

static inline enum cl_swim_state state_of(struct bed *b, uint64_t id)
{
    const struct cl_swim_member *m = cl_swim_find(b->s, id);

    return m == NULL ? CL_SWIM_NONE : m->state;
}

/* The n-th thing seen of this type (of this id, if not 0), NULL if there are fewer. */
static inline const struct seen *seen(const struct bed *b, enum cl_swim_action_type type,
                                      uint64_t id, uint32_t n)
{
    for (uint32_t i = 0; i < b->nseen; i++) {
        const struct seen *e = &b->seen[i];

        if (e->type == type && (id == 0 || e->id == id) && n-- == 0) {
            return e;
        }
    }
    return NULL;
}

/* The same, and there is one. */
static inline const struct seen *must_see(const struct bed *b, enum cl_swim_action_type type,
                                          uint64_t id)
{
    const struct seen *e = seen(b, type, id, 0);

    if (e == NULL) {
        fail_msg("no action %d about %u", (int)type, (unsigned)id);
        abort();
    }
    return e;
}

/* The n-th packet to `to` (0: anybody) with a message of this type; its message in *m. */
static inline const struct seen *packet(const struct bed *b, uint64_t to, enum pr_gossip_type type,
                                        uint32_t n, struct pr_gossip_msg *m)
{
    struct pr_addr a = addr(to);

    for (uint32_t i = 0; i < b->nseen; i++) {
        const struct seen *e = &b->seen[i];

        if (message_in(e, type, m) && (to == 0 || pr_addr_eq(&e->addr, &a)) && n-- == 0) {
            return e;
        }
    }
    return NULL;
}

/* The n-th frame of this type to `id`. */
static inline const struct seen *frame(const struct bed *b, uint64_t id, enum pr_type type,
                                       uint32_t n)
{
    for (uint32_t i = 0; i < b->nseen; i++) {
        const struct seen *e = &b->seen[i];

        if (e->type == CL_SWIM_A_LINK && e->id == id && e->bytes[4] == (uint8_t)type && n-- == 0) {
            return e;
        }
    }
    return NULL;
}

#endif
