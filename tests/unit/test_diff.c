/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a member that starts with a view and takes every diff knows exactly what is, sees nothing
 * that came and went, and sees an update as one diff. */
#include "presence_help.h"

#include "cluster/diff.h"

#include <time.h>

struct bed {
    struct heap h;
    struct cl_pres *p;
    struct member m;
};

static struct bed *bed_new(void)
{
    static struct bed b;

    memset(&b, 0, sizeof b);
    b.p = pres_new(heap_init(&b.h));
    assert_int_equal(cl_pres_actor_up(b.p, 0, 1), 0);
    return &b;
}

static void flush(struct bed *b, cl_ms now)
{
    assert_int_equal(cl_pres_flush(b->p, now, member_diff, &b->m), 0);
    pres_ok(b->p);
}

static void bed_free(struct bed *b)
{
    member_equals_view(&b->m, b->p, "t");
    cl_pres_free(b->p);
    assert_int_equal(b->h.bytes, 0);
}

static void put(struct bed *b, cl_ms now, uint64_t n, uint32_t slot, uint64_t old)
{
    assert_int_equal(change(b->p, now, "t", 1, n - 1, n, slot, "{\"a\":1}", old), CL_PRES_APPLIED);
}

static void del(struct bed *b, cl_ms now, uint64_t n, uint64_t old)
{
    assert_int_equal(change(b->p, now, "t", 1, n - 1, n, 0, NULL, old), CL_PRES_APPLIED);
}

static const struct {
    uint32_t members, ms;
} windows[] = {
    {0, 50},     {1, 50},     {500, 50},     {501, 50},     {600, 60},
    {5000, 500}, {9999, 999}, {10000, 1000}, {10001, 1000}, {2000000, 1000},
};

static void property_25_windows(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        assert_int_equal(cl_diff_window_ms(windows[i].members), windows[i].ms);
    }
}

/* The first change after a quiet second at once, the next 50 ms later, all of them in one diff. */
static void test_when(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    assert_int_equal(cl_pres_deadline(b->p), UINT64_MAX);
    put(b, 1000, 1, 1, 0);
    assert_int_equal(cl_pres_deadline(b->p), 1000);
    flush(b, 1000);
    assert_int_equal(b->m.diffs, 1);
    put(b, 1010, 2, 2, 0);
    put(b, 1030, 3, 3, 0);
    assert_int_equal(cl_pres_deadline(b->p), 1060);
    flush(b, 1059);
    assert_int_equal(b->m.diffs, 1);
    flush(b, 1060);
    assert_int_equal(b->m.diffs, 2);
    assert_int_equal(b->m.joins, 3);
    put(b, 2059, 4, 4, 0); /* 999 ms of quiet */
    assert_int_equal(cl_pres_deadline(b->p), 2109);
    flush(b, 2109);
    put(b, 3109, 5, 5, 0); /* a whole second */
    assert_int_equal(cl_pres_deadline(b->p), 3109);
    flush(b, 3109);
    assert_int_equal(b->m.diffs, 4);
    assert_int_equal(cl_pres_deadline(b->p), UINT64_MAX);
    bed_free(b);
}

/* Topics become due in the order of their windows, whatever the order of their changes. */
static void test_order_of_topics(void **state)
{
    struct bed *b = bed_new();
    char topic[8];
    cl_ms last = 0;

    (void)state;
    for (uint64_t i = 1; i <= 20; i++) {
        (void)snprintf(topic, sizeof topic, "t%d", (int)i);
        assert_int_equal(change(b->p, 0, topic, 1, 0, i, 1, "{}", 0), CL_PRES_APPLIED);
    }
    flush(b, 0);
    assert_int_equal(b->m.diffs, 20);
    for (uint64_t i = 1; i <= 20; i++) {
        cl_ms at = i * 37 % 20 + (i % 3 == 0 ? 2000 : 0);

        (void)snprintf(topic, sizeof topic, "t%d", (int)i);
        last = at > last ? at : last;
        assert_int_equal(change(b->p, last, topic, 1, i, 100 + i, 2, "{}", 0), CL_PRES_APPLIED);
        pres_ok(b->p);
    }
    for (uint32_t i = 0; cl_pres_deadline(b->p) != UINT64_MAX && i < 100; i++) {
        flush(b, cl_pres_deadline(b->p));
    }
    assert_int_equal(b->m.diffs, 40);
    b->m.count = 0;
    bed_free(b);
}

