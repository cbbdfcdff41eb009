/* SPDX-License-Identifier: Apache-2.0 */
#include "node/owner/mesh.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/owner/mesh_in.h"
#include "node/owner/sockaddr.h"

/* Connections that may wait to be accepted: a restarted node is dialled by all others at once. */
#define BACKLOG 512
/* Accepted per turn (fairness). */
#define ACCEPTS_MAX 32u
/* Accepting goes on after this when there was no descriptor left. */
#define ACCEPT_RETRY_MS 100u

const char *rt_mesh_bye_name(uint32_t code)
{
    static const char *const names[] = {"unknown", "leave",   "cluster", "self",     "target",
                                        "name",    "version", "proto",   "overflow", "replaced",
                                        "timeout", "key",     "over"};

    return names[code < sizeof names / sizeof names[0] ? code : 0];
}

/* ---- the table of links ---- */

/* Place of `id`, or where it would be. */
static uint32_t place_of(const struct rt_mesh *m, uint64_t id)
{
    uint32_t low = 0;
    uint32_t high = m->nup;

    while (low < high) {
        uint32_t mid = (low + high) / 2;

        if (m->up[mid]->id < id) {
            low = mid + 1;
        } else {
            high = mid;
        }
    }
    return low;
}

struct rt_mesh_link *rt_mesh_find(const struct rt_mesh *m, uint64_t id)
{
    uint32_t at = place_of(m, id);

    return at < m->nup && m->up[at]->id == id ? m->up[at] : NULL;
}

bool rt_mesh_table_add(struct rt_mesh *m, struct rt_mesh_link *l)
{
    uint32_t at = place_of(m, l->id);

    assert(rt_mesh_find(m, l->id) == NULL);
    if (m->nup == CL_NODES_MAX) {
        return false;
    }
    memmove(&m->up[at + 1], &m->up[at], (m->nup - at) * sizeof(struct rt_mesh_link *));
    m->up[at] = l;
    m->nup++;
    return true;
}

void rt_mesh_table_remove(struct rt_mesh *m, const struct rt_mesh_link *l)
{
    uint32_t at = place_of(m, l->id);

    assert(at < m->nup && m->up[at] == l);
    m->nup--;
    memmove(&m->up[at], &m->up[at + 1], (m->nup - at) * sizeof(struct rt_mesh_link *));
}

/* ---- work of later turns ---- */

void rt_mesh_kick(struct rt_mesh *m, uint64_t at_ms)
{
    uint64_t now = rt_now_ms(m->cfg.loop);

    if (at_ms < m->work_at_ms && !m->freeing) {
        m->work_at_ms = at_ms;
        rt_timer_set(&m->work, at_ms > now ? at_ms - now : 0);
    }
}

void rt_mesh_notify(struct rt_mesh *m)
{
    const struct rt_mesh_events *ev = m->cfg.ev;

    while (m->notices != NULL) {
        struct rt_mesh_link *l = m->notices;
        uint64_t id = l->was_up ? l->id : l->dial_id;

        m->notices = l->notice_next;
        if (m->notices == NULL) {
            m->notices_end = &m->notices;
        }
        if (l->bye != 0 && !(l->was_up && l->bye == PR_BYE_REPLACED)) {
            ev->refused(m->cfg.ctx, id, l->was_up ? &l->addr : &l->remote, l->bye,
                        pr_str(l->bye_text));
        }
        if (l->was_up) {
            ev->link_down(m->cfg.ctx, id, l->how, l->why);
        } else if (l->bye == 0) {
            ev->dial_failed(m->cfg.ctx, id, &l->remote, l->how, l->why);
        }
        rt_mesh_link_unpin(l);
    }
}

static void accept_on(struct rt_mesh *m);

static void on_work(void *ctx)
{
    struct rt_mesh *m = ctx;
    uint64_t next;

    m->work_at_ms = UINT64_MAX;
    rt_mesh_notify(m);
    rt_mesh_greet_settle(m);
    next = rt_mesh_dial_work(m);
    if (m->accept_at_ms != 0 && m->accept_at_ms <= rt_now_ms(m->cfg.loop)) {
        accept_on(m);
    } else if (m->accept_at_ms != 0 && m->accept_at_ms < next) {
        next = m->accept_at_ms;
    }
    if (next != UINT64_MAX) {
        rt_mesh_kick(m, next);
    }
}

