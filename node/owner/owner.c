/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cluster/hash.h"
#include "node/base/heart.h"
#include "node/owner/changes.h"
#include "node/owner/clients.h"
#include "node/owner/events.h"
#include "node/owner/nodes.h"
#include "node/owner/tell.h"

/* Bytes of keys and metas of presences: 512 MiB hold some two million of 200 bytes. */
#define PRESENCE_BYTES (512u * 1024u * 1024u)
/* Publishes parked while edges attach: 250 ms of 64 MB/s. */
#define PENDING_BYTES (16u * 1024u * 1024u)
/* Events kept for nodes that missed some. */
#define KEPT_BYTES (64u * 1024u * 1024u)
/* Actions that one step may leave; they are taken at once. */
#define ACTIONS_MAX 65536u
/* All memory of the core: presences, topics of 100 to 300 bytes, and the parked publishes. */
#define BUDGET_BYTES (4ull * 1024u * 1024u * 1024u)
/* A node that leaves waits no longer than this for the others to know, in ms: the flush of a view,
 * and a few rounds of gossip. */
#define LEAVE_MS 3000u
/* The resolver (resolv.conf(5)), unless the environment says otherwise. Its own 5 s would let a
 * silent name server hold the end of the process for longer than anybody waits for it. */
#define RESOLVER_OPTIONS "timeout:2 attempts:2"
/* Metrics are read every few seconds; once a second is fresh enough and costs nothing. */
#define STATS_MS 1000u

/* The same bytes to every edge of `edges`. Gives those whose queue is full. */
static uint64_t send_edges(struct owner *o, uint64_t edges, struct pr_slice bytes)
{
    uint64_t full = 0;

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if ((edges >> i & 1u) != 0 && o->edge[i] != NULL && !rt_ipc_send(o->edge[i]->ipc, bytes)) {
            full |= UINT64_C(1) << i;
        }
    }
    return full;
}

/* Edges to be cut after the last action, and why. */
struct cuts {
    uint64_t edges;
    const char *why;
};

static void do_action(struct owner *o, const struct cl_action *a, struct cuts *cuts)
{
    uint64_t full = 0;

    switch (a->type) {
    case CL_ACT_EDGE_SEND:
        full = send_edges(o, a->edges, a->bytes);
        cuts->edges |= full;
        cuts->why = full != 0 ? "its queue is full: it does not read" : cuts->why;
        break;
    case CL_ACT_EDGE_CUT:
        cuts->edges |= UINT64_C(1) << a->edge;
        cuts->why = a->reason;
        break;
    case CL_ACT_READER:
        rt_changes_elect(o);
        break;
    case CL_ACT_UDP_SEND:
    case CL_ACT_DIAL:
    case CL_ACT_LINK_SEND:
    case CL_ACT_LINK_CLOSE:
    case CL_ACT_MEMBER:
    case CL_ACT_ACTORS:
    case CL_ACT_EPOCH:
    case CL_ACT_FATAL:
        rt_nodes_action(o, a);
        break;
    }
}

static void do_actions(struct owner *o, struct cuts *cuts)
{
    struct cl_action a;

    o->stepping = true;
    while (cl_next_action(o->cl, &a)) {
        do_action(o, &a, cuts);
    }
    o->stepping = false;
}

/*
 * The frame was not taken: memory or a limit. What would come after it makes no sense without it;
 * edge or link end, attach anew, and tell everything again.
 */
static void not_taken(struct owner *o, const struct cl_event *ev, struct cuts *cuts)
{
    struct cl_action close = {.type = CL_ACT_LINK_CLOSE, .id = ev->id};

    if (ev->type == CL_EV_LINK_UP || ev->type == CL_EV_LINK_IN) {
        close.reason = "out of memory or over a limit";
        rt_nodes_action(o, &close);
    } else if (ev->type == CL_EV_EDGE_UP || ev->type == CL_EV_EDGE_IN) {
        cuts->edges |= UINT64_C(1) << ev->edge;
        cuts->why = "out of memory or over a limit";
    }
}

static void step(struct owner *o, const struct cl_event *ev)
{
    struct cuts cuts = {0};
    int rv = cl_step(o->cl, rt_now_ms(o->loop), ev);

    if (rv == CL_EAGAIN) {
        do_actions(o, &cuts);
        rv = cl_step(o->cl, rt_now_ms(o->loop), ev);
    }
    do_actions(o, &cuts);
    if (rv == CL_ENOMEM || rv == CL_EAGAIN || (rv == CL_ERANGE && ev->type == CL_EV_LINK_UP)) {
        not_taken(o, ev, &cuts);
    }
    for (uint32_t i = 0; cuts.edges != 0 && i < RT_EDGES_MAX; i++) {
        if ((cuts.edges >> i & 1u) != 0 && o->edge[i] != NULL) {
            rt_owner_cut(o->edge[i], cuts.why);
        }
    }
}

