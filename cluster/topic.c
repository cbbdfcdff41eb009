/* SPDX-License-Identifier: Apache-2.0 */
#include "cluster/kept.h"

#include <assert.h>
#include <string.h>

/* Items of one chunk, as a power of two: 64 topics are 11.5 KiB. */
#define CHUNK_SHIFT 6u

static struct cl_topic *at(const struct cl_topics *t, uint32_t index)
{
    return cl_pool_at(&t->pool, index);
}

static uint64_t hash_of(const struct cl_topics *t, struct pr_slice key)
{
    return cl_hash64_seeded(key, t->seed);
}

static uint64_t rehash(const void *ctx, uint32_t index)
{
    const struct cl_topics *t = ctx;

    return hash_of(t, cl_topic_name(at(t, index)));
}

void cl_topics_init(struct cl_topics *t, const struct cl_alloc *mem, uint32_t max, size_t kept_max,
                    uint64_t seed)
{
    memset(t, 0, sizeof *t);
    t->mem = mem;
    t->max = max;
    t->kept_max = kept_max;
    t->seed = seed;
    t->idle_head = CL_POOL_NONE;
    t->idle_tail = CL_POOL_NONE;
    cl_pool_init(&t->pool, mem, sizeof(struct cl_topic), CHUNK_SHIFT, rehash, t);
}

struct pr_slice cl_topic_name(const struct cl_topic *topic)
{
    return (struct pr_slice){.p = topic->key, .n = topic->key_len};
}

static uint32_t find(const struct cl_topics *t, struct pr_slice key, uint64_t hash)
{
    uint32_t i = cl_pool_first(&t->pool, hash);

    while (i != CL_POOL_NONE && !pr_slice_eq(cl_topic_name(at(t, i)), key)) {
        i = cl_pool_next(&t->pool, i);
    }
    return i;
}

struct cl_topic *cl_topics_find(const struct cl_topics *t, struct pr_slice key)
{
    uint32_t i = find(t, key, hash_of(t, key));

    return i == CL_POOL_NONE ? NULL : at(t, i);
}

static void idle_add(struct cl_topics *t, cl_ms now, uint32_t i)
{
    struct cl_topic *topic = at(t, i);

    topic->idle = true;
    topic->idle_since = now;
    topic->idle_next = CL_POOL_NONE;
    topic->idle_prev = t->idle_tail;
    if (t->idle_tail == CL_POOL_NONE) {
        t->idle_head = i;
    } else {
        at(t, t->idle_tail)->idle_next = i;
    }
    t->idle_tail = i;
}

static void idle_remove(struct cl_topics *t, struct cl_topic *topic)
{
    topic->idle = false;
    if (topic->idle_prev == CL_POOL_NONE) {
        t->idle_head = topic->idle_next;
    } else {
        at(t, topic->idle_prev)->idle_next = topic->idle_next;
    }
    if (topic->idle_next == CL_POOL_NONE) {
        t->idle_tail = topic->idle_prev;
    } else {
        at(t, topic->idle_next)->idle_prev = topic->idle_prev;
    }
}

void cl_topics_drop_asked(const struct cl_topics *t, struct cl_topic *topic)
{
    while (topic->asked != NULL) {
        struct cl_asked *a = topic->asked;

        topic->asked = a->next;
        t->mem->put(t->mem->ctx, a, sizeof *a);
    }
}

static void free_remote(struct cl_topics *t, struct cl_topic *topic)
{
    if (topic->remote != NULL) {
        cl_kept_clear(t, topic->remote);
        t->mem->put(t->mem->ctx, topic->remote, sizeof *topic->remote);
        topic->remote = NULL;
    }
}

/* Of a topic in the idle list. */
static void drop(struct cl_topics *t, uint32_t i)
{
    struct cl_topic *topic = at(t, i);

    if (t->base[topic->part] < topic->seq) {
        t->base[topic->part] = topic->seq;
    }
    idle_remove(t, topic);
    free_remote(t, topic);
    cl_topics_drop_asked(t, topic);
    cl_pool_unlink(&t->pool, hash_of(t, cl_topic_name(topic)), i);
    t->mem->put(t->mem->ctx, topic->key, topic->key_len);
    topic->key = NULL;
    cl_pool_give(&t->pool, i);
}

void cl_topics_deinit(struct cl_topics *t)
{
    uint32_t i = 0;
    struct cl_topic *topic = cl_topics_next(t, &i);

    for (; topic != NULL; topic = cl_topics_next(t, &i)) {
        free_remote(t, topic);
        cl_topics_drop_asked(t, topic);
        t->mem->put(t->mem->ctx, topic->key, topic->key_len);
    }
    cl_pool_clear(&t->pool);
}