/* ---- from outside ---- */

static bool is_stranger(const struct rt_mesh_link *l)
{
    return !l->dialled &&
           (l->state == RT_MESH_TLS || (l->state == RT_MESH_GREET && l->psk == NULL));
}

/* The oldest goes, not the newcomer: one who floods us with connections that say nothing would
 * otherwise hold all places for as long as HELLO may take. */
static void make_room(struct rt_mesh *m)
{
    struct rt_mesh_link *oldest = NULL;
    uint32_t n = 0;

    for (struct rt_mesh_link *l = m->first; l != NULL; l = l->next) {
        if (is_stranger(l)) {
            oldest = oldest == NULL ? l : oldest;
            n++;
        }
    }
    if (n >= RT_MESH_STRANGERS_MAX) {
        m->counts.refused_full++;
        rt_mesh_link_end(oldest, RT_MESH_CLOSED, "too many connections that have not shown a key");
    }
}

static void accept_off(struct rt_mesh *m, int errnum)
{
    (void)uv_poll_stop(&m->poll);
    m->accept_at_ms = rt_now_ms(m->cfg.loop) + ACCEPT_RETRY_MS;
    rt_mesh_kick(m, m->accept_at_ms);
    rt_log(m->cfg.log, RT_WARN, "mesh_accept_stopped", rt_kv_s("err", strerror(errnum)));
}

static void on_connection(uv_poll_t *handle, int status, int events)
{
    struct rt_mesh *m = handle->data;

    (void)events;
    if (status < 0) {
        accept_off(m, -status);
        return;
    }
    for (uint32_t i = 0; i < ACCEPTS_MAX; i++) {
        struct sockaddr_storage sa;
        socklen_t len = sizeof sa;
        struct pr_addr remote;
        int fd = accept4(m->fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd == -1) {
            if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
                accept_off(m, errno);
            }
            return;
        }
        m->counts.accepted++;
        make_room(m);
        if (m->nlinks >= RT_MESH_CONNS_MAX) {
            m->counts.refused_full++;
            (void)close(fd);
            continue;
        }
        (void)rt_sockaddr_read((const struct sockaddr *)&sa, &remote);
        (void)rt_mesh_link_new(m, fd, &remote, NULL);
    }
}

static void accept_on(struct rt_mesh *m)
{
    m->accept_at_ms = 0;
    if (uv_poll_start(&m->poll, UV_READABLE, on_connection) != 0) {
        abort();
    }
}

