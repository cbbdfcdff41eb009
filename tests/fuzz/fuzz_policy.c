/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Policies: a line of SQL, then the claims. What compiles can be evaluated on any row; and a
 * condition together with its negation holds for none.
 */
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "node/db/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define COLUMNS 4u

static const struct pr_pg_type types[COLUMNS] = {
    {.kind = PR_PG_BOOL}, {.kind = PR_PG_INT}, {.kind = PR_PG_TEXT}, {.kind = PR_PG_UUID}};

/* Every combination of NULL, a value that is one, and a text that is none. */
static void evaluate(const struct rt_policy *p, const struct rt_policy_claims *claims,
                     const struct rt_policy *negated, const struct rt_policy_claims *same,
                     const struct rt_relation *rel)
{
    static const char *const good[COLUMNS] = {"t", "7", "a",
                                              "11111111-1111-1111-1111-111111111111"};
    struct rt_value row[COLUMNS];
    struct rt_change c = {.rel = rel, .kind = PR_K_INSERT, .row = row};

    for (uint32_t mix = 0; mix < 81; mix++) {
        uint32_t rest = mix;
        enum rt_truth t;

        for (uint32_t i = 0; i < COLUMNS; i++, rest /= 3) {
            row[i].kind = rest % 3 == 0 ? RT_V_NULL : RT_V_TEXT;
            row[i].text = pr_str(rest % 3 == 1 ? good[i] : "?");
        }
        t = rt_policy_holds(p, claims, &c, false);
        if (negated != NULL) {
            enum rt_truth u = rt_policy_holds(negated, same, &c, false);

            assert(t == RT_TRUE || t == RT_FALSE ? u == (t == RT_TRUE ? RT_FALSE : RT_TRUE)
                                                 : u == t);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct rt_column columns[COLUMNS] = {
        {.name = {.p = (const uint8_t *)"open", .n = 4}, .type = &types[0]},
        {.name = {.p = (const uint8_t *)"n", .n = 1}, .type = &types[1]},
        {.name = {.p = (const uint8_t *)"team", .n = 4}, .type = &types[2], .text = PR_TEXT_EQUAL},
        {.name = {.p = (const uint8_t *)"owner", .n = 5}, .type = &types[3]}};
    static const struct rt_operand operands[COLUMNS];
    static const struct rt_rel_box box = {.rel = {.ncolumns = COLUMNS, .columns = columns},
                                          .sql = {.operands = operands}};
    const struct rt_relation *rel = &box.rel;
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t n = end != NULL ? (size_t)(end - data) : size;
    struct pr_slice claims = end != NULL ? pr_bytes(end + 1, size - n - 1) : pr_str("{}");
    struct rt_arena mem = {.chunk_bytes = 8192};
    const struct rt_policy *p = rt_policy_compile(&mem, pr_bytes(data, n), rel, ~0u);

    if (p != NULL) {
        uint8_t *text = rt_arena_take(&mem, n + 6, 1);
        const struct rt_policy *negated;
        struct rt_policy_claims bound, same;

        memcpy(text, "NOT (", 5);
        memcpy(text + 5, data, n);
        text[5 + n] = ')';
        negated = rt_policy_compile(&mem, pr_bytes(text, n + 6), rel, ~0u); /* NULL: too large */
        rt_policy_bind(p, claims, &bound);
        if (negated != NULL) {
            rt_policy_bind(negated, claims, &same);
        }
        evaluate(p, &bound, negated, &same, rel);
    }
    rt_arena_free(&mem);
    return 0;
}
