/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/supervisor/backoff.h"

/* Goal: 50 ms doubling to 5 s, for ever; a long life forgets the deaths before it. */
static void test_backoff(void **state)
{
    static const uint64_t expect[] = {50, 100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000};
    struct rt_backoff b = {0};

    (void)state;
    for (size_t i = 0; i < sizeof expect / sizeof expect[0]; i++) {
        assert_int_equal(rt_backoff_ms(&b, RT_BACKOFF_RESET_MS - 1), expect[i]);
    }
    assert_int_equal(rt_backoff_ms(&b, RT_BACKOFF_RESET_MS), 50);
    assert_int_equal(rt_backoff_ms(&b, 0), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_backoff)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
