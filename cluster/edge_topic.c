/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/edge_in.h"

#include <assert.h>
#include <string.h>

struct etopic *cle_topic(const struct cle *c, uint32_t i)
{
    return cl_pool_at(&c->topics, i);
}

/* A handle of the caller: must be live. */
static struct etopic *live(const struct cle *c, uint32_t handle)
{
    struct etopic *t = cle_topic(c, handle);

    assert(t->key != NULL);
    return t;
}

struct pr_slice cle_topic_key(const struct cle *c, uint32_t handle)
{
    const struct etopic *t = live(c, handle);

    return (struct pr_slice){.p = t->key, .n = t->key_len};
}

uint64_t cle_topic_hash(const struct cle *c, struct pr_slice key)
{
    return cl_hash64_seeded(key, c->boot);
}

uint32_t cle_topic_find(const struct cle *c, struct pr_slice key)
{
    uint32_t i = cl_pool_first(&c->topics, cle_topic_hash(c, key));

    while (i != NONE && !pr_slice_eq(cle_topic_key(c, i), key)) {
        i = cl_pool_next(&c->topics, i);
    }
    return i;
}

static void list_leave(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);
    struct list *l = &c->lists[t->list];

    if (t->list == LIST_NONE) {
        return;
    }
    if (t->prev == NONE) {
        l->head = t->next;
    } else {
        cle_topic(c, t->prev)->next = t->next;
    }
    if (t->next == NONE) {
        l->tail = t->prev;
    } else {
        cle_topic(c, t->next)->prev = t->prev;
    }
    t->list = LIST_NONE;
}

/* Each list has one delay, so joining at the end keeps it in the order of `at`. */
static void list_join(struct cle *c, uint32_t i, enum timer_list list, cl_ms at)
{
    struct etopic *t = cle_topic(c, i);
    struct list *l = &c->lists[list];

    list_leave(c, i);
    t->list = list;
    t->at = at;
    t->next = NONE;
    t->prev = l->tail;
    if (l->tail == NONE) {
        l->head = i;
    } else {
        cle_topic(c, l->tail)->next = i;
    }
    l->tail = i;
}

void cle_topic_due(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);

    if (t->due) {
        return;
    }
    t->due = true;
    t->due_next = NONE;
    if (c->due.tail == NONE) {
        c->due.head = i;
    } else {
        cle_topic(c, c->due.tail)->due_next = i;
    }
    c->due.tail = i;
}

static int reserve_sub(struct cle *c, const struct etopic *t)
{
    return cl_out_reserve(&c->out, CLE_FRAME_SMALL + t->key_len, 1);
}

static void push_sub(struct cle *c, struct etopic *t)
{
    struct pr_outbuf w = cl_out_writer(&c->out);
    struct pr_sub sub = {
        .topic = {.p = t->key, .n = t->key_len},
        .presence = t->presence,
        .epoch = t->epoch,
        .seq = t->seq,
        .origin = t->origin,
    };

    pr_sub_encode(&w, &sub);
    cle_push_send(c, &w);
    t->unanswered++;
    t->asked = t->presence;
    if (t->state == SUB_NONE) {
        t->state = SUB_SENT;
    }
}

int cle_topic_send_sub(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);
    int rv = reserve_sub(c, t);

    if (rv == CL_OK) {
        push_sub(c, t);
    }
    return rv;
}

/* Of a topic that is in no queue, no list, and has no presences. */
static void free_topic(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);

    assert(!t->due && t->list == LIST_NONE && t->pres_count == 0);
    cle_pub_forget_publishers(c, t);
    cl_pool_unlink(&c->topics, cle_topic_hash(c, cle_topic_key(c, i)), i);
    c->mem->put(c->mem->ctx, t->key, t->key_len);
    t->key = NULL;
    cl_pool_give(&c->topics, i);
}

static int make(struct cle *c, struct pr_slice key, uint32_t *out)
{
    struct etopic *t = NULL;
    uint8_t *copy = NULL;
    uint32_t i = NONE;

    if (key.n == 0 || key.n > PR_TOPIC_KEY_MAX) {
        return CL_ERANGE;
    }
    if (c->topics.used >= c->topics_max) {
        return CL_ENOMEM;
    }
    copy = c->mem->get(c->mem->ctx, key.n);
    if (copy == NULL) {
        return CL_ENOMEM;
    }
    i = cl_pool_take(&c->topics);
    if (i == NONE) {
        c->mem->put(c->mem->ctx, copy, key.n);
        return CL_ENOMEM;
    }
    memcpy(copy, key.p, key.n);
    t = cle_topic(c, i);
    t->key = copy;
    t->key_len = (uint32_t)key.n;
    t->state = SUB_NONE;
    t->pres_head = NONE;
    t->pub_head = NONE;
    cl_pool_link(&c->topics, cle_topic_hash(c, key), i);
    *out = i;
    return CL_OK;
}

