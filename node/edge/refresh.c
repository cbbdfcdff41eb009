/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/refresh.h"

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

void rt_refresh_arm(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;
    uint64_t wall = rt_wall_ms();
    uint64_t wait = UINT64_MAX;

    if (ch->token->exp_s < RT_AUTH_NEVER / 1000 - e->cfg->token_grace_ms) {
        int64_t end = ch->token->exp_s * 1000 + e->cfg->token_grace_ms;

        wait = end > (int64_t)wall ? (uint64_t)end - wall : 0;
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

static void shut(struct rt_channel *ch, enum pr_jwt_result r, const struct pr_jwt *detail)
{
    uint8_t memory[512];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    bool rejoin = r == PR_JWT_EXPIRED && strcmp(ch->socket->edge->cfg->expired_event, "error") == 0;

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
    enum pr_jwt_result r = rt_auth_verify(e->auth, text, rt_refresh_now_s(), &token, &detail);

    ch->refreshed_ms = e->now_ms;
    if (r != PR_JWT_OK) {
        shut(ch, r, &detail);
        return;
    }
    old = ch->token;
    ch->token = token;
    rt_changes_refresh(ch);
    rt_refresh_arm(ch);
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
    if ((int64_t)rt_wall_ms() >= ch->token->exp_s * 1000 + e->cfg->token_grace_ms) {
        shut(ch, rt_auth_again(e->auth, ch->token, rt_refresh_now_s(), &detail), &detail);
        return;
    }
    rt_refresh_arm(ch); /* the wall clock was set, or the wheel's farthest setting was met */
}

static void hold(struct rt_channel *ch, struct pr_slice text)
{
    rt_free(ch->held_token);
    ch->held_token = rt_strndup(text.p, text.n);
    rt_log(ch->socket->edge->log, RT_DEBUG, "refresh_held",
           rt_kv_s("code", "AccessTokenRefreshThrottled"), rt_kv_x("conn", ch->socket->id));
    rt_refresh_arm(ch);
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
    if ((text.n >= 3 && memcmp(text.p, "sb_", 3) == 0) || rt_token_is(ch->token, text)) {
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
