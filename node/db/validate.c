/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validate.c - is this registration one that Postgres understands, for a role that may read it?
 *
 * Role, then tables, then per table: columns, operators, values. Values are made canonical by
 * Postgres once, so that a change is compared without asking it. Texts of refusals are those of
 * Supabase's server, which users search for.
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/db/regs_in.h"

/* A refusal: parameters, and the exception behind them. */
#define TEXT_MAX 4096u

struct rt_check {
    struct rt_reg *reg;
    struct pr_filter filter;
    uint8_t *arena;
    uint32_t *oids; /* the tables, in order; those before `table` are attached */
    uint32_t noids, table;
    struct rt_relation *rel; /* of the table in work; a reference */
    uint32_t cond;           /* condition in work */
    struct rt_sub_cond conds[PR_FILTER_CONDS_MAX];
    uint8_t *values[PR_FILTER_CONDS_MAX];
};

static void next_table(struct rt_reg *r);

static void free_values(struct rt_check *c)
{
    for (uint32_t i = 0; i < PR_FILTER_CONDS_MAX; i++) {
        rt_free(c->values[i]);
        c->values[i] = NULL;
    }
}

void rt_db_reg_check_drop(struct rt_reg *r)
{
    struct rt_check *c = r->check;

    if (c == NULL) {
        return;
    }
    free_values(c);
    rt_rel_unref(c->rel);
    rt_free(c->oids);
    rt_free(c->arena);
    rt_free(c);
    r->check = NULL;
}

/* The connection ended: the next one checks anew. */
static void interrupted(struct rt_reg *r)
{
    rt_db_reg_check_drop(r);
    if (!r->gone) {
        rt_db_reg_state(r, RT_REG_NEW);
    }
}

static void put_params(struct pr_outbuf *o, const struct rt_reg *r)
{
    struct pr_slice list = r->m.select, name;
    bool first = true;

    pr_put_str(o, "[event: ");
    pr_put_slice(o, r->m.event);
    pr_put_str(o, ", schema: ");
    pr_put_slice(o, r->m.schema);
    pr_put_str(o, ", table: ");
    pr_put_slice(o, r->m.table);
    pr_put_str(o, ", filters: ");
    pr_filter_inspect(o, &r->check->filter);
    pr_put_str(o, ", select: ");
    if (!r->m.has_select) {
        pr_put_str(o, "nil]");
        return;
    }
    pr_put_str(o, "[");
    while (pr_strs_next(&list, &name) == 1) {
        pr_put_str(o, first ? "" : ", ");
        pr_inspect_string(o, name);
        first = false;
    }
    pr_put_str(o, "]]");
}

static void end(struct rt_reg *r, struct pr_outbuf *text, bool unpublished)
{
    char *refusal = NULL;

    if (text != NULL) {
        refusal = rt_strndup(text->p, text->len < text->cap ? text->len : text->cap);
        /* Tables before the one that refused are attached: known as such, so that they go. */
        rt_db_reg_set_tables(r, r->check->oids, r->check->table);
        r->check->oids = NULL;
    }
    rt_db_reg_check_drop(r);
    rt_db_reg_checked(r, refusal, unpublished);
}

static void refuse_unpublished(struct rt_reg *r)
{
    uint8_t bytes[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "Unable to subscribe to changes with given parameters. Please check Realtime is "
                   "enabled for the given connect parameters: ");
    put_params(&o, r);
    end(r, &o, true);
}

static void refuse(struct rt_reg *r, struct pr_slice exception)
{
    uint8_t bytes[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "Unable to subscribe to changes with given parameters. An exception happened so "
                   "please check your connect parameters: ");
    put_params(&o, r);
    pr_put_str(&o, ". Exception: ");
    pr_put_slice(&o, exception);
    end(r, &o, false);
}

/* "ERROR P0001 (raise_exception) text NAME" */
static void refuse_named(struct rt_reg *r, const char *text, struct pr_slice name)
{
    uint8_t bytes[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, text);
    pr_put_slice(&o, name);
    refuse(r, pr_bytes(bytes, o.len < o.cap ? o.len : o.cap));
}

