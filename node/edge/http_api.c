/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/http_api.h"

#include <openssl/crypto.h>

#include <stdio.h>
#include <string.h>

#include "node/edge/projects.h"
#include "node/edge/refresh.h"
#include "node/edge/say.h"
#include "proto/json_write.h"
#include "proto/utf8.h"
#include "proto/url.h"

#define HEADERS_MAX 12u
/* Requested headers of a preflight that are echoed, in bytes. */
#define ECHO_MAX 1024u

static const char *const cors_expose =
    "x-rate-rolling, x-rate-limit, x-rate-limit-remaining, x-request-id";
static const char *const cors_allow = "authorization, apikey, content-type, x-client-info";

static void respond(const struct rt_http *h, int status, const char *type, struct pr_slice body,
                    const struct rt_header *more)
{
    struct rt_header headers[HEADERS_MAX] = {{NULL, NULL}};
    uint32_t n = 0;

    if (body.n > 0) {
        headers[n++] = (struct rt_header){"content-type", type};
    }
    if (h->origin) {
        headers[n++] = (struct rt_header){"access-control-allow-origin", "*"};
        headers[n++] = (struct rt_header){"access-control-expose-headers", cors_expose};
    }
    for (uint32_t i = 0; more != NULL && more[i].name != NULL && n < HEADERS_MAX - 1; i++) {
        headers[n++] = more[i];
    }
    rt_conn_respond(h->conn, status, headers, h->head ? pr_str("") : body);
}

void rt_http_answer(const struct rt_http *h, int status, struct pr_slice json,
                    const struct rt_header *more)
{
    respond(h, status, RT_JSON_TYPE, json, more);
}

static void put_message(struct pr_outbuf *o, const void *text)
{
    pr_put_str(o, "{\"message\":");
    pr_put_json_cstr(o, text);
    pr_put_str(o, "}");
}

void rt_http_message(const struct rt_http *h, int status, const char *text)
{
    rt_http_answer(h, status, rt_scratch_text(h->edge, put_message, text), NULL);
}

/* "Bearer x" in any case gives x, anything else nothing. */
static struct pr_slice bearer(struct pr_slice value)
{
    static const char scheme[] = "bearer ";
    size_t n = sizeof scheme - 1;

    if (value.n <= n || !pr_slice_is_nocase(pr_bytes(value.p, n), scheme)) {
        return pr_str("");
    }
    return pr_bytes(value.p + n, value.n - n);
}

enum pr_jwt_result rt_http_token(const struct rt_http *h, struct rt_token **out)
{
    struct pr_slice value = rt_conn_header(h->conn, "authorization");
    struct pr_jwt detail;

    *out = NULL;
    value = value.n > 0 ? bearer(value) : rt_conn_header(h->conn, "apikey");
    if (value.n == 0) {
        return PR_JWT_MALFORMED;
    }
    return rt_auth_verify(h->project->auth, value, rt_refresh_now_s(), out, &detail);
}

/* A header's name: of letters, digits and marks that JSON need not escape (RFC 9110, 5.1). */
static void put_lower(struct pr_outbuf *o, struct pr_slice name)
{
    for (size_t i = 0; i < name.n; i++) {
        bool upper = name.p[i] >= 'A' && name.p[i] <= 'Z';

        pr_put_u8(o, (uint8_t)(upper ? name.p[i] + ('a' - 'A') : name.p[i]));
    }
}

static void put_headers(struct pr_outbuf *o, const void *http)
{
    const struct rt_http *h = http;
    struct pr_slice name, value;
    bool first = true;

    for (uint32_t i = 0; rt_conn_header_at(h->conn, i, &name, &value); i++) {
        if (name.n < 3 || !pr_slice_is_nocase(pr_bytes(name.p, 2), "x-") ||
            pr_slice_is_nocase(name, "x-api-key") || !pr_utf8_ok(value)) {
            continue;
        }
        pr_put_str(o, first ? "{\"" : ",\"");
        put_lower(o, name);
        pr_put_str(o, "\":");
        pr_put_json_str(o, value);
        first = false;
    }
    pr_put_str(o, first ? "" : "}");
}

