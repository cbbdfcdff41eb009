/* SPDX-License-Identifier: Apache-2.0 */
/*
 * supervisor.h - starts, watches and restarts the processes of a node.
 *
 * It opens the listening sockets and keeps them, so that the successor of a dead edge finds the
 * connections that wait in its accept queue. It parses no byte of a client and never talks to
 * Postgres.
 */
#ifndef NODE_SUPERVISOR_SUPERVISOR_H
#define NODE_SUPERVISOR_SUPERVISOR_H

#include "node/base/config.h"

/*
 * Runs a node until SIGTERM or SIGINT. `config_path` is handed to the children (NULL: none).
 * Returns the exit code: 0, 1 if it cannot start, RT_EXIT_FATAL if its owner ended with that; the
 * reason is in the log.
 */
int rt_supervisor_main(const struct rt_config *cfg, const char *config_path, struct rt_log *log);

#endif
