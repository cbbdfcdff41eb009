/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topic.h - the owner's table of topics: who is subscribed, and how far each topic has counted.
 *
 * `seq` of a topic counts its events in this epoch, from 1, and never goes back within the epoch:
 * a subscriber compares it to find gaps. So a topic that nobody is subscribed to is kept for
 * CL_TOPIC_KEEP_MS and goes on counting (an edge that lost its connection comes back and learns
 * exactly how much it missed), and what a dropped topic had reached is remembered for its
 * partition, where the next new topic starts.
 *
 * Cost: 88 bytes per topic and its key. Subscribing and publishing are O(1), an edge that ends
 * O(topics).
 */
#ifndef CLUSTER_TOPIC_H
#define CLUSTER_TOPIC_H

#include "cluster/hash.h"
#include "cluster/pool.h"

/* How long a topic without subscribers is kept, in ms. An edge repeats and re-attaches within 5 s;
 * longer only costs memory. */
#define CL_TOPIC_KEEP_MS 30000u
#define CL_EDGES_MAX     64u /* bits of the bitmaps */

struct cl_topic {
    uint32_t chain; /* the pool's */
    uint32_t part;
    uint8_t *key; /* NULL: the item is free */
    uint32_t key_len;
    uint32_t idle_next, idle_prev; /* topics without subscribers, longest first */
    uint64_t edges;                /* subscribed */
    uint64_t presence_edges;       /* of them, those that want presence */
    uint64_t seq;
    uint64_t repeats;
    cl_ms idle_since; /* valid while edges is 0 */
};

struct cl_topics {
    const struct cl_alloc *mem; /* borrowed */
    struct cl_pool pool;
    uint64_t seed; /* of the table's hash */
    uint32_t max;
    uint32_t idle_head, idle_tail;
    uint64_t base[CL_PARTITIONS]; /* the highest seq that a dropped topic had reached */
};

void cl_topics_init(struct cl_topics *t, const struct cl_alloc *mem, uint32_t max, uint64_t seed);
void cl_topics_deinit(struct cl_topics *t);

struct pr_slice cl_topic_name(const struct cl_topic *topic);
/* NULL if unknown. */
struct cl_topic *cl_topics_find(const struct cl_topics *t, struct pr_slice key);
/*
 * Finds or makes a topic; copies the key. CL_ENOMEM: memory is refused. CL_ERANGE: `max` topics
 * have subscribers; one that has none is dropped before that is said.
 */
CL_MUST_CHECK int cl_topics_get(struct cl_topics *t, cl_ms now, struct pr_slice key,
                                struct cl_topic **out);
/* Sets an edge's subscription; it may be one already, with another wish for presence. */
void cl_topics_sub(struct cl_topics *t, struct cl_topic *topic, uint32_t edge, bool presence);
void cl_topics_unsub(struct cl_topics *t, cl_ms now, struct cl_topic *topic, uint32_t edge);
void cl_topics_edge_gone(struct cl_topics *t, cl_ms now, uint32_t edge);
/* Drops what has been without subscribers for CL_TOPIC_KEEP_MS. */
void cl_topics_expire(struct cl_topics *t, cl_ms now);
cl_ms cl_topics_deadline(const struct cl_topics *t);
/* Walks all topics: start with *at = 0; NULL ends. */
struct cl_topic *cl_topics_next(const struct cl_topics *t, uint32_t *at);
bool cl_topics_check(const struct cl_topics *t, uint64_t edges_up, const char **what);

#endif
