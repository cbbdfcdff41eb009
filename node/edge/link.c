/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/link.h"

#include "node/edge/access.h"
#include "node/edge/broadcast.h"
#include "node/edge/casts.h"
#include "node/edge/changes.h"
#include "node/edge/ctl.h"
#include "node/edge/fanout.h"
#include "node/edge/pending.h"
#include "node/edge/presence_view.h"
#include "node/edge/ready.h"
#include "node/edge/replay.h"
#include "node/edge/store.h"
#include "node/edge/topics.h"

static void retry_later(struct rt_edge *e)
{
    uint64_t wait = (uint64_t)RT_LINK_RETRY_MS << (e->link.tries < 5 ? e->link.tries : 5);

    e->link.tries++;
    rt_timer_set(&e->link.retry, wait < RT_LINK_RETRY_MS_MAX ? wait : RT_LINK_RETRY_MS_MAX);
}

/* What hangs on the connection, however it ended. */
static void gone(struct rt_edge *e, const char *why)
{
    bool was_up = e->link.up;

    e->link.ipc = NULL;
    e->link.up = false;
    e->link.cluster = (struct pr_cluster){0};
    rt_ready_unknown(e);
    rt_gauge(e->metrics, RT_M_OWNER_LINK, 0);
    if (was_up) {
        rt_log(e->log, RT_WARN, "owner_lost", rt_kv_s("err", why));
        cle_link_down(e->cle, e->now_ms);
        rt_observers_end(e);
    }
    retry_later(e);
}

static void cut(struct rt_edge *e, const char *why)
{
    if (e->link.ipc != NULL) {
        rt_ipc_close(e->link.ipc);
        gone(e, why);
    }
}

void rt_link_send(struct rt_edge *e, rt_put_fn put, const void *msg)
{
    struct pr_outbuf o = pr_outbuf(NULL, 0);
    bool ok = false;

    if (!e->link.up) {
        return;
    }
    put(&o, msg);
    o = rt_ipc_reserve(e->link.ipc, o.len, &ok);
    if (!ok) {
        cut(e, "the owner does not read");
        return;
    }
    put(&o, msg);
    rt_ipc_commit(e->link.ipc, &o);
}

static void act(struct rt_edge *e, const struct cle_action *a)
{
    struct rt_topic *t = rt_topic_of(e, a->topic);

    switch (a->type) {
    case CLE_SEND:
        if (e->link.up && !rt_ipc_send(e->link.ipc, a->bytes)) {
            cut(e, "the owner does not read");
        }
        break;
    case CLE_SUBSCRIBED:
        if (t != NULL) {
            rt_pending_subscribed(e, t);
        }
        break;
    case CLE_SUB_FAILED:
        if (t != NULL) {
            rt_pending_failed(e, t);
        }
        break;
    case CLE_EVENT:
        if (t != NULL) {
            rt_fanout_event(e, t, a->payload, a->own);
        }
        break;
    case CLE_PUB_DONE:
        if ((a->flags & PR_PUB_KEEP) != 0) {
            rt_casts_done(e, a->cookie);
        } else {
            rt_broadcast_done(e, a->cookie, a->result);
        }
        break;
    case CLE_PRES_VIEW:
        if (t != NULL) {
            rt_presence_view(e, t, &a->view);
        }
        break;
    case CLE_PRES_DIFF:
        if (t != NULL) {
            rt_presence_diff(e, t, &a->diff);
        }
        break;
    case CLE_PRES_RESET:
        if (t != NULL) {
            rt_presence_reset(e, t);
        }
        break;
    case CLE_GAP:
        rt_count(e->metrics, RT_M_EVENT_GAPS, 1);
        rt_log(e->log, RT_WARN, "events_lost", rt_kv_b("topic", cle_topic_key(e->cle, a->topic)),
               rt_kv_u("events", a->lost));
        break;
    }
}

void rt_link_pump(struct rt_edge *e)
{
    struct cle_action a;

    while (cle_next_action(e->cle, &a)) {
        act(e, &a);
    }
}

