/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/trace.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cluster/hash.h"
#include "proto/mesh_node.h"

/* A line that is being written; what does not fit is cut. */
struct line {
    char *p;
    size_t len;
};

static struct line begin(struct cl_trace *t)
{
    t->line[0] = '\0';
    return (struct line){.p = t->line, .len = 0};
}

static void say(struct line *l, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct line *l, const char *format, ...)
{
    size_t room = CL_TRACE_LINE_MAX - l->len;
    va_list args;
    int n = 0;

    va_start(args, format);
    /* clang-tidy 14 overlooks the va_start above. */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    n = vsnprintf(l->p + l->len, room, format, args);
    va_end(args);
    if (n > 0) {
        l->len += (size_t)n < room ? (size_t)n : room - 1;
    }
}

static void say_time(struct line *l, cl_ms now)
{
    say(l, "t=%06lu.%03u", (unsigned long)(now / 1000), (unsigned)(now % 1000));
}

static void say_key(struct line *l, struct pr_slice key)
{
    say(l, " topic=");
    for (size_t i = 0; i < key.n && l->len + 1 < CL_TRACE_LINE_MAX; i++) {
        bool plain = key.p[i] > ' ' && key.p[i] < 0x7f;

        memcpy(l->p + l->len, plain ? (const char *)key.p + i : ".", 1);
        l->len++;
        l->p[l->len] = '\0';
    }
}

static const char *name_of(uint8_t type)
{
    static const struct {
        enum pr_type type;
        const char *name;
    } names[] = {
        {PR_T_HELLO, "HELLO"},
        {PR_T_HELLO_OK, "HELLO_OK"},
        {PR_T_ATTACHED, "ATTACHED"},
        {PR_T_SUB, "SUB"},
        {PR_T_SUB_OK, "SUB_OK"},
        {PR_T_UNSUB, "UNSUB"},
        {PR_T_PUB, "PUB"},
        {PR_T_PUB_OK, "PUB_OK"},
        {PR_T_EVENT, "EVENT"},
        {PR_T_P_DELTA, "P_DELTA"},
        {PR_T_P_DIGEST, "P_DIGEST"},
        {PR_T_P_PULL, "P_PULL"},
        {PR_T_P_VIEW, "P_VIEW"},
        {PR_T_P_VIEW_GET, "P_VIEW_GET"},
        {PR_T_P_DIFF, "P_DIFF"},
        {PR_T_PING, "PING"},
        {PR_T_PONG, "PONG"},
        {PR_T_SYNC_HASH, "SYNC_HASH"},
        {PR_T_SYNC, "SYNC"},
        {PR_T_ACTORS, "ACTORS"},
        {PR_T_SUB_ALL, "SUB_ALL"},
        {PR_T_VIEW, "VIEW"},
        {PR_T_NOT_OWNER, "NOT_OWNER"},
        {PR_T_RESYNC, "RESYNC"},
        {PR_T_AGAIN, "AGAIN"},
        {PR_T_AGAIN_OK, "AGAIN_OK"},
        {PR_T_P_SUM, "P_SUM"},
    };

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((uint8_t)names[i].type == type) {
            return names[i].name;
        }
    }
    return "OTHER";
}

static void say_broadcast(struct line *l, const struct pr_frame *f)
{
    struct pr_pub pub;
    struct pr_pub_ok ok;
    struct pr_event ev;

    if (pr_pub_decode(f, &pub) == PR_OK) {
        say(l, " part=%u", pub.part);
        say_key(l, pub.topic);
        say(l, " oseq=%lu bytes=%zu", (unsigned long)pub.oseq, pub.payload.n);
    } else if (pr_pub_ok_decode(f, &ok) == PR_OK) {
        say(l, " part=%u oseq=%lu result=%u", ok.part, (unsigned long)ok.oseq, ok.result);
    } else if (pr_event_decode(f, &ev) == PR_OK) {
        say_key(l, ev.topic);
        say(l, " seq=%lu boot=%lx oseq=%lu bytes=%zu", (unsigned long)ev.seq,
            (unsigned long)ev.boot, (unsigned long)ev.oseq, ev.payload.n);
    }
}

