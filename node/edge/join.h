/* SPDX-License-Identifier: Apache-2.0 */
/*
 * join.h - phx_join: the checks, in the order of Supabase, of which the first that fails is told.
 *
 *   topic name, draining, private only, connected clients, joins per second, channels of the
 *   socket, token, database (private channels), replay
 *
 * A public and a private channel of one name are two topics: nothing private ever becomes public.
 * What the policies say is waited for behind these checks, pending.h.
 */
#ifndef NODE_EDGE_JOIN_H
#define NODE_EDGE_JOIN_H

#include "node/edge/edge_in.h"

/* `old`: the joined channel of the same topic, which ends whatever comes of the new join; or NULL.
 */
void rt_join(struct rt_socket *s, struct rt_channel *old, const struct pr_phx_msg *m);

#endif
