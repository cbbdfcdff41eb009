/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/rights.h"

#include <string.h>

#include "node/edge/access.h"
#include "node/edge/channel.h"
#include "node/edge/hold.h"
#include "node/edge/pending.h"
#include "node/edge/presence_view.h"
#include "node/edge/refresh.h"
#include "node/edge/say.h"

#define NOT_TO_READ  "You do not have permissions to read from this Channel topic: "
#define NO_LONGER    "You no longer have permission to read from this Channel topic: "
#define NOT_TO_WRITE "Unauthorized: You do not have permissions to write to this Channel topic: "

enum asking { NOTHING = 0, JOIN, REFRESH, RECHECK, WRITE };

struct rt_rights {
    struct rt_access_wait wait;
    struct rt_channel *channel;
    enum asking asking;
    bool switched;                     /* REFRESH: to a token of another role or user */
    bool changed;                      /* policies did, while it joined */
    uint8_t failed;                    /* looks one after the other that did */
    uint32_t asked, read;              /* extensions looked at, and granted */
    uint32_t known, write;             /* the same of writing */
    uint32_t needs;                    /* WRITE: what is asked */
    struct rt_finding last;            /* of the join; then of the last question that failed */
    char text[RT_RIGHTS_TEXT_MAX / 2]; /* last.text, copied */
    uint64_t trouble_ms;               /* that failure counts until then */
    struct rt_hold hold;
    size_t large; /* bytes of it over RT_RIGHTS_BYTES */
    struct rt_wheel_entry again;
};

static void on_verdict(struct rt_access_wait *w, const struct rt_finding *v);
static void again_due(struct rt_wheel_entry *timer);

/* True: *v is known. */
static bool ask(struct rt_channel *ch, enum asking why, uint32_t read, uint32_t write,
                struct rt_finding *v)
{
    struct rt_rights *r = ch->rights;
    struct rt_question q = {.project = ch->socket->project,
                            .topic = rt_topic_sub(ch->topic),
                            .token = ch->token,
                            .headers = pr_str(""),
                            .read = read,
                            .write = write,
                            .wait_ms = why == JOIN ? RT_ACCESS_JOIN_MS : RT_ACCESS_WRITE_MS};

    if (ch->socket->headers != NULL) {
        q.headers = pr_str(ch->socket->headers);
    }
    rt_access_cancel(ch->socket->edge, &r->wait);
    r->asking = why;
    if (rt_access_ask(&q, &r->wait, on_verdict, v)) {
        r->asking = NOTHING;
        return true;
    }
    return false;
}

static void keep_last(struct rt_rights *r, const struct rt_finding *v)
{
    r->last = *v;
    r->last.text.n = v->text.n < sizeof r->text ? v->text.n : sizeof r->text;
    if (r->last.text.n > 0) {
        memcpy(r->text, v->text.p, r->last.text.n);
    }
    r->last.text.p = (const uint8_t *)r->text;
}

void rt_rights_put_trouble(struct pr_outbuf *o, uint32_t status, struct pr_slice why)
{
    switch ((enum pr_rights_status)status) {
    case PR_RIGHTS_LACK:
        pr_put_str(o, "DatabaseLackOfConnections: Database can't accept more connections, "
                      "Realtime won't connect");
        break;
    case PR_RIGHTS_BUSY:
        pr_put_str(o, "IncreaseConnectionPool: Please increase your connection pool size");
        break;
    case PR_RIGHTS_CANCELED:
        pr_put_str(o, "QueryCanceled: Query was cancelled, please try again");
        break;
    case PR_RIGHTS_PARTITION:
        pr_put_str(o, "MissingPartition: Realtime was unable to find the expected messages "
                      "partition");
        break;
    case PR_RIGHTS_READ_ONLY:
        pr_put_str(o, "UnableToSetPolicies: ");
        pr_put_slice(o, why);
        break;
    case PR_RIGHTS_DONE:
    case PR_RIGHTS_AWAY:
    case PR_RIGHTS_CHANGED:
    case PR_RIGHTS_DOWN:
        pr_put_str(o, "UnableToConnectToProject: Realtime was unable to connect to the project "
                      "database");
        break;
    }
}

static void take_read(struct rt_rights *r, const struct rt_finding *v)
{
    r->read = v->read;
    keep_last(r, v);
}

