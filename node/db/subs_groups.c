/* SPDX-License-Identifier: Apache-2.0 */
/* subs_groups.c - groups (role and claims) and shapes (role and columns), shared by registrations.
 */
#include <assert.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/db/subs_in.h"

struct pr_slice rt_subs_keep(uint8_t **at, struct pr_slice from)
{
    struct pr_slice to = pr_bytes(*at, from.n);

    if (from.n > 0) {
        memcpy(*at, from.p, from.n);
    }
    *at += from.n;
    return to;
}

struct rt_group *rt_subs_group(struct rt_subs *s, struct pr_slice role, struct pr_slice claims)
{
    uint64_t hash = rt_subs_hash(s, claims, role);
    struct rt_group *g = NULL;
    uint8_t *at = NULL;

    for (struct rt_link *l = rt_chains_find(&s->groups, hash); l != NULL; l = rt_chains_next(l)) {
        g = RT_LINKED(l, struct rt_group, link);
        if (pr_slice_eq(g->role, role) && pr_slice_eq(g->claims, claims)) {
            g->refs++;
            return g;
        }
    }
    g = rt_malloc(sizeof *g + role.n + claims.n);
    *g = (struct rt_group){.refs = 1, .home = &s->groups};
    at = (uint8_t *)(g + 1);
    g->role = rt_subs_keep(&at, role);
    g->claims = rt_subs_keep(&at, claims);
    rt_chains_add(&s->groups, &g->link, hash);
    return g;
}

struct rt_shape *rt_subs_shape(struct rt_subs *s, const struct pr_chg_reg *reg)
{
    uint64_t hash = rt_subs_hash(s, reg->role, reg->has_select ? reg->select : pr_str(""));
    struct pr_slice select = reg->has_select ? reg->select : pr_str("");
    struct rt_shape *g = NULL;
    uint8_t *at = NULL;

    for (struct rt_link *l = rt_chains_find(&s->shapes, hash); l != NULL; l = rt_chains_next(l)) {
        g = RT_LINKED(l, struct rt_shape, link);
        if (pr_slice_eq(g->role, reg->role) && g->has_select == reg->has_select &&
            pr_slice_eq(g->select, select)) {
            g->refs++;
            return g;
        }
    }
    g = rt_malloc(sizeof *g + reg->role.n + select.n);
    *g = (struct rt_shape){.refs = 1, .home = &s->shapes, .has_select = reg->has_select};
    g->nselect = reg->has_select ? reg->nselect : 0;
    at = (uint8_t *)(g + 1);
    g->role = rt_subs_keep(&at, reg->role);
    g->select = rt_subs_keep(&at, select);
    rt_chains_add(&s->shapes, &g->link, hash);
    return g;
}

void rt_group_hide(struct rt_group *g)
{
    if (g->home != NULL) {
        rt_chains_remove(g->home, &g->link);
        g->home = NULL;
    }
}

void rt_group_unref(struct rt_group *g)
{
    assert(g->refs > 0);
    g->refs--;
    if (g->refs > 0) {
        return;
    }
    rt_group_hide(g);
    while (g->slow != NULL) {
        struct rt_slow *s = g->slow;

        g->slow = s->next;
        rt_free(s);
    }
    rt_free(g);
}

void rt_shape_unref(struct rt_shape *g)
{
    assert(g->refs > 0);
    g->refs--;
    if (g->refs == 0) {
        if (g->home != NULL) {
            rt_chains_remove(g->home, &g->link);
        }
        rt_free(g);
    }
}
