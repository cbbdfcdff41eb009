/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: every timer fires once, never early and at most one tick late, at any distance and whatever
 * the callbacks do; and the wheel wakes nobody when nothing is set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "node/edge/wheel.h"

struct probe {
    struct rt_wheel_entry e;
    uint32_t fired;
    uint64_t due_ms, at_ms;
    struct probe *other; /* cleared or set again by the callback */
    uint64_t again_ms;
};

static struct rt_wheel wheel;
static uint64_t now;

static void on_fire(struct rt_wheel_entry *e)
{
    struct probe *p = (struct probe *)(void *)e;

    p->fired++;
    p->at_ms = now;
    if (p->other != NULL) {
        rt_wheel_clear(&wheel, &p->other->e);
    }
    if (p->again_ms > 0) {
        rt_wheel_set(&wheel, &p->e, on_fire, now, p->again_ms);
    }
}

static void set(struct probe *p, uint64_t ms)
{
    p->due_ms = now + ms;
    rt_wheel_set(&wheel, &p->e, on_fire, now, ms);
}

/* Goes where the wheel wants to be woken, until nothing is set or `end`. Returns the wake-ups. */
static uint32_t run_until(uint64_t end)
{
    uint32_t wakes = 0;

    while (rt_wheel_wait_ms(&wheel, now) <= end - now) {
        now += rt_wheel_wait_ms(&wheel, now);
        rt_wheel_advance(&wheel, now);
        wakes++;
    }
    now = end;
    return wakes;
}

static void test_distances(void **state)
{
    static const uint64_t starts[] = {0, 99, 100, 6300, 6399, 6400, 409599, 26214399, 123456789};
    static const uint64_t distances[] = {0,      1,      99,       100,      101,      6299,
                                         6300,   6400,   6401,     6500,     12800,    409500,
                                         409600, 409700, 26214300, 26214400, 26214500, 99999999};

    (void)state;
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        for (size_t k = 0; k < sizeof distances / sizeof distances[0]; k++) {
            struct probe p = {.fired = 0};

            now = starts[i];
            rt_wheel_init(&wheel, NULL, now);
            set(&p, distances[k]);
            assert_true(run_until(now + 200000000) <= 5);
            assert_int_equal(p.fired, 1);
            assert_true(p.at_ms >= p.due_ms);
            assert_true(p.at_ms < p.due_ms + 2 * RT_WHEEL_TICK_MS);
            assert_int_equal(rt_wheel_wait_ms(&wheel, now), UINT64_MAX);
        }
    }
}

/* A fixed linear congruential generator: the same numbers in every run. */
static uint64_t next_number(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *seed >> 33;
}

static void test_many(void **state)
{
    static struct probe probes[3000];
    uint64_t seed = 42;

    (void)state;
    memset(probes, 0, sizeof probes);
    now = 777;
    rt_wheel_init(&wheel, NULL, now);
    for (uint32_t round = 0; round < 20; round++) {
        for (size_t i = 0; i < 3000; i++) {
            uint64_t r = next_number(&seed);

            if (r % 3 == 0 && !rt_wheel_is_set(&probes[i].e)) {
                set(&probes[i], next_number(&seed) % (1u << (r / 3 % 28)));
                probes[i].fired = 0;
            } else if (r % 7 == 1) {
                rt_wheel_clear(&wheel, &probes[i].e);
                probes[i].due_ms = 0;
            }
        }
        (void)run_until(now + next_number(&seed) % 100000);
        for (size_t i = 0; i < 3000; i++) {
            if (probes[i].due_ms == 0) {
                continue;
            }
            assert_int_equal(probes[i].fired, rt_wheel_is_set(&probes[i].e) ? 0 : 1);
            if (probes[i].fired == 1) {
                assert_true(probes[i].at_ms >= probes[i].due_ms);
                assert_true(probes[i].at_ms < probes[i].due_ms + 2 * RT_WHEEL_TICK_MS);
            } else {
                assert_true(probes[i].due_ms + RT_WHEEL_TICK_MS > now);
            }
        }
    }
}

static void test_callbacks(void **state)
{
    struct probe a = {.fired = 0};
    struct probe b = {.fired = 0};
    struct probe c = {.fired = 0, .again_ms = 1000};

    (void)state;
    now = 0;
    rt_wheel_init(&wheel, NULL, now);
    a.other = &b; /* due at the same tick, behind it in the same list */
    set(&a, 500);
    set(&b, 500);
    set(&c, 500);
    (void)run_until(10400);
    assert_int_equal(a.fired, 1);
    assert_int_equal(b.fired, 0);
    assert_int_equal(c.fired, 10);
    rt_wheel_clear(&wheel, &c.e);
    rt_wheel_clear(&wheel, &c.e);
    assert_int_equal(rt_wheel_wait_ms(&wheel, now), UINT64_MAX);
}

static void test_replace(void **state)
{
    struct probe p = {.fired = 0};

    (void)state;
    now = 0;
    rt_wheel_init(&wheel, NULL, now);
    set(&p, 500);
    set(&p, 90000);
    (void)run_until(80000);
    assert_int_equal(p.fired, 0);
    set(&p, 100);
    (void)run_until(81000);
    assert_int_equal(p.fired, 1);
    set(&p, UINT64_MAX / 2); /* shortened to the farthest */
    (void)run_until(now + RT_WHEEL_MAX_MS + 200);
    assert_int_equal(p.fired, 2);
    /* A long sleep in one step: all that was due fires, late but once. */
    set(&p, 300);
    now += 50000000;
    rt_wheel_advance(&wheel, now);
    assert_int_equal(p.fired, 3);
}

static void stop_loop(struct rt_wheel_entry *e)
{
    struct probe *p = (struct probe *)(void *)e;

    p->fired++;
}

static void test_loop(void **state)
{
    uv_loop_t loop;
    struct probe p = {.fired = 0};

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    rt_wheel_init(&wheel, &loop, uv_now(&loop));
    rt_wheel_set(&wheel, &p.e, stop_loop, uv_now(&loop), 1);
    /* Returns by itself: an empty wheel keeps no loop alive. */
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(p.fired, 1);
    rt_wheel_close(&wheel, NULL);
    assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_distances), cmocka_unit_test(test_many),
        cmocka_unit_test(test_callbacks), cmocka_unit_test(test_replace),
        cmocka_unit_test(test_loop),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
