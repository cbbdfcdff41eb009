-- SPDX-License-Identifier: Apache-2.0
-- The publications: tables whose changes are sent, and the messages of the database.
-- The first is named by REALTIME_PUBLICATION, which comes as setting datafuse.publication.

select pg_catalog.pg_advisory_xact_lock(1684435572);

do $$
declare
  pub text := coalesce(nullif(current_setting('datafuse.publication', true), ''),
                       'supabase_realtime');
  boss oid := (select datdba from pg_catalog.pg_database where datname = current_database());
begin
  if not exists (select from pg_catalog.pg_publication where pubname = pub) then
    execute format('create publication %I', pub);
    -- Only the owner of a publication adds tables to it: that should be who owns the tables.
    begin
      execute format('alter publication %I owner to %s', pub, boss::regrole);
    exception when insufficient_privilege then
      null; -- an administrator can do it
    end;
  end if;
end $$;

-- Only inserted messages are sent. An existing publication is altered, never made anew: a slot
-- that reads across the change would find none of that name in its past.
do $$
declare
  pub constant text := 'supabase_realtime_messages_publication';
  found_pub record;
begin
  select oid, puballtables, pg_has_role(pubowner, 'usage') as ours into found_pub
    from pg_catalog.pg_publication where pubname = pub;
  if found_pub.oid is null then
    if (select pg_has_role(relowner, 'usage') from pg_catalog.pg_class
         where oid = 'realtime.messages'::regclass) then
      execute format('create publication %I for table realtime.messages '
                     'with (publish = ''insert'')', pub);
    else
      raise warning 'publication % is missing; the owner of realtime.messages can create it', pub;
    end if;
  elsif found_pub.ours and not found_pub.puballtables
        and (select array_agg(prrelid::oid) from pg_catalog.pg_publication_rel
              where prpubid = found_pub.oid)
            is distinct from array['realtime.messages'::regclass::oid] then
    execute format('alter publication %I set table realtime.messages', pub);
  end if;
end $$;
