/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/core_in.h"

#include <assert.h>
#include <string.h>

static bool limits_ok(const struct cl_limits *lim)
{
    return lim->edges > 0 && lim->edges <= CL_EDGES_MAX && lim->topics > 0 && lim->presences > 0 &&
           lim->presences_per_topic > 0 && lim->presence_bytes > 0 && lim->pending_bytes > 0 &&
           lim->actions > 0;
}

struct cl *cl_new(const struct cl_config *cfg, struct cl_rand rand, cl_ms now)
{
    const struct cl_limits *lim = cfg->lim;
    struct cl_pres_config pres = {
        .presences = lim->presences,
        .presences_per_topic = lim->presences_per_topic,
        .bytes = lim->presence_bytes,
        .seed = cl_rand_next(&rand),
        .mem = cfg->mem,
    };
    struct cl *cl = NULL;

    if (!limits_ok(lim) || cfg->edges > lim->edges) {
        return NULL;
    }
    cl = cfg->mem->get(cfg->mem->ctx, sizeof *cl);
    if (cl == NULL) {
        return NULL;
    }
    memset(cl, 0, sizeof *cl);
    cl->pres = cl_pres_new(&pres);
    if (cl->pres == NULL) {
        cfg->mem->put(cfg->mem->ctx, cl, sizeof *cl);
        return NULL;
    }
    cl->lim = *lim;
    cl->mem = cfg->mem;
    cl->rand = rand;
    cl->epoch = (struct pr_epoch){.node = cfg->id, .boot = cfg->epoch, .count = 1};
    cl->edges_expected = cfg->edges;
    cl->now = now;
    cl->open_at = now + CL_OPEN_MS;
    cl_topics_init(&cl->topics, cfg->mem, lim->topics, cl_rand_next(&cl->rand));
    cl_out_init(&cl->out, cfg->mem, sizeof(struct queued), lim->actions);
    return cl;
}

void cl_free(struct cl *cl)
{
    if (cl == NULL) {
        return;
    }
    cl_order_deinit(cl);
    for (uint32_t i = 0; i < CL_EDGES_MAX; i++) {
        if (cl->edge[i].oseq != NULL) {
            cl->mem->put(cl->mem->ctx, cl->edge[i].oseq, CL_PARTITIONS * sizeof *cl->edge[i].oseq);
        }
    }
    cl_topics_deinit(&cl->topics);
    cl_pres_free(cl->pres);
    cl_out_deinit(&cl->out);
    cl->mem->put(cl->mem->ctx, cl, sizeof *cl);
}

static void detach(struct cl *cl, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << i;

    cl_topics_edge_gone(&cl->topics, cl->now, i);
    cl->n_attached -= cl->edge[i].attached;
    cl->edge[i].up = false;
    cl->edge[i].attached = false;
    cl->up &= ~bit;
    cl->attached &= ~bit;
}

static int on_edge_up(struct cl *cl, uint32_t i, uint64_t boot)
{
    struct edge *e = &cl->edge[i];
    size_t n = CL_PARTITIONS * sizeof *e->oseq;
    uint64_t *oseq = e->oseq;

    if (oseq == NULL) {
        oseq = cl->mem->get(cl->mem->ctx, n);
        if (oseq == NULL) {
            return CL_ENOMEM;
        }
    }
    if (e->up) {
        detach(cl, i);
        if (e->boot != boot) {
            cl_pres_actor_down(cl->pres, cl->now, e->boot);
        }
    }
    if (e->oseq == NULL || e->boot != boot) {
        memset(oseq, 0, n);
    }
    e->oseq = oseq;
    e->boot = boot;
    e->up = true;
    cl->up |= UINT64_C(1) << i;
    return CL_OK;
}

/* Its members elsewhere see the leaves in one diff, its own sockets are closed anyway. */
static int on_edge_down(struct cl *cl, uint32_t i)
{
    if (!cl->edge[i].up) {
        return CL_ENOENT;
    }
    detach(cl, i);
    cl_pres_actor_down(cl->pres, cl->now, cl->edge[i].boot);
    return CL_OK;
}

static void push_digest(struct cl *cl, uint32_t i)
{
    struct pr_outbuf w = cl_out_writer(&cl->out);
    struct pr_p_digest d = {0};

    cl_pres_digest(cl->pres, cl->edge[i].boot, &d);
    d.actor = cl->edge[i].boot;
    pr_p_digest_encode(&w, &d);
    cl_push_send(cl, UINT64_C(1) << i, &w);
}

