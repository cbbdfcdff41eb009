/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/desk_in.h"

#include <string.h>

/* UTC: inserted_at has no zone, and partitions go by it. */
static const char options[] = "-c statement_timeout=3s -c jit=off -c TimeZone=UTC";
#define TICK_MS      100u
#define IDLE_MS      60000u
#define RETRY_MS     200u
#define RETRY_MAX_MS 2000u
#define TRIES_MAX    2u /* a question that ends its connection is not asked for ever */

static void pump(struct rt_desk *k);

void rt_ask_free(struct ask *a)
{
    for (uint32_t i = 0; i < RT_ASK_PARAMS; i++) {
        rt_free(a->param[i]);
    }
    rt_free(a);
}

static struct ask *take_first(struct rt_desk *k)
{
    struct ask *a = k->head;

    k->head = a->next;
    if (k->head == NULL) {
        k->tail = NULL;
    }
    k->waiting--;
    return a;
}

void rt_desk_put_first(struct rt_desk *k, struct ask *a)
{
    a->next = k->head;
    k->head = a;
    if (k->tail == NULL) {
        k->tail = a;
    }
    k->waiting++;
}

/* Answers and frees. */
static void fail(struct rt_desk *k, struct ask *a, enum pr_rights_status status)
{
    a->kind->fail(k, a, status);
}

/* Those who waited too long. They stand in order of age, but for some that were put back. */
static void expire(struct rt_desk *k)
{
    uint64_t now = rt_now_ms(k->d->loop);
    uint64_t from = k->nup > 0 ? k->up_ms : 0; /* nobody waited for a turn before that */
    uint64_t limit = k->nup > 0 ? RT_DESK_WAIT_MS : RT_DESK_DOWN_MS;
    enum pr_rights_status status = k->nup > 0 ? PR_RIGHTS_BUSY : PR_RIGHTS_DOWN;

    if (k->lack && k->nup == 0) {
        limit = 0;
        status = PR_RIGHTS_LACK;
    }
    while (k->head != NULL &&
           now - (k->head->since_ms > from ? k->head->since_ms : from) >= limit) {
        fail(k, take_first(k), status);
    }
    k->lack = false;
}

static void on_answer(void *ctx, const PGresult *res)
{
    struct conn *c = ctx;
    struct rt_desk *k = c->desk;
    struct ask *a = c->ask;

    c->ask = NULL;
    c->idle_ms = rt_now_ms(k->d->loop);
    if (res == NULL) { /* on_down follows */
        if (++a->tries < TRIES_MAX) {
            rt_desk_put_first(k, a);
        } else {
            fail(k, a, PR_RIGHTS_DOWN);
        }
        return;
    }
    a->kind->answer(k, a, res);
    pump(k);
}

static void start(struct rt_desk *k, struct conn *c)
{
    const struct rt_plans *plans = &k->d->plans;
    struct ask *a = take_first(k);
    const char *params[RT_ASK_PARAMS];

    for (uint32_t i = 0; i < RT_ASK_PARAMS; i++) {
        params[i] = a->param[i];
    }
    c->ask = a;
    if (!plans->shared || c->plans != plans->changes) {
        c->plans = plans->changes;
        /* If it fails, the query behind it tells. */
        rt_pg_query(c->pg, "discard plans", 0, NULL, NULL, NULL);
    }
    if (a->kind->before != NULL) {
        rt_pg_query(c->pg, a->kind->before, 0, NULL, NULL, NULL);
    }
    rt_pg_query(c->pg, a->kind->sql, (int)a->kind->nparams, params, on_answer, c);
    rt_pg_sync(c->pg);
}

static void on_up(void *ctx, struct rt_pg *pg)
{
    struct conn *c = ctx;
    struct rt_desk *k = c->desk;

    (void)pg;
    c->up = true;
    c->idle_ms = rt_now_ms(k->d->loop);
    if (k->nup == 0) {
        k->up_ms = c->idle_ms;
    }
    k->nup++;
    k->opening = false;
    k->failures = 0;
    pump(k);
}

static void leave(struct conn *c)
{
    struct rt_desk *k = c->desk;

    k->nconns--;
    k->nup -= c->up;
    k->opening = k->opening && c->up;
    c->pg = NULL;
    c->up = false;
}

