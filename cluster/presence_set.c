/* SPDX-License-Identifier: Apache-2.0 */
/* presence_set.c - the tables of the presence set: find, make, count, free. */
#include "cluster/diff.h"
#include "cluster/hash.h"

#include <assert.h>
#include <string.h>

struct entry *cl_pres_entry(const struct cl_pres *p, uint32_t i)
{
    return (struct entry *)cl_pool_at(&p->entries, i);
}

struct pair *cl_pres_pair(const struct cl_pres *p, uint32_t i)
{
    return (struct pair *)cl_pool_at(&p->pairs, i);
}

struct topic *cl_pres_topic(const struct cl_pres *p, uint32_t i)
{
    return (struct topic *)cl_pool_at(&p->topics, i);
}

struct actor *cl_pres_actor(const struct cl_pres *p, uint32_t i)
{
    return (struct actor *)cl_pool_at(&p->actors, i);
}

/* Of the table only: clients choose topics, so it is seeded. */
static uint64_t topic_hash(const struct cl_pres *p, struct pr_slice key)
{
    return cl_hash64_seeded(key, p->cfg.seed);
}

uint64_t cl_pres_two_hash(uint64_t a, uint64_t b)
{
    return cl_mix64(cl_mix64(a + UINT64_C(0x9e3779b97f4a7c15)) ^ b);
}

uint64_t cl_pres_dot_hash(struct pr_slice topic, uint64_t n)
{
    return cl_pres_two_hash(cl_hash64(topic), n);
}

uint64_t cl_pres_entry_hash(const struct cl_pres *p, const struct entry *e)
{
    if ((e->flags & E_DEAD) != 0) {
        return cl_pres_two_hash(e->pair, e->slot);
    }
    return cl_pres_two_hash(cl_pres_pair(p, e->pair)->actor, e->n);
}

static uint64_t rehash_entry(const void *ctx, uint32_t i)
{
    const struct cl_pres *p = ctx;
    return cl_pres_entry_hash(p, cl_pres_entry(p, i));
}

static uint64_t rehash_pair(const void *ctx, uint32_t i)
{
    const struct pair *pr = cl_pres_pair(ctx, i);
    return cl_pres_two_hash(pr->topic, pr->actor);
}

static uint64_t rehash_topic(const void *ctx, uint32_t i)
{
    return cl_pres_topic(ctx, i)->hash;
}

static uint64_t rehash_actor(const void *ctx, uint32_t i)
{
    return cl_mix64(cl_pres_actor(ctx, i)->boot);
}

struct cl_pres *cl_pres_new(const struct cl_pres_config *cfg)
{
    struct cl_pres *p;

