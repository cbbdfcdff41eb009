/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whoever reads changes is told all registrations, however little room the link to the owner
 * has, and however they change meanwhile; and no client can have them take any amount. */
#include "edge_world.h"

#define MEMBERS 3u

static struct rt_conn *client_of_all;

static void live(uint32_t handle)
{
    struct pr_chg_reg_ok ok = {.project = pr_str("default"),
                               .boot = BOOT,
                               .handle = handle,
                               .life = w.e->projects[0]->changes->life};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_chg_reg_ok_encode(&o, &ok);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* A channel of its own for each; handles are given in the same order. A leave is heard after the
 * answer, for which db is waited for. */
static void join(uint32_t n)
{
    char text[256];

    (void)snprintf(text, sizeof text,
                   "['%u','%u','realtime:%u','phx_join',{'config':{'postgres_changes':"
                   "[{'event':'*','table':'t%u'}]}}]",
                   n, n, n, n);
    send_text(client_of_all, text);
    live(n);
}

static void leave(uint32_t n)
{
    char text[128];

    (void)snprintf(text, sizeof text, "['%u','9','realtime:%u','phx_leave',{}]", n, n);
    send_text(client_of_all, text);
}

/* What the owner was told since the last call. */
static const char *told(void)
{
    static char out[HEARD_MAX];

    settle();
    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

static void open_all(void)
{
    world_open(NULL);
    client_of_all = client("2.0.0");
    for (uint32_t n = 1; n <= MEMBERS; n++) {
        join(n);
    }
    (void)told();
}

static void asked(uint64_t round)
{
    struct pr_chg_sync sync = {.project = pr_str("default"), .round = round};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_chg_sync_encode(&o, &sync);
    to_edge(pr_bytes(memory, o.len));
}

/* One end of a turn with room for one frame, and then none. Gives the handle that was told. */
static uint32_t one_turn(void)
{
    uint32_t handle = 0;

    w.ipc.behind = RT_REGS_TURN_BYTES;
    rt_regs_run(w.e);
    w.ipc.behind = RT_REGS_LINK_BYTES;
    assert_int_equal(sscanf(told(), "reg %u *", &handle), 1); /* NOLINT: no number is that long */
    return handle;
}

static const char *reg(uint32_t n)
{
    static char text[2][64];
    static uint32_t turn;
    char *out = text[turn++ % 2];

    (void)snprintf(out, sizeof text[0], "reg %u * public.t%u  anon\n", n, n);
    return out;
}

/* Each of `n` is in the text, once; gives what is behind them. */
static const char *all_of(const char *text, const uint32_t *n, uint32_t count)
{
    const char *end = text;

    for (uint32_t i = 0; i < count; i++) {
        const char *at = strstr(text, reg(n[i]));

        assert_non_null(at);
        end += strlen(reg(n[i]));
    }
    return end;
}

static void what_changes_meanwhile(void **state)
{
    uint32_t first, second, third;
    char want[256];

    (void)state;
    open_all();
    asked(3);
    first = one_turn();
    assert_string_equal(told(), "");
    second = first % MEMBERS + 1;
    third = second % MEMBERS + 1;
    /* its end overtakes it: it must not be told any more */
    leave(second);
    (void)snprintf(want, sizeof want, "unreg %u\n", second);
    assert_string_equal(told(), want);
    leave(first);
    (void)snprintf(want, sizeof want, "unreg %u\n", first);
    assert_string_equal(told(), want);
    /* new ones wait for room too */
    join(4);
    join(5);
    leave(5);
    assert_string_equal(told(), "unreg 5\n");
    w.ipc.behind = 0;
    (void)snprintf(want, sizeof want, "%ssynced 3\n%s", reg(third), reg(4));
    assert_string_equal(told(), want);
    assert_string_equal(told(), "");
    world_close();
}

/* Who asks while others are answered gets all from the first on; all get one answer, in order. */
static void several_readers(void **state)
{
    static const uint32_t all[] = {1, 2, 3};
    uint32_t rest[2];
    const char *text = NULL;

    (void)state;
    open_all();
    asked(3);
    rest[0] = one_turn() % MEMBERS + 1;
    rest[1] = rest[0] % MEMBERS + 1;
    asked(4);
    asked(5);
    w.ipc.behind = 0;
    text = all_of(told(), rest, 2);
    assert_int_equal(strncmp(text, "synced 3\n", 9), 0);
    text = all_of(text + 9, all, MEMBERS);
    assert_string_equal(text, "synced 4\nsynced 5\n");
    world_close();
}

static void attach_again(void)
{
    w.e->link.retry.fn(w.e->link.retry.ctx);
    (void)told();
}

/* Nothing of a link before is answered on the next one, where the owner asks again. */
static void a_lost_link(void **state)
{
    static const uint32_t all[] = {1, 2, 3};

    (void)state;
    open_all();
    asked(3);
    (void)one_turn();
    w.ipc.events->on_down(w.ipc.ctx, &w.ipc, "test");
    to_owner(&(struct cl_event){.type = CL_EV_EDGE_DOWN});
    attach_again();
    assert_string_equal(told(), "");
    asked(4);
    assert_string_equal(all_of(told(), all, MEMBERS), "synced 4\n");
    world_close();
}

/* No answer can be left out, so the link is: the next one starts with none to be given. */
static void too_many_readers(void **state)
{
    (void)state;
    open_all();
    w.ipc.behind = RT_REGS_LINK_BYTES;
    for (uint32_t i = 0; i < RT_REGS_ROUNDS_MAX; i++) {
        asked(i + 1);
    }
    assert_true(w.e->link.up);
    asked(100);
    assert_false(w.e->link.up);
    to_owner(&(struct cl_event){.type = CL_EV_EDGE_DOWN});
    attach_again();
    assert_true(w.e->link.up);
    assert_string_equal(told(), "");
    world_close();
}

/* A token with so many bytes of claims and a few more. */
static const char *large_token(uint32_t bytes)
{
    static uint8_t memory[PR_JWT_BYTES_MAX];
    static char claims[PR_JWT_BYTES_MAX];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory - 1);

    (void)snprintf(claims, sizeof claims, "{\"role\":\"anon\",\"exp\":%lld,\"x\":\"%0*u\"}",
                   (long long)(rt_wall_ms() / 1000) + 3600, (int)bytes, 0u);
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_str(claims)), PR_OK);
    memory[o.len] = '\0';
    return (const char *)memory;
}

