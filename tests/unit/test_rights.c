/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a private channel does nothing before its rights are known, equal questions are asked once,
 * and every answer has its exact text.
 */
#include "edge_world.h"

#include "node/edge/rights.h"

#define DATABASE "REALTIME_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none"

static const char *const settings[] = {DATABASE, NULL};
static const char *const no_cache[] = {DATABASE, "REALTIME_AUTH_CACHE_MS=0",
                                       "REALTIME_AUTH_RECHECK=0", NULL};
static const char *const long_cache[] = {DATABASE, "REALTIME_AUTH_CACHE_MS=60000", NULL};

#define OK(topic)                                                                                  \
    "['1','1','realtime:" topic "','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}" \
    "]\n"
#define ERROR(ref, topic, reason)                                                                  \
    "['1','" ref "','realtime:" topic                                                              \
    "','phx_reply',{'status':'error','response':{'reason':'" reason "'}}]\n"
#define NO_LONGER                                                                                  \
    "['1',null,'realtime:a','system',{'extension':'system','status':'error','message':'You no "    \
    "longer have permission to read from this Channel topic: a','channel':'a'}]\n"                 \
    "['1','1','realtime:a','phx_close',{}]\n"

/* What was asked since the last call. */
static const char *asked(void)
{
    static char out[HEARD_MAX];

    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

static void send_answer(const struct pr_rights *m)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_rights of = *m;

    of.project = pr_str("default");
    pr_rights_encode(&o, &of);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* To the last question. */
static void answer(enum pr_rights_status status, uint32_t read, uint32_t write)
{
    struct pr_rights m = {.boot = BOOT,
                          .id = w.ask_id,
                          .status = status,
                          .read = read,
                          .write = write,
                          .text = pr_str("what it says")};

    send_answer(&m);
}

static void join(struct rt_conn *c, const char *topic, const char *more)
{
    char text[512];

    (void)snprintf(text, sizeof text,
                   "['1','1','realtime:%s','phx_join',{'config':{'private':true%s}}]", topic, more);
    send_text(c, text);
}

static void says(struct rt_conn *c, const char *want)
{
    assert_string_equal(heard(c), want);
}

static void test_join_waits(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, "a", "");
    assert_string_equal(asked(), "ask a anon 1 0\n");
    send_text(c, "['1','2','realtime:a','phx_leave',{}]"); /* waits behind it */
    send_text(c, "[null,'h','phoenix','heartbeat',{}]");
    says(c, "[null,'h','phoenix','phx_reply',{'status':'ok','response':{}}]\n");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    says(c, OK("a") "['1','2','realtime:a','phx_reply',{'status':'ok','response':{}}]\n"
                    "['1','1','realtime:a','phx_close',{}]\n");
    join(c, "b", ",'presence':{'enabled':true}");
    assert_string_equal(asked(), "ask b anon 3 0\n");
    answer(PR_RIGHTS_DONE, 0, PR_EXT_ALL); /* to write was not asked, and does not help */
    says(c, ERROR("1", "b",
                  "Unauthorized: You do not have permissions to read from this Channel topic: b"));
    world_close();
}

static void test_trouble(void **state)
{
    static const struct {
        uint32_t status;
        const char *reason;
    } cases[] = {
        {PR_RIGHTS_DOWN,
         "UnableToConnectToProject: Realtime was unable to connect to the project database"},
        {PR_RIGHTS_LACK, "DatabaseLackOfConnections: Database can't accept more connections, "
                         "Realtime won't connect"},
        {PR_RIGHTS_BUSY, "IncreaseConnectionPool: Please increase your connection pool size"},
        {PR_RIGHTS_CANCELED, "QueryCanceled: Query was cancelled, please try again"},
        {PR_RIGHTS_PARTITION,
         "MissingPartition: Realtime was unable to find the expected messages partition"},
        {PR_RIGHTS_READ_ONLY, "UnableToSetPolicies: what it says"},
        {77, "UnableToConnectToProject: Realtime was unable to connect to the project database"},
    };

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_conn *c = client("2.0.0");
        char topic[8], want[512];

        (void)snprintf(topic, sizeof topic, "t%zu", i);
        (void)snprintf(want, sizeof want, ERROR("1", "%s", "%s"), topic, cases[i].reason);
        join(c, topic, "");
        answer(cases[i].status, PR_EXT_ALL, PR_EXT_ALL); /* bits of no answer count for nothing */
        says(c, want);
    }
    world_close();
}

