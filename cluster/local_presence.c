/* SPDX-License-Identifier: Apache-2.0 */
/* local_presence.c - presence of this node's edges, and what they are told of all. */
#include "cluster/core_in.h"

static int push_pull(struct cl *cl, uint32_t i, struct pr_slice topic, uint64_t ctx)
{
    struct pr_p_pull pull = {.topic = topic, .actor = cl->edge[i].boot, .ctx = ctx};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + topic.n, 1);
    struct pr_outbuf w;

    if (rv == CL_OK) {
        w = cl_out_writer(&cl->out);
        pr_p_pull_encode(&w, &pull);
        cl_push_send(cl, UINT64_C(1) << i, &w);
    }
    return rv;
}

struct pull_from {
    struct cl *cl;
    uint32_t edge;
};

static void pull_topic(void *ctx, struct pr_slice topic, uint64_t known)
{
    struct pull_from *from = ctx;
    int rv = push_pull(from->cl, from->edge, topic, known);

    (void)rv; /* no room for more: the next digest goes on */
}

/*
 * Before ATTACHED and every 30 s an edge tells what it has. It is the last word: if this owner
 * holds something else, it asks for all of it, and for each topic it knows of, since the edge may
 * have forgotten one whose last deletion was lost with a connection.
 */
static int on_p_digest(struct cl *cl, uint32_t i, const struct pr_p_digest *d)
{
    struct pull_from from = {.cl = cl, .edge = i};
    struct pr_slice all = {0};
    struct pr_p_digest own = {0};
    int rv = CL_OK;

    cl_pres_digest(cl->pres, d->actor, &own);
    if (own.hash == d->hash && own.entries == d->entries) {
        return CL_OK;
    }
    rv = push_pull(cl, i, all, 0);
    if (rv == CL_OK) {
        cl_pres_topics_of(cl->pres, d->actor, pull_topic, &from);
    }
    return rv;
}

struct to_edges {
    struct cl *cl;
    uint64_t edges;
};

static int send_view(void *ctx, const struct pr_p_view *view)
{
    struct to_edges *to = ctx;
    struct cl_out *out = &to->cl->out;
    int rv = cl_out_reserve(out, CL_FRAME_SMALL + view->topic.n + view->list.n, 1);
    struct pr_outbuf w;

    if (rv == CL_OK) {
        w = cl_out_writer(out);
        pr_p_view_encode(&w, view);
        cl_push_send(to->cl, to->edges, &w);
    }
    return rv;
}

static int answer_view(struct cl *cl, uint32_t i, struct pr_slice topic)
{
    struct to_edges to = {.cl = cl, .edges = UINT64_C(1) << i};
    struct cl_out_mark mark;
    int rv = cl_out_reserve(&cl->out, 0, 1);

    if (rv != CL_OK) {
        return rv;
    }
    mark = cl_out_mark(&cl->out);
    rv = cl_pres_view(cl->pres, topic, send_view, &to);
    if (rv != CL_OK) {
        cl_out_rollback(&cl->out, mark); /* half a view is none */
    }
    return rv;
}

/* What this node holds of the topic's presence is all there is. */
static bool complete(const struct cl *cl, const struct cl_topic *topic)
{
    if (cl->route[topic->part] == CL_SELF) {
        return !cl->closed[topic->part];
    }
    return topic->follow == CL_F_OK && topic->follow_presence;
}

int cl_local_views(struct cl *cl, struct cl_topic *topic)
{
    while (topic->asked != NULL && complete(cl, topic)) {
        struct cl_asked *a = topic->asked;
        int rv = answer_view(cl, a->edge, cl_topic_name(topic));

        if (rv != CL_OK) {
            return rv;
        }
        topic->asked = a->next;
        cl->mem->put(cl->mem->ctx, a, sizeof *a);
    }
    return CL_OK;
}

/* A new member gets everything in one state, so it waits until the owner has told it. */
static int on_p_view_get(struct cl *cl, uint32_t i, const struct pr_p_view_get *get)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, get->topic);
    struct cl_asked *a = NULL;

    if (topic == NULL || complete(cl, topic) || (topic->presence_edges >> i & 1u) == 0) {
        return answer_view(cl, i, get->topic);
    }
    a = cl->mem->get(cl->mem->ctx, sizeof *a);
    if (a == NULL) {
        return CL_ENOMEM;
    }
    *a = (struct cl_asked){.next = topic->asked, .edge = i};
    topic->asked = a;
    return CL_OK;
}

int cl_local_presence(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    struct pr_p_delta delta;
    struct pr_p_digest digest;
    struct pr_p_view_get get;
    uint64_t ctx = 0;
    int rv = CL_EPROTO;

    if (f->type == PR_T_P_DELTA && pr_p_delta_decode(f, &delta) == PR_OK &&
        delta.actor == cl->edge[i].boot) { /* an edge speaks for its own clients only */
        rv = cl_spread_local(cl, i, f, &delta);
        if (rv == CL_PRES_HOLE) {
            ctx = cl_pres_ctx(cl->pres, delta.topic, delta.actor);
            return push_pull(cl, i, delta.topic, ctx); /* unchanged so far, so this may fail */
        }
        return rv;
    }
    if (f->type == PR_T_P_DIGEST && pr_p_digest_decode(f, &digest) == PR_OK &&
        digest.actor == cl->edge[i].boot) {
        return on_p_digest(cl, i, &digest);
    }
    if (f->type == PR_T_P_VIEW_GET && pr_p_view_get_decode(f, &get) == PR_OK) {
        return on_p_view_get(cl, i, &get);
    }
    return CL_EPROTO;
}

/* The topic's diff waits for its next window; the others go on. */
#define HELD 1

/* One diff goes to every edge with members who want presence, as the same bytes. While one of them
 * still waits for its first state, what comes now is for after it. */
static int send_diff(void *ctx, const struct pr_p_diff *diff)
{
    struct cl *cl = ctx;
    const struct cl_topic *topic = cl_topics_find(&cl->topics, diff->topic);
    struct pr_outbuf w;
    int rv = CL_OK;

    if (topic == NULL || topic->presence_edges == 0) {
        return CL_OK; /* shown to nobody */
    }
    if (topic->asked != NULL) {
        return HELD;
    }
    rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + diff->topic.n + diff->joins.n + diff->leaves.n,
                        1);
    if (rv == CL_OK) {
        w = cl_out_writer(&cl->out);
        pr_p_diff_encode(&w, diff);
        cl_push_send(cl, topic->presence_edges, &w);
    }
    return rv;
}

void cl_local_diffs(struct cl *cl)
{
    int rv = HELD;

    while (rv == HELD) {
        rv = cl_pres_flush(cl->pres, cl->now, send_diff, cl);
    } /* after an error the topic's diff remains due */
}
