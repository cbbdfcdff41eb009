/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a message that is to be stored goes out once, whatever the database answers and whoever
 * goes away meanwhile; what its channel sends behind it waits; every answer has its exact text.
 */
#include "edge_world.h"

#include "node/edge/store.h"

static const char *const settings[] = {"REALTIME_DATABASE_URL=postgresql://nobody@127.0.0.1:1/none",
                                       NULL};

#define LIVE_1 "realtime:ae{'id':'%s'}1\n"
#define REPLY  "['1','%s','realtime:a','phx_reply',{'status':'%s','response':{'%s':'%s'}}]\n"
/* Over RT_ACCESS_RETRY_MS and a tick of the wheel, and three of them below RT_STORE_MS. */
#define SOON_MS (RT_ACCESS_RETRY_MS + 600)
#define TIMEOUT "timeout, it was sent and may not have been stored"
#define DOWN    "UnableToConnectToProject: Realtime was unable to connect to the project database"

static struct rt_conn *sender, *member;
static uint64_t wheel_ms; /* where the wheel was put */

/* What was asked since the last call. */
static void asked(const char *want)
{
    w.db[w.db_len] = '\0';
    w.db_len = 0;
    assert_string_equal(w.db, want);
}

static void says(struct rt_conn *c, const char *want)
{
    assert_string_equal(heard(c), want);
}

/* The member has `n`, with the id of the last question. */
static void member_has_1(void)
{
    char want[128];

    (void)snprintf(want, sizeof want, "<kind 4>" LIVE_1, w.uuid);
    says(member, want);
}

static void sender_has(const char *ref, const char *status, const char *key, const char *value)
{
    char want[256];

    (void)snprintf(want, sizeof want, REPLY, ref, status, key, value);
    says(sender, want);
}

