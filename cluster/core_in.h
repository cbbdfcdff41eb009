/* SPDX-License-Identifier: Apache-2.0 */
/*
 * core_in.h - the inside of core.h, shared by core.c (step, edges coming and going), order.c
 * (publishes) and inspect.c (read-only questions). Nobody else includes it.
 */
#ifndef CLUSTER_CORE_IN_H
#define CLUSTER_CORE_IN_H

#include "cluster/core.h"
#include "cluster/out.h"
#include "cluster/presence.h"
#include "cluster/topic.h"

/*
 * A new owner process orders nothing before all edges have told their subscriptions again, but
 * waits no longer than this, in ms. 250: edges reconnect within 20 ms x 2^k, and a start with a
 * missing edge must not hold publishes for long. Lower: the first messages miss slow edges.
 */
#define CL_OPEN_MS 250u
/* Parked publishes that one step orders: bounds its work and its actions. */
#define CL_UNPARK_MAX 64u
/* Upper bound of an encoded frame without its texts and payload: head, array, 9 numbers, in bytes.
 */
#define CL_FRAME_SMALL ((size_t)160)

/* An edge process. Its boot and what was ordered of it outlive its connection: it may come back. */
struct edge {
    bool up;
    bool attached; /* has told all its subscriptions and presences */
    uint64_t boot;
    uint64_t *oseq; /* last ordered publish per partition; NULL until it was up once */
};

/* A publish that waits until all edges are attached. One block with its frame. */
struct parked {
    struct parked *next;
    uint32_t edge;
    uint64_t boot;
    size_t n;
    uint8_t frame[];
};

/* A queued action; while bytes.n > 0 and bytes.p is NULL, the bytes start at `at` in out. */
struct queued {
    struct cl_action act;
    size_t at;
};

struct cl {
    struct cl_limits lim;
    const struct cl_alloc *mem; /* borrowed */
    struct cl_rand rand;
    struct pr_epoch epoch;
    uint32_t edges_expected;
    cl_ms now;             /* of the last step */
    cl_ms open_at;         /* latest time to open */
    bool open;             /* publishes are ordered, presence is shown */
    uint64_t up, attached; /* bitmaps of edge indices */
    uint32_t n_attached;
    struct edge edge[CL_EDGES_MAX];
    struct cl_topics topics;
    struct cl_pres *pres; /* owned */
    struct cl_out out;
    struct parked *park_head, *park_tail;
    size_t park_bytes;
    struct cl_stats stats;
};

/* Pushes what the writer holds as one action for `edges`. Room was reserved. */
void cl_push_send(struct cl *cl, uint64_t edges, const struct pr_outbuf *w);

/* A PUB of edge `i`, decoded and checked. 0, CL_ENOMEM, CL_EAGAIN. */
CL_MUST_CHECK int cl_order_pub(struct cl *cl, uint32_t i, const struct pr_frame *f,
                               const struct pr_pub *pub);
/* Orders what was parked, as far as room goes; never fails. */
void cl_order_parked(struct cl *cl);
void cl_order_deinit(struct cl *cl);

#endif
