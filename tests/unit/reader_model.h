/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader_model.h - edges, db processes and a replication slot as models of their promises, on the
 * owners of owner_world.h. Rows are numbered, and every registration wants all of them.
 */
#ifndef TESTS_READER_MODEL_H
#define TESTS_READER_MODEL_H

#include "owner_world.h"
#include "proto/mesh_node.h"

#define HANDLES 3u
#define REGS    256u
#define BOOTS   64u

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

    if (nodes[n].o.db[0] == NULL || !d->elected) {
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

#endif
