/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validate_in.h - the check of one registration.
 *
 *   validate.c       its course: role, tables, columns
 *   validate_cond.c  one condition: can it be evaluated, and what Postgres makes of its value
 *   validate_say.c   refusals
 */
#ifndef NODE_DB_VALIDATE_IN_H
#define NODE_DB_VALIDATE_IN_H

#include "node/db/regs_in.h"

/* Bytes of a refusal that are told: parameters, and the exception behind them. */
#define RT_REFUSAL_MAX 4096u

struct rt_check {
    struct rt_reg *reg;
    struct pr_filter filter;
    uint8_t *arena;
    uint32_t *oids; /* the tables, in order; those before `table` are attached */
    uint32_t noids, table;
    struct rt_relation *rel; /* of the table in work; a reference */
    uint32_t cond;           /* condition in work */
    struct rt_sub_cond conds[PR_FILTER_CONDS_MAX];
    uint8_t *values[PR_FILTER_CONDS_MAX]; /* what Postgres made of them; NULL: as they came */
    struct rt_check *next_try, *prev_try; /* of those whose pattern is to be tried */
    bool waits;                           /* it is one of them */
};

/* validate.c: the check ends; refused with the whole characters of `text` that fit into
 * RT_REFUSAL_MAX, unless it is NULL. */
void rt_check_end(struct rt_reg *r, const struct pr_outbuf *text, bool unpublished);
/* The connection ended: the next one checks anew. */
void rt_check_interrupted(struct rt_reg *r);
/* A question was answered. True: the registration or its check is over, the answer is nobody's. */
bool rt_check_answered(struct rt_reg *r, const PGresult *res);
/* The condition in work is settled; goes on with the next. */
void rt_check_cond_done(struct rt_reg *r);

/* validate_cond.c: looks at the condition in work. True: it is settled, conds[cond] is set. False:
 * an answer is waited for, or the check is over. */
bool rt_check_cond(struct rt_reg *r);
/* It waits no more for its pattern to be tried, if it does. */
void rt_check_wait_no_more(struct rt_check *c);
/* The conditions of which Postgres is to be asked, as parts of a sieve; how many. */
uint32_t rt_check_parts(const struct rt_check *c, struct rt_sieve_part *parts);

/* validate_say.c: all end the check. */
void rt_refuse_unpublished(struct rt_reg *r);
/* The exception in pieces. */
void rt_refuse(struct rt_reg *r, const struct pr_slice *exception, uint32_t count);
/* "ERROR P0001 (raise_exception) ", then the texts. */
void rt_refuse_raised(struct rt_reg *r, const char *text, struct pr_slice a, const char *middle,
                      struct pr_slice b);
/* "ERROR 22P02 (invalid_text_representation) ..." as Postgres answered. */
void rt_refuse_result(struct rt_reg *r, const PGresult *res);
/* The beginning of a text in UTF-8: whole characters, at most `max` bytes. */
struct pr_slice rt_text_begin(struct pr_slice text, size_t max);
/* The name of an SQLSTATE that a filter can cause; "error" for others. */
const char *rt_condition_name(const char *sqlstate);

#endif
