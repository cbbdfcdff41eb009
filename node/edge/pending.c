/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/pending.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "node/edge/changes.h"
#include "node/edge/channel.h"
#include "node/edge/presence_view.h"
#include "node/edge/ready.h"
#include "node/edge/refresh.h"
#include "node/edge/replay.h"
#include "node/edge/rights.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "node/edge/topics.h"

struct rt_pending {
    struct rt_channel *channel;
    struct rt_pending *next, *prev; /* of the topic, while `fence` */
    struct rt_ref ref;
    struct rt_wheel_entry timer; /* of the verdict */
    struct rt_hold hold;
    uint32_t wait_ms;
    bool fence;              /* the topic's fence does not stand yet */
    bool ready;              /* the client wants to be told when the database's broadcasts flow */
    bool wait;               /* the client wants no ok before its changes are live */
    bool timed_out;          /* the verdict did not come */
    bool replay, replay_bad; /* stored broadcasts are asked for; with wrong words */
    uint32_t replay_limit;
    uint64_t replay_since_ms;
    uint64_t since_ms; /* the join's time */
    uint32_t nbad;
    struct pr_join_bad bad[PR_JOIN_BAD_MAX];
};

static void list_add(struct rt_topic *t, struct rt_pending *p)
{
    p->fence = true;
    p->next = t->pending;
    if (p->next != NULL) {
        p->next->prev = p;
    }
    t->pending = p;
}

static void list_del(struct rt_topic *t, struct rt_pending *p)
{
    if (!p->fence) {
        return;
    }
    p->fence = false;
    if (p->next != NULL) {
        p->next->prev = p->prev;
    }
    if (p->prev != NULL) {
        p->prev->next = p->next;
    } else {
        t->pending = p->next;
    }
    p->next = NULL;
    p->prev = NULL;
}

bool rt_pending_wait(struct rt_channel *ch, struct pr_slice message, bool text)
{
    return rt_hold_add(&ch->pending->hold, message, text, RT_HOLD_MESSAGES, RT_HOLD_BYTES);
}

static void pending_free(struct rt_channel *ch)
{
    struct rt_pending *p = ch->pending;

    list_del(ch->topic, p);
    rt_wheel_clear(&ch->socket->edge->wheel, &p->timer);
    rt_ref_free(&p->ref);
    rt_hold_free(&p->hold);
    rt_free(p);
    ch->pending = NULL;
}

void rt_pending_drop(struct rt_channel *ch)
{
    pending_free(ch);
}

static struct pr_phx_addr reply_addr(const struct rt_channel *ch)
{
    return (struct pr_phx_addr){.join_ref = rt_ref_get(&ch->join_ref),
                                .ref = rt_ref_get(&ch->pending->ref),
                                .topic = rt_topic_name(ch->topic)};
}

static void refuse(struct rt_channel *ch, struct pr_slice reason)
{
    struct pr_phx_addr to = reply_addr(ch);
    struct rt_socket *s = ch->socket;

    rt_say_refusal(s, &to, reason);
    rt_hold_release(&ch->pending->hold, s);
    rt_channel_end(ch);
}

static void put_bad(struct pr_outbuf *o, const void *arg)
{
    pr_put_str(o, "InvalidJoinPayload: ");
    pr_join_put_bad(o, arg);
}

/* A field that was not understood is named, instead of silently doing something else. */
static void say_bad(struct rt_channel *ch, const struct pr_join_bad *bad)
{
    uint8_t memory[256];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct rt_system sys = {.extension = "system", .ok = false};

    put_bad(&o, bad);
    sys.message = pr_bytes(memory, pr_out_ok(&o) ? o.len : sizeof memory);
    rt_log(ch->socket->edge->log, RT_WARN, "join_field_ignored", rt_kv_x("conn", ch->socket->id),
           rt_kv_b("topic", rt_topic_name(ch->topic)), rt_kv_b("err", sys.message));
    rt_say_system(ch, &sys);
}

static void accept_join(struct rt_channel *ch)
{
    struct rt_socket *s = ch->socket;
    struct pr_phx_addr to = reply_addr(ch);
    struct rt_pending *p = ch->pending;
    bool ready = p->ready;

    rt_say_reply(s, &to, "ok", rt_scratch_text(s->edge, rt_changes_put_reply, ch));
    rt_project_count(s->project, RT_M_JOINS, 1);
    rt_replay_joined(ch);
    rt_rights_joined(ch);
    for (uint32_t i = 0; i < p->nbad; i++) {
        say_bad(ch, &p->bad[i]);
    }
    rt_hold_release(&p->hold, s);
    pending_free(ch);
    rt_presence_joined(ch);
    rt_changes_joined(ch);
    if (ready) {
        rt_ready_joined(ch);
    }
    rt_refresh_begin(ch);
}

static void refuse_changes(struct rt_channel *ch, struct pr_slice message)
{
    static const char code[] = "RealtimeDisabledForConfiguration: ";
    size_t n = sizeof code - 1 + message.n;
    char *text = rt_malloc(n);

    memcpy(text, code, sizeof code - 1);
    memcpy(text + sizeof code - 1, message.p, message.n);
    refuse(ch, pr_bytes(text, n));
    rt_free(text);
}

