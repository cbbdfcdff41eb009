/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only questions about a cl: rows for operators, counters, and its own invariants. */
#include "cluster/core_in.h"

void cl_inspect_topics(const struct cl *cl, cl_topic_fn emit, void *ctx)
{
    uint32_t i = 0;
    const struct cl_topic *t = cl_topics_next(&cl->topics, &i);

    for (; t != NULL; t = cl_topics_next(&cl->topics, &i)) {
        struct cl_topic_row row = {
            .topic = cl_topic_name(t),
            .part = t->part,
            .epoch = cl->epoch,
            .seq = t->seq,
            .presences = cl_pres_members(cl->pres, cl_topic_name(t)),
            .repeats = t->repeats,
        };

        for (uint64_t bits = t->edges; bits != 0; bits &= bits - 1) {
            row.edges++;
        }
        emit(ctx, &row);
    }
}

void cl_inspect_presence(const struct cl *cl, struct pr_slice topic, cl_presence_fn emit, void *ctx)
{
    cl_pres_each(cl->pres, topic, emit, ctx);
}

void cl_stats(const struct cl *cl, struct cl_stats *out)
{
    struct cl_pres_stats pres = {0};

    cl_pres_stats(cl->pres, &pres);
    *out = cl->stats;
    out->presence_puts = pres.puts;
    out->presence_dels = pres.dels;
    out->diffs = pres.diffs;
    out->presences = pres.visible;
    out->topics = cl->topics.pool.used;
}

static const char *check_edges(const struct cl *cl)
{
    uint32_t attached = 0;

    for (uint32_t i = 0; i < CL_EDGES_MAX; i++) {
        const struct edge *e = &cl->edge[i];

        if (e->up != ((cl->up >> i & 1u) != 0) || e->attached != ((cl->attached >> i & 1u) != 0)) {
            return "an edge's state differs from the bitmaps";
        }
        if ((e->attached && !e->up) || (e->up && (e->oseq == NULL || i >= cl->lim.edges))) {
            return "an edge is in an impossible state";
        }
        attached += e->attached;
    }
    return attached == cl->n_attached ? NULL : "the number of attached edges is wrong";
}

static const char *check_parked(const struct cl *cl)
{
    size_t bytes = 0;

    for (const struct parked *p = cl->park_head; p != NULL; p = p->next) {
        bytes += sizeof *p + p->n;
        if (p->next == NULL && p != cl->park_tail) {
            return "the last parked publish is not the tail";
        }
    }
    if (bytes != cl->park_bytes || bytes > cl->lim.pending_bytes) {
        return "the bytes of parked publishes are wrong";
    }
    return NULL;
}

bool cl_check(const struct cl *cl, const char **what)
{
    *what = check_edges(cl);
    if (*what == NULL) {
        *what = check_parked(cl);
    }
    return *what == NULL && cl_topics_check(&cl->topics, cl->up, what) &&
           cl_pres_check(cl->pres, what);
}
