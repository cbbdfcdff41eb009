/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a whole state that is told replaces what was held, and members see the difference and no
 * more. Numbers in names: properties of the cluster's design. */
#include "presence_bed.h"

static bool is_t(void *ctx, struct pr_slice topic)
{
    (void)ctx;
    return pr_slice_is(topic, "t");
}

static bool is_u(void *ctx, struct pr_slice topic)
{
    (void)ctx;
    return pr_slice_is(topic, "u");
}

/* What FAR is told to be in "t" between begin and end; before: (0, 1] with one entry. */
enum mention { NOTHING, REPEAT, HOLE, FULL, DAMAGED, NEWER, EMPTIED };

static const struct {
    const char *name;
    bool begin, again; /* begin is called; once more after the mention */
    enum mention what;
    uint64_t actor;
    uint64_t ctx_after;
    uint32_t joins, leaves;
} replaces[] = {
    {"not mentioned", true, false, NOTHING, FAR, 0, 0, 1},
    {"a repeat", true, false, REPEAT, FAR, 1, 0, 0},
    {"newer", true, false, NEWER, FAR, 5, 1, 0},
    {"emptied", true, false, EMPTIED, FAR, 5, 0, 1},
    {"a hole", true, false, HOLE, FAR, 1, 0, 0},
    {"no room", true, false, FULL, FAR, 1, 0, 0},
    {"damaged is not mentioned", true, false, DAMAGED, FAR, 0, 0, 1},
    {"begun anew", true, true, REPEAT, FAR, 0, 0, 1},
    {"end without begin", false, false, NOTHING, FAR, 1, 0, 0},
    {"own actor", true, false, NOTHING, OWN, 1, 0, 0},
};

static void mention(struct bed *b, enum mention what, uint64_t actor)
{
    static struct delta d;

    switch (what) {
    case NOTHING:
        return;
    case REPEAT:
        assert_int_equal(change(b->p, 60, "t", actor, 0, 1, 1, "{}", 0), CL_PRES_STALE);
        return;
    case HOLE:
        assert_int_equal(change(b->p, 60, "t", actor, 3, 5, 2, "{}", 0), CL_PRES_HOLE);
        return;
    case FULL:
        delta_start(&d, "t", actor, 0, 20);
        for (uint32_t n = 11; n <= 19; n++) {
            delta_add(&d, n, n, "key", "{}");
        }
        assert_int_equal(apply(b->p, 60, &d), CL_PRES_FULL);
        return;
    case DAMAGED:
        assert_int_equal(change(b->p, 60, "t", actor, 1, 5, 1, "{}", 2), CL_EPROTO);
        return;
    case NEWER:
        delta_start(&d, "t", actor, 0, 5);
        delta_add(&d, 1, 1, "key", "{}");
        delta_add(&d, 5, 2, "key", "{}");
        assert_int_equal(apply(b->p, 60, &d), CL_PRES_APPLIED);
        return;
    case EMPTIED:
        delta_start(&d, "t", actor, 0, 5);
        assert_int_equal(apply(b->p, 60, &d), CL_PRES_APPLIED);
        return;
    }
}

/* Takes everything of a bed over into a set whose topics hold 8 entries. */
static void small_limits(struct bed *b)
{
    struct cl_pres_config cfg = {100, 8, 1u << 20, 7, &b->h.alloc};
    struct told t = {.to = cl_pres_new(&cfg)};

    assert_non_null(t.to);
    assert_int_equal(cl_pres_actor_own(t.to, 0, OWN), 0);
    for (uint64_t actor = OWN; actor <= FAR2; actor++) {
        assert_int_equal(cl_pres_actor_up(t.to, 0, actor), 0);
    }
    assert_int_equal(cl_pres_state(b->p, pr_str("t"), take_state, &t), 0);
    assert_int_equal(cl_pres_state(b->p, pr_str("u"), take_state, &t), 0);
    cl_pres_settle(t.to, 0);
    cl_pres_free(b->p);
    b->p = t.to;
    assert_int_equal(cl_pres_view(b->p, pr_str("t"), member_begin, &b->m), 0);
}

