/* SPDX-License-Identifier: Apache-2.0 */
#include "node/base/control.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "node/base/alloc.h"

struct rt_asker {
    struct rt_control_server *server;
    struct rt_ipc *ipc;
    void *user;
    uint32_t id;
    bool asked; /* the question came; the one who answers holds a pointer until `ended` */
    bool ended;
    bool doomed; /* does not read: closed at the end of the turn */
    struct rt_defer close;
};

struct rt_control_server {
    struct rt_loop *loop;
    struct rt_ipc_server *listener;
    const struct rt_control_events *ev;
    void *ctx;
    struct rt_asker *asker[RT_CONTROL_ASKERS_MAX];
};

bool rt_control_reply(struct rt_ipc *ipc, uint32_t id, struct pr_slice rows, bool last)
{
    struct pr_ctl_reply m = {.id = id, .last = last, .rows = rows};
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf out;
    bool ok;

    pr_ctl_reply_encode(&size, &m);
    out = rt_ipc_reserve(ipc, size.len, &ok);
    if (ok) {
        pr_ctl_reply_encode(&out, &m);
        rt_ipc_commit(ipc, &out);
    }
    return ok;
}

/* The connection is closed already. */
static void forget(struct rt_asker *a)
{
    struct rt_control_server *s = a->server;

    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        if (s->asker[i] == a) {
            s->asker[i] = NULL;
        }
    }
    rt_loop_undefer(s->loop, &a->close);
    if (a->asked && !a->ended) {
        s->ev->on_gone(s->ctx, a);
    }
    rt_free(a);
}

static void do_close(void *ctx)
{
    struct rt_asker *a = ctx;

    rt_ipc_close(a->ipc);
    forget(a);
}

/* Not at once: we may be inside a call of the one who answers. */
static void doom(struct rt_asker *a)
{
    a->doomed = true;
    rt_loop_defer(a->server->loop, &a->close, do_close, a);
}

static void on_frame(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    struct rt_asker *a = ctx;
    struct pr_ctl m;

    (void)ipc;
    if (a->asked || a->doomed || f->type != PR_T_CTL || pr_ctl_decode(f, &m) != PR_OK) {
        doom(a); /* one question per connection, and nothing else */
        return;
    }
    a->asked = true;
    a->id = m.id;
    a->server->ev->on_request(a->server->ctx, a, m.cmd, m.args);
}

static void on_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    (void)ipc;
    (void)why;
    forget(ctx);
}

static void on_accept(void *ctx, struct rt_ipc *ipc)
{
    static const struct rt_ipc_events events = {.on_frame = on_frame, .on_down = on_down};
    struct rt_control_server *s = ctx;
    struct rt_asker *a;
    uint32_t i = 0;

    while (i < RT_CONTROL_ASKERS_MAX && s->asker[i] != NULL) {
        i++;
    }
    if (i == RT_CONTROL_ASKERS_MAX) {
        rt_ipc_close(ipc);
        return;
    }
    a = rt_calloc(1, sizeof *a);
    a->server = s;
    a->ipc = ipc;
    s->asker[i] = a;
    rt_ipc_set_events(ipc, &events, a);
}

struct rt_control_server *rt_control_listen(struct rt_loop *l, const char *path,
                                            const struct rt_control_events *ev, void *ctx,
                                            struct rt_error *err)
{
    struct rt_control_server *s = rt_calloc(1, sizeof *s);

    s->loop = l;
    s->ev = ev;
    s->ctx = ctx;
    s->listener = rt_ipc_listen(l, path, on_accept, s);
    if (s->listener == NULL) {
        (void)rt_error_errno(err, errno, "listen on %s", path);
        rt_free(s);
        return NULL;
    }
    return s;
}

void rt_control_close(struct rt_control_server *s)
{
    rt_ipc_server_close(s->listener);
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        struct rt_asker *a = s->asker[i];

        if (a != NULL) {
            a->ended = true; /* who closes the server knows */
            rt_ipc_close(a->ipc);
            forget(a);
        }
    }
    rt_free(s);
}

void rt_asker_rows(struct rt_asker *a, struct pr_slice rows)
{
    assert(a->asked && !a->ended);
    if (!a->doomed && !rt_control_reply(a->ipc, a->id, rows, false)) {
        doom(a);
    }
}

/* The connection stays until the asker has read all and closes it. */
void rt_asker_end(struct rt_asker *a)
{
    assert(a->asked && !a->ended);
    a->ended = true;
    if (!a->doomed && !rt_control_reply(a->ipc, a->id, pr_bytes(NULL, 0), true)) {
        doom(a);
    }
}

