/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what nodes promise each other of publishes holds when views change, links flap and
 * processes end: every subscriber has each one once and in order. Presence: test_core_presence.c.
 */
#include "nodes_play.h"

static struct nodes w;

static void test_join_and_publish(void **state)
{
    const char *t = NULL;

    (void)state;
    n_init_with(&w, 2, 1);
    t = n_topic_of(&w, AB, B, 0);
    assert_int_equal(n_owner(&w, A, t), B);
    (void)n_sub(&w, A, 0, t);
    (void)n_sub(&w, B, 0, t);
    n_settle(&w);
    n_pub(&w, A, 0, t, "x");
    n_pub(&w, A, 0, t, "y");
    n_settle(&w);
    n_pub(&w, B, 0, t, "z");
    n_settle(&w);
    n_expect(&w, A, 0, "ok:0 x!0 y!0 z ");
    n_expect(&w, B, 0, "ok:0 x y z!0 ");
    n_deinit(&w);
}

/* Publishers count in each topic; every subscriber must have each number once, in order. */
#define MANY 600u
static char many[MANY][24];
static unsigned sent[MANY];

static void many_moving(unsigned nodes, uint32_t owner, unsigned later, uint32_t next)
{
    struct cl_ring a, b;
    uint32_t n = 0;

    n_ring(&w, nodes, &a);
    n_ring(&w, later, &b);
    memset(sent, 0, sizeof sent);
    for (unsigned k = 0; n < MANY; k++) {
        char name[24];
        uint32_t part = 0;

        (void)snprintf(name, sizeof name, "m%u", k);
        part = cl_partition(pr_str(name));
        if (n_by_id(&w, cl_ring_owner_id(&a, part)) == owner &&
            n_by_id(&w, cl_ring_owner_id(&b, part)) == next) {
            memcpy(many[n++], name, sizeof name);
        }
    }
}

static void many_pub(uint32_t i, uint32_t k, uint32_t step)
{
    for (uint32_t t = 0; t < MANY; t += step) {
        char text[32];

        (void)snprintf(text, sizeof text, "%u.%u", t, ++sent[t]);
        n_pub(&w, i, k, many[t], text);
    }
}

