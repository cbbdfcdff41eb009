/* SPDX-License-Identifier: Apache-2.0 */
/*
 * linger.h - registrations of a token before, while rows by them are still on their way.
 *
 * A refreshed token has other claims, if only its `iat`, and so another registration. Rows that
 * were judged for the old one would meet nobody, and those between its end and the verdict on the
 * new one would be judged for nobody: an hourly refresh must not cost a change. So if the token is
 * of the same user with the same rights, the old registration stays until the new one is answered
 * and RT_LINGER_MS have passed. A row that both match is delivered once: its binding remembers.
 *
 * The same rights: role and all claims alike, but for those that say when and as which copy the
 * token was made. Else the old rights end at once, with what is on its way.
 */
#ifndef NODE_EDGE_LINGER_H
#define NODE_EDGE_LINGER_H

#include "node/edge/changes.h"

/* More than the 10 s after which the reader of changes goes on without an edge that does not
 * acknowledge: what is later than that is told to be missing. */
#define RT_LINGER_MS 15000u

/* May rows for the holder of one token be shown to that of the other? */
bool rt_linger_same(const struct rt_token *a, const struct rt_token *b);
/* The binding has a new registration; `old` is kept for it, and that from before it is not. */
void rt_linger_keep(struct rt_channel *ch, uint32_t index, struct rt_reg *old, uint32_t pos);
/* Ends all of the channel. */
void rt_linger_end(struct rt_channel *ch);
/* A row at `pos` matches the binding. False: it has been delivered to it already. */
bool rt_linger_first(struct rt_bindings *v, uint32_t index, struct pr_pos pos);

#endif
