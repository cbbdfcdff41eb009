/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: questions of rights, of replay and of storing and their answers survive encode and decode
 * with all fields, and a frame that is shorter, longer, of a wrong type or with a length out of
 * bounds is refused by its reason.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/fuzz/mesh_recode.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))
#define CAP      (6 * (PR_TEXT_MAX + 8u))

static uint8_t bytes[CAP], again[CAP], text[PR_TEXT_MAX + 1];
static struct pr_frame f;

static const struct pr_rights_ask ask = {
    .boot = UINT64_MAX, .id = 1, .read = PR_EXT_ALL, .write = PR_EXT_PRESENCE};

static size_t put_ask(const struct pr_rights_ask *m)
{
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_rights_ask_encode(&o, m);
    assert_true(pr_out_ok(&o));
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
    return o.len;
}

static struct pr_rights_ask whole(void)
{
    struct pr_rights_ask m = ask;

    m.project = pr_str("default");
    m.topic = pr_str("room:1");
    m.role = pr_str("authenticated");
    m.claims = pr_str("{\"sub\":\"u\"}");
    m.sub = pr_str("u");
    m.headers = pr_str("{}");
    return m;
}

static void test_ask(void **state)
{
    struct pr_rights_ask m = whole();
    struct pr_rights_ask back;

    (void)state;
    (void)put_ask(&m);
    assert_int_equal(f.type, PR_T_RIGHTS_ASK);
    assert_int_equal(f.cls, PR_C_CONTROL);
    assert_int_equal(pr_rights_ask_decode(&f, &back), PR_OK);
    assert_true(pr_slice_is(back.project, "default") && pr_slice_is(back.topic, "room:1"));
    assert_true(pr_slice_is(back.role, "authenticated") && pr_slice_is(back.sub, "u"));
    assert_true(pr_slice_eq(back.claims, m.claims) && pr_slice_is(back.headers, "{}"));
    assert_true(back.boot == UINT64_MAX && back.id == 1 && back.read == 3 && back.write == 2);
}

static void test_answer(void **state)
{
    struct pr_rights m = {.boot = 1,
                          .id = UINT64_MAX,
                          .status = PR_RIGHTS_CHANGED,
                          .read = 1,
                          .write = 2,
                          .raised = UINT32_MAX,
                          .text = pr_str("why")};
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_rights back;

    (void)state;
    pr_rights_encode(&o, &m);
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
    assert_int_equal(pr_rights_decode(&f, &back), PR_OK);
    assert_true(back.boot == 1 && back.id == UINT64_MAX && back.status == PR_RIGHTS_CHANGED);
    assert_true(back.read == 1 && back.write == 2 && back.raised == UINT32_MAX);
    assert_true(pr_slice_is(back.text, "why"));
}

static void test_bounds(void **state)
{
    static const struct {
        size_t project, topic, role, claims, sub, headers;
        int want;
    } cases[] = {
        {0, 1, 0, 0, 0, 0, PR_OK},
        {PR_ID_MAX, PR_TOPIC_KEY_MAX, PR_TEXT_MAX, PR_TEXT_MAX, PR_TEXT_MAX, PR_TEXT_MAX, PR_OK},
        {PR_ID_MAX + 1, 1, 0, 0, 0, 0, PR_ERANGE},
        {0, 0, 0, 0, 0, 0, PR_ERANGE},
        {0, PR_TOPIC_KEY_MAX + 1, 0, 0, 0, 0, PR_ERANGE},
        {0, 1, PR_TEXT_MAX + 1, 0, 0, 0, PR_ERANGE},
        {0, 1, 0, PR_TEXT_MAX + 1, 0, 0, PR_ERANGE},
        {0, 1, 0, 0, PR_TEXT_MAX + 1, 0, PR_ERANGE},
        {0, 1, 0, 0, 0, PR_TEXT_MAX + 1, PR_ERANGE},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pr_rights_ask m = ask;

        m.project = pr_bytes(text, cases[i].project);
        m.topic = pr_bytes(text, cases[i].topic);
        m.role = pr_bytes(text, cases[i].role);
        m.claims = pr_bytes(text, cases[i].claims);
        m.sub = pr_bytes(text, cases[i].sub);
        m.headers = pr_bytes(text, cases[i].headers);
        (void)put_ask(&m);
        assert_int_equal(pr_rights_ask_decode(&f, &m), cases[i].want);
    }
}

