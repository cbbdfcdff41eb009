/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net.c - the Unix sockets of a node, and the shell of an edge around them.
 *
 * A socket is FIFO each way. When a process dies, what it had written still arrives, then the end
 * of the stream; what was on its way to it is lost. A cut loses both ways: it stands for a side
 * that closes with full buffers. The new connection may be there before the end of the old one is
 * seen.
 */
#include "tests/sim/checks.h"

#include <stdlib.h>
#include <string.h>

#define BACKOFF_MAX_MS 500u

struct item *sim_item_new(enum item_kind kind, struct pr_slice bytes)
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

void sim_pipe_put(struct pipe *p, struct item *it)
{
    if (p->tail == NULL) {
        p->head = it;
    } else {
        p->tail->next = it;
    }
    p->tail = it;
}

struct item *sim_pipe_take(struct pipe *p)
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

bool sim_frame_of(struct pr_slice bytes, struct pr_frame *f)
{
    return pr_frame_next(bytes, f) == (long)bytes.n;
}

static struct node_proc *node_of(struct sim *s, uint32_t e)
{
    return &s->node[e / EDGES_MAX];
}

/* Connection of the edge, as its owner process has it. */
static uint32_t *owner_conn(struct sim *s, uint32_t e)
{
    return &node_of(s, e)->conn[e % EDGES_MAX];
}

/* The log must know what an edge cannot get any more. */
static void note_dropped(struct sim *s, uint32_t edge, struct pr_slice bytes)
{
    struct pr_frame f;
    uint32_t index = 0;
    struct entry *e = NULL;

    if (sim_frame_of(bytes, &f) && f.type == PR_T_EVENT) {
        e = sim_entry_of(s, edge, &f, &index);
    }
    if (e != NULL) {
        e->dropped |= UINT64_C(1) << edge % EDGES_MAX;
    }
}

static void send_item(struct sim *s, uint32_t conn, bool up, enum item_kind kind,
                      struct pr_slice bytes)
{
    struct pipe *p = up ? &s->conns[conn]->up : &s->conns[conn]->down;
    cl_ms at = s->now + sim_below(s, s->k.delay_max_ms + 1);

    if (p->shut) {
        if (!up && kind == ITEM_FRAME) {
            note_dropped(s, s->conns[conn]->edge, bytes);
        }
        return;
    }
    sim_pipe_put(p, sim_item_new(kind, bytes));
    p->last = at > p->last ? at : p->last;
    p->shut = kind == ITEM_EOF;
    sim_at(s, p->last, up ? EV_UP : EV_DOWN, conn, 0);
}

