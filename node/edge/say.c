/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/say.h"

#include <assert.h>
#include <string.h>

#include "node/edge/socket.h"
#include "proto/json_write.h"

/* A scratch that grew past this for one message is given back. */
#define SCRATCH_KEEP_BYTES 262144u

/* A refusal that waits for its time. */
struct rt_late {
    struct rt_late *next;
    struct rt_socket *socket;
    struct rt_wheel_entry timer;
    struct rt_frame *frame;
};

struct rt_frame *rt_frame_make(enum pr_ws_opcode opcode, rt_put_fn put, const void *arg)
{
    struct pr_outbuf o = pr_outbuf(NULL, 0);
    struct rt_frame *f = NULL;
    size_t n = 0;

    put(&o, arg);
    n = o.len;
    f = rt_frame_new(pr_ws_head_len(n) + n);
    o = pr_outbuf(f->bytes, f->len);
    pr_ws_put_head(&o, opcode, n);
    put(&o, arg);
    assert(pr_out_ok(&o) && o.len == f->len);
    return f;
}

struct pr_slice rt_scratch_text(struct rt_edge *e, rt_put_fn put, const void *arg)
{
    struct rt_scratch *s = &e->scratch;
    struct pr_outbuf o = pr_outbuf(s->p, s->cap);

    if (s->cap > SCRATCH_KEEP_BYTES) {
        s->cap = SCRATCH_KEEP_BYTES;
        s->p = rt_realloc(s->p, s->cap);
        o = pr_outbuf(s->p, s->cap);
    }
    put(&o, arg);
    if (!pr_out_ok(&o)) {
        s->cap = o.len + 1024;
        s->p = rt_realloc(s->p, s->cap);
        o = pr_outbuf(s->p, s->cap);
        put(&o, arg);
    }
    assert(pr_out_ok(&o));
    return pr_bytes(s->p, o.len);
}

void rt_ref_keep(struct rt_ref *to, struct pr_phx_ref from)
{
    assert(from.bytes.n <= PR_PHX_REF_MAX);
    to->len = (uint8_t)from.bytes.n;
    to->token = from.token;
    if (to->len > sizeof to->u.in) {
        to->u.heap = rt_malloc(to->len);
        memcpy(to->u.heap, from.bytes.p, to->len);
    } else if (to->len > 0) {
        memcpy(to->u.in, from.bytes.p, to->len);
    }
}

struct pr_phx_ref rt_ref_get(const struct rt_ref *r)
{
    const uint8_t *p = r->len > sizeof r->u.in ? r->u.heap : r->u.in;

    return (struct pr_phx_ref){.bytes = {.p = p, .n = r->len}, .token = r->token};
}

void rt_ref_free(struct rt_ref *r)
{
    if (r->len > sizeof r->u.in) {
        rt_free(r->u.heap);
    }
    r->len = 0;
}

struct pr_phx_addr rt_channel_addr(const struct rt_channel *ch)
{
    return (struct pr_phx_addr){.join_ref = rt_ref_get(&ch->join_ref),
                                .topic = rt_topic_name(ch->topic)};
}

struct pr_phx_addr rt_answer_addr(const struct pr_phx_msg *m)
{
    return (struct pr_phx_addr){.join_ref = m->join_ref, .ref = m->ref, .topic = m->topic};
}

enum saying { REPLY = 1, PUSH, CLOSE, ERROR };

struct words {
    enum saying kind;
    enum pr_vsn vsn;
    const struct pr_phx_addr *to;
    const char *text; /* status, event or reason */
    struct pr_slice json;
};

static void put_words(struct pr_outbuf *o, const void *arg)
{
    const struct words *w = arg;

    switch (w->kind) {
    case REPLY:
        pr_phx_put_reply(o, w->vsn, w->to, w->text, w->json);
        break;
    case PUSH:
        pr_phx_put_push(o, w->vsn, w->to, w->text, w->json);
        break;
    case CLOSE:
        pr_phx_put_close(o, w->vsn, w->to);
        break;
    case ERROR:
        pr_phx_put_error(o, w->vsn, w->to, w->text);
        break;
    }
}

static struct rt_frame *frame_of(const struct rt_socket *s, struct words w)
{
    w.vsn = (enum pr_vsn)s->vsn;
    return rt_frame_make(PR_WS_TEXT, put_words, &w);
}

static void say(struct rt_socket *s, struct words w)
{
    struct rt_frame *f = frame_of(s, w);

    rt_socket_queue(s, f);
    rt_frame_unref(f);
}

void rt_say_reply(struct rt_socket *s, const struct pr_phx_addr *to, const char *status,
                  struct pr_slice response)
{
    say(s, (struct words){.kind = REPLY, .to = to, .text = status, .json = response});
}

void rt_say_ok(struct rt_socket *s, const struct pr_phx_addr *to)
{
    rt_say_reply(s, to, "ok", pr_str("{}"));
}

