/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "node/base/alloc.h"
#include "node/base/control.h"
#include "node/base/heart.h"
#include "node/base/ipc.h"

/* Ends a test that hangs; nothing waits for it otherwise. */
#define DEADLINE_MS 20000u

/* A server and one client in one loop. */
struct world {
    struct rt_loop *loop;
    char dir[40];
    char path[60];
    struct rt_ipc_server *server;
    struct rt_ipc *served, *client;
    struct rt_timer deadline;
    uint32_t frames, want; /* taken by the server; stop after that many */
    uint64_t bytes;
    char why[64]; /* of the server's side going down */
    bool close_in_frame;
    struct rt_timer later;
    uv_poll_t heard;
};

static void on_deadline(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for too long");
}

static void on_served_frame(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    struct world *w = ctx;

    assert_ptr_equal(ipc, w->served);
    assert_ptr_equal(rt_ipc_ctx(ipc), w);
    w->frames++;
    w->bytes += f->whole.n;
    if (w->close_in_frame) {
        rt_ipc_close(ipc);
        w->served = NULL;
        rt_loop_stop(w->loop);
    } else if (w->frames == w->want) {
        rt_loop_stop(w->loop);
    }
}

static void on_served_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    struct world *w = ctx;

    assert_ptr_equal(ipc, w->served);
    w->served = NULL;
    (void)snprintf(w->why, sizeof w->why, "%s", why);
    rt_loop_stop(w->loop);
}

static void on_client_frame(void *ctx, struct rt_ipc *ipc, const struct pr_frame *f)
{
    (void)ctx;
    (void)ipc;
    (void)f;
    fail_msg("the client was told something");
}

static void on_client_down(void *ctx, struct rt_ipc *ipc, const char *why)
{
    struct world *w = ctx;

    (void)ipc;
    (void)why;
    w->client = NULL;
    rt_loop_stop(w->loop);
}

static const struct rt_ipc_events served_events = {.on_frame = on_served_frame,
                                                   .on_down = on_served_down};
static const struct rt_ipc_events client_events = {.on_frame = on_client_frame,
                                                   .on_down = on_client_down};

static void on_accept(void *ctx, struct rt_ipc *ipc)
{
    struct world *w = ctx;

    w->served = ipc;
    rt_ipc_set_events(ipc, &served_events, w);
}

static int open_world(void **state)
{
    struct world *w = rt_calloc(1, sizeof *w);

    (void)snprintf(w->dir, sizeof w->dir, "/tmp/realtime-ipc-XXXXXX");
    if (mkdtemp(w->dir) == NULL) {
        return -1;
    }
    (void)snprintf(w->path, sizeof w->path, "%s/s", w->dir);
    w->loop = rt_loop_new();
    rt_timer_init(w->loop, &w->deadline, on_deadline, w);
    rt_timer_set(&w->deadline, DEADLINE_MS);
    w->server = rt_ipc_listen(w->loop, w->path, on_accept, w);
    *state = w;
    return w->server == NULL;
}

static int close_world(void **state)
{
    struct world *w = *state;

    if (w->server != NULL) {
        rt_ipc_server_close(w->server);
    }
    if (w->served != NULL) {
        rt_ipc_close(w->served);
    }
    if (w->client != NULL) {
        rt_ipc_close(w->client);
    }
    rt_timer_close(&w->deadline, NULL);
    rt_loop_free(w->loop);
    (void)unlink(w->path);
    (void)rmdir(w->dir);
    rt_free(w);
    return 0;
}

/* A frame with `n` bytes of rows. */
static size_t frame_of(uint8_t *out, size_t cap, size_t n)
{
    static uint8_t rows[PR_FRAME_MAX];
    struct pr_ctl_reply m = {.id = 7, .last = true, .rows = {.p = rows, .n = n}};
    struct pr_outbuf o = pr_outbuf(out, cap);

    pr_ctl_reply_encode(&o, &m);
    assert_true(pr_out_ok(&o));
    return o.len;
}

static void connect_client(struct world *w)
{
    w->client = rt_ipc_connect(w->loop, w->path, &client_events, w);
    assert_non_null(w->client);
}

