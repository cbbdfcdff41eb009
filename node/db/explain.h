/* SPDX-License-Identifier: Apache-2.0 */
/*
 * explain.h - why a registration gets a change of a table, or not: the questions of `realtimectl
 * explain`.
 *
 * The way of a change is walked in its order: the registration, the stream, the event, the
 * publication, key, rights and policies of the table, and, if a row is named, that row as the
 * registration's role and claims see it now, condition by condition, and its size. A row of the
 * answer is {"step", "result", "detail", "fix"}; result is passes, note, error (an error message
 * comes in place of the row) or drops; fix is the statement that changes it, or null. Only the db
 * that reads knows registrations: the others answer nothing.
 */
#ifndef NODE_DB_EXPLAIN_H
#define NODE_DB_EXPLAIN_H

#include "node/db/db_in.h"

/* Time for the row to be found, in ms: it shares the connection with the checks of changes. */
#define RT_EXPLAIN_ROW_MS "500"

/*
 * Answers the CTL question of this id. `args` is {"boot", "handle", "schema", "table", "event":
 * text, "key": {column: text, ...}}; without event it is about those that the registration hears,
 * without key no row is looked at.
 */
void rt_db_explain(struct rt_db *d, uint32_t id, struct pr_slice args);

/* explain_sql.c: what the catalog says. $1 publication, $2 schema, $3 table, $4 role, $5 event.
 * Columns: step, result, detail, fix (may be null). */
extern const char rt_explain_catalog_sql[];

#endif
