/* SPDX-License-Identifier: Apache-2.0 */
/* doctor_sql.c - what doctor asks the catalogs; see doctor.h. */
#include "node/db/doctor.h"
#include "node/db/plans.h"

/* Its name as slot.c makes it; standbys have not asked for it. */
#define OUR_SLOT                                                                                   \
    "(select 'datafuse_realtime_' || oid from pg_catalog.pg_database where datname = "             \
    "current_database())"

static const char server_sql[] =
    "select case when v >= 140000 then 'ok' else 'problem' end, 'PostgreSQL ' || "
    "current_setting('server_version') || ', database ' || current_database() || ', login ' || "
    "session_user, case when v < 140000 then 'upgrade the server to 14 or later' end "
    "from (select current_setting('server_version_num')::int as v) s";

static const char writable_sql[] =
    "select 'problem', 'the server is a standby', 'point REALTIME_DATABASE_URL at the primary' "
    "where pg_is_in_recovery() "
    "union all select 'problem', 'transactions are read-only by default', format('alter role %I "
    "reset default_transaction_read_only;  -- and of the database', session_user) "
    "where current_setting('default_transaction_read_only') = 'on' and not pg_is_in_recovery()";

static const char wal_level_sql[] =
    "select 'problem', 'wal_level is ' || current_setting('wal_level'), "
    "'alter system set wal_level = logical;  -- then restart the server' "
    "where current_setting('wal_level') <> 'logical'";

static const char login_sql[] =
    "with me as (select * from pg_catalog.pg_roles where rolname = session_user) "
    "select 'advice', format('login %s is a superuser', rolname), "
    "'use a login of its own: " RT_FIX_ROLES "' from me where rolsuper "
    "union all select 'problem', format('login %s may not replicate', rolname), "
    "format('alter role %I replication;', rolname) from me "
    "where not rolreplication and not rolsuper "
    "union all select 'problem', format('login %s may not create a schema', rolname), "
    "format('grant create on database %I to %I;', current_database(), rolname) from me "
    "where not has_database_privilege(current_database(), 'create') "
    "union all select 'problem', format('role %s does not exist', r), '" RT_FIX_ROLES "' "
    "from unnest(array['anon', 'authenticated', 'service_role']) r "
    "where not exists (select from pg_catalog.pg_roles where rolname = r) "
    "union all select 'problem', format('login %s may not become %s', session_user, rolname), "
    "format('grant %I to %I;', rolname, session_user) from pg_catalog.pg_roles "
    "where rolname in ('anon', 'authenticated', 'service_role') "
    "and not pg_has_role(session_user, oid, 'member')";

/* What its policies may not reach: a way out of a policy ends at a login that may do nothing. */
static const char check_login_sql[] =
    "with me as (select * from pg_catalog.pg_roles where rolname = session_user) "
    "select 'advice', format('CheckLoginTooPowerful: login %s %s', min(rolname), "
    "string_agg(w, ', ' order by o)), "
    "'set REALTIME_DATABASE_CHECK_URL to a login that owns nothing: " RT_FIX_ROLES "' "
    "from me, lateral (select 1, 'is a superuser' where rolsuper "
    "union all select 2, 'bypasses row level security' where rolbypassrls and not rolsuper "
    "union all select 3, 'owns tables' where exists (select from pg_catalog.pg_class "
    "where relowner = me.oid and relkind in ('r', 'p')) "
    "union all select 4, 'inherits the rights of its roles' where rolinherit and not rolsuper) "
    "x(o, w) having count(*) > 0 "
    "union all select 'problem', format('login %s may not use schema realtime', session_user), "
    "format('grant usage on schema realtime to %I;', session_user) from pg_catalog.pg_namespace "
    "where nspname = 'realtime' and not has_schema_privilege(oid, 'usage') "
    "union all select 'problem', format('login %s may not become %s', session_user, rolname), "
    "format('grant %I to %I;', rolname, session_user) from pg_catalog.pg_roles "
    "where rolname in ('anon', 'authenticated', 'service_role') "
    "and not pg_has_role(session_user, oid, 'member')";

