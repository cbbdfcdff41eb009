/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/frame.h"

#include <assert.h>

#include "node/base/alloc.h"

struct rt_frame *rt_frame_new(size_t len)
{
    struct rt_frame *f;

    assert(len <= UINT32_MAX);
    f = rt_malloc(sizeof *f + len);
    f->refs = 1;
    f->len = (uint32_t)len;
    return f;
}

struct rt_frame *rt_frame_ref(struct rt_frame *f)
{
    assert(f->refs > 0 && f->refs < UINT32_MAX);
    f->refs++;
    return f;
}

void rt_frame_unref(struct rt_frame *f)
{
    if (f == NULL) {
        return;
    }
    assert(f->refs > 0);
    f->refs--;
    if (f->refs == 0) {
        rt_free(f);
    }
}
