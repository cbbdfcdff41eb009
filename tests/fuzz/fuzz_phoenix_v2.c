/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Text and binary messages of 2.0.0, chosen by the first byte ('[' or white space: text). What
 * decodes must come back from what the server makes of it.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/phoenix.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reply(const struct pr_phx_msg *m)
{
    /* Refs of a binary frame are written as JSON strings: up to six bytes for one. */
    static uint8_t buf[6 * (PR_PHX_TOPIC_MAX + 2 * PR_PHX_REF_MAX) + 512];
    uint8_t scratch_mem[PR_PHX_SCRATCH_BYTES];
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    struct pr_outbuf o = pr_outbuf(buf, sizeof buf);
    struct pr_phx_addr to = {.join_ref = m->join_ref, .ref = m->ref, .topic = m->topic};
    struct pr_phx_msg again;

    pr_phx_put_reply(&o, PR_VSN_2, &to, "ok", pr_str("{}"));
    assert(pr_out_ok(&o));
    int rc = pr_phx_v2_decode_text(pr_bytes(buf, o.len), &scratch, &again);
    if (m->kind != PR_PHX_TEXT) {
        /* Escaped, a ref may have grown over its limit. */
        assert(rc == PR_OK || rc == PR_ERANGE);
        return;
    }
    assert(rc == PR_OK);
    assert(pr_slice_eq(again.join_ref.bytes, m->join_ref.bytes));
    assert(pr_slice_eq(again.ref.bytes, m->ref.bytes));
    assert(pr_slice_eq(again.topic, m->topic));
}

/* Kind 3 becomes a body between edges and then kind 4 or text. */
static void check_bcast(const struct pr_phx_msg *m)
{
    struct pr_bcast b = {.form = m->json ? PR_BCAST_JSON : PR_BCAST_BINARY,
                         .event = m->event,
                         .payload = m->payload};
    struct pr_bcast again;
    size_t cap = 16 + m->event.n + m->payload.n;
    uint8_t *mem = malloc(cap);
    struct pr_outbuf o = pr_outbuf(mem, cap);

    pr_bcast_encode(&o, &b);
    assert(pr_out_ok(&o));
    assert(pr_bcast_decode(pr_bytes(mem, o.len), &again) == PR_OK);
    assert(again.form == b.form && pr_slice_eq(again.event, b.event) &&
           pr_slice_eq(again.payload, b.payload));
    free(mem);

    cap = 6 * (m->topic.n + m->event.n) + m->payload.n + 256;
    mem = malloc(cap);
    for (int vsn = PR_VSN_1; vsn <= PR_VSN_2; vsn++) {
        o = pr_outbuf(mem, cap);
        enum pr_phx_form form = pr_phx_put_bcast(&o, (enum pr_vsn)vsn, m->topic, &b);
        assert(pr_out_ok(&o));
        assert((form == PR_PHX_FORM_NONE) == (o.len == 0));
        if (form == PR_PHX_FORM_TEXT && pr_json_check(pr_bytes(mem, o.len)) != PR_OK) {
            /* The payload was nested as deep as it may be. */
            assert(pr_json_check(pr_bytes(mem, o.len)) == PR_EDEPTH);
        }
    }
    free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t scratch_mem[PR_PHX_SCRATCH_BYTES];
    struct pr_outbuf scratch = pr_outbuf(scratch_mem, sizeof scratch_mem);
    struct pr_phx_msg m;
    bool text = size > 0 && (data[0] == '[' || data[0] == ' ' || data[0] == '\n');
    int rc = pr_phx_decode(PR_VSN_2, pr_bytes(data, size), text, &scratch, &m);

    if (rc != PR_OK) {
        return 0;
    }
    assert(pr_utf8_ok(m.event));
    assert(!text || (pr_utf8_ok(m.topic) && pr_json_check(pr_bytes(data, size)) == PR_OK));
    assert(pr_phx_topic_is_latin1(m.topic, pr_bytes("", 0)) == (m.topic.n == 0));
    check_reply(&m);
    if (m.kind == PR_PHX_BROADCAST && m.payload_error == PR_OK) {
        check_bcast(&m);
    }
    return 0;
}
