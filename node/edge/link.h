/* SPDX-License-Identifier: Apache-2.0 */
/*
 * link.h - this edge's connection to the owner process.
 *
 * Lost: clients stay, publishes and joins wait in cle, and it is made again after 20 ms, doubling
 * to 500 ms. New: everything that the owner and the db process knew of this edge is told again.
 */
#ifndef NODE_EDGE_LINK_H
#define NODE_EDGE_LINK_H

#include "node/edge/edge_in.h"
#include "node/edge/say.h"

#define RT_LINK_RETRY_MS     20u
#define RT_LINK_RETRY_MS_MAX 500u

void rt_link_start(struct rt_edge *e);
void rt_link_stop(struct rt_edge *e);
/* Sends one frame; not up: it is forgotten, since all is told again when it is. */
void rt_link_send(struct rt_edge *e, rt_put_fn put, const void *msg);
/* Takes what cle wants done, until nothing is left. */
void rt_link_pump(struct rt_edge *e);

#endif
