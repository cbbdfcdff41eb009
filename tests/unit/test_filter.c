/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/filter.h"

#define PRE "Error parsing `filter` params: "

/* Goal: operators, quoting and commas; every way to be wrong with the text that clients know. */
static const struct {
    const char *text;
    int err;
    const char *says; /* the error text, or what inspect shows */
} cases[] = {
    {"", PR_OK, "[]"},
    {" \t ", PR_OK, "[]"},
    {"id=eq.1", PR_OK, "[{\"id\", \"eq\", \"1\", false}]"},
    {" id=eq.1 ", PR_OK, "[{\"id\", \"eq\", \"1\", false}]"},
    {"t=eq.a=b.c", PR_OK, "[{\"t\", \"eq\", \"a=b.c\", false}]"},
    {"t=eq.", PR_OK, "[{\"t\", \"eq\", \"\", false}]"},
    {"=eq.1", PR_OK, "[{\"\", \"eq\", \"1\", false}]"},
    {"a=neq.1,b=lt.2,c=lte.3,d=gt.4,e=gte.5", PR_OK,
     "[{\"a\", \"neq\", \"1\", false}, {\"b\", \"lt\", \"2\", false}, {\"c\", \"lte\", \"3\", "
     "false}, "
     "{\"d\", \"gt\", \"4\", false}, {\"e\", \"gte\", \"5\", false}]"},
    {"id=in.(1,2,3)", PR_OK, "[{\"id\", \"in\", \"{1,2,3}\", false}]"},
    {"id=in.()", PR_OK, "[{\"id\", \"in\", \"{}\", false}]"},
    {"id=in.(1,2),t=eq.x", PR_OK,
     "[{\"id\", \"in\", \"{1,2}\", false}, {\"t\", \"eq\", \"x\", false}]"},
    {"t=in.(\"a,b\",\"c)\")", PR_OK, "[{\"t\", \"in\", \"{\\\"a,b\\\",\\\"c)\\\"}\", false}]"},
    {"t=eq.\"a,b\",n=eq.1", PR_OK,
     "[{\"t\", \"eq\", \"a,b\", false}, {\"n\", \"eq\", \"1\", false}]"},
    {"t=eq.\"a\\\"b\\\\\"", PR_OK, "[{\"t\", \"eq\", \"a\\\"b\\\\\", false}]"},
    {"t=eq.\"a\"b", PR_OK, "[{\"t\", \"eq\", \"\\\"a\\\"b\", false}]"},
    {"t=eq.\"", PR_OK, "[{\"t\", \"eq\", \"\\\"\", false}]"},
    {"t=eq.\"a\\\"", PR_OK, "[{\"t\", \"eq\", \"\\\"a\\\\\\\"\", false}]"},
    {"t=eq.x\"y,n=eq.1", PR_OK,
     "[{\"t\", \"eq\", \"x\\\"y\", false}, {\"n\", \"eq\", \"1\", false}]"},
    {"t=eq.f(a,b),n=eq.1", PR_OK,
     "[{\"t\", \"eq\", \"f(a,b)\", false}, {\"n\", \"eq\", \"1\", false}]"},
    {"t=eq.a),n=eq.1", PR_OK, "[{\"t\", \"eq\", \"a)\", false}, {\"n\", \"eq\", \"1\", false}]"},
    {"t=eq.#{x}\n\x7f", PR_OK, "[{\"t\", \"eq\", \"\\#{x}\\n\\d\", false}]"},
    {"t=eq.\x01z", PR_OK, "[{\"t\", \"eq\", <<1, 122>>, false}]"},
    {"t=in.(\x01)", PR_OK, "[{\"t\", \"in\", <<1>>, false}]"},
    {"undefined", PR_ESYNTAX, PRE "[\"undefined\"]"},
    {"id=hey", PR_ESYNTAX, PRE "[\"hey\"]"},
    {"id=", PR_ESYNTAX, PRE "[\"\"]"},
    {"id=not.hey", PR_ESYNTAX, PRE "[\"hey\"]"},
    {"id=foo.hey", PR_EOP, PRE "[\"foo\", \"hey\"]"},
    {"id=foo.a.b", PR_EOP, PRE "[\"foo\", \"a.b\"]"},
    {"id=EQ.1", PR_EOP, PRE "[\"EQ\", \"1\"]"},
    {"id=not.foo.1", PR_EOP, PRE "[\"foo\", \"1\"]"},
    {"id=eq.1,", PR_ESYNTAX, PRE "filter must not contain empty segments (check for extra commas)"},
    {",id=eq.1", PR_ESYNTAX, PRE "filter must not contain empty segments (check for extra commas)"},
    {"id=eq.1, ,n=eq.2", PR_ESYNTAX,
     PRE "filter must not contain empty segments (check for extra commas)"},
    {"id=in.1,2", PR_ESYNTAX, PRE "`in` filter value must be wrapped by parentheses"},
    {"id=in.(1,2", PR_ESYNTAX, PRE "`in` filter value must be wrapped by parentheses"},
    {"id=in.(", PR_ESYNTAX, PRE "`in` filter value must be wrapped by parentheses"},
    {"id=in.", PR_ESYNTAX, PRE "`in` filter value must be wrapped by parentheses"},
    {"t=like.a%", PR_EOP, PRE "operator like is not supported yet"},
    {"t=is.null", PR_EOP, PRE "operator is is not supported yet"},
    {"t=isdistinct.x", PR_EOP, PRE "operator isdistinct is not supported yet"},
    {"t=not.eq.x", PR_EOP, PRE "operator not.eq is not supported yet"},
    {"t=not.imatch.x", PR_EOP, PRE "operator not.imatch is not supported yet"},
};

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_filter f;
        uint8_t mem[PR_FILTER_ARENA(64)];
        uint8_t said[512];
        struct pr_outbuf arena = pr_outbuf(mem, sizeof mem);
        struct pr_outbuf out = pr_outbuf(said, sizeof said);
        int err = pr_filter_parse(pr_str(cases[i].text), &f, &arena, &out);

        if (err == PR_OK) {
            pr_filter_inspect(&out, &f);
        }
        if (err != cases[i].err || !pr_slice_is(pr_bytes(said, out.len), cases[i].says)) {
            fail_msg("%s: error %d, %.*s", cases[i].text, err, (int)out.len, said);
        }
    }
}

