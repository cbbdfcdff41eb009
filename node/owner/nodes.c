/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/nodes.h"

#include <openssl/crypto.h>
#include <string.h>

#include "cluster/hash.h"
#include "node/owner/changes.h"
#include "node/owner/nodes_in.h"
#include "node/owner/tell.h"
#include "proto/mesh_node.h"

static struct pr_slice text_of(const char *s)
{
    return s == NULL ? pr_bytes(NULL, 0) : pr_str(s);
}

int rt_nodes_about(struct owner *o, struct cl_about *about, struct rt_error *err)
{
    *about = (struct cl_about){
        .cluster = cl_hash64(text_of(o->cfg->cluster_name)),
        .weight = o->cfg->weight,
        .build = pr_str(RT_BUILD),
        .zone = text_of(o->cfg->zone),
    };
    return rt_nodes_own_address(o->cfg, &about->addr, err);
}

static void on_packet(void *ctx, const struct pr_addr *from, struct pr_slice payload)
{
    struct nodes *n = ctx;
    struct cl_event ev = {.type = CL_EV_UDP_IN, .addr = *from, .bytes = payload};

    (void)rt_owner_step(n->owner, &ev);
}

static void on_link_up(void *ctx, const struct rt_mesh_peer *peer)
{
    struct nodes *n = ctx;
    struct cl_event ev = {.type = CL_EV_LINK_UP,
                          .id = peer->id,
                          .epoch = peer->epoch,
                          .name = peer->name,
                          .addr = peer->addr};

    rt_tell_link_up(n->owner, peer->name);
    rt_clients_link_up(n->owner->clients, peer->id);
    if (rt_owner_step(n->owner, &ev)) {
        rt_changes_link_up(n->owner, peer->id);
    }
}

static enum cl_how how_of(enum rt_mesh_how how)
{
    switch (how) {
    case RT_MESH_EOF:
        return CL_HOW_EOF;
    case RT_MESH_REFUSED:
        return CL_HOW_REFUSED;
    case RT_MESH_TIMEOUT:
        return CL_HOW_TIMEOUT;
    case RT_MESH_PROTO:
        return CL_HOW_PROTO;
    case RT_MESH_CLOSED:
        break;
    }
    return CL_HOW_LOCAL;
}

static void link_down(struct nodes *n, uint64_t id, enum rt_mesh_how how)
{
    struct cl_event ev = {.type = CL_EV_LINK_DOWN, .id = id, .how = how_of(how)};

    (void)rt_owner_step(n->owner, &ev);
}

static void on_link_down(void *ctx, uint64_t id, enum rt_mesh_how how, const char *why)
{
    struct nodes *n = ctx;

    rt_tell_link_down(n->owner, id, why);
    rt_clients_link_down(n->owner->clients, id);
    rt_owner_asks_node_lost(n->owner, id);
    link_down(n, id, how);
}

static void on_frame(void *ctx, uint64_t id, const struct pr_frame *f)
{
    struct nodes *n = ctx;
    struct cl_event ev = {.type = CL_EV_LINK_IN, .id = id, .frame = f};

    switch (f->type) {
    case PR_T_CHG_REG:
    case PR_T_CHG:
    case PR_T_CHG_OK:
    case PR_T_READER:
    case PR_T_CHG_UNREG:
    case PR_T_CHG_REG_OK:
    case PR_T_CHG_SYNC:
    case PR_T_CHG_SYNCED:
    case PR_T_CHG_SYS:
        if (!rt_changes_on_link_frame(n->owner, id, f)) {
            rt_mesh_close(n->mesh, id, PR_BYE_PROTO, "a frame of changes that is damaged");
        }
        break;
    case PR_T_CLIENTS:
        if (!rt_clients_of_node(n->owner->clients, id, f)) {
            rt_mesh_close(n->mesh, id, PR_BYE_PROTO, "a number of clients that is damaged");
        }
        break;
    case PR_T_CTL:
    case PR_T_CTL_REPLY:
        rt_owner_on_link_ctl(n->owner, id, f);
        break;
    default:
        (void)rt_owner_step(n->owner, &ev);
        break;
    }
}

/* A dial that came to nothing is evidence too. */
static void on_dial_failed(void *ctx, uint64_t id, const struct pr_addr *addr, enum rt_mesh_how how,
                           const char *why)
{
    struct nodes *n = ctx;

    (void)addr;
    (void)why;
    if (id != 0) {
        link_down(n, id, how);
    }
}

struct known {
    struct pr_addr addr;
    bool found;
};

static void same_address(void *ctx, const struct rt_mesh_link_info *l)
{
    struct known *k = ctx;

    k->found = k->found || pr_addr_eq(&k->addr, &l->peer.addr);
}

static void on_seed(void *ctx, const struct pr_addr *addr)
{
    struct nodes *n = ctx;
    struct known k = {.addr = *addr, .found = pr_addr_eq(addr, &n->self)};

    rt_mesh_each(n->mesh, same_address, &k);
    if (!k.found) {
        rt_mesh_dial(n->mesh, 0, addr);
    }
}

