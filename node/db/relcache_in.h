/* SPDX-License-Identifier: Apache-2.0 */
/*
 * relcache_in.h - inside of the relation cache.
 *
 *   relcache.c        asks, and keeps what was made
 *   relcache_build.c  makes a relation of the answers
 *   relcache_types.c  describes types; memory that goes at once
 */
#ifndef NODE_DB_RELCACHE_IN_H
#define NODE_DB_RELCACHE_IN_H

#include <jansson.h>

#include "node/db/relcache.h"

/* Memory of one owner, freed as a whole. Zeroed, but for chunk_bytes, before use. */
struct rt_arena_chunk;
struct rt_arena {
    struct rt_arena_chunk *head;
    size_t chunk_bytes; /* what is taken from the heap at least */
};
/* count * size bytes, cleared; never NULL. */
void *rt_arena_take(struct rt_arena *a, size_t count, size_t size);
/* Copies. */
struct pr_slice rt_arena_copy(struct rt_arena *a, struct pr_slice s);
void rt_arena_free(struct rt_arena *a);

/* Member of a JSON object as text (borrowed; empty if it is none), number (0), truth (false). */
struct pr_slice rt_json_text(const json_t *object, const char *key);
uint32_t rt_json_u32(const json_t *object, const char *key);
bool rt_json_true(const json_t *object, const char *key);

/*
 * Descriptions of types by OID. One whose definition changed gets a new object; old ones stay until
 * rt_types_free, since relations refer to them.
 */
struct rt_types;
struct rt_types *rt_types_new(void);
/* NULL is allowed. */
void rt_types_free(struct rt_types *ts);

/* The query behind rt_types_learn: $1 a table, $2 a JSON array of more type OIDs. Its only value
 * is a JSON array of all types that can be reached from them. */
extern const char rt_types_sql[];
/* Takes the query's answer. */
void rt_types_learn(struct rt_types *ts, const json_t *list);
/* The newest description. Never NULL: a type that the catalog does not know is PR_PG_OTHER. */
const struct pr_pg_type *rt_types_get(struct rt_types *ts, uint32_t oid);
/* Element of the query's answer, NULL if it is not there: "name" is pg_type.typname, "sql" the
 * qualified name. */
const json_t *rt_types_find(const json_t *list, uint32_t oid);

/* relcache_build.c: a relation with everything it owns. */
struct rt_rel_box {
    struct rt_relation rel; /* first: callers hold its address */
    struct rt_rel_sql sql;
    struct rt_rels *owner;
    struct rt_arena mem;
};

/* The query behind rt_rel_build: $1 the table, $2 the publication, $3 a JSON array of role names.
 * No row if there is no such table, else its only value is a JSON object. */
extern const char rt_rel_table_sql[];
/* Fills all of `box` but refs, version and owner from the answers and what the stream said. */
void rt_rel_build(struct rt_rel_box *box, const struct rt_rel_want *want, const json_t *table,
                  const json_t *type_list, struct rt_types *types);

#endif
