/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/ctl_in.h"

#include <stdio.h>
#include <string.h>

#include "node/base/control.h"
#include "node/edge/broadcast.h"
#include "node/edge/projects.h"
#include "node/edge/say.h"
#include "node/edge/topics.h"

/* One `sub` that streams. */
struct rt_observer {
    struct rt_observer *next;     /* of the topic */
    struct rt_observer *all_next; /* of the edge */
    struct rt_topic *topic;
    uint32_t id;
};

/* Most topics that a question for the largest is told, and that one for all is. */
#define TOP_MAX     1000u
#define TOPICS_TOLD 50000u

static bool wanted(const struct rt_rows *r, const struct rt_project *project)
{
    return r->only == NULL || r->only == project;
}

/* Rows of the project that the arguments name, or of all. False: it is not known here, and that has
 * been answered. */
static bool begin(struct rt_rows *r, struct rt_edge *e, const struct pr_ctl *m,
                  struct pr_outbuf *scratch)
{
    const struct rt_project *only = NULL;
    struct pr_json v;

    if (pr_json_member(m->args, "project", &v) == 1) {
        only = rt_ctl_project(e, m, scratch);
        if (only == NULL) {
            return false;
        }
    }
    rt_rows_begin(r, e, m->id);
    r->only = only;
    return true;
}

static void connections(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch)
{
    struct rt_rows r;

    if (!begin(&r, e, m, scratch)) {
        return;
    }
    for (const struct rt_socket *s = e->sockets; s != NULL; s = s->next) {
        if (!wanted(&r, s->project)) {
            continue;
        }
        rt_row_put_head(&r, s);
        pr_put_str(&r.o, s->vsn == PR_VSN_1 ? ",\"vsn\":\"1.0.0\"" : ",\"vsn\":\"2.0.0\"");
        pr_put_str(&r.o, ",\"role\":");
        pr_put_json_str(&r.o, s->token->role);
        pr_put_str(&r.o, ",\"channels\":");
        pr_put_dec(&r.o, s->nchannels);
        pr_put_str(&r.o, ",\"queued_bytes\":");
        pr_put_dec(&r.o, s->out.bytes);
        pr_put_str(&r.o, ",\"silent_ms\":");
        pr_put_dec(&r.o, e->now_ms - s->seen_ms);
        rt_row_end(&r);
    }
    rt_rows_end(&r);
}

static void channels(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch)
{
    struct rt_rows r;

    if (!begin(&r, e, m, scratch)) {
        return;
    }
    for (const struct rt_socket *s = e->sockets; s != NULL; s = s->next) {
        const struct rt_channel *ch = wanted(&r, s->project) ? s->channels : NULL;

        for (; ch != NULL; ch = ch->next) {
            rt_row_put_head(&r, s);
            pr_put_str(&r.o, ",\"topic\":");
            pr_put_json_str(&r.o, rt_topic_name(ch->topic));
            pr_put_str(&r.o, ",\"role\":");
            pr_put_json_str(&r.o, ch->token->role);
            rt_row_put_flag(&r.o, "joined", ch->pending == NULL);
            rt_row_put_flag(&r.o, "presence", ch->presence_on);
            rt_row_put_flag(&r.o, "changes", ch->changes != NULL);
            rt_row_end(&r);
        }
    }
    rt_rows_end(&r);
}

static uint32_t members_of(const struct rt_topic *t)
{
    return t->seats[0].count + t->seats[1].count;
}

static void topic_row(struct rt_rows *r, const struct rt_topic *t)
{
    size_t kind = rt_topic_key(t).n - rt_topic_sub(t).n - 1;

    rt_row_put_edge(r);
    rt_row_put_project(r, t->project);
    pr_put_str(&r->o, ",\"topic\":");
    pr_put_json_str(&r->o, rt_topic_sub(t));
    rt_row_put_flag(&r->o, "private", rt_topic_key(t).p[kind] == '1');
    pr_put_str(&r->o, ",\"members\":");
    pr_put_dec(&r->o, members_of(t));
    rt_row_end(r);
}

/* The topics with most members, at most `n`, in no order. */
static void top_topics(struct rt_rows *r, uint32_t n)
{
    const struct rt_topics *v = &r->edge->topics;
    const struct rt_topic *best[TOP_MAX];
    uint32_t count = 0;
    uint32_t least = 0; /* place of the smallest of `best` */

    for (uint32_t i = 0; i < v->cap; i++) {
        const struct rt_topic *t = v->at[i];

        if (t == NULL || n == 0 || !wanted(r, t->project)) {
            continue;
        }
        if (count < n) {
            best[count++] = t;
        } else if (members_of(t) > members_of(best[least])) {
            best[least] = t;
        } else {
            continue;
        }
        least = 0;
        for (uint32_t k = 1; k < count; k++) {
            least = members_of(best[k]) < members_of(best[least]) ? k : least;
        }
    }
    for (uint32_t k = 0; k < count; k++) {
        topic_row(r, best[k]);
    }
}

