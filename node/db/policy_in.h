/* SPDX-License-Identifier: Apache-2.0 */
/* policy_in.h - a compiled policy: policy_parse.c makes it of the tokens of policy_token.c,
 * policy.c evaluates it. */
#ifndef NODE_DB_POLICY_IN_H
#define NODE_DB_POLICY_IN_H

#include "node/db/policy.h"

#define POLICY_NODES_MAX 64u
/* Keys from the claims down to the one that is read. */
#define POLICY_PATH_MAX 4u

enum policy_kind {
    P_TRUE = 1,
    P_FALSE,
    P_AND,
    P_OR,
    P_NOT,
    P_COMPARE, /* a `op` b */
    P_IS_NULL, /* a */
    P_COLUMN,
    P_CONSTANT,
    P_CLAIM
};
enum policy_type { PT_BOOL = 1, PT_INT, PT_TEXT, PT_UUID, PT_JSON };
enum policy_op { OP_EQ = 1, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE };

struct policy_node {
    enum policy_kind kind;
    enum policy_type type; /* of its value; conditions: PT_BOOL */
    enum policy_op op;
    uint32_t a, b;        /* other nodes */
    uint32_t column;      /* P_COLUMN */
    uint32_t claim;       /* P_CLAIM */
    struct pr_slice text; /* P_CONSTANT */
};

/* A text of the claims. */
struct policy_claim {
    struct pr_slice path[POLICY_PATH_MAX];
    uint32_t depth;
    bool uuid; /* it is read as one: another text raises */
    bool json; /* -> : only what is below it can be read */
};

struct rt_policy {
    uint32_t root, count, nclaims;
    struct policy_claim claims[RT_POLICY_CLAIMS_MAX];
    struct policy_node nodes[POLICY_NODES_MAX];
};

struct policy_parser {
    struct rt_arena *mem;
    struct pr_slice rest; /* of the condition */
    const struct rt_relation *rel;
    struct rt_policy *p;
    unsigned helpers;
    uint32_t depth;
};

/* Of an unquoted word or number? */
bool policy_is_name(uint8_t c);
/* Each skips white space, then takes what it names from `rest`; false: it does not come next. */
void policy_skip(struct policy_parser *s);
/* A word only as a whole one. */
bool policy_take(struct policy_parser *s, const char *text);
/* The inside of a text in `quote`s, doubled ones made single; of the parser's arena. */
bool policy_take_quoted(struct policy_parser *s, uint8_t quote, struct pr_slice *out);
/* A name; borrows. With capitals and no quotes it is none, but CURRENT_USER, NULL and their kind.
 */
bool policy_take_word(struct policy_parser *s, struct pr_slice *out);

/* Writes the canonical form of a uuid, 36 characters. False: Postgres may still read it as one, or
 * raise. */
bool policy_uuid(struct pr_slice text, char *to);
/* Decimal digits as Postgres prints an integer, within 64 bits. */
bool policy_int(struct pr_slice text, int64_t *v);

#endif
