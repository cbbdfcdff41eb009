/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_world.h - one edge without sockets: clients and the owner's connection are memory, the owner
 * is the real core. Stands in for transport.h and ipc.h; for the tests of node/edge.
 *
 * What a client was sent is a text, one message per line; binary messages are written as "<kind 4>"
 * and their bytes after the header.
 */
#ifndef TESTS_EDGE_WORLD_H
#define TESTS_EDGE_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cluster/core.h"
#include "cluster/hash.h"
#include "node/base/control.h"
#include "node/edge/access.h"
#include "node/edge/broadcast.h"
#include "node/edge/casts.h"
#include "node/edge/ctl.h"
#include "node/edge/http_api.h"
#include "node/edge/link.h"
#include "node/edge/projects.h"
#include "node/edge/ready.h"
#include "node/edge/registrations.h"
#include "node/edge/socket.h"
#include "node/edge/topics.h"
#include "proto/jwt.h"
#include "proto/mesh_cast.h"

#define SECRET     "a-secret-of-32-characters-or-more"
#define HEARD_MAX  65536u
#define HEADER_MAX 8u
#define BOOT       77u

struct rt_conn {
    void *user;
    bool upgraded, blocked, body_wanted;
    int status; /* of the answer to a request */
    char body[1024];
    size_t body_len; /* of the whole */
    char headers[1024];
    char heard[HEARD_MAX];
    size_t len;
    uint16_t close_code;
    char close_reason[64];
    const char *name[HEADER_MAX], *value[HEADER_MAX]; /* of the request */
    uint32_t nheaders;
    int tag;
};

struct rt_ipc {
    const struct rt_ipc_events *events;
    void *ctx;
    uint8_t *buf; /* to the owner */
    size_t len, cap;
    size_t behind; /* bytes that the owner has not read, as if */
    bool closed;
};

struct world {
    struct rt_edge *e;
    struct rt_config cfg;
    struct rt_role_args args;
    struct rt_metrics metrics;
    struct rt_pool pool; /* of the owner */
    struct cl_limits lim;
    struct cl *owner;
    cl_ms owner_ms;
    struct rt_ipc ipc;
    bool ipc_free;
    char db[HEARD_MAX]; /* types of frames that are for db: "reg 1 public test\n" */
    size_t db_len;
    uint64_t replay_id;         /* of the last question for a replay */
    uint64_t ask_id;            /* of the last question of rights, or to store a message */
    char uuid[PR_UUID_LEN + 1]; /* of that message */
    char ask_project[RT_PROJECT_NAME_MAX + 1];
    char ctl[HEARD_MAX]; /* rows */
    size_t ctl_len;
    char *env[8];
};

static struct world w;

/* transport.h */
void rt_conn_set_user(struct rt_conn *c, void *user)
{
    c->user = user;
}
void *rt_conn_user(const struct rt_conn *c)
{
    return c->user;
}
int rt_conn_tag(const struct rt_conn *c)
{
    return c->tag;
}
struct pr_slice rt_conn_header(struct rt_conn *c, const char *name)
{
    for (uint32_t i = 0; i < c->nheaders; i++) {
        if (strcmp(c->name[i], name) == 0) {
            return pr_str(c->value[i]);
        }
    }
    return pr_str("");
}
bool rt_conn_header_at(struct rt_conn *c, uint32_t i, struct pr_slice *name, struct pr_slice *value)
{
    if (i >= c->nheaders) {
        return false;
    }
    *name = pr_str(c->name[i]);
    *value = pr_str(c->value[i]);
    return true;
}
void rt_conn_want_body(struct rt_conn *c)
{
    c->body_wanted = true;
}
void rt_conn_upgrade(struct rt_conn *c)
{
    c->upgraded = true;
}
void rt_conn_respond(struct rt_conn *c, int status, const struct rt_header *headers,
                     struct pr_slice body)
{
    size_t n = body.n < sizeof c->body - 1 ? body.n : sizeof c->body - 1;

