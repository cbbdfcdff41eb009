/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what two projects share on one edge, room for questions of rights and their answers, a
 * project in trouble does not take from the other; realtimectl has to say which one it means.
 */
#include "edge_world.h"

#include <unistd.h>
#include <uv.h>

static char file[64];
/* Of all clients of a test: a second later another one would be another user's. */
static char token[4096];

static void settings(void)
{
    static const char text[] = "[project red]\njwt_secret = " SECRET "\n"
                               "database_url = postgresql://nobody@127.0.0.1:1/red\n"
                               "max_channels_per_client = 2000\n"
                               "max_client_joins_per_second = 0\n"
                               "auth_cache_ms = 60000\n"
                               "[project blue]\njwt_secret = " SECRET "\n"
                               "database_url = postgresql://nobody@127.0.0.1:1/blue\n";
    FILE *f = fopen(file, "we");

    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    rt_projects_reload(w.e, true);
    settle();
}

/* Red and blue, in the place of "default". */
static void open_both(void)
{
    world_open(NULL);
    (void)snprintf(file, sizeof file, "/tmp/realtime-test-shares.%d", (int)getpid());
    w.args.config_path = file;
    settings();
    assert_int_equal(w.e->nprojects, 2);
    (void)snprintf(token, sizeof token, "%s", token_of("anon", 3600));
    w.db_len = 0;
}

static void close_both(void)
{
    world_close();
    (void)unlink(file);
}

static struct rt_project *project_of(const char *name)
{
    struct rt_project *p = rt_project_of(w.e, pr_str(name));

    assert_non_null(p);
    return p;
}

static struct rt_conn *member(const char *host)
{
    struct rt_conn *c = calloc(1, sizeof *c);
    struct rt_request r = {.method = pr_str("GET"),
                           .path = pr_str("/socket/websocket"),
                           .query = pr_str("vsn=2.0.0"),
                           .websocket = true,
                           .peer = "127.0.0.1"};

    c->name[0] = "host";
    c->value[0] = host;
    c->name[1] = "x-api-key";
    c->value[1] = token;
    c->nheaders = 2;
    rt_http_request(w.e, c, &r);
    c->nheaders = 0;
    assert_true(c->upgraded);
    rt_socket_opened(c->user);
    return c;
}

static void join(struct rt_conn *c, const char *topic)
{
    char text[128];

    (void)snprintf(text, sizeof text,
                   "['1','1','realtime:%s','phx_join',{'config':{'private':true}}]", topic);
    send_text(c, text);
}

