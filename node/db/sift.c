/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/sift.h"

#include <assert.h>
#include <string.h>

#include "node/base/alloc.h"

/* How long a statement may take: a pattern can be made to last, and everybody's changes wait. */
#define PATTERNS_MS "200"
#define OTHERS_MS   "2000"
/* A pattern that takes so long is slow. Slow ones get so much of one batch together: beyond it,
 * those that are not known to be quick are not asked, as if they had been out of time. Each for
 * itself may be within its limit, but one client may bring thousands. */
#define SLOW_MS     20u
#define SLOW_ALL_MS 1000u
/* One that was quick is known as slow after two such statements: the first may have been the
 * machine. */
#define SLOW_TWICE 2u
/* Statements that are out at the same time; of patterns that are not known to be quick. */
#define IN_FLIGHT_MAX 16u
#define DOUBTFUL_MAX  2u
/* A row with more than so many bytes for a sieve is not asked about: as a message it would be error
 * 413, and it travels once for each of them. Past so many that are out, the next one waits. */
#define TEXTS_MAX     ((size_t)4 * 1024 * 1024)
#define OUT_BYTES_MAX ((size_t)4 * 1024 * 1024)
/* One line about failing filters a minute: they fail for every row. */
#define LOG_MS 60000u
/* Parameters of a statement: one array of the rows' texts and one value per condition. */
#define PARAMS_MAX (2 * PR_FILTER_CONDS_MAX)

enum pass { PASS_NOT = 0, PASS_YES, PASS_FAILED };

struct job;

/* What one sieve is asked of one table. */
struct task {
    struct job *job;
    struct rt_sieve *sieve;
    const struct rt_relation *rel;
    uint32_t next; /* index + 1 of another task of the same sieve; 0: none */
    uint32_t *rows;
    enum pass *pass;
    uint32_t count, cap;
    uint32_t at, out; /* rows before `at` are decided; so many behind it are asked for */
    size_t bytes;     /* of their texts */
    uint64_t asked_ms;
    bool doubtful; /* one of those */
    bool single;   /* the statement failed: row by row */
};

struct job {
    struct rt_sift *sift; /* NULL: cancelled */
    struct rt_pg *pg;
    const struct rt_rls_row *rows;
    uint32_t nrows;
    struct task *tasks;
    uint32_t count, cap, started, running, doubtful;
    uint32_t out; /* answers that are to come */
    size_t out_bytes;
    uint64_t answered_ms;
    uint64_t slow_ms; /* that slow ones took so far */
    bool lost;
};

struct rt_sift {
    struct rt_loop *loop;
    struct rt_log *log;
    const struct rt_sift_events *ev;
    void *ctx;
    struct job *job;
    uint64_t logged_ms;
};

static void run(struct task *k);
static void next_task(struct job *j);

static void free_job(struct job *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        rt_free(j->tasks[i].rows);
        rt_free(j->tasks[i].pass);
    }
    rt_free(j->tasks);
    rt_free(j);
}

/* No sieve may point into a job that ends. */
static void forget(struct job *j)
{
    for (uint32_t i = 0; i < j->count; i++) {
        j->tasks[i].sieve->task = 0;
    }
}

static struct task *find(struct job *j, const struct rt_sieve *s, const struct rt_relation *rel)
{
    for (uint32_t i = s->task; i != 0; i = j->tasks[i - 1].next) {
        if (j->tasks[i - 1].rel == rel) {
            return &j->tasks[i - 1];
        }
    }
    return NULL;
}

static struct task *task_of(struct job *j, struct rt_sieve *s, const struct rt_relation *rel)
{
    struct task *k = find(j, s, rel);

    if (k != NULL) {
        return k;
    }
    if (j->count == j->cap) {
        j->cap = j->cap == 0 ? 16 : j->cap * 2;
        j->tasks = rt_realloc(j->tasks, j->cap * sizeof *j->tasks);
    }
    k = &j->tasks[j->count++];
    *k = (struct task){.job = j, .sieve = s, .rel = rel, .next = s->task};
    s->task = j->count;
    return k;
}

