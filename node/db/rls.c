/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/rls.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/db/rls_in.h"

/* Groups whose statements are out at the same time. */
#define IN_FLIGHT_MAX 64u
/* The commits of a batch become visible within a few ms; asking costs one round trip. */
#define GUARD_FIRST_MS 1u
#define GUARD_MAX_MS   50u
/* One line about failing policies a minute: they fail for every row. */
#define LOG_MS 60000u

/* Read-only and short: whatever a policy tries to do beyond reading fails. The plan of a check is
 * the same for all claims, so the generic one is forced (2.5 x cheaper, measured). Without
 * sequential scans only the rows that are asked for meet the policy, which may raise for others. */
const char rt_rls_options[] =
    "-c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on "
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c statement_timeout=2s -c "
    "jit=off -c row_security=on "
    "-c idle_in_transaction_session_timeout=5s -c TimeZone=UTC -c DateStyle=ISO,MDY "
    "-c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex";

/*
 * 32-bit xids of the stream become full ones by the nearest epoch: $1 is an array of them. True
 * when all of them are visible to a snapshot taken now.
 */
static const char guard_sql[] =
    "with m as (select pg_catalog.pg_current_snapshot() as s, pg_catalog.pg_snapshot_xmax("
    "pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.numeric as m), "
    "d as (select s, m, x - (m % 4294967296) as d from m, "
    "pg_catalog.unnest($1::pg_catalog.text::pg_catalog.numeric[]) x) "
    "select coalesce(pg_catalog.bool_and(pg_catalog.pg_visible_in_snapshot((m + d + case "
    "when d > 2147483648 then -4294967296 when d < -2147483648 then 4294967296 else 0 end)"
    "::pg_catalog.text::pg_catalog.xid8, s)), true) from d";

static const char claims_sql[] = "select pg_catalog.set_config('role', $1, true), "
                                 "pg_catalog.set_config('request.jwt.claims', $2, true)";
static const char short_sql[] = "select pg_catalog.set_config('statement_timeout', '200', true)";

struct job;

/* What one group asks of one table. */
struct ask {
    struct job *job;
    uint32_t next; /* index + 1 of another ask of the same group; 0: none */
    struct rt_group *group;
    const struct rt_relation *rel;
    struct rt_asked *asked;
    uint32_t count, cap;
    uint32_t *at; /* rows of the statement that is out */
    uint32_t nat;
    bool image;  /* the table was asked; now the rows' own images are judged */
    bool single; /* a statement failed: row by row */
    uint32_t next_row;
    bool only_generated; /* no verdict: reads generated columns */
};

struct job {
    struct rt_rls *rls; /* NULL: cancelled */
    struct rt_pg *pg;
    struct rt_rls_row *rows;
    uint32_t nrows, open_xid;
    bool *later; /* per row: the same key changes again in its transaction */
    void (*done)(void *ctx, bool ok);
    void *ctx;
    struct ask *asks;
    uint32_t nasks, asks_cap, started, running;
    uint32_t out; /* answers that are to come */
    bool lost;
};

struct rt_rls {
    struct rt_log *log;
    struct rt_metrics *metrics;
    struct rt_loop *loop;
    struct rt_timer guard;
    uint64_t guard_ms;
    struct job *job;
    uint64_t logged_ms;
    char **texts; /* of generated columns, until the next judgement */
    uint32_t ntexts, texts_cap;
};

static void ask_guard(struct job *j);
static void run(struct ask *a);
static void next_ask(struct job *j);

static void free_texts(struct rt_rls *r)
{
    for (uint32_t i = 0; i < r->ntexts; i++) {
        rt_free(r->texts[i]);
    }
    r->ntexts = 0;
}

static void free_job(struct job *j)
{
    for (uint32_t i = 0; i < j->nasks; i++) {
        rt_free(j->asks[i].asked);
        rt_free(j->asks[i].at);
    }
    rt_free(j->asks);
    rt_free(j->later);
    rt_free(j);
}