    c->status = status;
    c->body_len = body.n;
    memcpy(c->body, body.p, n);
    c->body[n] = '\0';
    c->headers[0] = '\0';
    for (uint32_t i = 0; headers[i].name != NULL; i++) {
        size_t at = strlen(c->headers);

        (void)snprintf(c->headers + at, sizeof c->headers - at, "%s: %s\n", headers[i].name,
                       headers[i].value);
    }
}
/* One frame as a line of text. */
static void hear(struct rt_conn *c, const struct rt_frame *f)
{
    size_t head = f->bytes[1] < 126 ? 2 : f->bytes[1] == 126 ? 4 : 10;
    size_t n = f->len - head;

    assert_true(c->len + n + 16 < HEARD_MAX);
    if ((f->bytes[0] & 15) == PR_WS_BINARY) {
        assert_int_equal(f->bytes[head], 4);
        head += 5;
        n -= 5;
        memcpy(c->heard + c->len, "<kind 4>", 8);
        c->len += 8;
    }
    memcpy(c->heard + c->len, f->bytes + head, n);
    c->len += n;
    c->heard[c->len++] = '\n';
    c->heard[c->len] = '\0';
}
enum rt_send_result rt_conn_send(struct rt_conn *c, struct rt_frame *const *frames, uint32_t n)
{
    if (c->blocked) {
        return RT_SEND_BLOCKED;
    }
    for (uint32_t i = 0; i < n; i++) {
        hear(c, frames[i]);
    }
    return RT_SEND_ALL;
}
void rt_conn_ping(struct rt_conn *c)
{
    (void)c;
}
void rt_conn_close(struct rt_conn *c, uint16_t code, const char *reason)
{
    c->close_code = code;
    (void)snprintf(c->close_reason, sizeof c->close_reason, "%s", reason);
}
void rt_transport_stop_listening(struct rt_transport *t)
{
    (void)t;
}

/* ipc.h */
struct rt_ipc *rt_ipc_connect(struct rt_loop *l, const char *path, const struct rt_ipc_events *ev,
                              void *ctx)
{
    (void)l;
    (void)path;
    if (!w.ipc_free) {
        return NULL;
    }
    w.ipc = (struct rt_ipc){.events = ev, .ctx = ctx, .buf = w.ipc.buf, .cap = w.ipc.cap};
    return &w.ipc;
}
struct pr_outbuf rt_ipc_reserve(struct rt_ipc *ipc, size_t n, bool *ok)
{
    if (ipc->len + n > ipc->cap) {
        ipc->cap = (ipc->len + n) * 2;
        ipc->buf = realloc(ipc->buf, ipc->cap);
    }
    *ok = true;
    return pr_outbuf(ipc->buf + ipc->len, n);
}
void rt_ipc_commit(struct rt_ipc *ipc, const struct pr_outbuf *o)
{
    ipc->len += o->len;
}
bool rt_ipc_send(struct rt_ipc *ipc, struct pr_slice frames)
{
    bool ok = false;
    struct pr_outbuf o = rt_ipc_reserve(ipc, frames.n, &ok);

    pr_put_slice(&o, frames);
    rt_ipc_commit(ipc, &o);
    return true;
}
size_t rt_ipc_queued(const struct rt_ipc *ipc)
{
    return ipc->behind + ipc->len;
}
void rt_ipc_close(struct rt_ipc *ipc)
{
    ipc->closed = true;
}
/* Appends to one of the texts of the world. */
__attribute__((format(printf, 3, 4))) static void append(char *text, size_t *len, const char *fmt,
                                                         ...)
{
    va_list args;
    int n = 0;

    va_start(args, fmt);
    n = vsnprintf(text + *len, HEARD_MAX - *len, fmt, args);
    va_end(args);
    assert_true(n >= 0 && *len + (size_t)n < HEARD_MAX);
    *len += (size_t)n;
}

/* control.h */
bool rt_control_reply(struct rt_ipc *ipc, uint32_t id, struct pr_slice rows, bool last)
{
    (void)ipc;
    append(w.ctl, &w.ctl_len, "%u%s %.*s", id, last ? "." : "", (int)rows.n, (const char *)rows.p);
    return true;
}

/* One frame to the edge. */
static void to_edge(struct pr_slice bytes)
{
    struct pr_frame f;

    while (bytes.n > 0) {
        long n = pr_frame_next(bytes, &f);

        assert_true(n > 0);
        w.ipc.events->on_frame(w.ipc.ctx, &w.ipc, &f);
        bytes.p += n;
        bytes.n -= (size_t)n;
    }
}

static void to_owner(const struct cl_event *ev)
{
    struct cl_action a;

    assert_int_equal(cl_step(w.owner, w.owner_ms, ev), CL_OK);
    while (cl_next_action(w.owner, &a)) {
        if (a.type == CL_ACT_EDGE_SEND) {
            to_edge(a.bytes);
        } else {
            assert_int_equal(a.type, CL_ACT_READER);
        }
    }
}

