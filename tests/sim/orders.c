/* SPDX-License-Identifier: Apache-2.0 */
/*
 * orders.c - the promises about broadcast. A publish is named by (edge process, partition, oseq).
 *
 *   I1  no member gets one publish twice
 *   I2  an owner process gives each place in a topic's order once, and every member sees a topic in
 *       the order of each owner process, and in that of its node's log
 *   I3  the publishes of one edge in one topic come in their order
 *   I4  what a node passes to its edges has a gap, in their count, where it missed something of the
 *       owner process that it follows; and what its edges do not get of that after the join's
 *       answer is counted. Not counted is what was lost while one owner process was left for
 *       another, and what a process did not pass on before it died.
 *   I5  strictly, as long as only planned changes happen: each member gets all that anybody has
 *       ordered since its join's answer, once, in the order of the cluster (that of the first
 *       ordering), no gap is counted, and no publish is given up
 *   P5  an answer to a publish comes once, and "done" only for what was ordered
 */
#include "tests/sim/checks.h"

#include <string.h>

static bool strict(const struct sim *s)
{
    return s->calm || s->k.planned;
}

static uint32_t pub_slot(uint32_t life, uint32_t part, uint64_t oseq)
{
    return (uint32_t)(cl_mix64((uint64_t)life << 48 ^ (uint64_t)part << 32 ^ oseq) & 4095);
}

static uint32_t find(const struct sim *s, uint32_t life, uint32_t part, uint64_t oseq)
{
    uint32_t i = s->pub_hash[pub_slot(life, part, oseq)];

    while (i != NOBODY &&
           (s->pubs[i].life != life || s->pubs[i].part != part || s->pubs[i].oseq != oseq)) {
        i = s->pubs[i].next_hash;
    }
    return i;
}

uint32_t sim_life_of(const struct sim *s, uint64_t boot)
{
    for (uint32_t i = 0; i < s->lives; i++) {
        if (s->boot_of[i] == boot) {
            return i;
        }
    }
    return NOBODY;
}

uint32_t sim_pub_find(const struct sim *s, uint64_t boot, uint32_t part, uint64_t oseq)
{
    uint32_t life = sim_life_of(s, boot);

    return life == NOBODY ? NOBODY : find(s, life, part, oseq);
}

void sim_check_sent_pub(struct sim *s, uint32_t e, const struct pr_frame *f)
{
    struct pr_pub pub;
    uint32_t id = 0;
    uint32_t slot = 0;
    struct pub *p = NULL;

    if (pr_pub_decode(f, &pub) != PR_OK || pub.payload.n != sizeof id) {
        sim_fail(s, "edge %u sends a damaged publish", e);
        return;
    }
    memcpy(&id, pub.payload.p, sizeof id);
    if (id >= s->npubs) {
        sim_fail(s, "edge %u sends a publish that nobody made", e);
        return;
    }
    p = &s->pubs[id];
    if (p->oseq != 0) {
        return; /* sent again */
    }
    p->part = pub.part;
    p->oseq = pub.oseq;
    slot = pub_slot(p->life, p->part, p->oseq);
    p->next_hash = s->pub_hash[slot];
    s->pub_hash[slot] = id;
}

static void log_add(struct sim *s, uint32_t n, const struct entry *e)
{
    struct pub *p = &s->pubs[e->pub];
    struct node_topic *t = &s->node[n].topic[p->topic];

    t->log = sim_grow(t->log, t->nlog, &t->log_room, sizeof *t->log);
    if (p->first[n] == NOBODY) {
        p->first[n] = t->nlog;
    }
    t->log[t->nlog] = *e;
    t->log[t->nlog++].stale = s->now - p->at >= CLE_HELD_MS;
}

/* The owner process of node n has given the publish a place in its order: with this action, or at
 * a time that was not seen. */
static void order_add(struct sim *s, uint32_t n, uint32_t id, uint64_t seq, bool seen)
{
    struct pub *p = &s->pubs[id];
    struct node_topic *t = &s->node[n].topic[p->topic];

    t->order = sim_grow(t->order, t->norder, &t->order_room, sizeof *t->order);
    t->order[t->norder++] = (struct ordered){.pub = id,
                                             .run = s->node[n].run,
                                             .seq = seq,
                                             .followers = seen ? sim_followers(s, n, p->topic) : 0,
                                             .away = seen ? sim_waited_for(s, n, p->topic) : 0,
                                             .step = s->step};
    p->ordered = true;
    if (p->place == NOBODY) {
        p->place = s->topic[p->topic].places++;
    }
}

