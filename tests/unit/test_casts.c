/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what the database broadcasts is published in order, acknowledged as far as it was ordered,
 * and reaches each member once, whatever is sent again and by whom.
 */
#include "edge_world.h"

/* What the db process was told since the last call. */
static const char *db(void)
{
    static char out[HEARD_MAX];

    memcpy(out, w.db, w.db_len);
    out[w.db_len] = '\0';
    w.db_len = 0;
    return out;
}

/* One row of the stream: event "e<lsn>" of a topic, with its place as id. */
static struct pr_slice cast(uint64_t stream, uint64_t lsn, const char *topic)
{
    static uint8_t frame[1024];
    uint8_t body[512];
    char payload[128];
    struct pr_outbuf b = pr_outbuf(body, sizeof body);
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);
    struct pr_bcast m = {.form = PR_BCAST_TEXT, .stream = stream, .pos = {.lsn = lsn, .seq = 1}};
    struct pr_cast c = {.project = pr_str("default"), .stream = stream, .pos = m.pos};
    uint8_t key[64];
    struct pr_outbuf k = pr_outbuf(key, sizeof key);

    (void)snprintf(payload, sizeof payload, "{\"event\":\"e%u\"}", (unsigned)lsn);
    m.payload = pr_str(payload);
    pr_bcast_encode(&b, &m);
    rt_topic_put_key(&k, "default", pr_str(topic), false);
    c.topic = pr_bytes(key, k.len);
    c.body = pr_bytes(body, b.len);
    pr_cast_encode(&o, &c);
    assert_true(pr_out_ok(&o));
    return pr_bytes(frame, o.len);
}

static void say(uint64_t stream, uint64_t lsn, const char *topic)
{
    to_edge(cast(stream, lsn, topic));
}

static struct rt_conn *member(const char *topic)
{
    struct rt_conn *c = client("2.0.0");
    char text[128];

    (void)snprintf(text, sizeof text, "['1','1','realtime:%s','phx_join',{'config':{}}]", topic);
    send_text(c, text);
    (void)heard(c);
    return c;
}

/* Numbers of the events that were heard: "1 2 3 ". */
static const char *events(struct rt_conn *c)
{
    static char out[1024];
    const char *at = heard(c);
    size_t n = 0;

    out[0] = '\0';
    while ((at = strstr(at, "'event':'e")) != NULL) {
        at += 10;
        n += (size_t)snprintf(out + n, sizeof out - n, "%lu ", strtoul(at, NULL, 10));
    }
    return out;
}

/* The end of a turn, when acknowledgements leave. */
static void turn(void)
{
    (void)uv_run(rt_loop_uv(w.e->loop), UV_RUN_NOWAIT);
    settle();
}

/* The connection to the owner ends and comes back; everything is told again. */
static void link_again(void)
{
    struct cl_event down = {.type = CL_EV_EDGE_DOWN, .boot = BOOT};

    w.ipc.len = 0;
    w.ipc.events->on_down(w.ipc.ctx, &w.ipc, "test");
    to_owner(&down);
    w.e->link.retry.fn(w.e->link.retry.ctx);
    settle();
    (void)db();
}

static void published_in_order_and_acknowledged(void **state)
{
    struct rt_conn *a = NULL;
    struct rt_conn *b = NULL;

    (void)state;
    world_open(NULL);
    a = member("a");
    b = member("b");
    say(7, 1, "a");
    say(7, 2, "b");
    say(7, 3, "a");
    assert_string_equal(db(), ""); /* nothing is ordered yet */
    settle();
    assert_string_equal(events(a), "1 3 ");
    assert_string_equal(events(b), "2 ");
    turn();
    assert_string_equal(db(), "cast ok 7 3.1\n");
    world_close();
}

static void sent_again_it_is_not_published_again(void **state)
{
    struct rt_conn *a = NULL;

    (void)state;
    world_open(NULL);
    a = member("a");
    say(7, 1, "a");
    say(7, 2, "a");
    settle();
    say(7, 1, "a");
    say(7, 2, "a");
    say(7, 3, "a");
    settle();
    assert_string_equal(events(a), "1 2 3 ");
    turn();
    assert_string_equal(db(), "cast ok 7 3.1\n");
    /* What is known already is acknowledged at once. */
    say(7, 2, "a");
    turn();
    assert_string_equal(db(), "cast ok 7 3.1\n");
    world_close();
}

static void nothing_is_acknowledged_over_a_lost_link(void **state)
{
    struct rt_conn *a = NULL;

    (void)state;
    world_open(NULL);
    a = member("a");
    say(7, 1, "a");
    rt_link_pump(w.e);
    link_again(); /* what was on its way is published by the new link */
    assert_string_equal(events(a), "1 ");
    say(7, 1, "a");
    say(7, 2, "a");
    settle();
    turn();
    assert_string_equal(db(), "cast ok 7 2.1\n");
    assert_string_equal(events(a), "2 ");
    world_close();
}