void sim_drain(struct sim *s, struct conn *c, struct pipe *p)
{
    for (struct item *it = sim_pipe_take(p); it != NULL; it = sim_pipe_take(p)) {
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

    if (!sim_frame_of(frame, &f)) {
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

void sim_to_edge(struct sim *s, uint32_t e, struct pr_slice frame)
{
    uint32_t conn = *owner_conn(s, e);

    if (conn == NOBODY) {
        sim_fail(s, "the owner sends to edge %u, which is not connected", e);
    } else {
        send_item(s, conn, false, ITEM_FRAME, frame);
    }
}

void sim_owner_close(struct sim *s, uint32_t e)
{
    uint32_t n = e / EDGES_MAX;
    struct cl_event ev = {.type = CL_EV_EDGE_DOWN, .edge = e % EDGES_MAX};
    uint32_t conn = *owner_conn(s, e);
    int rv = 0;

    if (conn == NOBODY) {
        return;
    }
    *owner_conn(s, e) = NOBODY;
    sim_drain(s, s->conns[conn], &s->conns[conn]->up);
    s->conns[conn]->up.shut = true;
    sim_end_pipe(s, conn, false);
    cl_trace_event(&s->t, s->now, &ev);
    sim_line(s, n);
    s->in = &ev;
    rv = cl_step(s->node[n].cl, sim_clock(s, n), &ev);
    sim_check_heard(s, n, &ev);
    s->in = NULL;
    if (rv != 0 && rv != CL_ENOENT) {
        sim_fail(s, "EDGE_DOWN answered %d", rv);
    }
}

void sim_after_edge(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];
    struct cle_action a;
    const char *what = NULL;
    cl_ms due = 0;

    while (cle_next_action(p->c, &a)) {
        cle_trace_action(&s->t, s->now, e, &a);
        sim_line(s, NOBODY);
        sim_edge_action(s, e, &a, NULL, 0);
    }
    if (!cle_check(p->c, &what)) {
        sim_fail(s, "cle_check of edge %u: %s", e, what);
    }
    sim_check_edge_limits(s, e);
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
    sim_note(s, "relink edge %u", e);
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
    if (!node_of(s, e)->up) {
        edge_dial_later(s, e);
        return;
    }
    c = calloc(1, sizeof *c);
    if (c == NULL) {
        abort();
    }
    *c = (struct conn){.edge = e, .edge_life = p->life, .run = node_of(s, e)->run};
    s->conns = sim_grow(s->conns, s->nconns, &s->conns_room, sizeof(struct conn *));
    s->conns[s->nconns] = c;
    p->conn = s->nconns++;
    send_item(s, p->conn, true, ITEM_HELLO, pr_bytes(NULL, 0));
}

static void arrive_up(struct sim *s, uint32_t conn, struct item *it)
{
    struct conn *c = s->conns[conn];
    uint32_t n = c->edge / EDGES_MAX;
    struct cl_event ev = {.edge = c->edge % EDGES_MAX, .boot = s->boot_of[c->edge_life]};
    struct pr_frame f;

    if (it->kind == ITEM_HELLO) {
        sim_owner_close(s, c->edge);
        *owner_conn(s, c->edge) = conn;
        send_item(s, conn, false, ITEM_HELLO_OK, pr_bytes(NULL, 0));
        ev.type = CL_EV_EDGE_UP;
        sim_node_step(s, n, &ev);
        return;
    }
    if (*owner_conn(s, c->edge) != conn) {
        return; /* of a connection that the owner has closed */
    }
    if (it->kind == ITEM_EOF) {
        sim_owner_close(s, c->edge);
        sim_after_node(s, n);
        return;
    }
    if (!sim_frame_of(pr_bytes(it->bytes, it->n), &f)) {
        sim_fail(s, "a damaged frame");
        return;
    }
    ev.type = CL_EV_EDGE_IN;
    ev.frame = &f;
    sim_node_step(s, n, &ev);
}

/* Actions that an EVENT brings are handed on together with its place in the node's log. */
static void edge_frame(struct sim *s, uint32_t e, const struct pr_frame *f)
{
    struct edge_proc *p = &s->edge[e];
    uint32_t index = 0;
    const struct entry *entry = f->type == PR_T_EVENT ? sim_entry_of(s, e, f, &index) : NULL;
    struct cle_action a;
    int rv = 0;

    cle_trace_frame(&s->t, s->now, e, f);
    sim_line(s, NOBODY);
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
        sim_line(s, NOBODY);
        sim_edge_action(s, e, &a, entry, index);
    }
    sim_after_edge(s, e);
}

static void arrive_down(struct sim *s, uint32_t conn, struct item *it)
{
    struct conn *c = s->conns[conn];
    struct edge_proc *p = &s->edge[c->edge];
    struct pr_hello_ok ok = {.proto = PR_PROTO_MAX, .name = pr_str("sim")};
    struct pr_frame f;
    int rv = 0;

    if (it->kind == ITEM_EOF) {
        c->up.shut = true;
        edge_down(s, c->edge);
        return;
    }
    if (it->kind == ITEM_HELLO_OK) {
        ok.node = node_of(s, c->edge)->id;
        ok.epoch = s->run_of[c->run].boot;
        p->linked = true;
        p->backoff = BACKOFF_MIN_MS;
        rv = cle_link_up(p->c, s->now, &ok);
        if (rv != 0) {
            sim_fail(s, "cle_link_up answered %d", rv);
        }
        sim_after_edge(s, c->edge);
        return;
    }
    if (!sim_frame_of(pr_bytes(it->bytes, it->n), &f)) {
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

bool sim_put_off(struct sim *s, const struct event *ev, cl_ms until)
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
    const struct node_proc *n = node_of(s, c->edge);
    bool up = ev->kind == EV_UP;
    bool alive = up ? n->up && n->run == c->run : edge_is(s, c, ev->who);
    struct item *it = NULL;

    if (alive && sim_put_off(s, ev, up ? n->stalled_until : s->edge[c->edge].stalled_until)) {
        return;
    }
    it = sim_pipe_take(up ? &c->up : &c->down);
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

    if (!p->up || p->life != ev->arg || sim_put_off(s, ev, p->stalled_until)) {
        return;
    }
    rv = cle_tick(p->c, s->now);
    if (rv != 0 && !(rv == CL_ENOMEM && s->k.refuse)) {
        sim_fail(s, "cle_tick of edge %u answered %d", ev->who, rv);
    }
    sim_after_edge(s, ev->who);
}

/* Events of processes and of the sockets inside a node. */
void sim_net_event(struct sim *s, const struct event *ev)
{
    const struct cl_event tick = {.type = CL_EV_TICK};
    const struct node_proc *n = NULL;

    if (ev->kind == EV_UP || ev->kind == EV_DOWN) {
        pipe_event(s, ev);
    } else if (ev->kind == EV_CONNECT) {
        if (s->edge[ev->who].up && s->edge[ev->who].life == ev->arg &&
            !sim_put_off(s, ev, s->edge[ev->who].stalled_until)) {
            sim_connect(s, ev->who);
        }
    } else if (ev->kind == EV_NODE_TICK) {
        n = &s->node[ev->who];
        if (n->up && n->run == ev->arg && !sim_put_off(s, ev, n->stalled_until)) {
            sim_node_step(s, ev->who, &tick);
        }
    } else if (ev->kind == EV_EDGE_TICK) {
        edge_tick(s, ev);
    } else if (ev->kind == EV_NODE_START && ev->arg != 0) {
        sim_node_on(s, ev->who);
    } else if (ev->kind == EV_NODE_START) {
        sim_node_start(s, ev->who);
    } else if (ev->kind == EV_EDGE_START) {
        sim_edge_start(s, ev->who);
    }
}
