/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: the order of two lanes, and for each class its bound, its policy and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/base/alloc.h"
#include "node/owner/lanes.h"

#define MIB ((size_t)1024 * 1024)

/* A frame whose body is `body` bytes long and begins with `tag`, in memory of its own. */
static struct pr_frame make(uint8_t type, uint8_t cls, uint32_t tag, size_t body)
{
    size_t n = PR_FRAME_HEAD + body;
    uint8_t *p = rt_calloc(1, n);
    struct pr_outbuf o = pr_outbuf(p, n);
    struct pr_frame f;

    assert_true(body >= 4);
    pr_put_u32be(&o, (uint32_t)n - 4);
    pr_put_u8(&o, type);
    pr_put_u8(&o, cls);
    pr_put_u16be(&o, 0);
    pr_put_u32be(&o, tag);
    assert_int_equal(pr_frame_next(pr_bytes(p, n), &f), n);
    return f;
}

static enum rt_lanes_result push(struct rt_lanes *l, uint8_t type, uint8_t cls, uint32_t tag,
                                 size_t body)
{
    struct pr_frame f = make(type, cls, tag, body);
    enum rt_lanes_result r = rt_lanes_push(l, &f);

    rt_free((void *)(uintptr_t)f.whole.p);
    return r;
}

/* Reads all that waits, `step` bytes at a time, and gives the tags of the frames in order. */
static uint32_t drain(struct rt_lanes *l, size_t step, uint32_t *tags, uint32_t max)
{
    size_t cap = 64 * MIB;
    uint8_t *all = rt_malloc(cap);
    size_t n = 0;
    size_t at = 0;
    uint32_t count = 0;

    for (size_t got = 1; got > 0; n += got) {
        assert_true(cap - n >= step);
        got = rt_lanes_take(l, all + n, step);
    }
    while (at < n) {
        struct pr_frame f;
        long len = pr_frame_next(pr_bytes(all + at, n - at), &f);
        struct pr_cursor c;

        assert_true(len > 0);
        c = pr_cursor(f.body);
        assert_true(count < max);
        tags[count] = pr_get_u32be(&c);
        count++;
        at += (size_t)len;
    }
    assert_int_equal(at, n);
    rt_free(all);
    assert_true(rt_lanes_empty(l));
    for (uint32_t i = 0; i < RT_LANES_CLASSES; i++) {
        assert_int_equal(l->bytes[i], 0);
        assert_int_equal(l->frames[i], 0);
    }
    return count;
}

