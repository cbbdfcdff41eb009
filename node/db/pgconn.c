/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/pgconn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"

/* CopyData handed out per turn: heartbeats and the owner's frames get their turn between. */
#define COPIES_PER_TURN 512u

/* A question whose answer has not come. */
struct wait {
    struct wait *next;
    rt_pg_fn fn;
    void *ctx;
    bool sync; /* the end of a segment: nobody asks */
    char *sql; /* RT_PG_SIMPLE: to be sent when its turn comes */
};

/* Watches one descriptor; libpq may change it while it connects. */
struct watch {
    uv_poll_t poll;
    struct rt_pg *pg; /* NULL: the connection has another watch */
};

enum state { CONNECTING = 1, UP, COPYING, CLOSED };

struct rt_pg {
    struct rt_loop *loop;
    const struct rt_pg_events *ev;
    void *ctx;
    PGconn *conn;
    enum rt_pg_kind kind;
    enum state state;
    struct watch *watch;
    int fd;
    struct rt_timer timer; /* connecting must end; or copies are left */
    struct rt_defer defer; /* flush */
    struct wait *head, *tail;
    PGresult *kept; /* RT_PG_SIMPLE: last result, or first error, of the running text */
    bool paused;
    bool want_write;
    PostgresPollingStatusType polling;
};

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
    pg->state = CLOSED;
    drop_watch(pg);
    rt_loop_undefer(pg->loop, &pg->defer);
    PQclear(pg->kept);
    pg->kept = NULL;
    PQfinish(pg->conn);
    pg->conn = NULL;
    rt_timer_close(&pg->timer, free_pg);
    pg->timer.ctx = pg;
}

static void pop(struct rt_pg *pg)
{
    struct wait *w = pg->head;

    pg->head = w->next;
    if (pg->head == NULL) {
        pg->tail = NULL;
    }
    rt_free(w->sql);
    rt_free(w);
}

static void free_waits(struct rt_pg *pg, bool tell)
{
    while (pg->head != NULL) {
        struct wait w = *pg->head;

        pop(pg); /* first: fn may ask again, which is answered here too */
        if (tell && !w.sync) {
            w.fn(w.ctx, NULL);
        }
    }
}

void rt_pg_close(struct rt_pg *pg)
{
    if (pg != NULL && pg->state != CLOSED) {
        free_waits(pg, false);
        end(pg);
    }
}

