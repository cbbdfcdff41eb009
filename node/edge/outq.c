/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/outq.h"

#include <assert.h>
#include <string.h>

#include "node/base/alloc.h"

void rt_outq_init(struct rt_outq *q, uint32_t bytes_max)
{
    assert(bytes_max > 0);
    memset(q, 0, sizeof *q);
    q->cap = RT_OUTQ_INLINE;
    q->bytes_max = bytes_max;
}

/* Not a pointer kept in the struct: the queue may be moved with its socket. */
static struct rt_frame **slots(struct rt_outq *q)
{
    return q->ring != NULL ? q->ring : q->slot;
}

static void grow(struct rt_outq *q)
{
    uint32_t cap = q->cap * 4;
    struct rt_frame **ring = rt_malloc(cap * (sizeof q->slot / RT_OUTQ_INLINE));
    struct rt_frame **old = slots(q);

    for (uint32_t i = 0; i < q->count; i++) {
        ring[i] = old[(q->head + i) & (q->cap - 1)];
    }
    rt_free(q->ring);
    q->ring = ring;
    q->cap = cap;
    q->head = 0;
}

bool rt_outq_push(struct rt_outq *q, struct rt_frame *frame)
{
    assert(q->count <= RT_OUTQ_FRAMES_MAX);
    if (q->count == RT_OUTQ_FRAMES_MAX) {
        return false;
    }
    if (q->count > 0 && (q->bytes >= q->bytes_max || frame->len > q->bytes_max - q->bytes)) {
        return false;
    }
    if (q->count == q->cap) {
        grow(q);
    }
    slots(q)[(q->head + q->count) & (q->cap - 1)] = rt_frame_ref(frame);
    q->count++;
    q->bytes += frame->len;
    return true;
}

bool rt_outq_over(const struct rt_outq *q, uint32_t part)
{
    return q->bytes > q->bytes_max / part || q->count > RT_OUTQ_FRAMES_MAX / part;
}

uint32_t rt_outq_peek(const struct rt_outq *q, struct rt_frame **out, uint32_t frames_max,
                      uint32_t bytes_max)
{
    struct rt_frame *const *ring = q->ring != NULL ? q->ring : q->slot;
    uint32_t n = 0;
    uint32_t bytes = 0;

    while (n < q->count && n < frames_max) {
        struct rt_frame *f = ring[(q->head + n) & (q->cap - 1)];

        if (n > 0 && (bytes >= bytes_max || f->len > bytes_max - bytes)) {
            break;
        }
        out[n++] = f;
        bytes += f->len;
    }
    return n;
}

void rt_outq_pop(struct rt_outq *q, uint32_t n)
{
    assert(n <= q->count);
    for (uint32_t i = 0; i < n; i++) {
        struct rt_frame *f = slots(q)[q->head];

        q->head = (q->head + 1) & (q->cap - 1);
        q->bytes -= f->len;
        rt_frame_unref(f);
    }
    q->count -= n;
    if (q->count == 0) {
        assert(q->bytes == 0);
        rt_free(q->ring);
        q->ring = NULL;
        q->cap = RT_OUTQ_INLINE;
        q->head = 0;
    }
}

void rt_outq_clear(struct rt_outq *q)
{
    rt_outq_pop(q, q->count);
}
