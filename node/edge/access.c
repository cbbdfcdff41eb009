/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/access.h"

#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/edge/link.h"
#include "node/edge/projects.h"
#include "node/edge/replay.h"
#include "node/edge/rights.h"
#include "node/edge/store.h"

/* One question under way, and all who want its answer. */
struct rt_access_ask {
    struct rt_access_ask *next, *prev;
    uint64_t id; /* of rt_access.asks */
    XXH128_hash_t key;
    uint32_t read, write;
    bool again; /* to be sent with the next retry */
    bool old;   /* policies changed since: its answer may be of before */
    struct rt_edge *edge;
    struct rt_project *project;
    struct rt_wheel_entry end;
    struct rt_access_wait *waits;
    struct pr_slice topic, role, claims, sub, headers; /* of `text` */
    uint8_t text[];
};

/* Bits that were asked, and what of them was granted. */
struct cached {
    XXH128_hash_t key;
    uint64_t at_ms; /* 0: free */
    uint32_t read, write, may_read, may_write, raised;
    uint32_t project; /* id */
};

struct rt_access {
    struct rt_slots asks;
    struct rt_access_ask *first;
    uint32_t count;
    struct rt_timer retry;
    bool retrying;
    uint64_t seed;
    struct cached cache[RT_ACCESS_CACHED];
};

/* Lengths go in too, so that no two questions make one text; and the project by its id: one that
 * left and came back may have another database. */
static void put_key(struct pr_outbuf *o, const void *question)
{
    const struct rt_question *q = question;
    const struct pr_slice parts[] = {q->topic, q->token->role, q->token->claims, q->headers};

    pr_put_u32be(o, q->project->id);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        pr_put_u32be(o, (uint32_t)parts[i].n);
        pr_put_slice(o, parts[i]);
    }
}

static XXH128_hash_t key_of(struct rt_edge *e, const struct rt_question *q)
{
    struct pr_slice text = rt_scratch_text(e, put_key, q);

    return XXH3_128bits_withSeed(text.p, text.n, e->access->seed);
}

static struct cached *place_of(struct rt_access *a, XXH128_hash_t key)
{
    return &a->cache[key.low64 % RT_ACCESS_CACHED];
}

/* Is it the answer to such a question, and young enough? */
static bool good(const struct cached *c, XXH128_hash_t key, const struct rt_project *project,
                 uint64_t now_ms)
{
    return c->at_ms != 0 && c->project == project->id && XXH128_isEqual(c->key, key) != 0 &&
           now_ms - c->at_ms < project->cfg->auth_cache_ms;
}

static bool look_up(struct rt_edge *e, XXH128_hash_t key, const struct rt_question *q,
                    struct rt_finding *v)
{
    const struct cached *c = place_of(e->access, key);

    if (!good(c, key, q->project, e->now_ms) || (q->read & ~c->read) != 0 ||
        (q->write & ~c->write) != 0) {
        return false;
    }
    *v = (struct rt_finding){.status = PR_RIGHTS_DONE,
                             .read = c->may_read & q->read,
                             .write = c->may_write & q->write,
                             .raised = c->raised};
    return true;
}

/* What was answered before about the same, and not now, stays: no longer than it would have. An
 * error is not told apart by reading and writing, so those who raise one are not mixed. */
static void keep_too(struct cached *c, const struct cached *was)
{
    uint32_t read = was->read & ~c->read;
    uint32_t write = was->write & ~c->write;

    if ((read | write) != 0 && (was->raised | c->raised) == 0) {
        c->at_ms = was->at_ms;
        c->read |= read;
        c->write |= write;
        c->may_read |= was->may_read & read;
        c->may_write |= was->may_write & write;
    }
}

static void keep(struct rt_access *a, const struct rt_access_ask *k, const struct rt_finding *v,
                 uint64_t now_ms)
{
    struct cached *c = place_of(a, k->key);
    struct cached was = *c;

    if (v->status != PR_RIGHTS_DONE || k->old) {
        return;
    }
    *c = (struct cached){.key = k->key,
                         .at_ms = now_ms,
                         .read = k->read,
                         .write = k->write,
                         .may_read = v->read,
                         .may_write = v->write,
                         .raised = v->raised,
                         .project = k->project->id};
    if (good(&was, k->key, k->project, now_ms)) {
        keep_too(c, &was);
    }
}

/* Is there room for `n` more where all have `all` of `max`, and the project `own` of them? */
static bool fits(const struct rt_project *project, size_t own, size_t all, size_t max, size_t n)
{
    size_t left = max - all;

    return n <= left && (project->edge->nprojects <= 1 || own + n <= left);
}

bool rt_access_hold(struct rt_project *project, size_t bytes)
{
    struct rt_edge *e = project->edge;

    if (!fits(project, project->private_bytes, e->private_bytes, RT_ACCESS_BYTES_MAX, bytes)) {
        return false;
    }
    e->private_bytes += bytes;
    project->private_bytes += bytes;
    return true;
}

void rt_access_release(struct rt_project *project, size_t bytes)
{
    project->edge->private_bytes -= bytes;
    project->private_bytes -= bytes;
}