/* No group may keep a pointer into a job that ends. */
static void forget_groups(struct job *j)
{
    for (uint32_t i = 0; i < j->nasks; i++) {
        j->asks[i].group->user = NULL;
    }
}

static void apply(const struct ask *a)
{
    for (uint32_t i = 0; i < a->count && !a->only_generated; i++) {
        struct rt_matches *m = a->job->rows[a->asked[i].row].matches;

        for (uint32_t k = a->asked[i].match;
             a->asked[i].verdict != RT_VISIBLE && k < m->count && m->items[k].group == a->group;
             k++) {
            m->items[k].visible = false;
        }
    }
}

static void finish(struct job *j, bool ok)
{
    struct rt_rls *r = j->rls;

    for (uint32_t i = 0; ok && i < j->nasks; i++) {
        apply(&j->asks[i]);
    }
    forget_groups(j);
    r->job = NULL;
    j->done(j->ctx, ok);
    free_job(j);
}

/* An answer came: true if it is of no use any more. */
static bool stale(struct job *j, const PGresult *res)
{
    j->out--;
    j->lost = j->lost || res == NULL;
    if (j->rls == NULL || j->lost) {
        if (j->out == 0 && j->rls == NULL) {
            free_job(j);
        } else if (j->out == 0) {
            finish(j, false);
        }
        return true;
    }
    return false;
}

static void question(struct job *j, const char *sql, int n, const char *const *params, rt_pg_fn fn,
                     void *ctx)
{
    j->out++;
    rt_count(j->rls->metrics, RT_M_DB_RLS_CHECKS, 1);
    rt_pg_query(j->pg, sql, n, params, fn, ctx);
}

static void on_setting(void *ctx, const PGresult *res)
{
    struct ask *a = ctx;

    /* If it failed, the statement behind it is aborted, and that is seen there. */
    (void)stale(a->job, res);
}

static void log_failure(struct rt_rls *r, const struct ask *a, const PGresult *res)
{
    uint64_t now = rt_now_ms(r->loop);

    if (r->logged_ms == 0 || now - r->logged_ms >= LOG_MS) {
        r->logged_ms = now;
        rt_log(r->log, RT_WARN, "policy_failed", rt_kv_s("code", "RlsPolicyError"),
               rt_kv_b("schema", a->rel->schema), rt_kv_b("table", a->rel->table),
               rt_kv_b("role", a->group->role), rt_kv_s("sqlstate", rt_pg_sqlstate(res)),
               rt_kv_s("err", rt_pg_message(res)));
    }
}

static void keep_generated(struct rt_rls *r, const struct ask *a, struct rt_rls_row *row,
                           const PGresult *res, int line)
{
    const struct rt_rights *rights = rt_relation_rights(a->rel, a->group->role);
    int column = 2;

    for (uint32_t i = 0; i < a->rel->ncolumns; i++) {
        if (!a->rel->columns[i].generated || !rights->may_select[i]) {
            continue;
        }
        if (PQgetisnull(res, line, column)) {
            row->row[i].kind = RT_V_NULL;
        } else {
            size_t n = (size_t)PQgetlength(res, line, column);

            if (r->ntexts == r->texts_cap) {
                r->texts_cap = r->texts_cap == 0 ? 64 : r->texts_cap * 2;
                r->texts = rt_realloc(r->texts, r->texts_cap * sizeof *r->texts);
            }
            r->texts[r->ntexts] = rt_strndup(PQgetvalue(res, line, column), n);
            row->row[i].kind = RT_V_TEXT;
            row->row[i].text = pr_bytes(r->texts[r->ntexts], n);
            r->ntexts++;
        }
        column++;
    }
}

static uint32_t number(const char *text)
{
    uint32_t v = 0;

    for (; *text >= '0' && *text <= '9'; text++) {
        v = v * 10 + (uint32_t)(*text - '0');
    }
    return v;
}

