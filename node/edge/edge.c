/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/edge.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>

#include "node/base/heart.h"
#include "node/edge/access.h"
#include "node/edge/broadcast.h"
#include "node/edge/ctl.h"
#include "node/edge/http_api.h"
#include "node/edge/keys.h"
#include "node/edge/link.h"
#include "node/edge/pace.h"
#include "node/edge/projects.h"
#include "node/edge/registrations.h"
#include "node/edge/socket.h"
#include "node/edge/topics.h"

/* Memory of the cluster side: tables of topics and presences, and what is held for the owner. */
#define CLE_BYTES_PER_TOPIC    640u
#define CLE_BYTES_PER_PRESENCE 1024u
#define CLE_BYTES_BASE         ((size_t)64 * 1024 * 1024)

#define HEAD_MS_MAX    10000u
#define BODY_BYTES_MAX 8000000u
#define FRAGMENTS_MAX  1024u

static void on_request(void *ctx, struct rt_conn *c, const struct rt_request *r)
{
    struct rt_edge *e = ctx;

    e->now_ms = rt_now_ms(e->loop);
    rt_http_request(e, c, r);
}

static bool on_body(void *ctx, struct rt_conn *c, size_t len)
{
    (void)ctx;
    return rt_upload_grown(c, len);
}

static struct rt_socket *socket_of(const struct rt_conn *c)
{
    enum rt_user_kind *user = rt_conn_user(c);

    return user != NULL && *user == RT_USER_SOCKET ? (struct rt_socket *)(void *)user : NULL;
}

static void on_open(void *ctx, struct rt_conn *c)
{
    struct rt_edge *e = ctx;
    struct rt_socket *s = socket_of(c);

    e->now_ms = rt_now_ms(e->loop);
    if (s != NULL) {
        rt_socket_opened(s);
    }
}

static void on_message(void *ctx, struct rt_conn *c, struct pr_slice message, bool text)
{
    struct rt_edge *e = ctx;
    struct rt_socket *s = socket_of(c);

    e->now_ms = rt_now_ms(e->loop);
    if (s != NULL) {
        rt_socket_message(s, message, text);
    }
}

static void on_writable(void *ctx, struct rt_conn *c)
{
    struct rt_socket *s = socket_of(c);

    (void)ctx;
    if (s != NULL) {
        rt_socket_writable(s);
    }
}

static void on_alive(void *ctx, struct rt_conn *c)
{
    struct rt_edge *e = ctx;
    struct rt_socket *s = socket_of(c);

    e->now_ms = rt_now_ms(e->loop);
    if (s != NULL) {
        rt_socket_alive(s);
    }
}

static void on_close(void *ctx, struct rt_conn *c)
{
    struct rt_edge *e = ctx;
    enum rt_user_kind *user = rt_conn_user(c);

    e->now_ms = rt_now_ms(e->loop);
    if (user == NULL) {
        return;
    }
    rt_conn_set_user(c, NULL);
    switch (*user) {
    case RT_USER_SOCKET:
        rt_socket_gone((struct rt_socket *)(void *)user);
        break;
    case RT_USER_DELAY:
        rt_delay_free((struct rt_delay *)(void *)user);
        break;
    case RT_USER_PRIVATE:
        rt_http_private_free((struct rt_private *)(void *)user);
        break;
    case RT_USER_UPLOAD:
        rt_upload_free((struct rt_upload *)(void *)user);
        break;
    }
    if (e->draining && e->sockets == NULL) {
        rt_loop_stop(e->loop);
    }
}

static void set_stats(struct rt_edge *e)
{
    struct cle_stats cs;
    struct rt_auth_stats as = rt_projects_auth_stats(e);

    cle_stats(e->cle, &cs);
    rt_gauge(e->metrics, RT_M_UNCONFIRMED, cs.held);
    rt_gauge(e->metrics, RT_M_TOKENS_VERIFIED, e->verified_before + as.verified);
    rt_gauge(e->metrics, RT_M_TOKENS_CACHED, e->cached_before + as.cached);
}

