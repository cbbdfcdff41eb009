/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where frames of changes and of database broadcasts go, one rule at a time; all of them together:
 * test_owner_reader.c.
 */
#include "changes_world.h"

static void one_frame_for_each_that_it_concerns(void **state)
{
    struct pr_frame part;

    (void)state;
    read_changes(9, 50);
    forget_all();
    assert_true(say(0, CHANGE(100, 110, 0, 110, 111, 0, 101, 999, 0, 110, 0, 100, 120, 121)));
    assert_string_equal(rows(&nodes[0].edge_ipc[0].out), "1:100 5:100 /5");
    assert_string_equal(rows(&nodes[0].edge_ipc[1].out), "3:101 /5");
    assert_string_equal(rows(&nodes[0].link[2]), "5:120,121 /5");
    /* What a node gets it splits again. */
    assert_true(fifo_next(&nodes[0].link[1], &part));
    assert_true(from_link(1, 0,
                          FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = 50,
                                .state = PR_READER_HELD, .system = 7)));
    assert_true(from_link(1, 0, &part));
    assert_string_equal(rows(&nodes[1].edge_ipc[0].out), "1:110 2:110 4:110 /5");
    assert_string_equal(rows(&nodes[1].edge_ipc[1].out), "2:111 /5");
    /* For one alone it is passed on as it is, for nobody not at all. */
    assert_true(say(0, CHANGE(999, 111)));
    assert_string_equal(rows(&nodes[0].link[1]), "1:999,111 /1");
    assert_true(say(0, CHANGE(999)));
    /* A position is for all. */
    assert_true(say(0, CHANGE(0)));
    for (uint32_t i = 0; i < EDGES; i++) {
        assert_string_equal(rows(&nodes[0].edge_ipc[i].out), "/0");
    }
    assert_string_equal(rows(&nodes[0].link[1]), "/0");
    assert_string_equal(rows(&nodes[0].link[2]), "/0");
}

static void edges_tell_whoever_asks(void **state)
{
    static const struct pr_chg_unreg unreg = {.boot = 110, .handle = 1};

    (void)state;
    forget_all();
    assert_true(rt_changes_on_edge_frame(&nodes[1].o, &nodes[1].edge[0],
                                         FRAME(chg_unreg, .project = project, .boot = unreg.boot)));
    assert_string_equal(types(&nodes[1].link[0]), ""); /* nobody has asked */
    assert_true(from_link(1, 0, FRAME(chg_sync, .project = project, .round = 9)));
    assert_string_equal(types(&nodes[1].edge_ipc[0].out), "66");
    assert_true(from_link(1, 2, FRAME(chg_sync, .project = project, .round = 8)));
    fifo_clear(&nodes[1].edge_ipc[0].out);
    assert_true(rt_changes_on_edge_frame(&nodes[1].o, &nodes[1].edge[0],
                                         FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[1].link[0]), "64");
    assert_string_equal(types(&nodes[1].link[2]), "64");
    /* An edge that attaches is asked by both. */
    rt_owner_cut(&nodes[1].edge[0], "test");
    attach_edge(&nodes[1], 0, 119);
    assert_string_equal(types(&nodes[1].edge_ipc[0].out), "66 66");
    /* One of them has given it up, the other one has a new link. */
    assert_true(from_link(1, 2, FRAME(reader, .project = project, .state = PR_READER_STOP)));
    rt_changes_link_up(&nodes[1].o, 1);
    assert_true(rt_changes_on_edge_frame(&nodes[1].o, &nodes[1].edge[0],
                                         FRAME(chg_unreg, .project = project, .boot = 119)));
    assert_string_equal(types(&nodes[1].link[0]), "");
    assert_string_equal(types(&nodes[1].link[2]), "");
}

/* One cut in two by the end of a link is no whole answer. */
static void an_answer_to_an_earlier_question(void **state)
{
    (void)state;
    forget_all();
    assert_true(from_link(1, 0, FRAME(chg_sync, .project = project, .round = 9)));
    assert_true(from_link(1, 2, FRAME(chg_sync, .project = project, .round = 8)));
    rt_changes_link_up(&nodes[1].o, 1);
    assert_true(from_link(1, 0, FRAME(chg_sync, .project = project, .round = 9)));
    assert_string_equal(types(&nodes[1].edge_ipc[0].out), "66 66 66");
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(rt_changes_on_edge_frame(
            &nodes[1].o, &nodes[1].edge[0],
            FRAME(chg_synced, .project = project, .boot = 110, .round = 9)));
        assert_string_equal(types(&nodes[1].link[0]), i == 2 ? "67" : "");
        assert_string_equal(types(&nodes[1].link[2]), i == 0 ? "" : "67");
    }
}