/* Condition names of Postgres (appendix "PostgreSQL Error Codes") that a bad value can cause. */
static const char *condition_name(const char *sqlstate)
{
    static const char *const names[][2] = {
        {"22P02", "invalid_text_representation"},
        {"22003", "numeric_value_out_of_range"},
        {"22007", "invalid_datetime_format"},
        {"22008", "datetime_field_overflow"},
        {"22021", "character_not_in_repertoire"},
        {"23514", "check_violation"},
        {"42501", "insufficient_privilege"},
        {"42704", "undefined_object"},
        {"42804", "datatype_mismatch"},
        {"42846", "cannot_coerce"},
        {"57014", "query_canceled"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i][0], sqlstate) == 0) {
            return names[i][1];
        }
    }
    return "error";
}

static void refuse_result(struct rt_reg *r, const PGresult *res)
{
    uint8_t bytes[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "ERROR ");
    pr_put_str(&o, rt_pg_sqlstate(res));
    pr_put_str(&o, " (");
    pr_put_str(&o, condition_name(rt_pg_sqlstate(res)));
    pr_put_str(&o, ") ");
    pr_put_str(&o, rt_pg_message(res));
    refuse(r, pr_bytes(bytes, o.len < o.cap ? o.len : o.cap));
}

/* True: the registration or its check is over, the answer is nobody's. */
static bool answered(struct rt_reg *r, const PGresult *res)
{
    r->out--;
    if (rt_db_reg_reap(r)) {
        return true;
    }
    if (r->gone || r->check == NULL) {
        return true;
    }
    if (res == NULL) {
        interrupted(r);
        return true;
    }
    return false;
}

/* False: it is over, refused. */
static bool attach(struct rt_reg *r)
{
    struct rt_check *c = r->check;

    if (rt_subs_attach(r->db->subs, r->boot, r->handle, c->rel, c->conds, c->filter.count) != 0) {
        refuse_named(r, "ERROR P0001 (raise_exception) invalid column for filter ",
                     c->filter.count > 0 ? c->filter.conds[0].column : pr_str(""));
        return false;
    }
    rt_rel_unref(c->rel);
    c->rel = NULL;
    free_values(c);
    c->table++;
    return true;
}

static bool next_cond(struct rt_reg *r);

static void on_values(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;
    struct rt_check *c;
    struct pr_outbuf o = pr_outbuf(NULL, 0);

    if (answered(r, res)) {
        return;
    }
    c = r->check;
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        refuse_result(r, res);
        return;
    }
    for (int pass = 0; pass < 2; pass++) { /* measure, then write */
        o.len = 0;
        for (int i = 0; i < PQntuples(res); i++) {
            pr_cond_value_put(&o, pr_bytes(PQgetvalue(res, i, 0), (size_t)PQgetlength(res, i, 0)),
                              PQgetisnull(res, i, 0) == 1);
        }
        if (pass == 0) {
            c->values[c->cond] = rt_malloc(o.len);
            o = pr_outbuf(c->values[c->cond], o.len);
        }
    }
    c->conds[c->cond].values = pr_bytes(c->values[c->cond], o.len);
    c->cond++;
    if (next_cond(r)) {
        next_table(r);
    }
}

/* Asks Postgres what it makes of the condition's value. */
static void ask_values(struct rt_reg *r, const struct pr_cond *cond, const struct pr_slice type)
{
    bool list = cond->op == PR_F_IN;
    size_t n = cond->value.n;
    char *value = rt_malloc(n + 3);
    char *sql = rt_malloc(type.n + 256);
    const char *params[1] = {value};

    (void)snprintf(value, n + 3, list ? "{%.*s}" : "%.*s", (int)n, (const char *)cond->value.p);
    /* format() gives what the type's output function does, as the stream has it: 't', not 'true'.
     */
    (void)snprintf(sql, type.n + 256,
                   list ? "select case when x is not null then pg_catalog.format('%%s', x) end "
                          "from pg_catalog.unnest($1::pg_catalog.text::%.*s[]) x"
                        : "select pg_catalog.format('%%s', $1::pg_catalog.text::%.*s)",
                   (int)type.n, (const char *)type.p);
    r->out++;
    rt_pg_query(r->db->check, sql, 1, params, on_values, r);
    rt_pg_sync(r->db->check);
    rt_free(sql);
    rt_free(value);
}

