/* SPDX-License-Identifier: Apache-2.0 */
/* members_props.c - what must hold whatever happens: each property in worlds of several seeds. */
#include "tests/sim/members.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FACTS_BYTES 16384u

struct result {
    uint32_t trials;
    uint32_t bad;
    cl_ms worst; /* of whatever is measured */
};

static void judge(struct result *r, bool good, cl_ms took)
{
    r->trials++;
    r->bad += good ? 0 : 1;
    r->worst = took > r->worst ? took : r->worst;
}

static struct world *cluster(uint64_t seed, uint32_t n, double loss)
{
    struct world *w = world_new(seed, loss);

    w->check = true;
    world_cluster(w, n);
    return w;
}

/* Of all that run, how many say so of this name? */
static uint32_t say(const struct world *w, uint32_t name, enum cl_swim_state state)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->nprocs; i++) {
        n += w->procs[i].s != NULL && w->procs[i].told[name] == state ? 1 : 0;
    }
    return n;
}

static uint32_t running(const struct world *w)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < w->nprocs; i++) {
        n += w->procs[i].s != NULL ? 1 : 0;
    }
    return n;
}

static bool admitted(struct world *w, void *ctx)
{
    const struct proc *p = ctx;

    (void)w;
    return p->admitted != 0 || p->refused;
}

/* A second node with a name in use: exactly the newcomer ends. */
static void name_in_use(uint64_t seed, struct result *r)
{
    struct world *w = cluster(seed, 3 + (uint32_t)(seed % 5), seed % 2 == 0 ? 0 : 0.05);
    struct proc *twin = world_add(w, 1);
    cl_ms start = w->now;
    bool good = true;

    world_start(w, twin);
    good = world_until(w, 5000, admitted, twin) && twin->refused;
    judge(r, good && running(w) == w->nprocs - 1 && say(w, 1, CL_SWIM_ALIVE) == running(w),
          w->now - start);
    world_free(w);
}

/* A container that comes back at another address is let in at once. */
static void returns_elsewhere(uint64_t seed, struct result *r)
{
    struct world *w = cluster(seed, 3 + (uint32_t)(seed % 5), seed % 2 == 0 ? 0 : 0.05);
    struct proc *again = world_add(w, 1);
    cl_ms start = 0;
    bool good = true;

    world_stop(w, &w->procs[1], END_SILENT);
    world_run(w, w->now + world_below(w, 300));
    world_start(w, again);
    good = world_until(w, 5000, admitted, again) && !again->refused;
    start = again->said_hello;
    judge(r, good && again->admitted - start <= 1500, again->admitted - start);
    r->bad += world_until(w, 20000, world_agrees, NULL) ? 0 : 1;
    world_free(w);
}

static void block_halves(struct world *w, uint32_t first, bool block)
{
    for (uint32_t i = 0; i < w->nprocs; i++) {
        for (uint32_t k = 0; k < w->nprocs; k++) {
            if ((i < first) != (k < first)) {
                world_block(&w->procs[i], &w->procs[k], block);
            }
        }
    }
}

static bool one_fatal(struct world *w, void *ctx)
{
    const struct proc *old = ctx;

    return old->fatal && world_agrees(w, NULL);
}

/* Both sides of a split have a node of that name: the older ends when they meet. */
static void twins_meet(uint64_t seed, struct result *r)
{
    struct world *w = cluster(seed, 4, 0);
    struct proc *twin = world_add(w, 0);
    bool good = true;
    cl_ms start = 0;

    w->allow_deaths = true;
    block_halves(w, 2, true);
    world_run(w, w->now + 20000);
    world_start(w, twin);
    world_run(w, w->now + 10000);
    start = w->now;
    block_halves(w, 2, false);
    good = world_until(w, 90000, one_fatal, &w->procs[0]);
    judge(r, good && !twin->fatal && running(w) == 4, w->now - start);
    world_free(w);
}

