/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a join asks for: within its bounds, and every entry of postgres_changes comes back in the
 * reply as JSON with the id that it was given.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>

#include "proto/join.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_binding(const struct pr_binding *b)
{
    size_t cap = b->raw.n + 32;
    uint8_t *mem = malloc(cap);
    struct pr_outbuf o = pr_outbuf(mem, cap);
    struct pr_json id;
    uint8_t want_mem[16];
    struct pr_outbuf want = pr_outbuf(want_mem, sizeof want_mem);

    assert(b->id >= 1 && b->id < 1u << 27);
    pr_binding_put_reply(&o, b->raw, b->id);
    assert(pr_out_ok(&o));
    assert(pr_json_member(pr_bytes(mem, o.len), "id", &id) == 1);
    pr_put_dec(&want, b->id);
    assert(pr_slice_eq(id.raw, pr_bytes(want_mem, want.len)));
    assert(b->schema.n > 0 && b->table.n > 0 && pr_utf8_ok(b->filter));
    free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t *mem = malloc(2 * size + 1);
    struct pr_outbuf scratch = pr_outbuf(mem, size);
    struct pr_outbuf more = pr_outbuf(mem + size, size);
    struct pr_join j;
    struct pr_binding b;
    struct pr_json_iter it;
    uint32_t count = 0;
    int rc = pr_join_parse(pr_bytes(data, size), &scratch, &j);

    assert(rc != PR_ESHORT);
    assert((rc == PR_OK || rc == PR_ERANGE) == (pr_json_check(pr_bytes(data, size)) == PR_OK));
    if (rc == PR_OK) {
        assert(j.nbindings <= PR_JOIN_BINDINGS_MAX && j.nbad <= PR_JOIN_BAD_MAX);
        assert(j.wait_ms <= PR_JOIN_WAIT_MS_MAX);
        assert(j.replay_limit >= 1 && j.replay_limit <= PR_JOIN_REPLAY_LIMIT_MAX);
        assert(!j.private_bad || !j.is_private);
        pr_bindings_open(&j, &it);
        while ((rc = pr_bindings_next(&it, &more, &b)) > 0) {
            check_binding(&b);
            count++;
        }
        assert(rc == 0 && count == j.nbindings);
    }
    free(mem);
    return 0;
}
