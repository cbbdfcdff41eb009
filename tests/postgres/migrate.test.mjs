// SPDX-License-Identifier: Apache-2.0
// Goal: schema realtime is the same however often, by how many and in what database it is made, and its partitions
// are those of the days around now.
import { test, after as atEnd } from 'node:test'
import assert from 'node:assert/strict'
import pg from 'pg'
import { setTimeout as delay } from 'node:timers/promises'
import { root, SECRET, startCluster, startNode, startPostgres, until } from '../harness/process.mjs'
import { supabaseDatabase, supabaseEnv } from '../harness/supabase.mjs'
import { connect } from '../harness/phx.mjs'
import { all, prepare, subscriber, after } from './subscribers.mjs'

const server = await startPostgres({ after: atEnd })
const admin = await server.connect()
const LOCK = 1684435572

/** A database that is empty but for what a DBA must give (`rights`), and a superuser in it. */
async function fresh(t, name, rights = [`grant create on database ${name} to realtime`]) {
  await admin.query(`create database ${name} template template0`)
  const of = (url) => url.replace(/postgres$/, name)
  const sql = new pg.Client({ connectionString: of(server.url) })
  sql.on('error', () => {})
  await sql.connect()
  t.after(() => sql.end())
  for (const r of rights) await sql.query(r)
  return { database: { ...server, url: of(server.url), realtimeUrl: of(server.realtimeUrl), checkUrl: of(server.checkUrl) }, sql }
}

/** All that migrations make, as the catalog tells it; partitions differ by the day. */
const shape = async (sql) => (await sql.query(`
  select 'migration ' || version || ' ' || name || ' ' || encode(checksum, 'hex') as it from realtime.datafuse_migrations
  union all select format('relation %s %s %s %s', relname, relkind, relowner::regrole, relrowsecurity) from pg_class
    where relnamespace = 'realtime'::regnamespace and relname !~ '^messages_\\d'
  union all select format('rights of %s: %s', relname, a.r) from pg_class, lateral (select format('%s %s', grantee::regrole, privilege_type) as r from aclexplode(relacl)) a
    where relnamespace = 'realtime'::regnamespace and relname !~ '^messages_\\d'
  union all select format('column %s.%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod), attnotnull) from pg_attribute join pg_class c on c.oid = attrelid
    where relnamespace = 'realtime'::regnamespace and relname !~ '^messages_\\d' and attnum > 0
  union all select format('constraint %s %s', conname, pg_get_constraintdef(c.oid)) from pg_constraint c join pg_class r on r.oid = conrelid
    where relnamespace = 'realtime'::regnamespace and relname !~ '^messages_\\d'
  union all select format('function %s %s %s', proowner::regrole, proacl, pg_get_functiondef(oid)) from pg_proc where pronamespace::regnamespace::text in ('realtime', 'auth')
  union all select format('publication %s %s %s', pubname, pubowner::regrole, pubinsert::text || pubupdate || pubdelete) from pg_publication
  union all select format('published %s %s', pubname, tablename) from pg_publication_tables where tablename !~ '^messages_\\d'
  order by 1`)).rows.map((r) => r.it)

const partitions = async (sql) => (await sql.query(`select c.relname, pg_get_expr(c.relpartbound, c.oid) as bound from pg_inherits join pg_class c on c.oid = inhrelid
  where inhparent = 'realtime.messages'::regclass order by 1`)).rows
const days = async (sql, from, to) => (await sql.query("select to_char((now() at time zone 'UTC')::date + n, 'YYYY_MM_DD') as day from generate_series($1::int, $2) n", [from, to])).rows.map((r) => `messages_${r.day}`)

/** It works: a row of a table and a message of SQL arrive. */
async function works(t, node, sql) {
  await sql.query(`grant usage on schema public to authenticated; create table t (id int primary key); grant all on t to authenticated;
    alter publication supabase_realtime add table t`)
  await prepare(sql)
  const s = await subscriber(t, node, all('t'))
  const [got] = await after(sql, ['insert into t values (1)', "select realtime.send('{}', 'said', 'none', false)"], s)
  assert.deepEqual(got.map((d) => d.record), [{ id: 1 }])
}
const noTrouble = (...nodes) => { for (const n of nodes) assert.doesNotMatch(n.logText(), /lvl=(warn|error).*(migration|Migrations|partitions_failed|partitions_not_made)/) }

