/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_in.h - the inside of edge.h, shared by edge.c (link, frames, timers), edge_topic.c
 * (subscriptions), edge_pub.c (publishes and events), edge_presence.c and edge_view.c. Nobody else
 * includes it.
 *
 * What must be told to the owner again (after a new connection: everything) waits in one queue of
 * topics, `due`. cle_pump() sends from it in bounded portions, then ATTACHED, then the publishes
 * that were not confirmed, and from then on the edge is live and publishes go out at once.
 */
#ifndef CLUSTER_EDGE_IN_H
#define CLUSTER_EDGE_IN_H

#include "cluster/edge.h"
#include "cluster/hash.h"
#include "cluster/out.h"
#include "cluster/pool.h"
#include "proto/mesh_node.h"

#define NONE CL_POOL_NONE

/* Actions that may wait; the shell takes them after each call, so this is only a backstop. */
#define CLE_ACTIONS_MAX 65536u
/* Bytes after which one call of cle_pump stops, and topics it looks at: work per step <= 1 ms. */
#define CLE_PUMP_BYTES  65536u
#define CLE_PUMP_TOPICS 256u
/* An encoded frame without its texts and payload, at most, in bytes. */
#define CLE_FRAME_SMALL ((size_t)160)
/* Presence bytes of this edge in one topic. Its whole state must fit one frame, because a state cut
 * in pieces could not tell what was removed meanwhile. */
#define CLE_PRES_TOPIC_BYTES_MAX ((size_t)4 * 1024 * 1024)
/* What an entry adds to the length of a packed list besides its texts, at most, in bytes. */
#define CLE_PRES_ENTRY_BYTES ((size_t)32)
/* An edge repeats for CLE_HELD_MS at most; after this no repeat of a publisher can come, in ms; but
 * for one with PR_PUB_KEEP, which its receivers tell by what it carries. */
#define CLE_PUBLISHER_MS 30000u
/* Edges that publish into one topic within CLE_PUBLISHER_MS. Above: the one longest silent is
 * forgotten early, and a repeat of it would pass. */
#define CLE_PUBLISHERS_MAX 256u
/* How often the owner compares what it holds of this edge's presences, in ms. */
#define CLE_DIGEST_MS 30000u

_Static_assert(2 * CLE_PRES_TOPIC_BYTES_MAX <= PR_FRAME_MAX, "a state with its heads fits a frame");
_Static_assert(CLE_PUBLISHER_MS > 2 * CLE_HELD_MS, "repeats end before they are forgotten");

enum sub_state { SUB_NONE = 1, SUB_SENT, SUB_OK };
enum timer_list { LIST_NONE = 0, LIST_WAIT, LIST_UNSUB, LISTS };

struct etopic {
    uint32_t chain; /* the pool's */
    uint32_t key_len;
    uint8_t *key;        /* NULL: the item is free */
    uint32_t refs;       /* local members */
    uint32_t unanswered; /* SUBs on this link without SUB_OK, 1 at most; no UNSUB before it is 0 */
    enum sub_state state;
    enum timer_list list; /* the one it is in; each is in the order of `at` */
    uint32_t next, prev;
    cl_ms at;
    uint32_t due_next;
    bool due;               /* in the queue */
    bool waiting;           /* somebody wants CLE_SUBSCRIBED or CLE_SUB_FAILED */
    bool presence;          /* members want diffs */
    bool asked;             /* the last SUB on this link said so */
    bool told;              /* an owner may hold presences of ours here */
    bool full_due;          /* its presences must be told as a whole; no deltas before */
    bool reset_due;         /* CLE_PRES_RESET */
    bool view_due;          /* P_VIEW_GET, once the owner has synced */
    bool view_open;         /* inside the parts of a view */
    uint32_t views;         /* P_VIEW_GET without the last part of its answer */
    uint32_t views_stale;   /* so many of them were sent before diffs were off: they serve nobody */
    struct pr_epoch epoch;  /* followed; zeros at first */
    uint64_t seq;           /* last event taken or answered by SUB_OK */
    struct pr_place origin; /* the same as the topic's owner counts, who may be another node */
    uint64_t told_n;        /* the b of the last delta */
    uint32_t pres_head, pres_count;
    size_t pres_bytes;
    uint32_t pub_head, pub_count; /* publishers, last one first */
};

/* A publish that the owner has not confirmed. Hash index by (part, oseq). */
struct held {
    uint32_t chain; /* the pool's */
    uint32_t part;
    uint64_t oseq;
    uint64_t cookie;
    cl_ms at;
    uint32_t next, prev; /* in the order of publishing */
    uint32_t later,
        earlier; /* in the same, of those that are not PR_PUB_KEEP; unused in one that is */
    uint32_t flags;
    bool sent; /* to some owner */
    uint8_t *frame;
    size_t len;
};

/* The last publish that was taken of an edge in a topic. */
struct publisher {
    uint32_t chain; /* the pool's */
    uint32_t next;
    uint64_t boot;
    uint64_t oseq;
    cl_ms at;
};

