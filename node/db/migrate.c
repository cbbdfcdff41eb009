/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/migrate.h"

#include <stdio.h>
#include <string.h>

#include "node/base/alloc.h"
#include "node/db/migrations.h"
#include "node/db/pgconn.h"
#include "node/db/sqltext.h"

/* A migration skipped unless REALTIME_AUTH_HELPERS=on. */
#define AUTH_HELPERS "auth_helpers"

/* Partitions dropped in one run; a database left alone for long is cleaned by the next runs. Three
 * statements each. */
#define DROPS_MAX 64u

#define TEXT_MAX 512u
#define HEX_MAX  (64u + 1)

/* Nothing of a search path: all names of the files are qualified. */
static const char session_options[] =
    "-c lock_timeout=10s -c statement_timeout=60s -c client_min_messages=warning "
    "-c search_path=pg_catalog -c standard_conforming_strings=on";

struct rt_migrate {
    const struct rt_config *cfg;
    struct rt_log *log;
    void (*done)(void *ctx, int rv, const char *sqlstate, const char *text);
    void *ctx;
    struct rt_pg *pg;
    char *publication; /* cfg's as an SQL literal */
    char *login;       /* the one that asks policies, the same */
    bool *applied;     /* of rt_migrations */
    size_t next;       /* of rt_migrations, the one under way */
    uint32_t drops;    /* statements left for old partitions */
};

/* `text` as an SQL literal; rt_free. */
static char *quote(const char *text)
{
    struct rt_text t = {0};

    rt_text_literal(&t, pr_str(text));
    (void)rt_text_end(&t);
    return t.p;
}

static void free_all(struct rt_migrate *m)
{
    rt_pg_close(m->pg);
    rt_free(m->publication);
    rt_free(m->login);
    rt_free(m->applied);
    rt_free(m);
}

static void finish(struct rt_migrate *m, int rv, const char *sqlstate, const char *text)
{
    void (*done)(void *, int, const char *, const char *) = m->done;
    void *ctx = m->ctx;
    char state[8], why[TEXT_MAX];

    /* Both may be of a result that goes with the connection. */
    (void)snprintf(state, sizeof state, "%s", sqlstate);
    (void)snprintf(why, sizeof why, "%s", text);
    free_all(m);
    done(ctx, rv, state, why);
}

static bool failed(const PGresult *res)
{
    return PQresultStatus(res) != PGRES_TUPLES_OK && PQresultStatus(res) != PGRES_COMMAND_OK;
}

/* Ends all with the server's error, named by what was tried. */
static void fail(struct rt_migrate *m, const char *what, const PGresult *res)
{
    char text[TEXT_MAX];

    (void)snprintf(text, sizeof text, "%s: %s", what, rt_pg_message(res));
    finish(m, -1, rt_pg_sqlstate(res), text);
}

/* The first value of an answer, "" if there is none. */
static const char *value(const PGresult *res)
{
    return PQntuples(res) > 0 && PQnfields(res) > 0 ? PQgetvalue(res, 0, 0) : "";
}

static bool wanted(const struct rt_config *cfg, const struct rt_migration *mig)
{
    return cfg->auth_helpers || strcmp(mig->name, AUTH_HELPERS) != 0;
}

static void hex(const uint8_t digest[32], char out[HEX_MAX])
{
    for (size_t i = 0; i < 32; i++) {
        (void)snprintf(out + 2 * i, 3, "%02x", digest[i]);
    }
}

/* What is sent for one file, all of it one transaction; rt_free. */
static char *text_of(const struct rt_migration *mig)
{
    size_t cap = strlen(mig->sql) + 512;
    char *out = rt_malloc(cap), digest[HEX_MAX];

    hex(mig->sha256, digest);
    (void)snprintf(out, cap,
                   "%s\ninsert into realtime.datafuse_migrations (version, name, checksum) values "
                   "(%u, '%s', decode('%s', 'hex')) on conflict (version) do nothing;\n",
                   mig->sql, mig->version, mig->name, digest);
    return out;
}

/* The check login is a setting, and may be another one since the last start. */
#define ALLOW "select realtime.datafuse_allow(%s);"

