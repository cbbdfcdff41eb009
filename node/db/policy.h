/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - row-level security without asking Postgres, where a policy is simple enough.
 *
 * The condition that a role's SELECT policies make together (rt_rel_policy.condition) is compiled
 * if all of it is of this grammar:
 *
 *   condition = true | false | column of type boolean | condition AND/OR condition | NOT condition
 *             | value = value | value <> value | value < value ... (integers) | value IS [NOT] NULL
 *             | value = ANY (ARRAY[constant, ...])
 *   value     = column | constant | auth.uid() | auth.role() | auth.email()
 *             | auth.jwt() -> 'key' ->> 'key', each also as (SELECT ...) and with a cast
 *
 * on boolean, integer, text (equality) and uuid. auth.* count only if their bodies are the known
 * ones and the role may call them, rt_rel_table_sql looks. Any other token: not compiled, and the
 * policy is asked as ever; so it is while the row's columns are not those of the catalog. Whatever
 * cannot be decided here exactly as Postgres would, since it would raise there or a value is not at
 * hand, is UNSURE: that row is asked.
 *
 * A row is judged on its own image, which is what Postgres decides for a row that has not changed
 * since, and what rls.c asks for one that has.
 */
#ifndef NODE_DB_POLICY_H
#define NODE_DB_POLICY_H

#include "node/db/relcache_in.h"
#include "node/db/rls.h"

/* The four helpers as bits: those whose meaning is known. */
enum rt_auth_helper { RT_AUTH_UID = 1, RT_AUTH_ROLE = 2, RT_AUTH_EMAIL = 4, RT_AUTH_JWT = 8 };

/* Claims that one policy may read; more: not compiled. */
#define RT_POLICY_CLAIMS_MAX 8u

enum rt_truth { RT_FALSE = 0, RT_TRUE, RT_UNKNOWN, RT_UNSURE };

struct rt_policy;

/* NULL: not of the grammar. Taken from `mem`, borrows from `text` and refers to columns of
 * `rel` by their index. */
const struct rt_policy *rt_policy_compile(struct rt_arena *mem, struct pr_slice text,
                                          const struct rt_relation *rel, unsigned helpers);

/* What a policy reads of the claims; borrows from them, but may be moved. */
struct rt_policy_claims {
    struct {
        enum { RT_CLAIM_NULL = 0, RT_CLAIM_TEXT, RT_CLAIM_UUID, RT_CLAIM_UNSURE } state;
        struct pr_slice text; /* RT_CLAIM_TEXT */
        char uuid[36];        /* RT_CLAIM_UUID */
    } at[RT_POLICY_CLAIMS_MAX];
};
void rt_policy_bind(const struct rt_policy *p, struct pr_slice claims,
                    struct rt_policy_claims *out);
/* Does the condition hold for the row, or with `old` for what it was before? */
enum rt_truth rt_policy_holds(const struct rt_policy *p, const struct rt_policy_claims *claims,
                              const struct rt_change *c, bool old);

/*
 * Judges what can be judged here, of a batch: clears `visible` of matches that the policies hide,
 * and sets `judged` of all that need not be asked; so it does with old rows, by `old_hidden` and
 * `old_judged`. `shadow`: only notes in `guess` what it would have said, and says nothing of the
 * old row of an UPDATE. Gives the number of verdicts, one per row and group.
 */
uint32_t rt_policies_judge(const struct rt_rls_row *rows, uint32_t n, bool shadow);
/* How many matches were judged otherwise than guessed. */
uint32_t rt_policies_differ(const struct rt_rls_row *rows, uint32_t n);

#endif
