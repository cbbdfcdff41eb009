/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_view.h - presence as clients see it: track and untrack, presence_state, presence_diff.
 *
 * A member gets the whole state once, in one message, and only then diffs. The state is asked of
 * the owner (cle_presence_view), which answers in order with the diffs; its JSON is kept until the
 * next diff, so that a thousand joins cost one encoding. A diff is encoded once per vsn.
 *
 * Bound: one view of a topic in the making, of what the owner holds for it
 * (REALTIME_MAX_PRESENCES_PER_TOPIC).
 */
#ifndef NODE_EDGE_PRESENCE_VIEW_H
#define NODE_EDGE_PRESENCE_VIEW_H

#include "node/edge/edge_in.h"

/* What a join says of presence. `key` is copied; empty: a fresh UUID when one is needed. */
void rt_presence_prepare(struct rt_channel *ch, bool on, struct pr_slice key);
/* The join was answered with ok, or the right to read presence was gained since. */
void rt_presence_joined(struct rt_channel *ch);
/* A `presence` message; always answered. May end the channel. */
void rt_presence_message(struct rt_channel *ch, const struct pr_phx_msg *m);
/* The channel ends. */
void rt_presence_leave(struct rt_channel *ch);

/* CLE_PRES_VIEW, CLE_PRES_DIFF, CLE_PRES_RESET. */
void rt_presence_view(struct rt_edge *e, struct rt_topic *t, const struct pr_p_view *view);
void rt_presence_diff(struct rt_edge *e, struct rt_topic *t, const struct pr_p_diff *diff);
void rt_presence_reset(struct rt_edge *e, struct rt_topic *t);

#endif