/*
 * Partitions. Each step is a statement of its own, since "detach concurrently" cannot run in a
 * transaction; it is used because a plain drop would lock realtime.messages. A table whose drop
 * failed is known by its comment; a table that somebody detached to keep it has none.
 */
#define EXPIRED         "'expired messages, to be dropped'"
#define DIGITS(number)  DIGITS_(number)
#define DIGITS_(number) #number
static const char next_drop[] =
    "with part as ("
    " select c.oid, format('%I.%I', n.nspname, c.relname) as name, i.inhrelid is not null as held,"
    "   coalesce(i.inhdetachpending, false) as pending,"
    "   coalesce(obj_description(c.oid, 'pg_class') = " EXPIRED ", false) as marked,"
    "   to_date(substr(c.relname, 10), 'YYYY_MM_DD') as day"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " left join pg_inherits i on i.inhrelid = c.oid"
    "   and i.inhparent = to_regclass('realtime.messages')"
    " where n.nspname = 'realtime' and c.relkind = 'r' and pg_has_role(c.relowner, 'usage')"
    "   and c.relname ~ '^messages_\\d{4}_(0[1-9]|1[0-2])_(0[1-9]|[12]\\d|3[01])$'"
    "   and exists (select from pg_class p where p.oid = to_regclass('realtime.messages')"
    "     and pg_has_role(p.relowner, 'usage')))"
    " select case"
    "   when not held then format('drop table %s', name)"
    "   when pending then format('alter table realtime.messages detach partition %s finalize', "
    "name)"
    "   when marked then"
    "     format('alter table realtime.messages detach partition %s concurrently', name)"
    "   else format('comment on table %s is %L', name, " EXPIRED ") end"
    " from part where (held or marked)"
    "   and day < (now() at time zone 'UTC')::date - " DIGITS(
        RT_MESSAGES_RETENTION_DAYS) " order by day limit 1";

static void ask_drop(struct rt_migrate *m);

/* True if it cannot go on: on_down follows (NULL, as everywhere below), or all has ended here. */
static bool partitions_failed(struct rt_migrate *m, const PGresult *res)
{
    if (res == NULL || !failed(res)) {
        return res == NULL;
    }
    rt_log(m->log, RT_WARN, "partitions_failed", rt_kv_s("sqlstate", rt_pg_sqlstate(res)),
           rt_kv_s("err", rt_pg_message(res)), rt_kv_s("hint", "tried again later"));
    finish(m, 0, "", "");
    return true;
}

static void on_drop_done(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (!partitions_failed(m, res)) {
        ask_drop(m);
    }
}

static void on_drop_named(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (partitions_failed(m, res)) {
        return;
    }
    if (value(res)[0] == '\0' || m->drops == 0) {
        finish(m, 0, "", "");
    } else {
        m->drops--;
        rt_log(m->log, RT_DEBUG, "partition_expired", rt_kv_s("sql", value(res)));
        rt_pg_script(m->pg, value(res), on_drop_done, m);
    }
}

static void ask_drop(struct rt_migrate *m)
{
    rt_pg_script(m->pg, next_drop, on_drop_named, m);
}

static void on_partitions(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (partitions_failed(m, res)) {
        return;
    }
    if (value(res)[0] != '\0') {
        rt_log(m->log, RT_WARN, "partitions_not_made", rt_kv_s("owner", value(res)),
               rt_kv_s("err", "realtime.messages belongs to another role"),
               rt_kv_s("hint", "realtimectl doctor has the statement that mends it"));
    }
    m->drops = 3 * DROPS_MAX;
    ask_drop(m);
}

static void on_partitions_ready(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (!partitions_failed(m, res)) {
        /* It makes none in a table of another role: whose, comes back. */
        rt_pg_script(m->pg,
                     "select realtime.datafuse_partitions();"
                     "select relowner::regrole from pg_class"
                     " where oid = to_regclass('realtime.messages')"
                     " and not pg_has_role(relowner, 'usage')",
                     on_partitions, m);
    }
}

static void start_partitions(struct rt_migrate *m)
{
    size_t cap = strlen(m->login) + 128;
    char *sql = rt_malloc(cap);

    /* Writers of messages wait behind a lock that waits: better to try again later. The setting is
     * a text of its own, because it holds from the next one on. */
    (void)snprintf(sql, cap, ALLOW "set lock_timeout = '2s'", m->login);
    rt_pg_script(m->pg, sql, on_partitions_ready, m);
    rt_free(sql);
}

