/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what another node asks is answered for this one alone; what a node that is slow, gone, full
 * or wrong does to an answer is bounded, and told.
 */
#include "asks_world.h"

static void another_node_hears_of_this_one_alone(void **state)
{
    (void)state;
    node_asks(2, 77, "connections", "{\"at\":\"n3\"}"); /* one hop, whatever it says */
    assert_int_equal(w.nsent, 2);
    assert_true(was_sent(0, false, "connections") && was_sent(1, false, "connections"));
    answer(0, false, w.sent[0].id, "{\"edge\":0}\n", true);
    answer(1, false, w.sent[0].id, "", true);
    assert_int_equal(w.nsent, 4);
    assert_true(w.sent[2].to == 2 && w.sent[2].link && w.sent[2].id == 77 && !w.sent[2].last);
    assert_string_equal(w.sent[2].rows, "{\"node\":\"n1\",\"edge\":0}\n");
    assert_true(w.sent[3].last && w.sent[3].id == 77);

    node_asks(2, 78, "members", "{}"); /* no rows about others, unless it wants them */
    assert_non_null(strstr(w.sent[0].rows, "\"row\":\"self\""));
    assert_null(strstr(w.sent[0].rows, "\"row\":\"member\""));
    assert_true(w.sent[1].last);
    node_asks(2, 79, "nonsense", "{}");
    assert_string_equal(w.sent[0].rows, "{\"node\":\"n1\",\"error\":\"unknown command\"}\n");
    assert_true(w.sent[1].last);
}

/* Frames of nodes that make no sense here. */
static void a_wrong_node_changes_nothing(void **state)
{
    static const uint8_t damaged[] = {0, 0, 0, 5, PR_T_CTL, 1, 0, 0, 0x90};
    static struct rt_asker a;
    struct pr_frame f;
    uint32_t id;

    (void)state;
    ask(&a, "members", "{\"at\":\"n2\"}");
    id = w.sent[0].id;
    answer(3, true, id, "{\"node\":\"n3\"}\n", true); /* it was not asked */
    answer(2, true, id + 1, "{\"node\":\"n2\"}\n", true);
    assert_int_equal(pr_frame_next(pr_bytes(damaged, sizeof damaged), &f), (long)sizeof damaged);
    rt_owner_on_link_ctl(&w.o, 2, &f);
    f.type = PR_T_CTL_REPLY;
    rt_owner_on_link_ctl(&w.o, 2, &f);
    assert_int_equal(w.warnings, 2);
    assert_string_equal(a.rows, "");
    assert_false(a.ended);
    answer(2, true, id, "", true);
    assert_true(a.ended);

    /* Its answers are no answers to the question that it asks itself. */
    node_asks(2, 5, "connections", "{}");
    id = w.sent[0].id;
    answer(2, true, id, "{}\n", true);
    assert_int_equal(w.nsent, 2);
}

static void streams_end_where_they_began(void **state)
{
    static struct rt_asker a;
    struct ask *q;

    (void)state;
    ask(&a, "tail", "{\"topic\":\"t\"}");
    assert_true(was_sent(0, false, "sub") && !was_sent(1, false, "sub"));
    assert_true(was_sent(2, true, "tail") && was_sent(3, true, "tail"));
    q = a.user;
    assert_int_equal(q->timer.uv.timeout, 0);
    answer(0, false, q->id, "{\"n\":1}\n", false);
    answer(2, true, q->id, "{\"node\":\"n2\",\"n\":1}\n", false);
    assert_string_equal(a.rows, "{\"node\":\"n1\",\"n\":1}\n{\"node\":\"n2\",\"n\":1}\n");
    rt_owner_asks_node_lost(&w.o, 3);
    assert_false(a.ended);
    w.nsent = 0;
    control.on_gone(&w.o, &a);
    assert_int_equal(w.nsent, 2);
    assert_true(was_sent(0, false, RT_CONTROL_CANCEL) && was_sent(2, true, RT_CONTROL_CANCEL));

    /* The same from the other side: cancelled, or with the link. */
    node_asks(2, 9, "tail", "{\"topic\":\"t\"}");
    assert_int_equal(w.nsent, 1);
    node_asks(3, 9, RT_CONTROL_CANCEL, "{}"); /* that of another node */
    assert_int_equal(w.nsent, 0);
    node_asks(2, 9, RT_CONTROL_CANCEL, "{}");
    assert_int_equal(w.nsent, 1);
    assert_true(was_sent(0, false, RT_CONTROL_CANCEL));
    node_asks(2, 10, "tail", "{\"topic\":\"t\"}");
    w.nsent = 0;
    rt_owner_asks_node_lost(&w.o, 2);
    assert_true(was_sent(0, false, RT_CONTROL_CANCEL));
}

/* Goal: no queue grows over its bound, and what is left out is told. */
static void too_much_is_left_out_and_told(void **state)
{
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    ask(&a, "connections", "{\"local\":true}");
    id = w.sent[0].id;
    a.queued = RT_ASK_NEAR_BYTES + 1;
    answer(0, false, id, "{\"edge\":0}\n{\"edge\":0}\n", true);
    a.queued = 0;
    answer(1, false, id, "{\"edge\":1}\n", true);
    assert_string_equal(
        a.rows, "{\"node\":\"n1\",\"edge\":1}\n"
                "{\"node\":\"n1\",\"error\":\"2 rows were left out: there are too many\"}\n");

    w.link_full = true;
    node_asks(2, 11, "connections", "{}");
    answer(0, false, w.sent[0].id, "{}\n{}\n{}\n", true);
    w.link_full = false;
    answer(1, false, w.sent[0].id, "", true);
    assert_int_equal(w.nsent, 4);
    assert_non_null(strstr(w.sent[2].rows, "3 rows were left out"));
    assert_true(w.sent[3].last);

    w.topics = RT_LOOK_ROWS_MAX + 5; /* rows that are not even made; those made pass the bound */
    w.o.edge[0] = NULL;
    w.o.edge[1] = NULL;
    node_asks(2, 12, "topics", "{}");
    assert_true(w.sent[(w.nsent - 1) % 300].last);
    assert_non_null(strstr(w.sent[(w.nsent - 2) % 300].rows, "5 rows were left out"));
}

static void questions_of_nodes_are_bounded(void **state)
{
    static struct rt_asker a[RT_CONTROL_ASKERS_MAX];

    (void)state;
    for (uint32_t i = 0; i < RT_ASKS_FAR_MAX; i++) {
        node_asks(2, i, "connections", "{}");
        assert_int_equal(w.nsent, 2);
    }
    node_asks(3, 1, "connections", "{}");
    assert_int_equal(w.nsent, 1);
    assert_true(w.sent[0].to == 3 && w.sent[0].last);
    assert_string_equal(w.sent[0].rows,
                        "{\"node\":\"n1\",\"error\":\"it is asked too much at once\"}\n");
    /* There is room for all of realtimectl here. */
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        ask(&a[i], "connections", "{\"local\":true}");
        assert_int_equal(w.nsent, 2);
    }
    rt_owner_asks_node_lost(&w.o, 2);
    node_asks(3, 2, "connections", "{}");
    assert_int_equal(w.nsent, 2);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(another_node_hears_of_this_one_alone), IN_WORLD(a_wrong_node_changes_nothing),
        IN_WORLD(streams_end_where_they_began),         IN_WORLD(too_much_is_left_out_and_told),
        IN_WORLD(questions_of_nodes_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
