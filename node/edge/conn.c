/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Life of one client connection: events of its descriptor, reading, deferred work, the end.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/edge/transport_in.h"

static void on_poll(uv_poll_t *poll, int status, int events);
static void on_timer(struct rt_wheel_entry *timer);

static void on_idle(uv_idle_t *idle)
{
    rt_conn_run_work(idle->data);
}

/* May bytes of this client be read and handled now? */
static bool takes_input(const struct rt_conn *c)
{
    switch ((enum rt_conn_state)c->state) {
    case RT_CONN_HEAD:
        /* Who does not read his answers is not asked for more requests. */
        return rt_conn_pending(c) == 0;
    case RT_CONN_WS:
        return !c->paused;
    case RT_CONN_TLS:
    case RT_CONN_BODY:
    case RT_CONN_CLOSING:
        return true;
    case RT_CONN_WAIT:
    case RT_CONN_ANSWER:
    case RT_CONN_OPENING:
    case RT_CONN_DEAD:
        break;
    }
    return false;
}

void rt_conn_poll(struct rt_conn *c)
{
    int events = 0;

    if (c->state != RT_CONN_DEAD) {
        events |= takes_input(c) && !c->eof ? UV_READABLE : 0;
        events |= rt_conn_pending(c) > 0 || c->blocked || c->tls_wants_write ? UV_WRITABLE : 0;
    }
    if (events == c->events) {
        return;
    }
    c->events = (uint8_t)events;
    if (events == 0) {
        (void)uv_poll_stop(&c->poll);
    } else {
        (void)uv_poll_start(&c->poll, events, on_poll);
    }
}

void rt_conn_timer(struct rt_conn *c, uint64_t ms)
{
    if (ms == 0) {
        rt_wheel_clear(&c->t->wheel, &c->timer);
    } else {
        rt_wheel_set(&c->t->wheel, &c->timer, on_timer, rt_transport_now_ms(c->t), ms);
    }
}

void rt_conn_work(struct rt_conn *c)
{
    struct rt_transport *t = c->t;

    if (c->in_work) {
        return;
    }
    if (t->work_head == NULL) {
        t->work_head = c;
        (void)uv_idle_start(&t->idle, on_idle);
    } else {
        t->work_tail->work_next = c;
    }
    t->work_tail = c;
    c->work_next = NULL;
    c->in_work = true;
}

void rt_conn_kill(struct rt_conn *c)
{
    if (c->state == RT_CONN_DEAD) {
        return;
    }
    c->state = RT_CONN_DEAD;
    rt_conn_poll(c);
    rt_conn_timer(c, 0);
    rt_conn_work(c);
}

static void free_input(struct rt_conn *c)
{
    rt_bytes_free(&c->in);
    rt_bytes_free(&c->message);
    if (c->body != NULL) {
        rt_bytes_free(&c->body->data);
        rt_free(c->body);
        c->body = NULL;
    }
}

/* A connection that is closing has nothing to send: says so, and goes when the client has gone. */
static void closing_sent(struct rt_conn *c)
{
    if (!c->fin_sent) {
        c->fin_sent = true;
        if (c->ssl != NULL) {
            rt_tls_bye(c);
        }
        (void)shutdown(c->fd, SHUT_WR);
    }
    if (c->eof) {
        rt_conn_kill(c);
    }
}

void rt_conn_finish(struct rt_conn *c, uint64_t ms)
{
    if (c->state == RT_CONN_DEAD) {
        return;
    }
    c->state = RT_CONN_CLOSING;
    c->blocked = false;
    rt_conn_timer(c, ms);
    if (!c->busy) {
        free_input(c); /* else a callback may be reading it; it goes with the connection */
    }
    if (rt_conn_flush(c)) {
        closing_sent(c);
    }
    rt_conn_poll(c);
}

static void on_closed(uv_handle_t *handle)
{
    struct rt_conn *c = handle->data;
    struct rt_transport *t = c->t;

    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        t->conns = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
    t->count--;
    t->handles--;
    rt_free(c);
}

