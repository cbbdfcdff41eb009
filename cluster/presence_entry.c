/* SPDX-License-Identifier: Apache-2.0 */
/* presence_entry.c - the life of one entry: made, counted in, killed, freed. */
#include "cluster/diff.h"

#include <assert.h>
#include <string.h>

size_t cl_pres_entry_bytes(const struct entry *e)
{
    return (size_t)e->key_len + e->meta_len;
}

struct pr_pshown cl_pres_as_shown(const struct cl_pres *p, const struct entry *e)
{
    return (struct pr_pshown){
        .key = {e->data, e->key_len},
        .meta = {e->meta_len == 0 ? NULL : e->data + e->key_len, e->meta_len},
        .actor = cl_pres_actor(p, cl_pres_pair(p, e->pair)->actor)->boot,
        .n = e->n,
    };
}

uint32_t cl_pres_new_entry(struct cl_pres *p, uint32_t pair, const struct pr_pent *from)
{
    struct pair *pr = cl_pres_pair(p, pair);
    size_t n = from->key.n + from->meta.n;
    uint32_t i = cl_pool_take(&p->entries);
    struct entry *e;

    if (i == NONE) {
        return NONE;
    }
    e = cl_pres_entry(p, i);
    e->data = n == 0 ? NULL : cl_pres_get(p, n);
    if (n > 0 && e->data == NULL) {
        cl_pool_give(&p->entries, i);
        return NONE;
    }
    if (e->data != NULL && from->key.n > 0) {
        memcpy(e->data, from->key.p, from->key.n);
    }
    if (e->data != NULL && from->meta.n > 0) {
        memcpy(e->data + from->key.n, from->meta.p, from->meta.n);
    }
    e->key_len = (uint16_t)from->key.n;
    e->meta_len = (uint32_t)from->meta.n;
    e->n = from->n;
    e->slot = from->slot;
    e->pair = pair;
    e->next = e->dnext = e->dprev = NONE;
    e->prev = pr->tail;
    if (e->prev == NONE) {
        pr->head = i;
    } else {
        cl_pres_entry(p, e->prev)->next = i;
    }
    pr->tail = i;
    pr->held++;
    cl_pool_link(&p->entries, cl_pres_entry_hash(p, e), i);
    return i;
}

void cl_pres_free_entry(struct cl_pres *p, uint32_t i)
{
    struct entry *e = cl_pres_entry(p, i);
    struct pair *pr = cl_pres_pair(p, e->pair);

    assert((e->flags & E_DIRTY) == 0);
    cl_pool_unlink(&p->entries, cl_pres_entry_hash(p, e), i);
    if (e->prev == NONE) {
        pr->head = e->next;
    } else {
        cl_pres_entry(p, e->prev)->next = e->next;
    }
    if (e->next == NONE) {
        pr->tail = e->prev;
    } else {
        cl_pres_entry(p, e->next)->prev = e->prev;
    }
    pr->held--;
    cl_pres_put(p, e->data, cl_pres_entry_bytes(e));
    cl_pool_give(&p->entries, i);
}

static bool same_bytes(const struct entry *a, const struct entry *b)
{
    return a->key_len == b->key_len && a->meta_len == b->meta_len &&
           (a->data == NULL || memcmp(a->data, b->data, cl_pres_entry_bytes(a)) == 0);
}

uint32_t cl_pres_find_again(const struct cl_pres *p, uint32_t i)
{
    const struct entry *e = cl_pres_entry(p, i);
    uint32_t k = cl_pool_first(&p->entries, cl_pres_two_hash(e->pair, e->slot));

    while (k != NONE) {
        const struct entry *o = cl_pres_entry(p, k);

        if ((o->flags & E_DEAD) != 0 && o->n == e->n && o->pair == e->pair && o->slot == e->slot &&
            same_bytes(o, e)) {
            break;
        }
        k = cl_pool_next(&p->entries, k);
    }
    return k;
}

void cl_pres_count_in(struct cl_pres *p, cl_ms now, uint32_t i)
{
    uint32_t old = cl_pres_find_again(p, i);
    struct entry *e = cl_pres_entry(p, i);
    struct pair *pr = cl_pres_pair(p, e->pair);
    struct topic *t = cl_pres_topic(p, pr->topic);
    struct actor *a = cl_pres_actor(p, pr->actor);
    uint64_t dot = cl_pres_two_hash(t->name_hash, e->n);

    pr->alive++;
    a->entries++;
    a->digest += dot;
    pr->digest += dot;
    p->alive++;
    p->alive_bytes += cl_pres_entry_bytes(e);
    if (a->visible) {
        t->members++;
        p->visible++;
    }
    p->stats.puts++;
    if (old != NONE) {
        e->flags |= E_SHOWN; /* and the actor's count of shown ones stays */
        cl_diff_untouch(p, old);
        cl_pres_free_entry(p, old);
    }
    cl_diff_touch(p, now, i);
}

void cl_pres_kill(struct cl_pres *p, cl_ms now, uint32_t i)
{
    struct entry *e = cl_pres_entry(p, i);
    struct pair *pr = cl_pres_pair(p, e->pair);
    struct topic *t = cl_pres_topic(p, pr->topic);
    struct actor *a = cl_pres_actor(p, pr->actor);
    uint64_t dot = cl_pres_two_hash(t->name_hash, e->n);

    pr->alive--;
    a->entries--;
    a->digest -= dot;
    pr->digest -= dot;
    p->alive--;
    p->alive_bytes -= cl_pres_entry_bytes(e);
    if (a->visible) {
        t->members--;
        p->visible--;
    }
    p->stats.dels++;
    if ((e->flags & E_SHOWN) == 0) {
        cl_diff_untouch(p, i); /* nobody saw it come: it leaves no trace */
        cl_pres_free_entry(p, i);
        return;
    }
    cl_pool_unlink(&p->entries, cl_pres_entry_hash(p, e), i);
    e->flags = (uint16_t)((e->flags & ~(E_MARK | E_DEL)) | E_DEAD);
    cl_pool_link(&p->entries, cl_pres_entry_hash(p, e), i);
    cl_diff_touch(p, now, i);
}
