/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/explain.h"

#include <stdio.h>
#include <string.h>

#include "node/base/control.h"
#include "node/db/regs_in.h"
#include "node/db/rls_in.h"
#include "proto/json_scan.h"
#include "proto/json_write.h"

/* A detail may name a value, which may be long. */
#define VALUE_SHOWN 100u
#define ROW_BYTES   8192u

/* One question; it outlives the registration. */
struct exam {
    struct rt_db *d;
    struct rt_ipc *owner; /* who asked; another one now did not */
    uint32_t id;
    uint32_t out; /* answers that are to come */
    char *role, *claims, *filter_text, *schema, *table;
    char *event;    /* that is asked about, else the registration's */
    uint8_t *arena; /* of `filter` */
    bool has_select;
    char *select; /* packed strings */
    size_t nselect;
    struct pr_filter filter;
    uint32_t nkeys;
    char *column[RT_KEYS_MAX], *value[RT_KEYS_MAX];
};

/* ---- rows of the answer ---- */

static void say(const struct exam *e, const char *step, const char *result, const char *detail,
                const char *fix)
{
    uint8_t bytes[ROW_BYTES];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "{\"step\":");
    pr_put_json_cstr(&o, step);
    pr_put_str(&o, ",\"result\":");
    pr_put_json_cstr(&o, result);
    pr_put_str(&o, ",\"detail\":");
    pr_put_json_cstr(&o, detail);
    pr_put_str(&o, ",\"fix\":");
    if (fix == NULL) {
        pr_put_str(&o, "null");
    } else {
        pr_put_json_cstr(&o, fix);
    }
    pr_put_str(&o, "}\n");
    if (pr_out_ok(&o) && e->d->owner == e->owner) {
        (void)rt_control_reply(e->owner, e->id, pr_bytes(bytes, o.len), false);
    }
}

static void exam_free(struct exam *e)
{
    for (uint32_t i = 0; i < e->nkeys; i++) {
        rt_free(e->column[i]);
        rt_free(e->value[i]);
    }
    rt_free(e->role);
    rt_free(e->claims);
    rt_free(e->filter_text);
    rt_free(e->select);
    rt_free(e->event);
    rt_free(e->schema);
    rt_free(e->table);
    rt_free(e->arena);
    rt_free(e);
}

/* One answer less to wait for. */
static void answered(struct exam *e)
{
    if (--e->out == 0) {
        if (e->d->owner == e->owner) {
            (void)rt_control_reply(e->owner, e->id, pr_bytes(NULL, 0), true);
        }
        exam_free(e);
    }
}

/* ---- the row, as the role sees it ---- */

/* A condition's columns: does it hold, and the value. */
static void say_condition(const struct exam *e, const struct pr_cond *cond, const PGresult *res,
                          int at)
{
    bool null = PQgetisnull(res, 0, at + 1) == 1;
    bool holds = strcmp(PQgetvalue(res, 0, at), "t") == 0;
    char detail[1024];

    (void)snprintf(detail, sizeof detail, "%.*s=%s%s.%.*s %s: %.*s is %.*s", (int)cond->column.n,
                   (const char *)cond->column.p, cond->negated ? "not." : "",
                   pr_filter_op_name(cond->op), (int)cond->value.n, (const char *)cond->value.p,
                   holds ? "holds" : "does not hold", (int)cond->column.n,
                   (const char *)cond->column.p, (int)VALUE_SHOWN,
                   null ? "NULL" : PQgetvalue(res, 0, at + 1));
    say(e, "filter", holds ? "passes" : "drops", detail, NULL);
}

/* Would the row come with its values? */
static void say_size(const struct exam *e, uint64_t bytes)
{
    uint32_t most = e->d->cfg->max_record_bytes;
    char detail[128];

    (void)snprintf(detail, sizeof detail, "about %llu bytes of %u%s", (unsigned long long)bytes,
                   most, bytes > most ? ": Error 413 comes, with short values only" : "");
    say(e, "limit", bytes > most ? "error" : "passes", detail,
        bytes > most ? "raise REALTIME_MAX_RECORD_BYTES, or publish fewer columns" : NULL);
}

static void on_row(void *ctx, const PGresult *res)
{
    struct exam *e = ctx;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        say(e, "row", "drops",
            res == NULL ? "the connection to the database ended" : rt_pg_message(res), NULL);
    } else if (PQntuples(res) == 0) {
        say(e, "row", "drops",
            "the row is not there, or the policies hide it from the role and claims of the token",
            NULL);
    } else {
        say(e, "row", "passes", "the role and claims of the token see the row as it is now", NULL);
        for (uint32_t i = 0; i < e->filter.count; i++) {
            say_condition(e, &e->filter.conds[i], res, (int)(2 * i));
        }
        say_size(e, rt_pg_number(PQgetvalue(res, 0, (int)(2 * e->filter.count))));
    }
    answered(e);
}