/* Halves that never knew each other unite by the seeds alone. */
static void halves_unite(uint64_t seed, struct result *r)
{
    struct world *w = world_new(seed, 0);
    bool good = true;
    cl_ms start = 0;

    w->check = true;
    for (uint32_t i = 0; i < 6; i++) {
        (void)world_add(w, i);
    }
    block_halves(w, 3, true);
    for (uint32_t i = 0; i < 6; i++) {
        world_start(w, &w->procs[i]);
    }
    world_run(w, w->now + 10000);
    start = w->now;
    block_halves(w, 3, false);
    good = world_until(w, 130000, world_agrees, NULL);
    judge(r, good, w->now - start);
    world_free(w);
}

static struct pr_fact fact_of(struct proc *p, const struct proc *about, uint8_t state)
{
    const struct cl_swim_member *m = cl_swim_find(p->s, about->id);
    struct pr_fact f = {.state = state};

    assert(m != NULL);
    f.id = m->id;
    f.epoch = m->epoch;
    f.inc = m->inc;
    f.name = m->name;
    f.addr = m->addr;
    f.meta = m->meta;
    return f;
}

static bool all_alive(struct world *w, void *unused)
{
    (void)unused;
    for (uint32_t i = 0; i < w->nprocs; i++) {
        if (w->procs[i].s != NULL && say(w, w->procs[i].name, CL_SWIM_ALIVE) != running(w)) {
            return false;
        }
    }
    return true;
}

/* A wrong verdict is spread: the one it is about refutes it everywhere. */
static void refutes(uint64_t seed, struct result *r)
{
    uint32_t n = 3 + (uint32_t)(seed % 8);
    struct world *w = cluster(seed, n, 0.05 * (double)(seed % 4));
    struct proc *liar = &w->procs[world_below(w, n)];
    struct proc *victim = &w->procs[(liar->slot + 1 + world_below(w, n - 1)) % n];
    struct pr_fact f = fact_of(liar, victim, PR_F_DEAD);
    cl_ms start = w->now;
    bool good = true;
    int rv = 0;

    w->allow_deaths = true;
    rv = cl_swim_merge(liar->s, w->now, &f, false);
    assert(rv == CL_OK);
    world_drain(w, liar);
    good = world_until(w, 10000, all_alive, NULL);
    judge(r, good, w->now - start);
    world_free(w);
}

/* After a split of any length and shape all are one again (P14: one view within 6 s). */
static void heals(uint64_t seed, struct result *r)
{
    uint32_t n = 3 + (uint32_t)(seed % 8);
    struct world *w = cluster(seed, n, 0.05 * (double)(seed % 2));
    bool good = true;
    cl_ms start = 0;

    w->allow_deaths = true;
    block_halves(w, 1 + (uint32_t)world_below(w, n - 1), true);
    world_run(w, w->now + 200 + world_below(w, 40000));
    block_halves(w, 0, false);
    for (uint32_t i = 0; i < n; i++) {
        memset(w->procs[i].blocked, 0, sizeof w->procs[i].blocked);
    }
    start = w->now;
    good = world_until(w, 10000, world_agrees, NULL) && world_until(w, 10000, all_alive, NULL);
    judge(r, good, w->now - start);
    world_free(w);
}

/* A node that is slow for 20 s does not make others dead. */
static void slow_node(uint64_t seed, cl_ms cost_ms, struct result *r)
{
    uint32_t n = 5 + (uint32_t)(seed % 6);
    struct world *w = cluster(seed, n, 0);
    struct proc *slow = &w->procs[world_below(w, n)];
    uint32_t wrong = 0;

    slow->cost_ms = cost_ms;
    world_run(w, w->now + 20000);
    slow->cost_ms = 0;
    slow->busy = w->now;
    world_run(w, w->now + 10000);
    for (uint32_t i = 0; i < n; i++) {
        wrong += i != slow->slot && w->wrong_at[i] != 0 ? 1 : 0;
    }
    judge(r, wrong == 0, wrong);
    r->bad += world_until(w, 20000, world_agrees, NULL) ? 0 : 1;
    world_free(w);
}

