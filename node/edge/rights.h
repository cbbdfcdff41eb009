/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights.h - what a private channel may do, by the policies on realtime.messages.
 *
 *   read of broadcast and (if presence is on) of presence: asked at the join, which waits for it,
 *     again with every new token, and every REALTIME_AUTH_RECHECK seconds
 *   write of either: asked when the first message needs it, and again after each of the above
 *
 * Messages of the channel wait while it is not known what they may (hold.h). A channel that lost
 * what it could read is closed, with the text that clients know. While the database is away rights
 * that were known stay, and what is not known is denied.
 *
 * Everything here takes public channels too: they may do all.
 */
#ifndef NODE_EDGE_RIGHTS_H
#define NODE_EDGE_RIGHTS_H

#include "node/edge/edge_in.h"
#include "proto/mesh_rights.h"

/* What waits while one question is asked: a client may begin with a burst. One message more may be
 * of any size. What waits of all channels has to fit into RT_ACCESS_BYTES_MAX, too. */
#define RT_RIGHTS_MESSAGES 1000u
#define RT_RIGHTS_BYTES    1048576u
/* Room for any text of here, without the topic's name. */
#define RT_RIGHTS_TEXT_MAX 512u
/* A question that failed is not asked again for so long: what comes meanwhile is denied. */
#define RT_RIGHTS_TROUBLE_MS 1000u
/* After a change of policies the channels ask again spread over this time. */
#define RT_RIGHTS_SPREAD_MS 30000u
/* A look at a channel that failed is repeated within this time, then within twice as much and so
 * on, at most RT_RIGHTS_SPREAD_MS: it may be the only one that a change of policies brings, and it
 * fails most easily when all channels are looked at. */
#define RT_RIGHTS_FAILED_MS 2000u

/* A private channel's join begins: asks what it may read. */
void rt_rights_begin(struct rt_channel *ch, bool presence);
/* Is the answer to the join's question still to come? rt_pending_verdict follows then. */
bool rt_rights_waits(const struct rt_channel *ch);
/* Why the join is refused, which needs one of these extensions to read; false: it is not. */
bool rt_rights_put_refusal(struct pr_outbuf *o, const struct rt_channel *ch, uint32_t needs);
/* The join was answered with ok: takes its seat, if it may hear. */
void rt_rights_joined(struct rt_channel *ch);
/* The channel ends. */
void rt_rights_leave(struct rt_channel *ch);

bool rt_rights_may_read(const struct rt_channel *ch, uint32_t ext);
/* By what is known. False also while it is not. */
bool rt_rights_may_write(const struct rt_channel *ch, uint32_t ext);
/* Answers a message that may not be written. */
void rt_rights_say_denied(struct rt_channel *ch, const struct pr_phx_addr *to);
/* Must this message of a joined channel wait? Asks for what it needs. */
bool rt_rights_holds(struct rt_channel *ch, const struct pr_phx_msg *m);
/* Queues it. False: over the bound. */
bool rt_rights_wait(struct rt_channel *ch, struct pr_slice message, bool text);

/* What was held behind a message that is to be stored (store.h) goes on. */
void rt_rights_stored(struct rt_channel *ch);
/* CODE: text, of a question that was not answered; `why` for READ_ONLY. */
void rt_rights_put_trouble(struct pr_outbuf *o, uint32_t status, struct pr_slice why);

/* The channel has a new token in place of `old`. May end the channel. */
void rt_rights_refresh(struct rt_channel *ch, const struct rt_token *old);
/* The policies are others now; not `surely`: they may be. Then what may be written stays known
 * until the channel is looked at: a new owner does not make all who send ask at once. */
void rt_rights_changed(struct rt_edge *e, struct pr_slice project, bool surely);

#endif
