/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor_in.h - what the files of this room share. */
#ifndef NODE_SUPERVISOR_SUPERVISOR_IN_H
#define NODE_SUPERVISOR_SUPERVISOR_IN_H

#include <signal.h>

#include "node/base/alloc.h"
#include "node/base/heart.h"
#include "node/supervisor/backoff.h"
#include "node/supervisor/supervisor.h"

/* owner, the edges, and one db per project, in this order. */
#define RT_CHILDREN_MAX (1u + RT_EDGES_MAX + RT_DBS_MAX)
#define RT_CHILD_OWNER  0u
#define RT_CHILD_EDGES  1u

struct supervisor;
struct ear;

/* One process of the node, over all its lives. */
struct child {
    struct supervisor *s;
    enum rt_role role;
    uint32_t index;
    int listen_fd, admin_fd; /* owned by the supervisor, inherited by the child; -1 = none */
    uv_process_t process;
    bool running;
    uint64_t started_ms;
    struct rt_backoff backoff;
    struct rt_timer restart;
    struct ear *ear;                       /* the supervisor's end of the socket pair; NULL: none */
    uint64_t beat_ms;                      /* last sign of life */
    uint64_t abort_ms;                     /* when SIGABRT was sent for silence; 0: not */
    bool heard;                            /* it runs its loop: SIGHUP does not end it any more */
    bool reload;                           /* and is owed to it */
    char project[RT_PROJECT_NAME_MAX + 1]; /* of db; empty: its place is free */
    bool leaving; /* its project is gone from the settings: it is not started again */
    bool renewed; /* it was told to end, so that it starts with other settings */
};

struct supervisor {
    const struct rt_config *cfg;
    const char *config_path;
    struct rt_config again; /* as read at the last SIGHUP that found no fault */
    bool has_again;
    struct rt_log *log;
    struct rt_metrics metrics;
    struct rt_loop *loop;
    int lock_fd;
    struct child child[RT_CHILDREN_MAX];
    uint32_t nchildren;
    struct rt_timer watch; /* silence of children; steps of a stop */
    uint64_t watched_ms;   /* when it fired last */
    uint32_t stopping;     /* 0: no; else the phase, see supervisor.c */
    uint64_t phase_ms;     /* when the phase began */
    int exit_code;
};

/* runtime.c: directory, lock, descriptors, listening sockets. 0 or a code of enum rt_err. */
int rt_runtime_dir(struct supervisor *s, struct rt_error *err);
void rt_raise_nofile(struct supervisor *s);
/* Bound, listening, non-blocking, close-on-exec. A descriptor, or a negative code of enum rt_err.
 */
int rt_listen_tcp(const char *address, bool reuse_port, struct rt_error *err);
/* Two nodes with one address would share its connections silently (SO_REUSEPORT): refused. Waits
 * some seconds for processes of a predecessor that was killed. */
int rt_address_free(const char *setting, const char *address, struct rt_error *err);

/* child.c */
void rt_child_init(struct supervisor *s, struct child *c, enum rt_role role, uint32_t index);
void rt_child_start(struct child *c);
/* SIGHUP, as soon as the child can take it. */
void rt_child_reload(struct child *c);
void rt_child_kill(struct child *c, int signo);
/* Ends the process if it has been silent for too long. */
void rt_child_watch(struct child *c);
/* It gets its whole time again: we did not listen. */
void rt_child_excuse(struct child *c);
/* Closes handles; the process must not run any more. */
void rt_child_free(struct child *c);
/* The process ends and is not started again; its place is free then. */
void rt_child_leave(struct child *c);
/* It ends and is started at once, with the settings as they are now. */
void rt_child_renew(struct child *c);
/* Rewrites RUNTIME_DIR/pids. */
void rt_write_pids(struct supervisor *s);

/* dbs.c: a db process for each project of the settings; again after SIGHUP. */
void rt_dbs_init(struct supervisor *s);
void rt_dbs_reload(struct supervisor *s);

/*
 * adopted.c: waits for ended processes that are not ours. As pid 1 of a container we inherit what
 * others leave behind (`docker exec NODE sh -c 'x &'`); each would stay a zombie and take a pid.
 * Does nothing where we are not pid 1.
 */
void rt_reap_adopted(const struct supervisor *s);

/* supervisor.c: a child ended by itself or as told. */
void rt_on_child_end(struct child *c);
/* The node ends, in order, and with this code. Does nothing if it ends already. */
void rt_supervisor_end(struct supervisor *s, int exit_code);

#endif
