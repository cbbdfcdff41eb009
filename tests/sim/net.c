/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - Unix sockets, and the shells around the objects that use them.
 *
 * A socket is FIFO each way. When a process dies, what it had written still arrives, then the end
 * of the stream; what was on its way to it is lost. A cut loses both ways: it stands for a side
 * that closes with full buffers. The new connection may be there before the end of the old one is
 * seen.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_MAX_MS 500u

static struct item *item_new(enum item_kind kind, struct pr_slice bytes)
{
    struct item *it = malloc(sizeof *it + bytes.n);

    if (it == NULL) {
        abort();
    }
    *it = (struct item){.kind = kind, .n = bytes.n};
    if (bytes.n > 0) {
        memcpy(it->bytes, bytes.p, bytes.n);
    }
    return it;
}

static bool frame_of(struct pr_slice bytes, struct pr_frame *f)
{
    return pr_frame_next(bytes, f) == (long)bytes.n;
}

/* The log must know what an edge cannot get any more. */
static void note_dropped(struct sim *s, uint32_t edge, struct pr_slice bytes)
{
    struct pr_frame f;
    uint32_t index = 0;
    const struct entry *e = NULL;

    if (frame_of(bytes, &f) && f.type == PR_T_EVENT) {
        e = sim_entry_of(s, &f, &index);
    }
    if (e != NULL) {
        ((struct entry *)(uintptr_t)e)->dropped |= UINT64_C(1) << edge;
    }
}

static cl_ms delay(struct sim *s)
{
    return sim_below(s, s->k.delay_max_ms + 1);
}

static void send_item(struct sim *s, uint32_t conn, bool up, enum item_kind kind,
                      struct pr_slice bytes)
{
    struct pipe *p = up ? &s->conns[conn]->up : &s->conns[conn]->down;
    struct item *it = NULL;
    cl_ms at = s->now + delay(s);

    if (p->shut) {
        if (!up && kind == ITEM_FRAME) {
            note_dropped(s, s->conns[conn]->edge, bytes);
        }
        return;
    }
    it = item_new(kind, bytes);
    if (p->tail == NULL) {
        p->head = it;
    } else {
        p->tail->next = it;
    }
    p->tail = it;
    p->last = at > p->last ? at : p->last;
    p->shut = kind == ITEM_EOF;
    sim_at(s, p->last, up ? EV_UP : EV_DOWN, conn, 0);
}

static struct item *take_item(struct pipe *p)
{
    struct item *it = p->head;

    if (it != NULL) {
        p->head = it->next;
        if (p->head == NULL) {
            p->tail = NULL;
        }
    }
    return it;
}

void sim_drain(struct sim *s, struct conn *c, struct pipe *p)
{
    for (struct item *it = take_item(p); it != NULL; it = take_item(p)) {
        if (p == &c->down && it->kind == ITEM_FRAME) {
            note_dropped(s, c->edge, pr_bytes(it->bytes, it->n));
        }
        free(it);
    }
}

void sim_end_pipe(struct sim *s, uint32_t conn, bool up)
{
    send_item(s, conn, up, ITEM_EOF, pr_bytes(NULL, 0));
}

void sim_to_owner(struct sim *s, uint32_t e, struct pr_slice frame)
{
    struct pr_frame f;

    if (!frame_of(frame, &f)) {
        sim_fail(s, "edge %u sends what is not one frame", e);
        return;
    }
    if (f.type == PR_T_PUB) {
        sim_check_sent_pub(s, e, &f);
    }
    if (s->edge[e].conn != NOBODY) {
        send_item(s, s->edge[e].conn, true, ITEM_FRAME, frame);
    }
}

/* The owner's side of a connection ends: its core is told, the edge sees the end of the stream. */
static void owner_close(struct sim *s, uint32_t e)
{
    struct cl_event ev = {.type = CL_EV_EDGE_DOWN, .edge = e};
    uint32_t conn = s->owner.conn[e];
    int rv = 0;

    if (conn == NOBODY) {
        return;
    }
    s->owner.conn[e] = NOBODY;
    sim_drain(s, s->conns[conn], &s->conns[conn]->up);
    s->conns[conn]->up.shut = true;
    sim_end_pipe(s, conn, false);
    cl_trace_event(&s->t, s->now, &ev);
    sim_line(s);
    rv = cl_step(s->owner.cl, s->now, &ev);
    if (rv != 0 && rv != CL_ENOENT) {
        sim_fail(s, "EDGE_DOWN answered %d", rv);
    }
}

static uint64_t owner_actions(struct sim *s)
{
    struct cl_action a;
    uint64_t cut = 0;

    while (cl_next_action(s->owner.cl, &a)) {
        cl_trace_action(&s->t, s->now, &a);
        sim_line(s);
        if (a.type == CL_ACT_EDGE_CUT) {
            sim_fail(s, "the owner cuts edge %u: %s", a.edge, a.reason);
            cut |= UINT64_C(1) << a.edge;
            continue;
        }
        sim_check_owner_action(s, &a);
        for (uint32_t e = 0; e < EDGES_MAX; e++) {
            if ((a.edges >> e & 1) == 0) {
                continue;
            }
            if (s->owner.conn[e] == NOBODY) {
                sim_fail(s, "the owner sends to edge %u, which is not connected", e);
            } else {
                send_item(s, s->owner.conn[e], false, ITEM_FRAME, a.bytes);
            }
        }
    }
    return cut;
}

