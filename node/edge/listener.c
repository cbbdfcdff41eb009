/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Accepts connections on descriptors the supervisor has opened.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/base/alloc.h"
#include "node/edge/transport_in.h"

/* Connections of one turn, so that a flood of new ones does not starve those that are open. */
#define ACCEPTS_MAX 64u
/* Descriptors kept for everything that is no client: sockets to other processes, logs, timers. */
#define FDS_RESERVED 64u
/* With more unsent bytes than this the kernel takes nothing: a reader that stalls would else cost
 * 4 MB of kernel memory before the queue's bound sees anything. */
#define NOTSENT_LOWAT_BYTES 65536

#define FULL_BODY "{\"message\":\"too many connections, try again later\"}"

static void on_acceptable(uv_poll_t *poll, int status, int events);

static bool is_full(const struct rt_transport *t)
{
    uint32_t max = t->limits.fds_max;

    return t->count >= max - (max / 4 < FDS_RESERVED ? max / 4 : FDS_RESERVED);
}

static void refuse(int fd, bool tls)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 5\r\n"
                                 "content-type: application/json; charset=utf-8\r\n"
                                 "access-control-allow-origin: *\r\n"
                                 "content-length: 51\r\nconnection: close\r\n\r\n" FULL_BODY;

    _Static_assert(sizeof FULL_BODY - 1 == 51, "as content-length says");

    if (!tls) {
        (void)send(fd, answer, sizeof answer - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    (void)close(fd);
}

static void on_retry(struct rt_wheel_entry *timer)
{
    struct rt_listener *l =
        (struct rt_listener *)(void *)((char *)timer - offsetof(struct rt_listener, timer));

    (void)uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

/* No descriptor or memory for a connection: the listening one stays readable, so rest a while. */
static void rest(struct rt_listener *l)
{
    (void)uv_poll_stop(&l->poll);
    rt_wheel_set(&l->t->wheel, &l->timer, on_retry, rt_transport_now_ms(l->t), RT_ACCEPT_RETRY_MS);
}

static void set_options(int fd)
{
    static const int on = 1;
    static const int lowat = NOTSENT_LOWAT_BYTES;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &lowat, sizeof lowat);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct rt_listener *l = poll->data;

    (void)status;
    (void)events;
    for (uint32_t i = 0; i < ACCEPTS_MAX; i++) {
        int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd == -1) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                rest(l);
            }
            if (errno != ECONNABORTED && errno != EINTR) {
                return;
            }
            continue;
        }
        if (is_full(l->t)) {
            refuse(fd, l->tls);
            continue;
        }
        set_options(fd);
        rt_conn_new(l->t, fd, l->tls, l->tag);
    }
}

int rt_transport_listen(struct rt_transport *t, int fd, bool tls, int tag)
{
    struct rt_listener *l;

    if (tls && t->tls == NULL) {
        return UV_EINVAL;
    }
    l = rt_calloc(1, sizeof *l);
    l->t = t;
    l->fd = fd;
    l->tag = tag;
    l->tls = tls;
    int err = uv_poll_init(t->loop, &l->poll, fd);

    if (err != 0) {
        rt_free(l);
        return err;
    }
    l->poll.data = l;
    l->next = t->listeners;
    t->listeners = l;
    t->handles++;
    return uv_poll_start(&l->poll, UV_READABLE, on_acceptable);
}

static void on_closed(uv_handle_t *handle)
{
    struct rt_listener *l = handle->data;

    l->t->handles--;
    rt_free(l);
}

void rt_listeners_close(struct rt_transport *t)
{
    struct rt_listener *next;

    for (struct rt_listener *l = t->listeners; l != NULL; l = next) {
        next = l->next;
        rt_wheel_clear(&t->wheel, &l->timer);
        uv_close((uv_handle_t *)&l->poll, on_closed);
    }
    t->listeners = NULL;
}
