/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner_world.h - owners without sockets, as far as changes go: every connection and link is a FIFO
 * of frames in memory. Stands in for ipc.h, for the timers of loop.h, for log.h, for the links and
 * for the part of edges.c that ends a connection. For tests of node/owner/changes.h.
 */
#ifndef TESTS_OWNER_WORLD_H
#define TESTS_OWNER_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "node/owner/changes_in.h"
#include "node/owner/tell.h"

#define NODES 3u
#define EDGES 2u

/* Frames in order. */
struct fifo {
    uint8_t *p;
    size_t at, len, cap;
};

struct rt_ipc {
    struct fifo out; /* from the owner */
    bool reading;
    size_t bound, padding; /* bytes that are pretended to wait */
};

struct node {
    struct owner o;
    struct rt_config cfg;
    struct rt_role_args args;
    struct peer edge[EDGES], db;
    struct rt_ipc edge_ipc[EDGES], db_ipc;
    struct fifo link[NODES]; /* to that node */
    bool up[NODES];          /* this side knows of the link */
    size_t padding[NODES];
    uint32_t cuts;
};

static struct node nodes[NODES];
static uint64_t now_ms;

/* What the next call of rt_changes_elect finds. */
static uint64_t named_reader;
static uint64_t named_other; /* the same of all projects but "default" */

static void fifo_put(struct fifo *q, struct pr_slice s)
{
    if (q->len + s.n > q->cap) {
        q->cap = (q->len + s.n) * 2;
        q->p = rt_realloc(q->p, q->cap);
    }
    memcpy(q->p + q->len, s.p, s.n);
    q->len += s.n;
}

/* The next frame; its bytes stay until the next call that puts or clears. */
static bool fifo_next(struct fifo *q, struct pr_frame *f)
{
    long n = 0;

    if (q->at == q->len) {
        q->at = 0;
        q->len = 0;
        return false;
    }
    n = pr_frame_next(pr_bytes(q->p + q->at, q->len - q->at), f);
    assert_true(n > 0);
    q->at += (size_t)n;
    return true;
}

static void fifo_clear(struct fifo *q)
{
    rt_free(q->p);
    memset(q, 0, sizeof *q);
}

/* ipc.h */
bool rt_ipc_send(struct rt_ipc *ipc, struct pr_slice frames)
{
    if (rt_ipc_queued(ipc) + frames.n > ipc->bound) {
        return false;
    }
    fifo_put(&ipc->out, frames);
    return true;
}
size_t rt_ipc_queued(const struct rt_ipc *ipc)
{
    return ipc->out.len - ipc->out.at + ipc->padding;
}
void rt_ipc_set_bound(struct rt_ipc *ipc, size_t bytes)
{
    ipc->bound = bytes;
}
void rt_ipc_read(struct rt_ipc *ipc, bool on)
{
    ipc->reading = on;
}

/* loop.h: a timer is remembered, a deferred call too; the test makes time. */
uint64_t rt_now_ms(const struct rt_loop *l)
{
    (void)l;
    return now_ms;
}
void rt_timer_init(struct rt_loop *l, struct rt_timer *t, void (*fn)(void *ctx), void *ctx)
{
    (void)l;
    t->fn = fn;
    t->ctx = ctx;
    t->uv.data = NULL;
}
void rt_timer_set(struct rt_timer *t, uint64_t ms)
{
    (void)ms;
    t->uv.data = t; /* set */
}
void rt_timer_close(struct rt_timer *t, void (*done)(void *ctx))
{
    done(t->ctx);
}
void rt_loop_defer(struct rt_loop *l, struct rt_defer *d, void (*fn)(void *ctx), void *ctx)
{
    (void)l;
    d->fn = fn;
    d->ctx = ctx;
    d->waiting = true;
}
void rt_loop_undefer(struct rt_loop *l, struct rt_defer *d)
{
    (void)l;
    d->waiting = false;
}

/* log.h */
void rt_log_fields(struct rt_log *log, enum rt_log_level level, const char *ev,
                   const struct rt_kv *fields)
{
    (void)log;
    (void)level;
    (void)ev;
    (void)fields;
}

