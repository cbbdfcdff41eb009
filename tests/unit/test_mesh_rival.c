/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: at most one link per pair, whoever dials whom and when: two dials that meet, a younger
 * process of the same name, a peer that comes again while its old link is up.
 */
#include "mesh_world.h"

/* How the two of test_both_dial differ; bits. */
#define A_KNOWS_ID 1u /* dials by id, else as a seed */
#define B_KNOWS_ID 2u
#define B_FIRST    4u /* the larger id dials first */
#define ELSEWHERE  8u /* both advertise another address than the one that is dialled */

/* Both dial at once; `turns` of the loop lie between. */
static void one_of_two(struct world *w, uint32_t kinds, uint32_t turns)
{
    struct node *a = prepare(w, 0, KEY_OLD);
    struct node *b = prepare(w, 1, KEY_OLD);
    bool a_knows = (kinds & A_KNOWS_ID) != 0;
    bool b_knows = (kinds & B_KNOWS_ID) != 0;

    if ((kinds & ELSEWHERE) != 0) {
        a->cfg.advertise = loopback(1);
        b->cfg.advertise = loopback(2);
    }
    (void)start(a);
    (void)start(b);
    if ((kinds & B_FIRST) != 0) {
        dial(b, a, b_knows ? 1 : 0);
    } else {
        dial(a, b, a_knows ? 2 : 0);
    }
    for (uint32_t i = 0; i < turns; i++) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
    }
    if ((kinds & B_FIRST) != 0) {
        dial(a, b, a_knows ? 2 : 0);
    } else {
        dial(b, a, b_knows ? 1 : 0);
    }
    run_until_calm(a, b);
    /* What comes up stays: nothing is on its way any more, and both ends agree. */
    assert_true(a->m->counts.up - a->m->counts.down == 1);
    assert_true(b->m->counts.up - b->m->counts.down == 1);
    if (a_knows && b_knows) {
        assert_string_equal(a->story, "up 2;");
        assert_string_equal(b->story, "up 1;");
    }
    /* The link that is left carries frames both ways. */
    {
        uint8_t p[256];
        size_t n = make_pub(p, sizeof p, 1, 1);

        assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, n)));
        assert_true(rt_mesh_send(b->m, 1, pr_bytes(p, n)));
        while (a->frames == 0 || b->frames == 0) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
    }
    stop(a);
    stop(b);
    rt_keyring_free(a->keys);
    rt_keyring_free(b->keys);
    memset(&w->node, 0, sizeof w->node);
}

static void test_both_dial(void **state)
{
    struct world *w = *state;

    for (uint32_t kinds = 0; kinds < 16; kinds++) {
        for (uint32_t turns = 0; turns < 12; turns++) {
            one_of_two(w, kinds, turns);
        }
    }
}

/* We have said HELLO to 7 when 7 says HELLO to us. With the smaller id we wait for its answer. */
static void dial_meets_hello(struct world *w, uint64_t self, uint32_t end)
{
    struct node *a = prepare(w, 0, NULL);
    struct pr_addr addr, to;
    int listener = raw_listen(&addr);
    struct raw *dialled, *came;
    struct pr_node_hello h = good_hello();
    struct pr_frame f;
    uint8_t p[512];
    struct pr_outbuf o = pr_outbuf(p, sizeof p);
    struct pr_node_hello_ok ok = {
        .proto = 1, .from_id = 7, .to_id = self, .epoch = 100, .name = pr_str("seven")};

    a->cfg.id = self;
    a->cfg.times.rival_ms = end == 2 ? 50 : 60000;
    to = rt_mesh_addr(start(a)->m);
    rt_mesh_dial(a->m, 7, &addr);
    dialled = raw_accept(w, listener);
    run_until_frame(dialled, PR_T_NODE_HELLO, &f, p, sizeof p);
    came = raw_dial(w, &to);
    h.to_id = self;
    raw_hello(came, &h);
    if (self > 7) {
        /* The larger one answers at once, and gives its own dial up. */
        run_until_frame(came, PR_T_NODE_HELLO_OK, &f, p, sizeof p);
        run_until_frame(dialled, PR_T_BYE, &f, p, sizeof p);
        assert_string_equal(a->story, "up 7;");
    } else {
        while (a->m->nheld == 0) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        if (end == 0) {
            pr_node_hello_ok_encode(&o, &ok);
            raw_send(dialled, p, o.len);
            run_until_frame(came, PR_T_BYE, &f, p, sizeof p);
            assert_string_equal(a->story, "up 7;");
        } else if (end == 1) {
            raw_close(dialled);
            run_until_frame(came, PR_T_NODE_HELLO_OK, &f, p, sizeof p);
            assert_string_equal(a->story, "fail 7 eof;up 7;");
        } else {
            /* rival_ms is over and there is no answer. */
            run_until_frame(came, PR_T_NODE_HELLO_OK, &f, p, sizeof p);
            run_until_eof(dialled);
            assert_string_equal(a->story, "up 7;");
        }
    }
    assert_int_equal(a->m->nheld, 0);
    (void)close(listener);
    stop(a);
    memset(&w->node, 0, sizeof w->node);
}

static void test_dial_meets_hello(void **state)
{
    dial_meets_hello(*state, 1, 0);
    dial_meets_hello(*state, 1, 1);
    dial_meets_hello(*state, 1, 2);
    dial_meets_hello(*state, 9, 0);
}

/* A seed by another address than the one the peer is known by: the link that is up stays. */
static void test_seed_of_a_known_peer(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);

    link_up(a, b);
    dial(a, b, 0);
    run_until_told(a, "up 2;bye 0 replaced;");
    dial(b, a, 0);
    run_until_told(b, "up 1;bye 0 replaced;");
    run_until_calm(a, b);
    assert_int_equal(a->m->counts.down + b->m->counts.down, 0);
    assert_int_equal(a->m->counts.duplicate, 1);
}

