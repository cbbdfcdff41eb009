/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wheel.h - hierarchical timer wheel: many coarse timers, each set and cleared in O(1).
 *
 * Why not one uv_timer_t per socket: 152 bytes and O(log n) each. Scheme 6 of Varghese and Lauck,
 * "Hashed and Hierarchical Timing Wheels", SOSP 1987: four levels of 64 slots; an entry moves to a
 * finer level when its slot of the coarser one is reached, at most three times in its life.
 *
 * A timer fires never early, and at most one tick (RT_WHEEL_TICK_MS) late plus the loop's delay.
 * The farthest setting is RT_WHEEL_MAX_MS (19 days); more is shortened to it.
 */
#ifndef NODE_EDGE_WHEEL_H
#define NODE_EDGE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

/* Idle limits and heartbeats are seconds; finer ticks would only wake the process more often. */
#define RT_WHEEL_TICK_MS 100u
#define RT_WHEEL_LEVELS  4u
#define RT_WHEEL_SLOTS   64u
#define RT_WHEEL_MAX_MS  ((((UINT64_C(1) << 24) - 64) * RT_WHEEL_TICK_MS))

struct rt_wheel_entry;
typedef void (*rt_wheel_fn)(struct rt_wheel_entry *e);

/* Embedded in its owner, who finds himself with offsetof; all zero before first use. */
struct rt_wheel_entry {
    struct rt_wheel_entry *next, *prev; /* NULL: not set */
    uint64_t due_tick;
    rt_wheel_fn fn;
};

struct rt_wheel {
    uint64_t tick;                  /* all timers due at or before it have fired */
    uint32_t count;                 /* entries set */
    uint64_t used[RT_WHEEL_LEVELS]; /* bit per slot that may hold entries */
    struct rt_wheel_entry slot[RT_WHEEL_LEVELS][RT_WHEEL_SLOTS]; /* list heads */
    uv_timer_t uv;                                               /* runs only while count > 0 */
    uv_loop_t *loop;
};

/* `loop` drives the wheel; NULL: the caller does, with rt_wheel_advance. About 8 KiB of struct. */
void rt_wheel_init(struct rt_wheel *w, uv_loop_t *loop, uint64_t now_ms);
/* Ends the driving timer; `done` (or NULL) is called from the loop when `w` may be freed. Entries
 * still set are forgotten, not fired. */
void rt_wheel_close(struct rt_wheel *w, uv_close_cb done);
/* Calls fn(e) `ms` after `now_ms`; replaces an earlier setting. Allowed inside any fn. */
void rt_wheel_set(struct rt_wheel *w, struct rt_wheel_entry *e, rt_wheel_fn fn, uint64_t now_ms,
                  uint64_t ms);
void rt_wheel_clear(struct rt_wheel *w, struct rt_wheel_entry *e);
bool rt_wheel_is_set(const struct rt_wheel_entry *e);
/* Fires all that is due; the uv timer calls it. A fn may set and clear any entry and free its own.
 */
void rt_wheel_advance(struct rt_wheel *w, uint64_t now_ms);
/* Milliseconds until rt_wheel_advance has something to do; UINT64_MAX: nothing is set. */
uint64_t rt_wheel_wait_ms(const struct rt_wheel *w, uint64_t now_ms);

#endif
