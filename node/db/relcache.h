/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relcache.h - what the catalog says of a table: columns, keys, types, rights and policies.
 *
 * A Relation message tells that a table may have changed: columns, grants, row level security,
 * policies, identity. The next version is then fetched in one pipelined round trip, before the
 * first row behind the message is looked at. Types are described once and kept.
 */
#ifndef NODE_DB_RELCACHE_H
#define NODE_DB_RELCACHE_H

#include "node/base/config.h"
#include "node/db/change.h"
#include "node/db/pgconn.h"

struct rt_rels;
struct rt_policy;

/* A column as the stream names it. */
struct rt_stream_column {
    struct pr_slice name;
    uint32_t type;
    bool identity;
};

/* What is asked for. Everything is copied. */
struct rt_rel_want {
    uint32_t oid;
    /* From the Relation message; ncolumns 0: none has been seen, the catalog's published columns.
     */
    uint32_t ncolumns;
    const struct rt_stream_column *columns;
    uint8_t identity;
    /* Roles whose rights and policies are needed. */
    uint32_t nroles;
    const struct pr_slice *roles;
};

/* What a check query needs beyond struct rt_relation. Lives as long as the relation. */
struct rt_rel_policy {
    struct pr_slice role;
    /* Condition over the row that the role's SELECT policies make together, deparsed with an empty
     * search path: permissive ones joined by OR, restrictive by AND. Empty: no policy lets it see
     * anything. */
    struct pr_slice condition;
    const struct rt_policy *compiled; /* policy.h; NULL: Postgres is asked */
};
struct rt_rel_sql {
    struct pr_slice name;              /* "schema"."table", quoted */
    uint32_t nkeys;                    /* primary key columns */
    const uint32_t *keys;              /* their index in rel->columns */
    const struct pr_slice *types;      /* SQL type of each column of rel, qualified, with typmod */
    const struct rt_operand *operands; /* of each column of rel */
    /* Policies are asked over the table: the key's equality is leakproof, so that the index is used
     * before them, and the stream tells of updates, so that a row that has not changed there is the
     * one of the change; or generated columns are read there anyway. */
    bool by_key;
    bool whole_row; /* rel->columns are all columns of the table, in order: a row image can be built
                     */
    uint32_t npolicies;
    const struct rt_rel_policy *policies; /* of the roles that were asked for; if rel->rls */
};
const struct rt_rel_sql *rt_rel_sql(const struct rt_relation *rel);

/* A new version, with one reference for the callee; NULL with `why` NULL: there is no such table;
 * NULL with a text (borrowed): it could not be read. */
typedef void (*rt_rel_fn)(void *ctx, struct rt_relation *rel, const char *why);

struct rt_rels *rt_rels_new(const struct rt_config *cfg, struct rt_log *log);
/* All references must be back. Fetches under way are dropped; their connections must have been
 * closed before, since an answer would still look for them. */
void rt_rels_free(struct rt_rels *r);
/* Over a RT_PG_PIPELINE connection that is up, as a segment of its own; `fn` is called exactly
 * once, also if the connection ends, unless it is closed by rt_pg_close or the cache is freed
 * before. */
void rt_rel_fetch(struct rt_rels *r, struct rt_pg *pg, const struct rt_rel_want *want, rt_rel_fn fn,
                  void *ctx);
struct rt_relation *rt_rel_ref(struct rt_relation *rel);
/* NULL is allowed. */
void rt_rel_unref(struct rt_relation *rel);

#endif