char *rt_http_headers(const struct rt_http *h)
{
    struct pr_slice text = rt_scratch_text(h->edge, put_headers, h);

    return text.n > 0 ? rt_strndup(text.p, text.n) : NULL;
}

static void preflight(const struct rt_http *h)
{
    struct pr_slice asked = rt_conn_header(h->conn, "access-control-request-headers");
    char allow[ECHO_MAX + 128];
    struct rt_header headers[] = {
        {"access-control-allow-methods", "GET, POST, OPTIONS"},
        {"access-control-allow-headers", allow},
        {"access-control-max-age", "86400"},
        {NULL, NULL},
    };

    asked.n = asked.n < ECHO_MAX ? asked.n : 0;
    (void)snprintf(allow, sizeof allow, "%s%s%.*s", cors_allow, asked.n > 0 ? ", " : "",
                   (int)asked.n, asked.n > 0 ? (const char *)asked.p : "");
    respond(h, 204, RT_TEXT_TYPE, pr_str(""), headers);
}

static const char *database_state(const struct rt_project *project)
{
    if (project->cfg->database_url == NULL) {
        return "none";
    }
    return rt_project_metric(project, RT_M_DB_UP) != 0 ? "up" : "down";
}

/* The worst of all that have one. */
static const char *databases_state(const struct rt_edge *e)
{
    const char *all = "none";

    for (uint32_t i = 0; i < e->nprojects; i++) {
        const char *one = database_state(e->projects[i]);

        if (strcmp(one, "none") != 0 && strcmp(all, "down") != 0) {
            all = one;
        }
    }
    return all;
}

/* "joining", "alone", "3 members". */
static void put_cluster(struct pr_outbuf *o, const struct rt_edge *e)
{
    char text[32] = "alone";

    if (e->cfg->clustered && !e->link.cluster.joined) {
        (void)snprintf(text, sizeof text, "joining");
    } else if (e->link.cluster.members > 1) {
        (void)snprintf(text, sizeof text, "%u members", e->link.cluster.members);
    }
    pr_put_json_cstr(o, text);
}

/* Clients should come here: what is published and tracked reaches everybody it should. */
static bool is_ready(const struct rt_edge *e)
{
    const struct pr_cluster *c = &e->link.cluster;
    bool in = !e->cfg->clustered || (c->joined && c->members >= e->cfg->cluster_expect);

    return e->link.up && !e->draining && in;
}

static void put_ready(struct pr_outbuf *o, const void *edge)
{
    const struct rt_edge *e = edge;

    pr_put_str(o, "{\"node\":");
    pr_put_json_cstr(o, e->cfg->node);
    pr_put_str(o, ",\"owner\":");
    pr_put_str(o, e->link.up ? "\"up\"" : "\"down\"");
    pr_put_str(o, ",\"draining\":");
    pr_put_str(o, e->draining ? "true" : "false");
    pr_put_str(o, ",\"database\":");
    pr_put_json_cstr(o, databases_state(e));
    pr_put_str(o, ",\"cluster\":");
    put_cluster(o, e);
    if (e->nprojects > 1) {
        pr_put_str(o, ",\"projects\":{");
        for (uint32_t i = 0; i < e->nprojects; i++) {
            pr_put_str(o, i == 0 ? "" : ",");
            pr_put_json_cstr(o, e->projects[i]->cfg->project);
            pr_put_str(o, ":");
            pr_put_json_cstr(o, database_state(e->projects[i]));
        }
        pr_put_str(o, "}");
    }
    pr_put_str(o, "}");
}

static void ready(const struct rt_http *h)
{
    int status = is_ready(h->edge) ? 200 : 503;

    rt_http_answer(h, status, rt_scratch_text(h->edge, put_ready, h->edge), NULL);
}

