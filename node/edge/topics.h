/* SPDX-License-Identifier: Apache-2.0 */
/*
 * topics.h - the topics that somebody on this edge listens to: name -> lists of seats.
 *
 * Open addressing with linear probing over XXH3 with a random seed, so that nobody can choose names
 * that collide. Bound: cle_subscribe refuses above REALTIME_MAX_TOPICS.
 */
#ifndef NODE_EDGE_TOPICS_H
#define NODE_EDGE_TOPICS_H

#include "node/edge/edge_in.h"

/*
 * The topic of a name without prefix, with one more reference; made and subscribed if it is new.
 * t->subscribed then tells whether the fence stands now; if not, CLE_SUBSCRIBED or CLE_SUB_FAILED
 * follows. NULL: the owner cannot hold more topics, or the name is too long.
 */
struct rt_topic *rt_topic_get(struct rt_project *project, struct pr_slice sub, bool is_private);
/* The topic of a name without prefix if somebody here listens to it, else NULL. */
struct rt_topic *rt_topic_find(const struct rt_project *project, struct pr_slice sub,
                               bool is_private);
/* Gives one of rt_topic_get's references back; with the last one the topic is unsubscribed and
 * freed. */
void rt_topic_put(struct rt_edge *e, struct rt_topic *t);
/* Of a handle of cle; NULL if nobody here listens any more. */
struct rt_topic *rt_topic_of(const struct rt_edge *e, uint32_t handle);
void rt_topics_free(struct rt_edge *e);

/* Writes a topic key: project, 0, '0' or '1', name without prefix. */
void rt_topic_put_key(struct pr_outbuf *o, const char *project, struct pr_slice sub,
                      bool is_private);

/* Lists of seats: swap-remove, the place is kept up to date through `at` of the one that moved. */
void rt_seats_add(struct rt_seats *v, struct rt_socket *s, struct rt_channel *ch);
/* Gives the channel that now stands at `i`, NULL if none moved. */
struct rt_channel *rt_seats_del(struct rt_seats *v, uint32_t i);

#endif
