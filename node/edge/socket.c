/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/socket.h"

#include <assert.h>
#include <string.h>

#include "node/edge/channel.h"
#include "node/edge/pending.h"
#include "node/edge/projects.h"
#include "node/edge/registrations.h"
#include "node/edge/rights.h"
#include "node/edge/say.h"

_Static_assert(sizeof(struct rt_socket) <= 384, "memory budget of an idle client");

/* Wakes for the nearest of: idle, ping, no channels. Moved only when it fires: a message costs no
 * timer. */
static void clock_due(struct rt_wheel_entry *timer);

static struct rt_socket *of_clock(struct rt_wheel_entry *timer)
{
    return (struct rt_socket *)(void *)((char *)timer - offsetof(struct rt_socket, clock));
}

static uint64_t later_of(uint64_t at, uint64_t now)
{
    return at > now ? at - now : 0;
}

static void clock_arm(struct rt_socket *s)
{
    struct rt_edge *e = s->edge;
    uint64_t wait = later_of(s->seen_ms + s->project->cfg->idle_timeout_ms, e->now_ms);
    uint64_t other = later_of(s->seen_ms + RT_PING_MS, e->now_ms);

    if (!s->pinged && other < wait) {
        wait = other;
    }
    other = later_of(s->empty_since_ms + s->project->cfg->no_channel_timeout_ms, e->now_ms);
    if (s->nchannels == 0 && other < wait) {
        wait = other;
    }
    rt_wheel_set(&e->wheel, &s->clock, clock_due, e->now_ms, wait);
}

static void clock_due(struct rt_wheel_entry *timer)
{
    struct rt_socket *s = of_clock(timer);
    struct rt_edge *e = s->edge;
    uint64_t silent = 0;

    e->now_ms = rt_now_ms(e->loop);
    silent = e->now_ms - s->seen_ms;
    if (silent >= s->project->cfg->idle_timeout_ms) {
        rt_socket_close(s, 1001, "idle timeout");
        return;
    }
    if (s->nchannels == 0 &&
        e->now_ms - s->empty_since_ms >= s->project->cfg->no_channel_timeout_ms) {
        rt_socket_close(s, 1001, "no channels");
        return;
    }
    if (!s->pinged && silent >= RT_PING_MS) {
        s->pinged = true;
        rt_conn_ping(s->conn);
    }
    clock_arm(s);
}

struct rt_socket *rt_socket_new(struct rt_project *project, struct rt_conn *c, enum pr_vsn vsn,
                                struct rt_token *token)
{
    struct rt_edge *e = project->edge;
    struct rt_socket *s = rt_calloc(1, sizeof *s);
    struct rt_rate joins = {.per_s = project->cfg->max_client_joins_per_second,
                            .burst = project->cfg->max_client_joins_per_second * 4};
    struct rt_rate events = {.per_s = project->cfg->max_client_events_per_second,
                             .burst = project->cfg->max_client_events_per_second * 2};

    s->kind = RT_USER_SOCKET;
    s->edge = e;
    s->project = project;
    project->refs++;
    s->conn = c;
    s->vsn = (uint8_t)vsn;
    s->token = token;
    s->id = ++e->next_socket;
    s->seen_ms = e->now_ms;
    s->empty_since_ms = e->now_ms;
    rt_outq_init(&s->out, project->cfg->max_queue_bytes);
    if (joins.per_s > 0) {
        rt_bucket_init(&s->joins, &joins, e->now_ms);
    }
    if (events.per_s > 0) {
        rt_bucket_init(&s->events, &events, e->now_ms);
    }
    s->next = e->sockets;
    if (s->next != NULL) {
        s->next->prev = s;
    }
    e->sockets = s;
    return s;
}

/* How many there are now. */
static void gauges(const struct rt_socket *s)
{
    const struct rt_edge *e = s->edge;
    const struct rt_project *p = s->project;

    rt_gauge(e->metrics, RT_M_CONNECTIONS, e->nsockets);
    rt_gauge(e->metrics, RT_M_CHANNELS, e->nchannels);
    rt_gauge(e->metrics, RT_M_CLIENTS, e->nclients);
    if (p->tally != NULL) {
        rt_tally_gauge(p->tally, RT_M_CONNECTIONS, p->nsockets);
        rt_tally_gauge(p->tally, RT_M_CHANNELS, p->nchannels);
        rt_tally_gauge(p->tally, RT_M_CLIENTS, p->nclients);
    }
}

void rt_socket_opened(struct rt_socket *s)
{
    struct rt_edge *e = s->edge;

    s->open = true;
    e->nsockets++;
    s->project->nsockets++;
    gauges(s);
    rt_project_count(s->project, RT_M_CONNECTS, 1);
    clock_arm(s);
    if (e->draining) {
        rt_socket_close(s, 1012, "restarting");
    }
    rt_socket_writable(s);
}

static void dirty_leave(struct rt_socket *s)
{
    struct rt_edge *e = s->edge;
    struct rt_socket **at = &e->dirty_head;
    struct rt_socket *before = NULL;

    while (s->dirty && *at != s) {
        before = *at;
        at = &(*at)->dirty_next;
    }
    if (s->dirty) {
        *at = s->dirty_next;
        if (e->dirty_tail == s) {
            e->dirty_tail = before;
        }
        s->dirty = false;
    }
}

