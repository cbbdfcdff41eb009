/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/owner/mesh_in.h"

/* A peer that takes nothing for this long is gone: its kernel does not acknowledge, or its window
 * stays closed because its process does not read (Linux 6.18: seen to end after 10.7 s). */
#define USER_TIMEOUT_MS 10000
/* Unsent bytes the kernel may hold: beyond, the lanes decide what goes next. */
#define NOTSENT_BYTES 131072
void rt_mesh_link_text(const struct rt_mesh_link *l, char out[PR_ADDR_TEXT_MAX])
{
    (void)pr_addr_format(&l->remote, out, PR_ADDR_TEXT_MAX);
}

/* ---- the end ---- */

void rt_mesh_link_unpin(struct rt_mesh_link *l)
{
    assert(l->pins > 0);
    l->pins--;
    if (l->pins > 0) {
        return;
    }
    rt_psk_free(l->psk);
    rt_mesh_bytes_free(&l->in);
    rt_mesh_bytes_free(&l->out);
    rt_lanes_free(&l->lanes);
    rt_free(l->name);
    rt_free(l->build);
    rt_free(l->url);
    rt_free(l);
}

static void handle_gone(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;

    rt_mesh_link_unpin(l);
    rt_mesh_handle_closed(m);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct rt_mesh_link *l = handle->data;

    (void)close(l->fd);
    handle_gone(l);
}

static void on_timer_closed(void *ctx)
{
    handle_gone(ctx);
}

/* A seed that is ourselves or is linked already, and a peer that leaves, or knows that we do, are
 * no news. */
static bool is_trouble(const struct rt_mesh_link *l)
{
    if (l->bye != 0) {
        return l->bye != PR_BYE_SELF && l->bye != PR_BYE_REPLACED && l->bye != PR_BYE_LEAVE &&
               l->bye != PR_BYE_OVER;
    }
    return l->how == RT_MESH_PROTO || (l->was_up && l->how == RT_MESH_TIMEOUT);
}

static void log_end(const struct rt_mesh_link *l)
{
    struct rt_log *log = l->m->cfg.log;
    enum rt_log_level level = is_trouble(l) ? RT_WARN : l->was_up ? RT_INFO : RT_DEBUG;
    char addr[PR_ADDR_TEXT_MAX];

    rt_mesh_link_text(l, addr);
    if (l->was_up) {
        rt_log(log, level, "mesh_link_down", rt_kv_s("peer", l->name), rt_kv_s("addr", addr),
               rt_kv_s("err", l->why));
    } else if (l->dialled) {
        rt_log(log, level, "mesh_dial_failed", rt_kv_x("id", l->dial_id), rt_kv_s("addr", addr),
               rt_kv_s("err", l->why));
    } else {
        rt_log(log, level, "mesh_refused", rt_kv_s("addr", addr), rt_kv_s("err", l->why));
    }
}

/* It is no link and no dial from now on; who has to hear that hears it from the work timer. */
static void retire(struct rt_mesh_link *l, enum rt_mesh_how how, const char *why)
{
    struct rt_mesh *m = l->m;

    if (l->told) {
        return;
    }
    l->told = true;
    l->how = how;
    l->was_up = l->state == RT_MESH_UP;
    (void)snprintf(l->why, sizeof l->why, "%s", why);
    if (l->was_up) {
        m->counts.down++;
        rt_mesh_table_remove(m, l);
        rt_mesh_dial_lost(m, l, rt_now_ms(m->cfg.loop) - l->since_ms);
    } else if (l->dialled) {
        m->counts.dial_failed++;
        rt_mesh_dial_done(l, false);
    }
    m->nheld -= l->state == RT_MESH_HELD;
    if (!l->quiet) {
        log_end(l);
    }
    if (!l->quiet && (l->was_up || l->dialled)) {
        l->pins++;
        *m->notices_end = l;
        m->notices_end = &l->notice_next;
    }
    rt_mesh_kick(m, 0); /* also for those held until this one goes */
}

static void close_now(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;

    l->state = RT_MESH_DEAD;
    rt_mesh_count_lanes(&m->counts, &l->lanes);
    if (l->prev != NULL) {
        l->prev->next = l->next;
    } else {
        m->first = l->next;
    }
    if (l->next != NULL) {
        l->next->prev = l->prev;
    } else {
        m->last = l->prev;
    }
    m->nlinks--;
    rt_loop_undefer(m->cfg.loop, &l->flush);
    uv_close((uv_handle_t *)&l->poll, on_poll_closed);
    rt_timer_close(&l->timer, on_timer_closed);
}

