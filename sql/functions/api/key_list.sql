-- The keys of a tenant, newest first, revoked and expired ones too. Never the keys themselves.
create function api.key_list(p_tenant uuid)
returns table (
  key_id uuid, name text, key_prefix text, scopes text[], rate_limits_per_minute jsonb,
  created_at timestamptz, expires_at timestamptz, revoked_at timestamptz, last_used_at timestamptz,
  origins text[]
)
language sql stable strict security definer
set search_path = ''
as $$
  select
    k.key_id, k.name, k.key_prefix, k.scopes, k.rate_limits_per_minute, k.created_at, k.expires_at,
    k.revoked_at, k.last_used_at, k.origins
  from tally.api_keys as k
  where k.tenant_id = p_tenant
  order by k.created_at desc, k.key_id
  limit 1000
$$;
alter function api.key_list owner to tally_owner;
revoke all on function api.key_list from public;
grant execute on function api.key_list to tally_service;
comment on function api.key_list is
  'The newest 1,000 keys of a tenant: names, scopes, limits, origins, when made, used last, expiring, revoked.';
