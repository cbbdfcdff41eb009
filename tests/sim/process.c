/* SPDX-License-Identifier: Apache-2.0 */
/* process.c - the life of nodes and of their processes: start, death, a cut between them. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

/* Time of day when the world starts, in ms. */
#define WALL_MS INT64_C(1700000000000)

static uint64_t new_epoch(struct sim *s, const struct node_proc *p)
{
    int64_t wall = WALL_MS + (int64_t)s->now + p->wall_ms;

    return (uint64_t)wall << 12 | sim_below(s, 4096);
}

static struct cl *new_core(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];
    struct cl_config cfg = {.name = pr_str(p->name),
                            .id = p->id,
                            .epoch = p->epoch,
                            .edges = p->edges,
                            .clustered = s->k.clustered,
                            .lim = &s->lim,
                            .mem = &p->mem.alloc};

    cfg.about = (struct cl_about){.addr = p->addr,
                                  .cluster = cl_hash64(pr_str("sim")),
                                  .weight = p->weight,
                                  .build = pr_str("1")};
    return cl_new(&cfg, cl_rand_seed(s->seed ^ (uint64_t)(s->runs + 1) << 20), sim_clock(s, n));
}

/* Nothing of the life before is known to the new process. */
static void forget(struct node_proc *p)
{
    p->stalled_until = 0;
    p->tick_at = UINT64_MAX;
    p->reader = 0;
    p->leaving = false;
    p->taken.n = 0;
    memset(p->peer, 0, sizeof p->peer);
    memset(p->actors, 0, sizeof p->actors);
    memset(p->heard_edge, 0, sizeof p->heard_edge);
    memset(p->heard_node, 0, sizeof p->heard_node);
    memset(p->away, 0, sizeof p->away);
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        p->peer[i].link = p->peer[i].dial[0].link = p->peer[i].dial[1].link = NOBODY;
    }
    for (uint32_t t = 0; t < TOPICS_MAX; t++) {
        p->topic[t].follows = NOBODY;
    }
    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        p->conn[k] = NOBODY;
    }
}

void sim_node_start(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];

    if (p->up || !p->member || s->runs == RUNS_MAX) {
        return;
    }
    p->starts++;
    p->dark = false;
    sim_heap_init(s, &p->mem, 1000 + 100 * n + p->starts);
    p->epoch = new_epoch(s, p);
    p->cl = new_core(s, n);
    if (p->cl == NULL) { /* refused: the supervisor tries again */
        sim_at(s, s->now + 50, EV_NODE_START, n, 0);
        return;
    }
    p->run = s->runs++;
    s->run_of[p->run].node = n;
    s->run_of[p->run].boot = p->epoch;
    sim_note(s, "node %u starts, run %u", n, p->run);
    p->up = true;
    forget(p);
    if (s->k.clustered) {
        sim_at(s, s->now, EV_SEEDS, n, p->run);
    }
    sim_after_node(s, n);
}

void sim_node_on(struct sim *s, uint32_t n)
{
    sim_node_start(s, n);
    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        sim_edge_start(s, n * EDGES_MAX + k);
    }
}

static void node_free(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];

    cl_free(p->cl);
    p->cl = NULL;
    p->up = false;
    if (p->mem.bytes != 0) {
        sim_fail(s, "node %u leaks %zu bytes", n, p->mem.bytes);
    }
}

void sim_node_crash(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];

    if (!p->up) {
        return;
    }
    sim_note(s, "owner of node %u dies, run %u", n, p->run);
    s->crashes++;
    for (uint32_t i = 0; i < s->nconns; i++) {
        struct conn *c = s->conns[i];

        if (c->run == p->run) {
            sim_drain(s, c, &c->up);
            c->up.shut = true;
            sim_end_pipe(s, i, false);
        }
    }
    sim_links_of_dead(s, n, p->dark);
    node_free(s, n);
}

void sim_edge_start(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];
    struct cle_config cfg = {
        .index = e % EDGES_MAX, .topics_max = 128, .presences_max = 1024, .mem = &p->mem.alloc};

    if (p->up || !p->used || !s->node[e / EDGES_MAX].member || s->lives == LIVES_MAX) {
        return;
    }
    sim_note(s, "edge %u starts", e);
    p->life = s->lives++;
    p->boot = cl_mix64(s->seed * 1000 + p->life + 1);
    s->boot_of[p->life] = p->boot;
    sim_heap_init(s, &p->mem, p->life);
    cfg.boot = p->boot;
    p->conn = NOBODY;
    p->linked = false;
    p->backoff = BACKOFF_MIN_MS;
    p->stalled_until = 0;
    p->tick_at = UINT64_MAX;
    p->nview = 0;
    p->c = cle_new(&cfg, s->now);
    if (p->c == NULL) {
        s->dead_at[p->life] = s->now + 1;
        sim_at(s, s->now + 50, EV_EDGE_START, e, 0);
        return;
    }
    p->up = true;
    sim_connect(s, e);
    sim_after_edge(s, e);
}

static void edge_free(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];

    cle_free(p->c);
    p->c = NULL;
    p->up = false;
    s->dead_at[p->life] = s->now + 1;
    memset(p->refs, 0, sizeof p->refs);
    memset(p->wants, 0, sizeof p->wants);
    if (p->mem.bytes != 0) {
        sim_fail(s, "edge %u leaks %zu bytes", e, p->mem.bytes);
    }
}

void sim_edge_crash(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];

    if (!p->up) {
        return;
    }
    sim_note(s, "edge %u dies", e);
    s->crashes++;
    sim_clients_gone(s, e);
    if (p->conn != NOBODY) {
        sim_drain(s, s->conns[p->conn], &s->conns[p->conn]->down);
        s->conns[p->conn]->down.shut = true;
        sim_end_pipe(s, p->conn, true);
        p->conn = NOBODY;
    }
    edge_free(s, e);
}

void sim_node_off(struct sim *s, uint32_t n)
{
    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        sim_edge_crash(s, n * EDGES_MAX + k);
    }
    sim_node_crash(s, n);
}

void sim_cut(struct sim *s, uint32_t e)
{
    uint32_t conn = s->edge[e].conn;

    if (conn == NOBODY) {
        return;
    }
    sim_note(s, "cut edge %u", e);
    sim_drain(s, s->conns[conn], &s->conns[conn]->up);
    sim_drain(s, s->conns[conn], &s->conns[conn]->down);
    /* an end of stream that was under way is lost too, and comes anew */
    s->conns[conn]->up.shut = s->conns[conn]->down.shut = false;
    sim_end_pipe(s, conn, true);
    sim_end_pipe(s, conn, false);
}

void sim_processes_free(struct sim *s)
{
    for (uint32_t e = 0; e < ALL_EDGES; e++) {
        if (s->edge[e].up) {
            edge_free(s, e);
        }
        free(s->edge[e].view);
    }
    for (uint32_t n = 0; n < NODES_MAX; n++) {
        if (s->node[n].up) {
            node_free(s, n);
        }
    }
    for (uint32_t i = 0; i < s->nconns; i++) {
        sim_drain(s, s->conns[i], &s->conns[i]->up);
        sim_drain(s, s->conns[i], &s->conns[i]->down);
        free(s->conns[i]);
    }
    free(s->conns);
}
