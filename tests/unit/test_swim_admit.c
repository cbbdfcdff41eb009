/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: who may come in, and what is bounded: members, memory, configurations.
 */
#include "tests/unit/swim_bed.h"

static enum cl_swim_verdict ask(struct bed *b, uint64_t id, uint64_t epoch, uint64_t at,
                                struct pr_addr *holder)
{
    struct cl_swim_claim c = {.id = id, .epoch = epoch, .name = name(id), .addr = addr(at)};
    enum cl_swim_verdict v = cl_swim_admit(b->s, b->now, &c, holder);

    bed_take(b);
    return v;
}

static void claims_without_doubt(void **state)
{
    struct pr_addr holder;
    struct cl_swim_claim c = {.id = 1, .epoch = EPOCH};
    struct bed b;

    (void)state;
    bed_start(&b, 4);
    bed_members(&b, 2);
    assert_int_equal(ask(&b, 9, 1, 9, &holder), CL_SWIM_ADMIT);         /* unknown */
    assert_int_equal(ask(&b, 1, EPOCH, 9, &holder), CL_SWIM_ADMIT);     /* the same life */
    assert_int_equal(ask(&b, 1, EPOCH + 1, 1, &holder), CL_SWIM_ADMIT); /* restarted in place */
    assert_int_equal(ask(&b, ME, MY_EPOCH, 9, &holder), CL_SWIM_IS_SELF);
    assert_int_equal(ask(&b, ME, MY_EPOCH + 1, ME, &holder), CL_SWIM_IS_SELF);
    assert_int_equal(ask(&b, ME, MY_EPOCH + 1, 9, &holder), CL_SWIM_NAME_USED);
    assert_int_equal(holder.ip[3], ME);
    c.name = name(2);
    assert_int_equal(cl_swim_admit(b.s, b.now, &c, &holder), CL_SWIM_ID_CLASH);
    bed_merge(&b, fact(3, EPOCH, 0, PR_F_ALIVE), false);
    assert_int_equal(ask(&b, 9, 1, 9, &holder), CL_SWIM_NO_ROOM);
    bed_merge(&b, fact(1, EPOCH, 0, PR_F_DEAD), false);
    assert_int_equal(ask(&b, 1, EPOCH + 1, 9, &holder), CL_SWIM_ADMIT);
    bed_end(&b);
}

/* The old address is asked for a second. */
static void claim_of_a_name_in_use(void **state)
{
    struct pr_gossip_msg m;
    struct pr_addr holder;
    struct bed b;

    (void)state;
    for (unsigned kind = 0; kind < 3; kind++) { /* silent, answers, speaks on its link */
        bed_start(&b, 8);
        bed_members(&b, 3);
        bed_link(&b, 1, EPOCH);
        b.nseen = 0;
        assert_int_equal(ask(&b, 1, EPOCH + 1, 50, &holder), CL_SWIM_WAIT);
        assert_non_null(packet(&b, 1, PR_G_PING, 0, &m));
        assert_int_equal(m.fact.epoch, EPOCH);
        bed_run(&b, 300);
        assert_non_null(packet(&b, 1, PR_G_PING, 1, &m)); /* again, it may have been lost */
        assert_int_equal(ask(&b, 1, EPOCH + 1, 50, &holder), CL_SWIM_WAIT);
        assert_int_equal(ask(&b, 1, EPOCH + 9, 51, &holder), CL_SWIM_WAIT);
        if (kind == 1) {
            (void)packet(&b, 1, PR_G_PING, 0, &m);
            m = ack(m.seq, 0);
            bed_packet(&b, 1, &m);
        } else if (kind == 2) {
            cl_swim_link_heard(b.s, b.now, 1);
        }
        bed_run(&b, 690);
        if (kind == 0) {
            assert_int_equal(ask(&b, 1, EPOCH + 1, 50, &holder), CL_SWIM_WAIT);
        }
        bed_run(&b, 20);
        if (kind == 0) {
            assert_int_equal(ask(&b, 1, EPOCH + 1, 50, &holder), CL_SWIM_ADMIT);
            assert_int_equal(ask(&b, 1, EPOCH + 9, 51, &holder), CL_SWIM_WAIT);
        } else {
            assert_int_equal(ask(&b, 1, EPOCH + 1, 50, &holder), CL_SWIM_NAME_USED);
            assert_int_equal(holder.ip[3], 1);
            assert_int_equal(ask(&b, 1, EPOCH + 9, 51, &holder), CL_SWIM_NAME_USED);
        }
        bed_run(&b, 5000); /* then all is asked anew */
        if (state_of(&b, 1) != CL_SWIM_DEAD) {
            assert_int_equal(ask(&b, 1, EPOCH + 9, 51, &holder), CL_SWIM_WAIT);
        }
        bed_end(&b);
    }
}

