// SPDX-License-Identifier: Apache-2.0
// Private channels for tests: policies that look into a table of who may do what, so that a test changes rows
// and never the policies, which other tests use at the same time.

export async function preparePolicies(sql) {
  await sql.query(`
    create table public.allowed (sub text, topic text, act text, extension text, primary key (sub, topic, act, extension));
    grant select on public.allowed to anon, authenticated;
    create policy may_read on realtime.messages for select to anon, authenticated using (exists (
      select from public.allowed a where a.sub = coalesce(auth.jwt() ->> 'sub', 'nobody') and a.topic = realtime.topic()
         and a.act = 'read' and a.extension = messages.extension));
    create policy may_write on realtime.messages for insert to anon, authenticated with check (exists (
      select from public.allowed a where a.sub = coalesce(auth.jwt() ->> 'sub', 'nobody') and a.topic = realtime.topic()
         and a.act = 'write' and a.extension = messages.extension))`)
}

/** rights: words like 'read:broadcast write:presence'; replaces what the user had on this topic, and never takes
 *  away what stays: somebody may look meanwhile. */
export async function allow(sql, sub, topic, rights) {
  const words = rights.split(' ').filter(Boolean)
  await sql.query("delete from public.allowed where sub = $1 and topic = $2 and act || ':' || extension <> all ($3)", [sub, topic, words])
  for (const right of words) {
    await sql.query('insert into public.allowed values ($1, $2, $3, $4) on conflict do nothing', [sub, topic, ...right.split(':')])
  }
}

export const notToRead = (sub) => `You do not have permissions to read from this Channel topic: ${sub}`
export const noLonger = (sub) => `You no longer have permission to read from this Channel topic: ${sub}`
export const notToWrite = (sub) => `Unauthorized: You do not have permissions to write to this Channel topic: ${sub}`
