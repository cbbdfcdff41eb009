/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/changes_help.h"

static struct rt_change change_of(const struct rt_relation *rel, enum pr_op_kind kind,
                                  struct rt_value *row)
{
    struct rt_change c = {.rel = rel, .kind = kind};

    if (kind == PR_K_DELETE) {
        c.old = row;
        c.old_kind = rel->identity == 'f' ? 'O' : 'K';
    } else {
        c.row = row;
    }
    return c;
}

/* Handles that match, as "1 2! 3" in ascending order; ! = error 400, ? = error 401. */
static const char *matching(struct rt_subs *s, const struct rt_change *c)
{
    static char said[1024];
    struct rt_matches m = {0};
    uint32_t got = 0;
    size_t n = 0;

    said[0] = '\0';
    got = rt_subs_match(s, c, &m);
    assert_int_equal(got, m.count);
    for (uint32_t handle = 0; handle < 64; handle++) {
        for (uint32_t i = 0; i < m.count; i++) {
            if (m.items[i].handle == handle) {
                static const char *const marks[] = {"", "!", "?"};

                assert_true(m.items[i].visible);
                n += (size_t)snprintf(said + n, sizeof said - n, "%s%u%s", n > 0 ? " " : "", handle,
                                      marks[m.items[i].error]);
            }
        }
    }
    rt_matches_free(&m);
    return said;
}

static const char *on_row(struct rt_subs *s, const struct rt_relation *rel, enum pr_op_kind kind,
                          const char *const *texts)
{
    struct rt_value row[COLUMNS];
    struct rt_change c = change_of(rel, kind, row);

    set_row(row, texts);
    return matching(s, &c);
}

#define ROW(...) ((const char *const[COLUMNS]){__VA_ARGS__})

/* Goal: each filter finds its rows, by index or by list, and no others. */
static void test_filters(void **state)
{
    static const struct {
        const char *filter;
        const char *event;
    } subs[] = {
        {"", "*"},                   /* 0 */
        {"", "INSERT"},              /* 1 */
        {"", "UPDATE"},              /* 2 */
        {"v=eq.a", "*"},             /* 3 */
        {"v=eq.a", "INSERT"},        /* 4 */
        {"v=eq.b", "*"},             /* 5 */
        {"n=gt.3,n=lt.10", "*"},     /* 6 */
        {"id=in.(1,2,2)", "*"},      /* 7 */
        {"id=in.(1,2),v=eq.a", "*"}, /* 8 */
        {"id=eq.1,n=neq.5", "*"},    /* 9 */
        {"id=in.()", "*"},           /* 10 */
        {"n=eq.5", "*"},             /* 11 */
        {"v=eq.", "*"},              /* 12 */
        {"id=in.(NULL)", "DELETE"},  /* 13 */
        {"id=eq.1", "DELETE"},       /* 14 */
        {"v=eq.a", "DELETE"},        /* 15 */
    };
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();

    (void)state;
    for (uint32_t i = 0; i < sizeof subs / sizeof subs[0]; i++) {
        assert_int_equal(add_reg(s, 7, i, subs[i].event, "authenticated", "{}"), 0);
        assert_int_equal(attach(s, 7, i, &rel, subs[i].filter), 0);
    }
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "a", "5", NULL)), "0 1 3 4 6 7 8 11");
    assert_string_equal(on_row(s, &rel, PR_K_UPDATE, ROW("2", "a", "10", NULL)), "0 2 3 7 8");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "0 1 7");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "", "3", NULL)), "0 1 7 9 12");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("9", "absent", "absent", NULL)), "0 1");
    /* A deleted row is judged by its identity. */
    assert_string_equal(on_row(s, &rel, PR_K_DELETE, ROW("1", "a", "5", NULL)), "0 7 14");
    rel.identity = 'f';
    assert_string_equal(on_row(s, &rel, PR_K_DELETE, ROW("1", "a", "5", NULL)),
                        "0 3 6 7 8 11 14 15");
    rt_subs_free(s);
}

/* Goal: newer operators find their rows, NULL and negation as in SQL; what is negated is in no
 * index. */
