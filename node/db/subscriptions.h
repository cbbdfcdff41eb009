/* SPDX-License-Identifier: Apache-2.0 */
/*
 * subscriptions.h - which registrations does a change concern?
 *
 * Per (schema, table) and event: for `eq` and `in` a hash map (column, value) -> registrations; a
 * list for those without such a condition. A change costs what it matches plus the list of that
 * table and event; other registrations cost nothing.
 *
 * A registration is (boot of the edge, handle). It is added once and then attached to each table it
 * concerns (wildcards: the caller expands them from pg_publication_tables and attaches or detaches
 * when that list changes), with the filter's values as Postgres normalized them for that table.
 *
 * Group: (role, claims); everyone in it sees the same rows. Shape: (role, select); everyone in it
 * gets the same bytes. Both are shared and counted.
 * Bound: RT_SUBS_MAX registrations; rt_subs_add refuses more.
 */
#ifndef NODE_DB_SUBSCRIPTIONS_H
#define NODE_DB_SUBSCRIPTIONS_H

#include "node/db/chains.h"
#include "node/db/change.h"
#include "node/db/sieve.h"
#include "proto/filter.h"

#define RT_SUBS_MAX 1000000u /* about 160 bytes each: 160 MB */

enum rt_subs_err { RT_SUBS_EFULL = -1, RT_SUBS_EEXIST = -2, RT_SUBS_ENOENT = -3 };

struct rt_subs;

/* A table whose policies ran out of time for a group: when, the last of them at the end; 0: never.
 */
#define RT_SLOW_MAX 3u
struct rt_slow {
    struct rt_slow *next;
    uint32_t oid;
    uint64_t policies; /* hash of the policies that it is about */
    uint64_t at_ms[RT_SLOW_MAX];
    bool cancelled; /* too often: they are asked no more, nothing is visible */
};
/* (role, claims): one row-level security verdict per row. */
struct rt_group {
    uint32_t refs;
    struct pr_slice role;
    struct pr_slice claims;
    struct rt_link link;
    struct rt_chains *home; /* NULL: no new registration finds it, or the index is gone */
    void *user;             /* of the row-level security check; NULL at first, never freed here */
    struct rt_slow *slow;   /* the same, but freed here */
};
/* (role, select): one rendering per change. */
struct rt_shape {
    uint32_t refs;
    struct pr_slice role;
    bool has_select;
    uint32_t nselect;
    struct pr_slice select; /* packed strings, walk with pr_strs_next */
    struct rt_link link;
    struct rt_chains *home; /* NULL once the index is gone */
};

/* A condition with the values that Postgres made of it, for one table. If the column has another
 * kind of type later, it matches nothing until it is attached anew. */
struct rt_sub_cond {
    struct pr_slice column;
    enum pr_filter_op op;
    bool negated;
    bool asked;             /* only Postgres can evaluate it: part of the sieve */
    struct pr_slice values; /* packed, pr_cond_value_put */
};

struct rt_subs *rt_subs_new(void);
void rt_subs_free(struct rt_subs *s);

/* Adds a registration that concerns no table yet; copies what it needs. 0, RT_SUBS_EFULL,
 * RT_SUBS_EEXIST. reg->filter is not parsed here. */
int rt_subs_add(struct rt_subs *s, const struct pr_chg_reg *reg);
/*
 * The registration concerns this table from now on; attached already: conditions are replaced.
 * A condition is one that C can evaluate (pr_filter_native), or is `asked`. Copies.
 * 0 or RT_SUBS_ENOENT (no such registration, or a column that `rel` does not have).
 */
struct rt_sub_filter {
    const struct rt_sub_cond *conds;
    uint32_t nconds;
    /* Of the conditions that are asked; none: 0. */
    const struct rt_sieve_part *parts;
    uint32_t nparts;
};
int rt_subs_attach(struct rt_subs *s, uint64_t boot, uint32_t handle, const struct rt_relation *rel,
                   const struct rt_sub_filter *f);
/* No longer concerns other tables than those with these OIDs, nor these by a name from before their
 * last attach. No such registration: nothing happens. */
