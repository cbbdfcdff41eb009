/* SPDX-License-Identifier: Apache-2.0 */
/* nodes_play.h - what happens in nodes_world.h: processes and links live and end, clients act. */
#ifndef TESTS_NODES_PLAY_H
#define TESTS_NODES_PLAY_H

#include "nodes_move.h"

/* ---- lives ---- */

static inline void n_disconnect(struct nodes *w, uint32_t i, uint32_t k)
{
    struct n_edge *e = &w->n[i].e[k];
    struct cl_event ev = {.type = CL_EV_EDGE_DOWN, .edge = k};

    if (!e->up) {
        return;
    }
    e->up = false;
    n_queue_clear(&e->to_owner);
    n_queue_clear(&e->to_edge);
    cle_link_down(e->c, w->now);
    n_drain_edge(w, e);
    if (w->n[i].cl != NULL) {
        n_step(w, i, &ev);
    }
}

static inline void n_connect(struct nodes *w, uint32_t i, uint32_t k)
{
    struct n_edge *e = &w->n[i].e[k];
    struct pr_hello_ok ok = {.proto = 1, .node = w->n[i].id, .epoch = w->n[i].epoch};
    struct cl_event ev = {.type = CL_EV_EDGE_UP, .edge = k, .boot = e->boot};

    n_disconnect(w, i, k);
    e->up = true;
    n_step(w, i, &ev);
    assert_int_equal(cle_link_up(e->c, w->now, &ok), CL_OK);
    n_drain_edge(w, e);
}

static inline void n_edge_start(struct nodes *w, uint32_t i, uint32_t k)
{
    struct n_edge *e = &w->n[i].e[k];
    struct cle_config cfg = {
        .index = k, .topics_max = 10000, .presences_max = 1000, .mem = &w->mem};

    cfg.boot = e->boot = 1000 * (i + 1) + 100 * k + ++w->lives;
    while (e->c == NULL) {
        e->c = cle_new(&cfg, w->now);
    }
}

static inline void n_edge_kill(struct nodes *w, uint32_t i, uint32_t k)
{
    n_disconnect(w, i, k);
    cle_free(w->n[i].e[k].c);
    w->n[i].e[k].c = NULL;
}

/* An owner process, with its dial to the first node that runs; edges connect for themselves. */
static inline void n_owner_start(struct nodes *w, uint32_t i)
{
    struct n_node *n = &w->n[i];
    struct cl_config cfg = {
        .name = pr_str(n->name),
        .id = n->id,
        .edges = n->expected,
        .clustered = true,
        .about = {.addr = n->addr, .cluster = 5, .weight = 1},
        .lim = &w->lim,
        .mem = &w->mem,
    };

    cfg.epoch = n->epoch = 1000 + ++w->lives;
    while (n->cl == NULL) {
        n->cl = cl_new(&cfg, cl_rand_seed(n->epoch), w->now);
    }
    for (uint32_t k = 0; k < N_NODES; k++) {
        if (k != i && w->n[k].cl != NULL) {
            n->to[k].dial = true;
            return;
        }
    }
}

static inline void n_owner_kill(struct nodes *w, uint32_t i)
{
    cl_free(w->n[i].cl);
    w->n[i].cl = NULL;
    n_queue_clear(&w->n[i].udp);
    for (uint32_t k = 0; k < N_EDGES; k++) {
        n_disconnect(w, i, k);
    }
    for (uint32_t k = 0; k < N_NODES; k++) {
        n_unlink(w, i, k, CL_HOW_EOF);
    }
}

/* The whole node, as after a crash of its host. */
static inline void n_kill(struct nodes *w, uint32_t i)
{
    n_owner_kill(w, i);
    for (uint32_t k = 0; k < N_EDGES; k++) {
        if (w->n[i].e[k].c != NULL) {
            n_edge_kill(w, i, k);
        }
    }
}

static inline void n_start(struct nodes *w, uint32_t i, uint32_t edges)
{
    w->n[i].expected = edges;
    n_owner_start(w, i);
    for (uint32_t k = 0; k < edges; k++) {
        n_edge_start(w, i, k);
        n_connect(w, i, k);
    }
}

static inline void n_leave(struct nodes *w, uint32_t i)
{
    struct cl_event ev = {.type = CL_EV_LEAVE};

    n_step(w, i, &ev);
}

/* Nothing runs yet; at time 1000. */
static inline void n_init(struct nodes *w)
{
    static const char *const names[N_NODES] = {"ant", "bee", "cow"};

    memset(w, 0, sizeof *w);
    w->mem = (struct cl_alloc){.get = n_get, .put = n_put, .ctx = w};
    w->lim = (struct cl_limits){
        .edges = 8,
        .topics = 10000,
        .presences = 10000,
        .presences_per_topic = 1000,
        .presence_bytes = 1u << 20,
        .pending_bytes = 1u << 20,
        .kept_bytes = 1u << 20,
        .actions = 65536,
    };
    w->now = 1000;
    for (uint32_t i = 0; i < N_NODES; i++) {
        struct n_node *n = &w->n[i];
        char id[16];

        (void)snprintf(n->name, sizeof n->name, "%s", names[i]);
        (void)snprintf(id, sizeof id, "node%s", n->name);
        n->id = cl_hash64(pr_str(id));
        n->addr = (struct pr_addr){.family = PR_ADDR_V4, .port = 9000, .ip = {10, 0, 0}};
        n->addr.ip[3] = (uint8_t)(i + 1);
    }
}