static void note(const struct pr_frame *f)
{
    struct pr_chg_reg reg;
    struct pr_chg_unreg unreg;
    struct pr_chg_ok ok;
    struct pr_cast_ok cast;
    struct pr_rights_ask ask;
    struct pr_chg_synced synced;
    struct pr_clients clients;
    struct pr_store_ask store;
    struct pr_replay_ask replay;

    switch (f->type) {
    case PR_T_RIGHTS_ASK:
        assert_int_equal(pr_rights_ask_decode(f, &ask), PR_OK);
        append(w.db, &w.db_len, "ask %.*s %.*s %u %u\n", (int)ask.topic.n,
               (const char *)ask.topic.p, (int)ask.role.n, (const char *)ask.role.p, ask.read,
               ask.write);
        w.ask_id = ask.id;
        (void)snprintf(w.ask_project, sizeof w.ask_project, "%.*s", (int)ask.project.n,
                       (const char *)ask.project.p);
        break;
    case PR_T_REPLAY_ASK:
        assert_int_equal(pr_replay_ask_decode(f, &replay), PR_OK);
        append(w.db, &w.db_len, "replay %.*s %u\n", (int)replay.topic.n,
               (const char *)replay.topic.p, replay.limit);
        w.replay_id = replay.id;
        break;
    case PR_T_STORE_ASK:
        assert_int_equal(pr_store_ask_decode(f, &store), PR_OK);
        append(w.db, &w.db_len, "store %.*s %.*s %u %s %.*s %.*s\n", (int)store.topic.n,
               (const char *)store.topic.p, (int)store.role.n, (const char *)store.role.p,
               store.ttl_s, store.binary ? "bytes" : "json", (int)store.event.n,
               (const char *)store.event.p, (int)store.payload.n, (const char *)store.payload.p);
        w.ask_id = store.id;
        (void)snprintf(w.uuid, sizeof w.uuid, "%.*s", (int)store.message.n,
                       (const char *)store.message.p);
        break;
    case PR_T_CHG_REG:
        assert_int_equal(pr_chg_reg_decode(f, &reg), PR_OK);
        append(w.db, &w.db_len, "reg %u %.*s %.*s.%.*s %.*s %.*s\n", reg.handle, (int)reg.event.n,
               (const char *)reg.event.p, (int)reg.schema.n, (const char *)reg.schema.p,
               (int)reg.table.n, (const char *)reg.table.p, (int)reg.filter.n,
               (const char *)reg.filter.p, (int)reg.role.n, (const char *)reg.role.p);
        break;
    case PR_T_CHG_UNREG:
        assert_int_equal(pr_chg_unreg_decode(f, &unreg), PR_OK);
        append(w.db, &w.db_len, "unreg %u\n", unreg.handle);
        break;
    case PR_T_CHG_OK:
        assert_int_equal(pr_chg_ok_decode(f, &ok), PR_OK);
        append(w.db, &w.db_len, "ok %u.%u\n", (unsigned)ok.pos.lsn, (unsigned)ok.pos.seq);
        break;
    case PR_T_CAST_OK:
        assert_int_equal(pr_cast_ok_decode(f, &cast), PR_OK);
        append(w.db, &w.db_len, "cast ok %u %u.%u\n", (unsigned)cast.stream, (unsigned)cast.pos.lsn,
               (unsigned)cast.pos.seq);
        break;
    case PR_T_CLIENTS:
        assert_int_equal(pr_clients_decode(f, &clients), PR_OK);
        append(w.db, &w.db_len, "clients %.*s %u\n", (int)clients.project.n,
               (const char *)clients.project.p, (unsigned)clients.count);
        break;
    case PR_T_CHG_SYNCED:
        assert_int_equal(pr_chg_synced_decode(f, &synced), PR_OK);
        append(w.db, &w.db_len, "synced %u\n", (unsigned)synced.round);
        break;
    default:
        fail_msg("frame of type %x", f->type);
    }
}

static void say_hello_ok(void)
{
    uint8_t memory[128];
    struct pr_outbuf o = pr_outbuf(memory, sizeof memory);
    struct pr_hello_ok ok = {.proto = 1, .node = 1, .epoch = 1, .name = pr_str("n")};
    struct cl_event up = {.type = CL_EV_EDGE_UP, .boot = BOOT};

    to_owner(&up);
    pr_hello_ok_encode(&o, &ok);
    to_edge(pr_bytes(memory, o.len));
}

