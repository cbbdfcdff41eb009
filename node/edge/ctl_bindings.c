/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_bindings.c - what the channels of a topic asked to hear of the database. */
#include <string.h>

#include "node/edge/changes.h"
#include "node/edge/ctl_in.h"
#include "node/edge/registrations.h"
#include "node/edge/topics.h"

/* Bytes of a filter or message that a row shows. */
#define SHOWN_MAX 1024u

static void put_text(struct pr_outbuf *o, const char *name, struct pr_slice text)
{
    size_t n = text.n < SHOWN_MAX ? text.n : SHOWN_MAX;

    while (n < text.n && n > 0 && (text.p[n] & 0xc0) == 0x80) {
        n--; /* whole characters */
    }
    pr_put_str(o, ",\"");
    pr_put_str(o, name);
    pr_put_str(o, "\":");
    pr_put_json_str(o, pr_bytes(text.p, n));
}

static void begin(struct rt_rows *r, const struct rt_channel *ch)
{
    rt_row_put_head(r, ch->socket);
    put_text(&r->o, "topic", rt_topic_name(ch->topic));
    put_text(&r->o, "role", ch->token->role);
    rt_row_put_flag(&r->o, "joined", ch->pending == NULL);
    pr_put_str(&r->o, ",\"queued_bytes\":");
    pr_put_dec(&r->o, ch->socket->out.bytes);
}

static const char *state_of(const struct rt_reg *reg)
{
    if (!reg->answered) {
        return "unanswered";
    }
    if (reg->status == PR_CHG_LIVE) {
        return "live";
    }
    return reg->status == PR_CHG_WAIT ? "waits" : "refused";
}

static void binding(struct rt_rows *r, const struct rt_channel *ch, const struct rt_reg *reg)
{
    const struct rt_params *p = &reg->params;
    bool refused = reg->answered && reg->status == PR_CHG_REFUSED;
    struct pr_slice of_channel = pr_str("");

    begin(r, ch);
    put_text(&r->o, "event", p->event);
    put_text(&r->o, "schema", p->schema);
    put_text(&r->o, "table", p->table);
    put_text(&r->o, "filter", p->filter);
    put_text(&r->o, "state", pr_str(state_of(reg)));
    put_text(&r->o, "message", pr_str(reg->message != NULL ? reg->message : ""));
    if (!refused && rt_changes_verdict(ch, &of_channel) == RT_VERDICT_REFUSED) {
        put_text(&r->o, "refused", of_channel);
    }
    pr_put_str(&r->o, ",\"boot\":\"");
    pr_put_dec(&r->o, r->edge->args->boot); /* as text: more than a JSON number holds exactly */
    pr_put_str(&r->o, "\",\"handle\":\"");
    pr_put_dec(&r->o, reg->handle);
    pr_put_str(&r->o, "\"");
    rt_row_end(r);
}

/* Nothing is registered. */
static void without(struct rt_rows *r, const struct rt_channel *ch, const char *state,
                    const char *message)
{
    begin(r, ch);
    put_text(&r->o, "state", pr_str(state));
    put_text(&r->o, "message", pr_str(message));
    rt_row_end(r);
}

static void channel(struct rt_rows *r, const struct rt_channel *ch)
{
    const struct rt_bindings *v = ch->changes;

    if (v == NULL) {
        without(r, ch, "none", "");
        return;
    }
    for (uint32_t i = 0; i < v->count; i++) {
        if (v->at[i].fault != NULL) {
            without(r, ch, "refused", v->at[i].fault);
        } else if (v->at[i].reg != NULL) {
            binding(r, ch, v->at[i].reg);
        }
    }
}

void rt_ctl_bindings(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch)
{
    const struct rt_project *project = rt_ctl_project(e, m, scratch);
    struct pr_slice topic;
    struct rt_rows r;

    if (project == NULL) {
        return;
    }
    if (!rt_ctl_arg(m->args, "topic", scratch, &topic)) {
        rt_rows_error(e, m->id, "topic must be a text that is not empty");
        return;
    }
    rt_rows_begin(&r, e, m->id);
    for (const struct rt_socket *s = e->sockets; s != NULL; s = s->next) {
        for (const struct rt_channel *ch = s->channels; ch != NULL; ch = ch->next) {
            if (s->project == project && pr_slice_eq(rt_topic_sub(ch->topic), topic)) {
                channel(&r, ch);
            }
        }
    }
    rt_rows_end(&r);
}
