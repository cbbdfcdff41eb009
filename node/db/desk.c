/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/desk.h"

#include <stdio.h>
#include <string.h>

#include "node/db/db_in.h"

/* UTC: inserted_at has no zone, and partitions go by it. */
static const char options[] = "-c statement_timeout=3s -c jit=off -c TimeZone=UTC";
static const char question[] =
    "select extension, can_read, can_write, error"
    " from realtime.datafuse_authorize($1, $2, $3, $4, $5, $6::text[], $7::text[])";
static const char fingerprint[] =
    "select md5(concat(c.relrowsecurity, c.relacl, (select string_agg(concat_ws(' ', p.polname,"
    " p.polcmd, p.polpermissive, p.polroles, pg_get_expr(p.polqual, p.polrelid),"
    " pg_get_expr(p.polwithcheck, p.polrelid)), ';' order by p.oid)"
    " from pg_policy p where p.polrelid = c.oid)))"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'realtime' and c.relname = 'messages'";

#define PARAMS       7
#define TICK_MS      100u
#define IDLE_MS      60000u
#define RETRY_MS     200u
#define RETRY_MAX_MS 2000u
#define TRIES_MAX    2u     /* a question that ends its connection is not asked for ever */
#define LOG_MS       60000u /* one line a minute about policies that fail */
#define TEXT_MAX     256u   /* of a message that goes to the edge */
#define CONNS_MAX    64u    /* REALTIME_DB_POOL's bound */

struct ask {
    struct ask *next;
    uint64_t boot, id, since_ms;
    uint32_t read, write, tries;
    bool again; /* partitions were looked at because of it */
    char *param[PARAMS];
};

struct conn {
    struct rt_desk *desk;
    struct rt_pg *pg; /* NULL: the place is free */
    bool up;
    struct ask *ask; /* running */
    uint64_t idle_ms;
};

struct rt_desk {
    struct rt_db *d;
    struct rt_timer timer;
    struct ask *head, *tail;
    uint32_t waiting;
    struct conn conns[CONNS_MAX];
    uint32_t nconns, nup;
    uint64_t up_ms; /* since when nup is not 0 */
    bool opening;
    bool ready;   /* migrations have run */
    bool janitor; /* partitions are being looked at */
    bool lack;    /* the last connection was refused for want of a place */
    uint32_t failures;
    uint64_t retry_ms, logged_ms;
    char policies[40]; /* fingerprint */
};

static void pump(struct rt_desk *k);

static void ask_free(struct ask *a)
{
    for (int i = 0; i < PARAMS; i++) {
        rt_free(a->param[i]);
    }
    rt_free(a);
}

static void send_answer(struct rt_desk *k, const struct pr_rights *m)
{
    uint8_t bytes[TEXT_MAX + 128];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_rights_encode(&o, m);
    if (pr_out_ok(&o)) {
        rt_db_link_send(k->d, pr_bytes(o.p, o.len));
    }
}

/* Answers and frees. */
static void finish(struct rt_desk *k, struct ask *a, const struct pr_rights *verdict)
{
    struct pr_rights m = *verdict;

    m.boot = a->boot;
    m.id = a->id;
    m.text.n = m.text.n < TEXT_MAX ? m.text.n : TEXT_MAX;
    send_answer(k, &m);
    ask_free(a);
}

static void finish_as(struct rt_desk *k, struct ask *a, enum pr_rights_status status)
{
    struct pr_rights m = {.status = status};

    finish(k, a, &m);
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

static void put_first(struct rt_desk *k, struct ask *a)
{
    a->next = k->head;
    k->head = a;
    if (k->tail == NULL) {
        k->tail = a;
    }
    k->waiting++;
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
        finish_as(k, take_first(k), status);
    }
    k->lack = false;
}

static uint32_t ext_of(const char *name)
{
    if (strcmp(name, "broadcast") == 0) {
        return PR_EXT_BROADCAST;
    }
    return strcmp(name, "presence") == 0 ? PR_EXT_PRESENCE : 0;
}

/* What a person needs who looks for the reason of a refusal; not more than one line a minute. */
static void log_trouble(struct rt_desk *k, const char *code, const struct ask *a, const char *why)
{
    uint64_t now = rt_now_ms(k->d->loop);

    if (k->logged_ms == 0 || now - k->logged_ms >= LOG_MS) {
        k->logged_ms = now;
        rt_log(k->d->log, RT_WARN, "policies_not_decided", rt_kv_s("code", code),
               rt_kv_s("topic", a->param[1]), rt_kv_s("role", a->param[0]), rt_kv_s("err", why));
    }
}

static void read_verdict(struct rt_desk *k, const struct ask *a, const PGresult *res,
                         struct pr_rights *m)
{
    for (int i = 0; i < PQntuples(res); i++) {
        uint32_t ext = ext_of(PQgetvalue(res, i, 0));

        m->read |= PQgetvalue(res, i, 1)[0] == 't' ? ext & a->read : 0;
        m->write |= PQgetvalue(res, i, 2)[0] == 't' ? ext & a->write : 0;
        if (!PQgetisnull(res, i, 3)) {
            m->raised |= ext;
            log_trouble(k, "RlsPolicyError", a, PQgetvalue(res, i, 3));
        }
    }
}

/* Looks at the partitions, once for each question, and asks again. */
static bool mend_partitions(struct rt_desk *k, struct ask *a)
{
    if (a->again) {
        return false;
    }
    a->again = true;
    k->janitor = rt_db_janitor(k->d);
    if (k->janitor) {
        put_first(k, a);
    }
    return k->janitor;
}