/* A list in which everybody is dead kills nobody. */
static void lagging_list(uint64_t seed, struct result *r)
{
    uint32_t n = 4 + (uint32_t)(seed % 7);
    struct world *w = cluster(seed, n, 0.05 * (double)(seed % 2));
    uint8_t facts[FACTS_BYTES];
    uint8_t bytes[FACTS_BYTES + 64];
    struct pr_outbuf o = pr_outbuf(facts, sizeof facts);
    struct pr_outbuf frame = pr_outbuf(bytes, sizeof bytes);
    struct pr_sync sync = {.nfacts = n - 1};
    struct pr_frame f;
    struct proc *p = &w->procs[0];
    int rv = 0;

    for (uint32_t i = 1; i < n; i++) {
        struct pr_fact fact = fact_of(&w->procs[1], &w->procs[i], PR_F_DEAD);

        pr_fact_put(&o, &fact);
    }
    sync.facts = pr_bytes(facts, o.len);
    pr_sync_encode(&frame, &sync);
    assert(pr_out_ok(&frame) && pr_frame_next(pr_bytes(bytes, frame.len), &f) > 0);
    rv = cl_swim_link_in(p->s, w->now, w->procs[1].id, &f);
    assert(rv == CL_OK);
    world_drain(w, p);
    world_run(w, w->now + 20000);
    judge(r, w->wrong_deaths == 0, 0);
    r->bad += world_until(w, 10000, all_alive, NULL) ? 0 : 1;
    world_free(w);
}

static bool one_view(const struct world *w)
{
    uint64_t view = 0;

    for (uint32_t i = 0; i < w->nprocs; i++) {
        const struct proc *p = &w->procs[i];

        if (p->s == NULL || w->now - p->started < 3000) {
            continue;
        }
        if (view != 0 && p->view != view) {
            return false;
        }
        view = p->view;
    }
    return true;
}

static void some_change(struct world *w)
{
    struct proc *p = &w->procs[world_below(w, w->nprocs)];
    const struct cl_swim_member *me = cl_swim_find(p->s, p->id);
    struct pr_meta meta = me->meta;
    int rv = 0;

    switch (world_below(w, 3)) {
    case 0:
        meta.weight = 1 + (uint32_t)world_below(w, 1000);
        rv = cl_swim_set_meta(p->s, w->now, &meta);
        assert(rv == CL_OK);
        break;
    case 1:
        cl_swim_drain(p->s, w->now, !meta.draining);
        break;
    default:
        world_stop(w, p, END_CLOSED);
        world_start(w, p);
        return;
    }
    world_drain(w, p);
}

/* Views are equal 2 s after the last fact. */
static void views_converge(uint64_t seed, struct result *r)
{
    uint32_t n = 3 + (uint32_t)(seed % 18);
    struct world *w = cluster(seed, n, 0.05 * (double)(seed % 3));
    cl_ms lag = 0;

    w->allow_deaths = true;
    for (uint32_t i = 0; i < 10; i++) {
        some_change(w);
        for (cl_ms end = w->now + world_below(w, 3000); w->now < end;) {
            world_run(w, w->now + 1);
            lag = one_view(w) || w->now - w->last_fact < lag ? lag : w->now - w->last_fact;
        }
    }
    for (cl_ms end = w->now + 10000; w->now < end;) {
        world_run(w, w->now + 1);
        lag = one_view(w) || w->now - w->last_fact < lag ? lag : w->now - w->last_fact;
    }
    judge(r, lag <= 2000, lag);
    world_free(w);
}

static bool sure(struct world *w, void *ctx)
{
    struct proc *p = ctx;

    (void)w;
    return !cl_swim_unsure(p->s);
}

/* Who stood still knows it, until a peer has spoken; then all agree again. */
static void stands_still(uint64_t seed, struct result *r)
{
    uint32_t n = 3 + (uint32_t)(seed % 8);
    struct world *w = cluster(seed, n, 0.05 * (double)(seed % 2));
    struct proc *p = &w->procs[world_below(w, n)];
    cl_ms start = 0;
    bool good = true;

    w->allow_deaths = true;
    p->frozen_until = w->now + 1500 + world_below(w, 20000);
    start = p->frozen_until;
    world_run(w, start - 1);
    for (uint32_t i = 0; i < w->nprocs; i++) {
        good = good && !cl_swim_unsure(w->procs[i].s);
    }
    cl_swim_tick(p->s, start);
    good = good && cl_swim_unsure(p->s);
    good = good && world_until(w, 5000, sure, p);
    judge(r, good, w->now - start);
    r->bad += world_until(w, 10000, world_agrees, NULL) ? 0 : 1;
    r->bad += world_until(w, 10000, all_alive, NULL) ? 0 : 1;
    world_free(w);
}

