/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: every verdict of the core becomes the right word to the peer, and of two nodes of one name
 * that meet directly it is the later one that ends, unless the other has joined.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/hash.h"
#include "node/owner/events.h"
#include "node/owner/nodes_in.h"
#include "proto/gossip.h"

#define ME    UINT64_C(1)
#define EPOCH UINT64_C(4000)

struct bed {
    struct owner o;
    struct nodes n;
    struct rt_role_args args;
    struct rt_config cfg;
    struct cl_limits lim;
    char name[8];
};

static struct pr_addr at(uint8_t last)
{
    return (struct pr_addr){.family = PR_ADDR_V4, .port = 7946, .ip = {10, 0, 0, last}};
}

static void drop_actions(struct cl *cl)
{
    struct cl_action a;

    while (cl_next_action(cl, &a)) {
    }
}

static void open_bed(struct bed *b, bool joined)
{
    static const struct cl_event tick = {.type = CL_EV_TICK};
    struct cl_config cfg = {
        .name = pr_str("web-1"), .id = ME, .epoch = EPOCH, .edges = 1, .clustered = true};
    uint64_t now;

    memset(b, 0, sizeof *b);
    (void)snprintf(b->name, sizeof b->name, "web-1");
    b->cfg.node = b->name;
    b->args.log = rt_log_new(-1, RT_DEBUG, "n", "owner");
    b->o.loop = rt_loop_new();
    b->o.cfg = &b->cfg;
    b->o.args = &b->args;
    b->o.node_id = ME;
    b->o.epoch = EPOCH;
    b->o.about = (struct cl_about){.addr = at(1), .weight = 100};
    b->o.events = rt_events_new();
    b->n.owner = &b->o;
    b->lim = (struct cl_limits){.edges = 1,
                                .topics = 10,
                                .presences = 10,
                                .presences_per_topic = 10,
                                .presence_bytes = 1000,
                                .pending_bytes = 1000,
                                .kept_bytes = 1000,
                                .actions = 1000};
    rt_pool_init(&b->o.pool, 64u << 20);
    cfg.about = b->o.about;
    cfg.lim = &b->lim;
    cfg.mem = &b->o.pool.alloc;
    now = rt_now_ms(b->o.loop);
    assert_true(now > 10000);
    b->o.cl = cl_new(&cfg, cl_rand_seed(1), now - 10000);
    assert_non_null(b->o.cl);
    if (joined) {
        assert_int_equal(cl_step(b->o.cl, now, &tick), CL_OK);
        drop_actions(b->o.cl);
    }
    assert_int_equal(cl_joined(b->o.cl), joined);
}

static void close_bed(struct bed *b)
{
    cl_free(b->o.cl);
    rt_events_free(b->o.events);
    (void)uv_run(rt_loop_uv(b->o.loop),
                 UV_RUN_NOWAIT); /* takes back the stop of a node that ends */
    rt_loop_free(b->o.loop);
    rt_log_free(b->args.log);
}

