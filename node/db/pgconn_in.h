/* SPDX-License-Identifier: Apache-2.0 */
/* pgconn_in.h - shared by pgconn.c (a connection's life) and pganswers.c (what it answers). */
#ifndef NODE_DB_PGCONN_IN_H
#define NODE_DB_PGCONN_IN_H

#include "node/base/alloc.h"
#include "node/db/pgconn.h"

/* A question whose answer has not come. */
struct rt_pg_wait {
    struct rt_pg_wait *next;
    rt_pg_fn fn;
    void *ctx;
    bool sync; /* the end of a segment: nobody asks */
    char *sql; /* RT_PG_SIMPLE: to be sent when its turn comes */
};

/* Watches one descriptor; libpq may change it while it connects. */
struct rt_pg_watch {
    uv_poll_t poll;
    struct rt_pg *pg; /* NULL: the connection has another watch */
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
    PGresult *kept; /* RT_PG_SIMPLE: last result, or first error, of the running text */
    bool paused;
    bool want_write;
};

/* pgconn.c: the connection ended, for this reason; or for what libpq says. */
void rt_pg_down(struct rt_pg *pg, const char *why, const char *sqlstate);
void rt_pg_lost(struct rt_pg *pg);
/* RT_PG_SIMPLE: sends the next text if none is running. */
void rt_pg_send_next(struct rt_pg *pg);

/* pganswers.c: takes the first question off. */
void rt_pg_pop(struct rt_pg *pg);
/* Hand out what has arrived. Any of them may end the connection. */
void rt_pg_pipeline_answers(struct rt_pg *pg);
void rt_pg_text_answers(struct rt_pg *pg);
void rt_pg_copies(struct rt_pg *pg);

#endif
