/* SPDX-License-Identifier: Apache-2.0 */
/*
 * db_in.h - what the files of the process share.
 *
 *   db.c       wiring: who is started when, what is told when something fails
 *   link.c     the owner: registrations and acknowledgements in, changes out
 *   boots.c    the edges of all nodes: who has told, who has acknowledged
 *   regs.c     one registration's way to being live
 *   stream.c   the slot: replication connection, confirmation
 *   tables.c   relations of the stream, and what is published
 *   batch.c    rows gathered, judged, routed
 *   messages.c rows of realtime.messages: broadcasts, up to the edge that publishes them
 *   desk.c     what policies allow on private channels
 */
#ifndef NODE_DB_DB_IN_H
#define NODE_DB_DB_IN_H

#include "node/base/alloc.h"
#include "node/base/ipc.h"
#include "node/db/messages.h"
#include "node/db/chains.h"
#include "node/db/db.h"
#include "node/db/desk.h"
#include "node/db/migrate.h"
#include "node/db/pgconn.h"
#include "node/db/relcache.h"
#include "node/db/plans.h"
#include "node/db/rls.h"
#include "node/db/route.h"
#include "node/db/sent.h"
#include "node/db/subscriptions.h"
#include "proto/pgoutput.h"

/* Texts that clients see; they are part of the protocol. */
#define RT_TEXT_NO_DATABASE "Postgres Changes are not available: no database is configured"
#define RT_TEXT_DOWN        "Realtime was unable to connect to the project database"
#define RT_TEXT_BUSY        "changes paused: another part of the cluster holds the slot"
#define RT_TEXT_SLOW        "Query was cancelled, please try again"
#define RT_TEXT_UNCHECKED   "Changes may be missing: the subscription could not be checked in time"
#define RT_TEXT_UNACKED     "Changes may be missing: the server did not take them in time"

struct rt_db;
struct rt_reg;   /* regs_in.h */
struct rt_check; /* validate_in.h */

/* A value longer than this is not held: the message becomes error 413 anyway. */
#define RT_VALUE_MAX ((size_t)16 * 1024 * 1024)

/* A living edge process, of whatever node. */
struct rt_boot {
    struct rt_link link;
    uint64_t boot;
    uint64_t round; /* the last CHG_SYNC that it answered */
    struct pr_pos acked;
    uint64_t acked_ms;
    bool silent; /* did not acknowledge in time: it is not waited for until it does */
    struct rt_reg *regs;
};

/* A table of the publication, or of the stream. */
struct rt_table {
    struct rt_table *next;
    uint32_t oid;
    char *schema, *name;
    bool published;          /* in pg_publication_tables at the last look */
    struct rt_relation *rel; /* NULL: not known, or a Relation message came since */
    bool fetching;
    bool gone;  /* the catalog does not have it any more */
    bool unfit; /* a row had values that the types did not have: they were read again for it */
    uint32_t messages; /* Relation messages and other names so far */
    uint32_t xid;      /* of the last one, until what it did can be read; 0: it can */
    /* The last Relation message; ncolumns 0: none has come. */
    uint32_t ncolumns;
    struct rt_stream_column *columns;
    uint8_t identity;
    void *names; /* memory of the columns' names */
    struct rt_message_map cast;
};

enum rt_stream_state {
    RT_STREAM_OFF = 0, /* waits for the database, the owner or the edges */
    RT_STREAM_STARTING,
    RT_STREAM_BUSY, /* connected, but another session holds the slot */
    RT_STREAM_TERM, /* the slot is ours; the owner has not been told */
    RT_STREAM_ON
};