static void test_more_filters(void **state)
{
    static const char *const filters[] = {
        "v=is.null",             /* 0 */
        "v=not.is.null",         /* 1 */
        "v=not.eq.a",            /* 2 */
        "id=not.in.(1,NULL)",    /* 3 */
        "id=not.in.(1,2)",       /* 4 */
        "v=like.a%",             /* 5 */
        "v=not.like.a%,id=eq.9", /* 6 */
        "v=isdistinct.a",        /* 7 */
        "v=not.isdistinct.a",    /* 8 */
    };
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();

    (void)state;
    for (uint32_t i = 0; i < sizeof filters / sizeof filters[0]; i++) {
        assert_int_equal(add_reg(s, 7, i, "*", "authenticated", "{}"), 0);
        assert_int_equal(attach(s, 7, i, &rel, filters[i]), 0);
    }
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "a", "5", NULL)), "1 5 8");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("9", "b", "5", NULL)), "1 2 4 6 7");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("9", NULL, "5", NULL)), "0 4 7");
    /* Not known is not NULL, and too large to be held is known not to be NULL. */
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("9", "absent", "5", NULL)), "4");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("9", "dropped", "5", NULL)), "1 4");
    rt_subs_free(s);
}

static void cancelled(void *ctx, uint64_t boot, uint32_t handle)
{
    (void)rt_subs_remove(ctx, boot, handle);
}

/* Goal: conditions for Postgres come with the match, once those of C hold; equal ones are shared,
 * and the sieve lives as long as a match of it. */
static void test_sieves(void **state)
{
    static const struct rt_operand of_text = {.type = S("text"), .schema = S("pg_catalog")};
    uint8_t mem[64];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
    struct rt_sub_cond conds[2] = {{.column = S("id"), .op = PR_F_EQ},
                                   {.column = S("v"), .op = PR_F_ILIKE, .asked = true}};
    struct rt_sieve_part part = {
        .column = S("v"), .op = PR_F_ILIKE, .kind = PR_PG_TEXT, .operand = &of_text};
    struct rt_sub_filter f = {.conds = conds, .nconds = 2, .parts = &part, .nparts = 1};
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_value row[COLUMNS];
    struct rt_change c = change_of(&rel, PR_K_INSERT, row);
    struct rt_matches m = {0};

    (void)state;
    pr_cond_value_put(&o, pr_str("1"), false);
    conds[0].values = pr_bytes(mem, o.len);
    pr_cond_value_put(&o, pr_str("A%"), false);
    conds[1].values = pr_bytes(mem + conds[0].values.n, o.len - conds[0].values.n);
    part.values = conds[1].values;
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(add_reg(s, 7, i, "*", "authenticated", i == 0 ? "{}" : "{\"a\":1}"), 0);
        assert_int_equal(rt_subs_attach(s, 7, i, &rel, &f), 0);
    }
    set_row(row, ROW("2", "abc", NULL, NULL));
    assert_int_equal(rt_subs_match(s, &c, &m), 0);
    set_row(row, ROW("1", "absent", NULL, NULL));
    assert_int_equal(rt_subs_match(s, &c, &m), 0);
    set_row(row, ROW("1", "abc", NULL, NULL));
    assert_int_equal(rt_subs_match(s, &c, &m), 2);
    assert_non_null(m.items[0].sieve);
    assert_ptr_equal(m.items[0].sieve, m.items[1].sieve);
    rt_subs_each_of(s, m.items[0].sieve, cancelled, s);
    assert_int_equal(rt_subs_count(s), 0);
    rt_subs_free(s);
    assert_int_equal(m.items[0].sieve->refs, 2);
    rt_matches_free(&m);
}

