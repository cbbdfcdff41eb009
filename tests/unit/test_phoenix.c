/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/phoenix.h"

static uint8_t scratch_mem[PR_PHX_SCRATCH_BYTES];
static uint8_t out[8192];

static int decode(enum pr_vsn vsn, struct pr_slice in, bool text, struct pr_phx_msg *m)
{
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);

    return pr_phx_decode(vsn, in, text, &scratch, m);
}

static void reads_vsn(void **state)
{
    static const struct {
        const char *text;
        int want; /* 1, 2, or 0 for refused */
    } rows[] = {{"1.0.0", 1},   {"1.0.12", 1}, {"2.0.0", 2}, {"", 0},      {"1", 0},
                {"1.0", 0},     {"1.0.", 0},   {"1.1.0", 0}, {"3.0.0", 0}, {"2.0.x", 0},
                {"2.0.0-r", 0}, {"2-0.0", 0},  {" 2.0.0", 0}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        enum pr_vsn vsn = PR_VSN_1;
        int rc = pr_vsn_parse(pr_str(rows[i].text), &vsn);

        assert_int_equal(rc, rows[i].want != 0 ? PR_OK : PR_EVERSION);
        if (rc == PR_OK) {
            assert_int_equal(vsn, rows[i].want);
        }
    }
}

struct good {
    enum pr_vsn vsn;
    const char *in;
    const char *join_ref, *ref, *topic, *event, *payload;
    enum pr_json_type type;
};

/* First frames as realtime-js 1.7, 2.11 and 2.119 send them, and what else is allowed. */
static void decodes_text(void **state)
{
    static const struct good rows[] = {
        {PR_VSN_1,
         "{\"topic\":\"realtime:public:users:id=eq.1\",\"event\":\"phx_join\",\"payload\":{},"
         "\"ref\":\"1\",\"join_ref\":\"1\"}",
         "\"1\"", "\"1\"", "realtime:public:users:id=eq.1", "phx_join", "{}", PR_JSON_OBJECT},
        {PR_VSN_1, "{\"topic\":\"phoenix\",\"event\":\"heartbeat\",\"payload\":{},\"ref\":\"5\"}",
         "", "\"5\"", "phoenix", "heartbeat", "{}", PR_JSON_OBJECT},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":null,\"ref\":null}", "", "", "t",
         "e", "null", PR_JSON_NULL},
        {PR_VSN_1,
         " {\"x\":[],\"topic\":\"a\",\"topic\":\"b\",\"event\":\"e\",\"payload\":1,\"ref\":7} ", "",
         "7", "b", "e", "1", PR_JSON_NUMBER},
        {PR_VSN_2, "[\"6\",\"7\",\"realtime:room:1\",\"presence\",{\"type\":\"presence\"}]",
         "\"6\"", "\"7\"", "realtime:room:1", "presence", "{\"type\":\"presence\"}",
         PR_JSON_OBJECT},
        {PR_VSN_2, "[null,\"12\",\"phoenix\",\"heartbeat\",{}]", "", "\"12\"", "phoenix",
         "heartbeat", "{}", PR_JSON_OBJECT},
        {PR_VSN_2, "[1,2,\"t\",\"e\",[1],\"extra\",{}]", "1", "2", "t", "e", "[1]", PR_JSON_ARRAY},
        {PR_VSN_2, "[\"a\\n\",\"\",\"re\\u0061l:\\\"x\",\"\\u00e9\",\"p\"]", "\"a\\n\"", "\"\"",
         "real:\"x", "\xc3\xa9", "\"p\"", PR_JSON_STRING},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_phx_msg m;

        assert_int_equal(decode(rows[i].vsn, pr_str(rows[i].in), true, &m), PR_OK);
        assert_int_equal(m.kind, PR_PHX_TEXT);
        assert_true(pr_slice_is(m.join_ref.bytes, rows[i].join_ref));
        assert_true(pr_slice_is(m.ref.bytes, rows[i].ref));
        assert_true(pr_slice_is(m.topic, rows[i].topic));
        assert_true(pr_slice_is(m.event, rows[i].event));
        assert_true(pr_slice_is(m.payload, rows[i].payload));
        assert_int_equal(m.payload_type, rows[i].type);
        assert_true(m.json);
    }
}

