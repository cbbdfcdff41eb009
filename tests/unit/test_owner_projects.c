/* SPDX-License-Identifier: Apache-2.0 */
/* Changes of two projects on one owner: nothing of one reaches the db or the edges as the other's.
 */
#include "owner_world.h"
#include "proto/mesh_cast.h"
#include "proto/mesh_node.h"

#define MIB ((size_t)1024 * 1024)

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

static bool try_other(void)
{
    fifo_clear(&other_ipc.out);
    other_ipc = (struct rt_ipc){.reading = true, .bound = RT_IPC_QUEUE_MAX};
    other_db = (struct peer){.owner = &nodes[0].o,
                             .ipc = &other_ipc,
                             .role = PR_ROLE_DB,
                             .index = 1,
                             .boot = 2,
                             .project = "other"};
    nodes[0].o.db[1] = &other_db;
    return rt_changes_db_up(&nodes[0].o, &other_db);
}

static void attach_other(void)
{
    assert_true(try_other());
}

static struct pr_frame framed(const struct pr_outbuf *o)
{
    struct pr_frame f;

    assert_true(pr_out_ok(o));
    assert_true(pr_frame_next(pr_bytes(memory, o->len), &f) > 0);
    return f;
}
#define FRAME(name, of, ...)                                                                       \
    (put = pr_outbuf(memory, sizeof memory),                                                       \
     pr_##name##_encode(&put, &(struct pr_##name){.project = pr_str(of), __VA_ARGS__}),            \
     framed(&put))
static struct pr_outbuf put;

static struct pr_frame sync_of(const char *name, uint64_t round)
{
    return FRAME(chg_sync, name, .round = round);
}

static struct pr_frame reg_of(const char *name, uint64_t boot)
{
    return FRAME(chg_reg, name, .boot = boot, .handle = 1);
}

/* From a db process, which may say it. */
static void says(struct peer *db, struct pr_frame f)
{
    assert_true(rt_changes_on_db_frame(db->owner, db, &f));
}

static void reads(struct peer *db, uint64_t lsn)
{
    says(db, sync_of(db->project, 7));
    says(db, FRAME(reader, db->project, .term_timeline = 1, .term_lsn = lsn,
                   .state = PR_READER_HELD, .system = 7, .casts = 1));
}

static void position(struct peer *db)
{
    says(db, FRAME(chg, db->project, .stream = 1));
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

static void each_has_its_reader(void **state)
{
    struct pr_frame f;

    (void)state;
    attach_other();
    reads(&nodes[0].db, 50);
    reads(&other_db, 60);
    forget();
    named_other = 2;
    rt_changes_elect(&nodes[0].o);
    assert_int_equal(count(&nodes[0].db_ipc.out, "default"), 0);
    assert_int_equal(count(&other_ipc.out, "other"), 1); /* STOP */
    assert_int_equal(count(&nodes[0].link[1], "other"), 1);
    assert_int_equal(count(&nodes[0].link[2], "default"), 0);
    f = reg_of("other", 100);
    assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
    assert_int_equal(count(&other_ipc.out, "other"), 0);
    f = reg_of("default", 100);
    assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
    assert_int_equal(count(&nodes[0].db_ipc.out, "default"), 1);
    /* The terms of two databases are not compared. */
    position(&nodes[0].db);
    assert_int_equal(count(&nodes[0].edge_ipc[0].out, "default"), 1);
}

static void changes_carry_their_name(void **state)
{
    struct pr_frame f;

    (void)state;
    attach_other();
    reads(&nodes[0].db, 50);
    reads(&other_db, 40);
    forget();
    position(&other_db);
    says(&other_db, FRAME(cast, "other", .stream = 1, .topic = pr_str("t")));
    for (uint32_t i = 0; i < EDGES; i++) {
        struct fifo *q = &nodes[0].edge_ipc[i].out;

        assert_true(fifo_next(q, &f));
        assert_int_equal(f.type, PR_T_CHG);
        assert_true(is_of(&f, "other"));
        assert_int_equal(fifo_next(q, &f), i == 0);
        assert_int_equal(f.type, i == 0 ? PR_T_CAST : PR_T_CHG);
    }
    assert_int_equal(count(&nodes[0].link[1], "other"), 1);
    /* Nobody speaks for another project. */
    f = FRAME(chg, "default", .stream = 1);
    assert_false(rt_changes_on_db_frame(&nodes[0].o, &other_db, &f));
    f = FRAME(cast, "default", .stream = 1, .topic = pr_str("t"));
    assert_false(rt_changes_on_db_frame(&nodes[0].o, &other_db, &f));
    f = sync_of("new", 1);
    assert_false(rt_changes_on_db_frame(&nodes[0].o, &other_db, &f));
    assert_int_equal(count(&nodes[0].edge_ipc[0].out, "default"), 0);
    /* An answer of the edge that publishes goes to whom it names. */
    f = FRAME(cast_ok, "other", .stream = 1);
    assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[0], &f));
    assert_true(fifo_next(&other_ipc.out, &f));
    assert_int_equal(f.type, PR_T_CAST_OK);
    assert_false(fifo_next(&nodes[0].db_ipc.out, &f));
}