/* Goal: the elements of `in` as an array literal has them. */
static void test_in(void **state)
{
    static const struct {
        const char *text;
        uint32_t n;
        const char *values[4]; /* NULL inside n: the SQL NULL */
    } rows[] = {
        {"c=in.()", 0, {0}},
        {"c=in.( )", 0, {0}},
        {"c=in.(1)", 1, {"1"}},
        {"c=in.( a b , c )", 2, {"a b", "c"}},
        {"c=in.(\"a,b\",\" c \",\"\\\"\")", 3, {"a,b", " c ", "\""}},
        {"c=in.(NULL,null,\"NULL\",x)", 4, {NULL, NULL, "NULL", "x"}},
        {"c=in.(\"\",,a\\,b)", 3, {"", "", "a,b"}},
        {"c=in.(a,)", 2, {"a", ""}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_filter f;
        uint8_t mem[PR_FILTER_ARENA(64)];
        struct pr_outbuf arena = pr_outbuf(mem, sizeof mem);
        struct pr_outbuf err = pr_outbuf(NULL, 0);
        struct pr_slice list;
        struct pr_slice v;
        bool null = false;

        assert_int_equal(pr_filter_parse(pr_str(rows[i].text), &f, &arena, &err), PR_OK);
        assert_int_equal(f.conds[0].nvalues, rows[i].n);
        list = f.conds[0].values;
        for (uint32_t k = 0; k < rows[i].n; k++) {
            assert_int_equal(pr_cond_values_next(&list, &v, &null), 1);
            if (null != (rows[i].values[k] == NULL)) {
                fail_msg("%s: %u", rows[i].text, k);
            }
            if (!null && !pr_slice_is(v, rows[i].values[k])) {
                fail_msg("%s: %u is %.*s", rows[i].text, k, (int)v.n, (const char *)v.p);
            }
        }
        assert_int_equal(pr_cond_values_next(&list, &v, &null), 0);
    }
}

/* Goal: both sides of each limit. */
static void test_limits(void **state)
{
    static char text[PR_FILTER_TEXT_MAX + 8u];
    static uint8_t mem[PR_FILTER_ARENA(PR_FILTER_TEXT_MAX)];
    uint8_t said[256];
    struct pr_filter f;
    struct pr_outbuf arena = pr_outbuf(mem, sizeof mem);
    struct pr_outbuf err = pr_outbuf(said, sizeof said);
    struct pr_slice s = pr_bytes(text, 0);

    (void)state;
    for (uint32_t n = 1; n <= PR_FILTER_CONDS_MAX + 1; n++) {
        memcpy(text + s.n, "a=eq.1,", 7);
        s.n += 7;
        assert_int_equal(pr_filter_parse(pr_bytes(text, s.n - 1), &f, &arena, &err),
                         n <= PR_FILTER_CONDS_MAX ? PR_OK : PR_ERANGE);
        arena.len = 0;
    }
    memset(text, 'x', sizeof text);
    memcpy(text, "a=eq.", 5);
    assert_int_equal(pr_filter_parse(pr_bytes(text, PR_FILTER_TEXT_MAX), &f, &arena, &err), PR_OK);
    arena.len = 0;
    assert_int_equal(pr_filter_parse(pr_bytes(text, PR_FILTER_TEXT_MAX + 1), &f, &arena, &err),
                     PR_ERANGE);
    memcpy(text, "a=in.(", 6);
    for (size_t i = 6; i < PR_FILTER_TEXT_MAX; i++) {
        text[i] = (i & 1) != 0 ? ',' : '1';
    }
    text[PR_FILTER_TEXT_MAX - 1] = ')';
    arena.len = 0;
    assert_int_equal(pr_filter_parse(pr_bytes(text, PR_FILTER_TEXT_MAX), &f, &arena, &err), PR_OK);
    assert_true(f.conds[0].nvalues > 30000);
    /* An arena that is too small is told, not overrun. */
    arena = pr_outbuf(mem, 4);
    assert_int_equal(pr_filter_parse(pr_str("a=eq.1"), &f, &arena, &err), PR_ERANGE);
    arena = pr_outbuf(mem, 4);
    assert_int_equal(pr_filter_parse(pr_str("a=eq.\"123456\""), &f, &arena, &err), PR_ERANGE);
    arena = pr_outbuf(mem, 4);
    assert_int_equal(pr_filter_parse(pr_str("a=in.(1,2)"), &f, &arena, &err), PR_ERANGE);
}

static void test_inspect_long(void **state)
{
    static uint8_t in[5000];
    static uint8_t mem[8192];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);

    (void)state;
    memset(in, 'a', sizeof in);
    in[4095] = 0xc3; /* a character across the cut */
    in[4096] = 0xa4;
    pr_inspect_string(&o, pr_bytes(in, sizeof in));
    assert_int_equal(o.len, 1 + 4095 + 8);
    assert_memory_equal(mem + o.len - 9, "a\" <> ...", 9);
    o.len = 0;
    memset(in, 1, sizeof in);
    pr_inspect_string(&o, pr_bytes(in, sizeof in));
    assert_memory_equal(mem + o.len - 10, ", 1, ...>>", 10);
    assert_int_equal(o.len, 2 + 50 * 3 - 2 + 7);
}

