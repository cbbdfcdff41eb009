/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_world.h"

/* One request with a good token, or `key`. Gives the connection with the answer. */
static struct rt_conn *ask(const char *method, const char *path, const char *query,
                           const char *body, const char *type)
{
    static char auth[4200];
    struct rt_conn *c = calloc(1, sizeof *c);
    struct rt_request r = {.method = pr_str(method),
                           .path = pr_str(path),
                           .query = pr_str(query),
                           .body = pr_str(body),
                           .peer = "127.0.0.1"};

    (void)snprintf(auth, sizeof auth, "beaREr %s", token_of("anon", 100));
    c->name[0] = "authorization";
    c->value[0] = auth;
    c->name[1] = "content-type";
    c->value[1] = type;
    c->name[2] = "origin";
    c->value[2] = "http://x";
    c->nheaders = 3;
    rt_http_request(w.e, c, &r);
    settle();
    return c;
}

static void check(struct rt_conn *c, int status, const char *body)
{
    if (c->status != status || strcmp(c->body, body) != 0) {
        fail_msg("%d %s, wanted %d %s", c->status, c->body, status, body);
    }
    free(c);
}

static void routes(void **state)
{
    static const struct {
        const char *method, *path;
        int status;
        const char *body;
    } rows[] = {
        {"GET", "/healthcheck", 200, "ok"},
        {"GET", "/healthcheck/", 200, "ok"},
        {"HEAD", "/healthz", 200, ""},
        {"POST", "/healthz", 405, "{\"message\":\"method not allowed\"}"},
        {"GET", "/readyz", 200,
         "{\"node\":\"n\",\"owner\":\"up\",\"draining\":false,\"database\":\"none\","
         "\"cluster\":\"alone\"}"},
        {"GET", "/api/ping", 200, "{\"message\":\"Success\"}"},
        {"HEAD", "/api/tenants/x/health", 200, ""},
        {"GET", "/api/tenants/x/health", 200,
         "{\"data\":{\"healthy\":true,\"db_connected\":false,\"replication_connected\":false,"
         "\"connected_cluster\":1,\"region\":null,\"node\":\"n\"}}"},
        {"GET", "/api/tenants", 404, "{\"message\":\"not found\"}"},
        {"GET", "/metrics", 404, "{\"message\":\"not found\"}"},
        {"GET", "/socket/longpoll", 404, "{\"message\":\"not found\"}"},
        {"GET", "/", 404, "{\"message\":\"not found\"}"},
        {"GET", "/a/b/c/d/e/f/g/h", 404, "{\"message\":\"not found\"}"},
        {"GET", "/realtime/v1/realtime/v1/websocket", 404, "{\"message\":\"not found\"}"},
        {"GET", "/api/broadcast", 405, "{\"message\":\"method not allowed\"}"},
        {"GET", "/socket/websocket", 400,
         "{\"message\":\"a WebSocket upgrade request is needed here\"}"},
        {"POST", "/realtime/v1/websocket", 400,
         "{\"message\":\"a WebSocket upgrade request is needed here\"}"},
        {"OPTIONS", "/realtime/v1/api/broadcast", 204, ""},
        {"OPTIONS", "/nowhere", 404, "{\"message\":\"not found\"}"},
    };

    (void)state;
    world_open(NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(ask(rows[i].method, rows[i].path, "apikey=x&vsn=2.0.0", "", ""), rows[i].status,
              rows[i].body);
    }
    world_close();
}