/* The table's answer: a row that is there as the change left it is visible. */
static void take_table(struct ask *a, const PGresult *res)
{
    struct job *j = a->job;

    for (int line = 0; line < PQntuples(res); line++) {
        uint32_t i = number(PQgetvalue(res, line, 0));
        struct rt_asked *asked;
        struct rt_rls_row *row;
        bool known = !PQgetisnull(res, line, 1);
        bool same;

        if (i == 0 || i > a->nat) {
            continue;
        }
        asked = &a->asked[a->at[i - 1]];
        row = &j->rows[asked->row];
        same = !known || (number(PQgetvalue(res, line, 1)) == row->change->xid &&
                          row->change->xid != j->open_xid && !j->later[asked->row]);
        if (same) {
            asked->verdict = RT_VISIBLE;
        }
        if (same && known) {
            keep_generated(j->rls, a, row, res, line);
        }
    }
}

static void take_image(struct ask *a, const PGresult *res)
{
    for (int line = 0; line < PQntuples(res); line++) {
        uint32_t i = number(PQgetvalue(res, line, 0));

        if (i > 0 && i <= a->nat) {
            a->asked[a->at[i - 1]].verdict = RT_VISIBLE;
        }
    }
    for (uint32_t i = 0; i < a->nat; i++) {
        if (a->asked[a->at[i]].verdict == RT_UNDECIDED) {
            a->asked[a->at[i]].verdict = RT_DENIED;
        }
    }
}

static void on_rows(void *ctx, const PGresult *res)
{
    struct ask *a = ctx;
    struct job *j = a->job;

    if (stale(j, res)) {
        return;
    }
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        log_failure(j->rls, a, res);
        if (a->single) {
            a->asked[a->at[0]].verdict = RT_DENIED;
        } else {
            a->single = true; /* one bad row must not hide the others */
            a->next_row = 0;
        }
    } else if (a->image) {
        take_image(a, res);
    } else {
        take_table(a, res);
        a->next_row = a->single ? a->next_row : a->count;
    }
    run(a);
    next_ask(j);
}

static void send_stmt(struct ask *a, struct rt_stmt *s)
{
    struct job *j = a->job;
    char *role = rt_strndup(a->group->role.p, a->group->role.n);
    char *claims = rt_strndup(a->group->claims.p, a->group->claims.n);
    const char *who[2] = {role, claims};
    const char *params[16];

    if (a->single) {
        question(j, short_sql, 0, NULL, on_setting, a);
    }
    question(j, claims_sql, 2, who, on_setting, a);
    for (int i = 0; i < s->nparams; i++) {
        params[i] = rt_text_end(&s->param[i]);
    }
    question(j, rt_text_end(&s->sql), s->nparams, params, on_rows, a);
    rt_pg_sync(j->pg);
    rt_free(claims);
    rt_free(role);
}

/* The next rows to ask for: one if single, else all that are undecided. */
static void pick(struct ask *a)
{
    a->nat = 0;
    for (uint32_t i = a->next_row; i < a->count; i++) {
        if (a->asked[i].verdict == RT_UNDECIDED) {
            a->at[a->nat++] = i;
            if (a->single) {
                a->next_row = i + 1;
                return;
            }
        }
    }
}

static struct pr_slice condition_of(const struct ask *a)
{
    const struct rt_rel_sql *sql = rt_rel_sql(a->rel);

    for (uint32_t i = 0; i < sql->npolicies; i++) {
        if (pr_slice_eq(sql->policies[i].role, a->group->role)) {
            return sql->policies[i].condition;
        }
    }
    return pr_str("");
}

static void deny_rest(struct ask *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->asked[i].verdict == RT_UNDECIDED) {
            a->asked[i].verdict = RT_DENIED;
        }
    }
}

static void ended(struct ask *a)
{
    deny_rest(a);
    a->job->running--;
}

