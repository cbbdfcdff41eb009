/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pending.h - joins that are not answered yet, and what waits behind them.
 *
 * A join waits for the fence of its topic (after it nothing published is missed) and, if it asks
 * for database changes, up to RT_PENDING_CHANGES_MS for the verdict on them, so that a client
 * that is told SUBSCRIBED already gets changes. Later verdicts follow as `system` messages.
 *
 * Messages of the same topic wait meanwhile, other traffic of the socket goes on.
 * Bound: RT_PENDING_MESSAGES and RT_PENDING_BYTES per join. Overflow: the message is answered
 * "unmatched topic", as one to a topic that is not joined.
 */
#ifndef NODE_EDGE_PENDING_H
#define NODE_EDGE_PENDING_H

#include "node/edge/edge_in.h"

#define RT_PENDING_MESSAGES   64u
#define RT_PENDING_BYTES      262144u
#define RT_PENDING_CHANGES_MS 2000u

/* Starts to wait, or answers at once. `ref` is copied. */
void rt_pending_begin(struct rt_channel *ch, struct pr_phx_ref ref, const struct pr_join *j);
/* Queues a message behind the join; copies it. False: over the bound. */
bool rt_pending_wait(struct rt_channel *ch, struct pr_slice message, bool text);
/* The verdict on the channel's changes may have come. */
void rt_pending_verdict(struct rt_channel *ch);
/* CLE_SUBSCRIBED, CLE_SUB_FAILED. */
void rt_pending_subscribed(struct rt_edge *e, struct rt_topic *t);
void rt_pending_failed(struct rt_edge *e, struct rt_topic *t);
/* The channel ends before its join was answered. */
void rt_pending_drop(struct rt_channel *ch);

/* Handles what waited behind joins that are answered now. */
void rt_backlog_run(struct rt_socket *s);
void rt_backlog_free(struct rt_socket *s);

#endif
