/* SPDX-License-Identifier: Apache-2.0 */
/*
 * follow.c - topics that another node owns: subscribed there for this node's edges, and what comes
 * from there passed on to them.
 *
 * An edge counts a topic's events by its own node's owner process, whoever owns the topic: events
 * get this node's epoch and count, and what stayed missing is left out of the count, so that the
 * edge sees the hole. That a topic moves to another owner is nothing an edge could notice.
 */
#include "cluster/core_in.h"

#include <string.h>

void cl_follow_set(struct cl *cl, struct cl_topic *topic, enum cl_follow state)
{
    bool was = topic->follow == CL_F_DUE || topic->follow == CL_F_SENT;
    bool is = state == CL_F_DUE || state == CL_F_SENT;

    cl->n_pending += is && !was;
    cl->n_pending -= was && !is;
    topic->follow = (uint8_t)state;
    if (state == CL_F_NONE) {
        topic->follow_epoch = topic->past_epoch = (struct pr_epoch){0};
        topic->follow_seq = topic->past_seq = 0;
        topic->follow_presence = false;
        topic->resync = false;
        topic->since = false;
    }
}

void cl_follow_since(struct cl *cl, struct cl_topic *topic, const struct pr_sub *sub)
{
    bool back = pr_epoch_eq(sub->epoch, cl->epoch);

    if (topic->follow == CL_F_NONE && !back) {
        cl_follow_set(cl, topic, CL_F_NONE); /* who had something of it is gone */
    }
    if (!cl_follows(topic) && !back) {
        topic->follow_epoch = sub->origin.epoch;
        topic->follow_seq = sub->origin.seq;
        topic->since = cl_follows(topic);
    } else if (topic->since && topic->follow == CL_F_DUE && sub->origin.seq < topic->follow_seq &&
               pr_epoch_eq(topic->follow_epoch, sub->origin.epoch)) {
        topic->follow_seq = sub->origin.seq;
    }
}

bool cl_follows(const struct cl_topic *topic)
{
    return topic->follow_epoch.node != 0 || topic->follow_epoch.boot != 0;
}

/* It is to be owned here: what its owner so far has ordered still comes, until the partition opens,
 * and it goes on from there if another view comes before that. Or nobody here wants it. */
void cl_follow_stop(struct cl *cl, struct cl_topic *topic)
{
    const struct cl_topic was = *topic;

    cl_follow_set(cl, topic, CL_F_NONE);
    topic->follow_epoch = was.follow_epoch;
    topic->follow_seq = was.follow_seq;
    topic->past_epoch = was.past_epoch;
    topic->past_seq = was.past_seq;
}

/* The owner followed so far is one of the past. Should it be the owner again, it need not send what
 * has come already: edges that came since would take it for new. */
static void part(const struct cl *cl, struct cl_topic *topic)
{
    if (cl_follows(topic) && topic->follow_epoch.node != cl->epoch.node) {
        topic->past_epoch = topic->follow_epoch;
        topic->past_seq = topic->follow_seq;
    }
    topic->follow_epoch = (struct pr_epoch){0};
    topic->follow_seq = 0;
}

void cl_follow_opened(const struct cl *cl, struct cl_topic *topic)
{
    part(cl, topic);
}

static int send_sub(struct cl *cl, struct cl_topic *topic, uint32_t to)
{
    struct pr_sub sub = {.topic = cl_topic_name(topic),
                         .presence = topic->presence_edges != 0,
                         .epoch = topic->follow_epoch,
                         .seq = topic->follow_seq};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + sub.topic.n, 1);

    if (topic->past_epoch.node == cl->node[to].id && sub.epoch.node != cl->node[to].id) {
        sub.epoch = topic->past_epoch;
        sub.seq = topic->past_seq;
    }
    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_sub_encode(&w, &sub);
        cl_push_link(cl, to, &w);
        if (sub.presence) {
            cl_pres_replace_begin(cl->pres, sub.topic);
        }
        topic->follow_presence = sub.presence;
        cl_follow_set(cl, topic, CL_F_SENT);
    }
    return rv;
}

/* Subscribes at the owner if that is due and possible, behind what own edges have of presence. Not
 * before all edges have come: what the owner has kept is for each of them, and is told once. */
static int tell(struct cl *cl, struct cl_topic *topic)
{
    uint32_t to = cl->route[topic->part];
    int rv = CL_OK;

    if (topic->edges == 0 || topic->follow != CL_F_DUE || to == CL_NOBODY || !cl->node[to].linked ||
        !cl->edges_ready) {
        return CL_OK;
    }
    rv = cl_spread_own(cl, to, topic);
    return rv == CL_OK ? send_sub(cl, topic, to) : rv;
}

