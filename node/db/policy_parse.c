/* SPDX-License-Identifier: Apache-2.0 */
/* policy_parse.c - from a deparsed condition (pg_get_expr with an empty search path) to nodes. */
#include <ctype.h>
#include <string.h>

#include "node/db/policy_in.h"

#define DEPTH_MAX 32u

/* What every rule gives if the text is not of the grammar. */
#define NONE UINT32_MAX

static uint32_t condition(struct policy_parser *s);

/* ---- nodes ---- */

static uint32_t node(struct policy_parser *s, struct policy_node n)
{
    if (s->p->count == POLICY_NODES_MAX) {
        return NONE;
    }
    s->p->nodes[s->p->count] = n;
    return s->p->count++;
}

static struct policy_node *at(const struct policy_parser *s, uint32_t i)
{
    return &s->p->nodes[i];
}

bool policy_int(struct pr_slice text, int64_t *v)
{
    bool minus = text.n > 0 && text.p[0] == '-';
    size_t i = minus ? 1 : 0;

    *v = 0;
    if (text.n == i || text.n - i > 18) {
        return false;
    }
    for (; i < text.n; i++) {
        if (!isdigit(text.p[i])) {
            return false;
        }
        *v = *v * 10 + (text.p[i] - '0');
    }
    *v = minus ? -*v : *v;
    return true;
}

static bool is_value(const struct policy_node *n)
{
    return n->kind == P_COLUMN || n->kind == P_CONSTANT || n->kind == P_CLAIM;
}

static bool is_condition(const struct policy_node *n)
{
    return n->type == PT_BOOL;
}

/* ---- values ---- */

static uint32_t claim(struct policy_parser *s, enum policy_type type, const char *key)
{
    struct policy_claim *c = &s->p->claims[s->p->nclaims];

    if (s->p->nclaims == RT_POLICY_CLAIMS_MAX) {
        return NONE;
    }
    if (key != NULL) {
        c->path[c->depth++] = pr_str(key);
    }
    c->uuid = type == PT_UUID;
    c->json = type == PT_JSON;
    return node(s, (struct policy_node){.kind = P_CLAIM, .type = type, .claim = s->p->nclaims++});
}

/* auth.uid() and kin, behind "auth". */
static uint32_t helper(struct policy_parser *s)
{
    static const struct {
        const char *call, *key;
        enum rt_auth_helper bit;
        enum policy_type type;
    } known[] = {{"uid", "sub", RT_AUTH_UID, PT_UUID},
                 {"role", "role", RT_AUTH_ROLE, PT_TEXT},
                 {"email", "email", RT_AUTH_EMAIL, PT_TEXT},
                 {"jwt", NULL, RT_AUTH_JWT, PT_JSON}};

    if (!policy_take(s, ".")) {
        return NONE;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (policy_take(s, known[i].call)) {
            bool whole =
                policy_take(s, "(") && policy_take(s, ")") && (s->helpers & known[i].bit) != 0;

            return whole ? claim(s, known[i].type, known[i].key) : NONE;
        }
    }
    return NONE;
}

static uint32_t column(struct policy_parser *s, struct pr_slice name)
{
    int i = rt_relation_column(s->rel, name);
    const struct rt_column *c;
    enum policy_type type;

    if (i < 0 || s->rel->columns[i].generated) {
        return NONE;
    }
    c = &s->rel->columns[i];
    switch ((int)pr_pg_base(c->type)->kind) {
    case PR_PG_BOOL:
        type = PT_BOOL;
        break;
    case PR_PG_INT:
        type = PT_INT;
        break;
    case PR_PG_UUID:
        type = PT_UUID;
        break;
    case PR_PG_TEXT:
        if (c->text < PR_TEXT_EQUAL) {
            return NONE;
        }
        type = PT_TEXT;
        break;
    default:
        return NONE;
    }
    return node(s, (struct policy_node){.kind = P_COLUMN, .type = type, .column = (uint32_t)i});
}

static uint32_t number(struct policy_parser *s)
{
    const uint8_t *begin = s->rest.p;
    size_t n = 0;

    while (n < s->rest.n && isdigit(begin[n])) {
        n++;
    }
    s->rest = pr_bytes(begin + n, s->rest.n - n);
    if (s->rest.n > 0 && (s->rest.p[0] == '.' || policy_is_name(s->rest.p[0]))) {
        return NONE;
    }
    return node(
        s, (struct policy_node){.kind = P_CONSTANT, .type = PT_INT, .text = pr_bytes(begin, n)});
}

/* In parentheses: a condition, a value, or (SELECT value AS name). */
static uint32_t inner(struct policy_parser *s)
{
    struct pr_slice name;
    uint32_t i;

    if (policy_take(s, "SELECT")) {
        i = condition(s);
        if (i == NONE || !is_value(at(s, i)) ||
            (policy_take(s, "AS") && !policy_take_word(s, &name))) {
            return NONE;
        }
    } else {
        i = condition(s);
    }
    return policy_take(s, ")") ? i : NONE;
}

