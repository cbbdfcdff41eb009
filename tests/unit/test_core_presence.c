/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: presence shows who is there and nobody else, whichever node looks, when views change, links
 * flap and processes end.
 */
#include "nodes_play.h"

static struct nodes w;

/* Every node has a member who is present in the topic; that of `i` wants to see all. */
static uint32_t gather(uint32_t nodes, const char *t, uint32_t i)
{
    static const char *const names[N_NODES] = {"a", "b", "c"};
    uint32_t mine = 0;

    for (uint32_t k = 0; k < nodes; k++) {
        uint32_t topic = n_sub(&w, k, 0, t);

        n_put_pres(&w, k, 0, topic, names[k]);
        mine = k == i ? topic : mine;
    }
    n_run(&w, 2000);
    n_want(&w, i, 0, mine, true);
    n_run(&w, 2000);
    return mine;
}

/* The last thing told is the state, with all of them. Diffs before it are of what it shows. */
static void whole(const char *log)
{
    const char *view = strstr(log, "view[");

    if (view == NULL || strstr(view, "+a={}") == NULL || strstr(view, "+b={}") == NULL ||
        strstr(view, "+c={}") == NULL || strstr(view, "diff") != NULL) {
        fail_msg("not the whole state: %s", log);
    }
}

/* Wherever the topic is owned: the first state is whole, and nothing but a real change shows. */
static void test_presence(void **state)
{
    (void)state;
    for (uint32_t owner = 0; owner < N_NODES; owner++) {
        for (uint32_t i = 0; i < N_NODES; i++) {
            const char *t = NULL;
            const char *log = w.n[i].e[0].log;
            uint32_t gone = (i + 1) % N_NODES;
            uint32_t topic = 0;

            n_init_with(&w, 3, 1);
            t = n_topic_of(&w, ABC, owner, 0);
            topic = gather(3, t, i);
            whole(log);
            n_forget(&w);
            n_del_pres(&w, gone, 0, topic);
            n_run(&w, 2000);
            n_expect(&w, i, 0,
                     gone == A   ? "diff[-a={}] "
                     : gone == B ? "diff[-b={}] "
                                 : "diff[-c={}] ");
            n_put_pres(&w, gone, 0, topic, "again");
            n_run(&w, 2000);
            n_expect(&w, i, 0, "diff[+again={}] ");
            n_kill(&w, gone);
            n_run(&w, 8000);
            n_expect(&w, i, 0, "diff[-again={}] ");
            n_deinit(&w);
        }
    }
}

/* Owner processes that come back, links that end and come, nodes that come: nobody has left. */
static void test_presence_does_not_flap(void **state)
{
    (void)state;
    for (uint32_t owner = 0; owner < N_NODES; owner++) {
        for (uint32_t k = 0; k < N_NODES; k++) {
            const char *t = NULL;

            n_init_with(&w, 3, 1);
            t = n_topic_of(&w, ABC, owner, 0);
            (void)gather(3, t, A);
            n_forget(&w);
            if (k != A) {
                n_flap(&w, A, k);
                n_run(&w, 3000);
            }
            n_flap(&w, k, (k + 1) % N_NODES);
            n_run(&w, 20000);
            n_expect(&w, A, 0, "");
            n_owner_kill(&w, k);
            n_run(&w, 100);
            n_owner_start(&w, k);
            n_connect(&w, k, 0);
            n_run(&w, 20000);
            if (k != A) {
                n_expect(&w, A, 0, "");
            } else {
                whole(w.n[A].e[0].log);
            }
            n_deinit(&w);
        }
    }
}

static void test_presence_when_nodes_come_and_go(void **state)
{
    (void)state;
    for (uint32_t was = 0; was < 2; was++) {
        const char *t = NULL;

        n_init_with(&w, 2, 1);
        t = n_topic(&w, AB, was, ABC, C, 0);
        (void)gather(2, t, A);
        n_forget(&w);
        n_start(&w, C, 1);
        n_run(&w, 5000);
        assert_int_equal(n_owner(&w, A, t), C);
        n_expect(&w, A, 0, "");
        (void)gather(3, t, A);
        n_forget(&w);
        n_leave(&w, C);
        n_run(&w, 1100);
        n_expect(&w, A, 0, "");
        n_run(&w, 2000);
        n_kill(&w, C);
        n_run(&w, 5000);
        n_expect(&w, A, 0, "diff[-c={}] ");
        n_deinit(&w);
    }
}

