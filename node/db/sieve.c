/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/sieve.h"

#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/base/alloc.h"

/* A sieve that fails for so many rows within WINDOW_MS is cancelled. */
#define FAILURES_MAX 3u
#define WINDOW_MS    60000u

static const char *sql_of(enum pr_filter_op op)
{
    switch (op) {
    case PR_F_EQ:
        return " = ";
    case PR_F_NEQ:
        return " <> ";
    case PR_F_LT:
        return " < ";
    case PR_F_LTE:
        return " <= ";
    case PR_F_GT:
        return " > ";
    case PR_F_GTE:
        return " >= ";
    case PR_F_IN:
        return " = any ";
    case PR_F_LIKE:
        return " ~~ ";
    case PR_F_ILIKE:
        return " ~~* ";
    case PR_F_MATCH:
        return " ~ ";
    case PR_F_IMATCH:
        return " ~* ";
    case PR_F_ISDISTINCT:
        return " is distinct from ";
    case PR_F_IS:
        break;
    }
    assert(false);
    return "";
}

bool rt_sieve_is_pattern(enum pr_filter_op op)
{
    return op == PR_F_LIKE || op == PR_F_ILIKE || op == PR_F_MATCH || op == PR_F_IMATCH;
}

void rt_sieve_put_test(struct rt_text *t, const struct rt_sieve_part *p, const char *column,
                       uint32_t param)
{
    const struct rt_operand *of = p->operand;
    bool pattern = rt_sieve_is_pattern(p->op);
    bool text = p->kind == PR_PG_TEXT || p->kind == PR_PG_BPCHAR;

    rt_text_puts(t, p->negated && p->op != PR_F_IS ? "not (" : "(");
    rt_text_puts(t, column);
    rt_text_puts(t, "::");
    rt_text_slice(t, of->type);
    if (p->op == PR_F_IS) {
        /* Of a row that is NULL in part, neither is true. The parameter must be used. */
        rt_text_puts(t, p->negated ? " is not null" : " is null");
        rt_text_number(t, " and $", param, "::pg_catalog.text is not null)");
        return;
    }
    /* varchar has no operators of its own, and the blanks of char(n) are not meant. */
    rt_text_puts(t, pattern && text ? "::pg_catalog.text" : "");
    if (of->collation.n > 0) {
        rt_text_puts(t, " collate ");
        rt_text_slice(t, of->collation);
    }
    rt_text_puts(t, sql_of(p->op));
    rt_text_number(t, "($", param, "::pg_catalog.text");
    if (!pattern || p->kind == PR_PG_BYTEA) {
        rt_text_puts(t, "::");
        rt_text_slice(t, of->type);
        rt_text_puts(t, p->op == PR_F_IN ? "[]" : "");
    }
    rt_text_puts(t, "))");
}

void rt_sieve_put_param(struct rt_text *t, const struct rt_sieve_part *p)
{
    struct pr_slice list = p->values;
    struct pr_slice v;
    bool null = false;
    bool first = true;

    rt_text_puts(t, p->op == PR_F_IN ? "{" : "");
    while (pr_cond_values_next(&list, &v, &null) == 1) {
        rt_text_puts(t, first ? "" : ",");
        first = false;
        if (p->op != PR_F_IN) {
            rt_text_slice(t, v);
        } else if (null) {
            rt_text_puts(t, "NULL");
        } else {
            rt_text_element(t, v);
        }
    }
    rt_text_puts(t, p->op == PR_F_IN ? "}" : "");
}

static void put_sql(struct rt_text *t, const struct rt_sieve_part *parts, uint32_t count)
{
    rt_text_puts(t, "select v.i from rows from (");
    for (uint32_t i = 0; i < count; i++) {
        rt_text_puts(t, i == 0 ? "" : ", ");
        rt_text_number(t, "pg_catalog.unnest($", i + 1, "::pg_catalog.text::pg_catalog.text[])");
    }
    rt_text_puts(t, ") with ordinality v(");
    for (uint32_t i = 0; i < count; i++) {
        rt_text_number(t, "c", i, ", ");
    }
    rt_text_puts(t, "i) where ");
    for (uint32_t i = 0; i < count; i++) {
        struct rt_text column = {0};

        rt_text_number(&column, "v.c", i, "");
        rt_text_puts(t, i == 0 ? "" : " and ");
        rt_sieve_put_test(t, &parts[i], rt_text_end(&column), count + i + 1);
        rt_free(column.p);
    }
}

void rt_sieve_put_path(struct rt_text *t, const struct rt_sieve_part *parts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct pr_slice schema = parts[i].operand->schema;
        bool said = pr_slice_is(schema, "pg_catalog");

        for (uint32_t k = 0; k < i; k++) {
            said = said || pr_slice_eq(schema, parts[k].operand->schema);
        }
        if (!said) {
            rt_text_puts(t, t->len == 0 ? "" : ", ");
            rt_text_slice(t, schema);
        }
    }
}

