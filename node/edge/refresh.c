/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/refresh.h"

#include <stdio.h>
#include <string.h>

#include "node/edge/changes.h"
#include "node/edge/channel.h"
#include "node/edge/rights.h"
#include "node/edge/say.h"

static void timer_due(struct rt_wheel_entry *timer);

int64_t rt_refresh_now_s(void)
{
    return (int64_t)(rt_wall_ms() / 1000);
}

/* Is this the token of an API key, which has no end? */
static bool endless(const struct rt_token *t)
{
    return t->exp_s == RT_AUTH_NEVER;
}

/* When the channel ends, and when its client is told before; wall clock. Not for endless ones. */
static int64_t end_ms(const struct rt_channel *ch)
{
    return ch->token->exp_s * 1000 + ch->socket->project->cfg->token_grace_ms;
}

static int64_t warn_ms(const struct rt_channel *ch)
{
    return ch->token->exp_s * 1000 - ch->socket->project->cfg->token_warn_ms;
}

static void arm(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;
    int64_t wall = (int64_t)rt_wall_ms();
    uint64_t wait = UINT64_MAX;

    if (!endless(ch->token)) {
        int64_t at = ch->warned ? end_ms(ch) : warn_ms(ch);

        wait = at > wall ? (uint64_t)(at - wall) : 0;
    }
    if (ch->held_token != NULL) {
        uint64_t free_at = ch->refreshed_ms + RT_REFRESH_MS;
        uint64_t held = free_at > e->now_ms ? free_at - e->now_ms : 0;

        wait = held < wait ? held : wait;
    }
    if (wait == UINT64_MAX) {
        rt_wheel_clear(&e->wheel, &ch->timer);
    } else {
        rt_wheel_set(&e->wheel, &ch->timer, timer_due, e->now_ms, wait);
    }
}

void rt_refresh_begin(struct rt_channel *ch)
{
    ch->warned = ch->socket->project->cfg->token_warn_ms == 0 || endless(ch->token) ||
                 warn_ms(ch) <= (int64_t)rt_wall_ms();
    arm(ch);
}

static void warn(struct rt_channel *ch)
{
    char text[64];
    int64_t left_s = ch->token->exp_s - rt_refresh_now_s();
    int n = snprintf(text, sizeof text, "Token expires in %lld seconds", (long long)left_s);
    struct rt_system sys = {
        .extension = "system", .ok = true, .message = pr_bytes(text, (size_t)n)};

    ch->warned = true;
    if (left_s > 0) { /* else the process stood still, or the clock was set */
        rt_say_system(ch, &sys);
    }
}

static void shut(struct rt_channel *ch, enum pr_jwt_result r, const struct pr_jwt *detail)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    bool rejoin =
        r == PR_JWT_EXPIRED && strcmp(ch->socket->project->cfg->expired_event, "error") == 0;

    pr_jwt_system_text(&o, r, detail);
    if (!pr_out_ok(&o)) { /* a kid that long: the text without it */
        o = pr_outbuf(memory, sizeof memory);
        pr_jwt_system_text(&o, PR_JWT_NO_KEY, detail);
    }
    rt_channel_shut(ch, pr_bytes(memory, o.len), rejoin);
}

static void apply(struct rt_channel *ch, struct pr_slice text)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_token *token = NULL;
    struct rt_token *old = NULL;
    struct pr_jwt detail;
    enum pr_jwt_result r =
        rt_auth_verify(ch->socket->project->auth, text, rt_refresh_now_s(), &token, &detail);

    ch->refreshed_ms = e->now_ms;
    if (r != PR_JWT_OK) {
        shut(ch, r, &detail);
        return;
    }
    old = ch->token;
    ch->token = token;
    if (rt_changes_over(ch->socket)) {
        rt_channel_shut(ch, pr_str("Too large postgres_changes of one connection"), false);
        rt_token_unref(old);
        return;
    }
    rt_changes_refresh(ch, old);
    rt_refresh_begin(ch);
    rt_rights_refresh(ch, old); /* may end the channel */
    rt_token_unref(old);
}

static void apply_held(struct rt_channel *ch)
{
    char *text = ch->held_token;

    ch->held_token = NULL;
    apply(ch, pr_str(text)); /* may end the channel */
    rt_free(text);
}

static void timer_due(struct rt_wheel_entry *timer)
{
    struct rt_channel *ch =
        (struct rt_channel *)(void *)((char *)timer - offsetof(struct rt_channel, timer));
    struct rt_edge *e = ch->socket->edge;
    struct pr_jwt detail;

    e->now_ms = rt_now_ms(e->loop);
    if (ch->held_token != NULL) {
        apply_held(ch);
        return;
    }
    if (!endless(ch->token) && (int64_t)rt_wall_ms() >= end_ms(ch)) {
        shut(ch, rt_auth_again(ch->socket->project->auth, ch->token, rt_refresh_now_s(), &detail),
             &detail);
        return;
    }
    if (!ch->warned && (int64_t)rt_wall_ms() >= warn_ms(ch)) {
        warn(ch);
    }
    arm(ch); /* also if the wall clock was set, or the wheel's farthest setting was met */
}

static void hold(struct rt_channel *ch, struct pr_slice text)
{
    rt_free(ch->held_token);
    ch->held_token = rt_strndup(text.p, text.n);
    rt_log(ch->socket->edge->log, RT_DEBUG, "refresh_held",
           rt_kv_s("code", "AccessTokenRefreshThrottled"), rt_kv_x("conn", ch->socket->id));
    arm(ch);
}

void rt_refresh_message(struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct rt_edge *e = ch->socket->edge;
    struct pr_slice text = pr_str("");
    struct pr_json v;

    if (pr_json_member(m->payload, "access_token", &v) != 1 || v.type == PR_JSON_NULL) {
        return;
    }
    if (v.type == PR_JSON_STRING) {
        text = pr_json_str(&v); /* a JWT needs no escapes */
    }
    if (text.n >= 3 && memcmp(text.p, "sb_", 3) == 0) {
        return;
    }
    if (rt_token_is(ch->token, text)) { /* the last one wins over one that is held */
        rt_free(ch->held_token);
        ch->held_token = NULL;
        return;
    }
    if (text.n > PR_JWT_BYTES_MAX) {
        text = pr_str("");
    }
    if (ch->refreshed_ms != 0 && e->now_ms - ch->refreshed_ms < RT_REFRESH_MS) {
        hold(ch, text);
    } else {
        apply(ch, text);
    }
}
