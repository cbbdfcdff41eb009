/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout.h - one message to the members of a topic: each wire form is encoded once, and each socket
 * gets a reference to the same bytes.
 */
#ifndef NODE_EDGE_FANOUT_H
#define NODE_EDGE_FANOUT_H

#include "node/edge/edge_in.h"

/* The bytes of a broadcast as members of one vsn get it, WebSocket header included. Gives a frame;
 * NULL if it has no form for them. */
struct rt_frame *rt_fanout_frame(enum pr_vsn vsn, struct pr_slice topic, const struct pr_bcast *b);
/* An ordered broadcast arrived. `own`: published by this process, so that b->sender may be here. */
void rt_fanout_event(struct rt_edge *e, struct rt_topic *t, struct pr_slice payload, bool own);

#endif