static void on_hello_ok(struct rt_edge *e, const struct pr_frame *f)
{
    struct pr_hello_ok ok;

    if (pr_hello_ok_decode(f, &ok) != PR_OK || ok.proto < PR_PROTO_MIN || ok.proto > PR_PROTO_MAX) {
        cut(e, "the owner speaks another protocol");
        return;
    }
    e->link.up = true;
    e->link.tries = 0;
    e->link.node = ok.node;
    rt_gauge(e->metrics, RT_M_OWNER_LINK, 1);
    rt_log(e->log, RT_INFO, "owner_attached", rt_kv_x("epoch", ok.epoch));
    if (cle_link_up(e->cle, e->now_ms, &ok) != CL_OK) {
        cut(e, "no memory to attach");
        return;
    }
    for (uint32_t i = 0; i < e->nprojects; i++) {
        rt_changes_attached(e->projects[i]);
    }
    rt_limits_tell(e);
    rt_access_attached(e);
    rt_replay_attached(e);
    rt_store_attached(e);
}

void rt_link_refuse(struct rt_edge *e, const struct pr_frame *f, int error)
{
    rt_log(e->log, RT_ERROR, "owner_frame_refused", rt_kv_x("type", f->type),
           rt_kv_i("error", error));
    cut(e, "a frame of the owner cannot be taken");
}

static void on_frame(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    struct rt_edge *e = ctx;
    int rv = 0;

    (void)ipc;
    e->now_ms = rt_now_ms(e->loop);
    switch (f->type) {
    case PR_T_HELLO_OK:
        on_hello_ok(e, f);
        break;
    case PR_T_CLUSTER:
        rv = pr_cluster_decode(f, &e->link.cluster);
        break;
    case PR_T_CLIENTS:
        rv = rt_limits_frame(e, f);
        break;
    case PR_T_CTL:
        rv = rt_ctl_frame(e, f);
        break;
    case PR_T_RIGHTS:
        rv = rt_access_frame(e, f);
        break;
    case PR_T_REPLAY:
        rv = rt_replay_frame(e, f);
        break;
    case PR_T_STORE:
        rv = rt_store_frame(e, f);
        break;
    case PR_T_READER:
        rv = rt_ready_frame(e, f);
        break;
    case PR_T_CAST:
        rv = rt_casts_frame(e, f);
        break;
    case PR_T_CHG:
    case PR_T_CHG_REG_OK:
    case PR_T_CHG_SYS:
    case PR_T_CHG_SYNC:
        rv = rt_changes_frame(e, f);
        break;
    default:
        rv = cle_frame(e->cle, e->now_ms, f);
        break;
    }
    if (rv != 0) {
        rt_link_refuse(e, f, rv);
    }
    rt_link_pump(e); /* actions may borrow from the frame */
}

static void on_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    struct rt_edge *e = ctx;

    (void)ipc;
    e->now_ms = rt_now_ms(e->loop);
    gone(e, why);
}

static void try_now(void *ctx)
{
    static const struct rt_ipc_events events = {.on_frame = on_frame, .on_down = on_down};
    struct rt_edge *e = ctx;
    struct pr_hello hello = {.proto_min = PR_PROTO_MIN,
                             .proto_max = PR_PROTO_MAX,
                             .role = PR_ROLE_EDGE,
                             .index = e->args->index,
                             .boot = e->args->boot};
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    char path[RT_ERROR_TEXT_MAX];

    e->now_ms = rt_now_ms(e->loop);
    if (rt_config_path(e->cfg, "owner.sock", path, sizeof path) == RT_OK) {
        e->link.ipc = rt_ipc_connect(e->loop, path, &events, e);
    }
    if (e->link.ipc == NULL) {
        retry_later(e);
        return;
    }
    pr_hello_encode(&o, &hello);
    if (!rt_ipc_send(e->link.ipc, pr_bytes(memory, o.len))) {
        cut(e, "hello does not fit");
    }
}

void rt_link_start(struct rt_edge *e)
{
    rt_timer_init(e->loop, &e->link.retry, try_now, e);
    try_now(e);
}

void rt_link_stop(struct rt_edge *e)
{
    if (e->link.ipc != NULL) {
        rt_ipc_close(e->link.ipc);
        e->link.ipc = NULL;
        e->link.up = false;
    }
    rt_timer_close(&e->link.retry, NULL);
}
