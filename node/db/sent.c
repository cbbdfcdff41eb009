/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/sent.h"

#include <assert.h>

void rt_sent_add(struct rt_sent_ring *r, const struct rt_sent *batch)
{
    struct rt_sent *newest = &r->at[(r->head + r->count - 1) % RT_SENT_MAX];

    if (r->count < RT_SENT_MAX) {
        r->at[(r->head + r->count++) % RT_SENT_MAX] = *batch;
        return;
    }
    newest->pos = batch->pos;
    newest->cast = batch->cast;
    newest->end_lsn = batch->end_lsn != 0 ? batch->end_lsn : newest->end_lsn;
}

const struct rt_sent *rt_sent_first(const struct rt_sent_ring *r)
{
    return r->count > 0 ? &r->at[r->head] : NULL;
}

void rt_sent_done(struct rt_sent_ring *r)
{
    assert(r->count > 0);
    r->head = (r->head + 1) % RT_SENT_MAX;
    r->count--;
}
