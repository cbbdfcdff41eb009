/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence.h - who is present in which topic: the replicated set held by an `owner` process.
 *
 * An actor is one edge process life (its boot). It numbers its operations 1, 2, 3 ...; (actor, n)
 * is a dot and names one entry for ever. Only the actor creates and removes its entries, so what
 * must be remembered per (topic, actor) is one number, `ctx`: everything up to it is known. There
 * are no tombstones and no clouds of dots. Theory: delta intervals under the causal merging
 * condition, Almeida, Shoker, Baquero, "Delta state replicated data types", JPDC 111 (2018); here
 * the condition is a <= ctx.
 *
 * Merge of a delta (a, b] of one actor in one topic:
 *     b <= ctx   STALE: a repeat, or older than what is known
 *     a >  ctx   HOLE: something between is missing; pull everything after ctx
 *     else       remove entries with a < n <= ctx that are not in adds   (the third line)
 *                remove dels; insert adds with n > ctx; ctx = b
 *
 * Whether an actor is visible is told from outside (its process is attached) and is never part of
 * the data, so a delayed delta of a dead process cannot bring a ghost back.
 *
 * Diffs are exact: they are computed against what was last shown. An entry that came and went
 * between two flushes leaves no trace, and no leave names a reference that was never shown.
 *
 * Pure: no clock, no I/O; memory only by cl_alloc. Input bytes are copied if kept.
 */
#ifndef CLUSTER_PRESENCE_H
#define CLUSTER_PRESENCE_H

#include "cluster/core.h"

/* Changes of a topic are gathered for this long, in ms: several people who reload at once are one
 * frame. The first change after CL_PRES_QUIET_MS without a diff does not wait at all. */
#define CL_PRES_WINDOW_MS 50u
#define CL_PRES_QUIET_MS  1000u
/* Above this many members a diff costs more (members x changes), so the window grows by 1 ms per
 * CL_PRES_WINDOW_DIV members, up to CL_PRES_WINDOW_MAX_MS. */
#define CL_PRES_BIG_TOPIC     500u
#define CL_PRES_WINDOW_DIV    10u
#define CL_PRES_WINDOW_MAX_MS 1000u
/* The entries of an actor that is not attached, and the ctx of a (topic, actor) without entries,
 * are kept this long: an edge that comes back in this time is not told from the start. */
#define CL_PRES_FORGET_MS 60000u
/* Default of cl_limits.presences_per_topic: each joiner gets the whole state, ~170 bytes an entry.
 */
#define CL_PRES_PER_TOPIC_DEFAULT 10000u
/* Actors remembered, attached or not. 256 nodes x 64 edges, and a restart of each of them within a
 * minute. Above: the one that has been gone longest is forgotten early. Memory is taken as they
 * come: 56 bytes each and 8 of index, 2 MiB at the limit. */
#define CL_PRES_ACTORS_MAX 32768u
/* Bytes of list in one P_VIEW frame, unless a single entry is longer. */
#define CL_PRES_VIEW_CHUNK 61440u
/* Bytes of lists in one P_DIFF frame. A longer diff is shown in several, each exact in itself, with
 * both halves of an update in the same one. */
#define CL_PRES_DIFF_CHUNK ((size_t)2 * 1024u * 1024u)

struct cl_pres_config {
    uint32_t presences;           /* entries; for one window as many removed but still shown ones */
    uint32_t presences_per_topic; /* entries of one topic */
    uint32_t bytes;               /* keys and metas of entries */
    uint64_t seed;                /* secret number for the table of topics: clients choose them */
    const struct cl_alloc *mem;   /* borrowed for the object's life */
};

/* What became of a delta; negative: enum cl_err. */
enum cl_pres_result {
    CL_PRES_APPLIED = 0,
    CL_PRES_STALE = 1, /* nothing to do */
    CL_PRES_HOLE = 2,  /* ask the actor for everything after *ctx (P_PULL); nothing changed */
    CL_PRES_FULL = 3   /* a limit of the configuration; nothing changed. The actor's next delta is a
                          HOLE, so that what fits again by then comes in by itself */
};

struct cl_pres;

/* Gives a new object; NULL if memory is refused or a limit is 0. */
struct cl_pres *cl_pres_new(const struct cl_pres_config *cfg);
/* Takes `p`; NULL is allowed. */
void cl_pres_free(struct cl_pres *p);

/* The edge process with this boot is attached: its entries are visible from now on. 0, or
 * CL_ENOMEM (unchanged). */
