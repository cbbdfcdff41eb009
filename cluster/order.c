/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A publish becomes an event: passed to the topic's owner, there checked for repeats, counted, and
 * passed to each subscribed edge and node.
 *
 * Repeats: the publishes of one edge process arrive in the order of their oseq, so what is at or
 * below the last ordered one of (boot, partition) was ordered before. An owner process does not
 * know what another one ordered; there the receivers compare (boot, topic, oseq).
 */
#include "cluster/confirm.h"
#include "cluster/kept.h"

#include <assert.h>
#include <string.h>

/* An edge that is gone, or lives anew, is not answered. */
void cl_order_answer(struct cl *cl, struct source from, const struct pr_pub *pub, uint32_t result)
{
    struct pr_pub_ok ok = {
        .part = pub->part, .oseq = pub->oseq, .result = result, .boot = pub->boot};
    const struct edge *e = &cl->edge[from.edge];
    struct pr_outbuf w = cl_out_writer(&cl->out);

    pr_pub_ok_encode(&w, &ok);
    if (from.node != CL_SELF && cl->node[from.node].linked) {
        cl_push_link(cl, from.node, &w);
    } else if (from.node == CL_SELF && e->up && e->boot == pub->boot) {
        cl_push_send(cl, UINT64_C(1) << from.edge, &w);
    }
}

/* To the nodes that follow the topic; kept for those that miss it. False: it is confirmed when they
 * have it. */
static bool push_to_nodes(struct cl *cl, const struct cl_topic *topic, struct source from,
                          const struct pr_pub *pub, struct pr_slice frame, uint32_t *result)
{
    struct cl_remote *r = topic->remote;
    struct cl_bits away;
    bool now = true;

    cl_away_wanted(cl, topic, pub->flags, &away);
    if (cl_bits_any(&r->nodes) || cl_bits_any(&away)) {
        now = !cl_confirm_sent(cl, &r->nodes, &away, from, pub, result);
    }
    cl_kept_add(&cl->topics, cl->now, r, topic->seq, frame);
    return now;
}

/* Encoded once; the actions share the bytes. False: it is confirmed when other nodes have it. */
static bool push_event(struct cl *cl, const struct cl_topic *topic, struct source from,
                       const struct pr_pub *pub, uint32_t *result)
{
    struct pr_outbuf w = cl_out_writer(&cl->out);
    struct pr_event ev = {
        .topic = pub->topic,
        .epoch = cl->epoch,
        .seq = topic->seq,
        .boot = pub->boot,
        .part = pub->part,
        .oseq = pub->oseq,
        .flags = pub->flags,
        .payload = pub->payload,
    };
    bool now = true;
    size_t at = 0;
    struct queued *q = NULL;
#ifndef CL_SABOTAGE_MASK /* for the simulation, which must notice */
    uint64_t edges = topic->edges;
#else
    uint64_t edges = topic->edges != 0 ? cl->up : 0;
#endif

    pr_event_encode(&w, &ev);
    at = cl_out_written(&cl->out, &w);
    if (edges != 0) {
        q = cl_out_push(&cl->out);
        q->act = (struct cl_action){.type = CL_ACT_EDGE_SEND, .edges = edges};
        q->act.bytes.n = w.len;
        q->at = at;
    }
    if (topic->remote != NULL && cl_bits_any(&topic->remote->nodes)) {
        q = cl_out_push(&cl->out);
        q->act = (struct cl_action){.type = CL_ACT_LINK_SEND, .nodes = topic->remote->nodes};
        q->act.bytes.n = w.len;
        q->at = at;
    }
    if (topic->remote != NULL) {
        now = push_to_nodes(cl, topic, from, pub, cl_out_bytes(&cl->out, at, w.len), result);
    }
    cl->stats.events++;
    return now;
}

static bool is_repeat(const struct cl_origin *g, const struct pr_pub *pub)
{
#ifdef CL_SABOTAGE_REPEAT
    /* For the simulation, which must notice. */
    (void)g;
    (void)pub;
    return false;
#else
    return pub->oseq <= cl_origin_oseq(g, pub->part);
#endif
}

/* An edge or a node that follows topics here has not told which. */
static bool somebody_missing(const struct cl *cl)
{
    if (cl->n_attached < cl->edges_expected) {
        return true;
    }
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        if (cl->node[i].member && cl->node[i].subs != cl->ring.view) {
            return true;
        }
    }
    return false;
}

/*
 * The topic to count in. Nobody needs a topic without subscribers, but as long as somebody is
 * missing it may have some: what they miss must be counted for them, and kept, as far as there is
 * room.
 */
static int topic_of(struct cl *cl, struct pr_slice key, struct cl_topic **topic)
{
    int rv = CL_OK;

    *topic = cl_topics_find(&cl->topics, key);
    if ((*topic == NULL || (*topic)->remote == NULL) && somebody_missing(cl)) {
        rv = cl_topics_get(&cl->topics, cl->now, key, topic);
        if (rv == CL_OK && cl->swim != NULL && cl_topics_remote(&cl->topics, *topic) == NULL) {
            rv = CL_ENOMEM;
        }
    }
    return rv == CL_ERANGE ? CL_OK : rv;
}

