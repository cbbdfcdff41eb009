/* SPDX-License-Identifier: Apache-2.0 */
/* db.h - the `db` process: everything Postgres. */
#ifndef NODE_DB_DB_H
#define NODE_DB_DB_H

#include "node/base/config.h"

/* Serves the owner with changes until SIGTERM; lives also without a database. Exit code. */
int rt_db_main(const struct rt_config *cfg, const struct rt_role_args *args);

#endif