static void refuses_text(void **state)
{
    static const struct {
        enum pr_vsn vsn;
        const char *in;
        int want;
    } rows[] = {
        {PR_VSN_1, "", PR_ESYNTAX},
        {PR_VSN_1, "[]", PR_ETYPE},
        {PR_VSN_1, "5", PR_ETYPE},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":{}}", PR_ESHORT},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":\"e\",\"ref\":\"1\"}", PR_ESHORT},
        {PR_VSN_1, "{\"event\":\"e\",\"payload\":{},\"ref\":\"1\"}", PR_ESHORT},
        {PR_VSN_1, "{\"topic\":\"t\",\"payload\":{},\"ref\":\"1\"}", PR_ESHORT},
        {PR_VSN_1, "{\"topic\":null,\"event\":\"e\",\"payload\":{},\"ref\":\"1\"}", PR_ETYPE},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":1,\"payload\":{},\"ref\":\"1\"}", PR_ETYPE},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":{},\"ref\":{}}", PR_ETYPE},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":{},\"ref\":1,\"join_ref\":[]}",
         PR_ETYPE},
        {PR_VSN_1, "{\"topic\":\"a\\u0000\",\"event\":\"e\",\"payload\":{},\"ref\":1}", PR_ESYNTAX},
        {PR_VSN_1, "{\"topic\":\"t\",\"event\":\"e\",\"payload\":{},\"ref\":1", PR_ESYNTAX},
        {PR_VSN_2, "", PR_ESYNTAX},
        {PR_VSN_2, "{}", PR_ETYPE},
        {PR_VSN_2, "null", PR_ETYPE},
        {PR_VSN_2, "[\"1\",\"2\",\"t\",\"e\"]", PR_ESHORT},
        {PR_VSN_2, "[]", PR_ESHORT},
        {PR_VSN_2, "[\"1\",\"2\",\"t\",\"e\",{}", PR_ESYNTAX},
        {PR_VSN_2, "[\"1\",\"2\",\"t\",\"e\",{}] x", PR_ESYNTAX},
        {PR_VSN_2, "[\"1\",\"2\",\"t\",\"e\",{},nope]", PR_ESYNTAX},
        {PR_VSN_2, "[true,\"2\",\"t\",\"e\",{}]", PR_ETYPE},
        {PR_VSN_2, "[\"1\",{},\"t\",\"e\",{}]", PR_ETYPE},
        {PR_VSN_2, "[\"1\",\"2\",3,\"e\",{}]", PR_ETYPE},
        {PR_VSN_2, "[\"1\",\"2\",\"t\",null,{}]", PR_ETYPE},
        {PR_VSN_2, "[\"1\",\"2\",\"t\",\"e\\u0000\",{}]", PR_ESYNTAX},
        {PR_VSN_2, "[\"1\",\"2\",\"\xff\",\"e\",{}]", PR_EUTF8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_phx_msg m;

        assert_int_equal(decode(rows[i].vsn, pr_str(rows[i].in), true, &m), rows[i].want);
    }
}

static struct pr_slice with_long(const char *before, size_t n, const char *after)
{
    size_t len = strlen(before);

    memcpy(out, before, len);
    memset(out + len, '1', n);
    memcpy(out + len + n, after, strlen(after));
    return pr_bytes(out, len + n + strlen(after));
}

static void bounds_lengths(void **state)
{
    struct pr_phx_msg m;

    (void)state;
    assert_int_equal(decode(PR_VSN_2, with_long("[\"", 253, "\",1,\"t\",\"e\",1]"), true, &m),
                     PR_OK);
    assert_int_equal(decode(PR_VSN_2, with_long("[\"", 254, "\",1,\"t\",\"e\",1]"), true, &m),
                     PR_ERANGE);
    assert_int_equal(decode(PR_VSN_2, with_long("[1,1,\"", 1024, "\",\"e\",1]"), true, &m), PR_OK);
    assert_int_equal(decode(PR_VSN_2, with_long("[1,1,\"", 1025, "\",\"e\",1]"), true, &m),
                     PR_ERANGE);
    /* Escaped and far too long: the scratch is full before the length is known. */
    assert_int_equal(decode(PR_VSN_2, with_long("[1,1,\"\\n", 4000, "\",\"e\",1]"), true, &m),
                     PR_ERANGE);
    assert_int_equal(decode(PR_VSN_2, with_long("[1,1,\"t\",\"", 255, "\",1]"), true, &m), PR_OK);
    assert_int_equal(decode(PR_VSN_2, with_long("[1,1,\"t\",\"", 256, "\",1]"), true, &m),
                     PR_ERANGE);
}

