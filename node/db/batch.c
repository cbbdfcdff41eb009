/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c - rows gathered, judged (sift.h, then rls.h), completed (tojson.h) and routed.
 *
 * Two batches at most: one that is judged, one that gathers meanwhile. Rows are taken while there
 * is room; then the stream is not read, and TCP holds the server. An idle system has batches of one
 * row, a busy one fills them by itself.
 */
#include <assert.h>
#include <string.h>

#include "node/db/db_in.h"
#include "node/db/rls_in.h"
#include "node/db/policy.h"
#include "node/db/sift.h"
#include "node/db/tojson.h"

#define ROWS_MAX  256u
#define BYTES_MAX ((size_t)1024 * 1024)
/* Frames waiting for the owner: past it nothing is routed until they are gone. */
#define OWNER_QUEUE_MAX ((size_t)8 * 1024 * 1024)
/* How soon to look again whether the owner has taken its frames. */
#define OWNER_WAIT_MS 5u

/* Memory of a gathered row: its values, and the texts behind them. */
struct row {
    struct rt_change change;
    struct rt_relation *rel; /* a reference */
    struct rt_matches matches;
    struct rt_value *values; /* row, then old */
    bool again;              /* changed once more by a row that was not kept */
};

/* A broadcast, as a frame. */
struct cast {
    uint8_t *frame;
    size_t len;
    struct pr_pos pos;
    uint32_t before; /* rows that stand before it */
};

struct gathered {
    struct row rows[ROWS_MAX];
    uint32_t count;
    struct cast casts[ROWS_MAX];
    uint32_t ncasts;
    size_t bytes;
    struct pr_pos last;  /* of the last row that was seen, concerned or not */
    uint64_t commit_end; /* of the last transaction that is whole in it or before it */
    uint32_t open_xid;   /* transaction whose end is not in it */
};

struct rt_batch {
    struct gathered *now;  /* gathers */
    struct gathered *work; /* is judged or waits for the owner; NULL: none */
    struct rt_rls_row judged[ROWS_MAX];
    struct rt_sift *sift;
    struct rt_tojson *tojson;
    bool asks; /* the sieves and policies, about `work` */
    struct rt_timer wait;
};

static struct gathered *gathered_new(void)
{
    return rt_calloc(1, sizeof(struct gathered));
}

static void gathered_clear(struct gathered *g)
{
    for (uint32_t i = 0; i < g->count; i++) {
        rt_matches_free(&g->rows[i].matches);
        rt_rel_unref(g->rows[i].rel);
        rt_free(g->rows[i].values);
    }
    for (uint32_t i = 0; i < g->ncasts; i++) {
        rt_free(g->casts[i].frame);
    }
    memset(g, 0, sizeof *g);
}

static void gathered_free(struct gathered *g)
{
    if (g != NULL) {
        gathered_clear(g);
        rt_free(g);
    }
}

/* Bytes of a tuple's texts that are held. */
static size_t text_bytes(const struct pr_pgo_tuple *t)
{
    struct pr_slice list = t->values;
    struct pr_pgo_value v;
    size_t n = 0;

    while (pr_pgo_values_next(&list, &v) == 1) {
        n += v.kind == PR_PGO_TEXT && v.text.n <= RT_VALUE_MAX ? v.text.n : 0;
    }
    return n;
}

/* Puts a tuple at the columns it belongs to: generated ones are not in the stream. */
static uint8_t *fill(struct rt_value *to, const struct rt_relation *rel,
                     const struct pr_pgo_tuple *t, uint8_t *text)
{
    struct pr_slice list = t->values;
    struct pr_pgo_value v;

    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].generated || pr_pgo_values_next(&list, &v) != 1) {
            continue; /* stays absent */
        }
        if (v.kind == PR_PGO_NULL) {
            to[i].kind = RT_V_NULL;
        } else if (v.kind == PR_PGO_TEXT && v.text.n > RT_VALUE_MAX) {
            to[i].kind = RT_V_DROPPED;
        } else if (v.kind == PR_PGO_TEXT) {
            to[i].kind = RT_V_TEXT;
            if (v.text.n > 0) {
                memcpy(text, v.text.p, v.text.n);
            }
            to[i].text = pr_bytes(text, v.text.n);
            text += v.text.n;
        }
    }
    return text;
}

