/* SPDX-License-Identifier: Apache-2.0 */
/* Types, and the JSON of their values. Comparison is in pg_order.c. */
#include "proto/pg_value.h"

#include <string.h>

#include "proto/json_scan.h"
#include "proto/json_write.h"

enum pr_pg_kind pr_pg_builtin(uint32_t oid)
{
    static const struct {
        uint16_t oid;
        enum pr_pg_kind kind;
    } known[] = {
        {16, PR_PG_BOOL},      {17, PR_PG_BYTEA},       {18, PR_PG_TEXT},
        {19, PR_PG_TEXT},      {20, PR_PG_INT},         {21, PR_PG_INT},
        {23, PR_PG_INT},       {25, PR_PG_TEXT},        {26, PR_PG_OID},
        {114, PR_PG_JSON},     {700, PR_PG_FLOAT},      {701, PR_PG_FLOAT},
        {1042, PR_PG_BPCHAR},  {1043, PR_PG_TEXT},      {1082, PR_PG_DATE},
        {1083, PR_PG_TIME},    {1114, PR_PG_TIMESTAMP}, {1184, PR_PG_TIMESTAMPTZ},
        {1700, PR_PG_NUMERIC}, {2950, PR_PG_UUID},      {3802, PR_PG_JSON},
    };

    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].oid == oid) {
            return known[i].kind;
        }
    }
    return PR_PG_OTHER;
}

const struct pr_pg_type *pr_pg_base(const struct pr_pg_type *t)
{
    while (t->kind == PR_PG_DOMAIN) {
        t = t->elem;
    }
    return t;
}

/* A number as JSON wants it: what int, float and numeric print, but for NaN and the infinities. */
static bool is_number(struct pr_slice s)
{
    size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    size_t start = i;
    size_t digits = 0;
    bool dot = false;

    for (; i < s.n && s.p[i] != 'e'; i++) {
        if (s.p[i] == '.' && !dot && digits > 0) {
            dot = true;
            digits = 0;
        } else if (s.p[i] >= '0' && s.p[i] <= '9') {
            digits++;
        } else {
            return false;
        }
    }
    if (digits == 0 || (s.p[start] == '0' && start + 1 < i && s.p[start + 1] != '.')) {
        return false;
    }
    if (i == s.n) {
        return true;
    }
    i++;
    if (i < s.n && (s.p[i] == '+' || s.p[i] == '-')) {
        i++;
    }
    start = i;
    while (i < s.n && s.p[i] >= '0' && s.p[i] <= '9') {
        i++;
    }
    return i == s.n && i > start;
}

static bool is_special(struct pr_slice s)
{
    return pr_slice_is(s, "NaN") || pr_slice_is(s, "Infinity") || pr_slice_is(s, "-Infinity");
}

static void put_number(struct pr_outbuf *o, struct pr_slice text, bool nested)
{
    if (!nested && is_special(text)) {
        pr_put_str(o, "null");
    } else if (pr_slice_is(text, "-0")) {
        pr_put_u8(o, '0');
    } else if (is_number(text)) {
        pr_put_slice(o, text);
    } else {
        pr_put_json_str(o, text);
    }
}

/* Plain characters of a date and time: what a timestamp's text may hold. */
static bool is_time_text(struct pr_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\0' || strchr("0123456789-+:. BC", s.p[i]) == NULL) {
            return false;
        }
    }
    return s.n > 0;
}

/* "2024-01-02 03:04:05+00 BC" -> "2024-01-02T03:04:05+00:00 BC" */
static void put_timestamp(struct pr_outbuf *o, struct pr_slice s, bool zone)
{
    const uint8_t *space = s.n > 0 ? memchr(s.p, ' ', s.n) : NULL;
    size_t at = 0;

    if (space == NULL || !is_time_text(s)) {
        pr_put_json_str(o, s);
        return;
    }
    at = (size_t)(space - s.p);
    pr_put_u8(o, '"');
    pr_put(o, s.p, at);
    pr_put_u8(o, 'T');
    for (at++; at < s.n; at++) {
        bool sign = zone && (s.p[at] == '+' || s.p[at] == '-');

        pr_put_u8(o, s.p[at]);
        if (sign && (s.n - at == 3 || (s.n - at > 3 && s.p[at + 3] == ' '))) {
            pr_put(o, s.p + at + 1, 2);
            pr_put_str(o, ":00");
            at += 2;
        }
    }
    pr_put_u8(o, '"');
}

void pr_pg_json_raw(struct pr_outbuf *o, struct pr_slice text)
{
    if (pr_json_check(text) == PR_OK) {
        pr_put_slice(o, text);
    } else {
        pr_put_json_str(o, text);
    }
}

