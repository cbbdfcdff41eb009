/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner.h - the `owner` process: runs the cluster core and carries frames between edges and db.
 */
#ifndef NODE_OWNER_OWNER_H
#define NODE_OWNER_OWNER_H

#include "node/base/config.h"

/* Serves RUNTIME_DIR/owner.sock and control.sock until SIGTERM. Returns the exit code. */
int rt_owner_main(const struct rt_config *cfg, const struct rt_role_args *args);

#endif
