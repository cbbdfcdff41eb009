/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: who is present is told to an edge word for word, and nobody stays who is gone, over
 * restarts of the owner and lost connections.
 */
#include "cluster_world.h"

static struct world w;

static void test_presence(void **state)
{
    uint32_t a = 0;
    uint32_t b = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t");
    b = w_sub(&w, 1, "t");
    w_want(&w, 0, a, true);
    w_want(&w, 1, b, true);
    w_settle(&w);
    w_expect(&w, 0, "ok:0 view[] ");
    w_expect(&w, 1, "ok:0 view[] ");
    w_put_pres(&w, 0, a, 1, "ann", "{1}");
    w_run(&w, 2000);
    w_expect(&w, 0, "diff[+ann={1}] ");
    w_expect(&w, 1, "diff[+ann={1}] ");

    /* An update is one diff, the same value none, and two views in one go one question. */
    w_put_pres(&w, 0, a, 1, "ann", "{2}");
    w_put_pres(&w, 0, a, 1, "ann", "{2}");
    w_run(&w, 2000);
    w_expect(&w, 1, "diff[-ann={1}+ann={2}] ");
    w_expect(&w, 0, "diff[-ann={1}+ann={2}] ");
    w_want(&w, 1, b, true);
    w_want(&w, 1, b, true);
    w_settle(&w);
    w_expect(&w, 1, "view[+ann={2}] ");

    /* Who does not want it is not told. */
    w_want(&w, 1, b, false);
    w_settle(&w);
    w_expect(&w, 1, "view[+ann={2}] ");
    assert_int_equal(cle_presence_del(w.e[0].c, w.now, a, 1), CL_OK);
    assert_int_equal(cle_presence_del(w.e[0].c, w.now, a, 1), CL_ENOENT);
    w_drain_edge(&w, 0);
    w_run(&w, 2000);
    w_expect(&w, 0, "diff[-ann={2}] ");
    w_expect(&w, 1, "");
    w_deinit(&w);
}

static void test_presence_of_a_dead_edge(void **state)
{
    uint32_t a = 0;
    uint32_t b = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t");
    b = w_sub(&w, 1, "t");
    w_want(&w, 1, b, true);
    w_settle(&w);
    w_expect(&w, 1, "ok:0 view[] ");
    w_put_pres(&w, 0, a, 1, "ann", "{1}");
    w_put_pres(&w, 0, a, 2, "bob", "{1}");
    w_run(&w, 2000);
    w_expect(&w, 1, "diff[+ann={1}] diff[+bob={1}] ");
    w_edge_kill(&w, 0);
    w_run(&w, 100);
    w_expect(&w, 1, "diff[-ann={1}-bob={1}] ");
    w_edge_start(&w, 0);
    w_connect(&w, 0);
    w_run(&w, 100);
    w_expect(&w, 1, "");
    w_deinit(&w);
}

/* Property: an owner restart shows no presence event to anybody, only a whole state. */
static void property_27_presence_over_owner_restart(void **state)
{
    uint32_t a = 0;
    uint32_t b = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t");
    b = w_sub(&w, 1, "t");
    w_want(&w, 0, a, true);
    w_want(&w, 1, b, true);
    w_put_pres(&w, 0, a, 1, "ann", "{1}");
    w_put_pres(&w, 1, b, 1, "bob", "{1}");
    w_run(&w, 2000);
    w.e[0].log_len = w.e[1].log_len = 0;
    w_owner_kill(&w);
    assert_int_equal(cle_presence_del(w.e[0].c, w.now, a, 1), CL_OK);
    w_put_pres(&w, 0, a, 2, "cid", "{1}");
    w_owner_start(&w);
    w_connect(&w, 0);
    w_settle(&w);
    w_connect(&w, 1);
    w_run(&w, 2000);
    w_expect(&w, 0, "reset:0 ");
    w_expect(&w, 1, "reset:0 ");
    w_want(&w, 0, a, true);
    w_want(&w, 1, b, true);
    w_settle(&w);
    assert_non_null(strstr(w.e[0].log, "+cid={1}"));
    assert_non_null(strstr(w.e[0].log, "+bob={1}"));
    assert_null(strstr(w.e[0].log, "ann"));
    w_put_pres(&w, 0, a, 2, "cid", "{2}");
    w.e[1].log_len = 0;
    w_run(&w, 2000);
    w_expect(&w, 1, "diff[-cid={1}+cid={2}] ");
    w_deinit(&w);
}

/* What was deleted while the connection was down must not stay as a ghost. */
static void property_26_no_ghost_after_reconnect(void **state)
{
    uint32_t a = 0;
    uint32_t b = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t");
    b = w_sub(&w, 1, "t");
    w_want(&w, 1, b, true);
    w_put_pres(&w, 0, a, 1, "ann", "{1}");
    w_run(&w, 2000);
    w.e[1].log_len = 0;
    w_disconnect(&w, 0);
    assert_int_equal(cle_presence_del(w.e[0].c, w.now, a, 1), CL_OK);
    cle_unsubscribe(w.e[0].c, w.now, a);
    w_run(&w, 20000);
    w_expect(&w, 1, "diff[-ann={1}] ");
    w_connect(&w, 0);
    w_run(&w, 2000);
    w_expect(&w, 1, "");
    w_want(&w, 1, b, true);
    w_settle(&w);
    w_expect(&w, 1, "view[] ");
    w_run(&w, 20000);
    w_deinit(&w);
}

/* The deletion was sent, forgotten here, and lost with the connection: the owner, which lives on,
 * must learn of it all the same. */
static void test_no_ghost_of_a_lost_deletion(void **state)
{
    uint32_t a = 0;
    uint32_t b = 0;

    (void)state;
    w_init(&w, 2);
    a = w_sub(&w, 0, "t");
    b = w_sub(&w, 1, "t");
    w_want(&w, 1, b, true);
    w_put_pres(&w, 0, a, 1, "ann", "{1}");
    w_run(&w, 2000);
    w.e[1].log_len = 0;
    assert_int_equal(cle_presence_del(w.e[0].c, w.now, a, 1), CL_OK);
    cle_unsubscribe(w.e[0].c, w.now, a);
    w.now += CLE_UNSUB_MS;
    w_tick(&w); /* sends, and forgets the topic; nothing of it arrives */
    w_disconnect(&w, 0);
    w_connect(&w, 0);
    w_run(&w, 2000);
    w_want(&w, 1, b, true);
    w_settle(&w);
    assert_non_null(strstr(w.e[1].log, "view[] "));
    w_deinit(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_presence),
        cmocka_unit_test(test_presence_of_a_dead_edge),
        cmocka_unit_test(property_27_presence_over_owner_restart),
        cmocka_unit_test(property_26_no_ghost_after_reconnect),
        cmocka_unit_test(test_no_ghost_of_a_lost_deletion),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
