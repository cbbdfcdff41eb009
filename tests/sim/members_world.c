/* SPDX-License-Identifier: Apache-2.0 */
/* members_world.c - clock, datagrams, links and processes around struct cl_swim. */
#include "tests/sim/members.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER  UINT64_C(0x636c7573746572)
#define RTO_MS   200u /* first retransmission of a TCP segment, on Linux at least */
#define KEEP_MS  10000u
#define CUT_MS   15000u
#define ADMIT_MS 100u
#define SEEDS    3u
#define WAITING  0u /* the next tick stands in line */

enum ev_type {
    EV_UDP,
    EV_TICK,
    EV_FRAME,
    EV_DIALLED, /* connect has reached the other host */
    EV_LINKED,  /* who dialled has its answer */
    EV_HELLO,   /* the other asks its list whether it may let it in */
    EV_DOWN,
    EV_KEEP, /* one end of a link looks whether it still speaks */
    EV_SEED,
    EV_READY
};

struct ev {
    cl_ms at;
    uint64_t order;
    enum ev_type type;
    uint32_t from, to; /* slots */
    uint32_t life;     /* of `to` */
    uint32_t gen, how;
    uint64_t seq;
    uint8_t *bytes;
    size_t n;
};

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

static bool chance(struct world *w, double p)
{
    return p > 0 && (double)world_below(w, 1000000) < p * 1000000;
}

static cl_ms delay(struct world *w)
{
    return 1 + world_below(w, w->delay_max_ms);
}

uint64_t name_id(uint32_t name)
{
    char text[32];
    int n = snprintf(text, sizeof text, "nodenode-%u", name);

    return cl_hash64(pr_bytes(text, (size_t)n));
}

static struct pr_addr addr_of(uint32_t slot)
{
    struct pr_addr a = {.family = PR_ADDR_V4, .port = 7946};

    a.ip[0] = 10;
    a.ip[2] = (uint8_t)(slot >> 8);
    a.ip[3] = (uint8_t)slot;
    return a;
}

static struct proc *at_addr(struct world *w, const struct pr_addr *a)
{
    uint32_t slot = (uint32_t)a->ip[2] << 8 | a->ip[3];

    return a->ip[0] == 10 && slot < w->nprocs ? &w->procs[slot] : NULL;
}

/* ---- event heap ---- */

static bool earlier(const struct ev *a, const struct ev *b)
{
    return a->at != b->at ? a->at < b->at : a->order < b->order;
}

static void push(struct world *w, struct ev ev)
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

static uint8_t *copy(struct pr_slice s)
{
    uint8_t *p = malloc(s.n + 1);

    assert(p != NULL);
    memcpy(p, s.p, s.n);
    return p;
}

/* ---- links ---- */

static struct proc *linked_with(struct world *w, struct proc *p, uint64_t id)
{
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (p->side[i].up && w->procs[i].id == id) {
            return &w->procs[i];
        }
    }
    return NULL;
}

static void side_down(struct world *w, struct proc *p, struct proc *peer, enum cl_swim_down how)
{
    struct side *side = &p->side[peer->slot];

    if (!side->up) {
        return;
    }
    side->up = false;
    if (p->s != NULL) {
        cl_swim_link_down(p->s, w->now, peer->id, how);
    }
}

/* The other end notices by a packet, if one gets through. */
static void tell_down(struct world *w, struct proc *p, struct proc *peer, enum cl_swim_down how)
{
    struct ev ev = {.at = w->now + delay(w), .type = EV_DOWN, .from = p->slot, .to = peer->slot};

    if (!p->blocked[peer->slot] && peer->side[p->slot].up) {
        ev.life = peer->life;
        ev.gen = peer->side[p->slot].gen;
        ev.how = how;
        push(w, ev);
    }
}

static void side_up(struct world *w, struct proc *p, struct proc *peer, uint32_t gen)
{
    struct ev keep = {.at = w->now + KEEP_MS / 2, .type = EV_KEEP, .from = peer->slot};
    struct proc *old = linked_with(w, p, peer->id);

    if (old != NULL) {
        side_down(w, p, old, CL_SWIM_LOCAL);
    }
    p->side[peer->slot] = (struct side){.up = true, .gen = gen, .heard = w->now};
    if (cl_swim_link_up(p->s, w->now, peer->id, peer->epoch) != CL_OK) {
        p->side[peer->slot].up = false;
        return;
    }
    keep.to = p->slot;
    keep.life = p->life;
    keep.gen = gen;
    push(w, keep);
}