static void add_row(struct task *k, uint32_t row)
{
    if (k->count > 0 && k->rows[k->count - 1] == row) {
        return; /* more matches of the same sieve */
    }
    if (k->count == k->cap) {
        k->cap = k->cap == 0 ? 8 : k->cap * 2;
        k->rows = rt_realloc(k->rows, k->cap * sizeof *k->rows);
        k->pass = rt_realloc(k->pass, k->cap * sizeof *k->pass);
    }
    k->rows[k->count] = row;
    k->pass[k->count] = PASS_NOT;
    k->count++;
}

static void gather(struct job *j)
{
    for (uint32_t i = 0; i < j->nrows; i++) {
        const struct rt_matches *all = j->rows[i].matches;

        for (uint32_t m = 0; m < all->count; m++) {
            if (all->items[m].sieve != NULL) {
                add_row(task_of(j, all->items[m].sieve, j->rows[i].change->rel), i);
            }
        }
    }
}

/* Rows are walked in the order in which the tasks have them. */
static void apply(struct job *j)
{
    for (uint32_t t = 0; t < j->count; t++) {
        j->tasks[t].at = 0;
    }
    for (uint32_t i = 0; i < j->nrows; i++) {
        struct rt_matches *all = j->rows[i].matches;

        for (uint32_t m = 0; m < all->count; m++) {
            struct rt_match *match = &all->items[m];
            struct task *k = NULL;

            if (match->sieve == NULL) {
                continue;
            }
            k = find(j, match->sieve, j->rows[i].change->rel);
            assert(k != NULL);
            while (k->rows[k->at] != i) {
                k->at++;
            }
            match->visible = match->visible && k->pass[k->at] != PASS_NOT;
            match->unjudged = k->pass[k->at] == PASS_FAILED;
        }
    }
}

static void finish(struct job *j, bool ok)
{
    struct rt_sift *s = j->sift;

    if (ok) {
        apply(j);
    }
    forget(j);
    s->job = NULL;
    free_job(j);
    s->ev->on_done(s->ctx, ok);
}

/* An answer came: true if it is of no use any more. */
static bool stale(struct job *j, const PGresult *res)
{
    j->out--;
    j->lost = j->lost || rt_pg_is_end(res);
    if (j->sift != NULL && !j->lost) {
        return false;
    }
    if (j->out == 0 && j->sift == NULL) {
        free_job(j);
    } else if (j->out == 0) {
        finish(j, false);
    }
    return true;
}

static void log_failure(struct rt_sift *s, const struct task *k, const char *sqlstate,
                        const char *why)
{
    uint64_t now = rt_now_ms(s->loop);

    if (s->logged_ms == 0 || now - s->logged_ms >= LOG_MS) {
        s->logged_ms = now;
        rt_log(s->log, RT_WARN, "filter_failed", rt_kv_b("schema", k->rel->schema),
               rt_kv_b("table", k->rel->table), rt_kv_b("role", k->sieve->role),
               rt_kv_s("sqlstate", sqlstate), rt_kv_s("err", why));
    }
}

/* The sieve failed for the row at hand alone. */
static void fail_row(struct task *k, const char *sqlstate)
{
    struct rt_sift *s = k->job->sift;

    k->pass[k->at] = PASS_FAILED;
    k->at++;
    if (rt_sieve_failed(k->sieve, rt_now_ms(s->loop))) {
        s->ev->on_cancelled(s->ctx, k->sieve, sqlstate);
    }
}

static void on_setting(void *ctx, const PGresult *res)
{
    struct task *k = ctx;

    /* If it failed, the statement behind it is aborted: what follows is done there. */
    if (!stale(k->job, res) && PQresultStatus(res) != PGRES_TUPLES_OK) {
        log_failure(k->job->sift, k, rt_pg_sqlstate(res), rt_pg_message(res));
    }
}