/* Public and private. */
static void named_topic(struct rt_rows *r, struct pr_slice name)
{
    for (uint32_t i = 0; i < 2 * r->edge->nprojects; i++) {
        const struct rt_topic *t = rt_topic_find(r->edge->projects[i / 2], name, i % 2 == 1);

        if (t != NULL && wanted(r, t->project)) {
            topic_row(r, t);
        }
    }
}

/* A list of names; what is no text is passed over. */
static void named_topics(struct rt_rows *r, struct pr_slice names, struct pr_outbuf *scratch)
{
    struct pr_json_iter it;
    struct pr_json v;
    struct pr_slice name;

    if (pr_json_open(&it, names) != PR_OK) {
        return;
    }
    while (pr_json_next(&it, NULL, &v) == 1) {
        scratch->len = 0;
        if (pr_json_text(&v, scratch, &name) == PR_OK) {
            named_topic(r, name);
        }
    }
}

static void all_topics(struct rt_rows *r)
{
    const struct rt_topics *v = &r->edge->topics;
    uint32_t count = 0;

    for (uint32_t i = 0; i < v->cap; i++) {
        const struct rt_topic *t = v->at[i];

        if (t != NULL && wanted(r, t->project) && count++ < TOPICS_TOLD) {
            topic_row(r, t);
        }
    }
    if (count > TOPICS_TOLD) {
        pr_put_str(&r->o, "{\"error\":\"this edge has more topics than are told; see --top\"");
        rt_row_end(r);
    }
}

/* "top": N the largest; "names": [...] these; else all. */
static void topics(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch)
{
    struct pr_json v;
    struct rt_rows r;

    if (!begin(&r, e, m, scratch)) {
        return;
    }
    if (pr_json_member(m->args, "top", &v) == 1) {
        uint32_t n = 0;

        for (size_t i = 0; i < v.raw.n && n < TOP_MAX; i++) {
            n = n * 10 + (uint32_t)(v.raw.p[i] - '0');
        }
        top_topics(&r, v.type != PR_JSON_NUMBER || n > TOP_MAX ? TOP_MAX : n);
    } else if (pr_json_member(m->args, "names", &v) == 1) {
        named_topics(&r, v.raw, scratch);
    } else {
        all_topics(&r);
    }
    rt_rows_end(&r);
}

bool rt_ctl_arg(struct pr_slice args, const char *name, struct pr_outbuf *scratch,
                struct pr_slice *out)
{
    struct pr_json v;

    if (pr_json_member(args, name, &v) != 1 || pr_json_text(&v, scratch, out) != PR_OK ||
        out->n == 0) {
        return false;
    }
    if (strcmp(name, "topic") == 0 && out->n > RT_TOPIC_PREFIX_LEN &&
        memcmp(out->p, RT_TOPIC_PREFIX, RT_TOPIC_PREFIX_LEN) == 0) {
        out->p += RT_TOPIC_PREFIX_LEN;
        out->n -= RT_TOPIC_PREFIX_LEN;
    }
    return true;
}

struct rt_project *rt_ctl_project(struct rt_edge *e, const struct pr_ctl *m,
                                  struct pr_outbuf *scratch)
{
    struct pr_slice name;
    struct rt_project *project = e->nprojects == 1 ? e->projects[0] : NULL;
    char names[256];
    char text[sizeof names + 64];

    if (rt_ctl_arg(m->args, "project", scratch, &name)) {
        project = rt_project_of(e, name);
    }
    if (project == NULL) {
        rt_projects_names(e, names, sizeof names);
        (void)snprintf(text, sizeof text, "name a project by --project: %s", names);
        rt_rows_error(e, m->id, text);
    }
    return project;
}

static void publish(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch)
{
    struct rt_project *project = rt_ctl_project(e, m, scratch);
    struct pr_bcast b = {.form = PR_BCAST_JSON};
    struct pr_slice topic;
    struct pr_json v;

    if (project == NULL) {
        return;
    }
    if (!rt_ctl_arg(m->args, "topic", scratch, &topic) ||
        !rt_ctl_arg(m->args, "event", scratch, &b.event)) {
        rt_rows_error(e, m->id, "topic and event must be texts that are not empty");
        return;
    }
    b.payload = pr_str("{}");
    if (pr_json_member(m->args, "payload", &v) == 1) {
        b.payload = v.raw;
    }
    if (b.payload.n > rt_broadcast_bytes_max(project)) {
        rt_rows_error(e, m->id, "payload is longer than REALTIME_MAX_PAYLOAD_KB");
    } else if (rt_broadcast_send(project, topic, false, &b) != CL_OK) {
        rt_rows_error(e, m->id,
                      "the message cannot be taken now: the owner is away or the topic is "
                      "too long");
    } else {
        struct rt_rows r;

        rt_rows_begin(&r, e, m->id);
        pr_put_str(&r.o, "{\"published\":true");
        rt_row_end(&r);
        rt_rows_end(&r);
    }
}

