/* SPDX-License-Identifier: Apache-2.0 */
/*
 * view.c - who owns what, and how a change of it loses nothing.
 *
 * A view is the list of members that own partitions; its hash names it, and the owner of every
 * partition follows from it alone. On adopting a view a node
 *
 *   1. stops ordering what went elsewhere, and says VIEW on every link: whatever it ordered is
 *      ahead of that frame;
 *   2. has its edges send again what is not confirmed (AGAIN), so that nothing under way to an
 *      owner that has stopped is lost; receivers drop what comes twice;
 *   3. subscribes at the new owners, with all that its edges have of presence there, and says
 *      SUB_ALL once it has VIEW from every linked node, that is, every event of the old owners;
 *   4. orders what came to it once every linked node has said SUB_ALL for the same view.
 *
 * This is the flush of virtual synchrony (Birman, Joseph, "Exploiting virtual synchrony in
 * distributed systems", SOSP 1987), with time limits instead of agreement: a node that does not
 * answer delays the others by CL_FLUSH_MS and may miss what is ordered meanwhile, which it then
 * asks for (serve.c). Considered: a handoff per partition from owner to owner. It pauses a
 * partition for less, but needs its own protocol for each failure in the middle, and a second path
 * for owners that died; here both are one.
 */
#include "cluster/core_in.h"

#include <string.h>

void cl_view_sweep(struct cl *cl)
{
    cl->sweeping = true;
    cl->sweep_at = 0;
}

void cl_view_init(struct cl *cl)
{
    struct cl_ring_member self = {.id = cl->node[CL_SELF].id, .weight = 1};

    for (uint32_t p = 0; p < CL_PARTITIONS; p++) {
        cl->route[p] = cl->swim == NULL ? CL_SELF : CL_NOBODY;
        cl->closed[p] = cl->swim == NULL;
    }
    if (cl->swim == NULL) {
        cl_ring_build(&cl->ring, &self, 1);
        cl->view_at = cl->now;
        cl->n_closed = CL_PARTITIONS;
        cl->flushing = true;
        cl->reader_due = true;
    }
}

/* What was said before the view before this one is of an earlier time that had the same view: the
 * node may have had another since, and be on its way back. */
bool cl_view_same(const struct cl *cl, uint32_t node)
{
    const struct node *n = &cl->node[node];

    return n->view == cl->ring.view && n->view_when + 1 >= cl->stats.views;
}

/* If that is news and the same view, it may not count what it was told before: it is told again. */
void cl_view_heard(struct cl *cl, uint32_t node, uint64_t view)
{
    struct node *n = &cl->node[node];
    bool news = n->view != view;

    n->view = view;
    n->view_when = cl->stats.views;
    n->subs = 0;
    if (news && view == cl->ring.view) {
        n->view_told = 0;
        n->subs_told = 0;
    }
}

bool cl_view_agreed(const struct cl *cl)
{
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        if (cl->node[i].linked && !cl_view_same(cl, i)) {
            return false;
        }
    }
    return true;
}

/* The topic's partition has another owner, or its own node is no owner. */
static void move_topic(struct cl *cl, struct cl_topic *t, uint32_t was)
{
    uint32_t is = cl->route[t->part];

    if (is != CL_SELF && t->remote != NULL) {
        cl_serve_moved(cl, t);
    }
    if (is == was) {
        return;
    }
    t->resync = false;
    if (is == CL_SELF) {
        cl_follow_stop(cl, t);
        return;
    }
    if (was == CL_SELF && !cl_follows(t)) { /* followed so far: itself */
        t->follow_epoch = cl->epoch;
        t->follow_seq = t->seq;
    }
    cl_follow_set(cl, t, t->edges == 0 ? CL_F_NONE : CL_F_DUE);
}

static void forget_if_not_held(void *ctx, struct pr_slice topic, uint32_t actors)
{
    struct cl *cl = ctx;
    const struct cl_topic *t = NULL;

    (void)actors;
    if (cl->route[cl_partition(topic)] == CL_SELF) {
        return;
    }
    t = cl_topics_find(&cl->topics, topic);
    if (t == NULL || (t->presence_edges == 0 && !t->follow_presence)) {
        cl_pres_forget_topic(cl->pres, cl->now, topic);
    }
}

/* Not while some node has another view: by a later one it may have told what will be needed. */
void cl_view_forget_presence(struct cl *cl)
{
    cl_pres_each_topic(cl->pres, forget_if_not_held, cl);
}

static bool in_ring(const struct cl *cl, uint64_t id)
{
    uint32_t k = 0;

    while (k < cl->ring.n && cl->ring.m[k].id != id) {
        k++;
    }
    return k < cl->ring.n;
}

/* An index without node is free again once no route leads there. News of a member may still wait
 * for room although the ring has it. */
static void free_nodes(struct cl *cl)
{
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        const struct node *n = &cl->node[i];

        if (!n->linked && !n->member && !in_ring(cl, n->id)) {
            memset(&cl->node[i], 0, sizeof cl->node[i]);
        }
    }
}

