/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/pgconn_in.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void on_poll(uv_poll_t *handle, int status, int events);
static void on_turn_end(void *ctx);

static void on_watch_closed(uv_handle_t *handle)
{
    rt_free(handle->data);
}

static void drop_watch(struct rt_pg *pg)
{
    if (pg->watch != NULL) {
        pg->watch->pg = NULL;
        uv_close((uv_handle_t *)&pg->watch->poll, on_watch_closed);
        pg->watch = NULL;
    }
}

static void watch(struct rt_pg *pg, int events)
{
    int fd = PQsocket(pg->conn);

    if (pg->watch == NULL || pg->fd != fd) {
        drop_watch(pg);
        pg->watch = rt_calloc(1, sizeof *pg->watch);
        pg->watch->pg = pg;
        pg->watch->poll.data = pg->watch;
        pg->fd = fd;
        if (uv_poll_init(rt_loop_uv(pg->loop), &pg->watch->poll, fd) != 0) {
            abort();
        }
    }
    if (uv_poll_start(&pg->watch->poll, events, on_poll) != 0) {
        abort();
    }
}

static void watch_up(struct rt_pg *pg)
{
    watch(pg, (pg->paused ? 0 : UV_READABLE) | (pg->want_write ? UV_WRITABLE : 0));
}

static void free_pg(void *ctx)
{
    rt_free(ctx);
}

/* Ends the connection. Memory goes when the timer's handle is closed, so that callers on the stack
 * may still look at `state`. */
static void end(struct rt_pg *pg)
{
    pg->state = RT_PG_CLOSED;
    drop_watch(pg);
    rt_loop_undefer(pg->loop, &pg->defer);
    PQclear(pg->last);
    pg->last = NULL;
    rt_pg_kept_free(pg);
    rt_free(pg->kept);
    pg->kept = NULL;
    PQfinish(pg->conn);
    pg->conn = NULL;
    rt_timer_close(&pg->timer, free_pg);
    pg->timer.ctx = pg;
}

static void free_waits(struct rt_pg *pg, bool tell)
{
    while (pg->head != NULL) {
        struct rt_pg_wait w = *pg->head;

        rt_pg_pop(pg); /* first: fn may ask again, which is answered here too */
        if (tell && w.fn != NULL) {
            w.fn(w.ctx, NULL);
        }
    }
}

void rt_pg_close(struct rt_pg *pg)
{
    if (pg != NULL && pg->state != RT_PG_CLOSED) {
        free_waits(pg, false);
        end(pg);
    }
}

void rt_pg_end(struct rt_pg *pg)
{
    if (pg != NULL && pg->state != RT_PG_CLOSED) {
        free_waits(pg, true);
        rt_pg_close(pg);
    }
}

/* First line of a libpq text, without its prefix and end of line. */
static void first_line(const char *text, char *out, size_t cap)
{
    size_t n = strcspn(text, "\n");

    (void)snprintf(out, cap, "%.*s", (int)(n < cap ? n : cap - 1), text);
}

void rt_pg_down(struct rt_pg *pg, const char *why, const char *sqlstate)
{
    char text[512], state[8];

    if (pg->state == RT_PG_CLOSED) {
        return;
    }
    (void)snprintf(text, sizeof text, "%s", why);
    (void)snprintf(state, sizeof state, "%s", sqlstate);
    free_waits(pg, true);
    if (pg->state != RT_PG_CLOSED) {
        end(pg);
        pg->ev->on_down(pg->ctx, pg, text, state);
    }
}

/* libpq 15 keeps no SQLSTATE of a refused connection, but its text tells. */
static const char *state_of_refusal(const char *text)
{
    static const struct {
        const char *part, *sqlstate;
    } known[] = {{"password authentication failed", "28P01"},
                 {"does not exist", "3D000"},
                 {"too many clients", "53300"},
                 {"too many connections", "53300"},
                 {"remaining connection slots", "53300"},
                 {"max_wal_senders", "53300"},
                 {"starting up", "57P03"},
                 {"shutting down", "57P01"},
                 {"must be superuser or replication role", "42501"},
                 {"permission denied to start WAL sender", "42501"}};

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strstr(text, known[i].part) != NULL) {
            return known[i].sqlstate;
        }
    }
    return "";
}