/* An update is one diff, and names the reference it replaces, also over several updates. */
static void test_update(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    put(b, 0, 1, 1, 0);
    flush(b, 0);
    put(b, 10, 2, 1, 1);
    flush(b, 60);
    assert_true(b->m.diffs == 2 && b->m.updates == 1 && b->m.leaves == 1);
    put(b, 100, 3, 1, 2);
    put(b, 110, 4, 1, 3);
    put(b, 120, 5, 2, 0); /* another slot replaces nothing */
    flush(b, 200);
    assert_true(b->m.diffs == 3 && b->m.updates == 2 && b->m.leaves == 2 && b->m.joins == 4);
    del(b, 210, 6, 4); /* untrack, track again in one window: one diff as well */
    put(b, 211, 7, 1, 0);
    flush(b, 300);
    assert_true(b->m.diffs == 4 && b->m.updates == 3 && b->m.count == 2);
    bed_free(b);
}

static void test_comes_and_goes(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    put(b, 0, 1, 1, 0);
    del(b, 0, 2, 1);
    assert_int_equal(cl_pres_deadline(b->p), CL_PRES_FORGET_MS);
    flush(b, 100);
    assert_int_equal(b->m.diffs, 0);
    put(b, 200, 3, 1, 0);
    flush(b, 200);
    cl_pres_actor_down(b->p, 210, 1); /* a connection that is cut and comes back */
    assert_int_equal(cl_pres_deadline(b->p), 260);
    assert_int_equal(cl_pres_actor_up(b->p, 240, 1), 0);
    flush(b, 300);
    assert_int_equal(b->m.diffs, 1);
    cl_pres_actor_down(b->p, 310, 1); /* longer: leaves, then the same reference joins */
    flush(b, 400);
    assert_true(b->m.leaves == 1 && b->m.count == 0);
    assert_int_equal(cl_pres_actor_up(b->p, 500, 1), 0);
    flush(b, 1500);
    assert_true(b->m.joins == 2 && b->m.count == 1 && b->m.updates == 0);
    cl_pres_actor_down(b->p, 1510, 1); /* gone, but changed meanwhile: the new one replaces */
    put(b, 1511, 4, 1, 3);
    assert_int_equal(cl_pres_actor_up(b->p, 1512, 1), 0);
    flush(b, 1600);
    assert_true(b->m.updates == 1 && b->m.count == 1);
    bed_free(b);
}

