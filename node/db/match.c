/* SPDX-License-Identifier: Apache-2.0 */
/* Matching: which attachments of a table does a change concern, without looking at the others. */
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/db/subs_in.h"

/* Column of the relation that a condition or index means; -1 if it is not there or of another kind
 * than when the values were normalized: then nothing may match. */
static int place_of(struct place *place, const struct rt_relation *rel, struct pr_slice column,
                    enum pr_pg_kind kind)
{
    if (place->version != rel->version) {
        int at = rt_relation_column(rel, column);

        place->version = rel->version;
        place->column = at >= 0 && pr_pg_base(rel->columns[at].type)->kind == kind ? at : -1;
    }
    return place->column;
}

/* Hash key of a value in s->key; empty with false if it is not a text of its type. */
static bool make_key(struct rt_subs *s, const struct pr_pg_type *t, struct pr_slice text,
                     struct pr_slice *key)
{
    struct pr_outbuf o;

    if (s->key_cap < text.n + PR_PG_KEY_EXTRA) {
        s->key_cap = 2 * (text.n + PR_PG_KEY_EXTRA);
        rt_free(s->key);
        s->key = rt_malloc(s->key_cap);
    }
    o = pr_outbuf(s->key, s->key_cap);
    if (pr_pg_key(&o, t, text) != PR_OK) {
        return false;
    }
    *key = pr_bytes(s->key, o.len);
    return true;
}

/* The condition whose values go into an index: eq before in, since it is one entry. */
static bool pick(const struct attachment *a, uint32_t *at)
{
    bool found = false;

    for (uint32_t i = 0; i < a->nconds; i++) {
        if (a->conds[i].negated || a->conds[i].asked) {
            continue;
        }
        if (a->conds[i].op == PR_F_EQ) {
            *at = i;
            return true;
        }
        if (a->conds[i].op == PR_F_IN && !found) {
            *at = i;
            found = true;
        }
    }
    return found;
}

static struct index *index_of(struct bucket *b, const struct cond *c)
{
    struct index *x = b->indexes;

    while (x != NULL && (x->kind != c->kind || !pr_slice_eq(x->column, c->column))) {
        x = x->next;
    }
    if (x == NULL) {
        x = rt_malloc(sizeof *x + c->column.n);
        *x = (struct index){.next = b->indexes, .kind = c->kind};
        if (c->column.n > 0) {
            memcpy(x + 1, c->column.p, c->column.n);
        }
        x->column = pr_bytes(x + 1, c->column.n);
        b->indexes = x;
    }
    return x;
}

/* Size of all keys of a condition, at most, and the number of its values. */
static size_t keys_size(struct pr_slice values, uint32_t *count)
{
    size_t size = 0;
    struct pr_slice v;
    bool null = false;

    *count = 0;
    while (pr_cond_values_next(&values, &v, &null) == 1) {
        size += v.n + PR_PG_KEY_EXTRA;
        (*count)++;
    }
    return size;
}

static bool has_entry(const struct attachment *a, struct pr_slice key)
{
    for (uint32_t i = 0; i < a->nentries; i++) {
        if (pr_slice_eq(a->entries[i].key, key)) {
            return true;
        }
    }
    return false;
}

static void add_entries(struct rt_subs *s, struct attachment *a, const struct pr_pg_type *t)
{
    const struct cond *c = &a->conds[a->indexed];
    struct pr_slice values = c->values;
    struct pr_slice v;
    struct pr_slice key;
    bool null = false;
    uint32_t count = 0;
    size_t size = keys_size(values, &count);
    uint8_t *at = NULL;

    a->entries = rt_malloc(count * sizeof a->entries[0] + size);
    at = (uint8_t *)(a->entries + count);
    while (pr_cond_values_next(&values, &v, &null) == 1) {
        struct entry *e = &a->entries[a->nentries];

        if (null || !make_key(s, t, v, &key) || has_entry(a, key)) {
            continue;
        }
        *e = (struct entry){.att = a, .key = pr_bytes(at, key.n)};
        memcpy(at, key.p, key.n);
        at += key.n;
        a->nentries++;
        rt_chains_add(&a->index->entries, &e->link, rt_subs_hash(s, e->key, pr_str("")));
    }
}

void rt_subs_index(struct rt_subs *s, struct attachment *a, const struct rt_relation *rel)
{
    struct bucket *b = &a->table->buckets[a->reg->bucket];

    if (pick(a, &a->indexed)) {
        const struct cond *c = &a->conds[a->indexed];

        a->index = index_of(b, c);
        add_entries(s, a, rel->columns[c->place.column].type);
        if (a->nentries > 0) {
            return;
        }
        /* Never true (in.(), or a value of another type): still found when the table's errors go
         * to everyone, so it stays attached, but in no bucket. */
        rt_subs_unindex(a);
        return;
    }
    a->next = b->list;
    if (b->list != NULL) {
        b->list->prev = a;
    }
    b->list = a;
}

