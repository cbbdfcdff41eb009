/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: nobody is a link who has not said who he is, as the node that was meant: wrong HELLOs and
 * answers to them, plain garbage and silence are refused and counted, and change nothing.
 */
#include "mesh_world.h"

/* ---- HELLO ---- */

static void test_hellos(void **state)
{
    static const struct {
        const char *name;
        uint64_t cluster, from, to, epoch;
        uint32_t min, max;
        const char *node;
        const char *bye; /* NULL: comes up */
        const char *text;
    } cases[] = {
        {"good", CLUSTER, 7, 1, 100, PR_PROTO_MIN, PR_PROTO_MAX, "seven", NULL, ""},
        {"a seed", CLUSTER, 7, 0, 100, PR_PROTO_MIN, PR_PROTO_MAX, "seven", NULL, ""},
        {"a wider range", CLUSTER, 7, 1, 100, 0, 9999, "seven", NULL, ""},
        {"another cluster", CLUSTER + 1, 7, 1, 100, 1, 1, "seven", "cluster", "another cluster"},
        {"another node", CLUSTER, 7, 3, 100, 1, 1, "seven", "target", "another node"},
        {"itself", CLUSTER, 1, 1, 100, 1, 1, "node-1", "self", "itself"},
        {"itself, as a seed", CLUSTER, 1, 0, 100, 1, 1, "node-1", "self", "itself"},
        {"our name, another process", CLUSTER, 1, 0, 101, 1, 1, "node-1", "name",
         "node name node-1 is used by 127.0.0.1:"},
        {"only younger protocols", CLUSTER, 7, 1, 100, PR_PROTO_MAX + 1, PR_PROTO_MAX + 2, "seven",
         "version", "the caller 2 to 3"},
        {"only older protocols", CLUSTER, 7, 1, 100, 0, 0, "seven", "version", "1 to 1"},
        {"a range the wrong way round", CLUSTER, 7, 1, 100, 2, 1, "seven", "version", "2 to 1"},
        {"no id", CLUSTER, 0, 1, 100, 1, 1, "seven", "proto", "without an id"},
    };
    struct world *w = *state;

    _Static_assert(PR_PROTO_MIN == 1 && PR_PROTO_MAX == 1, "the texts above name the range");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct node *a = node(w, 0, NULL);
        struct pr_addr addr = rt_mesh_addr(a->m);
        struct raw *r = raw_dial(w, &addr);
        struct pr_node_hello h = good_hello();
        struct pr_frame f;
        struct pr_node_hello_ok ok;
        struct pr_bye bye;
        uint8_t keep[512];

        h.cluster = cases[i].cluster;
        h.from_id = cases[i].from;
        h.to_id = cases[i].to;
        h.epoch = cases[i].epoch;
        h.proto_min = cases[i].min;
        h.proto_max = cases[i].max;
        h.name = pr_str(cases[i].node);
        raw_hello(r, &h);
        run_until_frame(r, cases[i].bye == NULL ? PR_T_NODE_HELLO_OK : PR_T_BYE, &f, keep,
                        sizeof keep);
        if (cases[i].bye == NULL) {
            assert_int_equal(pr_node_hello_ok_decode(&f, &ok), PR_OK);
            assert_int_equal(ok.proto, PR_PROTO_MAX);
            assert_true(ok.from_id == 1 && ok.to_id == 7);
            assert_string_equal(a->story, "up 7;");
        } else {
            char text[PR_ID_MAX + 1];

            assert_int_equal(pr_bye_decode(&f, &bye), PR_OK);
            (void)snprintf(text, sizeof text, "%.*s", (int)bye.text.n, (const char *)bye.text.p);
            if (strcmp(rt_mesh_bye_name(bye.code), cases[i].bye) != 0 ||
                strstr(text, cases[i].text) == NULL) {
                fail_msg("%s: BYE %u, %s", cases[i].name, bye.code, text);
            }
            run_until_eof(r);
            assert_string_equal(a->story, "");
            assert_int_equal(a->m->counts.up, 0);
            assert_int_equal(a->m->counts.refused_hello, bye.code != PR_BYE_SELF);
        }
        raw_close(r);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* What who dials hears of it: by its id, or 0 for a seed, with the reason of the other end. */
static void test_refused_dials(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *cluster = prepare(w, 1, KEY_OLD);
    struct node *version = prepare(w, 2, KEY_OLD);
    struct node *name = prepare(w, 3, KEY_OLD);

    cluster->cfg.cluster_hash = CLUSTER + 1;
    version->cfg.proto_min = 2;
    version->cfg.proto_max = 3;
    name->cfg.id = 1;
    name->cfg.epoch = 99;
    name->cfg.name = "node-1";
    (void)start(cluster);
    (void)start(version);
    (void)start(name);
    dial(a, cluster, 2);
    run_until_told(a, "bye 2 cluster;");
    assert_non_null(strstr(a->last_text, "REALTIME_CLUSTER_NAME"));
    dial(a, version, 0);
    run_until_told(a, "bye 0 version;");
    assert_non_null(strstr(a->last_text, "speaks protocols 2 to 3, the caller 1 to 1"));
    dial(a, name, 0);
    run_until_told(a, "bye 0 name;");
    assert_non_null(strstr(a->last_text, "set REALTIME_NODE"));
    dial(a, version, 9);
    run_until_told(a, "bye 9 version;");
    assert_string_equal(a->story, "bye 2 cluster;bye 0 version;bye 0 name;bye 9 version;");
    assert_int_equal(a->m->counts.up, 0);
}

/* Two names with one id: the one that is linked stays. */
static void test_two_names_one_id(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct pr_addr addr = rt_mesh_addr(a->m);
    struct raw *first = raw_up(w);
    struct raw *second = raw_dial(w, &addr);
    struct pr_node_hello h = good_hello();
    struct pr_frame f;
    struct pr_bye bye;
    uint8_t keep[512];

    h.name = pr_str("siete");
    h.epoch = 101;
    raw_hello(second, &h);
    run_until_frame(second, PR_T_BYE, &f, keep, sizeof keep);
    assert_int_equal(pr_bye_decode(&f, &bye), PR_OK);
    assert_int_equal(bye.code, PR_BYE_NAME);
    assert_string_equal(a->story, "up 7;");
    raw_close(first);
    run_until_told(a, "up 7;down 7 eof;");
}

static void test_bad_config(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, NULL);
    char longest[RT_MESH_URL_MAX + 2];
    struct rt_error err = {0};
    struct rt_mesh_config cfg = a->cfg;

    memset(longest, 'u', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    cfg.url = longest;
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    cfg = a->cfg;
    cfg.name = "";
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    cfg = a->cfg;
    cfg.listen.family = PR_ADDR_NONE;
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ECONFIG);
    (void)start(a);
    cfg = a->cfg;
    cfg.listen = rt_mesh_addr(a->m);
    assert_null(rt_mesh_new(&cfg, &err));
    assert_int_equal(err.code, RT_ESYSTEM);
    assert_non_null(strstr(err.text, "in use"));
    rt_mesh_free(NULL);
}

