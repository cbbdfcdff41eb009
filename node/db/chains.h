/* SPDX-License-Identifier: Apache-2.0 */
/*
 * chains.h - an intrusive hash table: the element holds its link, the table only the heads.
 * Grows by doubling when it holds as many elements as heads; never shrinks.
 */
#ifndef NODE_DB_CHAINS_H
#define NODE_DB_CHAINS_H

#include <stddef.h>
#include <stdint.h>

struct rt_link {
    struct rt_link *next;
    uint64_t hash;
};

/* Zeros are an empty table. */
struct rt_chains {
    struct rt_link **heads;
    size_t size; /* a power of two, or 0 */
    size_t count;
};

/* The element that a link is part of. */
#define RT_LINKED(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

void rt_chains_add(struct rt_chains *t, struct rt_link *l, uint64_t hash);
/* The link must be in the table. */
void rt_chains_remove(struct rt_chains *t, struct rt_link *l);
/* First and next element with that hash; NULL if there is none. */
struct rt_link *rt_chains_find(const struct rt_chains *t, uint64_t hash);
struct rt_link *rt_chains_next(const struct rt_link *l);
/* Any element, NULL if empty: to take a table apart. */
struct rt_link *rt_chains_any(const struct rt_chains *t);
/* Gives the heads back; elements are not touched. */
void rt_chains_free(struct rt_chains *t);

#endif
