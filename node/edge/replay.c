/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/replay.h"

#include <assert.h>
#include <string.h>

#include "node/edge/access.h"
#include "node/edge/fanout.h"
#include "node/edge/link.h"
#include "node/edge/pending.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"

#define UUID_LEN  36u
#define ID_PREFIX "{\"id\":\""

/* A live message that waits for the answer. */
struct held {
    struct held *next;
    size_t n;
    uint8_t bytes[];
};

struct rt_replay {
    struct rt_channel *channel;
    struct rt_replay *next, *prev; /* of the topic */
    uint64_t id;                   /* of rt_edge.replays; 0: it was answered */
    uint64_t since_ms;
    uint32_t limit;
    struct rt_wheel_entry end;   /* of the question; then of the memory of ids */
    struct rt_wheel_entry again; /* when it is asked again */
    struct held *head, *tail;
    uint32_t count;
    size_t bytes; /* held; they count in rt_edge.private_bytes */
    bool overflow;
    struct pr_slice rows; /* of the answer, while it is handled */
    uint32_t nids;
    uint8_t ids[PR_REPLAY_ROWS][UUID_LEN];
};

static void forget(struct rt_replay *r)
{
    struct rt_channel *ch = r->channel;
    struct rt_edge *e = ch->socket->edge;

    if (r->id != 0) {
        rt_slots_del(&e->replays, r->id);
    }
    rt_wheel_clear(&e->wheel, &r->end);
    rt_wheel_clear(&e->wheel, &r->again);
    if (r->next != NULL) {
        r->next->prev = r->prev;
    }
    *(r->prev != NULL ? &r->prev->next : &ch->topic->replays) = r->next;
    rt_access_release(ch->socket->project, r->bytes);
    while (r->head != NULL) {
        struct held *h = r->head;

        r->head = h->next;
        rt_free(h);
    }
    rt_free(r);
    ch->replay = NULL;
}

void rt_replay_leave(struct rt_channel *ch)
{
    if (ch->replay != NULL) {
        forget(ch->replay);
    }
}

static void put_ask(struct pr_outbuf *o, const void *msg)
{
    pr_replay_ask_encode(o, msg);
}

/* If the owner is away it is sent when he is back. */
static void send_ask(struct rt_edge *e, struct rt_replay *r)
{
    struct pr_replay_ask m = {.project = pr_str(r->channel->socket->project->cfg->project),
                              .boot = e->args->boot,
                              .id = r->id,
                              .topic = rt_topic_sub(r->channel->topic),
                              .since_ms = r->since_ms,
                              .limit = r->limit};

    rt_wheel_clear(&e->wheel, &r->again);
    rt_link_send(e, put_ask, &m);
}

static void again_due(struct rt_wheel_entry *timer)
{
    struct rt_replay *r =
        (struct rt_replay *)(void *)((char *)timer - offsetof(struct rt_replay, again));

    send_ask(r->channel->socket->edge, r);
}

static void ask_later(struct rt_edge *e, struct rt_replay *r)
{
    rt_wheel_set(&e->wheel, &r->again, again_due, e->now_ms, RT_ACCESS_RETRY_MS);
}

static void seen_long_ago(struct rt_wheel_entry *timer)
{
    forget((struct rt_replay *)(void *)((char *)timer - offsetof(struct rt_replay, end)));
}

/* `rows` are borrowed for the call. May end the channel, and *r with it. */
static void finish(struct rt_edge *e, struct rt_replay *r, bool ok, struct pr_slice rows)
{
    rt_slots_del(&e->replays, r->id);
    r->id = 0;
    rt_wheel_clear(&e->wheel, &r->end);
    rt_wheel_clear(&e->wheel, &r->again);
    r->rows = rows;
    rt_pending_replayed(r->channel, ok && !r->overflow);
}

static void too_late(struct rt_wheel_entry *timer)
{
    struct rt_replay *r =
        (struct rt_replay *)(void *)((char *)timer - offsetof(struct rt_replay, end));
    struct rt_edge *e = r->channel->socket->edge;

    e->now_ms = rt_now_ms(e->loop);
    finish(e, r, false, pr_str(""));
}