uint64_t cl_reader(const struct cl *cl, struct pr_slice project)
{
    uint16_t best = 0;

    if (cl_ring_rank(&cl->ring, cl_hash64(project), &best, 1) == 0) {
        return 0;
    }
    return cl->ring.m[best].id;
}

/* The view in `next` becomes this node's. */
static void adopt(struct cl *cl)
{
    uint16_t was[CL_PARTITIONS];
    uint16_t index[CL_NODES_MAX] = {0};
    bool moved = false;
    uint32_t at = 0;

    memcpy(was, cl->route, sizeof was);
    cl->ring = cl->next;
    cl->stats.views++;
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        cl->node[i].view_told = cl->node[i].subs_told = 0;
    }
    for (uint32_t k = 0; k < cl->ring.n; k++) {
        index[k] = (uint16_t)cl_links_node(cl, cl->ring.m[k].id);
    }
    cl->n_closed = 0;
    for (uint32_t p = 0; p < CL_PARTITIONS; p++) {
        uint16_t is = cl->ring.n == 0 ? (uint16_t)CL_NOBODY : index[cl->ring.owner[p]];

        cl->route[p] = is;
        cl->came[p] = is == CL_SELF && was[p] != CL_SELF ? cl->stats.views : cl->came[p];
        cl->closed[p] = is == CL_SELF && (was[p] != CL_SELF || cl->closed[p]);
        cl->n_closed += cl->closed[p];
        moved = moved || is != was[p];
    }
    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        move_topic(cl, t, was[t->part]);
    }
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        if (cl->node[i].linked && cl->node[i].subs == cl->ring.view) {
            cl_away_told(cl, i); /* it had this view before */
        }
    }
    if (cl_view_agreed(cl)) {
        cl_view_forget_presence(cl);
    }
    free_nodes(cl);
    cl->view_at = cl->now;
    cl->flushing = cl->n_closed > 0;
    if (moved) {
        cl_local_again(cl, 0);
    }
    cl_view_sweep(cl);
    cl->reader_due = true;
}

void cl_view_look(struct cl *cl)
{
    struct cl_ring_member m[CL_NODES_MAX];
    uint32_t n = cl_swim_members(cl->swim, m);

    cl_ring_build(&cl->next, m, n);
    if (cl->next.view != cl->ring.view) {
        adopt(cl);
        cl_swim_set_view(cl->swim, cl->ring.view);
    }
}

void cl_view_retell(struct cl *cl, uint32_t node)
{
    uint32_t at = 0;

    for (struct cl_topic *t = cl_topics_next(&cl->topics, &at); t != NULL;
         t = cl_topics_next(&cl->topics, &at)) {
        if (cl->route[t->part] != node) {
            continue;
        }
        if (t->edges != 0 || t->follow != CL_F_NONE) {
            t->resync = false;
            cl_follow_set(cl, t, CL_F_DUE);
        } else {
            t->own_due = true; /* its last deletion may be lost */
        }
    }
    cl_view_sweep(cl);
}

/* Whatever is due of one topic. 0, CL_ENOMEM or CL_EAGAIN. */
static int tell(struct cl *cl, struct cl_topic *t)
{
    int rv = CL_OK;

    if (cl->route[t->part] != CL_SELF) {
        rv = cl_follow_sweep(cl, t);
    } else {
        if (!cl->closed[t->part]) {
            cl_follow_opened(cl, t);
            rv = cl_serve_owed(cl, t);
            rv = rv == CL_OK ? cl_local_answer(cl, t, false) : rv;
        }
    }
    return rv == CL_OK ? cl_local_views(cl, t) : rv;
}

static void sweep(struct cl *cl)
{
    size_t start = cl->out.head == cl->out.count ? 0 : cl->out.len;

    for (uint32_t k = 0; cl->sweeping && k < CL_SWEEP_MAX; k++) {
        uint32_t at = cl->sweep_at;
        struct cl_topic *t = cl_topics_next(&cl->topics, &at);

        if (t == NULL) {
            cl->sweeping = false;
        } else if (cl->out.len > start + CL_SWEEP_BYTES || tell(cl, t) != CL_OK) {
            return; /* the rest when what waits has been taken */
        } else {
            cl->sweep_at = at;
        }
    }
}

/* Everything that an old owner ordered has come: it is behind no VIEW any more. */
static bool barrier(const struct cl *cl)
{
    return cl_view_agreed(cl) || cl->now >= cl->view_at + CL_BARRIER_MS;
}

/* Every linked node follows by this view. */
static bool flushed(const struct cl *cl)
{
#ifndef CL_SABOTAGE_FLUSH /* for the simulation, which must notice that it is missing */
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        if (cl->node[i].linked && (cl->node[i].subs != cl->ring.view || !cl_view_same(cl, i))) {
            return cl->now >= cl->view_at + CL_FLUSH_MS;
        }
    }