void rt_rights_begin(struct rt_channel *ch, bool presence)
{
    struct rt_rights *r = rt_calloc(1, sizeof *r);
    struct rt_finding v;

    ch->rights = r;
    r->channel = ch;
    r->asked = PR_EXT_BROADCAST | (presence ? PR_EXT_PRESENCE : 0);
    if (ask(ch, JOIN, r->asked, 0, &v)) {
        take_read(r, &v);
    }
}

bool rt_rights_waits(const struct rt_channel *ch)
{
    return ch->rights != NULL && ch->rights->asking == JOIN;
}

bool rt_rights_put_refusal(struct pr_outbuf *o, const struct rt_channel *ch, uint32_t needs)
{
    const struct rt_rights *r = ch->rights;

    if (r == NULL || (r->last.status == PR_RIGHTS_DONE && (r->read & needs) != 0)) {
        return false;
    }
    if (r->last.status == PR_RIGHTS_DONE) {
        pr_put_str(o, "Unauthorized: " NOT_TO_READ);
        pr_put_slice(o, rt_topic_sub(ch->topic));
    } else {
        rt_rights_put_trouble(o, r->last.status, r->last.text);
    }
    return true;
}

static void arm(struct rt_channel *ch, uint64_t wait_ms)
{
    struct rt_edge *e = ch->socket->edge;

    rt_wheel_set(&e->wheel, &ch->rights->again, again_due, e->now_ms, wait_ms);
}

static void arm_again(struct rt_channel *ch)
{
    uint32_t s = ch->socket->project->cfg->auth_recheck_s;

    if (s > 0) {
        arm(ch, (uint64_t)s * 1000);
    }
}

/* Policies changed: looks again, some time soon. */
static void arm_changed(struct rt_channel *ch)
{
    uint64_t random;

    rt_random(&random, sizeof random);
    arm(ch, random % RT_RIGHTS_SPREAD_MS);
}

/* A look failed. No later than the next one would be. */
static void arm_failed(struct rt_channel *ch)
{
    struct rt_rights *r = ch->rights;
    uint64_t recheck_ms = (uint64_t)ch->socket->project->cfg->auth_recheck_s * 1000;
    uint64_t ms = (uint64_t)RT_RIGHTS_FAILED_MS << r->failed;
    uint64_t random;

    if (ms < RT_RIGHTS_SPREAD_MS) {
        r->failed++;
    } else {
        ms = RT_RIGHTS_SPREAD_MS;
    }
    rt_random(&random, sizeof random);
    ms -= random % (ms / 2);
    if (recheck_ms == 0 || ms < recheck_ms) {
        arm(ch, ms);
    }
}

void rt_rights_joined(struct rt_channel *ch)
{
    if (rt_rights_may_read(ch, PR_EXT_BROADCAST)) {
        rt_channel_sit(ch);
    }
    if (ch->rights != NULL && ch->rights->changed) {
        arm_changed(ch);
    } else if (ch->rights != NULL) {
        arm_again(ch);
    }
}

void rt_rights_leave(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;

    if (ch->rights == NULL) {
        return;
    }
    rt_access_cancel(e, &ch->rights->wait);
    rt_wheel_clear(&e->wheel, &ch->rights->again);
    rt_access_release(ch->socket->project, ch->rights->hold.bytes);
    rt_hold_free(&ch->rights->hold);
    rt_free(ch->rights);
    ch->rights = NULL;
}

bool rt_rights_may_read(const struct rt_channel *ch, uint32_t ext)
{
    return ch->rights == NULL || (ch->rights->read & ext) != 0;
}

bool rt_rights_may_write(const struct rt_channel *ch, uint32_t ext)
{
    return ch->rights == NULL || (ch->rights->known & ch->rights->write & ext) != 0;
}

static bool in_trouble(const struct rt_rights *r, uint64_t now_ms)
{
    return now_ms < r->trouble_ms;
}

