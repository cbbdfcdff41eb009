/* SPDX-License-Identifier: Apache-2.0 */
/* Goal: bodies of broadcasts from another edge: what is taken is written as the same bytes again.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bcast.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_bcast m;
    struct pr_outbuf o;

    if (pr_bcast_decode(pr_bytes(data, size), &m) != PR_OK) {
        return 0;
    }
    o = pr_outbuf(malloc(size), size);
    assert(o.p != NULL);
    pr_bcast_encode(&o, &m);
    assert(pr_out_ok(&o) && o.len == size && memcmp(o.p, data, size) == 0);
    free(o.p);
    return 0;
}
