/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "node/db/desk_in.h"

#define LOG_MS   60000u /* one line a minute about policies that fail */
#define TEXT_MAX 256u   /* of a message that goes to the edge */

static const char fingerprint[] =
    "select md5(concat(c.relrowsecurity, c.relacl, (select string_agg(concat_ws(' ', p.polname,"
    " p.polcmd, p.polpermissive, p.polroles, pg_get_expr(p.polqual, p.polrelid),"
    " pg_get_expr(p.polwithcheck, p.polrelid)), ';' order by p.oid)"
    " from pg_policy p where p.polrelid = c.oid)))"
    " from pg_class c join pg_namespace n on n.oid = c.relnamespace"
    " where n.nspname = 'realtime' and c.relname = 'messages'";

static void send_answer(struct rt_desk *k, struct pr_rights m)
{
    uint8_t bytes[TEXT_MAX + RT_PROJECT_NAME_MAX + 128];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    m.project = pr_str(k->d->cfg->project);
    pr_rights_encode(&o, &m);
    if (pr_out_ok(&o)) {
        rt_db_link_send(k->d, pr_bytes(o.p, o.len));
    }
}

/* Answers and frees. */
static void finish(struct rt_desk *k, struct ask *a, const struct pr_rights *verdict)
{
    struct pr_rights m = *verdict;

    m.boot = a->boot;
    m.id = a->id;
    m.text.n = m.text.n < TEXT_MAX ? m.text.n : TEXT_MAX;
    send_answer(k, m);
    rt_ask_free(a);
}

static void finish_as(struct rt_desk *k, struct ask *a, enum pr_rights_status status)
{
    struct pr_rights m = {.status = status};

    finish(k, a, &m);
}

void rt_desk_log(struct rt_desk *k, const char *code, const struct ask *a, const char *why)
{
    uint64_t now = rt_now_ms(k->d->loop);

    if (k->logged_ms == 0 || now - k->logged_ms >= LOG_MS) {
        k->logged_ms = now;
        rt_log(k->d->log, RT_WARN, "policies_not_decided", rt_kv_s("code", code),
               rt_kv_s("topic", a->param[1]), rt_kv_s("role", a->param[0]), rt_kv_s("err", why));
    }
}

static uint32_t ext_of(const char *name)
{
    if (strcmp(name, "broadcast") == 0) {
        return PR_EXT_BROADCAST;
    }
    return strcmp(name, "presence") == 0 ? PR_EXT_PRESENCE : 0;
}

static void read_verdict(struct rt_desk *k, const struct ask *a, const PGresult *res,
                         struct pr_rights *m)
{
    for (int i = 0; i < PQntuples(res); i++) {
        uint32_t ext = ext_of(PQgetvalue(res, i, 0));

        m->read |= PQgetvalue(res, i, 1)[0] == 't' ? ext & a->read : 0;
        m->write |= PQgetvalue(res, i, 2)[0] == 't' ? ext & a->write : 0;
        if (!PQgetisnull(res, i, 3)) {
            m->raised |= ext;
            rt_desk_log(k, "RlsPolicyError", a, PQgetvalue(res, i, 3));
        }
    }
}

bool rt_desk_mend(struct rt_desk *k, struct ask *a)
{
    if (a->again) {
        return false;
    }
    a->again = true;
    k->janitor = rt_db_janitor(k->d);
    if (k->janitor) {
        rt_desk_put_first(k, a);
    }
    return k->janitor;
}

static void on_error(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    const char *state = rt_pg_sqlstate(res);
    struct pr_rights m = {.status = PR_RIGHTS_DOWN};

    if (strcmp(state, "57014") == 0) {
        m.status = PR_RIGHTS_CANCELED;
        rt_desk_log(k, "QueryCanceled", a, rt_pg_message(res));
    } else if (strcmp(state, "DF002") == 0) { /* no such role: nothing is allowed to it */
        m.status = PR_RIGHTS_DONE;
        rt_desk_log(k, "Unauthorized", a, rt_pg_message(res));
    } else if (strcmp(state, "23514") == 0) {
        if (rt_desk_mend(k, a)) {
            return;
        }
        m.status = PR_RIGHTS_PARTITION;
        rt_desk_log(k, "MissingPartition", a, rt_pg_message(res));
    } else if (strcmp(state, "25006") == 0) {
        m.status = PR_RIGHTS_READ_ONLY;
        m.text = pr_str(rt_pg_message(res));
    } else {
        rt_desk_log(k, "UnableToSetPolicies", a, rt_pg_message(res));
    }
    finish(k, a, &m);
}

