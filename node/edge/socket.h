/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket.h - one client's life: from the accepted handshake to the last callback.
 *
 * A socket ends in two steps. rt_socket_close() marks it: its channels leave at the end of the turn
 * (never inside a fan-out that walks over it), what is queued is sent, then the close frame. The
 * transport's on_close frees it.
 */
#ifndef NODE_EDGE_SOCKET_H
#define NODE_EDGE_SOCKET_H

#include "node/edge/edge_in.h"

/* A WebSocket ping after this much silence: finds dead peers for presence. */
#define RT_PING_MS 30000u
/* So many malformed messages in so long are abuse: close 1008. */
#define RT_BAD_MAX 100u
#define RT_BAD_MS  60000u
/* For the messages before a close frame to be taken by the client. */
#define RT_CLOSING_MS 5000u
/* Sockets flushed in one loop turn; the rest follows in the next. */
#define RT_FLUSH_SOCKETS_MAX 4096u

/* Gives the socket of a handshake that was let in; takes the token's reference. */
struct rt_socket *rt_socket_new(struct rt_project *project, struct rt_conn *c, enum pr_vsn vsn,
                                struct rt_token *token);
void rt_socket_opened(struct rt_socket *s);
/* The connection is gone: channels leave, memory goes. */
void rt_socket_gone(struct rt_socket *s);
/* A whole message arrived. Borrows it. */
void rt_socket_message(struct rt_socket *s, struct pr_slice message, bool text);
/* Decides one message; also those that waited behind a join. */
void rt_socket_handle(struct rt_socket *s, struct pr_slice message, bool text);
void rt_socket_alive(struct rt_socket *s);

/* Queues a frame (takes its own reference). Over the bound: the socket is closed with 1013. */
void rt_socket_queue(struct rt_socket *s, struct rt_frame *f);
/* Something is to be done for it at the end of this turn. */
void rt_socket_wake(struct rt_socket *s);
/* Room again. */
void rt_socket_writable(struct rt_socket *s);
/* Sends what is queued at sockets that have something, once per loop turn. */
void rt_sockets_flush(struct rt_edge *e);

/* Marks for closing; the first reason counts. `reason` is static. */
void rt_socket_close(struct rt_socket *s, uint16_t code, const char *reason);
/* The channel of a topic name, NULL if there is none. */
struct rt_channel *rt_socket_channel(struct rt_socket *s, struct pr_slice name);
/* A channel came or went: limits and clocks that hang on their number. */
void rt_socket_count(struct rt_socket *s, int change);

#endif
