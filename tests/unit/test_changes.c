/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_world.h"

#include "node/edge/changes.h"
#include "node/edge/linger.h"
#include "node/edge/refresh.h"

#define SYSTEM(status, message)                                                                    \
    "['1',null,'realtime:a','system',{'extension':'postgres_changes','status':'" status            \
    "','message':'" message "','channel':'a'}]\n"
#define LIVE SYSTEM("ok", "Subscribed to PostgreSQL")

static void join(struct rt_conn *c, const char *bindings, const char *more)
{
    char text[1024];

    (void)snprintf(text, sizeof text,
                   "['1','1','realtime:a','phx_join',{'config':{'postgres_changes':%s%s}}]",
                   bindings, more);
    send_text(c, text);
}

/* What the db process was told since the last call. */
static const char *db(void)
{
    static char out[HEARD_MAX];

    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

/* Verdicts of an earlier link to the owner: how many links ago. */
static uint64_t late;

static void verdict(uint32_t handle, enum pr_chg_status status, const char *message)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_chg_reg_ok m = {.project = pr_str("default"),
                              .boot = BOOT,
                              .handle = handle,
                              .status = status,
                              .message = pr_str(message),
                              .life = w.e->projects[0]->changes->life - late};

    pr_chg_reg_ok_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* One row for these handles (ends with 0) at a position. */
static void change(uint64_t stream, uint64_t lsn, const uint32_t *handles)
{
    uint8_t targets[256];
    uint8_t bodies[1024];
    uint8_t memory[2048];
    struct pr_outbuf t = pr_outbuf(targets, sizeof targets);
    struct pr_outbuf b = pr_outbuf(bodies, sizeof bodies);
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_chg_body body = {.pos = {.lsn = lsn, .seq = 1}, .kind = PR_K_INSERT};
    struct pr_chg m = {.project = pr_str("default"),
                       .stream = stream,
                       .first = {.lsn = lsn, .seq = 1},
                       .last = {.lsn = lsn, .seq = 1},
                       .nbodies = 1};

    for (; *handles != 0; handles++) {
        pr_chg_target_put(&t, BOOT, *handles);
        body.ntargets++;
    }
    body.data = pr_str("{\"type\":\"INSERT\"}");
    body.targets = pr_bytes(targets, t.len);
    pr_chg_body_put(&b, &body);
    m.bodies = pr_bytes(bodies, b.len);
    pr_chg_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}
#define CHANGE(stream, lsn, ...) change((stream), (lsn), (const uint32_t[]){__VA_ARGS__, 0})

/* The ids that a join was answered with, in order. */
static uint32_t ids_of(const char *reply, uint32_t ids[8])
{
    uint32_t n = 0;

    while ((reply = strstr(reply, "'id':")) != NULL) {
        reply += 5;
        ids[n++] = (uint32_t)strtoul(reply, NULL, 10);
    }
    return n;
}

static void entries_are_echoed(void **state)
{
    static const char entries[] = "[{'event':'insert','schema':'public','filter':null,'x':[1]},"
                                  "{'schema':'public','event':'insert','table':'t'},null,"
                                  "{'event':'insert','schema':'public','filter':null,'x':[1]}]";
    struct rt_conn *c = NULL;
    uint32_t ids[8];
    char want[512];

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, entries, "");
    assert_string_equal(heard(c), ""); /* no verdict yet */
    assert_string_equal(db(), "reg 1 INSERT public.*  anon\nreg 2 INSERT public.t  anon\n");
    verdict(1, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), "");
    verdict(2, PR_CHG_LIVE, "");
    assert_int_equal(ids_of(heard(c), ids), 3);
    assert_int_equal(ids[0], ids[2]);
    assert_int_not_equal(ids[0], ids[1]);
    assert_in_range(ids[0], 1, (1u << 27) - 1);
    CHANGE(1, 10, 1, 2);
    (void)snprintf(want, sizeof want,
                   "[null,null,'realtime:a','postgres_changes',{'ids':[%u,%u],'data':{'type':"
                   "'INSERT'}}]\n",
                   ids[0], ids[1]);
    assert_string_equal(heard(c), want);
    world_close();
}

static void exact_reply(void **state)
{
    struct rt_conn *c = NULL;
    const char *text = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    text = heard(c);
    assert_non_null(strstr(text, "'postgres_changes':[{'event':'*','schema':'public','id':"));
    assert_non_null(strstr(text, "}]}}]\n" LIVE));
    world_close();
}