/* From the table to the images of what is still undecided. */
static bool begin_image(struct ask *a)
{
    struct pr_slice condition = condition_of(a);

    if (a->only_generated || !rt_rel_sql(a->rel)->whole_row || condition.n == 0) {
        return false;
    }
    a->image = true;
    a->single = false;
    a->next_row = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->asked[i].verdict == RT_UNDECIDED &&
            !rt_image_known(a->rel, a->job->rows[a->asked[i].row].change, condition)) {
            a->asked[i].verdict = RT_DENIED;
        }
    }
    return true;
}

/* Goes on with this ask: sends its next statement, or ends it. */
static void run(struct ask *a)
{
    struct job *j = a->job;
    struct rt_stmt s;
    const struct rt_rights *rights = rt_relation_rights(a->rel, a->group->role);

    pick(a);
    if (a->nat == 0 && (a->image || !begin_image(a))) {
        ended(a);
        return;
    }
    if (a->nat == 0) {
        pick(a);
        if (a->nat == 0) {
            ended(a);
            return;
        }
    }
    if (a->image) {
        rt_stmt_image(&s, a->rel, condition_of(a), j->rows, a->asked, a->at, a->nat);
        a->next_row = a->single ? a->next_row : a->count;
    } else if (rights == NULL ||
               !rt_stmt_table(&s, a->rel, rights, j->rows, a->asked, a->at, a->nat)) {
        ended(a);
        return;
    }
    send_stmt(a, &s);
    rt_stmt_free(&s);
}

static void next_ask(struct job *j)
{
    while (j->started < j->nasks && j->running < IN_FLIGHT_MAX) {
        struct ask *a = &j->asks[j->started++];

        j->running++;
        a->at = rt_malloc(a->count * sizeof *a->at);
        if (!a->only_generated && condition_of(a).n == 0) {
            ended(a); /* no policy lets this role see anything */
        } else {
            run(a);
        }
    }
    if (j->running == 0 && j->started == j->nasks) {
        finish(j, true);
    }
}

static void on_guard(void *ctx, const PGresult *res)
{
    struct job *j = ctx;
    struct rt_rls *r = j->rls;

    if (stale(j, res)) {
        return;
    }
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        rt_log(r->log, RT_ERROR, "guard_failed", rt_kv_s("err", rt_pg_message(res)));
    } else if (strcmp(PQgetvalue(res, 0, 0), "t") == 0) {
        next_ask(j);
        return;
    }
    rt_timer_set(&r->guard, r->guard_ms);
    r->guard_ms = r->guard_ms * 2 < GUARD_MAX_MS ? r->guard_ms * 2 : GUARD_MAX_MS;
}

static void on_guard_timer(void *ctx)
{
    struct rt_rls *r = ctx;

    if (r->job != NULL) {
        ask_guard(r->job);
    }
}

static void ask_guard(struct job *j)
{
    struct rt_text xids = {0};
    const char *params[1];
    uint32_t last = 0;

    rt_text_puts(&xids, "{");
    for (uint32_t i = 0; i < j->nrows; i++) {
        if (j->rows[i].change->xid != last) {
            char text[16];

            last = j->rows[i].change->xid;
            (void)snprintf(text, sizeof text, xids.len > 1 ? ",%u" : "%u", last);
            rt_text_puts(&xids, text);
        }
    }
    rt_text_puts(&xids, "}");
    params[0] = rt_text_end(&xids);
    question(j, guard_sql, 1, params, on_guard, j);
    rt_pg_sync(j->pg);
    rt_free(xids.p);
}

static struct ask *ask_of(struct job *j, struct rt_group *g, const struct rt_relation *rel)
{
    uint32_t first = (uint32_t)(uintptr_t)g->user; /* index + 1 of the group's newest ask */

    for (uint32_t i = first; i != 0; i = j->asks[i - 1].next) {
        if (j->asks[i - 1].rel == rel) {
            return &j->asks[i - 1];
        }
    }
    if (j->nasks == j->asks_cap) {
        j->asks_cap = j->asks_cap == 0 ? 16 : j->asks_cap * 2;
        j->asks = rt_realloc(j->asks, j->asks_cap * sizeof *j->asks);
    }
    j->asks[j->nasks] =
        (struct ask){.job = j, .next = first, .group = g, .rel = rel, .only_generated = true};
    j->nasks++;
    g->user = (void *)(uintptr_t)j->nasks;
    return &j->asks[j->nasks - 1];
}

