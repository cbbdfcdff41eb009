/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a link goes up and down at both ends, DOWN always before the next UP; what is sent arrives
 * in order, last words too; a silent one ends; keys change without a cut.
 */
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
        T(test_up_and_down),   T(test_frames),
        T(test_pings),         T(test_each),
        T(test_close),         T(test_silent_peer),
        T(test_idle_link),     T(test_rotation),
        T(test_last_words),    T(test_last_words_of_all),
        T(test_lingers),       T(test_reset),
        T(test_key_taken_out),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