static struct changes *changes_in(const char *name)
{
    return rt_change_of(&nodes[0].o, pr_str(name));
}

/* Time for both projects, "default" first; whoever is read fills the queue of an edge. */
static void look_and_fill(uint32_t went[2])
{
    struct peer *db[] = {&nodes[0].db, &other_db};

    for (uint32_t i = 0; i < 2; i++) {
        turn_of(changes_in(names[i]));
        if (db[i]->ipc->reading) {
            went[i]++;
            nodes[0].edge_ipc[1].padding = 17 * MIB;
            position(db[i]);
            assert_false(nodes[0].db_ipc.reading);
            assert_false(other_ipc.reading);
        }
    }
}

/* What one fills stops all, and of two that wait neither is always the first to find room. */
static void projects_take_turns(void **state)
{
    uint32_t went[2] = {0};

    (void)state;
    attach_other();
    reads(&nodes[0].db, 50);
    reads(&other_db, 50);
    for (uint32_t k = 0; k < 10; k++) {
        now_ms += RT_CHANGES_STUCK_MS - 1; /* the edge is slow, but does not hang */
        look_and_fill(went);
        assert_int_equal(went[0] + went[1], k + 1);
        nodes[0].edge_ipc[1].padding = 0;
    }
    assert_int_equal(went[0], 5);
    assert_int_equal(went[1], 5);
    assert_int_equal(nodes[0].cuts, 0);
}

static void who_has_nothing_to_say_holds_up_nobody(void **state)
{
    (void)state;
    attach_other();
    reads(&nodes[0].db, 50);
    reads(&other_db, 50);
    for (uint32_t k = 0; k < 3; k++) { /* whoever's turn it is */
        nodes[0].edge_ipc[1].padding = 17 * MIB;
        position(&nodes[0].db);
        nodes[0].edge_ipc[1].padding = 0;
        turn_of(changes_in("default"));
        turn_of(changes_in("other"));
        turn_of(changes_in("default"));
        assert_true(nodes[0].db_ipc.reading && other_ipc.reading);
    }
}

static void one_that_hangs_is_cut_whoever_notices(void **state)
{
    (void)state;
    attach_other();
    reads(&nodes[0].db, 50);
    reads(&other_db, 50);
    nodes[0].edge_ipc[1].padding = 17 * MIB;
    position(&other_db);
    now_ms += RT_CHANGES_STUCK_MS;
    for (uint32_t i = 0; i < 4; i++) {
        turn_of(changes_in(names[i % 2]));
    }
    assert_int_equal(nodes[0].cuts, 1);
    assert_null(nodes[0].o.edge[1]);
    assert_true(nodes[0].db_ipc.reading && other_ipc.reading);
}

