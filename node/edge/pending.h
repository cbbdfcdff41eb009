/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.h - joins that are not answered yet, and what waits behind them.
 *
 * A join waits for the fence of its topic (after it nothing published is missed) and, if it asks
 * for database changes, up to RT_PENDING_CHANGES_MS for the verdict on them, so that a client
 * that is told SUBSCRIBED already gets changes. Later verdicts follow as `system` messages.
 *
 * A private channel also waits for what the policies say (rights.h); one that may read nothing is
 * refused as soon as that is known.
 *
 * One that wants stored broadcasts waits for those last of all (replay.h).
 *
 * Messages of the same topic wait meanwhile (hold.h), other traffic of the socket goes on.
 */
#ifndef NODE_EDGE_PENDING_H
#define NODE_EDGE_PENDING_H

#include "node/edge/hold.h"

#define RT_PENDING_MESSAGES   RT_HOLD_MESSAGES
#define RT_PENDING_BYTES      RT_HOLD_BYTES
#define RT_PENDING_CHANGES_MS 2000u

/* Starts to wait, or answers at once. `ref` is copied. */
void rt_pending_begin(struct rt_channel *ch, struct pr_phx_ref ref, const struct pr_join *j);
/* Queues a message behind the join; copies it. False: over the bound. */
bool rt_pending_wait(struct rt_channel *ch, struct pr_slice message, bool text);
/* The verdict on the channel's changes, or on its rights, may have come. */
void rt_pending_verdict(struct rt_channel *ch);
/* The stored broadcasts have come, or will not. May end the channel. */
void rt_pending_replayed(struct rt_channel *ch, bool ok);
/* CLE_SUBSCRIBED, CLE_SUB_FAILED. */
void rt_pending_subscribed(struct rt_edge *e, struct rt_topic *t);
void rt_pending_failed(struct rt_edge *e, struct rt_topic *t);
/* The channel ends before its join was answered. */
void rt_pending_drop(struct rt_channel *ch);

#endif
