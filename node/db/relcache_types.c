/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/relcache_in.h"

#include <stdalign.h>
#include <string.h>

#include "node/base/alloc.h"

#define BUCKETS 256u
/* Types nest at most PR_PG_DEPTH_MAX deep where they can be rendered, each level being an array of
 * domains of composites at worst. What lies deeper stays PR_PG_OTHER. */
#define PASSES (3u * PR_PG_DEPTH_MAX)
/* A description is a few dozen bytes; enums and composites take more. */
#define DESC_CHUNK_BYTES 256u

struct rt_arena_chunk {
    struct rt_arena_chunk *next;
    size_t used, cap;
    alignas(max_align_t) uint8_t data[];
};

void *rt_arena_take(struct rt_arena *a, size_t count, size_t size)
{
    const size_t align = alignof(max_align_t);
    struct rt_arena_chunk *c = a->head;
    size_t n;
    void *p;

    if (size != 0 && count > (SIZE_MAX - sizeof *c - align) / size) {
        return rt_calloc(count, size); /* says that it cannot be, and aborts */
    }
    n = (count * size + align - 1) / align * align;
    if (c == NULL || c->cap - c->used < n) {
        size_t cap = n > a->chunk_bytes ? n : a->chunk_bytes;

        c = rt_malloc(sizeof *c + cap);
        c->next = a->head;
        c->used = 0;
        c->cap = cap;
        a->head = c;
    }
    p = c->data + c->used;
    c->used += n;
    memset(p, 0, n);
    return p;
}

struct pr_slice rt_arena_copy(struct rt_arena *a, struct pr_slice s)
{
    uint8_t *p;

    if (s.n == 0) {
        return pr_str("");
    }
    p = rt_arena_take(a, s.n, 1);
    memcpy(p, s.p, s.n);
    return pr_bytes(p, s.n);
}

void rt_arena_free(struct rt_arena *a)
{
    while (a->head != NULL) {
        struct rt_arena_chunk *c = a->head;

        a->head = c->next;
        rt_free(c);
    }
}

static struct pr_slice text_of(const json_t *v)
{
    return json_is_string(v) ? pr_bytes(json_string_value(v), json_string_length(v)) : pr_str("");
}

static uint32_t u32_of(const json_t *v)
{
    json_int_t n = json_integer_value(v);

    return n > 0 && n <= (json_int_t)UINT32_MAX ? (uint32_t)n : 0;
}

struct pr_slice rt_json_text(const json_t *object, const char *key)
{
    return text_of(json_object_get(object, key));
}

uint32_t rt_json_u32(const json_t *object, const char *key)
{
    return u32_of(json_object_get(object, key));
}

bool rt_json_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

/* An array is a type that is its element's typarray: point or oidvector have elements, too, but
 * their text is not an array's. to_jsonb() looks for a cast to json where a type is neither
 * built-in, array nor composite. */
const char rt_types_sql[] =
    "with recursive reached(oid) as ("
    " (select a.atttypid from pg_attribute a"
    "   where a.attrelid = $1::oid and a.attnum > 0 and not a.attisdropped"
    "  union select x::oid from jsonb_array_elements_text($2::jsonb) x)"
    " union"
    " select d.oid from reached r join pg_type t on t.oid = r.oid cross join lateral ("
    "  select e.oid from pg_type e where e.oid = t.typelem and e.typarray = t.oid"
    "  union all select t.typbasetype where t.typtype = 'd'"
    "  union all select a.atttypid from pg_attribute a"
    "   where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0 and not a.attisdropped"
    " ) d) "
    "select coalesce(json_agg(json_build_object("
    " 'oid', t.oid::int8, 'name', t.typname, 'sql', format_type(t.oid, -1),"
    " 'schema', t.typnamespace::regnamespace::text,"
    " 'kind', case when e.oid is not null then 'a' else t.typtype::text end,"
    " 'elem', coalesce(e.oid, t.typbasetype)::int8, 'delim', e.typdelim::text,"
    " 'json', t.oid >= 16384 and exists (select from pg_cast k where k.castsource = t.oid"
    "   and k.casttarget = 'json'::regtype and k.castmethod = 'f'),"
    " 'labels', (select json_agg(l.enumlabel order by l.enumsortorder) from pg_enum l"
    "   where l.enumtypid = t.oid),"
    " 'fields', (select json_agg(json_build_array(a.attname, a.atttypid::int8) order by a.attnum)"
    "   from pg_attribute a where t.typtype = 'c' and a.attrelid = t.typrelid and a.attnum > 0"
    "    and not a.attisdropped))), '[]')::text"
    " from reached r join pg_type t on t.oid = r.oid"
    " left join pg_type e on e.oid = t.typelem and e.typarray = t.oid";

