/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/base64url.h"

/* Six bits of a character, or -1. */
static int value_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '-') {
        return 62;
    }
    return c == '_' ? 63 : -1;
}

int pr_base64url_decode(struct pr_outbuf *o, struct pr_slice text)
{
    uint32_t bits = 0;
    unsigned count = 0;

    if (text.n % 4 == 1) {
        return PR_ESYNTAX;
    }
    for (size_t i = 0; i < text.n; i++) {
        int v = value_of(text.p[i]);

        if (v < 0) {
            return PR_ESYNTAX;
        }
        bits = (bits << 6 | (uint32_t)v) & 0xffff;
        count += 6;
        if (count >= 8) {
            count -= 8;
            pr_put_u8(o, (uint8_t)(bits >> count));
        }
    }
    return PR_OK;
}

void pr_base64url_put(struct pr_outbuf *o, struct pr_slice bytes)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    uint32_t bits = 0;
    unsigned count = 0;

    for (size_t i = 0; i < bytes.n; i++) {
        bits = (bits << 8 | bytes.p[i]) & 0xffff;
        count += 8;
        while (count >= 6) {
            count -= 6;
            pr_put_u8(o, (uint8_t)alphabet[bits >> count & 63]);
        }
    }
    if (count > 0) {
        pr_put_u8(o, (uint8_t)alphabet[bits << (6 - count) & 63]);
    }
}
