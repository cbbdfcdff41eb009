/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes over many nodes, with everything that may go wrong between them, at random: links that
 * end with frames on their way, views of who is elected that differ, db processes and owners that
 * start anew, edges that come and go, nodes given up. Owners are the real code; Postgres, db and
 * edge are small models of their promises. Rows are numbered, and every registration wants all of
 * them: from the moment it is told to be live it must get each, once, in order - unless its clients
 * were told that changes may be missing.
 */
#include "reader_model.h"

#define SEEDS  1000u
#define STORMS 6u

/* What happens. */

static void send_actors(uint32_t from, uint32_t to)
{
    uint8_t memory[256], list[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_outbuf l = pr_outbuf(list, sizeof list);
    struct pr_actors m = {.epoch = 1};

    for (uint32_t i = 0; i < EDGES; i++) {
        if (nodes[from].o.edge[i] != NULL) {
            pr_actor_put(&l, i, nodes[from].edge[i].boot);
            m.nactors++;
        }
    }
    m.actors = pr_bytes(list, l.len);
    pr_actors_encode(&o, &m);
    (void)rt_owner_link_send(&nodes[from].o, to + 1, pr_bytes(memory, o.len));
}

static void tell_all_actors(uint32_t from)
{
    for (uint32_t k = 0; k < NODES; k++) {
        if (k != from) {
            send_actors(from, k);
        }
    }
}

static void node_takes(uint32_t n, uint32_t from, const struct pr_frame *f)
{
    struct pr_actors m;
    uint64_t boots[EDGES];
    uint32_t index = 0, count = 0;

    if (f->type != PR_T_ACTORS) {
        assert_true(rt_changes_on_link_frame(&nodes[n].o, from + 1, f));
        return;
    }
    assert_int_equal(pr_actors_decode(f, &m), PR_OK);
    while (count < EDGES && pr_actors_next(&m.actors, &index, &boots[count]) == 1) {
        count++;
    }
    rt_changes_actors(&nodes[n].o, from + 1, boots, count);
}

static void see_link(uint32_t n, uint32_t k)
{
    nodes[n].up[k] = true;
    send_actors(n, k);
    rt_changes_link_up(&nodes[n].o, k + 1);
}

/* Frames of one queue, copied: what they cause may move the queue. */
static bool deliver(struct fifo *q, void (*take)(uint32_t n, uint32_t i, const struct pr_frame *f),
                    uint32_t n, uint32_t i)
{
    static uint8_t bytes[8192];
    struct pr_frame f;

    if (!fifo_next(q, &f)) {
        return false;
    }
    assert_true(f.whole.n <= sizeof bytes);
    memcpy(bytes, f.whole.p, f.whole.n);
    assert_true(pr_frame_next(pr_bytes(bytes, f.whole.n), &f) > 0);
    take(n, i, &f);
    turn(&nodes[n]);
    return true;
}

static void from_edge(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    assert_true(rt_changes_on_edge_frame(&nodes[n].o, &nodes[n].edge[i], f));
}

static void from_db(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    (void)i;
    assert_true(rt_changes_on_db_frame(&nodes[n].o, &nodes[n].db, f));
}

static void to_db(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    (void)i;
    db_takes(n, f);
}

static bool find_owner(uint32_t n, uint32_t i)
{
    if (nodes[n].o.edge[i] != NULL) {
        return false;
    }
    attach_edge(&nodes[n], i, edges[n][i].boot);
    tell_all_actors(n);
    return true;
}

/* Something moves on at a node. False: there is nothing to be moved in what was looked at. */
static bool move(uint32_t n, uint32_t what, uint32_t k, bool position)
{
    switch (what) {
    case 0:
        return nodes[n].o.db[0] != NULL && deliver(&nodes[n].db_ipc.out, to_db, n, 0);
    case 1:
        return nodes[n].o.db[0] != NULL && deliver(&dbs[n].up, from_db, n, 0);
    case 2:
        return nodes[n].o.edge[k % EDGES] != NULL &&
               deliver(&nodes[n].edge_ipc[k % EDGES].out, edge_takes, n, k % EDGES);
    case 3:
        return nodes[n].o.edge[k % EDGES] != NULL &&
               deliver(&edges[n][k % EDGES].up, from_edge, n, k % EDGES);
    case 4:
        if (k == n || !linked[k][n]) {
            return false;
        }
        if (!nodes[n].up[k]) {
            see_link(n, k);
        }
        return deliver(&nodes[k].link[n], node_takes, n, k);
    case 5:
        return find_owner(n, k % EDGES);
    default:
        return db_works(n, position);
    }
}
#define MOVES 7u

static void link_down(uint32_t a, uint32_t b)
{
    linked[a][b] = linked[b][a] = false;
    nodes[a].up[b] = nodes[b].up[a] = false;
    fifo_clear(&nodes[a].link[b]);
    fifo_clear(&nodes[b].link[a]);
}

static void link_up(uint32_t a, uint32_t b)
{
    if (a != b && !linked[a][b]) {
        linked[a][b] = linked[b][a] = true;
        alive[a] = alive[b] = true;
        see_link(a, b); /* the other side sees it when it looks */
    }
}

static void restart_db(uint32_t n)
{
    struct db *d = &dbs[n];

    if (nodes[n].o.db[0] != NULL) {
        rt_owner_cut(nodes[n].o.db[0], "test");
    }
    end_stream(n);
    fifo_clear(&d->up);
    memset(d, 0, sizeof *d);
    attach_db(&nodes[n]);
}

static void lose_owner(struct edge *e)
{
    fifo_clear(&e->up);
    e->life++;
    for (uint32_t k = 0; k < HANDLES; k++) {
        e->regs[k].answered = false;
    }
}

static void restart_edge(uint32_t n, uint32_t i, bool same)
{
    if (nodes[n].o.edge[i] != NULL) {
        rt_owner_cut(nodes[n].o.edge[i], "test");
        tell_all_actors(n);
    }
    if (same) {
        edges[n][i].owed = true;
        lose_owner(&edges[n][i]);
    } else {
        start_edge(n, i);
    }
    attach_edge(&nodes[n], i, edges[n][i].boot);
    tell_all_actors(n);
}

static void know_members(uint32_t n)
{
    for (uint32_t k = 0; k < NODES; k++) {
        if (alive[k]) {
            rt_changes_node_here(&nodes[n].o, k + 1);
        }
    }
}

/* Edges and db live on, and attach to it again. */
static void restart_owner(uint32_t n)
{
    struct db *d = &dbs[n];

    for (uint32_t k = 0; k < NODES; k++) {
        const struct change_node *other = rt_change_node(changes_of(&nodes[n]), k + 1);

        if (k != n) {
            link_down(n, k);
        }
        for (uint32_t i = 0; i < EDGES; i++) {
            edges[k][i].excused = edges[k][i].excused || (other != NULL && other->nmissed > 0) ||
                                  (k == n && edges[k][i].owed);
        }
    }
    close_node(n);
    open_node(n);
    know_members(n);
    end_stream(n);
    d->elected = false;
    fifo_clear(&d->up);
    attach_db(&nodes[n]);
    for (uint32_t i = 0; i < EDGES; i++) {
        lose_owner(&edges[n][i]); /* it will find the new one */
    }
}

/* All others take the node for dead; it comes back when a link does. */
static void give_up(uint32_t n)
{
    for (uint32_t k = 0; k < NODES; k++) {
        if (k != n) {
            link_down(n, k);
            rt_changes_node_gone(&nodes[k].o, n + 1);
            rt_changes_node_gone(&nodes[n].o, k + 1);
        }
    }
    alive[n] = false;
    elect(&nodes[n], 0);
}

static void change_regs(uint32_t n, uint32_t i, uint32_t k)
{
    struct reg *r = &edges[n][i].regs[k];

    if (r->handle == 0) {
        new_reg(n, i, r);
    } else {
        end_reg(n, i, r->handle);
        *r = (struct reg){0};
    }
}

/* Which kinds of trouble a run has: some hide what others do. */
static uint32_t kinds;

static void trouble(uint32_t elected)
{
    uint32_t n = chance(NODES);
    uint32_t k = chance(NODES);
    uint32_t kind = chance(11);
    struct change_node *other;

    switch ((kinds >> kind & 1u) != 0 ? kind : 10) {
    case 0:
        restart_db(n);
        break;
    case 1:
        restart_edge(n, chance(EDGES), chance(2) == 0);
        break;
    case 2:
        restart_owner(n);
        break;
    case 3:
    case 4:
        if (n != k) {
            link_down(n, k);
        }
        break;
    case 5:
        give_up(n);
        break;
    case 6:
        change_regs(n, chance(EDGES), chance(HANDLES));
        break;
    case 7: /* a node takes nothing for long, but its link lives */
        other = rt_change_node(changes_of(&nodes[n]), k + 1);
        if (other != NULL && other->ready) {
            rt_change_node_stuck(changes_of(&nodes[n]), other);
        }
        break;
    default:
        link_up(n, k);
        elect(&nodes[n], elected + 1);
        break;
    }
}

static void start_all(uint64_t seed)
{
    rnd = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;
    committed = confirmed = lsn = boot_count = 0;
    holder = -1;
    memset(linked, 0, sizeof linked);
    for (uint32_t n = 0; n < NODES; n++) {
        alive[n] = true;
        open_node(n);
    }
    for (uint32_t n = 0; n < NODES; n++) {
        know_members(n);
        memset(&dbs[n], 0, sizeof dbs[n]);
        attach_db(&nodes[n]);
        for (uint32_t i = 0; i < EDGES; i++) {
            start_edge(n, i);
            attach_edge(&nodes[n], i, edges[n][i].boot);
        }
    }
}

static void end_all(void)
{
    for (uint32_t n = 0; n < NODES; n++) {
        close_node(n);
        fifo_clear(&dbs[n].up);
        for (uint32_t i = 0; i < EDGES; i++) {
            fifo_clear(&edges[n][i].up);
        }
    }
}

static bool move_all(bool position)
{
    bool moved = false;

    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t what = 0; what < MOVES; what++) {
            for (uint32_t k = 0; k < NODES; k++) {
                moved = move(n, what, k, position && k == 0) || moved;
            }
        }
        turn(&nodes[n]);
    }
    return moved;
}

