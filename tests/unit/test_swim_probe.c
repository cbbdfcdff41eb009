/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: the times of a probe, helping others, what a stall does. What follows a probe that failed:
 * test_swim_suspicion.c.
 */
#include "tests/unit/swim_bed.h"

/* Runs until somebody is probed; says who, and gives the PING. */
static uint64_t first_probe(struct bed *b, struct pr_gossip_msg *m)
{
    for (unsigned i = 0; i < 100; i++) {
        const struct seen *e = packet(b, 0, PR_G_PING, 0, m);

        if (e != NULL) {
            return m->fact.id;
        }
        bed_run(b, 10);
    }
    fail_msg("nobody is probed");
    return 0;
}

/* Until this one is probed; everybody else answers. */
static void probe_of(struct bed *b, uint64_t id, struct pr_gossip_msg *m)
{
    for (unsigned i = 0; i < 1000; i++) {
        struct pr_gossip_msg answer;

        b->nseen = 0;
        bed_run(b, 10);
        for (uint32_t k = 0; packet(b, 0, PR_G_PING, k, m) != NULL; k++) {
            if (m->fact.id == id) {
                return;
            }
            answer = ack(m->seq, 0);
            bed_packet(b, m->fact.id, &answer);
        }
    }
    fail_msg("%u is not probed", (unsigned)id);
}

static void unanswered_probe_becomes_suspicion(void **state)
{
    struct pr_gossip_msg m, req;
    const struct seen *e = NULL;
    uint64_t id = 0;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 9);
    id = first_probe(&b, &m);
    assert_int_equal(m.fact.epoch, EPOCH);
    b.nseen = 0;
    bed_run(&b, 180);
    assert_null(packet(&b, 0, PR_G_PING_REQ, 0, &req));
    bed_run(&b, 30);
    for (uint32_t i = 0; i < 3; i++) {
        e = packet(&b, 0, PR_G_PING_REQ, i, &req);
        assert_int_equal(req.fact.id, id);
        assert_true(e != NULL && e->addr.ip[3] != id && e->addr.ip[3] != ME);
    }
    assert_null(packet(&b, 0, PR_G_PING_REQ, 3, &req));
    assert_int_equal(state_of(&b, id), CL_SWIM_ALIVE);
    bed_run(&b, 300);
    assert_int_equal(state_of(&b, id), CL_SWIM_SUSPECT);
    e = must_see(&b, CL_SWIM_A_MEMBER, id);
    assert_int_equal(e->who, ME);
    assert_string_equal(e->reason, "no answer by datagram or helpers, and no link");
    bed_end(&b);
}

static void answers_by_any_way_count(void **state)
{
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    for (unsigned way = 0; way < 3; way++) {
        struct pr_gossip_msg m, answer;
        uint8_t bytes[64];
        struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
        struct pr_frame f;
        struct pr_ping p;
        const struct seen *e = NULL;

        bed_start(&b, 16);
        bed_members(&b, 9);
        bed_link(&b, 1, EPOCH);
        probe_of(&b, 1, &m);
        bed_run(&b, way == 0 ? 150 : 250);
        answer = ack(m.seq, 0);
        e = frame(&b, 1, PR_T_PING, 0);
        assert_int_equal(e != NULL, way != 0);
        if (way < 2) {
            bed_packet(&b, way == 0 ? 1 : 5, &answer);
        } else {
            assert_true(pr_frame_next(pr_bytes(e->bytes, e->n), &f) > 0);
            assert_int_equal(pr_ping_decode(&f, &p), PR_OK);
            pr_pong_encode(&o, &p);
            assert_int_equal(bed_frame(&b, 1, &o), CL_OK);
        }
        bed_run(&b, 300);
        assert_int_equal(state_of(&b, 1), CL_SWIM_ALIVE);
        cl_swim_stats(b.s, &st);
        assert_int_equal(way == 0   ? st.acks_direct > 0
                         : way == 1 ? st.acks_helped
                                    : st.acks_link,
                         1);
        assert_true(way != 0 || cl_swim_find(b.s, 1)->rtt_ms < 200);
        bed_end(&b);
    }
}

/* A token that is not ours is the shell's. */
static void foreign_pongs_are_ignored(void **state)
{
    struct pr_gossip_msg m;
    uint8_t bytes[64];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 1);
    bed_link(&b, 1, EPOCH);
    (void)first_probe(&b, &m);
    pr_pong_encode(&o, &(struct pr_ping){.token = m.seq});
    assert_int_equal(bed_frame(&b, 1, &o), CL_OK);
    bed_run(&b, 600);
    assert_int_equal(state_of(&b, 1), CL_SWIM_SUSPECT);
    bed_end(&b);
}

