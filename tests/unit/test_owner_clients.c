/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: each edge and node knows how many clients all others have in each project, those of the
 * edge that gets to know a project late too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/owner/clients.h"

#define EDGES 2u
#define NODE  7u

struct rt_ipc {
    uint64_t red, blue; /* as it was told last; NOTHING: not since the last look */
};

#define NOTHING UINT64_MAX

static struct rt_ipc ipc[EDGES], peer_node;
static struct peer peers[EDGES];
static struct rt_metrics metrics;
static struct rt_role_args args;
static struct owner o;
static struct rt_clients *c;

static bool hear(struct rt_ipc *to, struct pr_slice bytes)
{
    struct pr_clients m;
    struct pr_frame f;

    assert_true(pr_frame_next(bytes, &f) == (long)bytes.n);
    assert_int_equal(pr_clients_decode(&f, &m), PR_OK);
    if (pr_slice_is(m.project, "red")) {
        to->red = m.count;
    } else {
        assert_true(pr_slice_is(m.project, "blue"));
        to->blue = m.count;
    }
    return true;
}

/* ipc.h */
bool rt_ipc_send(struct rt_ipc *to, struct pr_slice frames)
{
    return hear(to, frames);
}

/* owner_in.h */
bool rt_owner_link_send(struct owner *owner, uint64_t node_id, struct pr_slice frame)
{
    assert_ptr_equal(owner, &o);
    assert_int_equal(node_id, NODE);
    return hear(&peer_node, frame);
}

static void on_moment(void *ctx)
{
    *(bool *)ctx = true;
}

/* After the moment for which news are held back: timers are due in the order of their times. */
static void look(struct rt_ipc *at, uint64_t red, uint64_t blue)
{
    struct rt_timer moment;
    bool over = false;

    rt_timer_init(o.loop, &moment, on_moment, &over);
    rt_timer_set(&moment, RT_CLIENTS_TELL_MS + 1);
    while (!over) {
        (void)uv_run(rt_loop_uv(o.loop), UV_RUN_ONCE);
    }
    rt_timer_close(&moment, NULL);
    (void)uv_run(rt_loop_uv(o.loop), UV_RUN_NOWAIT); /* lets go of it */
    assert_int_equal(at->red, red);
    assert_int_equal(at->blue, blue);
    *at = (struct rt_ipc){.red = NOTHING, .blue = NOTHING};
}

static struct pr_frame frame_of(const char *project, uint64_t count)
{
    static uint8_t memory[128];
    struct pr_clients m = {.count = count, .project = pr_str(project)};
    struct pr_outbuf out = pr_outbuf(memory, sizeof memory);
    struct pr_frame f;

    pr_clients_encode(&out, &m);
    assert_true(pr_frame_next(pr_bytes(memory, out.len), &f) > 0);
    return f;
}

static void edge_says(uint32_t edge, const char *project, uint64_t count)
{
    struct pr_frame f = frame_of(project, count);

    assert_true(rt_clients_of_edge(c, edge, &f));
}

static void node_says(const char *project, uint64_t count)
{
    struct pr_frame f = frame_of(project, count);

    assert_true(rt_clients_of_node(c, NODE, &f));
}

static int open_owner(void **state)
{
    (void)state;
    rt_metrics_private(&metrics);
    args.metrics = &metrics;
    o = (struct owner){.loop = rt_loop_new(), .args = &args};
    for (uint32_t i = 0; i < EDGES; i++) {
        ipc[i] = (struct rt_ipc){.red = NOTHING, .blue = NOTHING};
        peers[i] = (struct peer){.owner = &o, .ipc = &ipc[i], .role = PR_ROLE_EDGE, .index = i};
        o.edge[i] = &peers[i];
    }
    peer_node = (struct rt_ipc){.red = NOTHING, .blue = NOTHING};
    c = rt_clients_new(&o);
    return 0;
}

static int close_owner(void **state)
{
    (void)state;
    rt_clients_free(c);
    rt_loop_free(o.loop);
    rt_metrics_close(&metrics);
    return 0;
}

static void sums_of_all_others(void **state)
{
    (void)state;
    rt_clients_link_up(c, NODE);
    edge_says(0, "red", 3);
    edge_says(1, "red", 4);
    edge_says(1, "blue", 1);
    node_says("red", 10);
    look(&ipc[0], 14, 1);
    look(&ipc[1], 13, NOTHING);
    look(&peer_node, 7, 1);
    rt_clients_link_down(c, NODE);
    look(&ipc[0], 4, NOTHING);
    look(&ipc[1], 3, NOTHING);
    o.edge[1] = NULL;
    rt_clients_edge(c, 1);
    look(&ipc[0], 0, 0);
}

/* What it was told before it had the project it has dropped. */
static void an_edge_that_is_late(void **state)
{
    (void)state;
    rt_clients_link_up(c, NODE);
    node_says("red", 10);
    look(&ipc[0], 10, NOTHING);
    edge_says(0, "red", 0);
    look(&ipc[0], 10, NOTHING);
    edge_says(0, "red", 1);
    look(&ipc[0], NOTHING, NOTHING);
    look(&ipc[1], 11, NOTHING);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sums_of_all_others, open_owner, close_owner),
        cmocka_unit_test_setup_teardown(an_edge_that_is_late, open_owner, close_owner),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
