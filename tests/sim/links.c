/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links.c - the links between nodes.
 *
 * As node/owner/mesh.h has them: a TCP connection with two lanes, each FIFO; at most one per pair
 * is up; its end is told in a later turn, and before the next one comes up. What a process had
 * written before it died still arrives. A blocked way keeps what is on it, as TCP does, until it
 * opens or the link is given up for silence.
 */
#include "tests/sim/checks.h"

#include <stdlib.h>
#include <string.h>

/* As RT_MESH_PING_MS, RT_MESH_SILENT_MS, RT_MESH_HELLO_MS of node/owner/mesh.h. */
#define PING_MS   10000u
#define SILENT_MS 15000u
#define HELLO_MS  5000u
/* TCP tries again after about this. */
#define BLOCKED_MS 150u

static bool is_fast(enum item_kind kind, uint8_t type)
{
    return kind == ITEM_PING || kind == ITEM_PONG ||
           (kind == ITEM_FRAME && (type == PR_T_PING || type == PR_T_PONG || type == PR_T_SYNC ||
                                   type == PR_T_SYNC_HASH));
}

void sim_link_put(struct sim *s, uint32_t link, uint32_t end, enum item_kind kind,
                  struct pr_slice bytes)
{
    struct link_end *e = &s->links[link]->end[end];
    cl_ms at = s->now + sim_below(s, s->k.link_delay_ms + 1);
    struct pr_frame f = {0};
    bool fast = false;
    struct pipe *p = NULL;

    if (kind == ITEM_FRAME && !sim_frame_of(bytes, &f)) {
        sim_fail(s, "node %u sends what is not one frame", e->node);
        return;
    }
    fast = is_fast(kind, f.type);
    p = fast ? &e->fast : &e->data;
    if (p->shut) {
        return;
    }
    if (kind == ITEM_EOF) {
        at = e->fast.last > at ? e->fast.last : at;
        e->fast.shut = e->data.shut = true;
    }
    sim_pipe_put(p, sim_item_new(kind, bytes));
    p->last = at > p->last ? at : p->last;
    sim_at(s, p->last, EV_LINK, link, end << 1 | (fast ? 1u : 0u));
}

/* What goes on for ever without anything happening. */
static bool is_idle_talk(uint8_t type)
{
    return type == PR_T_PING || type == PR_T_PONG || type == PR_T_SYNC || type == PR_T_SYNC_HASH ||
           type == PR_T_P_SUM;
}

void sim_link_send(struct sim *s, uint32_t n, uint32_t peer, struct pr_slice frame)
{
    const struct peer *p = &s->node[n].peer[peer];
    struct pr_frame f;

    if (p->link == NOBODY) {
        if (!p->owes_down) {
            sim_fail(s, "node %u sends to node %u without a link", n, peer);
        }
        return;
    }
    if (sim_frame_of(frame, &f)) {
        s->talk += !is_idle_talk(f.type);
        if (s->k.overflow && !s->healing && (f.type == PR_T_EVENT || f.type == PR_T_P_DELTA) &&
            sim_below(s, 40) == 0) {
            sim_note_overflow(s, peer, &f);
            return;
        }
    }
    sim_link_put(s, p->link, s->links[p->link]->end[1].node == n, ITEM_FRAME, frame);
}

bool sim_link_end_alive(const struct sim *s, const struct link_end *e)
{
    return e->node != NOBODY && s->node[e->node].up && s->node[e->node].run == e->run;
}

static void drain(struct pipe *p)
{
    for (struct item *it = sim_pipe_take(p); it != NULL; it = sim_pipe_take(p)) {
        free(it);
    }
}

void sim_link_end(struct sim *s, uint32_t link, uint32_t end, enum cl_how how, bool quiet)
{
    struct link_end *e = &s->links[link]->end[end];
    struct link_end *other = &s->links[link]->end[end ^ 1];
    struct peer *p = &s->node[e->node].peer[other->node];

    if (e->state == END_UP && sim_link_end_alive(s, e) && p->link == link) {
        p->link = NOBODY;
        p->owes_down = true;
        p->how = how;
        sim_at(s, s->now, EV_LINK_DOWN, e->node, other->node);
    }
    e->state = END_GONE;
    if (!quiet) {
        sim_link_put(s, link, end, ITEM_EOF, pr_bytes(NULL, 0));
    }
    e->fast.shut = e->data.shut = true;
}

