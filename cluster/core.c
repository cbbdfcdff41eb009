/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/confirm.h"
#include "cluster/kept.h"

#include <assert.h>
#include <string.h>

static bool limits_ok(const struct cl_limits *lim)
{
    return lim->edges > 0 && lim->edges <= CL_EDGES_MAX && lim->topics > 0 && lim->presences > 0 &&
           lim->presences_per_topic > 0 && lim->presence_bytes > 0 && lim->pending_bytes > 0 &&
           lim->kept_bytes > 0 && lim->actions > 0;
}

static struct cl_swim *new_swim(const struct cl_config *cfg, struct cl_rand *rand, cl_ms now)
{
    struct cl_swim_config swim = {
        .name = cfg->name,
        .id = cfg->id,
        .epoch = cfg->epoch,
        .addr = cfg->about.addr,
        .cluster = cfg->about.cluster,
        .nodes = CL_NODES_MAX,
        .meta = {.roles = PR_NODE_OWNER | PR_NODE_EDGE | PR_NODE_DB,
                 .weight = cfg->about.weight,
                 .edges = cfg->edges,
                 .proto_min = PR_PROTO_MIN,
                 .proto_max = PR_PROTO_MAX,
                 .build = cfg->about.build,
                 .url = cfg->about.url,
                 .zone = cfg->about.zone},
        .mem = cfg->mem,
    };

    return cl_swim_new(&swim, cl_rand_seed(cl_rand_next(rand)), now);
}

static void init(struct cl *cl, const struct cl_config *cfg, cl_ms now)
{
    cl->epoch = (struct pr_epoch){.node = cfg->id, .boot = cfg->epoch, .count = 1};
    cl->edges_expected = cfg->edges;
    cl->now = now;
    cl->start = now;
    cl->changed_at = now;
    cl->again_at = UINT64_MAX;
    cl->actors_at = UINT64_MAX;
    cl->sum_at = now + CL_SUM_MS;
    cl->node[CL_SELF] = (struct node){.id = cfg->id, .epoch = cfg->epoch, .member = true};
    cl->n_nodes = 1;
    cl->joined = !cfg->clustered;
    cl_topics_init(&cl->topics, cfg->mem, cfg->lim->topics, cfg->lim->kept_bytes,
                   cl_rand_next(&cl->rand));
    cl_origins_init(&cl->origins, cfg->mem);
    cl_confirm_init(cl);
    cl->taken_at = UINT64_MAX;
    cl->away_at = UINT64_MAX;
    cl_out_init(&cl->out, cfg->mem, sizeof(struct queued), cfg->lim->actions);
    cl_view_init(cl);
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
    cl->lim = *lim;
    cl->mem = cfg->mem;
    cl->rand = rand;
    cl->pres = cl_pres_new(&pres);
    cl->swim = cl->pres != NULL && cfg->clustered ? new_swim(cfg, &cl->rand, now) : NULL;
    if (cl->pres == NULL || (cfg->clustered && cl->swim == NULL)) {
        cl_pres_free(cl->pres);
        cfg->mem->put(cfg->mem->ctx, cl, sizeof *cl);
        return NULL;
    }
    init(cl, cfg, now);
    return cl;
}

void cl_free(struct cl *cl)
{
    if (cl == NULL) {
        return;
    }
    cl_order_deinit(cl);
    cl_confirm_deinit(cl);
    cl_origins_deinit(&cl->origins);
    cl_topics_deinit(&cl->topics);
    cl_pres_free(cl->pres);
    cl_swim_free(cl->swim);
    cl_out_deinit(&cl->out);
    cl->mem->put(cl->mem->ctx, cl, sizeof *cl);
}

struct cl_action *cl_push_action(struct cl *cl, enum cl_action_type type)
{
    struct queued *q = cl_out_push(&cl->out);

    q->act.type = type;
    return &q->act;
}

struct cl_action *cl_push_bytes(struct cl *cl, enum cl_action_type type, const struct pr_outbuf *w)
{
    struct queued *q = cl_out_push(&cl->out);

    q->act.type = type;
    q->act.bytes.n = w->len;
    q->at = cl_out_written(&cl->out, w);
    return &q->act;
}