static void alone_it_is_gone_at_once(void **state)
{
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    cl_swim_leave(b.s, b.now);
    assert_true(cl_swim_gone(b.s));
    bed_end(&b);
}

/* ---- limits ---- */

static void members_have_a_bound(void **state)
{
    struct pr_fact f = fact(9, EPOCH, 0, PR_F_ALIVE);
    struct cl_swim_stats st;
    struct bed b;

    (void)state;
    bed_start(&b, 4);
    bed_members(&b, 3);
    assert_int_equal(cl_swim_merge(b.s, b.now, &f, false), CL_ENOMEM);
    assert_int_equal(cl_swim_link_up(b.s, b.now, 9, 1), CL_ENOMEM);
    bed_take(&b);
    cl_swim_stats(b.s, &st);
    assert_int_equal(st.no_room, 2);
    assert_int_equal(st.members, 4);
    bed_end(&b);
}

/* Near the bound the oldest of the dead is forgotten early, and the owner hears of it. */
static void the_dead_make_room(void **state)
{
    const struct seen *e = NULL;
    struct bed b;

    (void)state;
    bed_start(&b, 16);
    bed_members(&b, 12);
    bed_merge(&b, fact(5, EPOCH, 0, PR_F_LEFT), false);
    b.now += 10;
    bed_merge(&b, fact(6, EPOCH, 0, PR_F_DEAD), false);
    b.nseen = 0;
    bed_merge(&b, fact(20, EPOCH, 0, PR_F_ALIVE), false);
    e = must_see(&b, CL_SWIM_A_MEMBER, 5);
    assert_int_equal(e->now, CL_SWIM_NONE);
    bed_merge(&b, fact(21, EPOCH, 0, PR_F_ALIVE), false);
    assert_null(cl_swim_find(b.s, 6));
    bed_merge(&b, fact(6, EPOCH + 1, 0, PR_F_ALIVE), false);
    assert_int_equal(state_of(&b, 6), CL_SWIM_ALIVE);
    bed_end(&b);
}

static void refused_memory(void **state)
{
    struct bed b = {.now = 1000};
    struct cl_swim_config cfg;
    struct cl_swim *s = NULL;

    (void)state;
    b.mem = (struct cl_alloc){bed_get, bed_put, &b};
    cfg = bed_config(&b, 256);
    for (b.refuse_at = 1; s == NULL; b.refuse_at++) {
        b.gets = 0;
        s = cl_swim_new(&cfg, cl_rand_seed(1), 0);
        assert_true(s != NULL || b.out == 0);
        assert_true(b.refuse_at < 10);
    }
    assert_in_range(b.out, 100000, 700000); /* all that it will ever take */
    cl_swim_free(s);
    cl_swim_free(NULL);
    assert_int_equal(b.out, 0);
}

static void wrong_configurations(void **state)
{
    struct bed b = {.now = 1000};
    struct cl_swim_config good, c;

    (void)state;
    b.mem = (struct cl_alloc){bed_get, bed_put, &b};
    good = bed_config(&b, 8);
    for (unsigned i = 0; i < 5; i++) {
        c = good;
        c.id = i == 0 ? 0 : c.id;
        c.nodes = i == 1 ? 0 : i == 2 ? CL_NODES_MAX + 1 : c.nodes;
        c.name = i == 3 ? pr_str("no spaces") : c.name;
        c.meta.weight = i == 4 ? 1001 : c.meta.weight;
        assert_null(cl_swim_new(&c, cl_rand_seed(1), 0));
    }
    assert_int_equal(b.out, 0);
}

static void count_rows(void *ctx, const struct cl_swim_member *m)
{
    uint64_t *last = ctx;

    assert_true(m->id > *last);
    *last = m->id;
}

static void rows_for_operators(void **state)
{
    uint64_t last = 0;
    struct cl_swim_member m = {.state = CL_SWIM_NONE};
    struct bed b;

    (void)state;
    bed_start(&b, 8);
    bed_members(&b, 3);
    bed_link(&b, 400, EPOCH); /* not yet known: no row */
    cl_swim_each(b.s, count_rows, &last);
    assert_int_equal(last, ME);
    assert_string_equal(cl_swim_state_name(&m), "none");
    m.state = CL_SWIM_SUSPECT;
    assert_string_equal(cl_swim_state_name(&m), "suspect");
    m.state = CL_SWIM_DEAD;
    assert_string_equal(cl_swim_state_name(&m), "dead");
    m.state = CL_SWIM_LEFT;
    assert_string_equal(cl_swim_state_name(&m), "left");
    bed_end(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims_without_doubt),     cmocka_unit_test(claim_of_a_name_in_use),
        cmocka_unit_test(alone_it_is_gone_at_once), cmocka_unit_test(members_have_a_bound),
        cmocka_unit_test(the_dead_make_room),       cmocka_unit_test(refused_memory),
        cmocka_unit_test(wrong_configurations),     cmocka_unit_test(rows_for_operators),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
