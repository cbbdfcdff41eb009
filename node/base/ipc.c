/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/ipc.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/base/alloc.h"

/* One read: large enough that a burst is one system call, small enough for the L2 cache. */
#define READ_BYTES 262144u
/* A queue that was long gives its memory back when it is empty. */
#define OUT_KEEP_BYTES 1048576u
/* Connections that may wait to be accepted: more than a node has processes. */
#define BACKLOG 128

struct rt_ipc {
    struct rt_loop *loop;
    uv_poll_t poll;
    int fd;
    const struct rt_ipc_events *ev;
    void *ctx;
    uint8_t *in; /* READ_BYTES, or as much as the frame that is arriving needs */
    size_t in_cap, in_len;
    uint8_t *out;
    size_t out_cap, out_at, out_len; /* waiting: out[out_at .. out_len) */
    size_t bound;                    /* of what waits */
    struct rt_defer flush;
    bool reading;
    bool blocked; /* the kernel's buffer is full: wait until it is writable */
    bool closing;
};

struct rt_ipc_server {
    struct rt_loop *loop;
    uv_poll_t poll;
    int fd;
    void (*on_accept)(void *ctx, struct rt_ipc *ipc);
    void *ctx;
};

static void on_poll(uv_poll_t *handle, int status, int events);

