/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of a connection.
 *
 * What the kernel does not take at once is kept here, and nothing new from the edge is taken before
 * that is gone: so at most one call's rest is kept (64 KiB, or one large frame, held by reference).
 * The transport's own PONG, PING and CLOSE go behind it, never into the middle of a frame. Of
 * several PINGs only the last is answered (RFC 6455 5.5.3), so a client that pings and does not
 * read costs one PONG of memory.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "node/base/alloc.h"
#include "node/edge/transport_in.h"
#include "proto/ws_frame.h"

#define CONTROL_MAX (PR_WS_HEAD_MAX + PR_WS_CONTROL_MAX)

size_t rt_conn_pending(const struct rt_conn *c)
{
    return c->out.len + (c->held != NULL ? c->held->len - c->held_off : 0);
}

/* Bytes taken, 0: none now, -1: the connection is gone. */
static ssize_t outcome(ssize_t r)
{
    return r >= 0 ? r : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

/* Writes as much as goes. Bytes taken, or -1 and the connection is dead. */
static ssize_t write_some(struct rt_conn *c, const uint8_t *p, size_t n)
{
    size_t done = 0;
    ssize_t r = 1;

    while (done < n && r > 0) {
        if (c->ssl != NULL) {
            r = outcome(rt_tls_write(c, p + done, n - done));
        } else {
            r = outcome(send(c->fd, p + done, n - done, MSG_NOSIGNAL));
        }
        done += r > 0 ? (size_t)r : 0;
    }
    if (r < 0) {
        rt_conn_kill(c);
        return -1;
    }
    return (ssize_t)done;
}

static void put_control(struct rt_conn *c, enum pr_ws_opcode opcode, struct pr_slice payload)
{
    uint8_t frame[CONTROL_MAX];
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);

    pr_ws_put_head(&o, opcode, payload.n);
    pr_put_slice(&o, payload);
    assert(pr_out_ok(&o));
    rt_bytes_add(&c->out, frame, o.len);
}

/* Puts a waiting control frame into `out`, which is empty. False: none waits. */
static bool next_control(struct rt_conn *c)
{
    if (c->pong != NULL) {
        put_control(c, PR_WS_PONG, pr_bytes(c->pong + 1, c->pong[0]));
        rt_free(c->pong);
        c->pong = NULL;
        return true;
    }
    if (c->ping_due) {
        c->ping_due = false;
        put_control(c, PR_WS_PING, pr_bytes(NULL, 0));
        return true;
    }
    return false;
}

bool rt_conn_flush(struct rt_conn *c)
{
    do {
        if (c->held != NULL) {
            ssize_t r = write_some(c, c->held->bytes + c->held_off, c->held->len - c->held_off);

            c->held_off += r > 0 ? (size_t)r : 0;
            if (r < 0 || c->held_off < c->held->len) {
                return false;
            }
            rt_frame_unref(c->held);
            c->held = NULL;
        }
        if (c->out.len > 0) {
            ssize_t r = write_some(c, c->out.p + c->out.off, c->out.len);

            rt_bytes_take(&c->out, r > 0 ? (size_t)r : 0);
            if (r < 0 || c->out.len > 0) {
                return false;
            }
        }
    } while (next_control(c));
    return c->state != RT_CONN_DEAD;
}

void rt_conn_write(struct rt_conn *c, const void *p, size_t n)
{
    rt_bytes_add(&c->out, p, n);
    (void)rt_conn_flush(c);
    rt_conn_poll(c);
}

static bool takes_frames(const struct rt_conn *c)
{
    return (c->state == RT_CONN_WS || c->state == RT_CONN_OPENING) && !c->close_due;
}

void rt_conn_pong(struct rt_conn *c, struct pr_slice payload)
{
    assert(payload.n <= PR_WS_CONTROL_MAX);
    if (!takes_frames(c)) {
        return;
    }
    rt_free(c->pong);
    c->pong = rt_malloc(1 + payload.n);
    c->pong[0] = (uint8_t)payload.n;
    if (payload.n > 0) {
        memcpy(c->pong + 1, payload.p, payload.n);
    }
    if (rt_conn_pending(c) == 0) {
        (void)rt_conn_flush(c);
        rt_conn_poll(c);
    }
}

void rt_conn_ping(struct rt_conn *c)
{
    if (!takes_frames(c)) {
        return;
    }
    c->ping_due = true;
    if (rt_conn_pending(c) == 0) {
        (void)rt_conn_flush(c);
        rt_conn_poll(c);
    }
}

/* Keeps what is left of `frames` after `done` bytes: the end of the last one by reference. */
static void keep_rest(struct rt_conn *c, struct rt_frame *const *frames, uint32_t n, size_t done)
{
    for (uint32_t i = 0; i < n; i++) {
        size_t len = frames[i]->len;

        if (done >= len) {
            done -= len;
            continue;
        }
        if (i == n - 1 && c->out.len == 0) {
            c->held = rt_frame_ref(frames[i]);
            c->held_off = done;
        } else {
            rt_bytes_add(&c->out, frames[i]->bytes + done, len - done);
        }
        done = 0;
    }
    rt_conn_poll(c);
}

/* TLS: frames joined to one record. Once OpenSSL has seen bytes they must be given again, so what
 * is not written counts as taken. */
static enum rt_send_result send_tls(struct rt_conn *c, struct rt_frame *const *frames, uint32_t n)
{
    const uint8_t *p = frames[0]->bytes;
    size_t len = frames[0]->len;

    if (n > 1) {
        len = 0;
        for (uint32_t i = 0; i < n; i++) {
            assert(frames[i]->len <= sizeof c->t->send_buf - len);
            memcpy(c->t->send_buf + len, frames[i]->bytes, frames[i]->len);
            len += frames[i]->len;
        }
        p = c->t->send_buf;
    }
    ssize_t r = write_some(c, p, len);

    if (r < 0) {
        return RT_SEND_CLOSED;
    }
    if ((size_t)r < len) {
        keep_rest(c, frames, n, (size_t)r);
    }
    return RT_SEND_ALL;
}

enum rt_send_result rt_conn_send(struct rt_conn *c, struct rt_frame *const *frames, uint32_t n)
{
    struct iovec iov[RT_SEND_FRAMES_MAX];
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = n};
    size_t len = 0;

    assert(n > 0 && n <= RT_SEND_FRAMES_MAX);
    if (!takes_frames(c)) {
        return RT_SEND_CLOSED;
    }
    if (rt_conn_pending(c) > 0) {
        c->blocked = true;
        rt_conn_poll(c);
        return RT_SEND_BLOCKED;
    }
    if (c->ssl != NULL) {
        return send_tls(c, frames, n);
    }
    for (uint32_t i = 0; i < n; i++) {
        iov[i] = (struct iovec){.iov_base = frames[i]->bytes, .iov_len = frames[i]->len};
        len += frames[i]->len;
    }
    ssize_t r = outcome(sendmsg(c->fd, &msg, MSG_NOSIGNAL));

    if (r < 0) {
        rt_conn_kill(c);
        return RT_SEND_CLOSED;
    }
    if (r == 0) {
        c->blocked = true;
        rt_conn_poll(c);
        return RT_SEND_BLOCKED;
    }
    if ((size_t)r < len) {
        keep_rest(c, frames, n, (size_t)r);
    }
    return RT_SEND_ALL;
}

void rt_output_free(struct rt_conn *c)
{
    rt_frame_unref(c->held);
    c->held = NULL;
    rt_bytes_free(&c->out);
    rt_free(c->pong);
    c->pong = NULL;
}