static void put_health(struct pr_outbuf *o, const void *arg)
{
    const struct rt_project *project = arg;
    const struct rt_edge *e = project->edge;
    bool db = strcmp(database_state(project), "up") == 0;
    bool streaming = rt_project_metric(project, RT_M_DB_STREAMING) != 0;

    pr_put_str(o, e->link.up ? "{\"data\":{\"healthy\":true" : "{\"data\":{\"healthy\":false");
    pr_put_str(o, db ? ",\"db_connected\":true" : ",\"db_connected\":false");
    pr_put_str(o,
               streaming ? ",\"replication_connected\":true" : ",\"replication_connected\":false");
    pr_put_str(o, ",\"connected_cluster\":");
    pr_put_dec(o, e->link.cluster.members > 1 ? e->link.cluster.members : 1);
    pr_put_str(o, ",\"region\":null,\"node\":");
    pr_put_json_cstr(o, e->cfg->node);
    pr_put_str(o, "}}");
}

/* The project is named by the path: a health check comes by address. */
static void tenant_health(struct rt_http *h)
{
    struct rt_token *token = NULL;

    h->project = rt_project_host(h->edge, h->segment[2]);
    if (h->project == NULL) {
        rt_http_message(h, 404, "not found");
        return;
    }
    if (rt_http_token(h, &token) != PR_JWT_OK) {
        respond(h, 403, RT_TEXT_TYPE, pr_str(""), NULL);
        return;
    }
    rt_token_unref(token);
    rt_http_answer(h, 200, rt_scratch_text(h->edge, put_health, h->project), NULL);
}

struct figures {
    const struct rt_edge *edge;
    struct pr_slice text;
};

static void put_limits(struct pr_outbuf *o, const struct rt_project *project, bool named)
{
    const char *name = NULL;
    uint32_t value = 0;

    for (uint32_t i = 0; rt_config_limit(project->cfg, i, &name, &value); i++) {
        pr_put_str(o, "realtime_limit{node=");
        pr_put_json_cstr(o, project->cfg->node);
        pr_put_str(o, ",setting=\"");
        pr_put_str(o, name);
        if (named) {
            pr_put_str(o, "\",project=\"");
            pr_put_str(o, project->cfg->project);
        }
        pr_put_str(o, "\"} ");
        pr_put_dec(o, value);
        pr_put_str(o, "\n");
    }
}

static void put_figures(struct pr_outbuf *o, const void *arg)
{
    const struct figures *f = arg;

    pr_put_slice(o, f->text);
    pr_put_str(o, "# HELP realtime_limit Limits as set; 0 of a number or rate: none\n"
                  "# TYPE realtime_limit gauge\n");
    for (uint32_t i = 0; i < f->edge->nprojects; i++) {
        put_limits(o, f->edge->projects[i], f->edge->nprojects > 1);
    }
}

static void metrics(const struct rt_http *h)
{
    const char *want = h->edge->cfg->admin_token;
    struct pr_slice got = bearer(rt_conn_header(h->conn, "authorization"));
    struct figures f = {.edge = h->edge};
    char *text = NULL;

    if (want != NULL && (got.n != strlen(want) || CRYPTO_memcmp(got.p, want, got.n) != 0)) {
        respond(h, 403, RT_TEXT_TYPE, pr_str(""), NULL);
        return;
    }
    text = rt_metrics_text(h->edge->metrics, h->edge->cfg->node, &f.text.n);
    f.text.p = (const uint8_t *)text;
    respond(h, 200, "text/plain; version=0.0.4; charset=utf-8",
            rt_scratch_text(h->edge, put_figures, &f), NULL);
    rt_free(text);
}

enum route { NOT_FOUND = 1, METHOD, CONNECT, BATCH, SINGLE, CHECK, PING, READY, HEALTH, METRICS };
enum method { READ = 1, POST, ANY };
/* Which listener serves a route, and behind which prefix. */
enum place { EVERY = 1, CLIENT, CLIENT_BARE, CLIENT_PREFIXED, ADMIN };

/* A segment "*" stands for any one. CONNECT judges the method itself: a 400 tells more. */
static const struct {
    enum route route;
    enum method method;
    enum place place;
    const char *segment[RT_SEGMENTS_MAX];
} routes[] = {
    {CONNECT, ANY, CLIENT_BARE, {"socket", "websocket"}},
    {CONNECT, ANY, CLIENT_PREFIXED, {"websocket"}},
    {BATCH, POST, CLIENT, {"api", "broadcast"}},
    {SINGLE, POST, CLIENT, {"api", "broadcast", "*", "events", "*"}},
    {CHECK, READ, EVERY, {"healthcheck"}},
    {CHECK, READ, EVERY, {"healthz"}},
    {READY, READ, EVERY, {"readyz"}},
    {PING, READ, CLIENT, {"api", "ping"}},
    {HEALTH, READ, CLIENT, {"api", "tenants", "*", "health"}},
    {METRICS, READ, ADMIN, {"metrics"}},
};