static void frames_arrive_whole(void **state)
{
    struct world *w = *state;
    uint8_t *bytes = rt_malloc(PR_FRAME_MAX + 4u);
    size_t sizes[] = {0, 1, 100, 262144, 1000000, 8u * 1024u * 1024u, 5};
    uint64_t sent = 0;
    struct stat st;

    assert_int_equal(stat(w->path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    connect_client(w);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        size_t n = frame_of(bytes, PR_FRAME_MAX + 4u, sizes[i]);

        assert_true(rt_ipc_send(w->client, pr_bytes(bytes, n)));
        sent += n;
        w->want++;
    }
    assert_int_equal(rt_ipc_queued(w->client), sent);
    rt_loop_run(w->loop);
    assert_int_equal(w->frames, w->want);
    assert_int_equal(w->bytes, sent);
    assert_int_equal(rt_ipc_queued(w->client), 0);
    rt_free(bytes);
}

static void reserved_in_place(void **state)
{
    struct world *w = *state;
    struct pr_ctl_reply m = {.id = 1, .rows = pr_str("x\n")};
    struct pr_outbuf o;
    bool ok;

    connect_client(w);
    o = rt_ipc_reserve(w->client, 1000, &ok);
    assert_true(ok);
    assert_true(o.cap >= 1000);
    pr_ctl_reply_encode(&o, &m);
    rt_ipc_commit(w->client, &o);
    w->want = 1;
    rt_loop_run(w->loop);
    assert_int_equal(w->frames, 1);
}

static void queue_is_bounded(void **state)
{
    struct world *w = *state;
    uint8_t *bytes = rt_malloc(PR_FRAME_MAX);
    size_t n = frame_of(bytes, PR_FRAME_MAX, 1000000);
    uint32_t taken = 0;
    bool ok;

    connect_client(w);
    while (rt_ipc_send(w->client, pr_bytes(bytes, n))) {
        taken++;
    }
    assert_int_equal(taken, RT_IPC_QUEUE_MAX / n);
    assert_int_equal(rt_ipc_queued(w->client), taken * n);
    (void)rt_ipc_reserve(w->client, RT_IPC_QUEUE_MAX + 1u, &ok);
    assert_false(ok);
    w->want = taken; /* what was taken before is not lost */
    rt_loop_run(w->loop);
    assert_int_equal(w->bytes, taken * n);
    rt_free(bytes);
}

static void on_resume(void *ctx)
{
    struct world *w = ctx;

    assert_int_equal(w->frames, 0);
    rt_ipc_read(w->served, true);
}

static void on_accept_stopped(void *ctx, struct rt_ipc *ipc)
{
    struct world *w = ctx;

    on_accept(ctx, ipc);
    rt_ipc_read(ipc, false);
    rt_timer_init(w->loop, &w->later, on_resume, w);
    rt_timer_set(&w->later, 20);
}

static void reading_stops_and_goes_on(void **state)
{
    struct world *w = *state;
    uint8_t bytes[200];
    size_t n = frame_of(bytes, sizeof bytes, 100);

    rt_ipc_server_close(w->server);
    w->server = rt_ipc_listen(w->loop, w->path, on_accept_stopped, w);
    connect_client(w);
    for (uint32_t i = 0; i < 50; i++) {
        assert_true(rt_ipc_send(w->client, pr_bytes(bytes, n)));
    }
    w->want = 50;
    rt_loop_run(w->loop);
    assert_int_equal(w->frames, 50);
    rt_timer_close(&w->later, NULL);
}

static void closed_inside_a_frame(void **state)
{
    struct world *w = *state;
    uint8_t bytes[200];
    size_t n = frame_of(bytes, sizeof bytes, 100);

    w->close_in_frame = true;
    connect_client(w);
    for (uint32_t i = 0; i < 5; i++) {
        assert_true(rt_ipc_send(w->client, pr_bytes(bytes, n)));
    }
    rt_loop_run(w->loop);
    assert_int_equal(w->frames, 1);
    assert_string_equal(w->why, ""); /* who closes is not told */
    if (w->client != NULL) {
        rt_loop_run(w->loop);
    }
    assert_null(w->client);
}

static void peer_ends(void **state)
{
    struct world *w = *state;

    connect_client(w);
    rt_ipc_close(w->client);
    w->client = NULL;
    rt_loop_run(w->loop);
    assert_null(w->served);
    assert_string_equal(w->why, "closed by the peer");
}

/* A peer that is killed has sent frames and has not read ours: all it sent is taken. */
static void peer_is_killed(void **state)
{
    struct world *w = *state;
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    uint8_t bytes[200];
    size_t n = frame_of(bytes, sizeof bytes, 100);

    memcpy(addr.sun_path, w->path, sizeof w->path);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    for (w->want = 1; w->want <= 2; w->want++) {
        assert_int_equal(send(fd, bytes, n, 0), n);
        rt_loop_run(w->loop);
        assert_true(rt_ipc_send(w->served, pr_bytes(bytes, n))); /* the first is flushed in time */
    }
    w->want = 0;
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(send(fd, bytes, n, 0), n);
    }
    (void)close(fd);
    rt_loop_run(w->loop);
    assert_null(w->served);
    assert_int_equal(w->frames, 22);
}

