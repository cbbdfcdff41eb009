/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: at most one link per pair, DOWN always before the next UP, whoever dials whom and when;
 * what is sent arrives in order; every bound of a link has its policy; keys change without a cut.
 */
#include <sys/resource.h>

#include "mesh_world.h"

/* ---- up, down, frames ---- */

static void test_up_and_down(void **state)
{
    static const char *const keys[] = {NULL, KEY_OLD};
    struct world *w = *state;

    for (uint32_t i = 0; i < 2; i++) {
        struct node *a = node(w, i * 2, keys[i]);
        struct node *b = node(w, i * 2 + 1, keys[i]);
        char text[80];

        rt_mesh_set_view(b->m, 0x1234);
        link_up(a, b);
        assert_int_equal(a->last_peer.id, b->cfg.id);
        assert_int_equal(a->last_peer.epoch, 100);
        assert_int_equal(a->last_peer.view, 0x1234);
        assert_int_equal(a->last_peer.proto, PR_PROTO_MAX);
        assert_string_equal(a->last_name, b->name);
        assert_string_equal(a->last_url, "");
        assert_string_equal(b->last_name, a->name);
        assert_string_equal(b->last_url, "http://127.0.0.1:4000");
        assert_int_equal(b->last_peer.view, 0);
        assert_int_equal(b->last_peer.addr.port, rt_mesh_addr(a->m).port);
        assert_true(rt_mesh_is_up(a->m, b->cfg.id));
        /* Dialling again changes nothing. */
        dial(a, b, b->cfg.id);
        dial(b, a, a->cfg.id);
        assert_int_equal(a->m->counts.dialed, 1);
        /* A node that ends says so. */
        stop(b);
        run_until_told(a, "eof;");
        (void)snprintf(text, sizeof text, "up %u;bye %u leave;down %u eof;", i * 2 + 2, i * 2 + 2,
                       i * 2 + 2);
        assert_string_equal(a->story, text);
        assert_false(rt_mesh_is_up(a->m, b->cfg.id));
        assert_false(rt_mesh_send(a->m, b->cfg.id, pr_bytes("", 0)));
    }
}

static bool got_100(struct world *w)
{
    return w->node[0].frames == 100 && w->node[1].frames == 100;
}

/* Small and large frames both ways, in order; what is said inside link_up is not lost. */
static void test_frames(void **state)
{
    static const char *const keys[] = {NULL, KEY_OLD};
    struct world *w = *state;

    for (uint32_t round = 0; round < 2; round++) {
        struct node *a = node(w, 0, keys[round]);
        struct node *b = node(w, 1, keys[round]);
        size_t cap = PR_FRAME_MAX;
        uint8_t *p = rt_malloc(cap);
        uint64_t sent = 0;
        struct rt_mesh_counts counts;

        a->on_up = "x";
        b->on_up = "x";
        link_up(a, b);
        for (uint64_t tag = 2; tag <= 100; tag++) {
            size_t payload = tag == 50 ? 7000000 : tag % 7 == 0 ? 100000 : tag * 3;
            size_t n = make_pub(p, cap, tag, payload);

            sent += n;
            assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, n)));
            assert_true(rt_mesh_send(b->m, 1, pr_bytes(p, n)));
        }
        assert_true(rt_mesh_queued(a->m, 2, PR_C_BROADCAST) > 7000000);
        assert_int_equal(rt_mesh_queued(a->m, 2, PR_C_CHANGES), 0);
        assert_int_equal(rt_mesh_queued(a->m, 9, PR_C_BROADCAST), 0);
        run_until(w, got_100);
        assert_int_equal(a->holes + b->holes, 0);
        assert_true(a->bytes > sent && b->bytes == a->bytes);
        assert_int_equal(rt_mesh_queued(a->m, 2, PR_C_BROADCAST), 0);
        counts = rt_mesh_counts(a->m);
        assert_true(counts.bytes_in > a->bytes && counts.bytes_out > b->bytes);
        assert_true(counts.frames_out >= 100 && counts.frames_in >= 100);
        assert_int_equal(counts.lanes.dropped[PR_C_BROADCAST], 0);
        rt_free(p);
        stop(a);
        stop(b);
        rt_keyring_free(a->keys);
        rt_keyring_free(b->keys);
        memset(&w->node, 0, sizeof w->node);
    }
}