static const char senders_sql[] =
    "select case when used < most or exists (select from pg_catalog.pg_replication_slots where "
    "slot_name = " OUR_SLOT " and active) then 'ok' else 'problem' end, "
    "format('%s of %s WAL senders are in use', used, most), "
    "format('alter system set max_wal_senders = %s;  -- then restart the server', most + 5) "
    "from (select count(*) as used, current_setting('max_wal_senders')::int as most "
    "from pg_catalog.pg_stat_replication) s";

static const char slots_sql[] =
    "select case when used < most or ours > 0 then 'ok' else 'problem' end, "
    "format('%s of %s replication slots are in use', used, most), "
    "format('alter system set max_replication_slots = %s;  -- then restart the server', most + 5) "
    "from (select count(*) as used, count(*) filter (where slot_name = " OUR_SLOT ") as ours, "
    "current_setting('max_replication_slots')::int as most "
    "from pg_catalog.pg_replication_slots) s";

static const char slot_sql[] =
    "select 'problem', format('slot %s has lost WAL that it needed: changes are missing', "
    "slot_name), 'alter system set max_slot_wal_keep_size = ''8GB''; select pg_reload_conf();  -- "
    "the slot is made anew by itself' "
    "from pg_catalog.pg_replication_slots where slot_name = " OUR_SLOT " and wal_status = 'lost' "
    "union all select 'problem', format('slot %s is about to lose WAL that it needs', slot_name), "
    "'realtimectl slots shows who reads it; raise max_slot_wal_keep_size meanwhile' "
    "from pg_catalog.pg_replication_slots where slot_name = " OUR_SLOT
    " and wal_status = 'unreserved' "
    "union all select 'advice', format('nobody reads slot %s, %s of WAL are kept for it', "
    "slot_name, case when pg_is_in_recovery() then '?' else "
    "pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)) end), "
    "format('start a node; or, for good: select pg_drop_replication_slot(%L);', slot_name) "
    "from pg_catalog.pg_replication_slots where slot_name = " OUR_SLOT " and not active";

static const char keep_sql[] =
    "select 'advice', 'max_slot_wal_keep_size is -1: a cluster that is down for long fills the "
    "disk of the database', 'alter system set max_slot_wal_keep_size = ''4GB''; select "
    "pg_reload_conf();' where current_setting('max_slot_wal_keep_size') = '-1'";

static const char connections_sql[] =
    "select case when most - kept - used >= 3 then 'ok' else 'problem' end, "
    "format('%s of %s connections are in use', used, most - kept), "
    "format('alter system set max_connections = %s;  -- then restart the server', most * 2) "
    "from (select count(*) as used, current_setting('max_connections')::int as most, "
    "current_setting('superuser_reserved_connections')::int as kept "
    "from pg_catalog.pg_stat_activity where backend_type = 'client backend') s";

static const char publication_sql[] =
    "select 'problem', format('publication %s is missing', $1::text), "
    "format('create publication %I;', $1::text) "
    "where not exists (select from pg_catalog.pg_publication where pubname = $1) "
    "union all select 'advice', format('publication %s belongs to %s, who may not own the tables', "
    "pubname, pubowner::regrole), format('alter publication %I owner to %s;', pubname, "
    "d.datdba::regrole) from pg_catalog.pg_publication p, pg_catalog.pg_database d "
    "where pubname = $1 and d.datname = current_database() and pubowner <> datdba "
    "union all select 'advice', format('no table is in publication %s: nobody gets changes', "
    "$1::text), format('alter publication %I add table SCHEMA.TABLE;', $1::text) "
    "where exists (select from pg_catalog.pg_publication where pubname = $1) "
    "and not exists (select from pg_catalog.pg_publication_tables where pubname = $1)";

