/* SPDX-License-Identifier: Apache-2.0 */
/* ctl_lists.h - commands that list rows as the nodes tell them. All give the exit code. */
#ifndef CMD_CTL_LISTS_H
#define CMD_CTL_LISTS_H

#include "cmd/ctl.h"

/* `connections`, `channels`: by node. Takes no arguments. */
int rt_ctl_list(const struct rt_ctl *c, const char *cmd, char **argv);
/* The one that reads first, then those that would. */
int rt_ctl_slots(const struct rt_ctl *c, char **argv);
/* -n N: the last N events of all nodes, in the order of their clocks. */
int rt_ctl_events(const struct rt_ctl *c, char **argv);

#endif