static void send_frame(struct world *w, struct proc *p, struct proc *peer, struct pr_slice bytes)
{
    struct side *side = &p->side[peer->slot];
    struct ev ev = {.at = w->now + delay(w), .type = EV_FRAME, .from = p->slot, .to = peer->slot};

    for (cl_ms rto = RTO_MS; chance(w, w->loss); rto *= 2) {
        ev.at += rto;
    }
    ev.at = ev.at > side->last_arrival ? ev.at : side->last_arrival;
    side->last_arrival = ev.at;
    ev.life = peer->life;
    ev.gen = side->gen;
    ev.seq = ++side->sent;
    ev.bytes = copy(bytes);
    ev.n = bytes.n;
    w->frames++;
    w->frame_bytes += bytes.n;
    push(w, ev);
}

static void dial(struct world *w, struct proc *p, const struct pr_addr *to)
{
    struct proc *peer = at_addr(w, to);
    struct ev ev = {.at = w->now + 2 * delay(w), .type = EV_DIALLED, .from = p->slot};

    if (peer == NULL || peer == p || p->side[peer->slot].up) {
        return;
    }
    ev.to = peer->slot;
    ev.life = p->life; /* of who dials */
    push(w, ev);
}

/* ---- what a process says ---- */

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
    struct proc *peer = at_addr(w, &a->addr);
    struct ev ev = {.at = w->now + delay(w) - 1, .type = EV_UDP, .from = p->slot};

    assert(a->bytes.n <= PR_GOSSIP_MAX);
    w->datagrams++;
    w->datagram_bytes += a->bytes.n;
    if (peer == NULL || p->blocked[peer->slot] || chance(w, w->loss)) {
        return;
    }
    ev.to = peer->slot;
    ev.life = peer->life;
    ev.bytes = copy(a->bytes);
    ev.n = a->bytes.n;
    push(w, ev);
}

static void close_link(struct world *w, struct proc *p, uint64_t id)
{
    struct proc *peer = linked_with(w, p, id);

    if (peer != NULL) {
        tell_down(w, p, peer, CL_SWIM_EOF);
        side_down(w, p, peer, CL_SWIM_LOCAL);
    }
}

static void new_epoch(struct world *w, struct proc *p, uint64_t epoch)
{
    p->epoch = epoch;
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (p->side[i].up) {
            close_link(w, p, w->procs[i].id);
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
        peer = linked_with(w, p, a->id);
        assert(peer != NULL);
        send_frame(w, p, peer, a->bytes);
        break;
    case CL_SWIM_A_DIAL:
        dial(w, p, &a->addr);
        break;
    case CL_SWIM_A_CLOSE:
        close_link(w, p, a->id);
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
        push(w, tick);
    }
}

/* ---- what comes in ---- */

static void on_udp(struct world *w, struct proc *p, const struct ev *ev)
{
    struct pr_addr from = addr_of(ev->from);
    int rv = cl_swim_packet(p->s, w->now, &from, pr_bytes(ev->bytes, ev->n));

    assert(rv == CL_OK);
}

/* Order holds on a link, and what the network does not pass is sent again. */
static bool held_up(struct world *w, struct proc *p, struct ev *ev)
{
    struct side *from = &w->procs[ev->from].side[p->slot];

    if (from->up && from->gen == ev->gen &&
        (w->procs[ev->from].blocked[p->slot] || ev->seq != from->arrived + 1)) {
        ev->at = w->now + (ev->seq == from->arrived + 1 ? RTO_MS : RTO_MS + 1);
        push(w, *ev);
        return true;
    }
    return false;
}

static void on_frame(struct world *w, struct proc *p, const struct ev *ev)
{
    struct proc *peer = &w->procs[ev->from];
    struct pr_slice in = pr_bytes(ev->bytes, ev->n);
    struct pr_frame f;

    peer->side[p->slot].arrived++;
    if (!p->side[peer->slot].up || p->side[peer->slot].gen != ev->gen) {
        tell_down(w, p, peer, CL_SWIM_EOF);
        return;
    }
    while (in.n > 0) {
        long n = pr_frame_next(in, &f);
        int rv = CL_OK;

        assert(n > 0);
        cl_swim_link_heard(p->s, w->now, peer->id);
        p->side[peer->slot].heard = w->now;
        rv = cl_swim_link_in(p->s, w->now, peer->id, &f);
        assert(rv == CL_OK);
        in.p += n;
        in.n -= (size_t)n;
    }
}