static void watch(struct rt_ipc *ipc)
{
    int events = (ipc->reading ? UV_READABLE : 0) | (ipc->blocked ? UV_WRITABLE : 0);

    if (ipc->closing) {
        return;
    }
    /* UV_DISCONNECT: the end of the peer is seen also while reading is stopped. */
    if (uv_poll_start(&ipc->poll, events | UV_DISCONNECT, on_poll) != 0) {
        abort();
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct rt_ipc *ipc = handle->data;

    (void)close(ipc->fd);
    rt_free(ipc->in);
    rt_free(ipc->out);
    rt_free(ipc);
}

void rt_ipc_close(struct rt_ipc *ipc)
{
    if (ipc->closing) {
        return;
    }
    ipc->closing = true;
    rt_loop_undefer(ipc->loop, &ipc->flush);
    uv_close((uv_handle_t *)&ipc->poll, on_closed);
}

static void down(struct rt_ipc *ipc, const char *why)
{
    if (ipc->closing) {
        return;
    }
    rt_ipc_close(ipc);
    ipc->ev->on_down(ipc->ctx, ipc, why);
}

static void do_flush(void *ctx)
{
    struct rt_ipc *ipc = ctx;

    while (ipc->out_at < ipc->out_len && !ipc->blocked && !ipc->closing) {
        ssize_t n = send(ipc->fd, ipc->out + ipc->out_at, ipc->out_len - ipc->out_at, MSG_NOSIGNAL);

        if (n >= 0) {
            ipc->out_at += (size_t)n;
        } else if (errno == EAGAIN) {
            ipc->blocked = true;
            watch(ipc);
        } else if (errno == EPIPE || errno == ECONNRESET) {
            /* The peer is gone. What it said before is still to be read, and after it the end. */
            ipc->out_at = ipc->out_len;
        } else if (errno != EINTR) {
            down(ipc, strerror(errno));
        }
    }
    if (ipc->out_at == ipc->out_len) {
        ipc->out_at = 0;
        ipc->out_len = 0;
        if (ipc->out_cap > OUT_KEEP_BYTES) {
            rt_free(ipc->out);
            ipc->out = NULL;
            ipc->out_cap = 0;
        }
    }
}

static void do_write(struct rt_ipc *ipc)
{
    ipc->blocked = false;
    watch(ipc);
    do_flush(ipc);
}

/* Hands out whole frames; keeps the start of the next one at the front of the buffer. */
static void do_frames(struct rt_ipc *ipc)
{
    size_t at = 0;

    while (!ipc->closing && ipc->reading) {
        struct pr_frame f;
        long n = pr_frame_next(pr_bytes(ipc->in + at, ipc->in_len - at), &f);

        if (n < 0) {
            down(ipc, "malformed frame");
            return;
        }
        if (n == 0) {
            break;
        }
        at += (size_t)n;
        ipc->ev->on_frame(ipc->ctx, ipc, &f);
    }
    if (!ipc->closing && at > 0) {
        memmove(ipc->in, ipc->in + at, ipc->in_len - at);
        ipc->in_len -= at;
    }
}

/* A frame longer than the buffer: the buffer grows to it, at most to PR_FRAME_MAX, and shrinks
 * after. */
static void fit(struct rt_ipc *ipc)
{
    size_t need = READ_BYTES;

    if (ipc->in_len >= 4) {
        struct pr_cursor c = pr_cursor(pr_bytes(ipc->in, 4));
        size_t frame = (size_t)pr_get_u32be(&c) + 4;

        if (frame <= PR_FRAME_MAX + 4 && frame > need) {
            need = frame;
        }
    }
    if (need < ipc->in_len) {
        need = ipc->in_len;
    }
    if (need != ipc->in_cap) {
        ipc->in = rt_realloc(ipc->in, need);
        ipc->in_cap = need;
    }
}

/* False: there is nothing more to read now. */
static bool do_read(struct rt_ipc *ipc)
{
    ssize_t n;

    fit(ipc);
    if (ipc->in_len == ipc->in_cap) {
        return false; /* frames wait for reading to be switched on again */
    }
    n = recv(ipc->fd, ipc->in + ipc->in_len, ipc->in_cap - ipc->in_len, MSG_DONTWAIT);
    if (n > 0) {
        ipc->in_len += (size_t)n;
        do_frames(ipc);
    } else if (n == 0) {
        down(ipc, "closed by the peer");
    } else if (errno != EAGAIN && errno != EINTR) {
        down(ipc, strerror(errno));
    }
    return n > 0;
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct rt_ipc *ipc = handle->data;

    if (status < 0) {
        /* A peer killed with our bytes unread shows as an error, before what it has sent to us. */
        while (!ipc->closing && ipc->reading && do_read(ipc)) {
        }
        down(ipc, uv_strerror(status));
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        do_write(ipc);
    }
    if (!ipc->closing && ipc->reading && (events & (UV_READABLE | UV_DISCONNECT)) != 0) {
        (void)do_read(ipc);
    } else if (!ipc->closing && (events & UV_DISCONNECT) != 0) {
        down(ipc, "closed by the peer");
    }
}

static struct rt_ipc *new_ipc(struct rt_loop *l, int fd)
{
    struct rt_ipc *ipc = rt_calloc(1, sizeof *ipc);

    ipc->loop = l;
    ipc->fd = fd;
    ipc->reading = true;
    ipc->bound = RT_IPC_QUEUE_MAX;
    if (uv_poll_init(rt_loop_uv(l), &ipc->poll, fd) != 0) {
        abort();
    }
    ipc->poll.data = ipc;
    return ipc;
}

static int unix_socket(const char *path, struct sockaddr_un *addr)
{
    size_t len = strlen(path);

    memset(addr, 0, sizeof *addr);
    addr->sun_family = AF_UNIX;
    if (len >= sizeof addr->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr->sun_path, path, len + 1);
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

struct rt_ipc *rt_ipc_connect(struct rt_loop *l, const char *path, const struct rt_ipc_events *ev,
                              void *ctx)
{
    struct sockaddr_un addr;
    struct rt_ipc *ipc;
    int fd = unix_socket(path, &addr);

    if (fd == -1) {
        return NULL;
    }
    if (connect(fd, (const struct sockaddr *)&addr, sizeof addr) == -1) {
        int saved = errno;

        (void)close(fd);
        errno = saved;
        return NULL;
    }
    ipc = new_ipc(l, fd);
    rt_ipc_set_events(ipc, ev, ctx);
    return ipc;
}

void rt_ipc_set_events(struct rt_ipc *ipc, const struct rt_ipc_events *ev, void *ctx)
{
    ipc->ev = ev;
    ipc->ctx = ctx;
    watch(ipc);
}

void *rt_ipc_ctx(const struct rt_ipc *ipc)
{
    return ipc->ctx;
}

struct pr_outbuf rt_ipc_reserve(struct rt_ipc *ipc, size_t n, bool *ok)
{
    *ok = !ipc->closing && n <= ipc->bound && ipc->out_len - ipc->out_at <= ipc->bound - n;
    if (!*ok) {
        return pr_outbuf(NULL, 0);
    }
    if (ipc->out_at > 0 && n > ipc->out_cap - ipc->out_len) {
        memmove(ipc->out, ipc->out + ipc->out_at, ipc->out_len - ipc->out_at);
        ipc->out_len -= ipc->out_at;
        ipc->out_at = 0;
    }
    if (n > ipc->out_cap - ipc->out_len) {
        size_t cap = ipc->out_cap == 0 ? READ_BYTES : ipc->out_cap;

        while (n > cap - ipc->out_len) {
            cap *= 2;
        }
        ipc->out = rt_realloc(ipc->out, cap);
        ipc->out_cap = cap;
    }
    return pr_outbuf(ipc->out + ipc->out_len, ipc->out_cap - ipc->out_len);
}

void rt_ipc_commit(struct rt_ipc *ipc, const struct pr_outbuf *o)
{
    assert(pr_out_ok(o) && o->len <= ipc->out_cap - ipc->out_len);
    ipc->out_len += o->len;
    rt_loop_defer(ipc->loop, &ipc->flush, do_flush, ipc);
}

bool rt_ipc_send(struct rt_ipc *ipc, struct pr_slice frames)
{
    bool ok;
    struct pr_outbuf o = rt_ipc_reserve(ipc, frames.n, &ok);

    if (ok) {
        pr_put_slice(&o, frames);
        rt_ipc_commit(ipc, &o);
    }
    return ok;
}

size_t rt_ipc_queued(const struct rt_ipc *ipc)
{
    return ipc->out_len - ipc->out_at;
}

void rt_ipc_set_bound(struct rt_ipc *ipc, size_t bytes)
{
    ipc->bound = bytes;
}

/* Frames that arrived before reading was stopped are handed out when it goes on. */
static void resume(void *ctx)
{
    struct rt_ipc *ipc = ctx;

    do_frames(ipc);
    do_flush(ipc);
}

void rt_ipc_read(struct rt_ipc *ipc, bool on)
{
    if (ipc->closing || ipc->reading == on) {
        return;
    }
    ipc->reading = on;
    watch(ipc);
    if (on && ipc->in_len > 0) {
        rt_loop_undefer(ipc->loop, &ipc->flush);
        rt_loop_defer(ipc->loop, &ipc->flush, resume, ipc);
    }
}

static bool same_user(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof peer;

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
           (peer.uid == geteuid() || peer.uid == 0);
}

static void on_connection(uv_poll_t *handle, int status, int events)
{
    struct rt_ipc_server *s = handle->data;
    int fd;

    (void)events;
    if (status < 0) {
        return;
    }
    fd = accept4(s->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd == -1) {
        return; /* it went away again, or descriptors are short: the next turn tries again */
    }
    if (!same_user(fd)) {
        (void)close(fd);
        return;
    }
    s->on_accept(s->ctx, new_ipc(s->loop, fd));
}

struct rt_ipc_server *rt_ipc_listen(struct rt_loop *l, const char *path,
                                    void (*on_accept)(void *ctx, struct rt_ipc *ipc), void *ctx)
{
    struct sockaddr_un addr;
    struct rt_ipc_server *s;
    int saved;
    int fd = unix_socket(path, &addr);

    if (fd == -1) {
        return NULL;
    }
    (void)unlink(path); /* of a predecessor that was killed; the directory is ours alone */
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) == -1) {
        goto fail;
    }
    if (chmod(path, S_IRUSR | S_IWUSR) == -1 || listen(fd, BACKLOG) == -1) {
        goto fail;
    }
    s = rt_calloc(1, sizeof *s);
    s->loop = l;
    s->fd = fd;
    s->on_accept = on_accept;
    s->ctx = ctx;
    if (uv_poll_init(rt_loop_uv(l), &s->poll, fd) != 0) {
        abort();
    }
    s->poll.data = s;
    if (uv_poll_start(&s->poll, UV_READABLE, on_connection) != 0) {
        abort();
    }
    return s;

fail:
    saved = errno;
    (void)close(fd);
    errno = saved;
    return NULL;
}

static void on_server_closed(uv_handle_t *handle)
{
    struct rt_ipc_server *s = handle->data;

    (void)close(s->fd);
    rt_free(s);
}

void rt_ipc_server_close(struct rt_ipc_server *s)
{
    uv_close((uv_handle_t *)&s->poll, on_server_closed);
}