static void test_asked_once(void **state)
{
    struct rt_conn *c[3];

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < 3; i++) {
        c[i] = client("2.0.0");
    }
    join(c[0], "a", "");
    join(c[1], "a", "");
    assert_string_equal(asked(), "ask a anon 1 0\n");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    join(c[2], "a", "");
    assert_string_equal(asked(), "");
    for (size_t i = 0; i < 3; i++) {
        says(c[i], OK("a"));
    }
    join(c[0], "a", ",'presence':{'enabled':true}"); /* asks for more than was answered */
    assert_string_equal(asked(), "ask a anon 3 0\n");
    world_close();
}

static void test_not_kept(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(no_cache);
    c = client("2.0.0");
    for (int i = 0; i < 2; i++) {
        join(c, "a", "");
        assert_string_equal(asked(), "ask a anon 1 0\n");
        answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    }
    world_close();
}

static void test_answers_that_are_none(void **state)
{
    struct pr_rights other = {.boot = BOOT, .id = 12345, .read = PR_EXT_ALL};
    struct pr_rights all = {.boot = BOOT, .status = PR_RIGHTS_AWAY};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, "a", "");
    send_answer(&other);
    send_answer(&all);
    answer(PR_RIGHTS_AWAY, PR_EXT_ALL, PR_EXT_ALL);
    says(c, "");
    answer(PR_RIGHTS_DONE, UINT32_MAX, UINT32_MAX);
    says(c, OK("a"));
    answer(PR_RIGHTS_DONE, 0, 0); /* again, to what is answered */
    says(c, "");
    world_close();
}

static void test_write(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, "a", ",'broadcast':{'ack':true}");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    says(c, OK("a"));
    (void)asked();
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    send_text(c, "['1','3','realtime:a','presence',{'event':'track','payload':{}}]");
    assert_string_equal(asked(), "ask a anon 0 1\n");
    says(c, "");
    answer(PR_RIGHTS_DONE, 0, PR_EXT_BROADCAST);
    assert_string_equal(asked(), "ask a anon 2 2\n"); /* presence was off: to read it, too */
    says(c, "['1','2','realtime:a','phx_reply',{'status':'ok','response':{}}]\n");
    answer(PR_RIGHTS_DONE, PR_EXT_PRESENCE, 0);
    says(c, ERROR("3", "a",
                  "Unauthorized: You do not have permissions to write to this Channel topic: a"));
    send_text(c, "['1','4','realtime:a','broadcast',{'event':'e'}]");
    says(c, "['1','4','realtime:a','phx_reply',{'status':'ok','response':{}}]\n");
    assert_string_equal(asked(), "");
    send_answer(&(struct pr_rights){.status = PR_RIGHTS_CHANGED});
    send_text(c, "['1','5','realtime:a','broadcast',{'event':'e'}]");
    assert_string_equal(asked(), "ask a anon 0 1\n");
    answer(PR_RIGHTS_DOWN, 0, PR_EXT_BROADCAST);
    says(c, ERROR("5", "a",
                  "UnableToConnectToProject: Realtime was unable to connect to the project "
                  "database"));
    world_close();
}

/* Until something is asked, or the time is over in which a change of policies is looked at. */
static void look_again(void)
{
    uint64_t now = w.e->now_ms;
    uint64_t tick_ms = w.e->wheel.tick * RT_WHEEL_TICK_MS;
    uint64_t end = (tick_ms > now ? tick_ms : now) + RT_RIGHTS_SPREAD_MS + 1000;
    uint64_t wait = 0;

    /* No further: questions without an answer end, too. */
    while (w.db_len == 0 && (wait = rt_wheel_wait_ms(&w.e->wheel, now)) <= end - now) {
        rt_wheel_advance(&w.e->wheel, now + wait);
        settle();
    }
}

/* A joined channel whose rights are looked at again. */
static struct rt_conn *looked_at(void)
{
    struct rt_conn *c = client("2.0.0");

    join(c, "a", ",'broadcast':{'ack':true}");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    says(c, OK("a"));
    send_answer(&(struct pr_rights){.status = PR_RIGHTS_CHANGED});
    (void)asked();
    look_again();
    assert_string_equal(asked(), "ask a anon 1 0\n");
    return c;
}

