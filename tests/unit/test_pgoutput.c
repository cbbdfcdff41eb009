/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/pgoutput.h"

/* A string literal with NULs inside. */
#define BYTES(s) pr_bytes((s), sizeof(s) - 1)

#define LSN1   "\0\0\0\0\x01\x02\x03\x04"
#define LSN2   "\0\0\0\0\x01\x02\x03\x05"
#define TIME1  "\0\x02\x91\xb3\x3d\xa3\x08\0"
#define REL42  "\0\0\0\x2a"
#define V_A    "t\0\0\0\1a"
#define TUPLE3 "\0\3" V_A "nu"

/* Goal: both wrappers, and each way to be wrong. */
static void test_rep(void **state)
{
    static const struct {
        const char *name;
        struct pr_slice in;
        int err;
    } cases[] = {
        {"data", {(const uint8_t *)"w" LSN1 LSN2 TIME1 "xyz", 28}, PR_OK},
        {"data, empty", {(const uint8_t *)"w" LSN1 LSN2 TIME1, 25}, PR_OK},
        {"data, short", {(const uint8_t *)"w" LSN1 LSN2 TIME1, 24}, PR_ESHORT},
        {"keepalive", {(const uint8_t *)"k" LSN1 TIME1 "\1", 18}, PR_OK},
        {"keepalive, short", {(const uint8_t *)"k" LSN1 TIME1, 17}, PR_ESHORT},
        {"keepalive, long", {(const uint8_t *)"k" LSN1 TIME1 "\1x", 19}, PR_ETRAIL},
        {"keepalive, bad flag", {(const uint8_t *)"k" LSN1 TIME1 "\2", 18}, PR_ERANGE},
        {"unknown", {(const uint8_t *)"p", 1}, PR_EVERSION},
        {"nothing", {NULL, 0}, PR_ESHORT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pr_rep m;
        int err = pr_rep_decode(cases[i].in, &m);

        if (err != cases[i].err) {
            fail_msg("%s: %d, expected %d", cases[i].name, err, cases[i].err);
        }
        if (err == PR_OK && m.kind == PR_REP_XLOG) {
            assert_int_equal(m.start_lsn, 0x01020304);
            assert_int_equal(m.end_lsn, 0x01020305);
            assert_int_equal(m.data.n, cases[i].in.n - 25);
        } else if (err == PR_OK) {
            assert_int_equal(m.end_lsn, 0x01020304);
            assert_true(m.reply);
        }
    }
}

static void test_status(void **state)
{
    uint8_t mem[64];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
    const struct pr_rep_status m = {
        .write_lsn = 1, .flush_lsn = 2, .apply_lsn = 3, .now_us = -1, .reply = true};

    (void)state;
    pr_rep_status_encode(&o, &m);
    assert_int_equal(o.len, 34);
    assert_memory_equal(mem, "r\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0\2\0\0\0\0\0\0\0\3", 25);
    assert_memory_equal(mem + 25, "\xff\xff\xff\xff\xff\xff\xff\xff\1", 9);
}

static const struct {
    const char *name;
    const char *bytes;
    size_t n;
    int err;
} messages[] = {
#define ROW(name, s, err)                                                                          \
    {                                                                                              \
        (name), (s), sizeof(s) - 1, (err)                                                          \
    }
    ROW("begin", "B" LSN1 TIME1 "\0\0\1\0", PR_OK),
    ROW("begin short", "B" LSN1 TIME1 "\0\0\1", PR_ESHORT),
    ROW("begin long", "B" LSN1 TIME1 "\0\0\1\0\0", PR_ETRAIL),
    ROW("commit", "C\0" LSN1 LSN2 TIME1, PR_OK),
    ROW("commit short", "C\0" LSN1 LSN2, PR_ESHORT),
    ROW("origin", "O" LSN1 "name\0", PR_OK),
    ROW("origin open", "O" LSN1 "name", PR_ESHORT),
    ROW("type", "Y" REL42 "public\0mood\0", PR_OK),
    ROW("type open", "Y" REL42 "public\0mood", PR_ESHORT),
    ROW("relation",
        "R" REL42 "public\0t\0d\0\2\1id\0\0\0\0\x17\xff\xff\xff\xff\0v\0\0\0\0\x19"
        "\xff\xff\xff\xff",
        PR_OK),
    ROW("relation without columns", "R" REL42 "\0t\0n\0\0", PR_OK),
    ROW("relation index", "R" REL42 "\0t\0i\0\0", PR_OK),
    ROW("relation full", "R" REL42 "\0t\0f\0\0", PR_OK),
    ROW("relation identity", "R" REL42 "\0t\0x\0\0", PR_ERANGE),
    ROW("relation many", "R" REL42 "\0t\0d\x06\x41", PR_ERANGE),
    ROW("relation short", "R" REL42 "\0t\0d\0\1\1id\0\0\0\0\x17\xff\xff\xff", PR_ESHORT),
    ROW("relation cut", "R" REL42 "\0t", PR_ESHORT),
    ROW("insert", "I" REL42 "N" TUPLE3, PR_OK),
    ROW("insert without columns", "I" REL42 "N\0\0", PR_OK),
    ROW("insert old", "I" REL42 "K" TUPLE3, PR_ETYPE),
    ROW("insert short", "I" REL42, PR_ESHORT),
    ROW("insert value short", "I" REL42 "N\0\1t\0\0\0\2a", PR_ESHORT),
    ROW("insert value missing", "I" REL42 "N\0\1", PR_ESHORT),
    ROW("insert no count", "I" REL42 "N\0", PR_ESHORT),
    ROW("insert value negative", "I" REL42 "N\0\1t\xff\xff\xff\xff", PR_ERANGE),
    ROW("insert binary", "I" REL42 "N\0\1b\0\0\0\1a", PR_ETYPE),
    ROW("insert many", "I" REL42 "N\xff\xff", PR_ERANGE),
    ROW("insert long", "I" REL42 "N" TUPLE3 "x", PR_ETRAIL),
    ROW("update", "U" REL42 "N" TUPLE3, PR_OK),
    ROW("update key", "U" REL42 "K\0\1" V_A "N" TUPLE3, PR_OK),
    ROW("update old", "U" REL42 "O" TUPLE3 "N" TUPLE3, PR_OK),
    ROW("update only old", "U" REL42 "O" TUPLE3, PR_ESHORT),
    ROW("update old twice", "U" REL42 "O" TUPLE3 "O" TUPLE3, PR_ETYPE),
    ROW("update old bad", "U" REL42 "O\0\1x", PR_ETYPE),
    ROW("update mark", "U" REL42 "x" TUPLE3, PR_ETYPE),
    ROW("delete key", "D" REL42 "K\0\1" V_A, PR_OK),
    ROW("delete old", "D" REL42 "O" TUPLE3, PR_OK),
    ROW("delete new", "D" REL42 "N" TUPLE3, PR_ETYPE),
    ROW("truncate", "T\0\0\0\2\3" REL42 REL42, PR_OK),
    ROW("truncate none", "T\0\0\0\0\0", PR_OK),
    ROW("truncate many", "T\xff\xff\xff\xff\0" REL42, PR_ESHORT),
    ROW("truncate long", "T\0\0\0\1\0" REL42 "x", PR_ETRAIL),
    ROW("message", "M\1" LSN1 "datafuse\0\0\0\0\2hb", PR_OK),
    ROW("message empty", "M\0" LSN1 "\0\0\0\0\0", PR_OK),
    ROW("message negative", "M\0" LSN1 "\0\x80\0\0\0", PR_ERANGE),
    ROW("message short", "M\0" LSN1 "\0\0\0\0\2h", PR_ESHORT),
    ROW("stream start of version 2", "S\0\0\0\0", PR_EVERSION),
    ROW("nothing", "", PR_ESHORT),
#undef ROW
};

static struct pr_pgo decode(const char *name)
{
    struct pr_pgo m = {0};

    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        if (strcmp(messages[i].name, name) == 0) {
            assert_int_equal(pr_pgo_decode(pr_bytes(messages[i].bytes, messages[i].n), &m), PR_OK);
            return m;
        }
    }
    fail_msg("no message %s", name);
    return m;
}