/* A newer build's frame has more fields; a damaged one ends early or goes on. */
static void test_longer_and_shorter(void **state)
{
    struct pr_rights_ask m = whole();
    struct pr_outbuf o = pr_outbuf(again, sizeof again);
    size_t n = put_ask(&m);

    (void)state;
    for (size_t cut = 1; cut <= n - PR_FRAME_HEAD; cut++) {
        f.body.n = n - PR_FRAME_HEAD - cut;
        assert_int_equal(mesh_recode(&f, &o), PR_ESHORT);
    }
    f.body.n = n - PR_FRAME_HEAD + 1;
    bytes[n] = 7;
    assert_int_equal(mesh_recode(&f, &o), PR_ETRAIL);
    bytes[PR_FRAME_HEAD]++;
    assert_int_equal(mesh_recode(&f, &o), PR_OK);
    assert_int_equal(o.len, n);
}

static void test_wrong_bodies(void **state)
{
    static const struct {
        const char *name;
        uint8_t type;
        uint8_t cls;
        uint8_t body[24];
        uint8_t n;
        int want;
    } cases[] = {
        {"other type", PR_T_PING, 1, {0x97, 1, 1, 0, 0, 0, 0, 0xc4, 0}, 9, PR_EVERSION},
        {"other class", PR_T_RIGHTS, 2, {0x97, 1, 1, 0, 0, 0, 0, 0xc4, 0}, 9, PR_EVERSION},
        {"good", PR_T_RIGHTS, 1, {0x98, 1, 1, 0, 0, 0, 0, 0xc4, 0, 0xc4, 0}, 11, PR_OK},
        {"fewer fields", PR_T_RIGHTS, 1, {0x97, 1, 1, 0, 0, 0, 0, 0xc4, 0}, 9, PR_ESHORT},
        {"status is text", PR_T_RIGHTS, 1, {0x98, 1, 1, 0xa1, 'x', 0, 0, 0xc4, 0}, 9, PR_ETYPE},
        {"read over 32 bits", PR_T_RIGHTS, 1, {0x98, 1, 1, 0, 0xcf, [8] = 1}, 13, PR_ERANGE},
        {"text is str", PR_T_RIGHTS, 1, {0x98, 1, 1, 0, 0, 0, 0, 0xa1, 'x'}, 9, PR_ETYPE},
        {"huge text",
         PR_T_RIGHTS,
         1,
         {0x98, 1, 1, 0, 0, 0, 0, 0xc6, 255, 255, 255, 255},
         12,
         PR_ERANGE},
        {"no array", PR_T_RIGHTS, 1, {7}, 1, PR_ETYPE},
        {"nothing", PR_T_RIGHTS, 1, {0}, 0, PR_ESHORT},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pr_rights m;

        f = (struct pr_frame){.type = cases[i].type, .cls = cases[i].cls};
        f.body = pr_bytes(cases[i].body, cases[i].n);
        if (pr_rights_decode(&f, &m) != cases[i].want) {
            fail_msg("%s", cases[i].name);
        }
    }
}

static void test_replay_ask(void **state)
{
    static const struct {
        size_t topic;
        uint32_t limit;
        int want;
    } cases[] = {{1, 1, PR_OK},     {PR_TOPIC_KEY_MAX, PR_REPLAY_ROWS, PR_OK},
                 {0, 1, PR_ERANGE}, {PR_TOPIC_KEY_MAX + 1, 1, PR_ERANGE},
                 {1, 0, PR_ERANGE}, {1, PR_REPLAY_ROWS + 1, PR_ERANGE}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pr_replay_ask back, m = {.boot = UINT64_MAX,
                                        .id = 7,
                                        .topic = pr_bytes(text, cases[i].topic),
                                        .since_ms = UINT64_MAX,
                                        .limit = cases[i].limit};
        struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

        pr_replay_ask_encode(&o, &m);
        assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
        assert_int_equal(pr_replay_ask_decode(&f, &back), cases[i].want);
        if (cases[i].want == PR_OK) {
            assert_true(back.boot == UINT64_MAX && back.id == 7 && back.since_ms == UINT64_MAX);
            assert_true(back.limit == m.limit && pr_slice_eq(back.topic, m.topic));
        }
    }
}

