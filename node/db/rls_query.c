/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rls_query.c - the statements of a judgement. Values travel in array literals, names come quoted
 * from the catalog; nothing of a client is ever part of a statement.
 */
#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "node/db/rls_in.h"

/* What a condition may need of a row, in bytes: it travels once for each claims set, and
 * everybody's changes wait meanwhile. As a message it would be error 413. */
#define IMAGE_MAX ((size_t)4 * 1024 * 1024)

void rt_stmt_free(struct rt_stmt *s)
{
    rt_free(s->sql.p);
    for (int i = 0; i < s->nparams; i++) {
        rt_free(s->param[i].p);
    }
    memset(s, 0, sizeof *s);
}

void rt_rls_reset(struct rt_pg *pg)
{
    rt_pg_query(pg, "reset all", 0, NULL, NULL, NULL);
}

static bool held(const struct rt_value *v)
{
    return v->kind == RT_V_TEXT || v->kind == RT_V_JSON;
}

/* A long key is not in the stream again if it did not change, but in the old image. */
static struct rt_value key_value(const struct rt_change *c, uint32_t i)
{
    return c->row != NULL && held(&c->row[i]) ? c->row[i] : rt_change_old(c, i);
}

bool rt_key_known(const struct rt_relation *rel, const struct rt_change *c)
{
    const struct rt_rel_sql *sql = rt_rel_sql(rel);

    for (uint32_t k = 0; k < sql->nkeys; k++) {
        struct rt_value v = key_value(c, sql->keys[k]);

        if (!held(&v)) {
            return false;
        }
    }
    return sql->nkeys > 0 && sql->nkeys <= RT_KEYS_MAX;
}

/* The change behind the statement's row `i`. */
static const struct rt_change *row_of(const struct rt_ask *a, uint32_t i)
{
    return a->job->rows[a->asked[a->at[i]].row].change;
}

static void put_keys(struct rt_stmt *s, const struct rt_ask *a, const struct rt_rel_sql *sql)
{
    for (uint32_t k = 0; k < sql->nkeys; k++) {
        struct rt_text *p = &s->param[k];

        s->nparams = (int)k + 1;
        rt_text_puts(p, "{");
        for (uint32_t i = 0; i < a->nat; i++) {
            rt_text_puts(p, i == 0 ? "" : ",");
            rt_text_element(p, key_value(row_of(a, i), sql->keys[k]).text);
        }
        rt_text_puts(p, "}");
    }
}

/* The table is looked up per key in a subquery that the planner may not join (offset 0): over a
 * join it may read all of the table, and a policy that raises for another row would fail for this
 * one. */
void rt_stmt_table(struct rt_stmt *s, const struct rt_ask *a, const struct rt_rights *rights)
{
    const struct rt_relation *rel = a->rel;
    const struct rt_rel_sql *sql = rt_rel_sql(rel);
    struct rt_text *t = &s->sql;

    memset(s, 0, sizeof *s);
    put_keys(s, a, sql);
    /* unnest() of several arrays is known by its bare name only. */
    rt_text_puts(t, "select k.i, r.* from rows from (");
    for (uint32_t k = 0; k < sql->nkeys; k++) {
        rt_text_puts(t, k == 0 ? "" : ", ");
        rt_text_number(t, "pg_catalog.unnest($", k + 1, "::pg_catalog.text::");
        rt_text_slice(t, sql->types[sql->keys[k]]);
        rt_text_puts(t, "[])");
    }
    rt_text_puts(t, ") with ordinality k(");
    for (uint32_t k = 0; k < sql->nkeys; k++) {
        rt_text_number(t, "k", k, ", ");
    }
    rt_text_puts(t, "i), lateral (select ");
    rt_text_puts(t, rights->selects_table ? "t.xmin::pg_catalog.text" : "null");
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        if (rel->columns[i].generated && rights->may_select[i]) {
            rt_text_puts(t, ", t.");
            rt_text_identifier(t, rel->columns[i].name);
            rt_text_puts(t, "::pg_catalog.text");
        }
    }
    rt_text_puts(t, " from ");
    rt_text_slice(t, sql->name);
    rt_text_puts(t, " t where ");
    for (uint32_t k = 0; k < sql->nkeys; k++) {
        rt_text_puts(t, k == 0 ? "t." : " and t.");
        rt_text_identifier(t, rel->columns[sql->keys[k]].name);
        rt_text_number(t, " = k.k", k, "");
    }
    rt_text_puts(t, " offset 0) r");
}

static bool is_word(uint8_t c)
{
    return isalnum(c) || c == '_' || c >= 0x80;
}

/* Does the name stand in the text as a word, quoted or not? A name with a quote in it stands there
 * in another form: taken for mentioned. */
