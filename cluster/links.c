/* SPDX-License-Identifier: Apache-2.0 */
/* links.c - the other nodes: their links, and the edges attached to them. */
#include "cluster/confirm.h"

#include <string.h>

uint32_t cl_node_index(const struct cl *cl, uint64_t id)
{
    for (uint32_t i = 0; i < cl->n_nodes; i++) {
        if (cl->node[i].id == id) {
            return i;
        }
    }
    return CL_NOBODY;
}

uint64_t cl_node_id(const struct cl *cl, uint32_t index)
{
    return index < cl->n_nodes ? cl->node[index].id : 0;
}

uint32_t cl_links_node(struct cl *cl, uint64_t id)
{
    uint32_t i = cl_node_index(cl, id);

    if (i != CL_NOBODY) {
        return i;
    }
    i = 1;
    while (i < cl->n_nodes && cl->node[i].id != 0) {
        i++;
    }
    if (i == CL_NODES_MAX) {
        return CL_NOBODY;
    }
    cl->n_nodes += i == cl->n_nodes;
    memset(&cl->node[i], 0, sizeof cl->node[i]);
    cl->node[i].id = id;
    return i;
}

uint32_t cl_links_home(const struct cl *cl, uint64_t boot)
{
    const struct cl_origin *g = NULL;

    if (cl_local_bit(cl, boot) != 0) {
        return CL_SELF;
    }
    g = cl_origins_find(&cl->origins, boot);
    return g == NULL ? CL_NOBODY : g->home;
}

void cl_links_close(struct cl *cl, uint32_t node, const char *reason)
{
    if (cl_out_reserve(&cl->out, 0, 1) == CL_OK) {
        struct cl_action *a = cl_push_action(cl, CL_ACT_LINK_CLOSE);

        a->id = cl->node[node].id;
        a->reason = reason;
    }
}

static void forget_boot(struct cl *cl, uint64_t boot)
{
    cl_pres_actor_down(cl->pres, cl->now, boot);
    cl_origins_drop(&cl->origins, boot);
}

/* It is dead, or its owner process is new and does not name them. */
void cl_links_forget_boots(struct cl *cl, struct node *n)
{
    for (uint32_t i = 0; i < n->nboots; i++) {
        forget_boot(cl, n->boot[i]);
    }
    n->nboots = 0;
    n->actors_until = 0;
}

int cl_links_up(struct cl *cl, const struct cl_event *ev)
{
    uint32_t i = cl->swim == NULL ? CL_NOBODY : cl_links_node(cl, ev->id);
    struct node *n = i == CL_NOBODY ? NULL : &cl->node[i];
    int rv = CL_OK;

    if (n == NULL || i == CL_SELF) {
        return CL_ERANGE;
    }
    rv = cl_swim_link_up(cl->swim, cl->now, ev->id, ev->epoch);
    if (rv != CL_OK) {
        return rv;
    }
    if (n->epoch != ev->epoch && n->nboots > 0) {
        n->actors_until = cl->now + CL_SYNC_MS;
        cl->actors_at = n->actors_until < cl->actors_at ? n->actors_until : cl->actors_at;
    }
    n->epoch = ev->epoch;
    n->linked = true;
    n->actors_told = false;
    n->view = n->view_told = n->subs = n->subs_told = 0;
    n->taken = n->taken_told = 0;
    cl_away_linked(cl, i);
    n->sum_due = n->sum_asked = false;
    n->sum_differs = 0;
    cl->changed_at = cl->now;
    cl_view_retell(cl, i);
    cl_local_again(cl, 0); /* what was under way on the link before may be lost */
    return CL_OK;
}

static enum cl_swim_down down_of(enum cl_how how)
{
    switch (how) {
    case CL_HOW_EOF:
        return CL_SWIM_EOF;
    case CL_HOW_REFUSED:
        return CL_SWIM_REFUSED;
    case CL_HOW_TIMEOUT:
        return CL_SWIM_TIMEOUT;
    case CL_HOW_PROTO:
        return CL_SWIM_PROTO;
    case CL_HOW_LOCAL:
        return CL_SWIM_LOCAL;
    }
    return CL_SWIM_EOF;
}

