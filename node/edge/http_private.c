/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcasts over HTTP to private topics: one question of rights per topic, one after the other,
 * and the answer when all have been decided.
 *
 * Bounds: PRIVATE_TOPICS_MAX topics of one batch, RT_ACCESS_BYTES_MAX bytes of all that wait on
 * this edge. Topics above the first are dropped and counted, requests above the second refused with
 * 429.
 */
#include <string.h>

#include <xxhash.h>

#include "node/edge/access.h"
#include "node/edge/broadcast.h"
#include "node/edge/http_api.h"
#include "node/edge/projects.h"
#include "node/edge/rights.h"
#include "node/edge/store.h"
#include "proto/json_write.h"

#define PRIVATE_TOPICS_MAX 100u

/* A private message of a batch. */
struct element {
    struct pr_slice raw;
    XXH128_hash_t topic; /* seeded: equal means the same topic */
    bool done;
};

struct rt_private {
    enum rt_user_kind kind; /* RT_USER_PRIVATE */
    struct rt_edge *edge;
    struct rt_project *project;
    struct rt_conn *conn;
    struct rt_token *token;
    char *headers;
    bool origin;
    struct rt_access_wait wait;
    struct element *elements; /* NULL: a single message */
    uint32_t count, at, topics, dropped;
    bool failed;           /* the owner does not take more */
    struct pr_bcast bcast; /* of a single message, as the next two */
    struct rt_persist persist;
    struct rt_store *store; /* it is being stored; NULL: it is not */
    struct pr_slice topic;  /* that is asked for; of `text`, or of `scratch` */
    uint8_t *scratch;
    size_t len;
    uint8_t text[];
};

static void on_finding(struct rt_access_wait *w, const struct rt_finding *v);

void rt_http_private_free(struct rt_private *p)
{
    rt_store_end(p->store);
    rt_access_cancel(p->edge, &p->wait);
    rt_access_release(p->project, p->len);
    rt_token_unref(p->token);
    rt_free(p->headers);
    rt_free(p->elements);
    rt_free(p->scratch);
    rt_project_unref(p->project);
    rt_free(p);
}

static void answer(struct rt_private *p, int status, const char *json)
{
    struct rt_http h = {
        .edge = p->edge, .project = p->project, .conn = p->conn, .post = true, .origin = p->origin};

    rt_conn_set_user(p->conn, NULL);
    rt_http_broadcast_answer(&h, status, pr_str(json), p->dropped);
    rt_http_private_free(p);
}

static struct rt_private *private_new(const struct rt_http *h, struct rt_token *token, size_t len)
{
    struct rt_private *p = NULL;

    if (!rt_access_hold(h->project, len)) {
        rt_token_unref(token);
        rt_http_broadcast_answer(h, 429, pr_str("{\"message\":\"Connection pool exhausted\"}"), 0);
        return NULL;
    }
    p = rt_calloc(1, sizeof *p + len);
    p->kind = RT_USER_PRIVATE;
    p->edge = h->edge;
    p->project = h->project;
    p->project->refs++;
    p->conn = h->conn;
    p->token = token;
    p->headers = rt_http_headers(h);
    p->origin = h->origin;
    p->len = len;
    rt_conn_set_user(h->conn, p);
    return p;
}

/* True: *v is known. */
static bool ask(struct rt_private *p, struct rt_finding *v)
{
    struct rt_question q = {.project = p->project,
                            .topic = p->topic,
                            .token = p->token,
                            .headers = pr_str(p->headers != NULL ? p->headers : ""),
                            .write = PR_EXT_BROADCAST,
                            .wait_ms = RT_ACCESS_WRITE_MS};

    return rt_access_ask(&q, &p->wait, on_finding, v);
}

/* Fields of an element that is known to be good: its topic as plain text, in p->scratch. */
static bool read_topic(struct rt_private *p, struct pr_slice element)
{
    struct pr_outbuf out = pr_outbuf(p->scratch, p->len);
    struct pr_json v;

    return pr_json_member(element, "topic", &v) == 1 && pr_json_text(&v, &out, &p->topic) == PR_OK;
}