static bool path_is(const struct rt_http *h, const char *const names[RT_SEGMENTS_MAX])
{
    uint32_t i = 0;

    for (; i < RT_SEGMENTS_MAX && names[i] != NULL; i++) {
        if (i >= h->nsegments ||
            (strcmp(names[i], "*") != 0 && !pr_slice_is(h->segment[i], names[i]))) {
            return false;
        }
    }
    return i == h->nsegments;
}

static bool served_at(enum place place, bool prefixed, bool admin)
{
    switch (place) {
    case EVERY:
        return true;
    case CLIENT:
        return !admin;
    case CLIENT_BARE:
        return !admin && !prefixed;
    case CLIENT_PREFIXED:
        return !admin && prefixed;
    case ADMIN:
        return admin;
    }
    return false;
}

static bool method_is(const struct rt_http *h, enum method method)
{
    switch (method) {
    case READ:
        return h->get || h->head;
    case POST:
        return h->post;
    case ANY:
        return true;
    }
    return false;
}

static enum route route_of(const struct rt_http *h, bool prefixed, bool admin)
{
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (served_at(routes[i].place, prefixed, admin) && path_is(h, routes[i].segment)) {
            return method_is(h, routes[i].method) ? routes[i].route : METHOD;
        }
    }
    return NOT_FOUND;
}

/* Splits the path; false: more segments than any route has. */
static bool split(struct rt_http *h, bool *prefixed)
{
    static const char *const prefix[RT_SEGMENTS_MAX] = {"realtime", "v1"};
    struct pr_slice path = h->request->path;
    struct pr_slice segment;

    while (pr_path_next(&path, &segment)) {
        if (h->nsegments == RT_SEGMENTS_MAX) {
            return false;
        }
        h->segment[h->nsegments++] = segment;
        if (!*prefixed && path_is(h, prefix)) {
            *prefixed = true;
            h->nsegments = 0;
        }
    }
    return true;
}

static void answer(struct rt_http *h, enum route route)
{
    switch (route) {
    case NOT_FOUND:
        rt_http_message(h, 404, "not found");
        break;
    case METHOD:
        rt_http_message(h, 405, "method not allowed");
        break;
    case CONNECT:
        rt_http_connect(h);
        break;
    case BATCH:
        rt_http_broadcast(h, pr_str(""), pr_str(""));
        break;
    case SINGLE:
        rt_http_broadcast(h, h->segment[2], h->segment[4]);
        break;
    case CHECK:
        respond(h, 200, RT_TEXT_TYPE, pr_str("ok"), NULL);
        break;
    case PING:
        rt_http_message(h, 200, "Success");
        break;
    case READY:
        ready(h);
        break;
    case HEALTH:
        tenant_health(h);
        break;
    case METRICS:
        metrics(h);
        break;
    }
}

void rt_http_request(struct rt_edge *e, struct rt_conn *c, const struct rt_request *r)
{
    struct rt_http h = {.edge = e, .conn = c, .request = r};
    enum route route = NOT_FOUND;
    bool prefixed = false;
    bool again = rt_upload_end(c);

    h.get = pr_slice_is(r->method, "GET");
    h.post = pr_slice_is(r->method, "POST");
    h.head = pr_slice_is(r->method, "HEAD");
    h.origin = rt_conn_header(c, "origin").n > 0;
    h.project = rt_project_host(e, rt_conn_header(c, "host"));
    if (split(&h, &prefixed)) {
        route = route_of(&h, prefixed, rt_conn_tag(c) == RT_TAG_ADMIN);
    }
    if (route != CONNECT && !again) {
        rt_count_for(e, h.project, RT_M_REQUESTS, 1);
    }
    if (pr_slice_is(r->method, "OPTIONS") && route != NOT_FOUND) {
        preflight(&h);
        return;
    }
    answer(&h, route);
}
