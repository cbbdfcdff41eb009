/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bodies of requests: so many bytes, or chunks (RFC 9112 7.1), strict where doubt would let two
 * readers see two requests.
 */
#include <string.h>

#include "node/edge/transport_in.h"

/* A chunk's size line with its extensions, which nobody uses. */
#define SIZE_LINE_MAX 256u
/* Trailer fields are read over, and are not endless. */
#define TRAILER_BYTES_MAX 4096u
/* A size of more digits is past every limit. */
#define SIZE_DIGITS_MAX 8u

enum at {
    AT_SIZE = 0, /* as a zeroed struct */
    AT_SIZE_LF,
    AT_DATA,
    AT_DATA_CR,
    AT_DATA_LF,
    AT_TRAILER,
    AT_TRAILER_LF
};

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool take_size(struct rt_chunks *k, uint8_t c)
{
    int digit = hex_digit(c);

    k->line++;
    if (c == '\r') {
        k->at = AT_SIZE_LF;
        return k->size_seen;
    }
    if (k->line > SIZE_LINE_MAX || (c < 0x20 && c != '\t') || c == 0x7f) {
        return false;
    }
    if (k->extension) {
        return true;
    }
    if (c == ';') {
        k->extension = true;
        return k->size_seen;
    }
    if (digit < 0 || k->line > SIZE_DIGITS_MAX) {
        return false;
    }
    k->size_seen = true;
    k->left = k->left * 16 + (uint64_t)digit;
    return true;
}

static void begin_size(struct rt_chunks *k)
{
    k->at = AT_SIZE;
    k->line = 0;
    k->left = 0;
    k->size_seen = false;
    k->extension = false;
}

/* One byte outside chunk data. False: no chunked body looks like this. */
static bool take_byte(struct rt_chunks *k, uint8_t c, bool *done)
{
    switch ((enum at)k->at) {
    case AT_SIZE:
        return take_size(k, c);
    case AT_SIZE_LF:
        k->at = k->left > 0 ? AT_DATA : AT_TRAILER;
        k->line = 0;
        return c == '\n';
    case AT_DATA_CR:
        k->at = AT_DATA_LF;
        return c == '\r';
    case AT_DATA_LF:
        begin_size(k);
        return c == '\n';
    case AT_TRAILER:
        k->trailer_bytes++;
        if (c == '\r') {
            k->at = AT_TRAILER_LF;
            return true;
        }
        k->line++;
        return k->trailer_bytes <= TRAILER_BYTES_MAX && (c >= 0x20 || c == '\t') && c != 0x7f;
    case AT_TRAILER_LF:
        *done = k->line == 0;
        k->line = 0;
        k->at = AT_TRAILER;
        return c == '\n';
    case AT_DATA:
        break;
    }
    return false;
}

static enum rt_body_result take_chunks(struct rt_body *b, struct pr_slice in, uint32_t bytes_max,
                                       size_t *used)
{
    struct rt_chunks *k = &b->chunks;
    bool done = false;
    size_t i = 0;

    while (i < in.n && !done) {
        if (k->at == AT_DATA) {
            size_t n = in.n - i < k->left ? in.n - i : (size_t)k->left;

            rt_bytes_add(&b->data, in.p + i, n);
            i += n;
            k->left -= n;
            k->at = k->left == 0 ? AT_DATA_CR : AT_DATA;
            continue;
        }
        if (!take_byte(k, in.p[i++], &done)) {
            return RT_BODY_BAD;
        }
        if (k->at == AT_DATA && k->left > bytes_max - b->data.len) {
            return RT_BODY_LARGE;
        }
    }
    *used = i;
    return done ? RT_BODY_DONE : RT_BODY_MORE;
}

enum rt_body_result rt_body_take(struct rt_body *b, struct pr_slice in, uint32_t bytes_max,
                                 size_t *used)
{
    if (b->chunked) {
        return take_chunks(b, in, bytes_max, used);
    }
    size_t n = in.n < b->left ? in.n : (size_t)b->left;

    rt_bytes_add(&b->data, in.p, n);
    b->left -= n;
    *used = n;
    return b->left == 0 ? RT_BODY_DONE : RT_BODY_MORE;
}