/* Columns of the answer; the conditions' values become $1.. and their schemas the search path. */
static void put_conditions(const struct exam *e, const struct rt_relation *rel, struct rt_text *sql,
                           struct rt_text *params, struct rt_text *path)
{
    struct rt_sieve_part parts[PR_FILTER_CONDS_MAX];

    for (uint32_t i = 0; i < e->filter.count; i++) {
        const struct pr_cond *cond = &e->filter.conds[i];
        int at = rt_relation_column(rel, cond->column);
        struct rt_text column = {0};

        parts[i] = (struct rt_sieve_part){.column = cond->column,
                                          .op = cond->op,
                                          .negated = cond->negated,
                                          .values = cond->values,
                                          .kind = pr_pg_base(rel->columns[at].type)->kind,
                                          .operand = &rt_rel_sql(rel)->operands[at]};
        rt_text_puts(&column, "t.");
        rt_text_identifier(&column, cond->column);
        rt_text_puts(&column, "::pg_catalog.text");
        rt_sieve_put_test(sql, &parts[i], rt_text_end(&column), i + 1);
        rt_text_puts(sql, ", ");
        rt_text_slice(sql, pr_bytes(column.p, column.len));
        rt_text_puts(sql, ", ");
        rt_sieve_put_param(&params[i], &parts[i]);
        rt_free(column.p);
    }
    rt_sieve_put_path(path, parts, e->filter.count);
}

/*
 * A column of the answer: bytes of the change's JSON, but for what is escaped in it. The database
 * counts them, so that no large value comes here.
 */
static void put_size(const struct exam *e, const struct rt_relation *rel, struct rt_text *sql)
{
    const struct rt_rights *rights = rt_relation_rights(rel, pr_str(e->role));
    bool twice = rel->identity == 'f' && strcmp(e->event, "UPDATE") == 0; /* the old row too */
    size_t frame = sizeof "\"columns\":[],\"record\":{}";

    rt_text_puts(sql, twice ? "2 * (0::bigint" : "(0::bigint");
    for (uint32_t i = 0; rights != NULL && i < rel->ncolumns; i++) {
        const struct rt_column *c = &rel->columns[i];
        bool sent = !e->has_select || c->primary_key ||
                    rt_selects(pr_bytes(e->select, e->nselect), c->name);

        if (sent && rights->may_select[i]) {
            rt_text_puts(sql, " + coalesce(pg_catalog.octet_length(t.");
            rt_text_identifier(sql, c->name);
            rt_text_puts(sql, "::pg_catalog.text), 4)");
            frame +=
                sizeof "\"\":\"\",{\"name\":\"\",\"type\":\"\"}," + 2 * c->name.n + c->typname.n;
        }
    }
    rt_text_number(sql, ") + ", (uint32_t)frame, "");
}

/* Sends the segment; `params` are those of `sql`. */
static void ask_row(struct exam *e, struct rt_text *sql, struct rt_text *params, uint32_t nparams,
                    struct rt_text *path)
{
    static const char settings_sql[] =
        "select pg_catalog.set_config('role', $1, true), "
        "pg_catalog.set_config('request.jwt.claims', $2, true), "
        "pg_catalog.set_config('search_path', $3, true), "
        "pg_catalog.set_config('statement_timeout', '" RT_EXPLAIN_ROW_MS "', true)";
    const char *who[] = {e->role, e->claims, rt_text_end(path)};
    const char *texts[PR_FILTER_CONDS_MAX + RT_KEYS_MAX];

    for (uint32_t i = 0; i < nparams; i++) {
        texts[i] = rt_text_end(&params[i]);
    }
    /* If it fails, so does what follows in its segment. */
    rt_pg_query(e->d->check, settings_sql, 3, who, NULL, NULL);
    rt_pg_query(e->d->check, rt_text_end(sql), (int)nparams, texts, on_row, e);
    rt_rls_reset(e->d->check);
    rt_pg_sync(e->d->check);
}

/* Is every column there? Says which one is not. */
static bool columns_known(const struct exam *e, const struct rt_relation *rel)
{
    char detail[512];

    for (uint32_t i = 0; i < e->nkeys + e->filter.count; i++) {
        struct pr_slice name =
            i < e->nkeys ? pr_str(e->column[i]) : e->filter.conds[i - e->nkeys].column;

        if (rt_relation_column(rel, name) < 0) {
            (void)snprintf(detail, sizeof detail, "the table has no published column %.*s",
                           (int)name.n, (const char *)name.p);
            say(e, "row", "drops", detail, NULL);
            return false;
        }
    }
    return true;
}