/* An EVENT of its own: a new one, or an old one sent again to another node. */
static void event_of_own(struct sim *s, uint32_t n, uint32_t id, const struct pr_event *ev,
                         const struct cl_action *a)
{
    uint32_t run = s->node[n].run;
    struct node_topic *t = &s->node[n].topic[s->pubs[id].topic];
    struct entry e = {.pub = id, .run = run, .seq = ev->seq, .from_run = run, .from_seq = ev->seq};
    bool last = true;

    for (uint32_t i = t->norder; i > 0 && t->order[i - 1].run == run; i--) {
        const struct ordered *o = &t->order[i - 1];

        if (o->seq == ev->seq && (o->pub != id || a->type != CL_ACT_LINK_SEND)) {
            sim_fail(s, "I2: node %u gives place %llu of topic %u twice", n,
                     (unsigned long long)ev->seq, s->pubs[id].topic);
            return;
        }
        if (o->pub == id && o->seq == 0) {
            /* Nobody was subscribed: now it is sent again, or ordered again, since its node was
             * taken for dead meanwhile. */
            t->order[i - 1].seq = ev->seq;
            if (a->type == CL_ACT_EDGE_SEND) {
                e.emitted = a->edges;
                log_add(s, n, &e);
            }
        }
        if (o->seq == ev->seq) {
            return;
        }
        last = last && o->seq < ev->seq;
    }
    if (!last && a->type == CL_ACT_LINK_SEND) {
        order_add(s, n, id, ev->seq, false); /* the same, and its edge was away */
        return;
    }
    if (!last) {
        sim_fail(s, "I2: node %u orders into the past of topic %u", n, s->pubs[id].topic);
        return;
    }
    order_add(s, n, id, ev->seq, true);
    e.emitted = a->edges;
    log_add(s, n, &e);
}

/* An EVENT of another node, as this one passes it to its edges. */
static void event_passed(struct sim *s, uint32_t n, uint32_t id, const struct pr_event *ev,
                         const struct pr_event *in, const struct cl_action *a)
{
    struct node_topic *t = &s->node[n].topic[s->pubs[id].topic];
    struct entry e = {.pub = id, .run = s->node[n].run, .seq = ev->seq};

    e.from_run = sim_run_of(s, &in->epoch);
    e.from_seq = in->seq;
    e.emitted = a->edges;
    if (a->type != CL_ACT_EDGE_SEND || e.from_run == NOBODY || e.from_run != t->follows) {
        sim_fail(s, "I2: node %u passes on an event of somebody it does not follow", n);
        return;
    }
    if ((int64_t)(ev->seq - in->seq) != t->ahead) {
        sim_fail(s, "I4: node %u counts event %llu of topic %u as %llu, which hides a hole", n,
                 (unsigned long long)in->seq, s->pubs[id].topic, (unsigned long long)ev->seq);
        return;
    }
    log_add(s, n, &e);
}

static void on_event(struct sim *s, uint32_t n, const struct pr_event *ev,
                     const struct cl_action *a)
{
    uint32_t id = sim_pub_find(s, ev->boot, ev->part, ev->oseq);
    bool linked = s->in != NULL && s->in->type == CL_EV_LINK_IN;
    struct pr_event in;
    uint32_t body = 0;

    if (ev->payload.n == sizeof body) {
        memcpy(&body, ev->payload.p, sizeof body);
    }
    if (id == NOBODY || body != id || sim_topic_by_key(s, ev->topic) != s->pubs[id].topic) {
        sim_fail(s, "node %u orders a publish that nobody made", n);
        return;
    }
    sim_check_wanted(s, n, s->pubs[id].topic, a);
    if (linked && pr_event_decode(s->in->frame, &in) == PR_OK && in.boot == ev->boot &&
        in.part == ev->part && in.oseq == ev->oseq) {
        event_passed(s, n, id, ev, &in, a);
    } else if (sim_run_of(s, &ev->epoch) == s->node[n].run) {
        event_of_own(s, n, id, ev, a);
    } else {
        sim_fail(s, "node %u sends an event that it has not ordered", n);
    }
}

