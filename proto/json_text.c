/* SPDX-License-Identifier: Apache-2.0 */
#include "proto/json_scan.h"

#include <string.h>

#include "proto/utf8.h"

struct pr_slice pr_json_str(const struct pr_json *v)
{
    return pr_bytes(v->raw.p + 1, v->raw.n - 2);
}

/* Four hex digits. */
static uint32_t take_hex4(struct pr_cursor *c)
{
    uint32_t v = 0;

    for (int i = 0; i < 4; i++) {
        uint32_t d = pr_get_u8(c);

        /* Both cases of a letter have 1 to 6 in their low three bits. */
        v = v << 4 | (d <= '9' ? d & 15 : (d & 7) + 9);
    }
    return v;
}

/* After "\\u": takes the digits, and the second half of a pair if it follows. */
static size_t take_unicode(struct pr_cursor *c, uint8_t out[4])
{
    uint32_t v = take_hex4(c);

    if (v >= 0xd800 && v <= 0xdbff) {
        struct pr_cursor ahead = *c;
        bool escape = pr_slice_is(pr_get_bytes(&ahead, 2), "\\u");
        uint32_t low = escape ? take_hex4(&ahead) : 0;

        if (low >= 0xdc00 && low <= 0xdfff) {
            *c = ahead;
            return pr_utf8_write(0x10000 + ((v - 0xd800) << 10 | (low - 0xdc00)), out);
        }
    }
    return pr_utf8_write(v >= 0xd800 && v <= 0xdfff ? 0xfffd : v, out);
}

/* After a backslash of a checked text: takes the escape, gives its 1 to 4 bytes. */
static size_t take_escape(struct pr_cursor *c, uint8_t out[4])
{
    static const char names[] = "bfnrt";
    static const char values[] = "\b\f\n\r\t";
    uint8_t name = pr_get_u8(c);
    const char *at = strchr(names, name);

    if (name == 'u') {
        return take_unicode(c, out);
    }
    out[0] = at != NULL ? (uint8_t)values[at - names] : name;
    return 1;
}

static bool has_escape(struct pr_slice escaped)
{
    return escaped.n > 0 && memchr(escaped.p, '\\', escaped.n) != NULL;
}

bool pr_json_str_is(struct pr_slice escaped, const char *text)
{
    struct pr_cursor have = pr_cursor(escaped);
    struct pr_cursor want = pr_cursor(pr_str(text));

    if (!has_escape(escaped)) {
        return pr_slice_is(escaped, text);
    }
    while (have.left > 0) {
        uint8_t c[4] = {pr_get_u8(&have)};
        size_t n = c[0] == '\\' ? take_escape(&have, c) : 1;

        if (!pr_slice_eq(pr_get_bytes(&want, n), pr_bytes(c, n))) {
            return false;
        }
    }
    return want.left == 0;
}

void pr_json_unescape(struct pr_outbuf *o, struct pr_slice escaped)
{
    struct pr_cursor c = pr_cursor(escaped);

    while (c.left > 0) {
        const uint8_t *next = memchr(c.p, '\\', c.left);
        uint8_t plain[4];

        pr_put_slice(o, pr_get_bytes(&c, next != NULL ? (size_t)(next - c.p) : c.left));
        if (next != NULL) {
            (void)pr_get_u8(&c);
            size_t n = take_escape(&c, plain);
            pr_put(o, plain, n);
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
