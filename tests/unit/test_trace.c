/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: each event and action has its line, and the hash tells two runs apart. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/trace.h"

static struct cl_trace t;
static uint8_t bytes[8192];
static struct pr_outbuf o;
static struct pr_frame f;

static void frame(void)
{
    assert_true(pr_frame_next(pr_bytes(bytes, o.len), &f) > 0);
}

static void expect_frame(const char *want)
{
    frame();
    cle_trace_frame(&t, 12345, 2, &f);
    assert_string_equal(t.line, want);
    o.len = 0;
}

static void test_frames(void **state)
{
    const struct pr_sub sub = {.topic = pr_bytes("p\0"
                                                 "0r",
                                                 4),
                               .presence = true,
                               .seq = 9};
    const struct pr_sub_ok sub_ok = {.topic = pr_str("r"), .epoch = {1, 0xab, 1}, .seq = 9};
    const struct pr_unsub unsub = {.topic = pr_str("r")};
    const struct pr_pub pub = {
        .part = 7, .topic = pr_str("r"), .oseq = 4, .payload = pr_str("xyz")};
    const struct pr_pub_ok pub_ok = {.part = 7, .oseq = 4, .result = 1};
    const struct pr_event ev = {.topic = pr_str("r"), .seq = 5, .boot = 0x9f, .oseq = 4};
    const struct pr_p_delta delta = {.topic = pr_str("r"), .actor = 0x9f, .a = 1, .b = 2};
    const struct pr_p_pull pull = {.actor = 0x9f, .ctx = 3};
    const struct pr_p_view view = {.topic = pr_str("r"), .last = true};
    const struct pr_p_diff diff = {.topic = pr_str("r")};

    (void)state;
    memset(&t, 0, sizeof t);
    o = pr_outbuf(bytes, sizeof bytes);
    pr_sub_encode(&o, &sub);
    expect_frame("t=000012.345 e2 in SUB topic=p.0r presence=1 seq=9");
    pr_sub_ok_encode(&o, &sub_ok);
    expect_frame("t=000012.345 e2 in SUB_OK topic=r epoch=ab seq=9");
    pr_unsub_encode(&o, &unsub);
    expect_frame("t=000012.345 e2 in UNSUB topic=r");
    pr_pub_encode(&o, &pub);
    expect_frame("t=000012.345 e2 in PUB part=7 topic=r oseq=4 bytes=3");
    pr_pub_ok_encode(&o, &pub_ok);
    expect_frame("t=000012.345 e2 in PUB_OK part=7 oseq=4 result=1");
    pr_event_encode(&o, &ev);
    expect_frame("t=000012.345 e2 in EVENT topic=r seq=5 boot=9f oseq=4 bytes=0");
    pr_p_delta_encode(&o, &delta);
    expect_frame("t=000012.345 e2 in P_DELTA topic=r actor=9f a=1 b=2 adds=0 dels=0");
    pr_p_pull_encode(&o, &pull);
    expect_frame("t=000012.345 e2 in P_PULL topic= actor=9f ctx=3");
    pr_p_view_encode(&o, &view);
    expect_frame("t=000012.345 e2 in P_VIEW topic=r count=0 last=1");
    pr_p_diff_encode(&o, &diff);
    expect_frame("t=000012.345 e2 in P_DIFF topic=r joins=0 leaves=0");
    pr_attached_encode(&o);
    bytes[4] = 0xee; /* a type that nobody knows */
    expect_frame("t=000012.345 e2 in OTHER");
    assert_int_equal(t.lines, 11);
}

