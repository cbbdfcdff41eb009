/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_world.h"

#include "node/edge/pending.h"
#include "node/edge/say.h"

/* What a client sends, and all that it hears. */
struct step {
    const char *send;
    const char *heard;
};

static void walk(struct rt_conn *c, const struct step *steps, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        send_text(c, steps[i].send);
        if (strcmp(heard(c), steps[i].heard) != 0) {
            fail_msg("to %s\nheard %swanted %s", steps[i].send, heard(c), steps[i].heard);
        }
    }
}
#define WALK(c, steps) walk((c), (steps), sizeof(steps) / sizeof *(steps))

#define OK "{'status':'ok','response':{}}"

static void joins_and_leaves(void **state)
{
    static const struct step steps[] = {
        {"[null,'5','phoenix','heartbeat',{}]", "[null,'5','phoenix','phx_reply'," OK "]\n"},
        {"[null,'5','phoenix','other',{}]",
         "[null,'5','phoenix','phx_reply',{'status':'error','response':{'reason':'unmatched "
         "topic'}}]\n"},
        {"['1','1','realtime:a','phx_join',{'config':{}}]",
         "['1','1','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"},
        {"['1','2','realtime:a','nothing_known',{}]", ""},
        {"['1','9','realtime:x','broadcast',{}]",
         "[null,'9','realtime:x','phx_reply',{'status':'error','response':{'reason':'unmatched "
         "topic'}}]\n"},
        {"['1','1','room:1','phx_join',{}]",
         "[null,'1','room:1','phx_reply',{'status':'error','response':{'reason':'unmatched "
         "topic'}}]\n"},
        {"['7','3','realtime:x','phx_leave',{}]", "['7','3','realtime:x','phx_reply'," OK "]\n"},
        /* a join of the same topic replaces; a late leave of the old one is ignored */
        {"['4','4','realtime:a','phx_join',{'config':{'broadcast':{'ack':true}}}]",
         "['1','1','realtime:a','phx_close',{}]\n"
         "['4','4','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"},
        {"['1','5','realtime:a','phx_leave',{}]", ""},
        {"['999','6','realtime:a','broadcast',{'event':'e'}]",
         "['4','6','realtime:a','phx_reply'," OK "]\n"},
        {"[null,'7','realtime:a','broadcast',{'event':'e'}]",
         "['4','7','realtime:a','phx_reply'," OK "]\n"},
        {"['4','8','realtime:a','phx_leave',{}]",
         "['4','8','realtime:a','phx_reply'," OK "]\n['4','4','realtime:a','phx_close',{}]\n"},
    };
    static const struct step v1[] = {
        {"{'topic':'phoenix','event':'heartbeat','payload':{},'ref':'5'}",
         "{'ref':'5','topic':'phoenix','event':'phx_reply','payload':" OK "}\n"},
        {"{'topic':'realtime:a','event':'phx_join','payload':{'config':{}},'ref':'1','join_ref':"
         "'1'}",
         "{'ref':'1','topic':'realtime:a','event':'phx_reply','payload':{'status':'ok','response':{"
         "'postgres_changes':[]}}}\n"},
        {"{'topic':'realtime:a','event':'phx_leave','payload':{},'ref':'2','join_ref':'1'}",
         "{'ref':'2','topic':'realtime:a','event':'phx_reply','payload':" OK "}\n"
         "{'ref':'1','topic':'realtime:a','event':'phx_close','payload':{}}\n"},
    };

    (void)state;
    world_open(NULL);
    WALK(client("2.0.0"), steps);
    WALK(client("1.0.0"), v1);
    world_close();
}

static const char *refusal(const char *reason)
{
    static char out[512];

    (void)snprintf(out, sizeof out,
                   "['1','1','realtime:a','phx_reply',{'status':'error','response':{'reason':'%s'}}"
                   "]\n",
                   reason);
    return out;
}

static void join_with(struct rt_conn *c, const char *payload)
{
    char text[9000];

    (void)snprintf(text, sizeof text, "['1','1','realtime:a','phx_join',%s]", payload);
    send_text(c, text);
}