int cl_links_down(struct cl *cl, const struct cl_event *ev)
{
    uint32_t i = cl->swim == NULL ? CL_NOBODY : cl_node_index(cl, ev->id);

    if (cl->swim != NULL) {
        cl_swim_link_down(cl->swim, cl->now, ev->id, down_of(ev->how));
    }
    if (i != CL_NOBODY && cl->node[i].linked) {
        cl->node[i].linked = false;
        if (cl->node[i].member) {
            cl_away_begin(cl, i);
        } else {
            cl_links_forget_boots(cl, &cl->node[i]); /* its end will not be told */
            cl_away_over(cl, i);
        }
        cl_order_gone(cl, i);
        cl_serve_gone(cl, i, cl->node[i].member);
        cl_view_retell(cl, i);
    }
    return CL_OK;
}

/* Only boots that are new to it are looked at twice: a frame comes with every edge that starts. */
static bool has_boot(const uint64_t *list, uint32_t n, uint64_t boot)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i] == boot) {
            return true;
        }
    }
    return false;
}

static int take_actors(const struct pr_actors *m, uint64_t *boot)
{
    struct pr_slice list = m->actors;
    uint32_t n = 0;
    uint32_t index = 0;

    if (m->nactors > CL_EDGES_MAX) {
        return CL_EPROTO;
    }
    while (n < m->nactors && pr_actors_next(&list, &index, &boot[n]) == 1) {
        n++;
    }
    return n == m->nactors ? CL_OK : CL_EPROTO;
}

static void push_actors(struct cl *cl, uint64_t id, const struct pr_frame *f)
{
    struct pr_outbuf w = cl_out_writer(&cl->out);

    pr_put(&w, f->whole.p, f->whole.n);
    cl_push_bytes(cl, CL_ACT_ACTORS, &w)->id = id;
}

/* The list is whole: who is not in it is gone. */
static int on_actors(struct cl *cl, uint32_t from, const struct pr_actors *m,
                     const struct pr_frame *f)
{
    struct node *n = &cl->node[from];
    uint64_t boot[CL_EDGES_MAX];
    int rv = take_actors(m, boot);

    if (rv == CL_OK) {
        rv = cl_out_reserve(&cl->out, f->whole.n, 1);
    }
    for (uint32_t i = 0; rv == CL_OK && i < m->nactors; i++) {
        rv = cl_origins_get(&cl->origins, boot[i], from) == NULL
                 ? CL_ENOMEM
                 : cl_pres_actor_up(cl->pres, cl->now, boot[i]);
    }
    if (rv != CL_OK) {
        return rv;
    }
    for (uint32_t i = 0; i < n->nboots; i++) {
        if (!has_boot(boot, m->nactors, n->boot[i])) {
            forget_boot(cl, n->boot[i]);
        }
    }
    n->nboots = m->nactors;
    memcpy(n->boot, boot, m->nactors * sizeof boot[0]);
    n->actors_until = 0;
    push_actors(cl, n->id, f);
    return CL_OK;
}

/* To the edge that published, as it came; it may be gone. */
static int on_pub_ok(struct cl *cl, const struct pr_frame *f, const struct pr_pub_ok *ok)
{
    uint64_t edge = cl_local_bit(cl, ok->boot);
    int rv = edge == 0 ? CL_OK : cl_out_reserve(&cl->out, f->whole.n, 1);

    if (rv == CL_OK && edge != 0) {
        struct pr_outbuf w = cl_out_writer(&cl->out);

        pr_put(&w, f->whole.p, f->whole.n);
        cl_push_send(cl, edge, &w);
    }
    return rv;
}

static int on_pub(struct cl *cl, uint32_t from, const struct pr_frame *f)
{
    struct source source = {.node = from};
    struct pr_pub pub;

    if (pr_pub_decode(f, &pub) != PR_OK || pub.oseq == 0 || pub.part != cl_partition(pub.topic)) {
        return CL_EPROTO;
    }
    return cl_order_pub(cl, source, f, &pub);
}

