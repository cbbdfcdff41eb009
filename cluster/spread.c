/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spread.c - presence over nodes. A delta goes from its edge to its own node, from there to the
 * topic's owner, the hub, and from the hub to the nodes with members who want presence. Each of
 * them merges it into the same kind of set (presence.h), so repeats and what comes twice by two
 * ways do no harm, and a hole is pulled from whoever sent what is behind it.
 *
 * Nodes compare what they hold every CL_SUM_MS. Each sum goes the way of what it is about, behind
 * it on the same link, so what is under way makes no difference: a follower tells an owner what its
 * own edges have there and what it follows, an owner a follower what that should have from here. If
 * they differ twice in a row, everything is told anew, and what is not told again is forgotten.
 */
#include "cluster/core_in.h"

#include <string.h>

/* P_SUM.kind */
#define SUM_OWN  1u /* entries of the sender's edges in topics that the receiver owns */
#define SUM_SEEN 2u /* entries of others in topics that the receiver follows with presence here */
#define SUM_SUBS 4u /* topics that the sender follows there */
#define SUM_LAST SUM_SUBS
#define SUM_ASK  (SUM_OWN | SUM_SUBS) /* told by who follows: it is asked for all of it */

static struct cl_topic *hub_topic(const struct cl *cl, struct pr_slice topic)
{
    return cl->route[cl_partition(topic)] == CL_SELF ? cl_topics_find(&cl->topics, topic) : NULL;
}

/* Nodes that get a delta of an actor of `home` from this hub. */
static struct cl_bits followers(const struct cl *cl, struct pr_slice topic, uint32_t home)
{
    const struct cl_topic *t = hub_topic(cl, topic);
    struct cl_bits to = {{0}};

    if (t != NULL && t->remote != NULL) {
        to = t->remote->presence;
        if (home < CL_NODES_MAX) {
            cl_bits_clear(&to, home);
        }
    }
    return to;
}

/* Merges, and passes on what was new. 0, CL_PRES_HOLE or an error; unchanged unless 0. */
static int merge(struct cl *cl, const struct cl_bits *to, const struct pr_frame *f,
                 const struct pr_p_delta *d)
{
    uint64_t ctx = 0;
    bool pass = cl_bits_any(to);
    int rv = pass ? cl_out_reserve(&cl->out, f->whole.n, 1) : CL_OK;

    if (rv == CL_OK) {
        rv = cl_pres_apply(cl->pres, cl->now, d, &ctx);
    }
    if (rv == CL_PRES_APPLIED && pass) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_put(&w, f->whole.p, f->whole.n);
        cl_push_links(cl, to, &w);
    }
    return rv < 0 || rv == CL_PRES_HOLE ? rv : CL_OK;
}

int cl_spread_local(struct cl *cl, uint32_t edge, const struct pr_frame *f,
                    const struct pr_p_delta *d)
{
    uint32_t owner = cl->route[cl_partition(d->topic)];
    struct cl_bits to = followers(cl, d->topic, CL_SELF);

    (void)edge;
    if (owner != CL_SELF && owner != CL_NOBODY && cl->node[owner].linked) {
        cl_bits_set(&to, owner);
    }
    return merge(cl, &to, f, d);
}

static int pull(struct cl *cl, uint32_t from, const struct pr_p_delta *d)
{
    struct pr_p_pull m = {
        .topic = d->topic, .actor = d->actor, .ctx = cl_pres_ctx(cl->pres, d->topic, d->actor)};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + m.topic.n, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_p_pull_encode(&w, &m);
        cl_push_link(cl, from, &w);
    }
    return rv;
}

/*
 * Taken from the actor's home, and from the topic's owner. A node that is neither may lag behind
 * what is forgotten here. An actor that is not known yet is of whoever tells of it: its home says
 * so before it can be seen.
 */
int cl_spread_link(struct cl *cl, uint32_t from, const struct pr_frame *f,
                   const struct pr_p_delta *d)
{
    uint32_t home = cl_links_home(cl, d->actor);
    uint32_t owner = cl->route[cl_partition(d->topic)];
    struct cl_bits to;
    int rv = CL_OK;

    if (home == CL_SELF || (home != from && home != CL_NOBODY && owner != from)) {
        return CL_OK;
    }
    to = followers(cl, d->topic, from);
    rv = merge(cl, &to, f, d);
    return rv == CL_PRES_HOLE ? pull(cl, from, d) : rv;
}

struct to_node {
    struct cl *cl;
    uint32_t node;
    uint32_t but; /* actors of this node are left out; CL_NOBODY: none */
};

