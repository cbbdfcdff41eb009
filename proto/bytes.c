/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/bytes.h"

#include <assert.h>
#include <string.h>

struct pr_slice pr_str(const char *text)
{
    return pr_bytes(text, strlen(text));
}

struct pr_slice pr_bytes(const void *p, size_t len)
{
    struct pr_slice s = {.p = p, .n = len};

    assert(p != NULL || len == 0);
    return s;
}

bool pr_slice_eq(struct pr_slice a, struct pr_slice b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool pr_slice_is(struct pr_slice a, const char *text)
{
    return pr_slice_eq(a, pr_str(text));
}

static uint8_t lower(uint8_t c)
{
    return (c >= 'A' && c <= 'Z') ? (uint8_t)(c + ('a' - 'A')) : c;
}

bool pr_slice_is_nocase(struct pr_slice a, const char *text)
{
    struct pr_slice b = pr_str(text);

    if (a.n != b.n) {
        return false;
    }
    for (size_t i = 0; i < a.n; i++) {
        if (lower(a.p[i]) != lower(b.p[i])) {
            return false;
        }
    }
    return true;
}

struct pr_cursor pr_cursor(struct pr_slice in)
{
    struct pr_cursor c = {.p = in.p, .left = in.n, .failed = false};

    return c;
}

struct pr_slice pr_get_bytes(struct pr_cursor *c, size_t n)
{
    struct pr_slice s = {0};

    if (c->failed || n > c->left) {
        c->failed = true;
        return s;
    }
    s.p = c->p;
    s.n = n;
    if (n > 0) {
        c->p += n;
        c->left -= n;
    }
    return s;
}

static uint64_t get_be(struct pr_cursor *c, size_t n)
{
    struct pr_slice s = pr_get_bytes(c, n);
    uint64_t v = 0;

    for (size_t i = 0; i < s.n; i++) {
        v = v << 8 | s.p[i];
    }
    return v;
}

uint8_t pr_get_u8(struct pr_cursor *c)
{
    return (uint8_t)get_be(c, 1);
}

uint16_t pr_get_u16be(struct pr_cursor *c)
{
    return (uint16_t)get_be(c, 2);
}

uint32_t pr_get_u32be(struct pr_cursor *c)
{
    return (uint32_t)get_be(c, 4);
}

uint64_t pr_get_u64be(struct pr_cursor *c)
{
    return get_be(c, 8);
}

struct pr_slice pr_get_cstr(struct pr_cursor *c)
{
    const uint8_t *end = NULL;
    struct pr_slice s = {0};

    if (!c->failed && c->left > 0) {
        end = memchr(c->p, 0, c->left);
    }
    if (end == NULL) {
        c->failed = true;
        return s;
    }
    s = pr_get_bytes(c, (size_t)(end - c->p));
    (void)pr_get_bytes(c, 1);
    return s;
}

struct pr_outbuf pr_outbuf(void *p, size_t cap)
{
    struct pr_outbuf o = {.p = p, .cap = cap, .len = 0};

    assert(p != NULL || cap == 0);
    return o;
}

bool pr_out_ok(const struct pr_outbuf *o)
{
    return o->len <= o->cap;
}

void pr_put(struct pr_outbuf *o, const void *p, size_t n)
{
    if (n > 0 && o->len <= o->cap && n <= o->cap - o->len) {
        memcpy(o->p + o->len, p, n);
    }
    o->len += n;
}

void pr_put_slice(struct pr_outbuf *o, struct pr_slice s)
{
    pr_put(o, s.p, s.n);
}

void pr_put_str(struct pr_outbuf *o, const char *text)
{
    pr_put(o, text, strlen(text));
}

static void put_be(struct pr_outbuf *o, uint64_t v, size_t n)
{
    uint8_t b[8];

    for (size_t i = 0; i < n; i++) {
        b[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
    }
    pr_put(o, b, n);
}

void pr_put_u8(struct pr_outbuf *o, uint8_t v)
{
    pr_put(o, &v, 1);
}

void pr_put_u16be(struct pr_outbuf *o, uint16_t v)
{
    put_be(o, v, 2);
}

void pr_put_u32be(struct pr_outbuf *o, uint32_t v)
{
    put_be(o, v, 4);
}

void pr_put_u64be(struct pr_outbuf *o, uint64_t v)
{
    put_be(o, v, 8);
}

void pr_put_dec(struct pr_outbuf *o, uint64_t v)
{
    char digits[20];
    size_t n = 0;

    do {
        digits[sizeof digits - 1 - n] = (char)('0' + v % 10);
        v /= 10;
        n++;
    } while (v != 0);
    pr_put(o, digits + sizeof digits - n, n);
}

void pr_patch_u32be(struct pr_outbuf *o, size_t at, uint32_t v)
{
    assert(at <= o->len && o->len - at >= 4);
    if (at <= o->cap && o->cap - at >= 4) {
        for (size_t i = 0; i < 4; i++) {
            o->p[at + i] = (uint8_t)(v >> (8 * (3 - i)));
        }
    }
}