/* Helpers that do not even say NACK: perhaps it is we who hear nothing. */
static void silent_helpers_cost_health(void **state)
{
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    for (uint32_t nacks = 0; nacks <= 3; nacks++) {
        struct pr_gossip_msg m, req;
        struct pr_gossip_msg nack = {.type = PR_G_NACK};

        bed_start(&b, 16);
        bed_members(&b, 9);
        (void)first_probe(&b, &m);
        bed_run(&b, 220);
        assert_non_null(packet(&b, 0, PR_G_PING_REQ, 0, &req));
        nack.seq = req.seq;
        for (uint32_t i = 0; i < nacks; i++) {
            bed_packet(&b, 9, &nack);
        }
        nack.seq = 0;
        bed_packet(&b, 9, &nack);
        bed_run(&b, 290);
        cl_swim_stats(b.s, &st);
        assert_int_equal(st.probes_failed, 1);
        assert_int_equal(st.health, 3 - nacks);
        bed_end(&b);
    }
}

static void answers_restore_health(void **state)
{
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 9);
    bed_run(&b, 20000);
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.health, CL_SWIM_HEALTH_MAX);
    assert_int_equal(cl_swim_find(b.s, ME)->health, CL_SWIM_HEALTH_MAX);
    for (uint64_t id = 1; id <= 9; id++) {
        bed_merge(&b, fact(id, EPOCH, 1, PR_F_ALIVE), false);
    }
    b.answers = true;
    b.nseen = 0;
    bed_run(&b, 20000);
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.health, 0);
    bed_end(&b);
}

/* Everybody is probed in each round, in an order by chance. */
static void rounds_leave_nobody_out(void **state)
{
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    b.answers = true;
    bed_members(&b, 10);
    bed_run(&b, 5000);
    for (unsigned round = 0; round < 5; round++) {
        uint32_t times[11] = {0};

        b.nseen = 0;
        bed_run(&b, 5000);
        for (uint32_t i = 0; packet(&b, 0, PR_G_PING, i, &m) != NULL; i++) {
            times[m.fact.id]++;
        }
        for (uint64_t id = 1; id <= 10; id++) {
            assert_true(times[id] >= 1 || times[id] <= 2);
        }
    }
    bed_end(&b);
}

/* ---- for others ---- */

static void probes_for_others(void **state)
{
    struct pr_gossip_msg req = {.type = PR_G_PING_REQ, .seq = 1234};
    struct pr_gossip_msg m, answer;
    struct bed b;

    (void)state;
    req.fact = (struct pr_fact){.id = 2, .epoch = EPOCH + 3, .addr = addr(2)};
    bed_start(&b, 16);
    b.answers = false;
    bed_members(&b, 1);
    bed_packet(&b, 1, &req);
    bed_take(&b);
    assert_non_null(packet(&b, 2, PR_G_PING, 0, &m));
    assert_int_equal(m.fact.epoch, EPOCH + 3);
    answer = ack(m.seq, 99);
    b.nseen = 0;
    bed_run(&b, 150);
    assert_null(packet(&b, 1, PR_G_NACK, 0, &m));
    bed_run(&b, 20);
    assert_non_null(packet(&b, 1, PR_G_NACK, 0, &m));
    assert_int_equal(m.seq, 1234);
    bed_packet(&b, 2, &answer); /* late, but true */
    bed_take(&b);
    assert_non_null(packet(&b, 1, PR_G_ACK, 0, &m));
    assert_int_equal(m.seq, 1234);
    assert_int_equal(m.view, 99);
    b.nseen = 0;
    bed_packet(&b, 2, &answer);
    bed_take(&b);
    assert_null(packet(&b, 1, PR_G_ACK, 0, &m));
    bed_end(&b);
}

static void help_has_a_bound(void **state)
{
    struct pr_gossip_msg req = {.type = PR_G_PING_REQ};
    struct pr_gossip_msg m;
    uint32_t pings = 0;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    req.fact = (struct pr_fact){.id = 2, .epoch = EPOCH, .addr = addr(2)};
    for (req.seq = 1; req.seq <= 100; req.seq++) {
        bed_packet(&b, 1, &req);
    }
    bed_take(&b);
    while (packet(&b, 2, PR_G_PING, pings, &m) != NULL) {
        pings++;
    }
    assert_int_equal(pings, 64);
    bed_run(&b, 1100);
    b.nseen = 0;
    bed_packet(&b, 1, &req);
    bed_take(&b);
    assert_non_null(packet(&b, 2, PR_G_PING, 0, &m));
    bed_end(&b);
}

static void pings_to_other_lives_are_not_answered(void **state)
{
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    m = ping(1, ME, MY_EPOCH - 1);
    bed_packet(&b, 1, &m);
    m = ping(1, ME + 1, MY_EPOCH);
    bed_packet(&b, 1, &m);
    bed_take(&b);
    assert_null(packet(&b, 0, PR_G_ACK, 0, &m));
    cl_swim_set_view(b.s, 555);
    m = ping(1, ME, MY_EPOCH);
    bed_packet(&b, 1, &m);
    bed_take(&b);
    assert_non_null(packet(&b, 1, PR_G_ACK, 0, &m));
    assert_int_equal(m.view, 555);
    bed_end(&b);
}

static void queue_of_packets_has_a_bound(void **state)
{
    struct pr_gossip_msg m = ping(1, ME, MY_EPOCH);
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    for (uint32_t i = 0; i < CL_SWIM_QUEUE + 10; i++) {
        bed_packet(&b, 1, &m);
    }
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.dropped, 10);
    assert_int_equal(st.queued, CL_SWIM_QUEUE);
    bed_take(&b);
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.packets_out, CL_SWIM_QUEUE);
    bed_end(&b);
}

