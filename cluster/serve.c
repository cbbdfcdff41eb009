/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c - other nodes that follow topics owned here. A node's subscriptions hold for the life of
 * one link and are told anew on the next; a node is told of events once, whatever edges it has.
 */
#include "cluster/confirm.h"
#include "cluster/kept.h"

#include <string.h>

/* What is kept after `seq`, in order. Room was reserved for `n` frames of `bytes`. */
static void replay(struct cl *cl, uint32_t to, const struct cl_remote *r, uint64_t seq)
{
    for (const struct cl_kept *k = r->oldest; k != NULL; k = k->newer) {
        if (k->seq > seq) {
            struct pr_outbuf w = cl_out_writer(&cl->out);

            pr_put(&w, k->frame, k->n);
            cl_push_link(cl, to, &w);
            cl_confirm_resent(cl, to, pr_bytes(k->frame, k->n));
            cl->stats.replayed++;
        }
    }
}

/* The count after which a node can be given everything. */
static uint64_t start_of(const struct cl_topic *topic, uint64_t have)
{
    uint64_t first = topic->remote->oldest == NULL ? topic->seq + 1 : topic->remote->oldest->seq;

    return have + 1 >= first ? (have < topic->seq ? have : topic->seq) : first - 1;
}

/*
 * A node that followed this epoch goes on where it was. One that followed another owner wants all
 * that was ordered here meanwhile; whatever it has already, its edges drop. One that is new to the
 * topic starts now.
 */
static uint64_t answer_seq(const struct cl *cl, const struct cl_topic *topic,
                           const struct pr_sub *sub)
{
    if (pr_epoch_eq(sub->epoch, cl->epoch)) {
        return start_of(topic, sub->seq);
    }
    return sub->epoch.boot == 0 ? topic->seq : start_of(topic, 0);
}

/* Something that it is to get is not kept; how much one that comes from another owner misses is not
 * known, and what counts is what may be waited for (confirm.h). */
static bool is_hole(const struct cl *cl, const struct cl_topic *topic, const struct pr_sub *sub,
                    uint64_t seq)
{
    if (pr_epoch_eq(sub->epoch, cl->epoch)) {
        return seq > sub->seq;
    }
    return sub->epoch.boot != 0 && cl_kept_cut(topic->remote, cl->now, CL_CONFIRM_MS);
}

static int answer(struct cl *cl, uint32_t to, const struct cl_topic *topic, bool presence,
                  uint64_t seq)
{
    struct pr_sub_ok ok = {.topic = cl_topic_name(topic), .epoch = cl->epoch, .seq = seq};
    const struct cl_remote *r = topic->remote;
    struct cl_out_mark mark = {0};
    struct pr_outbuf w;
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    if (rv != CL_OK) {
        return rv;
    }
    mark = cl_out_mark(&cl->out);
    rv = presence ? cl_spread_state(cl, to, topic) : CL_OK;
    if (rv == CL_OK) {
        rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + ok.topic.n + r->kept_bytes, 1 + r->kept);
    }
    if (rv != CL_OK) {
        cl_out_rollback(&cl->out, mark); /* half a state is none */
        return rv;
    }
    w = cl_out_writer(&cl->out);
    pr_sub_ok_encode(&w, &ok);
    cl_push_link(cl, to, &w);
    replay(cl, to, r, seq);
    return CL_OK;
}

static int refuse(struct cl *cl, uint32_t to, struct pr_slice topic)
{
    struct pr_sub_ok ok = {.topic = topic};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + topic.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_sub_ok_encode(&w, &ok);
        cl_push_link(cl, to, &w);
        cl->stats.sub_refused++;
    }
    return rv;
}

/* Taken also for a partition that is not owned here: the other node may have adopted a view that
 * is still to come. Answered once it is owned and open. */
int cl_serve_sub(struct cl *cl, uint32_t from, const struct pr_sub *sub)
{
    struct cl_topic *topic = NULL;
    struct cl_remote *r = NULL;
    int rv = cl_topics_get(&cl->topics, cl->now, sub->topic, &topic);

    if (rv == CL_ERANGE) {
        return refuse(cl, from, sub->topic);
    }
    if (rv != CL_OK) {
        return rv;
    }
    r = cl_topics_remote(&cl->topics, topic);
    if (r == NULL) {
        return CL_ENOMEM;
    }
    if (cl->route[topic->part] == CL_SELF && !cl->closed[topic->part]) {
        uint64_t seq = answer_seq(cl, topic, sub);

        rv = answer(cl, from, topic, sub->presence, seq);
        if (rv != CL_OK) {
            return rv;
        }
        cl->node[from].hole = cl->node[from].hole || is_hole(cl, topic, sub, seq);
        cl_bits_clear(&r->owed, from);
    } else {
        cl_bits_set(&r->owed, from);
    }
    cl_bits_set(&r->nodes, from);
    cl_bits_clear(&r->away, from);
    cl_bits_clear(&r->doubted, from);
    cl_bits_clear(&r->presence, from);
    if (sub->presence) {
        cl_bits_set(&r->presence, from);
    }
    cl_topics_touch(&cl->topics, cl->now, topic);
    return CL_OK;
}