static void on_table(void *ctx, struct rt_relation *rel, const char *why)
{
    struct exam *e = ctx;
    uint32_t n = e->filter.count + e->nkeys;
    struct rt_text params[PR_FILTER_CONDS_MAX + RT_KEYS_MAX] = {{0}};
    struct rt_text sql = {0}, path = {0};

    if (rel == NULL || e->d->check == NULL || !columns_known(e, rel)) {
        if (rel == NULL) {
            say(e, "row", "drops", why != NULL ? why : "the table is gone", NULL);
        }
        answered(e);
        return;
    }
    rt_text_puts(&sql, "select ");
    put_conditions(e, rel, &sql, params, &path);
    put_size(e, rel, &sql);
    rt_text_puts(&sql, " from ");
    rt_text_slice(&sql, rt_rel_sql(rel)->name);
    rt_text_puts(&sql, " t");
    for (uint32_t k = 0; k < e->nkeys; k++) {
        int at = rt_relation_column(rel, pr_str(e->column[k]));

        rt_text_puts(&sql, k == 0 ? " where t." : " and t.");
        rt_text_identifier(&sql, pr_str(e->column[k]));
        rt_text_number(&sql, " = $", e->filter.count + k + 1, "::pg_catalog.text::");
        rt_text_slice(&sql, rt_rel_sql(rel)->types[at]);
        rt_text_puts(&params[e->filter.count + k], e->value[k]);
    }
    rt_text_puts(&sql, " limit 1");
    ask_row(e, &sql, params, n, &path);
    for (uint32_t i = 0; i < n; i++) {
        rt_free(params[i].p);
    }
    rt_free(path.p);
    rt_free(sql.p);
}

/* ---- the steps before ---- */

static void say_registration(const struct exam *e, const struct rt_reg *r)
{
    if (r->state == RT_REG_REFUSED && r->slow) {
        say(e, "registration", "drops", r->refusal, NULL);
        say(e, "policies", "drops",
            "they ran out of time too often for the role and claims of the token",
            "make them cheaper, then join again");
    } else if (r->state == RT_REG_REFUSED && r->cancelled) {
        say(e, "limit", "drops", r->refusal,
            "join again, with a filter that fails for no row and is quick to evaluate");
    } else if (r->state == RT_REG_REFUSED) {
        say(e, "registration", "drops", r->refusal, NULL);
    } else if (r->state == RT_REG_VALID) {
        say(e, "registration", "passes", "it is live", NULL);
    } else {
        say(e, "registration", "drops", "it is being looked at: ask again", NULL);
    }
}

static void say_stream(const struct exam *e)
{
    const struct rt_stream *s = &e->d->stream;

    if (s->state == RT_STREAM_ON) {
        say(e, "stream", "passes", "changes are read", NULL);
    } else {
        say(e, "stream", "drops", s->trouble != NULL ? s->trouble : "it is being started",
            "realtimectl doctor tells what keeps it");
    }
}

/* `bound` is the registration's event. */
static void say_event(const struct exam *e, const char *bound, bool asked)
{
    char text[96];

    if (strcmp(bound, "*") == 0) {
        say(e, "event", "passes", "it hears INSERT, UPDATE and DELETE", NULL);
        return;
    }
    (void)snprintf(text, sizeof text, "it hears %.20s only", bound);
    if (!asked) {
        say(e, "event", "note", text, "--event asks about one operation");
    } else if (strcmp(bound, e->event) == 0) {
        say(e, "event", "passes", text, NULL);
    } else {
        char fix[96];

        (void)snprintf(fix, sizeof fix, ".on('postgres_changes', { event: '%.20s', ... })",
                       e->event);
        say(e, "event", "drops", text, fix);
    }
}

static void on_catalog(void *ctx, const PGresult *res)
{
    struct exam *e = ctx;
    bool ok = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK;

    if (!ok) {
        say(e, "table", "drops",
            res == NULL ? "the connection to the database ended" : rt_pg_message(res), NULL);
    }
    for (int i = 0; ok && i < PQntuples(res); i++) {
        say(e, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1), PQgetvalue(res, i, 2),
            PQgetisnull(res, i, 3) ? NULL : PQgetvalue(res, i, 3));
    }
    answered(e);
}

static void ask_catalog(struct exam *e)
{
    const char *params[] = {e->d->cfg->publication, e->schema, e->table, e->role, e->event};

    e->out++;
    rt_pg_query(e->d->control, rt_explain_catalog_sql, 5, params, on_catalog, e);
    rt_pg_sync(e->d->control);
}