/* True: the table is attached, the next one may be looked at. False: an answer is waited for, or
 * the check is over. */
static bool next_cond(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    const struct pr_cond *cond = &c->filter.conds[c->cond];
    const struct rt_rights *rights = rt_relation_rights(c->rel, r->m.role);
    const struct rt_column *column;
    uint8_t bytes[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    int i;

    if (c->cond == c->filter.count) {
        return attach(r);
    }
    i = rt_relation_column(c->rel, cond->column);
    if (i < 0 || rights == NULL || !rights->may_select[i]) {
        refuse_named(r, "ERROR P0001 (raise_exception) invalid column for filter ", cond->column);
        return false;
    }
    if (cond->op == PR_F_IN && cond->nvalues > PR_FILTER_IN_MAX) {
        refuse_named(r,
                     "ERROR P0001 (raise_exception) too many values for `in` filter. Maximum 100",
                     pr_str(""));
        return false;
    }
    column = &c->rel->columns[i];
    if (!pr_filter_native(cond, column->type, column->text)) {
        pr_put_str(&o, "ERROR P0001 (raise_exception) operator ");
        pr_put_str(&o, pr_filter_op_name(cond->op));
        pr_put_str(&o, " is not supported for column type ");
        pr_put_slice(&o, column->typname);
        refuse(r, pr_bytes(bytes, o.len < o.cap ? o.len : o.cap));
        return false;
    }
    if (r->db->check == NULL) {
        interrupted(r);
        return false;
    }
    c->conds[c->cond].column = cond->column;
    c->conds[c->cond].op = cond->op;
    c->conds[c->cond].negated = cond->negated;
    ask_values(r, cond, rt_rel_sql(c->rel)->types[i]);
    return false;
}

/* Selected columns must exist and be readable. */
static bool check_select(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    const struct rt_rights *rights = rt_relation_rights(c->rel, r->m.role);
    struct pr_slice list = r->m.select, name;

    while (r->m.has_select && pr_strs_next(&list, &name) == 1) {
        int i = rt_relation_column(c->rel, name);

        if (i < 0 || rights == NULL || !rights->may_select[i]) {
            refuse_named(r, "ERROR P0001 (raise_exception) invalid column for select ", name);
            return false;
        }
    }
    return true;
}

/* As next_cond. */
static bool use_relation(struct rt_reg *r, struct rt_relation *rel)
{
    r->check->rel = rt_rel_ref(rel);
    r->check->cond = 0;
    return check_select(r) && next_cond(r);
}

static void on_relation(void *ctx, struct rt_relation *rel, const char *why)
{
    struct rt_reg *r = ctx;

    (void)why;
    r->out--;
    if (rt_db_reg_reap(r) || r->gone || r->check == NULL) {
        return;
    }
    if (rel == NULL) { /* it went away between the list and the question, or the connection did */
        interrupted(r);
    } else if (use_relation(r, rel)) {
        next_table(r);
    }
}

/* Tables that are known and ask nothing are attached at once: a wildcard may have thousands. */
static void next_table(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    struct rt_db *d = r->db;

    while (c->table < c->noids) {
        struct rt_table *t = rt_tables_of(d, c->oids[c->table]);

        assert(t != NULL); /* rows of this list are never removed */
        if (t->rel != NULL && rt_relation_rights(t->rel, r->m.role) != NULL) {
            if (!use_relation(r, t->rel)) {
                return;
            }
        } else if (t->fetching || d->control == NULL) {
            interrupted(r); /* whoever fetches it kicks all */
            return;
        } else {
            r->out++;
            rt_tables_fetch(d, t, r->m.role, on_relation, r);
            return;
        }
    }
    rt_db_reg_set_tables(r, c->oids, c->noids);
    c->oids = NULL;
    end(r, NULL, false);
}

static bool wanted(const struct rt_reg *r, const struct rt_table *t)
{
    return t->published && (pr_slice_is(r->m.schema, "*") || pr_slice_is(r->m.schema, t->schema)) &&
           (pr_slice_is(r->m.table, "*") || pr_slice_is(r->m.table, t->name));
}

static void expand(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    uint32_t cap = 0;

    for (struct rt_table *t = r->db->tables; t != NULL; t = t->next) {
        if (wanted(r, t)) {
            if (c->noids == cap) {
                cap = cap == 0 ? 8 : cap * 2;
                c->oids = rt_realloc(c->oids, cap * sizeof *c->oids);
            }
            c->oids[c->noids++] = t->oid;
        }
    }
    if (c->noids == 0 && r->poll == 0) {
        /* It may have been published a moment ago: looks once more, with a question asked now. */
        r->poll = r->db->polls_started + 1;
        rt_tables_poll(r->db);
        interrupted(r);
    } else if (c->noids == 0 && r->db->polls_done < r->poll) {
        interrupted(r); /* the end of that poll kicks */
    } else if (c->noids == 0) {
        r->poll = 0;
        refuse_unpublished(r);
    } else {
        r->poll = 0;
        next_table(r);
    }
}

/* Role: exists, may be taken, is granted to the login that evaluates policies. */
static void on_role(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;
    uint8_t bytes[512];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    const char *tail = NULL;

    if (answered(r, res)) {
        return;
    }
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        refuse_result(r, res);
        return;
    }
    pr_put_str(&o, "ERROR 42704 (undefined_object) role \"");
    if (PQntuples(res) == 0) {
        tail = "\" does not exist";
    } else if (strcmp(PQgetvalue(res, 0, 0), "t") != 0) {
        o.len = 0;
        pr_put_str(&o, "ERROR P0001 (raise_exception) role \"");
        tail = "\" is not allowed";
    } else if (strcmp(PQgetvalue(res, 0, 1), "t") != 0) {
        o.len = 0;
        pr_put_str(&o, "ERROR 42501 (insufficient_privilege) permission denied to set role \"");
        tail = "\"";
    }
    if (tail == NULL) {
        expand(r);
        return;
    }
    pr_put_slice(&o, r->m.role);
    pr_put_str(&o, tail);
    refuse(r, pr_bytes(bytes, o.len < o.cap ? o.len : o.cap));
}