void rt_replay_begin(struct rt_channel *ch, uint64_t since_ms, uint32_t limit, uint64_t joined_ms)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_replay *r = rt_calloc(1, sizeof *r);
    uint64_t passed_ms = e->now_ms - joined_ms;
    uint64_t left_ms = passed_ms < RT_ACCESS_JOIN_MS ? RT_ACCESS_JOIN_MS - passed_ms : 1;

    assert(ch->replay == NULL && limit >= 1 && limit <= PR_REPLAY_ROWS);
    r->channel = ch;
    r->since_ms = since_ms;
    r->limit = limit;
    r->next = ch->topic->replays;
    if (r->next != NULL) {
        r->next->prev = r;
    }
    ch->topic->replays = r;
    ch->replay = r;
    r->id = rt_slots_add(&e->replays, r);
    rt_wheel_set(&e->wheel, &r->end, too_late, e->now_ms,
                 left_ms < RT_REPLAY_MS ? left_ms : RT_REPLAY_MS);
    send_ask(e, r);
}

struct pr_slice rt_replay_id(const struct pr_bcast *b)
{
    size_t at = sizeof ID_PREFIX - 1;

    if (b->meta.n <= at + UUID_LEN || memcmp(b->meta.p, ID_PREFIX, at) != 0 ||
        b->meta.p[at + UUID_LEN] != '"') {
        return pr_str("");
    }
    return pr_bytes(b->meta.p + at, UUID_LEN);
}

bool rt_replay_has(const struct rt_channel *ch, struct pr_slice id)
{
    const struct rt_replay *r = ch->replay;

    for (uint32_t i = 0; r != NULL && id.n == UUID_LEN && i < r->nids; i++) {
        if (memcmp(r->ids[i], id.p, UUID_LEN) == 0) {
            return true;
        }
    }
    return false;
}

static void hold(struct rt_replay *r, struct pr_slice payload)
{
    struct rt_project *project = r->channel->socket->project;
    struct held *h = NULL;

    if (r->count >= RT_REPLAY_HELD || r->bytes + payload.n > project->cfg->max_queue_bytes / 4 ||
        !rt_access_hold(project, payload.n)) {
        r->overflow = true;
        return;
    }
    h = rt_malloc(sizeof *h + payload.n);
    h->next = NULL;
    h->n = payload.n;
    memcpy(h->bytes, payload.p, payload.n);
    *(r->tail != NULL ? &r->tail->next : &r->head) = h;
    r->tail = h;
    r->count++;
    r->bytes += payload.n;
}

void rt_replay_event(const struct rt_topic *t, struct pr_slice payload)
{
    for (struct rt_replay *r = t->replays; r != NULL; r = r->next) {
        if (r->id != 0 && !r->overflow) {
            hold(r, payload);
        }
    }
}

struct words {
    enum pr_vsn vsn;
    const struct pr_phx_addr *to;
    const struct pr_bcast *b;
};

static void put_words(struct pr_outbuf *o, const void *arg)
{
    const struct words *w = arg;

    pr_phx_put_replay(o, w->vsn, w->to, w->b);
}

static void queue(struct rt_channel *ch, struct rt_frame *f)
{
    if (f != NULL) {
        rt_socket_queue(ch->socket, f);
        rt_frame_unref(f);
        rt_project_count(ch->socket->project, RT_M_DELIVERIES, 1);
        rt_limit_spend(ch->socket->project, RT_LIMIT_EVENTS, 1);
    }
}

/* A stored row, if the client can take its form. */
static void send_row(struct rt_channel *ch, const struct pr_bcast *b)
{
    struct pr_phx_addr to = rt_channel_addr(ch);
    struct words w = {.vsn = (enum pr_vsn)ch->socket->vsn, .to = &to, .b = b};

    switch (pr_phx_replay_form(w.vsn, to.topic, b)) {
    case PR_PHX_FORM_NONE:
        break;
    case PR_PHX_FORM_TEXT:
        queue(ch, rt_frame_make(PR_WS_TEXT, put_words, &w));
        break;
    case PR_PHX_FORM_BINARY:
        queue(ch, rt_frame_make(PR_WS_BINARY, put_words, &w));
        break;
    }
}

