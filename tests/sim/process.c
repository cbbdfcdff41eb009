/* SPDX-License-Identifier: Apache-2.0 */
/* process.c - the life of the owner and of the edges: start, death, a cut between them. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

void sim_owner_start(struct sim *s)
{
    struct owner_proc *o = &s->owner;
    struct cl_config cfg = {
        .name = pr_str("sim"), .id = 1, .edges = s->k.edges, .lim = &s->lim, .mem = &o->mem.alloc};

    if (o->up) {
        return;
    }
    o->life++;
    sim_note(s, "owner starts, life", o->life);
    sim_heap_init(s, &o->mem, 100 + o->life);
    cfg.epoch = 1000 + o->life;
    o->cl = cl_new(&cfg, cl_rand_seed(s->seed ^ o->life << 20), s->now);
    if (o->cl == NULL) { /* refused: the supervisor tries again */
        sim_at(s, s->now + 50, EV_OWNER_START, 0, 0);
        return;
    }
    o->up = true;
    o->stalled_until = 0;
    o->tick_at = UINT64_MAX;
    for (uint32_t e = 0; e < EDGES_MAX; e++) {
        o->conn[e] = NOBODY;
    }
    sim_after_owner(s);
}

static void owner_free(struct sim *s)
{
    cl_free(s->owner.cl);
    s->owner.cl = NULL;
    s->owner.up = false;
    if (s->owner.mem.bytes != 0) {
        sim_fail(s, "the owner leaks %zu bytes", s->owner.mem.bytes);
    }
}

void sim_owner_crash(struct sim *s)
{
    if (!s->owner.up) {
        return;
    }
    sim_note(s, "owner dies, life", s->owner.life);
    s->crashes++;
    for (uint32_t i = 0; i < s->nconns; i++) {
        struct conn *c = s->conns[i];

        if (c->owner_life == s->owner.life) {
            sim_drain(s, c, &c->up);
            c->up.shut = true;
            sim_end_pipe(s, i, false);
        }
    }
    owner_free(s);
}

void sim_edge_start(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];
    struct cle_config cfg = {
        .index = e, .topics_max = 128, .presences_max = 1024, .mem = &p->mem.alloc};

    if (p->up || s->lives == LIVES_MAX) {
        return;
    }
    sim_note(s, "edge starts", e);
    p->life = s->lives++;
    p->boot = cl_mix64(s->seed * 100 + p->life + 1);
    s->boot_of[p->life] = p->boot;
    sim_heap_init(s, &p->mem, p->life);
    cfg.boot = p->boot;
    p->conn = NOBODY;
    p->linked = false;
    p->backoff = BACKOFF_MIN_MS;
    p->stalled_until = 0;
    p->tick_at = UINT64_MAX;
    p->nview = 0;
    memset(p->refs, 0, sizeof p->refs);
    memset(p->wants, 0, sizeof p->wants);
    p->c = cle_new(&cfg, s->now);
    if (p->c == NULL) {
        sim_at(s, s->now + 50, EV_EDGE_START, e, 0);
        return;
    }
    p->up = true;
    sim_connect(s, e);
    sim_after_edge(s, e);
}

static void edge_free(struct sim *s, uint32_t e)
{
    cle_free(s->edge[e].c);
    s->edge[e].c = NULL;
    s->edge[e].up = false;
    if (s->edge[e].mem.bytes != 0) {
        sim_fail(s, "edge %u leaks %zu bytes", e, s->edge[e].mem.bytes);
    }
}

void sim_edge_crash(struct sim *s, uint32_t e)
{
    struct edge_proc *p = &s->edge[e];

    if (!p->up) {
        return;
    }
    sim_note(s, "edge dies", e);
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

void sim_cut(struct sim *s, uint32_t e)
{
    uint32_t conn = s->edge[e].conn;

    if (conn == NOBODY) {
        return;
    }
    sim_note(s, "cut edge", e);
    sim_drain(s, s->conns[conn], &s->conns[conn]->up);
    sim_drain(s, s->conns[conn], &s->conns[conn]->down);
    /* an end of stream that was under way is lost too, and comes anew */
    s->conns[conn]->up.shut = s->conns[conn]->down.shut = false;
    sim_end_pipe(s, conn, true);
    sim_end_pipe(s, conn, false);
}

void sim_net_free(struct sim *s)
{
    for (uint32_t e = 0; e < EDGES_MAX; e++) {
        if (s->edge[e].up) {
            edge_free(s, e);
        }
        free(s->edge[e].view);
    }
    if (s->owner.up) {
        owner_free(s);
    }
    for (uint32_t i = 0; i < s->nconns; i++) {
        sim_drain(s, s->conns[i], &s->conns[i]->up);
        sim_drain(s, s->conns[i], &s->conns[i]->down);
        free(s->conns[i]);
    }
    free(s->conns);
}
