/* SPDX-License-Identifier: Apache-2.0 */
/* gossip_recode.h - a datagram, or a list of facts, through its decoder and back; for test_gossip.c
 * and fuzz_gossip.c. */
#ifndef TESTS_GOSSIP_RECODE_H
#define TESTS_GOSSIP_RECODE_H

#include "proto/gossip.h"

/* Messages of an unknown type are left out. PR_OK or the decoder's error. */
static int gossip_recode(struct pr_slice in, struct pr_outbuf *o)
{
    struct pr_gossip g;
    struct pr_gossip_msg m;
    struct pr_gossip_out w;
    int rv = pr_gossip_open(in, &g);

    if (rv != PR_OK) {
        return rv;
    }
    w = pr_gossip_begin(o, g.proto, g.cluster);
    while ((rv = pr_gossip_next(&g.msgs, &m)) == 1) {
        if (m.type != PR_G_UNKNOWN) {
            pr_gossip_put(&w, &m);
        }
    }
    pr_gossip_end(&w);
    return rv;
}

static int facts_recode(struct pr_slice in, struct pr_outbuf *o)
{
    struct pr_fact f;
    int rv = 0;

    while ((rv = pr_fact_next(&in, &f)) == 1) {
        pr_fact_put(o, &f);
    }
    return rv;
}

#endif