static uint32_t primary(struct policy_parser *s)
{
    struct pr_slice text;

    policy_skip(s);
    if (policy_take(s, "(")) {
        return inner(s);
    }
    if (policy_take(s, "true")) {
        return node(s, (struct policy_node){.kind = P_TRUE, .type = PT_BOOL});
    }
    if (policy_take(s, "false")) {
        return node(s, (struct policy_node){.kind = P_FALSE, .type = PT_BOOL});
    }
    if (s->rest.n > 0 && isdigit(s->rest.p[0])) {
        return number(s);
    }
    if (policy_take_quoted(s, '\'', &text)) {
        return node(s, (struct policy_node){.kind = P_CONSTANT, .type = PT_TEXT, .text = text});
    }
    if (policy_take(s, "auth")) {
        return helper(s);
    }
    return policy_take_word(s, &text) ? column(s, text) : NONE;
}

/* Is every value of node `n`, an integer, one of `bytes` bytes? If not, the cast may raise. */
static bool fits(const struct policy_parser *s, const struct policy_node *n, unsigned bytes)
{
    int64_t v, most = bytes == 2 ? INT16_MAX : bytes == 4 ? INT32_MAX : INT64_MAX;
    uint32_t oid;

    if (n->kind == P_CONSTANT) {
        return policy_int(n->text, &v) && v <= most && v >= -most - 1;
    }
    oid = pr_pg_base(s->rel->columns[n->column].type)->oid;
    return bytes >= (oid == 21 ? 2u : oid == 23 ? 4u : 8u); /* int2, int4 */
}

/* ::type behind a value. What is no cast to the same, or to the text of a value whose text is
 * known, is a constant's or a claim's own type. */
static bool cast(struct policy_parser *s, uint32_t i)
{
    static const struct {
        const char *name;
        enum policy_type type;
        unsigned bytes; /* PT_INT */
    } known[] = {{"text", PT_TEXT, 0},   {"character varying", PT_TEXT, 0},
                 {"uuid", PT_UUID, 0},   {"integer", PT_INT, 4},
                 {"bigint", PT_INT, 8},  {"smallint", PT_INT, 2},
                 {"boolean", PT_BOOL, 0}};
    struct policy_node *n = at(s, i);
    enum policy_type to = 0;
    unsigned bytes = 0;
    char uuid[36];

    for (size_t k = 0; k < sizeof known / sizeof known[0] && to == 0; k++) {
        if (policy_take(s, known[k].name)) {
            to = known[k].type;
            bytes = known[k].bytes;
        }
    }
    if (to == 0 || !is_value(n) || n->type == PT_JSON || policy_take(s, "(") ||
        policy_take(s, "[")) {
        return false; /* with a length, or an array */
    }
    if (n->kind == P_CONSTANT && n->type == PT_TEXT &&
        ((to == PT_INT && !fits(s, n, bytes)) ||
         (to == PT_UUID && !(policy_uuid(n->text, uuid) && memcmp(uuid, n->text.p, 36) == 0)))) {
        return false;
    }
    if (n->type == PT_INT && to == PT_INT && !fits(s, n, bytes)) {
        return false;
    }
    if (n->type == to || (to == PT_TEXT && n->type == PT_UUID) ||
        (n->kind == P_CONSTANT && n->type == PT_TEXT && (to == PT_INT || to == PT_UUID))) {
        n->type = to;
        return true;
    }
    if (n->kind == P_CLAIM && n->type == PT_TEXT && to == PT_UUID) {
        s->p->claims[n->claim].uuid = true;
        n->type = to;
        return true;
    }
    return false;
}

/* -> 'key' and ->> 'key' behind what is a part of the claims. */
static bool member(struct policy_parser *s, uint32_t i, bool text)
{
    struct policy_node *n = at(s, i);
    struct policy_claim *c = &s->p->claims[n->claim];

    if (n->kind != P_CLAIM || n->type != PT_JSON || c->depth == POLICY_PATH_MAX ||
        !policy_take_quoted(s, '\'', &c->path[c->depth]) || !policy_take(s, "::") ||
        !policy_take(s, "text")) {
        return false;
    }
    c->depth++;
    if (text) {
        c->json = false;
        n->type = PT_TEXT;
    }
    return true;
}

static uint32_t value(struct policy_parser *s)
{
    uint32_t i = primary(s);

    while (i != NONE) {
        bool ok;

        if (policy_take(s, "::")) {
            ok = cast(s, i);
        } else if (policy_take(s, "->>")) {
            ok = member(s, i, true);
        } else if (policy_take(s, "->")) {
            ok = member(s, i, false);
        } else {
            return i;
        }
        i = ok ? i : NONE;
    }
    return NONE;
}

/* ---- conditions ---- */

