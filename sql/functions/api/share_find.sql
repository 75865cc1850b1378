-- What does this link show? Found by the public start of its token; the service compares the sha-256
-- of what it was given with token_hash in constant time. No row for an unknown, expired or revoked
-- one. It has the columns of api.key_find before its own, since the service treats it as a key that opens one view:
-- it has no scope of a key, so it opens nothing that keys open.
create function api.share_find(p_token_prefix text)
returns table (
  token_hash bytea, share_id uuid, tenant_id uuid, scopes text[], key_limits_per_minute jsonb,
  tenant_limits_per_minute jsonb, lineage_id uuid, tenant_deleted boolean, origins text[],
  view jsonb
)
language sql stable strict security definer
set search_path = ''
as $$
  select
    s.token_hash, s.share_id, s.tenant_id, array['shared'], '{}'::jsonb, t.rate_limits_per_minute,
    s.share_id, t.deleted_at is not null, array[]::text[], s.view
  from tally.share_links as s
  join tally.tenants as t on t.tenant_id = s.tenant_id
  where s.token_prefix = p_token_prefix
    and s.revoked_at is null
    and s.expires_at > now()
$$;
alter function api.share_find owner to tally_owner;
revoke all on function api.share_find from public;
grant execute on function api.share_find to tally_service;
comment on function api.share_find is
  'The hash, tenant and view of a share link that works, found by the public start of its token; no row otherwise.';
