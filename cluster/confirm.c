/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/confirm.h"

#include <assert.h>
#include <string.h>

#include "cluster/edge.h"

#define NONE CL_POOL_NONE
/* Items of a chunk, as a power of two. */
#define CHUNK_SHIFT 7u

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

static void free_rings(struct cl *cl, uint32_t node)
{
    struct flight *f = &cl->node[node].flight;

    cl_flights_free(cl->mem, &f->sent);
    cl_flights_free(cl->mem, &f->away);
}

void cl_confirm_deinit(struct cl *cl)
{
    for (uint32_t i = 0; i < CL_NODES_MAX; i++) {
        free_rings(cl, i);
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

/* Every node has it, or will not say so; what another owner may still order is not answered before
 * its time. */
static bool ready(const struct cl_unconfirmed *u)
{
    return u->refs == 0 && !u->late;
}

/* One node less that has not taken it. True: it is to be answered now. */
static bool drop_ref(struct cl *cl, uint32_t i)
{
    struct cl_unconfirmed *u = at(cl, i);

    assert(u->refs > 0);
    u->refs--;
    if (u->refs > 0 || u->state == CL_CONFIRM_WAITS) {
        return ready(u);
    }
    if (u->state == CL_CONFIRM_OVER) {
        cl_pool_give(&cl->unconfirmed, i);
    } else if (!u->missed) {
        forget_failed(cl, i); /* late, but every node has it now */
    }
    return false;
}

/* The node will not tell that it has taken this one. */
static void give_up_one(struct cl *cl, uint32_t i, bool missed)
{
    at(cl, i)->missed = at(cl, i)->missed || missed;
    if (drop_ref(cl, i)) {
        wait_no_more(cl, i);
    }
}

static void give_up(struct cl *cl, struct flights *f, bool missed)
{
    while (f->n > 0) {
        give_up_one(cl, cl_flights_take(f), missed);
    }
}

/* It is on the link ahead of the next mark. False: no room for it. */
static bool note_sent(struct cl *cl, struct flight *f, uint32_t i)
{
    struct flown one = {.item = i, .mark = f->mark + 1};

    if (!cl_flights_add(cl->mem, &f->sent, CL_CONFIRM_MAX, one)) {
        return false;
    }
    f->due = true;
    f->now = f->now || (at(cl, i)->flags & PR_PUB_ACK) != 0;
    cl->mark_due = true;
    return true;
}

static bool note_away(struct cl *cl, struct flight *f, uint32_t i)
{
    return cl_flights_add(cl->mem, &f->away, CL_CONFIRM_MAX, (struct flown){.item = i});
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
        u->view = cl->stats.views;
        list_add_last(cl, &cl->waiting, i);
        cl_pool_link(&cl->unconfirmed, hash_of(u->boot, u->part, u->oseq), i);
    }
    return i;
}

static void note_all(struct cl *cl, uint32_t i, const struct cl_bits *nodes,
                     bool (*note)(struct cl *cl, struct flight *f, uint32_t i))
{
    uint32_t k = cl_bits_next(nodes, 0);

    for (; k < CL_NODES_MAX; k = cl_bits_next(nodes, k + 1)) {
        if (note(cl, &cl->node[k].flight, i)) {
            at(cl, i)->refs++;
        } else {
            at(cl, i)->missed = true;
        }
    }
}

bool cl_confirm_sent(struct cl *cl, const struct cl_bits *nodes, const struct cl_bits *away,
                     struct source from, const struct pr_pub *pub, uint32_t *result)
{
    bool ack = (pub->flags & PR_PUB_ACK) != 0;
    uint32_t i = make(cl, from, pub);

    *result = ack ? PR_PUB_TIMEOUT : PR_PUB_DONE;
    if (i == NONE) {
        cl->blind_until = ack ? cl->now + CLE_HELD_MS : cl->blind_until;
        return false;
    }
    note_all(cl, i, nodes, note_sent);
    note_all(cl, i, away, note_away);
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

static uint32_t find(const struct cl *cl, uint64_t boot, uint32_t part, uint64_t oseq)
{
    uint32_t i = cl_pool_first(&cl->unconfirmed, hash_of(boot, part, oseq));

    while (i != NONE &&
           (at(cl, i)->boot != boot || at(cl, i)->part != part || at(cl, i)->oseq != oseq)) {
        i = cl_pool_next(&cl->unconfirmed, i);
    }
    return i;
}

void cl_confirm_resent(struct cl *cl, uint32_t node, struct pr_slice frame)
{
    struct cl_bits one = {{0}};
    struct pr_frame f;
    struct pr_event ev;
    uint32_t i = NONE;

    if (cl->unconfirmed.linked > 0 && pr_frame_next(frame, &f) > 0 &&
        pr_event_decode(&f, &ev) == PR_OK) {
        i = find(cl, ev.boot, ev.part, ev.oseq);
    }
    if (i == NONE) {
        return;
    }
    if (at(cl, i)->state == CL_CONFIRM_WAITS && ready(at(cl, i))) { /* it waits for room no more */
        list_remove(cl, &cl->waiting, i);
        list_add_last(cl, &cl->waiting, i);
    }
    cl_bits_set(&one, node);
    note_all(cl, i, &one, note_sent);
}

bool cl_confirm_repeat(struct cl *cl, struct source from, const struct pr_pub *pub,
                       uint32_t *result)
{
    bool ack = (pub->flags & PR_PUB_ACK) != 0;
    uint32_t i = find(cl, pub->boot, pub->part, pub->oseq);

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

    if (mark <= f->taken || mark > f->mark) {
        return CL_EPROTO;
    }
    f->taken = mark;
    for (uint32_t n = cl_flights_until(&f->sent, mark); n > 0; n--) {
        uint32_t i = cl_flights_take(&f->sent);

        if (!drop_ref(cl, i)) {
            continue;
        }
        if (cl_out_reserve(&cl->out, CL_FRAME_SMALL, 1) == CL_OK) {
            answer(cl, i);
        } else {
            wait_no_more(cl, i);
        }
    }
    return CL_OK;
}

void cl_confirm_gone(struct cl *cl, uint32_t node)
{
    struct flight *f = &cl->node[node].flight;

    give_up(cl, &f->sent, false);
    give_up(cl, &f->away, false);
    free_rings(cl, node);
}

void cl_confirm_missed(struct cl *cl, uint32_t node)
{
    give_up(cl, &cl->node[node].flight.away, true);
}

void cl_confirm_down(struct cl *cl, uint32_t node)
{
    struct flight *f = &cl->node[node].flight;

    while (f->sent.n > 0) {
        uint32_t i = cl_flights_take(&f->sent);

        if (!note_away(cl, f, i)) {
            give_up_one(cl, i, true);
        }
    }
    f->mark = f->taken = 0;
    f->due = f->now = false;
}

/* It was ordered under a view before, and its partition has moved since. */
static bool moved(const struct cl *cl, const struct cl_unconfirmed *u)
{
    return cl->route[u->part] != CL_SELF || cl->came[u->part] > u->view;
}

void cl_confirm_back(struct cl *cl, uint32_t node, bool whole)
{
    struct flight *f = &cl->node[node].flight;

    while (f->away.n > 0) {
        uint32_t i = cl_flights_take(&f->away);
        bool gone = moved(cl, at(cl, i));

        at(cl, i)->late = at(cl, i)->late || gone;
        if (gone || !whole || !note_sent(cl, f, i)) {
            give_up_one(cl, i, true);
        }
    }
}

static bool due(const struct cl *cl, uint32_t i)
{
    const struct cl_unconfirmed *u = at(cl, i);

    return ready(u) || u->at + CL_CONFIRM_MS <= cl->now;
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
}

cl_ms cl_confirm_deadline(const struct cl *cl)
{
    cl_ms at_ms = UINT64_MAX;

    if (cl->waiting.head != NONE) {
        const struct cl_unconfirmed *u = at(cl, cl->waiting.head);
        cl_ms end = ready(u) ? cl->now : u->at + CL_CONFIRM_MS;

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
        flown += cl->node[i].flight.sent.n + cl->node[i].flight.away.n;
    }
    if (count != cl->unconfirmed.linked || refs > flown ||
        (count == cl->unconfirmed.used && refs != flown)) {
        return "unconfirmed publishes are counted wrongly";
    }
    return NULL;
}