static int repeat(struct cl *cl, struct source from, const struct pr_pub *pub)
{
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    if (rv == CL_OK) {
        struct cl_topic *topic = cl_topics_find(&cl->topics, pub->topic);
        uint32_t result = PR_PUB_REPEAT;

        if (!cl_confirm_repeat(cl, from, pub, &result)) {
            cl_order_answer(cl, from, pub, result);
        }
        cl->stats.repeats++;
        if (topic != NULL) {
            topic->repeats++;
        }
    }
    return rv;
}

static int order(struct cl *cl, struct source from, const struct pr_pub *pub)
{
    struct cl_origin *g = cl_origins_get(&cl->origins, pub->boot, from.node);
    struct cl_topic *topic = NULL;
    uint32_t result = PR_PUB_DONE;
    bool now = true;
    int rv = g == NULL ? CL_ENOMEM : CL_OK;

    if (rv == CL_OK && is_repeat(g, pub)) {
        return repeat(cl, from, pub);
    }
    if (rv == CL_OK) {
        rv = cl_origin_reserve(&cl->origins, g, pub->part);
    }
    if (rv == CL_OK) {
        rv = topic_of(cl, pub->topic, &topic);
    }
    if (rv == CL_OK && topic != NULL) { /* who waits is answered ahead of the first event */
        rv = cl_serve_owed(cl, topic);
        rv = rv == CL_OK ? cl_local_answer(cl, topic, false) : rv;
    }
    if (rv == CL_OK) {
        rv = cl_out_reserve(&cl->out, 2 * CL_FRAME_SMALL + pub->topic.n + pub->payload.n, 3);
    }
    if (rv != CL_OK) {
        return rv;
    }
    cl_origin_note(g, pub->part, pub->oseq);
    cl->stats.published++;
    if (topic != NULL) {
        topic->seq++;
        if (topic->edges != 0 || topic->remote != NULL) {
            now = push_event(cl, topic, from, pub, &result);
        }
    }
    if (now) {
        cl_order_answer(cl, from, pub, result);
    }
    return CL_OK;
}

/*
 * The other node's view is behind, or ahead: it asks its edge again when it has settled. Until then
 * nothing of that edge is taken, or what follows would make this one look like a repeat.
 */
static int not_owner(struct cl *cl, uint32_t to, const struct pr_pub *pub)
{
    struct pr_not_owner m = {.part = pub->part, .view = cl->ring.view};
    struct cl_origin *g = cl_origins_get(&cl->origins, pub->boot, to);
    int rv = g == NULL ? CL_ENOMEM : cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    if (rv == CL_OK && !g->refused) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_not_owner_encode(&w, &m);
        cl_push_link(cl, to, &w);
        g->refused = true;
        cl->stats.not_owner++;
    }
    return rv;
}

/*
 * No room to wait: the publish is refused with PR_PUB_FULL, and its edge tells the client; the ones
 * before it keep their place. One that must not be refused comes again, with all that its edge
 * holds.
 */
static int park_full(struct cl *cl, struct source from, const struct pr_pub *pub)
{
    int rv = CL_OK;

    if ((pub->flags & PR_PUB_KEEP) == 0) {
        rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);
        if (rv == CL_OK) {
            cl_order_answer(cl, from, pub, PR_PUB_FULL);
            cl->stats.pub_full++;
        }
    } else if (from.node != CL_SELF) {
        rv = not_owner(cl, from.node, pub);
    } else {
        cl_local_again(cl, CL_AGAIN_MS);
    }
    return rv;
}

/* Bound: cl_limits.pending_bytes, see park_full. Seen as stats.pub_full. */
static int park(struct cl *cl, struct source from, const struct pr_frame *f,
                const struct pr_pub *pub)
{
    size_t n = sizeof(struct parked) + f->whole.n;
    struct parked *p = NULL;

    if (n > cl->lim.pending_bytes || cl->park_bytes > cl->lim.pending_bytes - n ||
        cl->parked_in[pub->part] == UINT16_MAX) {
        return park_full(cl, from, pub);
    }
    p = cl->mem->get(cl->mem->ctx, n);
    if (p == NULL) {
        return CL_ENOMEM;
    }
    *p = (struct parked){.from = from, .boot = pub->boot, .part = pub->part, .n = f->whole.n};
    memcpy(p->frame, f->whole.p, f->whole.n);
    if (cl->park_tail == NULL) {
        cl->park_head = p;
    } else {
        cl->park_tail->next = p;
    }
    cl->park_tail = p;
    cl->park_bytes += n;
    cl->parked_in[pub->part]++;
    cl->stats.parked++;
    return CL_OK;
}

