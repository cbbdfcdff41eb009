/* SPDX-License-Identifier: Apache-2.0 */
/*
 * refresh.h - a channel's token over time: new ones from the client, and the end of the old one.
 *
 * REALTIME_TOKEN_WARN_MS before `exp` the client is told by a `system` message, once for each
 * token, and not for one that came with less than that left. A client that refreshes late is not
 * cut at once: REALTIME_TOKEN_GRACE_MS after `exp` the channel gets a `system` error and phx_close;
 * the socket and its other channels live on. Pushed tokens are checked at most once per channel and
 * RT_REFRESH_MS, the last one wins.
 */
#ifndef NODE_EDGE_REFRESH_H
#define NODE_EDGE_REFRESH_H

#include "node/edge/edge_in.h"

#define RT_REFRESH_MS 1000u

/* An access_token push. It is never answered. May end the channel. */
void rt_refresh_message(struct rt_channel *ch, const struct pr_phx_msg *m);
/* The channel has its token, of the join or a new one: sets its timer. */
void rt_refresh_begin(struct rt_channel *ch);
/* Unix seconds. */
int64_t rt_refresh_now_s(void);

#endif
