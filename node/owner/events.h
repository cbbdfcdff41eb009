/* SPDX-License-Identifier: Apache-2.0 */
/*
 * events.h - what has happened to the cluster, as this node saw it: the last RT_EVENTS_MAX events,
 * for `realtimectl events` and `members --why`.
 *
 * An event is a row {"ts", "kind", "text", fields...}. `text` is a sentence for people, the fields
 * are for scripts. Beyond the bound the oldest is forgotten; nothing is written to disk.
 */
#ifndef NODE_OWNER_EVENTS_H
#define NODE_OWNER_EVENTS_H

#include "node/base/log.h"

/* A cluster of 20 nodes that is restarted one by one makes some 400. */
#define RT_EVENTS_MAX 1000u
/* Longest sentence and longest value of a field that is kept, in bytes; longer ones are cut. */
#define RT_EVENT_TEXT_MAX 255u

/* Kinds in use, static texts; `events` shows them and scripts filter by them. */
#define RT_EVT_MEMBER  "member"  /* peer, state, why, by: what a node is held for has changed */
#define RT_EVT_VIEW    "view"    /* view, nodes: who owns what has changed */
#define RT_EVT_READER  "reader"  /* peer: who is elected to read the database's changes */
#define RT_EVT_LINK    "link"    /* peer, state (up, down), why */
#define RT_EVT_REFUSED "refused" /* peer or addr, code, why: a node that may not come in */
#define RT_EVT_NODE    "node"    /* of this node itself: started, leaves, keys reloaded */

struct rt_events;

/* Gives an empty list. */
struct rt_events *rt_events_new(void);
/* NULL is allowed. */
void rt_events_free(struct rt_events *e);

/*
 * Adds one, at the time of now. `kind` is static, [a-z]; `text` may be NULL: then it is made of the
 * fields. `fields` ends with a key NULL; keys are static, [a-z0-9_], and not ts, kind, text or
 * node; "peer" is the name of the node it is about. All values are copied.
 */
void rt_events_add(struct rt_events *e, const char *kind, const char *text,
                   const struct rt_kv *fields);
/* rt_event(o->events, RT_EVT_LINK, NULL, rt_kv_s("peer", name), rt_kv_s("state", "up")); at least
 * one field. */
#define rt_event(list, what, sentence, ...)                                                        \
    rt_events_add((list), (what), (sentence),                                                      \
                  (const struct rt_kv[]){__VA_ARGS__, {.key = NULL, .kind = RT_KV_TEXT}})

/* How many there are. */
uint32_t rt_events_count(const struct rt_events *e);
/* The last `n`, oldest first; `row` is one JSON object, borrowed for the call. */
void rt_events_each(const struct rt_events *e, uint32_t n,
                    void (*fn)(void *ctx, struct pr_slice row), void *ctx);
/* Text of the last event of `kind` about `peer`, borrowed until the next rt_events_add; empty if
 * none is known. */
struct pr_slice rt_events_last(const struct rt_events *e, const char *kind, struct pr_slice peer);

#endif
