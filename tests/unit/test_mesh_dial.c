/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: one attempt per dial, pauses that double between those that fail, none lost and each
 * answered; taken back in silence; over both families.
 */
#include "mesh_world.h"

/* One attempt per call; the pause doubles, within +-50 %, up to its bound, and starts anew after a
 * link that lived. */
static void test_backoff(void **state)
{
    static const uint64_t pauses[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    struct world *w = *state;
    struct node *a = prepare(w, 0, KEY_OLD);
    struct pr_addr nobody;
    int fd = raw_listen(&nobody);

    (void)close(fd);
    a->cfg.times = (struct rt_mesh_times){0};
    (void)start(a);
    for (uint32_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        struct rt_mesh_target *t;
        uint64_t pause;
        char text[400];

        rt_mesh_dial(a->m, 9, &nobody);
        rt_mesh_dial(a->m, 9, &nobody);
        t = &a->m->target[0];
        assert_true(t->used && t->id == 9);
        t->not_before_ms = 0; /* the pause is over */
        rt_mesh_kick(a->m, 0);
        for (uint32_t k = 0; k <= i; k++) {
            (void)snprintf(text + k * 15, sizeof text - k * 15, "fail 9 refused;");
        }
        run_until_told(a, text);
        pause = t->not_before_ms - rt_now_ms(w->loop); /* some ms of it may be over */
        if (pause > pauses[i] + pauses[i] / 2 || pause + 50 < pauses[i] / 2) {
            fail_msg("pause %u is %lu ms", i, (unsigned long)pause);
        }
        assert_false(t->wanted);
    }
    assert_int_equal(a->m->counts.dialed, 9);
    assert_int_equal(a->m->counts.dial_failed, 9);
}

/* A dial inside the pause is not lost: it is done when the pause ends, with the latest address. */
static void test_delayed(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr nobody;
    int fd = raw_listen(&nobody);

    (void)close(fd);
    rt_mesh_dial(a->m, 2, &nobody);
    run_until_told(a, "fail 2 refused;");
    rt_mesh_dial(a->m, 2, &nobody);
    dial(a, b, 2);
    /* Another one in the meantime has its own pause. */
    rt_mesh_dial(a->m, 9, &nobody);
    run_until_told(a, "up 2;");
    assert_true(strncmp(a->story, "fail 2 refused;", 15) == 0);
}

/* A dial that is taken back before it is done, or while it is on its way, ends in silence. */
static void test_close_a_dial(void **state)
{
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);

    dial(a, b, 2);
    rt_mesh_close(a->m, 2, PR_BYE_LEAVE, "not wanted");
    assert_int_equal(a->m->counts.dialed, 0);
    dial(a, b, 2);
    while (a->m->counts.dialed == 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    rt_mesh_close(a->m, 2, PR_BYE_LEAVE, "not wanted");
    while (a->m->nlinks > 0 || b->m->nlinks > 0) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
    assert_string_equal(a->story, "");
    link_up(a, b);
    assert_string_equal(a->story, "up 2;");
}

/* One socket for both families. */
static void test_both_families(void **state)
{
    struct world *w = *state;
    struct node *a = prepare(w, 0, KEY_OLD);
    struct node *b = node(w, 1, KEY_OLD);
    struct pr_addr addr = {.family = PR_ADDR_V6};
    struct rt_error err = {0};

    a->cfg.listen = addr;
    a->cfg.advertise = loopback(1);
    a->m = rt_mesh_new(&a->cfg, &err);
    if (a->m == NULL) {
        skip(); /* a machine without IPv6 */
    }
    addr = loopback(rt_mesh_addr(a->m).port);
    rt_mesh_dial(b->m, 1, &addr);
    run_until_told(b, "up 1;");
    assert_int_equal(a->m->up[0]->remote.family, PR_ADDR_V4);
    addr = (struct pr_addr){.family = PR_ADDR_V6, .port = addr.port, .ip = {[15] = 1}};
    rt_mesh_close(b->m, 1, PR_BYE_LEAVE, "");
    run_until_told(b, "down 1 closed;");
    rt_mesh_dial(b->m, 1, &addr);
    run_until_told(b, "down 1 closed;up 1;");
    assert_int_equal(a->m->up[0]->remote.family, PR_ADDR_V6);
}

static void test_no_way(void **state)
{
    static const struct {
        const char *name;
        struct pr_addr addr;
    } cases[] = {
        {"no address", {.family = PR_ADDR_NONE}},
        {"multicast", {.family = PR_ADDR_V4, .port = 1, .ip = {224, 0, 0, 1}}},
    };
    struct world *w = *state;
    struct node *a = node(w, 0, KEY_OLD);

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        a->story[0] = '\0';
        rt_mesh_dial(a->m, 9, &cases[i].addr);
        assert_string_equal(a->story, "");
        run_until_told(a, "fail 9 refused;");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, open_world, close_world)
        T(test_close_a_dial), T(test_backoff),       T(test_delayed),
        T(test_no_way),       T(test_both_families),
#undef T
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
