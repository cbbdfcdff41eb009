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

static void *budget_get(void *ctx, size_t n)
{
    struct rt_budget *b = ctx;

    if (n > b->max_bytes - b->used_bytes) {
        return NULL;
    }
    b->used_bytes += n;
    return rt_malloc(n);
}

static void budget_put(void *ctx, void *p, size_t n)
{
    struct rt_budget *b = ctx;

    if (p != NULL) {
        assert(b->used_bytes >= n);
        b->used_bytes -= n;
        rt_free(p);
    }
}

void rt_budget_init(struct rt_budget *b, size_t max_bytes)
{
    b->used_bytes = 0;
    b->max_bytes = max_bytes;
    b->alloc.get = budget_get;
    b->alloc.put = budget_put;
    b->alloc.ctx = b;
}
