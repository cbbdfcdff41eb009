/* SPDX-License-Identifier: Apache-2.0 */
/*
 * origin.h - how far the publishes of each edge process of the cluster were ordered here.
 *
 * The publishes of one edge process arrive in the order of their oseq within a partition, so one
 * number per (edge process, partition) tells a repeat. An edge publishes into few partitions and a
 * node owns a part of them: numbers are kept in pages of CL_ORIGIN_PAGE partitions, made when used.
 */
#ifndef CLUSTER_ORIGIN_H
#define CLUSTER_ORIGIN_H

#include "cluster/hash.h"
#include "cluster/pool.h"

#define CL_ORIGIN_PAGE 64u
/* Edge processes remembered: those of the whole cluster and, until their nodes say so, of lives
 * before. Above: CL_ENOMEM, and the publish is not taken. */
#define CL_ORIGINS_MAX 32768u

struct cl_origin {
    uint32_t chain; /* the pool's */
    uint32_t home;  /* index of its node */
    bool refused;   /* of it: nothing is taken before its node says that it comes anew */
    bool stray;     /* its node did not name it when they were looked at last */
    uint64_t boot;  /* 0: the place is free */
    uint64_t *page[CL_PARTITIONS / CL_ORIGIN_PAGE]; /* NULL: all zeros */
};

struct cl_origins {
    const struct cl_alloc *mem; /* borrowed */
    struct cl_pool pool;
};

void cl_origins_init(struct cl_origins *o, const struct cl_alloc *mem);
void cl_origins_deinit(struct cl_origins *o);
/* Finds, or makes one of node `home`. NULL: memory is refused, or the bound is reached. */
struct cl_origin *cl_origins_get(struct cl_origins *o, uint64_t boot, uint32_t home);
/* NULL if unknown. */
struct cl_origin *cl_origins_find(const struct cl_origins *o, uint64_t boot);
/* The next one from *at on, which starts at 0 and is moved behind it; NULL: there are no more. What
 * was told of may be dropped in between. */
struct cl_origin *cl_origins_next(const struct cl_origins *o, uint32_t *at);
/* Forgets an edge process; unknown ones are ignored. */
void cl_origins_drop(struct cl_origins *o, uint64_t boot);
/* The last oseq ordered in a partition, 0 if none. */
uint64_t cl_origin_oseq(const struct cl_origin *g, uint32_t part);
/* Makes the room that cl_origin_note needs. 0 or CL_ENOMEM. */
CL_MUST_CHECK int cl_origin_reserve(const struct cl_origins *o, struct cl_origin *g, uint32_t part);
void cl_origin_note(struct cl_origin *g, uint32_t part, uint64_t oseq);

#endif