/* With as many bindings as there may be. Channels with the same token share them. Gives what the
 * client heard. */
static const char *join_large(uint32_t n, const char *token)
{
    static char text[HEARD_MAX];
    size_t len = 0;

    append(text, &len, "['%u','%u','realtime:%u','phx_join',{'access_token':'%s',", n, n, n, token);
    append(text, &len, "'config':{'postgres_changes':[");
    for (uint32_t i = 0; i < PR_JOIN_BINDINGS_MAX; i++) {
        append(text, &len, "%s{'table':'t%u'}", i == 0 ? "" : ",", i);
    }
    append(text, &len, "]}}]");
    send_text(client_of_all, text);
    w.db_len = 0;
    return heard(client_of_all);
}

/* Of a connection each binding counts, with the claims that go with it; of all, each registration.
 */
static void what_they_may_take(void **state)
{
    const uint32_t claims = 4000;
    const uint32_t fit = (uint32_t)(RT_REGS_SOCKET_BYTES / PR_JOIN_BINDINGS_MAX / claims);
    const char *token = large_token(claims);
    size_t *bytes = NULL;
    char text[PR_JWT_BYTES_MAX + 128];

    (void)state;
    world_open(NULL);
    client_of_all = client("2.0.0");
    (void)join_large(1, token);
    for (uint32_t i = 1; i <= PR_JOIN_BINDINGS_MAX; i++) {
        live(i);
    }
    assert_non_null(strstr(heard(client_of_all), "'status':'ok'"));
    for (uint32_t n = 2; n <= fit; n++) {
        assert_non_null(strstr(join_large(n, token), "'status':'ok'"));
    }
    assert_string_equal(
        join_large(50, token),
        "['50','50','realtime:50','phx_reply',{'status':'error','response':{'reason':"
        "'ChannelRateLimitReached: Too large postgres_changes of one connection'}}]\n");
    send_text(client_of_all, "['51','51','realtime:51','phx_join',{'config':{}}]");
    assert_non_null(strstr(heard(client_of_all), "'status':'ok'"));
    leave(2);
    assert_non_null(strstr(join_large(50, token), "'status':'ok'"));
    /* a newer token that is twice as large */
    (void)snprintf(text, sizeof text, "['1','2','realtime:1','access_token',{'access_token':'%s'}]",
                   large_token(claims * 2));
    send_text(client_of_all, text);
    assert_string_equal(heard(client_of_all),
                        "['1',null,'realtime:1','system',{'extension':'system','status':'error',"
                        "'message':'Too large postgres_changes of one connection','channel':'1'}]\n"
                        "['1','1','realtime:1','phx_close',{}]\n");
    /* the same of somebody else, while all have nearly what they may */
    client_of_all = client("2.0.0");
    bytes = &w.e->projects[0]->changes->bytes;
    *bytes += RT_REGS_PROJECT_BYTES;
    assert_non_null(strstr(join_large(1, large_token(claims)),
                           "'ChannelRateLimitReached: Too large postgres_changes of all "
                           "connections'"));
    *bytes -= RT_REGS_PROJECT_BYTES;
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_meanwhile),
        cmocka_unit_test(several_readers),
        cmocka_unit_test(a_lost_link),
        cmocka_unit_test(too_many_readers),
        cmocka_unit_test(what_they_may_take),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
