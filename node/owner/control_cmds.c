/* SPDX-License-Identifier: Apache-2.0 */
/* control_cmds.c - answers to realtimectl: own rows at once, those of edges and db gathered. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

#include "node/owner/owner_in.h"

static void add_row(struct rt_asker *a, json_t *row)
{
    char *text = json_dumps(row, JSON_COMPACT);

    if (text != NULL) {
        size_t n = strlen(text);

        text[n] = '\n'; /* in the place of the NUL: a row ends with a line feed */
        rt_asker_rows(a, pr_bytes(text, n + 1));
        rt_free(text);
    }
    json_decref(row);
}

static void add_error(struct rt_asker *a, const char *text)
{
    add_row(a, json_pack("{s:s}", "error", text));
}

static void status(struct owner *o, struct rt_asker *a)
{
    struct cl_stats s;
    int edges = 0;

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        edges += o->edge[i] != NULL;
    }
    cl_stats(o->cl, &s);
    add_row(a, json_pack("{s:s, s:i, s:b, s:I, s:I, s:I}", "node", o->cfg->node, "edges_attached",
                         edges, "db_attached", o->db != NULL, "topics", (json_int_t)s.topics,
                         "presences", (json_int_t)s.presences, "events", (json_int_t)s.events));
}

/* A topic key is project, NUL, '0' or '1', name. */
static bool split_key(struct pr_slice key, struct pr_slice *project, bool *private_topic,
                      struct pr_slice *name)
{
    struct pr_cursor c = pr_cursor(key);

    *project = pr_get_cstr(&c);
    *private_topic = pr_get_u8(&c) == '1';
    *name = pr_get_bytes(&c, c.left);
    return !c.failed;
}

static json_t *text_json(struct pr_slice s)
{
    return json_stringn_nocheck((const char *)s.p, s.n);
}

static void topic_row(void *ctx, const struct cl_topic_row *row)
{
    struct rt_asker *a = ctx;
    struct pr_slice project, name;
    bool private_topic;
    char epoch[64];

    if (!split_key(row->topic, &project, &private_topic, &name)) {
        return;
    }
    (void)snprintf(epoch, sizeof epoch, "%llx/%u", (unsigned long long)row->epoch.boot,
                   row->epoch.count);
    add_row(a, json_pack("{s:o, s:o, s:b, s:i, s:i, s:i, s:I, s:s, s:I}", "topic", text_json(name),
                         "project", text_json(project), "private", private_topic, "partition",
                         (int)row->part, "edges", (int)row->edges, "presences", (int)row->presences,
                         "seq", (json_int_t)row->seq, "epoch", epoch, "repeats",
                         (json_int_t)row->repeats));
}

static void presence_row(void *ctx, const struct cl_presence_row *row)
{
    struct rt_asker *a = ctx;
    char ref[PR_PHX_REF_LEN];
    char actor[24];
    json_t *meta = json_loadb((const char *)row->meta.p, row->meta.n, 0, NULL);

    pr_phx_ref(row->actor, row->n, ref);
    (void)snprintf(actor, sizeof actor, "%016llx", (unsigned long long)row->actor);
    add_row(a, json_pack("{s:o, s:s%, s:o?, s:s, s:b}", "key", text_json(row->key), "phx_ref", ref,
                         sizeof ref, "meta", meta, "actor", actor, "visible", row->visible));
}

static void presence(struct owner *o, struct rt_asker *a, struct pr_slice args)
{
    json_t *j = json_loadb((const char *)args.p, args.n, 0, NULL);
    const char *topic = json_string_value(json_object_get(j, "topic"));
    uint8_t key[PR_TOPIC_KEY_MAX];

    if (topic == NULL) {
        add_error(a, "presence needs the name of a topic");
    } else {
        /* The public topic of that name, and the private. */
        for (unsigned v = '0'; v <= '1'; v++) {
            struct pr_outbuf out = pr_outbuf(key, sizeof key);

            pr_put_str(&out, o->cfg->project);
            pr_put_u8(&out, 0);
            pr_put_u8(&out, (uint8_t)v);
            pr_put_str(&out, topic);
            if (pr_out_ok(&out)) {
                cl_inspect_presence(o->cl, pr_bytes(key, out.len), presence_row, a);
            }
        }
    }
    json_decref(j);
}

static void finish(struct ask *q)
{
    rt_timer_clear(&q->timer);
    if (q->asker != NULL) {
        rt_asker_set_user(q->asker, NULL);
        rt_asker_end(q->asker);
    }
    q->asker = NULL;
}

/* Who has not ended its answer in time is named. */
static void on_ask_timeout(void *ctx)
{
    struct ask *q = ctx;
    char text[80];

    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if ((q->edges >> i & 1u) != 0) {
            (void)snprintf(text, sizeof text, "edge %u did not answer in time", i);
            add_error(q->asker, text);
        }
    }
    if (q->db) {
        add_error(q->asker, "db did not answer in time");
    }
    finish(q);
}

static bool send_ctl(struct peer *p, uint32_t id, struct pr_slice cmd, struct pr_slice args)
{
    struct pr_ctl m = {.id = id, .cmd = cmd, .args = args};
    struct pr_outbuf size = pr_outbuf(NULL, 0);
    struct pr_outbuf out;
    bool ok;

    pr_ctl_encode(&size, &m);
    out = rt_ipc_reserve(p->ipc, size.len, &ok);
    if (ok) {
        pr_ctl_encode(&out, &m);
        rt_ipc_commit(p->ipc, &out);
    }
    return ok;
}

static struct ask *new_ask(struct owner *o, struct rt_asker *a)
{
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        struct ask *q = &o->asks[i];

