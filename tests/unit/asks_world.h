/* SPDX-License-Identifier: Apache-2.0 */
/*
 * asks_world.h - a node whose realtimectl asks others. Links, edges, timers and the core are stood
 * in for here, so that every order of events can be made. For tests of node/owner/asks_in.h.
 */
#ifndef TESTS_ASKS_WORLD_H
#define TESTS_ASKS_WORLD_H

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

static inline void note(uint64_t to, bool link, struct pr_slice bytes)
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

static inline int open_world(void **state)
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

static inline int close_world(void **state)
{
    (void)state;
    rt_owner_control_free(&w.o);
    assert_null(w.o.asks);
    rt_events_free(w.o.events);
    rt_metrics_close(&w.metrics);
    return 0;
}

static inline void ask(struct rt_asker *a, const char *cmd, const char *args)
{
    memset(a, 0, sizeof *a);
    w.nsent = 0;
    control.on_request(&w.o, a, pr_str(cmd), pr_str(args));
}

/* A frame as it comes from a node, an edge (index) or db (RT_EDGES_MAX). */
static inline void come(uint64_t from, bool link, const struct pr_ctl *m,
                        const struct pr_ctl_reply *r)
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

static inline void answer(uint64_t from, bool link, uint32_t id, const char *rows, bool last)
{
    struct pr_ctl_reply r = {.id = id, .last = last, .rows = pr_str(rows)};

    come(from, link, NULL, &r);
}

static inline void node_asks(uint64_t from, uint32_t id, const char *cmd, const char *args)
{
    struct pr_ctl m = {.id = id, .cmd = pr_str(cmd), .args = pr_str(args)};

    w.nsent = 0;
    come(from, true, &m, NULL);
}

/* The timer of the question that is under way. */
static inline void time_over(const struct rt_asker *a)
{
    struct ask *q = a->user;

    assert_int_equal(q->timer.uv.timeout, RT_CONTROL_TIMEOUT_MS);
    q->timer.fn(q->timer.ctx);
}

static inline bool was_sent(uint64_t to, bool link, const char *cmd)
{
    for (uint32_t i = 0; i < w.nsent; i++) {
        if (w.sent[i].to == to && w.sent[i].link == link && strcmp(w.sent[i].cmd, cmd) == 0) {
            return true;
        }
    }
    return false;
}

#endif
