/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/out.h"

#include <assert.h>
#include <string.h>

/* First sizes; both double. */
#define ITEMS_MIN 64u
#define BYTES_MIN 4096u
/* Bytes kept for the next time; what one large message needed is given back, in bytes. */
#define BYTES_KEPT ((size_t)256 * 1024)

void cl_out_init(struct cl_out *o, const struct cl_alloc *mem, size_t item_bytes, uint32_t max)
{
    memset(o, 0, sizeof *o);
    o->mem = mem;
    o->item_bytes = item_bytes;
    o->max = max;
}

static void give(struct cl_out *o, void *p, size_t n)
{
    if (p != NULL) {
        o->mem->put(o->mem->ctx, p, n);
    }
}

void cl_out_deinit(struct cl_out *o)
{
    give(o, o->items, o->room * o->item_bytes);
    give(o, o->bytes, o->cap);
    memset(o, 0, sizeof *o);
}

static void reset(struct cl_out *o)
{
    o->head = 0;
    o->count = 0;
    o->len = 0;
    if (o->cap > BYTES_KEPT) {
        give(o, o->bytes, o->cap);
        o->bytes = NULL;
        o->cap = 0;
    }
}

/* A larger copy of `old`; NULL if memory is refused, then `old` stays. */
static void *grown(struct cl_out *o, void *old, size_t used, size_t old_size, size_t new_size)
{
    void *fresh = o->mem->get(o->mem->ctx, new_size);

    if (fresh == NULL) {
        return NULL;
    }
    if (used > 0) {
        memcpy(fresh, old, used);
    }
    give(o, old, old_size);
    return fresh;
}

static size_t doubled(size_t now, size_t min, size_t need)
{
    size_t n = now < min ? min : now;

    while (n < need) {
        n *= 2;
    }
    return n;
}

static int grow_items(struct cl_out *o, uint32_t need)
{
    size_t room = doubled(o->room, ITEMS_MIN, need);
    uint8_t *items =
        grown(o, o->items, o->count * o->item_bytes, o->room * o->item_bytes, room * o->item_bytes);

    if (items == NULL) {
        return CL_ENOMEM;
    }
    o->items = items;
    o->room = room;
    return CL_OK;
}

static int grow_bytes(struct cl_out *o, size_t need)
{
    size_t cap = doubled(o->cap, BYTES_MIN, need);
    uint8_t *bytes = grown(o, o->bytes, o->len, o->cap, cap);

    if (bytes == NULL) {
        return CL_ENOMEM;
    }
    o->bytes = bytes;
    o->cap = cap;
    return CL_OK;
}

int cl_out_reserve(struct cl_out *o, size_t n_bytes, uint32_t n_items)
{
    o->promised = 0;
    if (o->head == o->count) {
        reset(o);
    }
    if (n_items > o->max || o->count > o->max - n_items || n_bytes > CL_OUT_BYTES_MAX ||
        o->len > CL_OUT_BYTES_MAX - n_bytes) {
        return CL_EAGAIN;
    }
    if (o->count + n_items > o->room && grow_items(o, o->count + n_items) != CL_OK) {
        return CL_ENOMEM;
    }
    if (n_bytes > o->cap - o->len && grow_bytes(o, o->len + n_bytes) != CL_OK) {
        return CL_ENOMEM;
    }
    o->promised = n_items;
    return CL_OK;
}

void *cl_out_push(struct cl_out *o)
{
    void *item = o->items + o->count * o->item_bytes;

    assert(o->promised > 0 && o->count < o->room);
    o->promised--;
    o->count++;
    memset(item, 0, o->item_bytes);
    return item;
}

struct pr_outbuf cl_out_writer(struct cl_out *o)
{
    return pr_outbuf(o->bytes + o->len, o->cap - o->len);
}

size_t cl_out_written(struct cl_out *o, const struct pr_outbuf *w)
{
    size_t at = o->len;

    assert(pr_out_ok(w)); /* every writer reserves what it writes */
    o->len += w->len;
    return at;
}

struct pr_slice cl_out_bytes(const struct cl_out *o, size_t at, size_t n)
{
    assert(at <= o->len && n <= o->len - at);
    return (struct pr_slice){.p = o->bytes + at, .n = n};
}

struct cl_out_mark cl_out_mark(const struct cl_out *o)
{
    return (struct cl_out_mark){.count = o->count, .len = o->len};
}

void cl_out_rollback(struct cl_out *o, struct cl_out_mark m)
{
    if (o->count == 0) {
        return; /* a reserve found all items taken and started anew */
    }
    assert(o->head <= m.count && m.count <= o->count && m.len <= o->len);
    o->count = m.count;
    o->len = m.len;
    o->promised = 0;
}

void *cl_out_at(const struct cl_out *o, uint32_t i)
{
    assert(o->head <= i && i < o->count);
    return o->items + o->item_bytes * i;
}

void *cl_out_take(struct cl_out *o)
{
    if (o->head == o->count) {
        return NULL;
    }
    return o->items + o->item_bytes * o->head++;
}
