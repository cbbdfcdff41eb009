/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/json_scan.h"
#include "proto/pg_value.h"

#define S(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }

static const struct pr_slice moods[] = {S("sad"), S("ok"), S("happy")};

static const struct pr_pg_type t_bool = {.kind = PR_PG_BOOL};
static const struct pr_pg_type t_int = {.kind = PR_PG_INT};
static const struct pr_pg_type t_oid = {.kind = PR_PG_OID};
static const struct pr_pg_type t_float = {.kind = PR_PG_FLOAT};
static const struct pr_pg_type t_numeric = {.kind = PR_PG_NUMERIC};
static const struct pr_pg_type t_text = {.kind = PR_PG_TEXT};
static const struct pr_pg_type t_bpchar = {.kind = PR_PG_BPCHAR};
static const struct pr_pg_type t_bytea = {.kind = PR_PG_BYTEA};
static const struct pr_pg_type t_uuid = {.kind = PR_PG_UUID};
static const struct pr_pg_type t_date = {.kind = PR_PG_DATE};
static const struct pr_pg_type t_time = {.kind = PR_PG_TIME};
static const struct pr_pg_type t_timestamp = {.kind = PR_PG_TIMESTAMP};
static const struct pr_pg_type t_timestamptz = {.kind = PR_PG_TIMESTAMPTZ};
static const struct pr_pg_type t_json = {.kind = PR_PG_JSON};
static const struct pr_pg_type t_other = {.kind = PR_PG_OTHER};
static const struct pr_pg_type t_sql = {.kind = PR_PG_SQL};
static const struct pr_pg_type t_mood = {.kind = PR_PG_ENUM, .labels = moods, .nlabels = 3};
static const struct pr_pg_type t_posint = {.kind = PR_PG_DOMAIN, .elem = &t_int};
static const struct pr_pg_type t_posint2 = {.kind = PR_PG_DOMAIN, .elem = &t_posint};
static const struct pr_pg_type t_ints = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_posint};
static const struct pr_pg_type t_texts = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_text};
static const struct pr_pg_type t_floats = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_float};
static const struct pr_pg_type t_byteas = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_bytea};
static const struct pr_pg_type t_jsons = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_json};
static const struct pr_pg_type t_stamps = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_timestamp};
static const struct pr_pg_type t_boxes = {.kind = PR_PG_ARRAY, .delim = ';', .elem = &t_other};
static const struct pr_pg_field pair_fields[] = {{S("a"), &t_int}, {S("b \"x"), &t_text}};
static const struct pr_pg_type t_pair = {
    .kind = PR_PG_COMPOSITE, .fields = pair_fields, .nfields = 2};
static const struct pr_pg_type t_pairs = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &t_pair};
static const struct pr_pg_field deep_fields[] = {
    {S("p"), &t_pair}, {S("l"), &t_ints}, {S("q"), &t_pairs}, {S("ok"), &t_bool}};
static const struct pr_pg_type t_deep = {
    .kind = PR_PG_COMPOSITE, .fields = deep_fields, .nfields = 4};
static const struct pr_pg_type t_empty = {.kind = PR_PG_COMPOSITE};