/* Goal: every kind, and every way to be wrong; no prefix of a right message is right. */
static void test_messages(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof messages / sizeof messages[0]; i++) {
        struct pr_pgo m;
        int err = pr_pgo_decode(pr_bytes(messages[i].bytes, messages[i].n), &m);

        if (err != messages[i].err) {
            fail_msg("%s: %d, expected %d", messages[i].name, err, messages[i].err);
        }
        for (size_t n = 0; err == PR_OK && n < messages[i].n; n++) {
            if (pr_pgo_decode(pr_bytes(messages[i].bytes, n), &m) == PR_OK) {
                fail_msg("%s: %zu bytes are enough", messages[i].name, n);
            }
        }
    }
}

static void test_transaction(void **state)
{
    struct pr_pgo m = decode("begin");

    (void)state;
    assert_int_equal(m.u.begin.final_lsn, 0x01020304);
    assert_int_equal(m.u.begin.xid, 256);
    m = decode("commit");
    assert_int_equal(m.u.commit.commit_lsn, 0x01020304);
    assert_int_equal(m.u.commit.end_lsn, 0x01020305);
    m = decode("message");
    assert_true(m.u.message.transactional);
    assert_true(pr_slice_is(m.u.message.prefix, "datafuse"));
    assert_true(pr_slice_is(m.u.message.content, "hb"));
    m = decode("origin");
    assert_true(pr_slice_is(m.u.origin.name, "name"));
    m = decode("type");
    assert_true(pr_slice_is(m.u.type.name, "mood"));
    assert_int_equal(m.u.type.oid, 42);
}