static void rights(void)
{
    struct pr_rights m = {.boot = BOOT,
                          .id = w.ask_id,
                          .status = PR_RIGHTS_DONE,
                          .read = PR_EXT_BROADCAST,
                          .write = PR_EXT_BROADCAST,
                          .project = pr_str("default")};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_rights_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

static void answer(enum pr_rights_status status, bool stored, const char *text)
{
    struct pr_store m = {
        .boot = BOOT, .id = w.ask_id, .status = status, .stored = stored, .text = pr_str(text)};
    uint8_t memory[256];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_store_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* Kind 3 with a JSON payload of one digit. */
static void push(char ref, const char *metadata, char payload)
{
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    const uint8_t head[] = {3, 1, 1, 10, 1, (uint8_t)strlen(metadata), 1};

    pr_put(&o, head, sizeof head);
    pr_put_u8(&o, '1');
    pr_put_u8(&o, (uint8_t)ref);
    pr_put_str(&o, "realtime:ae");
    pr_put_str(&o, metadata);
    pr_put_u8(&o, (uint8_t)payload);
    rt_socket_message(sender->user, pr_bytes(memory, o.len), false);
    settle();
}

/* Both are in private channel a, and the sender may write. */
static void open_world(void)
{
    static const char join[] =
        "['1','1','realtime:a','phx_join',{'config':{'private':true,'broadcast':{'ack':true}}}]";

    world_open(settings);
    wheel_ms = 0;
    sender = client("2.0.0");
    send_text(sender, join);
    rights();
    member = client("2.0.0");
    send_text(member, join);
    if (w.db_len > 0 && member->len == 0) {
        rights(); /* else it was known */
    }
    push('0', "", '0');
    rights();
    (void)heard(sender);
    (void)heard(member);
    w.db_len = 0;
}

/* The wheel's time goes ahead of the clock's, which every frame looks at anew. */
static void advance(uint64_t ms)
{
    wheel_ms = (wheel_ms > w.e->now_ms ? wheel_ms : w.e->now_ms) + ms;
    rt_wheel_advance(&w.e->wheel, wheel_ms);
    settle();
}

static void test_order(void **state)
{
    char want[256];

    (void)state;
    open_world();
    push('2', "{\"persist\":{\"ttl\":60}}", '1');
    push('3', "", '2');
    push('4', "{\"persist\":true}", '3');
    asked("store a anon 60 json e 1\n");
    says(member, "");
    says(sender, "");
    answer(PR_RIGHTS_DONE, true, "");
    /* The second went out behind it, the third is asked for. */
    asked("store a anon 0 json e 3\n");
    assert_non_null(strstr(heard(member), "1\n<kind 4>realtime:ae2\n"));
    assert_non_null(strstr(heard(sender), "'3','realtime:a','phx_reply',{'status':'ok'"));
    answer(PR_RIGHTS_DONE, true, "");
    (void)snprintf(want, sizeof want, "<kind 4>realtime:ae{'id':'%s'}3\n", w.uuid);
    says(member, want);
    sender_has("4", "ok", "id", w.uuid);
    world_close();
}

static void test_texts(void **state)
{
    static const struct {
        enum pr_rights_status status;
        const char *text, *want;
    } cases[] = {
        {PR_RIGHTS_DONE, "",
         "Unauthorized: You do not have permissions to persist messages of this Channel topic: a"},
        {PR_RIGHTS_DONE, "why", "it was sent and not stored: why"},
        {PR_RIGHTS_BUSY, "", "IncreaseConnectionPool: Please increase your connection pool size"},
        {PR_RIGHTS_CANCELED, "", "QueryCanceled: Query was cancelled, please try again"},
        {PR_RIGHTS_READ_ONLY, "why", "UnableToSetPolicies: why"},
        {PR_RIGHTS_DOWN, "why", DOWN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_world();
        push('2', "{\"persist\":true}", '1');
        answer(cases[i].status, false, cases[i].text);
        sender_has("2", "error", "error", cases[i].want);
        member_has_1();
        world_close();
    }
}

/* A database in trouble holds the channel up once, not with each message. */
static void test_trouble_is_remembered(void **state)
{
    static const enum pr_rights_status status[] = {PR_RIGHTS_BUSY, PR_RIGHTS_DOWN,
                                                   PR_RIGHTS_CANCELED};

    (void)state;
    for (size_t i = 0; i < sizeof status / sizeof status[0]; i++) {
        char *first = NULL;

        open_world();
        push('2', "{\"persist\":true}", '1');
        answer(status[i], false, "");
        first = strdup(heard(sender));
        member_has_1();
        asked("store a anon 0 json e 1\n");
        push('2', "{\"persist\":true}", '2');
        says(sender, first);
        free(first);
        says(member, "<kind 4>realtime:ae2\n");
        asked("");
        world_close();
    }
    open_world();
    push('2', "{\"persist\":true}", '1');
    answer(PR_RIGHTS_DOWN, false, "why"); /* what was said of one message counts for that one */
    sender_has("2", "error", "error", DOWN);
    member_has_1();
    asked("store a anon 0 json e 1\n");
    push('3', "{\"persist\":true}", '2');
    asked("store a anon 0 json e 2\n");
    world_close();
}

/* What the owner has not read grows no further by it; it is asked when that is less. */
static void test_owner_behind(void **state)
{
    (void)state;
    open_world();
    w.ipc.behind = RT_STORE_QUEUED_MAX + 1;
    push('2', "{\"persist\":true}", '1');
    asked("");
    w.ipc.behind = 0;
    advance(SOON_MS);
    asked("store a anon 0 json e 1\n");
    answer(PR_RIGHTS_DONE, true, "");
    sender_has("2", "ok", "id", w.uuid);
    member_has_1();
    world_close();
}

static void test_lost(void **state)
{
    char first[PR_UUID_LEN + 1];

    (void)state;
    open_world();
    push('2', "{\"persist\":true}", '1');
    asked("store a anon 0 json e 1\n");
    memcpy(first, w.uuid, sizeof first);
    answer(PR_RIGHTS_AWAY, false, ""); /* no db is attached */
    advance(SOON_MS);
    asked("store a anon 0 json e 1\n");
    rt_store_ask_again(w.e, pr_str("another"));
    advance(SOON_MS);
    asked("");
    rt_store_ask_again(w.e, pr_str("default")); /* its db is gone */
    advance(SOON_MS);
    asked("store a anon 0 json e 1\n");
    rt_store_attached(w.e); /* the owner was */
    settle();
    asked("store a anon 0 json e 1\n");
    assert_string_equal(w.uuid, first); /* so that it is stored once */
    says(member, "");
    answer(PR_RIGHTS_DONE, true, "");
    sender_has("2", "ok", "id", first);
    member_has_1();
    answer(PR_RIGHTS_DONE, true, ""); /* of the questions before */
    says(sender, "");
    says(member, "");
    world_close();
}

static void test_late(void **state)
{
    (void)state;
    open_world();
    push('2', "{\"persist\":true}", '1');
    advance(RT_STORE_MS - 500);
    says(member, "");
    advance(1000);
    sender_has("2", "error", "error", TIMEOUT);
    member_has_1();
    answer(PR_RIGHTS_DONE, true, "");
    says(sender, "");
    push('3', "{\"persist\":true}", '2'); /* nothing stays behind, and nobody is asked so soon */
    sender_has("3", "error", "error", DOWN);
    says(member, "<kind 4>realtime:ae2\n");
    world_close();
}

static void test_gone(void **state)
{
    (void)state;
    open_world();
    push('2', "{\"persist\":true}", '1');
    rt_socket_gone(sender->user);
    settle();
    member_has_1();
    answer(PR_RIGHTS_DONE, true, "");
    says(member, "");
    free(sender);
    world_close();
}

static void test_full(void **state)
{
    (void)state;
    open_world();
    w.e->private_bytes = RT_ACCESS_BYTES_MAX;
    push('2', "{\"persist\":true}", '1');
    sender_has("2", "error", "reason", "too many messages are waiting, try again");
    says(member, "");
    asked("");
    w.e->private_bytes = 0;
    world_close();
}

static void put_row(struct pr_outbuf *rows, const char *uuid, const char *payload)
{
    char meta[64];
    uint8_t memory[256];
    struct pr_outbuf body = pr_outbuf(memory, sizeof memory);
    struct pr_bcast b = {.form = PR_BCAST_JSON, .event = pr_str("e"), .payload = pr_str(payload)};

    (void)snprintf(meta, sizeof meta, "{\"id\":\"%s\"}", uuid);
    b.meta = pr_str(meta);
    pr_bcast_encode(&body, &b);
    pr_replay_put_row(rows, pr_bytes(memory, body.len));
}

/* A join asks for two, and three come live before it is answered. */
static void test_replayed_in_order(void **state)
{
    static const char row[] = "['1',null,'realtime:a','broadcast',{'event':'e','meta':{'id':'%s'},"
                              "'payload':%u,'type':'broadcast'}]\n";
    char uuid[3][sizeof w.uuid], want[1024];
    uint8_t memory[1024], frame[1024];
    struct pr_outbuf rows = pr_outbuf(memory, sizeof memory);
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);
    struct pr_replay m = {.boot = BOOT, .status = PR_RIGHTS_DONE};
    int n;

    (void)state;
    open_world();
    member = client("2.0.0");
    send_text(member, "['1','1','realtime:a','phx_join',{'config':{'private':true,'broadcast':"
                      "{'replay':{'since':0,'limit':2}}}}]");
    if (w.replay_id == 0) {
        rights(); /* else it was known */
    }
    w.db_len = 0;
    for (uint32_t i = 0; i < 3; i++) {
        push((char)('2' + i), "{\"persist\":true}", (char)('1' + i));
        memcpy(uuid[i], w.uuid, sizeof w.uuid);
        answer(PR_RIGHTS_DONE, true, "");
    }
    says(member, "");
    put_row(&rows, uuid[1], "2");
    put_row(&rows, uuid[2], "3");
    m.id = w.replay_id;
    m.rows = pr_bytes(memory, rows.len);
    pr_replay_encode(&o, &m);
    to_edge(pr_bytes(frame, o.len));
    settle();
    n = snprintf(want, sizeof want,
                 "['1','1','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':"
                 "[]}}]\n<kind 4>" LIVE_1,
                 uuid[0]);
    for (uint32_t i = 1; i < 3; i++) {
        n += snprintf(want + n, sizeof want - (size_t)n, row, uuid[i], i + 1);
    }
    says(member, want);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),        cmocka_unit_test(test_replayed_in_order),
        cmocka_unit_test(test_texts),        cmocka_unit_test(test_lost),
        cmocka_unit_test(test_late),         cmocka_unit_test(test_gone),
        cmocka_unit_test(test_full),         cmocka_unit_test(test_trouble_is_remembered),
        cmocka_unit_test(test_owner_behind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
