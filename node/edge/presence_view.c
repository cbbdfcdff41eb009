/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/presence_view.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <xxhash.h>

#include "node/edge/broadcast.h"
#include "node/edge/channel.h"
#include "node/edge/presence_json.h"
#include "node/edge/rights.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "node/edge/topics.h"

#define TOO_MANY "Too many presence messages per second"

struct rt_tracker {
    uint64_t meta_hash; /* of what is tracked */
    uint64_t window_ms; /* start of the window that `calls` counts */
    uint32_t calls;
    bool want;    /* the join asked for presence */
    bool tracked; /* an entry of ours exists */
    uint8_t key_len;
    uint8_t key[];
};

/* Who of a topic gets presence, and what they get. */
struct rt_roster {
    struct rt_seats seats;
    uint32_t untold; /* seats that wait for the state */
    bool asked;      /* a view is on its way */
    bool known;      /* `text` is the state as last shown */
    uint8_t *list;   /* packed entries of a view in the making */
    size_t list_len, list_cap;
    uint32_t entries;
    uint8_t *text; /* JSON */
    size_t text_len;
};

static struct rt_tracker *tracker_new(struct pr_slice key)
{
    char uuid[RT_UUID_LEN + 1];
    struct rt_tracker *t = NULL;

    if (key.n == 0) {
        rt_uuid(uuid);
        key = pr_bytes(uuid, RT_UUID_LEN);
    }
    assert(key.n <= PR_ID_MAX);
    t = rt_calloc(1, sizeof *t + key.n);
    t->key_len = (uint8_t)key.n;
    memcpy(t->key, key.p, key.n);
    return t;
}

void rt_presence_prepare(struct rt_channel *ch, bool on, struct pr_slice key)
{
    if (on || key.n > 0) {
        ch->tracker = tracker_new(key);
        ch->tracker->want = on;
    }
}

static void roster_forget_text(struct rt_roster *r)
{
    rt_free(r->text);
    r->text = NULL;
    r->text_len = 0;
    r->known = false;
}

static void tell_state(struct rt_channel *ch)
{
    const struct rt_roster *r = ch->topic->roster;
    struct pr_phx_addr to = rt_channel_addr(ch);

    rt_say_push(ch->socket, &to, "presence_state", pr_bytes(r->text, r->text_len));
    rt_limit_spend(ch->socket->project, RT_LIMIT_PRESENCE, 1);
    ch->presence_told = true;
}

static void ask(struct rt_edge *e, struct rt_topic *t)
{
    struct rt_roster *r = t->roster;

    if (!r->asked) {
        r->asked = cle_presence_view(e->cle, e->now_ms, t->handle) == CL_OK;
    }
    if (!r->asked) {
        rt_log(e->log, RT_ERROR, "presence_view_refused", rt_kv_b("topic", rt_topic_name(t)),
               rt_kv_s("hint", "the edge is at its memory bound; raise REALTIME_MAX_TOPICS"));
    }
}

static void roster_enter(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_topic *t = ch->topic;

    if (t->roster == NULL) {
        t->roster = rt_calloc(1, sizeof *t->roster);
        if (cle_presence_want(e->cle, e->now_ms, t->handle, true) != CL_OK) {
            rt_log(e->log, RT_ERROR, "presence_want_refused", rt_kv_b("topic", rt_topic_name(t)));
        }
    }
    ch->presence_on = true;
    ch->presence_told = false;
    ch->presence = t->roster->seats.count;
    rt_seats_add(&t->roster->seats, ch->socket, ch);
    if (t->roster->known) {
        tell_state(ch);
        return;
    }
    t->roster->untold++;
    ask(e, t);
}

static void roster_leave(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_topic *t = ch->topic;
    struct rt_roster *r = t->roster;
    struct rt_channel *moved = rt_seats_del(&r->seats, ch->presence);

    if (moved != NULL) {
        moved->presence = ch->presence;
    }
    if (!ch->presence_told) {
        r->untold--;
    }
    ch->presence_on = false;
    if (r->seats.count > 0) {
        return;
    }
    if (cle_presence_want(e->cle, e->now_ms, t->handle, false) != CL_OK) {
        rt_log(e->log, RT_WARN, "presence_want_refused", rt_kv_b("topic", rt_topic_name(t)));
    }
    roster_forget_text(r);
    rt_free(r->list);
    rt_free(r);
    t->roster = NULL;
}