/* The place that the owner process of node n has given it last; NULL: none that was seen. */
static const struct ordered *ordered_here(const struct sim *s, uint32_t n, uint32_t id)
{
    const struct node_topic *t = &s->node[n].topic[s->pubs[id].topic];

    for (uint32_t i = t->norder; i > 0 && t->order[i - 1].run == s->node[n].run; i--) {
        if (t->order[i - 1].pub == id) {
            return &t->order[i - 1];
        }
    }
    return NULL;
}

/* Its publisher was told that it is lost; a copy of it may still be ordered somewhere. */
static bool given_up(const struct pub *p)
{
    return p->answered && p->result != PR_PUB_DONE;
}

/* Ordered without an event: nobody who could get it was subscribed. A member that was told ok
 * before should have been. */
static void order_silent(struct sim *s, uint32_t n, uint32_t id)
{
    struct entry e = {.pub = id, .run = s->node[n].run, .from_run = s->node[n].run};

    order_add(s, n, id, 0, !given_up(&s->pubs[id])); /* of one that is, the time is not known */
    log_add(s, n, &e);
}

/* What waits of that node, or of that edge process, is forgotten: it comes again, or another owner
 * has ordered it meanwhile. NOBODY: of none. */
static void forget_taken(const struct sim *s, struct taken *t, uint32_t node, uint32_t life)
{
    uint32_t left = 0;

    for (uint32_t i = 0; i < t->n; i++) {
        bool of_node = node != NOBODY && t->at[i].from == node;

        if (!of_node && s->pubs[t->at[i].pub].life != life) {
            t->at[left++] = t->at[i];
        }
    }
    t->n = left;
}

void sim_check_taken(struct sim *s, uint32_t n, const struct cl_event *ev)
{
    struct taken *t = &s->node[n].taken;
    bool linked = ev->type == CL_EV_LINK_IN;
    bool frame = ev->type == CL_EV_EDGE_IN || linked;
    uint32_t from = linked || ev->type == CL_EV_LINK_DOWN ? sim_node_by_id(s, ev->id) : NOBODY;
    struct pr_again again;
    struct pr_pub pub;
    uint32_t id = NOBODY;

    if (ev->type == CL_EV_LINK_DOWN) {
        forget_taken(s, t, from, NOBODY);
    } else if (linked && pr_again_ok_decode(ev->frame, &again) == PR_OK) {
        forget_taken(s, t, NOBODY, sim_life_of(s, again.gen));
    } else if (frame && ev->frame->type == PR_T_PUB && pr_pub_decode(ev->frame, &pub) == PR_OK) {
        id = sim_pub_find(s, pub.boot, pub.part, pub.oseq);
    }
    if (id != NOBODY && !sim_peek_ordered(s->node[n].cl, pub.boot, pub.part, pub.oseq)) {
        t->at = sim_grow(t->at, t->n, &t->room, sizeof *t->at);
        t->at[t->n++] = (struct took){.pub = id, .from = from};
    }
}

void sim_check_silent(struct sim *s, uint32_t n)
{
    struct taken *t = &s->node[n].taken;
    uint32_t left = 0;

    for (uint32_t i = 0; i < t->n; i++) {
        uint32_t id = t->at[i].pub;
        const struct pub *p = &s->pubs[id];

        if (ordered_here(s, n, id) != NULL || given_up(p) ||
            cl_owner_of(s->node[n].cl, p->part) != s->node[n].id) {
            continue;
        }
        if (sim_peek_ordered(s->node[n].cl, s->boot_of[p->life], p->part, p->oseq)) {
            order_silent(s, n, id);
        } else {
            t->at[left++] = t->at[i];
        }
    }
    t->n = left;
}