/*
 * An edge has told everything. The digest that answers it tells it in turn that this owner is
 * synced: what it sees of presence from here on is whole.
 */
static int on_attached(struct cl *cl, uint32_t i)
{
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    if (rv == CL_OK) {
        rv = cl_pres_actor_up(cl->pres, cl->now, cl->edge[i].boot);
    }
    if (rv != CL_OK) {
        return rv;
    }
    cl->n_attached += !cl->edge[i].attached;
    cl->edge[i].attached = true;
    cl->attached |= UINT64_C(1) << i;
    if (cl->open) {
        push_digest(cl, i);
    }
    return CL_OK;
}

/*
 * From here on publishes are ordered and presence is shown. What the edges have told until now is
 * the base of the next diffs: their members have it already, from the owner process before.
 */
static void open_if_due(struct cl *cl)
{
    uint32_t n = cl->n_attached;

    if (cl->open || (n < cl->edges_expected && cl->now < cl->open_at) ||
        cl_out_reserve(&cl->out, n * CL_FRAME_SMALL, n) != CL_OK) {
        return;
    }
    cl->open = true;
    cl_pres_settle(cl->pres, cl->now);
    for (uint32_t i = 0; i < CL_EDGES_MAX; i++) {
        if (cl->edge[i].attached) {
            push_digest(cl, i);
        }
    }
}

static int on_sub(struct cl *cl, uint32_t i, const struct pr_sub *sub)
{
    struct pr_sub_ok ok = {.topic = sub->topic};
    struct cl_topic *topic = NULL;
    struct pr_outbuf w;
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + sub->topic.n, 1);

    if (rv == CL_OK) {
        rv = cl_topics_get(&cl->topics, cl->now, sub->topic, &topic);
    }
    if (rv != CL_OK && rv != CL_ERANGE) {
        return rv;
    }
    if (rv == CL_OK) {
        cl_topics_sub(&cl->topics, topic, i, sub->presence);
        ok.epoch = cl->epoch;
        ok.seq = topic->seq;
    } else {
        cl->stats.sub_refused++; /* the epoch of zeros says so */
    }
    w = cl_out_writer(&cl->out);
    pr_sub_ok_encode(&w, &ok);
    cl_push_send(cl, UINT64_C(1) << i, &w);
    return CL_OK;
}

static void on_unsub(struct cl *cl, uint32_t i, const struct pr_unsub *unsub)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, unsub->topic);

    if (topic != NULL) {
        cl_topics_unsub(&cl->topics, cl->now, topic, i);
    }
}

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

