/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - this edge's connection to the owner process.
 *
 * Lost: clients stay, publishes and joins wait in cle, and it is made again after 20 ms, doubling
 * to 100 ms. New: everything that the owner and the db process knew of this edge is told again.
 */
#ifndef NODE_EDGE_LINK_H
#define NODE_EDGE_LINK_H

#include "node/edge/edge_in.h"
#include "node/edge/say.h"

#define RT_LINK_RETRY_MS 20u
/* Well below the 250 ms that a new owner process waits for all edges before it orders the first
 * publish: an edge that came later would miss what the others had held (measured: 254 messages with
 * 500 ms). A refused connect to a local socket costs microseconds. */
#define RT_LINK_RETRY_MS_MAX 100u

void rt_link_start(struct rt_edge *e);
void rt_link_stop(struct rt_edge *e);
/* Sends one frame; not up: it is forgotten, since all is told again when it is. */
void rt_link_send(struct rt_edge *e, rt_put_fn put, const void *msg);
/* A frame of the owner cannot be taken, `error` is a pr_err: says so and makes the link anew. */
void rt_link_refuse(struct rt_edge *e, const struct pr_frame *f, int error);
/* Takes what cle wants done, until nothing is left. */
void rt_link_pump(struct rt_edge *e);

#endif
