/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: what is believed of members: the maxima, restarts, refutation, what is spread and how
 * often, limits, what the owner is told. Properties 1, 2 and 10 of the cluster.
 */
#include "tests/unit/swim_bed.h"

/* ---- the maxima ---- */

/* What a life says of itself is one thing per (epoch, inc). */
static struct pr_fact said(uint64_t epoch, uint32_t inc, uint8_t state)
{
    struct pr_fact f = fact(1, epoch, inc, state);

    f.meta.weight = (uint32_t)(epoch * 7 + inc) % 1000;
    return f;
}

static void same_member(struct bed *a, struct bed *b)
{
    const struct cl_swim_member *x = cl_swim_find(a->s, 1);
    const struct cl_swim_member *y = cl_swim_find(b->s, 1);

    assert_non_null(x);
    assert_non_null(y);
    assert_int_equal(x->epoch, y->epoch);
    assert_int_equal(x->inc, y->inc);
    assert_int_equal(x->state, y->state);
    assert_int_equal(x->meta.weight, y->meta.weight);
}

static void apply(struct bed *b, const struct pr_fact *f, bool whole)
{
    struct pr_gossip_msg m = {0};

    if (whole || f->state == PR_F_ALIVE) {
        bed_merge(b, *f, false);
        return;
    }
    m = accuse(f->state == PR_F_SUSPECT ? PR_G_SUSPECT : PR_G_DEAD, 1, f->epoch, f->inc,
               f->state == PR_F_LEFT ? 1 : 2);
    bed_packet(b, 2, &m);
    bed_take(b);
}

static void property_1_facts_merge_in_any_order(void **state)
{
    struct cl_rand r = cl_rand_seed(1);

    (void)state;
    for (unsigned trial = 0; trial < 300; trial++) {
        struct pr_fact f[6];
        bool whole[6];
        struct bed a, b;

        for (unsigned i = 0; i < 6; i++) {
            f[i] = said(EPOCH + cl_rand_below(&r, 3), (uint32_t)cl_rand_below(&r, 3),
                        (uint8_t)(1 + cl_rand_below(&r, 4)));
            whole[i] = cl_rand_below(&r, 2) == 0;
        }
        bed_start(&a, 8);
        bed_start(&b, 8);
        bed_merge(&a, said(EPOCH, 0, PR_F_ALIVE), false);
        bed_merge(&b, said(EPOCH, 0, PR_F_ALIVE), false);
        for (unsigned i = 0; i < 6; i++) {
            apply(&a, &f[i], whole[i]);
        }
        for (unsigned i = 6; i > 0; i--) {
            apply(&b, &f[i - 1], whole[i - 1]);
            apply(&b, &f[i - 1], whole[i - 1]); /* twice is once */
        }
        same_member(&a, &b);
        bed_end(&a);
        bed_end(&b);
    }
}

static void property_1_larger_facts_win(void **state)
{
    static const struct {
        const char *what;
        uint64_t epoch;
        uint32_t inc;
        uint8_t state;
        bool wins; /* over (EPOCH, 5, SUSPECT) */
    } rows[] = {
        {"same", EPOCH, 5, PR_F_SUSPECT, false},
        {"less sure", EPOCH, 5, PR_F_ALIVE, false},
        {"surer", EPOCH, 5, PR_F_DEAD, true},
        {"left", EPOCH, 5, PR_F_LEFT, true},
        {"refuted", EPOCH, 6, PR_F_ALIVE, true},
        {"old inc, dead", EPOCH, 4, PR_F_DEAD, false},
        {"old inc, left", EPOCH, 4, PR_F_LEFT, false},
        {"restart", EPOCH + 1, 0, PR_F_ALIVE, true},
        {"old life", EPOCH - 1, 9, PR_F_LEFT, false},
        {"new life dead", EPOCH + 1, 0, PR_F_DEAD, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct cl_swim_member *m = NULL;
        struct bed b;

        bed_start(&b, 8);
        bed_merge(&b, said(EPOCH, 5, PR_F_SUSPECT), false);
        bed_merge(&b, said(rows[i].epoch, rows[i].inc, rows[i].state), false);
        m = cl_swim_find(b.s, 1);
        if (rows[i].wins != (m->epoch == rows[i].epoch && m->inc == rows[i].inc &&
                             (uint8_t)m->state == rows[i].state) &&
            i > 0) {
            fail_msg("%s", rows[i].what);
        }
        bed_end(&b);
    }
}

/* An accusation overtakes the change that it is about: the change is taken all the same. */
static void accusation_does_not_hide_a_change(void **state)
{
    struct pr_gossip_msg m = accuse(PR_G_SUSPECT, 1, EPOCH, 3, 2);
    struct pr_fact f = fact(1, EPOCH, 3, PR_F_ALIVE);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 2);
    bed_packet(&b, 2, &m);
    f.meta.weight = 7;
    bed_merge(&b, f, false);
    assert_int_equal(state_of(&b, 1), CL_SWIM_SUSPECT);
    assert_int_equal(cl_swim_find(b.s, 1)->meta.weight, 7);
    bed_end(&b);
}