/* Goal: those of a group on one table are found, and who comes once it is hidden is of another. */
static void test_hidden_group(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_relation other = the_table();
    struct rt_value row[COLUMNS];
    struct rt_change c = change_of(&rel, PR_K_INSERT, row);
    struct rt_matches m = {0};
    const struct rt_group *hidden = NULL;

    (void)state;
    other.table = pr_str("other");
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(add_reg(s, 7, i, "*", "authenticated", i == 1 ? "{\"a\":1}" : "{}"), 0);
        assert_int_equal(attach(s, 7, i, i == 2 ? &other : &rel, ""), 0);
    }
    set_row(row, ROW("1", "a", NULL, NULL));
    assert_int_equal(rt_subs_match(s, &c, &m), 2);
    hidden = m.items[m.items[0].handle == 0 ? 0 : 1].group;
    rt_group_hide(m.items[m.items[0].handle == 0 ? 0 : 1].group);
    rt_subs_each_in(s, hidden, &rel, cancelled, s);
    assert_int_equal(rt_subs_count(s), 2);
    rt_matches_free(&m);
    assert_int_equal(add_reg(s, 7, 3, "*", "authenticated", "{}"), 0);
    assert_int_equal(attach(s, 7, 3, &rel, ""), 0);
    assert_int_equal(attach(s, 7, 2, &rel, ""), 0);
    assert_int_equal(rt_subs_match(s, &c, &m), 3);
    for (uint32_t i = 0; i < 3; i++) { /* who begins again is of the new one, too */
        for (uint32_t k = 0; k < i; k++) {
            bool same = (m.items[i].handle == 1) == (m.items[k].handle == 1);

            assert_true((m.items[i].group == m.items[k].group) == same);
            assert_ptr_not_equal(m.items[i].group, hidden);
        }
    }
    rt_matches_free(&m);
    rt_subs_free(s);
}

/* Goal: an unchanged TOAST value is taken from the old row if that is there. */
static void test_toast(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_value row[COLUMNS];
    struct rt_value old[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_UPDATE, .row = row, .old = old};

    (void)state;
    set_row(row, ROW("1", "absent", "5", NULL));
    set_row(old, ROW("1", "a", "4", NULL));
    assert_int_equal(add_reg(s, 7, 3, "*", "authenticated", "{}"), 0);
    assert_int_equal(attach(s, 7, 3, &rel, "v=eq.a"), 0);
    c.old_kind = 'O';
    assert_string_equal(matching(s, &c), "3");
    c.old_kind = 'K';
    assert_string_equal(matching(s, &c), "");
    rt_subs_free(s);
}

/* Goal: registrations come, change, go; tables without any cost nothing and are not known. */
static void test_registry(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_relation other = the_table();

    (void)state;
    rel.oid = 1;
    other.oid = 2;
    other.table = pr_str("other");
    assert_int_equal(add_reg(s, 7, 1, "*", "authenticated", "{}"), 0);
    assert_int_equal(add_reg(s, 7, 1, "*", "authenticated", "{}"), RT_SUBS_EEXIST);
    assert_int_equal(add_reg(s, 8, 1, "*", "authenticated", "{}"), 0);
    assert_int_equal(add_reg(s, 8, 2, "*", "authenticated", "{}"), 0);
    assert_int_equal(rt_subs_count(s), 3);
    assert_int_equal(attach(s, 7, 9, &rel, ""), RT_SUBS_ENOENT);
    assert_int_equal(attach(s, 7, 1, &rel, "nope=eq.1"), RT_SUBS_ENOENT);
    assert_false(rt_subs_concern(s, rel.schema, rel.table));

    assert_int_equal(attach(s, 7, 1, &rel, "id=eq.1"), 0);
    assert_int_equal(attach(s, 7, 1, &other, ""), 0);
    assert_int_equal(attach(s, 8, 2, &rel, "id=eq.1"), 0);
    assert_true(rt_subs_concern(s, rel.schema, rel.table));
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "1 2");
    assert_int_equal(attach(s, 7, 1, &rel, "id=eq.2"), 0); /* replaced */
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "2");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("2", NULL, NULL, NULL)), "1");
    rt_subs_retain(s, 7, 1, &other.oid, 1);
    rt_subs_retain(s, 7, 1, &other.oid, 1);
    rt_subs_retain(s, 7, 99, NULL, 0);
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("2", NULL, NULL, NULL)), "");
    assert_string_equal(on_row(s, &other, PR_K_INSERT, ROW("2", NULL, NULL, NULL)), "1");
    assert_int_equal(rt_subs_remove(s, 7, 1), 0);
    assert_int_equal(rt_subs_remove(s, 7, 1), RT_SUBS_ENOENT);
    assert_false(rt_subs_concern(s, other.schema, other.table));
    assert_int_equal(rt_subs_drop_boot(s, 8), 2);
    assert_int_equal(rt_subs_drop_boot(s, 8), 0);
    assert_int_equal(rt_subs_count(s), 0);
    assert_false(rt_subs_concern(s, rel.schema, rel.table));
    rt_subs_free(s);
}