/* A name that comes with a younger process: the old link goes at once, at both ends cleanly. */
static void test_new_epoch(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *old = node(w, 1, KEY_OLD);
    struct node *young = prepare(w, 2, KEY_OLD);

    young->cfg.id = 2;
    young->cfg.epoch = 101;
    young->cfg.name = "node-2";
    (void)start(young);
    link_up(a, old);
    dial(young, a, 1);
    run_until_told(a, "up 2;down 2 closed;up 2;");
    assert_int_equal(a->last_peer.epoch, 101);
    run_until_told(old, "up 1;down 1 eof;");
    /* The old one is refused from now on, whoever dials. */
    dial(old, a, 1);
    run_until_told(old, "bye 1 replaced;");
    assert_non_null(strstr(old->last_text, "younger"));
    run_until_calm(a, young);
    assert_string_equal(a->story, "up 2;down 2 closed;up 2;");
}

/* The same when the younger one is found by dialling. */
static void test_new_epoch_dialled(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *old = node(w, 1, KEY_OLD);
    struct node *young = prepare(w, 2, KEY_OLD);

    young->cfg.id = 2;
    young->cfg.epoch = 101;
    young->cfg.name = "node-2";
    (void)start(young);
    link_up(a, old);
    dial(a, young, 0);
    run_until_told(a, "up 2;down 2 closed;up 2;");
    run_until_calm(a, young);
    dial(a, old, 0);
    run_until_told(old, "up 1;down 1 eof;");
    while (a->m->nlinks > 1 || old->m->nlinks > 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_string_equal(a->story, "up 2;down 2 closed;up 2;");
}

/* A peer that comes again while its old link is up: that one is asked, and gives way if it does not
 * answer. */
static void test_rival(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, NULL);
    struct pr_addr addr;
    struct raw *first, *second, *third;
    struct pr_node_hello h = good_hello();
    struct pr_frame f;
    uint8_t keep[512];
    uint8_t p[64];
    struct pr_outbuf o = pr_outbuf(p, sizeof p);
    const struct pr_ping pong = {.token = 0};

    a->cfg.times.rival_ms = 60000;
    (void)start(a);
    addr = rt_mesh_addr(a->m);
    first = raw_up(w);
    run_until_frame(first, PR_T_PING, &f, keep, sizeof keep); /* of the start, not answered yet */
    second = raw_dial(w, &addr);
    raw_hello(second, &h);
    run_until_frame(first, PR_T_PING, &f, keep, sizeof keep);
    pr_pong_encode(&o, &pong);
    pr_pong_encode(&o, &pong);
    raw_send(first, p, o.len);
    run_until_frame(second, PR_T_BYE, &f, keep, sizeof keep);
    assert_string_equal(a->story, "up 7;");
    /* Once more, and the old one is silent: it goes after rival_ms. */
    a->m->cfg.times.rival_ms = 50;
    third = raw_dial(w, &addr);
    raw_hello(third, &h);
    run_until_told(a, "up 7;down 7 timeout;up 7;");
    run_until_frame(third, PR_T_NODE_HELLO_OK, &f, keep, sizeof keep);
    run_until_eof(first);
    assert_int_equal(a->m->counts.duplicate, 1);
}

/* Whoever hears of the old link's end may want the new one closed: it never comes up. */
static void test_closed_in_between(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct pr_addr addr = rt_mesh_addr(a->m);
    struct raw *first = raw_up(w);
    struct raw *second;
    struct pr_node_hello h = good_hello();
    struct pr_frame f;
    uint8_t keep[512];

    a->close_on_down = 7;
    h.epoch = 101;
    second = raw_dial(w, &addr);
    raw_hello(second, &h);
    run_until_frame(second, PR_T_BYE, &f, keep, sizeof keep);
    run_until_eof(first);
    assert_string_equal(a->story, "up 7;down 7 closed;");
    assert_false(rt_mesh_is_up(a->m, 7));
}

/* The old link ends while the new one is held: that comes up at once. */
static void test_rival_ends(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, NULL);
    struct pr_addr addr;
    struct raw *first, *second, *third;
    struct pr_node_hello h = good_hello();
    struct pr_frame f;
    uint8_t keep[512];

    a->cfg.times.rival_ms = 60000;
    (void)start(a);
    addr = rt_mesh_addr(a->m);
    first = raw_up(w);
    second = raw_dial(w, &addr);
    raw_hello(second, &h);
    while (a->m->nheld == 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    third = raw_dial(w, &addr);
    raw_hello(third, &h);
    run_until_frame(second, PR_T_BYE, &f, keep, sizeof keep); /* the youngest is held, alone */
    raw_close(first);
    run_until_told(a, "up 7;down 7 eof;up 7;");
    run_until_frame(third, PR_T_NODE_HELLO_OK, &f, keep, sizeof keep);
    assert_int_equal(a->m->nheld, 0);
    /* One that is held and goes away leaves nothing. */
    second = raw_dial(w, &addr);
    raw_hello(second, &h);
    while (a->m->nheld == 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    raw_close(second);
    while (a->m->nheld > 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_string_equal(a->story, "up 7;down 7 eof;up 7;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(test_both_dial),
        T(test_seed_of_a_known_peer),
        T(test_new_epoch),
        T(test_new_epoch_dialled),
        T(test_rival),
        T(test_rival_ends),
        T(test_dial_meets_hello),
        T(test_closed_in_between),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
