/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/alloc.h"
#include "tests/unit/changes_help.h"

static const struct rt_operand of_text = {.type = S("text"), .schema = S("pg_catalog")};
static const struct rt_operand of_icu = {
    .type = S("text"), .schema = S("pg_catalog"), .collation = S("pg_catalog.\"en-x-icu\"")};
static const struct rt_operand of_citext = {.type = S("ext.citext"), .schema = S("ext")};
static const struct rt_operand of_ints = {.type = S("integer[]"), .schema = S("pg_catalog")};
static const struct rt_operand of_inet = {.type = S("inet"), .schema = S("pg_catalog")};
static const struct rt_operand of_bytea = {.type = S("bytea"), .schema = S("pg_catalog")};
static const struct rt_operand of_char = {.type = S("bpchar"), .schema = S("pg_catalog")};
static const struct rt_operand of_pair = {.type = S("public.pair"), .schema = S("public")};

/* Goal: each operator is written as SQL means it, and nothing of a client is in the statement. */
static void test_sql(void **state)
{
    static const struct {
        struct rt_sieve_part part;
        const char *sql;
    } rows[] = {
        {{.op = PR_F_LT, .kind = PR_PG_TEXT, .operand = &of_icu},
         "(v.c0::text collate pg_catalog.\"en-x-icu\" < ($2::pg_catalog.text::text))"},
        {{.op = PR_F_ILIKE, .negated = true, .kind = PR_PG_TEXT, .operand = &of_text},
         "not (v.c0::text::pg_catalog.text ~~* ($2::pg_catalog.text))"},
        {{.op = PR_F_LIKE, .kind = PR_PG_BPCHAR, .operand = &of_char},
         "(v.c0::bpchar::pg_catalog.text ~~ ($2::pg_catalog.text))"},
        {{.op = PR_F_LIKE, .kind = PR_PG_BYTEA, .operand = &of_bytea},
         "(v.c0::bytea ~~ ($2::pg_catalog.text::bytea))"},
        {{.op = PR_F_MATCH, .kind = PR_PG_OTHER, .operand = &of_citext},
         "(v.c0::ext.citext ~ ($2::pg_catalog.text))"},
        {{.op = PR_F_IMATCH, .kind = PR_PG_TEXT, .operand = &of_text},
         "(v.c0::text::pg_catalog.text ~* ($2::pg_catalog.text))"},
        {{.op = PR_F_EQ, .kind = PR_PG_ARRAY, .operand = &of_ints},
         "(v.c0::integer[] = ($2::pg_catalog.text::integer[]))"},
        {{.op = PR_F_NEQ, .kind = PR_PG_OTHER, .operand = &of_inet},
         "(v.c0::inet <> ($2::pg_catalog.text::inet))"},
        {{.op = PR_F_IN, .negated = true, .kind = PR_PG_OTHER, .operand = &of_inet},
         "not (v.c0::inet = any ($2::pg_catalog.text::inet[]))"},
        {{.op = PR_F_ISDISTINCT, .kind = PR_PG_OTHER, .operand = &of_inet},
         "(v.c0::inet is distinct from ($2::pg_catalog.text::inet))"},
        {{.op = PR_F_IS, .negated = true, .kind = PR_PG_COMPOSITE, .operand = &of_pair},
         "(v.c0::public.pair is not null and $2::pg_catalog.text is not null)"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_text t = {0};

        rt_sieve_put_test(&t, &rows[i].part, "v.c0", 2);
        assert_string_equal(rt_text_end(&t), rows[i].sql);
        rt_free(t.p);
    }
}

static void put(struct pr_outbuf *o, const char *value)
{
    pr_cond_value_put(o, pr_str(value == NULL ? "" : value), value == NULL);
}

static struct pr_slice nth(struct pr_slice list, uint32_t n)
{
    struct pr_slice v = pr_str("");
    bool null = false;

    for (uint32_t i = 0; i <= n; i++) {
        assert_int_equal(pr_cond_values_next(&list, &v, &null), 1);
    }
    return v;
}

#define assert_slice(slice, text) assert_true(pr_slice_is(slice, text))

/* Goal: several conditions are one statement; equal ones are one sieve while anybody has it, and
 * what differs in role, column or table is another. */
static void test_shared(void **state)
{
    struct rt_chains home = {0};
    uint8_t mem[128];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
    struct rt_sieve_part parts[2] = {
        {.column = S("a"), .op = PR_F_IN, .kind = PR_PG_OTHER, .operand = &of_citext},
        {.column = S("b"), .op = PR_F_ILIKE, .kind = PR_PG_TEXT, .operand = &of_text}};
    struct rt_sieve *s;
    struct rt_sieve *other;
    struct rt_relation rel = the_table();

    (void)state;
    put(&o, "x\"\\");
    put(&o, NULL);
    put(&o, "");
    parts[0].values = pr_bytes(mem, o.len);
    put(&o, "%b");
    parts[1].values = pr_bytes(mem + parts[0].values.n, o.len - parts[0].values.n);
    s = rt_sieve_of(&home, &rel, pr_str("anon"), parts, 2);
    assert_slice(s->role, "anon");
    assert_slice(s->path, "ext");
    assert_int_equal(s->count, 2);
    assert_slice(s->sql,
                 "select v.i from rows from (pg_catalog.unnest($1::pg_catalog.text::pg_catalog."
                 "text[]), pg_catalog.unnest($2::pg_catalog.text::pg_catalog.text[])) with "
                 "ordinality v(c0, c1, i) where (v.c0::ext.citext = any ($3::pg_catalog.text::ext."
                 "citext[])) and (v.c1::text::pg_catalog.text ~~* ($4::pg_catalog.text))");
    assert_slice(nth(s->columns, 1), "b");
    assert_slice(nth(s->values, 0), "{\"x\\\"\\\\\",NULL,\"\"}");
    assert_slice(nth(s->values, 1), "%b");
    assert_ptr_equal(rt_sieve_of(&home, &rel, pr_str("anon"), parts, 2), s);
    other = rt_sieve_of(&home, &rel, pr_str("authenticated"), parts, 2);
    assert_ptr_not_equal(other, s);
    rt_sieve_unref(other);
    parts[1].column = pr_str("c");
    other = rt_sieve_of(&home, &rel, pr_str("anon"), parts, 2);
    assert_ptr_not_equal(other, s);
    rt_sieve_unref(other);
    parts[1].column = pr_str("b");
    rel.table = pr_str("u");
    other = rt_sieve_of(&home, &rel, pr_str("anon"), parts, 2);
    assert_ptr_not_equal(other, s);
    rt_sieve_unref(other);
    rel = the_table();
    rt_sieve_hide(s);
    other = rt_sieve_of(&home, &rel, pr_str("anon"), parts, 2);
    assert_ptr_not_equal(other, s);
    rt_sieve_unref(other);
    rt_sieve_unref(s);
    rt_sieve_unref(s);
    assert_int_equal(home.count, 0);
    rt_chains_free(&home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sql), cmocka_unit_test(test_shared)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
