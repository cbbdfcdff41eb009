/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store.h - a broadcast that its sender wants stored, for replay (replay.h).
 *
 *   push (broadcast.c) -> asks the database -> answer: published, whatever it was (broadcast.c)
 *
 * Stored first, since a join that asks for replay sees a message in the table, or live behind its
 * question, or both, but never neither. Both have one id, so that it is shown once. What the
 * channel sends meanwhile waits (rights.h), so the order of a sender stays.
 *
 * Bounds: one message of a channel at a time, and RT_ACCESS_BYTES_MAX bytes of all on this edge.
 * A question ends after RT_STORE_MS; the message is sent then, and its ack says what is not known.
 * If the channel ends first the message is sent at once.
 */
#ifndef NODE_EDGE_STORE_H
#define NODE_EDGE_STORE_H

#include "node/edge/edge_in.h"
#include "proto/bcast.h"
#include "proto/mesh_rights.h"

/* Clients wait 10 s for an ack, which the owner gives after this. */
#define RT_STORE_MS 5000u

/* Copies the message of a private channel whose ref is `ref`: event, form and payload of `b`.
 * rt_broadcast_stored follows, later. False: too many bytes wait, or what is asked is too long. */
bool rt_store_begin(struct rt_channel *ch, const struct pr_bcast *b, struct pr_phx_ref ref,
                    uint32_t ttl_s);
/* The channel ends. */
void rt_store_leave(struct rt_channel *ch);

/* An answer from the owner. 0, or an error of the decoder. */
int rt_store_frame(struct rt_edge *e, const struct pr_frame *f);
/* What was asked may be lost: it is asked again, at once; what was asked of one project, some time
 * soon. */
void rt_store_attached(struct rt_edge *e);
void rt_store_ask_again(struct rt_edge *e, struct pr_slice project);

#endif
