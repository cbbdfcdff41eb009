/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_status.h - `realtimectl status`: the own node is read from the runtime directory (pids and
 * the shared counters), so that it works also when no process answers; the other nodes tell theirs.
 */
#ifndef CMD_CTL_STATUS_H
#define CMD_CTL_STATUS_H

#include "cmd/ctl.h"

/* Gives the exit code: 1 if a process is missing, or a node does not answer. */
int rt_ctl_status(const struct rt_ctl *c, char **argv);

#endif
