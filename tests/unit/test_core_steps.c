/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what nodes promise each other holds at every moment of a change of view, and while two of
 * them do not reach each other.
 */
#include "cluster/confirm.h"
#include "cluster/kept.h"
#include "nodes_play.h"

static struct nodes w;

static unsigned sent[N_NODES];

static void publish(uint32_t node, const char *topic)
{
    char text[32];

    (void)snprintf(text, sizeof text, "%u.%u", node, sent[node]++);
    n_pub(&w, node, 0, topic, text);
}

/* The edge of A has heard all of each, once and in order; but for the first `lost` of B. */
static void heard_all(unsigned lost)
{
    unsigned have[N_NODES] = {[B] = lost};
    char *save = NULL;

    for (char *word = strtok_r(w.n[A].e[0].log, " ", &save); word != NULL;
         word = strtok_r(NULL, " ", &save)) {
        unsigned node = 0;
        unsigned n = 0;

        if (sscanf(word, "%u.%u", &node, &n) == 2) {
            assert_int_equal(n, have[node]);
            have[node]++;
        } else if (strncmp(word, "gap:", 4) == 0) {
            assert_int_equal(strtoul(word + 4, NULL, 10), lost);
        }
    }
    assert_memory_equal(have, sent, sizeof sent);
}

static void hold_news(uint32_t to, bool held)
{
    w.n[to].udp.held = held;
    for (uint32_t i = 0; i < N_NODES; i++) {
        w.n[i].to[to].fast.held = held;
    }
}

static void until_owner(uint32_t i, const char *topic, uint32_t owner)
{
    for (uint32_t k = 0; n_owner(&w, i, topic) != owner; k++) {
        assert_true(k < 1000);
        n_run(&w, 5);
    }
}

/* A node of an older view asks the one that was the owner: once per CL_AGAIN_MS, and no more once
 * it has heard. */
static void property_14_not_owner_does_not_loop(void **state)
{
    const char *t = NULL;
    uint32_t before = 0;

    (void)state;
    memset(sent, 0, sizeof sent);
    n_init_with(&w, 2, 1);
    t = n_topic(&w, AB, A, ABC, C, 0);
    (void)n_sub(&w, A, 0, t);
    n_run(&w, 100);
    n_forget(&w);
    n_start(&w, C, 1);
    hold_news(B, true);
    until_owner(A, t, C);
    publish(B, t);
    n_run(&w, 1000);
    assert_int_equal(n_owner(&w, B, t), A);
    assert_in_range(w.not_owner, 1, 1 + 1000 / CL_AGAIN_MS);
    hold_news(B, false);
    until_owner(B, t, C);
    before = w.not_owner;
    n_run(&w, 3000);
    assert_in_range(w.not_owner, before, before + 1);
    heard_all(0);
    n_deinit(&w);
}

/* C joins and is to own the topic; the owner process of one of them ends at this moment of it. */
static void crash(uint32_t who, cl_ms at)
{
    const char *t = NULL;
    cl_ms start = 0;

    memset(sent, 0, sizeof sent);
    n_init_with(&w, 2, 1);
    t = n_topic(&w, AB, B, ABC, C, 0);
    (void)n_sub(&w, A, 0, t);
    n_run(&w, 100);
    n_forget(&w);
    n_start(&w, C, 1);
    start = w.now;
    while (w.now < start + 2000) {
        if (w.now == start + at) {
            n_owner_kill(&w, who);
        }
        if (w.now == start + at + 100) {
            n_owner_start(&w, who);
            n_connect(&w, who, 0);
        }
        publish(A, t);
        publish(B, t);
        n_run(&w, 20);
    }
    n_run(&w, 5000);
    assert_int_equal(n_owner(&w, A, t), C);
    heard_all(0);
    n_deinit(&w);
}

static void property_16_a_crash_at_every_step(void **state)
{
    (void)state;
    for (uint32_t who = A; who <= C; who++) {
        for (cl_ms at = 20; at <= 800; at += 20) {
            crash(who, at);
        }
    }
}

/* A and the owner B do not reach each other, C reaches both: all stay, and nobody is told that it
 * has joined before it hears what is published. */
static void property_18_a_cut_with_one_between(void **state)
{
    const char *t = NULL;

    (void)state;
    memset(sent, 0, sizeof sent);
    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, B, 0);
    n_run(&w, 100);
    n_forget(&w);
    n_cut(&w, A, B, true);
    (void)n_sub(&w, A, 0, t);
    for (uint32_t k = 0; k < 20; k++) {
        n_pub(&w, C, 0, t, "early");
        n_run(&w, 20);
    }
    n_expect(&w, A, 0, "");
    assert_int_equal(n_owner(&w, A, t), B);
    n_cut(&w, A, B, false);
    n_dial(&w, A, B);
    while (w.n[A].e[0].log_len == 0) {
        n_pub(&w, C, 0, t, "early");
        n_run(&w, 20);
    }
    n_pub(&w, C, 0, t, "late");
    n_run(&w, 100);
    assert_non_null(strstr(w.n[A].e[0].log, "ok:0 "));
    assert_string_equal(strstr(w.n[A].e[0].log, "late"), "late ");
    n_deinit(&w);
}

