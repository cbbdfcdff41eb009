/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what an edge is told of topics, word for word, in steady state, over restarts, and out of
 * memory. Presence: test_edge_presence.c.
 */
#include "cluster_world.h"

static struct world w;

static void test_subscribe_and_publish(void **state)
{
    uint32_t a = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t");
    w_expect(&w, 0, "");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    assert_int_equal(w_sub(&w, 0, "t"), a);
    w_expect(&w, 0, "at-once:0 ");
    (void)w_sub(&w, 1, "t");
    w_settle(&w);
    w_expect(&w, 1, "ok:0 ");

    assert_int_equal(w_pub(&w, 0, "t", "one", 5), CL_OK);
    assert_int_equal(w_pub(&w, 0, "other", "nobody", 6), CL_OK);
    w_settle(&w);
    w_expect(&w, 0, "one!5 done:5=0 done:6=0 ");
    w_expect(&w, 1, "one ");

    /* Without the flag nobody is told that it is done. */
    assert_int_equal(cle_publish(w.e[1].c, w.now, pr_str("t"), 0, pr_str("two"), 9), CL_OK);
    w_drain_edge(&w, 1);
    w_settle(&w);
    w_expect(&w, 1, "two!9 ");
    w_expect(&w, 0, "two ");
    w_deinit(&w);
}

