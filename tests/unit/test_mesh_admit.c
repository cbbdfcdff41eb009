/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: nobody is a link before the owner has said yes, whoever dialled; while it is not sure,
 * nothing is lost and nothing is held for ever. A new epoch ends all that was said with the old
 * one.
 */
#include "mesh_world.h"

#define TEXT "node name x is used by 10.0.0.7:7946; set REALTIME_NODE"

static uint32_t on_admit(void *ctx, const struct rt_mesh_peer *peer, char *text, size_t cap)
{
    struct node *n = ctx;

    n->asks++;
    n->last_peer = *peer;
    if (n->close_on_admit) {
        rt_mesh_close(n->m, peer->id, PR_BYE_PROTO, "on second thoughts");
    }
    if (n->laters > 0) {
        n->laters--;
        return RT_MESH_LATER;
    }
    (void)snprintf(text, cap, "%s", n->verdict == RT_MESH_YES ? "" : TEXT);
    return n->verdict;
}

static const struct rt_mesh_events asking = {.admit = on_admit,
                                             .link_up = on_link_up,
                                             .link_down = on_link_down,
                                             .frame = on_frame,
                                             .dial_failed = on_dial_failed,
                                             .refused = on_refused};

/* A node that asks; short times. */
static struct node *asking_node(struct world *w, uint32_t index, const char *keys)
{
    struct node *n = prepare(w, index, keys);

    n->cfg.ev = &asking;
    n->cfg.times.admit_ms = 5;
    return n;
}

static void forget_nodes(struct world *w)
{
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        rt_mesh_free(w->node[i].m);
        rt_keyring_free(w->node[i].keys);
    }
    (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
    memset(&w->node, 0, sizeof w->node);
}

static void test_verdicts(void **state)
{
    static const struct {
        const char *name;
        bool of_dialler; /* who asks: the one that dials, else the other */
        uint32_t laters, verdict;
        uint64_t hello_ms;
        const char *dialler, *listener; /* stories */
        uint32_t asks;                  /* 0: some */
    } cases[] = {
        {"welcome", false, 0, RT_MESH_YES, 0, "up 2;", "up 1;", 1},
        {"welcome, later", false, 3, RT_MESH_YES, 0, "up 2;", "up 1;", 4},
        {"its name is used", false, 0, PR_BYE_NAME, 0, "bye 2 name;", "", 1},
        {"its name is used, later", false, 2, PR_BYE_NAME, 0, "bye 2 name;", "", 3},
        {"no room", false, 0, PR_BYE_OVERFLOW, 0, "bye 2 overflow;", "", 1},
        {"ourselves", false, 0, PR_BYE_SELF, 0, "bye 2 self;", "", 1},
        {"never sure", false, 1000000, RT_MESH_YES, 40, "bye 2 timeout;", "", 0},
        {"an answer is welcome", true, 0, RT_MESH_YES, 0, "up 2;", "up 1;", 1},
        {"an answer is welcome, later", true, 3, RT_MESH_YES, 0, "up 2;", "up 1;", 4},
        {"an answer with a used name", true, 0, PR_BYE_NAME, 0, "fail 2 proto;",
         "up 1;bye 1 name;down 1 eof;", 1},
        {"an answer with a used name, later", true, 3, PR_BYE_NAME, 0, "fail 2 proto;",
         "up 1;bye 1 name;down 1 eof;", 4},
        {"an answer, never sure", true, 1000000, RT_MESH_YES, 40, "fail 2 timeout;",
         "up 1;bye 1 timeout;down 1 eof;", 0},
    };
    static const char *const keys[] = {NULL, KEY_OLD};
    struct world *w = *state;

    for (size_t i = 0; i < 2 * sizeof cases / sizeof cases[0]; i++) {
        size_t k = i / 2;
        struct node *a =
            cases[k].of_dialler ? asking_node(w, 0, keys[i % 2]) : prepare(w, 0, keys[i % 2]);
        struct node *b =
            cases[k].of_dialler ? prepare(w, 1, keys[i % 2]) : asking_node(w, 1, keys[i % 2]);
        struct node *asks = cases[k].of_dialler ? a : b;
        const struct node *asked = cases[k].of_dialler ? b : a;

        asks->laters = cases[k].laters;
        asks->verdict = cases[k].verdict;
        asks->cfg.times.hello_ms = cases[k].hello_ms;
        (void)start(a);
        (void)start(b);
        dial(a, b, 2);
        run_until_told(a, cases[k].dialler);
        while (strcmp(b->story, cases[k].listener) != 0) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        if (strcmp(a->story, cases[k].dialler) != 0 ||
            (cases[k].asks != 0 && asks->asks != cases[k].asks)) {
            fail_msg("%s: %s, asked %u times", cases[k].name, a->story, asks->asks);
        }
        assert_int_equal(asks->last_peer.id, asked->cfg.id);
        assert_int_equal(asks->last_peer.epoch, 100);
        if (cases[k].verdict != RT_MESH_YES) {
            assert_string_equal(a->last_text, TEXT);
            assert_int_equal(asks->m->counts.refused_hello, cases[k].verdict != PR_BYE_SELF);
        }
        assert_int_equal(asks->m->counts.hello_timeout, cases[k].hello_ms != 0);
        forget_nodes(w);
    }
}

