/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/db/route.h"
#include "proto/json_scan.h"
#include "tests/unit/changes_help.h"

#define BODY_MAX 1048576u

#define ROW(...) ((const char *const[COLUMNS]){__VA_ARGS__})
#define HEAD(type)                                                                                 \
    "{\"schema\":\"public\",\"table\":\"t\",\"type\":\"" type "\",\"commit_timestamp\":"
#define TIME     "\"2000-01-01T00:00:01.500Z\""
#define COL_ID   "{\"name\":\"id\",\"type\":\"int4\"}"
#define COL_V    "{\"name\":\"v\",\"type\":\"text\"}"
#define COL_N    "{\"name\":\"n\",\"type\":\"int4\"}"
#define COL_L    "{\"name\":\"l\",\"type\":\"_int4\"}"
#define COLS_ALL ",\"columns\":[" COL_ID "," COL_V "," COL_N "," COL_L "]"

/* What came out of the router, decoded. */
struct out {
    uint32_t frames, bodies, targets;
    char last[4096]; /* data of all bodies of the last batch, each behind '|', with its targets */
    size_t n;
    struct pr_pos first_pos, last_pos[64];
    uint64_t data_bytes;
};

static void say(struct out *o, const char *p, size_t n)
{
    size_t room = sizeof o->last - 1 - o->n;

    n = n < room ? n : room;
    memcpy(o->last + o->n, p, n);
    o->n += n;
    o->last[o->n] = '\0';
}

static void on_frame(void *ctx, struct pr_slice bytes)
{
    struct out *o = ctx;
    struct pr_frame f;
    struct pr_chg m;
    struct pr_chg_body b;
    int got = 0;

    assert_true(bytes.n <= PR_FRAME_MAX);
    assert_int_equal(pr_frame_next(bytes, &f), (long)bytes.n);
    assert_int_equal(pr_chg_decode(&f, &m), PR_OK);
    assert_true(pr_slice_is(m.project, "p"));
    assert_int_equal(m.stream, 77);
    o->first_pos = m.first;
    o->last_pos[o->frames % 64] = m.last;
    o->frames++;
    while ((got = pr_chg_bodies_next(&m.bodies, &b)) == 1) {
        uint64_t boot = 0;
        uint32_t handle = 0;
        char target[64];

        o->bodies++;
        o->data_bytes += b.data.n;
        assert_int_equal(pr_json_check(b.data), PR_OK);
        say(o, "|", 1);
        while ((got = pr_chg_targets_next(&b.targets, &boot, &handle)) == 1) {
            int n = snprintf(target, sizeof target, "%u.%u ", (unsigned)boot, handle);

            say(o, target, (size_t)n);
            o->targets++;
        }
        assert_int_equal(got, 0);
        say(o, (const char *)b.data.p, b.data.n);
    }
    assert_int_equal(got, 0);
}

/* Renders one change for the matches of `s`. */
static void render(struct out *o, struct rt_subs *s, const struct rt_change *c, bool with_position)
{
    struct rt_route *r = rt_route_new(pr_str("p"), with_position, BODY_MAX, on_frame, o);
    struct rt_matches m = {0};

    *o = (struct out){0};
    rt_subs_match(s, c, &m);
    rt_route_begin(r, 77, (struct pr_pos){1, 1});
    rt_route_change(r, c, &m);
    rt_route_end(r, c->pos);
    rt_matches_free(&m);
    rt_route_free(r);
}

static void expect(struct rt_subs *s, const struct rt_change *c, const char *text)
{
    static struct out o;

    render(&o, s, c, false);
    assert_int_equal(o.frames, 1);
    assert_string_equal(o.last, text);
    assert_int_equal(pr_pos_cmp(o.last_pos[0], c->pos), 0);
}

static struct rt_subs *one_sub(const struct rt_relation *rel, const char *role)
{
    struct rt_subs *s = rt_subs_new();

    assert_int_equal(add_reg(s, 5, 9, "*", role, "{}"), 0);
    assert_int_equal(attach(s, 5, 9, rel, ""), 0);
    return s;
}

