/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_world.h - sets of several nodes with the plainest rules that lead between them, for
 * test_presence_model.c: nodes own topics (hubs), follow topics (holders) and are homes of actors;
 * links lose deltas, or all that is under way. The plain set is the written history of each actor.
 */
#ifndef TESTS_PRESENCE_WORLD_H
#define TESTS_PRESENCE_WORLD_H

#include "presence_help.h"

#define NODES  3u
#define ACTORS 5u
#define TOPICS 3u
#define SLOTS  2u
#define OPS    120u
#define LINK   128u /* messages under way; a link that is full is cut */

static const char *const names[TOPICS] = {"alpha", "beta", "gamma"};

struct step {
    uint32_t topic, slot;
    bool put;
};

struct actor {
    struct step ops[OPS]; /* operation n is ops[n-1] */
    uint64_t n;
    uint64_t told[TOPICS]; /* b of the last delta of the topic */
    bool up;
};

enum kind { DELTA, BEGIN, END, ACTOR_BEGIN, ACTOR_END, PULL };

struct msg {
    enum kind kind;
    uint32_t topic, actor; /* numbers, of what the kind needs */
    uint64_t ctx;
    struct delta d;
};

struct link {
    struct msg msg[LINK];
    uint32_t head, count;
};

struct node {
    struct heap h;
    struct cl_pres *p;
    bool follows[TOPICS];
    bool shows[TOPICS]; /* its member has begun */
    struct member member[TOPICS];
};

struct world {
    struct cl_rand r;
    uint64_t seed;
    cl_ms now;
    uint32_t owner[TOPICS];
    struct actor actor[ACTORS];
    struct node node[NODES];
    struct link link[NODES][NODES];
    bool loss;
    uint64_t lost, cut, holes, replaces; /* counted over all runs */
};
static struct world w;

static inline uint32_t chance(uint32_t n)
{
    return (uint32_t)cl_rand_below(&w.r, n);
}

static inline uint64_t boot_of(uint32_t actor)
{
    return 100 + actor;
}

static inline uint32_t home_of(uint64_t actor)
{
    return (uint32_t)(actor % NODES);
}

static inline uint32_t topic_number(struct pr_slice topic)
{
    uint32_t t = 0;

    while (!pr_slice_is(topic, names[t])) {
        t++;
    }
    return t;
}

/* ---- the plain set ---- */

static inline uint64_t holds(const struct actor *a, uint64_t at, uint32_t topic, uint32_t slot)
{
    for (uint64_t n = at; n > 0; n--) {
        const struct step *s = &a->ops[n - 1];

        if (s->topic == topic && s->slot == slot) {
            return s->put ? n : 0;
        }
    }
    return 0;
}

static inline bool lives(const struct actor *a, uint64_t at, uint32_t topic, uint64_t n)
{
    return n <= at && a->ops[n - 1].topic == topic && holds(a, at, topic, a->ops[n - 1].slot) == n;
}

static inline void interval(struct delta *d, uint32_t actor, uint32_t topic, uint64_t a, uint64_t b)
{
    const struct actor *act = &w.actor[actor];

    delta_start(d, names[topic], boot_of(actor), a, b);
    for (uint64_t n = 1; n <= b; n++) {
        char meta[16];

        (void)snprintf(meta, sizeof meta, "{\"n\":%u}", (unsigned)n);
        if (n > a && lives(act, b, topic, n)) {
            delta_add(d, n, act->ops[n - 1].slot, "key", meta);
        }
        if (n <= a && lives(act, a, topic, n) && !lives(act, b, topic, n)) {
            delta_del(d, n);
        }
    }
}

struct rows {
    uint32_t topic, count[ACTORS];
    const struct cl_pres *p;
    bool wrong;
};

static inline void check_row(void *ctx, const struct cl_presence_row *row)
{
    struct rows *rows = ctx;
    uint32_t actor = (uint32_t)(row->actor - 100);
    uint64_t at = cl_pres_ctx(rows->p, row->topic, row->actor);

    rows->count[actor]++;
    rows->wrong |= !lives(&w.actor[actor], at, rows->topic, row->n);
}

/* What a node holds of each actor in a topic is what the actor had at ctx. */
static inline void check_exact(const struct node *node)
{
    for (uint32_t t = 0; t < TOPICS; t++) {
        struct rows rows = {.topic = t, .p = node->p};

        cl_pres_each(node->p, pr_str(names[t]), check_row, &rows);
        for (uint32_t a = 0; a < ACTORS; a++) {
            uint64_t at = cl_pres_ctx(node->p, pr_str(names[t]), boot_of(a));
            uint32_t expect = 0;

            for (uint32_t s = 0; s < SLOTS; s++) {
                expect += holds(&w.actor[a], at, t, s) != 0;
            }
            if (rows.wrong || rows.count[a] != expect) {
                fail_msg("seed %llu: actor %u in %s at ctx %u is not what it was",
                         (unsigned long long)w.seed, a, names[t], (unsigned)at);
            }
        }
    }
    pres_ok(node->p);
}