/* What a peer says as soon as it has answered waits until its link is up here, in order. */
static void test_words_of_an_answer_wait(void **state)
{
    static const char *const keys[] = {NULL, KEY_OLD};
    static const size_t payloads[] = {1, 60000, 3, 300000, 7};
    struct world *w = *state;

    for (size_t i = 0; i < 2; i++) {
        struct node *a = asking_node(w, 0, keys[i]);
        struct node *b = node(w, 1, keys[i]);
        uint8_t *p = rt_malloc(400000);

        a->laters = UINT32_MAX;
        (void)start(a);
        dial(a, b, 2);
        run_until_told(b, "up 1;");
        for (size_t k = 0; k < sizeof payloads / sizeof payloads[0]; k++) {
            size_t n = make_pub(p, 400000, k + 1, payloads[k]);

            assert_true(rt_mesh_send(b->m, 1, pr_bytes(p, n)));
        }
        rt_free(p);
        while (a->asks < 5) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        assert_int_equal(a->frames, 0);
        assert_string_equal(a->story, "");
        a->laters = 0;
        while (a->frames < 5) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        assert_string_equal(a->story, "up 2;");
        assert_int_equal(a->holes, 0);
        run_until_calm(a, b);
        forget_nodes(w);
    }
}

static bool nobody_left(struct world *w)
{
    return w->node[0].m->nlinks == 0;
}

/* One who is waited for has nothing to say, and may go. */
static void test_strangers_who_wait(void **state)
{
    static const uint8_t event[] = {0, 0, 0, 5, PR_T_EVENT, PR_C_BROADCAST, 0, 0, 0x90};
    struct world *w = *state;

    for (uint32_t how = 0; how < 3; how++) { /* it goes; speaks; says BYE */
        struct node *a = asking_node(w, 0, NULL);
        const struct pr_node_hello h = good_hello();
        uint8_t p[64];
        struct pr_outbuf o = pr_outbuf(p, sizeof p);
        const struct pr_bye bye = {.code = PR_BYE_LEAVE, .text = pr_str("")};
        struct pr_addr addr;
        struct raw *r;

        a->laters = UINT32_MAX;
        (void)start(a);
        addr = rt_mesh_addr(a->m);
        r = raw_dial(w, &addr);
        raw_hello(r, &h);
        while (a->asks < 2) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        if (how == 0) {
            raw_close(r);
        } else if (how == 1) {
            raw_send(r, event, sizeof event);
        } else {
            pr_bye_encode(&o, &bye);
            raw_send(r, p, o.len);
        }
        run_until(w, nobody_left);
        assert_string_equal(a->story, "");
        assert_int_equal(a->m->counts.malformed, how == 1);
        forget_nodes(w);
    }
}

/* The owner may close a link while it is asked about it. */
static void test_closed_while_asked(void **state)
{
    struct world *w = *state;
    struct node *a = asking_node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);

    a->close_on_admit = true;
    (void)start(a);
    dial(b, a, 1);
    run_until_told(b, "bye 1 proto;");
    run_until(w, nobody_left);
    assert_string_equal(a->story, "");
}

