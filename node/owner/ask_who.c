/* SPDX-License-Identifier: Apache-2.0 */
/* ask_who.c - who is asked, and what becomes of them: they answer, are too slow, or go. */
#include <stdio.h>
#include <string.h>

#include "node/owner/asks_in.h"
#include "node/owner/changes.h"
#include "node/owner/look.h"

/* Of an error row. */
#define TEXT (RT_PROJECT_NAME_MAX + 64)

static bool send_ctl(struct peer *p, uint32_t id, const char *cmd, struct pr_slice args)
{
    struct pr_ctl m = {.id = id, .cmd = pr_str(cmd), .args = args};
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf out;
    bool ok;

    pr_ctl_encode(&size, &m);
    out = rt_ipc_reserve(p->ipc, size.len, &ok);
    if (ok) {
        pr_ctl_encode(&out, &m);
        rt_ipc_commit(p->ipc, &out);
    }
    return ok;
}

void rt_ask_edges(struct ask *q, const char *cmd, struct pr_slice args, bool one)
{
    struct owner *o = q->owner;

    for (uint32_t i = 0; i < RT_EDGES_MAX && !(one && q->edges != 0); i++) {
        if (o->edge[i] != NULL && send_ctl(o->edge[i], q->id, cmd, args)) {
            q->edges |= UINT64_C(1) << i;
        }
    }
    if (q->edges == 0) {
        rt_ask_error(q, "no edge process is attached");
    }
}

void rt_ask_db(struct ask *q, const char *cmd, struct pr_slice args, const char *project)
{
    struct owner *o = q->owner;
    char text[TEXT];
    const char *name;

    for (uint32_t i = 0; (name = rt_changes_project(o, i)) != NULL; i++) {
        struct peer *db = rt_changes_db(o, pr_str(name));

        if (project != NULL && strcmp(name, project) != 0) {
            continue;
        }
        if (db != NULL && send_ctl(db, q->id, cmd, args)) {
            q->dbs |= UINT64_C(1) << db->index;
        } else {
            (void)snprintf(text, sizeof text, "the db process%s%s is not attached",
                           o->cfg->sections ? " of project " : "", o->cfg->sections ? name : "");
            rt_ask_error(q, text);
        }
    }
}

static bool send_node(struct ask *q, uint64_t to, struct pr_slice cmd, struct pr_slice args)
{
    struct pr_ctl m = {.id = q->id, .cmd = cmd, .args = args};
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf out;
    bool ok;

    pr_ctl_encode(&size, &m);
    out = pr_outbuf(rt_malloc(size.len), size.len);
    pr_ctl_encode(&out, &m);
    ok = rt_owner_link_send(q->owner, to, pr_bytes(out.p, out.len));
    rt_free(out.p);
    return ok;
}

struct asking {
    struct ask *q;
    struct pr_slice cmd, args;
    const char *only; /* NULL: all */
    bool found;
};

static bool is_live(const char *state)
{
    return strcmp(state, "dead") != 0 && strcmp(state, "left") != 0;
}

static void ask_member(void *ctx, const struct cl_member_row *row)
{
    struct asking *g = ctx;
    struct ask *q = g->q;
    char name[PR_ID_MAX + 1];
    char text[64];

    if (row->self || (g->only != NULL && !pr_slice_is(row->name, g->only))) {
        return;
    }
    g->found = true;
    if (row->linked && q->nnodes < CL_NODES_MAX && send_node(q, row->id, g->cmd, g->args)) {
        q->node[q->nnodes++] = row->id;
        return;
    }
    if (is_live(row->state) || g->only != NULL) {
        (void)snprintf(name, sizeof name, "%.*s", (int)row->name.n, (const char *)row->name.p);
        (void)snprintf(text, sizeof text, "not asked: it is %s and has no link", row->state);
        rt_asks_node_error(q, name, text);
    }
}

void rt_ask_nodes(struct ask *q, struct pr_slice cmd, struct pr_slice args, const char *only)
{
    struct asking g = {.q = q, .cmd = cmd, .args = args, .only = only};

    cl_inspect_members(q->owner->cl, ask_member, &g);
    if (only != NULL && !g.found) {
        rt_ask_error(q, "no node of that name is known here");
    }
}

void rt_ask_wait(struct ask *q)
{
    rt_asks_settle(q);
    if (q->used && !q->stream) {
        rt_timer_set(&q->timer, q->asker != NULL ? RT_CONTROL_TIMEOUT_MS : RT_ASK_FAR_MS);
    }
}

/* Who has not ended its answer in time is named. */
void rt_asks_on_timeout(void *ctx)
{
    struct ask *q = ctx;
    char text[TEXT];

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if ((q->edges >> i & 1u) != 0) {
            (void)snprintf(text, sizeof text, "edge %u did not answer in time", i);
            rt_ask_error(q, text);
        }
    }
    for (uint32_t i = 0; i < RT_DBS_MAX; i++) {
        if ((q->dbs >> i & 1u) != 0) {
            (void)snprintf(text, sizeof text, "db of project %s did not answer in time",
                           q->owner->db[i]->project);
            rt_ask_error(q, text);
        }
    }
    for (uint32_t i = 0; i < q->nnodes; i++) {
        rt_asks_node_error(q, rt_look_name(q->owner, q->node[i]).text, "it did not answer in time");
    }
    rt_asks_finish(q);
}

