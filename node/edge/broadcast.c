/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/broadcast.h"

#include "node/edge/rights.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "node/edge/store.h"
#include "node/edge/topics.h"
#include "proto/json_write.h"

#define PUBLIC_NOT_STORED "{\"error\":\"persist can only be used on private channels\"}"
#define TTL_NOT_STORED    "{\"error\":\"persist.ttl must be a whole number of seconds, at least 1\"}"
#define TOO_MANY          "{\"reason\":\"" RT_TOO_MANY_WAIT "\"}"

struct rt_ack {
    uint64_t channel;
    struct rt_ref ref;
    char *response; /* JSON, if it is not a plain ok */
    bool failed;    /* that is an error */
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

    rt_project_count(s->project, RT_M_LIMITED_EVENTS, 1);
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

static int publish(struct rt_project *project, struct pr_slice key, const struct pr_bcast *b,
                   uint64_t cookie)
{
    struct rt_edge *e = project->edge;
    struct pr_slice body = rt_scratch_text(e, put_body, b);
    int rv = cle_publish(e->cle, e->now_ms, key, cookie != 0 ? PR_PUB_ACK : 0, body, cookie);

    if (rv == CL_OK) {
        rt_project_count(project, RT_M_BROADCASTS, 1);
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
    return publish(project, pr_bytes(memory, key.len), b, 0);
}

/* Why a message cannot be sent: the JSON `response` of its ack, or NULL. */
static const char *trouble(struct rt_channel *ch, const struct pr_phx_msg *m,
                           const struct pr_bcast *b)
{
    if (m->payload.n > rt_broadcast_bytes_max(ch->socket->project)) {
        rt_project_count(ch->socket->project, RT_M_LIMITED_PAYLOAD, 1);
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

/* What the metadata asks for. It is the client's: whatever is no JSON object asks for nothing. */
struct persist {
    bool wanted, ttl_bad;
    uint32_t ttl_s; /* 0: none */
};

static struct persist read_persist(const struct pr_phx_msg *m)
{
    struct persist p = {.wanted = false};
    struct pr_json v;

    if (m->metadata.n == 0 || pr_json_value(m->metadata, &v) != PR_OK || v.type != PR_JSON_OBJECT ||
        pr_json_member(v.raw, "persist", &v) != 1) {
        return p;
    }
    p.wanted = v.type != PR_JSON_FALSE && v.type != PR_JSON_NULL;
    if (v.type == PR_JSON_OBJECT && pr_json_member(v.raw, "ttl", &v) == 1) {
        p.ttl_bad = v.type != PR_JSON_NUMBER || !rt_store_ttl(v.raw, &p.ttl_s);
    }
    return p;
}

/* `response` (JSON, owned; NULL: plain ok) is what is said when the message was passed on. */
static uint64_t ack_new(struct rt_channel *ch, struct pr_phx_ref ref, char *response, bool failed)
{
    struct rt_ack *a = rt_calloc(1, sizeof *a);

    a->channel = ch->id;
    a->response = response;
    a->failed = failed;
    rt_ref_keep(&a->ref, ref);
    return rt_slots_add(&ch->socket->edge->acks, a);
}

static void ack_free(struct rt_edge *e, uint64_t cookie)
{
    struct rt_ack *a = rt_slots_get(&e->acks, cookie);

    if (a != NULL) {
        rt_slots_del(&e->acks, cookie);
        rt_ref_free(&a->ref);
        rt_free(a->response);
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

/* To the owner; `response` as for ack_new. NULL, or why not. */
static const char *pass_on(struct rt_channel *ch, const struct pr_bcast *b, struct pr_phx_ref ref,
                           char *response, bool failed)
{
    struct rt_edge *e = ch->socket->edge;
    uint64_t cookie = 0;

    if (ch->ack) {
        cookie = ack_new(ch, ref, response, failed);
    } else {
        rt_free(response);
    }
    if (publish(ch->socket->project, rt_topic_key(ch->topic), b, cookie) != CL_OK) {
        ack_free(e, cookie);
        return TOO_MANY;
    }
    return NULL;
}

/* The ack's response, as JSON; *failed: it is an error. */
static char *stored_response(const struct rt_channel *ch, const struct rt_stored *m, bool *failed)
{
    struct pr_slice sub = rt_topic_sub(ch->topic);
    size_t cap = m->answer->text.n + sub.n + RT_RIGHTS_TEXT_MAX;
    struct pr_outbuf why = pr_outbuf(rt_malloc(cap), cap);
    struct pr_outbuf o = pr_outbuf(rt_malloc(PR_JSON_ESCAPE_MAX * cap), PR_JSON_ESCAPE_MAX * cap);

    *failed = !rt_store_verdict(m->answer, sub, &why);
    pr_put_str(&o, *failed ? "{\"error\":" : "{\"id\":");
    pr_put_json_str(&o, *failed ? pr_bytes(why.p, why.len) : m->id);
    pr_put_str(&o, "}");
    pr_put_u8(&o, 0);
    rt_free(why.p);
    return (char *)o.p;
}

/* Trouble of the database counts for a while for all that the channel wants stored, or each would
 * wait RT_STORE_MS behind the one before. */
static void remember_trouble(struct rt_channel *ch, const struct pr_store *answer)
{
    /* With a text it is what the database said of this message alone. */
    if (answer->status != PR_RIGHTS_DONE && answer->text.n == 0) {
        ch->unstored = answer->status == PR_RIGHTS_AWAY ? PR_RIGHTS_DOWN : answer->status;
        ch->unstored_ms = ch->socket->edge->now_ms + RT_RIGHTS_TROUBLE_MS;
    }
}

static void on_stored(void *ctx, const struct rt_stored *m)
{
    struct rt_channel *ch = ctx;
    struct pr_phx_addr to = {
        .join_ref = rt_ref_get(&ch->join_ref), .ref = m->ref, .topic = rt_topic_name(ch->topic)};
    struct pr_bcast b = m->b;
    const char *why = NULL;
    char *response = NULL;
    bool failed = false;

    ch->store = NULL;
    b.sender = ch->id;
    if (m->answer == NULL) { /* the channel ends: nobody waits for an ack */
        (void)publish(ch->socket->project, rt_topic_key(ch->topic), &b, 0);
        return;
    }
    remember_trouble(ch, m->answer);
    if (ch->ack) {
        response = stored_response(ch, m, &failed);
    }
    why = pass_on(ch, &b, m->ref, response, failed);
    if (why != NULL && ch->ack) {
        rt_say_reply(ch->socket, &to, "error", pr_str(why));
    }
    rt_rights_stored(ch);
}

static const char *store(struct rt_channel *ch, const struct pr_phx_msg *m,
                         const struct pr_bcast *b, uint32_t ttl_s)
{
    struct rt_storing q = {.project = ch->socket->project,
                           .topic = rt_topic_sub(ch->topic),
                           .headers = ch->socket->headers,
                           .token = ch->token,
                           .ref = m->ref,
                           .b = b,
                           .ttl_s = ttl_s,
                           .fn = on_stored,
                           .ctx = ch};

    ch->store = rt_store_begin(&q);
    return ch->store == NULL ? TOO_MANY : NULL;
}

/* Stores it first, if that is asked for and can be. */
static const char *store_or_pass_on(struct rt_channel *ch, const struct pr_phx_msg *m,
                                    const struct pr_bcast *b)
{
    const struct pr_store trouble = {.status = ch->unstored};
    const struct rt_stored unstored = {.answer = &trouble};
    struct persist p = {.wanted = false};
    const char *response = NULL;
    bool failed = false;

    if (m->kind == PR_PHX_BROADCAST) {
        p = read_persist(m);
    }
    if (p.wanted && ch->rights == NULL) {
        response = PUBLIC_NOT_STORED;
    } else if (p.wanted && p.ttl_bad) {
        response = TTL_NOT_STORED;
    } else if (p.wanted && ch->socket->edge->now_ms < ch->unstored_ms) {
        return pass_on(ch, b, m->ref, stored_response(ch, &unstored, &failed), true);
    } else if (p.wanted) {
        return store(ch, m, b, p.ttl_s);
    }
    return pass_on(ch, b, m->ref, response != NULL ? rt_strdup(response) : NULL, response != NULL);
}

void rt_broadcast_push(struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct pr_phx_addr to = {
        .join_ref = rt_ref_get(&ch->join_ref), .ref = m->ref, .topic = rt_topic_name(ch->topic)};
    struct pr_bcast b = {.form = PR_BCAST_TEXT, .sender = ch->id, .payload = m->payload};
    const char *why = NULL;

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
        why = store_or_pass_on(ch, m, &b);
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
        if ((result == PR_PUB_DONE || result == PR_PUB_REPEAT) && a->response != NULL) {
            rt_say_reply(ch->socket, &to, a->failed ? "error" : "ok", pr_str(a->response));
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
