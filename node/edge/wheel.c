/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/wheel.h"

#include <assert.h>
#include <stddef.h>
#include <string.h>

#define SLOT_BITS 6u
#define SLOT_MASK (RT_WHEEL_SLOTS - 1)
#define TICKS_MAX (UINT64_C(1) << (SLOT_BITS * RT_WHEEL_LEVELS))

_Static_assert(RT_WHEEL_SLOTS == 1u << SLOT_BITS, "one bit of a word per slot");

static void list_init(struct rt_wheel_entry *head)
{
    head->next = head;
    head->prev = head;
}

static void list_add(struct rt_wheel_entry *head, struct rt_wheel_entry *e)
{
    e->prev = head->prev;
    e->next = head;
    head->prev->next = e;
    head->prev = e;
}

static void list_del(struct rt_wheel_entry *e)
{
    e->prev->next = e->next;
    e->next->prev = e->prev;
    e->next = NULL;
    e->prev = NULL;
}

/* Slot by the distance from `tick`, the last one that has fired: level n holds what is due in at
 * most 64^(n+1) ticks. Due now or before: the next tick. */
static void place(struct rt_wheel *w, struct rt_wheel_entry *e)
{
    uint32_t level = 0;

    if (e->due_tick <= w->tick) {
        e->due_tick = w->tick + 1;
    }
    while (level < RT_WHEEL_LEVELS - 1 &&
           (e->due_tick - w->tick - 1) >> (SLOT_BITS * (level + 1)) != 0) {
        level++;
    }
    uint32_t slot = (uint32_t)(e->due_tick >> (SLOT_BITS * level)) & SLOT_MASK;

    list_add(&w->slot[level][slot], e);
    w->used[level] |= UINT64_C(1) << slot;
}

/* The next tick at which a slot is to be fired or emptied into finer ones. Clears nothing. */
static uint64_t next_tick(const struct rt_wheel *w)
{
    uint64_t best = UINT64_MAX;

    for (uint32_t level = 0; level < RT_WHEEL_LEVELS; level++) {
        uint32_t shift = SLOT_BITS * level;
        uint64_t at = (w->tick >> shift) + 1; /* first slot of this level not reached yet */
        uint32_t turn = (uint32_t)at & SLOT_MASK;
        uint64_t bits = w->used[level];

        if (bits == 0) {
            continue;
        }
        bits = turn == 0 ? bits : bits >> turn | bits << (RT_WHEEL_SLOTS - turn);
        uint64_t tick = (at + (uint64_t)__builtin_ctzll(bits)) << shift;
        best = tick < best ? tick : best;
    }
    return best;
}

/* Moves a slot's list to `out`, so that a callback can change the wheel freely. */
static void take_slot(struct rt_wheel *w, uint32_t level, uint32_t slot, struct rt_wheel_entry *out)
{
    struct rt_wheel_entry *head = &w->slot[level][slot];

    list_init(out);
    w->used[level] &= ~(UINT64_C(1) << slot);
    if (head->next != head) {
        out->next = head->next;
        out->prev = head->prev;
        out->next->prev = out;
        out->prev->next = out;
        list_init(head);
    }
}

static void run_tick(struct rt_wheel *w, uint64_t tick)
{
    struct rt_wheel_entry due;

    /* Coarse slots first: what they hold may be due at this very tick. */
    w->tick = tick - 1;
    for (uint32_t level = RT_WHEEL_LEVELS - 1; level > 0; level--) {
        if ((tick & ((UINT64_C(1) << (SLOT_BITS * level)) - 1)) != 0) {
            continue;
        }
        take_slot(w, level, (uint32_t)(tick >> (SLOT_BITS * level)) & SLOT_MASK, &due);
        while (due.next != &due) {
            struct rt_wheel_entry *e = due.next;

            list_del(e);
            place(w, e);
        }
    }
    take_slot(w, 0, (uint32_t)tick & SLOT_MASK, &due);
    w->tick = tick;
    while (due.next != &due) {
        struct rt_wheel_entry *e = due.next;

        list_del(e);
        w->count--;
        e->fn(e);
    }
}

