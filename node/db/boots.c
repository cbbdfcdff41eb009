/* SPDX-License-Identifier: Apache-2.0 */
/*
 * boots.c - the edges of all nodes, by the name of their process life: who has told its
 * registrations, and who has acknowledged what.
 *
 * The owner names each that lives (CHG_SYNCED of round 0) and says when one is gone. An edge that
 * does not acknowledge in time is not waited for until it does: it must not fill the disk of the
 * database.
 */
#include <string.h>

#include "node/db/db_in.h"
#include "node/db/regs_in.h"

/* 256 nodes of 64 edges. More than that are not edges of ours. */
#define BOOTS_MAX 16384u
/* An edge that does not acknowledge for this long is left out. */
#define ACK_MS 10000u
/* One that does not for this long is not what the stream waits for: changes go on, and wait for it
 * elsewhere. Twice what an edge itself waits for a client of which it hears nothing. */
#define PACE_MS 2000u

struct rt_boot *rt_boots_of(struct rt_db *d, uint64_t boot)
{
    struct rt_link *l = rt_chains_find(&d->boots, boot);

    return l == NULL ? NULL : RT_LINKED(l, struct rt_boot, link);
}

struct rt_boot *rt_boots_add(struct rt_db *d, uint64_t boot)
{
    struct rt_boot *b = rt_boots_of(d, boot);

    if (b == NULL && d->boots.count < BOOTS_MAX) {
        b = rt_calloc(1, sizeof *b);
        b->boot = boot;
        /* What was routed before it came is not its to acknowledge. */
        b->acked = d->stream.routed;
        b->acked_ms = rt_now_ms(d->loop);
        rt_chains_add(&d->boots, &b->link, boot); /* random: its own hash */
    }
    return b;
}

static void drop(struct rt_db *d, struct rt_boot *b)
{
    while (b->regs != NULL) {
        rt_db_reg_remove(b->regs);
    }
    rt_chains_remove(&d->boots, &b->link);
    rt_free(b);
}

void rt_boots_forget(struct rt_db *d, uint64_t boot)
{
    struct rt_boot *b = rt_boots_of(d, boot);

    if (b != NULL) {
        drop(d, b);
        rt_stream_acked(d);
    }
}

/* Calls for all; fn may drop the one it is called for. */
static void each(struct rt_db *d, void (*fn)(struct rt_db *d, struct rt_boot *b, void *ctx),
                 void *ctx)
{
    for (size_t i = 0; i < d->boots.size; i++) {
        struct rt_link *l = d->boots.heads[i];

        while (l != NULL) {
            struct rt_link *next = l->next;

            fn(d, RT_LINKED(l, struct rt_boot, link), ctx);
            l = next;
        }
    }
}

static void drop_one(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    (void)ctx;
    drop(d, b);
}

void rt_boots_clear(struct rt_db *d)
{
    each(d, drop_one, NULL);
    rt_chains_free(&d->boots);
}

static void count_unanswered(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    uint32_t *n = ctx;

    *n += b->round != d->round;
}

bool rt_boots_answered(struct rt_db *d)
{
    uint32_t n = 0;

    each(d, count_unanswered, &n);
    return n == 0;
}

static void drop_unanswered(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    (void)ctx;
    if (b->round != d->round) {
        rt_log(d->log, RT_WARN, "changes_edge_silent", rt_kv_s("code", "ChangeAckTimeout"),
               rt_kv_x("boot", b->boot));
        rt_db_link_sys(d, b->boot, RT_TEXT_UNACKED);
        drop(d, b);
    }
}

void rt_boots_drop_unanswered(struct rt_db *d)
{
    each(d, drop_unanswered, NULL);
    rt_stream_acked(d);
}

struct lacking {
    struct pr_pos pos;
    uint32_t count;
};

static void count_lacking(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    struct lacking *c = ctx;

    (void)d;
    c->count += !b->silent && pr_pos_cmp(b->acked, c->pos) < 0;
}

uint32_t rt_boots_lacking(struct rt_db *d, struct pr_pos pos)
{
    struct lacking c = {.pos = pos};

    each(d, count_lacking, &c);
    return c.count;
}

struct behind {
    struct pr_pos pos;
    bool any;
};

static void look_behind(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    struct behind *c = ctx;

    c->any = c->any || (!b->silent && pr_pos_cmp(b->acked, c->pos) < 0 &&
                        rt_now_ms(d->loop) - b->acked_ms < PACE_MS);
}

bool rt_boots_behind(struct rt_db *d, struct pr_pos pos)
{
    struct behind c = {.pos = pos};

    each(d, look_behind, &c);
    return c.any;
}

static void owe(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    const bool *first = ctx;

    if (*first || pr_pos_cmp(b->acked, d->stream.routed) >= 0) {
        b->acked_ms = rt_now_ms(d->loop);
    }
}

void rt_boots_owe(struct rt_db *d, bool first)
{
    each(d, owe, &first);
}

static void put_off(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    const uint64_t *ms = ctx;
    uint64_t now = rt_now_ms(d->loop);

    b->acked_ms = now - b->acked_ms < *ms ? now : b->acked_ms + *ms;
}

void rt_boots_pause(struct rt_db *d, uint64_t ms)
{
    each(d, put_off, &ms);
}

static void unacked(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    (void)d;
    (void)ctx;
    b->acked = (struct pr_pos){0};
}

void rt_boots_new_history(struct rt_db *d)
{
    each(d, unacked, NULL);
}

/* Its clients may miss what is confirmed without it. */
static void check_one(struct rt_db *d, struct rt_boot *b, void *ctx)
{
    bool *changed = ctx;

    if (b->silent || pr_pos_cmp(b->acked, d->stream.routed) >= 0 ||
        rt_now_ms(d->loop) - b->acked_ms < ACK_MS) {
        return;
    }
    b->silent = true;
    *changed = true;
    rt_log(d->log, RT_WARN, "changes_not_acknowledged", rt_kv_s("code", "ChangeAckTimeout"),
           rt_kv_x("boot", b->boot));
    rt_db_link_sys(d, b->boot, RT_TEXT_UNACKED);
}

void rt_boots_check(struct rt_db *d)
{
    bool changed = false;

    if (d->stream.sent.count > 0) {
        each(d, check_one, &changed);
    }
    if (changed) {
        rt_stream_acked(d);
    }
}

void rt_boots_ack(struct rt_db *d, uint64_t boot, struct pr_pos pos)
{
    struct rt_boot *b = rt_boots_of(d, boot);
    struct pr_pos before;

    if (b == NULL || pr_pos_cmp(pos, b->acked) <= 0) {
        return;
    }
    before = b->acked;
    b->acked = pos;
    b->acked_ms = rt_now_ms(d->loop);
    if (b->silent) {
        b->silent = false;
        rt_stream_acked(d);
    } else {
        rt_stream_acked_by(d, before, pos);
    }
}
