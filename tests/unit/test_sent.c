/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/db/sent.h"

static struct rt_sent batch(uint64_t n, uint64_t end_lsn)
{
    return (struct rt_sent){.pos = {.lsn = n}, .cast = {.lsn = n}, .end_lsn = end_lsn};
}

static void add(struct rt_sent_ring *r, uint64_t n, uint64_t end_lsn)
{
    struct rt_sent b = batch(n, end_lsn);

    rt_sent_add(r, &b);
}

/* Goal: oldest first, round and round, nothing lost. */
static void test_order(void **state)
{
    struct rt_sent_ring r = {.count = 0};
    uint64_t in = 0, out = 0;

    (void)state;
    assert_null(rt_sent_first(&r));
    for (int round = 0; round < 10; round++) {
        while (in - out < RT_SENT_MAX - 1) {
            in++;
            add(&r, in, in);
        }
        while (out < in) {
            out++;
            assert_int_equal(rt_sent_first(&r)->pos.lsn, out);
            assert_int_equal(rt_sent_first(&r)->end_lsn, out);
            rt_sent_done(&r);
        }
    }
    assert_null(rt_sent_first(&r));
}

/* Goal: with all places taken the newest stands for all that follows, and confirms not more than
 * what its positions cover; the first stays what it was. */
static void test_full(void **state)
{
    struct rt_sent_ring r = {.count = 0};

    (void)state;
    for (uint64_t n = 1; n <= RT_SENT_MAX + 500; n++) {
        add(&r, n, n);
    }
    add(&r, RT_SENT_MAX + 501, 0); /* a batch amid a transaction */
    assert_int_equal(r.count, RT_SENT_MAX);
    for (uint64_t n = 1; n < RT_SENT_MAX; n++) {
        assert_int_equal(rt_sent_first(&r)->pos.lsn, n);
        rt_sent_done(&r);
    }
    assert_int_equal(rt_sent_first(&r)->pos.lsn, RT_SENT_MAX + 501);
    assert_int_equal(rt_sent_first(&r)->cast.lsn, RT_SENT_MAX + 501);
    assert_int_equal(rt_sent_first(&r)->end_lsn, RT_SENT_MAX + 500);
    rt_sent_done(&r);
    assert_null(rt_sent_first(&r));
    add(&r, 1, 1);
    assert_int_equal(rt_sent_first(&r)->pos.lsn, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
