/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c - what breaks, what the operator does, and how all is made good again. */
#include "tests/sim/sim.h"

#include <string.h>

/* Processes that a run may still start for faults: the rest is for healing. */
static bool lives_left(const struct sim *s)
{
    return s->lives + 2 * ALL_EDGES < LIVES_MAX && s->runs + 3 * NODES_MAX < RUNS_MAX;
}

static cl_ms back_at(struct sim *s)
{
    return s->now + sim_below(s, (uint64_t)s->k.down_max_ms + 1);
}

static void stall(struct sim *s, uint32_t n)
{
    uint32_t most = s->k.clustered && sim_half(s) ? 20000 : 2000;
    cl_ms until = s->now + sim_between(s, s->k.clustered ? 100 : 10, most);
    uint32_t who = (uint32_t)sim_below(s, s->node[n].edges + 1);

    if (who == s->node[n].edges) {
        s->node[n].stalled_until = until;
        sim_note(s, "owner of node %u stalls", n);
    } else {
        s->edge[n * EDGES_MAX + who].stalled_until = until;
        sim_note(s, "edge %u stalls", n * EDGES_MAX + who);
    }
    s->faults_at = until;
}

/* The whole host: its processes end, or it is switched off. It may come back elsewhere. */
static void lose_node(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];

    if (!p->up || p->leaving) {
        return;
    }
    p->dark = sim_half(s);
    sim_note(s, "node %u is lost%s", n, p->dark ? ", dark" : "");
    sim_node_off(s, n);
    if (s->k.move && sim_half(s)) {
        p->addr = sim_addr(n, ++p->moves);
    }
    if (s->k.wall && sim_half(s)) {
        p->wall_ms = (int64_t)sim_below(s, 7200000) - 3600000;
    }
    sim_at(s, back_at(s), EV_NODE_START, n, 1);
}

static uint32_t some_link(struct sim *s)
{
    uint32_t up[NODES_MAX * NODES_MAX];
    uint32_t n = 0;

    for (uint32_t l = 0; l < s->nlinks && n < NODES_MAX * NODES_MAX; l++) {
        if (s->links[l]->end[0].state == END_UP && s->links[l]->end[1].state == END_UP &&
            !s->links[l]->mute) {
            up[n++] = l;
        }
    }
    return n == 0 ? NOBODY : up[sim_below(s, n)];
}

static void break_link(struct sim *s, bool half_open)
{
    uint32_t l = some_link(s);

    if (l == NOBODY) {
        return;
    }
    sim_note(s, "link %u-%u is %s", s->links[l]->end[0].node, s->links[l]->end[1].node,
             half_open ? "half-open" : "cut");
    if (!half_open) {
        sim_link_cut(s, l);
        return;
    }
    s->links[l]->mute = true;
    sim_link_end(s, l, (uint32_t)sim_below(s, 2), CL_HOW_TIMEOUT, true);
}

static void block(struct sim *s, uint32_t a, uint32_t b)
{
    s->blocked[a][b] = a != b;
}

/* Two sides; one way alone; one node alone; one bridge between two sides. */
static void part(struct sim *s)
{
    uint32_t kind = (uint32_t)sim_below(s, 4);
    uint32_t who = (uint32_t)sim_below(s, s->k.nodes);
    uint64_t side = sim_below(s, UINT64_C(1) << s->k.nodes);

    if (s->parted || s->k.nodes < 2) {
        return;
    }
    for (uint32_t a = 0; a < s->k.nodes; a++) {
        for (uint32_t b = 0; b < s->k.nodes; b++) {
            bool apart = (side >> a & 1) != (side >> b & 1);

            if (kind == 2 ? a == who || b == who : apart && (kind != 3 || (a != who && b != who))) {
                block(s, a, b);
            }
            if (kind == 1 && (side >> a & 1) != 0) {
                s->blocked[a][b] = false;
            }
        }
    }
    sim_note(s, "partition of kind %u, sides %llx, node %u", kind, (unsigned long long)side, who);
    s->parted = true;
    s->partitions++;
    sim_at(s, s->now + (sim_half(s) ? sim_between(s, 200, 5000) : sim_between(s, 5000, 40000)),
           EV_PART_ENDS, 0, 0);
}

