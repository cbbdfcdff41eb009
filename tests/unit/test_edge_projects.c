/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: two projects on one edge share nothing that a client could see, and one that is added,
 * changed, removed or back again leaves the other alone.
 */
#include "edge_world.h"

#include <unistd.h>

#define RED      "red-secret-of-32-characters-or-more-"
#define BLUE     "blue-secret-of-32-characters-or-more"
#define DATABASE "database_url = postgresql://nobody@127.0.0.1:1/"
#define CUT                                                                                        \
    "['1',null,'realtime:a','system',{'extension':'system','status':'ok','message':'Server "       \
    "requested disconnect'}]\n"

static char file[64];
/* The settings with all that a test adds to a project of its own. */
static const char red_only[] =
    "[project red]\njwt_secret = " RED "\n" DATABASE "red\naliases = rouge\n";

static void settings(const char *red, const char *blue)
{
    FILE *f = fopen(file, "we");

    assert_non_null(f);
    assert_true(fprintf(f, "%s%s\n", red_only, red) >= 0);
    if (blue != NULL) {
        assert_true(
            fprintf(f, "[project blue]\njwt_secret = " BLUE "\n" DATABASE "blue\n%s\n", blue) >= 0);
    }
    assert_int_equal(fclose(f), 0);
    rt_projects_reload(w.e, true);
    settle();
}

/* Red and blue, in the place of "default". */
static void open_both(const char *red, const char *blue)
{
    world_open(NULL);
    (void)snprintf(file, sizeof file, "/tmp/realtime-test-projects.%d", (int)getpid());
    w.args.config_path = file;
    settings(red, blue);
    assert_int_equal(w.e->nprojects, 2);
    w.db_len = 0;
}

static void close_both(void)
{
    world_close();
    (void)unlink(file);
}

static void ask(struct rt_conn *c, const struct rt_request *r, const char *host, const char *key)
{
    c->name[0] = "host";
    c->value[0] = host;
    c->name[1] = r->websocket ? "x-api-key" : "apikey";
    c->value[1] = key;
    c->name[2] = "content-type";
    c->value[2] = "application/json";
    c->nheaders = 3;
    rt_http_request(w.e, c, r);
    c->nheaders = 0; /* they were the caller's */
}

static struct rt_conn *handshake(const char *host, const char *secret)
{
    struct rt_conn *c = calloc(1, sizeof *c);
    struct rt_request r = {.method = pr_str("GET"),
                           .path = pr_str("/socket/websocket"),
                           .query = pr_str("vsn=2.0.0"),
                           .websocket = true,
                           .peer = "127.0.0.1"};
    char *token = token_by(secret, "anon");

    ask(c, &r, host, token);
    free(token);
    if (c->upgraded) {
        rt_socket_opened(c->user);
    }
    return c;
}

static void refused(const char *host, const char *secret, int status, const char *body)
{
    struct rt_conn *c = handshake(host, secret);

    assert_false(c->upgraded);
    assert_int_equal(c->status, status);
    assert_string_equal(c->body, body);
    free(c);
}

static struct rt_project *project_of(const char *name)
{
    struct rt_project *p = rt_project_of(w.e, pr_str(name));

    assert_non_null(p);
    return p;
}

static struct rt_conn *member(const char *host, const char *secret, const char *config)
{
    struct rt_conn *c = handshake(host, secret);
    char text[256];

    assert_true(c->upgraded);
    (void)snprintf(text, sizeof text, "['1','1','realtime:a','phx_join',{'config':{%s}}]", config);
    send_text(c, text);
    return c;
}

static struct rt_conn *joined(const char *host, const char *secret, const char *config)
{
    struct rt_conn *c = member(host, secret, config);

    assert_non_null(strstr(heard(c), "'status':'ok'"));
    return c;
}

