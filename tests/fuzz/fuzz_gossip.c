/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: datagrams and facts of a damaged or hostile peer. Whatever decodes must encode to something
 * that decodes again to the same; a packet that was opened can be walked to its end; every fact
 * that is taken is within the bounds of pr_fact_valid and PR_FACT_MAX.
 *
 * First byte of the input: even = a datagram, odd = packed facts.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/gossip_recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_facts(struct pr_slice list)
{
    uint8_t bytes[PR_FACT_MAX];
    struct pr_fact f;

    while (pr_fact_next(&list, &f) == 1) {
        struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

        assert(pr_fact_valid(&f));
        pr_fact_put(&o, &f);
        assert(pr_out_ok(&o));
    }
}

static void check_walk(struct pr_slice in)
{
    struct pr_gossip g;
    struct pr_gossip_msg m;

    if (pr_gossip_open(in, &g) != PR_OK) {
        return;
    }
    for (uint32_t i = 0; i < g.nmsgs; i++) {
        assert(pr_gossip_next(&g.msgs, &m) == 1);
        assert(m.type != PR_G_ALIVE || pr_fact_valid(&m.fact));
        assert(m.type == PR_G_UNKNOWN || pr_gossip_size(&m) <= PR_FACT_MAX);
    }
    assert(pr_gossip_next(&g.msgs, &m) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_slice in = {0};
    size_t cap = 0;
    uint8_t *one = NULL;
    uint8_t *two = NULL;
    struct pr_outbuf a, b;
    int (*recode)(struct pr_slice, struct pr_outbuf *) = facts_recode;

    if (size == 0) {
        return 0;
    }
    in = pr_bytes(data + 1, size - 1);
    recode = data[0] % 2 == 0 ? gossip_recode : facts_recode;
    /* a packet's head may come back longer by a few bytes: its count has a fixed size */
    cap = 2 * size + 64;
    one = malloc(cap);
    two = malloc(cap);
    assert(one != NULL && two != NULL);
    a = pr_outbuf(one, cap);
    b = pr_outbuf(two, cap);
    if (recode(in, &a) == 0) {
        assert(pr_out_ok(&a));
        assert(recode(pr_bytes(one, a.len), &b) == 0);
        assert(a.len == b.len && memcmp(one, two, a.len) == 0);
    }
    check_walk(in);
    check_facts(in);
    free(one);
    free(two);
    return 0;
}