/* Files. */
static void apply_next(struct rt_migrate *m);

static void on_applied(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;
    const struct rt_migration *mig = &rt_migrations[m->next];
    char what[128];

    if (res == NULL) {
        return;
    }
    if (failed(res)) {
        (void)snprintf(what, sizeof what, "migration %04u_%s", mig->version, mig->name);
        fail(m, what, res);
        return;
    }
    rt_log(m->log, RT_INFO, "migration_applied", rt_kv_u("version", mig->version),
           rt_kv_s("name", mig->name));
    m->next++;
    apply_next(m);
}

static void apply_next(struct rt_migrate *m)
{
    char *sql;

    while (m->next < rt_migrations_count &&
           (m->applied[m->next] || !wanted(m->cfg, &rt_migrations[m->next]))) {
        m->next++;
    }
    if (m->next == rt_migrations_count) {
        start_partitions(m);
        return;
    }
    sql = text_of(&rt_migrations[m->next]);
    rt_pg_script(m->pg, sql, on_applied, m);
    rt_free(sql);
}

/* Marks version `version` as applied; a file that was another one then is told. */
static void note_applied(struct rt_migrate *m, const char *version, const char *checksum)
{
    char digest[HEX_MAX], text[16];

    for (size_t i = 0; i < rt_migrations_count; i++) {
        (void)snprintf(text, sizeof text, "%u", rt_migrations[i].version);
        if (strcmp(version, text) != 0) {
            continue;
        }
        m->applied[i] = true;
        hex(rt_migrations[i].sha256, digest);
        if (strcmp(digest, checksum) != 0) {
            rt_log(m->log, RT_WARN, "migration_differs",
                   rt_kv_u("version", rt_migrations[i].version),
                   rt_kv_s("name", rt_migrations[i].name),
                   rt_kv_s("hint", "another text of it was applied to the database; it is kept"));
        }
    }
}

static void on_versions(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (res == NULL) {
        return;
    }
    if (failed(res)) {
        fail(m, "reading realtime.datafuse_migrations", res);
        return;
    }
    for (int i = 0; i < PQntuples(res); i++) {
        note_applied(m, PQgetvalue(res, i, 0), PQgetvalue(res, i, 1));
    }
    apply_next(m);
}

static void on_table_known(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (res == NULL) {
        return;
    }
    if (failed(res)) {
        fail(m, "lock of migrations", res);
    } else if (strcmp(value(res), "t") == 0) {
        rt_pg_script(m->pg,
                     "select version, encode(checksum, 'hex') from realtime.datafuse_migrations",
                     on_versions, m);
    } else {
        apply_next(m);
    }
}

static void on_missing(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (res == NULL) {
        return;
    }
    if (failed(res)) {
        fail(m, "looking for what is missing", res);
        return;
    }
    if (value(res)[0] != '\0') {
        rt_log(m->log, RT_WARN, "database_incomplete", rt_kv_s("missing", value(res)),
               rt_kv_s("hint", "REALTIME_MIGRATE=on creates it, =print writes the SQL"));
    }
    finish(m, 0, "", "");
}

/* REALTIME_MIGRATE=off: what is not there. The catalogs themselves are asked, because to_regclass
 * fails without USAGE on the schema. */
static void ask_missing(struct rt_migrate *m)
{
    static const char form[] =
        "select concat_ws(', ',"
        " case when not exists (select from pg_publication where pubname = %s)"
        "   then 'publication ' || %s end,"
        " case when not exists (select from pg_class c join pg_namespace n"
        "     on n.oid = c.relnamespace where nspname = 'realtime' and relname = 'messages')"
        "   then 'table realtime.messages' end,"
        " (select string_agg('function realtime.' || f || '()', ', ')"
        "   from unnest('{topic,datafuse_authorize}'::text[]) f"
        "   where not exists (select from pg_proc p join pg_namespace n"
        "     on n.oid = p.pronamespace where nspname = 'realtime' and proname = f)))";
    size_t cap = sizeof form + 2 * strlen(m->publication);
    char *sql = rt_malloc(cap);

    (void)snprintf(sql, cap, form, m->publication, m->publication);
    rt_pg_script(m->pg, sql, on_missing, m);
    rt_free(sql);
}