CL_MUST_CHECK int cl_pres_actor_up(struct cl_pres *p, cl_ms now, uint64_t boot);
/* It is gone: its entries leave with the next flush. Never fails; unknown actors are ignored. */
void cl_pres_actor_down(struct cl_pres *p, cl_ms now, uint64_t boot);

/*
 * Merges a delta. Copies what it keeps. The caller has checked that the sender may speak for
 * d->actor. *ctx (never NULL) is what is known of (topic, actor) afterwards: for HOLE the number to
 * put into P_PULL. An actor never heard of is remembered, invisible.
 * enum cl_pres_result; CL_EPROTO: damaged lists, dots outside of (a, b], or one dot twice;
 * CL_ENOMEM: refused memory. All but APPLIED leave everything as it was.
 * Cost: O(adds + dels), and O(entries of the actor in the topic) if a < ctx.
 */
CL_MUST_CHECK int cl_pres_apply(struct cl_pres *p, cl_ms now, const struct pr_p_delta *d,
                                uint64_t *ctx);

/* Borrowed for the call. Not 0: stop, and that is what the caller of flush or view gets. */
typedef int (*cl_pres_diff_fn)(void *ctx, const struct pr_p_diff *diff);
typedef int (*cl_pres_view_fn)(void *ctx, const struct pr_p_view *view);

/*
 * To be called after each batch of changes and when cl_pres_deadline is reached: emits the diffs of
 * the topics whose window is over, and forgets what is due to be forgotten.
 * 0; CL_ENOMEM, or the value of `emit`: nothing of the refused diff counts as shown, it is due
 * again after CL_PRES_WINDOW_MS; topics not reached remain due.
 */
CL_MUST_CHECK int cl_pres_flush(struct cl_pres *p, cl_ms now, cl_pres_diff_fn emit, void *ctx);
/* Counts everything as shown without a diff: for an owner process that has just been told all,
 * whose edges ask for whole states next. */
void cl_pres_settle(struct cl_pres *p, cl_ms now);
/* The same for one topic, whose first member on this node starts with the whole state as a view.
 * But entries of own actors: a client sees its own as a diff after its state. */
void cl_pres_settle_topic(struct cl_pres *p, struct pr_slice topic);
/* When cl_pres_flush has something to do; UINT64_MAX if never. At or before now: at once. */
cl_ms cl_pres_deadline(const struct cl_pres *p);

/*
 * The state of a topic as last shown, in one or more parts (`first`, `last`); an empty one in one.
 * Every diff flushed later follows from it. 0; CL_ENOMEM before the first part; the value of
 * `emit`.
 */
CL_MUST_CHECK int cl_pres_view(const struct cl_pres *p, struct pr_slice topic, cl_pres_view_fn emit,
                               void *ctx);

/* Contribution of one entry to an actor's digest; the digest's hash is the sum over its entries,
 * modulo 2^64. Also for the edge's side of the comparison. */
uint64_t cl_pres_dot_hash(struct pr_slice topic, uint64_t n);
/* What is known of an actor's entries; zeros for an unknown one. */
void cl_pres_digest(const struct cl_pres *p, uint64_t boot, struct pr_p_digest *out);
/* ctx of (topic, actor), 0 if unknown. */
uint64_t cl_pres_ctx(const struct cl_pres *p, struct pr_slice topic, uint64_t boot);

/* The topics in which something of an actor is held, with its ctx there. */
typedef void (*cl_pres_topic_fn)(void *ctx, struct pr_slice topic, uint64_t known);
void cl_pres_topics_of(const struct cl_pres *p, uint64_t boot, cl_pres_topic_fn emit, void *ctx);

/*
 * ---- Between nodes (presence_nodes.c) ----
 *
 * A node holds the entries of its own edges' actors in all topics, of all actors in the topics that
 * it owns (it is their hub), and of all actors in topics where it has presence members. An edge is
 * the last word on its own actor; towards everybody else the actor's home node is, and a hub is for
 * those who are neither.
 *
 * Such a sender can tell the whole of what it knows: replace_begin, its deltas as they come, and
 * replace_end, which removes what was not mentioned. Nothing leaves the view in between, so that a
 * state told twice shows nobody anything. Until the end comes, or a new begin, marks do no harm.
 * The caller lets one sender at a time tell a topic, takes no end whose begin came on another
 * connection, and no end after a delta in between was lost: these would remove what is there.
 */

/*
 * The actor is an edge of this very node: no replace and no forget_topic touches its data. To be
 * called before the first delta of its connection and again when it attaches; remembered as long
 * as the actor is. Whoever hands deltas of own actors to cl_pres_apply makes sure that they come
 * from the edge itself. 0, or CL_ENOMEM (unchanged).
 */
