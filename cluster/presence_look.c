/* SPDX-License-Identifier: Apache-2.0 */
/* presence_look.c - reads of the presence set: digests, rows for the operator, own invariants. */
#include "cluster/presence_in.h"

void cl_pres_digest(const struct cl_pres *p, uint64_t boot, struct pr_p_digest *out)
{
    uint32_t i = cl_pres_find_actor(p, boot);

    *out = (struct pr_p_digest){.actor = boot};
    if (i != NONE) {
        out->hash = cl_pres_actor(p, i)->digest;
        out->entries = cl_pres_actor(p, i)->entries;
    }
}

uint64_t cl_pres_ctx(const struct cl_pres *p, struct pr_slice topic, uint64_t boot)
{
    uint32_t t = cl_pres_find_topic(p, topic);
    uint32_t a = cl_pres_find_actor(p, boot);
    uint32_t i = t == NONE || a == NONE ? NONE : cl_pres_find_pair(p, t, a);

    return i == NONE ? 0 : cl_pres_pair(p, i)->ctx;
}

void cl_pres_topics_of(const struct cl_pres *p, uint64_t boot, cl_pres_topic_fn emit, void *ctx)
{
    uint32_t a = cl_pres_find_actor(p, boot);
    uint32_t i = a == NONE ? NONE : cl_pres_actor(p, a)->pairs;

    for (; i != NONE; i = cl_pres_pair(p, i)->anext) {
        const struct pair *pair = cl_pres_pair(p, i);
        const struct topic *t = cl_pres_topic(p, pair->topic);

        if (pair->alive > 0) {
            emit(ctx, (struct pr_slice){.p = t->key, .n = t->key_len}, pair->ctx);
        }
    }
}

uint32_t cl_pres_members(const struct cl_pres *p, struct pr_slice topic)
{
    uint32_t t = cl_pres_find_topic(p, topic);

    return t == NONE ? 0 : cl_pres_topic(p, t)->members;
}

void cl_pres_each(const struct cl_pres *p, struct pr_slice topic, cl_presence_fn emit, void *ctx)
{
    uint32_t t = cl_pres_find_topic(p, topic);
    uint32_t i = t == NONE ? NONE : cl_pres_topic(p, t)->pairs;

    for (; i != NONE; i = cl_pres_pair(p, i)->tnext) {
        const struct actor *a = cl_pres_actor(p, cl_pres_pair(p, i)->actor);
        uint32_t k = cl_pres_pair(p, i)->head;

        for (; k != NONE; k = cl_pres_entry(p, k)->next) {
            const struct entry *e = cl_pres_entry(p, k);
            struct pr_pshown s = cl_pres_as_shown(p, e);
            struct cl_presence_row row = {topic, s.key, s.meta, s.actor, s.n, a->visible};

            if ((e->flags & E_DEAD) == 0) {
                emit(ctx, &row);
            }
        }
    }
}

void cl_pres_stats(const struct cl_pres *p, struct cl_pres_stats *out)
{
    *out = p->stats;
    out->topics = p->topics.used;
    out->actors = p->actors.used;
    out->entries = p->alive;
    out->visible = p->visible;
    out->bytes = p->alive_bytes;
    out->memory_bytes = sizeof *p + p->data_bytes + p->entries.bytes + p->pairs.bytes +
                        p->topics.bytes + p->actors.bytes;
}

/* What a walk over everything adds up to, to be compared with the counters. */
struct sums {
    uint32_t topics, pairs, entries, alive, visible, dirty;
    size_t alive_bytes, data_bytes;
};

static const char *check_entry(const struct cl_pres *p, uint32_t i, struct sums *s)
{
    const struct entry *e = cl_pres_entry(p, i);
    const struct pair *pr = cl_pres_pair(p, e->pair);
    bool visible = cl_pres_actor(p, pr->actor)->visible;
    bool dead = (e->flags & E_DEAD) != 0;
    bool shown = (e->flags & E_SHOWN) != 0;
    size_t bytes = cl_pres_entry_bytes(e);

    s->entries++;
    s->data_bytes += bytes;
    s->dirty += (e->flags & E_DIRTY) != 0;
    if ((e->flags & (E_MARK | E_DEL)) != 0) {
        return "presence: a mark is left behind";
    }
    if (((visible && !dead) != shown) != ((e->flags & E_DIRTY) != 0)) {
        return "presence: an entry is dirty without a difference, or the reverse";
    }
    if (dead) {
        return shown ? NULL : "presence: a dead entry that nobody was shown";
    }
    s->alive++;
    s->alive_bytes += bytes;
    s->visible += visible;
    if (e->n > pr->ctx) {
        return "presence: a dot after ctx";
    }
    if (cl_pres_find_dot(p, pr->actor, e->n) != i) {
        return "presence: a dot that its index does not find";
    }
    if (cl_pres_find_again(p, i) != NONE) {
        return "presence: an entry is there, and its leave is still to be shown";
    }
    return NULL;
}

