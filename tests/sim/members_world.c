/* SPDX-License-Identifier: Apache-2.0 */
/* members_world.c - clock and processes around struct cl_swim; its datagrams arrive here. */
#include "tests/sim/members_in.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER UINT64_C(0x636c7573746572)
#define SEEDS   3u
#define WAITING 0u /* the next tick stands in line */

static void *get(void *ctx, size_t n)
{
    (void)ctx;
    return malloc(n);
}

static void put(void *ctx, void *p, size_t n)
{
    (void)ctx;
    (void)n;
    free(p);
}

static const struct cl_alloc heap = {get, put, NULL};

uint64_t world_below(struct world *w, uint64_t n)
{
    return cl_rand_below(&w->rand, n);
}

bool world_chance(struct world *w, double p)
{
    return p > 0 && (double)world_below(w, 1000000) < p * 1000000;
}

cl_ms world_delay(struct world *w)
{
    return 1 + world_below(w, w->delay_max_ms);
}

uint64_t name_id(uint32_t name)
{
    char text[32];
    int n = snprintf(text, sizeof text, "nodenode-%u", name);

    return cl_hash64(pr_bytes(text, (size_t)n));
}

struct pr_addr world_addr(uint32_t slot)
{
    struct pr_addr a = {.family = PR_ADDR_V4, .port = 7946};

    a.ip[0] = 10;
    a.ip[2] = (uint8_t)(slot >> 8);
    a.ip[3] = (uint8_t)slot;
    return a;
}

struct proc *world_at(struct world *w, const struct pr_addr *a)
{
    uint32_t slot = (uint32_t)a->ip[2] << 8 | a->ip[3];

    return a->ip[0] == 10 && slot < w->nprocs ? &w->procs[slot] : NULL;
}

/* ---- event heap ---- */