static void refusals(void **state)
{
    static const struct {
        const char *payload, *reason;
    } rows[] = {
        {"{'config':{},'access_token':'potato'}",
         "MalformedJWT: The token provided is not a valid JWT"},
        {"{'config':{},'user_token':'potato'}",
         "MalformedJWT: The token provided is not a valid JWT"},
        {"{'config':{'private':'yes'}}", "InvalidJoinPayload: private must be a boolean"},
        {"{'config':{'private':true}}",
         "UnableToConnectToProject: Realtime was unable to connect to the project database"},
        {"{'config':{'broadcast':{'replay':{'since':1}}}}",
         "UnableToReplayMessages: Replay is not allowed for public channels"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_conn *c = NULL;

        world_open(NULL);
        c = client("2.0.0");
        join_with(c, rows[i].payload);
        assert_string_equal(heard(c), refusal(rows[i].reason));
        world_close();
    }
}

static void refusals_by_settings(void **state)
{
    static const struct {
        const char *setting, *reason;
        uint16_t code;
    } rows[] = {
        {"REALTIME_PRIVATE_ONLY=on", "PrivateOnly: This project only allows private channels", 0},
        {"REALTIME_MAX_CLIENTS=1", "ConnectionRateLimitReached: Too many connected users", 0},
        {"REALTIME_MAX_JOINS_PER_SECOND=1", "ClientJoinRateLimitReached: Too many joins per second",
         1001},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const char *settings[] = {rows[i].setting, NULL};
        struct rt_conn *first = NULL;
        struct rt_conn *c = NULL;

        world_open(settings);
        first = client("2.0.0");
        c = client("2.0.0");
        join_with(first, "{'config':{}}");
        join_with(c, "{'config':{}}");
        assert_string_equal(heard(c), refusal(rows[i].reason));
        assert_int_equal(c->close_code, rows[i].code);
        world_close();
    }
}

/* The fourth in a row waits, so that a client that tries again at once does not spin; but not the
 * one behind which the socket is closed: its client must learn why. */
static void many_refusals(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_CLIENT_JOINS_PER_SECOND=1", NULL};
    static const char *const malformed = "MalformedJWT: The token provided is not a valid JWT";
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings); /* a burst of four */
    c = client("2.0.0");
    for (int i = 0; i < 3; i++) {
        join_with(c, "{'config':{},'access_token':'potato'}");
        assert_string_equal(heard(c), refusal(malformed));
    }
    join_with(c, "{'config':{},'access_token':'potato'}");
    assert_string_equal(heard(c), "");
    rt_wheel_advance(&w.e->wheel, w.e->now_ms + RT_REFUSAL_DELAY_MS + 1000);
    settle();
    assert_string_equal(heard(c), refusal(malformed));
    join_with(c, "{'config':{},'access_token':'potato'}");
    assert_string_equal(heard(c), refusal("ClientJoinRateLimitReached: Too many joins per second"));
    assert_int_equal(c->close_code, 1001);
    world_close();
}

/* The owner does not say that the topic's fence stands: answered before the client gives up. */
static void a_join_without_an_owner(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    w.ipc_free = false;
    w.ipc.events->on_down(w.ipc.ctx, &w.ipc, "test");
    to_owner(&(struct cl_event){.type = CL_EV_EDGE_DOWN});
    join_with(c, "{'config':{}}");
    assert_string_equal(heard(c), "");
    assert_int_equal(cle_tick(w.e->cle, w.e->now_ms + 9000), CL_OK);
    settle();
    assert_string_equal(heard(c), refusal("TimeoutOnRpcCall: Node request timeout"));
    assert_null(((struct rt_socket *)c->user)->channels);
    world_close();
}

static void joins_that_nobody_can_serve(void **state)
{
    char many[512] = {0};
    struct pr_outbuf o = pr_outbuf(many, sizeof many - 1);
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    w.e->draining = true;
    join_with(c, "{'config':{}}");
    assert_string_equal(heard(c),
                        refusal("RealtimeRestarting: Realtime is restarting, please standby"));
    w.e->draining = false;
    pr_put_str(&o, "{'config':{'postgres_changes':[{}");
    for (int i = 0; i < 100; i++) {
        pr_put_str(&o, ",{}");
    }
    pr_put_str(&o, "]}}");
    join_with(c, many);
    assert_string_equal(
        heard(c), refusal("InvalidJoinPayload: postgres_changes may have at most 100 entries"));
    world_close();
}

/* Silent, or of no use: told why with the code that every client comes back after. */
static void sockets_that_are_closed(void **state)
{
    static const char *const settings[] = {"REALTIME_IDLE_TIMEOUT_MS=10000",
                                           "REALTIME_NO_CHANNEL_TIMEOUT_MS=1000", NULL};
    struct rt_conn *c[2];

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < 2; i++) {
        c[i] = client("2.0.0");
        join_with(c[i], "{'config':{}}");
    }
    ((struct rt_socket *)c[0]->user)->seen_ms -= 10000;
    send_text(c[1], "['1','2','realtime:a','phx_leave',{}]");
    ((struct rt_socket *)c[1]->user)->empty_since_ms -= 1000;
    rt_wheel_advance(&w.e->wheel, w.e->now_ms + 11000);
    settle();
    assert_int_equal(c[0]->close_code, 1001);
    assert_string_equal(c[0]->close_reason, "idle timeout");
    assert_int_equal(c[1]->close_code, 1001);
    assert_string_equal(c[1]->close_reason, "no channels");
    world_close();
}

