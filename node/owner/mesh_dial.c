/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/owner/mesh_in.h"
#include "node/owner/sockaddr.h"

static bool is_target(const struct rt_mesh_target *t, uint64_t id, const struct pr_addr *addr)
{
    return t->used && t->id == id && (id != 0 || pr_addr_eq(&t->addr, addr));
}

static struct rt_mesh_target *find(struct rt_mesh *m, uint64_t id, const struct pr_addr *addr)
{
    for (uint32_t i = 0; i < RT_MESH_TARGETS_MAX; i++) {
        if (is_target(&m->target[i], id, addr)) {
            return &m->target[i];
        }
    }
    return NULL;
}

/* A new one, in the place of the one that was not touched for longest; NULL: all are at work. */
static struct rt_mesh_target *make(struct rt_mesh *m, uint64_t id, const struct pr_addr *addr)
{
    struct rt_mesh_target *best = NULL;

    for (uint32_t i = 0; i < RT_MESH_TARGETS_MAX; i++) {
        struct rt_mesh_target *t = &m->target[i];

        if (!t->used) {
            best = t;
            break;
        }
        if (t->link == NULL && !t->wanted && (best == NULL || t->touched_ms < best->touched_ms)) {
            best = t;
        }
    }
    if (best != NULL) {
        *best = (struct rt_mesh_target){.used = true, .id = id, .addr = *addr};
    }
    return best;
}

static struct rt_mesh_target *find_or_make(struct rt_mesh *m, uint64_t id,
                                           const struct pr_addr *addr)
{
    struct rt_mesh_target *t = find(m, id, addr);

    if (t == NULL) {
        t = make(m, id, addr);
    }
    if (t != NULL) {
        t->touched_ms = rt_now_ms(m->cfg.loop);
    }
    return t;
}

/* The pause before the next attempt: base * 2^fails, at most max, +-50 %, so that two ends do not
 * meet each other in the middle for ever. */
static void back_off(const struct rt_mesh *m, struct rt_mesh_target *t)
{
    const struct rt_mesh_times *times = &m->cfg.times;
    uint64_t pause = times->backoff_ms;
    uint32_t chance;

    for (uint32_t i = 0; i < t->fails && pause < times->backoff_max_ms; i++) {
        pause *= 2;
    }
    if (pause > times->backoff_max_ms) {
        pause = times->backoff_max_ms;
    }
    rt_random(&chance, sizeof chance);
    t->not_before_ms = rt_now_ms(m->cfg.loop) + pause / 2 + chance % (pause + 1);
}

static void failed(const struct rt_mesh *m, struct rt_mesh_target *t)
{
    back_off(m, t);
    t->fails += t->fails < 32;
}

void rt_mesh_dial_done(struct rt_mesh_link *l, bool up)
{
    struct rt_mesh_target *t = l->target;

    if (t == NULL) {
        return;
    }
    l->target = NULL;
    t->link = NULL;
    if (!up && !l->quiet) {
        failed(l->m, t);
    }
}

void rt_mesh_dial_again(struct rt_mesh_link *l)
{
    struct rt_mesh *m = l->m;
    struct rt_mesh_target *t = l->target;

    rt_mesh_link_drop(l);
    if (t != NULL) {
        t->wanted = true;
        rt_mesh_kick(m, t->not_before_ms);
    }
}

void rt_mesh_dial_lost(struct rt_mesh *m, const struct rt_mesh_link *l, uint64_t lived_ms)
{
    struct rt_mesh_target *t = find_or_make(m, l->id, &l->addr);

    if (t == NULL) {
        return;
    }
    /* A link that ends as soon as it is up is as good as none. */
    if (lived_ms >= m->cfg.times.backoff_max_ms) {
        t->fails = 0;
    }
    failed(m, t);
}

struct rt_mesh_link *rt_mesh_dial_of(struct rt_mesh *m, uint64_t id, const struct pr_addr *addr)
{
    const struct rt_mesh_target *known = find(m, id, addr);
    const struct rt_mesh_target *seed = find(m, 0, addr);

    if (known != NULL && known->link != NULL) {
        return known->link;
    }
    return seed == NULL ? NULL : seed->link;
}

void rt_mesh_dial_forget(struct rt_mesh *m, uint64_t id)
{
    for (uint32_t i = 0; i < RT_MESH_TARGETS_MAX; i++) {
        if (m->target[i].used && m->target[i].id == id) {
            m->target[i].wanted = false;
        }
    }
}

void rt_mesh_dial(struct rt_mesh *m, uint64_t id, const struct pr_addr *addr)
{
    struct rt_mesh_target *t;

    if (id == m->cfg.id || (id != 0 && rt_mesh_is_up(m, id))) {
        return;
    }
    t = find_or_make(m, id, addr);
    if (t == NULL || t->link != NULL) {
        return;
    }
    t->addr = *addr;
    t->wanted = true;
    rt_mesh_kick(m, t->not_before_ms);
}

/* A descriptor that connects; -1 with errno set. */
static int connect_to(const struct pr_addr *addr)
{
    struct sockaddr_storage sa;
    socklen_t len = rt_sockaddr_of(addr, AF_UNSPEC, &sa);
    int fd, saved;

    if (len == 0) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return -1;
    }
    if (connect(fd, (const struct sockaddr *)&sa, len) == -1 && errno != EINPROGRESS) {
        saved = errno;
        (void)close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static void start(struct rt_mesh *m, struct rt_mesh_target *t)
{
    struct pr_addr addr = t->addr;
    uint64_t id = t->id;
    int fd;

    m->counts.dialed++;
    if (m->nlinks >= RT_MESH_CONNS_MAX) {
        fd = -1;
        errno = EMFILE;
    } else {
        fd = connect_to(&addr);
    }
    if (fd != -1) {
        t->link = rt_mesh_link_new(m, fd, &addr, t);
        return;
    }
    m->counts.dial_failed++;
    failed(m, t);
    m->cfg.ev->dial_failed(m->cfg.ctx, id, &addr, RT_MESH_REFUSED, strerror(errno));
}

uint64_t rt_mesh_dial_work(struct rt_mesh *m)
{
    uint64_t now = rt_now_ms(m->cfg.loop);
    uint64_t next = UINT64_MAX;

    for (uint32_t i = 0; i < RT_MESH_TARGETS_MAX; i++) {
        struct rt_mesh_target *t = &m->target[i];

        if (!t->used || !t->wanted) {
            continue;
        }
        if (t->not_before_ms > now) {
            next = t->not_before_ms < next ? t->not_before_ms : next;
            continue;
        }
        t->wanted = false;
        if (t->id == 0 || !rt_mesh_is_up(m, t->id)) {
            start(m, t);
        }
    }
    return next;
}