static int send_state(void *ctx, const struct pr_p_delta *d)
{
    const struct to_node *to = ctx;
    struct cl *cl = to->cl;
    int rv = CL_OK;

    if (to->but != CL_NOBODY && cl_links_home(cl, d->actor) == to->but) {
        return CL_OK;
    }
    rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL + d->topic.n + d->adds.n + d->dels.n, 1);
    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_p_delta_encode(&w, d);
        cl_push_link(cl, to->node, &w);
    }
    return rv;
}

/* The rest is no frame any more; whoever is told less pulls it, or its sums differ. */
static int or_told(int rv)
{
    return rv == CL_ERANGE ? CL_OK : rv;
}

/* Also of edges that have left the topic: that nothing is left may have been lost. */
int cl_spread_own(struct cl *cl, uint32_t node, const struct cl_topic *topic)
{
    struct to_node to = {.cl = cl, .node = node, .but = CL_NOBODY};
    struct cl_out_mark mark = {0};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    mark = cl_out_mark(&cl->out);
    for (uint32_t i = 0; rv == CL_OK && i < CL_EDGES_MAX; i++) {
        if ((cl->up >> i & 1u) != 0) {
            rv = or_told(cl_pres_state_of(cl->pres, cl_topic_name(topic), cl->edge[i].boot,
                                          send_state, &to));
        }
    }
    if (rv != CL_OK) {
        cl_out_rollback(&cl->out, mark);
    }
    return rv;
}

int cl_spread_state(struct cl *cl, uint32_t node, const struct cl_topic *topic)
{
    struct to_node to = {.cl = cl, .node = node, .but = node};

    return or_told(cl_pres_state(cl->pres, cl_topic_name(topic), send_state, &to));
}

/* All that is followed there is told again, and what the own edges have. */
static int tell_all(struct cl *cl, uint32_t from)
{
    cl_view_retell(cl, from);
    cl->node[from].sum_due = true;
    return CL_OK;
}

int cl_spread_pull(struct cl *cl, uint32_t from, const struct pr_p_pull *m)
{
    struct to_node to = {.cl = cl, .node = from, .but = CL_NOBODY};

    if (m->topic.n == 0) {
        return tell_all(cl, from);
    }
    return or_told(cl_pres_state_of(cl->pres, m->topic, m->actor, send_state, &to));
}

struct pick {
    struct cl *cl;
    uint32_t node; /* the other one */
    bool follower; /* this node follows there; else it owns */
    uint32_t kind;
};

/* The node that names the actor to the others. An edge process that died, or is away, has a home,
 * but nobody else knows which. */
static uint32_t named_by(const struct cl *cl, uint64_t boot)
{
    uint32_t home = cl_links_home(cl, boot);

    return home == CL_SELF && (cl_local_bit(cl, boot) & cl->attached) == 0 ? CL_NOBODY : home;
}

static bool picked(void *ctx, struct pr_slice topic, uint64_t boot)
{
    const struct pick *p = ctx;
    const struct cl *cl = p->cl;
    uint32_t owner = p->follower ? p->node : CL_SELF;
    uint32_t home = named_by(cl, boot);
    const struct cl_topic *t = NULL;

    if (cl->route[cl_partition(topic)] != owner) {
        return false;
    }
    if (p->kind == SUM_OWN) {
        return home == (p->follower ? CL_SELF : p->node);
    }
    t = cl_topics_find(&cl->topics, topic);
    if (t == NULL || home == CL_NOBODY || home == (p->follower ? CL_SELF : p->node)) {
        return false;
    }
    return p->follower ? t->follow_presence && t->follow == CL_F_OK
                       : t->remote != NULL && cl_bits_has(&t->remote->presence, p->node);
}

static uint64_t sum_of_subs(const struct cl *cl, const struct pick *p, uint32_t *count)
{
    uint32_t owner = p->follower ? p->node : CL_SELF;
    uint64_t sum = 0;
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        const struct cl_remote *r = t->remote;

        if (cl->route[t->part] == owner &&
            (p->follower ? t->follow == CL_F_OK || t->follow == CL_F_SENT
                         : r != NULL && cl_bits_has(&r->nodes, p->node))) {
            sum += cl_mix64(cl_hash64(cl_topic_name(t)));
            (*count)++;
        }
    }
    return sum;
}

static struct pr_p_sum sum_of(struct cl *cl, uint32_t node, bool follower, uint32_t kind)
{
    struct pick p = {.cl = cl, .node = node, .follower = follower, .kind = kind};
    struct pr_p_sum sum = {.kind = kind};

    sum.hash = kind == SUM_SUBS ? sum_of_subs(cl, &p, &sum.entries)
                                : cl_pres_sum(cl->pres, picked, &p, &sum.entries);
    return sum;
}

