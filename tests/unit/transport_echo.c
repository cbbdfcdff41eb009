/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small server on node/edge/transport.h, for test_transport.py. Prints its port, serves until its
 * standard input ends, and then fails if any connection was left or not closed exactly once.
 *
 *   transport_echo [CERT KEY]
 *
 * HTTP: GET /hello, POST /echo, /empty (202), /nothing (204), /later (answers a turn later),
 * /stats, /again (connections that are read again without an event of their descriptor); a
 * WebSocket upgrade on every path but /refuse (403). A body is read on every path but /refuse, and
 * for /full there is no room.
 * WebSocket: "flood COUNT BYTES" sends that many binary frames, each filled with its number;
 * "close CODE REASON" closes; "pause" stops reading for a moment; everything else is echoed.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/edge/outq.h"
#include "node/edge/transport_in.h"
#include "proto/ws_frame.h"

#define QUEUE_BYTES (1u << 20)

struct client {
    struct client *next;
    struct rt_conn *c;
    struct rt_outq out;
    bool blocked, answer_later, upgrade_later, read_later, full;
    uint32_t flood_left, flood_bytes, flood_at;
};

struct server {
    uv_loop_t loop;
    struct rt_transport *t;
    struct client *clients;
    uv_prepare_t turn;
    uv_idle_t again;
    uv_pipe_t in;
    uint32_t requests, opened, closed, alive, seen;
};

static const struct rt_header text_plain[] = {{"content-type", "text/plain"}, {NULL, NULL}};

static struct client *client_of(struct server *s, struct rt_conn *c)
{
    struct client *cl = rt_conn_user(c);

    if (cl == NULL) {
        cl = rt_calloc(1, sizeof *cl);
        cl->c = c;
        cl->next = s->clients;
        s->clients = cl;
        rt_outq_init(&cl->out, QUEUE_BYTES);
        rt_conn_set_user(c, cl);
        s->seen++;
    }
    return cl;
}

static void on_again(uv_idle_t *idle)
{
    struct server *s = idle->data;

    (void)uv_idle_stop(idle);
    for (struct client *cl = s->clients; cl != NULL; cl = cl->next) {
        if (cl->answer_later) {
            cl->answer_later = false;
            rt_conn_respond(cl->c, 200, text_plain, pr_str("later"));
        }
        if (cl->upgrade_later) {
            cl->upgrade_later = false;
            rt_conn_upgrade(cl->c);
        }
        if (cl->read_later) {
            cl->read_later = false;
            rt_conn_read(cl->c, true);
        }
    }
}

static void on_request(void *ctx, struct rt_conn *c, const struct rt_request *r)
{
    struct server *s = ctx;
    struct client *cl = client_of(s, c);
    struct pr_slice name;
    struct pr_slice value;
    uint32_t headers = 0;
    char text[160];

    s->requests++;
    while (rt_conn_header_at(c, headers, &name, &value)) {
        headers++;
    }
    if (r->websocket && pr_slice_is(r->path, "/later")) {
        cl->upgrade_later = true;
        (void)uv_idle_start(&s->again, on_again);
    } else if (pr_slice_is(r->path, "/refuse")) {
        rt_conn_respond(c, 403, text_plain, pr_str("no"));
    } else if (r->body_due) {
        cl->full = pr_slice_is(r->path, "/full");
        rt_conn_want_body(c);
    } else if (r->websocket) {
        rt_conn_upgrade(c);
    } else if (pr_slice_is(r->path, "/later")) {
        cl->answer_later = true;
        (void)uv_idle_start(&s->again, on_again);
    } else if (pr_slice_is(r->path, "/echo")) {
        rt_conn_respond(c, 200, text_plain, r->body);
    } else if (pr_slice_is(r->path, "/empty")) {
        rt_conn_respond(c, 202, text_plain, pr_str(""));
    } else if (pr_slice_is(r->path, "/nothing")) {
        rt_conn_respond(c, 204, text_plain, pr_str(""));
    } else if (pr_slice_is(r->path, "/again")) {
        uint32_t again = 0;
        int n = 0;

        for (const struct rt_conn *other = s->t->conns; other != NULL; other = other->next) {
            again += other->retry ? 1 : 0;
        }
        n = snprintf(text, sizeof text, "%u", again);
        rt_conn_respond(c, 200, text_plain, pr_bytes(text, (size_t)n));
    } else if (pr_slice_is(r->path, "/stats")) {
        int n = snprintf(text, sizeof text, "%u %u %u %u %u %s %u", s->requests, s->opened,
                         s->closed, s->alive, rt_transport_count(s->t), r->peer, headers);

        rt_conn_respond(c, 200, text_plain, pr_bytes(text, (size_t)n));
    } else {
        rt_conn_respond(c, 200, text_plain, pr_str("hello"));
    }
}

