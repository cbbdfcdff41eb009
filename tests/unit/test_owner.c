/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole owner process, forked, and the test as its edges, its db and realtimectl on blocking
 * sockets. What passes between edges and db, who is cut for what, and who is told.
 */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cluster/hash.h"
#include "node/base/alloc.h"
#include "node/owner/owner.h"
#include "proto/mesh_node.h"

/* Ends a test that hangs; nothing waits for it otherwise. */
#define DEADLINE_MS 20000

struct world {
    char dir[40];
    pid_t pid;
};

/* One connection. Frames are handed out in place of `in`. */
struct link {
    int fd;
    uint8_t in[65536];
    size_t len, used;
};

static int run_owner(const struct world *w)
{
    char dir[60];
    char node[] = "n1";
    char level[] = "error";
    struct rt_config cfg = {.edges = 3,
                            .node = node,
                            .log_level = level,
                            .runtime_dir = dir,
                            .project = "default",
                            .max_topics = 1000,
                            .max_presences = 1000,
                            .max_presences_per_topic = 100};
    struct rt_metrics metrics;
    struct rt_role_args args = {.role = RT_OWNER, .boot = 1, .listen_fd = -1, .admin_fd = -1};
    int code;

    (void)snprintf(dir, sizeof dir, "%s", w->dir);
    cfg.projects = &cfg;
    cfg.nprojects = 1;
    args.heart_fd = -1;
    args.log = rt_log_new(STDERR_FILENO, RT_ERROR, "n1", "owner");
    args.metrics = &metrics;
    rt_metrics_private(&metrics);
    code = rt_owner_main(&cfg, &args);
    rt_metrics_close(&metrics);
    rt_log_free(args.log);
    return code;
}

static int open_world(void **state)
{
    struct world *w = rt_calloc(1, sizeof *w);

    (void)snprintf(w->dir, sizeof w->dir, "/tmp/realtime-owner-XXXXXX");
    if (mkdtemp(w->dir) == NULL) {
        return -1;
    }
    w->pid = fork();
    if (w->pid == 0) {
        struct world copy = *w;

        rt_free(w); /* a sanitizer build looks for leaks in the child too */
        exit(run_owner(&copy));
    }
    *state = w;
    return w->pid == -1;
}

