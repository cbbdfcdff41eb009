/* SPDX-License-Identifier: Apache-2.0 */
/* change_queues.c - queues to edges and nodes: who is not read, or cut, while one is too long. */
#include "node/owner/changes_in.h"

/* How soon to look again whether a queue has become shorter; and whether one that nobody waits for
 * has. */
#define QUEUE_LOOK_MS 5u
#define HOLE_LOOK_MS  500u

static void do_cuts(void *ctx)
{
    struct changes *c = ctx;

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if ((c->cut >> i & 1u) != 0 && c->o->edge[i] != NULL) {
            rt_owner_cut(c->o->edge[i], "its queue is full: it does not read");
        }
    }
    c->cut = 0;
}

static void cut(struct changes *c, uint32_t edge)
{
    c->cut |= UINT64_C(1) << edge;
    rt_loop_defer(c->o->loop, &c->cut_later, do_cuts, c);
}

void rt_change_to_edge(struct changes *c, uint32_t i, struct pr_slice frame)
{
    struct peer *p = c->o->edge[i];

    /* One that is to be cut gets nothing more: it would acknowledge over a hole. */
    if (p != NULL && (c->cut >> i & 1u) == 0 && !rt_ipc_send(p->ipc, frame)) {
        cut(c, i);
    }
}

void rt_change_to_edges(struct changes *c, struct pr_slice frame)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        rt_change_to_edge(c, i, frame);
    }
}

static bool edge_full(const struct changes *c, uint32_t i)
{
    return c->o->edge[i] != NULL && (c->cut >> i & 1u) == 0 &&
           rt_ipc_queued(c->o->edge[i]->ipc) > RT_CHANGES_EDGE_BYTES;
}

static bool link_full(const struct changes *c, const struct change_node *n)
{
    return rt_owner_link_queued(c->o, n->id) > RT_CHANGES_LINK_BYTES;
}

/* More changes for somebody would be too much. */
static bool full(const struct changes *c)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (edge_full(c, i)) {
            return true;
        }
    }
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (c->nodes[i].ready && link_full(c, &c->nodes[i])) {
            return true;
        }
    }
    return false;
}

void rt_change_queues_watch(struct changes *c)
{
    rt_timer_set(&c->timer, QUEUE_LOOK_MS);
}

static void stop(struct changes *c)
{
    c->stopped = true;
    c->passed = false;
    c->stopped_ms = rt_now_ms(c->o->loop);
    rt_ipc_read(c->db->ipc, false);
    rt_change_queues_watch(c);
}

/* Queues are shared, and have room for one frame over their bound: whoever fills one stops all
 * projects whose changes go there. A db that does not read has rights to tell and no changes. */
void rt_change_queues_check(struct changes *c)
{
    struct changes *other;

    if (c->db == NULL || c->stopped || !full(c)) {
        return;
    }
    stop(c);
    for (uint32_t i = 0; (other = rt_change_at(c->o, i)) != NULL; i++) {
        other->passed = false;
        c->filled = other->filled >= c->filled ? other->filled + 1 : c->filled;
        if (other->db != NULL && other->asking && !other->stopped && full(other)) {
            stop(other);
        }
    }
}

/* Some project that could go on has not filled a queue for longer than this one. */
static bool another_first(const struct changes *c)
{
    const struct changes *other;

    for (uint32_t i = 0; (other = rt_change_at(c->o, i)) != NULL; i++) {
        if (other->stopped && other->filled < c->filled && !full(other)) {
            return true;
        }
    }
    return false;
}

/* Nobody hangs of those that the others wait for, if they wait for nothing but their turn. */
static void go_on(struct changes *c)
{
    struct changes *other;

    c->stopped = false;
    for (uint32_t i = 0; (other = rt_change_at(c->o, i)) != NULL; i++) {
        if (other->stopped && !full(other)) {
            other->stopped_ms = rt_now_ms(c->o->loop);
        }
    }
    rt_ipc_read(c->db->ipc, true);
}

void rt_change_edge_pause(struct changes *c, struct peer *edge)
{
    c->paused |= UINT64_C(1) << edge->index;
    rt_ipc_read(edge->ipc, false);
    rt_change_queues_watch(c);
}

static void give_up(struct changes *c)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (edge_full(c, i)) {
            cut(c, i);
        }
    }
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (c->nodes[i].ready && link_full(c, &c->nodes[i])) {
            rt_change_node_stuck(c, &c->nodes[i]);
        }
    }
}

/*
 * A queue stays over its bound only if less than one frame leaves it in all that time.
 *
 * The first that finds room would fill it again before the next one looks, and always be the first:
 * so it passes once, and the one that has not filled it for longest goes on alone until the next
 * look.
 */
static void look_stopped(struct changes *c)
{
    uint64_t now = rt_now_ms(c->o->loop);

    if (!c->stopped) {
        return;
    }
    if (full(c)) {
        c->passed = false;
        if (now - c->stopped_ms < RT_CHANGES_STUCK_MS) {
            return;
        }
        give_up(c);
    }
    if (!c->passed && another_first(c)) {
        c->passed = true;
        c->stopped_ms = now;
    } else {
        go_on(c);
    }
}

/* An edge has one connection for all projects, and any of them may need it to wait. */
static bool paused_by_another(const struct changes *c, uint32_t edge)
{
    const struct changes *other;

    for (uint32_t i = 0; (other = rt_change_at(c->o, i)) != NULL; i++) {
        if (other != c && (other->paused >> edge & 1u) != 0) {
            return true;
        }
    }
    return false;
}

/* A link that hangs is closed by the mesh, and then has nothing queued. */
static void look_paused(struct changes *c)
{
    if (c->paused == 0) {
        return;
    }
    for (uint32_t i = 0; i < c->nnodes; i++) {
        if (c->nodes[i].asks && link_full(c, &c->nodes[i])) {
            return;
        }
    }
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if ((c->paused >> i & 1u) != 0 && c->o->edge[i] != NULL && !paused_by_another(c, i)) {
            rt_ipc_read(c->o->edge[i]->ipc, true);
        }
    }
    c->paused = 0;
}

void rt_change_queues_look(void *ctx)
{
    struct changes *c = ctx;
    bool holes;

    look_stopped(c);
    look_paused(c);
    holes = rt_change_nodes_heal(c);
    if (c->stopped || c->paused != 0) {
        rt_change_queues_watch(c);
    } else if (holes) {
        rt_timer_set(&c->timer, HOLE_LOOK_MS);
    }
}