/* Goal: a name that another table has now is that one's, whichever was attached first; the name
 * that a table had before is nobody's. */
static void test_names(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation one = the_table(), two = the_table();
    const uint32_t oids[] = {1, 2};

    (void)state;
    one.oid = 1;
    two.oid = 2;
    assert_int_equal(add_reg(s, 7, 1, "*", "authenticated", "{}"), 0);
    assert_int_equal(attach(s, 7, 1, &one, ""), 0);
    assert_int_equal(attach(s, 7, 1, &two, ""), 0); /* made again under its name */
    rt_subs_retain(s, 7, 1, &oids[1], 1);
    assert_string_equal(on_row(s, &two, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "1");

    two.table = pr_str("second");
    assert_int_equal(attach(s, 7, 1, &one, ""), 0);
    assert_int_equal(attach(s, 7, 1, &two, ""), 0);
    rt_subs_retain(s, 7, 1, oids, 2);
    one.table = pr_str("second");
    two.table = pr_str("first");
    for (uint32_t i = 0; i < 2; i++) { /* until all are attached, each is heard by a name it had */
        assert_string_equal(on_row(s, &one, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "1");
        assert_int_equal(attach(s, 7, 1, i == 0 ? &one : &two, ""), 0);
    }
    rt_subs_retain(s, 7, 1, oids, 2);
    assert_string_equal(on_row(s, &one, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "1");
    assert_string_equal(on_row(s, &two, PR_K_INSERT, ROW("1", NULL, NULL, NULL)), "1");
    assert_false(rt_subs_concern(s, pr_str("public"), pr_str("t")));
    rt_subs_retain(s, 7, 1, NULL, 0);
    assert_false(rt_subs_concern(s, one.schema, one.table));
    rt_subs_free(s);
}

/* Goal: a column that is renamed or has another type now matches nothing; one that moved does. */
static void test_versions(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_column columns[COLUMNS];

    (void)state;
    memcpy(columns, the_columns, sizeof columns);
    assert_int_equal(add_reg(s, 7, 1, "*", "authenticated", "{}"), 0);
    assert_int_equal(attach(s, 7, 1, &rel, "n=eq.5"), 0);
    assert_int_equal(add_reg(s, 7, 2, "*", "authenticated", "{}"), 0);
    assert_int_equal(attach(s, 7, 2, &rel, "n=lte.5"), 0);
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "x", "5", NULL)), "1 2");
    rel.columns = columns;
    rel.version = 2;
    columns[1] = the_columns[2];
    columns[2] = the_columns[1];
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "5", "x", NULL)), "1 2");
    rel.version = 3;
    columns[1].type = &t_text;
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "5", "x", NULL)), "");
    rel.version = 4;
    columns[1].name = pr_str("m");
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "5", "x", NULL)), "");
    rt_subs_free(s);
}

/* Goal: errors 400 and 401 pass the filters by and leave the others alone; DELETE has none. */
static void test_errors(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_column columns[COLUMNS];

    (void)state;
    memcpy(columns, the_columns, sizeof columns);
    assert_int_equal(add_reg(s, 7, 1, "*", "authenticated", "{}"), 0);
    assert_int_equal(add_reg(s, 7, 2, "INSERT", "blind", "{}"), 0);
    assert_int_equal(add_reg(s, 7, 3, "UPDATE", "blind", "{}"), 0);
    assert_int_equal(add_reg(s, 7, 4, "*", "unknown", "{}"), 0);
    assert_int_equal(attach(s, 7, 1, &rel, "v=eq.a"), 0);
    assert_int_equal(attach(s, 7, 2, &rel, "v=eq.b"), 0);
    assert_int_equal(attach(s, 7, 3, &rel, ""), 0);
    assert_int_equal(attach(s, 7, 4, &rel, ""), 0);
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "a", NULL, NULL)), "1 2?");
    assert_string_equal(on_row(s, &rel, PR_K_UPDATE, ROW("1", "x", NULL, NULL)), "3?");
    rel.identity = 'f';
    assert_string_equal(on_row(s, &rel, PR_K_DELETE, ROW("1", "a", NULL, NULL)), "1");
    columns[0].primary_key = false;
    rel.columns = columns;
    rel.version = 2;
    assert_string_equal(on_row(s, &rel, PR_K_INSERT, ROW("1", "x", NULL, NULL)), "1! 2!");
    assert_string_equal(on_row(s, &rel, PR_K_DELETE, ROW("1", "a", NULL, NULL)), "1");
    rt_subs_free(s);
}

