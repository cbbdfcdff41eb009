/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes when links, nodes and edges come and go, or do not read: what is lost is read again, or
 * told; nobody is waited for in vain.
 */
#include "changes_world.h"

#define MIB ((size_t)1024 * 1024)

static void link_again(uint32_t node)
{
    rt_changes_link_up(&nodes[0].o, node + 1);
    tell_actors(node, 0);
}

static void a_node_that_is_gone_and_comes_back(void **state)
{
    (void)state;
    read_changes(9, 50);
    forget_all();
    rt_changes_node_gone(&nodes[0].o, 2);
    assert_string_equal(types(&nodes[0].db_ipc.out), "69 69");
    assert_true(from_link(0, 1, FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[0].db_ipc.out), "");
    assert_true(say(0, CHANGE(110)));
    assert_string_equal(types(&nodes[0].link[1]), "");
    rt_changes_link_up(&nodes[0].o, 2);
    tell_actors(1, 0);
    /* Asked, held, and each of its edges told that it may have missed something. */
    assert_string_equal(types(&nodes[0].link[1]), "66 63 68 68");
    assert_string_equal(types(&nodes[0].db_ipc.out), "67 67");
    /* The link breaks before that has arrived: told again, and read again. */
    link_again(1);
    assert_string_equal(types(&nodes[0].link[1]), "66 68 68");
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "63");
    read_changes(9, 60);
    assert_string_equal(types(&nodes[0].link[1]), "66 63");
    /* An answer may be older than the word; an acknowledgement of what went behind it is not. */
    assert_true(from_link(0, 1, FRAME(chg_synced, .project = project, .boot = 110, .round = 9)));
    link_again(1);
    assert_string_equal(types(&nodes[0].link[1]), "66 68 68");
    read_changes(9, 70);
    assert_true(say(0, CHANGE(110, 111)));
    assert_true(from_link(0, 1, OK_OF(110, 1)));
    assert_true(from_link(0, 1, OK_OF(111, 1)));
    forget_all();
    link_again(1);
    assert_string_equal(types(&nodes[0].link[1]), "66");
}

/* db has given an edge up that does not acknowledge: what it says of that is not lost with a link.
 */
static void an_edge_that_was_given_up_behind_a_broken_link(void **state)
{
    const struct pr_slice text = pr_str("x");
    struct pr_chg_sys told;
    struct pr_frame f;

    (void)state;
    read_changes(9, 50);
    forget_all();
    /* The link has ended, or takes what will not arrive. */
    for (uint32_t up = 0; up < 2; up++) {
        nodes[0].up[1] = up == 1;
        assert_true(say(0, FRAME(chg_sys, .project = project, .boot = 110, .message = text)));
        assert_string_equal(types(&nodes[0].link[1]), up == 1 ? "68" : "");
        nodes[0].up[1] = true;
        link_again(1);
        assert_true(fifo_next(&nodes[0].link[1], &f));
        assert_int_equal(f.type, PR_T_CHG_SYNC);
        f.type = 0;
        while (f.type != PR_T_CHG_SYS) {
            assert_true(fifo_next(&nodes[0].link[1], &f));
        }
        assert_int_equal(pr_chg_sys_decode(&f, &told), PR_OK);
        assert_true(told.boot == 110 && !told.ok);
        assert_string_equal(types(&nodes[0].link[1]), "");
        read_changes(9, 60 + up);
        assert_true(say(0, up == 0 ? CHANGE(110) : CHANGE(110, 0, 110)));
        assert_true(from_link(0, 1, OK_OF(110, up + 1)));
        forget_all();
    }
    /* It has acknowledged what came behind: told once. */
    link_again(1);
    assert_string_equal(types(&nodes[0].link[1]), "66");
    /* About one registration there: it is the message itself that goes. */
    assert_true(say(0, FRAME(chg_sys, .project = project, .boot = 110, .handle = 4,
                             .message = pr_str("the filter"))));
    assert_true(fifo_next(&nodes[0].link[1], &f));
    assert_int_equal(pr_chg_sys_decode(&f, &told), PR_OK);
    assert_true(told.handle == 4 && pr_slice_is(told.message, "the filter"));
    link_again(1);
    assert_string_equal(types(&nodes[0].link[1]), "66");
    /* One of this node, and one that nobody knows. */
    assert_true(say(0, FRAME(chg_sys, .project = project, .boot = 100, .message = text)));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "68");
    assert_true(say(0, FRAME(chg_sys, .project = project, .boot = 999, .message = text)));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "");
}

/* An answer would not find the edge: not taken, but asked for. */
static void what_is_said_before_the_edges_are_named(void **state)
{
    (void)state;
    read_changes(9, 50);
    rt_changes_node_gone(&nodes[0].o, 2);
    rt_changes_link_up(&nodes[0].o, 2);
    forget_all();
    assert_true(from_link(0, 1, FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[0].db_ipc.out), "");
    tell_actors(1, 0);
    assert_string_equal(types(&nodes[0].link[1]), "66 63 68 68");
    assert_string_equal(types(&nodes[0].db_ipc.out), "67 67");
    assert_true(from_link(0, 1, FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[0].db_ipc.out), "64");
}