test('case 66: an empty database, three nodes at once, no superuser; then again', async (t) => {
  const { database, sql } = await fresh(t, 'at_once')
  // They all stand before the lock until it is let go.
  await sql.query('select pg_advisory_lock($1)', [LOCK])
  const cluster = await startCluster(t, { database, nodes: 3, ready: false })
  await until('three that wait', async () => (await admin.query("select count(*)::int as n from pg_locks where locktype = 'advisory' and objid = $1 and not granted", [LOCK])).rows[0].n === 3, 30000)
  await sql.query('select pg_advisory_unlock($1)', [LOCK])
  for (const node of cluster.nodes) await node.ready()
  await until('partitions', async () => (await partitions(sql)).length >= 5)
  const made = await shape(sql)
  noTrouble(...cluster.nodes)
  assert.equal(cluster.nodes.flatMap((n) => n.logText().match(/ev=migration_applied/g) ?? []).length, made.filter((l) => l.startsWith('migration')).length)

  const { database: other, sql: sqlOther } = await fresh(t, 'alone')
  const alone = await startNode(t, { database: other, nodes: 1 })
  await until('partitions', async () => (await partitions(sqlOther)).length >= 5)
  assert.deepEqual(await shape(sqlOther), made)
  await alone.stop()
  const again = await startNode(t, { database: other, nodes: 1 })
  assert.deepEqual(await shape(sqlOther), made)
  noTrouble(alone, again)
  await works(t, cluster.nodes[1], sql)
  await works(t, again, sqlOther)
})

test('case 66: a login that may not create is told so, and goes on when it may', async (t) => {
  const { database, sql } = await fresh(t, 'no_rights', [])
  const node = await startNode(t, { database, nodes: 1, databaseReady: false })
  await until('the log line', () => /ev=migrations_failed code=MigrationsFailedToRun.*permission denied for database no_rights/.test(node.logText()))
  await sql.query('grant create on database no_rights to realtime')
  await until('the schema', async () => (await sql.query("select to_regclass('realtime.messages') is not null as ok")).rows[0].ok, 60000)
  await node.ready()
})

test('case 65: days around now have partitions, expired ones go', async (t) => {
  const { database, sql } = await fresh(t, 'partitioned')
  const node = await startNode(t, { database, nodes: 1 })
  await until('partitions', async () => (await partitions(sql)).length >= 5)
  const [first, last] = [await days(sql, -1, 3), await days(sql, -4, 3)]
  const made = await partitions(sql)
  assert.deepEqual(made.map((p) => p.relname), first)
  for (const { relname, bound } of made) assert.ok(bound.startsWith(`FOR VALUES FROM ('${relname.slice(9).replaceAll('_', '-')} 00:00:00')`), bound)
  await node.stop()

  // As it looks four days after the last time that anybody cared: all that there is, is old, with rows in it.
  const old = async (from, to) => {
    for (const [i, name] of (await days(sql, from, to)).entries()) {
      await sql.query(`create table realtime.${name} partition of realtime.messages for values from ((now() at time zone 'UTC')::date + ${from + i}) to ((now() at time zone 'UTC')::date + ${from + i + 1})`)
      await sql.query(`insert into realtime.messages (topic, extension, inserted_at) values ('old', 'broadcast', (now() at time zone 'UTC')::date + ${from + i} + interval '23:59:59.999999')`)
      await sql.query(`alter table realtime.${name} owner to realtime`)
    }
  }
  for (const { relname } of made) await sql.query(`drop table realtime.${relname}`)
  await old(-6, -2)
  await sql.query(`create table realtime.messages_kept (like realtime.messages including all); alter table realtime.messages attach partition realtime.messages_kept
    for values from ((now() at time zone 'UTC')::date - 20) to ((now() at time zone 'UTC')::date - 10)`) // no name of ours
  const second = await startNode(t, { database, nodes: 1 })
  await until('the janitor', async () => (await partitions(sql)).length === 8)
  assert.deepEqual((await partitions(sql)).map((p) => p.relname), [...last.slice(1), 'messages_kept'])
  assert.deepEqual((await sql.query("select count(*)::int as n from pg_class where relname ~ '^messages_\\d' and relkind = 'r'")).rows[0].n, 7)
  assert.equal((await sql.query("select count(*)::int as n from realtime.messages where topic = 'old'")).rows[0].n, 2)
  noTrouble(second)
})