/* As captured from realtime-js 2.119.1. */
static void decodes_kind_3(void **state)
{
    static const char json[] = "\x03\x01\x01\x0f\x01\x00\x01"
                               "67realtime:room:1x{\"a\":1}";
    static const char binary[] = "\x03\x01\x01\x0f\x01\x00\x00"
                                 "68realtime:room:1x\x01\x02\x03";
    static const char persist[] = "\x03\x02\x02\x0b\x01\x10\x01"
                                  "1415realtime:pce{\"persist\":true}{\"a\":1}";
    struct pr_phx_msg m;

    (void)state;
    assert_int_equal(decode(PR_VSN_2, pr_bytes(json, sizeof json - 1), false, &m), PR_OK);
    assert_int_equal(m.kind, PR_PHX_BROADCAST);
    assert_true(m.json && m.payload_error == PR_OK);
    assert_true(pr_slice_is(m.join_ref.bytes, "6") && !m.join_ref.token);
    assert_true(pr_slice_is(m.ref.bytes, "7"));
    assert_true(pr_slice_is(m.topic, "realtime:room:1"));
    assert_true(pr_slice_is(m.event, "x"));
    assert_true(pr_slice_is(m.payload, "{\"a\":1}"));

    assert_int_equal(decode(PR_VSN_2, pr_bytes(binary, sizeof binary - 1), false, &m), PR_OK);
    assert_true(!m.json && pr_slice_is(m.payload, "\x01\x02\x03"));

    assert_int_equal(decode(PR_VSN_2, pr_bytes(persist, sizeof persist - 1), false, &m), PR_OK);
    assert_true(pr_slice_is(m.metadata, "{\"persist\":true}"));
    for (size_t n = 0; n < sizeof persist - 1 - 7; n++) {
        assert_int_equal(decode(PR_VSN_2, pr_bytes(persist, n), false, &m), PR_ESHORT);
    }
    assert_int_equal(decode(PR_VSN_1, pr_bytes(json, sizeof json - 1), false, &m), PR_EVERSION);
}

static void judges_binary(void **state)
{
    static const struct {
        const char *in;
        size_t n;
        int want;
        int payload_error;
    } rows[] = {
        {"\x03\x00\x00\x01\x01\x00\x02te[", 10, PR_OK, PR_ESYNTAX},
        {"\x03\x00\x00\x01\x01\x00\x01te", 9, PR_OK, PR_ESYNTAX},
        {"\x03\x00\x00\x01\x01\x00\x01te\"\xff\"", 12, PR_OK, PR_EUTF8},
        {"\x03\x00\x00\x01\x01\x00\x00te", 9, PR_OK, PR_OK},
        {"\x00\x01\x01\x01\x01"
         "67tedata",
         13, PR_OK, PR_OK},
        {"\x03\x00\x00\x01\x01\x00\x00\x00"
         "e",
         9, PR_ESYNTAX, 0},
        {"\x03\x00\x00\x01\x01\x00\x00t\x00", 9, PR_ESYNTAX, 0},
        {"\x00\x01\x01\x01", 4, PR_ESHORT, 0},
        {"\x00\xff\x01\x01\x01"
         "67te",
         9, PR_ESHORT, 0},
        {"\x01\x00\x00\x00\x00", 5, PR_EVERSION, 0},
        {"\x02\x00\x00\x00\x00", 5, PR_EVERSION, 0},
        {"\x04\x00\x00\x00\x00", 5, PR_EVERSION, 0},
        {"\xff", 1, PR_EVERSION, 0},
        {"", 0, PR_ESHORT, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_phx_msg m;
        int rc = decode(PR_VSN_2, pr_bytes(rows[i].in, rows[i].n), false, &m);

        assert_int_equal(rc, rows[i].want);
        if (rc == PR_OK) {
            assert_int_equal(m.payload_error, rows[i].payload_error);
            assert_int_equal(m.kind, rows[i].in[0] == 0 ? PR_PHX_PUSH : PR_PHX_BROADCAST);
        }
    }
}

static void repairs_latin1(void **state)
{
    static const char frame[] = "\x03\x00\x00\x03\x03\x00\x00t\xe9xa\xe9z";
    static const struct {
        const char *sent, *topic;
        bool want;
    } rows[] = {
        {"salle-\xe9", "salle-\xc3\xa9", true},
        {"\xac", "\xe2\x82\xac", true},          /* U+20AC */
        {"\x3d\x00", "\xf0\x9f\x98\x80", false}, /* U+1F600 is d83d de00; the text ends here */
        {"=\x01", "\xf0\x9f\x98\x81", true},     /* d83d de01 */
        {"", "", true},
        {"a", "", false},
        {"", "a", false},
        {"ab", "a", false},
        {"b", "a", false},
    };
    struct pr_phx_msg m;
    struct pr_outbuf small = pr_outbuf(NULL, 0);

    (void)state;
    assert_int_equal(decode(PR_VSN_2, pr_bytes(frame, sizeof frame - 1), false, &m), PR_OK);
    assert_true(pr_slice_is(m.event, "a\xc3\xa9z"));
    assert_true(pr_slice_is(m.topic, "t\xe9x"));
    assert_int_equal(pr_phx_decode(PR_VSN_2, pr_bytes(frame, sizeof frame - 1), false, &small, &m),
                     PR_ESHORT);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(pr_phx_topic_is_latin1(pr_str(rows[i].sent), pr_str(rows[i].topic)),
                         rows[i].want);
    }
}

