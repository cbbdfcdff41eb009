/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/doctor.h"

#include <stdio.h>
#include <string.h>

#include "node/base/control.h"
#include "node/db/migrations.h"
#include "proto/json_write.h"

/* Clocks further apart make tokens of one side expire early on the other. */
#define OFFSET_MS 5000
/* A row's texts come from catalogs: names of at most 63 bytes, so this is plenty. */
#define ROW_BYTES 4096u

struct exam;

/* One statement that is out. */
struct item {
    struct exam *exam;
    const struct rt_check *check;
};

struct exam {
    struct rt_db *d;
    struct rt_ipc *owner; /* who asked; another one now did not */
    uint32_t id;
    uint32_t out; /* statements without an answer */
    uint64_t sent_ms;
    char pid[16]; /* of the server's process at the start */
    struct item items[];
};

static void say(const struct exam *e, const char *check, const char *level, const char *detail,
                const char *fix)
{
    uint8_t bytes[ROW_BYTES];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "{\"check\":");
    pr_put_json_cstr(&o, check);
    pr_put_str(&o, ",\"project\":");
    pr_put_json_cstr(&o, e->d->cfg->project);
    pr_put_str(&o, ",\"level\":");
    pr_put_json_cstr(&o, level);
    pr_put_str(&o, ",\"detail\":");
    pr_put_json_cstr(&o, detail);
    pr_put_str(&o, ",\"fix\":");
    if (fix == NULL || strcmp(level, "ok") == 0) {
        pr_put_str(&o, "null");
    } else {
        pr_put_json_cstr(&o, fix);
    }
    pr_put_str(&o, "}\n");
    if (pr_out_ok(&o) && e->d->owner == e->owner) {
        (void)rt_control_reply(e->owner, e->id, pr_bytes(bytes, o.len), false);
    }
}

/* One statement less to wait for. */
static void answered(struct exam *e)
{
    if (--e->out == 0) {
        if (e->d->owner == e->owner) {
            (void)rt_control_reply(e->owner, e->id, pr_bytes(NULL, 0), true);
        }
        rt_free(e);
    }
}

/* Says what is wrong with an answer that is no table. */
static bool failed(const struct exam *e, const char *check, const PGresult *res, const char *fix)
{
    if (res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK) {
        return false;
    }
    say(e, check, "problem",
        res == NULL ? "the connection to the database ended" : rt_pg_message(res), fix);
    return true;
}

static void on_check(void *ctx, const PGresult *res)
{
    const struct item *item = ctx;
    const struct rt_check *c = item->check;

    if (!failed(item->exam, c->name, res, NULL)) {
        for (int i = 0; i < PQntuples(res); i++) {
            say(item->exam, c->name, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1),
                PQgetisnull(res, i, 2) ? NULL : PQgetvalue(res, i, 2));
        }
        if (PQntuples(res) == 0) {
            say(item->exam, c->name, "ok", c->good, NULL);
        }
    }
    answered(item->exam);
}

static void on_schema(void *ctx, const PGresult *res)
{
    static const char fix[] =
        "start a node with REALTIME_MIGRATE=on, or run what REALTIME_MIGRATE=print writes";
    struct exam *e = ctx;
    char detail[128];
    uint32_t missing = 0;

    if (e->d->migrate_error[0] != '\0') {
        say(e, "schema", "problem", e->d->migrate_error, e->d->migrate_fix);
    } else if (!failed(e, "schema", res, fix)) {
        for (size_t i = 0; i < rt_migrations_count; i++) {
            bool found = strcmp(rt_migrations[i].name, "auth_helpers") == 0; /* only if wanted */

            for (int k = 0; k < PQntuples(res); k++) {
                found = found || strcmp(PQgetvalue(res, k, 0), rt_migrations[i].name) == 0;
            }
            missing += !found;
        }
        (void)snprintf(detail, sizeof detail, "%u of %zu migrations are missing", missing,
                       rt_migrations_count);
        say(e, "schema", missing == 0 ? "ok" : "problem",
            missing == 0 ? "schema realtime is up to date" : detail, fix);
    }
    answered(e);
}

