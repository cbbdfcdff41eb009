/* SPDX-License-Identifier: Apache-2.0 */
/* peek.c - what the checks need to know of a core and no interface tells. */
#include "cluster/confirm.h"
#include "tests/sim/checks.h"

bool sim_peek_topic(const struct cl *cl, struct pr_slice key, struct peek *out)
{
    const struct cl_topic *t = cl_topics_find(&cl->topics, key);

    *out = (struct peek){0};
    if (t == NULL) {
        return false;
    }
    *out = (struct peek){.follows = t->follow_epoch,
                         .follow_seq = t->follow_seq,
                         .seq = t->seq,
                         .since = t->since,
                         .followed = t->follow == CL_F_OK && t->edges != 0};
    return true;
}

bool sim_peek_ordered(const struct cl *cl, uint64_t boot, uint32_t part, uint64_t oseq)
{
    const struct cl_origin *g = cl_origins_find(&cl->origins, boot);

    return g != NULL && cl_origin_oseq(g, part) >= oseq;
}

uint64_t sim_peek_waiting(const struct cl *cl)
{
    return cl->park_bytes + cl->n_closed + cl->n_pending + cl->unconfirmed.used;
}

void sim_peek_sizes(const struct cl *cl, struct peek_sizes *out)
{
    *out = (struct peek_sizes){.pending = cl->park_bytes,
                               .kept = cl->topics.kept_bytes,
                               .unconfirmed = cl->unconfirmed.used,
                               .unconfirmed_max = CL_CONFIRM_MAX};
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        const struct flight *f = &cl->node[i].flight;
        uint32_t n = f->sent.n > f->away.n ? f->sent.n : f->away.n;

        out->flown = n > out->flown ? n : out->flown;
    }
}
