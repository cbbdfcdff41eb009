/* SPDX-License-Identifier: Apache-2.0 */
/*
 * asks.h - questions of realtimectl under way: who asked, who still has to answer.
 *
 * Any node answers for the whole cluster. realtimectl asks one owner; this one answers what it
 * knows, asks its own edges and db, and passes the question to every node that it has a link to, as
 * a CTL frame. A node that is asked so answers for itself alone, so a question goes one hop and
 * never round. Rows come back as they are found, each with the name of the node that it is about in
 * a field `node`; so does trouble: {"node", "error"}.
 *
 * Nobody is left out silently. Who has not ended its answer after RT_CONTROL_TIMEOUT_MS, who ended
 * while it was asked, and a member without a link each get an error row of their own.
 *
 * Bounds: rows wait for realtimectl, or on the link to the node that asked. Where more than
 * RT_ASK_NEAR_BYTES or RT_ASK_FAR_BYTES wait, further rows are left out, and one error row at the
 * end says how many.
 */
#ifndef NODE_OWNER_ASKS_H
#define NODE_OWNER_ASKS_H

#include <jansson.h>

#include "node/owner/owner_in.h"

/* Questions of other nodes at one time, beside those of realtimectl here. More are refused. */
#define RT_ASKS_FAR_MAX 64u
/* Half of what the queue of a Unix socket takes; and of a link's queue of class control, of which a
 * full one would end the link. */
#define RT_ASK_NEAR_BYTES (RT_IPC_QUEUE_MAX / 2)
#define RT_ASK_FAR_BYTES  ((size_t)4 * 1024 * 1024)
/* Edges and db of a node that is asked by another one: it has to answer itself in time. */
#define RT_ASK_FAR_MS (RT_CONTROL_TIMEOUT_MS - 500u)

struct ask {
    struct owner *owner;
    bool used;
    bool stream;            /* rows come until somebody ends it; no time limit */
    struct rt_asker *asker; /* realtimectl; NULL: another node */
    uint64_t from;          /* that node */
    uint32_t from_id;       /* its name of the question */
    uint32_t id;            /* ours, for those who are asked */
    uint64_t edges;         /* bitmap: have not ended their answer */
    uint64_t dbs;           /* the same of db processes */
    uint32_t nnodes;        /* neither have these */
    uint64_t node[CL_NODES_MAX];
    uint64_t left_out; /* rows */
    struct rt_timer timer;
};

struct asks;

/* Gives the table of an owner. */
struct asks *rt_asks_new(struct owner *o);
/* Forgets all questions without an answer; memory goes at the end of the turn. NULL is allowed. */
void rt_asks_free(struct asks *s);

/* A question of realtimectl. */
struct ask *rt_ask_new(struct owner *o, struct rt_asker *a);
/* A question of another node; NULL: there are RT_ASKS_FAR_MAX, and it was told so. */
struct ask *rt_ask_new_far(struct owner *o, uint64_t from, uint32_t from_id);

/* Rows of this node: one (takes it), one as text (an object without a line feed), any number with a
 * line feed behind each. They leave in larger portions, at rt_ask_wait at the latest. */
void rt_ask_row(struct ask *q, json_t *row);
void rt_ask_text(struct ask *q, struct pr_slice row);
void rt_ask_rows(struct ask *q, struct pr_slice rows);
/* Trouble with this node. */
void rt_ask_error(struct ask *q, const char *text);
/* A row that was not even made. */
void rt_ask_left_out(struct ask *q);

/* Asks all edges of this node, or the first one; trouble is told if there is none. */
void rt_ask_edges(struct ask *q, const char *cmd, struct pr_slice args, bool one);
/* Asks the db process of a project, NULL: those of all; trouble is told for each without one. */
void rt_ask_db(struct ask *q, const char *cmd, struct pr_slice args, const char *project);
/* Asks all other nodes that are linked, and names the members that are not; `only` is the name of
 * the one to be asked, NULL: all. */
void rt_ask_nodes(struct ask *q, struct pr_slice cmd, struct pr_slice args, const char *only);
/* All have been asked: waits for them, or ends the answer if there is nobody to wait for. */
void rt_ask_wait(struct ask *q);

/* realtimectl went away; so did the asker at another node, of its question with that id. */
void rt_ask_gone(struct ask *q);
void rt_asks_cancel_far(struct owner *o, uint64_t from, uint32_t from_id);
/* Rows of another node, or the end of its answer. */
void rt_asks_node_reply(struct owner *o, uint64_t from, const struct pr_ctl_reply *m);

#endif