size_t rt_asker_queued(const struct rt_asker *a)
{
    return a->doomed ? 0 : rt_ipc_queued(a->ipc);
}

void rt_asker_set_user(struct rt_asker *a, void *user)
{
    a->user = user;
}

void *rt_asker_user(const struct rt_asker *a)
{
    return a->user;
}

/* What a frame holds beside the arguments is far less. */
#define ARGS_MAX ((size_t)PR_FRAME_MAX - 65536u)

/* One question under way at the client. */
struct asking {
    struct rt_loop *loop;
    const struct rt_control_question *q;
    struct rt_ipc *ipc; /* NULL once it is down */
    struct rt_timer timer;
    struct rt_error err;
};

static void stop(struct asking *w, enum rt_err code, const char *text)
{
    if (code != RT_OK) {
        (void)rt_error_set(&w->err, code, "%s", text);
    }
    rt_loop_stop(w->loop);
}

static void on_no_answer(void *ctx)
{
    stop(ctx, RT_ETIMEOUT, "the owner process does not answer; see realtimectl status");
}

static void rearm(struct asking *w)
{
    if (w->q->timeout_ms > 0) {
        rt_timer_set(&w->timer, w->q->timeout_ms);
    }
}

/* False: the one who asked has enough. */
static bool give_rows(struct asking *w, struct pr_slice rows)
{
    while (rows.n > 0) {
        const uint8_t *end = memchr(rows.p, '\n', rows.n);
        size_t n = end == NULL ? rows.n : (size_t)(end - rows.p);

        if (n > 0 && !w->q->on_row(w->q->ctx, pr_bytes(rows.p, n))) {
            return false;
        }
        n = end == NULL ? n : n + 1;
        rows = pr_bytes(rows.p + n, rows.n - n);
    }
    return true;
}

static void on_answer(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    struct asking *w = ctx;
    struct pr_ctl_reply m;

    (void)ipc;
    if (f->type != PR_T_CTL_REPLY || pr_ctl_reply_decode(f, &m) != PR_OK) {
        rt_ipc_read(w->ipc, false);
        stop(w, RT_EPEER, "the owner process answers with a malformed frame");
        return;
    }
    rearm(w);
    if (!give_rows(w, m.rows) || m.last) {
        rt_ipc_read(w->ipc, false);
        stop(w, RT_OK, NULL);
    }
}

static void on_answer_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    struct asking *w = ctx;

    (void)ipc;
    (void)why;
    w->ipc = NULL;
    stop(w, RT_EPEER, "the owner process ended while it was asked");
}

static void on_asking_closed(void *ctx)
{
    rt_free(ctx);
}

static void send_question(struct asking *w)
{
    struct pr_ctl m = {.id = 1, .cmd = pr_str(w->q->cmd), .args = w->q->args};
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf out;
    bool ok;

    pr_ctl_encode(&size, &m);
    out = rt_ipc_reserve(w->ipc, size.len, &ok);
    assert(ok || size.len > RT_IPC_QUEUE_MAX);
    if (ok) {
        pr_ctl_encode(&out, &m);
        rt_ipc_commit(w->ipc, &out);
    }
}

int rt_control_ask(struct rt_loop *l, const struct rt_control_question *q, struct rt_error *err)
{
    static const struct rt_ipc_events events = {.on_frame = on_answer, .on_down = on_answer_down};
    struct asking *w;
    struct rt_ipc *ipc;
    int code;

    if (q->args.n > ARGS_MAX) {
        return rt_error_set(err, RT_ELIMIT, "the arguments are %zu bytes, at most %zu fit",
                            q->args.n, ARGS_MAX);
    }
    w = rt_calloc(1, sizeof *w);
    w->loop = l;
    w->q = q;
    ipc = rt_ipc_connect(l, q->path, &events, w);
    if (ipc == NULL) {
        code = errno;
        rt_free(w);
        return rt_error_set(
            err, RT_EPEER,
            "nobody answers at %s (%s); is realtimed running, and is --socket right?", q->path,
            strerror(code));
    }
    w->ipc = ipc;
    rt_timer_init(l, &w->timer, on_no_answer, w);
    rearm(w);
    send_question(w);
    rt_loop_run(l);
    if (w->ipc != NULL) {
        rt_ipc_close(w->ipc);
    }
    code = w->err.code;
    if (err != NULL && code != RT_OK) {
        *err = w->err;
    }
    rt_timer_close(&w->timer, on_asking_closed);
    return code;
}
