/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h - the keys over time. They are read again with all other settings of the projects at
 * SIGHUP, and every REALTIME_KEYS_RECHECK seconds, so that a key that somebody else takes out of a
 * file counts no more soon after.
 *
 * If they changed, who is there by a key that is gone is told and closed with 1012: a socket
 * whose own token, or that of one of its channels, would not verify any more. A key that was
 * added closes nobody.
 */
#ifndef NODE_EDGE_KEYS_H
#define NODE_EDGE_KEYS_H

#include "node/edge/edge_in.h"

/* Starts reading them again by time; `cfg` and `loop` of the edge are set. Stop it before the loop
 * ends. */
void rt_keys_start(struct rt_edge *e);
void rt_keys_stop(struct rt_edge *e);

#endif
