/* SPDX-License-Identifier: Apache-2.0 */
/* look_topics.c - topics, their owners and their presence, for realtimectl. */
#include <stdio.h>
#include <string.h>

#include "cluster/hash.h"
#include "node/owner/changes.h"
#include "node/owner/look.h"
#include "proto/json_write.h"

/* The owner and those that would be next. */
#define RANKS  3u
#define PREFIX "realtime:"
/* Topics that one question names. */
#define NAMES_MAX 1000u

struct name_of {
    uint64_t id;
    char text[PR_ID_MAX + 1];
};

/* Rows under way. Names are looked up once per node, not once per row. */
struct rows {
    struct ask *q;
    const char *project; /* no others are of interest; NULL: they are */
    struct name_of names[CL_NODES_MAX];
    uint32_t nnames;
    uint32_t count;
    uint8_t *line;
    size_t cap;
};

static void keep_name(void *ctx, const struct cl_member_row *m)
{
    struct rows *r = ctx;

    if (r->nnames < CL_NODES_MAX) {
        struct name_of *n = &r->names[r->nnames++];

        n->id = m->id;
        (void)snprintf(n->text, sizeof n->text, "%.*s", (int)m->name.n, (const char *)m->name.p);
    }
}

static struct rows *rows_begin(struct ask *q)
{
    struct rows *r = rt_calloc(1, sizeof *r);

    r->q = q;
    cl_inspect_members(q->owner->cl, keep_name, r);
    return r;
}

static void rows_end(struct rows *r)
{
    rt_free(r->line);
    rt_free(r);
}

/* NULL: not known. */
static const char *name_in(const struct rows *r, uint64_t id)
{
    if (id == r->q->owner->node_id) {
        return r->q->owner->cfg->node;
    }
    for (uint32_t i = 0; i < r->nnames; i++) {
        if (r->names[i].id == id) {
            return r->names[i].text;
        }
    }
    return NULL;
}

/* One more row is wanted. False: there are too many, and it is counted. */
static bool room(struct rows *r)
{
    if (r->count == RT_LOOK_ROWS_MAX) {
        rt_ask_left_out(r->q);
        return false;
    }
    r->count++;
    return true;
}

/* Memory for a row of at most `n` bytes. */
static struct pr_outbuf line(struct rows *r, size_t n)
{
    if (n > r->cap) {
        r->line = rt_realloc(r->line, n);
        r->cap = n;
    }
    return pr_outbuf(r->line, r->cap);
}

static void send_line(struct rows *r, struct pr_outbuf *o)
{
    pr_put_str(o, "}");
    if (pr_out_ok(o)) {
        rt_ask_text(r->q, pr_bytes(o->p, o->len));
    } else {
        rt_ask_left_out(r->q);
    }
}

static void put_text(struct pr_outbuf *o, const char *field, struct pr_slice value)
{
    pr_put_str(o, field);
    pr_put_json_str(o, value);
}

static void put_name(struct pr_outbuf *o, const char *field, const char *name)
{
    pr_put_str(o, field);
    if (name == NULL) {
        pr_put_str(o, "null");
    } else {
        pr_put_json_cstr(o, name);
    }
}

static void put_number(struct pr_outbuf *o, const char *field, uint64_t v)
{
    pr_put_str(o, field);
    pr_put_dec(o, v);
}

static void put_hex(struct pr_outbuf *o, const char *field, uint64_t v)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)v);
    put_name(o, field, text);
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

/* Key of a topic as an operator names it, with "realtime:" or without; `memory` has
 * PR_TOPIC_KEY_MAX bytes. Empty: too long. */
static struct pr_slice key_of(const char *project, const char *topic, bool private_topic,
                              uint8_t *memory)
{
    struct pr_outbuf out = pr_outbuf(memory, PR_TOPIC_KEY_MAX);

    if (strncmp(topic, PREFIX, strlen(PREFIX)) == 0) {
        topic += strlen(PREFIX);
    }
    pr_put_str(&out, project);
    pr_put_u8(&out, 0);
    pr_put_u8(&out, private_topic ? '1' : '0');
    pr_put_str(&out, topic);
    return pr_bytes(memory, pr_out_ok(&out) ? out.len : 0);
}

/* Named by the question; NULL: it names none. */
static const char *named_project(const json_t *args)
{
    return json_string_value(json_object_get(args, "project"));
}

