/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what links tell and carry: push/pull, dialling, their end, leaving.
 */
#include "tests/unit/swim_bed.h"

static uint8_t bytes[65536], list[65536];

static int give_hash(struct bed *b, uint64_t id, uint64_t hash, bool want)
{
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_sync_hash_encode(&o, &(struct pr_sync_hash){.hash = hash, .want_reply = want});
    return bed_frame(b, id, &o);
}

static int give_sync(struct bed *b, uint64_t id, const struct pr_fact *f, uint32_t n, bool want)
{
    struct pr_outbuf facts = pr_outbuf(list, sizeof list);
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_sync s = {.want_reply = want, .nfacts = n};

    for (uint32_t i = 0; i < n; i++) {
        pr_fact_put(&facts, &f[i]);
    }
    s.facts = pr_bytes(list, facts.len);
    pr_sync_encode(&o, &s);
    return bed_frame(b, id, &o);
}

static struct pr_frame frame_in(const struct seen *e)
{
    struct pr_frame f;

    assert_non_null(e);
    assert_true(pr_frame_next(pr_bytes(e->bytes, e->n), &f) == (long)e->n);
    return f;
}

static struct pr_sync_hash hash_in(const struct seen *e)
{
    struct pr_frame f = frame_in(e);
    struct pr_sync_hash h;

    assert_int_equal(pr_sync_hash_decode(&f, &h), PR_OK);
    return h;
}

/* Facts of a SYNC; says how many. */
static uint32_t facts_in(const struct seen *e, struct pr_fact *out, bool *want)
{
    struct pr_frame f = frame_in(e);
    struct pr_sync s;

    assert_int_equal(pr_sync_decode(&f, &s), PR_OK);
    for (uint32_t i = 0; i < s.nfacts; i++) {
        assert_int_equal(pr_fact_next(&s.facts, &out[i]), 1);
    }
    *want = s.want_reply;
    return s.nfacts;
}

static void push_and_pull(void **state)
{
    struct pr_fact f[8];
    struct pr_sync_hash h;
    bool want = false;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_link(&b, 200, EPOCH); /* ours is the smaller id: we begin */
    h = hash_in(frame(&b, 200, PR_T_SYNC_HASH, 0));
    assert_true(h.want_reply);
    assert_null(cl_swim_find(b.s, 200));
    b.nseen = 0;
    f[0] = fact(200, EPOCH, 3, PR_F_ALIVE);
    f[1] = fact(1, EPOCH, 0, PR_F_SUSPECT);
    assert_int_equal(give_sync(&b, 200, f, 2, true), CL_OK);
    assert_int_equal(state_of(&b, 200), CL_SWIM_ALIVE);
    assert_int_equal(state_of(&b, 1), CL_SWIM_SUSPECT);
    assert_int_equal(facts_in(frame(&b, 200, PR_T_SYNC, 0), f, &want), 3);
    assert_false(want);
    assert_int_equal(f[0].id, 1);
    assert_int_equal(f[1].id, ME);
    assert_int_equal(f[2].id, 200);
    bed_end(&b);
}

static void equal_hashes_end_it(void **state)
{
    struct pr_fact f[8];
    struct pr_sync_hash h;
    bool want = false;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    bed_link(&b, 1, EPOCH); /* the other has the smaller id and begins */
    assert_null(frame(&b, 1, PR_T_SYNC_HASH, 0));
    assert_int_equal(give_hash(&b, 1, 12345, true), CL_OK);
    assert_int_equal(facts_in(frame(&b, 1, PR_T_SYNC, 0), f, &want), 2);
    assert_true(want);
    b.nseen = 0;
    bed_run(&b, 35000); /* push/pull by the clock */
    h = hash_in(frame(&b, 1, PR_T_SYNC_HASH, 0));
    bed_merge(&b, fact(1, EPOCH, 1, PR_F_ALIVE), false);
    bed_merge(&b, fact(1, EPOCH, 1, PR_F_ALIVE), false);
    b.nseen = 0;
    assert_int_equal(give_hash(&b, 1, h.hash, true), CL_OK);
    assert_non_null(frame(&b, 1, PR_T_SYNC, 0)); /* it was of another state */
    bed_end(&b);
}

