/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights.h - questions about private channels, from the edges of this node to its db and back.
 *
 * Nothing is kept here: the edge bounds how many of its questions are out, the db how many wait,
 * and an edge asks again when it hears that a question was lost (AWAY).
 */
#ifndef NODE_OWNER_RIGHTS_H
#define NODE_OWNER_RIGHTS_H

#include "node/owner/owner_in.h"
#include "proto/mesh_rights.h"

/* A RIGHTS_ASK of an edge. Cuts one that lies about who it is. */
void rt_rights_ask(struct peer *edge, const struct pr_frame *f);
/* A RIGHTS of the db. Cuts one that sends what is none. */
void rt_rights_answer(struct peer *db, const struct pr_frame *f);
/* The same of REPLAY_ASK and REPLAY. */
void rt_replay_ask(struct peer *edge, const struct pr_frame *f);
void rt_replay_answer(struct peer *db, const struct pr_frame *f);
/* The same of STORE_ASK and STORE. */
void rt_store_ask(struct peer *edge, const struct pr_frame *f);
void rt_store_answer(struct peer *db, const struct pr_frame *f);
/* The db of this project is gone: what was asked of it is lost. */
void rt_rights_db_down(struct owner *o, struct pr_slice project);

#endif
