/* SPDX-License-Identifier: Apache-2.0 */
/* What passes between edges and db of an owner process, who is cut for what, and who is told. */
#include "forked_world.h"

#include "cluster/hash.h"

static void a_publish_reaches_the_subscriber(void **state)
{
    struct world *w = *state;
    struct link *a = attach(w, PR_ROLE_EDGE, 0, 100);
    struct link *b = attach(w, PR_ROLE_EDGE, 1, 101);
    struct link *c = attach(w, PR_ROLE_EDGE, 2, 102);
    struct pr_pub pub = {.part = cl_partition(pr_str("t")),
                         .topic = pr_str("t"),
                         .boot = 100,
                         .oseq = 1,
                         .payload = pr_str("hello")};
    struct link *all[] = {a, b, c};
    uint8_t bytes[256];
    struct pr_outbuf o;
    struct pr_event ev;
    struct pr_frame f;

    for (size_t i = 0; i < 3; i++) {
        o = pr_outbuf(bytes, sizeof bytes);
        pr_attached_encode(&o);
        say(all[i], &o);
    }
    settle(b, "t");
    o = pr_outbuf(bytes, sizeof bytes);
    pr_pub_encode(&o, &pub);
    say(a, &o);
    hear_type(b, PR_T_EVENT, &f);
    assert_int_equal(pr_event_decode(&f, &ev), PR_OK);
    assert_true(pr_slice_is(ev.payload, "hello"));
    assert_int_equal(ev.boot, 100);
    hear_type(a, PR_T_PUB_OK, &f);
    for (size_t i = 0; i < 3; i++) {
        hang_up(all[i]);
    }
}

/* db says that it reads: what it was told by `state`, and then an edge that was named. */
static void hear_reader(struct link *db, uint32_t state)
{
    struct pr_reader m;
    struct pr_frame f;

    hear_type(db, PR_T_READER, &f);
    assert_int_equal(pr_reader_decode(&f, &m), PR_OK);
    assert_int_equal(m.state, state);
}

static void hear_named(struct link *db, uint64_t boot)
{
    struct pr_chg_synced m;
    struct pr_frame f;

    hear_type(db, PR_T_CHG_SYNCED, &f);
    assert_int_equal(pr_chg_synced_decode(&f, &m), PR_OK);
    assert_int_equal(m.boot, boot);
    assert_int_equal(m.round, 0);
}

static void hear_asked(struct link *edge, uint64_t round)
{
    struct pr_chg_sync m;
    struct pr_frame f;

    hear_type(edge, PR_T_CHG_SYNC, &f);
    assert_int_equal(pr_chg_sync_decode(&f, &m), PR_OK);
    assert_int_equal(m.round, round);
}

/* db asks edges for registrations and takes the slot, in this term. */
static void read_changes(struct link *db, uint64_t round, uint64_t lsn)
{
    struct pr_chg_sync sync = {.project = pr_str("default"), .round = round};
    struct pr_reader held = {.project = pr_str("default"),
                             .term_timeline = 1,
                             .term_lsn = lsn,
                             .state = PR_READER_HELD,
                             .system = 7};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_chg_sync_encode(&o, &sync);
    pr_reader_encode(&o, &held);
    say(db, &o);
}

