/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrate.h - brings the schema realtime of the database up to date, and its partitions.
 *
 * Forward only. Several nodes may start at once: an advisory lock lets one after the other in, and
 * every file makes only what is missing, so what a database has already is kept.
 */
#ifndef NODE_DB_MIGRATE_H
#define NODE_DB_MIGRATE_H

#include "node/base/config.h"
#include "node/base/log.h"
#include "node/base/loop.h"

/* Messages are kept at least that long: 72 h, as Supabase does. A bare number: it goes into SQL. */
#define RT_MESSAGES_RETENTION_DAYS 3

struct rt_migrate;

/*
 * Opens a connection of its own to cfg->database_url (which must be set) and, by cfg->migrate:
 * "on": applies what is missing, makes partitions of yesterday to three days ahead and drops those
 * past retention; run it again every 30 min for the partitions. "off": logs what is missing.
 * "print": writes the SQL to standard output, then as "off". With these two there is nothing to run
 * again. A read-only server is left alone, with a line in the log.
 *
 * Gives a handle that ends with `done`, which comes exactly once, from the loop, never from inside
 * this call, and not after rt_migrate_cancel. rv 0; or -1 with SQLSTATE (may be empty) and one line
 * of text, both borrowed for the call: connection failed, or a file did (the text names it). A
 * failure of the partitions is only logged, and that realtime.messages belongs to another role.
 * `cfg`, `log` and the loop are borrowed until then.
 */
struct rt_migrate *
rt_migrate_start(struct rt_loop *l, const struct rt_config *cfg, struct rt_log *log,
                 void (*done)(void *ctx, int rv, const char *sqlstate, const char *text),
                 void *ctx);
/* Ends it now; the server takes back a file under way. NULL is allowed; not after `done`. */
void rt_migrate_cancel(struct rt_migrate *m);

#endif
