/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the times of suspicion and of forgetting, and what puts a verdict off. */
#include "tests/unit/swim_bed.h"

static void suspicion_times(void **state)
{
    static const struct {
        uint32_t members, confirms;
        cl_ms dead_ms;
    } rows[] = {{2, 0, 2000}, {3, 0, 6000}, {3, 1, 3476},   {3, 2, 2000},  {9, 0, 6000},
                {9, 1, 3476}, {9, 2, 2000}, {99, 0, 12000}, {99, 1, 6952}, {99, 2, 4000}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct cl_swim_member *m = NULL;
        struct bed b;

        bed_start(&b, 128);
        for (uint64_t id = 1; id <= rows[i].members; id++) {
            bed_merge(&b, fact(200 + id, EPOCH, 0, PR_F_ALIVE), false);
        }
        for (uint32_t k = 0; k <= rows[i].confirms; k++) {
            struct pr_gossip_msg a = accuse(PR_G_SUSPECT, 201, EPOCH, 0, 300 + k);

            bed_packet(&b, 202, &a);
            bed_packet(&b, 202, &a); /* the same accuser counts once */
        }
        m = cl_swim_find(b.s, 201);
        assert_int_equal(m->state, CL_SWIM_SUSPECT);
        assert_int_equal(m->confirms, rows[i].confirms);
        assert_int_equal(m->confirms_of, rows[i].members > 2 ? 2 : 0);
        assert_int_equal(m->dead_at - b.now, rows[i].dead_ms);
        bed_end(&b);
    }
}

static void suspicion_ends_in_death(void **state)
{
    struct pr_gossip_msg a = accuse(PR_G_SUSPECT, 1, EPOCH, 0, 2);
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 2);
    bed_packet(&b, 2, &a);
    b.nseen = 0;
    bed_run(&b, 1490);
    b.nseen = 0;
    bed_run(&b, 20);
    /* asked once more, and told of what */
    assert_non_null(packet(&b, 1, PR_G_PING, 0, &m));
    assert_non_null(packet(&b, 1, PR_G_SUSPECT, 0, &m));
    bed_run(&b, 480);
    assert_int_equal(state_of(&b, 1), CL_SWIM_SUSPECT);
    bed_run(&b, 20);
    assert_int_equal(state_of(&b, 1), CL_SWIM_DEAD);
    /* if it lives after all, it hears of it */
    assert_non_null(packet(&b, 1, PR_G_DEAD, 0, &m));
    assert_int_equal(m.from, ME);
    bed_end(&b);
}

static void a_speaking_link_puts_the_verdict_off(void **state)
{
    struct pr_gossip_msg a = accuse(PR_G_SUSPECT, 1, EPOCH, 0, 2);
    cl_ms start = 0;
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 2);
    bed_link(&b, 1, EPOCH);
    bed_packet(&b, 2, &a);
    start = b.now;
    while (state_of(&b, 1) == CL_SWIM_SUSPECT) {
        cl_swim_link_heard(b.s, b.now, 1);
        bed_run(&b, 100);
    }
    /* 2 s, and ten times 500 ms */
    assert_in_range(b.now - start, 7000, 7200);
    assert_int_equal(state_of(&b, 1), CL_SWIM_DEAD);
    assert_non_null(seen(&b, CL_SWIM_A_CLOSE, 1, 0));
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.vetoed, 10);
    cl_swim_link_heard(b.s, b.now, 77); /* nobody */
    bed_end(&b);
}

/* A link of a former life says nothing. */
static void an_old_link_puts_nothing_off(void **state)
{
    struct pr_gossip_msg a = accuse(PR_G_SUSPECT, 1, EPOCH, 0, 2);
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 2);
    bed_link(&b, 1, EPOCH - 1);
    bed_packet(&b, 2, &a);
    for (unsigned i = 0; i < 21; i++) {
        cl_swim_link_heard(b.s, b.now, 1);
        bed_run(&b, 100);
    }
    assert_int_equal(state_of(&b, 1), CL_SWIM_DEAD);
    bed_end(&b);
}

static void the_dead_are_forgotten(void **state)
{
    const struct seen *e = NULL;
    struct bed b;

    (void)state;
    bed_start(&b, 4);
    b.answers = true;
    bed_members(&b, 2);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_DEAD), false);
    bed_run(&b, CL_SWIM_FORGET_MS / 2);
    b.nseen = 0;
    bed_run(&b, CL_SWIM_FORGET_MS / 2 - 1000);
    assert_int_equal(state_of(&b, 1), CL_SWIM_DEAD);
    b.nseen = 0;
    bed_run(&b, 2000);
    e = must_see(&b, CL_SWIM_A_MEMBER, 1);
    assert_int_equal(e->old, CL_SWIM_DEAD);
    assert_int_equal(e->now, CL_SWIM_NONE);
    assert_null(cl_swim_find(b.s, 1));
    bed_merge(&b, fact(5, EPOCH, 0, PR_F_ALIVE), false);
    bed_merge(&b, fact(6, EPOCH, 0, PR_F_ALIVE), false);
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(suspicion_times),
        cmocka_unit_test(suspicion_ends_in_death),
        cmocka_unit_test(a_speaking_link_puts_the_verdict_off),
        cmocka_unit_test(an_old_link_puts_nothing_off),
        cmocka_unit_test(the_dead_are_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
