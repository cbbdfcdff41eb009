/* SPDX-License-Identifier: Apache-2.0 */
/* udp.c - datagrams between nodes, their addresses, and the list of seeds. */
#include "tests/sim/sim.h"

#include <stdlib.h>
#include <string.h>

#define SEEDS_ALONE_MS 2000u
#define SEEDS_EVERY_MS 60000u

struct datagram {
    struct pr_addr from, to;
    uint32_t sender;
    size_t n;
    uint8_t bytes[];
};

struct pr_addr sim_addr(uint32_t node, uint32_t moves)
{
    struct pr_addr a = {.family = PR_ADDR_V4, .port = 7946};

    a.ip[0] = 10;
    a.ip[2] = (uint8_t)moves;
    a.ip[3] = (uint8_t)(node + 1);
    return a;
}

uint32_t sim_node_at(const struct sim *s, const struct pr_addr *addr)
{
    for (uint32_t n = 0; n < s->k.nodes; n++) {
        if (pr_addr_eq(&s->node[n].addr, addr)) {
            return n;
        }
    }
    return NOBODY;
}

/* Most are quick, some take much longer: later ones overtake them. */
static cl_ms delay(struct sim *s)
{
    cl_ms ms = sim_below(s, s->k.udp_delay_ms + 1);

    while (sim_below(s, 4) == 0) {
        ms += sim_below(s, 2 * s->k.udp_delay_ms + 1);
    }
    return ms;
}

static void send_one(struct sim *s, uint32_t n, const struct cl_action *a)
{
    struct datagram *d = malloc(sizeof *d + a->bytes.n);

    if (d == NULL) {
        abort();
    }
    *d = (struct datagram){.from = s->node[n].addr, .to = a->addr, .sender = n, .n = a->bytes.n};
    memcpy(d->bytes, a->bytes.p, a->bytes.n);
    sim_at(s, s->now + delay(s), EV_UDP, n, (uint64_t)(uintptr_t)d);
}

void sim_udp_send(struct sim *s, uint32_t n, const struct cl_action *a)
{
    if (sim_below(s, 1000) < s->k.udp_loss) {
        return;
    }
    send_one(s, n, a);
    if (sim_below(s, 1000) < s->k.udp_repeat) {
        send_one(s, n, a);
    }
}

void sim_udp_arrive(struct sim *s, const struct event *ev)
{
    struct datagram *d = (struct datagram *)(uintptr_t)ev->arg;
    uint32_t n = sim_node_at(s, &d->to);
    struct cl_event in = {.type = CL_EV_UDP_IN, .addr = d->from, .bytes = pr_bytes(d->bytes, d->n)};

    if (n != NOBODY && s->node[n].up && !s->blocked[d->sender][n]) {
        if (sim_put_off(s, ev, s->node[n].stalled_until)) {
            return;
        }
        sim_node_step(s, n, &in);
    }
    free(d);
}

void sim_udp_free(const struct event *ev)
{
    if (ev->kind == EV_UDP) {
        free((struct datagram *)(uintptr_t)ev->arg);
    }
}

/* Names are looked up anew each time, so a node that has moved is found. */
void sim_seeds(struct sim *s, uint32_t n)
{
    bool alone = true;

    for (uint32_t i = 0; i < s->k.nodes; i++) {
        alone = alone && s->node[n].peer[i].link == NOBODY;
        if (i < s->k.seeds && i != n) {
            sim_dial(s, n, 0, &s->node[i].addr);
        }
    }
    sim_at(s, s->now + (alone ? SEEDS_ALONE_MS : SEEDS_EVERY_MS), EV_SEEDS, n, s->node[n].run);
}
