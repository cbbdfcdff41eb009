/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/asks_in.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct asks *rt_asks_new(struct owner *o)
{
    struct asks *s = rt_calloc(1, sizeof *s);
    int n = snprintf(s->prefix, sizeof s->prefix, "{\"node\":\"%s\"", o->cfg->node);

    s->owner = o;
    s->prefix_len = (size_t)n;
    s->buf = rt_malloc(RT_ASKS_BUF_BYTES);
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        s->at[i].owner = o;
        s->open_timers++;
        rt_timer_init(o->loop, &s->at[i].timer, rt_asks_on_timeout, &s->at[i]);
    }
    return s;
}

static void on_closed(void *ctx)
{
    const struct ask *q = ctx;
    struct owner *o = q->owner;

    if (--o->asks->open_timers == 0) {
        rt_free(o->asks);
        o->asks = NULL;
    }
}

void rt_asks_free(struct asks *s)
{
    if (s == NULL) {
        return;
    }
    rt_free(s->buf);
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        s->at[i].used = false;
        rt_timer_close(&s->at[i].timer, on_closed);
    }
}

static struct ask *take_slot(struct asks *s)
{
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        struct ask *q = &s->at[i];

        if (!q->used) {
            q->used = true;
            q->stream = false;
            q->asker = NULL;
            q->from = 0;
            q->id = ++s->next_id;
            q->edges = 0;
            q->dbs = 0;
            q->nnodes = 0;
            q->left_out = 0;
            return q;
        }
    }
    return NULL;
}

struct ask *rt_ask_new(struct owner *o, struct rt_asker *a)
{
    struct ask *q = take_slot(o->asks);

    assert(q != NULL); /* the control server takes no more askers than there are slots for */
    q->asker = a;
    rt_asker_set_user(a, q);
    return q;
}

/* ---- the way of rows ---- */

/* A frame to the node that asked. False: no link, or no room. */
static bool reply(struct owner *o, uint64_t to, const struct pr_ctl_reply *m)
{
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf out;
    bool ok;

    pr_ctl_reply_encode(&size, m);
    out = pr_outbuf(rt_malloc(size.len), size.len);
    pr_ctl_reply_encode(&out, m);
    ok = rt_owner_link_send(o, to, pr_bytes(out.p, out.len));
    rt_free(out.p);
    return ok;
}

struct ask *rt_ask_new_far(struct owner *o, uint64_t from, uint32_t from_id)
{
    struct asks *s = o->asks;
    struct ask *q = NULL;
    uint32_t far = 0;

    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        far += s->at[i].used && s->at[i].asker == NULL;
    }
    if (far < RT_ASKS_FAR_MAX) {
        q = take_slot(s);
    }
    if (q == NULL) {
        char text[PR_ID_MAX + 64];
        int n = snprintf(text, sizeof text, "%s,\"error\":\"it is asked too much at once\"}\n",
                         s->prefix);
        struct pr_ctl_reply m = {.id = from_id, .last = true, .rows = pr_bytes(text, (size_t)n)};

        (void)reply(o, from, &m);
        return NULL;
    }
    q->from = from;
    q->from_id = from_id;
    return q;
}

static uint64_t count_rows(struct pr_slice rows)
{
    uint64_t n = 0;

    for (size_t i = 0; i < rows.n; i++) {
        n += rows.p[i] == '\n';
    }
    return n;
}

/* Whole rows to whoever asked, if there is room for them. */
void rt_asks_give(struct ask *q, struct pr_slice rows)
{
    if (rows.n == 0) {
        return;
    }
    if (q->asker != NULL) {
        if (rt_asker_queued(q->asker) <= RT_ASK_NEAR_BYTES) {
            rt_asker_rows(q->asker, rows);
            return;
        }
    } else if (rt_owner_link_waits(q->owner, q->from) <= RT_ASK_FAR_BYTES) {
        struct pr_ctl_reply m = {.id = q->from_id, .rows = rows};

        if (reply(q->owner, q->from, &m)) {
            return;
        }
    }
    q->left_out += count_rows(rows);
}

