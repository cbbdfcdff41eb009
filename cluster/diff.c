/* SPDX-License-Identifier: Apache-2.0 */
/* diff.c - differences to what was shown, their windows, diffs and whole views. See presence.h. */
#include "cluster/diff.h"

#include <assert.h>

uint32_t cl_diff_window_ms(uint32_t members)
{
    uint32_t ms = members / CL_PRES_WINDOW_DIV;

    if (members <= CL_PRES_BIG_TOPIC) {
        return CL_PRES_WINDOW_MS;
    }
    if (ms > CL_PRES_WINDOW_MAX_MS) {
        return CL_PRES_WINDOW_MAX_MS;
    }
    return ms < CL_PRES_WINDOW_MS ? CL_PRES_WINDOW_MS : ms;
}

static struct topic *topic_of(const struct cl_pres *p, const struct entry *e)
{
    return cl_pres_topic(p, cl_pres_pair(p, e->pair)->topic);
}

/* Keeps the queue sorted by due. What is due at once goes to the front; the rest is nearly always
 * the latest, since only topics with more than CL_PRES_BIG_TOPIC members have longer windows. */
static void queue_add(struct cl_pres *p, cl_ms now, uint32_t i, cl_ms due)
{
    struct topic *t = cl_pres_topic(p, i);
    uint32_t after = due <= now ? NONE : p->queue.tail;

    while (after != NONE && cl_pres_topic(p, after)->due > due) {
        after = cl_pres_topic(p, after)->qprev;
    }
    if (after == NONE && p->queue.head != NONE && cl_pres_topic(p, p->queue.head)->due < due) {
        due = cl_pres_topic(p, p->queue.head)->due; /* both at once; the order stays */
    }
    t->due = due;
    t->qprev = after;
    t->qnext = after == NONE ? p->queue.head : cl_pres_topic(p, after)->qnext;
    if (t->qprev == NONE) {
        p->queue.head = i;
    } else {
        cl_pres_topic(p, t->qprev)->qnext = i;
    }
    if (t->qnext == NONE) {
        p->queue.tail = i;
    } else {
        cl_pres_topic(p, t->qnext)->qprev = i;
    }
}

static void queue_remove(struct cl_pres *p, uint32_t i)
{
    const struct topic *t = cl_pres_topic(p, i);

    if (t->qprev == NONE) {
        p->queue.head = t->qnext;
    } else {
        cl_pres_topic(p, t->qprev)->qnext = t->qnext;
    }
    if (t->qnext == NONE) {
        p->queue.tail = t->qprev;
    } else {
        cl_pres_topic(p, t->qnext)->qprev = t->qprev;
    }
}

static void dirty_add(struct cl_pres *p, cl_ms now, uint32_t i)
{
    struct entry *e = cl_pres_entry(p, i);
    struct topic *t = topic_of(p, e);

    e->flags |= E_DIRTY;
    e->dnext = NONE;
    e->dprev = t->dirty_tail;
    if (e->dprev == NONE) {
        t->dirty_head = i;
    } else {
        cl_pres_entry(p, e->dprev)->dnext = i;
    }
    t->dirty_tail = i;
    if (t->dirty++ == 0) {
        bool quiet = !t->ever || now - t->flushed >= CL_PRES_QUIET_MS;

        queue_add(p, now, cl_pres_pair(p, e->pair)->topic,
                  quiet ? now : now + cl_diff_window_ms(t->members));
    }
}

static void dirty_remove(struct cl_pres *p, uint32_t i)
{
    struct entry *e = cl_pres_entry(p, i);
    struct topic *t = topic_of(p, e);

    if (e->dprev == NONE) {
        t->dirty_head = e->dnext;
    } else {
        cl_pres_entry(p, e->dprev)->dnext = e->dnext;
    }
    if (e->dnext == NONE) {
        t->dirty_tail = e->dprev;
    } else {
        cl_pres_entry(p, e->dnext)->dprev = e->dprev;
    }
    e->flags &= (uint16_t)~E_DIRTY;
    if (--t->dirty == 0) {
        queue_remove(p, cl_pres_pair(p, e->pair)->topic);
    }
}