static bool mentions(struct pr_slice text, struct pr_slice name)
{
    const uint8_t *at = text.p;
    const uint8_t *end = text.p + text.n;

    if (name.n > 0 && memchr(name.p, '"', name.n) != NULL) {
        return true;
    }
    while (name.n > 0 && at != NULL && (size_t)(end - at) >= name.n) {
        at = memmem(at, (size_t)(end - at), name.p, name.n);
        if (at == NULL) {
            return false;
        }
        if ((at == text.p || !is_word(at[-1])) && (at + name.n == end || !is_word(at[name.n]))) {
            return true;
        }
        at++;
    }
    return false;
}

/* A condition on the whole row, t.*, needs all of it. */
static bool needs(struct pr_slice condition, const struct rt_relation *rel, uint32_t i)
{
    return memmem(condition.p, condition.n, ".*", 2) != NULL ||
           mentions(condition, rel->columns[i].name);
}

bool rt_image_known(const struct rt_relation *rel, const struct rt_change *c, bool old,
                    struct pr_slice condition)
{
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        struct rt_value v = rt_change_image(c, old, i);

        if (!held(&v) && v.kind != RT_V_NULL && needs(condition, rel, i)) {
            return false;
        }
    }
    return true;
}

bool rt_image_too_large(const struct rt_relation *rel, const struct rt_change *c, bool old,
                        struct pr_slice condition)
{
    size_t n = 0;

    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        struct rt_value v = rt_change_image(c, old, i);

        /* Most rows are small: which columns are needed is not looked for then. */
        n += held(&v) && v.text.n > IMAGE_MAX / rel->ncolumns && needs(condition, rel, i) ? v.text.n
                                                                                          : 0;
    }
    return n > IMAGE_MAX;
}

/* A row as a composite literal. NULL is what is not known, see rt_image_known, and what is not
 * needed, since it may be large; but a domain may refuse NULL. */
static void put_composite(struct rt_text *t, const struct rt_relation *rel,
                          const struct rt_change *c, bool old, const bool *needed)
{
    rt_text_puts(t, "(");
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        struct rt_value v = rt_change_image(c, old, i);

        rt_text_puts(t, i == 0 ? "" : ",");
        if (held(&v) && (needed[i] || rel->columns[i].type->kind == PR_PG_DOMAIN)) {
            rt_text_element(t, v.text);
        }
    }
    rt_text_puts(t, ")");
}

/* A column name that no column of the table has. */
static void put_ordinal_name(struct rt_text *t, const struct rt_relation *rel)
{
    char name[16] = "i";

    for (uint32_t n = 0; rt_relation_column(rel, pr_str(name)) >= 0; n++) {
        (void)snprintf(name, sizeof name, "i%u", n);
    }
    rt_text_identifier(t, pr_str(name));
}

void rt_stmt_image(struct rt_stmt *s, const struct rt_ask *a, struct pr_slice condition)
{
    const struct rt_relation *rel = a->rel;
    const struct rt_rel_sql *sql = rt_rel_sql(rel);
    struct rt_text *t = &s->sql;
    struct rt_text one = {0};
    bool *needed = rt_calloc(rel->ncolumns, sizeof *needed);

    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        needed[i] = needs(condition, rel, i);
    }
    memset(s, 0, sizeof *s);
    s->nparams = 1;
    rt_text_puts(&s->param[0], "{");
    for (uint32_t i = 0; i < a->nat; i++) {
        one.len = 0;
        put_composite(&one, rel, row_of(a, i), a->asked[a->at[i]].old, needed);
        rt_text_puts(&s->param[0], i == 0 ? "" : ",");
        rt_text_element(&s->param[0], pr_bytes(one.p, one.len));
    }
    rt_free(one.p);
    rt_free(needed);
    rt_text_puts(&s->param[0], "}");
    /* Aliased as the table's own name: deparsed conditions name columns bare or by it. */
    rt_text_puts(t, "select ");
    put_ordinal_name(t, rel);
    rt_text_puts(t, " from pg_catalog.unnest($1::pg_catalog.text::");
    rt_text_slice(t, sql->name);
    rt_text_puts(t, "[]) with ordinality ");
    rt_text_identifier(t, rel->table);
    rt_text_puts(t, "(");
    for (uint32_t i = 0; i < rel->ncolumns; i++) {
        rt_text_identifier(t, rel->columns[i].name);
        rt_text_puts(t, ", ");
    }
    put_ordinal_name(t, rel);
    rt_text_puts(t, ") where ");
    rt_text_slice(t, condition);
}

bool rt_same_key(const struct rt_change *a, const struct rt_change *b)
{
    const struct rt_rel_sql *sql = rt_rel_sql(a->rel);

    for (uint32_t k = 0; k < sql->nkeys && a->rel == b->rel; k++) {
        uint32_t i = sql->keys[k];
        struct rt_value left = key_value(a, i);
        struct rt_value now = key_value(b, i);
        struct rt_value before = rt_change_old(b, i);

        if (!pr_slice_eq(left.text, now.text) &&
            (!held(&before) || !pr_slice_eq(left.text, before.text))) {
            return false;
        }
    }
    return a->rel->oid == b->rel->oid;
}