/* That is meant: who asks has to name it, if there are several. */
static const char *project_of(const struct ask *q, const json_t *args)
{
    const char *name = named_project(args);

    if (name == NULL) {
        name = rt_changes_project(q->owner, 0);
    }
    return name != NULL ? name : q->owner->cfg->project;
}

static void topic_row(void *ctx, const struct cl_topic_row *row)
{
    struct rows *r = ctx;
    struct pr_slice project, name;
    bool private_topic;
    struct pr_outbuf o;

    if (!split_key(row->topic, &project, &private_topic, &name) ||
        (r->project != NULL && !pr_slice_is(project, r->project)) || !room(r)) {
        return;
    }
    o = line(r, 6 * row->topic.n + 1024);
    put_text(&o, "{\"topic\":", name);
    put_text(&o, ",\"project\":", project);
    pr_put_str(&o, private_topic ? ",\"private\":true" : ",\"private\":false");
    put_number(&o, ",\"partition\":", row->part);
    put_name(&o, ",\"owner\":", name_in(r, row->owner));
    put_number(&o, ",\"nodes\":", row->nodes);
    put_number(&o, ",\"edges\":", row->edges);
    put_number(&o, ",\"presences\":", row->presences);
    put_number(&o, ",\"seq\":", row->seq);
    put_number(&o, ",\"lost\":", row->lost);
    put_number(&o, ",\"repeats\":", row->repeats);
    put_hex(&o, ",\"epoch\":", row->epoch.boot);
    send_line(r, &o);
}

void rt_look_topics(struct ask *q, const json_t *args)
{
    const json_t *names = json_object_get(args, "names");
    uint8_t key[PR_TOPIC_KEY_MAX];
    struct rows *r;

    if (json_object_get(args, "top") != NULL) {
        return;
    }
    r = rows_begin(q);
    r->project = named_project(args);
    if (!json_is_array(names)) {
        cl_inspect_topics(q->owner->cl, topic_row, r);
    }
    for (size_t i = 0; i < json_array_size(names) && i < NAMES_MAX; i++) {
        const char *name = json_string_value(json_array_get(names, i));

        for (uint32_t p = 0; name != NULL && rt_changes_project(q->owner, p) != NULL; p++) {
            for (int v = 0; v <= 1; v++) {
                cl_inspect_topic(q->owner->cl,
                                 key_of(rt_changes_project(q->owner, p), name, v == 1, key),
                                 topic_row, r);
            }
        }
    }
    rows_end(r);
}

/* ---- who owns it ---- */

struct held {
    bool found;
    uint64_t seq;
    uint32_t nodes, edges;
};

static void on_held(void *ctx, const struct cl_topic_row *row)
{
    struct held *h = ctx;

    *h = (struct held){true, row->seq, row->nodes, row->edges};
}

static void ring_topic(struct ask *q, const char *project, const char *topic)
{
    const struct owner *o = q->owner;
    uint8_t memory[PR_TOPIC_KEY_MAX];
    struct pr_slice key = key_of(project, topic, false, memory);
    uint64_t ids[RANKS];
    uint32_t part, n;
    struct held held = {0};
    json_t *next = json_array();
    json_t *row;

    if (key.n == 0) {
        json_decref(next);
        rt_ask_error(q, "the name of the topic is too long");
        return;
    }
    part = cl_partition(key);
    n = cl_rank_of(o->cl, part, ids, RANKS);
    cl_inspect_topic(o->cl, key, on_held, &held);
    for (uint32_t i = 1; i < n; i++) {
        (void)json_array_append_new(next, json_string(rt_look_name(o, ids[i]).text));
    }
    row = json_pack("{s:s, s:i, s:o, s:o}", "topic", topic, "partition", (int)part, "owner",
                    cl_owner_of(o->cl, part) == 0
                        ? json_null()
                        : json_string(rt_look_name(o, cl_owner_of(o->cl, part)).text),
                    "next", next);
    if (row != NULL) {
        char text[24];

        (void)snprintf(text, sizeof text, "%016llx", (unsigned long long)cl_view(o->cl));
        (void)json_object_set_new(row, "view", json_string(text));
        (void)json_object_set_new(row, "held", json_boolean(held.found));
        (void)json_object_set_new(row, "edges", json_integer(held.edges));
        (void)json_object_set_new(row, "nodes", json_integer(held.nodes));
        (void)json_object_set_new(row, "seq", json_integer((json_int_t)held.seq));
        rt_ask_row(q, row);
    }
}

