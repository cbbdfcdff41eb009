/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bounds.c - how much there may be of anything, and where nothing may go.
 *
 *   I10  queues and tables are within their limits, and memory within what these come to
 *   I11  one step has no more actions than the limit, and none with more than a frame
 *   I12  an event goes to nobody who has not subscribed to its topic, and no edge shows one that
 *        has no member of it
 *
 * Who has subscribed is what the owner process was told on the connection there is: by SUB and
 * UNSUB, as they were taken.
 */
#include "tests/sim/checks.h"

/* What no limit names: an idle process with 256 members, its links and its edges; buckets and free
 * places of tables that have grown. */
#define ARENA_BYTES ((size_t)16 * 1024 * 1024)

uint32_t sim_sub_topic(const struct sim *s, const struct pr_frame *f, bool *on)
{
    struct pr_sub sub;
    struct pr_unsub unsub;

    *on = f->type == PR_T_SUB;
    if (f->type == PR_T_SUB && pr_sub_decode(f, &sub) == PR_OK) {
        return sim_topic_by_key(s, sub.topic);
    }
    if (f->type == PR_T_UNSUB && pr_unsub_decode(f, &unsub) == PR_OK) {
        return sim_topic_by_key(s, unsub.topic);
    }
    return NOBODY;
}

void sim_check_heard(struct sim *s, uint32_t n, const struct cl_event *ev)
{
    struct node_proc *p = &s->node[n];
    bool of_link =
        ev->type == CL_EV_LINK_UP || ev->type == CL_EV_LINK_DOWN || ev->type == CL_EV_LINK_IN;
    bool of_edge =
        ev->type == CL_EV_EDGE_UP || ev->type == CL_EV_EDGE_DOWN || ev->type == CL_EV_EDGE_IN;
    uint32_t peer = of_link ? sim_node_by_id(s, ev->id) : NOBODY;
    uint64_t *heard = of_edge ? &p->heard_edge[ev->edge] : NULL;
    uint32_t topic = NOBODY;
    bool on = false;

    if (peer != NOBODY) {
        heard = &p->heard_node[peer];
    }
    if (heard == NULL) {
        return;
    }
    if (ev->type != CL_EV_LINK_IN && ev->type != CL_EV_EDGE_IN) {
        *heard = 0;
        return;
    }
    topic = sim_sub_topic(s, ev->frame, &on);
    if (topic != NOBODY) {
        *heard = on ? *heard | UINT64_C(1) << topic : *heard & ~(UINT64_C(1) << topic);
    }
}

void sim_check_wanted(struct sim *s, uint32_t n, uint32_t topic, const struct cl_action *a)
{
    const struct node_proc *p = &s->node[n];

    for (uint32_t k = 0; a->type == CL_ACT_EDGE_SEND && k < EDGES_MAX; k++) {
        if ((a->edges >> k & 1) != 0 && (p->heard_edge[k] >> topic & 1) == 0) {
            sim_fail(s,
                     "I12: node %u sends an event of topic %u to edge %u, which has not "
                     "subscribed",
                     n, topic, n * EDGES_MAX + k);
        }
    }
    for (uint32_t i = 0; a->type == CL_ACT_LINK_SEND && i < CL_NODES_MAX; i++) {
        uint32_t peer = (a->nodes.w[i / 64] >> i % 64 & 1) != 0
                            ? sim_node_by_id(s, cl_node_id(p->cl, i))
                            : NOBODY;

        if (peer != NOBODY && (p->heard_node[peer] >> topic & 1) == 0) {
            sim_fail(s,
                     "I12: node %u sends an event of topic %u to node %u, which has not "
                     "subscribed",
                     n, topic, peer);
        }
    }
}

void sim_check_step(struct sim *s, uint32_t n, uint32_t count, size_t largest)
{
    if (count > s->lim.actions || largest > PR_FRAME_MAX) {
        sim_fail(s, "I11: node %u has %u actions of one step, %zu bytes in one of them", n, count,
                 largest);
    }
}

void sim_check_limits(struct sim *s, uint32_t n)
{
    const struct node_proc *p = &s->node[n];
    const struct cl_limits *l = &s->lim;
    size_t arena = (size_t)l->presence_bytes + l->pending_bytes + l->kept_bytes + ARENA_BYTES;
    struct cl_stats st;
    struct peek_sizes z;

    cl_stats(p->cl, &st);
    sim_peek_sizes(p->cl, &z);
    if (st.topics > l->topics || st.presences > l->presences || z.pending > l->pending_bytes ||
        z.kept > l->kept_bytes || z.unconfirmed > z.unconfirmed_max ||
        z.flown > z.unconfirmed_max) {
        sim_fail(s,
                 "I10: node %u has %llu topics, %llu presences, %zu bytes that wait, %zu that are "
                 "kept, %u unconfirmed",
                 n, (unsigned long long)st.topics, (unsigned long long)st.presences, z.pending,
                 z.kept, z.unconfirmed);
    }
    if (p->mem.bytes > arena) {
        sim_fail(s, "I10: node %u has %zu bytes, its limits come to %zu", n, p->mem.bytes, arena);
    }
}

void sim_check_edge_limits(struct sim *s, uint32_t e)
{
    struct cle_stats st;

    cle_stats(s->edge[e].c, &st);
    if (st.held_bytes > CLE_HELD_BYTES_MAX) {
        sim_fail(s, "I10: edge %u holds %zu bytes of publishes", e, (size_t)st.held_bytes);
    }
}
