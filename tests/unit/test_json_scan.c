/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/json_scan.h"

struct row {
    const char *text;
    int want;
};

static void checks_grammar(void **state)
{
    static const struct row rows[] = {
        {"{}", PR_OK},
        {"[]", PR_OK},
        {" \t\r\n [ 1 , { \"a\" : [ ] } ] \n", PR_OK},
        {"true", PR_OK},
        {"false", PR_OK},
        {"null", PR_OK},
        {"0", PR_OK},
        {"-0.5e+10", PR_OK},
        {"123456789012345678901234567890", PR_OK},
        {"\"\"", PR_OK},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00Af\"", PR_OK},
        {"\"\\ud800\"", PR_OK},
        {"{\"a\":1,\"a\":2}", PR_OK},
        {"\"0123456789abcdef0123456789abcdef01234567 \xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"",
         PR_OK},
        {"\"01234567\\n89\"", PR_OK},
        {"", PR_ESYNTAX},
        {"  ", PR_ESYNTAX},
        {"{", PR_ESYNTAX},
        {"[", PR_ESYNTAX},
        {"[1", PR_ESYNTAX},
        {"[1,", PR_ESYNTAX},
        {"[1,]", PR_ESYNTAX},
        {"[,1]", PR_ESYNTAX},
        {"[1 2]", PR_ESYNTAX},
        {"[1}", PR_ESYNTAX},
        {"{\"a\":1]", PR_ESYNTAX},
        {"{\"a\"}", PR_ESYNTAX},
        {"{\"a\":}", PR_ESYNTAX},
        {"{\"a\":1,}", PR_ESYNTAX},
        {"{a:1}", PR_ESYNTAX},
        {"{1:1}", PR_ESYNTAX},
        {"[]]", PR_ESYNTAX},
        {"1 2", PR_ESYNTAX},
        {"01", PR_ESYNTAX},
        {"-", PR_ESYNTAX},
        {"+1", PR_ESYNTAX},
        {".5", PR_ESYNTAX},
        {"1.", PR_ESYNTAX},
        {"1e", PR_ESYNTAX},
        {"1e+", PR_ESYNTAX},
        {"tru", PR_ESYNTAX},
        {"truE", PR_ESYNTAX},
        {"NaN", PR_ESYNTAX},
        {"'a'", PR_ESYNTAX},
        {"\"", PR_ESYNTAX},
        {"\"a", PR_ESYNTAX},
        {"\"\\", PR_ESYNTAX},
        {"\"\\x\"", PR_ESYNTAX},
        {"\"\\u12g4\"", PR_ESYNTAX},
        {"\"\\u12", PR_ESYNTAX},
        {"\"a\x01\"", PR_ESYNTAX},
        {"\"0123456789abcdef\n\"", PR_ESYNTAX},
        {"[\"\xff\"]", PR_EUTF8},
        {"\"\xc0\x80\"", PR_EUTF8},
        {"\"\xc1\xbf\"", PR_EUTF8},
        {"\"\xe0\x9f\xbf\"", PR_EUTF8},
        {"\"\xed\xa0\x80\"", PR_EUTF8},
        {"\"\xf0\x8f\xbf\xbf\"", PR_EUTF8},
        {"\"\xf4\x90\x80\x80\"", PR_EUTF8},
        {"\"\xf5\x80\x80\x80\"", PR_EUTF8},
        {"\"\xe2\x82\"", PR_EUTF8},
        {"\"\xe2\x82", PR_EUTF8},
        {"\"\x80\"", PR_EUTF8},
        {"{\"\xff\":1}", PR_EUTF8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (pr_json_check(pr_str(rows[i].text)) != rows[i].want) {
            fail_msg("%s: %d", rows[i].text, pr_json_check(pr_str(rows[i].text)));
        }
    }
    assert_int_equal(pr_json_check(pr_bytes("1\0", 2)), PR_ESYNTAX);
    assert_int_equal(pr_json_check(pr_bytes("\"a\\\0\"", 5)), PR_ESYNTAX);
}

