/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validate_cond.c - one condition of a filter: may its column be read, can it be evaluated, and
 * what does Postgres make of its value.
 *
 * What C cannot evaluate is tried once by Postgres, in the very form and as the very role in which
 * it will be: a filter that fails for every row is refused here, not at the first change.
 */
#include <stdio.h>
#include <string.h>

#include "node/db/validate_in.h"

/* How long a trial may take. Reading an expression can be made to last; for anything else a
 * database that takes so long is not well. */
#define TRY_PATTERN_MS "500"
#define TRY_MS         "2000"

static const struct pr_cond *cond_of(const struct rt_check *c)
{
    return &c->filter.conds[c->cond];
}

/* Keeps the answer as the condition's values. */
static void keep_values(struct rt_check *c, const PGresult *res)
{
    struct pr_outbuf o = pr_outbuf(NULL, 0);

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
}

/* An answer behind which others come. False: the check is over. */
static bool is_good(struct rt_reg *r, const PGresult *res)
{
    if (rt_check_answered(r, res)) {
        return false;
    }
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        rt_refuse_result(r, res);
        return false;
    }
    return true;
}

static void on_setting(void *ctx, const PGresult *res)
{
    (void)is_good(ctx, res);
}

static void on_tried_values(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;

    if (is_good(r, res)) {
        keep_values(r->check, res);
    }
}

static void on_values(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;

    if (is_good(r, res)) {
        keep_values(r->check, res);
        rt_check_cond_done(r);
    }
}

/* The column that the condition is about; -1: there is none. */
static int column_of(const struct rt_check *c)
{
    return rt_relation_column(c->rel, cond_of(c)->column);
}

static void refuse_operator(struct rt_reg *r)
{
    const struct rt_check *c = r->check;
    const struct pr_cond *cond = cond_of(c);
    int i = column_of(c);

    if (rt_sieve_is_pattern(cond->op)) {
        rt_refuse_raised(r, "operator ", pr_str(pr_filter_op_name(cond->op)),
                         " requires a text-compatible column type, got ",
                         rt_rel_sql(c->rel)->operands[i].type);
    } else {
        rt_refuse_raised(r, "operator ", pr_str(pr_filter_op_name(cond->op)),
                         " is not supported for column type ", c->rel->columns[i].typname);
    }
}

static void on_tried(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;
    const char *state = rt_pg_sqlstate(res);
    enum pr_filter_op op;

    if (rt_check_answered(r, res)) {
        return;
    }
    op = cond_of(r->check)->op;
    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        rt_check_cond_done(r);
    } else if (strcmp(state, "42883") == 0 || strcmp(state, "42725") == 0) {
        refuse_operator(r);
    } else if ((op == PR_F_MATCH || op == PR_F_IMATCH) &&
               (strcmp(state, "2201B") == 0 || strcmp(state, "57014") == 0)) {
        rt_refuse_raised(r, "invalid regular expression for ", pr_str(pr_filter_op_name(op)),
                         " filter: ", pr_str(rt_pg_message(res)));
    } else {
        rt_refuse_result(r, res);
    }
}

static void on_tried_pattern(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;
    struct rt_db *d = r->db;

    d->trials.out = false;
    on_tried(r, res); /* may free it */
    rt_db_regs_try(d);
}

static void question(struct rt_reg *r, const char *sql, int n, const char *const *params,
                     rt_pg_fn fn)
{
    r->out++;
    rt_pg_query(r->db->check, sql, n, params, fn, r);
}

/* Asks Postgres what it makes of the condition's value. Lengths and places of the column's type are
 * left out: a value that is too long is another value, not a shorter one. */
static void ask_values(struct rt_reg *r, const char *value, struct pr_slice type, rt_pg_fn fn)
{
    bool list = cond_of(r->check)->op == PR_F_IN;
    char *sql = rt_malloc(type.n + 256);

    /* format() gives what the type's output function does, as the stream has it: 't', not 'true'. A
     * row stays one value, NULL or not, where it is not what `from` takes apart. */
    (void)snprintf(
        sql, type.n + 256,
        list ? "select case when x is distinct from null then pg_catalog.format('%%s', x) end "
               "from (select pg_catalog.unnest($1::pg_catalog.text::%.*s[]) as x) s"
             : "select pg_catalog.format('%%s', $1::pg_catalog.text::%.*s)",
        (int)type.n, (const char *)type.p);
    question(r, sql, 1, (const char *const[]){value}, fn);
    rt_free(sql);
}