void rt_presence_joined(struct rt_channel *ch)
{
    if (ch->tracker != NULL && ch->tracker->want && !ch->presence_on &&
        rt_rights_may_read(ch, PR_EXT_PRESENCE)) {
        roster_enter(ch);
    }
}

void rt_presence_leave(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;

    if (ch->tracker != NULL && ch->tracker->tracked) {
        (void)cle_presence_del(e->cle, e->now_ms, ch->topic->handle, rt_slots_index(ch->id));
    }
    if (ch->presence_on) {
        roster_leave(ch);
    }
    rt_free(ch->tracker);
    ch->tracker = NULL;
}

static void list_append(struct rt_roster *r, struct pr_slice bytes)
{
    if (r->list_len + bytes.n > r->list_cap) {
        r->list_cap = (r->list_len + bytes.n) * 2;
        r->list = rt_realloc(r->list, r->list_cap);
    }
    if (bytes.n > 0) {
        memcpy(r->list + r->list_len, bytes.p, bytes.n);
    }
    r->list_len += bytes.n;
}

static void make_text(struct rt_roster *r)
{
    struct rt_shown shown = rt_shown_unpack(pr_bytes(r->list, r->list_len), r->entries);
    struct pr_outbuf o = pr_outbuf(NULL, 0);

    roster_forget_text(r);
    rt_shown_put(&o, &shown);
    r->text_len = o.len;
    r->text = rt_malloc(r->text_len);
    o = pr_outbuf(r->text, r->text_len);
    rt_shown_put(&o, &shown);
    r->known = true;
    rt_shown_free(&shown);
    rt_free(r->list);
    r->list = NULL;
    r->list_cap = 0;
    r->list_len = 0;
}

void rt_presence_view(struct rt_edge *e, struct rt_topic *t, const struct pr_p_view *view)
{
    struct rt_roster *r = t->roster;

    (void)e;
    if (r == NULL) {
        return; /* who asked has left */
    }
    if (view->first) {
        r->list_len = 0;
        r->entries = 0;
    }
    list_append(r, view->list);
    r->entries += view->count;
    if (!view->last) {
        return;
    }
    r->asked = false;
    make_text(r);
    for (uint32_t i = 0; i < r->seats.count && r->untold > 0; i++) {
        struct rt_channel *ch = r->seats.at[i].channel;

        if (!ch->presence_told) {
            r->untold--;
            tell_state(ch);
        }
    }
}

struct diff_words {
    enum pr_vsn vsn;
    struct pr_phx_addr to;
    struct pr_slice payload;
};

static void put_diff(struct pr_outbuf *o, const void *arg)
{
    const struct diff_words *w = arg;

    pr_phx_put_push(o, w->vsn, &w->to, "presence_diff", w->payload);
}

static void tell_diff(struct rt_edge *e, struct rt_topic *t, const struct rt_shown_diff *d)
{
    struct rt_roster *r = t->roster;
    struct rt_frame *frame[2] = {NULL, NULL};
    struct diff_words w = {.to = {.topic = rt_topic_name(t)},
                           .payload = rt_scratch_text(e, rt_shown_put_diff, d)};

    for (uint32_t i = 0; i < r->seats.count; i++) {
        struct rt_socket *s = r->seats.at[i].socket;
        struct rt_frame **f = &frame[s->vsn - 1];

        if (!r->seats.at[i].channel->presence_told) {
            continue; /* its state will have this in it */
        }
        if (*f == NULL) {
            w.vsn = (enum pr_vsn)s->vsn;
            *f = rt_frame_make(PR_WS_TEXT, put_diff, &w);
        }
        rt_socket_queue(s, *f);
    }
    rt_frame_unref(frame[0]);
    rt_frame_unref(frame[1]);
    rt_project_count(t->project, RT_M_DELIVERIES, r->seats.count);
    rt_limit_spend(t->project, RT_LIMIT_PRESENCE, r->seats.count);
}