/* Goal: the three shapes, by identity and by row-level security. */
static void test_shapes(void **state)
{
    struct rt_relation rel = the_table();
    struct rt_subs *s = one_sub(&rel, "authenticated");
    struct rt_value row[COLUMNS];
    struct rt_value old[COLUMNS];
    struct rt_change c = {.rel = &rel, .pos = {100, 2}, .commit_us = 1500999};

    (void)state;
    set_row(row, ROW("1", "a\"", "5", "{1,NULL}"));
    set_row(old, ROW("2", "o", NULL, "{}"));
    c.kind = PR_K_INSERT;
    c.row = row;
    expect(s, &c,
           "|5.9 " HEAD("INSERT") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"v\":\"a\\\"\",\"n\":5,\"l\":[1,null]},\"errors\":null}");
    c.kind = PR_K_UPDATE; /* key as it was: the current one is told */
    expect(s, &c,
           "|5.9 " HEAD("UPDATE") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"v\":\"a\\\"\",\"n\":5,\"l\":[1,null]}"
           ",\"old_record\":{\"id\":1},\"errors\":null}");
    c.old = old;
    c.old_kind = 'K';
    expect(s, &c,
           "|5.9 " HEAD("UPDATE") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"v\":\"a\\\"\",\"n\":5,\"l\":[1,null]}"
           ",\"old_record\":{\"id\":2},\"errors\":null}");
    set_row(row, ROW("1", "absent", "5", "absent"));
    expect(s, &c,
           "|5.9 " HEAD("UPDATE") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"n\":5},\"old_record\":{\"id\":2},\"errors\":null}");
    c.old_kind = 'O'; /* unchanged TOAST values come from the old row */
    expect(s, &c,
           "|5.9 " HEAD("UPDATE") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"v\":\"o\",\"n\":5,\"l\":[]}"
           ",\"old_record\":{\"id\":2,\"v\":\"o\",\"n\":null,\"l\":[]},\"errors\":null}");
    c.kind = PR_K_DELETE;
    c.row = NULL;
    expect(s, &c,
           "|5.9 " HEAD("DELETE") TIME COLS_ALL
           ",\"old_record\":{\"id\":2,\"v\":\"o\",\"n\":null,\"l\":[]},\"errors\":null}");
    rel.rls = true;
    expect(s, &c,
           "|5.9 " HEAD("DELETE") TIME COLS_ALL ",\"old_record\":{\"id\":2},\"errors\":null}");
    c.judges_old = true; /* who is told of it has been judged by the old row */
    expect(s, &c,
           "|5.9 " HEAD("DELETE") TIME COLS_ALL
           ",\"old_record\":{\"id\":2,\"v\":\"o\",\"n\":null,\"l\":[]},\"errors\":null}");
    rel.rls = false;
    c.old_kind = 'K';
    expect(s, &c,
           "|5.9 " HEAD("DELETE") TIME COLS_ALL ",\"old_record\":{\"id\":2},\"errors\":null}");
    rt_subs_free(s);
}