struct desc {
    struct desc *next;
    struct rt_arena mem;
    struct pr_pg_type t;
};

struct rt_types {
    struct desc *buckets[BUCKETS]; /* newest first */
};

struct rt_types *rt_types_new(void)
{
    return rt_calloc(1, sizeof(struct rt_types));
}

static void free_desc(struct desc *d)
{
    rt_arena_free(&d->mem);
    rt_free(d);
}

void rt_types_free(struct rt_types *ts)
{
    for (uint32_t i = 0; ts != NULL && i < BUCKETS; i++) {
        while (ts->buckets[i] != NULL) {
            struct desc *d = ts->buckets[i];

            ts->buckets[i] = d->next;
            free_desc(d);
        }
    }
    rt_free(ts);
}

static struct desc *newest(const struct rt_types *ts, uint32_t oid)
{
    struct desc *d = ts->buckets[oid % BUCKETS];

    while (d != NULL && d->t.oid != oid) {
        d = d->next;
    }
    return d;
}

static struct desc *new_desc(uint32_t oid, enum pr_pg_kind kind)
{
    struct desc *d = rt_calloc(1, sizeof *d);

    d->mem.chunk_bytes = DESC_CHUNK_BYTES;
    d->t.oid = oid;
    d->t.kind = kind;
    return d;
}

/* Parts are compared by address: they were learned before. */
static bool same(const struct pr_pg_type *a, const struct pr_pg_type *b)
{
    if (a->kind != b->kind || a->delim != b->delim || a->elem != b->elem ||
        a->nfields != b->nfields || a->nlabels != b->nlabels) {
        return false;
    }
    for (uint32_t i = 0; i < a->nfields; i++) {
        if (a->fields[i].type != b->fields[i].type ||
            !pr_slice_eq(a->fields[i].name, b->fields[i].name)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < a->nlabels; i++) {
        if (!pr_slice_eq(a->labels[i], b->labels[i])) {
            return false;
        }
    }
    return true;
}

/* Takes `d`; gives the description that is to be used. */
static const struct pr_pg_type *keep(struct rt_types *ts, struct desc *d)
{
    struct desc *old = newest(ts, d->t.oid);

    if (old != NULL && same(&old->t, &d->t)) {
        free_desc(d);
        return &old->t;
    }
    d->next = ts->buckets[d->t.oid % BUCKETS];
    ts->buckets[d->t.oid % BUCKETS] = d;
    return &d->t;
}

const struct pr_pg_type *rt_types_get(struct rt_types *ts, uint32_t oid)
{
    const struct desc *d = newest(ts, oid);

    return d != NULL ? &d->t : keep(ts, new_desc(oid, pr_pg_builtin(oid)));
}

const json_t *rt_types_find(const json_t *list, uint32_t oid)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *item = json_array_get(list, i);

        if (rt_json_u32(item, "oid") == oid) {
            return item;
        }
    }
    return NULL;
}

/* One learning: what of the answer has its description. */
struct learn {
    struct rt_types *ts;
    size_t n;
    struct {
        uint32_t oid;
        const json_t *json;
        const struct pr_pg_type *type;
    } * items;
};