/* Not before the node has joined, and enough others with it if so set. */
static void readiness(void **state)
{
    static const struct {
        const char *expect, *seen; /* setting; "cluster" of the answer */
        bool clustered, joined;
        uint32_t members;
        int status;
    } rows[] = {
        {"0", "alone", false, false, 0, 200},   {"0", "joining", true, false, 0, 503},
        {"0", "joining", true, false, 3, 503},  {"0", "alone", true, true, 1, 200},
        {"0", "3 members", true, true, 3, 200}, {"1", "alone", true, true, 1, 200},
        {"3", "joining", true, false, 3, 503},  {"3", "alone", true, true, 1, 503},
        {"3", "2 members", true, true, 2, 503}, {"3", "3 members", true, true, 3, 200},
        {"3", "4 members", true, true, 4, 200},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct pr_cluster said = {.joined = rows[i].joined, .members = rows[i].members};
        char setting[64], want[200];
        const char *settings[] = {"REALTIME_CLUSTER_INSECURE=on", setting, NULL};
        uint8_t memory[64];
        struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

        (void)snprintf(setting, sizeof setting, "REALTIME_CLUSTER_EXPECT=%s", rows[i].expect);
        world_open(rows[i].clustered ? settings : NULL);
        if (rows[i].joined || rows[i].members > 0) {
            pr_cluster_encode(&o, &said);
            to_edge(pr_bytes(memory, o.len));
        }
        (void)snprintf(want, sizeof want,
                       "{\"node\":\"n\",\"owner\":\"up\",\"draining\":false,\"database\":"
                       "\"none\",\"cluster\":\"%s\"}",
                       rows[i].seen);
        check(ask("GET", "/readyz", "", "", ""), rows[i].status, want);
        world_close();
    }
}

static void batches(void **state)
{
    static const struct {
        const char *body;
        int status;
        const char *answer;
    } rows[] = {
        {"{", 400, "{\"message\":\"the body is not JSON\"}"},
        {"", 400, "{\"message\":\"the body is not JSON\"}"},
        {"{}", 422, "{\"errors\":{\"messages\":[\"can't be blank\"]}}"},
        {"[]", 422, "{\"errors\":{\"messages\":[\"can't be blank\"]}}"},
        {"{\"messages\":null}", 422, "{\"errors\":{\"messages\":[\"can't be blank\"]}}"},
        {"{\"messages\":[]}", 422, "{\"errors\":{\"messages\":[\"can't be blank\"]}}"},
        {"{\"messages\":5}", 422, "{\"errors\":{\"messages\":[\"is invalid\"]}}"},
        {"{\"messages\":[{\"topic\":\"t\"},{\"payload\":{}},"
         "{\"topic\":\"a\",\"event\":\"e\",\"payload\":{}}]}",
         422,
         "{\"errors\":{\"messages\":[{\"event\":[\"can't be blank\"],\"payload\":[\"can't be "
         "blank\"]},{\"topic\":[\"can't be blank\"],\"event\":[\"can't be blank\"]},{}]}}"},
        {"{\"messages\":[{\"topic\":5,\"event\":\"\",\"payload\":[],\"id\":\"x\",\"private\":1}]}",
         422,
         "{\"errors\":{\"messages\":[{\"topic\":[\"is invalid\"],\"event\":[\"can't be blank\"],"
         "\"payload\":[\"is invalid\"],\"private\":[\"is invalid\"],\"id\":[\"is invalid\"]}]}}"},
        {"{\"messages\":[{\"topic\":\"a\\u0000\",\"event\":\"e\",\"payload\":{}},7]}", 422,
         "{\"errors\":{\"messages\":[{\"topic\":[\"is invalid\"]},{\"topic\":[\"can't be blank\"],"
         "\"event\":[\"can't be blank\"],\"payload\":[\"can't be blank\"]}]}}"},
        {"{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":{\"n\":1}},"
         "{\"topic\":\"b\",\"event\":\"e\",\"payload\":{}},"
         "{\"topic\":\"a\",\"event\":\"p\",\"payload\":{},\"private\":true},"
         "{\"topic\":\"a\",\"event\":\"f\",\"payload\":{},"
         "\"id\":\"12345678-1234-1234-1234-1234567890ab\"}]}",
         202, ""},
    };
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    send_text(c, "['1','1','realtime:a','phx_join',{'config':{}}]");
    (void)heard(c);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_string_equal(heard(c), "");
        check(ask("POST", "/api/broadcast", "", rows[i].body, "application/json"), rows[i].status,
              rows[i].answer);
    }
    assert_string_equal(heard(c),
                        "[null,null,'realtime:a','broadcast',{'event':'e','payload':{'n':1},'type':"
                        "'broadcast'}]\n"
                        "[null,null,'realtime:a','broadcast',{'event':'f','payload':{},'type':"
                        "'broadcast','meta':{'id':'12345678-1234-1234-1234-1234567890ab'}}]\n");
    world_close();
}

