/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_write.h"

#include "proto/utf8.h"

/* Bytes that go out as they are. */
static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c != '"' && c != '\\';
}

static void put_ascii(struct pr_outbuf *o, uint8_t c)
{
    static const char digits[] = "0123456789abcdef";

    switch (c) {
    case '"':
        pr_put_str(o, "\\\"");
        break;
    case '\\':
        pr_put_str(o, "\\\\");
        break;
    case '\n':
        pr_put_str(o, "\\n");
        break;
    case '\r':
        pr_put_str(o, "\\r");
        break;
    case '\t':
        pr_put_str(o, "\\t");
        break;
    default:
        pr_put_str(o, "\\u00");
        pr_put_u8(o, (uint8_t)digits[c >> 4]);
        pr_put_u8(o, (uint8_t)digits[c & 15]);
        break;
    }
}

/* Whole plain UTF-8 of `text`. */
static void put_valid(struct pr_outbuf *o, struct pr_slice text)
{
    size_t start = 0;

    for (size_t i = 0; i < text.n; i++) {
        if (!is_plain(text.p[i])) {
            pr_put(o, text.p + start, i - start);
            put_ascii(o, text.p[i]);
            start = i + 1;
        }
    }
    if (text.n > start) {
        pr_put(o, text.p + start, text.n - start);
    }
}

/* Length of the character at the start of a text that is not valid as a whole; 0 = damaged. */
static size_t character_len(struct pr_slice text)
{
    for (size_t n = 1; n <= 4 && n <= text.n; n++) {
        if (pr_utf8_ok(pr_bytes(text.p, n))) {
            return n;
        }
    }
    return 0;
}

void pr_put_json_escaped(struct pr_outbuf *o, struct pr_slice text)
{
    if (pr_utf8_ok(text)) {
        put_valid(o, text);
        return;
    }
    while (text.n > 0) {
        size_t n = character_len(text);

        if (n == 0) {
            pr_put_str(o, "\xef\xbf\xbd");
            n = 1;
        } else {
            put_valid(o, pr_bytes(text.p, n));
        }
        text = pr_bytes(text.p + n, text.n - n);
    }
}

void pr_put_json_str(struct pr_outbuf *o, struct pr_slice text)
{
    pr_put_u8(o, '"');
    pr_put_json_escaped(o, text);
    pr_put_u8(o, '"');
}

void pr_put_json_cstr(struct pr_outbuf *o, const char *text)
{
    pr_put_json_str(o, pr_str(text));
}

void pr_put_json_int(struct pr_outbuf *o, int64_t v)
{
    if (v < 0) {
        pr_put_u8(o, '-');
        pr_put_dec(o, 0 - (uint64_t)v);
    } else {
        pr_put_dec(o, (uint64_t)v);
    }
}
