-- SPDX-License-Identifier: Apache-2.0
-- Private channels: what the policies on realtime.messages allow to a role with these claims.
--
-- realtime.datafuse_authorize() is called by the check login, which owns nothing. It asks the
-- policies by probe rows, as Supabase does: topic, extension and id are set, private is false, the
-- rest is the default. Everything is undone before it returns; nothing reaches subscribers.

select pg_catalog.pg_advisory_xact_lock(1684435572);

-- Rows to be read under the role. As the owner of the table, whom its policies do not concern;
-- whoever may call it can write messages, so only the check login may.
create or replace function realtime.datafuse_probe(ids uuid[], topic text, exts text[])
returns void language sql volatile security definer set search_path = '' as $$
  insert into realtime.messages (id, topic, extension)
  select i, datafuse_probe.topic, e from unnest(ids, exts) p (i, e)
$$;
revoke all on function realtime.datafuse_probe(uuid[], text, text[]) from public;

-- One row per extension. Raises DF002 if the role cannot be taken. An error of a policy is that
-- extension's alone, and denies. An expired statement_timeout ends the whole call.
--
-- The settings are made anew before each question: a policy may have changed them, the role too. No
-- search_path of its own, since a function inside a policy resolves its names by the caller's.
create or replace function realtime.datafuse_authorize(
  as_role text, topic text, claims text, sub text, headers text, reads text[], writes text[])
returns table (extension text, can_read boolean, can_write boolean, error text)
language plpgsql volatile security invoker as $$
#variable_conflict use_column
declare
  ids uuid[];
  seen boolean[] := '{}';
  sent boolean[] := '{}';
  errors text[] := '{}';
  ok boolean;
  why text;
begin
  begin
    if pg_catalog.cardinality(reads) > 0 then
      select pg_catalog.array_agg(pg_catalog.gen_random_uuid()) into ids
        from pg_catalog.unnest(reads);
      perform realtime.datafuse_probe(ids, datafuse_authorize.topic, reads);
    end if;
    for i in 1 .. pg_catalog.cardinality(reads) + pg_catalog.cardinality(writes) loop
      ok := false;
      why := null;
      begin
        if as_role = 'none' then -- would be the login itself
          raise exception 'role "none" does not exist';
        end if;
        perform pg_catalog.set_config('role', as_role, true);
      exception when others then
        raise exception using errcode = 'DF002', message = sqlerrm;
      end;
      perform pg_catalog.set_config('request.jwt.claims', claims, true),
        pg_catalog.set_config('request.jwt.claim.sub', datafuse_authorize.sub, true),
        pg_catalog.set_config('request.jwt.claim.role', as_role, true),
        pg_catalog.set_config('request.headers', headers, true),
        pg_catalog.set_config('realtime.topic', datafuse_authorize.topic, true);
      begin
        if i <= pg_catalog.cardinality(reads) then
          ok := exists (select from realtime.messages m
                         where m.id = ids[i]
                           and m.inserted_at >= pg_catalog.now() - interval '1 minute');
        else
          insert into realtime.messages (topic, extension)
          values (datafuse_authorize.topic, writes[i - pg_catalog.cardinality(reads)]);
          ok := true;
        end if;
      exception
        when read_only_sql_transaction then
          raise;
        when insufficient_privilege then
          null; -- denied; also a function or table that the role may not use
        when check_violation then
          if sqlerrm like 'no partition of relation%' then
            raise;
          end if;
          why := sqlstate || ' ' || sqlerrm;
        when others then
          why := sqlstate || ' ' || sqlerrm;
      end;
      if i <= pg_catalog.cardinality(reads) then
        seen := pg_catalog.array_append(seen, coalesce(ok, false));
      else
        sent := pg_catalog.array_append(sent, coalesce(ok, false));
      end if;
      errors := pg_catalog.array_append(errors, why);
    end loop;
    raise exception using errcode = 'DF001'; -- takes the role, the settings and all rows back
  exception when sqlstate 'DF001' then
    null;
  end;
  return query
    select e, coalesce(pg_catalog.bool_or(r), false), coalesce(pg_catalog.bool_or(w), false),
           pg_catalog.max(x)
      from (select reads[n], seen[n], null::boolean, errors[n]
              from pg_catalog.generate_series(1, pg_catalog.cardinality(reads)) n
            union all
            select writes[n], null::boolean, sent[n], errors[pg_catalog.cardinality(reads) + n]
              from pg_catalog.generate_series(1, pg_catalog.cardinality(writes)) n) v (e, r, w, x)
     group by e;
end $$;
revoke all on function
  realtime.datafuse_authorize(text, text, text, text, text, text[], text[]) from public;

-- What the check login needs. Run at every start, since its name is a setting.
create or replace function realtime.datafuse_allow(login text) returns void
language plpgsql volatile set search_path = '' as $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = login) or login = current_user then
    return;
  end if;
  if not pg_catalog.has_schema_privilege(login, 'realtime', 'usage')
     and pg_catalog.has_schema_privilege('realtime', 'usage with grant option') then
    execute pg_catalog.format('grant usage on schema realtime to %I', login);
  end if;
  if not pg_catalog.has_function_privilege(
       login, 'realtime.datafuse_probe(uuid[], text, text[])', 'execute') then
    execute pg_catalog.format(
      'grant execute on function realtime.datafuse_probe(uuid[], text, text[]) to %I', login);
  end if;
  if not pg_catalog.has_function_privilege(login,
       'realtime.datafuse_authorize(text, text, text, text, text, text[], text[])', 'execute') then
    execute pg_catalog.format('grant execute on function realtime.datafuse_authorize'
      '(text, text, text, text, text, text[], text[]) to %I', login);
  end if;
exception when insufficient_privilege then
  raise warning 'private channels will not work: %', sqlerrm;
end $$;
revoke all on function realtime.datafuse_allow(text) from public;
