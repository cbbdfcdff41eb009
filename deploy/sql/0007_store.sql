-- SPDX-License-Identifier: Apache-2.0
-- Storing what clients broadcast ("persist"), for replay.
--
-- realtime.datafuse_store() is called by the check login, which owns nothing. The policies of
-- realtime.messages are asked by a probe row of extension "persistence", as for every other right;
-- who may gets a row of that extension, which the stream of broadcasts leaves out: the message
-- itself has its own, faster way. Retention is the table's, or shorter by a time to live.

select pg_catalog.pg_advisory_xact_lock(1684435572);

-- Apart from realtime.messages, which may belong to another role and have its own shape.
create table if not exists realtime.datafuse_expiry (
  message uuid primary key,
  expires_at timestamp not null
);
create index if not exists datafuse_expiry_expires_at_index
  on realtime.datafuse_expiry (expires_at);
revoke all on realtime.datafuse_expiry from public;

-- As the owner of the table, whom its policies do not concern; whoever may call it can write
-- messages, so only the check login may. A message that is here already was asked for twice: an
-- answer was lost; the lock is for a first question that is still under way then. Expiries of a week ago are of messages that retention took.
create or replace function realtime.datafuse_put(
  topic text, message uuid, event text, payload text, bin text, ttl bigint)
returns void language plpgsql volatile security definer set search_path = '' as $$
#variable_conflict use_column
begin
  perform pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended(message::text, 0));
  if exists (select from realtime.messages m
              where m.id = message
                and m.inserted_at >= (pg_catalog.now() at time zone 'UTC') - interval '1 minute') then
    return;
  end if;
  insert into realtime.messages (id, topic, extension, event, private, payload, binary_payload)
  values (message, datafuse_put.topic, 'persistence', datafuse_put.event, true,
          datafuse_put.payload::jsonb, datafuse_put.bin::bytea);
  if ttl is not null then
    insert into realtime.datafuse_expiry (message, expires_at)
    values (datafuse_put.message,
            (pg_catalog.now() at time zone 'UTC') + ttl * interval '1 second')
    on conflict do nothing;
  end if;
  delete from realtime.datafuse_expiry e
   where e.expires_at < (pg_catalog.now() at time zone 'UTC') - interval '7 days'
     and not exists (select from realtime.messages m where m.id = e.message);
end $$;
revoke all on function
  realtime.datafuse_put(text, uuid, text, text, text, bigint) from public;

-- One row: was it stored, and the error of a policy that raised one instead of deciding. Raises
-- DF002 if the role cannot be taken.
create or replace function realtime.datafuse_store(
  as_role text, topic text, claims text, sub text, headers text,
  message uuid, event text, payload text, bin text, ttl bigint)
returns table (stored boolean, error text)
language plpgsql volatile security invoker as $$
begin
  select a.can_write, a.error into stored, error
    from realtime.datafuse_authorize(as_role, topic, claims, sub, headers,
                                     '{}', '{persistence}') a;
  if stored then
    perform realtime.datafuse_put(topic, message, event, payload, bin, ttl);
  end if;
  return next;
end $$;
revoke all on function realtime.datafuse_store(
  text, text, text, text, text, uuid, text, text, text, bigint) from public;

-- For replay, as messages_inserted_at_topic_index is for broadcasts. Not on a table of another role.
do $do$
begin
  if (select pg_has_role(relowner, 'usage') from pg_catalog.pg_class
       where oid = 'realtime.messages'::regclass) then
    create index if not exists datafuse_messages_stored_index
      on realtime.messages (inserted_at desc, topic)
      where extension = 'persistence' and private is true;
  end if;
end $do$;

-- As before (0006_replay.sql), with what clients had stored, as long as it is to live. One half for
-- each extension: their indexes are partial, and an "in" would use neither.
create or replace function realtime.datafuse_replay(
  topic text, since_ms bigint, most integer, bytes bigint, largest bigint)
returns table (event text, payload text, binary_payload text, id text, inserted_at text)
language sql stable security definer set search_path = '' as $$
  select s.event, s.payload, '\x' || pg_catalog.encode(s.bin, 'hex'), s.id::text,
         s.inserted_at::text
    from (select r.*, pg_catalog.sum(r.size) filter (where r.size <= datafuse_replay.largest)
                        over (order by r.inserted_at desc, r.id desc) as total
            from (select b.*,
                         coalesce(pg_catalog.octet_length(b.payload), 0)::bigint
                           + coalesce(pg_catalog.octet_length(b.bin), 0)
                           + coalesce(pg_catalog.octet_length(b.event), 0) as size
                    from ((select m.event, m.payload::text as payload, m.binary_payload as bin, m.id,
                          m.inserted_at
                     from realtime.messages m
                    where m.topic = datafuse_replay.topic
                      and m.private is true
                      and m.extension = 'broadcast'
                      and m.inserted_at >= timestamp '1970-01-01'
                                           + datafuse_replay.since_ms * interval '1 millisecond'
                      and m.inserted_at < (pg_catalog.now() at time zone 'UTC')
                                          + interval '1 minute'
                    order by m.inserted_at desc, m.id desc
                    limit datafuse_replay.most)
                          union all
                          (select m.event, m.payload::text as payload, m.binary_payload as bin, m.id,
                          m.inserted_at
                     from realtime.messages m
                    where m.topic = datafuse_replay.topic
                      and m.private is true
                      and m.extension = 'persistence'
                      and m.inserted_at >= timestamp '1970-01-01'
                                           + datafuse_replay.since_ms * interval '1 millisecond'
                      and m.inserted_at < (pg_catalog.now() at time zone 'UTC')
                                          + interval '1 minute'
                      and not exists (select from realtime.datafuse_expiry e
                                       where e.message = m.id
                                         and e.expires_at <= pg_catalog.now() at time zone 'UTC')
                    order by m.inserted_at desc, m.id desc
                    limit datafuse_replay.most)) b
                   order by b.inserted_at desc, b.id desc
                   limit datafuse_replay.most) r) s
   where s.size <= datafuse_replay.largest
     and (s.total <= datafuse_replay.bytes or s.total = s.size)
   order by s.inserted_at, s.id
$$;

-- What the check login needs. Run at every start, since its name is a setting.
create or replace function realtime.datafuse_allow(login text) returns void
language plpgsql volatile set search_path = '' as $$
declare
  f text;
begin
  if not exists (select from pg_catalog.pg_roles where rolname = login) or login = current_user then
    return;
  end if;
  if not pg_catalog.has_schema_privilege(login, 'realtime', 'usage')
     and pg_catalog.has_schema_privilege('realtime', 'usage with grant option') then
    execute pg_catalog.format('grant usage on schema realtime to %I', login);
  end if;
  foreach f in array array[
    'realtime.datafuse_probe(uuid[], text, text[])',
    'realtime.datafuse_authorize(text, text, text, text, text, text[], text[])',
    'realtime.datafuse_replay(text, bigint, integer, bigint, bigint)',
    'realtime.datafuse_put(text, uuid, text, text, text, bigint)',
    'realtime.datafuse_store(text, text, text, text, text, uuid, text, text, text, bigint)'] loop
    if not pg_catalog.has_function_privilege(login, f, 'execute') then
      execute pg_catalog.format('grant execute on function %s to %I', f, login);
    end if;
  end loop;
exception when insufficient_privilege then
  raise warning 'private channels will not work: %', sqlerrm;
end $$;
revoke all on function realtime.datafuse_allow(text) from public;
