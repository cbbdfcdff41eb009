/* SPDX-License-Identifier: Apache-2.0 */
/* The registry: registrations, and the tables they are attached to. */
#include "node/db/subscriptions.h"

#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/base/alloc.h"
#include "node/db/subs_in.h"

uint64_t rt_subs_hash(const struct rt_subs *s, struct pr_slice a, struct pr_slice b)
{
    uint64_t first = XXH3_64bits_withSeed(a.p, a.n, s->seed);

    return b.n == 0 ? first : XXH3_64bits_withSeed(b.p, b.n, first);
}

struct rt_subs *rt_subs_new(void)
{
    struct rt_subs *s = rt_malloc(sizeof *s);

    *s = (struct rt_subs){.seed = (uint64_t)(uintptr_t)s * UINT64_C(0x9e3779b97f4a7c15)};
    return s;
}

static uint64_t reg_hash(const struct rt_subs *s, uint64_t boot, uint32_t handle)
{
    uint64_t words[2] = {boot, handle};

    return rt_subs_hash(s, pr_bytes(words, sizeof words), pr_str(""));
}

static struct reg *find_reg(const struct rt_subs *s, uint64_t boot, uint32_t handle)
{
    struct rt_link *l = rt_chains_find(&s->regs, reg_hash(s, boot, handle));

    for (; l != NULL; l = rt_chains_next(l)) {
        struct reg *r = RT_LINKED(l, struct reg, link);

        if (r->boot == boot && r->handle == handle) {
            return r;
        }
    }
    return NULL;
}

static uint32_t bucket_of(struct pr_slice event)
{
    if (pr_slice_is(event, "INSERT")) {
        return BUCKET_INSERT;
    }
    if (pr_slice_is(event, "UPDATE")) {
        return BUCKET_UPDATE;
    }
    return pr_slice_is(event, "DELETE") ? BUCKET_DELETE : BUCKET_ALL;
}

int rt_subs_add(struct rt_subs *s, const struct pr_chg_reg *reg)
{
    struct reg *r = NULL;

    if (find_reg(s, reg->boot, reg->handle) != NULL) {
        return RT_SUBS_EEXIST;
    }
    if (s->regs.count >= RT_SUBS_MAX) {
        return RT_SUBS_EFULL;
    }
    r = rt_malloc(sizeof *r);
    *r = (struct reg){.boot = reg->boot, .handle = reg->handle, .bucket = bucket_of(reg->event)};
    r->group = rt_subs_group(s, reg->role, reg->claims);
    r->shape = rt_subs_shape(s, reg);
    r->next = s->all;
    if (s->all != NULL) {
        s->all->prev = r;
    }
    s->all = r;
    rt_chains_add(&s->regs, &r->link, reg_hash(s, r->boot, r->handle));
    return 0;
}

struct table *rt_subs_table(const struct rt_subs *s, struct pr_slice schema, struct pr_slice name)
{
    struct rt_link *l = rt_chains_find(&s->tables, rt_subs_hash(s, name, schema));

    for (; l != NULL; l = rt_chains_next(l)) {
        struct table *t = RT_LINKED(l, struct table, link);

        if (pr_slice_eq(t->schema, schema) && pr_slice_eq(t->name, name)) {
            return t;
        }
    }
    return NULL;
}

static struct table *table_of(struct rt_subs *s, struct pr_slice schema, struct pr_slice name)
{
    struct table *t = rt_subs_table(s, schema, name);
    uint8_t *at = NULL;

    if (t != NULL) {
        return t;
    }
    t = rt_malloc(sizeof *t + schema.n + name.n);
    *t = (struct table){0};
    at = (uint8_t *)(t + 1);
    t->schema = rt_subs_keep(&at, schema);
    t->name = rt_subs_keep(&at, name);
    rt_chains_add(&s->tables, &t->link, rt_subs_hash(s, name, schema));
    return t;
}

static void free_table(struct rt_subs *s, struct table *t)
{
    assert(t->all == NULL);
    rt_chains_remove(&s->tables, &t->link);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        assert(t->buckets[i].list == NULL && t->buckets[i].indexes == NULL);
    }
    rt_free(t);
}

static void free_attachment(struct rt_subs *s, struct attachment *a)
{
    struct table *t = a->table;

    rt_subs_unindex(a);
    if (a->prev_all != NULL) {
        a->prev_all->next_all = a->next_all;
    } else {
        t->all = a->next_all;
    }
    if (a->next_all != NULL) {
        a->next_all->prev_all = a->prev_all;
    }
    rt_sieve_unref(a->sieve);
    rt_free(a);
    if (t->all == NULL) {
        free_table(s, t);
    }
}