/* Repeats of a reader that started again are dropped, a new stream starts anew. */
static void each_change_once(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    (void)heard(c);
    (void)db();
    CHANGE(5, 10, 1);
    assert_non_null(strstr(heard(c), "postgres_changes"));
    assert_string_equal(db(), "ok 10.1\n");
    CHANGE(5, 9, 1);
    assert_string_equal(heard(c), "");
    assert_string_equal(db(), "ok 10.1\n");
    CHANGE(5, 10, 1);
    assert_string_equal(heard(c), "");
    CHANGE(5, 11, 1);
    assert_non_null(strstr(heard(c), "postgres_changes"));
    CHANGE(6, 3, 1);
    assert_non_null(strstr(heard(c), "postgres_changes"));
    (void)db();
    CHANGE(6, 4, 99); /* a registration that ended, and the reader does not know it */
    assert_string_equal(heard(c), "");
    assert_string_equal(db(), "unreg 99\nok 4.1\n");
    world_close();
}

static void registrations_are_shared(void **state)
{
    static const uint8_t leave[] = "[\"1\",\"2\",\"realtime:a\",\"phx_leave\",{}]";
    struct rt_conn *a = NULL;
    struct rt_conn *b = NULL;
    struct rt_conn *v1 = NULL;

    (void)state;
    world_open(NULL);
    a = client("2.0.0");
    b = client("2.0.0");
    v1 = client("1.0.0");
    join(a, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    assert_string_equal(db(), "reg 1 * public.*  anon\n");
    join(b, "[{'event':'*','schema':'public'}]", "");
    assert_string_equal(db(), "");
    assert_non_null(strstr(heard(b), LIVE)); /* at once */
    send_text(v1, "{'topic':'realtime:a','event':'phx_join','ref':'1','payload':{'config':{"
                  "'postgres_changes':[{'event':'*','schema':'public'}]}}}");
    (void)heard(a);
    (void)heard(v1);
    CHANGE(1, 1, 1);
    a->heard[a->len] = '\0';
    b->heard[b->len] = '\0';
    assert_string_equal(a->heard, b->heard);
    assert_non_null(strstr(heard(v1), "'event':'postgres_changes','payload':{'ids':["));
    rt_socket_message(a->user, pr_bytes(leave, sizeof leave - 1), true);
    settle();
    assert_string_equal(db(), "ok 1.1\n");
    rt_socket_message(b->user, pr_bytes(leave, sizeof leave - 1), true);
    rt_socket_message(v1->user,
                      pr_str("{\"topic\":\"realtime:a\",\"event\":\"phx_leave\",\"ref\":\"2\","
                             "\"payload\":{}}"),
                      true);
    settle();
    assert_string_equal(db(), "unreg 1\n");
    world_close();
}

static void refused_here(void **state)
{
    static const struct {
        const char *entry, *message;
    } rows[] = {
        {"[{'event':'*','schema':'public','table':'t','select':'a'}]",
         "Error parsing `select` params: expected a list of column name strings, e.g. select: "
         "[\\'col1\\', \\'col2\\']"},
        {"[{'event':'*','schema':'public','select':['a']}]",
         "Column selection is not supported for wildcard subscriptions. Provide an explicit schema "
         "and table name."},
        {"[{'event':'*'}]",
         "No subscription params provided. Please provide at least a `schema` or `table` to "
         "subscribe to: {\\'event\\':\\'*\\'}"},
        /* one bad entry fails all */
        {"[{'event':'*','schema':'public'},{'event':'*'}]",
         "No subscription params provided. Please provide at least a `schema` or `table` to "
         "subscribe to: {\\'event\\':\\'*\\'}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_conn *c = NULL;
        char want[512];
        const char *text = NULL;

        world_open(NULL);
        c = client("2.0.0");
        join(c, rows[i].entry, "");
        (void)snprintf(want, sizeof want, SYSTEM("error", "%s"), rows[i].message);
        text = heard(c);
        assert_non_null(strstr(text, "'status':'ok'"));
        if (strstr(text, want) == NULL) {
            fail_msg("heard %swanted %s", text, want);
        }
        CHANGE(1, 1, 1);
        assert_string_equal(heard(c), "");
        world_close();
    }
}

static void verdicts_of_the_database(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_WAIT, "Realtime was unable to connect to the project database");
    assert_non_null(strstr(
        heard(c), SYSTEM("error", "Realtime was unable to connect to the project database")));
    verdict(1, PR_CHG_WAIT, "Realtime was unable to connect to the project database");
    assert_string_equal(heard(c), "");
    verdict(1, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), LIVE);
    verdict(1, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), "");
    verdict(1, PR_CHG_REFUSED, "not in the publication");
    assert_string_equal(heard(c), SYSTEM("error", "not in the publication"));
    CHANGE(1, 1, 1);
    assert_string_equal(heard(c), "");
    world_close();
}

