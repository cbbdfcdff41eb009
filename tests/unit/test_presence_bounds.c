/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: presence keeps within its limits, gives back what is not needed any more, and a refused
 * allocation leaves a valid state. */
#include "presence_help.h"

#define OPS_MAX 6u

/* Each limit from both sides; what makes room, or swaps, always passes. */
static void test_limits(void **state)
{
    struct heap h;
    struct cl_pres_config cfg = {3, 2, 40, 0, &heap_init(&h)->alloc};
    struct cl_pres *p = cl_pres_new(&cfg);
    struct cl_pres_stats st;

    (void)state;
    assert_int_equal(cl_pres_actor_up(p, 0, 1), 0);
    assert_int_equal(change(p, 0, "t", 1, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "t", 1, 1, 2, 2, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "t", 1, 2, 3, 3, "{}", 0), CL_PRES_FULL); /* of the topic */
    assert_int_equal(change(p, 0, "t", 1, 2, 4, 2, "[]", 2), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "u", 1, 0, 5, 4, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "v", 1, 0, 6, 5, "{}", 0), CL_PRES_FULL); /* of all */
    assert_int_equal(change(p, 0, "t", 1, 4, 7, 2, NULL, 4), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "v", 1, 0, 8, 5, "{ bytes: over the limit    }", 0),
                     CL_PRES_FULL);
    assert_int_equal(change(p, 0, "v", 1, 0, 9, 5, "{ bytes: at the limit    }", 0),
                     CL_PRES_APPLIED);
    cl_pres_stats(p, &st);
    assert_int_equal(st.full, 3);
    assert_int_equal(st.bytes, 5 + 5 + 29 - 0);
    pres_ok(p);
    /* an actor that is gone and shown nowhere makes room at once */
    cl_pres_actor_down(p, 1, 1);
    assert_int_equal(cl_pres_actor_up(p, 1, 2), 0);
    assert_int_equal(change(p, 1, "w", 2, 0, 1, 1, "{ new and quite long indeed }", 0),
                     CL_PRES_APPLIED);
    cl_pres_stats(p, &st);
    assert_int_equal(st.entries, 1);
    pres_ok(p);
    cl_pres_free(p);
    assert_int_equal(h.bytes, 0);
}

static int no_diff(void *ctx, const struct pr_p_diff *diff)
{
    (void)ctx;
    (void)diff;
    return 0;
}

/* An actor that is gone is remembered for a minute and a half-forgotten ctx asks again. */
static void test_forget(void **state)
{
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));
    size_t start = h.bytes;
    struct cl_pres_stats st;

    (void)state;
    assert_int_equal(cl_pres_actor_up(p, 0, 1), 0);
    assert_int_equal(change(p, 0, "t", 1, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "u", 1, 0, 2, 2, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(p, 0, "u", 1, 2, 3, 2, NULL, 2), CL_PRES_APPLIED);
    assert_int_equal(cl_pres_flush(p, 0, no_diff, NULL), 0);
    assert_int_equal(cl_pres_deadline(p), CL_PRES_FORGET_MS);
    assert_int_equal(cl_pres_flush(p, CL_PRES_FORGET_MS - 1, no_diff, NULL), 0);
    assert_int_equal(cl_pres_ctx(p, pr_str("u"), 1), 3);
    assert_int_equal(cl_pres_flush(p, CL_PRES_FORGET_MS, no_diff, NULL), 0);
    assert_int_equal(cl_pres_ctx(p, pr_str("u"), 1), 0);
    assert_int_equal(cl_pres_ctx(p, pr_str("t"), 1), 1);
    assert_int_equal(change(p, CL_PRES_FORGET_MS, "u", 1, 3, 4, 2, "{}", 0), CL_PRES_HOLE);
    cl_pres_actor_down(p, 70000, 1);
    cl_pres_actor_down(p, 70000, 1);
    cl_pres_actor_down(p, 70000, 99);
    assert_int_equal(cl_pres_members(p, pr_str("t")), 0);
    assert_int_equal(cl_pres_flush(p, 70000, no_diff, NULL), 0);
    assert_int_equal(cl_pres_flush(p, 129999, no_diff, NULL), 0);
    cl_pres_stats(p, &st);
    assert_int_equal(st.entries, 1);
    assert_int_equal(st.visible, 0);
    assert_int_equal(cl_pres_flush(p, 130000, no_diff, NULL), 0);
    cl_pres_stats(p, &st);
    assert_int_equal(st.actors + st.entries + st.topics, 0);
    assert_int_equal(cl_pres_deadline(p), UINT64_MAX);
    assert_int_equal(h.bytes, start);
    assert_int_equal(st.memory_bytes, start);
    cl_pres_free(p);
}

