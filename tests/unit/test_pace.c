/* SPDX-License-Identifier: Apache-2.0 */
/* Bursts of changes: who waits for a client that is behind, and for how long. */
#include "edge_world.h"

#include "node/edge/changes.h"

/* Of the queue of a client. A row takes some 1100 of it. */
#define BOUND    65536u
#define ROW_DATA 1000u
#define ROWS     40u /* more than half of it, less than all */

struct bed {
    struct rt_conn *slow, *other;
    struct rt_pace *pace;
};

static struct rt_conn *member(void)
{
    struct rt_conn *c = client("2.0.0");

    send_text(c, "['1','1','realtime:a','phx_join',{'config':{'postgres_changes':"
                 "[{'event':'*','schema':'public'}]}}]");
    return c;
}

/* The database says that it knows what they asked for. */
static void answer(void)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_chg_reg_ok m = {.project = pr_str("default"),
                              .boot = BOOT,
                              .handle = 1,
                              .status = PR_CHG_LIVE,
                              .life = w.e->projects[0]->changes->life};

    pr_chg_reg_ok_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* Two clients of one registration, one of which does not read. */
static struct bed bed_open(void)
{
    static const char *const settings[] = {"REALTIME_MAX_QUEUE_BYTES=65536",
                                           "REALTIME_MAX_PAYLOAD_KB=10", NULL};
    struct bed b = {0};

    world_open(settings);
    b.slow = member();
    b.other = member();
    answer();
    (void)heard(b.slow);
    (void)heard(b.other);
    b.pace = &w.e->projects[0]->changes->pace;
    b.slow->blocked = true;
    w.db_len = 0;
    return b;
}

static struct rt_socket *socket_of(struct rt_conn *c)
{
    return c->user;
}

/* One frame with rows at positions first .. last. */
static void rows(uint32_t first, uint32_t last)
{
    static uint8_t bodies[BOUND], memory[BOUND];
    char data[ROW_DATA + 64];
    uint8_t target[32];
    struct pr_outbuf t = pr_outbuf(target, sizeof target);
    struct pr_outbuf b = pr_outbuf(bodies, sizeof bodies);
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_chg m = {.project = pr_str("default"),
                       .stream = 5,
                       .first = {.lsn = first, .seq = 1},
                       .last = {.lsn = last, .seq = 1},
                       .nbodies = last - first + 1};

    pr_chg_target_put(&t, BOOT, 1);
    for (uint32_t i = first; i <= last; i++) {
        struct pr_chg_body body = {.pos = {.lsn = i, .seq = 1},
                                   .kind = PR_K_INSERT,
                                   .ntargets = 1,
                                   .targets = pr_bytes(target, t.len)};
        int n = snprintf(data, sizeof data, "{\"row\":%u,\"pad\":\"%0*u\"}", i, (int)ROW_DATA, 0u);

        assert_true(n > 0 && (size_t)n < sizeof data);
        body.data = pr_str(data);
        pr_chg_body_put(&b, &body);
    }
    m.bodies = pr_bytes(bodies, b.len);
    pr_chg_encode(&o, &m);
    assert_true(pr_out_ok(&b) && pr_out_ok(&o));
    to_edge(pr_bytes(memory, o.len));
    settle();
}

/* How many rows were heard since the last call, the next of which is `*next`. */
static uint32_t take(struct rt_conn *c, uint32_t *next)
{
    const char *at = heard(c);
    uint32_t n = 0;

    while ((at = strstr(at, "'row':")) != NULL) {
        at += 6;
        assert_int_equal(strtoul(at, NULL, 10), *next);
        (*next)++;
        n++;
    }
    return n;
}

static void turn(void)
{
    rt_pace_run(w.e);
    settle();
}