void cl_push_send(struct cl *cl, uint64_t edges, const struct pr_outbuf *w)
{
    cl_push_bytes(cl, CL_ACT_EDGE_SEND, w)->edges = edges;
}

void cl_push_links(struct cl *cl, const struct cl_bits *nodes, const struct pr_outbuf *w)
{
    cl_push_bytes(cl, CL_ACT_LINK_SEND, w)->nodes = *nodes;
}

void cl_push_link(struct cl *cl, uint32_t node, const struct pr_outbuf *w)
{
    struct cl_bits one = {{0}};

    cl_bits_set(&one, node);
    cl_push_links(cl, &one, w);
}

int cl_pass_link(struct cl *cl, uint32_t node, struct pr_slice frame)
{
    int rv = cl_out_reserve(&cl->out, frame.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_put(&w, frame.p, frame.n);
        cl_push_link(cl, node, &w);
    }
    return rv;
}

/* What time and room allow after each event. Nothing here fails: what finds no room stays due. */
static void go_on(struct cl *cl)
{
    if (cl->swim != NULL) {
        cl_members_go_on(cl);
    }
    cl_local_ready(cl);
    cl_view_go_on(cl);
    cl_order_parked(cl);
    cl_away_go_on(cl);
    cl_confirm_go_on(cl);
    cl_marks_go_on(cl);
    cl_local_go_on(cl);
    cl_topics_expire(&cl->topics, cl->now);
    cl_kept_expire(&cl->topics, cl->now);
}

static int step(struct cl *cl, const struct cl_event *ev)
{
    switch (ev->type) {
    case CL_EV_TICK:
        if (cl->swim != NULL) {
            cl_swim_tick(cl->swim, cl->now);
        }
        return CL_OK;
    case CL_EV_EDGE_UP:
        return cl_local_up(cl, ev->edge, ev->boot);
    case CL_EV_EDGE_DOWN:
        return cl_local_down(cl, ev->edge);
    case CL_EV_EDGE_IN:
        return cl_local_in(cl, ev->edge, ev->frame);
    case CL_EV_UDP_IN:
        return cl->swim == NULL ? CL_OK : cl_swim_packet(cl->swim, cl->now, &ev->addr, ev->bytes);
    case CL_EV_LINK_UP:
        return cl_links_up(cl, ev);
    case CL_EV_LINK_DOWN:
        return cl_links_down(cl, ev);
    case CL_EV_LINK_IN:
        return cl_links_in(cl, ev);
    case CL_EV_LEAVE:
        if (cl->swim != NULL && !cl->leaving) {
            cl->leaving = true;
            cl->leave_at = cl->now + CL_LEAVE_MS;
            cl_swim_drain(cl->swim, cl->now, true);
        }
        return CL_OK;
    }
    return CL_ERANGE;
}

int cl_step(struct cl *cl, cl_ms now, const struct cl_event *ev)
{
    bool of_edge =
        ev->type == CL_EV_EDGE_UP || ev->type == CL_EV_EDGE_DOWN || ev->type == CL_EV_EDGE_IN;
    int rv = CL_OK;

    assert(now >= cl->now);
    if (of_edge && ev->edge >= cl->lim.edges) {
        return CL_ERANGE;
    }
    cl->now = now;
    if (cl->swim != NULL) {
        cl_swim_clock(cl->swim, now);
    }
    rv = step(cl, ev);
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

static cl_ms least(cl_ms a, cl_ms b)
{
    return a < b ? a : b;
}

cl_ms cl_deadline(const struct cl *cl)
{
    cl_ms due = least(cl_topics_deadline(&cl->topics), cl_kept_deadline(&cl->topics));

    due = least(due, cl_view_deadline(cl));
    due = least(due, cl_local_deadline(cl));
    if (cl->swim != NULL) {
        due = least(due, cl_swim_deadline(cl->swim));
        due = least(due, least(cl->sum_at, least(cl->actors_at, cl->away_at)));
        due = least(due, least(cl_confirm_deadline(cl), cl_marks_deadline(cl)));
        due = cl->leaving && !cl->left ? least(due, cl->leave_at) : due;
    }
    if (cl->park_head != NULL && cl_order_ready(cl)) {
        return cl->now;
    }
    return due;
}