/* Until nobody has anything to say. */
static void settle(void)
{
    do {
        uint8_t *buf = w.ipc.buf;
        struct pr_slice in = pr_bytes(buf, w.ipc.len);

        w.ipc.buf = NULL;
        w.ipc.len = 0;
        w.ipc.cap = 0;
        while (in.n > 0) {
            struct pr_frame f;
            struct cl_event ev = {.type = CL_EV_EDGE_IN, .frame = &f};
            long n = pr_frame_next(in, &f);

            assert_true(n > 0);
            if (f.type == PR_T_HELLO) {
                say_hello_ok();
            } else if (f.cls == PR_C_CHANGES || f.type == PR_T_RIGHTS_ASK ||
                       f.type == PR_T_STORE_ASK || f.type == PR_T_REPLAY_ASK ||
                       f.type == PR_T_CLIENTS || (f.type >= PR_T_CHG_REG && f.type < PR_T_CTL)) {
                note(&f);
            } else {
                to_owner(&ev);
            }
            in.p += n;
            in.n -= (size_t)n;
        }
        free(buf);
        rt_link_pump(w.e);
        rt_regs_run(w.e);
        rt_sockets_flush(w.e);
        rt_link_pump(w.e);
        w.owner_ms += 2000; /* over every delay of diffs */
        to_owner(&(struct cl_event){.type = CL_EV_TICK});
    } while (w.ipc.len > 0);
    rt_sockets_flush(w.e);
}

static void world_open(const char *const *settings)
{
    struct rt_config_report *report = calloc(1, sizeof *report);
    struct cl_config cc = {.name = pr_str("n"), .id = 1, .epoch = 1, .edges = 1};
    struct cle_config ec = {.boot = BOOT, .topics_max = 1000, .presences_max = 1000};
    const char *why = "";
    uint32_t n = 0;

    memset(&w, 0, sizeof w);
    w.env[n++] = strdup("REALTIME_JWT_SECRET=" SECRET);
    w.env[n++] = strdup("REALTIME_NODE=n");
    for (; settings != NULL && *settings != NULL; settings++) {
        w.env[n++] = strdup(*settings);
    }
    if (rt_config_load(&w.cfg, w.env, NULL, report) != RT_OK) {
        fail_msg("%s", report->notes[0].text);
    }
    free(report);
    w.cfg.edges = 1;
    for (uint32_t i = 0; i < w.cfg.nprojects; i++) {
        w.cfg.projects[i].edges = 1;
    }
    rt_metrics_private(&w.metrics);
    w.args.boot = BOOT;
    w.args.metrics = &w.metrics;
    w.args.log = rt_log_new(2, RT_ERROR, "n", "edge.0");
    w.args.env = w.env;
    rt_pool_init(&w.pool, 64u << 20);
    w.lim = (struct cl_limits){.edges = 1,
                               .topics = 1000,
                               .presences = 1000,
                               .presences_per_topic = 100,
                               .presence_bytes = 1u << 20,
                               .pending_bytes = 1u << 20,
                               .kept_bytes = 1u << 20,
                               .actions = 4096};
    cc.lim = &w.lim;
    cc.mem = &w.pool.alloc;
    w.owner_ms = 1;
    w.owner = cl_new(&cc, (struct cl_rand){{1, 2, 3, 4}}, w.owner_ms);
    w.e = rt_calloc(1, sizeof *w.e);
    w.e->cfg = &w.cfg;
    w.e->args = &w.args;
    w.e->log = w.args.log;
    w.e->metrics = &w.metrics;
    w.e->loop = rt_loop_new();
    w.e->now_ms = rt_now_ms(w.e->loop);
    rt_limits_init(w.e);
    rt_wheel_init(&w.e->wheel, rt_loop_uv(w.e->loop), w.e->now_ms);
    rt_timer_init(w.e->loop, &w.e->more, NULL, w.e);
    rt_access_init(w.e);
    assert_int_equal(rt_projects_start(w.e, &why), 0);
    rt_pool_init(&w.e->pool, 64u << 20);
    ec.mem = &w.e->pool.alloc;
    w.e->cle = cle_new(&ec, w.e->now_ms);
    w.ipc_free = true;
    rt_link_start(w.e);
    settle();
    w.db_len = 0; /* "synced", of the new link */
}