/* ---- garbage ---- */

#define HEAD(len, type, cls) 0, 0, (len) >> 8, (len)&0xff, type, cls, 0, 0

/* To a listener without TLS, before and after it is up, and into the handshake of one with TLS. */
static void test_garbage(void **state)
{
    static const struct {
        const char *name;
        uint8_t bytes[24];
        size_t n;
        bool cut; /* the connection ends behind it */
        const char *up_story;
    } cases[] = {
        {"nothing", {0}, 0, true, "eof"},
        {"half a length", {0, 0}, 2, true, "eof"},
        {"half a frame", {HEAD(20, PR_T_PUB, 4), 1, 2, 3}, 11, true, "eof"},
        {"the longest length", {0xff, 0xff, 0xff, 0xff}, 4, false, "proto"},
        {"one over PR_FRAME_MAX", {0, 0x81, 0, 1, PR_T_PUB, 4, 0, 0}, 8, false, "proto"},
        {"length 0", {0, 0, 0, 0, 0, 0, 0, 0}, 8, false, "proto"},
        {"length 3", {0, 0, 0, 3, 1, 1, 1, 1}, 8, false, "proto"},
        {"class 0", {HEAD(4, PR_T_PUB, 0)}, 8, false, "proto"},
        {"class 5", {HEAD(4, PR_T_PUB, 5)}, 8, false, "proto"},
        {"HTTP", "GET / HTTP/1.1\r\n\r\n", 18, false, "proto"},
        {"HELLO of an edge", {HEAD(9, PR_T_HELLO, 1), 0x95, 1, 1, 1, 0}, 13, false, "proto"},
        {"HELLO without fields", {HEAD(4, PR_T_NODE_HELLO, 1)}, 8, false, "proto"},
        {"HELLO_OK", {HEAD(5, PR_T_NODE_HELLO_OK, 1), 0x90}, 9, false, "proto"},
        {"BYE without fields", {HEAD(4, PR_T_BYE, 1)}, 8, false, "proto"},
        {"PING without fields", {HEAD(4, PR_T_PING, 1)}, 8, false, "proto"},
        {"PONG of a text", {HEAD(6, PR_T_PONG, 1), 0x91, 0xa0}, 10, false, "proto"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (uint32_t kind = 0; kind < 3; kind++) {
            struct node *a = node(w, 0, kind == 2 ? KEY_OLD : NULL);
            struct pr_addr addr = rt_mesh_addr(a->m);
            struct raw *r = kind == 1 ? raw_up(w) : raw_dial(w, &addr);
            char story[40] = "";

            raw_send(r, cases[i].bytes, cases[i].n);
            /* TLS waits for more where the length of a record says so. */
            if (cases[i].cut || kind == 2) {
                assert_int_equal(shutdown(r->fd, SHUT_WR), 0);
            }
            if (kind == 1) {
                (void)snprintf(story, sizeof story, "up 7;down 7 %s;", cases[i].up_story);
            }
            run_until_eof(r);
            raw_close(r);
            while (a->m->nlinks > 0 || a->m->notices != NULL) {
                (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
            }
            if (strcmp(a->story, story) != 0) {
                fail_msg("%s, kind %u: %s", cases[i].name, kind, a->story);
            }
            assert_int_equal(a->frames, 0);
            stop(a);
            rt_keyring_free(a->keys);
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
            memset(&w->node, 0, sizeof w->node);
            rt_free(r->in);
            r->in = NULL;
            w->nraw = 0;
        }
    }
}

/* Frames in their right form that may not come where they come. */
static void test_wrong_moment(void **state)
{
    static const char *const names[] = {"PUB first",   "PING first",   "HELLO_OK first",
                                        "HELLO twice", "a long HELLO", "BYE first"};
    struct world *w = *state;

    for (uint32_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct node *a = node(w, 0, NULL);
        struct pr_addr addr = rt_mesh_addr(a->m);
        struct raw *r = raw_dial(w, &addr);
        struct pr_node_hello h = good_hello();
        uint8_t p[8192];
        char url[4096];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_ping ping = {.token = 0};
        const struct pr_node_hello_ok ok = {
            .proto = 1, .from_id = 7, .to_id = 1, .epoch = 100, .name = pr_str("seven")};
        const struct pr_bye bye = {.code = 99, .text = pr_str("no")};

        if (i == 0) {
            o.len = make_pub(p, sizeof p, 1, 10);
        } else if (i == 1) {
            pr_ping_encode(&o, &ping);
        } else if (i == 2) {
            pr_node_hello_ok_encode(&o, &ok);
        } else if (i == 3) {
            pr_node_hello_encode(&o, &h);
            pr_node_hello_encode(&o, &h);
        } else if (i == 4) {
            memset(url, 'u', sizeof url);
            h.client_url = pr_bytes(url, sizeof url);
            pr_node_hello_encode(&o, &h);
        } else {
            pr_bye_encode(&o, &bye);
        }
        raw_send(r, p, o.len);
        run_until_eof(r);
        raw_close(r);
        while (a->m->nlinks > 0 || a->m->notices != NULL) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        if (strcmp(a->story, i == 3 ? "up 7;down 7 proto;" : "") != 0) {
            fail_msg("%s: %s", names[i], a->story);
        }
        assert_int_equal(a->m->counts.malformed, i != 5);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* What a wrong server may answer. */
static void test_wrong_answers(void **state)
{
    static const struct {
        const char *name;
        uint64_t from, to;
        uint32_t proto;
        uint64_t dialled;
        const char *story;
    } cases[] = {
        {"right", 2, 1, 1, 2, "up 2;"},
        {"right, to a seed", 2, 1, 1, 0, "up 2;"},
        {"another node than was dialled", 3, 1, 1, 2, "fail 2 proto;"},
        {"for another node", 2, 3, 1, 2, "fail 2 proto;"},
        {"from ourselves", 1, 1, 1, 2, "fail 2 proto;"},
        {"from ourselves, to a seed", 1, 1, 1, 0, "fail 0 proto;"},
        {"from nobody", 0, 1, 1, 0, "fail 0 proto;"},
        {"a protocol nobody offered", 2, 1, 9, 2, "fail 2 proto;"},
        {"protocol 0", 2, 1, 0, 2, "fail 2 proto;"},
    };
    struct world *w = *state;

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct node *a = node(w, 0, NULL);
        struct pr_addr addr;
        int listener = raw_listen(&addr);
        struct raw *r;
        struct pr_frame f;
        uint8_t p[512];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_node_hello_ok ok = {.proto = cases[i].proto,
                                            .from_id = cases[i].from,
                                            .to_id = cases[i].to,
                                            .epoch = 100,
                                            .name = pr_str("two")};
        struct pr_node_hello h;

        rt_mesh_dial(a->m, cases[i].dialled, &addr);
        r = raw_accept(w, listener);
        run_until_frame(r, PR_T_NODE_HELLO, &f, p, sizeof p);
        assert_int_equal(pr_node_hello_decode(&f, &h), PR_OK);
        assert_true(h.cluster == CLUSTER && h.from_id == 1 && h.to_id == cases[i].dialled);
        assert_int_equal(h.addr.port, rt_mesh_addr(a->m).port);
        pr_node_hello_ok_encode(&o, &ok);
        raw_send(r, p, o.len);
        run_until_told(a, ";");
        if (strcmp(a->story, cases[i].story) != 0) {
            fail_msg("%s: %s", cases[i].name, a->story);
        }
        raw_close(r);
        (void)close(listener);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* Anything else than an answer. */
static void test_no_answer(void **state)
{
    static const char *const stories[] = {"fail 2 eof;",    "fail 2 proto;",   "fail 2 proto;",
                                          "bye 2 unknown;", "fail 2 timeout;", "fail 2 proto;"};
    static const uint8_t empty_ok[] = {HEAD(5, PR_T_NODE_HELLO_OK, 1), 0x90};
    struct world *w = *state;

    for (uint32_t i = 0; i < sizeof stories / sizeof stories[0]; i++) {
        struct node *a = prepare(w, 0, NULL);
        struct pr_addr addr;
        int listener = raw_listen(&addr);
        struct raw *r;
        struct pr_frame f;
        uint8_t p[512];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_node_hello h = good_hello();
        const struct pr_bye bye = {.code = 4711, .text = pr_str("for reasons of my own")};

        a->cfg.times.hello_ms = i == 4 ? 50 : 0;
        (void)start(a);
        rt_mesh_dial(a->m, 2, &addr);
        r = raw_accept(w, listener);
        run_until_frame(r, PR_T_NODE_HELLO, &f, p, sizeof p);
        if (i == 0) {
            raw_close(r);
        } else if (i == 1) {
            o.len = make_pub(p, sizeof p, 1, 10);
        } else if (i == 2) {
            pr_node_hello_encode(&o, &h);
        } else if (i == 3) {
            pr_bye_encode(&o, &bye);
        } else if (i == 5) {
            pr_put(&o, empty_ok, sizeof empty_ok);
        }
        if (o.len > 0) {
            raw_send(r, p, o.len);
        }
        run_until_told(a, ";");
        if (strcmp(a->story, stories[i]) != 0) {
            fail_msg("case %u: %s", i, a->story);
        }
        if (i == 3) {
            assert_string_equal(a->last_text, "for reasons of my own");
        }
        assert_int_equal(a->m->counts.hello_timeout, i == 4);
        raw_close(r);
        (void)close(listener);
        stop(a);
        memset(&w->node, 0, sizeof w->node);
    }
}

/* ---- strangers ---- */

/* Connections that say nothing are cut after hello_ms, with TLS and without. */
static void test_silent_strangers(void **state)
{
    static const char *const keys[] = {KEY_OLD, NULL};
    struct world *w = *state;

    for (uint32_t i = 0; i < 2; i++) {
        struct node *a = prepare(w, i, keys[i]);
        struct pr_addr addr;
        struct raw *r;

        a->cfg.times.hello_ms = 30;
        addr = rt_mesh_addr(start(a)->m);
        r = raw_dial(w, &addr);
        run_until_eof(r);
        assert_int_equal(a->m->counts.hello_timeout, 1);
        assert_string_equal(a->story, "");
    }
}

/* Strangers are few: the oldest goes for the next, and a node still gets in among them. */
static void test_many_strangers(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr addr = rt_mesh_addr(a->m);

    for (uint32_t i = 0; i < RT_MESH_STRANGERS_MAX + 6; i++) {
        (void)raw_dial(w, &addr);
    }
    for (uint32_t i = 0; i < 6; i++) {
        run_until_eof(&w->raw[i]);
    }
    assert_int_equal(a->m->nlinks, RT_MESH_STRANGERS_MAX);
    assert_int_equal(a->m->counts.refused_full, 6);
    assert_false(w->raw[6].eof);
    dial(b, a, 1);
    run_until_told(b, "up 1;");
    run_until_eof(&w->raw[6]);
    assert_false(w->raw[7].eof);
    assert_int_equal(a->m->counts.refused_full, 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)

        T(test_hellos),     T(test_refused_dials),    T(test_two_names_one_id),
        T(test_garbage),    T(test_wrong_moment),     T(test_wrong_answers),
        T(test_no_answer),  T(test_silent_strangers), T(test_many_strangers),
        T(test_bad_config),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