static const struct rt_mesh_events events = {.admit = rt_nodes_admit,
                                             .link_up = on_link_up,
                                             .link_down = on_link_down,
                                             .frame = on_frame,
                                             .dial_failed = on_dial_failed,
                                             .refused = rt_nodes_refused};

static int open_sockets(struct nodes *n, struct rt_error *err)
{
    struct owner *o = n->owner;
    struct rt_seeds_setup seeds = {
        .list = o->cfg->cluster_seeds, .log = o->args->log, .on_address = on_seed, .ctx = n};
    struct rt_mesh_udp_setup udp = {
        .keys = n->keys, .self = o->node_id, .on_packet = on_packet, .ctx = n};
    struct rt_mesh_config mesh = {.loop = o->loop,
                                  .log = o->args->log,
                                  .ev = &events,
                                  .ctx = n,
                                  .advertise = n->self,
                                  .cluster_hash = cl_hash64(text_of(o->cfg->cluster_name)),
                                  .id = o->node_id,
                                  .epoch = o->epoch,
                                  .name = o->cfg->node,
                                  .build = RT_BUILD,
                                  .url = "",
                                  .keys = n->keys};

    if (!rt_nodes_address(o->cfg->cluster_listen, &mesh.listen)) {
        return rt_error_set(err, RT_ECONFIG, "REALTIME_CLUSTER_LISTEN is not an address");
    }
    udp.listen = mesh.listen;
    n->mesh = rt_mesh_new(&mesh, err);
    if (n->mesh != NULL) {
        n->udp = rt_mesh_udp_open(o->loop, &udp, err);
    }
    if (n->udp != NULL) {
        n->seeds = rt_seeds_start(o->loop, &seeds, err);
    }
    return n->seeds == NULL ? err->code : RT_OK;
}

struct nodes *rt_nodes_open(struct owner *o, struct rt_error *err)
{
    struct nodes *n = rt_calloc(1, sizeof *n);
    int rv = RT_OK;

    n->owner = o;
    n->self = o->about.addr;
    if (o->cfg->cluster_key != NULL) {
        n->keys = rt_keyring_new(o->cfg->cluster_key, err);
        rv = n->keys == NULL ? err->code : RT_OK;
    }
    if (rv == RT_OK) {
        rv = open_sockets(n, err);
    }
    if (rv != RT_OK) {
        rt_nodes_free(n);
        return NULL;
    }
    return n;
}

void rt_nodes_free(struct nodes *n)
{
    if (n == NULL) {
        return;
    }
    rt_seeds_stop(n->seeds);
    rt_mesh_udp_close(n->udp);
    rt_mesh_free(n->mesh);
    rt_keyring_free(n->keys);
    rt_free(n);
}

bool rt_owner_link_send(struct owner *o, uint64_t node_id, struct pr_slice frame)
{
    return o->nodes != NULL && rt_mesh_send(o->nodes->mesh, node_id, frame);
}

size_t rt_owner_link_queued(const struct owner *o, uint64_t node_id)
{
    return o->nodes == NULL ? 0 : rt_mesh_queued(o->nodes->mesh, node_id, PR_C_CHANGES);
}

size_t rt_owner_link_waits(const struct owner *o, uint64_t node_id)
{
    return o->nodes == NULL ? 0 : rt_mesh_queued(o->nodes->mesh, node_id, PR_C_CONTROL);
}

const struct rt_mesh *rt_nodes_mesh(const struct nodes *n)
{
    return n->mesh;
}

const struct rt_mesh_udp *rt_nodes_udp(const struct nodes *n)
{
    return n->udp;
}

const struct rt_keyring *rt_nodes_keys(const struct nodes *n)
{
    return n->keys;
}

static void link_send(struct owner *o, const struct cl_action *a)
{
    for (uint32_t w = 0; w < CL_NODES_MAX / 64; w++) {
        for (uint64_t bits = a->nodes.w[w], i = 0; bits != 0; bits >>= 1, i++) {
            if ((bits & 1u) != 0) {
                /* not taken: the link is ending, and all is told again on the next */
                (void)rt_mesh_send(o->nodes->mesh, cl_node_id(o->cl, w * 64 + (uint32_t)i),
                                   a->bytes);
            }
        }
    }
}

static bool is_end(const char *state)
{
    return strcmp(state, "dead") == 0 || strcmp(state, "left") == 0 ||
           strcmp(state, "forgotten") == 0;
}

struct over {
    uint64_t id;
    bool over;
};

static void find_over(void *ctx, const struct cl_member_row *row)
{
    struct over *q = ctx;

    q->over = q->over || (row->id == q->id && is_end(row->state));
}

/* Has left, or was found dead. */
static bool is_over(const struct owner *o, uint64_t id)
{
    struct over q = {.id = id};

    cl_inspect_members(o->cl, find_over, &q);
    return q.over;
}

static void member(struct owner *o, const struct cl_action *a)
{
    bool gone = is_end(a->state);

    o->nodes->stale = true;
    rt_tell_member(o, a);
    if (a->id == o->node_id) {
        return;
    }
    if (gone) {
        rt_changes_node_gone(o, a->id);
    } else {
        rt_changes_node_here(o, a->id);
    }
}