static void another_stream_starts_anew(void **state)
{
    struct rt_conn *a = NULL;

    (void)state;
    world_open(NULL);
    a = member("a");
    say(7, 5, "a");
    say(8, 1, "a"); /* while the one before is under way */
    settle();
    assert_string_equal(events(a), "5 1 ");
    turn();
    assert_string_equal(db(), "cast ok 8 1.1\n");
    world_close();
}

/* Two publishers of one stream, each without a hole: a member takes each position once. */
static void members_take_a_position_once(void **state)
{
    static const struct {
        uint64_t stream, lsn;
        bool repeat;
    } rows[] = {
        {7, 1, false}, {7, 2, false}, {7, 1, true},  {7, 3, false}, {7, 2, true},
        {7, 3, true},  {7, 9, false}, {8, 3, false}, {8, 3, true},  {0, 0, false},
    };
    struct rt_topic t = {0};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_bcast b = {.stream = rows[i].stream, .pos = {.lsn = rows[i].lsn, .seq = 4}};

        assert_int_equal(rt_casts_repeat(&t, &b), rows[i].repeat);
    }
    assert_true(t.cast_stream == 8 && t.cast_pos.lsn == 3);
}

/* db lets far fewer be under way. */
static void the_bound(void **state)
{
    struct pr_frame f;
    int rv = 0;
    uint64_t i = 0;

    (void)state;
    world_open(NULL);
    while (rv == 0 && i <= RT_CASTS_MAX) {
        struct pr_slice bytes = cast(7, ++i, "a");

        assert_int_equal(pr_frame_next(bytes, &f), bytes.n);
        rv = rt_casts_frame(w.e, &f);
        w.ipc.len = 0; /* the owner hears nothing */
        rt_link_pump(w.e);
    }
    assert_int_equal(rv, CL_EAGAIN);
    assert_int_equal(i, RT_CASTS_MAX + 1);
    f.body.n = 1;
    assert_int_equal(rt_casts_frame(w.e, &f), PR_ESHORT);
    w.ipc.len = 0;
    world_close();
}

static void flow(enum pr_reader_state state, uint32_t casts)
{
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_reader m = {.project = pr_str("default"), .state = state, .casts = casts};

    pr_reader_encode(&o, &m);
    to_edge(pr_bytes(memory, o.len));
    settle();
}

static void told_when_it_flows(void **state)
{
    static const char join[] = "['%s','%s','realtime:%s','phx_join',"
                               "{'config':{'broadcast':{'replication_ready':true}}}]";
    static const char established[] = "['1',null,'realtime:a','system',{'extension':'system',"
                                      "'status':'ok','message':'Replication connection "
                                      "established','channel':'a'}]\n";
    struct rt_conn *c = NULL;
    char text[256];

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    (void)snprintf(text, sizeof text, join, "1", "1", "a");
    send_text(c, text);
    (void)heard(c);
    flow(PR_READER_HELD, 0); /* read, but without broadcasts */
    assert_string_equal(heard(c), "");
    flow(PR_READER_HELD, 1);
    assert_string_equal(heard(c), established);
    flow(PR_READER_HELD, 1);
    assert_string_equal(heard(c), "");
    (void)snprintf(text, sizeof text, join, "2", "2", "b");
    send_text(c, text);
    assert_non_null(strstr(heard(c), "'Replication connection established'"));
    flow(PR_READER_STOP, 0);
    (void)snprintf(text, sizeof text, join, "3", "3", "c");
    send_text(c, text);
    assert_null(strstr(heard(c), "Replication"));
    send_text(c, "['3','4','realtime:c','phx_leave',{}]");
    (void)heard(c);
    flow(PR_READER_HELD, 1); /* who waited has left */
    assert_string_equal(heard(c), "");
    world_close();
}

static void told_when_it_does_not_in_time(void **state)
{
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    send_text(c, "['1','1','realtime:a','phx_join',"
                 "{'config':{'broadcast':{'replication_ready':true}}}]");
    (void)heard(c);
    rt_wheel_advance(&w.e->wheel, w.e->now_ms + 59000);
    settle();
    assert_null(strstr(heard(c), "Replication"));
    rt_wheel_advance(&w.e->wheel, w.e->now_ms + 60200);
    settle();
    assert_string_equal(heard(c),
                        "['1',null,'realtime:a','system',{'extension':'system','status':'error',"
                        "'message':'Replication connection was not established in time',"
                        "'channel':'a'}]\n['1','1','realtime:a','phx_close',{}]\n");
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_in_order_and_acknowledged),
        cmocka_unit_test(sent_again_it_is_not_published_again),
        cmocka_unit_test(nothing_is_acknowledged_over_a_lost_link),
        cmocka_unit_test(another_stream_starts_anew),
        cmocka_unit_test(members_take_a_position_once),
        cmocka_unit_test(the_bound),
        cmocka_unit_test(told_when_it_flows),
        cmocka_unit_test(told_when_it_does_not_in_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