/* ---- links: first in, first out; what is lost is a delta, or all of a link ---- */

static inline struct msg *post(uint32_t from, uint32_t to, enum kind kind)
{
    struct link *l = &w.link[from][to];
    struct msg *m;

    if (l->count == LINK) {
        l->count = 0;
        w.cut++;
    }
    m = &l->msg[(l->head + l->count++) % LINK];
    m->kind = kind;
    return m;
}

static inline void post_delta(uint32_t from, uint32_t to, const struct pr_p_delta *d)
{
    struct msg *m;

    if (w.loss && chance(8) == 0) {
        w.lost++;
        return;
    }
    m = post(from, to, DELTA);
    delta_start(&m->d, names[topic_number(d->topic)], d->actor, d->a, d->b);
    assert_true(d->adds.n <= sizeof m->d.adds && d->dels.n <= sizeof m->d.dels);
    if (d->adds.n > 0) {
        memcpy(m->d.adds, d->adds.p, d->adds.n);
    }
    if (d->dels.n > 0) {
        memcpy(m->d.dels, d->dels.p, d->dels.n);
    }
    m->d.d.nadds = d->nadds;
    m->d.d.ndels = d->ndels;
    m->d.d.adds.n = d->adds.n;
    m->d.d.dels.n = d->dels.n;
}

struct sender {
    uint32_t from, to;
};

static inline int send_state(void *ctx, const struct pr_p_delta *d)
{
    const struct sender *s = ctx;

    post_delta(s->from, s->to, d);
    return 0;
}

static inline void tell_topic(uint32_t from, uint32_t to, uint32_t topic)
{
    struct sender s = {from, to};

    post(from, to, BEGIN)->topic = topic;
    assert_int_equal(cl_pres_state(w.node[from].p, pr_str(names[topic]), send_state, &s), 0);
    post(from, to, END)->topic = topic;
    w.replaces++;
}

static inline void tell_actor(uint32_t actor, uint32_t to)
{
    uint32_t home = home_of(actor);
    struct sender s = {home, to};

    post(home, to, ACTOR_BEGIN)->actor = actor;
    for (uint32_t t = 0; t < TOPICS; t++) {
        if (w.owner[t] == to) {
            assert_int_equal(
                cl_pres_state_of(w.node[home].p, pr_str(names[t]), boot_of(actor), send_state, &s),
                0);
        }
    }
    post(home, to, ACTOR_END)->actor = actor;
    w.replaces++;
}

/* ---- what a node does ---- */

static inline void forward(uint32_t node, const struct pr_p_delta *d)
{
    uint32_t t = topic_number(d->topic);

    for (uint32_t to = 0; w.owner[t] == node && to < NODES; to++) {
        if (to != node && to != home_of(d->actor - 100) && w.node[to].follows[t]) {
            post_delta(node, to, d);
        }
    }
}

/* From another node: about its own actors a node hears nothing, nor about topics that it neither
 * owns nor follows. */
static inline void on_delta(uint32_t node, uint32_t from, const struct pr_p_delta *d)
{
    uint32_t t = topic_number(d->topic);
    uint64_t ctx = 0;
    int rv;

    if (home_of(d->actor - 100) == node || (w.owner[t] != node && !w.node[node].follows[t])) {
        return;
    }
    rv = cl_pres_apply(w.node[node].p, w.now, d, &ctx);
    assert_true(rv >= 0 && rv != CL_PRES_FULL);
    if (rv == CL_PRES_APPLIED) {
        forward(node, d);
    }
    if (rv == CL_PRES_HOLE) {
        struct msg *m = post(node, from, PULL);

        m->topic = t;
        m->actor = (uint32_t)(d->actor - 100);
        w.holes++;
    }
}

static inline void show_from_now(uint32_t node, uint32_t t)
{
    struct node *n = &w.node[node];

    if (n->follows[t] && !n->shows[t]) {
        cl_pres_settle_topic(n->p, pr_str(names[t]));
        assert_int_equal(cl_pres_view(n->p, pr_str(names[t]), member_begin, &n->member[t]), 0);
        n->shows[t] = true;
    }
}

static inline bool owned_by(void *ctx, struct pr_slice topic)
{
    return w.owner[topic_number(topic)] == *(const uint32_t *)ctx;
}

static inline void deliver(uint32_t from, uint32_t to)
{
    struct link *l = &w.link[from][to];
    struct msg *m = &l->msg[l->head];
    struct sender back = {to, from};
    struct cl_pres *p = w.node[to].p;

    l->head = (l->head + 1) % LINK;
    l->count--;
    switch (m->kind) {
    case DELTA:
        on_delta(to, from, &m->d.d);
        break;
    case BEGIN:
        if (w.owner[m->topic] == from) {
            cl_pres_replace_begin(p, pr_str(names[m->topic]));
        }
        break;
    case END:
        if (w.owner[m->topic] == from) {
            cl_pres_replace_end(p, w.now, pr_str(names[m->topic]));
            show_from_now(to, m->topic);
        }
        break;
    case ACTOR_BEGIN:
        cl_pres_replace_actor_begin(p, boot_of(m->actor));
        break;
    case ACTOR_END:
        cl_pres_replace_actor_end(p, w.now, boot_of(m->actor), owned_by, &to);
        break;
    case PULL:
        if (home_of(m->actor) == to || w.owner[m->topic] == to) {
            assert_int_equal(
                cl_pres_state_of(p, pr_str(names[m->topic]), boot_of(m->actor), send_state, &back),
                0);
        }
        break;
    }
}