/* Each message is refused, and the client told by a system message now and then. */
static void a_client_over_its_rate(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_CLIENT_EVENTS_PER_SECOND=1", NULL};
    static const char *const told =
        "['1',null,'realtime:a','system',{'extension':'system','status':'error','message':'Too "
        "many messages per second','channel':'a'}]\n";
    static const char *const refused = "['1','2','realtime:a','phx_reply',{'status':'error',"
                                       "'response':{'reason':'Too many messages per second'}}]\n";
    char both[512];
    struct rt_conn *c = NULL;

    (void)state;
    (void)snprintf(both, sizeof both, "%s%s", told, refused);
    world_open(settings);
    c = client("2.0.0");
    join_with(c, "{'config':{'broadcast':{'ack':true}}}");
    (void)heard(c);
    for (int i = 0; i < 4; i++) { /* two may come at once */
        send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
        assert_string_equal(heard(c), i < 2    ? "['1','2','realtime:a','phx_reply'," OK "]\n"
                                      : i == 2 ? both
                                               : refused);
    }
    ((struct rt_socket *)c->user)->told_rate_ms -= RT_RATE_TOLD_MS;
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    assert_string_equal(heard(c), both);
    world_close();
}

static void names_and_numbers_of_channels(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_CHANNELS_PER_CLIENT=1", NULL};
    static const struct step steps[] = {
        {"['1','1','realtime:','phx_join',{'config':{}}]",
         "['1','1','realtime:','phx_reply',{'status':'error','response':{'reason':"
         "'TopicNameRequired: You must provide a topic name'}}]\n"},
        {"['1','1','realtime:a','phx_join',{'config':{}}]",
         "['1','1','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"},
        {"['2','2','realtime:b','phx_join',{'config':{}}]",
         "['2','2','realtime:b','phx_reply',{'status':'error','response':{'reason':"
         "'ChannelRateLimitReached: Too many channels'}}]\n"},
        {"['1','3','realtime:a','phx_leave',{}]",
         "['1','3','realtime:a','phx_reply'," OK "]\n['1','1','realtime:a','phx_close',{}]\n"},
        {"['2','2','realtime:b','phx_join',{'config':{}}]",
         "['2','2','realtime:b','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"},
        /* refused: the old channel is gone all the same */
        {"['4','4','realtime:b','phx_join',{'config':{},'access_token':'x'}]",
         "['2','2','realtime:b','phx_close',{}]\n"
         "['4','4','realtime:b','phx_reply',{'status':'error','response':{'reason':'MalformedJWT: "
         "The token provided is not a valid JWT'}}]\n"},
    };

    (void)state;
    world_open(settings);
    WALK(client("2.0.0"), steps);
    world_close();
}

/* A field that is not understood is named after the reply. */
static void bad_fields_are_told(void **state)
{
    struct rt_conn *c = NULL;
    char text[400];

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join_with(c, "{'config':{'broadcast':{'self':'maybe','ack':'TRUE'}}}");
    assert_string_equal(
        heard(c),
        "['1','1','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"
        "['1',null,'realtime:a','system',{'extension':'system','status':'error','message':"
        "'InvalidJoinPayload: broadcast.self must be a boolean','channel':'a'}]\n");
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    assert_string_equal(heard(c), "['1','2','realtime:a','phx_reply'," OK "]\n");
    (void)snprintf(text, sizeof text, "{'config':{'presence':{'enabled':false,'key':'%0256d'}}}",
                   0);
    join_with(c, text);
    assert_non_null(
        strstr(heard(c), "'InvalidJoinPayload: presence.key must be at most 255 bytes long'"));
    world_close();
}

