/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "node/owner/mesh_in.h"

/* Bytes made ready for the kernel at a time. They are past the lanes, so a fast frame waits for
 * them: at 1 Gbit/s half a millisecond. */
#define READY_BYTES 65536u
/* Most bytes given to the kernel in one go; the rest is for the next turn (fairness). */
#define FLUSH_BYTES 1048576u
/* What `out` may keep while it is empty. */
#define KEEP_BYTES 131072u

uint8_t *rt_mesh_bytes_room(struct rt_mesh_bytes *b, size_t n)
{
    if (b->at > 0) {
        memmove(b->p, b->p + b->at, b->len - b->at);
        b->len -= b->at;
        b->at = 0;
    }
    if (n > b->cap - b->len) {
        size_t cap = b->cap == 0 ? 4096 : b->cap;

        while (n > cap - b->len) {
            cap *= 2;
        }
        b->p = rt_realloc(b->p, cap);
        b->cap = cap;
    }
    return b->p + b->len;
}

void rt_mesh_bytes_put(struct rt_mesh_bytes *b, const uint8_t *p, size_t n)
{
    if (n > 0) {
        memcpy(rt_mesh_bytes_room(b, n), p, n);
        b->len += n;
    }
}

void rt_mesh_bytes_free(struct rt_mesh_bytes *b)
{
    rt_free(b->p);
    *b = (struct rt_mesh_bytes){0};
}

static void overflow(struct rt_mesh_link *l)
{
    rt_mesh_link_bye(l, PR_BYE_OVERFLOW, "a queue of the link is over its bound: it does not read",
                     RT_MESH_CLOSED);
}

bool rt_mesh_push_frames(struct rt_mesh_link *l, struct pr_slice frames)
{
    while (frames.n > 0) {
        struct pr_frame f;
        long n = pr_frame_next(frames, &f);
        enum rt_lanes_result r;

        assert(n > 0); /* whole frames, made here */
        r = rt_lanes_push(&l->lanes, &f);
        if (r == RT_LANES_CLOSE) {
            overflow(l);
        }
        if (r != RT_LANES_TAKEN) {
            return false;
        }
        frames.p += n;
        frames.n -= (size_t)n;
    }
    rt_mesh_flush_later(l);
    return true;
}

bool rt_mesh_push(struct rt_mesh_link *l, const struct pr_outbuf *o)
{
    assert(pr_out_ok(o));
    return rt_mesh_push_frames(l, pr_bytes(o->p, o->len));
}

/* Frames to records, until enough is ready. False: the link was ended. */
static bool encrypt(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    size_t n = 1;

    while (n > 0 && rt_psk_pending(l->psk) < READY_BYTES) {
        n = rt_lanes_take(&l->lanes, m->stage, sizeof m->stage);
        if (n > 0 && !rt_psk_write(l->psk, m->stage, n)) {
            rt_mesh_link_end(l, RT_MESH_PROTO, rt_psk_why(l->psk));
            return false;
        }
    }
    return true;
}

/* Fills `out`, which is empty. False: there is nothing to send. */
static bool fill(struct rt_mesh_link *l)
{
    size_t n;

    l->out.at = 0;
    l->out.len = 0;
    if (l->psk == NULL) {
        uint8_t *p = rt_lanes_empty(&l->lanes) ? NULL : rt_mesh_bytes_room(&l->out, READY_BYTES);

        l->out.len = p == NULL ? 0 : rt_lanes_take(&l->lanes, p, READY_BYTES);
        return l->out.len > 0;
    }
    if (l->state != RT_MESH_TLS && !encrypt(l)) {
        return false;
    }
    n = rt_psk_pending(l->psk);
    if (n > 0) {
        l->out.len = rt_psk_take(l->psk, rt_mesh_bytes_room(&l->out, n), n);
    }
    return l->out.len > 0;
}

/* After send() has refused. */
static void not_sent(struct rt_mesh_link *l, int errnum)
{
    if (errnum == EAGAIN) {
        l->blocked = true;
        rt_mesh_link_watch(l);
    } else if (errnum == EPIPE || errnum == ECONNRESET) {
        /* The peer is gone. What it said before is still to be read, and after it the end. */
        l->write_dead = true;
    } else if (errnum != EINTR) {
        rt_mesh_link_end(l, errnum == ETIMEDOUT ? RT_MESH_TIMEOUT : RT_MESH_EOF, strerror(errnum));
    }
}

static void all_sent(struct rt_mesh_link *l)
{
    if (l->state == RT_MESH_LINGER && !l->fin_sent) {
        l->fin_sent = true;
        (void)shutdown(l->fd, SHUT_WR);
    }
    if (l->out.cap > KEEP_BYTES) {
        rt_mesh_bytes_free(&l->out);
    }
}

void rt_mesh_flush(struct rt_mesh_link *l)
{
    size_t left = FLUSH_BYTES;

    while (l->state != RT_MESH_CONNECT && l->state != RT_MESH_DEAD && !l->blocked &&
           !l->write_dead && !l->fin_sent) {
        ssize_t n;

        if (l->out.at == l->out.len && !fill(l)) {
            all_sent(l);
            return;
        }
        n = send(l->fd, l->out.p + l->out.at, l->out.len - l->out.at, MSG_NOSIGNAL);
        if (n < 0) {
            not_sent(l, errno);
            continue;
        }
        l->out.at += (size_t)n;
        l->bytes_out += (uint64_t)n;
        l->m->counts.bytes_out += (uint64_t)n;
        if ((size_t)n >= left) {
            not_sent(l, EAGAIN); /* the kernel will say at once that it is writable */
        } else {
            left -= (size_t)n;
        }
    }
}

static void do_flush(void *ctx)
{
    rt_mesh_flush(ctx);
}

void rt_mesh_flush_later(struct rt_mesh_link *l)
{
    if (!l->blocked && l->state != RT_MESH_DEAD) {
        rt_loop_defer(l->m->cfg.loop, &l->flush, do_flush, l);
    }
}
