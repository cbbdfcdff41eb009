/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/edge_in.h"

#include <assert.h>
#include <string.h>

struct held *cle_held(const struct cle *c, uint32_t i)
{
    return cl_pool_at(&c->held, i);
}

struct publisher *cle_publisher(const struct cle *c, uint32_t i)
{
    return cl_pool_at(&c->publishers, i);
}

uint64_t cle_held_hash(uint32_t part, uint64_t oseq)
{
    return cl_mix64(oseq * CL_PARTITIONS + part);
}

uint32_t cle_held_find(const struct cle *c, uint32_t part, uint64_t oseq)
{
    uint32_t i = cl_pool_first(&c->held, cle_held_hash(part, oseq));

    while (i != NONE && (cle_held(c, i)->part != part || cle_held(c, i)->oseq != oseq)) {
        i = cl_pool_next(&c->held, i);
    }
    return i;
}

bool cle_held_is_kept(const struct held *h)
{
    return (h->flags & PR_PUB_KEEP) != 0;
}

/* To and from the list of those that are given up in time. */
static void give_up_add(struct cle *c, uint32_t i)
{
    struct held *h = cle_held(c, i);

    h->later = NONE;
    h->earlier = c->give_up.tail;
    if (h->earlier == NONE) {
        c->give_up.head = i;
    } else {
        cle_held(c, h->earlier)->later = i;
    }
    c->give_up.tail = i;
}

static void give_up_remove(struct cle *c, const struct held *h)
{
    if (h->earlier == NONE) {
        c->give_up.head = h->later;
    } else {
        cle_held(c, h->earlier)->later = h->later;
    }
    if (h->later == NONE) {
        c->give_up.tail = h->earlier;
    } else {
        cle_held(c, h->later)->earlier = h->earlier;
    }
}

static void forget(struct cle *c, uint32_t i)
{
    struct held *h = cle_held(c, i);

    if (c->unsent == i) {
        c->unsent = h->next;
    }
    if (h->prev == NONE) {
        c->held_list.head = h->next;
    } else {
        cle_held(c, h->prev)->next = h->next;
    }
    if (h->next == NONE) {
        c->held_list.tail = h->prev;
    } else {
        cle_held(c, h->next)->prev = h->prev;
    }
    if (!cle_held_is_kept(h)) {
        give_up_remove(c, h);
    }
    c->held_bytes -= h->len;
    c->mem->put(c->mem->ctx, h->frame, h->len);
    cl_pool_unlink(&c->held, cle_held_hash(h->part, h->oseq), i);
    cl_pool_give(&c->held, i);
}

static uint32_t append(struct cle *c, const struct pr_pub *pub, uint8_t *frame, size_t len)
{
    uint32_t i = cl_pool_take(&c->held);
    struct held *h = NULL;

    if (i == NONE) {
        return NONE;
    }
    h = cle_held(c, i);
    h->part = pub->part;
    h->oseq = pub->oseq;
    h->flags = pub->flags;
    h->at = c->now;
    h->frame = frame;
    h->len = len;
    h->next = NONE;
    h->prev = c->held_list.tail;
    if (h->prev == NONE) {
        c->held_list.head = i;
    } else {
        cle_held(c, h->prev)->next = i;
    }
    c->held_list.tail = i;
    if (!cle_held_is_kept(h)) {
        give_up_add(c, i);
    }
    c->held_bytes += len;
    cl_pool_link(&c->held, cle_held_hash(h->part, h->oseq), i);
    return i;
}

static void push_frame(struct cle *c, struct held *h)
{
    struct pr_outbuf w = cl_out_writer(&c->out);

    pr_put(&w, h->frame, h->len);
    cle_push_send(c, &w);
    h->sent = true;
}

/* Makes the frame and holds it; *out is its index. */
static int hold(struct cle *c, const struct pr_pub *pub, uint32_t *out)
{
    struct pr_outbuf w = pr_outbuf(NULL, 0);
    uint8_t *frame = NULL;

    pr_pub_encode(&w, pub); /* only counts */
    if (w.len > CLE_HELD_BYTES_MAX || w.len > PR_FRAME_MAX) {
        return CL_ERANGE;
    }
    if ((pub->flags & PR_PUB_KEEP) == 0 && c->held_bytes > CLE_HELD_BYTES_MAX - w.len) {
        return CL_EAGAIN;
    }
    if (c->link == LINK_LIVE) {
        int rv = cl_out_reserve(&c->out, w.len, 1);

        if (rv != CL_OK) {
            return rv;
        }
    }
    frame = c->mem->get(c->mem->ctx, w.len);
    if (frame == NULL) {
        return CL_ENOMEM;
    }
    w = pr_outbuf(frame, w.len);
    pr_pub_encode(&w, pub);
    assert(pr_out_ok(&w));
    *out = append(c, pub, frame, w.len);
    if (*out == NONE) {
        c->mem->put(c->mem->ctx, frame, w.len);
        return CL_ENOMEM;
    }
    return CL_OK;
}

