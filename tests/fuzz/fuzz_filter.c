/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters: an error has a text, a filter has none; and every condition, written again with all its
 * values quoted, is the same condition.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/filter.h"
#include "proto/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put_quoted(struct pr_outbuf *o, struct pr_slice v)
{
    pr_put_u8(o, '"');
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"' || v.p[i] == '\\') {
            pr_put_u8(o, '\\');
        }
        pr_put_u8(o, v.p[i]);
    }
    pr_put_u8(o, '"');
}

/* column=op."value" or column=in.("a",NULL) */
static void put_again(struct pr_outbuf *o, const struct pr_cond *c)
{
    struct pr_slice list = c->values;
    struct pr_slice v;
    bool null = false;
    bool first = true;

    pr_put_slice(o, c->column);
    pr_put_u8(o, '=');
    pr_put_str(o, pr_filter_op_name(c->op));
    pr_put_str(o, c->op == PR_F_IN ? ".(" : ".");
    while (pr_cond_values_next(&list, &v, &null) == 1) {
        pr_put_str(o, first ? "" : ",");
        first = false;
        if (null) {
            pr_put_str(o, "NULL");
        } else {
            put_quoted(o, v);
        }
    }
    pr_put_str(o, c->op == PR_F_IN ? ")" : "");
}

/* A column that does not itself move parentheses, quotes or commas. */
static bool is_simple(struct pr_slice column)
{
    for (size_t i = 0; i < column.n; i++) {
        if (strchr("\"(),.", column.p[i]) != NULL) {
            return false;
        }
    }
    return true;
}

static void check_again(const struct pr_cond *c)
{
    static struct pr_filter f;
    size_t cap = 2 * c->column.n + 4 * c->values.n + 64;
    uint8_t *mem = malloc(cap);
    size_t arena_cap = PR_FILTER_ARENA(cap);
    uint8_t *arena_mem = malloc(arena_cap);
    struct pr_outbuf o = pr_outbuf(mem, cap);
    struct pr_outbuf arena = pr_outbuf(arena_mem, arena_cap);
    struct pr_outbuf err = pr_outbuf(NULL, 0);

    put_again(&o, c);
    assert(pr_out_ok(&o));
    if (o.len <= PR_FILTER_TEXT_MAX) {
        assert(pr_filter_parse(pr_bytes(mem, o.len), &f, &arena, &err) == PR_OK);
        assert(f.count == 1 && f.conds[0].op == c->op);
        assert(pr_slice_eq(f.conds[0].column, c->column));
        assert(pr_slice_eq(f.conds[0].values, c->values));
    }
    free(mem);
    free(arena_mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct pr_filter f;
    size_t cap = PR_FILTER_ARENA(size);
    uint8_t *mem = malloc(cap);
    struct pr_outbuf arena = pr_outbuf(mem, cap);
    struct pr_outbuf err = pr_outbuf(NULL, 0);
    struct pr_outbuf shown = pr_outbuf(NULL, 0);
    int rc = pr_filter_parse(pr_bytes(data, size), &f, &arena, &err);

    assert((rc == PR_OK) == (err.len == 0));
    if (rc == PR_OK) {
        assert(pr_out_ok(&arena));
        pr_filter_inspect(&shown, &f);
        assert(shown.len >= 2);
        for (uint32_t i = 0; i < f.count; i++) {
            if (is_simple(f.conds[i].column)) {
                check_again(&f.conds[i]);
            }
        }
    }
    free(mem);
    return 0;
}