static void on_error(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    const char *state = rt_pg_sqlstate(res);
    struct pr_rights m = {.status = PR_RIGHTS_DOWN};

    if (strcmp(state, "57014") == 0) {
        m.status = PR_RIGHTS_CANCELED;
        log_trouble(k, "QueryCanceled", a, rt_pg_message(res));
    } else if (strcmp(state, "DF002") == 0) { /* no such role: nothing is allowed to it */
        m.status = PR_RIGHTS_DONE;
        log_trouble(k, "Unauthorized", a, rt_pg_message(res));
    } else if (strcmp(state, "23514") == 0) {
        if (mend_partitions(k, a)) {
            return;
        }
        m.status = PR_RIGHTS_PARTITION;
        log_trouble(k, "MissingPartition", a, rt_pg_message(res));
    } else if (strcmp(state, "25006") == 0) {
        m.status = PR_RIGHTS_READ_ONLY;
        m.text = pr_str(rt_pg_message(res));
    } else {
        log_trouble(k, "UnableToSetPolicies", a, rt_pg_message(res));
    }
    finish(k, a, &m);
}

static void on_answer(void *ctx, const PGresult *res)
{
    struct conn *c = ctx;
    struct rt_desk *k = c->desk;
    struct ask *a = c->ask;
    struct pr_rights m = {.status = PR_RIGHTS_DONE};

    c->ask = NULL;
    c->idle_ms = rt_now_ms(k->d->loop);
    if (res == NULL) { /* on_down follows */
        if (++a->tries < TRIES_MAX) {
            put_first(k, a);
        } else {
            finish_as(k, a, PR_RIGHTS_DOWN);
        }
        return;
    }
    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        read_verdict(k, a, res, &m);
        finish(k, a, &m);
    } else {
        on_error(k, a, res);
    }
    pump(k);
}

static void start(struct rt_desk *k, struct conn *c)
{
    struct ask *a = take_first(k);
    const char *params[PARAMS];

    for (int i = 0; i < PARAMS; i++) {
        params[i] = a->param[i];
    }
    c->ask = a;
    rt_pg_query(c->pg, question, PARAMS, params, on_answer, c);
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
    for (uint32_t i = 0; i < CONNS_MAX; i++) {
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
        ask_free(c->ask);
        c->ask = NULL;
    }
    leave(c);
    rt_pg_close(pg);
}

static void on_timer(void *ctx)
{
    struct rt_desk *k = ctx;
    uint64_t now = rt_now_ms(k->d->loop);

    for (uint32_t i = 0; i < CONNS_MAX; i++) {
        struct conn *c = &k->conns[i];

        if (c->pg != NULL && c->up && c->ask == NULL && now - c->idle_ms >= IDLE_MS) {
            close_conn(c);
        }
    }
    pump(k);
}

static char *exts(uint32_t bits)
{
    static const char *const text[] = {"{}", "{broadcast}", "{presence}", "{broadcast,presence}"};

    return rt_strdup(text[bits & PR_EXT_ALL]);
}

/* A NUL would end the text early, and another topic be asked for. */
static bool has_nul(struct pr_slice s)
{
    return s.n > 0 && memchr(s.p, 0, s.n) != NULL;
}

void rt_desk_ask(struct rt_db *d, const struct pr_rights_ask *m)
{
    struct rt_desk *k = d->desk;
    struct pr_rights no = {.boot = m->boot, .id = m->id, .status = PR_RIGHTS_DONE};
    struct pr_slice texts[] = {m->role, m->topic, m->claims, m->sub, m->headers};
    struct ask *a = NULL;

    if (d->cfg->database_url == NULL) {
        no.status = PR_RIGHTS_DOWN;
    } else if (k->waiting >= RT_DESK_WAITING) {
        no.status = PR_RIGHTS_BUSY;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (no.status != PR_RIGHTS_DONE || has_nul(texts[i])) {
            send_answer(k, &no);
            return;
        }
    }
    a = rt_calloc(1, sizeof *a);
    a->boot = m->boot;
    a->id = m->id;
    a->read = m->read & PR_EXT_ALL;
    a->write = m->write & PR_EXT_ALL;
    a->since_ms = rt_now_ms(d->loop);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        a->param[i] = rt_strndup(texts[i].p, texts[i].n);
    }
    a->param[5] = exts(a->read);
    a->param[6] = exts(a->write);
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
        ask_free(take_first(d->desk));
    }
}

static void on_fingerprint(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_desk *k = d->desk;
    struct pr_rights changed = {.status = PR_RIGHTS_CHANGED};
    const char *now = NULL;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        return;
    }
    now = PQgetvalue(res, 0, 0);
    if (strcmp(k->policies, now) != 0) {
        /* Also the first time: they may have changed while this process did not live. */
        rt_log(d->log, RT_INFO, "policies_changed", rt_kv_s("before", k->policies));
        send_answer(k, &changed);
        (void)snprintf(k->policies, sizeof k->policies, "%s", now);
    }
}

void rt_desk_look(struct rt_db *d)
{
    rt_pg_query(d->control, fingerprint, 0, NULL, on_fingerprint, d);
    rt_pg_sync(d->control);
}

void rt_desk_init(struct rt_db *d)
{
    d->desk = rt_calloc(1, sizeof *d->desk);
    d->desk->d = d;
    rt_timer_init(d->loop, &d->desk->timer, on_timer, d->desk);
}

static void free_desk(void *ctx)
{
    rt_free(ctx);
}

void rt_desk_free(struct rt_db *d)
{
    struct rt_desk *k = d->desk;

    for (uint32_t i = 0; i < CONNS_MAX; i++) {
        if (k->conns[i].pg != NULL) {
            close_conn(&k->conns[i]);
        }
    }
    rt_desk_forget(d);
    rt_timer_close(&k->timer, free_desk);
}
