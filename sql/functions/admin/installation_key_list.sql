-- The admin keys of the installation, newest first. For who has the database.
create function tally.installation_key_list()
returns table (
  key_id uuid, name text, key_prefix text, created_at timestamptz, revoked_at timestamptz,
  last_used_at timestamptz
)
language sql stable
set search_path = ''
as $$
  select k.key_id, k.name, k.key_prefix, k.created_at, k.revoked_at, k.last_used_at
  from tally.api_keys as k
  where k.tenant_id is null
  order by k.created_at desc, k.key_id
$$;
alter function tally.installation_key_list owner to tally_owner;
revoke all on function tally.installation_key_list from public;
comment on function tally.installation_key_list is 'The admin keys of the installation: names, when made, used last, revoked.';
