/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.h - names for things that others refer to across time: u64 = generation, index.
 *
 * A name that outlived its thing is found to be nobody's, even if its index is used again.
 */
#ifndef NODE_EDGE_SLOTS_H
#define NODE_EDGE_SLOTS_H

#include <stdint.h>

struct rt_slot_entry {
    void *p; /* NULL: free */
    uint32_t generation;
    uint32_t next_free; /* index + 1 */
};
struct rt_slots { /* zeros before first use */
    struct rt_slot_entry *at;
    uint32_t count, cap;
    uint32_t free; /* index + 1 of the first free entry */
};

/* Gives a name, never 0. Borrows `p` (not NULL) until rt_slots_del. */
uint64_t rt_slots_add(struct rt_slots *s, void *p);
/* NULL if it is gone. */
void *rt_slots_get(const struct rt_slots *s, uint64_t id);
void rt_slots_del(struct rt_slots *s, uint64_t id);
/* Index of a name: small numbers, used again after rt_slots_del. */
static inline uint32_t rt_slots_index(uint64_t id)
{
    return (uint32_t)id - 1;
}
void rt_slots_free(struct rt_slots *s);

#endif
