/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The WebSocket handshake: who may come in, and the exact answer to everybody else.
 *
 * 401, 403 and 404 only where trying again cannot heal: some SDKs stop for good on them.
 */
#include <string.h>

#include <xxhash.h>

#include "node/edge/broadcast.h"
#include "node/edge/http_api.h"
#include "node/edge/projects.h"
#include "node/edge/refresh.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "proto/json_write.h"
#include "proto/url.h"

#define BODY_MAX 1024u

struct rt_delay {
    enum rt_user_kind kind; /* RT_USER_DELAY */
    struct rt_edge *edge;
    struct rt_conn *conn;
    struct rt_wheel_entry timer;
    int status;
    bool retry_after;
    size_t n;
    char body[BODY_MAX];
};

static void send_refusal(struct rt_conn *c, int status, bool retry_after, struct pr_slice body)
{
    struct rt_header headers[3] = {{NULL, NULL}};
    uint32_t n = 0;

    if (body.n > 0) {
        headers[n++] = (struct rt_header){"content-type", RT_JSON_TYPE};
    }
    if (retry_after) {
        headers[n++] = (struct rt_header){"retry-after", "1"};
    }
    rt_conn_respond(c, status, headers, body);
}

static void delay_due(struct rt_wheel_entry *timer)
{
    struct rt_delay *d =
        (struct rt_delay *)(void *)((char *)timer - offsetof(struct rt_delay, timer));
    struct rt_conn *c = d->conn;

    rt_conn_set_user(c, NULL);
    send_refusal(c, d->status, d->retry_after, pr_bytes(d->body, d->n));
    rt_free(d);
}

void rt_delay_free(struct rt_delay *d)
{
    rt_wheel_clear(&d->edge->wheel, &d->timer);
    rt_free(d);
}

/* Has this source been refused so often lately that it shall wait? */
static bool spins(const struct rt_http *h)
{
    struct rt_edge *e = h->edge;
    const struct rt_config *cfg = h->project == NULL ? e->cfg : h->project->cfg;
    const char *peer = h->request->peer;
    uint64_t hash = XXH3_64bits_withSeed(peer, strlen(peer), e->topics.seed);
    struct rt_source *s = &e->sources[hash % RT_SOURCES];

    if (s->hash != hash || e->now_ms - s->since_ms > RT_CONNECT_MS) {
        *s = (struct rt_source){.hash = hash, .since_ms = e->now_ms};
    }
    s->refused++;
    return s->refused > cfg->free_refusals;
}

static void refuse(const struct rt_http *h, int status, const char *code, struct pr_slice body)
{
    struct rt_edge *e = h->edge;
    bool retry_after = status == 503;
    struct rt_delay *d = NULL;

    rt_count_for(e, h->project, RT_M_CONNECT_REFUSED, 1);
    rt_log(e->log, RT_INFO, "connect_refused", rt_kv_s("code", code),
           rt_kv_s("peer", h->request->peer), rt_kv_i("status", status), rt_kv_b("err", body),
           rt_kv_s("project", h->project == NULL ? "" : h->project->cfg->project));
    if (!spins(h)) {
        send_refusal(h->conn, status, retry_after, body);
        return;
    }
    d = rt_calloc(1, sizeof *d);
    d->kind = RT_USER_DELAY;
    d->edge = e;
    d->conn = h->conn;
    d->status = status;
    d->retry_after = retry_after;
    d->n = body.n < BODY_MAX ? body.n : BODY_MAX;
    memcpy(d->body, body.p, d->n);
    rt_conn_set_user(h->conn, d);
    rt_wheel_set(&e->wheel, &d->timer, delay_due, e->now_ms, RT_CONNECT_DELAY_MS);
}

static void refuse_text(const struct rt_http *h, int status, const char *code, const char *text)
{
    uint8_t memory[256];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);

    pr_put_str(&o, "{\"error\":");
    pr_put_json_cstr(&o, text);
    pr_put_str(&o, "}");
    refuse(h, status, code, pr_bytes(memory, o.len));
}

