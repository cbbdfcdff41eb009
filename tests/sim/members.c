/* SPDX-License-Identifier: Apache-2.0 */
/*
 * members.c - the membership model: how long a death takes to be known, how often it is wrong, and
 * what must hold whatever happens. The real cluster/swim.c, not a model of it.
 *
 *   members --quick [--seed N]          properties and a small table, below 20 s
 *   members --props [--seed N]          properties with more trials, --props-quick with few
 *   members --table [--seed N]          time until all know of a death
 *   members --wrong HOURS [--seed N]    wrong deaths in so many node-hours per row
 *
 * --must-fail: 0 if something did not hold, for a build that was sabotaged.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/members.h"

int main(int argc, char **argv)
{
    uint64_t seed = 1;
    double hours = 0;
    bool quick = false;
    bool props = false;
    bool few = false;
    bool table = false;
    bool must_fail = false;
    int bad = 0;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) {
            seed = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--wrong") == 0 && i + 1 < argc) {
            hours = strtod(argv[++i], NULL);
        } else if (strcmp(argv[i], "--quick") == 0) {
            quick = true;
        } else if (strcmp(argv[i], "--props") == 0 || strcmp(argv[i], "--props-quick") == 0) {
            props = true;
            few = argv[i][7] != '\0';
        } else if (strcmp(argv[i], "--must-fail") == 0) {
            must_fail = true;
        } else if (strcmp(argv[i], "--table") == 0) {
            table = true;
        } else {
            fprintf(stderr, "unknown argument %s\n", argv[i]);
            return 2;
        }
    }
    printf("seed %llu\n", (unsigned long long)seed);
    if (quick || props) {
        bad += props_run(seed, quick || few);
    }
    if (quick || table) {
        bad += table_run(seed, quick);
    }
    if (quick || hours > 0) {
        bad += wrong_run(seed, quick ? 3 : hours, quick);
    }
    return (bad == 0) == must_fail ? 1 : 0;
}