/* Each special byte is found at every place of a run of plain ones. */
static void finds_ends_at_every_offset(void **state)
{
    char text[80];

    (void)state;
    for (size_t n = 0; n < 60; n++) {
        memset(text, 'x', sizeof text);
        text[0] = '"';
        text[n + 1] = '"';
        assert_int_equal(pr_json_check(pr_bytes(text, n + 2)), PR_OK);
        text[n + 1] = 0x1f;
        text[n + 2] = '"';
        assert_int_equal(pr_json_check(pr_bytes(text, n + 3)), PR_ESYNTAX);
        text[n + 1] = (char)0x80;
        assert_int_equal(pr_json_check(pr_bytes(text, n + 3)), PR_EUTF8);
        text[n + 1] = '\\';
        assert_int_equal(pr_json_check(pr_bytes(text, n + 3)), PR_ESYNTAX);
    }
}

static void limits_depth(void **state)
{
    static char text[20000];

    (void)state;
    memset(text, '[', 10000);
    memset(text + 10000, ']', 10000);
    assert_int_equal(pr_json_check(pr_bytes(text, sizeof text)), PR_EDEPTH);
    assert_int_equal(pr_json_check(pr_bytes(text + 10000 - 64, 128)), PR_OK);
    assert_int_equal(pr_json_check(pr_bytes(text + 10000 - 65, 130)), PR_EDEPTH);
    for (size_t i = 0; i + 5 <= 10000; i += 5) {
        memcpy(text + i, "{\"a\":", 5);
    }
    assert_int_equal(pr_json_check(pr_bytes(text, 10000)), PR_EDEPTH);
}

static void tells_type_and_raw(void **state)
{
    static const struct {
        const char *text;
        enum pr_json_type type;
        const char *raw;
    } rows[] = {
        {" null ", PR_JSON_NULL, "null"},        {"true\n", PR_JSON_TRUE, "true"},
        {"false", PR_JSON_FALSE, "false"},       {" -1e5", PR_JSON_NUMBER, "-1e5"},
        {"\"a b\" ", PR_JSON_STRING, "\"a b\""}, {" [1, 2] ", PR_JSON_ARRAY, "[1, 2]"},
        {"{ }", PR_JSON_OBJECT, "{ }"},
    };
    struct pr_json v;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(pr_json_value(pr_str(rows[i].text), &v), PR_OK);
        assert_int_equal(v.type, rows[i].type);
        assert_true(pr_slice_is(v.raw, rows[i].raw));
    }
}

static void iterates(void **state)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json v;

    (void)state;
    assert_int_equal(pr_json_open(&it, pr_str(" { \"a\" : 1 , \"b\\n\":[2] } ")), PR_OK);
    assert_true(it.object);
    assert_int_equal(pr_json_next(&it, &key, &v), 1);
    assert_true(pr_slice_is(key, "a") && pr_slice_is(v.raw, "1"));
    assert_int_equal(pr_json_next(&it, &key, &v), 1);
    assert_true(pr_slice_is(key, "b\\n") && pr_slice_is(v.raw, "[2]"));
    assert_int_equal(pr_json_next(&it, &key, &v), 0);

    assert_int_equal(pr_json_open(&it, pr_str("[]")), PR_OK);
    assert_int_equal(pr_json_next(&it, NULL, &v), 0);
}

static void refuses_while_iterating(void **state)
{
    static const struct row rows[] = {
        {"[1 2]", PR_ESYNTAX},    {"[1,]", PR_ESYNTAX},      {"[] x", PR_ESYNTAX},
        {"[1]]", PR_ESYNTAX},     {"{\"a\" 1}", PR_ESYNTAX}, {"{1}", PR_ESYNTAX},
        {"[\"\xff\"]", PR_EUTF8}, {"[", PR_ESYNTAX},         {"[1", PR_ESYNTAX},
        {"{\"a\":1", PR_ESYNTAX},
    };
    struct pr_json_iter it;
    struct pr_json v;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int rc = pr_json_open(&it, pr_str(rows[i].text));

        assert_int_equal(rc, PR_OK);
        while ((rc = pr_json_next(&it, NULL, &v)) > 0) {
        }
        assert_int_equal(rc, rows[i].want);
    }
    assert_int_equal(pr_json_open(&it, pr_str("1")), PR_ETYPE);
    assert_int_equal(pr_json_open(&it, pr_str(" ")), PR_ESYNTAX);
}