/* The only place that ends a connection, so that no caller finds it freed under his feet. */
static void end(struct rt_conn *c)
{
    struct rt_transport *t = c->t;

    if (c->announced) {
        c->announced = false;
        t->ev->on_close(t->ctx, c);
    }
    free_input(c);
    rt_output_free(c);
    rt_free(c->upgrade_answer);
    rt_free(c->close_reason);
    uv_close((uv_handle_t *)&c->poll, on_closed);
    SSL_free(c->ssl);
    (void)close(c->fd);
}

/* Bytes read to `p`; c->eof tells that no more will come. */
static size_t read_some(struct rt_conn *c, uint8_t *p, size_t n)
{
    size_t got = 0;
    ssize_t r;

    do {
        r = c->ssl != NULL ? rt_tls_read(c, p + got, n - got) : read(c->fd, p + got, n - got);
        got += r > 0 ? (size_t)r : 0;
    } while (r > 0 && c->ssl != NULL && got < n);
    /* After an error what came before still counts; then it is the same as an end. */
    if (r == 0 || (r < 0 && errno != EAGAIN && errno != EINTR)) {
        c->eof = true;
    }
    return got;
}

static void handle_open(struct rt_conn *c)
{
    c->state = RT_CONN_WS;
    c->busy = true;
    c->t->ev->on_open(c->t->ctx, c);
    c->busy = false;
}

/* Hands input to whoever is in turn, until it waits for more. Returns bytes that are done with. */
static size_t handle_input(struct rt_conn *c, uint8_t *p, size_t n)
{
    size_t used = 0;

    for (;;) {
        uint8_t before = c->state;
        size_t step = 0;

        switch ((enum rt_conn_state)before) {
        case RT_CONN_HEAD:
            step = used < n && takes_input(c) ? rt_http_head(c, pr_bytes(p + used, n - used)) : 0;
            break;
        case RT_CONN_BODY:
            step = rt_http_body(c, pr_bytes(p + used, n - used));
            break;
        case RT_CONN_OPENING:
            handle_open(c);
            break;
        case RT_CONN_WS:
            step = takes_input(c) ? rt_ws_input(c, p + used, n - used) : 0;
            break;
        case RT_CONN_CLOSING:
        case RT_CONN_DEAD:
            return n;
        case RT_CONN_TLS:
        case RT_CONN_WAIT:
        case RT_CONN_ANSWER:
            return used;
        }
        used += step;
        if (step == 0 && c->state == before) {
            return used;
        }
    }
}

static void on_input(struct rt_conn *c)
{
    struct rt_transport *t = c->t;
    size_t n = 0;

    /* While a body comes, `in` holds its head. */
    if (c->state != RT_CONN_BODY && c->in.len > 0) {
        n = c->in.len;
        assert(n <= sizeof t->read_buf);
        memcpy(t->read_buf, c->in.p + c->in.off, n);
        rt_bytes_free(&c->in);
    }
    if (n <= RT_KEPT_MAX && takes_input(c) && !c->eof) {
        n += read_some(c, t->read_buf + n, RT_READ_BYTES);
    }
    size_t used = handle_input(c, t->read_buf, n);

    if (c->state == RT_CONN_DEAD) {
        return;
    }
    if (c->state == RT_CONN_CLOSING) {
        if (c->eof && rt_conn_pending(c) == 0) {
            rt_conn_kill(c);
        }
        return;
    }
    assert(c->state != RT_CONN_BODY || used == n);
    rt_bytes_add(&c->in, t->read_buf + used, n - used);
    if (!takes_input(c)) {
        return;
    }
    if (c->eof) {
        rt_conn_kill(c);
    } else if (c->ssl != NULL && SSL_pending(c->ssl) > 0) {
        /* Not SSL_has_pending: that is true for part of a record, whose rest only the descriptor
         * can tell of. OpenSSL reads no further than one record (SSL_set_read_ahead is off). */
        c->retry = true;
        rt_conn_work(c);
    }
}

