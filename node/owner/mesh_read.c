/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "node/owner/mesh_in.h"

/* What `in` may keep while it is empty. */
#define KEEP_BYTES 131072u

static void malformed(struct rt_mesh_link *l, const char *why)
{
    l->m->counts.malformed++;
    rt_mesh_link_bye(l, PR_BYE_PROTO, why, RT_MESH_PROTO);
}

/* Token 0 is ours; all others belong to membership. True: done with. */
static bool is_keepalive(struct rt_mesh_link *l, const struct pr_frame *f)
{
    uint8_t space[32];
    struct pr_outbuf o = pr_outbuf(space, sizeof space);
    struct pr_ping ping;
    bool pong = f->type == PR_T_PONG;

    if ((pong ? pr_pong_decode(f, &ping) : pr_ping_decode(f, &ping)) != PR_OK) {
        malformed(l, pong ? "PONG cannot be read" : "PING cannot be read");
        return true;
    }
    if (ping.token != 0) {
        return false;
    }
    if (!pong) {
        pr_pong_encode(&o, &ping);
        (void)rt_mesh_push(l, &o);
    } else if (l->pings > 0) {
        l->pings--;
        if (l->pings == 0) {
            l->rtt_us = rt_now_us() - l->ping_us;
            rt_mesh_greet_answered(l);
        }
    }
    return true;
}

static void take_bye(struct rt_mesh_link *l, const struct pr_frame *f)
{
    struct pr_bye bye;
    char why[RT_MESH_WHY_MAX];

    if (pr_bye_decode(f, &bye) != PR_OK) {
        malformed(l, "BYE cannot be read");
        return;
    }
    l->bye = bye.code;
    if (bye.text.n > 0) {
        memcpy(l->bye_text, bye.text.p, bye.text.n);
    }
    (void)snprintf(why, sizeof why, "it said BYE (%s %u): %s", rt_mesh_bye_name(bye.code), bye.code,
                   l->bye_text);
    rt_mesh_link_end(l, RT_MESH_EOF, why);
}

static void take_up_frame(struct rt_mesh_link *l, const struct pr_frame *f)
{
    if ((f->type == PR_T_PING || f->type == PR_T_PONG) && is_keepalive(l, f)) {
        return;
    }
    if (f->type == PR_T_HELLO || f->type == PR_T_HELLO_OK || f->type == PR_T_NODE_HELLO ||
        f->type == PR_T_NODE_HELLO_OK) {
        malformed(l, "a HELLO on a link that is up");
        return;
    }
    l->m->cfg.ev->frame(l->m->cfg.ctx, l->id, f);
}

static void take_frame(struct rt_mesh_link *l, const struct pr_frame *f)
{
    l->frames_in++;
    l->m->counts.frames_in++;
    if (f->type == PR_T_BYE) {
        take_bye(l, f);
    } else if (l->state == RT_MESH_UP) {
        take_up_frame(l, f);
    } else {
        rt_mesh_greet_frame(l, f);
    }
}

/* Before the link is up nobody may make us keep more than one HELLO. */
static bool is_too_long(const struct rt_mesh_link *l, struct pr_slice in)
{
    struct pr_cursor c = pr_cursor(in);

    return l->state != RT_MESH_UP && in.n >= 4 && pr_get_u32be(&c) > RT_MESH_HELLO_MAX;
}

/* Hands out whole frames; returns the bytes done with. */
static size_t take_frames(struct rt_mesh_link *l, struct pr_slice in)
{
    size_t at = 0;

    while (rt_mesh_can_hear(l)) {
        struct pr_slice rest = pr_bytes(in.p + at, in.n - at);
        struct pr_frame f;
        long n = pr_frame_next(rest, &f);

        if (n < 0 || is_too_long(l, rest)) {
            malformed(l, n < 0 ? "not a frame, or one over the bound"
                               : "the first frame is too long for a HELLO");
            break;
        }
        if (n == 0) {
            break;
        }
        at += (size_t)n;
        take_frame(l, &f);
    }
    return at;
}

