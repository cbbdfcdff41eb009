/* SPDX-License-Identifier: Apache-2.0 */
/* What an owner process answers realtimectl, by what its edges and its db say, or do not. */
#include "forked_world.h"

/* One question of realtimectl; rows joined, the end consumed. */
static void ask_start(struct link *l, const char *cmd, const char *args)
{
    struct pr_ctl m = {.id = 4, .cmd = pr_str(cmd), .args = pr_str(args)};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_ctl_encode(&o, &m);
    say(l, &o);
}

static void ask_end(struct link *l, char *rows, size_t cap)
{
    struct pr_ctl_reply m = {.last = false};
    struct pr_frame f;
    size_t n = 0;

    while (!m.last) {
        hear_type(l, PR_T_CTL_REPLY, &f);
        assert_int_equal(pr_ctl_reply_decode(&f, &m), PR_OK);
        assert_int_equal(m.id, 4);
        assert_true(m.rows.n < cap - n);
        memcpy(rows + n, m.rows.p, m.rows.n);
        n += m.rows.n;
    }
    rows[n] = '\0';
    hang_up(l);
}

static void answer(struct link *l, const char *cmd, const char *rows)
{
    struct pr_ctl_reply r = {.last = true, .rows = pr_str(rows)};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;
    struct pr_ctl q;

    hear_type(l, PR_T_CTL, &f);
    assert_int_equal(pr_ctl_decode(&f, &q), PR_OK);
    assert_true(pr_slice_is(q.cmd, cmd));
    r.id = q.id;
    pr_ctl_reply_encode(&o, &r);
    say(l, &o);
}

static void answers_realtimectl(void **state)
{
    struct world *w = *state;
    struct link *a = attach(w, PR_ROLE_EDGE, 0, 100);
    struct link *b = attach(w, PR_ROLE_EDGE, 1, 101);
    struct link *db;
    struct link *ctl;
    static const char key[] = "default\0000room";
    struct pr_sub sub = {.topic = {(const uint8_t *)key, sizeof key - 1}};
    uint8_t bytes[64];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;
    char rows[4096];

    pr_sub_encode(&o, &sub);
    say(a, &o);
    hear_type(a, PR_T_SUB_OK, &f);
    ctl = dial(w, "control.sock");
    ask_start(ctl, "topics", "{}");
    answer(a, "topics", "{\"edge\":0,\"topic\":\"room\",\"members\":2}\n");
    answer(b, "topics", "");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"topic\":\"room\",\"project\":\"default\",\"private\":false"));

    ctl = dial(w, "control.sock");
    ask_start(ctl, "connections", "{}");
    answer(a, "connections", "{\"edge\":0}\n");
    answer(b, "connections", "{\"edge\":1}\n");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "{\"node\":\"n1\",\"edge\":0}\n"));
    assert_non_null(strstr(rows, "{\"node\":\"n1\",\"edge\":1}\n"));

    ctl = dial(w, "control.sock");
    ask_start(ctl, "slots", "{}");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"error\":\"the db process is not attached\""));
    db = attach(w, PR_ROLE_DB, 0, 1);
    ctl = dial(w, "control.sock");
    ask_start(ctl, "slots", "{}");
    answer(db, "slots", "{\"state\":\"held\"}\n");
    ask_end(ctl, rows, sizeof rows);
    assert_string_equal(rows, "{\"node\":\"n1\",\"state\":\"held\"}\n");

    ctl = dial(w, "control.sock");
    ask_start(ctl, "nonsense", "{}");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"error\":\"unknown command\""));
    ctl = dial(w, "control.sock");
    ask_start(ctl, "presence", "[}");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"error\""));

    /* An edge that ends while it is asked is named; the others' rows are there. */
    ctl = dial(w, "control.sock");
    ask_start(ctl, "channels", "{}");
    answer(a, "channels", "{\"edge\":0}\n");
    hear_type(b, PR_T_CTL, &f);
    hang_up(b);
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "{\"node\":\"n1\",\"edge\":0}\n"));
    assert_non_null(strstr(rows, "edge 1 ended while it was asked"));

    /* A stream is cancelled when its asker goes. */
    ctl = dial(w, "control.sock");
    ask_start(ctl, "sub", "{\"topic\":\"room\"}");
    hear_type(a, PR_T_CTL, &f);
    hang_up(ctl);
    hear_type(a, PR_T_CTL, &f);
    hang_up(a);
    hang_up(db);
}

static void a_silent_edge_is_named_in_time(void **state)
{
    struct world *w = *state;
    struct link *a = attach(w, PR_ROLE_EDGE, 2, 100);
    struct link *ctl = dial(w, "control.sock");
    char rows[512];

    ask_start(ctl, "connections", "{}");
    ask_end(ctl, rows, sizeof rows);
    assert_string_equal(rows, "{\"node\":\"n1\",\"error\":\"edge 2 did not answer in time\"}\n");
    hang_up(a);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(answers_realtimectl),
        IN_WORLD(a_silent_edge_is_named_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
