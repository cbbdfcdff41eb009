/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/presence_json.h"

#include <stdlib.h>
#include <string.h>

#include "node/base/alloc.h"
#include "proto/json_scan.h"
#include "proto/json_write.h"

static int by_bytes(struct pr_slice a, struct pr_slice b)
{
    size_t n = a.n < b.n ? a.n : b.n;
    int c = n == 0 ? 0 : memcmp(a.p, b.p, n);

    if (c != 0) {
        return c;
    }
    return (a.n > b.n) - (a.n < b.n);
}

/* By key; entries of one key stay in the order of their dots, so that equal views are equal
 * texts. */
static int by_key(const void *x, const void *y)
{
    const struct pr_pshown *a = x;
    const struct pr_pshown *b = y;
    int c = by_bytes(a->key, b->key);

    if (c != 0) {
        return c;
    }
    if (a->actor != b->actor) {
        return a->actor < b->actor ? -1 : 1;
    }
    return (a->n > b->n) - (a->n < b->n);
}

struct rt_shown rt_shown_unpack(struct pr_slice list, uint32_t count)
{
    struct rt_shown s = {.at = rt_calloc(count + 1u, sizeof(struct pr_pshown))};

    while (s.count < count && pr_pshown_next(&list, &s.at[s.count]) == 1) {
        s.count++;
    }
    qsort(s.at, s.count, sizeof *s.at, by_key);
    return s;
}

void rt_shown_free(struct rt_shown *s)
{
    rt_free(s->at);
    *s = (struct rt_shown){0};
}

static void put_ref(struct pr_outbuf *o, const char *name, uint64_t actor, uint64_t n)
{
    char ref[PR_PHX_REF_LEN];

    pr_phx_ref(actor, n, ref);
    pr_put_str(o, "\"");
    pr_put_str(o, name);
    pr_put_str(o, "\":\"");
    pr_put(o, ref, sizeof ref);
    pr_put_str(o, "\"");
}

static void put_meta(struct pr_outbuf *o, const struct pr_pshown *e)
{
    struct pr_slice inner = e->meta;

    /* A meta is one object, checked when it was tracked; its members are all but the braces. */
    pr_put_str(o, "{");
    if (inner.n > 2) {
        pr_put(o, inner.p + 1, inner.n - 2);
        pr_put_str(o, ",");
    }
    put_ref(o, "phx_ref", e->actor, e->n);
    if (e->prev_n != 0) {
        pr_put_str(o, ",");
        put_ref(o, "phx_ref_prev", e->actor, e->prev_n);
    }
    pr_put_str(o, "}");
}

void rt_shown_put(struct pr_outbuf *o, const struct rt_shown *s)
{
    pr_put_str(o, "{");
    for (uint32_t i = 0; i < s->count; i++) {
        bool same = i > 0 && pr_slice_eq(s->at[i].key, s->at[i - 1].key);
        bool last = i + 1 == s->count || !pr_slice_eq(s->at[i].key, s->at[i + 1].key);

        if (!same) {
            pr_put_str(o, i == 0 ? "" : ",");
            pr_put_json_str(o, s->at[i].key);
            pr_put_str(o, ":{\"metas\":[");
        } else {
            pr_put_str(o, ",");
        }
        put_meta(o, &s->at[i]);
        if (last) {
            pr_put_str(o, "]}");
        }
    }
    pr_put_str(o, "}");
}

void rt_shown_put_diff(struct pr_outbuf *o, const void *diff)
{
    const struct rt_shown_diff *d = diff;

    pr_put_str(o, "{\"joins\":");
    rt_shown_put(o, &d->joins);
    pr_put_str(o, ",\"leaves\":");
    rt_shown_put(o, &d->leaves);
    pr_put_str(o, "}");
}

int rt_meta_put(struct pr_outbuf *o, struct pr_slice object)
{
    struct pr_json_iter it;
    struct pr_slice key;
    struct pr_json v;
    bool first = true;
    int rv = pr_json_open(&it, object);

    if (rv != PR_OK || !it.object) {
        return PR_ETYPE;
    }
    pr_put_str(o, "{");
    while ((rv = pr_json_next(&it, &key, &v)) == 1) {
        if (pr_json_str_is(key, "phx_ref") || pr_json_str_is(key, "phx_ref_prev")) {
            continue;
        }
        pr_put_str(o, first ? "\"" : ",\"");
        pr_put_slice(o, key);
        pr_put_str(o, "\":");
        pr_put_slice(o, v.raw);
        first = false;
    }
    pr_put_str(o, "}");
    return rv;
}
