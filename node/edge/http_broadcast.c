/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcasts over HTTP: a batch of text messages, or a single one with its payload as body.
 *
 * Accepted means handed to the owner process. What is for private topics waits for what the
 * policies say (http_private.c): a batch leaves out what is denied and says so in
 * x-realtime-dropped.
 */
#include <stdio.h>
#include <string.h>

#include "node/edge/broadcast.h"
#include "node/edge/http_api.h"
#include "node/edge/say.h"
#include "node/edge/store.h"
#include "proto/url.h"

enum field { TOPIC, EVENT, PAYLOAD, PRIVATE, ID, FIELDS };
static const char *const field_names[FIELDS] = {"topic", "event", "payload", "private", "id"};

#define REQUEST_ID_LEN 32u
/* Faults of a batch that are told, some 30 KB of text; the messages behind them are left out. A
 * message of two bytes has three faults of 80 bytes: told of all, a body would be answered with 40
 * times its size. */
#define FAULTS_MAX 1000u

/* Counters that clients of Supabase's API may read; a limit of 0 is no limit. */
struct rate_headers {
    char used[16], limit[16], left[16], id[REQUEST_ID_LEN + 1], dropped[16];
    struct rt_header list[6];
};

static const struct rt_header *rates(struct rt_project *project, struct rate_headers *r,
                                     uint32_t dropped)
{
    uint64_t random[2];
    uint32_t n = 0;

    rt_random(random, sizeof random);
    (void)snprintf(r->id, sizeof r->id, "%016llx%016llx", (unsigned long long)random[0],
                   (unsigned long long)random[1]);
    r->list[n++] = (struct rt_header){"x-request-id", r->id};
    if (project != NULL) {
        uint32_t limit = project->cfg->max_events_per_second;
        uint32_t left = limit > 0 ? rt_limit_left(project, RT_LIMIT_EVENTS) : 0;

        (void)snprintf(r->used, sizeof r->used, "%u", left < limit ? limit - left : 0);
        (void)snprintf(r->limit, sizeof r->limit, "%u", limit);
        (void)snprintf(r->left, sizeof r->left, "%u", left);
        r->list[n++] = (struct rt_header){"x-rate-rolling", r->used};
        r->list[n++] = (struct rt_header){"x-rate-limit", r->limit};
        r->list[n++] = (struct rt_header){"x-rate-limit-remaining", r->left};
    }
    if (dropped > 0) {
        (void)snprintf(r->dropped, sizeof r->dropped, "%u", dropped);
        r->list[n++] = (struct rt_header){"x-realtime-dropped", r->dropped};
    }
    r->list[n] = (struct rt_header){NULL, NULL};
    return r->list;
}

void rt_http_broadcast_answer(const struct rt_http *h, int status, struct pr_slice json,
                              uint32_t dropped)
{
    struct rate_headers r = {0};

    rt_http_answer(h, status, json, rates(h->project, &r, dropped));
}