static void say_subscription(struct line *l, const struct pr_frame *f)
{
    struct pr_sub sub;
    struct pr_sub_ok ok;
    struct pr_unsub unsub;

    if (pr_sub_decode(f, &sub) == PR_OK) {
        say_key(l, sub.topic);
        say(l, " presence=%d seq=%lu", sub.presence, (unsigned long)sub.seq);
    } else if (pr_sub_ok_decode(f, &ok) == PR_OK) {
        say_key(l, ok.topic);
        say(l, " epoch=%lx seq=%lu", (unsigned long)ok.epoch.boot, (unsigned long)ok.seq);
    } else if (pr_unsub_decode(f, &unsub) == PR_OK) {
        say_key(l, unsub.topic);
    }
}

static void say_presence(struct line *l, const struct pr_frame *f)
{
    struct pr_p_delta delta;
    struct pr_p_pull pull;
    struct pr_p_view view;
    struct pr_p_diff diff;

    if (pr_p_delta_decode(f, &delta) == PR_OK) {
        say_key(l, delta.topic);
        say(l, " actor=%lx a=%lu b=%lu adds=%u dels=%u", (unsigned long)delta.actor,
            (unsigned long)delta.a, (unsigned long)delta.b, delta.nadds, delta.ndels);
    } else if (pr_p_pull_decode(f, &pull) == PR_OK) {
        say_key(l, pull.topic);
        say(l, " actor=%lx ctx=%lu", (unsigned long)pull.actor, (unsigned long)pull.ctx);
    } else if (pr_p_view_decode(f, &view) == PR_OK) {
        say_key(l, view.topic);
        say(l, " count=%u last=%d", view.count, view.last);
    } else if (pr_p_diff_decode(f, &diff) == PR_OK) {
        say_key(l, diff.topic);
        say(l, " joins=%u leaves=%u", diff.njoins, diff.nleaves);
    }
}

static void say_frame(struct line *l, const struct pr_frame *f)
{
    say(l, " %s", name_of(f->type));
    say_subscription(l, f);
    say_broadcast(l, f);
    say_presence(l, f);
}

static void say_bytes(struct line *l, struct pr_slice bytes)
{
    struct pr_frame f;

    if (pr_frame_next(bytes, &f) > 0) {
        say_frame(l, &f);
    }
}

/* The line and the bytes it stands for enter the hash. */
static void add(struct cl_trace *t, const struct line *l, struct pr_slice bytes)
{
    t->hash = cl_hash64_seeded(pr_bytes(l->p, l->len), t->hash);
    t->hash = cl_hash64_seeded(bytes, t->hash);
    t->lines++;
}

void cl_trace_event(struct cl_trace *t, cl_ms now, const struct cl_event *ev)
{
    struct line l = begin(t);
    struct pr_slice bytes = {0};

    say_time(&l, now);
    switch (ev->type) {
    case CL_EV_TICK:
        say(&l, " tick");
        break;
    case CL_EV_EDGE_UP:
        say(&l, " up edge=%u boot=%lx", ev->edge, (unsigned long)ev->boot);
        break;
    case CL_EV_EDGE_DOWN:
        say(&l, " down edge=%u", ev->edge);
        break;
    case CL_EV_EDGE_IN:
        say(&l, " in edge=%u", ev->edge);
        say_frame(&l, ev->frame);
        bytes = ev->frame->whole;
        break;
    case CL_EV_UDP_IN:
        say(&l, " udp in bytes=%zu", ev->bytes.n);
        bytes = ev->bytes;
        break;
    case CL_EV_LINK_UP:
        say(&l, " link up id=%lx epoch=%lx", (unsigned long)ev->id, (unsigned long)ev->epoch);
        break;
    case CL_EV_LINK_DOWN:
        say(&l, " link down id=%lx how=%d", (unsigned long)ev->id, (int)ev->how);
        break;
    case CL_EV_LINK_IN:
        say(&l, " link in id=%lx", (unsigned long)ev->id);
        say_frame(&l, ev->frame);
        bytes = ev->frame->whole;
        break;
    case CL_EV_LEAVE:
        say(&l, " leave");
        break;
    }
    add(t, &l, bytes);
}

