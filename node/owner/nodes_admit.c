/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Two nodes with one name: the newcomer has to end, and only the newcomer. Any member that is asked
 * for a link looks whether the known holder still answers (cluster/swim_admit.c) and refuses if so.
 *
 * Two of one name may also meet directly, and either may have dialled. Whoever was dialled and has
 * joined refuses; one that has not joined is, most likely, itself the newcomer: it ends if it began
 * later, and else says nothing that would end the other.
 */
#include <stdio.h>

#include "node/owner/nodes_in.h"
#include "node/owner/tell.h"

static void used_by(const struct owner *o, const struct pr_addr *holder, char *text, size_t cap)
{
    char where[PR_ADDR_TEXT_MAX];

    (void)pr_addr_format(holder, where, sizeof where);
    (void)snprintf(text, cap, "node name %s is used by %s; set REALTIME_NODE", o->cfg->node, where);
}

/* Another process of our name has dialled us. */
static uint32_t namesake(struct owner *o, const struct rt_mesh_peer *peer, char *text, size_t cap)
{
    if (cl_joined(o->cl)) {
        used_by(o, &o->about.addr, text, cap);
        return PR_BYE_NAME;
    }
    (void)snprintf(text, cap, "this node has the same name and has not joined");
    if (o->epoch > peer->epoch) {
        char why[PR_ID_MAX + 1];

        used_by(o, &peer->addr, why, sizeof why);
        rt_nodes_fatal(o, why, &peer->addr);
    }
    return PR_BYE_SELF;
}

uint32_t rt_nodes_admit(void *ctx, const struct rt_mesh_peer *peer, char *text, size_t cap)
{
    struct nodes *n = ctx;
    struct owner *o = n->owner;
    const struct cl_claim claim = {
        .id = peer->id, .epoch = peer->epoch, .name = peer->name, .addr = peer->addr};
    struct pr_addr holder = {0};
    char where[PR_ADDR_TEXT_MAX];

    switch (cl_admit(o->cl, rt_now_ms(o->loop), &claim, &holder)) {
    case CL_ADMIT:
        return RT_MESH_YES;
    case CL_WAIT:
        return RT_MESH_LATER;
    case CL_NAME_USED:
        if (peer->id == o->node_id) {
            return namesake(o, peer, text, cap);
        }
        (void)pr_addr_format(&holder, where, sizeof where);
        (void)snprintf(text, cap, "node name %.*s is used by %s; set REALTIME_NODE",
                       (int)peer->name.n, (const char *)peer->name.p, where);
        rt_tell_refused(o, peer->name, &peer->addr, text);
        return PR_BYE_NAME;
    case CL_ID_CLASH:
        (void)snprintf(text, cap,
                       "node name %.*s has the same hash as that of another node; set "
                       "REALTIME_NODE to another",
                       (int)peer->name.n, (const char *)peer->name.p);
        rt_tell_refused(o, peer->name, &peer->addr, text);
        return PR_BYE_NAME;
    case CL_IS_SELF:
        (void)snprintf(text, cap, "this is %s itself", o->cfg->node);
        return PR_BYE_SELF;
    case CL_NO_ROOM:
        break;
    }
    (void)snprintf(text, cap, "the cluster has %u nodes, this build knows no more", CL_NODES_MAX);
    return PR_BYE_OVERFLOW;
}

void rt_nodes_fatal(struct owner *o, const char *reason, const struct pr_addr *addr)
{
    char where[PR_ADDR_TEXT_MAX];

    if (o->exit_code == RT_EXIT_FATAL) {
        return;
    }
    (void)pr_addr_format(addr, where, sizeof where);
    rt_log(o->args->log, RT_ERROR, "node_refused", rt_kv_s("err", reason), rt_kv_s("by", where),
           rt_kv_s("hint", "set REALTIME_NODE to a name that no other node has"));
    o->exit_code = RT_EXIT_FATAL;
    rt_loop_stop(o->loop);
}

void rt_nodes_refused(void *ctx, uint64_t id, const struct pr_addr *addr, uint32_t code,
                      struct pr_slice text)
{
    struct nodes *n = ctx;
    char why[PR_ID_MAX + 1];

    (void)id;
    (void)snprintf(why, sizeof why, "%.*s", (int)text.n, (const char *)text.p);
    if (code == PR_BYE_NAME) {
        rt_nodes_fatal(n->owner, why, addr);
        return;
    }
    if (code == PR_BYE_SELF || code == PR_BYE_REPLACED || code == PR_BYE_LEAVE ||
        code == PR_BYE_OVER) {
        return; /* no news; who is wrongly held for dead hears of it by gossip */
    }
    rt_tell_refused_by(n->owner, addr, rt_mesh_bye_name(code), why);
}
