/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "proto/json_write.h"

static void escapes(void **state)
{
    static const struct {
        const char *plain, *json;
    } rows[] = {
        {"", "\"\""},
        {"abc", "\"abc\""},
        {"a\"b\\c/", "\"a\\\"b\\\\c/\""},
        {"\n\r\t", "\"\\n\\r\\t\""},
        {"\x01\x1f", "\"\\u0001\\u001f\""},
        {"\xc3\xa9", "\"\xc3\xa9\""},
        {"\xff", "\"\xef\xbf\xbd\""},
        {"a\xc3", "\"a\xef\xbf\xbd\""},
        {"\xc3\"\xe2\x82\xac", "\"\xef\xbf\xbd\\\"\xe2\x82\xac\""},
        {"\xf0\x9f\x98\x80\xf0\x9f", "\"\xf0\x9f\x98\x80\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    uint8_t buf[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        pr_put_json_cstr(&o, rows[i].plain);
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].json));
    }
}

static void writes_nul_and_parts(void **state)
{
    uint8_t buf[64];
    struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

    (void)state;
    pr_put_json_str(&o, pr_bytes("a\0b", 3));
    pr_put_json_escaped(&o, pr_str("\"x"));
    assert_true(pr_slice_is(pr_bytes(buf, o.len), "\"a\\u0000b\"\\\"x"));
}

static void writes_integers(void **state)
{
    static const struct {
        int64_t v;
        const char *text;
    } rows[] = {{0, "0"},
                {-1, "-1"},
                {INT64_MAX, "9223372036854775807"},
                {INT64_MIN, "-9223372036854775808"}};
    uint8_t buf[24];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        pr_put_json_int(&o, rows[i].v);
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].text));
    }
}

static void counts_what_does_not_fit(void **state)
{
    uint8_t buf[2] = {0};
    struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

    (void)state;
    pr_put_json_cstr(&o, "abc");
    assert_false(pr_out_ok(&o));
    assert_int_equal(o.len, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(escapes),
        cmocka_unit_test(writes_nul_and_parts),
        cmocka_unit_test(writes_integers),
        cmocka_unit_test(counts_what_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
