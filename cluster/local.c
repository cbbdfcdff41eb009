/* SPDX-License-Identifier: Apache-2.0 */
/* local.c - the edge processes of this node: they come and go, subscribe, ask, publish. */
#include "cluster/core_in.h"

#include <assert.h>
#include <string.h>

uint64_t cl_local_bit(const struct cl *cl, uint64_t boot)
{
    for (uint64_t bits = cl->up; bits != 0; bits &= bits - 1) {
        uint64_t bit = bits & (~bits + 1);
        uint32_t i = 0;

        while (bit >> i != 1) {
            i++;
        }
        if (cl->edge[i].boot == boot) {
            return bit;
        }
    }
    return 0;
}

/* It asks again on its next connection, and takes the first answer there for that of then. */
static void forget_asked(struct cl *cl, struct cl_topic *topic, uint32_t edge)
{
    struct cl_asked **at = &topic->asked;

    while (*at != NULL) {
        struct cl_asked *a = *at;

        if (a->edge == edge) {
            *at = a->next;
            cl->mem->put(cl->mem->ctx, a, sizeof *a);
        } else {
            at = &a->next;
        }
    }
}

/* Its subscriptions end. What they were followed for at other nodes is given up by the next step
 * that finds room: a topic without edges is not followed (view.c). */
static void detach(struct cl *cl, uint32_t i)
{
    uint64_t bit = UINT64_C(1) << i;
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        forget_asked(cl, t, i);
        if ((t->edges & bit) != 0) {
            cl_topics_unsub(&cl->topics, cl->now, t, i);
            if (t->follow != CL_F_NONE && (t->edges == 0 || t->presence_edges == 0)) {
                cl_view_sweep(cl);
            }
        }
    }
    cl->n_attached -= cl->edge[i].attached;
    cl->edge[i].up = false;
    cl->edge[i].attached = false;
    cl->up &= ~bit;
    cl->attached &= ~bit;
}

static void forget_life(struct cl *cl, uint64_t boot)
{
    cl_pres_actor_down(cl->pres, cl->now, boot);
    cl_origins_drop(&cl->origins, boot);
}

int cl_local_up(struct cl *cl, uint32_t i, uint64_t boot)
{
    struct edge *e = &cl->edge[i];
    int rv = cl_pres_actor_own(cl->pres, cl->now, boot);

    if (rv != CL_OK) {
        return rv;
    }
    if (e->up) {
        detach(cl, i);
    }
    if (e->boot != 0 && e->boot != boot) {
        forget_life(cl, e->boot);
    }
    e->boot = boot;
    e->up = true;
    e->again = 0;
    cl_order_anew(cl, boot);
    cl->up |= UINT64_C(1) << i;
    return CL_OK;
}

/* Its members elsewhere see the leaves in one diff, its own sockets are closed anyway. */
int cl_local_down(struct cl *cl, uint32_t i)
{
    if (!cl->edge[i].up) {
        return CL_ENOENT;
    }
    detach(cl, i);
    cl_pres_actor_down(cl->pres, cl->now, cl->edge[i].boot);
    cl_links_actors_due(cl);
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
        rv = cl_pres_actor_own(cl->pres, cl->now, cl->edge[i].boot);
    }
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
    cl_links_actors_due(cl);
    return CL_OK;
}

static void push_sub_ok(struct cl *cl, uint64_t edges, const struct cl_topic *topic, bool refused)
{
    struct pr_sub_ok ok = {.topic = cl_topic_name(topic)};
    struct pr_outbuf w = cl_out_writer(&cl->out);

    if (!refused) {
        ok.epoch = cl->epoch;
        ok.seq = topic->seq;
    }
    if (!refused && (cl->route[topic->part] != CL_SELF || cl->closed[topic->part])) {
        ok.origin = (struct pr_place){.epoch = topic->follow_epoch, .seq = topic->follow_seq};
    }
    pr_sub_ok_encode(&w, &ok);
    cl_push_send(cl, edges, &w);
}

