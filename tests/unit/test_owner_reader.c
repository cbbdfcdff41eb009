/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes over many nodes, with everything that may go wrong between them, at random: links that
 * end with frames on their way, views of who is elected that differ, db processes and owners that
 * start anew, edges that come and go, nodes given up. Owners are the real code; Postgres, db and
 * edge are small models of their promises. Rows are numbered, and every registration wants all of
 * them: from the moment it is told to be live it must get each, once, in order - unless its clients
 * were told that changes may be missing.
 */
#include "owner_world.h"

#define HANDLES 3u
#define REGS    256u
#define BOOTS   64u
#define SEEDS   2000u
#define STORMS  6u

/* One registration of an edge. */
struct reg {
    uint32_t handle; /* 0: none */
    bool answered;   /* by a reader that asked last */
    bool live;       /* its clients were told so, and nothing else since */
    uint64_t since;  /* rows that were there when it was told to be live */
    uint64_t last;   /* the last row that it got; 0: none since then */
};

struct edge {
    uint64_t boot;
    uint32_t last_handle;
    uint64_t taken, life;
    bool gap;     /* rows were missing, and it has not been told so yet */
    bool owed;    /* it will be told, whether or not rows were missing */
    bool excused; /* who should tell it has forgotten */
    struct reg regs[HANDLES];
    struct fifo up;
};

struct db_boot {
    uint64_t boot, round, acked;
};

struct db {
    bool elected, known, synced, streaming;
    uint64_t round, next; /* next: the last row that was sent */
    struct db_boot boots[BOOTS];
    uint32_t nboots;
    struct {
        uint64_t boot;
        uint32_t handle;
        uint64_t life;
    } regs[REGS];
    uint32_t nregs;
    struct fifo up;
};

static struct edge edges[NODES][EDGES];
static struct db dbs[NODES];
static bool linked[NODES][NODES], alive[NODES];
static uint64_t committed, confirmed, lsn, boot_count;
static int holder; /* of the slot; -1: nobody */
static uint64_t rnd;
static bool verbose;
static uint32_t steps_done;

static uint32_t chance(uint32_t n)
{
    rnd ^= rnd << 13;
    rnd ^= rnd >> 7;
    rnd ^= rnd << 17;
    return (uint32_t)(rnd >> 33) % n;
}

#define PUT(q, name, m)                                                                            \
    do {                                                                                           \
        uint8_t memory_[4096];                                                                     \
        struct pr_outbuf o_ = pr_outbuf(memory_, sizeof memory_);                                  \
        pr_##name##_encode(&o_, (m));                                                              \
        assert_true(pr_out_ok(&o_));                                                               \
        fifo_put((q), pr_bytes(o_.p, o_.len));                                                     \
    } while (0)

static const struct pr_slice project = {(const uint8_t *)"default", 7};

/* Edges. */

static void send_reg(uint32_t n, uint32_t i, const struct reg *r)
{
    struct edge *e = &edges[n][i];
    struct pr_chg_reg m = {.project = project,
                           .boot = e->boot,
                           .handle = r->handle,
                           .event = pr_str("*"),
                           .schema = pr_str("public"),
                           .table = pr_str("t"),
                           .role = pr_str("anon"),
                           .claims = pr_str("{}"),
                           .life = e->life};

    PUT(&e->up, chg_reg, &m);
}

static void new_reg(uint32_t n, uint32_t i, struct reg *r)
{
    *r = (struct reg){.handle = ++edges[n][i].last_handle};
    send_reg(n, i, r);
}

static void end_reg(uint32_t n, uint32_t i, uint32_t handle)
{
    struct pr_chg_unreg m = {.project = project, .boot = edges[n][i].boot, .handle = handle};

    PUT(&edges[n][i].up, chg_unreg, &m);
}

static struct reg *reg_of(struct edge *e, uint32_t handle)
{
    for (uint32_t k = 0; k < HANDLES; k++) {
        if (e->regs[k].handle == handle) {
            return &e->regs[k];
        }
    }
    return NULL;
}

