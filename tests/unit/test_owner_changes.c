/* SPDX-License-Identifier: Apache-2.0 */
/* Where frames of changes go, one rule at a time; all of them together: test_owner_reader.c. */
#include "owner_world.h"
#include "proto/mesh_cast.h"
#include "proto/mesh_node.h"

#define MIB ((size_t)1024 * 1024)

static const struct pr_slice project = {(const uint8_t *)"default", 7};
static uint8_t memory[65536];
static struct pr_frame frame;

/* The bytes that `o` holds, as a frame. */
static const struct pr_frame *framed(const struct pr_outbuf *o)
{
    assert_true(pr_out_ok(o));
    assert_true(pr_frame_next(pr_bytes(o->p, o->len), &frame) == (long)o->len);
    return &frame;
}
#define FRAME(name, ...)                                                                           \
    (put = pr_outbuf(memory, sizeof memory),                                                       \
     pr_##name##_encode(&put, &(struct pr_##name){__VA_ARGS__}), framed(&put))
static struct pr_outbuf put;

/* Boots: node * 10 + edge + 100. All attached, all linked, node 0 reads. */
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
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < NODES; n++) {
        close_node(n);
    }
    return 0;
}

static bool say(uint32_t node, const struct pr_frame *f)
{
    return rt_changes_on_db_frame(&nodes[node].o, &nodes[node].db, f);
}

static bool from_link(uint32_t to, uint32_t from, const struct pr_frame *f)
{
    return rt_changes_on_link_frame(&nodes[to].o, from + 1, f);
}

static void read_changes(uint64_t round, uint64_t lsn)
{
    assert_true(say(0, FRAME(chg_sync, .project = project, .round = round)));
    assert_true(say(0, FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = lsn,
                             .state = PR_READER_HELD, .system = 7)));
}

/* Types in a queue as text, which is emptied: "66 63 61". */
static const char *types(struct fifo *q)
{
    static char text[1024];
    struct pr_frame f;
    size_t n = 0;

    text[0] = '\0';
    while (fifo_next(q, &f)) {
        n += (size_t)snprintf(text + n, sizeof text - n, n == 0 ? "%02x" : " %02x", f.type);
    }
    return text;
}

static void forget_all(void)
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
}

/* Rows 1, 2, ... with these targets; a row ends with 0, all with two. */
static const struct pr_frame *change(const uint64_t *boots)
{
    static uint8_t bodies[8192], targets[1024];
    struct pr_outbuf b = pr_outbuf(bodies, sizeof bodies);
    struct pr_chg m = {.project = project, .stream = 3};

    while (*boots != 0) {
        struct pr_outbuf t = pr_outbuf(targets, sizeof targets);
        struct pr_chg_body body = {.kind = PR_K_INSERT, .data = pr_str("{\"a\":1}")};

        for (; *boots != 0; boots++) {
            pr_chg_target_put(&t, *boots, 1);
            body.ntargets++;
        }
        boots++;
        m.nbodies++;
        body.pos.lsn = m.nbodies;
        body.targets = pr_bytes(targets, t.len);
        pr_chg_body_put(&b, &body);
    }
    m.bodies = pr_bytes(bodies, b.len);
    m.last.lsn = m.nbodies;
    put = pr_outbuf(memory, sizeof memory);
    pr_chg_encode(&put, &m);
    return framed(&put);
}
#define CHANGE(...) change((const uint64_t[]){__VA_ARGS__, 0, 0})
/* The edge has taken everything up to there. */
#define OK_OF(edge, at)                                                                            \
    FRAME(chg_ok, .project = project, .boot = (edge), .stream = 3, .pos = {.lsn = (at)})

/* The one CHG frame of a queue as "1:100,101 3:101", last position at the end. */
static const char *rows(struct fifo *q)
{
    static char text[1024];
    struct pr_chg_body body;
    struct pr_frame f;
    struct pr_chg m;
    size_t n = 0;

    text[0] = '\0';
    if (!fifo_next(q, &f)) {
        return text;
    }
    assert_int_equal(f.type, PR_T_CHG);
    assert_int_equal(pr_chg_decode(&f, &m), PR_OK);
    assert_true(m.stream == 3 && pr_slice_eq(m.project, project));
    while (pr_chg_bodies_next(&m.bodies, &body) == 1) {
        uint64_t boot = 0;
        uint32_t handle = 0;
        char sign = ':';

        assert_true(pr_slice_is(body.data, "{\"a\":1}"));
        n += (size_t)snprintf(text + n, sizeof text - n, "%u", (unsigned)body.pos.lsn);
        while (pr_chg_targets_next(&body.targets, &boot, &handle) == 1) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%c%u", sign, (unsigned)boot);
            sign = ',';
        }
        n += (size_t)snprintf(text + n, sizeof text - n, " ");
    }
    (void)snprintf(text + n, sizeof text - n, "/%u", (unsigned)m.last.lsn);
    assert_false(fifo_next(q, &f));
    return text;
}

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
        IN_WORLD(one_frame_for_each_that_it_concerns),
        IN_WORLD(edges_tell_whoever_asks),
        IN_WORLD(an_answer_to_an_earlier_question),
        IN_WORLD(only_who_is_asked_takes_answers),
        IN_WORLD(terms),
        IN_WORLD(damaged_and_unexpected_frames),
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
        IN_WORLD(casts_go_to_one_edge),
        IN_WORLD(casts_without_any_edge),
        IN_WORLD(edges_are_told_of_the_flow),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
