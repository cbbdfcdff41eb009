/* SPDX-License-Identifier: Apache-2.0 */
/*
 * change.h - a decoded row change, the table it belongs to, and who may read which column of it.
 * Filled by the replication reader and the relation cache, read by matching and rendering.
 */
#ifndef NODE_DB_CHANGE_H
#define NODE_DB_CHANGE_H

#include "proto/bytes.h"
#include "proto/filter.h"
#include "proto/mesh.h"
#include "proto/pg_value.h"

struct rt_column {
    struct pr_slice name;
    struct pr_slice typname; /* pg_type.typname, as clients see it */
    const struct pr_pg_type *type;
    bool identity;          /* flag of the Relation message */
    bool primary_key;       /* pg_index.indisprimary */
    bool generated;         /* not in the stream: its values come from a query, or stay absent */
    enum pr_text_rule text; /* what may be decided about its texts without asking */
};

/* A column as an operand: its type as Postgres compares it, without domains, lengths and places. */
struct rt_operand {
    struct pr_slice type;      /* qualified */
    struct pr_slice schema;    /* where its operators are, quoted */
    struct pr_slice collation; /* qualified; empty: none, or the database's */
};

/* Rights of one role on one table. */
struct rt_rights {
    struct pr_slice role;
    bool sees_all_rows;     /* BYPASSRLS, superuser, or owner without FORCE */
    bool selects_table;     /* SELECT on the whole table: xmin can be asked for */
    const bool *may_select; /* per column, ncolumns */
};

/*
 * One version of a table, immutable once rows refer to it: a new Relation message makes a new one
 * with another `version`. Owned by the relation cache, which keeps it while `refs` is not 0.
 */
struct rt_relation {
    uint32_t refs;
    uint32_t oid;
    uint64_t version; /* unique for the process' life, never 0 */
    struct pr_slice schema, table;
    uint8_t identity; /* 'd' 'n' 'f' 'i' */
    bool rls;         /* relrowsecurity */
    uint32_t ncolumns;
    const struct rt_column *columns; /* published or generated, not dropped, by attnum */
    uint32_t nrights;
    const struct rt_rights *rights; /* of every role that has a subscription to the table */
};

enum rt_value_kind {
    RT_V_ABSENT = 0, /* not known: unchanged TOAST value, or generated and not read */
    RT_V_NULL,
    RT_V_TEXT,
    RT_V_JSON,   /* text is JSON that Postgres rendered (types of PR_PG_SQL) */
    RT_V_DROPPED /* larger than is held in memory: the message becomes error 413 */
};
struct rt_value {
    enum rt_value_kind kind;
    struct pr_slice text;
};

/* One row change; owns nothing but what its batch's arena holds. */
struct rt_change {
    const struct rt_relation *rel;
    enum pr_op_kind kind;
    struct pr_pos pos;
    int64_t commit_us; /* of its transaction, since 2000-01-01 UTC */
    uint32_t xid;
    uint8_t old_kind;           /* 0 none, 'K' key columns only, 'O' whole old row */
    bool judges_old;            /* policies say who sees the old row too: REALTIME_DELETE_RLS */
    const struct rt_value *row; /* per column of rel; NULL for DELETE */
    const struct rt_value *old; /* per column of rel; NULL if old_kind is 0 */
};

/* Rights of `role`, NULL if they are not known: then nothing may be shown to it. */
const struct rt_rights *rt_relation_rights(const struct rt_relation *rel, struct pr_slice role);
/* Index of the column of that name, or -1. */
int rt_relation_column(const struct rt_relation *rel, struct pr_slice name);
/* Value of column `i` in the old image; absent if it is not part of it. */
struct rt_value rt_change_old(const struct rt_change *c, uint32_t i);
/* Value by which policies judge column `i`: of the new row (unchanged TOAST: of the old one if it
 * is known), or with `old` of the old row. A DELETE has an old row only. */
struct rt_value rt_change_image(const struct rt_change *c, bool old, uint32_t i);
/* Value by which filters judge column `i`: of the new row (unchanged TOAST: of the old one if it is
 * known), for DELETE of the old row's identity columns. */
struct rt_value rt_change_value(const struct rt_change *c, uint32_t i);

#endif