void rt_rights_say_denied(struct rt_channel *ch, const struct pr_phx_addr *to)
{
    struct pr_slice sub = rt_topic_sub(ch->topic);
    struct pr_outbuf o =
        pr_outbuf(rt_malloc(sub.n + RT_RIGHTS_TEXT_MAX), sub.n + RT_RIGHTS_TEXT_MAX);

    if (in_trouble(ch->rights, ch->socket->edge->now_ms)) {
        rt_rights_put_trouble(&o, ch->rights->last.status, ch->rights->last.text);
    } else {
        pr_put_str(&o, NOT_TO_WRITE);
        pr_put_slice(&o, sub);
    }
    rt_say_reason(ch->socket, to, pr_bytes(o.p, o.len));
    rt_free(o.p);
}

static void take_trouble(struct rt_channel *ch, const struct rt_finding *v)
{
    keep_last(ch->rights, v);
    ch->rights->trouble_ms = ch->socket->edge->now_ms + RT_RIGHTS_TROUBLE_MS;
}

static void take_write(struct rt_channel *ch, const struct rt_finding *v)
{
    struct rt_rights *r = ch->rights;
    uint32_t looked = r->needs & ~r->asked; /* track, on a channel that joined without presence */

    if (v->status != PR_RIGHTS_DONE) {
        take_trouble(ch, v);
        return;
    }
    r->known |= r->needs;
    r->write = (r->write & ~r->needs) | (v->write & r->needs);
    r->asked |= looked;
    r->read |= v->read & looked;
}

/* What a message has to be allowed; 0: nothing. */
static uint32_t needs_of(const struct pr_phx_msg *m)
{
    if (m->kind == PR_PHX_BROADCAST ||
        (m->kind == PR_PHX_TEXT && pr_slice_is(m->event, "broadcast"))) {
        return PR_EXT_BROADCAST;
    }
    return m->kind == PR_PHX_TEXT && pr_slice_is(m->event, "presence") ? PR_EXT_PRESENCE : 0;
}

bool rt_rights_holds(struct rt_channel *ch, const struct pr_phx_msg *m)
{
    struct rt_rights *r = ch->rights;
    struct rt_edge *e = ch->socket->edge;
    uint32_t ext = needs_of(m);
    struct rt_finding v;
    struct pr_jwt detail;

    if (r == NULL) {
        return false;
    }
    if (r->asking == REFRESH || r->asking == WRITE || ch->store != NULL || r->hold.head != NULL) {
        return true; /* also, of RECHECK, what came behind one that waits */
    }
    if (ext == 0 || in_trouble(r, e->now_ms) || ((r->known & ext) != 0 && (r->asked & ext) != 0) ||
        rt_auth_again(ch->socket->project->auth, ch->token, rt_refresh_now_s(), &detail) !=
            PR_JWT_OK) {
        return false;
    }
    if (r->asking == RECHECK) {
        return true; /* WRITE in its place would not say what may be read: who sends reads on */
    }
    r->needs = ext;
    if (ask(ch, WRITE, ext & ~r->asked, ext, &v)) {
        take_write(ch, &v);
        return false;
    }
    return true;
}

bool rt_rights_wait(struct rt_channel *ch, struct pr_slice message, bool text)
{
    struct rt_rights *r = ch->rights;
    struct rt_project *project = ch->socket->project;
    size_t large = message.n > RT_RIGHTS_BYTES ? message.n : 0;

    if ((large > 0 && r->large > 0) || !rt_access_hold(project, message.n)) {
        return false;
    }
    if (!rt_hold_add(&r->hold, message, text, RT_RIGHTS_MESSAGES,
                     RT_RIGHTS_BYTES + r->large + large)) {
        rt_access_release(project, message.n);
        return false;
    }
    r->large += large;
    return true;
}

/* All that waited is handled behind this call, whatever was decided. */
static void let_go(struct rt_rights *r)
{
    rt_access_release(r->channel->socket->project, r->hold.bytes);
    r->large = 0;
    rt_hold_release(&r->hold, r->channel->socket);
}

void rt_rights_stored(struct rt_channel *ch)
{
    if (ch->rights->asking == NOTHING) {
        let_go(ch->rights);
    }
}

static void shut(struct rt_channel *ch, const char *text, bool with_topic, bool rejoin)
{
    struct pr_slice sub = rt_topic_sub(ch->topic);
    size_t cap = sub.n + RT_RIGHTS_TEXT_MAX;
    struct pr_outbuf o = pr_outbuf(rt_malloc(cap), cap);

    pr_put_str(&o, text);
    if (with_topic) {
        pr_put_slice(&o, sub);
    }
    rt_channel_shut(ch, pr_bytes(o.p, o.len), rejoin);
    rt_free(o.p);
}

