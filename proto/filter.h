/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - the filter of a postgres_changes subscription: parse, and match against values.
 *
 *   filter = cond *("," cond)      all must hold
 *   cond   = column "=" ["not."] op "." value
 *
 * Commas inside parentheses and inside double quotes do not split; a quote opens only after ".",
 * "(" or ",", and a backslash escapes inside it. A value wholly in double quotes is unquoted.
 * A condition is a condition of SQL: one that is NULL, because the value is, does not hold, and
 * neither does its negation. `is` and `isdistinct` are never NULL.
 */
#ifndef PROTO_FILTER_H
#define PROTO_FILTER_H

#include "proto/bytes.h"
#include "proto/pg_value.h"

#define PR_FILTER_CONDS_MAX 32u  /* conditions of one filter: ours, a join config is bounded too */
#define PR_FILTER_IN_MAX    100u /* values of `in`, as Supabase */
#define PR_FILTER_TEXT_MAX  65535u /* bytes of a filter */

enum pr_filter_op {
    PR_F_EQ = 1,
    PR_F_NEQ,
    PR_F_LT,
    PR_F_LTE,
    PR_F_GT,
    PR_F_GTE,
    PR_F_IN,
    PR_F_LIKE,
    PR_F_ILIKE,
    PR_F_IS, /* value: null, true, false or unknown, which is the caller's to check */
    PR_F_MATCH,
    PR_F_IMATCH,
    PR_F_ISDISTINCT
};

struct pr_cond {
    struct pr_slice column; /* borrows from the filter text */
    enum pr_filter_op op;
    bool negated;
    struct pr_slice value;  /* unquoted; for `in` the text between the parentheses as it came */
    uint32_t nvalues;       /* `in`: how many it lists, else 1 */
    struct pr_slice values; /* packed, walk with pr_cond_values_next */
};
struct pr_filter {
    uint32_t count; /* 0: no filter */
    struct pr_cond conds[PR_FILTER_CONDS_MAX];
};

/*
 * Parses. Unquoted values are put into `arena`, which has room for PR_FILTER_ARENA(text.n) bytes;
 * *f borrows from text and arena. What stands in the parentheses of `in` is the inside of an array
 * literal: Postgres is asked with '{' value '}', and judges whether it is one; nvalues may be over
 * PR_FILTER_IN_MAX (then `values` holds the first ones), which is the caller's to refuse.
 * PR_OK, or an error with the text for the client's `system` message appended to `err`:
 * PR_ESYNTAX, PR_EOP (unknown operator), PR_ERANGE (too long, too many).
 * Texts: those of supabase/realtime, lib/extensions/postgres_cdc_rls/subscriptions.ex.
 */
#define PR_FILTER_ARENA(n) (2u * (size_t)(n) + (size_t)5 * PR_FILTER_CONDS_MAX * PR_FILTER_IN_MAX)
PR_MUST_CHECK int pr_filter_parse(struct pr_slice text, struct pr_filter *f,
                                  struct pr_outbuf *arena, struct pr_outbuf *err);
/* Takes the next value. 1 = taken, 0 = none left, negative = damaged. *null: unquoted NULL in `in`,
 * as in an array literal. */
PR_MUST_CHECK int pr_cond_values_next(struct pr_slice *list, struct pr_slice *v, bool *null);
/* One more value for a packed list: what Postgres made of it (value::type::text). */
void pr_cond_value_put(struct pr_outbuf *o, struct pr_slice v, bool null);

/* "eq", "in" ... */
const char *pr_filter_op_name(enum pr_filter_op op);
/* Appends [{"col", "op", "value", false}] as the error messages show it, the values of `in` as
 * {a,b}; [] for no filter. */
void pr_filter_inspect(struct pr_outbuf *o, const struct pr_filter *f);
/* Appends a text as Elixir's inspect prints a string: the error texts were made by it. */
void pr_inspect_string(struct pr_outbuf *o, struct pr_slice s);

/* What C may decide about a text of a column, each including those before it. */
enum pr_text_rule {
    PR_TEXT_NOTHING = 0, /* equal texts may differ in their bytes: nondeterministic collation */
    PR_TEXT_EQUAL,       /* equal exactly if the bytes are */
    PR_TEXT_LIKE,        /* and the database's characters are those of UTF-8 */
    PR_TEXT_ORDER        /* and the collation orders by bytes */
};

/* Unanchored parts of a LIKE pattern that are longer are not for C: the search for one costs the
 * product of its length and the text's. */
#define PR_LIKE_PART_MAX 64u
/* The same for a part with a '_'. */
#define PR_LIKE_WILD_MAX 8u
/* The same for Postgres, which does not look at its time limits meanwhile (seen with version 15).
 */
#define PR_LIKE_PART_ASKED_MAX 255u

/* Can C evaluate the condition on that type, with exactly the result of Postgres? */
bool pr_filter_native(const struct pr_cond *c, const struct pr_pg_type *t, enum pr_text_rule rule);
/* Has a LIKE pattern more than PR_LIKE_PART_ASKED_MAX bytes between a '%' and the next one? */
bool pr_like_is_long(struct pr_slice pattern);
/* Does a LIKE pattern end in a backslash that escapes nothing? Postgres raises for such a one. */
bool pr_like_is_cut(struct pr_slice pattern);
/*
 * Does the condition hold for a value, NULL if `text` is? `values` are the normalized ones
 * (packed). False also if something cannot be compared, negated or not. `is` asks only for NULL
 * where the type is not boolean; `text` may be anything then.
 */
bool pr_filter_match(const struct pr_cond *c, const struct pr_pg_type *t,
                     const struct pr_slice *text);

#endif