static void test_unsubscribe_waits(void **state)
{
    uint32_t a = 0;
    struct cl_stats s;

    (void)state;
    w_init(&w, 1);
    a = w_sub(&w, 0, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    cle_unsubscribe(w.e[0].c, w.now, a);
    w_run(&w, CLE_UNSUB_MS - 1);
    (void)w_sub(&w, 0, "t");
    w_expect(&w, 0, "at-once:0 ");
    w_run(&w, 2 * CLE_UNSUB_MS);
    assert_int_equal(w_pub(&w, 0, "t", "x", 1), CL_OK);
    w_settle(&w);
    w_expect(&w, 0, "x!1 done:1=0 ");

    cle_unsubscribe(w.e[0].c, w.now, a);
    assert_int_equal(w_pub(&w, 0, "t", "unheard", 2), CL_OK);
    w_settle(&w);
    w_expect(&w, 0, "done:2=0 "); /* no member: no event */
    w_run(&w, CLE_UNSUB_MS);
    w_run(&w, 31000);
    cl_stats(w.cl, &s);
    assert_int_equal(s.topics, 0);
    (void)w_sub(&w, 0, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 "); /* and no gap is made up */
    w_deinit(&w);
}

static void test_sub_timeout(void **state)
{
    uint32_t a = 0;

    (void)state;
    w_init(&w, 1);
    w_owner_kill(&w);
    a = w_sub(&w, 0, "t");
    w_run(&w, CLE_SUB_TIMEOUT_MS - 1);
    w_expect(&w, 0, "");
    w_run(&w, 1);
    w_expect(&w, 0, "failed:0 ");
    (void)w_sub(&w, 0, "t");
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    cle_unsubscribe(w.e[0].c, w.now, a);
    cle_unsubscribe(w.e[0].c, w.now, a);
    w_owner_kill(&w);
    w_run(&w, 2 * CLE_UNSUB_MS); /* forgotten without an owner */
    w_deinit(&w);
}

/* The fence must not be taken from an older subscription: UNSUB waits for the answer. */
static void test_unsub_never_passes_a_sub(void **state)
{
    uint32_t a = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t"); /* its SUB stays under way */
    cle_unsubscribe(w.e[0].c, w.now, a);
    w.now += CLE_UNSUB_MS;
    w_tick(&w);
    assert_int_equal(w_sub(&w, 0, "t"), a);
    assert_int_equal(w_pub(&w, 1, "t", "before", 0), CL_OK);
    while (w_move_up(&w, 1)) {
    }
    while (w_move_up(&w, 0)) {
    }
    assert_int_equal(w_pub(&w, 1, "t", "after", 0), CL_OK);
    w_settle(&w);
    w_expect(&w, 0, "ok:0 after ");
    w_deinit(&w);
}

static void test_owner_restart(void **state)
{
    struct cle_stats s;

    (void)state;
    w_init(&w, 2);
    (void)w_sub(&w, 0, "t");
    (void)w_sub(&w, 1, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    w_expect(&w, 1, "ok:0 ");

    /* "a" is ordered and reaches edge 1, but neither edge 0 nor its confirmation; "b" is lost on
     * the way to the owner; "c" comes while no owner is there. */
    assert_int_equal(w_pub(&w, 0, "t", "a", 1), CL_OK);
    assert_int_equal(w_pub(&w, 0, "t", "b", 2), CL_OK);
    assert_true(w_move_up(&w, 0));
    assert_true(w_move_down(&w, 1));
    w_expect(&w, 1, "a ");
    w_owner_kill(&w);
    assert_int_equal(w_pub(&w, 0, "t", "c", 3), CL_OK);
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    w_expect(&w, 0, ""); /* parked: edge 1 is not back yet */
    w_connect(&w, 1);
    w_settle(&w);
    w_expect(&w, 0, "a!1 done:1=0 b!2 done:2=0 c!3 done:3=0 ");
    w_expect(&w, 1, "b c ");
    cle_stats(w.e[0].c, &s);
    assert_int_equal(s.resent, 2);
    assert_int_equal(s.confirmed, 3);
    cle_stats(w.e[1].c, &s);
    assert_int_equal(s.repeats, 1);
    assert_int_equal(s.gap_lost, 0);
    w_deinit(&w);
}

static void test_owner_restart_without_an_edge(void **state)
{
    (void)state;
    w_init(&w, 2);
    (void)w_sub(&w, 0, "t");
    (void)w_sub(&w, 1, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    w_expect(&w, 1, "ok:0 ");
    w_owner_kill(&w);
    assert_int_equal(w_pub(&w, 0, "t", "a", 1), CL_OK);
    assert_int_equal(w_pub(&w, 0, "u", "b", 2), CL_OK);
    w_owner_start(&w);
    w_connect(&w, 0);
    w_run(&w, 999);
    w_expect(&w, 0, "");
    w_run(&w, 1);
    w_expect(&w, 0, "a!1 done:1=0 done:2=0 ");
    w_connect(&w, 1);
    w_settle(&w);
    w_expect(&w, 1, "gap:1 "); /* it is told that it missed one */
    w_deinit(&w);
}

static void test_connection_lost(void **state)
{
    (void)state;
    w_init(&w, 2);
    (void)w_sub(&w, 0, "t");
    (void)w_sub(&w, 1, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    w_expect(&w, 1, "ok:0 ");

    /* Ordered, but the connection ends before the answer: the same owner knows the repeat. */
    assert_int_equal(w_pub(&w, 0, "t", "a", 1), CL_OK);
    assert_true(w_move_up(&w, 0));
    w_disconnect(&w, 0);
    assert_int_equal(w_pub(&w, 0, "t", "b", 2), CL_OK);
    assert_int_equal(w_pub(&w, 1, "t", "c", 3), CL_OK);
    w_settle(&w);
    w_expect(&w, 1, "a c!3 done:3=0 ");
    w_connect(&w, 0);
    w_settle(&w);
    w_expect(&w, 0, "gap:2 done:1=0 b!2 done:2=0 ");
    w_expect(&w, 1, "b ");
    w_deinit(&w);
}

static void test_given_up(void **state)
{
    struct cle_stats s;

    (void)state;
    w_init(&w, 1);
    w_owner_kill(&w);
    assert_int_equal(w_pub(&w, 0, "t", "a", 1), CL_OK);
    w_run(&w, 10);
    assert_int_equal(w_pub(&w, 0, "t", "b", 0), CL_OK);
    w_run(&w, CLE_HELD_MS - 10);
    w_expect(&w, 0, "done:1=2 ");
    w_run(&w, 10);
    w_expect(&w, 0, "");
    cle_stats(w.e[0].c, &s);
    assert_int_equal(s.unconfirmed, 2);
    assert_int_equal(s.held, 0);
    w_owner_start(&w);
    w_connect(&w, 0);
    assert_int_equal(w_pub(&w, 0, "t", "c", 3), CL_OK); /* a hole in oseq harms nobody */
    w_settle(&w);
    w_expect(&w, 0, "done:3=0 ");
    w_deinit(&w);
}

/* A kept one is neither given up nor refused, and others behind it are as ever. */
static void test_kept(void **state)
{
    static char text[1000001];
    struct cle_stats s;
    int taken = 0;

    (void)state;
    w_init(&w, 1);
    (void)w_sub(&w, 0, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    w_owner_kill(&w);
    assert_int_equal(cle_publish(w.e[0].c, w.now, pr_str("t"), PR_PUB_KEEP, pr_str("a"), 1), CL_OK);
    assert_int_equal(w_pub(&w, 0, "t", "b", 2), CL_OK);
    w_run(&w, CLE_HELD_MS);
    w_expect(&w, 0, "done:2=2 ");
    w_run(&w, 10 * CLE_HELD_MS);
    w_expect(&w, 0, "");
    memset(text, 'x', sizeof text - 1);
    while (w_pub(&w, 0, "u", text, 0) == CL_OK) {
        taken++;
    }
    assert_int_equal(taken, (CLE_HELD_BYTES_MAX - 200) / sizeof text);
    assert_int_equal(cle_publish(w.e[0].c, w.now, pr_str("u"), PR_PUB_KEEP, pr_str(text), 3),
                     CL_OK);
    w_check(&w);
    assert_int_equal(w_pub(&w, 0, "u", text, 0), CL_EAGAIN);
    w_run(&w, CLE_HELD_MS);
    cle_stats(w.e[0].c, &s);
    assert_int_equal(s.held, 2);
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    w_expect(&w, 0, "a!1 done:1=0 done:3=0 ");
    w_deinit(&w);
}

static void test_held_bound(void **state)
{
    static char text[1000001];
    int rv = CL_OK;
    int taken = 0;

    (void)state;
    w_init(&w, 1);
    w_owner_kill(&w);
    memset(text, 'x', sizeof text - 1);
    while (rv == CL_OK && taken < 100) {
        rv = w_pub(&w, 0, "t", text, 0);
        taken += rv == CL_OK;
    }
    assert_int_equal(rv, CL_EAGAIN);
    assert_int_equal(taken, CLE_HELD_BYTES_MAX / sizeof text);
    w_check(&w);
    assert_int_equal(cle_publish(w.e[0].c, w.now, pr_str(""), 0, pr_str(""), 0), CL_ERANGE);
    w_deinit(&w);
}

static void test_parked_bound(void **state)
{
    static char text[10001];
    struct cl_stats s;

    (void)state;
    w_init(&w, 2);
    w_owner_kill(&w);
    memset(text, 'x', sizeof text - 1);
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    for (uint64_t i = 1; i <= 7; i++) {
        assert_int_equal(w_pub(&w, 0, "t", text, i), CL_OK);
    }
    w_settle(&w);
    w_expect(&w, 0, "done:7=3 "); /* 64 KiB hold six of them */
    w_run(&w, 1000);
    w_expect(&w, 0, "done:1=0 done:2=0 done:3=0 done:4=0 done:5=0 done:6=0 ");
    cl_stats(w.cl, &s);
    assert_int_equal(s.pub_full, 1);
    assert_int_equal(s.parked, 6);
    w_deinit(&w);
}

/* No room to wait: kept ones come again, until all are ordered, once and in order. */
static void test_parked_bound_of_kept_ones(void **state)
{
    static char text[10001];
    struct cl_stats s;

    (void)state;
    w_init(&w, 2);
    w_owner_kill(&w);
    memset(text, 'x', sizeof text - 1);
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    for (uint64_t i = 1; i <= 9; i++) {
        assert_int_equal(cle_publish(w.e[0].c, w.now, pr_str("t"), PR_PUB_KEEP, pr_str(text), i),
                         CL_OK);
    }
    w_settle(&w);
    w_expect(&w, 0, "");
    w_run(&w, 2000);
    w_expect(&w, 0,
             "done:1=0 done:2=0 done:3=0 done:4=0 done:5=0 done:6=0 done:7=0 done:8=0 done:9=0 ");
    cl_stats(w.cl, &s);
    assert_int_equal(s.pub_full, 0);
    assert_int_equal(s.published, 9);
    w_deinit(&w);
}

static void test_many_parked_keep_their_order(void **state)
{
    char want[8192] = "";
    size_t len = 0;

    (void)state;
    w_init(&w, 2);
    (void)w_sub(&w, 0, "t");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 ");
    w_owner_kill(&w);
    for (unsigned i = 1; i <= 300; i++) {
        char text[16];

        (void)snprintf(text, sizeof text, "%u", i);
        assert_int_equal(
            cle_publish(w.e[0].c, w.now, pr_str(i % 2 ? "t" : "u"), 0, pr_str(text), 0), CL_OK);
        if (i % 2) {
            len += (size_t)snprintf(want + len, sizeof want - len, "%u!0 ", i);
        }
    }
    w_owner_start(&w);
    w_connect(&w, 0);
    w_connect(&w, 1);
    w_settle(&w);
    w_expect(&w, 0, want);
    w_deinit(&w);
}

static void test_bad_frames(void **state)
{
    static const struct {
        const char *name;
        uint8_t type;
        uint8_t cls;
    } cases[] = {
        {"a type of the shell", PR_T_CHG, PR_C_CHANGES},
        {"empty event", PR_T_EVENT, PR_C_BROADCAST},
        {"empty answer", PR_T_PUB_OK, PR_C_BROADCAST},
        {"empty fence", PR_T_SUB_OK, PR_C_CONTROL},
        {"empty diff", PR_T_P_DIFF, PR_C_PRESENCE},
        {"empty view", PR_T_P_VIEW, PR_C_PRESENCE},
        {"empty pull", PR_T_P_PULL, PR_C_PRESENCE},
        {"empty digest", PR_T_P_DIGEST, PR_C_PRESENCE},
    };
    struct pr_frame f = {0};
    struct pr_hello_ok ok = {.proto = 99};

    (void)state;
    w_init(&w, 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        f.type = cases[i].type;
        f.cls = cases[i].cls;
        if (cle_frame(w.e[0].c, w.now, &f) != CL_EPROTO) {
            fail_msg("%s was taken", cases[i].name);
        }
    }
    assert_int_equal(cle_link_up(w.e[0].c, w.now, &ok), CL_EPROTO);
    w_disconnect(&w, 0);
    assert_int_equal(cle_frame(w.e[0].c, w.now, &f), CL_ENOENT);
    w_deinit(&w);
}

static void test_limits(void **state)
{
    uint32_t handle = 0;
    bool subscribed = false;
    char topic[32];
    static char big[CLE_HELD_BYTES_MAX];

    (void)state;
    w_init(&w, 1);
    for (unsigned i = 0; i < 1000; i++) {
        (void)snprintf(topic, sizeof topic, "t%u", i);
        (void)w_sub(&w, 0, topic);
    }
    assert_int_equal(cle_subscribe(w.e[0].c, w.now, pr_str("x"), &handle, &subscribed), CL_ENOMEM);
    assert_int_equal(cle_subscribe(w.e[0].c, w.now, pr_str(""), &handle, &subscribed), CL_ERANGE);
    memset(big, 'x', sizeof big - 1);
    assert_int_equal(cle_presence_put(w.e[0].c, w.now, 0, 1, pr_str(big), pr_str("")), CL_ERANGE);
    assert_int_equal(cle_presence_put(w.e[0].c, w.now, 0, 1, pr_str("k"), pr_str(big)), CL_ERANGE);
    big[4u * 1024u * 1024u - 10] = '\0';
    assert_int_equal(cle_presence_put(w.e[0].c, w.now, 0, 1, pr_str("k"), pr_str(big)), CL_ENOMEM);
    for (uint32_t i = 0; i < 1000; i++) {
        w_put_pres(&w, 0, i, 1, "", "");
    }
    assert_int_equal(cle_presence_put(w.e[0].c, w.now, 0, 2, pr_str("k"), pr_str("m")), CL_ENOMEM);
    w_put_pres(&w, 0, 0, 1, "k", "m");
    w_settle(&w);
    w_disconnect(&w, 0);
    w_connect(&w, 0); /* all of it is told again, in portions */
    w_run(&w, 100);
    w_deinit(&w);
}

static void test_owner_full(void **state)
{
    struct cl_stats s;

    (void)state;
    w_init(&w, 1);
    w_owner_kill(&w);
    w.lim.topics = 1;
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    (void)w_sub(&w, 0, "a");
    (void)w_sub(&w, 0, "b");
    w_settle(&w);
    w_expect(&w, 0, "ok:0 failed:1 ");
    cl_stats(w.cl, &s);
    assert_int_equal(s.sub_refused, 1);
    cle_unsubscribe(w.e[0].c, w.now, 0);
    w_run(&w, CLE_UNSUB_MS);
    (void)w_sub(&w, 0, "b"); /* takes the place of one that nobody needs */
    w_settle(&w);
    w_expect(&w, 0, "ok:1 ");
    w_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_subscribe_and_publish),
        cmocka_unit_test(test_unsubscribe_waits),
        cmocka_unit_test(test_sub_timeout),
        cmocka_unit_test(test_unsub_never_passes_a_sub),
        cmocka_unit_test(test_owner_restart),
        cmocka_unit_test(test_owner_restart_without_an_edge),
        cmocka_unit_test(test_connection_lost),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_held_bound),
        cmocka_unit_test(test_parked_bound),
        cmocka_unit_test(test_parked_bound_of_kept_ones),
        cmocka_unit_test(test_many_parked_keep_their_order),
        cmocka_unit_test(test_bad_frames),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_owner_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
