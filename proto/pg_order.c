/* SPDX-License-Identifier: Apache-2.0 */
/* Order, equality and hash keys of values in text form. Numbers are compared by their digits, never
 * as doubles: numeric is exact, and the shortest form of a float has the order of the float. */
#include "proto/pg_value.h"

#include <string.h>

bool pr_pg_has_equal(const struct pr_pg_type *t)
{
    switch (pr_pg_base(t)->kind) {
    case PR_PG_BOOL:
    case PR_PG_INT:
    case PR_PG_OID:
    case PR_PG_FLOAT:
    case PR_PG_NUMERIC:
    case PR_PG_TEXT:
    case PR_PG_BPCHAR:
    case PR_PG_BYTEA:
    case PR_PG_UUID:
    case PR_PG_DATE:
    case PR_PG_TIME:
    case PR_PG_TIMESTAMP:
    case PR_PG_TIMESTAMPTZ:
    case PR_PG_ENUM:
        return true;
    case PR_PG_JSON:
    case PR_PG_DOMAIN:
    case PR_PG_ARRAY:
    case PR_PG_COMPOSITE:
    case PR_PG_OTHER:
    case PR_PG_SQL:
        break;
    }
    return false;
}

bool pr_pg_has_order(const struct pr_pg_type *t, bool c_collation)
{
    enum pr_pg_kind kind = pr_pg_base(t)->kind;

    return pr_pg_has_equal(t) && (c_collation || (kind != PR_PG_TEXT && kind != PR_PG_BPCHAR));
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

static int sign_of(bool less, bool more)
{
    return less ? -1 : (more ? 1 : 0);
}

static int compare_bytes(struct pr_slice a, struct pr_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int order = n > 0 ? memcmp(a.p, b.p, n) : 0;

    return order != 0 ? order : sign_of(a.n<b.n, a.n> b.n);
}

/*
 * A number: 0.DIGITS * 10^exp, DIGITS from the first to the last digit that is not 0 (a '.' may
 * stand among them). Order of ranks: -Infinity, finite, Infinity, NaN.
 */
struct number {
    int rank; /* -1 -Infinity, 0 finite, 1 Infinity, 2 NaN */
    int sign; /* -1, 0 (zero), 1 */
    struct pr_slice digits;
    int64_t exp;
};

/* Text "e+300" behind the digits. False: not an exponent, or absurd. */
static bool read_exponent(struct pr_slice s, int64_t *exp)
{
    size_t i = 1;
    int64_t v = 0;
    bool negative = false;

    if (s.n < 2) {
        return false;
    }
    if (s.p[1] == '+' || s.p[1] == '-') {
        negative = s.p[1] == '-';
        i = 2;
    }
    if (i == s.n) {
        return false;
    }
    for (; i < s.n; i++) {
        if (!is_digit(s.p[i]) || v > 100000) {
            return false;
        }
        v = v * 10 + (s.p[i] - '0');
    }
    *exp += negative ? -v : v;
    return true;
}

static bool read_special(struct pr_slice s, struct number *n)
{
    n->digits = (struct pr_slice){0};
    if (pr_slice_is(s, "NaN")) {
        n->rank = 2;
    } else if (pr_slice_is(s, "Infinity")) {
        n->rank = 1;
    } else if (pr_slice_is(s, "-Infinity")) {
        n->rank = -1;
    } else {
        return false;
    }
    return true;
}

static bool read_number(struct pr_slice s, struct number *n)
{
    size_t i = s.n > 0 && s.p[0] == '-' ? 1 : 0;
    size_t digits = 0;
    size_t first = SIZE_MAX;
    size_t last = 0;
    bool dot = false;

    *n = (struct number){.sign = i == 1 ? -1 : 1};
    for (; i < s.n && (is_digit(s.p[i]) || (s.p[i] == '.' && !dot)); i++) {
        if (s.p[i] == '.') {
            dot = true;
            continue;
        }
        digits++;
        if (s.p[i] != '0') {
            first = first == SIZE_MAX ? i : first;
            last = i;
        }
        /* Places before the point, counted from the first digit that is not 0; behind it, zeros
         * before that digit count down. */
        if (!dot && first != SIZE_MAX) {
            n->exp++;
        } else if (dot && first == SIZE_MAX) {
            n->exp--;
        }
    }
    if (digits == 0) {
        return read_special(s, n);
    }
    if (i < s.n && (s.p[i] != 'e' || !read_exponent(pr_bytes(s.p + i, s.n - i), &n->exp))) {
        return false;
    }
    if (first == SIZE_MAX) {
        n->sign = 0;
        n->exp = 0;
    } else {
        n->digits = pr_bytes(s.p + first, last - first + 1);
    }
    return true;
}

/* Next digit of a number, -1 behind the last. */
static int next_digit(struct pr_slice *s)
{
    uint8_t c = 0;

    if (s->n > 0 && s->p[0] == '.') {
        s->p++;
        s->n--;
    }
    if (s->n == 0) {
        return -1;
    }
    c = s->p[0];
    s->p++;
    s->n--;
    return c - '0';
}

static int compare_numbers(const struct number *a, const struct number *b)
{
    struct pr_slice x = a->digits;
    struct pr_slice y = b->digits;
    int dx = 0;
    int dy = 0;

    if (a->rank != b->rank) {
        return sign_of(a->rank < b->rank, true);
    }
    if (a->rank != 0 || a->sign != b->sign) {
        return a->rank != 0 ? 0 : sign_of(a->sign < b->sign, true);
    }
    if (a->exp != b->exp) {
        return a->exp < b->exp ? -a->sign : a->sign;
    }
    do {
        dx = next_digit(&x);
        dy = next_digit(&y);
    } while (dx == dy && dx != -1);
    return dx == dy ? 0 : (dx < dy ? -a->sign : a->sign);
}

/* Reads 1 .. max digits. */
static bool read_digits(struct pr_slice *s, size_t max, int64_t *v)
{
    size_t i = 0;

    *v = 0;
    while (i < s->n && i < max && is_digit(s->p[i])) {
        *v = *v * 10 + (s->p[i] - '0');
        i++;
    }
    s->p += i;
    s->n -= i;
    return i > 0;
}

static bool take(struct pr_slice *s, char c)
{
    if (s->n == 0 || s->p[0] != (uint8_t)c) {
        return false;
    }
    s->p++;
    s->n--;
    return true;
}

/* Takes " BC" off the end. */
static bool take_bc(struct pr_slice *s)
{
    if (s->n < 3 || memcmp(s->p + s->n - 3, " BC", 3) != 0) {
        return false;
    }
    s->n -= 3;
    return true;
}

/* YYYY-MM-DD, proleptic Gregorian, to days since 2000-01-01. The years begin in March here, so that
 * the leap day is the last of its year. */
static bool read_date(struct pr_slice *s, bool bc, int64_t *days)
{
    int64_t y = 0;
    int64_t m = 0;
    int64_t d = 0;
    int64_t era = 0;

    if (!read_digits(s, 7, &y) || !take(s, '-') || !read_digits(s, 2, &m) || !take(s, '-') ||
        !read_digits(s, 2, &d) || m < 1 || m > 12 || d < 1 || d > 31) {
        return false;
    }
    y = bc ? 1 - y : y;
    y -= m <= 2 ? 1 : 0;
    era = (y >= 0 ? y : y - 399) / 400;
    y -= era * 400;
    m += m > 2 ? -3 : 9;
    *days = era * 146097 + y * 365 + y / 4 - y / 100 + (153 * m + 2) / 5 + d - 1 -
            730425; /* 2000-01-01 counted from 0000-03-01 */
    return true;
}

/* HH:MM:SS[.ffffff] to microseconds. */
static bool read_time(struct pr_slice *s, int64_t *us)
{
    int64_t h = 0;
    int64_t m = 0;
    int64_t sec = 0;
    int64_t frac = 0;

    if (!read_digits(s, 2, &h) || !take(s, ':') || !read_digits(s, 2, &m) || !take(s, ':') ||
        !read_digits(s, 2, &sec) || h > 24 || m > 59 || sec > 60) {
        return false;
    }
    if (take(s, '.')) {
        size_t before = s->n;

        if (!read_digits(s, 6, &frac)) {
            return false;
        }
        for (size_t n = before - s->n; n < 6; n++) {
            frac *= 10;
        }
    }
    *us = ((h * 60 + m) * 60 + sec) * 1000000 + frac;
    return true;
}

/* +HH[:MM[:SS]] to microseconds east of UTC. */
static bool read_zone(struct pr_slice *s, int64_t *us)
{
    bool west = s->n > 0 && s->p[0] == '-';
    int64_t part[3] = {0};

    if (!take(s, west ? '-' : '+') || !read_digits(s, 2, &part[0]) ||
        (take(s, ':') && !read_digits(s, 2, &part[1])) ||
        (take(s, ':') && !read_digits(s, 2, &part[2])) || part[0] > 24) {
        return false;
    }
    *us = ((part[0] * 60 + part[1]) * 60 + part[2]) * (west ? -1000000 : 1000000);
    return true;
}

/* Last day of a timestamp, 294276-12-31; its microseconds, and a zone, fit 64 bits. */
#define TIMESTAMP_DAYS_MAX INT64_C(106751982)

/* Date, time and timestamps as one number: days, or microseconds. */
static bool read_moment(enum pr_pg_kind kind, struct pr_slice s, int64_t *v)
{
    bool date = kind == PR_PG_DATE;
    int64_t us = 0;
    int64_t zone = 0;
    bool bc = false;

    if (kind == PR_PG_TIME) {
        return read_time(&s, v) && s.n == 0;
    }
    if (pr_slice_is(s, "infinity") || pr_slice_is(s, "-infinity")) {
        *v = s.p[0] == '-' ? INT64_MIN : INT64_MAX;
        return true;
    }
    bc = take_bc(&s);
    if (!read_date(&s, bc, v)) {
        return false;
    }
    if (date) {
        return s.n == 0;
    }
    if (*v > TIMESTAMP_DAYS_MAX || *v < -TIMESTAMP_DAYS_MAX || !take(&s, ' ') ||
        !read_time(&s, &us) || (kind == PR_PG_TIMESTAMPTZ && !read_zone(&s, &zone))) {
        return false;
    }
    *v = *v * INT64_C(86400000000) + us - zone;
    return s.n == 0;
}

static struct pr_slice trim_blanks(struct pr_slice s)
{
    while (s.n > 0 && s.p[s.n - 1] == ' ') {
        s.n--;
    }
    return s;
}

/* Place of an enum's label in its order, -1 for none. */
static int64_t label_index(const struct pr_pg_type *t, struct pr_slice s)
{
    for (uint32_t i = 0; i < t->nlabels; i++) {
        if (pr_slice_eq(t->labels[i], s)) {
            return i;
        }
    }
    return -1;
}

/* "t" or "f"; "\x" and hex; 36 characters of a uuid: all compare by bytes if they are right. */
static bool is_bytewise(enum pr_pg_kind kind, struct pr_slice s)
{
    if (kind == PR_PG_BOOL) {
        return s.n == 1 && (s.p[0] == 't' || s.p[0] == 'f');
    }
    if (kind == PR_PG_UUID) {
        return s.n == 36;
    }
    return s.n >= 2 && s.p[0] == '\\' && s.p[1] == 'x';
}

/* A value ready to be compared: one of number, moment or bytes, by `how`. */
struct value {
    enum { BY_NUMBER = 1, BY_MOMENT, BY_BYTES } how;
    struct number number;
    int64_t moment;
    struct pr_slice bytes;
};

static int read_value(const struct pr_pg_type *t, struct pr_slice s, struct value *v)
{
    bool ok = true;

    v->how = BY_BYTES;
    v->bytes = s;
    switch (t->kind) {
    case PR_PG_INT:
    case PR_PG_OID:
    case PR_PG_FLOAT:
    case PR_PG_NUMERIC:
        v->how = BY_NUMBER;
        ok = read_number(s, &v->number);
        break;
    case PR_PG_DATE:
    case PR_PG_TIME:
    case PR_PG_TIMESTAMP:
    case PR_PG_TIMESTAMPTZ:
        v->how = BY_MOMENT;
        ok = read_moment(t->kind, s, &v->moment);
        break;
    case PR_PG_ENUM:
        v->how = BY_MOMENT;
        v->moment = label_index(t, s);
        ok = v->moment >= 0;
        break;
    case PR_PG_TEXT:
        break;
    case PR_PG_BPCHAR:
        v->bytes = trim_blanks(s);
        break;
    case PR_PG_BOOL:
    case PR_PG_BYTEA:
    case PR_PG_UUID:
        ok = is_bytewise(t->kind, s);
        break;
    case PR_PG_JSON:
    case PR_PG_DOMAIN:
    case PR_PG_ARRAY:
    case PR_PG_COMPOSITE:
    case PR_PG_OTHER:
    case PR_PG_SQL:
        return PR_ETYPE;
    }
    return ok ? PR_OK : PR_ESYNTAX;
}

int pr_pg_compare(const struct pr_pg_type *t, struct pr_slice a, struct pr_slice b, int *order)
{
    struct value x;
    struct value y;
    int err = PR_OK;

    t = pr_pg_base(t);
    err = read_value(t, a, &x);
    if (err == PR_OK) {
        err = read_value(t, b, &y);
    }
    if (err != PR_OK) {
        return err;
    }
    switch (x.how) {
    case BY_NUMBER:
        *order = compare_numbers(&x.number, &y.number);
        break;
    case BY_MOMENT:
        *order = sign_of(x.moment<y.moment, x.moment> y.moment);
        break;
    case BY_BYTES:
        *order = compare_bytes(x.bytes, y.bytes);
        break;
    }
    return PR_OK;
}

static void put_number_key(struct pr_outbuf *o, const struct number *n)
{
    struct pr_slice digits = n->digits;

    pr_put_u8(o, (uint8_t)(n->rank + 2));
    pr_put_u8(o, (uint8_t)(n->sign + 2));
    pr_put_u64be(o, (uint64_t)n->exp);
    for (int d = next_digit(&digits); d != -1; d = next_digit(&digits)) {
        pr_put_u8(o, (uint8_t)d);
    }
}

int pr_pg_key(struct pr_outbuf *o, const struct pr_pg_type *t, struct pr_slice text)
{
    struct value v;
    int err = PR_OK;

    t = pr_pg_base(t);
    err = read_value(t, text, &v);
    if (err != PR_OK) {
        return err;
    }
    if (t->kind == PR_PG_ENUM) { /* the label: its place may change while the key is kept */
        pr_put_slice(o, text);
        return PR_OK;
    }
    switch (v.how) {
    case BY_NUMBER:
        put_number_key(o, &v.number);
        break;
    case BY_MOMENT:
        pr_put_u64be(o, (uint64_t)v.moment);
        break;
    case BY_BYTES:
        pr_put_slice(o, v.bytes);
        break;
    }
    return PR_OK;
}