/* Who sends meanwhile does not put off what it may read, and its messages keep their order. */
static void test_sends_while_looked_at(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(no_cache);
    c = looked_at();
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    send_text(c, "['1','3','realtime:a','phx_leave',{}]");
    says(c, "");
    assert_string_equal(asked(), "");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    assert_string_equal(asked(), "ask a anon 0 1\n");
    says(c, "");
    answer(PR_RIGHTS_DONE, 0, PR_EXT_BROADCAST);
    says(c, "['1','3','realtime:a','phx_reply',{'status':'ok','response':{}}]\n"
            "['1','1','realtime:a','phx_close',{}]\n");
    c = looked_at();
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    answer(PR_RIGHTS_DONE, 0, 0);
    says(c, NO_LONGER "[null,'2','realtime:a','phx_reply',{'status':'error','response':{'reason':"
                      "'unmatched topic'}}]\n");
    assert_string_equal(asked(), "");
    c = looked_at();
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    answer(PR_RIGHTS_DOWN, 0, 0);
    says(c, ERROR("2", "a",
                  "UnableToConnectToProject: Realtime was unable to connect to the project "
                  "database"));
    assert_string_equal(asked(), "");
    world_close();
}

/* A look that failed is not the last, however often it fails. */
static void test_look_fails(void **state)
{
    static const enum pr_rights_status failures[] = {PR_RIGHTS_BUSY, PR_RIGHTS_CANCELED,
                                                     PR_RIGHTS_DOWN};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(no_cache);
    c = looked_at();
    for (size_t i = 0; i < 12; i++) {
        answer(failures[i % 3], 0, 0);
        assert_string_equal(asked(), "");
        look_again();
        assert_string_equal(asked(), "ask a anon 1 0\n");
    }
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    look_again();
    assert_string_equal(asked(), "");
    says(c, "");
    world_close();
}

/* What may be read stays known when it is asked what may be written; errors are not mixed. */
static void test_answers_of_one_user(void **state)
{
    struct pr_rights failed = {.boot = BOOT, .status = PR_RIGHTS_DONE, .raised = PR_EXT_BROADCAST};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(long_cache);
    c = client("2.0.0");
    for (int i = 0; i < 2; i++) {
        join(c, "a", "");
        send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
        assert_string_equal(asked(), i == 0 ? "ask a anon 1 0\n" : "");
        answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
        assert_string_equal(asked(), i == 0 ? "ask a anon 0 1\n" : "");
        answer(PR_RIGHTS_DONE, 0, PR_EXT_BROADCAST);
    }
    join(c, "b", "");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    send_text(c, "['1','2','realtime:b','broadcast',{'event':'e'}]");
    failed.id = w.ask_id;
    send_answer(&failed);
    (void)asked();
    join(c, "b", "");
    assert_string_equal(asked(), "ask b anon 1 0\n");
    world_close();
}

/* Policies that change while somebody joins: what was answered may be of before. */
static void test_changed_meanwhile(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(no_cache);
    c = client("2.0.0");
    join(c, "a", "");
    assert_string_equal(asked(), "ask a anon 1 0\n");
    send_answer(&(struct pr_rights){.status = PR_RIGHTS_CHANGED});
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    says(c, OK("a"));
    look_again();
    assert_string_equal(asked(), "ask a anon 1 0\n");
    world_close();
}

/* An answer of before a change is for those who asked before it, and is not kept. */
static void test_old_answer(void **state)
{
    struct pr_rights before = {.boot = BOOT, .status = PR_RIGHTS_DONE, .read = PR_EXT_BROADCAST};
    struct rt_conn *c[3];

    (void)state;
    world_open(long_cache);
    for (size_t i = 0; i < 3; i++) {
        c[i] = client("2.0.0");
    }
    join(c[0], "a", "");
    before.id = w.ask_id;
    send_answer(&(struct pr_rights){.status = PR_RIGHTS_CHANGED});
    (void)asked();
    join(c[1], "a", "");
    assert_string_equal(asked(), "ask a anon 1 0\n");
    send_answer(&before);
    says(c[0], OK("a"));
    join(c[2], "a", "");
    assert_string_equal(asked(), "");
    answer(PR_RIGHTS_DONE, 0, 0);
    for (size_t i = 1; i < 3; i++) {
        says(c[i], ERROR("1", "a",
                         "Unauthorized: You do not have permissions to read from this Channel "
                         "topic: a"));
    }
    send_answer(&(struct pr_rights){.status = PR_RIGHTS_CHANGED});
    join(c[1], "b", "");
    send_answer(&(struct pr_rights){.status = PR_RIGHTS_CHANGED});
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    (void)asked();
    join(c[2], "b", "");
    assert_string_equal(asked(), "ask b anon 1 0\n");
    world_close();
}