static void unknown_dead_stay_unknown(void **state)
{
    struct pr_gossip_msg m = accuse(PR_G_DEAD, 9, EPOCH, 0, 2);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_DEAD), true);
    bed_merge(&b, fact(2, EPOCH, 0, PR_F_LEFT), true);
    bed_packet(&b, 3, &m);
    m = accuse(PR_G_SUSPECT, 9, EPOCH, 0, 2);
    bed_packet(&b, 3, &m);
    bed_take(&b);
    for (uint64_t id = 1; id < 10; id++) {
        assert_null(cl_swim_find(b.s, id));
    }
    assert_null(seen(&b, CL_SWIM_A_MEMBER, 0, 0));
    bed_end(&b);
}

static void property_9_lists_make_suspects_not_dead(void **state)
{
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 3);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_DEAD), true);
    bed_merge(&b, fact(2, EPOCH, 0, PR_F_LEFT), true);
    bed_merge(&b, fact(3, EPOCH + 1, 0, PR_F_DEAD), true);
    assert_int_equal(state_of(&b, 1), CL_SWIM_SUSPECT);
    assert_int_equal(state_of(&b, 2), CL_SWIM_LEFT);
    assert_int_equal(state_of(&b, 3), CL_SWIM_SUSPECT);
    /* asked at once, and told of it first */
    assert_non_null(packet(&b, 1, PR_G_PING, 0, &m));
    assert_non_null(packet(&b, 1, PR_G_SUSPECT, 0, &m));
    assert_int_equal(m.from, ME);
    bed_end(&b);
}

/* ---- lives ---- */

static void property_2_restart_replaces_the_old_life(void **state)
{
    const struct seen *e = NULL;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    bed_link(&b, 1, EPOCH);
    b.nseen = 0;
    bed_merge(&b, fact(1, EPOCH + 1, 0, PR_F_ALIVE), false);
    e = must_see(&b, CL_SWIM_A_MEMBER, 1);
    assert_int_equal(e->old_epoch, EPOCH);
    assert_int_equal(e->epoch, EPOCH + 1);
    assert_string_equal(e->reason, "restarted");
    assert_non_null(seen(&b, CL_SWIM_A_CLOSE, 1, 0)); /* a link of the old life */
    b.nseen = 0;
    bed_merge(&b, fact(1, EPOCH, 9, PR_F_ALIVE), false);
    assert_int_equal(cl_swim_find(b.s, 1)->epoch, EPOCH + 1);
    assert_null(seen(&b, CL_SWIM_A_MEMBER, 1, 0));
    bed_end(&b);
}

static void link_of_the_new_life_stays(void **state)
{
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    bed_link(&b, 1, EPOCH + 1);
    bed_merge(&b, fact(1, EPOCH + 1, 0, PR_F_ALIVE), true);
    assert_null(seen(&b, CL_SWIM_A_CLOSE, 1, 0));
    bed_end(&b);
}

static void several_changes_are_told_as_one(void **state)
{
    struct pr_fact f[] = {fact(1, EPOCH, 0, PR_F_ALIVE), fact(1, EPOCH, 0, PR_F_SUSPECT),
                          fact(1, EPOCH, 1, PR_F_ALIVE), fact(1, EPOCH, 1, PR_F_DEAD)};
    const struct seen *e = NULL;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(cl_swim_merge(b.s, b.now, &f[i], false), CL_OK);
    }
    bed_take(&b);
    e = must_see(&b, CL_SWIM_A_MEMBER, 1);
    assert_int_equal(e->old, CL_SWIM_NONE);
    assert_int_equal(e->now, CL_SWIM_DEAD);
    assert_null(seen(&b, CL_SWIM_A_MEMBER, 1, 1));
    bed_end(&b);
}

