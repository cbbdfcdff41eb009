/* SPDX-License-Identifier: Apache-2.0 */
/* peek.c - what the checks need to know of a core and no interface tells. */
#include "cluster/core_in.h"
#include "tests/sim/sim.h"

bool sim_peek_topic(const struct cl *cl, struct pr_slice key, struct peek *out)
{
    const struct cl_topic *t = cl_topics_find(&cl->topics, key);

    *out = (struct peek){0};
    if (t == NULL) {
        return false;
    }
    *out = (struct peek){
        .follows = t->follow_epoch, .follow_seq = t->follow_seq, .seq = t->seq, .since = t->since};
    return true;
}

uint64_t sim_peek_waiting(const struct cl *cl)
{
    return cl->park_bytes + cl->n_closed + cl->n_pending;
}
