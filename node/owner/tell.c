/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/tell.h"

#include <stdio.h>
#include <string.h>

#include "cluster/hash.h"
#include "node/owner/events.h"
#include "node/owner/look.h"
#include "node/owner/nodes.h"

/* Names of two nodes and a reason; the list of events cuts longer ones. */
#define SENTENCE (4 * PR_ID_MAX)

void rt_tell_link_up(struct owner *o, struct pr_slice name)
{
    char text[SENTENCE];

    rt_log(o->args->log, RT_INFO, "link_up", rt_kv_b("peer", name));
    (void)snprintf(text, sizeof text, "link to %.*s is up", (int)name.n, (const char *)name.p);
    rt_event(o->events, RT_EVT_LINK, text, rt_kv_b("peer", name), rt_kv_s("state", "up"));
}

void rt_tell_link_down(struct owner *o, uint64_t id, const char *why)
{
    struct rt_node_name name = rt_look_name(o, id);
    char text[SENTENCE];

    rt_log(o->args->log, RT_INFO, "link_down", rt_kv_s("peer", name.text), rt_kv_s("err", why));
    (void)snprintf(text, sizeof text, "link to %s is down: %s", name.text, why);
    rt_event(o->events, RT_EVT_LINK, text, rt_kv_s("peer", name.text), rt_kv_s("state", "down"),
             rt_kv_s("why", why));
}

void rt_tell_refused_by(struct owner *o, const struct pr_addr *by, const char *code,
                        const char *why)
{
    char where[PR_ADDR_TEXT_MAX];
    char text[SENTENCE];

    (void)pr_addr_format(by, where, sizeof where);
    rt_log(o->args->log, RT_WARN, "link_refused", rt_kv_s("by", where), rt_kv_s("code", code),
           rt_kv_s("err", why));
    (void)snprintf(text, sizeof text, "%s does not take this node: %s", where, why);
    rt_event(o->events, RT_EVT_REFUSED, text, rt_kv_s("addr", where), rt_kv_s("code", code),
             rt_kv_s("why", why));
}

void rt_tell_refused(struct owner *o, struct pr_slice name, const struct pr_addr *addr,
                     const char *why)
{
    char where[PR_ADDR_TEXT_MAX];
    char text[SENTENCE];
    struct pr_slice last;

    (void)pr_addr_format(addr, where, sizeof where);
    (void)snprintf(text, sizeof text, "%.*s at %s was refused: %s", (int)name.n,
                   (const char *)name.p, where, why);
    text[RT_EVENT_TEXT_MAX] = '\0';
    last = rt_events_last(o->events, RT_EVT_REFUSED, name);
    if (!pr_slice_is(last, text)) {
        rt_log(o->args->log, RT_WARN, "node_not_taken", rt_kv_b("peer", name),
               rt_kv_s("addr", where), rt_kv_s("err", why));
        rt_event(o->events, RT_EVT_REFUSED, text, rt_kv_b("peer", name), rt_kv_s("addr", where),
                 rt_kv_s("why", why));
    }
}

/* Whether the last event about this node says already that it is in this state. */
static bool told_already(const struct owner *o, const char *name, const char *state)
{
    struct pr_slice last = rt_events_last(o->events, RT_EVT_MEMBER, pr_str(name));
    char head[PR_ID_MAX + 32];
    int n = snprintf(head, sizeof head, "%s is %s", name, state);

    return last.n > (size_t)n && memcmp(last.p, head, (size_t)n) == 0 && last.p[n] == ':';
}

void rt_tell_member(struct owner *o, const struct cl_action *a)
{
    struct rt_node_name name = rt_look_name(o, a->id);
    struct rt_node_name by = {.text = ""};
    const char *why = a->reason == NULL ? "" : a->reason;
    bool other = a->who != 0 && a->who != o->node_id && a->who != a->id;
    char text[SENTENCE];

    if (other) {
        by = rt_look_name(o, a->who);
    }
    rt_log(o->args->log, RT_INFO, "member", rt_kv_s("peer", name.text), rt_kv_s("state", a->state),
           rt_kv_s("why", why), rt_kv_s("by", by.text));
    if (told_already(o, name.text, a->state)) {
        return;
    }
    (void)snprintf(text, sizeof text, "%s is %s: %s%s%s", name.text, a->state, why,
                   other ? ", says " : "", by.text);
    rt_event(o->events, RT_EVT_MEMBER, text, rt_kv_s("peer", name.text), rt_kv_s("state", a->state),
             rt_kv_s("why", why), rt_kv_s("by", by.text));
}

