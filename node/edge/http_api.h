/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_api.h - requests of clients over HTTP: routes, CORS, health, metrics; the upgrade to
 * WebSocket (http_connect.c) and the broadcast API (http_broadcast.c).
 *
 *   GET  /socket/websocket, /realtime/v1/websocket
 *   POST [/realtime/v1]/api/broadcast, [/realtime/v1]/api/broadcast/TOPIC/events/EVENT
 *   GET  /healthcheck /healthz /readyz /api/ping /api/tenants/NAME/health
 *   GET  /metrics /healthz /readyz on the admin listener
 */
#ifndef NODE_EDGE_HTTP_API_H
#define NODE_EDGE_HTTP_API_H

#include "node/edge/edge_in.h"
#include "proto/bcast.h"

/* Tags of the listeners. */
#define RT_TAG_CLIENT 0
#define RT_TAG_ADMIN  1

/* Refused handshakes of one source address in this time are answered at once up to the project's
 * free_refusals, then after the delay, so that a client with a bad key does not spin. */
#define RT_CONNECT_MS       10000u
#define RT_CONNECT_DELAY_MS 2000u

#define RT_JSON_TYPE    "application/json; charset=utf-8"
#define RT_TEXT_TYPE    "text/plain; charset=utf-8"
#define RT_SEGMENTS_MAX 6u

/* A request while it is answered. */
struct rt_http {
    struct rt_edge *edge;
    struct rt_project *project; /* of the host; NULL: there is none */
    struct rt_conn *conn;
    const struct rt_request *request;
    bool get, post, head, origin; /* origin: has such a header, so CORS applies */
    uint32_t nsegments;           /* of the path, without realtime/v1 */
    struct pr_slice segment[RT_SEGMENTS_MAX];
};

/* What stands behind a connection that waits for the answer to a refused handshake. */
struct rt_delay;

/* rt_transport_events.on_request. */
void rt_http_request(struct rt_edge *e, struct rt_conn *c, const struct rt_request *r);
/* A delayed answer's connection is gone. */
void rt_delay_free(struct rt_delay *d);

/* Answers with JSON text (or "") and CORS headers as needed. `more` may be NULL; ends with NULLs;
 * at most 4 of them. */
void rt_http_answer(const struct rt_http *h, int status, struct pr_slice json,
                    const struct rt_header *more);
/* {"message":TEXT} */
void rt_http_message(const struct rt_http *h, int status, const char *text);
/* Token of `Authorization: Bearer` or `apikey`; PR_JWT_OK gives a reference. */
enum pr_jwt_result rt_http_token(const struct rt_http *h, struct rt_token **out);

/* The client's headers that begin with x-, without the key, as policies see them: a JSON object, to
 * be freed with rt_free; NULL if there is none. */
char *rt_http_headers(const struct rt_http *h);

void rt_http_connect(const struct rt_http *h);
/* The host is no project, the commonest trouble of who sets up several: the log says what was
 * looked for. */
void rt_http_log_host(const struct rt_http *h);
/* The answer to a broadcast, with its counters; `dropped`: messages that were not sent. */
void rt_http_broadcast_answer(const struct rt_http *h, int status, struct pr_slice json,
                              uint32_t dropped);
/* One element of a batch, which is known to be good. 0, or an error of rt_broadcast_send. */
int rt_http_send_element(struct rt_project *project, struct pr_slice element, bool is_private);

/*
 * Private broadcasts, http_private.c: answered when the policies have been asked. `messages` is the
 * array of a good batch, of which the private ones are sent. All is copied; takes the token. A
 * single one is stored if `persist` (broadcast.c sends what cannot be stored, and so does this).
 */
struct rt_private;
struct rt_persist {
    bool wanted;
    uint32_t ttl_s; /* 0: none */
};
void rt_http_private_batch(const struct rt_http *h, struct rt_token *token,
                           struct pr_slice messages);
void rt_http_private_single(const struct rt_http *h, struct rt_token *token, struct pr_slice topic,
                            const struct pr_bcast *b, const struct rt_persist *persist);
/* The connection is gone. */
void rt_http_private_free(struct rt_private *p);

/*
 * Bodies on their way in, http_upload.c. Only who may broadcast sends one: the request is judged
 * when its head is there, and once more, as of then, when the body is.
 *
 * Bound: RT_UPLOAD_BYTES_MAX bytes of all that are not whole, eight of the largest; memory may be
 * twice that, as buffers grow by doubling. Of several projects none may have more than it leaves
 * free. A body that does not fit is refused with 429.
 */
#define RT_UPLOAD_BYTES_MAX ((size_t)64 * 1024 * 1024)
struct rt_upload;
/* The request is good so far: its body shall come. */
void rt_upload_begin(const struct rt_http *h);
/* rt_transport_events.on_body. */
bool rt_upload_grown(struct rt_conn *c, size_t len);
/* The body is whole. False: the connection has no upload. */
bool rt_upload_end(struct rt_conn *c);
/* The connection is gone. */
void rt_upload_free(struct rt_upload *u);

/* TOPIC and EVENT are empty for a batch. */
void rt_http_broadcast(const struct rt_http *h, struct pr_slice topic, struct pr_slice event);

#endif