static bool on_body(void *ctx, struct rt_conn *c, size_t len)
{
    (void)len;
    return !client_of(ctx, c)->full;
}

static void on_open(void *ctx, struct rt_conn *c)
{
    (void)c;
    ((struct server *)ctx)->opened++;
}

static struct rt_frame *frame_of(struct pr_slice payload, enum pr_ws_opcode opcode)
{
    size_t len = pr_ws_head_len(payload.n) + payload.n;
    struct rt_frame *f = rt_frame_new(len);
    struct pr_outbuf o = pr_outbuf(f->bytes, len);

    pr_ws_put_head(&o, opcode, payload.n);
    pr_put_slice(&o, payload);
    assert(pr_out_ok(&o));
    return f;
}

static void queue(struct client *cl, struct rt_frame *f)
{
    if (!rt_outq_push(&cl->out, f)) {
        rt_outq_clear(&cl->out);
        cl->flood_left = 0;
        rt_conn_close(cl->c, 1013, "slow consumer");
    }
    rt_frame_unref(f);
}

static void on_message(void *ctx, struct rt_conn *c, struct pr_slice m, bool text)
{
    struct server *s = ctx;
    struct client *cl = rt_conn_user(c);
    char line[64] = {0};
    unsigned a = 0;
    int at = 0;

    if (text && m.n < sizeof line) {
        memcpy(line, m.p, m.n);
    }
    if (strncmp(line, "flood ", 6) == 0) {
        char *end = NULL;

        cl->flood_left = (uint32_t)strtoul(line + 6, &end, 10);
        cl->flood_bytes = (uint32_t)strtoul(end, NULL, 10);
    } else if (strncmp(line, "close ", 6) == 0) {
        char *end = NULL;

        a = (unsigned)strtoul(line + 6, &end, 10);
        at = *end == ' ' ? 1 : 0;
        rt_conn_close(c, (uint16_t)a, end + at);
        rt_conn_close(c, 1000, "a second one does nothing");
    } else if (strcmp(line, "pause") == 0) {
        rt_conn_read(c, false);
        cl->read_later = true;
        (void)uv_idle_start(&s->again, on_again);
    } else if (strcmp(line, "ping") == 0) {
        rt_conn_ping(c);
    } else {
        queue(cl, frame_of(m, text ? PR_WS_TEXT : PR_WS_BINARY));
    }
}

static void on_writable(void *ctx, struct rt_conn *c)
{
    (void)ctx;
    ((struct client *)rt_conn_user(c))->blocked = false;
}

static void on_alive(void *ctx, struct rt_conn *c)
{
    (void)c;
    ((struct server *)ctx)->alive++;
}

static void on_close(void *ctx, struct rt_conn *c)
{
    struct server *s = ctx;
    struct client *cl = rt_conn_user(c);
    struct client **at = &s->clients;

    assert(cl != NULL); /* NULL: a second on_close */
    while (*at != cl) {
        at = &(*at)->next;
    }
    *at = cl->next;
    rt_conn_set_user(c, NULL);
    rt_outq_clear(&cl->out);
    rt_free(cl);
    s->closed++;
}

/* Frames of a flood in amounts that look like traffic: at most 32 a turn. */
static void more_flood(struct client *cl)
{
    uint8_t *payload = rt_malloc(cl->flood_bytes + 1);

    for (uint32_t i = 0; i < 32 && cl->flood_left > 0 && cl->out.bytes < QUEUE_BYTES / 2; i++) {
        memset(payload, (int)(cl->flood_at++ & 0xff), cl->flood_bytes);
        cl->flood_left--;
        queue(cl, frame_of(pr_bytes(payload, cl->flood_bytes), PR_WS_BINARY));
    }
    rt_free(payload);
}

