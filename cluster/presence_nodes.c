/* SPDX-License-Identifier: Apache-2.0 */
/* presence_nodes.c - whole states told between nodes, and what of them is dropped again. Rules:
 * presence.h, "Between nodes". */
#include "cluster/diff.h"

#include <assert.h>

/* Bytes of a P_DELTA besides its topic and lists, at most. */
#define DELTA_HEAD_BYTES ((size_t)64)

int cl_pres_actor_own(struct cl_pres *p, cl_ms now, uint64_t boot)
{
    uint32_t i = cl_pres_need_actor(p, now, boot);

    if (i == NONE) {
        return CL_ENOMEM;
    }
    cl_pres_actor(p, i)->own = true;
    for (uint32_t k = cl_pres_actor(p, i)->pairs; k != NONE; k = cl_pres_pair(p, k)->anext) {
        cl_pres_pair(p, k)->marks = 0;
    }
    return CL_OK;
}

/* The adds of the full state of a pair; their number. */
static uint32_t put_adds(const struct cl_pres *p, uint32_t pair, struct pr_outbuf *o)
{
    uint32_t count = 0;

    for (uint32_t i = cl_pres_pair(p, pair)->head; i != NONE; i = cl_pres_entry(p, i)->next) {
        const struct entry *e = cl_pres_entry(p, i);
        struct pr_pshown s = cl_pres_as_shown(p, e);
        struct pr_pent ent = {.n = e->n, .slot = e->slot, .key = s.key, .meta = s.meta};

        if ((e->flags & E_DEAD) == 0) {
            pr_padd_put(o, &ent);
            count++;
        }
    }
    return count;
}

static bool fits_frame(const struct topic *t, const struct pr_outbuf *adds, uint32_t count)
{
    return count <= PR_LIST_MAX && adds->len <= PR_FRAME_MAX - DELTA_HEAD_BYTES - t->key_len;
}

/* The pairs whose states are to be told: one, or all of a topic. */
struct state_walk {
    uint32_t topic, pair;
    bool one;
};

static uint32_t walk_next(const struct cl_pres *p, const struct state_walk *w, uint32_t i)
{
    return w->one ? NONE : cl_pres_pair(p, i)->tnext;
}

/* Bytes of the longest list of adds that fits; CL_ERANGE in *rv if one does not. */
static size_t longest(const struct cl_pres *p, const struct state_walk *w, int *rv)
{
    size_t most = 0;

    for (uint32_t i = w->pair; i != NONE; i = walk_next(p, w, i)) {
        struct pr_outbuf o = {0};
        uint32_t count = put_adds(p, i, &o);

        if (!fits_frame(cl_pres_topic(p, w->topic), &o, count)) {
            *rv = CL_ERANGE;
        } else if (o.len > most) {
            most = o.len;
        }
    }
    return most;
}

static int emit_states(const struct cl_pres *p, const struct state_walk *w, cl_pres_state_fn emit,
                       void *ctx)
{
    const struct topic *t = cl_pres_topic(p, w->topic);
    const struct cl_alloc *mem = p->cfg.mem;
    int told = CL_OK, err = CL_OK;
    size_t cap = longest(p, w, &told);
    uint8_t *buf = cap == 0 ? NULL : mem->get(mem->ctx, cap);

    if (cap > 0 && buf == NULL) {
        return CL_ENOMEM;
    }
    for (uint32_t i = w->pair; i != NONE && err == CL_OK; i = walk_next(p, w, i)) {
        const struct pair *pr = cl_pres_pair(p, i);
        struct pr_outbuf o = pr_outbuf(buf, cap);
        struct pr_p_delta d = {.topic = {t->key, t->key_len}, .b = pr->ctx};

        d.actor = cl_pres_actor(p, pr->actor)->boot;
        d.nadds = put_adds(p, i, &o);
        if (pr->ctx > 0 && fits_frame(t, &o, d.nadds)) {
            assert(pr_out_ok(&o));
            d.adds = pr_bytes(buf, o.len);
            err = emit(ctx, &d);
        }
    }
    if (buf != NULL) {
        mem->put(mem->ctx, buf, cap);
    }
    return err != CL_OK ? err : told;
}

int cl_pres_state(const struct cl_pres *p, struct pr_slice topic, cl_pres_state_fn emit, void *ctx)
{
    struct state_walk w = {.topic = cl_pres_find_topic(p, topic)};

    if (w.topic == NONE) {
        return CL_OK;
    }
    w.pair = cl_pres_topic(p, w.topic)->pairs;
    return emit_states(p, &w, emit, ctx);
}

int cl_pres_state_of(const struct cl_pres *p, struct pr_slice topic, uint64_t boot,
                     cl_pres_state_fn emit, void *ctx)
{
    struct state_walk w = {.topic = cl_pres_find_topic(p, topic), .pair = NONE, .one = true};
    uint32_t actor = cl_pres_find_actor(p, boot);

    if (w.topic == NONE || actor == NONE) {
        return CL_OK;
    }
    w.pair = cl_pres_find_pair(p, w.topic, actor);
    return emit_states(p, &w, emit, ctx);
}

/* Nothing is known of the pair any more. What was shown of it stays until its leave is shown. */
static void unknow(struct cl_pres *p, cl_ms now, uint32_t i)
{
    uint32_t next;

    for (uint32_t k = cl_pres_pair(p, i)->head; k != NONE; k = next) {
        next = cl_pres_entry(p, k)->next;
        if ((cl_pres_entry(p, k)->flags & E_DEAD) == 0) {
            cl_pres_kill(p, now, k);
        }
    }
    cl_pres_pair(p, i)->ctx = 0;
    cl_pres_pair(p, i)->marks = 0;
    if (cl_pres_pair(p, i)->held == 0) {
        cl_pres_drop_pair(p, i);
    } else {
        cl_pres_mind_idle(p, now, i);
    }
}