/* Nothing is answered before the fence stands; what comes meanwhile waits, in order. */
static void messages_wait_behind_a_join(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    rt_socket_message(c->user,
                      pr_str("[\"1\",\"1\",\"realtime:a\",\"phx_join\",{\"config\":{"
                             "\"broadcast\":{\"ack\":true}}}]"),
                      true);
    rt_socket_message(c->user, pr_str("[\"1\",\"2\",\"realtime:a\",\"broadcast\",{}]"), true);
    rt_socket_message(c->user, pr_str("[\"1\",\"3\",\"realtime:a\",\"phx_leave\",{}]"), true);
    rt_socket_message(c->user, pr_str("[\"4\",\"4\",\"realtime:a\",\"phx_join\",{\"config\":{}}]"),
                      true);
    rt_socket_message(c->user, pr_str("[null,\"5\",\"phoenix\",\"heartbeat\",{}]"), true);
    rt_sockets_flush(w.e);
    assert_string_equal(heard(c), "[null,'5','phoenix','phx_reply'," OK "]\n");
    settle();
    assert_string_equal(
        heard(c),
        "['1','1','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"
        "['1','3','realtime:a','phx_reply'," OK "]\n"
        "['1','1','realtime:a','phx_close',{}]\n"
        "['4','4','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"
        "[null,null,'realtime:a','broadcast',{}]\n");
    world_close();
}

static void the_waiting_queue_is_bounded(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    rt_socket_message(c->user, pr_str("[\"1\",\"1\",\"realtime:a\",\"phx_join\",{\"config\":{}}]"),
                      true);
    for (uint32_t i = 0; i < RT_PENDING_MESSAGES; i++) {
        rt_socket_message(c->user, pr_str("[\"1\",\"2\",\"realtime:a\",\"x\",{}]"), true);
    }
    rt_sockets_flush(w.e);
    assert_string_equal(heard(c), "");
    rt_socket_message(c->user, pr_str("[\"1\",\"3\",\"realtime:a\",\"x\",{}]"), true);
    rt_sockets_flush(w.e);
    assert_string_equal(heard(c), "[null,'3','realtime:a','phx_reply',{'status':'error','response':"
                                  "{'reason':'unmatched topic'}}]\n");
    settle();
    world_close();
}

static void malformed_messages(void **state)
{
    static const char *const rows[] = {"", "{", "[1,2]", "'x'", "{'event':'a'}", "[]"};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        send_text(c, rows[i]);
        assert_string_equal(heard(c), "");
    }
    send_text(c, "[null,'5','phoenix','heartbeat',{}]");
    assert_string_equal(heard(c), "[null,'5','phoenix','phx_reply'," OK "]\n");
    for (size_t i = sizeof rows / sizeof rows[0]; i < RT_BAD_MAX; i++) {
        assert_int_equal(c->close_code, 0);
        send_text(c, "{");
    }
    assert_int_equal(c->close_code, 1008);
    world_close();
}

static void broadcasts(void **state)
{
    static const uint8_t kind3[] = "\x03\x01\x01\x0a\x01\x00\x01"
                                   "12realtime:ax{\"a\":1}";
    static const uint8_t bytes3[] = "\x03\x01\x01\x0a\x01\x00\x00"
                                    "13realtime:axBYTES";
    struct rt_conn *a = NULL;
    struct rt_conn *b = NULL;
    struct rt_conn *v1 = NULL;

    (void)state;
    world_open(NULL);
    a = client("2.0.0");
    b = client("2.0.0");
    v1 = client("1.0.0");
    join_with(a, "{'config':{}}");
    join_with(b, "{'config':{'broadcast':{'self':true}}}");
    send_text(v1, "{'topic':'realtime:a','event':'phx_join','payload':{'config':{}},'ref':'1'}");
    (void)heard(a);
    (void)heard(b);
    (void)heard(v1);
    send_text(a, "['1','2','realtime:a','broadcast',{'foo':1,'event':'e'}]");
    assert_string_equal(heard(a), "");
    assert_string_equal(heard(b), "[null,null,'realtime:a','broadcast',{'foo':1,'event':'e'}]\n");
    assert_string_equal(
        heard(v1),
        "{'ref':null,'topic':'realtime:a','event':'broadcast','payload':{'foo':1,'event':'e'}}\n");
    rt_socket_message(b->user, pr_bytes(kind3, sizeof kind3 - 1), false);
    settle();
    assert_string_equal(heard(a), "<kind 4>realtime:ax{'a':1}\n");
    assert_string_equal(heard(b), "<kind 4>realtime:ax{'a':1}\n");
    assert_string_equal(heard(v1), "{'ref':null,'topic':'realtime:a','event':'broadcast','payload':"
                                   "{'event':'x','payload':{'a':1},'type':'broadcast'}}\n");
    rt_socket_message(a->user, pr_bytes(bytes3, sizeof bytes3 - 1), false);
    settle();
    assert_string_equal(heard(a), "");
    assert_string_equal(heard(b), "<kind 4>realtime:axBYTES\n");
    assert_string_equal(heard(v1), "");
    world_close();
}

