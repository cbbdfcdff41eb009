/* SPDX-License-Identifier: Apache-2.0 */
/* validate_say.c - why a registration is refused, in the texts of Supabase's server, which users
 * search for. */
#include <assert.h>
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

/* What a refusal says. */
struct refusal {
    const struct rt_reg *reg;
    const struct pr_slice *exception; /* in pieces */
    uint32_t count;                   /* 0: no table of it is published */
};

static void put_refusal(struct pr_outbuf *o, const struct refusal *f)
{
    pr_put_str(o, "Unable to subscribe to changes with given parameters. ");
    pr_put_str(o, f->count == 0
                      ? "Please check Realtime is enabled for the given connect "
                        "parameters: "
                      : "An exception happened so please check your connect parameters: ");
    put_params(o, f->reg);
    pr_put_str(o, f->count == 0 ? "" : ". Exception: ");
    for (uint32_t i = 0; i < f->count; i++) {
        pr_put_slice(o, f->exception[i]);
    }
}

/* A filter may have 64 KiB, so the room is measured: of what did not fit, nothing is written. */
static void refuse(struct rt_reg *r, const struct pr_slice *exception, uint32_t count)
{
    struct refusal f = {.reg = r, .exception = exception, .count = count};
    struct pr_outbuf o = pr_outbuf(NULL, 0);

    put_refusal(&o, &f);
    o = pr_outbuf(rt_malloc(o.len), o.len);
    put_refusal(&o, &f);
    rt_check_end(r, &o, count == 0);
    rt_free(o.p);
}

void rt_refuse_unpublished(struct rt_reg *r)
{
    refuse(r, NULL, 0);
}

void rt_refuse(struct rt_reg *r, const struct pr_slice *exception, uint32_t count)
{
    assert(count > 0);
    refuse(r, exception, count);
}

void rt_refuse_raised(struct rt_reg *r, const char *text, struct pr_slice a, const char *middle,
                      struct pr_slice b)
{
    const struct pr_slice pieces[] = {pr_str("ERROR P0001 (raise_exception) "), pr_str(text), a,
                                      pr_str(middle), b};

    rt_refuse(r, pieces, sizeof pieces / sizeof pieces[0]);
}

struct pr_slice rt_text_begin(struct pr_slice text, size_t max)
{
    if (text.n <= max) {
        return text;
    }
    text.n = max;
    while (text.n > 0 && (text.p[text.n] & 0xc0) == 0x80) {
        text.n--;
    }
    return text;
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
    const char *state = rt_pg_sqlstate(res);
    const struct pr_slice pieces[] = {pr_str("ERROR "), pr_str(state),
                                      pr_str(" ("),     pr_str(rt_condition_name(state)),
                                      pr_str(") "),     pr_str(rt_pg_message(res))};

    rt_refuse(r, pieces, sizeof pieces / sizeof pieces[0]);
}