void rt_subs_retain(struct rt_subs *s, uint64_t boot, uint32_t handle, const uint32_t *oids,
                    uint32_t count);
/* RT_SUBS_ENOENT if there is none. */
int rt_subs_remove(struct rt_subs *s, uint64_t boot, uint32_t handle);
/* All registrations of an edge process. Returns how many there were. */
uint32_t rt_subs_drop_boot(struct rt_subs *s, uint64_t boot);
/* Calls fn for each registration of which an attachment has the sieve. fn may remove any. */
void rt_subs_each_of(const struct rt_subs *s, const struct rt_sieve *sieve,
                     void (*fn)(void *ctx, uint64_t boot, uint32_t handle), void *ctx);
/* The same for those of a group that are attached to the table. */
void rt_subs_each_in(const struct rt_subs *s, const struct rt_group *group,
                     const struct rt_relation *rel,
                     void (*fn)(void *ctx, uint64_t boot, uint32_t handle), void *ctx);
/* Who registers from now on is of another group, even with the same role and claims. */
void rt_group_hide(struct rt_group *g);
/* Everything. */
void rt_subs_clear(struct rt_subs *s);

uint32_t rt_subs_count(const struct rt_subs *s);
/* Is any registration attached to the table? */
bool rt_subs_concern(const struct rt_subs *s, struct pr_slice schema, struct pr_slice table);
/* Calls fn for each distinct role attached to the table; the slice is borrowed for the call. */
void rt_subs_roles(const struct rt_subs *s, struct pr_slice schema, struct pr_slice table,
                   void (*fn)(void *ctx, struct pr_slice role), void *ctx);

/* What a compiled policy would have said, while Postgres decides. */
enum rt_guess { RT_GUESS_NONE = 0, RT_GUESS_VISIBLE, RT_GUESS_HIDDEN };

/* Why a message carries an error instead of the row. */
enum rt_match_error {
    RT_MATCH_OK = 0,
    RT_MATCH_NO_KEY,      /* 400: no primary key */
    RT_MATCH_UNAUTHORIZED /* 401: the role lacks SELECT on a key column */
};
struct rt_match {
    uint64_t boot;
    uint32_t handle;
    enum rt_match_error error;
    bool visible; /* set by match; sieve and row-level security clear it for those they deny */
    bool judged;  /* by a compiled policy: row-level security has nothing left to say */
    bool failed;  /* the policies fail for its group: not visible, and it may be told */
    enum rt_guess guess;
    bool old_hidden;        /* cleared by match; set where the policies hide an UPDATE's old row */
    bool old_judged;        /* that by a compiled policy */
    bool unjudged;          /* set by a sieve that failed: the row is not for it, and it is told */
    struct rt_sieve *sieve; /* still to be asked; NULL: every condition holds */
    struct rt_group *group;
    struct rt_shape *shape;
};
/* Result of one change, ordered by group so that those of one group stand together. */
struct rt_matches {
    struct rt_match *items;
    uint32_t count, cap;
};

/*
 * Appends to `out` (zeros at first) every registration that the change concerns: event, table and
 * filters hold; for INSERT and UPDATE on a table without primary key, or by a role without SELECT
 * on the key, filters are not asked and `error` is set. A role whose rights are not in the relation
 * matches nothing. Takes a reference to each group, shape and sieve. Returns the number appended.
 */
uint32_t rt_subs_match(struct rt_subs *s, const struct rt_change *c, struct rt_matches *out);
/* Does the match need a row-level security verdict? (Table with RLS, no error, role that does not
 * see all rows, not judged yet; a DELETE only if c->judges_old.) Of a DELETE it is about the old
 * row. */
bool rt_match_needs_rls(const struct rt_change *c, const struct rt_match *m);
/* Does it need another one, about the old row of an UPDATE? (The same with c->judges_old, if that
 * row shows more than its primary key.) */
bool rt_match_old_needs_rls(const struct rt_change *c, const struct rt_match *m);
/* Gives references and memory back. */
void rt_matches_free(struct rt_matches *m);

#endif
