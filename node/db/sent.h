/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sent.h - what was sent and is not acknowledged: up to which position of the slot may be confirmed
 * once the edges have which changes, and the edge that publishes has which broadcasts.
 *
 * Bound: RT_SENT_MAX batches. What follows joins the newest of them: all of it is confirmed when
 * the last of it is acknowledged, later than it could be and never too early.
 */
#ifndef NODE_DB_SENT_H
#define NODE_DB_SENT_H

#include "proto/mesh.h"

#define RT_SENT_MAX 1024u

struct rt_sent {
    struct pr_pos pos,
        cast;         /* all edges must have the one, and the edge that publishes the other */
    uint64_t end_lsn; /* may be confirmed then; 0: nothing may, a transaction goes on */
};

/* Zeros: empty. */
struct rt_sent_ring {
    struct rt_sent at[RT_SENT_MAX];
    uint32_t head, count;
};

/* Positions do not go back from one call to the next, nor does end_lsn but to 0. */
void rt_sent_add(struct rt_sent_ring *r, const struct rt_sent *batch);
/* The oldest; NULL: there is none. */
const struct rt_sent *rt_sent_first(const struct rt_sent_ring *r);
/* It is acknowledged. */
void rt_sent_done(struct rt_sent_ring *r);

#endif