void rt_pg_end(struct rt_pg *pg)
{
    if (pg != NULL && pg->state != CLOSED) {
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

static void down(struct rt_pg *pg, const char *why, const char *sqlstate)
{
    char text[512], state[8];

    if (pg->state == CLOSED) {
        return;
    }
    (void)snprintf(text, sizeof text, "%s", why);
    (void)snprintf(state, sizeof state, "%s", sqlstate);
    free_waits(pg, true);
    if (pg->state != CLOSED) {
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

static void lost(struct rt_pg *pg)
{
    char text[512];
    const char *message = PQerrorMessage(pg->conn);

    first_line(message[0] != '\0' ? message : "the connection was closed", text, sizeof text);
    down(pg, text, state_of_refusal(message));
}

static void do_copies(struct rt_pg *pg);

/* Connecting took too long or failed at once; or copies are left from the turn before. */
static void on_timer(void *ctx)
{
    struct rt_pg *pg = ctx;

    if (pg->state == COPYING) {
        do_copies(pg);
    } else if (PQstatus(pg->conn) == CONNECTION_BAD) {
        lost(pg);
    } else {
        down(pg, "the server did not answer in time", "");
    }
}

static void flush(struct rt_pg *pg)
{
    int rv = PQflush(pg->conn);

    if (rv < 0) {
        lost(pg);
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
static void send_next(struct rt_pg *pg)
{
    struct wait *w = pg->head;

    if (w == NULL || w->sql == NULL || pg->state != UP) {
        return;
    }
    if (PQsendQuery(pg->conn, w->sql) != 1) {
        lost(pg);
        return;
    }
    rt_free(w->sql);
    w->sql = NULL;
    flush_later(pg);
}

static void do_connect(struct rt_pg *pg)
{
    pg->polling = PQconnectPoll(pg->conn);
    switch (pg->polling) {
    case PGRES_POLLING_READING:
        watch(pg, UV_READABLE);
        break;
    case PGRES_POLLING_WRITING:
        watch(pg, UV_WRITABLE);
        break;
    case PGRES_POLLING_OK:
        if (PQsetnonblocking(pg->conn, 1) != 0 ||
            (pg->kind == RT_PG_PIPELINE && PQenterPipelineMode(pg->conn) != 1)) {
            lost(pg);
            return;
        }
        rt_timer_clear(&pg->timer);
        pg->state = UP;
        watch_up(pg);
        pg->ev->on_up(pg->ctx, pg);
        break;
    case PGRES_POLLING_FAILED:
    case PGRES_POLLING_ACTIVE:
        lost(pg);
        break;
    }
}

/*
 * Each statement gives exactly one result, each sync one of its own. NULL between them says nothing
 * more, and libpq leaves it out when a statement is sent from inside an answer: it is not counted
 * on.
 */
static void do_pipeline_answers(struct rt_pg *pg)
{
    uint32_t nulls = 0;

    while (pg->state == UP && pg->head != NULL && nulls < 2 && !PQisBusy(pg->conn)) {
        struct wait w = *pg->head;
        PGresult *res = PQgetResult(pg->conn);

        if (res == NULL) {
            nulls++; /* twice in a row: there is nothing more */
            continue;
        }
        nulls = 0;
        if (w.sync != (PQresultStatus(res) == PGRES_PIPELINE_SYNC)) {
            /* The server's last word, said between two statements. */
            down(pg, rt_pg_message(res), rt_pg_sqlstate(res));
            PQclear(res);
            return;
        }
        pop(pg);
        if (!w.sync) {
            w.fn(w.ctx, res);
        }
        PQclear(res);
    }
}

static bool is_error(const PGresult *res)
{
    ExecStatusType s = PQresultStatus(res);

    return s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE;
}

/* Gives the answer to the running text. */
static void answer_text(struct rt_pg *pg, PGresult *res)
{
    struct wait w = *pg->head;

    pg->kept = NULL;
    pop(pg);
    w.fn(w.ctx, res);
    PQclear(res);
    if (pg->state == UP) {
        send_next(pg);
    }
}

static void do_text_answers(struct rt_pg *pg)
{
    while (pg->state == UP && pg->head != NULL && pg->head->sql == NULL && !PQisBusy(pg->conn)) {
        PGresult *res = PQgetResult(pg->conn);

        if (res == NULL) {
            answer_text(pg, pg->kept);
        } else if (PQresultStatus(res) == PGRES_COPY_BOTH) {
            PQclear(pg->kept);
            answer_text(pg, res);
            return;
        } else if (pg->kept == NULL || !is_error(pg->kept)) {
            PQclear(pg->kept);
            pg->kept = res;
        } else {
            PQclear(res);
        }
    }
}

static void do_copies(struct rt_pg *pg)
{
    uint32_t count = 0;

    while (pg->state == COPYING && !pg->paused) {
        char *data = NULL;
        int n;

        if (count++ == COPIES_PER_TURN) {
            rt_timer_set(&pg->timer, 0); /* the rest in the next turn, after other events */
            return;
        }
        n = PQgetCopyData(pg->conn, &data, 1);
        if (n > 0) {
            pg->paused = !pg->ev->on_copy(pg->ctx, pg, pr_bytes(data, (size_t)n));
            PQfreemem(data);
        } else if (n == 0) {
            if (pg->ev->on_copy_idle != NULL) {
                pg->ev->on_copy_idle(pg->ctx, pg);
            }
            return;
        } else {
            PGresult *res = n == -1 ? PQgetResult(pg->conn) : NULL;

            if (res != NULL && is_error(res)) {
                down(pg, rt_pg_message(res), rt_pg_sqlstate(res));
            } else {
                lost(pg);
            }
            PQclear(res);
        }
    }
}

static void do_read(struct rt_pg *pg)
{
    if (PQconsumeInput(pg->conn) != 1) {
        /* What the server said before it closed comes first: the reason is in it. */
        if (pg->state == COPYING) {
            do_copies(pg);
        }
        if (pg->state != CLOSED) {
            lost(pg);
        }
        return;
    }
    if (pg->state == COPYING) {
        do_copies(pg);
    } else if (pg->kind == RT_PG_PIPELINE) {
        do_pipeline_answers(pg);
    } else {
        do_text_answers(pg);
    }
    if (pg->state == UP && pg->head == NULL && PQstatus(pg->conn) == CONNECTION_BAD) {
        lost(pg);
    } else if (pg->state != CLOSED) {
        watch_up(pg);
    }
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct watch *w = handle->data;
    struct rt_pg *pg = w->pg;

    if (pg == NULL) {
        return;
    }
    if (pg->state == CONNECTING) {
        do_connect(pg);
        return;
    }
    if (status < 0) {
        down(pg, uv_strerror(status), "");
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        flush(pg);
    }
    if (pg->state != CLOSED && (events & UV_READABLE) != 0) {
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
    pg->state = CONNECTING;
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

static struct wait *add_wait(struct rt_pg *pg, rt_pg_fn fn, void *ctx)
{
    struct wait *w = rt_calloc(1, sizeof *w);

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

void rt_pg_query(struct rt_pg *pg, const char *sql, int nparams, const char *const *params,
                 rt_pg_fn fn, void *ctx)
{
    assert(pg->kind == RT_PG_PIPELINE && pg->state == UP);
    (void)add_wait(pg, fn, ctx);
    /* A failure shows at the next flush, which ends the connection and answers with NULL. */
    (void)PQsendQueryParams(pg->conn, sql, nparams, NULL, params, NULL, NULL, 0);
    flush_later(pg);
}

void rt_pg_sync(struct rt_pg *pg)
{
    assert(pg->kind == RT_PG_PIPELINE && pg->state == UP);
    add_wait(pg, NULL, NULL)->sync = true;
    (void)PQpipelineSync(pg->conn);
    flush_later(pg);
}

void rt_pg_script(struct rt_pg *pg, const char *sql, rt_pg_fn fn, void *ctx)
{
    bool idle = pg->head == NULL;

    assert(pg->kind != RT_PG_PIPELINE && pg->state == UP);
    add_wait(pg, fn, ctx)->sql = rt_strdup(sql);
    if (idle) {
        send_next(pg);
    }
}

void rt_pg_copy(struct rt_pg *pg)
{
    assert(pg->kind == RT_PG_REPLICATION && pg->state == UP);
    pg->state = COPYING;
    rt_timer_set(&pg->timer, 0);
}

void rt_pg_copy_more(struct rt_pg *pg)
{
    if (pg->state == COPYING && pg->paused) {
        pg->paused = false;
        watch_up(pg);
        rt_timer_set(&pg->timer, 0);
    }
}

bool rt_pg_copy_send(struct rt_pg *pg, struct pr_slice data)
{
    if (pg->state != COPYING || PQputCopyData(pg->conn, (const char *)data.p, (int)data.n) != 1) {
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