void cl_diff_touch(struct cl_pres *p, cl_ms now, uint32_t i)
{
    const struct entry *e = cl_pres_entry(p, i);
    bool visible = cl_pres_actor(p, cl_pres_pair(p, e->pair)->actor)->visible;
    bool want = visible && (e->flags & E_DEAD) == 0;
    bool differs = want != ((e->flags & E_SHOWN) != 0);

    if (differs && (e->flags & E_DIRTY) == 0) {
        dirty_add(p, now, i);
    } else if (!differs && (e->flags & E_DIRTY) != 0) {
        dirty_remove(p, i);
    }
}

void cl_diff_untouch(struct cl_pres *p, uint32_t i)
{
    if ((cl_pres_entry(p, i)->flags & E_DIRTY) != 0) {
        dirty_remove(p, i);
    }
}

/* The difference becomes what is shown. Frees an entry that was held only for its leave. */
static void show(struct cl_pres *p, uint32_t i)
{
    struct entry *e = cl_pres_entry(p, i);
    struct actor *a = cl_pres_actor(p, cl_pres_pair(p, e->pair)->actor);

    dirty_remove(p, i);
    e->flags ^= E_SHOWN;
    if ((e->flags & E_SHOWN) != 0) {
        a->shown++;
        return;
    }
    a->shown--;
    if ((e->flags & E_DEAD) != 0) {
        cl_pres_free_entry(p, i);
    }
}

/* The shown entry that a joining one replaces in its slot; NONE if it replaces nothing. */
static uint32_t replaced(const struct cl_pres *p, const struct entry *e)
{
    const struct pair *pr = cl_pres_pair(p, e->pair);

    return pr->held == pr->alive ? NONE : cl_pres_find_dead(p, e->pair, e->slot);
}

static void put_one(const struct cl_pres *p, const struct entry *e, struct pr_outbuf *o)
{
    struct pr_pshown s = cl_pres_as_shown(p, e);

    if ((e->flags & E_SHOWN) == 0) {
        uint32_t old = replaced(p, e);

        s.prev_n = old == NONE ? 0 : cl_pres_entry(p, old)->n;
    }
    pr_pshown_put(o, &s);
}

/* A diff being put together: two size passes and two write passes over the same marks. */
struct draft {
    struct pr_outbuf joins, leaves;
    uint32_t njoins, nleaves;
};

static void pick(struct cl_pres *p, uint32_t i, struct draft *d)
{
    struct entry *e = cl_pres_entry(p, i);

    if ((e->flags & E_MARK) != 0) {
        return;
    }
    e->flags |= E_MARK;
    if ((e->flags & E_SHOWN) == 0) {
        put_one(p, e, &d->joins);
        d->njoins++;
    } else {
        put_one(p, e, &d->leaves);
        d->nleaves++;
    }
}

static bool draft_full(const struct draft *d)
{
    return d->joins.len + d->leaves.len >= CL_PRES_DIFF_CHUNK || d->njoins >= PR_LIST_MAX - 1 ||
           d->nleaves >= PR_LIST_MAX - 1;
}

/* Marks what goes into the next diff and counts its bytes: joins, each with the leave that it
 * replaces, then the other leaves. */
static void choose(struct cl_pres *p, const struct topic *t, struct draft *d)
{
    for (uint32_t i = t->dirty_head; i != NONE && !draft_full(d); i = cl_pres_entry(p, i)->dnext) {
        if ((cl_pres_entry(p, i)->flags & E_SHOWN) == 0) {
            uint32_t old = replaced(p, cl_pres_entry(p, i));

            pick(p, i, d);
            if (old != NONE) {
                pick(p, old, d);
            }
        }
    }
    for (uint32_t i = t->dirty_head; i != NONE && !draft_full(d); i = cl_pres_entry(p, i)->dnext) {
        if ((cl_pres_entry(p, i)->flags & E_SHOWN) != 0) {
            pick(p, i, d);
        }
    }
}