/* The first `nodes` of them, each with that many edges, have found each other. */
static inline void n_init_with(struct nodes *w, uint32_t nodes, uint32_t edges)
{
    n_init(w);
    for (uint32_t i = 0; i < nodes; i++) {
        n_start(w, i, edges);
    }
    n_run(w, 6000);
    for (uint32_t i = 0; i < nodes; i++) {
        assert_true(cl_joined(w->n[i].cl));
        assert_true(cl_view(w->n[i].cl) == cl_view(w->n[0].cl));
    }
}

static inline void n_deinit(struct nodes *w)
{
    for (uint32_t i = 0; i < N_NODES; i++) {
        n_kill(w, i);
    }
    assert_int_equal(w->outstanding, 0);
}

/* ---- what clients do ---- */

static inline void n_expect(struct nodes *w, uint32_t i, uint32_t k, const char *log)
{
    struct n_edge *e = &w->n[i].e[k];

    if (strcmp(e->log, log) != 0) {
        fail_msg("edge %u of node %u was told\n  %s\nexpected\n  %s", k, i, e->log, log);
    }
    e->log_len = 0;
    e->log[0] = '\0';
}

static inline void n_forget(struct nodes *w)
{
    for (uint32_t i = 0; i < N_NODES; i++) {
        for (uint32_t k = 0; k < N_EDGES; k++) {
            w->n[i].e[k].log_len = 0;
            w->n[i].e[k].log[0] = '\0';
        }
    }
}

static inline uint32_t n_sub(struct nodes *w, uint32_t i, uint32_t k, const char *topic)
{
    struct n_edge *e = &w->n[i].e[k];
    uint32_t handle = 0;
    bool subscribed = false;
    int rv = 0;

    do {
        rv = cle_subscribe(e->c, w->now, pr_str(topic), &handle, &subscribed);
        n_drain_edge(w, e);
    } while (rv == CL_ENOMEM);
    assert_int_equal(rv, CL_OK);
    if (subscribed) {
        n_say(e, "at-once:%u ", handle);
    }
    return handle;
}

static inline void n_pub(struct nodes *w, uint32_t i, uint32_t k, const char *topic,
                         const char *text)
{
    struct n_edge *e = &w->n[i].e[k];
    int rv = 0;

    do {
        rv = cle_publish(e->c, w->now, pr_str(topic), 0, pr_str(text), 0);
        n_drain_edge(w, e);
    } while (rv == CL_ENOMEM);
    assert_int_equal(rv, CL_OK);
}

static inline void n_put_pres(struct nodes *w, uint32_t i, uint32_t k, uint32_t topic,
                              const char *key)
{
    struct n_edge *e = &w->n[i].e[k];

    while (cle_presence_put(e->c, w->now, topic, 1, pr_str(key), pr_str("{}")) != CL_OK) {
    }
    n_drain_edge(w, e);
}

static inline void n_del_pres(struct nodes *w, uint32_t i, uint32_t k, uint32_t topic)
{
    assert_int_equal(cle_presence_del(w->n[i].e[k].c, w->now, topic, 1), CL_OK);
    n_drain_edge(w, &w->n[i].e[k]);
}

static inline void n_want(struct nodes *w, uint32_t i, uint32_t k, uint32_t topic, bool on)
{
    struct n_edge *e = &w->n[i].e[k];

    while (cle_presence_want(e->c, w->now, topic, on) != CL_OK) {
    }
    while (cle_presence_view(e->c, w->now, topic) != CL_OK) {
    }
    n_drain_edge(w, e);
}

/* ---- topics by their owners ---- */

static inline uint32_t n_owner(const struct nodes *w, uint32_t i, const char *topic)
{
    return n_by_id(w, cl_owner_of(w->n[i].cl, cl_partition(pr_str(topic))));
}

/* The view of the nodes of a bitmap. */
static inline void n_ring(const struct nodes *w, unsigned nodes, struct cl_ring *ring)
{
    struct cl_ring_member m[N_NODES];
    uint32_t n = 0;

    for (uint32_t i = 0; i < N_NODES; i++) {
        if ((nodes >> i & 1u) != 0) {
            m[n++] = (struct cl_ring_member){.id = w->n[i].id, .weight = 1};
        }
    }
    cl_ring_build(ring, m, n);
}

/* A topic's name, the `nth` one, that `owner` has among the nodes of one bitmap, and `next` among
 * those of another. */
static inline const char *n_topic(const struct nodes *w, unsigned nodes, uint32_t owner,
                                  unsigned later, uint32_t next, uint32_t nth)
{
    static struct cl_ring a, b;
    static char name[8][24];
    static uint32_t used;
    char *out = name[used++ % 8];

    n_ring(w, nodes, &a);
    n_ring(w, later, &b);
    for (unsigned k = 0;; k++) {
        uint32_t part = 0;

        (void)snprintf(out, sizeof name[0], "t%u", k);
        part = cl_partition(pr_str(out));
        if (n_by_id(w, cl_ring_owner_id(&a, part)) == owner &&
            n_by_id(w, cl_ring_owner_id(&b, part)) == next && nth-- == 0) {
            return out;
        }
    }
}

static inline const char *n_topic_of(const struct nodes *w, unsigned nodes, uint32_t owner,
                                     uint32_t nth)
{
    return n_topic(w, nodes, owner, nodes, owner, nth);
}

/* ---- nodes and sets of them ---- */

#define A   0u
#define B   1u
#define C   2u
#define AB  3u
#define ABC 7u

#endif
