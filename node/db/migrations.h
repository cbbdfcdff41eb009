/* SPDX-License-Identifier: Apache-2.0 */
/*
 * migrations.h - the numbered files of deploy/sql, compiled in by deploy/sql/embed.py.
 */
#ifndef NODE_DB_MIGRATIONS_H
#define NODE_DB_MIGRATIONS_H

#include <stddef.h>
#include <stdint.h>

struct rt_migration {
    uint32_t version;   /* of the file name, ascending, from 1 */
    const char *name;   /* of the file name, [a-z0-9_] */
    const char *sql;    /* several statements that can run in one transaction */
    uint8_t sha256[32]; /* of the file */
};

extern const struct rt_migration rt_migrations[];
extern const size_t rt_migrations_count;

#endif
