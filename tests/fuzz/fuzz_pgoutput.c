/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages of a walsender: lists have as many elements as they say and end where the message does,
 * and a message that is right is not right with its last byte missing.
 */
#include <assert.h>
#include <stdint.h>

#include "proto/pgoutput.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_tuple(const struct pr_pgo_tuple *t)
{
    struct pr_slice list = t->values;
    struct pr_pgo_value v;
    uint32_t count = 0;
    int rc = 0;

    while ((rc = pr_pgo_values_next(&list, &v)) == 1) {
        assert(v.kind == PR_PGO_TEXT || v.text.n == 0);
        count++;
    }
    assert(rc == 0 && count == t->count && count <= PR_PGO_COLUMNS_MAX);
}

static void check_relation(const struct pr_pgo_relation *r)
{
    struct pr_slice list = r->columns;
    struct pr_pgo_column c;
    uint32_t count = 0;
    int rc = 0;

    while ((rc = pr_pgo_columns_next(&list, &c)) == 1) {
        count++;
    }
    assert(rc == 0 && count == r->count && count <= PR_PGO_COLUMNS_MAX);
}

static void check_truncate(const struct pr_pgo_truncate *t)
{
    struct pr_slice list = t->relations;
    uint32_t oid = 0;
    uint32_t count = 0;

    while (pr_pgo_relations_next(&list, &oid) == 1) {
        count++;
    }
    assert(count == t->count);
}

static void check_lists(const struct pr_pgo *m)
{
    switch (m->kind) {
    case PR_PGO_RELATION:
        check_relation(&m->u.relation);
        break;
    case PR_PGO_INSERT:
    case PR_PGO_UPDATE:
    case PR_PGO_DELETE:
        check_tuple(&m->u.row.row);
        check_tuple(&m->u.row.old);
        assert((m->kind == PR_PGO_INSERT) <= (m->u.row.old_kind == 0));
        break;
    case PR_PGO_TRUNCATE:
        check_truncate(&m->u.truncate);
        break;
    case PR_PGO_BEGIN:
    case PR_PGO_COMMIT:
    case PR_PGO_ORIGIN:
    case PR_PGO_TYPE:
    case PR_PGO_MESSAGE:
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct pr_rep rep;
    struct pr_pgo m;
    struct pr_slice in = pr_bytes(data, size);
    int rc = pr_rep_decode(in, &rep);

    if (rc == PR_OK && rep.kind == PR_REP_XLOG) {
        in = rep.data;
    }
    if (pr_pgo_decode(in, &m) == PR_OK) {
        struct pr_pgo cut;

        check_lists(&m);
        assert(pr_pgo_decode(pr_bytes(in.p, in.n - 1), &cut) != PR_OK);
    }
    return 0;
}