static void put_reason(struct pr_outbuf *o, const void *arg)
{
    const struct pr_slice *reason = arg;

    pr_put_str(o, "{\"reason\":");
    pr_put_json_str(o, *reason);
    pr_put_str(o, "}");
}

void rt_say_reason(struct rt_socket *s, const struct pr_phx_addr *to, struct pr_slice reason)
{
    rt_say_reply(s, to, "error", rt_scratch_text(s->edge, put_reason, &reason));
}

void rt_say_unmatched(struct rt_socket *s, const struct pr_phx_addr *to)
{
    struct pr_phx_addr bare = {.ref = to->ref, .topic = to->topic};

    rt_say_reason(s, &bare, pr_str("unmatched topic"));
}

void rt_say_push(struct rt_socket *s, const struct pr_phx_addr *to, const char *event,
                 struct pr_slice payload)
{
    say(s, (struct words){.kind = PUSH, .to = to, .text = event, .json = payload});
}

void rt_say_close(struct rt_socket *s, const struct pr_phx_addr *to, bool rejoin)
{
    if (rejoin) {
        say(s, (struct words){.kind = ERROR, .to = to, .text = "channel_crash"});
    } else {
        say(s, (struct words){.kind = CLOSE, .to = to});
    }
}

struct system_words {
    const struct rt_system *sys;
    struct pr_slice sub;
};

static void put_system(struct pr_outbuf *o, const void *arg)
{
    const struct system_words *w = arg;

    pr_put_str(o, "{\"extension\":");
    pr_put_json_cstr(o, w->sys->extension);
    pr_put_str(o, ",\"status\":");
    pr_put_str(o, w->sys->ok ? "\"ok\"" : "\"error\"");
    pr_put_str(o, ",\"message\":");
    pr_put_json_str(o, w->sys->message);
    if (!w->sys->bare) {
        pr_put_str(o, ",\"channel\":");
        pr_put_json_str(o, w->sub);
    }
    pr_put_str(o, "}");
}

void rt_say_system(struct rt_channel *ch, const struct rt_system *sys)
{
    struct rt_edge *e = ch->socket->edge;
    struct pr_phx_addr to = rt_channel_addr(ch);
    struct system_words w = {.sys = sys, .sub = rt_topic_sub(ch->topic)};

    rt_say_push(ch->socket, &to, "system", rt_scratch_text(e, put_system, &w));
}

static void late_due(struct rt_wheel_entry *timer)
{
    struct rt_late *l = (struct rt_late *)(void *)((char *)timer - offsetof(struct rt_late, timer));
    struct rt_late **at = &l->socket->late;

    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    rt_socket_queue(l->socket, l->frame);
    rt_frame_unref(l->frame);
    rt_free(l);
}

static void say_later(struct rt_socket *s, struct rt_frame *f)
{
    struct rt_late *l = rt_calloc(1, sizeof *l);

    l->socket = s;
    l->frame = f;
    l->next = s->late;
    s->late = l;
    rt_wheel_set(&s->edge->wheel, &l->timer, late_due, s->edge->now_ms, RT_REFUSAL_DELAY_MS);
}

void rt_late_free(struct rt_socket *s)
{
    while (s->late != NULL) {
        struct rt_late *l = s->late;

        s->late = l->next;
        rt_wheel_clear(&s->edge->wheel, &l->timer);
        rt_frame_unref(l->frame);
        rt_free(l);
    }
}

static struct rt_frame *refusal(struct rt_socket *s, const struct pr_phx_addr *to,
                                struct pr_slice reason)
{
    struct rt_edge *e = s->edge;
    struct words w = {.kind = REPLY, .to = to, .text = "error"};

    rt_project_count(s->project, RT_M_JOIN_REFUSED, 1);
    rt_log(e->log, RT_INFO, "join_refused", rt_kv_x("conn", s->id), rt_kv_b("topic", to->topic),
           rt_kv_b("err", reason), rt_kv_s("project", s->project->cfg->project));
    w.json = rt_scratch_text(e, put_reason, &reason);
    return frame_of(s, w);
}

void rt_say_last_refusal(struct rt_socket *s, const struct pr_phx_addr *to, struct pr_slice reason)
{
    struct rt_frame *f = refusal(s, to, reason);

    rt_socket_queue(s, f);
    rt_frame_unref(f);
}

void rt_say_refusal(struct rt_socket *s, const struct pr_phx_addr *to, struct pr_slice reason)
{
    struct rt_edge *e = s->edge;
    struct rt_frame *f = refusal(s, to, reason);

    if (e->now_ms - s->refused_since_ms > RT_REFUSALS_MS) {
        s->refused_since_ms = e->now_ms;
        s->refused = 0;
    }
    s->refused++;
    if (s->refused > s->project->cfg->free_refusals) {
        say_later(s, f);
        return;
    }
    rt_socket_queue(s, f);
    rt_frame_unref(f);
}