static int close_world(void **state)
{
    static const char *const names[] = {"owner.sock", "control.sock"};
    struct world *w = *state;
    char path[60];
    int status = -1;

    (void)kill(w->pid, SIGTERM);
    (void)waitpid(w->pid, &status, 0);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(w->dir);
    rt_free(w);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* The owner may still be starting: until its socket is there, the file is looked for again. */
static struct link *dial(const struct world *w, const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct link *l = rt_calloc(1, sizeof *l);

    l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/%s", w->dir, name);
    for (int waited = 0; connect(l->fd, (struct sockaddr *)&addr, sizeof addr) != 0; waited++) {
        assert_true(waited < DEADLINE_MS);
        (void)poll(NULL, 0, 1);
    }
    return l;
}

static void hang_up(struct link *l)
{
    (void)close(l->fd);
    rt_free(l);
}

static void say(struct link *l, const struct pr_outbuf *o)
{
    assert_true(pr_out_ok(o));
    assert_int_equal(send(l->fd, o->p, o->len, MSG_NOSIGNAL), (ssize_t)o->len);
}

/* Next frame, or false at the end of the connection. */
static bool hear(struct link *l, struct pr_frame *f)
{
    for (;;) {
        long n = pr_frame_next(pr_bytes(l->in + l->used, l->len - l->used), f);
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        ssize_t got;

        assert_true(n >= 0);
        if (n > 0) {
            l->used += (size_t)n;
            return true;
        }
        memmove(l->in, l->in + l->used, l->len - l->used);
        l->len -= l->used;
        l->used = 0;
        assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
        got = recv(l->fd, l->in + l->len, sizeof l->in - l->len, 0);
        if (got <= 0) {
            return false;
        }
        l->len += (size_t)got;
    }
}

/* Skips frames of other types (digests, views). */
static void hear_type(struct link *l, uint8_t type, struct pr_frame *f)
{
    do {
        assert_true(hear(l, f));
    } while (f->type != type);
}

static void hear_end(struct link *l)
{
    struct pr_frame f;

    while (hear(l, &f)) {
    }
}

static struct link *attach(const struct world *w, uint32_t role, uint32_t index, uint64_t boot)
{
    struct link *l = dial(w, "owner.sock");
    struct pr_hello m = {
        .proto_min = 1, .proto_max = 9, .role = role, .index = index, .boot = boot};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_hello_ok ok;
    struct pr_frame f;

    m.project = pr_str(role == PR_ROLE_DB ? "default" : "");
    pr_hello_encode(&o, &m);
    say(l, &o);
    hear_type(l, PR_T_HELLO_OK, &f);
    assert_int_equal(pr_hello_ok_decode(&f, &ok), PR_OK);
    assert_int_equal(ok.proto, 1);
    assert_true(pr_slice_is(ok.name, "n1"));
    assert_true(ok.node != 0 && ok.epoch != 0);
    return l;
}

/* Says something whose answer proves that all said before on this link has been taken. */
static void settle(struct link *l, const char *topic)
{
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_sub sub = {.topic = pr_str(topic)};
    struct pr_frame f;

    pr_sub_encode(&o, &sub);
    say(l, &o);
    hear_type(l, PR_T_SUB_OK, &f);
}

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

/* One question of realtimectl; rows joined, the end consumed. */
static void ask_start(struct link *l, const char *cmd, const char *args)
{
    struct pr_ctl m = {.id = 4, .cmd = pr_str(cmd), .args = pr_str(args)};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_ctl_encode(&o, &m);
    say(l, &o);
}

static void ask_end(struct link *l, char *rows, size_t cap)
{
    struct pr_ctl_reply m = {.last = false};
    struct pr_frame f;
    size_t n = 0;

    while (!m.last) {
        hear_type(l, PR_T_CTL_REPLY, &f);
        assert_int_equal(pr_ctl_reply_decode(&f, &m), PR_OK);
        assert_int_equal(m.id, 4);
        assert_true(m.rows.n < cap - n);
        memcpy(rows + n, m.rows.p, m.rows.n);
        n += m.rows.n;
    }
    rows[n] = '\0';
    hang_up(l);
}

static void answer(struct link *l, const char *cmd, const char *rows)
{
    struct pr_ctl_reply r = {.last = true, .rows = pr_str(rows)};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;
    struct pr_ctl q;

    hear_type(l, PR_T_CTL, &f);
    assert_int_equal(pr_ctl_decode(&f, &q), PR_OK);
    assert_true(pr_slice_is(q.cmd, cmd));
    r.id = q.id;
    pr_ctl_reply_encode(&o, &r);
    say(l, &o);
}

static void answers_realtimectl(void **state)
{
    struct world *w = *state;
    struct link *a = attach(w, PR_ROLE_EDGE, 0, 100);
    struct link *b = attach(w, PR_ROLE_EDGE, 1, 101);
    struct link *db;
    struct link *ctl;
    static const char key[] = "default\0000room";
    struct pr_sub sub = {.topic = {(const uint8_t *)key, sizeof key - 1}};
    uint8_t bytes[64];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;
    char rows[4096];

    pr_sub_encode(&o, &sub);
    say(a, &o);
    hear_type(a, PR_T_SUB_OK, &f);
    ctl = dial(w, "control.sock");
    ask_start(ctl, "topics", "{}");
    answer(a, "topics", "{\"edge\":0,\"topic\":\"room\",\"members\":2}\n");
    answer(b, "topics", "");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"topic\":\"room\",\"project\":\"default\",\"private\":false"));

    ctl = dial(w, "control.sock");
    ask_start(ctl, "connections", "{}");
    answer(a, "connections", "{\"edge\":0}\n");
    answer(b, "connections", "{\"edge\":1}\n");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "{\"node\":\"n1\",\"edge\":0}\n"));
    assert_non_null(strstr(rows, "{\"node\":\"n1\",\"edge\":1}\n"));

    ctl = dial(w, "control.sock");
    ask_start(ctl, "slots", "{}");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"error\":\"the db process is not attached\""));
    db = attach(w, PR_ROLE_DB, 0, 1);
    ctl = dial(w, "control.sock");
    ask_start(ctl, "slots", "{}");
    answer(db, "slots", "{\"state\":\"held\"}\n");
    ask_end(ctl, rows, sizeof rows);
    assert_string_equal(rows, "{\"node\":\"n1\",\"state\":\"held\"}\n");

    ctl = dial(w, "control.sock");
    ask_start(ctl, "nonsense", "{}");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"error\":\"unknown command\""));
    ctl = dial(w, "control.sock");
    ask_start(ctl, "presence", "[}");
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "\"error\""));

    /* An edge that ends while it is asked is named; the others' rows are there. */
    ctl = dial(w, "control.sock");
    ask_start(ctl, "channels", "{}");
    answer(a, "channels", "{\"edge\":0}\n");
    hear_type(b, PR_T_CTL, &f);
    hang_up(b);
    ask_end(ctl, rows, sizeof rows);
    assert_non_null(strstr(rows, "{\"node\":\"n1\",\"edge\":0}\n"));
    assert_non_null(strstr(rows, "edge 1 ended while it was asked"));

    /* A stream is cancelled when its asker goes. */
    ctl = dial(w, "control.sock");
    ask_start(ctl, "sub", "{\"topic\":\"room\"}");
    hear_type(a, PR_T_CTL, &f);
    hang_up(ctl);
    hear_type(a, PR_T_CTL, &f);
    hang_up(a);
    hang_up(db);
}

static void a_silent_edge_is_named_in_time(void **state)
{
    struct world *w = *state;
    struct link *a = attach(w, PR_ROLE_EDGE, 2, 100);
    struct link *ctl = dial(w, "control.sock");
    char rows[512];

    ask_start(ctl, "connections", "{}");
    ask_end(ctl, rows, sizeof rows);
    assert_string_equal(rows, "{\"node\":\"n1\",\"error\":\"edge 2 did not answer in time\"}\n");
    hang_up(a);
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
        IN_WORLD(answers_realtimectl),
        IN_WORLD(a_silent_edge_is_named_in_time),
        IN_WORLD(an_edge_that_comes_back_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
