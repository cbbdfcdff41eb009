/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proto/join.h"

static uint8_t scratch_mem[4096];

static int parse(const char *text, struct pr_join *j)
{
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);

    return pr_join_parse(pr_str(text), &scratch, j);
}

static void reads_everything(void **state)
{
    struct pr_join j;

    (void)state;
    assert_int_equal(
        parse("{\"config\":{\"broadcast\":{\"self\":true,\"ack\":true,\"replay\":{\"since\":"
              "1700000000000,\"limit\":5},\"replication_ready\":true},\"presence\":{\"key\":\"u"
              "\\u0031\",\"enabled\":true},\"postgres_changes\":[null,{\"event\":\"INSERT\"}],"
              "\"postgres_changes_options\":{\"wait\":true,\"timeout\":30000},\"private\":true,"
              "\"later\":[]},\"access_token\":\"A\",\"user_token\":\"U\",\"version\":\"x\"}",
              &j),
        PR_OK);
    assert_true(pr_slice_is(j.access_token, "A") && pr_slice_is(j.user_token, "U"));
    assert_true(!j.legacy && j.self && j.ack && j.replication_ready && j.is_private && j.wait);
    assert_true(j.has_replay && !j.replay_bad && j.replay_since_ms == 1700000000000);
    assert_int_equal(j.replay_limit, 5);
    assert_int_equal(j.wait_ms, 20000);
    assert_true(j.presence && pr_slice_is(j.presence_key, "u1"));
    assert_int_equal(j.nbindings, 1);
    assert_int_equal(j.nbad, 0);
}

static void has_defaults(void **state)
{
    static const struct {
        const char *text;
        bool legacy;
    } rows[] = {{"{}", true},
                {"{\"access_token\":null}", true},
                {"{\"config\":null}", false},
                {"{\"config\":{}}", false},
                {"{\"config\":{\"broadcast\":null,\"presence\":null,\"private\":null,"
                 "\"postgres_changes\":null,\"postgres_changes_options\":null}}",
                 false},
                {"{\"config\":{\"broadcast\":{\"self\":null,\"replay\":null},"
                 "\"postgres_changes_options\":{\"timeout\":null}}}",
                 false}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_join j;

        assert_int_equal(parse(rows[i].text, &j), PR_OK);
        assert_int_equal(j.legacy, rows[i].legacy);
        assert_true(!j.self && !j.ack && !j.presence && !j.is_private && !j.wait && !j.has_replay);
        assert_int_equal(j.wait_ms, 15000);
        assert_int_equal(j.nbindings + j.nbad, 0);
        assert_int_equal(j.access_token.n + j.presence_key.n, 0);
    }
}

static void takes_strings_as_booleans(void **state)
{
    struct pr_join j;

    (void)state;
    assert_int_equal(parse("{\"config\":{\"broadcast\":{\"self\":\"TRUE\",\"ack\":\"False\"},"
                           "\"private\":\"true\"}}",
                           &j),
                     PR_OK);
    assert_true(j.self && !j.ack && j.is_private && j.nbad == 0);
}

static void decides_presence(void **state)
{
    static const struct {
        const char *presence;
        bool want;
        const char *key;
    } rows[] = {
        {"{}", true, ""},
        {"{\"key\":\"\"}", true, ""},
        {"{\"key\":null}", true, ""},
        {"{\"enabled\":null}", true, ""},
        {"{\"enabled\":false}", false, ""},
        {"{\"enabled\":\"FALSE\",\"key\":\"a\"}", false, "a"},
        {"{\"key\":17}", true, "17"},
        {"{\"key\":true}", true, "true"},
        {"{\"key\":{\"a\":1}}", true, "{\"a\":1}"},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(text, sizeof text - 1);
        struct pr_join j;

        memset(text, 0, sizeof text);
        pr_put_str(&o, "{\"config\":{\"presence\":");
        pr_put_str(&o, rows[i].presence);
        pr_put_str(&o, "}}");
        assert_int_equal(parse(text, &j), PR_OK);
        assert_int_equal(j.presence, rows[i].want);
        assert_true(pr_slice_is(j.presence_key, rows[i].key));
        assert_int_equal(j.nbad, 0);
    }
}

