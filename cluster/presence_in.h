/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_in.h - the inside of presence.h, shared by presence.c (merge, visibility),
 * presence_set.c (tables), presence_nodes.c (whole states between nodes) and diff.c (what is
 * shown). Nobody else includes it.
 *
 * topic 1-n pair n-1 actor, and pair 1-n entry. All links are indices into pools.
 */
#ifndef CLUSTER_PRESENCE_IN_H
#define CLUSTER_PRESENCE_IN_H

#include "cluster/pool.h"
#include "cluster/presence.h"

#define NONE CL_POOL_NONE

enum {
    E_SHOWN = 1, /* part of what members were given */
    E_DEAD = 2,  /* removed by its actor; still held because it is shown */
    E_DIRTY = 4, /* in its topic's list: shown differs from what should be */
    E_MARK = 8,  /* for one call: in this delta's adds, or in this diff */
    E_DEL = 16   /* for one call: to be removed by this delta */
};

/* 56 bytes, and one block of memory with key and meta. Hash index: alive by (actor, n), dead by
 * (pair, slot), which is how an update finds the shown entry that it replaces. */
struct entry {
    uint32_t chain; /* the pool's */
    uint32_t slot;
    uint64_t n;
    uint8_t *data; /* key, then meta; NULL if both are empty */
    uint32_t meta_len;
    uint16_t key_len;
    uint16_t flags;
    uint32_t pair;
    uint32_t next, prev;   /* entries of the pair, in order of arrival */
    uint32_t dnext, dprev; /* dirty entries of the topic */
};
_Static_assert(sizeof(struct entry) <= 56, "100 000 presences: 8 MB with the hash index");

enum {
    P_TOPIC = 1, /* to be removed by replace_end of the topic */
    P_ACTOR = 2  /* to be removed by replace_actor_end */
};

/* What is known of one actor in one topic. Lives until 60 s after its last entry went. ctx 0: known
 * is nothing, but leaves may still have to be shown. */
struct pair {
    uint32_t chain; /* the pool's */
    uint32_t topic, actor;
    uint32_t alive, held;  /* entries; held = alive and dead */
    uint32_t head, tail;   /* entries */
    uint32_t tnext, tprev; /* pairs of the topic */
    uint32_t anext, aprev; /* pairs of the actor */
    uint32_t inext, iprev; /* idle pairs, oldest first */
    bool idle;
    uint8_t marks; /* P_; never of an own actor */
    uint64_t ctx;
    uint64_t digest; /* its part of the actor's */
    cl_ms idle_since;
};

struct topic {
    uint32_t chain; /* the pool's */
    uint32_t key_len;
    uint8_t *key;
    uint64_t hash;      /* seeded, of the table */
    uint64_t name_hash; /* the same everywhere, of digests */
    uint32_t pairs;     /* head of list */
    uint32_t members;   /* alive entries of visible actors */
    uint32_t dirty_head, dirty_tail, dirty;
    uint32_t qnext, qprev; /* topics with dirty entries, by due */
    cl_ms due;             /* valid while dirty > 0 */
    cl_ms flushed;         /* time of the last diff; 0 and !ever: none yet */
    bool ever;
};

struct actor {
    uint32_t chain; /* the pool's */
    uint32_t pairs; /* head of list */
    uint64_t boot;
    uint64_t digest; /* sum of cl_pres_dot_hash of its entries */
    uint32_t entries;
    uint32_t shown;
    uint32_t gnext, gprev; /* actors not attached, gone longest first */
    bool visible;
    bool own; /* of an edge of this node */
    cl_ms gone_since;
};

/* Head and tail of a list that runs through pooled items. */
struct list {
    uint32_t head, tail;
};

struct cl_pres {
    struct cl_pres_config cfg;
    struct cl_pool entries, pairs, topics, actors;
    struct list idle;  /* pairs */
    struct list gone;  /* actors */
    struct list queue; /* topics with something to show */
    uint32_t alive;
    uint32_t visible;
    size_t alive_bytes; /* keys and metas of alive entries */
    size_t data_bytes;  /* of entries and topic keys, asked from the allocator */
    struct cl_pres_stats stats;
};