/* What was held before `end`, NULL: all, without what the answer has. */
static void send_held(struct rt_replay *r, const struct held *end)
{
    struct rt_channel *ch = r->channel;
    struct pr_bcast b;

    while (r->head != NULL && r->head != end) {
        struct held *h = r->head;

        if (pr_bcast_decode(pr_bytes(h->bytes, h->n), &b) == PR_OK &&
            !rt_replay_has(ch, rt_replay_id(&b))) {
            queue(ch, rt_fanout_frame((enum pr_vsn)ch->socket->vsn, rt_topic_name(ch->topic), &b));
        }
        r->head = h->next;
        r->tail = r->head == NULL ? NULL : r->tail;
        r->count--;
        r->bytes -= h->n;
        rt_access_release(ch->socket->project, h->n);
        rt_free(h);
    }
}

/* The one that the answer has, too; NULL: none is. */
static const struct held *held_with(const struct rt_replay *r, struct pr_slice id)
{
    const struct held *h = id.n == 0 ? NULL : r->head;
    struct pr_bcast b;

    while (h != NULL && (pr_bcast_decode(pr_bytes(h->bytes, h->n), &b) != PR_OK ||
                         !pr_slice_eq(rt_replay_id(&b), id))) {
        h = h->next;
    }
    return h;
}

static void remember_ids(struct rt_replay *r)
{
    struct pr_slice rows = r->rows;
    struct pr_slice body;
    struct pr_bcast b;

    while (pr_replay_next(&rows, &body) == 1) {
        struct pr_slice id = pr_bcast_decode(body, &b) == PR_OK ? rt_replay_id(&b) : pr_str("");

        if (id.n == UUID_LEN) {
            assert(r->nids < PR_REPLAY_ROWS);
            memcpy(r->ids[r->nids++], id.p, UUID_LEN);
        }
    }
}

/* What came live before a row, and is not in the answer since newer ones have its place, goes
 * before that row. */
static void send_rows(struct rt_replay *r)
{
    struct pr_slice body;
    struct pr_bcast b;

    remember_ids(r);
    while (pr_replay_next(&r->rows, &body) == 1) {
        const struct held *h = NULL;

        if (pr_bcast_decode(body, &b) != PR_OK) {
            rt_log(r->channel->socket->edge->log, RT_ERROR, "broadcast_damaged",
                   rt_kv_b("topic", rt_topic_name(r->channel->topic)), rt_kv_u("bytes", body.n));
            continue;
        }
        h = held_with(r, rt_replay_id(&b));
        if (h != NULL) {
            send_held(r, h);
        }
        send_row(r->channel, &b);
    }
    r->rows = pr_str("");
}

void rt_replay_joined(struct rt_channel *ch)
{
    struct rt_edge *e = ch->socket->edge;
    struct rt_replay *r = ch->replay;

    if (r == NULL) {
        return;
    }
    assert(r->id == 0);
    send_rows(r);
    send_held(r, NULL);
    if (r->nids == 0) {
        forget(r);
    } else {
        rt_wheel_set(&e->wheel, &r->end, seen_long_ago, e->now_ms, RT_REPLAY_SEEN_MS);
    }
}

int rt_replay_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_replay *r = NULL;
    struct pr_replay m;
    int rv = pr_replay_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    r = rt_slots_get(&e->replays, m.id);
    if (r != NULL && m.status == PR_RIGHTS_AWAY) {
        ask_later(e, r);
    } else if (r != NULL) {
        finish(e, r, m.status == PR_RIGHTS_DONE, m.rows);
    }
    return PR_OK;
}

void rt_replay_attached(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->replays.count; i++) {
        if (e->replays.at[i].p != NULL) {
            send_ask(e, e->replays.at[i].p);
        }
    }
}

void rt_replay_ask_again(struct rt_edge *e, struct pr_slice project)
{
    for (uint32_t i = 0; i < e->replays.count; i++) {
        struct rt_replay *r = e->replays.at[i].p;

        if (r != NULL && pr_slice_is(project, r->channel->socket->project->cfg->project)) {
            ask_later(e, r);
        }
    }
}
