/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transport_in.h - what the files of the transport share; nobody else includes it.
 *
 *   listener  accepts, and refuses what is over the descriptor limit
 *   conn      life of a connection: poll events, reading, deferred work, the end
 *   output    bytes on their way out, and the rule that nothing cuts a frame in two
 *   tls       the same bytes through OpenSSL
 *   http      request heads, answers        http_body  lengths and chunks
 *   ws        frames and messages from the client, the close handshake
 *
 * Rule of all files: callbacks of the edge run from conn.c's events only, with `busy` set, and
 * functions the edge calls never call back; what must follow is put on the transport's work list.
 */
#ifndef NODE_EDGE_TRANSPORT_IN_H
#define NODE_EDGE_TRANSPORT_IN_H

#include <openssl/ssl.h>

#include "node/edge/transport.h"
#include "node/edge/wheel.h"
#include "proto/http_head.h"

/* One read of one socket per turn (fairness), into a buffer all connections share. */
#define RT_READ_BYTES 65536u
/* Bytes a connection may keep from earlier reads and still be read: a head that is not whole. */
#define RT_KEPT_MAX PR_HTTP_HEAD_MAX
/* Time from one request's end to the next one's first byte. */
#define RT_KEEP_ALIVE_MS 75000u
/* A body must be complete, and an answer taken, in this time. */
#define RT_BODY_MS   60000u
#define RT_ANSWER_MS 60000u
/* How long a refused HTTP client may still send before it is cut: a close with unread bytes would
 * make the kernel throw the answer away (RST). */
#define RT_HTTP_LINGER_MS 2000u
/* Accepting goes on after this when the process had no descriptor left. */
#define RT_ACCEPT_RETRY_MS 100u

enum rt_conn_state {
    RT_CONN_TLS = 1, /* handshake */
    RT_CONN_HEAD,    /* waits for a request */
    RT_CONN_BODY,
    RT_CONN_WAIT,    /* the edge has the request and owes an answer */
    RT_CONN_ANSWER,  /* the answer is not with the kernel yet */
    RT_CONN_OPENING, /* the edge accepted the handshake: on_open is due */
    RT_CONN_WS,
    RT_CONN_CLOSING, /* last bytes go out, what comes in is thrown away */
    RT_CONN_DEAD     /* on_close is due or done */
};

/* Growing heap buffer; `len` bytes from `off` are alive. */
struct rt_bytes {
    uint8_t *p;
    size_t off, len, cap;
};

struct rt_chunks {
    uint64_t left; /* of the chunk */
    uint32_t line; /* bytes of the line so far */
    uint32_t trailer_bytes;
    uint8_t at; /* enum in http_body.c */
    bool size_seen, extension;
};

/* A request body on its way in; the request's head stays in conn.in. */
struct rt_body {
    struct rt_bytes data;
    uint64_t left; /* with a Content-Length */
    bool chunked;
    struct rt_chunks chunks;
};

struct rt_conn {
    struct rt_transport *t;
    struct rt_conn *next, *prev; /* all connections */
    struct rt_conn *work_next;   /* work list */
    void *user;
    SSL *ssl;
    uv_poll_t poll;
    int fd;
    int tag;
    struct rt_wheel_entry timer;
    uint8_t state;  /* enum rt_conn_state */
    uint8_t events; /* UV_READABLE, UV_WRITABLE asked for */
    bool in_work;
    bool busy;      /* inside a callback of the edge */
    bool announced; /* the edge has seen it: owes on_close */
    bool paused;    /* rt_conn_read(c, false) */
    bool blocked;   /* owes on_writable */
    bool eof;       /* the client sends nothing more */
    bool fin_sent;
    bool retry; /* what was kept may be handled now, or OpenSSL holds bytes */
    bool tls_wants_write;
    /* the request */
    bool keep_alive, head_only, head_begun, body_wanted;
    uint32_t head_scanned;
    char *upgrade_answer;
    struct rt_body *body;
    struct rt_bytes in; /* bytes kept for the next read */
    /* output, in this order */
    struct rt_frame *held; /* one large frame sent by half */
    size_t held_off;
    struct rt_bytes out;
    uint8_t *pong; /* NULL, or a whole frame that waits for `out` to be empty */
    bool ping_due;
    bool close_due; /* the close frame is asked for, not written */
    /* WebSocket frame and message on their way in */
    bool in_frame;
    uint8_t opcode; /* of the message: 0 none, 1 text, 2 binary */
    bool final;
    uint8_t mask[4];
    uint32_t fragments;
    uint64_t frame_left;
    uint64_t frame_pos; /* for the mask */
    struct rt_bytes message;
    uint16_t close_code;
    char *close_reason;
};