/*
 * An edge that is cut makes an event of its own, which may not be given to the core while actions
 * of the last one wait: it is remembered until then.
 */
bool rt_owner_step(struct owner *o, const struct cl_event *ev)
{
    bool of_edge =
        ev->type == CL_EV_EDGE_UP || ev->type == CL_EV_EDGE_DOWN || ev->type == CL_EV_EDGE_IN;
    const struct peer *source = of_edge ? o->edge[ev->edge] : NULL;

    if (o->stepping) {
        assert(ev->type == CL_EV_EDGE_DOWN);
        o->fallen |= UINT64_C(1) << ev->edge;
        return true;
    }
    step(o, ev);
    for (uint32_t i = 0; o->fallen != 0 && i < RT_EDGES_MAX; i++) {
        struct cl_event down = {.type = CL_EV_EDGE_DOWN, .edge = i};

        if ((o->fallen >> i & 1u) != 0) {
            o->fallen &= ~(UINT64_C(1) << i);
            step(o, &down);
        }
    }
    return source == NULL || o->edge[ev->edge] == source;
}

static void on_tick(void *ctx)
{
    struct owner *o = ctx;
    struct cl_event ev = {.type = CL_EV_TICK};

    o->tick_at = UINT64_MAX;
    (void)rt_owner_step(o, &ev);
}

/* End of a turn: the timer follows the core's deadline, so an idle node has no wake-ups of its own.
 */
static void on_turn(void *ctx)
{
    struct owner *o = ctx;
    uint64_t at = cl_deadline(o->cl);
    uint64_t now = rt_now_ms(o->loop);

    rt_tell_changes(o);
    if (o->leaving && cl_gone(o->cl)) {
        rt_loop_stop(o->loop);
    }
    if (o->nodes != NULL) {
        rt_nodes_turn(o);
    }
    if (at == o->tick_at) {
        return;
    }
    o->tick_at = at;
    if (at == UINT64_MAX) {
        rt_timer_clear(&o->tick);
    } else {
        rt_timer_set(&o->tick, at > now ? at - now : 0);
    }
}

static void on_stats(void *ctx)
{
    struct owner *o = ctx;
    struct rt_metrics *m = o->args->metrics;
    struct cl_stats now;
    const struct cl_stats *was = &o->counted;

    cl_stats(o->cl, &now);
    rt_count(m, RT_M_OWNER_PUBLISHED, now.published - was->published);
    rt_count(m, RT_M_OWNER_EVENTS, now.events - was->events);
    rt_count(m, RT_M_OWNER_REPEATS, now.repeats - was->repeats);
    rt_count(m, RT_M_OWNER_PARKED, now.parked - was->parked);
    rt_count(m, RT_M_OWNER_FULL, now.pub_full - was->pub_full);
    rt_count(m, RT_M_OWNER_SUB_REFUSED, now.sub_refused - was->sub_refused);
    rt_count(m, RT_M_OWNER_DIFFS, now.diffs - was->diffs);
    rt_count(m, RT_M_OWNER_PUTS, now.presence_puts - was->presence_puts);
    rt_count(m, RT_M_OWNER_DELS, now.presence_dels - was->presence_dels);
    rt_gauge(m, RT_M_OWNER_TOPICS, now.topics);
    rt_gauge(m, RT_M_OWNER_PRESENCES, now.presences);
    rt_count(m, RT_M_OWNER_FORWARDED, now.forwarded - was->forwarded);
    rt_count(m, RT_M_OWNER_GAPS, now.gaps - was->gaps);
    rt_count(m, RT_M_OWNER_GAP_LOST, now.gap_lost - was->gap_lost);
    rt_count(m, RT_M_OWNER_VIEWS, now.views - was->views);
    rt_count(m, RT_M_OWNER_SUMS_DIFFER, now.sums_differ - was->sums_differ);
    o->counted = now;
    rt_owner_cut_silent(o);
    if (o->nodes != NULL) {
        rt_nodes_stats(o);
    }
    rt_timer_set(&o->stats, STATS_MS);
}

static void on_leave_end(void *ctx)
{
    struct owner *o = ctx;

    rt_loop_stop(o->loop);
}

/* With other nodes: what is owned here goes to them first. A second signal does not wait. */
static void on_stop(void *ctx, int signo)
{
    struct owner *o = ctx;
    struct cl_event ev = {.type = CL_EV_LEAVE};

    (void)signo;
    if (o->nodes == NULL || o->leaving) {
        rt_loop_stop(o->loop);
        return;
    }
    o->leaving = true;
    rt_tell_node(o, "leaves");
    rt_timer_set(&o->leave, LEAVE_MS);
    (void)rt_owner_step(o, &ev);
}

/* Limits are kept by the edges; here they are shown. */
static void read_again(struct owner *o)
{
    struct rt_config_report *report = rt_calloc(1, sizeof *report);
    struct rt_config fresh;

    if (rt_config_load(&fresh, o->args->env, o->args->config_path, report) == RT_OK) {
        rt_config_free(&o->again);
        o->again = fresh;
    } else {
        rt_config_free(&fresh);
    }
    rt_free(report);
}