static struct pr_phx_ref token(const char *text)
{
    return (struct pr_phx_ref){.bytes = pr_str(text), .token = true};
}

static struct pr_phx_ref plain(const char *text)
{
    return (struct pr_phx_ref){.bytes = pr_str(text)};
}

static void compares_refs(void **state)
{
    static const struct pr_phx_ref null = {{NULL, 0}, false};

    (void)state;
    assert_true(pr_phx_ref_eq(token("\"6\""), plain("6")));
    assert_true(pr_phx_ref_eq(token("6"), plain("6")));
    assert_false(pr_phx_ref_eq(token("\"6\""), plain("7")));
    assert_false(pr_phx_ref_eq(token("\"6\""), null));
    assert_true(pr_phx_ref_eq(null, plain("")));
    assert_true(pr_phx_ref_is_null(null) && !pr_phx_ref_is_null(token("\"\"")));
}

static void expect(const struct pr_outbuf *o, const char *want)
{
    assert_true(pr_out_ok(o));
    if (!pr_slice_is(pr_bytes(out, o->len), want)) {
        fail_msg("%.*s", (int)o->len, (const char *)out);
    }
}

static void encodes(void **state)
{
    struct pr_phx_addr to = {
        .join_ref = token("\"6\""), .ref = plain("7"), .topic = pr_str("realtime:a\"")};
    struct pr_phx_addr nobody = {.topic = pr_str("t")};
    struct pr_outbuf o = pr_outbuf(out, sizeof out);

    (void)state;
    pr_phx_put_reply(&o, PR_VSN_1, &to, "ok", pr_str("{}"));
    expect(&o, "{\"ref\":\"7\",\"topic\":\"realtime:a\\\"\",\"event\":\"phx_reply\",\"payload\":"
               "{\"status\":\"ok\",\"response\":{}}}");
    o.len = 0;
    pr_phx_put_reply(&o, PR_VSN_2, &to, "error", pr_str("\"payload_size_exceeded\""));
    expect(&o, "[\"6\",\"7\",\"realtime:a\\\"\",\"phx_reply\",{\"status\":\"error\",\"response\":"
               "\"payload_size_exceeded\"}]");
    o.len = 0;
    pr_phx_put_push(&o, PR_VSN_1, &to, "presence_state", pr_str("{\"k\":1}"));
    expect(&o, "{\"ref\":null,\"topic\":\"realtime:a\\\"\",\"event\":\"presence_state\","
               "\"payload\":{\"k\":1}}");
    o.len = 0;
    pr_phx_put_push(&o, PR_VSN_2, &to, "presence_state", pr_str("{}"));
    expect(&o, "[\"6\",null,\"realtime:a\\\"\",\"presence_state\",{}]");
    o.len = 0;
    pr_phx_put_push(&o, PR_VSN_2, &nobody, "e", pr_str("1"));
    expect(&o, "[null,null,\"t\",\"e\",1]");
    o.len = 0;
    pr_phx_put_close(&o, PR_VSN_1, &to);
    expect(&o, "{\"ref\":\"6\",\"topic\":\"realtime:a\\\"\",\"event\":\"phx_close\","
               "\"payload\":{}}");
    o.len = 0;
    pr_phx_put_close(&o, PR_VSN_2, &to);
    expect(&o, "[\"6\",\"6\",\"realtime:a\\\"\",\"phx_close\",{}]");
    o.len = 0;
    pr_phx_put_error(&o, PR_VSN_2, &to, "channel_crash");
    expect(&o, "[\"6\",\"6\",\"realtime:a\\\"\",\"phx_error\",{\"reason\":\"channel_crash\"}]");
}