struct rt_stream {
    struct rt_pg *pg;
    enum rt_stream_state state;
    struct rt_timer retry, feedback;
    uint64_t feedback_ms; /* when its timer was set */
    uint32_t tries;
    uint32_t life; /* counts connections: an answer of an earlier one is too late */
    char slot[64];
    uint64_t system; /* identifier of the server */
    uint32_t timeline;
    uint64_t id;            /* hash of both */
    uint64_t busy_since_ms; /* 0: the slot was free, or was not asked for */
    uint64_t received_lsn;  /* end of what was read */
    uint64_t found_lsn;     /* what the slot had confirmed when it was looked at */
    uint64_t confirmed_lsn; /* the same, then the flush position told to the server */
    uint64_t idle_lsn;      /* a keepalive's end with nothing before it unread */
    char *trouble;          /* what clients are told while it is down; NULL: nothing yet */
    uint64_t down_since_ms;
    struct rt_sent_ring sent;
    uint32_t lacking; /* edges that have not acknowledged the first of them */
    /* The transaction that is being read. */
    uint64_t commit_lsn, seq;
    int64_t commit_us;
    uint32_t xid;
    bool in_transaction;
    struct pr_pos routed;    /* everything up to it is in frames */
    struct pr_pos mark;      /* an earlier one, that edges are to acknowledge before ... */
    size_t since_mark_bytes; /* ... much more than this is sent */
    bool casts;              /* it carries the rows of realtime.messages */
    bool casts_failed;       /* the server could not do that on the connection before */
    bool gap;                /* there are changes of a time without the publication */
    bool settling;           /* it waits for registrations to be looked at */
    uint64_t commit_end;     /* end LSN of the last whole transaction */
    uint8_t *held;           /* a message that waits for its table */
    size_t held_len;
    uint8_t *early; /* a CopyData that waits for the term */
    size_t early_len;
};

struct rt_batch; /* batch.c */

struct rt_db {
    const struct rt_config *cfg;
    const struct rt_role_args *args;
    struct rt_log *log;
    struct rt_metrics *metrics;
    struct rt_loop *loop;

    /* link.c */
    struct rt_ipc *owner;
    bool owner_up; /* HELLO was answered */
    struct rt_timer owner_retry;
    struct rt_defer owner_cut; /* its queue is full */
    uint32_t owner_tries;
    bool elected; /* this node reads the changes; else none of what follows is kept */
    uint64_t node;
    uint64_t round;     /* of the last CHG_SYNC; starts at random, since other readers count too */
    bool known;         /* the owner has named every edge that it knows to live */
    bool synced;        /* all edges answered it, or their time is over */
    uint64_t synced_ms; /* since when */
    uint64_t sync_ms, sync_heard_ms; /* when it began; the last that was heard of it */
    struct rt_chains boots;          /* struct rt_boot */

    /* db.c */
    struct rt_migrate *migrate;
    struct rt_pg *control; /* catalog queries */
    struct rt_pg *check;   /* policies */
    struct rt_timer retry, poll;
    uint32_t tries;
    uint32_t ups; /* of control and check, how many are connected */
    bool up;      /* migrated, both connected, and the publication read */
    bool was_up;
    uint64_t up_ms;                         /* since when it is up */
    uint64_t down_since_ms;                 /* 0: it is up, or was never tried */
    uint64_t janitor_ms;                    /* when it is due */
    char migrate_error[256];                /* of the last migrations; "": they went well */
    const char *migrate_fix;                /* what repairs that, NULL: not known */
    char last_error[256], last_sqlstate[8]; /* of the last connection that ended or failed */

    struct rt_subs *subs;
    struct rt_chains regs; /* struct rt_reg, regs_in.h */
    uint32_t nregs;
    uint32_t unsettled; /* registrations that were not looked at yet */
    /* Patterns that are to be tried, and whether one is; validate_cond.c. */
    struct {
        struct rt_check *first, *last;
        bool out;
    } trials;
    struct rt_rels *rels;
    struct rt_table *tables;
    bool tables_asked, tables_again; /* a poll is out; and one more was wanted since */
    bool tables_renamed;             /* since the last look at what is published */
    uint64_t polls_started, polls_done;
    uint64_t polls_needed; /* what is known before that one is too old to go by */
    char roles[40];        /* hash of roles and memberships at the last look */
    struct rt_plans plans;
    struct rt_stream stream;
    struct rt_batch *batch;
    uint64_t batches; /* finished, with the one that is just routed */
    struct rt_messages messages;
    struct rt_rls *rls;
    struct rt_route *route;
    struct rt_desk *desk; /* desk.h */
};