static const struct {
    const struct pr_pg_type *type;
    const char *text;
    const char *json; /* NULL: PR_ESYNTAX */
} matrix[] = {
    {&t_int, "9223372036854775807", "9223372036854775807"},
    {&t_int, "-1", "-1"},
    {&t_int, "0", "0"},
    {&t_int, "", "\"\""},
    {&t_int, "12a", "\"12a\""},
    {&t_int, "007", "\"007\""},
    {&t_numeric, "1.50", "1.50"},
    {&t_numeric, "12345678901234567890.1234500", "12345678901234567890.1234500"},
    {&t_numeric, "-0.001", "-0.001"},
    {&t_numeric, "NaN", "null"},
    {&t_numeric, "Infinity", "null"},
    {&t_numeric, "1.", "\"1.\""},
    {&t_numeric, ".5", "\".5\""},
    {&t_numeric, "1.2.3", "\"1.2.3\""},
    {&t_numeric, "-", "\"-\""},
    {&t_float, "1e+300", "1e+300"},
    {&t_float, "1.5e-05", "1.5e-05"},
    {&t_float, "0.1", "0.1"},
    {&t_float, "-0", "0"},
    {&t_float, "-Infinity", "null"},
    {&t_float, "1e", "\"1e\""},
    {&t_float, "1e+", "\"1e+\""},
    {&t_float, "1e5x", "\"1e5x\""},
    {&t_bool, "t", "true"},
    {&t_bool, "f", "false"},
    {&t_bool, "yes", "\"yes\""},
    {&t_text, "", "\"\""},
    {&t_text, "a\"\\\n\x01", "\"a\\\"\\\\\\n\\u0001\""},
    {&t_text, "\xe2\x80\xa8 \xc3\xa4", "\"\xe2\x80\xa8 \xc3\xa4\""},
    {&t_text,
     "a\xff"
     "b",
     "\"a\xef\xbf\xbd"
     "b\""},
    {&t_bpchar, "ch   ", "\"ch   \""},
    {&t_bytea, "\\xdeadbeef", "\"deadbeef\""},
    {&t_bytea, "\\x", "\"\""},
    {&t_bytea, "old\\001", "\"old\\\\001\""},
    {&t_uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""},
    {&t_oid, "4294967295", "\"4294967295\""},
    {&t_date, "2024-02-29", "\"2024-02-29\""},
    {&t_date, "infinity", "\"infinity\""},
    {&t_time, "12:34:56.5", "\"12:34:56.5\""},
    {&t_timestamp, "2024-01-02 03:04:05.123456", "\"2024-01-02T03:04:05.123456\""},
    {&t_timestamp, "0044-03-15 12:00:00 BC", "\"0044-03-15T12:00:00 BC\""},
    {&t_timestamp, "-infinity", "\"-infinity\""},
    {&t_timestamp, "a\" b", "\"a\\\" b\""},
    {&t_timestamptz, "2024-01-02 01:04:05.12+00", "\"2024-01-02T01:04:05.12+00:00\""},
    {&t_timestamptz, "2024-01-02 01:04:05-03:30", "\"2024-01-02T01:04:05-03:30\""},
    {&t_timestamptz, "0044-03-15 12:00:00+00 BC", "\"0044-03-15T12:00:00+00:00 BC\""},
    {&t_timestamptz, "infinity", "\"infinity\""},
    {&t_timestamptz, "", "\"\""},
    {&t_json, "{\"a\": [1, null]}", "{\"a\": [1, null]}"},
    {&t_json, "\"x\"", "\"x\""},
    {&t_json, "{\"a\":", "\"{\\\"a\\\":\""},
    {&t_mood, "ok", "\"ok\""},
    {&t_other, "[1,5)", "\"[1,5)\""},
    {&t_other, "1 year 2 mons 3 days 04:05:06", "\"1 year 2 mons 3 days 04:05:06\""},
    {&t_sql, "a=>1", "\"a=>1\""},
    {&t_posint2, "7", "7"},
    {&t_ints, "{}", "[]"},
    {&t_ints, "{1,NULL,3}", "[1,null,3]"},
    {&t_ints, "{{1,2},{3,4}}", "[[1,2],[3,4]]"},
    {&t_ints, "[2:3]={1,2}", "[1,2]"},
    {&t_ints, "[1:1][-2:-1]={{1,2}}", "[[1,2]]"},
    {&t_ints, "{1,2", NULL},
    {&t_ints, "{1,2}}", NULL},
    {&t_ints, "{1,}", NULL},
    {&t_ints, "{,1}", NULL},
    {&t_ints, "{1 2", NULL},
    {&t_ints, "1", NULL},
    {&t_ints, "", NULL},
    {&t_ints, "[1:2", NULL},
    {&t_ints, "[1:2]=", NULL},
    {&t_ints, "{{{{{{{1}}}}}}}", NULL},
    {&t_ints, "{{1}2}", NULL},
    {&t_ints, "{{1},}", NULL},
    {&t_texts, "{a,\"b,c\",\"d\\\"e\\\\f\",\"\",\"NULL\",NULL,\"{x}\"}",
     "[\"a\",\"b,c\",\"d\\\"e\\\\f\",\"\",\"NULL\",null,\"{x}\"]"},
    {&t_texts, "{\"a}", NULL},
    {&t_texts, "{\"a\\", NULL},
    {&t_floats, "{NaN,1.5,Infinity,-0}", "[\"NaN\",1.5,\"Infinity\",0]"},
    {&t_byteas, "{\"\\\\x01\"}", "[\"\\\\x01\"]"},
    {&t_jsons, "{\"{\\\"a\\\": 1}\",2}", "[{\"a\": 1},2]"},
    {&t_stamps, "{\"2024-01-02 03:04:05\"}", "[\"2024-01-02T03:04:05\"]"},
    {&t_boxes, "{(1,1),(0,0);(2,2),(1,1)}", "[\"(1,1),(0,0)\",\"(2,2),(1,1)\"]"},
    {&t_pair, "(1,\"x y\")", "{\"a\":1,\"b \\\"x\":\"x y\"}"},
    {&t_pair, "(,)", "{\"a\":null,\"b \\\"x\":null}"},
    {&t_pair, "(1,\"\")", "{\"a\":1,\"b \\\"x\":\"\"}"},
    {&t_pair, "(1,\"a\"\"b\\\\c,)\")", "{\"a\":1,\"b \\\"x\":\"a\\\"b\\\\c,)\"}"},
    {&t_pair, "(1)", NULL},
    {&t_pair, "(1,2,3)", NULL},
    {&t_pair, "(1,2", NULL},
    {&t_pair, "(1,2)x", NULL},
    {&t_pair, "(1,\"2)", NULL},
    {&t_pair, "1,2", NULL},
    {&t_pair, "", NULL},
    {&t_empty, "()", "{}"},
    {&t_empty, "(,)", NULL},
    {&t_pairs, "{\"(1,\\\"x \\\"\\\"y\\\")\",NULL,\"(,)\"}",
     "[{\"a\":1,\"b \\\"x\":\"x \\\"y\"},null,{\"a\":null,\"b \\\"x\":null}]"},
    {&t_deep, "(\"(1,\"\"a b\"\")\",\"{1,2}\",\"{\"\"(5,u)\"\"}\",t)",
     "{\"p\":{\"a\":1,\"b \\\"x\":\"a b\"},\"l\":[1,2],\"q\":[{\"a\":5,\"b "
     "\\\"x\":\"u\"}],\"ok\":true}"},
    {&t_deep, "(\"(1,\"\"a b\"\"\",\"{1,2}\",,t)", NULL},
};

