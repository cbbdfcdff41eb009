/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Filters: an error has a text, a filter has none; and every condition, written again with all its
 * values quoted, is the same condition. LIKE is what a matcher says that tries everything, and no
 * condition holds together with its negation.
 */
#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proto/filter.h"
#include "proto/json_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_MAX    96u
#define PATTERN_MAX 96u

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
    pr_put_str(o, c->negated ? "=not." : "=");
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
        assert(f.count == 1 && f.conds[0].op == c->op && f.conds[0].negated == c->negated);
        assert(pr_slice_eq(f.conds[0].column, c->column));
        assert(pr_slice_eq(f.conds[0].values, c->values));
    }
    free(mem);
    free(arena_mem);
}

/* Length of the text's first character. */
static size_t char_len(struct pr_slice s)
{
    size_t n = 1;

    while (n < s.n && (s.p[n] & 0xc0) == 0x80) {
        n++;
    }
    return n;
}

/* One row of the table per byte of the pattern, from its end: does the rest of it fit the text from
 * byte k on? */
static bool slow_like(struct pr_slice text, struct pr_slice pattern)
{
    bool fits[PATTERN_MAX + 1][TEXT_MAX + 1] = {{false}};

    fits[pattern.n][text.n] = true;
    for (size_t i = pattern.n; i-- > 0;) {
        bool escaped = pattern.p[i] == '\\' && i + 1 < pattern.n;
        uint8_t c = pattern.p[escaped ? i + 1 : i];
        size_t next = i + (escaped ? 2 : 1);

        for (size_t k = text.n + 1; k-- > 0;) {
            size_t step = k < text.n ? char_len(pr_bytes(text.p + k, text.n - k)) : 0;

            if (!escaped && c == '%') {
                fits[i][k] = fits[i + 1][k] || (step > 0 && fits[i][k + step]);
            } else if (!escaped && c == '_') {
                fits[i][k] = step > 0 && fits[i + 1][k + step];
            } else {
                fits[i][k] =
                    k < text.n && text.p[k] == c && (escaped || c != '\\') && fits[next][k + 1];
            }
        }
    }
    return fits[0][0];
}

/* The column's name serves as the value. */
static void check_match(struct pr_cond c)
{
    static const enum pr_pg_kind kinds[] = {PR_PG_BOOL,   PR_PG_INT,  PR_PG_NUMERIC,  PR_PG_TEXT,
                                            PR_PG_BPCHAR, PR_PG_DATE, PR_PG_TIMESTAMP};
    struct pr_slice v = c.column;
    bool negated = c.negated;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct pr_pg_type t = {.kind = kinds[i]};

        c.negated = false;
        if (pr_filter_match(&c, &t, &v)) {
            c.negated = true;
            assert(!pr_filter_match(&c, &t, &v));
        }
    }
    if (c.op == PR_F_LIKE && v.n <= TEXT_MAX && c.value.n <= PATTERN_MAX && pr_utf8_ok(v) &&
        pr_utf8_ok(c.value)) {
        struct pr_pg_type t = {.kind = PR_PG_TEXT};

        c.negated = negated;
        assert(pr_filter_match(&c, &t, &v) == (slow_like(v, c.value) != negated));
    }
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
            check_match(f.conds[i]);
            if (is_simple(f.conds[i].column)) {
                check_again(&f.conds[i]);
            }
        }
    }
    free(mem);
    return 0;
}
