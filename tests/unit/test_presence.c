/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the merge of presence deltas is right for every order, cut and repeat. */
#include "presence_help.h"

#include <time.h>

#define OPS_MAX 6u
#define SLOTS   2u

struct row_check {
    const struct op *ops;
    uint64_t at, actor;
    uint32_t count;
    bool wrong;
};

static void check_row(void *ctx, const struct cl_presence_row *row)
{
    struct row_check *c = ctx;

    if (row->actor == c->actor) {
        c->count++;
        c->wrong |= !alive_at(c->ops, c->at, row->n);
    }
}

/* Does the set hold of this actor exactly what its first `at` operations left? */
static bool same(const struct cl_pres *p, const struct op *ops, uint64_t actor, uint64_t at)
{
    struct row_check c = {.ops = ops, .at = at, .actor = actor};
    uint32_t expect = 0;

    for (uint32_t s = 0; s < SLOTS; s++) {
        expect += slot_at(ops, at, s) != 0;
    }
    cl_pres_each(p, pr_str("t"), check_row, &c);
    return !c.wrong && c.count == expect && cl_pres_ctx(p, pr_str("t"), actor) == at;
}

/* History number `code`: two bits an operation. */
static void history(struct op *ops, uint32_t code)
{
    for (uint32_t i = 0; i < OPS_MAX; i++, code >>= 2) {
        ops[i] = (struct op){(code & 1) != 0, (code >> 1) & 1};
    }
}

/*
 * From the state after any number of operations, any interval of the history leads to the state
 * that the rule names. Each reachable state is one of these, so by induction every order, cut and
 * repeat of intervals gives the plain state. The second actor runs another history in the same
 * topic.
 */
static void property_23_every_history(void **state)
{
    struct op ops[2][OPS_MAX];
    static struct delta d;
    struct heap h;
    uint32_t merges = 0;

    (void)state;
    for (uint32_t code = 0; code < 1u << (2 * OPS_MAX); code++) {
        if ((code & 2) != 0) {
            continue; /* the two slots are alike: the first operation is on slot 0 */
        }
        history(ops[0], code);
        history(ops[1], ~code * 2654435761u >> 7);
        for (uint64_t i = 0; i < (OPS_MAX + 1) * OPS_MAX * (OPS_MAX + 1) / 2; i++) {
            uint64_t ctx = i % (OPS_MAX + 1), k = i / (OPS_MAX + 1), b = 1, a, want;
            struct cl_pres *p = NULL;
            int rv;

            while (k >= b) {
                k -= b++;
            }
            a = k;
            if (ctx > 0 && i % 5 != code % 5 && a == ctx) {
                continue; /* a plain step, the same for many codes: a fifth of them is enough */
            }
            p = pres_new(heap_init(&h));
            assert_int_equal(cl_pres_actor_up(p, 0, 11), 0);
            delta_of(&d, ops[1], 22, 0, OPS_MAX);
            assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
            if (ctx > 0) {
                delta_of(&d, ops[0], 11, 0, ctx);
                assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
            }
            delta_of(&d, ops[0], 11, a, b);
            rv = apply(p, 0, &d);
            want = b > ctx && a <= ctx ? b : ctx;
            if (rv != (b <= ctx  ? CL_PRES_STALE
                       : a > ctx ? CL_PRES_HOLE
                                 : CL_PRES_APPLIED) ||
                !same(p, ops[0], 11, want) || !same(p, ops[1], 22, OPS_MAX)) {
                fail_msg("history %u: (%d, %d] at ctx %d: answer %d", code, (int)a, (int)b,
                         (int)ctx, rv);
            }
            if (i % 16 == 0) {
                pres_ok(p);
            }
            cl_pres_free(p);
            assert_int_equal(h.bytes, 0);
            merges++;
        }
    }
    printf("merges checked: %u\n", merges);
}

/* Three random intervals in two orders, each order until nothing changes: one state; again: the
 * same. */
