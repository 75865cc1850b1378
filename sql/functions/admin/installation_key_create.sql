-- Makes a key that may make tenants. Only for who has the database: the service may not call it, so
-- its stolen password makes no such key, and a lost one is replaced on the database host only.
create function tally.installation_key_create(p_name text default 'admin')
returns table (key_id uuid, api_key text)
language sql volatile strict
set search_path = ''
as $$
  select m.key_id, m.api_key from tally.key_make(null, p_name, array['admin']) as m
$$;
alter function tally.installation_key_create owner to tally_owner;
revoke all on function tally.installation_key_create from public;
comment on function tally.installation_key_create is 'Makes an admin key of the installation and returns it; it cannot be shown again.';
