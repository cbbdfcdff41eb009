/* SPDX-License-Identifier: Apache-2.0 */
/*
 * udp.h - the datagram socket of the mesh: what leaves is sealed, what arrives was opened.
 *
 * Never waits: a datagram that the kernel does not take at once is dropped and counted, as the
 * network may do with any other. The kernel's default buffers are enough: 208 KiB hold 90 of the
 * longest, and a node hears some 35 in a second of the fastest gossip. An IPv6 socket also speaks
 * IPv4; an IPv4 peer is always given as family 4. Link-local IPv6 peers are not spoken to, since
 * struct pr_addr names no interface.
 */
#ifndef NODE_OWNER_UDP_H
#define NODE_OWNER_UDP_H

#include "node/base/loop.h"
#include "node/owner/seal.h"
#include "proto/addr.h"

struct rt_mesh_udp;

struct rt_mesh_udp_counts {
    uint64_t sent, sent_bytes;         /* datagrams, bytes with header and tag */
    uint64_t received, received_bytes; /* also those that were refused */
    uint64_t send_full;                /* dropped: the socket's buffer was full */
    uint64_t send_failed;              /* dropped: no route, no such family, refused by a filter */
    uint64_t receive_failed;           /* errors of the kernel while reading */
    uint64_t foreign_addr;             /* from an address that cannot be answered */
    struct rt_seal_counts seal;
};

/* `payload` borrows until the callback returns. The callee may send and may close the socket. */
typedef void (*rt_mesh_udp_fn)(void *ctx, const struct pr_addr *from, struct pr_slice payload);

struct rt_mesh_udp_setup {
    struct pr_addr listen;         /* port 0: the kernel chooses, see rt_mesh_udp_addr */
    const struct rt_keyring *keys; /* borrowed until closed; NULL: insecure, see seal.h */
    uint64_t self;                 /* id of this node */
    rt_mesh_udp_fn on_packet;
    void *ctx;
};

/* Binds and starts to receive. NULL with the reason in *err. */
PR_MUST_CHECK struct rt_mesh_udp *
rt_mesh_udp_open(struct rt_loop *l, const struct rt_mesh_udp_setup *setup, struct rt_error *err);
/* Address it is bound to. */
struct pr_addr rt_mesh_udp_addr(const struct rt_mesh_udp *u);
/* Seals and sends 1..RT_SEAL_PAYLOAD_MAX bytes. What cannot leave now is dropped and counted. */
void rt_mesh_udp_send(struct rt_mesh_udp *u, const struct pr_addr *to, struct pr_slice payload);
/* A copy of the counters as they are now. */
struct rt_mesh_udp_counts rt_mesh_udp_counts(const struct rt_mesh_udp *u);
/* Nothing is received any more; freed at the end of the turn. NULL is allowed. */
void rt_mesh_udp_close(struct rt_mesh_udp *u);

#endif