/* Looks for the row, if one is named and anything but its key is asked of it. */
static void ask_table(struct exam *e)
{
    struct rt_table *t = e->d->tables;

    if (e->nkeys == 0) {
        return;
    }
    if (strcmp(e->event, "DELETE") == 0) {
        say(e, "row", "note",
            e->d->cfg->delete_rls
                ? "filter and policies judge a deleted row as far as its replica identity goes"
                : "a deleted row is judged by its key alone, and policies are not asked",
            NULL);
        return;
    }
    while (t != NULL &&
           (!t->published || strcmp(t->schema, e->schema) != 0 || strcmp(t->name, e->table) != 0)) {
        t = t->next; /* one that is gone may have had the name */
    }
    if (t != NULL) {
        e->out++;
        rt_tables_fetch(e->d, t, pr_str(e->role), on_table, e);
    }
}

static void explain(struct exam *e, const struct rt_reg *r)
{
    struct pr_outbuf arena, err = pr_outbuf(NULL, 0);
    char *bound = rt_strndup(r->m.event.p, r->m.event.n);
    bool asked = e->event != NULL;

    if (!asked) {
        e->event = rt_strdup(bound);
    }
    e->role = rt_strndup(r->m.role.p, r->m.role.n);
    e->claims = rt_strndup(r->m.claims.p, r->m.claims.n);
    e->filter_text = rt_strndup(r->m.filter.p, r->m.filter.n);
    e->has_select = r->m.has_select;
    e->select = rt_strndup(r->m.select.p, r->m.select.n);
    e->nselect = r->m.select.n;
    e->arena = rt_malloc(PR_FILTER_ARENA(r->m.filter.n));
    arena = pr_outbuf(e->arena, PR_FILTER_ARENA(r->m.filter.n));
    if (!r->m.has_filter ||
        pr_filter_parse(pr_str(e->filter_text), &e->filter, &arena, &err) != PR_OK) {
        e->filter.count = 0; /* refused, and that is said */
    }
    say_registration(e, r);
    say_stream(e);
    say_event(e, bound, asked);
    if (e->d->control == NULL || e->d->check == NULL || !e->d->up) {
        say(e, "table", "drops", "there is no connection to the database",
            "realtimectl doctor tells what the database answers");
    } else {
        ask_catalog(e);
        ask_table(e);
    }
    rt_free(bound);
}

/* ---- the question ---- */

static char *text_of(struct pr_slice args, const char *name)
{
    struct pr_outbuf scratch = pr_outbuf(rt_malloc(args.n), args.n);
    struct pr_slice text;
    struct pr_json v;
    char *out = NULL;

    if (pr_json_member(args, name, &v) == 1 && pr_json_text(&v, &scratch, &text) == PR_OK &&
        memchr(text.p, '\0', text.n) == NULL) {
        out = rt_strndup(text.p, text.n);
    }
    rt_free(scratch.p);
    return out;
}

/* {"column": "value", ...}. False: not of this form, or too many. */
static bool take_key(struct exam *e, struct pr_slice object)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json v;
    int rv = pr_json_open(&it, object);

    while (rv == PR_OK && (rv = pr_json_next(&it, &key, &v)) == 1) {
        char *name = rt_malloc(key.n + 1);
        struct pr_outbuf o = pr_outbuf((uint8_t *)name, key.n);
        char *value;

        pr_json_unescape(&o, key);
        name[o.len] = '\0';
        value = text_of(object, name);
        if (value == NULL || e->nkeys == RT_KEYS_MAX) {
            rt_free(name);
            rt_free(value);
            return false;
        }
        e->column[e->nkeys] = name;
        e->value[e->nkeys++] = value;
        rv = PR_OK;
    }
    return rv == 0;
}

void rt_db_explain(struct rt_db *d, uint32_t id, struct pr_slice args)
{
    struct exam *e;
    struct rt_reg *r = NULL;
    struct pr_json key;
    char *boot, *handle;

    if (!d->elected) {
        (void)rt_control_reply(d->owner, id, pr_bytes(NULL, 0), true);
        return;
    }
    e = rt_calloc(1, sizeof *e);
    *e = (struct exam){.d = d, .owner = d->owner, .id = id, .out = 1};
    e->schema = text_of(args, "schema");
    e->table = text_of(args, "table");
    e->event = text_of(args, "event");
    boot = text_of(args, "boot");
    handle = text_of(args, "handle");
    if (e->schema == NULL || e->table == NULL || boot == NULL || handle == NULL ||
        (pr_json_member(args, "key", &key) == 1 && !take_key(e, key.raw))) {
        say(e, "registration", "drops", "the question is not understood", NULL);
    } else {
        r = rt_db_reg_find(d, rt_pg_number(boot), (uint32_t)rt_pg_number(handle));
        rt_log(d->log, RT_INFO, "explain", rt_kv_s("schema", e->schema), rt_kv_s("table", e->table),
               rt_kv_s("boot", boot), rt_kv_s("handle", handle));
        if (r == NULL) {
            say(e, "registration", "drops", "the reader does not know it: ask again", NULL);
        } else {
            explain(e, r);
        }
    }
    rt_free(handle);
    rt_free(boot);
    answered(e);
}
