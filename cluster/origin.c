/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/origin.h"

#include <assert.h>
#include <string.h>

/* Items of a chunk, as a power of two. */
#define CHUNK_SHIFT 3u
#define PAGES       (CL_PARTITIONS / CL_ORIGIN_PAGE)
#define PAGE_BYTES  (CL_ORIGIN_PAGE * sizeof(uint64_t))

static struct cl_origin *at(const struct cl_origins *o, uint32_t i)
{
    return cl_pool_at(&o->pool, i);
}

static uint64_t rehash(const void *ctx, uint32_t i)
{
    return cl_mix64(at(ctx, i)->boot);
}

void cl_origins_init(struct cl_origins *o, const struct cl_alloc *mem)
{
    o->mem = mem;
    cl_pool_init(&o->pool, mem, sizeof(struct cl_origin), CHUNK_SHIFT, rehash, o);
}

static void free_pages(const struct cl_origins *o, struct cl_origin *g)
{
    for (uint32_t k = 0; k < PAGES; k++) {
        if (g->page[k] != NULL) {
            o->mem->put(o->mem->ctx, g->page[k], PAGE_BYTES);
            g->page[k] = NULL;
        }
    }
}

void cl_origins_deinit(struct cl_origins *o)
{
    for (uint32_t i = 0; i < o->pool.top; i++) {
        free_pages(o, at(o, i)); /* of a free item: none */
    }
    cl_pool_clear(&o->pool);
}

static uint32_t find(const struct cl_origins *o, uint64_t boot)
{
    uint32_t i = cl_pool_first(&o->pool, cl_mix64(boot));

    while (i != CL_POOL_NONE && at(o, i)->boot != boot) {
        i = cl_pool_next(&o->pool, i);
    }
    return i;
}

struct cl_origin *cl_origins_find(const struct cl_origins *o, uint64_t boot)
{
    uint32_t i = find(o, boot);

    return i == CL_POOL_NONE ? NULL : at(o, i);
}

struct cl_origin *cl_origins_get(struct cl_origins *o, uint64_t boot, uint32_t home)
{
    uint32_t i = find(o, boot);

    if (i != CL_POOL_NONE) {
        return at(o, i);
    }
    i = o->pool.used >= CL_ORIGINS_MAX ? CL_POOL_NONE : cl_pool_take(&o->pool);
    if (i == CL_POOL_NONE) {
        return NULL;
    }
    at(o, i)->boot = boot;
    at(o, i)->home = home;
    cl_pool_link(&o->pool, cl_mix64(boot), i);
    return at(o, i);
}

struct cl_origin *cl_origins_next(const struct cl_origins *o, uint32_t *at_index)
{
    while (*at_index < o->pool.top) {
        struct cl_origin *g = at(o, (*at_index)++);

        if (g->boot != 0) {
            return g;
        }
    }
    return NULL;
}

void cl_origins_drop(struct cl_origins *o, uint64_t boot)
{
    uint32_t i = find(o, boot);

    if (i != CL_POOL_NONE) {
        free_pages(o, at(o, i));
        cl_pool_unlink(&o->pool, cl_mix64(boot), i);
        at(o, i)->boot = 0;
        cl_pool_give(&o->pool, i);
    }
}

uint64_t cl_origin_oseq(const struct cl_origin *g, uint32_t part)
{
    const uint64_t *page = g->page[part / CL_ORIGIN_PAGE];

    return page == NULL ? 0 : page[part % CL_ORIGIN_PAGE];
}

int cl_origin_reserve(const struct cl_origins *o, struct cl_origin *g, uint32_t part)
{
    uint64_t **page = &g->page[part / CL_ORIGIN_PAGE];

    if (*page == NULL) {
        *page = o->mem->get(o->mem->ctx, PAGE_BYTES);
        if (*page == NULL) {
            return CL_ENOMEM;
        }
        memset(*page, 0, PAGE_BYTES);
    }
    return CL_OK;
}

void cl_origin_note(struct cl_origin *g, uint32_t part, uint64_t oseq)
{
    assert(g->page[part / CL_ORIGIN_PAGE] != NULL);
    g->page[part / CL_ORIGIN_PAGE][part % CL_ORIGIN_PAGE] = oseq;
}
