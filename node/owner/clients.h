/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clients.h - how many clients each project has here and at the other nodes, for limits of the
 * whole cluster.
 *
 * Edges tell their owner, owners each other, and each edge the sum of all others. Nodes without a
 * link do not count: parts of a cluster that cannot see each other each have the whole limit.
 * Projects beyond RT_PROJECTS_MAX that have clients are not counted.
 */
#ifndef NODE_OWNER_CLIENTS_H
#define NODE_OWNER_CLIENTS_H

#include "node/owner/owner_in.h"
#include "proto/mesh_node.h"

/* News are told at once, the next ones this much later: a crowd that connects is one message. */
#define RT_CLIENTS_TELL_MS 100u

struct rt_clients;

struct rt_clients *rt_clients_new(struct owner *o);
/* Before the loop ends. */
void rt_clients_free(struct rt_clients *c);
/* An edge attached, or its connection ended. */
void rt_clients_edge(struct rt_clients *c, uint32_t edge);
void rt_clients_link_up(struct rt_clients *c, uint64_t id);
void rt_clients_link_down(struct rt_clients *c, uint64_t id);
/* CLIENTS of an edge, and of a node. False: it is damaged. */
bool rt_clients_of_edge(struct rt_clients *c, uint32_t edge, const struct pr_frame *f);
bool rt_clients_of_node(struct rt_clients *c, uint64_t id, const struct pr_frame *f);

#endif