static int on_topic(struct cl *cl, uint32_t from, const struct pr_frame *f)
{
    struct pr_sub sub;
    struct pr_sub_ok ok;
    struct pr_unsub unsub;
    struct pr_resync resync;

    if (f->type == PR_T_SUB) {
        return pr_sub_decode(f, &sub) == PR_OK ? cl_serve_sub(cl, from, &sub) : CL_EPROTO;
    }
    if (f->type == PR_T_SUB_OK) {
        return pr_sub_ok_decode(f, &ok) == PR_OK ? cl_follow_sub_ok(cl, from, &ok) : CL_EPROTO;
    }
    if (f->type == PR_T_UNSUB && pr_unsub_decode(f, &unsub) == PR_OK) {
        cl_serve_unsub(cl, from, &unsub);
        return CL_OK;
    }
    if (f->type == PR_T_RESYNC && pr_resync_decode(f, &resync) == PR_OK) {
        cl_follow_resync(cl, from, &resync);
        return cl_serve_resync(cl, from, &resync);
    }
    return CL_EPROTO;
}

static int on_presence(struct cl *cl, uint32_t from, const struct pr_frame *f)
{
    struct pr_p_delta delta;
    struct pr_p_pull pull;
    struct pr_p_sum sum;

    if (f->type == PR_T_P_DELTA) {
        return pr_p_delta_decode(f, &delta) == PR_OK ? cl_spread_link(cl, from, f, &delta)
                                                     : CL_EPROTO;
    }
    if (f->type == PR_T_P_PULL) {
        return pr_p_pull_decode(f, &pull) == PR_OK ? cl_spread_pull(cl, from, &pull) : CL_EPROTO;
    }
    if (f->type == PR_T_P_SUM) {
        return pr_p_sum_decode(f, &sum) == PR_OK ? cl_spread_on_sum(cl, from, &sum) : CL_EPROTO;
    }
    return CL_EPROTO;
}

/* What a node says of itself and of the view. */
static int on_node(struct cl *cl, uint32_t from, const struct pr_frame *f)
{
    struct pr_actors actors;
    struct pr_view view;
    struct pr_sub_all all;
    struct pr_not_owner refusal;
    struct pr_again anew;

    if (f->type == PR_T_ACTORS) {
        return pr_actors_decode(f, &actors) == PR_OK ? on_actors(cl, from, &actors, f) : CL_EPROTO;
    }
    if (f->type == PR_T_VIEW && pr_view_decode(f, &view) == PR_OK) {
        cl_view_heard(cl, from, view.view);
        return CL_OK;
    }
    if (f->type == PR_T_SUB_ALL && pr_sub_all_decode(f, &all) == PR_OK) {
        cl->node[from].subs = all.view;
        if (all.view == cl->ring.view) {
            cl_serve_settled(cl, from);
            cl_away_told(cl, from);
        }
        return CL_OK;
    }
    if (f->type == PR_T_NOT_OWNER && pr_not_owner_decode(f, &refusal) == PR_OK) {
        cl_local_again(cl, CL_AGAIN_MS);
        return CL_OK;
    }
    if (f->type == PR_T_AGAIN_OK && pr_again_ok_decode(f, &anew) == PR_OK) {
        cl_order_anew(cl, anew.gen);
        return CL_OK;
    }
    return CL_EPROTO;
}

static int on_mark(struct cl *cl, uint32_t from, const struct pr_frame *f)
{
    struct pr_link_ack ack;
    struct pr_mark mark;

    if (f->type == PR_T_MARK && pr_mark_decode(f, &mark) == PR_OK) {
        cl_marks_on_mark(cl, from, &mark);
        return CL_OK;
    }
    if (f->type == PR_T_LINK_ACK && pr_link_ack_decode(f, &ack) == PR_OK) {
        return cl_confirm_taken(cl, from, ack.mark);
    }
    return CL_EPROTO;
}

