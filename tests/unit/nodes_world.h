/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes_world.h - a few nodes of one cluster, each an owner and its edges, joined by queues of
 * frames and datagrams instead of sockets, with a clock that the test moves and memory that may be
 * refused. Every queue can be held, so that a test decides what overtakes what. For
 * test_core_nodes.c.
 */
#ifndef TESTS_NODES_WORLD_H
#define TESTS_NODES_WORLD_H

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
#include "cluster/ring.h"

#define N_NODES     3u
#define N_EDGES     2u
#define N_LOG_BYTES 65536u

struct n_frame {
    struct n_frame *next;
    uint32_t from; /* node */
    size_t n;
    uint8_t bytes[];
};

struct n_queue {
    struct n_frame *head, **tail;
    bool held; /* nothing of it arrives */
};

struct n_edge {
    struct cle *c;
    uint64_t boot;
    bool up;
    struct n_queue to_owner, to_edge;
    bool reset; /* asks for the state of a topic, as a shell does at CLE_PRES_RESET */
    uint32_t reset_topic;
    char log[N_LOG_BYTES]; /* what the edge was told, one word per action */
    size_t log_len;
};

/* To one other node: as in a link, what is urgent has a lane of its own. */
struct n_link {
    bool up, dial, close;
    struct n_queue fast, data;
};

struct n_node {
    struct cl *cl; /* NULL: it is not running */
    uint64_t id, epoch;
    char name[8];
    struct pr_addr addr;
    uint32_t expected; /* edges */
    struct n_queue udp;
    struct n_link to[N_NODES];
    uint64_t reader;
    struct n_edge e[N_EDGES];
};

struct nodes {
    struct cl_alloc mem;
    size_t outstanding;
    struct cl_rand refuse; /* 1 of refuse_1_in allocations fails; 0: none */
    uint64_t refuse_1_in;
    struct cl_limits lim;
    cl_ms now;
    uint64_t lives;
    bool careful;               /* looks at everything after each step, not only now and then */
    bool cut[N_NODES][N_NODES]; /* neither links nor datagrams */
    uint32_t not_owner;         /* such frames went over links */
    struct n_node n[N_NODES];
};

static inline void *n_get(void *ctx, size_t n)
{
    struct nodes *w = ctx;
    void *p = NULL;

    if (w->refuse_1_in > 0 && cl_rand_below(&w->refuse, w->refuse_1_in) == 0) {
        return NULL;
    }
    p = malloc(n);
    assert_non_null(p);
    memset(p, 0xa5, n); /* nobody may count on zeros */
    w->outstanding += n;
    return p;
}

static inline void n_put(void *ctx, void *p, size_t n)
{
    struct nodes *w = ctx;

    assert_true(w->outstanding >= n);
    w->outstanding -= n;
    free(p);
}

