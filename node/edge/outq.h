/* SPDX-License-Identifier: Apache-2.0 */
/*
 * outq.h - frames waiting for one client socket, by reference.
 *
 * Bound: `bytes_max` (given at init; REALTIME_MAX_QUEUE_BYTES, 4 MiB) and RT_OUTQ_FRAMES_MAX,
 * whichever is met first; a single frame over `bytes_max` fits into an empty queue, so that a
 * message at the size limit can be delivered whatever the bound is.
 * Overflow: the push is refused and the caller closes the socket with 1013 from a later turn.
 *   Not "drop the oldest": a lost presence_diff or postgres_changes leaves the client wrong for
 *   good and it cannot know; a closed one rejoins and is given the whole state. Not "wait": one
 *   slow reader must never slow the topic's other readers. (A burst of database changes is made to
 *   wait before it comes here, for those who read well: pace.h.)
 */
#ifndef NODE_EDGE_OUTQ_H
#define NODE_EDGE_OUTQ_H

#include <stdbool.h>

#include "node/base/frame.h"

/* So many row changes of common size are about 4 MiB; 128 KiB of ring at most. */
#define RT_OUTQ_FRAMES_MAX 16384u
/* Frames of an ordinary turn; more than that moves to the heap until the queue is empty again. */
#define RT_OUTQ_INLINE 4u

_Static_assert((RT_OUTQ_FRAMES_MAX & (RT_OUTQ_FRAMES_MAX - 1)) == 0, "the ring wraps by mask");

struct rt_outq {
    struct rt_frame **ring; /* NULL: `slot` is the ring */
    struct rt_frame *slot[RT_OUTQ_INLINE];
    uint32_t cap; /* slots of the ring in use, a power of two */
    uint32_t head;
    uint32_t count;
    uint32_t bytes;     /* sum of len over the queued frames */
    uint32_t bytes_max; /* > 0 */
};

void rt_outq_init(struct rt_outq *q, uint32_t bytes_max);
/* Is it over one `part`th of either bound? */
bool rt_outq_over(const struct rt_outq *q, uint32_t part);
/* Takes its own reference on `frame`; the caller keeps his. False: full, nothing was taken. */
bool rt_outq_push(struct rt_outq *q, struct rt_frame *frame);
/*
 * Borrows the frames at the head that fit one send: at most `frames_max` (> 0) frames and
 * `bytes_max` bytes together, but always the first one. Returns how many, 0 if empty.
 */
uint32_t rt_outq_peek(const struct rt_outq *q, struct rt_frame **out, uint32_t frames_max,
                      uint32_t bytes_max);
/* Drops the first `n` (<= count) frames and their references. */
void rt_outq_pop(struct rt_outq *q, uint32_t n);
/* Drops all; the queue can be used again. Call it before the queue's memory goes. */
void rt_outq_clear(struct rt_outq *q);

#endif
