/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/loop.h"

#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "node/base/alloc.h"

#define HOOKS_MAX 8u

struct turn_hook {
    void (*fn)(void *ctx);
    void *ctx;
};

struct signal_hook {
    uv_signal_t uv;
    void (*fn)(void *ctx, int signo);
    void *ctx;
};

struct rt_loop {
    uv_loop_t uv;
    uv_prepare_t prepare; /* runs right before the loop waits: the end of a turn */
    struct turn_hook turn[HOOKS_MAX];
    struct signal_hook signal[HOOKS_MAX];
    uint32_t nturn, nsignal;
    struct rt_defer *deferred; /* the last one scheduled comes first: each is independent */
};

static void on_prepare(uv_prepare_t *handle)
{
    struct rt_loop *l = handle->data;

    for (uint32_t i = 0; i < l->nturn; i++) {
        l->turn[i].fn(l->turn[i].ctx);
    }
    while (l->deferred != NULL) {
        struct rt_defer *d = l->deferred;

        l->deferred = d->next;
        d->waiting = false;
        d->fn(d->ctx);
    }
}

struct rt_loop *rt_loop_new(void)
{
    struct rt_loop *l = rt_calloc(1, sizeof *l);

    if (uv_loop_init(&l->uv) != 0 || uv_prepare_init(&l->uv, &l->prepare) != 0 ||
        uv_prepare_start(&l->prepare, on_prepare) != 0) {
        abort();
    }
    l->prepare.data = l;
    /* A peer that went away shows as EPIPE, never as a signal. */
    (void)signal(SIGPIPE, SIG_IGN);
    return l;
}

void rt_loop_free(struct rt_loop *l)
{
    uv_close((uv_handle_t *)&l->prepare, NULL);
    for (uint32_t i = 0; i < l->nsignal; i++) {
        uv_close((uv_handle_t *)&l->signal[i].uv, NULL);
    }
    /* Close callbacks of handles that their owners closed just before run here. */
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
    if (uv_loop_close(&l->uv) != 0) {
        abort();
    }
    rt_free(l);
}

uv_loop_t *rt_loop_uv(struct rt_loop *l)
{
    return &l->uv;
}

void rt_loop_run(struct rt_loop *l)
{
    (void)uv_run(&l->uv, UV_RUN_DEFAULT);
}

void rt_loop_stop(struct rt_loop *l)
{
    uv_stop(&l->uv);
}

uint64_t rt_now_ms(const struct rt_loop *l)
{
    return uv_now(&l->uv);
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec t;

    if (clock_gettime(clock, &t) != 0) {
        abort();
    }
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

uint64_t rt_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t rt_wall_ms(void)
{
    return clock_us(CLOCK_REALTIME) / 1000u;
}

void rt_random(void *p, size_t n)
{
    uint8_t *at = p;

    while (n > 0) {
        ssize_t got = getrandom(at, n, 0);

        if (got <= 0) {
            abort();
        }
        at += got;
        n -= (size_t)got;
    }
}

void rt_uuid(char out[RT_UUID_LEN + 1])
{
    uint8_t b[16];

    rt_random(b, sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0fu) | 0x40u); /* version 4, RFC 9562 */
    b[8] = (uint8_t)((b[8] & 0x3fu) | 0x80u);
    (void)snprintf(out, RT_UUID_LEN + 1,
                   "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", b[0],
                   b[1], b[2], b[3], b[4], b[5], b[6], b[7], b[8], b[9], b[10], b[11], b[12], b[13],
                   b[14], b[15]);
}

void rt_loop_on_turn(struct rt_loop *l, void (*fn)(void *ctx), void *ctx)
{
    assert(l->nturn < HOOKS_MAX);
    l->turn[l->nturn].fn = fn;
    l->turn[l->nturn].ctx = ctx;
    l->nturn++;
}

void rt_loop_defer(struct rt_loop *l, struct rt_defer *d, void (*fn)(void *ctx), void *ctx)
{
    if (d->waiting) {
        return;
    }
    d->fn = fn;
    d->ctx = ctx;
    d->waiting = true;
    d->next = l->deferred;
    l->deferred = d;
}

void rt_loop_undefer(struct rt_loop *l, struct rt_defer *d)
{
    struct rt_defer **at = &l->deferred;

    if (!d->waiting) {
        return;
    }
    while (*at != d) {
        at = &(*at)->next;
    }
    *at = d->next;
    d->waiting = false;
}

static void on_timer(uv_timer_t *handle)
{
    struct rt_timer *t = handle->data;

    t->fn(t->ctx);
}

void rt_timer_init(struct rt_loop *l, struct rt_timer *t, void (*fn)(void *ctx), void *ctx)
{
    if (uv_timer_init(&l->uv, &t->uv) != 0) {
        abort();
    }
    t->uv.data = t;
    t->fn = fn;
    t->ctx = ctx;
}

void rt_timer_set(struct rt_timer *t, uint64_t ms)
{
    if (uv_timer_start(&t->uv, on_timer, ms, 0) != 0) {
        abort();
    }
}

void rt_timer_clear(struct rt_timer *t)
{
    (void)uv_timer_stop(&t->uv);
}

/* The callback of a timer is not needed any more once it closes: its place holds `done`. */
static void on_timer_closed(uv_handle_t *handle)
{
    struct rt_timer *t = handle->data;

    if (t->fn != NULL) {
        t->fn(t->ctx);
    }
}

void rt_timer_close(struct rt_timer *t, void (*done)(void *ctx))
{
    t->fn = done;
    uv_close((uv_handle_t *)&t->uv, on_timer_closed);
}

static void on_signal(uv_signal_t *handle, int signo)
{
    struct signal_hook *h = handle->data;

    h->fn(h->ctx, signo);
}

void rt_loop_on_signal(struct rt_loop *l, int signo, void (*fn)(void *ctx, int signo), void *ctx)
{
    struct signal_hook *h;

    assert(l->nsignal < HOOKS_MAX);
    h = &l->signal[l->nsignal];
    l->nsignal++;
    h->fn = fn;
    h->ctx = ctx;
    if (uv_signal_init(&l->uv, &h->uv) != 0 || uv_signal_start(&h->uv, on_signal, signo) != 0) {
        abort();
    }
    h->uv.data = h;
}
