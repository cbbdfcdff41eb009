/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgoutput.h - what a Postgres walsender says and hears: the streaming replication messages and,
 * inside them, the logical replication messages of plugin pgoutput, protocol version 1, text mode.
 *
 * Bytes in, one event out; nothing is allocated or kept, every slice borrows from the input.
 * Lists (columns of a relation, values of a row, relations of a truncate) are checked whole by the
 * decoder and walked afterwards with a cursor of their own.
 * Source: Postgres documentation, "Streaming Replication Protocol" and "Logical Replication Message
 * Formats".
 */
#ifndef PROTO_PGOUTPUT_H
#define PROTO_PGOUTPUT_H

#include "proto/bytes.h"

/* Columns of a table: Postgres' MaxHeapAttributeNumber. */
#define PR_PGO_COLUMNS_MAX 1600u

enum pr_rep_kind { PR_REP_XLOG = 'w', PR_REP_KEEPALIVE = 'k' };

/* One CopyData of the walsender. Times are microseconds since 2000-01-01 00:00 UTC. */
struct pr_rep {
    enum pr_rep_kind kind;
    uint64_t start_lsn; /* XLOG only: 0 for messages outside of WAL */
    uint64_t end_lsn;   /* end of WAL on the server */
    int64_t sent_us;
    bool reply;           /* KEEPALIVE: answer at once */
    struct pr_slice data; /* XLOG: one pgoutput message */
};
/* PR_OK, PR_ESHORT, PR_ETRAIL, PR_EVERSION (unknown kind), PR_ERANGE (reply is not 0 or 1). */
PR_MUST_CHECK int pr_rep_decode(struct pr_slice in, struct pr_rep *m);

/* Standby status update 'r'; positions are the first byte not yet written, flushed, applied. */
struct pr_rep_status {
    uint64_t write_lsn, flush_lsn, apply_lsn;
    int64_t now_us; /* since 2000-01-01 00:00 UTC */
    bool reply;     /* asks the server for a keepalive at once */
};
void pr_rep_status_encode(struct pr_outbuf *o, const struct pr_rep_status *m);

enum pr_pgo_kind {
    PR_PGO_BEGIN = 'B',
    PR_PGO_COMMIT = 'C',
    PR_PGO_ORIGIN = 'O',
    PR_PGO_RELATION = 'R',
    PR_PGO_TYPE = 'Y',
    PR_PGO_INSERT = 'I',
    PR_PGO_UPDATE = 'U',
    PR_PGO_DELETE = 'D',
    PR_PGO_TRUNCATE = 'T',
    PR_PGO_MESSAGE = 'M'
};

/* A row image; walk `values` with pr_pgo_values_next. */
struct pr_pgo_tuple {
    uint32_t count;
    struct pr_slice values;
};

enum pr_pgo_value_kind {
    PR_PGO_NULL = 'n',
    PR_PGO_UNCHANGED = 'u', /* TOAST value that the update did not touch: not in the message */
    PR_PGO_TEXT = 't'
};
struct pr_pgo_value {
    enum pr_pgo_value_kind kind;
    struct pr_slice text; /* PR_PGO_TEXT only */
};

struct pr_pgo_column {
    bool identity; /* part of the replica identity */
    struct pr_slice name;
    uint32_t type;
    int32_t typmod;
};

struct pr_pgo_begin {
    uint64_t final_lsn; /* of the commit record */
    int64_t commit_us;  /* since 2000-01-01 00:00 UTC */
    uint32_t xid;
};
struct pr_pgo_commit {
    uint64_t commit_lsn;
    uint64_t end_lsn; /* what a reader confirms */
    int64_t commit_us;
};
struct pr_pgo_relation {
    uint32_t oid;
    struct pr_slice schema; /* empty = pg_catalog */
    struct pr_slice name;
    uint8_t identity; /* 'd' default, 'n' nothing, 'f' full, 'i' index */
    uint32_t count;
    struct pr_slice columns; /* walk with pr_pgo_columns_next */
};
struct pr_pgo_type {
    uint32_t oid;
    struct pr_slice schema;
    struct pr_slice name;
};
/* INSERT has row; UPDATE row and, with old_kind not 0, old; DELETE old. */
struct pr_pgo_row {
    uint32_t relation;
    uint8_t old_kind; /* 0 none, 'K' old key (other values are null), 'O' old row */
    struct pr_pgo_tuple old;
    struct pr_pgo_tuple row;
};
struct pr_pgo_truncate {
    uint32_t count;
    uint8_t flags;             /* 1 cascade, 2 restart identity */
    struct pr_slice relations; /* walk with pr_pgo_relations_next */
};
struct pr_pgo_message {
    bool transactional;
    uint64_t lsn;
    struct pr_slice prefix;
    struct pr_slice content;
};
struct pr_pgo_origin {
    uint64_t commit_lsn;
    struct pr_slice name;
};

struct pr_pgo {
    enum pr_pgo_kind kind;
    union {
        struct pr_pgo_begin begin;
        struct pr_pgo_commit commit;
        struct pr_pgo_origin origin;
        struct pr_pgo_relation relation;
        struct pr_pgo_type type;
        struct pr_pgo_row row; /* INSERT, UPDATE, DELETE */
        struct pr_pgo_truncate truncate;
        struct pr_pgo_message message;
    } u;
};

/*
 * Decodes the `data` of one PR_REP_XLOG. PR_OK, PR_ESHORT, PR_ETRAIL, PR_EVERSION (kind that
 * protocol version 1 does not have), PR_ETYPE (tuple or value mark that is not allowed there),
 * PR_ERANGE (more than PR_PGO_COLUMNS_MAX columns, negative length, identity nobody knows).
 */
PR_MUST_CHECK int pr_pgo_decode(struct pr_slice in, struct pr_pgo *m);

/* Take the next element off `list`. 1 = taken, 0 = none left, negative = damaged. */
PR_MUST_CHECK int pr_pgo_columns_next(struct pr_slice *list, struct pr_pgo_column *c);
PR_MUST_CHECK int pr_pgo_values_next(struct pr_slice *list, struct pr_pgo_value *v);
PR_MUST_CHECK int pr_pgo_relations_next(struct pr_slice *list, uint32_t *oid);

#endif
