/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flight.h - publishes under way to one other node, in the order of its link; confirm.c fills it.
 *
 * `sent` are those whose event is on the link, each ahead of a mark. `away` are those that the node
 * is to get when it is back: its link ended before they were taken, or they were ordered while it
 * was away.
 */
#ifndef CLUSTER_FLIGHT_H
#define CLUSTER_FLIGHT_H

#include "cluster/core.h"

struct flown {
    uint32_t item; /* of cl.unconfirmed */
    uint64_t mark;
};

/* A ring. */
struct flights {
    struct flown *at;
    uint32_t room; /* a power of two, or 0 */
    uint32_t head, n;
};

struct flight {
    struct flights sent, away;
    uint64_t mark;  /* the last one sent on this link */
    uint64_t taken; /* the last one that the other side has told of */
    bool due;       /* another one is to be sent */
    bool now;       /* and somebody waits for it */
};

/* False: memory is refused, or the ring holds `max`. */
CL_MUST_CHECK bool cl_flights_add(const struct cl_alloc *mem, struct flights *f, uint32_t max,
                                  struct flown one);
/* How many from the first on are ahead of this mark, or of one before. */
uint32_t cl_flights_until(const struct flights *f, uint64_t mark);
/* Takes the first one out and returns its item. */
uint32_t cl_flights_take(struct flights *f);
void cl_flights_free(const struct cl_alloc *mem, struct flights *f);

#endif