static void on_down(void *ctx, struct rt_pg *pg, const char *why, const char *sqlstate)
{
    struct conn *c = ctx;
    struct rt_desk *k = c->desk;
    uint64_t wait = RETRY_MS << (k->failures < 4 ? k->failures : 4);

    (void)pg;
    leave(c);
    k->failures++;
    k->retry_ms = rt_now_ms(k->d->loop) + (wait < RETRY_MAX_MS ? wait : RETRY_MAX_MS);
    k->lack = strcmp(sqlstate, "53300") == 0;
    rt_log(k->d->log, RT_WARN, "check_connection_lost", rt_kv_s("code", "DatabaseConnectionDown"),
           rt_kv_s("sqlstate", sqlstate), rt_kv_s("err", why));
    pump(k);
}

static void open_one(struct rt_desk *k)
{
    static const struct rt_pg_events events = {.on_up = on_up, .on_down = on_down};
    struct rt_pg_config cfg = {.url = k->d->cfg->database_check_url,
                               .purpose = "authorize",
                               .node = k->d->cfg->node,
                               .options = options,
                               .kind = RT_PG_PIPELINE};
    struct conn *c = k->conns;

    while (c->pg != NULL) {
        c++;
    }
    c->desk = k;
    k->nconns++;
    k->opening = true;
    c->pg = rt_pg_open(k->d->loop, &cfg, &events, c);
}

/* Whom nothing keeps busy; NULL if there is none. */
static struct conn *idle_one(struct rt_desk *k)
{
    for (uint32_t i = 0; i < RT_DESK_CONNS; i++) {
        struct conn *c = &k->conns[i];

        if (c->pg != NULL && c->up && c->ask == NULL) {
            return c;
        }
    }
    return NULL;
}

static void pump(struct rt_desk *k)
{
    uint64_t now = rt_now_ms(k->d->loop);
    struct conn *c = NULL;

    while (k->ready && !k->janitor && k->head != NULL && (c = idle_one(k)) != NULL) {
        start(k, c);
    }
    expire(k);
    if (k->ready && k->head != NULL && !k->opening && k->nconns < k->d->cfg->db_pool &&
        now >= k->retry_ms) {
        open_one(k);
    }
    if (k->head != NULL) {
        rt_timer_set(&k->timer, TICK_MS);
    } else if (k->nconns > 0) {
        rt_timer_set(&k->timer, IDLE_MS);
    }
}

static void close_conn(struct conn *c)
{
    struct rt_pg *pg = c->pg;

    if (c->ask != NULL) {
        rt_ask_free(c->ask);
        c->ask = NULL;
    }
    leave(c);
    rt_pg_close(pg);
}

static void on_timer(void *ctx)
{
    struct rt_desk *k = ctx;
    uint64_t now = rt_now_ms(k->d->loop);

    for (uint32_t i = 0; i < RT_DESK_CONNS; i++) {
        struct conn *c = &k->conns[i];

        if (c->pg != NULL && c->up && c->ask == NULL && now - c->idle_ms >= IDLE_MS) {
            close_conn(c);
        }
    }
    pump(k);
}

bool rt_desk_full(const struct rt_desk *k)
{
    return k->waiting >= RT_DESK_WAITING;
}

void rt_desk_add(struct rt_desk *k, struct ask *a)
{
    a->since_ms = rt_now_ms(k->d->loop);
    k->wanted_ms = a->since_ms;
    if (k->tail != NULL) {
        k->tail->next = a;
    } else {
        k->head = a;
    }
    k->tail = a;
    k->waiting++;
    pump(k);
}

void rt_desk_ready(struct rt_db *d)
{
    d->desk->ready = true;
    d->desk->janitor = false;
    pump(d->desk);
}

void rt_desk_forget(struct rt_db *d)
{
    while (d->desk->head != NULL) {
        rt_ask_free(take_first(d->desk));
    }
}

void rt_desk_init(struct rt_db *d)
{
    d->desk = rt_calloc(1, sizeof *d->desk);
    d->desk->d = d;
    d->desk->wanted_ms = rt_now_ms(d->loop);
    rt_timer_init(d->loop, &d->desk->timer, on_timer, d->desk);
}

static void free_desk(void *ctx)
{
    rt_free(ctx);
}

void rt_desk_free(struct rt_db *d)
{
    struct rt_desk *k = d->desk;

    for (uint32_t i = 0; i < RT_DESK_CONNS; i++) {
        if (k->conns[i].pg != NULL) {
            close_conn(&k->conns[i]);
        }
    }
    rt_desk_forget(d);
    rt_timer_close(&k->timer, free_desk);
}
