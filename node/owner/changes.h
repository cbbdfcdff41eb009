/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes.h - database changes between edges and the db process that reads them, of which one in
 * the whole cluster does. Edges and db talk to their own owner alone; the owners do the rest.
 *
 *   edge -> reader   REG UNREG SYNCED OK   to every reader that has asked (CHG_SYNC): one, and for
 *                                          a moment of disagreement two
 *   reader -> edge   CHG                   split by edge and node, a position to all; one frame per
 *                                          node, whose owner splits it by its edges
 *                    REG_OK SYS            to the edge that is named, or to all
 *                    SYNC READER           to all
 *                    CAST                  to one edge of the reader's node, which publishes it and
 *                                          answers CAST_OK; what that carries is a broadcast then
 *
 * What makes a change reach every edge, once and in order:
 *
 * 1. The slot is the fence: Postgres gives it to one session, and to the next from the position
 *    that was confirmed. Whatever an older reader still has under way, a newer one reads again.
 * 2. A position is confirmed when all edges have acknowledged it, and edges drop what is not after
 *    the position they have taken. This alone makes frames of two readers of one server's history
 *    harmless, in whatever order they come, as long as each reader's frames come without a hole.
 * 3. Without a hole: from the HELD of a reader on, frames to a node are one FIFO. When a link ends,
 *    or does not take a frame, the node gets none until the reader has read again from the
 *    confirmed position, which is asked of it (START) when the link is back and the node's edges
 *    have attached to their owner, should that be new; a new HELD marks it.
 * 4. Two histories (a standby was promoted, and the old primary lives) have no common fence: frames
 *    of a reader whose term is not the highest one that was told are dropped.
 *
 * Who removes an edge from those that are waited for, because its node seemed dead or because it
 * did not read, tells the edge's clients so if it comes back.
 *
 * Back-pressure: while a queue to an edge or node is over its bound, db is not read, and stops to
 * read the WAL when its own queue is long. Projects share these queues: all of them wait, and take
 * turns when there is room. Who takes nothing for RT_CHANGES_STUCK_MS is not waited
 * for: an edge is cut, a node is treated as if its link had ended. The other way, an edge is not
 * read while what edges say waits on the link to the reader; and db may have very much waiting,
 * since the registrations of a whole cluster arrive at once when it begins.
 */
#ifndef NODE_OWNER_CHANGES_H
#define NODE_OWNER_CHANGES_H

#include "node/owner/owner_in.h"

/* Waiting bytes of changes to a node above which db is not read: one more frame has room below the
 * bound of the link's queue, 16 MiB. */
#define RT_CHANGES_LINK_BYTES ((size_t)7 * 1024 * 1024)
/* The same of an edge's queue, of which they may have half. */
#define RT_CHANGES_EDGE_BYTES (RT_IPC_QUEUE_MAX / 2)
/* A node that took nothing gets changes again when so few bytes are left. */
#define RT_CHANGES_CALM_BYTES ((size_t)1024 * 1024)
/* Waiting bytes to db: some hundred thousand registrations with their claims. Over it db is cut. */
#define RT_CHANGES_DB_BYTES ((size_t)256 * 1024 * 1024)
/* A queue that was over its bound for so long is of somebody who hangs. */
#define RT_CHANGES_STUCK_MS 10000u

/* How long the edges of a node may take to attach to its owner when that is new; they try again
 * every half second. */
#define RT_CHANGES_ATTACH_MS 2000u

/*
 * One state per project, made when the settings, a db, an edge or another node first name it, and
 * kept: nodes are told of a new project one after another, so none can be sure that it is gone.
 * When RT_PROJECTS_MAX are known, a new one takes the place of one that is idle: the settings have
 * it no more, and no db, here or elsewhere, needs it. Without such a place it is not served, and
 * the log says so.
 */
void rt_changes_init(struct owner *o);
/* Before the loop ends. */
void rt_changes_free(struct owner *o);
/* Names of projects that are not idle; NULL from the end on. */
const char *rt_changes_project(const struct owner *o, uint32_t i);
/* The db process of a project, NULL if it is not attached. */
struct peer *rt_changes_db(const struct owner *o, struct pr_slice project);

/* edges.c: a local process said HELLO and was greeted, or its connection ended. */
void rt_changes_edge_up(struct owner *o, struct peer *edge);
void rt_changes_edge_down(struct owner *o, const struct peer *edge);
/* The second ends the connection of an earlier db of that project. False: too many projects. */
void rt_changes_db_down(struct owner *o, const struct peer *db);
bool rt_changes_db_up(struct owner *o, struct peer *db);
/* REG UNREG SYNCED OK and CAST_OK of a local edge. False: it is damaged. */
bool rt_changes_on_edge_frame(struct owner *o, struct peer *edge, const struct pr_frame *f);
/* Any frame of a local db but a CTL_REPLY. False: it is damaged, of another project, or db may not
 * say it. */
bool rt_changes_on_db_frame(struct owner *o, const struct peer *db, const struct pr_frame *f);

/* The members are others: each project may have another reader. */
void rt_changes_elect(struct owner *o);
/* A member is alive; repeats do no harm. A reader waits for its edges before it starts. */
void rt_changes_node_here(struct owner *o, uint64_t id);
/* LINK_UP of a node. */
void rt_changes_link_up(struct owner *o, uint64_t id);
/* A node's ACTORS: all its attached edges. `boots` is borrowed; more than RT_EDGES_MAX are cut. */
void rt_changes_actors(struct owner *o, uint64_t id, const uint64_t *boots, uint32_t count);
/* It is dead or has left: its edges are not waited for any more. */
void rt_changes_node_gone(struct owner *o, uint64_t id);
/* CHG_* and READER of a node. False: it is damaged or may not come from a node; close the link. */
bool rt_changes_on_link_frame(struct owner *o, uint64_t from, const struct pr_frame *f);

#endif
