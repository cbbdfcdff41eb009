/* SPDX-License-Identifier: Apache-2.0 */
/* rls_take.c - what a batch asks of the policies, and what their answers mean. */
#include <string.h>

#include <xxhash.h>

#include "node/db/rls_in.h"

/* One line about failing policies a minute: they fail for every row. */
#define LOG_MS 60000u
/* A group that runs out of time RT_SLOW_MAX times within it is cancelled. */
#define WINDOW_MS 60000u

bool rt_rls_timed_out(const PGresult *res)
{
    return strcmp(rt_pg_sqlstate(res), "57014") == 0;
}

void rt_ask_log_failure(struct rt_rls *r, const struct rt_ask *a, const PGresult *res)
{
    uint64_t now = rt_now_ms(r->loop);

    if (r->logged_ms == 0 || now - r->logged_ms >= LOG_MS) {
        r->logged_ms = now;
        rt_log(r->log, RT_WARN, "policy_failed",
               rt_kv_s("code", rt_rls_timed_out(res) ? "QueryCanceled" : "RlsPolicyError"),
               rt_kv_b("schema", a->rel->schema), rt_kv_b("table", a->rel->table),
               rt_kv_b("role", a->group->role), rt_kv_s("sqlstate", rt_pg_sqlstate(res)),
               rt_kv_s("err", rt_pg_message(res)));
    }
}

struct pr_slice rt_ask_condition(const struct rt_ask *a)
{
    const struct rt_rel_sql *sql = rt_rel_sql(a->rel);

    for (uint32_t i = 0; i < sql->npolicies; i++) {
        if (pr_slice_eq(sql->policies[i].role, a->group->role)) {
            return sql->policies[i].condition;
        }
    }
    return pr_str("");
}

/* NULL: its policies were always in time, or are others now. */
static struct rt_slow *slow_of(const struct rt_ask *a, uint64_t policies)
{
    struct rt_slow *s = a->group->slow;

    while (s != NULL && (s->oid != a->rel->oid || s->policies != policies)) {
        s = s->next;
    }
    return s;
}

static uint64_t policies_of(const struct rt_ask *a)
{
    struct pr_slice condition = rt_ask_condition(a);

    return XXH3_64bits(condition.p, condition.n);
}

bool rt_ask_cancelled(const struct rt_ask *a)
{
    const struct rt_slow *s = NULL;

    if (a->group->slow != NULL && !a->only_generated) {
        s = slow_of(a, policies_of(a));
    }
    return s != NULL && s->cancelled;
}

void rt_ask_timed_out(struct rt_ask *a)
{
    uint64_t policies = policies_of(a);
    uint64_t now = rt_now_ms(a->job->rls->loop);
    struct rt_slow *s = slow_of(a, policies);

    if (a->only_generated) {
        return;
    }
    if (s == NULL) {
        s = rt_calloc(1, sizeof *s);
        *s = (struct rt_slow){.next = a->group->slow, .oid = a->rel->oid, .policies = policies};
        a->group->slow = s;
    }
    memmove(s->at_ms, s->at_ms + 1, sizeof s->at_ms - sizeof s->at_ms[0]);
    s->at_ms[RT_SLOW_MAX - 1] = now;
    if (!s->cancelled && s->at_ms[0] != 0 && now - s->at_ms[0] <= WINDOW_MS) {
        s->cancelled = true;
        rt_group_hide(a->group);
        a->job->cancelled(a->job->ctx, a->group, a->rel);
    }
}

/*
 * Without SELECT on the whole table its xmin cannot be read: whether the table still has the row as
 * the change left it is not known then, so the image is asked alone. So it is where the row would
 * not be found by its key (numeric, enums), but all of the table be read, each row past the
 * policies. Where there is no image, the table decides, as it does for a role that reads the row.
 */
static bool by_image_alone(const struct rt_ask *a, const struct rt_change *c)
{
    const struct rt_rights *rights = rt_relation_rights(a->rel, a->group->role);
    const struct rt_rel_sql *sql = rt_rel_sql(a->rel);

    return rights != NULL && !(rights->selects_table && sql->by_key) && sql->whole_row &&
           rt_image_known(a->rel, c, false, rt_ask_condition(a));
}