static void the_same_members_have_the_same_hash(void **state)
{
    struct pr_sync_hash h;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_merge(&b, fact(300, EPOCH, 0, PR_F_ALIVE), false);
    bed_link(&b, 300, EPOCH);
    h = hash_in(frame(&b, 300, PR_T_SYNC_HASH, 0));
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_ALIVE), false);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_DEAD), false); /* the dead do not count */
    b.nseen = 0;
    assert_int_equal(give_hash(&b, 300, h.hash, true), CL_OK);
    assert_int_equal(hash_in(frame(&b, 300, PR_T_SYNC_HASH, 0)).hash, h.hash);
    assert_false(hash_in(frame(&b, 300, PR_T_SYNC_HASH, 0)).want_reply);
    b.nseen = 0;
    assert_int_equal(give_hash(&b, 300, 1, false), CL_OK);
    assert_int_equal(b.nseen, 0);
    bed_end(&b);
}

/* Accused over a link, it says at once that it is well. */
static void accusation_by_link_is_answered(void **state)
{
    struct pr_fact f = fact(ME, MY_EPOCH, 0, PR_F_SUSPECT);
    bool want = false;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    bed_link(&b, 1, EPOCH);
    for (unsigned i = 0; i < 2; i++) { /* also if it was refuted before */
        b.nseen = 0;
        assert_int_equal(give_sync(&b, 1, &f, 1, false), CL_OK);
        f.inc = 9;
        assert_int_equal(facts_in(frame(&b, 1, PR_T_SYNC, 0), &f, &want), 1);
        assert_int_equal(f.inc, 1);
        assert_int_equal(f.state, PR_F_ALIVE);
        f = fact(ME, MY_EPOCH, 0, PR_F_DEAD);
    }
    bed_end(&b);
}

/* What is known of it is older than what it is accused in: that must not pass as the newer. */
static void stale_meta_is_not_passed_on_as_new(void **state)
{
    struct pr_gossip_msg m = accuse(PR_G_SUSPECT, 1, EPOCH, 4, 3);
    struct pr_fact f[8];
    bool want = false;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 2);
    bed_link(&b, 2, EPOCH);
    bed_packet(&b, 3, &m);
    b.nseen = 0;
    assert_int_equal(give_hash(&b, 2, 1, true), CL_OK);
    assert_int_equal(facts_in(frame(&b, 2, PR_T_SYNC, 0), f, &want), 3);
    assert_int_equal(f[0].id, 1);
    assert_int_equal(f[0].inc, 0);
    assert_int_equal(f[0].state, PR_F_ALIVE);
    m = accuse(PR_G_DEAD, 1, EPOCH, 5, 3);
    bed_packet(&b, 3, &m);
    bed_take(&b);
    b.nseen = 0;
    assert_int_equal(give_hash(&b, 2, 1, true), CL_OK);
    assert_int_equal(facts_in(frame(&b, 2, PR_T_SYNC, 0), f, &want), 2);
    assert_int_equal(f[0].id, 2);
    bed_end(&b);
}

static void bad_frames_change_nothing(void **state)
{
    struct pr_fact f[2] = {fact(200, EPOCH, 0, PR_F_ALIVE), fact(201, EPOCH, 0, PR_F_ALIVE)};
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    pr_ping_encode(&o, &(struct pr_ping){.token = 1});
    assert_int_equal(bed_frame(&b, 1, &o), CL_ENOENT); /* no link */
    assert_int_equal(bed_frame(&b, 55, &o), CL_ENOENT);
    bed_link(&b, 1, EPOCH);
    f[1].meta.weight = 2000;
    assert_int_equal(give_sync(&b, 1, f, 2, true), CL_EPROTO);
    assert_null(cl_swim_find(b.s, 200));
    o = pr_outbuf(bytes, sizeof bytes);
    pr_bye_encode(&o, &(struct pr_bye){.code = PR_BYE_LEAVE});
    assert_int_equal(bed_frame(&b, 1, &o), CL_EPROTO); /* not ours */
    o = pr_outbuf(bytes, sizeof bytes);
    pr_ping_encode(&o, &(struct pr_ping){.token = 300});
    bytes[9] = 0xc0;
    assert_int_equal(bed_frame(&b, 1, &o), CL_EPROTO);
    assert_int_equal(cl_swim_link_up(b.s, b.now, 0, 1), CL_ERANGE);
    assert_int_equal(cl_swim_link_up(b.s, b.now, ME, 1), CL_ERANGE);
    bed_end(&b);
}