static void put_ask(struct pr_outbuf *o, const void *msg)
{
    pr_rights_ask_encode(o, msg);
}

/* If the owner is away it is sent when he is back. */
static void send_ask(struct rt_edge *e, struct rt_access_ask *k)
{
    struct pr_rights_ask m = {.project = pr_str(k->project->cfg->project),
                              .boot = e->args->boot,
                              .id = k->id,
                              .topic = k->topic,
                              .role = k->role,
                              .claims = k->claims,
                              .sub = k->sub,
                              .headers = k->headers,
                              .read = k->read,
                              .write = k->write};

    k->again = false;
    rt_link_send(e, put_ask, &m);
}

static void retry_later(struct rt_edge *e)
{
    if (!e->access->retrying) {
        e->access->retrying = true;
        rt_timer_set(&e->access->retry, RT_ACCESS_RETRY_MS);
    }
}

static void on_retry(void *ctx)
{
    struct rt_edge *e = ctx;

    e->now_ms = rt_now_ms(e->loop);
    e->access->retrying = false;
    for (struct rt_access_ask *k = e->access->first; k != NULL; k = k->next) {
        if (k->again) {
            send_ask(e, k);
        }
    }
}

static void drop(struct rt_edge *e, struct rt_access_ask *k)
{
    struct rt_access *a = e->access;

    if (k->next != NULL) {
        k->next->prev = k->prev;
    }
    *(k->prev != NULL ? &k->prev->next : &a->first) = k->next;
    rt_slots_del(&a->asks, k->id);
    a->count--;
    k->project->asks--;
    rt_wheel_clear(&e->wheel, &k->end);
    rt_free(k);
}

static void leave(struct rt_access_wait *w)
{
    if (w->next != NULL) {
        w->next->prev = w->prev;
    }
    *(w->prev != NULL ? &w->prev->next : &w->ask->waits) = w->next;
    w->next = NULL;
    w->prev = NULL;
    w->ask = NULL;
}

/* Answers may end channels that wait for the same, so the first is taken each time; new ones cannot
 * come to a question that is off the list. */
static void finish(struct rt_edge *e, struct rt_access_ask *k, const struct rt_finding *v)
{
    k->read = 0; /* matches no question any more */
    k->write = 0;
    while (k->waits != NULL) {
        struct rt_access_wait *w = k->waits;

        leave(w);
        w->fn(w, v);
    }
    drop(e, k);
}

static void too_late(struct rt_wheel_entry *timer)
{
    struct rt_access_ask *k =
        (struct rt_access_ask *)(void *)((char *)timer - offsetof(struct rt_access_ask, end));
    struct rt_finding v = {.status = PR_RIGHTS_DOWN};

    k->edge->now_ms = rt_now_ms(k->edge->loop);
    finish(k->edge, k, &v);
}

static struct pr_slice copy(uint8_t **at, struct pr_slice s)
{
    struct pr_slice out = {.p = *at, .n = s.n};

    if (s.n > 0) {
        memcpy(*at, s.p, s.n);
        *at += s.n;
    }
    return out;
}

static struct rt_access_ask *ask_new(struct rt_edge *e, const struct rt_question *q,
                                     XXH128_hash_t key)
{
    const struct rt_token *t = q->token;
    struct pr_slice headers = q->headers.n > 0 ? q->headers : pr_str("{}");
    size_t n = q->topic.n + t->role.n + t->claims.n + t->sub.n + headers.n;
    struct rt_access_ask *k = rt_calloc(1, sizeof *k + n);
    uint8_t *at = k->text;

    k->edge = e;
    k->project = q->project;
    k->key = key;
    k->read = q->read;
    k->write = q->write;
    k->topic = copy(&at, q->topic);
    k->role = copy(&at, t->role);
    k->claims = copy(&at, t->claims);
    k->sub = copy(&at, t->sub);
    k->headers = copy(&at, headers);
    k->id = rt_slots_add(&e->access->asks, k);
    k->next = e->access->first;
    if (k->next != NULL) {
        k->next->prev = k;
    }
    e->access->first = k;
    e->access->count++;
    k->project->asks++;
    rt_wheel_set(&e->wheel, &k->end, too_late, e->now_ms, q->wait_ms);
    return k;
}

static struct rt_access_ask *same(struct rt_access *a, XXH128_hash_t key,
                                  const struct rt_question *q)
{
    struct rt_access_ask *k = a->first;

    while (k != NULL && (k->old || XXH128_isEqual(k->key, key) == 0 || (q->read & ~k->read) != 0 ||
                         (q->write & ~k->write) != 0)) {
        k = k->next;
    }
    return k;
}

bool rt_access_ask(const struct rt_question *q, struct rt_access_wait *w, rt_access_fn fn,
                   struct rt_finding *v)
{
    struct rt_edge *e = q->project->edge;
    struct rt_access *a = e->access;
    XXH128_hash_t key = key_of(e, q);
    struct rt_access_ask *k = NULL;