void rt_asks_flush(struct ask *q)
{
    struct asks *s = q->owner->asks;
    size_t n = s->buf_len;

    s->buf_len = 0;
    rt_asks_give(q, pr_bytes(s->buf, n));
}

/* The name of the node becomes its first field. */
void rt_ask_text(struct ask *q, struct pr_slice row)
{
    struct asks *s = q->owner->asks;
    bool empty = row.n == 2;
    struct pr_outbuf o;
    uint8_t *alone = NULL;
    size_t n = s->prefix_len + row.n + 1;

    if (row.n < 2 || row.p[0] != '{') {
        return; /* a row is always an object */
    }
    if (n > RT_ASKS_BUF_BYTES - s->buf_len) {
        rt_asks_flush(q);
    }
    if (n > RT_ASKS_BUF_BYTES) {
        alone = rt_malloc(n);
    }
    o = alone != NULL ? pr_outbuf(alone, n)
                      : pr_outbuf(s->buf + s->buf_len, RT_ASKS_BUF_BYTES - s->buf_len);
    pr_put(&o, s->prefix, s->prefix_len);
    if (!empty) {
        pr_put_u8(&o, ',');
    }
    pr_put(&o, row.p + 1, row.n - 1);
    pr_put_u8(&o, '\n');
    assert(pr_out_ok(&o));
    if (alone != NULL) {
        rt_asks_give(q, pr_bytes(alone, o.len));
        rt_free(alone);
        return;
    }
    s->buf_len += o.len;
    if (s->buf_len > RT_CONTROL_ROWS_BYTES) {
        rt_asks_flush(q);
    }
}

void rt_ask_rows(struct ask *q, struct pr_slice rows)
{
    while (rows.n > 0) {
        const uint8_t *end = memchr(rows.p, '\n', rows.n);
        size_t n = end == NULL ? rows.n : (size_t)(end - rows.p);

        rt_ask_text(q, pr_bytes(rows.p, n));
        n += end == NULL ? 0 : 1;
        rows = pr_bytes(rows.p + n, rows.n - n);
    }
}

void rt_ask_row(struct ask *q, json_t *row)
{
    char *text = json_dumps(row, JSON_COMPACT);

    if (text != NULL) {
        rt_ask_text(q, pr_str(text));
        rt_free(text);
    }
    json_decref(row);
}

void rt_ask_error(struct ask *q, const char *text)
{
    rt_ask_row(q, json_pack("{s:s}", "error", text));
}

void rt_ask_left_out(struct ask *q)
{
    q->left_out++;
}

/* Trouble with another node. */
void rt_asks_node_error(struct ask *q, const char *name, const char *text)
{
    char row[2 * PR_ID_MAX];
    int n = snprintf(row, sizeof row, "{\"node\":\"%s\",\"error\":\"%s\"}\n", name, text);

    rt_asks_flush(q);
    rt_asks_give(q, pr_bytes(row, (size_t)n));
}

/* The end of the answer. */
void rt_asks_finish(struct ask *q)
{
    if (q->left_out > 0) {
        char text[96];

        (void)snprintf(text, sizeof text, "%llu rows were left out: there are too many",
                       (unsigned long long)q->left_out);
        rt_ask_error(q, text);
    }
    rt_asks_flush(q);
    rt_timer_clear(&q->timer);
    q->used = false;
    if (q->asker != NULL) {
        rt_asker_set_user(q->asker, NULL);
        rt_asker_end(q->asker);
        q->asker = NULL;
    } else {
        struct pr_ctl_reply m = {.id = q->from_id, .last = true};

        (void)reply(q->owner, q->from, &m);
    }
}

void rt_asks_settle(struct ask *q)
{
    rt_asks_flush(q);
    if (q->edges == 0 && q->dbs == 0 && q->nnodes == 0) {
        rt_asks_finish(q);
    }
}
