/* SPDX-License-Identifier: Apache-2.0 */
#include "edge_world.h"

#include "node/edge/presence_json.h"

#define OK "{'status':'ok','response':{}}"

/* phx_refs differ from run to run: each distinct one becomes A, B, C, … in order of appearance. */
static const char *told(struct rt_conn *c)
{
    static char out[HEARD_MAX];
    static char seen[26][PR_PHX_REF_LEN];
    static uint32_t nseen;
    const char *in = heard(c);
    size_t n = 0;

    if (c->tag == 1) { /* forget what was seen */
        nseen = 0;
        c->tag = 0;
    }
    while (*in != '\0') {
        uint32_t i = 0;

        out[n++] = *in;
        if (n < 12 || (memcmp(out + n - 11, "'phx_ref':'", 11) != 0 &&
                       memcmp(out + n - 12, "ref_prev':'", 11) != 0 &&
                       (n < 16 || memcmp(out + n - 16, "'phx_ref_prev':'", 16) != 0))) {
            in++;
            continue;
        }
        in++;
        while (i < nseen && memcmp(seen[i], in, PR_PHX_REF_LEN) != 0) {
            i++;
        }
        if (i == nseen) {
            memcpy(seen[nseen++], in, PR_PHX_REF_LEN);
        }
        out[n++] = (char)('A' + i);
        in += PR_PHX_REF_LEN;
    }
    out[n] = '\0';
    return out;
}

static void join(struct rt_conn *c, const char *presence)
{
    char text[256];

    (void)snprintf(text, sizeof text,
                   "['1','1','realtime:a','phx_join',{'config':{'presence':%s}}]", presence);
    send_text(c, text);
}

static void track(struct rt_conn *c, const char *payload)
{
    char text[512];

    (void)snprintf(text, sizeof text,
                   "['1','4','realtime:a','presence',{'type':'presence','event':'track',"
                   "'payload':%s}]",
                   payload);
    send_text(c, text);
}

#define JOINED                                                                                     \
    "['1','1','realtime:a','phx_reply',{'status':'ok','response':{'postgres_changes':[]}}]\n"
#define DIFF(joins, leaves)                                                                        \
    "[null,null,'realtime:a','presence_diff',{'joins':{" joins "},'leaves':{" leaves "}}]\n"
#define REPLY "['1','4','realtime:a','phx_reply'," OK "]\n"

static void state_then_diffs(void **state)
{
    struct rt_conn *a = NULL;
    struct rt_conn *b = NULL;

    (void)state;
    world_open(NULL);
    a = client("2.0.0");
    a->tag = 1;
    join(a, "{'key':'u1','enabled':true}");
    assert_string_equal(told(a), JOINED "['1',null,'realtime:a','presence_state',{}]\n");
    track(a, "{'a':1,'phx_ref':'mine','phx_ref_prev':5}");
    assert_string_equal(told(a), REPLY DIFF("'u1':{'metas':[{'a':1,'phx_ref':'A'}]}", ""));
    track(a, "{'a':1}"); /* the same again */
    assert_string_equal(told(a), REPLY);
    track(a, "{'a':2}");
    assert_string_equal(told(a),
                        REPLY DIFF("'u1':{'metas':[{'a':2,'phx_ref':'B','phx_ref_prev':'A'}]}",
                                   "'u1':{'metas':[{'a':1,'phx_ref':'A'}]}"));
    b = client("2.0.0");
    join(b, "{'key':'u1'}");
    assert_string_equal(told(b), JOINED "['1',null,'realtime:a','presence_state',{'u1':{'metas':[{"
                                        "'a':2,'phx_ref':'B'}]}}]\n");
    track(b, "{}");
    assert_string_equal(told(b), REPLY DIFF("'u1':{'metas':[{'phx_ref':'C'}]}", ""));
    send_text(a, "['1','4','realtime:a','presence',{'type':'presence','event':'UNTRACK'}]");
    (void)told(a);
    assert_string_equal(told(b), DIFF("", "'u1':{'metas':[{'a':2,'phx_ref':'B'}]}"));
    rt_socket_gone(b->user);
    settle();
    assert_string_equal(told(a), DIFF("", "'u1':{'metas':[{'phx_ref':'C'}]}"));
    free(b);
    world_close();
}