CL_MUST_CHECK int cl_pres_actor_own(struct cl_pres *p, cl_ms now, uint64_t boot);

/* Borrowed for the call; may not call into the set. Not 0: stop, and the caller gets it. */
typedef int (*cl_pres_state_fn)(void *ctx, const struct pr_p_delta *d);
/*
 * Emits the full state (0, ctx] of each actor that something is known of in the topic, also of one
 * without entries and of one that is not attached. One delta an actor, never cut: the merge takes
 * what a full state does not name for removed. An edge keeps its state of a topic below 4 MiB;
 * with entries of a few hundred bytes it is far below 1 MiB.
 * 0; CL_ENOMEM before the first one; the value of `emit`; CL_ERANGE after all others were told: an
 * actor has more than fits PR_FRAME_MAX or PR_LIST_MAX, which no edge makes.
 */
CL_MUST_CHECK int cl_pres_state(const struct cl_pres *p, struct pr_slice topic,
                                cl_pres_state_fn emit, void *ctx);
/* Of one actor only. Emits nothing if nothing is known. */
CL_MUST_CHECK int cl_pres_state_of(const struct cl_pres *p, struct pr_slice topic, uint64_t boot,
                                   cl_pres_state_fn emit, void *ctx);

/*
 * A sender tells the whole state of a topic. begin marks what is held of actors that are not own;
 * cl_pres_apply takes the mark of its (topic, actor) off, whatever it answers but an error; end
 * removes, entries and ctx, what is still marked, to be seen as leaves with the next flush. begin
 * again before end starts anew; end without begin, or of a topic that is not held, does nothing.
 * An entry that comes again before its leave was shown shows nothing. O(actors of the topic), end
 * also O(entries removed).
 */
void cl_pres_replace_begin(struct cl_pres *p, struct pr_slice topic);
void cl_pres_replace_end(struct cl_pres *p, cl_ms now, struct pr_slice topic);

/* True for a topic that the sender has told about. May not call into the set. */
typedef bool (*cl_pres_keep_fn)(void *ctx, struct pr_slice topic);
/*
 * The same for all topics of one actor that `in_scope` is true for, told by its home node. These
 * marks are apart from those of topics, so both may be under way; one mention takes both off.
 * Nothing for an own actor. O(topics of the actor).
 */
void cl_pres_replace_actor_begin(struct cl_pres *p, uint64_t boot);
void cl_pres_replace_actor_end(struct cl_pres *p, cl_ms now, uint64_t boot,
                               cl_pres_keep_fn in_scope, void *ctx);

/* This node does not follow the topic any more: drops what is held of actors that are not own. No
 * leave is shown, since nobody is there to see it. */
void cl_pres_forget_topic(struct cl_pres *p, cl_ms now, struct pr_slice topic);

/* Should the entries of this actor in this topic be counted? May not call into the set. The actors
 * of a topic come one after another, with the same slice. */
typedef bool (*cl_pres_pick_fn)(void *ctx, struct pr_slice topic, uint64_t boot);
/*
 * A hash of the picked entries, visible or not, and their number: two nodes that hold the same have
 * the same. It is the sum modulo 2^64, over each actor in each topic, of a hash of the actor and
 * the sum of cl_pres_dot_hash of its entries there. O(actors of all topics), 12 ms for 100 000 of
 * them, and less the fewer they are.
 */
uint64_t cl_pres_sum(const struct cl_pres *p, cl_pres_pick_fn pick, void *ctx, uint32_t *entries);

/* A topic of which something is known, and of how many actors. It may call cl_pres_forget_topic for
 * that topic, after which `topic` is gone; no other change. */
typedef void (*cl_pres_each_topic_fn)(void *ctx, struct pr_slice topic, uint32_t actors);
void cl_pres_each_topic(const struct cl_pres *p, cl_pres_each_topic_fn fn, void *ctx);

/* Visible entries of a topic. */
uint32_t cl_pres_members(const struct cl_pres *p, struct pr_slice topic);
/* One row per entry held of the topic, visible or not. */
void cl_pres_each(const struct cl_pres *p, struct pr_slice topic, cl_presence_fn emit, void *ctx);

struct cl_pres_stats {
    uint64_t puts, dels, stale, holes, full, diffs;   /* monotonic */
    uint64_t topics, actors, entries, visible, bytes; /* now */
    uint64_t memory_bytes; /* asked from the allocator and not given back, now */
};
void cl_pres_stats(const struct cl_pres *p, struct cl_pres_stats *out);
/* Own invariants; O(everything). *what names the broken one. */
bool cl_pres_check(const struct cl_pres *p, const char **what);

#endif