void rt_mesh_link_end(struct rt_mesh_link *l, enum rt_mesh_how how, const char *why)
{
    if (l->state != RT_MESH_DEAD) {
        retire(l, how, why);
        close_now(l);
    }
}

bool rt_mesh_can_speak(const struct rt_mesh_link *l)
{
    return l->state == RT_MESH_GREET || l->state == RT_MESH_ASKED || l->state == RT_MESH_HELD ||
           l->state == RT_MESH_UP;
}

bool rt_mesh_can_hear(const struct rt_mesh_link *l)
{
    return rt_mesh_can_speak(l) && !(l->dialled && l->state == RT_MESH_ASKED);
}

void rt_mesh_link_bye(struct rt_mesh_link *l, enum pr_bye_code code, const char *text,
                      enum rt_mesh_how how)
{
    uint8_t space[PR_FRAME_HEAD + PR_ID_MAX + 16];
    struct pr_outbuf o = pr_outbuf(space, sizeof space);
    struct pr_bye bye = {.code = code, .text = pr_str(text)};

    if (!rt_mesh_can_speak(l) || l->write_dead) {
        rt_mesh_link_end(l, how, text);
        return;
    }
    if (bye.text.n > PR_ID_MAX) {
        bye.text.n = PR_ID_MAX;
    }
    retire(l, how, text);
    l->state = RT_MESH_LINGER;
    rt_lanes_clear(&l->lanes);
    pr_bye_encode(&o, &bye);
    (void)rt_mesh_push(l, &o); /* empty lanes take it */
    rt_mesh_link_watch(l);     /* reading may have been put off */
    rt_timer_set(&l->timer, RT_MESH_LINGER_MS);
}

void rt_mesh_link_drop(struct rt_mesh_link *l)
{
    l->quiet = true;
    rt_mesh_link_bye(l, PR_BYE_REPLACED, "another link of these two nodes takes its place",
                     RT_MESH_CLOSED);
}

static void connected(struct rt_mesh_link *l)
{
    int error = 0;
    socklen_t len = sizeof error;

    if (getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &error, &len) == -1) {
        error = errno;
    }
    if (error != 0) {
        rt_mesh_link_end(l, rt_mesh_how_of(l, error), strerror(error));
        return;
    }
    rt_mesh_begin(l);
}

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct rt_mesh_link *l = handle->data;

    if (l->state == RT_MESH_CONNECT) {
        connected(l);
        return;
    }
    if (status < 0) {
        /* Reset with bytes unread: they were sent before, and may hold a BYE. */
        while (l->state != RT_MESH_DEAD && rt_mesh_read(l)) {
        }
        rt_mesh_link_end(l, RT_MESH_EOF, uv_strerror(status));
        return;
    }
    if ((events & UV_WRITABLE) != 0) {
        l->blocked = false;
        rt_mesh_link_watch(l);
        rt_mesh_flush(l);
    }
    if (l->state != RT_MESH_DEAD && (events & UV_READABLE) != 0) {
        (void)rt_mesh_read(l);
    }
}

void rt_mesh_link_watch(struct rt_mesh_link *l)
{
    bool put_off = l->dialled && l->state == RT_MESH_ASKED;
    int events = (put_off ? 0 : UV_READABLE) | (l->blocked ? UV_WRITABLE : 0);

    if (l->state == RT_MESH_DEAD) {
        return;
    }
    if (l->state == RT_MESH_CONNECT) {
        events = UV_WRITABLE;
    }
    if (uv_poll_start(&l->poll, events, on_poll) != 0) {
        abort();
    }
}

/* ---- the clock ---- */

void rt_mesh_link_ping(struct rt_mesh_link *l)
{
    uint8_t space[32];
    struct pr_outbuf o = pr_outbuf(space, sizeof space);
    const struct pr_ping ping = {.token = 0};

    pr_ping_encode(&o, &ping);
    l->pinged_ms = rt_now_ms(l->m->cfg.loop);
    l->ping_us = rt_now_us();
    l->pings++;
    (void)rt_mesh_push(l, &o);
}

/* A key that was taken out of the ring holds no link for ever: what it opened ends within
 * rekey_ms, not all at once, and comes up again with a key of the ring. True: it was ended. */
static bool is_key_gone(struct rt_mesh_link *l, uint64_t now)
{
    const struct rt_mesh_config *cfg = &l->m->cfg;
    uint32_t chance;

    if (l->psk == NULL || rt_keyring_by_id(cfg->keys, rt_psk_key_id(l->psk)) != NULL) {
        l->rekey_at_ms = 0;
        return false;
    }
    if (l->rekey_at_ms == 0) {
        rt_random(&chance, sizeof chance);
        l->rekey_at_ms = now + cfg->times.rekey_ms / 2 + chance % (cfg->times.rekey_ms / 2 + 1);
    }
    if (now < l->rekey_at_ms) {
        return false;
    }
    rt_mesh_link_bye(l, PR_BYE_KEY, "the key of this link was taken out of the ring",
                     RT_MESH_CLOSED);
    return true;
}

