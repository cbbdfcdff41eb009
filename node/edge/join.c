/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/join.h"

#include <string.h>

#include "node/edge/broadcast.h"
#include "node/edge/changes.h"
#include "node/edge/channel.h"
#include "node/edge/pending.h"
#include "node/edge/presence_view.h"
#include "node/edge/refresh.h"
#include "node/edge/rights.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "node/edge/topics.h"

static bool starts_with(struct pr_slice s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.n >= n && memcmp(s.p, prefix, n) == 0;
}

/* Who has a channel is counted already. */
static bool client_fits(const struct rt_socket *s)
{
    return s->client || !rt_limit_clients_full(s->project);
}

/* Of this socket alone. */
static bool joins_fit(struct rt_socket *s)
{
    struct rt_rate own = {.per_s = s->project->cfg->max_client_joins_per_second,
                          .burst = s->project->cfg->max_client_joins_per_second * 4};

    return own.per_s == 0 || rt_bucket_take(&s->joins, &own, 1, s->edge->now_ms);
}

/* First refusal that needs no token and no rate, NULL if none. */
static const char *refusal(struct rt_socket *s, struct pr_slice sub, const struct pr_join *j)
{
    struct rt_edge *e = s->edge;

    if (sub.n == 0) {
        return "TopicNameRequired: You must provide a topic name";
    }
    if (e->draining) {
        return "RealtimeRestarting: Realtime is restarting, please standby";
    }
    if (j->private_bad) {
        return "InvalidJoinPayload: private must be a boolean";
    }
    if (s->project->cfg->private_only && !j->is_private) {
        return "PrivateOnly: This project only allows private channels";
    }
    if (!client_fits(s)) {
        rt_project_count(s->project, RT_M_LIMITED_CLIENTS, 1);
        return "ConnectionRateLimitReached: Too many connected users";
    }
    return NULL;
}

/* What a good token does not help against, NULL if nothing. */
static const char *late_refusal(const struct rt_socket *s, const struct pr_join *j,
                                const struct rt_token *token)
{
    const char *why = rt_changes_refusal(s, j, token);

    if (j->has_replay && !j->is_private) {
        return "UnableToReplayMessages: Replay is not allowed for public channels";
    }
    if (why != NULL) {
        rt_project_count(s->project, RT_M_LIMITED_PAYLOAD, 1);
    }
    return why;
}

/* The token of the join, or of the connection if it has none or only an API key. */
static enum pr_jwt_result verify(struct rt_socket *s, const struct pr_join *j,
                                 struct rt_token **out, struct pr_jwt *detail)
{
    struct pr_slice text = j->user_token.n > 0 ? j->user_token : j->access_token;
    int64_t now_s = rt_refresh_now_s();
    enum pr_jwt_result r = PR_JWT_OK;

    if (text.n > 0 && !starts_with(text, "sb_")) {
        return rt_auth_verify(s->project->auth, text, now_s, out, detail);
    }
    r = rt_auth_again(s->project->auth, s->token, now_s, detail);
    if (r == PR_JWT_OK) {
        *out = rt_token_ref(s->token);
    }
    return r;
}

static void refuse_token(struct rt_socket *s, const struct pr_phx_addr *to, enum pr_jwt_result r,
                         const struct pr_jwt *detail)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_jwt_join_reason(&o, r, detail);
    if (!pr_out_ok(&o)) { /* a kid that long: the text without it */
        o = pr_outbuf(memory, sizeof memory);
        pr_jwt_join_reason(&o, PR_JWT_NO_KEY, detail);
    }
    rt_say_refusal(s, to, pr_bytes(memory, o.len));
}

static void begin(struct rt_socket *s, const struct pr_phx_msg *m, const struct pr_join *j,
                  struct rt_token *token)
{
    struct pr_phx_addr to = rt_answer_addr(m);
    struct pr_slice sub =
        pr_bytes(m->topic.p + RT_TOPIC_PREFIX_LEN, m->topic.n - RT_TOPIC_PREFIX_LEN);
    struct rt_topic *t = rt_topic_get(s->project, sub, j->is_private);
    struct rt_channel *ch = NULL;

    if (t == NULL) {
        rt_token_unref(token);
        rt_say_refusal(s, &to, pr_str("ChannelRateLimitReached: Too many channels"));
        return;
    }
    ch = rt_channel_new(s, t, token, m->join_ref);
    ch->self = j->self;
    ch->ack = j->ack;
    ch->legacy = j->legacy;
    rt_presence_prepare(ch, j->presence, j->presence_key);
    rt_changes_prepare(ch, j);
    if (j->is_private) {
        rt_rights_begin(ch, j->presence);
    }
    rt_pending_begin(ch, m->ref, j);
}

static void checked(struct rt_socket *s, const struct pr_phx_msg *m, const struct pr_join *j)
{
    struct pr_phx_addr to = rt_answer_addr(m);
    struct pr_slice sub =
        pr_bytes(m->topic.p + RT_TOPIC_PREFIX_LEN, m->topic.n - RT_TOPIC_PREFIX_LEN);
    const char *why = refusal(s, sub, j);
    struct rt_token *token = NULL;
    struct pr_jwt detail;
    enum pr_jwt_result r = PR_JWT_OK;

    /* Not before: who sends joins that nobody could take must not use up the rate of all. */
    if (why == NULL && !rt_limit_take(s->project, RT_LIMIT_JOINS, 1)) {
        rt_say_too_many_joins(s, &to);
        return;
    }
    if (why == NULL && s->nchannels >= s->project->cfg->max_channels_per_client) {
        rt_project_count(s->project, RT_M_LIMITED_CHANNELS, 1);
        why = "ChannelRateLimitReached: Too many channels";
    }
    if (why != NULL) {
        rt_say_refusal(s, &to, pr_str(why));
        return;
    }
    r = verify(s, j, &token, &detail);
    if (r != PR_JWT_OK) {
        refuse_token(s, &to, r, &detail);
        return;
    }
    why = late_refusal(s, j, token);
    if (why != NULL) {
        rt_token_unref(token);
        rt_say_refusal(s, &to, pr_str(why));
        return;
    }
    begin(s, m, j, token);
}

void rt_join(struct rt_socket *s, struct rt_channel *old, const struct pr_phx_msg *m)
{
    struct pr_phx_addr to = rt_answer_addr(m);
    struct pr_outbuf scratch;
    struct pr_join j;
    int rv = PR_OK;

    if (!starts_with(m->topic, RT_TOPIC_PREFIX)) {
        rt_say_unmatched(s, &to);
        return;
    }
    if (old != NULL) {
        rt_channel_close(old, false);
    }
    /* Before all else: a join that is refused costs as much, and its refusal may have to wait. */
    if (!joins_fit(s)) {
        rt_say_too_many_joins(s, &to);
        return;
    }
    scratch = pr_outbuf(rt_malloc(m->payload.n), m->payload.n);
    rv = pr_join_parse(m->payload, &scratch, &j);
    if (rv == PR_OK) {
        checked(s, m, &j);
    } else if (rv == PR_ERANGE) {
        rt_say_refusal(s, &to,
                       pr_str("InvalidJoinPayload: postgres_changes may have at most 100 "
                              "entries"));
    } else {
        rt_say_refusal(s, &to, pr_str("Unknown Error on Channel"));
    }
    rt_free(scratch.p);
}
