/* SPDX-License-Identifier: Apache-2.0 */
/* members.c - membership (swim.h) and the rest of the core: who came, who is gone, who may come. */
#include "cluster/confirm.h"

#include <string.h>

static void on_member(struct cl *cl, const struct cl_swim_action *a)
{
    bool member = a->now == CL_SWIM_ALIVE || a->now == CL_SWIM_SUSPECT;
    bool self = a->id == cl->node[CL_SELF].id;
    uint32_t i = member && !self ? cl_links_node(cl, a->id) : cl_node_index(cl, a->id);
    struct cl_action *out = cl_push_action(cl, CL_ACT_MEMBER);

    out->id = a->id;
    out->reason = a->reason;
    out->who = a->who;
    out->state = a->now == CL_SWIM_NONE ? "forgotten" : cl_swim_state_name(a->member);
    cl->changed_at = cl->now;
    if (i == CL_NOBODY || self) {
        return;
    }
    if (cl->node[i].member && !member) {
        cl_links_forget_boots(cl, &cl->node[i]);
        cl_away_over(cl, i);
        if (cl->node[i].linked) {
            cl_links_close(cl, i, "it was found dead, or has left");
        }
    }
    cl->node[i].member = member;
}

/* One thing that membership wants. False: no room for it now. */
static bool take(struct cl *cl, const struct cl_swim_action *a)
{
    struct cl_action *out = NULL;
    struct pr_outbuf w;
    uint32_t i = CL_NOBODY;

    switch (a->type) {
    case CL_SWIM_A_MEMBER:
        on_member(cl, a);
        break;
    case CL_SWIM_A_UDP:
        w = cl_out_writer(&cl->out);
        pr_put(&w, a->bytes.p, a->bytes.n);
        cl_push_bytes(cl, CL_ACT_UDP_SEND, &w)->addr = a->addr;
        break;
    case CL_SWIM_A_LINK:
        i = cl_node_index(cl, a->id);
        if (i != CL_NOBODY) {
            w = cl_out_writer(&cl->out);
            pr_put(&w, a->bytes.p, a->bytes.n);
            cl_push_link(cl, i, &w);
        }
        break;
    case CL_SWIM_A_DIAL:
        out = cl_push_action(cl, CL_ACT_DIAL);
        out->id = a->id;
        out->addr = a->addr;
        break;
    case CL_SWIM_A_CLOSE:
        out = cl_push_action(cl, CL_ACT_LINK_CLOSE);
        out->id = a->id;
        out->reason = a->reason;
        break;
    case CL_SWIM_A_EPOCH:
        cl_push_action(cl, CL_ACT_EPOCH)->id = a->epoch;
        break;
    case CL_SWIM_A_FATAL:
        out = cl_push_action(cl, CL_ACT_FATAL);
        out->reason = a->reason;
        out->addr = a->addr;
        break;
    }
    return a->type == CL_SWIM_A_MEMBER;
}

void cl_members_go_on(struct cl *cl)
{
    struct cl_swim_action a;
    bool members = false;

    /* One datagram, or a list of all members for a link, and a close that a member's end brings. */
    while (cl_out_reserve(&cl->out, CL_SYNC_BYTES, 2) == CL_OK && cl_swim_next(cl->swim, &a)) {
        members = take(cl, &a) || members;
    }
    /* Who has left follows nobody anew: it would get what comes behind a hole. */
    if (members && !cl->left) {
        cl_view_look(cl);
    }
    if (cl->leaving && !cl->left && cl->now >= cl->leave_at) {
        cl_swim_leave(cl->swim, cl->now);
        cl->left = true;
    }
}

enum cl_verdict cl_admit(struct cl *cl, cl_ms now, const struct cl_claim *claim,
                         struct pr_addr *holder)
{
    struct cl_swim_claim c = {
        .id = claim->id, .epoch = claim->epoch, .name = claim->name, .addr = claim->addr};

    switch (cl->swim == NULL ? CL_SWIM_NO_ROOM : cl_swim_admit(cl->swim, now, &c, holder)) {
    case CL_SWIM_ADMIT:
        return CL_ADMIT;
    case CL_SWIM_WAIT:
        return CL_WAIT;
    case CL_SWIM_NAME_USED:
        return CL_NAME_USED;
    case CL_SWIM_ID_CLASH:
        return CL_ID_CLASH;
    case CL_SWIM_IS_SELF:
        return CL_IS_SELF;
    case CL_SWIM_NO_ROOM:
        break;
    }
    return CL_NO_ROOM;
}
