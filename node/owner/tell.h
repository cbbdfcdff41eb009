/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tell.h - what happens to the cluster, as a line of the log and as an event (events.h).
 */
#ifndef NODE_OWNER_TELL_H
#define NODE_OWNER_TELL_H

#include "node/owner/owner_in.h"

/* Strangers and datagrams that are refused are told in sums, this often: whoever sends them must
 * not be able to push everything else out of the list. */
#define RT_TELL_REFUSED_MS 10000u

/* A link; `name` is borrowed. */
void rt_tell_link_up(struct owner *o, struct pr_slice name);
void rt_tell_link_down(struct owner *o, uint64_t id, const char *why);
/* A node that we dialled does not take us. `code` is static. */
void rt_tell_refused_by(struct owner *o, const struct pr_addr *by, const char *code,
                        const char *why);
/* One that we do not take, for what it says of itself. It comes again and again: one event. */
void rt_tell_refused(struct owner *o, struct pr_slice name, const struct pr_addr *addr,
                     const char *why);
/* CL_ACT_MEMBER. What a node says of itself again and again becomes no event. */
void rt_tell_member(struct owner *o, const struct cl_action *a);
/* Who reads the database's changes; 0: nobody. */
void rt_tell_reader(struct owner *o, const char *project, uint64_t id);
/* This node itself: "started", "leaves". */
void rt_tell_node(struct owner *o, const char *what);
/* Often: who owns what, if that has changed; and what was refused. */
void rt_tell_changes(struct owner *o);

#endif
