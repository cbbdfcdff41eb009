/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/tojson.h"

#include <string.h>

#include "node/base/alloc.h"
#include "node/db/sqltext.h"

/* One line about values that cannot be rendered a minute. */
#define LOG_MS 60000u

static const char role_sql[] = "select pg_catalog.set_config('role', $1, true)";

/* The values of one column in rows that one role gets. */
struct column {
    struct job *job;
    const struct rt_relation *rel;
    uint32_t at;
    struct pr_slice role;
    struct rt_value **values;
    uint32_t count, cap;
};

struct job {
    struct rt_tojson *owner; /* NULL: cancelled */
    struct column *columns;
    uint32_t ncolumns, cap;
    uint32_t out; /* answers that are to come */
    bool lost;
    void (*done)(void *ctx, bool ok);
    void *ctx;
};

struct rt_tojson {
    struct rt_loop *loop;
    struct rt_log *log;
    uint64_t logged_ms;
    struct job *job;
    char **texts; /* of the batch before, or of this one */
    uint32_t ntexts, texts_cap;
};

static void free_texts(struct rt_tojson *j)
{
    for (uint32_t i = 0; i < j->ntexts; i++) {
        rt_free(j->texts[i]);
    }
    j->ntexts = 0;
}

static void free_job(struct job *k)
{
    for (uint32_t i = 0; i < k->ncolumns; i++) {
        rt_free(k->columns[i].values);
    }
    rt_free(k->columns);
    rt_free(k);
}

/* Types are not recursive: Postgres refuses it. */
static bool has_cast(const struct pr_pg_type *t)
{
    bool found = t->kind == PR_PG_SQL;

    if (t->kind == PR_PG_ARRAY || t->kind == PR_PG_DOMAIN) {
        return has_cast(t->elem);
    }
    for (uint32_t i = 0; t->kind == PR_PG_COMPOSITE && i < t->nfields && !found; i++) {
        found = has_cast(t->fields[i].type);
    }
    return found;
}

/* Of somebody who gets the row; NULL: nobody does. */
static const struct rt_group *reader_of(const struct rt_rls_row *row)
{
    for (uint32_t i = 0; i < row->matches->count; i++) {
        const struct rt_match *m = &row->matches->items[i];

        if (m->visible && m->error == RT_MATCH_OK && !m->unjudged) {
            return m->group;
        }
    }
    return NULL;
}

bool rt_tojson_needed(const struct rt_rls_row *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct rt_relation *rel = rows[i].change->rel;

        for (uint32_t k = 0; k < rel->ncolumns; k++) {
            if (has_cast(rel->columns[k].type) && reader_of(&rows[i]) != NULL) {
                return true;
            }
        }
    }
    return false;
}

static struct column *column_of(struct job *k, const struct rt_relation *rel, uint32_t at,
                                const struct rt_group *reader)
{
    for (uint32_t i = 0; i < k->ncolumns; i++) {
        if (k->columns[i].rel == rel && k->columns[i].at == at &&
            pr_slice_eq(k->columns[i].role, reader->role)) {
            return &k->columns[i];
        }
    }
    if (k->ncolumns == k->cap) {
        k->cap = k->cap == 0 ? 4 : k->cap * 2;
        k->columns = rt_realloc(k->columns, k->cap * sizeof *k->columns);
    }
    k->columns[k->ncolumns] = (struct column){.job = k, .rel = rel, .at = at, .role = reader->role};
    return &k->columns[k->ncolumns++];
}

static void add(struct column *c, struct rt_value *v)
{
    if (v->kind != RT_V_TEXT) {
        return;
    }
    if (c->count == c->cap) {
        c->cap = c->cap == 0 ? 8 : c->cap * 2;
        c->values = rt_realloc(c->values, c->cap * sizeof(struct rt_value *));
    }
    c->values[c->count++] = v;
}

/* The values of a row are followed by those of the old one. */
static void gather(struct job *k, const struct rt_rls_row *row)
{
    const struct rt_relation *rel = row->change->rel;
    const struct rt_group *reader = reader_of(row);

    for (uint32_t i = 0; reader != NULL && i < rel->ncolumns; i++) {
        if (has_cast(rel->columns[i].type)) {
            struct column *c = column_of(k, rel, i, reader);

            add(c, &row->row[i]);
            add(c, &row->row[rel->ncolumns + i]);
        }
    }
}

static void finish(struct job *k, bool ok)
{
    if (k->owner != NULL) {
        k->owner->job = NULL;
        k->done(k->ctx, ok);
    }
    free_job(k);
}

/* An answer came; the last one ends the job. */
static void answered(struct job *k, const PGresult *res)
{
    k->lost = k->lost || rt_pg_is_end(res);
    k->out--;
    if (k->out == 0) {
        finish(k, !k->lost);
    }
}

