/* SPDX-License-Identifier: Apache-2.0 */
/*
 * alloc.h - the only way to the heap in node and cmd; and a bounded allocator for the cluster.
 *
 * rt_* never answer NULL: every queue and table is bounded, so exhaustion means that the machine
 * cannot hold what the limits allow. The process then says so and aborts; the supervisor restarts.
 */
#ifndef NODE_BASE_ALLOC_H
#define NODE_BASE_ALLOC_H

#include <stddef.h>

#include "cluster/core.h"

/* `n` bytes, not cleared (rt_malloc) or cleared (rt_calloc, count * size checked). n = 0 is
 * allowed and gives a pointer of its own. */
void *rt_malloc(size_t n) __attribute__((malloc, returns_nonnull));
void *rt_calloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *rt_realloc(void *p, size_t n) __attribute__((returns_nonnull));
char *rt_strdup(const char *text) __attribute__((malloc, returns_nonnull));
/* Copy of `n` bytes with a NUL behind. */
char *rt_strndup(const void *p, size_t n) __attribute__((malloc, returns_nonnull));
/* NULL is allowed. */
void rt_free(void *p);

/* Allocator with a byte limit for struct cl_config.mem: refuses with NULL what would pass it. */
struct rt_pool {
    struct cl_alloc alloc; /* give &pool.alloc away; the pool must stay where it is */
    size_t used, limit;    /* bytes */
};
void rt_pool_init(struct rt_pool *pool, size_t limit);

#endif