/* `nested`: inside an array or composite, where walrus leaves everything to to_jsonb. */
static void put_scalar(struct pr_outbuf *o, enum pr_pg_kind kind, struct pr_slice text, bool nested)
{
    switch (kind) {
    case PR_PG_BOOL:
        if (pr_slice_is(text, "t")) {
            pr_put_str(o, "true");
        } else if (pr_slice_is(text, "f")) {
            pr_put_str(o, "false");
        } else {
            pr_put_json_str(o, text);
        }
        break;
    case PR_PG_INT:
    case PR_PG_FLOAT:
    case PR_PG_NUMERIC:
        put_number(o, text, nested);
        break;
    case PR_PG_BYTEA:
        if (!nested && text.n >= 2 && text.p[0] == '\\' && text.p[1] == 'x') {
            text = pr_bytes(text.p + 2, text.n - 2);
        }
        pr_put_json_str(o, text);
        break;
    case PR_PG_TIMESTAMP:
    case PR_PG_TIMESTAMPTZ:
        put_timestamp(o, text, kind == PR_PG_TIMESTAMPTZ);
        break;
    case PR_PG_JSON:
        pr_pg_json_raw(o, text);
        break;
    case PR_PG_OID:
    case PR_PG_TEXT:
    case PR_PG_BPCHAR:
    case PR_PG_UUID:
    case PR_PG_DATE:
    case PR_PG_TIME:
    case PR_PG_ENUM:
    case PR_PG_DOMAIN:
    case PR_PG_ARRAY:
    case PR_PG_COMPOSITE:
    case PR_PG_OTHER:
    case PR_PG_SQL:
        pr_put_json_str(o, text);
        break;
    }
}

/* An array or composite that is being written. */
struct level {
    const struct pr_pg_type *type;
    struct pr_slice rest; /* of its text */
    size_t mark;          /* scratch to give back at its end */
    uint32_t index;       /* composite: next field; array: open dimensions */
    bool value_due;       /* array: behind '{' or the delimiter */
    bool first;           /* nothing since the last '{', or the '(' itself is due */
};

enum step { STEP_VALUE = 1, STEP_NULL, STEP_AGAIN, STEP_END };

static void skip(struct pr_slice *s, size_t n)
{
    s->p += n;
    s->n -= n;
}

/* Takes a part up to a stop if nothing in it is quoted or escaped: most numbers and dates. */
static bool take_bare(struct pr_slice *in, const char *stops, struct pr_slice *out)
{
    size_t i = 0;

    while (i < in->n && in->p[i] != '"' && in->p[i] != '\\' &&
           (in->p[i] == '\0' || strchr(stops, in->p[i]) == NULL)) {
        i++;
    }
    if (i == in->n || in->p[i] == '"' || in->p[i] == '\\') {
        return false;
    }
    *out = pr_bytes(in->p, i);
    skip(in, i);
    return true;
}

/*
 * Takes a part up to the first byte of `stops` outside quotes, unescaped into scratch.
 * "" inside quotes is a quote (composites write it so; arrays never print it).
 */
static int take_quoted(struct pr_slice *in, const char *stops, struct pr_slice *out,
                       struct pr_outbuf *scratch)
{
    size_t start = scratch->len;
    bool inside = false;
    size_t i = 0;

    for (; i < in->n; i++) {
        uint8_t c = in->p[i];
        bool last = i + 1 == in->n;

        if (!inside && c != '\0' && strchr(stops, c) != NULL) {
            break;
        }
        if (c == '"' && (!inside || last || in->p[i + 1] != '"')) {
            inside = !inside;
            continue;
        }
        if (c == '"' || (c == '\\' && !last)) {
            i++;
            c = in->p[i];
        }
        pr_put_u8(scratch, c);
    }
    if (inside || i == in->n) {
        return PR_ESYNTAX; /* every part has a stop behind it */
    }
    if (!pr_out_ok(scratch)) {
        return PR_ESHORT;
    }
    *out = pr_bytes(scratch->p + start, scratch->len - start);
    skip(in, i);
    return PR_OK;
}

/* "[2:4][0:1]={{...": the bounds are not shown. False: there is no array. */
static bool skip_bounds(struct pr_slice *s)
{
    const uint8_t *eq = NULL;

    if (s->n > 0 && s->p[0] == '[') {
        eq = memchr(s->p, '=', s->n);
        if (eq == NULL) {
            return false;
        }
        skip(s, (size_t)(eq - s->p) + 1);
    }
    return s->n > 0 && s->p[0] == '{';
}

/* Brackets and delimiters of an array up to its next element. */
static int array_punct(struct pr_outbuf *o, struct level *l, enum step *step)
{
    uint8_t c = l->rest.n > 0 ? l->rest.p[0] : '\0';

    *step = STEP_AGAIN;
    if (l->value_due && c == '{') {
        if (l->index == PR_PG_DIMS_MAX) {
            return PR_ESYNTAX;
        }
        l->index++;
        l->first = true;
        pr_put_u8(o, '[');
    } else if (c == '}' && (!l->value_due || l->first) && l->index > 0) {
        l->index--;
        l->value_due = false;
        l->first = false;
        pr_put_u8(o, ']');
        *step = l->index == 0 ? STEP_END : STEP_AGAIN;
    } else if (!l->value_due && c == l->type->delim && l->rest.n > 0) {
        l->value_due = true;
        pr_put_u8(o, ',');
    } else if (l->value_due && l->index > 0) {
        *step = STEP_VALUE;
        return PR_OK;
    } else {
        return PR_ESYNTAX;
    }
    skip(&l->rest, 1);
    return PR_OK;
}