static void picks_members(void **state)
{
    static const char *const names[] = {"a", "b", "c"};
    struct pr_json v[3];

    (void)state;
    assert_int_equal(pr_json_pick(pr_str("{\"b\":1,\"x\":2,\"\\u0061\":3,\"b\":4}"), names, 3, v),
                     PR_OK);
    assert_true(pr_slice_is(v[0].raw, "3"));
    assert_true(pr_slice_is(v[1].raw, "4"));
    assert_int_equal(v[2].raw.n, 0);
    assert_int_equal(pr_json_pick(pr_str("[]"), names, 3, v), PR_ETYPE);
    assert_int_equal(pr_json_pick(pr_str("1"), names, 3, v), PR_ETYPE);
    assert_int_equal(pr_json_pick(pr_str("{\"a\":1"), names, 3, v), PR_ESYNTAX);

    assert_int_equal(pr_json_member(pr_str("{\"a\":1,\"a\":2}"), "a", v), 1);
    assert_true(pr_slice_is(v[0].raw, "2"));
    assert_int_equal(pr_json_member(pr_str("{\"a\":1}"), "b", v), 0);
    assert_int_equal(pr_json_member(pr_str("{\"a\":}"), "a", v), PR_ESYNTAX);
}

static void unescapes(void **state)
{
    static const struct {
        const char *escaped, *plain;
    } rows[] = {
        {"", ""},
        {"plain", "plain"},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"a\\u0041b", "aAb"},
        {"\\u00e9\\u20AC", "\xc3\xa9\xe2\x82\xac"},
        {"\\ud83d\\ude00!", "\xf0\x9f\x98\x80!"},
        {"\\uD83D\\uDE00", "\xf0\x9f\x98\x80"},
        {"\\ud83d", "\xef\xbf\xbd"},
        {"\\ude00x", "\xef\xbf\xbdx"},
        {"\\ud83dx", "\xef\xbf\xbdx"},
        {"\\ud83d\\n", "\xef\xbf\xbd\n"},
        {"\\ud83d\\u0041", "\xef\xbf\xbd"
                           "A"},
        {"\\ud83d\\ud83d\\ude00", "\xef\xbf\xbd\xf0\x9f\x98\x80"},
    };
    uint8_t buf[64];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        pr_json_unescape(&o, pr_str(rows[i].escaped));
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].plain));
        assert_true(pr_json_str_is(pr_str(rows[i].escaped), rows[i].plain));
        assert_false(pr_json_str_is(pr_str(rows[i].escaped), "something else"));
    }
    assert_false(pr_json_str_is(pr_str("\\n"), "\nb"));
    assert_false(pr_json_str_is(pr_str("\\nb"), "\n"));
}

static void gives_text(void **state)
{
    uint8_t buf[4];
    struct pr_outbuf o = pr_outbuf(buf, sizeof buf);
    struct pr_json v;
    struct pr_slice text;

    (void)state;
    assert_int_equal(pr_json_value(pr_str("\"longer than it\""), &v), PR_OK);
    assert_int_equal(pr_json_text(&v, &o, &text), PR_OK);
    assert_true(pr_slice_is(text, "longer than it") && text.p == v.raw.p + 1);
    assert_int_equal(pr_json_value(pr_str("\"\\u0041\\n\""), &v), PR_OK);
    assert_int_equal(pr_json_text(&v, &o, &text), PR_OK);
    assert_true(pr_slice_is(text, "A\n") && text.p == buf);
    assert_int_equal(pr_json_value(pr_str("\"\\u0041aaaa\""), &v), PR_OK);
    assert_int_equal(pr_json_text(&v, &o, &text), PR_ESHORT);
    assert_int_equal(pr_json_value(pr_str("5"), &v), PR_OK);
    assert_int_equal(pr_json_text(&v, &o, &text), PR_ETYPE);
}

static void judges_utf8(void **state)
{
    (void)state;
    assert_true(pr_utf8_ok(pr_bytes(NULL, 0)));
    assert_true(pr_utf8_ok(pr_str("0123456789 \xc3\xa9 \xef\xbf\xbd \xf4\x8f\xbf\xbf 0123456789")));
    assert_false(pr_utf8_ok(pr_str("0123456789\xc3")));
    assert_false(pr_utf8_ok(pr_str("\xe2\x28\xa1")));
    assert_false(pr_utf8_ok(pr_str("\xe2\x82\x28")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checks_grammar), cmocka_unit_test(finds_ends_at_every_offset),
        cmocka_unit_test(limits_depth),   cmocka_unit_test(tells_type_and_raw),
        cmocka_unit_test(iterates),       cmocka_unit_test(refuses_while_iterating),
        cmocka_unit_test(picks_members),  cmocka_unit_test(unescapes),
        cmocka_unit_test(gives_text),     cmocka_unit_test(judges_utf8),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
