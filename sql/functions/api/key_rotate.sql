-- Replaces a key: makes one with the same name, scopes, limits and origins, that expires when the old one
-- would have, and lets the old one live for p_overlap_seconds, in which both work and clients change
-- over. Both count in the same buckets, as all successors do. A key of the tenant that asks (p_by)
-- gets no key that may more than itself (tally.check_key_grant). A key that was replaced expires at
-- the end of the overlap, and so do the successors that it is given after that.
create function api.key_rotate(
  p_tenant uuid,
  p_key_id uuid,
  p_overlap_seconds integer default 86400,
  p_by uuid default '00000000-0000-0000-0000-000000000000'
)
returns table (
  key_id uuid, name text, key_prefix text, scopes text[], rate_limits_per_minute jsonb,
  created_at timestamptz, old_expires_at timestamptz, api_key text, expires_at timestamptz,
  origins text[]
)
language plpgsql volatile strict security definer
set search_path = ''
as $$
declare
  v_asking tally.api_keys := tally.key_asking(p_tenant, p_by);
  v_old tally.api_keys;
  v_now timestamptz := now();
  v_until timestamptz := v_now + make_interval(secs => p_overlap_seconds);
  v_old_expires_at timestamptz;
begin
  if p_overlap_seconds not between 0 and 7776000 then
    raise exception using
      errcode = 'TY400', column = 'p_overlap_seconds', message = 'both keys may work for 0 seconds to 90 days';
  end if;
  perform tally.tenant_read(p_tenant);
  select k.* into v_old
  from tally.api_keys as k
  where k.key_id = p_key_id
    and k.tenant_id = p_tenant
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > v_now)
  for no key update;
  if not found then
    raise exception using errcode = 'TY404', message = 'no such key, or it is revoked or expired';
  elsif v_asking.key_id is not null then
    perform tally.check_key_grant(
      v_asking, v_old.scopes, v_old.rate_limits_per_minute, v_old.expires_at);
  end if;
  update tally.api_keys as k
  set expires_at = least(k.expires_at, v_until)
  where k.key_id = p_key_id
  returning k.expires_at into v_old_expires_at;
  perform tally.audit(
    'key.rotate', p_tenant, p_key_id::text, p_by, jsonb_build_object('expires_at', v_old_expires_at));
  return query
  select
    m.key_id, v_old.name, m.key_prefix, v_old.scopes, v_old.rate_limits_per_minute, m.created_at,
    v_old_expires_at, m.api_key, m.expires_at, v_old.origins
  from tally.key_make(
    p_tenant, v_old.name, v_old.scopes, coalesce(v_old.expires_at, 'infinity'),
    v_old.rate_limits_per_minute, p_by, coalesce(v_old.lineage_id, v_old.key_id),
    v_old.origins) as m;
end
$$;
alter function api.key_rotate owner to tally_owner;
revoke all on function api.key_rotate from public;
grant execute on function api.key_rotate to tally_service;
comment on function api.key_rotate is
  'Makes a key with the same name, scopes, limits, origins and expiry and returns it; the old one expires after p_overlap_seconds. TY404, TY410, TY403, TY400.';
