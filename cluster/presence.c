/* SPDX-License-Identifier: Apache-2.0 */
/* presence.c - merge of deltas, visibility of actors, forgetting. Rules: presence.h. */
#include "cluster/diff.h"

#include <assert.h>

/* What a delta would do, counted before anything is changed. */
struct plan {
    const struct pr_p_delta *d;
    uint64_t ctx;  /* known before */
    uint32_t pair; /* NONE: nothing known yet */
    uint32_t actor;
    uint32_t adds, dels; /* entries really new, and really removed */
    size_t add_bytes, del_bytes;
};

/* The alive entry of a dot in the pair of the plan. */
static struct entry *known(const struct cl_pres *p, const struct plan *pl, uint64_t n)
{
    uint32_t i = pl->pair == NONE ? NONE : cl_pres_find_dot(p, pl->actor, n);

    if (i == NONE || cl_pres_entry(p, i)->pair != pl->pair) {
        return NULL;
    }
    return cl_pres_entry(p, i);
}

static void plan_del(struct plan *pl, struct entry *e)
{
    if (e != NULL && (e->flags & E_DEL) == 0) {
        e->flags |= E_DEL;
        pl->dels++;
        pl->del_bytes += cl_pres_entry_bytes(e);
    }
}

/*
 * The third line: what was added in (a, ctx] and is not in adds was removed in (ctx, b]. Without it
 * such an entry would stay for ever, since no later delta names its dot again.
 */
static void plan_third_line(const struct cl_pres *p, struct plan *pl)
{
#ifndef CL_SABOTAGE_MERGE
    if (pl->pair == NONE || pl->d->a >= pl->ctx) {
        return;
    }
    for (uint32_t i = cl_pres_pair(p, pl->pair)->head; i != NONE; i = cl_pres_entry(p, i)->next) {
        struct entry *e = cl_pres_entry(p, i);

        if ((e->flags & (E_DEAD | E_MARK)) == 0 && e->n > pl->d->a && e->n <= pl->ctx) {
            plan_del(pl, e);
        }
    }
#else
    (void)p;
    (void)pl;
#endif
}

/* Walks the lists, counts, and marks the entries concerned. 0 or CL_EPROTO. */
static int plan_lists(const struct cl_pres *p, struct plan *pl)
{
    struct pr_slice list = pl->d->adds;
    struct pr_pent add;
    uint64_t n = 0;
    int more;

    while ((more = pr_padds_next(&list, &add)) > 0) {
        if (add.n <= pl->d->a || add.n > pl->d->b || add.key.n > PR_ID_MAX ||
            add.meta.n > PR_FRAME_MAX) {
            return CL_EPROTO;
        }
        if (add.n > pl->ctx) {
            pl->adds++;
            pl->add_bytes += add.key.n + add.meta.n;
        } else {
            struct entry *e = known(p, pl, add.n);

            if (e != NULL) {
                e->flags |= E_MARK;
            }
        }
    }
    if (more < 0) {
        return CL_EPROTO;
    }
    list = pl->d->dels;
    while ((more = pr_pdels_next(&list, &n)) > 0) {
        if (n > pl->d->a) {
            return CL_EPROTO;
        }
        plan_del(pl, known(p, pl, n));
    }
    if (more < 0) {
        return CL_EPROTO;
    }
    plan_third_line(p, pl);
    return 0;
}

/* Takes back the marks of plan_lists, also after it stopped half way. */
static void unmark(const struct cl_pres *p, const struct plan *pl)
{
    struct pr_slice list = pl->d->dels;
    uint64_t n = 0;

    if (pl->pair == NONE) {
        return;
    }
    if (pl->d->a < pl->ctx) {
        uint32_t i = cl_pres_pair(p, pl->pair)->head;

        for (; i != NONE; i = cl_pres_entry(p, i)->next) {
            cl_pres_entry(p, i)->flags &= (uint16_t) ~(E_MARK | E_DEL);
        }
        return;
    }
    /* a == ctx: no add is a known one, so that only dels have left marks */
    while (pr_pdels_next(&list, &n) > 0) {
        struct entry *e = known(p, pl, n);

        if (e != NULL) {
            e->flags &= (uint16_t)~E_DEL;
        }
    }
}

/* Room under the limit of the topic? What makes it smaller always fits. */
static bool topic_fits(const struct cl_pres *p, const struct plan *pl)
{
    uint32_t limit = p->cfg.presences_per_topic;
    uint32_t t = cl_pres_find_topic(p, pl->d->topic);
    uint32_t members = t == NONE ? 0 : cl_pres_topic(p, t)->members;

    if (pl->adds <= pl->dels) {
        return true;
    }
    if (pl->actor == NONE || !cl_pres_actor(p, pl->actor)->visible) {
        return pl->adds <= limit;
    }
    return members <= limit && pl->adds - pl->dels <= limit - members;
}