/* Everything heals, and then every registration has all rows. */
static void settle(uint64_t seed, uint32_t elected)
{
    for (uint32_t n = 0; n < NODES; n++) {
        elect(&nodes[n], elected + 1);
        for (uint32_t k = 0; k < NODES; k++) {
            link_up(n, k);
        }
    }
    for (uint32_t i = chance(20); i > 0; i--) { /* rows that come while all heals */
        committed += chance(3) == 0;
        (void)move_all(false);
    }
    for (uint32_t i = 0; i < 20000; i++) {
        if (!move_all(false) && confirmed == committed) {
            break;
        }
        (void)move_all(i % 50 == 0);
        now_ms += 20;
    }
    if (confirmed != committed || holder != (int)elected) {
        fail_msg("seed %llu: %llu of %llu rows are confirmed, holder %d", (unsigned long long)seed,
                 (unsigned long long)confirmed, (unsigned long long)committed, holder);
    }
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t i = 0; i < EDGES; i++) {
            for (uint32_t k = 0; k < HANDLES; k++) {
                struct reg *r = &edges[n][i].regs[k];
                bool all =
                    r->handle == 0 || (r->live && (r->last == committed || r->since >= committed));

                if ((!all || edges[n][i].gap) && !edges[n][i].excused) {
                    fail_msg("seed %llu: node %u edge %u handle %u: live %d, gap %d, since %llu, "
                             "last %llu of %llu",
                             (unsigned long long)seed, n, i, r->handle, r->live, edges[n][i].gap,
                             (unsigned long long)r->since, (unsigned long long)r->last,
                             (unsigned long long)committed);
                }
                r->since = committed; /* from here on nothing is excused */
                r->last = committed;
            }
            edges[n][i].excused = false;
            edges[n][i].gap = false;
        }
    }
}