/* The marked ones stand near the head, so the walks end with the last of them. */
static void write_draft(const struct cl_pres *p, const struct topic *t, struct draft *d)
{
    uint32_t left = d->njoins + d->nleaves;

    for (uint32_t i = t->dirty_head; left > 0; i = cl_pres_entry(p, i)->dnext) {
        const struct entry *e = cl_pres_entry(p, i);

        if ((e->flags & E_MARK) != 0) {
            put_one(p, e, (e->flags & E_SHOWN) == 0 ? &d->joins : &d->leaves);
            left--;
        }
    }
}

/* Clears the marks; `shown`: what they marked has been given out. */
static void finish(struct cl_pres *p, uint32_t topic, const struct draft *d, bool shown)
{
    uint32_t left = d->njoins + d->nleaves;
    uint32_t next;

    for (uint32_t i = cl_pres_topic(p, topic)->dirty_head; left > 0; i = next) {
        struct entry *e = cl_pres_entry(p, i);

        next = e->dnext;
        if ((e->flags & E_MARK) == 0) {
            continue;
        }
        left--;
        e->flags &= (uint16_t)~E_MARK;
        if (shown) {
            show(p, i);
        }
    }
}

/* Emits one diff of a topic. 0, CL_ENOMEM, or the value of emit: then nothing was shown. */
static int diff_topic(struct cl_pres *p, uint32_t topic, cl_pres_diff_fn emit, void *ctx)
{
    const struct topic *t = cl_pres_topic(p, topic);
    struct draft d = {0};
    struct pr_p_diff diff = {.topic = {t->key, t->key_len}};
    const struct cl_alloc *mem = p->cfg.mem;
    size_t njoin, nleave;
    uint8_t *buf;
    int err;

    choose(p, t, &d);
    njoin = d.joins.len;
    nleave = d.leaves.len;
    buf = mem->get(mem->ctx, njoin + nleave);
    if (buf == NULL) {
        finish(p, topic, &d, false);
        return CL_ENOMEM;
    }
    d.joins = pr_outbuf(buf, njoin);
    d.leaves = pr_outbuf(buf + njoin, nleave);
    write_draft(p, t, &d);
    assert(d.joins.len == njoin && d.leaves.len == nleave);
    diff.njoins = d.njoins;
    diff.nleaves = d.nleaves;
    diff.joins = pr_bytes(buf, njoin);
    diff.leaves = pr_bytes(buf + njoin, nleave);
    err = emit(ctx, &diff);
    mem->put(mem->ctx, buf, njoin + nleave);
    finish(p, topic, &d, err == 0);
    p->stats.diffs += err == 0;
    return err;
}

int cl_pres_flush(struct cl_pres *p, cl_ms now, cl_pres_diff_fn emit, void *ctx)
{
    while (p->queue.head != NONE && cl_pres_topic(p, p->queue.head)->due <= now) {
        uint32_t i = p->queue.head;
        int err = diff_topic(p, i, emit, ctx);

        if (err != 0) {
            queue_remove(p, i); /* others are not held up by it */
            queue_add(p, now, i, now + CL_PRES_WINDOW_MS);
            return err;
        }
        cl_pres_topic(p, i)->flushed = now;
        cl_pres_topic(p, i)->ever = true;
    }
    cl_pres_forget(p, now);
    return 0;
}

void cl_pres_settle(struct cl_pres *p, cl_ms now)
{
    while (p->queue.head != NONE) {
        uint32_t i = p->queue.head;

        while (cl_pres_topic(p, i)->dirty_head != NONE) {
            show(p, cl_pres_topic(p, i)->dirty_head);
        }
        cl_pres_topic(p, i)->flushed = now;
        cl_pres_topic(p, i)->ever = true;
    }
}