static bool gone(struct world *w, void *ctx)
{
    struct proc *p = ctx;

    return cl_swim_gone(p->s) && say(w, p->name, CL_SWIM_LEFT) == running(w);
}

/* Who leaves is not suspected by anybody. */
static void leaves(uint64_t seed, struct result *r)
{
    uint32_t n = 2 + (uint32_t)(seed % 9);
    struct world *w = cluster(seed, n, 0.05 * (double)(seed % 3));
    struct proc *p = &w->procs[world_below(w, n)];
    cl_ms start = w->now;
    bool good = true;

    cl_swim_leave(p->s, w->now);
    world_drain(w, p);
    good = world_until(w, 3000, gone, p);
    judge(r, good, w->now - start);
    world_stop(w, p, END_CLOSED);
    world_run(w, w->now + 10000);
    r->bad += say(w, p->name, CL_SWIM_LEFT) == running(w) ? 0 : 1;
    world_free(w);
}

/* The same seed gives the same run, to the last byte. */
static void same_trace(uint64_t seed, struct result *r)
{
    uint64_t trace[2] = {0};

    for (unsigned i = 0; i < 2; i++) {
        struct world *w = cluster(seed, 5, 0.1);

        world_stop(w, &w->procs[2], END_CLOSED);
        world_run(w, w->now + 20000);
        trace[i] = w->trace;
        world_free(w);
    }
    judge(r, trace[0] == trace[1], 0);
}

static int report(const char *what, const struct result *r)
{
    printf("%-52s %5u trials %4u bad   worst %llu\n", what, r->trials, r->bad,
           (unsigned long long)r->worst);
    fflush(stdout);
    return r->bad == 0 ? 0 : 1;
}

static void slow_5(uint64_t seed, struct result *r)
{
    slow_node(seed, 5, r);
}

static void slow_50(uint64_t seed, struct result *r)
{
    slow_node(seed, 50, r);
}

static void slow_500(uint64_t seed, struct result *r)
{
    slow_node(seed, 500, r);
}

int props_run(uint64_t seed, bool quick)
{
    static const struct {
        const char *what;
        void (*run)(uint64_t seed, struct result *r);
        uint32_t trials, quick_trials;
        bool shown_only; /* measured; nothing is promised */
    } props[] = {
        {"3: second node with a name in use ends, ms", name_in_use, 200, 10, false},
        {"3: container back at another address is let in, ms", returns_elsewhere, 200, 10, false},
        {"3: twins of two sides meet: the older ends, ms", twins_meet, 50, 5, false},
        {"4: halves unite by seeds, ms", halves_unite, 50, 5, false},
        {"5: wrong verdict is refuted everywhere, ms", refutes, 400, 20, false},
        {"split heals, ms", heals, 400, 20, false},
        {"8: node 5 ms slow per step: others dead", slow_5, 200, 10, false},
        {"8: node 50 ms slow per step: others dead", slow_50, 200, 10, true},
        {"8: node 500 ms slow per step: others dead", slow_500, 200, 5, true},
        {"9: list in which all are dead kills nobody", lagging_list, 200, 10, false},
        {"13: views equal after the last fact, ms", views_converge, 200, 10, false},
        {"20: who stood still is unsure until spoken to, ms", stands_still, 200, 10, false},
        {"who leaves is not suspected, ms", leaves, 200, 20, false},
        {"36: same seed, same trace", same_trace, 10, 2, false},
    };
    int bad = 0;

    for (size_t i = 0; i < sizeof props / sizeof props[0]; i++) {
        struct result r = {0};
        uint32_t trials = quick ? props[i].quick_trials : props[i].trials;

        for (uint32_t k = 0; k < trials; k++) {
            props[i].run(cl_mix64(seed + i * 1000000 + k), &r);
        }
        bad += report(props[i].what, &r) != 0 && !props[i].shown_only ? 1 : 0;
    }
    return bad;
}
