/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CMD_CTL_EXPLAIN_H
#define CMD_CTL_EXPLAIN_H

#include "cmd/ctl.h"

/*
 * explain TOPIC [SCHEMA.]TABLE [COLUMN=VALUE]... [--event INSERT|UPDATE|DELETE] [--conn ID]: walks
 * the way of a change of that table, or of that row, to each binding of the topic's channels. Gives
 * the exit code: 1 if something on the way drops it, or nobody would get it.
 */
int rt_ctl_explain(const struct rt_ctl *c, char **argv);

#endif
