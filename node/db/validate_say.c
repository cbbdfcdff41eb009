/* SPDX-License-Identifier: Apache-2.0 */
/* validate_say.c - why a registration is refused, in the texts of Supabase's server, which users
 * search for. */
#include <string.h>

#include "node/db/validate_in.h"

static void put_params(struct pr_outbuf *o, const struct rt_reg *r)
{
    struct pr_slice list = r->m.select, name;
    bool first = true;

    pr_put_str(o, "[event: ");
    pr_put_slice(o, r->m.event);
    pr_put_str(o, ", schema: ");
    pr_put_slice(o, r->m.schema);
    pr_put_str(o, ", table: ");
    pr_put_slice(o, r->m.table);
    pr_put_str(o, ", filters: ");
    pr_filter_inspect(o, &r->check->filter);
    pr_put_str(o, ", select: ");
    if (!r->m.has_select) {
        pr_put_str(o, "nil]");
        return;
    }
    pr_put_str(o, "[");
    while (pr_strs_next(&list, &name) == 1) {
        pr_put_str(o, first ? "" : ", ");
        pr_inspect_string(o, name);
        first = false;
    }
    pr_put_str(o, "]]");
}

void rt_refuse_unpublished(struct rt_reg *r)
{
    uint8_t bytes[RT_REFUSAL_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "Unable to subscribe to changes with given parameters. Please check Realtime is "
                   "enabled for the given connect parameters: ");
    put_params(&o, r);
    rt_check_end(r, &o, true);
}

void rt_refuse(struct rt_reg *r, struct pr_slice exception)
{
    uint8_t bytes[RT_REFUSAL_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "Unable to subscribe to changes with given parameters. An exception happened so "
                   "please check your connect parameters: ");
    put_params(&o, r);
    pr_put_str(&o, ". Exception: ");
    pr_put_slice(&o, exception);
    rt_check_end(r, &o, false);
}

void rt_refuse_raised(struct rt_reg *r, const char *text, struct pr_slice a, const char *middle,
                      struct pr_slice b)
{
    uint8_t bytes[RT_REFUSAL_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "ERROR P0001 (raise_exception) ");
    pr_put_str(&o, text);
    pr_put_slice(&o, a);
    pr_put_str(&o, middle);
    pr_put_slice(&o, b);
    rt_refuse(r, pr_bytes(bytes, o.len < o.cap ? o.len : o.cap));
}

/* Condition names of Postgres (appendix "PostgreSQL Error Codes") that a bad value can cause. */
const char *rt_condition_name(const char *sqlstate)
{
    static const char *const names[][2] = {
        {"22P02", "invalid_text_representation"},
        {"22003", "numeric_value_out_of_range"},
        {"22007", "invalid_datetime_format"},
        {"22008", "datetime_field_overflow"},
        {"22025", "invalid_escape_sequence"},
        {"22021", "character_not_in_repertoire"},
        {"2201B", "invalid_regular_expression"},
        {"23514", "check_violation"},
        {"0A000", "feature_not_supported"},
        {"42501", "insufficient_privilege"},
        {"42704", "undefined_object"},
        {"42804", "datatype_mismatch"},
        {"42846", "cannot_coerce"},
        {"57014", "query_canceled"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i][0], sqlstate) == 0) {
            return names[i][1];
        }
    }
    return "error";
}

void rt_refuse_result(struct rt_reg *r, const PGresult *res)
{
    uint8_t bytes[RT_REFUSAL_MAX];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    pr_put_str(&o, "ERROR ");
    pr_put_str(&o, rt_pg_sqlstate(res));
    pr_put_str(&o, " (");
    pr_put_str(&o, rt_condition_name(rt_pg_sqlstate(res)));
    pr_put_str(&o, ") ");
    pr_put_str(&o, rt_pg_message(res));
    rt_refuse(r, pr_bytes(bytes, o.len < o.cap ? o.len : o.cap));
}
