/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h - an event or an action of cl and cle as one line of text, and a running hash of lines.
 *
 * The same text serves operators, the simulation, and the expected output of scenarios. Two runs of
 * one seed must give the same hash: it covers every byte that goes out, not only what the line
 * shows. Topic keys are printed with what is not printable as a dot; payloads never, only their
 * length.
 *
 *     t=000012.345 event edge=1 boot=9f PUB part=7 topic=default.0room oseq=4 bytes=12
 *     t=000012.345 send edges=3 EVENT topic=default.0room seq=9 boot=9f oseq=4 bytes=12
 */
#ifndef CLUSTER_TRACE_H
#define CLUSTER_TRACE_H

#include "cluster/edge.h"

/* Longest line, in bytes; a longer one is cut. Four times what a frame with a usual topic needs. */
#define CL_TRACE_LINE_MAX 512u

struct cl_trace {
    uint64_t hash; /* of all lines and bytes so far; starts as 0 */
    uint64_t lines;
    char line[CL_TRACE_LINE_MAX]; /* the last one, NUL-terminated, without line feed */
};

/* Each makes t->line and adds it to t->hash. */
void cl_trace_event(struct cl_trace *t, cl_ms now, const struct cl_event *ev);
void cl_trace_action(struct cl_trace *t, cl_ms now, const struct cl_action *a);
/* `index` of the edge process. */
void cle_trace_frame(struct cl_trace *t, cl_ms now, uint32_t index, const struct pr_frame *f);
void cle_trace_action(struct cl_trace *t, cl_ms now, uint32_t index, const struct cle_action *a);

#endif
