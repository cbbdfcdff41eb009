/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "node/base/alloc.h"
#include "node/db/policy_in.h"
#include "proto/json_scan.h"

/* ---- claims ---- */

bool policy_uuid(struct pr_slice text, char *to)
{
    for (size_t i = 0; i < 36; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        uint8_t c = text.n == 36 ? text.p[i] : 0;

        if (c >= 'A' && c <= 'F') {
            c = (uint8_t)(c - 'A' + 'a');
        }
        if (dash ? c != '-' : !((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
        to[i] = (char)c;
    }
    return true;
}

static bool is_null_json(const struct pr_json *v)
{
    return v->type == PR_JSON_NULL;
}

/* Steps down. 1: *v is there; 0: it is not; -1: not as Postgres would, by these means. */
static int find(struct pr_slice claims, const struct policy_claim *c, struct pr_json *v)
{
    struct pr_slice object = claims;

    for (uint32_t i = 0; i < c->depth; i++) {
        struct pr_json_iter it;
        struct pr_slice key;
        struct pr_json member;
        bool found = false;
        int rv = pr_json_open(&it, object);

        if (rv != PR_OK || object.p[0] != '{') {
            return -1;
        }
        while ((rv = pr_json_next(&it, &key, &member)) == 1) {
            if (key.n == c->path[i].n && memcmp(key.p, c->path[i].p, key.n) == 0) {
                *v = member; /* of equal ones the last counts, as in jsonb */
                found = true;
            } else if (memchr(key.p, '\\', key.n) != NULL) {
                return -1; /* it may be this key, written otherwise */
            }
        }
        if (rv != 0 || (found && i + 1 < c->depth && v->type != PR_JSON_OBJECT)) {
            return -1;
        }
        if (!found) {
            return 0;
        }
        object = v->raw;
    }
    return c->depth > 0 ? 1 : -1;
}

/* May jsonb refuse the claims for an escape, \u0000 or half of a pair? Wherever it stands: then
 * each helper raises. */
static bool may_raise(struct pr_slice claims)
{
    for (size_t i = 0; i + 5 < claims.n; i++) {
        const uint8_t *at = claims.p + i;

        if (memcmp(at, "\\u", 2) == 0 &&
            (memcmp(at + 2, "0000", 4) == 0 || at[2] == 'd' || at[2] == 'D')) {
            return true;
        }
    }
    return false;
}

void rt_policy_bind(const struct rt_policy *p, struct pr_slice claims, struct rt_policy_claims *out)
{
    bool raises = p->nclaims > 0 && may_raise(claims);

    for (uint32_t i = 0; i < p->nclaims; i++) {
        const struct policy_claim *c = &p->claims[i];
        struct pr_json v;
        int rv = c->json || raises ? -1 : find(claims, c, &v);

        out->at[i].state = RT_CLAIM_UNSURE;
        if (rv == 0 || (rv == 1 && is_null_json(&v))) {
            out->at[i].state = RT_CLAIM_NULL;
        } else if (rv == 1 && v.type == PR_JSON_STRING) {
            struct pr_slice text = pr_json_str(&v);
            bool plain = text.n == 0 || memchr(text.p, '\\', text.n) == NULL;

            out->at[i].text = text;
            if (plain && c->uuid && policy_uuid(text, out->at[i].uuid)) {
                out->at[i].state = RT_CLAIM_UUID;
            } else if (plain && !c->uuid) {
                out->at[i].state = RT_CLAIM_TEXT;
            }
        }
    }
}

/* ---- a row ---- */

struct run {
    const struct rt_policy *p;
    const struct rt_policy_claims *claims;
    const struct rt_change *c;
    bool old;
};

/* A value's text. TRUE: it is there; UNKNOWN: it is NULL; UNSURE. */
static enum rt_truth text_of(const struct run *r, const struct policy_node *n,
                             struct pr_slice *text)
{
    struct rt_value v;

    if (n->kind == P_CONSTANT) {
        *text = n->text;
        return RT_TRUE;
    }
    if (n->kind == P_CLAIM) {
        switch (r->claims->at[n->claim].state) {
        case RT_CLAIM_TEXT:
            *text = r->claims->at[n->claim].text;
            return RT_TRUE;
        case RT_CLAIM_UUID:
            *text = pr_bytes(r->claims->at[n->claim].uuid, sizeof r->claims->at[n->claim].uuid);
            return RT_TRUE;
        case RT_CLAIM_NULL:
            return RT_UNKNOWN;
        case RT_CLAIM_UNSURE:
            break;
        }
        return RT_UNSURE;
    }
    v = rt_change_image(r->c, r->old, n->column);
    *text = v.text;
    if (v.kind == RT_V_NULL) {
        return RT_UNKNOWN;
    }
    return v.kind == RT_V_TEXT ? RT_TRUE : RT_UNSURE;
}

static enum rt_truth truth(bool holds)
{
    return holds ? RT_TRUE : RT_FALSE;
}

static bool op_holds(enum policy_op op, int order)
{
    switch (op) {
    case OP_EQ:
        return order == 0;
    case OP_NE:
        return order != 0;
    case OP_LT:
        return order < 0;
    case OP_LE:
        return order <= 0;
    case OP_GT:
        return order > 0;
    case OP_GE:
        return order >= 0;
    }
    return false;
}

static enum rt_truth evaluate(const struct run *r, uint32_t i);

static enum rt_truth compare_texts(const struct run *r, const struct policy_node *n)
{
    const struct policy_node *a = &r->p->nodes[n->a];
    const struct policy_node *b = &r->p->nodes[n->b];
    struct pr_slice x, y;
    enum rt_truth left = text_of(r, a, &x);
    enum rt_truth right = text_of(r, b, &y);
    int64_t v = 0, w = 0;

    if (left == RT_UNSURE || right == RT_UNSURE) {
        return RT_UNSURE;
    }
    if (left == RT_UNKNOWN || right == RT_UNKNOWN) {
        return RT_UNKNOWN;
    }
    if (a->type == PT_INT) {
        if (!policy_int(x, &v) || !policy_int(y, &w)) {
            return RT_UNSURE;
        }
        return truth(op_holds(n->op, (v > w) - (v < w)));
    }
    return truth(op_holds(n->op, pr_slice_eq(x, y) ? 0 : 1));
}

static enum rt_truth compare(const struct run *r, const struct policy_node *n)
{
    enum rt_truth a, b;

    if (r->p->nodes[n->a].type != PT_BOOL) {
        return compare_texts(r, n);
    }
    a = evaluate(r, n->a);
    b = evaluate(r, n->b);
    if (a == RT_UNSURE || b == RT_UNSURE) {
        return RT_UNSURE;
    }
    if (a == RT_UNKNOWN || b == RT_UNKNOWN) {
        return RT_UNKNOWN;
    }
    return truth((a == b) == (n->op == OP_EQ));
}

static enum rt_truth both(enum rt_truth a, enum rt_truth b, enum rt_truth decides)
{
    if (a == RT_UNSURE || b == RT_UNSURE) {
        return RT_UNSURE; /* whichever Postgres looks at first may raise */
    }
    if (a == decides || b == decides) {
        return decides;
    }
    return a == RT_UNKNOWN || b == RT_UNKNOWN ? RT_UNKNOWN : a;
}

static enum rt_truth evaluate(const struct run *r, uint32_t i)
{
    const struct policy_node *n = &r->p->nodes[i];
    struct pr_slice text;
    enum rt_truth t;

    switch (n->kind) {
    case P_TRUE:
        return RT_TRUE;
    case P_FALSE:
        return RT_FALSE;
    case P_AND:
        return both(evaluate(r, n->a), evaluate(r, n->b), RT_FALSE);
    case P_OR:
        return both(evaluate(r, n->a), evaluate(r, n->b), RT_TRUE);
    case P_NOT:
        t = evaluate(r, n->a);
        return t == RT_TRUE || t == RT_FALSE ? truth(t == RT_FALSE) : t;
    case P_COMPARE:
        return compare(r, n);
    case P_IS_NULL:
        t = text_of(r, &r->p->nodes[n->a], &text);
        return t == RT_UNSURE ? t : truth(t == RT_UNKNOWN);
    case P_COLUMN: /* of type boolean */
        t = text_of(r, n, &text);
        return t == RT_TRUE ? truth(pr_slice_is(text, "t")) : t;
    case P_CONSTANT:
    case P_CLAIM:
        break;
    }
    return RT_UNSURE;
}

enum rt_truth rt_policy_holds(const struct rt_policy *p, const struct rt_policy_claims *claims,
                              const struct rt_change *c, bool old)
{
    return evaluate(&(struct run){.p = p, .claims = claims, .c = c, .old = old}, p->root);
}

/* ---- a batch ---- */

/* A group's claims as one policy reads them. */
struct bound {
    struct rt_group *group;
    const struct rt_policy *policy;
    struct rt_policy_claims claims;
};
struct bounds {
    struct bound *at;
    uint32_t count, cap;
};

/* The group's newest; of another table's policy only if the batch has rows of several. */
static const struct rt_policy_claims *bound_of(struct bounds *v, struct rt_group *g,
                                               const struct rt_policy *p)
{
    uint32_t i = (uint32_t)(uintptr_t)g->user;

    if (i == 0) {
        if (v->count == v->cap) {
            v->cap = v->cap == 0 ? 16 : v->cap * 2;
            v->at = rt_realloc(v->at, v->cap * sizeof *v->at);
        }
        v->at[v->count] = (struct bound){.group = g};
        i = ++v->count;
        g->user = (void *)(uintptr_t)i;
    }
    if (v->at[i - 1].policy != p) {
        v->at[i - 1].policy = p;
        rt_policy_bind(p, g->claims, &v->at[i - 1].claims);
    }
    return &v->at[i - 1].claims;
}

static const struct rt_policy *policy_of(const struct rt_relation *rel, struct pr_slice role)
{
    const struct rt_rel_sql *sql = rt_rel_sql(rel);

    for (uint32_t i = 0; i < sql->npolicies; i++) {
        if (pr_slice_eq(sql->policies[i].role, role)) {
            return sql->policies[i].compiled;
        }
    }
    return NULL;
}

static enum rt_truth sees(struct bounds *v, struct rt_group *g, const struct rt_change *c, bool old)
{
    const struct rt_policy *p = policy_of(c->rel, g->role);

    return p == NULL ? RT_UNSURE : rt_policy_holds(p, bound_of(v, g, p), c, old);
}

static uint32_t judge_row(struct bounds *v, const struct rt_rls_row *row, bool shadow)
{
    const struct rt_change *c = row->change;
    const struct rt_group *group = NULL; /* the last one; its matches stand together */
    enum rt_truth t = RT_UNSURE;
    uint32_t verdicts = 0;

    for (uint32_t k = 0; k < row->matches->count; k++) {
        struct rt_match *m = &row->matches->items[k];

        if (!m->visible || !rt_match_needs_rls(c, m)) {
            continue;
        }
        if (m->group != group) {
            group = m->group;
            t = sees(v, m->group, c, c->kind == PR_K_DELETE);
            verdicts += t != RT_UNSURE;
        }
        if (t != RT_UNSURE && shadow) {
            m->guess = t == RT_TRUE ? RT_GUESS_VISIBLE : RT_GUESS_HIDDEN;
        } else if (t != RT_UNSURE) {
            m->judged = true;
            m->visible = t == RT_TRUE;
        }
    }
    return verdicts;
}

/* Of those that see the new row: the old one. */
static uint32_t judge_old(struct bounds *v, const struct rt_rls_row *row)
{
    const struct rt_change *c = row->change;
    const struct rt_group *group = NULL;
    enum rt_truth t = RT_UNSURE;
    uint32_t verdicts = 0;

    for (uint32_t k = 0; k < row->matches->count; k++) {
        struct rt_match *m = &row->matches->items[k];

        if (!m->visible || !rt_match_old_needs_rls(c, m)) {
            continue;
        }
        if (m->group != group) {
            group = m->group;
            t = sees(v, m->group, c, true);
            verdicts += t != RT_UNSURE;
        }
        if (t != RT_UNSURE) {
            m->old_judged = true;
            m->old_hidden = t != RT_TRUE;
        }
    }
    return verdicts;
}

uint32_t rt_policies_judge(const struct rt_rls_row *rows, uint32_t n, bool shadow)
{
    struct bounds v = {0};
    uint32_t verdicts = 0;

    for (uint32_t i = 0; i < n; i++) {
        verdicts += judge_row(&v, &rows[i], shadow);
        verdicts += rows[i].change->judges_old && !shadow ? judge_old(&v, &rows[i]) : 0;
    }
    for (uint32_t i = 0; i < v.count; i++) {
        v.at[i].group->user = NULL;
    }
    rt_free(v.at);
    return verdicts;
}

uint32_t rt_policies_differ(const struct rt_rls_row *rows, uint32_t n)
{
    uint32_t differ = 0;

    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = 0; k < rows[i].matches->count; k++) {
            const struct rt_match *m = &rows[i].matches->items[k];

            differ += m->guess != RT_GUESS_NONE && m->visible != (m->guess == RT_GUESS_VISIBLE);
        }
    }
    return differ;
}
