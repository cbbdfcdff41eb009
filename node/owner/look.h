/* SPDX-License-Identifier: Apache-2.0 */
/*
 * look.h - what this owner process tells of itself, of the other nodes and of topics: rows for
 * realtimectl. Nothing here changes anything.
 *
 * A row of a question that has rows of several kinds says which in `row`; realtimectl joins them.
 */
#ifndef NODE_OWNER_LOOK_H
#define NODE_OWNER_LOOK_H

#include "node/owner/asks.h"

/* Rows that one node makes of one question; the rest is counted. So many take some 50 ms, for
 * which the owner orders nothing. */
#define RT_LOOK_ROWS_MAX 50000u

/* Name of a node for people; its id in hex if no name is known. */
struct rt_node_name {
    char text[PR_ID_MAX + 1];
};
struct rt_node_name rt_look_name(const struct owner *o, uint64_t id);

/* `args` is the question's JSON object, or NULL. */

/* look.c: the processes of this node. */
void rt_look_status(struct ask *q, const json_t *args);
/*
 * Rows "self" (this node, of itself), for realtimectl here also "member" (every node as this one
 * sees it). With "pairs": true those at every node; with "links": true rows "link" as well, one per
 * link; with "why": NAME the "member" row of that node alone.
 */
void rt_look_members(struct ask *q, const json_t *args);
/* The last "n" events. */
void rt_look_events(struct ask *q, const json_t *args);

/* look_topics.c: topics that this node has, or those of "names"; none with "top", which edges
 * answer. */
void rt_look_topics(struct ask *q, const json_t *args);
/* Without "topic": rows "self" and, for realtimectl here, "member". With it, who owns it. */
void rt_look_ring(struct ask *q, const json_t *args);
/* Of "topic": with "digest": true one row that sums its entries up, else the entries. */
void rt_look_presence(struct ask *q, const json_t *args);

/* look.c: shared by both. Topics that are owned here are counted only if asked for. */
void rt_look_self(struct ask *q, bool count_topics);
void rt_look_member_rows(struct ask *q);

#endif
