/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk.h - what the policies of realtime.messages allow, and what that table holds, or is to hold,
 * of a private channel, asked for the edges of this node.
 *
 * Connections of the check login of its own, none while nobody asks and at most REALTIME_DB_POOL:
 * a policy that sleeps holds one of them for RT_DESK_STATEMENT_MS, and neither the change stream
 * nor other questions. One question at a time on each; the rest wait in order.
 *
 * Bounds: RT_DESK_WAITING questions wait, each at most RT_DESK_WAIT_MS while the database answers
 * (then BUSY), and RT_DESK_DOWN_MS while there is no connection (then DOWN): an edge must answer a
 * join in 10 s, which is when clients give up.
 */
#ifndef NODE_DB_DESK_H
#define NODE_DB_DESK_H

#include "proto/mesh_rights.h"

#define RT_DESK_WAITING 500u
#define RT_DESK_WAIT_MS 2000u
#define RT_DESK_DOWN_MS 8000u

struct rt_db;
struct rt_desk;

void rt_desk_init(struct rt_db *d);
void rt_desk_free(struct rt_db *d);
/* A question of an edge; copied. Answered by a RIGHTS frame to the owner, perhaps at once. */
void rt_desk_ask(struct rt_db *d, const struct pr_rights_ask *m);
/* The stored broadcasts of a topic; copied. Answered by a REPLAY frame. */
void rt_desk_replay(struct rt_db *d, const struct pr_replay_ask *m);
/* A broadcast to be stored; copied. Answered by a STORE frame, when it is committed. */
void rt_desk_store(struct rt_db *d, const struct pr_store_ask *m);
/* Migrations are over, or the partitions were looked at: questions may be asked. */
void rt_desk_ready(struct rt_db *d);
/* The owner is gone: what waits is forgotten, edges ask again. */
void rt_desk_forget(struct rt_db *d);
/* Looks whether the policies are others than before, as long as somebody may go by them; if they
 * are all edges are told. */
void rt_desk_look(struct rt_db *d);
/* All edges are to ask again what they know. */
void rt_desk_changed(struct rt_db *d);
/* What was said last may be lost: the next look says it in any case. */
void rt_desk_unheard(struct rt_db *d);

#endif
