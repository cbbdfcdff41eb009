/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.h - stored broadcasts of a private channel, for a join that asks for them.
 *
 *   join decided (pending.c) -> asks the database; what is broadcast meanwhile is held
 *     -> answer: reply to the join, stored rows and what was held, from then on live
 *
 * The topic's fence stands before the question goes out, so a row is in the answer, or comes live
 * behind the question, or both: ids of the answer are remembered for RT_REPLAY_SEEN_MS, and live
 * messages with one of them are not sent to this channel again.
 *
 * Bounds: RT_REPLAY_HELD messages and a quarter of REALTIME_MAX_QUEUE_BYTES are held for one
 * channel, and all of an edge count in RT_ACCESS_BYTES_MAX (access.h); the rows are at most half of
 * that queue, or one row, so that the client's queue takes all of it. More than that: the join is
 * refused as if the database had not answered, since a gap would not be seen. A question ends after
 * RT_REPLAY_MS, and in any case RT_ACCESS_JOIN_MS after the join, before clients give up.
 */
#ifndef NODE_EDGE_REPLAY_H
#define NODE_EDGE_REPLAY_H

#include "node/edge/edge_in.h"
#include "proto/mesh_rights.h"

#define RT_REPLAY_MS      5000u
#define RT_REPLAY_SEEN_MS 60000u
#define RT_REPLAY_HELD    256u

/* Asks; rt_pending_replayed follows, later, unless the channel ends. `joined_ms`: when it began. */
void rt_replay_begin(struct rt_channel *ch, uint64_t since_ms, uint32_t limit, uint64_t joined_ms);
/* The join was answered with ok, inside rt_pending_replayed: sends rows and what was held. Nothing
 * happens on a channel that did not ask. */
void rt_replay_joined(struct rt_channel *ch);
/* The channel ends. */
void rt_replay_leave(struct rt_channel *ch);

/* The id that a message of the database has, or an empty text. Borrows. */
struct pr_slice rt_replay_id(const struct pr_bcast *b);
/* Did the channel get this one by replay? */
bool rt_replay_has(const struct rt_channel *ch, struct pr_slice id);
/* A live message of a topic that has `replays`: held for those who wait. */
void rt_replay_event(const struct rt_topic *t, struct pr_slice payload);

/* An answer from the owner. 0, or an error of the decoder. */
int rt_replay_frame(struct rt_edge *e, const struct pr_frame *f);
/* What was asked may be lost: it is asked again, at once; what was asked of one project, some time
 * soon. */
void rt_replay_attached(struct rt_edge *e);
void rt_replay_ask_again(struct rt_edge *e, struct pr_slice project);

#endif
