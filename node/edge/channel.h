/* SPDX-License-Identifier: Apache-2.0 */
/*
 * channel.h - one joined topic of one socket.
 *
 *   phx_join -> checks (join.c) -> pending: fence of the topic, subscriptions to changes
 *     (pending.c) -> joined -> phx_leave, a join of the same topic, token expiry, end of the socket
 *
 * Stale or null join_refs are accepted, as Supabase does: SDKs send them. Only a phx_leave must
 * name the current one, if it names any: a late leave must not end the join that replaced it.
 */
#ifndef NODE_EDGE_CHANNEL_H
#define NODE_EDGE_CHANNEL_H

#include "node/edge/edge_in.h"

/*
 * The channel that a message is for, joined or pending; NULL if none. A kind 3 message whose topic
 * was damaged by its client is found by its join_ref; m->topic is then set right.
 */
struct rt_channel *rt_channel_of_message(struct rt_socket *s, struct pr_phx_msg *m);
/* Decides a message of a topic without a pending join; `ch` may be NULL. */
void rt_channel_message(struct rt_socket *s, struct rt_channel *ch, const struct pr_phx_msg *m);

/* Gives a channel of the socket that waits for its join's answer; takes the token's reference. */
struct rt_channel *rt_channel_new(struct rt_socket *s, struct rt_topic *t, struct rt_token *token,
                                  struct pr_phx_ref join_ref);
/* Takes its seat: broadcasts reach it from now on. */
void rt_channel_sit(struct rt_channel *ch);
/* Leaves everything and frees; says nothing to the client. */
void rt_channel_end(struct rt_channel *ch);
/* Says phx_close (or phx_error, so that the client joins again), then ends. */
void rt_channel_close(struct rt_channel *ch, bool rejoin);
/* `system` error with this text, then phx_close, or what REALTIME_EXPIRED_EVENT says. */
void rt_channel_shut(struct rt_channel *ch, struct pr_slice message, bool rejoin);

#endif