/* link.c */
void rt_db_link_init(struct rt_db *d);
void rt_db_link_free(struct rt_db *d);
/* Sends whole frames; what does not fit any more ends the connection. */
void rt_db_link_send(struct rt_db *d, struct pr_slice frames);
/* Verdict on a registration. */
void rt_db_link_reg_ok(struct rt_db *d, const struct pr_chg_reg *reg, enum pr_chg_status status,
                       const char *message);
/* `system` error to all clients with changes, of one edge or (0) of all. */
void rt_db_link_sys(struct rt_db *d, uint64_t boot, const char *message);
/* The same to the clients of one registration. */
void rt_db_link_sys_to(struct rt_db *d, uint64_t boot, uint32_t handle, const char *message);
/* The slot is held, in the term with this LSN. */
void rt_db_link_held(struct rt_db *d, uint64_t lsn);
/* Edges that did not answer CHG_SYNC in time are forgotten; calls rt_stream_kick. */
void rt_db_link_sync_check(struct rt_db *d);

/* look.c: a question of realtimectl, passed on by the owner. */
void rt_db_on_ctl(struct rt_db *d, const struct pr_frame *f);

/* boots.c */
/* NULL if it is not known. */
struct rt_boot *rt_boots_of(struct rt_db *d, uint64_t boot);
/* The same, made if it is not there; NULL if there are too many. */
struct rt_boot *rt_boots_add(struct rt_db *d, uint64_t boot);
/* With all that it registered. */
void rt_boots_forget(struct rt_db *d, uint64_t boot);
void rt_boots_clear(struct rt_db *d);
/* Have all answered the running round? And an end to waiting for the others. */
bool rt_boots_answered(struct rt_db *d);
void rt_boots_drop_unanswered(struct rt_db *d);
/* How many that are waited for have not acknowledged the position. */
uint32_t rt_boots_lacking(struct rt_db *d, struct pr_pos pos);
/* Is there one that has not, and said something of others a moment ago? */
bool rt_boots_behind(struct rt_db *d, struct pr_pos pos);
/* Something is routed: the time to acknowledge begins for those that had everything until now; for
 * all, if it is the `first` that waits for it: positions that nobody had to have move on silently.
 */
void rt_boots_owe(struct rt_db *d, bool first);
/* This process stood still for `ms`: nobody is late for that. What they said waits to be read, and
 * if the slot was freed meanwhile, another node has sent them what they owe. */
void rt_boots_pause(struct rt_db *d, uint64_t ms);
/* Positions of another server or timeline mean nothing. */
void rt_boots_new_history(struct rt_db *d);
/* An edge has everything up to here. */
void rt_boots_ack(struct rt_db *d, uint64_t boot, struct pr_pos pos);
/* Does not wait any more for those whose time is over. */
void rt_boots_check(struct rt_db *d);

/* db.c: runs the migrations and looks at the partitions, then rt_desk_ready; false: not ours to do.
 */
bool rt_db_janitor(struct rt_db *d);
/* The connection to the database ended or could not be made. */
void rt_db_lost(struct rt_db *d, const char *why, const char *sqlstate);

/* regs.c */
void rt_db_regs_free(struct rt_db *d);
void rt_db_regs_add(struct rt_db *d, const struct pr_chg_reg *m);
void rt_db_regs_remove(struct rt_db *d, uint64_t boot, uint32_t handle);
/* Validates those that wait, if the database is up; says to all how they stand. */
void rt_db_regs_kick(struct rt_db *d);
/* Has every registration been looked at? Before that a row would find nobody, and be confirmed. */
bool rt_db_regs_settled(const struct rt_db *d);
/* It begins all the same, after a wait: clients of those that were not, and have no rows, are told.
 */
void rt_db_regs_begin_without(struct rt_db *d);
/* A table changed: those with filters or columns of it are looked at anew. NULL: what is published
 * changed, those that this concerns are. */
void rt_db_regs_again(struct rt_db *d, const struct rt_table *t);

/* validate_cond.c: tries the next pattern that waits for it, unless a batch is asked about. */
void rt_db_regs_try(struct rt_db *d);

/* regs_sieve.c: a filter failed too often, and nothing passes it any more: its registrations end,
 * refused. */
