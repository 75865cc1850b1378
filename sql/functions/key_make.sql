-- Makes a key: only its sha-256 is stored. It has 244 random bits and ends in six hex digits of a
-- checksum, so that a scanner can tell a key from noise.
create function tally.key_make(p_tenant uuid, p_name text, p_scopes text[])
returns table (key_id uuid, api_key text)
language plpgsql volatile
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
end
$$;
alter function tally.key_make owner to tally_owner;
revoke all on function tally.key_make from public;
comment on function tally.key_make is 'Makes a key and returns it, this once.';
