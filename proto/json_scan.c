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
    uint64_t odd = zero_bytes(w ^ (ONES * '"')) | zero_bytes(w ^ (ONES * '\\'));
    odd |= (w - ONES * 0x20) & ~w;
    return ((odd | w) & HIGHS) != 0;
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
            size_t len = pr_utf8_len(s->p, left(s));
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

int pr_json_pick(struct pr_slice object, const char *const *names, size_t count,
                 struct pr_json *values)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json member;
    int rc = pr_json_open(&it, object);

    if (rc != PR_OK || !it.object) {
        return rc != PR_OK ? rc : PR_ETYPE;
    }
    for (size_t i = 0; i < count; i++) {
        values[i].type = PR_JSON_NULL;
        values[i].raw = pr_bytes(NULL, 0);
    }
    while ((rc = pr_json_next(&it, &key, &member)) > 0) {
        /* Looked for once: nobody escapes a key, and each message comes through here. */
        bool plain = key.n == 0 || memchr(key.p, '\\', key.n) == NULL;

        for (size_t i = 0; i < count; i++) {
            if (plain ? pr_slice_is(key, names[i]) : pr_json_str_is(key, names[i])) {
                values[i] = member;
            }
        }
    }
    return rc;
}

int pr_json_member(struct pr_slice object, const char *name, struct pr_json *v)
{
    struct pr_json member;
    int rc = pr_json_pick(object, &name, 1, &member);

    if (rc != PR_OK || member.raw.n == 0) {
        return rc;
    }
    *v = member;
    return 1;
}
