/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One frame of changes to the channels that it is for.
 *
 * Repeats: a reader that starts again sends from the position that was confirmed last; what is not
 * after the position taken is dropped. The position is acknowledged when the messages are in the
 * sockets' queues: from then on only a client that leaves can miss them.
 */
#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/edge/changes.h"
#include "node/edge/linger.h"
#include "node/edge/link.h"
#include "node/edge/registrations.h"
#include "node/edge/say.h"
#include "node/edge/socket.h"
#include "proto/json_write.h"

/* Encoded messages of one body kept for the next channels: those of one topic with equal ids. */
#define FORMS 16u

struct form {
    const struct rt_topic *topic;
    struct rt_frame *frame; /* NULL: unused */
    uint32_t nids;
    uint32_t ids[PR_JOIN_BINDINGS_MAX];
    uint8_t vsn;
    bool legacy;
};

static void touch(struct rt_changes *c, const struct rt_reg_user *u, struct pr_pos pos)
{
    struct rt_bindings *v = u->channel->changes;

    if (!rt_linger_first(v, u->index, pos)) {
        return;
    }
    if (v->mark != c->mark) {
        v->mark = c->mark;
        v->hits[0] = 0;
        v->hits[1] = 0;
        if (c->ntouched == c->touched_cap) {
            c->touched_cap = c->touched_cap == 0 ? 64 : c->touched_cap * 2;
            c->touched = rt_realloc(c->touched, c->touched_cap * sizeof(struct rt_channel *));
        }
        c->touched[c->ntouched++] = u->channel;
    }
    v->hits[u->index / 64] |= UINT64_C(1) << (u->index % 64);
}

static uint32_t ids_of(const struct rt_bindings *v, uint32_t ids[PR_JOIN_BINDINGS_MAX])
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < v->count; i++) {
        if ((v->hits[i / 64] >> (i % 64) & 1) != 0) {
            ids[n++] = v->at[i].id;
        }
    }
    return n;
}

static const char *kind_name(uint32_t kind)
{
    switch (kind) {
    case PR_K_INSERT:
        return "INSERT";
    case PR_K_UPDATE:
        return "UPDATE";
    default:
        return "DELETE";
    }
}

struct words {
    const struct form *form;
    const struct pr_chg_body *body;
    struct pr_slice payload;
};

static void put_payload(struct pr_outbuf *o, const void *arg)
{
    const struct words *w = arg;

    pr_put_str(o, "{\"ids\":[");
    for (uint32_t i = 0; i < w->form->nids; i++) {
        pr_put_str(o, i == 0 ? "" : ",");
        pr_put_dec(o, w->form->ids[i]);
    }
    pr_put_str(o, "],\"data\":");
    pr_put_slice(o, w->body->data);
    pr_put_str(o, "}");
}

static void put_message(struct pr_outbuf *o, const void *arg)
{
    const struct words *w = arg;
    struct pr_phx_addr to = {.topic = rt_topic_name(w->form->topic)};

    pr_phx_put_push(o, (enum pr_vsn)w->form->vsn, &to,
                    w->form->legacy ? kind_name(w->body->kind) : "postgres_changes", w->payload);
}

static void encode(struct rt_edge *e, struct form *form, const struct pr_chg_body *body)
{
    struct words w = {.form = form, .body = body, .payload = body->data};

    if (!form->legacy) {
        w.payload = rt_scratch_text(e, put_payload, &w);
    }
    form->frame = rt_frame_make(PR_WS_TEXT, put_message, &w);
}

static void deliver(struct rt_channel *ch, const struct pr_chg_body *body, struct form forms[FORMS])
{
    struct rt_edge *e = ch->socket->edge;
    struct form want = {.topic = ch->topic, .vsn = ch->socket->vsn, .legacy = ch->legacy};
    struct form *have = NULL;
    uint64_t hash = 0;

    want.nids = ids_of(ch->changes, want.ids);
    hash = XXH3_64bits_withSeed(want.ids, want.nids * sizeof want.ids[0],
                                ch->topic->hash + want.vsn + (want.legacy ? 2u : 0u));
    have = &forms[hash % FORMS];
    if (have->frame == NULL || have->topic != want.topic || have->vsn != want.vsn ||
        have->legacy != want.legacy || have->nids != want.nids ||
        memcmp(have->ids, want.ids, want.nids * sizeof want.ids[0]) != 0) {
        rt_frame_unref(have->frame);
        *have = want;
        encode(e, have, body);
    }
    rt_socket_queue(ch->socket, have->frame);
    rt_pace_sent(ch->socket);
    rt_project_count(ch->socket->project, RT_M_CHANGES_OUT, 1);
}

