/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way out of a socket: queue, one send per loop turn, and the end.
 */
#include "node/edge/socket.h"

#include <assert.h>

#include "node/edge/channel.h"
#include "node/edge/pending.h"

/* Sends in one turn for one socket; a client that takes more than that waits for the next. */
#define ROUNDS_MAX 8u

void rt_socket_wake(struct rt_socket *s)
{
    struct rt_edge *e = s->edge;

    if (s->dirty) {
        return;
    }
    s->dirty = true;
    s->dirty_next = NULL;
    if (e->dirty_tail == NULL) {
        e->dirty_head = s;
    } else {
        e->dirty_tail->dirty_next = s;
    }
    e->dirty_tail = s;
}

static void send_queued(struct rt_socket *s)
{
    struct rt_frame *frames[RT_SEND_FRAMES_MAX];
    uint32_t n = 0;

    for (uint32_t round = 0; round < ROUNDS_MAX; round++) {
        n = rt_outq_peek(&s->out, frames, RT_SEND_FRAMES_MAX, RT_SEND_BYTES_MAX);
        if (n == 0) {
            s->warned = false;
            s->left_behind = false;
            s->behind_ms = 0;
            return;
        }
        switch (rt_conn_send(s->conn, frames, n)) {
        case RT_SEND_ALL:
            s->taken += s->out.bytes;
            rt_outq_pop(&s->out, n);
            s->taken -= s->out.bytes;
            break;
        case RT_SEND_BLOCKED:
            s->blocked = true;
            if (s->behind_ms == 0) {
                s->behind_ms = s->edge->now_ms;
                s->behind_taken = s->taken;
            }
            return;
        case RT_SEND_CLOSED:
            rt_outq_clear(&s->out);
            return;
        }
    }
    if (s->out.count > 0) {
        rt_socket_wake(s);
    }
}

/* A burst within one turn is no slow reader: what the kernel takes goes out first. */
static bool push(struct rt_socket *s, struct rt_frame *f)
{
    if (rt_outq_push(&s->out, f)) {
        return true;
    }
    if (!s->open || s->blocked) {
        return false;
    }
    send_queued(s);
    return rt_outq_push(&s->out, f);
}

void rt_socket_queue(struct rt_socket *s, struct rt_frame *f)
{
    struct rt_edge *e = s->edge;

    if (s->close_code != 0) {
        return;
    }
    if (!push(s, f)) {
        rt_project_count(s->project, RT_M_SLOW_CLOSED, 1);
        rt_log(e->log, RT_WARN, "slow_reader_closed", rt_kv_x("conn", s->id),
               rt_kv_u("frames", s->out.count), rt_kv_u("queued_bytes", s->out.bytes),
               rt_kv_s("project", s->project->cfg->project));
        rt_outq_clear(&s->out);
        rt_socket_close(s, 1013, "slow consumer");
        return;
    }
    if (!s->warned && s->out.bytes > s->out.bytes_max / 2) {
        s->warned = true;
        rt_project_count(s->project, RT_M_SLOW_WARNED, 1);
    }
    rt_project_count(s->project, RT_M_BYTES_OUT, f->len);
    if (!s->blocked) {
        rt_socket_wake(s);
    }
}

void rt_socket_close(struct rt_socket *s, uint16_t code, const char *reason)
{
    if (s->close_code != 0) {
        return;
    }
    s->close_code = code;
    s->close_reason = reason;
    rt_socket_wake(s);
}

static void send_close(struct rt_socket *s)
{
    if (!s->close_sent) {
        s->close_sent = true;
        rt_wheel_clear(&s->edge->wheel, &s->clock);
        rt_conn_close(s->conn, s->close_code, s->close_reason);
    }
}

static void closing_due(struct rt_wheel_entry *timer)
{
    send_close((struct rt_socket *)(void *)((char *)timer - offsetof(struct rt_socket, clock)));
}

/* First look at a socket that is to close: whatever happens on the wire, it has left its
 * channels. */
static void begin_close(struct rt_socket *s)
{
    struct rt_edge *e = s->edge;

    while (s->channels != NULL) {
        rt_channel_end(s->channels);
    }
    s->closing = true;
    rt_wheel_set(&e->wheel, &s->clock, closing_due, e->now_ms, RT_CLOSING_MS);
}

static void flush_one(struct rt_socket *s)
{
    if (!s->open) {
        return;
    }
    rt_backlog_run(s);
    if (s->close_code != 0 && !s->closing) {
        begin_close(s);
    }
    if (!s->blocked) {
        send_queued(s);
    }
    if (s->close_code != 0 && s->out.count == 0) {
        send_close(s);
    }
}

void rt_socket_writable(struct rt_socket *s)
{
    s->blocked = false;
    rt_socket_wake(s);
}

void rt_sockets_flush(struct rt_edge *e)
{
    struct rt_socket *last = e->dirty_tail; /* those marked meanwhile wait for the next turn */

    for (uint32_t i = 0; i < RT_FLUSH_SOCKETS_MAX && e->dirty_head != NULL; i++) {
        struct rt_socket *s = e->dirty_head;

        e->dirty_head = s->dirty_next;
        if (e->dirty_head == NULL) {
            e->dirty_tail = NULL;
        }
        s->dirty = false;
        if (e->dirty_head != NULL) {
            __builtin_prefetch(e->dirty_head);
        }
        flush_one(s);
        if (s == last) {
            break;
        }
    }
    if (e->dirty_head != NULL) {
        rt_timer_set(&e->more, 0);
    }
}
