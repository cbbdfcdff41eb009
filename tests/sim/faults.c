/* SPDX-License-Identifier: Apache-2.0 */
/* faults.c - what breaks, what the operator does, and how all is made good again. */
#include "tests/sim/sim.h"

#include <string.h>

/* After one fault another follows within this, so that it meets what the first has set off. */
#define SOON_MS 300u

/* What breaks is drawn from a generator of its own, and kept: with a list of faults that was kept,
 * or with a part of it, a run goes the same way. */
static uint64_t below(struct sim *s, uint64_t n)
{
    return cl_rand_below(&s->fault_rand, n);
}

static uint32_t between(struct sim *s, uint32_t lo, uint32_t hi)
{
    return lo + (uint32_t)below(s, hi - lo + 1);
}

static bool half(struct sim *s)
{
    return below(s, 2) == 0;
}

/* ---- what may be broken now ---- */

/* Processes that a run may still start for faults: the rest is for healing. */
static bool lives_left(const struct sim *s)
{
    return s->lives + 2 * ALL_EDGES < LIVES_MAX && s->runs + 3 * NODES_MAX < RUNS_MAX;
}

static bool link_up(const struct link *l)
{
    return l->end[0].state == END_UP && l->end[1].state == END_UP && !l->mute;
}

static void draw_link(struct sim *s, struct fault *f)
{
    uint32_t up[NODES_MAX * NODES_MAX];
    uint32_t n = 0;

    for (uint32_t l = 0; l < s->nlinks && n < NODES_MAX * NODES_MAX; l++) {
        if (link_up(s->links[l])) {
            up[n++] = l;
        }
    }
    if (n > 0) {
        const struct link *l = s->links[up[below(s, n)]];

        f->who = l->end[0].node;
        f->other = l->end[1].node;
        f->end = (uint32_t)below(s, 2);
    } else {
        f->kind = FAULT_NONE;
    }
}

static void draw_stall(struct sim *s, struct fault *f)
{
    uint32_t who = (uint32_t)below(s, s->node[f->who].edges + 1);

    f->ms = between(s, s->k.clustered ? 100 : 10, s->k.clustered && half(s) ? 20000 : 2000);
    if (who < s->node[f->who].edges) {
        f->kind = FAULT_STALL_EDGE;
        f->who = f->who * EDGES_MAX + who;
    }
}

/* Two sides; one way alone; one node alone; one bridge between two sides. */
static void draw_partition(struct sim *s, struct fault *f)
{
    uint32_t kind = (uint32_t)below(s, 4);
    uint32_t who = (uint32_t)below(s, s->k.nodes);
    uint64_t side = below(s, UINT64_C(1) << s->k.nodes);

    f->ms = half(s) ? between(s, 200, 5000) : between(s, 5000, 40000);
    for (uint32_t a = 0; a < s->k.nodes; a++) {
        for (uint32_t b = 0; b < s->k.nodes; b++) {
            bool apart = (side >> a & 1) != (side >> b & 1);
            bool yes =
                kind == 2 ? a == who || b == who : apart && (kind != 3 || (a != who && b != who));

            if (yes && a != b && !(kind == 1 && (side >> a & 1) != 0)) {
                f->blocked[a] |= 1u << b;
            }
        }
    }
}

/* The whole host: its processes end, or it is switched off. It may come back elsewhere. */
static void draw_node_loss(struct sim *s, struct fault *f)
{
    f->dark = half(s);
    f->moves = s->k.move && half(s);
    f->wall = s->k.wall && half(s);
    f->wall_ms = f->wall ? (int64_t)below(s, 7200000) - 3600000 : 0;
    f->ms = (uint32_t)below(s, (uint64_t)s->k.down_max_ms + 1);
}

static enum fault_kind draw_kind(struct sim *s)
{
    static const enum fault_kind inside[] = {FAULT_OWNER_CRASH, FAULT_EDGE_CRASH, FAULT_CUT,
                                             FAULT_STALL_OWNER};
    static const enum fault_kind between_nodes[] = {
        FAULT_NODE_LOST, FAULT_LINK_CUT, FAULT_HALF_OPEN, FAULT_PARTITION, FAULT_OPERATOR};

