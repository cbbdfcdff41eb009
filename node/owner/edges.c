/* SPDX-License-Identifier: Apache-2.0 */
/* edges.c - the local processes: who is attached. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "node/owner/changes.h"
#include "node/owner/clients.h"
#include "node/owner/nodes.h"
#include "node/owner/rights.h"

/* Room for a frame made here; the longest holds a node's name. */
#define SMALL_FRAME 512u

static const char *role_name(const struct peer *p)
{
    if (p->role == PR_ROLE_EDGE) {
        return "edge";
    }
    return p->role == PR_ROLE_DB ? "db" : "unknown";
}

static struct peer **place_of(struct peer *p)
{
    struct owner *o = p->owner;

    if (p->role == PR_ROLE_EDGE) {
        return &o->edge[p->index];
    }
    if (p->role == PR_ROLE_DB) {
        return &o->db[p->index];
    }
    for (uint32_t i = 0; i < RT_STRANGERS_MAX; i++) {
        if (o->stranger[i] == p) {
            return &o->stranger[i];
        }
    }
    assert(false);
    return NULL;
}

static void send_to(struct peer *p, const struct pr_outbuf *o)
{
    assert(pr_out_ok(o));
    if (p != NULL && !rt_ipc_send(p->ipc, pr_bytes(o->p, o->len))) {
        rt_owner_cut(p, "its queue is full: it does not read");
    }
}

/* The connection is closed or closing; forget the process and tell who has to know. */
static void forget(struct peer *p)
{
    struct owner *o = p->owner;

    *place_of(p) = NULL;
    rt_owner_asks_lost(o, p);
    if (p->role == PR_ROLE_EDGE) {
        struct cl_event ev = {.type = CL_EV_EDGE_DOWN, .edge = p->index, .boot = p->boot};

        (void)rt_owner_step(o, &ev);
        rt_changes_edge_down(o, p);
        rt_clients_edge(o->clients, p->index);
    } else if (p->role == PR_ROLE_DB) {
        rt_changes_db_down(o, p);
        rt_rights_db_down(o, pr_str(p->project));
    }
    rt_free(p);
}

void rt_owner_cut(struct peer *p, const char *why)
{
    rt_log(p->owner->args->log, RT_WARN, "local_process_cut", rt_kv_s("role", role_name(p)),
           rt_kv_u("index", p->index), rt_kv_s("err", why));
    rt_count(p->owner->args->metrics, RT_M_OWNER_CUTS, 1);
    rt_ipc_close(p->ipc);
    forget(p);
}

static void on_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    struct peer *p = ctx;

    (void)ipc;
    if (strcmp(why, "malformed frame") == 0) {
        rt_count(p->owner->args->metrics, RT_M_OWNER_CUTS, 1);
    }
    rt_log(p->owner->args->log, RT_INFO, "local_process_gone", rt_kv_s("role", role_name(p)),
           rt_kv_u("index", p->index), rt_kv_s("err", why));
    forget(p);
}

static void tell_cluster(struct peer *p, const struct pr_cluster *c)
{
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf out = pr_outbuf(bytes, sizeof bytes);

    pr_cluster_encode(&out, c);
    send_to(p, &out);
}

void rt_owner_tell_cluster(struct owner *o, const struct pr_cluster *c)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        tell_cluster(o->edge[i], c);
    }
}

static void greet(struct peer *p)
{
    struct owner *o = p->owner;
    struct pr_hello_ok ok = {
        .proto = PR_PROTO_MAX, .node = o->node_id, .epoch = o->epoch, .name = pr_str(o->cfg->node)};
    uint8_t bytes[SMALL_FRAME];
    struct pr_outbuf out = pr_outbuf(bytes, sizeof bytes);

    pr_hello_ok_encode(&out, &ok);
    send_to(p, &out);
}

/* Why this HELLO cannot be taken; NULL if it can. */
static const char *hello_fault(const struct owner *o, const struct pr_frame *f, struct pr_hello *m)
{
    if (f->type != PR_T_HELLO || pr_hello_decode(f, m) != PR_OK) {
        return "the first frame is not a HELLO";
    }
    if (m->proto_min > PR_PROTO_MAX || m->proto_max < PR_PROTO_MIN) {
        return "no common protocol version";
    }
    if (m->role == PR_ROLE_DB ? m->index >= RT_DBS_MAX
                              : m->role != PR_ROLE_EDGE || m->index >= o->cfg->edges) {
        return "HELLO of an unknown role or index";
    }
    if (m->role == PR_ROLE_DB && (m->project.n == 0 || m->project.n > RT_PROJECT_NAME_MAX)) {
        return "HELLO of a db without a project";
    }
    return NULL;
}

