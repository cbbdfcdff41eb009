/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: by its arguments, a question of realtimectl asks exactly those whom it should; nobody is
 * missing without a word; what is told is rows that say whose they are.
 */
#include "asks_world.h"

static void all_are_asked_and_rows_say_whose_they_are(void **state)
{
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    ask(&a, "connections", "{}");
    assert_int_equal(w.nsent, 4);
    assert_true(was_sent(0, false, "connections") && was_sent(1, false, "connections"));
    assert_true(was_sent(2, true, "connections") && was_sent(3, true, "connections"));
    id = w.sent[0].id;
    answer(0, false, id, "{\"edge\":0}\n{}\nno object\n{\"edge\":7}", true);
    answer(2, true, id, "{\"node\":\"n2\",\"edge\":0}\n", false);
    answer(1, false, id, "", true);
    answer(2, true, id, "", true);
    assert_false(a.ended);
    answer(3, true, id, "{\"node\":\"n3\",\"edge\":0}\n", true);
    assert_true(a.ended);
    assert_string_equal(a.rows, "{\"node\":\"n1\",\"edge\":0}\n{\"node\":\"n1\"}\n"
                                "{\"node\":\"n1\",\"edge\":7}\n{\"node\":\"n2\",\"edge\":0}\n"
                                "{\"node\":\"n3\",\"edge\":0}\n");
    /* What comes now comes too late, and does no harm. */
    answer(3, true, id, "{\"node\":\"n3\"}\n", true);
    answer(0, false, id, "{}\n", true);
}

/* Goal: by the arguments, exactly those who should be asked are. */
static void who_is_asked(void **state)
{
    static const struct {
        const char *cmd, *args;
        bool edge0, edge1, db, n2, n3;
    } cases[] = {
        {"connections", "{}", true, true, false, true, true},
        {"connections", "{\"local\":true}", true, true, false, false, false},
        {"connections", "{\"local\":5}", true, true, false, true, true},
        {"connections", "{\"at\":\"n1\"}", true, true, false, false, false},
        {"connections", "{\"at\":\"n3\"}", false, false, false, false, true},
        {"connections", "no JSON", true, true, false, true, true},
        {"channels", "{}", true, true, false, true, true},
        {"topics", "{}", true, true, false, true, true},
        {"slots", "{}", false, false, true, true, true},
        {"slots", "{\"at\":\"n2\"}", false, false, false, true, false},
        {"doctor", "{}", false, false, true, false, false},
        {"doctor", "{\"at\":\"n2\"}", false, false, false, true, false},
        {"pub", "{}", true, false, false, false, false},
        {"sub", "{}", true, false, false, false, false},
        {"members", "{}", false, false, false, true, true},
        {"ring", "{\"topic\":\"t\"}", false, false, false, true, true},
        {"events", "{}", false, false, false, true, true},
        {"presence", "{\"topic\":\"t\"}", false, false, false, true, true},
        {"status", "{}", false, false, false, true, true},
        {"nonsense", "{}", false, false, false, false, false},
        {"", "", false, false, false, false, false},
    };
    static struct rt_asker a;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t want =
            0u + cases[i].edge0 + cases[i].edge1 + cases[i].db + cases[i].n2 + cases[i].n3;

        ask(&a, cases[i].cmd, cases[i].args);
        if (w.nsent != want || was_sent(0, false, cases[i].cmd) != cases[i].edge0 ||
            was_sent(RT_EDGES_MAX, false, cases[i].cmd) != cases[i].db ||
            was_sent(2, true, cases[i].cmd) != cases[i].n2 ||
            was_sent(3, true, cases[i].cmd) != cases[i].n3) {
            fail_msg("%s %s: %u were asked", cases[i].cmd, cases[i].args, w.nsent);
        }
        assert_int_equal(a.ended, want == 0);
        if (!a.ended) {
            control.on_gone(&w.o, &a);
        }
    }
}

