/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_topics.h - `realtimectl topics` and `presence TOPIC`: what the owners tell of topics, joined
 * with what the edges tell, and with what other nodes hold.
 */
#ifndef CMD_CTL_TOPICS_H
#define CMD_CTL_TOPICS_H

#include "cmd/ctl.h"

/* Arguments behind the word, ended by NULL. Both give the exit code. */
int rt_ctl_topics(const struct rt_ctl *c, char **argv);
int rt_ctl_presence(const struct rt_ctl *c, char **argv);

#endif
