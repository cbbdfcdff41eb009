/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgconn.h - one libpq connection on the loop, never blocking.
 *
 * Two kinds: RT_PG_PIPELINE sends queries by the extended protocol without waiting for the answers
 * before; RT_PG_SIMPLE sends texts of several statements, one text at a time, and can be turned
 * into a replication stream. Answers come in the order of the questions.
 * Source: Postgres documentation, "Asynchronous Command Processing", "Pipeline Mode".
 */
#ifndef NODE_DB_PGCONN_H
#define NODE_DB_PGCONN_H

#include <libpq-fe.h>

#include "node/base/loop.h"
#include "proto/bytes.h"

/* A server that does not answer the start of a connection in this time is down, in ms. */
#define RT_PG_CONNECT_MS 5000u

enum rt_pg_kind { RT_PG_PIPELINE = 1, RT_PG_SIMPLE, RT_PG_REPLICATION };

struct rt_pg;

struct rt_pg_events {
    void (*on_up)(void *ctx, struct rt_pg *pg);
    /*
     * The connection could not be made, or ended; `pg` is freed after the callback, and waiting
     * answers have been given as NULL before it. `sqlstate` may be empty. Not called after
     * rt_pg_close.
     */
    void (*on_down)(void *ctx, struct rt_pg *pg, const char *why, const char *sqlstate);
    /* RT_PG_REPLICATION after rt_pg_copy: one CopyData. Borrowed. False stops reading for now. */
    bool (*on_copy)(void *ctx, struct rt_pg *pg, struct pr_slice data);
    /* All that had arrived has been given to on_copy. May be NULL. */
    void (*on_copy_idle)(void *ctx, struct rt_pg *pg);
};

/* An answer, borrowed for the call; NULL: the connection ended before it. */
typedef void (*rt_pg_fn)(void *ctx, const PGresult *res);

struct rt_pg_config {
    const char *url;     /* libpq URL or keywords */
    const char *purpose; /* application_name is datafuse:NODE:PURPOSE */
    const char *node;
    const char *options; /* -c settings of the session, or NULL */
    enum rt_pg_kind kind;
};

/* Starts to connect; copies the texts it needs. Never NULL: failures come by on_down. */
struct rt_pg *rt_pg_open(struct rt_loop *l, const struct rt_pg_config *cfg,
                         const struct rt_pg_events *ev, void *ctx);
/* Ends it now; waiting answers are not called. NULL is allowed. */
void rt_pg_close(struct rt_pg *pg);
/* The same, but waiting answers are given as NULL first. */
void rt_pg_end(struct rt_pg *pg);

/*
 * RT_PG_PIPELINE: one statement with text parameters (NULL = SQL null). The answer is a tuples or
 * command result, an error, or PGRES_PIPELINE_ABORTED behind an error of the same segment. A
 * segment is what stands between two rt_pg_sync: one implicit transaction. `fn` is NULL if nobody
 * needs the answer.
 */
void rt_pg_query(struct rt_pg *pg, const char *sql, int nparams, const char *const *params,
                 rt_pg_fn fn, void *ctx);
void rt_pg_sync(struct rt_pg *pg);

/*
 * RT_PG_PIPELINE: statements that come again are prepared once for each role (pgkept.c). Who may
 * not have them any more, or any of this went wrong, has an error of rt_pg_execute, and asks by
 * rt_pg_query instead.
 */
#define RT_PG_KEPT_MAX 64u
#define RT_PG_KEPT_MS  5000u
/* Its name, valid until the next rt_pg_forget; "": it is to be asked by rt_pg_query; NULL: it may
 * be prepared. */
const char *rt_pg_prepared(const struct rt_pg *pg, struct pr_slice role, const char *sql);
/* For rt_pg_prepared NULL. A statement of a segment, behind the one that sets the role. */
void rt_pg_prepare(struct rt_pg *pg, struct pr_slice role, const char *sql);
void rt_pg_execute(struct rt_pg *pg, const char *name, int nparams, const char *const *params,
                   rt_pg_fn fn, void *ctx);
/* Between two segments: what was prepared RT_PG_KEPT_MS ago is forgotten, or all `now`. */
void rt_pg_forget(struct rt_pg *pg, bool now);

/* RT_PG_SIMPLE and RT_PG_REPLICATION: a text; several statements are one transaction. Gives the
 * last result, or the first error. */
void rt_pg_script(struct rt_pg *pg, const char *sql, rt_pg_fn fn, void *ctx);

/* RT_PG_REPLICATION, in the answer PGRES_COPY_BOTH of START_REPLICATION: from now on on_copy. */
void rt_pg_copy(struct rt_pg *pg);
/* Goes on after on_copy answered false. */
void rt_pg_copy_more(struct rt_pg *pg);
/* Sends one CopyData (standby status). False: the connection is failing, on_down follows. */
bool rt_pg_copy_send(struct rt_pg *pg, struct pr_slice data);

/* The login that a URL names, "" if it names none; rt_free. */
char *rt_pg_user(const char *url);

/* A number without sign as Postgres prints it, up to the first character that is no digit. */
uint64_t rt_pg_number(const char *text);

/* Is an answer the connection's end, and no word about the statement? */
bool rt_pg_is_end(const PGresult *res);
/* SQLSTATE of a result, "" if there is none. */
const char *rt_pg_sqlstate(const PGresult *res);
/* First line of the message of an error, without "ERROR:  "; static text for NULL. */
const char *rt_pg_message(const PGresult *res);

#endif