static bool got_ping_and_pong(struct world *w)
{
    return w->node[1].frames == 2;
}

static bool has_rtt(struct world *w)
{
    return w->node[0].m->up[0]->rtt_us > 0 && w->node[1].m->up[0]->rtt_us > 0;
}

/* PING with token 0 is answered here and seen by nobody; all others are membership's. */
static void test_pings(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    uint8_t p[64];
    struct pr_outbuf o = pr_outbuf(p, sizeof p);
    struct pr_ping ping = {.token = 77};

    link_up(a, b);
    run_until(w, has_rtt);
    assert_int_equal(a->frames + b->frames, 0);
    pr_ping_encode(&o, &ping);
    pr_pong_encode(&o, &ping);
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, o.len)));
    run_until(w, got_ping_and_pong);
    assert_int_equal(b->last_type, PR_T_PONG);
    assert_int_equal(a->frames, 0);
}

static void count_row(void *ctx, const struct rt_mesh_link_info *l)
{
    struct node *n = ctx;

    tell(n, "row %llu %s %s;", (unsigned long long)l->peer.id, l->dialled ? "dialled" : "accepted",
         l->key);
    assert_true(l->bytes_in > 0 && l->bytes_out > 0);
    assert_non_null(l->lanes);
}

static void test_each(void **state)
{
    struct world *w = *state;
    struct node *c = node(w, 2, KEY_OLD);
    char text[120];

    (void)node(w, 0, KEY_OLD);
    (void)node(w, 1, KEY_OLD);
    (void)node(w, 3, KEY_OLD);
    dial(c, &w->node[3], 4);
    run_until_told(c, "up 4;");
    dial(&w->node[0], c, 3);
    run_until_told(c, "up 1;");
    dial(c, &w->node[1], 0);
    run_until_told(c, "up 2;");
    c->story[0] = '\0';
    rt_mesh_each(c->m, count_row, c);
    (void)snprintf(text, sizeof text, "row 1 accepted %s;row 2 dialled %s;row 4 dialled %s;",
                   c->keys->key[0].identity, c->keys->key[0].identity, c->keys->key[0].identity);
    assert_string_equal(c->story, text);
}

/* Closed by one end: BYE with its reason, one DOWN at each, and no callback inside the call. */
static void test_close(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    uint8_t p[256];

    link_up(a, b);
    rt_mesh_close(a->m, 2, PR_BYE_NAME, "set another name");
    assert_string_equal(a->story, "up 2;");
    assert_false(rt_mesh_is_up(a->m, 2));
    run_until_told(a, "down 2 closed;");
    run_until_told(b, "up 1;bye 1 name;down 1 eof;");
    assert_non_null(strstr(b->last_text, "it said BYE (name 5): set another name"));
    /* And up again, with a later one closed from inside a callback of the same link. */
    link_up(a, b);
    b->close_on_frame = 1;
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, 1, 1))));
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, 2, 1))));
    run_until_told(a, "up 2;bye 2 leave;down 2 eof;");
    run_until_told(b, "up 1;down 1 closed;");
    assert_int_equal(b->frames, 1);
    /* No link, no dial: nothing to close. */
    rt_mesh_close(a->m, 2, PR_BYE_NAME, "");
    rt_mesh_close(a->m, 9, PR_BYE_NAME, "");
}

/* What was said before BYE arrives before it; a long text is cut; an end that was not told yet when
 * all ends is told to nobody. */
