/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold.h - messages of one topic that wait for a decision, while other traffic of the socket goes
 * on: of a join, or of what a private channel may send.
 *
 * Bounds: RT_HOLD_MESSAGES and RT_HOLD_BYTES behind a join, those of rights.h else. Overflow: the
 * message is answered "unmatched topic" behind a join, as one to a topic that is not joined, and
 * RT_TOO_MANY_WAIT else.
 */
#ifndef NODE_EDGE_HOLD_H
#define NODE_EDGE_HOLD_H

#include "node/edge/edge_in.h"

#define RT_HOLD_MESSAGES 64u
#define RT_HOLD_BYTES    262144u

/* Zeros before first use. */
struct rt_hold {
    struct rt_waiting *head, *tail;
    uint32_t count, bytes;
};

/* Copies a message. False: it would be more than `count_max`, or `bytes_max` with those before. */
bool rt_hold_add(struct rt_hold *h, struct pr_slice message, bool text, uint32_t count_max,
                 size_t bytes_max);
/* All go to the socket, which handles them behind this call, not inside it. */
void rt_hold_release(struct rt_hold *h, struct rt_socket *s);
void rt_hold_free(struct rt_hold *h);

/* Handles what was released. */
void rt_backlog_run(struct rt_socket *s);
void rt_backlog_free(struct rt_socket *s);

#endif