/* One block: the attachment, its conditions and their texts. */
static struct attachment *new_attachment(const struct rt_sub_cond *conds, uint32_t nconds)
{
    size_t size = sizeof(struct attachment) + nconds * sizeof(struct cond);
    struct attachment *a = NULL;
    uint8_t *at = NULL;

    for (uint32_t i = 0; i < nconds; i++) {
        size += conds[i].column.n + conds[i].values.n;
    }
    a = rt_malloc(size);
    *a = (struct attachment){.nconds = nconds, .conds = (struct cond *)(void *)(a + 1)};
    at = (uint8_t *)(a->conds + nconds);
    for (uint32_t i = 0; i < nconds; i++) {
        a->conds[i] =
            (struct cond){.op = conds[i].op, .negated = conds[i].negated, .asked = conds[i].asked};
        a->conds[i].column = rt_subs_keep(&at, conds[i].column);
        a->conds[i].values = rt_subs_keep(&at, conds[i].values);
    }
    return a;
}

static bool set_kinds(struct attachment *a, const struct rt_relation *rel)
{
    for (uint32_t i = 0; i < a->nconds; i++) {
        int column = rt_relation_column(rel, a->conds[i].column);

        if (column < 0) {
            return false;
        }
        a->conds[i].kind = pr_pg_base(rel->columns[column].type)->kind;
        a->conds[i].place = (struct place){.version = rel->version, .column = column};
    }
    return true;
}

static void detach(struct rt_subs *s, struct reg *r, struct pr_slice schema, struct pr_slice table)
{
    for (struct attachment **at = &r->attachments; *at != NULL; at = &(*at)->next_of_reg) {
        struct attachment *a = *at;

        if (pr_slice_eq(a->table->name, table) && pr_slice_eq(a->table->schema, schema)) {
            *at = a->next_of_reg;
            free_attachment(s, a);
            return;
        }
    }
}

int rt_subs_attach(struct rt_subs *s, uint64_t boot, uint32_t handle, const struct rt_relation *rel,
                   const struct rt_sub_filter *f)
{
    struct reg *r = find_reg(s, boot, handle);
    struct attachment *a = NULL;

    if (r == NULL) {
        return RT_SUBS_ENOENT;
    }
    a = new_attachment(f->conds, f->nconds);
    if (!set_kinds(a, rel)) {
        rt_free(a);
        return RT_SUBS_ENOENT;
    }
    detach(s, r, rel->schema, rel->table);
    if (r->group->home == NULL) { /* it was cancelled on a table: who begins again is of another */
        struct rt_group *fresh = rt_subs_group(s, r->group->role, r->group->claims);

        rt_group_unref(r->group);
        r->group = fresh;
    }
    if (f->nparts > 0) {
        a->sieve = rt_sieve_of(&s->sieves, rel, r->group->role, f->parts, f->nparts);
    }
    a->reg = r;
    a->oid = rel->oid;
    a->table = table_of(s, rel->schema, rel->table);
    a->next_of_reg = r->attachments;
    r->attachments = a;
    a->next_all = a->table->all;
    if (a->next_all != NULL) {
        a->next_all->prev_all = a;
    }
    a->table->all = a;
    rt_subs_index(s, a, rel);
    return 0;
}

/* Is it one of the tables, and by the name that was attached last? Newer ones stand before it. */
static bool stays(const struct attachment *a, const uint32_t *oids, uint32_t count)
{
    uint32_t i = 0;

    for (const struct attachment *b = a->reg->attachments; b != a; b = b->next_of_reg) {
        if (b->oid == a->oid) {
            return false;
        }
    }
    while (i < count && oids[i] != a->oid) {
        i++;
    }
    return i < count;
}

void rt_subs_retain(struct rt_subs *s, uint64_t boot, uint32_t handle, const uint32_t *oids,
                    uint32_t count)
{
    struct reg *r = find_reg(s, boot, handle);
    struct attachment **at = r == NULL ? NULL : &r->attachments;

    while (at != NULL && *at != NULL) {
        struct attachment *a = *at;

        if (stays(a, oids, count)) {
            at = &a->next_of_reg;
        } else {
            *at = a->next_of_reg;
            free_attachment(s, a);
        }
    }
}

static void free_reg(struct rt_subs *s, struct reg *r)
{
    while (r->attachments != NULL) {
        struct attachment *a = r->attachments;

        r->attachments = a->next_of_reg;
        free_attachment(s, a);
    }
    rt_chains_remove(&s->regs, &r->link);
    if (r->prev != NULL) {
        r->prev->next = r->next;
    } else {
        s->all = r->next;
    }
    if (r->next != NULL) {
        r->next->prev = r->prev;
    }
    rt_group_unref(r->group);
    rt_shape_unref(r->shape);
    rt_free(r);
}

