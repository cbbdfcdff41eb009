/* SPDX-License-Identifier: Apache-2.0 */
/* child.c - one process of the node: start, silence, end, start again. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/supervisor/supervisor_in.h"

/* Descriptors of a child, by number; what it has not got is -1 in its arguments. */
enum { FD_LISTEN = 3, FD_ADMIN = 4, FD_HEART = 5, FD_COUNT };

/* Time to write the core that shows where a silent process stands. */
#define CORE_MS 2000u

/* Words of a role's command line, see role_words(). */
#define WORDS_MAX 15u

/* Listens to one life of a child; freed when its handle is closed, after the next life began. */
struct ear {
    uv_poll_t poll;
    struct child *child; /* NULL: that life has ended */
    int fd;
};

static void on_restart(void *ctx)
{
    rt_child_start(ctx);
}

void rt_child_init(struct supervisor *s, struct child *c, enum rt_role role, uint32_t index)
{
    memset(c, 0, sizeof *c);
    c->s = s;
    c->role = role;
    c->index = index;
    c->listen_fd = -1;
    c->admin_fd = -1;
    rt_timer_init(s->loop, &c->restart, on_restart, c);
}

static void on_ear_closed(uv_handle_t *handle)
{
    struct ear *e = handle->data;

    (void)close(e->fd);
    rt_free(e);
}

static void close_ear(struct child *c)
{
    if (c->ear != NULL) {
        c->ear->child = NULL;
        uv_close((uv_handle_t *)&c->ear->poll, on_ear_closed);
        c->ear = NULL;
    }
}

static void on_beat(uv_poll_t *handle, int status, int events)
{
    struct ear *e = handle->data;
    char bytes[64];
    ssize_t n = status == 0 ? recv(e->fd, bytes, sizeof bytes, MSG_DONTWAIT) : -1;

    (void)events;
    if (n > 0 && e->child != NULL) {
        e->child->beat_ms = rt_now_ms(e->child->s->loop);
        e->child->heard = true;
        if (e->child->reload) {
            rt_child_reload(e->child);
        }
    } else if (n <= 0 && errno != EAGAIN) {
        (void)uv_poll_stop(handle); /* the process is ending: its exit is told by SIGCHLD */
    }
}

/* Gives the child's end, -1 if the kernel has none; then the child is not watched. */
static int open_ear(struct child *c)
{
    int pair[2];
    struct ear *e;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == -1) {
        rt_log(c->s->log, RT_WARN, "child_not_watched", rt_kv_s("err", strerror(errno)));
        return -1;
    }
    e = rt_calloc(1, sizeof *e);
    e->child = c;
    e->fd = pair[0];
    e->poll.data = e;
    if (uv_poll_init(rt_loop_uv(c->s->loop), &e->poll, e->fd) != 0 ||
        uv_poll_start(&e->poll, UV_READABLE, on_beat) != 0) {
        abort();
    }
    c->ear = e;
    c->beat_ms = rt_now_ms(c->s->loop);
    return pair[1];
}

static void left(struct child *c)
{
    rt_log(c->s->log, RT_INFO, "project_left", rt_kv_s("project", c->project));
    rt_metrics_leave(&c->s->metrics, c->role, c->index);
    c->project[0] = '\0';
    c->leaving = false;
}