/* A while in which things go wrong, here and there. */
static void storm(uint32_t *elected)
{
    uint32_t troubles = 1 + chance(4);
    uint32_t steps = 20 + chance(200);

    for (uint32_t i = 0; i < steps; i++, steps_done++) {
        uint32_t n = chance(NODES);
        uint32_t kind = chance(MOVES);

        committed += chance(6) == 0;
        now_ms += chance(3) == 0 ? chance(200) : 0;
        if (chance(steps) < troubles) {
            *elected = (kinds >> 11 & 1u) != 0 && chance(3) == 0 ? chance(NODES) : *elected;
            trouble(*elected);
        }
        for (uint32_t more = 1 + chance(4); more > 0; more--) {
            (void)move(n, kind, chance(NODES), chance(8) == 0);
        }
        turn(&nodes[chance(NODES)]);
    }
}

static void run(uint64_t seed)
{
    uint32_t elected = 0;

    steps_done = 0;
    start_all(seed);
    kinds = chance(4096);
    settle(seed, elected);
    for (uint32_t i = 0; i < STORMS; i++) {
        storm(&elected);
        settle(seed, elected);
    }
    end_all();
}

static void property_29_every_change_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(property_29_every_change_once)};

    if (argc > 1) { /* one seed, to look at it */
        verbose = true;
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