void rt_look_ring(struct ask *q, const json_t *args)
{
    const char *topic = json_string_value(json_object_get(args, "topic"));

    if (topic != NULL) {
        ring_topic(q, project_of(q, args), topic);
        return;
    }
    rt_look_self(q, true);
    if (q->asker != NULL || json_is_true(json_object_get(args, "pairs"))) {
        rt_look_member_rows(q);
    }
}

/* ---- presence ---- */

/* Raw JSON of a client, on one line: a line feed can only stand between its tokens. */
static void put_raw(struct pr_outbuf *o, struct pr_slice json)
{
    for (size_t i = 0; i < json.n; i++) {
        pr_put_u8(o, json.p[i] == '\n' || json.p[i] == '\r' ? ' ' : json.p[i]);
    }
}

static void presence_row(void *ctx, const struct cl_presence_row *row)
{
    struct rows *r = ctx;
    struct pr_slice project, name;
    bool private_topic;
    char ref[PR_PHX_REF_LEN];
    struct pr_outbuf o;

    if (!split_key(row->topic, &project, &private_topic, &name) || !room(r)) {
        return;
    }
    pr_phx_ref(row->actor, row->n, ref);
    o = line(r, 6 * (row->topic.n + row->key.n) + row->meta.n + 1024);
    put_text(&o, "{\"key\":", row->key);
    put_text(&o, ",\"phx_ref\":", pr_bytes(ref, sizeof ref));
    pr_put_str(&o, ",\"meta\":");
    put_raw(&o, row->meta.n == 0 ? pr_str("null") : row->meta);
    put_hex(&o, ",\"actor\":", row->actor);
    put_name(&o, ",\"home\":", name_in(r, cl_home_of(r->q->owner->cl, row->actor)));
    pr_put_str(&o, row->visible ? ",\"visible\":true" : ",\"visible\":false");
    put_text(&o, ",\"topic\":", name);
    pr_put_str(&o, private_topic ? ",\"private\":true" : ",\"private\":false");
    send_line(r, &o);
}

/* A sum, so that the order of entries does not matter: equal sets have equal digests. */
struct digest {
    uint64_t shown, hidden, sum;
};

static void add_entry(void *ctx, const struct cl_presence_row *row)
{
    struct digest *d = ctx;

    d->hidden += !row->visible;
    if (row->visible) {
        d->shown++;
        d->sum += cl_mix64(row->actor ^ cl_mix64(row->n));
    }
}

static void digest_row(struct rows *r, struct pr_slice key)
{
    struct digest d = {0};
    struct held held = {0};
    struct pr_slice project, name;
    bool private_topic;
    struct pr_outbuf o;

    cl_inspect_topic(r->q->owner->cl, key, on_held, &held);
    cl_inspect_presence(r->q->owner->cl, key, add_entry, &d);
    if ((!held.found && d.shown + d.hidden == 0) ||
        !split_key(key, &project, &private_topic, &name)) {
        return;
    }
    o = line(r, 6 * key.n + 1024);
    put_text(&o, "{\"topic\":", name);
    pr_put_str(&o, private_topic ? ",\"private\":true" : ",\"private\":false");
    put_name(&o, ",\"owner\":", name_in(r, cl_owner_of(r->q->owner->cl, cl_partition(key))));
    put_number(&o, ",\"shown\":", d.shown);
    put_number(&o, ",\"hidden\":", d.hidden);
    put_hex(&o, ",\"digest\":", d.sum);
    send_line(r, &o);
}

void rt_look_presence(struct ask *q, const json_t *args)
{
    const char *topic = json_string_value(json_object_get(args, "topic"));
    bool digest = json_is_true(json_object_get(args, "digest"));
    uint8_t memory[PR_TOPIC_KEY_MAX];
    struct rows *r;

    if (topic == NULL) {
        rt_ask_error(q, "presence needs the name of a topic");
        return;
    }
    r = rows_begin(q);
    for (int v = 0; v <= 1; v++) { /* the public topic of that name, and the private */
        struct pr_slice key = key_of(project_of(q, args), topic, v == 1, memory);

        if (digest) {
            digest_row(r, key);
        } else {
            cl_inspect_presence(q->owner->cl, key, presence_row, r);
        }
    }
    rows_end(r);
}
