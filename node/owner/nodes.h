/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes.h - the other nodes of the cluster: sockets, seeds and keys around what the core decides.
 * Nothing of it exists on a node without peers.
 */
#ifndef NODE_OWNER_NODES_H
#define NODE_OWNER_NODES_H

#include "node/owner/mesh.h"
#include "node/owner/owner_in.h"
#include "node/owner/udp.h"

struct nodes;

/* What this node tells the others of itself, borrowed from the owner's settings. 0 or an error. */
int rt_nodes_about(struct owner *o, struct cl_about *about, struct rt_error *err);
/* Opens the sockets and looks for the seeds. NULL with the reason in *err. */
struct nodes *rt_nodes_open(struct owner *o, struct rt_error *err);
/* NULL is allowed. */
void rt_nodes_free(struct nodes *n);
/* For those who only look; keys are NULL if there are none (insecure). */
const struct rt_mesh *rt_nodes_mesh(const struct nodes *n);
const struct rt_mesh_udp *rt_nodes_udp(const struct nodes *n);
const struct rt_keyring *rt_nodes_keys(const struct nodes *n);
/* Actions of the core that are not for own edges. */
void rt_nodes_action(struct owner *o, const struct cl_action *a);
/* Reads the settings again and takes the keys from them; trouble is logged and changes nothing. */
void rt_nodes_reload(struct owner *o);
/* What the own edges are to know. A node without peers has nothing to say of it. */
struct pr_cluster rt_nodes_cluster(const struct nodes *n);
/* End of a turn: tells the own edges if that has changed. */
void rt_nodes_turn(struct owner *o);
/* Once a second: counters, pace of the seeds. */
void rt_nodes_stats(struct owner *o);

#endif
