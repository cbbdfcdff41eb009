/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests and answers of one HTTP/1.1 connection, one after the other.
 */
#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include <sys/socket.h>

#include "node/base/alloc.h"
#include "node/edge/transport_in.h"

static const char *phrase(int status)
{
    static const struct {
        int status;
        const char *text;
    } known[] = {
        {200, "OK"},
        {202, "Accepted"},
        {204, "No Content"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].status == status) {
            return known[i].text;
        }
    }
    return "Status"; /* the phrase has no meaning (RFC 9112 4) */
}

static void put_answer(const struct rt_conn *c, struct pr_outbuf *o, int status,
                       const struct rt_header *headers, struct pr_slice body)
{
    bool bodiless = status == 204 || status == 304;

    pr_put_str(o, "HTTP/1.1 ");
    pr_put_dec(o, (uint64_t)status);
    pr_put_str(o, " ");
    pr_put_str(o, phrase(status));
    for (; headers->name != NULL; headers++) {
        pr_put_str(o, "\r\n");
        pr_put_str(o, headers->name);
        pr_put_str(o, ": ");
        pr_put_str(o, headers->value);
    }
    if (!bodiless) {
        pr_put_str(o, "\r\ncontent-length: ");
        pr_put_dec(o, body.n);
    }
    pr_put_str(o, c->keep_alive ? "\r\nconnection: keep-alive\r\n\r\n"
                                : "\r\nconnection: close\r\n\r\n");
    if (!bodiless && !c->head_only) {
        pr_put_slice(o, body);
    }
}

static void answer(struct rt_conn *c, int status, const struct rt_header *headers,
                   struct pr_slice body)
{
    struct pr_outbuf o = pr_outbuf(NULL, 0);

    put_answer(c, &o, status, headers, body);
    o = pr_outbuf(rt_malloc(o.len), o.len);
    put_answer(c, &o, status, headers, body);
    assert(pr_out_ok(&o));
    c->state = RT_CONN_ANSWER;
    rt_conn_timer(c, RT_ANSWER_MS);
    rt_conn_write(c, o.p, o.len);
    rt_free(o.p);
    if (c->state == RT_CONN_ANSWER && rt_conn_pending(c) == 0) {
        rt_http_answered(c);
    }
}

void rt_http_answered(struct rt_conn *c)
{
    if (!c->keep_alive) {
        rt_conn_finish(c, RT_HTTP_LINGER_MS);
        return;
    }
    c->state = RT_CONN_HEAD;
    c->head_begun = false;
    rt_conn_timer(c, RT_KEEP_ALIVE_MS);
    if (!c->busy) {
        c->retry = true; /* the next request may be here already */
        rt_conn_work(c);
    }
}

void rt_http_refuse(struct rt_conn *c, int status)
{
    struct rt_header headers[] = {
        {"content-type", "application/json; charset=utf-8"},
        {"access-control-allow-origin", "*"}, /* or a page cannot read it */
        {NULL, NULL},
        {NULL, NULL}};
    uint8_t text[96];
    struct pr_outbuf o = pr_outbuf(text, sizeof text);

    pr_put_str(&o, "{\"message\":\"");
    pr_put_str(&o, phrase(status));
    pr_put_str(&o, "\"}");
    assert(pr_out_ok(&o));
    c->keep_alive = false;
    c->head_only = false;
    if (status == 405) {
        headers[2] = (struct rt_header){"allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"};
    } else if (status == 426) {
        headers[2] = (struct rt_header){"sec-websocket-version", "13"};
    }
    answer(c, status, headers, pr_bytes(text, o.len));
}

static void put_peer(const struct rt_conn *c, char *out, size_t len)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } a = {.any = {.sa_family = AF_UNSPEC}};
    socklen_t n = sizeof a;

    out[0] = 0;
    if (getpeername(c->fd, &a.any, &n) != 0) {
        return;
    }
    if (a.any.sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &a.v4.sin_addr, out, (socklen_t)len);
    } else if (a.any.sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &a.v6.sin6_addr, out, (socklen_t)len);
    }
}

/* Gives the request in t->head to the edge. */
static void hand_out(struct rt_conn *c, struct pr_slice body, bool body_due)
{
    struct rt_transport *t = c->t;
    const struct pr_http_head *h = &t->head;
    struct rt_request r = {.method = h->method,
                           .path = h->path,
                           .query = h->query,
                           .websocket = h->websocket,
                           .body_due = body_due,
                           .body = body};

    put_peer(c, r.peer, sizeof r.peer);
    c->state = RT_CONN_WAIT;
    c->announced = true;
    c->upgrade_answer = h->websocket ? rt_ws_answer(h) : NULL;
    rt_conn_timer(c, 0);
    t->head_of = c;
    c->busy = true;
    t->ev->on_request(t->ctx, c, &r);
    c->busy = false;
    t->head_of = NULL;
}