static void on_answer(struct sim *s, uint32_t n, const struct pr_pub_ok *ok)
{
    uint32_t id = sim_pub_find(s, ok->boot, ok->part, ok->oseq);
    struct pr_pub_ok in;
    const struct ordered *last = NULL;

    if (id == NOBODY) {
        sim_fail(s, "node %u answers a publish that nobody made", n);
        return;
    }
    if (s->in != NULL && s->in->type == CL_EV_LINK_IN &&
        pr_pub_ok_decode(s->in->frame, &in) == PR_OK && in.boot == ok->boot &&
        in.part == ok->part && in.oseq == ok->oseq) {
        return; /* another node's answer, passed on */
    }
    last = ordered_here(s, n, id);
    if (ok->result == PR_PUB_REPEAT) {
        /* Perhaps ordered while its edge was away and nobody was subscribed: not seen here. */
        s->pubs[id].ordered = true;
    }
    if (ok->result == PR_PUB_DONE && last == NULL) {
        order_silent(s, n, id);
        last = ordered_here(s, n, id);
    }
    if (last != NULL && (ok->result == PR_PUB_DONE || ok->result == PR_PUB_REPEAT)) {
        sim_check_acked(s, n, id);
    }
}

void sim_check_node_action(struct sim *s, uint32_t n, const struct cl_action *a)
{
    struct pr_frame f;
    struct pr_event ev;
    struct pr_pub_ok ok;

    if (!sim_frame_of(a->bytes, &f)) {
        sim_fail(s, "node %u sends what is not one frame", n);
    } else if (f.type == PR_T_EVENT && pr_event_decode(&f, &ev) == PR_OK) {
        on_event(s, n, &ev, a);
    } else if (f.type == PR_T_PUB_OK && pr_pub_ok_decode(&f, &ok) == PR_OK) {
        on_answer(s, n, &ok);
    }
}

/* From an owner's answer on, a node's own count and the owner's go the same way. */
void sim_check_follows(struct sim *s, uint32_t n, const struct cl_event *ev, bool after)
{
    struct pr_sub_ok ok;
    struct peek now;
    struct node_topic *t = NULL;
    uint32_t topic = NOBODY;
    uint32_t run = NOBODY;

    if (ev->type != CL_EV_LINK_IN || ev->frame->type != PR_T_SUB_OK ||
        pr_sub_ok_decode(ev->frame, &ok) != PR_OK) {
        return;
    }
    topic = sim_topic_by_key(s, ok.topic);
    if (topic == NOBODY) {
        sim_fail(s, "node %u is told of a topic that is none", n);
        return;
    }
    t = &s->node[n].topic[topic];
    (void)sim_peek_topic(s->node[n].cl, ok.topic, &now);
    run = sim_run_of(s, &now.follows);
    if (!after && (run != t->follows || now.since)) {
        t->follows = NOBODY;
    } else if (after && run != t->follows) {
        t->follows = run;
        t->ahead = (int64_t)(now.seq - now.follow_seq);
    }
}

void sim_check_pub_done(struct sim *s, uint32_t e, uint64_t cookie, uint32_t result)
{
    struct pub *p = NULL;

    if (cookie == 0 || cookie > s->npubs || s->pubs[cookie - 1].life != s->edge[e].life) {
        sim_fail(s, "edge %u gets an answer that it did not ask for", e);
        return;
    }
    p = &s->pubs[cookie - 1];
    if (p->answered) {
        sim_fail(s, "publish %u is answered twice", (uint32_t)cookie - 1);
    }
    if (result == PR_PUB_DONE && !p->ordered) {
        sim_fail(s, "P5: publish %u is done, but was not ordered", (uint32_t)cookie - 1);
    }
    if (result != PR_PUB_DONE && strict(s)) {
        sim_fail(s, "I5: publish %u of edge %u is answered by %u", (uint32_t)cookie - 1, e, result);
    }
    p->answered = true;
    p->result = result;
}

void sim_check_joined(struct sim *s, uint32_t client, struct member *m)
{
    m->from = m->next = s->node[s->client[client].edge / EDGES_MAX].topic[m->topic].nlog;
    m->strict_from = m->strict_next = s->topic[m->topic].places;
}

void sim_check_gap(struct sim *s, uint32_t client, struct member *m, uint64_t lost)
{
    m->gap += lost;
    if (strict(s)) {
        sim_fail(s, "I5: client %u on edge %u topic %u: a gap of %llu", client,
                 s->client[client].edge, m->topic, (unsigned long long)lost);
    }
}

