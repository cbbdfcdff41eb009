/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acks.c - the promise about publishes whose client wants an answer.
 *
 *   I6  an owner process that says of one that it is done, at first or when it is asked again, has
 *       passed it to each node that followed it when it gave it its place, and still does: that
 *       node has it, or is dead. Nodes whose link is down count for 2 s, and for 2 s of the next
 *       one, until they have told anew what they follow. What a full link dropped does not count:
 * its receiver sees the hole and asks.
 *
 * Who follows is asked of the followers, and of those without a link it is what they had asked for;
 * who has it is seen where it arrives.
 */
#include "tests/sim/checks.h"

#include <string.h>

/* As CL_AWAY_MS of the core. */
#define AWAY_MS 2000u

/* Both have the same link, and both know of it. */
static bool one_link(const struct sim *s, uint32_t a, uint32_t b)
{
    const struct peer *there = &s->node[a].peer[b];
    const struct peer *back = &s->node[b].peer[a];

    return there->link != NOBODY && there->link == back->link && !there->owes_down &&
           !back->owes_down;
}

struct asked {
    uint64_t id;
    bool lives;
};

static void on_member(void *ctx, const struct cl_member_row *row)
{
    struct asked *a = ctx;

    if (row->id == a->id) {
        a->lives = strcmp(row->state, "dead") != 0 && strcmp(row->state, "left") != 0;
    }
}

static bool held_for_dead(const struct sim *s, uint32_t n, uint32_t other)
{
    struct asked a = {.id = s->node[other].id};

    cl_inspect_members(s->node[n].cl, on_member, &a);
    return !a.lives;
}

uint32_t sim_followers(const struct sim *s, uint32_t owner, uint32_t topic)
{
    const struct topic *t = &s->topic[topic];
    uint32_t nodes = 0;

    for (uint32_t n = 0; n < s->k.nodes; n++) {
        struct peek peek;

        if (n != owner && s->node[n].up && one_link(s, owner, n) &&
            sim_peek_topic(s->node[n].cl, pr_bytes(t->key, t->key_len), &peek) && peek.followed &&
            sim_run_of(s, &peek.follows) == s->node[owner].run) {
            nodes |= 1u << n;
        }
    }
    return nodes;
}

uint32_t sim_waited_for(const struct sim *s, uint32_t owner, uint32_t topic)
{
    uint32_t nodes = 0;

    for (uint32_t n = 0; n < s->k.nodes; n++) {
        const struct away *a = &s->node[owner].away[n];

        if ((a->topics >> topic & 1) != 0 && s->now - a->since < AWAY_MS) {
            nodes |= 1u << n;
        }
    }
    return nodes;
}

/* What this owner process has ordered last in the topic; 0: nothing. */
static uint64_t last_place(const struct sim *s, uint32_t n, uint32_t topic)
{
    const struct node_topic *t = &s->node[n].topic[topic];
    uint64_t seq = 0;

    for (uint32_t i = t->norder; i > 0 && t->order[i - 1].run == s->node[n].run; i--) {
        seq = t->order[i - 1].seq > seq ? t->order[i - 1].seq : seq;
    }
    return seq;
}

/* The first SUB of a link counts: later ones are of other wishes. */
static void take_sub(const struct sim *s, uint32_t n, struct away *a, const struct pr_frame *f,
                     uint32_t topic, bool first)
{
    uint64_t bit = UINT64_C(1) << topic;
    struct pr_sub sub;

    a->topics &= ~bit;
    if (f->type != PR_T_SUB) {
        a->back &= ~bit;
    } else if (first && pr_sub_decode(f, &sub) == PR_OK && sub.epoch.boot != 0) {
        a->back |= bit;
        a->seq[topic] = sim_run_of(s, &sub.epoch) == s->node[n].run ? sub.seq : 0;
    } else if (first) {
        a->seq[topic] = last_place(s, n, topic);
    }
}

static void take_frame(const struct sim *s, uint32_t n, struct away *a, const struct pr_frame *f,
                       uint64_t heard)
{
    struct pr_sub_all all;
    bool on = false;
    uint32_t topic = sim_sub_topic(s, f, &on);

    if (topic != NOBODY) {
        take_sub(s, n, a, f, topic, (heard >> topic & 1) == 0);
    } else if (f->type == PR_T_VIEW) {
        a->all = 0;
    } else if (f->type == PR_T_SUB_ALL && pr_sub_all_decode(f, &all) == PR_OK) {
        a->all = all.view;
    }
}

/* What of these topics has members at the node: it may have followed one here by a view before. */
static uint64_t with_members(const struct sim *s, uint32_t n, uint64_t topics)
{
    uint64_t left = 0;

    for (uint32_t t = 0; t < s->k.topics; t++) {
        for (uint32_t k = 0; k < EDGES_MAX; k++) {
            left |= s->edge[n * EDGES_MAX + k].refs[t] > 0 ? UINT64_C(1) << t & topics : 0;
        }
    }
    return left;
}

