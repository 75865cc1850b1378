-- Who holds this key? Takes the sha-256 of the key, so that the key itself never reaches the
-- database or its log. No row for an unknown, expired or revoked key.
create function api.key_find(p_key_hash bytea)
returns table (key_id uuid, tenant_id uuid, scopes text[], rate_limits_per_minute jsonb)
language sql stable strict security definer
set search_path = ''
as $$
  select k.key_id, k.tenant_id, k.scopes, k.rate_limits_per_minute
  from tally.api_keys as k
  where k.key_hash = p_key_hash
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now())
$$;
alter function api.key_find owner to tally_owner;
revoke all on function api.key_find from public;
grant execute on function api.key_find to tally_service;
comment on function api.key_find is 'The tenant, scopes and limits of a valid key, found by its sha-256; no row otherwise.';