/* Goal: the answer to a body of nothing but faults is not many times its size. */
static void faults_beyond_a_thousand(void **state)
{
    static const char fault[] = "{\"topic\":[\"can't be blank\"],\"event\":[\"can't be blank\"],"
                                "\"payload\":[\"can't be blank\"]}";
    static const char begin[] = "{\"errors\":{\"messages\":[";
    static char body[20000];
    struct rt_conn *c = NULL;
    char want[400];

    (void)state;
    world_open(NULL);
    memset(body, ' ', sizeof body - 1);
    memcpy(body, "{\"messages\":[0", 14);
    for (size_t i = 14; i + 20 < sizeof body; i += 2) {
        memcpy(body + i, ",0", 2);
    }
    memcpy(body + sizeof body - 3, "]}", 2);
    c = ask("POST", "/api/broadcast", "", body, "");
    assert_int_equal(c->status, 422);
    (void)snprintf(want, sizeof want, "%s%s,%s,", begin, fault, fault);
    assert_memory_equal(c->body, want, strlen(want));
    /* 334 messages of three faults each. */
    assert_int_equal(c->body_len, strlen(begin) + 334 * sizeof fault - 1 + strlen("]}}"));
    free(c);
    world_close();
}

static void singles(void **state)
{
    static const struct {
        const char *path, *query, *body, *type;
        int status;
        const char *answer;
    } rows[] = {
        {"/api/broadcast/a/events/b", "", "x", "text/plain", 415,
         "{\"error\":\"Unsupported Media Type. Use application/json or "
         "application/octet-stream\"}"},
        {"/api/broadcast/a/events/b", "private=true", "{}", "", 422,
         "{\"message\":\"Tenant database unavailable\"}"},
        {"/api/broadcast/a/events/b", "persist=true", "{}", "", 422,
         "{\"errors\":{\"persist\":[\"can only be used on private channels\"]}}"},
        {"/api/broadcast/a/events/b", "persist%5Bttl%5D=60", "{}", "", 422,
         "{\"errors\":{\"persist\":[\"can only be used on private channels\"]}}"},
        {"/api/broadcast/a/events/b", "", "{", "application/json", 400,
         "{\"message\":\"the body is not JSON\"}"},
        {"/api/broadcast/a%/events/b", "", "{}", "application/json", 400,
         "{\"message\":\"the path is not percent-encoded as it must be\"}"},
        {"/api/broadcast/a%ff/events/b", "", "{}", "application/json", 422,
         "{\"errors\":{\"topic\":[\"is invalid\"]}}"},
        {"/api/broadcast/a/events/b", "", "01234567", "application/octet-stream", 202, ""},
        {"/realtime/v1/api/broadcast/%61/events/ev%20t%2F1/", "private=false", "[1]",
         "application/json; charset=utf-8", 202, ""},
    };
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    send_text(c, "['1','1','realtime:a','phx_join',{'config':{}}]");
    (void)heard(c);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        check(ask("POST", rows[i].path, rows[i].query, rows[i].body, rows[i].type), rows[i].status,
              rows[i].answer);
    }
    assert_string_equal(heard(c), "<kind 4>realtime:ab01234567\n<kind 4>realtime:aev t/1[1]\n");
    world_close();
}

static void headers_and_tokens(void **state)
{
    struct rt_conn *c = NULL;
    struct rt_request r = {.method = pr_str("POST"), .path = pr_str("/api/broadcast")};

    (void)state;
    world_open(NULL);
    c = ask("POST", "/api/broadcast", "", "{}", "");
    assert_non_null(strstr(c->headers, "access-control-allow-origin: *\n"));
    assert_non_null(strstr(c->headers, "x-request-id: "));
    assert_non_null(strstr(c->headers, "x-rate-limit: 0\n"));
    free(c);
    for (uint32_t i = 0; i < 4; i++) {
        static const char *const names[] = {"authorization", "authorization", "apikey", "x"};
        static const char *const values[] = {"Bearer nope", "nonsense", "nope", ""};

        c = calloc(1, sizeof *c);
        c->name[0] = names[i];
        c->value[0] = values[i];
        c->nheaders = 1;
        rt_http_request(w.e, c, &r);
        check(c, 401, "{\"message\":\"Unauthorized\"}");
    }
    world_close();
}