static void observe(struct rt_edge *e, const struct pr_ctl *m, struct pr_outbuf *scratch)
{
    struct rt_project *project = rt_ctl_project(e, m, scratch);
    struct rt_observer *o = NULL;
    struct pr_slice topic;
    uint32_t n = 0;

    if (project == NULL) {
        return;
    }
    if (!rt_ctl_arg(m->args, "topic", scratch, &topic)) {
        rt_rows_error(e, m->id, "topic must be a text that is not empty");
        return;
    }
    for (o = e->observers; o != NULL; o = o->all_next) {
        n++;
    }
    o = rt_calloc(1, sizeof *o);
    o->topic = n < RT_OBSERVERS_MAX ? rt_topic_get(project, topic, false) : NULL;
    if (o->topic == NULL) {
        rt_free(o);
        rt_rows_error(e, m->id, "too many topics or observers");
        return;
    }
    o->id = m->id;
    o->next = o->topic->observers;
    o->topic->observers = o;
    o->all_next = e->observers;
    e->observers = o;
}

static void observer_free(struct rt_edge *e, struct rt_observer *o)
{
    struct rt_observer **at = &o->topic->observers;

    while (*at != o) {
        at = &(*at)->next;
    }
    *at = o->next;
    at = &e->observers;
    while (*at != o) {
        at = &(*at)->all_next;
    }
    *at = o->all_next;
    rt_topic_put(e, o->topic);
    rt_free(o);
}

void rt_observers_end(struct rt_edge *e)
{
    while (e->observers != NULL) {
        observer_free(e, e->observers);
    }
}

void rt_observers_leave(const struct rt_project *project)
{
    struct rt_observer *o = project->edge->observers;

    while (o != NULL) {
        struct rt_observer *next = o->all_next;

        if (o->topic->project == project) {
            observer_free(project->edge, o);
        }
        o = next;
    }
}

static void cancel(struct rt_edge *e, uint32_t id)
{
    struct rt_observer *o = e->observers;

    while (o != NULL) {
        struct rt_observer *next = o->all_next;

        if (o->id == id) {
            observer_free(e, o);
        }
        o = next;
    }
}

void rt_observers_event(struct rt_edge *e, struct rt_topic *t, const struct pr_bcast *b)
{
    for (const struct rt_observer *o = t->observers; o != NULL; o = o->next) {
        struct rt_rows r;

        rt_rows_begin(&r, e, o->id);
        rt_row_put_edge(&r);
        pr_put_str(&r.o, ",\"at_ms\":");
        pr_put_dec(&r.o, rt_wall_ms());
        pr_put_str(&r.o, ",\"topic\":");
        pr_put_json_str(&r.o, rt_topic_name(t));
        if (b->form == PR_BCAST_TEXT) {
            pr_put_str(&r.o, ",\"message\":");
            pr_put_slice(&r.o, b->payload);
        } else {
            pr_put_str(&r.o, ",\"event\":");
            pr_put_json_str(&r.o, b->event);
            pr_put_str(&r.o, b->form == PR_BCAST_JSON ? ",\"payload\":" : ",\"bytes\":");
            if (b->form == PR_BCAST_JSON) {
                pr_put_slice(&r.o, b->payload);
            } else {
                pr_put_dec(&r.o, b->payload.n);
            }
        }
        pr_put_str(&r.o, "}\n");
        rt_rows_send(&r, false);
        rt_free(r.o.p);
    }
}

int rt_ctl_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct pr_outbuf scratch;
    struct pr_ctl m;
    int rv = pr_ctl_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    scratch = pr_outbuf(rt_malloc(m.args.n), m.args.n);
    if (pr_slice_is(m.cmd, "connections")) {
        connections(e, &m, &scratch);
    } else if (pr_slice_is(m.cmd, "channels")) {
        channels(e, &m, &scratch);
    } else if (pr_slice_is(m.cmd, "bindings")) {
        rt_ctl_bindings(e, &m, &scratch);
    } else if (pr_slice_is(m.cmd, "topics")) {
        topics(e, &m, &scratch);
    } else if (pr_slice_is(m.cmd, "pub")) {
        publish(e, &m, &scratch);
    } else if (pr_slice_is(m.cmd, "sub")) {
        observe(e, &m, &scratch);
    } else if (pr_slice_is(m.cmd, RT_CONTROL_CANCEL)) {
        cancel(e, m.id);
    } else {
        rt_rows_error(e, m.id, "an edge does not know this command");
    }
    rt_free(scratch.p);
    return PR_OK;
}
