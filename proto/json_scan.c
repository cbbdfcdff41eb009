/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_scan.h"

#include <string.h>

#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define ONES  0x0101010101010101ull
#define HIGHS 0x8080808080808080ull

/* Place in the text; `p` never passes `end`. */
struct scan {
    const uint8_t *p;
    const uint8_t *end;
};

static size_t left(const struct scan *s)
{
    return (size_t)(s->end - s->p);
}

/* Next byte is this one: step over it. */
static bool eat(struct scan *s, uint8_t c)
{
    if (s->p == s->end || *s->p != c) {
        return false;
    }
    s->p++;
    return true;
}

static void skip_space(struct scan *s)
{
    while (s->p != s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t')) {
        s->p++;
    }
}

/* High bit of each byte of `w` that is zero; bytes above a hit may be wrong, hits are not. */
static uint64_t zero_bytes(uint64_t w)
{
    return (w - ONES) & ~w & HIGHS;
}

/* Is any of eight bytes a quote, a backslash, a control character or not ASCII? */
static bool any_special(const uint8_t *p)
{
    uint64_t w;

    memcpy(&w, p, sizeof w);
    return (zero_bytes(w ^ (ONES * '"')) | zero_bytes(w ^ (ONES * '\\')) | ((w - ONES * 0x20) & ~w) |
            w) &
           HIGHS;
}

static bool is_special(uint8_t c)
{
    return c < 0x20 || c >= 0x80 || c == '"' || c == '\\';
}

/* Steps over plain string bytes: 16, then 8, then one at a time. */
static void skip_plain(struct scan *s)
{
#ifdef __SSE2__
    while (left(s) >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)s->p);
        /* A signed compare finds control characters and the negative, non-ASCII bytes at once. */
        __m128i odd = _mm_cmplt_epi8(v, _mm_set1_epi8(0x20));

        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('"')));
        odd = _mm_or_si128(odd, _mm_cmpeq_epi8(v, _mm_set1_epi8('\\')));
        unsigned mask = (unsigned)_mm_movemask_epi8(odd);
        if (mask != 0) {
            s->p += __builtin_ctz(mask);
            return;
        }
        s->p += 16;
    }
#endif
    while (left(s) >= 8 && !any_special(s->p)) {
        s->p += 8;
    }
    while (s->p != s->end && !is_special(*s->p)) {
        s->p++;
    }
}

/* Length of the UTF-8 character at p, of which the first byte is not ASCII; 0 if it is none. */
static size_t utf8_len(const uint8_t *p, size_t n)
{
    uint8_t low = 0x80;
    uint8_t high = 0xbf;
    size_t len = 0;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;   /* shorter forms exist */
        high = p[0] == 0xed ? 0x9f : high; /* surrogates */
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high; /* above U+10FFFF */
    }
    if (len == 0 || len > n || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }
    return len;
}

bool pr_utf8_ok(struct pr_slice text)
{
    size_t i = 0;

    while (i < text.n) {
        uint64_t w = 0;

        if (text.n - i >= sizeof w) {
            memcpy(&w, text.p + i, sizeof w);
            if ((w & HIGHS) == 0) {
                i += sizeof w;
                continue;
            }
        }
        size_t len = text.p[i] < 0x80 ? 1 : utf8_len(text.p + i, text.n - i);
        if (len == 0) {
            return false;
        }
        i += len;
    }
    return true;
}

