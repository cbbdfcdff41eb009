/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pgkept.c - statements that come again: prepared once per connection, their plans kept.
 *
 * Parsing is most of what a small statement costs. Whether it parses depends on the
 * role (it must have the schema), so each role has its own. What a plan follows from, Postgres
 * watches itself, but for the memberships of roles, which a policy may go by: so all are forgotten
 * every RT_PG_KEPT_MS. Source: Postgres documentation, "PREPARE"; its plancache.c.
 */
#include <stdio.h>
#include <string.h>

#include "node/db/pgconn_in.h"

struct rt_pg_kept {
    char *text; /* role, 0, statement */
    size_t n;
    uint64_t number; /* never used again on this connection */
    char name[40];
    bool failed;
};

static struct rt_pg_kept *find(const struct rt_pg *pg, struct pr_slice role, const char *sql)
{
    size_t n = role.n + 1 + strlen(sql);

    for (uint32_t i = 0; i < pg->nkept; i++) {
        struct rt_pg_kept *k = &pg->kept[i];

        if (k->n == n && memcmp(k->text, role.p, role.n) == 0 && k->text[role.n] == '\0' &&
            strcmp(k->text + role.n + 1, sql) == 0) {
            return k;
        }
    }
    return NULL;
}

/* Without an answer, or not reached for an error before it, it is not prepared either. */
static void on_prepared(void *ctx, const PGresult *res)
{
    struct rt_pg_preparing *p = ctx;

    for (uint32_t i = 0; i < p->pg->nkept; i++) {
        if (p->pg->kept[i].number == p->number) {
            p->pg->kept[i].failed = PQresultStatus(res) != PGRES_COMMAND_OK;
        }
    }
    rt_free(p);
}

const char *rt_pg_prepared(const struct rt_pg *pg, struct pr_slice role, const char *sql)
{
    const struct rt_pg_kept *k = find(pg, role, sql);

    if (k == NULL) {
        return pg->nkept < RT_PG_KEPT_MAX ? NULL : "";
    }
    return k->failed ? "" : k->name;
}

void rt_pg_prepare(struct rt_pg *pg, struct pr_slice role, const char *sql)
{
    struct rt_pg_preparing *p = rt_calloc(1, sizeof *p);
    struct rt_pg_kept *k = NULL;

    if (pg->kept == NULL) {
        rt_random(&pg->names, sizeof pg->names);
        pg->kept = rt_calloc(RT_PG_KEPT_MAX, sizeof *pg->kept);
    }
    if (pg->nkept == 0) {
        pg->kept_ms = rt_now_ms(pg->loop);
    }
    k = &pg->kept[pg->nkept++];
    *k = (struct rt_pg_kept){.n = role.n + 1 + strlen(sql), .number = ++pg->last_kept};
    k->text = rt_malloc(k->n + 1);
    memcpy(k->text, role.p, role.n);
    k->text[role.n] = '\0';
    memcpy(k->text + role.n + 1, sql, k->n - role.n);
    (void)snprintf(k->name, sizeof k->name, "k%016llx_%llu", (unsigned long long)pg->names,
                   (unsigned long long)k->number);
    *p = (struct rt_pg_preparing){.pg = pg, .number = k->number};
    rt_pg_asked(pg, PQsendPrepare(pg->conn, k->name, sql, 0, NULL), on_prepared, p);
}

void rt_pg_execute(struct rt_pg *pg, const char *name, int nparams, const char *const *params,
                   rt_pg_fn fn, void *ctx)
{
    rt_pg_asked(pg, PQsendQueryPrepared(pg->conn, name, nparams, params, NULL, NULL, 0), fn, ctx);
}

void rt_pg_kept_free(struct rt_pg *pg)
{
    for (uint32_t i = 0; i < pg->nkept; i++) {
        rt_free(pg->kept[i].text);
    }
    pg->nkept = 0;
}

void rt_pg_forget(struct rt_pg *pg, bool now)
{
    if (pg->nkept > 0 && (now || rt_now_ms(pg->loop) - pg->kept_ms >= RT_PG_KEPT_MS)) {
        rt_pg_kept_free(pg);
        rt_pg_query(pg, "deallocate all", 0, NULL, NULL, NULL);
        rt_pg_query(pg, "discard plans", 0, NULL, NULL, NULL); /* of functions */
        rt_pg_sync(pg);
    }
}
