/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sift.h - which rows of a batch pass the sieves of their matches.
 *
 * One statement per (sieve, table, batch), as the subscribers' role, read-only, 200 ms if it
 * has patterns, else 2 s. One that fails is asked again row by row, so that one bad row, or one bad
 * filter, costs nobody else anything but time. That is bounded, too: a sieve that fails for three
 * rows within a minute is cancelled, and patterns that are slow, or were never asked, get one
 * second of a batch together; beyond it they fail without being asked.
 *
 * What Postgres says of a failure may hold a value of the row: it goes to the log only. And a row
 * that could not be judged is told to those only who may see it, which row-level security has yet
 * to say.
 */
#ifndef NODE_DB_SIFT_H
#define NODE_DB_SIFT_H

#include "node/base/log.h"
#include "node/db/rls.h"

struct rt_sift;

struct rt_sift_events {
    /* ok = false: the connection ended; visible flags are as they were before. */
    void (*on_done)(void *ctx, bool ok);
    /* The sieve is asked no more: the rest of the batch's rows do not pass. */
    void (*on_cancelled)(void *ctx, struct rt_sieve *s, const char *sqlstate);
};

struct rt_sift *rt_sift_new(struct rt_loop *l, struct rt_log *log, const struct rt_sift_events *ev,
                            void *ctx);
void rt_sift_free(struct rt_sift *s);
/* Has any match a sieve? */
bool rt_sift_needed(const struct rt_rls_row *rows, uint32_t n);
/*
 * Asks the sieves on a check connection (RT_PG_PIPELINE): clears `visible` of every match that does
 * not pass, sets `unjudged` of those whose sieve failed for the row. One batch at a time; rows and
 * matches stay where they are until on_done or rt_sift_cancel.
 */
void rt_sift_run(struct rt_sift *s, struct rt_pg *pg, const struct rt_rls_row *rows, uint32_t n);
/* Drops what is under way: on_done is not called. */
void rt_sift_cancel(struct rt_sift *s);

#endif
