/* SPDX-License-Identifier: Apache-2.0 */
#include "node/edge/slots.h"

#include <assert.h>
#include <stddef.h>

#include "node/base/alloc.h"

#define FIRST_CAP 64u

uint64_t rt_slots_add(struct rt_slots *s, void *p)
{
    uint32_t i = s->free;
    struct rt_slot_entry *e = NULL;

    assert(p != NULL);
    if (i != 0) {
        i--;
        e = &s->at[i];
        s->free = e->next_free;
    } else {
        if (s->count == s->cap) {
            s->cap = s->cap == 0 ? FIRST_CAP : s->cap * 2;
            s->at = rt_realloc(s->at, s->cap * sizeof *s->at);
        }
        i = s->count++;
        e = &s->at[i];
        e->generation = 1;
    }
    e->p = p;
    return (uint64_t)e->generation << 32 | (i + 1);
}

void *rt_slots_get(const struct rt_slots *s, uint64_t id)
{
    uint32_t i = (uint32_t)id - 1;

    if ((uint32_t)id == 0 || i >= s->count || s->at[i].generation != id >> 32) {
        return NULL;
    }
    return s->at[i].p;
}

void rt_slots_del(struct rt_slots *s, uint64_t id)
{
    uint32_t i = rt_slots_index(id);

    assert(rt_slots_get(s, id) != NULL);
    s->at[i].p = NULL;
    s->at[i].generation++;
    s->at[i].next_free = s->free;
    s->free = i + 1;
}

void rt_slots_free(struct rt_slots *s)
{
    rt_free(s->at);
    *s = (struct rt_slots){0};
}