int rt_subs_remove(struct rt_subs *s, uint64_t boot, uint32_t handle)
{
    struct reg *r = find_reg(s, boot, handle);

    if (r == NULL) {
        return RT_SUBS_ENOENT;
    }
    free_reg(s, r);
    return 0;
}

uint32_t rt_subs_drop_boot(struct rt_subs *s, uint64_t boot)
{
    uint32_t count = 0;
    struct reg *next = NULL;

    for (struct reg *r = s->all; r != NULL; r = next) {
        next = r->next;
        if (r->boot == boot) {
            free_reg(s, r);
            count++;
        }
    }
    return count;
}

/* An attachment with that sieve, or of that group on that table. */
struct wanted {
    const struct rt_sieve *sieve;
    const struct rt_group *group;
    const struct table *table;
};

static bool has(const struct reg *r, const struct wanted *w)
{
    for (const struct attachment *a = r->attachments; a != NULL; a = a->next_of_reg) {
        if (w->sieve != NULL ? a->sieve == w->sieve
                             : r->group == w->group && a->table == w->table) {
            return true;
        }
    }
    return false;
}

static void each_that(const struct rt_subs *s, const struct wanted *w,
                      void (*fn)(void *ctx, uint64_t boot, uint32_t handle), void *ctx)
{
    struct {
        uint64_t boot;
        uint32_t handle;
    } *users = rt_malloc(s->regs.count * sizeof *users);
    size_t count = 0;

    for (const struct reg *r = s->all; r != NULL; r = r->next) {
        if (has(r, w)) {
            users[count].boot = r->boot;
            users[count].handle = r->handle;
            count++;
        }
    }
    for (size_t i = 0; i < count; i++) {
        fn(ctx, users[i].boot, users[i].handle);
    }
    rt_free(users);
}

void rt_subs_each_of(const struct rt_subs *s, const struct rt_sieve *sieve,
                     void (*fn)(void *ctx, uint64_t boot, uint32_t handle), void *ctx)
{
    each_that(s, &(struct wanted){.sieve = sieve}, fn, ctx);
}

void rt_subs_each_in(const struct rt_subs *s, const struct rt_group *group,
                     const struct rt_relation *rel,
                     void (*fn)(void *ctx, uint64_t boot, uint32_t handle), void *ctx)
{
    struct wanted w = {.group = group, .table = rt_subs_table(s, rel->schema, rel->table)};

    each_that(s, &w, fn, ctx);
}

void rt_subs_clear(struct rt_subs *s)
{
    while (s->all != NULL) {
        free_reg(s, s->all);
    }
}

void rt_subs_free(struct rt_subs *s)
{
    struct rt_link *l = NULL;

    rt_subs_clear(s);
    /* What is left belongs to matches that are still out. */
    while ((l = rt_chains_any(&s->groups)) != NULL) {
        rt_group_hide(RT_LINKED(l, struct rt_group, link));
    }
    while ((l = rt_chains_any(&s->shapes)) != NULL) {
        rt_chains_remove(&s->shapes, l);
        RT_LINKED(l, struct rt_shape, link)->home = NULL;
    }
    while ((l = rt_chains_any(&s->sieves)) != NULL) {
        rt_sieve_hide(RT_LINKED(l, struct rt_sieve, link));
    }
    rt_chains_free(&s->sieves);
    rt_chains_free(&s->regs);
    rt_chains_free(&s->tables);
    rt_chains_free(&s->groups);
    rt_chains_free(&s->shapes);
    rt_free(s->key);
    rt_free(s);
}

uint32_t rt_subs_count(const struct rt_subs *s)
{
    return (uint32_t)s->regs.count;
}

bool rt_subs_concern(const struct rt_subs *s, struct pr_slice schema, struct pr_slice table)
{
    return rt_subs_table(s, schema, table) != NULL;
}

static bool role_before(const struct attachment *all, const struct attachment *a)
{
    for (const struct attachment *b = all; b != a; b = b->next_all) {
        if (pr_slice_eq(b->reg->group->role, a->reg->group->role)) {
            return true;
        }
    }
    return false;
}

void rt_subs_roles(const struct rt_subs *s, struct pr_slice schema, struct pr_slice table,
                   void (*fn)(void *ctx, struct pr_slice role), void *ctx)
{
    const struct table *t = rt_subs_table(s, schema, table);

    for (const struct attachment *a = t == NULL ? NULL : t->all; a != NULL; a = a->next_all) {
        if (!role_before(t->all, a)) {
            fn(ctx, a->reg->group->role);
        }
    }
}