static const char *acks(void)
{
    static char out[HEARD_MAX];

    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

static void goes_on_when_they_are_taken(void **state)
{
    struct bed b = bed_open();
    uint32_t slow = 1, other = 1;

    (void)state;
    rows(1, ROWS);
    assert_in_range(take(b.other, &other), BOUND / 2 / (ROW_DATA + 100), ROWS - 1);
    assert_string_equal(acks(), "");
    rows(ROWS + 1, ROWS + 2); /* behind those */
    turn();
    assert_int_equal(take(b.other, &other), 0);
    send_text(b.other, "[null,'7','phoenix','heartbeat',{}]");
    assert_non_null(strstr(heard(b.other), "phx_reply"));

    b.slow->blocked = false;
    rt_socket_writable(socket_of(b.slow));
    settle();
    assert_string_equal(acks(), "");
    turn();
    (void)take(b.other, &other);
    assert_int_equal(other, ROWS + 3);
    (void)take(b.slow, &slow);
    assert_int_equal(slow, ROWS + 3);
    assert_string_equal(acks(), "ok 40.1\nok 42.1\n");
    assert_false(rt_pace_busy(w.e->projects[0]));
    rows(ROWS + 3, ROWS + 3);
    assert_int_equal(take(b.other, &other), 1);
    assert_string_equal(acks(), "ok 43.1\n");
    world_close();
}

static void who_hangs_is_left_behind(void **state)
{
    struct bed b = bed_open();
    uint32_t other = 1;

    (void)state;
    rows(1, ROWS);
    assert_true(rt_pace_busy(w.e->projects[0]));
    socket_of(b.slow)->behind_ms -= RT_PACE_MS;
    turn();
    (void)take(b.other, &other);
    assert_int_equal(other, ROWS + 1);
    assert_string_equal(acks(), "ok 40.1\n");
    rows(ROWS + 1, 2 * ROWS); /* over its bound; and a turn for the other one to be sent them */
    turn();
    (void)take(b.other, &other);
    assert_int_equal(other, 2 * ROWS + 1);
    assert_int_equal(b.slow->close_code, 1013);
    assert_int_equal(b.other->close_code, 0);
    world_close();
}

static void who_takes_its_share_is_waited_for(void **state)
{
    struct bed b = bed_open();
    struct rt_socket *s = socket_of(b.slow);
    uint32_t other = 1;

    (void)state;
    rows(1, ROWS);
    (void)take(b.other, &other);
    s->taken += BOUND / 8;
    s->behind_ms -= RT_PACE_MS;
    turn();
    assert_int_equal(take(b.other, &other), 0);
    s->taken += BOUND / 8 - 1;
    s->behind_ms -= RT_PACE_MS;
    turn();
    (void)take(b.other, &other);
    assert_int_equal(other, ROWS + 1);
    world_close();
}

static void all_together_have_so_much_time(void **state)
{
    struct bed b = bed_open();
    uint32_t other = 1;

    (void)state;
    b.pace->left = (struct rt_bucket){.milli = 0, .at_ms = w.e->now_ms};
    rows(1, ROWS);
    (void)take(b.other, &other);
    assert_int_equal(other, ROWS + 1);
    assert_false(socket_of(b.slow)->left_behind);
    assert_string_equal(acks(), "ok 40.1\n");
    world_close();
}

static void so_much_memory(void **state)
{
    struct bed b = bed_open();
    uint32_t other = 1;

    (void)state;
    rows(1, ROWS);
    b.pace->bytes += RT_PACE_BYTES;
    turn();
    b.pace->bytes -= RT_PACE_BYTES;
    (void)take(b.other, &other);
    assert_int_equal(other, ROWS + 1);
    world_close();
}

static void who_goes_is_not_waited_for(void **state)
{
    struct bed b = bed_open();
    uint32_t other = 1;

    (void)state;
    rows(1, ROWS);
    assert_ptr_equal(b.pace->slowest, socket_of(b.slow));
    rt_socket_gone(socket_of(b.slow));
    free(b.slow);
    turn();
    (void)take(b.other, &other);
    assert_int_equal(other, ROWS + 1);
    world_close();
}

/* What waits goes with the process. */
static void nothing_is_left(void **state)
{
    (void)state;
    (void)bed_open();
    rows(1, ROWS);
    assert_true(rt_pace_busy(w.e->projects[0]));
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_when_they_are_taken),
        cmocka_unit_test(who_hangs_is_left_behind),
        cmocka_unit_test(who_takes_its_share_is_waited_for),
        cmocka_unit_test(all_together_have_so_much_time),
        cmocka_unit_test(so_much_memory),
        cmocka_unit_test(who_goes_is_not_waited_for),
        cmocka_unit_test(nothing_is_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