/* Who leaves while the link to the topic's owner is down, and with it the last member of its node.
 */
static void test_presence_after_a_cut(void **state)
{
    const char *t = NULL;
    uint32_t topic = 0;

    (void)state;
    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, A, 0);
    (void)gather(2, t, A);
    topic = n_sub(&w, C, 0, t);
    n_put_pres(&w, C, 0, topic, "c");
    n_run(&w, 2000);
    n_forget(&w);
    n_cut(&w, A, C, true);
    n_run(&w, 100);
    n_del_pres(&w, C, 0, topic);
    cle_unsubscribe(w.n[C].e[0].c, w.now, topic);
    n_run(&w, 8000);
    n_expect(&w, A, 0, "");
    n_cut(&w, A, C, false);
    n_run(&w, 6000); /* it is dialled again within 5 s */
    n_expect(&w, A, 0, "diff[-c={}] ");
    n_deinit(&w);
}

/* A frame that a full link has dropped, with nothing behind it: nodes compare, and ask once. */
static void test_presence_compared(void **state)
{
    const char *t = NULL;
    struct cl_stats st;
    uint32_t topic = 0;

    (void)state;
    n_init_with(&w, 3, 1);
    t = n_topic_of(&w, ABC, B, 0);
    topic = gather(3, t, A);
    n_want(&w, C, 0, topic, true);
    n_run(&w, 1000);
    n_forget(&w);
    w.n[C].to[B].data.held = true;
    n_del_pres(&w, C, 0, topic);
    n_settle(&w);
    assert_int_equal(n_length(&w.n[C].to[B].data), 1);
    n_queue_clear(&w.n[C].to[B].data);
    w.n[C].to[B].data.held = false;
    n_run(&w, 5000);
    n_expect(&w, A, 0, "");
    n_run(&w, 60000);
    n_expect(&w, A, 0, "diff[-c={}] ");
    cl_stats(w.n[B].cl, &st);
    assert_int_equal(st.sums_differ, 1);
    n_deinit(&w);
}

/* Members stay, but nobody wants presence any more: the topic's owner is told at once. */
static void test_presence_no_longer_wanted(void **state)
{
    const char *t = NULL;
    struct cl_stats st;
    uint32_t topic = 0;

    (void)state;
    n_init_with(&w, 2, 1);
    t = n_topic_of(&w, AB, B, 0);
    topic = gather(2, t, A);
    assert_int_equal(cle_presence_want(w.n[A].e[0].c, w.now, topic, false), CL_OK);
    n_drain_edge(&w, &w.n[A].e[0]);
    n_settle(&w);
    w.n[B].to[A].data.held = true;
    n_del_pres(&w, B, 0, 0);
    n_settle(&w);
    assert_int_equal(n_length(&w.n[B].to[A].data), 0);
    w.n[B].to[A].data.held = false;
    n_run(&w, 60000);
    cl_stats(w.n[B].cl, &st);
    assert_int_equal(st.sums_differ, 0);
    n_deinit(&w);
}

/* What does not fit differs for ever: to tell everything again helps less each time. */
static void test_presence_that_does_not_fit(void **state)
{
    const char *t = NULL;
    struct cl_stats st;

    (void)state;
    n_init(&w);
    w.lim.presences_per_topic = 1;
    n_start(&w, B, 1);
    w.lim.presences_per_topic = 1000;
    n_start(&w, A, 1);
    n_start(&w, C, 1);
    n_run(&w, 6000);
    t = n_topic_of(&w, ABC, B, 0);
    (void)gather(3, t, A);
    n_run(&w, 600000);
    cl_stats(w.n[B].cl, &st);
    assert_in_range(st.sums_differ, 2, 20);
    n_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_presence_does_not_flap),
        cmocka_unit_test(test_presence_when_nodes_come_and_go),
        cmocka_unit_test(test_presence_after_a_cut),
        cmocka_unit_test(test_presence_compared),
        cmocka_unit_test(test_presence_no_longer_wanted),
        cmocka_unit_test(test_presence_that_does_not_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