static void edge_row(uint32_t n, uint32_t i, const struct pr_chg_body *b)
{
    struct edge *e = &edges[n][i];
    struct pr_slice targets = b->targets;
    uint64_t boot = 0;
    uint32_t handle = 0;

    while (pr_chg_targets_next(&targets, &boot, &handle) == 1) {
        struct reg *r = boot == e->boot ? reg_of(e, handle) : NULL;

        if (boot == e->boot && r == NULL) {
            end_reg(n, i, handle);
        } else if (r != NULL) {
            /* Rows from before the promise may come or not. */
            bool next = !r->live || b->pos.lsn == r->last + 1 || b->pos.lsn <= r->since + 1;

            if (!next && verbose) {
                print_message("step %u: node %u edge %u handle %u: row %llu after %llu (live at "
                              "%llu)\n",
                              steps_done, n, i, handle, (unsigned long long)b->pos.lsn,
                              (unsigned long long)r->last, (unsigned long long)r->since);
            }
            e->gap = e->gap || !next;
            assert_true(b->pos.lsn > r->last); /* never twice, never back */
            r->last = b->pos.lsn;
        }
    }
}

static void edge_chg(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    struct edge *e = &edges[n][i];
    struct pr_chg_ok ok = {.project = project, .boot = e->boot, .stream = 1};
    struct pr_chg_body b;
    struct pr_chg m;

    assert_int_equal(pr_chg_decode(f, &m), PR_OK);
    while (pr_chg_bodies_next(&m.bodies, &b) == 1) {
        if (b.pos.lsn > e->taken) {
            edge_row(n, i, &b);
        }
    }
    e->taken = m.last.lsn > e->taken ? m.last.lsn : e->taken;
    ok.pos.lsn = e->taken;
    PUT(&e->up, chg_ok, &ok);
}

/* Told to be live, or that something may be missing. */
static void edge_word(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    struct edge *e = &edges[n][i];
    struct pr_chg_reg_ok ok;
    struct reg *r;

    if (f->type == PR_T_CHG_SYS) {
        e->gap = false;
        e->owed = false;
        for (uint32_t k = 0; k < HANDLES; k++) {
            e->regs[k].live = e->regs[k].answered;
            e->regs[k].since = committed;
        }
        return;
    }
    assert_int_equal(pr_chg_reg_ok_decode(f, &ok), PR_OK);
    assert_true(ok.boot == e->boot);
    r = reg_of(e, ok.handle);
    if (r != NULL && ok.life == e->life) {
        r->since = r->live ? r->since : committed;
        r->live = true;
        r->answered = true;
    }
}

static void edge_takes(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    struct edge *e = &edges[n][i];
    struct pr_chg_sync sync;
    struct pr_chg_synced synced = {.project = project, .boot = e->boot};

    if (f->type == PR_T_CHG) {
        edge_chg(n, i, f);
    } else if (f->type == PR_T_CHG_SYNC) {
        assert_int_equal(pr_chg_sync_decode(f, &sync), PR_OK);
        for (uint32_t k = 0; k < HANDLES; k++) {
            if (e->regs[k].handle != 0) {
                e->regs[k].answered = false;
                send_reg(n, i, &e->regs[k]);
            }
        }
        synced.round = sync.round;
        PUT(&e->up, chg_synced, &synced);
    } else {
        edge_word(n, i, f);
    }
}

static void start_edge(uint32_t n, uint32_t i)
{
    struct edge *e = &edges[n][i];

    fifo_clear(&e->up);
    memset(e, 0, sizeof *e);
    e->boot = 1000 + ++boot_count;
    new_reg(n, i, &e->regs[0]);
}

/* The db process. */

static struct db_boot *boot_of(struct db *d, uint64_t boot)
{
    for (uint32_t i = 0; i < d->nboots; i++) {
        if (d->boots[i].boot == boot) {
            return &d->boots[i];
        }
    }
    assert_true(d->nboots < BOOTS);
    d->boots[d->nboots] = (struct db_boot){.boot = boot, .acked = d->streaming ? d->next : 0};
    return &d->boots[d->nboots++];
}

static void forget(struct db *d, uint64_t boot)
{
    for (uint32_t i = d->nboots; i-- > 0;) {
        if (boot == 0 || d->boots[i].boot == boot) {
            d->boots[i] = d->boots[--d->nboots];
        }
    }
    for (uint32_t i = d->nregs; i-- > 0;) {
        if (boot == 0 || d->regs[i].boot == boot) {
            d->regs[i] = d->regs[--d->nregs];
        }
    }
}

