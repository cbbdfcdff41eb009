/* SPDX-License-Identifier: Apache-2.0 */
/*
 * desk_in.h - what the files of the desk share: a queue of questions over a pool of connections
 * (desk.c), and the kinds of questions (desk_rights.c, desk_replay.c, desk_store.c).
 */
#ifndef NODE_DB_DESK_IN_H
#define NODE_DB_DESK_IN_H

#include "node/db/db_in.h"
#include "node/db/desk.h"

#define RT_ASK_PARAMS 10u
#define RT_DESK_CONNS 64u /* REALTIME_DB_POOL's bound */
/* $1, the role of a token; one that is too powerful is asked for as one that nobody may take: a
 * check login that is a superuser could become it. */
#define RT_ASK_ROLE                                                                                \
    "case when exists (select from pg_catalog.pg_roles where rolname = $1::text"                   \
    " and (rolsuper or rolreplication or rolname = session_user)) then 'none' else $1::text end"

struct ask;

/* What is asked, and who makes the answer of it. Both functions answer and free the question. */
struct ask_kind {
    const char *sql;
    const char *before; /* a query in the same transaction, NULL: none */
    uint32_t nparams;
    void (*answer)(struct rt_desk *k, struct ask *a, const PGresult *res);
    void (*fail)(struct rt_desk *k, struct ask *a, enum pr_rights_status status);
};

struct ask {
    struct ask *next;
    uint64_t boot, id, since_ms;
    const struct ask_kind *kind;
    uint32_t read, write, tries;
    bool again;                 /* partitions were looked at because of it */
    char *param[RT_ASK_PARAMS]; /* owned; NULL: an SQL NULL, or behind the last */
};

struct conn {
    struct rt_desk *desk;
    struct rt_pg *pg; /* NULL: the place is free */
    bool up;
    struct ask *ask; /* running */
    uint64_t idle_ms;
    uint32_t plans; /* struct rt_plans.changes of the plans that it keeps */
};

struct rt_desk {
    struct rt_db *d;
    struct rt_timer timer;
    struct ask *head, *tail;
    uint32_t waiting;
    struct conn conns[RT_DESK_CONNS];
    uint32_t nconns, nup;
    uint64_t up_ms; /* since when nup is not 0 */
    bool opening;
    bool ready;   /* migrations have run */
    bool janitor; /* partitions are being looked at */
    bool lack;    /* the last connection was refused for want of a place */
    uint32_t failures;
    uint64_t retry_ms, logged_ms;
    char policies[40];  /* fingerprint */
    uint64_t wanted_ms; /* when something was asked last; at first the start */
};

/* Puts it at the end of the queue, which takes it. The caller has looked at rt_desk_full. */
void rt_desk_add(struct rt_desk *k, struct ask *a);
bool rt_desk_full(const struct rt_desk *k);
/* Puts a question that was running back; it is the next. */
void rt_desk_put_first(struct rt_desk *k, struct ask *a);
void rt_ask_free(struct ask *a);
/* What a person needs who looks for the reason of a refusal; not more than one line a minute. */
void rt_desk_log(struct rt_desk *k, const char *code, const struct ask *a, const char *why);
/* Looks at the partitions, once for each question, and asks again. False: not this time. */
bool rt_desk_mend(struct rt_desk *k, struct ask *a);
/* A NUL would end the text early, and another topic be asked for. */
bool rt_desk_has_nul(struct pr_slice s);

#endif
