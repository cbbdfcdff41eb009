/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Questions of realtimectl over nodes: who is asked, who is told what, who is named; what a node
 * that is slow, gone, full or wrong can do to an answer. Links, edges, timers and the core are
 * stood in for here, so that every order of events can be made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/events.h"
#include "node/owner/changes.h"
#include "node/owner/look.h"
#include "node/owner/nodes.h"

#define TEXT_CAP 65536u

struct rt_asker {
    void *user;
    char rows[TEXT_CAP];
    size_t queued;
    bool ended;
};

/* A frame to an edge, to db or to a node. */
struct sent {
    uint64_t to; /* id of a node; an index of an edge; RT_EDGES_MAX: db */
    bool link, last;
    uint32_t id;
    char cmd[32];
    char rows[512];
};

struct rt_ipc {
    uint64_t name;
    uint8_t bytes[4096];
};

static struct {
    struct owner o;
    struct rt_config cfg;
    struct rt_role_args args;
    struct rt_metrics metrics;
    struct peer peer[3], other; /* the last one is not attached at first */
    struct rt_ipc ipc[3];
    struct cl_member_row member[4];
    uint32_t nmembers;
    uint32_t topics; /* how many the core tells of */
    uint32_t nprojects;
    bool link_full, link_refuses;
    struct sent sent[300];
    uint32_t nsent;
    uint32_t warnings;
} w;

/* ---- what stands in ---- */

void rt_timer_init(struct rt_loop *l, struct rt_timer *t, void (*fn)(void *ctx), void *ctx)
{
    (void)l;
    t->fn = fn;
    t->ctx = ctx;
}

void rt_timer_set(struct rt_timer *t, uint64_t ms)
{
    t->uv.timeout = ms;
}

void rt_timer_clear(struct rt_timer *t)
{
    t->uv.timeout = 0;
}

void rt_timer_close(struct rt_timer *t, void (*done)(void *ctx))
{
    if (done != NULL) {
        done(t->ctx);
    }
}

uint64_t rt_now_ms(const struct rt_loop *l)
{
    (void)l;
    return 1000;
}

uint64_t rt_wall_ms(void)
{
    return UINT64_C(1700000000000);
}

void rt_log_fields(struct rt_log *log, enum rt_log_level level, const char *ev,
                   const struct rt_kv *fields)
{
    (void)log;
    (void)ev;
    (void)fields;
    w.warnings += level == RT_WARN;
}

void rt_asker_rows(struct rt_asker *a, struct pr_slice rows)
{
    size_t n = strlen(a->rows);

    assert_false(a->ended);
    assert_true(n + rows.n < TEXT_CAP);
    memcpy(a->rows + n, rows.p, rows.n);
    a->rows[n + rows.n] = '\0';
}

void rt_asker_end(struct rt_asker *a)
{
    assert_false(a->ended);
    a->ended = true;
}

size_t rt_asker_queued(const struct rt_asker *a)
{
    return a->queued;
}

void rt_asker_set_user(struct rt_asker *a, void *user)
{
    a->user = user;
}

void *rt_asker_user(const struct rt_asker *a)
{
    return a->user;
}

static struct rt_control_events control;

struct rt_control_server *rt_control_listen(struct rt_loop *l, const char *path,
                                            const struct rt_control_events *ev, void *ctx,
                                            struct rt_error *err)
{
    (void)l;
    (void)path;
    (void)ctx;
    (void)err;
    control = *ev;
    return (struct rt_control_server *)&control;
}

void rt_control_close(struct rt_control_server *s)
{
    (void)s;
}

static void note(uint64_t to, bool link, struct pr_slice bytes)
{
    struct sent *s = &w.sent[w.nsent++ % 300];
    struct pr_ctl_reply reply;
    struct pr_frame f;
    struct pr_ctl m;

    *s = (struct sent){.to = to, .link = link};
    assert_true(pr_frame_next(bytes, &f) > 0);
    if (f.type == PR_T_CTL) {
        assert_int_equal(pr_ctl_decode(&f, &m), PR_OK);
        s->id = m.id;
        (void)snprintf(s->cmd, sizeof s->cmd, "%.*s", (int)m.cmd.n, (const char *)m.cmd.p);
    } else {
        assert_int_equal(pr_ctl_reply_decode(&f, &reply), PR_OK);
        s->id = reply.id;
        s->last = reply.last;
        (void)snprintf(s->rows, sizeof s->rows, "%.*s", (int)reply.rows.n,
                       (const char *)reply.rows.p);
    }
}

