/* SPDX-License-Identifier: Apache-2.0 */
/* members_table.c - figures: how long until all know of a death, and how many deaths are wrong. */
#include "tests/sim/members.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct row {
    uint32_t n;
    double loss;
    enum ending how;
    uint32_t trials, quick_trials;
    uint32_t p99_max_ms; /* what is promised for this row; 0: nothing */
};

static int by_size(const void *a, const void *b)
{
    const cl_ms *x = a;
    const cl_ms *y = b;

    return *x < *y ? -1 : *x > *y;
}

struct death {
    uint32_t name;
    cl_ms since;
};

static bool all_know(struct world *w, void *ctx)
{
    const struct death *d = ctx;

    for (uint32_t i = 0; i < w->nprocs; i++) {
        const struct proc *p = &w->procs[i];

        if (p->s != NULL && (p->told[d->name] != CL_SWIM_DEAD || p->told_at[d->name] < d->since)) {
            return false;
        }
    }
    return true;
}

static cl_ms one_death(struct world *w, enum ending how)
{
    struct proc *p = &w->procs[world_below(w, w->nprocs)];
    struct death d = {.name = p->name};
    cl_ms took = 0;

    world_run(w, w->now + world_below(w, 2000));
    d.since = w->now;
    w->allow_deaths = true;
    world_stop(w, p, how);
    if (!world_until(w, 60000, all_know, &d)) {
        return 60000;
    }
    took = w->now - d.since;
    w->allow_deaths = false;
    p->host_up = true;
    world_run(w, w->now + 1000);
    world_start(w, p);
    (void)world_until(w, 60000, world_agrees, NULL);
    world_run(w, w->now + 3000);
    return took;
}

static int table_row(uint64_t seed, const struct row *r, bool quick)
{
    uint32_t trials = quick ? r->quick_trials : r->trials;
    struct world *w = NULL;
    cl_ms *took = NULL;
    int bad = 0;

    if (trials == 0) {
        return 0;
    }
    w = world_new(seed ^ r->n, r->loss);
    took = calloc(trials, sizeof *took);
    assert(took != NULL);
    world_cluster(w, r->n);
    for (uint32_t i = 0; i < trials; i++) {
        took[i] = one_death(w, r->how);
    }
    qsort(took, trials, sizeof *took, by_size);
    bad = r->p99_max_ms > 0 && took[(trials - 1) * 99 / 100] > r->p99_max_ms ? 1 : 0;
    printf("%4u %5.0f %%  %-6s %6u %8.2f %8.2f %8.2f%s\n", r->n, r->loss * 100,
           r->how == END_SILENT ? "silent" : "closed", trials, (double)took[trials / 2] / 1000,
           (double)took[(trials - 1) * 99 / 100] / 1000, (double)took[trials - 1] / 1000,
           bad ? "   TOO SLOW" : "");
    fflush(stdout);
    free(took);
    world_free(w);
    return bad;
}

int table_run(uint64_t seed, bool quick)
{
    static const struct row rows[] = {
        {3, 0, END_CLOSED, 400, 40, 4500},     {3, 0, END_SILENT, 400, 40, 5000},
        {3, 0.01, END_SILENT, 400, 0, 5000},   {3, 0.05, END_CLOSED, 400, 0, 4500},
        {3, 0.05, END_SILENT, 400, 20, 5000},  {3, 0.2, END_SILENT, 400, 0, 0},
        {10, 0, END_CLOSED, 400, 20, 4500},    {10, 0, END_SILENT, 400, 20, 5000},
        {10, 0.01, END_SILENT, 400, 0, 5000},  {10, 0.05, END_CLOSED, 400, 0, 4500},
        {10, 0.05, END_SILENT, 400, 20, 5000}, {10, 0.2, END_SILENT, 400, 0, 0},
        {100, 0, END_CLOSED, 60, 2, 5000},     {100, 0, END_SILENT, 60, 0, 7500},
        {100, 0.01, END_SILENT, 60, 0, 7500},  {100, 0.05, END_CLOSED, 60, 0, 5000},
        {100, 0.05, END_SILENT, 60, 0, 7500},  {100, 0.2, END_SILENT, 60, 0, 0},
    };
    int bad = 0;

    printf(
        "   n   loss  end    trials    p50 s    p99 s  worst s   6: until all know of a death\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bad += table_row(seed, &rows[i], quick);
    }
    return bad;
}

/* Nobody dies; how many are said to be dead? */
static int wrong_row(uint64_t seed, uint32_t n, double loss, double node_hours, double allowed)
{
    struct world *w = world_new(seed ^ n, loss);
    double ms = node_hours * 3600000 / n;
    double bytes = 0;
    double seconds = ms / 1000;
    int bad = 0;

    world_cluster(w, n);
    w->wrong_deaths = 0;
    w->datagrams = w->datagram_bytes = w->frames = w->frame_bytes = 0;
    world_run(w, w->now + (cl_ms)ms);
    bytes = (double)(w->datagram_bytes + 44 * w->datagrams) / seconds / n;
    bad = (double)w->wrong_deaths > allowed * node_hours + 1 && allowed >= 0 ? 1 : 0;
    printf("%4u %5.0f %% %10.1f %8llu %10.0f %10.0f%s\n", n, loss * 100, node_hours,
           (unsigned long long)w->wrong_deaths, bytes, (double)w->frame_bytes / seconds / n,
           bad ? "   TOO MANY" : "");
    fflush(stdout);
    world_free(w);
    return bad;
}

int wrong_run(uint64_t seed, double node_hours, bool quick)
{
    static const struct {
        uint32_t n;
        double loss;
        double allowed; /* per node-hour; below 0: no promise */
        double share;   /* of the node-hours: a large cluster takes longer to run */
        bool slow;      /* to run */
    } rows[] = {
        {3, 0.01, 0, 1, false},    {3, 0.05, 0.02, 1, false},    {3, 0.2, -1, 0.1, true},
        {10, 0.01, 0, 1, false},   {10, 0.05, 0.02, 1, false},   {10, 0.2, -1, 0.1, true},
        {100, 0.01, 0, 0.2, true}, {100, 0.05, 0.02, 0.2, true}, {100, 0.2, -1, 0.02, true}};
    int bad = 0;

    printf("   n   loss node-hours    wrong  UDP B/s/n link B/s/n   7: deaths of nobody\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (!quick || !rows[i].slow) {
            bad += wrong_row(seed, rows[i].n, rows[i].loss, node_hours * rows[i].share,
                             rows[i].allowed);
        }
    }
    return bad;
}
