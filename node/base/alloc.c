/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/alloc.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void *rt_malloc(size_t n)
{
    void *p = malloc(n == 0 ? 1 : n);

    if (p == NULL) {
        abort();
    }
    return p;
}

void *rt_calloc(size_t count, size_t size)
{
    void *p = calloc(count == 0 ? 1 : count, size == 0 ? 1 : size);

    if (p == NULL) {
        abort();
    }
    return p;
}

void *rt_realloc(void *p, size_t n)
{
    void *q = realloc(p, n == 0 ? 1 : n);

    if (q == NULL) {
        abort();
    }
    return q;
}

char *rt_strndup(const void *p, size_t n)
{
    char *copy = rt_malloc(n + 1);

    if (n > 0) {
        memcpy(copy, p, n);
    }
    copy[n] = '\0';
    return copy;
}

char *rt_strdup(const char *text)
{
    return rt_strndup(text, strlen(text));
}

void rt_free(void *p)
{
    free(p);
}

static void *pool_get(void *ctx, size_t n)
{
    struct rt_pool *pool = ctx;

    if (n > pool->limit - pool->used) {
        return NULL;
    }
    pool->used += n;
    return rt_malloc(n);
}

static void pool_put(void *ctx, void *p, size_t n)
{
    struct rt_pool *pool = ctx;

    if (p != NULL) {
        assert(pool->used >= n);
        pool->used -= n;
        rt_free(p);
    }
}

void rt_pool_init(struct rt_pool *pool, size_t limit)
{
    pool->used = 0;
    pool->limit = limit;
    pool->alloc.get = pool_get;
    pool->alloc.put = pool_put;
    pool->alloc.ctx = pool;
}