/* Partitions that are open are ordered: those that stay here do not wait for those that come. */
static bool ready(const struct cl *cl)
{
    return cl->edges_ready && (cl->swim == NULL || !cl_swim_unsure(cl->swim));
}

bool cl_order_ready(const struct cl *cl)
{
    return cl->n_closed == 0 && ready(cl);
}

/* Something of this edge was refused, and it does not come anew yet. */
static bool refused(const struct cl *cl, uint64_t boot)
{
    const struct cl_origin *g = cl_origins_find(&cl->origins, boot);

    return g != NULL && g->refused;
}

/* To the owner as it came. Without a link, or before all edges have subscribed, it is not passed
 * on: the edge holds it, and is asked again when the link, another view or the last edge comes. */
static int forward(struct cl *cl, struct source from, const struct pr_frame *f,
                   const struct pr_pub *pub)
{
    uint32_t to = cl->route[pub->part];
    int rv = CL_OK;

    if (from.node != CL_SELF) {
        return not_owner(cl, from.node, pub);
    }
    if (to != CL_NOBODY && cl->node[to].linked && cl->edges_ready) {
        rv = cl_pass_link(cl, to, f->whole);
        cl->stats.forwarded += rv == CL_OK;
    }
    return rv;
}

int cl_order_pub(struct cl *cl, struct source from, const struct pr_frame *f,
                 const struct pr_pub *pub)
{
    if (refused(cl, pub->boot)) {
        return CL_OK; /* it comes again */
    }
    if (cl->route[pub->part] != CL_SELF) {
        return forward(cl, from, f, pub);
    }
    if (cl->closed[pub->part] || cl->parked_in[pub->part] > 0 || !ready(cl)) {
        return park(cl, from, f, pub); /* behind those that wait: the order of a publisher holds */
    }
    return order(cl, from, pub);
}

/* The one behind `before`; NULL: the first. */
static void forget(struct cl *cl, struct parked *before)
{
    struct parked *p = before == NULL ? cl->park_head : before->next;
    size_t n = sizeof *p + p->n;

    if (before == NULL) {
        cl->park_head = p->next;
    } else {
        before->next = p->next;
    }
    if (cl->park_tail == p) {
        cl->park_tail = before;
    }
    cl->parked_in[p->part]--;
    cl->park_bytes -= n;
    cl->mem->put(cl->mem->ctx, p, n);
}

/* Its partition has moved away meanwhile. An own edge was asked to send everything again when that
 * happened: until it does, nothing of it is taken, as if another node had refused it. */
static int pass_over(struct cl *cl, const struct parked *p, const struct pr_pub *pub)
{
    struct cl_origin *g = NULL;

    if (p->from.node != CL_SELF) {
        return not_owner(cl, p->from.node, pub);
    }
    if (cl->edge[p->from.edge].boot != p->boot) {
        return CL_OK; /* it lives no more */
    }
    g = cl_origins_get(&cl->origins, p->boot, CL_SELF);
    if (g == NULL) {
        return CL_ENOMEM;
    }
    g->refused = true;
    return CL_OK;
}

void cl_order_parked(struct cl *cl)
{
    for (uint32_t k = 0; k < CL_UNPARK_MAX && cl->park_head != NULL && cl_order_ready(cl); k++) {
        const struct parked *p = cl->park_head;
        struct pr_frame f;
        struct pr_pub pub;
        long n = pr_frame_next(pr_bytes(p->frame, p->n), &f);
        int rv = n > 0 ? pr_pub_decode(&f, &pub) : PR_ESHORT;

        assert(rv == PR_OK); /* it was decoded before it was parked */
        if (rv == PR_OK && !refused(cl, p->boot)) {
            rv = cl->route[p->part] == CL_SELF ? order(cl, p->from, &pub) : pass_over(cl, p, &pub);
        }
        if (rv != CL_OK) {
            return; /* again in the next step */
        }
        forget(cl, NULL);
    }
}

/* Forgets what is parked of a node, or of one edge process. O(parked). */
static void forget_all(struct cl *cl, uint32_t node, uint64_t boot)
{
    struct parked *before = NULL;
    struct parked *p = cl->park_head;

    while (p != NULL) {
        struct parked *next = p->next;

        if (p->from.node == node || p->boot == boot) {
            forget(cl, before);
        } else {
            before = p;
        }
        p = next;
    }
}

/* What still waits of it comes again too, behind what may be missing ahead of it. */
void cl_order_anew(struct cl *cl, uint64_t boot)
{
    struct cl_origin *g = cl_origins_find(&cl->origins, boot);

    if (g != NULL) {
        g->refused = false;
    }
    forget_all(cl, CL_NOBODY, boot);
}

void cl_order_gone(struct cl *cl, uint32_t node)
{
    forget_all(cl, node, 0);
}

void cl_order_deinit(struct cl *cl)
{
    while (cl->park_head != NULL) {
        forget(cl, NULL);
    }
}
