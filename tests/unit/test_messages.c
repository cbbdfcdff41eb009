/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a row of realtime.messages becomes the broadcast that clients are to see, byte for byte; a
 * row that cannot be one is told from it, by its reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "node/db/messages.h"
#include "proto/bcast.h"
#include "proto/phoenix.h"

#define COUNT(a)    (sizeof(a) / sizeof((a)[0]))
#define ID          "6f0f2b0c-0000-4000-8000-000000000001"
#define PAYLOAD_MAX 20u

static uint8_t key_bytes[4096], body_bytes[4096];
static char long_text[PR_TOPIC_KEY_MAX + 1];

static struct pr_slice text(const char *s)
{
    return s == NULL ? (struct pr_slice){0} : pr_str(s);
}

/* Made twice, as in production: once to count. */
static const char *make(const struct rt_message_row *row, struct pr_slice *key, struct pr_bcast *b)
{
    const struct pr_cast at = {.stream = 9, .pos = {.lsn = 5, .seq = 2}};
    struct pr_outbuf count_key = pr_outbuf(NULL, 0), count_body = pr_outbuf(NULL, 0);
    struct pr_outbuf k = pr_outbuf(key_bytes, sizeof key_bytes);
    struct pr_outbuf o = pr_outbuf(body_bytes, sizeof body_bytes);
    const char *why = rt_message_make(row, &at, "p", PAYLOAD_MAX, &count_key, &count_body);

    assert_ptr_equal(rt_message_make(row, &at, "p", PAYLOAD_MAX, &k, &o), why);
    if (why == NULL) {
        assert_true(pr_out_ok(&k) && pr_out_ok(&o));
        assert_true(k.len == count_key.len && o.len == count_body.len);
        assert_int_equal(pr_bcast_decode(pr_bytes(o.p, o.len), b), PR_OK);
        assert_true(b->stream == 9 && b->pos.lsn == 5 && b->pos.seq == 2 && b->sender == 0);
        *key = pr_bytes(k.p, k.len);
    }
    return why;
}