void rt_pg_lost(struct rt_pg *pg)
{
    char text[512];
    const char *message = PQerrorMessage(pg->conn);

    first_line(message[0] != '\0' ? message : "the connection was closed", text, sizeof text);
    rt_pg_down(pg, text, state_of_refusal(message));
}

/* Connecting took too long or failed at once; or copies are left from the turn before. */
static void on_timer(void *ctx)
{
    struct rt_pg *pg = ctx;

    if (pg->state == RT_PG_COPYING) {
        rt_pg_copies(pg);
    } else if (PQstatus(pg->conn) == CONNECTION_BAD) {
        rt_pg_lost(pg);
    } else {
        rt_pg_down(pg, "the server did not answer in time", "");
    }
}

static void flush(struct rt_pg *pg)
{
    int rv = PQflush(pg->conn);

    if (rv < 0) {
        rt_pg_lost(pg);
        return;
    }
    pg->want_write = rv > 0;
    watch_up(pg);
}

static void flush_later(struct rt_pg *pg)
{
    rt_loop_defer(pg->loop, &pg->defer, on_turn_end, pg);
}

/* RT_PG_SIMPLE: sends the next text if none is running. */
void rt_pg_send_next(struct rt_pg *pg)
{
    struct rt_pg_wait *w = pg->head;

    if (w == NULL || w->sql == NULL || pg->state != RT_PG_UP) {
        return;
    }
    if (PQsendQuery(pg->conn, w->sql) != 1) {
        rt_pg_lost(pg);
        return;
    }
    rt_free(w->sql);
    w->sql = NULL;
    flush_later(pg);
}

static void do_connect(struct rt_pg *pg)
{
    switch (PQconnectPoll(pg->conn)) {
    case PGRES_POLLING_READING:
        watch(pg, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        watch(pg, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(pg->conn, 1) != 0 ||
            (pg->kind == RT_PG_PIPELINE && PQenterPipelineMode(pg->conn) != 1)) {
            rt_pg_lost(pg);
            return;
        }
        rt_timer_clear(&pg->timer);
        pg->state = RT_PG_UP;
        watch_up(pg);
        pg->ev->on_up(pg->ctx, pg);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        rt_pg_lost(pg);
        break;
    }
}

static void do_read(struct rt_pg *pg)
{
    if (PQconsumeInput(pg->conn) != 1) {
        /* What the server said before it closed comes first: the reason is in it. */
        if (pg->state == RT_PG_COPYING) {
            rt_pg_copies(pg);
        }
        if (pg->state != RT_PG_CLOSED) {
            rt_pg_lost(pg);
        }
        return;
    }
    if (pg->state == RT_PG_COPYING) {
        rt_pg_copies(pg);
    } else if (pg->kind == RT_PG_PIPELINE) {
        rt_pg_pipeline_answers(pg);
    } else {
        rt_pg_text_answers(pg);
    }
    if (pg->state == RT_PG_UP && pg->head == NULL && PQstatus(pg->conn) == CONNECTION_BAD) {
        rt_pg_lost(pg);
    } else if (pg->state != RT_PG_CLOSED) {
        watch_up(pg);
    }
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct rt_pg_watch *w = handle->data;
    struct rt_pg *pg = w->pg;

    if (pg == NULL) {
        return;
    }
    if (pg->state == RT_PG_CONNECTING) {
        do_connect(pg);
        return;
    }
    if (status < 0) {
        rt_pg_down(pg, uv_strerror(status), "");
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        flush(pg);
    }
    if (pg->state != RT_PG_CLOSED && (events & UV_READABLE) != 0) {
        do_read(pg);
    }
}

static void on_turn_end(void *ctx)
{
    struct rt_pg *pg = ctx;

    flush(pg);
}

/* Notices and warnings of the server are for a person at a terminal, not for a log. */
static void on_notice(void *ctx, const PGresult *res)
{
    (void)ctx;
    (void)res;
}

struct rt_pg *rt_pg_open(struct rt_loop *l, const struct rt_pg_config *cfg,
                         const struct rt_pg_events *ev, void *ctx)
{
    struct rt_pg *pg = rt_calloc(1, sizeof *pg);
    char name[128];
    /* The last ones win over what the URL says. */
    const char *keys[] = {"dbname",
                          "application_name",
                          "client_encoding",
                          "options",
                          "tcp_user_timeout",
                          "keepalives_idle",
                          "keepalives_interval",
                          "keepalives_count",
                          "replication",
                          NULL};
    const char *values[] = {cfg->url, name, "UTF8", cfg->options, "20000",
                            "10",     "5",  "3",    NULL,         NULL};

    (void)snprintf(name, sizeof name, "datafuse:%s:%s", cfg->node, cfg->purpose);
    values[8] = cfg->kind == RT_PG_REPLICATION ? "database" : NULL;
    pg->loop = l;
    pg->ev = ev;
    pg->ctx = ctx;
    pg->kind = cfg->kind;
    pg->state = RT_PG_CONNECTING;
    pg->conn = PQconnectStartParams(keys, values, 1);
    if (pg->conn == NULL) {
        abort(); /* only without memory */
    }
    (void)PQsetNoticeReceiver(pg->conn, on_notice, NULL);
    rt_timer_init(l, &pg->timer, on_timer, pg);
    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        /* Never from inside the call: the caller has not got `pg` yet. */
        rt_timer_set(&pg->timer, 0);
        return pg;
    }
    rt_timer_set(&pg->timer, RT_PG_CONNECT_MS);
    watch(pg, UV_WRITABLE);
    return pg;
}

