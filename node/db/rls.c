/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/rls.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/db/rls_in.h"

/* Bytes of parameters that are out; past it the next statement waits for an answer: a large row
 * goes out once for each claims set. */
#define OUT_BYTES_MAX ((size_t)4 * 1024 * 1024)
/* The commits of a batch become visible within a few ms; asking costs one round trip. */
#define GUARD_FIRST_MS 1u
#define GUARD_MAX_MS   50u
/* What all rows of a group may take one by one. */
#define SINGLE_MS 5000u

/* Read-only and short: whatever a policy tries to do beyond reading fails. Without sequential scans
 * only the rows asked for meet the policy, which may raise for others. Waiting for a lock is not
 * its fault. */
const char rt_rls_options[] =
    "-c default_transaction_isolation=repeatable\\ read -c default_transaction_read_only=on "
    "-c enable_seqscan=off -c statement_timeout=2s "
    "-c lock_timeout=1500ms -c jit=off -c row_security=on "
    "-c idle_in_transaction_session_timeout=5s -c TimeZone=UTC -c DateStyle=ISO,MDY "
    "-c IntervalStyle=postgres -c extra_float_digits=1 -c bytea_output=hex";

static const char claims_sql[] = "select pg_catalog.set_config('role', $1, true), "
                                 "pg_catalog.set_config('request.jwt.claims', $2, true), "
                                 "pg_catalog.set_config('plan_cache_mode', $3, true)";
static const char short_sql[] = "select pg_catalog.set_config('statement_timeout', '200', true), "
                                "pg_catalog.set_config('lock_timeout', '150', true)";

static void ask_guard(struct rt_job *j);
static void run(struct rt_ask *a);
static void next_ask(struct rt_job *j);

static void free_texts(struct rt_rls *r)
{
    for (uint32_t i = 0; i < r->ntexts; i++) {
        rt_free(r->texts[i]);
    }
    r->ntexts = 0;
}

static void free_job(struct rt_job *j)
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
static void forget_groups(struct rt_job *j)
{
    for (uint32_t i = 0; i < j->nasks; i++) {
        j->asks[i].group->user = NULL;
    }
}

static void finish(struct rt_job *j, bool ok)
{
    struct rt_rls *r = j->rls;

    for (uint32_t i = 0; ok && i < j->nasks; i++) {
        rt_ask_apply(&j->asks[i]);
    }
    forget_groups(j);
    r->job = NULL;
    j->done(j->ctx, ok);
    free_job(j);
}

/* An answer came: true if it is of no use any more. */
static bool stale(struct rt_job *j, const PGresult *res)
{
    j->out--;
    j->lost = j->lost || rt_pg_is_end(res);
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

/* A statement, and the name by which it is prepared, or "". */
struct saying {
    const char *name, *sql;
};

static void question(struct rt_job *j, struct saying s, int n, const char *const *params,
                     rt_pg_fn fn, void *ctx)
{
    j->out++;
    rt_count(j->rls->metrics, RT_M_DB_RLS_CHECKS, 1);
    if (s.name[0] != '\0') {
        rt_pg_execute(j->pg, s.name, n, params, fn, ctx);
    } else {
        rt_pg_query(j->pg, s.sql, n, params, fn, ctx);
    }
}

/* Statements that depend on no role. */
static const char *name_of(struct rt_job *j, const char *sql)
{
    const char *name = rt_pg_prepared(j->pg, pr_str(""), sql);

    if (name == NULL) {
        rt_pg_prepare(j->pg, pr_str(""), sql);
        rt_pg_sync(j->pg);
        name = rt_pg_prepared(j->pg, pr_str(""), sql);
    }
    return name;
}

/* What the server took, for the one that it answers: it does so in order. */
static void count_time(struct rt_ask *a)
{
    struct rt_job *j = a->job;
    uint64_t now = rt_now_ms(j->rls->loop);
    uint64_t from = a->asked_ms > j->answered_ms ? a->asked_ms : j->answered_ms;

    a->single_ms += a->single ? now - from : 0;
    j->answered_ms = now;
}

static void on_setting(void *ctx, const PGresult *res)
{
    struct rt_ask *a = ctx;

    if (stale(a->job, res)) {
        return;
    }
    count_time(a);
    /* If it failed, the statement behind it is aborted: what follows is done there. */
    if (PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK) {
        rt_ask_log_failure(a->job->rls, a, res);
    }
}

/* Is the error none of the row's values (a right, a missing name, a recursion)? */
static bool fails_for_all(const PGresult *res)
{
    const char *state = rt_pg_sqlstate(res);

    return PQresultStatus(res) == PGRES_PIPELINE_ABORTED || strncmp(state, "42", 2) == 0 ||
           strncmp(state, "54", 2) == 0;
}

static void deny_rest(struct rt_ask *a)
{
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->asked[i].verdict == RT_UNDECIDED) {
            a->asked[i].verdict = RT_DENIED;
        }
    }
}

