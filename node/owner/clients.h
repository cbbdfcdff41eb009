/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients.h - how many clients the other nodes have, for a limit of the whole cluster.
 *
 * Each node tells its number when it has changed, at most once a second. Nodes without a link do
 * not count: parts of a cluster that cannot see each other each have the whole limit.
 */
#ifndef NODE_OWNER_CLIENTS_H
#define NODE_OWNER_CLIENTS_H

#include "node/owner/owner_in.h"
#include "proto/mesh_node.h"

struct rt_clients;

struct rt_clients *rt_clients_new(void);
/* NULL is allowed. */
void rt_clients_free(struct rt_clients *c);
/* The new link is told the number with the next second. */
void rt_clients_link_up(struct rt_clients *c, uint64_t id);
void rt_clients_link_down(struct rt_clients *c, uint64_t id);
/* False: the frame is damaged. */
bool rt_clients_frame(struct rt_clients *c, uint64_t id, const struct pr_frame *f);
/* Once a second: tells the others, and the edges by the metric RT_M_OWNER_CLIENTS_ELSEWHERE. */
void rt_clients_stats(struct rt_clients *c, struct owner *o);

#endif