/* Entries before `upto` that the member did not get: each must be one it has got in another order,
 * or is counted, or could not be known to be lost. */
static void account(struct sim *s, uint32_t client, struct member *m, uint32_t upto)
{
    uint32_t e = s->client[client].edge;
    uint32_t n = e / EDGES_MAX;
    const struct node_topic *t = &s->node[n].topic[m->topic];

    for (; m->next < upto; m->next++) {
        const struct entry *en = &t->log[m->next];
        const struct pub *p = &s->pubs[en->pub];
        bool came = (en->emitted & ~en->dropped) >> e % EDGES_MAX & 1;

        if (p->number <= m->last[p->life] || p->first[n] < m->from || p->place < m->strict_from) {
            continue; /* it was ordered before, too: it has got it, or came later */
        }
        if (en->stale || (p->answered && p->result == PR_PUB_FULL)) {
            continue; /* given up or refused, but an owner that had stood still ordered a copy: it
                       * comes behind later ones of its edge, and who has those does not take it */
        }
        if (en->run != s->node[n].run && !came) {
            s->excused++; /* its process is dead, and nothing of it reached this edge */
            continue;
        }
        m->missing++;
    }
    if (m->missing > m->gap) {
        sim_fail(s,
                 "I4: client %u on edge %u topic %u misses %llu events, %llu are counted; "
                 "last looked at: log %u of %u",
                 client, e, m->topic, (unsigned long long)m->missing, (unsigned long long)m->gap,
                 upto, t->nlog);
    }
}

/* I5: the next one in the cluster's order. What was ordered before the join may come too, at any
 * time: a new owner orders again what was not confirmed, and only who has it knows it. */
static void got_strictly(struct sim *s, uint32_t client, struct member *m, const struct pub *p)
{
    if (p->place < m->strict_from) {
        s->late++;
        return;
    }
    if (p->place != m->strict_next) {
        sim_fail(s, "I5: client %u on edge %u topic %u gets place %u, not %u", client,
                 s->client[client].edge, m->topic, p->place, m->strict_next);
    }
    m->strict_next = p->place + 1;
}

void sim_check_got(struct sim *s, uint32_t client, struct member *m, uint32_t index)
{
    uint32_t n = s->client[client].edge / EDGES_MAX;
    const struct entry *en = &s->node[n].topic[m->topic].log[index];
    const struct pub *p = &s->pubs[en->pub];

    s->events++;
    m->got++;
    if (p->number == m->last[p->life]) {
        sim_fail(s, "I1: client %u gets number %u of edge process %u twice", client, p->number,
                 p->life);
    } else if (p->number < m->last[p->life]) {
        sim_fail(s, "I3: client %u gets number %u of edge process %u after %u", client, p->number,
                 p->life, m->last[p->life]);
    } else if ((int64_t)index <= m->last_index) {
        sim_fail(s, "I2: client %u gets log %u of topic %u after %lld", client, index, m->topic,
                 (long long)m->last_index);
    } else if (en->from_seq <= m->seq_of[en->from_run]) {
        sim_fail(s, "I2: client %u gets topic %u out of the order of run %u: %llu after %llu",
                 client, m->topic, en->from_run, (unsigned long long)en->from_seq,
                 (unsigned long long)m->seq_of[en->from_run]);
    }
    if (strict(s)) {
        got_strictly(s, client, m, p);
    }
    sim_check_passed_by(s, client, m, p->life, p->number);
    if (index > m->next) {
        account(s, client, m, index);
    }
    if (m->next == index) {
        m->next++;
    }
    m->last[p->life] = p->number;
    m->last_index = (int64_t)index;
    m->seq_of[en->from_run] = en->from_seq;
}

void sim_check_account(struct sim *s, uint32_t client, struct member *m)
{
    uint32_t places = s->topic[m->topic].places;

    account(s, client, m, s->node[s->client[client].edge / EDGES_MAX].topic[m->topic].nlog);
    sim_check_got_all(s, client, m);
    if (strict(s) && m->strict_next != places) {
        sim_fail(s, "I5: client %u on edge %u topic %u has got %u of %u places", client,
                 s->client[client].edge, m->topic, m->strict_next, places);
    }
}