/** Schema realtime as Supabase's own migrations leave it, by its login; its newer ones have a column for bytes. */
const theirs = (binary) => `set role supabase_admin; create schema realtime; grant usage on schema realtime to anon, authenticated, service_role;
  create table realtime.messages (topic text not null, extension text not null, payload jsonb, event text, private boolean default false,
    updated_at timestamp not null default now(), inserted_at timestamp not null default now(), id uuid not null default gen_random_uuid()
    ${binary ? ', binary_payload bytea' : ''}, primary key (id, inserted_at)) partition by range (inserted_at);
  alter table realtime.messages enable row level security;
  grant select, insert, update on realtime.messages to anon, authenticated, service_role;
  do $$ begin for i in -1..3 loop
    execute format('create table realtime.messages_%s partition of realtime.messages for values from (%L) to (%L)',
      to_char(current_date + i, 'YYYY_MM_DD'), current_date + i, current_date + i + 1);
  end loop; end $$;
  create table realtime.subscription (id bigint primary key);
  create table realtime.schema_migrations (version bigint primary key, inserted_at timestamp);
  create function realtime.topic() returns text language sql stable as $$ select nullif(current_setting('realtime.topic', true), '')::text $$;
  create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void language plpgsql as $$ begin
    perform set_config('realtime.topic', topic, true);
    insert into realtime.messages (payload, event, topic, private, extension) values (payload, event, topic, private, 'broadcast');
  exception when others then raise warning 'ErrorSendingBroadcastMessage: %', sqlerrm; end $$;
  create function realtime.broadcast_changes(topic_name text, event_name text, operation text, table_name text, table_schema text,
    new record, old record, level text default 'ROW') returns void language plpgsql as $$ begin
    perform realtime.send('{}'::jsonb, event_name, topic_name); end $$;
  create publication supabase_realtime_messages_publication for table realtime.messages;
  create publication supabase_realtime;
  create policy everybody on realtime.messages for all to anon using (true) with check (true);
  insert into realtime.messages (topic, extension, event, payload, private) values ('room', 'broadcast', 'before', '{}', true);
  reset role; create table t (id int primary key); grant select on t to anon; alter publication supabase_realtime add table t`

for (const binary of [true, false]) {
  test(`case 66: the database of a Supabase ${binary ? 'of today' : 'before messages had bytes'}: its schema stays, and works`, async (t) => {
    const name = `theirs_${binary}`
    const { database, sql } = await fresh(t, name, [`do $$ begin if to_regrole('supabase_admin') is null then ${supabaseDatabase('x').split(';')[0]}; end if; end $$`, theirs(binary)])
    const ours = ['JWT_SECRET', 'DATABASE_URL', 'DATABASE_CHECK_URL', 'AUTH_HELPERS']
    const node = await startNode(t, { database, nodes: 1, env: {
      ...Object.fromEntries(ours.map((n) => [`REALTIME_${n}`, undefined])),
      ...supabaseEnv({ host: '127.0.0.1', port: server.port, password: 'x', secret: SECRET }), DB_NAME: name, DB_AFTER_CONNECT_QUERY: undefined } })
    await until('the migrations', () => (node.logText().match(/ev=migration_applied/g) ?? []).length === 6) // not auth_helpers
    const s = await connect(t, node, { vsn: '1.0.0' })
    const config = { private: true, broadcast: { ack: true, replay: { since: 1 } }, postgres_changes: [{ event: '*', schema: 'public', table: 't' }] }
    await s.join('realtime:room', config, { ref: '1' })
    assert.equal((await s.event('realtime:room', 'broadcast')).payload.event, 'before')
    assert.equal((await s.event('realtime:room', 'system')).payload.message, 'Subscribed to PostgreSQL')
    await sql.query(`select realtime.send('{"a":1}', 'by SQL', 'room', true)`)
    await sql.query('insert into t values (1)')
    const { event, payload } = (await s.event('realtime:room', 'broadcast')).payload
    assert.deepEqual([event, payload.a], ['by SQL', 1])
    assert.equal((await s.event('realtime:room', 'postgres_changes')).payload.data.record.id, 1)
    assert.equal((await s.call('1', 'realtime:room', 'broadcast', { type: 'broadcast', event: 'e', payload: {} })).payload.status, 'ok')
    noTrouble(node)
    const { rows } = await sql.query("select to_regclass('realtime.subscription') is not null as kept, (select count(*)::int from pg_policies where schemaname = 'realtime' and policyname = 'everybody') as policies")
    assert.deepEqual(rows, [{ kept: true, policies: 1 }])
  })
}

