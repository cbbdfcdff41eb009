/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: a set that serves several nodes tells whole states, compares itself by a sum, and keeps
 * apart what is its own and what is not. */
#include "presence_bed.h"

static bool all(void *ctx, struct pr_slice topic, uint64_t boot)
{
    (void)ctx;
    (void)topic;
    (void)boot;
    return true;
}

static bool this_actor(void *ctx, struct pr_slice topic, uint64_t boot)
{
    (void)topic;
    return *(const uint64_t *)ctx == boot;
}

/* What is told makes an equal set: entries, ctx of pairs without one, of actors not attached; not
 * what is held only until its leave is shown. */
static void test_state(void **state)
{
    struct bed *b = bed_new();
    struct heap h;
    struct told t = {.to = pres_new(heap_init(&h))};
    uint32_t n[2];

    (void)state;
    assert_int_equal(change(b->p, 10, "t", FAR, 1, 3, 0, NULL, 1), CL_PRES_APPLIED);
    cl_pres_actor_down(b->p, 10, FAR2);
    assert_int_equal(cl_pres_state(b->p, pr_str("t"), take_state, &t), 0);
    assert_true(t.frames == 3 && t.adds == 2 && t.actors == OWN + FAR + FAR2 && t.ctx == 1 + 3 + 1);
    assert_int_equal(cl_pres_ctx(t.to, pr_str("t"), FAR), 3);
    assert_int_equal(cl_pres_state(b->p, pr_str("u"), take_state, &t), 0);
    assert_true(cl_pres_sum(b->p, all, NULL, &n[0]) == cl_pres_sum(t.to, all, NULL, &n[1]));
    assert_true(n[0] == 5 && n[1] == 5);
    pres_ok(t.to);
    cl_pres_free(t.to);
    flush(b, 50);
    bed_free(b);
}

static const struct {
    const char *name, *topic;
    uint64_t actor; /* 0: all */
    int answer;
    uint32_t frames;
    int expect;
} states[] = {
    {"whole topic", "t", 0, 0, 3, 0},
    {"topic that is not held", "v", 0, 0, 0, 0},
    {"empty topic", "", 0, 0, 0, 0},
    {"emit says stop", "t", 0, 7, 1, 7},
    {"emit fails", "t", 0, CL_EAGAIN, 1, CL_EAGAIN},
    {"one actor", "u", FAR, 0, 1, 0},
    {"one actor, stop", "u", FAR, 9, 1, 9},
    {"unknown actor", "u", 99, 0, 0, 0},
    {"one actor, topic that is not held", "v", FAR, 0, 0, 0},
};

static void test_state_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        struct bed *b = bed_new();
        struct told t = {.answer = states[i].answer};
        struct pr_slice topic = pr_str(states[i].topic);
        int rv = 0;

        for (int refuse = 1; refuse >= 0; refuse--) {
            b->h.refuse_at = (size_t)refuse;
            rv = states[i].actor == 0
                     ? cl_pres_state(b->p, topic, take_state, &t)
                     : cl_pres_state_of(b->p, topic, states[i].actor, take_state, &t);
            if (refuse == 1 && (t.frames != 0 || rv != (states[i].frames == 0 ? 0 : CL_ENOMEM))) {
                fail_msg("%s: memory refused, answer %d", states[i].name, rv);
            }
        }
        if (rv != states[i].expect || t.frames != states[i].frames) {
            fail_msg("%s: answer %d, %u frames", states[i].name, rv, t.frames);
        }
        bed_free(b);
    }
}

