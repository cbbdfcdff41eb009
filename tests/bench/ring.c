/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How evenly the partition table spreads, what a join moves, and what a rebuild costs.
 *
 * Usage: ring TRIALS
 * Prints `nodes metric value`; all but rebuild_us are the same on every machine.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cluster/ring.h"

static struct cl_ring before, after; /* 12 KiB each */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return x < y ? -1 : x > y ? 1 : 0;
}

/* The value that the share p of the sorted values does not exceed. */
static double quantile(double *v, size_t n, double p)
{
    size_t at = (size_t)((double)n * p);

    qsort(v, n, sizeof *v, by_value);
    return v[at < n ? at : n - 1];
}

static double now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* Parts of the fullest member by parts of the mean one. */
static double fullest(const struct cl_ring *ring)
{
    uint32_t parts[CL_NODES_MAX] = {0};
    uint32_t most = 0;

    for (uint32_t p = 0; p < CL_PARTITIONS; p++) {
        parts[ring->owner[p]]++;
        if (parts[ring->owner[p]] > most) {
            most = parts[ring->owner[p]];
        }
    }
    return (double)most * ring->n / CL_PARTITIONS;
}

static double moved_percent(void)
{
    uint32_t moved = 0;

    for (uint32_t p = 0; p < CL_PARTITIONS; p++) {
        moved += cl_ring_owner_id(&before, p) != cl_ring_owner_id(&after, p) ? 1u : 0u;
    }
    return 100.0 * moved / CL_PARTITIONS;
}

static int measure(uint32_t n, size_t trials)
{
    struct cl_rand r = cl_rand_seed(n);
    struct cl_ring_member m[CL_NODES_MAX];
    double *full = calloc(3 * trials, sizeof *full);

    if (full == NULL) {
        return -1;
    }
    double *moved = full + trials;
    double *us = moved + trials;

    for (size_t t = 0; t < trials; t++) {
        for (uint32_t i = 0; i <= n; i++) {
            m[i] = (struct cl_ring_member){.id = cl_rand_next(&r), .weight = 100};
        }
        double start = now_us();

        cl_ring_build(&before, m, n);
        us[t] = now_us() - start;
        cl_ring_build(&after, m, n + 1);
        full[t] = fullest(&before);
        moved[t] = moved_percent();
    }
    printf("%u max_by_mean_p50 %.3f\n", n, quantile(full, trials, 0.5));
    printf("%u max_by_mean_p99 %.3f\n", n, quantile(full, trials, 0.99));
    printf("%u moved_percent_p50 %.2f\n", n, quantile(moved, trials, 0.5));
    printf("%u moved_percent_p99 %.2f\n", n, quantile(moved, trials, 0.99));
    printf("%u rebuild_us %.0f\n", n, quantile(us, trials, 0.5));
    free(full);
    return 0;
}

int main(int argc, char **argv)
{
    const uint32_t nodes[] = {3, 5, 10, 50, 100};
    long trials = argc == 2 ? strtol(argv[1], NULL, 10) : 0;

    if (trials < 1 || trials > 100000) {
        (void)fprintf(stderr, "usage: ring TRIALS (1 to 100000)\n");
        return 2;
    }
    for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
        if (measure(nodes[i], (size_t)trials) != 0) {
            return 1;
        }
    }
    return 0;
}