static bool is_locked(const PGresult *res)
{
    return strcmp(rt_pg_sqlstate(res), "55P03") == 0;
}

/* A row of the table that cannot be judged may be another one than the change left: its own image
 * decides, unless that would fail, too. */
static void failed(struct rt_ask *a, const PGresult *res)
{
    bool late = rt_rls_timed_out(res);

    if (is_locked(res)) {
        rt_ask_log_failure(a->job->rls, a, res);
        deny_rest(a);
        return;
    }
    if (PQresultStatus(res) != PGRES_PIPELINE_ABORTED) {
        rt_ask_log_failure(a->job->rls, a, res);
    }
    if (a->single && (a->image || late || fails_for_all(res))) {
        a->asked[a->at[0]].verdict = RT_DENIED;
        a->asked[a->at[0]].failed = fails_for_all(res);
    } else if (!a->single) {
        a->single = true; /* one bad row must not hide the others */
        a->single_ms = 0;
        a->next_row = 0;
    }
    if (late) {
        rt_ask_timed_out(a);
    }
}

static void on_rows(void *ctx, const PGresult *res)
{
    struct rt_ask *a = ctx;
    struct rt_job *j = a->job;

    if (stale(j, res)) {
        return;
    }
    count_time(a);
    j->out_bytes -= a->bytes;
    if (PQresultStatus(res) != PGRES_TUPLES_OK && a->kept && !rt_rls_timed_out(res) &&
        !is_locked(res)) {
        a->plain = true; /* whatever it was, the statement itself says it */
        a->next_row = 0;
    } else if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        failed(a, res);
    } else if (a->image) {
        rt_ask_take_image(a, res);
    } else {
        rt_ask_take_table(a, res);
        a->next_row = a->single ? a->next_row : a->count;
    }
    run(a);
    next_ask(j);
}

/* Name of a group's statement, prepared under its role. */
static const char *name_for(struct rt_ask *a, const char *sql, const char *const *who,
                            const char *claims_name)
{
    struct rt_job *j = a->job;
    const char *name = a->plain ? "" : rt_pg_prepared(j->pg, a->group->role, sql);

    if (name == NULL) {
        question(j, (struct saying){claims_name, claims_sql}, 3, who, on_setting, a);
        rt_pg_prepare(j->pg, a->group->role, sql);
        rt_pg_sync(j->pg);
        name = rt_pg_prepared(j->pg, a->group->role, sql);
    }
    return name;
}

static void send_stmt(struct rt_ask *a, struct rt_stmt *s)
{
    struct rt_job *j = a->job;
    char *role = rt_strndup(a->group->role.p, a->group->role.n);
    char *claims = rt_strndup(a->group->claims.p, a->group->claims.n);
    bool shared = j->plans->shared && j->plans->changes == j->rls->plans;
    const char *who[3] = {role, claims, shared ? "force_generic_plan" : "force_custom_plan"};
    const char *sql = rt_text_end(&s->sql);
    const char *claims_name = a->plain ? "" : name_of(j, claims_sql);
    const char *name = name_for(a, sql, who, claims_name);
    const char *params[RT_KEYS_MAX];

    a->asked_ms = rt_now_ms(j->rls->loop);
    if (!shared) {
        question(j, (struct saying){"", "discard plans"}, 0, NULL, on_setting, a);
    }
    a->kept = name[0] != '\0' || claims_name[0] != '\0';
    if (a->single) {
        question(j, (struct saying){"", short_sql}, 0, NULL, on_setting, a);
    }
    question(j, (struct saying){claims_name, claims_sql}, 3, who, on_setting, a);
    a->bytes = 0;
    for (int i = 0; i < s->nparams; i++) {
        params[i] = rt_text_end(&s->param[i]);
        a->bytes += s->param[i].len;
    }
    j->out_bytes += a->bytes;
    question(j, (struct saying){name, sql}, s->nparams, params, on_rows, a);
    rt_rls_reset(j->pg);
    rt_pg_sync(j->pg);
    rt_free(claims);
    rt_free(role);
}

static void ended(struct rt_ask *a)
{
    deny_rest(a);
    a->job->running--;
}

