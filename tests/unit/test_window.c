/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/window.h"

static void edges(void **state)
{
    static const struct {
        uint64_t counter;
        bool want;
    } rows[] = {
        {5, true},
        {5, false},
        {0, true}, /* the very first may come late */
        {0, false},
        {1028, true}, /* 1028 - 1023 = 5 is now the oldest */
        {5, false},
        {4, false}, /* never seen, but too old to tell */
        {6, true},
        {1027, true},
        {1027, false},
        {1029, true},
        {5, false},
        {6, false},
        {7, true},
        {3000, true}, /* further than a whole window: nothing of it is left */
        {1029, false},
        {1976, false},
        {1977, true},
        {1977, false},
        {2999, true},
        {3000 + 1023, true},
        {3000, false}, /* the oldest, still remembered */
        {3001, true},
        {3000 + 1023 + 1024, true}, /* exactly one window on */
        {3000 + 1023, false},
        {3000 + 1024, true},
        {UINT64_MAX, true},
        {UINT64_MAX, false},
        {UINT64_MAX - 1023, true},
        {UINT64_MAX - 1024, false},
        {0, false},
    };
    struct rt_window w = {.top = 0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(rt_window_take(&w, rows[i].counter), rows[i].want);
    }
}

static void refusal_changes_nothing(void **state)
{
    struct rt_window w = {.top = 0};
    struct rt_window before;

    (void)state;
    assert_true(rt_window_take(&w, 2000));
    before = w;
    assert_false(rt_window_take(&w, 2000));
    assert_false(rt_window_take(&w, 976));
    assert_false(rt_window_take(&w, 0));
    assert_memory_equal(&w, &before, sizeof w);
}

/* A pseudo-random walk against a plain table of everything taken. */
static void property_32_like_a_plain_table(void **state)
{
    enum { COUNTERS = 60000 };
    static bool taken[COUNTERS + 4096];
    struct rt_window w = {.top = 0};
    uint64_t top = 0, at = 0;
    uint64_t x = 88172645463325252u; /* xorshift64, Marsaglia 2003 */
    uint32_t yes = 0, no = 0;

    (void)state;
    while (at < COUNTERS) {
        uint64_t counter;
        bool want;

        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        at += x % 1024 == 0 ? x / 1024 % 2000 : x % 3;
        counter = at >= x / 4096 % 1300 ? at - x / 4096 % 1300 : 0;
        want = !taken[counter] && counter + RT_WINDOW > top;
        assert_int_equal(rt_window_take(&w, counter), want);
        taken[counter] = taken[counter] || want;
        top = want && counter > top ? counter : top;
        yes += want ? 1 : 0;
        no += want ? 0 : 1;
    }
    assert_true(yes > 1000 && no > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edges),
        cmocka_unit_test(refusal_changes_nothing),
        cmocka_unit_test(property_32_like_a_plain_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
