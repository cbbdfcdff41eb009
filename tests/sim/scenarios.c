/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios.c - what a seed draws, and what then happens: work, faults, healing. */
#include "tests/sim/sim.h"

#include <string.h>

static uint32_t between(struct sim *s, uint32_t lo, uint32_t hi)
{
    return lo + (uint32_t)sim_below(s, hi - lo + 1);
}

/* Half of the seeds without it: a fault that is always there hides what another alone would do. */
static bool half(struct sim *s)
{
    return sim_below(s, 2) == 0;
}

static void draw_knobs(struct sim *s)
{
    static const uint32_t clients[] = {1, 3, 8, 20, 50, 200};
    struct knobs *k = &s->k;

    k->edges = between(s, 1, EDGES_MAX);
    k->clients = (uint32_t)sim_below(s, clients[sim_below(s, 6)] + 1);
    k->topics = half(s) ? between(s, 1, 4) : between(s, 1, TOPICS_MAX);
    k->delay_max_ms = half(s) ? 1 : between(s, 0, 60);
    k->work_every_ms = between(s, 1, 60);
    k->fault_every_ms = between(s, 200, 4000);
    k->down_max_ms = half(s) ? 50 : 5000;
    k->owner_crash = half(s);
    k->edge_crash = half(s);
    k->cut = half(s);
    k->stall = half(s);
    k->refuse = sim_below(s, 8) == 0;
    k->work_until = k->work_every_ms * between(s, 100, 900);
    s->lim = (struct cl_limits){.edges = EDGES_MAX,
                                .topics = 128,
                                .presences = 4096,
                                .presences_per_topic = 4096,
                                .presence_bytes = 1u << 22,
                                .pending_bytes = 1u << 22,
                                .kept_bytes = 1u << 22,
                                .actions = 4096};
}

void sim_draw(struct sim *s)
{
    draw_knobs(s);
    for (uint32_t i = 0; i < s->k.topics; i++) {
        struct topic *t = &s->topic[i];
        static const char project[] = "sim\0000t";

        memcpy(t->key, project, sizeof project - 1);
        t->key_len = sizeof project - 1;
        t->key[t->key_len++] = (uint8_t)('0' + i / 10);
        t->key[t->key_len++] = (uint8_t)('0' + i % 10);
    }
    for (uint32_t i = 0; i < 4096; i++) {
        s->pub_hash[i] = NOBODY;
    }
    for (uint32_t e = 0; e < EDGES_MAX; e++) {
        s->owner.conn[e] = NOBODY;
        s->edge[e].conn = NOBODY;
    }
    sim_owner_start(s);
    for (uint32_t e = 0; e < s->k.edges; e++) {
        sim_edge_start(s, e);
    }
    sim_at(s, 10, EV_WORK, 0, 0);
    if (s->k.owner_crash || s->k.edge_crash || s->k.cut || s->k.stall) {
        sim_at(s, s->k.fault_every_ms, EV_FAULT, 0, 0);
    }
}

/* Zipf by halving: each next quarter of the topics is half as likely. */
static uint32_t draw_topic(struct sim *s)
{
    uint32_t n = s->k.topics;

    while (n > 1 && half(s)) {
        n = (n + 1) / 2;
    }
    return (uint32_t)sim_below(s, n);
}

static bool edge_works(const struct sim *s, uint32_t e)
{
    return s->edge[e].up && s->edge[e].stalled_until <= s->now;
}

static void connect_client(struct sim *s, uint32_t i)
{
    uint32_t e = (uint32_t)sim_below(s, s->k.edges);

    if (edge_works(s, e)) {
        s->client[i].used = true;
        s->client[i].edge = e;
        sim_join(s, i, draw_topic(s), sim_below(s, 4) != 0);
    }
}

static void client_work(struct sim *s, uint32_t i)
{
    struct client *c = &s->client[i];
    uint32_t k = (uint32_t)sim_below(s, JOINS_MAX);
    uint64_t what = sim_below(s, 100);

    if (!edge_works(s, c->edge)) {
        return;
    }
    if (what < 15) {
        sim_join(s, i, draw_topic(s), sim_below(s, 4) != 0);
    } else if (what < 20) {
        sim_leave(s, i, k);
    } else if (what < 60) {
        sim_publish(s, c->edge, c->m[k].used ? c->m[k].topic : draw_topic(s), half(s));
    } else if (what < 80) {
        sim_track(s, i, k);
    } else if (what < 95) {
        sim_untrack(s, i, k);
    } else {
        sim_disconnect(s, i);
    }
}

void sim_work(struct sim *s)
{
    if (s->healing) {
        return;
    }
    if (s->k.clients > 0) {
        uint32_t i = (uint32_t)sim_below(s, s->k.clients);

        if (s->client[i].used) {
            client_work(s, i);
        } else {
            connect_client(s, i);
        }
    } else {
        uint32_t e = (uint32_t)sim_below(s, s->k.edges);

        if (edge_works(s, e)) {
            sim_publish(s, e, draw_topic(s), half(s));
        }
    }
    sim_at(s, s->now + sim_below(s, 2 * s->k.work_every_ms), EV_WORK, 0, 0);
}

static void stall(struct sim *s)
{
    cl_ms until = s->now + between(s, 10, 2000);
    uint32_t who = (uint32_t)sim_below(s, s->k.edges + 1);

    if (who == s->k.edges) {
        s->owner.stalled_until = until;
        sim_note(s, "owner stalls", 0);
    } else {
        s->edge[who].stalled_until = until;
        sim_note(s, "edge stalls", who);
    }
}

void sim_fault(struct sim *s)
{
    uint32_t e = (uint32_t)sim_below(s, s->k.edges);
    cl_ms back = s->now + sim_below(s, s->k.down_max_ms + 1);

    if (s->healing) {
        return;
    }
    switch (sim_below(s, 4)) {
    case 0:
        if (s->k.owner_crash) {
            sim_owner_crash(s);
            sim_at(s, back, EV_OWNER_START, 0, 0);
        }
        break;
    case 1:
        if (s->k.edge_crash && s->lives < LIVES_MAX - 2 * EDGES_MAX) {
            sim_edge_crash(s, e);
            sim_at(s, back, EV_EDGE_START, e, 0);
        }
        break;
    case 2:
        if (s->k.cut) {
            sim_cut(s, e);
        }
        break;
    default:
        if (s->k.stall) {
            stall(s);
        }
        break;
    }
    sim_at(s, s->now + between(s, 1, 2 * s->k.fault_every_ms), EV_FAULT, 0, 0);
}

void sim_heal(struct sim *s)
{
    s->healing = true;
    s->owner.stalled_until = 0;
    s->owner.mem.refuse_in = 0;
    sim_note(s, "heal", 0);
    if (!s->owner.up) {
        sim_owner_start(s);
    }
    for (uint32_t e = 0; e < s->k.edges; e++) {
        s->edge[e].stalled_until = 0;
        s->edge[e].mem.refuse_in = 0;
        if (!s->edge[e].up) {
            sim_edge_start(s, e);
        }
    }
}