/* True: the handshake is done. */
static bool handshake(struct rt_conn *c)
{
    int r = rt_tls_handshake(c);

    if (r < 0) {
        rt_conn_kill(c);
    } else if (r > 0) {
        c->state = RT_CONN_HEAD;
        rt_conn_timer(c, c->t->limits.head_ms_max);
    }
    return r > 0;
}

static void on_output(struct rt_conn *c)
{
    c->tls_wants_write = false;
    if (!rt_conn_flush(c)) {
        return;
    }
    switch ((enum rt_conn_state)c->state) {
    case RT_CONN_ANSWER:
        rt_http_answered(c);
        break;
    case RT_CONN_CLOSING:
        closing_sent(c);
        break;
    case RT_CONN_WS:
        if (c->blocked) {
            c->blocked = false;
            c->busy = true;
            c->t->ev->on_writable(c->t->ctx, c);
            c->busy = false;
        }
        break;
    case RT_CONN_TLS:
    case RT_CONN_HEAD:
    case RT_CONN_BODY:
    case RT_CONN_WAIT:
    case RT_CONN_OPENING:
    case RT_CONN_DEAD:
        break;
    }
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct rt_conn *c = poll->data;

    if (c->state == RT_CONN_DEAD) {
        return;
    }
    if (status < 0) {
        /* libuv stops a descriptor with an error; reading or writing it tells which. */
        rt_conn_kill(c);
        return;
    }
    if (c->state == RT_CONN_TLS) {
        if (handshake(c)) {
            on_input(c); /* OpenSSL may hold the first request already */
        }
    } else {
        if ((events & UV_WRITABLE) != 0) {
            on_output(c);
        }
        if ((events & UV_READABLE) != 0 && takes_input(c)) {
            on_input(c);
        }
    }
    rt_conn_poll(c);
}

static void on_timer(struct rt_wheel_entry *timer)
{
    struct rt_conn *c = (struct rt_conn *)(void *)((char *)timer - offsetof(struct rt_conn, timer));

    if (c->state == RT_CONN_BODY || (c->state == RT_CONN_HEAD && c->in.len > 0)) {
        rt_http_refuse(c, 408);
    } else {
        rt_conn_kill(c);
    }
}

void rt_conn_run_work(struct rt_transport *t)
{
    struct rt_conn *next;
    struct rt_conn *c = t->work_head;

    t->work_head = NULL;
    t->work_tail = NULL;
    for (; c != NULL; c = next) {
        next = c->work_next;
        c->in_work = false;
        if (c->state == RT_CONN_DEAD) {
            end(c);
            continue;
        }
        if (c->close_due) {
            rt_ws_send_close(c);
        } else if (c->retry) {
            c->retry = false;
            on_input(c);
        }
        rt_conn_poll(c);
    }
    if (t->work_head == NULL) {
        (void)uv_idle_stop(&t->idle);
    }
}

void rt_conn_new(struct rt_transport *t, int fd, bool tls, int tag)
{
    struct rt_conn *c = rt_calloc(1, sizeof *c);

    c->t = t;
    c->fd = fd;
    c->tag = tag;
    c->state = tls ? RT_CONN_TLS : RT_CONN_HEAD;
    c->head_begun = true; /* the clock of the first head starts with the connection */
    c->poll.data = c;
    c->ssl = tls ? rt_tls_accept(t->tls, fd) : NULL;
    if ((tls && c->ssl == NULL) || uv_poll_init(t->loop, &c->poll, fd) != 0) {
        SSL_free(c->ssl);
        rt_free(c);
        (void)close(fd);
        return;
    }
    c->next = t->conns;
    if (c->next != NULL) {
        c->next->prev = c;
    }
    t->conns = c;
    t->count++;
    t->handles++;
    rt_conn_timer(c, t->limits.head_ms_max);
    rt_conn_poll(c);
}

void rt_conn_read(struct rt_conn *c, bool on)
{
    if (c->paused == on) {
        c->paused = !on;
        if (on && c->state == RT_CONN_WS) {
            c->retry = true;
            rt_conn_work(c);
        }
        rt_conn_poll(c);
    }
}