static void forget(struct cl *cl, struct cl_topic *topic, uint32_t node)
{
    struct cl_remote *r = topic->remote;

    if (r != NULL && (cl_bits_has(&r->nodes, node) || cl_bits_has(&r->away, node))) {
        cl_bits_clear(&r->nodes, node);
        cl_bits_clear(&r->away, node);
        cl_bits_clear(&r->presence, node);
        cl_bits_clear(&r->owed, node);
        cl_bits_clear(&r->doubted, node);
        cl_topics_touch(&cl->topics, cl->now, topic);
    }
}

void cl_serve_unsub(struct cl *cl, uint32_t from, const struct pr_unsub *unsub)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, unsub->topic);

    if (topic != NULL) {
        forget(cl, topic, from);
    }
}

void cl_serve_gone(struct cl *cl, uint32_t node, bool may_return)
{
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        bool away = may_return && cl->route[t->part] == CL_SELF && t->remote != NULL &&
                    (cl_bits_has(&t->remote->nodes, node) || cl_bits_has(&t->remote->away, node));

        forget(cl, t, node);
        if (away) {
            cl_bits_set(&t->remote->away, node);
            cl_topics_touch(&cl->topics, cl->now, t);
        }
    }
}

void cl_serve_back(struct cl *cl, uint32_t node)
{
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        if (t->remote != NULL && cl_bits_has(&t->remote->away, node)) {
            forget(cl, t, node);
        }
    }
}

/*
 * The topic is not owned here by the view just adopted. Nodes of the same view follow it elsewhere;
 * what others asked for is kept: it may be by a view that is still to come, and if not, they say
 * SUB_ALL for this one.
 */
void cl_serve_moved(struct cl *cl, struct cl_topic *topic)
{
    const struct cl_bits nodes = topic->remote->nodes;

    for (uint32_t i = cl_bits_next(&nodes, 0); i < CL_NODES_MAX; i = cl_bits_next(&nodes, i + 1)) {
        if (!cl->node[i].linked || cl_view_same(cl, i)) {
            forget(cl, topic, i);
        }
    }
    topic->remote->away = (struct cl_bits){{0}};
    cl_topics_touch(&cl->topics, cl->now, topic);
    cl_kept_clear(&cl->topics, topic->remote); /* the count goes on without it */
    if (!cl_bits_any(&topic->remote->nodes)) {
        cl_topics_drop_remote(&cl->topics, cl->now, topic);
    }
}

/* It follows by the view that this node has: what it asked for by another one is over. */
void cl_serve_settled(struct cl *cl, uint32_t node)
{
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        if (cl->route[t->part] != CL_SELF) {
            forget(cl, t, node);
        }
    }
}

/* It is asked to tell all its subscriptions again. */
void cl_serve_doubt(struct cl *cl, uint32_t node)
{
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        if (t->remote != NULL && cl_bits_has(&t->remote->nodes, node)) {
            cl_bits_set(&t->remote->doubted, node);
        }
    }
}

/* It has. */
void cl_serve_sure(struct cl *cl, uint32_t node)
{
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        if (t->remote != NULL && cl_bits_has(&t->remote->doubted, node)) {
            forget(cl, t, node);
        }
    }
}

int cl_serve_owed(struct cl *cl, struct cl_topic *topic)
{
    struct cl_remote *r = topic->remote;
    uint32_t i = r == NULL ? CL_NODES_MAX : cl_bits_next(&r->owed, 0);

    for (; i < CL_NODES_MAX; i = cl_bits_next(&r->owed, i + 1)) {
        int rv = answer(cl, i, topic, cl_bits_has(&r->presence, i), topic->seq);

        if (rv != CL_OK) {
            return rv;
        }
        cl_bits_clear(&r->owed, i);
    }
    return CL_OK;
}

int cl_serve_resync(struct cl *cl, uint32_t from, const struct pr_resync *m)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, m->topic);
    struct pr_resync out = *m;
    const struct cl_remote *r = NULL;
    struct pr_outbuf w;
    int rv = CL_OK;

    if (topic == NULL || topic->remote == NULL || m->from == 0 ||
        cl->route[topic->part] != CL_SELF || !pr_epoch_eq(m->epoch, cl->epoch)) {
        return CL_OK; /* of an owner before; it subscribes anew */
    }
    r = topic->remote;
    out.from = start_of(topic, m->from - 1) + 1;
    rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + m->topic.n + r->kept_bytes, 1 + r->kept);
    if (rv == CL_OK) {
        w = cl_out_writer(&cl->out);
        pr_resync_encode(&w, &out);
        cl_push_link(cl, from, &w);
        replay(cl, from, r, out.from - 1);
    }
    return rv;
}