void rt_tell_reader(struct owner *o, const char *project, uint64_t id)
{
    struct rt_node_name name = {.text = ""};
    bool named = o->cfg->sections;
    char text[SENTENCE];

    if (id != 0) {
        name = rt_look_name(o, id);
    }
    (void)snprintf(text, sizeof text, "%s reads the changes of %s%s",
                   id == 0 ? "nobody" : name.text, named ? "project " : "the database",
                   named ? project : "");
    rt_log(o->args->log, RT_INFO, "reader", rt_kv_s("project", project),
           rt_kv_s("peer", name.text));
    rt_event(o->events, RT_EVT_READER, text, rt_kv_s("project", project),
             rt_kv_s("peer", name.text));
}

void rt_tell_node(struct owner *o, const char *what)
{
    char text[SENTENCE];

    (void)snprintf(text, sizeof text, "%s %s", o->cfg->node, what);
    rt_event(o->events, RT_EVT_NODE, text, rt_kv_s("peer", o->cfg->node));
}

/* ---- what is looked at now and then ---- */

static void tell_view(struct owner *o, uint64_t view)
{
    uint64_t owners[CL_NODES_MAX] = {0};
    uint32_t n = 0;
    uint32_t own = 0;
    char text[SENTENCE];

    for (uint32_t part = 0; part < CL_PARTITIONS; part++) {
        uint64_t id = cl_owner_of(o->cl, part);
        uint32_t i = 0;

        own += id == o->node_id;
        while (i < n && owners[i] != id) {
            i++;
        }
        if (i == n && id != 0 && n < CL_NODES_MAX) {
            owners[n++] = id;
        }
    }
    (void)snprintf(text, sizeof text, "view %08x: %u nodes, this one owns %u of %u partitions",
                   (uint32_t)(view >> 32), n, own, CL_PARTITIONS);
    rt_log(o->args->log, RT_INFO, "view", rt_kv_x("view", view), rt_kv_u("nodes", n),
           rt_kv_u("partitions", own));
    rt_event(o->events, RT_EVT_VIEW, text, rt_kv_x("view", view), rt_kv_u("nodes", n),
             rt_kv_u("partitions", own));
}

static uint64_t refused_datagrams(const struct rt_mesh_udp_counts *c)
{
    return c->seal.opened[RT_SEAL_KEY] + c->seal.opened[RT_SEAL_TAG] +
           c->seal.opened[RT_SEAL_UNSEALED];
}

static void tell_refused(struct owner *o)
{
    struct tells *t = &o->tells;
    struct rt_mesh_counts mesh = rt_mesh_counts(rt_nodes_mesh(o->nodes));
    struct rt_mesh_udp_counts udp = rt_mesh_udp_counts(rt_nodes_udp(o->nodes));
    uint64_t datagrams = refused_datagrams(&udp);
    char text[SENTENCE];

    if (mesh.refused_key == t->keys && mesh.refused_hello == t->hellos &&
        datagrams == t->datagrams) {
        return;
    }
    (void)snprintf(text, sizeof text,
                   "refused %llu connections without a valid key, %llu by what they said, %llu "
                   "datagrams",
                   (unsigned long long)(mesh.refused_key - t->keys),
                   (unsigned long long)(mesh.refused_hello - t->hellos),
                   (unsigned long long)(datagrams - t->datagrams));
    rt_event(o->events, RT_EVT_REFUSED, text, rt_kv_u("keys", mesh.refused_key - t->keys),
             rt_kv_u("hellos", mesh.refused_hello - t->hellos),
             rt_kv_u("datagrams", datagrams - t->datagrams));
    t->keys = mesh.refused_key;
    t->hellos = mesh.refused_hello;
    t->datagrams = datagrams;
}

void rt_tell_changes(struct owner *o)
{
    struct tells *t = &o->tells;
    uint64_t now = rt_now_ms(o->loop);

    if (cl_view(o->cl) != t->view) {
        t->view = cl_view(o->cl);
        tell_view(o, t->view);
    }
    if (o->nodes != NULL && now - t->refused_ms >= RT_TELL_REFUSED_MS) {
        t->refused_ms = now;
        tell_refused(o);
    }
}