/* Tables of the publication, for the checks below. */
#define PUBLISHED                                                                                  \
    "with t as (select c.*, format('%I.%I', p.schemaname, p.tablename) as full_name from "         \
    "pg_catalog.pg_publication_tables p join pg_catalog.pg_namespace n on n.nspname = "            \
    "p.schemaname join pg_catalog.pg_class c on c.relnamespace = n.oid and c.relname = "           \
    "p.tablename where p.pubname = $1) "
#define AT_MOST " limit 20"

static const char identity_sql[] = PUBLISHED
    "select 'problem', format('%s has no replica identity: UPDATE and DELETE on it fail', "
    "full_name), format('alter table %s add primary key (...);  -- or: alter table %s replica "
    "identity full;', full_name, full_name) from t "
    "where relkind = 'r' and (relreplident = 'n' or (relreplident = 'd' and not exists (select "
    "from pg_catalog.pg_index where indrelid = t.oid and indisprimary))) and exists (select from "
    "pg_catalog.pg_publication where pubname = $1 and (pubupdate or pubdelete))" AT_MOST;

static const char policies_sql[] = PUBLISHED
    "select 'advice', format('%s has row level security and no policy to read: only roles that "
    "bypass it get its changes', full_name), format('create policy read on %s for select to "
    "authenticated using (...);', full_name) from t where relrowsecurity and not exists (select "
    "from pg_catalog.pg_policy where polrelid = t.oid and polcmd in ('r', '*'))" AT_MOST;

static const char old_rows_sql[] = PUBLISHED
    "select 'advice', format('%s has identity full: the old row of an UPDATE is shown to who may "
    "see the new one', full_name), 'REALTIME_DELETE_RLS=on judges old rows too' "
    "from t where not $2::pg_catalog.bool and relrowsecurity and relreplident = 'f' "
    "union all select 'advice', format('%s has row level security without identity full: a DELETE "
    "that policies cannot judge by its key reaches nobody', full_name), format('alter table %s "
    "replica identity full;', full_name) from t "
    "where $2::pg_catalog.bool and relkind = 'r' and relrowsecurity and relreplident <> "
    "'f'" AT_MOST;

/* Columns that a policy reads, as Postgres remembers them. */
static const char policy_index_sql[] = PUBLISHED
    "select distinct on (t.oid, a.attnum) 'advice', format('policy %s of %s reads column %s, with "
    "which no index begins', "
    "p.polname, t.full_name, a.attname), format('create index concurrently on %s (%I);', "
    "t.full_name, a.attname) from t join pg_catalog.pg_policy p on p.polrelid = t.oid "
    "join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_policy'::regclass and d.objid = "
    "p.oid and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid = t.oid and "
    "d.refobjsubid > 0 join pg_catalog.pg_attribute a on a.attrelid = t.oid and a.attnum = "
    "d.refobjsubid where p.polcmd in ('r', '*') and not exists (select from pg_catalog.pg_index i "
    "where i.indrelid = t.oid and i.indkey[0] = a.attnum) order by t.oid, a.attnum, "
    "p.polname" AT_MOST;

/* What an index, a generated column or a check needs must stay IMMUTABLE. */
static const char functions_sql[] =
    "select 'advice', format('function %s is declared IMMUTABLE and may read more than its "
    "arguments: policies are planned anew for each claims set, and where it does read more, one "
    "may "
    "get what is another''s', name), case when exists (select from pg_catalog.pg_depend d "
    "where d.refclassid = 'pg_catalog.pg_proc'::regclass and d.refobjid = f.oid and d.classid in "
    "('pg_catalog.pg_class'::regclass, 'pg_catalog.pg_attrdef'::regclass, "
    "'pg_catalog.pg_constraint'::regclass)) then format('write %s so that it reads its arguments "
    "alone', name) else format('alter function %s stable;', name) end from " RT_MISTAKEN_SQL
    " f order by oid" AT_MOST;