/* Goal: the whole type matrix; what comes out is JSON whatever came in, and errors leave nothing.
 */
static void test_matrix(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof matrix / sizeof matrix[0]; i++) {
        uint8_t mem[512];
        uint8_t spare[512];
        struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
        struct pr_outbuf scratch = pr_outbuf(spare, sizeof spare);
        int err = 0;

        pr_put_u8(&o, '#');
        err = pr_pg_json(&o, matrix[i].type, pr_str(matrix[i].text), &scratch);
        assert_int_equal(scratch.len, 0);
        if (matrix[i].json == NULL) {
            if (err != PR_ESYNTAX || o.len != 1) {
                fail_msg("%s: error %d, len %zu", matrix[i].text, err, o.len);
            }
            continue;
        }
        if (err != PR_OK || !pr_slice_is(pr_bytes(mem + 1, o.len - 1), matrix[i].json)) {
            fail_msg("%s: error %d, %.*s, expected %s", matrix[i].text, err, (int)o.len, mem,
                     matrix[i].json);
        }
        assert_int_equal(pr_json_check(pr_bytes(mem + 1, o.len - 1)), PR_OK);
    }
}

/* Goal: a short scratch is told and leaves the output alone. */
static void test_scratch(void **state)
{
    uint8_t mem[64];
    uint8_t spare[4];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
    struct pr_outbuf scratch = pr_outbuf(spare, sizeof spare);

    (void)state;
    assert_int_equal(pr_pg_json(&o, &t_texts, pr_str("{\"abcde\"}"), &scratch), PR_ESHORT);
    assert_int_equal(o.len, 0);
    assert_int_equal(scratch.len, 0);
    assert_int_equal(pr_pg_json(&o, &t_texts, pr_str("{\"abcd\",\"efgh\"}"), &scratch), PR_OK);
    assert_int_equal(pr_pg_json(&o, &t_texts, pr_str("{abcde,fghij}"), &scratch), PR_OK);
}