struct pr_outbuf rt_ipc_reserve(struct rt_ipc *ipc, size_t n, bool *ok)
{
    *ok = n <= sizeof ipc->bytes;
    return pr_outbuf(ipc->bytes, sizeof ipc->bytes);
}

void rt_ipc_commit(struct rt_ipc *ipc, const struct pr_outbuf *o)
{
    note(ipc->name, false, pr_bytes(o->p, o->len));
}

bool rt_owner_link_send(struct owner *o, uint64_t node_id, struct pr_slice frame)
{
    (void)o;
    if (!w.link_refuses) {
        note(node_id, true, frame);
    }
    return !w.link_refuses;
}

size_t rt_owner_link_waits(const struct owner *o, uint64_t node_id)
{
    (void)o;
    (void)node_id;
    return w.link_full ? RT_ASK_FAR_BYTES + 1 : 0;
}

const struct rt_mesh *rt_nodes_mesh(const struct nodes *n)
{
    (void)n;
    return NULL;
}

const struct rt_mesh_udp *rt_nodes_udp(const struct nodes *n)
{
    (void)n;
    return NULL;
}

const struct rt_keyring *rt_nodes_keys(const struct nodes *n)
{
    (void)n;
    return NULL;
}

void rt_mesh_each(const struct rt_mesh *m, void (*fn)(void *ctx, const struct rt_mesh_link_info *l),
                  void *ctx)
{
    (void)m;
    (void)fn;
    (void)ctx;
}

struct rt_mesh_udp_counts rt_mesh_udp_counts(const struct rt_mesh_udp *u)
{
    (void)u;
    return (struct rt_mesh_udp_counts){0};
}

const char *rt_seal_verdict_name(enum rt_seal_verdict v)
{
    (void)v;
    return "";
}

void cl_inspect_members(const struct cl *cl, cl_member_fn emit, void *ctx)
{
    (void)cl;
    for (uint32_t i = 0; i < w.nmembers; i++) {
        emit(ctx, &w.member[i]);
    }
}

void cl_inspect_topics(const struct cl *cl, cl_topic_fn emit, void *ctx)
{
    static const char key[] = "default\0000t";
    struct cl_topic_row row = {.topic = pr_bytes(key, sizeof key - 1), .owner = 2};

    (void)cl;
    for (uint32_t i = 0; i < w.topics; i++) {
        emit(ctx, &row);
    }
}

void cl_inspect_topic(const struct cl *cl, struct pr_slice topic, cl_topic_fn emit, void *ctx)
{
    (void)topic;
    cl_inspect_topics(cl, emit, ctx);
}

void cl_inspect_presence(const struct cl *cl, struct pr_slice topic, cl_presence_fn emit, void *ctx)
{
    struct cl_presence_row row = {
        .topic = topic, .key = pr_str("k"), .meta = pr_str("{\n\"a\":\r1}"), .visible = true};

    (void)cl;
    if (topic.n > 0 && topic.p[8] == '0') { /* the public one */
        emit(ctx, &row);
    }
}

uint64_t cl_home_of(const struct cl *cl, uint64_t boot)
{
    (void)cl;
    (void)boot;
    return 0;
}

void cl_stats(const struct cl *cl, struct cl_stats *out)
{
    (void)cl;
    *out = (struct cl_stats){0};
}

uint64_t cl_view(const struct cl *cl)
{
    (void)cl;
    return 5;
}

uint64_t cl_owner_of(const struct cl *cl, uint32_t part)
{
    (void)cl;
    (void)part;
    return 2;
}