/* Bytes no frame may start with. */
static const struct {
    uint8_t bytes[12];
    size_t n;
} damaged[] = {
    {{0xff, 0xff, 0xff, 0xff}, 8},            /* longer than any frame */
    {{0, 0, 0, 0}, 8},                        /* shorter than its head */
    {{0, 0, 0, 3, 1, 1, 0}, 8},               /* the same */
    {{0, 0, 0, 5, 0x70, 0, 0, 0, 0x90}, 9},   /* unknown class */
    {{0, 0, 0, 5, 0x70, 99, 0, 0, 0x90}, 9},  /* the same */
    {{'G', 'E', 'T', ' ', '/', ' ', 'H'}, 8}, /* somebody else's protocol */
};

static void damaged_frames_end_it(void **state)
{
    struct world *w = *state;

    for (size_t i = 0; i < sizeof damaged / sizeof damaged[0]; i++) {
        w->why[0] = '\0';
        connect_client(w);
        assert_true(rt_ipc_send(w->client, pr_bytes(damaged[i].bytes, damaged[i].n)));
        while (w->client != NULL || w->served != NULL) {
            rt_loop_run(w->loop);
        }
        assert_string_equal(w->why, "malformed frame");
    }
    assert_int_equal(w->frames, 0);
}

static void cannot_listen_or_connect(void **state)
{
    struct world *w = *state;
    char path[200];

    memset(path, 'x', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    assert_null(rt_ipc_listen(w->loop, path, on_accept, w));
    assert_null(rt_ipc_connect(w->loop, path, &client_events, w));
    assert_null(rt_ipc_connect(w->loop, "/does/not/exist", &client_events, w));
    assert_null(rt_ipc_listen(w->loop, "/does/not/exist", on_accept, w));
}

/* The control socket, asked from the same loop. */
struct control {
    struct world *w;
    struct rt_control_server *server;
    struct rt_asker *asker;
    char seen[200]; /* rows, joined by '|' */
    uint32_t rows, enough;
    bool gone;
};

static void on_request(void *ctx, struct rt_asker *a, struct pr_slice cmd, struct pr_slice args)
{
    struct control *c = ctx;

    rt_asker_set_user(a, c);
    assert_ptr_equal(rt_asker_user(a), c);
    if (pr_slice_is(cmd, "two")) {
        assert_true(pr_slice_is(args, "{\"a\":1}"));
        rt_asker_rows(a, pr_str("{\"n\":1}\n{\"n\":2}\n"));
        rt_asker_rows(a, pr_str("{\"n\":3}\n"));
        rt_asker_end(a);
    } else if (pr_slice_is(cmd, "none")) {
        rt_asker_end(a);
    } else if (pr_slice_is(cmd, "stream")) {
        for (uint32_t i = 0; i < 10; i++) {
            rt_asker_rows(a, pr_str("{\"s\":1}\n"));
        }
    } /* else: no answer */
}

static void on_gone(void *ctx, struct rt_asker *a)
{
    struct control *c = ctx;

    (void)a;
    c->gone = true;
    rt_loop_stop(c->w->loop);
}

static bool on_row(void *ctx, struct pr_slice row)
{
    struct control *c = ctx;
    size_t n = strlen(c->seen);

    (void)snprintf(c->seen + n, sizeof c->seen - n, "%.*s|", (int)row.n, (const char *)row.p);
    c->rows++;
    return c->rows != c->enough;
}

static int ask(struct control *c, const char *cmd, uint64_t timeout_ms, struct rt_error *err)
{
    struct rt_control_question q = {.path = c->w->path,
                                    .cmd = cmd,
                                    .args = pr_str("{\"a\":1}"),
                                    .timeout_ms = timeout_ms,
                                    .on_row = on_row,
                                    .ctx = c};

    c->seen[0] = '\0';
    return rt_control_ask(c->w->loop, &q, err);
}

static void control(void **state)
{
    static const struct rt_control_events events = {.on_request = on_request, .on_gone = on_gone};
    struct world *w = *state;
    struct control c = {.w = w};
    struct rt_error err = {0};

    rt_ipc_server_close(w->server);
    w->server = NULL;
    c.server = rt_control_listen(w->loop, w->path, &events, &c, &err);
    assert_non_null(c.server);

    assert_int_equal(ask(&c, "two", 5000, &err), 0);
    assert_string_equal(c.seen, "{\"n\":1}|{\"n\":2}|{\"n\":3}|");
    assert_int_equal(ask(&c, "none", 5000, &err), 0);
    assert_string_equal(c.seen, "");
    assert_false(c.gone);

    c.rows = 0;
    c.enough = 4;
    assert_int_equal(ask(&c, "stream", 0, &err), 0);
    assert_int_equal(c.rows, 4);
    rt_loop_run(w->loop);
    assert_true(c.gone);

    c.gone = false;
    assert_int_equal(ask(&c, "silence", 30, &err), RT_ETIMEOUT);
    rt_loop_run(w->loop);
    assert_true(c.gone);

    /* Many at once, more than are taken: those over the bound are refused, none is lost. */
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX + 5u; i++) {
        assert_int_equal(ask(&c, "none", 5000, &err), 0);
    }
    rt_control_close(c.server);
    assert_int_equal(ask(&c, "two", 5000, &err), RT_EPEER); /* still in its accept queue */
    assert_int_equal(ask(&c, "two", 5000, &err), RT_EPEER);
    assert_non_null(strstr(err.text, w->path));
}