/* Each row was in time, all of them are not. */
static bool too_long(struct rt_ask *a)
{
    if (!a->single || a->single_ms < SINGLE_MS) {
        return false;
    }
    rt_ask_timed_out(a);
    return true;
}

/* From the table to the images of what is still undecided. */
static bool begin_image(struct rt_ask *a)
{
    struct pr_slice condition = rt_ask_condition(a);

    if (a->only_generated || !rt_rel_sql(a->rel)->whole_row || condition.n == 0) {
        return false;
    }
    a->image = true;
    a->single = false;
    a->next_row = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        struct rt_asked *at = &a->asked[i];
        const struct rt_change *c = a->job->rows[at->row].change;

        if (at->verdict == RT_UNDECIDED) {
            at->failed = rt_image_too_large(a->rel, c, at->old, condition);
            at->verdict = at->failed || !rt_image_known(a->rel, c, at->old, condition)
                              ? RT_DENIED
                              : RT_UNDECIDED;
        }
    }
    return true;
}

/* Goes on with this ask: sends its next statement, now or when less is out, or ends it. */
static void run(struct rt_ask *a)
{
    struct rt_job *j = a->job;
    struct rt_stmt s;
    const struct rt_rights *rights = rt_relation_rights(a->rel, a->group->role);

    if (rt_ask_cancelled(a) || too_long(a)) {
        ended(a);
        return;
    }
    if (j->out_bytes >= OUT_BYTES_MAX) {
        j->waiting[j->nwaiting++] = a;
        return;
    }
    rt_ask_pick(a);
    if (a->nat == 0 && (a->image || !begin_image(a))) {
        ended(a);
        return;
    }
    if (a->nat == 0) {
        rt_ask_pick(a);
        if (a->nat == 0) {
            ended(a);
            return;
        }
    }
    if (a->image) {
        rt_stmt_image(&s, a, rt_ask_condition(a));
        a->next_row = a->single ? a->next_row : a->count;
    } else if (rights != NULL) {
        rt_stmt_table(&s, a, rights);
    } else {
        ended(a);
        return;
    }
    send_stmt(a, &s);
    rt_stmt_free(&s);
}

static void next_ask(struct rt_job *j)
{
    while (j->nwaiting > 0 && j->out_bytes < OUT_BYTES_MAX) {
        run(j->waiting[--j->nwaiting]);
    }
    while (j->started < j->nasks && j->running < RT_ASKS_RUNNING_MAX &&
           j->out_bytes < OUT_BYTES_MAX) {
        struct rt_ask *a = &j->asks[j->started++];

        j->running++;
        a->at = rt_malloc(a->count * sizeof *a->at);
        if (!a->only_generated && rt_ask_condition(a).n == 0) {
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
    struct rt_job *j = ctx;
    struct rt_rls *r = j->rls;

    if (stale(j, res)) {
        return;
    }
    if (PQresultStatus(res) != PGRES_TUPLES_OK && !j->plain) {
        j->plain = true; /* a policy may have dropped what was prepared */
        ask_guard(j);
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

static void ask_guard(struct rt_job *j)
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
    question(j, (struct saying){j->plain ? "" : name_of(j, RT_GUARD_SQL), RT_GUARD_SQL}, 1, params,
             on_guard, j);
    rt_pg_sync(j->pg);
    rt_free(xids.p);
}

void rt_rls_judge(struct rt_rls *r, struct rt_pg *pg, const struct rt_rls_batch *b)
{
    struct rt_job *j = rt_calloc(1, sizeof *j);

    assert(r->job == NULL);
    free_texts(r);
    r->job = j;
    r->guard_ms = GUARD_FIRST_MS;
    j->rls = r;
    j->pg = pg;
    j->rows = b->rows;
    j->nrows = b->count;
    j->open_xid = b->open_xid;
    j->later = rt_calloc(b->count, sizeof *j->later);
    j->done = b->done;
    j->cancelled = b->cancelled;
    j->ctx = b->ctx;
    j->plans = b->plans;
    rt_job_gather(j);
    rt_pg_forget(pg, r->plans != b->plans->changes);
    r->plans = b->plans->changes;
    ask_guard(j);
}

void rt_rls_cancel(struct rt_rls *r)
{
    struct rt_job *j = r->job;

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

struct rt_rls *rt_rls_new(struct rt_loop *l, struct rt_log *log, struct rt_metrics *metrics)
{
    struct rt_rls *r = rt_calloc(1, sizeof *r);

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