uint32_t cl_rank_of(const struct cl *cl, uint32_t part, uint64_t *ids, uint32_t k)
{
    (void)cl;
    (void)part;
    assert_true(k >= 2);
    ids[0] = 2;
    ids[1] = 1;
    return 2;
}

const char *rt_changes_project(const struct owner *o, uint32_t i)
{
    static const char *const names[] = {"default", "other"};

    (void)o;
    return i < w.nprojects ? names[i] : NULL;
}

struct peer *rt_changes_db(const struct owner *o, struct pr_slice project)
{
    return pr_slice_is(project, "default") ? o->db[0] : o->db[1];
}

bool cl_joined(const struct cl *cl)
{
    (void)cl;
    return true;
}

/* ---- the world: n1 asks, n2 and n3 are linked, n4 is dead ---- */

static int open_world(void **state)
{
    static char node[] = "n1";
    static char dir[] = "/nowhere";
    static const char *const names[] = {"n1", "n2", "n3", "n4"};
    struct rt_error err = {0};

    (void)state;
    memset(&w, 0, sizeof w);
    w.cfg.node = node;
    w.cfg.runtime_dir = dir;
    (void)snprintf(w.cfg.project, sizeof w.cfg.project, "default");
    w.cfg.edges = 2;
    w.cfg.projects = &w.cfg;
    w.cfg.nprojects = 1;
    w.nprojects = 1;
    rt_metrics_private(&w.metrics);
    w.args.metrics = &w.metrics;
    w.o.cfg = &w.cfg;
    w.o.args = &w.args;
    w.o.node_id = 1;
    w.o.events = rt_events_new();
    for (uint32_t i = 0; i < 3; i++) {
        w.ipc[i].name = i < 2 ? i : RT_EDGES_MAX;
        w.peer[i] = (struct peer){.owner = &w.o,
                                  .ipc = &w.ipc[i],
                                  .role = i < 2 ? PR_ROLE_EDGE : PR_ROLE_DB,
                                  .index = i < 2 ? i : 0,
                                  .project = "default"};
    }
    w.o.edge[0] = &w.peer[0];
    w.o.edge[1] = &w.peer[1];
    w.o.db[0] = &w.peer[2];
    w.nmembers = 4;
    for (uint32_t i = 0; i < 4; i++) {
        w.member[i] = (struct cl_member_row){.id = i + 1,
                                             .name = pr_str(names[i]),
                                             .state = i == 3 ? "dead" : "alive",
                                             .self = i == 0,
                                             .linked = i == 1 || i == 2,
                                             .dead_at = UINT64_MAX};
    }
    assert_int_equal(rt_owner_control_open(&w.o, &err), RT_OK);
    return 0;
}

static int close_world(void **state)
{
    (void)state;
    rt_owner_control_free(&w.o);
    assert_null(w.o.asks);
    rt_events_free(w.o.events);
    rt_metrics_close(&w.metrics);
    return 0;
}

static void ask(struct rt_asker *a, const char *cmd, const char *args)
{
    memset(a, 0, sizeof *a);
    w.nsent = 0;
    control.on_request(&w.o, a, pr_str(cmd), pr_str(args));
}

/* A frame as it comes from a node, an edge (index) or db (RT_EDGES_MAX). */
static void come(uint64_t from, bool link, const struct pr_ctl *m, const struct pr_ctl_reply *r)
{
    uint8_t bytes[2048];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_frame f;

    if (m != NULL) {
        pr_ctl_encode(&o, m);
    } else {
        pr_ctl_reply_encode(&o, r);
    }
    assert_true(pr_frame_next(pr_bytes(bytes, o.len), &f) > 0);
    if (link) {
        rt_owner_on_link_ctl(&w.o, from, &f);
    } else {
        rt_owner_on_ctl_reply(&w.o, &w.peer[from == RT_EDGES_MAX ? 2 : from], &f);
    }
}

static void answer(uint64_t from, bool link, uint32_t id, const char *rows, bool last)
{
    struct pr_ctl_reply r = {.id = id, .last = last, .rows = pr_str(rows)};

    come(from, link, NULL, &r);
}

