/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes_world.h - a few nodes of one cluster, each an owner and its edges, joined by queues of
 * frames and datagrams instead of sockets, with memory that may be refused: what they are, and what
 * they say. Time and what arrives: nodes_move.h.
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

#endif