/* The owner was away: policies may have changed, and nobody said so. */
static void test_owner_was_away(void **state)
{
    struct cl_event down = {.type = CL_EV_EDGE_DOWN, .boot = BOOT};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(long_cache);
    c = client("2.0.0");
    join(c, "a", ",'broadcast':{'ack':true}");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    says(c, OK("a"));
    send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    answer(PR_RIGHTS_DONE, 0, PR_EXT_BROADCAST);
    says(c, "['1','2','realtime:a','phx_reply',{'status':'ok','response':{}}]\n");
    w.ipc.events->on_down(w.ipc.ctx, &w.ipc, "test");
    to_owner(&down);
    w.e->link.retry.fn(w.e->link.retry.ctx);
    settle();
    (void)asked();
    send_text(c, "['1','3','realtime:a','broadcast',{'event':'e'}]"); /* until it is looked at */
    says(c, "['1','3','realtime:a','phx_reply',{'status':'ok','response':{}}]\n");
    look_again();
    assert_string_equal(asked(), "ask a anon 1 0\n");
    answer(PR_RIGHTS_DONE, PR_EXT_BROADCAST, 0);
    send_text(c, "['1','4','realtime:a','broadcast',{'event':'e'}]");
    assert_string_equal(asked(), "ask a anon 0 1\n");
    world_close();
}

/* A channel or its socket may go while somebody waits for its rights. */
static void test_gone_meanwhile(void **state)
{
    struct rt_conn *c[2];

    (void)state;
    world_open(settings);
    c[0] = client("2.0.0");
    c[1] = client("2.0.0");
    join(c[0], "a", "");
    join(c[1], "a", "");
    rt_socket_gone(c[0]->user);
    free(c[0]);
    answer(PR_RIGHTS_DONE, PR_EXT_ALL, 0);
    says(c[1], OK("a"));
    send_text(c[1], "['1','2','realtime:a','broadcast',{'event':'e'}]");
    world_close(); /* with a question under way and a message behind it */
}

/* More than waits is answered at once. */
static void test_bound_of_hold(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, "a", "");
    answer(PR_RIGHTS_DONE, PR_EXT_ALL, 0);
    says(c, OK("a"));
    for (uint32_t i = 0; i < RT_RIGHTS_MESSAGES; i++) {
        send_text(c, "['1','2','realtime:a','broadcast',{'event':'e'}]");
    }
    says(c, "");
    send_text(c, "['1','9','realtime:a','broadcast',{'event':'e'}]");
    says(c, "['1','9','realtime:a','phx_reply',{'status':'error','response':{'reason':'too many "
            "messages are waiting, try again'}}]\n");
    world_close();
}

/* What waits counts, whatever its size, in the bound of all channels. */
static void test_bound_of_all(void **state)
{
    static const char message[] = "['1','2','realtime:a','broadcast',{'event':'e'}]";
    const size_t most = RT_ACCESS_BYTES_MAX - (sizeof message - 1);
    struct rt_conn *c = NULL;

    (void)state;
    world_open(no_cache);
    c = client("2.0.0");
    for (int left = 0; left < 2; left++) {
        join(c, "a", ",'broadcast':{'ack':true}");
        answer(PR_RIGHTS_DONE, PR_EXT_ALL, 0);
        (void)heard(c);
        assert_true(rt_access_hold(w.e->projects[0], most));
        send_text(c, message);
        send_text(c, "['1','3','realtime:a','broadcast',{'event':'e'}]");
        says(c, ERROR("3", "a", "too many messages are waiting, try again"));
        rt_access_release(w.e->projects[0], most);
        assert_int_equal(w.e->private_bytes, sizeof message - 1);
        if (left == 0) {
            answer(PR_RIGHTS_DONE, 0, PR_EXT_ALL);
            says(c, "['1','2','realtime:a','phx_reply',{'status':'ok','response':{}}]\n");
        } else {
            rt_socket_gone(c->user);
            free(c);
        }
        assert_int_equal(w.e->private_bytes, 0);
    }
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_waits),
        cmocka_unit_test(test_trouble),
        cmocka_unit_test(test_asked_once),
        cmocka_unit_test(test_not_kept),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_answers_that_are_none),
        cmocka_unit_test(test_gone_meanwhile),
        cmocka_unit_test(test_bound_of_hold),
        cmocka_unit_test(test_bound_of_all),
        cmocka_unit_test(test_changed_meanwhile),
        cmocka_unit_test(test_old_answer),
        cmocka_unit_test(test_owner_was_away),
        cmocka_unit_test(test_sends_while_looked_at),
        cmocka_unit_test(test_look_fails),
        cmocka_unit_test(test_answers_of_one_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