/* Text of a composite value inside `depth` composites of one attribute; quotes double per level. */
static struct pr_slice nested(char *mem, size_t cap, size_t depth)
{
    size_t n = 2;

    memcpy(mem, "()", 2);
    for (size_t i = 0; i < depth; i++) {
        size_t quotes = 0;
        size_t to = 0;

        for (size_t k = 0; k < n; k++) {
            quotes += mem[k] == '"' ? 1 : 0;
        }
        assert_true(n + quotes + 4 <= cap);
        to = n + quotes + 4;
        mem[--to] = ')';
        mem[--to] = '"';
        for (size_t k = n; k > 0; k--) {
            char c = mem[k - 1];

            mem[--to] = c;
            if (c == '"') {
                mem[--to] = c;
            }
        }
        mem[--to] = '"';
        mem[--to] = '(';
        n += quotes + 4;
    }
    return pr_bytes(mem, n);
}

/* Goal: types inside types end at the limit; at the limit they work. */
static void test_depth(void **state)
{
    static char text[1u << 18];
    static uint8_t spare[1u << 20];
    struct pr_pg_type types[PR_PG_DEPTH_MAX + 1];
    struct pr_pg_field fields[PR_PG_DEPTH_MAX];
    uint8_t mem[512];

    (void)state;
    types[0] = (struct pr_pg_type){.kind = PR_PG_COMPOSITE};
    for (size_t i = 0; i < PR_PG_DEPTH_MAX; i++) {
        fields[i] = (struct pr_pg_field){S("f"), &types[i]};
        types[i + 1] =
            (struct pr_pg_type){.kind = PR_PG_COMPOSITE, .fields = &fields[i], .nfields = 1};
    }
    for (size_t depth = 1; depth <= PR_PG_DEPTH_MAX; depth++) {
        struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
        struct pr_outbuf scratch = pr_outbuf(spare, sizeof spare);
        struct pr_slice in = nested(text, sizeof text, depth);

        assert_int_equal(pr_pg_json(&o, &types[depth], in, &scratch),
                         depth < PR_PG_DEPTH_MAX ? PR_OK : PR_EDEPTH);
        assert_int_equal(o.len, depth < PR_PG_DEPTH_MAX ? depth * 6 + 2 : 0);
        assert_int_equal(scratch.len, 0);
    }
}

