/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/render.h"

#include <string.h>

#include "node/db/route.h"
#include "proto/json_write.h"

/* One rendering under way. */
struct body {
    struct rt_render *r;
    const struct rt_change *c;
    const bool *columns;
    bool old_hidden;
    bool shortened; /* 413: only short values */
    bool too_large;
    struct pr_outbuf o;
};

static const char *type_name(enum pr_op_kind kind)
{
    switch (kind) {
    case PR_K_INSERT:
        return "INSERT";
    case PR_K_UPDATE:
        return "UPDATE";
    case PR_K_DELETE:
        break;
    }
    return "DELETE";
}

/* An array or composite: scratch doubles until its parts fit, which they do at DEPTH_MAX times the
 * text. What is not of its type is shown as text: a message must not get lost for it. */
static void put_typed(struct body *b, const struct pr_pg_type *t, struct pr_slice text)
{
    struct rt_buffer *s = &b->r->scratch;
    size_t limit = text.n * PR_PG_DEPTH_MAX;
    int err = PR_ESHORT;

    while (err == PR_ESHORT) {
        struct pr_outbuf scratch = pr_outbuf(s->p, s->cap);
        size_t cap = s->cap;

        err = pr_pg_json(&b->o, t, text, &scratch);
        if (err == PR_ESHORT && cap >= limit) {
            break;
        }
        if (err == PR_ESHORT) {
            rt_buffer_reserve(s, cap * 2 > text.n ? cap * 2 : text.n);
        }
    }
    if (err != PR_OK) {
        pr_put_json_str(&b->o, text);
    }
}

static void put_value(struct body *b, const struct pr_pg_type *t, struct rt_value v)
{
    switch (v.kind) {
    case RT_V_TEXT:
        put_typed(b, t, v.text);
        break;
    case RT_V_JSON:
        pr_pg_json_raw(&b->o, v.text);
        break;
    case RT_V_ABSENT:
    case RT_V_NULL:
    case RT_V_DROPPED:
        pr_put_str(&b->o, "null");
        break;
    }
}

/* "name":value, unless the value is not there, or too long or NULL in a shortened message. */
static void put_member(struct body *b, uint32_t i, struct rt_value v, bool *first)
{
    const struct rt_column *col = &b->c->rel->columns[i];
    size_t start = b->o.len;
    size_t at = 0;

    if (v.kind == RT_V_DROPPED) {
        b->too_large = true;
        return;
    }
    if (v.kind == RT_V_ABSENT || (b->shortened && v.kind == RT_V_NULL)) {
        return;
    }
    if (!*first) {
        pr_put_u8(&b->o, ',');
    }
    pr_put_json_str(&b->o, col->name);
    pr_put_u8(&b->o, ':');
    at = b->o.len;
    put_value(b, col->type, v);
    if (b->shortened && b->o.len - at > RT_ROUTE_SHORT_VALUE_MAX) {
        b->o.len = start;
        return;
    }
    *first = false;
}

static void put_columns(struct body *b)
{
    const struct rt_relation *rel = b->c->rel;
    bool first = true;

    pr_put_u8(&b->o, '[');
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (b->columns[i]) {
            pr_put_str(&b->o, first ? "{\"name\":" : ",{\"name\":");
            pr_put_json_str(&b->o, rel->columns[i].name);
            pr_put_str(&b->o, ",\"type\":");
            pr_put_json_str(&b->o, rel->columns[i].typname);
            pr_put_u8(&b->o, '}');
            first = false;
        }
    }
    pr_put_u8(&b->o, ']');
}

static void put_record(struct body *b)
{
    bool first = true;

    pr_put_u8(&b->o, '{');
    for (uint32_t i = 0; i < b->c->rel->ncolumns; i++) {
        if (b->columns[i]) {
            put_member(b, i, rt_change_value(b->c, i), &first);
        }
    }
    pr_put_u8(&b->o, '}');
}

/* What old_record shows of a column: the old image, for an UPDATE that kept its key the current
 * key; of a DELETE under row-level security only the primary key, unless policies judge it. */
static struct rt_value old_value(const struct body *b, uint32_t i)
{
    static const struct rt_value absent = {.kind = RT_V_ABSENT};
    const struct rt_change *c = b->c;
    const struct rt_column *col = &c->rel->columns[i];
    bool key_only = c->kind == PR_K_DELETE ? c->rel->rls && !c->judges_old : b->old_hidden;