/* What was ordered while a link was down comes when it is up again, as far as it was kept; the rest
 * is counted. */
static void property_21_what_is_kept_fills_a_hole(void **state)
{
    static const unsigned rows[] = {1, 10, CL_KEPT_EVENTS, CL_KEPT_EVENTS + 1, 3 * CL_KEPT_EVENTS};
    const char *t = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        memset(sent, 0, sizeof sent);
        n_init_with(&w, 2, 1);
        t = n_topic_of(&w, AB, B, 0);
        (void)n_sub(&w, A, 0, t);
        n_run(&w, 100);
        n_forget(&w);
        n_cut(&w, A, B, true);
        for (unsigned k = 0; k < rows[i]; k++) {
            publish(B, t);
            n_settle(&w);
        }
        n_cut(&w, A, B, false);
        n_dial(&w, A, B);
        n_run(&w, 1000);
        heard_all(rows[i] > CL_KEPT_EVENTS ? rows[i] - CL_KEPT_EVENTS : 0);
        n_deinit(&w);
    }
}

/* With an answer wanted, under cookie 7. */
static void publish_ack(uint32_t node, const char *topic)
{
    struct n_edge *e = &w.n[node].e[0];

    assert_int_equal(cle_publish(e->c, w.now, pr_str(topic), PR_PUB_ACK, pr_str("x"), 7), CL_OK);
    n_drain_edge(&w, e);
}

/* Its client was told this, once. */
static void was_answered(uint32_t node, uint32_t result)
{
    char text[16];

    (void)snprintf(text, sizeof text, "done:7=%u ", result);
    n_expect(&w, node, 0, text);
}

/* B owns, C follows and does not take what B has sent. However often the publisher asks, it is not
 * told that all is well before that is so, and then once. */
static void waits(uint32_t publisher, bool flap)
{
    const char *t = NULL;

    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, B, 0);
    (void)n_sub(&w, C, 0, t);
    n_run(&w, 100);
    n_forget(&w);
    w.n[B].to[C].data.held = true;
    publish_ack(publisher, t);
    n_settle(&w);
    for (unsigned k = 0; k < 3; k++) {
        if (flap) {
            n_flap(&w, A, B);
        } else {
            n_connect(&w, publisher, 0);
        }
        n_run(&w, 200);
        n_expect(&w, publisher, 0, "");
    }
    w.n[B].to[C].data.held = false;
    n_settle(&w);
    was_answered(publisher, PR_PUB_DONE);
    n_run(&w, 3000);
    n_expect(&w, publisher, 0, "");
    n_expect(&w, C, 0, "x ");
    n_deinit(&w);
}

static void test_a_repeat_waits_as_the_first_did(void **state)
{
    (void)state;
    waits(B, false);
    waits(A, false);
    waits(A, true);
}

/* The first was answered while its edge was away. What the edge is told when it asks again is what
 * that was, unless C has taken the event since. */
static void answered(bool taken)
{
    const char *t = NULL;

    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, B, 0);
    (void)n_sub(&w, C, 0, t);
    n_run(&w, 100);
    n_forget(&w);
    w.n[B].to[C].data.held = true;
    publish_ack(B, t);
    n_settle(&w);
    n_disconnect(&w, B, 0);
    n_run(&w, CL_CONFIRM_MS + 100);
    w.n[B].to[C].data.held = !taken;
    n_run(&w, 100);
    n_connect(&w, B, 0);
    n_run(&w, 100);
    was_answered(B, taken ? PR_PUB_DONE : PR_PUB_TIMEOUT);
    w.n[B].to[C].data.held = false;
    n_run(&w, 100);
    n_expect(&w, C, 0, "x ");
    n_deinit(&w);
}

static void test_a_repeat_is_answered_as_the_first_was(void **state)
{
    (void)state;
    answered(true);
    answered(false);
}

/* No room to wait: told so at once. That this was so is not known any more when it is asked for
 * again, but that something was: it is not told that all is well. */
static void test_a_repeat_of_what_found_no_room(void **state)
{
    const char *t = NULL;

    (void)state;
    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, B, 0);
    (void)n_sub(&w, C, 0, t);
    n_run(&w, 100);
    n_pub(&w, B, 0, t, "room");
    n_run(&w, 100);
    n_forget(&w);
    publish_ack(B, t);
    w.refuse_1_in = 1;
    assert_true(n_move_up(&w, B, 0));
    w.refuse_1_in = 0;
    n_disconnect(&w, B, 0);
    n_connect(&w, B, 0);
    n_run(&w, 100);
    was_answered(B, PR_PUB_TIMEOUT);
    n_expect(&w, C, 0, "x ");
    n_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_14_not_owner_does_not_loop),
        cmocka_unit_test(property_16_a_crash_at_every_step),
        cmocka_unit_test(property_18_a_cut_with_one_between),
        cmocka_unit_test(property_21_what_is_kept_fills_a_hole),
        cmocka_unit_test(test_a_repeat_waits_as_the_first_did),
        cmocka_unit_test(test_a_repeat_is_answered_as_the_first_was),
        cmocka_unit_test(test_a_repeat_of_what_found_no_room),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
