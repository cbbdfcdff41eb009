/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: order, references and both bounds of a socket's queue, at every size of its ring. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "node/edge/outq.h"

static struct rt_frame *frame(uint32_t len)
{
    struct rt_frame *f = rt_frame_new(len);

    memset(f->bytes, 0, len);
    return f;
}

static void test_order(void **state)
{
    struct rt_outq q;
    struct rt_frame *all[200];
    struct rt_frame *got[64];
    uint32_t pushed = 0;
    uint32_t popped = 0;

    (void)state;
    rt_outq_init(&q, 1000000);
    for (uint32_t i = 0; i < 200; i++) {
        all[i] = frame(i + 1);
    }
    /* Head and tail walk over every slot of the ring, and the ring grows in every position. */
    for (uint32_t round = 0; popped < 200; round++) {
        for (uint32_t i = 0; i < 1 + round % 7 && pushed < 200; i++) {
            assert_true(rt_outq_push(&q, all[pushed]));
            assert_int_equal(all[pushed]->refs, 2);
            pushed++;
        }
        uint32_t n = rt_outq_peek(&q, got, 1 + round % 3, UINT32_MAX);

        for (uint32_t i = 0; i < n; i++) {
            assert_ptr_equal(got[i], all[popped + i]);
        }
        rt_outq_pop(&q, n);
        popped += n;
    }
    assert_int_equal(q.count, 0);
    assert_int_equal(q.bytes, 0);
    assert_null(q.ring);
    for (uint32_t i = 0; i < 200; i++) {
        assert_int_equal(all[i]->refs, 1);
        rt_frame_unref(all[i]);
    }
}

static void test_bounds(void **state)
{
    static const struct {
        const char *name;
        uint32_t bytes_max;
        uint32_t len[3]; /* 0 ends */
        bool expect[3];
    } cases[] = {
        {"all fit exactly", 30, {10, 10, 10}, {true, true, true}},
        {"one byte too many", 29, {10, 10, 10}, {true, true, false}},
        {"refused, then a smaller one fits", 25, {10, 20, 15}, {true, false, true}},
        {"a single large one fits an empty queue", 5, {100, 1, 0}, {true, false, false}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_outq q;

        rt_outq_init(&q, cases[i].bytes_max);
        for (size_t k = 0; k < 3 && cases[i].len[k] > 0; k++) {
            struct rt_frame *f = frame(cases[i].len[k]);

            if (rt_outq_push(&q, f) != cases[i].expect[k]) {
                fail_msg("%s: push %zu", cases[i].name, k);
            }
            assert_int_equal(f->refs, cases[i].expect[k] ? 2 : 1);
            rt_frame_unref(f);
        }
        rt_outq_clear(&q);
        assert_int_equal(q.count, 0);
    }
}

static void test_frames_max(void **state)
{
    struct rt_outq q;
    struct rt_frame *f = frame(1);

    (void)state;
    rt_outq_init(&q, UINT32_MAX);
    for (uint32_t i = 0; i < RT_OUTQ_FRAMES_MAX; i++) {
        assert_true(rt_outq_push(&q, f));
    }
    assert_false(rt_outq_push(&q, f));
    assert_int_equal(f->refs, RT_OUTQ_FRAMES_MAX + 1);
    rt_outq_pop(&q, 1);
    assert_true(rt_outq_push(&q, f));
    rt_outq_clear(&q);
    assert_int_equal(f->refs, 1);
    rt_frame_unref(f);
}

static void test_peek(void **state)
{
    static const struct {
        const char *name;
        uint32_t frames_max, bytes_max, expect;
    } cases[] = {
        {"all", 64, 1000, 4},           {"by count", 3, 1000, 3},
        {"by bytes, exact", 64, 60, 3}, {"by bytes, one less", 64, 59, 2},
        {"first always", 64, 1, 1},     {"first always, one frame", 1, 1, 1},
    };
    struct rt_outq q;
    struct rt_frame *got[64];

    (void)state;
    rt_outq_init(&q, 1000);
    assert_int_equal(rt_outq_peek(&q, got, 64, 1000), 0);
    for (uint32_t len = 10; len <= 40; len += 10) {
        struct rt_frame *f = frame(len);

        assert_true(rt_outq_push(&q, f));
        rt_frame_unref(f);
    }
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t n = rt_outq_peek(&q, got, cases[i].frames_max, cases[i].bytes_max);

        if (n != cases[i].expect) {
            fail_msg("%s: %u frames, expected %u", cases[i].name, n, cases[i].expect);
        }
    }
    rt_outq_clear(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_frames_max),
        cmocka_unit_test(test_peek),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