#else
    (void)cl;
#endif
    return true;
}

/* VIEW to the nodes that have not had it: before any SUB by this view, so that they know by which
 * one it is. False: some have still not. */
static bool tell_view(struct cl *cl)
{
    struct pr_view view = {.view = cl->ring.view};

    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct node *n = &cl->node[i];
        struct pr_outbuf w;

        if (!n->linked || n->view_told == cl->ring.view) {
            continue;
        }
        if (cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) != CL_OK) {
            return false;
        }
        w = cl_out_writer(&cl->out);
        pr_view_encode(&w, &view);
        cl_push_link(cl, i, &w);
        n->view_told = cl->ring.view;
    }
    return true;
}

/* SUB_ALL to the nodes that have not had it. */
static void tell_subs(struct cl *cl)
{
    struct pr_sub_all all = {.view = cl->ring.view};
    bool due = cl->edges_ready && !cl->sweeping && barrier(cl);

    for (uint32_t i = 1; due && i < cl->n_nodes; i++) {
        struct node *n = &cl->node[i];
        struct pr_outbuf w;

        if (n->linked && n->view_told == cl->ring.view && n->subs_told != cl->ring.view &&
            cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
            w = cl_out_writer(&cl->out);
            pr_sub_all_encode(&w, &all);
            cl_push_link(cl, i, &w);
            n->subs_told = cl->ring.view;
        }
    }
}

static void join_if_due(struct cl *cl)
{
    bool linked = false;
    bool all = true;

    if (cl->joined) {
        return;
    }
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        linked = linked || cl->node[i].linked;
        all = all && (cl->node[i].linked || !cl->node[i].member);
    }
    if (cl->now >= cl->start + CL_JOIN_MS ||
        (linked && all && cl->now >= cl->changed_at + CL_JOIN_QUIET_MS)) {
        cl->joined = true;
        if (!cl->left) {
            cl_swim_ready(cl->swim, cl->now);
            cl_view_look(cl);
        }
    }
}

static void tell_reader(struct cl *cl)
{
    if (cl->reader_due && cl_out_reserve(&cl->out, 0, 1) == CL_OK) {
        (void)cl_push_action(cl, CL_ACT_READER);
        cl->reader_due = false;
    }
}

void cl_view_go_on(struct cl *cl)
{
    if (cl->swim != NULL) {
        join_if_due(cl);
        cl_links_go_on(cl);
    }
    tell_reader(cl);
    if (cl->flushing && cl->edges_ready && flushed(cl)) {
        cl->flushing = false;
        cl->n_closed = 0;
        memset(cl->closed, 0, sizeof cl->closed);
        cl_view_sweep(cl);
    }
    if (cl->ring.view == 0 || tell_view(cl)) {
        sweep(cl);
    }
    if (cl->swim != NULL && cl->ring.view != 0) {
        tell_subs(cl);
    }
    if (cl->swim != NULL) {
        cl_spread_sums(cl);
    }
}

cl_ms cl_view_deadline(const struct cl *cl)
{
    cl_ms due = cl->sweeping || cl->reader_due ? cl->now : UINT64_MAX;

    if (cl->swim != NULL && !cl->joined) {
        cl_ms quiet = cl->changed_at + CL_JOIN_QUIET_MS;

        due = cl->start + CL_JOIN_MS < due ? cl->start + CL_JOIN_MS : due;
        due = quiet > cl->now && quiet < due ? quiet : due;
    }
    if (cl->flushing && cl->edges_ready && cl->view_at + CL_FLUSH_MS < due) {
        due = cl->view_at + CL_FLUSH_MS;
    }
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        const struct node *n = &cl->node[i];

        if (n->linked && cl->ring.view != 0 && cl->edges_ready && n->subs_told != cl->ring.view &&
            cl->view_at + CL_BARRIER_MS < due) {
            due = cl->view_at + CL_BARRIER_MS;
        }
    }
    return due;
}

uint64_t cl_view(const struct cl *cl)
{
    return cl->ring.view;
}

uint64_t cl_owner_of(const struct cl *cl, uint32_t part)
{
    return cl->route[part] == CL_NOBODY ? 0 : cl->node[cl->route[part]].id;
}

uint32_t cl_rank_of(const struct cl *cl, uint32_t part, uint64_t *ids, uint32_t k)
{
    uint16_t best[CL_NODES_MAX];
    uint32_t n = cl_ring_rank(&cl->ring, part, best, k < CL_NODES_MAX ? k : CL_NODES_MAX);

    for (uint32_t i = 0; i < n; i++) {
        ids[i] = cl->ring.m[best[i]].id;
    }
    return n;
}

bool cl_joined(const struct cl *cl)
{
    return cl->joined;
}

bool cl_gone(const struct cl *cl)
{
    return cl->swim == NULL || cl_swim_gone(cl->swim);
}