void sim_part_ends(struct sim *s)
{
    if (s->parted) {
        sim_note(s, "the partition ends");
        memset(s->blocked, 0, sizeof s->blocked);
        s->parted = false;
        s->faults_at = s->now;
    }
}

static uint32_t members_of(const struct sim *s)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < s->k.nodes; i++) {
        n += s->node[i].member && !s->node[i].leaving && s->node[i].up;
    }
    return n;
}

/* A node that is in leaves, one that is out joins. */
static void operate(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];
    const struct cl_event leave = {.type = CL_EV_LEAVE};

    if (!p->member && lives_left(s)) {
        sim_note(s, "the operator adds node %u", n);
        p->member = true;
        sim_node_on(s, n);
    } else if (p->up && !p->leaving && p->stalled_until <= s->now && members_of(s) > 1) {
        sim_note(s, "the operator takes node %u out", n);
        p->leaving = true;
        for (uint32_t i = 0; i < CLIENTS_MAX; i++) {
            if (s->client[i].used && s->client[i].edge / EDGES_MAX == n && sim_half(s) &&
                s->edge[s->client[i].edge].stalled_until <= s->now) {
                sim_disconnect(s, i);
            }
        }
        sim_node_step(s, n, &leave);
    }
}

void sim_leave_go_on(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];

    if (cl_gone(p->cl)) {
        sim_note(s, "node %u has left", n);
        p->member = p->leaving = false;
        sim_node_off(s, n);
    }
}

static void break_node(struct sim *s, uint32_t n)
{
    uint32_t e = n * EDGES_MAX + (uint32_t)sim_below(s, s->node[n].edges);

    switch (sim_below(s, 4)) {
    case 0:
        if (s->k.owner_crash && lives_left(s)) {
            sim_node_crash(s, n);
            sim_at(s, back_at(s), EV_NODE_START, n, 0);
        }
        break;
    case 1:
        if (s->k.edge_crash && lives_left(s)) {
            sim_edge_crash(s, e);
            sim_at(s, back_at(s), EV_EDGE_START, e, 0);
        }
        break;
    case 2:
        if (s->k.cut) {
            sim_cut(s, e);
        }
        break;
    default:
        if (s->k.stall) {
            stall(s, n);
        }
        break;
    }
}

static void break_cluster(struct sim *s, uint32_t n)
{
    switch (sim_below(s, 5)) {
    case 0:
        if (s->k.node_crash && lives_left(s)) {
            lose_node(s, n);
        }
        break;
    case 1:
        if (s->k.link_cut) {
            break_link(s, false);
        }
        break;
    case 2:
        if (s->k.half_open) {
            break_link(s, true);
        }
        break;
    case 3:
        if (s->k.part) {
            part(s);
        }
        break;
    default:
        if (s->k.operator) {
            operate(s, n);
        }
        break;
    }
}

void sim_fault(struct sim *s)
{
    uint32_t n = (uint32_t)sim_below(s, s->k.nodes);

    if (s->healing) {
        return;
    }
    s->faults_at = s->faults_at > s->now ? s->faults_at : s->now;
    if (s->k.planned) {
        operate(s, n);
    } else if (!s->k.clustered || sim_half(s)) {
        break_node(s, n);
    } else {
        break_cluster(s, n);
    }
    sim_at(s, s->now + sim_between(s, 1, 2 * s->k.fault_every_ms), EV_FAULT, 0, 0);
}

void sim_heal(struct sim *s)
{
    s->healing = true;
    s->faults_at = s->now;
    s->k.udp_loss = s->k.udp_repeat = 0;
    sim_note(s, "heal");
    sim_part_ends(s);
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        s->node[n].stalled_until = 0;
        s->node[n].mem.refuse_in = 0;
        s->node[n].dark = false;
        sim_node_start(s, n);
        for (uint32_t k = 0; k < s->node[n].edges; k++) {
            s->edge[n * EDGES_MAX + k].stalled_until = 0;
            s->edge[n * EDGES_MAX + k].mem.refuse_in = 0;
            sim_edge_start(s, n * EDGES_MAX + k);
        }
    }
}
