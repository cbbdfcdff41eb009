/* SPDX-License-Identifier: Apache-2.0 */
#include "node/supervisor/supervisor.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "node/supervisor/supervisor_in.h"

/* How often silence is looked for, and how fine the steps of a stop are. */
#define WATCH_MS 100u
/* A watch that comes later than this judges nobody: all get their whole time again. */
#define LATE_MS 1000u
/* db holds no clients: what it does not end in this time it will not. */
#define DB_STOP_MS 3000u
/* owner tells the other nodes, for which it gives itself 3 s. */
#define OWNER_STOP_MS 5000u

/* Order of a stop: clients are told first, what serves them ends after them. */
enum phase { RUNNING = 0, STOP_EDGES, STOP_DB, STOP_OWNER, STOPPED };

static bool in_phase(const struct child *c, uint32_t phase)
{
    return (phase == STOP_EDGES && c->role == RT_EDGE) || (phase == STOP_DB && c->role == RT_DB) ||
           (phase == STOP_OWNER && c->role == RT_OWNER);
}

static bool phase_done(const struct supervisor *s)
{
    for (uint32_t i = 0; i < s->nchildren; i++) {
        if (in_phase(&s->child[i], s->stopping) && s->child[i].running) {
            return false;
        }
    }
    return true;
}

static void signal_phase(struct supervisor *s, int signo)
{
    for (uint32_t i = 0; i < s->nchildren; i++) {
        if (in_phase(&s->child[i], s->stopping)) {
            rt_child_kill(&s->child[i], signo);
        }
    }
}

/* Goes on to the first phase that still has a running process. */
static void advance(struct supervisor *s)
{
    while (s->stopping != RUNNING && s->stopping != STOPPED && phase_done(s)) {
        s->stopping++;
        s->phase_ms = rt_now_ms(s->loop);
        signal_phase(s, SIGTERM);
    }
    if (s->stopping == STOPPED) {
        rt_loop_stop(s->loop);
    }
}

void rt_supervisor_end(struct supervisor *s, int exit_code)
{
    if (s->stopping != RUNNING) {
        return;
    }
    s->exit_code = exit_code;
    for (uint32_t i = 0; i < s->nchildren; i++) {
        rt_timer_clear(&s->child[i].restart);
    }
    s->stopping = STOP_EDGES;
    s->phase_ms = rt_now_ms(s->loop);
    signal_phase(s, SIGTERM);
    advance(s);
}

static void on_stop(void *ctx, int signo)
{
    struct supervisor *s = ctx;

    if (s->stopping != RUNNING) {
        /* Asked twice: no more patience. */
        for (uint32_t i = 0; i < s->nchildren; i++) {
            rt_child_kill(&s->child[i], SIGKILL);
        }
        return;
    }
    rt_log(s->log, RT_INFO, "stopping", rt_kv_i("signal", signo));
    rt_supervisor_end(s, 0);
}

static uint64_t limit_of(const struct supervisor *s)
{
    switch (s->stopping) {
    case STOP_EDGES:
        return s->cfg->stop_ms;
    case STOP_DB:
        return DB_STOP_MS;
    default:
        return OWNER_STOP_MS;
    }
}

static void on_reload(void *ctx, int signo)
{
    struct supervisor *s = ctx;

    (void)signo;
    rt_log_plain(s->log, RT_INFO, "reload");
    rt_dbs_reload(s);
    for (uint32_t i = 0; i < s->nchildren; i++) {
        if (!s->child[i].leaving && !s->child[i].renewed) {
            rt_child_reload(&s->child[i]);
        }
    }
}

static void on_watch(void *ctx)
{
    struct supervisor *s = ctx;
    uint64_t limit_ms = limit_of(s);
    uint64_t now = rt_now_ms(s->loop);
    /* We stood still ourselves: what the children said meanwhile has not been read yet. */
    bool late = now - s->watched_ms > LATE_MS;

    s->watched_ms = now;
    rt_reap_adopted(s);
    if (s->stopping == RUNNING) {
        for (uint32_t i = 0; i < s->nchildren; i++) {
            (late ? rt_child_excuse : rt_child_watch)(&s->child[i]);
        }
    } else if (now - s->phase_ms > limit_ms) {
        rt_log(s->log, RT_WARN, "stop_took_too_long", rt_kv_u("limit_ms", limit_ms));
        signal_phase(s, SIGKILL);
    }
    rt_timer_set(&s->watch, WATCH_MS);
}