static void refuse_timeout(struct rt_channel *ch)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "PostgresChangesSubscribeTimeout: Timed out after %ums waiting for the "
                     "postgres_changes subscription",
                     ch->pending->wait_ms);

    refuse(ch, pr_bytes(text, (size_t)n));
}

/* What the policies say; true: the join goes on. Else it waits, or was refused. */
static bool admitted(struct rt_channel *ch)
{
    struct pr_slice sub = rt_topic_sub(ch->topic);
    struct pr_outbuf o;
    bool refused = false;

    if (rt_rights_waits(ch)) {
        return false;
    }
    o = pr_outbuf(rt_malloc(sub.n + RT_RIGHTS_TEXT_MAX), sub.n + RT_RIGHTS_TEXT_MAX);
    refused = rt_rights_put_refusal(&o, ch, ch->pending->replay ? PR_EXT_BROADCAST : PR_EXT_ALL);
    if (refused) {
        refuse(ch, pr_bytes(o.p, o.len));
    }
    rt_free(o.p);
    if (!refused && ch->pending->replay_bad) {
        refuse(ch, pr_str("UnableToReplayMessages: Replay params are not valid"));
        return false;
    }
    return !refused;
}

/* Nothing speaks against the join: only stored broadcasts may have to be looked up before. */
static void settle(struct rt_channel *ch)
{
    struct rt_pending *p = ch->pending;

    if (!p->replay) {
        accept_join(ch);
        return;
    }
    rt_replay_begin(ch, p->replay_since_ms, p->replay_limit, p->since_ms);
}

void rt_pending_replayed(struct rt_channel *ch, bool ok)
{
    assert(ch->pending != NULL && ch->replay != NULL);
    if (ok) {
        accept_join(ch);
    } else {
        refuse(ch, pr_str("UnableToReplayMessages: Realtime was unable to replay messages"));
    }
}

/* Answers the join if all it waits for is known. May end the channel. */
static void decide(struct rt_channel *ch)
{
    struct rt_pending *p = ch->pending;
    struct pr_slice message = pr_str("");

    if (ch->replay != NULL) { /* all else is decided */
        return;
    }
    if (!admitted(ch) || p->fence) {
        return;
    }
    switch (rt_changes_verdict(ch, &message)) {
    case RT_VERDICT_LIVE:
        settle(ch);
        break;
    case RT_VERDICT_REFUSED:
        if (p->wait) {
            refuse_changes(ch, message);
        } else {
            settle(ch);
        }
        break;
    case RT_VERDICT_TROUBLE:
        if (!p->wait) {
            settle(ch);
        } else if (p->timed_out) {
            refuse_timeout(ch);
        }
        break;
    case RT_VERDICT_UNKNOWN:
        if (p->timed_out && p->wait) {
            refuse_timeout(ch);
        } else if (p->timed_out) {
            settle(ch);
        }
        break;
    }
}

void rt_pending_verdict(struct rt_channel *ch)
{
    if (ch->pending != NULL) {
        decide(ch);
    }
}

static void verdict_late(struct rt_wheel_entry *timer)
{
    struct rt_pending *p =
        (struct rt_pending *)(void *)((char *)timer - offsetof(struct rt_pending, timer));
    struct rt_edge *e = p->channel->socket->edge;

    e->now_ms = rt_now_ms(e->loop);
    p->timed_out = true;
    decide(p->channel);
}

void rt_pending_begin(struct rt_channel *ch, struct pr_phx_ref ref, const struct pr_join *j)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_pending *p = rt_calloc(1, sizeof *p);

    p->channel = ch;
    p->ready = j->replication_ready;
    p->replay = j->has_replay;
    p->replay_bad = j->replay_bad;
    p->replay_limit = j->replay_limit;
    p->replay_since_ms = j->replay_bad ? 0 : (uint64_t)j->replay_since_ms;
    p->since_ms = e->now_ms;
    p->wait = j->wait && ch->changes != NULL;
    p->wait_ms = p->wait ? j->wait_ms : RT_PENDING_CHANGES_MS;
    p->nbad = j->nbad;
    memcpy(p->bad, j->bad, j->nbad * sizeof j->bad[0]);
    rt_ref_keep(&p->ref, ref);
    ch->pending = p;
    if (!ch->topic->subscribed) {
        list_add(ch->topic, p);
    }
    if (ch->changes != NULL) {
        rt_wheel_set(&e->wheel, &p->timer, verdict_late, e->now_ms, p->wait_ms);
    }
    decide(ch);
}

void rt_pending_subscribed(struct rt_edge *e, struct rt_topic *t)
{
    uint32_t handle = t->handle;

    t->subscribed = true;
    /* A refused join may free the topic: it is looked up again each time. */
    for (; t != NULL && t->pending != NULL; t = rt_topic_of(e, handle)) {
        struct rt_pending *p = t->pending;

        list_del(t, p);
        decide(p->channel);
    }
}

void rt_pending_failed(struct rt_edge *e, struct rt_topic *t)
{
    uint32_t handle = t->handle;

    for (; t != NULL && t->pending != NULL; t = rt_topic_of(e, handle)) {
        refuse(t->pending->channel, pr_str("TimeoutOnRpcCall: Node request timeout"));
    }
}