/* Sets the timer to the next thing that is due on a link that is up. */
static void tick(struct rt_mesh_link *l)
{
    const struct rt_mesh_times *t = &l->m->cfg.times;
    uint64_t now = rt_now_ms(l->m->cfg.loop);
    uint64_t next;

    if (now - l->heard_ms >= t->silent_ms) {
        l->m->counts.silent++;
        rt_mesh_link_bye(l, PR_BYE_TIMEOUT, "nothing was heard for too long", RT_MESH_TIMEOUT);
        return;
    }
    if (is_key_gone(l, now)) {
        return;
    }
    if (now - l->pinged_ms >= t->ping_ms) {
        rt_mesh_link_ping(l);
    }
    if (l->state != RT_MESH_UP) {
        return; /* its lanes were full */
    }
    next = l->pinged_ms + t->ping_ms;
    if (next > l->heard_ms + t->silent_ms) {
        next = l->heard_ms + t->silent_ms;
    }
    rt_timer_set(&l->timer, next > now ? next - now : 1);
}

static void on_timer(void *ctx)
{
    struct rt_mesh_link *l = ctx;

    switch (l->state) {
    case RT_MESH_CONNECT:
    case RT_MESH_TLS:
    case RT_MESH_GREET:
        l->m->counts.hello_timeout++;
        rt_mesh_link_end(l, RT_MESH_TIMEOUT,
                         l->state == RT_MESH_CONNECT ? "no connection in time"
                                                     : "no HELLO in time");
        break;
    case RT_MESH_ASKED:
        rt_mesh_greet_ask(l);
        break;
    case RT_MESH_HELD:
        rt_mesh_greet_overdue(l);
        break;
    case RT_MESH_UP:
        tick(l);
        break;
    case RT_MESH_LINGER:
        rt_mesh_link_end(l, RT_MESH_CLOSED, "");
        break;
    case RT_MESH_DEAD:
        break;
    }
}

void rt_mesh_link_up(struct rt_mesh_link *l)
{
    l->state = RT_MESH_UP;
    l->since_ms = rt_now_ms(l->m->cfg.loop);
    rt_mesh_link_ping(l);
    if (l->state == RT_MESH_UP) {
        tick(l);
    }
}

/* ---- the start ---- */

static void set_options(int fd)
{
    static const int one = 1;
    static const unsigned user_timeout_ms = USER_TIMEOUT_MS;
    static const int notsent = NOTSENT_BYTES;

    /* A kernel that lacks one of them is slower to send or to give up; nothing depends on it. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout_ms, sizeof user_timeout_ms);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &notsent, sizeof notsent);
}

static void append(struct rt_mesh *m, struct rt_mesh_link *l)
{
    l->prev = m->last;
    if (m->last != NULL) {
        m->last->next = l;
    } else {
        m->first = l;
    }
    m->last = l;
    m->nlinks++;
}

struct rt_mesh_link *rt_mesh_link_new(struct rt_mesh *m, int fd, const struct pr_addr *remote,
                                      struct rt_mesh_target *target)
{
    struct rt_mesh_link *l = rt_calloc(1, sizeof *l);

    l->m = m;
    l->fd = fd;
    l->remote = *remote;
    l->dialled = target != NULL;
    l->target = target;
    l->dial_id = target != NULL ? target->id : 0;
    l->state = RT_MESH_CONNECT;
    l->name = rt_strdup("");
    l->build = rt_strdup("");
    l->url = rt_strdup("");
    l->began_ms = rt_now_ms(m->cfg.loop);
    l->heard_ms = l->began_ms;
    l->psk = m->side != NULL ? rt_psk_new(m->side, l->dialled) : NULL;
    set_options(fd);
    if (uv_poll_init(rt_loop_uv(m->cfg.loop), &l->poll, fd) != 0) {
        abort();
    }
    l->poll.data = l;
    rt_timer_init(m->cfg.loop, &l->timer, on_timer, l);
    rt_timer_set(&l->timer, m->cfg.times.hello_ms);
    l->pins = 2;
    m->handles += 2;
    append(m, l);
    if (l->dialled) {
        rt_mesh_link_watch(l);
    } else {
        rt_mesh_begin(l);
    }
    return l;
}
