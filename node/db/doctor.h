/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor.h - what is wrong with the database: the questions of `realtimectl doctor`.
 *
 * Each check is one statement on catalogs, run on a connection that is there anyway. A row is
 * {"check", "level", "detail", "fix"}; level is ok, advice or problem, fix the statement or setting
 * that repairs it. A check without rows found nothing and says so. A check that itself fails is a
 * problem, with the server's words: it would fail in operation too.
 */
#ifndef NODE_DB_DOCTOR_H
#define NODE_DB_DOCTOR_H

#include "node/db/db_in.h"

/* What repairs it; they stand in SQL too. */
#define RT_FIX_ROLES                                                                               \
    "psql -d DATABASE -v realtime_password=... -v check_password=... -f deploy/sql/roles.sql"
#define RT_FIX_PLAIN_MESSAGES                                                                      \
    "let a supabase/realtime of 2025 or later start on this database first: its migrations make "  \
    "the table a partitioned one"

/* What repairs migrations that failed with this SQLSTATE; NULL: it is not known. */
const char *rt_db_migrate_fix(const char *sqlstate);
/* Answers the CTL question of this id, once all statements are answered. */
void rt_db_doctor(struct rt_db *d, uint32_t id);

/* doctor_sql.c */
struct rt_check {
    const char *name;
    bool by_check_login; /* on the connection that evaluates policies */
    int nparams;         /* $1: the publication's name, $2: REALTIME_DELETE_RLS */
    const char *sql;     /* rows: level, detail, fix (may be null) */
    const char *good;    /* detail if there is no row */
};
extern const struct rt_check rt_checks[];
extern const size_t rt_checks_count;

#endif
