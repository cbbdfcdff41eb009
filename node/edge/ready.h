/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ready.h - channels that want to be told when broadcasts of the database flow
 * (broadcast.replication_ready): one `system` message, at once if they do, else when they begin to.
 * Not within RT_READY_MS: an error, and the channel is closed.
 */
#ifndef NODE_EDGE_READY_H
#define NODE_EDGE_READY_H

#include "node/edge/edge_in.h"

#define RT_READY_MS 60000u

/* The join of a channel that wants it was answered. */
void rt_ready_joined(struct rt_channel *ch);
/* READER of the owner: somebody reads the database, or nobody does. 0 or a negative pr_err. */
int rt_ready_frame(struct rt_edge *e, const struct pr_frame *f);
/* The owner is gone, and what it said. */
void rt_ready_unknown(struct rt_edge *e);
/* The project is new here: what was said of it before counts. */
void rt_ready_begin(struct rt_project *project);
/* It is not in the settings any more. What was said of it counts if it comes back. */
void rt_ready_leave(struct rt_project *project);
/* Forgets who waits. */
void rt_ready_free(struct rt_project *project);

#endif
