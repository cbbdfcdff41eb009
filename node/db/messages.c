/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/messages.h"

#include <string.h>

#include "node/db/db_in.h"
#include "proto/bcast.h"
#include "proto/json_write.h"
#include "proto/phoenix.h"

/* An edge that publishes nothing for so long is worth a line in the log, in ms. */
#define STALLED_MS 10000u
/* A frame beside its topic and body: head, array, numbers. */
#define FRAME_SMALL 64u
/* Bytes of "realtime:", which is part of a topic's name in a binary message. */
#define PREFIX 9u

struct rt_message_map rt_message_map(const struct pr_pgo_relation *m)
{
    static const char *const names[RT_MESSAGE_COLUMNS] = {
        "topic", "event", "private", "payload", "binary_payload", "id", "inserted_at", "extension"};
    struct rt_message_map map = {.known = pr_slice_is(m->schema, "realtime")};
    struct pr_slice list = m->columns;
    struct pr_pgo_column c;
    uint32_t found = 0;

    for (uint32_t i = 0; pr_pgo_columns_next(&list, &c) == 1; i++) {
        for (uint32_t k = 0; k < RT_MESSAGE_COLUMNS; k++) {
            if (pr_slice_is(c.name, names[k])) {
                map.at[k] = i;
                found++;
            }
        }
    }
    map.known = map.known && found == RT_MESSAGE_COLUMNS;
    return map;
}

/* "\x0a1b" as bytes. False: it is not that. */
static bool put_hex(struct pr_outbuf *o, struct pr_slice text)
{
    static const char digits[] = "0123456789abcdef";

    if (text.n < 2 || text.n % 2 != 0 || memcmp(text.p, "\\x", 2) != 0) {
        return false;
    }
    for (size_t i = 2; i < text.n; i += 2) {
        const char *high = memchr(digits, text.p[i], sizeof digits - 1);
        const char *low = memchr(digits, text.p[i + 1], sizeof digits - 1);

        if (high == NULL || low == NULL) {
            return false;
        }
        pr_put_u8(o, (uint8_t)((high - digits) << 4 | (low - digits)));
    }
    return true;
}

/* What must not be NULL. */
static const char *missing(const struct rt_message_row *row)
{
    static const struct {
        enum rt_message_column column;
        const char *why;
    } needed[] = {{RT_MESSAGE_TOPIC, "topic_missing"},
                  {RT_MESSAGE_EVENT, "event_missing"},
                  {RT_MESSAGE_PRIVATE, "private_missing"},
                  {RT_MESSAGE_ID, "id_missing"},
                  {RT_MESSAGE_INSERTED_AT, "inserted_at_missing"}};

    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        if (row->column[needed[i].column].p == NULL) {
            return needed[i].why;
        }
    }
    return row->column[RT_MESSAGE_PAYLOAD].p == NULL && row->column[RT_MESSAGE_BINARY].p == NULL
               ? "payload_missing"
               : NULL;
}

/* V2 members get it as kind 4, V1 members as text, or nothing if it is bytes. */
static const char *put_body(const struct rt_message_row *row, struct pr_bcast *b,
                            size_t payload_max, struct pr_outbuf *body)
{
    struct pr_slice payload = row->column[RT_MESSAGE_PAYLOAD];
    struct pr_slice bytes = row->column[RT_MESSAGE_BINARY];
    bool binary = payload.p == NULL;

    if (binary && row->column[RT_MESSAGE_TOPIC].n + PREFIX > UINT8_MAX) {
        return "topic_too_long_for_binary";
    }
    if (binary ? bytes.n / 2 > payload_max + 1 : payload.n > payload_max) {
        return "payload_too_large";
    }
    b->form = binary ? PR_BCAST_BINARY : PR_BCAST_JSON;
    b->event = row->column[RT_MESSAGE_EVENT];
    b->payload = payload; /* of bytes: empty, they follow */
    pr_bcast_encode(body, b);
    return !binary || put_hex(body, bytes) ? NULL : "payload_not_hex";
}

const char *rt_message_make(const struct rt_message_row *row, const struct pr_cast *at,
                            const char *project, size_t payload_max, struct pr_outbuf *key,
                            struct pr_outbuf *body)
{
    struct pr_bcast b = {.stream = at->stream, .pos = at->pos};
    const char *why = missing(row);
    uint8_t memory[80];
    struct pr_outbuf meta = pr_outbuf(memory, sizeof memory);

    if (why != NULL) {
        return why;
    }
    pr_put_str(key, project);
    pr_put_u8(key, 0);
    pr_put_u8(key, pr_slice_is(row->column[RT_MESSAGE_PRIVATE], "t") ? '1' : '0');
    pr_put_slice(key, row->column[RT_MESSAGE_TOPIC]);
    if (key->len > PR_TOPIC_KEY_MAX) {
        return "topic_too_long";
    }
    if (row->column[RT_MESSAGE_TOPIC].n == 0 ||
        row->column[RT_MESSAGE_EVENT].n > PR_PHX_EVENT_MAX) {
        return "topic_empty_or_event_too_long";
    }
    pr_put_str(&meta, "{\"id\":");
    pr_put_json_str(&meta, row->column[RT_MESSAGE_ID]);
    pr_put_str(&meta, row->replayed ? ",\"replayed\":true}" : "}");
    if (!pr_out_ok(&meta)) {
        return "id_too_long";
    }
    b.meta = pr_bytes(memory, meta.len);
    return put_body(row, &b, payload_max, body);
}