static void test_replace_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof replaces / sizeof replaces[0]; i++) {
        for (int by_actor = 0; by_actor < 2; by_actor++) {
            struct bed *b = bed_new();
            uint64_t actor = replaces[i].actor;

            small_limits(b);
            for (int k = 0; k < replaces[i].begin + replaces[i].again; k++) {
                if (by_actor) {
                    cl_pres_replace_actor_begin(b->p, actor);
                } else {
                    cl_pres_replace_begin(b->p, pr_str("t"));
                    mention(b, REPEAT, FAR2);
                    mention(b, actor == FAR ? NOTHING : REPEAT, FAR);
                }
                if (k == 0) {
                    mention(b, replaces[i].what, actor);
                }
            }
            pres_ok(b->p);
            if (by_actor) {
                cl_pres_replace_actor_end(b->p, 60, actor, is_t, NULL);
            } else {
                cl_pres_replace_end(b->p, 60, pr_str("t"));
            }
            flush(b, 200);
            if (ctx_of(b, "t", actor) != replaces[i].ctx_after || b->m.joins != replaces[i].joins ||
                b->m.leaves != replaces[i].leaves) {
                fail_msg("%s (by %s): ctx %d, %u joins, %u leaves", replaces[i].name,
                         by_actor ? "actor" : "topic", (int)ctx_of(b, "t", actor), b->m.joins,
                         b->m.leaves);
            }
            assert_int_equal(ctx_of(b, "u", FAR), 2);
            assert_int_equal(ctx_of(b, "t", FAR2), 1);
            assert_int_equal(ctx_of(b, "t", OWN), 1);
            bed_free(b);
        }
    }
}

/* Marks of a topic and of an actor are two things; a mention takes both off. */
static void test_two_replaces_at_once(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    cl_pres_replace_actor_begin(b->p, FAR);
    cl_pres_replace_end(b->p, 60, pr_str("t")); /* of an actor, not of the topic */
    assert_true(ctx_of(b, "t", FAR) == 1 && ctx_of(b, "t", FAR2) == 1);
    cl_pres_replace_begin(b->p, pr_str("t"));
    mention(b, REPEAT, FAR2);
    cl_pres_replace_actor_end(b->p, 60, FAR, is_u, NULL);
    assert_true(ctx_of(b, "t", FAR) == 1 && ctx_of(b, "u", FAR) == 0);
    cl_pres_replace_actor_end(b->p, 60, FAR, is_t, NULL); /* no begin since */
    assert_int_equal(ctx_of(b, "t", FAR), 1);
    cl_pres_replace_actor_begin(b->p, FAR);
    mention(b, REPEAT, FAR);
    cl_pres_replace_actor_end(b->p, 60, FAR, is_t, NULL);
    cl_pres_replace_end(b->p, 60, pr_str("t"));
    assert_true(ctx_of(b, "t", FAR) == 1 && ctx_of(b, "t", FAR2) == 1);
    cl_pres_replace_begin(b->p, pr_str("t"));
    assert_int_equal(cl_pres_actor_own(b->p, 60, FAR), 0); /* its edge came to this node's side */
    cl_pres_replace_end(b->p, 60, pr_str("t"));
    assert_true(ctx_of(b, "t", FAR) == 1 && ctx_of(b, "t", FAR2) == 0);
    cl_pres_replace_actor_begin(b->p, 99);
    cl_pres_replace_actor_end(b->p, 60, 99, is_t, NULL);
    cl_pres_replace_begin(b->p, pr_str("v"));
    cl_pres_replace_end(b->p, 60, pr_str("v"));
    flush(b, 200);
    assert_true(b->m.leaves == 1 && b->m.joins == 0);
    bed_free(b);
}

/* Removed by one replace and back by the next, before its leave was shown: nobody sees anything. An
 * update in between is one diff with both halves; after the leave was shown it is a join. */