/* All that a diff would reach. Each takes its seat with it, the last one the roster and more. */
static void shut_roster(const struct rt_topic *t)
{
    const struct rt_roster *r = t->roster;
    uint32_t left = r->seats.count;

    rt_project_count(t->project, RT_M_LIMITED_PRESENCE, left);
    while (left-- > 0) {
        rt_channel_shut(r->seats.at[left].channel, pr_str(TOO_MANY), false);
    }
}

static bool updates(const struct rt_shown_diff *d)
{
    for (uint32_t i = 0; i < d->joins.count; i++) {
        if (d->joins.at[i].prev_n != 0) {
            return true;
        }
    }
    return false;
}

void rt_presence_diff(struct rt_edge *e, struct rt_topic *t, const struct pr_p_diff *diff)
{
    struct rt_shown_diff d = {0};
    bool split = false;

    if (t->roster == NULL) {
        return;
    }
    if (rt_limit_shuts(t->project, RT_LIMIT_PRESENCE)) {
        shut_roster(t);
        return;
    }
    roster_forget_text(t->roster);
    d.joins = rt_shown_unpack(diff->joins, diff->njoins);
    d.leaves = rt_shown_unpack(diff->leaves, diff->nleaves);
    split = strcmp(t->project->cfg->presence_update, "split") == 0 && updates(&d);
    if (split) {
        tell_diff(e, t, &(struct rt_shown_diff){.leaves = d.leaves});
        tell_diff(e, t, &(struct rt_shown_diff){.joins = d.joins});
    } else {
        tell_diff(e, t, &d);
    }
    rt_shown_free(&d.joins);
    rt_shown_free(&d.leaves);
}

void rt_presence_reset(struct rt_edge *e, struct rt_topic *t)
{
    struct rt_roster *r = t->roster;

    if (r == NULL) {
        return;
    }
    roster_forget_text(r);
    for (uint32_t i = 0; i < r->seats.count; i++) {
        r->seats.at[i].channel->presence_told = false;
    }
    r->untold = r->seats.count;
    r->asked = false;
    ask(e, t);
}

static bool in_window(struct rt_channel *ch)
{
    const struct rt_config *cfg = ch->socket->project->cfg;
    struct rt_edge *e = ch->socket->edge;
    struct rt_tracker *t = ch->tracker;

    if (cfg->max_client_presence_events == 0) {
        return true;
    }
    if (t->calls == 0 || e->now_ms - t->window_ms >= cfg->client_presence_window_ms) {
        t->window_ms = e->now_ms;
        t->calls = 0;
    }
    t->calls++;
    return t->calls <= cfg->max_client_presence_events;
}

static void fail(struct rt_channel *ch, const struct pr_phx_addr *to, const char *code,
                 const char *reason)
{
    rt_log(ch->socket->edge->log, RT_INFO, "presence_refused", rt_kv_s("code", code),
           rt_kv_x("conn", ch->socket->id), rt_kv_b("topic", rt_topic_name(ch->topic)),
           rt_kv_s("err", reason), rt_kv_s("project", ch->socket->project->cfg->project));
    rt_say_reason(ch->socket, to, pr_str(reason));
}

/* Supabase ends the channel; here a client that calls again later is served. */
static void limited(struct rt_channel *ch, const struct pr_phx_addr *to, const char *code,
                    const char *reason)
{
    rt_project_count(ch->socket->project, RT_M_LIMITED_PRESENCE, 1);
    if (ch->socket->project->cfg->limits_supabase) {
        rt_channel_shut(ch, pr_str(reason), false);
    } else {
        fail(ch, to, code, reason);
    }
}

