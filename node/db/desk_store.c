/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/db/desk_in.h"

#define TEXT_MAX    256u /* of a message that goes to the edge */
#define FRAME_SMALL 64u
#define NUMBER_MAX  24u

static void send_answer(struct rt_desk *k, const struct pr_store *m)
{
    uint8_t bytes[TEXT_MAX + FRAME_SMALL];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_store_encode(&o, m);
    if (pr_out_ok(&o)) {
        rt_db_link_send(k->d, pr_bytes(o.p, o.len));
    }
}

/* Answers and frees. */
static void finish(struct rt_desk *k, struct ask *a, struct pr_store m)
{
    m.boot = a->boot;
    m.id = a->id;
    m.text.n = m.text.n < TEXT_MAX ? m.text.n : TEXT_MAX;
    send_answer(k, &m);
    rt_ask_free(a);
}

static void finish_as(struct rt_desk *k, struct ask *a, enum pr_rights_status status)
{
    finish(k, a, (struct pr_store){.status = status});
}

/* Any other check is one that somebody has put on the table; 0004_authorize.sql tells them apart
 * so, too. */
static bool lacks_partition(const char *state, const PGresult *res)
{
    return strcmp(state, "23514") == 0 &&
           strstr(rt_pg_message(res), "no partition of relation") != NULL;
}

static void on_error(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    const char *state = rt_pg_sqlstate(res);
    bool partition = lacks_partition(state, res);
    struct pr_store m = {.status = PR_RIGHTS_DOWN, .text = pr_str(rt_pg_message(res))};

    if (partition && rt_desk_mend(k, a)) {
        return;
    }
    if (strcmp(state, "57014") == 0) {
        m.status = PR_RIGHTS_CANCELED;
    } else if (partition) {
        m.status = PR_RIGHTS_PARTITION;
    } else if (strcmp(state, "25006") == 0) {
        m.status = PR_RIGHTS_READ_ONLY;
    } else if (strcmp(state, "DF002") == 0) { /* no such role: nothing is allowed to it */
        m.status = PR_RIGHTS_DONE;
        m.text = pr_str("");
    } else if (strncmp(state, "22", 2) == 0 || strncmp(state, "23", 2) == 0) {
        /* a value that Postgres, or a constraint of the table, does not take */
        m.status = PR_RIGHTS_DONE;
    }
    rt_desk_log(k, "UnableToStoreMessage", a, rt_pg_message(res));
    finish(k, a, m);
}

static void on_stored(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    struct pr_store m = {.status = PR_RIGHTS_DONE};

    if (PQresultStatus(res) != PGRES_TUPLES_OK || PQntuples(res) != 1) {
        on_error(k, a, res);
        return;
    }
    m.stored = PQgetvalue(res, 0, 0)[0] == 't';
    rt_count(k->d->metrics, RT_M_DB_STORED, m.stored ? 1 : 0);
    if (!PQgetisnull(res, 0, 1)) {
        rt_desk_log(k, "RlsPolicyError", a, PQgetvalue(res, 0, 1));
    }
    finish(k, a, m);
}

static const struct ask_kind store = {
    .sql = "select stored, error from realtime.datafuse_store(" RT_ASK_ROLE
           ", $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    .nparams = RT_ASK_PARAMS,
    .answer = on_stored,
    .fail = finish_as};

/* "\\x0a1b", as bytea is written. */
static char *hex(struct pr_slice bytes)
{
    static const char digits[] = "0123456789abcdef";
    char *text = rt_malloc(2 * bytes.n + 3);

    memcpy(text, "\\x", 2);
    for (size_t i = 0; i < bytes.n; i++) {
        text[2 + 2 * i] = digits[bytes.p[i] >> 4];
        text[3 + 2 * i] = digits[bytes.p[i] & 15];
    }
    text[2 + 2 * bytes.n] = '\0';
    return text;
}

void rt_desk_store(struct rt_db *d, const struct pr_store_ask *m)
{
    struct rt_desk *k = d->desk;
    struct pr_store no = {.boot = m->boot, .id = m->id, .status = PR_RIGHTS_DONE};
    const struct pr_slice texts[] = {m->role,    m->topic,   m->claims, m->sub,
                                     m->headers, m->message, m->event};
    const size_t ntexts = sizeof texts / sizeof texts[0];
    struct ask *a = NULL;
    char ttl[NUMBER_MAX];

    if (d->cfg->database_url == NULL) {
        no.status = PR_RIGHTS_DOWN;
    } else if (rt_desk_full(k)) {
        no.status = PR_RIGHTS_BUSY;
    }
    for (size_t i = 0; i < ntexts; i++) {
        if (no.status != PR_RIGHTS_DONE || rt_desk_has_nul(texts[i])) {
            send_answer(k, &no);
            return;
        }
    }
    a = rt_calloc(1, sizeof *a);
    a->kind = &store;
    a->boot = m->boot;
    a->id = m->id;
    for (size_t i = 0; i < ntexts; i++) {
        a->param[i] = rt_strndup(texts[i].p, texts[i].n);
    }
    if (m->binary) {
        a->param[ntexts + 1] = hex(m->payload);
    } else {
        a->param[ntexts] = rt_strndup(m->payload.p, m->payload.n);
    }
    if (m->ttl_s > 0) {
        (void)snprintf(ttl, sizeof ttl, "%" PRIu32, m->ttl_s);
        a->param[ntexts + 2] = rt_strdup(ttl);
    }
    rt_desk_add(k, a);
}