/* A presence of one slot of this edge. Hash index by (topic, slot). */
struct own_pres {
    uint32_t chain; /* the pool's */
    uint32_t slot;
    uint32_t topic;
    uint32_t next, prev; /* in the topic */
    uint32_t key_len, meta_len;
    uint64_t n;
    uint8_t *data; /* key, then meta; NULL if both are empty */
};

struct cle_queued {
    struct cle_action act; /* type 0: dropped with its link */
    size_t at;             /* start of act.bytes in out, while bytes.n > 0 */
};

enum link_state {
    LINK_DOWN = 1,
    LINK_TELLING,   /* subscriptions and presences */
    LINK_RESENDING, /* publishes that are held */
    LINK_LIVE
};

struct list {
    uint32_t head, tail;
};

struct cle {
    const struct cl_alloc *mem; /* borrowed */
    uint32_t index;
    uint64_t boot;
    uint32_t topics_max, presences_max;
    cl_ms now;
    enum link_state link;
    uint64_t links; /* that were up so far */
    bool synced;    /* the owner has said so on this link */
    cl_ms digest_at;
    struct cl_pool topics, held, publishers, pres;
    struct list lists[LISTS]; /* of topics, by enum timer_list */
    struct list due;          /* of topics */
    struct list held_list;
    struct list give_up; /* of them, those that are given up when they are too old */
    uint32_t unsent;     /* first held one not sent on this link; NONE if all are */
    size_t held_bytes;
    uint64_t n; /* last operation of this actor */
    uint64_t digest;
    struct cl_out out;
    struct cle_stats stats;
    uint64_t oseq[CL_PARTITIONS]; /* last one used */
};

/* edge.c */
/* Room was reserved for all of these. */
struct cle_action *cle_push(struct cle *c, enum cle_action_type type, uint32_t topic);
void cle_push_send(struct cle *c, const struct pr_outbuf *w);
void cle_pump(struct cle *c);
bool cle_up(const struct cle *c);

/* edge_topic.c */
struct etopic *cle_topic(const struct cle *c, uint32_t i);
uint32_t cle_topic_find(const struct cle *c, struct pr_slice key);
uint64_t cle_topic_hash(const struct cle *c, struct pr_slice key);
void cle_topic_due(struct cle *c, uint32_t i);
/* Sends SUB; 0 or an error, unchanged. */
CL_MUST_CHECK int cle_topic_send_sub(struct cle *c, uint32_t i);
CL_MUST_CHECK int cle_topic_on_sub_ok(struct cle *c, const struct pr_sub_ok *ok);
CL_MUST_CHECK int cle_topics_tick(struct cle *c);
void cle_topics_link_down(struct cle *c);
cl_ms cle_topics_deadline(const struct cle *c);
void cle_topics_deinit(struct cle *c);

/* edge_pub.c */
uint64_t cle_held_hash(uint32_t part, uint64_t oseq);
struct held *cle_held(const struct cle *c, uint32_t i);
/* NONE if it is not held. */
uint32_t cle_held_find(const struct cle *c, uint32_t part, uint64_t oseq);
/* PR_PUB_KEEP: it is not given up. */
bool cle_held_is_kept(const struct held *h);
struct publisher *cle_publisher(const struct cle *c, uint32_t i);
CL_MUST_CHECK int cle_pub_on_ok(struct cle *c, const struct pr_pub_ok *ok);
CL_MUST_CHECK int cle_pub_on_event(struct cle *c, const struct pr_event *ev);
/* Everything after the place of this answer comes. */
void cle_pub_fence(struct etopic *t, const struct pr_sub_ok *ok);
CL_MUST_CHECK int cle_pub_tick(struct cle *c);
/* When it has something to give up; UINT64_MAX if never. */
cl_ms cle_pub_deadline(const struct cle *c);
/* Sends the next held one; 0 or an error. */
CL_MUST_CHECK int cle_pub_resend(struct cle *c);
void cle_pub_forget_publishers(struct cle *c, struct etopic *t);
void cle_pub_deinit(struct cle *c);

/* edge_check.c */
bool cle_topics_check(const struct cle *c, const char **what);
bool cle_pub_check(const struct cle *c, const char **what);

/* edge_presence.c */
struct own_pres *cle_pres(const struct cle *c, uint32_t i);
uint64_t cle_pres_hash(uint32_t topic, uint32_t slot);
CL_MUST_CHECK int cle_pres_send_full(struct cle *c, uint32_t topic);
void cle_pres_deinit(struct cle *c);
bool cle_pres_check(const struct cle *c, const char **what);

/* edge_view.c */
CL_MUST_CHECK int cle_view_send_get(struct cle *c, uint32_t topic);
CL_MUST_CHECK int cle_view_send_digest(struct cle *c);
/* The same; room was reserved. */
void cle_view_push_digest(struct cle *c);
CL_MUST_CHECK int cle_view_on_frame(struct cle *c, const struct pr_frame *f);

#endif
