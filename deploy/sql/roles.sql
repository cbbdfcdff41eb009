-- SPDX-License-Identifier: Apache-2.0
-- Roles and logins of Datafuse Realtime, for the administrator of an existing database; idempotent.
-- As a superuser; in a database of Supabase that is supabase_admin.
--
--   psql -d DATABASE -v realtime_password=... -v check_password=... -f deploy/sql/roles.sql
--
-- realtime        REALTIME_DATABASE_URL: owns schema realtime and the replication slot
-- realtime_check  REALTIME_DATABASE_CHECK_URL: evaluates row level security and owns nothing
\set ON_ERROR_STOP on
begin;
select format('create role %I nologin noinherit', r)
  from unnest(array['anon', 'authenticated']) r
 where not exists (select from pg_roles where rolname = r) \gexec
select 'create role service_role nologin noinherit bypassrls'
 where not exists (select from pg_roles where rolname = 'service_role') \gexec
select 'create role realtime'
 where not exists (select from pg_roles where rolname = 'realtime') \gexec
select 'create role realtime_check'
 where not exists (select from pg_roles where rolname = 'realtime_check') \gexec

alter role realtime login replication inherit password :'realtime_password';
alter role realtime_check login noinherit password :'check_password';
grant anon, authenticated, service_role to realtime, realtime_check;

select format('grant create on database %I to realtime', current_database()) \gexec
-- A database that had a schema realtime before, as of Supabase.
select g
  from unnest(array['grant usage, create on schema realtime to realtime',
                    'grant usage on schema realtime '
                      'to anon, authenticated, service_role, realtime_check']) g
 where exists (select from pg_namespace where nspname = 'realtime') \gexec
-- There it owns realtime.messages, whose owner alone is above its policies and makes partitions.
select 'grant supabase_realtime_admin to realtime'
 where exists (select from pg_roles where rolname = 'supabase_realtime_admin') \gexec
-- What a server made that ran as another login before, which could read the WAL: all that has our name,
-- and of the rest what a superuser owns. What a login of an application made stays its own.
select format('alter table %s owner to realtime', c.oid::regclass)
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace and n.nspname = 'realtime'
  join pg_roles o on o.oid = c.relowner and o.rolname <> 'realtime'
 where c.relkind in ('r', 'p')
   and (c.relname like 'datafuse\_%' and (o.rolsuper or o.rolreplication)
        or o.rolsuper and (c.relname = 'messages' or c.oid in (
             select inhrelid from pg_inherits
              where inhparent = to_regclass('realtime.messages')))) \gexec
select format('alter function %s owner to realtime', p.oid::regprocedure)
  from pg_proc p
  join pg_namespace n on n.oid = p.pronamespace and n.nspname = 'realtime'
  join pg_roles o on o.oid = p.proowner and o.rolname <> 'realtime'
 where p.proname like 'datafuse\_%' and (o.rolsuper or o.rolreplication)
    or o.rolsuper and p.proname in ('topic', 'send', 'send_binary', 'broadcast_changes') \gexec
commit;
