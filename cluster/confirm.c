/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/confirm.h"

#include <assert.h>
#include <string.h>

#define NONE CL_POOL_NONE
/* Items of a chunk, as a power of two; first size of a ring. */
#define CHUNK_SHIFT 7u
#define RING_MIN    64u

static struct cl_unconfirmed *at(const struct cl *cl, uint32_t i)
{
    return cl_pool_at(&cl->unconfirmed, i);
}

/* They are found by the rings, never by hash. */
static uint64_t rehash(const void *ctx, uint32_t i)
{
    (void)ctx;
    return i;
}

void cl_confirm_init(struct cl *cl)
{
    cl_pool_init(&cl->unconfirmed, cl->mem, sizeof(struct cl_unconfirmed), CHUNK_SHIFT, rehash, cl);
    cl->unconfirmed_head = NONE;
    cl->unconfirmed_tail = NONE;
}

static void free_ring(struct cl *cl, struct flight *f)
{
    if (f->ring != NULL) {
        cl->mem->put(cl->mem->ctx, f->ring, f->room * sizeof *f->ring);
    }
    memset(f, 0, sizeof *f);
}

void cl_confirm_deinit(struct cl *cl)
{
    for (uint32_t i = 0; i < CL_NODES_MAX; i++) {
        free_ring(cl, &cl->node[i].flight);
    }
    cl_pool_clear(&cl->unconfirmed);
}

static void list_remove(struct cl *cl, uint32_t i)
{
    const struct cl_unconfirmed *u = at(cl, i);

    if (u->prev == NONE) {
        cl->unconfirmed_head = u->next;
    } else {
        at(cl, u->prev)->next = u->next;
    }
    if (u->next == NONE) {
        cl->unconfirmed_tail = u->prev;
    } else {
        at(cl, u->next)->prev = u->prev;
    }
}

static void list_add_last(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    u->next = NONE;
    u->prev = cl->unconfirmed_tail;
    if (u->prev == NONE) {
        cl->unconfirmed_head = i;
    } else {
        at(cl, u->prev)->next = i;
    }
    cl->unconfirmed_tail = i;
}

/* To be answered by the next step that finds room. */
static void list_to_front(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    list_remove(cl, i);
    u->prev = NONE;
    u->next = cl->unconfirmed_head;
    if (u->next == NONE) {
        cl->unconfirmed_tail = i;
    } else {
        at(cl, u->next)->prev = i;
    }
    cl->unconfirmed_head = i;
}

/* Room was reserved. */
static void answer(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);
    bool taken = u->refs == 0 && !u->missed;
    struct pr_pub pub = {.part = u->part, .oseq = u->oseq, .boot = u->boot};

    cl_order_answer(cl, u->from, &pub,
                    taken || (u->flags & PR_PUB_ACK) == 0 ? PR_PUB_DONE : PR_PUB_TIMEOUT);
    list_remove(cl, i);
    if (u->refs == 0) {
        cl_pool_give(&cl->unconfirmed, i);
    } else {
        u->answered = true;
    }
}

/* One link less that has it. True: none is left, and it has not been answered. */
static bool drop_ref(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    assert(u->refs > 0);
    u->refs--;
    if (u->refs == 0 && u->answered) {
        cl_pool_give(&cl->unconfirmed, i);
        return false;
    }
    return u->refs == 0;
}

static uint32_t take_first(struct flight *f)
{
    uint32_t i = f->ring[f->head].item;

    f->head = (f->head + 1) & (f->room - 1);
    f->n--;
    return i;
}

/* What is under way on the link is not told of any more. */
static void give_up(struct cl *cl, struct flight *f, bool missed)
{
    while (f->n > 0) {
        uint32_t i = take_first(f);

        at(cl, i)->missed = at(cl, i)->missed || missed;
        if (drop_ref(cl, i)) {
            list_to_front(cl, i);
        }
    }
}

static bool grow(struct cl *cl, struct flight *f)
{
    uint32_t room = f->room == 0 ? RING_MIN : f->room * 2;
    struct flown *ring = NULL;

    if (room > CL_CONFIRM_MAX) {
        return false;
    }
    ring = cl->mem->get(cl->mem->ctx, room * sizeof *ring);
    if (ring == NULL) {
        return false;
    }
    for (uint32_t k = 0; k < f->n; k++) {
        ring[k] = f->ring[(f->head + k) & (f->room - 1)];
    }
    if (f->ring != NULL) {
        cl->mem->put(cl->mem->ctx, f->ring, f->room * sizeof *ring);
    }
    f->ring = ring;
    f->room = room;
    f->head = 0;
    return true;
}

/* False: no room for it. */
static bool note(struct cl *cl, struct flight *f, uint32_t i, bool now)
{
    if (f->n == f->room && !grow(cl, f)) {
        return false;
    }
    f->ring[(f->head + f->n) & (f->room - 1)] = (struct flown){.item = i, .mark = f->mark + 1};
    f->n++;
    f->due = true;
    f->now = f->now || now;
    cl->mark_due = true;
    return true;
}