/* Goal: nobody is missing without a word. */
static void who_does_not_answer_is_named(void **state)
{
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    w.member[2].linked = false;
    w.member[2].state = "suspect";
    ask(&a, "connections", "{}");
    id = w.sent[0].id;
    answer(0, false, id, "", true);
    time_over(&a);
    assert_true(a.ended);
    assert_string_equal(a.rows,
                        "{\"node\":\"n3\",\"error\":\"not asked: it is suspect and has no link\"}\n"
                        "{\"node\":\"n1\",\"error\":\"edge 1 did not answer in time\"}\n"
                        "{\"node\":\"n2\",\"error\":\"it did not answer in time\"}\n");
    answer(2, true, id, "{}\n", true);

    ask(&a, "slots", "{}");
    rt_owner_asks_lost(&w.o, &w.peer[2]);
    rt_owner_asks_lost(&w.o, &w.peer[2]);
    rt_owner_asks_node_lost(&w.o, 2);
    rt_owner_asks_node_lost(&w.o, 2);
    assert_true(a.ended);
    assert_non_null(
        strstr(a.rows,
               "{\"node\":\"n1\",\"error\":\"db of project default ended while it was asked\"}\n"));
    assert_non_null(
        strstr(a.rows, "{\"node\":\"n2\",\"error\":\"its link ended while it was asked\"}\n"));

    ask(&a, "connections", "{\"at\":\"nobody\"}");
    assert_true(a.ended);
    assert_string_equal(a.rows,
                        "{\"node\":\"n1\",\"error\":\"no node of that name is known here\"}\n");
    ask(&a, "connections", "{\"at\":\"n4\"}");
    assert_string_equal(a.rows,
                        "{\"node\":\"n4\",\"error\":\"not asked: it is dead and has no link\"}\n");
    w.link_refuses = true;
    ask(&a, "members", "{\"at\":\"n2\"}");
    assert_true(a.ended && strstr(a.rows, "not asked") != NULL);
    w.o.edge[0] = NULL;
    w.o.edge[1] = NULL;
    w.o.db[0] = NULL;
    ask(&a, "pub", "{}");
    assert_true(a.ended && strstr(a.rows, "no edge process is attached") != NULL);
    ask(&a, "doctor", "{}");
    assert_true(a.ended && strstr(a.rows, "the db process is not attached") != NULL);
}

/* Goal: what is told is JSON on one line each, whatever clients have written. */
static void rows_are_json_on_one_line(void **state)
{
    static const struct {
        const char *cmd, *args, *expect;
    } cases[] = {
        {"presence", "{\"local\":true,\"topic\":\"t\"}", "\"meta\":{ \"a\": 1}"},
        {"presence", "{\"local\":true,\"topic\":\"realtime:t\"}", "\"topic\":\"t\""},
        {"presence", "{\"local\":true,\"topic\":\"t\",\"digest\":true}",
         "\"shown\":1,\"hidden\":0"},
        {"presence", "{\"local\":true}", "presence needs the name of a topic"},
        {"ring", "{\"local\":true,\"topic\":\"t\"}", "\"owner\":\"n2\",\"next\":[\"n1\"]"},
        {"ring", "{\"local\":true}", "\"row\":\"self\""},
        {"members", "{\"local\":true,\"why\":\"n3\"}", "\"name\":\"n3\""},
        {"status", "{\"local\":true}", "\"edges_attached\":2"},
        {"events", "{\"local\":true,\"n\":-3}", ""},
        {"events", "{\"local\":true,\"n\":1}", "\"kind\":\"view\""},
        {"events", "{\"local\":true,\"n\":99999999}", "\"kind\":\"view\""},
    };
    static struct rt_asker a;

    (void)state;
    rt_event(w.o.events, RT_EVT_VIEW, "a\nb", rt_kv_u("n", 1));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *line = a.rows;

        ask(&a, cases[i].cmd, cases[i].args);
        assert_true(a.ended);
        if (strstr(a.rows, cases[i].expect) == NULL) {
            fail_msg("%s %s: %s", cases[i].cmd, cases[i].args, a.rows);
        }
        while (*line != '\0') {
            char *end = strchr(line, '\n');
            json_t *j;

            assert_non_null(end);
            j = json_loadb(line, (size_t)(end - line), 0, NULL);
            assert_string_equal(json_string_value(json_object_get(j, "node")), "n1");
            json_decref(j);
            line = end + 1;
        }
    }
}

