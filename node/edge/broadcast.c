/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/broadcast.h"

#include "node/edge/rights.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "node/edge/topics.h"

/* Storing is not there yet; who asked for it is told, and not that all is well. */
#define NOT_STORED "{\"error\":\"persist is not available: the message was sent, not stored\"}"

struct rt_ack {
    uint64_t channel;
    struct rt_ref ref;
    bool persist; /* it was to be stored, too */
};

size_t rt_broadcast_bytes_max(const struct rt_project *project)
{
    return (size_t)project->cfg->max_payload_kb * 1000;
}

static bool in_rate(struct rt_socket *s)
{
    struct rt_project *project = s->project;
    struct rt_rate rate = {.per_s = project->cfg->max_client_events_per_second,
                           .burst = project->cfg->max_client_events_per_second * 2};

    if (rate.per_s > 0 && !rt_bucket_take(&s->events, &rate, 1, s->edge->now_ms)) {
        return false;
    }
    if (project->cfg->limits_supabase) { /* its receivers pay, fanout.c */
        rt_limit_spend(project, RT_LIMIT_EVENTS, 1);
        return true;
    }
    return rt_limit_take(project, RT_LIMIT_EVENTS, 1);
}

static void say_rate(struct rt_channel *ch)
{
    struct rt_socket *s = ch->socket;
    struct rt_edge *e = s->edge;
    struct rt_system sys = {
        .extension = "system", .ok = false, .message = pr_str("Too many messages per second")};

    rt_count(e->metrics, RT_M_LIMITED_EVENTS, 1);
    if (s->told_rate_ms != 0 && e->now_ms - s->told_rate_ms < RT_RATE_TOLD_MS) {
        return;
    }
    s->told_rate_ms = e->now_ms;
    rt_log(e->log, RT_WARN, "client_rate_limited",
           rt_kv_s("code", "MessagePerSecondRateLimitReached"), rt_kv_x("conn", s->id),
           rt_kv_b("topic", rt_topic_name(ch->topic)),
           rt_kv_s("project", s->project->cfg->project));
    rt_say_system(ch, &sys);
}

static void put_body(struct pr_outbuf *o, const void *arg)
{
    pr_bcast_encode(o, arg);
}

static int publish(struct rt_edge *e, struct pr_slice key, const struct pr_bcast *b,
                   uint64_t cookie)
{
    struct pr_slice body = rt_scratch_text(e, put_body, b);
    int rv = cle_publish(e->cle, e->now_ms, key, cookie != 0 ? PR_PUB_ACK : 0, body, cookie);

    if (rv == CL_OK) {
        rt_count(e->metrics, RT_M_BROADCASTS, 1);
    }
    return rv;
}

int rt_broadcast_send(struct rt_project *project, struct pr_slice sub, bool is_private,
                      const struct pr_bcast *b)
{
    uint8_t memory[PR_TOPIC_KEY_MAX];
    struct pr_outbuf key = pr_outbuf(memory, sizeof memory);

    rt_topic_put_key(&key, project->cfg->project, sub, is_private);
    if (!pr_out_ok(&key)) {
        return CL_ERANGE;
    }
    return publish(project->edge, pr_bytes(memory, key.len), b, 0);
}

/* Why a message cannot be sent: the JSON `response` of its ack, or NULL. */
static const char *trouble(struct rt_channel *ch, const struct pr_phx_msg *m,
                           const struct pr_bcast *b)
{
    if (m->payload.n > rt_broadcast_bytes_max(ch->socket->project)) {
        rt_count(ch->socket->edge->metrics, RT_M_LIMITED_PAYLOAD, 1);
        return "\"payload_size_exceeded\"";
    }
    if (m->kind == PR_PHX_BROADCAST && m->json && m->payload_error != PR_OK) {
        return "{\"reason\":\"payload is not valid JSON\"}";
    }
    if (b->form == PR_BCAST_BINARY && !pr_phx_bcast_fits(rt_topic_name(ch->topic), b)) {
        return "{\"reason\":\"a binary message needs a topic and an event of at most 255 bytes\"}";
    }
    if (!in_rate(ch->socket)) {
        say_rate(ch);
        return "{\"reason\":\"Too many messages per second\"}";
    }
    return NULL;
}

