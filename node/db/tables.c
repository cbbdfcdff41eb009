/* SPDX-License-Identifier: Apache-2.0 */
/* tables.c - the tables of the publication and of the stream, and their relations. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/db/db_in.h"
#include "node/db/rls_in.h"

/* Roles attached to one table whose rights are read: more distinct ones see nothing of it. */
#define ROLES_MAX 256u

struct rt_table *rt_tables_of(struct rt_db *d, uint32_t oid)
{
    struct rt_table *t = d->tables;

    while (t != NULL && t->oid != oid) {
        t = t->next;
    }
    return t;
}

struct rt_table *rt_tables_add(struct rt_db *d, uint32_t oid, struct pr_slice schema,
                               struct pr_slice name)
{
    struct rt_table *t = rt_tables_of(d, oid);

    if (t == NULL) {
        t = rt_calloc(1, sizeof *t);
        t->oid = oid;
        t->next = d->tables;
        d->tables = t;
    } else if (pr_slice_is(schema, t->schema) && pr_slice_is(name, t->name)) {
        return t;
    } else { /* renamed */
        rt_free(t->schema);
        rt_free(t->name);
        rt_rel_unref(t->rel);
        t->rel = NULL;
        t->messages++; /* an answer that is on its way may have the name of before */
        d->tables_renamed = true;
    }
    t->schema = rt_strndup(schema.p, schema.n);
    t->name = rt_strndup(name.p, name.n);
    return t;
}

void rt_tables_free(struct rt_db *d)
{
    while (d->tables != NULL) {
        struct rt_table *t = d->tables;

        d->tables = t->next;
        rt_rel_unref(t->rel);
        rt_free(t->schema);
        rt_free(t->name);
        rt_free(t->columns);
        rt_free(t->names);
        rt_free(t);
    }
}

void rt_tables_relation(struct rt_db *d, const struct pr_pgo_relation *m)
{
    struct pr_slice schema = m->schema.n > 0 ? m->schema : pr_str("pg_catalog");
    struct rt_table *t = rt_tables_add(d, m->oid, schema, m->name);
    struct pr_slice list = m->columns;
    struct pr_pgo_column c;
    uint8_t *names;

    rt_free(t->columns);
    rt_free(t->names);
    t->columns = rt_calloc(m->count, sizeof *t->columns);
    names = rt_malloc(list.n); /* longer than the names in it */
    t->names = names;
    t->ncolumns = 0;
    t->messages++;
    t->xid = d->stream.xid;
    t->gone = false;
    t->identity = m->identity;
    t->cast = rt_message_map(m);
    while (t->ncolumns < m->count && pr_pgo_columns_next(&list, &c) == 1) {
        struct rt_stream_column *to = &t->columns[t->ncolumns++];

        memcpy(names, c.name.p, c.name.n);
        to->name = pr_bytes(names, c.name.n);
        to->type = c.type;
        to->identity = c.identity;
        names += c.name.n;
    }
    if (!t->published || d->tables_renamed) { /* it may have been added just now */
        rt_tables_poll(d);
    }
    /* Rows behind this message are read with what the catalog says now. */
    rt_rel_unref(t->rel);
    t->rel = NULL;
    if (rt_subs_concern(d->subs, pr_str(t->schema), pr_str(t->name))) {
        rt_db_regs_again(d, t);
    }
}

/* A composite has another number of fields, here or deeper. Scratch of that size is always enough.
 */
static bool fits_nested(const struct pr_pg_type *type, struct pr_slice text)
{
    size_t n = text.n * PR_PG_DEPTH_MAX + 1;
    uint8_t *bytes = rt_malloc(n);
    struct pr_outbuf scratch = pr_outbuf(bytes, n), nowhere = pr_outbuf(NULL, 0);
    int err = pr_pg_json(&nowhere, type, text, &scratch);

    rt_free(bytes);
    return err != PR_ESYNTAX;
}

static bool fits(const struct pr_pg_type *type, struct pr_slice text)
{
    type = pr_pg_base(type);
    if (type->kind == PR_PG_COMPOSITE ||
        (type->kind == PR_PG_ARRAY && pr_pg_base(type->elem)->kind == PR_PG_COMPOSITE)) {
        return fits_nested(type, text);
    }
    for (uint32_t i = 0; type->kind == PR_PG_ENUM && i < type->nlabels; i++) {
        if (pr_slice_eq(type->labels[i], text)) {
            return true;
        }
    }
    return type->kind != PR_PG_ENUM;
}

/* Postgres sends no Relation message when a type is altered: what can be seen of that is looked for
 * here, the rest (an attribute's new name) is found with the roles. */