static void who_gets_presence(void **state)
{
    struct rt_conn *off = NULL;
    struct rt_conn *v1 = NULL;
    struct rt_conn *on = NULL;

    (void)state;
    world_open(NULL);
    off = client("2.0.0");
    off->tag = 1;
    join(off, "{'key':'x','enabled':false}");
    assert_string_equal(told(off), JOINED);
    v1 = client("1.0.0");
    send_text(v1, "{'topic':'realtime:a','event':'phx_join','payload':{'config':{'presence':{'key':"
                  "'v'}}},'ref':'1','join_ref':'1'}");
    assert_non_null(strstr(told(v1), "'event':'presence_state','payload':{}}"));
    on = client("2.0.0");
    join(on, "{'enabled':'true'}");
    (void)told(on);
    track(on, "{'n':1}");
    assert_string_equal(told(off), "");
    /* a fresh UUID as key */
    assert_non_null(strstr(told(v1), "'event':'presence_diff','payload':{'joins':{'"));
    track(off, "{'n':2}");
    assert_non_null(strstr(told(off), "['1',null,'realtime:a','presence_state',{'"));
    world_close();
}

static void wrong_calls(void **state)
{
    static const struct {
        const char *payload, *response;
    } rows[] = {
        {"{'event':'foo'}", "{'status':'error','response':{}}"},
        {"5", "{'status':'error','response':{}}"},
        {"{'event':5}", "{'status':'error','response':{}}"},
        {"{'type':'presence'}", OK},
        {"{'event':'track','payload':5}",
         "{'status':'error','response':{'reason':'Presence track payload must be a map'}}"},
        {"{'event':'track','payload':[]}",
         "{'status':'error','response':{'reason':'Presence track payload must be a map'}}"},
        {"{'event':'untrack'}", OK},
    };
    struct rt_conn *c = NULL;

    (void)state;
    world_open(NULL);
    c = client("2.0.0");
    join(c, "{'enabled':false}");
    (void)heard(c);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[256];
        char want[256];

        (void)snprintf(text, sizeof text, "['1','4','realtime:a','presence',%s]", rows[i].payload);
        (void)snprintf(want, sizeof want, "['1','4','realtime:a','phx_reply',%s]\n",
                       rows[i].response);
        send_text(c, text);
        assert_string_equal(heard(c), want);
    }
    world_close();
}

static void too_many_calls(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_CLIENT_PRESENCE_EVENTS=2", NULL};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, "{'key':'k','enabled':true}");
    track(c, "{'a':1}");
    track(c, "{'a':2}");
    (void)heard(c);
    track(c, "{'a':3}");
    assert_string_equal(heard(c), "['1','4','realtime:a','phx_reply',{'status':'error','response':{"
                                  "'reason':'Client presence rate limit exceeded'}}]\n");
    world_close();
}

static void too_long_to_track(void **state)
{
    static const char *const settings[] = {"REALTIME_MAX_PAYLOAD_KB=1", NULL};
    char text[2000];
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    join(c, "{'key':'k','enabled':true}");
    (void)heard(c);
    (void)snprintf(text, sizeof text,
                   "['1','4','realtime:a','presence',{'event':'track','payload':{'x':'%01200d'}}]",
                   0);
    send_text(c, text);
    assert_string_equal(heard(c),
                        "['1',null,'realtime:a','system',{'extension':'system','status':'error',"
                        "'message':'Track message size exceeded','channel':'a'}]\n"
                        "['1','1','realtime:a','phx_close',{}]\n");
    world_close();
}

/* Two joins while the first state is asked for: one question, both answered. */
static void one_view_serves_all(void **state)
{
    static const char text[] = "[\"1\",\"1\",\"realtime:a\",\"phx_join\",{\"config\":{\"presence\":"
                               "{\"enabled\":true}}}]";
    struct rt_conn *c[3];

    (void)state;
    world_open(NULL);
    for (size_t i = 0; i < 3; i++) {
        c[i] = client("2.0.0");
        rt_socket_message(c[i]->user, pr_str(text), true);
    }
    settle();
    for (size_t i = 0; i < 3; i++) {
        assert_string_equal(heard(c[i]), JOINED "['1',null,'realtime:a','presence_state',{}]\n");
    }
    world_close();
}