static bool is_hex(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_uuid(const struct pr_json *v)
{
    struct pr_slice s = {0};

    if (v->type != PR_JSON_STRING) {
        return false;
    }
    s = pr_json_str(v);
    for (size_t i = 0; i < s.n; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;

        if (dash ? s.p[i] != '-' : !is_hex(s.p[i])) {
            return false;
        }
    }
    return s.n == 36;
}

/* Neither absent nor null nor an empty text. */
static bool present(const struct pr_json *v)
{
    return v->raw.n > 0 && v->type != PR_JSON_NULL && !(v->type == PR_JSON_STRING && v->raw.n == 2);
}

/* A text that can be part of a topic key: the escape of a NUL is the only way to one. */
static bool clean_text(const struct pr_json *v)
{
    struct pr_slice s = {0};

    if (v->type != PR_JSON_STRING) {
        return false;
    }
    s = pr_json_str(v);
    return memmem(s.p, s.n, "\\u0000", 6) == NULL && s.n <= PR_PHX_TOPIC_MAX;
}

static const char *fault_of(const struct rt_project *project, enum field field,
                            const struct pr_json *v)
{
    bool needed = field == TOPIC || field == EVENT || field == PAYLOAD;

    if (!present(v)) {
        return needed ? "can't be blank" : NULL;
    }
    switch (field) {
    case TOPIC:
    case EVENT:
        return clean_text(v) ? NULL : "is invalid";
    case PAYLOAD:
        if (v->type != PR_JSON_OBJECT) {
            return "is invalid";
        }
        if (v->raw.n <= rt_broadcast_bytes_max(project)) {
            return NULL;
        }
        rt_project_count(project, RT_M_LIMITED_PAYLOAD, 1);
        return "Payload size exceeds tenant limit";
    case ID:
        return is_uuid(v) ? NULL : "is invalid";
    case PRIVATE:
        return v->type == PR_JSON_TRUE || v->type == PR_JSON_FALSE ? NULL : "is invalid";
    case FIELDS:
        break;
    }
    return NULL;
}

/* Fields of a batch's element; all absent if it is no object. */
static void pick(const struct pr_json *element, struct pr_json v[FIELDS])
{
    memset(v, 0, FIELDS * sizeof *v);
    if (element->type == PR_JSON_OBJECT &&
        pr_json_pick(element->raw, field_names, FIELDS, v) != PR_OK) {
        memset(v, 0, FIELDS * sizeof *v);
    }
}

struct batch {
    struct rt_project *project;
    struct pr_slice messages; /* array text */
};

/* {"errors":{"messages":[{…},…]}}, until FAULTS_MAX. Also counts into *faults. */
static void put_errors(struct pr_outbuf *o, const struct batch *b, uint32_t *faults)
{
    struct pr_json_iter it;
    struct pr_json element;
    struct pr_json v[FIELDS];
    uint32_t n = 0;

    pr_put_str(o, "{\"errors\":{\"messages\":[");
    if (pr_json_open(&it, b->messages) != PR_OK) {
        return;
    }
    for (; *faults < FAULTS_MAX && pr_json_next(&it, NULL, &element) == 1; n++) {
        bool first = true;

        pick(&element, v);
        pr_put_str(o, n == 0 ? "{" : ",{");
        for (int f = TOPIC; f < FIELDS; f++) {
            const char *fault = fault_of(b->project, (enum field)f, &v[f]);

            if (fault != NULL) {
                pr_put_str(o, first ? "\"" : ",\"");
                pr_put_str(o, field_names[f]);
                pr_put_str(o, "\":[\"");
                pr_put_str(o, fault);
                pr_put_str(o, "\"]");
                first = false;
                (*faults)++;
            }
        }
        pr_put_str(o, "}");
    }
    pr_put_str(o, "]}}");
}

static void put_error_text(struct pr_outbuf *o, const void *batch)
{
    uint32_t faults = 0;

    put_errors(o, batch, &faults);
}

int rt_http_send_element(struct rt_project *project, struct pr_slice element, bool is_private)
{
    struct pr_json v[FIELDS];
    struct pr_json object;
    struct pr_bcast b = {.form = PR_BCAST_TEXT};
    struct pr_slice topic = pr_str("");
    struct pr_outbuf body, scratch;
    size_t cap = 0;
    int rv = pr_json_value(element, &object);

    if (rv != PR_OK) {
        return rv;
    }
    pick(&object, v);
    cap = v[EVENT].raw.n + v[PAYLOAD].raw.n + v[ID].raw.n + 96;
    body = pr_outbuf(rt_malloc(cap), cap);
    scratch = pr_outbuf(rt_malloc(v[TOPIC].raw.n), v[TOPIC].raw.n);
    pr_put_str(&body, "{\"event\":");
    pr_put_slice(&body, v[EVENT].raw);
    pr_put_str(&body, ",\"payload\":");
    pr_put_slice(&body, v[PAYLOAD].raw);
    pr_put_str(&body, ",\"type\":\"broadcast\"");
    if (present(&v[ID])) {
        pr_put_str(&body, ",\"meta\":{\"id\":");
        pr_put_slice(&body, v[ID].raw);
        pr_put_str(&body, "}");
    }
    pr_put_str(&body, "}");
    b.payload = pr_bytes(body.p, body.len);
    rv = pr_json_text(&v[TOPIC], &scratch, &topic);
    if (rv == PR_OK) {
        rv = rt_broadcast_send(project, topic, is_private, &b);
    }
    rt_free(scratch.p);
    rt_free(body.p);
    return rv;
}

static bool over_rate(const struct rt_http *h, uint32_t n)
{
    if (rt_limit_take(h->project, RT_LIMIT_EVENTS, n)) {
        return false;
    }
    rt_project_count(h->project, RT_M_LIMITED_EVENTS, 1);
    rt_http_broadcast_answer(
        h, 429,
        pr_str(rt_limit_left(h->project, RT_LIMIT_EVENTS) == 0
                   ? "{\"message\":\"You have exceeded your rate limit\"}"
                   : "{\"message\":\"Too many messages to broadcast, please reduce the batch "
                     "size\"}"),
        0);
    return true;
}

/* Public ones in order of the list; gives how many are left for http_private.c, or an error. */
static int send_public(struct rt_project *project, struct pr_slice messages, uint32_t *left)
{
    struct pr_json_iter it;
    struct pr_json element;
    struct pr_json v[FIELDS];
    int rv = pr_json_open(&it, messages);

    *left = 0;
    while (rv == 0 && pr_json_next(&it, NULL, &element) == 1) {
        pick(&element, v);
        if (v[PRIVATE].type == PR_JSON_TRUE) {
            (*left)++;
        } else {
            rv = rt_http_send_element(project, element.raw, false);
        }
    }
    return rv;
}

static void send_batch(const struct rt_http *h, struct rt_token *token, const struct batch *b)
{
    uint32_t left = 0;

    if (send_public(h->project, b->messages, &left) != 0) {
        rt_http_broadcast_answer(
            h, 503, pr_str("{\"message\":\"Realtime is restarting, please standby\"}"), 0);
    } else if (left == 0) {
        rt_http_broadcast_answer(h, 202, pr_str(""), 0);
    } else {
        rt_http_private_batch(h, rt_token_ref(token), b->messages);
    }
}

static uint32_t count(struct pr_slice array)
{
    struct pr_json_iter it;
    struct pr_json v;
    uint32_t n = 0;

    if (pr_json_open(&it, array) == PR_OK) {
        while (pr_json_next(&it, NULL, &v) == 1) {
            n++;
        }
    }
    return n;
}

static void batch(const struct rt_http *h, struct rt_token *token)
{
    struct batch b = {.project = h->project};
    struct pr_outbuf none = pr_outbuf(NULL, 0);
    struct pr_json messages = {0};
    struct pr_json body;
    uint32_t faults = 0;
    uint32_t n = 0;

    if (pr_json_value(h->request->body, &body) != PR_OK) {
        rt_http_broadcast_answer(h, 400, pr_str("{\"message\":\"the body is not JSON\"}"), 0);
        return;
    }
    if (body.type == PR_JSON_OBJECT && pr_json_member(body.raw, "messages", &messages) == 1 &&
        messages.type == PR_JSON_ARRAY) {
        b.messages = messages.raw;
        n = count(b.messages);
    }
    if (n == 0) {
        bool invalid =
            messages.raw.n > 0 && messages.type != PR_JSON_ARRAY && messages.type != PR_JSON_NULL;

        rt_http_broadcast_answer(h, 422,
                                 pr_str(invalid
                                            ? "{\"errors\":{\"messages\":[\"is invalid\"]}}"
                                            : "{\"errors\":{\"messages\":[\"can't be blank\"]}}"),
                                 0);
        return;
    }
    put_errors(&none, &b, &faults);
    if (faults > 0) {
        rt_http_broadcast_answer(h, 422, rt_scratch_text(h->edge, put_error_text, &b), 0);
    } else if (!over_rate(h, n)) {
        send_batch(h, token, &b);
    }
}

/* application/json (or nothing) gives JSON, application/octet-stream bytes; others nothing. */
static bool form_of(const struct rt_http *h, struct pr_bcast *b)
{
    struct pr_slice type = rt_conn_header(h->conn, "content-type");
    const uint8_t *end = type.n == 0 ? NULL : memchr(type.p, ';', type.n);

    if (end != NULL) {
        type.n = (size_t)(end - type.p);
    }
    while (type.n > 0 && type.p[type.n - 1] == ' ') {
        type.n--;
    }
    b->form = PR_BCAST_JSON;
    if (pr_slice_is_nocase(type, "application/octet-stream")) {
        b->form = PR_BCAST_BINARY;
        return true;
    }
    return type.n == 0 || pr_slice_is_nocase(type, "application/json");
}

static bool query_has(const struct rt_http *h, const char *name)
{
    struct pr_slice value;

    return pr_query_find(h->request->query, name, &value) && !pr_slice_is(value, "false");
}

static bool private_asked(const struct rt_http *h)
{
    struct pr_slice value;

    return pr_query_find(h->request->query, "private", &value) && pr_slice_is(value, "true");
}

/* False: its time to live is none. */
static bool persist_asked(const struct rt_http *h, struct rt_persist *persist)
{
    struct pr_slice ttl;

    persist->wanted = query_has(h, "persist");
    if (!pr_query_find(h->request->query, "persist[ttl]", &ttl)) {
        return true;
    }
    persist->wanted = true;
    return rt_store_ttl(ttl, &persist->ttl_s);
}

/* Everything that can be wrong with a single broadcast; NULL: nothing. */
static const char *single_fault(const struct rt_http *h, const struct pr_bcast *b,
                                struct pr_slice topic, struct rt_persist *persist, int *status)
{
    *status = 422;
    if (!persist_asked(h, persist)) {
        return "{\"errors\":{\"persist\":[\"ttl must be a whole number of seconds, at least 1\"]}}";
    }
    if (persist->wanted && !private_asked(h)) {
        return "{\"errors\":{\"persist\":[\"can only be used on private channels\"]}}";
    }
    if (b->payload.n > rt_broadcast_bytes_max(h->project)) {
        rt_project_count(h->project, RT_M_LIMITED_PAYLOAD, 1);
        return "{\"errors\":{\"payload\":[\"Payload size exceeds tenant limit\"]}}";
    }
    if (topic.n == 0 || b->event.n == 0 || !pr_utf8_ok(topic) || !pr_utf8_ok(b->event) ||
        memchr(topic.p, 0, topic.n) != NULL || memchr(b->event.p, 0, b->event.n) != NULL ||
        topic.n > PR_PHX_TOPIC_MAX || b->event.n > PR_PHX_EVENT_MAX) {
        return "{\"errors\":{\"topic\":[\"is invalid\"]}}";
    }
    if (b->form == PR_BCAST_BINARY && topic.n + RT_TOPIC_PREFIX_LEN > 255) {
        return "{\"errors\":{\"topic\":[\"a binary message needs one of at most 246 bytes\"]}}";
    }
    *status = 400;
    if (b->form == PR_BCAST_JSON && pr_json_check(b->payload) != PR_OK) {
        return "{\"message\":\"the body is not JSON\"}";
    }
    return NULL;
}

static void send_single(const struct rt_http *h, struct rt_token *token, struct pr_slice topic,
                        const struct pr_bcast *b, const struct rt_persist *persist)
{
    if (private_asked(h)) {
        rt_http_private_single(h, rt_token_ref(token), topic, b, persist);
    } else if (rt_broadcast_send(h->project, topic, false, b) == CL_OK) {
        rt_http_broadcast_answer(h, 202, pr_str(""), 0);
    } else {
        rt_http_broadcast_answer(
            h, 503, pr_str("{\"message\":\"Realtime is restarting, please standby\"}"), 0);
    }
}

static void single(const struct rt_http *h, struct rt_token *token, struct pr_slice topic,
                   struct pr_slice event)
{
    struct pr_bcast b = {.payload = h->request->body};
    struct rt_persist persist = {.wanted = false};
    uint8_t *memory = rt_malloc(topic.n + event.n);
    struct pr_outbuf topic_text = pr_outbuf(memory, topic.n);
    struct pr_outbuf event_text = pr_outbuf(memory + topic.n, event.n);
    const char *fault = NULL;
    int status = 400;

    if (!form_of(h, &b)) {
        status = 415;
        fault = "{\"error\":\"Unsupported Media Type. Use application/json or "
                "application/octet-stream\"}";
    } else if (pr_url_decode(&topic_text, topic, PR_URL_PATH) != PR_OK ||
               pr_url_decode(&event_text, event, PR_URL_PATH) != PR_OK) {
        fault = "{\"message\":\"the path is not percent-encoded as it must be\"}";
    } else {
        topic = pr_bytes(topic_text.p, topic_text.len);
        b.event = pr_bytes(event_text.p, event_text.len);
        fault = single_fault(h, &b, topic, &persist, &status);
    }
    if (fault != NULL) {
        rt_http_broadcast_answer(h, status, pr_str(fault), 0);
    } else if (!over_rate(h, 1)) {
        send_single(h, token, topic, &b, &persist);
    }
    rt_free(memory);
}

void rt_http_broadcast(const struct rt_http *h, struct pr_slice topic, struct pr_slice event)
{
    struct rt_token *token = NULL;

    if (h->project == NULL) {
        rt_http_log_host(h);
        rt_http_broadcast_answer(h, 401, pr_str("{\"message\":\"Tenant not found in database\"}"),
                                 0);
        return;
    }
    if (h->project->cfg->suspend) {
        rt_http_broadcast_answer(h, 403, pr_str("{\"message\":\"Tenant is suspended\"}"), 0);
        return;
    }
    if (rt_http_token(h, &token) != PR_JWT_OK) {
        rt_http_broadcast_answer(h, 401, pr_str("{\"message\":\"Unauthorized\"}"), 0);
        return;
    }
    if (h->request->body_due) {
        rt_upload_begin(h);
    } else if (topic.n == 0) {
        batch(h, token);
    } else {
        single(h, token, topic, event);
    }
    rt_token_unref(token);
}