/* Value of a hex digit, or -1. */
static int hex(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

/* After a backslash. */
static int skip_escape(struct scan *s)
{
    if (s->p == s->end) {
        return PR_ESYNTAX;
    }
    uint8_t c = *s->p++;
    if (c != 'u') {
        return c != 0 && strchr("\"\\/bfnrt", c) != NULL ? PR_OK : PR_ESYNTAX;
    }
    for (int i = 0; i < 4; i++) {
        if (s->p == s->end || hex(*s->p) < 0) {
            return PR_ESYNTAX;
        }
        s->p++;
    }
    return PR_OK;
}

/* A whole string, from its opening to its closing quote. */
static int skip_string(struct scan *s)
{
    if (!eat(s, '"')) {
        return PR_ESYNTAX;
    }
    for (;;) {
        skip_plain(s);
        if (s->p == s->end) {
            return PR_ESYNTAX;
        }
        if (*s->p >= 0x80) {
            size_t len = utf8_len(s->p, left(s));
            if (len == 0) {
                return PR_EUTF8;
            }
            s->p += len;
            continue;
        }
        uint8_t c = *s->p++;
        if (c == '"') {
            return PR_OK;
        }
        if (c != '\\' || skip_escape(s) != PR_OK) {
            return PR_ESYNTAX;
        }
    }
}

/* At least one digit. */
static bool skip_digits(struct scan *s)
{
    const uint8_t *start = s->p;

    while (s->p != s->end && *s->p >= '0' && *s->p <= '9') {
        s->p++;
    }
    return s->p != start;
}

static int skip_number(struct scan *s)
{
    (void)eat(s, '-');
    if (!eat(s, '0') && !skip_digits(s)) {
        return PR_ESYNTAX;
    }
    if (eat(s, '.') && !skip_digits(s)) {
        return PR_ESYNTAX;
    }
    if (eat(s, 'e') || eat(s, 'E')) {
        (void)(eat(s, '+') || eat(s, '-'));
        if (!skip_digits(s)) {
            return PR_ESYNTAX;
        }
    }
    return PR_OK;
}

static int skip_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);

    if (left(s) < n || memcmp(s->p, word, n) != 0) {
        return PR_ESYNTAX;
    }
    s->p += n;
    return PR_OK;
}

static int skip_scalar(struct scan *s)
{
    switch (*s->p) {
    case '"':
        return skip_string(s);
    case 't':
        return skip_word(s, "true");
    case 'f':
        return skip_word(s, "false");
    case 'n':
        return skip_word(s, "null");
    default:
        return skip_number(s);
    }
}

/* A member's name and the colon, with white space around both. */
static int skip_key(struct scan *s, struct pr_slice *key)
{
    skip_space(s);
    const uint8_t *start = s->p;
    int rc = skip_string(s);
    if (rc != PR_OK) {
        return rc;
    }
    if (key != NULL) {
        *key = pr_bytes(start + 1, (size_t)(s->p - start) - 2);
    }
    skip_space(s);
    return eat(s, ':') ? PR_OK : PR_ESYNTAX;
}

/* What is open, outermost in the lowest bit: 1 = object. */
struct stack {
    uint64_t objects;
    uint32_t depth;
    uint32_t depth_max;
};

static bool in_object(const struct stack *st)
{
    return (st->objects >> (st->depth - 1) & 1) != 0;
}

/*
 * At a bracket: opens it, and steps to where its first value starts. *empty: it has none, and the
 * closing bracket is next.
 */
static int open_container(struct scan *s, struct stack *st, bool *empty)
{
    if (st->depth == st->depth_max) {
        return PR_EDEPTH;
    }
    bool object = *s->p++ == '{';
    uint64_t bit = 1ull << st->depth;
    st->objects = object ? st->objects | bit : st->objects & ~bit;
    st->depth++;
    skip_space(s);
    *empty = s->p != s->end && *s->p == (object ? '}' : ']');
    return *empty || !object ? PR_OK : skip_key(s, NULL);
}

/* After a value: closes what ends here. Returns with depth 0, or where the next value starts. */
static int close_containers(struct scan *s, struct stack *st)
{
    while (st->depth > 0) {
        bool object = in_object(st);

        skip_space(s);
        if (eat(s, ',')) {
            return object ? skip_key(s, NULL) : PR_OK;
        }
        if (!eat(s, object ? '}' : ']')) {
            return PR_ESYNTAX;
        }
        st->depth--;
    }
    return PR_OK;
}

