/* SPDX-License-Identifier: Apache-2.0 */
/*
 * greet.c - who dials whom, and which of two connections to one peer stays: the rules of
 * node/owner/mesh.h. Of two dials that cross, the one of the smaller id stays. A link that answers
 * stays, and one that does not, or that is of an older life, gives way.
 */
#include "tests/sim/sim.h"

#include <stdlib.h>

/* As in node/owner/mesh.h. */
#define RIVAL_MS       2000u
#define HELLO_MS       5000u
#define BACKOFF_MS     100u
#define BACKOFF_END_MS 5000u
/* How often one that waits is looked at. */
#define LOOK_MS 100u

enum bye { BYE_SELF = 1, BYE_NAME, BYE_REPLACED, BYE_OTHER };

static cl_ms pause(struct sim *s, uint32_t fails)
{
    uint64_t ms = (uint64_t)BACKOFF_MS << (fails < 8 ? fails : 8);

    ms = ms > BACKOFF_END_MS ? BACKOFF_END_MS : ms;
    return ms / 2 + sim_below(s, ms + 1);
}

static uint32_t link_new(struct sim *s)
{
    struct link *l = calloc(1, sizeof *l);

    if (l == NULL) {
        abort();
    }
    s->links = sim_grow(s->links, s->nlinks, &s->links_room, sizeof(struct link *));
    s->links[s->nlinks] = l;
    return s->nlinks++;
}

static void dial_now(struct sim *s, uint32_t n, uint32_t peer, bool seed)
{
    struct node_proc *p = &s->node[n];
    struct dial *d = &p->peer[peer].dial[seed];
    uint32_t l = link_new(s);
    struct link_end *me = &s->links[l]->end[0];

    d->wanted = false;
    d->link = l;
    s->links[l]->want = seed ? 0 : s->node[peer].id;
    *me = (struct link_end){.state = END_DIALLING,
                            .node = n,
                            .run = p->run,
                            .epoch = p->epoch,
                            .addr = p->addr,
                            .heard = s->now,
                            .held_at = s->now};
    s->links[l]->end[1] = (struct link_end){.node = peer, .addr = d->addr};
    sim_link_put(s, l, 0, ITEM_HELLO, pr_bytes(&p->epoch, sizeof p->epoch));
    sim_link_clock(s, l, 0, s->now + HELLO_MS);
}

void sim_dial(struct sim *s, uint32_t n, uint64_t id, const struct pr_addr *addr)
{
    uint32_t peer = id == 0 ? sim_node_at(s, addr) : sim_node_by_id(s, id);
    uint32_t seed = id == 0;
    struct dial *d = NULL;

    if (peer == NOBODY || peer == n) {
        return; /* of a seed nothing follows from that */
    }
    d = &s->node[n].peer[peer].dial[seed];
    if (s->node[n].peer[peer].link != NOBODY || d->link != NOBODY) {
        return;
    }
    d->addr = *addr;
    if (d->not_before <= s->now) {
        dial_now(s, n, peer, seed != 0);
    } else if (!d->wanted) {
        d->wanted = true;
        sim_at(s, d->not_before, EV_DIAL, n,
               (uint64_t)s->node[n].run << 32 | (uint64_t)peer << 1 | seed);
    }
}

void sim_dial_due(struct sim *s, uint32_t n, uint32_t peer, bool seed)
{
    struct dial *d = &s->node[n].peer[peer].dial[seed];

    if (d->wanted && s->node[n].peer[peer].link == NOBODY && d->link == NOBODY) {
        dial_now(s, n, peer, seed);
    }
    d->wanted = false;
}

void sim_dial_over(struct sim *s, uint32_t link, enum cl_how how, bool told)
{
    struct link *l = s->links[link];
    uint32_t n = l->end[0].node;
    struct peer *p = &s->node[n].peer[l->end[1].node];
    struct dial *d = &p->dial[l->want == 0];
    struct cl_event ev = {.type = CL_EV_LINK_DOWN, .id = l->want, .how = how};

    sim_link_end(s, link, 0, how, false);
    if (d->link == link) {
        d->link = NOBODY;
    }
    d->not_before = s->now + pause(s, d->fails);
    d->fails++;
    if (told && l->want != 0 && p->link == NOBODY && !p->owes_down) {
        sim_node_step(s, n, &ev);
    }
}

void sim_greet_bye(struct sim *s, uint32_t link, uint8_t why)
{
    uint32_t n = s->links[link]->end[0].node;

    sim_dial_over(s, link, CL_HOW_PROTO, false);
    if (why == BYE_NAME) {
        sim_note(s, "node %u is refused: its name is used", n);
        s->fatals++;
        sim_node_crash(s, n);
        sim_at(s, s->now + 3000, EV_NODE_START, n, 0);
    }
}

static void bye(struct sim *s, uint32_t link, uint32_t end, enum bye why)
{
    uint8_t code = (uint8_t)why;

    if (end == 1) {
        sim_link_put(s, link, 1, ITEM_BYE, pr_bytes(&code, 1));
        sim_link_end(s, link, 1, CL_HOW_LOCAL, false);
    } else {
        sim_dial_over(s, link, CL_HOW_PROTO, false);
    }
}

