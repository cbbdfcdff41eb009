/* SPDX-License-Identifier: Apache-2.0 */
/* control_cmds.c - the questions of realtimectl, here or at another node: who answers which. */
#include <stdio.h>
#include <string.h>

#include "node/owner/changes.h"
#include "node/owner/look.h"

static const struct command {
    const char *name;
    void (*own)(struct ask *q, const json_t *args); /* rows of this process; NULL: none */
    const char *edges;                              /* what edges are asked; NULL: nothing */
    bool one_edge;
    bool db;
    bool one_project;   /* of several it needs one */
    bool topic_project; /* the same, if it is about a topic */
    bool nodes;         /* it is about the whole cluster */
    bool stream;
} commands[] = {
    {.name = "status", .own = rt_look_status, .nodes = true},
    {.name = "members", .own = rt_look_members, .nodes = true},
    {.name = "ring", .own = rt_look_ring, .topic_project = true, .nodes = true},
    {.name = "events", .own = rt_look_events, .nodes = true},
    {.name = "topics", .own = rt_look_topics, .edges = "topics", .nodes = true},
    {.name = "presence", .own = rt_look_presence, .one_project = true, .nodes = true},
    {.name = "connections", .edges = "connections", .nodes = true},
    {.name = "channels", .edges = "channels", .nodes = true},
    {.name = "slots", .db = true, .nodes = true},
    {.name = "doctor", .db = true},
    {.name = "bindings", .edges = "bindings", .one_project = true, .nodes = true},
    {.name = "explain", .db = true, .one_project = true, .nodes = true},
    {.name = "pub", .edges = "pub", .one_edge = true, .one_project = true},
    {.name = "sub", .edges = "sub", .one_edge = true, .one_project = true, .stream = true},
    {.name = "tail",
     .edges = "sub",
     .one_edge = true,
     .one_project = true,
     .nodes = true,
     .stream = true},
};

static const struct command *command_of(struct pr_slice name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (pr_slice_is(name, commands[i].name)) {
            return &commands[i];
        }
    }
    return NULL;
}

/* The project that is meant is known, or there is no other; else the asker is told which there are.
 */
static bool project_named(struct ask *q, const char *name)
{
    const struct owner *o = q->owner;
    char text[512];
    size_t n = (size_t)snprintf(text, sizeof text, "name a project by --project:");
    bool known = name == NULL && rt_changes_project(o, 1) == NULL;
    const char *at = NULL;

    for (uint32_t i = 0; (at = rt_changes_project(o, i)) != NULL; i++) {
        known = known || (name != NULL && strcmp(at, name) == 0);
        if (n < sizeof text) {
            n += (size_t)snprintf(text + n, sizeof text - n, " %s", at);
        }
    }
    if (!known) {
        rt_ask_error(q, text);
    }
    return known;
}

/* It may be asked: whoever has to name a project has done so, and what is named is known. */
static bool is_allowed(struct ask *q, const struct command *c, const json_t *args)
{
    const char *project = json_string_value(json_object_get(args, "project"));
    bool one = c->one_project || (c->topic_project && json_object_get(args, "topic") != NULL);

    return (!one && project == NULL) || project_named(q, project);
}

/* Asks everybody who is to be asked. Another node that asks wants to hear of this node alone. */
static void dispatch(struct ask *q, struct pr_slice name, struct pr_slice args)
{
    const struct command *c = command_of(name);
    json_t *j = json_loadb((const char *)args.p, args.n, 0, NULL);
    const char *at = q->asker != NULL ? json_string_value(json_object_get(j, "at")) : NULL;
    bool local = q->asker == NULL || json_is_true(json_object_get(j, "local"));
    bool here = at == NULL || strcmp(at, q->owner->cfg->node) == 0;
    const char *project = json_string_value(json_object_get(j, "project"));

    if (c == NULL) {
        rt_ask_error(q, "unknown command");
    } else if (is_allowed(q, c, j)) {
        q->stream = c->stream;
        if (here && c->own != NULL) {
            c->own(q, j);
        }
        if (here && c->edges != NULL) {
            rt_ask_edges(q, c->edges, args, c->one_edge);
        }
        if (here && c->db) {
            rt_ask_db(q, c->name, args, project);
        }
        if (at != NULL ? !here : c->nodes && !local) {
            rt_ask_nodes(q, name, args, at);
        }
    }
    rt_ask_wait(q);
    json_decref(j);
}

static void on_request(void *ctx, struct rt_asker *a, struct pr_slice cmd, struct pr_slice args)
{
    dispatch(rt_ask_new(ctx, a), cmd, args);
}

static void on_gone(void *ctx, struct rt_asker *a)
{
    struct ask *q = rt_asker_user(a);

    (void)ctx;
    if (q != NULL) {
        rt_ask_gone(q);
    }
}

void rt_owner_on_link_ctl(struct owner *o, uint64_t from, const struct pr_frame *f)
{
    struct pr_ctl_reply reply;
    struct pr_ctl m;
    struct ask *q;

    if (f->type == PR_T_CTL_REPLY && pr_ctl_reply_decode(f, &reply) == PR_OK) {
        rt_asks_node_reply(o, from, &reply);
    } else if (f->type == PR_T_CTL && pr_ctl_decode(f, &m) == PR_OK) {
        if (pr_slice_is(m.cmd, RT_CONTROL_CANCEL)) {
            rt_asks_cancel_far(o, from, m.id);
            return;
        }
        q = rt_ask_new_far(o, from, m.id);
        if (q != NULL) {
            dispatch(q, m.cmd, m.args);
        }
    } else {
        rt_log(o->args->log, RT_WARN, "bad_ctl_of_node",
               rt_kv_s("peer", rt_look_name(o, from).text));
    }
}

int rt_owner_control_open(struct owner *o, struct rt_error *err)
{
    static const struct rt_control_events events = {.on_request = on_request, .on_gone = on_gone};
    char path[256];

    if (rt_config_path(o->cfg, "control.sock", path, sizeof path) != 0) {
        return rt_error_set(err, RT_ECONFIG, "REALTIME_RUNTIME_DIR is too long for a socket");
    }
    o->asks = rt_asks_new(o);
    o->control = rt_control_listen(o->loop, path, &events, o, err);
    return o->control != NULL ? RT_OK : err->code;
}

void rt_owner_control_free(struct owner *o)
{
    if (o->control != NULL) {
        rt_control_close(o->control);
    }
    rt_asks_free(o->asks);
}
