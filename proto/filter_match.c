/* SPDX-License-Identifier: Apache-2.0 */
/* Conditions that C evaluates as Postgres does: which they are, and whether they hold. */
#include <string.h>

#include "proto/filter.h"

/* SQL's three truth values. */
enum truth { FALSE = 0, TRUE, UNKNOWN };

static bool is_text(enum pr_pg_kind kind)
{
    return kind == PR_PG_TEXT || kind == PR_PG_BPCHAR;
}

/* Length of the pattern's character, escaped or not. */
static size_t unit_len(struct pr_slice pattern)
{
    return pattern.p[0] == '\\' && pattern.n > 1 ? 2 : 1;
}

/* Takes the pattern up to the next '%', or all of it; *wild: has it a '_'? */
static struct pr_slice take_part(struct pr_slice *pattern, bool *wild)
{
    struct pr_slice part = *pattern;

    *wild = false;
    while (pattern->n > 0 && pattern->p[0] != '%') {
        size_t n = unit_len(*pattern);

        *wild = *wild || pattern->p[0] == '_';
        *pattern = pr_bytes(pattern->p + n, pattern->n - n);
    }
    part.n -= pattern->n;
    return part;
}

/* Is a part behind a '%' longer than `plain` bytes, or with a '_' than `with_wild`? */
static bool has_long_part(struct pr_slice pattern, size_t plain, size_t with_wild)
{
    bool wild = false;

    (void)take_part(&pattern, &wild);
    while (pattern.n > 0) {
        pattern = pr_bytes(pattern.p + 1, pattern.n - 1);
        size_t n = take_part(&pattern, &wild).n;

        if (n > (wild ? with_wild : plain)) {
            return true;
        }
    }
    return false;
}

bool pr_like_is_long(struct pr_slice pattern)
{
    return has_long_part(pattern, PR_LIKE_PART_ASKED_MAX, PR_LIKE_PART_ASKED_MAX);
}

bool pr_like_is_cut(struct pr_slice pattern)
{
    while (pattern.n > 0) {
        size_t n = unit_len(pattern);

        if (pattern.p[0] == '\\' && n == 1) {
            return true;
        }
        pattern = pr_bytes(pattern.p + n, pattern.n - n);
    }
    return false;
}

bool pr_filter_native(const struct pr_cond *c, const struct pr_pg_type *t, enum pr_text_rule rule)
{
    enum pr_pg_kind kind = pr_pg_base(t)->kind;

    switch (c->op) {
    case PR_F_IS: /* of a row, it asks for its fields */
        return kind != PR_PG_COMPOSITE;
    case PR_F_EQ:
    case PR_F_NEQ:
    case PR_F_IN:
    case PR_F_ISDISTINCT:
        return pr_pg_has_equal(t) && (!is_text(kind) || rule >= PR_TEXT_EQUAL);
    case PR_F_LT:
    case PR_F_LTE:
    case PR_F_GT:
    case PR_F_GTE:
        return pr_pg_has_order(t, rule >= PR_TEXT_ORDER);
    case PR_F_LIKE:
        return is_text(kind) && rule >= PR_TEXT_LIKE &&
               !has_long_part(c->value, PR_LIKE_PART_MAX, PR_LIKE_WILD_MAX);
    case PR_F_ILIKE:
    case PR_F_MATCH:
    case PR_F_IMATCH:
        break;
    }
    return false;
}

static bool order_holds(enum pr_filter_op op, int order)
{
    switch (op) {
    case PR_F_EQ:
    case PR_F_IN:
        return order == 0;
    case PR_F_NEQ:
    case PR_F_ISDISTINCT:
        return order != 0;
    case PR_F_LT:
        return order < 0;
    case PR_F_LTE:
        return order <= 0;
    case PR_F_GT:
        return order > 0;
    case PR_F_GTE:
        return order >= 0;
    case PR_F_LIKE:
    case PR_F_ILIKE:
    case PR_F_IS:
    case PR_F_MATCH:
    case PR_F_IMATCH:
        break;
    }
    return false;
}

/* Without the first character, which may be of several bytes. */
static struct pr_slice without_first(struct pr_slice s)
{
    size_t n = 1;

    while (n < s.n && (s.p[n] & 0xc0) == 0x80) {
        n++;
    }
    return pr_bytes(s.p + n, s.n - n);
}

/* Takes what the pattern's next character, which is no '%', asks for. */
static bool step(struct pr_slice *pattern, struct pr_slice *text)
{
    size_t n = unit_len(*pattern);
    uint8_t c = pattern->p[n - 1];

    if (text->n == 0) {
        return false;
    }
    if (n == 1 && c == '_') {
        *text = without_first(*text);
    } else if (text->p[0] == c && (n == 2 || c != '\\')) {
        *text = pr_bytes(text->p + 1, text->n - 1);
    } else {
        return false;
    }
    *pattern = pr_bytes(pattern->p + n, pattern->n - n);
    return true;
}

/* Takes what the part asks for from the text's beginning. False: *text is as it was. */
static bool take(struct pr_slice part, struct pr_slice *text)
{
    struct pr_slice rest = *text;

    while (part.n > 0) {
        if (!step(&part, &rest)) {
            return false;
        }
    }
    *text = rest;
    return true;
}

/* Where `plain`, of at least one byte, comes first; NULL: nowhere. At worst one memcmp for each
 * byte of the text, of PR_LIKE_PART_MAX bytes at most. */