static void control_refuses(void **state)
{
    static const struct rt_control_events events = {.on_request = on_request, .on_gone = on_gone};
    struct world *w = *state;
    struct control c = {.w = w};
    struct rt_error err = {0};
    struct pr_hello hello = {.proto_min = 1, .proto_max = 1, .role = PR_ROLE_EDGE, .boot = 1};
    uint8_t bytes[200];
    struct pr_outbuf o = pr_outbuf(bytes, sizeof bytes);

    assert_null(rt_control_listen(w->loop, "/does/not/exist", &events, &c, &err));
    assert_int_equal(err.code, RT_ESYSTEM);
    rt_ipc_server_close(w->server);
    w->server = NULL;
    c.server = rt_control_listen(w->loop, w->path, &events, &c, &err);
    connect_client(w); /* an edge that took the wrong socket */
    pr_hello_encode(&o, &hello);
    assert_true(rt_ipc_send(w->client, pr_bytes(bytes, o.len)));
    rt_loop_run(w->loop);
    assert_null(w->client);
    assert_false(c.gone); /* nobody had been asked */
    connect_client(w);    /* one that never asks does not keep the server from ending */
    rt_control_close(c.server);
}

static void on_heard(uv_poll_t *handle, int status, int events)
{
    struct world *w = handle->data;

    (void)status;
    (void)events;
    rt_loop_stop(w->loop);
}

static void heart_beats_at_once(void **state)
{
    struct world *w = *state;
    struct rt_heart *h;
    int pair[2];
    char byte;

    assert_null(rt_heart_start(w->loop, -1));
    rt_heart_stop(NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    assert_int_equal(uv_poll_init(rt_loop_uv(w->loop), &w->heard, pair[0]), 0);
    w->heard.data = w;
    assert_int_equal(uv_poll_start(&w->heard, UV_READABLE, on_heard), 0);
    h = rt_heart_start(w->loop, pair[1]);
    rt_loop_run(w->loop);
    assert_int_equal(read(pair[0], &byte, 1), 1);
    rt_heart_stop(h);
    uv_close((uv_handle_t *)&w->heard, NULL);
    (void)close(pair[0]);
}

int main(void)
{
#define IN_WORLD(f) cmocka_unit_test_setup_teardown(f, open_world, close_world)
    const struct CMUnitTest tests[] = {
        IN_WORLD(frames_arrive_whole),      IN_WORLD(reserved_in_place),
        IN_WORLD(queue_is_bounded),         IN_WORLD(reading_stops_and_goes_on),
        IN_WORLD(closed_inside_a_frame),    IN_WORLD(peer_ends),
        IN_WORLD(peer_is_killed),           IN_WORLD(damaged_frames_end_it),
        IN_WORLD(cannot_listen_or_connect), IN_WORLD(control),
        IN_WORLD(control_refuses),          IN_WORLD(heart_beats_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