static void names_bad_fields(void **state)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"null", "payload must be an object"},
        {"[1]", "payload must be an object"},
        {"5", "payload must be an object"},
        {"{\"access_token\":1}", "access_token must be a string"},
        {"{\"user_token\":{}}", "user_token must be a string"},
        {"{\"config\":[]}", "config must be an object"},
        {"{\"config\":{\"broadcast\":1}}", "broadcast must be an object"},
        {"{\"config\":{\"broadcast\":{\"self\":1}}}", "broadcast.self must be a boolean"},
        {"{\"config\":{\"broadcast\":{\"ack\":\"yes\"}}}", "broadcast.ack must be a boolean"},
        {"{\"config\":{\"broadcast\":{\"replication_ready\":[]}}}",
         "broadcast.replication_ready must be a boolean"},
        {"{\"config\":{\"presence\":true}}", "presence must be an object"},
        {"{\"config\":{\"presence\":{\"enabled\":0}}}", "presence.enabled must be a boolean"},
        {"{\"config\":{\"private\":\"yes\"}}", "private must be a boolean"},
        {"{\"config\":{\"postgres_changes\":{}}}", "postgres_changes must be an array of objects"},
        {"{\"config\":{\"postgres_changes\":[{},1]}}",
         "postgres_changes must be an array of objects"},
        {"{\"config\":{\"postgres_changes_options\":[]}}",
         "postgres_changes_options must be an object"},
        {"{\"config\":{\"postgres_changes_options\":{\"wait\":2}}}",
         "postgres_changes_options.wait must be a boolean"},
        {"{\"config\":{\"postgres_changes_options\":{\"timeout\":1.5}}}",
         "postgres_changes_options.timeout must be an integer"},
        {"{\"config\":{\"postgres_changes_options\":{\"timeout\":\"1\"}}}",
         "postgres_changes_options.timeout must be an integer"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t buf[100];
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);
        struct pr_join j;

        assert_int_equal(parse(rows[i].text, &j), PR_OK);
        assert_int_equal(j.nbad, 1);
        pr_join_put_bad(&o, &j.bad[0]);
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].want));
        assert_int_equal(j.nbindings, 0);
        assert_int_equal(j.private_bad, strstr(rows[i].want, "private") != NULL);
        assert_false(j.is_private);
    }
}

static void reads_replay(void **state)
{
    static const struct {
        const char *replay;
        bool bad;
        int64_t since;
        uint32_t limit;
    } rows[] = {
        {"{}", false, 0, 10},
        {"{\"since\":5,\"limit\":0}", false, 5, 1},
        {"{\"limit\":-3}", false, 0, 1},
        {"{\"since\":-5}", true, -5, 10},
        {"{\"since\":253402300799999}", false, 253402300799999, 10},
        {"{\"since\":253402300800000}", true, 253402300800000, 10},
        {"{\"limit\":26}", false, 0, 25},
        {"{\"since\":\"1\"}", true, 0, 10},
        {"{\"limit\":1e1}", true, 0, 10},
        {"{\"since\":1234567890123456789012}", true, 0, 10},
        {"true", true, 0, 10},
    };
    char text[200];

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_outbuf o = pr_outbuf(text, sizeof text - 1);
        struct pr_join j;

        memset(text, 0, sizeof text);
        pr_put_str(&o, "{\"config\":{\"broadcast\":{\"replay\":");
        pr_put_str(&o, rows[i].replay);
        pr_put_str(&o, "}}}");
        assert_int_equal(parse(text, &j), PR_OK);
        assert_true(j.has_replay);
        assert_int_equal(j.replay_bad, rows[i].bad);
        assert_true(j.replay_since_ms == rows[i].since);
        assert_int_equal(j.replay_limit, rows[i].limit);
    }
}

