/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/ready.h"

#include <stddef.h>

#include "node/edge/channel.h"
#include "node/edge/say.h"

/* A channel that waits; it may have ended meanwhile. */
struct rt_ready {
    struct rt_ready *next, *prev;
    struct rt_edge *edge;
    uint64_t channel;
    struct rt_wheel_entry timer;
};

/* Ends the waiting. Gives its channel, NULL if that has ended. */
static struct rt_channel *end(struct rt_ready *r)
{
    struct rt_edge *e = r->edge;
    struct rt_channel *ch = rt_slots_get(&e->channels, r->channel);

    if (r->next != NULL) {
        r->next->prev = r->prev;
    }
    if (r->prev != NULL) {
        r->prev->next = r->next;
    } else {
        e->ready = r->next;
    }
    rt_wheel_clear(&e->wheel, &r->timer);
    rt_free(r);
    return ch;
}

static void say(struct rt_channel *ch)
{
    struct rt_system sys = {
        .extension = "system", .ok = true, .message = pr_str("Replication connection established")};

    rt_say_system(ch, &sys);
}

static void too_late(struct rt_wheel_entry *timer)
{
    struct rt_ready *r =
        (struct rt_ready *)(void *)((char *)timer - offsetof(struct rt_ready, timer));
    struct rt_edge *e = r->edge;
    struct rt_channel *ch = end(r);

    e->now_ms = rt_now_ms(e->loop);
    if (ch != NULL) {
        rt_channel_shut(ch, pr_str("Replication connection was not established in time"), false);
    }
}

void rt_ready_joined(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_ready *r = NULL;

    if (e->replicating) {
        say(ch);
        return;
    }
    r = rt_calloc(1, sizeof *r);
    r->edge = e;
    r->channel = ch->id;
    r->next = e->ready;
    if (r->next != NULL) {
        r->next->prev = r;
    }
    e->ready = r;
    rt_wheel_set(&e->wheel, &r->timer, too_late, e->now_ms, RT_READY_MS);
}

int rt_ready_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct pr_reader m;
    int rv = pr_reader_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    e->replicating = m.state == PR_READER_HELD && m.casts != 0;
    while (e->replicating && e->ready != NULL) {
        struct rt_channel *ch = end(e->ready);

        if (ch != NULL) {
            say(ch);
        }
    }
    return PR_OK;
}

void rt_ready_unknown(struct rt_edge *e)
{
    e->replicating = false;
}

void rt_ready_free(struct rt_edge *e)
{
    while (e->ready != NULL) {
        (void)end(e->ready);
    }
}