static void names_of_one_id_must_not_differ(void **state)
{
    struct pr_fact f = fact(1, EPOCH, 9, PR_F_ALIVE);
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 1);
    f.name = name(55);
    assert_int_equal(cl_swim_merge(b.s, b.now, &f, false), CL_EEXIST);
    f.id = ME;
    f.epoch = MY_EPOCH + 1;
    assert_int_equal(cl_swim_merge(b.s, b.now, &f, false), CL_EEXIST);
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.clashes, 2);
    assert_int_equal(cl_swim_find(b.s, 1)->inc, 0);
    bed_end(&b);
}

/* ---- about ourselves ---- */

static void property_5_accusations_are_refuted(void **state)
{
    struct pr_gossip_msg m = accuse(PR_G_SUSPECT, ME, MY_EPOCH, 0, 2);
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 3);
    bed_packet(&b, 2, &m);
    m = ping(9, ME, MY_EPOCH);
    bed_packet(&b, 2, &m);
    bed_take(&b);
    /* the answer carries it */
    assert_non_null(packet(&b, 2, PR_G_ACK, 0, &m));
    assert_int_equal(m.seq, 9);
    assert_non_null(packet(&b, 2, PR_G_ALIVE, 0, &m));
    assert_int_equal(m.fact.id, ME);
    assert_int_equal(m.fact.inc, 1);
    m = accuse(PR_G_DEAD, ME, MY_EPOCH, 6, 3);
    bed_packet(&b, 3, &m);
    assert_int_equal(cl_swim_find(b.s, ME)->inc, 7);
    m = accuse(PR_G_DEAD, ME, MY_EPOCH - 1, 9, 3);
    bed_packet(&b, 3, &m);
    assert_int_equal(cl_swim_find(b.s, ME)->inc, 7); /* about a former life */
    assert_int_equal(state_of(&b, ME), CL_SWIM_ALIVE);
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.refuted, 2);
    assert_int_equal(st.health, 2);
    bed_end(&b);
}

/* What was refuted before is said again, but is no new refutation. */
static void old_accusations_are_answered(void **state)
{
    struct pr_gossip_msg m = accuse(PR_G_SUSPECT, ME, MY_EPOCH, 3, 2);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    b.answers = true;
    bed_members(&b, 3);
    bed_packet(&b, 2, &m);
    bed_run(&b, 3000);
    b.nseen = 0;
    m = accuse(PR_G_SUSPECT, ME, MY_EPOCH, 2, 2);
    bed_packet(&b, 2, &m);
    bed_run(&b, 200);
    assert_int_equal(cl_swim_find(b.s, ME)->inc, 4);
    assert_non_null(packet(&b, 0, PR_G_ALIVE, 0, &m));
    bed_end(&b);
}

static void last_inc_takes_a_new_epoch(void **state)
{
    struct pr_gossip_msg m = accuse(PR_G_DEAD, ME, MY_EPOCH, UINT32_MAX, 3);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 2);
    bed_packet(&b, 3, &m);
    bed_take(&b);
    assert_int_equal(cl_swim_epoch(b.s), MY_EPOCH + 1);
    assert_non_null(seen(&b, CL_SWIM_A_EPOCH, ME, 0));
    bed_end(&b);
}

