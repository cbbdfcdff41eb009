/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/bytes.h"

/* Goal: a cursor never passes the end, and stays failed. */
static void test_cursor(void **state)
{
    static const uint8_t in[] = {1, 0, 2, 0, 0, 0, 3, 'a', 'b', 0, 9};
    struct pr_cursor c = pr_cursor(pr_bytes(in, sizeof in));

    (void)state;
    assert_int_equal(pr_get_u8(&c), 1);
    assert_int_equal(pr_get_u16be(&c), 2);
    assert_int_equal(pr_get_u32be(&c), 3);
    assert_true(pr_slice_is(pr_get_cstr(&c), "ab"));
    assert_int_equal(pr_get_u16be(&c), 0);
    assert_true(c.failed);
    assert_int_equal(pr_get_u8(&c), 0);
    assert_int_equal(pr_get_bytes(&c, 0).n, 0);
}

/* Goal: text without its end, and an empty input, fail. */
static void test_cstr_open(void **state)
{
    struct pr_cursor c = pr_cursor(pr_str("abc"));
    struct pr_cursor e = pr_cursor(pr_bytes(NULL, 0));

    (void)state;
    assert_int_equal(pr_get_cstr(&c).n, 0);
    assert_true(c.failed);
    assert_int_equal(pr_get_u64be(&e), 0);
    assert_true(e.failed);
}

/* Goal: a full writer keeps counting and touches nothing past its capacity. */
static void test_outbuf(void **state)
{
    uint8_t mem[8];
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf o = pr_outbuf(mem, 4);

    (void)state;
    memset(mem, 0xee, sizeof mem);
    pr_put_u32be(&size, 7);
    pr_put_str(&size, "xyz");
    assert_int_equal(size.len, 7);
    assert_false(pr_out_ok(&size));

    pr_put_u16be(&o, 0x0102);
    pr_put_u32be(&o, 7);
    pr_put_u8(&o, 1);
    assert_false(pr_out_ok(&o));
    assert_int_equal(o.len, 7);
    assert_int_equal(mem[1], 2);
    assert_int_equal(mem[4], 0xee);
}

static void test_numbers(void **state)
{
    uint8_t mem[64];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);

    (void)state;
    pr_put_u32be(&o, 0);
    pr_put_dec(&o, 0);
    pr_put_dec(&o, UINT64_MAX);
    pr_put_u64be(&o, 1);
    pr_patch_u32be(&o, 0, (uint32_t)o.len);
    assert_true(pr_out_ok(&o));
    assert_int_equal(mem[3], o.len);
    assert_memory_equal(mem + 4, "018446744073709551615", 21);
    assert_int_equal(mem[o.len - 1], 1);
}

static void test_slices(void **state)
{
    (void)state;
    assert_true(pr_slice_is(pr_str("a"), "a"));
    assert_false(pr_slice_is(pr_str("a"), "A"));
    assert_true(pr_slice_is_nocase(pr_str("TrUe1"), "true1"));
    assert_false(pr_slice_is_nocase(pr_str("tru"), "true"));
    assert_false(pr_slice_is_nocase(pr_str("@rue"), "`rue"));
    assert_true(pr_slice_eq(pr_bytes(NULL, 0), pr_str("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cursor), cmocka_unit_test(test_cstr_open),
        cmocka_unit_test(test_outbuf), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_slices),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
