/* SPDX-License-Identifier: Apache-2.0 */
/* subs_in.h - inside of the subscription index: registry (subscriptions.c) and matching (match.c).
 */
#ifndef NODE_DB_SUBS_IN_H
#define NODE_DB_SUBS_IN_H

#include "node/db/subscriptions.h"

/* Which events an attachment wants: one of the three, or all. One bucket of a table each. */
enum { BUCKET_ALL = 0, BUCKET_INSERT = 1, BUCKET_UPDATE = 2, BUCKET_DELETE = 3, BUCKETS = 4 };

_Static_assert(BUCKET_INSERT == (int)PR_K_INSERT && BUCKET_UPDATE == (int)PR_K_UPDATE &&
                   BUCKET_DELETE == (int)PR_K_DELETE,
               "the bucket of an event is its kind");

struct reg;
struct table;
struct index;

/* Where a column stands in the version of the relation that was looked at last. */
struct place {
    uint64_t version;
    int column; /* -1: not there, or of another kind */
};

struct cond {
    struct pr_slice column;
    struct pr_slice values;
    enum pr_filter_op op;
    bool negated;
    bool asked;           /* of Postgres: not for C to evaluate */
    enum pr_pg_kind kind; /* under its domains, when the values were normalized */
    struct place place;
};

/* One value of an indexed condition. */
struct entry {
    struct rt_link link; /* in index->entries, by hash of the key */
    struct attachment *att;
    struct pr_slice key;
};

/* A registration on a table. */
struct attachment {
    struct reg *reg;
    struct table *table;
    uint32_t oid; /* of the relation it was attached by */
    struct attachment *next_of_reg;
    struct attachment *prev, *next;         /* of the bucket's unindexed list, if index is NULL */
    struct attachment *prev_all, *next_all; /* of the table */
    struct index *index;
    uint32_t indexed; /* the condition that the index answers */
    uint32_t nconds;
    uint32_t nentries;
    struct cond *conds;
    struct entry *entries;
    struct rt_sieve *sieve; /* of the conditions that are `asked`; NULL: none */
};

/* eq and in conditions on one column of a table, for one bucket. */
struct index {
    struct index *next;
    struct rt_chains entries;
    struct pr_slice column;
    enum pr_pg_kind kind;
    struct place place;
};

struct bucket {
    struct attachment *list;
    struct index *indexes;
};

struct table {
    struct rt_link link; /* in subs->tables */
    struct pr_slice schema, name;
    struct attachment *all;
    struct bucket buckets[BUCKETS];
};

struct reg {
    struct rt_link link; /* in subs->regs */
    uint64_t boot;
    uint32_t handle;
    uint32_t bucket;
    struct rt_group *group;
    struct rt_shape *shape;
    struct attachment *attachments;
    struct reg *prev, *next; /* of all */
};

struct rt_subs {
    uint64_t seed; /* of the hashes; an address, so that clients cannot aim at one chain */
    struct rt_chains regs, tables, groups, shapes, sieves;
    struct reg *all;
    uint8_t *key; /* scratch of matching */
    size_t key_cap;
};

uint64_t rt_subs_hash(const struct rt_subs *s, struct pr_slice a, struct pr_slice b);
struct table *rt_subs_table(const struct rt_subs *s, struct pr_slice schema, struct pr_slice name);
/* Puts an attachment, whose conds are set, into its bucket, and takes it out. */
void rt_subs_index(struct rt_subs *s, struct attachment *a, const struct rt_relation *rel);
void rt_subs_unindex(struct attachment *a);
/* subs_groups.c: copies `from` to *at and moves *at behind it. */
struct pr_slice rt_subs_keep(uint8_t **at, struct pr_slice from);
/* With one more reference; made if there is none. */
struct rt_group *rt_subs_group(struct rt_subs *s, struct pr_slice role, struct pr_slice claims);
struct rt_shape *rt_subs_shape(struct rt_subs *s, const struct pr_chg_reg *reg);
void rt_group_unref(struct rt_group *g);
void rt_shape_unref(struct rt_shape *g);

#endif
