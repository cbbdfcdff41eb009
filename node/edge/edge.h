/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge.h - the `edge` process: client sockets, their protocol, and fan-out to them.
 *
 * One turn of the loop: frames of the owner and messages of clients change state and fill queues;
 * at its end what the cluster side wants is done (link.c), then each socket with something queued
 * gets one send (flush.c).
 */
#ifndef NODE_EDGE_EDGE_H
#define NODE_EDGE_EDGE_H

#include "node/base/config.h"

/* Time for clients to take the close frame when the process ends, at most half of
 * REALTIME_STOP_MS. */
#define RT_EDGE_DRAIN_MS 2000u
/* Descriptors kept for other uses than client sockets. */
#define RT_EDGE_FDS_SPARE 64u

/* Runs until SIGTERM or SIGINT. Exit code: 0, or 1 if it cannot go on. Borrows both. */
int rt_edge_main(const struct rt_config *cfg, const struct rt_role_args *args);

#endif
