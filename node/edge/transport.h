/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport.h - client sockets of one edge process: TLS, HTTP/1.1, WebSocket.
 *
 * In: a listening descriptor. Out: a request, an opened WebSocket, messages, room to write, the
 * end. The edge decides; the transport knows no topic, token or route.
 *
 * HTTP/1.1 and the server side of RFC 6455 are our own, on libuv and OpenSSL. libwebsockets 4.1 was
 * tried: it took unmasked client frames and text that is not UTF-8, ended without a close frame on
 * overlong control frames and on lengths of 2^63, and shows its callbacks neither the mask bit nor
 * a list of the headers, so this could not be mended from outside. One lws_write per writable
 * callback was also measured at 2.6 times the cost of a bare send per delivery.
 */
#ifndef NODE_EDGE_TRANSPORT_H
#define NODE_EDGE_TRANSPORT_H

#include <uv.h>

#include "node/base/frame.h"
#include "proto/bytes.h"

struct rt_transport;
struct rt_conn;

struct rt_transport_limits {
    uint32_t head_bytes_max;    /* request line and headers, 16 KiB */
    uint32_t head_ms_max;       /* a head must be complete after this, 10 000 */
    uint32_t body_bytes_max;    /* of a REST request, 8 000 000 */
    uint32_t message_bytes_max; /* of one reassembled WebSocket message, 5 000 000 */
    uint32_t fragments_max;     /* of one message, 1 024 */
    uint32_t fds_max;           /* descriptors this process may use */
};

/* A request; slices are valid during the callback. */
struct rt_request {
    struct pr_slice method;
    struct pr_slice path;  /* as sent, without the query */
    struct pr_slice query; /* without '?', not decoded */
    bool websocket;        /* a well-formed WebSocket upgrade request, version 13 */
    bool body_due;         /* a body was announced and is not here */
    struct pr_slice body;
    char peer[48]; /* address of the client, text */
};

struct rt_header {
    const char *name;
    const char *value;
};

struct rt_transport_events {
    /*
     * A request. Answer now or later with rt_conn_respond() or, if r->websocket,
     * rt_conn_upgrade(). Headers by rt_conn_header() during the callback. One with r->body_due may
     * be answered too, then its body is not read and the connection ends behind the answer; or call
     * rt_conn_want_body(), and it comes again with the body.
     */
    void (*on_request)(void *ctx, struct rt_conn *c, const struct rt_request *r);
    /* A wanted body has grown to `len` bytes. False: there is no room for it, 429. */
    bool (*on_body)(void *ctx, struct rt_conn *c, size_t len);
    void (*on_open)(void *ctx, struct rt_conn *c);
    /* A whole message; text is valid UTF-8 (else the transport has closed with 1007). Borrowed. */
    void (*on_message)(void *ctx, struct rt_conn *c, struct pr_slice message, bool text);
    /* After rt_conn_send answered RT_SEND_BLOCKED: try again. */
    void (*on_writable)(void *ctx, struct rt_conn *c);
    /* A PING or PONG arrived (idle clocks). */
    void (*on_alive)(void *ctx, struct rt_conn *c);
    /* The last callback of a connection, whoever ended it; `c` is freed after it returns. */
    void (*on_close)(void *ctx, struct rt_conn *c);
};

struct rt_transport_config {
    uv_loop_t *loop;
    const char *tls_cert, *tls_key; /* PEM files, or NULL: plain */
    struct rt_transport_limits limits;
    const struct rt_transport_events *events;
    void *ctx;
};

/* NULL and *why (static or owned by the transport's log) if the TLS files do not serve. */
struct rt_transport *rt_transport_new(const struct rt_transport_config *cfg, const char **why);
/* Starts accepting on a listening, non-blocking descriptor (borrowed). Once per descriptor; a plain
 * one also on a TLS transport (admin listener). `tag` comes back from rt_conn_tag(). */
int rt_transport_listen(struct rt_transport *t, int fd, bool tls, int tag);
/* Stops accepting; open connections go on. */
void rt_transport_stop_listening(struct rt_transport *t);
/* Closes all and frees all; runs the loop's close callbacks itself. */
void rt_transport_free(struct rt_transport *t);
uint32_t rt_transport_count(const struct rt_transport *t);

void rt_conn_set_user(struct rt_conn *c, void *user);
void *rt_conn_user(const struct rt_conn *c);
int rt_conn_tag(const struct rt_conn *c);
/* Value of a request header (name in lower case), empty if absent; only inside on_request. */
struct pr_slice rt_conn_header(struct rt_conn *c, const char *name);
/* Walks all headers: i = 0, 1, … until false. Only inside on_request. */
bool rt_conn_header_at(struct rt_conn *c, uint32_t i, struct pr_slice *name,
                       struct pr_slice *value);

/* Inside on_request, with body_due: on_request is called once more, with the body. */
void rt_conn_want_body(struct rt_conn *c);
/* Accepts the WebSocket handshake; on_open follows. */
void rt_conn_upgrade(struct rt_conn *c);
/*
 * Answers a request. `headers` ends with {NULL, NULL}; content-length is added. Copies all.
 * The connection is kept for further requests if the client may reuse it.
 */
void rt_conn_respond(struct rt_conn *c, int status, const struct rt_header *headers,
                     struct pr_slice body);

enum rt_send_result {
    RT_SEND_ALL = 1, /* all frames are with the kernel or the transport */
    RT_SEND_BLOCKED, /* none was taken; on_writable follows */
    RT_SEND_CLOSED   /* the connection is gone or going; on_close follows */
};
/*
 * Sends `n` (1 .. RT_SEND_FRAMES_MAX) whole WebSocket frames, at most 64 KiB together unless it is
 * a single one, in one system call. Borrows the frames during the call.
 */
#define RT_SEND_FRAMES_MAX 64u
#define RT_SEND_BYTES_MAX  65536u
enum rt_send_result rt_conn_send(struct rt_conn *c, struct rt_frame *const *frames, uint32_t n);
/* Bytes of ours that the transport still holds for this connection. */
size_t rt_conn_pending(const struct rt_conn *c);
/* Sends a WebSocket PING with an empty payload, between frames. */
void rt_conn_ping(struct rt_conn *c);
/* How long a client that is being closed may take to read what is on its way to it, the reason in
 * the close frame above all. */
#define RT_CLOSE_LINGER_MS 8000u
/*
 * Starts to close a WebSocket with a close frame (1000..4999, reason <= 123 bytes, copied) from a
 * later callback; on_close follows. A peer that does not read is cut after RT_CLOSE_LINGER_MS.
 */
void rt_conn_close(struct rt_conn *c, uint16_t code, const char *reason);
/* Stops or goes on reading from this client (back-pressure). */
void rt_conn_read(struct rt_conn *c, bool on);

#endif
