/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot.c - the replication connection up to the first byte of the stream: whose history it is, the
 * slot, what to do when the server refuses.
 * Source: Postgres documentation, "Streaming Replication Protocol".
 */
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "node/db/sqltext.h"
#include "node/db/stream_in.h"

/* How often it is seen whether they are. */
#define SETTLE_LOOK_MS 100u
/* A slot that another session holds: it lets go within 5 s (wal_sender_timeout below). */
#define BUSY_RETRY_MS 250u
/* One that holds it for longer is not dead but on another side of a split: clients are told. */
#define BUSY_TELL_MS 10000u
/* Settings that only a DBA can mend are looked at again after a minute. */
#define DBA_RETRY_MS 60000u
/* Registrations are looked at before the stream starts, or rows of before would find nobody; a
 * catalog that does not answer must not hold all others up. */
#define SETTLE_MS 5000u
/* Clients are told of a lost database after this: a restart of a second is not worth a message. */
#define TELL_AFTER_MS 2000u
/* The server lets go of the slot of a reader that says nothing for 5 s. */
static const char options[] =
    "-c wal_sender_timeout=5000 -c TimeZone=UTC -c DateStyle=ISO,MDY -c IntervalStyle=postgres "
    "-c extra_float_digits=1 -c bytea_output=hex";

/*
 * A change is decoded with the catalog of its time: one of when the publication was dropped cannot
 * be read, however often that is tried, nor what is behind it. (Not from 18 on, which warns only.)
 */
static bool is_gap(const struct rt_db *d, const char *why)
{
    char text[160];

    (void)snprintf(text, sizeof text, "publication \"%s\" does not exist", d->cfg->publication);
    return strstr(why, text) != NULL;
}

/* What the server says when it refuses, what clients are told, and when it is tried again. */
void rt_stream_failed(struct rt_db *d, const char *why, const char *sqlstate)
{
    static const struct {
        const char *part, *text;
        uint64_t retry_ms;
    } known[] = {
        {"logical decoding requires wal_level", "", DBA_RETRY_MS},
        {"is active for PID", NULL, BUSY_RETRY_MS},
        {"replication role", "The database role may not replicate", DBA_RETRY_MS},
        {"start WAL sender", "The database role may not replicate", DBA_RETRY_MS},
        {"while in recovery", "Postgres Changes need a writable primary", DBA_RETRY_MS},
    };
    char wal[] = "Postgres Changes need wal_level = logical on the database (it is replica)";
    uint64_t ms = rt_stream_retry_ms(d);
    const char *text = RT_TEXT_DOWN;

    rt_log(d->log, RT_WARN, "replication_failed", rt_kv_s("code", "ReplicationConnectionDown"),
           rt_kv_s("sqlstate", sqlstate), rt_kv_s("err", why), rt_kv_u("again_in_ms", ms));
    if (strcmp(sqlstate, "53300") == 0 || strcmp(sqlstate, "53400") == 0) {
        text = why;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(why, known[i].part) != NULL) {
            ms = known[i].retry_ms;
            text = known[i].text == NULL || known[i].text[0] != '\0' ? known[i].text : wal;
        }
    }
    if (is_gap(d, why)) { /* clients hear that their tables are not published */
        d->stream.gap = true;
        text = NULL;
    }
    /* The slot stands before the publication was made: without it, it can be read past that. */
    d->stream.casts_failed = strstr(why, RT_MESSAGES_PUBLICATION) != NULL;
    if (text != NULL && rt_now_ms(d->loop) - d->stream.down_since_ms >= TELL_AFTER_MS) {
        rt_stream_trouble(d, text);
    }
    rt_timer_set(&d->stream.retry, ms);
}

static void on_down(void *ctx, struct rt_pg *pg, const char *why, const char *sqlstate)
{
    struct rt_db *d = ctx;

    (void)pg;
    rt_stream_reset(d);
    rt_stream_failed(d, why, sqlstate);
}

