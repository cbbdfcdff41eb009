/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mesh_world.h - nodes' ends of links in one loop on loopback, and raw connections to them.
 *
 * What a node was told is a text: "up 2;", "down 2 eof;", "fail 2 refused;", "bye 2 name;". Frames
 * are counted apart. Nobody sleeps: run_until turns the loop until something is so.
 */
#ifndef TESTS_MESH_WORLD_H
#define TESTS_MESH_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/owner/mesh_in.h"
#include "node/owner/sockaddr.h"

/* Ends a test that hangs; nothing waits for it otherwise. */
#define DEADLINE_MS 30000u
#define NODES_MAX   6u
#define CLUSTER     0xc1u
#define RAWS_MAX    300u
#define STORY_MAX   16384u

/* Keys of 32 bytes in base64: random, made for these tests. */
#define KEY_OLD   "q83vASNFZ4mrze8BI0VniavN7wEjRWeJq83vASNFZ4k="
#define KEY_NEW   "EjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJCrze8="
#define KEY_OTHER "/ty6mHZUMhD+3LqYdlQyEP7cuph2VDIQ/ty6mHZUMhA="

struct world;

struct node {
    struct world *w;
    struct rt_mesh *m;
    struct rt_keyring *keys;
    struct rt_mesh_config cfg;
    char name[16];
    char story[STORY_MAX];
    uint64_t frames, bytes; /* taken */
    uint64_t last_tag;      /* of the last EVENT or PUB: its oseq */
    uint64_t holes;         /* between tags */
    uint8_t last_type;
    char last_text[PR_ID_MAX + 1]; /* of the last BYE, or of the last failure */
    struct rt_mesh_peer last_peer; /* slices are not valid any more */
    char last_name[PR_ID_MAX + 1], last_url[64];
    const char *on_up;                      /* said in link_up: a PUB with this payload */
    uint64_t close_on_frame, close_on_down; /* closes that link inside the callback */
    uint32_t asks, laters, verdict;         /* admit: LATER so often, then this */
    bool close_on_admit;
};

/* A connection that is no node: bytes by hand. */
struct raw {
    struct world *w;
    uv_poll_t poll;
    int fd;
    bool open, eof, reading;
    uint8_t *in;
    size_t in_len, in_cap;
    void (*on_bytes)(struct raw *r); /* NULL: only kept */
    void *ctx;
};

struct world {
    struct rt_loop *loop;
    struct rt_log *log;
    struct rt_timer deadline;
    struct node node[NODES_MAX];
    struct raw raw[RAWS_MAX];
    uint32_t nraw;
};