static void on_process_exit(uv_process_t *process, int64_t status, int signo)
{
    struct child *c = process->data;
    struct supervisor *s = c->s;
    uint64_t life_ms = rt_now_ms(s->loop) - c->started_ms;

    uv_close((uv_handle_t *)process, NULL);
    c->running = false;
    close_ear(c);
    if (s->stopping == 0 && c->leaving) {
        left(c);
    } else if (s->stopping == 0 && c->renewed) {
        rt_child_start(c);
    } else if (s->stopping == 0 && c->role == RT_OWNER && signo == 0 && status == RT_EXIT_FATAL) {
        rt_log(s->log, RT_ERROR, "node_refused", rt_kv_s("node", s->cfg->node),
               rt_kv_s("err", "the cluster does not take this node; the owner has said why"),
               rt_kv_s("hint", "another node has its name: set REALTIME_NODE to one of its own"));
        rt_supervisor_end(s, RT_EXIT_FATAL);
    } else if (s->stopping == 0) {
        uint64_t wait_ms = rt_backoff_ms(&c->backoff, life_ms);

        rt_count(&s->metrics, RT_M_RESTARTS, 1);
        rt_log(s->log, RT_WARN, "process_ended", rt_kv_s("role", rt_role_name(c->role)),
               rt_kv_u("index", c->index), rt_kv_i("status", status), rt_kv_i("signal", signo),
               rt_kv_u("life_ms", life_ms), rt_kv_u("again_in_ms", wait_ms));
        rt_timer_set(&c->restart, wait_ms);
    }
    rt_on_child_end(c);
}

static void fill_stdio(uv_stdio_container_t *stdio, const struct child *c, int heart)
{
    const int fds[FD_COUNT] = {-1, 1, 2, c->listen_fd, c->admin_fd, heart};

    for (int i = 0; i < FD_COUNT; i++) {
        stdio[i].flags = fds[i] == -1 ? UV_IGNORE : UV_INHERIT_FD;
        stdio[i].data.fd = fds[i];
    }
}

/* The arguments of a role in one line of words; realtimed.c reads them. */
static size_t role_words(const struct child *c, int heart, char *text, size_t cap)
{
    return (size_t)snprintf(text, cap,
                            "realtimed --role %s --index %u --parent %d --listen-fd %d "
                            "--admin-fd %d --heart-fd %d%s%s",
                            rt_role_name(c->role), c->index, (int)getpid(),
                            c->listen_fd == -1 ? -1 : FD_LISTEN, c->admin_fd == -1 ? -1 : FD_ADMIN,
                            heart == -1 ? -1 : FD_HEART, c->role == RT_DB ? " --project " : "",
                            c->project);
}

static int spawn(struct child *c, int heart)
{
    struct supervisor *s = c->s;
    char self[] = "/proc/self/exe";
    char config[] = "--config";
    char *path = s->config_path != NULL ? rt_strdup(s->config_path) : NULL;
    char text[256];
    char *argv[WORDS_MAX + 3] = {NULL};
    size_t words = 0;
    uv_stdio_container_t stdio[FD_COUNT];
    uv_process_options_t options = {.file = self,
                                    .args = argv,
                                    .exit_cb = on_process_exit,
                                    .stdio = stdio,
                                    .stdio_count = FD_COUNT};
    size_t len = role_words(c, heart, text, sizeof text);
    int rv;

    assert(len < sizeof text);
    argv[words++] = text;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == ' ') {
            text[i] = '\0';
            argv[words++] = text + i + 1;
        }
    }
    if (path != NULL) {
        argv[words++] = config;
        argv[words] = path;
    }
    fill_stdio(stdio, c, heart);
    rv = uv_spawn(rt_loop_uv(s->loop), &c->process, &options);
    rt_free(path);
    return rv;
}

void rt_child_start(struct child *c)
{
    struct supervisor *s = c->s;
    int heart = open_ear(c);
    int rv = spawn(c, heart);

    if (heart != -1) {
        (void)close(heart);
    }
    c->started_ms = rt_now_ms(s->loop);
    c->abort_ms = 0;
    c->heard = c->ear == NULL; /* who cannot be heard is not waited for */
    c->reload = false;         /* it reads the settings as they are now */
    c->renewed = false;
    c->process.data = c;
    if (rv != 0) {
        rt_log(s->log, RT_ERROR, "process_not_started", rt_kv_s("role", rt_role_name(c->role)),
               rt_kv_s("err", uv_strerror(rv)));
        uv_close((uv_handle_t *)&c->process, NULL);
        close_ear(c);
        rt_timer_set(&c->restart, rt_backoff_ms(&c->backoff, 0));
        return;
    }
    c->running = true;
    rt_log(s->log, RT_INFO, "process_started", rt_kv_s("role", rt_role_name(c->role)),
           rt_kv_u("index", c->index), rt_kv_i("pid", c->process.pid));
    rt_write_pids(s);
}

