/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: hash and generator give the published values, so that every node and replay agrees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cluster/hash.h"

static void test_hash(void **state)
{
    const struct pr_slice none = {0};

    (void)state;
    /* XXH3_64bits of nothing, from the project's own sanity tests. */
    assert_true(cl_hash64(none) == UINT64_C(0x2d06800538d394c2));
    assert_true(cl_hash64(pr_str("a")) == UINT64_C(0xe6c632b61e964e1f));
    assert_true(cl_hash64_seeded(pr_str("a"), 0) == cl_hash64(pr_str("a")));
    assert_true(cl_hash64_seeded(pr_str("a"), 1) != cl_hash64(pr_str("a")));
    assert_true(cl_hash64_seeded(none, 7) != cl_hash64(none));
}

static void test_partition(void **state)
{
    unsigned seen = 0;
    uint8_t hit[CL_PARTITIONS] = {0};

    (void)state;
    for (uint32_t i = 0; i < 64 * CL_PARTITIONS; i++) {
        uint32_t part = cl_partition(pr_bytes(&i, sizeof i));

        assert_true(part < CL_PARTITIONS);
        seen += hit[part] == 0;
        hit[part] = 1;
    }
    assert_int_equal(seen, CL_PARTITIONS);
}

static void test_rand(void **state)
{
    /* First output of xoshiro256** for the state 1, 2, 3, 4, worked out from its definition:
     * rotl(2 * 5, 7) * 9. */
    struct cl_rand r = {{1, 2, 3, 4}};
    struct cl_rand a = cl_rand_seed(42);
    struct cl_rand b = cl_rand_seed(42);
    struct cl_rand c = cl_rand_seed(43);

    (void)state;
    assert_true(cl_rand_next(&r) == 11520);
    assert_true(cl_rand_next(&r) == 0);
    assert_true(cl_rand_next(&r) == 1509978240);
    for (int i = 0; i < 100; i++) {
        uint64_t v = cl_rand_next(&a);

        assert_true(v == cl_rand_next(&b));
        assert_true(v != cl_rand_next(&c));
    }
    /* SplitMix64 with seed 0 starts with this number. */
    assert_true(cl_rand_seed(0).s[0] == UINT64_C(0xe220a8397b1dcdaf));
}

static void test_below(void **state)
{
    struct cl_rand r = cl_rand_seed(1);
    unsigned count[10] = {0};

    (void)state;
    for (int i = 0; i < 10000; i++) {
        count[cl_rand_below(&r, 10)]++;
        assert_true(cl_rand_below(&r, 1) == 0);
        (void)cl_rand_below(&r, UINT64_MAX);
    }
    for (int i = 0; i < 10; i++) {
        assert_in_range(count[i], 800, 1200);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash),
        cmocka_unit_test(test_partition),
        cmocka_unit_test(test_rand),
        cmocka_unit_test(test_below),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
