/* SPDX-License-Identifier: Apache-2.0 */
/* changes_help.h - tables, rights and rows for the tests of matching and rendering. */
#ifndef TESTS_UNIT_CHANGES_HELP_H
#define TESTS_UNIT_CHANGES_HELP_H

#include "node/db/change.h"
#include "node/db/subscriptions.h"

#define S(text)                                                                                    \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
#define COLUMNS 4u

static const struct pr_pg_type t_int = {.oid = 23, .kind = PR_PG_INT};
static const struct pr_pg_type t_text = {.oid = 25, .kind = PR_PG_TEXT};
static const struct pr_pg_type t_ints = {
    .oid = 1007, .kind = PR_PG_ARRAY, .delim = ',', .elem = &t_int};

/* id int4 primary key, v text, n int4, l int4[] */
static const struct rt_column the_columns[COLUMNS] = {
    {.name = S("id"), .typname = S("int4"), .type = &t_int, .identity = true, .primary_key = true},
    {.name = S("v"), .typname = S("text"), .type = &t_text},
    {.name = S("n"), .typname = S("int4"), .type = &t_int},
    {.name = S("l"), .typname = S("_int4"), .type = &t_ints},
};
static const bool may_all[COLUMNS] = {true, true, true, true};
static const bool may_some[COLUMNS] = {true, true, false, false};
static const bool may_v[COLUMNS] = {false, true, false, false};
static const struct rt_rights the_rights[] = {
    {.role = S("authenticated"), .selects_table = true, .may_select = may_all},
    {.role = S("anon"), .may_select = may_some},
    {.role = S("blind"), .may_select = may_v},
    {.role = S("service_role"),
     .sees_all_rows = true,
     .selects_table = true,
     .may_select = may_all},
};

static inline struct rt_relation the_table(void)
{
    struct rt_relation rel = {.oid = 42,
                              .version = 1,
                              .schema = S("public"),
                              .table = S("t"),
                              .identity = 'd',
                              .ncolumns = COLUMNS,
                              .columns = the_columns,
                              .nrights = 4,
                              .rights = the_rights};

    return rel;
}

/* NULL: SQL NULL; "absent", "dropped": those. */
static inline void set_row(struct rt_value *row, const char *const *texts)
{
    for (uint32_t i = 0; i < COLUMNS; i++) {
        row[i] = (struct rt_value){.kind = RT_V_NULL};
        if (texts[i] != NULL) {
            row[i] = (struct rt_value){.kind = RT_V_TEXT, .text = pr_str(texts[i])};
            row[i].kind = pr_slice_is(row[i].text, "absent") ? RT_V_ABSENT : row[i].kind;
            row[i].kind = pr_slice_is(row[i].text, "dropped") ? RT_V_DROPPED : row[i].kind;
        }
    }
}

static inline int add_reg(struct rt_subs *s, uint64_t boot, uint32_t handle, const char *event,
                          const char *role, const char *claims)
{
    const struct pr_chg_reg reg = {.boot = boot,
                                   .handle = handle,
                                   .event = pr_str(event),
                                   .schema = S("public"),
                                   .table = S("t"),
                                   .role = pr_str(role),
                                   .claims = pr_str(claims)};

    return rt_subs_add(s, &reg);
}

/* With `select: [column]`. */
static inline int add_select(struct rt_subs *s, uint64_t boot, uint32_t handle, const char *role,
                             const char *column)
{
    uint8_t mem[64];
    struct pr_outbuf o = pr_outbuf(mem, sizeof mem);
    struct pr_chg_reg reg = {.boot = boot,
                             .handle = handle,
                             .event = S("*"),
                             .role = pr_str(role),
                             .claims = S("{}"),
                             .has_select = true,
                             .nselect = 1};

    pr_str_put(&o, pr_str(column));
    reg.select = pr_bytes(mem, o.len);
    return rt_subs_add(s, &reg);
}

/* Attaches with a filter text whose values need no normalizing. */
static inline int attach(struct rt_subs *s, uint64_t boot, uint32_t handle,
                         const struct rt_relation *rel, const char *filter)
{
    static uint8_t mem[PR_FILTER_ARENA(256)];
    struct pr_outbuf arena = pr_outbuf(mem, sizeof mem);
    struct pr_outbuf err = pr_outbuf(NULL, 0);
    struct rt_sub_cond conds[PR_FILTER_CONDS_MAX];
    struct pr_filter f;

    if (pr_filter_parse(pr_str(filter), &f, &arena, &err) != PR_OK) {
        return -100;
    }
    for (uint32_t i = 0; i < f.count; i++) {
        conds[i] = (struct rt_sub_cond){.column = f.conds[i].column,
                                        .op = f.conds[i].op,
                                        .negated = f.conds[i].negated,
                                        .values = f.conds[i].values};
    }
    return rt_subs_attach(s, boot, handle, rel,
                          &(struct rt_sub_filter){.conds = conds, .nconds = f.count});
}

#endif