static bool earlier(const struct ev *a, const struct ev *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void world_push(struct world *w, struct ev ev)
{
    size_t i = w->nheap++;

    if (w->nheap > w->heap_cap) {
        w->heap_cap = w->heap_cap == 0 ? 1024 : 2 * w->heap_cap;
        w->heap = realloc(w->heap, w->heap_cap * sizeof *w->heap);
        assert(w->heap != NULL);
    }
    ev.order = ++w->order;
    while (i > 0 && earlier(&ev, &w->heap[(i - 1) / 2])) {
        w->heap[i] = w->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap[i] = ev;
}

static struct ev pop(struct world *w)
{
    struct ev top = w->heap[0];
    struct ev last = w->heap[--w->nheap];
    size_t i = 0;

    for (;;) {
        size_t k = 2 * i + 1;

        if (k + 1 < w->nheap && earlier(&w->heap[k + 1], &w->heap[k])) {
            k++;
        }
        if (k >= w->nheap || !earlier(&w->heap[k], &last)) {
            break;
        }
        w->heap[i] = w->heap[k];
        i = k;
    }
    w->heap[i] = last;
    return top;
}

uint8_t *world_copy(struct pr_slice s)
{
    uint8_t *p = malloc(s.n + 1);

    assert(p != NULL);
    memcpy(p, s.p, s.n);
    return p;
}

static void on_udp(struct world *w, struct proc *p, const struct ev *ev)
{
    struct pr_addr from = world_addr(ev->from);
    int rv = cl_swim_packet(p->s, w->now, &from, pr_bytes(ev->bytes, ev->n));

    assert(rv == CL_OK);
}

static void look_for_seeds(struct world *w, struct proc *p)
{
    struct ev ev = {.type = EV_SEED, .to = p->slot, .life = p->life};
    bool alone = cl_swim_live(p->s) <= 1;

    for (uint32_t i = 0; i < SEEDS; i++) {
        struct pr_addr a = world_addr((uint32_t)world_below(w, w->nprocs));

        link_dial(w, p, &a);
    }
    ev.at = w->now + (alone ? 1000 : 60000);
    world_push(w, ev);
}

/* A process that is slow takes all that has come in one turn of its loop, and then what came while
 * it was at it; one that stands still takes it when it goes on. */
static bool not_now(struct world *w, struct proc *p, struct ev *ev)
{
    cl_ms at = p->frozen_until > p->busy ? p->frozen_until : p->busy;

    if (at > w->now && (p->cost_ms == 0 || p->turn != w->now)) {
        if (ev->type == EV_TICK) {
            p->wake = WAITING;
        }
        ev->at = at;
        world_push(w, *ev);
        return true;
    }
    p->busy = p->turn == w->now ? p->busy : w->now;
    p->busy += p->cost_ms;
    p->turn = w->now;
    return false;
}

static void to_process(struct world *w, struct proc *p, struct ev *ev)
{
    switch (ev->type) {
    case EV_UDP:
        on_udp(w, p, ev);
        break;
    case EV_TICK:
        p->wake = UINT64_MAX;
        cl_swim_tick(p->s, w->now);
        break;
    case EV_FRAME:
        link_on_frame(w, p, ev);
        break;
    case EV_HELLO:
        link_hello(w, p, ev);
        break;
    case EV_LINKED:
        link_side_up(w, p, &w->procs[ev->from], ev->gen);
        break;
    case EV_DOWN:
        if (p->side[ev->from].gen == ev->gen) {
            link_side_down(w, p, &w->procs[ev->from], (enum cl_swim_down)ev->how);
        }
        break;
    case EV_KEEP:
        link_keep(w, p, ev);
        break;
    case EV_SEED:
        look_for_seeds(w, p);
        break;
    case EV_READY:
        cl_swim_ready(p->s, w->now);
        break;
    case EV_DIALLED:
        break;
    }
    if (p->s != NULL) {
        world_drain(w, p);
    }
}

static void step(struct world *w)
{
    struct ev ev = pop(w);
    struct proc *p = &w->procs[ev.to];
    struct proc *from = &w->procs[ev.from];

    w->now = ev.at;
    if (ev.type == EV_DIALLED) {
        link_dialled(w, &ev);
        return;
    }
    if (ev.type == EV_FRAME && p->s != NULL && ev.life == p->life && link_held_up(w, p, &ev)) {
        return;
    }
    if (p->s == NULL || (ev.life != p->life && ev.type != EV_HELLO)) {
        /* nobody there: a segment of an old connection is answered by the kernel */
        if (ev.type == EV_FRAME && p->host_up) {
            link_tell_down(w, p, from, CL_SWIM_EOF);
        }
        free(ev.bytes);
        return;
    }
    if (ev.type == EV_TICK && ev.at != p->wake && p->wake != WAITING) {
        return; /* another one came sooner */
    }
    if (not_now(w, p, &ev)) {
        return;
    }
    to_process(w, p, &ev);
    if (ev.type == EV_UDP || ev.type == EV_FRAME) {
        free(ev.bytes);
    }
}

void world_run(struct world *w, cl_ms until)
{
    while (w->nheap > 0 && w->heap[0].at <= until) {
        step(w);
    }
    w->now = until;
}

bool world_until(struct world *w, cl_ms limit, world_fn done, void *ctx)
{
    cl_ms end = w->now + limit;

    while (!done(w, ctx)) {
        if (w->now >= end) {
            return false;
        }
        world_run(w, w->now + 1);
    }
    return true;
}

/* ---- processes ---- */

struct world *world_new(uint64_t seed, double loss)
{
    struct world *w = calloc(1, sizeof *w);

    assert(w != NULL);
    w->procs = calloc(PROCS_MAX, sizeof *w->procs);
    assert(w->procs != NULL);
    w->rand = cl_rand_seed(seed);
    w->loss = loss;
    w->delay_max_ms = 10;
    w->now = 1000;
    return w;
}

void world_free(struct world *w)
{
    for (uint32_t i = 0; i < w->nprocs; i++) {
        cl_swim_free(w->procs[i].s);
    }
    for (size_t i = 0; i < w->nheap; i++) {
        free(w->heap[i].bytes);
    }
    free(w->heap);
    free(w->facts);
    free(w->procs);
    free(w);
}

struct proc *world_add(struct world *w, uint32_t name)
{
    struct proc *p = &w->procs[w->nprocs];

    assert(w->nprocs < PROCS_MAX);
    p->slot = w->nprocs++;
    p->name = name;
    p->id = name_id(name);
    p->host_up = true;
    return p;
}

void world_start(struct world *w, struct proc *p)
{
    char name[32];
    int n = snprintf(name, sizeof name, "node-%u", p->name);
    struct cl_swim_config cfg = {.id = p->id, .cluster = CLUSTER, .nodes = 256, .mem = &heap};
    struct ev ready = {.type = EV_READY, .to = p->slot};

    assert(p->s == NULL);
    p->life++;
    p->epoch = p->epoch > w->now << 12 ? p->epoch + 1 : w->now << 12 | p->life;
    p->host_up = true;
    p->refused = p->fatal = false;
    p->started = w->now;
    p->admitted = p->said_hello = 0;
    p->wake = UINT64_MAX;
    memset(p->told, 0, sizeof p->told);
    memset(p->side, 0, sizeof p->side);
    cfg.name = pr_bytes(name, (size_t)n);
    cfg.epoch = p->epoch;
    cfg.addr = world_addr(p->slot);
    cfg.meta = (struct pr_meta){.roles = PR_NODE_OWNER | PR_NODE_EDGE,
                                .weight = 100,
                                .proto_min = 1,
                                .proto_max = 1,
                                .build = pr_str("0.1.0"),
                                .url = pr_str("wss://rt.example.net/socket"),
                                .zone = pr_str("eu-1a")};
    p->s = cl_swim_new(&cfg, cl_rand_seed(world_below(w, UINT64_MAX)), w->now);
    assert(p->s != NULL);
    ready.at = w->now + 1000;
    ready.life = p->life;
    world_push(w, ready);
    look_for_seeds(w, p);
    world_drain(w, p);
}

void world_stop(struct world *w, struct proc *p, enum ending how)
{
    if (p->s == NULL) {
        return;
    }
    p->host_up = how == END_CLOSED;
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (p->side[i].up && how == END_CLOSED) {
            link_tell_down(w, p, &w->procs[i], CL_SWIM_EOF);
        }
        p->side[i].up = false;
    }
    cl_swim_free(p->s);
    p->s = NULL;
    p->frozen_until = 0;
    p->cost_ms = 0;
    p->busy = p->turn = 0;
}

void world_block(struct proc *from, const struct proc *to, bool block)
{
    from->blocked[to->slot] = block;
}

bool world_agrees(struct world *w, void *unused)
{
    uint32_t running = 0;
    uint64_t view = 0;

    (void)unused;
    for (uint32_t i = 0; i < w->nprocs; i++) {
        running += w->procs[i].s != NULL ? 1 : 0;
    }
    for (uint32_t i = 0; i < w->nprocs; i++) {
        struct proc *p = &w->procs[i];
        struct cl_ring_member ring[CL_NODES_MAX];

        if (p->s == NULL) {
            continue;
        }
        view = view == 0 ? p->view : view;
        if (p->view != view || cl_swim_members(p->s, ring) != running) {
            return false;
        }
    }
    return true;
}

void world_cluster(struct world *w, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        (void)world_add(w, i);
    }
    for (uint32_t i = 0; i < n; i++) {
        world_start(w, &w->procs[i]);
        world_run(w, w->now + world_below(w, 50));
    }
    if (!world_until(w, 120000, world_agrees, NULL)) {
        fprintf(stderr, "%u nodes did not become a cluster\n", n);
        abort();
    }
    world_run(w, w->now + 5000);
}