static void split_updates(void **state)
{
    static const char *const settings[] = {"REALTIME_PRESENCE_UPDATE=split", NULL};
    struct rt_conn *c = NULL;

    (void)state;
    world_open(settings);
    c = client("2.0.0");
    c->tag = 1;
    join(c, "{'key':'k','enabled':true}");
    track(c, "{'a':1}");
    (void)told(c);
    track(c, "{'a':2}");
    assert_string_equal(told(c),
                        REPLY DIFF("", "'k':{'metas':[{'a':1,'phx_ref':'A'}]}")
                            DIFF("'k':{'metas':[{'a':2,'phx_ref':'B','phx_ref_prev':'A'}]}", ""));
    world_close();
}

static void metas_lose_our_keys(void **state)
{
    static const struct {
        const char *in, *out;
        int rv;
    } rows[] = {
        {"{}", "{}", PR_OK},
        {" { \"a\" : 1 , \"b\":[ 1 ] } ", "{\"a\":1,\"b\":[ 1 ]}", PR_OK},
        {"{\"phx_ref\":1,\"a\":2}", "{\"a\":2}", PR_OK},
        {"{\"a\":2,\"phx_ref_prev\":{}}", "{\"a\":2}", PR_OK},
        {"{\"phx\\u005fref\":1}", "{}", PR_OK},
        {"{\"\\\"\":1}", "{\"\\\"\":1}", PR_OK},
        {"[]", "", PR_ETYPE},
        {"5", "", PR_ETYPE},
        {"{\"a\":}", "{}", PR_ESYNTAX},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char memory[128];
        struct pr_outbuf o = pr_outbuf(memory, sizeof memory - 1);

        assert_int_equal(rt_meta_put(&o, pr_str(rows[i].in)), rows[i].rv);
        memory[o.len] = '\0';
        assert_string_equal(memory, rows[i].out);
    }
}

static void entries_of_one_key_stand_together(void **state)
{
    static const struct pr_pshown rows[] = {
        {.actor = 1, .n = 9}, {.actor = 2, .n = 1}, {.actor = 1, .n = 3, .prev_n = 2}};
    static const char *const keys[] = {"b", "a\"", "b"};
    uint8_t packed[512];
    char text[512];
    struct pr_outbuf list = pr_outbuf(packed, sizeof packed);
    struct pr_outbuf o = pr_outbuf(text, sizeof text - 1);
    struct rt_shown shown;
    char ref[4][PR_PHX_REF_LEN + 1] = {{0}};
    char want[512];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct pr_pshown e = rows[i];

        e.key = pr_str(keys[i]);
        e.meta = pr_str(i == 0 ? "{}" : "{\"x\":1}");
        pr_pshown_put(&list, &e);
        pr_phx_ref(e.actor, e.n, ref[i]);
    }
    pr_phx_ref(1, 2, ref[3]);
    shown = rt_shown_unpack(pr_bytes(packed, list.len), 3);
    assert_int_equal(shown.count, 3);
    rt_shown_put(&o, &shown);
    text[o.len] = '\0';
    (void)snprintf(
        want, sizeof want,
        "{\"a\\\"\":{\"metas\":[{\"x\":1,\"phx_ref\":\"%s\"}]},\"b\":{\"metas\":[{\"x\":1,"
        "\"phx_ref\":\"%s\",\"phx_ref_prev\":\"%s\"},{\"phx_ref\":\"%s\"}]}}",
        ref[1], ref[2], ref[3], ref[0]);
    assert_string_equal(text, want);
    rt_shown_free(&shown);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_then_diffs),
        cmocka_unit_test(who_gets_presence),
        cmocka_unit_test(wrong_calls),
        cmocka_unit_test(too_many_calls),
        cmocka_unit_test(too_long_to_track),
        cmocka_unit_test(one_view_serves_all),
        cmocka_unit_test(split_updates),
        cmocka_unit_test(metas_lose_our_keys),
        cmocka_unit_test(entries_of_one_key_stand_together),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