static void node_asks(uint64_t from, uint32_t id, const char *cmd, const char *args)
{
    struct pr_ctl m = {.id = id, .cmd = pr_str(cmd), .args = pr_str(args)};

    w.nsent = 0;
    come(from, true, &m, NULL);
}

/* The timer of the question that is under way. */
static void time_over(const struct rt_asker *a)
{
    struct ask *q = a->user;

    assert_int_equal(q->timer.uv.timeout, RT_CONTROL_TIMEOUT_MS);
    q->timer.fn(q->timer.ctx);
}

static bool was_sent(uint64_t to, bool link, const char *cmd)
{
    for (uint32_t i = 0; i < w.nsent; i++) {
        if (w.sent[i].to == to && w.sent[i].link == link && strcmp(w.sent[i].cmd, cmd) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- the tests ---- */

static void all_are_asked_and_rows_say_whose_they_are(void **state)
{
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    ask(&a, "connections", "{}");
    assert_int_equal(w.nsent, 4);
    assert_true(was_sent(0, false, "connections") && was_sent(1, false, "connections"));
    assert_true(was_sent(2, true, "connections") && was_sent(3, true, "connections"));
    id = w.sent[0].id;
    answer(0, false, id, "{\"edge\":0}\n{}\nno object\n{\"edge\":7}", true);
    answer(2, true, id, "{\"node\":\"n2\",\"edge\":0}\n", false);
    answer(1, false, id, "", true);
    answer(2, true, id, "", true);
    assert_false(a.ended);
    answer(3, true, id, "{\"node\":\"n3\",\"edge\":0}\n", true);
    assert_true(a.ended);
    assert_string_equal(a.rows, "{\"node\":\"n1\",\"edge\":0}\n{\"node\":\"n1\"}\n"
                                "{\"node\":\"n1\",\"edge\":7}\n{\"node\":\"n2\",\"edge\":0}\n"
                                "{\"node\":\"n3\",\"edge\":0}\n");
    /* What comes now comes too late, and does no harm. */
    answer(3, true, id, "{\"node\":\"n3\"}\n", true);
    answer(0, false, id, "{}\n", true);
}

/* Goal: by the arguments, exactly those who should be asked are. */
static void who_is_asked(void **state)
{
    static const struct {
        const char *cmd, *args;
        bool edge0, edge1, db, n2, n3;
    } cases[] = {
        {"connections", "{}", true, true, false, true, true},
        {"connections", "{\"local\":true}", true, true, false, false, false},
        {"connections", "{\"local\":5}", true, true, false, true, true},
        {"connections", "{\"at\":\"n1\"}", true, true, false, false, false},
        {"connections", "{\"at\":\"n3\"}", false, false, false, false, true},
        {"connections", "no JSON", true, true, false, true, true},
        {"channels", "{}", true, true, false, true, true},
        {"topics", "{}", true, true, false, true, true},
        {"slots", "{}", false, false, true, true, true},
        {"slots", "{\"at\":\"n2\"}", false, false, false, true, false},
        {"doctor", "{}", false, false, true, false, false},
        {"doctor", "{\"at\":\"n2\"}", false, false, false, true, false},
        {"pub", "{}", true, false, false, false, false},
        {"sub", "{}", true, false, false, false, false},
        {"members", "{}", false, false, false, true, true},
        {"ring", "{\"topic\":\"t\"}", false, false, false, true, true},
        {"events", "{}", false, false, false, true, true},
        {"presence", "{\"topic\":\"t\"}", false, false, false, true, true},
        {"status", "{}", false, false, false, true, true},
        {"nonsense", "{}", false, false, false, false, false},
        {"", "", false, false, false, false, false},
    };
    static struct rt_asker a;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t want =
            0u + cases[i].edge0 + cases[i].edge1 + cases[i].db + cases[i].n2 + cases[i].n3;

        ask(&a, cases[i].cmd, cases[i].args);
        if (w.nsent != want || was_sent(0, false, cases[i].cmd) != cases[i].edge0 ||
            was_sent(RT_EDGES_MAX, false, cases[i].cmd) != cases[i].db ||
            was_sent(2, true, cases[i].cmd) != cases[i].n2 ||
            was_sent(3, true, cases[i].cmd) != cases[i].n3) {
            fail_msg("%s %s: %u were asked", cases[i].cmd, cases[i].args, w.nsent);
        }
        assert_int_equal(a.ended, want == 0);
        if (!a.ended) {
            control.on_gone(&w.o, &a);
        }
    }
}

/* Goal: nobody is missing without a word. */
static void who_does_not_answer_is_named(void **state)
{
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    w.member[2].linked = false;
    w.member[2].state = "suspect";
    ask(&a, "connections", "{}");
    id = w.sent[0].id;
    answer(0, false, id, "", true);
    time_over(&a);
    assert_true(a.ended);
    assert_string_equal(a.rows,
                        "{\"node\":\"n3\",\"error\":\"not asked: it is suspect and has no link\"}\n"
                        "{\"node\":\"n1\",\"error\":\"edge 1 did not answer in time\"}\n"
                        "{\"node\":\"n2\",\"error\":\"it did not answer in time\"}\n");
    answer(2, true, id, "{}\n", true);

    ask(&a, "slots", "{}");
    rt_owner_asks_lost(&w.o, &w.peer[2]);
    rt_owner_asks_lost(&w.o, &w.peer[2]);
    rt_owner_asks_node_lost(&w.o, 2);
    rt_owner_asks_node_lost(&w.o, 2);
    assert_true(a.ended);
    assert_non_null(
        strstr(a.rows,
               "{\"node\":\"n1\",\"error\":\"db of project default ended while it was asked\"}\n"));
    assert_non_null(
        strstr(a.rows, "{\"node\":\"n2\",\"error\":\"its link ended while it was asked\"}\n"));

    ask(&a, "connections", "{\"at\":\"nobody\"}");
    assert_true(a.ended);
    assert_string_equal(a.rows,
                        "{\"node\":\"n1\",\"error\":\"no node of that name is known here\"}\n");
    ask(&a, "connections", "{\"at\":\"n4\"}");
    assert_string_equal(a.rows,
                        "{\"node\":\"n4\",\"error\":\"not asked: it is dead and has no link\"}\n");
    w.link_refuses = true;
    ask(&a, "members", "{\"at\":\"n2\"}");
    assert_true(a.ended && strstr(a.rows, "not asked") != NULL);
    w.o.edge[0] = NULL;
    w.o.edge[1] = NULL;
    w.o.db[0] = NULL;
    ask(&a, "pub", "{}");
    assert_true(a.ended && strstr(a.rows, "no edge process is attached") != NULL);
    ask(&a, "doctor", "{}");
    assert_true(a.ended && strstr(a.rows, "the db process is not attached") != NULL);
}

static void another_node_hears_of_this_one_alone(void **state)
{
    (void)state;
    node_asks(2, 77, "connections", "{\"at\":\"n3\"}"); /* one hop, whatever it says */
    assert_int_equal(w.nsent, 2);
    assert_true(was_sent(0, false, "connections") && was_sent(1, false, "connections"));
    answer(0, false, w.sent[0].id, "{\"edge\":0}\n", true);
    answer(1, false, w.sent[0].id, "", true);
    assert_int_equal(w.nsent, 4);
    assert_true(w.sent[2].to == 2 && w.sent[2].link && w.sent[2].id == 77 && !w.sent[2].last);
    assert_string_equal(w.sent[2].rows, "{\"node\":\"n1\",\"edge\":0}\n");
    assert_true(w.sent[3].last && w.sent[3].id == 77);

    node_asks(2, 78, "members", "{}"); /* no rows about others, unless it wants them */
    assert_non_null(strstr(w.sent[0].rows, "\"row\":\"self\""));
    assert_null(strstr(w.sent[0].rows, "\"row\":\"member\""));
    assert_true(w.sent[1].last);
    node_asks(2, 79, "nonsense", "{}");
    assert_string_equal(w.sent[0].rows, "{\"node\":\"n1\",\"error\":\"unknown command\"}\n");
    assert_true(w.sent[1].last);
}

/* Frames of nodes that make no sense here. */
static void a_wrong_node_changes_nothing(void **state)
{
    static const uint8_t damaged[] = {0, 0, 0, 5, PR_T_CTL, 1, 0, 0, 0x90};
    static struct rt_asker a;
    struct pr_frame f;
    uint32_t id;

    (void)state;
    ask(&a, "members", "{\"at\":\"n2\"}");
    id = w.sent[0].id;
    answer(3, true, id, "{\"node\":\"n3\"}\n", true); /* it was not asked */
    answer(2, true, id + 1, "{\"node\":\"n2\"}\n", true);
    assert_int_equal(pr_frame_next(pr_bytes(damaged, sizeof damaged), &f), (long)sizeof damaged);
    rt_owner_on_link_ctl(&w.o, 2, &f);
    f.type = PR_T_CTL_REPLY;
    rt_owner_on_link_ctl(&w.o, 2, &f);
    assert_int_equal(w.warnings, 2);
    assert_string_equal(a.rows, "");
    assert_false(a.ended);
    answer(2, true, id, "", true);
    assert_true(a.ended);

    /* Its answers are no answers to the question that it asks itself. */
    node_asks(2, 5, "connections", "{}");
    id = w.sent[0].id;
    answer(2, true, id, "{}\n", true);
    assert_int_equal(w.nsent, 2);
}

static void streams_end_where_they_began(void **state)
{
    static struct rt_asker a;
    struct ask *q;

    (void)state;
    ask(&a, "tail", "{\"topic\":\"t\"}");
    assert_true(was_sent(0, false, "sub") && !was_sent(1, false, "sub"));
    assert_true(was_sent(2, true, "tail") && was_sent(3, true, "tail"));
    q = a.user;
    assert_int_equal(q->timer.uv.timeout, 0);
    answer(0, false, q->id, "{\"n\":1}\n", false);
    answer(2, true, q->id, "{\"node\":\"n2\",\"n\":1}\n", false);
    assert_string_equal(a.rows, "{\"node\":\"n1\",\"n\":1}\n{\"node\":\"n2\",\"n\":1}\n");
    rt_owner_asks_node_lost(&w.o, 3);
    assert_false(a.ended);
    w.nsent = 0;
    control.on_gone(&w.o, &a);
    assert_int_equal(w.nsent, 2);
    assert_true(was_sent(0, false, RT_CONTROL_CANCEL) && was_sent(2, true, RT_CONTROL_CANCEL));

    /* The same from the other side: cancelled, or with the link. */
    node_asks(2, 9, "tail", "{\"topic\":\"t\"}");
    assert_int_equal(w.nsent, 1);
    node_asks(3, 9, RT_CONTROL_CANCEL, "{}"); /* that of another node */
    assert_int_equal(w.nsent, 0);
    node_asks(2, 9, RT_CONTROL_CANCEL, "{}");
    assert_int_equal(w.nsent, 1);
    assert_true(was_sent(0, false, RT_CONTROL_CANCEL));
    node_asks(2, 10, "tail", "{\"topic\":\"t\"}");
    w.nsent = 0;
    rt_owner_asks_node_lost(&w.o, 2);
    assert_true(was_sent(0, false, RT_CONTROL_CANCEL));
}

/* Goal: no queue grows over its bound, and what is left out is told. */
static void too_much_is_left_out_and_told(void **state)
{
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    ask(&a, "connections", "{\"local\":true}");
    id = w.sent[0].id;
    a.queued = RT_ASK_NEAR_BYTES + 1;
    answer(0, false, id, "{\"edge\":0}\n{\"edge\":0}\n", true);
    a.queued = 0;
    answer(1, false, id, "{\"edge\":1}\n", true);
    assert_string_equal(
        a.rows, "{\"node\":\"n1\",\"edge\":1}\n"
                "{\"node\":\"n1\",\"error\":\"2 rows were left out: there are too many\"}\n");

    w.link_full = true;
    node_asks(2, 11, "connections", "{}");
    answer(0, false, w.sent[0].id, "{}\n{}\n{}\n", true);
    w.link_full = false;
    answer(1, false, w.sent[0].id, "", true);
    assert_int_equal(w.nsent, 4);
    assert_non_null(strstr(w.sent[2].rows, "3 rows were left out"));
    assert_true(w.sent[3].last);

    w.topics = RT_LOOK_ROWS_MAX + 5; /* rows that are not even made; those made pass the bound */
    w.o.edge[0] = NULL;
    w.o.edge[1] = NULL;
    node_asks(2, 12, "topics", "{}");
    assert_true(w.sent[(w.nsent - 1) % 300].last);
    assert_non_null(strstr(w.sent[(w.nsent - 2) % 300].rows, "5 rows were left out"));
}

static void questions_of_nodes_are_bounded(void **state)
{
    static struct rt_asker a[RT_CONTROL_ASKERS_MAX];

    (void)state;
    for (uint32_t i = 0; i < RT_ASKS_FAR_MAX; i++) {
        node_asks(2, i, "connections", "{}");
        assert_int_equal(w.nsent, 2);
    }
    node_asks(3, 1, "connections", "{}");
    assert_int_equal(w.nsent, 1);
    assert_true(w.sent[0].to == 3 && w.sent[0].last);
    assert_string_equal(w.sent[0].rows,
                        "{\"node\":\"n1\",\"error\":\"it is asked too much at once\"}\n");
    /* There is room for all of realtimectl here. */
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        ask(&a[i], "connections", "{\"local\":true}");
        assert_int_equal(w.nsent, 2);
    }
    rt_owner_asks_node_lost(&w.o, 2);
    node_asks(3, 2, "connections", "{}");
    assert_int_equal(w.nsent, 2);
}

/* Goal: what is told is JSON on one line each, whatever clients have written. */
static void rows_are_json_on_one_line(void **state)
{
    static const struct {
        const char *cmd, *args, *expect;
    } cases[] = {
        {"presence", "{\"local\":true,\"topic\":\"t\"}", "\"meta\":{ \"a\": 1}"},
        {"presence", "{\"local\":true,\"topic\":\"realtime:t\"}", "\"topic\":\"t\""},
        {"presence", "{\"local\":true,\"topic\":\"t\",\"digest\":true}",
         "\"shown\":1,\"hidden\":0"},
        {"presence", "{\"local\":true}", "presence needs the name of a topic"},
        {"ring", "{\"local\":true,\"topic\":\"t\"}", "\"owner\":\"n2\",\"next\":[\"n1\"]"},
        {"ring", "{\"local\":true}", "\"row\":\"self\""},
        {"members", "{\"local\":true,\"why\":\"n3\"}", "\"name\":\"n3\""},
        {"status", "{\"local\":true}", "\"edges_attached\":2"},
        {"events", "{\"local\":true,\"n\":-3}", ""},
        {"events", "{\"local\":true,\"n\":1}", "\"kind\":\"view\""},
        {"events", "{\"local\":true,\"n\":99999999}", "\"kind\":\"view\""},
    };
    static struct rt_asker a;

    (void)state;
    rt_event(w.o.events, RT_EVT_VIEW, "a\nb", rt_kv_u("n", 1));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *line = a.rows;

        ask(&a, cases[i].cmd, cases[i].args);
        assert_true(a.ended);
        if (strstr(a.rows, cases[i].expect) == NULL) {
            fail_msg("%s %s: %s", cases[i].cmd, cases[i].args, a.rows);
        }
        while (*line != '\0') {
            char *end = strchr(line, '\n');
            json_t *j;

            assert_non_null(end);
            j = json_loadb(line, (size_t)(end - line), 0, NULL);
            assert_string_equal(json_string_value(json_object_get(j, "node")), "n1");
            json_decref(j);
            line = end + 1;
        }
    }
}