static void many_check(uint32_t i, uint32_t k)
{
    static unsigned have[MANY];
    char *save = NULL;

    memset(have, 0, sizeof have);
    for (char *word = strtok_r(w.n[i].e[k].log, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        unsigned t = 0;
        unsigned n = 0;

        if (sscanf(word, "%u.%u", &t, &n) != 2) {
            continue;
        }
        if (n != have[t] + 1) {
            fail_msg("edge %u of node %u got %u after %u of topic %u", k, i, n, have[t], t);
        }
        have[t] = n;
    }
    for (uint32_t t = 0; t < MANY; t++) {
        if (have[t] != sent[t]) {
            fail_msg("edge %u of node %u has %u of %u of topic %u", k, i, have[t], sent[t], t);
        }
    }
    w.n[i].e[k].log_len = 0;
    w.n[i].e[k].log[0] = '\0';
}

static void test_node_joins(void **state)
{
    (void)state;
    n_init_with(&w, 2, 1);
    many_moving(AB, B, ABC, C);
    for (uint32_t t = 0; t < MANY; t++) {
        (void)n_sub(&w, A, 0, many[t]);
    }
    n_run(&w, 100);
    n_forget(&w);
    n_start(&w, C, 1);
    for (uint32_t k = 0; k < 100; k++) {
        many_pub(B, 0, 10);
        n_run(&w, 20);
    }
    n_run(&w, 2000);
    assert_int_equal(n_owner(&w, A, many[0]), C);
    many_check(A, 0);
    n_deinit(&w);
}

static void until_owner(uint32_t i, const char *topic, uint32_t owner)
{
    for (uint32_t k = 0; n_owner(&w, i, topic) != owner; k++) {
        assert_true(k < 1000);
        n_run(&w, 5);
    }
}

/* What was parked is ordered as soon as the partition opens; more followers wait for the answer to
 * their SUB than one step gives. */
static void test_followers_wait_when_opened(void **state)
{
    (void)state;
    n_init_with(&w, 2, 1);
    many_moving(AB, B, ABC, C);
    for (uint32_t t = 0; t < MANY; t++) {
        (void)n_sub(&w, A, 0, many[t]);
    }
    n_run(&w, 100);
    n_forget(&w);
    n_start(&w, C, 1);
    w.n[A].to[C].data.held = true;
    until_owner(A, many[0], C);
    until_owner(B, many[0], C);
    many_pub(B, 0, 10);
    n_settle(&w);
    many_pub(B, 0, 10);
    w.n[A].to[C].data.held = false;
    n_run(&w, 2000);
    many_check(A, 0);
    n_deinit(&w);
}

static void test_node_leaves(void **state)
{
    (void)state;
    n_init_with(&w, 3, 1);
    many_moving(ABC, C, AB, B);
    for (uint32_t t = 0; t < MANY; t++) {
        (void)n_sub(&w, A, 0, many[t]);
    }
    n_run(&w, 100);
    n_forget(&w);
    n_leave(&w, C);
    for (uint32_t k = 0; k < 100; k++) {
        many_pub(B, 0, 10);
        n_run(&w, 20);
        if (w.n[C].cl != NULL && cl_gone(w.n[C].cl)) {
            n_kill(&w, C);
        }
    }
    n_run(&w, 2000);
    assert_int_equal(n_owner(&w, A, many[0]), B);
    many_check(A, 0);
    n_deinit(&w);
}

/* Edges outlive their owner process, and so do their clients. Both nodes publish all the time. */
static void restart_owner(uint32_t topic_of, cl_ms down_ms, cl_ms second_edge_ms)
{
    const char *t = n_topic_of(&w, AB, topic_of, 0);
    uint32_t step_ms = 10;
    cl_ms start = 0;

    for (uint32_t k = 0; k < 2; k++) {
        (void)n_sub(&w, A, k, t);
        (void)n_sub(&w, B, k, t);
    }
    n_run(&w, 100);
    n_forget(&w);
    memset(sent, 0, sizeof sent);
    start = w.now;
    for (unsigned k = 0; k < 300; k++) {
        cl_ms at = w.now - start;
        char text[32];

        if (k == 5) {
            n_owner_kill(&w, A);
        }
        if (at >= 50 + down_ms && w.n[A].cl == NULL) {
            n_owner_start(&w, A);
            n_connect(&w, A, 0);
        }
        if (at >= 50 + down_ms + second_edge_ms && !w.n[A].e[1].up) {
            n_connect(&w, A, 1);
        }
        for (unsigned i = 0; i < 2; i++) {
            (void)snprintf(text, sizeof text, "%u.%u", i, ++sent[i]);
            n_pub(&w, i, 0, t, text);
        }
        step_ms = at < 200 ? 10 : 50; /* 64 are kept */
        n_run(&w, step_ms);
    }
    n_run(&w, 3000);
    for (uint32_t k = 0; k < 2; k++) {
        many_check(A, k);
        many_check(B, k);
    }
}

static void property_19_owner_restarts(void **state)
{
    static const struct {
        uint32_t owner;
        cl_ms down_ms, second_edge_ms;
    } rows[] = {
        {B, 20, 0}, {B, 20, 50}, {B, 20, 500}, {B, 300, 100},
        {A, 20, 0}, {A, 20, 50}, {A, 20, 500}, {A, 300, 100},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        n_init_with(&w, 2, 2);
        restart_owner(rows[i].owner, rows[i].down_ms, rows[i].second_edge_ms);
        n_deinit(&w);
    }
}

/* No news of members reaches a node, or again. */
static void hold_news(uint32_t to, bool held)
{
    w.n[to].udp.held = held;
    for (uint32_t i = 0; i < N_NODES; i++) {
        w.n[i].to[to].fast.held = held;
    }
}

/* A join is answered only once all that is published from then on comes: also if another node still
 * orders by the view before. */
static void property_17_join_waits_until_opened(void **state)
{
    const char *t = NULL;

    (void)state;
    n_init_with(&w, 2, 1);
    t = n_topic(&w, AB, B, ABC, C, 0);
    n_start(&w, C, 1);
    hold_news(B, true);
    until_owner(C, t, C);
    assert_int_equal(n_owner(&w, B, t), B);
    (void)n_sub(&w, C, 0, t);
    n_run(&w, 50);
    n_expect(&w, C, 0, "");
    n_pub(&w, B, 0, t, "early");
    n_settle(&w);
    hold_news(B, false);
    until_owner(B, t, C);
    n_run(&w, 20);
    n_pub(&w, B, 0, t, "late");
    n_run(&w, 20);
    n_expect(&w, C, 0, "ok:0 late ");
    n_deinit(&w);
}

/* Publishes that wait here, more than one step orders, when the partition goes and comes back. */
static void property_17_partition_back_at_once(void **state)
{
    const char *t = NULL;
    char text[16];

    (void)state;
    n_init_with(&w, 3, 1);
    t = n_topic(&w, ABC, C, AB, B, 0);
    (void)n_sub(&w, A, 0, t);
    n_run(&w, 100);
    n_forget(&w);
    memset(sent, 0, sizeof sent);
    n_owner_kill(&w, C);
    w.n[A].to[B].data.held = true; /* so that it does not open */
    n_owner_start(&w, C);
    until_owner(B, t, B);
    for (unsigned k = 0; k < 200; k++) {
        (void)snprintf(text, sizeof text, "0.%u", ++sent[0]);
        n_pub(&w, B, 0, t, text);
    }
    n_settle(&w);
    hold_news(B, true);
    until_owner(A, t, C);
    n_owner_kill(&w, C);
    n_owner_start(&w, C);
    until_owner(A, t, B);
    n_run(&w, 150);                    /* of gossip */
    for (uint32_t k = 0; k < 2; k++) { /* one after the other, and nothing between */
        while (n_owner(&w, B, t) == (k == 0 ? B : C)) {
            struct n_queue *q = w.n[B].udp.head != NULL ? &w.n[B].udp : &w.n[A].to[B].fast;

            q->held = false;
            if (q == &w.n[B].udp) {
                assert_true(n_move_udp(&w, B));
            } else {
                assert_true(n_move_link(&w, A, B, q));
            }
        }
    }
    n_kill(&w, C);
    hold_news(B, false);
    w.n[A].to[B].data.held = false;
    n_run(&w, 3000);
    many_check(A, 0);
    n_deinit(&w);
}

/* An owner for a short time has ordered; its answer to the follower's SUB is still under way when
 * the next view comes. */
static void test_owner_for_a_moment(void **state)
{
    const char *t = NULL;

    (void)state;
    n_init_with(&w, 3, 1);
    t = n_topic(&w, ABC, C, AB, B, 0);
    (void)n_sub(&w, A, 0, t);
    n_run(&w, 100);
    n_forget(&w);
    n_owner_kill(&w, C);
    w.n[A].to[B].data.held = true;
    n_owner_start(&w, C);
    n_connect(&w, C, 0);
    until_owner(A, t, B);
    until_owner(B, t, B);
    w.n[B].to[A].data.held = true;
    w.n[A].to[B].data.held = false;
    n_settle(&w);
    n_pub(&w, B, 0, t, "one");
    n_pub(&w, B, 0, t, "two");
    n_settle(&w);
    until_owner(A, t, C);
    w.n[B].to[A].data.held = false;
    n_run(&w, 1000);
    n_pub(&w, B, 0, t, "three");
    n_run(&w, 1000);
    n_expect(&w, A, 0, "one two three ");
    n_deinit(&w);
}

/* With memory refused now and then, nodes join and leave all the same. */
static void property_35_memory_refused(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        uint32_t topic = 0;
        const char *t = NULL;

        n_init_with(&w, 2, 1);
        t = n_topic(&w, AB, B, ABC, C, 0);
        topic = n_sub(&w, A, 0, t);
        n_want(&w, A, 0, topic, true);
        n_run(&w, 100);
        n_forget(&w);
        w.refuse = cl_rand_seed(seed);
        w.refuse_1_in = 2 + seed % 4;
        n_start(&w, C, 1);
        n_run(&w, 200);
        topic = n_sub(&w, C, 0, t);
        n_put_pres(&w, C, 0, topic, "c");
        n_pub(&w, C, 0, t, "x");
        n_run(&w, 2500);
        w.refuse_1_in = 0;
        n_run(&w, 2000);
        if (strstr(w.n[A].e[0].log, "x ") == NULL || strstr(w.n[A].e[0].log, "+c={}] ") == NULL) {
            fail_msg("seed %lu: %s", (unsigned long)seed, w.n[A].e[0].log);
        }
        n_deinit(&w);
    }
}