static const uint8_t *first_of(struct pr_slice plain, struct pr_slice text)
{
    while (text.n >= plain.n) {
        const uint8_t *at = memchr(text.p, plain.p[0], text.n - plain.n + 1);
        size_t skipped = at == NULL ? 0 : (size_t)(at - text.p);

        if (at == NULL || memcmp(at, plain.p, plain.n) == 0) {
            return at;
        }
        text = pr_bytes(at + 1, text.n - skipped - 1);
    }
    return NULL;
}

/* The same as take, as far ahead in the text as it is there. */
static bool find(struct pr_slice part, bool wild, struct pr_slice *text)
{
    uint8_t memory[PR_LIKE_PART_MAX];
    struct pr_outbuf plain = pr_outbuf(memory, sizeof memory);
    const uint8_t *at = NULL;

    if (wild || part.n == 0 || part.n > sizeof memory) {
        while (!take(part, text)) {
            if (text->n == 0) {
                return false;
            }
            *text = without_first(*text);
        }
        return true;
    }
    while (part.n > 0) {
        size_t n = unit_len(part);

        pr_put_u8(&plain, part.p[n - 1]);
        part = pr_bytes(part.p + n, part.n - n);
    }
    at = first_of(pr_bytes(memory, plain.len), *text);
    if (at == NULL) {
        return false;
    }
    *text = pr_bytes(at + plain.len, text->n - (size_t)(at - text->p) - plain.len);
    return true;
}

/* The last characters of the text, as many as the part has. False: there are fewer. */
static bool tail(struct pr_slice part, struct pr_slice *text)
{
    size_t n = 0;
    size_t at = text->n;

    while (part.n > 0) {
        size_t unit = unit_len(part);

        /* Of a character of several bytes the first one counts. */
        n += (part.p[unit - 1] & 0xc0) != 0x80;
        part = pr_bytes(part.p + unit, part.n - unit);
    }
    for (; n > 0; n--) {
        if (at == 0) {
            return false;
        }
        do {
            at--;
        } while (at > 0 && (text->p[at] & 0xc0) == 0x80);
    }
    *text = pr_bytes(text->p + at, text->n - at);
    return true;
}

/* Each part is taken where it comes first: what one further on could leave, that one leaves, too.
 */
static bool like(struct pr_slice text, struct pr_slice pattern)
{
    bool wild = false;

    if (!take(take_part(&pattern, &wild), &text)) {
        return false;
    }
    if (pattern.n == 0) {
        return text.n == 0;
    }
    for (;;) {
        struct pr_slice part;

        pattern = pr_bytes(pattern.p + 1, pattern.n - 1);
        part = take_part(&pattern, &wild);
        if (pattern.n == 0) {
            return part.n == 0 || (tail(part, &text) && take(part, &text) && text.n == 0);
        }
        if (!find(part, wild, &text)) {
            return false;
        }
    }
}

static struct pr_slice trim_blanks(struct pr_slice s)
{
    while (s.n > 0 && s.p[s.n - 1] == ' ') {
        s.n--;
    }
    return s;
}

static enum truth truth_is(const struct pr_cond *c, const struct pr_slice *text)
{
    struct pr_slice list = c->values;
    struct pr_slice want;
    bool null = false;

    if (pr_cond_values_next(&list, &want, &null) != 1) {
        return UNKNOWN;
    }
    if (pr_slice_is(want, "true") || pr_slice_is(want, "false")) {
        return text != NULL && text->n == 1 && text->p[0] == want.p[0] ? TRUE : FALSE;
    }
    return text == NULL ? TRUE : FALSE;
}

/* One value of the condition. */
static enum truth truth_of(const struct pr_cond *c, const struct pr_pg_type *t,
                           struct pr_slice text, struct pr_slice value)
{
    int order = 0;

    if (c->op == PR_F_LIKE) {
        if (pr_pg_base(t)->kind == PR_PG_BPCHAR) {
            text = trim_blanks(text);
        }
        return like(text, value) ? TRUE : FALSE;
    }
    if (pr_pg_compare(t, text, value, &order) != PR_OK) {
        return UNKNOWN;
    }
    return order_holds(c->op, order) ? TRUE : FALSE;
}

static enum truth evaluate(const struct pr_cond *c, const struct pr_pg_type *t,
                           const struct pr_slice *text)
{
    struct pr_slice list = c->values;
    struct pr_slice v;
    bool null = false;
    enum truth all = FALSE; /* of `in` without a value, whatever the row has */

    if (c->op == PR_F_IS) {
        return truth_is(c, text);
    }
    while (pr_cond_values_next(&list, &v, &null) == 1) {
        enum truth one = UNKNOWN;

        if (c->op == PR_F_ISDISTINCT && (text == NULL || null)) {
            one = (text == NULL) == null ? FALSE : TRUE;
        } else if (text != NULL && !null) {
            one = truth_of(c, t, *text, v);
        }
        if (one == TRUE) {
            return TRUE;
        }
        all = one == UNKNOWN ? UNKNOWN : all;
    }
    return all;
}

bool pr_filter_match(const struct pr_cond *c, const struct pr_pg_type *t,
                     const struct pr_slice *text)
{
    return evaluate(c, t, text) == (c->negated ? FALSE : TRUE);
}
