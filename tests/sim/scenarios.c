/* SPDX-License-Identifier: Apache-2.0 */
/* scenarios.c - what a seed draws, and the work of the clients. */
#include "tests/sim/sim.h"

#include <string.h>

uint32_t sim_between(struct sim *s, uint32_t lo, uint32_t hi)
{
    return lo + (uint32_t)sim_below(s, hi - lo + 1);
}

/* Half of the seeds without it: a fault that is always there hides what another alone would do. */
bool sim_half(struct sim *s)
{
    return sim_below(s, 2) == 0;
}

/* What there may be inside of one node. */
static void draw_knobs(struct sim *s)
{
    static const uint32_t clients[] = {1, 3, 8, 20, 50, 200};
    struct knobs *k = &s->k;

    k->nodes = k->first_nodes = k->seeds = 1;
    k->edges = sim_between(s, 1, EDGES_MAX);
    k->clients = (uint32_t)sim_below(s, clients[sim_below(s, 6)] + 1);
    k->topics = sim_half(s) ? sim_between(s, 1, 4) : sim_between(s, 1, TOPICS_MAX);
    k->delay_max_ms = sim_half(s) ? 1 : sim_between(s, 0, 60);
    k->work_every_ms = sim_between(s, 1, 60);
    k->fault_every_ms = sim_between(s, 200, 4000);
    k->down_max_ms = sim_half(s) ? 50 : 5000;
    k->owner_crash = sim_half(s);
    k->edge_crash = sim_half(s);
    k->cut = sim_half(s);
    k->stall = sim_half(s);
    k->refuse = sim_below(s, 8) == 0;
    k->tight = sim_below(s, 4) == 0;
    k->work_from = 10;
    k->work_until = k->work_every_ms * sim_between(s, 100, 900);
}

/* Changes that an operator plans, over a network that loses datagrams: nothing else breaks. */
static void plan(struct knobs *k)
{
    k->planned = true;
    k->operator= true;
    k->owner_crash = k->edge_crash = k->cut = k->stall = k->refuse = k->tight = false;
    k->node_crash = k->link_cut = k->half_open = k->part = k->overflow = false;
    k->move = k->wall = false;
}

/* Owner processes die, each comes back as fast as its supervisor starts it, and finds the others by
 * itself. */
static void kill(struct sim *s, struct knobs *k)
{
    k->owners = k->owner_crash = true;
    k->edge_crash = k->cut = k->stall = k->refuse = k->tight = false;
    k->node_crash = k->link_cut = k->half_open = k->part = k->overflow = k->burst = false;
    k->move = k->wall = k->operator= false;
    k->work_every_ms = sim_between(s, 20, 60);
    k->fault_every_ms = sim_between(s, 4000, 8000);
    k->down_max_ms = 300;
}

static void draw_cluster(struct sim *s)
{
    static const uint32_t nodes[] = {1, 2, 2, 3, 3, 3, 4, 5, 7, 9};
    struct knobs *k = &s->k;

    k->clustered = true;
    k->nodes = nodes[sim_below(s, 10)];
    k->edges = sim_between(s, 1, 3);
    k->link_delay_ms = sim_half(s) ? 1 : sim_between(s, 0, 60);
    k->udp_delay_ms = sim_half(s) ? 1 : sim_between(s, 0, 50);
    k->udp_loss = sim_half(s) ? 0 : sim_between(s, 0, 200);
    k->udp_repeat = sim_half(s) ? 0 : sim_between(s, 0, 50);
    k->node_crash = sim_half(s);
    k->link_cut = sim_half(s);
    k->half_open = sim_half(s);
    k->part = sim_half(s);
    k->overflow = sim_half(s);
    k->burst = sim_half(s);
    k->move = sim_half(s);
    k->wall = sim_half(s);
    k->operator= sim_half(s);
    if (sim_half(s)) {
        k->down_max_ms = 30000;
    }
    if (sim_below(s, 4) == 0) {
        plan(k);
    } else if (sim_below(s, 4) == 0) {
        kill(s, k);
    }
    k->first_nodes = k->operator? sim_between(s, 1, k->nodes) : k->nodes;
    k->seeds = k->operator|| k->owners ? k->nodes : sim_between(s, 1, k->nodes < 3 ? k->nodes : 3);
    k->work_from = k->planned || k->owners || sim_half(s) ? 8000 : 10;
    k->work_until += k->work_from + 5000;
}

static void draw_node(struct sim *s, uint32_t n)
{
    s->plan.node[n].edges = s->k.clustered ? sim_between(s, 1, s->k.edges) : s->k.edges;
    s->plan.node[n].weight = !s->k.clustered || sim_half(s) ? 100 : sim_between(s, 20, 300);
    s->plan.node[n].clock = s->k.clustered ? sim_below(s, 1000000000) : 0;
    s->plan.node[n].wall_ms = s->k.wall ? (int64_t)sim_below(s, 7200000) - 3600000 : 0;
}