void sim_link_cut(struct sim *s, uint32_t link)
{
    for (uint32_t end = 0; end < 2; end++) {
        struct link_end *e = &s->links[link]->end[end];

        drain(&e->fast);
        drain(&e->data);
        e->fast.shut = e->data.shut = false;
        sim_link_put(s, link, end, ITEM_EOF, pr_bytes(NULL, 0));
    }
}

void sim_links_of_dead(struct sim *s, uint32_t n, bool quiet)
{
    for (uint32_t l = 0; l < s->nlinks; l++) {
        for (uint32_t end = 0; end < 2; end++) {
            struct link_end *e = &s->links[l]->end[end];

            if (e->node == n && e->state != END_NONE && e->state != END_GONE) {
                sim_link_end(s, l, end, CL_HOW_EOF, quiet);
            }
        }
    }
}

void sim_link_clock(struct sim *s, uint32_t link, uint32_t end, cl_ms at)
{
    s->links[link]->end[end].clock_at = at;
    sim_at(s, at, EV_LINK_CLOCK, link, end);
}

void sim_link_down_now(struct sim *s, uint32_t n, uint32_t peer)
{
    struct peer *p = &s->node[n].peer[peer];
    struct cl_event ev = {.type = CL_EV_LINK_DOWN, .id = s->node[peer].id, .how = p->how};

    if (s->node[n].up && p->owes_down) {
        p->owes_down = false;
        sim_node_step(s, n, &ev);
    }
}

static void frame_in(struct sim *s, struct link_end *me, uint32_t from, const struct item *it)
{
    struct cl_event ev = {.type = CL_EV_LINK_IN, .id = s->node[from].id};
    struct pr_frame f;

    if (!sim_frame_of(pr_bytes(it->bytes, it->n), &f)) {
        sim_fail(s, "a damaged frame of node %u", from);
        return;
    }
    ev.frame = &f;
    sim_node_step(s, me->node, &ev);
}

/* At an end that is there. */
static void arrive(struct sim *s, uint32_t link, uint32_t end, const struct item *it)
{
    struct link *l = s->links[link];
    struct link_end *me = &l->end[end];

    me->heard = s->now;
    switch (it->kind) {
    case ITEM_FRAME:
        frame_in(s, me, l->end[end ^ 1].node, it);
        break;
    case ITEM_PING:
        sim_link_put(s, link, end, ITEM_PONG, pr_bytes(NULL, 0));
        break;
    case ITEM_HELLO:
    case ITEM_HELLO_OK:
        memcpy(&l->end[end ^ 1].epoch, it->bytes, sizeof l->end[0].epoch);
        me->state = END_HELD;
        me->held_at = s->now;
        sim_greet(s, link, end);
        break;
    case ITEM_BYE:
        sim_greet_bye(s, link, it->bytes[0]);
        break;
    case ITEM_EOF:
        if (me->state == END_DIALLING || (me->state == END_HELD && end == 0)) {
            sim_dial_over(s, link, CL_HOW_REFUSED, true);
        } else {
            sim_link_end(s, link, end, CL_HOW_EOF, false);
        }
        break;
    case ITEM_PONG:
        break;
    }
}

/* Nobody is there to take it: the host says so, if there is one. */
static void arrive_dead(struct sim *s, uint32_t link, uint32_t end, const struct item *it)
{
    struct link *l = s->links[link];
    const struct link_end *me = &l->end[end];
    struct link_end *other = &l->end[end ^ 1];
    bool answers = me->node != NOBODY && !s->node[me->node].dark && !l->mute &&
                   pr_addr_eq(&s->node[me->node].addr, &me->addr);

    if (answers && it->kind != ITEM_EOF && it->kind != ITEM_BYE && other->state != END_GONE) {
        l->end[end].data.shut = false;
        sim_link_put(s, link, end, ITEM_EOF, pr_bytes(NULL, 0));
    }
}

static bool is_blocked(const struct sim *s, const struct link *l, uint32_t from,
                       enum item_kind kind)
{
    uint32_t a = l->end[from].node;
    uint32_t b = l->end[from ^ 1].node;

