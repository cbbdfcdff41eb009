/* SPDX-License-Identifier: Apache-2.0 */
/*
 * diff.h - what members of a topic were shown, and the exact difference to what is.
 *
 * Public calls are in presence.h (cl_pres_flush, _settle, _deadline, _view); this is what the rest
 * of the presence set needs of it.
 */
#ifndef CLUSTER_DIFF_H
#define CLUSTER_DIFF_H

#include "cluster/presence_in.h"

/* How long changes of a topic with so many members are gathered, in ms. */
uint32_t cl_diff_window_ms(uint32_t members);
/* An entry was added or died, or its actor became visible or not: puts the entry into the topic's
 * list of differences, or takes it out. */
void cl_diff_touch(struct cl_pres *p, cl_ms now, uint32_t i);
/* Takes an entry out, since it will be freed. */
void cl_diff_untouch(struct cl_pres *p, uint32_t i);

#endif