static void refuses(void **state)
{
    static char many[1000];
    char long_key[400] = "{\"config\":{\"presence\":{\"key\":\"";
    struct pr_outbuf none = pr_outbuf(NULL, 0);
    struct pr_outbuf o = pr_outbuf(many, sizeof many - 1);
    struct pr_join j;

    (void)state;
    assert_int_equal(parse("", &j), PR_ESYNTAX);
    assert_int_equal(parse("{\"config\":{", &j), PR_ESYNTAX);
    assert_int_equal(parse("[1", &j), PR_ESYNTAX);
    assert_int_equal(parse("{\"a\":\"\xff\"}", &j), PR_EUTF8);
    assert_int_equal(pr_join_parse(pr_str("{\"access_token\":\"\\n\"}"), &none, &j), PR_ESHORT);
    none.len = 0;
    assert_int_equal(pr_join_parse(pr_str("{\"user_token\":\"\\n\"}"), &none, &j), PR_ESHORT);

    pr_put_str(&o, "{\"config\":{\"postgres_changes\":[{}");
    for (int i = 0; i < 99; i++) {
        pr_put_str(&o, ",{}");
    }
    size_t len = o.len;
    pr_put_str(&o, "]}}");
    assert_int_equal(parse(many, &j), PR_OK);
    assert_int_equal(j.nbindings, 100);
    o.len = len;
    pr_put_str(&o, ",{}]}}");
    assert_int_equal(parse(many, &j), PR_ERANGE);

    memset(long_key + strlen(long_key), 'k', 256);
    memcpy(long_key + strlen(long_key), "\"}}}", 5);
    assert_int_equal(parse(long_key, &j), PR_OK);
    assert_int_equal(j.nbad, 1);
    assert_int_equal(j.presence_key.n, 0);
}

struct binding_row {
    const char *raw;
    const char *event, *schema, *table, *filter, *select, *bad;
    bool has_schema, has_table, select_bad;
};

static void one_binding(const char *raw, struct pr_binding *b)
{
    static char text[500];
    struct pr_outbuf o = pr_outbuf(text, sizeof text - 1);
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    struct pr_json_iter it;
    struct pr_join j;

    memset(text, 0, sizeof text);
    pr_put_str(&o, "{\"config\":{\"postgres_changes\":[null,");
    pr_put_str(&o, raw);
    pr_put_str(&o, ",null]}}");
    assert_int_equal(parse(text, &j), PR_OK);
    pr_bindings_open(&j, &it);
    assert_int_equal(pr_bindings_next(&it, &scratch, b), 1);
    struct pr_binding end;
    assert_int_equal(pr_bindings_next(&it, &scratch, &end), 0);
}

