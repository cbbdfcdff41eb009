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
 * and may read more than its arguments: by its words, since a word is the name of a function that
 * is not IMMUTABLE and may read settings, roles or tables (any of the database's own may, but for
 * those in C), by a default of an argument, by an operator or a cast of the database's own, or
 * because its language cannot be read here. Else all plans of the session are discarded before each
 * claims set. Functions that belong to an extension of a superuser are believed. Not looked at are
 * the checks of domains and names in U&"" form.
 *
 * What is declared so by mistake is noticed with the next look, every 5 s, and what is prepared
 * lives as long (RT_PG_KEPT_MS): so long it may give one claims set the rows of another.
 */
#ifndef NODE_DB_PLANS_H
#define NODE_DB_PLANS_H

#include <stdbool.h>
#include <stdint.h>

struct rt_db;

struct rt_plans {
    bool shared;
    uint32_t changes; /* looks that found other functions: plans of before are to be discarded */
    char print[40];   /* hash of the functions; "": not known */
};

/* Words that read more, or run what cannot be read; a quoted name that is none of the words. */
#define RT_READS_WORDS                                                                             \
    "\\m(table|execute|current_[a-z]+|session_user|system_user|user)\\M"                           \
    "|\"[^\"]*[^\"[:alnum:]_$][^\"]*\""
/* Not every FROM is of a table. */
#define RT_READS_NO_TABLE                                                                          \
    "extract\\s*\\(\\s*\\w+\\s+from|distinct\\s+from"                                              \
    "|(substring|trim|overlay)\\s*\\([^()]*\\sfrom"                                                \
    "|from\\s+(unnest|generate_series|regexp_\\w+|jsonb?_\\w+|string_to_table)\\s*\\("
#define RT_READS_BUILT_IN                                                                          \
    "^(current_setting|set_config|row_security_active|getpgusername|(pg|has|lo|ts)_.*|"            \
    ".*_to_xml.*)$"
#define RT_NOT_IN_C                                                                                \
    "q.provolatile <> 'i' and q.prolang <> (select l.oid from pg_catalog.pg_language l "           \
    "where l.lanname = 'c')"

/* Those functions: oid, name. Ours and those of Supabase in schema realtime are known. */
#define RT_MISTAKEN_SQL                                                                            \
    "(select f.oid, f.oid::pg_catalog.regprocedure::pg_catalog.text as name "                      \
    "from pg_catalog.pg_proc f join pg_catalog.pg_language l on l.oid = f.prolang, "               \
    "lateral (select coalesce(pg_catalog.pg_get_function_sqlbody(f.oid), f.prosrc) as text) b "    \
    "where f.oid >= 16384 and f.provolatile = 'i' and l.lanname not in ('c', 'internal') "         \
    "and not (f.pronamespace::pg_catalog.regnamespace::pg_catalog.text = 'realtime' and "          \
    "f.proname in ('cast', 'check_equality_op', 'is_visible_through_filters', 'to_regrole')) "     \
    "and not exists (select from pg_catalog.pg_depend d "                                          \
    "join pg_catalog.pg_roles r on r.oid = f.proowner and r.rolsuper "                             \
    "where d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass and d.objid = f.oid "             \
    "and d.deptype = 'e') and (l.lanname not in ('sql', 'plpgsql') "                               \
    "or b.text ~* '" RT_READS_WORDS "' "                                                           \
    "or pg_catalog.regexp_replace(b.text, '" RT_READS_NO_TABLE "', ' ', 'gi') ~* '\\mfrom\\M' "    \
    "or exists (select from pg_catalog.regexp_matches(b.text, "                                    \
    "'[^[:space:][:cntrl:]!-#%-/:-@[\\\\\\]^`{-~]+', 'g') m join pg_catalog.pg_proc q "            \
    "on q.proname in (m[1]::pg_catalog.name, pg_catalog.lower(m[1])::pg_catalog.name) where "      \
    "q.oid >= 16384 and (" RT_NOT_IN_C " or q.prokind = 'a') "                                     \
    "or q.provolatile <> 'i' and q.proname ~ '" RT_READS_BUILT_IN "') "                            \
    "or f.proargdefaults is not null and pg_catalog.pg_get_function_arguments(f.oid) ~* "          \
    "'current_|session_|\\w\\s*\\(' "                                                              \
    "or exists (select from pg_catalog.pg_operator o join pg_catalog.pg_proc q on q.oid = "        \
    "o.oprcode where o.oid >= 16384 and " RT_NOT_IN_C                                              \
    " and pg_catalog.strpos(b.text, o.oprname::pg_catalog.text) > 0) "                             \
    "or exists (select from pg_catalog.pg_cast c join pg_catalog.pg_proc q on q.oid = c.castfunc " \
    "where c.oid >= 16384 and " RT_NOT_IN_C ")))"

/* Looks whether plans may be shared, if the functions are others than at the last look: d->plans.
 * On the control connection; the caller ends the segment. */
void rt_plans_ask(struct rt_db *d);

#endif
