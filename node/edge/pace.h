/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pace.h - a burst of changes, at the speed of the clients that take it.
 *
 * A large transaction comes faster than any socket takes it, and a client that reads as fast as it
 * can is not slow. So while a socket that changes went to is over half of its bound, until it is
 * down to a quarter, frames of changes wait here and are not acknowledged; that stops the reader of
 * the database (node/db/stream.c). Broadcasts, presence and replies do not wait.
 *
 * Changes of a project have one order, so all its clients wait for theirs meanwhile. How long a
 * slow one can hold up the others is bounded:
 *   - It is waited for as long as it takes an eighth of its bound in each RT_PACE_MS: 512 KiB a
 *     second by default, which a phone on a fair line does, and a client that hangs does not. Else
 *     it meets its bound and is closed with 1013, as one that a broadcast finds full. Its clock
 *     starts with what the kernel does not take, so many that hang at once cost one RT_PACE_MS.
 *   - All together are waited for RT_PACE_MAX_MS in one go, and a tenth of the time in the long
 *     run: who takes less than is committed, day in day out, must not hold the database's WAL.
 * RT_PACE_MAX_MS is below the 10 s after which the reader goes on without an edge that does not
 * acknowledge, and tells its clients that they may have missed something.
 *
 * Considered: not to read the owner's socket meanwhile. Broadcasts would wait behind the changes.
 *
 * Bound: RT_PACE_BYTES of waiting frames. The reader stops long before; over it nobody is waited
 * for.
 */
#ifndef NODE_EDGE_PACE_H
#define NODE_EDGE_PACE_H

#include "node/edge/ratelimit.h"
#include "proto/mesh.h"

#define RT_PACE_MS     1000u
#define RT_PACE_MAX_MS 8000u
#define RT_PACE_BYTES  ((size_t)16 * 1024 * 1024)

struct rt_edge;
struct rt_project;
struct rt_socket;
struct rt_paced; /* a frame that waits */

/* Of one project. */
struct rt_pace {
    struct rt_paced *first, *last;
    size_t bytes;              /* of all that wait */
    struct rt_socket *slowest; /* who is waited for; NULL: nobody */
    struct rt_bucket left;     /* milliseconds that it may still take */
    uint64_t looked_ms;        /* up to here they are taken from it */
};

void rt_pace_init(struct rt_pace *p, uint64_t now_ms);
void rt_pace_free(struct rt_pace *p);
/* A change was queued to the socket. */
void rt_pace_sent(struct rt_socket *s);
/* The socket ends. */
void rt_pace_gone(const struct rt_socket *s);
/* No change of the project may be queued to anybody now. */
bool rt_pace_waits(struct rt_project *project);
/* Frames wait: the next one is to wait behind them. */
bool rt_pace_busy(const struct rt_project *project);
/* Copies a frame, of whose bodies the first `done` bytes are done. */
void rt_pace_hold(struct rt_project *project, const struct pr_frame *f, size_t done);
/* At the end of a turn: goes on with frames that wait, and sees to it that a turn follows. */
void rt_pace_run(struct rt_edge *e);

#endif
