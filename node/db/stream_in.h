/* SPDX-License-Identifier: Apache-2.0 */
/* stream_in.h - shared by slot.c (up to the stream) and stream.c (the stream). */
#ifndef NODE_DB_STREAM_IN_H
#define NODE_DB_STREAM_IN_H

#include "node/db/db_in.h"

/* Forgets the state of a connection that is gone; what was not routed is read again. */
void rt_stream_reset(struct rt_db *d);
/* Tells the server what was received and confirmed. */
void rt_stream_feedback(struct rt_db *d);
/* slot.c: tries to take the slot that another session held, on the connection that is there. */
void rt_stream_take(struct rt_db *d);
/* The owner was told of the term: changes go to the edges. */
void rt_stream_begin(struct rt_db *d);
/* How long to wait before the next try; grows with each. */
uint64_t rt_stream_retry_ms(struct rt_db *d);
/* slot.c: logs why, tries again later, and tells clients what they may know of it. */
void rt_stream_failed(struct rt_db *d, const char *why, const char *sqlstate);
/* One CopyData, and the end of those that had arrived: see struct rt_pg_events. */
bool rt_stream_on_copy(void *ctx, struct rt_pg *pg, struct pr_slice data);
void rt_stream_on_copy_idle(void *ctx, struct rt_pg *pg);

#endif