static void keep(struct world *w, struct proc *p, struct ev *ev)
{
    struct proc *peer = &w->procs[ev->from];
    struct side *side = &p->side[peer->slot];
    struct pr_ping ping = {.token = w->now};
    uint8_t bytes[64];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (!side->up || side->gen != ev->gen) {
        return;
    }
    if (w->now - side->heard >= CUT_MS) {
        tell_down(w, p, peer, CL_SWIM_EOF);
        side_down(w, p, peer, CL_SWIM_TIMEOUT);
        return;
    }
    if (w->now - side->heard >= KEEP_MS / 2) {
        pr_ping_encode(&o, &ping);
        send_frame(w, p, peer, pr_bytes(bytes, o.len));
    }
    ev->at = w->now + KEEP_MS / 2;
    push(w, *ev);
}

/* HELLO at the one that was dialled. from: who dials; life: of him. */
static void hello(struct world *w, struct proc *p, struct ev *ev)
{
    struct proc *from = &w->procs[ev->from];
    struct cl_swim_claim claim = {
        .id = from->id, .epoch = from->epoch, .addr = addr_of(from->slot)};
    struct pr_addr holder;
    uint32_t gen = 0;
    char name[32];
    int n = snprintf(name, sizeof name, "node-%u", from->name);

    if (from->s == NULL || from->life != ev->life ||
        (p->side[from->slot].up && from->side[p->slot].up &&
         p->side[from->slot].gen == from->side[p->slot].gen)) {
        return;
    }
    from->said_hello = from->said_hello == 0 ? w->now : from->said_hello;
    claim.name = pr_bytes(name, (size_t)n);
    switch (cl_swim_admit(p->s, w->now, &claim, &holder)) {
    case CL_SWIM_ADMIT:
        from->admitted = from->admitted == 0 ? w->now : from->admitted;
        gen = (uint32_t)++w->order;
        side_up(w, p, from, gen);
        push(w, (struct ev){.at = w->now,
                            .type = EV_LINKED,
                            .from = p->slot,
                            .to = from->slot,
                            .life = from->life,
                            .gen = gen});
        break;
    case CL_SWIM_WAIT:
        ev->type = EV_HELLO;
        ev->at = w->now + ADMIT_MS;
        push(w, *ev);
        break;
    case CL_SWIM_NAME_USED:
        from->refused = true;
        world_stop(w, from, END_CLOSED);
        break;
    case CL_SWIM_ID_CLASH:
    case CL_SWIM_IS_SELF:
    case CL_SWIM_NO_ROOM:
        break;
    }
}

static void dialled(struct world *w, struct ev *ev)
{
    struct proc *p = &w->procs[ev->to];
    struct proc *from = &w->procs[ev->from];

    if (from->s == NULL || from->life != ev->life || from->blocked[p->slot] ||
        p->blocked[from->slot]) {
        return;
    }
    if (p->s != NULL) {
        ev->type = EV_HELLO;
        push(w, *ev);
    } else if (p->host_up) {
        cl_swim_link_down(from->s, w->now, p->id, CL_SWIM_REFUSED);
        world_drain(w, from);
    }
}

static void look_for_seeds(struct world *w, struct proc *p)
{
    struct ev ev = {.type = EV_SEED, .to = p->slot, .life = p->life};
    bool alone = cl_swim_live(p->s) <= 1;

    for (uint32_t i = 0; i < SEEDS; i++) {
        struct pr_addr a = addr_of((uint32_t)world_below(w, w->nprocs));

        dial(w, p, &a);
    }
    ev.at = w->now + (alone ? 1000 : 60000);
    push(w, ev);
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
        push(w, *ev);
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
        on_frame(w, p, ev);
        break;
    case EV_HELLO:
        hello(w, p, ev);
        break;
    case EV_LINKED:
        side_up(w, p, &w->procs[ev->from], ev->gen);
        break;
    case EV_DOWN:
        if (p->side[ev->from].gen == ev->gen) {
            side_down(w, p, &w->procs[ev->from], (enum cl_swim_down)ev->how);
        }
        break;
    case EV_KEEP:
        keep(w, p, ev);
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
        dialled(w, &ev);
        return;
    }
    if (ev.type == EV_FRAME && p->s != NULL && ev.life == p->life && held_up(w, p, &ev)) {
        return;
    }
    if (p->s == NULL || (ev.life != p->life && ev.type != EV_HELLO)) {
        /* nobody there: a segment of an old connection is answered by the kernel */
        if (ev.type == EV_FRAME && p->host_up) {
            tell_down(w, p, from, CL_SWIM_EOF);
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
    cfg.addr = addr_of(p->slot);
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
    push(w, ready);
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
            tell_down(w, p, &w->procs[i], CL_SWIM_EOF);
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
