/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/confirm.h"

#include <assert.h>
#include <string.h>

#include "cluster/edge.h"

#define NONE CL_POOL_NONE
/* Items of a chunk, as a power of two; first size of a ring. */
#define CHUNK_SHIFT 7u
#define RING_MIN    64u

static struct cl_unconfirmed *at(const struct cl *cl, uint32_t i)
{
    return cl_pool_at(&cl->unconfirmed, i);
}

static uint64_t hash_of(uint64_t boot, uint32_t part, uint64_t oseq)
{
    return cl_mix64(boot ^ cl_mix64(oseq * CL_PARTITIONS + part));
}

static uint64_t rehash(const void *ctx, uint32_t i)
{
    const struct cl_unconfirmed *u = at(ctx, i);

    return hash_of(u->boot, u->part, u->oseq);
}

void cl_confirm_init(struct cl *cl)
{
    cl_pool_init(&cl->unconfirmed, cl->mem, sizeof(struct cl_unconfirmed), CHUNK_SHIFT, rehash, cl);
    cl->waiting = cl->failed = (struct unconfirmed_list){NONE, NONE};
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

static void list_remove(struct cl *cl, struct unconfirmed_list *l, uint32_t i)
{
    const struct cl_unconfirmed *u = at(cl, i);

    if (u->prev == NONE) {
        l->head = u->next;
    } else {
        at(cl, u->prev)->next = u->next;
    }
    if (u->next == NONE) {
        l->tail = u->prev;
    } else {
        at(cl, u->next)->prev = u->prev;
    }
}

static void list_add_last(struct cl *cl, struct unconfirmed_list *l, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    u->next = NONE;
    u->prev = l->tail;
    if (u->prev == NONE) {
        l->head = i;
    } else {
        at(cl, u->prev)->next = i;
    }
    l->tail = i;
}

/* To be answered by the next step that finds room. */
static void wait_no_more(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    list_remove(cl, &cl->waiting, i);
    u->prev = NONE;
    u->next = cl->waiting.head;
    if (u->next == NONE) {
        cl->waiting.tail = i;
    } else {
        at(cl, u->next)->prev = i;
    }
    cl->waiting.head = i;
}

/* It is in no list. From here on a repeat of it is one of what went well. */
static void over(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    cl_pool_unlink(&cl->unconfirmed, hash_of(u->boot, u->part, u->oseq), i);
    u->state = CL_CONFIRM_OVER;
    if (u->refs == 0) {
        cl_pool_give(&cl->unconfirmed, i);
    }
}

static void forget_failed(struct cl *cl, uint32_t i)
{
    list_remove(cl, &cl->failed, i);
    over(cl, i);
}

/* It was, or is to be, answered by a timeout. */
static void fail(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    list_remove(cl, &cl->waiting, i);
    u->state = CL_CONFIRM_FAILED;
    u->at = cl->now;
    list_add_last(cl, &cl->failed, i);
}

/* Room was reserved. */
static void answer(struct cl *cl, uint32_t i)
{
    const struct cl_unconfirmed *u = at(cl, i);
    bool taken = u->refs == 0 && !u->missed;
    bool well = taken || (u->flags & PR_PUB_ACK) == 0;
    struct pr_pub pub = {.part = u->part, .oseq = u->oseq, .boot = u->boot};

    cl_order_answer(cl, u->from, &pub, well ? PR_PUB_DONE : PR_PUB_TIMEOUT);
    if (well) {
        list_remove(cl, &cl->waiting, i);
        over(cl, i);
    } else {
        fail(cl, i);
    }
}

/* One link less that has it. True: none is left, and it has not been answered. */
static bool drop_ref(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    assert(u->refs > 0);
    u->refs--;
    if (u->refs > 0 || u->state == CL_CONFIRM_WAITS) {
        return u->refs == 0;
    }
    if (u->state == CL_CONFIRM_OVER) {
        cl_pool_give(&cl->unconfirmed, i);
    } else if (!u->missed) {
        forget_failed(cl, i); /* late, but every node has it now */
    }
    return false;
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
            wait_no_more(cl, i);
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
    struct cl_unconfirmed *u = NULL;
    uint32_t i = NONE;

    if (cl->unconfirmed.used >= CL_CONFIRM_MAX && cl->failed.head != NONE) {
        cl->blind_until = cl->now + CLE_HELD_MS;
        forget_failed(cl, cl->failed.head); /* room, if the links are through with it */
    }
    if (cl->unconfirmed.used < CL_CONFIRM_MAX) {
        i = cl_pool_take(&cl->unconfirmed);
    }
    if (i != NONE) {
        u = at(cl, i);
        u->part = pub->part;
        u->flags = pub->flags;
        u->from = from;
        u->boot = pub->boot;
        u->oseq = pub->oseq;
        u->at = cl->now;
        list_add_last(cl, &cl->waiting, i);
        cl_pool_link(&cl->unconfirmed, hash_of(u->boot, u->part, u->oseq), i);
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
        cl->blind_until = ack ? cl->now + CLE_HELD_MS : cl->blind_until;
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
    if (ack) {
        fail(cl, i);
    } else {
        list_remove(cl, &cl->waiting, i);
        over(cl, i);
    }
    return false;
}

static uint32_t find(const struct cl *cl, const struct pr_pub *pub)
{
    uint32_t i = cl_pool_first(&cl->unconfirmed, hash_of(pub->boot, pub->part, pub->oseq));

    while (i != NONE && (at(cl, i)->boot != pub->boot || at(cl, i)->part != pub->part ||
                         at(cl, i)->oseq != pub->oseq)) {
        i = cl_pool_next(&cl->unconfirmed, i);
    }
    return i;
}

bool cl_confirm_repeat(struct cl *cl, struct source from, const struct pr_pub *pub,
                       uint32_t *result)
{
    bool ack = (pub->flags & PR_PUB_ACK) != 0;
    uint32_t i = find(cl, pub);

    *result = PR_PUB_REPEAT;
#ifdef CL_SABOTAGE_CONFIRM /* for the simulation, which must notice */
    i = NONE;
#endif
    if (i != NONE && at(cl, i)->state == CL_CONFIRM_WAITS) {
        at(cl, i)->from = from;
        return true;
    }
    if (i != NONE || (ack && cl->now < cl->blind_until)) {
        *result = PR_PUB_TIMEOUT;
    }
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
    while (cl->waiting.head != NONE && due(cl, cl->waiting.head) &&
           cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
        answer(cl, cl->waiting.head);
    }
    while (cl->failed.head != NONE && at(cl, cl->failed.head)->at + CLE_HELD_MS <= cl->now) {
        forget_failed(cl, cl->failed.head);
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

    if (cl->waiting.head != NONE) {
        const struct cl_unconfirmed *u = at(cl, cl->waiting.head);
        cl_ms end = u->refs == 0 ? cl->now : u->at + CL_CONFIRM_MS;

        at_ms = end < at_ms ? end : at_ms;
    }
    if (cl->failed.head != NONE) {
        cl_ms end = at(cl, cl->failed.head)->at + CLE_HELD_MS;

        at_ms = end < at_ms ? end : at_ms;
    }
    return at_ms;
}

/* A list: how many, in one state, each found by its name; their nodes are counted. */
static bool check_list(const struct cl *cl, const struct unconfirmed_list *l,
                       enum cl_confirm_state state, uint32_t *count, uint64_t *refs)
{
    uint32_t before = NONE;

    for (uint32_t i = l->head; i != NONE; i = at(cl, i)->next) {
        const struct cl_unconfirmed *u = at(cl, i);

        if (++*count > cl->unconfirmed.used || u->state != state || u->prev != before) {
            return false;
        }
        *refs += u->refs;
        before = i;
    }
    return l->tail == before;
}

const char *cl_confirm_check(const struct cl *cl)
{
    uint64_t refs = 0;
    uint64_t flown = 0;
    uint32_t count = 0;

    if (!check_list(cl, &cl->waiting, CL_CONFIRM_WAITS, &count, &refs) ||
        !check_list(cl, &cl->failed, CL_CONFIRM_FAILED, &count, &refs)) {
        return "a list of unconfirmed publishes is broken";
    }
    for (uint32_t i = 1; i < cl->n_nodes; i++) {
        flown += cl->node[i].flight.n;
    }
    if (count != cl->unconfirmed.linked || refs > flown ||
        (count == cl->unconfirmed.used && refs != flown)) {
        return "unconfirmed publishes are counted wrongly";
    }
    return NULL;
}