static void leave_all(struct rt_socket *s)
{
    while (s->channels != NULL) {
        rt_channel_end(s->channels);
    }
}

void rt_socket_gone(struct rt_socket *s)
{
    struct rt_edge *e = s->edge;

    leave_all(s);
    rt_pace_gone(s);
    rt_late_free(s);
    rt_backlog_free(s);
    dirty_leave(s);
    rt_wheel_clear(&e->wheel, &s->clock);
    rt_outq_clear(&s->out);
    rt_token_unref(s->token);
    rt_free(s->headers);
    if (s->next != NULL) {
        s->next->prev = s->prev;
    }
    if (s->prev != NULL) {
        s->prev->next = s->next;
    } else {
        e->sockets = s->next;
    }
    if (s->open) {
        e->nsockets--;
        s->project->nsockets--;
        gauges(s);
    }
    rt_project_unref(s->project);
    rt_free(s);
}

void rt_socket_count(struct rt_socket *s, int change)
{
    struct rt_edge *e = s->edge;

    s->nchannels = (uint32_t)((int64_t)s->nchannels + change);
    e->nchannels = (uint32_t)((int64_t)e->nchannels + change);
    s->project->nchannels = (uint32_t)((int64_t)s->project->nchannels + change);
    if ((s->nchannels > 0) != s->client) {
        s->client = s->nchannels > 0;
        e->nclients = s->client ? e->nclients + 1 : e->nclients - 1;
        s->project->nclients = s->client ? s->project->nclients + 1 : s->project->nclients - 1;
        rt_limit_clients_changed(s->project);
    }
    gauges(s);
    if (s->nchannels == 0) {
        s->empty_since_ms = e->now_ms;
        if (s->open && s->close_code == 0) {
            clock_arm(s);
        }
    }
}

struct rt_channel *rt_socket_channel(struct rt_socket *s, struct pr_slice name)
{
    struct rt_channel **at = &s->channels;

    while (*at != NULL && !pr_slice_eq(rt_topic_name((*at)->topic), name)) {
        at = &(*at)->next;
    }
    if (*at != NULL && *at != s->channels) {
        struct rt_channel *ch = *at; /* to the front: the next message is likely for it too */

        *at = ch->next;
        ch->next = s->channels;
        s->channels = ch;
    }
    return s->channels != NULL && pr_slice_eq(rt_topic_name(s->channels->topic), name) ? s->channels
                                                                                       : NULL;
}

void rt_socket_alive(struct rt_socket *s)
{
    s->seen_ms = s->edge->now_ms;
    s->pinged = false;
}

static void malformed(struct rt_socket *s, int err, bool text)
{
    struct rt_edge *e = s->edge;

    rt_project_count(s->project, RT_M_BAD_INPUT, 1);
    rt_log(e->log, RT_WARN, "malformed_message", rt_kv_x("conn", s->id),
           rt_kv_s("code", text ? "MalformedWebSocketMessage" : "UnknownErrorOnWebSocketMessage"),
           rt_kv_i("error", err));
    if (s->bad == 0 || e->now_ms - s->bad_since_ms > RT_BAD_MS) {
        s->bad_since_ms = e->now_ms;
        s->bad = 0;
    }
    s->bad++;
    if (s->bad >= RT_BAD_MAX) {
        rt_socket_close(s, 1008, "too many malformed messages");
    }
}

void rt_socket_handle(struct rt_socket *s, struct pr_slice message, bool text)
{
    uint8_t memory[PR_PHX_SCRATCH_BYTES];
    struct pr_outbuf scratch = pr_outbuf(memory, sizeof memory);
    struct pr_phx_addr to = {0};
    struct pr_phx_msg m;
    struct rt_channel *ch = NULL;
    int rv = pr_phx_decode((enum pr_vsn)s->vsn, message, text, &scratch, &m);

    if (rv != PR_OK) {
        malformed(s, rv, text);
        return;
    }
    to = rt_answer_addr(&m);
    if (pr_slice_is(m.topic, "phoenix")) {
        if (pr_slice_is(m.event, "heartbeat")) {
            rt_say_ok(s, &to);
        } else {
            rt_say_unmatched(s, &to);
        }
        return;
    }
    ch = rt_channel_of_message(s, &m);
    if (ch != NULL && (ch->pending != NULL || rt_rights_holds(ch, &m))) {
        if (ch->pending != NULL && !rt_pending_wait(ch, message, text)) {
            rt_say_unmatched(s, &to);
        } else if (ch->pending == NULL && !rt_rights_wait(ch, message, text)) {
            rt_say_reason(s, &to, pr_str(RT_TOO_MANY_WAIT));
        }
        return;
    }
    rt_channel_message(s, ch, &m);
}

void rt_socket_message(struct rt_socket *s, struct pr_slice message, bool text)
{
    rt_socket_alive(s);
    rt_project_count(s->project, RT_M_MESSAGES_IN, 1);
    rt_project_count(s->project, RT_M_BYTES_IN, message.n);
    rt_backlog_run(s); /* came before it */
    if (s->close_code == 0) {
        rt_socket_handle(s, message, text);
    }
}
