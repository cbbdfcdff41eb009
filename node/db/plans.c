/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/plans.h"

#include <stdio.h>
#include <string.h>

#include "node/db/db_in.h"
#include "node/db/desk.h"

/* After a look that failed, the next is not until then: the server may be loaded, or a table that
 * such a function reads be locked. */
#define FAILED_MS 60000u

static const char lock_sql[] = "select pg_catalog.set_config('lock_timeout', '200', true)";
/* $1: the hash of the last look. If it is another now, the first of them as one text. */
static const char plans_sql[] =
    "with now as (select pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', c, oid, "
    "x), ',' order by c, oid)) as print from ("
    "select 'p' as c, oid, xmin::pg_catalog.text as x from pg_catalog.pg_proc where oid >= 16384 "
    "union all select 'o', oid, xmin::pg_catalog.text from pg_catalog.pg_operator "
    "where oid >= 16384 union all select 'c', oid, xmin::pg_catalog.text from pg_catalog.pg_cast "
    "where oid >= 16384 union all select 't', oid, relname::pg_catalog.text "
    "from pg_catalog.pg_class c where " RT_IS_TABLE ") own) "
    "select print, case when print <> $1 then coalesce((select pg_catalog.string_agg(name, ', ' "
    "order by oid) from (select * from " RT_MISTAKEN_SQL " f order by oid limit 10) f), '') end "
    "from now";

static void found(struct rt_db *d, const char *print, bool shared)
{
    struct rt_plans *p = &d->plans;

    (void)snprintf(p->print, sizeof p->print, "%s", print);
    p->shared = shared;
    p->changes++;
    rt_gauge(d->metrics, RT_M_DB_PLANS_SHARED, shared);
}

static void on_answer(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_plans *p = &d->plans;

    p->asking = false;
    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK) {
        p->failed_ms = rt_now_ms(d->loop);
        found(d, "", false);
        rt_log(d->log, RT_WARN, "plans_not_known",
               rt_kv_s("err", res == NULL ? "the connection ended" : rt_pg_message(res)));
    } else if (!PQgetisnull(res, 0, 1)) {
        const char *functions = PQgetvalue(res, 0, 1);

        p->failed_ms = 0;
        found(d, PQgetvalue(res, 0, 0), functions[0] == '\0');
        if (!p->shared) {
            rt_desk_changed(d); /* what edges were told may be another's */
            rt_log(d->log, RT_WARN, "plans_not_shared", rt_kv_s("functions", functions),
                   rt_kv_s("err", "declared IMMUTABLE, and they may read more than their "
                                  "arguments: policies are planned anew for each claims set"));
        }
    }
}

void rt_plans_ask(struct rt_db *d)
{
    struct rt_plans *p = &d->plans;
    const char *params[] = {p->print};

    if (p->asking || (p->failed_ms != 0 && rt_now_ms(d->loop) - p->failed_ms < FAILED_MS)) {
        return;
    }
    p->asking = true;
    rt_pg_query(d->control, lock_sql, 0, NULL, NULL, NULL);
    rt_pg_query(d->control, plans_sql, 1, params, on_answer, d);
    rt_pg_sync(d->control);
}

void rt_plans_forget(struct rt_db *d)
{
    d->plans = (struct rt_plans){.changes = d->plans.changes + 1};
    rt_gauge(d->metrics, RT_M_DB_PLANS_SHARED, 0);
}
