/* SPDX-License-Identifier: Apache-2.0 */
/*
 * changes_world.h - three owners of owner_world.h with two edges each, all linked, the first one
 * reads; what is said to them and what they say, as short texts.
 */
#ifndef TESTS_CHANGES_WORLD_H
#define TESTS_CHANGES_WORLD_H

#include "owner_world.h"
#include "proto/mesh_cast.h"
#include "proto/mesh_node.h"

static const struct pr_slice project = {(const uint8_t *)"default", 7};
static uint8_t memory[65536];
static struct pr_frame frame;

/* The bytes that `o` holds, as a frame. */
static inline const struct pr_frame *framed(const struct pr_outbuf *o)
{
    assert_true(pr_out_ok(o));
    assert_true(pr_frame_next(pr_bytes(o->p, o->len), &frame) == (long)o->len);
    return &frame;
}
#define FRAME(name, ...)                                                                           \
    (put = pr_outbuf(memory, sizeof memory),                                                       \
     pr_##name##_encode(&put, &(struct pr_##name){__VA_ARGS__}), framed(&put))
static struct pr_outbuf put;

/* Boots: node * 10 + edge + 100. All attached, all linked, node 0 reads. */
static inline int open_world(void **state)
{
    (void)state;
    now_ms = 1000;
    for (uint32_t n = 0; n < NODES; n++) {
        open_node(n);
        for (uint32_t i = 0; i < EDGES; i++) {
            attach_edge(&nodes[n], i, 100 + n * 10 + i);
        }
    }
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t k = 0; k < NODES; k++) {
            nodes[n].up[k] = n != k;
            if (n != k) {
                rt_changes_link_up(&nodes[n].o, k + 1);
                tell_actors(k, n);
            }
        }
    }
    attach_db(&nodes[0]);
    elect(&nodes[0], 1);
    return 0;
}

static inline int close_world(void **state)
{
    (void)state;
    for (uint32_t n = 0; n < NODES; n++) {
        close_node(n);
    }
    return 0;
}

static inline bool say(uint32_t node, const struct pr_frame *f)
{
    return rt_changes_on_db_frame(&nodes[node].o, &nodes[node].db, f);
}

static inline bool from_link(uint32_t to, uint32_t from, const struct pr_frame *f)
{
    return rt_changes_on_link_frame(&nodes[to].o, from + 1, f);
}

static inline void read_changes(uint64_t round, uint64_t lsn)
{
    assert_true(say(0, FRAME(chg_sync, .project = project, .round = round)));
    assert_true(say(0, FRAME(reader, .project = project, .term_timeline = 1, .term_lsn = lsn,
                             .state = PR_READER_HELD, .system = 7)));
}

/* Types in a queue as text, which is emptied: "66 63 61". */
static inline const char *types(struct fifo *q)
{
    static char text[1024];
    struct pr_frame f;
    size_t n = 0;

    text[0] = '\0';
    while (fifo_next(q, &f)) {
        n += (size_t)snprintf(text + n, sizeof text - n, n == 0 ? "%02x" : " %02x", f.type);
    }
    return text;
}

static inline void forget_all(void)
{
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t i = 0; i < EDGES; i++) {
            fifo_clear(&nodes[n].edge_ipc[i].out);
        }
        for (uint32_t k = 0; k < NODES; k++) {
            fifo_clear(&nodes[n].link[k]);
        }
        fifo_clear(&nodes[n].db_ipc.out);
    }
}

/* Rows 1, 2, ... with these targets; a row ends with 0, all with two. */
static inline const struct pr_frame *change(const uint64_t *boots)
{
    static uint8_t bodies[8192], targets[1024];
    struct pr_outbuf b = pr_outbuf(bodies, sizeof bodies);
    struct pr_chg m = {.project = project, .stream = 3};

    while (*boots != 0) {
        struct pr_outbuf t = pr_outbuf(targets, sizeof targets);
        struct pr_chg_body body = {.kind = PR_K_INSERT, .data = pr_str("{\"a\":1}")};

        for (; *boots != 0; boots++) {
            pr_chg_target_put(&t, *boots, 1);
            body.ntargets++;
        }
        boots++;
        m.nbodies++;
        body.pos.lsn = m.nbodies;
        body.targets = pr_bytes(targets, t.len);
        pr_chg_body_put(&b, &body);
    }
    m.bodies = pr_bytes(bodies, b.len);
    m.last.lsn = m.nbodies;
    put = pr_outbuf(memory, sizeof memory);
    pr_chg_encode(&put, &m);
    return framed(&put);
}
#define CHANGE(...) change((const uint64_t[]){__VA_ARGS__, 0, 0})
/* The edge has taken everything up to there. */
#define OK_OF(edge, at)                                                                            \
    FRAME(chg_ok, .project = project, .boot = (edge), .stream = 3, .pos = {.lsn = (at)})

/* The one CHG frame of a queue as "1:100,101 3:101", last position at the end. */
static inline const char *rows(struct fifo *q)
{
    static char text[1024];
    struct pr_chg_body body;
    struct pr_frame f;
    struct pr_chg m;
    size_t n = 0;

    text[0] = '\0';
    if (!fifo_next(q, &f)) {
        return text;
    }
    assert_int_equal(f.type, PR_T_CHG);
    assert_int_equal(pr_chg_decode(&f, &m), PR_OK);
    assert_true(m.stream == 3 && pr_slice_eq(m.project, project));
    while (pr_chg_bodies_next(&m.bodies, &body) == 1) {
        uint64_t boot = 0;
        uint32_t handle = 0;
        char sign = ':';

        assert_true(pr_slice_is(body.data, "{\"a\":1}"));
        n += (size_t)snprintf(text + n, sizeof text - n, "%u", (unsigned)body.pos.lsn);
        while (pr_chg_targets_next(&body.targets, &boot, &handle) == 1) {
            n += (size_t)snprintf(text + n, sizeof text - n, "%c%u", sign, (unsigned)boot);
            sign = ',';
        }
        n += (size_t)snprintf(text + n, sizeof text - n, " ");
    }
    (void)snprintf(text + n, sizeof text - n, "/%u", (unsigned)m.last.lsn);
    assert_false(fifo_next(q, &f));
    return text;
}

#endif