/** deploy/sql/roles.sql, as an administrator runs it. */
const giveRoles = (database) => server.psql('-d', database.url, '-v', 'realtime_password=x', '-v', 'check_password=x', '-f', `${root}/deploy/sql/roles.sql`)

/** Schema realtime as the migrations of supabase/realtime of 2025 leave it: a column is not there yet, and its janitor has made a partition of today. */
const SUPABASE = [
  `do $$ begin
    if to_regrole('supabase_admin') is null then
      create role supabase_admin superuser login replication;
    end if;
    if to_regrole('supabase_realtime_admin') is null then
      create role supabase_realtime_admin nologin noinherit;
    end if;
  end $$`,
  'set role supabase_admin',
  'create schema realtime; grant usage on schema realtime to postgres, anon, authenticated, service_role; grant all on schema realtime to supabase_realtime_admin',
  `create table realtime.messages (topic text not null, extension text not null, payload jsonb, event text, private boolean default false,
    updated_at timestamp not null default now(), inserted_at timestamp not null default now(), id uuid not null default gen_random_uuid(),
    primary key (id, inserted_at)) partition by range (inserted_at)`,
  `do $$ declare day date := now() at time zone 'UTC'; begin
    execute format('create table realtime.%I partition of realtime.messages for values from (%L) to (%L)', to_char(day, '"messages_"YYYY_MM_DD'), day, day + 1);
  end $$`,
  'alter table realtime.messages enable row level security; grant select, insert, update on realtime.messages to anon, authenticated, service_role',
  "create function realtime.topic() returns text language sql stable as $$ select nullif(current_setting('realtime.topic', true), '') $$",
  `create function realtime.send(payload jsonb, event text, topic text, private boolean default true) returns void language plpgsql as $$ begin
    perform set_config('realtime.topic', topic, true);
    insert into realtime.messages (payload, event, topic, private, extension) values (payload, event, topic, private, 'broadcast');
  end $$`,
  'alter table realtime.messages owner to supabase_realtime_admin; alter function realtime.topic() owner to supabase_realtime_admin',
  'create publication supabase_realtime; alter publication supabase_realtime owner to postgres',
  'reset role',
]
const HEAR = "create policy hear on realtime.messages for select to authenticated using (realtime.topic() = 'lobby')"

/** A private channel: who may is in and hears SQL, who may not is told so, by both of which the check login has asked. */
async function privately(t, node, sql) {
  const s = await connect(t, node, { vsn: '1.0.0' })
  const refused = await s.join('realtime:lobby', {}, { payload: { config: { private: true }, access_token: node.token({ role: 'anon' }) }, refused: true })
  assert.match(refused.payload.response.reason, /^Unauthorized: /)
  await s.join('realtime:lobby', {}, { payload: { config: { private: true, broadcast: { replication_ready: true } }, access_token: node.token({}) } })
  await s.take('the database to be read', (f) => f.event === 'system' && f.payload.status === 'ok', 30000)
  await sql.query("select realtime.send('{\"n\":1}', 'said', 'lobby', true)")
  assert.equal((await s.event('realtime:lobby', 'broadcast', 30000)).payload.event, 'said')
}
const found = (node, check) => node.ask('doctor').rows.filter((r) => r.check === check && r.level !== 'ok')
const madeAhead = (sql) => until('partitions', async () => {
  const [have, want] = [(await partitions(sql)).map((p) => p.relname), await days(sql, -1, 3)]
  return want.every((name) => have.includes(name))
})
const LOGINS = ['login', 'check_login', 'messages', 'partitions', 'schema']

