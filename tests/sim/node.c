/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - the shell of an owner process: what goes into its core, and what comes out. */
#include "tests/sim/checks.h"

#include <string.h>

cl_ms sim_clock(const struct sim *s, uint32_t n)
{
    return s->now + s->node[n].clock;
}

uint32_t sim_node_by_id(const struct sim *s, uint64_t id)
{
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        if (s->node[n].id == id) {
            return n;
        }
    }
    return NOBODY;
}

uint32_t sim_run_of(const struct sim *s, const struct pr_epoch *epoch)
{
    uint32_t n = sim_node_by_id(s, epoch->node);

    for (uint32_t r = s->runs; r > 0 && n != NOBODY; r--) {
        if (s->run_of[r - 1].node == n && s->run_of[r - 1].boot == epoch->boot) {
            return r - 1;
        }
    }
    return NOBODY;
}

static void link_send(struct sim *s, uint32_t n, const struct cl_action *a)
{
    for (uint32_t i = 0; i < CL_NODES_MAX; i++) {
        uint32_t peer = NOBODY;

        if ((a->nodes.w[i / 64] >> i % 64 & 1) == 0) {
            continue;
        }
        peer = sim_node_by_id(s, cl_node_id(s->node[n].cl, i));
        if (peer == NOBODY || peer == n) {
            sim_fail(s, "node %u sends to index %u, which is no other node", n, i);
            return;
        }
        sim_link_send(s, n, peer, a->bytes);
    }
}

static void edge_send(struct sim *s, uint32_t n, const struct cl_action *a)
{
    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        if ((a->edges >> k & 1) != 0) {
            sim_to_edge(s, n * EDGES_MAX + k, a->bytes);
        }
    }
}

static void take_actors(struct sim *s, uint32_t n, const struct cl_action *a)
{
    uint32_t peer = sim_node_by_id(s, a->id);
    struct pr_frame f;
    struct pr_actors m;
    uint32_t index = 0;
    uint64_t boot = 0;

    if (peer == NOBODY || !sim_frame_of(a->bytes, &f) || pr_actors_decode(&f, &m) != PR_OK) {
        sim_fail(s, "node %u tells damaged actors", n);
        return;
    }
    memset(s->node[n].actors[peer], 0, sizeof s->node[n].actors[peer]);
    while (pr_actors_next(&m.actors, &index, &boot) == 1) {
        if (index < EDGES_MAX) {
            s->node[n].actors[peer][index] = boot;
        }
    }
}

static void close_link(struct sim *s, uint32_t n, uint64_t id)
{
    uint32_t peer = sim_node_by_id(s, id);
    uint32_t l = peer == NOBODY ? NOBODY : s->node[n].peer[peer].link;

    if (l != NOBODY) {
        sim_link_end(s, l, s->links[l]->end[1].node == n, CL_HOW_LOCAL, false);
    }
}

/* The core's name for itself is another from now on: every link says the old one. */
static void new_epoch(struct sim *s, uint32_t n, uint64_t epoch)
{
    sim_note(s, "node %u raises its epoch", n);
    s->node[n].epoch = epoch;
    for (uint32_t i = 0; i < s->k.nodes; i++) {
        close_link(s, n, s->node[i].id);
    }
}

/* False: the process has to end. */
static bool take(struct sim *s, uint32_t n, const struct cl_action *a)
{
    switch (a->type) {
    case CL_ACT_EDGE_SEND:
        edge_send(s, n, a);
        break;
    case CL_ACT_EDGE_CUT:
        sim_fail(s, "node %u cuts edge %u: %s", n, a->edge, a->reason);
        break;
    case CL_ACT_UDP_SEND:
        sim_udp_send(s, n, a);
        break;
    case CL_ACT_DIAL:
        sim_dial(s, n, a->id, &a->addr);
        break;
    case CL_ACT_LINK_SEND:
        link_send(s, n, a);
        break;
    case CL_ACT_LINK_CLOSE:
        close_link(s, n, a->id);
        break;
    case CL_ACT_READER:
        s->node[n].reader = cl_reader(s->node[n].cl, pr_str("default"));
        break;
    case CL_ACT_ACTORS:
        take_actors(s, n, a);
        break;
    case CL_ACT_EPOCH:
        new_epoch(s, n, a->id);
        break;
    case CL_ACT_FATAL:
        sim_note(s, "node %u: %s", n, a->reason);
        s->fatals++;
        return false;
    case CL_ACT_MEMBER:
        sim_check_dead(s, n, a);
        break;
    }
    return true;
}