int cl_topics_get(struct cl_topics *t, cl_ms now, struct pr_slice key, struct cl_topic **out)
{
    uint64_t hash = hash_of(t, key);
    uint32_t i = find(t, key, hash);
    struct cl_topic *topic = NULL;
    uint8_t *copy = NULL;

    assert(key.n > 0 && key.n <= PR_TOPIC_KEY_MAX);
    *out = NULL;
    if (i != CL_POOL_NONE) {
        *out = at(t, i);
        return CL_OK;
    }
    if (t->pool.used >= t->max && t->idle_head == CL_POOL_NONE) {
        return CL_ERANGE;
    }
    copy = t->mem->get(t->mem->ctx, key.n);
    if (copy == NULL) {
        return CL_ENOMEM;
    }
    memcpy(copy, key.p, key.n);
    if (t->pool.used >= t->max) {
        drop(t, t->idle_head);
    }
    i = cl_pool_take(&t->pool);
    if (i == CL_POOL_NONE) {
        t->mem->put(t->mem->ctx, copy, key.n);
        return CL_ENOMEM;
    }
    topic = at(t, i);
    topic->key = copy;
    topic->key_len = (uint32_t)key.n;
    topic->part = cl_partition(key);
    topic->seq = t->base[topic->part];
    cl_pool_link(&t->pool, hash, i);
    idle_add(t, now, i);
    *out = topic;
    return CL_OK;
}

static bool wanted(const struct cl_topic *topic)
{
    return topic->edges != 0 || (topic->remote != NULL && (cl_bits_any(&topic->remote->nodes) ||
                                                           cl_bits_any(&topic->remote->away)));
}

void cl_topics_touch(struct cl_topics *t, cl_ms now, struct cl_topic *topic)
{
    struct pr_slice key = cl_topic_name(topic);

    if (topic->idle && wanted(topic)) {
        idle_remove(t, topic);
    } else if (!topic->idle && !wanted(topic)) {
        idle_add(t, now, find(t, key, hash_of(t, key)));
    }
}

void cl_topics_sub(struct cl_topics *t, struct cl_topic *topic, uint32_t edge, bool presence)
{
    uint64_t bit = UINT64_C(1) << edge;

    assert(edge < CL_EDGES_MAX);
    topic->edges |= bit;
    topic->presence_edges &= ~bit;
    if (presence) {
        topic->presence_edges |= bit;
    }
    if (topic->idle) {
        idle_remove(t, topic);
    }
}

void cl_topics_unsub(struct cl_topics *t, cl_ms now, struct cl_topic *topic, uint32_t edge)
{
    uint64_t bit = UINT64_C(1) << edge;

    assert(edge < CL_EDGES_MAX);
    topic->edges &= ~bit;
    topic->presence_edges &= ~bit;
    topic->owed_edges &= ~bit;
    cl_topics_touch(t, now, topic);
}

struct cl_remote *cl_topics_remote(const struct cl_topics *t, struct cl_topic *topic)
{
    if (topic->remote == NULL) {
        topic->remote = t->mem->get(t->mem->ctx, sizeof *topic->remote);
        if (topic->remote != NULL) {
            memset(topic->remote, 0, sizeof *topic->remote);
        }
    }
    return topic->remote;
}

void cl_topics_drop_remote(struct cl_topics *t, cl_ms now, struct cl_topic *topic)
{
    free_remote(t, topic);
    cl_topics_touch(t, now, topic);
}

void cl_topics_expire(struct cl_topics *t, cl_ms now)
{
    while (t->idle_head != CL_POOL_NONE && cl_topics_deadline(t) <= now) {
        drop(t, t->idle_head);
    }
}

cl_ms cl_topics_deadline(const struct cl_topics *t)
{
    return t->idle_head == CL_POOL_NONE ? UINT64_MAX
                                        : at(t, t->idle_head)->idle_since + CL_TOPIC_KEEP_MS;
}

struct cl_topic *cl_topics_next(const struct cl_topics *t, uint32_t *at_index)
{
    while (*at_index < t->pool.top) {
        struct cl_topic *topic = at(t, (*at_index)++);

        if (topic->key != NULL) {
            return topic;
        }
    }
    return NULL;
}

static const char *check_one(const struct cl_topics *t, const struct cl_topic *topic, uint64_t up)
{
    if ((topic->edges & ~up) != 0) {
        return "a topic is subscribed by an edge that is not attached";
    }
    if (((topic->presence_edges | topic->owed_edges) & ~topic->edges) != 0) {
        return "a topic's presence goes to an edge that is not subscribed";
    }
    if (topic->part != cl_partition(cl_topic_name(topic))) {
        return "a topic is in a wrong partition";
    }
    if (cl_topics_find(t, cl_topic_name(topic)) != topic) {
        return "a topic is not found by its key";
    }
    return NULL;
}

bool cl_topics_check(const struct cl_topics *t, uint64_t edges_up, const char **what)
{
    uint32_t i = 0;
    uint32_t count = 0;
    uint32_t idle = 0;
    cl_ms last = 0;

    for (struct cl_topic *o = cl_topics_next(t, &i); o != NULL; o = cl_topics_next(t, &i)) {
        *what = check_one(t, o, edges_up);
        if (*what != NULL) {
            return false;
        }
        count++;
        idle += !wanted(o);
    }
    if (count != t->pool.used || count > t->max) {
        *what = "the number of topics is wrong";
        return false;
    }
    for (i = t->idle_head; i != CL_POOL_NONE; i = at(t, i)->idle_next) {
        if (idle == 0 || !at(t, i)->idle || at(t, i)->idle_since < last) {
            *what = "the list of idle topics is wrong";
            return false;
        }
        last = at(t, i)->idle_since;
        idle--;
    }
    if (idle != 0) {
        *what = "an idle topic is not in the list";
        return false;
    }
    return true;
}
