-- SPDX-License-Identifier: Apache-2.0
-- Broadcasts from SQL: realtime.send(), realtime.send_binary(), realtime.broadcast_changes().
--
-- Each inserts a row into realtime.messages, with the rights of who calls it; what is committed is
-- read from there. No search_path of their own: a policy's functions resolve names by the caller's.
-- A function of another role is kept: a database that came from Supabase has its own.

select pg_catalog.pg_advisory_xact_lock(1684435572);

do $do$
declare
  found oid;
begin
  -- A message that cannot be sent costs its sender a warning, never the transaction.
  found := to_regprocedure('realtime.send(jsonb, text, text, boolean)');
  if found is null
     or (select pg_has_role(proowner, 'usage') from pg_catalog.pg_proc where oid = found) then
    create or replace function realtime.send(
      payload jsonb, event text, topic text, private boolean default true)
    returns void language plpgsql volatile as $$
    declare
      message uuid := pg_catalog.gen_random_uuid();
      body jsonb := send.payload;
    begin
      if pg_catalog.jsonb_typeof(body) = 'object' and not body ? 'id' then
        body := body || pg_catalog.jsonb_build_object('id', message);
      end if;
      perform pg_catalog.set_config('realtime.topic', send.topic, true);
      insert into realtime.messages (id, topic, extension, event, private, payload)
      values (message, send.topic, 'broadcast', send.event, send.private, body);
    exception when others then
      raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
    end $$;
  end if;

  found := to_regprocedure('realtime.send_binary(bytea, text, text, boolean)');
  if found is null
     or (select pg_has_role(proowner, 'usage') from pg_catalog.pg_proc where oid = found) then
    create or replace function realtime.send_binary(
      payload bytea, event text, topic text, private boolean default true)
    returns void language plpgsql volatile as $$
    begin
      perform pg_catalog.set_config('realtime.topic', send_binary.topic, true);
      insert into realtime.messages (topic, extension, event, private, binary_payload)
      values (send_binary.topic, 'broadcast', send_binary.event, send_binary.private,
              send_binary.payload);
    exception when others then
      raise warning 'WarnSendingBroadcastMessage: %', sqlerrm;
    end $$;
  end if;

  -- For triggers. A wrong use of it fails the statement; a message that cannot be sent does not.
  found := to_regprocedure(
    'realtime.broadcast_changes(text, text, text, text, text, record, record, text)');
  if found is null
     or (select pg_has_role(proowner, 'usage') from pg_catalog.pg_proc where oid = found) then
    create or replace function realtime.broadcast_changes(
      topic_name text, event_name text, operation text, table_name text, table_schema text,
      new record, old record, level text default 'ROW')
    returns void language plpgsql volatile as $$
    begin
      if level = 'STATEMENT' then
        raise exception 'function can only be triggered for each row, not for each statement';
      elsif operation not in ('INSERT', 'UPDATE', 'DELETE') then
        raise exception 'Unexpected operation type: %', operation;
      end if;
      perform realtime.send(
        pg_catalog.jsonb_build_object('schema', table_schema, 'table', table_name,
                                      'operation', operation, 'record', new, 'old_record', old),
        event_name, topic_name);
    exception when others then
      raise exception 'Failed to process the row: %', sqlerrm;
    end $$;
  end if;
end $do$;