/* Goal: of those who see the same columns some see no more of the old row than its key. */
static void test_old_hidden(void **state)
{
    static struct out o;
    struct rt_relation rel = the_table();
    struct rt_subs *s = one_sub(&rel, "authenticated");
    struct rt_route *r = rt_route_new(pr_str("p"), false, BODY_MAX, on_frame, &o);
    struct rt_matches m = {0};
    struct rt_value row[COLUMNS];
    struct rt_value old[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_UPDATE, .row = row, .old = old};

    (void)state;
    c.old_kind = 'O';
    c.commit_us = 1500999;
    set_row(row, ROW("1", "a", "5", "{}"));
    set_row(old, ROW("2", "o", NULL, "{}"));
    assert_int_equal(add_reg(s, 5, 10, "*", "authenticated", "{\"sub\":2}"), 0);
    assert_int_equal(attach(s, 5, 10, &rel, ""), 0);
    assert_int_equal(rt_subs_match(s, &c, &m), 2);
    for (uint32_t i = 0; i < m.count; i++) {
        m.items[i].old_hidden = m.items[i].handle == 9;
    }
    rt_route_begin(r, 77, (struct pr_pos){1, 1});
    rt_route_change(r, &c, &m);
    rt_route_end(r, c.pos);
    assert_string_equal(
        o.last, "|5.10 " HEAD("UPDATE") TIME COLS_ALL
        ",\"record\":{\"id\":1,\"v\":\"a\",\"n\":5,\"l\":[]}"
        ",\"old_record\":{\"id\":2,\"v\":\"o\",\"n\":null,\"l\":[]},\"errors\":null}"
        "|5.9 " HEAD("UPDATE") TIME COLS_ALL ",\"record\":{\"id\":1,\"v\":\"a\",\"n\":5,\"l\":[]}"
                                             ",\"old_record\":{\"id\":2},\"errors\":null}");
    rt_matches_free(&m);
    rt_route_free(r);
    rt_subs_free(s);
}

/* Goal: a value that is not of its type, and JSON by Postgres, still give JSON. */
static void test_values(void **state)
{
    struct rt_relation rel = the_table();
    struct rt_subs *s = one_sub(&rel, "authenticated");
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row, .commit_us = 1500000};

    (void)state;
    set_row(row, ROW("1", "{\"k\": [1]}", "x", "{1"));
    row[1].kind = RT_V_JSON;
    expect(s, &c,
           "|5.9 " HEAD("INSERT") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"v\":{\"k\": [1]},\"n\":\"x\",\"l\":\"{1\"},\"errors\":null}");
    rt_subs_free(s);
}

/* Goal: rights and select decide what is shown; DELETE without a readable key shows nothing. */
static void test_rights(void **state)
{
    struct rt_relation rel = the_table();
    struct rt_subs *s = one_sub(&rel, "anon");
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row, .commit_us = 1500000};

    (void)state;
    set_row(row, ROW("1", "a", "5", NULL));
    expect(s, &c,
           "|5.9 " HEAD("INSERT") TIME ",\"columns\":[" COL_ID "," COL_V "]"
                                       ",\"record\":{\"id\":1,\"v\":\"a\"},\"errors\":null}");
    rt_subs_free(s);
    s = rt_subs_new();
    assert_int_equal(add_select(s, 5, 1, "authenticated", "n"), 0);
    assert_int_equal(attach(s, 5, 1, &rel, ""), 0);
    expect(s, &c,
           "|5.1 " HEAD("INSERT") TIME ",\"columns\":[" COL_ID "," COL_N "]"
                                       ",\"record\":{\"id\":1,\"n\":5},\"errors\":null}");
    rt_subs_free(s);
    s = one_sub(&rel, "blind");
    expect(s, &c,
           "|5.9 " HEAD("INSERT") "null,\"columns\":[],\"record\":{}"
                                  ",\"errors\":[\"Error 401: Unauthorized\"]}");
    c = (struct rt_change){
        .rel = &rel, .kind = PR_K_DELETE, .old = row, .old_kind = 'K', .commit_us = 1500000};
    expect(s, &c,
           "|5.9 " HEAD("DELETE") TIME ",\"columns\":[" COL_V "]"
                                       ",\"old_record\":{},\"errors\":null}");
    rt_subs_free(s);
}

static void test_no_key(void **state)
{
    struct rt_relation rel = the_table();
    struct rt_column columns[COLUMNS];
    struct rt_subs *s = NULL;
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_UPDATE, .row = row};

    (void)state;
    memcpy(columns, the_columns, sizeof columns);
    columns[0].primary_key = false;
    rel.columns = columns;
    s = one_sub(&rel, "authenticated");
    set_row(row, ROW("1", "a", "5", NULL));
    expect(s, &c,
           "|5.9 " HEAD("UPDATE") "null,\"columns\":[],\"record\":{},\"old_record\":{}"
                                  ",\"errors\":[\"Error 400: Bad Request, no primary key\"]}");
    rt_subs_free(s);
}

