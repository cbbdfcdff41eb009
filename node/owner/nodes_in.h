/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nodes_in.h - what the files about other nodes share; nobody else includes it.
 *
 *   nodes        sockets, seeds, events in, actions out
 *   nodes_addr   where the others reach this node
 *   nodes_admit  who may have a link, and what it means that others refuse us
 *   nodes_stats  figures, once a second
 */
#ifndef NODE_OWNER_NODES_IN_H
#define NODE_OWNER_NODES_IN_H

#include "node/owner/clients.h"
#include "node/owner/mesh.h"
#include "node/owner/nodes.h"
#include "node/owner/seeds.h"
#include "node/owner/udp.h"

struct nodes {
    struct owner *owner;
    struct rt_keyring *keys; /* NULL: insecure */
    struct rt_mesh *mesh;
    struct rt_mesh_udp *udp;
    struct rt_seeds *seeds;
    struct pr_addr self;         /* where the others reach this node */
    uint64_t view;               /* last one told to the mesh */
    struct pr_cluster told;      /* to the own edges */
    bool stale;                  /* who is a member has changed since */
    struct rt_mesh_counts links; /* what the metrics already hold */
    struct rt_mesh_udp_counts datagrams;
};

/* ---- nodes_addr.c ---- */
/* "10.0.0.5:7946", "[::1]:7946", "localhost:7946", ":7946", "*:7946". False: none of these. */
bool rt_nodes_address(const char *text, struct pr_addr *out);
/* The address that others are told of; see there. 0, or RT_ECONFIG. */
int rt_nodes_own_address(const struct rt_config *cfg, struct pr_addr *out, struct rt_error *err);

/* ---- nodes_admit.c ---- */
/* rt_mesh_events.admit and .refused; ctx is struct nodes. */
uint32_t rt_nodes_admit(void *ctx, const struct rt_mesh_peer *peer, char *text, size_t cap);
void rt_nodes_refused(void *ctx, uint64_t id, const struct pr_addr *addr, uint32_t code,
                      struct pr_slice text);
/* This node may not be in the cluster: its process ends with RT_EXIT_FATAL. */
void rt_nodes_fatal(struct owner *o, const char *reason, const struct pr_addr *addr);

#endif
