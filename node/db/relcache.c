/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/relcache.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/db/relcache_in.h"

/* An answer: 1600 columns and the policies of a table, or all labels of its enums. Larger is none
 * that we would want to hold. */
#define ANSWER_MAX_BYTES (16u << 20)
/* NAMEDATALEN - 1: a longer text names no role. */
#define ROLE_MAX_BYTES 63u
/* Memory of a relation is taken in pieces of a usual table's size. */
#define REL_CHUNK_BYTES 2048u

/* A question whose answers have not come. */
struct fetch {
    struct fetch *next, *prev;
    struct rt_rels *owner;
    struct rt_arena mem; /* of `want` */
    struct rt_rel_want want;
    rt_rel_fn fn;
    void *ctx;
    json_t *table; /* NULL with why NULL: there is no such table */
    char *why;
};

struct rt_rels {
    const struct rt_config *cfg;
    struct rt_log *log;
    struct rt_types *types;
    struct fetch *fetches;
    uint64_t version; /* of the last relation */
    uint64_t live;    /* relations that are referred to */
};

struct rt_rels *rt_rels_new(const struct rt_config *cfg, struct rt_log *log)
{
    struct rt_rels *r = rt_calloc(1, sizeof *r);

    r->cfg = cfg;
    r->log = log;
    r->types = rt_types_new();
    return r;
}

static void free_fetch(struct fetch *f)
{
    if (f->prev != NULL) {
        f->prev->next = f->next;
    } else {
        f->owner->fetches = f->next;
    }
    if (f->next != NULL) {
        f->next->prev = f->prev;
    }
    json_decref(f->table);
    rt_arena_free(&f->mem);
    rt_free(f->why);
    rt_free(f);
}

void rt_rels_free(struct rt_rels *r)
{
    if (r == NULL) {
        return;
    }
    assert(r->live == 0);
    while (r->fetches != NULL) {
        free_fetch(r->fetches);
    }
    rt_types_free(r->types);
    rt_free(r);
}

static struct rt_rel_box *box_of(struct rt_relation *rel)
{
    return (struct rt_rel_box *)(void *)rel;
}

const struct rt_rel_sql *rt_rel_sql(const struct rt_relation *rel)
{
    return &((const struct rt_rel_box *)(const void *)rel)->sql;
}

struct rt_relation *rt_rel_ref(struct rt_relation *rel)
{
    rel->refs++;
    return rel;
}

void rt_rel_unref(struct rt_relation *rel)
{
    struct rt_rel_box *box;

    if (rel == NULL) {
        return;
    }
    assert(rel->refs > 0);
    if (--rel->refs == 0) {
        box = box_of(rel);
        box->owner->live--;
        rt_arena_free(&box->mem);
        rt_free(box);
    }
}

/* Keeps the first reason. */
static void fail(struct fetch *f, const char *why)
{
    if (f->why == NULL) {
        f->why = rt_strdup(why);
    }
}

/* The only value of the answer; NULL: there is no row, or `why` says what is wrong. */
static json_t *read_answer(struct fetch *f, const PGresult *res)
{
    json_error_t err;
    json_t *json;

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        fail(f, PQresultStatus(res) == PGRES_PIPELINE_ABORTED ? "an earlier statement failed"
                                                              : rt_pg_message(res));
        return NULL;
    }
    if (PQntuples(res) == 0) {
        return NULL;
    }
    if (PQnfields(res) != 1 || PQgetlength(res, 0, 0) > (int)ANSWER_MAX_BYTES) {
        fail(f, "the catalog says more of the table than can be held");
        return NULL;
    }
    json = json_loadb(PQgetvalue(res, 0, 0), (size_t)PQgetlength(res, 0, 0), 0, &err);
    if (json == NULL) {
        fail(f, "the catalog's answer is not valid JSON");
    }
    return json;
}

static void on_path(void *ctx, const PGresult *res)
{
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        fail(ctx, rt_pg_message(res));
    }
}

static void on_table(void *ctx, const PGresult *res)
{
    struct fetch *f = ctx;

    f->table = read_answer(f, res);
}

static struct rt_relation *make(struct fetch *f, const json_t *type_list)
{
    struct rt_rels *r = f->owner;
    struct rt_rel_box *box = rt_calloc(1, sizeof *box);