void cl_pres_settle_topic(struct cl_pres *p, struct pr_slice topic)
{
    uint32_t t = cl_pres_find_topic(p, topic);
    uint32_t i =
        t == NONE || cl_pres_topic(p, t)->dirty == 0 ? NONE : cl_pres_topic(p, t)->dirty_head;

    while (i != NONE) {
        const struct entry *e = cl_pres_entry(p, i);
        uint32_t next = e->dnext;

        if (!cl_pres_actor(p, cl_pres_pair(p, e->pair)->actor)->own) {
            show(p, i);
        }
        i = next;
    }
}

static cl_ms earlier(cl_ms a, cl_ms b)
{
    return a < b ? a : b;
}

cl_ms cl_pres_deadline(const struct cl_pres *p)
{
    cl_ms due = UINT64_MAX;

    if (p->queue.head != NONE) {
        due = cl_pres_topic(p, p->queue.head)->due;
    }
    if (p->gone.head != NONE) {
        due = earlier(due, cl_pres_actor(p, p->gone.head)->gone_since + CL_PRES_FORGET_MS);
    }
    if (p->idle.head != NONE) {
        due = earlier(due, cl_pres_pair(p, p->idle.head)->idle_since + CL_PRES_FORGET_MS);
    }
    return due;
}

static size_t shown_bytes(const struct cl_pres *p, const struct entry *e)
{
    struct pr_outbuf o = {0};
    struct pr_pshown s = cl_pres_as_shown(p, e);

    pr_pshown_put(&o, &s);
    return o.len;
}

/* Where a walk over the shown entries of a topic is. */
struct walk {
    uint32_t pair, entry;
};

static uint32_t walk_next(const struct cl_pres *p, struct walk *w)
{
    while (w->pair != NONE) {
        const struct pair *pr = cl_pres_pair(p, w->pair);

        w->entry = w->entry == NONE ? pr->head : cl_pres_entry(p, w->entry)->next;
        while (w->entry != NONE && (cl_pres_entry(p, w->entry)->flags & E_SHOWN) == 0) {
            w->entry = cl_pres_entry(p, w->entry)->next;
        }
        if (w->entry != NONE) {
            return w->entry;
        }
        w->pair = pr->tnext;
    }
    return NONE;
}

static struct walk walk_start(const struct cl_pres *p, uint32_t topic)
{
    return (struct walk){topic == NONE ? NONE : cl_pres_topic(p, topic)->pairs, NONE};
}

int cl_pres_view(const struct cl_pres *p, struct pr_slice key, cl_pres_view_fn emit, void *ctx)
{
    const struct cl_alloc *mem = p->cfg.mem;
    uint32_t topic = cl_pres_find_topic(p, key);
    struct walk w = walk_start(p, topic);
    struct pr_p_view v = {.topic = key, .first = true};
    struct pr_outbuf o;
    size_t cap = CL_PRES_VIEW_CHUNK;
    uint8_t *buf;
    int err = 0;

    for (uint32_t i = walk_next(p, &w); i != NONE; i = walk_next(p, &w)) {
        size_t n = shown_bytes(p, cl_pres_entry(p, i));

        cap = n > cap ? n : cap;
    }
    buf = mem->get(mem->ctx, cap);
    if (buf == NULL) {
        return CL_ENOMEM;
    }
    o = pr_outbuf(buf, cap);
    w = walk_start(p, topic);
    while (err == 0 && !v.last) {
        uint32_t i = walk_next(p, &w);

        v.last = i == NONE;
        if (v.last || shown_bytes(p, cl_pres_entry(p, i)) > cap - o.len) {
            v.list = pr_bytes(buf, o.len);
            err = emit(ctx, &v);
            v.first = false;
            v.count = 0;
            o = pr_outbuf(buf, cap);
        }
        if (!v.last) {
            struct pr_pshown s = cl_pres_as_shown(p, cl_pres_entry(p, i));

            pr_pshown_put(&o, &s);
            v.count++;
        }
    }
    mem->put(mem->ctx, buf, cap);
    return err;
}