static void on_turn(uv_prepare_t *turn)
{
    struct server *s = turn->data;
    struct rt_frame *frames[RT_SEND_FRAMES_MAX];

    for (struct client *cl = s->clients; cl != NULL; cl = cl->next) {
        more_flood(cl);
        uint32_t n = rt_outq_peek(&cl->out, frames, RT_SEND_FRAMES_MAX, RT_SEND_BYTES_MAX);

        if (n == 0 || cl->blocked) {
            continue;
        }
        switch (rt_conn_send(cl->c, frames, n)) {
        case RT_SEND_ALL:
            rt_outq_pop(&cl->out, n);
            if (cl->out.count > 0 || cl->flood_left > 0) {
                (void)uv_idle_start(&s->again, on_again);
            }
            break;
        case RT_SEND_BLOCKED:
            cl->blocked = true;
            break;
        case RT_SEND_CLOSED:
            rt_outq_clear(&cl->out);
            cl->flood_left = 0;
            break;
        }
    }
}

static void on_alloc(uv_handle_t *h, size_t n, uv_buf_t *buf)
{
    static char byte[64];

    (void)h;
    (void)n;
    *buf = uv_buf_init(byte, sizeof byte);
}

static void on_stdin(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    (void)buf;
    if (n < 0) {
        uv_stop(stream->loop);
    }
}

static int listen_any(uint16_t *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1 || bind(fd, (struct sockaddr *)&a, n) != 0 || listen(fd, 512) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0) {
        perror("listen");
        exit(2);
    }
    *port = ntohs(a.sin_port);
    return fd;
}

int main(int argc, char **argv)
{
    static struct server s;
    static const struct rt_transport_events events = {.on_request = on_request,
                                                      .on_body = on_body,
                                                      .on_open = on_open,
                                                      .on_message = on_message,
                                                      .on_writable = on_writable,
                                                      .on_alive = on_alive,
                                                      .on_close = on_close};
    struct rt_transport_config cfg = {
        .loop = &s.loop,
        .tls_cert = argc > 2 ? argv[1] : NULL,
        .tls_key = argc > 2 ? argv[2] : NULL,
        .limits = {16384, 1500, 8000000, 5000000, 1024, 400},
        .events = &events,
        .ctx = &s,
    };
    const char *why = NULL;
    uint16_t port = 0;
    int fd = listen_any(&port);

    (void)signal(SIGPIPE, SIG_IGN);
    (void)uv_loop_init(&s.loop);
    s.t = rt_transport_new(&cfg, &why);
    if (s.t == NULL || rt_transport_listen(s.t, fd, argc > 2, 7) != 0) {
        (void)fprintf(stderr, "transport: %s\n", why != NULL ? why : "listen");
        return 2;
    }
    (void)uv_prepare_init(&s.loop, &s.turn);
    (void)uv_idle_init(&s.loop, &s.again);
    (void)uv_pipe_init(&s.loop, &s.in, 0);
    s.turn.data = &s;
    s.again.data = &s;
    (void)uv_prepare_start(&s.turn, on_turn);
    (void)uv_pipe_open(&s.in, 0);
    (void)uv_read_start((uv_stream_t *)&s.in, on_alloc, on_stdin);
    (void)printf("%u\n", port);
    (void)fflush(stdout);
    (void)uv_run(&s.loop, UV_RUN_DEFAULT);

    uv_close((uv_handle_t *)&s.turn, NULL);
    uv_close((uv_handle_t *)&s.again, NULL);
    uv_close((uv_handle_t *)&s.in, NULL);
    rt_transport_free(s.t);
    (void)close(fd);
    (void)uv_run(&s.loop, UV_RUN_DEFAULT);
    if (uv_loop_close(&s.loop) != 0 || s.clients != NULL || s.seen != s.closed) {
        (void)fprintf(stderr, "left behind: %u seen, %u closed\n", s.seen, s.closed);
        return 3;
    }
    return 0;
}