/* All messages of the topic that was asked for. */
static void send_topic(struct rt_private *p, bool may)
{
    XXH128_hash_t topic = p->elements[p->at].topic;

    for (uint32_t i = p->at; i < p->count; i++) {
        struct element *m = &p->elements[i];

        if (m->done || XXH128_isEqual(m->topic, topic) == 0) {
            continue;
        }
        m->done = true;
        if (!may) {
            p->dropped++;
        } else if (rt_http_send_element(p->project, m->raw, true) != 0) {
            p->failed = true;
        }
    }
}

/* Goes through the topics until one has to be waited for, or all are done. */
static void walk(struct rt_private *p)
{
    struct rt_finding v;

    for (; p->at < p->count; p->at++) {
        if (p->elements[p->at].done) {
            continue;
        }
        if (p->topics == PRIVATE_TOPICS_MAX) {
            p->dropped++; /* one by one: to gather each topic's would be a walk for each of them */
            continue;
        }
        p->topics++;
        v = (struct rt_finding){.status = PR_RIGHTS_BUSY};
        if (read_topic(p, p->elements[p->at].raw) && !ask(p, &v)) {
            return;
        }
        send_topic(p, (v.write & PR_EXT_BROADCAST) != 0);
    }
    if (p->failed) {
        answer(p, 503, "{\"message\":\"Realtime is restarting, please standby\"}");
    } else {
        answer(p, 202, "");
    }
}

static void refuse_single(struct rt_private *p, const struct rt_finding *v)
{
    switch ((enum pr_rights_status)v->status) {
    case PR_RIGHTS_DONE:
        if ((v->raised & PR_EXT_BROADCAST) != 0) {
            answer(p, 422, "{\"message\":\"RLS policy error\"}");
        } else {
            answer(p, 403, "{\"message\":\"Unauthorized\"}");
        }
        break;
    case PR_RIGHTS_LACK:
        answer(p, 422, "{\"message\":\"Tenant database has too many connections\"}");
        break;
    case PR_RIGHTS_BUSY:
        answer(p, 429, "{\"message\":\"Connection pool exhausted\"}");
        break;
    case PR_RIGHTS_CANCELED:
        answer(p, 422, "{\"message\":\"Query canceled\"}");
        break;
    case PR_RIGHTS_PARTITION:
        answer(p, 422, "{\"message\":\"Missing messages partition\"}");
        break;
    case PR_RIGHTS_READ_ONLY:
        answer(p, 500, "{\"message\":\"Unable to authorize broadcast\"}");
        break;
    case PR_RIGHTS_AWAY:
    case PR_RIGHTS_CHANGED:
    case PR_RIGHTS_DOWN:
        answer(p, 422, "{\"message\":\"Tenant database unavailable\"}");
        break;
    }
}

/* Sent and not stored: {"error": why}, 403 for want of a right. */
static void answer_not_stored(struct rt_private *p, const struct pr_store *a)
{
    bool denied = a->status == PR_RIGHTS_DONE && a->text.n == 0;
    size_t cap = a->text.n + p->topic.n + RT_RIGHTS_TEXT_MAX;
    struct pr_outbuf why = pr_outbuf(rt_malloc(cap), cap);
    struct pr_outbuf o = pr_outbuf(rt_malloc(PR_JSON_ESCAPE_MAX * cap), PR_JSON_ESCAPE_MAX * cap);

    (void)rt_store_verdict(a, p->topic, &why);
    pr_put_str(&o, "{\"error\":");
    pr_put_json_str(&o, pr_bytes(why.p, why.len));
    pr_put_str(&o, "}");
    pr_put_u8(&o, 0);
    answer(p, denied ? 403 : 422, (const char *)o.p);
    rt_free(why.p);
    rt_free(o.p);
}