/* A db that does not read the changes still answers who may join. */
static void who_does_not_read_is_not_stopped(void **state)
{
    (void)state;
    attach_other();
    reads(&nodes[0].db, 50);
    nodes[0].edge_ipc[1].padding = 17 * MIB;
    position(&nodes[0].db);
    assert_false(nodes[0].db_ipc.reading);
    assert_true(other_ipc.reading);
}

/* "default" is read at node 2, "other" at node 3. */
static void an_edge_waits_for_all(void **state)
{
    struct node *n = &nodes[0];
    struct pr_frame f;

    (void)state;
    attach_other();
    for (uint32_t i = 0; i < 2; i++) {
        f = sync_of(names[i], 7);
        assert_true(rt_changes_on_link_frame(&n->o, 2 + i, &f));
        n->padding[1 + i] = 8 * MIB;
        f = reg_of(names[i], 100);
        assert_true(rt_changes_on_edge_frame(&n->o, &n->edge[0], &f));
    }
    assert_false(n->edge_ipc[0].reading);
    n->padding[1] = 0;
    turn_of(changes_in("default"));
    assert_false(n->edge_ipc[0].reading);
    n->padding[2] = 0;
    turn_of(changes_in("other"));
    assert_true(n->edge_ipc[0].reading);
}

/* Edges of another node that are looked for when the project is named are not looked for for ever.
 */
static void a_late_project_forgets_the_absent(void **state)
{
    (void)state;
    rt_changes_link_up(&nodes[0].o, 2); /* a new link: node 2 may have a new owner */
    attach_other();
    forget();
    now_ms += RT_CHANGES_ATTACH_MS;
    turn_of(changes_in("other"));
    assert_int_equal(changes_in("other")->nboots, EDGES);
    assert_int_equal(changes_in("default")->nboots, 2 * EDGES);
}

/* Who reads the changes of a project that has gone is of no interest, until it is back. */
static void one_that_comes_back(void **state)
{
    (void)state;
    named_other = 2;
    attach_other();
    rt_changes_db_down(&nodes[0].o, &other_db);
    assert_null(rt_changes_project(&nodes[0].o, 1));
    named_other = 1;
    rt_changes_elect(&nodes[0].o);
    assert_true(changes_in("other")->reader == 2);
    attach_other();
    assert_true(rt_changes_is_reader(changes_in("other")));
    assert_string_equal(rt_changes_project(&nodes[0].o, 1), "other");
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
    /* When nobody needs them any more, there is room again. */
    assert_false(try_other());
    rt_changes_node_gone(&nodes[0].o, 2);
    assert_null(rt_changes_project(&nodes[0].o, 1));
    attach_other();
    assert_string_equal(rt_changes_project(&nodes[0].o, 1), "other");
    assert_null(rt_changes_project(&nodes[0].o, 2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_late_project_knows_all, open_world, close_world),
        cmocka_unit_test_setup_teardown(registrations_go_to_their_db, open_world, close_world),
        cmocka_unit_test_setup_teardown(the_db_of_one_ends, open_world, close_world),
        cmocka_unit_test_setup_teardown(each_has_its_reader, open_world, close_world),
        cmocka_unit_test_setup_teardown(changes_carry_their_name, open_world, close_world),
        cmocka_unit_test_setup_teardown(projects_take_turns, open_world, close_world),
        cmocka_unit_test_setup_teardown(who_has_nothing_to_say_holds_up_nobody, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(one_that_hangs_is_cut_whoever_notices, open_world,
                                        close_world),
        cmocka_unit_test_setup_teardown(who_does_not_read_is_not_stopped, open_world, close_world),
        cmocka_unit_test_setup_teardown(an_edge_waits_for_all, open_world, close_world),
        cmocka_unit_test_setup_teardown(a_late_project_forgets_the_absent, open_world, close_world),
        cmocka_unit_test_setup_teardown(one_that_comes_back, open_world, close_world),
        cmocka_unit_test_setup_teardown(too_many_names, open_world, close_world),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