static void pings_are_answered(void **state)
{
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;
    struct pr_ping p;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_link(&b, 1, EPOCH); /* also of somebody who is not yet known */
    pr_ping_encode(&o, &(struct pr_ping){.token = UINT64_MAX});
    assert_int_equal(bed_frame(&b, 1, &o), CL_OK);
    f = frame_in(frame(&b, 1, PR_T_PONG, 0));
    assert_int_equal(pr_pong_decode(&f, &p), PR_OK);
    assert_int_equal(p.token, UINT64_MAX);
    cl_swim_link_down(b.s, b.now, 1, CL_SWIM_EOF);
    bed_take(&b);
    assert_null(seen(&b, CL_SWIM_A_MEMBER, 1, 0));
    bed_end(&b);
}

static void unequal_views_start_push_pull(void **state)
{
    struct pr_gossip_msg m;
    uint32_t asked = 0;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    cl_swim_set_view(b.s, 5);
    bed_members(&b, 1);
    bed_link(&b, 1, EPOCH);
    for (unsigned i = 0; i < 400; i++) {
        b.nseen = 0;
        bed_run(&b, 10);
        if (packet(&b, 1, PR_G_PING, 0, &m) != NULL) {
            m = ack(m.seq, 6);
            bed_packet(&b, 1, &m);
            bed_take(&b);
        }
        asked += frame(&b, 1, PR_T_SYNC_HASH, 0) != NULL ? 1 : 0;
    }
    assert_in_range(asked, 3, 5); /* 4 s, 8 answers, at most one per second */
    bed_end(&b);
}

/* ---- dialling and the end of links ---- */

static void members_are_dialled(void **state)
{
    const struct seen *e = NULL;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    b.answers = true;
    bed_members(&b, 2);
    bed_link(&b, 1, EPOCH);
    bed_run(&b, 10);
    e = must_see(&b, CL_SWIM_A_DIAL, 0);
    assert_int_equal(e->id, 2);
    assert_true(e->addr.ip[3] == 2);
    b.nseen = 0;
    bed_run(&b, 20000);
    assert_non_null(seen(&b, CL_SWIM_A_DIAL, 2, 3)); /* each 5 s */
    assert_null(seen(&b, CL_SWIM_A_DIAL, 2, 4));
    assert_null(seen(&b, CL_SWIM_A_DIAL, 1, 0));
    b.nseen = 0;
    cl_swim_link_down(b.s, b.now, 1, CL_SWIM_LOCAL);
    bed_run(&b, 10);
    assert_non_null(seen(&b, CL_SWIM_A_DIAL, 1, 0));
    bed_end(&b);
}

static void the_dead_are_dialled_in_turn(void **state)
{
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    b.answers = true;
    bed_members(&b, 3);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_DEAD), false);
    bed_merge(&b, fact(2, EPOCH, 0, PR_F_LEFT), false);
    bed_link(&b, 3, EPOCH);
    b.nseen = 0;
    bed_run(&b, 25100);
    assert_non_null(seen(&b, CL_SWIM_A_DIAL, 1, 4));
    assert_null(seen(&b, CL_SWIM_A_DIAL, 1, 5));
    assert_null(seen(&b, CL_SWIM_A_DIAL, 2, 0));
    bed_end(&b);
}

static void a_new_address_is_dialled(void **state)
{
    struct pr_fact f = fact(1, EPOCH, 1, PR_F_ALIVE);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    bed_run(&b, 10);
    b.nseen = 0;
    f.addr = addr(77);
    bed_merge(&b, f, false);
    bed_run(&b, 10);
    assert_non_null(seen(&b, CL_SWIM_A_DIAL, 1, 0));
    assert_int_equal(must_see(&b, CL_SWIM_A_DIAL, 1)->addr.ip[3], 77);
    bed_end(&b);
}

static void the_end_of_a_link_starts_a_probe(void **state)
{
    static const enum cl_swim_down how[] = {CL_SWIM_EOF, CL_SWIM_TIMEOUT, CL_SWIM_PROTO,
                                            CL_SWIM_LOCAL};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct pr_gossip_msg m;
        struct bed b;

        bed_start(&b, 8);
        bed_members(&b, 4);
        bed_link(&b, 3, EPOCH);
        b.nseen = 0;
        cl_swim_link_down(b.s, b.now, 3, how[i]);
        bed_take(&b);
        assert_int_equal(packet(&b, 3, PR_G_PING, 0, &m) != NULL, i < 2);
        assert_int_equal(state_of(&b, 3), CL_SWIM_ALIVE);
        bed_end(&b);
    }
}

