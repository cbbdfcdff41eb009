/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_world.h - one owner and a few edges, joined by queues of frames instead of sockets, with
 * a clock that the test moves and memory that may be refused. For test_core.c, test_edge.c and
 * test_edge_presence.c.
 */
#ifndef TESTS_CLUSTER_WORLD_H
#define TESTS_CLUSTER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/core.h"
#include "cluster/edge.h"
#include "cluster/hash.h"

#define W_EDGES     3u
#define W_LOG_BYTES 65536u

struct w_frame {
    struct w_frame *next;
    size_t n;
    uint8_t bytes[];
};

struct w_queue {
    struct w_frame *head, **tail;
};

struct w_edge {
    struct cle *c;
    uint64_t boot;
    bool up;
    struct w_queue to_owner, to_edge;
    char log[W_LOG_BYTES]; /* what the edge was told, one word per action */
    size_t log_len;
};

struct world {
    struct cl_alloc mem;
    size_t outstanding;
    struct cl_rand refuse; /* 1 of refuse_1_in allocations fails; 0: none */
    uint64_t refuse_1_in;
    long refuse_after; /* this many succeed, then one fails; negative: never */
    struct cl_limits lim;
    cl_ms now;
    uint64_t epoch;
    uint32_t expected;
    struct cl *cl;
    struct w_edge e[W_EDGES];
};

static inline void *w_get(void *ctx, size_t n)
{
    struct world *w = ctx;
    void *p = NULL;

    if (w->refuse_after == 0) {
        w->refuse_after = -1;
        return NULL;
    }
    if (w->refuse_after > 0) {
        w->refuse_after--;
    }
    if (w->refuse_1_in > 0 && cl_rand_below(&w->refuse, w->refuse_1_in) == 0) {
        return NULL;
    }
    p = malloc(n);
    assert_non_null(p);
    memset(p, 0xa5, n); /* nobody may count on zeros */
    w->outstanding += n;
    return p;
}

static inline void w_put(void *ctx, void *p, size_t n)
{
    struct world *w = ctx;

    assert_true(w->outstanding >= n);
    w->outstanding -= n;
    free(p);
}

static inline void w_say(struct w_edge *e, const char *format, ...)
    __attribute__((format(printf, 2, 3), unused));
static inline void w_say(struct w_edge *e, const char *format, ...)
{
    va_list args;
    int n = 0;

    va_start(args, format);
    n = vsnprintf(e->log + e->log_len, sizeof e->log - e->log_len, format, args);
    va_end(args);
    if (n > 0 && e->log_len + (size_t)n < sizeof e->log) {
        e->log_len += (size_t)n;
    }
}

static inline void w_queue_put(struct w_queue *q, struct pr_slice bytes)
{
    struct w_frame *f = malloc(sizeof *f + bytes.n);

    assert_non_null(f);
    f->next = NULL;
    f->n = bytes.n;
    memcpy(f->bytes, bytes.p, bytes.n);
    if (q->head == NULL) {
        q->tail = &q->head;
    }
    *q->tail = f;
    q->tail = &f->next;
}

static inline void w_queue_clear(struct w_queue *q)
{
    while (q->head != NULL) {
        struct w_frame *f = q->head;

        q->head = f->next;
        free(f);
    }
}

static inline void w_check(const struct world *w)
{
    const char *what = NULL;

    if (w->cl != NULL && !cl_check(w->cl, &what)) {
        fail_msg("cl_check: %s", what);
    }
    for (uint32_t i = 0; i < W_EDGES; i++) {
        if (w->e[i].c != NULL && !cle_check(w->e[i].c, &what)) {
            fail_msg("cle_check of edge %u: %s", i, what);
        }
    }
}

static inline int w_text(struct pr_slice s)
{
    return (int)s.n;
}

static inline void w_say_shown(struct w_edge *e, char sign, struct pr_slice list)
{
    struct pr_pshown p;

    while (pr_pshown_next(&list, &p) == 1) {
        w_say(e, "%c%.*s=%.*s", sign, w_text(p.key), (const char *)p.key.p, w_text(p.meta),
              (const char *)p.meta.p);
    }
}

/* Takes the actions of an edge: frames into its queue, the rest into its log. */
static inline void w_drain_edge(struct world *w, uint32_t i)
{
    struct w_edge *e = &w->e[i];
    struct cle_action a;

    while (cle_next_action(e->c, &a)) {
        switch (a.type) {
        case CLE_SEND:
            assert_true(e->up);
            w_queue_put(&e->to_owner, a.bytes);
            break;
        case CLE_SUBSCRIBED:
            w_say(e, "ok:%u ", a.topic);
            break;
        case CLE_SUB_FAILED:
            w_say(e, "failed:%u ", a.topic);
            break;
        case CLE_EVENT:
            w_say(e, "%.*s", w_text(a.payload), (const char *)a.payload.p);
            if (a.own) {
                w_say(e, "!%u", (unsigned)a.cookie);
            }
            w_say(e, " ");
            break;
        case CLE_PUB_DONE:
            w_say(e, "done:%u=%u ", (unsigned)a.cookie, a.result);
            break;
        case CLE_PRES_VIEW:
            w_say(e, "view[");
            w_say_shown(e, '+', a.view.list);
            w_say(e, "] ");
            break;
        case CLE_PRES_DIFF:
            w_say(e, "diff[");
            w_say_shown(e, '-', a.diff.leaves);
            w_say_shown(e, '+', a.diff.joins);
            w_say(e, "] ");
            break;
        case CLE_PRES_RESET:
            w_say(e, "reset:%u ", a.topic);
            break;
        case CLE_GAP:
            w_say(e, "gap:%u ", (unsigned)a.lost);
            break;
        }
    }
}

