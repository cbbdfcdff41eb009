/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes_move.h - what arrives in nodes_world.h, and when: the test moves the clock, and every queue
 * can be held, so that it decides what overtakes what.
 */
#ifndef TESTS_NODES_MOVE_H
#define TESTS_NODES_MOVE_H

#include "nodes_world.h"

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