static void on_clock(void *ctx, const PGresult *res)
{
    struct exam *e = ctx;
    uint64_t now = rt_wall_ms();
    int64_t doubt = now > e->sent_ms ? (int64_t)(now - e->sent_ms) / 2 : 0;
    int64_t offset;
    char detail[128];

    if (!failed(e, "db_clock", res, NULL)) {
        (void)snprintf(e->pid, sizeof e->pid, "%s", PQgetvalue(res, 0, 1));
        offset = (int64_t)rt_pg_number(PQgetvalue(res, 0, 0)) - (int64_t)e->sent_ms - doubt;
        (void)snprintf(detail, sizeof detail, "the database's clock is %lld ms %s ours",
                       (long long)(offset < 0 ? -offset : offset),
                       offset < 0 ? "behind" : "ahead of");
        say(e, "db_clock", (offset < 0 ? -offset : offset) > OFFSET_MS + doubt ? "problem" : "ok",
            detail,
            "run a time service on both hosts: chronyc makestep, or timedatectl set-ntp true");
    }
    answered(e);
}

/* Another process serves the same connection: somebody in between hands transactions around. */
static void on_pid(void *ctx, const PGresult *res)
{
    struct exam *e = ctx;

    if (!failed(e, "pooler", res, NULL)) {
        bool same = strcmp(e->pid, PQgetvalue(res, 0, 0)) == 0;

        say(e, "pooler", same ? "ok" : "problem",
            same ? "no pooler that changes sessions is in between"
                 : "a pooler in transaction mode is in between: settings of a session get lost",
            "connect to the server itself, or to the pooler in session mode (port 5432)");
    }
    answered(e);
}

static void ask(struct rt_pg *pg, const char *sql, int n, const char *const *params, rt_pg_fn fn,
                void *ctx)
{
    rt_pg_query(pg, sql, n, params, fn, ctx);
    rt_pg_sync(pg);
}

static void ask_all(struct exam *e)
{
    struct rt_db *d = e->d;

    e->out = (uint32_t)rt_checks_count + 3;
    e->sent_ms = rt_wall_ms();
    ask(d->control,
        "select (extract(epoch from clock_timestamp()) * 1000)::bigint, pg_backend_pid()", 0, NULL,
        on_clock, e);
    for (size_t i = 0; i < rt_checks_count; i++) {
        const struct rt_check *c = &rt_checks[i];
        const char *params[] = {d->cfg->publication, d->cfg->delete_rls ? "on" : "off"};

        e->items[i] = (struct item){.exam = e, .check = c};
        ask(c->by_check_login ? d->check : d->control, c->sql, c->nparams, params, on_check,
            &e->items[i]);
    }
    ask(d->control, "select name from realtime.datafuse_migrations", 0, NULL, on_schema, e);
    ask(d->control, "select pg_backend_pid()", 0, NULL, on_pid, e);
}

/* What to do about a connection that the server, or nobody, refuses. */
static const char *connection_fix(const char *sqlstate)
{
    static const struct {
        const char *state, *fix;
    } known[] = {
        {"28", "set user and password of REALTIME_DATABASE_URL right; see pg_hba.conf"},
        {"3D000", "set the name of the database in REALTIME_DATABASE_URL right, or create it"},
        {"53300", "alter system set max_connections = 200;  -- then restart the server"},
        {"57P03", "the server is starting: wait"},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strncmp(sqlstate, known[i].state, strlen(known[i].state)) == 0) {
            return known[i].fix;
        }
    }
    return "start the database, and set host and port of REALTIME_DATABASE_URL right";
}

const char *rt_db_migrate_fix(const char *sqlstate)
{
    static const struct {
        const char *state, *fix;
    } known[] = {
        {"42501", RT_FIX_ROLES},          /* insufficient_privilege */
        {"42809", RT_FIX_PLAIN_MESSAGES}, /* wrong_object_type, as 0001_base.sql raises it */
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(sqlstate, known[i].state) == 0) {
            return known[i].fix;
        }
    }
    return NULL;
}

void rt_db_doctor(struct rt_db *d, uint32_t id)
{
    struct exam *e = rt_calloc(1, sizeof *e + rt_checks_count * sizeof e->items[0]);

    e->d = d;
    e->owner = d->owner;
    e->id = id;
    if (d->cfg->database_url != NULL && d->control != NULL && d->check != NULL && d->ups == 2) {
        ask_all(e);
        return;
    }
    if (d->cfg->database_url == NULL) {
        say(e, "database", "ok", "no database is configured", NULL);
    } else {
        say(e, "database", "problem",
            d->last_error[0] != '\0' ? d->last_error : "it is being connected to",
            connection_fix(d->last_sqlstate));
    }
    e->out = 1;
    answered(e);
}