static inline void w_drain_owner(struct world *w)
{
    struct cl_action a;

    while (cl_next_action(w->cl, &a)) {
        if (a.type == CL_ACT_EDGE_CUT) {
            w_say(&w->e[a.edge], "CUT ");
            continue;
        }
        for (uint32_t i = 0; i < W_EDGES; i++) {
            if ((a.edges >> i & 1u) != 0) {
                assert_true(w->e[i].up);
                w_queue_put(&w->e[i].to_edge, a.bytes);
            }
        }
    }
}

static inline struct pr_frame w_parse(const struct w_frame *f)
{
    struct pr_frame out;

    assert_int_equal(pr_frame_next(pr_bytes(f->bytes, f->n), &out), (long)f->n);
    return out;
}

static inline int w_step(struct world *w, enum cl_event_type type, uint32_t edge,
                         const struct pr_frame *frame)
{
    struct cl_event ev = {.type = type, .edge = edge, .boot = w->e[edge].boot, .frame = frame};
    int rv = 0;

    do {
        rv = cl_step(w->cl, w->now, &ev);
        w_drain_owner(w);
    } while (rv == CL_EAGAIN || rv == CL_ENOMEM);
    return rv;
}

/* One frame of edge i to the owner; false if there is none. */
static inline bool w_move_up(struct world *w, uint32_t i)
{
    struct w_frame *f = w->e[i].to_owner.head;
    struct pr_frame frame;

    if (f == NULL || w->cl == NULL) {
        return false;
    }
    frame = w_parse(f);
    assert_int_equal(w_step(w, CL_EV_EDGE_IN, i, &frame), CL_OK);
    w->e[i].to_owner.head = f->next;
    free(f);
    return true;
}

static inline bool w_move_down(struct world *w, uint32_t i)
{
    struct w_frame *f = w->e[i].to_edge.head;
    struct pr_frame frame;
    int rv = 0;

    if (f == NULL) {
        return false;
    }
    frame = w_parse(f);
    do {
        rv = cle_frame(w->e[i].c, w->now, &frame);
        w_drain_edge(w, i);
    } while (rv == CL_EAGAIN || rv == CL_ENOMEM);
    assert_int_equal(rv, CL_OK);
    w->e[i].to_edge.head = f->next;
    free(f);
    return true;
}

static inline void w_tick(struct world *w)
{
    if (w->cl != NULL) {
        (void)w_step(w, CL_EV_TICK, 0, NULL);
    }
    for (uint32_t i = 0; i < W_EDGES; i++) {
        if (w->e[i].c != NULL) {
            int rv = cle_tick(w->e[i].c, w->now);

            (void)rv; /* refused memory: again at the next tick */
            w_drain_edge(w, i);
        }
    }
}

/* Until nothing moves and nothing is due, without moving the clock. */
static inline void w_settle(struct world *w)
{
    bool moved = true;

    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < W_EDGES; i++) {
            if (w->e[i].c != NULL) {
                moved = w_move_up(w, i) || moved;
                moved = w_move_down(w, i) || moved;
                moved = cle_deadline(w->e[i].c) <= w->now || moved;
            }
        }
        moved = (w->cl != NULL && cl_deadline(w->cl) <= w->now) || moved;
        w_tick(w);
        w_check(w);
    }
}

/* Moves the clock from deadline to deadline. */
static inline void w_run(struct world *w, cl_ms ms)
{
    cl_ms end = w->now + ms;

    for (;;) {
        cl_ms next = end;

        w_settle(w);
        for (uint32_t i = 0; i < W_EDGES; i++) {
            if (w->e[i].c != NULL && cle_deadline(w->e[i].c) < next) {
                next = cle_deadline(w->e[i].c);
            }
        }
        if (w->cl != NULL && cl_deadline(w->cl) < next) {
            next = cl_deadline(w->cl);
        }
        if (w->now == end) {
            return;
        }
        w->now = next > w->now ? next : w->now;
    }
}

static inline void w_disconnect(struct world *w, uint32_t i)
{
    struct w_edge *e = &w->e[i];

    if (!e->up) {
        return;
    }
    e->up = false;
    w_queue_clear(&e->to_owner);
    w_queue_clear(&e->to_edge);
    cle_link_down(e->c, w->now);
    w_drain_edge(w, i);
    if (w->cl != NULL) {
        assert_int_equal(w_step(w, CL_EV_EDGE_DOWN, i, NULL), CL_OK);
    }
}

