/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/store.h"

#include <stdio.h>
#include <string.h>

#include "node/edge/access.h"
#include "node/edge/authorize.h"
#include "node/edge/link.h"
#include "node/edge/rights.h"

#define NOT_TO_STORE "You do not have permissions to persist messages of this Channel topic: "
#define TTL_DIGITS   10u

struct rt_store {
    struct rt_storing q;         /* with a reference to the token; `b` is not used */
    uint64_t id;                 /* of rt_edge.stores */
    struct rt_wheel_entry end;   /* of the question */
    struct rt_wheel_entry again; /* when it is asked again */
    struct rt_ref ref;
    size_t held; /* bytes, of rt_access_hold */
    bool binary;
    char uuid[RT_UUID_LEN + 1];
    struct pr_slice event, payload; /* of `bytes` */
    uint8_t bytes[];
};

static struct rt_edge *edge_of(const struct rt_store *s)
{
    return s->q.project->edge;
}

static void put_ask(struct pr_outbuf *o, const void *msg)
{
    pr_store_ask_encode(o, msg);
}

static void ask_later(struct rt_store *s);

/* If the owner is away it is sent when he is back; if he has much to read already, a little later.
 */
static void send_ask(struct rt_store *s)
{
    struct rt_edge *e = edge_of(s);
    const struct rt_token *token = s->q.token;
    struct pr_store_ask m = {.project = pr_str(s->q.project->cfg->project),
                             .boot = e->args->boot,
                             .id = s->id,
                             .topic = s->q.topic,
                             .role = token->role,
                             .claims = token->claims,
                             .sub = token->sub,
                             .headers = pr_str(s->q.headers != NULL ? s->q.headers : "{}"),
                             .message = pr_str(s->uuid),
                             .ttl_s = s->q.ttl_s,
                             .binary = s->binary,
                             .event = s->event,
                             .payload = s->payload};

    rt_wheel_clear(&e->wheel, &s->again);
    if (e->link.up && rt_ipc_queued(e->link.ipc) > RT_STORE_QUEUED_MAX) {
        ask_later(s);
    } else {
        rt_link_send(e, put_ask, &m);
    }
}

static void again_due(struct rt_wheel_entry *timer)
{
    send_ask((struct rt_store *)(void *)((char *)timer - offsetof(struct rt_store, again)));
}

static void ask_later(struct rt_store *s)
{
    struct rt_edge *e = edge_of(s);

    rt_wheel_set(&e->wheel, &s->again, again_due, e->now_ms, RT_ACCESS_RETRY_MS);
}

static void finish(struct rt_store *s, const struct pr_store *answer)
{
    struct rt_edge *e = edge_of(s);
    char meta[sizeof "{\"id\":\"\"}" + RT_UUID_LEN];
    struct rt_stored m = {.ref = rt_ref_get(&s->ref),
                          .b = {.form = s->binary ? PR_BCAST_BINARY : PR_BCAST_JSON,
                                .event = s->event,
                                .payload = s->payload},
                          .id = pr_str(s->uuid),
                          .answer = answer};

    (void)snprintf(meta, sizeof meta, "{\"id\":\"%s\"}", s->uuid);
    m.b.meta = pr_str(meta);
    rt_slots_del(&e->stores, s->id);
    rt_wheel_clear(&e->wheel, &s->end);
    rt_wheel_clear(&e->wheel, &s->again);
    rt_access_release(s->q.project, s->held);
    s->q.fn(s->q.ctx, &m);
    rt_token_unref(s->q.token);
    rt_ref_free(&s->ref);
    rt_free(s);
}

static void too_late(struct rt_wheel_entry *timer)
{
    static const struct pr_store unknown = {.status = PR_RIGHTS_AWAY};
    struct rt_store *s =
        (struct rt_store *)(void *)((char *)timer - offsetof(struct rt_store, end));

    edge_of(s)->now_ms = rt_now_ms(edge_of(s)->loop);
    finish(s, &unknown);
}

static struct pr_slice copy(struct pr_outbuf *o, struct pr_slice s)
{
    struct pr_slice out = pr_bytes(o->p + o->len, s.n);

    pr_put_slice(o, s);
    return out;
}

/* What goes to the owner with the message. */
static size_t question_bytes(const struct rt_storing *q)
{
    return q->topic.n + q->token->role.n + q->token->claims.n + q->token->sub.n +
           (q->headers != NULL ? strlen(q->headers) : 0);
}

struct rt_store *rt_store_begin(const struct rt_storing *q)
{
    struct rt_edge *e = q->project->edge;
    size_t n = q->b->event.n + q->b->payload.n;
    size_t held = n + question_bytes(q);
    struct rt_store *s = NULL;
    struct pr_outbuf o;

    if (q->token->claims.n > PR_TEXT_MAX || !rt_access_hold(q->project, held)) {
        return NULL;
    }
    s = rt_calloc(1, sizeof *s + n);
    s->q = *q;
    s->held = held;
    s->q.token = rt_token_ref(q->token);
    s->binary = q->b->form == PR_BCAST_BINARY;
    o = pr_outbuf(s->bytes, n);
    s->event = copy(&o, q->b->event);
    s->payload = copy(&o, q->b->payload);
    rt_uuid(s->uuid);
    rt_ref_keep(&s->ref, q->ref);
    s->id = rt_slots_add(&e->stores, s);
    rt_wheel_set(&e->wheel, &s->end, too_late, e->now_ms, RT_STORE_MS);
    send_ask(s);
    return s;
}

void rt_store_end(struct rt_store *s)
{
    if (s != NULL) {
        finish(s, NULL);
    }
}

bool rt_store_ttl(struct pr_slice text, uint32_t *ttl_s)
{
    uint64_t n = 0;

    if (text.n > TTL_DIGITS) {
        return false;
    }
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        n = n * 10 + (uint64_t)(text.p[i] - '0');
    }
    *ttl_s = (uint32_t)n;
    return n >= 1 && n <= PR_STORE_TTL_MAX;
}

bool rt_store_verdict(const struct pr_store *answer, struct pr_slice topic, struct pr_outbuf *o)
{
    if (answer->status == PR_RIGHTS_DONE && answer->stored) {
        return true;
    }
    if (answer->status == PR_RIGHTS_AWAY) {
        pr_put_str(o, "timeout, it was sent and may not have been stored");
    } else if (answer->status != PR_RIGHTS_DONE) {
        rt_rights_put_trouble(o, answer->status, answer->text);
    } else if (answer->text.n > 0) {
        pr_put_str(o, "it was sent and not stored: ");
        pr_put_slice(o, answer->text);
    } else {
        pr_put_str(o, "Unauthorized: " NOT_TO_STORE);
        pr_put_slice(o, topic);
    }
    return false;
}

int rt_store_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_store *s = NULL;
    struct pr_store m;
    int rv = pr_store_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    s = rt_slots_get(&e->stores, m.id);
    if (s != NULL && m.status == PR_RIGHTS_AWAY) {
        ask_later(s);
    } else if (s != NULL) {
        finish(s, &m);
    }
    return PR_OK;
}

void rt_store_attached(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->stores.count; i++) {
        if (e->stores.at[i].p != NULL) {
            send_ask(e->stores.at[i].p);
        }
    }
}

void rt_store_ask_again(struct rt_edge *e, struct pr_slice project)
{
    for (uint32_t i = 0; i < e->stores.count; i++) {
        struct rt_store *s = e->stores.at[i].p;

        if (s != NULL && pr_slice_is(project, s->q.project->cfg->project)) {
            ask_later(s);
        }
    }
}