struct rt_listener {
    struct rt_listener *next;
    struct rt_transport *t;
    uv_poll_t poll;
    struct rt_wheel_entry timer;
    int fd;
    int tag;
    bool tls;
    bool stopped;
};

struct rt_transport {
    uv_loop_t *loop;
    struct rt_transport_limits limits;
    const struct rt_transport_events *ev;
    void *ctx;
    SSL_CTX *tls;
    struct rt_listener *listeners;
    struct rt_conn *conns;
    uint32_t count;   /* connections not freed yet */
    uint32_t handles; /* libuv handles not closed yet */
    struct rt_wheel wheel;
    uv_idle_t idle; /* runs while `work_head` is not empty */
    struct rt_conn *work_head, *work_tail;
    struct pr_http_head head;      /* of the request being handed out */
    const struct rt_conn *head_of; /* NULL outside on_request */
    uint8_t read_buf[RT_KEPT_MAX + RT_READ_BYTES];
    uint8_t send_buf[RT_SEND_BYTES_MAX]; /* TLS: frames joined to one record */
};

/* ---- transport.c ---- */
uint64_t rt_transport_now_ms(const struct rt_transport *t);
void rt_bytes_add(struct rt_bytes *b, const void *p, size_t n);
void rt_bytes_take(struct rt_bytes *b, size_t n);
void rt_bytes_free(struct rt_bytes *b);

/* ---- listener.c ---- */
void rt_listeners_close(struct rt_transport *t);

/* ---- conn.c ---- */
/* Takes an accepted descriptor. */
void rt_conn_new(struct rt_transport *t, int fd, bool tls, int tag);
/* Ends it now: no more bytes either way; on_close follows from the work list. */
void rt_conn_kill(struct rt_conn *c);
void rt_conn_work(struct rt_conn *c);
void rt_conn_run_work(struct rt_transport *t);
/* Asks libuv for the events the state needs. */
void rt_conn_poll(struct rt_conn *c);
void rt_conn_timer(struct rt_conn *c, uint64_t ms); /* 0: none */
/* Nothing more goes in; ends when the output is out and the client has closed, or after `ms`. */
void rt_conn_finish(struct rt_conn *c, uint64_t ms);

/* ---- output.c ---- */
/* Sends or keeps all; `c` may be dead afterwards. */
void rt_conn_write(struct rt_conn *c, const void *p, size_t n);
/* Sends what is kept. True: nothing is left. */
bool rt_conn_flush(struct rt_conn *c);
void rt_conn_pong(struct rt_conn *c, struct pr_slice payload);
void rt_output_free(struct rt_conn *c);

/* ---- tls.c ---- */
/* NULL and *why, a static text. */
SSL_CTX *rt_tls_new(const char *cert, const char *key, const char **why);
SSL *rt_tls_accept(SSL_CTX *ctx, int fd);
/* 1 done, 0 wait for events, -1 failed. */
int rt_tls_handshake(struct rt_conn *c);
/* Like read and write: -1 with errno EAGAIN, or another one if the connection is gone. */
ssize_t rt_tls_read(struct rt_conn *c, void *p, size_t n);
ssize_t rt_tls_write(struct rt_conn *c, const void *p, size_t n);

/* Says that nothing more comes; the answer is not waited for. */
void rt_tls_bye(struct rt_conn *c);

/* ---- http.c ---- */
/* Handles bytes at the start of `in`; returns how many are done with. */
size_t rt_http_head(struct rt_conn *c, struct pr_slice in);
size_t rt_http_body(struct rt_conn *c, struct pr_slice in);
/* Answers with an error of the transport's own, and closes. */
void rt_http_refuse(struct rt_conn *c, int status);
/* The answer is with the kernel: the next request may come, or the end. */
void rt_http_answered(struct rt_conn *c);

/* ---- http_body.c ---- */
enum rt_body_result { RT_BODY_MORE = 1, RT_BODY_DONE, RT_BODY_BAD, RT_BODY_LARGE };
enum rt_body_result rt_body_take(struct rt_body *b, struct pr_slice in, uint32_t bytes_max,
                                 size_t *used);

/* ---- ws.c ---- */
size_t rt_ws_input(struct rt_conn *c, uint8_t *p, size_t n);
/* Writes the close frame that was asked for. */
void rt_ws_send_close(struct rt_conn *c);
/* Text of the 101 answer to the request in t->head, to be freed with rt_free. */
char *rt_ws_answer(const struct pr_http_head *h);

#endif
