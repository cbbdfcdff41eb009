/* SPDX-License-Identifier: Apache-2.0 */
/* The list of events: rows that are JSON whatever they are made of, and its bound. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "node/owner/events.h"

/* The row that was told last, and how many were. */
struct told {
    json_t *last, *first;
    uint32_t count;
};

static void keep(void *ctx, struct pr_slice row)
{
    struct told *t = ctx;

    json_decref(t->last);
    t->last = json_loadb((const char *)row.p, row.n, 0, NULL);
    assert_non_null(t->last);
    if (t->count == 0) {
        t->first = json_incref(t->last);
    }
    t->count++;
}

static struct told tell(const struct rt_events *e, uint32_t n)
{
    struct told t = {0};

    rt_events_each(e, n, keep, &t);
    return t;
}

static void forget(struct told *t)
{
    json_decref(t->last);
    json_decref(t->first);
}

static const char *text_of(const json_t *row, const char *key)
{
    return json_string_value(json_object_get(row, key));
}

static void a_row_has_time_kind_text_and_fields(void **state)
{
    struct rt_events *e = rt_events_new();
    struct told t;

    (void)state;
    rt_event(e, RT_EVT_MEMBER, "n2 is dead", rt_kv_s("peer", "n2"), rt_kv_s("why", NULL),
             rt_kv_u("inc", UINT64_MAX / 2), rt_kv_i("left_ms", -5), rt_kv_x("view", 0xab),
             rt_kv_b("by", pr_bytes("n1xx", 2)));
    t = tell(e, 9);
    assert_int_equal(t.count, 1);
    assert_int_equal(strlen(text_of(t.last, "ts")), strlen("2025-03-04T10:11:12.345Z"));
    assert_string_equal(text_of(t.last, "kind"), "member");
    assert_string_equal(text_of(t.last, "text"), "n2 is dead");
    assert_string_equal(text_of(t.last, "peer"), "n2");
    assert_string_equal(text_of(t.last, "why"), "");
    assert_string_equal(text_of(t.last, "view"), "00000000000000ab");
    assert_string_equal(text_of(t.last, "by"), "n1");
    assert_true(json_integer_value(json_object_get(t.last, "inc")) == INT64_MAX);
    assert_int_equal(json_integer_value(json_object_get(t.last, "left_ms")), -5);
    forget(&t);
    rt_events_free(e);
}

/* Goal: whatever bytes a value has, the row stays one JSON object on one line. */
static void odd_values_stay_json(void **state)
{
    static char big[5000];
    static const char quotes[] = "a\"b\\c\nd\te\x01";
    static const char broken[] = "\xff\xfe\xc3";
    const struct {
        const char *name;
        struct pr_slice value;
    } cases[] = {
        {"empty", {0}},
        {"quotes and line feeds", pr_str(quotes)},
        {"not UTF-8", pr_str(broken)},
        {"as long as is kept", pr_bytes(big, RT_EVENT_TEXT_MAX)},
        {"one more", pr_bytes(big, RT_EVENT_TEXT_MAX + 1)},
        {"very long", pr_bytes(big, sizeof big)},
    };

    (void)state;
    memset(big, '\x02', sizeof big); /* six bytes each in JSON */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rt_events *e = rt_events_new();
        struct told t;

        rt_event(e, RT_EVT_LINK, NULL, rt_kv_b("peer", cases[i].value),
                 rt_kv_b("why", cases[i].value), rt_kv_b("a", cases[i].value),
                 rt_kv_b("b", cases[i].value), rt_kv_b("c", cases[i].value),
                 rt_kv_b("d", cases[i].value));
        t = tell(e, 1);
        if (t.last == NULL || text_of(t.last, "text") == NULL) {
            fail_msg("%s: no row", cases[i].name);
        }
        forget(&t);
        rt_events_free(e);
    }
}

static void without_a_sentence_the_fields_make_one(void **state)
{
    struct rt_events *e = rt_events_new();
    struct told t;

    (void)state;
    rt_event(e, RT_EVT_LINK, NULL, rt_kv_s("peer", "n2"), rt_kv_s("why", ""), rt_kv_u("n", 3));
    t = tell(e, 1);
    assert_string_equal(text_of(t.last, "text"), "link peer=n2 n=3");
    forget(&t);
    rt_events_free(e);
}

/* Goal: beyond the bound the oldest go, and those that stay are in order. */
static void the_oldest_are_forgotten(void **state)
{
    struct rt_events *e = rt_events_new();

    (void)state;
    for (uint32_t i = 0; i < RT_EVENTS_MAX + 7; i++) {
        struct told t;

        rt_event(e, RT_EVT_VIEW, "", rt_kv_u("i", i));
        t = tell(e, 1);
        assert_int_equal(json_integer_value(json_object_get(t.last, "i")), i);
        forget(&t);
        if (i == RT_EVENTS_MAX - 1) {
            assert_int_equal(rt_events_count(e), RT_EVENTS_MAX);
        }
    }
    assert_int_equal(rt_events_count(e), RT_EVENTS_MAX);
    for (uint32_t n = 0; n <= RT_EVENTS_MAX + 1; n += 1 + n / 2) {
        struct told t = tell(e, n);
        uint32_t want = n < RT_EVENTS_MAX ? n : RT_EVENTS_MAX;

        assert_int_equal(t.count, want);
        if (want > 0) {
            assert_int_equal(json_integer_value(json_object_get(t.first, "i")),
                             RT_EVENTS_MAX + 7 - want);
        }
        forget(&t);
    }
    rt_events_free(e);
}

static void the_last_word_about_a_node(void **state)
{
    struct rt_events *e = rt_events_new();

    (void)state;
    assert_int_equal(rt_events_last(e, RT_EVT_MEMBER, pr_str("n2")).n, 0);
    rt_event(e, RT_EVT_MEMBER, "first", rt_kv_s("peer", "n2"));
    rt_event(e, RT_EVT_MEMBER, "second", rt_kv_s("peer", "n2"));
    rt_event(e, RT_EVT_MEMBER, "other node", rt_kv_s("peer", "n22"));
    rt_event(e, RT_EVT_LINK, "other kind", rt_kv_s("peer", "n2"));
    rt_event(e, RT_EVT_MEMBER, "about none", rt_kv_s("by", "n2"));
    assert_true(pr_slice_is(rt_events_last(e, RT_EVT_MEMBER, pr_str("n2")), "second"));
    assert_int_equal(rt_events_last(e, RT_EVT_MEMBER, pr_str("n")).n, 0);
    assert_int_equal(rt_events_last(e, RT_EVT_READER, pr_str("n2")).n, 0);
    rt_events_free(e);
    rt_events_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_has_time_kind_text_and_fields),
        cmocka_unit_test(odd_values_stay_json),
        cmocka_unit_test(without_a_sentence_the_fields_make_one),
        cmocka_unit_test(the_oldest_are_forgotten),
        cmocka_unit_test(the_last_word_about_a_node),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
