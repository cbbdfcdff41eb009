/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a node whose link is down is waited for. What is published meanwhile is confirmed when it
 * is back and has it, or is dead; the publisher is told a timeout if it stays away. So nothing is
 * lost either when the owner process dies while the follower's is away.
 */
#include "nodes_play.h"

#include "cluster/kept.h"

static struct nodes w;

static void ask(uint32_t i, const char *topic, uint32_t flags, const char *text, uint64_t cookie)
{
    struct n_edge *e = &w.n[i].e[0];

    assert_int_equal(cle_publish(e->c, w.now, pr_str(topic), flags, pr_str(text), cookie), CL_OK);
    n_drain_edge(&w, e);
}

/* The last node follows a topic of the second one; the first publishes. */
static const char *begin(void)
{
    const char *t = NULL;

    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, B, 0);
    (void)n_sub(&w, C, 0, t);
    n_run(&w, 200);
    n_forget(&w);
    return t;
}

static void test_confirmed_when_it_is_back(void **state)
{
    const char *t = begin();

    (void)state;
    n_cut(&w, B, C, true);
    ask(A, t, PR_PUB_ACK, "x", 1);
    n_run(&w, 500);
    n_expect(&w, A, 0, "");
    n_cut(&w, B, C, false);
    n_dial(&w, B, C);
    n_run(&w, 500);
    n_expect(&w, C, 0, "x ");
    n_expect(&w, A, 0, "done:1=0 ");
    n_deinit(&w);
}

/* Its link ends with the event under way. */
static void test_under_way(void **state)
{
    const char *t = begin();

    (void)state;
    w.n[B].to[C].data.held = true;
    ask(A, t, PR_PUB_ACK, "x", 1);
    n_settle(&w);
    w.n[B].to[C].data.held = false;
    n_flap(&w, B, C);
    n_run(&w, 500);
    n_expect(&w, C, 0, "x ");
    n_expect(&w, A, 0, "done:1=0 ");
    n_deinit(&w);
}

static void test_timeout_when_it_stays_away(void **state)
{
    const char *t = begin();

    (void)state;
    n_cut(&w, B, C, true);
    n_run(&w, 1000);
    ask(A, t, PR_PUB_ACK, "x", 1);
    n_run(&w, 900);
    n_expect(&w, A, 0, "");
    n_run(&w, 200);
    n_expect(&w, A, 0, "done:1=2 ");
    ask(A, t, PR_PUB_ACK, "y", 2); /* it is forgotten */
    n_run(&w, 100);
    n_expect(&w, A, 0, "done:2=0 ");
    n_deinit(&w);
}

/* Who has left is not waited for, and neither is who does not follow the topic. */
static void test_nobody_else_is_waited_for(void **state)
{
    const char *t = begin();
    const char *other = n_topic_of(&w, ABC, B, 1);

    (void)state;
    n_cut(&w, B, C, true);
    ask(A, other, PR_PUB_ACK, "x", 1);
    n_run(&w, 100);
    n_expect(&w, A, 0, "done:1=0 ");
    n_cut(&w, B, C, false);
    n_dial(&w, B, C);
    n_run(&w, 500);
    n_leave(&w, C);
    n_run(&w, 1500);
    n_kill(&w, C);
    ask(A, t, PR_PUB_ACK, "y", 2);
    n_run(&w, 100);
    n_expect(&w, A, 0, "done:2=0 ");
    n_deinit(&w);
}

/* More than is kept: the first ones are lost for it, and "done" would be a lie. */
static void test_not_all_is_kept(void **state)
{
    const char *t = begin();

    (void)state;
    n_cut(&w, B, C, true);
    ask(A, t, PR_PUB_ACK, "first", 1);
    for (uint32_t k = 0; k < CL_KEPT_EVENTS; k++) {
        n_pub(&w, A, 0, t, "x");
    }
    n_run(&w, 500);
    n_forget(&w);
    n_cut(&w, B, C, false);
    n_dial(&w, B, C);
    n_run(&w, 500);
    assert_memory_equal(w.n[C].e[0].log, "gap:1 x x ", 10);
    n_expect(&w, A, 0, "done:1=2 ");
    n_deinit(&w);
}

/* Such a topic's other publishes are not held at their edge for the node that is away. */
static void test_too_many_to_wait(void **state)
{
    const char *t = begin();
    struct cle_stats st;

    (void)state;
    n_cut(&w, B, C, true);
    for (uint32_t k = 0; k < 2 * CL_KEPT_EVENTS; k++) {
        n_pub(&w, A, 0, t, "x");
        n_settle(&w);
    }
    cle_stats(w.n[A].e[0].c, &st);
    assert_true(st.held > 0 && st.held <= CL_KEPT_EVENTS + 1);
    ask(A, t, PR_PUB_KEEP, "kept", 1);
    n_settle(&w);
    assert_null(strstr(w.n[A].e[0].log, "done:1"));
    n_deinit(&w);
}

/* The follower's owner process dies, and the topic's before that one is back. */
static void test_two_owners_die(void **state)
{
    const char *t = begin();

    (void)state;
    n_owner_kill(&w, C);
    n_settle(&w);
    n_pub(&w, A, 0, t, "x");
    n_run(&w, 100);
    n_owner_kill(&w, B);
    n_run(&w, 100);
    n_owner_start(&w, C);
    n_connect(&w, C, 0);
    n_run(&w, 100);
    n_owner_start(&w, B);
    n_connect(&w, B, 0);
    n_run(&w, 4000);
    n_pub(&w, A, 0, t, "y");
    n_run(&w, 500);
    assert_non_null(strstr(w.n[C].e[0].log, "x "));
    assert_non_null(strstr(strstr(w.n[C].e[0].log, "x ") + 2, "y "));
    assert_null(strstr(w.n[C].e[0].log, "gap"));
    n_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_confirmed_when_it_is_back),
        cmocka_unit_test(test_under_way),
        cmocka_unit_test(test_timeout_when_it_stays_away),
        cmocka_unit_test(test_nobody_else_is_waited_for),
        cmocka_unit_test(test_not_all_is_kept),
        cmocka_unit_test(test_too_many_to_wait),
        cmocka_unit_test(test_two_owners_die),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
