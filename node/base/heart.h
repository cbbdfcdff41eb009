/* SPDX-License-Identifier: Apache-2.0 */
/*
 * heart.h - a child's side of hang detection: two bytes each second to the supervisor.
 *
 * A child whose loop stands still is ended with SIGABRT (for a core), then SIGKILL. Start it as
 * soon as the loop exists; work that blocks the loop must stay below these times.
 */
#ifndef NODE_BASE_HEART_H
#define NODE_BASE_HEART_H

#include "node/base/loop.h"

#define RT_HEART_BEAT_MS 500u
/* An edge: its clients, who only wait, lose their sockets. */
#define RT_HEART_EDGE_SILENCE_MS 10000u
/* owner and db: after 5 s nothing is left to lose. Postgres has taken the slot from such a db, the
 * other nodes have declared the node of such an owner dead and edges give up what it should have
 * ordered; but while they live, no other one can do their work. db gets more, since libpq looks up
 * names in the loop: one question to a name server that is lost costs 5 s. */
#define RT_HEART_OWNER_SILENCE_MS 5000u
#define RT_HEART_DB_SILENCE_MS    5800u

struct rt_heart;

/* Starts beating on `fd` (taken). NULL if fd is -1 (a role run by hand). */
struct rt_heart *rt_heart_start(struct rt_loop *l, int fd);
/* Stops and frees, during a later turn of the loop. NULL is allowed. */
void rt_heart_stop(struct rt_heart *h);

#endif
