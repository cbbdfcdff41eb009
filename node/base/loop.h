/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop.h - one libuv loop per process: clock, end-of-turn hook, deadline timer, signals.
 *
 * The only reader of the clock. Everything else is told the time.
 */
#ifndef NODE_BASE_LOOP_H
#define NODE_BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct rt_loop;

/* Gives a loop with SIGPIPE ignored. Never NULL. */
struct rt_loop *rt_loop_new(void);
void rt_loop_free(struct rt_loop *l);
uv_loop_t *rt_loop_uv(struct rt_loop *l);
/* Runs until rt_loop_stop. */
void rt_loop_run(struct rt_loop *l);
void rt_loop_stop(struct rt_loop *l);

/* Monotonic milliseconds, cached once per turn; and microseconds, read now. */
uint64_t rt_now_ms(const struct rt_loop *l);
uint64_t rt_now_us(void);
/* Wall clock: milliseconds since 1970 UTC. */
uint64_t rt_wall_ms(void);
/* Fills with bytes from the kernel's generator; aborts if there are none. */
void rt_random(void *p, size_t n);
/* A random UUID (version 4, RFC 9562) as text with a NUL. */
#define RT_UUID_LEN 36u
void rt_uuid(char out[RT_UUID_LEN + 1]);

/* Called at the end of each turn, before the loop waits; in the order of adding. At most 8. */
void rt_loop_on_turn(struct rt_loop *l, void (*fn)(void *ctx), void *ctx);

/*
 * Work for the end of this turn, after all hooks: sends that gathered during the turn. Embedded in
 * its owner, zeroed before use; scheduling twice is one call.
 */
struct rt_defer {
    struct rt_defer *next;
    void (*fn)(void *ctx);
    void *ctx;
    bool waiting;
};
void rt_loop_defer(struct rt_loop *l, struct rt_defer *d, void (*fn)(void *ctx), void *ctx);
/* Takes it back before its owner's memory goes. */
void rt_loop_undefer(struct rt_loop *l, struct rt_defer *d);

/* One timer of the caller (embedded; init before use, stop before its memory goes). */
struct rt_timer {
    uv_timer_t uv;
    void (*fn)(void *ctx);
    void *ctx;
};
void rt_timer_init(struct rt_loop *l, struct rt_timer *t, void (*fn)(void *ctx), void *ctx);
/* One shot, `ms` from now; replaces an earlier setting. */
void rt_timer_set(struct rt_timer *t, uint64_t ms);
void rt_timer_clear(struct rt_timer *t);
/* Ends the handle; `t` may be freed only after the next turn: `done` (or NULL) is called then. */
void rt_timer_close(struct rt_timer *t, void (*done)(void *ctx));

/* Calls fn for SIGTERM, SIGINT, SIGHUP, SIGCHLD or another signal, inside the loop. At most 8. */
void rt_loop_on_signal(struct rt_loop *l, int signo, void (*fn)(void *ctx, int signo), void *ctx);

#endif