    assert(w->ask == NULL && (q->read | q->write) != 0);
    *v = (struct rt_finding){.status = PR_RIGHTS_DOWN};
    if (q->project->cfg->database_url == NULL || look_up(e, key, q, v)) {
        return true;
    }
    if (q->topic.n == 0 || q->token->claims.n > PR_TEXT_MAX || q->headers.n > PR_TEXT_MAX) {
        v->status = PR_RIGHTS_DONE; /* cannot be asked: nothing is allowed */
        return true;
    }
    k = same(a, key, q);
    if (k == NULL && !fits(q->project, q->project->asks, a->count, RT_ACCESS_ASKS, 1)) {
        v->status = PR_RIGHTS_BUSY;
        return true;
    }
    if (k == NULL) {
        k = ask_new(e, q, key);
        send_ask(e, k);
    }
    w->ask = k;
    w->fn = fn;
    w->prev = NULL;
    w->next = k->waits;
    if (w->next != NULL) {
        w->next->prev = w;
    }
    k->waits = w;
    return false;
}

void rt_access_cancel(struct rt_edge *e, struct rt_access_wait *w)
{
    (void)e; /* the question goes on: its answer may be of use to the next one */
    if (w->ask != NULL) {
        leave(w);
    }
}

void rt_access_forget(struct rt_project *project)
{
    struct rt_access_ask *k = project->edge->access->first;

    while (k != NULL) {
        struct rt_access_ask *next = k->next;

        if (k->project == project) {
            assert(k->waits == NULL);
            drop(project->edge, k);
        }
        k = next;
    }
}

static bool is_of(const struct rt_access_ask *k, struct pr_slice project)
{
    return pr_slice_is(project, k->project->cfg->project);
}

/* Policies of the project changed; not `surely`: they may have. An answer under way goes to those
 * who wait for it, whose channels are looked at again, and to nobody else. */
static void forget_answers(struct rt_edge *e, struct pr_slice name, bool surely)
{
    const struct rt_project *project = rt_project_of(e, name);

    for (uint32_t i = 0; project != NULL && i < RT_ACCESS_CACHED; i++) {
        if (e->access->cache[i].project == project->id) {
            e->access->cache[i].at_ms = 0;
        }
    }
    for (struct rt_access_ask *k = e->access->first; k != NULL; k = k->next) {
        k->old = k->old || is_of(k, name);
    }
    rt_rights_changed(e, name, surely);
}

static void ask_all_again(struct rt_edge *e, struct pr_slice project)
{
    for (struct rt_access_ask *k = e->access->first; k != NULL; k = k->next) {
        if (is_of(k, project)) {
            k->again = true;
            retry_later(e);
        }
    }
}

static void on_answer(struct rt_edge *e, struct rt_access_ask *k, const struct pr_rights *m)
{
    struct rt_finding v = {.status = m->status, .raised = m->raised, .text = m->text};

    if (m->status > PR_RIGHTS_READ_ONLY) {
        v.status = PR_RIGHTS_DOWN;
    } else if (m->status == PR_RIGHTS_DONE) {
        v.read = m->read & k->read;
        v.write = m->write & k->write;
    }
    keep(e->access, k, &v, e->now_ms);
    finish(e, k, &v);
}

int rt_access_frame(struct rt_edge *e, const struct pr_frame *f)
{
    struct rt_access_ask *k = NULL;
    struct pr_rights m;
    int rv = pr_rights_decode(f, &m);

    if (rv != PR_OK) {
        return rv;
    }
    k = m.id != 0 ? rt_slots_get(&e->access->asks, m.id) : NULL;
    if (k != NULL && !is_of(k, m.project)) {
        k = NULL; /* nobody answers for another project */
    }
    if (m.id == 0 && m.status == PR_RIGHTS_CHANGED) {
        forget_answers(e, m.project, true);
    } else if (m.id == 0) {
        ask_all_again(e, m.project);
        rt_replay_ask_again(e, m.project);
        rt_store_ask_again(e, m.project);
    } else if (k != NULL && m.status == PR_RIGHTS_AWAY) {
        k->again = true;
        retry_later(e);
    } else if (k != NULL) {
        on_answer(e, k, &m);
    }
    return PR_OK;
}

void rt_access_attached(struct rt_edge *e)
{
    for (uint32_t i = 0; i < e->nprojects; i++) {
        forget_answers(e, pr_str(e->projects[i]->cfg->project), false);
    }
    for (struct rt_access_ask *k = e->access->first; k != NULL; k = k->next) {
        send_ask(e, k);
    }
}

void rt_access_init(struct rt_edge *e)
{
    e->access = rt_calloc(1, sizeof *e->access);
    rt_random(&e->access->seed, sizeof e->access->seed);
    rt_timer_init(e->loop, &e->access->retry, on_retry, e);
}

static void free_access(void *ctx)
{
    rt_free(ctx);
}

void rt_access_free(struct rt_edge *e)
{
    while (e->access->first != NULL) {
        assert(e->access->first->waits == NULL); /* sockets and requests are gone */
        drop(e, e->access->first);
    }
    rt_slots_free(&e->access->asks);
    e->access->retry.ctx = e->access;
    rt_timer_close(&e->access->retry, free_access);
    e->access = NULL;
}