static int skip_value(struct scan *s, uint32_t depth_max)
{
    struct stack st = {.depth_max = depth_max};

    do {
        bool container = false;
        bool empty = true;
        int rc = PR_OK;

        skip_space(s);
        if (s->p == s->end) {
            return PR_ESYNTAX;
        }
        container = *s->p == '{' || *s->p == '[';
        rc = container ? open_container(s, &st, &empty) : skip_scalar(s);
        if (rc == PR_OK && empty) {
            rc = close_containers(s, &st);
        }
        if (rc != PR_OK) {
            return rc;
        }
    } while (st.depth > 0);
    return PR_OK;
}

static enum pr_json_type type_of(uint8_t first)
{
    switch (first) {
    case '"':
        return PR_JSON_STRING;
    case '{':
        return PR_JSON_OBJECT;
    case '[':
        return PR_JSON_ARRAY;
    case 't':
        return PR_JSON_TRUE;
    case 'f':
        return PR_JSON_FALSE;
    case 'n':
        return PR_JSON_NULL;
    default:
        return PR_JSON_NUMBER;
    }
}

static int take_value(struct scan *s, uint32_t depth_max, struct pr_json *v)
{
    skip_space(s);
    const uint8_t *start = s->p;
    int rc = skip_value(s, depth_max);
    if (rc == PR_OK) {
        v->type = type_of(*start);
        v->raw = pr_bytes(start, (size_t)(s->p - start));
    }
    return rc;
}

static struct scan scan_of(struct pr_slice text)
{
    static const uint8_t none[1] = {0};
    struct scan s = {.p = none, .end = none};

    if (text.n > 0) {
        s.p = text.p;
        s.end = text.p + text.n;
    }
    return s;
}

int pr_json_value(struct pr_slice text, struct pr_json *v)
{
    struct scan s = scan_of(text);
    int rc = take_value(&s, PR_JSON_DEPTH_MAX, v);

    if (rc != PR_OK) {
        return rc;
    }
    skip_space(&s);
    return s.p == s.end ? PR_OK : PR_ESYNTAX;
}

int pr_json_check(struct pr_slice text)
{
    struct pr_json v;

    return pr_json_value(text, &v);
}

int pr_json_open(struct pr_json_iter *it, struct pr_slice text)
{
    struct scan s = scan_of(text);

    skip_space(&s);
    if (s.p == s.end) {
        return PR_ESYNTAX;
    }
    if (*s.p != '{' && *s.p != '[') {
        return PR_ETYPE;
    }
    it->object = *s.p == '{';
    it->started = false;
    it->p = s.p + 1;
    it->end = s.end;
    return PR_OK;
}

/* The closing bracket was taken: nothing but white space may follow. */
static int finish(struct pr_json_iter *it, struct scan *s)
{
    skip_space(s);
    it->p = s->end;
    return s->p == s->end ? 0 : PR_ESYNTAX;
}

int pr_json_next(struct pr_json_iter *it, struct pr_slice *key, struct pr_json *v)
{
    struct scan s = {.p = it->p, .end = it->end};
    uint8_t closing = it->object ? '}' : ']';
    int rc = PR_OK;

    if (key != NULL) {
        *key = pr_bytes(NULL, 0);
    }
    skip_space(&s);
    if (!it->started) {
        it->started = true;
        if (eat(&s, closing)) {
            return finish(it, &s);
        }
    } else if (!eat(&s, ',')) {
        return eat(&s, closing) ? finish(it, &s) : PR_ESYNTAX;
    }
    if (it->object) {
        rc = skip_key(&s, key);
    }
    if (rc == PR_OK) {
        rc = take_value(&s, PR_JSON_DEPTH_MAX - 1, v);
    }
    it->p = rc == PR_OK ? s.p : s.end;
    return rc == PR_OK ? 1 : rc;
}

