/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heart.h - a child's side of hang detection: one byte each second to the supervisor.
 *
 * A child whose loop stands still for 10 s is ended with SIGABRT (for a core), then SIGKILL.
 * Start it as soon as the loop exists; work that blocks the loop must stay below 10 s.
 */
#ifndef NODE_BASE_HEART_H
#define NODE_BASE_HEART_H

#include "node/base/loop.h"

#define RT_HEART_BEAT_MS    1000u
#define RT_HEART_SILENCE_MS 10000u

struct rt_heart;

/* Starts beating on `fd` (taken). NULL if fd is -1 (a role run by hand). */
struct rt_heart *rt_heart_start(struct rt_loop *l, int fd);
/* Stops and frees, during a later turn of the loop. NULL is allowed. */
void rt_heart_stop(struct rt_heart *h);

#endif