    if (col->generated || (key_only && !col->primary_key)) {
        return absent;
    }
    if (c->old != NULL) {
        return rt_change_old(c, i);
    }
    return c->kind == PR_K_UPDATE && col->identity ? c->row[i] : absent;
}

static void put_old(struct body *b)
{
    bool first = true;

    pr_put_u8(&b->o, '{');
    for (uint32_t i = 0; i < b->c->rel->ncolumns; i++) {
        if (b->columns[i]) {
            put_member(b, i, old_value(b, i), &first);
        }
    }
    pr_put_u8(&b->o, '}');
}

static void put_head(struct body *b, bool timed)
{
    struct pr_outbuf *o = &b->o;
    const struct rt_relation *rel = b->c->rel;

    pr_put_str(o, "{\"schema\":");
    pr_put_json_str(o, rel->schema);
    pr_put_str(o, ",\"table\":");
    pr_put_json_str(o, rel->table);
    pr_put_str(o, ",\"type\":\"");
    pr_put_str(o, type_name(b->c->kind));
    pr_put_str(o, "\",\"commit_timestamp\":");
    if (timed) {
        pr_put_u8(o, '"');
        pr_pg_put_commit_time(o, b->c->commit_us);
        pr_put_u8(o, '"');
    } else {
        pr_put_str(o, "null");
    }
}

static void put_hex32(struct pr_outbuf *o, uint32_t v)
{
    static const char digits[] = "0123456789ABCDEF";
    int shift = 28;

    while (shift > 0 && v >> shift == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        pr_put_u8(o, (uint8_t)digits[v >> shift & 15]);
    }
}

static void put_tail(struct body *b, const char *error)
{
    struct pr_outbuf *o = &b->o;

    pr_put_str(o, ",\"errors\":");
    if (error == NULL) {
        pr_put_str(o, "null");
    } else {
        pr_put_str(o, "[\"");
        pr_put_str(o, error);
        pr_put_str(o, "\"]");
    }
    if (b->r->with_position) {
        pr_put_str(o, ",\"lsn\":\"");
        put_hex32(o, (uint32_t)(b->c->pos.lsn >> 32));
        pr_put_u8(o, '/');
        put_hex32(o, (uint32_t)b->c->pos.lsn);
        pr_put_str(o, "\",\"seq\":");
        pr_put_dec(o, b->c->pos.seq);
    }
    pr_put_u8(o, '}');
}

/* 400 and 401: who may not have the row is told that there was one. */
static void put_refusal(struct body *b, enum rt_match_error error)
{
    put_head(b, false);
    pr_put_str(&b->o, ",\"columns\":[],\"record\":{}");
    if (b->c->kind == PR_K_UPDATE) {
        pr_put_str(&b->o, ",\"old_record\":{}");
    }
    put_tail(b, error == RT_MATCH_NO_KEY ? "Error 400: Bad Request, no primary key"
                                         : "Error 401: Unauthorized");
}

static void put_row(struct body *b)
{
    size_t start = 0;

    put_head(b, true);
    start = b->o.len;
    pr_put_str(&b->o, ",\"columns\":");
    put_columns(b);
    if (b->c->kind != PR_K_DELETE) {
        pr_put_str(&b->o, ",\"record\":");
        put_record(b);
    }
    if (b->c->kind != PR_K_INSERT) {
        pr_put_str(&b->o, ",\"old_record\":");
        put_old(b);
    }
    if (b->o.len - start > b->r->body_max) {
        b->too_large = true;
    }
    put_tail(b, b->shortened ? "Error 413: Payload Too Large" : NULL);
}

/* First size for a body; most are smaller. */
#define DATA_FIRST 4096u

struct pr_slice rt_render(struct rt_render *r, const struct rt_change *c, enum rt_match_error error,
                          const bool *columns, bool old_hidden, bool *too_large)
{
    struct body b = {.r = r, .c = c, .columns = columns, .old_hidden = old_hidden};

    rt_buffer_reserve(&r->data, DATA_FIRST);
    for (;;) {
        b.o = pr_outbuf(r->data.p, r->data.cap);
        if (error != RT_MATCH_OK) {
            put_refusal(&b, error);
        } else {
            put_row(&b);
        }
        if (b.too_large && !b.shortened) {
            b.shortened = true; /* once more, with short values only */
        } else if (pr_out_ok(&b.o)) {
            break;
        } else {
            rt_buffer_reserve(&r->data, b.o.len);
        }
    }
    *too_large = b.shortened;
    return pr_bytes(r->data.p, b.o.len);
}