static const struct pr_slice moods[] = {
    {(const uint8_t *)"sad", 3}, {(const uint8_t *)"ok", 2}, {(const uint8_t *)"happy", 5}};

/* Goal: the filter table of the documentation, for the operators of this build. */
static void test_match(void **state)
{
    static const struct pr_pg_type t_text = {.kind = PR_PG_TEXT};
    static const struct pr_pg_type t_int = {.kind = PR_PG_INT};
    static const struct pr_pg_type t_numeric = {.kind = PR_PG_NUMERIC};
    static const struct pr_pg_type t_bpchar = {.kind = PR_PG_BPCHAR};
    static const struct pr_pg_type t_json = {.kind = PR_PG_JSON};
    static const struct pr_pg_type t_mood = {.kind = PR_PG_ENUM, .labels = moods, .nlabels = 3};
    static const struct {
        const struct pr_pg_type *type;
        const char *filter;
        const char *value;
        bool match;
    } rows[] = {
        {&t_text, "t=eq.abc", "abc", true},
        {&t_text, "t=neq.abc", "abc", false},
        {&t_text, "t=neq.ABC", "abc", true},
        {&t_text, "t=lt.abd", "abc", true},
        {&t_text, "t=lte.abc", "abc", true},
        {&t_text, "t=gt.abc", "abc", false},
        {&t_text, "t=gte.abc", "abc", true},
        {&t_text, "t=eq.", "", true},
        {&t_numeric, "n=eq.1.50", "1.5", true},
        {&t_numeric, "n=gt.1.4", "1.5", true},
        {&t_int, "id=in.(5,6)", "5", true},
        {&t_int, "id=in.(5,6)", "7", false},
        {&t_int, "id=in.()", "7", false},
        {&t_int, "id=in.(NULL)", "7", false},
        {&t_int, "id=in.(NULL,7)", "7", true},
        {&t_int, "id=eq.x", "7", false},
        {&t_text, "t=in.(\"abc\",\"a,b\")", "a,b", true},
        {&t_mood, "m=gt.sad", "ok", true},
        {&t_mood, "m=gt.ok", "sad", false},
        {&t_bpchar, "ch=eq.ab", "ab ", true},
        {&t_json, "j=eq.1", "1", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_filter f;
        uint8_t mem[PR_FILTER_ARENA(64)];
        struct pr_outbuf arena = pr_outbuf(mem, sizeof mem);
        struct pr_outbuf err = pr_outbuf(NULL, 0);

        assert_int_equal(pr_filter_parse(pr_str(rows[i].filter), &f, &arena, &err), PR_OK);
        if (pr_filter_match(f.conds[0].op, f.conds[0].values, rows[i].type,
                            pr_str(rows[i].value)) != rows[i].match) {
            fail_msg("%s on %s", rows[i].filter, rows[i].value);
        }
    }
}

static void test_native(void **state)
{
    static const struct pr_pg_type t_text = {.kind = PR_PG_TEXT};
    static const struct pr_pg_type t_json = {.kind = PR_PG_JSON};
    struct pr_slice list = pr_bytes("\2\0\0\0\0", 5);
    struct pr_slice cut = pr_bytes("\0\0\0\0\1", 5);
    struct pr_slice v;
    bool null = false;

    (void)state;
    assert_true(pr_filter_native(PR_F_EQ, &t_text, false));
    assert_true(pr_filter_native(PR_F_IN, &t_text, false));
    assert_false(pr_filter_native(PR_F_LT, &t_text, false));
    assert_true(pr_filter_native(PR_F_GTE, &t_text, true));
    assert_false(pr_filter_native(PR_F_NEQ, &t_json, true));
    assert_int_equal(pr_cond_values_next(&list, &v, &null), PR_ETYPE);
    assert_int_equal(pr_cond_values_next(&cut, &v, &null), PR_ESHORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),  cmocka_unit_test(test_in),
        cmocka_unit_test(test_limits), cmocka_unit_test(test_inspect_long),
        cmocka_unit_test(test_match),  cmocka_unit_test(test_native),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