static void arm_cle(struct rt_edge *e)
{
    uint64_t at = cle_deadline(e->cle);

    if (at == UINT64_MAX) {
        rt_timer_clear(&e->cle_timer);
    } else {
        rt_timer_set(&e->cle_timer, at > e->now_ms ? at - e->now_ms : 0);
    }
}

static void cle_due(void *ctx)
{
    struct rt_edge *e = ctx;

    e->now_ms = rt_now_ms(e->loop);
    if (cle_tick(e->cle, e->now_ms) != CL_OK) {
        rt_log_plain(e->log, RT_WARN, "cluster_tick_refused");
    }
}

static void end_of_turn(void *ctx)
{
    struct rt_edge *e = ctx;

    rt_link_pump(e);
    rt_regs_run(e); /* first: the next two set the same timer, and not later */
    rt_pace_run(e);
    rt_sockets_flush(e);
    rt_link_pump(e); /* what sockets that were closed just now have left behind */
    arm_cle(e);
    set_stats(e);
}

static void more(void *ctx)
{
    (void)ctx; /* the turn that this timer makes is all that is wanted of it */
}

static void drained(void *ctx)
{
    struct rt_edge *e = ctx;

    rt_loop_stop(e->loop);
}

static void on_stop(void *ctx, int signo)
{
    struct rt_edge *e = ctx;
    uint64_t wait = RT_EDGE_DRAIN_MS;

    if (e->draining) {
        return;
    }
    e->now_ms = rt_now_ms(e->loop);
    rt_log(e->log, RT_INFO, "stopping", rt_kv_i("signal", signo), rt_kv_u("sockets", e->nsockets));
    e->draining = true;
    rt_transport_stop_listening(e->transport);
    for (struct rt_socket *s = e->sockets; s != NULL; s = s->next) {
        rt_socket_close(s, 1012, "restarting");
    }
    if (e->cfg->stop_ms / 2 < wait) {
        wait = e->cfg->stop_ms / 2;
    }
    rt_timer_set(&e->drain, e->sockets == NULL ? 0 : wait);
}

static void on_reload(void *ctx, int signo)
{
    struct rt_edge *e = ctx;

    (void)signo;
    e->now_ms = rt_now_ms(e->loop);
    rt_projects_reload(e, true);
}

static uint32_t fds_max(void)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0 || lim.rlim_cur > UINT32_MAX) {
        return UINT32_MAX;
    }
    return lim.rlim_cur > (rlim_t)2 * RT_EDGE_FDS_SPARE ? (uint32_t)lim.rlim_cur - RT_EDGE_FDS_SPARE
                                                        : (uint32_t)lim.rlim_cur;
}

static int start_transport(struct rt_edge *e)
{
    static const struct rt_transport_events events = {
        .on_request = on_request,
        .on_body = on_body,
        .on_open = on_open,
        .on_message = on_message,
        .on_writable = on_writable,
        .on_alive = on_alive,
        .on_close = on_close,
    };
    struct rt_transport_config cfg = {
        .loop = rt_loop_uv(e->loop),
        .tls_cert = e->cfg->tls_cert,
        .tls_key = e->cfg->tls_key,
        .limits = {.head_bytes_max = 16384,
                   .head_ms_max = HEAD_MS_MAX,
                   .body_bytes_max = BODY_BYTES_MAX,
                   .message_bytes_max = e->cfg->max_frame_bytes,
                   .fragments_max = FRAGMENTS_MAX,
                   .fds_max = fds_max()},
        .events = &events,
        .ctx = e,
    };
    const char *why = "";
    bool ok = true;

    e->transport = rt_transport_new(&cfg, &why);
    if (e->transport == NULL) {
        rt_log(e->log, RT_ERROR, "transport_refused", rt_kv_s("err", why));
        return -1;
    }
    ok = rt_transport_listen(e->transport, e->args->listen_fd, e->cfg->tls_cert != NULL,
                             RT_TAG_CLIENT) == 0;
    if (ok && e->args->admin_fd != -1) {
        ok = rt_transport_listen(e->transport, e->args->admin_fd, false, RT_TAG_ADMIN) == 0;
    }
    if (!ok) {
        rt_log_plain(e->log, RT_ERROR, "listen_refused");
        return -1;
    }
    return 0;
}

