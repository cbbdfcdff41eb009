/* SPDX-License-Identifier: Apache-2.0 */
/*
 * users.h - what stands behind a connection of the transport: a client's socket, a body on its way
 * in, or an answer that is held back: a refused handshake's, or a broadcast's that waits for the
 * policies. All begin with their kind.
 */
#ifndef NODE_EDGE_USERS_H
#define NODE_EDGE_USERS_H

enum rt_user_kind { RT_USER_SOCKET = 1, RT_USER_DELAY, RT_USER_PRIVATE, RT_USER_UPLOAD };

#endif
