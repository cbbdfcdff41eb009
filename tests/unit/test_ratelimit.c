/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the average and the burst hold exactly, however the calls are spread, and no input breaks
 * the arithmetic. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "node/edge/ratelimit.h"

static void test_steps(void **state)
{
    static const struct {
        const char *name;
        struct rt_rate rate;
        uint32_t take[3];
        uint64_t at_ms[3];
        bool expect[3];
    } cases[] = {
        {"burst at once", {10, 3}, {1, 1, 1}, {0, 0, 0}, {true, true, true}},
        {"over the burst", {10, 2}, {1, 1, 1}, {0, 0, 0}, {true, true, false}},
        {"a token after its time", {10, 1}, {1, 1, 1}, {0, 99, 100}, {true, false, true}},
        {"more than the burst is never there",
         {10, 5},
         {6, 6, 5},
         {0, 99999, 99999},
         {false, false, true}},
        {"none is always there", {1, 1}, {1, 0, 0}, {0, 0, 1}, {true, true, true}},
        {"time backwards counts as none", {1000, 1}, {1, 1, 1}, {50, 10, 51}, {true, false, true}},
        {"far future",
         {1000000000, 1000000000},
         {1000000000, 1000000000, 1},
         {0, UINT64_MAX, 1},
         {true, true, false}},
        {"one a second", {1, 1}, {1, 1, 1}, {0, 999, 1000}, {true, false, true}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_bucket b;

        rt_bucket_init(&b, &cases[i].rate, 0);
        for (size_t k = 0; k < 3; k++) {
            if (rt_bucket_take(&b, &cases[i].rate, cases[i].take[k], cases[i].at_ms[k]) !=
                cases[i].expect[k]) {
                fail_msg("%s: step %zu", cases[i].name, k);
            }
        }
    }
}

static void test_average(void **state)
{
    static const struct rt_rate rates[] = {{1, 1}, {7, 3}, {100, 200}, {999, 2}, {3000, 10}};

    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        struct rt_bucket b;
        uint64_t taken = 0;

        rt_bucket_init(&b, &rates[i], 0);
        for (uint64_t now_ms = 0; now_ms <= 60000; now_ms++) {
            while (rt_bucket_take(&b, &rates[i], 1, now_ms)) {
                taken++;
            }
        }
        assert_int_equal(taken, rates[i].burst + (uint64_t)rates[i].per_s * 60);
    }
}

/* What is spent is owed, but not for longer than the bound. */
static void test_debt(void **state)
{
    struct rt_rate rate = {.per_s = 10, .burst = 10};
    struct rt_bucket b;

    (void)state;
    rt_bucket_init(&b, &rate, 0);
    rt_bucket_spend(&b, &rate, 30, 0);
    assert_int_equal(rt_bucket_left(&b, &rate, 0), 0);
    assert_int_equal(rt_bucket_wait_ms(&b, &rate, 1, 0), 2100);
    assert_false(rt_bucket_take(&b, &rate, 1, 2099));
    assert_true(rt_bucket_take(&b, &rate, 1, 2100));
    assert_true(rt_bucket_take(&b, &rate, 0, 2100));
    rt_bucket_spend(&b, &rate, UINT32_MAX, 2100);
    assert_int_equal(rt_bucket_left(&b, &rate, 2100 + RT_DEBT_S * 1000), 0);
    assert_int_equal(rt_bucket_left(&b, &rate, 2200 + RT_DEBT_S * 1000), 1);
}

static void test_wait(void **state)
{
    struct rt_rate rate = {.per_s = 3, .burst = 2};
    struct rt_bucket b;

    (void)state;
    rt_bucket_init(&b, &rate, 1000);
    assert_int_equal(rt_bucket_left(&b, &rate, 1000), 2);
    assert_int_equal(rt_bucket_wait_ms(&b, &rate, 2, 1000), 0);
    assert_true(rt_bucket_take(&b, &rate, 2, 1000));
    assert_int_equal(rt_bucket_left(&b, &rate, 1000), 0);
    assert_int_equal(rt_bucket_wait_ms(&b, &rate, 1, 1000), 334);
    assert_false(rt_bucket_take(&b, &rate, 1, 1333));
    assert_true(rt_bucket_take(&b, &rate, 1, 1334));
    rate.burst = 1; /* lowered while the bucket was full */
    assert_int_equal(rt_bucket_left(&b, &rate, 9000), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_average),
        cmocka_unit_test(test_debt),
        cmocka_unit_test(test_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
