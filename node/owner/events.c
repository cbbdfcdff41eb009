/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/events.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "node/base/alloc.h"
#include "node/base/loop.h"
#include "proto/json_write.h"

/* A byte of text becomes at most six of JSON; an event has one sentence and a few fields. */
#define ROW_BYTES 8192u

struct event {
    const char *kind; /* static */
    char *peer;       /* NULL: about no node */
    char *text;
    uint8_t *row;
    size_t row_len;
};

struct rt_events {
    struct event at[RT_EVENTS_MAX]; /* ring */
    uint32_t head, count;           /* head: the oldest */
};

struct rt_events *rt_events_new(void)
{
    return rt_calloc(1, sizeof(struct rt_events));
}

static void clear(struct event *v)
{
    rt_free(v->peer);
    rt_free(v->text);
    rt_free(v->row);
    *v = (struct event){0};
}

void rt_events_free(struct rt_events *e)
{
    for (uint32_t i = 0; e != NULL && i < RT_EVENTS_MAX; i++) {
        clear(&e->at[i]);
    }
    rt_free(e);
}

/* A value as text, in `number` if it is one. */
static struct pr_slice value_of(const struct rt_kv *f, char number[32])
{
    struct pr_slice s = {0};

    switch (f->kind) {
    case RT_KV_TEXT:
        s = pr_str(f->v.text == NULL ? "" : f->v.text);
        break;
    case RT_KV_SLICE:
        s = f->v.slice;
        break;
    case RT_KV_U64:
        (void)snprintf(number, 32, "%" PRIu64, f->v.u64);
        s = pr_str(number);
        break;
    case RT_KV_I64:
        (void)snprintf(number, 32, "%" PRId64, f->v.i64);
        s = pr_str(number);
        break;
    case RT_KV_HEX:
        (void)snprintf(number, 32, "%016" PRIx64, f->v.u64);
        s = pr_str(number);
        break;
    }
    s.n = s.n < RT_EVENT_TEXT_MAX ? s.n : RT_EVENT_TEXT_MAX;
    return s;
}

static bool is_number(const struct rt_kv *f)
{
    return f->kind == RT_KV_U64 || f->kind == RT_KV_I64;
}

/* "member peer=n2 state=dead": kind and fields, for an event without a sentence. */
static char *sentence_of(const char *kind, const struct rt_kv *fields)
{
    char bytes[RT_EVENT_TEXT_MAX];
    char number[32];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, kind);
    for (; fields->key != NULL; fields++) {
        struct pr_slice value = value_of(fields, number);

        if (value.n > 0) {
            pr_put_str(&o, " ");
            pr_put_str(&o, fields->key);
            pr_put_str(&o, "=");
            pr_put_slice(&o, value);
        }
    }
    return rt_strndup(bytes, o.len < sizeof bytes ? o.len : sizeof bytes);
}

static void put_time(struct pr_outbuf *o)
{
    uint64_t ms = rt_wall_ms();
    time_t seconds = (time_t)(ms / 1000u);
    struct tm tm;
    char date[32] = "";
    char text[48];

    if (gmtime_r(&seconds, &tm) != NULL) {
        (void)strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    }
    (void)snprintf(text, sizeof text, "%s.%03uZ", date, (unsigned)(ms % 1000u));
    pr_put_json_cstr(o, text);
}

static void put_fields(struct pr_outbuf *o, const struct rt_kv *fields)
{
    char number[32];

    for (; fields->key != NULL; fields++) {
        struct pr_slice value = value_of(fields, number);

        pr_put_str(o, ",\"");
        pr_put_str(o, fields->key);
        pr_put_str(o, "\":");
        if (is_number(fields)) {
            pr_put_slice(o, value);
        } else {
            pr_put_json_str(o, value);
        }
    }
    pr_put_str(o, "}");
}

static void put_head(struct pr_outbuf *o, const char *kind, const char *text)
{
    pr_put_str(o, "{\"ts\":");
    put_time(o);
    pr_put_str(o, ",\"kind\":");
    pr_put_json_cstr(o, kind);
    pr_put_str(o, ",\"text\":");
    pr_put_json_cstr(o, text);
}

static const struct rt_kv *field(const struct rt_kv *fields, const char *key)
{
    while (fields->key != NULL && strcmp(fields->key, key) != 0) {
        fields++;
    }
    return fields->key == NULL ? NULL : fields;
}

void rt_events_add(struct rt_events *e, const char *kind, const char *text,
                   const struct rt_kv *fields)
{
    struct event v = {.kind = kind};
    const struct rt_kv *peer = field(fields, "peer");
    uint8_t bytes[ROW_BYTES];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    char number[32];
    size_t head;

    v.text = text == NULL ? sentence_of(kind, fields)
                          : rt_strndup(text, strnlen(text, RT_EVENT_TEXT_MAX));
    if (peer != NULL) {
        struct pr_slice name = value_of(peer, number);

        v.peer = rt_strndup(name.p, name.n);
    }
    put_head(&o, kind, v.text);
    head = o.len;
    put_fields(&o, fields);
    if (!pr_out_ok(&o)) { /* the sentence alone fits always */
        o.len = head;
        pr_put_str(&o, "}");
    }
    v.row = rt_malloc(o.len);
    v.row_len = o.len;
    memcpy(v.row, bytes, o.len);
    if (e->count == RT_EVENTS_MAX) {
        clear(&e->at[e->head]);
        e->at[e->head] = v;
        e->head = (e->head + 1) % RT_EVENTS_MAX;
    } else {
        e->at[(e->head + e->count) % RT_EVENTS_MAX] = v;
        e->count++;
    }
}

uint32_t rt_events_count(const struct rt_events *e)
{
    return e->count;
}

void rt_events_each(const struct rt_events *e, uint32_t n,
                    void (*fn)(void *ctx, struct pr_slice row), void *ctx)
{
    for (uint32_t i = n < e->count ? e->count - n : 0; i < e->count; i++) {
        const struct event *v = &e->at[(e->head + i) % RT_EVENTS_MAX];

        fn(ctx, pr_bytes(v->row, v->row_len));
    }
}

struct pr_slice rt_events_last(const struct rt_events *e, const char *kind, struct pr_slice peer)
{
    for (uint32_t i = e->count; i > 0; i--) {
        const struct event *v = &e->at[(e->head + i - 1) % RT_EVENTS_MAX];

        if (strcmp(v->kind, kind) == 0 && v->peer != NULL && pr_slice_is(peer, v->peer)) {
            return pr_str(v->text);
        }
    }
    return (struct pr_slice){0};
}