static int on_frame(struct cl *cl, uint32_t from, const struct pr_frame *f)
{
    struct pr_event event;
    struct pr_pub_ok ok;

    switch (f->type) {
    case PR_T_EVENT:
        return pr_event_decode(f, &event) == PR_OK ? cl_follow_event(cl, from, &event) : CL_EPROTO;
    case PR_T_MARK:
    case PR_T_LINK_ACK:
        return on_mark(cl, from, f);
    case PR_T_PUB:
        return on_pub(cl, from, f);
    case PR_T_PUB_OK:
        return pr_pub_ok_decode(f, &ok) == PR_OK ? on_pub_ok(cl, f, &ok) : CL_EPROTO;
    case PR_T_SUB:
    case PR_T_SUB_OK:
    case PR_T_UNSUB:
    case PR_T_RESYNC:
        return on_topic(cl, from, f);
    case PR_T_P_DELTA:
    case PR_T_P_PULL:
    case PR_T_P_SUM:
        return on_presence(cl, from, f);
    case PR_T_PING:
    case PR_T_PONG:
    case PR_T_SYNC_HASH:
    case PR_T_SYNC:
        return cl_swim_link_in(cl->swim, cl->now, cl->node[from].id, f);
    default:
        return on_node(cl, from, f);
    }
}

int cl_links_in(struct cl *cl, const struct cl_event *ev)
{
    uint32_t from = cl->swim == NULL ? CL_NOBODY : cl_node_index(cl, ev->id);
    int rv = CL_OK;

    if (from == CL_NOBODY || !cl->node[from].linked) {
        return CL_ENOENT;
    }
    cl_swim_link_heard(cl->swim, cl->now, ev->id);
    rv = on_frame(cl, from, ev->frame);
    if (rv == CL_EPROTO) {
        cl_links_close(cl, from, "a frame that is damaged, or that a node may not send");
    }
    return rv;
}

void cl_links_actors_due(struct cl *cl)
{
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        cl->node[i].actors_told = false;
    }
}

static void tell_actors(struct cl *cl, uint32_t to)
{
    struct pr_actors m = {.epoch = cl->epoch.boot};
    uint8_t list[CL_EDGES_MAX * 24];
    struct pr_outbuf packed = pr_outbuf(list, sizeof list);
    struct pr_outbuf w;

    for (uint32_t i = 0; i < CL_EDGES_MAX; i++) {
        if (cl->edge[i].attached) {
            pr_actor_put(&packed, i, cl->edge[i].boot);
            m.nactors++;
        }
    }
    m.actors = pr_bytes(list, packed.len);
    if (cl_out_reserve(&cl->out, CL_FRAME_SMALL + packed.len, 1) == CL_OK) {
        w = cl_out_writer(&cl->out);
        pr_actors_encode(&w, &m);
        cl_push_link(cl, to, &w);
        cl->node[to].actors_told = true;
    }
}

static void forget_late(struct cl *cl)
{
    cl->actors_at = UINT64_MAX;
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct node *n = &cl->node[i];

        if (n->actors_until != 0 && n->actors_until <= cl->now) {
            cl_links_forget_boots(cl, n);
        } else if (n->actors_until != 0 && n->actors_until < cl->actors_at) {
            cl->actors_at = n->actors_until;
        }
    }
}

static bool is_named(const struct cl *cl, const struct cl_origin *g)
{
    bool named = false;

    if (g->home != CL_SELF) {
        return has_boot(cl->node[g->home].boot, cl->node[g->home].nboots, g->boot);
    }
    for (uint32_t i = 0; i < CL_EDGES_MAX && !named; i++) {
        named = cl->edge[i].boot == g->boot;
    }
    return named;
}

/* Twice in a row: a node's publishes may come ahead of its names. */
void cl_links_forget_strays(struct cl *cl)
{
    uint32_t at = 0;

    for (struct cl_origin *g = cl_origins_next(&cl->origins, &at);
         g != NULL && cl->park_head == NULL; g = cl_origins_next(&cl->origins, &at)) {
        bool stray = !is_named(cl, g);

        if (stray && g->stray) {
            cl_origins_drop(&cl->origins, g->boot);
        } else {
            g->stray = stray;
        }
    }
}

void cl_links_go_on(struct cl *cl)
{
    if (cl->actors_at <= cl->now) {
        forget_late(cl);
    }
    for (uint32_t i = 1; cl->edges_ready && i < cl->n_nodes; i++) {
        if (cl->node[i].linked && !cl->node[i].actors_told) {
            tell_actors(cl, i);
        }
    }
}
