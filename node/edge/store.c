/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/store.h"

#include <assert.h>
#include <string.h>

#include "node/edge/access.h"
#include "node/edge/broadcast.h"
#include "node/edge/link.h"
#include "node/edge/rights.h"

struct rt_store {
    struct rt_channel *channel;
    uint64_t id;                 /* of rt_edge.stores */
    struct rt_wheel_entry end;   /* of the question */
    struct rt_wheel_entry again; /* when it is asked again */
    struct rt_ref ref;
    uint32_t ttl_s;
    bool binary;
    char uuid[RT_UUID_LEN + 1];
    size_t nevent, n;
    uint8_t bytes[]; /* event and payload */
};

static void put_ask(struct pr_outbuf *o, const void *msg)
{
    pr_store_ask_encode(o, msg);
}

/* If the owner is away it is sent when he is back. */
static void send_ask(struct rt_edge *e, struct rt_store *s)
{
    const struct rt_channel *ch = s->channel;
    struct pr_store_ask m = {.project = pr_str(ch->socket->project->cfg->project),
                             .boot = e->args->boot,
                             .id = s->id,
                             .topic = rt_topic_sub(ch->topic),
                             .role = ch->token->role,
                             .claims = ch->token->claims,
                             .sub = ch->token->sub,
                             .headers =
                                 pr_str(ch->socket->headers != NULL ? ch->socket->headers : "{}"),
                             .message = pr_str(s->uuid),
                             .ttl_s = s->ttl_s,
                             .binary = s->binary,
                             .event = pr_bytes(s->bytes, s->nevent),
                             .payload = pr_bytes(s->bytes + s->nevent, s->n - s->nevent)};

    rt_wheel_clear(&e->wheel, &s->again);
    rt_link_send(e, put_ask, &m);
}

static void again_due(struct rt_wheel_entry *timer)
{
    struct rt_store *s =
        (struct rt_store *)(void *)((char *)timer - offsetof(struct rt_store, again));

    send_ask(s->channel->socket->edge, s);
}

static void ask_later(struct rt_edge *e, struct rt_store *s)
{
    rt_wheel_set(&e->wheel, &s->again, again_due, e->now_ms, RT_ACCESS_RETRY_MS);
}

/* Sends the message. The channel is not busy with it any more when that is done. */
static void finish(struct rt_store *s, const struct pr_store *answer)
{
    struct rt_channel *ch = s->channel;
    struct rt_edge *e = ch->socket->edge;
    struct rt_stored m = {.ref = rt_ref_get(&s->ref),
                          .id = pr_str(s->uuid),
                          .b = {.form = s->binary ? PR_BCAST_BINARY : PR_BCAST_JSON,
                                .event = pr_bytes(s->bytes, s->nevent),
                                .payload = pr_bytes(s->bytes + s->nevent, s->n - s->nevent)},
                          .answer = answer};

    rt_slots_del(&e->stores, s->id);
    rt_wheel_clear(&e->wheel, &s->end);
    rt_wheel_clear(&e->wheel, &s->again);
    ch->store = NULL;
    rt_broadcast_stored(ch, &m);
    rt_access_release(ch->socket->project, s->n);
    rt_ref_free(&s->ref);
    rt_free(s);
}

static void too_late(struct rt_wheel_entry *timer)
{
    static const struct pr_store unknown = {.status = PR_RIGHTS_AWAY};
    struct rt_store *s =
        (struct rt_store *)(void *)((char *)timer - offsetof(struct rt_store, end));
    struct rt_channel *ch = s->channel;

    ch->socket->edge->now_ms = rt_now_ms(ch->socket->edge->loop);
    finish(s, &unknown);
    rt_rights_stored(ch);
}

bool rt_store_begin(struct rt_channel *ch, const struct pr_bcast *b, struct pr_phx_ref ref,
                    uint32_t ttl_s)
{
    struct rt_edge *e = ch->socket->edge;
    size_t n = b->event.n + b->payload.n;
    struct rt_store *s = NULL;

    assert(ch->store == NULL && ch->rights != NULL);
    if (ch->token->claims.n > PR_TEXT_MAX || !rt_access_hold(ch->socket->project, n)) {
        return false;
    }
    s = rt_calloc(1, sizeof *s + n);
    s->channel = ch;
    s->ttl_s = ttl_s;
    s->binary = b->form == PR_BCAST_BINARY;
    s->nevent = b->event.n;
    s->n = n;
    if (b->event.n > 0) {
        memcpy(s->bytes, b->event.p, b->event.n);
    }
    if (b->payload.n > 0) {
        memcpy(s->bytes + s->nevent, b->payload.p, b->payload.n);
    }
    rt_uuid(s->uuid);
    rt_ref_keep(&s->ref, ref);
    s->id = rt_slots_add(&e->stores, s);
    ch->store = s;
    rt_wheel_set(&e->wheel, &s->end, too_late, e->now_ms, RT_STORE_MS);
    send_ask(e, s);
    return true;
}

void rt_store_leave(struct rt_channel *ch)
{
    if (ch->store != NULL) {
        finish(ch->store, NULL);
    }
}

int rt_store_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_store *s = NULL;
    struct rt_channel *ch = NULL;
    struct pr_store m;
    int rv = pr_store_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    s = rt_slots_get(&e->stores, m.id);
    if (s != NULL && m.status == PR_RIGHTS_AWAY) {
        ask_later(e, s);
    } else if (s != NULL) {
        ch = s->channel;
        finish(s, &m);
        rt_rights_stored(ch);
    }
    return PR_OK;
}

void rt_store_attached(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->stores.count; i++) {
        if (e->stores.at[i].p != NULL) {
            send_ask(e, e->stores.at[i].p);
        }
    }
}

void rt_store_ask_again(struct rt_edge *e, struct pr_slice project)
{
    for (uint32_t i = 0; i < e->stores.count; i++) {
        struct rt_store *s = e->stores.at[i].p;

        if (s != NULL && pr_slice_is(project, s->channel->socket->project->cfg->project)) {
            ask_later(e, s);
        }
    }
}