static void a_suspended_project(void **state)
{
    static const char *const settings[] = {"REALTIME_SUSPEND=on", NULL};
    static const char *const paths[] = {"/api/broadcast", "/api/broadcast/a/events/b"};

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < 2; i++) {
        struct rt_conn *c = ask("POST", paths[i], "", "{}", "");

        assert_non_null(strstr(c->headers, "access-control-allow-origin: *\n"));
        assert_non_null(strstr(c->headers, "x-request-id: "));
        check(c, 403, "{\"message\":\"Tenant is suspended\"}");
    }
    world_close();
}

static void payloads_that_are_too_large(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_PAYLOAD_KB=1", NULL};
    static const struct {
        size_t bytes;
        int single, batch;
    } rows[] = {{1000, 202, 202}, {1001, 422, 422}};

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        bool fits = rows[i].single == 202;
        char payload[1100], body[1400];

        (void)snprintf(payload, sizeof payload, "{\"x\":\"%0*d\"}", (int)rows[i].bytes - 8, 0);
        assert_int_equal(strlen(payload), rows[i].bytes);
        check(ask("POST", "/api/broadcast/a/events/b", "", payload, ""), rows[i].single,
              fits ? "" : "{\"errors\":{\"payload\":[\"Payload size exceeds tenant limit\"]}}");
        (void)snprintf(body, sizeof body,
                       "{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":{}},"
                       "{\"topic\":\"a\",\"event\":\"e\",\"payload\":%s}]}",
                       payload);
        check(ask("POST", "/api/broadcast", "", body, ""), rows[i].batch,
              fits ? ""
                   : "{\"errors\":{\"messages\":[{},{\"payload\":[\"Payload size exceeds tenant "
                     "limit\"]}]}}");
    }
    world_close();
}

/* What is answered to the last question of rights. */
static void say_rights(uint32_t status, uint32_t raised)
{
    struct pr_rights m = {.project = pr_str("default"),
                          .boot = BOOT,
                          .id = w.ask_id,
                          .status = status,
                          .raised = raised};
    uint8_t memory[256];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_rights_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

static void private_singles_that_are_refused(void **state)
{
    static const char *const settings[] = {
        "REALTIME_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none", "REALTIME_AUTH_CACHE_MS=0",
        NULL};
    static const struct {
        uint32_t status, raised;
        int code;
        const char *body;
    } rows[] = {
        {PR_RIGHTS_DONE, 0, 403, "{\"message\":\"Unauthorized\"}"},
        {PR_RIGHTS_DONE, PR_EXT_BROADCAST, 422, "{\"message\":\"RLS policy error\"}"},
        {PR_RIGHTS_LACK, 0, 422, "{\"message\":\"Tenant database has too many connections\"}"},
        {PR_RIGHTS_BUSY, 0, 429, "{\"message\":\"Connection pool exhausted\"}"},
        {PR_RIGHTS_CANCELED, 0, 422, "{\"message\":\"Query canceled\"}"},
        {PR_RIGHTS_PARTITION, 0, 422, "{\"message\":\"Missing messages partition\"}"},
        {PR_RIGHTS_READ_ONLY, 0, 500, "{\"message\":\"Unable to authorize broadcast\"}"},
        {PR_RIGHTS_DOWN, 0, 422, "{\"message\":\"Tenant database unavailable\"}"},
    };

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_conn *c = ask("POST", "/api/broadcast/a/events/b", "private=true", "{}", "");

        assert_int_equal(c->status, 0);
        say_rights(rows[i].status, rows[i].raised);
        check(c, rows[i].code, rows[i].body);
    }
    world_close();
}