static int on_p_delta(struct cl *cl, uint32_t i, const struct pr_p_delta *d)
{
    uint64_t ctx = 0;
    int rv = cl_pres_apply(cl->pres, cl->now, d, &ctx);

    if (rv == CL_PRES_HOLE) {
        return push_pull(cl, i, d->topic, ctx); /* unchanged so far, so this may fail */
    }
    return rv < 0 ? rv : CL_OK;
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

static int on_p_view_get(struct cl *cl, uint32_t i, const struct pr_p_view_get *get)
{
    struct to_edges to = {.cl = cl, .edges = UINT64_C(1) << i};
    struct cl_out_mark mark;
    int rv = cl_out_reserve(&cl->out, 0, 1);

    if (rv != CL_OK) {
        return rv;
    }
    mark = cl_out_mark(&cl->out);
    rv = cl_pres_view(cl->pres, get->topic, send_view, &to);
    if (rv != CL_OK) {
        cl_out_rollback(&cl->out, mark); /* half a view is none */
    }
    return rv;
}

/* One diff goes to every edge with members who want presence, as the same bytes. */
static int send_diff(void *ctx, const struct pr_p_diff *diff)
{
    struct cl *cl = ctx;
    const struct cl_topic *topic = cl_topics_find(&cl->topics, diff->topic);
    struct pr_outbuf w;
    int rv = CL_OK;

    if (topic == NULL || topic->presence_edges == 0) {
        return CL_OK; /* shown to nobody */
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

static int on_presence(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    struct pr_p_delta delta;
    struct pr_p_digest digest;
    struct pr_p_view_get get;

    if (f->type == PR_T_P_DELTA) {
        /* An edge speaks for its own clients only. */
        return pr_p_delta_decode(f, &delta) == PR_OK && delta.actor == cl->edge[i].boot
                   ? on_p_delta(cl, i, &delta)
                   : CL_EPROTO;
    }
    if (f->type == PR_T_P_DIGEST) {
        return pr_p_digest_decode(f, &digest) == PR_OK && digest.actor == cl->edge[i].boot
                   ? on_p_digest(cl, i, &digest)
                   : CL_EPROTO;
    }
    if (f->type == PR_T_P_VIEW_GET) {
        return pr_p_view_get_decode(f, &get) == PR_OK ? on_p_view_get(cl, i, &get) : CL_EPROTO;
    }
    return CL_EPROTO;
}

static int on_pub(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    struct pr_pub pub;

    if (pr_pub_decode(f, &pub) != PR_OK || pub.boot != cl->edge[i].boot || pub.oseq == 0 ||
        pub.part != cl_partition(pub.topic)) {
        return CL_EPROTO;
    }
    return cl_order_pub(cl, i, f, &pub);
}

static int on_frame(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    struct pr_sub sub;
    struct pr_unsub unsub;

    if (f->type == PR_T_PUB) {
        return on_pub(cl, i, f);
    }
    if (f->type == PR_T_SUB) {
        return pr_sub_decode(f, &sub) == PR_OK ? on_sub(cl, i, &sub) : CL_EPROTO;
    }
    if (f->type == PR_T_UNSUB) {
        if (pr_unsub_decode(f, &unsub) != PR_OK) {
            return CL_EPROTO;
        }
        on_unsub(cl, i, &unsub);
        return CL_OK;
    }
    if (f->type == PR_T_ATTACHED) {
        return pr_attached_decode(f) == PR_OK ? on_attached(cl, i) : CL_EPROTO;
    }
    return on_presence(cl, i, f);
}

static int on_edge_in(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    int rv = CL_OK;

    if (!cl->edge[i].up) {
        return CL_ENOENT;
    }
    rv = on_frame(cl, i, f);
    if (rv == CL_EPROTO && cl_out_reserve(&cl->out, 0, 1) == CL_OK) {
        struct queued *q = cl_out_push(&cl->out);

        q->act.type = CL_ACT_EDGE_CUT;
        q->act.edge = i;
        q->act.reason = "a frame that is damaged, or that an edge may not send";
    }
    return rv;
}

/* What time and room allow after each event. Nothing here fails: what finds no room stays due. */
static void go_on(struct cl *cl)
{
    open_if_due(cl);
    cl_order_parked(cl);
    cl_topics_expire(&cl->topics, cl->now);
    if (cl->open) {
        int rv = cl_pres_flush(cl->pres, cl->now, send_diff, cl);

        (void)rv; /* the topic's diff remains due */
    }
}

int cl_step(struct cl *cl, cl_ms now, const struct cl_event *ev)
{
    int rv = CL_OK;

    assert(now >= cl->now);
    if (ev->type != CL_EV_TICK && ev->edge >= cl->lim.edges) {
        return CL_ERANGE;
    }
    cl->now = now;
    switch (ev->type) {
    case CL_EV_TICK:
        break;
    case CL_EV_EDGE_UP:
        rv = on_edge_up(cl, ev->edge, ev->boot);
        break;
    case CL_EV_EDGE_DOWN:
        rv = on_edge_down(cl, ev->edge);
        break;
    case CL_EV_EDGE_IN:
        rv = on_edge_in(cl, ev->edge, ev->frame);
        break;
    }
    if (rv == CL_OK) {
        go_on(cl);
    }
    return rv;
}

bool cl_next_action(struct cl *cl, struct cl_action *out)
{
    const struct queued *q = cl_out_take(&cl->out);

    if (q == NULL) {
        return false;
    }
    *out = q->act;
    if (out->bytes.n > 0) {
        out->bytes = cl_out_bytes(&cl->out, q->at, out->bytes.n);
    }
    return true;
}

cl_ms cl_deadline(const struct cl *cl)
{
    cl_ms due = cl_topics_deadline(&cl->topics);
    cl_ms pres = cl->open ? cl_pres_deadline(cl->pres) : cl->open_at;

    if (cl->open && cl->park_head != NULL) {
        return cl->now;
    }
    return pres < due ? pres : due;
}