static void a_long_topic_is_refused(void **state)
{
    static struct rt_asker a;
    static char args[PR_TOPIC_KEY_MAX + 100];

    (void)state;
    memset(args, 'x', sizeof args - 1);
    memcpy(args, "{\"local\":true,\"topic\":\"", 23);
    memcpy(args + sizeof args - 3, "\"}", 3);
    ask(&a, "ring", args);
    assert_true(a.ended && strstr(a.rows, "the name of the topic is too long") != NULL);
    ask(&a, "presence", args);
    assert_true(a.ended);
    assert_string_equal(a.rows, "");
}

/* Of several projects some questions need one, all may name one, and db processes are told apart.
 */
static void one_project_of_several(void **state)
{
    static const char *const need[] = {"pub", "sub", "tail", "bindings", "explain", "presence"};
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    w.nprojects = 2;
    w.cfg.sections = true;
    for (size_t i = 0; i < sizeof need / sizeof need[0]; i++) {
        ask(&a, need[i], "{\"topic\":\"t\"}");
        assert_true(a.ended && w.nsent == 0);
        assert_string_equal(a.rows, "{\"node\":\"n1\",\"error\":\"name a project by --project: "
                                    "default other\"}\n");
        ask(&a, need[i], "{\"topic\":\"t\",\"project\":\"default\"}");
        assert_true(!a.ended && w.nsent > 0);
        control.on_gone(&w.o, &a);
    }
    ask(&a, "ring", "{\"topic\":\"t\"}");
    assert_true(a.ended && w.nsent == 0);
    ask(&a, "ring", "{}");
    assert_false(a.ended);
    control.on_gone(&w.o, &a);
    ask(&a, "connections", "{\"project\":\"nobody\"}");
    assert_true(a.ended && w.nsent == 0);

    ask(&a, "doctor", "{}");
    assert_string_equal(a.rows,
                        "{\"node\":\"n1\",\"error\":\"the db process of project other is not "
                        "attached\"}\n");
    w.other = (struct peer){
        .owner = &w.o, .ipc = &w.ipc[2], .role = PR_ROLE_DB, .index = 1, .project = "other"};
    w.o.db[1] = &w.other;
    control.on_gone(&w.o, &a);
    ask(&a, "doctor", "{\"project\":\"default\"}");
    assert_int_equal(w.nsent, 1);
    answer(RT_EDGES_MAX, false, w.sent[0].id, "", true);
    assert_true(a.ended);
    ask(&a, "doctor", "{}");
    assert_int_equal(w.nsent, 2);
    id = w.sent[0].id;
    answer(RT_EDGES_MAX, false, id, "{\"check\":\"a\"}\n", true);
    assert_false(a.ended);
    rt_owner_asks_lost(&w.o, &w.other);
    assert_true(a.ended);
    assert_string_equal(a.rows,
                        "{\"node\":\"n1\",\"check\":\"a\"}\n{\"node\":\"n1\",\"error\":\"db of "
                        "project other ended while it was asked\"}\n");
}

/* Topics of one project, if it is named. */
static void topics_of_a_project(void **state)
{
    static struct rt_asker a;

    (void)state;
    w.nprojects = 2;
    w.topics = 1;
    ask(&a, "topics", "{\"local\":true,\"project\":\"other\"}");
    assert_null(strstr(a.rows, "\"project\":\"default\""));
    control.on_gone(&w.o, &a);
    ask(&a, "topics", "{\"project\":\"default\"}");
    assert_non_null(strstr(a.rows, "\"project\":\"default\""));
    control.on_gone(&w.o, &a);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(all_are_asked_and_rows_say_whose_they_are),
        IN_WORLD(who_is_asked),
        IN_WORLD(who_does_not_answer_is_named),
        IN_WORLD(rows_are_json_on_one_line),
        IN_WORLD(a_long_topic_is_refused),
        IN_WORLD(one_project_of_several),
        IN_WORLD(topics_of_a_project),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