test('a database of Supabase with the logins of roles.sql', async (t) => {
  const { database, sql } = await fresh(t, 'from_supabase', SUPABASE)
  giveRoles(database)
  await sql.query(HEAR)
  const node = await startNode(t, { database })
  await madeAhead(sql)
  await privately(t, node, sql)
  for (const check of LOGINS) assert.deepEqual(found(node, check), [], check)
  noTrouble(...node.nodes ?? [node])
  // The first look at the policies is no change of them.
  let n = 0
  await until('a changed policy to be seen', async () => {
    await sql.query(`alter policy hear on realtime.messages using (realtime.topic() = 'lobby' and ${++n} > 0)`)
    await delay(200)
    return /ev=policies_changed/.test(node.logText())
  })
  assert.doesNotMatch(node.logText(), /ev=policies_changed before=""/)
  await node.stop()

  await sql.query('revoke supabase_realtime_admin from realtime')
  const other = await startNode(t, { database, nodes: 1 })
  await until('the warning', () => /lvl=warn.*ev=partitions_not_made owner=supabase_realtime_admin/.test(other.logText()))
  const [finding, ...more] = found(other, 'messages')
  assert.deepEqual([finding.ok, more], [false, []])
  await sql.query(finding.fix)
  assert.deepEqual(found(other, 'messages'), [])
})

for (const [name, rights] of [['supabase_first', SUPABASE], ['superuser_first', []]]) {
  test(`a superuser before, then the logins of roles.sql: ${name}`, async (t) => {
    const { database, sql } = await fresh(t, name, rights)
    const superuser = database.url.replace('//postgres:', `//${rights.length ? 'supabase_admin' : 'postgres'}:`)
    const first = await startNode(t, { database: { ...database, realtimeUrl: superuser, checkUrl: superuser } })
    await madeAhead(sql)
    assert.match(found(first, 'login')[0].fix, /roles\.sql$/)
    assert.equal(found(first, 'check_login').length, 1)
    await first.stop()

    const before = await startNode(t, { database, nodes: 1 })
    await until('the hint', () => /ev=migrations_failed.*sqlstate=42501.*hint=".*roles\.sql"/.test(before.logText()))
    assert.match(found(before, 'schema')[0].fix, /roles\.sql$/)
    await before.stop()

    giveRoles(database)
    giveRoles(database)
    await sql.query(HEAR)
    const [last] = await days(sql, 3, 3)
    await sql.query(`drop table realtime.${last}`)
    const node = await startNode(t, { database })
    await madeAhead(sql)
    await privately(t, node, sql)
    for (const check of LOGINS) assert.deepEqual(found(node, check), [], check)
    noTrouble(...node.nodes ?? [node])
    // All that expires can be dropped, whoever made it.
    assert.deepEqual((await sql.query("select inhrelid::regclass from pg_inherits join pg_class c on c.oid = inhrelid where inhparent = 'realtime.messages'::regclass and relowner <> 'realtime'::regrole")).rows, [])
  })
}

test('a realtime.messages of before the partitions: who can mend it is told', async (t) => {
  const { database, sql } = await fresh(t, 'plain', ['create schema realtime authorization realtime', 'create table realtime.messages (id bigserial primary key, topic text not null)'])
  const node = await startNode(t, { database, nodes: 1, databaseReady: false })
  await until('the log line', () => /ev=migrations_failed.*not a partitioned table" hint="let a supabase\/realtime of 2025 or later/.test(node.logText()))
  await until('doctor', () => found(node, 'messages').length === 1)
  for (const check of ['messages', 'schema']) assert.deepEqual(found(node, check).map((r) => r.fix.split(':')[0]), ['let a supabase/realtime of 2025 or later start on this database first'], check)
  assert.deepEqual(found(node, 'partitions'), [])
  // Any other failure has no such hint.
  await sql.query('drop table realtime.messages; create table realtime.messages (topic integer) partition by range (topic)')
  await until('another failure', () => /ev=migrations_failed.*sqlstate=42804 err="[^"]*"$/m.test(node.logText()), 30000)
})