    if (s->k.planned) {
        return FAULT_OPERATOR;
    }
    if (s->k.owners) {
        return FAULT_OWNER_CRASH;
    }
    return !s->k.clustered || half(s) ? inside[below(s, 4)] : between_nodes[below(s, 5)];
}

static struct fault draw(struct sim *s)
{
    const struct knobs *k = &s->k;
    struct fault f = {.at = s->now, .who = (uint32_t)below(s, k->nodes), .kind = draw_kind(s)};
    const uint32_t may[FAULT_KINDS] = {[FAULT_OWNER_CRASH] = k->owner_crash,
                                       [FAULT_EDGE_CRASH] = k->edge_crash,
                                       [FAULT_CUT] = k->cut,
                                       [FAULT_STALL_OWNER] = k->stall,
                                       [FAULT_NODE_LOST] = k->node_crash,
                                       [FAULT_LINK_CUT] = k->link_cut,
                                       [FAULT_HALF_OPEN] = k->half_open,
                                       [FAULT_PARTITION] = k->part,
                                       [FAULT_OPERATOR] = k->operator};

    if (may[f.kind] == 0) {
        f.kind = FAULT_NONE;
    }
    switch (f.kind) {
    case FAULT_OWNER_CRASH:
        f.ms = (uint32_t)below(s, (uint64_t)k->down_max_ms + 1);
        break;
    case FAULT_EDGE_CRASH:
        f.ms = (uint32_t)below(s, (uint64_t)k->down_max_ms + 1);
        f.who = f.who * EDGES_MAX + (uint32_t)below(s, s->node[f.who].edges);
        break;
    case FAULT_CUT:
        f.who = f.who * EDGES_MAX + (uint32_t)below(s, s->node[f.who].edges);
        break;
    case FAULT_STALL_OWNER:
        draw_stall(s, &f);
        break;
    case FAULT_NODE_LOST:
        draw_node_loss(s, &f);
        break;
    case FAULT_LINK_CUT:
    case FAULT_HALF_OPEN:
        draw_link(s, &f);
        break;
    case FAULT_PARTITION:
        draw_partition(s, &f);
        break;
    case FAULT_OPERATOR:
        f.ms = (uint32_t)below(s, UINT32_MAX);
        break;
    case FAULT_NONE:
    case FAULT_STALL_EDGE:
    case FAULT_KINDS:
        break;
    }
    return f;
}

/* ---- and what happens then ---- */

static void stall(struct sim *s, const struct fault *f)
{
    cl_ms until = s->now + f->ms;

    if (f->kind == FAULT_STALL_OWNER) {
        s->node[f->who].stalled_until = until;
        sim_note(s, "owner of node %u stalls", f->who);
    } else {
        s->edge[f->who].stalled_until = until;
        sim_note(s, "edge %u stalls", f->who);
    }
    s->faults_at = until;
}

static void lose_node(struct sim *s, const struct fault *f)
{
    struct node_proc *p = &s->node[f->who];

    if (!p->up || p->leaving) {
        return;
    }
    p->dark = f->dark;
    sim_note(s, "node %u is lost%s", f->who, p->dark ? ", dark" : "");
    sim_node_off(s, f->who);
    if (f->moves) {
        p->addr = sim_addr(f->who, ++p->moves);
    }
    if (f->wall) {
        p->wall_ms = f->wall_ms;
    }
    sim_at(s, s->now + f->ms, EV_NODE_START, f->who, 1);
}

static void break_link(struct sim *s, const struct fault *f)
{
    uint32_t l = 0;

    while (l < s->nlinks && !(link_up(s->links[l]) && s->links[l]->end[0].node == f->who &&
                              s->links[l]->end[1].node == f->other)) {
        l++;
    }
    if (l == s->nlinks) {
        return;
    }
    sim_note(s, "link %u-%u is %s", f->who, f->other,
             f->kind == FAULT_HALF_OPEN ? "half-open" : "cut");
    if (f->kind == FAULT_LINK_CUT) {
        sim_link_cut(s, l);
        return;
    }
    s->links[l]->mute = true;
    sim_link_end(s, l, f->end, CL_HOW_TIMEOUT, true);
}