static void a_broadcast_that_is_too_long(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_PAYLOAD_KB=1", NULL};
    char text[2048];
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join_with(c, "{'config':{'broadcast':{'ack':true,'self':true}}}");
    (void)heard(c);
    (void)snprintf(text, sizeof text, "['1','2','realtime:a','broadcast',{'x':'%01200d'}]", 0);
    send_text(c, text);
    assert_string_equal(heard(c), "['1','2','realtime:a','phx_reply',{'status':'error','response':"
                                  "'payload_size_exceeded'}]\n");
    world_close();
}

/* The owner is away: nothing is lost, the ack comes late. */
static void the_owner_comes_back(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join_with(c, "{'config':{'broadcast':{'ack':true,'self':true}}}");
    (void)heard(c);
    w.ipc_free = false;
    w.ipc.events->on_down(w.ipc.ctx, &w.ipc, "test");
    to_owner(&(struct cl_event){.type = CL_EV_EDGE_DOWN});
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    assert_string_equal(heard(c), "");
    w.ipc_free = true;
    w.e->link.retry.fn(w.e->link.retry.ctx);
    settle();
    assert_string_equal(heard(c), "[null,null,'realtime:a','broadcast',{'event':'e'}]\n"
                                  "['1','2','realtime:a','phx_reply'," OK "]\n");
    world_close();
}

static void a_slow_client(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_QUEUE_BYTES=65536",
                                           "REALTIME_MAX_PAYLOAD_KB=2", NULL};
    struct rt_conn *a = NULL;
    struct rt_conn *b = NULL;

    (void)state;
    world_open(settings);
    a = client("2.0.0");
    b = client("2.0.0");
    join_with(a, "{'config':{}}");
    join_with(b, "{'config':{}}");
    b->blocked = true;
    for (int i = 0; i < 100 && b->close_code == 0; i++) {
        char text[1200];

        (void)snprintf(text, sizeof text, "['1','2','realtime:a','broadcast',{'x':'%01000d'}]", i);
        send_text(a, text);
    }
    assert_int_equal(b->close_code, 1013);
    assert_string_equal(b->close_reason, "slow consumer");
    assert_int_equal(w.e->nchannels, 1);
    world_close();
}

static void tokens(void **state)
{
    char text[6000];
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join_with(c, "{'config':{}}");
    (void)heard(c);
    send_text(c, "['1','2','realtime:a','access_token',{'access_token':null}]");
    send_text(c, "['1','2','realtime:a','access_token',{'access_token':'sb_x'}]");
    (void)snprintf(text, sizeof text, "['1','2','realtime:a','access_token',{'access_token':'%s'}]",
                   token_of("authenticated", 1000));
    send_text(c, text);
    assert_string_equal(heard(c), "");
    ((struct rt_socket *)c->user)->channels->refreshed_ms = 0;
    send_text(c, "['1','2','realtime:a','access_token',{'access_token':''}]");
    assert_string_equal(heard(c),
                        "['1',null,'realtime:a','system',{'extension':'system','status':'error',"
                        "'message':'The token provided is not a valid JWT','channel':'a'}]\n"
                        "['1','1','realtime:a','phx_close',{}]\n");
    assert_int_equal(c->close_code, 0);
    (void)snprintf(text, sizeof text, "{'config':{},'access_token':'%s'}", token_of("anon", -10));
    join_with(c, text);
    assert_non_null(strstr(heard(c), "InvalidJWTToken: Token has expired 1"));
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(joins_and_leaves),
        cmocka_unit_test(refusals),
        cmocka_unit_test(refusals_by_settings),
        cmocka_unit_test(many_refusals),
        cmocka_unit_test(a_join_without_an_owner),
        cmocka_unit_test(joins_that_nobody_can_serve),
        cmocka_unit_test(sockets_that_are_closed),
        cmocka_unit_test(a_client_over_its_rate),
        cmocka_unit_test(names_and_numbers_of_channels),
        cmocka_unit_test(bad_fields_are_told),
        cmocka_unit_test(messages_wait_behind_a_join),
        cmocka_unit_test(the_waiting_queue_is_bounded),
        cmocka_unit_test(malformed_messages),
        cmocka_unit_test(broadcasts),
        cmocka_unit_test(a_broadcast_that_is_too_long),
        cmocka_unit_test(the_owner_comes_back),
        cmocka_unit_test(a_slow_client),
        cmocka_unit_test(tokens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