static void bodies(void **state)
{
    static const struct {
        const char *name, *event, *priv, *payload, *binary;
        uint32_t form;
        const char *want; /* payload of the body */
        size_t want_len;
    } cases[] = {
        {"object", "e", "f", "{\"a\": 1}", NULL, PR_BCAST_JSON, "{\"a\": 1}", 0},
        {"any JSON, any event", "a\"\n", "t", "[]", NULL, PR_BCAST_JSON, "[]", 0},
        {"event may be empty", "", "t", "null", NULL, PR_BCAST_JSON, "null", 0},
        {"bytes", "e", "t", NULL, "\\x00ff1a", PR_BCAST_BINARY, "\0\xff\x1a", 3},
        {"no bytes", "e", "f", NULL, "\\x", PR_BCAST_BINARY, "", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rt_message_row row = {.column = {text("room:1"), text(cases[i].event),
                                                text(cases[i].priv), text(cases[i].payload),
                                                text(cases[i].binary), text(ID),
                                                text("2026-01-01 00:00:00")}};
        size_t n = cases[i].want_len > 0 ? cases[i].want_len : strlen(cases[i].want);
        struct pr_slice key;
        struct pr_bcast b;
        const char *why = make(&row, &key, &b);

        if (why != NULL) {
            fail_msg("%s: %s", cases[i].name, why);
        }
        assert_int_equal(b.form, cases[i].form);
        assert_true(pr_slice_eq(b.payload, pr_bytes(cases[i].want, n)));
        assert_true(pr_slice_eq(
            key, pr_bytes(cases[i].priv[0] == 't' ? "p\0001room:1" : "p\0000room:1", 9)));
        assert_true(pr_slice_is(b.event, cases[i].event));
        assert_true(pr_slice_is(b.meta, "{\"id\":\"" ID "\"}"));
    }
}

static void refusals(void **state)
{
    static const struct {
        size_t topic, event; /* lengths; 0 of a topic: empty, SIZE_MAX: null */
        const char *priv, *payload, *binary, *id, *at, *want;
    } cases[] = {
        {6, 1, "f", "{}", NULL, ID, "t", NULL},
        {SIZE_MAX, 1, "f", "{}", NULL, ID, "t", "topic_missing"},
        {6, SIZE_MAX, "f", "{}", NULL, ID, "t", "event_missing"},
        {6, 1, NULL, "{}", NULL, ID, "t", "private_missing"},
        {6, 1, "f", "{}", NULL, NULL, "t", "id_missing"},
        {6, 1, "f", "{}", NULL, ID, NULL, "inserted_at_missing"},
        {6, 1, "f", NULL, NULL, ID, "t", "payload_missing"},
        {0, 1, "f", "{}", NULL, ID, "t", "topic_empty_or_event_too_long"},
        {6, PR_PHX_EVENT_MAX, "f", "{}", NULL, ID, "t", NULL},
        {6, PR_PHX_EVENT_MAX + 1, "f", "{}", NULL, ID, "t", "topic_empty_or_event_too_long"},
        {PR_TOPIC_KEY_MAX - 3, 1, "f", "{}", NULL, ID, "t", NULL},
        {PR_TOPIC_KEY_MAX - 2, 1, "f", "{}", NULL, ID, "t", "topic_too_long"},
        {6, 1, "f", "\"345678901234567890\"", NULL, ID, "t", NULL},
        {6, 1, "f", "\"3456789012345678901\"", NULL, ID, "t", "payload_too_large"},
        {6, 1, "f", NULL, "\\x0102030405060708091011121314151617181920", ID, "t", NULL},
        {6, 1, "f", NULL, "\\x010203040506070809101112131415161718192021", ID, "t",
         "payload_too_large"},
        {6, 1, "f", NULL, "\\x0", ID, "t", "payload_not_hex"},
        {6, 1, "f", NULL, "\\x0g", ID, "t", "payload_not_hex"},
        {6, 1, "f", NULL, "0102", ID, "t", "payload_not_hex"},
        {6, 1, "f", NULL, "", ID, "t", "payload_not_hex"},
        {246, 1, "f", NULL, "\\x", ID, "t", NULL},
        {247, 1, "f", NULL, "\\x", ID, "t", "topic_too_long_for_binary"},
    };

    (void)state;
    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct rt_message_row row = {.column = {{0},
                                                {0},
                                                text(cases[i].priv),
                                                text(cases[i].payload),
                                                text(cases[i].binary),
                                                text(cases[i].id),
                                                text(cases[i].at)}};
        struct pr_slice key;
        struct pr_bcast b;
        const char *why;

        if (cases[i].topic != SIZE_MAX) {
            row.column[RT_MESSAGE_TOPIC] = pr_bytes(long_text, cases[i].topic);
        }
        if (cases[i].event != SIZE_MAX) {
            row.column[RT_MESSAGE_EVENT] = pr_bytes(long_text, cases[i].event);
        }
        why = make(&row, &key, &b);
        if (cases[i].want == NULL ? why != NULL : why == NULL || strcmp(why, cases[i].want) != 0) {
            fail_msg("row %zu: %s", i, why == NULL ? "taken" : why);
        }
    }
}

/* Columns of a Relation message. */
static struct pr_pgo_relation relation(const char *schema, const char *const *names)
{
    static uint8_t bytes[1024];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_pgo_relation m = {.oid = 1, .schema = pr_str(schema), .name = pr_str("m")};

    for (; *names != NULL; names++) {
        pr_put_u8(&o, 0);
        pr_put(&o, *names, strlen(*names) + 1);
        pr_put_u32be(&o, 25);
        pr_put_u32be(&o, UINT32_MAX);
        m.count++;
    }
    m.columns = pr_bytes(bytes, o.len);
    return m;
}

static void partitions(void **state)
{
    static const char *const all[] = {"topic",          "extension",  "payload",     "event",
                                      "private",        "updated_at", "inserted_at", "id",
                                      "binary_payload", NULL};
    static const char *const other[] = {"id", "x", "topic", "event", NULL};
    struct pr_pgo_relation m = relation("realtime", all);
    struct rt_message_map map = rt_message_map(&m);

    (void)state;
    assert_true(map.known);
    assert_int_equal(map.at[RT_MESSAGE_TOPIC], 0);
    assert_int_equal(map.at[RT_MESSAGE_EXTENSION], 1);
    assert_int_equal(map.at[RT_MESSAGE_PAYLOAD], 2);
    assert_int_equal(map.at[RT_MESSAGE_EVENT], 3);
    assert_int_equal(map.at[RT_MESSAGE_PRIVATE], 4);
    assert_int_equal(map.at[RT_MESSAGE_INSERTED_AT], 6);
    assert_int_equal(map.at[RT_MESSAGE_ID], 7);
    assert_int_equal(map.at[RT_MESSAGE_BINARY], 8);
    m = relation("public", all);
    assert_false(rt_message_map(&m).known);
    m = relation("realtime", other);
    assert_false(rt_message_map(&m).known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bodies),
        cmocka_unit_test(refusals),
        cmocka_unit_test(partitions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
