/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cluster/hash.h"
#include "node/base/heart.h"
#include "node/owner/changes.h"
#include "node/owner/owner_in.h"

/* Bytes of keys and metas of presences: 512 MiB hold some two million of 200 bytes. */
#define PRESENCE_BYTES (512u * 1024u * 1024u)
/* Publishes parked while edges attach: 250 ms of 64 MB/s. */
#define PENDING_BYTES (16u * 1024u * 1024u)
/* Actions that one step may leave; they are taken at once. */
#define ACTIONS_MAX 65536u
/* All memory of the core: presences, topics of 100 to 300 bytes, and the parked publishes. */
#define BUDGET_BYTES (4ull * 1024u * 1024u * 1024u)
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

/*
 * Cutting an edge makes an event of its own, which may not be given to the core while actions of
 * the last one wait: what is to be cut is remembered and cut after the last action.
 */
static void do_actions(struct owner *o, uint64_t *cut, const char **why)
{
    struct cl_action a;
    uint64_t full;

    while (cl_next_action(o->cl, &a)) {
        switch (a.type) {
        case CL_ACT_EDGE_SEND:
            full = send_edges(o, a.edges, a.bytes);
            *cut |= full;
            *why = full != 0 ? "its queue is full: it does not read" : *why;
            break;
        case CL_ACT_EDGE_CUT:
            *cut |= UINT64_C(1) << a.edge;
            *why = a.reason;
            break;
        }
    }
}

bool rt_owner_step(struct owner *o, const struct cl_event *ev)
{
    uint64_t cut = 0;
    const char *why = NULL;
    int rv = cl_step(o->cl, rt_now_ms(o->loop), ev);
    struct peer *source = ev->type == CL_EV_TICK ? NULL : o->edge[ev->edge];

    if (rv == CL_EAGAIN) {
        do_actions(o, &cut, &why);
        rv = cl_step(o->cl, rt_now_ms(o->loop), ev);
    }
    do_actions(o, &cut, &why);
    if (rv == CL_ENOMEM && source != NULL) {
        /* The frame was not taken. The edge attaches anew and tells everything again. */
        cut |= UINT64_C(1) << ev->edge;
        why = "out of memory or over a limit";
    }
    for (uint32_t i = 0; cut != 0 && i < RT_EDGES_MAX; i++) {
        if ((cut >> i & 1u) != 0 && o->edge[i] != NULL) {
            rt_owner_cut(o->edge[i], why);
        }
    }
    return source == NULL || o->edge[ev->edge] == source;
}

/* No node has a link yet: there is no other. */
bool rt_owner_link_send(struct owner *o, uint64_t node_id, struct pr_slice frame)
{
    (void)o;
    (void)node_id;
    (void)frame;
    return false;
}

size_t rt_owner_link_queued(const struct owner *o, uint64_t node_id)
{
    (void)o;
    (void)node_id;
    return 0;
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
    o->counted = now;
    rt_owner_cut_silent(o);
    rt_timer_set(&o->stats, STATS_MS);
}

static void on_stop(void *ctx, int signo)
{
    struct owner *o = ctx;

    (void)signo;
    rt_loop_stop(o->loop);
}

static void on_reload(void *ctx, int signo)
{
    (void)ctx;
    (void)signo; /* nothing of the owner can change while it runs */
}

static struct cl *new_core(struct owner *o)
{
    struct cl_config cfg = {.name = pr_str(o->cfg->node),
                            .edges = o->cfg->edges,
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

static int serve(struct owner *o)
{
    struct rt_error err = {0};

    if (rt_owner_listen(o, &err) != 0 || rt_owner_control_open(o, &err) != 0) {
        rt_log(o->args->log, RT_ERROR, "owner_cannot_serve", rt_kv_s("err", err.text));
        return 1;
    }
    rt_log(o->args->log, RT_INFO, "owner_up", rt_kv_u("edges", o->cfg->edges));
    rt_loop_run(o->loop);
    return 0;
}

int rt_owner_main(const struct rt_config *cfg, const struct rt_role_args *args)
{
    struct owner *o = rt_calloc(1, sizeof *o);
    struct rt_heart *heart;
    int code;

    o->cfg = cfg;
    o->args = args;
    o->tick_at = UINT64_MAX;
    o->loop = rt_loop_new();
    heart = rt_heart_start(o->loop, args->heart_fd);
    o->cl = new_core(o);
    assert(o->cl != NULL); /* the budget is far above what an empty core takes */
    o->changes = rt_changes_new(o);
    rt_changes_reader(o, o->node_id); /* who has no other nodes reads */
    rt_timer_init(o->loop, &o->tick, on_tick, o);
    rt_timer_init(o->loop, &o->stats, on_stats, o);
    rt_timer_set(&o->stats, STATS_MS);
    rt_loop_on_turn(o->loop, on_turn, o);
    rt_loop_on_signal(o->loop, SIGTERM, on_stop, o);
    rt_loop_on_signal(o->loop, SIGINT, on_stop, o);
    rt_loop_on_signal(o->loop, SIGHUP, on_reload, o);
    code = serve(o);
    rt_owner_control_free(o);
    rt_owner_edges_free(o);
    rt_changes_free(o->changes);
    rt_timer_close(&o->tick, NULL);
    rt_timer_close(&o->stats, NULL);
    rt_heart_stop(heart);
    rt_loop_free(o->loop);
    cl_free(o->cl);
    rt_free(o);
    return code;
}