/* Our own id from elsewhere is a question for the owner, from our own address it is us. */
static void test_own_id(void **state)
{
    struct world *w = *state;
    struct node *a = asking_node(w, 0, NULL);
    struct pr_node_hello h = good_hello();
    uint8_t keep[512];
    struct pr_addr addr;
    struct pr_frame f;
    struct pr_bye bye;

    (void)start(a);
    addr = rt_mesh_addr(a->m);
    a->verdict = PR_BYE_NAME;
    h.from_id = 1;
    h.to_id = 0;
    for (uint32_t i = 0; i < 3; i++) {
        struct raw *r = raw_dial(w, &addr);

        h.epoch = i == 0 ? 100 : 99;
        h.addr = i == 1 ? addr : loopback(7);
        raw_hello(r, &h);
        run_until_frame(r, PR_T_BYE, &f, keep, sizeof keep);
        assert_int_equal(pr_bye_decode(&f, &bye), PR_OK);
        assert_int_equal(bye.code, i < 2 ? PR_BYE_SELF : PR_BYE_NAME);
        raw_close(r);
    }
    assert_int_equal(a->asks, 1);
    assert_string_equal(a->story, "");
}

/* Both dial each other while both are not sure: one link comes of it. */
static void test_both_ask_and_dial(void **state)
{
    struct world *w = *state;

    for (uint32_t i = 0; i < 4; i++) {
        struct node *a = asking_node(w, 0, KEY_OLD);
        struct node *b = asking_node(w, 1, KEY_OLD);

        a->laters = 8 - i;
        b->laters = i * 3;
        (void)start(a);
        (void)start(b);
        dial(a, b, i % 2 == 0 ? 2 : 0);
        dial(b, a, i % 2 == 0 ? 1 : 0);
        run_until_calm(a, b);
        forget_nodes(w);
    }
}

static void test_new_epoch(void **state)
{
    static const char *const keys[] = {NULL, KEY_OLD};
    struct world *w = *state;

    for (size_t i = 0; i < 2; i++) {
        struct node *a = node(w, 0, keys[i]);
        struct node *b = node(w, 1, keys[i]);

        link_up(a, b);
        assert_int_equal(b->last_peer.epoch, 100);
        rt_mesh_set_epoch(a->m, 200);
        assert_false(rt_mesh_is_up(a->m, 2));
        run_until_told(a, "up 2;down 2 closed;");
        run_until_told(b, "up 1;down 1 eof;");
        dial(b, a, 1);
        run_until_calm(a, b);
        assert_int_equal(b->last_peer.epoch, 200);
        rt_mesh_close(b->m, 1, PR_BYE_LEAVE, "");
        run_until_told(a, "down 2 eof;");
        dial(a, b, 2);
        run_until_calm(a, b);
        assert_int_equal(b->last_peer.epoch, 200);
        forget_nodes(w);
    }
}

/* A dial that has said the old epoch is done again; one that has not goes on. */
static void test_new_epoch_in_a_dial(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct pr_node_hello h;
    struct pr_addr addr;
    int listener = raw_listen(&addr);
    uint8_t keep[512];
    struct pr_frame f;
    struct raw *r;

    rt_mesh_dial(a->m, 9, &addr);
    r = raw_accept(w, listener);
    run_until_frame(r, PR_T_NODE_HELLO, &f, keep, sizeof keep);
    assert_int_equal(pr_node_hello_decode(&f, &h), PR_OK);
    assert_int_equal(h.epoch, 100);
    rt_mesh_set_epoch(a->m, 200);
    r = raw_accept(w, listener);
    run_until_frame(r, PR_T_NODE_HELLO, &f, keep, sizeof keep);
    assert_int_equal(pr_node_hello_decode(&f, &h), PR_OK);
    assert_int_equal(h.epoch, 200);
    assert_string_equal(a->story, "");
    assert_int_equal(a->m->counts.dialed, 2);
    (void)close(listener);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
    const struct CMUnitTest tests[] = {
        T(test_verdicts),
        T(test_words_of_an_answer_wait),
        T(test_strangers_who_wait),
        T(test_closed_while_asked),
        T(test_own_id),
        T(test_both_ask_and_dial),
        T(test_new_epoch),
        T(test_new_epoch_in_a_dial),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
