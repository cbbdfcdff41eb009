/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/fanout.h"

#include "node/edge/casts.h"
#include "node/edge/channel.h"
#include "node/edge/ctl.h"
#include "node/edge/replay.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"

/* Sockets ahead that are fetched into the cache: at 10 000 members each is a miss otherwise. */
#define AHEAD 4u

struct words {
    enum pr_vsn vsn;
    struct pr_slice topic;
    const struct pr_bcast *b;
};

static void put_bcast(struct pr_outbuf *o, const void *arg)
{
    const struct words *w = arg;

    (void)pr_phx_put_bcast(o, w->vsn, w->topic, w->b);
}

struct rt_frame *rt_fanout_frame(enum pr_vsn vsn, struct pr_slice topic, const struct pr_bcast *b)
{
    struct words w = {.vsn = vsn, .topic = topic, .b = b};

    switch (pr_phx_bcast_form(vsn, topic, b)) {
    case PR_PHX_FORM_NONE:
        break;
    case PR_PHX_FORM_TEXT:
        return rt_frame_make(PR_WS_TEXT, put_bcast, &w);
    case PR_PHX_FORM_BINARY:
        return rt_frame_make(PR_WS_BINARY, put_bcast, &w);
    }
    return NULL;
}

/* `skip` and who got the message of this id by replay get nothing; an empty id is nobody's. */
static void deliver(const struct rt_topic *t, const struct rt_seats *seats, struct rt_frame *f,
                    const struct rt_channel *skip, struct pr_slice id)
{
    uint32_t n = seats->count;
    uint32_t sent = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct rt_seat *seat = &seats->at[i];

        if (i + AHEAD < n) {
            __builtin_prefetch(&seats->at[i + AHEAD].socket->out, 1);
        }
        if (seat->channel != skip && (id.n == 0 || !rt_replay_has(seat->channel, id))) {
            rt_socket_queue(seat->socket, f);
            sent++;
        }
    }
    rt_project_count(t->project, RT_M_DELIVERIES, sent);
    rt_limit_spend(t->project, RT_LIMIT_EVENTS, sent);
}

/* All members that this message would reach. Each takes its seat with it, the last one the topic.
 */
static void shut_members(const struct rt_topic *t, const struct rt_channel *skip)
{
    uint32_t at[2] = {t->seats[0].count, t->seats[1].count};
    uint32_t left = at[0] + at[1] - (skip != NULL && skip->seated);

    rt_project_count(t->project, RT_M_LIMITED_EVENTS, left);
    while (left > 0) {
        uint32_t v = at[0] > 0 ? 0 : 1;
        struct rt_channel *ch = t->seats[v].at[--at[v]].channel;

        if (ch != skip) {
            left--;
            rt_channel_shut(ch, pr_str("Too many messages per second"), false);
        }
    }
}

void rt_fanout_event(struct rt_edge *e, struct rt_topic *t, struct pr_slice payload, bool own)
{
    const struct rt_channel *sender = NULL;
    struct pr_slice id = pr_str("");
    struct pr_bcast b;

    if (pr_bcast_decode(payload, &b) != PR_OK) {
        rt_log(e->log, RT_ERROR, "broadcast_damaged", rt_kv_b("topic", rt_topic_name(t)),
               rt_kv_u("bytes", payload.n));
        return;
    }
    if (rt_casts_repeat(t, &b)) {
        return;
    }
    if (own && b.sender != 0) {
        sender = rt_slots_get(&e->channels, b.sender);
    }
    if (sender != NULL && sender->self) {
        sender = NULL;
    }
    if (t->replays != NULL) {
        id = rt_replay_id(&b);
        rt_replay_event(t, payload);
    }
    if (rt_limit_shuts(t->project, RT_LIMIT_EVENTS)) {
        shut_members(t, sender);
        return;
    }
    for (uint32_t v = PR_VSN_1; v <= PR_VSN_2; v++) {
        const struct rt_seats *seats = &t->seats[v - 1];
        struct rt_frame *f = NULL;

        if (seats->count == 0 || (seats->count == 1 && seats->at[0].channel == sender)) {
            continue;
        }
        f = rt_fanout_frame((enum pr_vsn)v, rt_topic_name(t), &b);
        if (f != NULL) {
            deliver(t, seats, f, sender, id);
            rt_frame_unref(f);
        }
    }
    rt_observers_event(e, t, &b);
}