    rt_types_learn(r->types, type_list);
    box->owner = r;
    box->mem.chunk_bytes = REL_CHUNK_BYTES;
    box->rel.refs = 1;
    box->rel.version = ++r->version;
    r->live++;
    rt_rel_build(box, &f->want, f->table, type_list, r->types);
    rt_log(r->log, RT_DEBUG, "relation_read", rt_kv_b("schema", box->rel.schema),
           rt_kv_b("table", box->rel.table), rt_kv_u("oid", box->rel.oid),
           rt_kv_u("version", box->rel.version), rt_kv_u("columns", box->rel.ncolumns),
           rt_kv_u("roles", box->rel.nrights));
    return &box->rel;
}

/* The last answer: comes in any case, unless the connection was closed by us. */
static void on_types(void *ctx, const PGresult *res)
{
    struct fetch *f = ctx;
    rt_rel_fn fn = f->fn;
    void *fn_ctx = f->ctx;
    json_t *type_list = read_answer(f, res);
    struct rt_relation *rel = NULL;
    char *why;

    if (f->why == NULL && f->table != NULL) {
        rel = make(f, type_list);
    }
    json_decref(type_list);
    why = f->why;
    f->why = NULL;
    free_fetch(f);
    fn(fn_ctx, rel, why);
    rt_free(why);
}

/* Everything of `want` but the roles, which only the question needs. */
static struct fetch *new_fetch(struct rt_rels *r, const struct rt_rel_want *want)
{
    struct fetch *f = rt_calloc(1, sizeof *f);
    struct rt_stream_column *columns;

    f->owner = r;
    f->mem.chunk_bytes = REL_CHUNK_BYTES;
    f->want = *want;
    f->want.nroles = 0;
    f->want.roles = NULL;
    columns = rt_arena_take(&f->mem, want->ncolumns, sizeof *columns);
    for (uint32_t i = 0; i < want->ncolumns; i++) {
        columns[i] = want->columns[i];
        columns[i].name = rt_arena_copy(&f->mem, want->columns[i].name);
    }
    f->want.columns = columns;
    f->next = r->fetches;
    if (f->next != NULL) {
        f->next->prev = f;
    }
    r->fetches = f;
    return f;
}

/* Names that no role can have are left out; jansson refuses what is not UTF-8. */
static json_t *role_list(const struct rt_rel_want *want)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < want->nroles; i++) {
        struct pr_slice role = want->roles[i];

        if (role.n > 0 && role.n <= ROLE_MAX_BYTES && memchr(role.p, 0, role.n) == NULL) {
            (void)json_array_append_new(list, json_stringn((const char *)role.p, role.n));
        }
    }
    return list;
}

static json_t *type_oids(const struct rt_rel_want *want)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < want->ncolumns; i++) {
        (void)json_array_append_new(list, json_integer((json_int_t)want->columns[i].type));
    }
    return list;
}

/* Text of a list, which is taken; ends with free(). */
static char *dump(json_t *list)
{
    char *text = json_dumps(list, JSON_COMPACT);

    if (text == NULL) {
        abort(); /* only without memory */
    }
    json_decref(list);
    return text;
}

void rt_rel_fetch(struct rt_rels *r, struct rt_pg *pg, const struct rt_rel_want *want, rt_rel_fn fn,
                  void *ctx)
{
    struct fetch *f = new_fetch(r, want);
    char *roles = dump(role_list(want));
    char *types = dump(type_oids(want));
    char oid[16];

    f->fn = fn;
    f->ctx = ctx;
    (void)snprintf(oid, sizeof oid, "%lu", (unsigned long)want->oid);
    /* Without a path, policies and types are printed with their schemas. Ends with the segment. */
    rt_pg_query(pg, "select set_config('search_path', '', true)", 0, NULL, on_path, f);
    rt_pg_query(pg, rt_rel_table_sql, 3, (const char *const[]){oid, r->cfg->publication, roles},
                on_table, f);
    rt_pg_query(pg, rt_types_sql, 2, (const char *const[]){oid, types}, on_types, f);
    rt_pg_sync(pg);
    free(roles);
    free(types);
}
