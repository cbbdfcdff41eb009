/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this edge is told of presence: views, diffs, and the owner's questions about its own
 * entries.
 */
#include "cluster/edge_in.h"

int cle_view_send_get(struct cle *c, uint32_t topic)
{
    struct etopic *t = cle_topic(c, topic);
    struct pr_p_view_get get = {.topic = cle_topic_key(c, topic)};
    struct pr_outbuf w;
    int rv = cl_out_reserve(&c->out, CLE_FRAME_SMALL + t->key_len, 1);

    if (rv == CL_OK) {
        w = cl_out_writer(&c->out);
        pr_p_view_get_encode(&w, &get);
        cle_push_send(c, &w);
        t->views++;
        t->view_due = false;
    }
    return rv;
}

int cle_presence_view(struct cle *c, cl_ms now, uint32_t handle)
{
    struct etopic *t = cle_topic(c, handle);

    c->now = now;
    if (!cle_up(c) || !c->synced || t->asked != t->presence) {
        t->view_due = true; /* diffs must come from before it on */
        return CL_OK;
    }
    if (t->views - t->views_stale > (t->view_open && t->views_stale == 0 ? 1u : 0u)) {
        return CL_OK; /* an answer that has not begun serves everybody who waits */
    }
    return cle_view_send_get(c, handle);
}

void cle_view_push_digest(struct cle *c)
{
    struct pr_p_digest d = {.actor = c->boot, .hash = c->digest, .entries = c->pres.used};
    struct pr_outbuf w = cl_out_writer(&c->out);

    pr_p_digest_encode(&w, &d);
    cle_push_send(c, &w);
    c->digest_at = c->now + CLE_DIGEST_MS;
}

int cle_view_send_digest(struct cle *c)
{
    int rv = cl_out_reserve(&c->out, CLE_FRAME_SMALL, 1);

    if (rv == CL_OK) {
        cle_view_push_digest(c);
    }
    return rv;
}

/* The owner has heard all edges. After the first link ever, members have the state of an owner
 * process before, or missed diffs of this one: they get a whole new state. */
static void on_synced(struct cle *c)
{
    if (c->synced) {
        return;
    }
    c->synced = true;
    for (uint32_t i = 0; i < c->topics.top; i++) {
        struct etopic *t = cle_topic(c, i);

        if (t->key == NULL) {
            continue;
        }
        t->reset_due = t->presence && t->refs > 0 && c->links > 1;
        if (t->reset_due || t->view_due) {
            cle_topic_due(c, i);
        }
    }
    cle_pump(c);
}

/* The owner holds something else of this actor in a topic that is not known here: nothing is
 * present in it. */
static int send_nothing(struct cle *c, struct pr_slice topic)
{
    struct pr_p_delta d = {.topic = topic, .actor = c->boot, .b = c->n};
    struct pr_outbuf w;
    int rv = cl_out_reserve(&c->out, CLE_FRAME_SMALL + topic.n, 1);

    if (rv == CL_OK) {
        w = cl_out_writer(&c->out);
        pr_p_delta_encode(&w, &d);
        cle_push_send(c, &w);
    }
    return rv;
}

static int on_pull(struct cle *c, const struct pr_p_pull *pull)
{
    uint32_t only = NONE;

    if (pull->actor != c->boot) {
        return CL_EPROTO;
    }
    if (pull->topic.n > 0) {
        only = cle_topic_find(c, pull->topic);
        if (only == NONE) {
            return send_nothing(c, pull->topic);
        }
    }
    for (uint32_t i = only == NONE ? 0 : only; i < c->topics.top; i++) {
        struct etopic *t = cle_topic(c, i);

        if (t->key != NULL && (i == only || t->told || t->pres_count > 0)) {
            t->full_due = true;
            cle_topic_due(c, i);
        }
        if (i == only) {
            break;
        }
    }
    cle_pump(c);
    return CL_OK;
}

static int on_view(struct cle *c, const struct pr_p_view *view)
{
    uint32_t i = cle_topic_find(c, view->topic);
    struct etopic *t = i == NONE ? NULL : cle_topic(c, i);
    int rv = CL_OK;

    if (t == NULL || t->views == 0) {
        return CL_OK; /* nobody is left to tell */
    }
    if (t->views_stale == 0) {
        rv = cl_out_reserve(&c->out, 0, 1);
        if (rv != CL_OK) {
            return rv;
        }
        cle_push(c, CLE_PRES_VIEW, i)->view = *view;
    }
    t->view_open = !view->last;
    if (view->last) {
        t->views--;
        t->views_stale -= t->views_stale > 0;
    }
    return CL_OK;
}

static int on_diff(struct cle *c, const struct pr_p_diff *diff)
{
    uint32_t i = cle_topic_find(c, diff->topic);
    int rv = CL_OK;

    if (i == NONE || !cle_topic(c, i)->presence || cle_topic(c, i)->refs == 0) {
        return CL_OK;
    }
    if (!c->synced || cle_topic(c, i)->reset_due) {
        return CL_OK; /* follows from what members have not seen; CLE_PRES_RESET is to come */
    }
    rv = cl_out_reserve(&c->out, 0, 1);
    if (rv == CL_OK) {
        cle_push(c, CLE_PRES_DIFF, i)->diff = *diff;
    }
    return rv;
}

int cle_view_on_frame(struct cle *c, const struct pr_frame *f)
{
    struct pr_p_digest digest;
    struct pr_p_pull pull;
    struct pr_p_view view;
    struct pr_p_diff diff;

    if (f->type == PR_T_P_DIFF) {
        return pr_p_diff_decode(f, &diff) == PR_OK ? on_diff(c, &diff) : CL_EPROTO;
    }
    if (f->type == PR_T_P_VIEW) {
        return pr_p_view_decode(f, &view) == PR_OK ? on_view(c, &view) : CL_EPROTO;
    }
    if (f->type == PR_T_P_PULL) {
        return pr_p_pull_decode(f, &pull) == PR_OK ? on_pull(c, &pull) : CL_EPROTO;
    }
    if (f->type == PR_T_P_DIGEST) {
        if (pr_p_digest_decode(f, &digest) != PR_OK || digest.actor != c->boot) {
            return CL_EPROTO;
        }
        on_synced(c);
        return CL_OK;
    }
    return CL_EPROTO;
}
