/* SPDX-License-Identifier: Apache-2.0 */
/*
 * validate.c - is this registration one that Postgres understands, for a role that may read it?
 *
 * Role, then tables, then per table: columns, operators, values. Values are made canonical by
 * Postgres once, so that a change is compared without asking it.
 */
#include <assert.h>
#include <string.h>

#include "node/db/validate_in.h"

static void next_table(struct rt_reg *r);

static void free_values(struct rt_check *c)
{
    for (uint32_t i = 0; i < PR_FILTER_CONDS_MAX; i++) {
        rt_free(c->values[i]);
        c->values[i] = NULL;
    }
}

void rt_db_reg_check_drop(struct rt_reg *r)
{
    struct rt_check *c = r->check;

    if (c == NULL) {
        return;
    }
    rt_check_wait_no_more(c);
    free_values(c);
    rt_rel_unref(c->rel);
    rt_free(c->oids);
    rt_free(c->arena);
    rt_free(c);
    r->check = NULL;
}

void rt_check_interrupted(struct rt_reg *r)
{
    rt_db_reg_check_drop(r);
    if (!r->gone) {
        rt_db_reg_state(r, RT_REG_NEW);
    }
}

void rt_check_end(struct rt_reg *r, const struct pr_outbuf *text, bool unpublished)
{
    char *refusal = NULL;

    if (text != NULL) {
        struct pr_slice told = rt_text_begin(pr_bytes(text->p, text->len), RT_REFUSAL_MAX);

        assert(pr_out_ok(text));
        refusal = rt_strndup(told.p, told.n);
    }
    rt_db_reg_check_drop(r);
    rt_db_reg_checked(r, refusal, unpublished);
}

bool rt_check_answered(struct rt_reg *r, const PGresult *res)
{
    r->out--;
    if (rt_db_reg_reap(r)) {
        return true;
    }
    if (r->gone || r->check == NULL) {
        return true;
    }
    if (res == NULL) {
        rt_check_interrupted(r);
        return true;
    }
    return false;
}

/* The table may have been read again while the conditions were asked, when nobody of this role was
 * attached to it yet. */
static void reread(struct rt_db *d, const struct rt_relation *checked, struct pr_slice role)
{
    struct rt_table *t = rt_tables_of(d, checked->oid);

    if (t != NULL && t->rel != checked &&
        (t->rel == NULL || rt_relation_rights(t->rel, role) == NULL)) {
        rt_rel_unref(t->rel);
        t->rel = NULL;
        t->messages++;
    }
}

/* False: it is over, refused. */
static bool attach(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    struct rt_sieve_part parts[PR_FILTER_CONDS_MAX];
    struct rt_sub_filter f = {.conds = c->conds,
                              .nconds = c->filter.count,
                              .parts = parts,
                              .nparts = rt_check_parts(c, parts)};

    if (rt_subs_attach(r->db->subs, r->boot, r->handle, c->rel, &f) != 0) {
        rt_refuse_raised(r, "invalid column for filter ",
                         c->filter.count > 0 ? c->filter.conds[0].column : pr_str(""), "",
                         pr_str(""));
        return false;
    }
    reread(r->db, c->rel, r->m.role);
    rt_rel_unref(c->rel);
    c->rel = NULL;
    free_values(c);
    c->table++;
    return true;
}

/* True: the table is attached, the next one may be looked at. False: an answer is waited for, or
 * the check is over. */
static bool next_cond(struct rt_reg *r)
{
    while (r->check->cond < r->check->filter.count) {
        if (!rt_check_cond(r)) {
            return false;
        }
        r->check->cond++;
    }
    return attach(r);
}

void rt_check_cond_done(struct rt_reg *r)
{
    r->check->cond++;
    if (next_cond(r)) {
        next_table(r);
    }
}

/* Selected columns must exist and be readable. */
static bool check_select(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    const struct rt_rights *rights = rt_relation_rights(c->rel, r->m.role);
    struct pr_slice list = r->m.select, name;

    while (r->m.has_select && pr_strs_next(&list, &name) == 1) {
        int i = rt_relation_column(c->rel, name);

        if (i < 0 || rights == NULL || !rights->may_select[i]) {
            rt_refuse_raised(r, "invalid column for select ", name, "", pr_str(""));
            return false;
        }
    }
    return true;
}

/* As next_cond. */
static bool use_relation(struct rt_reg *r, struct rt_relation *rel)
{
    r->check->rel = rt_rel_ref(rel);
    r->check->cond = 0;
    return check_select(r) && next_cond(r);
}

static void on_relation(void *ctx, struct rt_relation *rel, const char *why)
{
    struct rt_reg *r = ctx;

    (void)why;
    r->out--;
    if (rt_db_reg_reap(r) || r->gone || r->check == NULL) {
        return;
    }
    if (rel == NULL) { /* it went away between the list and the question, or the connection did */
        rt_check_interrupted(r);
    } else if (use_relation(r, rel)) {
        next_table(r);
    }
}