static void actors(struct owner *o, const struct cl_action *a)
{
    uint64_t boots[RT_EDGES_MAX];
    struct pr_frame f;
    struct pr_actors m;
    uint32_t index = 0;
    uint32_t n = 0;

    if (pr_frame_next(a->bytes, &f) <= 0 || pr_actors_decode(&f, &m) != PR_OK) {
        return; /* the core has decoded it before */
    }
    while (n < RT_EDGES_MAX && pr_actors_next(&m.actors, &index, &boots[n]) == 1) {
        n++;
    }
    rt_changes_actors(o, a->id, boots, n);
}

void rt_nodes_action(struct owner *o, const struct cl_action *a)
{
    switch (a->type) {
    case CL_ACT_UDP_SEND:
        rt_mesh_udp_send(o->nodes->udp, &a->addr, a->bytes);
        break;
    case CL_ACT_DIAL:
        rt_mesh_dial(o->nodes->mesh, a->id, &a->addr);
        break;
    case CL_ACT_LINK_SEND:
        link_send(o, a);
        break;
    case CL_ACT_LINK_CLOSE:
        rt_mesh_close(o->nodes->mesh, a->id, is_over(o, a->id) ? PR_BYE_OVER : PR_BYE_PROTO,
                      a->reason);
        break;
    case CL_ACT_MEMBER:
        member(o, a);
        break;
    case CL_ACT_ACTORS:
        actors(o, a);
        break;
    case CL_ACT_EPOCH:
        /* The clock was set back since a former life of this node. */
        rt_log(o->args->log, RT_WARN, "epoch_raised", rt_kv_x("epoch", a->id));
        rt_mesh_set_epoch(o->nodes->mesh, a->id);
        break;
    case CL_ACT_FATAL:
        rt_nodes_fatal(o, a->reason, &a->addr);
        break;
    case CL_ACT_EDGE_SEND:
    case CL_ACT_EDGE_CUT:
    case CL_ACT_READER:
        break;
    }
}

/* 1: changed, 0: the same keys, negative: the ring is as before and *err says why. */
static int reload_keys(struct nodes *n, struct rt_error *err)
{
    const struct rt_role_args *args = n->owner->args;
    struct rt_config_report *report = rt_calloc(1, sizeof *report);
    struct rt_config fresh;
    int rv = rt_config_load(&fresh, args->env, args->config_path, report);

    if (rv != RT_OK) {
        uint32_t i = 0;

        while (!report->notes[i].fatal && i + 1 < report->count) {
            i++;
        }
        rv = rt_error_set(err, RT_ECONFIG, "%s", report->notes[i].text);
    } else if (fresh.cluster_key == NULL) {
        rv = rt_error_set(err, RT_ECONFIG, "REALTIME_CLUSTER_KEY is not set any more");
    } else {
        rv = rt_keyring_reload(n->keys, fresh.cluster_key, err);
    }
    if (fresh.cluster_key != NULL) {
        OPENSSL_cleanse(fresh.cluster_key, strlen(fresh.cluster_key));
    }
    rt_config_free(&fresh);
    rt_free(report);
    return rv;
}

void rt_nodes_reload(struct owner *o)
{
    struct rt_error err = {0};
    char ids[RT_KEYS_TEXT_MAX];
    int rv;

    if (o->nodes == NULL || o->nodes->keys == NULL) {
        return;
    }
    rv = reload_keys(o->nodes, &err);
    rt_keyring_ids(o->nodes->keys, ids);
    if (rv < 0) {
        rt_log(o->args->log, RT_ERROR, "cluster_keys_refused", rt_kv_s("err", err.text),
               rt_kv_s("keys", ids), rt_kv_s("hint", "the keys before stay in use"));
    } else {
        rt_log(o->args->log, RT_INFO, "cluster_keys_reloaded", rt_kv_u("changed", (uint64_t)rv),
               rt_kv_s("keys", ids));
        if (rv > 0) {
            rt_tell_node(o, "has other keys now");
        }
    }
}

/* Who is suspected is still a member: most of them are not dead, and nothing moves for it. */
static void count_member(void *ctx, const struct cl_member_row *row)
{
    uint32_t *n = ctx;

    *n += row->self || strcmp(row->state, "alive") == 0 || strcmp(row->state, "suspect") == 0;
}

struct pr_cluster rt_nodes_cluster(const struct nodes *n)
{
    struct pr_cluster c = {.joined = cl_joined(n->owner->cl)};

    cl_inspect_members(n->owner->cl, count_member, &c.members);
    return c;
}

void rt_nodes_turn(struct owner *o)
{
    struct nodes *n = o->nodes;
    struct pr_cluster now;

    if (!n->stale && n->told.joined == cl_joined(o->cl)) {
        return;
    }
    n->stale = false;
    now = rt_nodes_cluster(n);
    if (now.joined != n->told.joined || now.members != n->told.members) {
        n->told = now;
        rt_owner_tell_cluster(o, &now);
    }
}