static void laws(uint64_t seed, struct cl_rand *r)
{
    struct op ops[OPS_MAX];
    static struct delta d[3];
    struct heap h;
    struct cl_pres *p[2];
    uint64_t to = 0, far;

    history(ops, (uint32_t)cl_rand_next(r));
    for (uint32_t i = 0; i < 3; i++) {
        uint64_t a = cl_rand_below(r, OPS_MAX), b = a + 1 + cl_rand_below(r, OPS_MAX - a);

        delta_of(&d[i], ops, 11, a, b);
    }
    heap_init(&h);
    for (uint32_t k = 0; k < 2; k++) {
        p[k] = pres_new(&h);
        for (uint32_t i = 0; i < 9; i++) {
            assert_true(apply(p[k], 0, &d[k == 0 ? i % 3 : 2 - i % 3]) >= 0);
        }
    }
    for (bool more = true; more;) {
        more = false;
        for (uint32_t i = 0; i < 3; i++) {
            if (d[i].d.a <= to && d[i].d.b > to) {
                to = d[i].d.b;
                more = true;
            }
        }
    }
    far = cl_pres_ctx(p[0], pr_str("t"), 11);
    if (far != to || !same(p[0], ops, 11, to) || !same(p[1], ops, 11, to)) {
        fail_msg("seed %llu: orders differ", (unsigned long long)seed);
    }
    assert_int_equal(apply(p[0], 0, &d[0]) == CL_PRES_APPLIED, 0);
    assert_true(same(p[0], ops, 11, to));
    cl_pres_free(p[0]);
    cl_pres_free(p[1]);
    assert_int_equal(h.bytes, 0);
}

static void property_23_laws(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);
    struct cl_rand r = cl_rand_seed(seed);

    (void)state;
    printf("laws: seed %llu\n", (unsigned long long)seed);
    for (uint32_t i = 0; i < 10000; i++) {
        laws(seed, &r);
    }
}

/* A delta comes first, then a full state that was made before it (phoenix_pubsub issue 148): the
 * older state changes nothing, and one that is newer removes what it does not name. */
static void test_stale_full_state(void **state)
{
    const struct op ops[OPS_MAX] = {{true, 0}, {true, 1}, {false, 0}, {true, 0}, {false, 1}};
    static struct delta d;
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));

    (void)state;
    delta_of(&d, ops, 11, 0, 2);
    assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    delta_of(&d, ops, 11, 2, 3);
    assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    delta_of(&d, ops, 11, 0, 2); /* still has the entry that 3 removed */
    assert_int_equal(apply(p, 0, &d), CL_PRES_STALE);
    assert_true(same(p, ops, 11, 3));
    delta_of(&d, ops, 11, 4, 5);
    assert_int_equal(apply(p, 0, &d), CL_PRES_HOLE);
    assert_true(same(p, ops, 11, 3));
    delta_of(&d, ops, 11, 0, 5);
    assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    assert_true(same(p, ops, 11, 5));
    cl_pres_free(p);
    assert_int_equal(h.bytes, 0);
}

/* The third line by its shortest case: put, put with (0, 2] arriving at ctx 1. */
static void test_third_line(void **state)
{
    const struct op ops[OPS_MAX] = {{true, 0}, {true, 0}};
    static struct delta d;
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));

    (void)state;
    delta_of(&d, ops, 11, 0, 1);
    assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    delta_of(&d, ops, 11, 0, 2);
    assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    assert_true(same(p, ops, 11, 2));
    cl_pres_free(p);
}

static const struct {
    const char *name;
    uint64_t a, b;
    uint64_t adds[3]; /* dots; 0 ends */
    uint64_t dels[2];
    bool damaged;
    int expect;
} bad[] = {
    {"right", 3, 6, {4, 6}, {2}, false, CL_PRES_APPLIED},
    {"nothing in it", 3, 4, {0}, {0}, false, CL_PRES_APPLIED},
    {"dels of what was never there", 3, 4, {0}, {1}, false, CL_PRES_APPLIED},
    {"the same del twice", 3, 4, {0}, {2, 2}, false, CL_PRES_APPLIED},
    {"repeat", 0, 3, {1}, {0}, false, CL_PRES_STALE},
    {"empty interval", 3, 3, {0}, {0}, false, CL_PRES_STALE},
    {"hole", 4, 6, {5}, {0}, false, CL_PRES_HOLE},
    {"add at a", 3, 6, {3}, {0}, false, CL_EPROTO},
    {"add after b", 3, 6, {7}, {0}, false, CL_EPROTO},
    {"del after a", 3, 6, {0}, {4}, false, CL_EPROTO},
    {"bad del after a good one", 3, 6, {0}, {2, 4}, false, CL_EPROTO},
    {"one dot twice", 3, 6, {4, 5, 5}, {2}, false, CL_EPROTO},
    {"damaged adds", 3, 6, {4, 5}, {2}, true, CL_EPROTO},
};