/* The filter as text; refuses and answers false if it is none. */
static bool parse_filter(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    size_t cap = PR_FILTER_ARENA(r->m.filter.n);
    uint8_t bytes[TEXT_MAX];
    struct pr_outbuf err = pr_outbuf(bytes, sizeof bytes);
    struct pr_outbuf arena;

    if (!r->m.has_filter) {
        return true;
    }
    c->arena = rt_malloc(cap);
    arena = pr_outbuf(c->arena, cap);
    if (pr_filter_parse(r->m.filter, &c->filter, &arena, &err) == PR_OK) {
        return true;
    }
    end(r, &err, false);
    return false;
}

void rt_db_reg_check(struct rt_reg *r)
{
    char *role;
    const char *params[1];

    r->check = rt_calloc(1, sizeof *r->check);
    r->check->reg = r;
    if (!parse_filter(r)) {
        return;
    }
    role = rt_strndup(r->m.role.p, r->m.role.n);
    params[0] = role;
    r->out++;
    rt_pg_query(r->db->check,
                "select not (rolsuper or rolreplication or rolname = session_user), "
                "pg_catalog.pg_has_role(session_user, oid, 'MEMBER') "
                "from pg_catalog.pg_roles where rolname = $1",
                1, params, on_role, r);
    rt_pg_sync(r->db->check);
    rt_free(role);
}