static void drop_index(struct bucket *b, struct index *x)
{
    struct index **at = &b->indexes;

    while (*at != x) {
        at = &(*at)->next;
    }
    *at = x->next;
    rt_chains_free(&x->entries);
    rt_free(x);
}

void rt_subs_unindex(struct attachment *a)
{
    struct bucket *b = &a->table->buckets[a->reg->bucket];

    if (a->index != NULL) {
        for (uint32_t i = 0; i < a->nentries; i++) {
            rt_chains_remove(&a->index->entries, &a->entries[i].link);
        }
        if (a->index->entries.count == 0) {
            drop_index(b, a->index);
        }
        rt_free(a->entries);
        a->entries = NULL;
        a->nentries = 0;
        a->index = NULL;
        return;
    }
    if (a->prev != NULL) {
        a->prev->next = a->next;
    } else if (b->list == a) {
        b->list = a->next;
    }
    if (a->next != NULL) {
        a->next->prev = a->prev;
    }
    a->prev = NULL;
    a->next = NULL;
}

/* Of a condition for Postgres: may it hold? */
static bool holds(struct cond *c, const struct rt_change *ch)
{
    int at = place_of(&c->place, ch->rel, c->column, c->kind);
    struct pr_cond test = {.op = c->op, .negated = c->negated, .values = c->values};
    struct rt_value v;

    if (at < 0) {
        return false;
    }
    v = rt_change_value(ch, (uint32_t)at);
    if (v.kind == RT_V_DROPPED && c->op == PR_F_IS) {
        v.kind = RT_V_TEXT; /* not held, but not NULL */
    }
    if (v.kind != RT_V_TEXT && v.kind != RT_V_NULL) {
        return false;
    }
    return c->asked ||
           pr_filter_match(&test, ch->rel->columns[at].type, v.kind == RT_V_NULL ? NULL : &v.text);
}

/* A role that may read a column no more would learn by its filter what is in it. */
static bool may_filter(const struct attachment *a, const struct rt_relation *rel)
{
    const struct rt_rights *rights = rt_relation_rights(rel, a->reg->group->role);

    for (uint32_t i = 0; !rights->selects_table && i < a->nconds; i++) {
        struct cond *c = &a->conds[i];
        int at = place_of(&c->place, rel, c->column, c->kind);

        if (at < 0 || !rights->may_select[at]) {
            return false;
        }
    }
    return true;
}

static bool all_hold(const struct attachment *a, const struct rt_change *ch)
{
    for (uint32_t i = 0; i < a->nconds; i++) {
        bool known = a->index != NULL && i == a->indexed; /* the index has answered it */

        if (!known && !holds(&a->conds[i], ch)) {
            return false;
        }
    }
    return true;
}

/* Everything one call of rt_subs_match needs. */
struct matching {
    struct rt_subs *s;
    const struct rt_change *change;
    struct rt_matches *out;
    bool keyless;      /* 400 for all */
    bool unauthorized; /* some role gets 401 */
};

static bool reads_key(const struct rt_relation *rel, const struct rt_rights *rights)
{
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].primary_key && !rights->may_select[i]) {
            return false;
        }
    }
    return true;
}

/* What a registration's role gets: RT_MATCH_OK, an error, or -1 for nothing. */
static int error_of(const struct matching *m, const struct reg *r)
{
    const struct rt_rights *rights = rt_relation_rights(m->change->rel, r->group->role);

    if (rights == NULL) {
        return -1;
    }
    if (m->keyless) {
        return RT_MATCH_NO_KEY;
    }
    return m->unauthorized && !reads_key(m->change->rel, rights) ? RT_MATCH_UNAUTHORIZED
                                                                 : RT_MATCH_OK;
}

static void append(struct matching *m, const struct reg *r, int error, struct rt_sieve *sieve)
{
    struct rt_matches *out = m->out;

    if (out->count == out->cap) {
        out->cap = out->cap == 0 ? 16 : out->cap * 2;
        out->items = rt_realloc(out->items, out->cap * sizeof out->items[0]);
    }
    r->group->refs++;
    r->shape->refs++;
    if (sieve != NULL) {
        rt_sieve_ref(sieve);
    }
    out->items[out->count] = (struct rt_match){.boot = r->boot,
                                               .handle = r->handle,
                                               .error = (enum rt_match_error)error,
                                               .visible = true,
                                               .sieve = sieve,
                                               .group = r->group,
                                               .shape = r->shape};
    out->count++;
}

/* A candidate of the filters: taken if they hold and its role gets the row itself. */
static void consider(struct matching *m, const struct attachment *a)
{
    if (error_of(m, a->reg) == RT_MATCH_OK && all_hold(a, m->change) &&
        may_filter(a, m->change->rel)) {
        append(m, a->reg, RT_MATCH_OK, a->sieve);
    }
}