static uint32_t make(struct cl *cl, struct source from, const struct pr_pub *pub)
{
    uint32_t i = cl->unconfirmed.used >= CL_CONFIRM_MAX ? NONE : cl_pool_take(&cl->unconfirmed);
    struct cl_unconfirmed *u = NULL;

    if (i != NONE) {
        u = at(cl, i);
        u->part = pub->part;
        u->flags = pub->flags;
        u->from = from;
        u->boot = pub->boot;
        u->oseq = pub->oseq;
        u->at = cl->now;
        list_add_last(cl, i);
    }
    return i;
}

bool cl_confirm_sent(struct cl *cl, const struct cl_bits *nodes, struct source from,
                     const struct pr_pub *pub, uint32_t *result)
{
    bool ack = (pub->flags & PR_PUB_ACK) != 0;
    uint32_t i = make(cl, from, pub);
    uint32_t k = cl_bits_next(nodes, 0);

    *result = ack ? PR_PUB_TIMEOUT : PR_PUB_DONE;
    if (i == NONE) {
        return false;
    }
    for (; k < CL_NODES_MAX; k = cl_bits_next(nodes, k + 1)) {
        if (note(cl, &cl->node[k].flight, i, ack)) {
            at(cl, i)->refs++;
        } else {
            at(cl, i)->missed = true;
        }
    }
    if (at(cl, i)->refs > 0) {
        return true;
    }
    list_remove(cl, i);
    cl_pool_give(&cl->unconfirmed, i);
    return false;
}

int cl_confirm_taken(struct cl *cl, uint32_t node, uint64_t mark)
{
    struct flight *f = &cl->node[node].flight;
    uint32_t n = 0;
    int rv = CL_OK;

    if (mark <= f->taken || mark > f->mark) {
        return CL_EPROTO;
    }
    while (n < f->n && f->ring[(f->head + n) & (f->room - 1)].mark <= mark) {
        n++;
    }
    rv = cl_out_reserve(&cl->out, n * CL_FRAME_SMALL, n);
    if (rv != CL_OK) {
        return rv;
    }
    f->taken = mark;
    for (; n > 0; n--) {
        uint32_t i = take_first(f);

        if (drop_ref(cl, i)) {
            answer(cl, i);
        }
    }
    return CL_OK;
}

void cl_confirm_gone(struct cl *cl, uint32_t node, bool missed)
{
    struct flight *f = &cl->node[node].flight;

    give_up(cl, f, missed);
    free_ring(cl, f);
}

void cl_confirm_mark(struct cl *cl, uint32_t node, const struct pr_mark *m)
{
    struct node *n = &cl->node[node];
    cl_ms when = m->now ? cl->now : cl->now + CL_TAKEN_MS;

    if (n->taken == n->taken_told || when < n->taken_at) {
        n->taken_at = when;
    }
    n->taken = m->mark;
    if (n->taken_at < cl->taken_at) {
        cl->taken_at = n->taken_at;
    }
}

static void send_marks(struct cl *cl)
{
    cl->mark_due = false;
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct flight *f = &cl->node[i].flight;
        struct pr_mark m = {.mark = f->mark + 1, .now = f->now};

        if (!f->due || !cl->node[i].linked) {
            continue;
        }
        if (cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
            struct pr_outbuf w = cl_out_writer(&cl->out);

            pr_mark_encode(&w, &m);
            cl_push_link(cl, i, &w);
            f->mark++;
            f->due = f->now = false;
        } else {
            cl->mark_due = true;
        }
    }
}

static void tell_taken(struct cl *cl)
{
    cl->taken_at = UINT64_MAX;
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        struct node *n = &cl->node[i];
        struct pr_link_ack m = {.mark = n->taken};

        if (!n->linked || n->taken == n->taken_told) {
            continue;
        }
        if (n->taken_at <= cl->now && cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
            struct pr_outbuf w = cl_out_writer(&cl->out);

            pr_link_ack_encode(&w, &m);
            cl_push_link(cl, i, &w);
            n->taken_told = n->taken;
        } else if (n->taken_at < cl->taken_at) {
            cl->taken_at = n->taken_at;
        }
    }
}

static bool due(const struct cl *cl, uint32_t i)
{
    const struct cl_unconfirmed *u = at(cl, i);

    return u->refs == 0 || u->at + CL_CONFIRM_MS <= cl->now;
}

void cl_confirm_go_on(struct cl *cl)
{
    while (cl->unconfirmed_head != NONE && due(cl, cl->unconfirmed_head) &&
           cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
        answer(cl, cl->unconfirmed_head);
    }
    if (cl->mark_due) {
        send_marks(cl);
    }
    if (cl->taken_at <= cl->now) {
        tell_taken(cl);
    }
}

cl_ms cl_confirm_deadline(const struct cl *cl)
{
    cl_ms at_ms = cl->mark_due ? cl->now : cl->taken_at;

    if (cl->unconfirmed_head != NONE) {
        const struct cl_unconfirmed *u = at(cl, cl->unconfirmed_head);
        cl_ms end = u->refs == 0 ? cl->now : u->at + CL_CONFIRM_MS;

        at_ms = end < at_ms ? end : at_ms;
    }
    return at_ms;
}
