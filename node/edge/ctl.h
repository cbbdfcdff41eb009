/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl.h - what this edge tells realtimectl: its connections and channels; pub; sub.
 */
#ifndef NODE_EDGE_CTL_H
#define NODE_EDGE_CTL_H

#include "node/edge/edge_in.h"

/* Questions that stream at the same time; more are refused. */
#define RT_OBSERVERS_MAX 64u

/* A CTL frame. 0, or a negative pr_err: damaged. */
int rt_ctl_frame(struct rt_edge *e, const struct pr_frame *f);
/* A broadcast of a topic that is observed. */
void rt_observers_event(struct rt_edge *e, struct rt_topic *t, const struct pr_bcast *b);
/* Nobody listens to the answers any more. */
void rt_observers_end(struct rt_edge *e);
/* Those of a project that ends. */
void rt_observers_leave(const struct rt_project *project);

#endif