static void what_a_link_lost_is_read_again(void **state)
{
    (void)state;
    read_changes(9, 50);
    forget_all();
    nodes[0].up[1] = false;
    assert_true(say(0, CHANGE(110, 120)));
    assert_string_equal(types(&nodes[0].link[1]), "");
    assert_string_equal(types(&nodes[0].link[2]), "61");
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), ""); /* without a link it would be in vain */
    nodes[0].up[1] = true;
    link_again(1);
    turn(&nodes[0]);
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "63"); /* once */
    assert_true(say(0, CHANGE(110, 120)));                  /* of before: behind the hole */
    assert_string_equal(types(&nodes[0].link[1]), "66");
    assert_true(say(0, FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = 60,
                             .state = PR_READER_HELD, .system = 7)));
    assert_true(say(0, CHANGE(110, 120)));
    assert_string_equal(types(&nodes[0].link[1]), "63 61");
}

/* Edges find a new owner one after the other: until all have, changes would pass them by. */
static void edges_of_a_new_owner(void **state)
{
    uint64_t boots[3] = {110, 111, 119};

    (void)state;
    read_changes(9, 50);
    forget_all();
    rt_changes_link_up(&nodes[0].o, 2);
    rt_changes_actors(&nodes[0].o, 2, NULL, 0);
    turn(&nodes[0]);
    rt_changes_actors(&nodes[0].o, 2, boots, 1);
    turn(&nodes[0]);
    assert_true(say(0, CHANGE(110, 120)));
    assert_string_equal(types(&nodes[0].db_ipc.out),
                        ""); /* nobody is gone, nothing is read again */
    read_changes(9, 60);     /* for another reason */
    assert_true(say(0, CHANGE(110, 120)));
    assert_string_equal(types(&nodes[0].link[1]), "66 66");
    rt_changes_actors(&nodes[0].o, 2, boots, 2);
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "63");
    read_changes(9, 70);
    assert_string_equal(types(&nodes[0].link[1]), "66 63");
    /* Others took their places. */
    rt_changes_link_up(&nodes[0].o, 2);
    rt_changes_actors(&nodes[0].o, 2, boots + 1, 1);
    assert_string_equal(types(&nodes[0].db_ipc.out), "");
    rt_changes_actors(&nodes[0].o, 2, boots + 1, 2);
    assert_string_equal(types(&nodes[0].db_ipc.out), "69 67");
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "63");
    read_changes(9, 80);
    /* One is late: not waited for, but told. */
    rt_changes_link_up(&nodes[0].o, 2);
    rt_changes_actors(&nodes[0].o, 2, boots + 2, 1);
    now_ms += RT_CHANGES_ATTACH_MS;
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "69 63");
    read_changes(9, 90);
    forget_all();
    rt_changes_actors(&nodes[0].o, 2, boots + 1, 2);
    assert_string_equal(types(&nodes[0].db_ipc.out), "67");
    assert_string_equal(types(&nodes[0].link[1]), "68");
    /* Without a new link who is not named is gone. */
    rt_changes_actors(&nodes[0].o, 2, boots + 1, 1);
    assert_string_equal(types(&nodes[0].db_ipc.out), "69");
}

static void long_queues_stop_the_reader(void **state)
{
    (void)state;
    read_changes(9, 50);
    nodes[0].edge_ipc[1].padding = 17 * MIB;
    assert_true(say(0, CHANGE(100)));
    assert_false(nodes[0].db_ipc.reading);
    turn(&nodes[0]);
    assert_false(nodes[0].db_ipc.reading);
    nodes[0].edge_ipc[1].padding = 0;
    turn(&nodes[0]);
    assert_true(nodes[0].db_ipc.reading);
    /* An edge that takes nothing is cut. */
    nodes[0].edge_ipc[1].padding = 17 * MIB;
    assert_true(say(0, CHANGE(100)));
    now_ms += RT_CHANGES_STUCK_MS;
    turn(&nodes[0]);
    turn(&nodes[0]);
    assert_int_equal(nodes[0].cuts, 1);
    assert_null(nodes[0].o.edge[1]);
    assert_true(nodes[0].db_ipc.reading);
    /* A node that takes nothing is left out until it does. */
    nodes[0].padding[1] = 8 * MIB;
    assert_true(say(0, CHANGE(110)));
    assert_false(nodes[0].db_ipc.reading);
    now_ms += RT_CHANGES_STUCK_MS;
    turn(&nodes[0]);
    assert_true(nodes[0].db_ipc.reading);
    forget_all();
    assert_true(say(0, CHANGE(110, 120)));
    assert_string_equal(types(&nodes[0].link[1]), "");
    assert_string_equal(types(&nodes[0].link[2]), "61");
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "");
    nodes[0].padding[1] = 0;
    turn(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "63");
    /* A new db process is read. */
    nodes[0].edge_ipc[0].padding = 17 * MIB;
    read_changes(9, 60);
    assert_false(nodes[0].db_ipc.reading);
    rt_owner_cut(nodes[0].o.db[0], "test");
    attach_db(&nodes[0]);
    assert_true(nodes[0].db_ipc.reading);
    turn(&nodes[0]);
}