static void test_bad_deltas(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        static struct delta d;
        struct heap h;
        struct cl_pres *p = pres_new(heap_init(&h));
        struct cl_pres_stats st;
        int rv;

        assert_int_equal(cl_pres_actor_up(p, 0, 1), 0);
        delta_start(&d, "t", 1, 0, 3);
        delta_add(&d, 2, 2, "two", "{}");
        delta_add(&d, 3, 3, "three", "{}");
        assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
        delta_start(&d, "t", 1, bad[i].a, bad[i].b);
        for (uint32_t k = 0; k < 3 && bad[i].adds[k] != 0; k++) {
            delta_add(&d, bad[i].adds[k], (uint32_t)bad[i].adds[k], "key", "");
        }
        for (uint32_t k = 0; k < 2 && bad[i].dels[k] != 0; k++) {
            delta_del(&d, bad[i].dels[k]);
        }
        d.d.adds.n -= bad[i].damaged;
        rv = apply(p, 0, &d);
        if (rv != bad[i].expect) {
            fail_msg("%s: answer %d, expected %d", bad[i].name, rv, bad[i].expect);
        }
        pres_ok(p);
        cl_pres_stats(p, &st);
        if (rv != CL_PRES_APPLIED && (st.entries != 2 || cl_pres_ctx(p, pr_str("t"), 1) != 3)) {
            fail_msg("%s: refused, but something changed", bad[i].name);
        }
        cl_pres_free(p);
        assert_int_equal(h.bytes, 0);
    }
}

static void test_bad_topic_and_config(void **state)
{
    struct heap h;
    struct cl_pres_config cfg = {0, 1, 1, 0, &heap_init(&h)->alloc};
    static struct delta d;
    static uint8_t longest[PR_TOPIC_KEY_MAX + 1];
    struct cl_pres *p;

    (void)state;
    assert_null(cl_pres_new(&cfg));
    cfg = (struct cl_pres_config){1, 0, 1, 0, &h.alloc};
    assert_null(cl_pres_new(&cfg));
    cfg = (struct cl_pres_config){1, 1, 0, 0, &h.alloc};
    assert_null(cl_pres_new(&cfg));
    cl_pres_free(NULL);
    p = pres_new(&h);
    delta_start(&d, "", 1, 0, 1);
    assert_int_equal(apply(p, 0, &d), CL_EPROTO);
    d.d.topic = pr_bytes(longest, sizeof longest);
    assert_int_equal(apply(p, 0, &d), CL_EPROTO);
    d.d.topic.n--;
    assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
    cl_pres_free(p);
}

/* Equal knowledge, however it came about, has equal digests; the edge can compute the same. */
static void test_digest(void **state)
{
    const struct op ops[OPS_MAX] = {{true, 0}, {true, 1}, {false, 0}, {true, 0}, {true, 1}};
    static struct delta d;
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));
    struct pr_p_digest a, b;

    (void)state;
    cl_pres_digest(p, 11, &a);
    assert_true(a.hash == 0 && a.entries == 0 && a.actor == 11);
    for (uint64_t n = 1; n <= 5; n++) {
        delta_of(&d, ops, 11, n - 1, n);
        assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
        delta_of(&d, ops, 22, 0, n);
        assert_int_equal(apply(p, 0, &d), CL_PRES_APPLIED);
        cl_pres_digest(p, 11, &a);
        cl_pres_digest(p, 22, &b);
        assert_true(a.hash == b.hash && a.entries == b.entries);
    }
    assert_true(a.entries == 2 &&
                a.hash == cl_pres_dot_hash(pr_str("t"), 4) + cl_pres_dot_hash(pr_str("t"), 5));
    cl_pres_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_23_every_history),
        cmocka_unit_test(property_23_laws),
        cmocka_unit_test(test_stale_full_state),
        cmocka_unit_test(test_third_line),
        cmocka_unit_test(test_bad_deltas),
        cmocka_unit_test(test_bad_topic_and_config),
        cmocka_unit_test(test_digest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
