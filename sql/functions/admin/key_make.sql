-- Makes a key: only its sha-256 is stored. It has 244 random bits and ends in six hex digits of a
-- checksum, so that a scanner, and the service without asking the database, can tell a key from noise.
create function tally.key_make(
  p_tenant uuid,
  p_name text,
  p_scopes text[],
  p_expires_at timestamptz default 'infinity',
  p_rate_limits_per_minute jsonb default '{}',
  p_by uuid default null,
  p_lineage uuid default null,
  p_origins text[] default '{}'
)
returns table (
  key_id uuid, key_prefix text, created_at timestamptz, api_key text, expires_at timestamptz,
  rate_limits_per_minute jsonb
)
language plpgsql volatile
set search_path = ''
as $$
declare
  v_prefix text := 'pgt_' || left(replace(gen_random_uuid()::text, '-', ''), 12);
  v_secret text := replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '');
  v_key text := v_prefix || '_' || v_secret;
  v_made tally.api_keys;
begin
  if length(p_name) between 1 and 200 is not true then
    raise exception using errcode = 'TY400', column = 'p_name', message = 'a name has 1 to 200 characters';
  elsif p_scopes <@ tally.scopes() and cardinality(p_scopes) > 0 is not true then
    raise exception using
      errcode = 'TY400', column = 'p_scopes', message = format('scopes are one or more of %s', array_to_string(tally.scopes(), ', '));
  elsif p_expires_at > now() is not true then
    raise exception using
      errcode = 'TY400', column = 'p_expires_at', message = 'expiresAt lies in the past';
  end if;
  perform tally.check_rate_limits(p_rate_limits_per_minute);
  perform tally.check_origins(p_origins, p_scopes);
  v_key := v_key || left(encode(sha256(v_key::bytea), 'hex'), 6);
  insert into tally.api_keys (
    tenant_id, name, key_prefix, key_hash, scopes, expires_at, rate_limits_per_minute, lineage_id,
    origins
  )
  values (
    p_tenant, p_name, v_prefix, sha256(v_key::bytea), p_scopes, nullif(p_expires_at, 'infinity'),
    p_rate_limits_per_minute, p_lineage, p_origins)
  returning * into v_made;
  perform tally.audit(
    'key.create', p_tenant, v_made.key_id::text, p_by,
    jsonb_build_object(
      'name', p_name, 'scopes', p_scopes, 'expires_at', v_made.expires_at,
      'rate_limits_per_minute', p_rate_limits_per_minute, 'origins', p_origins));
  return query
  select
    v_made.key_id, v_made.key_prefix, v_made.created_at, v_key, v_made.expires_at,
    v_made.rate_limits_per_minute;
end
$$;
alter function tally.key_make owner to tally_owner;
revoke all on function tally.key_make from public;
comment on function tally.key_make is 'Makes a key and returns it, this once. TY400 for bad arguments.';