/* A delayed delta of an actor that is gone, or was never here, is shown to nobody. */
static void property_26_no_ghosts(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    assert_int_equal(change(b->p, 0, "t", 9, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(cl_pres_deadline(b->p), CL_PRES_FORGET_MS);
    flush(b, 0);
    cl_pres_actor_down(b->p, 0, 1);
    put(b, 1, 1, 1, 0);
    flush(b, 100);
    assert_int_equal(b->m.diffs, 0);
    assert_int_equal(cl_pres_members(b->p, pr_str("t")), 0);
    flush(b, 200000);
    bed_free(b);
}

static void test_settle(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    put(b, 0, 1, 1, 0);
    put(b, 0, 2, 2, 0);
    cl_pres_settle(b->p, 10);
    pres_ok(b->p);
    flush(b, 1000);
    assert_int_equal(b->m.diffs, 0);
    b->m.count = 2;
    b->m.has[0] = (struct pr_pshown){.actor = 1, .n = 1};
    b->m.has[1] = (struct pr_pshown){.actor = 1, .n = 2};
    put(b, 1001, 3, 1, 1);
    flush(b, 1100);
    assert_true(b->m.diffs == 1 && b->m.updates == 1);
    del(b, 1200, 4, 2);
    cl_pres_settle(b->p, 1201); /* frees what was only held for its leave */
    pres_ok(b->p);
    assert_non_null(member_find(&b->m, 1, 2));
    b->m.count = 1;
    b->m.has[0] = (struct pr_pshown){.actor = 1, .n = 3};
    bed_free(b);
}

/* A refused diff counts as not shown and comes again, others are not held up by it. */
static void test_refused(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    put(b, 0, 1, 1, 0);
    assert_int_equal(change(b->p, 0, "u", 1, 0, 2, 1, "{}", 0), CL_PRES_APPLIED);
    b->m.answer = CL_EAGAIN;
    assert_int_equal(cl_pres_flush(b->p, 0, member_diff, &b->m), CL_EAGAIN);
    pres_ok(b->p);
    b->m.answer = 0;
    flush(b, 0);
    assert_int_equal(b->m.diffs, 1);
    assert_int_equal(cl_pres_deadline(b->p), CL_PRES_WINDOW_MS);
    b->h.refuse_at = 1;
    assert_int_equal(cl_pres_flush(b->p, 50, member_diff, &b->m), CL_ENOMEM);
    pres_ok(b->p);
    flush(b, 100);
    assert_int_equal(b->m.diffs, 2);
    b->h.refuse_at = 1;
    assert_int_equal(cl_pres_view(b->p, pr_str("t"), view_part, NULL), CL_ENOMEM);
    assert_int_equal(cl_pres_flush(b->p, 200000, member_diff, &b->m), 0);
    b->m.count = 1;
    b->m.has[0] = (struct pr_pshown){.actor = 1, .n = 1};
    bed_free(b);
}

static int refuse_view(void *ctx, const struct pr_p_view *v)
{
    (void)v;
    ++*(int *)ctx;
    return -77;
}

/* Views and diffs that do not fit one frame come in several, in order, with updates undivided. */
static void test_large(void **state)
{
    struct bed *b = bed_new();
    enum { BIG = 40000, COUNT = 120 };
    uint8_t *adds = malloc(2 * BIG + 100), *meta = malloc(2 * BIG);
    struct view_check c = {.m = &b->m};
    int parts = 0;

    (void)state;
    memset(meta, ' ', 2 * BIG);
    for (uint64_t n = 1; n <= 2 * COUNT; n++) {
        struct pr_outbuf o = pr_outbuf(adds, 2 * BIG + 100);
        struct pr_pent e = {n, (uint32_t)((n - 1) % COUNT), pr_str("k"),
                            pr_bytes(meta, n == 7 ? 2 * BIG : BIG)};
        struct delta d;

        delta_start(&d, "t", 1, n - 1, n);
        pr_padd_put(&o, &e);
        d.d.adds = pr_bytes(adds, o.len);
        d.d.nadds = 1;
        if (n > COUNT) {
            delta_del(&d, n - COUNT);
        }
        assert_int_equal(apply(b->p, 0, &d), CL_PRES_APPLIED);
        if (n == COUNT) {
            flush(b, 0);
            assert_true(b->m.diffs > 1 && b->m.joins == COUNT);
            assert_int_equal(cl_pres_view(b->p, pr_str("t"), view_part, &c), 0);
            assert_int_equal(c.parts, COUNT); /* two do not fit 60 KiB */
            assert_int_equal(cl_pres_view(b->p, pr_str("t"), refuse_view, &parts), -77);
            assert_int_equal(parts, 1);
        }
    }
    flush(b, 50);
    assert_true(b->m.updates == COUNT && b->m.joins == 2 * COUNT && b->m.leaves == COUNT);
    free(adds);
    free(meta);
    bed_free(b);
}

/*
 * Random lives of three actors, shown at random times: the member (whose checks are in
 * presence_help.h) always knows what a new view says.
 */
static void test_random(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);
    struct cl_rand r = cl_rand_seed(seed);
    struct bed *b = bed_new();
    uint64_t n[4] = {0}, slot[4][8] = {{0}};
    bool up[4] = {false, true, false, false};
    cl_ms now = 0;

    (void)state;
    printf("random lives: seed %llu\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < 20000; i++) {
        uint64_t a = 1 + cl_rand_below(&r, 3), s = cl_rand_below(&r, 8);
        uint64_t what = cl_rand_below(&r, 20);

        now += cl_rand_below(&r, 30);
        if (what == 0 && up[a]) {
            cl_pres_actor_down(b->p, now, a);
            up[a] = false;
        } else if (what < 2) {
            assert_int_equal(cl_pres_actor_up(b->p, now, a), 0);
            up[a] = true;
        } else if (what < 12) {
            bool is_put = what < 9;

            assert_int_equal(change(b->p, now, "t", a, n[a], n[a] + 1, (uint32_t)s,
                                    is_put ? "{}" : NULL, slot[a][s]),
                             CL_PRES_APPLIED);
            n[a]++;
            slot[a][s] = is_put ? n[a] : 0;
        } else if (cl_pres_deadline(b->p) <= now) {
            flush(b, now);
        }
        if (i % 100 == 0) {
            member_equals_view(&b->m, b->p, "t");
        }
    }
    flush(b, now + 2000);
    assert_int_equal(b->m.count, cl_pres_members(b->p, pr_str("t")));
    assert_true(b->m.updates > 100);
    bed_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_25_windows),  cmocka_unit_test(test_when),
        cmocka_unit_test(test_order_of_topics), cmocka_unit_test(test_update),
        cmocka_unit_test(test_comes_and_goes),  cmocka_unit_test(property_26_no_ghosts),
        cmocka_unit_test(test_settle),          cmocka_unit_test(test_refused),
        cmocka_unit_test(test_large),           cmocka_unit_test(test_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