static void test_last_words(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    uint8_t p[256];
    char text[400];

    memset(text, 't', sizeof text);
    text[sizeof text - 1] = '\0';
    link_up(a, b);
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, 1, 1))));
    rt_mesh_close(a->m, 2, PR_BYE_LEAVE, text);
    run_until_told(b, "up 1;bye 1 leave;down 1 eof;");
    assert_int_equal(b->frames, 1);
    assert_non_null(strstr(b->last_text, "ttttt"));
    run_until_told(a, "up 2;down 2 closed;");
    link_up(a, b);
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, 2, 1))));
    rt_mesh_close(b->m, 1, PR_BYE_LEAVE, "");
    stop(a);
    stop(b);
    assert_true(ends(a, "down 2 closed;up 2;"));
    assert_true(ends(b, "down 1 eof;up 1;"));
}

/* The last words of a node that ends come before its BYE too. */
static void test_last_words_of_all(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    uint8_t p[256];

    link_up(a, b);
    assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, 1, 1))));
    stop(a);
    run_until_told(b, "up 1;bye 1 leave;down 1 eof;");
    assert_int_equal(b->frames, 1);
}

/* A peer that reads BYE and stays is cut; nothing of it is left. */
static void test_lingers(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct raw *r = raw_up(w);
    uint8_t p[256];

    rt_mesh_close(a->m, 7, PR_BYE_LEAVE, "");
    run_until_eof(r);
    assert_int_equal(a->m->nlinks, 1);
    raw_send(r, p, make_pub(p, sizeof p, 1, 1)); /* thrown away */
    while (a->m->nlinks > 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_int_equal(a->frames, 0);
    assert_string_equal(a->story, "up 7;down 7 closed;");
}

/* A peer that is killed with bytes of ours on the way: its end is seen, nothing else. */
static void test_reset(void **state)
{
    static const struct linger hard = {.l_onoff = 1};
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct raw *r = raw_up(w);
    uint8_t *p = rt_malloc(100000);

    assert_int_equal(setsockopt(r->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    raw_close(r);
    (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
    (void)rt_mesh_send(a->m, 7, pr_bytes(p, make_pub(p, 100000, 1, 90000)));
    run_until_told(a, "up 7;down 7 eof;");
    rt_free(p);
}

/* A dial that is taken back before it is done, or while it is on its way, ends in silence. */
static void test_close_a_dial(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);

    dial(a, b, 2);
    rt_mesh_close(a->m, 2, PR_BYE_LEAVE, "not wanted");
    assert_int_equal(a->m->counts.dialed, 0);
    dial(a, b, 2);
    while (a->m->counts.dialed == 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    rt_mesh_close(a->m, 2, PR_BYE_LEAVE, "not wanted");
    while (a->m->nlinks > 0 || b->m->nlinks > 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_string_equal(a->story, "");
    link_up(a, b);
    assert_string_equal(a->story, "up 2;");
}

/* ---- two connections, one link ---- */

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

/* A cluster over its size: links that are up stay, the next is refused with a reason. */
static void test_table_full(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct pr_addr addr = rt_mesh_addr(a->m);
    struct pr_frame f;
    uint8_t keep[512];
    char text[20];

    for (uint32_t i = 0; i <= CL_NODES_MAX; i++) {
        struct raw *r = raw_dial(w, &addr);
        struct pr_node_hello h = good_hello();

        h.from_id = 1000 + (i * 7919) % 1000; /* in no order */
        raw_hello(r, &h);
        (void)snprintf(text, sizeof text, "up %u;", (unsigned)h.from_id);
        if (i < CL_NODES_MAX) {
            run_until_told(a, text);
        } else {
            run_until_frame(r, PR_T_BYE, &f, keep, sizeof keep);
        }
    }
    assert_int_equal(a->m->nup, CL_NODES_MAX);
    for (uint32_t i = 1; i < a->m->nup; i++) {
        assert_true(a->m->up[i - 1]->id < a->m->up[i]->id);
    }
    a->story[0] = '\0';
    raw_close(&w->raw[0]);
    run_until_told(a, "down 1000 eof;");
    assert_int_equal(a->m->nup, CL_NODES_MAX - 1);
    assert_null(rt_mesh_find(a->m, 1000));
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

/* ---- dialling ---- */

/* One attempt per call; the pause doubles, within +-50 %, up to its bound, and starts anew after a
 * link that lived. */
static void test_backoff(void **state)
{
    static const uint64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct world *w = *state;
    struct node *a = prepare(w, 0, KEY_OLD);
    struct pr_addr nobody;
    int fd = raw_listen(&nobody);

    (void)close(fd);
    a->cfg.times = (struct rt_mesh_times){0};
    (void)start(a);
    for (uint32_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        struct rt_mesh_target *t;
        uint64_t pause;
        char text[400];

        rt_mesh_dial(a->m, 9, &nobody);
        rt_mesh_dial(a->m, 9, &nobody);
        t = &a->m->target[0];
        assert_true(t->used && t->id == 9);
        t->not_before_ms = 0; /* the pause is over */
        rt_mesh_kick(a->m, 0);
        for (uint32_t k = 0; k <= i; k++) {
            (void)snprintf(text + k * 15, sizeof text - k * 15, "fail 9 refused;");
        }
        run_until_told(a, text);
        pause = t->not_before_ms - rt_now_ms(w->loop); /* some ms of it may be over */
        if (pause > pauses[i] + pauses[i] / 2 || pause + 50 < pauses[i] / 2) {
            fail_msg("pause %u is %lu ms", i, (unsigned long)pause);
        }
        assert_false(t->wanted);
    }
    assert_int_equal(a->m->counts.dialed, 9);
    assert_int_equal(a->m->counts.dial_failed, 9);
}

/* A dial inside the pause is not lost: it is done when the pause ends, with the latest address. */
static void test_delayed(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr nobody;
    int fd = raw_listen(&nobody);

    (void)close(fd);
    rt_mesh_dial(a->m, 2, &nobody);
    run_until_told(a, "fail 2 refused;");
    rt_mesh_dial(a->m, 2, &nobody);
    dial(a, b, 2);
    /* Another one in the meantime has its own pause. */
    rt_mesh_dial(a->m, 9, &nobody);
    run_until_told(a, "up 2;");
    assert_true(strncmp(a->story, "fail 2 refused;", 15) == 0);
}

/* No descriptor left: accepting stops for a moment, and goes on. */
static void test_no_descriptors(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct pr_addr addr = rt_mesh_addr(a->m);
    struct raw *r = raw_dial(w, &addr);
    const struct pr_node_hello h = good_hello();
    struct rlimit was, now;
    int lowest = dup(r->fd);

    assert_int_equal(close(lowest), 0);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
    now = was;
    now.rlim_cur = (rlim_t)lowest;
    raw_hello(r, &h);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &now), 0);
    while (a->m->accept_at_ms == 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    /* Neither can it dial. */
    rt_mesh_dial(a->m, 9, &addr);
    run_until_told(a, "fail 9 refused;");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
    run_until_told(a, "up 7;");
    assert_int_equal(a->m->accept_at_ms, 0);
}

/* One socket for both families. */
static void test_both_families(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr addr = {.family = PR_ADDR_V6};
    struct rt_error err = {0};

    a->cfg.listen = addr;
    a->cfg.advertise = loopback(1);
    a->m = rt_mesh_new(&a->cfg, &err);
    if (a->m == NULL) {
        skip(); /* a machine without IPv6 */
    }
    addr = loopback(rt_mesh_addr(a->m).port);
    rt_mesh_dial(b->m, 1, &addr);
    run_until_told(b, "up 1;");
    assert_int_equal(a->m->up[0]->remote.family, PR_ADDR_V4);
    addr = (struct pr_addr){.family = PR_ADDR_V6, .port = addr.port, .ip = {[15] = 1}};
    rt_mesh_close(b->m, 1, PR_BYE_LEAVE, "");
    run_until_told(b, "down 1 closed;");
    rt_mesh_dial(b->m, 1, &addr);
    run_until_told(b, "down 1 closed;up 1;");
    assert_int_equal(a->m->up[0]->remote.family, PR_ADDR_V6);
}

/* The table of those we dial is bounded; who is idle for longest goes first. */
static void test_many_targets(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, KEY_OLD);
    struct pr_addr nobody;
    int fd = raw_listen(&nobody);

    (void)close(fd);
    a->cfg.times.backoff_ms = 60000;
    a->cfg.times.backoff_max_ms = 60000;
    (void)start(a);
    for (uint64_t id = 10; id < 10 + 2 * RT_MESH_TARGETS_MAX; id++) {
        rt_mesh_dial(a->m, id, &nobody);
    }
    while (a->m->counts.dial_failed < RT_MESH_TARGETS_MAX) {
        a->story[0] = '\0';
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_int_equal(a->m->counts.dialed, RT_MESH_TARGETS_MAX);
    a->story[0] = '\0';
    rt_mesh_dial(a->m, 5, &nobody); /* in the place of one that has failed */
    run_until_told(a, "fail 5 refused;");
}

static void test_no_way(void **state)
{
    static const struct {
        const char *name;
        struct pr_addr addr;
    } cases[] = {
        {"no address", {.family = PR_ADDR_NONE}},
        {"multicast", {.family = PR_ADDR_V4, .port = 1, .ip = {224, 0, 0, 1}}},
    };
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        a->story[0] = '\0';
        rt_mesh_dial(a->m, 9, &cases[i].addr);
        assert_string_equal(a->story, "");
        run_until_told(a, "fail 9 refused;");
    }
}

/* ---- clocks ---- */

static void test_silent_peer(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, NULL);
    struct raw *r;
    struct pr_frame f;
    uint8_t keep[512];

    a->cfg.times.ping_ms = 20;
    a->cfg.times.silent_ms = 70;
    (void)start(a);
    r = raw_up(w);
    run_until_told(a, "down 7 timeout;");
    assert_int_equal(a->m->counts.silent, 1);
    run_until_frame(r, PR_T_PING, &f, keep, sizeof keep);
    run_until_frame(r, PR_T_BYE, &f, keep, sizeof keep);
}

static bool pinged_often(struct world *w)
{
    return w->node[0].m->up[0]->frames_in >= 20;
}

/* Two idle nodes keep their link by PING and PONG alone. */
static void test_idle_link(void **state)
{
    struct world *w = *state;

    for (uint32_t i = 0; i < 2; i++) {
        struct node *n = prepare(w, i, KEY_OLD);

        n->cfg.times.ping_ms = 5;
        n->cfg.times.silent_ms = 5000;
        (void)start(n);
    }
    link_up(&w->node[0], &w->node[1]);
    run_until(w, pinged_often);
    assert_string_equal(w->node[0].story, "up 2;");
    assert_int_equal(w->node[0].frames, 0);
}

/* ---- bounds ---- */

/* A peer that stops reading: what may not be lost ends the link once its bound is reached. */
static void test_stops_reading(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct raw *r = raw_up(w);
    uint8_t *p = rt_malloc(70000);
    size_t sent = 0;
    uint64_t tag = 1;

    r->reading = false;
    (void)uv_poll_stop(&r->poll);
    while (rt_mesh_send(a->m, 7, pr_bytes(p, make_pub(p, 70000, tag, 65536)))) {
        sent += 65536;
        tag++;
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
        assert_true(sent < 64u * 1024 * 1024);
    }
    assert_true(sent >= RT_LANES_HARD_BYTES - 2 * 65536);
    assert_string_equal(a->story, "up 7;"); /* not inside the call */
    assert_false(rt_mesh_is_up(a->m, 7));
    run_until_told(a, "up 7;down 7 closed;");
    assert_non_null(strstr(a->last_text, "does not read"));
    rt_free(p);
}

static bool read_all(struct world *w)
{
    return w->node[0].m->up[0]->lanes.data.head == NULL && w->node[0].m->up[0]->lanes.cut == NULL;
}

/* Events may be lost: the link stays, the newest arrive whole and in order, drops are counted. */
static void test_drops_events(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct raw *r = raw_up(w);
    uint8_t *p = rt_malloc(70000);
    uint64_t last = 0;
    uint64_t frames = 0;
    struct pr_frame f;
    struct pr_event event;
    struct rt_mesh_counts counts;
    size_t at = 0;

    r->reading = false;
    (void)uv_poll_stop(&r->poll);
    for (uint64_t tag = 1; tag <= 600; tag++) {
        assert_true(rt_mesh_send(a->m, 7, pr_bytes(p, make_event(p, 70000, tag, 65536))));
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
    }
    counts = rt_mesh_counts(a->m);
    assert_true(counts.lanes.dropped[PR_C_BROADCAST] > 100);
    assert_true(rt_mesh_queued(a->m, 7, PR_C_BROADCAST) <= RT_LANES_BROADCAST_BYTES);
    r->reading = true;
    assert_int_equal(uv_poll_start(&r->poll, UV_READABLE, on_raw), 0);
    run_until(w, read_all);
    while (last != 600) {
        long n = pr_frame_next(pr_bytes(r->in + at, r->in_len - at), &f);

        assert_true(n >= 0);
        if (n == 0) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
            continue;
        }
        at += (size_t)n;
        if (f.type == PR_T_EVENT) {
            assert_int_equal(pr_event_decode(&f, &event), PR_OK);
            assert_true(event.oseq > last);
            last = event.oseq;
            frames++;
        }
    }
    assert_int_equal(frames + counts.lanes.dropped[PR_C_BROADCAST], 600);
    assert_string_equal(a->story, "up 7;");
    rt_free(p);
}

/* Changes wait at their source: the frame is refused, the link lives, and there is room later. */
static void test_stops_changes(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, NULL);
    struct raw *r = raw_up(w);
    uint8_t *p = rt_malloc(70000);
    struct pr_outbuf o = pr_outbuf(p, 70000);
    uint8_t *body = rt_calloc(1, 65536);
    struct pr_outbuf list = pr_outbuf(body, 65536);
    const struct pr_chg_body one = {.kind = PR_K_INSERT, .data = pr_bytes(p, 65000)};
    struct pr_chg chg = {.project = pr_str("p"), .nbodies = 1};
    uint32_t n = 0;

    memset(p, 0, 70000);
    pr_chg_body_put(&list, &one);
    chg.bodies = pr_bytes(body, list.len);
    pr_chg_encode(&o, &chg);
    assert_true(pr_out_ok(&o) && pr_out_ok(&list));
    r->reading = false;
    (void)uv_poll_stop(&r->poll);
    while (rt_mesh_send(a->m, 7, pr_bytes(p, o.len))) {
        n++;
        assert_true(n < 1000);
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT);
    }
    assert_true(rt_mesh_is_up(a->m, 7));
    assert_true(rt_mesh_queued(a->m, 7, PR_C_CHANGES) > RT_LANES_CHANGES_BYTES - 70000);
    r->reading = true;
    assert_int_equal(uv_poll_start(&r->poll, UV_READABLE, on_raw), 0);
    run_until(w, read_all);
    assert_int_equal(rt_mesh_queued(a->m, 7, PR_C_CHANGES), 0);
    assert_true(rt_mesh_send(a->m, 7, pr_bytes(p, o.len)));
    assert_string_equal(a->story, "up 7;");
    rt_free(p);
    rt_free(body);
}

