/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db.c - wiring of the db process: migrations, then the connections, then what is published, then
 * registrations and the stream. When the database goes away all of it starts from the beginning;
 * the process itself never ends because of the database.
 */
#include "node/db/db.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "node/base/heart.h"
#include "node/db/db_in.h"
#include "node/db/doctor.h"

#define RETRY_FIRST_MS 100u
#define RETRY_MAX_MS   5000u
/* What is published, and which roles may be taken, is looked at this often. */
#define POLL_MS 5000u
/* Partitions of tomorrow are made long before they are needed. */
#define JANITOR_MS UINT64_C(1800000)
/* After migrations that failed: somebody mends the database, and looks whether it helped. */
#define MIGRATE_AGAIN_MS 10000u
/* A restart of a second or two is not worth a message to clients. */
#define TELL_AFTER_MS 2000u
/* Connections beside the pool: control, check, migrations, and replication on the node that reads.
 */
#define OWN_CONNS 4u
/* Catalog questions are short; a lock on a catalog must not stop them for ever. */
static const char control_options[] = "-c statement_timeout=5s -c jit=off -c TimeZone=UTC -c "
                                      "DateStyle=ISO,MDY -c IntervalStyle=postgres";

static void start(struct rt_db *d);

static void close_all(struct rt_db *d)
{
    struct rt_pg *control = d->control, *check = d->check;

    rt_stream_drop(d);
    rt_migrate_cancel(d->migrate);
    d->migrate = NULL;
    d->up = false;
    d->control = NULL;
    d->check = NULL;
    rt_pg_end(control);
    rt_pg_end(check);
    d->tables_asked = false;
    rt_gauge(d->metrics, RT_M_DB_UP, 0);
}

void rt_db_lost(struct rt_db *d, const char *why, const char *sqlstate)
{
    uint64_t ms = RETRY_FIRST_MS;
    uint64_t now = rt_now_ms(d->loop);
    uint64_t chance;

    (void)snprintf(d->last_error, sizeof d->last_error, "%s", why);
    (void)snprintf(d->last_sqlstate, sizeof d->last_sqlstate, "%s", sqlstate);
    if (d->up || d->down_since_ms == 0) {
        d->down_since_ms = now;
    }
    rt_log(
        d->log, RT_WARN, d->was_up ? "database_lost" : "database_unreachable",
        rt_kv_s("code", d->was_up ? "DatabaseConnectionDown" : "UnableToConnectToTenantDatabase"),
        rt_kv_s("sqlstate", sqlstate), rt_kv_s("err", why));
    close_all(d);
    rt_count(d->metrics, RT_M_DB_RECONNECTS, 1);
    for (uint32_t i = 0; i < d->tries && ms < RETRY_MAX_MS; i++) {
        ms *= 2;
    }
    d->tries++;
    ms = ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
    rt_random(&chance, sizeof chance);
    rt_timer_set(&d->retry, ms - ms / 4 + chance % (ms / 2 + 1));
    if (!d->was_up || now - d->down_since_ms >= TELL_AFTER_MS) {
        rt_stream_trouble(d, RT_TEXT_DOWN);
    }
}

static void on_down(void *ctx, struct rt_pg *pg, const char *why, const char *sqlstate)
{
    struct rt_db *d = ctx;

    if (pg == d->control) {
        d->control = NULL;
    } else {
        d->check = NULL;
    }
    rt_db_lost(d, why, sqlstate);
}

static void on_up(void *ctx, struct rt_pg *pg)
{
    struct rt_db *d = ctx;

    d->ups += pg == d->control || pg == d->check;
    if (d->ups == 2) {
        rt_tables_poll(d);
    }
}

void rt_db_tables_known(struct rt_db *d, bool changed)
{
    if (!d->up) {
        d->up = true;
        d->was_up = true;
        d->tries = 0;
        d->down_since_ms = 0;
        d->up_ms = rt_now_ms(d->loop);
        d->stream.down_since_ms = rt_now_ms(d->loop);
        rt_gauge(d->metrics, RT_M_DB_UP, 1);
        rt_log_plain(d->log, RT_INFO, "database_up");
    }
    if (changed) {
        rt_db_regs_again(d, NULL);
    }
    rt_db_regs_kick(d);
    rt_stream_kick(d);
}

static void open_connections(struct rt_db *d)
{
    static const struct rt_pg_events events = {.on_up = on_up, .on_down = on_down};
    struct rt_pg_config control = {.url = d->cfg->database_url,
                                   .purpose = "control",
                                   .node = d->cfg->node,
                                   .options = control_options,
                                   .kind = RT_PG_PIPELINE};
    struct rt_pg_config check = {.url = d->cfg->database_check_url,
                                 .purpose = "check",
                                 .node = d->cfg->node,
                                 .options = rt_rls_options,
                                 .kind = RT_PG_PIPELINE};

    d->ups = 0;
    rt_plans_forget(d);
    d->control = rt_pg_open(d->loop, &control, &events, d);
    d->check = rt_pg_open(d->loop, &check, &events, d);
}

/* Is this the connection's trouble, so that nothing else can work either? */
static bool is_connection_trouble(const char *sqlstate)
{
    static const char *const classes[] = {"08", "28", "3D", "53", "57P"};

    if (sqlstate[0] == '\0') {
        return true;
    }
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++) {
        if (strncmp(sqlstate, classes[i], strlen(classes[i])) == 0) {
            return true;
        }
    }
    return false;
}