/* Whatever is due of a topic that another node owns. 0, CL_ENOMEM or CL_EAGAIN. */
int cl_follow_sweep(struct cl *cl, struct cl_topic *topic)
{
    uint32_t to = cl->route[topic->part];
    int rv = cl_follow_unwant(cl, topic);

    if (rv == CL_OK && topic->own_due && to != CL_NOBODY && cl->node[to].linked) {
        rv = cl_spread_own(cl, to, topic);
        topic->own_due = rv != CL_OK;
    }

    if (rv == CL_OK && topic->follow == CL_F_DUE) {
        return tell(cl, topic);
    }
    return rv == CL_OK && topic->follow == CL_F_OK ? cl_follow_want(cl, topic) : rv;
}

/* One SUB at a time: what is wished meanwhile is asked for when the answer is there. */
int cl_follow_want(struct cl *cl, struct cl_topic *topic)
{
    if (topic->follow == CL_F_NONE) {
        cl_follow_set(cl, topic, CL_F_DUE);
    }
    if (topic->follow == CL_F_DUE) {
        return tell(cl, topic);
    }
    if (topic->follow == CL_F_SENT) {
        return CL_OK;
    }
    if (topic->presence_edges != 0 && !topic->follow_presence) {
        return send_sub(cl, topic, cl->route[topic->part]);
    }
    return cl_local_answer(cl, topic, false);
}

static int send_unsub(struct cl *cl, const struct cl_topic *topic, uint32_t to)
{
    struct pr_unsub unsub = {.topic = cl_topic_name(topic)};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + unsub.topic.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_unsub_encode(&w, &unsub);
        cl_push_link(cl, to, &w);
    }
    return rv;
}

/* Not while a SUB is unanswered: its SUB_OK would look like that of a later one. */
int cl_follow_unwant(struct cl *cl, struct cl_topic *topic)
{
    uint32_t to = cl->route[topic->part];
    int rv = CL_OK;

    if (topic->follow == CL_F_NONE || topic->follow == CL_F_SENT || topic->presence_edges != 0 ||
        (topic->edges != 0 && !topic->follow_presence)) {
        return CL_OK;
    }
    if (topic->edges == 0 && to != CL_NOBODY && cl->node[to].linked) {
        rv = send_unsub(cl, topic,
                        to); /* also if it is due: it may have been told by another view */
    } else if (topic->follow == CL_F_OK) {
        rv = send_sub(cl, topic, to); /* without presence from now on */
    }
    if (rv == CL_OK) {
        topic->follow_presence = false;
        if (cl_view_agreed(cl)) { /* as cl_view_forget_presence, which does it later then */
            cl_pres_forget_topic(cl->pres, cl->now, cl_topic_name(topic));
        }
        if (topic->edges == 0) {
            cl_follow_stop(cl, topic); /* an edge that lost its connection may come back */
        }
    }
    return rv;
}

/* Events that will not come any more: the edges see the hole by their own count. */
static void lose(struct cl *cl, struct cl_topic *topic, uint64_t n)
{
#ifndef CL_SABOTAGE_COUNT /* for the simulation, which must notice that it is missing */
    topic->seq += n;
#endif
    topic->lost += n;
    cl->stats.gap_lost += n;
}

static bool of_zeros(struct pr_epoch e)
{
    return e.node == 0 && e.boot == 0;
}

/* Events of an owner are passed on: it is followed, or was until the partition came here, which has
 * not opened yet. */
static bool wanted(const struct cl *cl, const struct cl_topic *topic)
{
    return topic->edges != 0 && (topic->follow != CL_F_NONE ||
                                 (cl->route[topic->part] == CL_SELF && cl->closed[topic->part]));
}

static void count_from(struct cl *cl, struct cl_topic *topic, const struct pr_sub_ok *ok)
{
    if (!pr_epoch_eq(topic->follow_epoch, ok->epoch)) {
        part(cl, topic);
        topic->follow_epoch = ok->epoch;
        topic->follow_seq = ok->seq;
    } else if (ok->seq > topic->follow_seq) {
        lose(cl, topic, ok->seq - topic->follow_seq);
        topic->follow_seq = ok->seq;
    } /* else events came since the SUB was sent: they are not counted twice */
    topic->resync = false;
    topic->since = false;
}

