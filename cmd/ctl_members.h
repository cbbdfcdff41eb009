/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ctl_members.h - `realtimectl members` and `ring`: what this node holds of the others, joined with
 * what they say of themselves.
 */
#ifndef CMD_CTL_MEMBERS_H
#define CMD_CTL_MEMBERS_H

#include "cmd/ctl.h"

/* Arguments behind the word, ended by NULL. Both give the exit code. */
int rt_ctl_members(const struct rt_ctl *c, char **argv);
int rt_ctl_ring(const struct rt_ctl *c, char **argv);

/* Rows of one kind ("self", "member", "link") out of an answer; gives a list. */
json_t *rt_ctl_kind(const struct rt_rows *answer, const char *kind);
/* Whether a member with this state takes part: it does not if it is dead or has left. */
bool rt_ctl_is_live(const char *state);
/* How datagrams of a member reach the one who tells of it: "ok", "late", "blocked", "-". */
const char *rt_ctl_udp_word(const json_t *member);

#endif