void sim_after_owner(struct sim *s)
{
    const char *what = NULL;
    cl_ms due = 0;

    (void)owner_actions(s);
    if (!cl_check(s->owner.cl, &what)) {
        sim_fail(s, "cl_check: %s", what);
    }
    due = cl_deadline(s->owner.cl);
    if (due != UINT64_MAX) {
        due = due <= s->now ? s->now + 1 : due;
        if (due < s->owner.tick_at || s->owner.tick_at <= s->now) {
            s->owner.tick_at = due;
            sim_at(s, due, EV_OWNER_TICK, 0, s->owner.life);
        }
    }
}

/* As node/owner does it: full queue, take and try again; refused memory, cut the source. */
static void owner_step(struct sim *s, const struct cl_event *ev)
{
    int rv = 0;

    cl_trace_event(&s->t, s->now, ev);
    sim_line(s);
    rv = cl_step(s->owner.cl, s->now, ev);
    if (rv == CL_EAGAIN) {
        (void)owner_actions(s);
        rv = cl_step(s->owner.cl, s->now, ev);
    }
    if (rv != 0 && rv != CL_ENOMEM) {
        sim_fail(s, "cl_step answered %d", rv);
    }
    if (rv == CL_ENOMEM) {
        (void)owner_actions(s);
        if (!s->k.refuse) {
            sim_fail(s, "cl_step: out of memory within limits");
        }
        if (ev->type != CL_EV_TICK) {
            owner_close(s, ev->edge);
        }
    }
    sim_after_owner(s);
}

void sim_after_edge(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];
    struct cle_action a;
    const char *what = NULL;
    cl_ms due = 0;

    while (cle_next_action(p->c, &a)) {
        cle_trace_action(&s->t, s->now, e, &a);
        sim_line(s);
        sim_edge_action(s, e, &a, NULL, 0);
    }
    if (!cle_check(p->c, &what)) {
        sim_fail(s, "cle_check of edge %u: %s", e, what);
    }
    due = cle_deadline(p->c);
    if (due != UINT64_MAX) {
        due = due <= s->now ? s->now + 1 : due;
        if (due < p->tick_at || p->tick_at <= s->now) {
            p->tick_at = due;
            sim_at(s, due, EV_EDGE_TICK, e, p->life);
        }
    }
}

static void edge_dial_later(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];

    sim_at(s, s->now + p->backoff, EV_CONNECT, e, p->life);
    p->backoff = p->backoff * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : p->backoff * 2;
}

static void edge_down(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];

    p->conn = NOBODY;
    p->nview = 0;
    if (p->linked) {
        p->linked = false;
        cle_link_down(p->c, s->now);
    }
    edge_dial_later(s, e);
    sim_after_edge(s, e);
}

void sim_edge_relink(struct sim *s, uint32_t e)
{
    uint32_t conn = s->edge[e].conn;

    if (conn == NOBODY) {
        return;
    }
    sim_note(s, "relink edge", e);
    sim_drain(s, s->conns[conn], &s->conns[conn]->down);
    s->conns[conn]->down.shut = true;
    sim_end_pipe(s, conn, true);
    edge_down(s, e);
}

void sim_connect(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];
    struct conn *c = NULL;

    if (p->conn != NOBODY) {
        return;
    }
    if (!s->owner.up) {
        edge_dial_later(s, e);
        return;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        abort();
    }
    *c = (struct conn){.edge = e, .edge_life = p->life, .owner_life = s->owner.life};
    s->conns = sim_grow(s->conns, s->nconns, &s->conns_room, sizeof(struct conn *));
    s->conns[s->nconns] = c;
    p->conn = s->nconns++;
    send_item(s, p->conn, true, ITEM_HELLO, pr_bytes(NULL, 0));
}

static void arrive_up(struct sim *s, uint32_t conn, struct item *it)
{
    struct conn *c = s->conns[conn];
    struct cl_event ev = {.edge = c->edge, .boot = s->boot_of[c->edge_life]};
    struct pr_frame f;

    if (it->kind == ITEM_HELLO) {
        if (s->owner.conn[c->edge] != NOBODY) {
            owner_close(s, c->edge);
        }
        s->owner.conn[c->edge] = conn;
        send_item(s, conn, false, ITEM_HELLO_OK, pr_bytes(NULL, 0));
        ev.type = CL_EV_EDGE_UP;
        owner_step(s, &ev);
        return;
    }
    if (s->owner.conn[c->edge] != conn) {
        return; /* of a connection that the owner has closed */
    }
    if (it->kind == ITEM_EOF) {
        owner_close(s, c->edge);
        sim_after_owner(s);
        return;
    }
    if (!frame_of(pr_bytes(it->bytes, it->n), &f)) {
        sim_fail(s, "a damaged frame");
        return;
    }
    ev.type = CL_EV_EDGE_IN;
    ev.frame = &f;
    owner_step(s, &ev);
}

