/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message that decodes, written again by the server's encoder, decodes to the same fields.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/phoenix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const struct pr_phx_msg *m, size_t size)
{
    size_t cap = 8 * size + 512;
    uint8_t *buf = malloc(cap);
    uint8_t scratch_mem[PR_PHX_SCRATCH_BYTES];
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    struct pr_outbuf o = pr_outbuf(buf, cap);
    struct pr_phx_addr to = {.join_ref = m->join_ref, .ref = m->ref, .topic = m->topic};
    struct pr_phx_msg again;

    pr_phx_put_reply(&o, PR_VSN_1, &to, "ok", pr_str("{}"));
    assert(pr_out_ok(&o));
    assert(pr_json_check(pr_bytes(buf, o.len)) == PR_OK);
    assert(pr_phx_v1_decode(pr_bytes(buf, o.len), &scratch, &again) == PR_OK);
    assert(pr_phx_ref_eq(again.ref, m->ref) && again.ref.token == m->ref.token);
    assert(pr_phx_ref_is_null(again.join_ref));
    assert(pr_slice_eq(again.topic, m->topic));
    assert(pr_slice_is(again.event, "phx_reply"));
    free(buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t scratch_mem[PR_PHX_SCRATCH_BYTES];
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    struct pr_phx_msg m;
    int rc = pr_phx_decode(PR_VSN_1, pr_bytes(data, size), true, &scratch, &m);

    if (rc != PR_OK) {
        return 0;
    }
    assert(pr_json_check(pr_bytes(data, size)) == PR_OK);
    assert(pr_utf8_ok(m.topic) && pr_utf8_ok(m.event));
    assert(m.topic.n <= PR_PHX_TOPIC_MAX && m.event.n <= PR_PHX_EVENT_MAX);
    check_reply(&m, size);
    return 0;
}
