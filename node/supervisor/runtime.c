/* SPDX-License-Identifier: Apache-2.0 */
/* runtime.c - what a node needs before its first process: directory, lock, descriptors, sockets. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
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

int rt_runtime_dir(struct supervisor *s, struct rt_error *err)
{
    if (make_dirs(s->cfg->runtime_dir) != 0) {
        return rt_error_errno(err, errno, "create REALTIME_RUNTIME_DIR %s", s->cfg->runtime_dir);
    }
    /* Sockets inside are 0600 already; this also hides counters and pids. */
    if (chmod(s->cfg->runtime_dir, 0700) == -1) {
        return rt_error_errno(err, errno, "chmod %s", s->cfg->runtime_dir);
    }
    return lock_dir(s, err);
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

/* "host:port" or "[v6]:port" in two texts. */
static bool split_address(const char *address, char *host, size_t cap, const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t n;

    if (colon == NULL) {
        return false;
    }
    n = (size_t)(colon - address);
    if (n >= 2 && address[0] == '[' && address[n - 1] == ']') {
        address++;
        n -= 2;
    }
    if (n >= cap) {
        return false;
    }
    memcpy(host, address, n);
    host[n] = '\0';
    *port = colon + 1;
    return true;
}

static int open_listener(const struct addrinfo *a, bool reuse_port)
{
    int on = 1;
    int saved;
    int fd = socket(a->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        return -1;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (!reuse_port || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == 0) &&
        bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) {
        return fd;
    }
    saved = errno;
    (void)close(fd);
    errno = saved;
    return -1;
}

int rt_listen_tcp(const char *address, bool reuse_port, struct rt_error *err)
{
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[256];
    const char *port = NULL;
    int rv;
    int fd;

    if (!split_address(address, host, sizeof host, &port)) {
        return rt_error_set(err, RT_ECONFIG, "'%s' is not address:port", address);
    }
    rv = getaddrinfo(host[0] != '\0' ? host : NULL, port, &hints, &found);
    if (rv != 0) {
        return rt_error_set(err, RT_ECONFIG, "address '%s': %s", address, gai_strerror(rv));
    }
    fd = open_listener(found, reuse_port);
    if (fd == -1) {
        rv = rt_error_errno(err, errno, "listen on %s", address);
    }
    freeaddrinfo(found);
    return fd == -1 ? rv : fd;
}