/* A row that nobody is to get is forgotten, but not that it changed an earlier one: that one is
 * judged by its own image then, not by what the table has now. */
static void mark_again(struct gathered *g, const struct rt_change *c)
{
    for (uint32_t i = 0; i < g->count; i++) {
        g->rows[i].again = g->rows[i].again || rt_same_key(&g->rows[i].change, c);
    }
}

void rt_batch_add(struct rt_db *d, struct rt_relation *rel, enum pr_op_kind kind,
                  const struct pr_pgo_row *m)
{
    struct gathered *g = d->batch->now;
    struct row *row = &g->rows[g->count];
    size_t n = rel->ncolumns;
    size_t texts = (kind != PR_K_DELETE ? text_bytes(&m->row) : 0) +
                   (m->old_kind != 0 ? text_bytes(&m->old) : 0);
    uint8_t *text;

    assert(g->count < ROWS_MAX);
    rt_count(d->metrics, RT_M_DB_CHANGES, 1);
    memset(row, 0, sizeof *row);
    row->rel = rt_rel_ref(rel);
    row->values = rt_malloc(2 * n * sizeof *row->values + texts);
    memset(row->values, 0, 2 * n * sizeof *row->values);
    text = (uint8_t *)(row->values + 2 * n);
    if (kind != PR_K_DELETE) {
        text = fill(row->values, rel, &m->row, text);
    }
    if (m->old_kind != 0) {
        (void)fill(row->values + n, rel, &m->old, text);
    }
    row->change = (struct rt_change){
        .rel = rel,
        .kind = kind,
        .pos = {.lsn = d->stream.commit_lsn, .seq = d->stream.seq},
        .commit_us = d->stream.commit_us,
        .xid = d->stream.xid,
        .old_kind = m->old_kind,
        .judges_old = d->cfg->delete_rls,
        .row = kind != PR_K_DELETE ? row->values : NULL,
        .old = m->old_kind != 0 ? row->values + n : NULL,
    };
    if (rt_subs_match(d->subs, &row->change, &row->matches) == 0) {
        mark_again(g, &row->change);
        rt_matches_free(&row->matches);
        rt_rel_unref(row->rel);
        rt_free(row->values);
    } else {
        g->count++;
        g->bytes += texts;
    }
    g->last = (struct pr_pos){.lsn = d->stream.commit_lsn, .seq = d->stream.seq};
    g->open_xid = d->stream.xid;
}

void rt_batch_message(struct rt_db *d, uint8_t *frame, size_t len)
{
    struct gathered *g = d->batch->now;
    struct pr_pos pos = {.lsn = d->stream.commit_lsn, .seq = d->stream.seq};
    struct cast *c;

    assert(g->ncasts < ROWS_MAX);
    c = &g->casts[g->ncasts++];
    c->frame = frame;
    c->len = len;
    c->pos = pos;
    c->before = g->count;
    g->bytes += len;
    g->last = pos;
    g->open_xid = d->stream.xid;
}

void rt_batch_commit(struct rt_db *d)
{
    struct gathered *g = d->batch->now;

    g->last = (struct pr_pos){.lsn = d->stream.commit_lsn, .seq = d->stream.seq};
    g->commit_end = d->stream.commit_end;
    g->open_xid = 0;
    if (rt_batch_full(d)) {
        rt_batch_work(d);
    }
}

bool rt_batch_full(const struct rt_db *d)
{
    const struct gathered *g = d->batch->now;

    return g->count == ROWS_MAX || g->ncasts == ROWS_MAX || g->bytes >= BYTES_MAX;
}

bool rt_batch_asks(const struct rt_db *d)
{
    return d->batch->asks;
}

bool rt_batch_idle(const struct rt_db *d)
{
    const struct gathered *g = d->batch->now;

    return d->batch->work == NULL && g->count == 0 && g->ncasts == 0 && g->commit_end == 0;
}

