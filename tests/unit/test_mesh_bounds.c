/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every bound of a node's links has its policy: links, those we dial, descriptors, and what
 * waits for a peer that does not read.
 */
#include <sys/resource.h>

#include "mesh_world.h"

/* ---- how many ---- */

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

/* ---- how much ---- */

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

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(test_many_targets),  T(test_stops_reading), T(test_drops_events),
        T(test_stops_changes), T(test_table_full),    T(test_no_descriptors),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