/* A queue of actions so short that news of members comes in several steps. */
static void test_short_queue(void **state)
{
    (void)state;
    for (uint32_t actions = 4; actions < 9; actions++) {
        const char *t = NULL;

        n_init(&w);
        w.careful = true;
        w.lim.actions = actions;
        for (uint32_t i = 0; i < N_NODES; i++) {
            n_start(&w, i, 1);
        }
        n_run(&w, 6000);
        t = n_topic_of(&w, ABC, C, 0);
        (void)n_sub(&w, A, 0, t);
        n_run(&w, 1000);
        n_owner_kill(&w, C);
        n_run(&w, 6000);
        n_owner_start(&w, C);
        n_connect(&w, C, 0);
        n_run(&w, 6000);
        n_pub(&w, B, 0, t, "x");
        n_run(&w, 1000);
        n_expect(&w, A, 0, "ok:0 x ");
        n_deinit(&w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_and_publish),
        cmocka_unit_test(test_node_joins),
        cmocka_unit_test(test_followers_wait_when_opened),
        cmocka_unit_test(test_node_leaves),
        cmocka_unit_test(property_19_owner_restarts),
        cmocka_unit_test(property_17_join_waits_until_opened),
        cmocka_unit_test(property_17_partition_back_at_once),
        cmocka_unit_test(test_owner_for_a_moment),
        cmocka_unit_test(property_35_memory_refused),
        cmocka_unit_test(test_short_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
