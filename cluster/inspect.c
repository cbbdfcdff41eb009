/* SPDX-License-Identifier: Apache-2.0 */
/* Read-only questions about a cl: rows for operators, counters, and its own invariants. */
#include "cluster/confirm.h"

static struct cl_topic_row row_of(const struct cl *cl, const struct cl_topic *t)
{
    struct cl_topic_row row = {
        .topic = cl_topic_name(t),
        .part = t->part,
        .epoch = cl->epoch,
        .seq = t->seq,
        .presences = cl_pres_members(cl->pres, cl_topic_name(t)),
        .owner = cl_owner_of(cl, t->part),
        .nodes = t->remote == NULL ? 0 : cl_bits_count(&t->remote->nodes),
        .repeats = t->repeats,
        .lost = t->lost,
    };

    for (uint64_t bits = t->edges; bits != 0; bits &= bits - 1) {
        row.edges++;
    }
    return row;
}

void cl_inspect_topics(const struct cl *cl, cl_topic_fn emit, void *ctx)
{
    uint32_t i = 0;
    const struct cl_topic *t = cl_topics_next(&cl->topics, &i);

    for (; t != NULL; t = cl_topics_next(&cl->topics, &i)) {
        struct cl_topic_row row = row_of(cl, t);

        emit(ctx, &row);
    }
}

void cl_inspect_topic(const struct cl *cl, struct pr_slice topic, cl_topic_fn emit, void *ctx)
{
    const struct cl_topic *t = cl_topics_find(&cl->topics, topic);

    if (t != NULL) {
        struct cl_topic_row row = row_of(cl, t);

        emit(ctx, &row);
    }
}

uint64_t cl_home_of(const struct cl *cl, uint64_t boot)
{
    uint32_t i = cl_links_home(cl, boot);

    return i == CL_NOBODY ? 0 : cl->node[i].id;
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
    if (cl->swim != NULL) {
        struct cl_swim_stats swim;

        cl_swim_stats(cl->swim, &swim);
        out->probes = swim.probes;
        out->acks_direct = swim.acks_direct;
        out->acks_helped = swim.acks_helped;
        out->acks_link = swim.acks_link;
        out->probes_failed = swim.probes_failed;
        out->suspected = swim.suspected;
        out->refuted = swim.refuted;
    }
}

struct members {
    const struct cl *cl;
    cl_member_fn emit;
    void *ctx;
};

static uint32_t partitions_of(const struct cl *cl, uint32_t node)
{
    uint32_t n = 0;

    for (uint32_t p = 0; p < CL_PARTITIONS; p++) {
        n += cl->route[p] == node;
    }
    return n;
}

static void emit_member(void *ctx, const struct cl_swim_member *m)
{
    const struct members *to = ctx;
    uint32_t i = cl_node_index(to->cl, m->id);
    struct cl_member_row row = {
        .id = m->id,
        .epoch = m->epoch,
        .name = m->name,
        .build = m->meta.build,
        .url = m->meta.url,
        .zone = m->meta.zone,
        .addr = m->addr,
        .state = cl_swim_state_name(m),
        .inc = m->inc,
        .weight = m->meta.weight,
        .edges = m->meta.edges,
        .partitions = i == CL_NOBODY ? 0 : partitions_of(to->cl, i),
        .rtt_ms = m->rtt_ms,
        .udp_missed = m->udp_missed,
        .health = m->health,
        .confirms = m->confirms,
        .confirms_of = m->confirms_of,
        .since = m->since,
        .dead_at = m->dead_at,
        .self = m->self,
        .linked = m->linked,
    };

    if (i != CL_NOBODY) {
        row.view = m->self ? to->cl->ring.view : to->cl->node[i].view;
    }
    to->emit(to->ctx, &row);
}

void cl_inspect_members(const struct cl *cl, cl_member_fn emit, void *ctx)
{
    struct members to = {.cl = cl, .emit = emit, .ctx = ctx};

    if (cl->swim != NULL) {
        cl_swim_each(cl->swim, emit_member, &to);
    }
}

static const char *check_edges(const struct cl *cl)
{
    uint32_t attached = 0;

    for (uint32_t i = 0; i < CL_EDGES_MAX; i++) {
        const struct edge *e = &cl->edge[i];

        if (e->up != ((cl->up >> i & 1u) != 0) || e->attached != ((cl->attached >> i & 1u) != 0)) {
            return "an edge's state differs from the bitmaps";
        }
        if ((e->attached && !e->up) || (e->up && i >= cl->lim.edges)) {
            return "an edge is in an impossible state";
        }
        attached += e->attached;
    }
    return attached == cl->n_attached ? NULL : "the number of attached edges is wrong";
}

/* One part of 64 by each call, since a simulation calls it after every step. */
static const char *check_routes(const struct cl *cl)
{
    uint32_t first = (uint32_t)(cl->now % 64) * (CL_PARTITIONS / 64);

    for (uint32_t p = first; p < first + CL_PARTITIONS / 64; p++) {
        uint32_t r = cl->route[p];

        if (cl->closed[p] && (r != CL_SELF || cl->n_closed == 0)) {
            return "a partition is closed that is not owned here";
        }
        if (r != CL_NOBODY && cl->node[r].id == 0) {
            return "a partition is routed to no node";
        }
        if (r != CL_NOBODY && cl->node[r].id != cl_ring_owner_id(&cl->ring, p)) {
            return "a partition's route is not the view's";
        }
    }
    return cl->n_closed > 0 && !cl->flushing ? "closed partitions wait for nothing" : NULL;
}

static const char *check_followed(const struct cl *cl)
{
    uint32_t at = 0;
    uint32_t pending = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        uint32_t r = cl->route[t->part];

        pending += t->follow == CL_F_DUE || t->follow == CL_F_SENT;
        if (r == CL_SELF && t->follow != CL_F_NONE) {
            return "a topic is followed that is owned here";
        }
        if (t->follow == CL_F_OK && (r == CL_NOBODY || !cl->node[r].linked)) {
            return "a topic is followed without a link to its owner";
        }
    }
    return pending == cl->n_pending ? NULL : "topics without answer are counted wrongly";
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
    if (*what == NULL) {
        *what = check_routes(cl);
    }
    if (*what == NULL) {
        *what = check_followed(cl);
    }
    if (*what == NULL) {
        *what = cl_confirm_check(cl);
    }
    return *what == NULL && cl_topics_check(&cl->topics, cl->up, what) &&
           cl_pres_check(cl->pres, what) && (cl->swim == NULL || cl_swim_check(cl->swim, what));
}