/* What was asked since the last call. */
static const char *asked(void)
{
    static char out[HEARD_MAX];

    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

static void answer(const char *project, uint64_t id, uint32_t status)
{
    struct pr_rights m = {.project = pr_str(project),
                          .boot = id == 0 ? 0 : BOOT,
                          .id = id,
                          .status = status,
                          .read = PR_EXT_BROADCAST};
    uint8_t memory[256];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_rights_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* The database of red does not answer. */
static void a_database_that_hangs(void **state)
{
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;
    uint32_t n = 0;

    (void)state;
    open_both();
    red = member("red");
    blue = member("blue");
    while (red->len == 0) {
        char topic[16];

        (void)snprintf(topic, sizeof topic, "t%u", n++);
        join(red, topic);
        assert_true(n <= RT_ACCESS_ASKS);
    }
    assert_non_null(strstr(heard(red), "IncreaseConnectionPool"));
    assert_int_equal(n - 1, RT_ACCESS_ASKS / 2);
    assert_int_equal(project_of("red")->asks, RT_ACCESS_ASKS / 2);
    (void)asked();
    join(blue, "a");
    assert_string_equal(asked(), "ask a anon 1 0\n");
    answer("blue", w.ask_id, PR_RIGHTS_DONE);
    assert_non_null(strstr(heard(blue), "'status':'ok'"));
    assert_int_equal(project_of("blue")->asks, 0);
    close_both();
}

static void bytes_that_wait(void **state)
{
    static const size_t mb = 1024 * 1024;
    const size_t all = RT_ACCESS_BYTES_MAX / mb;
    struct rt_project *p = NULL;
    struct rt_project *other = NULL;
    size_t n = 0;

    (void)state;
    world_open(NULL);
    p = w.e->projects[0];
    assert_true(rt_access_hold(p, RT_ACCESS_BYTES_MAX)); /* the only one */
    assert_false(rt_access_hold(p, 1));
    rt_access_release(p, RT_ACCESS_BYTES_MAX);
    world_close();

    open_both();
    p = project_of("red");
    other = project_of("blue");
    while (rt_access_hold(p, mb)) {
        n++;
    }
    assert_int_equal(n, all / 2);
    for (n = 0; rt_access_hold(other, mb);) {
        n++;
    }
    assert_int_equal(n, all / 4);
    rt_access_release(p, all / 2 * mb);
    rt_access_release(other, all / 4 * mb);
    assert_int_equal(w.e->private_bytes, 0);
    close_both();
}

/* One more request whose body is on its way in. */
static struct rt_conn *upload(const char *host)
{
    struct rt_conn *c = calloc(1, sizeof *c);
    struct rt_request r = {
        .method = pr_str("POST"), .path = pr_str("/api/broadcast"), .body_due = true};

    c->name[0] = "host";
    c->value[0] = host;
    c->name[1] = "apikey";
    c->value[1] = token;
    c->nheaders = 2;
    rt_http_request(w.e, c, &r);
    assert_true(c->body_wanted);
    return c;
}

static void bodies_on_their_way(void **state)
{
    const size_t all = RT_UPLOAD_BYTES_MAX;
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;

    (void)state;
    open_both();
    red = upload("red");
    blue = upload("blue");
    assert_true(rt_upload_grown(red, 1000));
    assert_true(rt_upload_grown(red, all / 2));
    assert_false(rt_upload_grown(red, all / 2 + 1));
    assert_true(rt_upload_grown(blue, all / 4));
    assert_false(rt_upload_grown(blue, all / 4 + 1));
    assert_true(rt_upload_end(red));
    assert_int_equal(w.e->upload_bytes, all / 4);
    assert_true(rt_upload_grown(blue, all / 2));
    assert_true(rt_upload_end(blue));
    assert_false(rt_upload_end(blue));
    assert_int_equal(w.e->upload_bytes, 0);
    free(red);
    free(blue);
    close_both();
}

/* Until something is asked. */
static const char *asked_again(void)
{
    while (w.db_len == 0) {
        (void)uv_run(rt_loop_uv(w.e->loop), UV_RUN_ONCE);
        settle();
    }
    return asked();
}

/* Nobody answers, forgets or asks again for another project. */
static void answers_are_their_own(void **state)
{
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;
    uint64_t of_red = 0;

    (void)state;
    open_both();
    red = member("red");
    blue = member("blue");
    join(red, "a");
    of_red = w.ask_id;
    join(blue, "b");
    assert_string_equal(asked(), "ask a anon 1 0\nask b anon 1 0\n");
    answer("blue", of_red, PR_RIGHTS_DONE);
    assert_string_equal(heard(red), "");
    answer("blue", 0, PR_RIGHTS_AWAY);
    assert_string_equal(asked_again(), "ask b anon 1 0\n");
    answer("red", of_red, PR_RIGHTS_DONE);
    assert_non_null(strstr(heard(red), "'status':'ok'"));
    answer("blue", 0, PR_RIGHTS_CHANGED);
    join(member("red"), "a");
    assert_string_equal(asked(), ""); /* it is still known */
    answer("red", 0, PR_RIGHTS_CHANGED);
    join(member("red"), "a");
    assert_string_equal(asked(), "ask a anon 1 0\n");
    close_both();
}

static const char *ctl(const char *cmd, const char *args)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_ctl m = {.id = 7, .cmd = pr_str(cmd), .args = pr_str(args)};

    w.ctl_len = 0;
    pr_ctl_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
    w.ctl[w.ctl_len] = '\0';
    return w.ctl;
}

static void which_one_is_meant(void **state)
{
    static const char *const cmds[] = {"pub", "sub", "bindings"};
    static const char error[] = "7. {\"error\":\"name a project by --project: red blue\"}\n";
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;

    (void)state;
    open_both();
    for (size_t i = 0; i < sizeof cmds / sizeof cmds[0]; i++) {
        assert_string_equal(ctl(cmds[i], "{\"topic\":\"a\",\"event\":\"e\"}"), error);
        assert_string_equal(ctl(cmds[i], "{\"topic\":\"a\",\"event\":\"e\",\"project\":\"green\"}"),
                            error);
    }
    red = member("red");
    blue = member("blue");
    send_text(red, "['1','1','realtime:a','phx_join',{'config':{}}]");
    send_text(blue, "['1','1','realtime:a','phx_join',{'config':{}}]");
    (void)heard(red);
    (void)heard(blue);
    assert_string_equal(ctl("pub", "{\"topic\":\"a\",\"event\":\"e\",\"project\":\"blue\"}"),
                        "7. {\"published\":true}\n");
    assert_string_equal(heard(red), "");
    assert_non_null(strstr(heard(blue), "<kind 4>"));
    assert_non_null(strstr(ctl("bindings", "{\"topic\":\"a\",\"project\":\"red\"}"),
                           "\"project\":\"red\",\"topic\":\"realtime:a\""));
    close_both();
}

/* Rows of a large answer that would leave no room for what clients cause are left out, and that is
 * said. */
static void an_owner_that_is_behind(void **state)
{
    const char *out = NULL;
    const char *said = NULL;
    struct rt_conn *c = NULL;
    unsigned long rows = 0;

    (void)state;
    open_both();
    c = member("red");
    for (int i = 0; i < 300; i++) {
        char text[512];

        (void)snprintf(text, sizeof text, "['1','1','realtime:%0200d','phx_join',{'config':{}}]",
                       i);
        send_text(c, text);
        (void)heard(c);
    }
    w.ipc.behind = RT_IPC_QUEUE_MAX / 2 + 1;
    out = ctl("channels", "{}");
    for (const char *at = out; (at = strchr(at, '\n')) != NULL; at++) {
        rows++;
    }
    assert_int_equal(strncmp(out, "7. {", 4), 0);
    said = strstr(out, "{\"error\":\"");
    assert_non_null(said);
    said += strlen("{\"error\":\"");
    assert_non_null(strstr(said, " rows were left out: there are too many\"}\n"));
    assert_int_equal(strtoul(said, NULL, 10) + rows - 1, 300);
    assert_string_equal(ctl("pub", "{\"topic\":\"a\",\"event\":\"e\",\"project\":\"red\"}"),
                        "7. {\"published\":true}\n");
    w.ipc.behind = 0;
    close_both();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_database_that_hangs), cmocka_unit_test(bytes_that_wait),
        cmocka_unit_test(bodies_on_their_way),   cmocka_unit_test(answers_are_their_own),
        cmocka_unit_test(which_one_is_meant),    cmocka_unit_test(an_owner_that_is_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