/* Puts the meta; 0, or an error of cle. The same again: nothing happens. */
static int put_meta(struct rt_channel *ch, struct pr_slice meta)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_tracker *t = ch->tracker;
    uint64_t hash = XXH3_64bits_withSeed(meta.p, meta.n, e->topics.seed);
    int rv = 0;

    if (t->tracked && t->meta_hash == hash) {
        return 0;
    }
    rv = cle_presence_put(e->cle, e->now_ms, ch->topic->handle, rt_slots_index(ch->id),
                          pr_bytes(t->key, t->key_len), meta);
    if (rv == CL_OK) {
        t->tracked = true;
        t->meta_hash = hash;
    }
    return rv;
}

static void track(struct rt_channel *ch, const struct pr_phx_addr *to,
                  const struct pr_json *payload)
{
    struct pr_slice object = payload->raw.n == 0 ? pr_str("{}") : payload->raw;
    struct pr_outbuf meta;
    int rv = 0;

    if (payload->raw.n != 0 && payload->type != PR_JSON_OBJECT) {
        fail(ch, to, "InvalidPresencePayload", "Presence track payload must be a map");
        return;
    }
    if (!rt_rights_may_write(ch, PR_EXT_PRESENCE)) {
        rt_rights_say_denied(ch, to);
        return;
    }
    if (object.n > rt_broadcast_bytes_max(ch->socket->project)) {
        rt_project_count(ch->socket->project, RT_M_LIMITED_PAYLOAD, 1);
        rt_channel_shut(ch, pr_str("Track message size exceeded"), false);
        return;
    }
    if (!ch->presence_on && rt_rights_may_read(ch, PR_EXT_PRESENCE)) {
        roster_enter(ch); /* before the entry: the diff that shows it comes after the state */
    }
    meta = pr_outbuf(rt_malloc(object.n), object.n);
    rv = rt_meta_put(&meta, object);
    if (rv == PR_OK) {
        rv = put_meta(ch, pr_bytes(meta.p, meta.len));
    }
    rt_free(meta.p);
    if (rv == 0) {
        rt_say_ok(ch->socket, to);
    } else {
        fail(ch, to, "UnableToTrackPresence", "Unable to track presence: too many presences");
    }
}

static void untrack(struct rt_channel *ch, const struct pr_phx_addr *to)
{
    struct rt_edge *e = ch->socket->edge;

    if (ch->tracker->tracked) {
        (void)cle_presence_del(e->cle, e->now_ms, ch->topic->handle, rt_slots_index(ch->id));
        ch->tracker->tracked = false;
    }
    rt_say_ok(ch->socket, to);
}

void rt_presence_message(struct rt_channel *ch, const struct pr_phx_msg *m)
{
    static const char *const names[] = {"event", "payload"};
    struct pr_phx_addr to = {
        .join_ref = rt_ref_get(&ch->join_ref), .ref = m->ref, .topic = rt_topic_name(ch->topic)};
    struct pr_json v[2];
    struct pr_slice event = pr_str("");

    if (pr_json_pick(m->payload, names, 2, v) != PR_OK) {
        rt_say_reply(ch->socket, &to, "error", pr_str("{}"));
        return;
    }
    if (v[0].raw.n == 0) {
        rt_say_ok(ch->socket, &to);
        return;
    }
    if (ch->tracker == NULL) {
        ch->tracker = tracker_new(pr_str(""));
    }
    if (v[0].type == PR_JSON_STRING) {
        event = pr_json_str(&v[0]);
    }
    if (!pr_slice_is_nocase(event, "track") && !pr_slice_is_nocase(event, "untrack")) {
        rt_log(ch->socket->edge->log, RT_INFO, "presence_event_unknown",
               rt_kv_s("code", "UnknownPresenceEvent"), rt_kv_x("conn", ch->socket->id));
        rt_say_reply(ch->socket, &to, "error", pr_str("{}"));
    } else if (!in_window(ch)) {
        limited(ch, &to, "ClientPresenceRateLimitReached", "Client presence rate limit exceeded");
    } else if (!rt_limit_take(ch->socket->project, RT_LIMIT_PRESENCE, 1)) {
        limited(ch, &to, "PresenceRateLimitReached", TOO_MANY);
    } else if (pr_slice_is_nocase(event, "track")) {
        track(ch, &to, &v[1]);
    } else {
        untrack(ch, &to);
    }
}