/* Goal: of a channel with several subscriptions one can end, told why, and the others go on. */
static void one_is_cancelled(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'},{'event':'*','schema':'other'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    verdict(2, PR_CHG_LIVE, "");
    (void)heard(c);
    verdict(2, PR_CHG_CANCELLED, "too slow");
    assert_string_equal(heard(c), SYSTEM("error", "too slow"));
    CHANGE(1, 1, 1);
    assert_non_null(strstr(heard(c), "postgres_changes"));
    /* Who joins then is looked at anew. */
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'},{'event':'*','schema':'other'}]", "");
    verdict(3, PR_CHG_LIVE, "");
    assert_non_null(strstr(heard(c), LIVE));
    world_close();
}

/* Goal: each refusal is told once and in the order of the bindings, however the answers come. */
static void each_refusal_once(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'a'},{'event':'*','schema':'b'},{'event':'*','schema':'c'}]",
         "");
    verdict(3, PR_CHG_REFUSED, "c is bad");
    verdict(2, PR_CHG_REFUSED, "b is bad");
    assert_null(strstr(heard(c), "system"));
    verdict(1, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), SYSTEM("error", "b is bad") SYSTEM("error", "c is bad"));
    verdict(2, PR_CHG_REFUSED, "b is bad");
    verdict(3, PR_CHG_REFUSED, "c is worse");
    assert_string_equal(heard(c), SYSTEM("error", "c is worse"));
    verdict(2, PR_CHG_LIVE, "");
    CHANGE(1, 1, 1);
    assert_string_equal(heard(c), "");
    verdict(3, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), LIVE);
    verdict(3, PR_CHG_REFUSED, "c is worse");
    verdict(2, PR_CHG_REFUSED, "c is worse"); /* the same text */
    assert_string_equal(heard(c), SYSTEM("error", "c is worse"));
    world_close();

    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*'},{'event':'*','schema':'a'},{'schema':'*','select':['id']}]", "");
    assert_non_null(strstr(
        heard(c),
        SYSTEM("error", "No subscription params provided. Please provide at least a `schema` or "
                        "`table` to subscribe to: {\\'event\\':\\'*\\'}")
            SYSTEM("error", "Column selection is not supported for wildcard subscriptions. Provide "
                            "an explicit schema and table name.")));
    world_close();
}

static void a_join_that_waits(void **state)
{
    static const struct {
        enum pr_chg_status status;
        const char *heard;
    } rows[] = {
        {PR_CHG_LIVE, "'status':'ok','response':{'postgres_changes':["},
        {PR_CHG_REFUSED, "{'reason':'RealtimeDisabledForConfiguration: text'}"},
        {PR_CHG_WAIT, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct rt_conn *c = NULL;

        world_open(NULL);
        c = client("2.0.0");
        join(c, "[{'event':'*','schema':'public'}]",
             ",'postgres_changes_options':{'wait':true,'timeout':100}");
        verdict(1, rows[i].status, "text");
        assert_non_null(strstr(heard(c), rows[i].heard));
        if (rows[i].status == PR_CHG_WAIT) {
            assert_int_equal(c->len, 0);
            rt_wheel_advance(&w.e->wheel, w.e->now_ms + 1000);
            settle();
            assert_non_null(strstr(heard(c), "'PostgresChangesSubscribeTimeout: Timed out after "
                                             "100ms waiting for the postgres_changes "
                                             "subscription'"));
        }
        world_close();
    }
}

static void legacy_joins(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("1.0.0");
    send_text(c, "{'topic':'realtime:public:test:id=eq.1','event':'phx_join','payload':{},'ref':"
                 "'1'}");
    assert_string_equal(db(), "reg 1 * public.test id=eq.1 anon\n");
    verdict(1, PR_CHG_LIVE, "");
    (void)heard(c);
    CHANGE(1, 1, 1);
    assert_string_equal(heard(c), "{'ref':null,'topic':'realtime:public:test:id=eq.1','event':"
                                  "'INSERT','payload':{'type':'INSERT'}}\n");
    world_close();
}

static void told_again(void **state)
{
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_chg_sync sync = {.project = pr_str("default"), .round = 3};
    struct rt_conn *c = NULL;
    char text[2048];

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    (void)heard(c);
    (void)db();
    pr_chg_sync_encode(&o, &sync);
    to_edge(pr_bytes(memory, o.len));
    settle();
    assert_string_equal(db(), "reg 1 * public.*  anon\nsynced 3\n");
    /* a new owner process */
    w.ipc.events->on_down(w.ipc.ctx, &w.ipc, "test");
    to_owner(&(struct cl_event){.type = CL_EV_EDGE_DOWN});
    w.e->link.retry.fn(w.e->link.retry.ctx);
    settle();
    assert_string_equal(db(), ""); /* whoever reads will ask */
    late = 1;
    verdict(1, PR_CHG_REFUSED, "an answer from before");
    late = 0;
    assert_string_equal(heard(c), "");
    to_edge(pr_bytes(memory, o.len));
    settle();
    assert_string_equal(db(), "reg 1 * public.*  anon\nsynced 3\n");
    /* rights follow the token */
    (void)snprintf(text, sizeof text, "['1','2','realtime:a','access_token',{'access_token':'%s'}]",
                   token_of("authenticated", 1000));
    send_text(c, text);
    assert_string_equal(db(), "reg 2 * public.*  authenticated\nunreg 1\n");
    verdict(2, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), LIVE);
    world_close();
}