/* What may be read now; closes the channel if that is less than before. */
static void compare_read(struct rt_channel *ch, const struct rt_finding *v)
{
    struct rt_rights *r = ch->rights;
    uint32_t lost = r->read & ~v->read;

    r->failed = 0;
    r->read = v->read;
    if (v->read == 0 && r->switched) {
        shut(ch, NOT_TO_READ, true, false);
    } else if (lost != 0 || v->read == 0) {
        shut(ch, NO_LONGER, true, false);
    } else {
        if (!ch->seated && rt_rights_may_read(ch, PR_EXT_BROADCAST)) {
            rt_channel_sit(ch);
        }
        rt_presence_joined(ch);
    }
}

static void refreshed(struct rt_channel *ch, const struct rt_finding *v)
{
    if (v->status == PR_RIGHTS_DONE) {
        compare_read(ch, v);
    } else if (v->status == PR_RIGHTS_CANCELED) {
        shut(ch, "Query was cancelled, please try again", false, true);
    } else {
        shut(ch, "Realtime was unable to connect to the project database", false, true);
    }
}

static void rechecked(struct rt_channel *ch, const struct rt_finding *v)
{
    if (v->status == PR_RIGHTS_DONE) {
        ch->rights->switched = false;
        compare_read(ch, v);
        return;
    }
    if (v->status == PR_RIGHTS_DOWN) {
        take_trouble(ch, v); /* what waited, did so for all the time there is for an ack */
    }
    arm_failed(ch);
}

static void on_verdict(struct rt_access_wait *w, const struct rt_finding *v)
{
    struct rt_rights *r =
        (struct rt_rights *)(void *)((char *)w - offsetof(struct rt_rights, wait));
    struct rt_channel *ch = r->channel;
    enum asking asking = r->asking;

    r->asking = NOTHING;
    if (asking != JOIN) {
        let_go(r);
    }
    switch (asking) {
    case NOTHING:
        break;
    case JOIN:
        take_read(r, v);
        rt_pending_verdict(ch);
        break;
    case REFRESH:
        refreshed(ch, v);
        break;
    case RECHECK:
        rechecked(ch, v);
        break;
    case WRITE:
        take_write(ch, v);
        break;
    }
}

void rt_rights_refresh(struct rt_channel *ch, const struct rt_token *old)
{
    struct rt_rights *r = ch->rights;
    struct rt_finding v;

    if (r == NULL) {
        return;
    }
    r->known = 0;
    r->trouble_ms = 0;
    r->switched =
        !pr_slice_eq(old->role, ch->token->role) || !pr_slice_eq(old->sub, ch->token->sub);
    arm_again(ch);
    if (ask(ch, REFRESH, r->asked, 0, &v)) {
        let_go(r);
        refreshed(ch, &v);
    }
}

static void again_due(struct rt_wheel_entry *timer)
{
    struct rt_rights *r =
        (struct rt_rights *)(void *)((char *)timer - offsetof(struct rt_rights, again));
    struct rt_channel *ch = r->channel;
    struct rt_finding v;

    ch->socket->edge->now_ms = rt_now_ms(ch->socket->edge->loop);
    if (r->asking != NOTHING) { /* maybe since before what this is to look at */
        arm(ch, RT_RIGHTS_TROUBLE_MS);
        return;
    }
    arm_again(ch);
    r->known = 0;
    if (ask(ch, RECHECK, r->asked, 0, &v)) {
        rechecked(ch, &v);
    }
}

void rt_rights_changed(struct rt_edge *e, struct pr_slice project, bool surely)
{
    for (struct rt_socket *s = e->sockets; s != NULL; s = s->next) {
        if (!pr_slice_is(project, s->project->cfg->project)) {
            continue;
        }
        for (struct rt_channel *ch = s->channels; ch != NULL; ch = ch->next) {
            if (ch->rights != NULL && ch->pending != NULL) {
                ch->rights->changed = true;
            } else if (ch->rights != NULL) {
                ch->rights->known = surely ? 0 : ch->rights->known;
                arm_changed(ch);
            }
        }
    }
}