/* One actor with more than a frame: the others are told all the same. */
static void test_state_too_long(void **state)
{
    static uint8_t text[PR_FRAME_MAX / 2], adds[sizeof text + 64];
    struct bed *b = bed_new();
    struct told t = {0};

    (void)state;
    for (uint64_t n = 3; n <= 4; n++) {
        struct pr_outbuf o = pr_outbuf(adds, sizeof adds);
        struct pr_pent e = {n, (uint32_t)n, pr_str("key"), {text, sizeof text}};
        struct pr_p_delta d = {.topic = pr_str("t"), .actor = FAR, .a = n == 3 ? 1 : 3, .b = n};
        uint64_t ctx = 0;

        pr_padd_put(&o, &e);
        d.nadds = 1;
        d.adds = pr_bytes(adds, o.len);
        assert_int_equal(cl_pres_apply(b->p, 0, &d, &ctx), CL_PRES_APPLIED);
        assert_int_equal(cl_pres_state(b->p, pr_str("t"), take_state, &t), n == 3 ? 0 : CL_ERANGE);
    }
    assert_int_equal(t.frames, 3 + 2);
    assert_int_equal(cl_pres_state_of(b->p, pr_str("t"), FAR, take_state, &t), CL_ERANGE);
    flush(b, 100);
    bed_free(b);
}

/* An actor that was never heard of is own as well; refused memory leaves it unknown. */
static void test_own(void **state)
{
    struct heap h;
    struct cl_pres *p = pres_new(heap_init(&h));
    struct cl_pres_stats st;

    (void)state;
    h.refuse_at = 1;
    assert_int_equal(cl_pres_actor_own(p, 0, OWN), CL_ENOMEM);
    cl_pres_stats(p, &st);
    assert_int_equal(st.actors, 0);
    assert_int_equal(cl_pres_actor_own(p, 0, OWN), 0);
    assert_int_equal(cl_pres_actor_own(p, 0, OWN), 0);
    assert_int_equal(change(p, 0, "t", OWN, 0, 1, 1, "{}", 0), CL_PRES_APPLIED);
    cl_pres_replace_begin(p, pr_str("t"));
    cl_pres_replace_end(p, 0, pr_str("t"));
    cl_pres_forget_topic(p, 0, pr_str("t"));
    assert_int_equal(cl_pres_members(p, pr_str("t")), 0); /* not attached yet */
    assert_int_equal(cl_pres_actor_up(p, 0, OWN), 0);
    assert_int_equal(cl_pres_members(p, pr_str("t")), 1);
    pres_ok(p);
    cl_pres_free(p);
    assert_int_equal(h.bytes, 0);
}

/* What is not own vanishes without a leave, also what waits for its leave; the topic goes with its
 * last actor. */
static void test_forget_topic(void **state)
{
    struct bed *b = bed_new();
    struct cl_pres_stats st;

    (void)state;
    assert_int_equal(change(b->p, 60, "t", FAR, 1, 3, 2, "{}", 0), CL_PRES_APPLIED);
    assert_int_equal(change(b->p, 60, "t", FAR2, 1, 3, 2, NULL, 1), CL_PRES_APPLIED);
    cl_pres_forget_topic(b->p, 60, pr_str("t"));
    pres_ok(b->p);
    assert_int_equal(cl_pres_members(b->p, pr_str("t")), 1);
    assert_true(ctx_of(b, "t", FAR) == 0 && ctx_of(b, "t", FAR2) == 0 && ctx_of(b, "t", OWN) == 1);
    assert_true(ctx_of(b, "u", FAR) == 2);
    flush(b, 200);
    assert_int_equal(b->m.diffs, 0);
    assert_int_equal(cl_pres_view(b->p, pr_str("t"), member_begin, &b->m), 0);
    assert_int_equal(b->m.count, 1);
    cl_pres_forget_topic(b->p, 200, pr_str("v"));
    assert_int_equal(change(b->p, 200, "w", FAR, 0, 9, 1, "{}", 0), CL_PRES_APPLIED);
    cl_pres_forget_topic(b->p, 200, pr_str("w"));
    cl_pres_stats(b->p, &st);
    assert_int_equal(st.topics, 2);
    bed_free(b);
}