/* Goes on with the node's story. */
static inline void tell(struct node *n, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline void tell(struct node *n, const char *fmt, ...)
{
    size_t len = strlen(n->story);
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(n->story + len, sizeof n->story - len, fmt, ap);
    va_end(ap);
    assert_true(strlen(n->story) < sizeof n->story - 1);
    uv_stop(rt_loop_uv(n->w->loop)); /* told by a timer: not to wait for the next event first */
}

static inline const char *how_name(enum rt_mesh_how how)
{
    static const char *const names[] = {"?", "eof", "refused", "timeout", "proto", "closed"};

    return names[how];
}

/* A PUB whose oseq is `tag`; gives the length. */
static inline size_t make_pub(uint8_t *p, size_t cap, uint64_t tag, size_t payload)
{
    struct pr_outbuf o = pr_outbuf(p, cap);
    uint8_t *bytes = rt_calloc(1, payload + 1);
    const struct pr_pub pub = {.part = 1,
                               .topic = pr_bytes("p\0"
                                                 "0room",
                                                 7),
                               .boot = 7,
                               .oseq = tag,
                               .payload = pr_bytes(bytes, payload)};

    pr_pub_encode(&o, &pub);
    rt_free(bytes);
    assert_true(pr_out_ok(&o));
    return o.len;
}

static inline size_t make_event(uint8_t *p, size_t cap, uint64_t tag, size_t payload)
{
    struct pr_outbuf o = pr_outbuf(p, cap);
    uint8_t *bytes = rt_calloc(1, payload + 1);
    const struct pr_event event = {.topic = pr_bytes("p\0"
                                                     "0room",
                                                     7),
                                   .seq = tag,
                                   .oseq = tag,
                                   .payload = pr_bytes(bytes, payload)};

    pr_event_encode(&o, &event);
    rt_free(bytes);
    assert_true(pr_out_ok(&o));
    return o.len;
}

static inline void on_link_up(void *ctx, const struct rt_mesh_peer *peer)
{
    struct node *n = ctx;

    tell(n, "up %llu;", (unsigned long long)peer->id);
    n->last_peer = *peer;
    (void)snprintf(n->last_name, sizeof n->last_name, "%.*s", (int)peer->name.n,
                   (const char *)peer->name.p);
    (void)snprintf(n->last_url, sizeof n->last_url, "%.*s", (int)peer->url.n,
                   (const char *)peer->url.p);
    if (n->on_up != NULL) {
        uint8_t p[256];

        assert_true(
            rt_mesh_send(n->m, peer->id, pr_bytes(p, make_pub(p, sizeof p, 1, strlen(n->on_up)))));
    }
}

static inline void on_link_down(void *ctx, uint64_t id, enum rt_mesh_how how, const char *why)
{
    struct node *n = ctx;

    tell(n, "down %llu %s;", (unsigned long long)id, how_name(how));
    (void)snprintf(n->last_text, sizeof n->last_text, "%s", why);
    assert_false(rt_mesh_is_up(n->m, id));
    if (n->close_on_down != 0) {
        rt_mesh_close(n->m, n->close_on_down, PR_BYE_LEAVE, "enough");
    }
}

static inline void on_frame(void *ctx, uint64_t id, const struct pr_frame *f)
{
    struct node *n = ctx;
    struct pr_pub pub;
    struct pr_event event;

    n->frames++;
    n->bytes += f->whole.n;
    n->last_type = f->type;
    if (f->type == PR_T_PUB && pr_pub_decode(f, &pub) == PR_OK) {
        n->holes += pub.oseq != n->last_tag + 1;
        n->last_tag = pub.oseq;
    }
    if (f->type == PR_T_EVENT && pr_event_decode(f, &event) == PR_OK) {
        assert_true(event.oseq > n->last_tag);
        n->holes += event.oseq != n->last_tag + 1;
        n->last_tag = event.oseq;
    }
    if (n->close_on_frame != 0) {
        rt_mesh_close(n->m, n->close_on_frame, PR_BYE_LEAVE, "enough");
    }
    (void)id;
}

static inline void on_dial_failed(void *ctx, uint64_t id, const struct pr_addr *addr,
                                  enum rt_mesh_how how, const char *why)
{
    struct node *n = ctx;

    (void)addr;
    tell(n, "fail %llu %s;", (unsigned long long)id, how_name(how));
    (void)snprintf(n->last_text, sizeof n->last_text, "%s", why);
}

static inline void on_refused(void *ctx, uint64_t id, const struct pr_addr *addr, uint32_t code,
                              struct pr_slice text)
{
    struct node *n = ctx;

    (void)addr;
    tell(n, "bye %llu %s;", (unsigned long long)id, rt_mesh_bye_name(code));
    (void)snprintf(n->last_text, sizeof n->last_text, "%.*s", (int)text.n, (const char *)text.p);
}

static const struct rt_mesh_events mesh_events = {.link_up = on_link_up,
                                                  .link_down = on_link_down,
                                                  .frame = on_frame,
                                                  .dial_failed = on_dial_failed,
                                                  .refused = on_refused};

static inline struct pr_addr loopback(uint16_t port)
{
    return (struct pr_addr){.family = PR_ADDR_V4, .port = port, .ip = {127, 0, 0, 1}};
}

/* What a node is made of before `start`; a test changes what it is about. id = index + 1. */
static inline struct node *prepare(struct world *w, uint32_t index, const char *keys)
{
    struct node *n = &w->node[index];
    struct rt_error err = {0};

    n->w = w;
    (void)snprintf(n->name, sizeof n->name, "node-%u", index + 1);
    if (keys != NULL) {
        n->keys = rt_keyring_new(keys, &err);
        if (n->keys == NULL) {
            fail_msg("%s", err.text);
        }
    }
    n->cfg = (struct rt_mesh_config){.loop = w->loop,
                                     .log = w->log,
                                     .ev = &mesh_events,
                                     .ctx = n,
                                     .listen = loopback(0),
                                     .cluster_hash = CLUSTER,
                                     .id = index + 1,
                                     .epoch = 100,
                                     .name = n->name,
                                     .build = "test",
                                     .url = "http://127.0.0.1:4000",
                                     .keys = n->keys,
                                     .times = {.backoff_ms = 1, .backoff_max_ms = 8}};
    return n;
}

static inline struct node *start(struct node *n)
{
    struct rt_error err = {0};

    n->m = rt_mesh_new(&n->cfg, &err);
    if (n->m == NULL) {
        fail_msg("%s", err.text);
    }
    return n;
}

static inline void stop(struct node *n)
{
    rt_mesh_free(n->m);
    n->m = NULL;
}

/* `keys` NULL: plain TCP. */
static inline struct node *node(struct world *w, uint32_t index, const char *keys)
{
    return start(prepare(w, index, keys));
}

static inline void dial(struct node *from, const struct node *to, uint64_t id)
{
    struct pr_addr addr = rt_mesh_addr(to->m);

    rt_mesh_dial(from->m, id, &addr);
}

typedef bool (*condition)(struct world *w);

static inline void run_until(struct world *w, condition is_so)
{
    while (!is_so(w)) {
        (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
    }
}

/* Whether the end of a node's story is this. */
static inline bool ends(const struct node *n, const char *text)
{
    size_t have = strlen(n->story);
    size_t want = strlen(text);

    return have >= want && strcmp(n->story + have - want, text) == 0;
}

static inline void run_until_told(struct node *n, const char *text)
{
    while (!ends(n, text)) {
        (void)uv_run(rt_loop_uv(n->w->loop), UV_RUN_ONCE);
    }
}

/* Both ends of one link between the two, and no other connection of either. */
static inline bool is_calm(const struct node *a, const struct node *b)
{
    return a->m->nup == 1 && b->m->nup == 1 && a->m->nlinks == 1 && b->m->nlinks == 1 &&
           a->m->notices == NULL && b->m->notices == NULL;
}

static inline void run_until_calm(struct node *a, struct node *b)
{
    while (!is_calm(a, b)) {
        (void)uv_run(rt_loop_uv(a->w->loop), UV_RUN_ONCE);
    }
    /* The two ends are ends of the same connection. */
    assert_int_equal(a->m->up[0]->id, b->cfg.id);
    assert_int_equal(b->m->up[0]->id, a->cfg.id);
    assert_true(a->m->up[0]->dialled != b->m->up[0]->dialled);
}

static inline void link_up(struct node *a, struct node *b)
{
    dial(a, b, b->cfg.id);
    run_until_calm(a, b);
}

/* ---- raw connections ---- */

static inline void raw_read(struct raw *r)
{
    ssize_t n = 1;

    while (r->open && r->reading && n > 0) {
        if (r->in_cap - r->in_len < 65536) {
            r->in_cap = r->in_cap == 0 ? 131072 : r->in_cap * 2;
            r->in = rt_realloc(r->in, r->in_cap);
        }
        n = recv(r->fd, r->in + r->in_len, r->in_cap - r->in_len, MSG_DONTWAIT);
        if (n > 0) {
            r->in_len += (size_t)n;
        } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            r->eof = true;
            (void)uv_poll_stop(&r->poll);
        }
    }
    if (r->on_bytes != NULL) {
        r->on_bytes(r);
    }
}

static inline void on_raw(uv_poll_t *handle, int status, int events)
{
    struct raw *r = handle->data;

    (void)status;
    (void)events;
    raw_read(r);
}

static inline struct raw *raw_take(struct world *w, int fd)
{
    struct raw *r = &w->raw[w->nraw];

    assert_true(w->nraw < RAWS_MAX);
    w->nraw++;
    *r = (struct raw){.w = w, .fd = fd, .open = true, .reading = true};
    assert_int_equal(uv_poll_init(rt_loop_uv(w->loop), &r->poll, fd), 0);
    r->poll.data = r;
    assert_int_equal(uv_poll_start(&r->poll, UV_READABLE, on_raw), 0);
    return r;
}

/* The kernel connects to a listener that has not accepted yet, so this never waits. */
static inline struct raw *raw_dial(struct world *w, const struct pr_addr *addr)
{
    struct sockaddr_storage sa;
    socklen_t len = rt_sockaddr_of(addr, AF_UNSPEC, &sa);
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, len), 0);
    return raw_take(w, fd);
}