/* What went to the owner since the last call. */
static const char *told(void)
{
    static char out[HEARD_MAX];

    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

static void gone(struct rt_conn *c)
{
    rt_socket_gone(c->user);
    free(c);
    settle();
}

static void nothing_crosses(void **state)
{
    static const char presence[] = "'presence':{'enabled':true}";
    struct rt_conn *red = NULL;
    struct rt_conn *rouge = NULL;
    struct rt_conn *blue = NULL;

    (void)state;
    open_both("", "");
    red = joined("red.example.com", RED, presence);
    rouge = joined("rouge", RED, presence);
    blue = joined("BLUE:4000", BLUE, presence);
    send_text(red, "['1','2','realtime:a','broadcast',{'type':'broadcast','event':'e'}]");
    send_text(red, "['1','3','realtime:a','presence',{'event':'track','payload':{'n':1}}]");
    assert_string_equal(heard(blue), "");
    assert_non_null(strstr(heard(rouge), "'joins'"));
    (void)heard(red);
    send_text(blue, "['1','2','realtime:a','broadcast',{'type':'broadcast','event':'e'}]");
    assert_string_equal(heard(red), "");
    assert_string_equal(heard(rouge), "");
    gone(joined("blue", BLUE, presence)); /* its presence_state has nobody of red */
    assert_int_equal(project_of("red")->nclients, 2);
    assert_int_equal(project_of("blue")->nclients, 1);
    close_both();
}

/* A batch to topic "a". */
static struct rt_conn *post(const char *host, const char *secret)
{
    struct rt_conn *c = calloc(1, sizeof *c);
    struct rt_request r = {
        .method = pr_str("POST"),
        .path = pr_str("/api/broadcast"),
        .query = pr_str(""),
        .peer = "127.0.0.1",
        .body = pr_str("{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":{}}]}")};
    char *token = token_by(secret, "anon");

    ask(c, &r, host, token);
    free(token);
    settle();
    return c;
}

static void posted(const char *host, const char *secret, int status)
{
    struct rt_conn *c = post(host, secret);

    assert_int_equal(c->status, status);
    free(c);
}

static void keys_open_their_project_alone(void **state)
{
    static const char bad[] = "{\"error\":\"Failed to validate JWT signature\"}";
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;
    char *token = token_by(BLUE, "anon");
    char text[6000];

    (void)state;
    open_both("", "");
    refused("red", BLUE, 401, bad);
    refused("blue", RED, 401, bad);
    red = joined("red", RED, "");
    blue = joined("blue", BLUE, "");
    posted("red", BLUE, 401);
    assert_string_equal(heard(red), "");
    posted("red", RED, 202);
    assert_non_null(strstr(heard(red), "'event':'e'"));
    assert_string_equal(heard(blue), "");
    (void)snprintf(text, sizeof text,
                   "['2','2','realtime:b','phx_join',{'config':{},'access_token':'%s'}]", token);
    send_text(red, text);
    assert_non_null(strstr(heard(red), "'status':'error'"));
    (void)snprintf(text, sizeof text, "['1','3','realtime:a','access_token',{'access_token':'%s'}]",
                   token);
    send_text(red, text);
    assert_non_null(strstr(heard(red), "phx_close"));
    send_text(blue, text); /* his own */
    assert_string_equal(heard(blue), "");
    free(token);
    close_both();
}

static void a_host_of_no_project(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    open_both("", "");
    refused("green", RED, 404, "{\"error\":\"Tenant not found\"}");
    refused("", RED, 404, "{\"error\":\"Tenant not found\"}");
    c = post("127.0.0.1:4000", RED);
    assert_int_equal(c->status, 401);
    assert_string_equal(c->body, "{\"message\":\"Tenant not found in database\"}");
    free(c);
    close_both();
}

static void say_elsewhere(const char *name, uint64_t count)
{
    struct pr_clients m = {.count = count, .project = pr_str(name)};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_clients_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
}

