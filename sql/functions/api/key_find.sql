-- Whose key is this? Found by its public start; the service compares the sha-256 of what it was
-- given with the key_hash in constant time. No row for an unknown, expired or revoked key. The
-- keys of a deleted tenant are found until it is gone, so that their holders are told. The key
-- itself never reaches the database or its log. Where a key has limits of its own, requests are
-- counted by lineage_id, which it shares with those that it came from.
create function api.key_find(p_key_prefix text)
returns table (
  key_hash bytea, key_id uuid, tenant_id uuid, scopes text[], key_limits_per_minute jsonb,
  tenant_limits_per_minute jsonb, lineage_id uuid, tenant_deleted boolean,
  origins text[]
)
language sql stable strict security definer
set search_path = ''
as $$
  select
    k.key_hash, k.key_id, k.tenant_id, k.scopes, k.rate_limits_per_minute,
    coalesce(t.rate_limits_per_minute, '{}'), coalesce(k.lineage_id, k.key_id),
    t.deleted_at is not null, k.origins
  from tally.api_keys as k
  left join tally.tenants as t on t.tenant_id = k.tenant_id
  where k.key_prefix = p_key_prefix
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now())
$$;
alter function api.key_find owner to tally_owner;
revoke all on function api.key_find from public;
grant execute on function api.key_find to tally_service;
comment on function api.key_find is
  'The hash, tenant, scopes, rate limits and lineage of a valid key, found by its public start, whether its tenant was deleted, and the origins that it is bound to; no row otherwise.';
