/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/channel.h"

#include <assert.h>

#include "node/edge/broadcast.h"
#include "node/edge/changes.h"
#include "node/edge/join.h"
#include "node/edge/pending.h"
#include "node/edge/presence_view.h"
#include "node/edge/refresh.h"
#include "node/edge/replay.h"
#include "node/edge/rights.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "node/edge/store.h"
#include "node/edge/topics.h"

_Static_assert(sizeof(struct rt_channel) <= 192, "memory budget of a membership");

static struct rt_channel *by_join_ref(struct rt_socket *s, const struct pr_phx_msg *m)
{
    for (struct rt_channel *ch = s->channels; ch != NULL; ch = ch->next) {
        if (pr_phx_ref_eq(rt_ref_get(&ch->join_ref), m->join_ref) &&
            pr_phx_topic_is_latin1(m->topic, rt_topic_name(ch->topic))) {
            return ch;
        }
    }
    return NULL;
}

struct rt_channel *rt_channel_of_message(struct rt_socket *s, struct pr_phx_msg *m)
{
    struct rt_channel *ch = rt_socket_channel(s, m->topic);

    if (ch == NULL && m->kind == PR_PHX_BROADCAST && !pr_phx_ref_is_null(m->join_ref)) {
        ch = by_join_ref(s, m);
        if (ch != NULL) {
            m->topic = rt_topic_name(ch->topic);
        }
    }
    return ch;
}

struct rt_channel *rt_channel_new(struct rt_socket *s, struct rt_topic *t, struct rt_token *token,
                                  struct pr_phx_ref join_ref)
{
    struct rt_edge *e = s->edge;
    struct rt_channel *ch = rt_calloc(1, sizeof *ch);

    ch->id = rt_slots_add(&e->channels, ch);
    ch->socket = s;
    ch->topic = t;
    ch->token = token;
    rt_ref_keep(&ch->join_ref, join_ref);
    ch->next = s->channels;
    s->channels = ch;
    rt_socket_count(s, 1);
    return ch;
}

void rt_channel_sit(struct rt_channel *ch)
{
    struct rt_seats *seats = &ch->topic->seats[ch->socket->vsn - 1];

    ch->seated = true;
    ch->seat = seats->count;
    rt_seats_add(seats, ch->socket, ch);
}

static void stand_up(struct rt_channel *ch)
{
    struct rt_channel *moved = rt_seats_del(&ch->topic->seats[ch->socket->vsn - 1], ch->seat);

    ch->seated = false;
    if (moved != NULL) {
        moved->seat = ch->seat;
    }
}

void rt_channel_end(struct rt_channel *ch)
{
    struct rt_socket *s = ch->socket;
    struct rt_edge *e = s->edge;
    struct rt_channel **at = &s->channels;

    if (ch->pending != NULL) {
        rt_pending_drop(ch);
    }
    if (ch->seated) {
        stand_up(ch);
    }
    rt_store_end(ch->store);
    rt_rights_leave(ch);
    rt_replay_leave(ch);
    rt_presence_leave(ch);
    rt_changes_leave(ch);
    rt_wheel_clear(&e->wheel, &ch->timer);
    rt_free(ch->held_token);
    rt_token_unref(ch->token);
    while (*at != ch) {
        at = &(*at)->next;
    }
    *at = ch->next;
    rt_slots_del(&e->channels, ch->id);
    rt_ref_free(&ch->join_ref);
    rt_topic_put(e, ch->topic);
    rt_free(ch);
    rt_socket_count(s, -1);
}

void rt_channel_close(struct rt_channel *ch, bool rejoin)
{
    struct pr_phx_addr to = rt_channel_addr(ch);

    rt_say_close(ch->socket, &to, rejoin);
    rt_channel_end(ch);
}

void rt_channel_shut(struct rt_channel *ch, struct pr_slice message, bool rejoin)
{
    struct rt_system sys = {.extension = "system", .ok = false, .message = message};

    rt_log(ch->socket->edge->log, RT_INFO, "channel_shut", rt_kv_s("code", "ChannelShutdown"),
           rt_kv_x("conn", ch->socket->id), rt_kv_b("topic", rt_topic_name(ch->topic)),
           rt_kv_b("err", message), rt_kv_s("project", ch->socket->project->cfg->project));
    rt_say_system(ch, &sys);
    rt_channel_close(ch, rejoin);
}

static void on_leave(struct rt_socket *s, struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct pr_phx_addr to = rt_answer_addr(m);

    if (ch == NULL) {
        rt_say_ok(s, &to);
        return;
    }
    if (!pr_phx_ref_is_null(m->join_ref) &&
        !pr_phx_ref_eq(rt_ref_get(&ch->join_ref), m->join_ref)) {
        return;
    }
    to.join_ref = rt_ref_get(&ch->join_ref);
    rt_say_ok(s, &to);
    rt_channel_close(ch, false);
}

/* Kind 0, of a stock phoenix.js with an ArrayBuffer as payload. */
static void on_binary_push(struct rt_socket *s, const struct pr_phx_msg *m)
{
    struct pr_phx_addr to = rt_answer_addr(m);

    if (pr_slice_is(m->event, "broadcast")) {
        rt_say_reason(s, &to, pr_str("binary push of kind 0 is not supported, send kind 3"));
    }
}

void rt_channel_message(struct rt_socket *s, struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct pr_phx_addr to = rt_answer_addr(m);
    bool text = m->kind == PR_PHX_TEXT;

    if (text && pr_slice_is(m->event, "phx_join")) {
        rt_join(s, ch, m);
        return;
    }
    if (text && pr_slice_is(m->event, "phx_leave")) {
        on_leave(s, ch, m);
        return;
    }
    if (ch == NULL) {
        rt_say_unmatched(s, &to);
        return;
    }
    if (m->kind == PR_PHX_PUSH) {
        on_binary_push(s, m);
    } else if (m->kind == PR_PHX_BROADCAST || pr_slice_is(m->event, "broadcast")) {
        rt_broadcast_push(ch, m);
    } else if (pr_slice_is(m->event, "presence")) {
        rt_presence_message(ch, m);
    } else if (pr_slice_is(m->event, "access_token")) {
        rt_refresh_message(ch, m);
    } else {
        rt_log(s->edge->log, RT_DEBUG, "event_ignored", rt_kv_x("conn", s->id),
               rt_kv_b("event", m->event));
    }
}