/* Text from the peer. What is no whole frame yet is kept. */
static void take_text(struct rt_mesh_link *l, const uint8_t *p, size_t n)
{
    if (l->in.len == l->in.at) {
        size_t done = take_frames(l, pr_bytes(p, n));

        l->in.at = 0;
        l->in.len = 0;
        if (rt_mesh_can_speak(l)) {
            rt_mesh_bytes_put(&l->in, p + done, n - done);
        }
        return;
    }
    rt_mesh_bytes_put(&l->in, p, n);
    l->in.at += take_frames(l, pr_bytes(l->in.p + l->in.at, l->in.len - l->in.at));
    if (l->in.at == l->in.len && l->in.cap > KEEP_BYTES) {
        rt_mesh_bytes_free(&l->in);
    }
}

static void secured(struct rt_mesh_link *l)
{
    l->state = RT_MESH_GREET;
    if (l->dialled) {
        rt_mesh_greet_hello(l);
    }
}

static void go_on_handshake(struct rt_mesh_link *l)
{
    int r = rt_psk_handshake(l->psk);

    if (r < 0) {
        l->m->counts.refused_key++;
        rt_mesh_flush(l); /* the alert; a dead connection is ended already */
        rt_mesh_link_end(l, RT_MESH_PROTO, rt_psk_why(l->psk));
    } else if (r == 1) {
        secured(l);
    }
    rt_mesh_flush_later(l);
}

static void take_records(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    ssize_t n = 1;

    while (rt_mesh_can_hear(l) && n > 0) {
        size_t have = 0;

        while (have < sizeof m->text && n > 0) {
            n = rt_psk_read(l->psk, m->text + have, sizeof m->text - have);
            have += n > 0 ? (size_t)n : 0;
        }
        take_text(l, m->text, have);
    }
    if (n < 0 && l->state != RT_MESH_DEAD) {
        rt_mesh_link_end(l, RT_MESH_PROTO, rt_psk_why(l->psk));
    }
}

static void take_tls(struct rt_mesh_link *l, struct pr_slice in)
{
    rt_psk_feed(l->psk, in);
    if (l->state == RT_MESH_TLS) {
        go_on_handshake(l);
    }
    take_records(l);
}

void rt_mesh_read_on(struct rt_mesh_link *l)
{
    rt_mesh_link_watch(l);
    if (l->in.at < l->in.len) {
        l->in.at += take_frames(l, pr_bytes(l->in.p + l->in.at, l->in.len - l->in.at));
    }
    if (l->psk != NULL) {
        take_records(l);
    }
}

enum rt_mesh_how rt_mesh_how_of(const struct rt_mesh_link *l, int errnum)
{
    if (errnum == ETIMEDOUT) {
        return RT_MESH_TIMEOUT;
    }
    return l->state == RT_MESH_CONNECT ? RT_MESH_REFUSED : RT_MESH_EOF;
}

bool rt_mesh_read(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    ssize_t n = recv(l->fd, m->wire, sizeof m->wire, MSG_DONTWAIT);

    if (n == 0) {
        rt_mesh_link_end(l, RT_MESH_EOF, "closed by the peer");
        return false;
    }
    if (n < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            rt_mesh_link_end(l, rt_mesh_how_of(l, errno), strerror(errno));
        }
        return false;
    }
    l->bytes_in += (uint64_t)n;
    m->counts.bytes_in += (uint64_t)n;
    l->heard_ms = rt_now_ms(m->cfg.loop);
    if (l->state == RT_MESH_LINGER) {
        return true; /* thrown away */
    }
    if (l->psk == NULL) {
        take_text(l, m->wire, (size_t)n);
    } else {
        take_tls(l, pr_bytes(m->wire, (size_t)n));
    }
    return l->state != RT_MESH_DEAD;
}

void rt_mesh_begin(struct rt_mesh_link *l)
{
    l->state = RT_MESH_TLS;
    if (l->psk == NULL) {
        secured(l);
    } else {
        go_on_handshake(l);
    }
    rt_mesh_link_watch(l);
}
