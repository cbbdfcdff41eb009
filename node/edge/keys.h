/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keys.h - SIGHUP: reads the keys again. If they changed, every channel is told and every client
 * closed with 1012, so that nobody stays with a token of a key that was withdrawn.
 */
#ifndef NODE_EDGE_KEYS_H
#define NODE_EDGE_KEYS_H

#include "node/edge/edge_in.h"

void rt_keys_reload(struct rt_edge *e);

#endif
