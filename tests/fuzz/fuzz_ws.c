/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of a client that come in small pieces say the same as frames that come at once: the same
 * messages, pongs, signs of life, and close. What is said keeps the limits and is well formed.
 *
 * ws.c is driven without sockets: what it asks of conn.c and output.c is written down here.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/edge/transport_in.h"
#include "proto/utf8.h"
#include "proto/ws_frame.h"

#define INPUT_MAX     32768u
#define MESSAGE_MAX   9000u /* above the size from which ws.c collects a frame as it comes */
#define FRAGMENTS_MAX 8u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Adds to what the run has said: kind and length in front of the bytes. */
static void say(const struct rt_conn *c, uint8_t kind, const void *p, size_t n)
{
    struct rt_bytes *said = c->t->ctx;
    uint32_t len = (uint32_t)n;

    rt_bytes_add(said, &kind, sizeof kind);
    rt_bytes_add(said, &len, sizeof len);
    rt_bytes_add(said, p, n);
}

void rt_bytes_add(struct rt_bytes *b, const void *p, size_t n)
{
    if (n > 0) {
        b->p = rt_realloc(b->p, b->len + n);
        memcpy(b->p + b->len, p, n);
        b->len += n;
    }
}

void rt_bytes_free(struct rt_bytes *b)
{
    rt_free(b->p);
    *b = (struct rt_bytes){.p = NULL};
}

void rt_conn_write(struct rt_conn *c, const void *p, size_t n)
{
    say(c, 'w', p, n);
}

void rt_conn_pong(struct rt_conn *c, struct pr_slice payload)
{
    assert(payload.n <= PR_WS_CONTROL_MAX);
    say(c, 'p', payload.p, payload.n);
}

void rt_conn_finish(struct rt_conn *c, uint64_t ms)
{
    assert(ms == RT_CLOSE_LINGER_MS);
    c->state = RT_CONN_CLOSING;
}

/* The connection is open: only a close frame is ever due. */
void rt_conn_work(struct rt_conn *c)
{
    assert(c->close_due && c->state == RT_CONN_WS);
}

void rt_conn_kill(struct rt_conn *c)
{
    (void)c;
    abort();
}

static void on_message(void *ctx, struct rt_conn *c, struct pr_slice message, bool text)
{
    (void)ctx;
    assert(c->busy && c->state == RT_CONN_WS && !c->close_due);
    assert(message.n <= MESSAGE_MAX);
    assert(!text || pr_utf8_ok(message));
    say(c, text ? 't' : 'b', message.p, message.n);
}

static void on_alive(void *ctx, struct rt_conn *c)
{
    (void)ctx;
    assert(c->busy);
    say(c, 'a', "", 0);
}

/* Bytes arrive `step` at a time and behind those that were kept, as conn.c hands them over. */
static void run(struct rt_bytes *said, const uint8_t *data, size_t size, size_t step)
{
    static const struct rt_transport_events events = {.on_message = on_message,
                                                      .on_alive = on_alive};
    static struct rt_transport t;
    struct rt_conn c = {.t = &t, .state = RT_CONN_WS};
    uint8_t *bytes = rt_malloc(size + 1);
    size_t from = 0;

    memcpy(bytes, data, size);
    t.ev = &events;
    t.limits.message_bytes_max = MESSAGE_MAX;
    t.limits.fragments_max = FRAGMENTS_MAX;
    t.ctx = said;
    for (size_t to = 0; to < size && c.state == RT_CONN_WS && !c.close_due;) {
        size_t used = 1;

        to = size - to < step ? size : to + step;
        while (used > 0 && from < to && c.state == RT_CONN_WS && !c.close_due) {
            used = rt_ws_input(&c, bytes + from, to - from);
            assert(used <= to - from);
            from += used;
            assert(c.message.len <= MESSAGE_MAX && c.fragments <= FRAGMENTS_MAX);
        }
    }
    if (c.close_due) {
        rt_ws_send_close(&c);
        assert(c.state == RT_CONN_CLOSING);
    }
    rt_bytes_free(&c.message);
    rt_free(c.close_reason);
    rt_free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t steps[] = {1, 7, 1000};

    if (size > INPUT_MAX) {
        return 0;
    }
    struct rt_bytes whole = {.p = NULL};

    run(&whole, data, size, size);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        struct rt_bytes parts = {.p = NULL};

        run(&parts, data, size, steps[i]);
        assert(parts.len == whole.len);
        assert(whole.len == 0 || memcmp(parts.p, whole.p, whole.len) == 0);
        rt_bytes_free(&parts);
    }
    rt_bytes_free(&whole);
    return 0;
}