static void refresh(struct rt_conn *c, const char *role, int64_t life_s)
{
    char text[2048];

    /* One a second is looked at. */
    ((struct rt_channel *)w.e->channels.at[0].p)->refreshed_ms = 0;
    (void)snprintf(text, sizeof text, "['1','2','realtime:a','access_token',{'access_token':'%s'}]",
                   token_of(role, life_s));
    send_text(c, text);
}

/* The same user with a newer token: rows for either registration, each once, until the old one has
 * had its time. Another user: none for the one before. */
static void a_refreshed_token(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    refresh(c, "authenticated", 1000);
    verdict(2, PR_CHG_LIVE, "");
    assert_string_equal(db(), "reg 1 * public.*  anon\nreg 2 * public.*  authenticated\nunreg 1\n");
    refresh(c, "authenticated", 2000);
    assert_string_equal(db(), "reg 3 * public.*  authenticated\n");
    verdict(3, PR_CHG_LIVE, "");
    (void)heard(c);
    change(7, 1, (const uint32_t[]){2, 0});
    assert_non_null(strstr(heard(c), "postgres_changes"));
    change(7, 2, (const uint32_t[]){2, 3, 0});
    change(7, 3, (const uint32_t[]){3, 0});
    {
        const char *at = heard(c);
        uint32_t n = 0;

        while ((at = strstr(at, "'ids':[")) != NULL) {
            at++;
            n++;
        }
        assert_int_equal(n, 2);
    }
    (void)db();
    rt_wheel_advance(&w.e->wheel, w.e->now_ms + RT_LINGER_MS + 1000);
    settle();
    assert_string_equal(db(), "unreg 2\n");
    refresh(c, "authenticated", 3000);
    assert_string_equal(db(), "reg 4 * public.*  authenticated\n");
    refresh(c, "service_role", 3000);
    assert_string_equal(db(), "unreg 3\nreg 5 * public.*  service_role\nunreg 4\n");
    (void)heard(c);
    change(7, 4, (const uint32_t[]){3, 4, 0});
    assert_null(strstr(heard(c), "'ids'"));
    world_close();
}

static void trouble_for_all(void **state)
{
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_chg_sys sys = {.project = pr_str("default"), .ok = false, .message = pr_str("gone")};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public'}]", "");
    verdict(1, PR_CHG_LIVE, "");
    (void)heard(c);
    pr_chg_sys_encode(&o, &sys);
    to_edge(pr_bytes(memory, o.len));
    settle();
    assert_string_equal(heard(c), SYSTEM("error", "gone") LIVE); /* it is over */
    verdict(1, PR_CHG_WAIT, "down");
    assert_string_equal(heard(c), SYSTEM("error", "down"));
    to_edge(pr_bytes(memory, o.len));
    settle();
    assert_string_equal(heard(c), SYSTEM("error", "gone") SYSTEM("error", "down"));
    verdict(1, PR_CHG_LIVE, "");
    assert_string_equal(heard(c), LIVE);
    /* who was promised nothing has missed nothing */
    c = client("2.0.0");
    join(c, "[{'event':'*','schema':'public','table':'other'}]", "");
    (void)heard(c);
    to_edge(pr_bytes(memory, o.len));
    settle();
    assert_string_equal(heard(c), "");
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_are_echoed), cmocka_unit_test(exact_reply),
        cmocka_unit_test(each_change_once),   cmocka_unit_test(registrations_are_shared),
        cmocka_unit_test(refused_here),       cmocka_unit_test(verdicts_of_the_database),
        cmocka_unit_test(one_is_cancelled),   cmocka_unit_test(each_refusal_once),
        cmocka_unit_test(a_join_that_waits),  cmocka_unit_test(legacy_joins),
        cmocka_unit_test(told_again),         cmocka_unit_test(a_refreshed_token),
        cmocka_unit_test(trouble_for_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
