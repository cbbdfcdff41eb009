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
 * Cost: 184 bytes per topic and its key, and once another node has subscribed, 200 more.
 * Subscribing and publishing are O(1), an edge or a node that ends O(topics).
 */
#ifndef CLUSTER_TOPIC_H
#define CLUSTER_TOPIC_H

#include "cluster/bits.h"
#include "cluster/hash.h"
#include "cluster/pool.h"

/* How long a topic without subscribers is kept, in ms. An edge repeats and re-attaches within 5 s;
 * longer only costs memory. */
#define CL_TOPIC_KEEP_MS 30000u
#define CL_EDGES_MAX     64u /* bits of the bitmaps */

/* What this node has of a topic that another node owns. */
enum cl_follow {
    CL_F_NONE = 0, /* nothing is asked of the owner */
    CL_F_DUE,      /* SUB must be sent */
    CL_F_SENT,     /* SUB_OK has not come */
    CL_F_OK        /* every event after follow_seq comes */
};

struct cl_kept;

/* A question for the state of presence that waits until this node has it. */
struct cl_asked {
    struct cl_asked *next;
    uint32_t edge; /* on its present connection */
};

/* The other nodes of a topic, and the last events, for those that missed some. */
struct cl_remote {
    struct cl_bits nodes;    /* subscribed */
    struct cl_bits presence; /* of them, those that want presence */
    struct cl_bits owed;     /* of them, those whose SUB is answered when the partition opens */
    struct cl_bits doubted;  /* of them, those that are to tell it again */
    struct cl_bits away;     /* not of them: those that were when their link ended (away.c) */
    cl_ms cut_at;            /* when the last event was ordered that is not kept for want of room */
    struct cl_kept *oldest, *newest;
    uint32_t kept;
    size_t kept_bytes;
};

struct cl_topic {
    uint32_t chain; /* the pool's */
    uint32_t part;
    uint8_t *key; /* NULL: the item is free */
    uint32_t key_len;
    uint32_t idle_next, idle_prev; /* topics without subscribers, longest first */
    uint64_t edges;                /* subscribed */
    uint64_t presence_edges;       /* of them, those that want presence */
    uint64_t owed_edges;           /* of them, those whose SUB_OK waits for the owner's */
    uint64_t seq;                  /* as this node's edges count */
    uint64_t repeats;
    uint64_t lost;                /* events that a follower of this node missed for good */
    cl_ms idle_since;             /* valid while idle */
    struct cl_remote *remote;     /* NULL: no other node ever subscribed here */
    struct cl_asked *asked;       /* last one first; owned */
    struct pr_epoch follow_epoch; /* of the owner; zeros: none followed */
    uint64_t follow_seq;          /* the owner's count of the last event taken */
    struct pr_epoch past_epoch;   /* of another owner that was followed before; zeros: none */
    uint64_t past_seq;
    uint8_t follow;       /* enum cl_follow */
    bool follow_presence; /* the SUB under way, or answered, asked for presence */
    bool own_due;         /* no edge is left here; what they had is to be told once more */
    bool since;           /* it is only what edges have told that they have had */
    bool resync;          /* events are asked again; until then they are passed over */
    bool idle;            /* in the list of those without subscribers */
};

struct cl_topics {
    const struct cl_alloc *mem; /* borrowed */
    struct cl_pool pool;
    uint64_t seed; /* of the table's hash */
    uint32_t max;
    uint32_t idle_head, idle_tail;
    struct cl_kept *oldest, *newest; /* events kept, of all topics */
    size_t kept_bytes, kept_max;
    uint64_t base[CL_PARTITIONS]; /* the highest seq that a dropped topic had reached */
};

/* `kept_max`: bytes of events kept for other nodes. */
void cl_topics_init(struct cl_topics *t, const struct cl_alloc *mem, uint32_t max, size_t kept_max,
                    uint64_t seed);
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
/* After a subscriber came or went, of whatever kind: keeps the list of idle topics right. */
void cl_topics_touch(struct cl_topics *t, cl_ms now, struct cl_topic *topic);
/* The part of a topic that other nodes need; made if it is not there. NULL: memory is refused. */
struct cl_remote *cl_topics_remote(const struct cl_topics *t, struct cl_topic *topic);
/* Forgets the questions that wait. */
void cl_topics_drop_asked(const struct cl_topics *t, struct cl_topic *topic);
/* Nobody elsewhere follows it here any more. */
void cl_topics_drop_remote(struct cl_topics *t, cl_ms now, struct cl_topic *topic);
/* Drops what has been without subscribers for CL_TOPIC_KEEP_MS. */
void cl_topics_expire(struct cl_topics *t, cl_ms now);
cl_ms cl_topics_deadline(const struct cl_topics *t);
/* Walks all topics: start with *at = 0; NULL ends. */
struct cl_topic *cl_topics_next(const struct cl_topics *t, uint32_t *at);
bool cl_topics_check(const struct cl_topics *t, uint64_t edges_up, const char **what);

#endif