static inline void w_connect(struct world *w, uint32_t i)
{
    struct pr_hello_ok ok = {.proto = 1, .node = 7, .epoch = w->epoch, .name = pr_str("n")};

    w_disconnect(w, i);
    w->e[i].up = true;
    assert_int_equal(w_step(w, CL_EV_EDGE_UP, i, NULL), CL_OK);
    assert_int_equal(cle_link_up(w->e[i].c, w->now, &ok), CL_OK);
    w_drain_edge(w, i);
}

static inline void w_owner_start(struct world *w)
{
    struct cl_config cfg = {
        .name = pr_str("n"),
        .id = 7,
        .epoch = ++w->epoch,
        .edges = w->expected,
        .lim = &w->lim,
        .mem = &w->mem,
    };

    while (w->cl == NULL) {
        w->cl = cl_new(&cfg, cl_rand_seed(w->epoch), w->now);
    }
}

static inline void w_owner_kill(struct world *w)
{
    cl_free(w->cl);
    w->cl = NULL;
    for (uint32_t i = 0; i < W_EDGES; i++) {
        if (w->e[i].c != NULL) {
            w_disconnect(w, i);
        }
    }
}

static inline void w_edge_start(struct world *w, uint32_t i)
{
    struct cle_config cfg = {
        .index = i,
        .boot = ++w->e[i].boot + 100 * (i + 1),
        .topics_max = 1000,
        .presences_max = 1000,
        .mem = &w->mem,
    };

    w->e[i].boot = cfg.boot;
    while (w->e[i].c == NULL) {
        w->e[i].c = cle_new(&cfg, w->now);
    }
}

static inline void w_edge_kill(struct world *w, uint32_t i)
{
    w_disconnect(w, i);
    cle_free(w->e[i].c);
    w->e[i].c = NULL;
}

/* An owner and `edges` attached edges at time 1000. */
static inline void w_init(struct world *w, uint32_t edges)
{
    memset(w, 0, sizeof *w);
    w->mem = (struct cl_alloc){.get = w_get, .put = w_put, .ctx = w};
    w->refuse_after = -1;
    w->lim = (struct cl_limits){
        .edges = 8,
        .topics = 1000,
        .presences = 1000,
        .presences_per_topic = 100,
        .presence_bytes = 1u << 20,
        .pending_bytes = 1u << 16,
        .kept_bytes = 1u << 16,
        .actions = 4096,
    };
    w->now = 1000;
    w->expected = edges;
    w_owner_start(w);
    for (uint32_t i = 0; i < edges; i++) {
        w_edge_start(w, i);
        w_connect(w, i);
    }
    w_settle(w);
}

static inline void w_deinit(struct world *w)
{
    w_owner_kill(w);
    for (uint32_t i = 0; i < W_EDGES; i++) {
        if (w->e[i].c != NULL) {
            w_edge_kill(w, i);
        }
    }
    assert_int_equal(w->outstanding, 0);
}

static inline void w_expect(struct world *w, uint32_t i, const char *log)
{
    if (strcmp(w->e[i].log, log) != 0) {
        fail_msg("edge %u was told\n  %s\nexpected\n  %s", i, w->e[i].log, log);
    }
    w->e[i].log_len = 0;
    w->e[i].log[0] = '\0';
}

static inline uint32_t w_sub(struct world *w, uint32_t i, const char *topic)
{
    uint32_t handle = 0;
    bool subscribed = false;
    int rv = 0;

    do {
        rv = cle_subscribe(w->e[i].c, w->now, pr_str(topic), &handle, &subscribed);
        w_drain_edge(w, i);
    } while (rv == CL_ENOMEM);
    assert_int_equal(rv, CL_OK);
    if (subscribed) {
        w_say(&w->e[i], "at-once:%u ", handle);
    }
    return handle;
}

static inline int w_pub(struct world *w, uint32_t i, const char *topic, const char *text,
                        uint64_t cookie)
{
    int rv = 0;

    do {
        rv = cle_publish(w->e[i].c, w->now, pr_str(topic), PR_PUB_ACK, pr_str(text), cookie);
        w_drain_edge(w, i);
    } while (rv == CL_ENOMEM);
    return rv;
}

static inline void w_put_pres(struct world *w, uint32_t i, uint32_t topic, uint32_t slot,
                              const char *key, const char *meta)
{
    int rv = 0;

    do {
        rv = cle_presence_put(w->e[i].c, w->now, topic, slot, pr_str(key), pr_str(meta));
        w_drain_edge(w, i);
    } while (rv == CL_ENOMEM);
    assert_int_equal(rv, CL_OK);
}

static inline void w_want(struct world *w, uint32_t i, uint32_t topic, bool on)
{
    while (cle_presence_want(w->e[i].c, w->now, topic, on) != CL_OK) {
    }
    while (cle_presence_view(w->e[i].c, w->now, topic) != CL_OK) {
    }
    w_drain_edge(w, i);
}

#endif