static int start_cluster(struct rt_edge *e)
{
    struct cle_config cfg = {.index = e->args->index,
                             .boot = e->args->boot,
                             .topics_max = e->cfg->max_topics,
                             .presences_max = e->cfg->max_presences,
                             .mem = &e->pool.alloc};

    rt_pool_init(&e->pool, CLE_BYTES_BASE + (size_t)e->cfg->max_topics * CLE_BYTES_PER_TOPIC +
                               (size_t)e->cfg->max_presences * CLE_BYTES_PER_PRESENCE);
    e->cle = cle_new(&cfg, e->now_ms);
    if (e->cle == NULL) {
        rt_log_plain(e->log, RT_ERROR, "no_memory_for_cluster");
        return -1;
    }
    return 0;
}

static void keep_counters(struct rt_edge *e)
{
    e->verified_before = rt_metrics_get(e->metrics, RT_EDGE, e->args->index, RT_M_TOKENS_VERIFIED);
    e->cached_before = rt_metrics_get(e->metrics, RT_EDGE, e->args->index, RT_M_TOKENS_CACHED);
}

static int start(struct rt_edge *e)
{
    const char *why = "";

    rt_random(&e->topics.seed, sizeof e->topics.seed);
    keep_counters(e);
    if (rt_projects_start(e, &why) != 0) {
        rt_log(e->log, RT_ERROR, "keys_refused", rt_kv_s("err", why));
        return -1;
    }
    if (start_cluster(e) != 0 || start_transport(e) != 0) {
        return -1;
    }
    rt_loop_on_signal(e->loop, SIGTERM, on_stop, e);
    rt_loop_on_signal(e->loop, SIGINT, on_stop, e);
    rt_loop_on_signal(e->loop, SIGHUP, on_reload, e);
    rt_loop_on_turn(e->loop, end_of_turn, e);
    rt_link_start(e);
    e->started = true;
    return 0;
}

static void stop(struct rt_edge *e)
{
    if (e->transport != NULL) {
        rt_transport_free(e->transport); /* on_close of every connection */
    }
    if (e->started) {
        rt_observers_end(e);
        rt_link_stop(e);
    }
    rt_timer_close(&e->cle_timer, NULL);
    rt_timer_close(&e->more, NULL);
    rt_timer_close(&e->drain, NULL);
    rt_timer_close(&e->tell, NULL);
    rt_keys_stop(e);
    if (e->cle != NULL) {
        rt_broadcast_free(e);
        rt_topics_free(e);
        cle_free(e->cle);
    }
    rt_projects_free(e);
    rt_access_free(e);
    rt_wheel_close(&e->wheel, NULL);
    rt_slots_free(&e->channels);
    rt_slots_free(&e->replays);
    rt_slots_free(&e->stores);
    rt_free(e->scratch.p);
}

int rt_edge_main(const struct rt_config *cfg, const struct rt_role_args *args)
{
    struct rt_edge *e = rt_calloc(1, sizeof *e);
    struct rt_heart *heart = NULL;
    int rv = 0;

    e->cfg = cfg;
    e->args = args;
    e->log = args->log;
    e->metrics = args->metrics;
    e->loop = rt_loop_new();
    heart = rt_heart_start(e->loop, args->heart_fd);
    e->now_ms = rt_now_ms(e->loop);
    rt_timer_init(e->loop, &e->cle_timer, cle_due, e);
    rt_timer_init(e->loop, &e->more, more, e);
    rt_timer_init(e->loop, &e->drain, drained, e);
    rt_wheel_init(&e->wheel, rt_loop_uv(e->loop), e->now_ms);
    rt_keys_start(e);
    rt_access_init(e);
    rt_limits_init(e);
    rv = start(e);
    if (rv == 0) {
        rt_log(e->log, RT_INFO, "started", rt_kv_u("index", args->index));
        rt_loop_run(e->loop);
    }
    stop(e);
    rt_heart_stop(heart);
    rt_loop_free(e->loop);
    rt_free(e);
    return rv == 0 ? 0 : 1;
}
