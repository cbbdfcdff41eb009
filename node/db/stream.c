/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream.c - the slot: one persistent logical slot, read by pgoutput, confirmed only as far as
 * every edge has taken the changes. Where reading starts is the server's to know: nothing is on
 * disk here. Source: Postgres documentation, "Streaming Replication Protocol", "Logical Decoding".
 */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/db/stream_in.h"

#define RETRY_FIRST_MS 100u
#define RETRY_MAX_MS   5000u
/* A status each second, whether or not data flows: the server frees the slot of a reader that says
 * nothing for 5 s, so a dead one blocks nobody for longer. */
#define FEEDBACK_MS 1000u
/* A timer of FEEDBACK_MS that comes so late says that this process, or its machine, stood still. */
#define STILL_MS 2000u
/* Changes are sent so far ahead of what the edges have acknowledged, and once more: a burst waits
 * in the database then, not with them. Enough for 40 MB/s at 100 ms between two nodes. */
#define AHEAD_BYTES ((size_t)2 * 1024 * 1024)
/* Microseconds from 1970 to 2000. */
#define EPOCH_2000_US INT64_C(946684800000000)

static void on_retry(void *ctx)
{
    struct rt_db *d = ctx;

    if (d->stream.state == RT_STREAM_BUSY) {
        rt_stream_take(d);
    } else {
        rt_stream_kick(d);
    }
}

void rt_stream_trouble(struct rt_db *d, const char *text)
{
    struct rt_stream *s = &d->stream;

    if (s->trouble != NULL && strcmp(s->trouble, text) == 0) {
        return;
    }
    rt_free(s->trouble);
    s->trouble = rt_strdup(text);
    rt_db_regs_kick(d);
}

uint64_t rt_stream_retry_ms(struct rt_db *d)
{
    uint64_t ms = RETRY_FIRST_MS;
    uint64_t chance;

    for (uint32_t i = 0; i < d->stream.tries && ms < RETRY_MAX_MS; i++) {
        ms *= 2;
    }
    d->stream.tries++;
    ms = ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
    rt_random(&chance, sizeof chance);
    return ms - ms / 4 + chance % (ms / 2 + 1);
}

/* Forgets the state of a connection; what was not routed is read again. */
void rt_stream_reset(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;

    s->pg = NULL;
    s->in_transaction = false;
    s->sent.count = 0;
    s->idle_lsn = 0;
    s->mark = (struct pr_pos){0};
    s->since_mark_bytes = 0;
    s->routed = (struct pr_pos){0}; /* what was under way comes again: it is not said yet */
    rt_free(s->held);
    s->held = NULL;
    rt_free(s->early);
    s->early = NULL;
    s->life++;
    if (s->state == RT_STREAM_ON) {
        s->down_since_ms = rt_now_ms(d->loop);
    }
    s->state = RT_STREAM_OFF;
    rt_gauge(d->metrics, RT_M_DB_STREAMING, 0);
    rt_batch_reset(d);
    rt_messages_reset(d);
}

void rt_stream_drop(struct rt_db *d)
{
    struct rt_pg *pg = d->stream.pg;

    if (pg != NULL) {
        rt_stream_reset(d);
        rt_pg_close(pg);
    }
}

void rt_stream_stop(struct rt_db *d)
{
    rt_stream_feedback(d);
    rt_stream_drop(d);
    rt_timer_clear(&d->stream.retry);
    d->stream.busy_since_ms = 0;
    if (d->up) { /* else it is trouble of the database, and stays */
        rt_free(d->stream.trouble);
        d->stream.trouble = NULL;
    }
}

void rt_stream_feedback(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;
    /* What was confirmed when we looked may be less than another reader confirmed since, and the
     * server would go back to it: 0 says nothing. */
    uint64_t flush = s->confirmed_lsn != s->found_lsn ? s->confirmed_lsn : 0;
    struct pr_rep_status m = {.write_lsn = s->received_lsn,
                              .flush_lsn = flush,
                              .apply_lsn = flush,
                              .now_us = (int64_t)rt_wall_ms() * 1000 - EPOCH_2000_US};
    uint8_t bytes[64];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    if (s->state != RT_STREAM_ON) {
        return;
    }
    pr_rep_status_encode(&o, &m);
    (void)rt_pg_copy_send(s->pg, pr_bytes(o.p, o.len));
    rt_gauge(d->metrics, RT_M_DB_CONFIRMED, s->confirmed_lsn);
    rt_gauge(d->metrics, RT_M_DB_LAG_BYTES,
             s->received_lsn > s->confirmed_lsn ? s->received_lsn - s->confirmed_lsn : 0);
}

/* Nothing is under way: what a keepalive said is confirmed, or other databases' traffic would pin
 * WAL for ever. */
static void confirm_idle(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;

    if (s->sent.count == 0 && !s->in_transaction && s->held == NULL && rt_batch_idle(d) &&
        s->idle_lsn > s->confirmed_lsn) {
        s->confirmed_lsn = s->idle_lsn;
    }
}

