/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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
    {"t=not.foo.1", PR_EOP, PRE "[\"foo\", \"1\"]"},
    {"t=not.not.eq.1", PR_EOP, PRE "[\"not\", \"eq.1\"]"},
    {"t=NOT.eq.1", PR_EOP, PRE "[\"NOT\", \"eq.1\"]"},
    {"t=not.", PR_ESYNTAX, PRE "[\"\"]"},
    {"t=not.in.1", PR_ESYNTAX, PRE "`in` filter value must be wrapped by parentheses"},
    {"t=like.a%", PR_OK, "[{\"t\", \"like\", \"a%\", false}]"},
    {"t=ilike.\"a,%\",n=eq.1", PR_OK,
     "[{\"t\", \"ilike\", \"a,%\", false}, {\"n\", \"eq\", \"1\", false}]"},
    {"t=is.null", PR_OK, "[{\"t\", \"is\", \"null\", false}]"},
    {"t=is.nonsense", PR_OK, "[{\"t\", \"is\", \"nonsense\", false}]"},
    {"t=match.^(a,b)+$", PR_OK, "[{\"t\", \"match\", \"^(a,b)+$\", false}]"},
    {"t=isdistinct.x", PR_OK, "[{\"t\", \"isdistinct\", \"x\", false}]"},
    {"t=not.eq.x", PR_OK, "[{\"t\", \"eq\", \"x\", true}]"},
    {"t=not.in.(1,NULL)", PR_OK, "[{\"t\", \"in\", \"{1,NULL}\", true}]"},
    {"t=not.imatch.x,n=not.is.null", PR_OK,
     "[{\"t\", \"imatch\", \"x\", true}, {\"n\", \"is\", \"null\", true}]"},
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

