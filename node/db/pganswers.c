/* SPDX-License-Identifier: Apache-2.0 */
/* pganswers.c - what a connection answers: pipelined results, results of a text, the stream. */
#include <assert.h>
#include <string.h>

#include "node/db/pgconn_in.h"

/* CopyData handed out per turn: heartbeats and the owner's frames get their turn between. */
#define COPIES_PER_TURN 512u

void rt_pg_pop(struct rt_pg *pg)
{
    struct rt_pg_wait *w = pg->head;

    pg->head = w->next;
    if (pg->head == NULL) {
        pg->tail = NULL;
    }
    rt_free(w->sql);
    rt_free(w);
}

/*
 * Each statement gives exactly one result, each sync one of its own. NULL between them says nothing
 * more, and libpq leaves it out when a statement is sent from inside an answer: it is not counted
 * on.
 */
void rt_pg_pipeline_answers(struct rt_pg *pg)
{
    uint32_t nulls = 0;

    while (pg->state == RT_PG_UP && pg->head != NULL && nulls < 2 && !PQisBusy(pg->conn)) {
        struct rt_pg_wait w = *pg->head;
        PGresult *res = PQgetResult(pg->conn);

        if (res == NULL) {
            nulls++; /* twice in a row: there is nothing more */
            continue;
        }
        nulls = 0;
        if (w.sync != (PQresultStatus(res) == PGRES_PIPELINE_SYNC)) {
            /* The server's last word, said between two statements. */
            rt_pg_down(pg, rt_pg_message(res), rt_pg_sqlstate(res));
            PQclear(res);
            return;
        }
        rt_pg_pop(pg);
        if (w.fn != NULL) {
            w.fn(w.ctx, res);
        }
        PQclear(res);
    }
}

bool rt_pg_is_end(const PGresult *res)
{
    const char *severity;

    if (res == NULL || PQresultStatus(res) == PGRES_BAD_RESPONSE) {
        return true;
    }
    if (PQresultStatus(res) != PGRES_FATAL_ERROR) {
        return false;
    }
    severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    return severity == NULL || strcmp(severity, "ERROR") != 0;
}

uint64_t rt_pg_number(const char *text)
{
    uint64_t v = 0;

    for (; *text >= '0' && *text <= '9'; text++) {
        v = v * 10 + (uint64_t)(*text - '0');
    }
    return v;
}

static bool is_error(const PGresult *res)
{
    ExecStatusType s = PQresultStatus(res);

    return s == PGRES_FATAL_ERROR || s == PGRES_BAD_RESPONSE;
}

/* Gives the answer to the running text. */
static void answer_text(struct rt_pg *pg, PGresult *res)
{
    struct rt_pg_wait w = *pg->head;

    pg->last = NULL;
    rt_pg_pop(pg);
    w.fn(w.ctx, res);
    PQclear(res);
    if (pg->state == RT_PG_UP) {
        rt_pg_send_next(pg);
    }
}

void rt_pg_text_answers(struct rt_pg *pg)
{
    while (pg->state == RT_PG_UP && pg->head != NULL && pg->head->sql == NULL &&
           !PQisBusy(pg->conn)) {
        PGresult *res = PQgetResult(pg->conn);

        if (res == NULL) {
            answer_text(pg, pg->last);
        } else if (PQresultStatus(res) == PGRES_COPY_BOTH) {
            PQclear(pg->last);
            answer_text(pg, res);
            return;
        } else if (pg->last == NULL || !is_error(pg->last)) {
            PQclear(pg->last);
            pg->last = res;
        } else {
            PQclear(res);
        }
    }
}

void rt_pg_copies(struct rt_pg *pg)
{
    uint32_t count = 0;

    while (pg->state == RT_PG_COPYING && !pg->paused) {
        char *data = NULL;
        int n;

        if (count++ == COPIES_PER_TURN) {
            rt_timer_set(&pg->timer, 0); /* the rest in the next turn, after other events */
            return;
        }
        n = PQgetCopyData(pg->conn, &data, 1);
        if (n > 0) {
            pg->paused = !pg->ev->on_copy(pg->ctx, pg, pr_bytes(data, (size_t)n));
            PQfreemem(data);
        } else if (n == 0) {
            if (pg->ev->on_copy_idle != NULL) {
                pg->ev->on_copy_idle(pg->ctx, pg);
            }
            return;
        } else {
            PGresult *res = n == -1 ? PQgetResult(pg->conn) : NULL;

            if (res != NULL && is_error(res)) {
                rt_pg_down(pg, rt_pg_message(res), rt_pg_sqlstate(res));
            } else {
                rt_pg_lost(pg);
            }
            PQclear(res);
        }
    }
}