/* What follows from the answer. Nothing here fails: what finds no room is done by a sweep. */
static void take_answer(struct cl *cl, struct cl_topic *topic, const struct pr_sub_ok *ok)
{
    count_from(cl, topic, ok);
    if (topic->follow_presence) {
        cl_pres_replace_end(cl->pres, cl->now, ok->topic);
        if ((topic->presence_edges & ~topic->owed_edges) == 0) {
            cl_pres_settle_topic(cl->pres, ok->topic);
        }
    }
}

/*
 * The owner has answered: everything after ok->seq comes. If it is the epoch followed before, what
 * is between is lost; of an epoch that was not followed nothing is missed before.
 *
 * An answer of another node is of a view before, in which it was the owner for a moment: what it
 * has ordered comes behind it, and ahead of anything of the next owner.
 */
int cl_follow_sub_ok(struct cl *cl, uint32_t from, const struct pr_sub_ok *ok)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, ok->topic);
    bool refused = of_zeros(ok->epoch);
    bool more = false;
    int rv = CL_OK;

    if (topic == NULL || topic->follow == CL_F_OK) {
        return CL_OK;
    }
    if (cl->route[topic->part] != from || topic->follow != CL_F_SENT) {
        if (!refused && wanted(cl, topic)) {
            count_from(cl, topic, ok);
            rv = cl_local_answer(cl, topic, false); /* or the edges would pass over what it has */
        }
        return rv;
    }
    more = !refused && topic->presence_edges != 0 && !topic->follow_presence;
    if (!refused) {
        take_answer(cl, topic, ok);
    }
    cl_follow_set(cl, topic, refused ? CL_F_DUE : CL_F_OK);
    if (more) {
        rv = send_sub(cl, topic, from);
    } else {
        rv = cl_local_answer(cl, topic, refused);
    }
    if (rv == CL_OK) {
        rv = cl_follow_unwant(cl, topic);
    }
    if (rv == CL_OK) {
        rv = cl_local_views(cl, topic);
    }
    if (rv != CL_OK) {
        cl_view_sweep(cl); /* no room now */
    }
    return CL_OK;
}

static int ask_again(struct cl *cl, struct cl_topic *topic, uint32_t from)
{
    struct pr_resync m = {
        .topic = cl_topic_name(topic), .epoch = topic->follow_epoch, .from = topic->follow_seq + 1};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + m.topic.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_resync_encode(&w, &m);
        cl_push_link(cl, from, &w);
        topic->resync = true;
        cl->stats.gaps++;
    }
    return rv;
}

/* The owner's answer: events from m->from on come again, those before are no longer kept. */
void cl_follow_resync(struct cl *cl, uint32_t from, const struct pr_resync *m)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, m->topic);

    if (topic == NULL || !topic->resync || cl->route[topic->part] != from ||
        !pr_epoch_eq(topic->follow_epoch, m->epoch)) {
        return;
    }
    topic->resync = false;
    if (m->from > topic->follow_seq + 1) {
        lose(cl, topic, m->from - 1 - topic->follow_seq);
        topic->follow_seq = m->from - 1;
    }
}

static int pass_event(struct cl *cl, struct cl_topic *topic, const struct pr_event *ev,
                      uint64_t lost)
{
    struct pr_event out = *ev;
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + ev->topic.n + ev->payload.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        out.origin = (struct pr_place){.epoch = ev->epoch, .seq = ev->seq};
        out.epoch = cl->epoch;
        lose(cl, topic, lost);
        out.seq = ++topic->seq;
        pr_event_encode(&w, &out);
        cl_push_send(cl, topic->edges, &w);
        cl->stats.events++;
    }
    return rv;
}

/*
 * Also of the owner before, as long as the new one has not answered, or has not begun here: what
 * was under way when the topic moved is still wanted, and it comes before anything of the new owner
 * (view.c).
 */
int cl_follow_event(struct cl *cl, uint32_t from, const struct pr_event *ev)
{
    struct cl_topic *topic = cl_topics_find(&cl->topics, ev->topic);
    bool owner = topic != NULL && cl->route[topic->part] == from;
    uint64_t lost = 0;
    int rv = CL_OK;

    if (topic == NULL || !wanted(cl, topic) || !pr_epoch_eq(topic->follow_epoch, ev->epoch) ||
        ev->seq <= topic->follow_seq) {
        cl->stats.repeats++;
        return CL_OK;
    }
    lost = ev->seq - topic->follow_seq - 1;
    if (lost > 0 && owner && topic->follow == CL_F_OK) {
        return topic->resync ? CL_OK : ask_again(cl, topic, from); /* it comes once more */
    }
    rv = pass_event(cl, topic, ev, lost);
    if (rv == CL_OK) {
        topic->follow_seq = ev->seq;
    }
    return rv;
}
