/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - a broadcast that its sender wants stored, for replay (replay.h).
 *
 *   message (broadcast.c, http_private.c) -> asks the database -> answer: whoever asked publishes
 * it
 *
 * Stored first, since a join that asks for replay sees a message in the table, or live behind its
 * question, or both, but never neither. Both have one id, so that it is shown once.
 *
 * Bounds: RT_ACCESS_BYTES_MAX bytes of all on this edge, with their tokens; a channel has one
 * message at a time, and what it sends meanwhile waits (rights.h), so the order of a sender stays.
 * A question ends after RT_STORE_MS: it is not known then whether the message was stored. If this
 * process dies amid it, a message may be stored that no member got live.
 */
#ifndef NODE_EDGE_STORE_H
#define NODE_EDGE_STORE_H

#include "node/base/ipc.h"
#include "node/edge/edge_in.h"
#include "node/edge/say.h"
#include "proto/bcast.h"
#include "proto/mesh_rights.h"

/* Clients wait 10 s for an ack, which the owner gives after this. */
#define RT_STORE_MS 5000u
/* Bytes that wait for the owner, above which nothing is asked: when he comes back all is asked
 * again, and beside it there is room for what else there is. */
#define RT_STORE_QUEUED_MAX (RT_IPC_QUEUE_MAX / 4)

/* What became of it, borrowed for the call. The message goes out now, whatever that is. */
struct rt_stored {
    struct pr_phx_ref ref;
    struct pr_bcast b; /* with the id in `meta`; of no sender */
    struct pr_slice id;
    const struct pr_store *answer; /* AWAY: none came in time; NULL: rt_store_end was called */
};
typedef void (*rt_store_fn)(void *ctx, const struct rt_stored *m);

struct rt_storing {
    struct rt_project *project; /* until the end, as are the next two */
    struct pr_slice topic;      /* name without prefix, of a private one */
    const char *headers;        /* JSON object; NULL: none */
    struct rt_token *token;
    struct pr_phx_ref ref;    /* for rt_stored; not looked at */
    const struct pr_bcast *b; /* JSON or bytes; event and payload are copied */
    uint32_t ttl_s;           /* 0: none */
    rt_store_fn fn;           /* called once, later */
    void *ctx;
};
/* NULL: too many bytes wait, or the token is too long. */
struct rt_store *rt_store_begin(const struct rt_storing *q);
/* Whoever asked goes away: fn is called at once. NULL is nothing. */
void rt_store_end(struct rt_store *s);
/* Digits of a time to live, in seconds. False: it is none. */
bool rt_store_ttl(struct pr_slice text, uint32_t *ttl_s);
/* True if it is stored. If not the reason is appended to `o`, which takes RT_RIGHTS_TEXT_MAX bytes,
 * the topic's and the answer's text. */
bool rt_store_verdict(const struct pr_store *answer, struct pr_slice topic, struct pr_outbuf *o);

/* An answer from the owner. 0, or an error of the decoder. */
int rt_store_frame(struct rt_edge *e, const struct pr_frame *f);
/* What was asked may be lost: it is asked again, at once; what was asked of one project, some time
 * soon. */
void rt_store_attached(struct rt_edge *e);
void rt_store_ask_again(struct rt_edge *e, struct pr_slice project);

#endif