void rt_ask_pick(struct rt_ask *a)
{
    a->nat = 0;
    for (uint32_t i = a->next_row; i < a->count; i++) {
        const struct rt_change *c = a->job->rows[a->asked[i].row].change;

        if (a->asked[i].verdict == RT_UNDECIDED &&
            (a->image || (!a->asked[i].old && rt_key_known(a->rel, c) && !by_image_alone(a, c)))) {
            a->at[a->nat++] = i;
            if (a->single) {
                a->next_row = i + 1;
                return;
            }
        }
    }
}

static void keep_generated(struct rt_rls *r, const struct rt_ask *a, struct rt_rls_row *row,
                           const PGresult *res, int line)
{
    const struct rt_rights *rights = rt_relation_rights(a->rel, a->group->role);
    int column = 2;

    for (uint32_t i = 0; i < a->rel->ncolumns; i++) {
        if (!a->rel->columns[i].generated || !rights->may_select[i]) {
            continue;
        }
        if (PQgetisnull(res, line, column)) {
            row->row[i].kind = RT_V_NULL;
        } else {
            size_t n = (size_t)PQgetlength(res, line, column);

            if (r->ntexts == r->texts_cap) {
                r->texts_cap = r->texts_cap == 0 ? 64 : r->texts_cap * 2;
                r->texts = rt_realloc(r->texts, r->texts_cap * sizeof *r->texts);
            }
            r->texts[r->ntexts] = rt_strndup(PQgetvalue(res, line, column), n);
            row->row[i].kind = RT_V_TEXT;
            row->row[i].text = pr_bytes(r->texts[r->ntexts], n);
            r->ntexts++;
        }
        column++;
    }
}

void rt_ask_take_table(struct rt_ask *a, const PGresult *res)
{
    struct rt_job *j = a->job;

    for (int line = 0; line < PQntuples(res); line++) {
        uint32_t i = (uint32_t)rt_pg_number(PQgetvalue(res, line, 0));
        struct rt_asked *asked;
        struct rt_rls_row *row;
        bool known = !PQgetisnull(res, line, 1);
        bool same;

        if (i == 0 || i > a->nat) {
            continue;
        }
        asked = &a->asked[a->at[i - 1]];
        row = &j->rows[asked->row];
        same = row->change->xid != j->open_xid && !j->later[asked->row] &&
               (!known || (uint32_t)rt_pg_number(PQgetvalue(res, line, 1)) == row->change->xid);
        if (same) {
            asked->verdict = RT_VISIBLE;
        }
        if (same && known) {
            keep_generated(j->rls, a, row, res, line);
        }
    }
}

void rt_ask_take_image(struct rt_ask *a, const PGresult *res)
{
    for (int line = 0; line < PQntuples(res); line++) {
        uint32_t i = (uint32_t)rt_pg_number(PQgetvalue(res, line, 0));

        if (i > 0 && i <= a->nat) {
            a->asked[a->at[i - 1]].verdict = RT_VISIBLE;
        }
    }
    for (uint32_t i = 0; i < a->nat; i++) {
        if (a->asked[a->at[i]].verdict == RT_UNDECIDED) {
            a->asked[a->at[i]].verdict = RT_DENIED;
        }
    }
}

void rt_ask_apply(const struct rt_ask *a)
{
    for (uint32_t i = 0; i < a->count && !a->only_generated; i++) {
        const struct rt_rls_row *row = &a->job->rows[a->asked[i].row];
        struct rt_matches *m = row->matches;
        bool beside = a->asked[i].old && row->change->kind != PR_K_DELETE;

        for (uint32_t k = a->asked[i].match;
             a->asked[i].verdict != RT_VISIBLE && k < m->count && m->items[k].group == a->group;
             k++) {
            if (beside) {
                m->items[k].old_hidden = true;
            } else {
                m->items[k].failed = m->items[k].visible && a->asked[i].failed;
                m->items[k].visible = false;
            }
        }
    }
}