static void on_role(void *ctx, const PGresult *res)
{
    answered(ctx, res); /* if it failed, so does the statement behind it */
}

static void log_failure(struct rt_tojson *j, const struct column *c, const PGresult *res)
{
    uint64_t now = rt_now_ms(j->loop);

    if (j->logged_ms == 0 || now - j->logged_ms >= LOG_MS) {
        j->logged_ms = now;
        rt_log(j->log, RT_WARN, "value_not_rendered", rt_kv_b("schema", c->rel->schema),
               rt_kv_b("table", c->rel->table), rt_kv_b("column", c->rel->columns[c->at].name),
               rt_kv_s("sqlstate", rt_pg_sqlstate(res)), rt_kv_s("err", rt_pg_message(res)),
               rt_kv_s("hint", "its cast to json fails: clients get its text"));
    }
}

static void keep(struct rt_tojson *j, struct rt_value *v, const PGresult *res, int line)
{
    size_t n = (size_t)PQgetlength(res, line, 0);

    if (PQgetisnull(res, line, 0)) {
        v->kind = RT_V_NULL;
        return;
    }
    if (j->ntexts == j->texts_cap) {
        j->texts_cap = j->texts_cap == 0 ? 64 : j->texts_cap * 2;
        j->texts = rt_realloc(j->texts, j->texts_cap * sizeof *j->texts);
    }
    j->texts[j->ntexts] = rt_strndup(PQgetvalue(res, line, 0), n);
    v->kind = RT_V_JSON;
    v->text = pr_bytes(j->texts[j->ntexts++], n);
}

static void on_values(void *ctx, const PGresult *res)
{
    const struct column *c = ctx;
    struct rt_tojson *j = c->job->owner;
    bool good =
        res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) == (int)c->count;

    for (uint32_t i = 0; j != NULL && good && i < c->count; i++) {
        keep(j, c->values[i], res, (int)i);
    }
    if (j != NULL && !good && res != NULL) {
        log_failure(j, c, res);
    }
    answered(c->job, res);
}

static void ask(struct rt_pg *pg, struct column *c)
{
    struct rt_text sql = {0};
    struct rt_text list = {0};
    char *role = rt_strndup(c->role.p, c->role.n);
    const char *who[] = {role};
    const char *params[1];

    /* Cast one by one: unnest() of an array of arrays gives their elements. */
    rt_text_puts(&sql, "select pg_catalog.to_jsonb(x::");
    rt_text_slice(&sql, rt_rel_sql(c->rel)->types[c->at]);
    rt_text_puts(&sql, ")::pg_catalog.text from pg_catalog.unnest($1::pg_catalog.text[]) "
                       "with ordinality u(x, i) order by i");
    rt_text_puts(&list, "{");
    for (uint32_t i = 0; i < c->count; i++) {
        rt_text_puts(&list, i == 0 ? "" : ",");
        rt_text_element(&list, c->values[i]->text);
    }
    rt_text_puts(&list, "}");
    params[0] = rt_text_end(&list);
    c->job->out += 2;
    rt_pg_query(pg, role_sql, 1, who, on_role, c->job);
    rt_pg_query(pg, rt_text_end(&sql), 1, params, on_values, c);
    rt_pg_sync(pg);
    rt_free(role);
    rt_free(list.p);
    rt_free(sql.p);
}

void rt_tojson_run(struct rt_tojson *j, struct rt_pg *pg, const struct rt_rls_row *rows, uint32_t n,
                   void (*done)(void *ctx, bool ok), void *ctx)
{
    struct job *k = rt_calloc(1, sizeof *k);

    free_texts(j);
    *k = (struct job){.owner = j, .done = done, .ctx = ctx};
    j->job = k;
    for (uint32_t i = 0; i < n; i++) {
        gather(k, &rows[i]);
    }
    for (uint32_t i = 0; i < k->ncolumns; i++) { /* also one without values: `done` comes later */
        ask(pg, &k->columns[i]);
    }
}

void rt_tojson_cancel(struct rt_tojson *j)
{
    if (j->job != NULL) {
        j->job->owner = NULL; /* its last answer frees it */
        j->job = NULL;
    }
}

struct rt_tojson *rt_tojson_new(struct rt_loop *l, struct rt_log *log)
{
    struct rt_tojson *j = rt_calloc(1, sizeof *j);

    j->loop = l;
    j->log = log;
    return j;
}

void rt_tojson_free(struct rt_tojson *j)
{
    rt_tojson_cancel(j);
    free_texts(j);
    rt_free(j->texts);
    rt_free(j);
}
