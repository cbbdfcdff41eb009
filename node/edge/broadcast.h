/* SPDX-License-Identifier: Apache-2.0 */
/*
 * broadcast.h - a client's message to a topic: limits, the way to the owner, and the ack.
 *
 * Nothing is delivered here: members of this edge get the message when the owner has ordered it, as
 * all others do. An ack is said when the owner has passed it on; if the owner is away, messages
 * wait up to CLE_HELD_MS and then fail.
 */
#ifndef NODE_EDGE_BROADCAST_H
#define NODE_EDGE_BROADCAST_H

#include "node/edge/edge_in.h"

/* A client over its rate is told so at most this often. */
#define RT_RATE_TOLD_MS 5000u

/* A broadcast of a joined channel. */
void rt_broadcast_push(struct rt_channel *ch, const struct pr_phx_msg *m);
/* The owner's answer to a publish that asked for one, or one that was given up. */
void rt_broadcast_done(struct rt_edge *e, uint64_t cookie, uint32_t result);
/*
 * Publishes for nobody's channel (REST, realtimectl) to a topic, by its name without prefix. Who
 * calls it has asked whether a private one may be written.
 * 0, or enum cl_err: CL_EAGAIN (too much is waiting for the owner), CL_ERANGE (name too long).
 */
int rt_broadcast_send(struct rt_project *project, struct pr_slice sub, bool is_private,
                      const struct pr_bcast *b);
/* Largest payload in bytes, inclusive. */
size_t rt_broadcast_bytes_max(const struct rt_project *project);
/* Forgets who waits for an ack. */
void rt_broadcast_free(struct rt_edge *e);

#endif