    if (cfg->presences == 0 || cfg->presences_per_topic == 0 || cfg->bytes == 0 ||
        cfg->presences > NONE / 4) {
        return NULL;
    }
    p = cfg->mem->get(cfg->mem->ctx, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    memset(p, 0, sizeof *p);
    p->cfg = *cfg;
    p->idle = (struct list){NONE, NONE};
    p->gone = (struct list){NONE, NONE};
    p->queue = (struct list){NONE, NONE};
    cl_pool_init(&p->entries, cfg->mem, sizeof(struct entry), 8, rehash_entry, p);
    cl_pool_init(&p->pairs, cfg->mem, sizeof(struct pair), 6, rehash_pair, p);
    cl_pool_init(&p->topics, cfg->mem, sizeof(struct topic), 6, rehash_topic, p);
    cl_pool_init(&p->actors, cfg->mem, sizeof(struct actor), 6, rehash_actor, p);
    return p;
}

void *cl_pres_get(struct cl_pres *p, size_t n)
{
    void *m = p->cfg.mem->get(p->cfg.mem->ctx, n);

    if (m != NULL) {
        p->data_bytes += n;
    }
    return m;
}

void cl_pres_put(struct cl_pres *p, void *m, size_t n)
{
    if (m != NULL) {
        p->cfg.mem->put(p->cfg.mem->ctx, m, n);
        p->data_bytes -= n;
    }
}

void cl_pres_free(struct cl_pres *p)
{
    if (p == NULL) {
        return;
    }
    for (uint32_t t = 0; t < p->topics.top; t++) {
        struct topic *tp = cl_pres_topic(p, t);

        if (tp->key == NULL) {
            continue; /* given back: the pool zeroes on take, drop_pair clears on give */
        }
        for (uint32_t i = tp->pairs; i != NONE; i = cl_pres_pair(p, i)->tnext) {
            for (uint32_t e = cl_pres_pair(p, i)->head; e != NONE; e = cl_pres_entry(p, e)->next) {
                cl_pres_put(p, cl_pres_entry(p, e)->data, cl_pres_entry_bytes(cl_pres_entry(p, e)));
            }
        }
        cl_pres_put(p, tp->key, tp->key_len);
    }
    assert(p->data_bytes == 0);
    cl_pool_clear(&p->entries);
    cl_pool_clear(&p->pairs);
    cl_pool_clear(&p->topics);
    cl_pool_clear(&p->actors);
    p->cfg.mem->put(p->cfg.mem->ctx, p, sizeof *p);
}

uint32_t cl_pres_find_topic(const struct cl_pres *p, struct pr_slice key)
{
    uint64_t h = topic_hash(p, key);
    uint32_t i = cl_pool_first(&p->topics, h);

    while (i != NONE) {
        const struct topic *t = cl_pres_topic(p, i);

        if (t->hash == h && t->key_len == key.n && memcmp(t->key, key.p, key.n) == 0) {
            break;
        }
        i = cl_pool_next(&p->topics, i);
    }
    return i;
}

uint32_t cl_pres_find_actor(const struct cl_pres *p, uint64_t boot)
{
    uint32_t i = cl_pool_first(&p->actors, cl_mix64(boot));

    while (i != NONE && cl_pres_actor(p, i)->boot != boot) {
        i = cl_pool_next(&p->actors, i);
    }
    return i;
}

uint32_t cl_pres_find_pair(const struct cl_pres *p, uint32_t topic, uint32_t actor)
{
    uint32_t i = cl_pool_first(&p->pairs, cl_pres_two_hash(topic, actor));

    while (i != NONE &&
           (cl_pres_pair(p, i)->topic != topic || cl_pres_pair(p, i)->actor != actor)) {
        i = cl_pool_next(&p->pairs, i);
    }
    return i;
}

uint32_t cl_pres_find_dot(const struct cl_pres *p, uint32_t actor, uint64_t n)
{
    uint32_t i = cl_pool_first(&p->entries, cl_pres_two_hash(actor, n));

    while (i != NONE) {
        const struct entry *e = cl_pres_entry(p, i);

        if (e->n == n && (e->flags & E_DEAD) == 0 && cl_pres_pair(p, e->pair)->actor == actor) {
            break;
        }
        i = cl_pool_next(&p->entries, i);
    }
    return i;
}

uint32_t cl_pres_find_dead(const struct cl_pres *p, uint32_t pair, uint32_t slot)
{
    uint32_t i = cl_pool_first(&p->entries, cl_pres_two_hash(pair, slot));

    while (i != NONE) {
        const struct entry *e = cl_pres_entry(p, i);

        if (e->pair == pair && e->slot == slot && (e->flags & E_DEAD) != 0) {
            break;
        }
        i = cl_pool_next(&p->entries, i);
    }
    return i;
}

void cl_pres_gone_add(struct cl_pres *p, cl_ms now, uint32_t i)
{
    struct actor *a = cl_pres_actor(p, i);

    a->gone_since = now;
    a->gnext = NONE;
    a->gprev = p->gone.tail;
    if (a->gprev == NONE) {
        p->gone.head = i;
    } else {
        cl_pres_actor(p, a->gprev)->gnext = i;
    }
    p->gone.tail = i;
}

void cl_pres_gone_remove(struct cl_pres *p, uint32_t i)
{
    const struct actor *a = cl_pres_actor(p, i);

    if (a->gprev == NONE) {
        p->gone.head = a->gnext;
    } else {
        cl_pres_actor(p, a->gprev)->gnext = a->gnext;
    }
    if (a->gnext == NONE) {
        p->gone.tail = a->gprev;
    } else {
        cl_pres_actor(p, a->gnext)->gprev = a->gprev;
    }
}

uint32_t cl_pres_need_actor(struct cl_pres *p, cl_ms now, uint64_t boot)
{
    uint32_t i = cl_pres_find_actor(p, boot);
    struct actor *a;

    if (i != NONE) {
        return i;
    }
    if (p->actors.used >= CL_PRES_ACTORS_MAX && !cl_pres_forget_actor(p, NONE)) {
        return NONE;
    }
    i = cl_pool_take(&p->actors);
    if (i == NONE) {
        return NONE;
    }
    a = cl_pres_actor(p, i);
    a->boot = boot;
    a->pairs = NONE;
    cl_pool_link(&p->actors, cl_mix64(boot), i);
    cl_pres_gone_add(p, now, i);
    return i;
}

void cl_pres_drop_actor(struct cl_pres *p, uint32_t i)
{
    cl_pool_unlink(&p->actors, cl_mix64(cl_pres_actor(p, i)->boot), i);
    cl_pool_give(&p->actors, i);
}

static uint32_t new_topic(struct cl_pres *p, struct pr_slice key)
{
    uint32_t i = cl_pool_take(&p->topics);
    struct topic *t;

    if (i == NONE) {
        return NONE;
    }
    t = cl_pres_topic(p, i);
    t->key = cl_pres_get(p, key.n);
    if (t->key == NULL) {
        cl_pool_give(&p->topics, i);
        return NONE;
    }
    memcpy(t->key, key.p, key.n);
    t->key_len = (uint32_t)key.n;
    t->hash = topic_hash(p, key);
    t->name_hash = cl_hash64(key);
    t->pairs = t->dirty_head = t->dirty_tail = NONE;
    cl_pool_link(&p->topics, t->hash, i);
    return i;
}

static void drop_topic(struct cl_pres *p, uint32_t i)
{
    struct topic *t = cl_pres_topic(p, i);

    assert(t->pairs == NONE && t->dirty == 0 && t->members == 0);
    cl_pool_unlink(&p->topics, t->hash, i);
    cl_pres_put(p, t->key, t->key_len);
    t->key = NULL;
    cl_pool_give(&p->topics, i);
}

/* Room for one more (topic, actor): the one without entries for the longest time makes it. */
static bool pair_room(struct cl_pres *p)
{
    if (p->pairs.used < p->cfg.presences) {
        return true;
    }
    if (p->idle.head == NONE || cl_pres_pair(p, p->idle.head)->held > 0) {
        return false;
    }
    cl_pres_drop_pair(p, p->idle.head);
    return true;
}

uint32_t cl_pres_need_pair(struct cl_pres *p, cl_ms now, struct pr_slice key, uint32_t actor)
{
    uint32_t t = cl_pres_find_topic(p, key);
    uint32_t i = t == NONE ? NONE : cl_pres_find_pair(p, t, actor);
    struct pair *pr;

    if (i != NONE) {
        return i;
    }
    if (!pair_room(p)) {
        return NONE;
    }
    t = cl_pres_find_topic(p, key); /* the room may have been made there */
    if (t == NONE) {
        t = new_topic(p, key);
    }
    i = t == NONE ? NONE : cl_pool_take(&p->pairs);
    if (i == NONE) {
        if (t != NONE && cl_pres_topic(p, t)->pairs == NONE) {
            drop_topic(p, t);
        }
        return NONE;
    }
    pr = cl_pres_pair(p, i);
    pr->topic = t;
    pr->actor = actor;
    pr->head = pr->tail = pr->tprev = pr->aprev = NONE;
    pr->tnext = cl_pres_topic(p, t)->pairs;
    if (pr->tnext != NONE) {
        cl_pres_pair(p, pr->tnext)->tprev = i;
    }
    cl_pres_topic(p, t)->pairs = i;
    pr->anext = cl_pres_actor(p, actor)->pairs;
    if (pr->anext != NONE) {
        cl_pres_pair(p, pr->anext)->aprev = i;
    }
    cl_pres_actor(p, actor)->pairs = i;
    cl_pool_link(&p->pairs, cl_pres_two_hash(t, actor), i);
    cl_pres_mind_idle(p, now, i);
    return i;
}

static void idle_remove(struct cl_pres *p, uint32_t i)
{
    struct pair *pr = cl_pres_pair(p, i);

    if (pr->iprev == NONE) {
        p->idle.head = pr->inext;
    } else {
        cl_pres_pair(p, pr->iprev)->inext = pr->inext;
    }
    if (pr->inext == NONE) {
        p->idle.tail = pr->iprev;
    } else {
        cl_pres_pair(p, pr->inext)->iprev = pr->iprev;
    }
    pr->idle = false;
}

void cl_pres_mind_idle(struct cl_pres *p, cl_ms now, uint32_t i)
{
    struct pair *pr = cl_pres_pair(p, i);

    if (pr->idle) {
        idle_remove(p, i);
    }
    if (pr->alive > 0) {
        return;
    }
    pr->idle = true;
    pr->idle_since = now;
    pr->inext = NONE;
    pr->iprev = p->idle.tail;
    if (pr->iprev == NONE) {
        p->idle.head = i;
    } else {
        cl_pres_pair(p, pr->iprev)->inext = i;
    }
    p->idle.tail = i;
}

void cl_pres_drop_pair(struct cl_pres *p, uint32_t i)
{
    const struct pair *pr = cl_pres_pair(p, i);
    uint32_t t = pr->topic;

    assert(pr->held == 0 && pr->head == NONE);
    if (pr->idle) {
        idle_remove(p, i);
    }
    if (pr->tprev == NONE) {
        cl_pres_topic(p, t)->pairs = pr->tnext;
    } else {
        cl_pres_pair(p, pr->tprev)->tnext = pr->tnext;
    }
    if (pr->tnext != NONE) {
        cl_pres_pair(p, pr->tnext)->tprev = pr->tprev;
    }
    if (pr->aprev == NONE) {
        cl_pres_actor(p, pr->actor)->pairs = pr->anext;
    } else {
        cl_pres_pair(p, pr->aprev)->anext = pr->anext;
    }
    if (pr->anext != NONE) {
        cl_pres_pair(p, pr->anext)->aprev = pr->aprev;
    }
    cl_pool_unlink(&p->pairs, cl_pres_two_hash(t, pr->actor), i);
    cl_pool_give(&p->pairs, i);
    if (cl_pres_topic(p, t)->pairs == NONE) {
        drop_topic(p, t);
    }
}