/* No room for what waits: not even asked. */
static void private_requests_without_room(void **state)
{
    static const char *const settings[] = {
        "REALTIME_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none", NULL};
    static const char *const batch =
        "{\"messages\":[{\"topic\":\"a\",\"event\":\"e\",\"payload\":{},\"private\":true}]}";
    static const char *const full = "{\"message\":\"Connection pool exhausted\"}";

    (void)state;
    world_open(settings);
    assert_true(rt_access_hold(w.e->projects[0], RT_ACCESS_BYTES_MAX));
    check(ask("POST", "/api/broadcast/a/events/b", "private=true", "{}", ""), 429, full);
    check(ask("POST", "/api/broadcast", "", batch, ""), 429, full);
    rt_access_release(w.e->projects[0], RT_ACCESS_BYTES_MAX);
    world_close();
}

/* Goal: a client that comes over a connection of before is sent elsewhere, and told when. */
static void connects_to_one_that_stops(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    w.e->draining = true;
    c = knock("vsn=2.0.0", token_of("anon", 100));
    assert_false(c->upgraded);
    assert_non_null(strstr(c->headers, "retry-after: 1\n"));
    check(c, 503, "{\"error\":\"Realtime is restarting, please standby\"}");
    w.e->draining = false;
    world_close();
}

static void handshakes(void **state)
{
    static const char *const settings[] = {"REALTIME_PUBLISHABLE_KEYS=sb_publishable_x", NULL};
    static const struct {
        const char *query, *header;
        int status; /* 0: let in */
        const char *body;
    } rows[] = {
        {"vsn=2.0.0", NULL, 401, "{\"error\":\"API key is missing\"}"},
        {"apikey=&vsn=2.0.0", NULL, 401, "{\"error\":\"API key is missing\"}"},
        {"apikey=not-a-jwt", NULL, 401, "{\"error\":\"The token provided is not a valid JWT\"}"},
        {"apikey=sb_publishable_x&vsn=3.0.0", NULL, 403, ""},
        {"apikey=sb_publishable_x&vsn=x", NULL, 403, ""},
        {"apikey=sb_publishable_x", NULL, 0, ""},
        {"apikey=sb%5Fpublishable%5Fx&vsn=2.0.0", NULL, 0, ""},
        {"apikey=garbage&vsn=2.0.0", "sb_publishable_x", 0, ""},
        {"apikey=sb_publishable_x&vsn=2.0.0", "garbage", 401,
         "{\"error\":\"The token provided is not a valid JWT\"}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_conn *c = NULL;

        world_open(settings);
        c = knock(rows[i].query, rows[i].header);
        if (c->status != rows[i].status || strcmp(c->body, rows[i].body) != 0) {
            fail_msg("%s: %d %s", rows[i].query, c->status, c->body);
        }
        assert_int_equal(c->upgraded, rows[i].status == 0);
        if (!c->upgraded) {
            free(c);
        }
        world_close();
    }
}

/* The fourth refusal in a row of one address waits for its answer. */
static void refusals_slow_down(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    for (int i = 0; i < 3; i++) {
        c = knock("apikey=x", NULL);
        assert_int_equal(c->status, 401);
        free(c);
    }
    c = knock("apikey=x", NULL);
    assert_int_equal(c->status, 0);
    rt_wheel_advance(&w.e->wheel, w.e->now_ms + RT_CONNECT_DELAY_MS + 1000);
    assert_int_equal(c->status, 401);
    assert_null(c->user);
    free(c);
    world_close();
}

static void ctl(uint32_t id, const char *cmd, const char *args)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_ctl m = {.id = id, .cmd = pr_str(cmd), .args = pr_str(args)};

    w.ctl_len = 0;
    w.ctl[0] = '\0';
    pr_ctl_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* Goal: all topics, the largest, or those that are named; whatever the arguments are. */
static void realtimectl_asks_for_topics(void **state)
{
#define A "{\"edge\":0,\"project\":\"default\",\"topic\":\"a\",\"private\":false,\"members\":2}\n"
#define B "{\"edge\":0,\"project\":\"default\",\"topic\":\"b\",\"private\":false,\"members\":1}\n"
    static const struct {
        const char *args, *expect;
    } cases[] = {
        {"{\"top\":1}", A},
        {"{\"top\":0}", ""},
        {"{\"names\":[\"b\"]}", B},
        {"{\"names\":[\"b\",\"\\u0061\",\"nobody\"]}", B A},
        {"{\"names\":[5,null,[\"b\"],\"b\"]}", B},
        {"{\"names\":[]}", ""},
        {"{\"names\":\"b\"}", ""},
    };
    static const char *const both[] = {"{}",
                                       "{\"top\":1000}",
                                       "{\"top\":99999999999999999999}",
                                       "{\"top\":\"x\"}",
                                       "{\"top\":-1}",
                                       "{\"other\":1}",
                                       "{\"names\":[\"b\""};
    struct rt_conn *c[2];

    (void)state;
    world_open(NULL);
    for (size_t i = 0; i < 2; i++) {
        c[i] = client("2.0.0");
        send_text(c[i], "['1','1','realtime:a','phx_join',{'config':{}}]");
        (void)heard(c[i]);
    }
    send_text(c[0], "['2','2','realtime:b','phx_join',{'config':{}}]");
    (void)heard(c[0]);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char expect[300];

        (void)snprintf(expect, sizeof expect, "1. %s", cases[i].expect);
        ctl(1, "topics", cases[i].args);
        if (strcmp(w.ctl, expect) != 0) {
            fail_msg("%s: %s, expected %s", cases[i].args, w.ctl, expect);
        }
    }
    for (size_t i = 0; i < sizeof both / sizeof both[0]; i++) {
        ctl(1, "topics", both[i]);
        if (strstr(w.ctl, A) == NULL || strstr(w.ctl, B) == NULL) {
            fail_msg("%s: %s", both[i], w.ctl);
        }
    }
    world_close();
#undef A
#undef B
}

