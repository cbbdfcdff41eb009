/* SPDX-License-Identifier: Apache-2.0 */
/* pgconn_in.h - shared by pgconn.c (a connection's life) and pganswers.c (what it answers). */
#ifndef NODE_DB_PGCONN_IN_H
#define NODE_DB_PGCONN_IN_H

#include "node/base/alloc.h"
#include "node/db/pgconn.h"

/* A question whose answer has not come. */
struct rt_pg_wait {
    struct rt_pg_wait *next;
    rt_pg_fn fn; /* NULL: nobody asks */
    void *ctx;
    bool sync; /* the end of a segment */
    char *sql; /* RT_PG_SIMPLE: to be sent when its turn comes */
};

/* Watches one descriptor; libpq may change it while it connects. */
struct rt_pg_watch {
    uv_poll_t poll;
    struct rt_pg *pg; /* NULL: the connection has another watch */
};

/* A statement that is being prepared. */
struct rt_pg_preparing {
    struct rt_pg *pg;
    uint64_t number;
};

enum rt_pg_state { RT_PG_CONNECTING = 1, RT_PG_UP, RT_PG_COPYING, RT_PG_CLOSED };

struct rt_pg {
    struct rt_loop *loop;
    const struct rt_pg_events *ev;
    void *ctx;
    PGconn *conn;
    enum rt_pg_kind kind;
    enum rt_pg_state state;
    struct rt_pg_watch *watch;
    int fd;
    struct rt_timer timer; /* connecting must end; or copies are left */
    struct rt_defer defer; /* flush */
    struct rt_pg_wait *head, *tail;
    PGresult *last;          /* RT_PG_SIMPLE: last result, or first error, of the running text */
    struct rt_pg_kept *kept; /* RT_PG_KEPT_MAX; NULL: none yet */
    uint32_t nkept;
    uint64_t last_kept, kept_ms; /* number of the last one; when the first was prepared */
    uint64_t names; /* random: nobody else's statement has a name of this connection's */
    bool paused;
    bool want_write;
};

/* pgconn.c: the connection ended, for this reason; or for what libpq says. */
void rt_pg_down(struct rt_pg *pg, const char *why, const char *sqlstate);
void rt_pg_lost(struct rt_pg *pg);
/* RT_PG_SIMPLE: sends the next text if none is running. */
void rt_pg_send_next(struct rt_pg *pg);

/* RT_PG_PIPELINE: a question was given to libpq, which answered `sent`: a failure shows at the next
 * flush, which ends the connection and answers with NULL. */
void rt_pg_asked(struct rt_pg *pg, int sent, rt_pg_fn fn, void *ctx);

/* pgkept.c: the connection ends, or all was told to be forgotten. */
void rt_pg_kept_free(struct rt_pg *pg);

/* pganswers.c: takes the first question off. */
void rt_pg_pop(struct rt_pg *pg);
/* Hand out what has arrived. Any of them may end the connection. */
void rt_pg_pipeline_answers(struct rt_pg *pg);
void rt_pg_text_answers(struct rt_pg *pg);
void rt_pg_copies(struct rt_pg *pg);

#endif
