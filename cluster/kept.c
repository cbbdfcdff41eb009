/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/kept.h"

#include <assert.h>
#include <string.h>

static void drop_oldest(struct cl_topics *t, struct cl_remote *r)
{
    struct cl_kept *k = r->oldest;
    size_t n = sizeof *k + k->n;

    r->oldest = k->newer;
    if (r->oldest == NULL) {
        r->newest = NULL;
    }
    r->kept--;
    r->kept_bytes -= n;
    if (k->prev == NULL) {
        t->oldest = k->after;
    } else {
        k->prev->after = k->after;
    }
    if (k->after == NULL) {
        t->newest = k->prev;
    } else {
        k->after->prev = k->prev;
    }
    t->kept_bytes -= n;
    t->mem->put(t->mem->ctx, k, n);
}

void cl_kept_clear(struct cl_topics *t, struct cl_remote *r)
{
    while (r->oldest != NULL) {
        drop_oldest(t, r);
    }
}

bool cl_kept_cut(const struct cl_remote *r, cl_ms now, cl_ms ms)
{
    return r->cut_at != 0 && r->cut_at + ms > now;
}

void cl_kept_add(struct cl_topics *t, cl_ms now, struct cl_remote *r, uint64_t seq,
                 struct pr_slice frame)
{
    size_t n = sizeof(struct cl_kept) + frame.n;
    struct cl_kept *k = NULL;

    while (r->oldest != NULL && (r->kept == CL_KEPT_EVENTS || r->kept_bytes + n > CL_KEPT_BYTES)) {
        r->cut_at = r->oldest->at;
        drop_oldest(t, r);
    }
    if (n <= CL_KEPT_BYTES && n <= t->kept_max && t->kept_bytes <= t->kept_max - n) {
        k = t->mem->get(t->mem->ctx, n);
    }
    if (k == NULL) {
        r->cut_at = now;
        cl_kept_clear(t, r);
        return;
    }
    *k = (struct cl_kept){.prev = t->newest, .remote = r, .seq = seq, .at = now, .n = frame.n};
    memcpy(k->frame, frame.p, frame.n);
    if (r->newest == NULL) {
        r->oldest = k;
    } else {
        assert(r->newest->seq + 1 == seq);
        r->newest->newer = k;
    }
    r->newest = k;
    r->kept++;
    r->kept_bytes += n;
    if (t->newest == NULL) {
        t->oldest = k;
    } else {
        t->newest->after = k;
    }
    t->newest = k;
    t->kept_bytes += n;
}

void cl_kept_expire(struct cl_topics *t, cl_ms now)
{
    while (t->oldest != NULL && t->oldest->at + CL_KEPT_MS <= now) {
        drop_oldest(t, t->oldest->remote); /* the oldest of all is the oldest of its topic */
    }
}

cl_ms cl_kept_deadline(const struct cl_topics *t)
{
    return t->oldest == NULL ? UINT64_MAX : t->oldest->at + CL_KEPT_MS;
}