/* Goal: the filter table of the documentation. */
static void test_match(void **state)
{
    static const struct pr_pg_type t_text = {.kind = PR_PG_TEXT};
    static const struct pr_pg_type t_int = {.kind = PR_PG_INT};
    static const struct pr_pg_type t_bool = {.kind = PR_PG_BOOL};
    static const struct pr_pg_type t_numeric = {.kind = PR_PG_NUMERIC};
    static const struct pr_pg_type t_bpchar = {.kind = PR_PG_BPCHAR};
    static const struct pr_pg_type t_json = {.kind = PR_PG_JSON};
    static const struct pr_pg_type t_mood = {.kind = PR_PG_ENUM, .labels = moods, .nlabels = 3};
    static const struct {
        const struct pr_pg_type *type;
        const char *filter;
        const char *value; /* NULL: the SQL NULL */
        bool match, negated;
    } rows[] = {
        {&t_text, "t=eq.abc", "abc", true, false},
        {&t_text, "t=neq.abc", "abc", false, true},
        {&t_text, "t=neq.ABC", "abc", true, false},
        {&t_text, "t=lt.abd", "abc", true, false},
        {&t_text, "t=lte.abc", "abc", true, false},
        {&t_text, "t=gt.abc", "abc", false, true},
        {&t_text, "t=gte.abc", "abc", true, false},
        {&t_text, "t=eq.", "", true, false},
        {&t_text, "t=eq.x", NULL, false, false},
        {&t_text, "t=neq.x", NULL, false, false},
        {&t_numeric, "n=eq.1.50", "1.5", true, false},
        {&t_numeric, "n=gt.1.4", "1.5", true, false},
        {&t_int, "id=in.(5,6)", "5", true, false},
        {&t_int, "id=in.(5,6)", "7", false, true},
        {&t_int, "id=in.(5,6)", NULL, false, false},
        {&t_int, "id=in.()", "7", false, true},
        {&t_int, "id=in.()", NULL, false, true},
        {&t_int, "id=in.(NULL)", "7", false, false},
        {&t_int, "id=in.(NULL)", NULL, false, false},
        {&t_int, "id=in.(NULL,7)", "7", true, false},
        {&t_int, "id=in.(NULL,8)", "7", false, false},
        {&t_int, "id=eq.x", "7", false, false},
        {&t_int, "id=isdistinct.7", "7", false, true},
        {&t_int, "id=isdistinct.8", "7", true, false},
        {&t_int, "id=isdistinct.8", NULL, true, false},
        {&t_int, "id=isdistinct.x", "7", false, false},
        {&t_int, "id=is.null", "7", false, true},
        {&t_int, "id=is.null", NULL, true, false},
        {&t_json, "id=is.null", "{}", false, true},
        {&t_bool, "b=is.unknown", NULL, true, false},
        {&t_bool, "b=is.unknown", "t", false, true},
        {&t_bool, "b=is.true", "t", true, false},
        {&t_bool, "b=is.true", "f", false, true},
        {&t_bool, "b=is.true", NULL, false, true},
        {&t_bool, "b=is.false", "f", true, false},
        {&t_text, "t=in.(\"abc\",\"a,b\")", "a,b", true, false},
        {&t_mood, "m=gt.sad", "ok", true, false},
        {&t_mood, "m=gt.ok", "sad", false, true},
        {&t_mood, "m=gt.ok", "gone", false, false},
        {&t_bpchar, "ch=eq.ab", "ab ", true, false},
        {&t_bpchar, "ch=like.ab", "ab ", true, false},
        {&t_bpchar, "ch=like.ab_", "ab ", false, true},
        {&t_json, "j=eq.1", "1", false, false},
        {&t_text, "t=like.a%", NULL, false, false},
        {&t_text, "t=like.a%", "abc", true, false},
        {&t_text, "t=like.A%", "abc", false, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_filter f;
        uint8_t mem[PR_FILTER_ARENA(64)];
        struct pr_outbuf arena = pr_outbuf(mem, sizeof mem);
        struct pr_outbuf err = pr_outbuf(NULL, 0);
        struct pr_slice text = pr_str(rows[i].value == NULL ? "" : rows[i].value);
        const struct pr_slice *value = rows[i].value == NULL ? NULL : &text;

        assert_int_equal(pr_filter_parse(pr_str(rows[i].filter), &f, &arena, &err), PR_OK);
        if (pr_filter_match(&f.conds[0], rows[i].type, value) != rows[i].match) {
            fail_msg("%s on %s", rows[i].filter, rows[i].value);
        }
        f.conds[0].negated = true;
        if (pr_filter_match(&f.conds[0], rows[i].type, value) != rows[i].negated) {
            fail_msg("not %s on %s", rows[i].filter, rows[i].value);
        }
    }
}

static bool is_like(const char *text, const char *pattern)
{
    static const struct pr_pg_type t_text = {.kind = PR_PG_TEXT};
    uint8_t mem[256];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
    struct pr_cond c = {.op = PR_F_LIKE};
    struct pr_slice s = pr_str(text);

    pr_cond_value_put(&o, pr_str(pattern), false);
    c.values = pr_bytes(mem, o.len);
    return pr_filter_match(&c, &t_text, &s);
}

/* Goal: LIKE goes by characters, escapes, and finds the place where a pattern fits. */
/* The definition, by trying everything. Of whole characters: they are one byte each here. */
static bool like_slowly(const char *text, const char *pattern)
{
    if (*pattern == '\0') {
        return *text == '\0';
    }
    if (*pattern == '%') {
        return like_slowly(text, pattern + 1) || (*text != '\0' && like_slowly(text + 1, pattern));
    }
    if (*text == '\0') {
        return false;
    }
    if (*pattern == '\\') {
        return pattern[1] == *text && like_slowly(text + 1, pattern + 2);
    }
    return (*pattern == '_' || *pattern == *text) && like_slowly(text + 1, pattern + 1);
}

/* Appends one of `count` texts, by chance. */
static void append(char *to, size_t *n, const char *const *units, uint32_t count, uint64_t *seed)
{
    const char *unit = NULL;

    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    unit = units[(*seed >> 33) % count];
    memcpy(to + *n, unit, strlen(unit) + 1);
    *n += strlen(unit);
}

static void test_like_random(void **state)
{
    static const char *const letters[] = {"a", "a", "b", "%", "_"};
    static const char *const units[] = {"a", "a", "b", "%", "%", "_", "\\%", "\\_", "\\a"};
    uint64_t seed = 1;
    uint32_t held = 0;

    (void)state;
    for (uint32_t i = 0; i < 200000; i++) {
        char text[16] = "";
        char pattern[24] = "";
        size_t n = 0;
        size_t m = 0;

        while (n < i % 12) {
            append(text, &n, letters, 5, &seed);
        }
        while (m < i / 12 % 9) {
            append(pattern, &m, units, 9, &seed);
        }
        held += is_like(text, pattern);
        assert_int_equal(is_like(text, pattern), like_slowly(text, pattern));
    }
    assert_true(held > 10000);
}

static void test_like(void **state)
{
    (void)state;
    assert_true(is_like("", ""));
    assert_true(is_like("", "%"));
    assert_false(is_like("", "_"));
    assert_false(is_like("a", ""));
    assert_true(is_like("abc", "a_c"));
    assert_true(is_like("abc", "___"));
    assert_false(is_like("abc", "____"));
    assert_true(is_like("a\xc3\xa4"
                        "c",
                        "a_c"));
    assert_false(is_like("\xc3\xa4", "__"));
    assert_true(is_like("\xe2\x82\xac", "%_"));
    assert_false(is_like("\xe2\x82\xac", "%__"));
    assert_true(is_like("aXbXc", "%X_"));
    assert_false(is_like("aXbXc", "%X__"));
    assert_true(is_like("mississippi", "%iss%ip%"));
    assert_true(is_like("mississippi", "m%i%i"));
    assert_false(is_like("mississippi", "m%i%s"));
    assert_true(is_like("100%", "100\\%"));
    assert_false(is_like("1000", "100\\%"));
    assert_true(is_like("a_b", "a\\_b"));
    assert_false(is_like("axb", "a\\_b"));
    assert_true(is_like("a\\b", "a\\\\b"));
    assert_true(is_like("ab", "\\a\\b"));
    assert_false(is_like("a\\", "a\\"));
    assert_true(pr_like_is_cut(pr_str("a\\")));
    assert_true(pr_like_is_cut(pr_str("a\\\\\\")));
    assert_false(pr_like_is_cut(pr_str("a\\\\")));
    assert_false(pr_like_is_cut(pr_str("")));
}

static bool native(enum pr_filter_op op, const struct pr_pg_type *t, enum pr_text_rule rule,
                   const char *value)
{
    struct pr_cond c = {.op = op, .value = pr_str(value)};

    return pr_filter_native(&c, t, rule);
}

static void test_native(void **state)
{
    static const struct pr_pg_type t_text = {.kind = PR_PG_TEXT};
    static const struct pr_pg_type t_int = {.kind = PR_PG_INT};
    static const struct pr_pg_type t_json = {.kind = PR_PG_JSON};
    static const struct pr_pg_type t_pair = {.kind = PR_PG_COMPOSITE};
    struct pr_slice list = pr_bytes("\2\0\0\0\0", 5);
    struct pr_slice cut = pr_bytes("\0\0\0\0\1", 5);
    struct pr_slice v;
    bool null = false;
    char part[PR_LIKE_PART_MAX + 3u];

    (void)state;
    assert_true(native(PR_F_EQ, &t_text, PR_TEXT_EQUAL, ""));
    assert_false(native(PR_F_EQ, &t_text, PR_TEXT_NOTHING, ""));
    assert_true(native(PR_F_EQ, &t_int, PR_TEXT_NOTHING, ""));
    assert_true(native(PR_F_IN, &t_text, PR_TEXT_EQUAL, ""));
    assert_true(native(PR_F_ISDISTINCT, &t_text, PR_TEXT_EQUAL, ""));
    assert_false(native(PR_F_LT, &t_text, PR_TEXT_LIKE, ""));
    assert_true(native(PR_F_GTE, &t_text, PR_TEXT_ORDER, ""));
    assert_true(native(PR_F_GTE, &t_int, PR_TEXT_NOTHING, ""));
    assert_false(native(PR_F_NEQ, &t_json, PR_TEXT_ORDER, ""));
    assert_true(native(PR_F_IS, &t_json, PR_TEXT_NOTHING, ""));
    assert_false(native(PR_F_IS, &t_pair, PR_TEXT_ORDER, ""));
    assert_false(native(PR_F_ILIKE, &t_text, PR_TEXT_ORDER, "a"));
    assert_false(native(PR_F_MATCH, &t_text, PR_TEXT_ORDER, "a"));
    assert_false(native(PR_F_IMATCH, &t_text, PR_TEXT_ORDER, "a"));
    assert_false(native(PR_F_LIKE, &t_text, PR_TEXT_EQUAL, "a"));
    assert_false(native(PR_F_LIKE, &t_int, PR_TEXT_ORDER, "a"));
    assert_true(native(PR_F_LIKE, &t_text, PR_TEXT_LIKE, "a%b"));
    memset(part, 'x', sizeof part);
    part[sizeof part - 1] = '\0';
    assert_true(native(PR_F_LIKE, &t_text, PR_TEXT_LIKE, part)); /* anchored */
    part[0] = '%';
    assert_false(native(PR_F_LIKE, &t_text, PR_TEXT_LIKE, part));
    part[sizeof part - 2] = '\0';
    assert_true(native(PR_F_LIKE, &t_text, PR_TEXT_LIKE, part));
    part[PR_LIKE_WILD_MAX] = '_';
    assert_false(native(PR_F_LIKE, &t_text, PR_TEXT_LIKE, part));
    part[PR_LIKE_WILD_MAX + 1] = '\0';
    assert_true(native(PR_F_LIKE, &t_text, PR_TEXT_LIKE, part));
    assert_int_equal(pr_cond_values_next(&list, &v, &null), PR_ETYPE);
    assert_int_equal(pr_cond_values_next(&cut, &v, &null), PR_ESHORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),       cmocka_unit_test(test_in),
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_inspect_long),
        cmocka_unit_test(test_match),       cmocka_unit_test(test_like),
        cmocka_unit_test(test_like_random), cmocka_unit_test(test_native),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