void sim_check_away(struct sim *s, uint32_t n, const struct cl_event *ev)
{
    struct node_proc *p = &s->node[n];
    uint32_t peer =
        ev->type == CL_EV_LINK_UP || ev->type == CL_EV_LINK_DOWN || ev->type == CL_EV_LINK_IN
            ? sim_node_by_id(s, ev->id)
            : NOBODY;

    if (peer != NOBODY && ev->type == CL_EV_LINK_IN) {
        take_frame(s, n, &p->away[peer], ev->frame, p->heard_node[peer]);
    } else if (peer != NOBODY && ev->type == CL_EV_LINK_UP) {
        p->away[peer].linked = true;
        p->away[peer].since = s->now;
        p->away[peer].all = p->away[peer].back = 0;
        p->away[peer].up_step = s->step;
    } else if (peer != NOBODY && p->away[peer].linked) { /* else a dial was refused */
        p->away[peer].topics |= with_members(s, peer, p->heard_node[peer]);
        p->away[peer].topics = held_for_dead(s, n, peer) ? 0 : p->away[peer].topics;
        p->away[peer].back = 0;
        p->away[peer].linked = false;
        p->away[peer].since = s->now;
    }
    for (uint32_t i = 0; i < s->k.nodes; i++) {
        struct away *a = &p->away[i];

        if (a->linked && a->all != 0 && a->all == cl_view(p->cl)) {
            a->topics = 0;
        } else if (s->now - a->since >= AWAY_MS) {
            a->topics = 0;
        }
    }
}

void sim_check_dead(struct sim *s, uint32_t n, const struct cl_action *a)
{
    uint32_t peer = sim_node_by_id(s, a->id);

    if (peer != NOBODY && (strcmp(a->state, "dead") == 0 || strcmp(a->state, "left") == 0)) {
        s->node[n].away[peer].topics = 0;
    }
}

void sim_check_arrived(struct sim *s, uint32_t n, const struct cl_event *ev)
{
    struct pr_event event;
    uint32_t id = NOBODY;

    if (ev->type == CL_EV_LINK_IN && ev->frame->type == PR_T_EVENT &&
        pr_event_decode(ev->frame, &event) == PR_OK) {
        id = sim_pub_find(s, event.boot, event.part, event.oseq);
    }
    if (id != NOBODY) {
        s->pubs[id].has |= 1u << n;
    }
}

void sim_note_overflow(struct sim *s, uint32_t to, const struct pr_frame *f)
{
    struct pr_event event;
    uint32_t id = NOBODY;

    s->overflowed++;
    if (f->type == PR_T_EVENT && pr_event_decode(f, &event) == PR_OK) {
        id = sim_pub_find(s, event.boot, event.part, event.oseq);
    }
    if (id != NOBODY) {
        s->pubs[id].spilled |= 1u << to;
    }
}

/* Whoever follows no more, or anew from now on, has no use for it; nor has who came in behind it,
 * since the edges of the time before are gone. */
static bool wants(const struct sim *s, uint32_t n, uint32_t follower, const struct ordered *o)
{
    const struct away *a = &s->node[n].away[follower];
    uint32_t topic = s->pubs[o->pub].topic;

    if ((o->away >> follower & 1) == 0 && a->linked && a->up_step < o->step) {
        return (sim_followers(s, n, topic) >> follower & 1) != 0;
    }
    return ((a->topics | a->back) >> topic & 1) != 0 && (o->seq == 0 || o->seq > a->seq[topic]);
}

/* A node that follows and has not got it; NOBODY. */
static uint32_t who_lacks(const struct sim *s, uint32_t n, const struct ordered *o)
{
    const struct pub *p = &s->pubs[o->pub];

    for (uint32_t i = 0; i < s->k.nodes; i++) {
        if (((o->followers | o->away) & ~(p->has | p->spilled)) >> i & 1 && wants(s, n, i, o) &&
            !held_for_dead(s, n, i)) {
            return i;
        }
    }
    return NOBODY;
}

/* It is ordered again if its edge was taken for gone meanwhile: what was said of one holds. */
void sim_check_acked(struct sim *s, uint32_t n, uint32_t id)
{
    struct node_topic *t = &s->node[n].topic[s->pubs[id].topic];
    uint32_t lacks = NOBODY;
    bool well = false;

    for (uint32_t i = t->norder; i > 0 && t->order[i - 1].run == s->node[n].run; i--) {
        struct ordered *o = &t->order[i - 1];

        if (o->pub == id) {
            lacks = who_lacks(s, n, o);
            o->done = o->done || lacks == NOBODY;
            well = well || o->done;
        }
    }
    if (s->pubs[id].ack && !well && lacks != NOBODY) {
        sim_fail(s, "I6: node %u confirms publish %u, which node %u follows and has not got", n, id,
                 lacks);
    }
}
