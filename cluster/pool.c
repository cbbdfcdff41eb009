/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/pool.h"

#include <assert.h>
#include <string.h>

/* First size of the hash index; below it growing would cost more calls than it saves bytes. */
#define BUCKETS_MIN 64u
#define CHUNKS_MIN  16u

void cl_pool_init(struct cl_pool *p, const struct cl_alloc *mem, size_t item_bytes, uint32_t shift,
                  uint64_t (*hash)(const void *ctx, uint32_t index), const void *ctx)
{
    assert(item_bytes % 8 == 0 && shift > 0 && shift < 20);
    memset(p, 0, sizeof *p);
    p->mem = mem;
    p->item_bytes = item_bytes;
    p->shift = shift;
    p->hash = hash;
    p->ctx = ctx;
    p->free_head = CL_POOL_NONE;
}

static void *get(struct cl_pool *p, size_t n)
{
    void *m = p->mem->get(p->mem->ctx, n);

    if (m != NULL) {
        p->bytes += n;
    }
    return m;
}

static void put(struct cl_pool *p, void *m, size_t n)
{
    if (m != NULL) {
        p->mem->put(p->mem->ctx, m, n);
        p->bytes -= n;
    }
}

static size_t chunk_bytes(const struct cl_pool *p)
{
    return p->item_bytes << p->shift;
}

void cl_pool_clear(struct cl_pool *p)
{
    for (uint32_t i = 0; i < p->chunks; i++) {
        put(p, p->chunk[i], chunk_bytes(p));
    }
    put(p, p->chunk, p->room * sizeof *p->chunk);
    put(p, p->bucket, p->buckets * sizeof *p->bucket);
    assert(p->bytes == 0);
    cl_pool_init(p, p->mem, p->item_bytes, p->shift, p->hash, p->ctx);
}

void *cl_pool_at(const struct cl_pool *p, uint32_t index)
{
    assert(index < p->top);
    return p->chunk[index >> p->shift] + (index & ((1u << p->shift) - 1u)) * p->item_bytes;
}

/* The pool's own word at the start of an item. */
static uint32_t *word(const struct cl_pool *p, uint32_t index)
{
    return (uint32_t *)cl_pool_at(p, index);
}

static bool grow_chunks(struct cl_pool *p)
{
    if (p->chunks == p->room) {
        uint32_t room = p->room == 0 ? CHUNKS_MIN : p->room * 2;
        uint8_t **chunk = get(p, room * sizeof *chunk);

        if (chunk == NULL) {
            return false;
        }
        if (p->chunks > 0) {
            memcpy(chunk, p->chunk, p->chunks * sizeof *chunk);
        }
        put(p, p->chunk, p->room * sizeof *chunk);
        p->chunk = chunk;
        p->room = room;
    }
    p->chunk[p->chunks] = get(p, chunk_bytes(p));
    if (p->chunk[p->chunks] == NULL) {
        return false;
    }
    p->chunks++;
    return true;
}

/* Doubles the hash index; on refusal the old one goes on with longer chains. */
static bool grow_buckets(struct cl_pool *p)
{
    uint32_t n = p->buckets == 0 ? BUCKETS_MIN : p->buckets * 2;
    uint32_t *old = p->bucket;
    uint32_t nold = p->buckets;
    uint32_t *fresh = get(p, n * sizeof *fresh);

    if (fresh == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        fresh[i] = CL_POOL_NONE;
    }
    p->bucket = fresh;
    p->buckets = n;
    for (uint32_t i = 0; i < nold; i++) {
        for (uint32_t at = old[i], next; at != CL_POOL_NONE; at = next) {
            uint32_t *slot = &fresh[p->hash(p->ctx, at) & (n - 1)];

            next = *word(p, at);
            *word(p, at) = *slot;
            *slot = at;
        }
    }
    put(p, old, nold * sizeof *old);
    return true;
}

uint32_t cl_pool_take(struct cl_pool *p)
{
    uint32_t index = p->free_head;

    if (p->linked >= p->buckets && !grow_buckets(p) && p->buckets == 0) {
        return CL_POOL_NONE;
    }
    if (index != CL_POOL_NONE) {
        p->free_head = *word(p, index);
    } else {
        if (p->top == p->chunks << p->shift && !grow_chunks(p)) {
            if (p->used == 0) {
                cl_pool_clear(p);
            }
            return CL_POOL_NONE;
        }
        index = p->top++;
    }
    p->used++;
    memset(cl_pool_at(p, index), 0, p->item_bytes);
    return index;
}

void cl_pool_give(struct cl_pool *p, uint32_t index)
{
    assert(p->used > 0);
    p->used--;
    if (p->used == 0) {
        assert(p->linked == 0);
        cl_pool_clear(p);
        return;
    }
    *word(p, index) = p->free_head;
    p->free_head = index;
}

void cl_pool_link(struct cl_pool *p, uint64_t hash, uint32_t index)
{
    uint32_t *slot;

    assert(p->buckets > 0);
    slot = &p->bucket[hash & (p->buckets - 1)];
    *word(p, index) = *slot;
    *slot = index;
    p->linked++;
}

void cl_pool_unlink(struct cl_pool *p, uint64_t hash, uint32_t index)
{
    uint32_t *slot = &p->bucket[hash & (p->buckets - 1)];

    while (*slot != index) {
        assert(*slot != CL_POOL_NONE);
        slot = word(p, *slot);
    }
    *slot = *word(p, index);
    p->linked--;
}

uint32_t cl_pool_first(const struct cl_pool *p, uint64_t hash)
{
    return p->buckets == 0 ? CL_POOL_NONE : p->bucket[hash & (p->buckets - 1)];
}

uint32_t cl_pool_next(const struct cl_pool *p, uint32_t index)
{
    return *word(p, index);
}
