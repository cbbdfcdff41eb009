/* SPDX-License-Identifier: Apache-2.0 */
/* owner_in.h - what the files of this room share. */
#ifndef NODE_OWNER_OWNER_IN_H
#define NODE_OWNER_OWNER_IN_H

#include "cluster/core.h"
#include "node/base/alloc.h"
#include "node/base/config.h"
#include "node/base/control.h"
#include "node/base/ipc.h"
#include "node/owner/owner.h"
#include "proto/mesh_node.h"

/* Connections that have not said HELLO: edges and db attach one by one, so few at a time. */
#define RT_STRANGERS_MAX 16u
/* A connection that says nothing is cut: only a stuck or foreign process does that. */
#define RT_HELLO_MS 5000u

struct owner;
struct rt_projects; /* changes.h */
struct rt_clients;  /* clients.h */
struct nodes;       /* nodes.h */
struct asks;        /* asks.h */
struct rt_events;   /* events.h */

/* One local process. */
struct peer {
    struct owner *owner;
    struct rt_ipc *ipc;
    uint32_t role;  /* enum pr_role; 0 until HELLO */
    uint32_t index; /* of an edge, or of db */
    uint64_t boot;
    uint64_t since_ms;
    char project[RT_PROJECT_NAME_MAX + 1]; /* of db */
};

/* What was told last, tell.h. */
struct tells {
    uint64_t view;
    uint64_t refused_ms;
    uint64_t keys, hellos, datagrams; /* refused */
};

struct owner {
    const struct rt_config *cfg;
    struct rt_config again; /* as read at SIGHUP, to be shown; zeros: it was not */
    const struct rt_role_args *args;
    struct rt_loop *loop;
    struct cl *cl;
    struct cl_limits limits;
    struct rt_pool pool;
    uint64_t node_id, epoch;
    struct rt_ipc_server *server;
    struct rt_control_server *control;
    struct rt_timer tick, stats;
    uint64_t tick_at; /* deadline the timer is set to */
    struct peer *edge[RT_EDGES_MAX];
    struct peer *db[RT_DBS_MAX];
    struct peer *stranger[RT_STRANGERS_MAX];
    struct rt_projects *projects;
    struct rt_clients *clients;
    struct nodes *nodes;      /* NULL: no other nodes */
    struct rt_events *events; /* what happened to the cluster */
    struct cl_about about;
    bool stepping;   /* the core's actions are being carried out */
    uint64_t fallen; /* edges that ended meanwhile */
    struct rt_timer leave;
    bool leaving;
    int exit_code;
    struct cl_stats counted; /* what the metrics already hold */
    struct tells tells;
    struct asks *asks; /* questions of realtimectl under way */
};

/* The settings as SIGHUP last left them; o->cfg is what the process began with. */
static inline const struct rt_config *rt_settings_now(const struct owner *o)
{
    return o->again.nprojects > 0 ? &o->again : o->cfg;
}

/* owner.c: gives an event to the core and carries out its actions. False: the edge was closed. */
bool rt_owner_step(struct owner *o, const struct cl_event *ev);

/* Queues a whole frame for another node (copies). False: not taken, because there is no link or its
 * queue of that class is full. */
bool rt_owner_link_send(struct owner *o, uint64_t node_id, struct pr_slice frame);
/* Bytes of class CHANGES that wait on the link to a node; 0 if there is none. */
size_t rt_owner_link_queued(const struct owner *o, uint64_t node_id);

/* edges.c: the local processes. */
int rt_owner_listen(struct owner *o, struct rt_error *err);
void rt_owner_edges_free(struct owner *o);
/* Tells all edges how the node stands in the cluster. */
void rt_owner_tell_cluster(struct owner *o, const struct pr_cluster *c);
/* Ends a peer's connection; `why` goes to the log. */
void rt_owner_cut(struct peer *p, const char *why);
/* Cuts those that connected and said nothing. Called now and then. */
void rt_owner_cut_silent(struct owner *o);

/* Bytes of class CONTROL, the one of questions and answers; the same. */
size_t rt_owner_link_waits(const struct owner *o, uint64_t node_id);

/* control_cmds.c: answers to realtimectl, here or at another node. */
int rt_owner_control_open(struct owner *o, struct rt_error *err);
void rt_owner_control_free(struct owner *o);
/* CTL or CTL_REPLY of another node. A damaged one is logged and has no effect. */
void rt_owner_on_link_ctl(struct owner *o, uint64_t from, const struct pr_frame *f);

/* asks.c: those who are asked. */
void rt_owner_on_ctl_reply(struct owner *o, const struct peer *from, const struct pr_frame *f);
/* A process that was asked is gone; so is the link to a node. */
void rt_owner_asks_lost(struct owner *o, const struct peer *gone);
void rt_owner_asks_node_lost(struct owner *o, uint64_t id);

#endif