static inline void raw_send(struct raw *r, const void *p, size_t n)
{
    assert_int_equal(send(r->fd, p, n, MSG_NOSIGNAL), n);
}

static inline void on_raw_closed(uv_handle_t *handle)
{
    struct raw *r = handle->data;

    (void)close(r->fd);
}

static inline void raw_close(struct raw *r)
{
    if (r->open) {
        r->open = false;
        uv_close((uv_handle_t *)&r->poll, on_raw_closed);
    }
}

static inline void run_until_eof(struct raw *r)
{
    while (!r->eof) {
        (void)uv_run(rt_loop_uv(r->w->loop), UV_RUN_ONCE);
    }
}

/* A listening socket that is no node; *addr is where. */
static inline int raw_listen(struct pr_addr *addr)
{
    struct sockaddr_storage sa;
    socklen_t len;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    *addr = loopback(0);
    len = rt_sockaddr_of(addr, AF_INET, &sa);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&sa, len), 0);
    assert_int_equal(listen(fd, 8), 0);
    len = sizeof sa;
    assert_int_equal(getsockname(fd, (struct sockaddr *)&sa, &len), 0);
    assert_true(rt_sockaddr_read((struct sockaddr *)&sa, addr));
    return fd;
}

/* The connection that a node makes to it. */
static inline struct raw *raw_accept(struct world *w, int listener)
{
    int fd = -1;

    while (fd == -1) {
        fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd == -1) {
            assert_int_equal(errno, EAGAIN);
            (void)uv_run(rt_loop_uv(w->loop), UV_RUN_ONCE);
        }
    }
    return raw_take(w, fd);
}