static const struct {
    const struct pr_pg_type *type;
    const char *a;
    const char *b;
    int order; /* 9: PR_ESYNTAX, 8: PR_ETYPE */
} orders[] = {
    {&t_bool, "f", "t", -1},
    {&t_bool, "f", "no", 9},
    {&t_int, "9", "10", -1},
    {&t_int, "-9", "-10", 1},
    {&t_int, "-1", "1", -1},
    {&t_int, "0", "-1", 1},
    {&t_int, "5", "5", 0},
    {&t_int, "5", "x", 9},
    {&t_int, "", "1", 9},
    {&t_int, "1x", "1", 9},
    {&t_oid, "4294967295", "1", 1},
    {&t_posint2, "3", "20", -1},
    {&t_numeric, "1.5", "1.50", 0},
    {&t_numeric, "1.4", "1.50", -1},
    {&t_numeric, "0.00", "-0", 0},
    {&t_numeric, "0.05", "0.005", 1},
    {&t_numeric, "100", "99.999", 1},
    {&t_numeric, "12345678901234567890.1", "12345678901234567890.2", -1},
    {&t_numeric, "NaN", "Infinity", 1},
    {&t_numeric, "NaN", "NaN", 0},
    {&t_numeric, "-Infinity", "-99999", -1},
    {&t_numeric, "Infinity", "Infinity", 0},
    {&t_numeric, "10", "1", 1},
    {&t_numeric, "1000", "1", 1},
    {&t_float, "1e+300", "1e-300", 1},
    {&t_float, "1.5e+10", "15000000000", 0},
    {&t_float, "-0", "0", 0},
    {&t_float, "-1e5", "-1e4", -1},
    {&t_float, "1e", "1", 9},
    {&t_float, "1e+", "1", 9},
    {&t_float, "1ex", "1", 9},
    {&t_float, "1e99999999", "1", 9},
    {&t_text, "a", "b", -1},
    {&t_text, "a", "ab", -1},
    {&t_text, "B", "a", -1},
    {&t_text, "", "", 0},
    {&t_bpchar, "ab ", "ab", 0},
    {&t_bpchar, "ab ", "ac", -1},
    {&t_bytea, "\\x01ff", "\\x02", -1},
    {&t_bytea, "01", "\\x02", 9},
    {&t_uuid, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", -1},
    {&t_uuid, "a0eebc99", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", 9},
    {&t_date, "2024-02-29", "2024-03-01", -1},
    {&t_date, "0044-03-15 BC", "0043-03-15 BC", -1},
    {&t_date, "0001-12-31 BC", "0001-01-01", -1},
    {&t_date, "infinity", "5874897-12-31", 1},
    {&t_date, "-infinity", "4713-01-01 BC", -1},
    {&t_date, "2024-13-01", "2024-01-01", 9},
    {&t_date, "2024-01-01x", "2024-01-01", 9},
    {&t_date, "2024-01", "2024-01-01", 9},
    {&t_time, "12:34:56.5", "12:34:56.05", 1},
    {&t_time, "24:00:00", "23:59:59.999999", 1},
    {&t_time, "12:34", "12:34:56", 9},
    {&t_time, "12:34:56.", "12:34:56", 9},
    {&t_time, "25:00:00", "12:34:56", 9},
    {&t_timestamp, "2024-01-02 03:04:05.1", "2024-01-02 03:04:05.099999", 1},
    {&t_timestamp, "294276-12-31 23:59:59.999999", "infinity", -1},
    {&t_timestamp, "4714-11-24 00:00:00 BC", "-infinity", 1},
    {&t_timestamp, "0001-01-01 00:00:00", "0001-12-31 23:59:59 BC", 1},
    {&t_timestamp, "5874897-01-01 00:00:00", "2024-01-02 03:04:05", 9},
    {&t_timestamp, "2024-01-02", "2024-01-02 03:04:05", 9},
    {&t_timestamp, "2024-01-02 03:04:05+00", "2024-01-02 03:04:05", 9},
    {&t_timestamptz, "2024-01-02 03:04:05+00", "2024-01-02 04:04:05+01", 0},
    {&t_timestamptz, "2024-01-02 03:04:05+00", "2024-01-01 23:34:05-03:30:00", 0},
    {&t_timestamptz, "2024-01-02 03:04:05", "2024-01-02 04:04:05+01", 9},
    {&t_timestamptz, "2024-01-02 03:04:05+x", "2024-01-02 04:04:05+01", 9},
    {&t_mood, "sad", "happy", -1},
    {&t_mood, "ok", "ok", 0},
    {&t_mood, "ok", "bogus", 9},
    {&t_json, "1", "1", 8},
    {&t_ints, "{1}", "{1}", 8},
    {&t_other, "1", "1", 8},
};

/* Goal: order of every comparable type, both ways round, and keys equal exactly if values are. */
static void test_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        uint8_t mem[128];
        struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
        struct pr_slice a = pr_str(orders[i].a);
        struct pr_slice b = pr_str(orders[i].b);
        int order = 0;
        int back = 0;
        size_t mid = 0;
        int err = pr_pg_compare(orders[i].type, a, b, &order);

        if (orders[i].order >= 8) {
            int expect = orders[i].order == 9 ? PR_ESYNTAX : PR_ETYPE;

            assert_int_equal(err, expect);
            assert_int_equal(pr_pg_compare(orders[i].type, b, a, &order), expect);
            assert_true(pr_pg_key(&o, orders[i].type, a) == expect ||
                        pr_pg_key(&o, orders[i].type, b) == expect);
            continue;
        }
        assert_int_equal(err, PR_OK);
        assert_int_equal(pr_pg_compare(orders[i].type, b, a, &back), PR_OK);
        order = (order > 0) - (order < 0);
        back = (back > 0) - (back < 0);
        if (order != orders[i].order || back != -order) {
            fail_msg("%s, %s: %d and %d", orders[i].a, orders[i].b, order, back);
        }
        assert_int_equal(pr_pg_key(&o, orders[i].type, a), PR_OK);
        mid = o.len;
        assert_true(mid <= a.n + PR_PG_KEY_EXTRA);
        assert_int_equal(pr_pg_key(&o, orders[i].type, b), PR_OK);
        assert_int_equal(pr_slice_eq(pr_bytes(mem, mid), pr_bytes(mem + mid, o.len - mid)),
                         order == 0);
    }
}

