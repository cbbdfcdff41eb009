/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_status.h - `realtimectl status`: read from the runtime directory alone (pids and the shared
 * counters), so that it works also when no process answers.
 */
#ifndef CMD_CTL_STATUS_H
#define CMD_CTL_STATUS_H

#include <stdbool.h>

/* `socket_path` lies in the runtime directory. Returns the exit code: 1 if a process is missing. */
int rt_ctl_status(const char *socket_path, bool json);

#endif