static void part(struct sim *s, const struct fault *f)
{
    if (s->parted || s->k.nodes < 2) {
        return;
    }
    for (uint32_t a = 0; a < s->k.nodes; a++) {
        for (uint32_t b = 0; b < s->k.nodes; b++) {
            s->blocked[a][b] = (f->blocked[a] >> b & 1u) != 0;
        }
    }
    sim_note(s, "a partition");
    s->parted = true;
    s->partitions++;
    sim_at(s, s->now + f->ms, EV_PART_ENDS, 0, 0);
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

/* A node that is in leaves, with half of its clients gone before; one that is out joins. */
static void operate(struct sim *s, const struct fault *f)
{
    uint32_t n = f->who;
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
            if (s->client[i].used && s->client[i].edge / EDGES_MAX == n &&
                (cl_mix64(f->ms + i) & 1) != 0 &&
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

static void strike(struct sim *s, const struct fault *f)
{
    switch (f->kind) {
    case FAULT_OWNER_CRASH:
        if (lives_left(s)) {
            sim_node_crash(s, f->who);
            sim_at(s, s->now + f->ms, EV_NODE_START, f->who, 0);
        }
        break;
    case FAULT_EDGE_CRASH:
        if (lives_left(s)) {
            sim_edge_crash(s, f->who);
            sim_at(s, s->now + f->ms, EV_EDGE_START, f->who, 0);
        }
        break;
    case FAULT_CUT:
        sim_cut(s, f->who);
        break;
    case FAULT_STALL_OWNER:
    case FAULT_STALL_EDGE:
        stall(s, f);
        break;
    case FAULT_NODE_LOST:
        if (lives_left(s)) {
            lose_node(s, f);
        }
        break;
    case FAULT_LINK_CUT:
    case FAULT_HALF_OPEN:
        break_link(s, f);
        break;
    case FAULT_PARTITION:
        part(s, f);
        break;
    case FAULT_OPERATOR:
        operate(s, f);
        break;
    case FAULT_NONE:
    case FAULT_KINDS:
        break;
    }
}

void sim_fault(struct sim *s)
{
    struct plan *p = &s->plan;
    uint32_t next = s->struck + 1;
    bool soon = false;

    if (s->healing) {
        return;
    }
    s->faults_at = s->faults_at > s->now ? s->faults_at : s->now;
    if (!s->given) {
        p->faults = sim_grow(p->faults, p->nfaults, &p->room, sizeof *p->faults);
        p->faults[p->nfaults++] = draw(s);
    }
    strike(s, &p->faults[s->struck]);
    s->struck = next;
    if (s->given) {
        if (next < p->nfaults) {
            sim_at(s, p->faults[next].at, EV_FAULT, 0, 0);
        }
        return;
    }
    soon = (s->k.burst || s->k.owners) && half(s);
    sim_at(s, s->now + between(s, 1, soon ? SOON_MS : 2 * s->k.fault_every_ms), EV_FAULT, 0, 0);
}

static void later(cl_ms *at, cl_ms than)
{
    *at = than > *at ? than : *at;
}

/* Who stalls goes on when that is over: what was put off until then comes then. */
void sim_heal(struct sim *s)
{
    s->healing = true;
    s->faults_at = s->now;
    s->k.udp_loss = s->k.udp_repeat = 0;
    sim_note(s, "heal");
    sim_part_ends(s);
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        s->node[n].mem.refuse_in = 0;
        s->node[n].dark = false;
        sim_node_start(s, n);
        later(&s->faults_at, s->node[n].stalled_until);
        for (uint32_t k = 0; k < s->node[n].edges; k++) {
            s->edge[n * EDGES_MAX + k].mem.refuse_in = 0;
            sim_edge_start(s, n * EDGES_MAX + k);
            later(&s->faults_at, s->edge[n * EDGES_MAX + k].stalled_until);
        }
    }
}
