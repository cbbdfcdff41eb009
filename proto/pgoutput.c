/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/pgoutput.h"

#include <stddef.h>

static int64_t get_i64be(struct pr_cursor *c)
{
    return (int64_t)pr_get_u64be(c);
}

/* What the reader of fields found: too short, too long, or exactly right. */
static int end_of(const struct pr_cursor *c)
{
    if (c->failed) {
        return PR_ESHORT;
    }
    return c->left == 0 ? PR_OK : PR_ETRAIL;
}

int pr_rep_decode(struct pr_slice in, struct pr_rep *m)
{
    struct pr_cursor c = pr_cursor(in);
    uint8_t kind = pr_get_u8(&c);
    uint8_t reply = 0;

    *m = (struct pr_rep){0};
    if (c.failed) {
        return PR_ESHORT;
    }
    if (kind == PR_REP_XLOG) {
        m->kind = PR_REP_XLOG;
        m->start_lsn = pr_get_u64be(&c);
        m->end_lsn = pr_get_u64be(&c);
        m->sent_us = get_i64be(&c);
        m->data = pr_get_bytes(&c, c.left);
        return end_of(&c);
    }
    if (kind != PR_REP_KEEPALIVE) {
        return PR_EVERSION;
    }
    m->kind = PR_REP_KEEPALIVE;
    m->end_lsn = pr_get_u64be(&c);
    m->sent_us = get_i64be(&c);
    reply = pr_get_u8(&c);
    if (reply > 1) {
        return PR_ERANGE;
    }
    m->reply = reply == 1;
    return end_of(&c);
}

void pr_rep_status_encode(struct pr_outbuf *o, const struct pr_rep_status *m)
{
    pr_put_u8(o, 'r');
    pr_put_u64be(o, m->write_lsn);
    pr_put_u64be(o, m->flush_lsn);
    pr_put_u64be(o, m->apply_lsn);
    pr_put_u64be(o, (uint64_t)m->now_us);
    pr_put_u8(o, m->reply ? 1 : 0);
}

/* Number of columns of a relation or row; 0 with c->failed or *err set if it is out of bounds. */
static uint32_t get_count(struct pr_cursor *c, int *err)
{
    uint32_t n = pr_get_u16be(c);

    if (n > PR_PGO_COLUMNS_MAX) {
        *err = PR_ERANGE;
        return 0;
    }
    return n;
}

static int get_value(struct pr_cursor *c, struct pr_pgo_value *v)
{
    uint8_t kind = pr_get_u8(c);
    uint32_t len = 0;

    *v = (struct pr_pgo_value){0};
    if (c->failed) {
        return PR_ESHORT;
    }
    switch (kind) {
    case PR_PGO_NULL:
        v->kind = PR_PGO_NULL;
        return PR_OK;
    case PR_PGO_UNCHANGED:
        v->kind = PR_PGO_UNCHANGED;
        return PR_OK;
    case PR_PGO_TEXT:
        v->kind = PR_PGO_TEXT;
        len = pr_get_u32be(c);
        if (len > INT32_MAX) {
            return PR_ERANGE;
        }
        v->text = pr_get_bytes(c, len);
        return c->failed ? PR_ESHORT : PR_OK;
    default: /* 'b', binary, was not asked for */
        return PR_ETYPE;
    }
}

static int get_tuple(struct pr_cursor *c, struct pr_pgo_tuple *t)
{
    int err = PR_OK;
    const uint8_t *start = NULL;
    struct pr_pgo_value v;

    t->count = get_count(c, &err);
    start = c->p;
    for (uint32_t i = 0; err == PR_OK && i < t->count; i++) {
        err = get_value(c, &v);
    }
    if (err == PR_OK && c->failed) {
        err = PR_ESHORT;
    }
    if (err == PR_OK) {
        t->values = pr_bytes(start, (size_t)(c->p - start));
    }
    return err;
}

static int get_column(struct pr_cursor *c, struct pr_pgo_column *col)
{
    uint8_t flags = pr_get_u8(c);

    col->identity = (flags & 1) != 0;
    col->name = pr_get_cstr(c);
    col->type = pr_get_u32be(c);
    col->typmod = (int32_t)pr_get_u32be(c);
    return c->failed ? PR_ESHORT : PR_OK;
}

static int get_relation(struct pr_cursor *c, struct pr_pgo_relation *r)
{
    int err = PR_OK;
    const uint8_t *start = NULL;
    struct pr_pgo_column col;

    r->oid = pr_get_u32be(c);
    r->schema = pr_get_cstr(c);
    r->name = pr_get_cstr(c);
    r->identity = pr_get_u8(c);
    if (!c->failed && r->identity != 'd' && r->identity != 'n' && r->identity != 'f' &&
        r->identity != 'i') {
        return PR_ERANGE;
    }
    r->count = get_count(c, &err);
    start = c->p;
    for (uint32_t i = 0; err == PR_OK && i < r->count; i++) {
        err = get_column(c, &col);
    }
    if (err == PR_OK && !c->failed) {
        r->columns = pr_bytes(start, (size_t)(c->p - start));
    }
    return err;
}

/* UPDATE and DELETE: 'K' or 'O' and the old tuple; an UPDATE may leave it out. */
static int get_old(struct pr_cursor *c, uint8_t mark, struct pr_pgo_row *r)
{
    if (mark != 'K' && mark != 'O') {
        return PR_ETYPE;
    }
    r->old_kind = mark;
    return get_tuple(c, &r->old);
}