/* Edges that got no body of the last frames are asked by a bare position. */
static void ask_edges(struct rt_db *d)
{
    if (d->stream.sent.count > 0 && d->owner_up) {
        rt_route_begin(d->route, d->stream.id, d->stream.routed);
        rt_route_end(d->route, d->stream.routed);
    }
}

bool rt_stream_may_send(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;

    if (s->since_mark_bytes > AHEAD_BYTES) {
        if (rt_boots_behind(d, s->mark)) {
            return false;
        }
        s->mark = s->routed;
        s->since_mark_bytes = 0;
        ask_edges(d);
    }
    return true;
}

static void set_feedback(struct rt_db *d)
{
    d->stream.feedback_ms = rt_now_ms(d->loop);
    rt_timer_set(&d->stream.feedback, FEEDBACK_MS);
}

static void on_feedback(void *ctx)
{
    struct rt_db *d = ctx;
    uint64_t took = rt_now_ms(d->loop) - d->stream.feedback_ms;

    if (took >= STILL_MS) {
        rt_boots_pause(d, took - FEEDBACK_MS);
    }
    if (d->stream.state == RT_STREAM_ON) {
        confirm_idle(d);
        rt_stream_feedback(d);
        ask_edges(d);
    }
    rt_db_link_sync_check(d);
    rt_boots_check(d);
    rt_messages_check(d);
    set_feedback(d);
}

void rt_stream_acked(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;
    const struct rt_sent *first = NULL;
    uint64_t before = s->confirmed_lsn;

    while ((first = rt_sent_first(&s->sent)) != NULL) {
        s->lacking = rt_boots_lacking(d, first->pos);
        if (s->lacking > 0 || !rt_messages_done(d, first->cast)) {
            break;
        }
        if (first->end_lsn > s->confirmed_lsn) {
            s->confirmed_lsn = first->end_lsn;
        }
        rt_sent_done(&s->sent);
    }
    if (s->confirmed_lsn != before) {
        rt_stream_feedback(d);
    }
}

void rt_stream_acked_by(struct rt_db *d, struct pr_pos before, struct pr_pos now)
{
    struct rt_stream *s = &d->stream;
    const struct rt_sent *first = rt_sent_first(&s->sent);

    if (first != NULL && pr_pos_cmp(before, first->pos) < 0 && pr_pos_cmp(now, first->pos) >= 0) {
        assert(s->lacking > 0);
        s->lacking--;
        if (s->lacking == 0) {
            rt_stream_acked(d);
        }
    }
}

void rt_stream_routed(struct rt_db *d, struct pr_pos last, struct pr_pos cast, uint64_t end_lsn)
{
    struct rt_stream *s = &d->stream;
    struct rt_sent batch = {.pos = last, .cast = cast, .end_lsn = end_lsn};

    rt_boots_owe(d, s->sent.count == 0);
    rt_sent_add(&s->sent, &batch);
    s->routed = last;
    if (s->sent.count == 1) {
        rt_stream_acked(d);
    }
}

static void on_table(void *ctx, struct rt_relation *rel, const char *why)
{
    struct rt_db *d = ctx;

    if (rel == NULL && why != NULL) {
        /* Not gone, but not known either: its rows come again with a new connection. */
        rt_stream_drop(d);
        rt_stream_failed(d, why, "");
    }
}

/*
 * A row. False: its table has to be read from the catalog first; the message is kept and comes
 * again. A table that is gone by now has nobody who may see its rows.
 */
static bool on_row(struct rt_db *d, const struct pr_pgo *m)
{
    struct rt_table *t = rt_tables_of(d, m->u.row.relation);
    enum pr_op_kind kind = m->kind == PR_PGO_INSERT   ? PR_K_INSERT
                           : m->kind == PR_PGO_UPDATE ? PR_K_UPDATE
                                                      : PR_K_DELETE;
    bool concerns = t != NULL && rt_subs_concern(d->subs, pr_str(t->schema), pr_str(t->name));

    if (concerns && (t->fetching || (t->rel == NULL && d->control == NULL))) {
        return false; /* the end of that fetch, or of this stream, goes on */
    }
    if (concerns && t->rel == NULL && !t->gone) {
        rt_tables_fetch(d, t, pr_str(""), on_table, d);
        return false;
    }
    if (concerns && t->rel != NULL) {
        bool fits = rt_tables_fits(t->rel, kind == PR_K_DELETE ? &m->u.row.old : &m->u.row.row);
        bool again = !fits && !t->unfit && d->control != NULL;

        t->unfit = !fits;
        if (again) { /* once: it may be a row of before that */
            rt_tables_fetch(d, t, pr_str(""), on_table, d);
            return false;
        }
    }
    d->stream.seq++;
    if (t != NULL && t->cast.known && d->stream.casts && kind == PR_K_INSERT) {
        rt_messages_row(d, &t->cast, &m->u.row.row);
    }
    if (concerns && t->rel != NULL) {
        rt_batch_add(d, t->rel, kind, &m->u.row);
    }
    return true;
}

