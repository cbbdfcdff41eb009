/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limits.h - what all clients of a project together may do: sockets, joins, events, presence
 * events.
 *
 * Sockets with a channel are counted over the whole cluster, as of a moment ago where other edges
 * are concerned. Rates are those of this node, each edge has its share with the whole as
 * burst. A delivery is counted once per message, not per member, and not refused: what it costs
 * beyond the rate is owed, and publishes are refused until that is paid.
 *
 * With REALTIME_LIMITS=supabase the rates are averages of a minute, as there, so the burst is a
 * minute's worth; and who is about to be sent something pays for it, not who sends: his channel is
 * shut.
 */
#ifndef NODE_EDGE_LIMITS_H
#define NODE_EDGE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "node/edge/ratelimit.h"

/* A crowd that connects is one message. */
#define RT_LIMIT_TELL_MS 100u

enum rt_limit_id { RT_LIMIT_JOINS, RT_LIMIT_EVENTS, RT_LIMIT_PRESENCE };
#define RT_LIMITS 3

/* One of them, this edge's share. */
struct rt_limit {
    struct rt_rate rate; /* per_s 0: no limit */
    struct rt_bucket bucket;
};

struct rt_edge;
struct rt_project;
struct pr_frame;

/* Before the first project. */
void rt_limits_init(struct rt_edge *e);
/* Reads the settings; what they left as it was goes on. */
void rt_limits_start(struct rt_project *p);
/* The project is new here, or is not in the settings any more: the owner knows of none. */
void rt_limits_begin(struct rt_project *p);
void rt_limits_leave(struct rt_project *p);
/* A socket got its first channel, or lost its last: the owner is told, at once or in a moment. */
void rt_limit_clients_changed(struct rt_project *p);
/* Says it again, as after the owner was away. */
void rt_limits_tell(struct rt_edge *e);
/* CLIENTS of the owner. 0 or a negative pr_err. */
int rt_limits_frame(struct rt_edge *e, const struct pr_frame *f);
/* Is there no room for one more socket with a channel? */
bool rt_limit_clients_full(const struct rt_project *p);
/* Takes `n`, or none and false. */
bool rt_limit_take(struct rt_project *p, enum rt_limit_id id, uint32_t n);
/* `n` happened, whether there was room for them or not. */
void rt_limit_spend(struct rt_project *p, enum rt_limit_id id, uint32_t n);
/* How many rt_limit_take gives now; UINT32_MAX: there is no limit. */
uint32_t rt_limit_left(struct rt_project *p, enum rt_limit_id id);
/* Is the limit reached, and does who is about to be sent something pay for that? */
bool rt_limit_shuts(struct rt_project *p, enum rt_limit_id id);

#endif