static void only_who_is_asked_takes_answers(void **state)
{
    (void)state;
    forget_all();
    assert_true(from_link(0, 1, FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[0].db_ipc.out), ""); /* db has not asked yet */
    read_changes(9, 50);
    assert_true(from_link(0, 1, FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[0].db_ipc.out), "64");
    elect(&nodes[0], 2);
    assert_true(from_link(0, 1, FRAME(chg_unreg, .project = project, .boot = 110)));
    assert_string_equal(types(&nodes[0].db_ipc.out), "63");
    assert_string_equal(types(&nodes[0].link[1]), "66 63 63"); /* asked, held, stopped */
    /* Late words of db: it has been told to stop. */
    assert_true(say(0, FRAME(chg_sync, .project = project, .round = 10)));
    assert_true(say(0, CHANGE(100, 110)));
    assert_string_equal(types(&nodes[0].link[1]), "");
}

/* Of two readers of one server the last one holds the slot; another server is another matter. */
static void terms(void **state)
{
    static const struct {
        uint32_t from, timeline;
        uint64_t lsn, system;
        bool taken;
    } cases[] = {
        {0, 1, 50, 7, true},  {1, 1, 60, 7, true}, {0, 1, 50, 7, false}, {0, 1, 61, 7, true},
        {1, 1, 60, 7, false}, {1, 2, 5, 7, true},  {0, 1, 99, 7, false}, {0, 2, 5, 7, true},
        {1, 1, 1, 8, true},   {1, 1, 1, 8, true},  {1, 1, 2, 8, true},
    };

    (void)state;
    assert_true(from_link(2, 0, CHANGE(120)));
    assert_string_equal(rows(&nodes[2].edge_ipc[0].out), ""); /* no term, no changes */
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_true(from_link(2, cases[i].from,
                              FRAME(reader, .project = project, .term_timeline = cases[i].timeline,
                                    .term_lsn = cases[i].lsn, .state = PR_READER_HELD,
                                    .system = cases[i].system)));
        assert_true(from_link(2, cases[i].from, CHANGE(120)));
        assert_string_equal(rows(&nodes[2].edge_ipc[0].out), cases[i].taken ? "1:120 /1" : "");
    }
}

static void damaged_and_unexpected_frames(void **state)
{
    static const uint8_t from_db[][9] = {
        {0, 0, 0, 5, PR_T_CHG, 2, 0, 0, 0x90},     {0, 0, 0, 5, PR_T_CHG_REG_OK, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_CHG_SYS, 2, 0, 0, 0x90}, {0, 0, 0, 5, PR_T_CHG_SYNC, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_READER, 2, 0, 0, 0x90},  {0, 0, 0, 5, PR_T_SUB, 1, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_CHG_REG, 2, 0, 0, 0x90}, {0, 0, 0, 5, PR_T_CHG_GONE, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_CAST, 2, 0, 0, 0x90},    {0, 0, 0, 5, PR_T_CAST_OK, 2, 0, 0, 0x90},
    };
    static const uint32_t states[] = {PR_READER_START, PR_READER_KNOWN, 99};
    struct pr_frame f;

    (void)state;
    read_changes(9, 50);
    forget_all();
    for (size_t i = 0; i < sizeof from_db / sizeof from_db[0]; i++) {
        assert_true(pr_frame_next(pr_bytes(from_db[i], 9), &f) == 9);
        assert_false(say(0, &f));
        assert_false(from_link(0, 1, &f));
    }
    for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
        assert_false(say(0, FRAME(reader, .project = project, .state = states[i])));
        assert_false(from_link(0, 1, FRAME(reader, .project = project, .state = states[i])));
    }
    assert_false(say(0, FRAME(reader, .project = project, .state = PR_READER_HELD)));
    assert_false(from_link(0, 1, FRAME(reader, .project = project, .state = PR_READER_HELD)));
    /* A target in the middle of a frame. */
    f = *CHANGE(100, 110, 0, 111);
    memory[f.whole.n - 1] = 0xc1;
    assert_false(say(0, &f));
    assert_string_equal(types(&nodes[0].link[1]), "");
    /* A node that nobody has heard of. */
    assert_true(from_link(0, 200, CHANGE(100)));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "");
}