static void on_rights(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    struct pr_rights m = {.status = PR_RIGHTS_DONE};

    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        read_verdict(k, a, res, &m);
        finish(k, a, &m);
    } else {
        on_error(k, a, res);
    }
}

static const struct ask_kind rights = {
    .sql =
        "select extension, can_read, can_write, error from realtime.datafuse_authorize(" RT_ASK_ROLE
        ", $2, $3, $4, $5, $6::text[], $7::text[])",
    .nparams = 7,
    .answer = on_rights,
    .fail = finish_as};

static char *exts(uint32_t bits)
{
    static const char *const text[] = {"{}", "{broadcast}", "{presence}", "{broadcast,presence}"};

    return rt_strdup(text[bits & PR_EXT_ALL]);
}

bool rt_desk_has_nul(struct pr_slice s)
{
    return s.n > 0 && memchr(s.p, 0, s.n) != NULL;
}

void rt_desk_ask(struct rt_db *d, const struct pr_rights_ask *m)
{
    struct rt_desk *k = d->desk;
    struct pr_rights no = {.boot = m->boot, .id = m->id, .status = PR_RIGHTS_DONE};
    struct pr_slice texts[] = {m->role, m->topic, m->claims, m->sub, m->headers};
    struct ask *a = NULL;

    if (d->cfg->database_url == NULL) {
        no.status = PR_RIGHTS_DOWN;
    } else if (rt_desk_full(k)) {
        no.status = PR_RIGHTS_BUSY;
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (no.status != PR_RIGHTS_DONE || rt_desk_has_nul(texts[i])) {
            send_answer(k, no);
            return;
        }
    }
    a = rt_calloc(1, sizeof *a);
    a->kind = &rights;
    a->boot = m->boot;
    a->id = m->id;
    a->read = m->read & PR_EXT_ALL;
    a->write = m->write & PR_EXT_ALL;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        a->param[i] = rt_strndup(texts[i].p, texts[i].n);
    }
    a->param[5] = exts(a->read);
    a->param[6] = exts(a->write);
    rt_desk_add(k, a);
}

void rt_desk_unheard(struct rt_db *d)
{
    d->desk->policies[0] = '\0';
}

void rt_desk_changed(struct rt_db *d)
{
    send_answer(d->desk, (struct pr_rights){.status = PR_RIGHTS_CHANGED});
    if (!d->owner_up) { /* edges may attach to the next one before this process does */
        rt_desk_unheard(d);
    }
}

static void on_fingerprint(void *ctx, const PGresult *res)
{
    struct rt_db *d = ctx;
    struct rt_desk *k = d->desk;
    const char *now = NULL;

    if (res == NULL || PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        return;
    }
    now = PQgetvalue(res, 0, 0);
    if (strcmp(k->policies, now) != 0) {
        /* The edges are told also the first time: they may have changed while this process did not
         * live. */
        if (k->policies[0] != '\0') {
            rt_log(d->log, RT_INFO, "policies_changed", rt_kv_s("before", k->policies));
        }
        (void)snprintf(k->policies, sizeof k->policies, "%s", now);
        rt_desk_changed(d);
    }
}

/* Edges ask again what they know every REALTIME_AUTH_RECHECK seconds, and may answer themselves for
 * REALTIME_AUTH_CACHE_MS: after twice the one and the other nobody knows anything. */
static bool wanted(const struct rt_db *d)
{
    uint64_t recheck_ms = (uint64_t)d->cfg->auth_recheck_s * 1000;

    return recheck_ms == 0 ||
           rt_now_ms(d->loop) - d->desk->wanted_ms < 2 * recheck_ms + d->cfg->auth_cache_ms;
}

void rt_desk_look(struct rt_db *d)
{
    if (!wanted(d)) {
        return;
    }
    rt_pg_query(d->control, fingerprint, 0, NULL, on_fingerprint, d);
    rt_pg_sync(d->control);
    rt_plans_ask(d);
}