static void look_up(struct matching *m, struct index *x)
{
    const struct rt_relation *rel = m->change->rel;
    int at = place_of(&x->place, rel, x->column, x->kind);
    struct rt_value v;
    struct pr_slice key;
    uint64_t hash = 0;

    if (at < 0) {
        return;
    }
    v = rt_change_value(m->change, (uint32_t)at);
    if (v.kind != RT_V_TEXT || !make_key(m->s, rel->columns[at].type, v.text, &key)) {
        return;
    }
    hash = rt_subs_hash(m->s, key, pr_str(""));
    for (struct rt_link *l = rt_chains_find(&x->entries, hash); l != NULL; l = rt_chains_next(l)) {
        const struct entry *e = RT_LINKED(l, struct entry, link);

        if (pr_slice_eq(e->key, key)) {
            consider(m, e->att);
        }
    }
}

static void match_bucket(struct matching *m, const struct bucket *b)
{
    for (const struct attachment *a = b->list; a != NULL; a = a->next) {
        consider(m, a);
    }
    for (struct index *x = b->indexes; x != NULL; x = x->next) {
        look_up(m, x);
    }
}

/* Errors 400 and 401 go to every registration of the event, whatever its filters say. */
static void match_errors(struct matching *m, const struct table *t)
{
    for (const struct attachment *a = t->all; a != NULL; a = a->next_all) {
        const struct reg *r = a->reg;
        int error = RT_MATCH_OK;

        if (r->bucket != BUCKET_ALL && r->bucket != (uint32_t)m->change->kind) {
            continue;
        }
        error = error_of(m, r);
        if (error > RT_MATCH_OK) {
            append(m, r, error, NULL);
        }
    }
}

static bool has_key(const struct rt_relation *rel)
{
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].primary_key) {
            return true;
        }
    }
    return false;
}

static int sign(bool less, bool more)
{
    return less ? -1 : (more ? 1 : 0);
}

static int by_group(const void *pa, const void *pb)
{
    const struct rt_match *a = pa;
    const struct rt_match *b = pb;

    if (a->group != b->group) {
        return sign((uintptr_t)a->group < (uintptr_t)b->group, true);
    }
    if (a->boot != b->boot) {
        return sign(a->boot < b->boot, true);
    }
    return sign(a->handle<b->handle, a->handle> b->handle);
}

uint32_t rt_subs_match(struct rt_subs *s, const struct rt_change *c, struct rt_matches *out)
{
    struct matching m = {.s = s, .change = c, .out = out};
    const struct rt_relation *rel = c->rel;
    const struct table *t = rt_subs_table(s, rel->schema, rel->table);
    uint32_t before = out->count;

    if (t == NULL) {
        return 0;
    }
    if (c->kind != PR_K_DELETE) {
        m.keyless = !has_key(rel);
        for (uint32_t i = 0; i < rel->nrights; i++) {
            m.unauthorized = m.unauthorized || !reads_key(rel, &rel->rights[i]);
        }
    }
    if (m.keyless || m.unauthorized) {
        match_errors(&m, t);
    }
    if (!m.keyless) {
        match_bucket(&m, &t->buckets[c->kind]);
        match_bucket(&m, &t->buckets[BUCKET_ALL]);
    }
    if (out->count - before > 1) {
        qsort(out->items + before, out->count - before, sizeof out->items[0], by_group);
    }
    return out->count - before;
}

/* Do policies say what the match's group sees of the table? */
static bool under_rls(const struct rt_change *c, const struct rt_match *m)
{
    const struct rt_rights *rights = NULL;

    if (!c->rel->rls || m->error != RT_MATCH_OK) {
        return false;
    }
    rights = rt_relation_rights(c->rel, m->group->role);
    return rights == NULL || !rights->sees_all_rows;
}

bool rt_match_needs_rls(const struct rt_change *c, const struct rt_match *m)
{
    return (c->kind != PR_K_DELETE || c->judges_old) && !m->judged && under_rls(c, m);
}

static bool old_has_more_than_key(const struct rt_change *c)
{
    for (uint32_t i = 0; i < c->rel->ncolumns; i++) {
        if (!c->rel->columns[i].primary_key && rt_change_old(c, i).kind != RT_V_ABSENT) {
            return true;
        }
    }
    return false;
}

bool rt_match_old_needs_rls(const struct rt_change *c, const struct rt_match *m)
{
    return c->kind == PR_K_UPDATE && c->judges_old && !m->old_judged && under_rls(c, m) &&
           old_has_more_than_key(c);
}

void rt_matches_free(struct rt_matches *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        rt_group_unref(m->items[i].group);
        rt_shape_unref(m->items[i].shape);
        rt_sieve_unref(m->items[i].sieve);
    }
    rt_free(m->items);
    *m = (struct rt_matches){0};
}
