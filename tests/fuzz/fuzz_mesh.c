/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goal: frames from a damaged or hostile peer. Whatever decodes must encode to something that
 * decodes again to the same (encode of both is equal), and no frame reaches past its own bytes.
 * A list of edges that decodes can be walked to its end.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/mesh_recode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_actors(const struct pr_frame *f)
{
    struct pr_actors m;
    uint32_t index = 0;
    uint64_t boot = 0;

    if (pr_actors_decode(f, &m) != PR_OK) {
        return;
    }
    for (uint32_t i = 0; i < m.nactors; i++) {
        assert(pr_actors_next(&m.actors, &index, &boot) == 1);
    }
    assert(pr_actors_next(&m.actors, &index, &boot) == 0);
}

static void check_frame(const struct pr_frame *f)
{
    /* An integer of one byte may come back as one, never as more; lists come back as they were. */
    size_t cap = f->whole.n + 64;
    uint8_t *one = malloc(cap);
    uint8_t *two = malloc(cap);
    struct pr_outbuf a = pr_outbuf(one, cap);
    struct pr_outbuf b = pr_outbuf(two, cap);
    struct pr_frame again;

    assert(one != NULL && two != NULL);
    if (mesh_recode(f, &a) == PR_OK) {
        assert(pr_out_ok(&a));
        assert(pr_frame_next(pr_bytes(one, a.len), &again) == (long)a.len);
        assert(again.type == f->type && again.cls == f->cls);
        assert(mesh_recode(&again, &b) == PR_OK);
        assert(a.len == b.len && memcmp(one, two, a.len) == 0);
    }
    free(one);
    free(two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_slice in = pr_bytes(data, size);
    struct pr_frame f;

    for (;;) {
        long n = pr_frame_next(in, &f);

        if (n <= 0) {
            return 0;
        }
        assert((size_t)n <= in.n && f.whole.n == (size_t)n && f.whole.p == in.p);
        assert(f.body.p + f.body.n == f.whole.p + f.whole.n);
        check_frame(&f);
        check_actors(&f);
        in.p += n;
        in.n -= (size_t)n;
    }
}
