/* SPDX-License-Identifier: Apache-2.0 */
/* rls_in.h - what rls.c (the course of a judgement) and rls_query.c (its statements) share. */
#ifndef NODE_DB_RLS_IN_H
#define NODE_DB_RLS_IN_H

#include "node/base/alloc.h"
#include "node/db/rls.h"
#include "node/db/sqltext.h"

/*
 * 32-bit xids of the stream become full ones by the nearest epoch: $1 is an array of them. True
 * when all of them are visible to a snapshot taken now.
 */
#define RT_GUARD_SQL                                                                               \
    "with m as (select pg_catalog.pg_current_snapshot() as s, pg_catalog.pg_snapshot_xmax("        \
    "pg_catalog.pg_current_snapshot())::pg_catalog.text::pg_catalog.numeric as m), "               \
    "d as (select s, m, x - (m % 4294967296) as d from m, "                                        \
    "pg_catalog.unnest($1::pg_catalog.text::pg_catalog.numeric[]) x) "                             \
    "select coalesce(pg_catalog.bool_and(pg_catalog.pg_visible_in_snapshot((m + d + case "         \
    "when d > 2147483648 then -4294967296 when d < -2147483648 then 4294967296 else 0 end)"        \
    "::pg_catalog.text::pg_catalog.xid8, s)), true) from d"

enum rt_verdict { RT_UNDECIDED = 0, RT_VISIBLE, RT_DENIED };

/* A row that a group asks for: its place in the batch, and its first match of that group. */
struct rt_asked {
    uint32_t row, match;
    bool old; /* what the row was before: it is judged on its image alone */
    enum rt_verdict verdict;
    bool failed; /* denied, since the policies fail whatever the row is */
};

/* Asks whose statements are out at the same time. */
#define RT_ASKS_RUNNING_MAX 64u

struct rt_job;

/* What one group asks of one table. */
struct rt_ask {
    struct rt_job *job;
    uint32_t next; /* index + 1 of another ask of the same group; 0: none */
    struct rt_group *group;
    const struct rt_relation *rel;
    struct rt_asked *asked;
    uint32_t count, cap;
    uint32_t *at; /* rows of the statement that is out */
    uint32_t nat;
    size_t bytes;       /* of the parameters of that statement */
    bool image;         /* the table was asked; now the rows' own images are judged */
    bool kept;          /* the statement that is out was prepared before, */
    bool plain;         /* and one of that kind failed: none any more */
    bool single;        /* a statement failed: row by row */
    uint64_t single_ms; /* that the server took since then */
    uint64_t asked_ms;  /* the statement that is out */
    uint32_t next_row;
    bool only_generated; /* no verdict: reads generated columns */
};

struct rt_job {
    struct rt_rls *rls; /* NULL: cancelled */
    struct rt_pg *pg;
    struct rt_rls_row *rows;
    uint32_t nrows, open_xid;
    bool *later; /* per row: the same key changes again in the batch */
    void (*done)(void *ctx, bool ok);
    void (*cancelled)(void *ctx, const struct rt_group *g, const struct rt_relation *rel);
    void *ctx;
    struct rt_ask *asks;
    uint32_t nasks, asks_cap, started, running;
    struct rt_ask *waiting[RT_ASKS_RUNNING_MAX]; /* running ones, until less is out */
    uint32_t nwaiting;
    uint32_t out;         /* answers that are to come */
    size_t out_bytes;     /* of parameters that went out for them */
    uint64_t answered_ms; /* the last of those that came */
    bool lost;
    const struct rt_plans *plans;
    bool plain; /* the guard failed: its prepared statement is used no more */
};

struct rt_rls {
    struct rt_log *log;
    struct rt_metrics *metrics;
    struct rt_loop *loop;
    struct rt_timer guard;
    uint64_t guard_ms;
    struct rt_job *job;
    uint64_t logged_ms;
    uint32_t plans; /* struct rt_plans.changes of what is prepared */
    char **texts;   /* of generated columns, until the next judgement */
    uint32_t ntexts, texts_cap;
};

/* Columns of a primary key: INDEX_MAX_KEYS of a Postgres that was not built otherwise. */
#define RT_KEYS_MAX 32u
/* One statement: SQL and text parameters. */
struct rt_stmt {
    struct rt_text sql;
    struct rt_text param[RT_KEYS_MAX];
    int nparams;
};
void rt_stmt_free(struct rt_stmt *s);

/* Can the row be looked for: has the table a key, and is the row's held? */
bool rt_key_known(const struct rt_relation *rel, const struct rt_change *c);
/* The rows a->at, whose keys are known, joined with the table. Columns of the answer: ordinal from
 * 1, xmin or NULL, then generated columns that the role may read. */
void rt_stmt_table(struct rt_stmt *s, const struct rt_ask *a, const struct rt_rights *rights);
/* Is the row's image, or that of the old row, known as far as the condition needs it? */
bool rt_image_known(const struct rt_relation *rel, const struct rt_change *c, bool old,
                    struct pr_slice condition);
/* Is that more than may be asked about? */
bool rt_image_too_large(const struct rt_relation *rel, const struct rt_change *c, bool old,
                        struct pr_slice condition);
/* The same rows judged on their own image: ordinals of those that the condition lets through. */
void rt_stmt_image(struct rt_stmt *s, const struct rt_ask *a, struct pr_slice condition);
/* Does `b`, a later change, concern the row that `a` left? In doubt yes. */
bool rt_same_key(const struct rt_change *a, const struct rt_change *b);

/* rls_take.c: what is asked for, and what the answers mean. Fills j->asks from the rows. */
void rt_job_gather(struct rt_job *j);
/* What it came to, at the matches of the batch. */
void rt_ask_apply(const struct rt_ask *a);
/* The table's answer: a row that is there as the change left it is visible. */
void rt_ask_take_table(struct rt_ask *a, const PGresult *res);
/* The images' answer: those not in it are denied. */
void rt_ask_take_image(struct rt_ask *a, const PGresult *res);
/* What the policies let the group's role see; empty: nothing. */
struct pr_slice rt_ask_condition(const struct rt_ask *a);
/* The next rows to ask for: one if single, else all that are undecided. A row whose key is not
 * known can be judged on its image only. */
void rt_ask_pick(struct rt_ask *a);
/* Did the statement run out of time? */
bool rt_rls_timed_out(const PGresult *res);
/* It did: counted, in the end the group is cancelled on this table. */
void rt_ask_timed_out(struct rt_ask *a);
/* Is it? Then it is asked nothing more. */
bool rt_ask_cancelled(const struct rt_ask *a);
/* A statement failed: one line a minute. */
void rt_ask_log_failure(struct rt_rls *r, const struct rt_ask *a, const PGresult *res);

#endif