/* Metadata is the client's: whatever is no JSON object asks for nothing. */
static bool wants_persist(const struct pr_phx_msg *m)
{
    struct pr_json v;

    return m->metadata.n > 0 && pr_json_value(m->metadata, &v) == PR_OK &&
           v.type == PR_JSON_OBJECT && pr_json_member(v.raw, "persist", &v) == 1 &&
           v.type != PR_JSON_FALSE && v.type != PR_JSON_NULL;
}

static uint64_t ack_new(struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct rt_ack *a = rt_calloc(1, sizeof *a);

    a->channel = ch->id;
    a->persist = wants_persist(m);
    rt_ref_keep(&a->ref, m->ref);
    return rt_slots_add(&ch->socket->edge->acks, a);
}

static void ack_free(struct rt_edge *e, uint64_t cookie)
{
    struct rt_ack *a = rt_slots_get(&e->acks, cookie);

    if (a != NULL) {
        rt_slots_del(&e->acks, cookie);
        rt_ref_free(&a->ref);
        rt_free(a);
    }
}

void rt_broadcast_free(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->acks.count; i++) {
        if (e->acks.at[i].p != NULL) {
            ack_free(e, (uint64_t)e->acks.at[i].generation << 32 | (i + 1));
        }
    }
    rt_slots_free(&e->acks);
}

void rt_broadcast_push(struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct rt_edge *e = ch->socket->edge;
    struct pr_phx_addr to = {
        .join_ref = rt_ref_get(&ch->join_ref), .ref = m->ref, .topic = rt_topic_name(ch->topic)};
    struct pr_bcast b = {.form = PR_BCAST_TEXT, .sender = ch->id, .payload = m->payload};
    const char *why = NULL;
    uint64_t cookie = 0;

    if (!rt_rights_may_write(ch, PR_EXT_BROADCAST)) {
        if (ch->ack) {
            rt_rights_say_denied(ch, &to);
        }
        return;
    }
    if (m->kind == PR_PHX_BROADCAST) {
        b.form = m->json ? PR_BCAST_JSON : PR_BCAST_BINARY;
        b.event = m->event;
    }
    why = trouble(ch, m, &b);
    if (why == NULL) {
        cookie = ch->ack ? ack_new(ch, m) : 0;
        if (publish(e, rt_topic_key(ch->topic), &b, cookie) != CL_OK) {
            ack_free(e, cookie);
            why = "{\"reason\":\"too many messages are waiting, try again\"}";
        }
    }
    if (why != NULL && ch->ack) {
        rt_say_reply(ch->socket, &to, "error", pr_str(why));
    }
}

void rt_broadcast_done(struct rt_edge *e, uint64_t cookie, uint32_t result)
{
    struct rt_ack *a = rt_slots_get(&e->acks, cookie);
    struct rt_channel *ch = a == NULL ? NULL : rt_slots_get(&e->channels, a->channel);
    struct pr_phx_addr to = {0};

    if (ch != NULL) {
        to = (struct pr_phx_addr){.join_ref = rt_ref_get(&ch->join_ref),
                                  .ref = rt_ref_get(&a->ref),
                                  .topic = rt_topic_name(ch->topic)};
        if ((result == PR_PUB_DONE || result == PR_PUB_REPEAT) && a->persist) {
            rt_say_reply(ch->socket, &to, "error", pr_str(NOT_STORED));
        } else if (result == PR_PUB_DONE || result == PR_PUB_REPEAT) {
            rt_say_ok(ch->socket, &to);
        } else {
            rt_say_reason(ch->socket, &to,
                          pr_str(result == PR_PUB_FULL ? "the topic cannot take more messages"
                                                       : "timeout, it may not have arrived"));
        }
    }
    ack_free(e, cookie);
}