uint64_t rt_wheel_wait_ms(const struct rt_wheel *w, uint64_t now_ms)
{
    if (w->count == 0) {
        return UINT64_MAX;
    }
    uint64_t at_ms = next_tick(w) * RT_WHEEL_TICK_MS;

    return at_ms > now_ms ? at_ms - now_ms : 0;
}

static void on_timer(uv_timer_t *uv);

static void arm(struct rt_wheel *w)
{
    if (w->loop == NULL || uv_is_closing((const uv_handle_t *)&w->uv) != 0) {
        return;
    }
    if (w->count == 0) {
        (void)uv_timer_stop(&w->uv);
        return;
    }
    (void)uv_timer_start(&w->uv, on_timer, rt_wheel_wait_ms(w, uv_now(w->loop)), 0);
}

static void on_timer(uv_timer_t *uv)
{
    struct rt_wheel *w = uv->data;

    rt_wheel_advance(w, uv_now(w->loop));
}

void rt_wheel_init(struct rt_wheel *w, uv_loop_t *loop, uint64_t now_ms)
{
    memset(w, 0, sizeof *w);
    w->tick = now_ms / RT_WHEEL_TICK_MS;
    for (uint32_t level = 0; level < RT_WHEEL_LEVELS; level++) {
        for (uint32_t slot = 0; slot < RT_WHEEL_SLOTS; slot++) {
            list_init(&w->slot[level][slot]);
        }
    }
    w->loop = loop;
    if (loop != NULL) {
        (void)uv_timer_init(loop, &w->uv);
        w->uv.data = w;
    }
}

void rt_wheel_close(struct rt_wheel *w, uv_close_cb done)
{
    if (w->loop != NULL) {
        uv_close((uv_handle_t *)&w->uv, done);
    }
}

bool rt_wheel_is_set(const struct rt_wheel_entry *e)
{
    return e->next != NULL;
}

void rt_wheel_set(struct rt_wheel *w, struct rt_wheel_entry *e, rt_wheel_fn fn, uint64_t now_ms,
                  uint64_t ms)
{
    uint64_t before = rt_wheel_wait_ms(w, now_ms);

    if (rt_wheel_is_set(e)) {
        list_del(e);
        w->count--;
    }
    if (w->count == 0 && now_ms / RT_WHEEL_TICK_MS > w->tick) {
        w->tick = now_ms / RT_WHEEL_TICK_MS; /* nothing was waiting: skip the idle time */
        memset(w->used, 0, sizeof w->used);
    }
    ms = ms < RT_WHEEL_MAX_MS ? ms : RT_WHEEL_MAX_MS;
    e->fn = fn;
    e->due_tick = (now_ms + ms + RT_WHEEL_TICK_MS - 1) / RT_WHEEL_TICK_MS;
    /* `tick` stays behind while nothing is due: the farthest slot counts from there. */
    e->due_tick = e->due_tick < w->tick + TICKS_MAX ? e->due_tick : w->tick + TICKS_MAX;
    place(w, e);
    w->count++;
    if (w->count == 1 || rt_wheel_wait_ms(w, now_ms) < before) {
        arm(w);
    }
}

void rt_wheel_clear(struct rt_wheel *w, struct rt_wheel_entry *e)
{
    if (!rt_wheel_is_set(e)) {
        return;
    }
    list_del(e);
    assert(w->count > 0);
    w->count--;
    if (w->count == 0) {
        arm(w);
    }
}

void rt_wheel_advance(struct rt_wheel *w, uint64_t now_ms)
{
    uint64_t until = now_ms / RT_WHEEL_TICK_MS;

    while (w->count > 0) {
        uint64_t tick = next_tick(w);

        if (tick > until) {
            break;
        }
        run_tick(w, tick);
    }
    if (until > w->tick && w->count == 0) {
        w->tick = until;
    }
    arm(w);
}