static void property_2_own_name_with_a_higher_epoch(void **state)
{
    static const struct {
        const char *what;
        bool ready;
        uint8_t state;
        uint64_t at; /* whose address */
        bool fatal;  /* or a higher epoch is taken */
    } rows[] = {
        {"joining: our clock went back", false, PR_F_ALIVE, 9, false},
        {"a former life that is dead", true, PR_F_DEAD, 9, false},
        {"a former life that left", true, PR_F_LEFT, 9, false},
        {"at our own address", true, PR_F_SUSPECT, ME, false},
        {"another node", true, PR_F_ALIVE, 9, true},
        {"another node, suspected", true, PR_F_SUSPECT, 9, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pr_fact f = fact(ME, MY_EPOCH + 7, 3, rows[i].state);
        struct bed b;

        bed_start(&b, 8);
        if (rows[i].ready) {
            cl_swim_ready(b.s, b.now);
        }
        f.addr = addr(rows[i].at);
        bed_merge(&b, f, true);
        if ((seen(&b, CL_SWIM_A_FATAL, 0, 0) != NULL) != rows[i].fatal ||
            (seen(&b, CL_SWIM_A_EPOCH, 0, 0) != NULL) == rows[i].fatal ||
            cl_swim_epoch(b.s) != MY_EPOCH + (rows[i].fatal ? 0 : 8)) {
            fail_msg("%s", rows[i].what);
        }
        bed_end(&b);
    }
}

static void no_epoch_is_left(void **state)
{
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_merge(&b, fact(ME, UINT64_MAX, 0, PR_F_DEAD), true);
    assert_non_null(seen(&b, CL_SWIM_A_FATAL, 0, 0));
    assert_null(seen(&b, CL_SWIM_A_FATAL, 0, 1));
    bed_end(&b);
}

static void ring_and_names_of_states(void **state)
{
    struct cl_ring_member ring[CL_NODES_MAX];
    struct pr_meta meta;
    struct pr_fact edge_only = fact(2, EPOCH, 0, PR_F_ALIVE);
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    assert_int_equal(cl_swim_members(b.s, ring), 0);
    assert_string_equal(cl_swim_state_name(cl_swim_find(b.s, ME)), "joining");
    cl_swim_ready(b.s, b.now);
    cl_swim_ready(b.s, b.now);
    assert_int_equal(cl_swim_find(b.s, ME)->inc, 1);
    assert_string_equal(cl_swim_state_name(cl_swim_find(b.s, ME)), "alive");
    edge_only.meta.roles = PR_NODE_EDGE;
    bed_merge(&b, edge_only, false);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_SUSPECT), false);
    bed_merge(&b, fact(300, EPOCH, 0, PR_F_ALIVE), false);
    assert_int_equal(cl_swim_members(b.s, ring), 3);
    assert_int_equal(ring[0].id, 1);
    assert_int_equal(ring[1].id, ME);
    assert_int_equal(ring[2].id, 300);
    meta = cl_swim_find(b.s, ME)->meta;
    meta.weight = 500;
    assert_int_equal(cl_swim_set_meta(b.s, b.now, &meta), CL_OK);
    assert_int_equal(cl_swim_set_meta(b.s, b.now, &meta), CL_OK);
    assert_int_equal(cl_swim_find(b.s, ME)->inc, 2);
    assert_int_equal(cl_swim_members(b.s, ring), 3);
    assert_int_equal(ring[1].weight, 500);
    meta.weight = 1001;
    assert_int_equal(cl_swim_set_meta(b.s, b.now, &meta), CL_ERANGE);
    cl_swim_drain(b.s, b.now, true);
    assert_string_equal(cl_swim_state_name(cl_swim_find(b.s, ME)), "leaving");
    assert_int_equal(cl_swim_members(b.s, ring), 2);
    cl_swim_drain(b.s, b.now, false);
    assert_int_equal(cl_swim_members(b.s, ring), 3);
    bed_end(&b);
}

/* Texts may be those that are there already. */
static void texts_are_copied(void **state)
{
    struct pr_meta meta;
    char url[] = "wss://one.example/socket";
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    meta = cl_swim_find(b.s, ME)->meta;
    meta.url = pr_str(url);
    meta.zone = pr_str("z1");
    assert_int_equal(cl_swim_set_meta(b.s, b.now, &meta), CL_OK);
    memset(url, 'x', sizeof url - 1);
    meta = cl_swim_find(b.s, ME)->meta;
    meta.build = meta.url;
    meta.build.n = 9;
    meta.url = pr_str("");
    assert_int_equal(cl_swim_set_meta(b.s, b.now, &meta), CL_OK);
    meta = cl_swim_find(b.s, ME)->meta;
    assert_true(pr_slice_is(meta.build, "wss://one"));
    assert_true(pr_slice_is(meta.zone, "z1"));
    assert_true(pr_slice_is(cl_swim_find(b.s, ME)->name, "node-100"));
    bed_end(&b);
}

/* ---- spreading ---- */