void rt_on_child_end(struct child *c)
{
    rt_write_pids(c->s);
    advance(c->s);
}

static int open_sockets(struct supervisor *s, struct rt_error *err)
{
    for (uint32_t i = 0; i < s->cfg->edges; i++) {
        struct child *c = &s->child[RT_CHILD_EDGES + i];

        c->listen_fd = rt_listen_tcp(s->cfg->listen, true, err);
        if (c->listen_fd < 0) {
            return c->listen_fd;
        }
    }
    if (strcmp(s->cfg->admin_listen, "off") != 0) {
        struct child *first = &s->child[RT_CHILD_EDGES];

        first->admin_fd = rt_listen_tcp(s->cfg->admin_listen, false, err);
        return first->admin_fd < 0 ? first->admin_fd : RT_OK;
    }
    return RT_OK;
}

static int prepare(struct supervisor *s, struct rt_error *err)
{
    int rv = rt_runtime_dir(s, err);

    if (rv == RT_OK) {
        rv = rt_metrics_create(s->cfg->runtime_dir, s->cfg->node, err);
    }
    if (rv == RT_OK) {
        rv = rt_metrics_open(&s->metrics, s->cfg->runtime_dir, RT_SUPERVISOR, 0, err);
    }
    if (rv == RT_OK) {
        rt_raise_nofile(s);
        rv = rt_address_free("REALTIME_LISTEN", s->cfg->listen, err);
    }
    if (rv == RT_OK && strcmp(s->cfg->admin_listen, "off") != 0) {
        rv = rt_address_free("REALTIME_ADMIN_LISTEN", s->cfg->admin_listen, err);
    }
    return rv == RT_OK ? open_sockets(s, err) : rv;
}

static void start(struct supervisor *s)
{
    rt_loop_on_signal(s->loop, SIGTERM, on_stop, s);
    rt_loop_on_signal(s->loop, SIGINT, on_stop, s);
    rt_loop_on_signal(s->loop, SIGHUP, on_reload, s);
    for (uint32_t i = 0; i < s->nchildren; i++) {
        rt_child_start(&s->child[i]);
    }
    s->watched_ms = rt_now_ms(s->loop);
    rt_timer_set(&s->watch, WATCH_MS);
    rt_log(s->log, RT_INFO, "node_up", rt_kv_s("listen", s->cfg->listen),
           rt_kv_s("admin", s->cfg->admin_listen), rt_kv_u("edges", s->cfg->edges));
    rt_loop_run(s->loop);
}

int rt_supervisor_main(const struct rt_config *cfg, const char *config_path, struct rt_log *log)
{
    struct supervisor *s = rt_calloc(1, sizeof *s);
    struct rt_error err = {0};
    int rv;

    s->cfg = cfg;
    s->config_path = config_path;
    s->log = log;
    s->lock_fd = -1;
    s->loop = rt_loop_new();
    rt_timer_init(s->loop, &s->watch, on_watch, s);
    rt_child_init(s, &s->child[RT_CHILD_OWNER], RT_OWNER, 0);
    for (uint32_t i = 0; i < cfg->edges; i++) {
        rt_child_init(s, &s->child[RT_CHILD_EDGES + i], RT_EDGE, i);
    }
    s->nchildren = RT_CHILD_EDGES + cfg->edges;
    rt_dbs_init(s);
    rv = prepare(s, &err);
    if (rv == RT_OK) {
        start(s);
        rt_log_plain(log, RT_INFO, "stopped");
    } else {
        rt_log(log, RT_ERROR, "cannot_start", rt_kv_s("err", err.text));
    }
    for (uint32_t i = 0; i < s->nchildren; i++) {
        rt_child_free(&s->child[i]);
    }
    rt_timer_close(&s->watch, NULL);
    rt_loop_free(s->loop);
    if (s->has_again) {
        rt_config_free(&s->again);
    }
    if (s->metrics.slots != NULL) {
        rt_metrics_close(&s->metrics);
    }
    if (s->lock_fd != -1) {
        (void)close(s->lock_fd);
    }
    rv = rv == RT_OK ? s->exit_code : 1;
    rt_free(s);
    return rv;
}