static void changes_go_where_they_belong(void **state)
{
    struct world *w = *state;
    struct link *db = attach(w, PR_ROLE_DB, 0, 1);
    struct link *a = attach(w, PR_ROLE_EDGE, 0, 100);
    struct link *b;
    struct pr_chg_reg reg = {.project = pr_str("default"),
                             .boot = 100,
                             .handle = 5,
                             .event = pr_str("*"),
                             .schema = pr_str("public"),
                             .table = pr_str("t"),
                             .role = pr_str("anon"),
                             .claims = pr_str("{}")};
    struct pr_chg_reg_ok reg_ok = {.project = pr_str("default"), .boot = 100, .handle = 5};
    struct pr_chg_body body = {.pos = {2, 0}, .kind = PR_K_INSERT, .data = pr_str("{}")};
    struct pr_chg chg = {.project = pr_str("default"), .stream = 3, .last = {2, 0}, .nbodies = 1};
    struct pr_chg_gone gone;
    uint8_t bytes[1024], packed[256], targets[64];
    struct pr_outbuf o, p, t;
    struct pr_frame f;

    hear_reader(db, PR_READER_START);
    hear_named(db, 100);
    read_changes(db, 9, 50);
    hear_asked(a, 9);
    b = attach(w, PR_ROLE_EDGE, 1, 101);
    hear_asked(b, 9); /* it comes later, and is asked as well */
    hear_named(db, 101);

    /* A registration reaches db, the verdict its edge alone. */
    o = pr_outbuf(bytes, sizeof bytes);
    pr_chg_reg_encode(&o, &reg);
    say(a, &o);
    hear_type(db, PR_T_CHG_REG, &f);
    assert_int_equal(f.whole.n, o.len);
    assert_memory_equal(f.whole.p, bytes, o.len); /* passed on unread */
    o = pr_outbuf(bytes, sizeof bytes);
    pr_chg_reg_ok_encode(&o, &reg_ok);

    /* A change for b, then one position for all. */
    t = pr_outbuf(targets, sizeof targets);
    pr_chg_target_put(&t, 101, 8);
    body.ntargets = 1;
    body.targets = pr_bytes(targets, t.len);
    p = pr_outbuf(packed, sizeof packed);
    pr_chg_body_put(&p, &body);
    chg.bodies = pr_bytes(packed, p.len);
    pr_chg_encode(&o, &chg);
    chg.nbodies = 0;
    chg.bodies = pr_bytes(NULL, 0);
    pr_chg_encode(&o, &chg);
    say(db, &o);

    hear_type(a, PR_T_CHG_REG_OK, &f);
    hear_type(a, PR_T_CHG, &f);
    assert_int_equal(pr_chg_decode(&f, &chg), PR_OK);
    assert_int_equal(chg.nbodies, 0);
    hear_type(b, PR_T_CHG, &f);
    assert_int_equal(pr_chg_decode(&f, &chg), PR_OK);
    assert_int_equal(chg.nbodies, 1);
    hear_type(b, PR_T_CHG, &f);

    /* db hears of an edge that is gone, and when all edges that there should be are there. */
    hang_up(a);
    hear_type(db, PR_T_CHG_GONE, &f);
    assert_int_equal(pr_chg_gone_decode(&f, &gone), PR_OK);
    assert_int_equal(gone.boot, 100);
    a = attach(w, PR_ROLE_EDGE, 0, 102);
    hear_named(db, 102);
    settle(a, "t");
    hang_up(attach(w, PR_ROLE_EDGE, 2, 103));
    hear_named(db, 103);
    hear_reader(db, PR_READER_KNOWN);
    hang_up(a);
    hang_up(b);
    hang_up(db);
}

/* The connection of a living edge ended, and changes on their way with it. */
static void an_edge_that_comes_back_is_told(void **state)
{
    struct world *w = *state;
    struct link *db = attach(w, PR_ROLE_DB, 0, 1);
    struct link *a = attach(w, PR_ROLE_EDGE, 0, 100);
    struct pr_chg_sys sys;
    struct pr_frame f;

    hear_reader(db, PR_READER_START);
    hear_named(db, 100);
    read_changes(db, 9, 50);
    hear_asked(a, 9);
    hang_up(a);
    hear_type(db, PR_T_CHG_GONE, &f);
    a = attach(w, PR_ROLE_EDGE, 0, 100);
    hear_named(db, 100);
    hear_asked(a, 9);
    hear_type(a, PR_T_CHG_SYS, &f);
    assert_int_equal(pr_chg_sys_decode(&f, &sys), PR_OK);
    assert_true(!sys.ok && sys.boot == 100);
    assert_true(
        pr_slice_is(sys.message, "Changes may be missing: the server was cut off for a while"));
    /* a new db process begins from the start */
    hang_up(db);
    db = attach(w, PR_ROLE_DB, 0, 2);
    hear_reader(db, PR_READER_START);
    hear_named(db, 100);
    read_changes(db, 11, 60);
    hear_asked(a, 11);
    hang_up(a);
    hang_up(db);
}

static void a_new_process_takes_the_place_of_the_old(void **state)
{
    struct world *w = *state;
    struct link *old = attach(w, PR_ROLE_EDGE, 0, 100);
    struct link *new = attach(w, PR_ROLE_EDGE, 0, 200);
    struct link *old_db = attach(w, PR_ROLE_DB, 0, 1);
    struct link *new_db = attach(w, PR_ROLE_DB, 0, 2);

    hear_end(old);
    hear_end(old_db);
    settle(new, "t");
    hang_up(old);
    hang_up(new);
    hang_up(old_db);
    hang_up(new_db);
}