static void an_edge_waits_for_the_way_to_the_reader(void **state)
{
    (void)state;
    assert_true(from_link(1, 0, FRAME(chg_sync, .project = project, .round = 9)));
    nodes[1].padding[0] = 8 * MIB;
    assert_true(rt_changes_on_edge_frame(&nodes[1].o, &nodes[1].edge[0],
                                         FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_false(nodes[1].edge_ipc[0].reading);
    assert_true(nodes[1].edge_ipc[1].reading);
    turn(&nodes[1]);
    assert_false(nodes[1].edge_ipc[0].reading);
    nodes[1].padding[0] = 0;
    turn(&nodes[1]);
    assert_true(nodes[1].edge_ipc[0].reading);
}

static void an_edge_that_does_not_read_is_cut_later(void **state)
{
    (void)state;
    read_changes(9, 50);
    forget_all();
    nodes[0].edge_ipc[0].padding = RT_IPC_QUEUE_MAX;
    assert_true(say(0, CHANGE(100, 101)));
    assert_int_equal(nodes[0].cuts, 0); /* somebody may be looking at it */
    nodes[0].edge_ipc[0].padding = 0;
    assert_true(say(0, CHANGE(100, 101)));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), ""); /* nothing behind a hole */
    turn(&nodes[0]);
    assert_int_equal(nodes[0].cuts, 1);
    attach_edge(&nodes[0], 0, 100);
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "66 68");
    rt_owner_cut(&nodes[0].edge[0], "test");
    attach_edge(&nodes[0], 0, 108);
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "66");
}

/* db is told who lives, and when all that should be there are. */
static void who_is_waited_for(void **state)
{
    struct pr_reader m;
    struct pr_frame f;

    (void)state;
    assert_string_equal(types(&nodes[0].db_ipc.out), "63 63 67 67 67 67 67 67 63");
    rt_owner_cut(nodes[0].o.db[0], "test");
    rt_owner_cut(&nodes[0].edge[1], "test");
    rt_changes_node_here(&nodes[0].o, 9);
    rt_changes_node_here(&nodes[0].o, 1); /* itself */
    attach_db(&nodes[0]);
    assert_string_equal(types(&nodes[0].db_ipc.out), "63 67 67 67 67 67");
    attach_edge(&nodes[0], 1, 109);
    assert_string_equal(types(&nodes[0].db_ipc.out), "67");
    rt_changes_actors(&nodes[0].o, 9, (const uint64_t[]){500}, 1);
    assert_true(fifo_next(&nodes[0].db_ipc.out, &f));
    assert_int_equal(f.type, PR_T_CHG_SYNCED);
    assert_true(fifo_next(&nodes[0].db_ipc.out, &f));
    assert_int_equal(pr_reader_decode(&f, &m), PR_OK);
    assert_int_equal(m.state, PR_READER_KNOWN);
    /* An edge that its node does not name any more is gone. */
    rt_changes_actors(&nodes[0].o, 9, (const uint64_t[]){501}, 1);
    assert_string_equal(types(&nodes[0].db_ipc.out), "69 67");
    rt_changes_actors(&nodes[0].o, 9, NULL, 0);
    assert_string_equal(types(&nodes[0].db_ipc.out), "69");
}

/* More nodes than there may be: those that are gone make room. */
static void many_nodes(void **state)
{
    struct changes *c = changes_of(&nodes[0]);

    (void)state;
    for (uint64_t id = 1000; id < 1300; id++) {
        rt_changes_actors(&nodes[0].o, id, (const uint64_t[]){id}, 1);
    }
    assert_int_equal(c->nnodes, RT_CHANGE_NODES_MAX);
    assert_null(rt_change_node(c, 1299));
    assert_int_equal(rt_change_node_of(c, 1299), RT_CHANGE_NOWHERE);
    rt_changes_node_gone(&nodes[0].o, 1100);
    rt_changes_actors(&nodes[0].o, 1299, (const uint64_t[]){1299}, 1);
    assert_null(rt_change_node(c, 1100));
    assert_int_equal(rt_change_node_of(c, 1100), RT_CHANGE_NOWHERE);
    assert_int_equal(c->nodes[rt_change_node_of(c, 1299)].id, 1299);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_node_that_is_gone_and_comes_back),
        IN_WORLD(an_edge_that_was_given_up_behind_a_broken_link),
        IN_WORLD(what_is_said_before_the_edges_are_named),
        IN_WORLD(what_a_link_lost_is_read_again),
        IN_WORLD(edges_of_a_new_owner),
        IN_WORLD(long_queues_stop_the_reader),
        IN_WORLD(an_edge_waits_for_the_way_to_the_reader),
        IN_WORLD(an_edge_that_does_not_read_is_cut_later),
        IN_WORLD(who_is_waited_for),
        IN_WORLD(many_nodes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
