-- Makes an API key and returns it, this once: only its sha-256 is stored. It has 244 random bits
-- and ends in six hex digits of a checksum, so that a scanner can tell a key from noise.
create function api.key_create(
  p_tenant uuid,
  p_name text default 'default',
  p_scopes text[] default array['ingest', 'read', 'admin']
)
returns table (key_id uuid, api_key text)
language plpgsql volatile security definer
set search_path = ''
as $$
declare
  v_prefix text := 'pgt_' || left(replace(gen_random_uuid()::text, '-', ''), 12);
  v_secret text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_key text := v_prefix || '_' || v_secret;
begin
  v_key := v_key || left(encode(sha256(v_key::bytea), 'hex'), 6);
  return query
  insert into tally.api_keys as k (tenant_id, name, key_prefix, key_hash, scopes)
  values (p_tenant, p_name, v_prefix, sha256(v_key::bytea), p_scopes)
  returning k.key_id, v_key;
exception
  when foreign_key_violation then
    raise exception using errcode = 'TY404', message = 'no such tenant';
  when check_violation then
    raise exception using
      errcode = 'TY400', message = 'bad name or scopes',
      hint = 'A name has 1 to 200 characters; scopes are ingest, read and admin; without a tenant admin alone.';
end
$$;
alter function api.key_create owner to tally_owner;
revoke all on function api.key_create from public;
grant execute on function api.key_create to tally_service;
comment on function api.key_create is
  'Makes an API key of a tenant, or, with a NULL tenant and scope admin, an admin key; returns the key, which cannot be shown again.';
