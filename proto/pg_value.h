/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_value.h - values of Postgres in text form: their JSON, their order and their equality.
 *
 * The text is what the type's output function gives under TimeZone=UTC DateStyle=ISO
 * IntervalStyle=postgres extra_float_digits=1 bytea_output=hex, UTF8; anything else that arrives
 * is still turned into valid JSON (a string), never trusted.
 */
#ifndef PROTO_PG_VALUE_H
#define PROTO_PG_VALUE_H

#include "proto/bytes.h"

/* Types inside types (array of composite of array ...), arrays counted once whatever their
 * dimensions. Deeper is PR_EDEPTH. */
#define PR_PG_DEPTH_MAX 16u
/* Postgres' MAXDIM. */
#define PR_PG_DIMS_MAX 6u

enum pr_pg_kind {
    PR_PG_BOOL = 1,
    PR_PG_INT,   /* int2 int4 int8 */
    PR_PG_OID,   /* a string in JSON, a number in order */
    PR_PG_FLOAT, /* float4 float8 */
    PR_PG_NUMERIC,
    PR_PG_TEXT,   /* text varchar name "char" */
    PR_PG_BPCHAR, /* char(n): trailing blanks do not count in comparisons */
    PR_PG_BYTEA,
    PR_PG_UUID,
    PR_PG_DATE,
    PR_PG_TIME,
    PR_PG_TIMESTAMP,
    PR_PG_TIMESTAMPTZ,
    PR_PG_JSON,      /* json jsonb */
    PR_PG_ENUM,      /* labels, nlabels */
    PR_PG_DOMAIN,    /* elem is the base type */
    PR_PG_ARRAY,     /* elem, delim */
    PR_PG_COMPOSITE, /* fields, nfields */
    PR_PG_OTHER,     /* text form as a JSON string; no comparison in C */
    PR_PG_SQL        /* has a cast to json: only Postgres can render it; as OTHER if it must be */
};

struct pr_pg_type;
struct pr_pg_field {
    struct pr_slice name;
    const struct pr_pg_type *type;
};
/*
 * Description of one type, filled from the catalog by its owner, who keeps everything it points to
 * as long as it. May not contain itself (Postgres does not allow that either).
 */
struct pr_pg_type {
    uint32_t oid;
    enum pr_pg_kind kind;
    uint8_t delim;                    /* ARRAY: typdelim of the element, ',' or ';' */
    const struct pr_pg_type *elem;    /* ARRAY element, DOMAIN base */
    const struct pr_pg_field *fields; /* COMPOSITE: attributes that are not dropped, by attnum */
    uint32_t nfields;
    const struct pr_slice *labels; /* ENUM: by enumsortorder */
    uint32_t nlabels;
};

/*
 * Kind of a built-in scalar type by its OID; PR_PG_OTHER for all that C has no rule for. Enums,
 * domains, arrays and composites are told by pg_type (typtype 'e', 'd', 'c'; an array is a type
 * that is some type's typarray), and are not asked here.
 */
enum pr_pg_kind pr_pg_builtin(uint32_t oid);
/* The type under all domains. */
const struct pr_pg_type *pr_pg_base(const struct pr_pg_type *t);

/*
 * Appends the JSON of a value that is not NULL. `scratch` takes unescaped parts of arrays and
 * composites and is used from its current len on, which is restored; text.n * PR_PG_DEPTH_MAX
 * bytes are always enough, scalars need none.
 * PR_OK; PR_ESYNTAX (not a text of that type), PR_EDEPTH, PR_ESHORT (scratch too small): then
 * o->len is as before the call (bytes behind it may be overwritten).
 * Scalars never fail: a text that is not of its type becomes a JSON string.
 */
PR_MUST_CHECK int pr_pg_json(struct pr_outbuf *o, const struct pr_pg_type *t, struct pr_slice text,
                             struct pr_outbuf *scratch);
/* Appends the text of a JSON value as it is, if it is one for json_scan.h (which also bounds its
 * nesting), else as a JSON string. */
void pr_pg_json_raw(struct pr_outbuf *o, struct pr_slice text);

/*
 * Can C decide equality, and order, of two values of the type? Order of text only where the
 * collation compares bytes (C, POSIX, ucs_basic): `c_collation`.
 */
bool pr_pg_has_equal(const struct pr_pg_type *t);
bool pr_pg_has_order(const struct pr_pg_type *t, bool c_collation);
/* Order of two values: *order <0, 0, >0. PR_OK, PR_ESYNTAX if a text is not of the type,
 * PR_ETYPE if C has no order (or equality) for it. Equality needs no collation. */
PR_MUST_CHECK int pr_pg_compare(const struct pr_pg_type *t, struct pr_slice a, struct pr_slice b,
                                int *order);
/*
 * Appends bytes that are equal exactly if the values are (1.5 and 1.50, char(n) with blanks,
 * -0 and 0): the key of hash indexes. At most text.n + PR_PG_KEY_EXTRA bytes. Errors as compare.
 */
#define PR_PG_KEY_EXTRA 24u
PR_MUST_CHECK int pr_pg_key(struct pr_outbuf *o, const struct pr_pg_type *t, struct pr_slice text);

/* Appends YYYY-MM-DDTHH:MM:SS.mmmZ of microseconds since 2000-01-01 UTC; truncates. */
void pr_pg_put_commit_time(struct pr_outbuf *o, int64_t us);

#endif