/* Goal: equal renderings are one body, whoever reads it; denied matches get none. */
static void test_sharing(void **state)
{
    static struct out o;
    struct rt_relation rel = the_table();
    struct rt_subs *s = rt_subs_new();
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row};
    struct rt_route *r = NULL;
    struct rt_matches m = {0};

    (void)state;
    set_row(row, ROW("1", "a", "5", NULL));
    for (uint32_t i = 0; i < 30; i++) {
        static const char *const roles[] = {"authenticated", "service_role", "anon"};

        assert_int_equal(add_reg(s, i % 2, i, "*", roles[i % 3], i < 15 ? "{}" : "{\"a\":1}"), 0);
        assert_int_equal(attach(s, i % 2, i, &rel, ""), 0);
    }
    assert_int_equal(add_select(s, 5, 90, "anon", "v"), 0); /* all that anon sees */
    assert_int_equal(attach(s, 5, 90, &rel, ""), 0);
    assert_int_equal(add_select(s, 5, 91, "anon", "id"), 0);
    assert_int_equal(attach(s, 5, 91, &rel, ""), 0);
    render(&o, s, &c, false);
    assert_int_equal(o.bodies, 3);
    assert_int_equal(o.targets, 32);

    o = (struct out){0};
    r = rt_route_new(pr_str("p"), false, BODY_MAX, on_frame, &o);
    assert_int_equal(rt_subs_match(s, &c, &m), 32);
    for (uint32_t i = 0; i < m.count; i++) {
        m.items[i].visible = i == 7;
    }
    rt_route_begin(r, 77, (struct pr_pos){1, 1});
    rt_route_change(r, &c, &m);
    m.items[7].visible = false;
    rt_route_change(r, &c, &m);
    rt_route_end(r, c.pos);
    assert_int_equal(o.bodies, 1);
    assert_int_equal(o.targets, 1);
    rt_matches_free(&m);
    rt_route_free(r);
    rt_subs_free(s);
}

/* Goal: 413 on both sides of the limit; short values stay, NULL and long ones go. */
static void test_too_large(void **state)
{
    static struct out o;
    static char big[2u * 1048576u + 1];
    struct rt_relation rel = the_table();
    struct rt_subs *s = one_sub(&rel, "authenticated");
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row, .commit_us = 1500000};
    size_t around = 0;

    (void)state;
    memset(big, 'x', sizeof big - 1);
    set_row(row, ROW("1", big, "5", NULL));
    expect(s, &c,
           "|5.9 " HEAD("INSERT") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"n\":5},\"errors\":[\"Error 413: Payload Too Large\"]}");
    set_row(row, ROW("1", "dropped", "5", NULL));
    expect(s, &c,
           "|5.9 " HEAD("INSERT") TIME COLS_ALL
           ",\"record\":{\"id\":1,\"n\":5},\"errors\":[\"Error 413: Payload Too Large\"]}");
    around = strlen(COLS_ALL ",\"record\":{\"id\":1,\"v\":\"\",\"n\":5,\"l\":null}");
    for (size_t over = 0; over <= 1; over++) {
        set_row(row, ROW("1", big, "5", NULL));
        row[1].text.n = BODY_MAX - around + over;
        render(&o, s, &c, false);
        assert_int_equal(o.data_bytes > BODY_MAX, over == 0);
    }
    rt_subs_free(s);
}

static void test_position(void **state)
{
    static struct out o;
    struct rt_relation rel = the_table();
    struct rt_subs *s = one_sub(&rel, "authenticated");
    struct rt_value row[COLUMNS];
    struct rt_change c = {
        .rel = &rel, .kind = PR_K_INSERT, .row = row, .pos = {UINT64_C(0x16B374D848), 3}};

    (void)state;
    set_row(row, ROW("1", "a", "5", NULL));
    render(&o, s, &c, true);
    assert_non_null(strstr(o.last, ",\"errors\":null,\"lsn\":\"16/B374D848\",\"seq\":3}"));
    c.pos.lsn = 0;
    render(&o, s, &c, true);
    assert_non_null(strstr(o.last, ",\"lsn\":\"0/0\",\"seq\":3}"));
    rt_subs_free(s);
}