static void make_node(struct sim *s, uint32_t n)
{
    struct node_proc *p = &s->node[n];

    (void)snprintf(p->name, sizeof p->name, "node%u", n);
    p->id = n + 1;
    p->addr = sim_addr(n, 0);
    if (s->k.clustered) {
        char text[16];
        int len = snprintf(text, sizeof text, "node%s", p->name);

        p->id = cl_hash64(pr_bytes(text, (size_t)len));
    }
    p->edges = s->plan.node[n].edges;
    p->weight = s->plan.node[n].weight;
    p->clock = s->plan.node[n].clock;
    p->wall_ms = s->plan.node[n].wall_ms;
    for (uint32_t k = 0; k < EDGES_MAX; k++) {
        s->edge[n * EDGES_MAX + k].used = k < p->edges;
        s->edge[n * EDGES_MAX + k].conn = NOBODY;
    }
}

static void begin(struct sim *s)
{
    s->lim = (struct cl_limits){.edges = EDGES_MAX,
                                .topics = 128,
                                .presences = 4096,
                                .presences_per_topic = 4096,
                                .presence_bytes = 1u << 22,
                                .pending_bytes = 1u << 22,
                                .kept_bytes = 1u << 22,
                                .actions = 4096};
    if (s->k.tight) {
        s->lim.pending_bytes = 2000;
        s->lim.kept_bytes = 2000;
        s->lim.actions = 200; /* more than all that is kept of a topic */
    }
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
    /* From here on it makes no difference whether all this was drawn or given. */
    s->rand = cl_rand_seed(s->seed ^ 1);
    s->fault_rand = cl_rand_seed(s->seed ^ 2);
    for (uint32_t n = 0; n < s->k.first_nodes; n++) {
        s->node[n].member = true;
        sim_node_on(s, n);
    }
    sim_at(s, s->k.work_from, EV_WORK, 0, 0);
    if (!s->given || s->plan.nfaults > 0) {
        sim_at(s, s->given ? s->plan.faults[0].at : s->k.work_from + s->k.fault_every_ms, EV_FAULT,
               0, 0);
    }
    sim_at(s, 1000, EV_WATCH, 0, 0);
}

void sim_draw(struct sim *s)
{
    if (s->given) {
        s->k = s->plan.k;
    } else {
        draw_knobs(s);
        if (sim_below(s, 3) != 0) {
            draw_cluster(s);
        }
        s->plan.seed = s->seed;
        s->plan.k = s->k;
        for (uint32_t n = 0; n < s->k.nodes; n++) {
            draw_node(s, n);
        }
    }
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        make_node(s, n);
    }
    begin(s);
}

/* Zipf by halving: each next quarter of the topics is half as likely. */
static uint32_t draw_topic(struct sim *s)
{
    uint32_t n = s->k.topics;

    while (n > 1 && sim_half(s)) {
        n = (n + 1) / 2;
    }
    return (uint32_t)sim_below(s, n);
}

bool sim_edge_works(const struct sim *s, uint32_t e)
{
    return s->edge[e].up && s->edge[e].stalled_until <= s->now && !s->node[e / EDGES_MAX].leaving;
}

uint32_t sim_any_edge(struct sim *s)
{
    uint32_t list[ALL_EDGES];
    uint32_t n = 0;

    for (uint32_t e = 0; e < ALL_EDGES; e++) {
        if (s->edge[e].used && s->node[e / EDGES_MAX].member && !s->node[e / EDGES_MAX].leaving) {
            list[n++] = e;
        }
    }
    return n == 0 ? NOBODY : list[sim_below(s, n)];
}

static void connect_client(struct sim *s, uint32_t i)
{
    uint32_t e = sim_any_edge(s);

    if (e != NOBODY && sim_edge_works(s, e)) {
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

    if (!sim_edge_works(s, c->edge)) {
        return;
    }
    if (what < 15) {
        sim_join(s, i, draw_topic(s), sim_below(s, 4) != 0);
    } else if (what < 20) {
        sim_leave(s, i, k);
    } else if (what < 60) {
        sim_publish(s, c->edge, c->m[k].used ? c->m[k].topic : draw_topic(s), sim_half(s));
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
    if ((s->healing && !s->calm) || s->now > s->k.work_until) {
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
        uint32_t e = sim_any_edge(s);

        if (e != NOBODY && sim_edge_works(s, e)) {
            sim_publish(s, e, draw_topic(s), sim_half(s));
        }
    }
    sim_at(s, s->now + sim_below(s, 2 * (uint64_t)s->k.work_every_ms), EV_WORK, 0, 0);
}
