/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acks.c - the promise about publishes whose client wants an answer.
 *
 *   I6  an owner process that says of one that it is done, at first or when it is asked again, has
 *       passed it to each node that followed it when it gave it its place: that node has it, or is
 *       dead. What a full link dropped does not count: its receiver sees the hole and asks.
 *
 * Who follows is asked of the followers, not of the owner, and who has it is seen where it arrives.
 */
#include "tests/sim/sim.h"

#include <string.h>

/* Both have the same link, and both know of it. */
static bool one_link(const struct sim *s, uint32_t a, uint32_t b)
{
    const struct peer *there = &s->node[a].peer[b];
    const struct peer *back = &s->node[b].peer[a];

    return there->link != NOBODY && there->link == back->link && !there->owes_down &&
           !back->owes_down;
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

void sim_check_acked(struct sim *s, uint32_t n, uint32_t id, uint32_t followers)
{
    const struct pub *p = &s->pubs[id];

    for (uint32_t i = 0; p->ack && i < s->k.nodes; i++) {
        if ((followers & ~(p->has | p->spilled)) >> i & 1 && !held_for_dead(s, n, i)) {
            sim_fail(s, "I6: node %u confirms publish %u, which node %u follows and has not got", n,
                     id, i);
        }
    }
}