/* The edge of an actor tells its node, which tells the owner. */
static inline void home_hears(uint32_t actor, uint32_t topic, const struct delta *d)
{
    uint32_t home = home_of(actor);
    static struct delta whole;
    uint64_t ctx = 0;
    int rv = cl_pres_apply(w.node[home].p, w.now, &d->d, &ctx);

    if (rv == CL_PRES_HOLE) { /* ctx was forgotten, the edge is asked for all */
        interval(&whole, actor, topic, 0, w.actor[actor].n);
        d = &whole;
        rv = cl_pres_apply(w.node[home].p, w.now, &d->d, &ctx);
    }
    assert_true(rv == CL_PRES_APPLIED || rv == CL_PRES_STALE);
    w.actor[actor].told[topic] = d->d.b;
    if (rv == CL_PRES_APPLIED && w.owner[topic] != home) {
        post_delta(home, w.owner[topic], &d->d);
    } else if (rv == CL_PRES_APPLIED) {
        forward(home, &d->d);
    }
}

static inline void operate(uint32_t actor)
{
    struct actor *a = &w.actor[actor];
    uint32_t topic = chance(TOPICS), slot = chance(SLOTS);
    static struct delta d;

    if (!a->up || a->n == OPS || (holds(a, a->n, topic, slot) == 0 && chance(2) == 0)) {
        return;
    }
    a->ops[a->n++] = (struct step){topic, slot, holds(a, a->n, topic, slot) == 0 || chance(2)};
    interval(&d, actor, topic, a->told[topic], a->n);
    home_hears(actor, topic, &d);
}

/* Its edge comes and goes; when it comes it tells all, and its node those who should know. */
static inline void set_up(uint32_t actor, bool up)
{
    static struct delta d;

    w.actor[actor].up = up;
    if (up) {
        assert_int_equal(cl_pres_actor_own(w.node[home_of(actor)].p, w.now, boot_of(actor)), 0);
        for (uint32_t t = 0; t < TOPICS; t++) {
            interval(&d, actor, t, 0, w.actor[actor].n);
            if (w.actor[actor].told[t] > 0) {
                home_hears(actor, t, &d);
            }
        }
    }
    for (uint32_t i = 0; i < NODES; i++) {
        if (up) {
            assert_int_equal(cl_pres_actor_up(w.node[i].p, w.now, boot_of(actor)), 0);
            if (i != home_of(actor)) {
                tell_actor(actor, i);
            }
        } else {
            cl_pres_actor_down(w.node[i].p, w.now, boot_of(actor));
        }
    }
}

static inline void follow(uint32_t node, uint32_t topic, bool on)
{
    struct node *n = &w.node[node];

    if (n->follows[topic] == on) {
        return;
    }
    n->follows[topic] = on;
    n->shows[topic] = false;
    if (on && w.owner[topic] == node) {
        show_from_now(node, topic);
    } else if (on) {
        tell_topic(w.owner[topic], node, topic);
    } else if (w.owner[topic] != node) {
        cl_pres_forget_topic(n->p, w.now, pr_str(names[topic]));
    }
}

/* The homes tell the new owner, and it tells those who follow; what is lost of it is healed later.
 */
static inline void move(uint32_t topic, uint32_t to)
{
    uint32_t old = w.owner[topic];

    if (to == old) {
        return;
    }
    w.owner[topic] = to;
    for (uint32_t a = 0; a < ACTORS; a++) {
        if (home_of(a) != to) {
            tell_actor(a, to);
        }
    }
    if (!w.node[old].follows[topic]) {
        cl_pres_forget_topic(w.node[old].p, w.now, pr_str(names[topic]));
    }
    show_from_now(to, topic);
}

static inline int show_diff(void *ctx, const struct pr_p_diff *diff)
{
    struct node *node = ctx;
    uint32_t t = topic_number(diff->topic);

    return node->shows[t] ? member_diff(&node->member[t], diff) : 0;
}

static inline void flush_all(void)
{
    for (uint32_t i = 0; i < NODES; i++) {
        struct node *node = &w.node[i];

        assert_int_equal(cl_pres_flush(node->p, w.now, show_diff, node), 0);
        check_exact(node);
        for (uint32_t t = 0; t < TOPICS; t++) {
            if (node->shows[t]) {
                member_equals_view(&node->member[t], node->p, names[t]);
            }
        }
    }
}

#endif
