/* SPDX-License-Identifier: Apache-2.0 */
/* regs_sieve.c - registrations whose filter Postgres could not evaluate, or whose policies: told,
 * in the end refused. */
#include <string.h>

#include "node/db/regs_in.h"
#include "node/db/validate_in.h"

/* Bytes of a filter that a message shows. */
#define SHOWN_MAX 512u
#define TEXT_MAX  1024u
/* How often one is told that its policies fail. */
#define FAILED_MS 60000u

/* The filter, or its beginning in whole characters. */
static void put_filter(struct pr_outbuf *o, struct pr_slice filter)
{
    struct pr_slice begin = rt_text_begin(filter, SHOWN_MAX);

    pr_put_slice(o, begin);
    pr_put_str(o, begin.n < filter.n ? "..." : "");
}

void rt_db_regs_unjudged(struct rt_db *d, uint64_t boot, uint32_t handle)
{
    struct rt_reg *r = rt_db_reg_find(d, boot, handle);
    char text[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf((uint8_t *)text, sizeof text);

    if (r == NULL || r->state == RT_REG_REFUSED || r->unjudged == d->batches) {
        return; /* it ended meanwhile, or was cancelled, and told so */
    }
    r->unjudged = d->batches;
    pr_put_str(&o, "Changes may be missing: the filter ");
    put_filter(&o, r->m.filter);
    pr_put_str(&o, " could not be evaluated for a row, because of an error or its time limit");
    pr_put_u8(&o, 0);
    rt_db_link_sys_to(d, boot, handle, text);
}

struct cancel {
    struct rt_db *d;
    const char *sqlstate;
};

static void cancel(void *ctx, uint64_t boot, uint32_t handle)
{
    const struct cancel *c = ctx;
    struct rt_reg *r = rt_db_reg_find(c->d, boot, handle);
    char text[TEXT_MAX];
    struct pr_outbuf o = pr_outbuf((uint8_t *)text, sizeof text);

    if (r == NULL) {
        return;
    }
    pr_put_str(&o, "Changes are missing: the filter ");
    put_filter(&o, r->m.filter);
    pr_put_str(&o, " is cancelled, because it failed for three rows within a minute. The last "
                   "failure: ");
    pr_put_str(&o, c->sqlstate);
    pr_put_str(&o, " (");
    pr_put_str(&o, rt_condition_name(c->sqlstate));
    pr_put_str(&o, ")");
    pr_put_u8(&o, 0);
    if (r->state == RT_REG_VALID) {
        r->cancelled = true;
        rt_db_reg_checked(r, rt_strdup(text), false);
    } else { /* it is looked at again just now, and gets a new sieve or a refusal */
        rt_db_link_sys_to(c->d, boot, handle, text);
    }
}

void rt_db_regs_cancel(struct rt_db *d, const struct rt_sieve *s, const char *sqlstate)
{
    struct cancel c = {.d = d, .sqlstate = sqlstate};

    rt_log(d->log, RT_WARN, "filter_cancelled", rt_kv_b("role", s->role),
           rt_kv_s("sqlstate", sqlstate));
    rt_subs_each_of(d->subs, s, cancel, &c);
}

bool rt_db_regs_failed(struct rt_db *d, uint64_t boot, uint32_t handle)
{
    struct rt_reg *r = rt_db_reg_find(d, boot, handle);
    uint64_t now = rt_now_ms(d->loop);

    if (r == NULL || (r->failed_ms != 0 && now - r->failed_ms < FAILED_MS)) {
        return false;
    }
    r->failed_ms = now;
    return true;
}

/* One that has other tables goes on with them. */
static void cancel_slow(void *ctx, uint64_t boot, uint32_t handle)
{
    struct rt_db *d = ctx;
    struct rt_reg *r = rt_db_reg_find(d, boot, handle);

    if (r != NULL && !d->cfg->delete_rls && pr_slice_is(r->m.event, "DELETE")) {
        return; /* no policy is asked for it */
    }
    if (r != NULL && r->state == RT_REG_VALID && r->noids == 1) {
        r->cancelled = true;
        r->slow = true;
        rt_db_reg_checked(r, rt_strdup(RT_TEXT_SLOW), false);
    } else if (r != NULL) {
        rt_db_link_sys_to(d, boot, handle, RT_TEXT_SLOW);
    }
}

void rt_db_regs_cancel_slow(struct rt_db *d, const struct rt_group *g,
                            const struct rt_relation *rel)
{
    rt_log(d->log, RT_WARN, "changes_cancelled", rt_kv_s("code", "QueryCanceled"),
           rt_kv_b("schema", rel->schema), rt_kv_b("table", rel->table), rt_kv_b("role", g->role));
    rt_subs_each_in(d->subs, g, rel, cancel_slow, d);
}