/* ---- rotation ---- */

static void reload(struct node *n, const char *keys)
{
    struct rt_error err = {0};

    if (rt_keyring_reload(n->keys, keys, &err) < 0) {
        fail_msg("%s", err.text);
    }
}

/* A new connection of the same two, and which key it came up with. */
static void renew(struct node *a, struct node *b, const char *expect)
{
    rt_mesh_close(a->m, b->cfg.id, PR_BYE_LEAVE, "to dial anew");
    while (a->m->nlinks > 0 || b->m->nlinks > 0) {
        (void)uv_run(rt_loop_uv(a->w->loop), UV_RUN_ONCE);
    }
    link_up(a, b);
    assert_string_equal(rt_psk_identity(a->m->up[0]->psk), expect);
    assert_string_equal(rt_psk_identity(b->m->up[0]->psk), expect);
}

static void test_rotation(void **state)
{
    static const struct {
        const char *a, *b;
        bool is_new; /* of a dial by a */
    } steps[] = {
        {KEY_OLD, KEY_OLD, false},
        {KEY_OLD "," KEY_NEW, KEY_OLD, false},
        {KEY_OLD "," KEY_NEW, KEY_OLD "," KEY_NEW, false},
        {KEY_NEW "," KEY_OLD, KEY_OLD "," KEY_NEW, true},
        {KEY_NEW "," KEY_OLD, KEY_NEW "," KEY_OLD, true},
        {KEY_NEW, KEY_NEW "," KEY_OLD, true},
        {KEY_NEW, KEY_NEW, true},
    };
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct node *late = node(w, 2, KEY_OLD);
    struct rt_error err = {0};
    struct rt_keyring *old = rt_keyring_new(KEY_OLD, &err);
    struct rt_keyring *young = rt_keyring_new(KEY_NEW, &err);

    link_up(a, b);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        uint64_t frames = b->frames;
        uint8_t p[256];

        reload(a, steps[i].a);
        reload(b, steps[i].b);
        /* The link that is there lives on. */
        assert_true(rt_mesh_send(a->m, 2, pr_bytes(p, make_pub(p, sizeof p, frames + 1, 1))));
        while (b->frames == frames) {
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
        renew(a, b, steps[i].is_new ? young->key[0].identity : old->key[0].identity);
        renew(b, a, b->keys->key[0].identity);
    }
    assert_int_equal(a->m->counts.refused_key + b->m->counts.refused_key, 0);
    /* Who has only the old key is out now. */
    dial(late, a, 1);
    run_until_told(late, "fail 1 proto;");
    assert_int_equal(a->m->counts.refused_key, 1);
    rt_keyring_free(old);
    rt_keyring_free(young);
}

