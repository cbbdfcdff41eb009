-- SPDX-License-Identifier: Apache-2.0
-- Roles, schema realtime, realtime.messages with its partitions, realtime.topic().
--
-- Runs as one transaction, as a login with CREATE on the database; makes only what is missing.
-- Objects of a Supabase database are kept, whoever owns them.

select pg_catalog.pg_advisory_xact_lock(1684435572);

-- Roles: what the claim "role" of a token names.
do $$
declare
  missing text[];
  r text;
  me record;
begin
  select array_agg(n order by n) into missing
    from unnest(array['anon', 'authenticated', 'service_role']) n
   where not exists (select from pg_catalog.pg_roles where rolname = n);
  if missing is null then
    return;
  end if;
  select rolsuper, rolcreaterole into me from pg_catalog.pg_roles where rolname = current_user;
  if not (me.rolsuper or me.rolcreaterole) then
    raise exception 'missing roles: % (an administrator can create them with deploy/sql/roles.sql)',
      array_to_string(missing, ', ') using errcode = 'undefined_object';
  end if;
  foreach r in array missing loop
    begin
      execute format('create role %I nologin noinherit %s', r,
                     case r when 'service_role' then 'bypassrls' else '' end);
    exception when insufficient_privilege then
      -- Before version 16 only a superuser can give BYPASSRLS.
      execute format('create role %I nologin noinherit', r);
      raise warning 'role % has no BYPASSRLS: row level security applies to it', r;
    end;
    execute format('grant %I to %I', r, current_user);
  end loop;
end $$;

-- Schema.
do $$
declare
  r text;
begin
  if not exists (select from pg_catalog.pg_namespace where nspname = 'realtime') then
    create schema realtime;
  elsif not has_schema_privilege('realtime', 'create') then
    raise exception 'no right to create in schema realtime (its owner can: %)',
      format('grant usage, create on schema realtime to %I', current_user)
      using errcode = 'insufficient_privilege';
  end if;
  foreach r in array array['anon', 'authenticated', 'service_role'] loop
    continue when has_schema_privilege(r, 'realtime', 'usage');
    if has_schema_privilege('realtime', 'usage with grant option') then
      execute format('grant usage on schema realtime to %I', r);
    else
      raise warning 'role % has no right to use schema realtime', r;
    end if;
  end loop;
end $$;

create table if not exists realtime.datafuse_migrations (
  version integer primary key,
  name text not null,
  checksum bytea not null,
  applied_at timestamptz not null default now()
);

-- realtime.messages: what users write policies on.
do $$
declare
  kind "char";
  ours boolean;
  col record;
  r text;
  p text;
begin
  select relkind, pg_has_role(relowner, 'usage') into kind, ours
    from pg_catalog.pg_class
   where relname = 'messages' and relnamespace = 'realtime'::regnamespace;
  if kind is null then
    create table realtime.messages (
      topic text not null,
      extension text not null,
      payload jsonb,
      event text,
      private boolean default false,
      updated_at timestamp not null default now(),
      inserted_at timestamp not null default now(),
      id uuid not null default gen_random_uuid(),
      binary_payload bytea,
      primary key (id, inserted_at),
      constraint messages_payload_exclusive check (payload is null or binary_payload is null)
    ) partition by range (inserted_at);
    ours := true;
  elsif kind <> 'p' then
    raise exception 'realtime.messages exists but is not a partitioned table'
      using errcode = 'wrong_object_type';
  end if;

  for col in
    select w.name, w.type, a.atttypid::regtype::text as found
      from (values ('topic', 'text'), ('extension', 'text'), ('payload', 'jsonb'),
                   ('event', 'text'), ('private', 'boolean'),
                   ('updated_at', 'timestamp without time zone'),
                   ('inserted_at', 'timestamp without time zone'), ('id', 'uuid'),
                   ('binary_payload', 'bytea')) w (name, type)
      left join pg_catalog.pg_attribute a
        on a.attrelid = 'realtime.messages'::regclass and a.attname = w.name
       and not a.attisdropped
     where a.attnum is null or a.atttypid <> w.type::regtype
  loop
    if col.found is null and col.name in ('payload', 'event', 'private', 'binary_payload') and ours
    then
      execute format('alter table realtime.messages add column %I %s', col.name, col.type);
    else
      raise exception 'realtime.messages.% is %, but must be %', col.name,
        coalesce(col.found, 'missing'), col.type using errcode = 'datatype_mismatch';
    end if;
  end loop;

  if not (select relrowsecurity from pg_catalog.pg_class
           where oid = 'realtime.messages'::regclass) then
    alter table realtime.messages enable row level security;
  end if;
  if ours then
    create index if not exists messages_inserted_at_topic_index
      on realtime.messages (inserted_at desc, topic)
      where extension = 'broadcast' and private is true;
  end if;
  foreach r in array array['anon', 'authenticated', 'service_role'] loop
    foreach p in array array['select', 'insert', 'update'] loop
      continue when has_table_privilege(r, 'realtime.messages', p);
      if has_table_privilege('realtime.messages', p || ' with grant option') then
        execute format('grant %s on realtime.messages to %I', p, r);
      else
        raise warning 'role % has no right to % realtime.messages', r, p;
      end if;
    end loop;
  end loop;
end $$;

-- Makes the partitions of yesterday to three days ahead (UTC). A table is made beside and then
-- attached: unlike "create table ... partition of" this does not wait for writers, nor they for it.
-- Does nothing where realtime.messages belongs to another role, which then has its own janitor.
do $do$
begin
  if to_regprocedure('realtime.datafuse_partitions()') is null or exists (
    select from pg_catalog.pg_proc
     where oid = to_regprocedure('realtime.datafuse_partitions()')
       and pg_has_role(proowner, 'usage'))
  then
    create or replace function realtime.datafuse_partitions() returns integer
    language plpgsql volatile set search_path = '' as $$
    declare
      day date;
      part text;
      made integer := 0;
    begin
      if not (select pg_catalog.pg_has_role(relowner, 'usage') from pg_catalog.pg_class
               where oid = 'realtime.messages'::pg_catalog.regclass) then
        return 0;
      end if;
      for ahead in -1 .. 3 loop
        day := (pg_catalog.now() at time zone 'UTC')::date + ahead;
        part := pg_catalog.format('realtime.messages_%s', pg_catalog.to_char(day, 'YYYY_MM_DD'));
        if pg_catalog.to_regclass(part) is not null then
          continue;
        end if;
        begin
          execute pg_catalog.format(
            'create table %s (like realtime.messages including defaults including constraints)',
            part);
          execute pg_catalog.format(
            'alter table realtime.messages attach partition %s for values from (%L) to (%L)',
            part, day, day + 1);
          made := made + 1;
        exception when invalid_object_definition then
          null; -- a partition of another name covers this day; the table is taken back
        end;
      end loop;
      return made;
    end $$;
    revoke all on function realtime.datafuse_partitions() from public;
  end if;
end $do$;

-- The topic whose policies are being asked.
do $do$
begin
  if to_regprocedure('realtime.topic()') is null then
    create function realtime.topic() returns text language sql stable as
      $$ select nullif(current_setting('realtime.topic', true), '') $$;
  end if;
end $do$;