/* First words that are no HELLO of this node. */
static void strangers_are_cut(void **state)
{
    struct world *w = *state;
    struct link *good = attach(w, PR_ROLE_EDGE, 0, 100);
    struct pr_hello wrong[] = {
        {.proto_min = 2, .proto_max = 9, .role = PR_ROLE_EDGE, .boot = 1},
        {.proto_min = 0, .proto_max = 0, .role = PR_ROLE_EDGE, .boot = 1},
        {.proto_min = 1, .proto_max = 1, .role = PR_ROLE_EDGE, .index = 3, .boot = 1},
        {.proto_min = 1, .proto_max = 1, .role = PR_ROLE_OWNER, .boot = 1},
    };
    static const char *const bytes[] = {"\377\377\377\377\377\377\377\377",
                                        "GET / HTTP/1.1\r\n\r\n", "\0\0\0\5\1\1\0\0\220"};
    const size_t lens[] = {8, 18, 9};

    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct link *l = dial(w, "owner.sock");
        uint8_t out[64];
        struct pr_outbuf o = pr_outbuf(out, sizeof out);

        pr_hello_encode(&o, &wrong[i]);
        say(l, &o);
        hear_end(l);
        hang_up(l);
    }
    for (size_t i = 0; i < 3; i++) {
        struct link *l = dial(w, "owner.sock");

        assert_int_equal(send(l->fd, bytes[i], lens[i], MSG_NOSIGNAL), (ssize_t)lens[i]);
        hear_end(l);
        hang_up(l);
    }
    settle(good, "t");
    hang_up(good);
}

/* Frames that this peer may not send, or that are damaged inside. */
static void bad_frames_cut_their_sender_alone(void **state)
{
    static const uint8_t edge_bad[][9] = {
        {0, 0, 0, 5, PR_T_CHG, 2, 0, 0, 0x90},     /* only db says that */
        {0, 0, 0, 5, PR_T_SUB, 1, 0, 0, 0xc1},     /* no array */
        {0, 0, 0, 5, PR_T_PUB, 4, 0, 0, 0x90},     /* fields missing */
        {0, 0, 0, 5, 0xee, 1, 0, 0, 0x90},         /* a type nobody knows */
        {0, 0, 0, 5, PR_T_HELLO, 1, 0, 0, 0x90},   /* once is enough */
        {0, 0, 0, 5, PR_T_P_DELTA, 3, 0, 0, 0x90}, /* fields missing */
    };
    static const uint8_t db_bad[][9] = {
        {0, 0, 0, 5, PR_T_CHG, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_CHG_REG_OK, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_CHG_SYS, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_CHG_SYNC, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_READER, 2, 0, 0, 0x90},
        {0, 0, 0, 5, PR_T_SUB, 1, 0, 0, 0x90}, /* only edges say that */
    };
    struct world *w = *state;
    struct link *good = attach(w, PR_ROLE_EDGE, 0, 100);

    for (size_t i = 0; i < sizeof edge_bad / sizeof edge_bad[0]; i++) {
        struct link *l = attach(w, PR_ROLE_EDGE, 1, 200 + i);

        assert_int_equal(send(l->fd, edge_bad[i], 9, MSG_NOSIGNAL), 9);
        hear_end(l);
        hang_up(l);
    }
    for (size_t i = 0; i < sizeof db_bad / sizeof db_bad[0]; i++) {
        struct link *l = attach(w, PR_ROLE_DB, 0, 300 + i);

        assert_int_equal(send(l->fd, db_bad[i], 9, MSG_NOSIGNAL), 9);
        hear_end(l);
        hang_up(l);
    }
    settle(good, "t");
    hang_up(good);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(a_publish_reaches_the_subscriber),
        IN_WORLD(changes_go_where_they_belong),
        IN_WORLD(a_new_process_takes_the_place_of_the_old),
        IN_WORLD(strangers_are_cut),
        IN_WORLD(bad_frames_cut_their_sender_alone),
        IN_WORLD(an_edge_that_comes_back_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
