/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/join.h"

#include <string.h>

#include <xxhash.h>

enum field { EVENT = 0, SCHEMA, TABLE, FILTER, SELECT, FIELDS };

static const char *const names[FIELDS] = {"event", "schema", "table", "filter", "select"};

#define ID_BITS 27u /* what typed SDKs were given so far; all of them take 31 */

static bool is_blank(struct pr_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] != ' ' && (s.p[i] < '\t' || s.p[i] > '\r')) {
            return false;
        }
    }
    return true;
}

/* Chained over the texts as sent, so that moving a byte from one to the next changes it. */
static uint32_t id_of(const struct pr_slice parts[FIELDS])
{
    uint64_t h = 0;

    for (unsigned i = 0; i < FIELDS; i++) {
        h = XXH3_64bits_withSeed(parts[i].n > 0 ? parts[i].p : (const uint8_t *)"", parts[i].n,
                                 h + parts[i].n + 1);
    }
    h >>= 64 - ID_BITS;
    return h == 0 ? 1 : (uint32_t)h;
}

/* *given: not absent, not null, not blank. Another type than string is noted in b->bad. */
static int take_text(struct pr_binding *b, const struct pr_json fields[FIELDS], enum field which,
                     struct pr_outbuf *scratch, struct pr_slice *text)
{
    const struct pr_json *v = &fields[which];
    int rc = PR_OK;

    *text = pr_bytes(NULL, 0);
    if (v->raw.n > 0 && v->type != PR_JSON_NULL) {
        rc = pr_json_text(v, scratch, text);
    }
    if (rc == PR_ETYPE) {
        b->bad = b->bad != NULL ? b->bad : names[which];
        rc = PR_OK;
    }
    if (rc == PR_OK && is_blank(*text)) {
        *text = pr_bytes(NULL, 0);
    }
    return rc;
}

static const char *event_of(struct pr_slice text)
{
    static const char *const events[] = {"INSERT", "UPDATE", "DELETE"};

    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++) {
        if (pr_slice_is_nocase(text, events[i])) {
            return events[i];
        }
    }
    return "*";
}

/* A list of no columns is no list. */
static int take_select(struct pr_binding *b, const struct pr_json *v)
{
    struct pr_json_iter it;
    struct pr_json column;
    int rc = PR_OK;

    if (v->raw.n == 0 || v->type == PR_JSON_NULL) {
        return PR_OK;
    }
    if (v->type != PR_JSON_ARRAY) {
        b->select_bad = true;
        return PR_OK;
    }
    rc = pr_json_open(&it, v->raw);
    while (rc >= 0 && (rc = pr_json_next(&it, NULL, &column)) > 0) {
        b->has_select = true;
        b->select_bad = b->select_bad || column.type != PR_JSON_STRING;
    }
    b->has_select = b->has_select && !b->select_bad;
    b->select = b->has_select ? v->raw : pr_bytes(NULL, 0);
    return rc;
}

/* Fills in what a subscription means that leaves something out. */
static void set_defaults(struct pr_binding *b)
{
    b->has_schema = b->schema.n > 0;
    b->has_table = b->table.n > 0;
    b->has_filter = b->filter.n > 0;
    if (!b->has_schema) {
        b->schema = pr_str("public");
    }
    if (!b->has_table) {
        b->table = pr_str("*");
    }
}

static int parse(struct pr_slice raw, struct pr_outbuf *scratch, struct pr_binding *b)
{
    struct pr_json f[FIELDS];
    struct pr_slice parts[FIELDS];
    struct pr_slice event;

    *b = (struct pr_binding){.raw = raw};
    int rc = pr_json_pick(raw, names, FIELDS, f);
    if (rc == PR_OK) {
        rc = take_text(b, f, EVENT, scratch, &event);
    }
    if (rc == PR_OK) {
        b->event = event_of(event);
        rc = take_text(b, f, SCHEMA, scratch, &b->schema);
    }
    if (rc == PR_OK) {
        rc = take_text(b, f, TABLE, scratch, &b->table);
    }
    if (rc == PR_OK) {
        rc = take_text(b, f, FILTER, scratch, &b->filter);
    }
    if (rc == PR_OK) {
        rc = take_select(b, &f[SELECT]);
    }
    if (rc != PR_OK) {
        return rc;
    }
    set_defaults(b);
    for (unsigned i = 0; i < FIELDS; i++) {
        parts[i] = f[i].raw;
    }
    b->id = id_of(parts);
    return 1;
}

void pr_bindings_open(const struct pr_join *j, struct pr_json_iter *it)
{
    static const char none[] = "[]";
    int rc = pr_json_open(it, j->bindings.n > 0 ? j->bindings : pr_str(none));

    /* Parsed before: it is an array. */
    (void)rc;
}

int pr_bindings_next(struct pr_json_iter *it, struct pr_outbuf *scratch, struct pr_binding *b)
{
    struct pr_json entry;
    int rc;

    do {
        rc = pr_json_next(it, NULL, &entry);
    } while (rc > 0 && entry.type == PR_JSON_NULL);
    return rc > 0 ? parse(entry.raw, scratch, b) : rc;
}

void pr_binding_put_reply(struct pr_outbuf *o, struct pr_slice raw, uint32_t id)
{
    bool empty = is_blank(pr_bytes(raw.p + 1, raw.n - 2));

    pr_put(o, raw.p, raw.n - 1);
    pr_put_str(o, empty ? "\"id\":" : ",\"id\":");
    pr_put_dec(o, id);
    pr_put_u8(o, '}');
}

/* Takes bytes up to a colon, which is dropped, or all. */
static struct pr_slice take_part(struct pr_slice *rest)
{
    const uint8_t *at = rest->n > 0 ? memchr(rest->p, ':', rest->n) : NULL;
    struct pr_slice part = *rest;

    if (at == NULL) {
        *rest = pr_bytes(NULL, 0);
        return part;
    }
    part.n = (size_t)(at - part.p);
    *rest = pr_bytes(at + 1, rest->n - part.n - 1);
    return part;
}

bool pr_binding_legacy(struct pr_slice topic, struct pr_binding *b)
{
    struct pr_slice parts[FIELDS] = {{NULL, 0}};

    if (topic.n == 0) {
        return false;
    }
    *b = (struct pr_binding){.event = "*"};
    b->schema = take_part(&topic);
    b->table = take_part(&topic);
    b->filter = topic;
    parts[SCHEMA] = b->schema;
    parts[TABLE] = b->table;
    parts[FILTER] = b->filter;
    b->id = id_of(parts);
    set_defaults(b);
    return true;
}
