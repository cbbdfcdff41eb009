/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/say.h"

#include <assert.h>
#include <string.h>

#include "node/edge/socket.h"
#include "proto/json_write.h"

/* A scratch that grew past this for one message is given back. */
#define SCRATCH_KEEP_BYTES 262144u

/* A refusal that waits for its time. */
struct refused {
    struct refused *next;
    struct rt_frame *frame;
    uint64_t due_ms;
};

/* Those of one socket, oldest first; they wait equally long, so one timer does. */
struct rt_late {
    struct rt_socket *socket;
    struct refused *head, *tail;
    uint32_t count;
    struct rt_wheel_entry timer; /* of the first */
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

static void late_pop(struct rt_late *l)
{
    struct refused *r = l->head;

    l->head = r->next;
    l->count--;
    rt_frame_unref(r->frame);
    rt_free(r);
}

static void late_due(struct rt_wheel_entry *timer)
{
    struct rt_late *l = (struct rt_late *)(void *)((char *)timer - offsetof(struct rt_late, timer));
    struct rt_socket *s = l->socket;
    struct rt_wheel *wheel = &s->edge->wheel;
    uint64_t now_ms = wheel->tick * RT_WHEEL_TICK_MS;

    while (l->head != NULL && l->head->due_ms <= now_ms) {
        rt_socket_queue(s, l->head->frame);
        late_pop(l);
    }
    if (l->head != NULL) {
        rt_wheel_set(wheel, timer, late_due, now_ms, l->head->due_ms - now_ms);
    } else {
        rt_late_free(s);
    }
}

static bool late_full(const struct rt_socket *s)
{
    return s->late != NULL &&
           s->late->count >= RT_LATE_MAX + s->project->cfg->max_channels_per_client;
}

/* Takes the frame's reference. */
static void say_later(struct rt_socket *s, struct rt_frame *f)
{
    struct rt_edge *e = s->edge;
    struct refused *r = rt_calloc(1, sizeof *r);
    struct rt_late *l = s->late;

    r->frame = f;
    r->due_ms = e->now_ms + RT_REFUSAL_DELAY_MS;
    if (l == NULL) {
        l = s->late = rt_calloc(1, sizeof *l);
        l->socket = s;
        l->head = r;
        rt_wheel_set(&e->wheel, &l->timer, late_due, e->now_ms, RT_REFUSAL_DELAY_MS);
    } else {
        l->tail->next = r;
    }
    l->tail = r;
    l->count++;
}

void rt_late_free(struct rt_socket *s)
{
    struct rt_late *l = s->late;

    if (l == NULL) {
        return;
    }
    while (l->head != NULL) {
        late_pop(l);
    }
    rt_wheel_clear(&s->edge->wheel, &l->timer);
    rt_free(l);
    s->late = NULL;
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

void rt_say_too_many_joins(struct rt_socket *s, const struct pr_phx_addr *to)
{
    struct rt_frame *f =
        refusal(s, to, pr_str("ClientJoinRateLimitReached: Too many joins per second"));

    rt_project_count(s->project, RT_M_LIMITED_JOINS, 1);
    rt_socket_queue(s, f);
    rt_frame_unref(f);
    rt_socket_close(s, 1001, "too many joins");
}

void rt_say_refusal(struct rt_socket *s, const struct pr_phx_addr *to, struct pr_slice reason)
{
    struct rt_edge *e = s->edge;
    struct rt_frame *f = NULL;
    bool later = false;

    if (e->now_ms - s->refused_since_ms > RT_REFUSALS_MS) {
        s->refused_since_ms = e->now_ms;
        s->refused = 0;
    }
    s->refused++;
    later = s->refused > s->project->cfg->free_refusals;
    if (later && late_full(s)) {
        rt_say_too_many_joins(s, to);
        return;
    }
    f = refusal(s, to, reason);
    if (later) {
        say_later(s, f);
        return;
    }
    rt_socket_queue(s, f);
    rt_frame_unref(f);
}