/* An actor with topics, looked at once: at the first pair of its list. */
static const char *check_actor(const struct cl_pres *p, uint32_t actor)
{
    const struct actor *a = cl_pres_actor(p, actor);
    uint32_t entries = 0, shown = 0;
    uint64_t digest = 0;

    for (uint32_t i = a->pairs; i != NONE; i = cl_pres_pair(p, i)->anext) {
        const struct pair *pr = cl_pres_pair(p, i);
        uint64_t part = 0;

        if (pr->actor != actor || (a->own && pr->marks != 0)) {
            return "presence: a pair of another actor, or an own one about to be replaced";
        }
        for (uint32_t k = pr->head; k != NONE; k = cl_pres_entry(p, k)->next) {
            const struct entry *e = cl_pres_entry(p, k);

            shown += (e->flags & E_SHOWN) != 0;
            if ((e->flags & E_DEAD) == 0) {
                entries++;
                part += cl_pres_two_hash(cl_pres_topic(p, pr->topic)->name_hash, e->n);
            }
        }
        if (pr->digest != part) {
            return "presence: the digest of a pair is wrong";
        }
        digest += part;
    }
    if (a->entries != entries || a->shown != shown || a->digest != digest) {
        return "presence: an actor counts wrong";
    }
    return NULL;
}

static const char *check_pair(const struct cl_pres *p, uint32_t i, struct sums *s)
{
    const struct pair *pr = cl_pres_pair(p, i);
    uint32_t before = s->entries, alive = s->alive;
    uint32_t prev = NONE;

    s->pairs++;
    for (uint32_t k = pr->head; k != NONE; k = cl_pres_entry(p, k)->next) {
        const char *what = check_entry(p, k, s);

        if (what != NULL) {
            return what;
        }
        if (cl_pres_entry(p, k)->prev != prev || cl_pres_entry(p, k)->pair != i) {
            return "presence: the list of a pair is broken";
        }
        prev = k;
    }
    if (pr->tail != prev || s->entries - before != pr->held || s->alive - alive != pr->alive) {
        return "presence: a pair counts wrong";
    }
    if (pr->idle != (pr->alive == 0)) {
        return "presence: a pair is idle with entries, or the reverse";
    }
    return pr->aprev == NONE ? check_actor(p, pr->actor) : NULL;
}

static const char *check_topic(const struct cl_pres *p, uint32_t i, struct sums *s)
{
    const struct topic *t = cl_pres_topic(p, i);
    uint32_t visible = s->visible, dirty = s->dirty;

    s->topics++;
    s->data_bytes += t->key_len;
    if (t->pairs == NONE) {
        return "presence: a topic without pairs";
    }
    for (uint32_t k = t->pairs; k != NONE; k = cl_pres_pair(p, k)->tnext) {
        const char *what = check_pair(p, k, s);

        if (what != NULL) {
            return what;
        }
    }
    if (s->visible - visible != t->members || s->dirty - dirty != t->dirty) {
        return "presence: a topic counts wrong";
    }
    return NULL;
}

static const char *check_actors(const struct cl_pres *p)
{
    uint32_t gone = 0, entries = 0;

    for (uint32_t i = p->gone.head; i != NONE; i = cl_pres_actor(p, i)->gnext) {
        if (cl_pres_actor(p, i)->visible) {
            return "presence: a visible actor among the gone";
        }
        gone++;
        entries += cl_pres_actor(p, i)->entries;
    }
    if (gone > p->actors.used || entries != p->alive - p->visible) {
        return "presence: gone actors count wrong";
    }
    return NULL;
}

static const char *check_queue(const struct cl_pres *p, uint32_t dirty)
{
    cl_ms due = 0;

    for (uint32_t i = p->queue.head; i != NONE; i = cl_pres_topic(p, i)->qnext) {
        const struct topic *t = cl_pres_topic(p, i);

        if (t->dirty == 0 || t->dirty > dirty) {
            return "presence: a topic waits with nothing to show";
        }
        if (t->due < due) {
            return "presence: the queue is not in order";
        }
        dirty -= t->dirty;
        due = t->due;
    }
    return dirty == 0 ? NULL : "presence: a topic with something to show does not wait";
}

bool cl_pres_check(const struct cl_pres *p, const char **what)
{
    struct sums s = {0};
    const char *bad = NULL;

    for (uint32_t i = 0; i < p->topics.top && bad == NULL; i++) {
        if (cl_pres_topic(p, i)->key != NULL) {
            bad = check_topic(p, i, &s);
        }
    }
    if (bad == NULL &&
        (s.topics != p->topics.used || s.pairs != p->pairs.used || s.entries != p->entries.used ||
         s.alive != p->alive || s.visible != p->visible)) {
        bad = "presence: totals count wrong";
    }
    if (bad == NULL && (s.alive_bytes != p->alive_bytes || s.data_bytes != p->data_bytes)) {
        bad = "presence: bytes count wrong";
    }
    if (bad == NULL && s.entries > 2 * p->cfg.presences) {
        bad = "presence: more entries than the limit";
    }
    bad = bad == NULL ? check_actors(p) : bad;
    bad = bad == NULL ? check_queue(p, s.dirty) : bad;
    *what = bad;
    return bad == NULL;
}