/* Those that stand before row `row`, from `*next` on. */
static void send_casts(struct rt_db *d, const struct gathered *g, uint32_t row, uint32_t *next)
{
    for (; *next < g->ncasts && g->casts[*next].before <= row; (*next)++) {
        const struct cast *c = &g->casts[*next];

        rt_route_flush(d->route); /* what was committed before it leaves before it */
        rt_messages_send(d, c->pos, pr_bytes(c->frame, c->len));
    }
}

/* Who may see a row, but whose filter failed for it, is told so instead. Whose policies failed gets
 * the error of a row, now and then. */
static void tell_unjudged(struct rt_db *d, const struct rt_matches *m)
{
    for (uint32_t i = 0; i < m->count; i++) {
        struct rt_match *at = &m->items[i];

        if (at->failed) {
            at->error = RT_MATCH_UNAUTHORIZED;
            at->visible = rt_db_regs_failed(d, at->boot, at->handle);
        } else if (at->unjudged && at->visible) {
            at->visible = false;
            rt_db_regs_unjudged(d, at->boot, at->handle);
        }
    }
}

static void finish(struct rt_db *d)
{
    struct rt_batch *b = d->batch;
    struct gathered *g = b->work;
    uint32_t next = 0;

    d->batches++;
    for (uint32_t i = 0; i < g->count; i++) {
        tell_unjudged(d, &g->rows[i].matches);
    }
    rt_route_begin(d->route, d->stream.id, d->stream.routed);
    for (uint32_t i = 0; i < g->count; i++) {
        send_casts(d, g, i, &next);
        rt_route_change(d->route, &g->rows[i].change, &g->rows[i].matches);
    }
    send_casts(d, g, g->count, &next);
    if (g->count > 0) {
        rt_route_end(d->route, g->last);
    }
    rt_stream_routed(d, g->count > 0 ? g->last : d->stream.routed, g->last, g->commit_end);
    gathered_clear(g);
    b->work = NULL;
    gathered_free(g);
    rt_batch_work(d);
    rt_stream_more(d);
}

/* For the owner to take its frames, edges to acknowledge changes, or the one that publishes to
 * publish. */
static bool must_wait(struct rt_db *d)
{
    const struct gathered *g = d->batch->work;

    return (d->owner != NULL && rt_ipc_queued(d->owner) > OWNER_QUEUE_MAX) ||
           (g != NULL && g->ncasts > 0 && rt_messages_full(d)) || !rt_stream_may_send(d);
}

/* Routes once there is room. */
static void on_wait(void *ctx)
{
    struct rt_db *d = ctx;

    if (must_wait(d)) {
        rt_timer_set(&d->batch->wait, OWNER_WAIT_MS);
    } else if (d->batch->work != NULL && d->owner_up) {
        finish(d);
    }
}

static bool in_shadow(const struct rt_db *d)
{
    return strcmp(d->cfg->rls_compile, "shadow") == 0;
}

static void on_rendered(void *ctx, bool ok)
{
    struct rt_db *d = ctx;

    d->batch->asks = false;
    rt_db_regs_try(d);
    if (ok) {
        on_wait(d);
    } else {
        rt_stream_drop(d); /* the check connection ended: the rows come again */
        rt_stream_kick(d);
    }
}

/* What somebody gets may need Postgres once more. */
static void on_judged(void *ctx, bool ok)
{
    struct rt_db *d = ctx;
    struct rt_batch *b = d->batch;

    if (ok && in_shadow(d)) {
        rt_count(d->metrics, RT_M_DB_RLS_DIFFER, rt_policies_differ(b->judged, b->work->count));
    }
    if (!ok || !rt_tojson_needed(b->judged, b->work->count)) {
        on_rendered(d, ok);
    } else if (d->check != NULL) {
        b->asks = true;
        rt_tojson_run(b->tojson, d->check, b->judged, b->work->count, on_rendered, d);
    } else {
        on_rendered(d, false);
    }
}

