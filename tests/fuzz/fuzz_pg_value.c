/* SPDX-License-Identifier: Apache-2.0 */
/*
 * First byte: a type; the rest: text of a value, or of two with a NUL between. What is rendered is
 * JSON, of the same length when only counted; order is antisymmetric, and two values have the same
 * key exactly if they are equal.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json_scan.h"
#include "proto/pg_value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct pr_slice labels[] = {
    {(const uint8_t *)"sad", 3}, {(const uint8_t *)"ok", 2}, {(const uint8_t *)"happy", 5}};
static const struct pr_pg_type scalars[] = {
    {.kind = PR_PG_BOOL},    {.kind = PR_PG_INT},
    {.kind = PR_PG_OID},     {.kind = PR_PG_FLOAT},
    {.kind = PR_PG_NUMERIC}, {.kind = PR_PG_TEXT},
    {.kind = PR_PG_BPCHAR},  {.kind = PR_PG_BYTEA},
    {.kind = PR_PG_UUID},    {.kind = PR_PG_DATE},
    {.kind = PR_PG_TIME},    {.kind = PR_PG_TIMESTAMP},
    {.kind = PR_PG_JSON},    {.kind = PR_PG_TIMESTAMPTZ},
    {.kind = PR_PG_OTHER},   {.kind = PR_PG_ENUM, .labels = labels, .nlabels = 3},
    {.kind = PR_PG_SQL},
};
#define SCALARS (sizeof scalars / sizeof scalars[0])

/* Every fourth type is the scalar itself, then a domain, an array, an array of composites. */
static void render(uint8_t pick, struct pr_slice text)
{
    const struct pr_pg_type *base = &scalars[pick / 4 % SCALARS];
    const struct pr_pg_type domain = {.kind = PR_PG_DOMAIN, .elem = base};
    const struct pr_pg_type array = {.kind = PR_PG_ARRAY, .delim = ',', .elem = &domain};
    const struct pr_pg_field fields[] = {{{(const uint8_t *)"a", 1}, base},
                                         {{(const uint8_t *)"b\"", 2}, &array}};
    const struct pr_pg_type pair = {.kind = PR_PG_COMPOSITE, .fields = fields, .nfields = 2};
    const struct pr_pg_type pairs = {.kind = PR_PG_ARRAY, .delim = ';', .elem = &pair};
    const struct pr_pg_type *const types[] = {base, &array, &pair, &pairs};
    size_t cap = text.n * 8 + 256;
    uint8_t *mem = malloc(cap);
    size_t spare_cap = text.n * PR_PG_DEPTH_MAX + 1;
    uint8_t *spare = malloc(spare_cap);
    struct pr_outbuf o = pr_outbuf(mem, cap);
    struct pr_outbuf none = pr_outbuf(NULL, 0);
    struct pr_outbuf scratch = pr_outbuf(spare, spare_cap);
    int rc = pr_pg_json(&o, types[pick % 4], text, &scratch);

    assert(rc == PR_OK || rc == PR_ESYNTAX);
    assert(pr_pg_json(&none, types[pick % 4], text, &scratch) == rc);
    assert(none.len == o.len && scratch.len == 0);
    assert(rc == PR_OK || o.len == 0);
    if (rc == PR_OK && pr_out_ok(&o)) {
        int ok = pr_json_check(pr_bytes(mem, o.len));

        assert(ok == PR_OK || ok == PR_EDEPTH); /* JSON at its own limit, inside an array */
    }
    free(mem);
    free(spare);
}

static void check_order(const struct pr_pg_type *t, struct pr_slice a, struct pr_slice b)
{
    size_t cap = a.n + b.n + 2 * PR_PG_KEY_EXTRA;
    uint8_t *mem = malloc(cap);
    struct pr_outbuf o = pr_outbuf(mem, cap);
    int order = 0;
    int back = 0;
    int rc = pr_pg_compare(t, a, b, &order);

    assert(rc == pr_pg_compare(t, b, a, &back));
    if (rc == PR_OK) {
        size_t mid = 0;

        assert(pr_pg_has_equal(t));
        assert((order < 0) == (back > 0) && (order > 0) == (back < 0));
        assert(pr_pg_key(&o, t, a) == PR_OK);
        mid = o.len;
        assert(mid <= a.n + PR_PG_KEY_EXTRA);
        assert(pr_pg_key(&o, t, b) == PR_OK && pr_out_ok(&o));
        assert(pr_slice_eq(pr_bytes(mem, mid), pr_bytes(mem + mid, o.len - mid)) == (order == 0));
    } else {
        assert((rc == PR_ETYPE) == !pr_pg_has_equal(t));
    }
    free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *nul = NULL;

    if (size == 0) {
        return 0;
    }
    render(data[0], pr_bytes(data + 1, size - 1));
    nul = memchr(data + 1, 0, size - 1);
    if (nul != NULL) {
        size_t n = (size_t)(nul - data) - 1;

        check_order(&scalars[data[0] / 4 % SCALARS], pr_bytes(data + 1, n),
                    pr_bytes(nul + 1, size - n - 2));
    }
    return 0;
}
