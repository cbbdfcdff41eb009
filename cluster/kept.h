/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.h - the last events of a topic, as an owner keeps them for nodes that missed some: frames
 * that a full link dropped, or that were under way when a link or a view changed.
 *
 * Bounds, per topic and in all; the oldest of the topic makes room. What is no longer kept is lost
 * for who asks, and counted there.
 */
#ifndef CLUSTER_KEPT_H
#define CLUSTER_KEPT_H

#include "cluster/topic.h"

#define CL_KEPT_EVENTS ((uint32_t)256)
#define CL_KEPT_BYTES  ((size_t)65536)
/* Nobody asks later, in ms: a link is dialled again within 5 s, a view settles sooner. */
#define CL_KEPT_MS 5000u

struct cl_kept {
    struct cl_kept *newer;        /* of the topic */
    struct cl_kept *prev, *after; /* of all topics, by age */
    struct cl_remote *remote;
    uint64_t seq;
    cl_ms at;
    size_t n;
    uint8_t frame[]; /* EVENT */
};

/* Copies an event. Without room or memory it is not kept, and neither is anything before it: what
 * is kept of a topic has no holes. */
void cl_kept_add(struct cl_topics *t, cl_ms now, struct cl_remote *r, uint64_t seq,
                 struct pr_slice frame);
/* An event of the last so many ms is not kept for want of room. */
bool cl_kept_cut(const struct cl_remote *r, cl_ms now, cl_ms ms);
void cl_kept_clear(struct cl_topics *t, struct cl_remote *r);
/* Forgets what is older than CL_KEPT_MS. */
void cl_kept_expire(struct cl_topics *t, cl_ms now);
cl_ms cl_kept_deadline(const struct cl_topics *t);

#endif