/* Joined, and no entry of it was refused. */
static bool hears(const struct rt_channel *ch)
{
    struct pr_slice message;

    return ch->pending == NULL && rt_changes_verdict(ch, &message) != RT_VERDICT_REFUSED;
}

static int fan_body(struct rt_project *project, const struct pr_chg_body *body)
{
    struct rt_edge *e = project->edge;
    struct rt_changes *c = project->changes;
    struct form forms[FORMS];
    struct pr_slice targets = body->targets;
    uint64_t boot = 0;
    uint32_t handle = 0;
    int rv = 0;

    for (uint32_t i = 0; i < FORMS; i++) {
        forms[i].frame = NULL;
    }
    c->mark++;
    c->ntouched = 0;
    while ((rv = pr_chg_targets_next(&targets, &boot, &handle)) == 1) {
        const struct rt_reg *r = boot == e->args->boot ? rt_reg_of(c, handle) : NULL;

        if (r == NULL && boot == e->args->boot) {
            rt_reg_gone(project, handle);
        }
        for (uint32_t i = 0; r != NULL && i < r->nusers; i++) {
            touch(c, &r->users[i], body->pos);
        }
    }
    for (uint32_t i = 0; i < c->ntouched; i++) {
        if (hears(c->touched[i])) {
            deliver(c->touched[i], body, forms);
        }
    }
    for (uint32_t i = 0; i < FORMS; i++) {
        rt_frame_unref(forms[i].frame);
    }
    return rv;
}

static void put_ok(struct pr_outbuf *o, const void *msg)
{
    pr_chg_ok_encode(o, msg);
}

int rt_changes_take(struct rt_project *project, const struct pr_frame *f, size_t *done)
{
    struct rt_edge *e = project->edge;
    struct rt_changes *c = project->changes;
    struct pr_chg_ok ok = {.boot = e->args->boot};
    struct pr_chg_body body;
    struct pr_slice left;
    struct pr_chg m;
    int rv = pr_chg_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    if (m.stream != c->stream) {
        c->stream = m.stream;
        c->taken = (struct pr_pos){0};
    }
    left = pr_bytes(m.bodies.p + *done, m.bodies.n - *done);
    while (!rt_pace_waits(project) && (rv = pr_chg_bodies_next(&left, &body)) == 1) {
        if (pr_pos_cmp(body.pos, c->taken) > 0 && fan_body(project, &body) != 0) {
            return PR_ESYNTAX;
        }
    }
    if (rv < 0) {
        return rv;
    }
    if (left.n > 0) {
        *done = m.bodies.n - left.n;
        return 1;
    }
    if (pr_pos_cmp(m.last, c->taken) > 0) {
        c->taken = m.last;
    }
    ok.project = m.project;
    ok.stream = m.stream;
    ok.pos = c->taken;
    rt_link_send(e, put_ok, &ok);
    return PR_OK;
}

int rt_changes_fan(struct rt_project *project, const struct pr_frame *f)
{
    size_t done = 0;
    int rv = rt_pace_busy(project) ? 1 : rt_changes_take(project, f, &done);

    if (rv > 0) {
        rt_pace_hold(project, f, done);
        rv = PR_OK;
    }
    return rv;
}

int rt_changes_pass(struct rt_edge *e, const struct pr_frame *f)
{
    struct pr_chg_ok ok = {.boot = e->args->boot};
    struct pr_chg m;
    int rv;

    if (f->type != PR_T_CHG) {
        return PR_OK;
    }
    rv = pr_chg_decode(f, &m);
    if (rv != PR_OK) {
        return rv;
    }
    ok.project = m.project;
    ok.stream = m.stream;
    ok.pos = m.last;
    rt_link_send(e, put_ok, &ok);
    return PR_OK;
}