static void on_stored(void *ctx, const struct rt_stored *m)
{
    struct rt_private *p = ctx;
    int rv = rt_broadcast_send(p->project, p->topic, true, &m->b);

    p->store = NULL;
    if (m->answer == NULL) {
        return; /* the connection is gone */
    }
    if (rv != CL_OK) {
        answer(p, 503, "{\"message\":\"Realtime is restarting, please standby\"}");
    } else if (m->answer->status != PR_RIGHTS_DONE || !m->answer->stored) {
        answer_not_stored(p, m->answer);
    } else {
        answer(p, 202, "");
    }
}

static void store(struct rt_private *p)
{
    struct rt_storing q = {.project = p->project,
                           .topic = p->topic,
                           .headers = p->headers,
                           .token = p->token,
                           .b = &p->bcast,
                           .ttl_s = p->persist.ttl_s,
                           .fn = on_stored,
                           .ctx = p};

    p->store = rt_store_begin(&q);
    if (p->store == NULL) {
        answer(p, 429, "{\"message\":\"Connection pool exhausted\"}");
    }
}

static void end_single(struct rt_private *p, const struct rt_finding *v)
{
    if ((v->write & PR_EXT_BROADCAST) == 0) {
        refuse_single(p, v);
    } else if (p->persist.wanted) {
        store(p);
    } else if (rt_broadcast_send(p->project, p->topic, true, &p->bcast) != CL_OK) {
        answer(p, 503, "{\"message\":\"Realtime is restarting, please standby\"}");
    } else {
        answer(p, 202, "");
    }
}

static void on_finding(struct rt_access_wait *w, const struct rt_finding *v)
{
    struct rt_private *p =
        (struct rt_private *)(void *)((char *)w - offsetof(struct rt_private, wait));

    if (p->elements == NULL) {
        end_single(p, v);
        return;
    }
    send_topic(p, (v->write & PR_EXT_BROADCAST) != 0);
    p->at++;
    walk(p);
}

static struct pr_slice copy(struct pr_outbuf *o, struct pr_slice s)
{
    struct pr_slice out = pr_bytes(o->p + o->len, s.n);

    pr_put_slice(o, s);
    return out;
}

void rt_http_private_single(const struct rt_http *h, struct rt_token *token, struct pr_slice topic,
                            const struct pr_bcast *b, const struct rt_persist *persist)
{
    size_t len = topic.n + b->event.n + b->payload.n;
    struct rt_private *p = private_new(h, token, len);
    struct rt_finding v;
    struct pr_outbuf o;

    if (p == NULL) {
        return;
    }
    o = pr_outbuf(p->text, len);
    p->topic = copy(&o, topic);
    p->persist = *persist;
    p->bcast = *b;
    p->bcast.event = copy(&o, b->event);
    p->bcast.payload = copy(&o, b->payload);
    if (ask(p, &v)) {
        end_single(p, &v);
    }
}

/* Counts the private messages of p->text, and notes them where there is room. */
static uint32_t list(struct rt_private *p)
{
    struct pr_json_iter it;
    struct pr_json m, is_private;
    uint32_t n = 0;
    int rv = pr_json_open(&it, pr_bytes(p->text, p->len));

    while (rv == 0 && pr_json_next(&it, NULL, &m) == 1) {
        if (pr_json_member(m.raw, "private", &is_private) != 1 || is_private.type != PR_JSON_TRUE) {
            continue;
        }
        if (p->elements != NULL && read_topic(p, m.raw)) {
            p->elements[n].raw = m.raw;
            p->elements[n].topic =
                XXH3_128bits_withSeed(p->topic.p, p->topic.n, p->edge->topics.seed);
        }
        n++;
    }
    return n;
}

void rt_http_private_batch(const struct rt_http *h, struct rt_token *token,
                           struct pr_slice messages)
{
    struct rt_private *p = private_new(h, token, messages.n);

    if (p == NULL) {
        return;
    }
    memcpy(p->text, messages.p, messages.n);
    p->scratch = rt_malloc(messages.n);
    p->count = list(p);
    p->elements = rt_calloc(p->count, sizeof *p->elements);
    (void)list(p);
    walk(p);
}