/* The members that were there when its owner went are gone: the next ones have missed nothing, and
 * an owner that sent them what came since would tell them of a time before they joined. */
static void forget_place(struct etopic *t)
{
    t->epoch = (struct pr_epoch){0};
    t->seq = 0;
    t->origin = (struct pr_place){0};
}

int cle_subscribe(struct cle *c, cl_ms now, struct pr_slice topic, uint32_t *handle,
                  bool *subscribed)
{
    uint32_t i = cle_topic_find(c, topic);
    bool fresh = i == NONE;
    struct etopic *t = NULL;
    int rv = CL_OK;

    c->now = now;
    if (fresh) {
        rv = make(c, topic, &i);
        if (rv != CL_OK) {
            return rv;
        }
    }
    t = cle_topic(c, i);
    if (t->state == SUB_NONE && t->refs == 0) {
        forget_place(t);
    }
    if (cle_up(c) && t->state == SUB_NONE) {
        rv = cle_topic_send_sub(c, i);
        if (rv != CL_OK) {
            if (fresh) {
                free_topic(c, i);
            }
            return rv;
        }
    }
    t->refs++;
    if (t->list == LIST_UNSUB) {
        list_leave(c, i);
    }
    *handle = i;
    *subscribed = t->state == SUB_OK;
#ifdef CL_SABOTAGE_FENCE
    *subscribed = true; /* for the simulation, which must notice */
#endif
    if (!*subscribed && !t->waiting) {
        t->waiting = true;
        list_join(c, i, LIST_WAIT, now + CLE_SUB_TIMEOUT_MS);
    }
    return CL_OK;
}

void cle_unsubscribe(struct cle *c, cl_ms now, uint32_t handle)
{
    struct etopic *t = live(c, handle);

    c->now = now;
    assert(t->refs > 0);
    t->refs--;
    if (t->refs == 0) {
        t->waiting = false;
        list_join(c, handle, LIST_UNSUB, now + CLE_UNSUB_MS);
    }
}

/* While a SUB is under way its answer is waited for: an owner may answer two with one. */
int cle_presence_want(struct cle *c, cl_ms now, uint32_t handle, bool on)
{
    struct etopic *t = live(c, handle);
    int rv = CL_OK;

    c->now = now;
    if (t->presence == on) {
        return CL_OK;
    }
    if (cle_up(c) && t->state != SUB_NONE && t->unanswered == 0) {
        rv = reserve_sub(c, t);
        if (rv != CL_OK) {
            return rv;
        }
        t->presence = on;
        push_sub(c, t);
    }
    t->presence = on;
    t->views_stale = t->views; /* diffs behind them are missed: nothing follows from them */
    t->view_due = t->view_due && on;
    return CL_OK;
}

/* Events that this edge did not get although it was subscribed: of one epoch exactly, of a new
 * epoch at most so many, since some may be repeats of what the old one had sent. */
static uint64_t missed(const struct etopic *t, const struct pr_sub_ok *ok)
{
    const struct pr_epoch none = {0};

    if (pr_epoch_eq(t->epoch, none)) {
        return 0;
    }
    if (!pr_epoch_eq(t->epoch, ok->epoch)) {
        return ok->seq;
    }
    return ok->seq > t->seq ? ok->seq - t->seq : 0;
}

static int on_refused(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);
    int rv = cl_out_reserve(&c->out, 0, 1);

    if (rv != CL_OK) {
        return rv;
    }
    t->unanswered--;
    if (t->unanswered == 0 && t->state == SUB_SENT) {
        t->state = SUB_NONE;
    }
    if (t->waiting) {
        t->waiting = false;
        list_leave(c, i);
        (void)cle_push(c, CLE_SUB_FAILED, i);
    }
    return CL_OK;
}