static void a_long_topic_is_refused(void **state)
{
    static struct rt_asker a;
    static char args[PR_TOPIC_KEY_MAX + 100];

    (void)state;
    memset(args, 'x', sizeof args - 1);
    memcpy(args, "{\"local\":true,\"topic\":\"", 23);
    memcpy(args + sizeof args - 3, "\"}", 3);
    ask(&a, "ring", args);
    assert_true(a.ended && strstr(a.rows, "the name of the topic is too long") != NULL);
    ask(&a, "presence", args);
    assert_true(a.ended);
    assert_string_equal(a.rows, "");
}

/* Of several projects some questions need one, all may name one, and db processes are told apart.
 */
static void one_project_of_several(void **state)
{
    static const char *const need[] = {"pub", "sub", "tail", "bindings", "explain", "presence"};
    static struct rt_asker a;
    uint32_t id;

    (void)state;
    w.nprojects = 2;
    w.cfg.sections = true;
    for (size_t i = 0; i < sizeof need / sizeof need[0]; i++) {
        ask(&a, need[i], "{\"topic\":\"t\"}");
        assert_true(a.ended && w.nsent == 0);
        assert_string_equal(a.rows, "{\"node\":\"n1\",\"error\":\"name a project by --project: "
                                    "default other\"}\n");
        ask(&a, need[i], "{\"topic\":\"t\",\"project\":\"default\"}");
        assert_true(!a.ended && w.nsent > 0);
        control.on_gone(&w.o, &a);
    }
    ask(&a, "ring", "{\"topic\":\"t\"}");
    assert_true(a.ended && w.nsent == 0);
    ask(&a, "ring", "{}");
    assert_false(a.ended);
    control.on_gone(&w.o, &a);
    ask(&a, "connections", "{\"project\":\"nobody\"}");
    assert_true(a.ended && w.nsent == 0);

    ask(&a, "doctor", "{}");
    assert_string_equal(a.rows,
                        "{\"node\":\"n1\",\"error\":\"the db process of project other is not "
                        "attached\"}\n");
    w.other = (struct peer){
        .owner = &w.o, .ipc = &w.ipc[2], .role = PR_ROLE_DB, .index = 1, .project = "other"};
    w.o.db[1] = &w.other;
    control.on_gone(&w.o, &a);
    ask(&a, "doctor", "{\"project\":\"default\"}");
    assert_int_equal(w.nsent, 1);
    answer(RT_EDGES_MAX, false, w.sent[0].id, "", true);
    assert_true(a.ended);
    ask(&a, "doctor", "{}");
    assert_int_equal(w.nsent, 2);
    id = w.sent[0].id;
    answer(RT_EDGES_MAX, false, id, "{\"check\":\"a\"}\n", true);
    assert_false(a.ended);
    rt_owner_asks_lost(&w.o, &w.other);
    assert_true(a.ended);
    assert_string_equal(a.rows,
                        "{\"node\":\"n1\",\"check\":\"a\"}\n{\"node\":\"n1\",\"error\":\"db of "
                        "project other ended while it was asked\"}\n");
}

/* Topics of one project, if it is named. */
static void topics_of_a_project(void **state)
{
    static struct rt_asker a;

    (void)state;
    w.nprojects = 2;
    w.topics = 1;
    ask(&a, "topics", "{\"local\":true,\"project\":\"other\"}");
    assert_null(strstr(a.rows, "\"project\":\"default\""));
    control.on_gone(&w.o, &a);
    ask(&a, "topics", "{\"project\":\"default\"}");
    assert_non_null(strstr(a.rows, "\"project\":\"default\""));
    control.on_gone(&w.o, &a);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(all_are_asked_and_rows_say_whose_they_are),
        IN_WORLD(who_is_asked),
        IN_WORLD(who_does_not_answer_is_named),
        IN_WORLD(another_node_hears_of_this_one_alone),
        IN_WORLD(a_wrong_node_changes_nothing),
        IN_WORLD(streams_end_where_they_began),
        IN_WORLD(too_much_is_left_out_and_told),
        IN_WORLD(questions_of_nodes_are_bounded),
        IN_WORLD(rows_are_json_on_one_line),
        IN_WORLD(a_long_topic_is_refused),
        IN_WORLD(one_project_of_several),
        IN_WORLD(topics_of_a_project),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