static int array_step(struct pr_outbuf *o, struct level *l, struct pr_slice *part, enum step *step,
                      struct pr_outbuf *scratch)
{
    const char stops[] = {'}', '{', (char)l->type->delim, '\0'};
    int err = array_punct(o, l, step);

    if (err != PR_OK || *step != STEP_VALUE) {
        return err;
    }
    l->value_due = false;
    l->first = false;
    if (take_bare(&l->rest, stops, part)) {
        if (part->n == 0) {
            return PR_ESYNTAX;
        }
        *step = pr_slice_is_nocase(*part, "null") ? STEP_NULL : STEP_VALUE;
        return PR_OK;
    }
    return take_quoted(&l->rest, stops, part, scratch);
}

static int composite_step(struct pr_outbuf *o, struct level *l, struct pr_slice *part,
                          enum step *step, struct pr_outbuf *scratch)
{
    uint8_t c = l->rest.n > 0 ? l->rest.p[0] : '\0';
    bool open = l->first;

    if (!open && c == ')') {
        skip(&l->rest, 1);
        pr_put_u8(o, '}');
        *step = STEP_END;
        return l->index == l->type->nfields ? PR_OK : PR_ESYNTAX;
    }
    if (c != (open ? '(' : ',')) {
        return PR_ESYNTAX;
    }
    skip(&l->rest, 1);
    pr_put_u8(o, open ? '{' : ',');
    l->first = false;
    if (l->index == l->type->nfields) {
        *step = STEP_AGAIN;
        return open ? PR_OK : PR_ESYNTAX; /* "()" is right for a type without attributes */
    }
    pr_put_json_str(o, l->type->fields[l->index].name);
    pr_put_u8(o, ':');
    l->index++;
    if (take_bare(&l->rest, ",)", part)) {
        *step = part->n == 0 ? STEP_NULL : STEP_VALUE;
        return PR_OK;
    }
    *step = STEP_VALUE;
    return take_quoted(&l->rest, ",)", part, scratch);
}

/* Type of the part that a step has just given. */
static const struct pr_pg_type *part_type(const struct level *l)
{
    if (l->type->kind == PR_PG_ARRAY) {
        return pr_pg_base(l->type->elem);
    }
    return pr_pg_base(l->type->fields[l->index - 1].type);
}

static bool is_nest(const struct pr_pg_type *t)
{
    return t->kind == PR_PG_ARRAY || t->kind == PR_PG_COMPOSITE;
}

/* The levels from the outermost (0) to the one being written. */
struct stack {
    struct level levels[PR_PG_DEPTH_MAX];
    uint32_t depth;
};

static int push(struct stack *st, const struct pr_pg_type *t, struct pr_slice text, size_t mark)
{
    struct level *l = &st->levels[st->depth];

    if (st->depth == PR_PG_DEPTH_MAX) {
        return PR_EDEPTH;
    }
    *l = (struct level){.type = t, .rest = text, .mark = mark, .value_due = true, .first = true};
    if (t->kind == PR_PG_ARRAY && !skip_bounds(&l->rest)) {
        return PR_ESYNTAX;
    }
    st->depth++;
    return PR_OK;
}

/* Writes the next piece of the innermost level. */
static int nest_step(struct pr_outbuf *o, struct stack *st, struct pr_outbuf *scratch)
{
    struct level *l = &st->levels[st->depth - 1];
    size_t mark = scratch->len;
    enum step step = STEP_AGAIN;
    struct pr_slice part = {0};
    int err = l->type->kind == PR_PG_ARRAY ? array_step(o, l, &part, &step, scratch)
                                           : composite_step(o, l, &part, &step, scratch);

    if (err != PR_OK) {
        return err;
    }
    switch (step) {
    case STEP_VALUE:
        if (is_nest(part_type(l))) {
            return push(st, part_type(l), part, mark);
        }
        put_scalar(o, part_type(l)->kind, part, true);
        scratch->len = mark;
        break;
    case STEP_NULL:
        pr_put_str(o, "null");
        break;
    case STEP_AGAIN:
        break;
    case STEP_END:
        scratch->len = l->mark;
        st->depth--;
        return l->rest.n == 0 ? PR_OK : PR_ESYNTAX;
    }
    return PR_OK;
}

int pr_pg_json(struct pr_outbuf *o, const struct pr_pg_type *t, struct pr_slice text,
               struct pr_outbuf *scratch)
{
    struct stack st = {.depth = 0};
    size_t start = o->len;
    size_t mark = 0;
    int err = PR_OK;

    t = pr_pg_base(t);
    if (!is_nest(t)) {
        put_scalar(o, t->kind, text, false);
        return PR_OK;
    }
    mark = scratch->len;
    err = push(&st, t, text, mark);
    while (err == PR_OK && st.depth > 0) {
        err = nest_step(o, &st, scratch);
    }
    if (err != PR_OK) {
        o->len = start;
        scratch->len = mark;
    }
    return err;
}