static void db_says_live(struct db *d, uint32_t i)
{
    struct pr_chg_reg_ok m = {.project = project,
                              .boot = d->regs[i].boot,
                              .handle = d->regs[i].handle,
                              .life = d->regs[i].life};

    if (d->streaming) {
        PUT(&d->up, chg_reg_ok, &m);
    }
}

static void db_reg(struct db *d, const struct pr_frame *f)
{
    struct pr_chg_reg m;
    uint32_t i = 0;

    assert_int_equal(pr_chg_reg_decode(f, &m), PR_OK);
    (void)boot_of(d, m.boot);
    while (i < d->nregs && (d->regs[i].boot != m.boot || d->regs[i].handle != m.handle)) {
        i++;
    }
    if (i == d->nregs) {
        assert_true(d->nregs < REGS);
        d->regs[i].boot = m.boot;
        d->regs[i].handle = m.handle;
        d->nregs++;
    }
    d->regs[i].life = m.life;
    db_says_live(d, i);
}

static void db_unreg(struct db *d, const struct pr_frame *f)
{
    struct pr_chg_unreg m;

    assert_int_equal(pr_chg_unreg_decode(f, &m), PR_OK);
    for (uint32_t i = d->nregs; i-- > 0;) {
        if (d->regs[i].boot == m.boot && d->regs[i].handle == m.handle) {
            d->regs[i] = d->regs[--d->nregs];
        }
    }
}

static void end_stream(uint32_t n)
{
    dbs[n].streaming = false;
    holder = holder == (int)n ? -1 : holder;
}

static void db_reader(uint32_t n, const struct pr_frame *f)
{
    struct db *d = &dbs[n];
    struct pr_chg_sync sync = {.project = project};
    struct pr_reader m;

    assert_int_equal(pr_reader_decode(f, &m), PR_OK);
    if (m.state == PR_READER_KNOWN) {
        d->known = true;
    } else if (m.state == PR_READER_STOP) {
        end_stream(n);
        d->elected = false;
        forget(d, 0);
    } else if (d->elected) {
        end_stream(n);
    } else {
        d->elected = true;
        d->known = false;
        d->synced = false;
        d->round = ++lsn;
        sync.round = d->round;
        PUT(&d->up, chg_sync, &sync);
    }
}

static void db_takes(uint32_t n, const struct pr_frame *f)
{
    struct db *d = &dbs[n];
    struct pr_chg_synced synced;
    struct pr_chg_gone gone;
    struct pr_chg_ok ok;
    struct db_boot *b;

    switch (f->type) {
    case PR_T_READER:
        db_reader(n, f);
        break;
    case PR_T_CHG_REG:
        db_reg(d, f);
        break;
    case PR_T_CHG_UNREG:
        db_unreg(d, f);
        break;
    case PR_T_CHG_SYNCED:
        assert_int_equal(pr_chg_synced_decode(f, &synced), PR_OK);
        b = boot_of(d, synced.boot);
        b->round = synced.round == d->round ? d->round : b->round;
        break;
    case PR_T_CHG_GONE:
        assert_int_equal(pr_chg_gone_decode(f, &gone), PR_OK);
        forget(d, gone.boot);
        break;
    default:
        assert_int_equal(f->type, PR_T_CHG_OK);
        assert_int_equal(pr_chg_ok_decode(f, &ok), PR_OK);
        for (uint32_t i = 0; i < d->nboots; i++) {
            if (d->boots[i].boot == ok.boot && ok.pos.lsn > d->boots[i].acked) {
                d->boots[i].acked = ok.pos.lsn;
            }
        }
        break;
    }
}

static int by_boot(const void *pa, const void *pb)
{
    const uint64_t *a = pa, *b = pb;

    return *a < *b ? -1 : *a > *b;
}

/* The next row to all that are registered; without a row, the position. */
static void db_sends(struct db *d, bool row)
{
    uint8_t targets[4000], bodies[4096];
    struct pr_outbuf t = pr_outbuf(targets, sizeof targets);
    struct pr_outbuf o = pr_outbuf(bodies, sizeof bodies);
    struct pr_chg_body b = {.kind = PR_K_INSERT, .data = pr_str("{}")};
    struct pr_chg m = {.project = project, .stream = 1};

    d->next += row;
    b.pos.lsn = d->next;
    qsort(d->regs, d->nregs, sizeof d->regs[0], by_boot);
    for (uint32_t i = 0; row && i < d->nregs; i++) {
        pr_chg_target_put(&t, d->regs[i].boot, d->regs[i].handle);
        b.ntargets++;
    }
    if (row && b.ntargets == 0) {
        return;
    }
    if (row) {
        b.targets = pr_bytes(targets, t.len);
        pr_chg_body_put(&o, &b);
        m.nbodies = 1;
        m.bodies = pr_bytes(bodies, o.len);
    }
    m.last.lsn = d->next;
    PUT(&d->up, chg, &m);
}