static void property_25_replace_without_flicker(void **state)
{
    struct bed *b = bed_new();
    static struct delta d;

    (void)state;
    for (int round = 0; round < 3; round++) {
        cl_pres_replace_begin(b->p, pr_str("t"));
        cl_pres_replace_end(b->p, 60, pr_str("t"));
        assert_int_equal(cl_pres_members(b->p, pr_str("t")), 1);
        pres_ok(b->p);
        assert_int_equal(change(b->p, 60, "t", FAR2, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
        assert_int_equal(change(b->p, 60, "t", FAR, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
        pres_ok(b->p);
    }
    flush(b, 200);
    assert_int_equal(b->m.diffs, 0);
    cl_pres_replace_begin(b->p, pr_str("t"));
    cl_pres_replace_end(b->p, 300, pr_str("t"));
    delta_start(&d, "t", FAR, 0, 7);
    delta_add(&d, 7, 1, "key", "{\"new\":1}");
    assert_int_equal(apply(b->p, 300, &d), CL_PRES_APPLIED);
    assert_int_equal(change(b->p, 300, "t", FAR2, 0, 1, 1, "{\"not\":\"as it was\"}", 0),
                     CL_PRES_APPLIED);
    flush(b, 2000);
    assert_true(b->m.diffs == 1 && b->m.joins == 2 && b->m.leaves == 2 && b->m.updates == 2);
    cl_pres_replace_actor_begin(b->p, FAR);
    cl_pres_replace_actor_end(b->p, 2000, FAR, is_t, NULL);
    flush(b, 3000);
    assert_true(b->m.diffs == 2 && b->m.leaves == 3);
    assert_int_equal(apply(b->p, 3000, &d), CL_PRES_APPLIED);
    flush(b, 4000);
    assert_true(b->m.diffs == 3 && b->m.joins == 3 && b->m.updates == 2);
    bed_free(b);
}

/* A delta first, then a whole state that was made before it (phoenix_pubsub issue 148): what is
 * newer stays. */
static void property_24_stale_whole_state(void **state)
{
    struct bed *b = bed_new();

    (void)state;
    assert_int_equal(change(b->p, 60, "t", FAR, 1, 3, 2, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(b->p, 60, "t", FAR, 3, 4, 1, NULL, 1), CL_PRES_APPLIED);
    cl_pres_replace_begin(b->p, pr_str("t"));
    mention(b, REPEAT, FAR2);
    mention(b, REPEAT, FAR);
    cl_pres_replace_end(b->p, 60, pr_str("t"));
    assert_int_equal(ctx_of(b, "t", FAR), 4);
    flush(b, 200);
    assert_true(b->m.joins == 1 && b->m.leaves == 1);
    bed_free(b);
}

/* The only known pair of a topic is replaced by nothing: until the leave is shown, the topic is
 * held, but not known. */
static void test_only_a_leave_is_left(void **state)
{
    struct bed *b = bed_new();
    struct topics t = {.p = b->p};
    struct told told = {0};

    (void)state;
    assert_int_equal(change(b->p, 0, "v", FAR, 0, 9, 1, "{}", 0), CL_PRES_APPLIED);
    flush(b, 0);
    cl_pres_replace_begin(b->p, pr_str("v"));
    cl_pres_replace_end(b->p, 10, pr_str("v"));
    pres_ok(b->p);
    cl_pres_each_topic(b->p, one_topic, &t);
    assert_true(t.count == 2 && t.actors == 6);
    assert_int_equal(cl_pres_state(b->p, pr_str("v"), take_state, &told), 0);
    assert_int_equal(told.frames, 0);
    b->h.refuse_at = 1; /* half made, and unmade again */
    assert_int_equal(change(b->p, 20, "v", FAR, 0, 10, 1, "{}", 0), CL_ENOMEM);
    assert_int_equal(ctx_of(b, "v", FAR), 0);
    pres_ok(b->p);
    assert_int_equal(change(b->p, 20, "v", FAR, 9, 10, 1, "{}", 0), CL_PRES_HOLE);
    flush(b, 100);
    flush(b, 100 + CL_PRES_FORGET_MS);
    assert_int_equal(change(b->p, 70000, "v", FAR, 0, 10, 1, "{}", 0), CL_PRES_APPLIED);
    bed_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replace_table),
        cmocka_unit_test(test_two_replaces_at_once),
        cmocka_unit_test(property_25_replace_without_flicker),
        cmocka_unit_test(property_24_stale_whole_state),
        cmocka_unit_test(test_only_a_leave_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