static struct rt_sieve_part part_of(const struct rt_check *c, uint32_t at)
{
    int i = rt_relation_column(c->rel, c->conds[at].column);

    return (struct rt_sieve_part){.column = c->conds[at].column,
                                  .op = c->conds[at].op,
                                  .negated = c->conds[at].negated,
                                  .values = c->conds[at].values,
                                  .kind = pr_pg_base(c->rel->columns[i].type)->kind,
                                  .operand = &rt_rel_sql(c->rel)->operands[i]};
}

/* Tries the condition on one value: a pattern on an empty text, since NULL would not have it read.
 */
static void ask_try(struct rt_reg *r, const char *value)
{
    struct rt_sieve_part part = part_of(r->check, r->check->cond);
    bool pattern = rt_sieve_is_pattern(part.op);
    struct rt_text sql = {0};

    rt_text_puts(&sql, "select ");
    rt_sieve_put_test(&sql, &part, "v.c", 1);
    rt_text_puts(&sql, pattern ? " from (values (''::pg_catalog.text)) v(c)"
                               : " from (values (null::pg_catalog.text)) v(c)");
    r->db->trials.out = r->db->trials.out || pattern;
    question(r, rt_text_end(&sql), 1, (const char *const[]){value},
             pattern ? on_tried_pattern : on_tried);
    rt_free(sql.p);
}

/* As the subscribers' role: it can name the type, which the login may not. */
static void ask_settings(struct rt_reg *r, struct pr_slice schema)
{
    static const char settings_sql[] = "select pg_catalog.set_config('role', $1, true), "
                                       "pg_catalog.set_config('search_path', $2, true), "
                                       "pg_catalog.set_config('statement_timeout', $3, true)";
    char *role = rt_strndup(r->m.role.p, r->m.role.n);
    char *path = rt_strndup(schema.p, schema.n);
    bool pattern = rt_sieve_is_pattern(cond_of(r->check)->op);
    const char *timeout_ms = pattern ? TRY_PATTERN_MS : TRY_MS;

    question(r, settings_sql, 3, (const char *const[]){role, path, timeout_ms}, on_setting);
    rt_free(path);
    rt_free(role);
}

static void ask(struct rt_reg *r, const struct rt_operand *of, bool tried)
{
    const struct pr_cond *cond = cond_of(r->check);
    size_t n = cond->value.n;
    char *value = rt_malloc(n + 3);

    (void)snprintf(value, n + 3, cond->op == PR_F_IN ? "{%.*s}" : "%.*s", (int)n,
                   (const char *)cond->value.p);
    ask_settings(r, of->schema);
    if (!rt_sieve_is_pattern(cond->op) && cond->op != PR_F_IS) {
        ask_values(r, value, of->type, tried ? on_tried_values : on_values);
    }
    if (tried) {
        ask_try(r, value);
    }
    rt_pg_sync(r->db->check);
    rt_free(value);
}

void rt_check_wait_no_more(struct rt_check *c)
{
    struct rt_db *d = c->reg->db;

    if (!c->waits) {
        return;
    }
    c->waits = false;
    *(c->prev_try != NULL ? &c->prev_try->next_try : &d->trials.first) = c->next_try;
    *(c->next_try != NULL ? &c->next_try->prev_try : &d->trials.last) = c->prev_try;
}

static void wait_for_try(struct rt_check *c)
{
    struct rt_db *d = c->reg->db;

    c->waits = true;
    c->next_try = NULL;
    c->prev_try = d->trials.last;
    *(c->prev_try != NULL ? &c->prev_try->next_try : &d->trials.first) = c;
    d->trials.last = c;
}

/*
 * One at a time, and none between the questions of a batch: reading a pattern may take as long as
 * it is allowed to, one join may bring thousands, and everybody's rows are judged on the same
 * connection. So a batch waits for one of them at most.
 */