/* An error in one of the commands before the stream. */
static void refused(struct rt_db *d, const PGresult *res)
{
    char why[512], sqlstate[8];

    if (res == NULL) {
        return; /* on_down follows */
    }
    (void)snprintf(why, sizeof why, "%s", rt_pg_message(res));
    (void)snprintf(sqlstate, sizeof sqlstate, "%s", rt_pg_sqlstate(res));
    rt_stream_drop(d);
    rt_stream_failed(d, why, sqlstate);
}

/* "16/B374D848": two hexadecimal halves; 0 if it is none. */
static uint64_t lsn_of(const char *text)
{
    uint64_t high = 0, low = 0;

    for (; *text != '\0'; text++) {
        const char *digits = "0123456789ABCDEF";
        const char *digit = strchr(digits, *text);

        if (*text == '/') {
            high = low;
            low = 0;
        } else if (digit != NULL) {
            low = low << 4 | (uint64_t)(digit - digits);
        }
    }
    return high << 32 | low;
}

/* The holder is never ended from here: two sides of a split would do that to each other for ever.
 * It lets go by itself, or the server takes the slot from one that is dead. */
static void busy(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;
    uint64_t now = rt_now_ms(d->loop);

    s->state = RT_STREAM_BUSY;
    if (s->busy_since_ms == 0) {
        s->busy_since_ms = now;
        rt_log(d->log, RT_INFO, "slot_busy", rt_kv_s("slot", s->slot));
    } else if (now - s->busy_since_ms >= BUSY_TELL_MS) {
        rt_stream_trouble(d, RT_TEXT_BUSY);
    }
    rt_timer_set(&s->retry, BUSY_RETRY_MS);
}

/* The question for a term, of one life of the connection. */
struct ask {
    struct rt_db *d;
    uint32_t life;
};

static void on_term(void *ctx, const PGresult *res)
{
    struct ask *ask = ctx;
    struct rt_db *d = ask->d;
    struct rt_stream *s = &d->stream;
    bool late = ask->life != s->life || s->state != RT_STREAM_TERM;
    uint64_t lsn;

    rt_free(ask);
    if (late || res == NULL) {
        return;
    }
    lsn = PQresultStatus(res) == PGRES_TUPLES_OK ? lsn_of(PQgetvalue(res, 0, 0)) : 0;
    if (lsn == 0) {
        refused(d, res);
        return;
    }
    s->tries = 0;
    s->busy_since_ms = 0;
    rt_free(s->trouble);
    s->trouble = NULL;
    rt_gauge(d->metrics, RT_M_DB_STREAMING, 1);
    rt_log(d->log, RT_INFO, "replication_up", rt_kv_s("slot", s->slot));
    rt_db_link_held(d, lsn);
    rt_stream_begin(d);
    rt_db_regs_kick(d);
}

/*
 * The slot is ours. An LSN that is written from now on is larger than that of every holder before,
 * as far as this timeline goes: edges tell by it who came last. A standby writes nothing, but it
 * has replayed what its primary wrote.
 */
static void ask_term(struct rt_db *d)
{
    static const char sql[] =
        "select (case when pg_catalog.pg_is_in_recovery() then pg_catalog.pg_last_wal_replay_lsn()"
        " else pg_catalog.pg_logical_emit_message(false, 'realtime', $1) end)::text";
    const char *const params[] = {d->cfg->node};
    struct ask *ask = rt_calloc(1, sizeof *ask);

    ask->d = d;
    ask->life = d->stream.life;
    rt_pg_query(d->control, sql, 1, params, on_term, ask);
    rt_pg_sync(d->control);
}

static void on_started(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_stream *s = &d->stream;

    if (res != NULL && strcmp(rt_pg_sqlstate(res), "55006") == 0 &&
        strstr(rt_pg_message(res), "is active for PID") != NULL) {
        busy(d);
    } else if (res == NULL || PQresultStatus(res) != PGRES_COPY_BOTH) {
        refused(d, res);
    } else {
        s->state = RT_STREAM_TERM;
        rt_pg_copy(s->pg);
        ask_term(d);
    }
}

