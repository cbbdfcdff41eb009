/* SPDX-License-Identifier: Apache-2.0 */
#include "node/db/chains.h"

#include <assert.h>

#include "node/base/alloc.h"

#define FIRST_SIZE 8u

static void insert(struct rt_chains *t, struct rt_link *l)
{
    struct rt_link **head = &t->heads[l->hash & (t->size - 1)];

    l->next = *head;
    *head = l;
}

static void grow(struct rt_chains *t)
{
    struct rt_chains old = *t;

    t->size = old.size == 0 ? FIRST_SIZE : old.size * 2;
    t->heads = rt_malloc(t->size * sizeof(void *));
    for (size_t i = 0; i < t->size; i++) {
        t->heads[i] = NULL;
    }
    for (size_t i = 0; i < old.size; i++) {
        struct rt_link *l = old.heads[i];

        while (l != NULL) {
            struct rt_link *next = l->next;

            insert(t, l);
            l = next;
        }
    }
    rt_free(old.heads);
}

void rt_chains_add(struct rt_chains *t, struct rt_link *l, uint64_t hash)
{
    if (t->count == t->size) {
        grow(t);
    }
    l->hash = hash;
    insert(t, l);
    t->count++;
}

void rt_chains_remove(struct rt_chains *t, struct rt_link *l)
{
    struct rt_link **at = &t->heads[l->hash & (t->size - 1)];

    while (*at != l) {
        assert(*at != NULL);
        at = &(*at)->next;
    }
    *at = l->next;
    l->next = NULL;
    t->count--;
}

static struct rt_link *with_hash(struct rt_link *l, uint64_t hash)
{
    while (l != NULL && l->hash != hash) {
        l = l->next;
    }
    return l;
}

struct rt_link *rt_chains_find(const struct rt_chains *t, uint64_t hash)
{
    return t->size == 0 ? NULL : with_hash(t->heads[hash & (t->size - 1)], hash);
}

struct rt_link *rt_chains_next(const struct rt_link *l)
{
    return with_hash(l->next, l->hash);
}

struct rt_link *rt_chains_any(const struct rt_chains *t)
{
    for (size_t i = 0; t->count > 0 && i < t->size; i++) {
        if (t->heads[i] != NULL) {
            return t->heads[i];
        }
    }
    return NULL;
}

void rt_chains_free(struct rt_chains *t)
{
    rt_free(t->heads);
    *t = (struct rt_chains){0};
}