/* ---- damaged ---- */

static void bad_packets_change_nothing(void **state)
{
    uint8_t bytes[PR_GOSSIP_MAX];
    struct pr_outbuf o;
    struct pr_gossip_out w;
    struct pr_gossip_msg m = accuse(PR_G_DEAD, 1, EPOCH, 0, 2);
    struct pr_addr a = addr(2);
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 2);
    for (unsigned kind = 0; kind < 3; kind++) {
        o = pr_outbuf(bytes, sizeof bytes);
        w = pr_gossip_begin(&o, kind == 0 ? 9 : 1, kind == 1 ? CLUSTER + 1 : CLUSTER);
        pr_gossip_put(&w, &m);
        pr_gossip_end(&w);
        assert_int_equal(
            cl_swim_packet(b.s, b.now, &a, pr_bytes(bytes, o.len - (kind == 2 ? 1 : 0))),
            CL_EPROTO);
    }
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.other_proto, 1);
    assert_int_equal(st.other_cluster, 1);
    assert_int_equal(st.damaged, 1);
    assert_int_equal(state_of(&b, 1), CL_SWIM_ALIVE);
    bed_end(&b);
}

/* ---- a stall ---- */

static void property_20_a_stall_makes_unsure(void **state)
{
    struct pr_gossip_msg m, old;
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 3);
    cl_swim_set_view(b.s, 9);
    (void)first_probe(&b, &old);
    assert_false(cl_swim_unsure(b.s));
    b.now += 20000;
    cl_swim_tick(b.s, b.now);
    assert_true(cl_swim_unsure(b.s));
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.stalls, 1);
    assert_int_equal(st.probes_failed, 0);
    m = ack(old.seq, 9); /* of before */
    bed_packet(&b, old.fact.id, &m);
    assert_true(cl_swim_unsure(b.s));
    b.nseen = 0;
    bed_take(&b);
    (void)first_probe(&b, &m);
    m = ack(m.seq, 9);
    bed_packet(&b, 1, &m);
    assert_false(cl_swim_unsure(b.s));
    bed_end(&b);
}

/* Another view in the answer is not enough, until some time has passed. */
static void unequal_views_end_it_later(void **state)
{
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 1);
    bed_run(&b, 500);
    b.now += 20000;
    cl_swim_tick(b.s, b.now);
    cl_swim_set_view(b.s, 5);
    probe_of(&b, 1, &m);
    m = ack(m.seq, 9);
    bed_packet(&b, 1, &m);
    assert_true(cl_swim_unsure(b.s));
    b.answers = true; /* with view 0 */
    bed_run(&b, 2600);
    assert_false(cl_swim_unsure(b.s));
    bed_end(&b);
}

static void alone_nothing_is_unsure(void **state)
{
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    b.now += 20000;
    cl_swim_tick(b.s, b.now);
    assert_false(cl_swim_unsure(b.s));
    bed_members(&b, 1);
    assert_false(cl_swim_unsure(b.s));
    b.now += 20000;
    cl_swim_tick(b.s, b.now);
    assert_true(cl_swim_unsure(b.s));
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_LEFT), true);
    assert_false(cl_swim_unsure(b.s));
    bed_end(&b);
}

/* While we do not look, nobody's time runs. */
static void late_ticks_accuse_nobody(void **state)
{
    struct pr_gossip_msg a = accuse(PR_G_SUSPECT, 1, EPOCH, 0, 2);
    cl_ms dead_at = 0;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 2);
    bed_packet(&b, 2, &a);
    bed_run(&b, 1000);
    dead_at = cl_swim_find(b.s, 1)->dead_at;
    b.now = cl_swim_deadline(b.s) + 700;
    cl_swim_tick(b.s, b.now);
    bed_take(&b);
    assert_int_equal(cl_swim_find(b.s, 1)->dead_at, dead_at + 700);
    b.now += 15000;
    cl_swim_tick(b.s, b.now);
    bed_take(&b);
    assert_int_equal(state_of(&b, 1), CL_SWIM_SUSPECT);
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unanswered_probe_becomes_suspicion),
        cmocka_unit_test(answers_by_any_way_count),
        cmocka_unit_test(foreign_pongs_are_ignored),
        cmocka_unit_test(silent_helpers_cost_health),
        cmocka_unit_test(answers_restore_health),
        cmocka_unit_test(rounds_leave_nobody_out),
        cmocka_unit_test(probes_for_others),
        cmocka_unit_test(help_has_a_bound),
        cmocka_unit_test(pings_to_other_lives_are_not_answered),
        cmocka_unit_test(queue_of_packets_has_a_bound),
        cmocka_unit_test(bad_packets_change_nothing),
        cmocka_unit_test(property_20_a_stall_makes_unsure),
        cmocka_unit_test(unequal_views_end_it_later),
        cmocka_unit_test(alone_nothing_is_unsure),
        cmocka_unit_test(late_ticks_accuse_nobody),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
