/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.h - changes and their matches -> CHG frames (proto/mesh.h).
 *
 * One JSON body per distinct rendering of a change (role's columns x select, and whether policies
 * hide the old row), with the list of (boot, handle) that get it. Frames are ended before they
 * would pass PR_FRAME_MAX, and a body with more than RT_ROUTE_TARGETS_MAX targets is repeated; a
 * frame that ends in the middle of a change carries the change before it as `last`, so that an edge
 * does not take the rest for duplicates.
 */
#ifndef NODE_DB_ROUTE_H
#define NODE_DB_ROUTE_H

#include "node/db/change.h"
#include "node/db/subscriptions.h"

/* JSON text of a value that a 413 message keeps, in bytes. */
#define RT_ROUTE_SHORT_VALUE_MAX 64u
/* Targets of one body; bounded by PR_LIST_MAX of the frame format. */
#define RT_ROUTE_TARGETS_MAX 16384u

struct rt_route;

/* Takes a frame; the bytes are borrowed for the call. */
typedef void (*rt_route_fn)(void *ctx, struct pr_slice frame);

/* Gives a router. Copies `project`. `with_position`: "lsn" and "seq" in each body. With record,
 * old_record and columns of more than `body_max` bytes it becomes error 413, with short values. */
struct rt_route *rt_route_new(struct pr_slice project, bool with_position, uint32_t body_max,
                              rt_route_fn emit, void *ctx);
void rt_route_free(struct rt_route *r);

/* Starts a batch: everything up to `before` was in earlier frames. */
void rt_route_begin(struct rt_route *r, uint64_t stream, struct pr_pos before);
/* Renders for all matches with `visible`. Changes come in order of position. */
void rt_route_change(struct rt_route *r, const struct rt_change *c, const struct rt_matches *m);
/* What was gathered so far leaves before anything else does. */
void rt_route_flush(struct rt_route *r);
/* Ends the batch: everything up to `last` is said. Always emits at least one frame, perhaps without
 * a body. */
void rt_route_end(struct rt_route *r, struct pr_pos last);

/* Is the column in the list of a select, packed strings? */
bool rt_selects(struct pr_slice select, struct pr_slice name);

/* Counters; monotonic. */
struct rt_route_stats {
    uint64_t bodies, targets, frames, too_large;
};
void rt_route_stats(const struct rt_route *r, struct rt_route_stats *out);

#endif