/* Goal: who needs a verdict, groups stand together, and matches outlive the index. */
static void test_groups(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row};
    struct rt_matches m = {0};
    uint32_t changes = 0;

    (void)state;
    set_row(row, ROW("1", "a", NULL, NULL));
    for (uint32_t i = 0; i < 40; i++) {
        assert_int_equal(add_reg(s, i % 3, i, "*", i < 20 ? "authenticated" : "service_role",
                                 i % 2 == 0 ? "{\"sub\":1}" : "{\"sub\":2}"),
                         0);
        assert_int_equal(attach(s, i % 3, i, &rel, ""), 0);
    }
    assert_int_equal(rt_subs_match(s, &c, &m), 40);
    rt_subs_free(s);
    for (uint32_t i = 1; i < m.count; i++) {
        changes += m.items[i].group != m.items[i - 1].group ? 1 : 0;
        assert_false(rt_match_needs_rls(&c, &m.items[i]));
    }
    assert_int_equal(changes, 3);
    rel.rls = true;
    for (uint32_t i = 0; i < m.count; i++) {
        bool all = pr_slice_is(m.items[i].group->role, "service_role");

        assert_int_equal(rt_match_needs_rls(&c, &m.items[i]), !all);
        assert_int_equal(m.items[i].group->refs, 10);
    }
    m.items[0].error = RT_MATCH_UNAUTHORIZED;
    assert_false(rt_match_needs_rls(&c, &m.items[0]));
    c.kind = PR_K_DELETE;
    assert_false(rt_match_needs_rls(&c, &m.items[1]));
    c.judges_old = true;
    assert_int_equal(rt_match_needs_rls(&c, &m.items[1]),
                     pr_slice_is(m.items[1].group->role, "authenticated"));
    rt_matches_free(&m);
}

static void count_role(void *ctx, struct pr_slice role)
{
    uint32_t *seen = ctx;

    *seen += pr_slice_is(role, "anon") ? 100 : 1;
}

static void test_roles(void **state)
{
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    uint32_t seen = 0;

    (void)state;
    rt_subs_roles(s, rel.schema, rel.table, count_role, &seen);
    assert_int_equal(seen, 0);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(add_reg(s, 7, i, "*", i % 2 == 0 ? "anon" : "authenticated", "{}"), 0);
        assert_int_equal(attach(s, 7, i, &rel, ""), 0);
    }
    rt_subs_roles(s, rel.schema, rel.table, count_role, &seen);
    assert_int_equal(seen, 101);
    rt_subs_clear(s);
    rt_subs_free(s);
}

/* Goal: thousands of eq filters, removed in another order than added, and the right one found. */
static void test_many(void **state)
{
    enum { MANY = 5000 };
    struct rt_subs *s = rt_subs_new();
    struct rt_relation rel = the_table();
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_UPDATE, .row = row};
    char text[32];

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(text, sizeof text, "id=eq.%u", i);
        assert_int_equal(add_reg(s, i % 7, i, "UPDATE", "authenticated", "{}"), 0);
        assert_int_equal(attach(s, i % 7, i, &rel, text), 0);
    }
    for (uint32_t i = 0; i < MANY; i += 2) {
        assert_int_equal(rt_subs_remove(s, i % 7, i), 0);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        struct rt_matches m = {0};

        (void)snprintf(text, sizeof text, "%u", i);
        set_row(row, ROW(text, NULL, NULL, NULL));
        assert_int_equal(rt_subs_match(s, &c, &m), i % 2);
        assert_true(m.count == 0 || m.items[0].handle == i);
        rt_matches_free(&m);
    }
    rt_subs_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_filters),      cmocka_unit_test(test_toast),
        cmocka_unit_test(test_more_filters), cmocka_unit_test(test_sieves),
        cmocka_unit_test(test_registry),     cmocka_unit_test(test_versions),
        cmocka_unit_test(test_errors),       cmocka_unit_test(test_groups),
        cmocka_unit_test(test_names),        cmocka_unit_test(test_roles),
        cmocka_unit_test(test_hidden_group), cmocka_unit_test(test_many),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