/* Property 10: 255 facts at once leave in packets that fit, each as often as it must. */
static void property_10_every_fact_is_sent_its_number_of_times(void **state)
{
    static uint32_t sent[400];
    struct bed b;

    (void)state;
    memset(sent, 0, sizeof sent);
    bed_start(&b, 256);
    b.answers = true;
    for (uint64_t id = 1; id <= 255; id++) {
        struct pr_fact f = fact(id + (id >= ME ? 1 : 0), EPOCH, 0, PR_F_ALIVE);

        f.meta.url = pr_str("wss://a-rather-long-name.of-some-host.example.net/socket/websocket");
        f.meta.build = pr_str("0.1.0-12-gabcdef");
        bed_merge(&b, f, false);
    }
    for (unsigned round = 0; round < 400; round++) {
        b.nseen = 0;
        bed_run(&b, 50);
        for (uint32_t i = 0; i < b.nseen; i++) {
            struct pr_gossip g;
            struct pr_gossip_msg m;

            if (b.seen[i].type != CL_SWIM_A_UDP) {
                continue;
            }
            assert_int_equal(pr_gossip_open(pr_bytes(b.seen[i].bytes, b.seen[i].n), &g), PR_OK);
            while (pr_gossip_next(&g.msgs, &m) == 1) {
                sent[m.fact.id] += m.type == PR_G_ALIVE ? 1 : 0;
            }
        }
    }
    for (uint64_t id = 1; id <= 256; id++) {
        if (id != ME) {
            assert_int_equal(sent[id], 12); /* 4 * ceil(log10(257)) */
        }
    }
    bed_end(&b);
}

static void newest_facts_go_first(void **state)
{
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 256);
    for (uint64_t id = 1; id <= 90; id++) {
        assert_int_equal(cl_swim_merge(b.s, b.now, &(struct pr_fact){0}, false), CL_ERANGE);
        bed_merge(&b, fact(id, EPOCH, 0, PR_F_ALIVE), false);
    }
    b.nseen = 0;
    m = ping(1, ME, MY_EPOCH);
    bed_packet(&b, 1, &m);
    bed_take(&b);
    assert_non_null(packet(&b, 1, PR_G_ALIVE, 0, &m));
    assert_int_equal(m.fact.id, 90);
    bed_end(&b);
}

static void alone_there_is_nothing_to_say(void **state)
{
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_run(&b, 600000);
    assert_int_equal(b.nseen, 0);
    bed_end(&b);
}

static void without_an_address_nobody_is_told_of_us(void **state)
{
    struct cl_swim_config cfg;
    struct pr_addr a = addr(ME);
    struct pr_addr none = {0};
    struct pr_gossip_msg m;
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    cl_swim_free(b.s);
    cfg = bed_config(&b, 8);
    cfg.addr = none;
    b.s = cl_swim_new(&cfg, cl_rand_seed(1), b.now);
    assert_non_null(b.s);
    b.answers = true;
    bed_members(&b, 2);
    bed_run(&b, 5000);
    for (uint32_t i = 0; packet(&b, 0, PR_G_ALIVE, i, &m) != NULL; i++) {
        assert_int_not_equal(m.fact.id, ME);
    }
    b.nseen = 0;
    cl_swim_set_addr(b.s, b.now, &none);
    cl_swim_set_addr(b.s, b.now, &a);
    bed_run(&b, 200);
    assert_non_null(packet(&b, 0, PR_G_ALIVE, 0, &m));
    assert_int_equal(m.fact.id, ME);
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(property_1_facts_merge_in_any_order),
        cmocka_unit_test(property_1_larger_facts_win),
        cmocka_unit_test(accusation_does_not_hide_a_change),
        cmocka_unit_test(unknown_dead_stay_unknown),
        cmocka_unit_test(property_9_lists_make_suspects_not_dead),
        cmocka_unit_test(property_2_restart_replaces_the_old_life),
        cmocka_unit_test(link_of_the_new_life_stays),
        cmocka_unit_test(several_changes_are_told_as_one),
        cmocka_unit_test(names_of_one_id_must_not_differ),
        cmocka_unit_test(property_5_accusations_are_refuted),
        cmocka_unit_test(old_accusations_are_answered),
        cmocka_unit_test(last_inc_takes_a_new_epoch),
        cmocka_unit_test(property_2_own_name_with_a_higher_epoch),
        cmocka_unit_test(no_epoch_is_left),
        cmocka_unit_test(ring_and_names_of_states),
        cmocka_unit_test(texts_are_copied),
        cmocka_unit_test(property_10_every_fact_is_sent_its_number_of_times),
        cmocka_unit_test(newest_facts_go_first),
        cmocka_unit_test(alone_there_is_nothing_to_say),
        cmocka_unit_test(without_an_address_nobody_is_told_of_us),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