/* All sums to one node, in one piece. */
static int send_sums(struct cl *cl, uint32_t node)
{
    int rv = cl_out_reserve(&cl->out, 3 * CL_FRAME_SMALL, 3);

    for (uint32_t kind = SUM_OWN; rv == CL_OK && kind <= SUM_LAST; kind *= 2) {
        struct pr_p_sum sum = sum_of(cl, node, kind != SUM_SEEN, kind);
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_p_sum_encode(&w, &sum);
        cl_push_link(cl, node, &w);
    }
    return rv;
}

void cl_spread_sums(struct cl *cl)
{
    bool due = cl->now >= cl->sum_at && !cl->sweeping;

    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct node *n = &cl->node[i];

        if (n->linked && !cl->sweeping && (due || n->sum_due) && send_sums(cl, i) == CL_OK) {
            n->sum_due = false;
        }
    }
    if (due) {
        cl->sum_at = cl->now + CL_SUM_MS;
        cl_links_forget_strays(cl);
        if (cl_view_agreed(cl)) { /* what was under way when the topic was given up */
            cl_view_forget_presence(cl);
        }
    }
}

static bool owned(void *ctx, struct pr_slice topic)
{
    const struct cl *cl = ctx;

    return cl->route[cl_partition(topic)] == CL_SELF;
}

static int ask_all(struct cl *cl, uint32_t from)
{
    struct node *n = &cl->node[from];
    struct pr_p_pull m = {.actor = 0};
    int rv = cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1);

    if (rv == CL_OK) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_p_pull_encode(&w, &m);
        cl_push_link(cl, from, &w);
        for (uint32_t i = 0; i < n->nboots; i++) {
            cl_pres_replace_actor_begin(cl->pres, n->boot[i]);
        }
        cl_serve_doubt(cl, from);
        n->sum_asked = true;
    }
    return rv;
}

/* Of what is done about sums of this kind: what cannot be mended must not keep the other waiting.
 */
static struct patience *patience(struct node *n, uint32_t kind)
{
    return kind == SUM_SEEN ? &n->sum_retell : &n->sum_ask;
}

/* Is it time to do something about this sum, which a node has told? */
static bool disagrees(struct cl *cl, uint32_t from, const struct pr_p_sum *sum)
{
    struct node *n = &cl->node[from];
    struct pr_p_sum own = sum_of(cl, from, sum->kind == SUM_SEEN, sum->kind);
    struct patience *p = patience(n, sum->kind);

    if (sum->kind == SUM_OWN) {
        n->sum_same = 0; /* another round */
    }
    if (own.hash == sum->hash && own.entries == sum->entries) {
        n->sum_differs &= ~sum->kind;
        n->sum_same |= sum->kind;
        if (sum->kind == SUM_SEEN || (n->sum_same & SUM_ASK) == SUM_ASK) {
            *p = (struct patience){0};
        }
        return false;
    }
    if ((n->sum_differs & sum->kind) == 0) {
        n->sum_differs |= sum->kind;
        return false;
    }
    if (p->passed < p->pause) {
        p->passed++;
        return false;
    }
    return true;
}

/* The sum of its own entries comes first, and after an answer ends it. */
int cl_spread_on_sum(struct cl *cl, uint32_t from, const struct pr_p_sum *sum)
{
    struct node *n = &cl->node[from];
    struct patience *p = patience(n, sum->kind);
    int rv = CL_OK;

    if (sum->kind != SUM_OWN && sum->kind != SUM_SEEN && sum->kind != SUM_SUBS) {
        return CL_OK; /* of a later version */
    }
    if (n->subs != cl->ring.view || !cl_view_same(cl, from)) {
        return CL_OK; /* not of the same partitions: what was told may not be all of these */
    }
    if (sum->kind == SUM_OWN && n->sum_asked) {
        for (uint32_t i = 0; i < n->nboots; i++) {
            cl_pres_replace_actor_end(cl->pres, cl->now, n->boot[i], owned, cl);
        }
        cl_serve_sure(cl, from);
        n->sum_asked = false;
    }
    if (!disagrees(cl, from, sum)) {
        return CL_OK;
    }
#ifdef CL_SABOTAGE_SUM /* for the simulation, which must notice */
    return CL_OK;
#endif
    if (sum->kind == SUM_SEEN) {
        cl_view_retell(cl, from);
    } else {
        rv = ask_all(cl, from);
    }
    if (rv == CL_OK) {
        n->sum_differs &= sum->kind == SUM_SEEN ? ~SUM_SEEN : ~SUM_ASK;
        p->passed = 0;
        p->pause = 2 * p->pause + 1;
        p->pause = p->pause < CL_SUM_PAUSE_MAX ? p->pause : CL_SUM_PAUSE_MAX;
        cl->stats.sums_differ++;
    }
    return rv;
}