void rt_stream_take(struct rt_db *d)
{
    char sql[512];

    d->stream.state = RT_STREAM_STARTING;
    (void)snprintf(sql, sizeof sql,
                   "START_REPLICATION SLOT \"%s\" LOGICAL 0/0 (proto_version '1', "
                   "publication_names '\"%s\"%s', messages 'false')",
                   d->stream.slot, d->cfg->publication,
                   d->stream.casts ? ",\"" RT_MESSAGES_PUBLICATION "\"" : "");
    rt_pg_script(d->stream.pg, sql, on_started, d);
}

static void on_created(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        refused(d, res);
        return;
    }
    rt_log(d->log, RT_INFO, "slot_created", rt_kv_s("slot", d->stream.slot));
    /* Who heard of changes before heard them from another slot, which is gone, with all that was
     * not confirmed. */
    rt_db_link_sys(d, 0, "Changes may be missing: the replication slot was lost");
    rt_stream_take(d);
}

static void create_slot(struct rt_db *d)
{
    char sql[256];

    (void)snprintf(sql, sizeof sql,
                   "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput NOEXPORT_SNAPSHOT",
                   d->stream.slot);
    rt_pg_script(d->stream.pg, sql, on_created, d);
}

static void on_dropped(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;

    if (res == NULL || PQresultStatus(res) == PGRES_FATAL_ERROR) {
        refused(d, res);
        return;
    }
    create_slot(d);
}

static void on_passed(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_stream *s = &d->stream;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        refused(d, res);
        return;
    }
    if (PQntuples(res) == 0) { /* there is none yet */
        rt_stream_drop(d);
        rt_timer_set(&s->retry, rt_stream_retry_ms(d));
        return;
    }
    rt_log(d->log, RT_WARN, "changes_passed_over", rt_kv_s("publication", d->cfg->publication),
           rt_kv_s("slot", s->slot), rt_kv_s("until", PQgetvalue(res, 0, 0)),
           rt_kv_s("hint", "it was dropped and made again; alter publication loses nothing"));
    s->gap = false;
    s->found_lsn = lsn_of(PQgetvalue(res, 0, 0));
    s->confirmed_lsn = s->found_lsn;
    rt_db_link_sys(d, 0, "Changes may be missing: the publication was dropped");
    rt_stream_take(d);
}

/* Over the changes of a time without the publication, once it is there again. */
static void pass_over(struct rt_db *d)
{
    struct rt_text sql = {0};

    rt_text_puts(&sql, "SELECT (pg_catalog.pg_replication_slot_advance(");
    rt_text_literal(&sql, pr_str(d->stream.slot));
    rt_text_puts(&sql, ", pg_catalog.pg_current_wal_lsn())).end_lsn::text "
                       "FROM pg_catalog.pg_publication WHERE pubname = ");
    rt_text_literal(&sql, pr_str(d->cfg->publication));
    rt_pg_script(d->stream.pg, rt_text_end(&sql), on_passed, d);
    rt_free(sql.p);
}

/* wal_status and confirmed_flush_lsn of the slot, or no row. */
static void on_slot(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_stream *s = &d->stream;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        refused(d, res);
    } else if (PQntuples(res) == 0) {
        create_slot(d);
    } else if (strcmp(PQgetvalue(res, 0, 0), "lost") == 0) {
        char sql[256];

        rt_log(d->log, RT_ERROR, "slot_lost", rt_kv_s("code", "ReplicationSlotLost"),
               rt_kv_s("slot", s->slot), rt_kv_s("confirmed", PQgetvalue(res, 0, 1)));
        (void)snprintf(sql, sizeof sql, "DROP_REPLICATION_SLOT \"%s\"", s->slot);
        rt_pg_script(s->pg, sql, on_dropped, d);
    } else {
        s->found_lsn = lsn_of(PQgetvalue(res, 0, 1));
        s->confirmed_lsn = s->found_lsn;
        if (s->gap) {
            pass_over(d);
        } else {
            rt_stream_take(d);
        }
    }
}