    if (a == NOBODY || b == NOBODY) {
        return false;
    }
    return s->blocked[a][b] || (kind == ITEM_HELLO && s->blocked[b][a]); /* no handshake */
}

static void on_item(struct sim *s, const struct event *ev)
{
    struct link *l = s->links[ev->who];
    uint32_t from = (uint32_t)(ev->arg >> 1);
    struct link_end *me = &l->end[from ^ 1];
    struct pipe *p = (ev->arg & 1) != 0 ? &l->end[from].fast : &l->end[from].data;
    bool open = me->state != END_GONE && me->node != NOBODY && s->node[me->node].up;
    struct item *it = NULL;

    if (p->head == NULL) {
        return; /* lost by a cut */
    }
    if (is_blocked(s, l, from, p->head->kind)) {
        sim_at(s, s->now + BLOCKED_MS, ev->kind, ev->who, ev->arg);
        return;
    }
    if (open && me->state == END_NONE) {
        me->run = s->node[me->node].run;
        open = pr_addr_eq(&s->node[me->node].addr, &me->addr) &&
               sim_link_end_alive(s, &l->end[from]); /* a handshake takes two */
    }
    open = open && sim_link_end_alive(s, me);
    if (open && sim_put_off(s, ev, s->node[me->node].stalled_until)) {
        return;
    }
    if (open && me->state != END_UP && p->head->kind == ITEM_FRAME) {
        (void)sim_put_off(s, ev, s->now + 10); /* it has not been taken up yet */
        return;
    }
    it = sim_pipe_take(p);
    if (l->mute) {
        free(it);
        return;
    }
    if (open) {
        arrive(s, ev->who, from ^ 1, it);
    } else {
        arrive_dead(s, ev->who, from ^ 1, it);
    }
    free(it);
}

static void up_clock(struct sim *s, uint32_t link, uint32_t end)
{
    struct link_end *me = &s->links[link]->end[end];

    if (s->now - me->heard > SILENT_MS) {
        sim_link_end(s, link, end, CL_HOW_TIMEOUT, false);
        return;
    }
    if (s->now - me->heard >= PING_MS) {
        sim_link_put(s, link, end, ITEM_PING, pr_bytes(NULL, 0));
    }
    sim_link_clock(s, link, end, s->now + PING_MS / 4);
}

static void on_clock(struct sim *s, const struct event *ev)
{
    uint32_t end = (uint32_t)ev->arg;
    struct link_end *me = &s->links[ev->who]->end[end];

    if (!sim_link_end_alive(s, me) || me->state == END_GONE || me->clock_at > s->now ||
        sim_put_off(s, ev, s->node[me->node].stalled_until)) {
        return;
    }
    if (me->state == END_DIALLING && s->now - me->held_at >= HELLO_MS) {
        sim_dial_over(s, ev->who, CL_HOW_TIMEOUT, true);
    } else if (me->state == END_HELD) {
        sim_greet(s, ev->who, end);
    } else if (me->state == END_UP) {
        up_clock(s, ev->who, end);
    }
}

void sim_link_event(struct sim *s, const struct event *ev)
{
    uint32_t peer = (uint32_t)ev->arg >> 1;

    if (ev->kind == EV_LINK) {
        on_item(s, ev);
    } else if (ev->kind == EV_LINK_CLOCK) {
        on_clock(s, ev);
    } else if (ev->kind == EV_LINK_DOWN) {
        if (!sim_put_off(s, ev, s->node[ev->who].stalled_until)) {
            sim_link_down_now(s, ev->who, (uint32_t)ev->arg);
        }
    } else if (s->node[ev->who].up && s->node[ev->who].run == ev->arg >> 32 &&
               !sim_put_off(s, ev, s->node[ev->who].stalled_until)) {
        sim_dial_due(s, ev->who, peer, (ev->arg & 1) != 0);
    }
}

void sim_links_free(struct sim *s)
{
    for (uint32_t l = 0; l < s->nlinks; l++) {
        for (uint32_t end = 0; end < 2; end++) {
            drain(&s->links[l]->end[end].fast);
            drain(&s->links[l]->end[end].data);
        }
        free(s->links[l]);
    }
    free(s->links);
}