/* Room under the limits of all? Forgets actors that are gone early if that makes it. Removed but
 * shown entries have the same room once more, so that a view may change as a whole. */
static bool fits(struct cl_pres *p, const struct plan *pl)
{
    if (!topic_fits(p, pl) || pl->adds > 2 * p->cfg.presences - p->entries.used) {
        return false;
    }
    for (;;) {
        size_t bytes = p->alive_bytes - pl->del_bytes;
        uint32_t count = p->alive - pl->dels;
        bool count_fits = pl->adds <= pl->dels || pl->adds <= p->cfg.presences - count;
        bool bytes_fit = pl->add_bytes <= pl->del_bytes ||
                         (bytes <= p->cfg.bytes && pl->add_bytes <= p->cfg.bytes - bytes);

        if (count_fits && bytes_fit) {
            return true;
        }
        if (!cl_pres_forget_actor(p, pl->actor)) {
            return false;
        }
    }
}

/* Takes the last `count` entries of the pair back: they were made by build and counted nowhere. */
static void unbuild(struct cl_pres *p, uint32_t pair, uint32_t count)
{
    while (count-- > 0) {
        cl_pres_free_entry(p, cl_pres_pair(p, pair)->tail);
    }
}

/* Makes the new entries at the pair's tail. 0, CL_ENOMEM or CL_EPROTO (a dot twice): nothing made.
 */
static int build(struct cl_pres *p, const struct plan *pl)
{
    struct pr_slice list = pl->d->adds;
    struct pr_pent add;
    uint32_t built = 0;

    while (pr_padds_next(&list, &add) > 0) {
        int err = 0;

        if (add.n <= pl->ctx) {
            continue;
        }
        if (cl_pres_find_dot(p, pl->actor, add.n) != NONE) {
            err = CL_EPROTO;
        } else if (cl_pres_new_entry(p, pl->pair, &add) == NONE) {
            err = CL_ENOMEM;
        }
        if (err != 0) {
            unbuild(p, pl->pair, built);
            return err;
        }
        built++;
    }
    assert(built == pl->adds);
    return 0;
}

static void remove_marked(struct cl_pres *p, cl_ms now, const struct plan *pl)
{
    struct pr_slice list = pl->d->dels;
    uint64_t n = 0;
    uint32_t i, next;

    if (pl->d->a < pl->ctx) {
        for (i = cl_pres_pair(p, pl->pair)->head; i != NONE; i = next) {
            next = cl_pres_entry(p, i)->next;
            if ((cl_pres_entry(p, i)->flags & E_DEL) != 0) {
                cl_pres_kill(p, now, i);
            }
        }
        return;
    }
    while (pr_pdels_next(&list, &n) > 0) {
        i = cl_pres_find_dot(p, pl->actor, n);
        if (i != NONE && cl_pres_entry(p, i)->pair == pl->pair) {
            cl_pres_kill(p, now, i);
        }
    }
}

/* Nothing here can fail. Removals first, so that an update finds the entry that it replaces. */
static void commit(struct cl_pres *p, cl_ms now, const struct plan *pl)
{
    struct pair *pr = cl_pres_pair(p, pl->pair);
    uint32_t i = pr->tail;

    for (uint32_t k = 1; k < pl->adds; k++) {
        i = cl_pres_entry(p, i)->prev;
    }
    remove_marked(p, now, pl);
    for (uint32_t k = 0; k < pl->adds; k++) {
        cl_pres_count_in(p, now, i);
        i = cl_pres_entry(p, i)->next;
    }
    unmark(p, pl);
    pr->ctx = pl->d->b;
    cl_pres_mind_idle(p, now, pl->pair);
}

/* Makes what the plan needs, and does it. */
static int carry_out(struct cl_pres *p, cl_ms now, struct plan *pl)
{
    int err;

    pl->actor = cl_pres_need_actor(p, now, pl->d->actor);
    if (pl->actor == NONE) {
        return CL_ENOMEM;
    }
    pl->pair = cl_pres_need_pair(p, now, pl->d->topic, pl->actor);
    if (pl->pair == NONE) {
        return CL_ENOMEM;
    }
    err = build(p, pl);
    if (err == 0) {
        commit(p, now, pl);
    } else if (cl_pres_pair(p, pl->pair)->ctx == 0 && cl_pres_pair(p, pl->pair)->held == 0) {
        cl_pres_drop_pair(p, pl->pair); /* made just now */
    }
    return err;
}

static int merge(struct cl_pres *p, cl_ms now, struct plan *pl)
{
    int rv;

    if (pl->d->b <= pl->ctx) {
        p->stats.stale++;
        return CL_PRES_STALE;
    }
    if (pl->d->a > pl->ctx) {
        p->stats.holes++;
        return CL_PRES_HOLE;
    }
    rv = plan_lists(p, pl);
    if (rv == 0 && !fits(p, pl)) {
        p->stats.full++;
        rv = CL_PRES_FULL;
    }
    if (rv == 0) {
        rv = carry_out(p, now, pl);
    }
    if (rv != 0) {
        unmark(p, pl);
    }
    return rv;
}