int cle_publish(struct cle *c, cl_ms now, struct pr_slice topic, uint32_t flags,
                struct pr_slice payload, uint64_t cookie)
{
    struct pr_pub pub = {.topic = topic, .boot = c->boot, .flags = flags, .payload = payload};
    uint32_t i = NONE;
    int rv = CL_OK;

    c->now = now;
    if (topic.n == 0 || topic.n > PR_TOPIC_KEY_MAX) {
        return CL_ERANGE;
    }
    pub.part = cl_partition(topic);
    pub.oseq = c->oseq[pub.part] + 1;
    rv = hold(c, &pub, &i);
    if (rv != CL_OK) {
        return rv;
    }
    cle_held(c, i)->cookie = cookie;
    c->oseq[pub.part] = pub.oseq;
    c->stats.published++;
    if (c->link == LINK_LIVE) {
        push_frame(c, cle_held(c, i));
    } else if (c->unsent == NONE) {
        c->unsent = i; /* behind the others: the order of one publisher holds */
    }
    return CL_OK;
}

int cle_pub_resend(struct cle *c)
{
    struct held *h = cle_held(c, c->unsent);
    int rv = cl_out_reserve(&c->out, h->len, 1);

    if (rv != CL_OK) {
        return rv;
    }
    c->stats.resent += h->sent;
    push_frame(c, h);
    c->unsent = h->next;
    return CL_OK;
}

/* Tells the publisher, if it asked. Room was reserved. */
static void done(struct cle *c, uint32_t i, uint32_t result)
{
    const struct held *h = cle_held(c, i);
    bool ordered = result == PR_PUB_DONE || result == PR_PUB_REPEAT;

    if (h->cookie != 0 && ((h->flags & (PR_PUB_ACK | PR_PUB_KEEP)) != 0 || !ordered)) {
        struct cle_action *a = cle_push(c, CLE_PUB_DONE, 0);

        a->cookie = h->cookie;
        a->flags = h->flags;
        /* A repeat was ordered before, and passed on then: for the publisher that is done. */
        a->result = ordered ? PR_PUB_DONE : result;
    }
    c->stats.confirmed += ordered;
    c->stats.unconfirmed += !ordered;
    forget(c, i);
}

int cle_pub_on_ok(struct cle *c, const struct pr_pub_ok *ok)
{
    uint32_t i = cle_held_find(c, ok->part, ok->oseq);
    int rv = CL_OK;

    if (i == NONE) {
        return CL_OK; /* given up in the meantime */
    }
    rv = cl_out_reserve(&c->out, 0, 1);
    if (rv == CL_OK) {
        done(c, i, ok->result);
    }
    return rv;
}

int cle_pub_tick(struct cle *c)
{
    while (c->give_up.head != NONE && cle_held(c, c->give_up.head)->at + CLE_HELD_MS <= c->now) {
        int rv = cl_out_reserve(&c->out, 0, 1);

        if (rv != CL_OK) {
            return rv;
        }
        done(c, c->give_up.head, PR_PUB_TIMEOUT);
    }
    return CL_OK;
}

cl_ms cle_pub_deadline(const struct cle *c)
{
    uint32_t i = c->give_up.head;

    return i == NONE ? UINT64_MAX : cle_held(c, i)->at + CLE_HELD_MS;
}

/* Takes the publisher `boot` out of the topic's list and returns it; NONE if it is not in. */
static uint32_t publisher_unlink(struct cle *c, struct etopic *t, uint64_t boot)
{
    uint32_t before = NONE;
    uint32_t i = t->pub_head;

    while (i != NONE && cle_publisher(c, i)->boot != boot) {
        before = i;
        i = cle_publisher(c, i)->next;
    }
    if (i == NONE) {
        return NONE;
    }
    if (before == NONE) {
        t->pub_head = cle_publisher(c, i)->next;
    } else {
        cle_publisher(c, before)->next = cle_publisher(c, i)->next;
    }
    t->pub_count--;
    return i;
}

static void publisher_to_front(struct cle *c, struct etopic *t, uint32_t i)
{
    cle_publisher(c, i)->next = t->pub_head;
    t->pub_head = i;
    t->pub_count++;
}

/* The list is in the order of the last event, so those to forget are its end. */
static void publishers_expire(struct cle *c, struct etopic *t)
{
    uint32_t *link = &t->pub_head;
    uint32_t kept = 0;

    while (*link != NONE && kept < CLE_PUBLISHERS_MAX - 1 &&
           cle_publisher(c, *link)->at + CLE_PUBLISHER_MS > c->now) {
        link = &cle_publisher(c, *link)->next;
        kept++;
    }
    for (uint32_t i = *link; i != NONE;) {
        uint32_t next = cle_publisher(c, i)->next;

        *link = NONE;
        cl_pool_give(&c->publishers, i);
        i = next;
    }
    t->pub_count = kept;
}