static void realtimectl_asks(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    send_text(c, "['1','1','realtime:a','phx_join',{'config':{}}]");
    (void)heard(c);
    ctl(1, "connections", "{}");
    assert_non_null(strstr(
        w.ctl,
        "1. {\"edge\":0,\"conn\":\"0000000000000001\",\"project\":\"default\",\"vsn\":\"2.0.0\","
        "\"role\":\"anon\",\"channels\":1,\"queued_bytes\":0,"));
    ctl(2, "channels", "{}");
    assert_string_equal(
        w.ctl, "2. {\"edge\":0,\"conn\":\"0000000000000001\",\"project\":\"default\",\"topic\":"
               "\"realtime:a\",\"role\":\"anon\",\"joined\":true,\"presence\":false,"
               "\"changes\":false}\n");
    ctl(3, "sub", "{\"topic\":\"realtime:a\"}");
    assert_string_equal(w.ctl, "");
    ctl(4, "pub", "{\"topic\":\"a\",\"event\":\"e\",\"payload\":{\"n\":1}}");
    assert_non_null(strstr(w.ctl, "4. {\"published\":true}\n"));
    assert_non_null(strstr(w.ctl, "3 {\"edge\":0,\"at_ms\":"));
    assert_non_null(
        strstr(w.ctl, ",\"topic\":\"realtime:a\",\"event\":\"e\",\"payload\":{\"n\":1}}\n"));
    assert_string_equal(heard(c), "<kind 4>realtime:ae{'n':1}\n");
    ctl(3, "cancel", "{}");
    ctl(4, "pub", "{\"topic\":\"a\",\"event\":\"e\"}");
    assert_null(strstr(w.ctl, "3 {"));
    ctl(5, "pub", "{\"topic\":5}");
    assert_non_null(strstr(w.ctl, "5. {\"error\":"));
    ctl(6, "slots", "{}");
    assert_non_null(strstr(w.ctl, "6. {\"error\":"));
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(routes),
        cmocka_unit_test(readiness),
        cmocka_unit_test(batches),
        cmocka_unit_test(faults_beyond_a_thousand),
        cmocka_unit_test(singles),
        cmocka_unit_test(headers_and_tokens),
        cmocka_unit_test(a_suspended_project),
        cmocka_unit_test(payloads_that_are_too_large),
        cmocka_unit_test(private_singles_that_are_refused),
        cmocka_unit_test(private_requests_without_room),
        cmocka_unit_test(connects_to_one_that_stops),
        cmocka_unit_test(handshakes),
        cmocka_unit_test(refusals_slow_down),
        cmocka_unit_test(realtimectl_asks_for_topics),
        cmocka_unit_test(realtimectl_asks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
