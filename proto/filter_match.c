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

/* Behind a '%', more than `max` bytes before the next one. */
static bool has_long_part(struct pr_slice pattern, size_t max)
{
    bool anchored = true;
    size_t part = 0;

    while (pattern.n > 0) {
        size_t n = unit_len(pattern);

        if (pattern.p[0] == '%') {
            anchored = false;
            part = 0;
        } else {
            part += n;
        }
        if (!anchored && part > max) {
            return true;
        }
        pattern = pr_bytes(pattern.p + n, pattern.n - n);
    }
    return false;
}

bool pr_like_is_long(struct pr_slice pattern)
{
    return has_long_part(pattern, PR_LIKE_PART_ASKED_MAX);
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
        return is_text(kind) && rule >= PR_TEXT_LIKE && !has_long_part(c->value, PR_LIKE_PART_MAX);
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

/* Goes back to the last '%' only: what one before it could take, that one can, too. */
static bool like(struct pr_slice text, struct pr_slice pattern)
{
    bool wild = false;
    struct pr_slice after = {0}; /* the pattern behind the last '%' */
    struct pr_slice from = {0};  /* the text that it is tried on */

    while (text.n > 0 || pattern.n > 0) {
        if (pattern.n > 0 && pattern.p[0] == '%') {
            pattern = pr_bytes(pattern.p + 1, pattern.n - 1);
            wild = true;
            after = pattern;
            from = text;
            if (after.n == 0) {
                return true;
            }
        } else if (pattern.n == 0 || !step(&pattern, &text)) {
            if (!wild || text.n == 0) {
                return false; /* to begin further on would leave even less of the text */
            }
            from = without_first(from);
            text = from;
            pattern = after;
        }
    }
    return true;
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