/* System identifier, timeline, database oid: the name of the stream. */
static void on_identified(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_stream *s = &d->stream;
    char text[160], sql[320];
    uint64_t id;
    int n;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        refused(d, res);
        return;
    }
    /* Not the slot's life: on one server LSNs grow across slots. */
    n = snprintf(text, sizeof text, "%s/%s", PQgetvalue(res, 0, 0), PQgetvalue(res, 0, 1));
    id = XXH3_64bits(text, (size_t)n);
    if (id != s->id) { /* another history: positions start anew, here and at the edges */
        s->id = id;
        s->system = rt_pg_number(PQgetvalue(res, 0, 0));
        s->timeline = (uint32_t)rt_pg_number(PQgetvalue(res, 0, 1));
        s->received_lsn = 0;
        s->found_lsn = 0;
        s->confirmed_lsn = 0;
        s->routed = (struct pr_pos){0};
        rt_boots_new_history(d);
    }
    (void)snprintf(sql, sizeof sql,
                   "SELECT coalesce(wal_status, ''), coalesce(confirmed_flush_lsn::text, '') "
                   "FROM pg_catalog.pg_replication_slots WHERE slot_name = '%s'",
                   s->slot);
    rt_pg_script(s->pg, sql, on_slot, d);
}

static void on_oid(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        refused(d, res);
        return;
    }
    /* Slots belong to the server, and databases may share one. */
    (void)snprintf(d->stream.slot, sizeof d->stream.slot, "datafuse_realtime_%.20s",
                   PQgetvalue(res, 0, 0));
    d->stream.casts = d->cfg->broadcast_from_database && !d->stream.casts_failed &&
                      strcmp(PQgetvalue(res, 0, 1), "0") != 0;
    if (d->cfg->broadcast_from_database && !d->stream.casts) {
        rt_log(d->log, RT_WARN, "broadcasts_off", rt_kv_s("code", "UnableToBroadcastChanges"),
               rt_kv_s("publication", RT_MESSAGES_PUBLICATION),
               rt_kv_s("err", d->stream.casts_failed ? "the slot is older than the publication"
                                                     : "the publication is missing"));
    }
    rt_pg_script(d->stream.pg, "IDENTIFY_SYSTEM", on_identified, d);
}

static void on_up(void *ctx, struct rt_pg *pg)
{
    struct rt_db *d = ctx;

    rt_pg_script(pg,
                 "SELECT oid, (SELECT count(*) FROM pg_catalog.pg_publication "
                 "WHERE pubname = '" RT_MESSAGES_PUBLICATION "') "
                 "FROM pg_catalog.pg_database WHERE datname = current_database()",
                 on_oid, d);
}

void rt_stream_kick(struct rt_db *d)
{
    static const struct rt_pg_events events = {.on_up = on_up,
                                               .on_down = on_down,
                                               .on_copy = rt_stream_on_copy,
                                               .on_copy_idle = rt_stream_on_copy_idle};
    struct rt_pg_config cfg = {.url = d->cfg->database_url,
                               .purpose = "replication",
                               .node = d->cfg->node,
                               .options = options,
                               .kind = RT_PG_REPLICATION};
    uint64_t settling_ms;

    if (d->stream.pg != NULL || !d->up || !d->owner_up || !d->elected || !d->synced) {
        return;
    }
    settling_ms = rt_now_ms(d->loop) - (d->synced_ms > d->up_ms ? d->synced_ms : d->up_ms);
    if (!rt_db_regs_settled(d) && settling_ms < SETTLE_MS) {
        d->stream.settling = true;
        rt_timer_set(&d->stream.retry, SETTLE_LOOK_MS);
        return;
    }
    if (d->stream.settling) {
        d->stream.settling = false;
        rt_db_regs_begin_without(d);
    }
    d->stream.state = RT_STREAM_STARTING;
    d->stream.pg = rt_pg_open(d->loop, &cfg, &events, d);
}
