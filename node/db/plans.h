/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plans.h - may all claims sets of a role be judged by one plan of a statement?
 *
 * Planning is most of what one row of one claims set costs. But the planner calls a function that
 * is declared IMMUTABLE and has constant arguments, and keeps the result in the plan: if such a
 * function reads the claims all the same, the plan is right for one claims set alone. PL/pgSQL
 * keeps plans of its own, for as long as the session, whatever ours do. Source: Postgres
 * documentation, "Function Volatility Categories", "Plan Caching"; its plancache.c.
 *
 * So plans are shared only while the database has no function of its own that is declared IMMUTABLE
 * and may read more than its arguments: a word in it reads more, or names a table or a function
 * that is not IMMUTABLE and may read more (any of the database's own may, but for those in C); or
 * the database has such operators or casts, which have no word; or its language cannot be read
 * here. Else all plans of the session are discarded before each claims set. Functions that belong
 * to an extension of a superuser are believed, the checks of domains are not looked at.
 *
 * What is declared so by mistake is noticed with the next look, every 5 s, and what is prepared
 * lives as long (RT_PG_KEPT_MS): so long it may give one claims set the rows of another. What edges
 * know of private channels is asked again then.
 */
#ifndef NODE_DB_PLANS_H
#define NODE_DB_PLANS_H

#include <stdbool.h>
#include <stdint.h>

struct rt_db;

struct rt_plans {
    bool shared;
    bool asking;
    uint32_t changes;   /* looks that found other functions: plans of before are to be discarded */
    uint64_t failed_ms; /* the last look that failed; 0: none did since one that did not */
    char print[40];     /* hash of the functions; "": not known */
};

/* Words that read more, or run what cannot be read, and names whose letters cannot. */
#define RT_READS_WORDS                                                                             \
    "\\m(execute|current_[a-z]+|session_user|system_user)\\M|(?<!'')\\muser\\M|u&\""
#define RT_READS_BUILT_IN                                                                          \
    "^(current_setting|set_config|row_security_active|getpgusername|(pg|has|lo|ts)_.*|"            \
    ".*_to_xml.*)$"
#define RT_NOT_IN_C                                                                                \
    "q.provolatile <> 'i' and q.prolang <> (select l.oid from pg_catalog.pg_language l "           \
    "where l.lanname = 'c')"
#define RT_IS_TABLE "c.relkind in ('r', 'p', 'v', 'm', 'f') and c.relpersistence <> 't'"

/* Those functions: oid, name. What Supabase has in schema realtime is known. Names of more than
 * letters, digits and _ are no words. */
#define RT_MISTAKEN_SQL                                                                            \
    "(with odd as materialized (select '\"' || pg_catalog.replace(name, '\"', '\"\"') || '\"' as " \
    "quoted from (select q.proname::pg_catalog.text from pg_catalog.pg_proc q where "              \
    "q.oid >= 16384 and (" RT_NOT_IN_C " or q.prokind = 'a') union all select c.relname from "     \
    "pg_catalog.pg_class c where " RT_IS_TABLE ") x(name) where name !~ '^[[:alnum:]_$]+$'), "     \
    "wordless as materialized (select from pg_catalog.pg_operator o join pg_catalog.pg_proc q "    \
    "on q.oid = o.oprcode where o.oid >= 16384 and " RT_NOT_IN_C " union all select from "         \
    "pg_catalog.pg_cast c join pg_catalog.pg_proc q on q.oid = c.castfunc where c.oid >= 16384 "   \
    "and " RT_NOT_IN_C ") "                                                                        \
    "select f.oid, f.oid::pg_catalog.regprocedure::pg_catalog.text as name "                       \
    "from pg_catalog.pg_proc f join pg_catalog.pg_language l on l.oid = f.prolang, "               \
    "lateral (select coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), f.prosrc) as text) b "    \
    "where f.oid >= 16384 and f.provolatile = 'i' and l.lanname not in ('c', 'internal') "         \
    "and not (f.pronamespace::pg_catalog.regnamespace::pg_catalog.text = 'realtime' and "          \
    "f.proname in "                                                                                \
    "('cast', 'check_equality_op', 'is_visible_through_filters', 'quote_wal2json', "               \
    "'to_regrole')) and not exists (select from pg_catalog.pg_depend d "                           \
    "join pg_catalog.pg_roles r on r.oid = f.proowner and r.rolsuper "                             \
    "where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = f.oid "             \
    "and d.deptype = 'e') and (l.lanname not in ('sql', 'plpgsql') "                               \
    "or exists (select from wordless) "                                                            \
    "or b.text ~* '" RT_READS_WORDS "' "                                                           \
    "or exists (select from odd where pg_catalog.strpos(b.text, odd.quoted) > 0) "                 \
    "or exists (select from (select distinct w[1]::pg_catalog.name as word, "                      \
    "pg_catalog.lower(w[1])::pg_catalog.name as lower from pg_catalog.regexp_matches(b.text, "     \
    "'[^[:space:][:cntrl:]!-#%-/:-@[\\\\\\]^`{-~]+', 'g') w) w where exists (select from "         \
    "pg_catalog.pg_proc q where q.proname in (word, lower) and (q.oid >= 16384 and "               \
    "(" RT_NOT_IN_C " or q.prokind = 'a') or q.provolatile <> 'i' and q.proname ~ "                \
    "'" RT_READS_BUILT_IN "')) or exists (select from pg_catalog.pg_class c where "                \
    "c.relname in (word, lower) and " RT_IS_TABLE "))))"

/* Looks whether plans may be shared, if the functions are others than at the last look: d->plans.
 * A segment of its own on the control connection. */
void rt_plans_ask(struct rt_db *d);
/* The connections are new. */
void rt_plans_forget(struct rt_db *d);

#endif