void cle_pub_forget_publishers(struct cle *c, struct etopic *t)
{
    while (t->pub_head != NONE) {
        uint32_t i = t->pub_head;

        t->pub_head = cle_publisher(c, i)->next;
        cl_pool_give(&c->publishers, i);
    }
    t->pub_count = 0;
}

/*
 * Remembers the event as its publisher's last one in this topic. Sets *repeat if it was taken
 * before: after an owner's death the new one orders again what its edges hold. Compared per topic,
 * since only within one topic everything of a publisher arrives in the order of oseq.
 */
static int note_publisher(struct cle *c, struct etopic *t, const struct pr_event *ev, bool *repeat)
{
    uint32_t i = publisher_unlink(c, t, ev->boot);
    struct publisher *p = NULL;

    *repeat = false;
    if (i == NONE) {
        i = cl_pool_take(&c->publishers);
        if (i == NONE) {
            return CL_ENOMEM;
        }
        publishers_expire(c, t);
        cle_publisher(c, i)->boot = ev->boot;
    }
    p = cle_publisher(c, i);
#ifndef CL_SABOTAGE_REPEAT /* for the simulation, which must notice that it is missing */
    *repeat = ev->oseq <= p->oseq;
#endif
    if (!*repeat) {
        p->oseq = ev->oseq;
    }
    p->at = c->now;
    publisher_to_front(c, t, i);
    return CL_OK;
}

static void push_event(struct cle *c, uint32_t topic, const struct pr_event *ev)
{
    struct cle_action *a = cle_push(c, CLE_EVENT, topic);

    a->payload = ev->payload;
    a->own = ev->boot == c->boot;
    if (a->own) {
        uint32_t h = cle_held_find(c, ev->part, ev->oseq);

        a->cookie = h == NONE ? 0 : cle_held(c, h)->cookie;
    }
    c->stats.events++;
}

/* This edge has the topic's events up to a place of its own node's count, `origin` in that of the
 * topic's owner if that is another node. False: it had them before. An owner process that is new
 * asks for what the edge that has least is missing, and passes it on to all. */
static bool advance(struct etopic *t, struct pr_place own, struct pr_place origin)
{
    const struct pr_epoch none = {0};
    struct pr_place p = pr_epoch_eq(origin.epoch, none) ? own : origin;

    if (pr_epoch_eq(p.epoch, t->origin.epoch) && p.seq <= t->origin.seq) {
        return false;
    }
    t->origin = p;
    return true;
}

void cle_pub_fence(struct etopic *t, const struct pr_sub_ok *ok)
{
    struct pr_place own = {.epoch = ok->epoch, .seq = ok->seq};

    t->epoch = ok->epoch;
    t->seq = ok->seq;
    (void)advance(t, own, ok->origin); /* what it has beyond that need not come again */
}

int cle_pub_on_event(struct cle *c, const struct pr_event *ev)
{
    uint32_t i = cle_topic_find(c, ev->topic);
    struct etopic *t = NULL;
    struct pr_place own = {.epoch = ev->epoch, .seq = ev->seq};
    bool repeat = false;
    uint64_t lost = 0;
    int rv = CL_OK;

    if (i == NONE) {
        return CL_OK; /* under way when UNSUB left */
    }
    t = cle_topic(c, i);
    if (t->state != SUB_OK || !pr_epoch_eq(t->epoch, ev->epoch) || ev->seq <= t->seq) {
        c->stats.repeats++; /* before the fence, of an owner not followed, or seen */
        return CL_OK;
    }
    rv = cl_out_reserve(&c->out, 0, 2);
    if (rv == CL_OK) {
        rv = note_publisher(c, t, ev, &repeat);
    }
    if (rv != CL_OK) {
        return rv;
    }
    lost = ev->seq - t->seq - 1;
    t->seq = ev->seq;
    repeat = !advance(t, own, ev->origin) || repeat;
    if (lost > 0 && t->refs > 0) {
        cle_push(c, CLE_GAP, i)->lost = lost;
        c->stats.gap_lost += lost;
    }
    if (repeat) {
        c->stats.repeats++;
    } else if (t->refs > 0) {
        push_event(c, i, ev);
    }
    return CL_OK;
}

void cle_pub_deinit(struct cle *c)
{
    while (c->held_list.head != NONE) {
        forget(c, c->held_list.head);
    }
    cl_pool_clear(&c->held);
    cl_pool_clear(&c->publishers);
}
