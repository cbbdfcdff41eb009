/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A head that came byte by byte is judged as one that came whole, and what was accepted lies inside
 * the input.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "proto/http_head.h"
#include "proto/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static long in_steps(const uint8_t *data, size_t size, size_t step)
{
    struct pr_http_head h = {0};
    long rc = 0;

    for (size_t n = 0; n < size && rc == 0;) {
        n = size - n < step ? size : n + step;
        rc = pr_http_head_parse(pr_bytes(data, n), &h);
    }
    return rc;
}

static void check_slice(struct pr_slice s, const uint8_t *data, long len)
{
    assert(s.n == 0 || (s.p >= data && s.p + s.n <= data + len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pr_http_head h;
    struct pr_slice value;
    struct pr_slice path;
    struct pr_slice segment;

    memset(&h, 0, sizeof h);
    long rc = pr_http_head_parse(pr_bytes(data, size), &h);
    assert(rc <= (long)size && (rc >= 0 || (rc <= -400 && rc >= -505)));
    if (size > 0) {
        assert(in_steps(data, size, 7) == rc);
    }
    if (rc <= 0) {
        return 0;
    }
    check_slice(h.path, data, rc);
    check_slice(h.query, data, rc);
    for (uint32_t i = 0; i < h.nheaders; i++) {
        check_slice(h.headers[i].name, data, rc);
        check_slice(h.headers[i].value, data, rc);
    }
    assert(!h.websocket || (h.websocket_key.n == 24 && !h.chunked));
    assert(!h.chunked || !h.has_length);
    if (pr_query_find(h.query, "apikey", &value)) {
        check_slice(value, data, rc);
    }
    path = h.path;
    while (pr_path_next(&path, &segment)) {
        assert(segment.n > 0 && memchr(segment.p, '/', segment.n) == NULL);
    }
    return 0;
}