int cl_local_answer(struct cl *cl, struct cl_topic *topic, bool refused)
{
    int rv = CL_OK;

    if (topic->owed_edges == 0) {
        return CL_OK;
    }
    rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + topic->key_len, 1);
    if (rv == CL_OK) {
        push_sub_ok(cl, topic->owed_edges, topic, refused);
        cl->stats.sub_refused += refused;
        if (refused) {
            topic->edges &= ~topic->owed_edges;
            topic->presence_edges &= ~topic->owed_edges;
        }
        topic->owed_edges = 0;
        cl_topics_touch(&cl->topics, cl->now, topic);
    }
    return rv;
}

/* The limit of topics is reached: the epoch of zeros says so. */
static int refuse(struct cl *cl, uint32_t i, const struct pr_sub *sub)
{
    struct pr_sub_ok ok = {.topic = sub->topic};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + sub->topic.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_sub_ok_encode(&w, &ok);
        cl_push_send(cl, UINT64_C(1) << i, &w);
        cl->stats.sub_refused++;
    }
    return rv;
}

/*
 * The fence stands at once if the topic is owned here and no other node may still be ordering it,
 * or if this node follows it already; else the edge is answered when the partition opens, or when
 * the owner has answered this node.
 */
static int on_sub(struct cl *cl, uint32_t i, const struct pr_sub *sub)
{
    struct cl_topic *topic = NULL;
    struct cl_topic before;
    int rv = cl_topics_get(&cl->topics, cl->now, sub->topic, &topic);

    if (rv == CL_ERANGE) {
        return refuse(cl, i, sub);
    }
    if (rv != CL_OK) {
        return rv;
    }
    before = *topic;
    cl_topics_sub(&cl->topics, topic, i, sub->presence);
    topic->owed_edges |= UINT64_C(1) << i;
    if (cl->route[topic->part] != CL_SELF) {
        cl_follow_since(cl, topic, sub);
        rv = cl_follow_want(cl, topic);
    } else if (cl->swim == NULL || !cl->closed[topic->part]) {
        rv = cl_local_answer(cl, topic, false);
    }
    if (rv != CL_OK) {
        topic->edges = before.edges;
        topic->presence_edges = before.presence_edges;
        topic->owed_edges = before.owed_edges;
        cl_topics_touch(&cl->topics, cl->now, topic);
        cl_view_sweep(cl);
    } else if (cl->route[topic->part] != CL_SELF && cl_follow_unwant(cl, topic) != CL_OK) {
        cl_view_sweep(cl); /* no room now: it finds presence that nobody wants */
    }
    return rv;
}

static int on_unsub(struct cl *cl, uint32_t i, const struct pr_unsub *unsub)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, unsub->topic);

    if (topic == NULL || (topic->edges >> i & 1u) == 0) {
        return CL_OK;
    }
    cl_topics_unsub(&cl->topics, cl->now, topic, i);
    if (cl->route[topic->part] != CL_SELF && cl_follow_unwant(cl, topic) != CL_OK) {
        cl_view_sweep(cl); /* no room now: it finds a topic that nobody wants */
    }
    return CL_OK;
}

static int on_pub(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    struct source from = {.node = CL_SELF, .edge = i};
    struct pr_pub pub;

    if (pr_pub_decode(f, &pub) != PR_OK || pub.boot != cl->edge[i].boot || pub.oseq == 0 ||
        pub.part != cl_partition(pub.topic)) {
        return CL_EPROTO;
    }
    return cl->edge[i].again != 0 ? CL_OK : cl_order_pub(cl, from, f, &pub);
}

/* Other nodes may have passed over some of it too: they take it again from here on. */
static int on_again_ok(struct cl *cl, uint32_t i, const struct pr_again *m)
{
    struct pr_again anew = {.gen = cl->edge[i].boot};
    struct cl_bits to = {{0}};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    if (rv != CL_OK || cl->edge[i].again != m->gen) {
        return rv;
    }
    cl->edge[i].again = 0;
    cl_order_anew(cl, cl->edge[i].boot);
    for (uint32_t k = 1; k < cl->n_nodes; k++) {
        if (cl->node[k].linked) {
            cl_bits_set(&to, k);
        }
    }
    if (cl_bits_any(&to)) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_again_ok_encode(&w, &anew);
        cl_push_links(cl, &to, &w);
    }
    return CL_OK;
}

