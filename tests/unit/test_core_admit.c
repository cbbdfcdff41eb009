/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: a name that is in use is not given away, the one of a node that is gone is within 1.5 s,
 * and the question to the old holder leaves at once although no event of the core asked it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cluster/core.h"
#include "cluster/hash.h"
#include "cluster/swim.h"
#include "proto/gossip.h"

#define ME      UINT64_C(1)
#define OLD     UINT64_C(2) /* id of the node whose name is wanted */
#define EPOCH   UINT64_C(4000)
#define CLUSTER UINT64_C(0x77)

struct bed {
    struct cl_alloc mem;
    struct cl_limits lim;
    struct cl *cl;
    cl_ms now;
    uint32_t asked; /* datagrams to the old address */
};

static void *get(void *ctx, size_t n)
{
    (void)ctx;
    return malloc(n);
}

static void put(void *ctx, void *p, size_t n)
{
    (void)ctx;
    (void)n;
    free(p);
}

static struct pr_addr at(uint8_t last)
{
    return (struct pr_addr){.family = PR_ADDR_V4, .port = 7946, .ip = {10, 0, 0, last}};
}

static void step(struct bed *b, const struct cl_event *ev)
{
    struct pr_addr old = at(2);
    struct cl_action a;

    assert_int_equal(cl_step(b->cl, b->now, ev), CL_OK);
    while (cl_next_action(b->cl, &a)) {
        b->asked += a.type == CL_ACT_UDP_SEND && pr_addr_eq(&a.addr, &old);
    }
}

/* On to `until`, from deadline to deadline. */
static void pass(struct bed *b, cl_ms until)
{
    static const struct cl_event tick = {.type = CL_EV_TICK};

    while (cl_deadline(b->cl) <= until) {
        b->now = cl_deadline(b->cl) > b->now ? cl_deadline(b->cl) : b->now;
        step(b, &tick);
    }
    b->now = until;
}

static void link_says(struct bed *b, const struct pr_outbuf *o)
{
    struct pr_frame f;
    const struct cl_event ev = {.type = CL_EV_LINK_IN, .id = OLD, .frame = &f};

    assert_true(pr_out_ok(o));
    assert_true(pr_frame_next(pr_bytes(o->p, o->len), &f) > 0);
    step(b, &ev);
}

/* A core that knows one other node, by its link. */
static void open_bed(struct bed *b)
{
    const struct pr_fact fact = {
        .id = OLD,
        .epoch = EPOCH,
        .state = PR_F_ALIVE,
        .name = pr_str("web-1"),
        .addr = at(2),
        .meta = {
            .roles = PR_NODE_OWNER, .ready = true, .weight = 100, .proto_min = 1, .proto_max = 1}};
    struct cl_event up = {.type = CL_EV_LINK_UP, .id = OLD, .epoch = EPOCH};
    struct cl_config cfg = {.name = pr_str("me"), .id = ME, .epoch = EPOCH, .edges = 1};
    uint8_t facts[PR_FACT_MAX], frame[PR_FACT_MAX + 64];
    struct pr_outbuf list = pr_outbuf(facts, sizeof facts);
    struct pr_outbuf o = pr_outbuf(frame, sizeof frame);
    struct pr_sync sync = {.nfacts = 1};

    *b = (struct bed){.mem = {get, put, NULL}, .now = 1000};
    b->lim = (struct cl_limits){.edges = 1,
                                .topics = 10,
                                .presences = 10,
                                .presences_per_topic = 10,
                                .presence_bytes = 1000,
                                .pending_bytes = 1000,
                                .kept_bytes = 1000,
                                .actions = 1000};
    cfg.clustered = true;
    cfg.about = (struct cl_about){.addr = at(1), .cluster = CLUSTER, .weight = 100};
    cfg.lim = &b->lim;
    cfg.mem = &b->mem;
    b->cl = cl_new(&cfg, cl_rand_seed(1), b->now);
    assert_non_null(b->cl);
    up.name = fact.name;
    up.addr = fact.addr;
    step(b, &up);
    pr_fact_put(&list, &fact);
    sync.facts = pr_bytes(facts, list.len);
    pr_sync_encode(&o, &sync);
    link_says(b, &o);
    pass(b, b->now + 5);
    b->asked = 0;
}

static enum cl_verdict claim(struct bed *b, uint64_t epoch, uint8_t addr, struct pr_addr *holder)
{
    const struct cl_claim c = {
        .id = OLD, .epoch = epoch, .name = pr_str("web-1"), .addr = at(addr)};