static void db_confirms(struct db *d)
{
    uint64_t least = d->next;

    for (uint32_t i = 0; i < d->nboots; i++) {
        least = d->boots[i].acked < least ? d->boots[i].acked : least;
    }
    confirmed = least > confirmed ? least : confirmed;
}

static void db_takes_slot(uint32_t n)
{
    struct db *d = &dbs[n];
    struct pr_reader held = {.project = project,
                             .term_timeline = 1,
                             .term_lsn = ++lsn,
                             .node = n + 1,
                             .state = PR_READER_HELD,
                             .system = 7};

    for (uint32_t i = 0; i < d->nboots; i++) {
        if (d->boots[i].round != d->round) {
            return;
        }
    }
    d->synced = true;
    holder = (int)n;
    d->streaming = true;
    d->next = confirmed;
    PUT(&d->up, reader, &held);
    for (uint32_t i = 0; i < d->nregs; i++) {
        db_says_live(d, i);
    }
}

static bool db_works(uint32_t n, bool position)
{
    struct db *d = &dbs[n];

    if (nodes[n].o.db == NULL || !d->elected) {
        return false;
    }
    if (!d->streaming) {
        if ((d->known || d->synced) && holder == -1) {
            db_takes_slot(n);
        }
        return d->streaming;
    }
    db_confirms(d);
    if (d->next < committed || position) {
        db_sends(d, d->next < committed);
        return true;
    }
    return false;
}

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
    rt_changes_on_edge_frame(&nodes[n].o, &nodes[n].edge[i], f);
}

static void from_db(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    (void)i;
    assert_true(rt_changes_on_db_frame(&nodes[n].o, f));
}

static void to_db(uint32_t n, uint32_t i, const struct pr_frame *f)
{
    (void)i;
    db_takes(n, f);
}

/* Something moves on at a node. False: there is nothing to be moved in what was looked at. */
static bool move(uint32_t n, uint32_t what, uint32_t k, bool position)
{
    switch (what) {
    case 0:
        return nodes[n].o.db != NULL && deliver(&nodes[n].db_ipc.out, to_db, n, 0);
    case 1:
        return nodes[n].o.db != NULL && deliver(&dbs[n].up, from_db, n, 0);
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
    default:
        return db_works(n, position);
    }
}
#define MOVES 6u

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

    if (nodes[n].o.db != NULL) {
        rt_owner_cut(nodes[n].o.db, "test");
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
        const struct change_node *other = rt_change_node(nodes[n].o.changes, k + 1);

        if (k != n) {
            link_down(n, k);
        }
        for (uint32_t i = 0; i < EDGES; i++) {
            edges[k][i].excused = edges[k][i].excused ||
                                  (other != NULL && other->missed != CHANGE_MISSED_NOTHING) ||
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
        lose_owner(&edges[n][i]);
        attach_edge(&nodes[n], i, edges[n][i].boot);
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
    rt_changes_reader(&nodes[n].o, 0);
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
        other = rt_change_node(nodes[n].o.changes, k + 1);
        if (other != NULL && other->ready) {
            rt_change_node_stuck(nodes[n].o.changes, other);
        }
        break;
    default:
        link_up(n, k);
        rt_changes_reader(&nodes[n].o, elected + 1);
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
        rt_changes_reader(&nodes[n].o, elected + 1);
        for (uint32_t k = 0; k < NODES; k++) {
            link_up(n, k);
        }
    }
    for (uint32_t i = 0; i < 20000; i++) {
        if (!move_all(false) && confirmed == committed) {
            break;
        }
        (void)move_all(i % 50 == 0);
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

static void every_change_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run(seed);
    }
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_change_once)};

    if (argc > 1) { /* one seed, to look at it */
        verbose = true;
        run(strtoull(argv[1], NULL, 10));
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