static int get_new(struct pr_cursor *c, uint8_t mark, struct pr_pgo_row *r)
{
    return mark == 'N' ? get_tuple(c, &r->row) : PR_ETYPE;
}

static int get_row(struct pr_cursor *c, enum pr_pgo_kind kind, struct pr_pgo_row *r)
{
    uint8_t mark = 0;
    int err = PR_OK;

    r->relation = pr_get_u32be(c);
    mark = pr_get_u8(c);
    if (c->failed) {
        return PR_ESHORT;
    }
    if (kind == PR_PGO_INSERT) {
        return get_new(c, mark, r);
    }
    if (kind == PR_PGO_DELETE) {
        return get_old(c, mark, r);
    }
    if (mark != 'N') {
        err = get_old(c, mark, r);
        if (err == PR_OK) {
            mark = pr_get_u8(c);
            err = c->failed ? PR_ESHORT : PR_OK;
        }
    }
    return err == PR_OK ? get_new(c, mark, r) : err;
}

static int get_truncate(struct pr_cursor *c, struct pr_pgo_truncate *t)
{
    t->count = pr_get_u32be(c);
    t->flags = pr_get_u8(c);
    if (c->failed || t->count > c->left / 4) {
        return PR_ESHORT;
    }
    t->relations = pr_get_bytes(c, (size_t)t->count * 4);
    return PR_OK;
}

static int get_message(struct pr_cursor *c, struct pr_pgo_message *m)
{
    uint8_t flags = pr_get_u8(c);
    uint32_t len = 0;

    m->transactional = (flags & 1) != 0;
    m->lsn = pr_get_u64be(c);
    m->prefix = pr_get_cstr(c);
    len = pr_get_u32be(c);
    if (len > INT32_MAX) {
        return PR_ERANGE;
    }
    m->content = pr_get_bytes(c, len);
    return PR_OK;
}

static void get_begin(struct pr_cursor *c, struct pr_pgo_begin *b)
{
    b->final_lsn = pr_get_u64be(c);
    b->commit_us = get_i64be(c);
    b->xid = pr_get_u32be(c);
}

static void get_commit(struct pr_cursor *c, struct pr_pgo_commit *m)
{
    (void)pr_get_u8(c); /* flags: none are defined */
    m->commit_lsn = pr_get_u64be(c);
    m->end_lsn = pr_get_u64be(c);
    m->commit_us = get_i64be(c);
}

static void get_type(struct pr_cursor *c, struct pr_pgo_type *t)
{
    t->oid = pr_get_u32be(c);
    t->schema = pr_get_cstr(c);
    t->name = pr_get_cstr(c);
}

int pr_pgo_decode(struct pr_slice in, struct pr_pgo *m)
{
    struct pr_cursor c = pr_cursor(in);
    int err = PR_OK;
    uint8_t kind = pr_get_u8(&c);

    *m = (struct pr_pgo){0};
    if (c.failed) {
        return PR_ESHORT;
    }
    m->kind = (enum pr_pgo_kind)kind;
    switch (kind) {
    case PR_PGO_BEGIN:
        get_begin(&c, &m->u.begin);
        break;
    case PR_PGO_COMMIT:
        get_commit(&c, &m->u.commit);
        break;
    case PR_PGO_ORIGIN:
        m->u.origin.commit_lsn = pr_get_u64be(&c);
        m->u.origin.name = pr_get_cstr(&c);
        break;
    case PR_PGO_RELATION:
        err = get_relation(&c, &m->u.relation);
        break;
    case PR_PGO_TYPE:
        get_type(&c, &m->u.type);
        break;
    case PR_PGO_INSERT:
    case PR_PGO_UPDATE:
    case PR_PGO_DELETE:
        err = get_row(&c, m->kind, &m->u.row);
        break;
    case PR_PGO_TRUNCATE:
        err = get_truncate(&c, &m->u.truncate);
        break;
    case PR_PGO_MESSAGE:
        err = get_message(&c, &m->u.message);
        break;
    default:
        return PR_EVERSION;
    }
    return err != PR_OK ? err : end_of(&c);
}

/* Gives the rest of the cursor back to the list it came from. */
static void rest_to(struct pr_slice *list, const struct pr_cursor *c)
{
    list->p = c->p;
    list->n = c->left;
}

int pr_pgo_columns_next(struct pr_slice *list, struct pr_pgo_column *col)
{
    struct pr_cursor c = pr_cursor(*list);
    int err = PR_OK;

    if (list->n == 0) {
        return 0;
    }
    err = get_column(&c, col);
    if (err != PR_OK) {
        return err;
    }
    rest_to(list, &c);
    return 1;
}

int pr_pgo_values_next(struct pr_slice *list, struct pr_pgo_value *v)
{
    struct pr_cursor c = pr_cursor(*list);
    int err = PR_OK;

    if (list->n == 0) {
        return 0;
    }
    err = get_value(&c, v);
    if (err != PR_OK) {
        return err;
    }
    rest_to(list, &c);
    return 1;
}

int pr_pgo_relations_next(struct pr_slice *list, uint32_t *oid)
{
    struct pr_cursor c = pr_cursor(*list);

    if (list->n == 0) {
        return 0;
    }
    *oid = pr_get_u32be(&c);
    if (c.failed) {
        return PR_ESHORT;
    }
    rest_to(list, &c);
    return 1;
}