static void test_events(void **state)
{
    struct cl_event tick = {.type = CL_EV_TICK};
    struct cl_event up = {.type = CL_EV_EDGE_UP, .edge = 1, .boot = 0x9f};
    struct cl_event down = {.type = CL_EV_EDGE_DOWN, .edge = 1};
    struct cl_event in = {.type = CL_EV_EDGE_IN, .edge = 1, .frame = &f};

    (void)state;
    cl_trace_event(&t, 1, &tick);
    assert_string_equal(t.line, "t=000000.001 tick");
    cl_trace_event(&t, 1, &up);
    assert_string_equal(t.line, "t=000000.001 up edge=1 boot=9f");
    cl_trace_event(&t, 1, &down);
    assert_string_equal(t.line, "t=000000.001 down edge=1");
    o = pr_outbuf(bytes, sizeof bytes);
    pr_attached_encode(&o);
    frame();
    cl_trace_event(&t, 1, &in);
    assert_string_equal(t.line, "t=000000.001 in edge=1 ATTACHED");
}

static void test_actions(void **state)
{
    struct cl_action send = {.type = CL_ACT_EDGE_SEND, .edges = 5};
    struct cl_action cut = {.type = CL_ACT_EDGE_CUT, .edge = 3, .reason = "bad"};
    static const struct {
        struct cle_action a;
        const char *want;
    } cases[] = {
        {{.type = CLE_SUBSCRIBED, .topic = 4}, "t=000000.000 e1 subscribed topic=4"},
        {{.type = CLE_SUB_FAILED, .topic = 4}, "t=000000.000 e1 sub_failed topic=4"},
        {{.type = CLE_EVENT, .own = true, .cookie = 8},
         "t=000000.000 e1 event topic=0 own=1 cookie=8 bytes=0"},
        {{.type = CLE_PUB_DONE, .cookie = 8, .result = 2},
         "t=000000.000 e1 pub_done cookie=8 result=2"},
        {{.type = CLE_PRES_VIEW}, "t=000000.000 e1 view topic=0 count=0 last=0"},
        {{.type = CLE_PRES_DIFF}, "t=000000.000 e1 diff topic=0 joins=0 leaves=0"},
        {{.type = CLE_PRES_RESET}, "t=000000.000 e1 reset topic=0"},
        {{.type = CLE_GAP, .lost = 3}, "t=000000.000 e1 gap topic=0 lost=3"},
        {{.type = CLE_SEND}, "t=000000.000 e1 send"},
    };

    (void)state;
    o = pr_outbuf(bytes, sizeof bytes);
    pr_attached_encode(&o);
    send.bytes = pr_bytes(bytes, o.len);
    cl_trace_action(&t, 0, &send);
    assert_string_equal(t.line, "t=000000.000 send edges=5 ATTACHED");
    cl_trace_action(&t, 0, &cut);
    assert_string_equal(t.line, "t=000000.000 cut edge=3 reason=\"bad\"");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cle_trace_action(&t, 0, 1, &cases[i].a);
        assert_string_equal(t.line, cases[i].want);
    }
}

static void test_hash(void **state)
{
    struct cl_trace a = {0};
    struct cl_trace b = {0};
    struct cle_action x = {.type = CLE_EVENT, .payload = pr_str("x")};
    struct cle_action y = {.type = CLE_EVENT, .payload = pr_str("y")};

    (void)state;
    cle_trace_action(&a, 0, 1, &x);
    cle_trace_action(&b, 0, 1, &x);
    assert_true(a.hash == b.hash && a.hash != 0);
    cle_trace_action(&a, 0, 1, &x);
    cle_trace_action(&b, 0, 1, &y); /* the same line, other bytes */
    assert_string_equal(a.line, b.line);
    assert_true(a.hash != b.hash);
}

static void test_long_line(void **state)
{
    static char key[PR_TOPIC_KEY_MAX + 1];
    struct pr_unsub unsub;

    (void)state;
    memset(key, 'k', sizeof key - 1);
    unsub.topic = pr_str(key);
    o = pr_outbuf(bytes, sizeof bytes);
    pr_unsub_encode(&o, &unsub);
    frame();
    cle_trace_frame(&t, 0, 1, &f);
    assert_int_equal(strlen(t.line), CL_TRACE_LINE_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_frames),    cmocka_unit_test(test_events),
        cmocka_unit_test(test_actions),   cmocka_unit_test(test_hash),
        cmocka_unit_test(test_long_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