/* Next whole frame that came, taken off; false: none. */
static inline bool raw_frame(struct raw *r, struct pr_frame *f, uint8_t *keep, size_t cap)
{
    long n = pr_frame_next(pr_bytes(r->in, r->in_len), f);

    if (n <= 0) {
        return false;
    }
    assert_true((size_t)n <= cap);
    memcpy(keep, r->in, (size_t)n);
    memmove(r->in, r->in + n, r->in_len - (size_t)n);
    r->in_len -= (size_t)n;
    return pr_frame_next(pr_bytes(keep, (size_t)n), f) > 0;
}

/* Turns the loop until a frame of that type came; those before it are thrown away. */
static inline void run_until_frame(struct raw *r, uint8_t type, struct pr_frame *f, uint8_t *keep,
                                   size_t cap)
{
    for (;;) {
        while (raw_frame(r, f, keep, cap)) {
            if (f->type == type) {
                return;
            }
        }
        if (r->eof) {
            fail_msg("closed before a frame of type 0x%02x came", type);
        }
        (void)uv_run(rt_loop_uv(r->w->loop), UV_RUN_ONCE);
    }
}

/* A HELLO of a well-behaved stranger with id 7 to node 1. */
static inline struct pr_node_hello good_hello(void)
{
    return (struct pr_node_hello){.cluster = CLUSTER,
                                  .from_id = 7,
                                  .to_id = 1,
                                  .epoch = 100,
                                  .proto_min = PR_PROTO_MIN,
                                  .proto_max = PR_PROTO_MAX,
                                  .name = pr_str("seven"),
                                  .build = pr_str("raw"),
                                  .addr = loopback(7),
                                  .client_url = pr_str("")};
}

static inline void raw_hello(struct raw *r, const struct pr_node_hello *h)
{
    uint8_t p[2048];
    struct pr_outbuf o = pr_outbuf(p, sizeof p);

    pr_node_hello_encode(&o, h);
    raw_send(r, p, o.len);
}

/* A raw connection that has come up at node 0 of the world as id 7. */
static inline struct raw *raw_up(struct world *w)
{
    struct pr_addr addr = rt_mesh_addr(w->node[0].m);
    struct raw *r = raw_dial(w, &addr);
    const struct pr_node_hello h = good_hello();

    raw_hello(r, &h);
    run_until_told(&w->node[0], "up 7;");
    return r;
}

/* ---- the world ---- */

static inline void on_deadline(void *ctx)
{
    struct world *w = ctx;

    for (uint32_t i = 0; i < NODES_MAX; i++) {
        (void)fprintf(stderr, "node %u: %s\n", i + 1, w->node[i].story);
    }
    fail_msg("nothing happened for too long");
}

static inline int open_world(void **state)
{
    struct world *w = rt_calloc(1, sizeof *w);
    const char *level = getenv("TEST_LOG");

    w->loop = rt_loop_new();
    w->log = rt_log_new(level != NULL ? STDERR_FILENO : -1, RT_DEBUG, "n", "owner");
    rt_timer_init(w->loop, &w->deadline, on_deadline, w);
    rt_timer_set(&w->deadline, DEADLINE_MS);
    *state = w;
    return 0;
}

static inline int close_world(void **state)
{
    struct world *w = *state;

    (void)uv_run(rt_loop_uv(w->loop), UV_RUN_NOWAIT); /* takes back the stop of the last tell */
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        rt_mesh_free(w->node[i].m);
    }
    for (uint32_t i = 0; i < w->nraw; i++) {
        raw_close(&w->raw[i]);
    }
    rt_timer_close(&w->deadline, NULL);
    rt_loop_free(w->loop);
    for (uint32_t i = 0; i < w->nraw; i++) {
        rt_free(w->raw[i].in);
    }
    for (uint32_t i = 0; i < NODES_MAX; i++) {
        rt_keyring_free(w->node[i].keys);
    }
    rt_log_free(w->log);
    rt_free(w);
    return 0;
}

#endif
