/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rls.h - who may see which row: policies are asked once per (role, claims) and batch.
 *
 * Order: (1) wait until the commits of the batch are visible to queries, since a commit reaches the
 * WAL reader before its row can be read; (2) per group one segment: role and claims, then one
 * statement per table that joins the batch's keys with the table under row level security; (3) rows
 * that changed since, and rows that were not found, are judged on their own image with the deparsed
 * policies, and so are old rows; (4) a statement that fails is split row by row, and what fails
 * alone is denied. Whatever cannot be judged is denied.
 *
 * Everybody's changes wait for a slow policy. A statement has 2 s, row by row 200 ms and all rows
 * of a batch 5 s; a group that used them up three times within a minute is cancelled on that table:
 * denied without being asked, until its policies are others. Whoever registers then is of another
 * group, and asked again.
 */
#ifndef NODE_DB_RLS_H
#define NODE_DB_RLS_H

#include "node/db/pgconn.h"
#include "node/db/plans.h"
#include "node/db/relcache.h"
#include "node/db/subscriptions.h"

/* Session settings of a check connection, for rt_pg_config.options. */
extern const char rt_rls_options[];
/* Behind a statement that runs policies, in its segment: what one of them has set for the session
 * would hold for the rows of others. If it fails, all of that is undone anyway. */
void rt_rls_reset(struct rt_pg *pg);

struct rt_rls_row {
    struct rt_change *change;
    struct rt_matches *matches;
    /* Room for the values of generated columns: `change->row` may be written to. */
    struct rt_value *row;
    /* Its key changed again by a change that nobody wants: the table has another image of it. */
    bool again;
};

struct rt_rls;
struct rt_rls *rt_rls_new(struct rt_loop *l, struct rt_log *log, struct rt_metrics *metrics);
/* A judgement under way is dropped. */
void rt_rls_free(struct rt_rls *r);

/* Does this batch need the database at all (rt_match_needs_rls, rt_match_old_needs_rls, or
 * generated columns to be read)? */
bool rt_rls_needed(const struct rt_rls_row *rows, uint32_t n);
/*
 * Judges a batch on a check connection (RT_PG_PIPELINE): clears `visible` of every match whose
 * group may not see the row, sets `failed` where that is so because the policies fail and
 * `old_hidden` where it may not see the old row, and fills generated columns of rows that did not
 * change since (texts owned by the judge until the next call or rt_rls_free). One batch at a time.
 * `plans`: may change meanwhile.
 * `open_xid`: a transaction whose end is not in the batch, 0 = none; its rows may change again.
 * done(ok = false): the connection ended; verdicts are not to be used, judge again later (visible
 * flags are as they were before the call). cancelled: the group sees nothing more of the table.
 */
struct rt_rls_batch {
    struct rt_rls_row *rows;
    uint32_t count, open_xid;
    const struct rt_plans *plans;
    void (*done)(void *ctx, bool ok);
    void (*cancelled)(void *ctx, const struct rt_group *g, const struct rt_relation *rel);
    void *ctx;
};
void rt_rls_judge(struct rt_rls *r, struct rt_pg *pg, const struct rt_rls_batch *b);
/* Drops the judgement under way: done is not called. */
void rt_rls_cancel(struct rt_rls *r);

#endif
