/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - what this process tells realtimectl: how far the slot is; what doctor and explain find.
 */
#include <stdio.h>

#include "node/base/control.h"
#include "node/db/doctor.h"
#include "node/db/explain.h"

static const char *state_name(const struct rt_db *d)
{
    if (d->cfg->database_url == NULL) {
        return "none";
    }
    if (!d->elected) {
        return "standby";
    }
    if (d->stream.state == RT_STREAM_ON) {
        return "held";
    }
    if (d->stream.state == RT_STREAM_BUSY) {
        return "busy";
    }
    return d->stream.trouble != NULL ? "error" : "starting";
}

/* As Postgres writes positions. */
struct lsn_text {
    char text[20];
};
static struct lsn_text lsn_text(uint64_t lsn)
{
    struct lsn_text t;

    (void)snprintf(t.text, sizeof t.text, "%X/%X", (uint32_t)(lsn >> 32), (uint32_t)lsn);
    return t;
}

/* `reader` is the name of who reads: only the one that does says so. */
static void slots(struct rt_db *d, uint32_t id)
{
    const struct rt_stream *s = &d->stream;
    uint64_t behind = s->received_lsn > s->confirmed_lsn ? s->received_lsn - s->confirmed_lsn : 0;
    bool held = s->state == RT_STREAM_ON;
    char row[900];
    char reader[300];
    int n;

    (void)snprintf(reader, sizeof reader, d->elected ? "\"%s\"" : "null", d->cfg->node);
    n = snprintf(row, sizeof row,
                 "{\"project\":\"%s\",\"slot\":\"%s\",\"reader\":%s,\"state\":\"%s\","
                 "\"term\":\"%s\",\"confirmed_lsn\":\"%s\",\"received_lsn\":\"%s\","
                 "\"behind_bytes\":%llu,\"unconfirmed\":%u,\"edges\":%zu,\"edges_behind\":%u,"
                 "\"subscriptions\":%u}\n",
                 d->cfg->project, s->slot, reader, state_name(d),
                 lsn_text(held ? s->found_lsn : 0).text, lsn_text(s->confirmed_lsn).text,
                 lsn_text(s->received_lsn).text, (unsigned long long)behind, s->sent.count,
                 d->boots.count, s->sent.count > 0 ? s->lacking : 0, d->nregs);
    (void)rt_control_reply(d->owner, id, pr_bytes(row, (size_t)n), true);
}

void rt_db_on_ctl(struct rt_db *d, const struct pr_frame *f)
{
    struct pr_ctl m;

    if (pr_ctl_decode(f, &m) != PR_OK || pr_slice_is(m.cmd, RT_CONTROL_CANCEL)) {
        return;
    }
    if (pr_slice_is(m.cmd, "slots")) {
        slots(d, m.id);
    } else if (pr_slice_is(m.cmd, "doctor")) {
        rt_db_doctor(d, m.id);
    } else if (pr_slice_is(m.cmd, "explain")) {
        rt_db_explain(d, m.id, m.args);
    } else {
        (void)rt_control_reply(d->owner, m.id, pr_str("{\"error\":\"unknown command\"}\n"), true);
    }
}