/* The key as sent: header x-api-key wins over the query. `scratch` holds a decoded one. */
static struct pr_slice key_of(const struct rt_http *h, struct pr_outbuf *scratch)
{
    struct pr_slice key = rt_conn_header(h->conn, "x-api-key");

    if (key.n > 0 || !pr_query_find(h->request->query, "apikey", &key)) {
        return key;
    }
    if (pr_url_decode(scratch, key, PR_URL_QUERY) != PR_OK || !pr_out_ok(scratch)) {
        return key;
    }
    return pr_bytes(scratch->p, scratch->len);
}

/* The version of the serializer; false: one we do not speak. */
static bool vsn_of(const struct rt_http *h, enum pr_vsn *vsn)
{
    struct pr_slice text;

    *vsn = PR_VSN_1;
    return !pr_query_find(h->request->query, "vsn", &text) || pr_vsn_parse(text, vsn) == PR_OK;
}

/* Limits of the project, before a token is looked at. */
static bool limited(const struct rt_http *h)
{
    struct rt_edge *e = h->edge;

    if (e->draining) {
        refuse_text(h, 503, "RealtimeRestarting", "Realtime is restarting, please standby");
        return true;
    }
    if (rt_limit_clients_full(h->project)) {
        rt_project_count(h->project, RT_M_LIMITED_CLIENTS, 1);
        refuse_text(h, 429, "ConnectionRateLimitReached", "Too many connected users");
        return true;
    }
    if (rt_limit_left(h->project, RT_LIMIT_JOINS) == 0) {
        rt_project_count(h->project, RT_M_LIMITED_JOINS, 1);
        refuse_text(h, 429, "JoinsRateLimitReached", "Too many joins per second");
        return true;
    }
    return false;
}

static void let_in(const struct rt_http *h, enum pr_vsn vsn, struct pr_slice key)
{
    struct rt_token *token = NULL;
    struct pr_jwt detail;
    enum pr_jwt_result r =
        rt_auth_verify(h->project->auth, key, rt_refresh_now_s(), &token, &detail);
    uint8_t memory[BODY_MAX];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct rt_socket *s = NULL;

    if (r != PR_JWT_OK) {
        int status = pr_jwt_connect_error(&o, r, &detail);

        refuse(h, status, pr_jwt_code(r), pr_bytes(memory, pr_out_ok(&o) ? o.len : 0));
        return;
    }
    if (limited(h)) {
        rt_token_unref(token);
        return;
    }
    s = rt_socket_new(h->project, h->conn, vsn, token);
    s->headers = rt_http_headers(h);
    rt_conn_set_user(h->conn, s);
    rt_conn_upgrade(h->conn);
}

void rt_http_log_host(const struct rt_http *h)
{
    char names[256];

    rt_projects_names(h->edge, names, sizeof names);
    rt_log(h->edge->log, RT_WARN, "host_of_no_project", rt_kv_s("code", "TenantNotFound"),
           rt_kv_b("host", rt_conn_header(h->conn, "host")), rt_kv_s("projects", names),
           rt_kv_s("hint", "the first label of the host must be a project or one of its aliases"));
}

void rt_http_connect(const struct rt_http *h)
{
    struct pr_outbuf scratch;
    struct pr_slice key;
    enum pr_vsn vsn = PR_VSN_1;

    if (!h->request->websocket) {
        rt_http_message(h, 400, "a WebSocket upgrade request is needed here");
        return;
    }
    if (!vsn_of(h, &vsn)) {
        refuse(h, 403, "UnsupportedVersion", pr_str(""));
        return;
    }
    if (h->project == NULL) {
        rt_http_log_host(h);
        refuse_text(h, 404, "TenantNotFound", "Tenant not found");
        return;
    }
    if (h->project->cfg->suspend) {
        refuse_text(h, 403, "RealtimeDisabledForTenant", "Realtime was disabled for this tenant");
        return;
    }
    scratch = pr_outbuf(rt_malloc(h->request->query.n), h->request->query.n);
    key = key_of(h, &scratch);
    if (key.n == 0) {
        refuse_text(h, 401, "MissingAPIKey", "API key is missing");
    } else {
        let_in(h, vsn, key);
    }
    rt_free(scratch.p);
}