    return cl_admit(b->cl, b->now, &c, holder);
}

static void property_3_at_once(void **state)
{
    static const struct {
        const char *name;
        uint64_t id, epoch;
        const char *node;
        uint8_t addr;
        enum cl_verdict verdict;
    } cases[] = {
        {"unknown", 9, 1, "web-9", 9, CL_ADMIT},
        {"the same life", OLD, EPOCH, "web-1", 2, CL_ADMIT},
        {"the same life at another address", OLD, EPOCH, "web-1", 3, CL_ADMIT},
        {"a new life at its address", OLD, EPOCH + 1, "web-1", 2, CL_ADMIT},
        {"one whose clock was set back", OLD, EPOCH - 1, "web-1", 2, CL_ADMIT},
        {"ourselves", ME, EPOCH, "me", 1, CL_IS_SELF},
        {"ourselves, before our epoch was raised", ME, EPOCH - 1, "me", 1, CL_IS_SELF},
        {"our name elsewhere", ME, EPOCH + 1, "me", 9, CL_NAME_USED},
        {"another name with the same id", OLD, EPOCH + 1, "web-2", 9, CL_ID_CLASH},
        {"a new life elsewhere", OLD, EPOCH + 1, "web-1", 3, CL_WAIT},
        {"the same, with a clock set back", OLD, EPOCH - 1, "web-1", 3, CL_WAIT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct cl_claim c = {.id = cases[i].id,
                                   .epoch = cases[i].epoch,
                                   .name = pr_str(cases[i].node),
                                   .addr = at(cases[i].addr)};
        struct pr_addr holder;
        enum cl_verdict v;
        struct bed b;

        open_bed(&b);
        v = cl_admit(b.cl, b.now, &c, &holder);
        if (v != cases[i].verdict) {
            fail_msg("%s: verdict %d", cases[i].name, v);
        }
        assert_int_equal(holder.ip[3], v == CL_NAME_USED ? 1 : 0);
        cl_free(b.cl);
    }
}

static void test_silent_holder(void **state)
{
    struct pr_addr holder;
    cl_ms start;
    struct bed b;

    (void)state;
    open_bed(&b);
    start = b.now;
    assert_int_equal(claim(&b, EPOCH + 1, 3, &holder), CL_WAIT);
    assert_int_equal(cl_deadline(b.cl), b.now);
    pass(&b, start + 1);
    assert_true(b.asked > 0);
    while (claim(&b, EPOCH + 1, 3, &holder) == CL_WAIT) {
        assert_true(b.now - start < 1500);
        pass(&b, b.now + 100);
    }
    assert_int_equal(claim(&b, EPOCH + 1, 3, &holder), CL_ADMIT);
    assert_int_equal(claim(&b, EPOCH + 2, 4, &holder), CL_WAIT); /* one of two newcomers */
    cl_free(b.cl);
}

static void property_3_holder_who_speaks(void **state)
{
    const struct pr_ping ping = {.token = 5};
    struct pr_addr holder;
    uint8_t frame[64];
    struct bed b;

    (void)state;
    open_bed(&b);
    assert_int_equal(claim(&b, EPOCH + 1, 3, &holder), CL_WAIT);
    for (uint32_t i = 0; i < 12; i++) {
        struct pr_outbuf o = pr_outbuf(frame, sizeof frame);

        pass(&b, b.now + 100);
        pr_ping_encode(&o, &ping);
        link_says(&b, &o);
    }
    assert_int_equal(claim(&b, EPOCH + 1, 3, &holder), CL_NAME_USED);
    assert_int_equal(holder.ip[3], 2);
    assert_int_equal(holder.port, 7946);
    cl_free(b.cl);
}

/* Nobody dials a node without others; if one does, there is no room for it. */
static void test_without_others(void **state)
{
    struct cl_config cfg = {.name = pr_str("me"), .id = ME, .epoch = EPOCH, .edges = 1};
    struct pr_addr holder;
    struct bed b;

    (void)state;
    open_bed(&b);
    cl_free(b.cl);
    cfg.lim = &b.lim;
    cfg.mem = &b.mem;
    b.cl = cl_new(&cfg, cl_rand_seed(1), b.now);
    assert_non_null(b.cl);
    assert_int_equal(claim(&b, EPOCH, 3, &holder), CL_NO_ROOM);
    cl_free(b.cl);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_3_at_once),
        cmocka_unit_test(test_silent_holder),
        cmocka_unit_test(property_3_holder_who_speaks),
        cmocka_unit_test(test_without_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
