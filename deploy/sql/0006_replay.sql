-- SPDX-License-Identifier: Apache-2.0
-- Replay: the broadcasts that are stored of one private channel.
--
-- realtime.datafuse_replay() is called by the check login, which owns nothing, after
-- datafuse_authorize() has said that the one who joins may read broadcasts of this topic. It runs as
-- the owner of the table, whom the policies do not concern: the policies that decide are those on
-- the topic, as for live broadcasts, and no row of another topic comes out of it. Whoever may call
-- it reads every private channel, so only the check login may.

select pg_catalog.pg_advisory_xact_lock(1684435572);

-- The newest `most` rows since then, oldest first. Of those the newest that have `bytes` bytes
-- together, but always one. A row over `largest` is left out: nobody got it live either.
create or replace function realtime.datafuse_replay(
  topic text, since_ms bigint, most integer, bytes bigint, largest bigint)
returns table (event text, payload text, binary_payload text, id text, inserted_at text)
language sql stable security definer set search_path = '' as $$
  select s.event, s.payload, '\x' || pg_catalog.encode(s.bin, 'hex'), s.id::text,
         s.inserted_at::text
    from (select r.*, pg_catalog.sum(r.size) filter (where r.size <= datafuse_replay.largest)
                        over (order by r.inserted_at desc, r.id desc) as total
            from (select m.event, m.payload::text as payload, m.binary_payload as bin, m.id,
                         m.inserted_at,
                         coalesce(pg_catalog.octet_length(m.payload::text), 0)::bigint
                           + coalesce(pg_catalog.octet_length(m.binary_payload), 0)
                           + coalesce(pg_catalog.octet_length(m.event), 0) as size
                    from realtime.messages m
                   where m.topic = datafuse_replay.topic
                     and m.private is true
                     and m.extension = 'broadcast'
                     and m.inserted_at >= timestamp '1970-01-01'
                                          + datafuse_replay.since_ms * interval '1 millisecond'
                     and m.inserted_at < (pg_catalog.now() at time zone 'UTC') + interval '1 minute'
                   order by m.inserted_at desc, m.id desc
                   limit datafuse_replay.most) r) s
   where s.size <= datafuse_replay.largest
     and (s.total <= datafuse_replay.bytes or s.total = s.size)
   order by s.inserted_at, s.id
$$;
revoke all on function realtime.datafuse_replay(text, bigint, integer, bigint, bigint) from public;

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
  if not pg_catalog.has_function_privilege(login,
       'realtime.datafuse_replay(text, bigint, integer, bigint, bigint)', 'execute') then
    execute pg_catalog.format('grant execute on function realtime.datafuse_replay'
      '(text, bigint, integer, bigint, bigint) to %I', login);
  end if;
exception when insufficient_privilege then
  raise warning 'private channels will not work: %', sqlerrm;
end $$;
revoke all on function realtime.datafuse_allow(text) from public;
