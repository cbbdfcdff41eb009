/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_rows.c - rows of an answer to realtimectl. */
#include <stdio.h>

#include "node/base/control.h"
#include "node/edge/ctl_in.h"

/* Room for a row behind those that are sent at RT_CONTROL_ROWS_BYTES; a longer one is left out. */
#define ROWS_CAP ((size_t)2 * RT_CONTROL_ROWS_BYTES)
/* Half of what may wait for the owner: an answer is made in one turn, and what clients cause in
 * that turn has to find room, or the link ends. The last rows always go; they are few. */
#define ROWS_QUEUED_MAX (RT_IPC_QUEUE_MAX / 2)

void rt_rows_begin(struct rt_rows *r, struct rt_edge *e, uint32_t id)
{
    r->edge = e;
    r->id = id;
    r->only = NULL;
    r->collected = 0;
    r->left_out = 0;
    r->o = pr_outbuf(rt_malloc(ROWS_CAP), ROWS_CAP);
}

void rt_rows_send(struct rt_rows *r, bool last)
{
    /* A row that did not fit is left out; the next send starts empty. */
    size_t n = pr_out_ok(&r->o) ? r->o.len : 0;

    if (r->edge->link.up) {
        (void)rt_control_reply(r->edge->link.ipc, r->id, pr_bytes(r->o.p, n), last);
    }
    r->o.len = 0;
    r->collected = 0;
}

void rt_row_end(struct rt_rows *r)
{
    pr_put_str(&r->o, "}\n");
    r->collected++;
    if (r->o.len <= RT_CONTROL_ROWS_BYTES) {
        return;
    }
    if (r->edge->link.up && rt_ipc_queued(r->edge->link.ipc) > ROWS_QUEUED_MAX) {
        r->left_out += r->collected;
        r->o.len = 0;
        r->collected = 0;
    } else {
        rt_rows_send(r, false);
    }
}

void rt_rows_end(struct rt_rows *r)
{
    if (r->left_out > 0) {
        char text[96];

        (void)snprintf(text, sizeof text, "%llu rows were left out: there are too many",
                       (unsigned long long)r->left_out);
        pr_put_str(&r->o, "{\"error\":");
        pr_put_json_cstr(&r->o, text);
        pr_put_str(&r->o, "}\n");
    }
    rt_rows_send(r, true);
    rt_free(r->o.p);
}

static void put_hex(struct pr_outbuf *o, uint64_t v)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 60; shift >= 0; shift -= 4) {
        pr_put_u8(o, (uint8_t)digits[v >> shift & 15]);
    }
}

void rt_row_put_edge(struct rt_rows *r)
{
    pr_put_str(&r->o, "{\"edge\":");
    pr_put_dec(&r->o, r->edge->args->index);
}

void rt_row_put_head(struct rt_rows *r, const struct rt_socket *s)
{
    rt_row_put_edge(r);
    pr_put_str(&r->o, ",\"conn\":\"");
    put_hex(&r->o, s->id);
    pr_put_str(&r->o, "\"");
    rt_row_put_project(r, s->project);
}

void rt_row_put_project(struct rt_rows *r, const struct rt_project *project)
{
    pr_put_str(&r->o, ",\"project\":");
    pr_put_json_cstr(&r->o, project->cfg->project);
}

void rt_row_put_flag(struct pr_outbuf *o, const char *name, bool value)
{
    pr_put_str(o, ",\"");
    pr_put_str(o, name);
    pr_put_str(o, value ? "\":true" : "\":false");
}

void rt_rows_error(struct rt_edge *e, uint32_t id, const char *text)
{
    struct rt_rows r;

    rt_rows_begin(&r, e, id);
    pr_put_str(&r.o, "{\"error\":");
    pr_put_json_cstr(&r.o, text);
    rt_row_end(&r);
    rt_rows_end(&r);
}