/* A link whose key is no key any more ends within rekey_ms, and comes up with the new one. */
static void test_key_taken_out(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, KEY_OLD "," KEY_NEW);
    struct node *b = node(w, 1, KEY_OLD "," KEY_NEW);

    a->cfg.times.rekey_ms = 20;
    a->cfg.times.ping_ms = 10;
    (void)start(a);
    link_up(a, b);
    reload(a, KEY_NEW);
    reload(b, KEY_NEW);
    run_until_told(a, "up 2;down 2 closed;");
    run_until_told(b, "up 1;bye 1 key;down 1 eof;");
    link_up(a, b);
    assert_string_equal(rt_psk_identity(a->m->up[0]->psk), a->keys->key[0].identity);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(test_up_and_down),
        T(test_frames),
        T(test_pings),
        T(test_each),
        T(test_close),
        T(test_close_a_dial),
        T(test_both_dial),
        T(test_seed_of_a_known_peer),
        T(test_new_epoch),
        T(test_new_epoch_dialled),
        T(test_rival),
        T(test_rival_ends),
        T(test_backoff),
        T(test_delayed),
        T(test_many_targets),
        T(test_no_way),
        T(test_silent_peer),
        T(test_idle_link),
        T(test_stops_reading),
        T(test_drops_events),
        T(test_stops_changes),
        T(test_rotation),
        T(test_last_words),
        T(test_last_words_of_all),
        T(test_lingers),
        T(test_reset),
        T(test_dial_meets_hello),
        T(test_closed_in_between),
        T(test_table_full),
        T(test_no_descriptors),
        T(test_both_families),
        T(test_key_taken_out),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