/* owner_in.h */
void rt_tell_reader(struct owner *o, const char *project, uint64_t id)
{
    (void)o;
    (void)project;
    (void)id;
}
static struct node *node_of(const struct owner *o)
{
    return &nodes[o->node_id - 1];
}
bool rt_owner_link_send(struct owner *o, uint64_t node_id, struct pr_slice frame)
{
    struct node *n = node_of(o);

    if (!n->up[node_id - 1] || n->padding[node_id - 1] + frame.n > (size_t)16 * 1024 * 1024) {
        return false;
    }
    fifo_put(&n->link[node_id - 1], frame);
    return true;
}
size_t rt_owner_link_queued(const struct owner *o, uint64_t node_id)
{
    const struct node *n = node_of(o);

    return n->up[node_id - 1]
               ? n->link[node_id - 1].len - n->link[node_id - 1].at + n->padding[node_id - 1]
               : 0;
}
void rt_owner_cut(struct peer *p, const char *why)
{
    struct node *n = node_of(p->owner);

    (void)why;
    n->cuts++;
    if (p->role == PR_ROLE_DB) {
        n->o.db[0] = NULL;
        fifo_clear(&n->db_ipc.out);
        rt_changes_db_down(&n->o, p);
    } else {
        n->o.edge[p->index] = NULL;
        fifo_clear(&n->edge_ipc[p->index].out);
        rt_changes_edge_down(&n->o, p);
    }
}

static struct changes *changes_of(const struct node *n)
{
    return rt_change_of(&n->o, pr_str("default"));
}

/* Who is named_reader, says the core. */
uint64_t cl_reader(const struct cl *cl, struct pr_slice name)
{
    (void)cl;
    return pr_slice_is(name, "default") ? named_reader : named_other;
}

static void elect(struct node *n, uint64_t id)
{
    named_reader = id;
    rt_changes_elect(&n->o);
}

/* End of the turn of one project at a node: its deferred call, and its timer if it is set. */
static inline void turn_of(struct changes *c)
{
    if (c->cut_later.waiting) {
        c->cut_later.waiting = false;
        c->cut_later.fn(c->cut_later.ctx);
    }
    if (c->timer.uv.data != NULL) {
        c->timer.uv.data = NULL;
        c->timer.fn(c->timer.ctx);
    }
}

static inline void turn(struct node *n)
{
    turn_of(changes_of(n));
}

static void attach_db(struct node *n)
{
    n->db_ipc = (struct rt_ipc){.reading = true, .bound = RT_IPC_QUEUE_MAX};
    n->db = (struct peer){
        .owner = &n->o, .ipc = &n->db_ipc, .role = PR_ROLE_DB, .boot = 1, .project = "default"};
    n->o.db[0] = &n->db;
    assert_true(rt_changes_db_up(&n->o, &n->db));
}

static void attach_edge(struct node *n, uint32_t i, uint64_t boot)
{
    n->edge_ipc[i] = (struct rt_ipc){.reading = true, .bound = RT_IPC_QUEUE_MAX};
    n->edge[i] = (struct peer){
        .owner = &n->o, .ipc = &n->edge_ipc[i], .role = PR_ROLE_EDGE, .index = i, .boot = boot};
    n->o.edge[i] = &n->edge[i];
    rt_changes_edge_up(&n->o, &n->edge[i]);
}

static void open_node(uint32_t i)
{
    struct node *n = &nodes[i];

    n->cfg.edges = EDGES;
    (void)snprintf(n->cfg.project, sizeof n->cfg.project, "default");
    n->o.cfg = &n->cfg;
    n->o.args = &n->args;
    n->o.node_id = i + 1;
    named_reader = 0;
    named_other = 0;
    n->cfg.projects = &n->cfg;
    n->cfg.nprojects = 1;
    rt_changes_init(&n->o);
}

static void close_node(uint32_t i)
{
    struct node *n = &nodes[i];

    for (uint32_t k = 0; k < NODES; k++) {
        fifo_clear(&n->link[k]);
    }
    for (uint32_t k = 0; k < EDGES; k++) {
        fifo_clear(&n->edge_ipc[k].out);
    }
    fifo_clear(&n->db_ipc.out);
    rt_changes_free(&n->o);
    memset(n, 0, sizeof *n);
}

/* What an owner says by ACTORS, to one node. */
static inline void tell_actors(uint32_t from, uint32_t to)
{
    uint64_t boots[EDGES];
    uint32_t n = 0;

    for (uint32_t i = 0; i < EDGES; i++) {
        if (nodes[from].o.edge[i] != NULL) {
            boots[n++] = nodes[from].edge[i].boot;
        }
    }
    rt_changes_actors(&nodes[to].o, from + 1, boots, n);
}

#endif