static void put_packed(struct rt_text *t, struct pr_slice s)
{
    struct pr_outbuf o = pr_outbuf(rt_malloc(s.n + 16), s.n + 16);

    pr_cond_value_put(&o, s, false);
    assert(pr_out_ok(&o));
    rt_text_put(t, o.p, o.len);
    rt_free(o.p);
}

/* Where the pieces of the key end, from its beginning. */
struct cuts {
    size_t role, path, sql, columns, values;
};

/* `t` holds the role. The table is part of it, so that what its rows make fail is cancelled for it
 * only. */
static void put_key(struct rt_text *t, struct cuts *cut, const struct rt_relation *rel,
                    const struct rt_sieve_part *parts, uint32_t count)
{
    struct rt_text path = {0};

    cut->role = t->len;
    rt_sieve_put_path(&path, parts, count);
    rt_text_put(t, path.p, path.len);
    rt_free(path.p);
    cut->path = t->len;
    put_sql(t, parts, count);
    cut->sql = t->len;
    for (uint32_t i = 0; i < count; i++) {
        put_packed(t, parts[i].column);
    }
    cut->columns = t->len;
    for (uint32_t i = 0; i < count; i++) {
        struct rt_text param = {0};

        rt_sieve_put_param(&param, &parts[i]);
        put_packed(t, pr_bytes(param.p, param.len));
        rt_free(param.p);
    }
    cut->values = t->len;
    rt_text_slice(t, rel->schema);
    rt_text_put(t, "", 1);
    rt_text_slice(t, rel->table);
}

static struct pr_slice piece(const struct rt_sieve *s, size_t from, size_t to)
{
    return pr_bytes(s->key.p + from, to - from);
}

/* Pieces of another length may make the same bytes. */
static bool is_same(const struct rt_sieve *s, struct pr_slice key, const struct cuts *cut)
{
    return pr_slice_eq(s->key, key) && s->role.n == cut->role &&
           s->path.n == cut->path - cut->role && s->sql.n == cut->sql - cut->path &&
           s->columns.n == cut->columns - cut->sql && s->values.n == cut->values - cut->columns;
}

struct rt_sieve *rt_sieve_of(struct rt_chains *home, const struct rt_relation *rel,
                             struct pr_slice role, const struct rt_sieve_part *parts,
                             uint32_t count)
{
    struct rt_text key = {0};
    struct cuts cut = {0};
    struct rt_sieve *s = NULL;
    uint64_t hash = 0;

    rt_text_slice(&key, role);
    put_key(&key, &cut, rel, parts, count);
    /* Seeded, so that clients cannot aim at one chain. */
    hash = XXH3_64bits_withSeed(key.p, key.len, (uint64_t)(uintptr_t)home);
    for (struct rt_link *l = rt_chains_find(home, hash); l != NULL; l = rt_chains_next(l)) {
        s = RT_LINKED(l, struct rt_sieve, link);
        if (is_same(s, pr_bytes(key.p, key.len), &cut)) {
            s->refs++;
            rt_free(key.p);
            return s;
        }
    }
    s = rt_malloc(sizeof *s + key.len);
    *s = (struct rt_sieve){.refs = 1, .home = home, .count = count};
    for (uint32_t i = 0; i < count; i++) {
        s->patterns = s->patterns || rt_sieve_is_pattern(parts[i].op);
    }
    memcpy(s + 1, key.p, key.len);
    s->key = pr_bytes(s + 1, key.len);
    s->role = piece(s, 0, cut.role);
    s->path = piece(s, cut.role, cut.path);
    s->sql = piece(s, cut.path, cut.sql);
    s->columns = piece(s, cut.sql, cut.columns);
    s->values = piece(s, cut.columns, cut.values);
    rt_chains_add(home, &s->link, hash);
    rt_free(key.p);
    return s;
}

void rt_sieve_ref(struct rt_sieve *s)
{
    s->refs++;
}

void rt_sieve_hide(struct rt_sieve *s)
{
    if (s->home != NULL) {
        rt_chains_remove(s->home, &s->link);
        s->home = NULL;
    }
}

bool rt_sieve_failed(struct rt_sieve *s, uint64_t now_ms)
{
    if (s->failures == 0 || now_ms - s->since_ms > WINDOW_MS) {
        s->failures = 0;
        s->since_ms = now_ms;
    }
    s->failures++;
    if (s->failures < FAILURES_MAX || s->cancelled) {
        return false;
    }
    s->cancelled = true;
    rt_sieve_hide(s);
    return true;
}

void rt_sieve_unref(struct rt_sieve *s)
{
    if (s == NULL) {
        return;
    }
    assert(s->refs > 0);
    s->refs--;
    if (s->refs == 0) {
        rt_sieve_hide(s);
        rt_free(s);
    }
}