static int listen_at(struct rt_mesh *m, struct rt_error *err)
{
    static const int one = 1;
    static const int off = 0;
    struct sockaddr_storage sa;
    socklen_t len = rt_sockaddr_of(&m->cfg.listen, AF_UNSPEC, &sa);
    char text[PR_ADDR_TEXT_MAX];

    (void)pr_addr_format(&m->cfg.listen, text, sizeof text);
    if (len == 0) {
        return rt_error_set(err, RT_ECONFIG, "no address to listen at for links of the cluster");
    }
    m->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (m->fd == -1) {
        return rt_error_errno(err, errno, "socket for %s", text);
    }
    (void)setsockopt(m->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (sa.ss_family == AF_INET6) {
        /* IPv4 peers too, whatever net.ipv6.bindv6only says. */
        (void)setsockopt(m->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(m->fd, (const struct sockaddr *)&sa, len) == -1 || listen(m->fd, BACKLOG) == -1) {
        return rt_error_errno(err, errno, "cannot listen at %s for links of the cluster", text);
    }
    len = sizeof sa;
    if (getsockname(m->fd, (struct sockaddr *)&sa, &len) == -1) {
        return rt_error_errno(err, errno, "getsockname of %s", text);
    }
    (void)rt_sockaddr_read((const struct sockaddr *)&sa, &m->addr);
    return 0;
}

/* ---- the object ---- */

static uint64_t or_default(uint64_t ms, uint64_t other)
{
    return ms != 0 ? ms : other;
}

static void set_defaults(struct rt_mesh_config *cfg)
{
    struct rt_mesh_times *t = &cfg->times;

    t->hello_ms = or_default(t->hello_ms, RT_MESH_HELLO_MS);
    t->ping_ms = or_default(t->ping_ms, RT_MESH_PING_MS);
    t->silent_ms = or_default(t->silent_ms, RT_MESH_SILENT_MS);
    t->rival_ms = or_default(t->rival_ms, RT_MESH_RIVAL_MS);
    t->admit_ms = or_default(t->admit_ms, RT_MESH_ADMIT_MS);
    t->backoff_ms = or_default(t->backoff_ms, RT_MESH_BACKOFF_MS);
    t->backoff_max_ms = or_default(t->backoff_max_ms, RT_MESH_BACKOFF_MAX_MS);
    t->rekey_ms = or_default(t->rekey_ms, RT_MESH_REKEY_MS);
    cfg->proto_min = cfg->proto_min != 0 ? cfg->proto_min : PR_PROTO_MIN;
    cfg->proto_max = cfg->proto_max != 0 ? cfg->proto_max : PR_PROTO_MAX;
}

struct rt_mesh *rt_mesh_new(const struct rt_mesh_config *cfg, struct rt_error *err)
{
    struct rt_mesh *m;

    assert(cfg->id != 0);
    if (strlen(cfg->name) == 0 || strlen(cfg->name) > PR_ID_MAX || strlen(cfg->build) > PR_ID_MAX ||
        strlen(cfg->url) > RT_MESH_URL_MAX) {
        (void)rt_error_set(err, RT_ECONFIG,
                           "the node's name has 1 to %u bytes, its URL for clients at most %u",
                           PR_ID_MAX, RT_MESH_URL_MAX);
        return NULL;
    }
    m = rt_calloc(1, sizeof *m);
    m->cfg = *cfg;
    m->fd = -1;
    m->work_at_ms = UINT64_MAX;
    m->notices_end = &m->notices;
    set_defaults(&m->cfg);
    if (listen_at(m, err) != 0) {
        if (m->fd != -1) {
            (void)close(m->fd);
        }
        rt_free(m);
        return NULL;
    }
    if (m->cfg.advertise.family == PR_ADDR_NONE) {
        m->cfg.advertise = m->addr;
    }
    m->side = cfg->keys != NULL ? rt_psk_side_new(cfg->keys) : NULL;
    if (uv_poll_init(rt_loop_uv(cfg->loop), &m->poll, m->fd) != 0) {
        abort();
    }
    m->poll.data = m;
    rt_timer_init(cfg->loop, &m->work, on_work, m);
    m->handles = 2;
    accept_on(m);
    return m;
}

struct pr_addr rt_mesh_addr(const struct rt_mesh *m)
{
    return m->addr;
}

void rt_mesh_set_view(struct rt_mesh *m, uint64_t view_hash)
{
    m->view = view_hash;
}

void rt_mesh_set_epoch(struct rt_mesh *m, uint64_t epoch)
{
    struct rt_mesh_link *next;

    m->cfg.epoch = epoch;
    for (struct rt_mesh_link *l = m->first; l != NULL; l = next) {
        next = l->next;
        if (l->state == RT_MESH_UP) {
            rt_mesh_link_bye(l, PR_BYE_REPLACED, "this node has a new epoch", RT_MESH_CLOSED);
        } else if (l->dialled && rt_mesh_can_speak(l)) {
            rt_mesh_dial_again(l);
        }
    }
}

void rt_mesh_handle_closed(struct rt_mesh *m)
{
    assert(m->handles > 0);
    m->handles--;
    if (m->handles == 0 && m->freeing) {
        rt_psk_side_free(m->side);
        rt_free(m);
    }
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct rt_mesh *m = handle->data;

    (void)close(m->fd);
    rt_mesh_handle_closed(m);
}

static void on_work_closed(void *ctx)
{
    rt_mesh_handle_closed(ctx);
}

void rt_mesh_free(struct rt_mesh *m)
{
    if (m == NULL) {
        return;
    }
    m->freeing = true;
    while (m->notices != NULL) {
        struct rt_mesh_link *l = m->notices;

        m->notices = l->notice_next;
        rt_mesh_link_unpin(l);
    }
    while (m->first != NULL) {
        struct rt_mesh_link *l = m->first;

        l->quiet = true;
        rt_mesh_flush(l);
        if (l->state == RT_MESH_UP) {
            rt_mesh_link_bye(l, PR_BYE_LEAVE, "the process ends", RT_MESH_CLOSED);
            rt_mesh_flush(l);
        }
        rt_mesh_link_end(l, RT_MESH_CLOSED, "");
    }
    uv_close((uv_handle_t *)&m->poll, on_listener_closed);
    rt_timer_close(&m->work, on_work_closed);
}

/* ---- what the owner does with links ---- */

bool rt_mesh_is_up(const struct rt_mesh *m, uint64_t id)
{
    return rt_mesh_find(m, id) != NULL;
}

bool rt_mesh_send(struct rt_mesh *m, uint64_t id, struct pr_slice frames)
{
    struct rt_mesh_link *l = rt_mesh_find(m, id);

    return l != NULL && rt_mesh_push_frames(l, frames);
}

size_t rt_mesh_queued(const struct rt_mesh *m, uint64_t id, enum pr_class cls)
{
    const struct rt_mesh_link *l = rt_mesh_find(m, id);

    return l == NULL ? 0 : l->lanes.bytes[cls];
}

void rt_mesh_close(struct rt_mesh *m, uint64_t id, enum pr_bye_code code, const char *text)
{
    struct rt_mesh_link *next;

    assert(id != 0); /* the id of all who have not said theirs */
    rt_mesh_dial_forget(m, id);
    for (struct rt_mesh_link *l = m->first; l != NULL; l = next) {
        bool dial = l->target != NULL && l->dial_id == id;

        next = l->next;
        if (l->state != RT_MESH_LINGER && (l->id == id || dial)) {
            l->quiet = l->quiet || l->state != RT_MESH_UP;
            rt_mesh_flush(l); /* what was said before is heard before BYE */
            rt_mesh_link_bye(l, code, text, RT_MESH_CLOSED);
        }
    }
}

static struct rt_mesh_link_info info_of(const struct rt_mesh_link *l)
{
    return (struct rt_mesh_link_info){.peer = rt_mesh_peer_of(l),
                                      .dialled = l->dialled,
                                      .since_ms = l->since_ms,
                                      .heard_ms = l->heard_ms,
                                      .bytes_in = l->bytes_in,
                                      .bytes_out = l->bytes_out,
                                      .frames_in = l->frames_in,
                                      .frames_out = l->lanes.taken,
                                      .rtt_us = l->rtt_us,
                                      .lanes = &l->lanes,
                                      .key = l->psk == NULL ? "" : rt_psk_identity(l->psk)};
}

void rt_mesh_each(const struct rt_mesh *m, void (*fn)(void *ctx, const struct rt_mesh_link_info *l),
                  void *ctx)
{
    for (uint32_t i = 0; i < m->nup; i++) {
        struct rt_mesh_link_info info = info_of(m->up[i]);

        fn(ctx, &info);
    }
}

void rt_mesh_count_lanes(struct rt_mesh_counts *counts, const struct rt_lanes *lanes)
{
    for (uint32_t i = 0; i < RT_LANES_CLASSES; i++) {
        counts->lanes.dropped[i] += lanes->counts.dropped[i];
        counts->lanes.dropped_bytes[i] += lanes->counts.dropped_bytes[i];
    }
    counts->frames_out += lanes->taken;
}

struct rt_mesh_counts rt_mesh_counts(const struct rt_mesh *m)
{
    struct rt_mesh_counts counts = m->counts;

    for (const struct rt_mesh_link *l = m->first; l != NULL; l = l->next) {
        rt_mesh_count_lanes(&counts, &l->lanes);
    }
    return counts;
}