/* Which form the members of a version get, by the origin of a broadcast. */
static void encodes_broadcasts(void **state)
{
    static char long_name[257];
    struct pr_bcast text = {.form = PR_BCAST_TEXT, .payload = pr_str("{\"x\":1}")};
    struct pr_bcast json = {.form = PR_BCAST_JSON, .event = pr_str("e"), .payload = pr_str("[1]")};
    struct pr_bcast meta = {.form = PR_BCAST_JSON,
                            .event = pr_str("e"),
                            .meta = pr_str("{\"id\":1}"),
                            .payload = pr_str("2")};
    struct pr_bcast bytes = {
        .form = PR_BCAST_BINARY, .event = pr_str("e"), .payload = pr_str("\xff")};
    struct pr_slice topic = pr_str("realtime:a");

    memset(long_name, 't', sizeof long_name - 1);
    struct pr_slice long_topic = pr_str(long_name);
    const struct {
        enum pr_vsn vsn;
        struct pr_slice topic;
        const struct pr_bcast *b;
        enum pr_phx_form form;
        const char *want; /* NULL: not compared */
    } rows[] = {
        {PR_VSN_1, topic, &text, PR_PHX_FORM_TEXT,
         "{\"ref\":null,\"topic\":\"realtime:a\",\"event\":\"broadcast\",\"payload\":{\"x\":1}}"},
        {PR_VSN_2, topic, &text, PR_PHX_FORM_TEXT,
         "[null,null,\"realtime:a\",\"broadcast\",{\"x\":1}]"},
        {PR_VSN_1, topic, &json, PR_PHX_FORM_TEXT,
         "{\"ref\":null,\"topic\":\"realtime:a\",\"event\":\"broadcast\",\"payload\":"
         "{\"event\":\"e\",\"payload\":[1],\"type\":\"broadcast\"}}"},
        {PR_VSN_2, topic, &json, PR_PHX_FORM_BINARY, "\x04\x0a\x01|\x01realtime:ae[1]"},
        {PR_VSN_1, topic, &meta, PR_PHX_FORM_TEXT,
         "{\"ref\":null,\"topic\":\"realtime:a\",\"event\":\"broadcast\",\"payload\":"
         "{\"event\":\"e\",\"meta\":{\"id\":1},\"payload\":2,\"type\":\"broadcast\"}}"},
        {PR_VSN_2, topic, &meta, PR_PHX_FORM_BINARY, "\x04\x0a\x01\x08\x01realtime:ae{\"id\":1}2"},
        {PR_VSN_1, topic, &bytes, PR_PHX_FORM_NONE, ""},
        {PR_VSN_2, topic, &bytes, PR_PHX_FORM_BINARY, "\x04\x0a\x01||realtime:ae\xff"},
        {PR_VSN_2, long_topic, &json, PR_PHX_FORM_TEXT, NULL},
        {PR_VSN_2, long_topic, &bytes, PR_PHX_FORM_NONE, ""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(out, sizeof out);

        assert_int_equal(pr_phx_put_bcast(&o, rows[i].vsn, rows[i].topic, rows[i].b), rows[i].form);
        assert_int_equal(pr_phx_bcast_form(rows[i].vsn, rows[i].topic, rows[i].b), rows[i].form);
        /* '|' stands for a zero byte in the head of kind 4. */
        for (size_t k = 0; rows[i].form == PR_PHX_FORM_BINARY && k < 5; k++) {
            out[k] = out[k] == 0 ? '|' : out[k];
        }
        if (rows[i].want != NULL) {
            expect(&o, rows[i].want);
        }
    }
    assert_false(pr_phx_bcast_fits(long_topic, &bytes));
    assert_true(pr_phx_bcast_fits(topic, &bytes));
    bytes.event = long_topic;
    assert_false(pr_phx_bcast_fits(topic, &bytes));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_vsn),      cmocka_unit_test(decodes_text),
        cmocka_unit_test(refuses_text),   cmocka_unit_test(bounds_lengths),
        cmocka_unit_test(decodes_kind_3), cmocka_unit_test(judges_binary),
        cmocka_unit_test(repairs_latin1), cmocka_unit_test(compares_refs),
        cmocka_unit_test(encodes),        cmocka_unit_test(encodes_broadcasts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
