/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of two projects on one owner: nothing of one reaches the db or the edges as the other's.
 */
#include "owner_world.h"
#include "proto/mesh_node.h"

static const char *const names[] = {"default", "other"};
static uint8_t memory[4096];
static struct rt_ipc other_ipc;
static struct peer other_db;

static bool is_of(const struct pr_frame *f, const char *name)
{
    struct pr_slice project;

    return pr_chg_project(f, &project) == PR_OK && pr_slice_is(project, name);
}

/* How many frames of the queue name this project; all others may only be CHG_GONE. */
static uint32_t count(struct fifo *q, const char *name)
{
    struct pr_frame f;
    uint32_t n = 0;

    while (fifo_next(q, &f)) {
        assert_true(f.type == PR_T_CHG_GONE || is_of(&f, names[0]) || is_of(&f, names[1]));
        n += f.type != PR_T_CHG_GONE && is_of(&f, name);
    }
    return n;
}

static void forget(void)
{
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t i = 0; i < EDGES; i++) {
            fifo_clear(&nodes[n].edge_ipc[i].out);
        }
        for (uint32_t k = 0; k < NODES; k++) {
            fifo_clear(&nodes[n].link[k]);
        }
        fifo_clear(&nodes[n].db_ipc.out);
    }
    fifo_clear(&other_ipc.out);
}

static int open_world(void **state)
{
    (void)state;
    now_ms = 1000;
    for (uint32_t n = 0; n < NODES; n++) {
        open_node(n);
        for (uint32_t i = 0; i < EDGES; i++) {
            attach_edge(&nodes[n], i, 100 + n * 10 + i);
        }
    }
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t k = 0; k < NODES; k++) {
            nodes[n].up[k] = n != k;
            if (n != k) {
                rt_changes_link_up(&nodes[n].o, k + 1);
                tell_actors(k, n);
            }
        }
    }
    attach_db(&nodes[0]);
    elect(&nodes[0], 1);
    named_other = 1;
    forget();
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    fifo_clear(&other_ipc.out);
    for (uint32_t n = 0; n < NODES; n++) {
        close_node(n);
    }
    return 0;
}

static void attach_other(void)
{
    other_ipc = (struct rt_ipc){.reading = true, .bound = RT_IPC_QUEUE_MAX};
    other_db = (struct peer){.owner = &nodes[0].o,
                             .ipc = &other_ipc,
                             .role = PR_ROLE_DB,
                             .index = 1,
                             .boot = 2,
                             .project = "other"};
    nodes[0].o.db[1] = &other_db;
    assert_true(rt_changes_db_up(&nodes[0].o, &other_db));
}

static struct pr_frame sync_of(const char *name, uint64_t round)
{
    struct pr_chg_sync m = {.project = pr_str(name), .round = round};
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_frame f;

    pr_chg_sync_encode(&o, &m);
    assert_true(pr_frame_next(pr_bytes(memory, o.len), &f) > 0);
    return f;
}

static struct pr_frame reg_of(const char *name, uint64_t boot)
{
    struct pr_chg_reg m = {.project = pr_str(name), .boot = boot, .handle = 1};
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_frame f;

    pr_chg_reg_encode(&o, &m);
    assert_true(pr_frame_next(pr_bytes(memory, o.len), &f) > 0);
    return f;
}

/* One that is named late knows who lives, as if it had been there. */
static void a_late_project_knows_all(void **state)
{
    struct pr_frame f;

    (void)state;
    attach_other();
    /* START, all edges of all nodes by name, and that these are all. */
    assert_int_equal(count(&other_ipc.out, "other"), 2 + NODES * EDGES);
    assert_int_equal(count(&nodes[0].db_ipc.out, "other"), 0);
    f = sync_of("other", 7);
    assert_true(rt_changes_on_db_frame(&nodes[0].o, &other_db, &f));
    for (uint32_t i = 0; i < EDGES; i++) {
        assert_int_equal(count(&nodes[0].edge_ipc[i].out, "other"), 1);
    }
    for (uint32_t k = 1; k < NODES; k++) {
        assert_int_equal(count(&nodes[0].link[k], "other"), 1);
    }
}

static void registrations_go_to_their_db(void **state)
{
    struct pr_frame f;

    (void)state;
    attach_other();
    for (uint32_t i = 0; i < 2; i++) {
        f = sync_of(names[i], 7 + i);
        assert_true(rt_changes_on_db_frame(&nodes[0].o, i == 0 ? &nodes[0].db : &other_db, &f));
    }
    forget();
    for (uint32_t i = 0; i < 2; i++) {
        f = reg_of(names[i], 100);
        assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
        f = reg_of(names[i], 110);
        assert_true(rt_changes_on_link_frame(&nodes[0].o, 2, &f));
    }
    assert_int_equal(count(&nodes[0].db_ipc.out, "default"), 2);
    assert_int_equal(count(&other_ipc.out, "other"), 2);
}

static void the_db_of_one_ends(void **state)
{
    struct pr_frame f;

    (void)state;
    attach_other();
    f = sync_of("default", 7);
    assert_true(rt_changes_on_db_frame(&nodes[0].o, &nodes[0].db, &f));
    rt_changes_db_down(&nodes[0].o, &other_db);
    assert_null(rt_changes_db(&nodes[0].o, pr_str("other")));
    assert_ptr_equal(rt_changes_db(&nodes[0].o, pr_str("default")), &nodes[0].db);
    forget();
    f = reg_of("default", 100);
    assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
    f = reg_of("other", 100);
    assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
    assert_int_equal(count(&nodes[0].db_ipc.out, "default"), 1);
    assert_int_equal(count(&other_ipc.out, "other"), 0);
}

/* Names that a peer makes up fill a table and harm nobody. */
static void too_many_names(void **state)
{
    char name[80];
    struct pr_frame f;

    (void)state;
    for (uint32_t i = 0; i < RT_PROJECTS_MAX + 5; i++) {
        (void)snprintf(name, sizeof name, "p%u", i);
        f = sync_of(name, 1);
        assert_true(rt_changes_on_link_frame(&nodes[0].o, 2, &f));
    }
    assert_non_null(rt_changes_project(&nodes[0].o, RT_PROJECTS_MAX - 1));
    assert_null(rt_changes_project(&nodes[0].o, RT_PROJECTS_MAX));
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    f = sync_of(name, 1);
    assert_true(rt_changes_on_link_frame(&nodes[0].o, 2, &f));
    f = sync_of("", 1);
    assert_true(rt_changes_on_link_frame(&nodes[0].o, 2, &f));
    f = reg_of("default", 100);
    assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_late_project_knows_all, open_world, close_world),
        cmocka_unit_test_setup_teardown(registrations_go_to_their_db, open_world, close_world),
        cmocka_unit_test_setup_teardown(the_db_of_one_ends, open_world, close_world),
        cmocka_unit_test_setup_teardown(too_many_names, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
