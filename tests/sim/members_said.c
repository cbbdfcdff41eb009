/* SPDX-License-Identifier: Apache-2.0 */
/* members_said.c - what a process says: datagrams, frames, whom it holds for what. */
#include "tests/sim/members_in.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static bool first_seen(struct world *w, const struct cl_swim_member *m)
{
    uint64_t h = cl_mix64(m->id ^ cl_mix64(m->epoch ^ cl_mix64((uint64_t)m->inc << 8 | m->state)));

    for (size_t i = w->nfacts; i > 0; i--) {
        if (w->facts[i - 1] == h) {
            return false;
        }
    }
    if (w->nfacts == w->facts_cap) {
        w->facts_cap = w->facts_cap == 0 ? 256 : 2 * w->facts_cap;
        w->facts = realloc(w->facts, w->facts_cap * sizeof *w->facts);
        assert(w->facts != NULL);
    }
    w->facts[w->nfacts++] = h;
    return true;
}

static uint32_t name_of(struct world *w, uint64_t id)
{
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (w->procs[i].id == id) {
            return w->procs[i].name;
        }
    }
    assert(false);
    return 0;
}

static bool name_lives(struct world *w, uint32_t name)
{
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (w->procs[i].name == name && w->procs[i].s != NULL) {
            return true;
        }
    }
    return false;
}

static void on_member(struct world *w, struct proc *p, const struct cl_swim_action *a)
{
    uint32_t name = name_of(w, a->id);

    p->told[name] = (uint8_t)a->now;
    p->told_at[name] = w->now;
    if (first_seen(w, a->member)) {
        w->last_fact = w->now;
    }
    if (a->now == CL_SWIM_DEAD && name_lives(w, name) && !w->allow_deaths &&
        (w->wrong_at[name] == 0 || w->now - w->wrong_at[name] > 10000)) {
        w->wrong_deaths++;
        w->wrong_at[name] = w->now;
    }
}

static void send_datagram(struct world *w, struct proc *p, const struct cl_swim_action *a)
{
    struct proc *peer = world_at(w, &a->addr);
    struct ev ev = {.at = w->now + world_delay(w) - 1, .type = EV_UDP, .from = p->slot};

    assert(a->bytes.n <= PR_GOSSIP_MAX);
    w->datagrams++;
    w->datagram_bytes += a->bytes.n;
    if (peer == NULL || p->blocked[peer->slot] || world_chance(w, w->loss)) {
        return;
    }
    ev.to = peer->slot;
    ev.life = peer->life;
    ev.bytes = world_copy(a->bytes);
    ev.n = a->bytes.n;
    world_push(w, ev);
}

static void new_epoch(struct world *w, struct proc *p, uint64_t epoch)
{
    p->epoch = epoch;
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (p->side[i].up) {
            link_close(w, p, w->procs[i].id);
        }
    }
}

static void act(struct world *w, struct proc *p, const struct cl_swim_action *a)
{
    struct proc *peer = NULL;

    w->trace = cl_mix64(w->trace ^ a->id ^ (uint64_t)a->type << 56 ^ w->now);
    if (a->bytes.n > 0) {
        w->trace = cl_mix64(w->trace ^ cl_hash64(a->bytes));
    }
    switch (a->type) {
    case CL_SWIM_A_MEMBER:
        on_member(w, p, a);
        break;
    case CL_SWIM_A_UDP:
        send_datagram(w, p, a);
        break;
    case CL_SWIM_A_LINK:
        peer = link_peer(w, p, a->id);
        assert(peer != NULL);
        link_send(w, p, peer, a->bytes);
        break;
    case CL_SWIM_A_DIAL:
        link_dial(w, p, &a->addr);
        break;
    case CL_SWIM_A_CLOSE:
        link_close(w, p, a->id);
        break;
    case CL_SWIM_A_EPOCH:
        new_epoch(w, p, a->epoch);
        break;
    case CL_SWIM_A_FATAL:
        p->fatal = true;
        break;
    }
}

static void look(struct world *w, struct proc *p)
{
    struct cl_ring_member ring[CL_NODES_MAX];
    const char *what = NULL;
    uint32_t n = cl_swim_members(p->s, ring);
    uint64_t view = n;

    for (uint32_t i = 0; i < n; i++) {
        view = cl_mix64(view ^ cl_mix64(ring[i].id + ring[i].weight));
    }
    p->view = view;
    cl_swim_set_view(p->s, view);
    if (w->check && !cl_swim_check(p->s, &what)) {
        fprintf(stderr, "at %llu ms, process %u: %s\n", (unsigned long long)w->now, p->slot, what);
        abort();
    }
}

void world_drain(struct world *w, struct proc *p)
{
    struct ev tick = {.type = EV_TICK, .to = p->slot, .life = p->life};
    struct cl_swim_action a;
    bool changed = false;

    while (cl_swim_next(p->s, &a)) {
        changed = changed || a.type == CL_SWIM_A_MEMBER;
        act(w, p, &a);
        if (p->fatal) {
            world_stop(w, p, END_CLOSED);
            return;
        }
    }
    if (changed || w->check) {
        look(w, p);
    }
    tick.at = cl_swim_deadline(p->s);
    tick.at = tick.at > w->now ? tick.at : w->now;
    if (tick.at < p->wake) {
        p->wake = tick.at;
        world_push(w, tick);
    }
}