static void on_hello(struct peer *p, const struct pr_frame *f)
{
    struct owner *o = p->owner;
    struct pr_hello m;
    const char *fault = hello_fault(o, f, &m);
    struct peer *old;

    if (fault != NULL) {
        rt_owner_cut(p, fault);
        return;
    }
    old = m.role == PR_ROLE_EDGE ? o->edge[m.index] : o->db[m.index];
    if (old != NULL) {
        rt_owner_cut(old, "another process attached in its place");
    }
    *place_of(p) = NULL;
    p->role = m.role;
    p->index = m.index;
    p->boot = m.boot;
    *place_of(p) = p;
    greet(p);
    if (m.role == PR_ROLE_EDGE) {
        struct cl_event ev = {.type = CL_EV_EDGE_UP, .edge = m.index, .boot = m.boot};

        if (rt_owner_step(o, &ev)) {
            rt_changes_edge_up(o, p);
            rt_clients_edge(o->clients, m.index);
        }
        if (o->nodes != NULL) {
            const struct pr_cluster c = rt_nodes_cluster(o->nodes);

            tell_cluster(o->edge[m.index], &c);
        }
    } else {
        memcpy(p->project, m.project.p, m.project.n);
        if (!rt_changes_db_up(o, p)) {
            rt_owner_cut(p, "there are too many projects");
        }
    }
}

static void on_edge_frame(struct peer *p, const struct pr_frame *f)
{
    struct owner *o = p->owner;
    struct cl_event ev = {.type = CL_EV_EDGE_IN, .edge = p->index, .boot = p->boot, .frame = f};

    switch (f->type) {
    case PR_T_CHG_REG:
    case PR_T_CHG_UNREG:
    case PR_T_CHG_SYNCED:
    case PR_T_CHG_OK:
    case PR_T_CAST_OK:
        if (!rt_changes_on_edge_frame(o, p, f)) {
            rt_owner_cut(p, "malformed frame of changes");
        }
        break;
    case PR_T_CLIENTS:
        if (!rt_clients_of_edge(o->clients, p->index, f)) {
            rt_owner_cut(p, "a number of clients that is damaged");
        }
        break;
    case PR_T_CTL_REPLY:
        rt_owner_on_ctl_reply(o, p, f);
        break;
    case PR_T_RIGHTS_ASK:
        rt_rights_ask(p, f);
        break;
    case PR_T_REPLAY_ASK:
        rt_replay_ask(p, f);
        break;
    case PR_T_STORE_ASK:
        rt_store_ask(p, f);
        break;
    default:
        (void)rt_owner_step(o, &ev);
        break;
    }
}

static void on_db_frame(struct peer *p, const struct pr_frame *f)
{
    if (f->type == PR_T_CTL_REPLY) {
        rt_owner_on_ctl_reply(p->owner, p, f);
    } else if (f->type == PR_T_RIGHTS) {
        rt_rights_answer(p, f);
    } else if (f->type == PR_T_REPLAY) {
        rt_replay_answer(p, f);
    } else if (f->type == PR_T_STORE) {
        rt_store_answer(p, f);
    } else if (!rt_changes_on_db_frame(p->owner, p, f)) {
        rt_owner_cut(p, "malformed or unexpected frame");
    }
}

static void on_frame(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    struct peer *p = ctx;

    (void)ipc;
    if (p->role == PR_ROLE_EDGE) {
        on_edge_frame(p, f);
    } else if (p->role == PR_ROLE_DB) {
        on_db_frame(p, f);
    } else {
        on_hello(p, f);
    }
}

static void on_accept(void *ctx, struct rt_ipc *ipc)
{
    static const struct rt_ipc_events events = {.on_frame = on_frame, .on_down = on_down};
    struct owner *o = ctx;
    struct peer *p;
    uint32_t i = 0;

    while (i < RT_STRANGERS_MAX && o->stranger[i] != NULL) {
        i++;
    }
    if (i == RT_STRANGERS_MAX) {
        rt_ipc_close(ipc);
        return;
    }
    p = rt_calloc(1, sizeof *p);
    p->owner = o;
    p->ipc = ipc;
    p->since_ms = rt_now_ms(o->loop);
    o->stranger[i] = p;
    rt_ipc_set_events(ipc, &events, p);
}

int rt_owner_listen(struct owner *o, struct rt_error *err)
{
    char path[256];

    if (rt_config_path(o->cfg, "owner.sock", path, sizeof path) != 0) {
        return rt_error_set(err, RT_ECONFIG, "REALTIME_RUNTIME_DIR is too long for a socket");
    }
    o->server = rt_ipc_listen(o->loop, path, on_accept, o);
    if (o->server == NULL) {
        return rt_error_errno(err, errno, "listen on %s", path);
    }
    return RT_OK;
}

void rt_owner_cut_silent(struct owner *o)
{
    for (uint32_t i = 0; i < RT_STRANGERS_MAX; i++) {
        struct peer *p = o->stranger[i];

        if (p != NULL && rt_now_ms(o->loop) - p->since_ms >= RT_HELLO_MS) {
            rt_owner_cut(p, "no HELLO in time");
        }
    }
}

static void end(struct peer *p)
{
    if (p != NULL) {
        rt_ipc_close(p->ipc);
        rt_free(p);
    }
}

void rt_owner_edges_free(struct owner *o)
{
    if (o->server != NULL) {
        rt_ipc_server_close(o->server);
    }
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        end(o->edge[i]);
    }
    for (uint32_t i = 0; i < RT_STRANGERS_MAX; i++) {
        end(o->stranger[i]);
    }
    for (uint32_t i = 0; i < RT_DBS_MAX; i++) {
        end(o->db[i]);
    }
}