/* Goal: a batch without matches still says its position; a large one is cut between bodies, and
 * never claims a change before all its bodies are out. */
static void test_frames(void **state)
{
    static struct out o;
    static char big[900001];
    struct rt_relation rel = the_table();
    struct rt_subs *s = rt_subs_new();
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row};
    struct rt_route *r = rt_route_new(pr_str("p"), false, BODY_MAX, on_frame, &o);
    struct rt_route_stats stats;

    (void)state;
    o = (struct out){0};
    rt_route_begin(r, 77, (struct pr_pos){9, 1});
    rt_route_end(r, (struct pr_pos){10, 0});
    assert_int_equal(o.frames, 1);
    assert_int_equal(o.bodies, 0);
    assert_int_equal(pr_pos_cmp(o.first_pos, (struct pr_pos){10, 0}), 0);

    memset(big, 'x', sizeof big - 1);
    set_row(row, ROW("1", big, "5", NULL));
    assert_int_equal(add_reg(s, 5, 1, "*", "authenticated", "{}"), 0);
    assert_int_equal(attach(s, 5, 1, &rel, ""), 0);
    assert_int_equal(add_reg(s, 5, 2, "*", "anon", "{}"), 0);
    assert_int_equal(attach(s, 5, 2, &rel, ""), 0);
    o = (struct out){0};
    rt_route_begin(r, 77, (struct pr_pos){10, 0});
    for (uint64_t i = 1; i <= 10; i++) {
        struct rt_matches m = {0};

        c.pos = (struct pr_pos){20, i};
        assert_int_equal(rt_subs_match(s, &c, &m), 2);
        rt_route_change(r, &c, &m);
        rt_matches_free(&m);
    }
    rt_route_end(r, (struct pr_pos){20, 10});
    assert_int_equal(o.bodies, 20); /* 9 of 0.9 MB fit: the fifth change is split */
    assert_int_equal(o.frames, 3);
    assert_int_equal(o.last_pos[0].seq, 4);
    assert_int_equal(o.last_pos[1].seq, 9);
    assert_int_equal(o.last_pos[2].seq, 10);
    rt_route_stats(r, &stats);
    assert_int_equal(stats.bodies, 20);
    assert_int_equal(stats.targets, 20);
    assert_int_equal(stats.frames, 4);
    assert_int_equal(stats.too_large, 0);
    rt_route_free(r);
    rt_subs_free(s);
}

/* Goal: a body with very many targets is repeated, none is lost. */
static void test_targets(void **state)
{
    static struct out o;
    struct rt_relation rel = the_table();
    struct rt_subs *s = rt_subs_new();
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = &rel, .kind = PR_K_INSERT, .row = row};

    (void)state;
    set_row(row, ROW("1", "a", "5", NULL));
    for (uint32_t i = 0; i < RT_ROUTE_TARGETS_MAX + 1; i++) {
        assert_int_equal(add_reg(s, UINT64_MAX, UINT32_MAX - i, "*", "anon", "{}"), 0);
        assert_int_equal(attach(s, UINT64_MAX, UINT32_MAX - i, &rel, "id=eq.1"), 0);
    }
    render(&o, s, &c, false);
    assert_int_equal(o.bodies, 2);
    assert_int_equal(o.targets, RT_ROUTE_TARGETS_MAX + 1);
    rt_subs_free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),   cmocka_unit_test(test_values),
        cmocka_unit_test(test_rights),   cmocka_unit_test(test_no_key),
        cmocka_unit_test(test_sharing),  cmocka_unit_test(test_too_large),
        cmocka_unit_test(test_position), cmocka_unit_test(test_frames),
        cmocka_unit_test(test_targets),  cmocka_unit_test(test_old_hidden),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