/* Keeps the head and waits for the body, if the edge wants it. */
static void begin_body(struct rt_conn *c, struct pr_slice in, size_t head_len)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    const struct pr_http_head *h = &c->t->head;

    if (h->length_bytes > c->t->limits.body_bytes_max) {
        rt_http_refuse(c, 413);
        return;
    }
    c->keep_alive = false; /* behind an answer, the body would be taken for a request */
    c->body_wanted = false;
    hand_out(c, pr_bytes(NULL, 0), true);
    if (!c->body_wanted) {
        return;
    }
    c->keep_alive = h->keep_alive;
    c->body = rt_calloc(1, sizeof *c->body);
    c->body->chunked = h->chunked;
    c->body->left = h->length_bytes;
    rt_bytes_add(&c->in, in.p, head_len);
    c->state = RT_CONN_BODY;
    rt_conn_timer(c, RT_BODY_MS);
    if (h->expect_continue && in.n == head_len) {
        rt_conn_write(c, go_on, sizeof go_on - 1);
    }
}

size_t rt_http_head(struct rt_conn *c, struct pr_slice in)
{
    struct pr_http_head *h = &c->t->head;

    if (!c->head_begun) {
        c->head_begun = true;
        rt_conn_timer(c, c->t->limits.head_ms_max);
    }
    memset(h, 0, offsetof(struct pr_http_head, headers));
    h->scanned = c->head_scanned;
    long len = pr_http_head_parse(in, h);

    if (len > (long)c->t->limits.head_bytes_max ||
        (len == 0 && in.n > c->t->limits.head_bytes_max)) {
        len = -431;
    }
    c->head_scanned = len == 0 ? (uint32_t)h->scanned : 0;
    if (len < 0) {
        rt_http_refuse(c, (int)-len);
        return in.n;
    }
    if (len == 0) {
        return 0;
    }
    c->keep_alive = h->keep_alive;
    c->head_only = pr_slice_is(h->method, "HEAD");
    if (h->chunked || h->length_bytes > 0) {
        begin_body(c, in, (size_t)len);
    } else {
        hand_out(c, pr_bytes(NULL, 0), false);
    }
    return (size_t)len;
}

static void body_done(struct rt_conn *c)
{
    struct rt_bytes head = c->in;
    struct rt_body *body = c->body;

    c->in = (struct rt_bytes){.p = NULL};
    c->body = NULL;
    memset(&c->t->head, 0, offsetof(struct pr_http_head, headers));
    long len = pr_http_head_parse(pr_bytes(head.p + head.off, head.len), &c->t->head);

    assert(len > 0 && (size_t)len == head.len); /* it was parsed before */
    (void)len;
    hand_out(c, pr_bytes(body->data.p + body->data.off, body->data.len), false);
    rt_bytes_free(&head);
    rt_bytes_free(&body->data);
    rt_free(body);
}

size_t rt_http_body(struct rt_conn *c, struct pr_slice in)
{
    size_t used = 0;

    switch (rt_body_take(c->body, in, c->t->limits.body_bytes_max, &used)) {
    case RT_BODY_MORE:
        if (c->t->ev->on_body(c->t->ctx, c, c->body->data.len)) {
            return used;
        }
        rt_http_refuse(c, 429);
        break;
    case RT_BODY_DONE:
        body_done(c);
        return used;
    case RT_BODY_BAD:
        rt_http_refuse(c, 400);
        break;
    case RT_BODY_LARGE:
        rt_http_refuse(c, 413);
        break;
    }
    return in.n;
}

void rt_conn_want_body(struct rt_conn *c)
{
    c->body_wanted = true;
}

void rt_conn_respond(struct rt_conn *c, int status, const struct rt_header *headers,
                     struct pr_slice body)
{
    if (c->state != RT_CONN_WAIT) {
        return; /* the client has gone */
    }
    rt_free(c->upgrade_answer);
    c->upgrade_answer = NULL;
    answer(c, status, headers, body);
}

void rt_conn_upgrade(struct rt_conn *c)
{
    if (c->state != RT_CONN_WAIT) {
        return;
    }
    assert(c->upgrade_answer != NULL);
    c->state = RT_CONN_OPENING;
    rt_conn_write(c, c->upgrade_answer, strlen(c->upgrade_answer));
    rt_free(c->upgrade_answer);
    c->upgrade_answer = NULL;
    if (!c->busy && c->state != RT_CONN_DEAD) {
        c->retry = true;
        rt_conn_work(c);
    }
}