/* What cannot be read must not be confirmed: it comes again, and clients are told if it stays so.
 */
static void damaged(struct rt_db *d, const char *what)
{
    rt_stream_drop(d);
    rt_stream_failed(d, what, "");
}

/* One pgoutput message. False: not taken yet, see on_row. */
static bool on_message(struct rt_db *d, struct pr_slice data)
{
    struct rt_stream *s = &d->stream;
    struct pr_pgo m;
    int rv = pr_pgo_decode(data, &m);

    if (rv != PR_OK) {
        damaged(d, "a pgoutput message is damaged");
        return true;
    }
    switch (m.kind) {
    case PR_PGO_BEGIN:
        s->commit_lsn = m.u.begin.final_lsn;
        s->commit_us = m.u.begin.commit_us;
        s->xid = m.u.begin.xid;
        s->seq = 0;
        s->in_transaction = true;
        rt_count(d->metrics, RT_M_DB_TRANSACTIONS, 1);
        break;
    case PR_PGO_COMMIT:
        s->in_transaction = false;
        s->commit_end = m.u.commit.end_lsn;
        rt_batch_commit(d);
        break;
    case PR_PGO_RELATION:
        rt_tables_relation(d, &m.u.relation);
        break;
    case PR_PGO_INSERT:
    case PR_PGO_UPDATE:
    case PR_PGO_DELETE:
        return on_row(d, &m);
    case PR_PGO_ORIGIN:
    case PR_PGO_TYPE:
    case PR_PGO_TRUNCATE:
    case PR_PGO_MESSAGE:
        break;
    }
    return true;
}

/* A full batch goes to work at once; is there room for more rows? */
static bool room(struct rt_db *d)
{
    if (rt_batch_full(d)) {
        rt_batch_work(d);
    }
    return !rt_batch_full(d);
}

bool rt_stream_on_copy(void *ctx, struct rt_pg *pg, struct pr_slice data)
{
    struct rt_db *d = ctx;
    struct rt_stream *s = &d->stream;
    struct pr_rep m;

    (void)pg;
    if (s->state != RT_STREAM_ON) { /* edges drop what comes before the term */
        s->early = rt_malloc(data.n);
        s->early_len = data.n;
        memcpy(s->early, data.p, data.n);
        return false;
    }
    if (pr_rep_decode(data, &m) != PR_OK) {
        damaged(d, "a message of the walsender is damaged");
        return true;
    }
    if (m.end_lsn > s->received_lsn) {
        s->received_lsn = m.end_lsn;
    }
    if (m.kind == PR_REP_KEEPALIVE) {
        s->idle_lsn = m.end_lsn;
        confirm_idle(d);
        if (m.reply) {
            rt_stream_feedback(d);
        }
        return true;
    }
    if (!on_message(d, m.data)) {
        s->held = rt_malloc(m.data.n);
        s->held_len = m.data.n;
        memcpy(s->held, m.data.p, m.data.n);
        return false;
    }
    return room(d);
}

void rt_stream_on_copy_idle(void *ctx, struct rt_pg *pg)
{
    struct rt_db *d = ctx;

    (void)pg;
    /* Inside a transaction its end is on the way; with it rows are known to be the last of their
     * key. */
    if (!d->stream.in_transaction) {
        rt_batch_work(d);
    }
}

void rt_stream_begin(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;
    struct rt_pg *pg = s->pg;
    uint8_t *early = s->early;
    bool more;

    s->state = RT_STREAM_ON;
    rt_stream_feedback(d);
    if (early == NULL) {
        return; /* nothing has come yet */
    }
    s->early = NULL;
    more = rt_stream_on_copy(d, pg, pr_bytes(early, s->early_len));
    rt_free(early);
    if (more && s->pg == pg) {
        rt_pg_copy_more(pg);
    }
}

void rt_stream_more(struct rt_db *d)
{
    struct rt_stream *s = &d->stream;

    if (s->held != NULL) {
        uint8_t *held = s->held;
        bool taken;

        s->held = NULL;
        taken = on_message(d, pr_bytes(held, s->held_len));
        if (!taken) {
            s->held = held;
            return;
        }
        rt_free(held);
    }
    if (s->state == RT_STREAM_ON && room(d)) {
        rt_pg_copy_more(s->pg);
    }
}

void rt_stream_init(struct rt_db *d)
{
    rt_timer_init(d->loop, &d->stream.retry, on_retry, d);
    rt_timer_init(d->loop, &d->stream.feedback, on_feedback, d);
    set_feedback(d);
}

void rt_stream_free(struct rt_db *d)
{
    rt_stream_drop(d);
    rt_timer_close(&d->stream.retry, NULL);
    rt_timer_close(&d->stream.feedback, NULL);
    rt_messages_free(d);
    rt_free(d->stream.trouble);
}
