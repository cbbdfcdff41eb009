/* SPDX-License-Identifier: Apache-2.0 */
/*
 * out.h - the queue of actions of a step function, and the bytes they carry.
 *
 * A call first reserves room for all it may say; only that can fail. Then it changes its state and
 * pushes, which cannot. So a refused allocation leaves everything as it was.
 *
 * Bound: `max` actions and CL_OUT_BYTES_MAX bytes. Full: CL_EAGAIN, the shell takes what waits
 * first. Bytes are taken over by nobody: once all actions are taken, the next reserve reuses them.
 */
#ifndef CLUSTER_OUT_H
#define CLUSTER_OUT_H

#include "cluster/core.h"

/* Two largest frames and a burst of small ones, in bytes. */
#define CL_OUT_BYTES_MAX (4 * (size_t)PR_FRAME_MAX)

struct cl_out {
    const struct cl_alloc *mem; /* borrowed */
    size_t item_bytes;
    uint32_t max;
    uint8_t *items;
    size_t room;   /* items that fit */
    uint32_t head; /* next to be taken */
    uint32_t count;
    uint8_t *bytes;
    size_t cap;
    size_t len;
    uint32_t promised; /* items reserved and not yet pushed */
};

void cl_out_init(struct cl_out *o, const struct cl_alloc *mem, size_t item_bytes, uint32_t max);
void cl_out_deinit(struct cl_out *o);

/* Room for n_items pushes and n_bytes of bytes. 0, CL_ENOMEM or CL_EAGAIN; a former reservation
 * that was not used up is forgotten. */
CL_MUST_CHECK int cl_out_reserve(struct cl_out *o, size_t n_bytes, uint32_t n_items);
/* A zeroed item at the end of the queue; must have been reserved. */
void *cl_out_push(struct cl_out *o);
/* Writer over the reserved bytes; give it back with cl_out_written, which tells where they start.
 */
struct pr_outbuf cl_out_writer(struct cl_out *o);
size_t cl_out_written(struct cl_out *o, const struct pr_outbuf *w);
struct pr_slice cl_out_bytes(const struct cl_out *o, size_t at, size_t n);
/* To take back what one call has pushed since the mark, when it fails in the middle. */
struct cl_out_mark {
    uint32_t count;
    size_t len;
};
struct cl_out_mark cl_out_mark(const struct cl_out *o);
void cl_out_rollback(struct cl_out *o, struct cl_out_mark m);
/* Item by its place, head .. count-1. */
void *cl_out_at(const struct cl_out *o, uint32_t i);
/* Takes the oldest item, NULL if there is none. Valid until the next reserve. */
void *cl_out_take(struct cl_out *o);

#endif
