/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tojson.h - values whose JSON only Postgres knows: of a type that has a cast to json (hstore,
 * geometry), alone or inside of arrays, domains and composites.
 *
 * One statement per column of a batch, read-only and as a role that gets the row, since a cast is
 * somebody's function. A value that cannot be rendered stays what it is in the stream, a text.
 */
#ifndef NODE_DB_TOJSON_H
#define NODE_DB_TOJSON_H

#include "node/base/log.h"
#include "node/db/rls.h"

struct rt_tojson;

struct rt_tojson *rt_tojson_new(struct rt_loop *l, struct rt_log *log);
void rt_tojson_free(struct rt_tojson *j);
/* Is there such a value, of a row that somebody gets? */
bool rt_tojson_needed(const struct rt_rls_row *rows, uint32_t n);
/*
 * Asks on a check connection (RT_PG_PIPELINE), and puts the answers into the rows' values; they
 * live until the next call. One batch at a time; rows stay where they are until `done`, which is
 * called once, later, ok = false: the connection ended.
 */
void rt_tojson_run(struct rt_tojson *j, struct rt_pg *pg, const struct rt_rls_row *rows, uint32_t n,
                   void (*done)(void *ctx, bool ok), void *ctx);
/* Drops what is under way: `done` is not called. */
void rt_tojson_cancel(struct rt_tojson *j);

#endif