/* Texts of columns whose collations are two that are not the default: Postgres raises. */
static bool collations_conflict(const struct policy_parser *s, const struct policy_node *l,
                                const struct policy_node *r)
{
    const struct rt_operand *of = rt_rel_sql(s->rel)->operands;
    struct pr_slice x, y;

    if (l->kind != P_COLUMN || r->kind != P_COLUMN || l->type != PT_TEXT) {
        return false;
    }
    x = of[l->column].collation;
    y = of[r->column].collation;
    return x.n > 0 && y.n > 0 && !pr_slice_eq(x, y);
}

static uint32_t compare(struct policy_parser *s, uint32_t a, enum policy_op op, uint32_t b)
{
    const struct policy_node *l, *r;

    if (a == NONE || b == NONE) {
        return NONE;
    }
    l = at(s, a);
    r = at(s, b);
    if (l->type != r->type || l->type == PT_JSON || (l->type == PT_BOOL && op > OP_NE) ||
        (l->type != PT_INT && op > OP_NE) || collations_conflict(s, l, r)) {
        return NONE;
    }
    return node(s,
                (struct policy_node){.kind = P_COMPARE, .type = PT_BOOL, .op = op, .a = a, .b = b});
}

/* = ANY (ARRAY[constant, ...]): one of the comparisons. */
static uint32_t any(struct policy_parser *s, uint32_t a)
{
    uint32_t all = NONE;
    bool more = policy_take(s, "(") && policy_take(s, "ARRAY") && policy_take(s, "[");

    while (more) {
        uint32_t b = value(s);
        uint32_t one = b != NONE && at(s, b)->kind == P_CONSTANT ? compare(s, a, OP_EQ, b) : NONE;

        if (one == NONE) {
            return NONE;
        }
        all =
            all == NONE
                ? one
                : node(s, (struct policy_node){.kind = P_OR, .type = PT_BOOL, .a = all, .b = one});
        more = policy_take(s, ",") && all != NONE;
    }
    return policy_take(s, "]") && policy_take(s, ")") ? all : NONE;
}

static uint32_t is_null(struct policy_parser *s, uint32_t a)
{
    bool negated = policy_take(s, "NOT");
    uint32_t i;

    if (!policy_take(s, "NULL") || !is_value(at(s, a)) || at(s, a)->type == PT_JSON) {
        return NONE;
    }
    i = node(s, (struct policy_node){.kind = P_IS_NULL, .type = PT_BOOL, .a = a});
    if (i == NONE || !negated) {
        return i;
    }
    return node(s, (struct policy_node){.kind = P_NOT, .type = PT_BOOL, .a = i});
}

static uint32_t comparison(struct policy_parser *s)
{
    static const struct {
        const char *text;
        enum policy_op op;
    } known[] = {{"<>", OP_NE}, {"<=", OP_LE}, {">=", OP_GE},
                 {"<", OP_LT},  {">", OP_GT},  {"=", OP_EQ}};
    uint32_t a = value(s);

    if (a == NONE) {
        return NONE;
    }
    if (policy_take(s, "IS")) {
        return is_null(s, a);
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (policy_take(s, known[i].text)) {
            if (known[i].op == OP_EQ && policy_take(s, "ANY")) {
                return any(s, a);
            }
            return compare(s, a, known[i].op, value(s));
        }
    }
    return a;
}

static uint32_t negation(struct policy_parser *s)
{
    uint32_t a;

    if (!policy_take(s, "NOT")) {
        return comparison(s);
    }
    a = comparison(s);
    if (a == NONE || !is_condition(at(s, a))) {
        return NONE;
    }
    return node(s, (struct policy_node){.kind = P_NOT, .type = PT_BOOL, .a = a});
}

/* a WORD b WORD c, of what `part` reads. */
static uint32_t chain(struct policy_parser *s, const char *word, enum policy_kind kind,
                      uint32_t (*part)(struct policy_parser *s))
{
    uint32_t a = part(s);

    while (a != NONE && policy_take(s, word)) {
        uint32_t b = part(s);

        if (b == NONE || !is_condition(at(s, a)) || !is_condition(at(s, b))) {
            return NONE;
        }
        a = node(s, (struct policy_node){.kind = kind, .type = PT_BOOL, .a = a, .b = b});
    }
    return a;
}

static uint32_t conjunction(struct policy_parser *s)
{
    return chain(s, "AND", P_AND, negation);
}

/* The whole of what stands between parentheses. */
static uint32_t condition(struct policy_parser *s)
{
    uint32_t i;

    if (s->depth == DEPTH_MAX) {
        return NONE;
    }
    s->depth++;
    i = chain(s, "OR", P_OR, conjunction);
    s->depth--;
    return i;
}

const struct rt_policy *rt_policy_compile(struct rt_arena *mem, struct pr_slice text,
                                          const struct rt_relation *rel, unsigned helpers)
{
    struct rt_policy *p = rt_arena_take(mem, 1, sizeof *p);
    struct policy_parser s = {.mem = mem, .rest = text, .rel = rel, .p = p, .helpers = helpers};
    uint32_t root = condition(&s);

    policy_skip(&s);
    if (root == NONE || s.rest.n > 0 || !is_condition(at(&s, root))) {
        return NULL;
    }
    p->root = root;
    return p;
}