void cl_pres_replace_begin(struct cl_pres *p, struct pr_slice topic)
{
    uint32_t t = cl_pres_find_topic(p, topic);
    uint32_t i = t == NONE ? NONE : cl_pres_topic(p, t)->pairs;

    for (; i != NONE; i = cl_pres_pair(p, i)->tnext) {
        if (!cl_pres_actor(p, cl_pres_pair(p, i)->actor)->own) {
            cl_pres_pair(p, i)->marks |= P_TOPIC;
        }
    }
}

void cl_pres_replace_end(struct cl_pres *p, cl_ms now, struct pr_slice topic)
{
    uint32_t t = cl_pres_find_topic(p, topic);
    uint32_t next;

    for (uint32_t i = t == NONE ? NONE : cl_pres_topic(p, t)->pairs; i != NONE; i = next) {
        next = cl_pres_pair(p, i)->tnext;
        if ((cl_pres_pair(p, i)->marks & P_TOPIC) != 0) {
            unknow(p, now, i);
        }
    }
}

void cl_pres_replace_actor_begin(struct cl_pres *p, uint64_t boot)
{
    uint32_t a = cl_pres_find_actor(p, boot);

    if (a == NONE || cl_pres_actor(p, a)->own) {
        return;
    }
    for (uint32_t i = cl_pres_actor(p, a)->pairs; i != NONE; i = cl_pres_pair(p, i)->anext) {
        cl_pres_pair(p, i)->marks |= P_ACTOR;
    }
}

void cl_pres_replace_actor_end(struct cl_pres *p, cl_ms now, uint64_t boot,
                               cl_pres_keep_fn in_scope, void *ctx)
{
    uint32_t a = cl_pres_find_actor(p, boot);
    uint32_t next;

    for (uint32_t i = a == NONE ? NONE : cl_pres_actor(p, a)->pairs; i != NONE; i = next) {
        struct pair *pr = cl_pres_pair(p, i);
        const struct topic *t = cl_pres_topic(p, pr->topic);

        next = pr->anext;
        if ((pr->marks & P_ACTOR) == 0) {
            continue;
        }
        pr->marks &= (uint8_t)~P_ACTOR;
        if (in_scope(ctx, (struct pr_slice){t->key, t->key_len})) {
            unknow(p, now, i);
        }
    }
}

/* Drops a pair with all its entries, also what was shown of them. */
static void vanish(struct cl_pres *p, cl_ms now, uint32_t i)
{
    uint32_t k;

    while ((k = cl_pres_pair(p, i)->head) != NONE) {
        struct entry *e = cl_pres_entry(p, k);

        if ((e->flags & E_SHOWN) != 0) {
            e->flags &= (uint16_t)~E_SHOWN;
            cl_pres_actor(p, cl_pres_pair(p, i)->actor)->shown--;
        }
        if ((e->flags & E_DEAD) == 0) {
            cl_pres_kill(p, now, k); /* frees it: it is not shown */
        } else {
            cl_diff_untouch(p, k);
            cl_pres_free_entry(p, k);
        }
    }
    cl_pres_drop_pair(p, i);
}

void cl_pres_forget_topic(struct cl_pres *p, cl_ms now, struct pr_slice topic)
{
    uint32_t t = cl_pres_find_topic(p, topic);
    uint32_t next;

    for (uint32_t i = t == NONE ? NONE : cl_pres_topic(p, t)->pairs; i != NONE; i = next) {
        next = cl_pres_pair(p, i)->tnext;
        if (!cl_pres_actor(p, cl_pres_pair(p, i)->actor)->own) {
            vanish(p, now, i);
        }
    }
}

uint64_t cl_pres_sum(const struct cl_pres *p, cl_pres_pick_fn pick, void *ctx, uint32_t *entries)
{
    uint64_t sum = 0;

    *entries = 0;
    for (uint32_t t = 0; t < p->topics.top; t++) {
        const struct topic *tp = cl_pres_topic(p, t);
        struct pr_slice key = {tp->key, tp->key_len};
        uint32_t i = tp->key == NULL ? NONE : tp->pairs;

        for (; i != NONE; i = cl_pres_pair(p, i)->tnext) {
            const struct pair *pr = cl_pres_pair(p, i);
            uint64_t boot = cl_pres_actor(p, pr->actor)->boot;

            if (pr->alive > 0 && pick(ctx, key, boot)) {
                *entries += pr->alive;
                sum += cl_pres_two_hash(boot, pr->digest);
            }
        }
    }
    return sum;
}

void cl_pres_each_topic(const struct cl_pres *p, cl_pres_each_topic_fn fn, void *ctx)
{
    for (uint32_t t = 0; t < p->topics.top; t++) {
        const struct topic *tp = cl_pres_topic(p, t);
        uint32_t i = tp->key == NULL ? NONE : tp->pairs;
        uint32_t actors = 0;

        for (; i != NONE; i = cl_pres_pair(p, i)->tnext) {
            actors += cl_pres_pair(p, i)->ctx > 0;
        }
        if (actors > 0) {
            fn(ctx, (struct pr_slice){tp->key, tp->key_len}, actors);
        }
    }
}
