/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pool.h - items of one size by 32-bit index, with a hash index whose chains run inside the items.
 *
 * Why indices: half the size of pointers, and items never move. Why not an array that doubles: at
 * 100 000 presences the copy would stop the process for milliseconds and double the memory; chunks
 * grow by one at a time. An item starts with a uint32_t that belongs to the pool (hash chain, or
 * free list).
 */
#ifndef CLUSTER_POOL_H
#define CLUSTER_POOL_H

#include "cluster/core.h"

#define CL_POOL_NONE UINT32_MAX

struct cl_pool {
    const struct cl_alloc *mem;                        /* borrowed */
    uint64_t (*hash)(const void *ctx, uint32_t index); /* of a linked item, when buckets double */
    const void *ctx;
    uint8_t **chunk;
    uint32_t *bucket;
    size_t item_bytes;
    size_t bytes;     /* asked from the allocator and not given back */
    uint32_t shift;   /* items of a chunk, as a power of two */
    uint32_t chunks;  /* in use */
    uint32_t room;    /* of the chunk directory */
    uint32_t buckets; /* power of two, or 0 */
    uint32_t linked;  /* items in the hash index */
    uint32_t used;
    uint32_t top; /* indices below were given out before */
    uint32_t free_head;
};

/* Makes an empty pool that holds no memory. item_bytes: a multiple of 8. */
void cl_pool_init(struct cl_pool *p, const struct cl_alloc *mem, size_t item_bytes, uint32_t shift,
                  uint64_t (*hash)(const void *ctx, uint32_t index), const void *ctx);
/* Gives all memory back, also of items still in use. */
void cl_pool_clear(struct cl_pool *p);

/* Index of a zeroed item; CL_POOL_NONE if memory is refused. */
uint32_t cl_pool_take(struct cl_pool *p);
/* The item must not be linked. The last one gives all memory of the pool back. */
void cl_pool_give(struct cl_pool *p, uint32_t index);
/* Valid until the item is given back. */
void *cl_pool_at(const struct cl_pool *p, uint32_t index);

/* Puts an item into the hash index, takes it out. Never fails: there are buckets since take. */
void cl_pool_link(struct cl_pool *p, uint64_t hash, uint32_t index);
void cl_pool_unlink(struct cl_pool *p, uint64_t hash, uint32_t index);
/* Candidates for a hash; the caller compares. CL_POOL_NONE ends. */
uint32_t cl_pool_first(const struct cl_pool *p, uint64_t hash);
uint32_t cl_pool_next(const struct cl_pool *p, uint32_t index);

#endif