static void on_slow(void *ctx, const struct rt_group *g, const struct rt_relation *rel)
{
    rt_db_regs_cancel_slow(ctx, g, rel);
}

/* Those that the filters let through are judged by row-level security. */
static void judge(struct rt_db *d)
{
    struct rt_batch *b = d->batch;
    struct gathered *g = b->work;

    if (strcmp(d->cfg->rls_compile, "off") != 0) {
        rt_count(d->metrics, RT_M_DB_RLS_COMPILED,
                 rt_policies_judge(b->judged, g->count, in_shadow(d)));
    }
    if (!rt_rls_needed(b->judged, g->count)) {
        on_judged(d, true);
    } else if (d->check != NULL) {
        b->asks = true;
        rt_rls_judge(d->rls, d->check,
                     &(struct rt_rls_batch){.rows = b->judged,
                                            .count = g->count,
                                            .open_xid = g->open_xid,
                                            .plans = &d->plans,
                                            .done = on_judged,
                                            .cancelled = on_slow,
                                            .ctx = d});
    } else {
        on_judged(d, false);
    }
}

static void on_sifted(void *ctx, bool ok)
{
    if (ok) {
        judge(ctx);
    } else {
        on_judged(ctx, false);
    }
}

static void on_cancelled(void *ctx, struct rt_sieve *s, const char *sqlstate)
{
    rt_db_regs_cancel(ctx, s, sqlstate);
}

void rt_batch_work(struct rt_db *d)
{
    struct rt_batch *b = d->batch;
    struct gathered *g = b->now;

    if (b->work != NULL || (g->count == 0 && g->ncasts == 0 && g->commit_end == 0)) {
        return;
    }
    if (g->count == 0 && g->ncasts == 0) {
        /* Nothing for anybody: no frame, only a position to confirm. */
        struct pr_pos last = g->last;
        uint64_t end = g->commit_end;

        gathered_clear(g);
        if (d->stream.sent.count == 0) {
            d->stream.routed = last;
            if (end > d->stream.confirmed_lsn) {
                d->stream.confirmed_lsn = end;
            }
        } else {
            rt_stream_routed(d, d->stream.routed, last, end);
        }
        return;
    }
    b->work = g;
    b->now = gathered_new();
    for (uint32_t i = 0; i < g->count; i++) {
        b->judged[i] = (struct rt_rls_row){.change = &g->rows[i].change,
                                           .matches = &g->rows[i].matches,
                                           .row = g->rows[i].values,
                                           .again = g->rows[i].again};
    }
    if (!rt_sift_needed(b->judged, g->count)) {
        judge(d);
    } else if (d->check != NULL) {
        b->asks = true;
        rt_sift_run(b->sift, d->check, b->judged, g->count);
    } else {
        on_judged(d, false);
    }
}

void rt_batch_reset(struct rt_db *d)
{
    struct rt_batch *b = d->batch;

    rt_sift_cancel(b->sift);
    rt_rls_cancel(d->rls);
    rt_tojson_cancel(b->tojson);
    rt_timer_clear(&b->wait);
    gathered_free(b->work);
    b->work = NULL;
    gathered_clear(b->now);
    b->asks = false;
    rt_db_regs_try(d);
}

void rt_batch_init(struct rt_db *d)
{
    static const struct rt_sift_events events = {.on_done = on_sifted,
                                                 .on_cancelled = on_cancelled};

    d->batch = rt_calloc(1, sizeof *d->batch);
    d->batch->now = gathered_new();
    d->batch->sift = rt_sift_new(d->loop, d->log, &events, d);
    d->batch->tojson = rt_tojson_new(d->loop, d->log);
    rt_timer_init(d->loop, &d->batch->wait, on_wait, d);
}

static void free_batch(void *ctx)
{
    struct rt_db *d = ctx;

    rt_free(d->batch);
    d->batch = NULL;
}

void rt_batch_free(struct rt_db *d)
{
    rt_sift_free(d->batch->sift);
    rt_tojson_free(d->batch->tojson);
    gathered_free(d->batch->work);
    gathered_free(d->batch->now);
    rt_timer_close(&d->batch->wait, free_batch);
}