static void test_relation(void **state)
{
    struct pr_pgo m = decode("relation");
    struct pr_slice list = m.u.relation.columns;
    struct pr_pgo_column c;
    struct pr_slice broken = BYTES("\1id");

    (void)state;
    assert_int_equal(m.u.relation.oid, 42);
    assert_true(pr_slice_is(m.u.relation.schema, "public"));
    assert_int_equal(m.u.relation.identity, 'd');
    assert_int_equal(m.u.relation.count, 2);
    assert_int_equal(pr_pgo_columns_next(&list, &c), 1);
    assert_true(c.identity && pr_slice_is(c.name, "id") && c.type == 23 && c.typmod == -1);
    assert_int_equal(pr_pgo_columns_next(&list, &c), 1);
    assert_true(!c.identity && pr_slice_is(c.name, "v") && c.type == 25);
    assert_int_equal(pr_pgo_columns_next(&list, &c), 0);
    assert_int_equal(pr_pgo_columns_next(&broken, &c), PR_ESHORT);
}

static void test_rows(void **state)
{
    struct pr_pgo m = decode("update key");
    struct pr_slice list = m.u.row.row.values;
    struct pr_slice broken = BYTES("t\0");
    struct pr_pgo_value v;

    (void)state;
    assert_int_equal(m.u.row.relation, 42);
    assert_int_equal(m.u.row.old_kind, 'K');
    assert_int_equal(m.u.row.old.count, 1);
    assert_int_equal(m.u.row.row.count, 3);
    assert_int_equal(pr_pgo_values_next(&list, &v), 1);
    assert_true(v.kind == PR_PGO_TEXT && pr_slice_is(v.text, "a"));
    assert_int_equal(pr_pgo_values_next(&list, &v), 1);
    assert_int_equal(v.kind, PR_PGO_NULL);
    assert_int_equal(pr_pgo_values_next(&list, &v), 1);
    assert_int_equal(v.kind, PR_PGO_UNCHANGED);
    assert_int_equal(pr_pgo_values_next(&list, &v), 0);
    assert_int_equal(pr_pgo_values_next(&broken, &v), PR_ESHORT);
    assert_int_equal(decode("update").u.row.old_kind, 0);
    assert_int_equal(decode("delete old").u.row.old_kind, 'O');
}

static void test_truncate(void **state)
{
    struct pr_pgo m = decode("truncate");
    struct pr_slice list = m.u.truncate.relations;
    struct pr_slice broken = BYTES("abc");
    uint32_t oid = 0;

    (void)state;
    assert_int_equal(m.u.truncate.count, 2);
    assert_int_equal(m.u.truncate.flags, 3);
    assert_int_equal(pr_pgo_relations_next(&list, &oid), 1);
    assert_int_equal(oid, 42);
    assert_int_equal(pr_pgo_relations_next(&list, &oid), 1);
    assert_int_equal(pr_pgo_relations_next(&list, &oid), 0);
    assert_int_equal(pr_pgo_relations_next(&broken, &oid), PR_ESHORT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rep),      cmocka_unit_test(test_status),
        cmocka_unit_test(test_messages), cmocka_unit_test(test_transaction),
        cmocka_unit_test(test_relation), cmocka_unit_test(test_rows),
        cmocka_unit_test(test_truncate),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