/* Takes all actions. False: the process has to end. */
static bool actions(struct sim *s, uint32_t n)
{
    struct cl_action a;
    bool go_on = true;
    uint32_t count = 0;
    size_t largest = 0;

    while (cl_next_action(s->node[n].cl, &a)) {
        cl_trace_action(&s->t, s->now, &a);
        sim_line(s, n);
        if (a.type == CL_ACT_EDGE_SEND || a.type == CL_ACT_LINK_SEND) {
            sim_check_node_action(s, n, &a);
        }
        go_on = take(s, n, &a) && go_on;
        count++;
        largest = a.bytes.n > largest ? a.bytes.n : largest;
    }
    sim_check_step(s, n, count, largest);
    return go_on;
}

void sim_after_node(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];
    const char *what = NULL;
    cl_ms due = 0;

    if (!actions(s, n)) {
        sim_node_crash(s, n);
        sim_at(s, s->now + 3000, EV_NODE_START, n, 0);
        return;
    }
    if (!cl_check(p->cl, &what)) {
        sim_fail(s, "cl_check of node %u: %s", n, what);
    }
    sim_check_limits(s, n);
    if (p->leaving) {
        sim_leave_go_on(s, n);
    }
    if (!p->up) {
        return;
    }
    due = cl_deadline(p->cl);
    if (due != UINT64_MAX) {
        due = due <= sim_clock(s, n) ? s->now + 1 : due - p->clock;
        if (due < p->tick_at || p->tick_at <= s->now) {
            p->tick_at = due;
            sim_at(s, due, EV_NODE_TICK, n, p->run);
        }
    }
}

/* What a refusal means, as node/owner has it: the source is cut, since leaving one thing out would
 * break the order. */
static void refused(struct sim *s, uint32_t n, const struct cl_event *ev, int rv)
{
    uint32_t peer = sim_node_by_id(s, ev->id);

    if (rv != CL_ENOMEM) {
        sim_fail(s, "cl_step of node %u answered %d to event %d", n, rv, (int)ev->type);
        return;
    }
    if (!s->k.refuse) {
        sim_fail(s, "cl_step of node %u: out of memory within limits", n);
    }
    switch (ev->type) {
    case CL_EV_EDGE_UP:
    case CL_EV_EDGE_IN:
    case CL_EV_EDGE_DOWN:
        sim_owner_close(s, n * EDGES_MAX + ev->edge);
        break;
    case CL_EV_LINK_UP:
    case CL_EV_LINK_IN:
        if (peer != NOBODY) {
            close_link(s, n, ev->id);
        }
        break;
    case CL_EV_LINK_DOWN:
    case CL_EV_LEAVE:
        sim_fail(s, "node %u refuses event %d", n, (int)ev->type);
        break;
    case CL_EV_TICK:
    case CL_EV_UDP_IN:
        break;
    }
}

void sim_node_step(struct sim *s, uint32_t n, const struct cl_event *ev)
{
    struct node_proc *p = &s->node[n];
    int rv = 0;

    cl_trace_event(&s->t, s->now, ev);
    sim_line(s, n);
    s->in = ev;
    sim_check_follows(s, n, ev, false);
    sim_check_taken(s, n, ev);
    rv = cl_step(p->cl, sim_clock(s, n), ev);
    if (rv == CL_EAGAIN) {
        (void)actions(s, n);
        rv = cl_step(p->cl, sim_clock(s, n), ev);
    }
    if (rv == 0) {
        sim_check_away(s, n, ev);
        sim_check_heard(s, n, ev);
        sim_check_arrived(s, n, ev);
    } else {
        (void)actions(s, n);
        refused(s, n, ev, rv);
    }
    sim_check_follows(s, n, ev, true);
    sim_after_node(s, n);
    if (p->up) {
        sim_check_silent(s, n);
    }
    s->in = NULL;
}
