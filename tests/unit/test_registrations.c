/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: whoever reads changes is told all registrations, however little room the link to the owner
 * has, and however they change meanwhile. */
#include "edge_world.h"

#define MEMBERS 3u

static struct rt_conn *client_of_all;

/* A channel of its own for each; handles are given in the same order. A leave is heard after the
 * answer, for which db is waited for. */
static void join(uint32_t n)
{
    struct pr_chg_reg_ok ok = {.project = pr_str("default"),
                               .boot = BOOT,
                               .handle = n,
                               .life = w.e->projects[0]->changes->life};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    char text[256];

    (void)snprintf(text, sizeof text,
                   "['%u','%u','realtime:%u','phx_join',{'config':{'postgres_changes':"
                   "[{'event':'*','table':'t%u'}]}}]",
                   n, n, n, n);
    send_text(client_of_all, text);
    pr_chg_reg_ok_encode(&o, &ok);
    to_edge(pr_bytes(memory, o.len));
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_changes_meanwhile),
        cmocka_unit_test(several_readers),
        cmocka_unit_test(a_lost_link),
        cmocka_unit_test(too_many_readers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