/* The end `end` of a link by which the node has its peer; the other one's end. */
static struct link_end *other_end(struct sim *s, uint32_t link, uint32_t n)
{
    struct link *l = s->links[link];

    return &l->end[l->end[0].node == n];
}

/* An answer to a dial meets a link that came up meanwhile. True: that one goes. */
static bool beats(struct sim *s, uint32_t link, uint32_t old)
{
    const struct link_end *me = &s->links[link]->end[0];
    const struct link_end *them = &s->links[link]->end[1];
    uint64_t epoch = other_end(s, old, me->node)->epoch;

    if (epoch != them->epoch) {
        return them->epoch > epoch;
    }
    /* Of two that were dialled from here, the other end has kept the one that it answered last. */
    return s->links[old]->end[0].node == me->node || s->node[me->node].id < s->node[them->node].id;
}

/* It came from outside while this node dials the same one: that of the smaller id stays. */
static bool crossed(const struct sim *s, const struct link_end *me, const struct link_end *them)
{
    const struct peer *p = &s->node[me->node].peer[them->node];

    for (uint32_t seed = 0; seed < 2; seed++) {
        if (p->dial[seed].link != NOBODY && pr_addr_eq(&p->dial[seed].addr, &them->addr) &&
            s->node[me->node].id < s->node[them->node].id) {
            return true;
        }
    }
    return false;
}

/* What there is already with this peer. True: it gives way, or there is nothing. */
static bool rivals_gone(struct sim *s, uint32_t link, uint32_t end)
{
    struct link_end *me = &s->links[link]->end[end];
    const struct link_end *them = &s->links[link]->end[end ^ 1];
    uint32_t old = s->node[me->node].peer[them->node].link;
    uint32_t mine = old == NOBODY ? 0 : s->links[old]->end[1].node == me->node;
    uint64_t epoch = old == NOBODY ? 0 : other_end(s, old, me->node)->epoch;

    if (old == NOBODY) {
        return end == 0 || !crossed(s, me, them);
    }
    if (end == 0 ? !beats(s, link, old)
                 : epoch > them->epoch ||
                       (epoch == them->epoch && s->links[old]->end[mine].heard > me->held_at)) {
        bye(s, link, end, BYE_REPLACED);
        return false;
    }
    if (end == 0 || epoch < them->epoch || s->now - me->held_at >= RIVAL_MS) {
        sim_link_end(s, old, mine, CL_HOW_LOCAL, false);
        return true;
    }
    if (!me->asked) {
        sim_link_put(s, old, mine, ITEM_PING, pr_bytes(NULL, 0));
        me->asked = true;
    }
    return false;
}

static void come_up(struct sim *s, uint32_t link, uint32_t end)
{
    struct link_end *me = &s->links[link]->end[end];
    const struct link_end *them = &s->links[link]->end[end ^ 1];
    struct node_proc *n = &s->node[me->node];
    struct peer *p = &n->peer[them->node];
    struct cl_event ev = {.type = CL_EV_LINK_UP,
                          .id = s->node[them->node].id,
                          .epoch = them->epoch,
                          .name = pr_str(s->node[them->node].name),
                          .addr = them->addr};

    sim_link_down_now(s, me->node, them->node);
    if (!sim_link_end_alive(s, me)) {
        return;
    }
    me->state = END_UP;
    me->epoch = n->epoch;
    me->heard = s->now;
    p->link = link;
    for (uint32_t seed = 0; seed < 2; seed++) {
        p->dial[seed].fails = 0;
        p->dial[seed].wanted = false;
        if (p->dial[seed].link == link) {
            p->dial[seed].link = NOBODY;
        }
    }
    if (end == 1) {
        sim_link_put(s, link, 1, ITEM_HELLO_OK, pr_bytes(&n->epoch, sizeof n->epoch));
    }
    s->links_up++;
    sim_link_clock(s, link, end, s->now + HELLO_MS);
    sim_node_step(s, me->node, &ev);
}

void sim_greet(struct sim *s, uint32_t link, uint32_t end)
{
    struct link_end *me = &s->links[link]->end[end];
    const struct link_end *them = &s->links[link]->end[end ^ 1];
    uint32_t n = me->node;
    struct cl_claim claim = {.id = s->node[them->node].id,
                             .epoch = them->epoch,
                             .name = pr_str(s->node[them->node].name),
                             .addr = them->addr};
    struct pr_addr holder;
    enum cl_verdict verdict = CL_WAIT;

    if (s->now - me->held_at >= HELLO_MS) {
        bye(s, link, end, BYE_OTHER);
        return;
    }
    verdict = cl_admit(s->node[n].cl, sim_clock(s, n), &claim, &holder);
    if (verdict == CL_NAME_USED) {
        bye(s, link, end, BYE_NAME);
    } else if (verdict == CL_IS_SELF) {
        bye(s, link, end, BYE_SELF);
    } else if (verdict == CL_ID_CLASH || verdict == CL_NO_ROOM) {
        bye(s, link, end, BYE_OTHER);
    } else if (verdict == CL_ADMIT && rivals_gone(s, link, end)) {
        come_up(s, link, end);
        return;
    }
    if (me->state == END_HELD) {
        sim_link_clock(s, link, end, s->now + LOOK_MS);
    }
    sim_after_node(s, n);
}