bool rt_tables_fits(const struct rt_relation *rel, const struct pr_pgo_tuple *t)
{
    struct pr_slice list = t->values;
    struct pr_pgo_value v;

    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].generated || pr_pgo_values_next(&list, &v) != 1) {
            continue;
        }
        if (v.kind == PR_PGO_TEXT && v.text.n <= RT_VALUE_MAX &&
            !fits(rel->columns[i].type, v.text)) {
            return false;
        }
    }
    return true;
}

/* One fetch under way. */
struct fetch {
    struct rt_db *d;
    uint32_t oid;
    uint32_t messages; /* of the table when it was asked */
    char *role;
    rt_table_fn fn;
    void *ctx;
};

static void on_relation(void *ctx, struct rt_relation *rel, const char *why)
{
    struct fetch *f = ctx;
    struct rt_db *d = f->d;
    struct rt_table *t = rt_tables_of(d, f->oid);
    rt_table_fn fn = f->fn;
    void *fn_ctx = f->ctx;

    if (t != NULL && rel != NULL && f->messages != t->messages && d->control != NULL) {
        /* A Relation message came meanwhile: this answer may be older than it. */
        rt_rel_unref(rel);
        rt_tables_fetch(d, t, pr_str(f->role), fn, fn_ctx);
        rt_free(f->role);
        rt_free(f);
        return;
    }
    rt_free(f->role);
    rt_free(f);
    if (t != NULL) {
        t->fetching = false;
        t->gone = rel == NULL && why == NULL;
        rt_rel_unref(t->rel);
        t->rel = rel;
    } else {
        rt_rel_unref(rel);
    }
    fn(fn_ctx, t != NULL ? rel : NULL, why);
    /* Whoever asked: rows and registrations may have waited for this table. */
    rt_stream_more(d);
    if (rel !=
        NULL) { /* after a failure the next look at the publication tries again, not at once */
        rt_db_regs_kick(d);
    }
}

struct roles {
    struct pr_slice at[ROLES_MAX];
    uint32_t count;
};

static void add_role(void *ctx, struct pr_slice role)
{
    struct roles *r = ctx;

    for (uint32_t i = 0; i < r->count; i++) {
        if (pr_slice_eq(r->at[i], role)) {
            return;
        }
    }
    if (r->count < ROLES_MAX) {
        r->at[r->count++] = role;
    }
}

static void fetch(struct fetch *f, struct rt_table *t)
{
    struct roles *roles = rt_calloc(1, sizeof *roles);
    struct rt_rel_want want = {
        .oid = t->oid, .ncolumns = t->ncolumns, .columns = t->columns, .identity = t->identity};

    f->messages = t->messages;
    if (f->role[0] != '\0') {
        add_role(roles, pr_str(f->role));
    }
    rt_subs_roles(f->d->subs, pr_str(t->schema), pr_str(t->name), add_role, roles);
    if (t->rel != NULL) {
        for (uint32_t i = 0; i < t->rel->nrights; i++) {
            add_role(roles, t->rel->rights[i].role);
        }
    }
    want.nroles = roles->count;
    want.roles = roles->at;
    rt_rel_fetch(f->d->rels, f->d->control, &want, on_relation, f);
    rt_free(roles);
}

static void ask_visible(struct fetch *f, uint32_t xid);

static void on_visible(void *ctx, const PGresult *res)
{
    struct fetch *f = ctx;
    struct rt_table *t = rt_tables_of(f->d, f->oid);
    bool asked = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK;

    if (t == NULL || f->d->control == NULL || rt_pg_is_end(res)) {
        on_relation(f, NULL, "the connection to the database ended");
    } else if (!asked) { /* the catalog may still be that of before */
        on_relation(f, NULL, rt_pg_message(res));
    } else if (strcmp(PQgetvalue(res, 0, 0), "t") != 0) {
        ask_visible(f, t->xid);
    } else {
        t->xid = 0;
        fetch(f, t);
    }
}

/* The stream may tell of a transaction before a query can see what it did. */
static void ask_visible(struct fetch *f, uint32_t xid)
{
    static const char sql[] =
        "with g(v) as (" RT_GUARD_SQL
        ") select v, case when not v then pg_catalog.pg_sleep(0.005) end from g";
    char list[16];
    const char *params[] = {list};

    (void)snprintf(list, sizeof list, "{%u}", xid);
    rt_pg_query(f->d->control, sql, 1, params, on_visible, f);
    rt_pg_sync(f->d->control);
}

void rt_tables_fetch(struct rt_db *d, struct rt_table *t, struct pr_slice role, rt_table_fn fn,
                     void *ctx)
{
    struct fetch *f = rt_malloc(sizeof *f);

    assert(d->control != NULL);
    *f = (struct fetch){.d = d, .oid = t->oid, .fn = fn, .ctx = ctx};
    f->role = rt_strndup(role.p, role.n);
    t->fetching = true;
    if (t->xid != 0) {
        ask_visible(f, t->xid);
    } else {
        fetch(f, t);
    }
}

