/* SPDX-License-Identifier: Apache-2.0 */
/* runtime.c - what a node needs before its first process: directory, lock, descriptors, sockets. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "node/supervisor/supervisor_in.h"

/* Handshakes that may wait while an edge is busy or being started again. */
#define BACKLOG 4096
/* Processes of a supervisor that was killed end by themselves, within milliseconds unless they have
 * gigabytes to give back; until then they hold its address. */
#define ADDRESS_WAIT_MS 3000u
#define RETRY_MS        20

/* All parents too, as mkdir -p does. */
static int make_dirs(const char *path)
{
    char part[512];
    size_t n = strlen(path);

    if (n == 0 || n >= sizeof part) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(part, path, n + 1);
    for (char *p = part + 1; *p != '\0'; p++) {
        if (*p == '/') {
            *p = '\0';
            if (mkdir(part, 0755) == -1 && errno != EEXIST) {
                return -1;
            }
            *p = '/';
        }
    }
    return mkdir(part, 0700) == -1 && errno != EEXIST ? -1 : 0;
}

static int lock_dir(struct supervisor *s, struct rt_error *err)
{
    char path[512];

    if (rt_config_path(s->cfg, "lock", path, sizeof path) != 0) {
        return rt_error_set(err, RT_ECONFIG, "REALTIME_RUNTIME_DIR is too long");
    }
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (s->lock_fd == -1) {
        return rt_error_errno(err, errno, "open %s", path);
    }
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) == -1) {
        return rt_error_set(err, RT_EBUSY,
                            "another node runs in %s; stop it, or give this one its own "
                            "REALTIME_RUNTIME_DIR",
                            s->cfg->runtime_dir);
    }
    return RT_OK;
}

/*
 * A directory that was there keeps its mode: it may be one that others use too. But who can write
 * into it can put a socket of his own in the place of ours.
 */
static int check_dir(const char *path, struct rt_error *err)
{
    struct stat st;

    if (stat(path, &st) == -1) {
        return rt_error_errno(err, errno, "REALTIME_RUNTIME_DIR %s", path);
    }
    if (st.st_uid != geteuid() || (st.st_mode & (S_IWGRP | S_IWOTH)) != 0) {
        return rt_error_set(err, RT_ECONFIG,
                            "REALTIME_RUNTIME_DIR %s belongs to user %u with mode %04o; it must "
                            "belong to user %u with mode 0700 or 0755",
                            path, (unsigned)st.st_uid, (unsigned)st.st_mode & 07777u,
                            (unsigned)geteuid());
    }
    return RT_OK;
}

int rt_runtime_dir(struct supervisor *s, struct rt_error *err)
{
    int rv;

    if (make_dirs(s->cfg->runtime_dir) != 0) {
        return rt_error_errno(err, errno, "create REALTIME_RUNTIME_DIR %s", s->cfg->runtime_dir);
    }
    rv = check_dir(s->cfg->runtime_dir, err);
    return rv == RT_OK ? lock_dir(s, err) : rv;
}

void rt_raise_nofile(struct supervisor *s)
{
    struct rlimit lim;

    if (getrlimit(RLIMIT_NOFILE, &lim) != 0) {
        return;
    }
    lim.rlim_cur = lim.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &lim) != 0) {
        rt_log(s->log, RT_WARN, "nofile_not_raised", rt_kv_s("err", strerror(errno)));
    }
    (void)getrlimit(RLIMIT_NOFILE, &lim);
    rt_gauge(&s->metrics, RT_M_NOFILE_MAX, lim.rlim_cur);
    rt_log(s->log, RT_INFO, "nofile", rt_kv_u("per_process", lim.rlim_cur));
}

static int open_listener(const struct sockaddr_storage *a, socklen_t len, bool reuse_port)
{
    int on = 1;
    int saved;
    int fd = socket(a->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        bind(fd, (const struct sockaddr *)a, len) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

int rt_listen_tcp(const char *address, bool reuse_port, struct rt_error *err)
{
    struct sockaddr_storage a;
    const char *why;
    socklen_t len = rt_config_address(address, &a, &why);
    int fd;

    if (len == 0) {
        return rt_error_set(err, RT_ECONFIG, "cannot listen on '%s': %s", address, why);
    }
    fd = open_listener(&a, len, reuse_port);
    return fd == -1 ? rt_error_errno(err, errno, "listen on %s", address) : fd;
}

int rt_address_free(const char *setting, const char *address, struct rt_error *err)
{
    for (uint32_t waited_ms = 0;; waited_ms += RETRY_MS) {
        int fd = rt_listen_tcp(address, false, err);

        if (fd >= 0) {
            (void)close(fd);
            return RT_OK;
        }
        if (errno != EADDRINUSE) {
            return fd;
        }
        if (waited_ms >= ADDRESS_WAIT_MS) {
            return rt_error_set(
                err, RT_EBUSY,
                "another program listens on %s; stop it, or set %s to another address", address,
                setting);
        }
        (void)poll(NULL, 0, RETRY_MS);
    }
}