/* Answers come in the order of the questions: each took what went by since the one before. */
static void note_pace(struct task *k)
{
    struct job *j = k->job;
    uint64_t now = rt_now_ms(j->sift->loop);
    uint64_t took = now - (k->asked_ms > j->answered_ms ? k->asked_ms : j->answered_ms);

    j->answered_ms = now;
    if (k->sieve->patterns && took >= SLOW_MS) {
        k->sieve->slow++;
        k->sieve->quick = k->sieve->quick && k->sieve->slow < SLOW_TWICE;
        j->slow_ms += took;
    } else {
        k->sieve->slow = 0;
        k->sieve->quick = true;
    }
}

static void on_rows(void *ctx, const PGresult *res)
{
    struct task *k = ctx;
    struct job *j = k->job;

    if (stale(j, res)) {
        return;
    }
    note_pace(k);
    j->out_bytes -= k->bytes;
    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        for (int line = 0; line < PQntuples(res); line++) {
            uint32_t i = (uint32_t)rt_pg_number(PQgetvalue(res, line, 0));

            if (i > 0 && i <= k->out) {
                k->pass[k->at + i - 1] = PASS_YES;
            }
        }
        k->at += k->out;
    } else if (k->out > 1) {
        k->single = true;
    } else {
        if (PQresultStatus(res) != PGRES_PIPELINE_ABORTED) {
            log_failure(j->sift, k, rt_pg_sqlstate(res), rt_pg_message(res));
        }
        fail_row(k, rt_pg_sqlstate(res));
    }
    run(k);
    next_task(j);
}

static struct rt_value value_of(const struct task *k, uint32_t i, struct pr_slice column)
{
    int at = rt_relation_column(k->rel, column);
    struct rt_value none = {0};

    return at < 0 ? none : rt_change_value(k->job->rows[k->rows[i]].change, (uint32_t)at);
}

static void put_texts(struct rt_text *t, const struct task *k, struct pr_slice column)
{
    rt_text_puts(t, "{");
    for (uint32_t i = k->at; i < k->at + k->out; i++) {
        struct rt_value v = value_of(k, i, column);

        rt_text_puts(t, i == k->at ? "" : ",");
        if (v.kind == RT_V_TEXT) {
            rt_text_element(t, v.text);
        } else {
            rt_text_puts(t, "NULL");
        }
    }
    rt_text_puts(t, "}");
}

static void question(struct task *k, const char *sql, int n, const char *const *params, rt_pg_fn fn)
{
    k->job->out++;
    rt_pg_query(k->job->pg, sql, n, params, fn, k);
}

static void ask(struct task *k)
{
    static const char settings_sql[] = "select pg_catalog.set_config('role', $1, true), "
                                       "pg_catalog.set_config('search_path', $2, true), "
                                       "pg_catalog.set_config('statement_timeout', $3, true)";
    const char *timeout_ms = k->sieve->patterns ? PATTERNS_MS : OTHERS_MS;
    const struct rt_sieve *s = k->sieve;
    char *role = rt_strndup(s->role.p, s->role.n);
    char *path = rt_strndup(s->path.p, s->path.n);
    char *sql = rt_strndup(s->sql.p, s->sql.n);
    struct rt_text texts[PARAMS_MAX] = {{0}};
    const char *params[PARAMS_MAX];
    struct pr_slice columns = s->columns;
    struct pr_slice values = s->values;
    struct pr_slice v;
    bool null = false;
    uint32_t n = 0;

    k->asked_ms = rt_now_ms(k->job->sift->loop);
    k->bytes = 0;
    while (pr_cond_values_next(&columns, &v, &null) == 1) {
        put_texts(&texts[n++], k, v);
    }
    while (pr_cond_values_next(&values, &v, &null) == 1) {
        rt_text_slice(&texts[n++], v);
    }
    assert(n == 2 * s->count);
    for (uint32_t i = 0; i < n; i++) {
        params[i] = rt_text_end(&texts[i]);
        k->bytes += texts[i].len;
    }
    k->job->out_bytes += k->bytes;
    question(k, settings_sql, 3, (const char *const[]){role, path, timeout_ms}, on_setting);
    question(k, sql, (int)n, params, on_rows);
    rt_pg_sync(k->job->pg);
    for (uint32_t i = 0; i < n; i++) {
        rt_free(texts[i].p);
    }
    rt_free(sql);
    rt_free(path);
    rt_free(role);
}

