/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forked_world.h - a whole owner process, forked, and the test as its edges, its db and realtimectl
 * on blocking sockets.
 */
#ifndef TESTS_FORKED_WORLD_H
#define TESTS_FORKED_WORLD_H

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/base/alloc.h"
#include "node/owner/owner.h"
#include "proto/mesh_node.h"

/* Ends a test that hangs; nothing waits for it otherwise. */
#define DEADLINE_MS 20000

struct world {
    char dir[40];
    pid_t pid;
};

/* One connection. Frames are handed out in place of `in`. */
struct link {
    int fd;
    uint8_t in[65536];
    size_t len, used;
};

static inline int run_owner(const struct world *w)
{
    char dir[60];
    char node[] = "n1";
    char level[] = "error";
    struct rt_config cfg = {.edges = 3,
                            .node = node,
                            .log_level = level,
                            .runtime_dir = dir,
                            .project = "default",
                            .max_topics = 1000,
                            .max_presences = 1000,
                            .max_presences_per_topic = 100};
    struct rt_metrics metrics;
    struct rt_role_args args = {.role = RT_OWNER, .boot = 1, .listen_fd = -1, .admin_fd = -1};
    int code;

    (void)snprintf(dir, sizeof dir, "%s", w->dir);
    cfg.projects = &cfg;
    cfg.nprojects = 1;
    args.heart_fd = -1;
    args.log = rt_log_new(STDERR_FILENO, RT_ERROR, "n1", "owner");
    args.metrics = &metrics;
    rt_metrics_private(&metrics);
    code = rt_owner_main(&cfg, &args);
    rt_metrics_close(&metrics);
    rt_log_free(args.log);
    return code;
}

static inline int open_world(void **state)
{
    struct world *w = rt_calloc(1, sizeof *w);

    (void)snprintf(w->dir, sizeof w->dir, "/tmp/realtime-owner-XXXXXX");
    if (mkdtemp(w->dir) == NULL) {
        return -1;
    }
    w->pid = fork();
    if (w->pid == 0) {
        struct world copy = *w;

        rt_free(w); /* a sanitizer build looks for leaks in the child too */
        exit(run_owner(&copy));
    }
    *state = w;
    return w->pid == -1;
}

static inline int close_world(void **state)
{
    static const char *const names[] = {"owner.sock", "control.sock"};
    struct world *w = *state;
    char path[60];
    int status = -1;

    (void)kill(w->pid, SIGTERM);
    (void)waitpid(w->pid, &status, 0);
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", w->dir, names[i]);
        (void)unlink(path);
    }
    (void)rmdir(w->dir);
    rt_free(w);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* The owner may still be starting: until its socket is there, the file is looked for again. */
static inline struct link *dial(const struct world *w, const char *name)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct link *l = rt_calloc(1, sizeof *l);

    l->fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s/%s", w->dir, name);
    for (int waited = 0; connect(l->fd, (struct sockaddr *)&addr, sizeof addr) != 0; waited++) {
        assert_true(waited < DEADLINE_MS);
        (void)poll(NULL, 0, 1);
    }
    return l;
}

static inline void hang_up(struct link *l)
{
    (void)close(l->fd);
    rt_free(l);
}

static inline void say(struct link *l, const struct pr_outbuf *o)
{
    assert_true(pr_out_ok(o));
    assert_int_equal(send(l->fd, o->p, o->len, MSG_NOSIGNAL), (ssize_t)o->len);
}

/* Next frame, or false at the end of the connection. */
static inline bool hear(struct link *l, struct pr_frame *f)
{
    for (;;) {
        long n = pr_frame_next(pr_bytes(l->in + l->used, l->len - l->used), f);
        struct pollfd p = {.fd = l->fd, .events = POLLIN};
        ssize_t got;

        assert_true(n >= 0);
        if (n > 0) {
            l->used += (size_t)n;
            return true;
        }
        memmove(l->in, l->in + l->used, l->len - l->used);
        l->len -= l->used;
        l->used = 0;
        assert_int_equal(poll(&p, 1, DEADLINE_MS), 1);
        got = recv(l->fd, l->in + l->len, sizeof l->in - l->len, 0);
        if (got <= 0) {
            return false;
        }
        l->len += (size_t)got;
    }
}

/* Skips frames of other types (digests, views). */
static inline void hear_type(struct link *l, uint8_t type, struct pr_frame *f)
{
    do {
        assert_true(hear(l, f));
    } while (f->type != type);
}

static inline void hear_end(struct link *l)
{
    struct pr_frame f;

    while (hear(l, &f)) {
    }
}

static inline struct link *attach(const struct world *w, uint32_t role, uint32_t index,
                                  uint64_t boot)
{
    struct link *l = dial(w, "owner.sock");
    struct pr_hello m = {
        .proto_min = 1, .proto_max = 9, .role = role, .index = index, .boot = boot};
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_hello_ok ok;
    struct pr_frame f;

    m.project = pr_str(role == PR_ROLE_DB ? "default" : "");
    pr_hello_encode(&o, &m);
    say(l, &o);
    hear_type(l, PR_T_HELLO_OK, &f);
    assert_int_equal(pr_hello_ok_decode(&f, &ok), PR_OK);
    assert_int_equal(ok.proto, 1);
    assert_true(pr_slice_is(ok.name, "n1"));
    assert_true(ok.node != 0 && ok.epoch != 0);
    return l;
}

/* Says something whose answer proves that all said before on this link has been taken. */
static inline void settle(struct link *l, const char *topic)
{
    uint8_t bytes[256];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);
    struct pr_sub sub = {.topic = pr_str(topic)};
    struct pr_frame f;

    pr_sub_encode(&o, &sub);
    say(l, &o);
    hear_type(l, PR_T_SUB_OK, &f);
}

#endif