/* ---- who answers, who goes ---- */

/* NULL: too late, the asker is gone or was told of a timeout. */
static struct ask *find(struct owner *o, uint32_t id)
{
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        if (o->asks->at[i].used && o->asks->at[i].id == id) {
            return &o->asks->at[i];
        }
    }
    return NULL;
}

/* This process has said all it has to say to this question. */
static void process_ended(struct ask *q, const struct peer *p)
{
    if (p->role == PR_ROLE_EDGE) {
        q->edges &= ~(UINT64_C(1) << p->index);
    } else {
        q->dbs &= ~(UINT64_C(1) << p->index);
    }
    rt_asks_settle(q);
}

void rt_owner_on_ctl_reply(struct owner *o, const struct peer *from, const struct pr_frame *f)
{
    struct pr_ctl_reply m;
    struct ask *q = NULL;

    if (pr_ctl_reply_decode(f, &m) != PR_OK) {
        rt_log(o->args->log, RT_WARN, "bad_ctl_reply", rt_kv_u("index", from->index));
        return;
    }
    q = find(o, m.id);
    if (q == NULL) {
        return;
    }
    rt_ask_rows(q, m.rows);
    rt_asks_flush(q);
    if (m.last) {
        process_ended(q, from);
    }
}

/* Its place in the list of those that are asked; nnodes if it is not. */
static uint32_t place_of(const struct ask *q, uint64_t id)
{
    uint32_t i = 0;

    while (i < q->nnodes && q->node[i] != id) {
        i++;
    }
    return i;
}

void rt_asks_node_reply(struct owner *o, uint64_t from, const struct pr_ctl_reply *m)
{
    struct ask *q = find(o, m->id);
    uint32_t i = q == NULL || q->asker == NULL ? 0 : place_of(q, from);

    if (q == NULL || q->asker == NULL || i == q->nnodes) {
        return; /* it was not asked that, or its answer has ended */
    }
    rt_asks_give(q, m->rows); /* whose they are is said in them */
    if (m->last) {
        q->node[i] = q->node[--q->nnodes];
        rt_asks_settle(q);
    }
}

void rt_owner_asks_lost(struct owner *o, const struct peer *gone)
{
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        struct ask *q = &o->asks->at[i];
        uint64_t asked = gone->role == PR_ROLE_EDGE ? q->edges
                         : gone->role == PR_ROLE_DB ? q->dbs
                                                    : 0;

        if (q->used && (asked >> gone->index & 1u) != 0) {
            char text[TEXT];

            if (gone->role == PR_ROLE_EDGE) {
                (void)snprintf(text, sizeof text, "edge %u ended while it was asked", gone->index);
            } else {
                (void)snprintf(text, sizeof text, "db of project %s ended while it was asked",
                               gone->project);
            }
            rt_ask_error(q, text);
            process_ended(q, gone);
        }
    }
}

/* Whoever streams is told that nobody listens any more. */
static void cancel(struct ask *q)
{
    struct owner *o = q->owner;

    for (uint32_t i = 0; q->stream && i < RT_EDGES_MAX; i++) {
        if ((q->edges >> i & 1u) != 0 && o->edge[i] != NULL) {
            (void)send_ctl(o->edge[i], q->id, RT_CONTROL_CANCEL, pr_str("{}"));
        }
    }
    for (uint32_t i = 0; q->stream && i < q->nnodes; i++) {
        (void)send_node(q, q->node[i], pr_str(RT_CONTROL_CANCEL), pr_str("{}"));
    }
    q->used = false;
    q->asker = NULL;
    rt_timer_clear(&q->timer);
}

void rt_ask_gone(struct ask *q)
{
    cancel(q);
}

void rt_asks_cancel_far(struct owner *o, uint64_t from, uint32_t from_id)
{
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        struct ask *q = &o->asks->at[i];

        if (q->used && q->asker == NULL && q->from == from && q->from_id == from_id) {
            cancel(q);
        }
    }
}

void rt_owner_asks_node_lost(struct owner *o, uint64_t id)
{
    for (uint32_t i = 0; i < RT_ASKS_MAX; i++) {
        struct ask *q = &o->asks->at[i];
        uint32_t place = place_of(q, id);

        if (!q->used) {
            continue;
        }
        if (q->asker == NULL && q->from == id) {
            cancel(q);
        } else if (place < q->nnodes) {
            q->node[place] = q->node[--q->nnodes];
            rt_asks_node_error(q, rt_look_name(o, id).text, "its link ended while it was asked");
            rt_asks_settle(q);
        }
    }
}
