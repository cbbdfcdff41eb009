/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "node/db/desk_in.h"
#include "node/db/messages.h"
#include "proto/phoenix.h"

/* A frame beside its rows, and a row beside its text. */
#define FRAME_SMALL 64u
#define ROW_SMALL   256u
#define NUMBER_MAX  24u

static void send_answer(struct rt_desk *k, const struct pr_replay *m)
{
    size_t cap = m->rows.n + FRAME_SMALL;
    struct pr_outbuf o = pr_outbuf(rt_malloc(cap), cap);

    pr_replay_encode(&o, m);
    if (pr_out_ok(&o)) {
        rt_db_link_send(k->d, pr_bytes(o.p, o.len));
    }
    rt_free(o.p);
}

static void finish(struct rt_desk *k, struct ask *a, enum pr_rights_status status,
                   struct pr_slice rows)
{
    struct pr_replay m = {.boot = a->boot, .id = a->id, .status = status, .rows = rows};

    send_answer(k, &m);
    rt_ask_free(a);
}

static void finish_as(struct rt_desk *k, struct ask *a, enum pr_rights_status status)
{
    finish(k, a, status, pr_str(""));
}

static struct pr_slice value(const PGresult *res, int row, int column)
{
    if (PQgetisnull(res, row, column)) {
        return pr_bytes(NULL, 0);
    }
    return pr_bytes(PQgetvalue(res, row, column), (size_t)PQgetlength(res, row, column));
}

/* Appends one row; what cannot be a broadcast is left out, as in the stream. */
static void put_row(struct rt_desk *k, const struct ask *a, const PGresult *res, int i,
                    struct pr_outbuf *rows)
{
    const struct pr_cast at = {0};
    struct rt_message_row row = {.replayed = true};
    struct pr_outbuf key = pr_outbuf(NULL, 0), body = pr_outbuf(NULL, 0);
    size_t payload_max = (size_t)k->d->cfg->max_payload_kb * 1000;
    const char *why = NULL;
    size_t cap = ROW_SMALL;

    row.column[RT_MESSAGE_TOPIC] = pr_str(a->param[0]);
    row.column[RT_MESSAGE_PRIVATE] = pr_str("t");
    row.column[RT_MESSAGE_EVENT] = value(res, i, 0);
    row.column[RT_MESSAGE_PAYLOAD] = value(res, i, 1);
    row.column[RT_MESSAGE_BINARY] = value(res, i, 2);
    row.column[RT_MESSAGE_ID] = value(res, i, 3);
    row.column[RT_MESSAGE_INSERTED_AT] = value(res, i, 4);
    for (int column = 0; column < 3; column++) {
        cap += (size_t)PQgetlength(res, i, column);
    }
    body = pr_outbuf(rt_malloc(cap), cap);
    why = rt_message_make(&row, &at, k->d->cfg->project, payload_max, &key, &body);
    if (why == NULL) {
        assert(pr_out_ok(&body));
        pr_replay_put_row(rows, pr_bytes(body.p, body.len));
    } else {
        rt_log(k->d->log, RT_WARN, "message_not_replayed",
               rt_kv_s("code", "UnableToReplayMessages"), rt_kv_b("id", row.column[RT_MESSAGE_ID]),
               rt_kv_s("err", why));
    }
    rt_free(body.p);
}

static void give_rows(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    size_t cap = (size_t)PQntuples(res) * ROW_SMALL;
    struct pr_outbuf rows;

    for (int i = 0; i < PQntuples(res); i++) {
        for (int column = 0; column < 3; column++) {
            cap += (size_t)PQgetlength(res, i, column);
        }
    }
    rows = pr_outbuf(rt_malloc(cap + 1), cap + 1);
    for (int i = 0; i < PQntuples(res); i++) {
        put_row(k, a, res, i, &rows);
    }
    finish(k, a, pr_out_ok(&rows) ? PR_RIGHTS_DONE : PR_RIGHTS_DOWN, pr_bytes(rows.p, rows.len));
    rt_free(rows.p);
}

static void on_rows(struct rt_desk *k, struct ask *a, const PGresult *res)
{
    if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) <= (int)PR_REPLAY_ROWS) {
        give_rows(k, a, res);
        return;
    }
    rt_log(k->d->log, RT_WARN, "replay_failed", rt_kv_s("code", "UnableToReplayMessages"),
           rt_kv_s("topic", a->param[0]), rt_kv_s("sqlstate", rt_pg_sqlstate(res)),
           rt_kv_s("err", rt_pg_message(res)));
    finish_as(k, a,
              strcmp(rt_pg_sqlstate(res), "57014") == 0 ? PR_RIGHTS_CANCELED : PR_RIGHTS_DOWN);
}

static const struct ask_kind replay = {
    .sql = "select event, payload, binary_payload, id, inserted_at"
           " from realtime.datafuse_replay($1, $2, $3, $4, $5)",
    .before = "select pg_catalog.set_config('statement_timeout', '5s', true)",
    .nparams = 5,
    .answer = on_rows,
    .fail = finish_as};

static char *number(uint64_t n)
{
    char text[NUMBER_MAX];

    (void)snprintf(text, sizeof text, "%" PRIu64, n);
    return rt_strdup(text);
}

void rt_desk_replay(struct rt_db *d, const struct pr_replay_ask *m)
{
    struct rt_desk *k = d->desk;
    struct pr_replay no = {.boot = m->boot, .id = m->id, .status = PR_RIGHTS_DONE};
    uint64_t half = d->cfg->max_queue_bytes / 2; /* of what the client's queue takes */
    struct ask *a = NULL;

    if (d->cfg->database_url == NULL) {
        no.status = PR_RIGHTS_DOWN;
    } else if (rt_desk_full(k)) {
        no.status = PR_RIGHTS_BUSY;
    }
    if (no.status != PR_RIGHTS_DONE || rt_desk_has_nul(m->topic)) {
        send_answer(k, &no);
        return;
    }
    a = rt_calloc(1, sizeof *a);
    a->kind = &replay;
    a->boot = m->boot;
    a->id = m->id;
    a->param[0] = rt_strndup(m->topic.p, m->topic.n);
    a->param[1] = number(m->since_ms);
    a->param[2] = number(m->limit);
    a->param[3] = number(half < PR_REPLAY_BYTES ? half : PR_REPLAY_BYTES);
    a->param[4] = number((uint64_t)d->cfg->max_payload_kb * 1000 + PR_PHX_EVENT_MAX);
    rt_desk_add(k, a);
}