char *rt_pg_user(const char *url)
{
    PQconninfoOption *all = PQconninfoParse(url, NULL);
    char *user = NULL;

    for (const PQconninfoOption *o = all; o != NULL && o->keyword != NULL; o++) {
        if (strcmp(o->keyword, "user") == 0 && o->val != NULL) {
            user = rt_strdup(o->val);
        }
    }
    PQconninfoFree(all);
    return user != NULL ? user : rt_strdup("");
}

static struct rt_pg_wait *add_wait(struct rt_pg *pg, rt_pg_fn fn, void *ctx)
{
    struct rt_pg_wait *w = rt_calloc(1, sizeof *w);

    w->fn = fn;
    w->ctx = ctx;
    if (pg->tail != NULL) {
        pg->tail->next = w;
    } else {
        pg->head = w;
    }
    pg->tail = w;
    return w;
}

void rt_pg_asked(struct rt_pg *pg, int sent, rt_pg_fn fn, void *ctx)
{
    assert(pg->kind == RT_PG_PIPELINE && pg->state == RT_PG_UP);
    (void)sent;
    (void)add_wait(pg, fn, ctx);
    flush_later(pg);
}

void rt_pg_query(struct rt_pg *pg, const char *sql, int nparams, const char *const *params,
                 rt_pg_fn fn, void *ctx)
{
    rt_pg_asked(pg, PQsendQueryParams(pg->conn, sql, nparams, NULL, params, NULL, NULL, 0), fn,
                ctx);
}

void rt_pg_sync(struct rt_pg *pg)
{
    assert(pg->kind == RT_PG_PIPELINE && pg->state == RT_PG_UP);
    add_wait(pg, NULL, NULL)->sync = true;
    (void)PQpipelineSync(pg->conn);
    flush_later(pg);
}

void rt_pg_script(struct rt_pg *pg, const char *sql, rt_pg_fn fn, void *ctx)
{
    bool idle = pg->head == NULL;

    assert(pg->kind != RT_PG_PIPELINE && pg->state == RT_PG_UP);
    add_wait(pg, fn, ctx)->sql = rt_strdup(sql);
    if (idle) {
        rt_pg_send_next(pg);
    }
}

void rt_pg_copy(struct rt_pg *pg)
{
    assert(pg->kind == RT_PG_REPLICATION && pg->state == RT_PG_UP);
    pg->state = RT_PG_COPYING;
    rt_timer_set(&pg->timer, 0);
}

void rt_pg_copy_more(struct rt_pg *pg)
{
    if (pg->state == RT_PG_COPYING && pg->paused) {
        pg->paused = false;
        watch_up(pg);
        rt_timer_set(&pg->timer, 0);
    }
}

bool rt_pg_copy_send(struct rt_pg *pg, struct pr_slice data)
{
    if (pg->state != RT_PG_COPYING ||
        PQputCopyData(pg->conn, (const char *)data.p, (int)data.n) != 1) {
        return false;
    }
    flush_later(pg);
    return true;
}

const char *rt_pg_sqlstate(const PGresult *res)
{
    const char *state = res != NULL ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;

    return state != NULL ? state : "";
}

const char *rt_pg_message(const PGresult *res)
{
    const char *text = res != NULL ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;

    return text != NULL ? text : "the connection was closed";
}