static void test_settle_topic(void **state)
{
    struct bed *b = bed_new();
    static struct member u;

    (void)state;
    u = (struct member){0};
    assert_int_equal(cl_pres_view(b->p, pr_str("u"), member_begin, &u), 0);
    assert_int_equal(change(b->p, 60, "t", FAR, 1, 3, 2, "{}", 1), CL_PRES_APPLIED);
    assert_int_equal(change(b->p, 60, "u", FAR, 2, 4, 2, "{}", 2), CL_PRES_APPLIED);
    cl_pres_actor_down(b->p, 60, FAR2);
    cl_pres_settle_topic(b->p, pr_str("u"));
    cl_pres_settle_topic(b->p, pr_str("u"));
    cl_pres_settle_topic(b->p, pr_str("v"));
    pres_ok(b->p);
    assert_int_equal(cl_pres_view(b->p, pr_str("u"), member_begin, &u), 0);
    assert_int_equal(u.count, 2);
    flush(b, 200);
    assert_true(b->m.diffs == 1 && b->m.joins == 1 && b->m.leaves == 2);
    member_equals_view(&u, b->p, "u");
    bed_free(b);
}

static void test_sum(void **state)
{
    struct bed *b = bed_new();
    uint32_t n = 0, far_n = 0;
    uint64_t far = FAR, own = OWN, far2 = FAR2, whole, part;

    (void)state;
    whole = cl_pres_sum(b->p, all, NULL, &n);
    part = cl_pres_sum(b->p, this_actor, &far, &far_n);
    assert_true(n == 6 && far_n == 2 && part != 0 && part != whole);
    part += cl_pres_sum(b->p, this_actor, &own, &far_n);
    part += cl_pres_sum(b->p, this_actor, &far2, &far_n);
    assert_true(part == whole);
    cl_pres_actor_down(b->p, 60, FAR);
    assert_true(cl_pres_sum(b->p, all, NULL, &n) == whole && n == 6);
    assert_int_equal(change(b->p, 60, "t", FAR2, 1, 3, 2, "{}", 0), CL_PRES_APPLIED);
    flush(b, 60);
    assert_int_equal(change(b->p, 100, "t", FAR2, 3, 4, 0, NULL, 1), CL_PRES_APPLIED);
    part = cl_pres_sum(b->p, all, NULL, &n); /* the removed one waits for its leave */
    assert_true(part != whole && n == 6);
    flush(b, 200);
    assert_true(cl_pres_sum(b->p, all, NULL, &n) == part && n == 6);
    bed_free(b);
}

/* Topics come and go while they are walked; one of which only a leave is left is not known. */
static void test_each_topic(void **state)
{
    struct bed *b = bed_new();
    struct topics t = {.p = b->p};

    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        char name[8];

        (void)snprintf(name, sizeof name, "far %u", i);
        assert_int_equal(change(b->p, 0, name, FAR, 0, 10 + i, i, "{}", 0), CL_PRES_APPLIED);
    }
    cl_pres_each_topic(b->p, one_topic, &t);
    assert_true(t.count == 102 && t.actors == 106);
    t = (struct topics){.p = b->p, .forget = true};
    cl_pres_each_topic(b->p, one_topic, &t);
    assert_true(t.count == 102 && t.actors == 106);
    pres_ok(b->p);
    t = (struct topics){.p = b->p};
    cl_pres_each_topic(b->p, one_topic, &t);
    assert_true(t.count == 2 && t.actors == 2);
    cl_pres_actor_down(b->p, 0, OWN);
    flush(b, 0);
    flush(b, CL_PRES_FORGET_MS);
    t = (struct topics){.p = b->p, .forget = true};
    cl_pres_each_topic(b->p, one_topic, &t);
    assert_int_equal(t.count, 0);
    b->m.count = 0;
    bed_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_state),
        cmocka_unit_test(test_state_table),
        cmocka_unit_test(test_state_too_long),
        cmocka_unit_test(test_own),
        cmocka_unit_test(test_forget_topic),
        cmocka_unit_test(test_settle_topic),
        cmocka_unit_test(test_sum),
        cmocka_unit_test(test_each_topic),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