void rt_db_regs_try(struct rt_db *d)
{
    while (!d->trials.out && d->trials.first != NULL && !rt_batch_asks(d)) {
        struct rt_check *c = d->trials.first;

        rt_check_wait_no_more(c);
        if (d->check == NULL) {
            rt_check_interrupted(c->reg);
        } else {
            ask(c->reg, &rt_rel_sql(c->rel)->operands[column_of(c)], true);
        }
    }
}

/* `is` takes a word, not a value. False: refused. */
static bool check_word(struct rt_reg *r, int column)
{
    struct pr_slice word = cond_of(r->check)->value;
    const struct rt_relation *rel = r->check->rel;

    if (pr_slice_is(word, "null")) {
        return true;
    }
    if (!pr_slice_is(word, "true") && !pr_slice_is(word, "false") &&
        !pr_slice_is(word, "unknown")) {
        rt_refuse_raised(r, "invalid value for is filter: must be null, true, false, or unknown",
                         pr_str(""), "", pr_str(""));
        return false;
    }
    if (pr_pg_base(rel->columns[column].type)->kind != PR_PG_BOOL) {
        rt_refuse_raised(r, "is ", word, " filter requires a boolean column, got ",
                         rt_rel_sql(rel)->operands[column].type);
        return false;
    }
    return true;
}

/* What can be told without a question. False: refused. */
static bool check_plain(struct rt_reg *r, int column)
{
    const struct rt_check *c = r->check;
    const struct pr_cond *cond = cond_of(c);
    const struct rt_rights *rights = rt_relation_rights(c->rel, r->m.role);

    if (column < 0 || rights == NULL || !rights->may_select[column]) {
        rt_refuse_raised(r, "invalid column for filter ", cond->column, "", pr_str(""));
        return false;
    }
    if (c->rel->columns[column].generated) {
        rt_refuse_raised(r, "filter on generated column ", cond->column,
                         ": its values are not in the stream of changes", pr_str(""));
        return false;
    }
    if (cond->op == PR_F_IN && cond->nvalues > PR_FILTER_IN_MAX) {
        rt_refuse_raised(r, "too many values for `in` filter. Maximum 100", pr_str(""), "",
                         pr_str(""));
        return false;
    }
    if ((cond->op == PR_F_LIKE || cond->op == PR_F_ILIKE) && pr_like_is_cut(cond->value)) {
        rt_refuse(r,
                  (const struct pr_slice[]){pr_str("ERROR 22025 (invalid_escape_sequence) LIKE "
                                                   "pattern must not end with escape character")},
                  1);
        return false;
    }
    if ((cond->op == PR_F_LIKE || cond->op == PR_F_ILIKE) && pr_like_is_long(cond->value)) {
        rt_refuse_raised(r, "too long a pattern for ", pr_str(pr_filter_op_name(cond->op)),
                         " filter: at most 255 bytes may stand between a % and the next",
                         pr_str(""));
        return false;
    }
    return cond->op != PR_F_IS || check_word(r, column);
}

bool rt_check_cond(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    const struct pr_cond *cond = cond_of(c);
    const struct rt_column *column;
    int i = column_of(c);
    bool native;

    if (!check_plain(r, i)) {
        return false;
    }
    column = &c->rel->columns[i];
    native = pr_filter_native(cond, column->type, column->text);
    c->conds[c->cond] = (struct rt_sub_cond){.column = cond->column,
                                             .op = cond->op,
                                             .negated = cond->negated,
                                             .asked = !native,
                                             .values = cond->values};
    if (native && (cond->op == PR_F_IS || cond->op == PR_F_LIKE)) {
        return true;
    }
    if (r->db->check == NULL) {
        rt_check_interrupted(r);
        return false;
    }
    if (!native && rt_sieve_is_pattern(cond->op)) {
        wait_for_try(c);
        rt_db_regs_try(r->db);
    } else {
        ask(r, &rt_rel_sql(c->rel)->operands[i], !native);
    }
    return false;
}

uint32_t rt_check_parts(const struct rt_check *c, struct rt_sieve_part *parts)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < c->filter.count; i++) {
        if (c->conds[i].asked) {
            parts[n++] = part_of(c, i);
        }
    }
    return n;
}
