-- SPDX-License-Identifier: Apache-2.0
-- The database of deploy/dev: what an application's Postgres has, idempotent. Run by a superuser.
select format('create role %I nologin noinherit', r)
  from unnest(array['anon', 'authenticated']) r
 where not exists (select from pg_roles where rolname = r) \gexec
select 'create role service_role nologin noinherit bypassrls'
 where not exists (select from pg_roles where rolname = 'service_role') \gexec
select 'create role realtime login replication'
 where not exists (select from pg_roles where rolname = 'realtime') \gexec
select 'create role realtime_check login noinherit'
 where not exists (select from pg_roles where rolname = 'realtime_check') \gexec

alter role realtime with password :'realtime_password';
alter role realtime_check with password :'check_password';
alter role realtime_check set search_path = public, extensions;
grant anon, authenticated, service_role to realtime, realtime_check;
select format('grant create on database %I to realtime', current_database()) \gexec

grant usage on schema public to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on tables to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on functions to anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  grant all on sequences to anon, authenticated, service_role;

select 'create publication supabase_realtime'
 where not exists (select from pg_publication where pubname = 'supabase_realtime') \gexec

-- A table for the example of the README.
select 'create table public.todos (id bigint generated always as identity primary key, task text, '
       'done boolean not null default false)'
 where to_regclass('public.todos') is null \gexec
select 'alter publication supabase_realtime add table public.todos'
 where not exists (select from pg_publication_tables
                    where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'todos') \gexec
