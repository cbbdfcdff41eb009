/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/url.h"

#include <string.h>

/* Value of a hex digit, or -1. */
static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* Takes one decoded byte off `in`; -1 for a damaged escape. `in` must not be empty. */
static int take(struct pr_slice *in, enum pr_url_part part)
{
    int c = in->p[0];
    size_t n = 1;

    if (c == '+' && part == PR_URL_QUERY) {
        c = ' ';
    } else if (c == '%') {
        int high = in->n >= 3 ? hex(in->p[1]) : -1;
        int low = in->n >= 3 ? hex(in->p[2]) : -1;

        c = high < 0 || low < 0 ? -1 : high * 16 + low;
        n = 3;
    }
    if (c >= 0) {
        *in = pr_bytes(in->p + n, in->n - n);
    }
    return c;
}

int pr_url_decode(struct pr_outbuf *o, struct pr_slice in, enum pr_url_part part)
{
    while (in.n > 0) {
        int c = take(&in, part);

        if (c < 0) {
            return PR_ESYNTAX;
        }
        pr_put_u8(o, (uint8_t)c);
    }
    return PR_OK;
}

static bool decodes_to(struct pr_slice encoded, const char *name)
{
    while (encoded.n > 0) {
        int c = take(&encoded, PR_URL_QUERY);

        if (c <= 0 || *name == '\0' || c != (uint8_t)*name) {
            return false;
        }
        name++;
    }
    return *name == '\0';
}

/* Takes bytes up to `separator`, which is dropped, or all. */
static struct pr_slice split(struct pr_slice *in, uint8_t separator)
{
    const uint8_t *at = in->n > 0 ? memchr(in->p, separator, in->n) : NULL;
    struct pr_slice first = *in;

    if (at == NULL) {
        *in = pr_bytes(NULL, 0);
        return first;
    }
    first.n = (size_t)(at - in->p);
    *in = pr_bytes(at + 1, in->n - first.n - 1);
    return first;
}

bool pr_query_find(struct pr_slice query, const char *name, struct pr_slice *value)
{
    while (query.n > 0) {
        struct pr_slice rest = split(&query, '&');
        struct pr_slice key = split(&rest, '=');

        if (decodes_to(key, name)) {
            *value = rest;
            return true;
        }
    }
    return false;
}

bool pr_path_next(struct pr_slice *path, struct pr_slice *segment)
{
    while (path->n > 0) {
        *segment = split(path, '/');
        if (segment->n > 0) {
            return true;
        }
    }
    return false;
}