/* Its owner is above the policies of realtime.messages, and alone makes its partitions. */
#define MESSAGES                                                                                   \
    "(select c.relkind, c.relowner::regrole as boss, r.rolsuper, "                                 \
    "pg_has_role(c.relowner, 'usage') as ours from pg_catalog.pg_class c "                         \
    "join pg_catalog.pg_namespace n on n.oid = c.relnamespace and n.nspname = 'realtime' "         \
    "join pg_catalog.pg_roles r on r.oid = c.relowner where c.relname = 'messages') m "

static const char messages_sql[] =
    "select 'problem', 'realtime.messages is not a partitioned table', '" RT_FIX_PLAIN_MESSAGES
    "' from " MESSAGES "where relkind <> 'p' "
    "union all select 'problem', format('realtime.messages belongs to %s, whose rights login %s "
    "does not have: private channels fail, and no partitions are made', boss, session_user), "
    "case when rolsuper then '" RT_FIX_ROLES "' else format('grant %s to %I;', boss, session_user) "
    "end from " MESSAGES "where relkind = 'p' and not ours";

static const char partitions_sql[] =
    "select 'problem', format('realtime.messages has no partition for %s', day), "
    "'run a node with REALTIME_MIGRATE=on: it makes them ahead of time' "
    "from " MESSAGES ", (select to_char(now() at time zone 'utc' + i * interval '1 day', "
    "'YYYY_MM_DD') as day from generate_series(0, 1) i) d "
    "where relkind = 'p' and ours and to_regclass('realtime.messages_' || day) is null";

static const char timeouts_sql[] =
    "select 'advice', format('role %s has statement_timeout %s', r.rolname, v), "
    "format('alter role %I set statement_timeout = ''8s'';', r.rolname) "
    "from pg_catalog.pg_db_role_setting s join pg_catalog.pg_roles r on r.oid = s.setrole, "
    "unnest(s.setconfig) c, lateral (select substr(c, 19) as v) x "
    "where c like 'statement_timeout=%' and r.rolname in ('anon', 'authenticated', "
    "'service_role') and s.setdatabase in (0, (select oid from pg_catalog.pg_database where "
    "datname = current_database())) and case when v ~ '^[0-9]+$' then v::int between 1 and 2999 "
    "when v ~ '^[0-9]+(us|ms|s|min|h|d)$' then v::interval < interval '3s' end";

const struct rt_check rt_checks[] = {
    {"server", false, 0, server_sql, ""},
    {"writable", false, 0, writable_sql, "the server takes writes"},
    {"wal_level", false, 0, wal_level_sql, "wal_level is logical"},
    {"login", false, 0, login_sql, "the login has what it needs"},
    {"check_login", true, 0, check_login_sql,
     "the login that evaluates policies has what it needs, and no more"},
    {"connections", false, 0, connections_sql, ""},
    {"senders", false, 0, senders_sql, ""},
    {"slots", false, 0, slots_sql, ""},
    {"slot", false, 0, slot_sql, "the slot is in use, or not needed yet"},
    {"wal_kept", false, 0, keep_sql, "max_slot_wal_keep_size is set"},
    {"publication", false, 1, publication_sql,
     "the publication is there, has tables, and the right owner"},
    {"identity", false, 1, identity_sql, "all published tables have a replica identity"},
    {"policies", false, 1, policies_sql, "no published table is closed to everybody"},
    {"old_rows", false, 2, old_rows_sql, "no old row is shown that policies hide"},
    {"policy_index", false, 1, policy_index_sql, "columns that policies read have an index"},
    {"functions", false, 0, functions_sql, "claims sets share the plans of policies"},
    {"messages", false, 0, messages_sql, "realtime.messages is as it must be, or not there"},
    {"partitions", false, 0, partitions_sql,
     "realtime.messages has partitions for today and tomorrow"},
    {"timeouts", false, 0, timeouts_sql, "no role has a short statement_timeout"},
};
const size_t rt_checks_count = sizeof rt_checks / sizeof rt_checks[0];
