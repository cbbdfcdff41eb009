/* SPDX-License-Identifier: Apache-2.0 */
/*
 * away.c - nodes whose link has ended, and that may come back.
 *
 * The members there go on listening: an owner process that died has another one in its place soon,
 * a link that was cut is dialled again. So for CL_AWAY_MS what they follow here is not forgotten,
 * and for as long once more when they are linked, until they have told it again: events are kept
 * for them (kept.h), and what was ordered meanwhile is not confirmed before they are back, have
 * told what they follow, and have taken what was sent again. If this owner process dies too before
 * that, the edges that published still hold it.
 *
 * What a node follows is known of the partitions that were here when it told everything last
 * (SUB_ALL); of those that came since, it may follow any topic.
 *
 * Edges hold what is not confirmed, and take nothing more when they hold too much. So of a topic
 * with more events than are kept, only those are waited for whose client or database asks for it.
 */
#include "cluster/confirm.h"
#include "cluster/kept.h"

static bool has_told(const struct cl *cl, uint32_t node, uint32_t part)
{
    return cl->node[node].told >= cl->came[part];
}

void cl_away_wanted(const struct cl *cl, const struct cl_topic *topic, uint32_t flags,
                    struct cl_bits *out)
{
    const struct cl_remote *r = topic->remote;
    uint32_t i = cl_bits_next(&cl->away, 0);

    *out = (struct cl_bits){{0}};
    if ((flags & (PR_PUB_ACK | PR_PUB_KEEP)) == 0 && cl_kept_cut(r, cl->now, CL_CONFIRM_MS)) {
        return;
    }
#ifdef CL_SABOTAGE_AWAY /* for the simulation, which must notice */
    i = CL_NODES_MAX;
#endif
    for (; i < CL_NODES_MAX; i = cl_bits_next(&cl->away, i + 1)) {
        if (!cl_bits_has(&r->nodes, i) &&
            (cl_bits_has(&r->away, i) || !has_told(cl, i, topic->part))) {
            cl_bits_set(out, i);
        }
    }
}

/* Nobody waits for it any more. */
static void end(struct cl *cl, uint32_t node)
{
    cl_bits_clear(&cl->away, node);
    cl->node[node].away_until = 0;
    cl->node[node].hole = false;
    cl_serve_back(cl, node);
}

static void wait_on(struct cl *cl, uint32_t node)
{
    cl->node[node].away_until = cl->now + CL_AWAY_MS;
    if (cl->node[node].away_until < cl->away_at) {
        cl->away_at = cl->node[node].away_until;
    }
}

void cl_away_begin(struct cl *cl, uint32_t node)
{
    cl_confirm_down(cl, node);
    cl_bits_set(&cl->away, node);
    cl->node[node].hole = false;
    wait_on(cl, node);
}

void cl_away_linked(struct cl *cl, uint32_t node)
{
    if (cl_bits_has(&cl->away, node)) {
        wait_on(cl, node);
    }
}

void cl_away_told(struct cl *cl, uint32_t node)
{
    struct node *n = &cl->node[node];
    bool whole = !n->hole;

    n->told = cl->stats.views;
    if (cl_bits_has(&cl->away, node)) {
        end(cl, node);
        cl_confirm_back(cl, node, whole);
    }
}

void cl_away_over(struct cl *cl, uint32_t node)
{
    if (cl_bits_has(&cl->away, node)) {
        end(cl, node);
    }
    cl_confirm_gone(cl, node);
}

void cl_away_go_on(struct cl *cl)
{
    uint32_t i = cl_bits_next(&cl->away, 0);

    if (cl->away_at > cl->now) {
        return;
    }
    cl->away_at = UINT64_MAX;
    for (; i < CL_NODES_MAX; i = cl_bits_next(&cl->away, i + 1)) {
        const struct node *n = &cl->node[i];

        if (n->away_until <= cl->now) {
            end(cl, i);
            cl_confirm_missed(cl, i);
        } else if (n->away_until < cl->away_at) {
            cl->away_at = n->away_until;
        }
    }
}
