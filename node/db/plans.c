/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/plans.h"

#include <stdio.h>
#include <string.h>

#include "node/db/db_in.h"

/* $1: the hash of the last look. The first of them, as one text. */
static const char plans_sql[] =
    "with now as (select pg_catalog.md5(pg_catalog.string_agg(pg_catalog.concat_ws(' ', c, oid, "
    "x), "
    "',' order by c, oid)) as print from ("
    "select 'p' as c, oid, xmin as x from pg_catalog.pg_proc where oid >= 16384 union all "
    "select 'o', oid, xmin from pg_catalog.pg_operator where oid >= 16384 union all "
    "select 'c', oid, xmin from pg_catalog.pg_cast where oid >= 16384 union all "
    "select 'd', oid, null from pg_catalog.pg_database "
    "where datname = pg_catalog.current_database()) own) "
    "select print, case when print <> $1 then (select pg_catalog.string_agg(name, ', ' order by "
    "oid) "
    "from (select * from " RT_MISTAKEN_SQL " f order by oid limit 10) f) end from now";

static void on_answer(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_plans *p = &d->plans;
    bool known = res != NULL && PQresultStatus(res) == PGRES_TUPLES_OK;
    const char *print = known ? PQgetvalue(res, 0, 0) : "";

    if (strcmp(print, p->print) == 0) {
        return;
    }
    (void)snprintf(p->print, sizeof p->print, "%s", print);
    p->shared = known && PQgetisnull(res, 0, 1);
    p->changes++;
    rt_gauge(d->metrics, RT_M_DB_PLANS_SHARED, p->shared);
    if (known && !p->shared) {
        rt_log(d->log, RT_WARN, "plans_not_shared", rt_kv_s("functions", PQgetvalue(res, 0, 1)),
               rt_kv_s("err", "declared IMMUTABLE, and they may read more than their arguments: "
                              "policies are planned anew for each claims set"));
    }
}

void rt_plans_ask(struct rt_db *d)
{
    const char *params[] = {d->plans.print};

    rt_pg_query(d->control, plans_sql, 1, params, on_answer, d);
}