static void on_reload(void *ctx, int signo)
{
    struct owner *o = ctx;

    (void)signo;
    read_again(o);
    rt_nodes_reload(o);
}

static struct cl *new_core(struct owner *o)
{
    struct cl_config cfg = {.name = pr_str(o->cfg->node),
                            .edges = o->cfg->edges,
                            .clustered = o->cfg->clustered,
                            .about = o->about,
                            .lim = &o->limits,
                            .mem = &o->pool.alloc};
    char text[300];
    uint64_t seed, chance;
    int n = snprintf(text, sizeof text, "node%s", o->cfg->node);

    o->limits = (struct cl_limits){.edges = o->cfg->edges,
                                   .topics = o->cfg->max_topics,
                                   .presences = o->cfg->max_presences,
                                   .presences_per_topic = o->cfg->max_presences_per_topic,
                                   .presence_bytes = PRESENCE_BYTES,
                                   .pending_bytes = PENDING_BYTES,
                                   .kept_bytes = KEPT_BYTES,
                                   .actions = ACTIONS_MAX};
    rt_pool_init(&o->pool, BUDGET_BYTES);
    rt_random(&seed, sizeof seed);
    rt_random(&chance, sizeof chance);
    o->node_id = cl_hash64(pr_bytes(text, (size_t)n));
    o->epoch = rt_wall_ms() << 12 | (chance & 0xfffu);
    cfg.id = o->node_id;
    cfg.epoch = o->epoch;
    return cl_new(&cfg, cl_rand_seed(seed), rt_now_ms(o->loop));
}

static int open_all(struct owner *o, struct rt_error *err)
{
    int rv = rt_owner_listen(o, err);

    if (rv == RT_OK) {
        rv = rt_owner_control_open(o, err);
    }
    if (rv == RT_OK && o->cfg->clustered) {
        o->nodes = rt_nodes_open(o, err);
        rv = o->nodes == NULL ? err->code : RT_OK;
    }
    return rv;
}

static int serve(struct owner *o)
{
    struct rt_error err = {0};

    if (open_all(o, &err) != RT_OK) {
        rt_log(o->args->log, RT_ERROR, "owner_cannot_serve", rt_kv_s("err", err.text));
        return 1;
    }
    rt_log(o->args->log, RT_INFO, "owner_up", rt_kv_u("edges", o->cfg->edges));
    rt_tell_node(o, "has started");
    rt_loop_run(o->loop);
    return o->exit_code;
}

int rt_owner_main(const struct rt_config *cfg, const struct rt_role_args *args)
{
    struct owner *o = rt_calloc(1, sizeof *o);
    struct rt_error err = {0};
    struct rt_heart *heart;
    int code;

    o->cfg = cfg;
    o->args = args;
    o->tick_at = UINT64_MAX;
    (void)setenv("RES_OPTIONS", RESOLVER_OPTIONS, 0);
    o->loop = rt_loop_new();
    o->events = rt_events_new();
    heart = rt_heart_start(o->loop, args->heart_fd);
    if (cfg->clustered && rt_nodes_about(o, &o->about, &err) != RT_OK) {
        rt_log(args->log, RT_ERROR, "owner_cannot_serve", rt_kv_s("err", err.text));
        rt_heart_stop(heart);
        rt_loop_free(o->loop);
        rt_events_free(o->events);
        rt_free(o);
        return 1;
    }
    o->cl = new_core(o);
    assert(o->cl != NULL); /* the budget is far above what an empty core takes */
    rt_changes_init(o);
    o->clients = rt_clients_new(o);
    rt_timer_init(o->loop, &o->tick, on_tick, o);
    rt_timer_init(o->loop, &o->stats, on_stats, o);
    rt_timer_init(o->loop, &o->leave, on_leave_end, o);
    rt_timer_set(&o->stats, STATS_MS);
    rt_loop_on_turn(o->loop, on_turn, o);
    rt_loop_on_signal(o->loop, SIGTERM, on_stop, o);
    rt_loop_on_signal(o->loop, SIGINT, on_stop, o);
    rt_loop_on_signal(o->loop, SIGHUP, on_reload, o);
    code = serve(o);
    rt_owner_control_free(o);
    rt_owner_edges_free(o);
    rt_nodes_free(o->nodes);
    rt_changes_free(o);
    rt_clients_free(o->clients);
    rt_timer_close(&o->tick, NULL);
    rt_timer_close(&o->stats, NULL);
    rt_timer_close(&o->leave, NULL);
    rt_heart_stop(heart);
    rt_loop_free(o->loop);
    cl_free(o->cl);
    rt_events_free(o->events);
    rt_config_free(&o->again);
    rt_free(o);
    return code;
}