int cl_pres_apply(struct cl_pres *p, cl_ms now, const struct pr_p_delta *d, uint64_t *ctx)
{
    struct plan pl = {.d = d, .pair = NONE};
    uint32_t t = cl_pres_find_topic(p, d->topic);
    int rv;

    pl.actor = cl_pres_find_actor(p, d->actor);
    if (t != NONE && pl.actor != NONE) {
        pl.pair = cl_pres_find_pair(p, t, pl.actor);
    }
    pl.ctx = pl.pair == NONE ? 0 : cl_pres_pair(p, pl.pair)->ctx;
    *ctx = pl.ctx;
    if (d->topic.n == 0 || d->topic.n > PR_TOPIC_KEY_MAX) {
        return CL_EPROTO;
    }
    rv = merge(p, now, &pl);
    if (rv == CL_PRES_APPLIED) {
        *ctx = d->b;
    }
    if (rv >= 0 && pl.pair != NONE) {
        cl_pres_pair(p, pl.pair)->marks = 0; /* mentioned: no replace under way removes it */
    }
    return rv;
}

/* All entries of an actor may have begun, or ceased, to be something to show. */
static void touch_all(struct cl_pres *p, cl_ms now, uint32_t actor)
{
    for (uint32_t i = cl_pres_actor(p, actor)->pairs; i != NONE; i = cl_pres_pair(p, i)->anext) {
        uint32_t e = cl_pres_pair(p, i)->head;

        for (; e != NONE; e = cl_pres_entry(p, e)->next) {
            cl_diff_touch(p, now, e);
        }
    }
}

int cl_pres_actor_up(struct cl_pres *p, cl_ms now, uint64_t boot)
{
    uint32_t i = cl_pres_need_actor(p, now, boot);
    struct actor *a;

    if (i == NONE) {
        return CL_ENOMEM;
    }
    a = cl_pres_actor(p, i);
    if (a->visible) {
        return 0;
    }
    cl_pres_gone_remove(p, i);
    a->visible = true;
    p->visible += a->entries;
    for (uint32_t k = a->pairs; k != NONE; k = cl_pres_pair(p, k)->anext) {
        cl_pres_topic(p, cl_pres_pair(p, k)->topic)->members += cl_pres_pair(p, k)->alive;
    }
    touch_all(p, now, i);
    return 0;
}

void cl_pres_actor_down(struct cl_pres *p, cl_ms now, uint64_t boot)
{
    uint32_t i = cl_pres_find_actor(p, boot);
    struct actor *a;

    if (i == NONE || !cl_pres_actor(p, i)->visible) {
        return;
    }
    a = cl_pres_actor(p, i);
    a->visible = false;
    p->visible -= a->entries;
    for (uint32_t k = a->pairs; k != NONE; k = cl_pres_pair(p, k)->anext) {
        cl_pres_topic(p, cl_pres_pair(p, k)->topic)->members -= cl_pres_pair(p, k)->alive;
    }
    cl_pres_gone_add(p, now, i);
    touch_all(p, now, i);
}

bool cl_pres_forget_actor(struct cl_pres *p, uint32_t keep)
{
    uint32_t i = p->gone.head;
    struct actor *a;
    uint32_t pair, next;

    if (i == NONE || i == keep || cl_pres_actor(p, i)->shown > 0) {
        return false;
    }
    a = cl_pres_actor(p, i);
    for (pair = a->pairs; pair != NONE; pair = next) {
        next = cl_pres_pair(p, pair)->anext;
        while (cl_pres_pair(p, pair)->head != NONE) {
            cl_pres_kill(p, 0, cl_pres_pair(p, pair)->head);
        }
        cl_pres_drop_pair(p, pair);
    }
    assert(a->entries == 0 && a->digest == 0);
    cl_pres_gone_remove(p, i);
    cl_pres_drop_actor(p, i);
    return true;
}

void cl_pres_forget(struct cl_pres *p, cl_ms now)
{
    while (p->gone.head != NONE) {
        uint32_t i = p->gone.head;

        if (now < cl_pres_actor(p, i)->gone_since + CL_PRES_FORGET_MS) {
            break;
        }
        if (!cl_pres_forget_actor(p, NONE)) {
            /* its leaves could not be shown yet: later */
            cl_pres_gone_remove(p, i);
            cl_pres_gone_add(p, now, i);
        }
    }
    while (p->idle.head != NONE) {
        uint32_t i = p->idle.head;

        if (now < cl_pres_pair(p, i)->idle_since + CL_PRES_FORGET_MS) {
            break;
        }
        if (cl_pres_pair(p, i)->held > 0) {
            cl_pres_mind_idle(p, now, i);
        } else {
            cl_pres_drop_pair(p, i);
        }
    }
}