static void world_close(void)
{
    while (w.e->sockets != NULL) {
        struct rt_conn *c = w.e->sockets->conn;

        rt_socket_gone(w.e->sockets);
        free(c);
    }
    rt_observers_end(w.e);
    rt_link_stop(w.e);
    rt_timer_close(&w.e->more, NULL);
    rt_timer_close(&w.e->tell, NULL);
    rt_broadcast_free(w.e);
    rt_topics_free(w.e);
    cle_free(w.e->cle);
    rt_projects_free(w.e);
    rt_access_free(w.e);
    rt_wheel_close(&w.e->wheel, NULL);
    rt_slots_free(&w.e->channels);
    rt_slots_free(&w.e->replays);
    rt_slots_free(&w.e->stores);
    rt_free(w.e->scratch.p);
    rt_loop_free(w.e->loop);
    rt_free(w.e);
    cl_free(w.owner);
    rt_log_free(w.args.log);
    rt_metrics_close(&w.metrics);
    rt_config_free(&w.cfg);
    free(w.ipc.buf);
    for (uint32_t i = 0; w.env[i] != NULL; i++) {
        free(w.env[i]);
    }
}

/* A token of these claims, valid for an hour or as said. Good until the second next call. */
static char *token_of(const char *role, int64_t life_s)
{
    static uint8_t both[2][4096];
    static unsigned turn;
    uint8_t *memory = both[turn++ % 2];
    struct pr_outbuf o = pr_outbuf(memory, sizeof both[0] - 1);
    char claims[256];

    (void)snprintf(claims, sizeof claims, "{\"role\":\"%s\",\"exp\":%lld}", role,
                   (long long)(rt_wall_ms() / 1000) + (long long)life_s);
    assert_int_equal(pr_jwt_sign(&o, pr_str(SECRET), NULL, pr_str(claims)), PR_OK);
    memory[o.len] = '\0';
    return (char *)memory;
}

/* Signs with that secret; a text of the heap. */
__attribute__((unused)) static char *token_by(const char *secret, const char *role)
{
    uint8_t *memory = calloc(1, 4096);
    struct pr_outbuf o = pr_outbuf(memory, 4095);
    char claims[256];

    (void)snprintf(claims, sizeof claims, "{\"role\":\"%s\",\"exp\":%lld}", role,
                   (long long)(rt_wall_ms() / 1000) + 3600);
    assert_int_equal(pr_jwt_sign(&o, pr_str(secret), NULL, pr_str(claims)), PR_OK);
    return (char *)memory;
}

/* Asks for a WebSocket; c->status is set if it was refused. */
__attribute__((unused)) static struct rt_conn *knock(const char *query, const char *key_header)
{
    struct rt_conn *c = calloc(1, sizeof *c);
    struct rt_request r = {.method = pr_str("GET"),
                           .path = pr_str("/socket/websocket"),
                           .query = pr_str(query),
                           .websocket = true,
                           .peer = "127.0.0.1"};

    if (key_header != NULL) {
        c->name[c->nheaders] = "x-api-key";
        c->value[c->nheaders++] = key_header;
    }
    rt_http_request(w.e, c, &r);
    return c;
}

__attribute__((unused)) static struct rt_conn *client(const char *vsn)
{
    char query[64];
    struct rt_conn *c = NULL;

    (void)snprintf(query, sizeof query, "vsn=%s", vsn);
    c = knock(query, token_of("anon", 3600));
    assert_true(c->upgraded);
    rt_socket_opened(c->user);
    return c;
}

/* A text message; `text` with ' for ". */
__attribute__((unused)) static void send_text(struct rt_conn *c, const char *text)
{
    char *copy = strdup(text);

    for (char *p = copy; *p != '\0'; p++) {
        *p = *p == '\'' ? '"' : *p;
    }
    rt_socket_message(c->user, pr_str(copy), true);
    free(copy);
    settle();
}

/* All that was heard since the last call, with ' for ". */
__attribute__((unused)) static const char *heard(struct rt_conn *c)
{
    static char out[HEARD_MAX];

    memcpy(out, c->heard, c->len);
    out[c->len] = '\0';
    for (char *p = out; *p != '\0'; p++) {
        *p = *p == '"' ? '\'' : *p;
    }
    c->len = 0;
    return out;
}

#endif
