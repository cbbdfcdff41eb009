/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sieve.h - what of a filter only Postgres can evaluate: a statement that is given rows, and gives
 * back which of them pass.
 *
 * C evaluates what it can with exactly the result of Postgres (pr_filter_native); a sieve is the
 * rest: order of text in most collations, ilike, regular expressions, types that C does not know.
 * It is shared by all registrations of a role on a table whose rest is the same. Values of rows and
 * filters are parameters; the statement is made of names from the catalog only.
 */
#ifndef NODE_DB_SIEVE_H
#define NODE_DB_SIEVE_H

#include "node/db/chains.h"
#include "node/db/change.h"
#include "node/db/sqltext.h"

struct rt_sieve {
    uint32_t refs;
    struct pr_slice role;    /* it runs as this one */
    struct pr_slice path;    /* its search_path: where the types' operators are */
    struct pr_slice sql;     /* $1..$count: arrays of texts, one per column; then the values */
    uint32_t count;          /* conditions */
    bool patterns;           /* some of them are: it gets less time */
    struct pr_slice columns; /* whose texts are $1..$count; packed, pr_cond_values_next */
    struct pr_slice values;  /* texts of $count+1..$2*count; packed */
    /* Failures since `since_ms`; cancelled: it is asked no more, nothing passes. */
    uint32_t failures;
    uint64_t since_ms;
    bool cancelled;
    /* Of patterns: known to be quick; statements in a row that were slow. */
    bool quick;
    uint32_t slow;
    uint32_t task; /* of the sifting under way, from 1; 0: none */
    struct rt_link link;
    struct rt_chains *home; /* NULL: no new user finds it */
    struct pr_slice key;
};

/* One condition of it. Borrows. */
struct rt_sieve_part {
    struct pr_slice column;
    enum pr_filter_op op;
    bool negated;
    struct pr_slice values; /* packed, pr_cond_value_put */
    enum pr_pg_kind kind;   /* of the column, under its domains */
    const struct rt_operand *operand;
};

/* The sieve of these conditions (1..PR_FILTER_CONDS_MAX) on that table, with one more reference: a
 * known one of `home`, or a new one. */
struct rt_sieve *rt_sieve_of(struct rt_chains *home, const struct rt_relation *rel,
                             struct pr_slice role, const struct rt_sieve_part *parts,
                             uint32_t count);
void rt_sieve_ref(struct rt_sieve *s);
/* NULL is allowed. */
void rt_sieve_unref(struct rt_sieve *s);
/* Nobody new gets it. */
void rt_sieve_hide(struct rt_sieve *s);
/* It failed for a row. True: so often that it is cancelled now, and nobody new gets it. */
bool rt_sieve_failed(struct rt_sieve *s, uint64_t now_ms);

/* Takes a pattern, like ilike. */
bool rt_sieve_is_pattern(enum pr_filter_op op);
/* The condition as SQL: `column` is an expression of type text, $param the value's text. */
void rt_sieve_put_test(struct rt_text *t, const struct rt_sieve_part *p, const char *column,
                       uint32_t param);
/* The search path: schemas of the types, each once; pg_catalog is looked into first, and is not
 * said. */
void rt_sieve_put_path(struct rt_text *t, const struct rt_sieve_part *parts, uint32_t count);
/* Text of the condition's parameter: the value, or an array literal. */
void rt_sieve_put_param(struct rt_text *t, const struct rt_sieve_part *p);

#endif
