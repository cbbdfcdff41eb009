/* SPDX-License-Identifier: Apache-2.0 */
/*
 * marks.c - how far a link has got: behind the events of a turn each link gets a MARK, and the
 * other side echoes the last one that it has seen (LINK_ACK).
 */
#include "cluster/confirm.h"

void cl_marks_on_mark(struct cl *cl, uint32_t node, const struct pr_mark *m)
{
    struct node *n = &cl->node[node];
    cl_ms when = m->now ? cl->now : cl->now + CL_TAKEN_MS;

    if (n->taken == n->taken_told || when < n->taken_at) {
        n->taken_at = when;
    }
    n->taken = m->mark;
    if (n->taken_at < cl->taken_at) {
        cl->taken_at = n->taken_at;
    }
}

static void send_marks(struct cl *cl)
{
    cl->mark_due = false;
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct flight *f = &cl->node[i].flight;
        struct pr_mark m = {.mark = f->mark + 1, .now = f->now};

        if (!f->due || !cl->node[i].linked) {
            continue;
        }
        if (cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
            struct pr_outbuf w = cl_out_writer(&cl->out);

            pr_mark_encode(&w, &m);
            cl_push_link(cl, i, &w);
            f->mark++;
            f->due = f->now = false;
        } else {
            cl->mark_due = true;
        }
    }
}

static void tell_taken(struct cl *cl)
{
    cl->taken_at = UINT64_MAX;
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct node *n = &cl->node[i];
        struct pr_link_ack m = {.mark = n->taken};

        if (!n->linked || n->taken == n->taken_told) {
            continue;
        }
        if (n->taken_at <= cl->now && cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
            struct pr_outbuf w = cl_out_writer(&cl->out);

            pr_link_ack_encode(&w, &m);
            cl_push_link(cl, i, &w);
            n->taken_told = n->taken;
        } else if (n->taken_at < cl->taken_at) {
            cl->taken_at = n->taken_at;
        }
    }
}

void cl_marks_go_on(struct cl *cl)
{
    if (cl->mark_due) {
        send_marks(cl);
    }
    if (cl->taken_at <= cl->now) {
        tell_taken(cl);
    }
}

cl_ms cl_marks_deadline(const struct cl *cl)
{
    return cl->mark_due ? cl->now : cl->taken_at;
}