/* Others that started at the same time go first: that is not the wait of lock_timeout, which is for
 * tables of users. The lock ends with the session. */
static void on_lock_ready(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (res == NULL) {
        return;
    }
    if (failed(res)) {
        fail(m, "lock of migrations", res);
        return;
    }
    rt_pg_script(m->pg,
                 "select pg_advisory_lock(1684435572); set lock_timeout = '10s';"
                 "select exists (select from pg_class c join pg_namespace n"
                 " on n.oid = c.relnamespace"
                 " where nspname = 'realtime' and relname = 'datafuse_migrations')",
                 on_table_known, m);
}

static void on_server_known(void *ctx, const PGresult *res)
{
    struct rt_migrate *m = ctx;

    if (res == NULL) {
        return;
    }
    if (failed(res)) {
        fail(m, "asking the server", res);
    } else if (strcmp(m->cfg->migrate, "on") != 0) {
        ask_missing(m);
    } else if (strcmp(value(res), "on") == 0) {
        rt_log(m->log, RT_WARN, "database_read_only", rt_kv_s("code", "DatabaseReadOnly"),
               rt_kv_s("hint", "migrations are skipped; REALTIME_DATABASE_URL should name the "
                               "primary"));
        finish(m, 0, "", "");
    } else {
        rt_pg_script(m->pg, "set lock_timeout = 0", on_lock_ready, m);
    }
}

static void on_up(void *ctx, struct rt_pg *pg)
{
    struct rt_migrate *m = ctx;
    size_t cap = strlen(m->publication) + 128;
    char *sql = rt_malloc(cap);

    /* transaction_read_only is also on while a standby is in recovery. */
    (void)snprintf(sql, cap,
                   "select set_config('datafuse.publication', %s, false);"
                   "select current_setting('transaction_read_only')",
                   m->publication);
    rt_pg_script(pg, sql, on_server_known, m);
    rt_free(sql);
}

static void on_down(void *ctx, struct rt_pg *pg, const char *why, const char *sqlstate)
{
    struct rt_migrate *m = ctx;

    (void)pg;
    m->pg = NULL;
    finish(m, -1, sqlstate, why);
}

/* For an administrator, who runs it as the role that is to own all of it. */
static void print_all(const struct rt_migrate *m)
{
    (void)printf("begin;\nselect pg_catalog.set_config('datafuse.publication', %s, true);\n",
                 m->publication);
    for (size_t i = 0; i < rt_migrations_count; i++) {
        if (wanted(m->cfg, &rt_migrations[i])) {
            char *sql = text_of(&rt_migrations[i]);

            (void)fputs(sql, stdout);
            rt_free(sql);
        }
    }
    (void)printf(ALLOW "\nselect realtime.datafuse_partitions();\ncommit;\n", m->login);
    (void)fflush(stdout);
}

struct rt_migrate *
rt_migrate_start(struct rt_loop *l, const struct rt_config *cfg, struct rt_log *log,
                 void (*done)(void *ctx, int rv, const char *sqlstate, const char *text), void *ctx)
{
    static const struct rt_pg_events events = {.on_up = on_up, .on_down = on_down};
    struct rt_migrate *m = rt_calloc(1, sizeof *m);
    struct rt_pg_config pg = {.url = cfg->database_url,
                              .purpose = "migrate",
                              .node = cfg->node,
                              .options = session_options,
                              .kind = RT_PG_SIMPLE};
    char *user;

    m->cfg = cfg;
    m->log = log;
    m->done = done;
    m->ctx = ctx;
    m->publication = quote(cfg->publication);
    user = rt_pg_user(cfg->database_check_url);
    m->login = quote(user);
    rt_free(user);
    m->applied = rt_calloc(rt_migrations_count, sizeof *m->applied);
    if (strcmp(cfg->migrate, "print") == 0) {
        print_all(m);
    }
    m->pg = rt_pg_open(l, &pg, &events, m);
    return m;
}

void rt_migrate_cancel(struct rt_migrate *m)
{
    if (m != NULL) {
        free_all(m);
    }
}