        if (q->asker == NULL) {
            q->asker = a;
            q->id = ++o->next_id;
            q->edges = 0;
            q->db = false;
            q->stream = false;
            rt_asker_set_user(a, q);
            return q;
        }
    }
    return NULL; /* cannot be: the control server takes no more askers than there are slots */
}

static void ask_edges(struct owner *o, struct ask *q, struct pr_slice cmd, struct pr_slice args,
                      bool one)
{
    for (uint32_t i = 0; i < RT_EDGES_MAX; i++) {
        if (o->edge[i] != NULL && send_ctl(o->edge[i], q->id, cmd, args)) {
            q->edges |= UINT64_C(1) << i;
            if (one) {
                return;
            }
        }
    }
    if (q->edges == 0) {
        add_error(q->asker, "no edge process is attached");
    }
}

static void gather(struct owner *o, struct rt_asker *a, struct pr_slice cmd, struct pr_slice args)
{
    struct ask *q = new_ask(o, a);
    bool stream = pr_slice_is(cmd, "sub");

    assert(q != NULL);
    q->stream = stream;
    if (pr_slice_is(cmd, "slots")) {
        q->db = o->db != NULL && send_ctl(o->db, q->id, cmd, args);
        if (!q->db) {
            add_error(a, "the db process is not attached");
        }
    } else {
        ask_edges(o, q, cmd, args, stream || pr_slice_is(cmd, "pub"));
    }
    if (q->edges == 0 && !q->db) {
        finish(q);
    } else if (!stream) {
        rt_timer_set(&q->timer, RT_CONTROL_TIMEOUT_MS);
    }
}

static void on_request(void *ctx, struct rt_asker *a, struct pr_slice cmd, struct pr_slice args)
{
    static const char *const gathered[] = {"connections", "channels", "pub", "sub", "slots"};
    struct owner *o = ctx;

    for (size_t i = 0; i < sizeof gathered / sizeof gathered[0]; i++) {
        if (pr_slice_is(cmd, gathered[i])) {
            gather(o, a, cmd, args);
            return;
        }
    }
    if (pr_slice_is(cmd, "status")) {
        status(o, a);
    } else if (pr_slice_is(cmd, "topics")) {
        cl_inspect_topics(o->cl, topic_row, a);
    } else if (pr_slice_is(cmd, "presence")) {
        presence(o, a, args);
    } else {
        add_error(a, "unknown command");
    }
    rt_asker_end(a);
}

static void on_gone(void *ctx, struct rt_asker *a)
{
    struct owner *o = ctx;
    struct ask *q = rt_asker_user(a);

    if (q == NULL) {
        return;
    }
    for (uint32_t i = 0; q->stream && i < RT_EDGES_MAX; i++) {
        if ((q->edges >> i & 1u) != 0 && o->edge[i] != NULL) {
            (void)send_ctl(o->edge[i], q->id, pr_str(RT_CONTROL_CANCEL), pr_str("{}"));
        }
    }
    q->asker = NULL;
    rt_timer_clear(&q->timer);
}

/* This process has said all it has to say to this question. */
static void ended(struct ask *q, const struct peer *p)
{
    if (p->role == PR_ROLE_EDGE) {
        q->edges &= ~(UINT64_C(1) << p->index);
    } else {
        q->db = false;
    }
    if (q->edges == 0 && !q->db) {
        finish(q);
    }
}

void rt_owner_on_ctl_reply(struct owner *o, const struct peer *from, const struct pr_frame *f)
{
    struct pr_ctl_reply m;
    struct ask *q = NULL;

    if (pr_ctl_reply_decode(f, &m) != PR_OK) {
        rt_log(o->args->log, RT_WARN, "bad_ctl_reply", rt_kv_u("index", from->index));
        return;
    }
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        if (o->asks[i].asker != NULL && o->asks[i].id == m.id) {
            q = &o->asks[i];
        }
    }
    if (q == NULL) {
        return; /* too late: the asker is gone or was told of a timeout */
    }
    if (m.rows.n > 0) {
        rt_asker_rows(q->asker, m.rows);
    }
    if (m.last) {
        ended(q, from);
    }
}

void rt_owner_asks_lost(struct owner *o, const struct peer *gone)
{
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        struct ask *q = &o->asks[i];
        bool asked = gone->role == PR_ROLE_EDGE ? (q->edges >> gone->index & 1u) != 0
                                                : gone->role == PR_ROLE_DB && q->db;

        if (q->asker != NULL && asked) {
            char text[64];

            (void)snprintf(text, sizeof text, "%s %u ended while it was asked",
                           gone->role == PR_ROLE_EDGE ? "edge" : "db", gone->index);
            add_error(q->asker, text);
            ended(q, gone);
        }
    }
}

int rt_owner_control_open(struct owner *o, struct rt_error *err)
{
    static const struct rt_control_events events = {.on_request = on_request, .on_gone = on_gone};
    char path[256];

    if (rt_config_path(o->cfg, "control.sock", path, sizeof path) != 0) {
        return rt_error_set(err, RT_ECONFIG, "REALTIME_RUNTIME_DIR is too long for a socket");
    }
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        rt_timer_init(o->loop, &o->asks[i].timer, on_ask_timeout, &o->asks[i]);
        o->asks[i].owner = o;
    }
    o->control = rt_control_listen(o->loop, path, &events, o, err);
    return o->control != NULL ? RT_OK : err->code;
}

void rt_owner_control_free(struct owner *o)
{
    if (o->control == NULL) {
        return;
    }
    rt_control_close(o->control);
    for (uint32_t i = 0; i < RT_CONTROL_ASKERS_MAX; i++) {
        rt_timer_close(&o->asks[i].timer, NULL);
    }
}