static inline void n_say(struct n_edge *e, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void n_say(struct n_edge *e, const char *format, ...)
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

static inline void n_queue_put(struct n_queue *q, uint32_t from, struct pr_slice bytes)
{
    struct n_frame *f = malloc(sizeof *f + bytes.n);

    assert_non_null(f);
    f->next = NULL;
    f->from = from;
    f->n = bytes.n;
    memcpy(f->bytes, bytes.p, bytes.n);
    if (q->head == NULL) {
        q->tail = &q->head;
    }
    *q->tail = f;
    q->tail = &f->next;
}

static inline void n_queue_drop(struct n_queue *q)
{
    struct n_frame *f = q->head;

    q->head = f->next;
    free(f);
}

static inline void n_queue_clear(struct n_queue *q)
{
    while (q->head != NULL) {
        n_queue_drop(q);
    }
}

static inline uint32_t n_length(const struct n_queue *q)
{
    uint32_t n = 0;

    for (const struct n_frame *f = q->head; f != NULL; f = f->next) {
        n++;
    }
    return n;
}

static inline void n_check(const struct nodes *w)
{
    const char *what = NULL;

    for (uint32_t i = 0; i < N_NODES; i++) {
        if (w->n[i].cl != NULL && !cl_check(w->n[i].cl, &what)) {
            fail_msg("cl_check of node %u: %s", i, what);
        }
        for (uint32_t k = 0; k < N_EDGES; k++) {
            if (w->n[i].e[k].c != NULL && !cle_check(w->n[i].e[k].c, &what)) {
                fail_msg("cle_check of edge %u of node %u: %s", k, i, what);
            }
        }
    }
}

static inline int n_text(struct pr_slice s)
{
    return (int)s.n;
}

static inline void n_say_shown(struct n_edge *e, char sign, struct pr_slice list)
{
    struct pr_pshown p;

    while (pr_pshown_next(&list, &p) == 1) {
        n_say(e, "%c%.*s=%.*s", sign, n_text(p.key), (const char *)p.key.p, n_text(p.meta),
              (const char *)p.meta.p);
    }
}

static inline void n_say_action(struct n_edge *e, const struct cle_action *a)
{
    switch (a->type) {
    case CLE_SEND:
        break;
    case CLE_SUBSCRIBED:
        n_say(e, "ok:%u ", a->topic);
        break;
    case CLE_SUB_FAILED:
        n_say(e, "failed:%u ", a->topic);
        break;
    case CLE_EVENT:
        n_say(e, "%.*s", n_text(a->payload), (const char *)a->payload.p);
        if (a->own) {
            n_say(e, "!%u", (unsigned)a->cookie);
        }
        n_say(e, " ");
        break;
    case CLE_PUB_DONE:
        n_say(e, "done:%u=%u ", (unsigned)a->cookie, a->result);
        break;
    case CLE_PRES_VIEW:
        n_say(e, "view[");
        n_say_shown(e, '+', a->view.list);
        n_say(e, "] ");
        break;
    case CLE_PRES_DIFF:
        n_say(e, "diff[");
        n_say_shown(e, '-', a->diff.leaves);
        n_say_shown(e, '+', a->diff.joins);
        n_say(e, "] ");
        break;
    case CLE_PRES_RESET:
        n_say(e, "reset:%u ", a->topic);
        e->reset = true;
        e->reset_topic = a->topic;
        break;
    case CLE_GAP:
        n_say(e, "gap:%u ", (unsigned)a->lost);
        break;
    }
}

/* Takes the actions of an edge: frames into its queue, the rest into its log. */
static inline void n_drain_edge(struct nodes *w, struct n_edge *e)
{
    struct cle_action a;

    while (cle_next_action(e->c, &a)) {
        if (a.type == CLE_SEND) {
            assert_true(e->up);
            n_queue_put(&e->to_owner, 0, a.bytes);
        } else {
            n_say_action(e, &a);
        }
    }
    if (e->reset && cle_presence_view(e->c, w->now, e->reset_topic) == CL_OK) {
        e->reset = false;
        while (cle_next_action(e->c, &a)) {
            assert_int_equal(a.type, CLE_SEND);
            n_queue_put(&e->to_owner, 0, a.bytes);
        }
    }
}

static inline uint32_t n_by_id(const struct nodes *w, uint64_t id)
{
    uint32_t i = 0;

    while (i < N_NODES && w->n[i].id != id) {
        i++;
    }
    return i;
}

static inline void n_link_send(struct nodes *w, uint32_t from, uint64_t id, struct pr_slice bytes)
{
    uint32_t to = n_by_id(w, id);
    struct n_link *l = to < N_NODES ? &w->n[from].to[to] : NULL;
    struct pr_frame f;

    assert_int_equal(pr_frame_next(bytes, &f), (long)bytes.n);
    if (l == NULL || !l->up) {
        return; /* as the shell: it is told on the next link */
    }
    w->not_owner += f.type == PR_T_NOT_OWNER;
    switch (f.type) {
    case PR_T_PING:
    case PR_T_PONG:
    case PR_T_SYNC_HASH:
    case PR_T_SYNC:
        n_queue_put(&l->fast, from, bytes);
        break;
    default:
        n_queue_put(&l->data, from, bytes);
        break;
    }
}

static inline void n_send(struct nodes *w, uint32_t i, const struct cl_action *a)
{
    for (uint32_t k = 0; a->type == CL_ACT_EDGE_SEND && k < N_EDGES; k++) {
        if ((a->edges >> k & 1u) != 0) {
            assert_true(w->n[i].e[k].up);
            n_queue_put(&w->n[i].e[k].to_edge, i, a->bytes);
        }
    }
    for (uint32_t k = 0; a->type == CL_ACT_LINK_SEND && k < CL_NODES_MAX; k++) {
        if ((a->nodes.w[k / 64] >> k % 64 & 1u) != 0) {
            n_link_send(w, i, cl_node_id(w->n[i].cl, k), a->bytes);
        }
    }
    for (uint32_t k = 0; a->type == CL_ACT_UDP_SEND && k < N_NODES; k++) {
        if (pr_addr_eq(&w->n[k].addr, &a->addr) && w->n[k].cl != NULL && !w->cut[i][k]) {
            n_queue_put(&w->n[k].udp, i, a->bytes);
        }
    }
}

static inline void n_drain(struct nodes *w, uint32_t i)
{
    struct cl_action a;

    while (cl_next_action(w->n[i].cl, &a)) {
        switch (a.type) {
        case CL_ACT_EDGE_SEND:
        case CL_ACT_LINK_SEND:
        case CL_ACT_UDP_SEND:
            n_send(w, i, &a);
            break;
        case CL_ACT_DIAL:
            w->n[i].to[n_by_id(w, a.id)].dial = true;
            break;
        case CL_ACT_LINK_CLOSE:
            w->n[i].to[n_by_id(w, a.id)].close = true;
            break;
        case CL_ACT_READER:
            w->n[i].reader = cl_reader(w->n[i].cl, pr_str("default"));
            break;
        case CL_ACT_MEMBER:
        case CL_ACT_ACTORS:
            break;
        case CL_ACT_EDGE_CUT:
        case CL_ACT_EPOCH:
        case CL_ACT_FATAL:
            fail_msg("node %u: %s", i, a.reason);
            break;
        }
    }
}

static inline void n_step(struct nodes *w, uint32_t i, const struct cl_event *ev)
{
    int rv = 0;

    do {
        rv = cl_step(w->n[i].cl, w->now, ev);
        n_drain(w, i);
    } while (rv == CL_EAGAIN || rv == CL_ENOMEM);
    assert_true(rv == CL_OK || (rv == CL_ENOENT && ev->type != CL_EV_EDGE_IN));
    if (w->careful) {
        n_check(w);
    }
}

static inline struct pr_frame n_parse(const struct n_frame *f)
{
    struct pr_frame out;

    assert_int_equal(pr_frame_next(pr_bytes(f->bytes, f->n), &out), (long)f->n);
    return out;
}

/* ---- one frame of one queue; false if there is none, or it is held ---- */

static inline bool n_may(const struct n_queue *q, const struct nodes *w, uint32_t to)
{
    return q->head != NULL && !q->held && w->n[to].cl != NULL;
}

static inline bool n_move_up(struct nodes *w, uint32_t i, uint32_t k)
{
    struct n_queue *q = &w->n[i].e[k].to_owner;
    struct cl_event ev = {.type = CL_EV_EDGE_IN, .edge = k};
    struct pr_frame frame;

    if (!n_may(q, w, i)) {
        return false;
    }
    frame = n_parse(q->head);
    ev.frame = &frame;
    n_step(w, i, &ev);
    n_queue_drop(q);
    return true;
}

static inline bool n_move_down(struct nodes *w, uint32_t i, uint32_t k)
{
    struct n_edge *e = &w->n[i].e[k];
    struct pr_frame frame;
    int rv = 0;

    if (!n_may(&e->to_edge, w, i)) {
        return false;
    }
    frame = n_parse(e->to_edge.head);
    do {
        rv = cle_frame(e->c, w->now, &frame);
        n_drain_edge(w, e);
    } while (rv == CL_EAGAIN || rv == CL_ENOMEM);
    assert_int_equal(rv, CL_OK);
    n_queue_drop(&e->to_edge);
    return true;
}

static inline bool n_move_link(struct nodes *w, uint32_t from, uint32_t to, struct n_queue *q)
{
    struct cl_event ev = {.type = CL_EV_LINK_IN, .id = w->n[from].id};
    struct pr_frame frame;

    if (!n_may(q, w, to)) {
        return false;
    }
    frame = n_parse(q->head);
    ev.frame = &frame;
    n_step(w, to, &ev);
    n_queue_drop(q);
    return true;
}

static inline bool n_move_udp(struct nodes *w, uint32_t to)
{
    struct n_queue *q = &w->n[to].udp;
    struct cl_event ev = {.type = CL_EV_UDP_IN};

    if (!n_may(q, w, to)) {
        return false;
    }
    ev.addr = w->n[q->head->from].addr;
    ev.bytes = pr_bytes(q->head->bytes, q->head->n);
    n_step(w, to, &ev);
    n_queue_drop(q);
    return true;
}

/* ---- links ---- */

static inline void n_link_event(struct nodes *w, uint32_t i, uint32_t of, enum cl_event_type type,
                                enum cl_how how)
{
    const struct n_node *n = &w->n[of];
    struct cl_event ev = {.type = type,
                          .id = n->id,
                          .epoch = n->epoch,
                          .name = pr_str(n->name),
                          .addr = n->addr,
                          .how = how};

    if (w->n[i].cl != NULL) {
        n_step(w, i, &ev);
    }
}

/* What is under way is lost. `by` closes it. */
static inline void n_unlink(struct nodes *w, uint32_t by, uint32_t other, enum cl_how how)
{
    bool was = w->n[by].to[other].up;

    for (uint32_t k = 0; k < 2; k++) {
        struct n_link *l = k == 0 ? &w->n[by].to[other] : &w->n[other].to[by];

        n_queue_clear(&l->fast);
        n_queue_clear(&l->data);
        l->up = l->dial = l->close = false;
    }
    if (was) {
        n_link_event(w, by, other, CL_EV_LINK_DOWN, how);
        n_link_event(w, other, by, CL_EV_LINK_DOWN, CL_HOW_EOF);
    }
}

static inline void n_dial(struct nodes *w, uint32_t i, uint32_t to)
{
    w->n[i].to[to].dial = false;
    if (w->n[i].to[to].up) {
        return;
    }
    if (w->n[to].cl == NULL || w->cut[i][to]) {
        n_link_event(w, i, to, CL_EV_LINK_DOWN, CL_HOW_REFUSED);
        return;
    }
    w->n[i].to[to].up = w->n[to].to[i].up = true;
    n_link_event(w, i, to, CL_EV_LINK_UP, CL_HOW_EOF);
    n_link_event(w, to, i, CL_EV_LINK_UP, CL_HOW_EOF);
}

/* The link ends and comes again at once. */
static inline void n_flap(struct nodes *w, uint32_t i, uint32_t k)
{
    n_unlink(w, i, k, CL_HOW_EOF);
    n_dial(w, i, k);
}

/* Neither sees the other from now on, or again. */
static inline void n_cut(struct nodes *w, uint32_t i, uint32_t k, bool cut)
{
    w->cut[i][k] = w->cut[k][i] = cut;
    if (cut) {
        n_unlink(w, i, k, CL_HOW_TIMEOUT);
    }
}

static inline bool n_move_links(struct nodes *w, uint32_t i)
{
    bool moved = false;

    for (uint32_t k = 0; k < N_NODES; k++) {
        struct n_link *l = &w->n[i].to[k];

        if (l->close) {
            n_unlink(w, i, k, CL_HOW_LOCAL);
            moved = true;
        } else if (l->dial) {
            n_dial(w, i, k);
            moved = true;
        }
        moved = n_move_link(w, i, k, &l->fast) || moved;
        moved = n_move_link(w, i, k, &l->data) || moved;
    }
    return moved;
}

/* ---- time ---- */

static inline void n_tick(struct nodes *w)
{
    struct cl_event ev = {.type = CL_EV_TICK};

    for (uint32_t i = 0; i < N_NODES; i++) {
        if (w->n[i].cl != NULL) {
            n_step(w, i, &ev);
        }
        for (uint32_t k = 0; k < N_EDGES; k++) {
            if (w->n[i].e[k].c != NULL) {
                int rv = cle_tick(w->n[i].e[k].c, w->now);

                (void)rv; /* refused memory: again at the next tick */
                n_drain_edge(w, &w->n[i].e[k]);
            }
        }
    }
}

static inline cl_ms n_deadline(const struct nodes *w)
{
    cl_ms due = UINT64_MAX;

    for (uint32_t i = 0; i < N_NODES; i++) {
        if (w->n[i].cl != NULL && cl_deadline(w->n[i].cl) < due) {
            due = cl_deadline(w->n[i].cl);
        }
        for (uint32_t k = 0; k < N_EDGES; k++) {
            if (w->n[i].e[k].c != NULL && cle_deadline(w->n[i].e[k].c) < due) {
                due = cle_deadline(w->n[i].e[k].c);
            }
        }
    }
    return due;
}

/* Until nothing moves and nothing is due, without moving the clock. */
static inline void n_settle(struct nodes *w)
{
    uint32_t rounds = 0;
    bool moved = true;

    while (moved) {
        moved = false;
        for (uint32_t i = 0; i < N_NODES; i++) {
            for (uint32_t k = 0; k < N_EDGES; k++) {
                moved = n_move_up(w, i, k) || moved;
                moved = n_move_down(w, i, k) || moved;
            }
            moved = n_move_links(w, i) || moved;
            moved = n_move_udp(w, i) || moved;
        }
        moved = n_deadline(w) <= w->now || moved;
        n_tick(w);
        if (!moved || rounds % 16 == 0) { /* it walks over everything */
            n_check(w);
        }
        if (++rounds > 20000) {
            fail_msg("something is due at %lu and never done", (unsigned long)n_deadline(w));
        }
    }
}

/* Moves the clock from deadline to deadline. */
static inline void n_run(struct nodes *w, cl_ms ms)
{
    cl_ms end = w->now + ms;

    for (;;) {
        cl_ms next = end;

        n_settle(w);
        if (n_deadline(w) < next) {
            next = n_deadline(w);
        }
        if (w->now == end) {
            return;
        }
        w->now = next;
    }
}

#endif