int pr_json_member(struct pr_slice object, const char *name, struct pr_json *v)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json member;
    int found = 0;
    int rc = pr_json_open(&it, object);

    if (rc != PR_OK || !it.object) {
        return rc != PR_OK ? rc : PR_ETYPE;
    }
    while ((rc = pr_json_next(&it, &key, &member)) > 0) {
        if (pr_json_str_is(key, name)) {
            *v = member;
            found = 1;
        }
    }
    return rc < 0 ? rc : found;
}

struct pr_slice pr_json_str(const struct pr_json *v)
{
    return pr_bytes(v->raw.p + 1, v->raw.n - 2);
}

static uint32_t hex4(const uint8_t *p)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        v = v << 4 | (uint32_t)hex(p[i]);
    }
    return v;
}

static size_t put_utf8(uint32_t c, uint8_t out[4])
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/* At "uXXXX": steps over it, and over the second half of a pair. */
static size_t take_unicode(struct scan *s, uint8_t out[4])
{
    uint32_t c = hex4(s->p + 1);

    s->p += 5;
    if (c >= 0xd800 && c <= 0xdbff && left(s) >= 6 && s->p[0] == '\\' && s->p[1] == 'u') {
        uint32_t low = hex4(s->p + 2);

        if (low >= 0xdc00 && low <= 0xdfff) {
            s->p += 6;
            return put_utf8(0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00)), out);
        }
    }
    return put_utf8(c >= 0xd800 && c <= 0xdfff ? 0xfffd : c, out);
}

/* At a backslash of a checked text: steps over the escape, gives its 1 to 4 bytes. */
static size_t take_escape(struct scan *s, uint8_t out[4])
{
    static const char names[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";

    s->p++;
    if (*s->p == 'u') {
        return take_unicode(s, out);
    }
    const char *at = strchr(names, *s->p);
    out[0] = at != NULL ? (uint8_t)values[at - names] : *s->p;
    s->p++;
    return 1;
}

static bool has_escape(struct pr_slice escaped)
{
    return escaped.n > 0 && memchr(escaped.p, '\\', escaped.n) != NULL;
}

bool pr_json_str_is(struct pr_slice escaped, const char *text)
{
    struct scan s = scan_of(escaped);
    struct pr_cursor want = pr_cursor(pr_str(text));

    if (!has_escape(escaped)) {
        return pr_slice_is(escaped, text);
    }
    while (s.p != s.end) {
        uint8_t c[4] = {*s.p};
        size_t n = 1;

        if (c[0] == '\\') {
            n = take_escape(&s, c);
        } else {
            s.p++;
        }
        if (!pr_slice_eq(pr_get_bytes(&want, n), pr_bytes(c, n))) {
            return false;
        }
    }
    return want.left == 0;
}

void pr_json_unescape(struct pr_outbuf *o, struct pr_slice escaped)
{
    struct scan s = scan_of(escaped);

    while (s.p != s.end) {
        const uint8_t *next = memchr(s.p, '\\', left(&s));
        const uint8_t *plain_end = next != NULL ? next : s.end;
        uint8_t c[4];

        pr_put(o, s.p, (size_t)(plain_end - s.p));
        s.p = plain_end;
        if (next != NULL) {
            size_t n = take_escape(&s, c);
            pr_put(o, c, n);
        }
    }
}

int pr_json_text(const struct pr_json *v, struct pr_outbuf *scratch, struct pr_slice *out)
{
    if (v->type != PR_JSON_STRING) {
        return PR_ETYPE;
    }
    *out = pr_json_str(v);
    if (!has_escape(*out)) {
        return PR_OK;
    }
    size_t start = scratch->len;
    pr_json_unescape(scratch, *out);
    if (!pr_out_ok(scratch)) {
        return PR_ESHORT;
    }
    *out = pr_bytes(scratch->p + start, scratch->len - start);
    return PR_OK;
}