static struct rt_message_row row_of(const struct rt_message_map *map,
                                    const struct pr_pgo_tuple *tuple)
{
    struct rt_message_row row = {0};
    struct pr_slice list = tuple->values;
    struct pr_pgo_value v;

    for (uint32_t i = 0; pr_pgo_values_next(&list, &v) == 1; i++) {
        for (uint32_t k = 0; k < RT_MESSAGE_COLUMNS; k++) {
            if (map->at[k] == i && v.kind == PR_PGO_TEXT) {
                row.column[k] = v.text;
            }
        }
    }
    return row;
}

void rt_messages_row(struct rt_db *d, const struct rt_message_map *map,
                     const struct pr_pgo_tuple *tuple)
{
    struct rt_message_row row = row_of(map, tuple);
    struct pr_cast m = {.project = pr_str(d->cfg->project),
                        .stream = d->stream.id,
                        .pos = {.lsn = d->stream.commit_lsn, .seq = d->stream.seq}};
    size_t payload_max = (size_t)d->cfg->max_payload_kb * 1000;
    struct pr_outbuf key = pr_outbuf(NULL, 0), body = pr_outbuf(NULL, 0), frame;
    const char *why = rt_message_make(&row, &m, d->cfg->project, payload_max, &key, &body);
    uint8_t *memory;

    if (pr_slice_is(row.column[RT_MESSAGE_EXTENSION], RT_MESSAGE_STORED)) {
        return; /* the edge that had it stored sends it */
    }
    rt_count(d->metrics, RT_M_DB_MESSAGES, 1);
    if (why != NULL) {
        rt_count(d->metrics, RT_M_DB_MESSAGES_DROPPED, 1);
        rt_log(d->log, RT_WARN, "message_dropped", rt_kv_s("code", "UnableToBroadcastChanges"),
               rt_kv_b("id", row.column[RT_MESSAGE_ID]), rt_kv_s("err", why));
        return;
    }
    memory = rt_malloc(key.len + body.len);
    m.topic = pr_bytes(memory, key.len);
    m.body = pr_bytes(memory + key.len, body.len);
    frame =
        pr_outbuf(rt_malloc(key.len + body.len + FRAME_SMALL), key.len + body.len + FRAME_SMALL);
    key = pr_outbuf(memory, key.len);
    body = pr_outbuf(memory + key.cap, body.len);
    (void)rt_message_make(&row, &m, d->cfg->project, payload_max, &key, &body);
    pr_cast_encode(&frame, &m);
    rt_free(memory);
    rt_batch_message(d, frame.p, frame.len);
}

void rt_messages_send(struct rt_db *d, struct pr_pos pos, struct pr_slice frame)
{
    struct rt_messages *c = &d->messages;

    if (c->count == c->cap) {
        uint32_t cap = c->cap == 0 ? 64 : c->cap * 2;
        struct rt_message_sent *bigger = rt_malloc(cap * sizeof *bigger);

        for (uint32_t i = 0; i < c->count; i++) {
            bigger[i] = c->sent[(c->head + i) % c->cap];
        }
        rt_free(c->sent);
        c->sent = bigger;
        c->head = 0;
        c->cap = cap;
    }
    if (c->count == 0) {
        c->stalled_ms = rt_now_ms(d->loop);
    }
    c->sent[(c->head + c->count) % c->cap] = (struct rt_message_sent){.pos = pos, .bytes = frame.n};
    c->count++;
    c->bytes += frame.n;
    rt_db_link_send(d, frame);
}

bool rt_messages_full(const struct rt_db *d)
{
    return d->messages.count >= RT_MESSAGES_ROWS || d->messages.bytes >= RT_MESSAGES_BYTES;
}

bool rt_messages_done(const struct rt_db *d, struct pr_pos pos)
{
    const struct rt_messages *c = &d->messages;

    return c->count == 0 || pr_pos_cmp(c->sent[c->head].pos, pos) > 0;
}

void rt_messages_acked(struct rt_db *d, struct pr_pos pos)
{
    struct rt_messages *c = &d->messages;
    uint32_t before = c->count;

    while (c->count > 0 && pr_pos_cmp(c->sent[c->head].pos, pos) <= 0) {
        c->bytes -= c->sent[c->head].bytes;
        c->head = (c->head + 1) % c->cap;
        c->count--;
    }
    if (c->count != before) {
        c->stalled_ms = rt_now_ms(d->loop);
        rt_stream_acked(d);
    }
}

void rt_messages_check(struct rt_db *d)
{
    uint64_t now = rt_now_ms(d->loop);

    if (d->messages.count > 0 && now - d->messages.stalled_ms >= STALLED_MS) {
        d->messages.stalled_ms = now;
        rt_log(d->log, RT_WARN, "broadcasts_wait", rt_kv_u("messages", d->messages.count),
               rt_kv_s("err", "their topics' owners take none; the stream waits for them"));
    }
}

void rt_messages_reset(struct rt_db *d)
{
    d->messages.head = 0;
    d->messages.count = 0;
    d->messages.bytes = 0;
}

void rt_messages_free(struct rt_db *d)
{
    rt_free(d->messages.sent);
}