static void test_verdicts(void **state)
{
    static const struct {
        const char *name;
        bool joined;
        uint64_t id, epoch;
        const char *node;
        uint8_t addr;
        uint32_t verdict;
        const char *text;
        bool ends; /* this node */
    } cases[] = {
        {"anybody else", true, 2, 1, "web-2", 2, RT_MESH_YES, "", false},
        {"anybody else, early", false, 2, 1, "web-2", 2, RT_MESH_YES, "", false},
        {"itself", true, ME, EPOCH, "web-1", 1, PR_BYE_SELF, "this is web-1 itself", false},
        {"its own address, another epoch", true, ME, 9, "web-1", 1, PR_BYE_SELF,
         "this is web-1 itself", false},
        {"another name of the same hash", true, ME, 9, "foo", 2, PR_BYE_NAME,
         "node name foo has the same hash as that of another node; set REALTIME_NODE to another",
         false},
        {"a later namesake", true, ME, EPOCH + 1, "web-1", 7, PR_BYE_NAME,
         "node name web-1 is used by 10.0.0.1:7946; set REALTIME_NODE", false},
        {"a namesake with an earlier clock", true, ME, EPOCH - 1, "web-1", 7, PR_BYE_NAME,
         "node name web-1 is used by 10.0.0.1:7946; set REALTIME_NODE", false},
        {"not joined, and the other was first", false, ME, EPOCH - 1, "web-1", 7, PR_BYE_SELF,
         "this node has the same name and has not joined", true},
        {"not joined, and the other came later", false, ME, EPOCH + 1, "web-1", 7, PR_BYE_SELF,
         "this node has the same name and has not joined", false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct rt_mesh_peer peer = {.id = cases[i].id,
                                          .epoch = cases[i].epoch,
                                          .name = pr_str(cases[i].node),
                                          .addr = at(cases[i].addr)};
        char text[PR_ID_MAX + 1] = "";
        struct bed b;
        uint32_t verdict;

        open_bed(&b, cases[i].joined);
        verdict = rt_nodes_admit(&b.n, &peer, text, sizeof text);
        if (verdict != cases[i].verdict || strcmp(text, cases[i].text) != 0 ||
            b.o.exit_code != (cases[i].ends ? RT_EXIT_FATAL : 0)) {
            fail_msg("%s: %u '%s', exit code %d", cases[i].name, verdict, text, b.o.exit_code);
        }
        close_bed(&b);
    }
}

/* Whose name is held by a node that may be gone has to wait. */
static void test_later(void **state)
{
    struct rt_mesh_peer peer = {.id = 2, .epoch = 5, .name = pr_str("web-2"), .addr = at(2)};
    struct cl_event up = {.type = CL_EV_LINK_UP, .id = 2, .epoch = 5, .addr = at(2)};
    const struct pr_fact fact = {
        .id = 2,
        .epoch = 5,
        .state = PR_F_ALIVE,
        .name = peer.name,
        .addr = at(2),
        .meta = {
            .roles = PR_NODE_OWNER, .ready = true, .weight = 100, .proto_min = 1, .proto_max = 1}};
    uint8_t facts[PR_FACT_MAX], frame[PR_FACT_MAX + 64];
    struct pr_outbuf list = pr_outbuf(facts, sizeof facts);
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);
    struct pr_sync sync = {.nfacts = 1};
    struct pr_frame f;
    struct cl_event in = {.type = CL_EV_LINK_IN, .id = 2, .frame = &f};
    char text[PR_ID_MAX + 1] = "";
    struct bed b;

    (void)state;
    open_bed(&b, true);
    pr_fact_put(&list, &fact);
    sync.facts = pr_bytes(facts, list.len);
    pr_sync_encode(&o, &sync);
    assert_true(pr_frame_next(pr_bytes(frame, o.len), &f) > 0);
    up.name = peer.name;
    assert_int_equal(cl_step(b.o.cl, rt_now_ms(b.o.loop), &up), CL_OK);
    drop_actions(b.o.cl);
    assert_int_equal(cl_step(b.o.cl, rt_now_ms(b.o.loop), &in), CL_OK);
    drop_actions(b.o.cl);
    assert_int_equal(rt_nodes_admit(&b.n, &peer, text, sizeof text), RT_MESH_YES);
    peer.epoch = 6;
    peer.addr = at(9);
    assert_int_equal(rt_nodes_admit(&b.n, &peer, text, sizeof text), RT_MESH_LATER);
    close_bed(&b);
}

static void test_refused(void **state)
{
    static const struct {
        uint32_t code;
        int exit_code;
    } cases[] = {
        {PR_BYE_NAME, RT_EXIT_FATAL},
        {PR_BYE_SELF, 0},
        {PR_BYE_REPLACED, 0},
        {PR_BYE_LEAVE, 0},
        {PR_BYE_OVER, 0},
        {PR_BYE_CLUSTER, 0},
        {PR_BYE_VERSION, 0},
        {PR_BYE_OVERFLOW, 0},
        {77, 0},
    };
    const struct pr_addr from = at(3);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct bed b;

        open_bed(&b, false);
        rt_nodes_refused(&b.n, 3, &from, cases[i].code, pr_str("because"));
        assert_int_equal(b.o.exit_code, cases[i].exit_code);
        close_bed(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_verdicts),
        cmocka_unit_test(test_later),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
