/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge.h - the cluster side of one `edge` process: a step function like core.h.
 *
 * It counts local members per topic, holds publishes until the owner has ordered them (and sends
 * them again, in order, to a new owner process), keeps this edge's own presences, and tells the
 * edge what arrived. It never looks into a payload and knows no client.
 *
 * Calls are plain functions instead of one event union, since the edge makes millions of them;
 * what comes out are actions, as in core.h.
 */
#ifndef CLUSTER_EDGE_H
#define CLUSTER_EDGE_H

#include "cluster/core.h"

/* Publishes held until the owner has confirmed them. Above: cle_publish answers CL_EAGAIN. */
#define CLE_HELD_BYTES_MAX (4u * 1024u * 1024u + 5u * 1000u * 1000u)
/* Held longer than this: given up, CLE_PUB_DONE with PR_PUB_TIMEOUT. A dead node is found in 4.5 s
 * and its topics have moved 1 s later; a crashed owner process is back within 5 s. realtime-js
 * waits 10 s for an acknowledgement. */
#define CLE_HELD_MS 8000u
/* A topic whose last local member left is unsubscribed after this long: a reload re-joins. */
#define CLE_UNSUB_MS 5000u
/* No SUB_OK for this long: CLE_SUB_FAILED, so that the client's join is answered within 10 s. */
#define CLE_SUB_TIMEOUT_MS 5000u

enum cle_action_type {
    CLE_SEND = 1,   /* bytes to the owner; only while the link is up */
    CLE_SUBSCRIBED, /* topic: the fence stands, joins waiting for it may be answered */
    CLE_SUB_FAILED, /* topic: no answer in time; its waiting joins get an error */
    CLE_EVENT,      /* topic, payload; oseq != 0: this edge published it under `cookie` */
    CLE_PUB_DONE,   /* cookie, flags, result (enum pr_pub_result): for publishes with PR_PUB_ACK or
                       PR_PUB_KEEP, and for every one that was given up */
    CLE_PRES_VIEW,  /* topic, view: answer to cle_presence_view */
    CLE_PRES_DIFF,  /* topic, diff */
    CLE_PRES_RESET, /* topic: the owner process is new and has synced; ask for the view and give
                       every presence member a whole state */
    CLE_GAP         /* topic, lost: events that were certainly missed */
};

struct cle_action {
    enum cle_action_type type;
    uint32_t topic; /* handle given by cle_subscribe */
    struct pr_slice bytes;
    struct pr_slice payload;
    bool own; /* CLE_EVENT: this edge is the publisher */
    uint64_t cookie;
    uint32_t flags; /* of the publish */
    uint32_t result;
    uint64_t lost;
    struct pr_p_view view; /* borrowed from the frame that cle_frame was given */
    struct pr_p_diff diff;
};

struct cle_config {
    uint32_t index; /* of this edge process */
    uint64_t boot;  /* random, one per process life */
    uint32_t topics_max, presences_max;
    const struct cl_alloc *mem; /* borrowed for the object's life */
};

struct cle;

struct cle *cle_new(const struct cle_config *cfg, cl_ms now);
void cle_free(struct cle *c);

/* The connection to the owner is up (HELLO_OK seen: `ok`), or gone. */
CL_MUST_CHECK int cle_link_up(struct cle *c, cl_ms now, const struct pr_hello_ok *ok);
void cle_link_down(struct cle *c, cl_ms now);
/* A frame of types SUB_OK, PUB_OK, EVENT, AGAIN, P_*; others answer CL_EPROTO and are the shell's.
 */
CL_MUST_CHECK int cle_frame(struct cle *c, cl_ms now, const struct pr_frame *f);
CL_MUST_CHECK int cle_tick(struct cle *c, cl_ms now);

/*
 * One more local member of a topic (copies the key). The handle stays the same while members or a
 * pending UNSUB exist; *subscribed tells that the fence stands already, else CLE_SUBSCRIBED or
 * CLE_SUB_FAILED follows. CL_ENOMEM at the limit.
 */
CL_MUST_CHECK int cle_subscribe(struct cle *c, cl_ms now, struct pr_slice topic, uint32_t *handle,
                                bool *subscribed);
/* One member less. */
void cle_unsubscribe(struct cle *c, cl_ms now, uint32_t handle);
/* This edge's members of the topic that want presence: first one on, last one off. */
CL_MUST_CHECK int cle_presence_want(struct cle *c, cl_ms now, uint32_t handle, bool on);
/* Key of a live handle. */
struct pr_slice cle_topic_key(const struct cle *c, uint32_t handle);

/*
 * Publishes to any topic, subscribed here or not. Copies topic and payload. `cookie` comes back in
 * CLE_EVENT (own) and CLE_PUB_DONE; 0 = nobody asks. CL_EAGAIN: held bytes at their bound, which
 * those with PR_PUB_KEEP are let past: their sender has a bound of its own.
 */
CL_MUST_CHECK int cle_publish(struct cle *c, cl_ms now, struct pr_slice topic, uint32_t flags,
                              struct pr_slice payload, uint64_t cookie);

/* Presence of one slot (connection and channel) of this edge: put replaces. Copies key and meta. */
CL_MUST_CHECK int cle_presence_put(struct cle *c, cl_ms now, uint32_t handle, uint32_t slot,
                                   struct pr_slice key, struct pr_slice meta);
/* CL_ENOENT if the slot has none. */
int cle_presence_del(struct cle *c, cl_ms now, uint32_t handle, uint32_t slot);
/* Asks for the topic's state as last shown; CLE_PRES_VIEW follows, in order with diffs. */
CL_MUST_CHECK int cle_presence_view(struct cle *c, cl_ms now, uint32_t handle);

bool cle_next_action(struct cle *c, struct cle_action *out);
cl_ms cle_deadline(const struct cle *c);
bool cle_check(const struct cle *c, const char **what);

struct cle_stats {
    uint64_t published, confirmed, unconfirmed, resent, events, repeats, gap_lost;
    uint64_t topics, held, held_bytes, presences; /* now */
};
void cle_stats(const struct cle *c, struct cle_stats *out);

#endif