/* A dial that was refused says something, but does not end a link that is up. */
static void refused_dials(void **state)
{
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 2);
    cl_swim_link_down(b.s, b.now, 1, CL_SWIM_REFUSED);
    bed_link(&b, 2, EPOCH);
    cl_swim_link_down(b.s, b.now, 2, CL_SWIM_REFUSED);
    cl_swim_link_down(b.s, b.now, 9, CL_SWIM_REFUSED); /* nobody */
    bed_take(&b);
    assert_non_null(packet(&b, 1, PR_G_PING, 0, &m));
    assert_null(packet(&b, 2, PR_G_PING, 0, &m));
    assert_true(cl_swim_find(b.s, 2)->linked);
    bed_end(&b);
}

/* In a large cluster some look, not all. */
static void large_clusters_probe_by_chance(void **state)
{
    uint32_t probed = 0;

    (void)state;
    for (uint32_t trial = 0; trial < 60; trial++) {
        struct pr_gossip_msg m;
        struct bed b;

        bed_start(&b, 128);
        for (uint64_t id = 201; id < 300; id++) {
            bed_merge(&b, fact(id, EPOCH, 0, PR_F_ALIVE), false);
        }
        for (uint32_t k = 0; k <= trial; k++) {
            bed_link(&b, 201 + k, EPOCH);
            b.nseen = 0;
            cl_swim_link_down(b.s, b.now, 201 + k, CL_SWIM_EOF);
            bed_take(&b);
        }
        probed += packet(&b, 201 + trial, PR_G_PING, 0, &m) != NULL ? 1 : 0;
        bed_end(&b);
    }
    assert_in_range(probed, 1, 20); /* about one in ten */
}

/* ---- leaving ---- */

static void leaving(void **state)
{
    struct pr_fact f;
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    b.answers = true;
    bed_members(&b, 4);
    for (uint64_t id = 1; id <= 4; id++) {
        bed_link(&b, id, EPOCH);
    }
    assert_false(cl_swim_gone(b.s));
    cl_swim_leave(b.s, b.now);
    cl_swim_leave(b.s, b.now);
    bed_run(&b, 100);
    assert_int_equal(state_of(&b, ME), CL_SWIM_LEFT);
    assert_int_equal(cl_swim_live(b.s), 4);
    assert_non_null(packet(&b, 0, PR_G_DEAD, 0, &m));
    assert_int_equal(m.from, ME);
    for (uint64_t id = 1; id <= 4; id++) {
        const struct seen *e = frame(&b, id, PR_T_PING, 0);
        struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
        struct pr_frame in;
        struct pr_ping p;
        bool want = false;

        if (e == NULL) {
            assert_int_equal(id, 4); /* three are enough */
            continue;
        }
        assert_false(cl_swim_gone(b.s));
        assert_int_equal(facts_in(frame(&b, id, PR_T_SYNC, 0), &f, &want), 1);
        assert_int_equal(f.state, PR_F_LEFT);
        in = frame_in(e);
        assert_int_equal(pr_ping_decode(&in, &p), PR_OK);
        pr_pong_encode(&o, &p);
        assert_int_equal(bed_frame(&b, id, &o), CL_OK);
    }
    assert_true(cl_swim_gone(b.s));
    bed_merge(&b, fact(9, EPOCH, 0, PR_F_ALIVE), true);
    assert_null(cl_swim_find(b.s, 9));
    m = accuse(PR_G_DEAD, ME, MY_EPOCH, 9, 2);
    bed_packet(&b, 2, &m);
    assert_int_equal(state_of(&b, ME), CL_SWIM_LEFT);
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(push_and_pull),
        cmocka_unit_test(equal_hashes_end_it),
        cmocka_unit_test(the_same_members_have_the_same_hash),
        cmocka_unit_test(accusation_by_link_is_answered),
        cmocka_unit_test(stale_meta_is_not_passed_on_as_new),
        cmocka_unit_test(bad_frames_change_nothing),
        cmocka_unit_test(pings_are_answered),
        cmocka_unit_test(unequal_views_start_push_pull),
        cmocka_unit_test(members_are_dialled),
        cmocka_unit_test(the_dead_are_dialled_in_turn),
        cmocka_unit_test(a_new_address_is_dialled),
        cmocka_unit_test(the_end_of_a_link_starts_a_probe),
        cmocka_unit_test(refused_dials),
        cmocka_unit_test(large_clusters_probe_by_chance),
        cmocka_unit_test(leaving),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
