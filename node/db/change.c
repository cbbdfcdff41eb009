/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/change.h"

const struct rt_rights *rt_relation_rights(const struct rt_relation *rel, struct pr_slice role)
{
    for (uint32_t i = 0; i < rel->nrights; i++) {
        if (pr_slice_eq(rel->rights[i].role, role)) {
            return &rel->rights[i];
        }
    }
    return NULL;
}

int rt_relation_column(const struct rt_relation *rel, struct pr_slice name)
{
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (pr_slice_eq(rel->columns[i].name, name)) {
            return (int)i;
        }
    }
    return -1;
}

struct rt_value rt_change_old(const struct rt_change *c, uint32_t i)
{
    static const struct rt_value absent = {.kind = RT_V_ABSENT};

    if (c->old == NULL || (c->old_kind == 'K' && !c->rel->columns[i].identity)) {
        return absent;
    }
    return c->old[i];
}

struct rt_value rt_change_image(const struct rt_change *c, bool old, uint32_t i)
{
    return old || c->row[i].kind == RT_V_ABSENT ? rt_change_old(c, i) : c->row[i];
}

struct rt_value rt_change_value(const struct rt_change *c, uint32_t i)
{
    if (c->kind == PR_K_DELETE) {
        return rt_change_old(c, i);
    }
    if (c->row[i].kind == RT_V_ABSENT && c->old_kind == 'O') {
        return rt_change_old(c, i);
    }
    return c->row[i];
}
