/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/sqltext.h"

#include <stdio.h>
#include <string.h>

#include "node/base/alloc.h"

void rt_text_put(struct rt_text *t, const void *p, size_t n)
{
    if (n > t->cap - t->len) {
        size_t cap = t->cap == 0 ? 256 : t->cap;

        while (n > cap - t->len) {
            cap *= 2;
        }
        t->p = rt_realloc(t->p, cap);
        t->cap = cap;
    }
    if (n > 0) {
        memcpy(t->p + t->len, p, n);
        t->len += n;
    }
}

void rt_text_puts(struct rt_text *t, const char *s)
{
    rt_text_put(t, s, strlen(s));
}

void rt_text_slice(struct rt_text *t, struct pr_slice s)
{
    rt_text_put(t, s.p, s.n);
}

void rt_text_number(struct rt_text *t, const char *before, uint32_t n, const char *behind)
{
    char text[64];
    int len = snprintf(text, sizeof text, "%s%u%s", before, n, behind);

    rt_text_put(t, text, (size_t)len);
}

static void put_doubled(struct rt_text *t, struct pr_slice s, uint8_t quote)
{
    rt_text_put(t, &quote, 1);
    for (size_t i = 0; i < s.n; i++) {
        rt_text_put(t, &s.p[i], 1);
        if (s.p[i] == quote) {
            rt_text_put(t, &quote, 1);
        }
    }
    rt_text_put(t, &quote, 1);
}

void rt_text_identifier(struct rt_text *t, struct pr_slice name)
{
    put_doubled(t, name, '"');
}

void rt_text_literal(struct rt_text *t, struct pr_slice text)
{
    put_doubled(t, text, '\'');
}

void rt_text_element(struct rt_text *t, struct pr_slice v)
{
    rt_text_puts(t, "\"");
    for (size_t i = 0; i < v.n; i++) {
        if (v.p[i] == '"' || v.p[i] == '\\') {
            rt_text_puts(t, "\\");
        }
        rt_text_put(t, &v.p[i], 1);
    }
    rt_text_puts(t, "\"");
}

const char *rt_text_end(struct rt_text *t)
{
    rt_text_put(t, "", 1);
    t->len--;
    return t->p;
}
