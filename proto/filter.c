/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/filter.h"

#include <string.h>

static const char *const prefix = "Error parsing `filter` params: ";

/* Order of enum pr_filter_op, from 1. */
static const char *const ops[] = {"eq",   "neq",   "lt", "lte",   "gt",     "gte",       "in",
                                  "like", "ilike", "is", "match", "imatch", "isdistinct"};
#define OPS (sizeof ops / sizeof ops[0])

const char *pr_filter_op_name(enum pr_filter_op op)
{
    return ops[(size_t)op - 1];
}

static bool is_space(uint8_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct pr_slice trim(struct pr_slice s)
{
    while (s.n > 0 && is_space(s.p[s.n - 1])) {
        s.n--;
    }
    while (s.n > 0 && is_space(s.p[0])) {
        s.p++;
        s.n--;
    }
    return s;
}

/* Parts before and after the first `c`; false: it is not there, *head is all. */
static bool split(struct pr_slice s, char c, struct pr_slice *head, struct pr_slice *tail)
{
    const uint8_t *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;

    *head = s;
    *tail = (struct pr_slice){0};
    if (at == NULL) {
        return false;
    }
    head->n = (size_t)(at - s.p);
    *tail = pr_bytes(at + 1, s.n - head->n - 1);
    return true;
}

/* Takes the text up to the next comma outside parentheses and quotes. */
static struct pr_slice take_segment(struct pr_slice *rest, bool *last)
{
    struct pr_slice seg = *rest;
    uint32_t depth = 0;
    bool quoted = false;
    uint8_t prev = '\0';
    size_t i = 0;

    for (; i < seg.n; i++) {
        uint8_t c = seg.p[i];

        if (quoted) {
            if (c == '\\' && i + 1 < seg.n) {
                i++;
            }
            quoted = c != '"';
        } else if (c == ',' && depth == 0) {
            break;
        } else if (c == '"') {
            quoted = prev == '.' || prev == '(' || prev == ',';
        } else if (c == '(') {
            depth++;
        } else if (c == ')' && depth > 0) {
            depth--;
        }
        prev = c;
    }
    *last = i == seg.n;
    seg.n = i;
    if (!*last) {
        i++;
    }
    rest->p += i;
    rest->n -= i;
    return seg;
}

/* Is the text one quoted string from its first to its last byte? */
static bool is_quoted(struct pr_slice s)
{
    size_t i = 1;

    if (s.n < 2 || s.p[0] != '"') {
        return false;
    }
    while (i < s.n && s.p[i] != '"') {
        i += s.p[i] == '\\' && i + 1 < s.n ? 2 : 1;
    }
    return i + 1 == s.n;
}

/* A value wholly in double quotes without them, its escapes resolved; else as it is. */
static struct pr_slice unquote(struct pr_slice s, struct pr_outbuf *arena)
{
    size_t start = arena->len;

    if (!is_quoted(s)) {
        return s;
    }
    for (size_t i = 1; i + 1 < s.n; i++) {
        if (s.p[i] == '\\' && i + 2 < s.n) {
            i++;
        }
        pr_put_u8(arena, s.p[i]);
    }
    return pr_out_ok(arena) ? pr_bytes(arena->p + start, arena->len - start) : s;
}

void pr_cond_value_put(struct pr_outbuf *o, struct pr_slice v, bool null)
{
    pr_put_u8(o, null ? 1 : 0);
    pr_put_u32be(o, (uint32_t)v.n);
    pr_put_slice(o, v);
}

int pr_cond_values_next(struct pr_slice *list, struct pr_slice *v, bool *null)
{
    struct pr_cursor c = pr_cursor(*list);
    uint8_t mark = 0;

    if (list->n == 0) {
        return 0;
    }
    mark = pr_get_u8(&c);
    *v = pr_get_bytes(&c, pr_get_u32be(&c));
    if (c.failed) {
        return PR_ESHORT;
    }
    if (mark > 1) {
        return PR_ETYPE;
    }
    *null = mark == 1;
    *list = pr_bytes(c.p, c.left);
    return 1;
}

/* Takes one element of an array literal's inside, unescaped and with its mark, into the arena. */
static void put_element(struct pr_slice *rest, struct pr_outbuf *arena, bool keep)
{
    struct pr_outbuf discard = pr_outbuf(NULL, 0);
    struct pr_outbuf *o = keep ? arena : &discard;
    size_t start = o->len;
    size_t end = 0; /* behind the last byte that is not white space */
    bool quoted = false;
    bool was_quoted = false;
    size_t i = 0;

    pr_cond_value_put(o, (struct pr_slice){0}, false);
    end = o->len;
    for (; i < rest->n && (quoted || rest->p[i] != ','); i++) {
        uint8_t c = rest->p[i];

        if (c == '"') {
            quoted = !quoted;
            was_quoted = true;
            end = o->len;
            continue;
        }
        if (c == '\\' && i + 1 < rest->n) {
            i++;
            c = rest->p[i];
        } else if (!quoted && is_space(c)) {
            if (o->len > start + 5) {
                pr_put_u8(o, c); /* white space inside a value counts, at its ends not */
            }
            continue;
        }
        pr_put_u8(o, c);
        end = o->len;
    }
    rest->p += i;
    rest->n -= i;
    if (!keep || !pr_out_ok(o)) {
        return;
    }
    o->len = end;
    pr_patch_u32be(o, start + 1, (uint32_t)(end - start - 5));
    if (!was_quoted && pr_slice_is_nocase(pr_bytes(o->p + start + 5, end - start - 5), "null")) {
        o->len = start;
        pr_cond_value_put(o, (struct pr_slice){0}, true);
    }
}

/* "(a,b)" -> values; false: no parentheses. */
static bool parse_in(struct pr_slice text, struct pr_cond *c, struct pr_outbuf *arena)
{
    size_t start = arena->len;
    struct pr_slice rest;

    if (text.n < 2 || text.p[0] != '(' || text.p[text.n - 1] != ')') {
        return false;
    }
    c->value = pr_bytes(text.p + 1, text.n - 2);
    rest = trim(c->value);
    c->nvalues = 0;
    if (rest.n > 0) {
        put_element(&rest, arena, true);
        c->nvalues = 1;
    }
    while (rest.n > 0) { /* a comma */
        rest.p++;
        rest.n--;
        put_element(&rest, arena, c->nvalues < PR_FILTER_IN_MAX);
        c->nvalues++;
    }
    if (pr_out_ok(arena)) {
        c->values = pr_bytes(arena->p + start, arena->len - start);
    }
    return true;
}

static bool find_op(struct pr_slice name, enum pr_filter_op *op)
{
    for (size_t i = 0; i < OPS; i++) {
        if (pr_slice_is(name, ops[i])) {
            *op = (enum pr_filter_op)(i + 1);
            return true;
        }
    }
    return false;
}

/* ["a", "b"] behind the usual words; `second` only if there was a separator. */
static int refuse_parts(struct pr_outbuf *err, int code, struct pr_slice first, bool two,
                        struct pr_slice second)
{
    pr_put_str(err, prefix);
    pr_put_u8(err, '[');
    pr_inspect_string(err, first);
    if (two) {
        pr_put_str(err, ", ");
        pr_inspect_string(err, second);
    }
    pr_put_u8(err, ']');
    return code;
}

static int refuse(struct pr_outbuf *err, int code, const char *text)
{
    pr_put_str(err, prefix);
    pr_put_str(err, text);
    return code;
}

static int parse_segment(struct pr_slice seg, struct pr_cond *c, struct pr_outbuf *arena,
                         struct pr_outbuf *err)
{
    struct pr_slice rest;
    struct pr_slice op;
    struct pr_slice value;
    size_t start = 0;

    seg = trim(seg);
    if (seg.n == 0) {
        return refuse(err, PR_ESYNTAX,
                      "filter must not contain empty segments (check for extra commas)");
    }
    if (!split(seg, '=', &c->column, &rest)) {
        return refuse_parts(err, PR_ESYNTAX, seg, false, rest);
    }
    if (rest.n >= 4 && memcmp(rest.p, "not.", 4) == 0) {
        c->negated = true;
        rest = pr_bytes(rest.p + 4, rest.n - 4);
    }
    if (!split(rest, '.', &op, &value)) {
        return refuse_parts(err, PR_ESYNTAX, op, false, value);
    }
    if (!find_op(op, &c->op)) {
        return refuse_parts(err, PR_EOP, op, true, value);
    }
    if (c->op == PR_F_IN) {
        return parse_in(value, c, arena)
                   ? PR_OK
                   : refuse(err, PR_ESYNTAX, "`in` filter value must be wrapped by parentheses");
    }
    c->value = unquote(value, arena);
    c->nvalues = 1;
    start = arena->len;
    pr_cond_value_put(arena, c->value, false);
    if (pr_out_ok(arena)) {
        c->values = pr_bytes(arena->p + start, arena->len - start);
    }
    return PR_OK;
}

int pr_filter_parse(struct pr_slice text, struct pr_filter *f, struct pr_outbuf *arena,
                    struct pr_outbuf *err)
{
    struct pr_slice rest = trim(text);
    bool last = false;

    f->count = 0;
    if (rest.n == 0) {
        return PR_OK;
    }
    if (rest.n > PR_FILTER_TEXT_MAX) {
        return refuse(err, PR_ERANGE, "the filter is longer than 65535 bytes");
    }
    while (!last) {
        struct pr_slice seg = take_segment(&rest, &last);
        int code = PR_OK;

        if (f->count == PR_FILTER_CONDS_MAX) {
            return refuse(err, PR_ERANGE, "more than 32 conditions");
        }
        f->conds[f->count] = (struct pr_cond){0};
        code = parse_segment(seg, &f->conds[f->count], arena, err);
        if (code != PR_OK) {
            return code;
        }
        f->count++;
    }
    return pr_out_ok(arena) ? PR_OK : refuse(err, PR_ERANGE, "the filter is too long");
}