static void add_row(struct ask *a, uint32_t row, uint32_t match)
{
    if (a->count > 0 && a->asked[a->count - 1].row == row) {
        return; /* more matches of the same group */
    }
    if (a->count == a->cap) {
        a->cap = a->cap == 0 ? 8 : a->cap * 2;
        a->asked = rt_realloc(a->asked, a->cap * sizeof *a->asked);
    }
    a->asked[a->count++] = (struct rt_asked){.row = row, .match = match};
}

static bool has_generated(const struct rt_relation *rel)
{
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].generated) {
            return true;
        }
    }
    return false;
}

static void gather(struct job *j)
{
    for (uint32_t i = 0; i < j->nrows; i++) {
        struct rt_rls_row *row = &j->rows[i];
        bool generated = row->change->kind != PR_K_DELETE && has_generated(row->change->rel);

        for (uint32_t k = 0; k < row->matches->count; k++) {
            struct rt_match *m = &row->matches->items[k];
            bool judged = rt_match_needs_rls(row->change, m);

            if (judged || (generated && m->error == RT_MATCH_OK)) {
                struct ask *a = ask_of(j, m->group, row->change->rel);

                a->only_generated = a->only_generated && !judged;
                add_row(a, i, k);
            }
        }
        for (uint32_t k = i + 1; k < j->nrows && !j->later[i]; k++) {
            const struct rt_change *c = j->rows[k].change;

            j->later[i] = c->xid == row->change->xid && c->rel == row->change->rel &&
                          rt_same_key(row->change, c);
        }
    }
}

bool rt_rls_needed(const struct rt_rls_row *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < rows[i].matches->count; k++) {
            if (rt_match_needs_rls(rows[i].change, &rows[i].matches->items[k])) {
                return true;
            }
        }
        if (rows[i].change->kind != PR_K_DELETE && has_generated(rows[i].change->rel)) {
            return true;
        }
    }
    return false;
}

void rt_rls_judge(struct rt_rls *r, struct rt_pg *pg, struct rt_rls_row *rows, uint32_t n,
                  uint32_t open_xid, void (*done)(void *ctx, bool ok), void *ctx)
{
    struct job *j = rt_calloc(1, sizeof *j);

    assert(r->job == NULL);
    free_texts(r);
    r->job = j;
    r->guard_ms = GUARD_FIRST_MS;
    j->rls = r;
    j->pg = pg;
    j->rows = rows;
    j->nrows = n;
    j->open_xid = open_xid;
    j->later = rt_calloc(n, sizeof *j->later);
    j->done = done;
    j->ctx = ctx;
    gather(j);
    ask_guard(j);
}

void rt_rls_cancel(struct rt_rls *r)
{
    struct job *j = r->job;

    rt_timer_clear(&r->guard);
    if (j == NULL) {
        return;
    }
    r->job = NULL;
    forget_groups(j);
    j->rls = NULL;
    if (j->out == 0) {
        free_job(j); /* else its last answer frees it */
    }
}

struct rt_rls *rt_rls_new(struct rt_loop *l, const struct rt_config *cfg, struct rt_log *log,
                          struct rt_metrics *metrics)
{
    struct rt_rls *r = rt_calloc(1, sizeof *r);

    (void)cfg;
    r->loop = l;
    r->log = log;
    r->metrics = metrics;
    rt_timer_init(l, &r->guard, on_guard_timer, r);
    return r;
}

static void free_rls(void *ctx)
{
    struct rt_rls *r = ctx;

    rt_free(r->texts);
    rt_free(r);
}

void rt_rls_free(struct rt_rls *r)
{
    rt_rls_cancel(r);
    free_texts(r);
    rt_timer_close(&r->guard, free_rls);
}
