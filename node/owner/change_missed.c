/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change_missed.c - edges that our db did not wait for, because their node seemed dead, because
 * they were late to attach to a new owner, or because they did not acknowledge in time, as behind a
 * broken link: when they are back, they are told that changes may be missing. Clients that were
 * promised nothing are not told by their edge.
 */
#include <assert.h>

#include "node/owner/changes_in.h"

#define SMALL_FRAME 512u

void rt_change_missed(struct change_node *n, uint64_t boot)
{
    for (uint32_t i = 0; i < n->nmissed; i++) {
        if (n->missed[i].boot == boot) {
            n->missed[i].told = false;
            return;
        }
    }
    if (n->nmissed == RT_EDGES_MAX) { /* the oldest most likely ended long ago */
        n->nmissed--;
        for (uint32_t i = 0; i < n->nmissed; i++) {
            n->missed[i] = n->missed[i + 1];
        }
    }
    n->missed[n->nmissed++] = (struct change_missed){.boot = boot};
}

void rt_change_missed_all(struct change_node *n)
{
    for (uint32_t i = 0; i < n->nboots; i++) {
        rt_change_missed(n, n->boots[i]);
    }
}

static bool attached(const struct change_node *n, uint64_t boot)
{
    for (uint32_t i = 0; i < n->nboots; i++) {
        if (n->boots[i] == boot) {
            return !n->gone && (n->absent >> i & 1u) == 0;
        }
    }
    return false;
}

void rt_change_missed_tell(struct changes *c, struct change_node *n)
{
    uint8_t bytes[SMALL_FRAME];

    for (uint32_t i = 0; i < n->nmissed; i++) {
        struct pr_chg_sys m = {.project = pr_str(c->project),
                               .boot = n->missed[i].boot,
                               .message = pr_str(RT_CHANGES_MISSED)};
        struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

        if (!n->missed[i].told && attached(n, m.boot)) {
            pr_chg_sys_encode(&o, &m);
            assert(pr_out_ok(&o));
            n->missed[i].told = rt_change_node_send(c, n, pr_bytes(o.p, o.len));
            n->missed[i].after = n->sent;
        }
    }
}

void rt_change_missed_by(struct changes *c, uint64_t boot)
{
    struct change_node *n = &c->nodes[rt_change_node_of(c, boot)];

    rt_change_missed(n, boot);
    rt_change_missed_tell(c, n);
}

void rt_change_missed_again(struct change_node *n)
{
    for (uint32_t i = 0; i < n->nmissed; i++) {
        n->missed[i].told = false;
    }
}

void rt_change_missed_heard(struct change_node *n, uint64_t boot, struct pr_pos pos)
{
    for (uint32_t i = 0; i < n->nmissed; i++) {
        const struct change_missed *m = &n->missed[i];

        if (m->boot == boot && m->told && pr_pos_cmp(pos, m->after) > 0) {
            n->missed[i] = n->missed[--n->nmissed];
            return;
        }
    }
}