/* presence_set.c: tables. */
struct entry *cl_pres_entry(const struct cl_pres *p, uint32_t i);
struct pair *cl_pres_pair(const struct cl_pres *p, uint32_t i);
struct topic *cl_pres_topic(const struct cl_pres *p, uint32_t i);
struct actor *cl_pres_actor(const struct cl_pres *p, uint32_t i);

uint32_t cl_pres_find_topic(const struct cl_pres *p, struct pr_slice key);
uint32_t cl_pres_find_actor(const struct cl_pres *p, uint64_t boot);
uint32_t cl_pres_find_pair(const struct cl_pres *p, uint32_t topic, uint32_t actor);
uint32_t cl_pres_find_dot(const struct cl_pres *p, uint32_t actor, uint64_t n);
/* The dead but shown entry of a slot. */
uint32_t cl_pres_find_dead(const struct cl_pres *p, uint32_t pair, uint32_t slot);

/* Find or make; NONE if memory is refused. A new actor is invisible. */
uint32_t cl_pres_need_actor(struct cl_pres *p, cl_ms now, uint64_t boot);
uint32_t cl_pres_need_pair(struct cl_pres *p, cl_ms now, struct pr_slice key, uint32_t actor);
/* Drops a pair that holds nothing, and its topic if it was the last. */
void cl_pres_drop_pair(struct cl_pres *p, uint32_t i);

/* Memory of keys and metas, counted. */
void *cl_pres_get(struct cl_pres *p, size_t n);
void cl_pres_put(struct cl_pres *p, void *m, size_t n);
uint64_t cl_pres_two_hash(uint64_t a, uint64_t b);

/* presence_entry.c. */
uint64_t cl_pres_entry_hash(const struct cl_pres *p, const struct entry *e);
size_t cl_pres_entry_bytes(const struct entry *e);
/* Borrows from the entry; prev_n is 0. */
struct pr_pshown cl_pres_as_shown(const struct cl_pres *p, const struct entry *e);
/* Makes an entry that is in its pair's list and the hash index, and counted nowhere yet. */
uint32_t cl_pres_new_entry(struct cl_pres *p, uint32_t pair, const struct pr_pent *from);
/* Takes an entry out of list and index and frees it; it is counted nowhere any more. */
void cl_pres_free_entry(struct cl_pres *p, uint32_t i);
/* The dead entry of the same dot, slot and bytes: removed by a replace, but `i` says that it is
 * there. NONE if there is none. */
uint32_t cl_pres_find_again(const struct cl_pres *p, uint32_t i);
/* Counts a new entry in. Takes the place of the one that it is again, with no change to show. */
void cl_pres_count_in(struct cl_pres *p, cl_ms now, uint32_t i);
/* Removes an alive entry: freed, or kept dead until its leave is shown. */
void cl_pres_kill(struct cl_pres *p, cl_ms now, uint32_t i);
/* Puts a pair onto, or takes it off, the list of idle ones as its count tells. */
void cl_pres_mind_idle(struct cl_pres *p, cl_ms now, uint32_t i);
/* Forgets the actor that has been gone longest, unless a leave of it is still to be shown, or it is
 * `keep`. False: nothing was forgotten. */
bool cl_pres_forget_actor(struct cl_pres *p, uint32_t keep);
void cl_pres_drop_actor(struct cl_pres *p, uint32_t i);
void cl_pres_gone_add(struct cl_pres *p, cl_ms now, uint32_t i);
void cl_pres_gone_remove(struct cl_pres *p, uint32_t i);

/* presence.c: forgets what has been idle or gone for CL_PRES_FORGET_MS. */
void cl_pres_forget(struct cl_pres *p, cl_ms now);

#endif