static const char *name_of_action(enum cl_action_type type)
{
    static const char *const names[] = {
        [CL_ACT_DIAL] = "dial",     [CL_ACT_LINK_CLOSE] = "close", [CL_ACT_MEMBER] = "member",
        [CL_ACT_READER] = "reader", [CL_ACT_ACTORS] = "actors",    [CL_ACT_EPOCH] = "epoch",
        [CL_ACT_FATAL] = "fatal",
    };

    return names[type];
}

void cl_trace_action(struct cl_trace *t, cl_ms now, const struct cl_action *a)
{
    struct line l = begin(t);

    say_time(&l, now);
    switch (a->type) {
    case CL_ACT_EDGE_SEND:
        say(&l, " send edges=%lx", (unsigned long)a->edges);
        say_bytes(&l, a->bytes);
        break;
    case CL_ACT_EDGE_CUT:
        say(&l, " cut edge=%u reason=\"%s\"", a->edge, a->reason);
        break;
    case CL_ACT_UDP_SEND:
        say(&l, " udp send bytes=%zu", a->bytes.n);
        break;
    case CL_ACT_LINK_SEND:
        say(&l, " link send nodes=%lx", (unsigned long)a->nodes.w[0]);
        say_bytes(&l, a->bytes);
        break;
    case CL_ACT_DIAL:
    case CL_ACT_LINK_CLOSE:
    case CL_ACT_MEMBER:
    case CL_ACT_READER:
    case CL_ACT_ACTORS:
    case CL_ACT_EPOCH:
    case CL_ACT_FATAL:
        say(&l, " %s id=%lx %s", name_of_action(a->type), (unsigned long)a->id,
            a->state == NULL ? "" : a->state);
        break;
    }
    add(t, &l, a->bytes);
}

void cle_trace_frame(struct cl_trace *t, cl_ms now, uint32_t index, const struct pr_frame *f)
{
    struct line l = begin(t);

    say_time(&l, now);
    say(&l, " e%u in", index);
    say_frame(&l, f);
    add(t, &l, f->whole);
}

/* The bytes behind an action, for the hash; not all of them have some. */
static struct pr_slice say_action(struct line *l, const struct cle_action *a)
{
    struct pr_slice bytes = {0};

    switch (a->type) {
    case CLE_SEND:
        say(l, " send");
        say_bytes(l, a->bytes);
        return a->bytes;
    case CLE_SUBSCRIBED:
        say(l, " subscribed topic=%u", a->topic);
        break;
    case CLE_SUB_FAILED:
        say(l, " sub_failed topic=%u", a->topic);
        break;
    case CLE_EVENT:
        say(l, " event topic=%u own=%d cookie=%lu bytes=%zu", a->topic, a->own,
            (unsigned long)a->cookie, a->payload.n);
        return a->payload;
    case CLE_PUB_DONE:
        say(l, " pub_done cookie=%lu result=%u", (unsigned long)a->cookie, a->result);
        break;
    case CLE_PRES_VIEW:
        say(l, " view topic=%u count=%u last=%d", a->topic, a->view.count, a->view.last);
        return a->view.list;
    case CLE_PRES_DIFF:
        say(l, " diff topic=%u joins=%u leaves=%u", a->topic, a->diff.njoins, a->diff.nleaves);
        return a->diff.joins;
    case CLE_PRES_RESET:
        say(l, " reset topic=%u", a->topic);
        break;
    case CLE_GAP:
        say(l, " gap topic=%u lost=%lu", a->topic, (unsigned long)a->lost);
        break;
    }
    return bytes;
}

void cle_trace_action(struct cl_trace *t, cl_ms now, uint32_t index, const struct cle_action *a)
{
    struct line l = begin(t);
    struct pr_slice bytes;

    say_time(&l, now);
    say(&l, " e%u", index);
    bytes = say_action(&l, a);
    add(t, &l, bytes);
}
