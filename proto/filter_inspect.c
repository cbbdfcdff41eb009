/* SPDX-License-Identifier: Apache-2.0 */
/* How the error texts show a filter: as Elixir's inspect prints strings, tuples and lists. */
#include "proto/filter.h"

#include <string.h>

#include "proto/json_scan.h"

/* Elixir's default printable_limit, in bytes here. */
#define INSPECT_MAX 4096u

/* Control characters that inspect writes with a letter. */
static const char controls[] = "\a\b\t\n\v\f\r\x1b\x7f";
static const char letters[] = "abtnvfred";

static bool is_printable(struct pr_slice s)
{
    for (size_t i = 0; i < s.n; i++) {
        if ((s.p[i] < 0x20 || s.p[i] == 0x7f) &&
            (s.p[i] == 0 || strchr(controls, s.p[i]) == NULL)) {
            return false;
        }
    }
    return pr_utf8_ok(s);
}

/* <<1, 2, 3>> */
static void put_binary(struct pr_outbuf *o, struct pr_slice s)
{
    size_t n = s.n < 50 ? s.n : 50;

    pr_put_str(o, "<<");
    for (size_t i = 0; i < n; i++) {
        pr_put_str(o, i > 0 ? ", " : "");
        pr_put_dec(o, s.p[i]);
    }
    pr_put_str(o, n < s.n ? ", ...>>" : ">>");
}

/* `before` and `after` belong to the string; no escape spans them. */
static void inspect(struct pr_outbuf *o, const char *before, struct pr_slice s, const char *after)
{
    size_t n = s.n;

    while (n > INSPECT_MAX) { /* whole characters only */
        n = INSPECT_MAX;
        while ((s.p[n] & 0xc0) == 0x80) {
            n--;
        }
    }
    pr_put_u8(o, '"');
    pr_put_str(o, before);
    for (size_t i = 0; i < n; i++) {
        const char *at = strchr(controls, s.p[i]);
        bool interpolates = s.p[i] == '#' && i + 1 < n && s.p[i + 1] == '{';

        if (at != NULL) {
            pr_put_u8(o, '\\');
            pr_put_u8(o, (uint8_t)letters[at - controls]);
            continue;
        }
        if (s.p[i] == '"' || s.p[i] == '\\' || interpolates) {
            pr_put_u8(o, '\\');
        }
        pr_put_u8(o, s.p[i]);
    }
    pr_put_str(o, n < s.n ? "\" <> ..." : after);
    pr_put_str(o, n < s.n ? "" : "\"");
}

void pr_inspect_string(struct pr_outbuf *o, struct pr_slice s)
{
    if (is_printable(s)) {
        inspect(o, "", s, "");
    } else {
        put_binary(o, s);
    }
}

void pr_filter_inspect(struct pr_outbuf *o, const struct pr_filter *f)
{
    pr_put_u8(o, '[');
    for (uint32_t i = 0; i < f->count; i++) {
        const struct pr_cond *c = &f->conds[i];

        pr_put_str(o, i > 0 ? ", {" : "{");
        pr_inspect_string(o, c->column);
        pr_put_str(o, ", \"");
        pr_put_str(o, pr_filter_op_name(c->op));
        pr_put_str(o, "\", ");
        if (c->op == PR_F_IN && is_printable(c->value)) {
            inspect(o, "{", c->value, "}");
        } else {
            pr_inspect_string(o, c->value);
        }
        pr_put_str(o, c->negated ? ", true}" : ", false}");
    }
    pr_put_u8(o, ']');
}