static void reads_bindings(void **state)
{
    static const struct binding_row rows[] = {
        {"{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"t\",\"filter\":\"id=eq.1\"}",
         "INSERT", "public", "t", "id=eq.1", "", NULL, true, true, false},
        {"{\"event\":\"update\",\"table\":\"t\"}", "UPDATE", "public", "t", "", "", NULL, false,
         true, false},
        {"{\"event\":\"Delete\",\"schema\":\"*\"}", "DELETE", "*", "*", "", "", NULL, true, false,
         false},
        {"{\"event\":\"TRUNCATE\",\"schema\":\"s\",\"table\":null,\"filter\":\" \\t\"}", "*", "s",
         "*", "", "", NULL, true, false, false},
        {"{}", "*", "public", "*", "", "", NULL, false, false, false},
        {"{\"schema\":\"s\",\"filter\":\"a=eq.\\\"x,y\\\"\"}", "*", "s", "*", "a=eq.\"x,y\"", "",
         NULL, true, false, false},
        {"{\"schema\":\"s\",\"select\":[\"a\",\"b\"]}", "*", "s", "*", "", "[\"a\",\"b\"]", NULL,
         true, false, false},
        {"{\"schema\":\"s\",\"select\":[]}", "*", "s", "*", "", "", NULL, true, false, false},
        {"{\"schema\":\"s\",\"select\":null}", "*", "s", "*", "", "", NULL, true, false, false},
        {"{\"schema\":\"s\",\"select\":\"a\"}", "*", "s", "*", "", "", NULL, true, false, true},
        {"{\"schema\":\"s\",\"select\":[\"a\",1]}", "*", "s", "*", "", "", NULL, true, false, true},
        {"{\"event\":1,\"schema\":2}", "*", "public", "*", "", "", "event", false, false, false},
        {"{\"schema\":\"s\",\"table\":[]}", "*", "s", "*", "", "", "table", true, false, false},
        {"{\"schema\":\"s\",\"filter\":3}", "*", "s", "*", "", "", "filter", true, false, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_binding b;

        one_binding(rows[i].raw, &b);
        assert_true(pr_slice_is(b.raw, rows[i].raw));
        assert_string_equal(b.event, rows[i].event);
        assert_true(pr_slice_is(b.schema, rows[i].schema));
        assert_true(pr_slice_is(b.table, rows[i].table));
        assert_true(pr_slice_is(b.filter, rows[i].filter));
        assert_int_equal(b.has_filter, b.filter.n > 0);
        assert_true(pr_slice_is(b.select, rows[i].select));
        assert_int_equal(b.has_select, b.select.n > 0);
        assert_int_equal(b.select_bad, rows[i].select_bad);
        assert_int_equal(b.has_schema, rows[i].has_schema);
        assert_int_equal(b.has_table, rows[i].has_table);
        assert_true((b.bad == NULL) == (rows[i].bad == NULL));
        if (b.bad != NULL) {
            assert_string_equal(b.bad, rows[i].bad);
        }
        assert_true(b.id >= 1 && b.id < 1u << 27);
    }
}

/* The id is part of what clients of several nodes see: it may not change between releases. */
static void ids_are_stable(void **state)
{
    struct pr_binding a;
    struct pr_binding b;

    (void)state;
    one_binding("{\"event\":\"INSERT\",\"schema\":\"public\",\"table\":\"t\"}", &a);
    one_binding("{\"table\":\"t\", \"x\":1, \"schema\":\"public\",\"event\":\"INSERT\"}", &b);
    assert_int_equal(a.id, b.id);
    assert_int_equal(a.id, 0x47887c3);
    one_binding("{\"event\":\"INSERT\",\"schema\":\"publi\",\"table\":\"ct\"}", &b);
    assert_int_not_equal(a.id, b.id);
    one_binding("{\"event\":\"INSERT\",\"schema\":\"public\",\"filter\":\"t\"}", &b);
    assert_int_not_equal(a.id, b.id);
}

static void repeats_in_the_reply(void **state)
{
    static const struct {
        const char *raw, *want;
    } rows[] = {
        {"{}", "{\"id\":5}"},
        {"{ \n}", "{ \n\"id\":5}"},
        {"{\"event\":\"*\" }", "{\"event\":\"*\" ,\"id\":5}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t buf[64];
        struct pr_outbuf o = pr_outbuf(buf, sizeof buf);

        pr_binding_put_reply(&o, pr_str(rows[i].raw), 5);
        assert_true(pr_slice_is(pr_bytes(buf, o.len), rows[i].want));
    }
}

static void has_none(void **state)
{
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    struct pr_json_iter it;
    struct pr_join j;
    struct pr_binding b;

    (void)state;
    assert_int_equal(parse("{\"config\":{}}", &j), PR_OK);
    pr_bindings_open(&j, &it);
    assert_int_equal(pr_bindings_next(&it, &scratch, &b), 0);

    /* No room for an escaped text. */
    assert_int_equal(parse("{\"config\":{\"postgres_changes\":[{\"table\":\"\\n\"}]}}", &j), PR_OK);
    scratch = pr_outbuf(NULL, 0);
    pr_bindings_open(&j, &it);
    assert_int_equal(pr_bindings_next(&it, &scratch, &b), PR_ESHORT);
}

static void reads_legacy_topics(void **state)
{
    static const struct {
        const char *topic, *schema, *table, *filter;
    } rows[] = {
        {"public", "public", "*", ""},
        {"*", "*", "*", ""},
        {"public:users", "public", "users", ""},
        {"public:users:id=eq.1", "public", "users", "id=eq.1"},
        {"public:t:a=eq.x:y", "public", "t", "a=eq.x:y"},
        {"public::a=eq.1", "public", "*", "a=eq.1"},
    };
    struct pr_binding b;

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_true(pr_binding_legacy(pr_str(rows[i].topic), &b));
        assert_string_equal(b.event, "*");
        assert_true(pr_slice_is(b.schema, rows[i].schema));
        assert_true(pr_slice_is(b.table, rows[i].table));
        assert_true(pr_slice_is(b.filter, rows[i].filter));
    }
    assert_false(pr_binding_legacy(pr_bytes(NULL, 0), &b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_everything),     cmocka_unit_test(has_defaults),
        cmocka_unit_test(decides_presence),     cmocka_unit_test(names_bad_fields),
        cmocka_unit_test(reads_replay),         cmocka_unit_test(refuses),
        cmocka_unit_test(reads_bindings),       cmocka_unit_test(ids_are_stable),
        cmocka_unit_test(repeats_in_the_reply), cmocka_unit_test(has_none),
        cmocka_unit_test(reads_legacy_topics),  cmocka_unit_test(takes_strings_as_booleans),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