void rt_child_reload(struct child *c)
{
    c->reload = !c->heard;
    if (c->running && c->heard) {
        (void)uv_process_kill(&c->process, SIGHUP);
    }
}

void rt_child_leave(struct child *c)
{
    c->leaving = true;
    rt_child_kill(c, SIGTERM);
    if (!c->running) {
        left(c);
    }
}

void rt_child_renew(struct child *c)
{
    c->renewed = c->running;
    if (c->running) {
        (void)uv_process_kill(&c->process, SIGTERM);
    }
}

void rt_child_kill(struct child *c, int signo)
{
    rt_timer_clear(&c->restart);
    if (c->running) {
        (void)uv_process_kill(&c->process, signo);
    }
}

static uint64_t silence_ms(const struct child *c)
{
    switch (c->role) {
    case RT_OWNER:
        return RT_HEART_OWNER_SILENCE_MS;
    case RT_DB:
        return RT_HEART_DB_SILENCE_MS;
    case RT_EDGE:
    case RT_SUPERVISOR:
        break;
    }
    return RT_HEART_EDGE_SILENCE_MS;
}

void rt_child_excuse(struct child *c)
{
    c->beat_ms = rt_now_ms(c->s->loop);
}

void rt_child_watch(struct child *c)
{
    uint64_t now = rt_now_ms(c->s->loop);
    uint64_t silent_ms = now - c->beat_ms;

    if (!c->running || c->ear == NULL || silent_ms < silence_ms(c)) {
        return;
    }
    if (c->abort_ms == 0) {
        rt_count(&c->s->metrics, RT_M_HANGS, 1);
        rt_log(c->s->log, RT_ERROR, "process_hangs", rt_kv_s("role", rt_role_name(c->role)),
               rt_kv_u("index", c->index), rt_kv_u("silent_ms", silent_ms));
        c->abort_ms = now;
        (void)uv_process_kill(&c->process, SIGABRT);
        (void)uv_process_kill(&c->process, SIGCONT); /* a stopped process takes no abort */
    } else if (now - c->abort_ms >= CORE_MS) {
        (void)uv_process_kill(&c->process, SIGKILL);
    }
}

void rt_child_free(struct child *c)
{
    assert(!c->running);
    rt_timer_close(&c->restart, NULL);
    if (c->listen_fd != -1) {
        (void)close(c->listen_fd);
    }
    if (c->admin_fd != -1) {
        (void)close(c->admin_fd);
    }
}

void rt_write_pids(struct supervisor *s)
{
    char path[512], fresh[512];
    FILE *f;

    if (rt_config_path(s->cfg, "pids", path, sizeof path) != 0 ||
        rt_config_path(s->cfg, "pids.new", fresh, sizeof fresh) != 0) {
        return;
    }
    f = fopen(fresh, "we");
    if (f == NULL) {
        rt_log(s->log, RT_WARN, "pids_not_written", rt_kv_s("err", strerror(errno)));
        return;
    }
    (void)fprintf(f, "supervisor 0 %d\n", (int)getpid());
    for (uint32_t i = 0; i < s->nchildren; i++) {
        if (s->child[i].running) {
            (void)fprintf(f, "%s %u %d\n", rt_role_name(s->child[i].role), s->child[i].index,
                          s->child[i].process.pid);
        }
    }
    /* A reader sees the old list or the new one, never half of one. */
    if (fclose(f) != 0 || rename(fresh, path) != 0) {
        rt_log(s->log, RT_WARN, "pids_not_written", rt_kv_s("err", strerror(errno)));
    }
}