int cle_topic_on_sub_ok(struct cle *c, const struct pr_sub_ok *ok)
{
    const struct pr_epoch none = {0};
    uint32_t i = cle_topic_find(c, ok->topic);
    struct etopic *t = NULL;
    uint64_t lost = 0;
    int rv = CL_OK;

    /* A topic is kept until its SUBs are answered: an answer to nothing is the owner's mistake. */
    if (i == NONE || cle_topic(c, i)->unanswered == 0) {
        return CL_EPROTO;
    }
    if (pr_epoch_eq(ok->epoch, none)) {
        return on_refused(c, i);
    }
    rv = cl_out_reserve(&c->out, 0, 2);
    if (rv != CL_OK) {
        return rv;
    }
    t = cle_topic(c, i);
    lost = missed(t, ok);
    if (lost > 0 && t->refs > 0) {
        cle_push(c, CLE_GAP, i)->lost = lost;
        c->stats.gap_lost += lost;
    }
    t->unanswered--;
    t->state = SUB_OK;
    cle_pub_fence(t, ok);
    if (t->waiting) {
        t->waiting = false;
        list_leave(c, i);
        (void)cle_push(c, CLE_SUBSCRIBED, i);
    }
    if (t->asked != t->presence || t->view_due) {
        cle_topic_due(c, i);
        cle_pump(c);
    }
    return CL_OK;
}

/* Nobody needs it any more: UNSUB, if an owner has it, and forgotten. 0 or an error, unchanged. */
static int end(struct cle *c, uint32_t i)
{
    struct etopic *t = cle_topic(c, i);

    /* An UNSUB must not pass a SUB that is under way: its SUB_OK would be taken for the fence of a
     * next member. And what is to be told of its presences must still be told. */
    if (t->unanswered > 0 || t->due || t->full_due || t->pres_count > 0) {
        list_join(c, i, LIST_UNSUB, c->now + CLE_UNSUB_MS);
        return CL_OK;
    }
    if (cle_up(c) && t->state == SUB_OK) {
        struct pr_unsub unsub = {.topic = cle_topic_key(c, i)};
        struct pr_outbuf w;
        int rv = cl_out_reserve(&c->out, CLE_FRAME_SMALL + t->key_len, 1);

        if (rv != CL_OK) {
            return rv;
        }
        w = cl_out_writer(&c->out);
        pr_unsub_encode(&w, &unsub);
        cle_push_send(c, &w);
    }
    list_leave(c, i);
    free_topic(c, i);
    return CL_OK;
}

int cle_topics_tick(struct cle *c)
{
    struct list *wait = &c->lists[LIST_WAIT];
    struct list *unsub = &c->lists[LIST_UNSUB];
    int rv = CL_OK;

    while (wait->head != NONE && cle_topic(c, wait->head)->at <= c->now) {
        uint32_t i = wait->head;

        rv = cl_out_reserve(&c->out, 0, 1);
        if (rv != CL_OK) {
            return rv;
        }
        cle_topic(c, i)->waiting = false;
        list_leave(c, i);
        (void)cle_push(c, CLE_SUB_FAILED, i);
    }
    while (unsub->head != NONE && cle_topic(c, unsub->head)->at <= c->now) {
        rv = end(c, unsub->head);
        if (rv != CL_OK) {
            return rv;
        }
    }
    return CL_OK;
}

/* The next owner knows nothing, or what it knows may be old. */
void cle_topics_link_down(struct cle *c)
{
    c->due.head = NONE;
    c->due.tail = NONE;
    for (uint32_t i = 0; i < c->topics.top; i++) {
        struct etopic *t = cle_topic(c, i);

        if (t->key == NULL) {
            continue;
        }
        t->due = false;
        t->state = SUB_NONE;
        t->unanswered = 0;
        t->asked = false;
        t->full_due = t->told || t->pres_count > 0;
        t->reset_due = false;
        t->view_due = t->view_due || t->views > t->views_stale;
        t->views = 0;
        t->views_stale = 0;
        t->view_open = false;
    }
}

cl_ms cle_topics_deadline(const struct cle *c)
{
    cl_ms due = UINT64_MAX;

    for (uint32_t l = LIST_WAIT; l < LISTS; l++) {
        uint32_t i = c->lists[l].head;

        if (i != NONE && cle_topic(c, i)->at < due) {
            due = cle_topic(c, i)->at;
        }
    }
    return due;
}

void cle_topics_deinit(struct cle *c)
{
    for (uint32_t i = 0; i < c->topics.top; i++) {
        struct etopic *t = cle_topic(c, i);

        if (t->key != NULL) {
            c->mem->put(c->mem->ctx, t->key, t->key_len);
        }
    }
    cl_pool_clear(&c->topics);
}