static void limits_are_their_own(void **state)
{
    static const char full[] = "{\"error\":\"Too many connected users\"}";
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;

    (void)state;
    open_both("max_clients = 3\nmax_channels_per_client = 1\nmax_events_per_second = 1", "");
    red = joined("red", RED, "");
    blue = joined("blue", BLUE, "");
    assert_string_equal(told(), "clients red 1\n"); /* blue has no such limit */
    send_text(red, "['2','2','realtime:b','phx_join',{'config':{}}]");
    assert_non_null(strstr(heard(red), "ChannelRateLimitReached"));
    send_text(blue, "['2','2','realtime:b','phx_join',{'config':{}}]");
    assert_non_null(strstr(heard(blue), "'status':'ok'"));
    posted("red", RED, 202);
    posted("red", RED, 429);
    posted("blue", BLUE, 202);
    posted("blue", BLUE, 202);
    say_elsewhere("blue", 100);
    say_elsewhere("green", 100);
    assert_true(handshake("red", RED)->upgraded);
    say_elsewhere("red", 2);
    refused("red", RED, 429, full);
    assert_true(handshake("blue", BLUE)->upgraded);
    close_both();
}

static void answer(uint64_t id, const char *project, uint32_t read)
{
    struct pr_rights m = {.project = pr_str(project), .boot = BOOT, .id = id, .read = read};
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_rights_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* Equal questions of two projects are two, and so are their answers. */
static void rights_are_asked_of_each(void **state)
{
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;
    uint64_t of_red = 0;

    (void)state;
    open_both("", "");
    red = member("red", RED, "'private':true");
    assert_string_equal(told(), "ask a anon 1 0\n");
    assert_string_equal(w.ask_project, "red");
    of_red = w.ask_id;
    blue = member("blue", BLUE, "'private':true");
    assert_string_equal(told(), "ask a anon 1 0\n");
    assert_string_equal(w.ask_project, "blue");
    answer(of_red, "red", PR_EXT_BROADCAST);
    assert_non_null(strstr(heard(red), "'status':'ok'"));
    assert_string_equal(heard(blue), "");
    answer(w.ask_id, "blue", 0);
    assert_non_null(strstr(heard(blue), "Unauthorized"));
    answer(0, "green", 0);
    close_both();
}

static void changed_settings_count_at_once(void **state)
{
    struct rt_conn *red = NULL;
    struct rt_conn *blue = NULL;

    (void)state;
    open_both("", "");
    red = joined("red", RED, "");
    blue = joined("blue", BLUE, "");
    settings("", "max_channels_per_client = 1\nmax_clients = 1");
    assert_string_equal(told(), "clients blue 1\n");
    send_text(blue, "['2','2','realtime:b','phx_join',{'config':{}}]");
    assert_non_null(strstr(heard(blue), "ChannelRateLimitReached"));
    send_text(red, "['2','2','realtime:b','phx_join',{'config':{}}]");
    assert_non_null(strstr(heard(red), "'status':'ok'"));
    settings("publishable_keys = sb_publishable_one", "private_only = on");
    assert_int_equal(red->close_code, 0);
    assert_int_equal(blue->close_code, 1012);
    close_both();
}

/* The reader's word on a registration of blue. */
static void verdict(uint32_t handle, uint32_t status)
{
    struct pr_chg_reg_ok m = {.project = pr_str("blue"),
                              .boot = BOOT,
                              .handle = handle,
                              .status = status,
                              .life = project_of("blue")->changes->life};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_chg_reg_ok_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

static void removed_and_back(void **state)
{
    static const char changes[] =
        "'postgres_changes':[{'event':'*','schema':'public','table':'t'}]";
    struct rt_conn *red = NULL;
    struct rt_conn *old = NULL;
    struct rt_conn *asking = NULL;
    struct rt_conn *blue = NULL;

    (void)state;
    open_both("", "max_clients = 5");
    red = joined("red", RED, "");
    old = member("blue", BLUE, changes);
    (void)heard(old);
    (void)told();
    asking = member("blue", BLUE, "'private':true");
    assert_string_equal(told(), "ask a anon 1 0\n");
    settings("", NULL);
    assert_string_equal(heard(old), CUT);
    assert_int_equal(old->close_code, 1012);
    assert_int_equal(asking->close_code, 1012);
    assert_string_equal(told(), "clients blue 0\nunreg 1\n");
    /* The only project is meant by every host. */
    refused("blue", BLUE, 401, "{\"error\":\"Failed to validate JWT signature\"}");
    assert_int_equal(red->close_code, 0);
    assert_string_equal(heard(red), "");

    settings("", "max_clients = 5"); /* the sockets of before are still there */
    assert_string_equal(told(), "clients blue 0\n");
    blue = member("blue", BLUE, changes);
    assert_string_equal(told(), "reg 2 * public.t  anon\n");
    w.e->tell.fn(w.e->tell.ctx); /* the moment is over */
    settle();
    assert_string_equal(told(), "clients blue 1\n");
    verdict(1, PR_CHG_REFUSED); /* of the one before */
    verdict(2, PR_CHG_LIVE);
    assert_non_null(strstr(heard(blue), "Subscribed to PostgreSQL"));
    gone(member("blue", BLUE, "'private':true")); /* shares no question with the one before */
    assert_non_null(strstr(told(), "ask a anon 1 0\n"));
    gone(old);
    gone(asking);
    assert_int_equal(project_of("blue")->nclients, 1);
    send_text(blue, "['1','2','realtime:a','broadcast',{'type':'broadcast','event':'e'}]");
    posted("blue", BLUE, 202);
    assert_non_null(strstr(heard(blue), "'event':'e'"));
    assert_string_equal(heard(red), "");
    close_both();
}

/* Two signals come before the sockets of the first have left their channels. */
static void a_topic_outlives_its_project(void **state)
{
    struct rt_conn *old = NULL;
    struct rt_conn *blue = NULL;
    FILE *f = NULL;

    (void)state;
    open_both("", "");
    old = joined("blue", BLUE, "'presence':{'enabled':true}");
    f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fputs(red_only, f) >= 0);
    assert_int_equal(fclose(f), 0);
    rt_projects_reload(w.e, true); /* nothing is flushed */
    f = fopen(file, "we");
    assert_non_null(f);
    assert_true(fprintf(f, "%s[project blue]\njwt_secret = " BLUE "\n", red_only) >= 0);
    assert_int_equal(fclose(f), 0);
    rt_projects_reload(w.e, true);
    blue = handshake("blue", BLUE);
    rt_socket_message(blue->user,
                      pr_str("[\"1\",\"1\",\"realtime:a\",\"phx_join\",{\"config\":{\"presence\":"
                             "{\"enabled\":true}}}]"),
                      true);
    gone(old);
    send_text(blue, "['1','3','realtime:a','presence',{'event':'track','payload':{}}]");
    assert_non_null(strstr(heard(blue), "'joins'"));
    close_both();
}

/* One that this node does not know, or not yet, is no fault of the owner's. */
static void frames_of_unknown_projects(void **state)
{
    struct pr_chg_sync sync = {.project = pr_str("green"), .round = 7};
    struct pr_chg_reg_ok ok = {.project = pr_str("green"), .boot = BOOT, .handle = 1};
    struct pr_chg chg = {.project = pr_str("green"), .stream = 1, .last = {.lsn = 9, .seq = 1}};
    struct pr_reader reader = {.project = pr_str("green"), .state = PR_READER_HELD, .casts = 1};
    struct pr_cast cast = {.project = pr_str("green"),
                           .stream = 1,
                           .pos = {.lsn = 9, .seq = 1},
                           .topic = pr_bytes("green\0000a", 8)};
    uint8_t memory[1024];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    (void)state;
    open_both("", "");
    pr_chg_sync_encode(&o, &sync);
    pr_chg_reg_ok_encode(&o, &ok);
    pr_chg_encode(&o, &chg);
    pr_reader_encode(&o, &reader);
    pr_cast_encode(&o, &cast);
    assert_true(pr_out_ok(&o));
    to_edge(pr_bytes(memory, o.len));
    settle();
    assert_string_equal(told(), "synced 7\nok 9.1\n");
    assert_true(w.e->link.up);
    assert_int_equal(w.e->nforeign, 1);
    close_both();
}

static void asked_by(const char *name, uint64_t round)
{
    struct pr_chg_sync sync = {.project = pr_str(name), .round = round};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_chg_sync_encode(&o, &sync);
    to_edge(pr_bytes(memory, o.len));
}

/* The readers of both ask, while the link has room for little: none waits for the other's, and none
 * for ever if its project goes. */
static void registrations_take_turns(void **state)
{
    const char *text = NULL;

    (void)state;
    open_both("", "");
    (void)member("red.x", RED, "'postgres_changes':[{'table':'r1'},{'table':'r2'}]");
    (void)member("blue.x", BLUE, "'postgres_changes':[{'table':'b1'},{'table':'b2'}]");
    (void)told();
    asked_by("red", 3);
    asked_by("blue", 4);
    w.ipc.behind = RT_REGS_TURN_BYTES;
    rt_regs_run(w.e);
    rt_regs_run(w.e);
    w.ipc.behind = RT_REGS_LINK_BYTES;
    settle();
    text = told();
    assert_non_null(strstr(text, "public.r"));
    assert_non_null(strstr(text, "public.b"));
    assert_null(strstr(text, "synced"));
    settings("", NULL);
    text = told();
    assert_non_null(strstr(text, "synced 4"));
    assert_null(strstr(text, "synced 3"));
    w.ipc.behind = 0;
    settle();
    assert_non_null(strstr(told(), "synced 3"));
    close_both();
}

/* Another node reads its database: that is said once, not when the project comes back here. */
static void flow_outlives_the_project(void **state)
{
    struct pr_reader m = {.project = pr_str("blue"), .state = PR_READER_HELD, .casts = 1};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    (void)state;
    open_both("", "");
    pr_reader_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    assert_true(project_of("blue")->replicating);
    settings("", NULL);
    settings("", "");
    assert_true(project_of("blue")->replicating);
    assert_false(project_of("red")->replicating);
    assert_int_equal(w.e->nforeign, 0);
    close_both();
}

/* What came while the project was away went to nobody: it is read again before more is published.
 */
static void broadcasts_of_a_late_project(void **state)
{
    struct pr_reader m = {.project = pr_str("blue"), .state = PR_READER_HELD, .casts = 1};
    struct pr_cast cast = {.project = pr_str("blue"),
                           .stream = 1,
                           .pos = {.lsn = 9, .seq = 1},
                           .topic = pr_bytes("blue\0000a", 7)};
    uint8_t memory[256];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    (void)state;
    open_both("", "");
    pr_reader_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settings("", NULL);
    o = pr_outbuf(memory, sizeof memory);
    pr_cast_encode(&o, &cast);
    to_edge(pr_bytes(memory, o.len));
    assert_true(w.e->link.up);
    settings("", "");
    to_edge(pr_bytes(memory, o.len));
    assert_false(w.e->link.up);
    w.e->link.retry.fn(w.e->link.retry.ctx);
    settle();
    to_edge(pr_bytes(memory, o.len));
    assert_true(w.e->link.up);
    close_both();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_crosses),
        cmocka_unit_test(keys_open_their_project_alone),
        cmocka_unit_test(a_host_of_no_project),
        cmocka_unit_test(limits_are_their_own),
        cmocka_unit_test(rights_are_asked_of_each),
        cmocka_unit_test(changed_settings_count_at_once),
        cmocka_unit_test(removed_and_back),
        cmocka_unit_test(a_topic_outlives_its_project),
        cmocka_unit_test(frames_of_unknown_projects),
        cmocka_unit_test(registrations_take_turns),
        cmocka_unit_test(flow_outlives_the_project),
        cmocka_unit_test(broadcasts_of_a_late_project),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