static void test_store_ask(void **state)
{
    static const struct {
        size_t topic, message, event, payload;
        uint32_t ttl_s;
        int want;
    } cases[] = {{1, PR_UUID_LEN, 0, 0, 0, PR_OK},
                 {PR_TOPIC_KEY_MAX, PR_UUID_LEN, PR_TEXT_MAX, 9, PR_STORE_TTL_MAX, PR_OK},
                 {0, PR_UUID_LEN, 1, 1, 0, PR_ERANGE},
                 {1, PR_UUID_LEN - 1, 1, 1, 0, PR_ERANGE},
                 {1, PR_UUID_LEN + 1, 1, 1, 0, PR_ERANGE},
                 {1, PR_UUID_LEN, PR_TEXT_MAX + 1, 1, 0, PR_ERANGE},
                 {1, PR_UUID_LEN, 1, 1, PR_STORE_TTL_MAX + 1, PR_ERANGE}};

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct pr_store_ask back, m = {.project = pr_str("p"),
                                       .boot = UINT64_MAX,
                                       .id = 7,
                                       .topic = pr_bytes(text, cases[i].topic),
                                       .role = pr_str("r"),
                                       .claims = pr_str("{}"),
                                       .sub = pr_str("s"),
                                       .headers = pr_str("{}"),
                                       .message = pr_bytes(text, cases[i].message),
                                       .ttl_s = cases[i].ttl_s,
                                       .binary = i % 2 == 1,
                                       .event = pr_bytes(text, cases[i].event),
                                       .payload = pr_bytes(text, cases[i].payload)};
        struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

        pr_store_ask_encode(&o, &m);
        assert_true(pr_out_ok(&o));
        assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
        assert_int_equal(pr_store_ask_decode(&f, &back), cases[i].want);
        if (cases[i].want == PR_OK) {
            assert_true(back.boot == UINT64_MAX && back.id == 7 && back.ttl_s == m.ttl_s);
            assert_true(back.binary == m.binary && pr_slice_eq(back.event, m.event));
            assert_true(pr_slice_eq(back.topic, m.topic) && pr_slice_eq(back.message, m.message));
            assert_true(pr_slice_eq(back.payload, m.payload) && pr_slice_is(back.role, "r"));
        }
    }
}

static void test_store(void **state)
{
    struct pr_store back, m = {.boot = UINT64_MAX,
                               .id = 7,
                               .status = PR_RIGHTS_BUSY,
                               .stored = true,
                               .text = pr_str("why")};
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    (void)state;
    pr_store_encode(&o, &m);
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
    assert_int_equal(pr_store_decode(&f, &back), PR_OK);
    assert_true(back.boot == UINT64_MAX && back.id == 7 && back.status == PR_RIGHTS_BUSY);
    assert_true(back.stored && pr_slice_is(back.text, "why"));
}

/* Rows of 0, 1, 2 ... bytes. */
static size_t put_replay(uint32_t count)
{
    uint8_t memory[1024];
    struct pr_outbuf rows = pr_outbuf(memory, sizeof memory);
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_replay m = {.boot = 1, .id = UINT64_MAX, .status = PR_RIGHTS_DONE};

    for (uint32_t i = 0; i < count; i++) {
        pr_replay_put_row(&rows, pr_bytes(text, i));
    }
    assert_true(pr_out_ok(&rows));
    m.rows = pr_bytes(memory, rows.len);
    pr_replay_encode(&o, &m);
    assert_int_equal(pr_frame_next(pr_bytes(bytes, o.len), &f), o.len);
    return o.len;
}

static void test_replay(void **state)
{
    struct pr_replay m;
    struct pr_slice body;

    (void)state;
    for (uint32_t count = 0; count <= PR_REPLAY_ROWS; count++) {
        (void)put_replay(count);
        assert_int_equal(pr_replay_decode(&f, &m), PR_OK);
        assert_true(m.boot == 1 && m.id == UINT64_MAX && m.status == PR_RIGHTS_DONE);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(pr_replay_next(&m.rows, &body), 1);
            assert_int_equal(body.n, i);
        }
        assert_int_equal(pr_replay_next(&m.rows, &body), 0);
    }
    (void)put_replay(PR_REPLAY_ROWS + 1);
    assert_int_equal(pr_replay_decode(&f, &m), PR_ERANGE);
}

/* An answer that ends inside a row, or inside its length. */
static void test_replay_cut(void **state)
{
    size_t n = put_replay(3); /* the last row: 4 bytes of length and 2 */
    struct pr_replay m;

    (void)state;
    for (size_t cut = 1; cut <= 5; cut++) {
        f.body.n = n - PR_FRAME_HEAD - cut;
        assert_int_equal(pr_replay_decode(&f, &m), PR_ESHORT);
    }
    f.body.n = n - PR_FRAME_HEAD - 6;
    assert_int_equal(pr_replay_decode(&f, &m), PR_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ask),          cmocka_unit_test(test_answer),
        cmocka_unit_test(test_bounds),       cmocka_unit_test(test_longer_and_shorter),
        cmocka_unit_test(test_wrong_bodies), cmocka_unit_test(test_replay_ask),
        cmocka_unit_test(test_store_ask),    cmocka_unit_test(test_store),
        cmocka_unit_test(test_replay),       cmocka_unit_test(test_replay_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