/* Tables that are known and ask nothing are attached at once: a wildcard may have thousands. */
static void next_table(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    struct rt_db *d = r->db;

    while (c->table < c->noids) {
        struct rt_table *t = rt_tables_of(d, c->oids[c->table]);

        assert(t != NULL); /* rows of this list are never removed */
        if (t->rel != NULL && rt_relation_rights(t->rel, r->m.role) != NULL) {
            if (!use_relation(r, t->rel)) {
                return;
            }
        } else if (t->fetching || d->control == NULL) {
            rt_check_interrupted(r); /* whoever fetches it kicks all */
            return;
        } else {
            r->out++;
            rt_tables_fetch(d, t, r->m.role, on_relation, r);
            return;
        }
    }
    rt_db_reg_set_tables(r, c->oids, c->noids);
    c->oids = NULL;
    rt_check_end(r, NULL, false);
}

static void expand(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    uint32_t cap = 0;

    if (r->db->polls_done < r->db->polls_needed) {
        rt_check_interrupted(r); /* the end of that poll kicks */
        return;
    }
    for (struct rt_table *t = r->db->tables; t != NULL; t = t->next) {
        if (rt_db_reg_wants(r, t)) {
            if (c->noids == cap) {
                cap = cap == 0 ? 8 : cap * 2;
                c->oids = rt_realloc(c->oids, cap * sizeof *c->oids);
            }
            c->oids[c->noids++] = t->oid;
        }
    }
    if (c->noids == 0 && r->poll == 0) {
        /* It may have been published a moment ago: looks once more, with a question asked now. */
        r->poll = r->db->polls_started + 1;
        rt_tables_poll(r->db);
        rt_check_interrupted(r);
    } else if (c->noids == 0 && r->db->polls_done < r->poll) {
        rt_check_interrupted(r); /* the end of that poll kicks */
    } else if (c->noids == 0) {
        r->poll = 0;
        rt_refuse_unpublished(r);
    } else {
        r->poll = 0;
        next_table(r);
    }
}

/* Role: exists, may be taken, is granted to the login that evaluates policies. */
static void on_role(void *ctx, const PGresult *res)
{
    struct rt_reg *r = ctx;
    const char *head = "ERROR 42704 (undefined_object) role \"";
    const char *tail = NULL;

    if (rt_check_answered(r, res)) {
        return;
    }
    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        rt_refuse_result(r, res);
        return;
    }
    if (PQntuples(res) == 0) {
        tail = "\" does not exist";
    } else if (strcmp(PQgetvalue(res, 0, 0), "t") != 0) {
        head = "ERROR P0001 (raise_exception) role \"";
        tail = "\" is not allowed";
    } else if (strcmp(PQgetvalue(res, 0, 1), "t") != 0) {
        head = "ERROR 42501 (insufficient_privilege) permission denied to set role \"";
        tail = "\"";
    }
    if (tail == NULL) {
        expand(r);
        return;
    }
    rt_refuse(r, (const struct pr_slice[]){pr_str(head), r->m.role, pr_str(tail)}, 3);
}

/* The filter as text; refuses and answers false if it is none. */
static bool parse_filter(struct rt_reg *r)
{
    struct rt_check *c = r->check;
    size_t cap = PR_FILTER_ARENA(r->m.filter.n);
    struct pr_outbuf err = pr_outbuf(NULL, 0);
    struct pr_outbuf arena;
    int rv = PR_OK;

    if (!r->m.has_filter) {
        return true;
    }
    c->arena = rt_malloc(cap);
    arena = pr_outbuf(c->arena, cap);
    rv = pr_filter_parse(r->m.filter, &c->filter, &arena, &err);
    if (rv == PR_OK) {
        return true;
    }
    /* Once more, into the room that the reason needs. */
    err = pr_outbuf(rt_malloc(err.len), err.len);
    arena.len = 0;
    rv = pr_filter_parse(r->m.filter, &c->filter, &arena, &err);
    assert(rv != PR_OK);
    rt_check_end(r, &err, false);
    rt_free(err.p);
    return false;
}

void rt_db_reg_check(struct rt_reg *r)
{
    char *role;
    const char *params[1];

    r->check = rt_calloc(1, sizeof *r->check);
    r->check->reg = r;
    if (!parse_filter(r)) {
        return;
    }
    role = rt_strndup(r->m.role.p, r->m.role.n);
    params[0] = role;
    r->out++;
    rt_pg_query(r->db->check,
                "select not (rolsuper or rolreplication or rolname = session_user), "
                "pg_catalog.pg_has_role(session_user, oid, 'MEMBER') "
                "from pg_catalog.pg_roles where rolname = $1",
                1, params, on_role, r);
    rt_pg_sync(r->db->check);
    rt_free(role);
}
