/* SPDX-License-Identifier: Apache-2.0 */
/*
 * backoff.h - when a process that ended is started again.
 *
 * 50 ms doubling to 1 s: a crash costs clients little, a process that cannot live costs the machine
 * little. Longer would be dear: the other nodes take one whose owner is away for 2.5 s for dead,
 * and wait no longer with changes for its clients. A life of 30 s shows that a process can live,
 * and forgets what was before.
 */
#ifndef NODE_SUPERVISOR_BACKOFF_H
#define NODE_SUPERVISOR_BACKOFF_H

#include <stdint.h>

#define RT_BACKOFF_FIRST_MS 50u
#define RT_BACKOFF_MAX_MS   1000u
#define RT_BACKOFF_RESET_MS 30000u

struct rt_backoff {
    uint32_t deaths; /* in a row, without a long life between them */
};

/* A process ended after `life_ms`; returns how long to wait before the next start, in ms. */
uint64_t rt_backoff_ms(struct rt_backoff *b, uint64_t life_ms);

#endif
