/* SPDX-License-Identifier: Apache-2.0 */
/* policy_token.c - the words, names and quoted texts of a deparsed condition. */
#include <ctype.h>
#include <string.h>

#include "node/db/policy_in.h"

void policy_skip(struct policy_parser *s)
{
    while (s->rest.n > 0 && isspace(s->rest.p[0])) {
        s->rest = pr_bytes(s->rest.p + 1, s->rest.n - 1);
    }
}

bool policy_is_name(uint8_t c)
{
    return isalnum(c) || c == '_' || c == '$' || c >= 0x80;
}

bool policy_take(struct policy_parser *s, const char *text)
{
    size_t n = strlen(text);

    policy_skip(s);
    if (s->rest.n < n || memcmp(s->rest.p, text, n) != 0 ||
        (policy_is_name((uint8_t)text[0]) && s->rest.n > n && policy_is_name(s->rest.p[n]))) {
        return false;
    }
    s->rest = pr_bytes(s->rest.p + n, s->rest.n - n);
    return true;
}

bool policy_take_quoted(struct policy_parser *s, uint8_t quote, struct pr_slice *out)
{
    uint8_t *to;
    size_t i = 1, n = 0;

    policy_skip(s);
    if (s->rest.n < 2 || s->rest.p[0] != quote) {
        return false;
    }
    to = rt_arena_take(s->mem, s->rest.n, 1);
    while (i < s->rest.n &&
           (s->rest.p[i] != quote || (i + 1 < s->rest.n && s->rest.p[i + 1] == quote))) {
        i += s->rest.p[i] == quote;
        to[n++] = s->rest.p[i++];
    }
    if (i == s->rest.n) {
        return false;
    }
    *out = pr_bytes(to, n);
    s->rest = pr_bytes(s->rest.p + i + 1, s->rest.n - i - 1);
    return true;
}

bool policy_take_word(struct policy_parser *s, struct pr_slice *out)
{
    size_t n = 0;

    if (policy_take_quoted(s, '"', out)) {
        return true;
    }
    while (n < s->rest.n && policy_is_name(s->rest.p[n]) && !isupper(s->rest.p[n])) {
        n++;
    }
    if (n < s->rest.n && isupper(s->rest.p[n])) {
        return false;
    }
    *out = pr_bytes(s->rest.p, n);
    s->rest = pr_bytes(s->rest.p + n, s->rest.n - n);
    return n > 0 && !isdigit(out->p[0]);
}