void rt_db_regs_cancel(struct rt_db *d, const struct rt_sieve *s, const char *sqlstate);
/* Policies were too slow, and the group is asked no more: its registrations on the table end. */
void rt_db_regs_cancel_slow(struct rt_db *d, const struct rt_group *g,
                            const struct rt_relation *rel);
/* The policies fail for every row: may the registration be told by this one? Once a minute. */
bool rt_db_regs_failed(struct rt_db *d, uint64_t boot, uint32_t handle);
/* A filter failed for a row that the registration may have been to get: its clients are told, once
 * a batch. */
void rt_db_regs_unjudged(struct rt_db *d, uint64_t boot, uint32_t handle);

/* tables.c */
struct rt_table *rt_tables_of(struct rt_db *d, uint32_t oid);
struct rt_table *rt_tables_add(struct rt_db *d, uint32_t oid, struct pr_slice schema,
                               struct pr_slice name);
void rt_tables_free(struct rt_db *d);
/* Reads what is published; then rt_db is told by rt_db_tables_known. */
void rt_tables_poll(struct rt_db *d);
void rt_db_tables_known(struct rt_db *d, bool changed);
/* Keeps a Relation message. */
void rt_tables_relation(struct rt_db *d, const struct pr_pgo_relation *m);
/* Are the values of a row those of its types as they were read? */
bool rt_tables_fits(const struct rt_relation *rel, const struct pr_pgo_tuple *t);
/* Fetches the table with all roles that are attached to it, and `role` (may be empty). fn gets the
 * relation (borrowed) or NULL and why. */
typedef void (*rt_table_fn)(void *ctx, struct rt_relation *rel, const char *why);
void rt_tables_fetch(struct rt_db *d, struct rt_table *t, struct pr_slice role, rt_table_fn fn,
                     void *ctx);

/* stream.c */
void rt_stream_init(struct rt_db *d);
void rt_stream_free(struct rt_db *d);
/* Starts or stops it as the state of everything else asks. */
void rt_stream_kick(struct rt_db *d);
/* Ends the connection; it is made again from the confirmed position. */
void rt_stream_drop(struct rt_db *d);
/* Another node reads from now on: confirms what all have, and ends the connection. */
void rt_stream_stop(struct rt_db *d);
/* What clients are told until the stream is up again. */
void rt_stream_trouble(struct rt_db *d, const char *text);
/* Reads on after a pause: the batch has room, or a table is known. */
void rt_stream_more(struct rt_db *d);
/* A batch was routed: `last` said to the edges, broadcasts up to `cast` sent; `end_lsn` may be
 * confirmed once they have it. */
void rt_stream_routed(struct rt_db *d, struct pr_pos last, struct pr_pos cast, uint64_t end_lsn);
/* Those that are waited for are others now: confirms what all have. */
void rt_stream_acked(struct rt_db *d);
/* More changes may be sent: those that edges have not acknowledged are not too many. */
bool rt_stream_may_send(struct rt_db *d);
/* One of them acknowledged. */
void rt_stream_acked_by(struct rt_db *d, struct pr_pos before, struct pr_pos now);

/* batch.c */
void rt_batch_init(struct rt_db *d);
void rt_batch_free(struct rt_db *d);
/* Forgets everything that was not routed. */
void rt_batch_reset(struct rt_db *d);
/* Copies a row. */
void rt_batch_add(struct rt_db *d, struct rt_relation *rel, enum pr_op_kind kind,
                  const struct pr_pgo_row *m);
/* A broadcast at the stream's position: a whole frame. Takes it. */
void rt_batch_message(struct rt_db *d, uint8_t *frame, size_t len);
/* The transaction ends here. */
void rt_batch_commit(struct rt_db *d);
/* The check connection is asked about a batch. */
bool rt_batch_asks(const struct rt_db *d);
/* Nothing was gathered or is in work. */
bool rt_batch_idle(const struct rt_db *d);
/* No row may be added until the batch in work is done. */
bool rt_batch_full(const struct rt_db *d);
/* The stream has nothing more for now: what was gathered goes to work. */
void rt_batch_work(struct rt_db *d);

#endif