/* The time of slow ones is used up. Whose turn never came is not counted as slow for that. */
static void skip(struct task *k)
{
    struct rt_sift *s = k->job->sift;

    log_failure(s, k, "57014", "slow patterns have used up the time of a batch");
    while (k->at < k->count && !k->sieve->cancelled) {
        if (k->sieve->slow > 0) {
            fail_row(k, "57014");
        } else {
            k->pass[k->at++] = PASS_FAILED;
        }
    }
}

static bool is_doubtful(const struct task *k)
{
    return k->sieve->patterns && !k->sieve->quick;
}

static bool too_large(const struct task *k, uint32_t i)
{
    struct pr_slice columns = k->sieve->columns;
    struct pr_slice name;
    bool null = false;
    size_t n = 0;

    while (pr_cond_values_next(&columns, &name, &null) == 1) {
        struct rt_value v = value_of(k, i, name);

        n += v.kind == RT_V_TEXT ? v.text.n : 0;
    }
    return n > TEXTS_MAX;
}

/* Goes on with this task: sends its next statement, or ends it. */
static void run(struct task *k)
{
    if (is_doubtful(k) && k->job->slow_ms >= SLOW_ALL_MS) {
        skip(k);
    }
    while (k->at < k->count && !k->sieve->cancelled && too_large(k, k->at)) {
        log_failure(k->job->sift, k, "54000", "a row is too large for filters");
        k->pass[k->at++] = PASS_FAILED; /* no fault of the sieve: not counted */
    }
    if (k->at == k->count || k->sieve->cancelled) {
        k->job->running--;
        k->job->doubtful -= k->doubtful;
        return;
    }
    k->out = 1;
    while (!k->single && k->at + k->out < k->count && !too_large(k, k->at + k->out)) {
        k->out++;
    }
    ask(k);
}

static void next_task(struct job *j)
{
    while (j->started < j->count && j->running < IN_FLIGHT_MAX && j->out_bytes < OUT_BYTES_MAX) {
        struct task *k = &j->tasks[j->started];

        k->doubtful = is_doubtful(k);
        if (k->doubtful && j->doubtful == DOUBTFUL_MAX) {
            return; /* goes on when one of them has ended */
        }
        j->started++;
        j->running++;
        j->doubtful += k->doubtful;
        run(k);
    }
    if (j->running == 0 && j->started == j->count) {
        finish(j, true);
    }
}

bool rt_sift_needed(const struct rt_rls_row *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t m = 0; m < rows[i].matches->count; m++) {
            if (rows[i].matches->items[m].sieve != NULL) {
                return true;
            }
        }
    }
    return false;
}

void rt_sift_run(struct rt_sift *s, struct rt_pg *pg, const struct rt_rls_row *rows, uint32_t n)
{
    struct job *j = rt_calloc(1, sizeof *j);

    assert(s->job == NULL);
    s->job = j;
    j->sift = s;
    j->pg = pg;
    j->rows = rows;
    j->nrows = n;
    gather(j);
    next_task(j);
}

void rt_sift_cancel(struct rt_sift *s)
{
    struct job *j = s->job;

    if (j == NULL) {
        return;
    }
    s->job = NULL;
    forget(j);
    j->sift = NULL;
    if (j->out == 0) {
        free_job(j); /* else its last answer frees it */
    }
}

struct rt_sift *rt_sift_new(struct rt_loop *l, struct rt_log *log, const struct rt_sift_events *ev,
                            void *ctx)
{
    struct rt_sift *s = rt_calloc(1, sizeof *s);

    s->loop = l;
    s->log = log;
    s->ev = ev;
    s->ctx = ctx;
    return s;
}

void rt_sift_free(struct rt_sift *s)
{
    rt_sift_cancel(s);
    rt_free(s);
}