static void test_can(void **state)
{
    (void)state;
    assert_true(pr_pg_has_equal(&t_text));
    assert_false(pr_pg_has_order(&t_text, false));
    assert_true(pr_pg_has_order(&t_text, true));
    assert_false(pr_pg_has_order(&t_bpchar, false));
    assert_true(pr_pg_has_order(&t_posint2, false));
    assert_false(pr_pg_has_equal(&t_json));
    assert_false(pr_pg_has_order(&t_ints, true));
}

static void test_builtin(void **state)
{
    (void)state;
    assert_int_equal(pr_pg_builtin(23), PR_PG_INT);
    assert_int_equal(pr_pg_builtin(1184), PR_PG_TIMESTAMPTZ);
    assert_int_equal(pr_pg_builtin(3802), PR_PG_JSON);
    assert_int_equal(pr_pg_builtin(142), PR_PG_OTHER);
    assert_int_equal(pr_pg_builtin(0), PR_PG_OTHER);
    assert_int_equal(pr_pg_builtin(65536 + 23), PR_PG_OTHER);
}

/* Goal: times before and after 2000, leap days, and clocks out of all bounds. */
static void test_commit_time(void **state)
{
    static const struct {
        int64_t us;
        const char *text;
    } cases[] = {
        {0, "2000-01-01T00:00:00.000Z"},
        {-1, "1999-12-31T23:59:59.999Z"},
        {INT64_C(823089845123999), "2026-01-30T12:04:05.123Z"},
        {INT64_C(762480000000000), "2024-02-29T00:00:00.000Z"},
        {INT64_C(5097600000000), "2000-02-29T00:00:00.000Z"},
        {INT64_C(-946684800000000), "1970-01-01T00:00:00.000Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000Z"},
        {INT64_MAX, "294276-12-31T23:59:59.999Z"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint8_t mem[64];
        struct pr_outbuf o = pr_outbuf(mem, sizeof mem);

        pr_pg_put_commit_time(&o, cases[i].us);
        if (!pr_slice_is(pr_bytes(mem, o.len), cases[i].text)) {
            fail_msg("%.*s, expected %s", (int)o.len, mem, cases[i].text);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matrix),      cmocka_unit_test(test_scratch),
        cmocka_unit_test(test_depth),       cmocka_unit_test(test_order),
        cmocka_unit_test(test_can),         cmocka_unit_test(test_builtin),
        cmocka_unit_test(test_commit_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
