/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ipc.h - Unix stream sockets between the processes of a node, carrying the frames of proto/mesh.h.
 *
 * One FIFO each way. Sends of one loop turn leave in one writev at its end; the receiver reads up
 * to 256 KiB per turn and hands frames out in place. Bound: RT_IPC_QUEUE_MAX bytes waiting to be
 * sent, if no other is set. Overflow: rt_ipc_send refuses, and the caller closes the connection (a
 * peer that does not read hangs; it re-attaches and is told everything).
 */
#ifndef NODE_BASE_IPC_H
#define NODE_BASE_IPC_H

#include "node/base/loop.h"
#include "proto/mesh.h"

#define RT_IPC_QUEUE_MAX ((size_t)32 * 1024 * 1024)

struct rt_ipc;        /* one connection */
struct rt_ipc_server; /* one listening socket */

struct rt_ipc_events {
    /* `f` borrows from the receive buffer during the call. The callee may close the connection. */
    void (*on_frame)(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f);
    /* The connection ended (EOF, error, malformed frame: `why`) and is freed after the callback.
     * Not called after rt_ipc_close. */
    void (*on_down)(void *ctx, struct rt_ipc *ipc, const char *why);
};

/* Listens at `path` (mode 0600; a stale file is replaced). Only the same uid may connect
 * (SO_PEERCRED). on_accept gives a connection without events: call rt_ipc_set_events in it.
 * NULL with errno set on failure. */
struct rt_ipc_server *rt_ipc_listen(struct rt_loop *l, const char *path,
                                    void (*on_accept)(void *ctx, struct rt_ipc *ipc), void *ctx);
void rt_ipc_server_close(struct rt_ipc_server *s);

/* Connects now (local sockets do not wait). NULL with errno set on failure. */
struct rt_ipc *rt_ipc_connect(struct rt_loop *l, const char *path, const struct rt_ipc_events *ev,
                              void *ctx);
void rt_ipc_set_events(struct rt_ipc *ipc, const struct rt_ipc_events *ev, void *ctx);
void *rt_ipc_ctx(const struct rt_ipc *ipc);

/* Queues whole frames (copies). False: over the bound, nothing was taken. */
bool rt_ipc_send(struct rt_ipc *ipc, struct pr_slice frames);
/*
 * Room to encode a frame in place: gives an outbuf of at least `n` bytes, to be ended by
 * rt_ipc_commit before anything else is sent. False in `*ok`: over the bound.
 */
struct pr_outbuf rt_ipc_reserve(struct rt_ipc *ipc, size_t n, bool *ok);
void rt_ipc_commit(struct rt_ipc *ipc, const struct pr_outbuf *o);
size_t rt_ipc_queued(const struct rt_ipc *ipc);
/* Another bound of this connection than RT_IPC_QUEUE_MAX. */
void rt_ipc_set_bound(struct rt_ipc *ipc, size_t bytes);
/* Stops or goes on reading. */
void rt_ipc_read(struct rt_ipc *ipc, bool on);
/* Ends the connection; queued bytes are dropped. Freed at the end of the turn. */
void rt_ipc_close(struct rt_ipc *ipc);

#endif