static int on_frame(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    struct pr_sub sub;
    struct pr_unsub unsub;
    struct pr_again again;

    if (f->type == PR_T_PUB) {
        return on_pub(cl, i, f);
    }
    if (f->type == PR_T_SUB) {
        return pr_sub_decode(f, &sub) == PR_OK ? on_sub(cl, i, &sub) : CL_EPROTO;
    }
    if (f->type == PR_T_UNSUB) {
        return pr_unsub_decode(f, &unsub) == PR_OK ? on_unsub(cl, i, &unsub) : CL_EPROTO;
    }
    if (f->type == PR_T_ATTACHED) {
        return pr_attached_decode(f) == PR_OK ? on_attached(cl, i) : CL_EPROTO;
    }
    if (f->type == PR_T_AGAIN_OK) {
        return pr_again_ok_decode(f, &again) == PR_OK ? on_again_ok(cl, i, &again) : CL_EPROTO;
    }
    return cl_local_presence(cl, i, f);
}

int cl_local_in(struct cl *cl, uint32_t i, const struct pr_frame *f)
{
    int rv = CL_OK;

    if (!cl->edge[i].up) {
        return CL_ENOENT;
    }
    rv = on_frame(cl, i, f);
    if (rv == CL_EPROTO && cl_out_reserve(&cl->out, 0, 1) == CL_OK) {
        struct cl_action *a = cl_push_action(cl, CL_ACT_EDGE_CUT);

        a->edge = i;
        a->reason = "a frame that is damaged, or that an edge may not send";
    }
    return rv;
}

/*
 * From now on nothing of the edges is taken before they have echoed: a later publish that went
 * through would make an earlier one, sent again, look like a repeat.
 */
void cl_local_again(struct cl *cl, uint32_t ms)
{
#ifdef CL_SABOTAGE_AGAIN /* for the simulation, which must notice */
    return;
#endif
    cl->again_gen++;
    for (uint32_t i = 0; i < CL_EDGES_MAX; i++) {
        if (cl->edge[i].up) {
            cl->edge[i].again = cl->again_gen;
        }
    }
    if (cl->again_at > cl->now + ms) {
        cl->again_at = cl->now + ms;
    }
}

static void again_if_due(struct cl *cl)
{
    struct pr_again m = {.gen = cl->again_gen};
    struct pr_outbuf w;

    if (cl->again_at > cl->now || cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) != CL_OK) {
        return;
    }
    cl->again_at = UINT64_MAX;
    if (cl->up != 0) {
        cl->stats.again++;
        w = cl_out_writer(&cl->out);
        pr_again_encode(&w, &m);
        cl_push_send(cl, cl->up, &w);
    }
}

/* Presence is shown once this node knows what there is: its edges have told theirs, and owners
 * elsewhere have answered. */
static bool may_open(const struct cl *cl)
{
    if (!cl->edges_ready) {
        return false;
    }
    return (cl->ring.view != 0 && cl->n_closed == 0 && !cl->sweeping && cl->n_pending == 0) ||
           cl->now >= cl->start + CL_SYNC_MS;
}

/*
 * What the edges have told until now is the base of the next diffs: their members have it already,
 * from the owner process before.
 */
static void open_if_due(struct cl *cl)
{
    uint32_t n = cl->n_attached;

    if (cl->open || !may_open(cl) || cl_out_reserve(&cl->out, n * CL_FRAME_SMALL, n) != CL_OK) {
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

void cl_local_ready(struct cl *cl)
{
    if (!cl->edges_ready &&
        (cl->n_attached >= cl->edges_expected || cl->now >= cl->start + CL_OPEN_MS)) {
        cl->edges_ready = true;
        if (cl->swim != NULL) { /* owners elsewhere have not heard of it */
            cl_view_sweep(cl);
            cl_local_again(cl, 0);
        }
    }
    again_if_due(cl);
}

void cl_local_go_on(struct cl *cl)
{
    open_if_due(cl);
    if (cl->open) {
        cl_local_diffs(cl);
    }
}

cl_ms cl_local_deadline(const struct cl *cl)
{
    cl_ms due = cl->start + (cl->edges_ready ? CL_SYNC_MS : CL_OPEN_MS);

    if (cl->open) {
        due = cl_pres_deadline(cl->pres);
    } else if (may_open(cl)) {
        due = cl->now;
    }
    return cl->again_at < due ? cl->again_at : due;
}