static void on_migrated(void *ctx, int rv, const char *sqlstate, const char *text)
{
    struct rt_db *d = ctx;

    d->migrate = NULL;
    d->janitor_ms = rt_now_ms(d->loop) + (rv != 0 ? MIGRATE_AGAIN_MS : JANITOR_MS);
    /* Of a janitor that got no connection of its own, those that are there are none the worse. */
    if (rv != 0 && is_connection_trouble(sqlstate) && d->control == NULL) {
        rt_db_lost(d, text, sqlstate);
        return;
    }
    d->migrate_fix = rv != 0 ? rt_db_migrate_fix(sqlstate) : NULL;
    (void)snprintf(d->migrate_error, sizeof d->migrate_error, "%s", rv != 0 ? text : "");
    if (rv != 0) {
        /* Changes may work all the same, if the publication is there. */
        rt_log(d->log, RT_ERROR, "migrations_failed", rt_kv_s("code", "MigrationsFailedToRun"),
               rt_kv_s("sqlstate", sqlstate), rt_kv_s("err", text),
               rt_kv_s(d->migrate_fix != NULL ? "hint" : NULL, d->migrate_fix));
    }
    if (d->control == NULL) {
        open_connections(d);
    }
    rt_desk_ready(d);
}

static void start(struct rt_db *d)
{
    d->migrate = rt_migrate_start(d->loop, d->cfg, d->log, on_migrated, d);
}

bool rt_db_janitor(struct rt_db *d)
{
    if (strcmp(d->cfg->migrate, "on") != 0) {
        return false;
    }
    if (d->migrate == NULL) {
        start(d);
    }
    return true;
}

static void on_retry(void *ctx)
{
    struct rt_db *d = ctx;

    if (d->migrate == NULL) { /* the desk may have needed it meanwhile */
        start(d);
    }
}

static void on_poll(void *ctx)
{
    struct rt_db *d = ctx;

    /* Also when the last look failed. Nobody needs it while nothing is registered. */
    if (d->control != NULL && d->ups == 2 && (d->nregs > 0 || d->polls_done < d->polls_started)) {
        rt_tables_poll(d);
    }
    if (d->up) {
        rt_desk_look(d);
        if (d->migrate == NULL && strcmp(d->cfg->migrate, "on") == 0 &&
            rt_now_ms(d->loop) >= d->janitor_ms) {
            start(d);
        }
    }
    rt_timer_set(&d->poll, POLL_MS);
}

static void on_frame(void *ctx, struct pr_slice frame)
{
    struct rt_db *d = ctx;

    rt_count(d->metrics, RT_M_DB_ROUTED, 1);
    d->stream.since_mark_bytes += frame.n;
    rt_db_link_send(d, frame);
}

static void on_stop(void *ctx, int signo)
{
    struct rt_db *d = ctx;

    (void)signo;
    rt_loop_stop(d->loop);
}

static void on_reload(void *ctx, int signo)
{
    (void)ctx;
    (void)signo; /* its settings are read at start only */
}

static void end(struct rt_db *d)
{
    close_all(d);
    rt_stream_free(d);
    rt_batch_free(d);
    rt_db_regs_free(d);
    rt_boots_clear(d);
    rt_tables_free(d);
    rt_rls_free(d->rls);
    rt_db_link_free(d);
    rt_desk_free(d);
    rt_timer_close(&d->retry, NULL);
    rt_timer_close(&d->poll, NULL);
}

int rt_db_main(const struct rt_config *cfg, const struct rt_role_args *args)
{
    struct rt_db *d = rt_calloc(1, sizeof *d);
    struct rt_heart *heart;

    d->cfg = cfg;
    d->args = args;
    d->log = args->log;
    d->metrics = args->metrics;
    d->loop = rt_loop_new();
    heart = rt_heart_start(d->loop, args->heart_fd);
    rt_loop_on_signal(d->loop, SIGTERM, on_stop, d);
    rt_loop_on_signal(d->loop, SIGINT, on_stop, d);
    rt_loop_on_signal(d->loop, SIGHUP, on_reload, d);
    rt_timer_init(d->loop, &d->retry, on_retry, d);
    rt_timer_init(d->loop, &d->poll, on_poll, d);
    rt_timer_set(&d->poll, POLL_MS);
    d->subs = rt_subs_new();
    d->rels = rt_rels_new(cfg, d->log);
    d->rls = rt_rls_new(d->loop, d->log, d->metrics);
    d->route =
        rt_route_new(pr_str(cfg->project), cfg->changes_lsn, cfg->max_record_bytes, on_frame, d);
    rt_stream_init(d);
    rt_batch_init(d);
    rt_desk_init(d);
    rt_db_link_init(d);
    if (cfg->database_url != NULL) {
        rt_log(d->log, RT_INFO, "database_connections",
               rt_kv_u("at_most", OWN_CONNS + cfg->db_pool), rt_kv_u("pool", cfg->db_pool));
        start(d);
    } else {
        rt_log_plain(d->log, RT_INFO, "no_database");
    }
    rt_loop_run(d->loop);
    end(d);
    rt_heart_stop(heart);
    rt_loop_free(d->loop);
    rt_rels_free(d->rels);
    rt_route_free(d->route);
    rt_subs_free(d->subs);
    rt_free(d);
    return 0;
}
