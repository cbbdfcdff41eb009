/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/topics.h"

#include <assert.h>
#include <string.h>

#include <xxhash.h>

#include "node/edge/projects.h"

#define FIRST_CAP   64u
#define FIRST_SEATS 2u /* most topics of a large edge have one or two members */

void rt_topic_put_key(struct pr_outbuf *o, const char *project, struct pr_slice sub,
                      bool is_private)
{
    pr_put_str(o, project);
    pr_put_u8(o, 0);
    pr_put_u8(o, is_private ? '1' : '0');
    pr_put_slice(o, sub);
}

static uint64_t hash_of(const struct rt_topics *v, struct pr_slice key)
{
    return XXH3_64bits_withSeed(key.p, key.n, v->seed);
}

static uint32_t place_of(const struct rt_topics *v, struct pr_slice key, uint64_t hash)
{
    uint32_t i = (uint32_t)hash & (v->cap - 1);

    while (v->at[i] != NULL &&
           (v->at[i]->hash != hash || !pr_slice_eq(rt_topic_key(v->at[i]), key))) {
        i = (i + 1) & (v->cap - 1);
    }
    return i;
}

static void grow(struct rt_topics *v)
{
    struct rt_topic **old = v->at;
    uint32_t old_cap = v->cap;

    v->cap = old_cap == 0 ? FIRST_CAP : old_cap * 2;
    v->at = rt_calloc(v->cap, sizeof(struct rt_topic *));
    for (uint32_t i = 0; i < old_cap; i++) {
        if (old[i] != NULL) {
            v->at[place_of(v, rt_topic_key(old[i]), old[i]->hash)] = old[i];
        }
    }
    rt_free(old);
}

/* Backward shift: no tombstones, so that lookups stay short however long the process lives. */
static void remove_at(struct rt_topics *v, uint32_t hole)
{
    uint32_t i = hole;

    for (;;) {
        uint32_t home = 0;

        i = (i + 1) & (v->cap - 1);
        if (v->at[i] == NULL) {
            break;
        }
        home = (uint32_t)v->at[i]->hash & (v->cap - 1);
        if (((i - home) & (v->cap - 1)) >= ((i - hole) & (v->cap - 1))) {
            v->at[hole] = v->at[i];
            hole = i;
        }
    }
    v->at[hole] = NULL;
    v->count--;
}

static void set_handle(struct rt_topics *v, uint32_t handle, struct rt_topic *t)
{
    if (handle >= v->handles) {
        uint32_t n = v->handles == 0 ? FIRST_CAP : v->handles;

        while (n <= handle) {
            n *= 2;
        }
        v->by_handle = rt_realloc(v->by_handle, n * sizeof(struct rt_topic *));
        memset(&v->by_handle[v->handles], 0, (n - v->handles) * sizeof(struct rt_topic *));
        v->handles = n;
    }
    v->by_handle[handle] = t;
}

struct rt_topic *rt_topic_find(const struct rt_project *project, struct pr_slice sub,
                               bool is_private)
{
    const struct rt_topics *v = &project->edge->topics;
    uint8_t memory[PR_TOPIC_KEY_MAX];
    struct pr_outbuf key = pr_outbuf(memory, sizeof memory);

    rt_topic_put_key(&key, project->cfg->project, sub, is_private);
    if (!pr_out_ok(&key) || v->cap == 0) {
        return NULL;
    }
    return v->at[place_of(v, pr_bytes(memory, key.len), hash_of(v, pr_bytes(memory, key.len)))];
}

/* Who was removed and came back under its name finds topics of before, until their members are
 * gone. */
static void belong(struct rt_topic *t, struct rt_project *project)
{
    struct rt_project *before = t->project;

    if (before != project) {
        project->refs++;
        t->project = project;
        if (before != NULL) {
            rt_project_unref(before);
        }
    }
}

struct rt_topic *rt_topic_get(struct rt_project *project, struct pr_slice sub, bool is_private)
{
    struct rt_edge *e = project->edge;
    struct rt_topics *v = &e->topics;
    uint8_t memory[PR_TOPIC_KEY_MAX];
    struct pr_outbuf key = pr_outbuf(memory, sizeof memory);
    struct rt_topic *t = NULL;
    struct pr_outbuf text;
    uint64_t hash = 0;

    rt_topic_put_key(&key, project->cfg->project, sub, is_private);
    if (!pr_out_ok(&key)) {
        return NULL;
    }
    if ((v->count + 1) * 4 > v->cap * 3) {
        grow(v);
    }
    hash = hash_of(v, pr_bytes(memory, key.len));
    t = v->at[place_of(v, pr_bytes(memory, key.len), hash)];
    if (t != NULL) {
        if (cle_subscribe(e->cle, e->now_ms, rt_topic_key(t), &t->handle, &t->subscribed) !=
            CL_OK) {
            return NULL;
        }
        t->refs++;
        belong(t, project);
        return t;
    }
    t = rt_calloc(1, sizeof *t + key.len + RT_TOPIC_PREFIX_LEN + sub.n);
    t->hash = hash;
    belong(t, project);
    t->refs = 1;
    t->key_len = (uint16_t)key.len;
    t->name_len = (uint16_t)(RT_TOPIC_PREFIX_LEN + sub.n);
    text = pr_outbuf(t->text, (size_t)t->key_len + t->name_len);
    pr_put(&text, memory, key.len);
    pr_put_str(&text, RT_TOPIC_PREFIX);
    pr_put_slice(&text, sub);
    if (cle_subscribe(e->cle, e->now_ms, rt_topic_key(t), &t->handle, &t->subscribed) != CL_OK) {
        rt_project_unref(t->project);
        rt_free(t);
        return NULL;
    }
    v->at[place_of(v, rt_topic_key(t), hash)] = t;
    v->count++;
    set_handle(v, t->handle, t);
    return t;
}

void rt_topic_put(struct rt_edge *e, struct rt_topic *t)
{
    struct rt_topics *v = &e->topics;

    assert(t->refs > 0);
    t->refs--;
    cle_unsubscribe(e->cle, e->now_ms, t->handle);
    if (t->refs > 0) {
        return;
    }
    assert(t->seats[0].count == 0 && t->seats[1].count == 0 && t->roster == NULL);
    v->by_handle[t->handle] = NULL;
    remove_at(v, place_of(v, rt_topic_key(t), t->hash));
    rt_free(t->seats[0].at);
    rt_free(t->seats[1].at);
    rt_project_unref(t->project);
    rt_free(t);
}

struct rt_topic *rt_topic_of(const struct rt_edge *e, uint32_t handle)
{
    return handle < e->topics.handles ? e->topics.by_handle[handle] : NULL;
}

void rt_topics_free(struct rt_edge *e)
{
    assert(e->topics.count == 0);
    rt_free(e->topics.at);
    rt_free(e->topics.by_handle);
}

void rt_seats_add(struct rt_seats *v, struct rt_socket *s, struct rt_channel *ch)
{
    if (v->count == v->cap) {
        v->cap = v->cap == 0 ? FIRST_SEATS : v->cap * 2;
        v->at = rt_realloc(v->at, v->cap * sizeof *v->at);
    }
    v->at[v->count++] = (struct rt_seat){.socket = s, .channel = ch};
}

struct rt_channel *rt_seats_del(struct rt_seats *v, uint32_t i)
{
    assert(i < v->count);
    v->count--;
    v->at[i] = v->at[v->count];
    if (v->count == 0) {
        rt_free(v->at);
        *v = (struct rt_seats){0};
        return NULL;
    }
    return i < v->count ? v->at[i].channel : NULL;
}