/* Actions that an EVENT brings are handed on together with its place in the topic's log. */
static void edge_frame(struct sim *s, uint32_t e, const struct pr_frame *f)
{
    struct edge_proc *p = &s->edge[e];
    uint32_t index = 0;
    const struct entry *entry = f->type == PR_T_EVENT ? sim_entry_of(s, f, &index) : NULL;
    struct cle_action a;
    int rv = 0;

    cle_trace_frame(&s->t, s->now, e, f);
    sim_line(s);
    rv = cle_frame(p->c, s->now, f);
    if (rv == CL_ENOMEM && s->k.refuse) {
        note_dropped(s, e, f->whole);
        sim_edge_relink(s, e);
        return;
    }
    if (rv != 0) {
        sim_fail(s, "cle_frame of edge %u answered %d to type %u", e, rv, f->type);
    }
    while (cle_next_action(p->c, &a)) {
        cle_trace_action(&s->t, s->now, e, &a);
        sim_line(s);
        sim_edge_action(s, e, &a, entry, index);
    }
    sim_after_edge(s, e);
}

static void arrive_down(struct sim *s, uint32_t conn, struct item *it)
{
    struct conn *c = s->conns[conn];
    struct edge_proc *p = &s->edge[c->edge];
    struct pr_hello_ok ok = {.proto = PR_PROTO_MAX, .node = 1, .name = pr_str("sim")};
    struct pr_frame f;
    int rv = 0;

    if (it->kind == ITEM_EOF) {
        c->up.shut = true;
        edge_down(s, c->edge);
        return;
    }
    if (it->kind == ITEM_HELLO_OK) {
        ok.epoch = c->owner_life;
        p->linked = true;
        p->backoff = BACKOFF_MIN_MS;
        rv = cle_link_up(p->c, s->now, &ok);
        if (rv != 0) {
            sim_fail(s, "cle_link_up answered %d", rv);
        }
        sim_after_edge(s, c->edge);
        return;
    }
    if (!frame_of(pr_bytes(it->bytes, it->n), &f)) {
        sim_fail(s, "a damaged frame from the owner");
        return;
    }
    edge_frame(s, c->edge, &f);
}

static bool edge_is(const struct sim *s, const struct conn *c, uint32_t conn)
{
    return s->edge[c->edge].up && s->edge[c->edge].life == c->edge_life &&
           s->edge[c->edge].conn == conn;
}

/* A stalled process does nothing until it goes on; its sockets keep their order. */
static bool put_off(struct sim *s, const struct event *ev, cl_ms until)
{
    if (until > s->now) {
        sim_at(s, until, ev->kind, ev->who, ev->arg);
        return true;
    }
    return false;
}

static void pipe_event(struct sim *s, const struct event *ev)
{
    struct conn *c = s->conns[ev->who];
    bool up = ev->kind == EV_UP;
    bool alive = up ? s->owner.up && s->owner.life == c->owner_life : edge_is(s, c, ev->who);
    struct item *it = NULL;

    if (alive && put_off(s, ev, up ? s->owner.stalled_until : s->edge[c->edge].stalled_until)) {
        return;
    }
    it = take_item(up ? &c->up : &c->down);
    if (it == NULL) {
        return; /* lost by a cut */
    }
    if (alive && up) {
        arrive_up(s, ev->who, it);
    } else if (alive) {
        arrive_down(s, ev->who, it);
    } else if (!up && it->kind == ITEM_FRAME) {
        note_dropped(s, c->edge, pr_bytes(it->bytes, it->n));
    }
    free(it);
}

static void edge_tick(struct sim *s, const struct event *ev)
{
    struct edge_proc *p = &s->edge[ev->who];
    int rv = 0;

    if (!p->up || p->life != ev->arg || put_off(s, ev, p->stalled_until)) {
        return;
    }
    rv = cle_tick(p->c, s->now);
    if (rv != 0 && !(rv == CL_ENOMEM && s->k.refuse)) {
        sim_fail(s, "cle_tick of edge %u answered %d", ev->who, rv);
    }
    sim_after_edge(s, ev->who);
}

void sim_net_event(struct sim *s, const struct event *ev)
{
    const struct cl_event tick = {.type = CL_EV_TICK};

    switch (ev->kind) {
    case EV_UP:
    case EV_DOWN:
        pipe_event(s, ev);
        break;
    case EV_CONNECT:
        if (s->edge[ev->who].up && s->edge[ev->who].life == ev->arg &&
            !put_off(s, ev, s->edge[ev->who].stalled_until)) {
            sim_connect(s, ev->who);
        }
        break;
    case EV_OWNER_TICK:
        if (s->owner.up && s->owner.life == ev->arg && !put_off(s, ev, s->owner.stalled_until)) {
            owner_step(s, &tick);
        }
        break;
    case EV_EDGE_TICK:
        edge_tick(s, ev);
        break;
    case EV_OWNER_START:
        sim_owner_start(s);
        break;
    case EV_EDGE_START:
        sim_edge_start(s, ev->who);
        break;
    case EV_WORK:
    case EV_FAULT:
        break;
    }
}
