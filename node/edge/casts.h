/* SPDX-License-Identifier: Apache-2.0 */
/*
 * casts.h - broadcasts that the database sends: of one edge in the cluster, which publishes them as
 * if they were its own.
 *
 * The db process that reads the stream hands them over in order of position, and reads no further
 * than some way ahead of what was acknowledged. Each is published with PR_PUB_KEEP: none is given
 * up, so that nothing is ordered behind a hole. What was ordered is acknowledged up to the first
 * that was not.
 *
 * Once to each member: after a crash of a process on the way, whoever reads the stream next begins
 * at the confirmed position, and its edge, perhaps another one, publishes again. Every publisher's
 * sequence is without a hole and begins at or before what had been ordered, so a member's edge
 * takes of a topic what lies behind the last position it has seen of it there, and passes over the
 * rest.
 */
#ifndef NODE_EDGE_CASTS_H
#define NODE_EDGE_CASTS_H

#include "node/edge/edge_in.h"

/* Published but not ordered, at most: several times what db lets be under way. One more is a fault
 * of db, and not taken. */
#define RT_CASTS_MAX 8192u

struct rt_casts *rt_casts_new(void);
void rt_casts_free(struct rt_project *project);
/* A CAST of the owner. 0; a negative pr_err or cl_err: not taken, and the link must end, or what
 * follows would make it a repeat. */
int rt_casts_frame(struct rt_edge *e, const struct pr_frame *f);
/* CLE_PUB_DONE of a publish with PR_PUB_KEEP. */
void rt_casts_done(struct rt_edge *e, uint64_t cookie);
/* Has the topic had this message before? Notes it if not. Of others: false. */
bool rt_casts_repeat(struct rt_topic *t, const struct pr_bcast *b);

#endif