static void read_casts(uint64_t lsn)
{
    assert_true(say(0, FRAME(chg_sync, .project = project, .round = 9)));
    assert_true(say(0, FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = lsn,
                             .state = PR_READER_HELD, .system = 7, .casts = 1)));
}

/* What the database broadcasts goes to one edge as long as it lives; another one gets it anew. */
static void casts_go_to_one_edge(void **state)
{
    const struct pr_slice topic = pr_str("t");

    (void)state;
    forget_all();
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = topic)));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), ""); /* not held yet */
    read_casts(50);
    forget_all();
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = topic)));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "6a");
    assert_string_equal(types(&nodes[0].edge_ipc[1].out), "");
    assert_string_equal(types(&nodes[0].link[1]), "");
    /* Its word is passed on, that of another edge is not. */
    for (uint32_t i = 0; i < EDGES; i++) {
        assert_true(rt_changes_on_edge_frame(&nodes[0].o, &nodes[0].edge[i],
                                             FRAME(cast_ok, .project = project, .stream = 1)));
        assert_string_equal(types(&nodes[0].db_ipc.out), i == 0 ? "6b" : "");
    }
    /* It ends: db is to read again, and what it still says is of no use. */
    rt_owner_cut(&nodes[0].edge[0], "test");
    assert_string_equal(types(&nodes[0].db_ipc.out), "69 63");
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = topic)));
    assert_string_equal(types(&nodes[0].edge_ipc[1].out), "");
    read_casts(60);
    fifo_clear(&nodes[0].edge_ipc[1].out);
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = topic)));
    assert_string_equal(types(&nodes[0].edge_ipc[1].out), "6a");
    /* One that comes meanwhile changes nothing. */
    attach_edge(&nodes[0], 0, 109);
    forget_all();
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = topic)));
    assert_string_equal(types(&nodes[0].edge_ipc[1].out), "6a");
    assert_string_equal(types(&nodes[0].db_ipc.out), "");
}

static void casts_without_any_edge(void **state)
{
    (void)state;
    rt_owner_cut(&nodes[0].edge[0], "test");
    rt_owner_cut(&nodes[0].edge[1], "test");
    read_casts(50);
    forget_all();
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = pr_str("t"))));
    attach_edge(&nodes[0], 1, 109);
    /* Named, and db is told to read again, once. */
    assert_string_equal(types(&nodes[0].db_ipc.out), "67 63");
    attach_edge(&nodes[0], 0, 108);
    assert_string_equal(types(&nodes[0].db_ipc.out), "67");
    /* A standby that was promoted: what the old primary still says is another history. */
    read_casts(60);
    assert_true(from_link(0, 1,
                          FRAME(reader, .project = project, .term_timeline = 2, .term_lsn = 5,
                                .state = PR_READER_HELD, .system = 7)));
    forget_all();
    assert_true(say(0, FRAME(cast, .project = project, .stream = 1, .topic = pr_str("t"))));
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "");
}

/* Edges know whether what the database broadcasts is read. */
static void edges_are_told_of_the_flow(void **state)
{
    struct fifo *edge = &nodes[1].edge_ipc[0].out;

    (void)state;
    read_changes(9, 50); /* without broadcasts */
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "66");
    read_casts(60);
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "66 63");
    fifo_clear(edge);
    assert_true(from_link(1, 0,
                          FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = 60,
                                .state = PR_READER_HELD, .system = 7, .casts = 1)));
    assert_string_equal(types(edge), "63");
    rt_owner_cut(&nodes[1].edge[1], "test");
    attach_edge(&nodes[1], 1, 119);
    assert_string_equal(types(&nodes[1].edge_ipc[1].out), "63");
    /* The same once more is no news; the end of it is. */
    assert_true(from_link(1, 0,
                          FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = 61,
                                .state = PR_READER_HELD, .system = 7, .casts = 1)));
    assert_string_equal(types(edge), "");
    rt_changes_node_gone(&nodes[1].o, 1);
    assert_string_equal(types(edge), "63");
    elect(&nodes[0], 2);
    assert_string_equal(types(&nodes[0].edge_ipc[0].out), "63");
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(one_frame_for_each_that_it_concerns),
        IN_WORLD(edges_tell_whoever_asks),
        IN_WORLD(an_answer_to_an_earlier_question),
        IN_WORLD(only_who_is_asked_takes_answers),
        IN_WORLD(terms),
        IN_WORLD(damaged_and_unexpected_frames),
        IN_WORLD(casts_go_to_one_edge),
        IN_WORLD(casts_without_any_edge),
        IN_WORLD(edges_are_told_of_the_flow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
