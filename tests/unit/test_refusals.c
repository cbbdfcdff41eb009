/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_world.h"

#include "node/edge/say.h"

#define NAMELESS "realtime:"
#define NO_NAME  "TopicNameRequired: You must provide a topic name"
#define TEN      "{},{},{},{},{},{},{},{},{},{},"
#define FIFTY    TEN TEN TEN TEN TEN
#define TOO_MANY "ClientJoinRateLimitReached: Too many joins per second"

static void join(struct rt_conn *c, uint32_t ref, const char *topic, const char *payload)
{
    char text[512];

    (void)snprintf(text, sizeof text, "['1','%u','%s','phx_join',%s]", ref, topic, payload);
    send_text(c, text);
}

static const char *refusal(uint32_t ref, const char *topic, const char *reason)
{
    static char out[512];

    (void)snprintf(out, sizeof out,
                   "['1','%u','%s','phx_reply',{'status':'error','response':{'reason':'%s'}}]\n",
                   ref, topic, reason);
    return out;
}

static void pass(uint64_t ms)
{
    w.e->now_ms += ms;
    rt_wheel_advance(&w.e->wheel, w.e->now_ms);
    settle();
}

/* A join counts for the rate of its socket whatever it is refused for, and for that of the project
 * only if somebody could have taken it. */
static void every_join_counts(void **state)
{
    static const struct {
        const char *topic, *payload, *reason, *private_only;
    } rows[] = {
        {NAMELESS, "{}", NO_NAME, "off"},
        {"realtime:a", "{'config':{'private':'yes'}}",
         "InvalidJoinPayload: private must be a boolean", "off"},
        {"realtime:a", "{'config':{}}", "PrivateOnly: This project only allows private channels",
         "on"},
        {"realtime:a", "{'config':{'postgres_changes':[" FIFTY FIFTY "{}]}}",
         "InvalidJoinPayload: postgres_changes may have at most 100 entries", "off"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char private_only[64];
        const char *settings[] = {"REALTIME_MAX_CLIENT_JOINS_PER_SECOND=1",
                                  "REALTIME_MAX_JOINS_PER_SECOND=1", "REALTIME_FREE_REFUSALS=100",
                                  private_only, NULL};
        struct rt_conn *c = NULL;

        (void)snprintf(private_only, sizeof private_only, "REALTIME_PRIVATE_ONLY=%s",
                       rows[i].private_only);
        world_open(settings); /* a burst of four */
        c = client("2.0.0");
        for (uint32_t ref = 1; ref <= 4; ref++) {
            join(c, ref, rows[i].topic, rows[i].payload);
            assert_string_equal(heard(c), refusal(ref, rows[i].topic, rows[i].reason));
            assert_int_equal(c->close_code, 0);
        }
        join(c, 5, rows[i].topic, rows[i].payload);
        assert_string_equal(heard(c), refusal(5, rows[i].topic, TOO_MANY));
        assert_int_equal(c->close_code, 1001);
        assert_int_equal(rt_limit_left(w.e->projects[0], RT_LIMIT_JOINS), 1);
        world_close();
    }
}

/* Each waits for its own time, and those of one time are said as they came. */
static void late_ones_keep_their_order(void **state)
{
    static const char *const settings[] = {"REALTIME_FREE_REFUSALS=0", NULL};
    char both[1024];
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, 1, NAMELESS, "{}");
    join(c, 2, NAMELESS, "{}");
    pass(2000);
    join(c, 3, NAMELESS, "{}");
    assert_string_equal(heard(c), "");
    pass(RT_REFUSAL_DELAY_MS - 2000 + RT_WHEEL_TICK_MS);
    (void)snprintf(both, sizeof both, "%s", refusal(1, NAMELESS, NO_NAME));
    (void)strncat(both, refusal(2, NAMELESS, NO_NAME), sizeof both - strlen(both) - 1);
    assert_string_equal(heard(c), both);
    pass(2000);
    assert_string_equal(heard(c), refusal(3, NAMELESS, NO_NAME));
    assert_null(((struct rt_socket *)c->user)->late);
    world_close();
}

/* Where joins have no rate; and who is closed hears no more of them. */
static void so_many_may_wait(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_CLIENT_JOINS_PER_SECOND=0",
                                           "REALTIME_MAX_CHANNELS_PER_CLIENT=7", NULL};
    struct rt_conn *c[2];
    uint32_t most = 3 + RT_LATE_MAX + 7; /* three are said at once */

    (void)state;
    world_open(settings);
    for (size_t i = 0; i < 2; i++) {
        c[i] = client("2.0.0");
        for (uint32_t ref = 1; ref <= most; ref++) {
            join(c[i], ref, NAMELESS, "{}");
        }
        assert_int_equal(c[i]->close_code, 0);
        (void)heard(c[i]);
    }
    join(c[0], most + 1, NAMELESS, "{}");
    assert_string_equal(heard(c[0]), refusal(most + 1, NAMELESS, TOO_MANY));
    assert_int_equal(c[0]->close_code, 1001);
    c[1]->blocked = true;
    pass(RT_REFUSAL_DELAY_MS + RT_WHEEL_TICK_MS);
    assert_string_equal(heard(c[0]), "");
    assert_int_equal(c[1]->close_code, 0);
    assert_int_equal(((struct rt_socket *)c[1]->user)->out.count, most - 3);
    world_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_join_counts),
        cmocka_unit_test(late_ones_keep_their_order),
        cmocka_unit_test(so_many_may_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