/* Description of a part; NULL: later in this learning. */
static const struct pr_pg_type *part(const struct learn *l, uint32_t oid)
{
    for (size_t i = 0; i < l->n; i++) {
        if (l->items[i].oid == oid) {
            return l->items[i].type;
        }
    }
    return rt_types_get(l->ts, oid);
}

static void put_labels(struct desc *d, const json_t *list)
{
    size_t n = json_array_size(list);
    struct pr_slice *labels = rt_arena_take(&d->mem, n, sizeof *labels);

    for (size_t i = 0; i < n; i++) {
        labels[i] = rt_arena_copy(&d->mem, text_of(json_array_get(list, i)));
    }
    d->t.labels = labels;
    d->t.nlabels = (uint32_t)n;
}

/* False: a field's type is not there yet. */
static bool put_fields(const struct learn *l, struct desc *d, const json_t *list)
{
    size_t n = json_array_size(list);
    struct pr_pg_field *fields = rt_arena_take(&d->mem, n, sizeof *fields);

    for (size_t i = 0; i < n; i++) {
        const json_t *pair = json_array_get(list, i);

        fields[i].type = part(l, u32_of(json_array_get(pair, 1)));
        if (fields[i].type == NULL) {
            return false;
        }
        fields[i].name = rt_arena_copy(&d->mem, text_of(json_array_get(pair, 0)));
    }
    d->t.fields = fields;
    d->t.nfields = (uint32_t)n;
    return true;
}

static bool put_elem(const struct learn *l, struct desc *d, const json_t *j)
{
    struct pr_slice delim = rt_json_text(j, "delim");

    d->t.elem = part(l, rt_json_u32(j, "elem"));
    if (d->t.kind == PR_PG_ARRAY) {
        d->t.delim = delim.n == 1 ? delim.p[0] : ',';
    }
    return d->t.elem != NULL;
}

/* NULL: a part of it is not there yet. */
static struct desc *describe(const struct learn *l, const json_t *j)
{
    uint32_t oid = rt_json_u32(j, "oid");
    struct pr_slice kind = rt_json_text(j, "kind");
    struct desc *d = new_desc(oid, PR_PG_OTHER);
    bool ready = true;

    if (pr_slice_is(kind, "a")) {
        d->t.kind = PR_PG_ARRAY;
        ready = put_elem(l, d, j);
    } else if (pr_slice_is(kind, "d")) {
        d->t.kind = PR_PG_DOMAIN;
        ready = put_elem(l, d, j);
    } else if (pr_slice_is(kind, "c")) {
        d->t.kind = PR_PG_COMPOSITE;
        ready = put_fields(l, d, json_object_get(j, "fields"));
    } else if (rt_json_true(j, "json")) {
        d->t.kind = PR_PG_SQL;
    } else if (pr_slice_is(kind, "e")) {
        d->t.kind = PR_PG_ENUM;
        put_labels(d, json_object_get(j, "labels"));
    } else {
        d->t.kind = pr_pg_builtin(oid);
    }
    if (!ready) {
        free_desc(d);
        return NULL;
    }
    return d;
}

void rt_types_learn(struct rt_types *ts, const json_t *list)
{
    struct learn l = {.ts = ts, .n = json_array_size(list)};
    bool more = true;

    l.items = rt_calloc(l.n, sizeof *l.items);
    for (size_t i = 0; i < l.n; i++) {
        l.items[i].json = json_array_get(list, i);
        l.items[i].oid = rt_json_u32(l.items[i].json, "oid");
    }
    for (uint32_t pass = 0; more && pass < PASSES; pass++) {
        more = false;
        for (size_t i = 0; i < l.n; i++) {
            struct desc *d = l.items[i].type == NULL ? describe(&l, l.items[i].json) : NULL;

            if (d != NULL) {
                l.items[i].type = keep(ts, d);
                more = true;
            }
        }
    }
    for (size_t i = 0; i < l.n; i++) {
        if (l.items[i].type == NULL) {
            l.items[i].type = keep(ts, new_desc(l.items[i].oid, PR_PG_OTHER));
        }
    }
    rt_free(l.items);
}