/* More restarts than actors are remembered: the one gone longest makes room, attached ones never.
 */
static void test_many_actors(void **state)
{
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));
    struct cl_pres_stats st;

    (void)state;
    for (uint64_t i = 1; i <= CL_PRES_ACTORS_MAX + 10; i++) {
        assert_int_equal(cl_pres_actor_up(p, i, i), 0);
        assert_int_equal(change(p, i, "t", i, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
        cl_pres_actor_down(p, i, i);
    }
    cl_pres_stats(p, &st);
    assert_int_equal(st.actors, CL_PRES_ACTORS_MAX);
    assert_int_equal(cl_pres_ctx(p, pr_str("t"), 10), 0);
    assert_int_equal(cl_pres_ctx(p, pr_str("t"), 11), 1);
    pres_ok(p);
    for (uint64_t i = 11; i <= CL_PRES_ACTORS_MAX + 10; i++) {
        assert_int_equal(cl_pres_actor_up(p, 9999, i), 0);
    }
    assert_int_equal(cl_pres_actor_up(p, 9999, 1), CL_ENOMEM);
    pres_ok(p);
    cl_pres_free(p);
    assert_int_equal(h.bytes, 0);
}

/* 100 000 entries with a 36-byte key and an 80-byte meta. */
static void test_many(void **state)
{
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));
    char key[37], meta[81];
    static struct delta d;
    const size_t texts = 36 + 80;
    size_t before = h.bytes;

    (void)state;
    memset(meta, 'm', 80);
    meta[80] = 0;
    assert_int_equal(cl_pres_actor_up(p, 0, 1), 0);
    for (uint64_t n = 1; n <= 100000; n++) {
        (void)snprintf(key, sizeof key, "%036llu", (unsigned long long)n);
        delta_start(&d, "t", 1, n - 1, n);
        delta_add(&d, n, (uint32_t)n, key, meta);
        assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    }
    printf("bytes per entry besides key and meta: %.1f\n",
           (double)(h.bytes - before) / 100000 - (double)texts);
    assert_true(h.bytes - before <= 100000 * (80 + texts));
    pres_ok(p);
    cl_pres_actor_down(p, 0, 1);
    assert_int_equal(cl_pres_flush(p, CL_PRES_FORGET_MS, no_diff, NULL), 0);
    assert_int_equal(h.bytes, before);
    cl_pres_free(p);
}

/* A fixed script with an allocator that refuses the k-th request, for every k: each refusal is
 * CL_ENOMEM, leaves a valid and unchanged state, and the same call then succeeds. */
static bool refused_script(struct heap *h, size_t k)
{
    const struct op ops[OPS_MAX] = {{true, 0}, {true, 1}, {true, 0}, {false, 1}, {true, 1}};
    static struct delta d;
    static struct member m;
    struct cl_pres *p;
    struct cl_pres_config cfg = {10, 10, 1000, 0, &h->alloc};
    bool refused = false;

    m = (struct member){0};
    h->refuse_at = k;
    p = cl_pres_new(&cfg);
    if (p == NULL) {
        p = cl_pres_new(&cfg);
        refused = true;
    }
    assert_non_null(p);
    for (uint64_t step = 0; step < 40; step++) {
        uint64_t actor = 1 + step % 4 / 2, from = step / 8, ctx = 0;
        bool deliver = step % 2 == 0;
        int rv;

        delta_of(&d, ops, actor, from, from + 1);
        for (int try = 0; try < 2; try++) {
            rv = cl_pres_actor_up(p, step * 100, actor);
            if (rv == 0) {
                rv = deliver ? cl_pres_apply(p, step * 100, &d.d, &ctx)
                             : cl_pres_flush(p, step * 100 + 60, member_diff, &m);
            }
            pres_ok(p);
            if (rv != CL_ENOMEM) {
                break;
            }
            refused = true;
            assert_int_equal(cl_pres_ctx(p, pr_str("t"), actor), deliver ? from : from + 1);
        }
        assert_true(rv >= 0);
        assert_int_equal(cl_pres_ctx(p, pr_str("t"), actor), from + 1);
    }
    h->refuse_at = 0;
    assert_int_equal(cl_pres_flush(p, 10000, member_diff, &m), 0);
    member_equals_view(&m, p, "t");
    cl_pres_free(p);
    assert_int_equal(h->bytes, 0);
    return refused;
}

static void test_refused_memory(void **state)
{
    size_t k = 1;
    struct heap h;

    (void)state;
    while (refused_script(heap_init(&h), k)) {
        k++;
    }
    printf("allocations refused one by one: %zu\n", k - 1);
    assert_true(k > 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),         cmocka_unit_test(test_forget),
        cmocka_unit_test(test_many_actors),    cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
