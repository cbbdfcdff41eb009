-- SPDX-License-Identifier: Apache-2.0
-- Roles and logins of Datafuse Realtime, for the administrator of an existing database; idempotent.
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
                    'grant usage on schema realtime to anon, authenticated, service_role']) g
 where exists (select from pg_namespace where nspname = 'realtime') \gexec
commit;
