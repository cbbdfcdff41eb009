/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.h - the filter of a postgres_changes subscription: parse, and match against values.
 *
 *   filter = cond *("," cond)      all must hold
 *   cond   = column "=" op "." value
 *
 * Commas inside parentheses and inside double quotes do not split; a quote opens only after ".",
 * "(" or ",", and a backslash escapes inside it. A value wholly in double quotes is unquoted.
 * Operators of this build: eq neq lt lte gt gte in. like ilike is match imatch isdistinct and the
 * prefix "not." are known to the grammar and refused by name.
 * NULL never matches.
 */
#ifndef PROTO_FILTER_H
#define PROTO_FILTER_H

#include "proto/bytes.h"
#include "proto/pg_value.h"

#define PR_FILTER_CONDS_MAX 32u  /* conditions of one filter: ours, a join config is bounded too */
#define PR_FILTER_IN_MAX    100u /* values of `in`, as Supabase */
#define PR_FILTER_TEXT_MAX  65535u /* bytes of a filter */

enum pr_filter_op { PR_F_EQ = 1, PR_F_NEQ, PR_F_LT, PR_F_LTE, PR_F_GT, PR_F_GTE, PR_F_IN };

struct pr_cond {
    struct pr_slice column; /* borrows from the filter text */
    enum pr_filter_op op;
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
 * PR_ESYNTAX, PR_EOP (operator that is unknown or not built), PR_ERANGE (too long, too many).
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

/* Can C evaluate the operator on that type? */
bool pr_filter_native(enum pr_filter_op op, const struct pr_pg_type *t, bool c_collation);
/*
 * Does a value that is not NULL satisfy the condition? `values` are the normalized ones (packed).
 * False also if something cannot be compared.
 */
bool pr_filter_match(enum pr_filter_op op, struct pr_slice values, const struct pr_pg_type *t,
                     struct pr_slice text);

#endif
