/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: presence keeps within its limits, gives back what is not needed any more, and a refused
 * allocation leaves a valid state. */
#include "presence_help.h"

#include <time.h>

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

/* Refuses all diffs but the first of each flush. */
static int one_diff(void *ctx, const struct pr_p_diff *diff)
{
    uint32_t *diffs = ctx;

    (void)diff;
    return ++*diffs % 2 == 0 ? CL_EAGAIN : 0;
}

/* A view that changed as a whole, was shown by half, and changed again: what is removed but shown
 * has the limit of entries once more, and no further. */
static void test_shown_has_a_limit(void **state)
{
    struct heap h;
    struct cl_pres_config cfg = {4, 4, 1u << 30, 7, &heap_init(&h)->alloc};
    struct cl_pres *p = cl_pres_new(&cfg);
    static char meta[CL_PRES_DIFF_CHUNK / 2];
    uint32_t diffs = 0;
    uint64_t n = 0;
    const struct row {
        uint64_t a;
        uint32_t adds;
        int expect;
    } rows[] = {{0, 4, CL_PRES_APPLIED},
                {0, 4, CL_PRES_APPLIED},
                {0, 3, CL_PRES_FULL},
                {0, 2, CL_PRES_APPLIED}};

    (void)state;
    memset(meta, 'm', sizeof meta - 1);
    assert_int_equal(cl_pres_actor_up(p, 0, 1), 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static uint8_t adds[5 * sizeof meta];
        struct pr_outbuf o = pr_outbuf(adds, sizeof adds);
        struct pr_p_delta d = {.topic = pr_str("t"), .actor = 1, .a = rows[i].a, .b = n + 4};
        uint64_t ctx = 0;

        for (uint32_t k = 0; k < rows[i].adds; k++) {
            struct pr_pent e = {n + 1, (uint32_t)n, pr_str("key"), pr_str(meta)};

            n++;
            pr_padd_put(&o, &e);
            d.nadds++;
        }
        d.adds = pr_bytes(adds, o.len);
        cl_pres_replace_begin(p, pr_str("t"));
        cl_pres_replace_end(p, i, pr_str("t"));
        assert_int_equal(cl_pres_apply(p, i, &d, &ctx), rows[i].expect);
        if (i < 2) {
            int rv = cl_pres_flush(p, 1000 * (i + 1), i == 0 ? no_diff : one_diff, &diffs);

            assert_int_equal(rv, i == 0 ? 0 : CL_EAGAIN);
        }
        pres_ok(p);
    }
    assert_int_equal(cl_pres_flush(p, 9000, no_diff, NULL), 0);
    cl_pres_free(p);
    assert_int_equal(h.bytes, 0);
}

/* Of this process on a CPU: others may be busy. */
static double ms_since(struct timespec *from)
{
    struct timespec now;
    double ms = 0;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    ms = (double)(now.tv_sec - from->tv_sec) * 1e3 + (double)(now.tv_nsec - from->tv_nsec) / 1e6;
    *from = now;
    return ms;
}

static bool all(void *ctx, struct pr_slice topic, uint64_t boot)
{
    (void)ctx;
    (void)topic;
    (void)boot;
    return true;
}

struct copy {
    struct cl_pres *from, *to;
};

static int copy_delta(void *ctx, const struct pr_p_delta *d)
{
    struct copy *c = ctx;
    uint64_t known = 0;

    return cl_pres_apply(c->to, 0, d, &known) >= 0 ? 0 : -1;
}

/* cl_pres_each_topic_fn: tells a topic as a whole. */
static void copy_topic(void *ctx, struct pr_slice topic, uint32_t actors)
{
    struct copy *c = ctx;

    (void)actors;
    cl_pres_replace_begin(c->to, topic);
    assert_int_equal(cl_pres_state(c->from, topic, copy_delta, c), 0);
    cl_pres_replace_end(c->to, 0, topic);
}

static const struct shape {
    uint32_t topics, actors, each; /* entries of an actor in a topic */
    uint32_t bytes_max;            /* per entry, besides key and meta */
} shapes[] = {{1, 4, 25000, 70}, {10, 10, 1000, 70}, {1000, 100, 1, 180}, {100000, 1, 1, 280}};

static void fill(struct cl_pres *p, const struct shape *s)
{
    char key[37], meta[81], topic[24];
    static struct delta d;

    memset(meta, 'm', 80);
    meta[80] = 0;
    for (uint64_t actor = 1; actor <= s->actors; actor++) {
        uint64_t n = 0;

        assert_int_equal(cl_pres_actor_up(p, 0, actor), 0);
        for (uint32_t t = 0; t < s->topics; t++) {
            (void)snprintf(topic, sizeof topic, "topic %u", t);
            for (uint32_t k = 0; k < s->each; k++) {
                (void)snprintf(key, sizeof key, "%036u", k);
                delta_start(&d, topic, actor, k == 0 ? 0 : n, n + 1);
                delta_add(&d, ++n, k, key, meta);
                assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
            }
        }
    }
}

/* 100 000 presences of several shapes, told to another node, twice: memory has a bound, times are
 * told. */
static void property_28_many_over_nodes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        const struct shape *s = &shapes[i];
        struct heap h[2];
        struct copy c = {pres_new(heap_init(&h[0])), pres_new(heap_init(&h[1]))};
        struct timespec at;
        uint32_t n[2];
        double put, flush, few, sum, told, again;

        at = (struct timespec){0};
        (void)ms_since(&at);
        fill(c.from, s);
        put = ms_since(&at);
        assert_int_equal(cl_pres_flush(c.from, 1, no_diff, NULL), 0);
        flush = ms_since(&at);
        assert_int_equal(cl_pres_actor_up(c.from, 1, 1000), 0);
        for (uint64_t k = 1; k <= 100; k++) {
            assert_int_equal(change(c.from, 1, "topic 0", 1000, k - 1, k, (uint32_t)k, "{}", 0),
                             CL_PRES_APPLIED);
        }
        (void)ms_since(&at);
        assert_int_equal(cl_pres_flush(c.from, 2000, no_diff, NULL), 0);
        few = ms_since(&at);
        (void)cl_pres_sum(c.from, all, NULL, &n[0]);
        sum = ms_since(&at);
        cl_pres_each_topic(c.from, copy_topic, &c);
        told = ms_since(&at);
        cl_pres_each_topic(c.from, copy_topic, &c);
        again = ms_since(&at);
        assert_true(cl_pres_sum(c.from, all, NULL, &n[0]) == cl_pres_sum(c.to, all, NULL, &n[1]));
        assert_true(n[0] == 100100 && n[1] == 100100);
        printf("%u topics x %u actors x %u: put %.1f ms, flush of all %.1f, of the next %.3f, "
               "sum %.1f, told %.1f, told again %.1f; bytes an entry besides key and meta: %.1f\n",
               s->topics, s->actors, s->each, put, flush, few, sum, told, again,
               (double)h[0].bytes / 100000 - 116);
        assert_true(h[0].bytes <= 100000 * (size_t)(s->bytes_max + 116));
        assert_true(h[1].bytes <= 100000 * (size_t)(s->bytes_max + 116));
        pres_ok(c.from);
        pres_ok(c.to);
        cl_pres_free(c.from);
        cl_pres_free(c.to);
        assert_true(h[0].bytes == 0 && h[1].bytes == 0);
    }
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
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_forget),
        cmocka_unit_test(test_many_actors),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_refused_memory),
        cmocka_unit_test(test_shown_has_a_limit),
        cmocka_unit_test(property_28_many_over_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