static struct rt_ask *ask_of(struct rt_job *j, struct rt_group *g, const struct rt_relation *rel)
{
    uint32_t first = (uint32_t)(uintptr_t)g->user; /* index + 1 of the group's newest ask */

    for (uint32_t i = first; i != 0; i = j->asks[i - 1].next) {
        if (j->asks[i - 1].rel == rel) {
            return &j->asks[i - 1];
        }
    }
    if (j->nasks == j->asks_cap) {
        j->asks_cap = j->asks_cap == 0 ? 16 : j->asks_cap * 2;
        j->asks = rt_realloc(j->asks, j->asks_cap * sizeof *j->asks);
    }
    j->asks[j->nasks] =
        (struct rt_ask){.job = j, .next = first, .group = g, .rel = rel, .only_generated = true};
    j->nasks++;
    g->user = (void *)(uintptr_t)j->nasks;
    return &j->asks[j->nasks - 1];
}

static void add_row(struct rt_ask *a, uint32_t row, uint32_t match, bool old)
{
    for (uint32_t i = a->count; i > 0 && a->asked[i - 1].row == row; i--) {
        if (a->asked[i - 1].old == old) {
            return; /* more matches of the same group */
        }
    }
    if (a->count == a->cap) {
        a->cap = a->cap == 0 ? 8 : a->cap * 2;
        a->asked = rt_realloc(a->asked, a->cap * sizeof *a->asked);
    }
    a->asked[a->count++] = (struct rt_asked){.row = row, .match = match, .old = old};
}

static bool has_generated(const struct rt_relation *rel)
{
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].generated) {
            return true;
        }
    }
    return false;
}

/* Marks the generated columns that a role can read; false if others read them already. */
static bool reads_more(const struct rt_relation *rel, struct pr_slice role, bool *read)
{
    const struct rt_rights *rights = rt_relation_rights(rel, role);
    bool more = false;

    for (uint32_t i = 0; rights != NULL && rights->selects_table && i < rel->ncolumns; i++) {
        if (rel->columns[i].generated && !read[i]) {
            read[i] = true;
            more = true;
        }
    }
    return more;
}

/* A value of a row is the same for all: one role that may read it is enough. */
static void gather_row(struct rt_job *j, uint32_t i)
{
    const struct rt_change *c = j->rows[i].change;
    const struct rt_matches *all = j->rows[i].matches;
    bool generated = c->kind != PR_K_DELETE && has_generated(c->rel);
    bool *read = generated ? rt_calloc(c->rel->ncolumns, sizeof *read) : NULL;

    for (uint32_t k = 0; k < all->count; k++) {
        const struct rt_match *m = &all->items[k];
        bool judged = m->visible && rt_match_needs_rls(c, m);

        if (judged || (m->visible && generated && m->error == RT_MATCH_OK &&
                       reads_more(c->rel, m->group->role, read))) {
            struct rt_ask *a = ask_of(j, m->group, c->rel);

            a->only_generated = a->only_generated && !judged;
            add_row(a, i, k, c->kind == PR_K_DELETE);
        }
        if (m->visible && rt_match_old_needs_rls(c, m)) {
            struct rt_ask *a = ask_of(j, m->group, c->rel);

            a->only_generated = false;
            add_row(a, i, k, true);
        }
    }
    rt_free(read);
}

void rt_job_gather(struct rt_job *j)
{
    for (uint32_t i = 0; i < j->nrows; i++) {
        gather_row(j, i);
        j->later[i] = j->rows[i].again;
        for (uint32_t k = i + 1; k < j->nrows && !j->later[i]; k++) {
            j->later[i] = rt_same_key(j->rows[i].change, j->rows[k].change);
        }
    }
}

bool rt_rls_needed(const struct rt_rls_row *rows, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < rows[i].matches->count; k++) {
            const struct rt_match *m = &rows[i].matches->items[k];

            if (m->visible && (rt_match_needs_rls(rows[i].change, m) ||
                               rt_match_old_needs_rls(rows[i].change, m))) {
                return true;
            }
        }
        if (rows[i].change->kind != PR_K_DELETE && has_generated(rows[i].change->rel)) {
            return true;
        }
    }
    return false;
}