static void on_published(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    bool changed = d->polls_done == 0;
    int n = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK ? PQntuples(res) : -1;

    d->tables_asked = false;
    if (n < 0) {
        return; /* asked again with the next poll or connection */
    }
    d->polls_done = d->polls_started;
    /* `published` is flipped twice: what is not in the answer any more stays off. */
    for (struct rt_table *t = d->tables; t != NULL; t = t->next) {
        int i = 0;

        while (i < n && (uint32_t)rt_pg_number(PQgetvalue(res, i, 0)) != t->oid) {
            i++;
        }
        changed = changed || (t->published && i == n);
        t->published = t->published && i < n;
    }
    for (int i = 0; i < n; i++) {
        struct rt_table *t =
            rt_tables_add(d, (uint32_t)rt_pg_number(PQgetvalue(res, i, 0)),
                          pr_str(PQgetvalue(res, i, 1)), pr_str(PQgetvalue(res, i, 2)));

        changed = changed || !t->published;
        t->published = true;
    }
    changed = changed || d->tables_renamed;
    d->tables_renamed = false;
    rt_db_tables_known(d, changed);
    if (d->tables_again) {
        rt_tables_poll(d);
    }
}

/*
 * Roles, memberships, schemas, the functions that policies call and the parts of types have no
 * Relation message, and of a partitioned table its root has none: pgoutput watches the partition
 * that a row is in. Every table is read anew when they change, so that who lost a right sees
 * nothing after the next look (every 5 s).
 */
static void on_roles(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    const char *now;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        return;
    }
    now = PQgetvalue(res, 0, 0);
    if (d->roles[0] != '\0' && strcmp(d->roles, now) != 0) {
        for (struct rt_table *t = d->tables; t != NULL; t = t->next) {
            rt_rel_unref(t->rel);
            t->rel = NULL;
            t->messages++; /* an answer that is on its way may be older */
        }
    }
    (void)snprintf(d->roles, sizeof d->roles, "%s", now);
}

static void ask_roles(struct rt_db *d)
{
    rt_pg_query(
        d->control,
        "select pg_catalog.md5(pg_catalog.string_agg(x, ',' order by x)) from ("
        "select pg_catalog.concat_ws(' ', oid, rolname, rolsuper, rolinherit, rolreplication, "
        "rolbypassrls) from pg_catalog.pg_roles union all "
        /* inherit_option: since Postgres 16 */
        "select pg_catalog.concat_ws(' ', roleid, member, pg_catalog.to_jsonb(m) ->> "
        "'inherit_option') from pg_catalog.pg_auth_members m union all "
        "select pg_catalog.concat_ws(' ', oid, nspacl) from pg_catalog.pg_namespace "
        "where nspacl is not null union all "
        "select pg_catalog.concat_ws(' ', oid, xmin) from pg_catalog.pg_class where relkind = 'p' "
        "union all "
        "select pg_catalog.concat_ws(' ', p.oid, p.xmin) from pg_catalog.pg_policy p "
        "join pg_catalog.pg_class c on c.oid = p.polrelid where c.relkind = 'p' union all "
        "select pg_catalog.concat_ws(' ', c.oid, a.attnum, a.attacl) from pg_catalog.pg_attribute "
        "a "
        "join pg_catalog.pg_class c on c.oid = a.attrelid "
        "where c.relkind = 'p' and a.attacl is not null union all "
        "select pg_catalog.concat_ws(' ', attrelid, attnum, attname, atttypid) "
        "from pg_catalog.pg_attribute a join pg_catalog.pg_class c on c.oid = a.attrelid "
        "where c.relkind = 'c' and not a.attisdropped union all "
        "select pg_catalog.concat_ws(' ', enumtypid, enumsortorder, enumlabel) "
        "from pg_catalog.pg_enum union all "
        "select pg_catalog.concat_ws(' ', f.oid, f.proacl, f.prosrc) from pg_catalog.pg_proc f "
        "join pg_catalog.pg_namespace n on n.oid = f.pronamespace and n.nspname = 'auth') r(x)",
        0, NULL, on_roles, d);
    rt_pg_sync(d->control);
}

void rt_tables_poll(struct rt_db *d)
{
    const char *params[] = {d->cfg->publication};

    if (d->control == NULL || d->tables_asked) {
        d->tables_again = d->control != NULL;
        return;
    }
    d->tables_asked = true;
    d->tables_again = false;
    d->polls_started++;
    ask_roles(d);
    rt_plans_ask(d);
    rt_pg_query(d->control,
                "select c.oid, p.schemaname, p.tablename from pg_catalog.pg_publication_tables p "
                "join pg_catalog.pg_namespace n on n.nspname = p.schemaname "
                "join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = p.tablename "
                "where p.pubname = $1",
                1, params, on_published, d);
    rt_pg_sync(d->control);
}