static void test_fast_types(void **state)
{
    static const struct {
        const char *name;
        uint8_t type, cls;
        bool fast;
    } cases[] = {
        {"PING", PR_T_PING, PR_C_CONTROL, true},
        {"PONG", PR_T_PONG, PR_C_CONTROL, true},
        {"BYE", PR_T_BYE, PR_C_CONTROL, true},
        {"SYNC_HASH", PR_T_SYNC_HASH, PR_C_CONTROL, true},
        {"SYNC", PR_T_SYNC, PR_C_CONTROL, true},
        {"CTL", PR_T_CTL, PR_C_CONTROL, true},
        {"CTL_REPLY", PR_T_CTL_REPLY, PR_C_CONTROL, true},
        {"NODE_HELLO", PR_T_NODE_HELLO, PR_C_CONTROL, true},
        {"NODE_HELLO_OK", PR_T_NODE_HELLO_OK, PR_C_CONTROL, true},
        {"SUB", PR_T_SUB, PR_C_CONTROL, false},
        {"SUB_ALL", PR_T_SUB_ALL, PR_C_CONTROL, false},
        {"VIEW", PR_T_VIEW, PR_C_CONTROL, false},
        {"LINK_ACK", PR_T_LINK_ACK, PR_C_CONTROL, false},
        {"PUB", PR_T_PUB, PR_C_BROADCAST, false},
        {"PUB_OK", PR_T_PUB_OK, PR_C_BROADCAST, false},
        {"EVENT", PR_T_EVENT, PR_C_BROADCAST, false},
        {"P_DELTA", PR_T_P_DELTA, PR_C_PRESENCE, false},
        {"CHG", PR_T_CHG, PR_C_CHANGES, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_lanes l = {0};
        uint32_t tags[2];

        assert_int_equal(push(&l, PR_T_VIEW, PR_C_CONTROL, 1, 4), RT_LANES_TAKEN);
        assert_int_equal(push(&l, cases[i].type, cases[i].cls, 2, 4), RT_LANES_TAKEN);
        assert_int_equal(drain(&l, 4096, tags, 2), 2);
        if ((tags[0] == 2) != cases[i].fast) {
            fail_msg("%s: in the wrong lane", cases[i].name);
        }
        rt_lanes_free(&l);
    }
}

/* What a node says of its topics keeps its order over all classes, however the bytes are cut. */
static void test_order(void **state)
{
    static const uint8_t types[] = {PR_T_SUB, PR_T_PUB,  PR_T_EVENT, PR_T_P_DELTA,
                                    PR_T_CHG, PR_T_VIEW, PR_T_EVENT, PR_T_P_SUM};
    static const uint8_t classes[] = {PR_C_CONTROL, PR_C_BROADCAST, PR_C_BROADCAST, PR_C_PRESENCE,
                                      PR_C_CHANGES, PR_C_CONTROL,   PR_C_BROADCAST, PR_C_PRESENCE};
    static const size_t steps[] = {1, 3, 7, 13, 4096};

    (void)state;
    for (size_t s = 0; s < sizeof steps / sizeof steps[0]; s++) {
        struct rt_lanes l = {0};
        uint32_t tags[200];

        for (uint32_t i = 0; i < 200; i++) {
            assert_int_equal(push(&l, types[i % 8], classes[i % 8], i, 4 + i % 50), RT_LANES_TAKEN);
        }
        assert_int_equal(drain(&l, steps[s], tags, 200), 200);
        for (uint32_t i = 0; i < 200; i++) {
            assert_int_equal(tags[i], i);
        }
        assert_int_equal(l.taken, 200);
        rt_lanes_free(&l);
    }
}

/* A fast frame goes before all that waits, but never into the middle of one that is on its way. */
static void property_22_overtakes(void **state)
{
    struct rt_lanes l = {0};
    uint8_t start[10];
    uint8_t rest[200];
    size_t n;
    struct pr_frame f;

    (void)state;
    assert_int_equal(push(&l, PR_T_PUB, PR_C_BROADCAST, 1, 20), RT_LANES_TAKEN);
    assert_int_equal(push(&l, PR_T_PUB, PR_C_BROADCAST, 2, 20), RT_LANES_TAKEN);
    assert_int_equal(rt_lanes_take(&l, start, sizeof start), sizeof start);
    assert_int_equal(push(&l, PR_T_PING, PR_C_CONTROL, 3, 4), RT_LANES_TAKEN);
    n = rt_lanes_take(&l, rest, sizeof rest);
    assert_int_equal(n, 28 - sizeof start + 12 + 28);
    assert_int_equal(pr_frame_next(pr_bytes(rest + 18, n - 18), &f), 12);
    assert_int_equal(f.type, PR_T_PING);
    assert_int_equal(pr_frame_next(pr_bytes(rest + 30, n - 30), &f), 28);
    assert_int_equal(f.type, PR_T_PUB);
    rt_lanes_free(&l);
}

/* Pushes frames of 64 KiB until one is not taken; gives how many were. */
static uint32_t fill(struct rt_lanes *l, uint8_t type, uint8_t cls, enum rt_lanes_result *end)
{
    uint32_t n = 0;

    *end = RT_LANES_TAKEN;
    while (n < 1000) {
        *end = push(l, type, cls, n, 65536);
        if (*end != RT_LANES_TAKEN) {
            break;
        }
        n++;
    }
    return n;
}

static void property_22_bounds(void **state)
{
    static const struct {
        const char *name;
        uint8_t type, cls;
        size_t bound;
        enum rt_lanes_result end;
    } cases[] = {
        {"control, data lane", PR_T_SUB, PR_C_CONTROL, RT_LANES_CONTROL_BYTES, RT_LANES_CLOSE},
        {"control, fast lane", PR_T_SYNC, PR_C_CONTROL, RT_LANES_CONTROL_BYTES, RT_LANES_CLOSE},
        {"changes", PR_T_CHG, PR_C_CHANGES, RT_LANES_CHANGES_BYTES, RT_LANES_STOP},
        {"publishes", PR_T_PUB, PR_C_BROADCAST, RT_LANES_HARD_BYTES, RT_LANES_CLOSE},
        {"pulls", PR_T_P_PULL, PR_C_PRESENCE, RT_LANES_HARD_BYTES, RT_LANES_CLOSE},
        {"an EVENT that says it is control", PR_T_EVENT, PR_C_CONTROL, RT_LANES_CONTROL_BYTES,
         RT_LANES_CLOSE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_lanes l = {0};
        enum rt_lanes_result end;
        uint32_t n = fill(&l, cases[i].type, cases[i].cls, &end);
        uint32_t tags[400];

        if (end != cases[i].end) {
            fail_msg("%s: ended with %d", cases[i].name, end);
        }
        assert_true(l.bytes[cases[i].cls] <= cases[i].bound);
        assert_true(l.bytes[cases[i].cls] > cases[i].bound - 2 * 65536);
        assert_int_equal(l.frames[cases[i].cls], n);
        assert_int_equal(l.counts.dropped[cases[i].cls], 0);
        /* The other classes do not notice. */
        assert_int_equal(
            push(&l, PR_T_PING, cases[i].cls == PR_C_CONTROL ? PR_C_PRESENCE : PR_C_CONTROL, 0, 4),
            RT_LANES_TAKEN);
        assert_int_equal(drain(&l, MIB, tags, 400), n + 1);
        /* Once it is read there is room again. */
        assert_int_equal(push(&l, cases[i].type, cases[i].cls, 0, 65536), RT_LANES_TAKEN);
        rt_lanes_free(&l);
    }
}

/* The oldest are lost, the youngest stay, what may not be lost stays, and all keep their order. */
static void property_22_drops(void **state)
{
    static const struct {
        const char *name;
        uint8_t drop, keep, cls;
        size_t bound;
    } cases[] = {
        {"broadcast", PR_T_EVENT, PR_T_PUB, PR_C_BROADCAST, RT_LANES_BROADCAST_BYTES},
        {"presence", PR_T_P_DELTA, PR_T_P_PULL, PR_C_PRESENCE, RT_LANES_PRESENCE_BYTES},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_lanes l = {0};
        uint32_t tags[600];
        uint32_t n;
        uint32_t kept = 0;
        uint8_t cls = cases[i].cls;

        /* 1000 frames of 16 KiB and some; every tenth may not be lost. */
        for (uint32_t t = 0; t < 1000; t++) {
            assert_int_equal(
                push(&l, t % 10 == 0 ? cases[i].keep : cases[i].drop, cls, t, 16384 + t % 100),
                RT_LANES_TAKEN);
            assert_true(l.bytes[cls] <= cases[i].bound);
        }
        assert_true(l.counts.dropped[cls] > 300);
        assert_true(l.counts.dropped_bytes[cls] >= l.counts.dropped[cls] * (16384 + 8));
        n = drain(&l, MIB, tags, 600);
        if (n + l.counts.dropped[cls] != 1000) {
            fail_msg("%s: %u frames came and %lu were dropped", cases[i].name, n,
                     (unsigned long)l.counts.dropped[cls]);
        }
        for (uint32_t t = 0; t < n; t++) {
            kept += tags[t] % 10 == 0;
            assert_true(t == 0 || tags[t] > tags[t - 1]);
        }
        assert_int_equal(kept, 100);
        assert_int_equal(tags[n - 1], 999);
        rt_lanes_free(&l);
    }
}

/* Nothing old to drop: the new one is the one that is lost, and the link lives. */
static void test_drops_the_new_one(void **state)
{
    struct rt_lanes l = {0};
    enum rt_lanes_result end;
    uint32_t n = fill(&l, PR_T_PUB, PR_C_BROADCAST, &end);

    (void)state;
    assert_int_equal(push(&l, PR_T_EVENT, PR_C_BROADCAST, 0, 100), RT_LANES_TAKEN);
    assert_int_equal(l.counts.dropped[PR_C_BROADCAST], 1);
    assert_int_equal(l.counts.dropped_bytes[PR_C_BROADCAST], 108);
    assert_int_equal(l.frames[PR_C_BROADCAST], n);
    rt_lanes_free(&l);
}

/* Small frames count their bookkeeping, so the bound bounds memory. */
static void test_small_frames(void **state)
{
    struct rt_lanes l = {0};
    uint32_t n = 0;

    (void)state;
    while (push(&l, PR_T_SUB, PR_C_CONTROL, n, 4) == RT_LANES_TAKEN) {
        n++;
    }
    assert_true(n < RT_LANES_CONTROL_BYTES / 40);
    assert_true(n > RT_LANES_CONTROL_BYTES / 120);
    rt_lanes_free(&l);
}

/* A frame of the largest size passes any class that is empty, and one at a time. */
static void test_largest(void **state)
{
    size_t body = PR_FRAME_MAX - 4;

    (void)state;
    for (uint8_t cls = PR_C_CONTROL; cls <= PR_C_BROADCAST; cls++) {
        struct rt_lanes l = {0};
        uint32_t tag;
        uint8_t type = cls == PR_C_BROADCAST ? PR_T_EVENT : PR_T_SUB;

        assert_int_equal(push(&l, type, cls, 7, body), RT_LANES_TAKEN);
        if (cls == PR_C_BROADCAST) {
            assert_int_equal(push(&l, type, cls, 8, body), RT_LANES_TAKEN);
            assert_int_equal(l.counts.dropped[cls], 1);
        }
        assert_int_equal(drain(&l, MIB, &tag, 1), 1);
        assert_int_equal(tag, cls == PR_C_BROADCAST ? 8 : 7);
        rt_lanes_free(&l);
    }
}

/* What is on its way is not dropped and not cleared: the peer would read half of a frame. */
static void test_on_its_way(void **state)
{
    struct rt_lanes l = {0};
    uint8_t p[100];
    struct pr_frame f;
    size_t n;

    (void)state;
    assert_int_equal(push(&l, PR_T_EVENT, PR_C_BROADCAST, 1, 40), RT_LANES_TAKEN);
    assert_int_equal(push(&l, PR_T_EVENT, PR_C_BROADCAST, 2, 40), RT_LANES_TAKEN);
    assert_int_equal(rt_lanes_take(&l, p, 10), 10);
    assert_int_equal(l.frames[PR_C_BROADCAST], 1);
    rt_lanes_clear(&l);
    assert_false(rt_lanes_empty(&l));
    assert_int_equal(push(&l, PR_T_BYE, PR_C_CONTROL, 3, 4), RT_LANES_TAKEN);
    n = 10 + rt_lanes_take(&l, p + 10, sizeof p - 10);
    assert_int_equal(n, 48 + 12);
    assert_int_equal(pr_frame_next(pr_bytes(p, n), &f), 48);
    assert_int_equal(pr_frame_next(pr_bytes(p + 48, n - 48), &f), 12);
    assert_int_equal(f.type, PR_T_BYE);
    assert_true(rt_lanes_empty(&l));
    rt_lanes_free(&l);
}

/* Ends with frames waiting and one cut: nothing leaks. */
static void test_ends_full(void **state)
{
    struct rt_lanes l = {0};
    uint8_t p[5];

    (void)state;
    rt_lanes_free(&l);
    for (uint32_t i = 0; i < 10; i++) {
        assert_int_equal(push(&l, PR_T_EVENT, PR_C_BROADCAST, i, 40), RT_LANES_TAKEN);
        assert_int_equal(push(&l, PR_T_PING, PR_C_CONTROL, i, 40), RT_LANES_TAKEN);
    }
    assert_int_equal(rt_lanes_take(&l, p, sizeof p), sizeof p);
    rt_lanes_free(&l);
    assert_true(rt_lanes_empty(&l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fast_types),       cmocka_unit_test(test_order),
        cmocka_unit_test(property_22_overtakes), cmocka_unit_test(property_22_bounds),
        cmocka_unit_test(property_22_drops),     cmocka_unit_test(test_drops_the_new_one),
        cmocka_unit_test(test_small_frames),     cmocka_unit_test(test_largest),
        cmocka_unit_test(test_on_its_way),       cmocka_unit_test(test_ends_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
